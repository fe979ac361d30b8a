//! Sessions that come back, over a proxy that breaks connections.

use std::time::Instant;

use bytes::{Bytes, BytesMut};
use futures_lite::{AsyncReadExt as _, AsyncSeekExt as _, AsyncWriteExt as _};
use iscsi_core::config::{Recovery, Retry, Timeouts};
use iscsi_core::{Lun, Timer};
use iscsi_disk::DiskConfig;
use iscsi_fault_proxy::{Builder, FaultProxy, Way};
use iscsi_runtime_smol::{Disk, Error, Handle, Options, Request};
use iscsi_target::server::ServerHandle;

use crate::dropped::{disk_len, drop_many};
use crate::support::*;

fn behind(target: &ServerHandle, faults: impl FnOnce(Builder) -> Builder) -> FaultProxy {
    faults(FaultProxy::to(target.addr())).start().unwrap()
}

/// Short delays, so that the tests do not wait long.
fn quick(retry: Retry) -> Recovery {
    Recovery { retry, first_delay: SECOND / 50, longest_delay: SECOND / 10, ..Recovery::FOREVER }
}

const QUICK: Timeouts = Timeouts {
    connect: SECOND,
    login: SECOND,
    nop_interval: Some(SECOND),
    nop_timeout: SECOND,
    ..Timeouts::DEFAULT
};

/// A session and its disk, set up as a user would.
async fn connect(proxy: &FaultProxy, recovery: Recovery, timeouts: Timeouts) -> Disk {
    let url = url(proxy.addr());
    let config = url.config(host_name()).unwrap().timeouts(timeouts).recovery(recovery);
    let config = config.default_time2wait(0).build().unwrap();
    let handle = Handle::connect(config, url.portal.clone(), &Options::default()).await.unwrap();
    handle.open(url.lun).await.unwrap()
}

#[test]
fn futures_outlive_their_connections() {
    let store = Store::new(16 * MIB);
    let target = target(&store);
    let proxy = behind(&target, |to| to.seed(9).cut_after_bytes(300_000..=1_500_000));
    run(async {
        let disk = connect(&proxy, quick(Retry::Forever), QUICK).await;
        let tasks: Vec<_> = (0..4)
            .map(|n| {
                let disk = disk.clone();
                smol::spawn(async move {
                    for round in 0..20 {
                        // Not at the bounds of blocks: parts are read and written back.
                        let offset = (n * 20 + round) * 160_000 + 7;
                        let data = Bytes::from(pattern(150_001, offset));
                        let parts = vec![data.slice(..77_777), data.slice(77_777..)];
                        disk.write_vectored_at(offset as u64, parts).await.unwrap();
                        let memory = BytesMut::zeroed(data.len());
                        let read = disk.read_at(offset as u64, memory).await.unwrap();
                        assert!(read == data, "task {n}, round {round}");
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await;
        }
        let status = disk.handle().status().await.unwrap();
        assert!(status.session.connections_lost >= 8, "{status:?}");
        disk.handle().shut_down().await.unwrap();
    });
}

#[test]
fn a_stream_outlives_its_connections() {
    let store = Store::new(4 * MIB);
    let target = target(&store);
    let proxy = behind(&target, |to| to.seed(4).close_after_bytes(200_000..=900_000));
    run(async {
        let disk = connect(&proxy, quick(Retry::Forever), QUICK).await;
        let data = pattern(4 * MIB, 6);
        let mut stream = disk.stream();
        for part in data.chunks(12_345) {
            stream.write_all(part).await.unwrap();
        }
        stream.flush().await.unwrap();
        assert!(*store.data() == data);
        stream.seek(std::io::SeekFrom::Start(0)).await.unwrap();
        let mut read = Vec::new();
        stream.read_to_end(&mut read).await.unwrap();
        assert!(read == data);
        assert!(proxy.connections() >= 8, "{}", proxy.connections());
        disk.handle().shut_down().await.unwrap();
    });
}

#[test]
fn futures_are_dropped_while_connections_are_lost() {
    const DROPS: usize = 2_000;
    let store = Store::new(disk_len(DROPS).next_multiple_of(MIB));
    let target = target(&store);
    let proxy = behind(&target, |to| to.seed(21).cut_after_bytes(50_000..=400_000));
    run(async {
        let disk = connect(&proxy, quick(Retry::Forever), QUICK).await;
        drop_many(&disk, &store, DROPS, 0xcafe).await;
        let status = settled(disk.handle()).await.unwrap();
        assert!(status.session.connections_lost >= 8, "{status:?}");
        disk.handle().shut_down().await.unwrap();
    });
}

#[test]
fn every_future_is_told_when_the_session_gives_up() {
    let store = Store::new(MIB);
    let target = target(&store);
    let proxy = behind(&target, |to| to);
    run(async {
        let disk = connect(&proxy, quick(Retry::For(SECOND)), QUICK).await;
        proxy.refuse(true);
        proxy.cut_now();
        let start = Instant::now();
        let tickets: Vec<_> =
            (0..500).map(|_| disk.submit(Request::read(0, 512), BytesMut::zeroed(512))).collect();
        for ticket in tickets {
            let failed = ticket.await.unwrap_err();
            assert_eq!(failed.error.timer(), Some(Timer::Recovery), "{}", failed.error);
            assert_eq!(failed.payload.into_mut().len(), 512);
        }
        let took = start.elapsed();
        assert!((SECOND / 2..4 * SECOND).contains(&took), "{took:?}");
        proxy.refuse(false);
        disk.handle().reconnect().await.unwrap();
        disk.read_at(0, BytesMut::zeroed(512)).await.unwrap();
        disk.handle().shut_down().await.unwrap();
    });
}

#[test]
fn a_request_that_is_not_answered_ends_at_its_deadline() {
    let store = Store::new(MIB);
    let target = target(&store);
    let proxy = behind(&target, |to| to);
    run(async {
        let timeouts = Timeouts { task_management: SECOND / 10, ..QUICK };
        let disk = connect(&proxy, Recovery::NEVER, timeouts).await;
        let mut config = DiskConfig::new(Lun::ZERO);
        config.timeout = Some(SECOND / 10);
        let hasty = disk.handle().open_with(config).await.unwrap();
        proxy.stall_now(Way::ToClient);
        let start = Instant::now();
        let failed = hasty.read_at(0, BytesMut::zeroed(512)).await.unwrap_err();
        let took = start.elapsed();
        // The deadline, and that of the abort.
        assert!((SECOND / 5..SECOND).contains(&took), "{took:?}: {}", failed.error);
        assert!(failed.error.timer().is_some(), "{}", failed.error);
        assert_eq!(failed.payload.len(), 512);
    });
}

#[test]
fn a_connection_that_goes_silent_is_found_by_pings() {
    let store = Store::new(MIB);
    let target = target(&store);
    let proxy = behind(&target, |to| to);
    run(async {
        let disk = connect(&proxy, quick(Retry::Forever), QUICK).await;
        proxy.stall_now(Way::ToClient);
        let start = Instant::now();
        disk.read_at(0, BytesMut::zeroed(4096)).await.unwrap();
        let took = start.elapsed();
        assert!((SECOND..5 * SECOND).contains(&took), "{took:?}");
        assert_eq!(proxy.connections(), 2);
        disk.handle().shut_down().await.unwrap();
    });
}

#[test]
fn a_shut_down_does_not_wait_for_a_target_that_is_gone() {
    let store = Store::new(MIB);
    let target = target(&store);
    let proxy = behind(&target, |to| to);
    run(async {
        let disk = connect(&proxy, quick(Retry::Forever), QUICK).await;
        proxy.refuse(true);
        proxy.cut_now();
        let ticket = disk.submit(Request::read(0, 512), BytesMut::zeroed(512));
        let start = Instant::now();
        let _ = disk.handle().shut_down().await;
        assert!(start.elapsed() < 3 * SECOND, "{:?}", start.elapsed());
        let failed = ticket.await.unwrap_err();
        assert_eq!(failed.payload.into_mut().len(), 512);
        assert!(!matches!(failed.error, Error::Request(_)), "{}", failed.error);
    });
}
