//! The recording of a run, as tshark sees it.
//!
//! If tshark is not installed the test shows as ignored; with `ISCSI_REQUIRE_PEERS=1` it is a failure.

use std::collections::BTreeSet;
use std::io::Write;
use std::process::{Command, ExitCode, Stdio};

use iscsi_core::digest::DigestKind;
use iscsi_core::testing::recording;
use iscsi_core::text::Digests;
use libtest_mimic::{Arguments, Failed, Trial};

fn main() -> ExitCode {
    let version = Command::new("tshark").arg("--version").stdout(Stdio::null()).status();
    let missing = version.is_err();
    let required = std::env::var("ISCSI_REQUIRE_PEERS").is_ok_and(|value| value == "1");
    let trial = Trial::test("tshark_reads_the_recording", move || {
        if missing {
            return Err(Failed::from("tshark is not installed"));
        }
        tshark_reads_the_recording();
        Ok(())
    });
    let trial = trial.with_kind("tshark").with_ignored_flag(missing && !required);
    libtest_mimic::run(&Arguments::from_args(), vec![trial]).exit_code()
}

/// What tshark says of a digest that it has computed itself.
const GOOD: &str = "(Good CRC32)";

fn tshark_reads_the_recording() {
    for (header, data) in [
        (Digests::NONE, Digests::NONE),
        (Digests::CRC32C, Digests::NONE),
        (Digests::CRC32C, Digests::CRC32C),
    ] {
        let recorder = recording(header, data);
        let fields = ["-Y", "iscsi", "-T", "fields", "-e", "iscsi.opcode"];
        let opcodes = tshark(recorder.pcap(), &fields);
        let seen: BTreeSet<_> =
            opcodes.split(['\n', ',']).filter(|text| !text.is_empty()).collect();
        let kinds = [
            "0x00", "0x01", "0x02", "0x03", "0x04", "0x05", "0x06", "0x10", "0x20", "0x21", "0x22",
            "0x23", "0x24", "0x25", "0x26", "0x31", "0x32", "0x3f",
        ];
        assert_eq!(seen, BTreeSet::from(kinds));
        let bad = "_ws.malformed || tcp.checksum.status == 0 || ip.checksum.status == 0 \
            || tcp.analysis.flags || _ws.expert.severity >= 6291456";
        let bad = tshark(recorder.pcap(), &["-Y", bad]);
        assert_eq!(bad, "");
        let text = tshark(recorder.pcap(), &["-V"]);
        let digests: Vec<_> = text.lines().filter(|line| line.contains("Digest: 0x")).collect();
        // 24 PDUs of which 4 belong to the login. 7 of the others have data: tshark does not show the digest of the Asynchronous
        // Message, and takes that of the Reject for the digest of the header in it, which comes to the same.
        let wanted = match (header.first(), data.first()) {
            (Some(DigestKind::None), _) => 0,
            (_, Some(DigestKind::None)) => 20,
            _ => 26,
        };
        assert_eq!(digests.len(), wanted, "{digests:#?}");
        assert!(digests.iter().all(|line| line.contains(GOOD)), "{digests:#?}");
    }
}

/// What tshark says about a capture.
fn tshark(pcap: &[u8], arguments: &[&str]) -> String {
    let mut command = Command::new("tshark");
    command.args(["-o", "tcp.check_checksum:TRUE", "-o", "ip.check_checksum:TRUE", "-r", "-"]);
    command.args(arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(pcap).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap()
}
