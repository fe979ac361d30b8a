//! Units that lose what they had not brought to their medium: `iscsi-dd` says that a copy is complete only when it is.

#[expect(dead_code, reason = "each test program uses its part")]
#[path = "support/served.rs"]
mod served;
#[expect(dead_code, reason = "each test program uses its part")]
mod support;
#[path = "support/volatile.rs"]
mod volatile;

use std::sync::Arc;

use iscsi_core::{Command, IscsiName, Lun, Transfer};
use iscsi_runtime_std::{Client, Data, Options};
use iscsi_target::server::ServerHandle;
use served::Served;
use support::{DD, Ran, Scratch, random, run, run_with_input};
use volatile::{Medium, Plan, TARGET};

const MIB: usize = 1 << 20;

/// A unit on such a medium, and its URL.
fn unit(bytes: usize, plan: Plan) -> (Arc<Medium>, ServerHandle, String) {
    let medium = Medium::new(bytes, plan);
    let handle = medium.serve();
    let url = format!("iscsi://{}/{TARGET}/0", handle.addr());
    (medium, handle, url)
}

fn power(after: usize, times: u32, cut: bool) -> Plan {
    Plan::Power { after, times, cut }
}

/// How often it said that it copies again.
fn again(ran: &Ran) -> usize {
    ran.stderr.matches("copying again from byte").count()
}

#[test]
fn what_was_lost_with_the_power_is_written_again() {
    let data = random(8 * MIB, 40);
    let source = Scratch::with("power", &data);
    for cut in [true, false] {
        // In mid copy, and after the last write: then SYNCHRONIZE CACHE, or the look after the new login, is the first to hear of it.
        for after in [3 * MIB, 8 * MIB] {
            for times in [1, 2] {
                let (medium, _serving, url) = unit(8 * MIB, power(after, times, cut));
                let ran = run(DD, ["-s", source.str(), "-d", &url, "--time2wait", "0"]);
                let ran = ran.ended_with(0);
                assert!(medium.kept() == data, "{after} {times} {cut}: {}", ran.stderr);
                assert!(again(&ran) >= 1 && medium.happened() >= 1, "{}", ran.stderr);
                assert!(ran.stderr.contains("reset or powered on"), "{}", ran.stderr);
                assert!(ran.text().starts_with("16384 blocks"), "{}", ran.text());
            }
        }
    }
}

#[test]
fn a_quiet_copy_is_written_once() {
    let source = Scratch::with("quiet", &random(4 * MIB, 41));
    let (medium, _serving, url) = unit(4 * MIB, power(usize::MAX, 0, false));
    let ran = run(DD, ["-s", source.str(), "-d", &url]).ended_with(0);
    assert_eq!((medium.written(), medium.flushes()), (4 * MIB, 1));
    assert!(ran.stderr.is_empty() && medium.kept() == source.read(), "{}", ran.stderr);
    // Nothing to copy, but something may be in the cache from before.
    run(DD, ["-s", "/dev/null", "-d", &url]).ended_with(0);
    assert_eq!((medium.written(), medium.flushes()), (4 * MIB, 2));
}

#[test]
fn any_source_can_be_read_again() {
    let data = random(6 * MIB, 42);
    let source = Scratch::with("any-source", &data);
    let from_unit = Served::new(&[6 * MIB]);
    run(DD, ["-s", source.str(), "-d", &from_unit.url(0)]).ended_with(0);
    let copy = |from: &str, input: &[u8]| {
        let (medium, _serving, url) = unit(7 * MIB, power(2 * MIB, 2, false));
        // It begins within a block: what is around it is written, too.
        let arguments = ["-s", from, "-d", &url, "--seek", "700", "--checksum", "sha256"];
        let ran = run_with_input(DD, &arguments, input).ended_with(0);
        assert!(again(&ran) > 0, "{}", ran.stderr);
        assert!(medium.kept()[700..][..6 * MIB] == data, "from {from}");
        let sum = ran.text().lines().find(|line| line.starts_with("sha256:"));
        sum.expect("a checksum").to_owned()
    };
    // What was read twice is counted once.
    let back = run(DD, ["-s", source.str(), "-d", "/dev/null", "--checksum", "sha256"]);
    let expected = back.ended_with(0).text().lines().last().unwrap().to_owned();
    assert_eq!(copy(source.str(), &[]), expected);
    assert_eq!(copy("-", &data), expected);
    assert_eq!(copy(&from_unit.url(0), &[]), expected);
}

#[test]
fn of_a_pipe_so_much_is_kept_as_may_be_wanted_again() {
    let data = random(80 * MIB, 43);
    let (medium, _serving, url) = unit(80 * MIB, power(70 * MIB, 1, false));
    let arguments = ["-s", "-", "-d", &url];
    let ran = run_with_input(DD, &arguments, &data).ended_with(0);
    assert!(ran.stderr.contains("copying again from byte 67108864 "), "{}", ran.stderr);
    assert!(medium.kept() == data);
    let twice = medium.written() - data.len();
    assert!((6 * MIB..=16 * MIB).contains(&twice), "{twice} bytes more");
}

#[test]
fn a_unit_that_loses_its_power_often_is_flushed_more_often() {
    let data = random(8 * MIB, 44);
    let source = Scratch::with("often", &data);
    let (medium, _serving, url) = unit(8 * MIB, power(3 * MIB / 2, 20, false));
    let ran = run(DD, ["-s", source.str(), "-d", &url, "-m", "2"]).ended_with(0);
    assert!(medium.kept() == data, "{}", ran.stderr);
    assert!(medium.happened() >= 3, "{}", ran.stderr);
}

#[test]
fn a_unit_that_loses_everything_is_given_up() {
    let data = random(MIB, 45);
    let source = Scratch::with("given-up", &data);
    let (_, _serving, url) = unit(MIB, power(64 << 10, u32::MAX, false));
    let arguments = ["-s", source.str(), "-d", &url, "-m", "1", "--block-size", "64K"];
    let ran = run(DD, arguments).ended_with(10);
    assert_eq!(again(&ran), 8, "{}", ran.stderr);
    assert!(ran.stderr.contains("9 times in a row"), "{}", ran.stderr);
    let advice = "0 of 1048576 bytes were copied; --offset-src 0 --offset-dst 0 goes on from there";
    assert!(ran.stderr.contains(advice), "{}", ran.stderr);
}

/// Has the unit write through its cache, by MODE SELECT(6) of the caching page.
fn switch_cache_off(url: &str) {
    let url = url.parse().unwrap();
    let name = IscsiName::new("iqn.2001-04.com.example:switch").unwrap();
    let mut client = Client::connect_url(&url, name, &Options::default()).unwrap();
    let mut list = [0; 4 + 20];
    list[4..6].copy_from_slice(&[0x08, 18]);
    let select = [0x15, 0x10, 0, 0, list.len() as u8, 0];
    // The first command is told of the power.
    let ready = Command::new(Lun::ZERO, &[0; 6], Transfer::None);
    client.execute(&ready, Data::None).unwrap();
    let command = Command::new(Lun::ZERO, &select, Transfer::Out(list.len() as u32));
    client.execute(&command, Data::Out(&list)).unwrap().good().unwrap();
    client.logout().unwrap();
}

#[test]
fn a_unit_without_a_cache_loses_nothing() {
    let data = random(8 * MIB, 46);
    let source = Scratch::with("no-cache", &data);
    for cut in [true, false] {
        let (medium, _serving, url) = unit(8 * MIB, power(3 * MIB, 1, cut));
        switch_cache_off(&url);
        medium.write_through();
        let arguments = ["-s", source.str(), "-d", &url, "--time2wait", "0", "-m", "4"];
        let ran = run(DD, arguments).ended_with(0);
        assert_eq!((again(&ran), medium.happened()), (0, 1), "{}", ran.stderr);
        assert!(medium.kept() == data);
        // What was not answered when the connection went is sent again.
        assert!(medium.written() <= 8 * MIB + 4 * MIB / 2, "{}", medium.written());
    }
}

#[test]
fn a_flush_that_fails_is_not_passed_over_by_going_on() {
    let data = random(MIB, 47);
    let source = Scratch::with("not-flushed", &data);
    let (medium, _serving, url) = unit(2 * MIB, Plan::Broken { times: 1 });
    let whole = ["-s", source.str(), "-d", &url, "--seek", "512"];
    let ran = run(DD, whole).ended_with(10);
    assert!(ran.stderr.contains("SYNCHRONIZE CACHE: sense key 0x3 MEDIUM ERROR"), "{}", ran.stderr);
    let unsure = "1048576 more bytes were written, but are not known to be on the medium";
    assert!(ran.stderr.contains(unsure), "{}", ran.stderr);
    let advice = "0 of 1048576 bytes were copied; --offset-src 0 --offset-dst 512 goes on";
    assert!(ran.stderr.contains(advice), "{}", ran.stderr);
    assert!(medium.kept().iter().all(|byte| *byte == 0));
    let advised = ["-s", source.str(), "-d", &url, "--offset-src", "0", "--offset-dst", "512"];
    run(DD, advised).ended_with(0);
    assert!(medium.kept()[512..][..MIB] == data);
}
