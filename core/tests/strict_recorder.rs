//! The recording of a run, as an independent reader sees it.
#![cfg(feature = "testing")]

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
