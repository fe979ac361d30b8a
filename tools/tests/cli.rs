//! Arguments, help and exit codes of all tools: what needs no target.

#[expect(dead_code, reason = "each test program uses its part")]
mod support;

use std::io::Read;
use std::net::TcpListener;
use std::process::Stdio;
use std::time::Instant;

use support::{DD, DEMO, INQ, LS, READCAPACITY16, Scratch, command, random, run, run_with_input};

const ALL: [&str; 5] = [LS, INQ, READCAPACITY16, DD, DEMO];
const NONE: [&str; 0] = [];

fn name_of(program: &str) -> &str {
    program.rsplit('/').next().unwrap()
}

#[test]
fn help_names_every_exit_code() {
    for program in ALL {
        for flag in ["-h", "-?", "--help"] {
            let ran = run(program, [flag]).ended_with(0);
            let text = ran.text();
            assert!(text.contains("Usage: "), "{text}");
            assert!(text.contains("Exit codes:") && text.contains("  10  "), "{text}");
            assert!(ran.stderr.is_empty(), "{}", ran.stderr);
        }
        let ran = run(program, ["--usage"]).ended_with(0);
        assert!(ran.text().starts_with("Usage: "), "{}", ran.text());
        assert_eq!(ran.text().lines().count(), 1);
        let ran = run(program, ["--version"]).ended_with(0);
        assert_eq!(ran.text(), format!("{} {}\n", name_of(program), env!("CARGO_PKG_VERSION")));
    }
}

#[test]
fn wrong_arguments_are_never_success() {
    for program in ALL {
        let code = if program == DD { 1 } else { 10 };
        for arguments in [&["--no-such-flag"][..], &["--timeout", "0"], &["--debug=11"]] {
            let ran = run(program, arguments).ended_with(code);
            assert!(ran.stdout.is_empty());
            assert!(ran.stderr.contains("error: "), "{}", ran.stderr);
        }
    }
    for program in [LS, INQ, READCAPACITY16] {
        run(program, NONE).ended_with(10);
        run(program, ["a", "b"]).ended_with(10);
    }
    run(DD, NONE).ended_with(1);
    run(DD, ["-s", "x"]).ended_with(1);
    run(DD, ["-s", "x", "-d", "y", "--count", "1X"]).ended_with(1);
    run(READCAPACITY16, ["-s", "--json", "u"]).ended_with(10);
    run(INQ, ["-e", "2", "u"]).ended_with(10);
}

#[test]
fn wrong_urls_are_shown_without_their_passwords() {
    let url = "iscsi://alice%very-secret@host:99999/iqn.2001-04.com.example:disk/0";
    for program in [INQ, READCAPACITY16] {
        let ran = run(program, [url]).ended_with(10);
        assert!(ran.stderr.contains("^^^"), "{}", ran.stderr);
        assert!(ran.stderr.contains("iscsi://[user[%password]@]host"), "{}", ran.stderr);
        assert!(!ran.stderr.contains("very-secret"), "{}", ran.stderr);
    }
    let ran = run(LS, ["host"]).ended_with(10);
    assert!(ran.stderr.contains("does not begin with iscsi://"), "{}", ran.stderr);
    let ran = run(DD, ["-s", "iser://host", "-d", "-"]).ended_with(10);
    assert!(ran.stderr.contains("iSER"), "{}", ran.stderr);
}

#[test]
fn names_and_variables_are_checked() {
    let ran = run(LS, ["-i", "me", "iscsi://127.0.0.1:1"]).ended_with(10);
    assert!(ran.stderr.contains("initiator name \"me\""), "{}", ran.stderr);
    let variable = |name: &str, value: &str| {
        let ran = command(LS, ["iscsi://127.0.0.1:1"]).env(name, value).output().unwrap();
        support::Ran::from(ran).ended_with(10).stderr
    };
    assert!(variable("ISCSI_INITIATOR_NAME", "you").contains("\"you\""));
    assert!(variable("LIBISCSI_DEBUG", "loud").contains("LIBISCSI_DEBUG"));
    assert!(variable("LIBISCSI_TCP_KEEPCNT", "-3").contains("LIBISCSI_TCP_KEEPCNT"));
    let only_user = variable("LIBISCSI_CHAP_USERNAME", "alice");
    assert!(only_user.contains("secret of the initiator is missing"), "{only_user}");
}

#[test]
fn nobody_listens() {
    // Bound and not listening, the port is refused and nobody else gets it.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let unit = format!("iscsi://{address}/iqn.2001-04.com.example:disk/0");
    let portal = format!("iscsi://{address}");
    for (program, url) in [(LS, &portal), (INQ, &unit), (READCAPACITY16, &unit)] {
        let ran = run(program, [url]).ended_with(10);
        assert!(ran.stderr.contains("onnection refused"), "{}", ran.stderr);
        assert!(ran.stderr.contains("check host and port"), "{}", ran.stderr);
    }
}

#[test]
fn a_silent_target_ends_within_the_timeout() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("iscsi://{}", listener.local_addr().unwrap());
    let start = Instant::now();
    let ran = run(LS, ["--timeout", "0.3", &url]).ended_with(10);
    assert!(start.elapsed().as_secs() < 5);
    assert!(ran.stderr.contains("timed out"), "{}", ran.stderr);
    assert!(ran.stderr.contains("--timeout"), "{}", ran.stderr);
}

#[test]
fn copies_between_files() {
    let data = random(1_234_567, 1);
    let source = Scratch::with("source", &data);
    let copy = Scratch::new("copy");
    let ran = run(DD, ["-s", source.str(), "-d", copy.str()]).ended_with(0);
    assert_eq!(copy.read(), data);
    let line = ran.text();
    assert!(line.starts_with("1234567 blocks (1 sized) copied in "), "{line}");
    assert!(line.trim_end().ends_with("/s."), "{line}");

    // A part, into the middle; what stood behind it is cut off.
    let arguments =
        ["-s", source.str(), "-d", copy.str(), "--skip", "1K", "--seek", "100", "--count", "1M"];
    run(DD, arguments).ended_with(0);
    let expected = [&data[..100], &data[1024..1024 + (1 << 20)]].concat();
    assert_eq!(copy.read(), expected);
    run(DD, ["--no-truncate", "-s", source.str(), "-d", copy.str(), "--count", "50"]).ended_with(0);
    assert_eq!(copy.read().len(), expected.len());
}

#[test]
fn copies_standard_input_and_output() {
    let data = random(300_001, 2);
    let ran = run_with_input(DD, &["-s", "-", "-d", "-", "--block-size", "1000"], &data);
    let ran = ran.ended_with(0);
    assert_eq!(ran.stdout, data);
    assert!(ran.stderr.contains("copied in"), "the result is not among the data: {}", ran.stderr);
    let ran = run_with_input(DD, &["-s", "-", "-d", "-", "--skip", "300000"], &data).ended_with(0);
    assert_eq!(ran.stdout, data[300_000..]);
    run_with_input(DD, &["-s", "-", "-d", "-", "--skip", "300002"], &data).ended_with(10);
    let ran = run_with_input(DD, &["-s", "-", "-d", "-"], b"").ended_with(0);
    assert!(ran.stdout.is_empty());
}

#[test]
fn checksums_and_json() {
    let source = Scratch::with("abc", b"abc");
    let ran =
        run(DD, ["-s", source.str(), "-d", "/dev/null", "--checksum", "sha256"]).ended_with(0);
    // FIPS 180-4, the example with one block.
    let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    assert_eq!(ran.text().lines().nth(1), Some(format!("sha256:{expected}").as_str()));
    let arguments = ["-s", source.str(), "-d", "/dev/null", "--checksum", "sha256", "--json"];
    let ran = run(DD, arguments).ended_with(0);
    let document: serde_json::Value = serde_json::from_str(ran.text()).unwrap();
    assert_eq!((&document["bytes"], &document["sha256"]), (&3.into(), &expected.into()));
}

#[test]
fn mistakes_in_copies_of_files() {
    let source = Scratch::with("mistakes", b"data");
    let ran = run(DD, ["-s", source.str(), "-d", source.str()]).ended_with(10);
    assert!(ran.stderr.contains("the same file"), "{}", ran.stderr);
    assert_eq!(source.read(), b"data", "nothing was cut off");
    let ran = run(DD, ["-s", "/no/such/file", "-d", "/dev/null"]).ended_with(10);
    assert!(ran.stderr.contains("/no/such/file: No such file"), "{}", ran.stderr);
    let ran = run(DD, ["-s", source.str(), "-d", "/no/such/file"]).ended_with(10);
    assert!(ran.stderr.contains("/no/such/file: No such file"), "{}", ran.stderr);
    run(DD, ["-s", "/tmp", "-d", "/dev/null"]).ended_with(10);
    run(DD, ["-s", source.str(), "-d", "/dev/null", "--count", "5"]).ended_with(10);
    run(DD, ["-s", source.str(), "-d", "/dev/null", "--skip", "5"]).ended_with(10);
    run(DD, ["-s", source.str(), "-d", "-", "--seek", "5"]).ended_with(10);
    let ran = run(DD, ["-s", source.str(), "-d", "/dev/full", "--checksum", "sha256"]);
    let ran = ran.ended_with(10);
    assert!(ran.stderr.contains("0 of 4 bytes were copied"), "{}", ran.stderr);
}

#[test]
fn a_reader_that_goes_away_is_no_reason_to_panic() {
    let data = random(8 << 20, 3);
    let source = Scratch::with("pipe", &data);
    let mut child = command(DD, ["-s", source.str(), "-d", "-"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = [0; 10];
    child.stdout.take().unwrap().read_exact(&mut first).unwrap();
    // The pipe is closed here.
    let output = child.wait_with_output().unwrap();
    assert_eq!(first, data[..10]);
    assert_eq!(output.status.code(), Some(10), "not all of the data arrived");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

#[test]
fn the_demo_verifies_all_data() {
    let ran = run(DEMO, ["--size", "4M"]).ended_with(0);
    let text = ran.text();
    for part in ["mutual CHAP", "CRC32C of every header, CRC32C of all data", "serial number"] {
        assert!(text.contains(part), "{text}");
    }
    assert!(text.contains("4 MiB in ") && text.contains("every byte as it was written"), "{text}");
    assert!(text.contains("Try next:") && !text.contains('\x1b'), "{text}");
    assert_eq!(ran.stderr, "");

    let ran = run(DEMO, ["--size", "1M", "--json"]).ended_with(0);
    let document: serde_json::Value = serde_json::from_str(ran.text()).unwrap();
    assert_eq!(document["verified"]["bytes"], 1 << 20);
    assert_eq!(document["capacity"]["bytes"], 2 << 20);
    assert_eq!(document["negotiated"]["HeaderDigest"], "CRC32C");
    assert_eq!(document["negotiated"]["DataDigest"], "CRC32C");

    run(DEMO, ["--size", "1000"]).ended_with(10);
    let ran = run(DEMO, ["--size", "1M", "-d", "6"]).ended_with(0);
    assert!(ran.stderr.contains("-> Login Request: "), "{}", ran.stderr);
    let mut child = command(DEMO, ["--size", "1M"]).stdout(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    assert_eq!(child.wait().unwrap().code(), Some(10), "unseen is not verified");
}
