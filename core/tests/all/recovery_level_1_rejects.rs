//! A target that rejects SNACKs: what becomes of the task, and of the connection (RFC 7143 sections 7.3, 7.8 and 11.17.1).
#![cfg(feature = "testing")]

use iscsi_core::testing::{Rig, Told};
use iscsi_core::text::{Digests, Limits};
use iscsi_core::wire::{Bhs, Completion, Opcode, RejectReason, ScsiCommand, ScsiStatus, SnackKind};
use iscsi_core::{Command, DataSn, LostReason, Lun, ProtocolError, SessionState, TaskId, Transfer};

const REASONS: [RejectReason; 2] = [RejectReason::SnackReject, RejectReason::ProtocolError];

/// A rig at level 1 with data digests, and R2Ts in any order.
fn rig() -> Rig {
    let config = Rig::config()
        .error_recovery_level(1)
        .data_digest(Digests::CRC32C)
        .immediate_data(false)
        .initial_r2t(true)
        .data_sequence_in_order(false);
    let limits = Limits {
        error_recovery_level: 1,
        data_digest: Digests::NONE_CRC32C,
        data_sequence_in_order: false,
        ..Limits::DEFAULT
    };
    Rig::logged_in(config, limits)
}

/// A command under way that expects `len` bytes.
fn reading(rig: &mut Rig, len: u32) -> (TaskId, ScsiCommand) {
    let task = rig.submit(&Command::new(Lun::ZERO, &[0x28; 10], Transfer::In(len)), &[]);
    rig.run();
    let (command, _) = rig.target.expect_command();
    (task, command)
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at * 7 % 251) as u8).collect()
}

/// The header of the last SNACK that the initiator sent.
fn last_header(rig: &Rig) -> Bhs {
    let is_snack = |bhs: &&Bhs| Opcode::of(bhs) == Some(Opcode::SnackRequest);
    *rig.target.received().iter().rfind(is_snack).unwrap()
}

/// Rejects the SNACK that was sent last.
fn reject(rig: &mut Rig, reason: RejectReason) {
    rig.target.expect_snack();
    let header = last_header(rig);
    let reject = rig.target.reject(reason);
    rig.send(reject, &header);
}

/// CHECK CONDITION, ABORTED COMMAND, SNACK rejected.
fn end_by_target(rig: &mut Rig, command: &ScsiCommand) {
    let check = Completion { status: ScsiStatus::CheckCondition, ..Completion::GOOD };
    let response = rig.target.response(command, check);
    let mut sense = [0; 20];
    (sense[1], sense[2], sense[4], sense[9]) = (18, 0x70, 0x0b, 10);
    (sense[14], sense[15]) = (0x11, 0x13);
    rig.send(response, &sense);
}

#[test]
fn j_02_v_02_the_task_waits_for_its_status() {
    for reason in REASONS {
        let mut rig = rig();
        let (task, command) = reading(&mut rig, 512);
        let data_in = rig.target.data_in(&command, 0, 0);
        rig.target.send_damaged(data_in, &pattern(512), 0);
        rig.run();
        reject(&mut rig, reason);
        assert_eq!((rig.state(), rig.end(task)), (SessionState::LoggedIn, None));
        end_by_target(&mut rig, &command);
        let Some(Told::Done { outcome, sense, .. }) = rig.end(task) else { panic!() };
        assert!(!outcome.is_good() && outcome.data_in == 0);
        assert_eq!(sense[12..14], [0x11, 0x13]);
        assert_eq!(rig.state(), SessionState::LoggedIn);
    }
}

#[test]
fn v_02_a_status_that_is_here_already_is_not_good() {
    for reason in REASONS {
        let mut rig = rig();
        let (task, command) = reading(&mut rig, 1024);
        let first = rig.target.data_in(&command, 0, 0);
        rig.target.send_damaged(first, &pattern(512), 0);
        let second = rig.target.last_data_in(&command, 1, 512);
        rig.send(second, &pattern(512));
        assert_eq!(rig.end(task), None);
        reject(&mut rig, reason);
        let outcome = rig.outcome(task);
        assert_eq!((outcome.data_in, outcome.missing), (512, 512));
        assert!(!outcome.is_good());
        assert_eq!(rig.state(), SessionState::LoggedIn);
    }
}

#[test]
fn v_02_a_damaged_pdu_may_have_brought_the_status() {
    let mut rig = rig();
    let (task, command) = reading(&mut rig, 512);
    let only = rig.target.last_data_in(&command, 0, 0);
    rig.target.send_damaged(only, &pattern(512), 0);
    rig.run();
    reject(&mut rig, RejectReason::SnackReject);
    // Now the status is asked for by itself; its data are given up.
    rig.target.expect_snack();
    rig.send(only, &pattern(512));
    let outcome = rig.outcome(task);
    assert_eq!((outcome.data_in, outcome.missing, outcome.is_good()), (0, 512, false));
}

#[test]
fn j_02_a_write_whose_r2t_is_lost_for_good_waits_for_its_status() {
    for reason in REASONS {
        let mut rig = rig();
        let task = rig.write(0, &pattern(1024));
        rig.run();
        let (command, _) = rig.target.expect_command();
        let second = rig.target.r2t(&command, 1, 512, 512);
        rig.send(second, &[]);
        // The SNACK goes out ahead of the data.
        reject(&mut rig, reason);
        assert_eq!(rig.target.expect_data_out().0.buffer_offset, 512);
        assert_eq!((rig.state(), rig.end(task)), (SessionState::LoggedIn, None));
        // What was given up is a repetition now.
        let first = rig.target.r2t(&command, 0, 0, 512);
        rig.send(first, &[]);
        assert!(rig.target.inbox.is_empty());
        end_by_target(&mut rig, &command);
        assert!(matches!(rig.end(task), Some(Told::Done { .. })));
        assert_eq!(rig.state(), SessionState::LoggedIn);
    }
}

#[test]
fn what_has_come_of_a_run_does_not_hide_the_rest() {
    let mut rig = rig();
    let (task, command) = reading(&mut rig, 1536);
    let data = pattern(1536);
    let last = rig.target.data_in(&command, 2, 1024);
    rig.send(last, &data[1024..]);
    let header = last_header(&rig);
    let snack = rig.target.expect_snack();
    assert!(matches!(snack.kind, SnackKind::Data { beg_run: 0, run_length: 2, .. }));
    let first = rig.target.data_in(&command, 0, 0);
    rig.send(first, &data[..512]);
    let refusal = rig.target.reject(RejectReason::SnackReject);
    rig.send(refusal, &header);
    let completion = Completion { exp_data_sn: DataSn(3), ..Completion::GOOD };
    let response = rig.target.response(&command, completion);
    rig.send(response, &[]);
    let outcome = rig.outcome(task);
    assert_eq!((outcome.data_in, outcome.missing, outcome.is_good()), (1024, 512, false));
    assert_eq!(rig.state(), SessionState::LoggedIn);
}

#[test]
fn without_a_status_the_connection_goes() {
    for reason in REASONS {
        let mut rig = rig();
        let (task, command) = reading(&mut rig, 512);
        let damaged = rig.target.response(&command, Completion::GOOD);
        rig.target.send_damaged(damaged, &[0, 2, 1, 1], 0);
        rig.run();
        reject(&mut rig, reason);
        assert_eq!(rig.lost(task), Some(LostReason::Protocol(ProtocolError::Rejected(reason))));
    }
}

#[test]
fn a_stale_reject_of_a_snack_is_ignored() {
    let mut rig = rig();
    let (task, command) = reading(&mut rig, 512);
    let data_in = rig.target.last_data_in(&command, 0, 0);
    rig.target.send_damaged(data_in, &pattern(512), 0);
    rig.run();
    let header = last_header(&rig);
    rig.target.expect_snack();
    rig.send(data_in, &pattern(512));
    assert!(rig.outcome(task).is_good());
    let reject = rig.target.reject(RejectReason::ProtocolError);
    rig.send(reject, &header);
    // While the same number is missing of another task, too.
    let (other, second) = reading(&mut rig, 512);
    let damaged = rig.target.data_in(&second, 0, 0);
    rig.target.send_damaged(damaged, &pattern(512), 0);
    rig.run();
    let reject = rig.target.reject(RejectReason::ProtocolError);
    rig.send(reject, &header);
    assert!(rig.end(other).is_none());
    assert_eq!(rig.state(), SessionState::LoggedIn);
}
