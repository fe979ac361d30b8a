//! When a connection that was made after a loss counts as useful, so that the next loss is a new one.
#![cfg(feature = "testing")]

use core::time::Duration;

use iscsi_core::config::{Recovery, Timeouts};
use iscsi_core::testing::{Disk, Rig};
use iscsi_core::text::Limits;
use iscsi_core::wire::{NopInKind, NopOutKind};
use iscsi_core::{Command, LostReason, Lun, OnLoss, SessionState, TaskId, Timer, Transfer};

const SECOND: Duration = Duration::from_secs(1);

/// Comes back for five seconds, which is less than it takes to find a dead target by a ping. Commands have no limit of their own.
fn logged_in(nop_interval: Option<Duration>) -> Rig {
    let timeouts = Timeouts { nop_interval, command: None, ..Timeouts::DEFAULT };
    let recovery = Recovery { verify: false, ..Recovery::lasting(5 * SECOND) };
    Rig::logged_in(Rig::config().recovery(recovery).timeouts(timeouts), Limits::DEFAULT)
}

/// The connection is lost for the first time, and replaced. A command waits if wanted.
fn replaced(nop_interval: Option<Duration>, waits: bool) -> (Rig, Option<TaskId>) {
    let mut rig = logged_in(nop_interval);
    let cdb = Disk::read10(0, 1);
    let read = Command::new(Lun::ZERO, &cdb, Transfer::In(512)).on_loss(OnLoss::Reissue);
    let task = waits.then(|| rig.submit(&read, &[]));
    rig.run();
    cut(&mut rig);
    rig.advance(2 * SECOND);
    assert_eq!(rig.state(), SessionState::LoggedIn);
    rig.target.inbox.clear();
    (rig, task)
}

/// The target closes the connection.
fn cut(rig: &mut Rig) {
    let now = rig.clock.now();
    rig.link.as_mut().expect("a connection").to_initiator.close(now);
    rig.run();
}

#[test]
fn a_target_that_answers_nothing_is_given_up_in_the_policy_s_time() {
    let (mut rig, task) = replaced(Some(5 * SECOND), true);
    rig.advance(10 * SECOND);
    let reason = LostReason::TimedOut(Timer::Recovery);
    assert_eq!(rig.state(), SessionState::Failed(reason));
    assert_eq!(rig.lost(task.unwrap()), Some(reason));
}

#[test]
fn a_target_that_answers_pings_is_useful_however_slow_it_is() {
    let (mut rig, task) = replaced(Some(5 * SECOND), true);
    for _ in 0..3 {
        rig.advance(5 * SECOND);
        let NopOutKind::Ping { initiator_task_tag, .. } = rig.target.expect_nop_out().kind else {
            panic!()
        };
        let nop = rig.target.nop_in(NopInKind::PingResponse(initiator_task_tag));
        rig.send(nop, &[]);
    }
    cut(&mut rig);
    assert_eq!(rig.state(), SessionState::Waiting(LostReason::Eof));
    assert_eq!(rig.lost(task.unwrap()), None);
}

#[test]
fn a_connection_that_nobody_needed_was_useful_while_it_stood() {
    for (stood, is_useful) in [(4 * SECOND, false), (3600 * SECOND, true)] {
        let (mut rig, _) = replaced(None, false);
        rig.advance(stood);
        cut(&mut rig);
        let state = match is_useful {
            true => SessionState::Waiting(LostReason::Eof),
            false => SessionState::Failed(LostReason::TimedOut(Timer::Recovery)),
        };
        assert_eq!(rig.state(), state, "{stood:?}");
    }
}
