//! Connections that are lost.

use std::thread;
use std::time::Instant;

use iscsi_core::config::{Recovery, Retry};
use iscsi_core::text::Digests;
use iscsi_core::{SessionState, Timer};
use iscsi_disk::Request;
use iscsi_fault_proxy::{FaultProxy, Way};
use iscsi_runtime::{Error, Payload};

use super::{Numbers, SECOND, config, open, open_at, pattern, recovery};
use crate::{Path, Runtime, Served};

/// Writes and reads until so many connections were lost; everything holds what was written last.
fn work(path: &mut dyn Path, losses: u64) {
    const PART: usize = 40_000;
    let mut numbers = Numbers(11);
    let mut model = vec![0; 100 * PART];
    for round in 0.. {
        assert!(round < 2_000, "{:?}", path.standing());
        let mut begun = Vec::new();
        for n in 0..4 {
            // Of one round, no two touch the same block.
            let at = (numbers.below(24) * 4 + n) as usize * PART + numbers.below(500) as usize;
            let data = pattern(PART - 2000, round);
            model[at..at + data.len()].copy_from_slice(&data);
            let request = Request::write(at as u64, data.len() as u64);
            begun.push(path.submit(request, Payload::Out(data)));
        }
        for _ in begun {
            path.next().1.expect("a write");
        }
        let at = numbers.below(50) as usize * PART;
        let read = path.read(at as u64, 2 * PART).expect("a read");
        assert!(read == model[at..at + 2 * PART], "round {round}");
        if path.standing().lost >= losses {
            break;
        }
    }
    // In pieces that one connection lives long enough for.
    for (n, part) in model.chunks(2 * PART).enumerate() {
        let read = path.read((2 * PART * n) as u64, part.len()).expect("a read");
        assert!(read == part, "part {n}");
    }
}

pub(super) fn cuts(runtime: &dyn Runtime, served: &Served) {
    let proxy = FaultProxy::to(served.address).seed(3).cut_after_bytes(150_000..=900_000);
    let proxy = proxy.start().expect("a proxy");
    let config = config(served).recovery(recovery(Retry::Forever));
    let mut path = open_at(runtime, proxy.addr().into(), served, config).expect("a login");
    work(&mut *path, 12);
}

pub(super) fn flips(runtime: &dyn Runtime, served: &Served) {
    let proxy = FaultProxy::to(served.address).seed(4);
    // The login has no digests.
    let proxy = [Way::ToServer, Way::ToClient]
        .into_iter()
        .fold(proxy, |proxy, way| proxy.flip_bits(way, 200_000..=900_000))
        .outside_login();
    let proxy = proxy.start().expect("a proxy");
    let config = config(served)
        .header_digest(Digests::CRC32C)
        .data_digest(Digests::CRC32C)
        .recovery(recovery(Retry::Forever));
    let mut path = open_at(runtime, proxy.addr().into(), served, config).expect("a login");
    work(&mut *path, 8);
}

pub(super) fn forced(runtime: &dyn Runtime, served: &Served) {
    let mut path = open(runtime, served, config(served).recovery(recovery(Retry::Forever)));
    path.write(0, &pattern(5000, 1)).expect("a write");
    for n in 1..=10 {
        path.force_reconnect().expect("a login");
        assert_eq!(path.standing().logins, n + 1);
    }
    assert!(path.read(0, 5000).expect("a read") == pattern(5000, 1));
}

/// What is asked for while nobody answers is done when somebody does.
pub(super) fn away(runtime: &dyn Runtime, served: &Served) {
    let proxy = FaultProxy::to(served.address).start().expect("a proxy");
    let config = config(served).recovery(recovery(Retry::For(60 * SECOND)));
    let mut path = open_at(runtime, proxy.addr().into(), served, config).expect("a login");
    proxy.refuse(true);
    proxy.cut_now();
    let data = pattern(3000, 9);
    thread::scope(|scope| {
        let back = scope.spawn(|| {
            // Attempts have failed by then, at whatever speed the machine has.
            assert!(proxy.wait_until(30 * SECOND, |counters| counters.refused >= 3));
            proxy.refuse(false);
        });
        path.write(77, &data).expect("a write");
        back.join().expect("it comes back");
    });
    assert!(path.read(77, data.len()).expect("a read") == data);
    assert_eq!(path.standing().lost, 1);
}

pub(super) fn given_up(runtime: &dyn Runtime, served: &Served) {
    let proxy = FaultProxy::to(served.address).start().expect("a proxy");
    let config = config(served).recovery(recovery(Retry::For(SECOND)));
    let mut path = open_at(runtime, proxy.addr().into(), served, config).expect("a login");
    proxy.refuse(true);
    proxy.cut_now();
    let start = Instant::now();
    let failed = path.read(0, 512).expect_err("nobody answers");
    let took = start.elapsed();
    assert!(took < 4 * SECOND, "{took:?}");
    assert_eq!(failed.error.timer(), Some(Timer::Recovery), "{failed}");
    assert!(matches!(failed.error, Error::GaveUp(_)), "{failed}");
    assert_eq!(failed.payload.into_bytes().len(), 512);
    // It can be opened again by hand.
    proxy.refuse(false);
    path.reconnect().expect("a login");
    path.read(0, 512).expect("a read");
}

pub(super) fn no_policy(runtime: &dyn Runtime, served: &Served) {
    let proxy = FaultProxy::to(served.address).start().expect("a proxy");
    let config = config(served).recovery(Recovery::NEVER);
    let mut path = open_at(runtime, proxy.addr().into(), served, config).expect("a login");
    path.write(0, &[3; 512]).expect("a write");
    proxy.cut_now();
    let failed = path.read(0, 512).expect_err("the connection is gone");
    assert!(matches!(failed.error, Error::Lost(_) | Error::Io(_)), "{failed}");
    assert!(matches!(path.standing().state, SessionState::Failed(_)));
    path.reconnect().expect("a login");
    assert_eq!(path.read(0, 512).expect("a read"), [3; 512]);
}
