//! The recording of a run, as an independent reader sees it.
#![cfg(feature = "testing")]

use std::io::Write;
use std::process::{Command, Stdio};

use iscsi_core::testing::{Disk, Recorder, Rig, Service};
use iscsi_core::text::{Digests, Limits};

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

#[test]
fn log_names_every_pdu() {
    let recorder = recording(Digests::CRC32C);
    let kinds: Vec<_> = recorder
        .lines()
        .iter()
        .filter_map(|line| line.split(' ').nth(1).map(|arrow| (arrow, line)))
        .filter(|(arrow, _)| ["->", "<-"].contains(arrow))
        .map(|(_, line)| {
            let words = line.split(' ').skip(2).take_while(|word| !word.contains('='));
            words.collect::<Vec<_>>().join(" ")
        })
        .collect();
    assert_eq!(
        kinds,
        [
            "Login Request:",
            "Login Response:",
            "Login Request:",
            "Login Response:",
            "SCSI Command:",
            "SCSI Response:",
            "SCSI Command:",
            "SCSI Data-In:",
            "Logout Request:",
            "Logout Response:",
        ]
    );
}

#[test]
#[ignore = "needs tshark"]
fn tshark_reads_the_capture() {
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
