//! SIGINT and SIGTERM while nothing comes to an end by itself: the tools end soon, and tell what was done.

#[expect(dead_code, reason = "each test program uses its part")]
#[path = "support/served.rs"]
mod served;
#[expect(dead_code, reason = "each test program uses its part")]
mod support;

use core::time::Duration;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStderr, ChildStdout, Command, Stdio};
use std::time::Instant;

use iscsi_fault_proxy::{FaultProxy, Way};
use iscsi_target::{Quirks, RamDisk};
use served::{Served, TARGET};
use support::{DD, PERF, Ran, Scratch, command, random, run};

const MIB: usize = 1 << 20;
const PIECE: usize = 64 << 10;

/// What is under way has so long.
const GRACE: Duration = Duration::from_secs(3);
/// Much less than that.
const SOON: Duration = Duration::from_secs(2);
const LONG: Duration = Duration::from_secs(20);

fn send(child: &Child, signal: &str) {
    let id = child.id().to_string();
    let sent = Command::new("sh").args(["-c", "kill -s $0 $1", signal, &id]).status();
    assert!(sent.unwrap().success());
}

/// A tool with a trace of its PDUs on standard error.
struct Traced {
    child: Child,
    lines: BufReader<ChildStderr>,
    text: String,
}

impl Traced {
    fn start(arguments: &[&str]) -> Self {
        let mut child = command(DD, arguments)
            .env("LIBISCSI_DEBUG", "6")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap());
        Self { child, lines, text: String::new() }
    }

    /// Waits for a line with these words.
    fn until(&mut self, words: &[&str]) {
        loop {
            let from = self.text.len();
            assert_ne!(self.lines.read_line(&mut self.text).unwrap(), 0, "{}", self.text);
            let line = self.text.get(from..).unwrap();
            if words.iter().all(|word| line.contains(word)) {
                return;
            }
        }
    }

    fn end(mut self) -> Ran {
        self.lines.read_to_string(&mut self.text).unwrap();
        let code = self.child.wait().unwrap().code();
        Ran { code, stdout: Vec::new(), stderr: self.text }
    }
}

const WRITE_10: [&str; 2] = ["-> SCSI Command:", " cdb=2a"];

#[test]
fn a_copy_without_a_connection_ends_at_once() {
    let file = Scratch::with("signals-file", &random(MIB, 31));
    for (signal, writes) in [("INT", false), ("TERM", false), ("TERM", true)] {
        let served = Served::new(&[MIB]);
        let proxy = FaultProxy::to(served.address()).close_after_bytes(300_000..=300_000);
        let proxy = proxy.start().unwrap();
        let url = format!("iscsi://{}/{TARGET}/0", proxy.addr());
        let back = Scratch::new("signals-back");
        let (from, to) = if writes { (file.str(), &*url) } else { (&*url, back.str()) };
        let mut copy = Traced::start(&["-s", from, "-d", to, "--block-size", "64K"]);
        copy.until(&["connection lost: ", "next attempt in"]);
        proxy.refuse(true);
        copy.until(&["attempt 1 failed: "]);
        let start = Instant::now();
        send(&copy.child, signal);
        let ran = copy.end().ended_with(10);
        let took = start.elapsed();
        assert!(took < SOON, "{took:?}: {}", ran.stderr);
        for words in ["interrupted", " of 1048576 bytes were copied", "goes on from there"] {
            assert!(ran.stderr.contains(words), "no {words:?} in {}", ran.stderr);
        }
    }
}

/// The input stays open: that nothing comes holds nobody up.
#[test]
fn a_write_that_is_answered_in_time_counts() {
    let served = Served::new(&[MIB]);
    let proxy = FaultProxy::to(served.address()).start().unwrap();
    let url = format!("iscsi://{}/{TARGET}/0", proxy.addr());
    let size = PIECE.to_string();
    let mut copy = Traced::start(&["-s", "-", "-d", &url, "--block-size", &size, "-m", "2"]);
    let mut input = copy.child.stdin.take().unwrap();
    let data = random(2 * PIECE, 32);
    let (first, second) = data.split_at(PIECE);
    input.write_all(first).unwrap();
    copy.until(&WRITE_10);
    copy.until(&["<- SCSI Response:"]);
    proxy.stall_now(Way::ToClient);
    input.write_all(second).unwrap();
    copy.until(&WRITE_10);
    send(&copy.child, "TERM");
    proxy.resume();
    let ran = copy.end().ended_with(10);
    drop(input);
    let advice = "131072 bytes were copied; --offset-src 131072 --offset-dst 131072 goes on";
    assert!(ran.stderr.contains(advice), "{}", ran.stderr);
    assert!(ran.stderr.contains(" cdb=35"), "the cache is written: {}", ran.stderr);
    assert!(ran.stderr.contains("<- Logout Response:"), "{}", ran.stderr);
    let copied = run(DD, ["-s", &served.url(0), "-d", "-", "--count", "128K"]).ended_with(0);
    assert!(copied.stdout == data);
}

#[test]
fn a_write_that_is_never_answered_is_given_up_and_does_not_count() {
    const WRITE: u8 = 0x2a;
    let disk = Box::new(RamDisk::new(vec![0; MIB], 512).unwrap());
    let served = Served::odd(vec![disk], Quirks { ignore: Some(WRITE), ..Quirks::default() });
    let file = Scratch::with("signals-unanswered", &random(MIB, 33));
    let mut copy = Traced::start(&["-s", file.str(), "-d", &served.url(0)]);
    copy.until(&WRITE_10);
    let start = Instant::now();
    send(&copy.child, "INT");
    let ran = copy.end().ended_with(10);
    let took = start.elapsed();
    // The cache is written after that, and the session ended.
    assert!((GRACE..GRACE + SOON).contains(&took), "{took:?}: {}", ran.stderr);
    assert!(ran.stderr.contains("writing: interrupted"), "{}", ran.stderr);
    assert!(ran.stderr.contains("0 of 1048576 bytes were copied"), "{}", ran.stderr);
}

#[test]
fn a_second_signal_ends_the_copy_at_once() {
    const WRITE: u8 = 0x2a;
    let disk = Box::new(RamDisk::new(vec![0; MIB], 512).unwrap());
    let served = Served::odd(vec![disk], Quirks { ignore: Some(WRITE), ..Quirks::default() });
    let file = Scratch::with("signals-impatient", &random(MIB, 34));
    let mut copy = Traced::start(&["-s", file.str(), "-d", &served.url(0)]);
    copy.until(&WRITE_10);
    let start = Instant::now();
    // Two of a kind may count as one, if the second comes before the first is seen.
    send(&copy.child, "INT");
    send(&copy.child, "TERM");
    // If both are waiting, the system decides which of them comes first.
    let ran = copy.end();
    assert!(matches!(ran.code, Some(130 | 143)), "{:?}: {}", ran.code, ran.stderr);
    assert!(start.elapsed() < SOON);
}

const RUNTIMES: [&str; 3] = ["std", "mio", "smol"];

/// A measurement over a proxy, after some I/Os.
fn measuring(runtime: &str, proxy: &FaultProxy) -> (Child, BufReader<ChildStdout>) {
    let url = format!("iscsi://{}/{TARGET}/0", proxy.addr());
    let arguments = ["-l", "-m", "8", "--time2wait", "0", "--runtime", runtime, &url];
    let mut child =
        command(PERF, arguments).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    let mut text = String::new();
    while !text.contains(" - lba ") {
        assert_ne!(lines.read_line(&mut text).unwrap(), 0, "{text}");
    }
    (child, lines)
}

/// How long a measurement takes to end after a signal.
fn ends_with_a_result((mut child, mut lines): (Child, BufReader<ChildStdout>)) -> Duration {
    let start = Instant::now();
    send(&child, "TERM");
    let mut text = String::new();
    lines.read_to_string(&mut text).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0), "{text}");
    assert!(text.contains("iops average ") && text.ends_with("\n\nfinished.\n"), "{text}");
    start.elapsed()
}

#[test]
fn a_measurement_without_a_connection_ends_at_once() {
    let served = Served::with(&[(MIB, 512)], |config| config.limits.default_time2wait = 0);
    for runtime in RUNTIMES {
        let proxy = FaultProxy::to(served.address()).start().unwrap();
        let measuring = measuring(runtime, &proxy);
        proxy.refuse(true);
        assert_eq!(proxy.cut_now(), 1);
        assert!(proxy.wait_until(LONG, |counters| counters.refused > 0));
        let took = ends_with_a_result(measuring);
        assert!(took < SOON, "{runtime}: {took:?}");
    }
}

#[test]
fn a_measurement_gives_up_what_is_not_answered() {
    let served = Served::new(&[MIB]);
    for runtime in RUNTIMES {
        let proxy = FaultProxy::to(served.address()).start().unwrap();
        let measuring = measuring(runtime, &proxy);
        assert_eq!(proxy.stall_now(Way::ToClient), 1);
        let took = ends_with_a_result(measuring);
        assert!((GRACE..GRACE + SOON).contains(&took), "{runtime}: {took:?}");
    }
}
