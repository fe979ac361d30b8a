//! ErrorRecoveryLevel 1: text, and memory that is taken away while something is missing.
#![cfg(feature = "testing")]

use iscsi_core::testing::Rig;
use iscsi_core::text::{Digests, Limits};
use iscsi_core::wire::SnackKind;
use iscsi_core::{Command, DiscoveryItem, DiscoveryScope, Lun, SessionState, Transfer};

fn rig() -> Rig {
    let limits =
        Limits { error_recovery_level: 1, data_digest: Digests::NONE_CRC32C, ..Limits::DEFAULT };
    let config = Rig::config().error_recovery_level(1).data_digest(Digests::CRC32C);
    Rig::logged_in(config, limits)
}

#[test]
fn g_04_damaged_text_comes_again_and_counts_once() {
    let mut rig = rig();
    let now = rig.clock.now();
    let (connection, session) = rig.driver.ask();
    connection.send_targets(DiscoveryScope::Session, session, now).unwrap();
    rig.run();
    let (request, _) = rig.target.expect_text();
    let response = rig.target.text_response(&request, None);
    let text = b"TargetName=iqn.2001-04.com.example:disk\0";
    rig.target.send_damaged(response, text, 77);
    rig.run();
    assert_eq!(rig.driver.poll_discovery(&rig.clock), None);
    let snack = rig.target.expect_snack();
    assert_eq!(snack.kind, SnackKind::Status { beg_run: response.stat_sn, run_length: 1 });
    for _ in 0..2 {
        rig.send(response, text);
    }
    assert!(matches!(rig.driver.poll_discovery(&rig.clock), Some(DiscoveryItem::Target(_))));
    rig.send(response, text);
    assert_eq!(rig.driver.poll_discovery(&rig.clock), Some(DiscoveryItem::Done));
    rig.send(response, text);
    assert_eq!(rig.driver.poll_discovery(&rig.clock), None);
    assert_eq!(rig.state(), SessionState::LoggedIn);
    assert_eq!(rig.driver.connection().counters().recovered.text_responses, 1);
}

#[test]
fn what_is_missing_of_a_revoked_read_is_still_asked_for() {
    let mut rig = rig();
    let task = rig.submit(&Command::new(Lun::ZERO, &[0x28; 10], Transfer::In(1024)), &[]);
    rig.run();
    let (command, _) = rig.target.expect_command();
    let first = rig.target.data_in(&command, 0, 0);
    rig.target.send_damaged(first, &[1; 512], 0);
    rig.run();
    rig.target.expect_snack();
    // Its memory goes while the replica is under way, and in the middle of it.
    let now = rig.clock.now();
    let (connection, session) = rig.driver.ask();
    connection.revoke(task, session, now).unwrap();
    rig.memory.take(task);
    let last = rig.target.last_data_in(&command, 1, 512);
    rig.send(last, &[2; 512]);
    assert!(rig.driver.session.holds(task));
    rig.send(first, &[1; 512]);
    assert!(!rig.driver.session.holds(task) && rig.end(task).is_none());
    assert_eq!(rig.state(), SessionState::LoggedIn);
}

#[test]
fn a_replica_that_comes_twice_may_find_its_task_ended() {
    let mut rig = rig();
    let task = rig.submit(&Command::new(Lun::ZERO, &[0x28; 10], Transfer::In(1024)), &[]);
    rig.run();
    let (command, _) = rig.target.expect_command();
    let first = rig.target.data_in(&command, 0, 0);
    let last = rig.target.last_data_in(&command, 1, 512);
    rig.send(last, &[2; 512]);
    rig.target.expect_snack();
    for _ in 0..2 {
        rig.send(first, &[1; 512]);
    }
    assert!(rig.outcome(task).is_good());
    assert_eq!(rig.state(), SessionState::LoggedIn);
}
