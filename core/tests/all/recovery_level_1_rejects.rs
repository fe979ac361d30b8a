//! A target that rejects SNACKs: what becomes of the task, and of the connection (RFC 7143 sections 7.3, 7.8 and 11.17.1).
#![cfg(feature = "testing")]

use iscsi_core::testing::{Rig, Told};
use iscsi_core::text::{Digests, Limits};
use iscsi_core::wire::{Bhs, Completion, Opcode, RejectReason, ScsiCommand, ScsiStatus, SnackKind};
use iscsi_core::{
    Command, DataSn, LostReason, Lun, ProtocolError, SessionState, StatSn, TaskId, Transfer,
};

const REASONS: [RejectReason; 2] = [RejectReason::SnackReject, RejectReason::ProtocolError];

/// A rig at level 1 with data digests, and R2Ts in any order.
fn rig() -> Rig {
    rig_at(StatSn(1))
}

/// The same, whose statuses begin with this number.
fn rig_at(stat_sn: StatSn) -> Rig {
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
    let mut rig = Rig::new(config.build().unwrap(), limits, 1);
    rig.target.stat_sn = stat_sn;
    rig.log_in();
    rig
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
    for (reason, stat_sn) in [(REASONS[0], 1), (REASONS[1], 1), (REASONS[0], 0x1234_5678)] {
        let mut rig = rig_at(StatSn(stat_sn));
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

#[test]
fn only_the_run_that_was_rejected_is_given_up() {
    let mut rig = rig();
    let (task, command) = reading(&mut rig, 2048);
    let data = pattern(2048);
    let part = |n: u32| &data[n as usize * 512..][..512];
    for n in [1, 3] {
        let data_in = rig.target.data_in(&command, n, n * 512);
        rig.send(data_in, part(n));
    }
    let first = rig.target.expect_snack();
    assert!(matches!(first.kind, SnackKind::Data { beg_run: 0, run_length: 1, .. }));
    // The second one.
    reject(&mut rig, RejectReason::SnackReject);
    for n in [2, 0] {
        let data_in = rig.target.data_in(&command, n, n * 512);
        rig.send(data_in, part(n));
    }
    let completion = Completion { exp_data_sn: DataSn(4), ..Completion::GOOD };
    let response = rig.target.response(&command, completion);
    rig.send(response, &[]);
    let outcome = rig.outcome(task);
    assert_eq!((outcome.data_in, outcome.missing), (1536, 512));
    let memory = rig.memory.read(task);
    assert_eq!((&memory[..1024], &memory[1536..]), (&data[..1024], &data[1536..]));
    assert_eq!(memory[1024..1536], [0xee; 512]);
}

#[test]
fn the_run_behind_a_rejected_one_is_still_waited_for() {
    let mut rig = rig();
    let (task, command) = reading(&mut rig, 1024);
    let data = pattern(1024);
    let first = rig.target.data_in(&command, 0, 0);
    rig.target.send_damaged(first, &data[..512], 0);
    rig.run();
    let header = last_header(&rig);
    let second = rig.target.data_in(&command, 1, 512);
    rig.target.send_damaged(second, &data[512..], 0);
    rig.run();
    for beg in [0, 1] {
        let snack = rig.target.expect_snack();
        let SnackKind::Data { beg_run, run_length: 1, .. } = snack.kind else {
            panic!("{snack:?}")
        };
        assert_eq!(beg_run, beg);
    }
    // It comes, and its reject too.
    rig.send(first, &data[..512]);
    let refusal = rig.target.reject(RejectReason::SnackReject);
    rig.send(refusal, &header);
    rig.send(second, &data[512..]);
    let completion = Completion { exp_data_sn: DataSn(2), ..Completion::GOOD };
    let response = rig.target.response(&command, completion);
    rig.send(response, &[]);
    assert!(rig.outcome(task).is_good());
    assert_eq!(rig.memory.read(task), data);
}
