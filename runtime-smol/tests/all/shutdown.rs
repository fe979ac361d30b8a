//! Ends of sessions: asked for, let go, or because the executor is gone. And what a session costs that has nothing to do.

use core::pin::{Pin, pin};
use core::task::{Context, Poll};
use core::time::Duration;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};

use bytes::{Bytes, BytesMut};
use futures_lite::{AsyncWriteExt as _, future};
use iscsi_core::{Command, Lun, SessionState, Transfer};
use iscsi_runtime_smol::{Disk, Driver, Error, Memory, Options, Request};
use iscsi_target::EndReason;
use iscsi_target::server::{ServerEvent, ServerHandle};

use crate::support::*;

/// A target that tells how its connections ended.
fn told(store: &Arc<Store>) -> (ServerHandle, mpsc::Receiver<EndReason>) {
    let (sender, ends) = mpsc::channel();
    let observer = move |event: &ServerEvent<'_>| {
        if let ServerEvent::Disconnected { reason, .. } = event {
            sender.send(*reason).unwrap_or_default();
        }
    };
    (target_observed(core::slice::from_ref(store), |_| {}, observer), ends)
}

/// The target tells the end after it has sent its last answer.
fn next(ends: &mpsc::Receiver<EndReason>) -> EndReason {
    ends.recv_timeout(60 * SECOND).unwrap()
}

#[test]
fn what_is_under_way_ends_before_the_logout() {
    let store = Store::new(MIB);
    let (target, ends) = told(&store);
    run(async {
        let disk = connect(&target).await;
        let gate = store.shut();
        // Some are with the target, some in line.
        let tickets: Vec<_> = (0..100)
            .map(|n| disk.submit(Request::write(n * 512, 512), Bytes::from(vec![n as u8; 512])))
            .collect();
        let mut end = pin!(disk.handle().shut_down());
        assert!(future::poll_once(&mut end).await.is_none());
        let failed = disk.read_at(0, BytesMut::zeroed(9)).await.unwrap_err();
        assert!(matches!(failed.error, Error::ShutDown));
        assert_eq!(failed.payload.len(), 9);
        assert!(tickets.iter().all(|ticket| !ticket.is_done()));
        drop(gate);
        end.await.unwrap();
        for (n, ticket) in tickets.into_iter().enumerate() {
            assert!(ticket.is_done());
            ticket.await.unwrap();
            assert_eq!(store.data()[n * 512..][..512], [n as u8; 512]);
        }
        disk.handle().shut_down().await.unwrap();
        assert!(matches!(disk.handle().status().await, Err(Error::ShutDown)));
        assert!(matches!(disk.handle().reconnect().await, Err(Error::ShutDown)));
    });
    assert_eq!(next(&ends), EndReason::Logout);
}

#[test]
fn the_last_handle_takes_the_session_along() {
    let store = Store::new(MIB);
    let (target, ends) = told(&store);
    run(async {
        let (handle, driver) = pair(target.addr());
        let driver = smol::spawn(driver);
        handle.reconnect().await.unwrap();
        let disk = handle.open(Lun::ZERO).await.unwrap();
        drop(handle);
        let gate = store.shut();
        disk.submit(Request::write(0, 3), Bytes::from("end")).detach();
        drop(disk);
        drop(gate);
        driver.await;
    });
    assert_eq!(store.data()[..3], *b"end");
    assert_eq!(next(&ends), EndReason::Logout);
}

#[test]
fn a_shut_down_that_is_dropped_goes_on() {
    let store = Store::new(MIB);
    let (target, ends) = told(&store);
    run(async {
        let disk = connect(&target).await;
        drop(disk.handle().shut_down());
        disk.flush().await.unwrap();
        let _ = future::poll_once(disk.handle().shut_down()).await;
        assert!(matches!(disk.flush().await, Err(Error::ShutDown)));
        assert_eq!(smol::unblock(move || next(&ends)).await, EndReason::Logout);
        drop(disk);
    });
}

#[test]
fn a_session_that_was_never_connected_ends_at_once() {
    let (handle, driver) = pair("127.0.0.1:1".parse().unwrap());
    run(future::zip(driver, async { handle.shut_down().await.unwrap() }));
    let (handle, driver) = pair("127.0.0.1:1".parse().unwrap());
    drop(handle);
    run(driver);
}

#[test]
fn an_executor_that_is_gone_leaves_nobody_waiting() {
    let store = Store::new(MIB);
    let (target, ends) = told(&store);
    let executor = smol::Executor::new();
    let url = url(target.addr());
    let options = Options::default();
    let connect = Disk::connect_on(&executor, &url, host_name(), &options);
    let disk = run(executor.run(connect)).unwrap();
    let gate = store.shut();
    let read = |n: u64| disk.submit(Request::read(n * 512, 512), BytesMut::zeroed(512));
    let sent: Vec<_> = (0..40).map(read).collect();
    run(executor.run(async {
        while disk.handle().status().await.unwrap().in_use == 0 {
            future::yield_now().await;
        }
    }));
    // These are not even taken from the inbox.
    let late: Vec<_> = (40..50).map(read).collect();
    let mut ping = pin!(disk.handle().ping());
    let mut end = pin!(disk.handle().shut_down());
    run(async {
        assert!(future::poll_once(&mut ping).await.is_none());
        assert!(future::poll_once(&mut end).await.is_none());
    });
    drop(executor);
    run(async {
        for ticket in sent.into_iter().chain(late) {
            let failed = ticket.await.unwrap_err();
            assert!(matches!(failed.error, Error::ShutDown), "{}", failed.error);
            assert_eq!(failed.payload.into_mut().len(), 512);
        }
        assert!(matches!(ping.await, Err(Error::ShutDown)));
        assert!(matches!(end.await, Err(Error::ShutDown)));
        assert!(matches!(disk.handle().status().await, Err(Error::ShutDown)));
        let failed = disk.write_at(0, "late".into()).await.unwrap_err();
        assert_eq!(failed.payload, "late");
        let command = Command::new(Lun::ZERO, &[0; 6], Transfer::None);
        let failed = disk.handle().execute(&command, Memory::None).await.unwrap_err();
        assert!(matches!(failed.error, Error::ShutDown));
    });
    drop(gate);
    assert_eq!(next(&ends), EndReason::Disconnected);
}

#[test]
fn an_executor_takes_its_tasks_along() {
    let store = Store::new(MIB);
    let (target, ends) = told(&store);
    let executor = smol::Executor::new();
    let gate = store.shut();
    let (url, options) = (url(target.addr()), Options::default());
    run(executor.run(async {
        let disk = Disk::connect_on(&executor, &url, host_name(), &options).await.unwrap();
        for n in 0..10 {
            let disk = disk.clone();
            executor
                .spawn(async move {
                    let mut stream = disk.stream();
                    stream.write_all(&[1; 100_000]).await.unwrap();
                    let _ = disk.read_at(n * 512, BytesMut::zeroed(512)).await;
                    unreachable!("the target does not answer");
                })
                .detach();
        }
        while disk.handle().status().await.unwrap().in_use < 10 {
            future::yield_now().await;
        }
    }));
    // Readers, writers and the driver are dropped in any order, each with the others' wakers.
    drop(executor);
    drop(gate);
    assert_eq!(next(&ends), EndReason::Disconnected);
}

#[test]
fn an_executor_that_goes_during_the_login() {
    // A listener that never answers.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let (handle, driver) = pair(listener.local_addr().unwrap());
    let mut driver = Box::pin(driver);
    let mut connected = pin!(handle.reconnect());
    run(async {
        assert!(future::poll_once(&mut connected).await.is_none());
        // Until the target's side of the connection is there.
        let accept = smol::unblock(move || listener.accept().unwrap());
        let drive = async {
            driver.as_mut().await;
            panic!("it has no reason to end");
        };
        let (_stream, _) = future::or(accept, drive).await;
        drop(driver);
        assert!(matches!(connected.await, Err(Error::ShutDown)));
    });
}

#[test]
fn a_login_that_is_dropped_is_given_up() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let config = url(listener.local_addr().unwrap()).config(host_name()).unwrap();
    let timeouts = iscsi_core::config::Timeouts {
        login: SECOND / 4,
        ..*config.clone().build().unwrap().timeouts()
    };
    let config = config.timeouts(timeouts).build().unwrap();
    let portal = listener.local_addr().unwrap();
    let (handle, driver) =
        iscsi_runtime_smol::Handle::new(config, portal.into(), &Options::default()).unwrap();
    run(async {
        let driver = smol::spawn(driver);
        assert!(future::poll_once(handle.reconnect()).await.is_none());
        drop(handle);
        driver.await;
    });
}

#[test]
fn a_session_that_has_failed_can_be_opened_again() {
    let store = Store::new(MIB);
    let target = target(&store);
    run(async {
        let disk = connect(&target).await;
        target.control().drop_connections(false);
        let status = loop {
            let status = disk.handle().status().await.unwrap();
            if matches!(status.state, SessionState::Failed(_)) {
                break status;
            }
            future::yield_now().await;
        };
        assert_eq!(status.peer, None);
        let failed = disk.read_at(0, BytesMut::zeroed(8)).await.unwrap_err();
        assert_eq!(failed.payload.len(), 8);
        assert!(matches!(failed.error, Error::Lost(_) | Error::Io(_)), "{}", failed.error);
        disk.handle().reconnect().await.unwrap();
        disk.read_at(0, BytesMut::zeroed(8)).await.unwrap();
        disk.handle().shut_down().await.unwrap();
    });
}

/// A driver, and how often it was polled.
struct Watched(Driver, Arc<AtomicUsize>);

impl Future for Watched {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        self.1.fetch_add(1, Ordering::Relaxed);
        Pin::new(&mut self.0).poll(context)
    }
}

#[test]
fn a_driver_is_polled_when_there_is_something_to_do_and_only_then() {
    let store = Store::new(MIB);
    let target = target(&store);
    let polls = Arc::new(AtomicUsize::new(0));
    let counted = || polls.load(Ordering::Relaxed);
    run(async {
        // Whoever looks for an answer instead of sleeping is polled as often as that takes.
        let mut options = Options::default();
        options.busy_wait = Duration::ZERO;
        let (handle, driver) = pair_with(target.addr(), &options);
        smol::spawn(Watched(driver, polls.clone())).detach();
        handle.reconnect().await.unwrap();
        let disk = handle.open(Lun::ZERO).await.unwrap();
        let before = counted();
        for n in 0..500 {
            disk.read_at(n, BytesMut::zeroed(512)).await.unwrap();
        }
        let busy = counted() - before;
        assert!(busy < 500 * 6, "{busy} polls for 500 reads");
        // Nothing happens: neither a ping is due, nor is there anything to send.
        let before = counted();
        async_io::Timer::after(SECOND / 2).await;
        let idle = counted() - before;
        assert!(idle <= 3, "{idle} polls for nothing");
        // And a target that does not answer is waited for.
        let gate = store.shut();
        let read = disk.submit(Request::read(0, 512), BytesMut::zeroed(512));
        let before = counted();
        async_io::Timer::after(SECOND / 2).await;
        let waiting = counted() - before;
        assert!(waiting <= 6, "{waiting} polls while the target is silent");
        drop(gate);
        read.await.unwrap();
        handle.shut_down().await.unwrap();
    });
}

/// What waits for a login that nobody asked for does not hold the end up.
#[test]
fn a_session_that_was_never_opened_shuts_down() {
    let (handle, driver) = pair("127.0.0.1:1".parse().unwrap());
    let driver = smol::spawn(driver);
    let test_unit_ready = Command::new(Lun::ZERO, &[0; 6], Transfer::None);
    let ticket = handle.submit(&test_unit_ready, BytesMut::new());
    run(async {
        handle.shut_down().await.unwrap();
        let failed = ticket.await.unwrap_err();
        assert!(matches!(failed.error, Error::ShutDown), "{failed}");
        driver.await;
    });
}
