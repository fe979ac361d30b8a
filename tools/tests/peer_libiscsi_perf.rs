//! The lines of `iscsi-perf`, beside those of libiscsi's, both reading from one tgtd.

#[path = "support/peers.rs"]
mod peers;
#[expect(dead_code, reason = "each test program uses its part")]
mod support;
#[expect(dead_code, reason = "each test program uses its part")]
#[path = "../../runtime-std/tests/support/tgtd.rs"]
mod tgtd;

use std::process::ExitCode;

use support::{PERF, run};
use tgtd::{Access, Tgtd};

fn main() -> ExitCode {
    let missing = peers::missing_program(&["tgtd", "tgtadm", "iscsi-perf"]);
    let test = || {
        let mut tgtd = Tgtd::start();
        tgtd.add_target("disk", &Access::default());
        let url = format!("iscsi://127.0.0.1:{}/iqn.2001-04.com.example:disk/1", tgtd.port);
        for options in ["-t 2 -m 4", "-t 2 -l -r", "--max 8 --blocks 16 --runtime 2 -R"] {
            compare(options, &url);
        }
        refusals(&url);
    };
    peers::run_all("libiscsi", missing, vec![("lines".into(), Box::new(test))])
}

/// The lines that a tool prints, one that is overwritten being one, with `#` for every number.
fn lines(program: &str, options: &str, url: &str) -> Vec<String> {
    let ran = run(program, options.split(' ').chain([url])).ended_with(0);
    let text = String::from_utf8_lossy(&ran.stdout).into_owned();
    let numberless = |line: &str| {
        let mut masked = String::new();
        for character in line.trim_end().chars() {
            match character {
                '0'..='9' if masked.ends_with('#') => {}
                '0'..='9' => masked.push('#'),
                other => masked.push(other),
            }
        }
        masked
    };
    text.split(['\r', '\n']).map(numberless).filter(|line| !line.is_empty()).collect()
}

#[track_caller]
fn compare(options: &str, url: &str) {
    let (ours, theirs) = (lines(PERF, options, url), lines("iscsi-perf", options, url));
    let start = |lines: &[String]| {
        let end = lines.iter().position(|line| line.starts_with("will run for"));
        lines.get(1..=end.expect("a header")).map(<[String]>::to_vec)
    };
    assert_eq!(start(&ours), start(&theirs), "{options}");
    // Both close with these lines, and no other line looks like them.
    let closing = ["iops average # (# MB/s)", "finished."];
    for lines in [&ours, &theirs] {
        assert!(lines.ends_with(&closing.map(String::from)), "{lines:?}");
        assert_eq!(lines.iter().filter(|line| line.starts_with("iops average")).count(), 1);
    }
    // A line for a second; ours goes on.
    let second = |lines: &[String]| lines.iter().find(|line| line.contains(" - lba ")).cloned();
    let (ours, theirs) = (second(&ours).expect("a line"), second(&theirs).expect("a line"));
    let rest = ours.strip_prefix(theirs.as_str());
    assert_eq!(rest, Some(", #%"), "{ours} and {theirs}");
}

/// Wrong options and what cannot be reached end with the same codes.
fn refusals(url: &str) {
    let nowhere = url.replace("example:disk", "example:nowhere");
    for (arguments, code) in [(vec!["-Z", url], 1), (vec![], 1), (vec!["-t", "1", &nowhere], 10)] {
        for program in [PERF, "iscsi-perf"] {
            assert_eq!(run(program, &arguments).code, Some(code), "{program} {arguments:?}");
        }
    }
}
