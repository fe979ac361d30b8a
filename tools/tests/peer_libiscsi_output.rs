//! What the tools print, beside what libiscsi's tools of the same names print, both asking one tgtd.
//!
//! The differences are those that this crate's README lists, and no others.

#[path = "support/peers.rs"]
mod peers;
#[expect(dead_code, reason = "each test program uses its part")]
mod support;
#[expect(dead_code, reason = "each test program uses its part")]
#[path = "../../runtime-std/tests/support/tgtd.rs"]
mod tgtd;

use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};

use support::{INQ, LS, READCAPACITY16, Ran, command, run};
use tgtd::{Access, Tgtd};

const USER: (&str, &str) = ("alice", "secret-of-alice");
const TARGET_USER: (&str, &str) = ("disk", "secret-of-the-disk");

type Test = fn(&Peer);

const TESTS: &[(&str, Test)] = &[
    ("standard_inquiry", standard_inquiry),
    ("vital_product_data", vital_product_data),
    ("device_identification", device_identification),
    ("a_page_that_is_not_there", missing_page),
    ("controller_and_missing_unit", other_units),
    ("capacity", capacity),
    ("listing", listing),
    ("listing_of_units", listing_of_units),
    ("credentials", credentials),
    ("initiator_names", initiator_names),
];

struct Peer {
    port: u16,
}

fn main() -> ExitCode {
    let tools = ["tgtd", "tgtadm", "iscsi-ls", "iscsi-inq", "iscsi-readcapacity16"];
    // One daemon for all tests; it ends with the last of them.
    let daemon: Arc<Mutex<Option<Tgtd>>> = Arc::default();
    let tests = TESTS.iter().map(|&(name, test)| {
        let daemon = daemon.clone();
        let test = move || {
            let mut daemon = daemon.lock().unwrap_or_else(PoisonError::into_inner);
            let port = daemon.get_or_insert_with(set_up).port;
            drop(daemon);
            test(&Peer { port });
        };
        (name.to_owned(), Box::new(test) as Box<dyn FnOnce() + Send>)
    });
    let code = peers::run_all("libiscsi", peers::missing_program(&tools), tests.collect());
    drop(daemon.lock().unwrap_or_else(PoisonError::into_inner).take());
    code
}

fn set_up() -> Tgtd {
    let mut tgtd = Tgtd::start();
    tgtd.add_target("disk", &Access::default());
    tgtd.add_target("mutual", &Access { incoming: Some(USER), outgoing: Some(TARGET_USER) });
    tgtd
}

impl Peer {
    fn portal(&self) -> String {
        format!("iscsi://127.0.0.1:{}", self.port)
    }

    fn unit(&self) -> String {
        format!("{}/iqn.2001-04.com.example:disk/1", self.portal())
    }
}

/// Runs the tool of this name that is installed.
fn theirs(ours: &str, arguments: &[&str]) -> Ran {
    run(ours.rsplit('/').next().unwrap(), arguments)
}

/// What both print, if both succeed.
fn both(tool: &str, arguments: &[&str]) -> (String, String) {
    let ours = run(tool, arguments).ended_with(0).text().to_owned();
    let theirs = theirs(tool, arguments).ended_with(0);
    (ours, String::from_utf8_lossy(&theirs.stdout).into_owned())
}

#[track_caller]
fn assert_same(tool: &str, arguments: &[&str]) {
    let (ours, theirs) = both(tool, arguments);
    assert_eq!(ours, theirs, "{arguments:?}");
    assert!(!ours.is_empty());
}

fn standard_inquiry(peer: &Peer) {
    assert_same(INQ, &[&peer.unit()]);
    assert_same(INQ, &["-e", "0", "-c", "0", &peer.unit()]);
    assert_same(INQ, &["--evpd=0", "--pagecode=0", &peer.unit()]);
}

fn vital_product_data(peer: &Peer) {
    let (pages, _) = both(INQ, &["-e", "1", "-c", "0", &peer.unit()]);
    let mut compared = 0;
    for line in pages.lines() {
        let code = line.strip_prefix("Page:0x").and_then(|rest| rest.get(..2)).expect("a page");
        let code = u8::from_str_radix(code, 16).expect("a code");
        if code != 0x83 {
            assert_same(INQ, &["-e", "1", "-c", &code.to_string(), &peer.unit()]);
            compared += 1;
        }
    }
    assert!(compared >= 5, "{pages}");
}

/// libiscsi 1.19 lists the designators backwards, and binary ones as text up to the first zero byte.
fn device_identification(peer: &Peer) {
    let (ours, theirs) = both(INQ, &["-e", "1", "-c", "131", &peer.unit()]);
    let split = |text: &str| {
        let mut parts = text.split("DEVICE DESIGNATOR #");
        let header = parts.next().expect("a header").to_owned();
        let designators = parts.map(|part| {
            let binary = part.contains("Code Set:(1) BINARY\n");
            let lines = part.lines().skip(1).filter(|l| !(binary && l.starts_with("Designator:")));
            lines.map(String::from).collect::<Vec<_>>()
        });
        (header, designators.collect::<Vec<_>>())
    };
    let (our_header, our_designators) = split(&ours);
    let (their_header, mut their_designators) = split(&theirs);
    their_designators.reverse();
    assert_eq!(our_header, their_header);
    assert_eq!(our_designators, their_designators);
    assert!(our_designators.len() >= 2, "{ours}");
    let binary = ours
        .lines()
        .filter(|line| line.starts_with("Designator:["))
        .any(|line| line.len() == "Designator:[]".len() + 32 && line.contains("6000000"));
    assert!(binary, "the NAA name is not there in hexadecimal: {ours}");
}

fn missing_page(peer: &Peer) {
    let arguments = ["-e", "1", "-c", "134", &peer.unit()];
    assert_eq!(theirs(INQ, &arguments).code, Some(10));
    let ours = run(INQ, arguments).ended_with(10);
    assert!(ours.stdout.is_empty());
    assert!(ours.stderr.contains("invalid field in CDB"), "{}", ours.stderr);
}

fn other_units(peer: &Peer) {
    let unit = |lun: u32| format!("{}/iqn.2001-04.com.example:disk/{lun}", peer.portal());
    assert_same(INQ, &[&unit(0)]);
    assert_eq!(theirs(INQ, &[&unit(7)]).code, Some(10));
    run(INQ, [unit(7)]).ended_with(10);
    assert_eq!(theirs(READCAPACITY16, &[&unit(0)]).code, Some(10));
    run(READCAPACITY16, [unit(0)]).ended_with(10);
    let nowhere = format!("{}/iqn.2001-04.com.example:nowhere/1", peer.portal());
    assert_eq!(theirs(INQ, &[&nowhere]).code, Some(10));
    let ours = run(INQ, [nowhere]).ended_with(10);
    assert!(ours.stderr.contains("there is no such target here"), "{}", ours.stderr);
}

fn capacity(peer: &Peer) {
    assert_same(READCAPACITY16, &[&peer.unit()]);
    assert_same(READCAPACITY16, &["-s", &peer.unit()]);
    assert_same(READCAPACITY16, &["--size", &peer.unit()]);
    let ran = run(READCAPACITY16, ["-s", &peer.unit()]);
    assert_eq!(ran.text(), format!("{}\n", tgtd::BYTES));
}

/// libiscsi lists the targets backwards.
#[track_caller]
fn assert_same_lines(arguments: &[&str]) {
    let (ours, theirs) = both(LS, arguments);
    let sorted = |text: &str| {
        let mut lines: Vec<_> = text.lines().map(String::from).collect();
        lines.sort();
        lines
    };
    assert_eq!(sorted(&ours), sorted(&theirs), "{arguments:?}");
    assert_eq!(ours.lines().count(), 2, "{ours}");
}

fn listing(peer: &Peer) {
    assert_same_lines(&[&peer.portal()]);
    assert_same_lines(&["-U", &peer.portal()]);
    assert_same_lines(&["--url", &peer.portal()]);
    assert_same_lines(&[&format!("iscsi://[::1]:{}", peer.port)]);
}

/// libiscsi says 15M of a disk of 16 MiB, for it counts one block too few, and ends with the first target that does not let it in.
fn listing_of_units(peer: &Peer) {
    let arguments = ["-s", &peer.portal()];
    let ours = run(LS, arguments).ended_with(10);
    let disk = "Lun:0    Type:STORAGE_ARRAY_CONTROLLER\nLun:1    Type:DIRECT_ACCESS (Size:16M)\n";
    assert!(ours.text().contains(disk), "{}", ours.text());
    assert!(ours.stderr.contains("iqn.2001-04.com.example:mutual at "), "{}", ours.stderr);
    assert_eq!(theirs(LS, &arguments).code, Some(10));

    // With credentials for both, both get to the end.
    let url = format!("iscsi://{}%{}@127.0.0.1:{}", USER.0, USER.1, peer.port);
    let ours = run(LS, ["-s", &url]).ended_with(0).text().to_owned();
    let theirs = theirs(LS, &["-s", &url]);
    let theirs = String::from_utf8_lossy(&theirs.stdout).replace("(Size:15M)", "(Size:16M)");
    for line in theirs.lines() {
        assert!(ours.contains(line), "{line} is missing in {ours}");
    }
}

fn credentials(peer: &Peer) {
    let place = format!("127.0.0.1:{}/iqn.2001-04.com.example:mutual/1", peer.port);
    let (user, secret) = USER;
    let (target, target_secret) = TARGET_USER;
    let mutual = format!("?target_user={target}&target_password={target_secret}");
    assert_same(INQ, &[&format!("iscsi://{user}%{secret}@{place}")]);
    assert_same(READCAPACITY16, &[&format!("iscsi://{user}%{secret}@{place}{mutual}")]);
    let from_environment = |tool: &str| -> Ran {
        let url = format!("iscsi://{place}");
        command(tool, [url])
            .env("LIBISCSI_CHAP_USERNAME", user)
            .env("LIBISCSI_CHAP_PASSWORD", secret)
            .env("LIBISCSI_CHAP_TARGET_USERNAME", target)
            .env("LIBISCSI_CHAP_TARGET_PASSWORD", target_secret)
            .output()
            .expect("the tool runs")
            .into()
    };
    let ours = from_environment(INQ).ended_with(0);
    let theirs = from_environment("iscsi-inq").ended_with(0);
    assert_eq!(ours.text(), theirs.text());
}

fn initiator_names(peer: &Peer) {
    for flag in ["-i", "--initiator-name"] {
        assert_same(INQ, &[flag, "iqn.2001-04.com.example:host", &peer.unit()]);
    }
}
