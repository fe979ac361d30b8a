//! Disks, commands and sessions whose target does what it should.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use bytes::{Bytes, BytesMut};
use futures_lite::future;
use iscsi_core::auth::{Chap, Secret};
use iscsi_core::wire::{AsyncEvent, TaskManagementResponseCode};
use iscsi_core::{Command, Config, DiscoveryScope, Lun, SessionState, TaskManagement, Transfer};
use iscsi_disk::RequestError;
use iscsi_runtime_smol::{
    Consumer, Disk, DiskStream, Driver, Error, Handle, LoginFailure, Memory, Options, Pool,
    Request, Ticket, discover,
};

use crate::support::*;

/// What a user relies on when a handle goes to another thread or a future to a pool.
#[test]
fn handles_and_futures_go_anywhere() {
    fn anywhere<T: Send + Sync + 'static>() {}
    fn sendable<T: Send>(_: &T) {}
    anywhere::<Handle>();
    anywhere::<Disk>();
    anywhere::<Driver>();
    anywhere::<Ticket<Memory>>();
    anywhere::<DiskStream>();
    fn futures(disk: &Disk, handle: &Handle, command: &Command<'_>) {
        sendable(&disk.read_at(0, BytesMut::new()));
        sendable(&disk.write_vectored_at(0, Vec::new()));
        sendable(&disk.flush());
        sendable(&handle.execute(command, Memory::None));
        sendable(&handle.ping());
        sendable(&handle.shut_down());
        let (url, name) = (url("127.0.0.1:1".parse().unwrap()), host_name());
        sendable(&Disk::connect(&url, name, &Options::default()));
    }
    let _ = futures;
}

#[test]
fn the_first_example_reads_and_writes() {
    let store = Store::new(MIB);
    let target = target(&store);
    run(crate::read_write::read_write(&url(target.addr()).to_string())).unwrap();
    assert_eq!(store.data()[1000..1011], *b"hello world");
}

#[test]
fn another_runtime_drives_it_too() {
    let store = Store::new(MIB);
    store.data()[..64 * KIB].fill(3);
    let target = target(&store);
    let sum = crate::on_tokio::on_tokio(&url(target.addr()).to_string()).unwrap();
    assert_eq!(sum, 3 * 64 * 1024);
}

#[test]
fn an_executor_of_the_users_own_drives_it() {
    let store = Store::new(MIB);
    let target = target(&store);
    let executor = smol::Executor::new();
    run(executor.run(async {
        let url = url(target.addr());
        let disk =
            Disk::connect_on(&executor, &url, host_name(), &Options::default()).await.unwrap();
        disk.write_at(7, "here".into()).await.unwrap();
        assert_eq!(disk.read_at(6, BytesMut::zeroed(6)).await.unwrap()[..], *b"\0here\0");
        disk.handle().shut_down().await.unwrap();
    }));
    assert!(executor.is_empty(), "the driver has ended");
}

/// The driver moves from thread to thread, and is woken from others while it turns: a wake-up that is lost would end this after a minute.
#[test]
fn no_wake_up_is_lost_between_threads() {
    let store = Store::new(MIB);
    let data = Bytes::from(pattern(MIB, 0));
    store.data().copy_from_slice(&data);
    let target = target(&store);
    let executor = smol::Executor::new();
    let (stop, stopped) = smol::channel::bounded::<()>(1);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| smol::block_on(executor.run(stopped.recv())).unwrap_err());
        }
        let url = url(target.addr());
        let options = Options::default();
        let disk = run(Disk::connect_on(&executor, &url, host_name(), &options)).unwrap();
        let readers: Vec<_> = (0..4_usize)
            .map(|n| {
                let (disk, data) = (disk.clone(), data.clone());
                scope.spawn(move || {
                    run(async {
                        for round in 0..1_000 {
                            let at = (n * 1_000 + round) * 200;
                            let read = disk.read_at(at as u64, BytesMut::zeroed(512)).await;
                            assert_eq!(read.unwrap()[..], data[at..at + 512]);
                        }
                    });
                })
            })
            .collect();
        readers.into_iter().for_each(|reader| reader.join().unwrap());
        run(disk.handle().shut_down()).unwrap();
        drop(stop);
    });
}

#[test]
fn many_futures_are_under_way_at_once() {
    let store = Store::new(16 * MIB);
    let target = target(&store);
    run(async {
        let disk = connect(&target).await;
        // Many times more than the session has slots for, at odd offsets.
        let data: Vec<_> = (0..600).map(|n| pattern(1000 + n * 37, n)).collect();
        let place = |n: usize| (n * 25_000 + 13) as u64;
        let tasks: Vec<_> = data
            .iter()
            .enumerate()
            .map(|(n, data)| {
                let (disk, data) = (disk.clone(), Bytes::from(data.clone()));
                smol::spawn(async move { disk.write_at(place(n), data).await })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        let read = |n| Request::read(place(n), data[n].len() as u64);
        let tickets: Vec<_> = (0..data.len())
            .map(|n| disk.submit(read(n), BytesMut::zeroed(data[n].len())))
            .collect();
        // In another order than the one in which they were asked for.
        for (n, ticket) in tickets.into_iter().enumerate().rev() {
            assert!(ticket.await.unwrap().into_mut() == data[n], "{n}");
        }
        let model = store.data().clone();
        assert!(data.iter().enumerate().all(|(n, data)| {
            let place = place(n) as usize;
            model[place..place + data.len()] == **data
        }));
        let status = disk.handle().status().await.unwrap();
        assert_eq!((status.in_use, status.state), (0, SessionState::LoggedIn));
        disk.handle().shut_down().await.unwrap();
    });
}

#[test]
fn scattered_memory_comes_back_in_its_parts() {
    let store = Store::new(MIB);
    let target = target(&store);
    run(async {
        let disk = connect(&target).await;
        let data = pattern(300_007, 5);
        let mut rest = Bytes::from(data.clone());
        let mut random = Random(11);
        let mut parts = vec![Bytes::new()];
        while !rest.is_empty() {
            let len = random.below(2_500) as usize;
            parts.push(rest.split_to(len.min(rest.len())));
        }
        let same = disk.write_vectored_at(777, parts.clone()).await.unwrap();
        assert_eq!(same, parts);
        assert!(store.data()[777..777 + data.len()] == data);

        // Other parts than those that were written.
        let memory: Vec<_> = (0..301).map(|n| BytesMut::zeroed(n * 6 + 8)).collect();
        let lens: Vec<_> = memory.iter().map(BytesMut::len).collect();
        assert!(lens.iter().sum::<usize>() < data.len());
        let read = disk.read_vectored_at(777, memory).await.unwrap();
        assert!(read.iter().map(BytesMut::len).eq(lens));
        assert!(data.starts_with(&read.concat()));

        let failed = disk.write_vectored_at(MIB as u64, vec!["one".into(), "two".into()]).await;
        let failed = failed.unwrap_err();
        assert_eq!(failed.payload, ["one", "two"]);
        let parts = vec![BytesMut::zeroed(3), BytesMut::zeroed(4)];
        let failed = disk.read_vectored_at(u64::MAX - 2, parts).await.unwrap_err();
        assert_eq!(failed.payload.iter().map(BytesMut::len).collect::<Vec<_>>(), [3, 4]);
        disk.handle().shut_down().await.unwrap();
    });
}

#[test]
fn memory_comes_back_after_every_error() {
    let store = Store::new(MIB);
    let target = target(&store);
    run(async {
        let disk = connect(&target).await;
        let end = disk.capacity();
        let failed = disk.read_at(end - 1, BytesMut::zeroed(2)).await.unwrap_err();
        assert!(matches!(failed.error, Error::Request(RequestError::OutOfRange { .. })));
        assert_eq!(failed.payload.len(), 2);

        store.break_bytes(1024..1536);
        let failed = disk.read_at(1000, BytesMut::zeroed(100)).await.unwrap_err();
        assert!(matches!(failed.error, Error::Disk(_)), "{}", failed.error);
        assert_eq!(failed.payload.len(), 100);
        let data = Bytes::from(vec![7; 1024]);
        let failed = disk.write_at(1024, data.clone()).await.unwrap_err();
        assert!(matches!(failed.error, Error::Disk(_)), "{}", failed.error);
        assert_eq!(failed.payload.as_ptr(), data.as_ptr(), "the same memory");

        // Memory that is too short, or of the wrong kind.
        let failed = disk.request(Request::read(0, 512), BytesMut::zeroed(511)).await.unwrap_err();
        assert!(matches!(failed.error, Error::Memory { needed: 512, given: 511 }));
        assert_eq!(failed.payload.into_mut().len(), 511);
        let failed = disk.request(Request::read(0, 4), Bytes::from("text")).await.unwrap_err();
        assert!(matches!(failed.error, Error::Memory { needed: 4, given: 0 }));
        assert_eq!(failed.payload.into_bytes(), "text");
        let read = Command::new(Lun::ZERO, &[0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0], Transfer::In(512));
        let failed = disk.handle().execute(&read, BytesMut::zeroed(4)).await.unwrap_err();
        assert_eq!((failed.payload.into_mut().len(), failed.error.timer()), (4, None));

        store.break_bytes(0..0);
        disk.read_at(1000, BytesMut::zeroed(100)).await.unwrap();
        disk.handle().shut_down().await.unwrap();
    });
}

#[test]
fn reads_share_the_buffers_of_a_pool() {
    let store = Store::new(MIB);
    let data = pattern(MIB, 3);
    store.data().copy_from_slice(&data);
    let target = target(&store);
    run(async {
        let disk = connect(&target).await;
        let pool = Pool::new(5000);
        for len in [4096, 5000] {
            let read = |n| disk.submit(Request::read(n * 5000, len), pool.memory());
            let tickets: Vec<_> = (0..200_u64).map(read).collect();
            for (n, ticket) in tickets.into_iter().enumerate() {
                let Memory::Pooled(read) = ticket.await.unwrap() else { panic!() };
                assert!(read.data()[..len as usize] == data[n * 5000..][..len as usize], "{n}");
            }
        }
        let failed = disk.request(Request::read(0, 5001), pool.memory()).await.unwrap_err();
        assert!(matches!(failed.error, Error::Memory { needed: 5001, given: 5000 }));
        assert!(failed.payload.into_mut().is_empty(), "nothing has come");
        disk.handle().shut_down().await.unwrap();
    });
}

#[test]
fn reads_are_consumed_where_they_arrive() {
    let store = Store::new(MIB);
    let data = pattern(MIB, 5);
    store.data().copy_from_slice(&data);
    let target = target(&store);
    run(async {
        let disk = connect(&target).await;
        let ranges: Vec<_> = (0..40).map(|n| (n * 20_001, 100_000 + n)).collect();
        let tickets = ranges.iter().map(|(at, len)| {
            let seen = Arc::new(Mutex::new(vec![0; *len]));
            let shared = seen.clone();
            let see = move |at: usize, bytes: &[u8]| {
                shared.lock().unwrap()[at..][..bytes.len()].copy_from_slice(bytes);
            };
            let request = Request::read(*at as u64, *len as u64);
            (seen, disk.submit(request, Consumer::new(*len, see)))
        });
        let tickets: Vec<_> = tickets.collect();
        for ((seen, ticket), (at, len)) in tickets.into_iter().zip(ranges) {
            assert!(ticket.await.unwrap().into_mut().is_empty());
            assert!(seen.lock().unwrap()[..] == data[at..][..len], "{len} bytes at {at}");
        }
        let short = Consumer::new(5000, |_, _| {});
        let failed = disk.request(Request::read(0, 5001), short).await.unwrap_err();
        assert!(matches!(failed.error, Error::Memory { needed: 5001, given: 5000 }));
        disk.handle().shut_down().await.unwrap();
    });
}

#[test]
fn every_request_of_a_disk() {
    let store = Store::new(MIB);
    let target = target(&store);
    run(async {
        let disk = connect(&target).await;
        disk.write_at(0, pattern(8192, 1).into()).await.unwrap();
        disk.write_zeroes(100, 1000).await.unwrap();
        assert_eq!(store.data()[100..1100], [0; 1000]);
        assert_eq!(store.data()[..100], pattern(8192, 1)[..100]);
        disk.unmap(4096, 512).await.unwrap();
        assert_eq!(store.data()[4096..4608], [0; 512]);
        disk.flush().await.unwrap();
        assert_eq!(store.flushes.load(Ordering::Relaxed), 1);

        disk.request(Request::write(512, 3).fua(), Bytes::from("fua")).await.unwrap();
        disk.request(Request::verify(0, 8192), Memory::None).await.unwrap();
        let block = Bytes::copy_from_slice(&store.data()[512..1024]);
        disk.request(Request::compare(512, 512), block.clone()).await.unwrap();
        let swap = Bytes::from([&block[..], &[9; 512]].concat());
        disk.request(Request::compare_and_write(512, 512), swap.clone()).await.unwrap();
        assert_eq!(store.data()[512..1024], [9; 512]);
        let failed = disk.request(Request::compare_and_write(512, 512), swap).await.unwrap_err();
        assert!(matches!(failed.error, Error::Disk(_)), "{}", failed.error);
        assert_eq!(failed.payload.into_bytes().len(), 1024);
        disk.handle().shut_down().await.unwrap();
    });
}

#[test]
fn commands_of_ones_own() {
    let store = Store::new(MIB);
    store.data()[512..1024].fill(5);
    let target = target(&store);
    run(async {
        let disk = connect(&target).await;
        let handle = disk.handle();
        let read = [0x28, 0, 0, 0, 0, 1, 0, 0, 1, 0];
        let command = Command::new(Lun::ZERO, &read, Transfer::In(512));
        let (completed, memory) = handle.execute(&command, BytesMut::zeroed(512)).await.unwrap();
        completed.good().unwrap();
        assert_eq!(memory.into_mut()[..], [5; 512]);
        let write = [0x2a, 0, 0, 0, 0, 2, 0, 0, 1, 0];
        let command = Command::new(Lun::ZERO, &write, Transfer::Out(512));
        let (completed, memory) = handle.submit(&command, Bytes::from(vec![6; 512])).await.unwrap();
        completed.good().unwrap();
        assert_eq!(memory.into_bytes().len(), 512);
        assert_eq!(store.data()[1024..1536], [6; 512]);
        // An operation that no device has: the answer is the device's.
        let command = Command::new(Lun::ZERO, &[0xc0, 0, 0, 0, 0, 0], Transfer::None);
        let (completed, _) = handle.execute(&command, Memory::None).await.unwrap();
        assert!(completed.good().unwrap_err().to_string().contains("ILLEGAL_REQUEST"));

        let reset = TaskManagement::LogicalUnitReset(Lun::ZERO);
        let done = handle.task_management(reset).await.unwrap();
        assert_eq!(done, TaskManagementResponseCode::FunctionComplete);
        handle.ping().await.unwrap();
        handle.reconnect().await.unwrap();
        assert_eq!(handle.status().await.unwrap().session.logins, 1, "it stands");
        handle.force_reconnect().await.unwrap();
        assert_eq!(handle.status().await.unwrap().session.logins, 2);
        disk.read_at(0, BytesMut::zeroed(1)).await.unwrap();
        handle.shut_down().await.unwrap();
    });
}

#[test]
fn chap_and_digests_by_url() {
    let store = Store::new(MIB);
    let secret = |text| Secret::new(text).unwrap();
    let target = target_with(&[store], |config| {
        let chap = Chap::new("alice", secret("secret-of-alice")).unwrap();
        config.auth = Some(chap.with_mutual(Some("target"), secret("secret-of-target")).unwrap());
    });
    run(async {
        let options = Options::default();
        let user = format!("iscsi://alice:secret-of-alice@{}", target.addr());
        let digests = "?header_digest=crc32c&data_digest=crc32c\
            &target_user=target&target_password=secret-of-target";
        let url = format!("{user}/{}/0{digests}", target_name()).parse().unwrap();
        let disk = Disk::connect(&url, host_name(), &options).await.unwrap();
        let data = Bytes::from(pattern(200_001, 3));
        let memory = disk.write_at(511, data.clone()).await.unwrap();
        let read = disk.read_at(511, BytesMut::zeroed(memory.len())).await.unwrap();
        assert!(read == data);
        let negotiated = disk.handle().status().await.unwrap().negotiated;
        assert_eq!(negotiated.header_digest.as_str(), "CRC32C");
        assert_eq!(negotiated.data_digest.as_str(), "CRC32C");
        disk.handle().shut_down().await.unwrap();

        let wrong = format!("iscsi://alice:another-secret@{}/{}/0", target.addr(), target_name());
        let error = Disk::connect(&wrong.parse().unwrap(), host_name(), &options).await;
        let error = error.unwrap_err();
        assert!(matches!(error, Error::Login(LoginFailure::CredentialsRefused(_))), "{error}");
    });
}

#[test]
fn targets_are_discovered() {
    let store = Store::new(MIB);
    let target = target(&store);
    run(async {
        let config = Config::discovery(host_name()).build().unwrap();
        let (portal, options) = (target.addr(), Options::default());
        let found = discover(config, portal.into(), DiscoveryScope::All, &options);
        let found = found.await.unwrap();
        assert_eq!(found.targets.len(), 1);
        assert_eq!(found.targets[0].name, target_name());
        // In a session with the target, too.
        let disk = connect(&target).await;
        let found = disk.handle().send_targets(DiscoveryScope::Session).await.unwrap();
        assert_eq!(found.targets[0].name, target_name());
        let error = disk.handle().send_targets(DiscoveryScope::All).await.unwrap_err();
        assert!(matches!(error, Error::Discovery(_)), "{error}");

        let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let config = Config::discovery(host_name()).build().unwrap();
        let nobody = discover(config, closed.into(), DiscoveryScope::All, &options);
        assert!(matches!(nobody.await.unwrap_err(), Error::Connect(_)));
    });
}

#[test]
fn disks_that_grow_are_seen_by_all_who_have_them() {
    let stores = [Store::new(4 * MIB), Store::new(4 * MIB)];
    stores.iter().for_each(|store| store.tell_size(MIB as u64));
    let target = target_with(&stores, |_| {});
    run(async {
        let first = connect(&target).await;
        let lun = Lun::new(1).unwrap();
        let second = first.handle().open(lun).await.unwrap();
        let clone = first.clone();
        assert_eq!((first.lun(), second.lun()), (Lun::ZERO, lun));
        assert_ne!(first.identity(), second.identity());
        assert_eq!([&first, &second].map(Disk::capacity), [MIB as u64; 2]);
        for (number, store) in stores.iter().enumerate() {
            store.tell_size(4 * MIB as u64);
            target.control().capacity_changed(number as u32);
        }
        // The news comes with an answer after the target has taken it in.
        while [&first, &second, &clone].iter().any(|disk| disk.capacity() == MIB as u64) {
            let reads = [&first, &second]
                .map(|disk| disk.submit(Request::read(0, 512), BytesMut::zeroed(512)));
            for read in reads {
                read.await.unwrap();
            }
        }
        second.write_at(3 * MIB as u64, "grown".into()).await.unwrap();
        assert_eq!(stores[1].data()[3 * MIB..3 * MIB + 5], *b"grown");
        first.handle().shut_down().await.unwrap();
    });
}

#[test]
fn what_the_target_says_is_kept() {
    let store = Store::new(MIB);
    let target = target(&store);
    run(async {
        let disk = connect(&target).await;
        assert!(disk.handle().take_notice().is_none());
        target.control().request_logout(5);
        let notice = loop {
            // Each answer shows that the driver has turned.
            let _ = disk.handle().status().await.unwrap();
            if let Some(notice) = disk.handle().take_notice() {
                break notice;
            }
            future::yield_now().await;
        };
        assert_eq!(notice.event, AsyncEvent::LogoutRequested { seconds: 5 });
        disk.handle().shut_down().await.unwrap();
    });
}

#[test]
fn any_timer_makes_a_time_out() {
    let store = Store::new(MIB);
    let target = target(&store);
    run(async {
        let disk = connect(&target).await;
        let gate = store.shut();
        // A timer of the user's: the request is dropped, and goes on in the background.
        let late = async {
            async_io::Timer::after(SECOND / 20).await;
            None
        };
        let read = async { Some(disk.read_at(0, BytesMut::zeroed(512)).await) };
        assert!(future::or(read, late).await.is_none());
        drop(gate);
        disk.read_at(0, BytesMut::zeroed(512)).await.unwrap();
        assert_eq!(settled(disk.handle()).await.unwrap().session.logins, 1);
        disk.handle().shut_down().await.unwrap();
    });
}
