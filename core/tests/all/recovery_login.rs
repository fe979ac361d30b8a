//! A session that comes back is refused: which refusals end the recovery, and what was counted (RFC 7143 section 11.13.5).
#![cfg(feature = "testing")]

use core::time::Duration;

use iscsi_core::auth::{Chap, Secret};
use iscsi_core::config::{ConfigBuilder, Recovery, Timeouts};
use iscsi_core::testing::{Disk, Do, Field, Rig, Rule, Service, TargetChap, When};
use iscsi_core::text::Limits;
use iscsi_core::wire::{LoginStatus, Opcode};
use iscsi_core::{LostReason, SessionState};

/// Comes back for ever, without verification, and never sends a NOP-Out of its own.
fn config() -> ConfigBuilder {
    let timeouts = Timeouts { nop_interval: None, ..Timeouts::DEFAULT };
    Rig::config().recovery(Recovery { verify: false, ..Recovery::FOREVER }).timeouts(timeouts)
}

/// The target closes the connection, and an hour passes.
fn lose(rig: &mut Rig) {
    let now = rig.clock.now();
    rig.link.as_mut().expect("a connection").to_initiator.close(now);
    rig.advance(Duration::from_secs(3600));
}

#[test]
fn a_refusal_of_the_initiator_is_final_but_for_a_name_that_is_not_known_yet() {
    for (class, detail, is_final) in [
        (2, 0x00, true),
        (2, 0x01, true),
        (2, 0x02, true),
        (2, 0x03, false), // a target that is being started
        (2, 0x04, true),
        (3, 0x00, false),
        (3, 0x01, false),
        (3, 0x02, false),
    ] {
        let config = config().build().unwrap();
        let mut rig = Rig::new(config, Limits::DEFAULT, 1);
        for act in [Do::Set(Field::STATUS_CLASS, class), Do::Set(Field::STATUS_DETAIL, detail)] {
            rig.target.script.add(Rule::new(When::sends(Opcode::LoginResponse), act).on(1));
        }
        rig.log_in();
        lose(&mut rig);
        let status = LoginStatus { class: class as u8, detail: detail as u8 };
        let expected = if is_final {
            SessionState::Failed(LostReason::LoginRefused(status))
        } else {
            SessionState::LoggedIn
        };
        assert_eq!(rig.state(), expected, "{status}");
        assert_eq!(rig.driver.session.counters().logins, if is_final { 1 } else { 2 });
    }
}

#[test]
fn a_target_that_cannot_prove_itself_is_not_tried_again() {
    let secret = |text| Secret::new(text).unwrap();
    let chap = Chap::new("alice", secret("secret-of-alice"))
        .and_then(|chap| chap.with_mutual(Some("disk"), secret("secret-of-disk-")))
        .unwrap();
    let config = config().chap(chap).build().unwrap();
    let mut rig = Rig::new(config, Limits::DEFAULT, 1);
    let own = |text| Some(("disk".into(), secret(text)));
    let honest = TargetChap::new(secret("secret-of-alice"));
    rig.target.chap = Some(TargetChap { own: own("secret-of-disk-"), ..honest.clone() });
    rig.log_in();
    rig.target.chap = Some(TargetChap { own: own("secret-of-others"), ..honest });
    lose(&mut rig);
    assert!(matches!(rig.state(), SessionState::Failed(LostReason::Protocol(_))));
    assert_eq!(rig.driver.session.counters().attempts, 1);
}

#[test]
fn every_task_is_counted_once() {
    let mut rig = Rig::logged_in(config(), Limits::DEFAULT);
    rig.target.service = Some(Service::new(Disk::new(64)));
    for lba in 0..5 {
        rig.read(lba, 1);
        rig.run();
    }
    rig.target.service = None;
    for lba in 0..3 {
        rig.read(lba, 1);
    }
    rig.run();
    lose(&mut rig);
    lose(&mut rig);
    let counters = rig.driver.session.counters();
    assert_eq!((counters.tasks_done, counters.tasks_lost), (5, 3));
    assert_eq!((counters.connections_lost, counters.attempts, counters.logins), (2, 2, 3));
}
