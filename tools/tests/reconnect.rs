//! `iscsi-dd` copies over connections that break, with this project's target.

#[path = "support/reconnect.rs"]
mod reconnect;
#[expect(dead_code, reason = "each test program uses its part")]
#[path = "support/served.rs"]
mod served;
#[expect(dead_code, reason = "each test program uses its part")]
mod support;

use core::time::Duration;
use std::time::Instant;

use iscsi_fault_proxy::{Fault, FaultProxy, Way};
use served::{Served, TARGET};
use support::{DD, Scratch, command, random};

const MIB: usize = 1 << 20;

#[test]
fn a_copy_outlives_its_connections() {
    let served = Served::with(&[(64 * MIB, 512)], |config| config.limits.default_time2wait = 0);
    reconnect::there_and_back(served.address(), &format!("{TARGET}/0"), 64 * MIB, 12);
}

#[test]
fn a_target_that_does_not_come_back_ends_the_copy_in_the_time_allowed() {
    let served = Served::new(&[MIB]);
    let proxy = FaultProxy::to(served.address()).close_after_bytes(300_000..=300_000);
    let proxy = proxy.start().unwrap();
    let source = Scratch::with("gone", &random(MIB, 6));
    let url = format!("iscsi://{}/{TARGET}/0", proxy.addr());
    let start = Instant::now();
    let child = command(DD, ["-s", source.str(), "-d", &url, "--retry-for", "4"])
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    assert!(proxy.wait_until(Duration::from_secs(10), |counters| counters.cuts > 0));
    proxy.refuse(true);
    let ran = support::Ran::from(child.wait_with_output().unwrap()).ended_with(10);
    let took = start.elapsed();
    assert!((4..7).contains(&took.as_secs()), "{took:?}");
    for words in ["connection lost: ", "next attempt in", "gave up after", "--retry-for"] {
        assert!(ran.stderr.contains(words), "no {words:?} in {}", ran.stderr);
    }
    assert!(ran.stderr.contains("of 1048576 bytes were copied"), "{}", ran.stderr);
}

/// A copy of one block, over a connection that breaks in the middle of each of the commands that it takes in turn.
#[test]
fn a_connection_may_break_at_any_command() {
    let served = Served::with(&[(512, 512)], |config| config.limits.default_time2wait = 0);
    let back = Scratch::new("any-command");
    let copy = |proxy: &FaultProxy| {
        let url = format!("iscsi://{}/{TARGET}/0", proxy.addr());
        let arguments = ["-s", &url, "-d", back.str(), "--time2wait", "0", "--retry-for", "20"];
        let start = Instant::now();
        let output = command(DD, arguments).env("LIBISCSI_DEBUG", "6").output().unwrap();
        let ran = support::Ran::from(output).ended_with(0);
        assert_eq!(back.read(), [0; 512]);
        (ran.stderr, start.elapsed())
    };
    // The headers of the commands are all that is sent between the login and the logout, which is a header, too.
    const HEADER: u64 = 48;
    let proxy = FaultProxy::to(served.address()).start().unwrap();
    let (said, _) = copy(&proxy);
    assert!(proxy.wait_until(Duration::from_secs(10), |counters| counters.open == 0));
    let (all, commands) =
        (proxy.counters().to_server, said.matches("-> SCSI Command:").count() as u64);
    assert!(commands >= 10, "{said}");
    for left in 0..commands {
        let bytes = all - HEADER * (left + 1) - HEADER / 2;
        let to = FaultProxy::to(served.address()).only_connections(0..1);
        let proxy = to.after_bytes(Way::ToServer, bytes..=bytes, Fault::Reset).start().unwrap();
        let (said, took) = copy(&proxy);
        assert!(took < Duration::from_secs(5), "{left} left, {took:?}: {said}");
        assert_eq!(said.matches("connection lost: ").count(), 1, "{left} left: {said}");
        assert_eq!(said.matches("logged in again").count(), 1, "{left} left: {said}");
        assert_eq!(proxy.connections(), 2);
    }
}
