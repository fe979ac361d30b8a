//! Task management (RFC 7143 sections 4.2.3, 11.5 and 11.6, RFC 7144 section 6).

mod support;

use core::time::Duration;

use iscsi_core::wire::{
    Isid, NopInKind, NopOut, NopOutKind, R2t, ScsiCommand, TargetPdu,
    TaskManagementFunction as Function, TaskManagementRequest,
    TaskManagementResponseCode as Response,
};
use iscsi_core::{CmdSn, DataSn, InitiatorTaskTag, Lun, StatSn};
use iscsi_scsi::block::{Read10, Write10};
use iscsi_scsi::primary::TestUnitReady;
use iscsi_target::{EndReason, Quirks};
use support::*;

const TAG: InitiatorTaskTag = InitiatorTaskTag(0x7a5c);

fn request(bench: &Bench, n: usize, function: Function) -> TaskManagementRequest {
    TaskManagementRequest {
        immediate: true,
        function,
        initiator_task_tag: TAG,
        cmd_sn: bench.clients[n].cmd_sn,
        exp_stat_sn: StatSn(0),
    }
}

#[track_caller]
fn response(bench: &mut Bench, n: usize) -> Response {
    let received = bench.receive(n);
    let TargetPdu::TaskManagementResponse(response) = received.pdu() else {
        panic!("{:?}", received.pdu())
    };
    assert_eq!(response.initiator_task_tag, TAG);
    bench.clients[n].take_status(response.stat_sn);
    response.response
}

#[track_caller]
fn perform(bench: &mut Bench, n: usize, function: Function) -> Response {
    let request = request(bench, n, function);
    bench.send(n, request, &[]);
    response(bench, n)
}

/// A target that never answers READ(10), with one such command under way.
fn with_stuck_read() -> (Bench, ScsiCommand) {
    let mut bench =
        Bench::logged_in(&["InitialR2T=Yes", "ImmediateData=No", "iSCSIProtocolLevel=2"]);
    *bench.target.quirks_mut() = Quirks { ignore: Some(0x28), ..Quirks::default() };
    let command = stuck_read(&mut bench, 0);
    (bench, command)
}

fn stuck_read(bench: &mut Bench, n: usize) -> ScsiCommand {
    let command = bench.command(n, &Read10 { lba: 0, blocks: 1, ..Read10::default() }.cdb());
    bench.send(n, command, &[]);
    bench.assert_silent(n);
    command
}

/// A write that has got its R2T.
fn asked_write(bench: &mut Bench) -> (ScsiCommand, R2t) {
    let cdb = Write10 { lba: 0, blocks: 2, ..Write10::default() }.cdb();
    let command = ScsiCommand { expected_data_transfer_length: 1024, ..bench.command(0, &cdb) };
    bench.send(0, command, &[]);
    let TargetPdu::R2t(r2t) = bench.receive(0).pdu() else { panic!() };
    (command, r2t)
}

fn abort(command: &ScsiCommand) -> Function {
    Function::AbortTask {
        lun: command.lun,
        referenced_task_tag: command.initiator_task_tag,
        ref_cmd_sn: command.cmd_sn,
    }
}

#[test]
fn abort_task_ends_the_task() {
    let (mut bench, command) = with_stuck_read();
    assert_eq!(perform(&mut bench, 0, abort(&command)), Response::FunctionComplete);
    assert_eq!(perform(&mut bench, 0, abort(&command)), Response::TaskDoesNotExist);
    bench.read(0, &TestUnitReady.cdb()).1.assert_good();
    bench.assert_silent(0);
}

#[test]
fn abort_task_of_a_write_makes_its_data_worthless() {
    let (mut bench, _) = with_stuck_read();
    let (command, r2t) = asked_write(&mut bench);
    assert_eq!(perform(&mut bench, 0, abort(&command)), Response::FunctionComplete);
    bench.send_burst(0, &command, Some(r2t.transfer()), &[1; 1024], 0, 1024, 512);
    bench.assert_silent(0);
    *bench.target.quirks_mut() = Quirks::default();
    let (data, end) = bench.read(0, &Read10 { lba: 0, blocks: 2, ..Read10::default() }.cdb());
    end.assert_good();
    assert_eq!(data, [0; 1024]);
}

#[test]
fn abort_task_needs_the_right_unit() {
    let (mut bench, command) = with_stuck_read();
    let elsewhere = ScsiCommand { lun: Lun::new(1).unwrap(), ..command };
    assert_eq!(perform(&mut bench, 0, abort(&elsewhere)), Response::TaskDoesNotExist);
}

#[test]
fn abort_of_a_command_that_never_came_fills_its_hole() {
    let mut bench = Bench::logged_in(&[]);
    let missing = bench.command(0, &TestUnitReady.cdb());
    let later = bench.command(0, &TestUnitReady.cdb());
    bench.send(0, later, &[]);
    bench.assert_silent(0);
    // Numbers that are outside of the window name nothing.
    let outside = ScsiCommand { cmd_sn: missing.cmd_sn.plus(500), ..missing };
    assert_eq!(perform(&mut bench, 0, abort(&outside)), Response::TaskDoesNotExist);
    assert_eq!(perform(&mut bench, 0, abort(&missing)), Response::FunctionComplete);
    let TargetPdu::ScsiResponse(answer) = bench.receive(0).pdu() else { panic!() };
    assert_eq!(answer.initiator_task_tag, later.initiator_task_tag);
    assert_eq!(answer.exp_cmd_sn, later.cmd_sn.next());
    bench.clients[0].take_status(answer.stat_sn);
    // The command itself comes too late.
    bench.send(0, missing, &[]);
    bench.assert_silent(0);
}

#[test]
fn abort_task_set_waits_for_the_data_it_is_owed() {
    let (mut bench, _) = with_stuck_read();
    let (command, r2t) = asked_write(&mut bench);
    let request = request(&bench, 0, Function::AbortTaskSet { lun: Lun::ZERO });
    bench.send(0, request, &[]);
    bench.assert_silent(0);
    bench.send_burst(0, &command, Some(r2t.transfer()), &[1; 1024], 0, 512, 512);
    // F has to come, and the range has to be complete or not: here the last PDU says F.
    let rest = data_out(&command, Some(r2t.transfer()), 512, 512, DataSn(1), true);
    bench.send(0, rest, &[1; 512]);
    assert_eq!(response(&mut bench, 0), Response::FunctionComplete);
    *bench.target.quirks_mut() = Quirks::default();
    let (data, _) = bench.read(0, &Read10 { lba: 0, blocks: 2, ..Read10::default() }.cdb());
    assert_eq!(data, [0; 1024]);
}

#[test]
fn abort_task_set_does_not_wait_for_ever() {
    let (mut bench, _) = with_stuck_read();
    asked_write(&mut bench);
    let request = request(&bench, 0, Function::AbortTaskSet { lun: Lun::ZERO });
    bench.send(0, request, &[]);
    bench.assert_silent(0);
    assert!(bench.clients[0].connection.wants().deadline.is_some());
    bench.advance(Duration::from_secs(2));
    assert_eq!(response(&mut bench, 0), Response::FunctionComplete);
}

/// Two sessions with a stuck read each.
#[test]
fn a_function_that_ends_the_wait_of_another_has_room_for_both_answers() {
    let (mut bench, _) = with_stuck_read();
    asked_write(&mut bench);
    let request = request(&bench, 0, Function::AbortTaskSet { lun: Lun::ZERO });
    bench.send(0, request, &[]);
    bench.assert_silent(0);
    // One answer less than the most that are taken without being read.
    for itt in 0..7 {
        let nop = NopOut {
            kind: NopOutKind::Ping { immediate: true, initiator_task_tag: InitiatorTaskTag(itt) },
            data_segment_length: 0,
            cmd_sn: bench.clients[0].cmd_sn,
            exp_stat_sn: StatSn(0),
        };
        bench.send(0, nop, &[]);
    }
    bench.send(0, request, &[]);
    for itt in 0..7 {
        let TargetPdu::NopIn(nop) = bench.receive(0).pdu() else { panic!() };
        assert_eq!(nop.kind, NopInKind::PingResponse(InitiatorTaskTag(itt)));
        bench.clients[0].take_status(nop.stat_sn);
    }
    assert_eq!(response(&mut bench, 0), Response::FunctionComplete);
    assert_eq!(response(&mut bench, 0), Response::FunctionComplete);
    bench.assert_silent(0);
}

fn two_sessions() -> (Bench, usize) {
    let (mut bench, _) = with_stuck_read();
    let other = bench.connect();
    bench.login_as(other, INITIATOR, Isid::random(7, 7), &["iSCSIProtocolLevel=2"]);
    stuck_read(&mut bench, other);
    (bench, other)
}

#[test]
fn clear_task_set_ends_the_tasks_of_others_too() {
    let (mut bench, other) = two_sessions();
    let function = Function::ClearTaskSet { lun: Lun::ZERO };
    assert_eq!(perform(&mut bench, 0, function), Response::FunctionComplete);
    bench.advance(Duration::ZERO);
    // The window has moved, and nothing else is said.
    let TargetPdu::NopIn(update) = bench.receive(other).pdu() else { panic!() };
    assert_eq!(update.max_cmd_sn, update.exp_cmd_sn.plus(127));
    bench.assert_silent(other);
    let (_, end) = bench.read(other, &TestUnitReady.cdb());
    assert_eq!(end.check(), (6, 0x2f, 0));
    bench.read(0, &TestUnitReady.cdb()).1.assert_good();
}

#[test]
fn logical_unit_reset_is_told_to_everybody() {
    let (mut bench, other) = two_sessions();
    let function = Function::LogicalUnitReset { lun: Lun::ZERO };
    assert_eq!(perform(&mut bench, 0, function), Response::FunctionComplete);
    bench.advance(Duration::ZERO);
    bench.receive(other);
    for n in [0, other] {
        let (_, end) = bench.read(n, &TestUnitReady.cdb());
        assert_eq!(end.check(), (6, 0x29, 3));
        bench.read(n, &TestUnitReady.cdb()).1.assert_good();
    }
}

#[test]
fn abort_task_set_leaves_others_alone() {
    let (mut bench, other) = two_sessions();
    let function = Function::AbortTaskSet { lun: Lun::ZERO };
    assert_eq!(perform(&mut bench, 0, function), Response::FunctionComplete);
    bench.advance(Duration::ZERO);
    bench.assert_silent(other);
    let query = Function::QueryTaskSet { lun: Lun::ZERO };
    assert_eq!(perform(&mut bench, 0, query), Response::FunctionComplete);
    assert!(matches!(perform(&mut bench, other, query), Response::FunctionSucceeded { .. }));
}

#[test]
fn a_cold_reset_ends_all_sessions() {
    let (mut bench, other) = two_sessions();
    assert_eq!(perform(&mut bench, 0, Function::TargetColdReset), Response::FunctionComplete);
    assert!(bench.clients[0].connection.is_finished());
    bench.advance(Duration::ZERO);
    bench.assert_closed(other);
    assert_eq!(bench.clients[other].connection.end_reason(), Some(EndReason::SessionEnded));
    assert_eq!(bench.target.sessions().count(), 0);
}

#[test]
fn a_warm_reset_keeps_the_sessions() {
    let (mut bench, other) = two_sessions();
    assert_eq!(perform(&mut bench, 0, Function::TargetWarmReset), Response::FunctionComplete);
    bench.advance(Duration::ZERO);
    bench.receive(other);
    assert_eq!(bench.read(other, &TestUnitReady.cdb()).1.check(), (6, 0x29, 3));
}

#[test]
fn queries_find_what_is_there() {
    let (mut bench, command) = with_stuck_read();
    let query = |referenced_task_tag| Function::QueryTask {
        lun: Lun::ZERO,
        referenced_task_tag,
        ref_cmd_sn: command.cmd_sn,
    };
    let found = perform(&mut bench, 0, query(command.initiator_task_tag));
    assert!(matches!(found, Response::FunctionSucceeded { .. }));
    assert_eq!(perform(&mut bench, 0, query(InitiatorTaskTag(99))), Response::FunctionComplete);
    let event = Function::QueryAsynchronousEvent { lun: Lun::ZERO };
    assert_eq!(perform(&mut bench, 0, event), Response::FunctionComplete);
    perform(&mut bench, 0, Function::LogicalUnitReset { lun: Lun::ZERO });
    let information = [0x16, 0x29, 3];
    assert_eq!(
        perform(&mut bench, 0, event),
        Response::FunctionSucceeded { additional_response_information: information }
    );
}

#[test]
fn a_nexus_reset_ends_the_session() {
    let (mut bench, _) = with_stuck_read();
    assert_eq!(perform(&mut bench, 0, Function::ItNexusReset), Response::FunctionComplete);
    assert!(bench.clients[0].connection.is_finished());
    assert_eq!(bench.target.sessions().count(), 0);
}

#[test]
fn what_is_not_supported_says_so() {
    let mut bench = Bench::logged_in(&[]);
    let lun = Lun::ZERO;
    let referenced_task_tag = InitiatorTaskTag(1);
    for (function, expected) in [
        (Function::ClearAca { lun }, Response::FunctionNotSupported),
        (
            Function::TaskReassign { referenced_task_tag, exp_data_sn: DataSn(0) },
            Response::ReassignmentNotSupported,
        ),
        // These need iSCSIProtocolLevel 2.
        (Function::QueryTaskSet { lun }, Response::FunctionNotSupported),
        (Function::ItNexusReset, Response::FunctionNotSupported),
        (
            Function::QueryTask { lun, referenced_task_tag, ref_cmd_sn: CmdSn(0) },
            Response::FunctionNotSupported,
        ),
        (Function::LogicalUnitReset { lun: Lun::new(5).unwrap() }, Response::LunDoesNotExist),
    ] {
        assert_eq!(perform(&mut bench, 0, function), expected, "{function}");
    }
}

#[test]
fn a_numbered_function_waits_for_nothing_and_takes_its_number() {
    let mut bench = Bench::logged_in(&[]);
    let numbered = TaskManagementRequest {
        immediate: false,
        ..request(&bench, 0, Function::AbortTaskSet { lun: Lun::ZERO })
    };
    bench.clients[0].cmd_sn = numbered.cmd_sn.next();
    bench.send(0, numbered, &[]);
    assert_eq!(response(&mut bench, 0), Response::FunctionComplete);
    bench.read(0, &TestUnitReady.cdb()).1.assert_good();
}

/// The answer to the function goes out before the slot of the task is free again: only an update can tell that the window is open.
#[test]
fn a_window_that_an_abort_opens_is_told() {
    let mut bench = Bench::new(|_| {});
    *bench.target.quirks_mut() = Quirks { window: Some(1), ..Quirks::default() };
    bench.login(0, &[]);
    let command = bench.command(0, &Read10 { lba: 0, blocks: 1, ..Read10::default() }.cdb());
    bench.send(0, command, &[]);
    let request = request(&bench, 0, abort(&command));
    bench.send(0, request, &[]);
    assert_eq!(response(&mut bench, 0), Response::FunctionComplete);
    let TargetPdu::NopIn(update) = bench.receive(0).pdu() else { panic!() };
    assert_eq!(update.kind, NopInKind::Update);
    assert_eq!(update.max_cmd_sn, command.cmd_sn.next());
    bench.assert_silent(0);
}
