//! Connections that break, stall and trickle, and ports where nobody answers: the tools end in time, say why, and wait without
//! working.

#[expect(dead_code, reason = "each test program uses its part")]
#[path = "support/served.rs"]
mod served;
#[expect(dead_code, reason = "each test program uses its part")]
mod support;

use core::time::Duration;
use std::fs;
use std::io::Read;
use std::net::TcpListener;
use std::process::Stdio;
use std::thread;
use std::time::Instant;

use iscsi_fault_proxy::{Builder, Fault, FaultProxy, Way};
use served::{Served, TARGET};
use support::{DD, INQ, LS, Ran, Scratch, command, random};

const MIB: usize = 1 << 20;

/// The time limit that the tools are given.
const LIMIT: Duration = Duration::from_secs(2);
const TIMEOUT: [&str; 2] = ["--timeout", "2"];

/// How a program ended, how long it took, and the CPU time that it spent.
struct Timed {
    ran: Ran,
    took: Duration,
    cpu: Duration,
}

impl Timed {
    /// The same if it failed with these words, after `limits` time limits and not much later, and did nothing but wait.
    #[track_caller]
    fn failed_with(self, words: &[&str], limits: core::ops::RangeInclusive<u32>) -> Ran {
        let Self { ran, took, cpu } = self;
        let ran = ran.ended_with(10);
        println!("{took:?}, CPU {cpu:?}: {}", ran.stderr.trim_end());
        for word in words {
            assert!(ran.stderr.contains(word), "no {word:?} in {}", ran.stderr);
        }
        let most = LIMIT * *limits.end() + Duration::from_millis(1500);
        assert!((LIMIT * *limits.start()..most).contains(&took), "{took:?}");
        assert!(*limits.start() == 0 || cpu * 50 < took, "CPU time {cpu:?} of {took:?}");
        ran
    }
}

/// Runs a tool that does not try to replace a connection that it loses.
fn timed(program: &str, arguments: &[&str]) -> Timed {
    let start = Instant::now();
    let once: &[&str] = if program == DD { &["--retry-for", "0"] } else { &[] };
    let mut child = command(program, arguments.iter().chain(&TIMEOUT).chain(once))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdout = child.stdout.take().unwrap();
    let reader = thread::spawn(move || {
        let mut bytes = Vec::new();
        stdout.read_to_end(&mut bytes).map(|_| bytes)
    });
    let mut stderr = String::new();
    child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    let stdout = reader.join().unwrap().unwrap();
    let took = start.elapsed();
    // It stays in the table of processes until it is waited for.
    let cpu = cpu_time(child.id());
    let code = child.wait().unwrap().code();
    Timed { ran: Ran { code, stdout, stderr }, took, cpu }
}

/// User and system time of a process with all its threads, as getrusage(2) has them: fields 14 and 15 of its line in /proc, in
/// hundredths of a second.
#[cfg(target_os = "linux")]
fn cpu_time(pid: u32) -> Duration {
    let line = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    // The second field is a name in parentheses, which may hold anything.
    let (_, rest) = line.rsplit_once(')').unwrap();
    let ticks = rest.split_whitespace().skip(11).take(2).map(|text| text.parse::<u64>().unwrap());
    Duration::from_millis(ticks.sum::<u64>() * 10)
}

#[cfg(not(target_os = "linux"))]
fn cpu_time(_: u32) -> Duration {
    Duration::ZERO
}

/// A target with one disk, and what stands in front of it.
fn behind(disk: usize, faults: impl FnOnce(Builder) -> Builder) -> (Served, FaultProxy) {
    let served = Served::new(&[disk]);
    let proxy = faults(FaultProxy::to(served.address())).start().unwrap();
    (served, proxy)
}

fn unit(proxy: &FaultProxy) -> String {
    format!("iscsi://{}/{TARGET}/0", proxy.addr())
}

/// Each tool with a portal's address.
fn every_tool(address: &str, check: impl Fn(Timed) + Sync) {
    let unit = format!("iscsi://{address}/{TARGET}/0");
    let copy = Scratch::new("copy");
    thread::scope(|scope| {
        scope.spawn(|| check(timed(LS, &[&format!("iscsi://{address}")])));
        scope.spawn(|| check(timed(INQ, &[&unit])));
        check(timed(DD, &["-s", &unit, "-d", copy.str()]));
    });
    assert!(!copy.path().exists(), "no file is made of nothing");
}

const HOSTS: [&str; 2] = ["127.0.0.1", "[::1]"];

#[test]
fn nobody_listens() {
    for host in HOSTS {
        let listener = TcpListener::bind(format!("{host}:0")).unwrap();
        let address = listener.local_addr().unwrap().to_string();
        drop(listener);
        every_tool(&address, |timed| {
            let words = ["cannot connect to", &address, "Connection refused", "target is running"];
            timed.failed_with(&words, 0..=0);
        });
    }
}

#[test]
fn somebody_listens_and_says_nothing() {
    for host in HOSTS {
        let listener = TcpListener::bind(format!("{host}:0")).unwrap();
        let address = listener.local_addr().unwrap().to_string();
        every_tool(&address, |timed| {
            timed.failed_with(&[&address, "login timed out", "--timeout"], 1..=1);
        });
    }
}

#[test]
fn a_byte_a_second() {
    let (_served, proxy) =
        behind(MIB, |faults| faults.trickle(Way::ToClient, 1, Duration::from_secs(1)));
    let address = proxy.addr().to_string();
    every_tool(&address, |timed| {
        timed.failed_with(&[&address, "timed out", "--timeout"], 1..=1);
    });
    assert_eq!(proxy.connections(), 3);
}

#[test]
fn a_copy_whose_target_falls_silent() {
    for way in [Way::ToClient, Way::ToServer] {
        let faults = |faults: Builder| faults.after_bytes(way, MIB as u64..=2 << 20, Fault::Stall);
        let (_served, proxy) = behind(8 * MIB, faults);
        let file = Scratch::with("silent", &random(8 * MIB, 1));
        let unit = unit(&proxy);
        let timed = match way {
            Way::ToClient => timed(DD, &["-s", &unit, "-d", file.str()]),
            Way::ToServer => timed(DD, &["-s", file.str(), "-d", &unit]),
        };
        // The command's time, then that of its abort, then that of the reset of its unit.
        timed.failed_with(&["timed out"], 1..=3);
        assert_eq!(proxy.counters().stalls, 1);
    }
}

/// A copy whose connection is broken at once after a number of bytes.
fn broken_copy(words: &[&str], faults: impl Fn(Builder, u64) -> Builder) {
    let content = random(8 * MIB, 2);
    for seed in 1..=5 {
        for reads in [true, false] {
            let (_served, proxy) = behind(8 * MIB, |to| faults(to.seed(seed), MIB as u64));
            let file = Scratch::with("broken", &content);
            let back = Scratch::new("broken-back");
            let unit = unit(&proxy);
            let timed = match reads {
                true => timed(DD, &["-s", &unit, "-d", back.str()]),
                false => timed(DD, &["-s", file.str(), "-d", &unit]),
            };
            let ran = timed.failed_with(&[], 0..=0);
            assert!(words.iter().any(|word| ran.stderr.contains(word)), "{}", ran.stderr);
            // It says where it stopped.
            assert!(ran.stderr.contains("bytes"), "{}", ran.stderr);
            assert_eq!(proxy.connections(), 1);
        }
    }
}

#[test]
fn a_copy_whose_connection_is_reset() {
    broken_copy(&["Connection reset", "Broken pipe"], |to, bytes| {
        to.cut_after_bytes(bytes..4 * bytes)
    });
}

#[test]
fn a_copy_whose_connection_is_closed() {
    let words = ["closed", "Connection reset", "Broken pipe"];
    broken_copy(&words, |to, bytes| to.close_after_bytes(bytes..4 * bytes));
}

#[test]
fn a_copy_whose_target_says_that_this_was_all() {
    let (_served, proxy) =
        behind(8 * MIB, |to| to.after_bytes(Way::ToClient, MIB as u64..=2 << 20, Fault::HalfClose));
    let back = Scratch::new("half");
    timed(DD, &["-s", &unit(&proxy), "-d", back.str()]).failed_with(&["closed"], 0..=0);
    assert_eq!(proxy.counters().half_closes, 1);
}

/// Whatever a copy with digests calls good is good.
#[test]
fn flipped_bits_do_not_get_through() {
    let content = random(4 * MIB, 3);
    let file = Scratch::with("flipped", &content);
    let digests = ["--header-digest", "crc32c", "--data-digest", "crc32c"];
    let copy =
        |from: &str, to: &str| timed(DD, &[&["-s", from, "-d", to][..], &digests].concat()).ran;
    let (mut flips, mut failed, mut good) = (0, 0, 0);
    for seed in 0..12 {
        // Between nothing at all and a few bits in the course of a copy.
        let (served, proxy) = behind(4 * MIB, |to| {
            let every = 1 << 20..5 << 20;
            let to = to.seed(seed).flip_bits(Way::ToServer, every.clone());
            to.flip_bits(Way::ToClient, every).outside_login()
        });
        let (unit, back, stored) =
            (unit(&proxy), Scratch::new("flipped-back"), Scratch::new("flipped-stored"));
        let (there, from) = (copy(file.str(), &unit), copy(&unit, back.str()));
        // The disk as it is, without the proxy.
        copy(&served.url(0), stored.str()).ended_with(0);
        for (ran, copied, original) in [
            (there, stored.read(), &content),
            (from, fs::read(back.path()).unwrap_or_default(), &stored.read()),
        ] {
            if ran.code == Some(0) {
                assert!(copied == *original, "seed {seed}");
                good += 1;
            } else {
                let ran = ran.ended_with(10);
                assert!(ran.stderr.contains("bytes were copied"), "{}", ran.stderr);
                failed += 1;
            }
        }
        flips += proxy.counters().flips;
    }
    // A write whose data the target found damaged is tried again; damaged data of a read end the session.
    println!("{flips} bits flipped: {failed} copies failed, {good} were good");
    assert!(flips >= 8 && failed >= 3 && good >= 8);
}
