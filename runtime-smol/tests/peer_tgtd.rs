//! The async runtime against tgtd.

#[expect(dead_code, reason = "each test program uses its part")]
#[path = "../../runtime-std/tests/support/tgtd.rs"]
mod tgtd;

use core::time::Duration;
use std::io::SeekFrom;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::{Bytes, BytesMut};
use futures_lite::{AsyncReadExt as _, AsyncSeekExt as _, AsyncWriteExt as _, future};
use iscsi_core::config::Recovery;
use iscsi_core::text::Digests;
use iscsi_core::{IscsiName, url::IscsiUrl};
use iscsi_runtime_smol::{Disk, Handle, Options, Request};
use libtest_mimic::{Arguments, Failed, Trial};
use tgtd::{Access, BYTES, Tgtd};

const USER: (&str, &str) = ("alice", "secret-of-alice");

type Test = fn(&IscsiUrl);

/// Tests by name; each has a target of that name.
const TESTS: &[(&str, Test)] = &[
    ("stream", stream),
    ("many-futures", many_futures),
    ("dropped-futures", dropped_futures),
    ("reconnects", reconnects),
];

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let required = std::env::var_os("ISCSI_REQUIRE_PEERS").is_some_and(|value| value == "1");
    let missing = tgtd::missing();
    // One daemon for all tests, each with a target of its own; it ends with the last test.
    let daemon: Arc<Mutex<Option<Tgtd>>> = Arc::default();
    let trials = TESTS.iter().map(|&(name, test)| {
        let (daemon, missing) = (daemon.clone(), missing.clone());
        let ignored = missing.is_some() && !required;
        Trial::test(name, move || {
            if let Some(missing) = missing {
                return Err(Failed::from(missing));
            }
            let mut daemon = daemon.lock().unwrap_or_else(PoisonError::into_inner);
            let tgtd = daemon.get_or_insert_with(Tgtd::start);
            let access = Access { incoming: Some(USER), outgoing: None };
            let (target, port) = (tgtd.add_target(name, &access), tgtd.port);
            tgtd.set("HeaderDigest", "CRC32C");
            tgtd.set("DataDigest", "CRC32C");
            drop(daemon);
            let (user, secret) = USER;
            let url = format!("iscsi://{user}:{secret}@127.0.0.1:{port}/{target}/1");
            test(&url.parse().unwrap());
            Ok(())
        })
        .with_kind("tgtd")
        .with_ignored_flag(ignored)
    });
    let conclusion = libtest_mimic::run(&arguments, trials.collect());
    drop(daemon.lock().unwrap_or_else(PoisonError::into_inner).take());
    conclusion.exit_code()
}

/// With both digests, and a session that comes back.
async fn connect(url: &IscsiUrl) -> Disk {
    let name = IscsiName::new("iqn.2001-04.com.example:smol").unwrap();
    let config = url.config(name).unwrap().recovery(Recovery::FOREVER);
    let config = config.header_digest(Digests::CRC32C).data_digest(Digests::CRC32C);
    let config = config.build().unwrap();
    let handle = Handle::connect(config, url.portal.clone(), &Options::default()).await.unwrap();
    handle.open(url.lun).await.unwrap()
}

fn pattern(len: usize, seed: usize) -> Vec<u8> {
    (0..len).map(|at| (at * 7 + at / 251 + seed) as u8).collect()
}

fn run(test: impl Future<Output = ()>) {
    let late = async {
        async_io::Timer::after(Duration::from_secs(120)).await;
        panic!("the test waits for ever");
    };
    smol::block_on(future::or(test, late));
}

fn stream(url: &IscsiUrl) {
    run(async {
        let disk = connect(url).await;
        assert_eq!(disk.capacity(), BYTES);
        let data = pattern(BYTES as usize, 3);
        let mut stream = disk.stream();
        for part in data.chunks(77_777) {
            stream.write_all(part).await.unwrap();
        }
        stream.flush().await.unwrap();
        assert_eq!(stream.write(b"more").await.unwrap(), 0);
        stream.seek(SeekFrom::Start(0)).await.unwrap();
        let mut read = Vec::new();
        stream.read_to_end(&mut read).await.unwrap();
        assert!(read == data);
        disk.handle().shut_down().await.unwrap();
    });
}

fn many_futures(url: &IscsiUrl) {
    run(async {
        let disk = connect(url).await;
        let tasks: Vec<_> = (0..400)
            .map(|n| {
                let disk = disk.clone();
                smol::spawn(async move {
                    let data = Bytes::from(pattern(1_000 + n * 37, n));
                    let parts = vec![data.slice(..n), data.slice(n..)];
                    let at = (n * 40_000 + 13) as u64;
                    disk.write_vectored_at(at, parts).await.unwrap();
                    let read = disk.read_at(at, BytesMut::zeroed(data.len())).await.unwrap();
                    assert!(read == data, "{n}");
                })
            })
            .collect();
        for task in tasks {
            task.await;
        }
        disk.flush().await.unwrap();
        disk.handle().shut_down().await.unwrap();
    });
}

fn dropped_futures(url: &IscsiUrl) {
    run(async {
        let disk = connect(url).await;
        let data = Bytes::from(pattern(3_000, 1));
        disk.write_at(5_000, data.clone()).await.unwrap();
        for n in 0_usize..2_000 {
            let memory = BytesMut::zeroed(100 + n * 5);
            let mut read = Box::pin(disk.read_at(n as u64 * 100, memory));
            for _ in 0..n % 4 {
                if future::poll_once(&mut read).await.is_some() {
                    break;
                }
                future::yield_now().await;
            }
            drop(read);
            if n % 100 == 0 {
                let read = disk.read_at(5_000, BytesMut::zeroed(data.len())).await.unwrap();
                assert!(read == data, "{n}");
            }
        }
        let read = Request::read(5_000, data.len() as u64);
        let last: Vec<_> =
            (0..100).map(|_| disk.submit(read, BytesMut::zeroed(data.len()))).collect();
        for ticket in last {
            assert!(ticket.await.unwrap().into_mut() == data);
        }
        while disk.handle().status().await.unwrap().in_use > 0 {
            future::yield_now().await;
        }
        disk.handle().shut_down().await.unwrap();
    });
}

fn reconnects(url: &IscsiUrl) {
    run(async {
        let disk = connect(url).await;
        let data = Bytes::from(pattern(300_001, 9));
        for round in 0..3 {
            let write = disk.submit(Request::write(round * 400_000 + 1, 300_001), data.clone());
            disk.handle().force_reconnect().await.unwrap();
            write.await.unwrap();
            let read = disk.read_at(round * 400_000 + 1, BytesMut::zeroed(data.len())).await;
            assert!(read.unwrap() == data, "{round}");
        }
        assert_eq!(disk.handle().status().await.unwrap().session.logins, 4);
        disk.handle().shut_down().await.unwrap();
    });
}
