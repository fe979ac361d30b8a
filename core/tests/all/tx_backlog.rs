//! A task that ends, or loses its memory, while Data-Out of it wait in a line that takes no more bytes.
#![cfg(feature = "testing")]

use core::time::Duration;

use iscsi_core::config::Timeouts;
use iscsi_core::testing::{Faults, Rig, Told};
use iscsi_core::text::Limits;
use iscsi_core::wire::{
    Completion, NopInKind, NopOutKind, Opcode, Residual, ScsiCommand, ScsiResponseCode, ScsiStatus,
    TaskManagementResponseCode,
};
use iscsi_core::{LostReason, Lun, SessionState, SubmitError, TaskId, TaskManagement, Timer};

const PDU: u32 = 8192;

/// A rig whose line to the target takes 20000 bytes in a second, and a write of this many PDUs, all of which the target has asked for.
/// The command is through, the first Data-Out is half sent, and no time passes.
fn stuck(pdus: u32) -> (Rig, TaskId, ScsiCommand) {
    stuck_with(PDU, pdus)
}

fn stuck_with(pdu: u32, pdus: u32) -> (Rig, TaskId, ScsiCommand) {
    let mut rig = narrow(pdu);
    let task = rig.write(0, &vec![7; (pdus * pdu) as usize]);
    rig.run();
    let (command, _) = rig.target.expect_command();
    let r2t = rig.target.r2t(&command, 0, 0, pdus * pdu);
    rig.target.send(r2t, &[]);
    while rig.step() {}
    assert!(rig.target.inbox.is_empty(), "nothing has arrived yet");
    (rig, task, command)
}

/// A rig with such a line, and a target that takes so much in a PDU.
fn narrow(pdu: u32) -> Rig {
    let timeouts = Timeouts { nop_interval: None, ..Timeouts::DEFAULT };
    let config = Rig::config().immediate_data(false).initial_r2t(true).timeouts(timeouts);
    let config = config.max_burst_length(1 << 20).build().unwrap();
    let limits =
        Limits { max_recv_data_segment_length: pdu, max_burst_length: 1 << 20, ..Limits::DEFAULT };
    let mut rig = Rig::new(config, limits, 1);
    rig.faults[0].latency = Duration::from_millis(100);
    rig.faults[0].window = 2000;
    rig.log_in();
    rig
}

/// How many Data-Out the target has received.
fn data_outs(rig: &Rig) -> usize {
    rig.target.received().iter().filter(|bhs| bhs[0] & 0x3f == Opcode::DataOut as u8).count()
}

#[test]
fn an_early_response_takes_back_what_was_not_started() {
    let (mut rig, task, command) = stuck(6);
    let response = rig.target.response(&command, Completion::GOOD);
    rig.target.send(response, &[]);
    while rig.step() {}
    // The memory is shown until the PDU that was begun has left: a PDU that ends early would end the connection.
    assert!(rig.end(task).is_none() && rig.driver.session.holds(task));
    rig.run();
    assert_eq!(data_outs(&rig), 1);
    let outcome = rig.outcome(task);
    // GOOD for a write of which no PDU had left whole.
    assert!(!outcome.is_good());
    assert_eq!(outcome.missing, 6 * PDU);
    assert!(!rig.driver.session.holds(task));
    // The line is in step: the next command is read.
    rig.target.inbox.clear();
    rig.read(0, 1);
    rig.run();
    assert!(rig.target.expect_command().0.read);
    assert_eq!(rig.state(), SessionState::LoggedIn);
}

#[test]
fn a_response_in_the_middle_counts_what_had_left() {
    let (mut rig, task, command) = stuck(6);
    while data_outs(&rig) < 2 {
        let at = rig.next_time().unwrap();
        rig.clock.jump_to(at);
        while rig.step() {}
    }
    let response = rig.target.response(&command, Completion::GOOD);
    rig.target.send(response, &[]);
    rig.run();
    let arrived = data_outs(&rig) as u32;
    assert!(arrived == 2 || arrived == 3, "{arrived}");
    assert_eq!(rig.outcome(task).missing, 4 * PDU);
    // What the target says it did not take is missing too.
    let (mut rig, task, command) = stuck(6);
    let residual = Residual::Underflow(6 * PDU);
    let response = rig.target.response(&command, Completion { residual, ..Completion::GOOD });
    rig.target.send(response, &[]);
    rig.run();
    assert_eq!((rig.outcome(task).missing, data_outs(&rig)), (6 * PDU, 1));
    assert!(matches!(rig.outcome(task).response, ScsiResponseCode::CompletedAtTarget(_)));
}

/// The sense data of a write are kept while some of its PDUs wait.
#[test]
fn an_early_response_has_its_sense() {
    let (mut rig, task, command) = stuck(6);
    let check = Completion { status: ScsiStatus::CheckCondition, ..Completion::GOOD };
    let response = rig.target.response(&command, check);
    rig.target.send(response, &[0, 4, 0x72, 5, 0x20, 0]);
    rig.run();
    let Some(Told::Done { sense, .. }) = rig.end(task) else { panic!("{:?}", rig.end(task)) };
    assert_eq!(sense[..], [0x72, 5, 0x20, 0]);
}

/// A reset that covers the task says as much as its own response.
#[test]
fn a_reset_takes_back_what_was_not_started() {
    let mut rig = narrow(PDU);
    let task = rig.write(0, &vec![7; 6 * PDU as usize]);
    rig.run();
    let (command, _) = rig.target.expect_command();
    let now = rig.clock.now();
    rig.driver.session.task_management(TaskManagement::LogicalUnitReset(Lun::ZERO), now).unwrap();
    rig.driver.touch();
    rig.run();
    let request = rig.target.expect_task_management();
    let r2t = rig.target.r2t(&command, 0, 0, 6 * PDU);
    rig.target.send(r2t, &[]);
    while rig.step() {}
    let managed = rig.target.managed(&request, TaskManagementResponseCode::FunctionComplete);
    rig.target.send(managed, &[]);
    while rig.step() {}
    assert!(rig.end(task).is_none() && rig.driver.session.holds(task));
    rig.run();
    assert_eq!((rig.lost(task), data_outs(&rig)), (Some(LostReason::TaskManagement), 1));
}

#[test]
fn memory_that_is_shown_cannot_be_taken_without_the_connection() {
    // All of the data are in the ring: nothing is owed, but the line still reads them.
    let (mut rig, task, _) = stuck(2);
    let now = rig.clock.now();
    let (connection, session) = rig.driver.ask();
    connection.revoke(task, session, now).unwrap();
    assert_eq!(rig.state(), SessionState::Failed(LostReason::Aborted));

    // All of them have left: the task is aborted, and the connection stays.
    let (mut rig, task, _) = stuck(2);
    rig.run();
    assert_eq!(data_outs(&rig), 2);
    rig.target.inbox.clear();
    let now = rig.clock.now();
    let (connection, session) = rig.driver.ask();
    connection.revoke(task, session, now).unwrap();
    rig.run();
    assert_eq!(rig.state(), SessionState::LoggedIn);
    let abort = rig.target.expect_task_management();
    let response = rig.target.managed(&abort, TaskManagementResponseCode::FunctionComplete);
    rig.send(response, &[]);
    assert!(rig.end(task).is_none(), "its end is not told");
    assert!(!rig.driver.session.holds(task));
    let (connection, session) = rig.driver.ask();
    assert_eq!(connection.revoke(task, session, now), Err(SubmitError::NoSuchTask));
}

/// 32 PDUs, or what makes 256 KiB: more never stands before it, but for what the line holds.
#[test]
fn an_abort_does_not_wait_behind_megabytes() {
    for (pdu, pdus, most) in [(65_536, 16, 5), (512, 128, 36)] {
        let (mut rig, task, _) = stuck_with(pdu, pdus);
        rig.driver.session.abort(task, rig.clock.now()).unwrap();
        rig.driver.touch();
        rig.run();
        let order: Vec<_> = rig.target.received().iter().map(|bhs| bhs[0] & 0x3f).collect();
        let abort = Opcode::TaskManagementRequest as u8;
        let before = order.iter().take_while(|opcode| **opcode != abort);
        let data = before.filter(|opcode| **opcode == Opcode::DataOut as u8).count();
        assert!(data <= most && data * 2 > most, "{data} of {pdu} bytes");
    }
}

/// RFC 7143 section 11.18: a ping is answered when it has arrived, and it leaves behind what was frozen before it.
#[test]
fn the_time_of_a_ping_counts_from_when_it_has_left() {
    let (mut rig, _, _) = stuck(8);
    let (connection, session) = rig.driver.ask();
    connection.ping(session);
    // 64 KiB are through after a little more than 3 seconds; an answer may take 5 from then on.
    rig.advance(Duration::from_secs(4));
    assert_eq!(data_outs(&rig), 8);
    rig.advance(Duration::from_secs(3));
    assert_eq!(rig.state(), SessionState::LoggedIn);
    rig.advance(Duration::from_secs(2));
    assert_eq!(rig.state(), SessionState::Failed(LostReason::TimedOut(Timer::NopOut)));
}

/// It may be the first in line for long.
#[test]
fn a_ping_that_cannot_leave_is_not_late_before_it_has_left() {
    let timeouts = Timeouts { nop_interval: None, ..Timeouts::DEFAULT };
    let mut rig = Rig::logged_in(Rig::config().timeouts(timeouts), Limits::DEFAULT);
    rig.link.as_mut().unwrap().to_target.set_faults(Faults { window: 0, ..Faults::NONE });
    let (connection, session) = rig.driver.ask();
    connection.ping(session);
    rig.advance(timeouts.nop_timeout * 3 / 4);
    assert!(rig.target.inbox.is_empty());
    rig.link.as_mut().unwrap().to_target.set_faults(Faults::NONE);
    rig.driver.touch();
    rig.advance(timeouts.nop_timeout * 3 / 4);
    assert_eq!(rig.state(), SessionState::LoggedIn);
    let NopOutKind::Ping { initiator_task_tag, .. } = rig.target.expect_nop_out().kind else {
        panic!()
    };
    let echo = rig.target.nop_in(NopInKind::PingResponse(initiator_task_tag));
    rig.send(echo, &[]);
    assert!(!rig.driver.connection().is_pinging());
}
