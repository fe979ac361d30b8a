//! ErrorRecoveryLevel 1: what is lost or damaged on the way to the initiator is asked for again (RFC 7143 sections 7.8, 7.9, 11.16).
#![cfg(feature = "testing")]

use core::time::Duration;

use iscsi_core::testing::{Memory, Rig, Told};
use iscsi_core::text::{Digests, Limits};
use iscsi_core::wire::{
    AsyncEvent, BHS_LEN, Completion, DataIn, NopIn, NopInKind, NopOutKind, RejectReason,
    ScsiCommand, ScsiResponse, ScsiStatus, SnackKind, TargetPdu, TaskManagementRequest,
    TaskManagementResponseCode as Code, TransferTag,
};
use iscsi_core::{
    Command, DataSn, LostReason, Lun, ProtocolError, Recovered, SessionState, StatSn,
    TargetTransferTag, TaskId, Timer, Transfer,
};

const LIMITS: Limits = Limits {
    error_recovery_level: 1,
    header_digest: Digests::NONE_CRC32C,
    data_digest: Digests::NONE_CRC32C,
    ..Limits::DEFAULT
};

/// A rig at this level, with both digests.
fn rig_at(level: u8) -> Rig {
    let config = Rig::config()
        .error_recovery_level(level)
        .header_digest(Digests::CRC32C)
        .data_digest(Digests::CRC32C);
    let rig = Rig::logged_in(config, LIMITS);
    assert_eq!(rig.driver.session.negotiated().error_recovery_level, level);
    rig
}

/// A command under way that expects `len` bytes.
fn reading(rig: &mut Rig, len: u32) -> (TaskId, ScsiCommand) {
    let transfer = if len == 0 { Transfer::None } else { Transfer::In(len) };
    let task = rig.submit(&Command::new(Lun::ZERO, &[0x28; 10], transfer), &[]);
    rig.run();
    let (command, _) = rig.target.expect_command();
    (task, command)
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at * 7 % 251) as u8).collect()
}

fn recovered(rig: &Rig) -> Recovered {
    rig.driver.connection().counters().recovered
}

/// The one PDU that the initiator has sent: a SNACK for these Data-In.
fn expect_data_snack(rig: &mut Rig, command: &ScsiCommand, from: u32, count: u32) {
    let kind = SnackKind::Data {
        initiator_task_tag: command.initiator_task_tag,
        beg_run: from,
        run_length: count,
    };
    assert_eq!(rig.target.expect_snack().kind, kind);
    assert!(rig.target.inbox.is_empty());
}

fn expect_status_snack(rig: &mut Rig, from: StatSn, count: u32) {
    let snack = rig.target.expect_snack();
    assert_eq!(snack.kind, SnackKind::Status { beg_run: from, run_length: count });
    assert!(snack.exp_stat_sn.le(from), "{snack:?}");
    assert!(rig.target.inbox.is_empty());
}

/// The ExpStatSN that the initiator sends now.
pub(crate) fn exp_stat_sn(rig: &mut Rig) -> StatSn {
    let (connection, session) = rig.driver.ask();
    connection.ping(session);
    rig.run();
    let nop = rig.target.expect_nop_out();
    let NopOutKind::Ping { initiator_task_tag, .. } = nop.kind else { panic!("{nop:?}") };
    let echo = rig.target.nop_in(NopInKind::PingResponse(initiator_task_tag));
    rig.send(echo, &[]);
    nop.exp_stat_sn
}

#[test]
fn v_01_g_03_damaged_data_in_comes_again() {
    damaged_data_in_comes_again(Memory::new);
}

#[test]
fn damaged_data_in_is_consumed_again() {
    damaged_data_in_comes_again(Memory::consuming);
}

fn damaged_data_in_comes_again(memory: fn() -> Memory) {
    let data = pattern(1021);
    // The first bit, one in the middle, the last data, padding and digest bits.
    for bit in [0, 2000, 509 * 8 - 1, 509 * 8, 512 * 8 - 1, 512 * 8, 516 * 8 - 1] {
        let mut rig = rig_at(1);
        rig.memory = memory();
        let (task, command) = reading(&mut rig, 1021);
        let (first, stat_sn) = (rig.target.data_in(&command, 0, 0), rig.target.stat_sn);
        rig.send(first, &data[..512]);
        let second = rig.target.data_in(&command, 1, 512);
        rig.target.send_damaged(second, &data[512..], bit);
        rig.run();
        expect_data_snack(&mut rig, &command, 1, 1);
        // What was asked for is not there yet: neither a status nor its number count.
        let response = Completion { exp_data_sn: DataSn(2), ..Completion::GOOD };
        let response = rig.target.response(&command, response);
        rig.send(response, &[]);
        assert!(rig.end(task).is_none());
        assert_eq!(exp_stat_sn(&mut rig), stat_sn);
        rig.send(second, &data[512..]);
        assert!(rig.outcome(task).is_good(), "{:?}", rig.outcome(task));
        assert_eq!(rig.outcome(task).data_in, 1021);
        assert_eq!(rig.memory.read(task), data);
        assert_eq!(exp_stat_sn(&mut rig), stat_sn.plus(2));
        assert_eq!((recovered(&rig).snacks, recovered(&rig).data_in), (1, 1));
    }
}

#[test]
fn g_02_v_11_at_level_0_nothing_is_asked_for_again() {
    // Level 1 was offered, and the target does level 0.
    let config = Rig::config().error_recovery_level(1).data_digest(Digests::CRC32C);
    let mut rig = Rig::logged_in(config, Limits { error_recovery_level: 0, ..LIMITS });
    let (task, command) = reading(&mut rig, 512);
    let data_in = rig.target.last_data_in(&command, 0, 0);
    rig.target.send_damaged(data_in, &pattern(512), 7);
    rig.run();
    assert_eq!(rig.violation(), Some(ProtocolError::DataDigest));
    assert_eq!(rig.lost(task), Some(LostReason::Protocol(ProtocolError::DataDigest)));
    assert!(rig.target.inbox.is_empty());
}

#[test]
fn g_01_header_digest_errors_drop_the_connection() {
    let mut rig = rig_at(1);
    let (_, command) = reading(&mut rig, 512);
    let data_in = rig.target.last_data_in(&command, 0, 0);
    let mut bhs = [0; BHS_LEN];
    TargetPdu::from(data_in).emit(&mut bhs);
    let mut bytes = rig.target.framer().frame(&bhs, &[], &[]);
    bytes[20] ^= 1;
    rig.target.send_raw(&bytes);
    rig.run();
    assert_eq!(rig.violation(), Some(ProtocolError::HeaderDigest));
}

/// G-11: whatever bit of a PDU is turned over, it is noticed; behind the header it is mended.
#[test]
fn g_11_every_bit_of_a_pdu() {
    let data = pattern(30);
    for bit in 0..(48 + 4 + 32 + 4) * 8 {
        let mut rig = rig_at(1);
        let (task, command) = reading(&mut rig, 30);
        let data_in = rig.target.last_data_in(&command, 0, 0);
        let mut bhs = [0; BHS_LEN];
        let sized = DataIn { data_segment_length: 30, ..data_in };
        TargetPdu::from(sized).emit(&mut bhs);
        let mut bytes = rig.target.framer().frame(&bhs, &[], &data);
        bytes[bit / 8] ^= 1 << (bit % 8);
        rig.target.send_raw(&bytes);
        rig.run();
        if bit < 52 * 8 {
            assert_eq!(rig.violation(), Some(ProtocolError::HeaderDigest), "bit {bit}");
            continue;
        }
        expect_data_snack(&mut rig, &command, 0, 1);
        rig.send(data_in, &data);
        assert!(rig.outcome(task).is_good(), "bit {bit}");
        assert_eq!(rig.memory.read(task), data);
    }
}

#[test]
fn d_14_lost_data_in_come_after_later_ones() {
    let data = pattern(6 * 512);
    let mut rig = rig_at(1);
    let (task, command) = reading(&mut rig, 6 * 512);
    let stat_sn = rig.target.stat_sn;
    let part = |n: usize| &data[n * 512..(n + 1) * 512];
    let pdu = |rig: &Rig, n: u32| rig.target.data_in(&command, n, n * 512);
    let zero = pdu(&rig, 0);
    rig.send(zero, part(0));
    let three = pdu(&rig, 3);
    rig.send(three, part(3));
    expect_data_snack(&mut rig, &command, 1, 2);
    let four = pdu(&rig, 4);
    rig.send(four, part(4));
    let five = rig.target.last_data_in(&command, 5, 5 * 512);
    rig.send(five, part(5));
    assert!(rig.end(task).is_none());
    // The second of the run comes first: both sides of it are known.
    let two = pdu(&rig, 2);
    rig.send(two, part(2));
    assert!(rig.end(task).is_none());
    assert_eq!(exp_stat_sn(&mut rig), stat_sn);
    let one = pdu(&rig, 1);
    rig.send(one, part(1));
    assert!(rig.outcome(task).is_good());
    assert_eq!(rig.memory.read(task), data);
    assert!(rig.target.inbox.is_empty());
}

#[test]
fn several_gaps_of_one_task_are_asked_for_one_by_one() {
    let data = pattern(8 * 64);
    let mut rig = rig_at(1);
    let (task, command) = reading(&mut rig, 8 * 64);
    for n in [1u32, 4, 6] {
        let pdu = rig.target.data_in(&command, n, n * 64);
        rig.send(pdu, &data[n as usize * 64..][..64]);
    }
    let pdu = rig.target.last_data_in(&command, 7, 7 * 64);
    rig.send(pdu, &data[7 * 64..]);
    let mut missing = Vec::new();
    while !rig.target.inbox.is_empty() {
        match rig.target.expect_snack().kind {
            SnackKind::Data { beg_run, run_length, .. } => {
                missing.extend(beg_run..beg_run + run_length);
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(missing, [0, 2, 3, 5]);
    for n in [5u32, 0, 3, 2] {
        assert!(rig.end(task).is_none());
        let pdu = rig.target.data_in(&command, n, n * 64);
        rig.send(pdu, &data[n as usize * 64..][..64]);
    }
    assert!(rig.outcome(task).is_good());
    assert_eq!(rig.memory.read(task), data);
    assert_eq!(recovered(&rig).data_in, 4);
}

#[test]
fn r_12_a_response_that_counts_more_data_than_came() {
    let data = pattern(1024);
    let mut rig = rig_at(1);
    let (task, command) = reading(&mut rig, 1024);
    let first = rig.target.data_in(&command, 0, 0);
    rig.send(first, &data[..512]);
    let completion = Completion { exp_data_sn: DataSn(2), ..Completion::GOOD };
    let response = rig.target.response(&command, completion);
    rig.send(response, &[]);
    expect_data_snack(&mut rig, &command, 1, 1);
    assert!(rig.end(task).is_none());
    let second = rig.target.data_in(&command, 1, 512);
    rig.send(second, &data[512..]);
    assert!(rig.outcome(task).is_good());
    assert_eq!(rig.memory.read(task), data);
}

#[test]
fn the_last_data_in_brings_its_status_again() {
    let data = pattern(512);
    let mut rig = rig_at(1);
    let (task, command) = reading(&mut rig, 512);
    let stat_sn = rig.target.stat_sn;
    let last = rig.target.last_data_in(&command, 0, 0);
    rig.target.send_damaged(last, &data, 0);
    rig.run();
    // One request for both.
    expect_data_snack(&mut rig, &command, 0, 1);
    assert_eq!(exp_stat_sn(&mut rig), stat_sn);
    // It arrives damaged again, and whole at last; then it is repeated once more.
    rig.target.send_damaged(last, &data, 4000);
    rig.run();
    expect_data_snack(&mut rig, &command, 0, 1);
    rig.send(last, &data);
    rig.send(last, &data);
    assert!(rig.outcome(task).is_good());
    assert_eq!(rig.memory.read(task), data);
    assert_eq!(exp_stat_sn(&mut rig), stat_sn.plus(2));
    assert_eq!(rig.told.len(), 1);
    assert_eq!(recovered(&rig).last_data_in, 1);
}

#[test]
fn a_status_that_does_not_come_with_its_data_is_asked_for() {
    let data = pattern(512);
    let mut rig = rig_at(1);
    let (task, command) = reading(&mut rig, 512);
    let stat_sn = rig.target.stat_sn;
    let last = rig.target.last_data_in(&command, 0, 0);
    rig.target.send_damaged(last, &data, 0);
    rig.run();
    expect_data_snack(&mut rig, &command, 0, 1);
    rig.send(DataIn { status: None, ..last }, &data);
    assert!(rig.end(task).is_none());
    expect_status_snack(&mut rig, stat_sn, 1);
    // As a PDU of its own, or with data that are known already.
    rig.send(last, &data);
    assert!(rig.outcome(task).is_good());
    assert_eq!(rig.memory.read(task), data);
}

#[test]
fn a_status_that_comes_before_its_data_is_held() {
    let data = pattern(512);
    let mut rig = rig_at(1);
    let (task, command) = reading(&mut rig, 512);
    let last = rig.target.last_data_in(&command, 0, 0);
    rig.target.send_damaged(last, &data, 0);
    rig.run();
    expect_data_snack(&mut rig, &command, 0, 1);
    let completion = Completion { exp_data_sn: DataSn(1), ..Completion::GOOD };
    rig.target.stat_sn = rig.target.stat_sn.minus(1);
    let response = rig.target.response(&command, completion);
    rig.send(response, &[]);
    assert!(rig.end(task).is_none());
    // The replica brings the same status: it counts once.
    rig.send(last, &data);
    assert!(rig.outcome(task).is_good());
    assert_eq!(rig.memory.read(task), data);
    let next = rig.target.stat_sn;
    assert_eq!(exp_stat_sn(&mut rig), next);
}

fn sense() -> Vec<u8> {
    let mut sense = vec![0; 20];
    sense[..4].copy_from_slice(&[0, 18, 0x70, 0]);
    sense[4] = 3;
    sense
}

const CHECK: Completion = Completion { status: ScsiStatus::CheckCondition, ..Completion::GOOD };

#[test]
fn g_04_v_03_damaged_sense_comes_again_and_counts_once() {
    let mut rig = rig_at(1);
    let (task, command) = reading(&mut rig, 0);
    let response = rig.target.response(&command, CHECK);
    rig.target.send_damaged(response, &sense(), 90);
    rig.run();
    expect_status_snack(&mut rig, response.stat_sn, 1);
    assert_eq!(exp_stat_sn(&mut rig), response.stat_sn);
    for _ in 0..2 {
        rig.send(response, &sense());
    }
    let Some(Told::Done { outcome, sense: told, .. }) = rig.end(task) else { panic!() };
    assert_eq!(outcome.status(), Some(ScsiStatus::CheckCondition));
    assert_eq!(told[..], sense()[2..]);
    assert_eq!(rig.told.len(), 1);
    assert_eq!(recovered(&rig).scsi_responses, 1);
    let next = rig.target.stat_sn;
    assert_eq!(exp_stat_sn(&mut rig), next);
}

#[test]
fn s_04_lost_statuses_are_asked_for_as_a_run() {
    let mut rig = rig_at(1);
    let tasks: Vec<_> = (0..4).map(|_| reading(&mut rig, 0)).collect();
    let responses: Vec<_> =
        tasks.iter().map(|(_, command)| rig.target.response(command, Completion::GOOD)).collect();
    // The first two are lost, the third is the first to come.
    rig.send(responses[2], &[]);
    expect_status_snack(&mut rig, responses[0].stat_sn, 2);
    rig.send(responses[3], &[]);
    assert!(rig.outcome(tasks[2].0).is_good() && rig.outcome(tasks[3].0).is_good());
    assert_eq!(exp_stat_sn(&mut rig), responses[0].stat_sn);
    rig.send(responses[2], &[]);
    rig.send(responses[0], &[]);
    assert_eq!(exp_stat_sn(&mut rig), responses[1].stat_sn);
    rig.send(responses[1], &[]);
    let next = rig.target.stat_sn;
    assert_eq!(exp_stat_sn(&mut rig), next);
    assert_eq!(rig.told.len(), 4);
    assert!(tasks.iter().all(|(task, _)| rig.outcome(*task).is_good()));
    assert_eq!(recovered(&rig).scsi_responses, 2);
}

#[test]
fn s_08_a_ping_tells_of_a_lost_status() {
    let mut rig = rig_at(1);
    let (task, command) = reading(&mut rig, 0);
    let response = rig.target.response(&command, Completion::GOOD);
    let update = rig.target.nop_in(NopInKind::Update);
    rig.send(update, &[]);
    expect_status_snack(&mut rig, response.stat_sn, 1);
    rig.send(response, &[]);
    assert!(rig.outcome(task).is_good());
}

#[test]
fn statuses_wrap() {
    let mut rig = Rig::new(
        Rig::config().error_recovery_level(1).data_digest(Digests::CRC32C).build().unwrap(),
        LIMITS,
        1,
    );
    rig.target.stat_sn = StatSn(0xffff_fffd);
    rig.log_in();
    let tasks: Vec<_> = (0..6).map(|_| reading(&mut rig, 0)).collect();
    let responses: Vec<_> =
        tasks.iter().map(|(_, command)| rig.target.response(command, Completion::GOOD)).collect();
    rig.send(responses[5], &[]);
    expect_status_snack(&mut rig, responses[0].stat_sn, 5);
    for n in [4, 0, 2, 3, 1] {
        rig.send(responses[n], &[]);
    }
    assert_eq!(rig.told.len(), 6);
    let next = rig.target.stat_sn;
    assert_eq!(exp_stat_sn(&mut rig), next);
    assert!(next.0 < 0x1000);
}

#[test]
fn g_04_damaged_control_pdus_come_again() {
    let mut rig = rig_at(1);
    let (task, _) = reading(&mut rig, 512);
    let event = AsyncEvent::Vendor { event: 250, vcode: 0, parameters: [0; 3] };
    let message = rig.target.async_message(event);
    rig.target.send_damaged(message, &[0; 8], 3);
    rig.run();
    expect_status_snack(&mut rig, message.stat_sn, 1);
    rig.send(message, &[0; 8]);
    assert!(rig.driver.poll_async().is_some());
    let reject = rig.target.reject(RejectReason::InvalidPduField);
    rig.target.send_damaged(reject, &[0x3f; 48], 300);
    rig.run();
    expect_status_snack(&mut rig, reject.stat_sn, 1);
    rig.send(reject, &[0x3f; 48]);
    let counts = recovered(&rig);
    assert_eq!((counts.async_messages, counts.rejects, counts.snacks), (1, 1, 2));
    assert!(rig.end(task).is_none());
    assert_eq!(rig.state(), SessionState::LoggedIn);
}

#[test]
fn answers_about_tasks_wait_for_the_statuses_before_them() {
    let mut rig = rig_at(1);
    let (task, command) = reading(&mut rig, 0);
    let now = rig.clock.now();
    rig.driver.session.abort(task, now).unwrap();
    rig.driver.touch();
    rig.run();
    let request = rig.target.expect_task_management();
    // The response was faster than the abort, but it is lost.
    let response = rig.target.response(&command, Completion::GOOD);
    let managed = rig.target.managed(&request, Code::TaskDoesNotExist);
    rig.send(managed, &[]);
    let run = rig.target.expect_snack();
    assert_eq!(run.kind, SnackKind::Status { beg_run: response.stat_sn, run_length: 2 });
    assert!(rig.end(task).is_none());
    rig.send(response, &[]);
    assert!(rig.outcome(task).is_good());
    rig.send(managed, &[]);
    let next = rig.target.stat_sn;
    assert_eq!(exp_stat_sn(&mut rig), next);
    assert_eq!(recovered(&rig).task_management_responses, 1);
}

#[test]
fn d_20_data_are_acknowledged_when_nothing_before_them_is_missing() {
    let mut rig = rig_at(1);
    let data = pattern(2048);
    let (task, command) = reading(&mut rig, 2048);
    let lun = Lun::new(3).unwrap();
    let tag = |n| TransferTag { lun, target_transfer_tag: TargetTransferTag(n) };
    let acknowledged = |rig: &Rig, n: u32| DataIn {
        acknowledge: Some(tag(0x100 + n)),
        is_final: true,
        ..rig.target.data_in(&command, n, n * 512)
    };
    let zero = acknowledged(&rig, 0);
    rig.send(zero, &data[..512]);
    let ack = |n: u32| SnackKind::DataAck { transfer: tag(0x100 + n), beg_run: DataSn(n + 1) };
    assert_eq!(rig.target.expect_snack().kind, ack(0));
    // With a hole before it the acknowledgement waits.
    let two = acknowledged(&rig, 2);
    rig.send(two, &data[1024..1536]);
    expect_data_snack(&mut rig, &command, 1, 1);
    let one = rig.target.data_in(&command, 1, 512);
    rig.send(one, &data[512..1024]);
    assert_eq!(rig.target.expect_snack().kind, ack(2));
    // With the status nothing is left to acknowledge, and a rejected acknowledgement harms nothing.
    let mut last = rig.target.last_data_in(&command, 3, 1536);
    last.acknowledge = Some(tag(0x103));
    rig.send(last, &data[1536..]);
    assert!(rig.outcome(task).is_good());
    assert!(rig.target.inbox.is_empty());
    assert_eq!(recovered(&rig).data_acks, 2);
    // An aborted task's data are not acknowledged: the target may not know them any more.
    let mut rig = rig_at(1);
    let (task, command) = reading(&mut rig, 1024);
    rig.driver.session.abort(task, rig.clock.now()).unwrap();
    rig.driver.touch();
    rig.run();
    rig.target.expect_task_management();
    let mut first = rig.target.data_in(&command, 0, 0);
    first.acknowledge = Some(tag(1));
    rig.send(first, &data[..512]);
    assert!(rig.target.inbox.is_empty());
    // At level 0 the bit is ignored.
    let mut rig = rig_at(0);
    let (_, command) = reading(&mut rig, 1024);
    let mut first = rig.target.data_in(&command, 0, 0);
    first.acknowledge = Some(tag(1));
    rig.send(first, &data[..512]);
    assert!(rig.target.inbox.is_empty());
}

#[test]
fn an_answer_that_does_not_come_drops_the_connection() {
    let data = pattern(512);
    for with_status in [false, true] {
        let mut rig = rig_at(1);
        let (task, command) = reading(&mut rig, 512);
        let last = rig.target.last_data_in(&command, 0, 0);
        if with_status {
            let response = Completion { exp_data_sn: DataSn(1), ..Completion::GOOD };
            rig.target.stat_sn = last.status.unwrap().stat_sn;
            let response = rig.target.response(&command, response);
            rig.send(response, &[]);
        } else {
            rig.target.send_damaged(last, &data, 0);
            rig.run();
        }
        expect_data_snack(&mut rig, &command, 0, 1);
        // Other traffic goes on, and does not help.
        rig.advance(Duration::from_secs(4));
        exp_stat_sn(&mut rig);
        assert_eq!(rig.state(), SessionState::LoggedIn);
        rig.advance(Duration::from_secs(2));
        assert_eq!(rig.lost(task), Some(LostReason::TimedOut(Timer::Snack)));
    }
}

#[test]
fn damaged_too_often_drops_the_connection() {
    let data = pattern(512);
    let mut rig = rig_at(1);
    let (task, command) = reading(&mut rig, 512);
    let data_in = rig.target.data_in(&command, 0, 0);
    for tries in 0..5 {
        assert_eq!(recovered(&rig).snacks, tries);
        assert!(rig.end(task).is_none());
        rig.target.send_damaged(data_in, &data, tries as usize);
        rig.run();
    }
    assert_eq!(rig.lost(task), Some(LostReason::Protocol(ProtocolError::DataDigest)));
    let mut rig = rig_at(1);
    let (task, command) = reading(&mut rig, 0);
    let response = rig.target.response(&command, CHECK);
    for tries in 0..5 {
        assert!(rig.end(task).is_none());
        rig.target.send_damaged(response, &sense(), tries);
        rig.run();
    }
    assert_eq!(rig.lost(task), Some(LostReason::Protocol(ProtocolError::DataDigest)));
}

#[test]
fn what_was_not_asked_for_is_not_placed() {
    let data = pattern(4 * 512);
    let mut rig = rig_at(1);
    let (task, command) = reading(&mut rig, 4 * 512);
    for n in [0u32, 3] {
        let pdu = rig.target.data_in(&command, n, n * 512);
        rig.send(pdu, &data[n as usize * 512..][..512]);
    }
    expect_data_snack(&mut rig, &command, 1, 2);
    // Numbers that have arrived, with other bytes and in other places.
    for (sn, at) in [(0, 0), (0, 1024), (3, 512), (3, 1536)] {
        let pdu = rig.target.data_in(&command, sn, at);
        rig.send(pdu, &[0x55; 512]);
    }
    assert_eq!(rig.memory.read(task)[..512], data[..512]);
    assert_eq!(rig.memory.read(task)[512..1536], [0xee; 1024]);
    assert_eq!(rig.memory.read(task)[1536..], data[1536..]);
    assert!(rig.end(task).is_none());
    assert_eq!(rig.state(), SessionState::LoggedIn);
}

#[test]
fn a_replica_must_fit_into_its_gap() {
    for (sn, at, len) in
        [(1u32, 0u32, 512), (1, 511, 512), (2, 1536, 512), (1, 512, 1025), (2, 1025, 512)]
    {
        let data = pattern(4 * 512);
        let mut rig = rig_at(1);
        let (task, command) = reading(&mut rig, 4 * 512);
        for n in [0u32, 3] {
            let pdu = rig.target.data_in(&command, n, n * 512);
            rig.send(pdu, &data[n as usize * 512..][..512]);
        }
        let pdu = rig.target.data_in(&command, sn, at);
        rig.send(pdu, &vec![0x55; len]);
        assert!(
            matches!(rig.violation(), Some(ProtocolError::DataInOrder { .. })),
            "{sn} {at} {len}: {:?}",
            rig.state()
        );
        assert_eq!(rig.memory.read(task)[..512], data[..512]);
        assert_eq!(rig.memory.read(task)[1536..], data[1536..]);
    }
    // Outside of the task, and after one that arrived.
    for (at, len) in [(2048, 1), (u32::MAX - 511, 512), (1537, 512)] {
        let mut rig = rig_at(1);
        let (task, command) = reading(&mut rig, 2048);
        let one = rig.target.data_in(&command, 1, 512);
        rig.send(one, &[1; 512]);
        let zero = rig.target.data_in(&command, 0, at);
        rig.send(zero, &vec![2; len]);
        assert!(rig.violation().is_some(), "{at} {len}");
        assert!(rig.memory.read(task)[..512].iter().all(|byte| *byte == 0xee));
    }
}

#[test]
fn impossible_gaps_are_fatal() {
    // More PDUs than there are bytes.
    let mut rig = rig_at(1);
    let (_, command) = reading(&mut rig, 512);
    let pdu = rig.target.data_in(&command, 600, 0);
    rig.send(pdu, &[0; 4]);
    assert!(matches!(rig.violation(), Some(ProtocolError::DataSn { .. })));
    // More statuses than any target keeps, and half the circle.
    for ahead in [1025, 1 << 30, 1 << 31] {
        let mut rig = rig_at(1);
        let (_, command) = reading(&mut rig, 0);
        let response = rig.target.response(&command, Completion::GOOD);
        let stat_sn = response.stat_sn.plus(ahead);
        rig.send(ScsiResponse { stat_sn, ..response }, &[]);
        assert!(matches!(rig.violation(), Some(ProtocolError::StatSn { .. })), "{ahead}");
    }
    // A response that counts more than it can.
    let mut rig = rig_at(1);
    let (_, command) = reading(&mut rig, 512);
    let completion = Completion { exp_data_sn: DataSn(513), ..Completion::GOOD };
    let response = rig.target.response(&command, completion);
    rig.send(response, &[]);
    assert!(matches!(rig.violation(), Some(ProtocolError::ExpDataSn { .. })));
}

#[test]
fn more_gaps_than_there_is_room_for_are_fatal() {
    let mut rig = rig_at(1);
    let (task, command) = reading(&mut rig, 200);
    for n in 0..32 {
        let pdu = rig.target.data_in(&command, n * 2 + 1, n * 2 + 1);
        rig.send(pdu, &[1]);
    }
    assert_eq!(rig.state(), SessionState::LoggedIn);
    assert_eq!(recovered(&rig).snacks, 32);
    let pdu = rig.target.data_in(&command, 65, 65);
    rig.send(pdu, &[1]);
    assert!(matches!(rig.violation(), Some(ProtocolError::DataSn { .. })));
    assert!(rig.lost(task).is_some());
}

/// Aborts a task; the request that the target got.
fn abort(rig: &mut Rig, task: TaskId) -> TaskManagementRequest {
    let now = rig.clock.now();
    rig.driver.session.abort(task, now).unwrap();
    rig.driver.touch();
    rig.run();
    rig.target.expect_task_management()
}

#[test]
fn a_task_that_ends_takes_its_gaps_along() {
    let mut rig = rig_at(1);
    let (task, command) = reading(&mut rig, 1024);
    let first = rig.target.data_in(&command, 0, 0);
    rig.target.send_damaged(first, &[1; 512], 0);
    rig.run();
    expect_data_snack(&mut rig, &command, 0, 1);
    let request = abort(&mut rig, task);
    let managed = rig.target.managed(&request, Code::FunctionComplete);
    rig.send(managed, &[]);
    assert_eq!(rig.lost(task), Some(LostReason::Aborted));
    // Nobody waits for the data any more; when they come they have no place.
    rig.send(first, &[1; 512]);
    rig.driver.touch();
    exp_stat_sn(&mut rig);
    rig.advance(Duration::from_secs(4));
    exp_stat_sn(&mut rig);
    rig.advance(Duration::from_secs(4));
    assert_eq!(rig.state(), SessionState::LoggedIn);
}

#[test]
fn a_response_on_its_way_wins_over_an_abort() {
    let mut rig = rig_at(1);
    let (task, command) = reading(&mut rig, 512);
    let last = rig.target.last_data_in(&command, 0, 0);
    rig.target.send_damaged(last, &pattern(512), 0);
    rig.run();
    expect_data_snack(&mut rig, &command, 0, 1);
    let request = abort(&mut rig, task);
    let managed = rig.target.managed(&request, Code::TaskDoesNotExist);
    rig.send(managed, &[]);
    // It speaks about the status that is to come with the data.
    expect_status_snack_after(&mut rig, managed.stat_sn, last.status.unwrap().stat_sn);
    assert!(rig.end(task).is_none());
    rig.send(last, &pattern(512));
    assert!(rig.outcome(task).is_good());
    assert_eq!(rig.memory.read(task), pattern(512));
    rig.send(managed, &[]);
    let next = rig.target.stat_sn;
    assert_eq!(exp_stat_sn(&mut rig), next);
}

/// The one PDU that the initiator has sent: a SNACK for this status, while that one is the oldest missing.
fn expect_status_snack_after(rig: &mut Rig, from: StatSn, oldest: StatSn) {
    let snack = rig.target.expect_snack();
    assert_eq!(snack.kind, SnackKind::Status { beg_run: from, run_length: 1 });
    assert_eq!(snack.exp_stat_sn, oldest);
    assert!(rig.target.inbox.is_empty());
}

#[test]
fn data_out_of_order_are_recovered_by_number() {
    let config = Rig::config()
        .error_recovery_level(1)
        .data_digest(Digests::CRC32C)
        .data_pdu_in_order(false)
        .data_sequence_in_order(false);
    let limits = Limits { data_pdu_in_order: false, data_sequence_in_order: false, ..LIMITS };
    let mut rig = Rig::logged_in(config, limits);
    let data = pattern(4 * 512);
    let (task, command) = reading(&mut rig, 4 * 512);
    let pdus: Vec<_> = [(0, 3), (1, 1), (2, 0), (3, 2)]
        .map(|(sn, block)| (rig.target.data_in(&command, sn, block * 512), block as usize))
        .to_vec();
    rig.target.send_damaged(pdus[0].0, &data[1536..], 9);
    rig.run();
    expect_data_snack(&mut rig, &command, 0, 1);
    for (pdu, block) in [pdus[3], pdus[1], pdus[2], pdus[0]] {
        rig.send(pdu, &data[block * 512..][..512]);
    }
    let completion = Completion { exp_data_sn: DataSn(4), ..Completion::GOOD };
    let response = rig.target.response(&command, completion);
    rig.send(response, &[]);
    assert!(rig.outcome(task).is_good());
    assert_eq!(rig.memory.read(task), data);
}

#[test]
fn a_logout_does_not_wait_for_what_is_missing() {
    let mut rig = rig_at(1);
    let update = rig.target.nop_in(NopInKind::Update);
    rig.target.take_stat_sn();
    rig.send(NopIn { stat_sn: rig.target.stat_sn, ..update }, &[]);
    rig.target.expect_snack();
    let now = rig.clock.now();
    rig.driver.session.logout(now).unwrap();
    rig.driver.touch();
    rig.run();
    let request = rig.target.expect_logout();
    let response = rig.target.logged_out(&request);
    rig.send(response, &[]);
    assert_eq!(rig.state(), SessionState::Closed);
}
