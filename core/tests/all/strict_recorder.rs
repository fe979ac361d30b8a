//! The recording of a run, in words. Other programs judge its bytes.
#![cfg(feature = "testing")]

use iscsi_core::testing::recording;
use iscsi_core::text::Digests;

#[test]
fn log_names_every_pdu() {
    let recorder = recording(Digests::CRC32C, Digests::NONE);
    let kinds: Vec<_> = recorder
        .lines()
        .iter()
        .filter_map(|line| line.split(' ').nth(1).map(|arrow| (arrow, line)))
        .filter(|(arrow, _)| ["->", "<-"].contains(arrow))
        .map(|(_, line)| {
            let words = line.split(' ').skip(1).take_while(|word| !word.contains('='));
            words.collect::<Vec<_>>().join(" ")
        })
        .collect();
    assert_eq!(
        kinds,
        [
            "-> Login Request:",
            "<- Login Response:",
            "-> Login Request:",
            "<- Login Response:",
            "-> SCSI Command:",
            "<- Ready To Transfer:",
            "-> SCSI Data-Out:",
            "<- SCSI Response:",
            "-> SCSI Command:",
            "<- SCSI Data-In:",
            "-> NOP-Out:",
            "<- NOP-In:",
            "<- NOP-In:",
            "-> NOP-Out:",
            "-> SNACK Request:",
            "<- Asynchronous Message:",
            "-> Text Request:",
            "<- Text Response:",
            "-> SCSI Command:",
            "<- Reject:",
            "-> Task Management Function Request:",
            "<- Task Management Function Response:",
            "-> Logout Request:",
            "<- Logout Response:",
        ]
    );
}
