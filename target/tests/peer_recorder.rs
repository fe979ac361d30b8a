//! The recording of a run, as tshark sees it.
//!
//! If tshark is not installed the test shows as ignored; with `ISCSI_REQUIRE_PEERS=1` it is a failure.

use std::io::Write;
use std::process::{Command, ExitCode, Stdio};

use iscsi_core::testing::{Disk, Recorder, Rig, Service};
use iscsi_core::text::{Digests, Limits};
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

/// A login, two transfers and a logout.
fn recording(header_digest: Digests) -> Recorder {
    let config = Rig::config().header_digest(header_digest).data_digest(Digests::NONE);
    let config = config.build().unwrap();
    let mut rig = Rig::new(config, Limits::DEFAULT, 1);
    rig.recorder = Some(Recorder::new());
    rig.log_in();
    rig.target.service = Some(Service::new(Disk::new(32)));
    let write = rig.write(1, &[0x3c; 3072]);
    rig.run();
    let read = rig.read(0, 8);
    rig.run();
    assert!(rig.outcome(write).is_good() && rig.outcome(read).is_good());
    rig.driver.session.logout(rig.clock.now()).unwrap();
    rig.driver.touch();
    rig.run();
    rig.recorder.unwrap()
}

fn tshark_reads_the_recording() {
    for digests in [Digests::NONE, Digests::CRC32C] {
        let recorder = recording(digests);
        let opcodes = tshark(recorder.pcap(), "iscsi.opcode", "iscsi");
        let expected =
            ["0x03", "0x23", "0x03", "0x23", "0x01", "0x21", "0x01", "0x25", "0x06", "0x26"];
        assert_eq!(opcodes, expected);
        let bad = "_ws.malformed || tcp.checksum.status == 0 || ip.checksum.status == 0 \
            || tcp.analysis.flags";
        assert!(tshark(recorder.pcap(), "frame.number", bad).is_empty());
    }
}

/// The values of a field in the frames that pass a filter.
fn tshark(pcap: &[u8], field: &str, filter: &str) -> Vec<String> {
    let mut command = Command::new("tshark");
    command.args(["-o", "tcp.check_checksum:TRUE", "-o", "ip.check_checksum:TRUE"]);
    command.args(["-r", "-", "-Y", filter, "-T", "fields", "-e", field]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(pcap).unwrap();
    let output = child.wait_with_output().unwrap().stdout;
    let text = String::from_utf8(output).unwrap();
    text.split(['\n', ',']).filter(|value| !value.is_empty()).map(str::to_owned).collect()
}
