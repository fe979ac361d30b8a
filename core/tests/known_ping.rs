//! The keep-alive has to notice a dead target in its time.
#![cfg(feature = "testing")]

use core::time::Duration;

use iscsi_core::testing::Rig;
use iscsi_core::wire::{NopInKind, NopOutKind};
use iscsi_core::{LostReason, SessionState, Timer};

#[test]
fn n_07_silence_is_broken_and_then_ends_the_connection() {
    let mut rig = Rig::scripted();
    rig.advance(Duration::from_micros(4_999_999));
    assert!(rig.target.inbox.is_empty());
    rig.advance(Duration::from_micros(1));
    let NopOutKind::Ping { initiator_task_tag, .. } = rig.target.expect_nop_out().kind else {
        panic!()
    };
    rig.advance(Duration::from_secs(3));
    let echo = rig.target.nop_in(NopInKind::PingResponse(initiator_task_tag));
    rig.send(echo, &[]);
    // Answered: another interval.
    rig.advance(Duration::from_micros(4_999_999));
    assert!(rig.target.inbox.is_empty());
    rig.advance(Duration::from_micros(1));
    rig.target.expect_nop_out();
    rig.advance(Duration::from_secs(5));
    assert_eq!(rig.state(), SessionState::Failed(LostReason::TimedOut(Timer::NopOut)));
}

/// A target whose TCP takes everything and whose engine is dead: what the application goes on submitting is no sign of life.
#[test]
fn own_commands_do_not_keep_a_dead_target_alive() {
    let mut rig = Rig::scripted();
    for _ in 0..8 {
        rig.advance(Duration::from_secs(2));
        if rig.state() != SessionState::LoggedIn {
            break;
        }
        rig.write(0, &[0; 8192]);
        rig.run();
    }
    assert_eq!(rig.state(), SessionState::Failed(LostReason::TimedOut(Timer::NopOut)));
}
