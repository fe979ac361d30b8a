//! Lives of tasks, handles and sessions: detach, revoke, wrap-arounds, deadlines, reopening.
#![cfg(feature = "testing")]

use core::time::Duration;

use iscsi_core::auth::Entropy;
use iscsi_core::testing::{Disk, Faults, Rig, Service, Told};
use iscsi_core::text::Limits;
use iscsi_core::wire::{Completion, DataIn, LogoutResponseCode, ScsiCommand};
use iscsi_core::{
    Action, Command, Config, Connection, ConnectionState, InitiatorTaskTag, InlineConnection,
    InlineSession, Instant, LostReason, Lun, NoBuffers, Portal, ProtocolError, Session,
    SessionState, SubmitError, TaskId, TaskManagement, Timer, Transfer,
};

fn reading(blocks: u16) -> (Rig, TaskId, ScsiCommand) {
    let mut rig = Rig::scripted();
    let task = rig.read(0, blocks);
    rig.run();
    let (command, _) = rig.target.expect_command();
    (rig, task, command)
}

fn solicited_only() -> Rig {
    Rig::logged_in(Rig::config().immediate_data(false).initial_r2t(true), Limits::DEFAULT)
}

#[test]
fn detach_suppresses_the_event_only() {
    let (mut rig, task, command) = reading(1);
    rig.driver.session.detach(task).unwrap();
    assert!(rig.driver.session.holds(task));
    let last = rig.target.last_data_in(&command, 0, 0);
    rig.send(last, &[5; 512]);
    assert_eq!(rig.memory.read(task), [5; 512]);
    assert!(rig.told.is_empty() && !rig.driver.session.holds(task));
    assert_eq!(rig.driver.session.in_use(), 0);
    assert_eq!(rig.driver.session.detach(task), Err(SubmitError::NoSuchTask));
}

#[test]
fn detach_with_an_r2t_owed() {
    let mut rig = solicited_only();
    let task = rig.write(0, &[6; 1024]);
    rig.run();
    let (command, _) = rig.target.expect_command();
    rig.driver.session.detach(task).unwrap();
    let r2t = rig.target.r2t(&command, 0, 0, 1024);
    rig.send(r2t, &[]);
    assert_eq!(rig.target.expect_data_out().1, [6; 1024]);
    assert!(rig.driver.session.holds(task), "its memory is still lent");
    let response = rig.target.response(&command, Completion::GOOD);
    rig.send(response, &[]);
    assert!(rig.told.is_empty() && !rig.driver.session.holds(task));
    assert_eq!(rig.state(), SessionState::LoggedIn);
}

fn revoke(rig: &mut Rig, task: TaskId) {
    let now = rig.clock.now();
    let (connection, session) = rig.driver.ask();
    connection.revoke(task, session, now).unwrap();
    rig.memory.take(task);
    rig.run();
}

#[test]
fn revoke_in_the_middle_of_a_pdu() {
    for digests in [iscsi_core::text::Digests::NONE, iscsi_core::text::Digests::CRC32C] {
        for cut in [1, 47, 48, 53, 60, 200, 559] {
            let config = Rig::config().data_digest(digests);
            let mut rig = Rig::logged_in(config, Limits::DEFAULT);
            let task = rig.read(0, 1);
            rig.run();
            let (command, _) = rig.target.expect_command();
            let last = rig.target.last_data_in(&command, 0, 0);
            rig.target.send(last, &[5; 512]);
            let bytes = rig.target.take_output();
            rig.target.send_raw(&bytes[..cut]);
            rig.run();
            revoke(&mut rig, task);
            rig.target.send_raw(&bytes[cut..]);
            rig.run();
            assert_eq!(rig.state(), SessionState::LoggedIn, "cut at {cut}");
            assert!(rig.told.is_empty());
            assert_eq!(rig.driver.session.in_use(), 0);
            // The stream is in step.
            let next = rig.read(0, 1);
            rig.run();
            let (command, _) = rig.target.expect_command();
            let last = rig.target.last_data_in(&command, 0, 0);
            rig.send(last, &[6; 512]);
            assert_eq!(rig.memory.read(next), [6; 512]);
        }
    }
}

#[test]
fn revoke_of_a_write_that_owes_data_drops_the_connection() {
    let mut rig = solicited_only();
    let task = rig.write(0, &[6; 1024]);
    let other = rig.read(0, 1);
    rig.run();
    let (command, _) = rig.target.expect_command();
    rig.link.as_mut().unwrap().to_target.set_faults(Faults { window: 100, ..Faults::NONE });
    let r2t = rig.target.r2t(&command, 0, 0, 1024);
    rig.target.send(r2t, &[]);
    while rig.driver.session.holds(task) && rig.link.as_ref().unwrap().to_target.written() < 600 {
        rig.step();
    }
    revoke(&mut rig, task);
    assert!(rig.link.is_none() && rig.end(task).is_none());
    assert!(rig.lost(other).is_some());
}

#[test]
fn revoke_of_a_write_that_owes_nothing_aborts_it() {
    let mut rig = solicited_only();
    let task = rig.write(0, &[6; 1024]);
    rig.run();
    let (command, _) = rig.target.expect_command();
    revoke(&mut rig, task);
    let request = rig.target.expect_task_management();
    assert_eq!(request.function.referenced_task_tag(), Some(command.initiator_task_tag));
    let complete = iscsi_core::wire::TaskManagementResponseCode::FunctionComplete;
    let response = rig.target.managed(&request, complete);
    rig.send(response, &[]);
    assert!(rig.told.is_empty());
    assert_eq!((rig.driver.session.in_use(), rig.state()), (0, SessionState::LoggedIn));
}

#[test]
fn revoked_write_that_is_asked_for_data_drops_the_connection() {
    let mut rig = solicited_only();
    let task = rig.write(0, &[6; 1024]);
    rig.run();
    let (command, _) = rig.target.expect_command();
    revoke(&mut rig, task);
    let r2t = rig.target.r2t(&command, 0, 0, 1024);
    rig.send(r2t, &[]);
    assert!(rig.link.is_none());
    let data = rig.target.received().iter().filter(|bhs| bhs[0] == 0x05).count();
    assert_eq!(data, 0, "bytes were invented");
}

/// The generation part of a tag comes round after 2^(32 - index bits) tasks of one slot.
fn round_trip() -> u32 {
    // 512 slots and what is reserved need 10 bits.
    1 << 22
}

#[test]
fn stale_pdu_and_stale_handle_across_the_tags_wrap() {
    let session = || -> Box<Session> { Box::<InlineSession<512>>::default() };
    let thread = std::thread::Builder::new().stack_size(16 << 20);
    let run = move || {
        let config = Rig::config().build().unwrap();
        let scratch = iscsi_core::driver::RecvBuf::boxed();
        let mut rig = Rig::with(config, Limits::DEFAULT, session(), scratch, 1);
        rig.log_in();
        let first = rig.read(0, 1);
        rig.run();
        let (command, _) = rig.target.expect_command();
        let last = rig.target.last_data_in(&command, 0, 0);
        rig.send(last, &[1; 512]);
        assert!(rig.outcome(first).is_good());
        // Tasks that are aborted before they are sent use up tags of the same slot.
        let now = rig.clock.now();
        let tur = Command::new(Lun::ZERO, &[0; 6], Transfer::None);
        for _ in 0..round_trip() - 2 {
            let task = rig.driver.session.submit(&tur, now).unwrap();
            assert_eq!(task.index(), first.index());
            rig.driver.session.abort(task, now).unwrap();
            while rig.driver.session.poll_event().is_some() {}
        }
        // The last one before the wrap, and the first after it.
        for n in 0..4 {
            let task = rig.read(0, 1);
            rig.run();
            let (next, _) = rig.target.expect_command();
            assert!(!next.initiator_task_tag.is_reserved());
            assert_ne!(task, first);
            // The stale handle does not reach the new task, whatever its tag is.
            let now = rig.clock.now();
            assert_eq!(rig.driver.session.abort(first, now), Err(SubmitError::NoSuchTask));
            assert_eq!(rig.driver.session.detach(first), Err(SubmitError::NoSuchTask));
            assert!(!rig.driver.session.holds(first) && rig.driver.session.holds(task));
            if n == 3 {
                // A PDU of the task before is refused, and touches nothing.
                let stale = InitiatorTaskTag(next.initiator_task_tag.0.wrapping_sub(1 << 10));
                let data_in =
                    DataIn { initiator_task_tag: stale, ..rig.target.data_in(&next, 0, 0) };
                rig.send(data_in, &[9; 512]);
                assert_eq!(rig.violation(), Some(ProtocolError::UnknownTask(stale)));
                assert!(rig.memory.is_untouched(task));
                return;
            }
            let last = rig.target.last_data_in(&next, 0, 0);
            rig.send(last, &[2; 512]);
            assert!(rig.outcome(task).is_good());
        }
    };
    thread.spawn(run).unwrap().join().unwrap();
}

fn portal() -> Portal {
    Portal::parse("192.0.2.2:3260").unwrap()
}

#[test]
fn logout_during_the_login_stays_closed() {
    let mut rig = Rig::new(Rig::config().build().unwrap(), Limits::DEFAULT, 1);
    rig.faults[1].delay = Duration::from_millis(10);
    rig.faults[1].split = 1000;
    rig.driver.session.open(portal(), rig.clock.now()).unwrap();
    rig.driver.touch();
    for _ in 0..3 {
        rig.step();
    }
    assert_eq!(rig.state(), SessionState::LoggingIn);
    rig.driver.session.logout(rig.clock.now()).unwrap();
    rig.driver.touch();
    rig.run();
    rig.advance(Duration::from_secs(60));
    assert_eq!(rig.state(), SessionState::Closed);
    assert_eq!(rig.actions, [Action::Connect, Action::Disconnect]);
    // And it can be opened again.
    rig.open();
    assert_eq!(rig.state(), SessionState::LoggedIn);
}

#[test]
fn refused_connection_fails_the_session_and_its_tasks() {
    let mut rig = Rig::new(Rig::config().build().unwrap(), Limits::DEFAULT, 1);
    rig.refuse = true;
    let task = rig.read(0, 1);
    rig.open();
    assert_eq!(rig.state(), SessionState::Failed(LostReason::ConnectFailed));
    assert_eq!(rig.lost(task), Some(LostReason::ConnectFailed));
    let command = Command::new(Lun::ZERO, &[0; 6], Transfer::None);
    assert_eq!(rig.driver.session.submit(&command, Instant::ZERO), Err(SubmitError::NotOpen));
}

#[test]
fn commands_submitted_before_the_login_are_sent_after_it() {
    let mut rig = Rig::new(Rig::config().build().unwrap(), Limits::DEFAULT, 1);
    let task = rig.read(3, 2);
    rig.open();
    rig.target.service = Some(Service::new(Disk::new(8)));
    let (command, _) = rig.target.expect_command();
    let last = rig.target.last_data_in(&command, 0, 0);
    rig.send(last, &[1; 1024]);
    assert!(rig.outcome(task).is_good());
}

#[test]
fn reopened_session_keeps_its_isid_and_starts_clean() {
    let mut rig = Rig::serving(Disk::new(16));
    let isid = rig.driver.session.isid();
    for round in 0..5 {
        let task = rig.read(0, 8);
        rig.run();
        assert!(rig.outcome(task).is_good());
        let now = rig.clock.now();
        let lost = {
            let service = rig.target.service.take();
            let lost = rig.read(0, 1);
            rig.run();
            rig.target.service = service;
            lost
        };
        rig.link.as_mut().unwrap().to_initiator.reset_after(now);
        rig.advance(Duration::from_millis(1));
        assert_eq!(rig.lost(lost), Some(LostReason::Transport), "round {round}");
        rig.told.clear();
        rig.open();
        assert_eq!(rig.state(), SessionState::LoggedIn);
        assert_eq!(rig.driver.session.isid(), isid);
    }
}

#[test]
fn late_connection_is_refused() {
    let mut session = InlineSession::<1>::new();
    let mut connection = InlineConnection::new();
    session.configure(Rig::config().build().unwrap()).unwrap();
    let session: &mut Session = &mut session;
    session.open(portal(), Instant::ZERO).unwrap();
    assert_eq!(session.poll_action(), Some(Action::Connect));
    let late = session.poll_timeout().unwrap();
    session.handle_timeout(late);
    let timeout = LostReason::TimedOut(Timer::Connect);
    assert_eq!(session.state(), SessionState::Failed(timeout));
    while session.poll_action().is_some() {}
    let connection: &mut Connection = &mut connection;
    connection.opened(session, Entropy::new([1; 64]), late);
    assert_eq!(session.state(), SessionState::Failed(timeout));
    assert_eq!(connection.state(), ConnectionState::Closed);
    assert_eq!(session.poll_action(), Some(Action::Disconnect));
}

/// Whoever waits has a deadline, in every state that can be reached.
#[test]
fn every_state_reports_a_deadline() {
    let mut session = InlineSession::<1>::new();
    session.configure(Rig::config().build().unwrap()).unwrap();
    assert_eq!(session.poll_timeout(), None, "idle, nothing to wait for");
    session.open(portal(), Instant::ZERO).unwrap();
    assert_eq!(session.poll_timeout(), Some(Instant::from_micros(10_000_000)), "connecting");

    let due = |rig: &Rig, what: &str| {
        let deadline = rig.driver.deadline();
        let left = deadline.unwrap_or_else(|| panic!("{what}: no deadline"));
        assert!(left > rig.clock.now(), "{what}: due");
        assert!(left <= rig.clock.now() + Duration::from_secs(60), "{what}: too late");
    };
    let mut rig = Rig::scripted();
    due(&rig, "logged in, idle");
    let task = rig.read(0, 1);
    rig.run();
    due(&rig, "a task runs");
    let now = rig.clock.now();
    rig.driver.session.abort(task, now).unwrap();
    rig.driver.touch();
    due(&rig, "an abort waits");
    rig.run();
    due(&rig, "an abort runs");
    rig.driver.session.task_management(TaskManagement::TargetWarmReset, now).unwrap();
    rig.driver.touch();
    rig.run();
    due(&rig, "a function waits behind it");
    rig.driver.session.logout(now).unwrap();
    rig.driver.touch();
    rig.run();
    due(&rig, "logging out");
    rig.advance(Duration::from_secs(60));
    assert!(rig.link.is_none());
    assert_eq!(rig.driver.deadline(), None, "closed, nothing to wait for");
    assert!(rig.end(task).is_some());

    let timeouts = iscsi_core::config::Timeouts {
        nop_interval: None,
        command: None,
        ..iscsi_core::config::Timeouts::DEFAULT
    };
    let mut rig = Rig::logged_in(Rig::config().timeouts(timeouts), Limits::DEFAULT);
    assert_eq!(rig.driver.deadline(), None, "idle without keep-alive");
    rig.target.send_raw(&[0x20; 7]);
    rig.run();
    due(&rig, "a PDU was begun");
    let mut rig = Rig::logged_in(Rig::config().timeouts(timeouts), Limits::DEFAULT);
    rig.link.as_mut().unwrap().to_target.set_faults(Faults { window: 0, ..Faults::NONE });
    rig.read(0, 1);
    rig.run();
    due(&rig, "a PDU cannot be sent");
    let (connection, session) = rig.driver.ask();
    connection.ping(session);
    due(&rig, "a ping waits");
}

/// A half-sent PDU whose task has ended must not hold the slot for ever.
#[test]
fn stalled_transport_ends_a_draining_task() {
    let mut rig = Rig::scripted();
    rig.link.as_mut().unwrap().to_target.set_faults(Faults { window: 700, ..Faults::NONE });
    let task = rig.write(0, &[1; 8192]);
    // The target reads nothing.
    for _ in 0..20 {
        rig.driver.turn(&mut rig.memory, rig.link.as_mut(), &rig.clock);
    }
    let now = rig.clock.now();
    let mut bytes = [0; 4096];
    let n = rig.link.as_mut().unwrap().to_target.read(&mut bytes, now).unwrap().unwrap();
    assert_eq!(n, 700);
    rig.link.as_mut().unwrap().to_target.set_faults(Faults { window: 0, ..Faults::NONE });
    rig.driver.session.abort(task, now).unwrap();
    rig.driver.touch();
    for _ in 0..200 {
        let nop = rig.target.nop_in(iscsi_core::wire::NopInKind::Update);
        rig.send(nop, &[]);
        rig.advance(Duration::from_secs(2));
    }
    assert!(rig.end(task).is_some());
}

#[test]
fn spurious_calls_are_harmless() {
    let (mut rig, task, command) = reading(1);
    let now = rig.clock.now();
    rig.driver.session.connect_failed(rig.clock.now());
    rig.driver.session.handle_timeout(now);
    let (connection, session) = rig.driver.ask();
    connection.handle_timeout(session, now);
    connection.transmitted(0, session);
    connection.received(0, session, &mut NoBuffers, now);
    assert_eq!(session.open(portal(), now), Err(SubmitError::WrongState));
    assert_eq!(session.configure(Config::EMPTY), Err(SubmitError::WrongState));
    rig.run();
    let last = rig.target.last_data_in(&command, 0, 0);
    rig.send(last, &[1; 512]);
    assert!(rig.outcome(task).is_good());
}

#[test]
fn opened_again_means_that_the_stream_was_replaced() {
    let (mut rig, task, _) = reading(1);
    let now = rig.clock.now();
    let (connection, session) = rig.driver.ask();
    connection.opened(session, Entropy::new([3; 64]), now);
    rig.run();
    assert_eq!(rig.lost(task), Some(LostReason::Transport));
    assert_eq!(rig.actions, [Action::Disconnect]);
}

#[test]
fn the_answer_to_a_logout_is_kept_until_the_session_is_opened_again() {
    let mut rig = Rig::scripted();
    assert_eq!(rig.driver.session.logout_response(), None);
    rig.driver.session.logout(rig.clock.now()).unwrap();
    rig.driver.touch();
    rig.run();
    let request = rig.target.expect_logout();
    let mut response = rig.target.logged_out(&request);
    response.response = LogoutResponseCode::CleanupFailed;
    response.time2wait = 7;
    rig.send(response, &[]);
    assert_eq!(rig.state(), SessionState::Closed);
    assert_eq!(rig.driver.session.logout_response(), Some(&response));
    rig.log_in();
    assert_eq!(rig.driver.session.logout_response(), None);
}

#[test]
fn full_table_refuses_and_recovers() {
    let mut rig = Rig::scripted();
    let tasks: Vec<_> = (0..8).map(|lba| rig.read(lba, 1)).collect();
    let command = Command::new(Lun::ZERO, &[0; 6], Transfer::None);
    let now = rig.clock.now();
    assert_eq!(rig.driver.session.submit(&command, now), Err(SubmitError::NoFreeTask));
    rig.run();
    let (command, _) = rig.target.expect_command();
    let last = rig.target.last_data_in(&command, 0, 0);
    rig.send(last, &[1; 512]);
    assert!(rig.outcome(tasks[0]).is_good());
    rig.read(0, 1);
    assert_eq!(rig.driver.session.in_use(), 8);
}

#[test]
fn no_memory_for_the_data_drops_the_connection() {
    let (mut rig, task, command) = reading(1);
    rig.memory.take(task);
    let last = rig.target.last_data_in(&command, 0, 0);
    rig.send(last, &[1; 512]);
    assert_eq!(rig.lost(task), Some(LostReason::NoBuffer));

    let mut rig = Rig::scripted();
    let command = Command::new(Lun::ZERO, &[0x2a; 10], Transfer::Out(512));
    let now = rig.clock.now();
    let task = rig.driver.session.submit(&command, now).unwrap();
    rig.driver.touch();
    rig.run();
    assert_eq!(rig.lost(task), Some(LostReason::NoBuffer));
    assert!(matches!(rig.told.last(), Some(Told::Lost { .. })));
}
