//! Lengths near the end of 32 bits.
#![cfg(feature = "testing")]

use iscsi_core::testing::Rig;
use iscsi_core::wire::Completion;
use iscsi_core::{Command, Lun, Transfer};

#[test]
fn bidirectional_command_of_many_gibibytes_without_data() {
    let config = Rig::config().immediate_data(false).initial_r2t(true);
    let mut rig = Rig::logged_in(config, iscsi_core::text::Limits::DEFAULT);
    let transfer = Transfer::Both { out: 3 << 30, r#in: 3 << 30 };
    let command = Command::new(Lun::ZERO, &[0x53; 10], transfer);
    let now = rig.clock.now();
    let task = rig.driver.session.submit(&command, now).unwrap();
    rig.driver.touch();
    rig.run();
    let (command, _) = rig.target.expect_command();
    let response = rig.target.response(&command, Completion::GOOD);
    rig.send(response, &[]);
    assert!(!rig.outcome(task).is_good());
    assert!(rig.outcome(task).missing >= 3 << 30);
}
