//! Aborting tasks: by the application, by a deadline, and racing the target.
#![cfg(feature = "testing")]

use core::time::Duration;

use iscsi_core::config::{Escalation, Recovery};
use iscsi_core::testing::{Disk, Rig, Told};
use iscsi_core::text::Limits;
use iscsi_core::wire::{
    Completion, InitiatorPdu, NopInKind, RejectReason, ScsiCommand,
    TaskManagementFunction as Function, TaskManagementRequest, TaskManagementResponseCode as Code,
};
use iscsi_core::{
    Command, LostReason, Lun, OnLoss, ProtocolError, SessionState, SubmitError, TaskId,
    TaskManagement, Timer, Transfer,
};

/// A rig with a read of one block under way.
fn reading() -> (Rig, TaskId, ScsiCommand) {
    let mut rig = Rig::scripted();
    let task = rig.read(0, 1);
    rig.run();
    let (command, _) = rig.target.expect_command();
    (rig, task, command)
}

fn abort(rig: &mut Rig, task: TaskId) {
    let now = rig.clock.now();
    rig.driver.session.abort(task, now).unwrap();
    rig.driver.touch();
    rig.run();
}

fn answer(rig: &mut Rig, request: &TaskManagementRequest, code: Code) {
    let response = rig.target.managed(request, code);
    rig.send(response, &[]);
}

fn manage(rig: &mut Rig, request: TaskManagement) -> iscsi_core::TaskManagementId {
    let now = rig.clock.now();
    let id = rig.driver.session.task_management(request, now).unwrap();
    rig.driver.touch();
    rig.run();
    id
}

#[test]
fn t_01_t_15_abort_names_the_task() {
    let (mut rig, task, command) = reading();
    abort(&mut rig, task);
    let request = rig.target.expect_task_management();
    assert_eq!(
        request.function,
        Function::AbortTask {
            lun: command.lun,
            referenced_task_tag: command.initiator_task_tag,
            ref_cmd_sn: command.cmd_sn,
        }
    );
    assert!(request.immediate);
    assert_eq!(request.cmd_sn, rig.target.exp_cmd_sn);
    assert_ne!(request.initiator_task_tag, command.initiator_task_tag);
}

#[test]
fn t_02_abort_of_an_immediate_task_refers_to_its_own_number() {
    let mut rig = Rig::scripted();
    let command = Command::new(Lun::ZERO, &[0; 6], Transfer::None).immediate();
    let task = rig.submit(&command, &[]);
    rig.submit(&Command::new(Lun::ZERO, &[0; 6], Transfer::None), &[]);
    rig.run();
    abort(&mut rig, task);
    rig.target.inbox.drain(..2);
    let request = rig.target.expect_task_management();
    let Function::AbortTask { ref_cmd_sn, .. } = request.function else { panic!() };
    assert_eq!(ref_cmd_sn, request.cmd_sn);
}

#[test]
fn t_03_task_ends_with_the_answer() {
    for code in [Code::FunctionComplete, Code::TaskDoesNotExist] {
        let (mut rig, task, _) = reading();
        abort(&mut rig, task);
        let request = rig.target.expect_task_management();
        assert!(rig.end(task).is_none() && rig.driver.session.holds(task));
        answer(&mut rig, &request, code);
        assert_eq!(rig.lost(task), Some(LostReason::Aborted));
        assert!(!rig.driver.session.holds(task));
        assert_eq!(rig.told.len(), 1);
    }
}

#[test]
fn abort_of_a_queued_task_ends_it_at_once() {
    let mut rig = Rig::new(Rig::config().build().unwrap(), Limits::DEFAULT, 1);
    rig.target.window = 0;
    rig.log_in();
    let task = rig.read(0, 1);
    rig.run();
    abort(&mut rig, task);
    assert_eq!(rig.lost(task), Some(LostReason::Aborted));
    assert!(rig.target.inbox.is_empty());
    assert_eq!(rig.driver.session.abort(task, rig.clock.now()), Err(SubmitError::NoSuchTask));
}

#[test]
fn t_04_response_before_the_answer_wins() {
    let (mut rig, task, command) = reading();
    abort(&mut rig, task);
    let request = rig.target.expect_task_management();
    let last = rig.target.last_data_in(&command, 0, 0);
    rig.send(last, &[7; 512]);
    assert!(rig.outcome(task).is_good());
    answer(&mut rig, &request, Code::TaskDoesNotExist);
    assert_eq!(rig.state(), SessionState::LoggedIn);
    assert_eq!(rig.told.len(), 1);
}

#[test]
fn t_05_what_comes_after_the_answer_is_dropped() {
    let (mut rig, task, command) = reading();
    abort(&mut rig, task);
    let request = rig.target.expect_task_management();
    answer(&mut rig, &request, Code::FunctionComplete);
    let late = rig.target.data_in(&command, 0, 0);
    rig.send(late, &[7; 512]);
    let last = rig.target.last_data_in(&command, 1, 0);
    rig.send(last, &[]);
    assert!(rig.memory.is_untouched(task));
    assert_eq!((rig.state(), rig.told.len()), (SessionState::LoggedIn, 1));
    // Also when the slot has been taken by another task.
    let next = rig.read(0, 1);
    rig.run();
    let late = rig.target.data_in(&command, 0, 0);
    rig.send(late, &[7; 512]);
    let response = rig.target.response(&command, Completion::GOOD);
    rig.send(response, &[]);
    assert!(rig.memory.is_untouched(next) && rig.end(next).is_none());
    assert_eq!(rig.state(), SessionState::LoggedIn);
}

#[test]
fn t_06_refused_abort_does_not_go_on_for_ever() {
    for code in [
        Code::LunDoesNotExist,
        Code::TaskStillAllegiant,
        Code::FunctionNotSupported,
        Code::AuthorizationFailed,
        Code::FunctionRejected,
        Code::Other(8),
    ] {
        let (mut rig, task, _) = reading();
        abort(&mut rig, task);
        for _ in 0..100 {
            while let Some((pdu, _)) = rig.target.inbox.pop_front() {
                match pdu {
                    InitiatorPdu::TaskManagementRequest(request) => {
                        answer(&mut rig, &request, code);
                    }
                    InitiatorPdu::NopOut(nop) => {
                        let iscsi_core::wire::NopOutKind::Ping { initiator_task_tag, .. } =
                            nop.kind
                        else {
                            panic!()
                        };
                        let kind = NopInKind::PingResponse(initiator_task_tag);
                        let echo = rig.target.nop_in(kind);
                        rig.send(echo, &[]);
                    }
                    other => panic!("{other:?}"),
                }
            }
            rig.advance(Duration::from_secs(2));
        }
        assert!(rig.lost(task).is_some(), "{code:?}: the task never ends");
    }
}

/// Lets time pass while the target lives and only does not answer functions.
fn wait(rig: &mut Rig, seconds: u32) {
    for _ in 0..seconds {
        let nop = rig.target.nop_in(NopInKind::Update);
        rig.send(nop, &[]);
        rig.advance(Duration::from_secs(1));
    }
}

#[test]
fn t_07_unanswered_abort_drops_the_connection() {
    let limits = [
        (Escalation::Connection, 0),
        (Escalation::LogicalUnitReset, 1),
        (Escalation::TargetColdReset, 2),
    ];
    for (escalation, resets) in limits {
        let config = Rig::config().escalation(escalation);
        let mut rig = Rig::logged_in(config, Limits::DEFAULT);
        let task = rig.read(0, 1);
        rig.run();
        rig.target.expect_command();
        abort(&mut rig, task);
        for seconds in 0..=resets {
            assert_eq!(rig.state(), SessionState::LoggedIn, "{escalation:?} {seconds}");
            wait(&mut rig, 31);
        }
        let functions: Vec<_> = rig
            .target
            .inbox
            .iter()
            .filter_map(|(pdu, _)| match pdu {
                InitiatorPdu::TaskManagementRequest(request) => Some(request.function.to_byte()),
                _ => None,
            })
            .collect();
        assert_eq!(functions, [1, 5, 7][..=resets], "{escalation:?}");
        let reason = LostReason::TimedOut(Timer::TaskManagement);
        assert_eq!(rig.state(), SessionState::Failed(reason), "{escalation:?}");
        assert_eq!(rig.lost(task), Some(LostReason::Aborted));
    }
}

#[test]
fn a_reset_that_the_target_completes_ends_the_unit_s_tasks_only() {
    let mut rig = Rig::scripted();
    let slow = rig.read(0, 1);
    let neighbour = rig.read(1, 1);
    let cdb = Disk::read10(0, 1);
    let elsewhere = Command::new(Lun::new(1).unwrap(), &cdb, Transfer::In(512));
    let elsewhere = rig.submit(&elsewhere, &[]);
    rig.run();
    let commands = [(); 3].map(|()| rig.target.expect_command().0);
    abort(&mut rig, slow);
    let abort_task = rig.target.expect_task_management();
    wait(&mut rig, 31);
    let reset = rig.target.expect_task_management();
    assert_eq!(reset.function, Function::LogicalUnitReset { lun: Lun::ZERO });
    // The answer to the abort comes late: it changes nothing.
    answer(&mut rig, &abort_task, Code::FunctionComplete);
    assert!(rig.end(slow).is_none());
    answer(&mut rig, &reset, Code::FunctionComplete);
    assert_eq!(rig.lost(slow), Some(LostReason::Aborted));
    assert_eq!(rig.lost(neighbour), Some(LostReason::TaskManagement));
    let last = rig.target.last_data_in(&commands[2], 0, 0);
    rig.send(last, &[3; 512]);
    assert!(rig.outcome(elsewhere).is_good());
}

/// The hole in the order of commands would keep all later ones waiting.
#[test]
fn a_reset_for_a_command_that_never_arrived_drops_the_connection() {
    for (asked, reason) in [(false, LostReason::Aborted), (true, LostReason::TaskManagement)] {
        let (mut rig, task, command) = reading();
        rig.target.checks = false;
        rig.target.exp_cmd_sn = command.cmd_sn;
        if asked {
            manage(&mut rig, TaskManagement::LogicalUnitReset(Lun::ZERO));
        } else {
            abort(&mut rig, task);
            rig.target.expect_task_management();
            wait(&mut rig, 31);
        }
        let reset = rig.target.expect_task_management();
        answer(&mut rig, &reset, Code::FunctionComplete);
        assert_eq!(rig.lost(task), Some(reason));
        let (expected, got) = (command.cmd_sn.next(), command.cmd_sn);
        assert_eq!(rig.violation(), Some(ProtocolError::ExpCmdSn { expected, got }));
    }
}

/// ABORT TASK counts the number of a command that never arrived as received: a target that goes on waiting for it says so by its ExpCmdSN.
#[test]
fn an_abort_that_leaves_a_hole_drops_the_connection() {
    for code in [Code::FunctionComplete, Code::TaskDoesNotExist] {
        for has_arrived in [false, true] {
            let (mut rig, older, first) = reading();
            let task = rig.read(0, 1);
            rig.run();
            let (command, _) = rig.target.expect_command();
            rig.target.checks = false;
            rig.target.exp_cmd_sn = first.cmd_sn.plus(1 + u32::from(has_arrived));
            abort(&mut rig, task);
            let request = rig.target.expect_task_management();
            answer(&mut rig, &request, code);
            assert_eq!(rig.lost(task), Some(LostReason::Aborted));
            let (expected, got) = (command.cmd_sn.next(), command.cmd_sn);
            let hole = (!has_arrived).then_some(ProtocolError::ExpCmdSn { expected, got });
            assert_eq!(rig.violation(), hole, "{code:?}");
            assert_eq!(rig.lost(older), hole.map(LostReason::Protocol));
        }
    }
    // An immediate command has no number of its own.
    let mut rig = Rig::scripted();
    let command = Command::new(Lun::ZERO, &[0; 6], Transfer::None).immediate();
    let task = rig.submit(&command, &[]);
    rig.run();
    rig.target.expect_command();
    abort(&mut rig, task);
    let request = rig.target.expect_task_management();
    answer(&mut rig, &request, Code::TaskDoesNotExist);
    assert_eq!(rig.lost(task), Some(LostReason::Aborted));
    assert_eq!(rig.state(), SessionState::LoggedIn);
}

/// A target that waits for an older command, of which nobody has heard since, would carry out none of the later ones.
#[test]
fn the_command_that_a_target_still_waits_for_is_aborted() {
    for by_reset in [false, true] {
        for is_plugged in [true, false] {
            let (mut rig, older, first) = reading();
            let lun = Lun::new(2).unwrap();
            let task = rig.submit(&Command::new(lun, &[0; 6], Transfer::None), &[]);
            let later = rig.read(0, 1);
            rig.run();
            let [(_, _), (last, _)] = [(); 2].map(|()| rig.target.expect_command());
            rig.target.checks = false;
            rig.target.exp_cmd_sn = first.cmd_sn;
            if by_reset {
                manage(&mut rig, TaskManagement::LogicalUnitReset(lun));
            } else {
                abort(&mut rig, task);
            }
            let request = rig.target.expect_task_management();
            answer(&mut rig, &request, Code::FunctionComplete);
            let reason = if by_reset { LostReason::TaskManagement } else { LostReason::Aborted };
            assert_eq!((rig.lost(task), rig.lost(older)), (Some(reason), None));

            let request = rig.target.expect_task_management();
            let Function::AbortTask { ref_cmd_sn, .. } = request.function else { panic!() };
            assert_eq!(ref_cmd_sn, first.cmd_sn);
            if is_plugged {
                rig.target.exp_cmd_sn = last.cmd_sn.next();
            }
            answer(&mut rig, &request, Code::FunctionComplete);
            let hole = ProtocolError::ExpCmdSn { expected: last.cmd_sn.next(), got: first.cmd_sn };
            assert_eq!(rig.lost(older), Some(LostReason::Protocol(hole)));
            if is_plugged {
                let data = rig.target.last_data_in(&last, 0, 0);
                rig.send(data, &[0; 512]);
                assert!(rig.outcome(later).is_good());
                assert_eq!(rig.state(), SessionState::LoggedIn);
            } else {
                assert_eq!(rig.violation(), Some(hole));
            }
        }
    }
}

/// If the session comes back the command is not lost at all.
#[test]
fn the_command_that_a_target_still_waits_for_is_issued_again_if_the_session_comes_back() {
    let recovery = Recovery { verify: false, ..Recovery::FOREVER };
    let mut rig = Rig::logged_in(Rig::config().recovery(recovery), Limits::DEFAULT);
    let cdb = Disk::read10(7, 1);
    let read = Command::new(Lun::ZERO, &cdb, Transfer::In(512)).on_loss(OnLoss::Reissue);
    let older = rig.submit(&read, &[]);
    let task = rig.read(0, 1);
    rig.run();
    let (first, _) = rig.target.expect_command();
    rig.target.expect_command();
    rig.target.checks = false;
    rig.target.exp_cmd_sn = first.cmd_sn;
    abort(&mut rig, task);
    let request = rig.target.expect_task_management();
    answer(&mut rig, &request, Code::FunctionComplete);
    assert_eq!((rig.lost(task), rig.lost(older)), (Some(LostReason::Aborted), None));
    let SessionState::Waiting(LostReason::Protocol(ProtocolError::ExpCmdSn { got, .. })) =
        rig.state()
    else {
        panic!("{:?}", rig.state())
    };
    assert_eq!(got, first.cmd_sn);
    rig.advance(Duration::from_secs(2));
    assert_eq!(rig.target.expect_command().0.cdb, first.cdb);
}

/// A rejected command is a hole until its own abort plugs it, whichever abort goes first.
#[test]
fn a_hole_that_an_abort_will_plug_is_none() {
    for oldest_first in [true, false] {
        let mut rig = Rig::scripted();
        // Slots are taken in the other order the second time.
        let tasks = [(); 3].map(|()| rig.read(0, 1));
        rig.run();
        let mut commands = tasks.map(|_| rig.target.expect_command().0);
        if !oldest_first {
            for command in commands {
                let data = rig.target.last_data_in(&command, 0, 0);
                rig.send(data, &[0; 512]);
            }
            for _ in tasks {
                rig.read(0, 1);
            }
            rig.run();
            commands = tasks.map(|_| rig.target.expect_command().0);
        }
        rig.target.checks = false;
        // All three are rejected, and do not count as received.
        let first = commands[0].cmd_sn;
        rig.target.exp_cmd_sn = first;
        for command in &commands {
            let mut bhs = [0; 48];
            command.emit(&mut bhs);
            let reject = rig.target.reject(RejectReason::InvalidPduField);
            rig.send(reject, &bhs);
        }
        let mut numbers = Vec::new();
        for _ in &commands {
            let request = rig.target.expect_task_management();
            let Function::AbortTask { ref_cmd_sn, .. } = request.function else { panic!() };
            numbers.push(ref_cmd_sn);
            // What it now counts as received.
            while numbers.contains(&rig.target.exp_cmd_sn) {
                rig.target.exp_cmd_sn = rig.target.exp_cmd_sn.next();
            }
            answer(&mut rig, &request, Code::FunctionComplete);
        }
        assert_eq!(numbers.is_sorted_by_key(|number| number.0), oldest_first, "{numbers:?}");
        assert_eq!(rig.target.exp_cmd_sn, first.plus(3));
        assert_eq!(rig.state(), SessionState::LoggedIn, "{numbers:?}");
        assert!(rig.target.inbox.is_empty());
    }
}

#[test]
fn a_refused_reset_drops_the_connection() {
    let mut rig = Rig::scripted();
    let cdb = Disk::read10(0, 1);
    let command = Command::new(Lun::ZERO, &cdb, Transfer::In(512));
    let task = rig.submit(&command.timeout(Duration::from_secs(1)), &[]);
    rig.run();
    rig.advance(Duration::from_secs(1));
    let _command = rig.target.expect_command();
    let abort_task = rig.target.expect_task_management();
    answer(&mut rig, &abort_task, Code::FunctionNotSupported);
    let reset = rig.target.expect_task_management();
    answer(&mut rig, &reset, Code::FunctionRejected);
    let reason = LostReason::TimedOut(Timer::Task);
    assert_eq!(rig.state(), SessionState::Failed(reason));
    assert_eq!(rig.lost(task), Some(reason));
}

#[test]
fn t_08_answer_with_an_unknown_tag() {
    let (mut rig, task, command) = reading();
    abort(&mut rig, task);
    let mut request = rig.target.expect_task_management();
    request.initiator_task_tag = command.initiator_task_tag;
    answer(&mut rig, &request, Code::FunctionComplete);
    let error = ProtocolError::UnknownTask(command.initiator_task_tag);
    assert_eq!(rig.violation(), Some(error));
}

#[test]
fn deadline_aborts_and_a_late_response_is_dropped() {
    let mut rig = Rig::scripted();
    let command = Command::new(Lun::ZERO, &[0x28; 10], Transfer::In(512));
    let task = rig.submit(&command.timeout(Duration::from_secs(3)), &[]);
    rig.run();
    let (command, _) = rig.target.expect_command();
    rig.advance(Duration::from_micros(2_999_999));
    assert!(rig.target.inbox.is_empty());
    rig.advance(Duration::from_micros(1));
    let request = rig.target.expect_task_management();
    assert_eq!(request.function.referenced_task_tag(), Some(command.initiator_task_tag));
    answer(&mut rig, &request, Code::FunctionComplete);
    assert_eq!(rig.lost(task), Some(LostReason::TimedOut(Timer::Task)));
    let last = rig.target.last_data_in(&command, 0, 0);
    rig.send(last, &[7; 512]);
    assert!(rig.memory.is_untouched(task));
    assert_eq!((rig.state(), rig.told.len()), (SessionState::LoggedIn, 1));
}

#[test]
fn queued_task_that_is_never_sent_has_its_deadline_too() {
    let mut rig = Rig::new(Rig::config().build().unwrap(), Limits::DEFAULT, 1);
    let command = Command::new(Lun::ZERO, &[0; 6], Transfer::None).timeout(Duration::from_secs(2));
    // Before the session was ever opened.
    let task = rig.submit(&command, &[]);
    rig.advance(Duration::from_secs(2));
    assert_eq!(rig.lost(task), Some(LostReason::TimedOut(Timer::Task)));
}

#[test]
fn aborts_wait_for_each_other_and_all_end() {
    let mut rig = Rig::scripted();
    let tasks: Vec<_> = (0..5).map(|lba| rig.read(lba, 1)).collect();
    rig.run();
    rig.target.inbox.clear();
    for task in &tasks {
        let now = rig.clock.now();
        rig.driver.session.abort(*task, now).unwrap();
    }
    rig.driver.touch();
    rig.run();
    for _ in &tasks {
        let request = rig.target.expect_task_management();
        assert!(rig.target.inbox.is_empty(), "one at a time");
        answer(&mut rig, &request, Code::FunctionComplete);
    }
    assert!(tasks.iter().all(|task| rig.lost(*task) == Some(LostReason::Aborted)));
}

/// The abort must not be lost between the function's answer and the moment when its event is taken.
#[test]
fn abort_while_a_function_of_the_application_runs() {
    for take_events in [true, false] {
        let mut rig = Rig::scripted();
        let task = rig.read(0, 1);
        rig.run();
        rig.target.expect_command();
        manage(&mut rig, TaskManagement::ClearAca(Lun::ZERO));
        abort(&mut rig, task);
        let function = rig.target.expect_task_management();
        assert!(matches!(function.function, Function::ClearAca { .. }));
        let response = rig.target.managed(&function, Code::FunctionComplete);
        rig.target.send(response, &[]);
        if take_events {
            rig.run();
        } else {
            // Nobody takes events, and the abort goes out nevertheless.
            for _ in 0..10 {
                let bytes = rig.target.take_output();
                if let Some(link) = &mut rig.link {
                    if !bytes.is_empty() {
                        link.to_initiator.write(&bytes, rig.clock.now()).unwrap();
                    }
                    rig.driver.turn(&mut rig.memory, Some(link), &rig.clock);
                    let mut sent = [0; 4096];
                    if let Ok(Some(n)) = link.to_target.read(&mut sent, rig.clock.now()) {
                        rig.target.receive(&sent[..n]);
                    }
                }
            }
        }
        let request = rig.target.expect_task_management();
        assert!(matches!(request.function, Function::AbortTask { .. }));
        answer(&mut rig, &request, Code::FunctionComplete);
        assert_eq!(rig.lost(task), Some(LostReason::Aborted));
    }
}

#[test]
fn t_12_logical_unit_reset_ends_the_tasks_of_its_unit() {
    let mut rig = Rig::scripted();
    let on = |rig: &mut Rig, lun: u64| {
        let command = Command::new(Lun::new(lun).unwrap(), &[0; 6], Transfer::None);
        rig.submit(&command, &[])
    };
    let before: Vec<_> = [1, 2, 1].iter().map(|lun| on(&mut rig, *lun)).collect();
    rig.run();
    let id = manage(&mut rig, TaskManagement::LogicalUnitReset(Lun::new(1).unwrap()));
    let after = on(&mut rig, 1);
    rig.run();
    let mut request = None;
    while let Some((pdu, _)) = rig.target.inbox.pop_front() {
        if let InitiatorPdu::TaskManagementRequest(found) = pdu {
            request = Some(found);
        }
    }
    answer(&mut rig, &request.unwrap(), Code::FunctionComplete);
    assert_eq!(rig.lost(before[0]), Some(LostReason::TaskManagement));
    assert_eq!(rig.lost(before[2]), Some(LostReason::TaskManagement));
    assert!(rig.end(before[1]).is_none() && rig.end(after).is_none());
    assert!(rig.told.contains(&Told::Managed { id, result: Ok(Code::FunctionComplete) }));
}

/// RFC 7143 section 11.5.1: warm and cold reset end the tasks of every logical unit.
#[test]
fn a_reset_of_the_target_ends_the_tasks_of_all_units_if_it_is_done() {
    for request in [TaskManagement::TargetWarmReset, TaskManagement::TargetColdReset] {
        for (code, done) in [(Code::FunctionComplete, true), (Code::FunctionRejected, false)] {
            let mut rig = Rig::scripted();
            let tasks = [0, 1, 2].map(|lun| {
                let command = Command::new(Lun::new(lun).unwrap(), &[0; 6], Transfer::None);
                rig.submit(&command, &[])
            });
            rig.run();
            rig.target.inbox.clear();
            manage(&mut rig, request);
            let asked = rig.target.expect_task_management();
            answer(&mut rig, &asked, code);
            let lost = done.then_some(LostReason::TaskManagement);
            assert_eq!(tasks.map(|task| rig.lost(task)), [lost; 3], "{request:?}");
            assert_eq!(rig.state(), SessionState::LoggedIn);
        }
    }
}

#[test]
fn the_last_step_of_an_escalation_is_the_target() {
    for (code, state) in [
        (Code::FunctionComplete, SessionState::LoggedIn),
        (Code::FunctionRejected, SessionState::Failed(LostReason::Aborted)),
    ] {
        let config = Rig::config().escalation(Escalation::TargetColdReset);
        let mut rig = Rig::logged_in(config, Limits::DEFAULT);
        let slow = rig.read(0, 1);
        let command = Command::new(Lun::new(1).unwrap(), &[0; 6], Transfer::None);
        let elsewhere = rig.submit(&command, &[]);
        rig.run();
        rig.target.inbox.clear();
        abort(&mut rig, slow);
        rig.target.expect_task_management();
        wait(&mut rig, 31);
        let unit = rig.target.expect_task_management();
        answer(&mut rig, &unit, Code::FunctionRejected);
        let reset = rig.target.expect_task_management();
        assert_eq!(reset.function, Function::TargetColdReset);
        answer(&mut rig, &reset, code);
        assert_eq!(rig.state(), state);
        assert_eq!(rig.lost(slow), Some(LostReason::Aborted));
        assert!(rig.lost(elsewhere).is_some());
    }
}

#[test]
fn refused_reset_ends_nothing() {
    let (mut rig, task, _) = reading();
    let id = manage(&mut rig, TaskManagement::LogicalUnitReset(Lun::ZERO));
    let request = rig.target.expect_task_management();
    answer(&mut rig, &request, Code::FunctionNotSupported);
    assert!(rig.end(task).is_none());
    assert_eq!(rig.told, [Told::Managed { id, result: Ok(Code::FunctionNotSupported) }]);
}

#[test]
fn t_09_t_11_r2t_and_ping_are_answered_while_a_function_runs() {
    let config = Rig::config().immediate_data(false).initial_r2t(true);
    let mut rig = Rig::logged_in(config, Limits::DEFAULT);
    let task = rig.write(0, &[1; 1024]);
    rig.run();
    let (command, _) = rig.target.expect_command();
    manage(&mut rig, TaskManagement::AbortTaskSet(Lun::ZERO));
    let request = rig.target.expect_task_management();
    let r2t = rig.target.r2t(&command, 0, 0, 1024);
    rig.send(r2t, &[]);
    let (data_out, _) = rig.target.expect_data_out();
    assert!(data_out.is_final);
    let transfer = r2t.transfer();
    let nop = rig.target.nop_in(NopInKind::Ping(transfer));
    rig.send(nop, &[]);
    rig.target.expect_nop_out();
    answer(&mut rig, &request, Code::FunctionComplete);
    assert_eq!(rig.lost(task), Some(LostReason::TaskManagement));
}

#[test]
fn t_13_cold_reset_may_end_the_connection_instead() {
    let (mut rig, task, _) = reading();
    let id = manage(&mut rig, TaskManagement::TargetColdReset);
    let now = rig.clock.now();
    rig.link.as_mut().unwrap().to_initiator.close(now);
    rig.run();
    assert_eq!(rig.lost(task), Some(LostReason::Eof));
    assert!(rig.told.contains(&Told::Managed { id, result: Err(LostReason::Eof) }));
    assert_eq!(rig.state(), SessionState::Failed(LostReason::Eof));
}

#[test]
fn t_14_functions_of_rfc_7144_need_its_level() {
    let (mut rig, task, _) = reading();
    for request in [
        TaskManagement::QueryTask(task),
        TaskManagement::QueryTaskSet(Lun::ZERO),
        TaskManagement::ItNexusReset,
        TaskManagement::QueryAsynchronousEvent(Lun::ZERO),
    ] {
        let now = rig.clock.now();
        let refused = rig.driver.session.task_management(request, now);
        assert_eq!(refused, Err(SubmitError::NotNegotiated));
    }
    let limits = Limits { iscsi_protocol_level: Some(2), ..Limits::DEFAULT };
    let mut rig = Rig::logged_in(Rig::config().iscsi_protocol_level(Some(2)), limits);
    let task = rig.read(0, 1);
    rig.run();
    let (command, _) = rig.target.expect_command();
    let id = manage(&mut rig, TaskManagement::QueryTask(task));
    let request = rig.target.expect_task_management();
    assert_eq!(request.function.referenced_task_tag(), Some(command.initiator_task_tag));
    let code = Code::FunctionSucceeded { additional_response_information: [0, 0, 1] };
    answer(&mut rig, &request, code);
    assert_eq!(rig.told, [Told::Managed { id, result: Ok(code) }]);
}

#[test]
fn one_function_of_the_application_at_a_time() {
    let mut rig = Rig::scripted();
    manage(&mut rig, TaskManagement::TargetWarmReset);
    let now = rig.clock.now();
    let second = rig.driver.session.task_management(TaskManagement::TargetWarmReset, now);
    assert_eq!(second, Err(SubmitError::Busy));
}

#[test]
fn each_function_has_a_name_of_its_own() {
    let mut rig = Rig::scripted();
    let ids = [(); 3].map(|()| {
        let id = manage(&mut rig, TaskManagement::ClearAca(Lun::ZERO));
        let request = rig.target.expect_task_management();
        answer(&mut rig, &request, Code::FunctionComplete);
        id
    });
    assert!(ids[0] != ids[1] && ids[1] != ids[2] && ids[0] != ids[2]);
    let told = ids.map(|id| Told::Managed { id, result: Ok(Code::FunctionComplete) });
    assert_eq!(rig.told, told);
}

/// The application's function waits behind one of our own. When its time is over nobody knows how long the target would keep it waiting.
#[test]
fn a_function_that_was_not_sent_in_time_drops_the_connection() {
    for (ahead, escalation) in [(0, Escalation::LogicalUnitReset), (1, Escalation::TargetColdReset)]
    {
        let mut rig = Rig::logged_in(Rig::config().escalation(escalation), Limits::DEFAULT);
        let task = rig.read(0, 1);
        rig.run();
        rig.target.expect_command();
        abort(&mut rig, task);
        rig.target.expect_task_management();
        // With the abort, or a second after it: then the reset that follows the abort is under way.
        wait(&mut rig, ahead);
        manage(&mut rig, TaskManagement::ClearAca(Lun::ZERO));
        assert!(rig.target.inbox.is_empty());
        wait(&mut rig, 30);
        let reason = LostReason::TimedOut(Timer::TaskManagement);
        assert_eq!(rig.state(), SessionState::Failed(reason));
        let resets = rig.target.received().iter().filter(|bhs| bhs[0] & 0x3f == 2).count();
        assert_eq!(resets, 1 + ahead as usize, "the abort, and what follows it");
    }
}
