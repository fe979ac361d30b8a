//! Every program runs, alone and with URLs, and reads what is on the disk.

use std::process::{Command, Output};

use iscsi_core::digest::crc32c;
use iscsi_loops::{IMAGE, Peer, pattern};

const EPOLL: &str = env!("CARGO_BIN_EXE_epoll");
const IO_URING: &str = env!("CARGO_BIN_EXE_io_uring");
const TRACE: &str = env!("CARGO_BIN_EXE_trace");
const TWO_CONNECTIONS: &str = env!("CARGO_BIN_EXE_two_connections");

fn run(program: &str, arguments: &[&str]) -> Output {
    Command::new(program).args(arguments).output().unwrap()
}

/// What a program printed that came to its end.
fn lines(program: &str, arguments: &[&str]) -> Vec<String> {
    let output = run(program, arguments);
    let text = String::from_utf8(output.stdout).unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {:?}: {errors}", output.status);
    assert_eq!(errors, "");
    text.lines().map(str::to_owned).collect()
}

/// The end of the line that tells of a disk in this process.
fn checksum() -> String {
    format!(
        "/iqn.2001-04.com.example:loops/0: {IMAGE} bytes, CRC32C {:08x}",
        crc32c(&pattern(IMAGE))
    )
}

#[track_caller]
fn assert_reads(lines: &[String], times: usize) {
    let checksum = checksum();
    assert_eq!(lines.len(), times, "{lines:?}");
    assert!(lines.iter().all(|line| line.ends_with(&checksum)), "{lines:?}, {checksum}");
}

/// Runs a program that not every system can run: it says so itself.
fn assert_reads_or_skips(program: &str, arguments: &[&str]) {
    let lines = lines(program, arguments);
    match &lines[..] {
        [line] if line.starts_with("skipped: ") => eprintln!("{program}: {line}"),
        _ => assert_reads(&lines, 1),
    }
}

/// URLs of a target in the test's process, without and with digests.
fn urls(peer: &Peer) -> [String; 2] {
    let plain = peer.url.to_string();
    let digests = format!("{plain}?header_digest=crc32c&data_digest=crc32c");
    [plain, digests]
}

#[test]
fn epoll() {
    assert_reads_or_skips(EPOLL, &[]);
    let peer = Peer::new(None).unwrap();
    for url in urls(&peer) {
        assert_reads_or_skips(EPOLL, &[&url]);
    }
}

/// Containers often forbid io_uring.
#[test]
fn io_uring() {
    assert_reads_or_skips(IO_URING, &[]);
    let peer = Peer::new(None).unwrap();
    for url in urls(&peer) {
        assert_reads_or_skips(IO_URING, &[&url]);
    }
}

#[test]
fn two_connections() {
    assert_reads(&lines(TWO_CONNECTIONS, &[]), 2);
    let (one, other) = (Peer::new(None).unwrap(), Peer::new(None).unwrap());
    let [plain, _] = urls(&one);
    let [_, digests] = urls(&other);
    assert_reads(&lines(TWO_CONNECTIONS, &[&plain]), 2);
    assert_reads(&lines(TWO_CONNECTIONS, &[&plain, &digests]), 2);
}

#[test]
fn trace() {
    let peer = Peer::new(None).unwrap();
    let file = std::env::temp_dir().join(format!("iscsi-loops-{}.pcap", std::process::id()));
    let path = file.to_str().unwrap();
    for url in urls(&peer) {
        let mut lines = lines(TRACE, &[path, &url]);
        assert_eq!(lines.pop().unwrap(), format!("{path}: a capture"));
        assert_reads(&lines.split_off(lines.len() - 1), 1);
        assert!(lines[0].starts_with("-> Login Request: "), "{lines:?}");
        assert!(lines.last().unwrap().starts_with("<- Logout Response: "), "{lines:?}");
        let count = |start: &str| lines.iter().filter(|line| line.starts_with(start)).count();
        // READ CAPACITY and 16 reads.
        assert_eq!(count("-> SCSI Command: "), 17);
        assert!(count("<- SCSI Data-In: ") >= 17);
        let capture = std::fs::read(&file).unwrap();
        assert_eq!(capture[..4], 0xa1b2_c3d4u32.to_be_bytes());
        assert!(capture.len() > IMAGE);
    }
    std::fs::remove_file(&file).unwrap();
    let alone = lines(TRACE, &[]);
    assert_reads(&alone[alone.len() - 1..], 1);
}

#[test]
fn what_is_wrong_is_said() {
    // A port that nobody listens on, and a target that is not there.
    let gone = Peer::new(None).unwrap().url.to_string();
    let peer = Peer::new(None).unwrap();
    let absent = peer.url.to_string().replace(":loops/", ":other/");
    for program in [EPOLL, IO_URING, TRACE, TWO_CONNECTIONS] {
        for (url, error) in [("iscsi://", "Url"), (&gone, ""), (&absent, "")] {
            let output = run(program, &[url]);
            let (text, errors) = (output.stdout, String::from_utf8(output.stderr).unwrap());
            if text.starts_with(b"skipped: ") {
                continue;
            }
            assert_eq!(output.status.code(), Some(1), "{program} {url}: {errors}");
            assert!(errors.starts_with("Error: ") && errors.contains(error), "{program}: {errors}");
        }
    }
}
