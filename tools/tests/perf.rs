//! `iscsi-perf` against this project's own target, over every runtime.

#[expect(dead_code, reason = "each test program uses its part")]
#[path = "support/served.rs"]
mod served;
#[expect(dead_code, reason = "each test program uses its part")]
mod support;

use core::sync::atomic::{AtomicU64, Ordering};
use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};
use std::sync::Arc;

use iscsi_fault_proxy::FaultProxy;
use iscsi_target::{Disk, DiskError, NullDisk, Quirks, RamDisk};
use serde_json::Value;
use served::{Served, Spoilt, TARGET};
use support::{PERF, Ran, Scratch, command, run};

const MIB: usize = 1 << 20;
const RUNTIMES: [&str; 3] = ["std", "mio", "smol"];

/// Runs the tool with these options, separated by blanks.
fn perf(options: &str, url: &str) -> Ran {
    run(PERF, options.split_whitespace().chain([url]))
}

fn json(options: &str, url: &str) -> Value {
    let ran = perf(&format!("--json {options}"), url).ended_with(0);
    serde_json::from_str(ran.text()).unwrap()
}

/// A disk of zeros that counts what it is asked for, in bytes.
struct Counting {
    read: Arc<AtomicU64>,
    written: Arc<AtomicU64>,
    disk: NullDisk,
}

impl Disk for Counting {
    fn block_size(&self) -> u32 {
        self.disk.block_size()
    }
    fn blocks(&self) -> u64 {
        self.disk.blocks()
    }
    fn read(&mut self, at: u64, into: &mut [u8]) -> Result<(), DiskError> {
        self.read.fetch_add(into.len() as u64, Ordering::Relaxed);
        self.disk.read(at, into)
    }
    fn write(&mut self, at: u64, data: &[u8]) -> Result<(), DiskError> {
        self.written.fetch_add(data.len() as u64, Ordering::Relaxed);
        self.disk.write(at, data)
    }
}

/// A disk that turns a bit of one byte over whenever that is read.
struct Stuck {
    disk: RamDisk<Vec<u8>>,
    at: u64,
}

impl Disk for Stuck {
    fn block_size(&self) -> u32 {
        self.disk.block_size()
    }
    fn blocks(&self) -> u64 {
        self.disk.blocks()
    }
    fn read(&mut self, at: u64, into: &mut [u8]) -> Result<(), DiskError> {
        self.disk.read(at, into)?;
        let index = self.at.checked_sub(at).and_then(|index| usize::try_from(index).ok());
        if let Some(byte) = index.and_then(|index| into.get_mut(index)) {
            *byte ^= 0x10;
        }
        Ok(())
    }
    fn write(&mut self, at: u64, data: &[u8]) -> Result<(), DiskError> {
        self.disk.write(at, data)
    }
}

#[test]
fn what_is_counted_is_what_the_disk_was_asked_for() {
    for runtime in RUNTIMES {
        for (mode, reads, writes) in [
            ("read", Some(1000), 0),
            ("write --overwrite", None, 1000),
            ("verify --overwrite", Some(1000), 1000),
        ] {
            // A null disk would not read back what is verified.
            let (read, written) = <(Arc<AtomicU64>, Arc<AtomicU64>)>::default();
            let disk = NullDisk::new(16 << 20);
            let counting = Counting { read: read.clone(), written: written.clone(), disk };
            let served = match mode.starts_with("verify") {
                true => Served::new(&[16 * MIB]),
                false => Served::odd(vec![Box::new(counting)], Quirks::default()),
            };
            let options = format!("--runtime {runtime} --mode {mode} --count 1000 -b 4 -s 3 -m 5");
            let document = json(&options, &served.url(0));
            let ios = |name: &str| document[name]["ios"].as_u64();
            assert_eq!((ios("read"), ios("write").unwrap_or(0)), (reads, writes), "{options}");
            let all = reads.unwrap_or(0) + writes;
            assert_eq!(document["ios"], all, "{options}");
            assert_eq!(document["bytes"], all * 2048, "{options}");
            assert_eq!(document["runtime"], runtime);
            assert_eq!((&document["errors"], &document["sessions"]), (&0.into(), &3.into()));
            let latency = &document["latency_us"];
            let at = |name: &str| latency[name].as_f64().unwrap();
            assert!(at("min") > 0.0 && at("min") <= at("p50") && at("p50") <= at("p99"));
            assert!(at("p99") <= at("max"), "{latency}");
            assert!(document["cpu_us_per_io"].as_f64().unwrap() > 0.0);
            if !mode.starts_with("verify") {
                assert_eq!(written.load(Ordering::Relaxed), writes * 2048, "{options}");
                let read = read.load(Ordering::Relaxed);
                assert_eq!(read, reads.unwrap_or(0) * 2048, "{options}");
            }
        }
    }
}

#[test]
fn mixed_reads_and_writes() {
    let served = Served::new(&[MIB]);
    for runtime in RUNTIMES {
        let options = "--mode mixed --read-percent 25 --overwrite --count 2000 --seed 1 -r -R";
        let document = json(&format!("--runtime {runtime} {options}"), &served.url(0));
        let reads = document["read"]["ios"].as_u64().unwrap();
        assert!((400..600).contains(&reads), "{runtime}: {reads}");
        assert_eq!(document["write"]["ios"], 2000 - reads);
        assert_eq!(document["read_percent"], 25);
    }
}

#[test]
fn only_the_range_is_written() {
    let served = Served::with(&[(MIB, 512)], |_| {});
    let options = "--mode write --overwrite --first 100 --span 57 --count 300 -b 10 -s 2";
    for order in ["", "-r", "-r -R"] {
        json(&format!("{options} {order}"), &served.url(0));
    }
    let copy = run(support::DD, ["-s", &served.url(0), "-d", "-"]).ended_with(0).stdout;
    let (before, rest) = copy.split_at(100 * 512);
    let (range, after) = rest.split_at(57 * 512);
    assert!(before.iter().chain(after).all(|byte| *byte == 0));
    assert!(range.chunks(512).all(|block| block.iter().any(|byte| *byte != 0)));
}

#[test]
fn verification_finds_a_wrong_byte() {
    let disk = RamDisk::new(vec![0; MIB], 512).unwrap();
    let stuck = Stuck { disk, at: 777 * 512 + 99 };
    let null = NullDisk::new(1 << 20);
    let served = Served::odd(vec![Box::new(stuck), Box::new(null)], Quirks::default());
    for runtime in RUNTIMES {
        let options =
            format!("--runtime {runtime} --mode verify --overwrite --count 1000 -b 16 --seed 1");
        let ran = perf(&options, &served.url(0)).ended_with(10);
        assert!(ran.stderr.contains("block 777, byte 99: "), "{}", ran.stderr);
        assert!(ran.stderr.contains(" was read, ") && ran.stderr.contains(" was written"));
        // With -n it goes on, and fails all the same.
        let ran = perf(&format!("{options} -n"), &served.url(0)).ended_with(10);
        assert!(ran.stderr.contains("block 777, byte 99: "), "{}", ran.stderr);
        assert!(ran.text().contains("I/Os failed\n"), "{}", ran.text());
        // What forgets everything fails with its first block.
        let ran = perf(&format!("{options} -m 1 --first 5"), &served.url(1)).ended_with(10);
        assert!(ran.stderr.contains("block 5, byte 0: 0x00 was read"), "{}", ran.stderr);
    }
}

/// The content of some I/Os ends with the pattern and goes on with its beginning.
#[test]
fn verification_where_the_content_repeats() {
    let served = Served::new(&[16 * MIB]);
    for runtime in RUNTIMES {
        for query in ["", "?header_digest=crc32c&data_digest=crc32c"] {
            let options = format!("--runtime {runtime} --mode verify --overwrite --first 8100");
            let options = format!("{options} --span 2000 -b 300 -m 3 --count 40");
            let ran = perf(&options, &format!("{}{query}", served.url(0))).ended_with(0);
            assert!(ran.text().contains("iops average "), "{}", ran.text());
        }
    }
}

#[test]
fn a_medium_that_fails() {
    let served = Served::odd(vec![Box::new(Spoilt(512_000..512_512))], Quirks::default());
    for runtime in RUNTIMES {
        let options = format!("--runtime {runtime} --count 700");
        let ran = perf(&options, &served.url(0)).ended_with(10);
        assert!(ran.stderr.contains("8 blocks at 1000: READ(16): "), "{}", ran.stderr);
        assert!(ran.stderr.contains("MEDIUM ERROR"), "{}", ran.stderr);
        let ran = perf(&format!("{options} -n"), &served.url(0)).ended_with(10);
        assert!(ran.text().contains("\n2 I/Os failed\n"), "{}", ran.text());
        assert!(ran.text().contains("read: 698 I/Os, "), "{}", ran.text());
        assert!(ran.text().ends_with("\n\nfinished.\n"), "{}", ran.text());
    }
}

#[test]
fn unit_attentions_are_no_errors() {
    let quirks = Quirks { power_on_attention: true, ..Quirks::default() };
    let served = Served::odd(vec![Box::new(Spoilt(0..0))], quirks);
    for runtime in RUNTIMES {
        let document = json(&format!("--runtime {runtime} --count 100 -s 2"), &served.url(0));
        assert_eq!((&document["ios"], &document["errors"]), (&100.into(), &0.into()));
        assert_eq!(document["busy"], 2, "one of each session");
    }
}

#[test]
fn to_overwrite_must_be_allowed_and_possible() {
    let read_only = RamDisk::new(vec![0; MIB], 512).unwrap().read_only(true);
    let served = Served::odd(vec![Box::new(read_only)], Quirks::default());
    for mode in ["write", "mixed", "verify"] {
        let ran = perf(&format!("--mode {mode} --count 1"), &served.url(0)).ended_with(1);
        assert!(ran.stderr.contains("--overwrite"), "{}", ran.stderr);
        let options = format!("--mode {mode} --count 1 --overwrite");
        let ran = perf(&options, &served.url(0)).ended_with(10);
        assert!(ran.stderr.contains("the unit is write protected"), "{}", ran.stderr);
        assert!(ran.stdout.is_empty());
    }
    json("--count 1", &served.url(0));
}

#[test]
fn wrong_options() {
    let served = Served::new(&[MIB]);
    for options in [
        "-m 0",
        "-b 0",
        "-Z",
        "--mode erase",
        "--runtime tokio",
        "--rate 0",
        "-t never",
        "--count 0",
        "--read-percent 50",
        "--mode mixed --read-percent 101 --overwrite",
        "-x -2",
        "--max-outstanding-r2t 9",
        "--max-outstanding-r2t 0",
        "--first-burst 511",
        "--max-recv 16m",
        "--time2wait 3601",
    ] {
        let ran = perf(options, &served.url(0)).ended_with(1);
        assert!(!ran.stderr.is_empty() && ran.stdout.is_empty(), "{options}");
    }
    assert_eq!(run(PERF, [""; 0]).code, Some(1));
    for (options, complaint) in [
        ("--first 2048", "there is no block 2048: the unit has 2048"),
        ("--first 2000 --span 49", "there are no 49 blocks from 2000 on"),
        ("--span 2 -s 3", "2 blocks are too few for 3 sessions"),
        ("-b 20000000", "the unit takes -b "),
        ("-b 100000 -m 2048", "bytes of memory would be needed"),
    ] {
        let ran = perf(&format!("--count 1 {options}"), &served.url(0)).ended_with(10);
        assert!(ran.stderr.contains(complaint), "{options}: {}", ran.stderr);
    }
    run(PERF, ["--count", "1", &served.url(5)]).ended_with(10);
    run(PERF, ["--help"]).ended_with(0);
}

#[test]
fn a_rate_is_kept() {
    let served = Served::new(&[MIB]);
    for runtime in RUNTIMES {
        let options = format!("--runtime {runtime} --rate 200 --count 60 -s 2");
        let document = json(&options, &served.url(0));
        assert_eq!(document["ios"], 60);
        // 30 of each session, one every 10 ms: never faster, however slow the machine is.
        assert!(document["seconds"].as_f64().unwrap() > 0.15, "{document}");
    }
}

#[test]
fn a_time_a_warm_up_and_pictures() {
    let served = Served::new(&[MIB]);
    let picture = Scratch::new("perf.svg");
    for runtime in RUNTIMES {
        let options = "-t 0.2 --warm-up 0.1 --histogram -m 4 -s 2 --svg";
        let options = format!("--runtime {runtime} {options} {}", picture.str());
        let ran = perf(&options, &served.url(0)).ended_with(0);
        let text = ran.text();
        assert!(
            text.contains("will warm up for 0.1 seconds.\nwill run for 0.2 seconds."),
            "{text}"
        );
        assert!(text.contains("4 parallel requests in each of 2 sessions\n"), "{text}");
        assert!(text.lines().any(|line| line.ends_with('#')), "{text}");
        assert!(text.contains("\niops average ") || text.contains("\riops average "), "{text}");
        let svg = String::from_utf8(picture.read()).unwrap();
        assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"));
    }
}

#[test]
fn lost_connections_are_replaced() {
    let served = Served::with(&[(16 * MIB, 512)], |config| config.limits.default_time2wait = 0);
    let broken = |losses: u64| {
        // The first connection is for a look at the unit.
        let faults = FaultProxy::to(served.address()).seed(5).only_connections(1..1 + losses);
        faults.close_after_bytes(100_000..400_000).start().unwrap()
    };
    for runtime in RUNTIMES {
        let proxy = broken(4);
        let url = format!("iscsi://{}/{TARGET}/0", proxy.addr());
        let options = "--mode verify --overwrite --count 1000 --time2wait 0 --retry-for 30";
        let options = format!("--runtime {runtime} {options}");
        let document = json(&options, &url);
        assert_eq!((&document["ios"], &document["errors"]), (&2000.into(), &0.into()));
        assert_eq!(document["connections_lost"], 4, "{runtime}");

        let proxy = broken(4);
        let url = format!("iscsi://{}/{TARGET}/0", proxy.addr());
        let ran = perf(&format!("{options} -x 1"), &url).ended_with(10);
        assert!(ran.stderr.contains(" connections were lost, 1 may be"), "{}", ran.stderr);
        let proxy = broken(4);
        let url = format!("iscsi://{}/{TARGET}/0", proxy.addr());
        let ran = perf(&format!("{options} -x 0"), &url).ended_with(10);
        assert!(!ran.stderr.contains("next attempt"), "{}", ran.stderr);
    }
}

#[test]
fn a_signal_is_an_ordinary_end() {
    let served = Served::new(&[MIB]);
    for runtime in RUNTIMES {
        let mut child = command(PERF, ["-l", "--runtime", runtime, &served.url(0)])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        let mut text = String::new();
        while !text.contains(" - lba ") {
            assert_ne!(lines.read_line(&mut text).unwrap(), 0, "{text}");
        }
        let id = child.id().to_string();
        assert!(Command::new("sh").args(["-c", "kill -s INT $0", &id]).status().unwrap().success());
        lines.read_to_string(&mut text).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(0), "{text}");
        assert!(
            text.contains("press CTRL-C to abort") && text.ends_with("\n\nfinished.\n"),
            "{text}"
        );
    }
}
