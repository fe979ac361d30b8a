//! ErrorRecoveryLevel 1: what is lost or damaged on the way to the target is sent again (RFC 7143 sections 7.2.1, 7.8 and 11.8).
#![cfg(feature = "testing")]

use core::time::Duration;

use iscsi_core::testing::Rig;
use iscsi_core::text::{Digests, Limits};
use iscsi_core::wire::{
    BHS_LEN, Bhs, Completion, InitiatorPdu, Reject, RejectReason, ScsiCommand, SnackKind,
    TaskManagementResponseCode,
};
use iscsi_core::{
    Command, LostReason, Lun, ProtocolError, Recovered, SessionState, TaskId, Timer, Transfer,
};

const LIMITS: Limits = Limits {
    error_recovery_level: 1,
    data_digest: Digests::NONE_CRC32C,
    max_recv_data_segment_length: 1024,
    initial_r2t: false,
    ..Limits::DEFAULT
};

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at * 11 % 253) as u8).collect()
}

fn recovered(rig: &Rig) -> Recovered {
    rig.driver.connection().counters().recovered
}

/// A write of `len` bytes under way, of which only the R2Ts bring data, or the first 2048 bytes go unasked.
fn writing(level: u8, unsolicited: bool, len: u32) -> (Rig, TaskId, ScsiCommand, Vec<u8>) {
    let config = Rig::config()
        .error_recovery_level(level)
        .data_digest(Digests::CRC32C)
        .immediate_data(unsolicited)
        .initial_r2t(!unsolicited)
        .first_burst_length(2048);
    let mut rig = Rig::logged_in(config, LIMITS);
    let command = Command::new(Lun::new(2).unwrap(), &[0x2a; 10], Transfer::Out(len));
    let task = rig.submit(&command, &pattern(len as usize));
    rig.run();
    let (command, immediate) = rig.target.expect_command();
    assert_eq!(immediate.len(), if unsolicited { 1024.min(len as usize) } else { 0 });
    (rig, task, command, immediate)
}

/// Takes the Data-Out of one burst and checks that they are these bytes.
fn expect_burst(rig: &mut Rig, from: u32, to: u32) {
    let (mut at, mut data_sn) = (from, 0);
    while at < to {
        let (data_out, data) = rig.target.expect_data_out();
        assert_eq!((data_out.buffer_offset, data_out.data_sn.0), (at, data_sn));
        let whole = pattern(to as usize);
        assert_eq!(data, whole[at as usize..at as usize + data.len()]);
        at += data.len() as u32;
        data_sn += 1;
        assert_eq!(data_out.is_final, at == to);
    }
    assert_eq!(at, to);
}

#[test]
fn w_19_recovery_r2ts_bring_the_same_bytes_again() {
    let (mut rig, task, command, _) = writing(1, true, 8192);
    expect_burst(&mut rig, 1024, 2048);
    for (r2t_sn, offset, length) in [
        (0, 2048, 4096),
        // One PDU of the burst arrived damaged, then immediate and unsolicited data.
        (1, 3072, 1024),
        (2, 0, 1024),
        (3, 1024, 1024),
        // Half of it for the first time.
        (4, 4096, 4096),
    ] {
        let r2t = rig.target.r2t(&command, r2t_sn, offset, length);
        rig.send(r2t, &[]);
        expect_burst(&mut rig, offset, offset + length);
    }
    let response = rig.target.response(&command, Completion::GOOD);
    rig.send(response, &[]);
    assert!(rig.outcome(task).is_good(), "{:?}", rig.outcome(task));
    assert_eq!(recovered(&rig).recovery_r2ts, 4);
}

#[test]
fn bytes_that_went_twice_do_not_stand_for_others() {
    let (mut rig, task, command, _) = writing(1, false, 4096);
    for r2t_sn in 0..2 {
        let r2t = rig.target.r2t(&command, r2t_sn, 0, 2048);
        rig.send(r2t, &[]);
        expect_burst(&mut rig, 0, 2048);
    }
    let response = rig.target.response(&command, Completion::GOOD);
    rig.send(response, &[]);
    assert_eq!(rig.outcome(task).missing, 2048);
}

#[test]
fn recovery_r2ts_stay_within_the_task() {
    for (offset, length) in [(4095, 2), (0, 4097), (u32::MAX - 1, 1)] {
        let (mut rig, task, command, _) = writing(1, false, 4096);
        let first = rig.target.r2t(&command, 0, 0, 4096);
        rig.send(first, &[]);
        expect_burst(&mut rig, 0, 4096);
        let again = rig.target.r2t(&command, 1, offset, length);
        rig.send(again, &[]);
        assert!(matches!(rig.violation(), Some(ProtocolError::R2tOutOfRange { .. })));
        assert!(rig.target.inbox.is_empty());
        assert!(rig.lost(task).is_some());
    }
}

#[test]
fn w_17_a_lost_r2t_is_asked_for() {
    let (mut rig, task, command, _) = writing(1, false, 4096);
    let lost = rig.target.r2t(&command, 0, 0, 2048);
    let second = rig.target.r2t(&command, 1, 2048, 2048);
    rig.send(second, &[]);
    let kind = SnackKind::Data {
        initiator_task_tag: command.initiator_task_tag,
        beg_run: 0,
        run_length: 1,
    };
    assert_eq!(rig.target.expect_snack().kind, kind);
    expect_burst(&mut rig, 2048, 4096);
    // W-18: what comes again is answered once.
    for r2t in [second, lost, lost] {
        rig.send(r2t, &[]);
    }
    expect_burst(&mut rig, 0, 2048);
    assert!(rig.target.inbox.is_empty());
    let response = rig.target.response(&command, Completion::GOOD);
    rig.send(response, &[]);
    assert!(rig.outcome(task).is_good());
    assert_eq!((recovered(&rig).r2ts, recovered(&rig).snacks), (1, 1));
}

#[test]
fn an_r2t_that_does_not_come_drops_the_connection() {
    let (mut rig, task, command, _) = writing(1, false, 4096);
    let second = rig.target.r2t(&command, 1, 2048, 2048);
    rig.send(second, &[]);
    rig.target.expect_snack();
    rig.advance(Duration::from_secs(6));
    assert_eq!(rig.lost(task), Some(LostReason::TimedOut(Timer::Snack)));
    // More of them than may be under way, and level 0.
    for (level, ahead) in [(1, 2), (0, 1)] {
        let (mut rig, _, command, _) = writing(level, false, 4096);
        let far = rig.target.r2t(&command, ahead, 0, 512);
        rig.send(far, &[]);
        assert!(matches!(rig.violation(), Some(ProtocolError::R2tSn { .. })));
    }
}

fn header(command: &ScsiCommand) -> Bhs {
    let mut bhs = [0; BHS_LEN];
    InitiatorPdu::from(*command).emit(&mut bhs);
    bhs
}

#[test]
fn j_03_a_command_whose_immediate_data_were_damaged_is_sent_again() {
    let (mut rig, task, command, immediate) = writing(1, true, 8192);
    expect_burst(&mut rig, 1024, 2048);
    rig.target.checks = false;
    // The target has thrown it away: its number counts as missing.
    rig.target.exp_cmd_sn = command.cmd_sn;
    let reject = rig.target.reject(RejectReason::DataDigestError);
    rig.send(reject, &header(&command));
    let (again, data) = rig.target.expect_command();
    let known = ScsiCommand { exp_stat_sn: again.exp_stat_sn, ..command };
    assert_eq!((again, data), (known, immediate));
    assert_eq!(again.exp_stat_sn, reject.stat_sn.next());
    // The whole transfer follows.
    expect_burst(&mut rig, 1024, 2048);
    rig.target.exp_cmd_sn = command.cmd_sn.next();
    let r2t = rig.target.r2t(&again, 0, 2048, 6144);
    rig.send(r2t, &[]);
    expect_burst(&mut rig, 2048, 8192);
    let response = rig.target.response(&again, Completion::GOOD);
    rig.send(response, &[]);
    assert!(rig.outcome(task).is_good());
    assert_eq!((recovered(&rig).commands, recovered(&rig).recovery_r2ts), (1, 0));
}

/// A write and another command under way, and the Reject of the write, whose data came damaged. The target has received neither.
fn rejected_beside_another() -> (Rig, [TaskId; 2], [ScsiCommand; 2], Reject) {
    let (mut rig, task, command, _) = writing(1, true, 512);
    let other = rig.submit(&Command::new(Lun::new(2).unwrap(), &[0; 6], Transfer::None), &[]);
    rig.run();
    let (second, _) = rig.target.expect_command();
    rig.target.checks = false;
    rig.target.exp_cmd_sn = command.cmd_sn;
    let reject = rig.target.reject(RejectReason::DataDigestError);
    (rig, [task, other], [command, second], reject)
}

#[test]
fn a_command_that_is_sent_again_leaves_no_hole_for_an_earlier_abort_to_find() {
    let (mut rig, [task, other], [command, _], reject) = rejected_beside_another();
    let now = rig.clock.now();
    rig.driver.session.abort(other, now).unwrap();
    rig.driver.touch();
    rig.run();
    let request = rig.target.expect_task_management();
    // Both arrive before anything can be sent.
    rig.target.send(reject, &header(&command));
    let managed = rig.target.managed(&request, TaskManagementResponseCode::FunctionComplete);
    rig.send(managed, &[]);
    assert_eq!(rig.lost(other), Some(LostReason::Aborted));
    let (again, _) = rig.target.expect_command();
    assert!(rig.target.inbox.is_empty());
    rig.target.exp_cmd_sn = command.cmd_sn.plus(2);
    let response = rig.target.response(&again, Completion::GOOD);
    rig.send(response, &[]);
    assert!(rig.outcome(task).is_good());
}

#[test]
fn a_command_that_was_sent_again_in_vain_is_aborted() {
    let (mut rig, [task, other], [command, unheard], reject) = rejected_beside_another();
    // An abort becomes due with it, and goes behind it.
    rig.target.send(reject, &header(&command));
    let reject = rig.target.reject(RejectReason::InvalidPduField);
    rig.send(reject, &header(&unheard));
    rig.target.expect_command();
    let request = rig.target.expect_task_management();
    rig.target.exp_cmd_sn = command.cmd_sn;
    let managed = rig.target.managed(&request, TaskManagementResponseCode::FunctionComplete);
    rig.send(managed, &[]);
    let reason = LostReason::Rejected(RejectReason::InvalidPduField);
    assert_eq!((rig.lost(other), rig.lost(task)), (Some(reason), None));
    let request = rig.target.expect_task_management();
    assert_eq!(request.function.referenced_task_tag(), Some(command.initiator_task_tag));
    rig.target.exp_cmd_sn = command.cmd_sn.plus(2);
    let managed = rig.target.managed(&request, TaskManagementResponseCode::FunctionComplete);
    rig.send(managed, &[]);
    let hole = ProtocolError::ExpCmdSn { expected: command.cmd_sn.plus(2), got: command.cmd_sn };
    assert_eq!(rig.lost(task), Some(LostReason::Protocol(hole)));
    assert_eq!(rig.state(), SessionState::LoggedIn);
}

#[test]
fn a_command_that_the_target_keeps_is_not_sent_again() {
    let (mut rig, task, command, _) = writing(1, true, 1024);
    let reject = rig.target.reject(RejectReason::DataDigestError);
    rig.send(reject, &header(&command));
    assert!(rig.target.inbox.is_empty());
    let r2t = rig.target.r2t(&command, 0, 0, 1024);
    rig.send(r2t, &[]);
    expect_burst(&mut rig, 0, 1024);
    let response = rig.target.response(&command, Completion::GOOD);
    rig.send(response, &[]);
    assert!(rig.outcome(task).is_good());
    assert_eq!((recovered(&rig).commands, recovered(&rig).recovery_r2ts), (0, 1));
}

#[test]
fn a_command_is_sent_again_so_often_and_no_more() {
    let (mut rig, task, command, _) = writing(1, true, 512);
    rig.target.checks = false;
    for tries in 0..4 {
        rig.target.exp_cmd_sn = command.cmd_sn;
        let reject = rig.target.reject(RejectReason::DataDigestError);
        rig.send(reject, &header(&command));
        assert_eq!(rig.target.expect_command().0.cmd_sn, command.cmd_sn);
        assert_eq!(recovered(&rig).commands, tries + 1);
    }
    rig.target.exp_cmd_sn = command.cmd_sn;
    let reject = rig.target.reject(RejectReason::DataDigestError);
    rig.send(reject, &header(&command));
    // As at level 0: the abort fills the hole in the order of commands.
    rig.target.expect_task_management();
    assert!(rig.end(task).is_none());
    assert_eq!(rig.state(), SessionState::LoggedIn);
}

#[test]
fn j_03_at_level_0_the_task_ends() {
    let (mut rig, _, command, _) = writing(0, true, 512);
    let reject = rig.target.reject(RejectReason::DataDigestError);
    rig.send(reject, &header(&command));
    rig.target.expect_task_management();
}

#[test]
fn j_02_a_rejected_data_out_leaves_the_task() {
    let (mut rig, task, command, _) = writing(1, false, 2048);
    let r2t = rig.target.r2t(&command, 0, 0, 2048);
    rig.send(r2t, &[]);
    let bhs = *rig.target.received().last().unwrap();
    expect_burst(&mut rig, 0, 2048);
    let reject = rig.target.reject(RejectReason::DataDigestError);
    rig.send(reject, &bhs);
    assert!(rig.end(task).is_none() && rig.target.inbox.is_empty());
    let again = rig.target.r2t(&command, 1, 1024, 1024);
    rig.send(again, &[]);
    expect_burst(&mut rig, 1024, 2048);
    let response = rig.target.response(&command, Completion::GOOD);
    rig.send(response, &[]);
    assert!(rig.outcome(task).is_good());
}

#[test]
fn a_command_that_is_being_aborted_is_not_sent_again() {
    let (mut rig, task, command, _) = writing(1, true, 512);
    let now = rig.clock.now();
    rig.driver.session.abort(task, now).unwrap();
    rig.driver.touch();
    rig.run();
    let request = rig.target.expect_task_management();
    rig.target.checks = false;
    rig.target.exp_cmd_sn = command.cmd_sn;
    let reject = rig.target.reject(RejectReason::DataDigestError);
    rig.send(reject, &header(&command));
    assert!(rig.target.inbox.is_empty());
    let managed = rig.target.managed(&request, TaskManagementResponseCode::FunctionComplete);
    rig.send(managed, &[]);
    assert_eq!(rig.lost(task), Some(LostReason::Aborted));
}

#[test]
fn detached_writes_serve_recovery_r2ts() {
    let (mut rig, task, command, _) = writing(1, false, 1024);
    rig.driver.session.detach(task).unwrap();
    for r2t_sn in 0..2 {
        let r2t = rig.target.r2t(&command, r2t_sn, 0, 1024);
        rig.send(r2t, &[]);
        expect_burst(&mut rig, 0, 1024);
    }
    let response = rig.target.response(&command, Completion::GOOD);
    rig.send(response, &[]);
    assert!(rig.end(task).is_none() && !rig.driver.session.holds(task));
}

#[test]
fn revoked_writes_that_are_asked_for_again_drop_the_connection() {
    let (mut rig, task, command, _) = writing(1, false, 1024);
    let first = rig.target.r2t(&command, 0, 0, 1024);
    rig.send(first, &[]);
    expect_burst(&mut rig, 0, 1024);
    let now = rig.clock.now();
    let (connection, session) = rig.driver.ask();
    connection.revoke(task, session, now).unwrap();
    rig.memory.take(task);
    rig.run();
    rig.target.expect_task_management();
    let again = rig.target.r2t(&command, 1, 0, 512);
    rig.send(again, &[]);
    assert_eq!(rig.state(), SessionState::Failed(LostReason::Aborted));
    assert!(rig.target.inbox.is_empty());
}
