//! Whatever `iscsi-dd` refuses or cannot do leaves the destination as it was, and is never told as success.

#[expect(dead_code, reason = "each test program uses its part")]
#[path = "support/served.rs"]
mod served;
#[expect(dead_code, reason = "each test program uses its part")]
mod support;

use core::time::Duration;
use std::fs::{self, OpenOptions};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Instant;

use iscsi_target::Quirks;
use served::{Served, Spoilt, TARGET};
use support::{DD, Ran, Scratch, command, random, run, run_with_input};

const MIB: usize = 1 << 20;

/// Runs `iscsi-dd` by a shell, which redirects as `redirections` says.
fn shell(arguments: &[&str], redirections: &str) -> Ran {
    let script = format!("exec \"$0\" \"$@\" {redirections}");
    let mut shell = Command::new("sh");
    shell.args(["-c", &script, DD]).args(arguments);
    shell.output().unwrap().into()
}

#[test]
fn wrong_arguments_do_not_touch_the_destination() {
    let source = Scratch::with("arguments-source", b"data");
    let precious = Scratch::with("precious", b"precious");
    let served = Served::new(&[MIB]);
    let unit = served.url(0);
    for (from, piece, code) in [
        (source.str(), ["--block-size", "0"], 1),
        (source.str(), ["--block-size", "100M"], 1),
        (source.str(), ["--block-size", "67108865"], 1),
        (source.str(), ["-b", "0"], 1),
        // How long a block is, only the unit knows.
        (source.str(), ["-b", "131073"], 10),
        (unit.as_str(), ["-b", "0"], 1),
        (unit.as_str(), ["-b", "131073"], 10),
        (unit.as_str(), ["--count", "2M"], 10),
        (unit.as_str(), ["--skip", "2M"], 10),
        ("/no/such/file", ["-m", "1"], 10),
    ] {
        run(DD, ["-s", from, "-d", precious.str(), piece[0], piece[1]]).ended_with(code);
        assert_eq!(precious.read(), b"precious", "{from} {piece:?}");
    }
    // A file that is not there is not created either.
    let absent = Scratch::new("absent");
    run(DD, ["-s", source.str(), "-d", absent.str(), "-b", "131073"]).ended_with(10);
    assert!(!absent.path().exists());
    // The longest piece there is.
    run(DD, ["-s", source.str(), "-d", absent.str(), "--block-size", "64M"]).ended_with(0);
    assert_eq!(absent.read(), b"data");
}

#[test]
fn a_source_that_cannot_be_read_does_not_cut_off_the_destination() {
    let served = Served::odd(vec![Box::new(Spoilt(0..512))], Quirks::default());
    let precious = Scratch::with("precious", b"precious");
    let ran = run(DD, ["-s", &served.url(0), "-d", precious.str()]).ended_with(10);
    assert!(ran.stderr.contains("0 of 2097152 bytes were copied"), "{}", ran.stderr);
    assert_eq!(precious.read(), b"precious");
    // A source without a byte is copied, too.
    let empty = Scratch::with("empty", b"");
    run(DD, ["-s", empty.str(), "-d", precious.str(), "--seek", "3"]).ended_with(0);
    assert_eq!(precious.read(), b"pre");
}

#[test]
fn a_file_is_not_copied_onto_itself_by_any_name() {
    let data = random(100_000, 20);
    let file = Scratch::with("file", &data);
    let hard = Scratch::new("hard-link");
    fs::hard_link(file.path(), hard.path()).unwrap();
    let soft = Scratch::new("symbolic-link");
    std::os::unix::fs::symlink(file.path(), soft.path()).unwrap();
    for name in [&file, &hard, &soft] {
        for arguments in [
            &["-s", file.str(), "-d", name.str()][..],
            &["-s", name.str(), "-d", file.str()],
            &["-s", name.str(), "-d", file.str(), "--no-truncate"],
        ] {
            let ran = run(DD, arguments).ended_with(10);
            assert!(ran.stderr.contains("the same file"), "{}", ran.stderr);
        }
        let ran = shell(&["-s", "-", "-d", name.str()], &format!("<{}", file.str()));
        assert!(ran.ended_with(10).stderr.contains("the same file"));
        let ran = shell(&["-s", name.str(), "-d", "-"], &format!(">>{}", file.str()));
        assert!(ran.ended_with(10).stderr.contains("the same file"));
    }
    assert_eq!(file.read(), data);
    // Another file with the same content is another file.
    let other = Scratch::with("other", &data);
    run(DD, ["-s", file.str(), "-d", other.str()]).ended_with(0);
    assert_eq!(other.read(), data);
}

#[test]
fn a_unit_is_not_copied_onto_itself_by_any_name() {
    let served = Served::new(&[MIB, MIB]);
    let url =
        |host: &str, lun| format!("iscsi://{host}:{}/{TARGET}/{lun}", served.address().port());
    let data = random(MIB, 21);
    let source = Scratch::with("unit", &data);
    run(DD, ["-s", source.str(), "-d", &url("localhost", 0)]).ended_with(0);
    let same = [url("localhost", 0), url("127.0.0.1", 0)];
    let [from, to] = &same;
    for arguments in [
        &["-s", from, "-d", to][..],
        &["-s", to, "-d", from],
        &["-s", from, "-d", to, "--skip", "512"],
        &["-s", from, "-d", to, "--seek", "1K", "--count", "1025"],
    ] {
        let ran = run(DD, arguments).ended_with(10);
        assert!(ran.stderr.contains("the same blocks"), "{}", ran.stderr);
        assert!(ran.stderr.contains("--distinct-units"), "{}", ran.stderr);
    }
    let unit = || run(DD, ["-s", from, "-d", "-"]).ended_with(0).stdout;
    assert!(unit() == data, "nothing was written");
    // Parts that do not overlap, another unit, and whoever knows better.
    run(DD, ["-s", from, "-d", to, "--seek", "1K", "--count", "1K"]).ended_with(0);
    assert!(unit() == [&data[..1024], &data[..1024], &data[2048..]].concat());
    run(DD, ["-s", from, "-d", &url("127.0.0.1", 1)]).ended_with(0);
    run(DD, ["-s", from, "-d", to, "--distinct-units"]).ended_with(0);
    // Of two targets with one name the units have one name, too, unless they differ in size.
    let larger = Served::new(&[2 * MIB]);
    run(DD, ["-s", from, "-d", &larger.url(0)]).ended_with(0);
}

#[test]
fn a_pipe_that_ends_early_is_no_success() {
    let data = random(100_000, 22);
    let served = Served::new(&[2 * MIB]);
    let url = served.url(0);
    let copy = Scratch::new("early");
    for to in [url.as_str(), copy.str()] {
        for (input, piece) in [(100_000, "512K"), (65_536, "32K"), (0, "512K")] {
            let arguments = ["-s", "-", "-d", to, "--count", "1M", "--block-size", piece];
            let ran = run_with_input(DD, &arguments, &data[..input]).ended_with(10);
            let message = format!("standard input: ended after {input} of 1048576 bytes");
            assert!(ran.stderr.contains(&message), "{}", ran.stderr);
            let message = format!("{input} of 1048576 bytes were copied");
            assert!(ran.stderr.contains(&message), "{}", ran.stderr);
            assert!(ran.stdout.is_empty(), "{}", ran.text());
        }
    }
    // What came was kept, and an empty pipe cut nothing off.
    assert!(copy.read() == data[..65_536]);
    let ran = run(DD, ["-s", &url, "-d", "-", "--count", "100000"]).ended_with(0);
    assert!(ran.stdout == data);
    // As much as was wanted, and more than that.
    for count in ["65536", "100000"] {
        let arguments = ["-s", "-", "-d", copy.str(), "--count", count];
        run_with_input(DD, &arguments, &data).ended_with(0);
        assert_eq!(copy.read().len().to_string(), count);
    }
}

#[test]
fn streams_that_are_closed() {
    let source = Scratch::with("closed", b"data");
    let precious = Scratch::with("precious", b"precious");
    let ran = shell(&["-s", source.str(), "-d", "-"], ">&-").ended_with(10);
    assert!(ran.stderr.contains("standard output is closed"), "{}", ran.stderr);
    let ran = shell(&["-s", "-", "-d", precious.str()], "<&-").ended_with(10);
    assert!(ran.stderr.contains("standard input is closed"), "{}", ran.stderr);
    assert_eq!(precious.read(), b"precious");
    // Open for reading only, or for writing only, is different.
    let ran = shell(&["-s", "-", "-d", precious.str()], "0>/dev/null").ended_with(10);
    assert!(ran.stderr.contains("standard input: Bad file"), "{}", ran.stderr);
    let ran = shell(&["-s", source.str(), "-d", "-"], "1</dev/null").ended_with(10);
    assert!(ran.stderr.contains("Bad file"), "{}", ran.stderr);
    assert_eq!(precious.read(), b"precious");
    shell(&["-s", source.str(), "-d", "-"], ">/dev/null").ended_with(0);
    shell(&["-s", "-", "-d", precious.str()], "</dev/null").ended_with(0);
    assert_eq!(precious.read(), b"");
}

#[test]
fn only_what_was_copied_is_counted() {
    let all = Served::odd(vec![Box::new(Spoilt(0..2 * MIB as u64))], Quirks::default());
    let source = Scratch::with("counted", &random(2 * MIB, 23));
    let arguments = ["-n", "-s", source.str(), "-d", &all.url(0), "-m", "2"];
    let ran = run(DD, arguments).ended_with(10);
    assert!(ran.text().starts_with("0 blocks (512 sized) copied in "), "{}", ran.text());
    assert!(ran.stderr.contains("2097152 of 2097152 bytes were left out"), "{}", ran.stderr);
    let part = Served::odd(vec![Box::new(Spoilt(0..512))], Quirks::default());
    let copy = Scratch::new("counted-copy");
    let arguments = ["-n", "-s", &part.url(0), "-d", copy.str(), "--block-size", "64K", "--json"];
    let ran = run(DD, arguments);
    let ran = ran.ended_with(10);
    let document: serde_json::Value = serde_json::from_str(ran.text()).unwrap();
    assert_eq!((&document["bytes"], &document["skipped"]), (&2_031_616.into(), &65_536.into()));

    // That nobody reads the result does not make the copy complete.
    let mut child = command(DD, arguments).stdout(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    assert_eq!(child.wait().unwrap().code(), Some(10));
}

#[test]
fn standard_output_may_be_a_file() {
    let data = random(300_000, 24);
    let source = Scratch::with("to-output", &data);
    let copy = Scratch::new("output");
    let file = OpenOptions::new().create_new(true).write(true).open(copy.path()).unwrap();
    let status = command(DD, ["-s", source.str(), "-d", "-"]).stdout(file).status().unwrap();
    assert_eq!(status.code(), Some(0));
    assert_eq!(copy.read(), data);
    let ran = shell(&["-s", source.str(), "-d", "-"], ">/dev/full").ended_with(10);
    assert!(ran.stderr.contains("No space left"), "{}", ran.stderr);
}

/// Passes everything on between a tool and a target, but tells of the first GOOD without data that 512 bytes less were moved.
fn underflowing_proxy(target: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        let (mut tool, _) = listener.accept().unwrap();
        let mut target = TcpStream::connect(target).unwrap();
        let (mut from, mut to) = (tool.try_clone().unwrap(), target.try_clone().unwrap());
        thread::spawn(move || std::io::copy(&mut from, &mut to));
        let (mut header, mut writing, mut changed) = ([0; 48], false, false);
        while target.read_exact(&mut header).is_ok() {
            let length = u32::from_be_bytes([0, header[5], header[6], header[7]]) as usize;
            let mut rest = vec![0; usize::from(header[4]) * 4 + length.next_multiple_of(4)];
            target.read_exact(&mut rest).unwrap();
            // An R2T: a write is under way.
            writing |= header[0] == 0x31;
            // SCSI Response; underflow flag and residual count.
            if header[0] == 0x21 && header[3] == 0 && writing && !changed {
                changed = true;
                header[1] |= 0x02;
                header[44..48].copy_from_slice(&512_u32.to_be_bytes());
            }
            tool.write_all(&header).unwrap();
            tool.write_all(&rest).unwrap();
        }
    });
    address
}

#[test]
fn a_target_that_takes_only_a_part_has_not_written_it() {
    let served = Served::new(&[MIB]);
    let source = Scratch::with("part", &random(MIB, 25));
    let proxy = underflowing_proxy(served.address());
    let url = format!("iscsi://{proxy}/{TARGET}/0");
    // All data are asked for: the first answer after that is a write's.
    let asked = ["--initial-r2t", "yes", "--immediate-data", "no"];
    let copy = ["-s", source.str(), "-d", &url, "-m", "1", "--block-size", "256K"];
    let ran = run(DD, copy.iter().chain(&asked)).ended_with(10);
    assert!(ran.stderr.contains("at 0, 262144 bytes: writing: "), "{}", ran.stderr);
    assert!(ran.stderr.contains("0 of 1048576 bytes were copied"), "{}", ran.stderr);
}

fn send(child: &Child, signal: &str) {
    let id = child.id().to_string();
    assert!(
        Command::new("sh").args(["-c", "kill -s $0 $1", signal, &id]).status().unwrap().success()
    );
}

#[test]
fn an_interrupted_copy_tells_how_far_it_came() {
    for signal in ["INT", "TERM"] {
        let copy = Scratch::new("interrupted");
        let arguments = ["-s", "-", "-d", copy.str(), "--block-size", "64K"];
        let mut child =
            command(DD, arguments).stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut input = child.stdin.take().unwrap();
        let data = random(128 << 10, 26);
        input.write_all(&data).unwrap();
        let start = Instant::now();
        while fs::metadata(copy.path()).map_or(0, |found| found.len()) < data.len() as u64 {
            assert!(start.elapsed() < Duration::from_secs(10));
            thread::sleep(Duration::from_millis(5));
        }
        send(&child, signal);
        // It does not wait for more input.
        let ran = Ran::from(child.wait_with_output().unwrap()).ended_with(10);
        drop(input);
        assert!(ran.stderr.contains("interrupted"), "{}", ran.stderr);
        let advice = "131072 bytes were copied; --offset-src 131072 --offset-dst 131072 goes on";
        assert!(ran.stderr.contains(advice), "{}", ran.stderr);
        assert!(copy.read() == data);
    }
}
