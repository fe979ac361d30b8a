//! NOP, asynchronous messages, Reject and logout.
#![cfg(feature = "testing")]

use core::time::Duration;

use iscsi_core::config::Timeouts;
use iscsi_core::testing::{Rig, Told};
use iscsi_core::text::Limits;
use iscsi_core::wire::{
    AsyncEvent, Completion, InitiatorPdu, LogoutReason, LogoutResponseCode, NopIn, NopInKind,
    NopOutKind, RejectReason, TaskManagementResponseCode, TransferTag,
};
use iscsi_core::{
    Command, InitiatorTaskTag, LostReason, Lun, ProtocolError, SessionState, StatSn, SubmitError,
    TargetTransferTag, TaskManagement, Timer, Transfer,
};

fn transfer(tag: u32) -> TransferTag {
    TransferTag { lun: Lun::new(2).unwrap(), target_transfer_tag: TargetTransferTag(tag) }
}

fn ping(rig: &mut Rig) -> InitiatorTaskTag {
    let (connection, session) = rig.driver.ask();
    connection.ping(session);
    rig.run();
    match rig.target.expect_nop_out().kind {
        NopOutKind::Ping { immediate: true, initiator_task_tag } => initiator_task_tag,
        other => panic!("{other:?}"),
    }
}

#[test]
fn n_01_ping_of_the_target_is_answered() {
    let mut rig = Rig::scripted();
    let nop = rig.target.nop_in(NopInKind::Ping(transfer(7)));
    rig.send(nop, &[]);
    let answer = rig.target.expect_nop_out();
    assert_eq!(answer.kind, NopOutKind::PingResponse(transfer(7)));
    assert!(answer.immediate());
    assert_eq!((answer.data_segment_length, answer.cmd_sn), (0, rig.target.exp_cmd_sn));
    assert_eq!(answer.exp_stat_sn, rig.target.stat_sn, "a ping does not advance StatSN (S-02)");
}

#[test]
fn n_02_update_is_not_answered() {
    let mut rig = Rig::scripted();
    rig.target.window = 77;
    let nop = rig.target.nop_in(NopInKind::Update);
    rig.send(nop, &[]);
    assert!(rig.target.inbox.is_empty());
    assert_eq!(rig.driver.session.window_room(), 77);
}

#[test]
fn n_03_n_04_ping_with_both_tags_or_with_data() {
    let mut rig = Rig::scripted();
    let nop = rig.target.nop_in(NopInKind::Ping(transfer(7)));
    let mut bhs = [0; 48];
    nop.emit(&mut bhs);
    bhs[16..20].fill(0);
    rig.target.send_header(&bhs, &[]);
    rig.run();
    assert!(matches!(rig.violation(), Some(ProtocolError::Format(_))));

    let mut rig = Rig::scripted();
    let nop = rig.target.nop_in(NopInKind::Ping(transfer(7)));
    rig.send(nop, &[1, 2, 3]);
    assert!(matches!(rig.violation(), Some(ProtocolError::Format(_))));
}

#[test]
fn n_05_n_06_wrong_echo() {
    let mut rig = Rig::scripted();
    let itt = ping(&mut rig);
    let echo = rig.target.nop_in(NopInKind::PingResponse(itt));
    rig.send(echo, &[1]);
    assert_eq!(rig.violation(), Some(ProtocolError::NopEcho));

    let mut rig = Rig::scripted();
    let itt = InitiatorTaskTag(ping(&mut rig).0 ^ 0x100);
    let echo = rig.target.nop_in(NopInKind::PingResponse(itt));
    rig.send(echo, &[]);
    assert_eq!(rig.violation(), Some(ProtocolError::UnknownTask(itt)));
}

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

#[test]
fn n_08_ping_flood_is_answered_in_order_and_bounded() {
    for window in [usize::MAX, 48, 100] {
        let mut rig = Rig::scripted();
        rig.link.as_mut().unwrap().to_target.set_faults(iscsi_core::testing::Faults {
            window,
            ..iscsi_core::testing::Faults::NONE
        });
        for tag in 0..1000 {
            let nop = rig.target.nop_in(NopInKind::Ping(transfer(tag)));
            rig.target.send(nop, &[]);
        }
        rig.run();
        assert_eq!(rig.target.inbox.len(), 1000, "{window}");
        for tag in 0..1000 {
            let answer = rig.target.expect_nop_out();
            assert_eq!(answer.kind, NopOutKind::PingResponse(transfer(tag)));
        }
    }
}

#[test]
fn s_08_next_stat_sn_ahead_is_a_lost_response() {
    let mut rig = Rig::scripted();
    let nop = rig.target.nop_in(NopInKind::Update);
    let (expected, got) = (nop.stat_sn, StatSn(nop.stat_sn.0 + 1));
    rig.send(NopIn { stat_sn: got, ..nop }, &[]);
    assert_eq!(rig.violation(), Some(ProtocolError::StatSn { expected, got }));
}

fn notices(rig: &mut Rig) -> Vec<(AsyncEvent, Vec<u8>, u32)> {
    let mut found = Vec::new();
    while let Some(notice) = rig.driver.poll_async() {
        found.push((notice.event, notice.sense.to_vec(), notice.missed));
        rig.run();
    }
    found
}

#[test]
fn e_07_scsi_event_with_sense() {
    let mut rig = Rig::scripted();
    let event = AsyncEvent::Scsi { lun: Lun::new(4).unwrap() };
    let message = rig.target.async_message(event);
    rig.send(message, &[0, 4, 0x70, 0, 6, 9]);
    assert_eq!(rig.told, [Told::AsyncMessage]);
    assert_eq!(notices(&mut rig), [(event, vec![0x70, 0, 6, 9], 0)]);
    // Acknowledged by the next request.
    rig.read(0, 1);
    rig.run();
    assert_eq!(rig.target.expect_command().0.exp_stat_sn, rig.target.stat_sn);
}

#[test]
fn e_08_scsi_event_with_too_much_sense() {
    for sense in [2, 3, 4, 9] {
        let mut rig = Rig::scripted();
        let message = rig.target.async_message(AsyncEvent::Scsi { lun: Lun::ZERO });
        rig.send(message, &[0, sense, 0x70]);
        let error = ProtocolError::SenseLength { sense: sense.into(), data_segment: 3 };
        assert_eq!(rig.violation(), Some(error));
    }
}

#[test]
fn events_that_nobody_takes_do_not_stop_the_session() {
    let mut rig = Rig::scripted();
    for n in 0..20 {
        let message = rig.target.async_message(AsyncEvent::Vendor {
            event: 250,
            vcode: n,
            parameters: [0; 3],
        });
        rig.send(message, &[]);
    }
    let task = rig.read(0, 1);
    rig.run();
    let (command, _) = rig.target.expect_command();
    let last = rig.target.last_data_in(&command, 0, 0);
    rig.send(last, &[0; 512]);
    assert!(rig.outcome(task).is_good());
    let latest = AsyncEvent::Vendor { event: 250, vcode: 19, parameters: [0; 3] };
    assert_eq!(notices(&mut rig), [(latest, vec![], 19)]);
}

#[test]
fn e_01_requested_logout_happens_in_time_and_stops_commands() {
    let mut rig = Rig::scripted();
    rig.read(0, 1);
    rig.run();
    rig.target.expect_command();
    let message = rig.target.async_message(AsyncEvent::LogoutRequested { seconds: 5 });
    rig.send(message, &[]);
    assert_eq!(rig.state(), SessionState::LoggingOut);
    let command = Command::new(Lun::ZERO, &[0; 6], Transfer::None);
    let now = rig.clock.now();
    assert_eq!(rig.driver.session.submit(&command, now), Err(SubmitError::LoggingOut));
    rig.advance(Duration::from_secs(5));
    let logout = rig.target.received().iter().filter(|bhs| bhs[0] & 0x3f == 6).count();
    assert_eq!(logout, 1);
}

#[test]
fn e_02_e_13_logout_at_once_and_once() {
    let mut rig = Rig::scripted();
    for _ in 0..3 {
        let message = rig.target.async_message(AsyncEvent::LogoutRequested { seconds: 0 });
        rig.send(message, &[]);
    }
    let request = rig.target.expect_logout();
    assert!(rig.target.inbox.is_empty());
    let response = rig.target.logged_out(&request);
    rig.send(response, &[]);
    assert_eq!(rig.state(), SessionState::Closed);
}

#[test]
fn e_03_e_05_dropped_connection_or_session() {
    for event in [
        AsyncEvent::ConnectionDropped { cid: 0, time2wait: 0, time2retain: 1 },
        AsyncEvent::SessionDropped { time2wait: 1, time2retain: 2 },
    ] {
        let mut rig = Rig::scripted();
        let task = rig.read(0, 1);
        rig.run();
        let message = rig.target.async_message(event);
        rig.target.send(message, &[]);
        // E-14: the connection closes right behind it.
        rig.run();
        let reason = LostReason::AsyncEvent(event.to_byte());
        assert_eq!(rig.lost(task), Some(reason));
        assert_eq!(rig.state(), SessionState::Failed(reason));
    }
}

#[test]
fn e_04_e_10_e_11_other_events_only_count() {
    for event in [
        AsyncEvent::ConnectionDropped { cid: 9, time2wait: 0, time2retain: 1 },
        AsyncEvent::TasksTerminated { lun: Lun::ZERO },
        AsyncEvent::Unassigned(77),
        AsyncEvent::Vendor { event: 248, vcode: 1, parameters: [1, 2, 3] },
    ] {
        let mut rig = Rig::scripted();
        let message = rig.target.async_message(event);
        rig.send(message, &[]);
        assert_eq!(rig.state(), SessionState::LoggedIn);
        assert_eq!(notices(&mut rig), [(event, vec![], 0)]);
    }
}

#[test]
fn e_06_wish_to_negotiate_is_answered_with_an_empty_request() {
    let mut rig = Rig::scripted();
    for _ in 0..2 {
        let message = rig.target.async_message(AsyncEvent::NegotiationRequested { seconds: 3 });
        rig.send(message, &[]);
    }
    let (request, text) = rig.target.expect_text();
    assert!(request.is_final && text.is_empty() && rig.target.inbox.is_empty());
    let response = rig.target.text_response(&request, None);
    rig.send(response, &[]);
    assert_eq!(rig.state(), SessionState::LoggedIn);
}

/// Rejects the last PDU that the target received.
fn reject(rig: &mut Rig, reason: RejectReason) {
    let header = *rig.target.received().last().unwrap();
    rig.target.inbox.clear();
    let pdu = rig.target.reject(reason);
    rig.send(pdu, &header);
}

#[test]
fn j_01_c_11_rejected_command_is_aborted() {
    let mut rig = Rig::scripted();
    let task = rig.read(0, 1);
    rig.run();
    let (command, _) = rig.target.inbox[0];
    let InitiatorPdu::ScsiCommand(command) = command else { panic!() };
    reject(&mut rig, RejectReason::InvalidPduField);
    let request = rig.target.expect_task_management();
    assert_eq!(request.function.referenced_task_tag(), Some(command.initiator_task_tag));
    let complete = TaskManagementResponseCode::FunctionComplete;
    let response = rig.target.managed(&request, complete);
    rig.send(response, &[]);
    assert_eq!(rig.lost(task), Some(LostReason::Rejected(RejectReason::InvalidPduField)));
    assert_eq!(rig.state(), SessionState::LoggedIn);
}

#[test]
fn j_04_rejected_immediate_command_ends_and_its_response_is_dropped() {
    let mut rig = Rig::scripted();
    let task = rig.submit(&Command::new(Lun::ZERO, &[0; 6], Transfer::None).immediate(), &[]);
    rig.run();
    let InitiatorPdu::ScsiCommand(command) = rig.target.inbox[0].0 else { panic!() };
    let reason = RejectReason::from_byte(6);
    reject(&mut rig, reason);
    assert_eq!(rig.lost(task), Some(LostReason::Rejected(reason)));
    let response = rig.target.response(&command, Completion::GOOD);
    rig.send(response, &[]);
    assert_eq!((rig.state(), rig.told.len()), (SessionState::LoggedIn, 1));
}

#[test]
fn j_02_rejected_data_out_leaves_the_task() {
    let config = Rig::config().immediate_data(false);
    let mut rig = Rig::logged_in(config, Limits::DEFAULT);
    let task = rig.write(0, &[1; 512]);
    rig.run();
    let (command, _) = rig.target.expect_command();
    assert_eq!(rig.target.expect_data_out().1.len(), 512);
    reject(&mut rig, RejectReason::from_byte(2));
    assert!(rig.end(task).is_none());
    let response = rig.target.response(&command, Completion::GOOD);
    rig.send(response, &[]);
    assert!(rig.outcome(task).is_good());
}

#[test]
fn j_05_waiting_for_logout() {
    let mut rig = Rig::scripted();
    rig.read(0, 1);
    rig.run();
    reject(&mut rig, RejectReason::WaitingForLogout);
    assert_eq!(rig.state(), SessionState::LoggingOut);
}

#[test]
fn j_05_what_the_target_does_not_take_any_more_is_not_aborted() {
    let mut rig = Rig::scripted();
    let task = rig.read(0, 1);
    rig.run();
    reject(&mut rig, RejectReason::WaitingForLogout);
    // Nothing but the logout.
    let request = rig.target.expect_logout();
    assert!(rig.target.inbox.is_empty());
    let response = rig.target.logged_out(&request);
    rig.send(response, &[]);
    assert_eq!(rig.lost(task), Some(LostReason::LogoutRequested));
}

#[test]
fn j_07_reasons_without_a_meaning_are_protocol_errors() {
    for code in [0, 1, 0x0d, 0x55, 0xff] {
        let mut rig = Rig::scripted();
        rig.read(0, 1);
        rig.run();
        let reason = RejectReason::from_byte(code);
        reject(&mut rig, reason);
        assert_eq!(rig.violation(), Some(ProtocolError::Rejected(reason)));
    }
}

#[test]
fn j_08_reject_without_a_whole_header() {
    for len in [0, 1, 47] {
        let mut rig = Rig::scripted();
        let pdu = rig.target.reject(RejectReason::InvalidPduField);
        rig.send(pdu, &vec![1; len]);
        assert!(rig.violation().is_some(), "{len}");
    }
}

#[test]
fn j_09_j_12_reject_of_something_else_changes_nothing() {
    let mut rig = Rig::scripted();
    let task = rig.read(0, 1);
    rig.run();
    let (command, _) = rig.target.expect_command();
    let mut header = [0; 48];
    header[0] = 1;
    header[4..8].fill(0xff);
    header[16..20].copy_from_slice(&0x0055_0000u32.to_be_bytes());
    let pdu = rig.target.reject(RejectReason::InvalidPduField);
    rig.send(pdu, &header);
    assert!(rig.end(task).is_none() && rig.target.inbox.is_empty());
    let last = rig.target.last_data_in(&command, 0, 0);
    rig.send(last, &[0; 512]);
    assert!(rig.outcome(task).is_good());
}

#[test]
fn rejected_ping_counts_as_an_answer_and_a_rejected_echo_does_not() {
    let mut rig = Rig::scripted();
    let itt = ping(&mut rig);
    let nop = rig.target.nop_in(NopInKind::Ping(transfer(1)));
    rig.send(nop, &[]);
    reject(&mut rig, RejectReason::InvalidPduField); // our answer to the target's ping
    let echo = rig.target.nop_in(NopInKind::PingResponse(itt));
    rig.send(echo, &[]);
    assert_eq!(rig.state(), SessionState::LoggedIn);
    ping(&mut rig);
    reject(&mut rig, RejectReason::InvalidPduField);
    rig.advance(Duration::from_secs(4));
    assert_eq!(rig.state(), SessionState::LoggedIn);
}

/// A whole period after the reject: the ping that the target refused is not waited for any more.
#[test]
fn rejected_ping_has_no_deadline_left() {
    let timeouts = Timeouts { nop_interval: None, ..Timeouts::DEFAULT };
    let mut rig = Rig::logged_in(Rig::config().timeouts(timeouts), Limits::DEFAULT);
    ping(&mut rig);
    reject(&mut rig, RejectReason::InvalidPduField);
    assert!(!rig.driver.connection().is_pinging());
    rig.advance(Duration::from_secs(60));
    assert_eq!(rig.state(), SessionState::LoggedIn);
}

/// RFC 7143 section 11.17: a request that the target cannot read has no response of its own.
#[test]
fn rejected_task_management_and_logout_end() {
    let mut rig = Rig::scripted();
    let now = rig.clock.now();
    let id = rig.driver.session.task_management(TaskManagement::TargetWarmReset, now).unwrap();
    rig.driver.touch();
    rig.run();
    // The reject of another request is not meant.
    let mut header = *rig.target.received().last().unwrap();
    header[19] ^= 1;
    let pdu = rig.target.reject(RejectReason::InvalidPduField);
    rig.send(pdu, &header);
    assert!(rig.told.is_empty());
    reject(&mut rig, RejectReason::InvalidPduField);
    let result = Ok(TaskManagementResponseCode::FunctionRejected);
    assert_eq!(rig.told, [Told::Managed { id, result }]);

    for (flip, state) in [
        (1, SessionState::LoggingOut),
        (0, SessionState::Failed(ProtocolError::Rejected(RejectReason::InvalidPduField).into())),
    ] {
        let mut rig = Rig::scripted();
        log_out(&mut rig);
        let mut header = *rig.target.received().last().unwrap();
        header[19] ^= flip;
        let pdu = rig.target.reject(RejectReason::InvalidPduField);
        rig.send(pdu, &header);
        assert_eq!(rig.state(), state);
    }
}

/// What waits in line at a logout of the application still goes out, within the window; what waits at one of the target's does not.
#[test]
fn queued_commands_and_a_logout() {
    for by_target in [false, true] {
        let mut rig = Rig::new(Rig::config().build().unwrap(), Limits::DEFAULT, 1);
        rig.target.window = 1;
        rig.log_in();
        let tasks = [rig.read(0, 1), rig.read(1, 1)];
        rig.run();
        let (first, _) = rig.target.expect_command();
        assert!(rig.target.inbox.is_empty(), "the window is closed");
        if by_target {
            let message = rig.target.async_message(AsyncEvent::LogoutRequested { seconds: 5 });
            rig.send(message, &[]);
        } else {
            log_out(&mut rig);
        }
        let last = rig.target.last_data_in(&first, 0, 0);
        rig.send(last, &[0; 512]);
        assert!(rig.outcome(tasks[0]).is_good());
        if !by_target {
            let (second, _) = rig.target.expect_command();
            let last = rig.target.last_data_in(&second, 0, 0);
            rig.send(last, &[0; 512]);
            assert!(rig.outcome(tasks[1]).is_good());
        }
        let request = rig.target.expect_logout();
        let response = rig.target.logged_out(&request);
        rig.send(response, &[]);
        assert_eq!(rig.lost(tasks[1]).is_some(), by_target);
    }
}

fn log_out(rig: &mut Rig) {
    let now = rig.clock.now();
    rig.driver.session.logout(now).unwrap();
    rig.driver.touch();
    rig.run();
}

#[test]
fn o_01_logout_waits_for_running_tasks() {
    let mut rig = Rig::scripted();
    let task = rig.read(0, 1);
    rig.run();
    let (command, _) = rig.target.expect_command();
    log_out(&mut rig);
    assert!(rig.target.inbox.is_empty());
    let last = rig.target.last_data_in(&command, 0, 0);
    rig.send(last, &[0; 512]);
    assert!(rig.outcome(task).is_good());
    let request = rig.target.expect_logout();
    assert_eq!(request.reason, LogoutReason::CloseSession);
    let response = rig.target.logged_out(&request);
    rig.send(response, &[]);
    assert_eq!(rig.state(), SessionState::Closed);
    assert!(rig.link.is_none());
}

#[test]
fn o_01_nothing_follows_the_logout_request() {
    let timeouts = Timeouts { logout: Duration::from_secs(60), ..Timeouts::DEFAULT };
    let mut rig = Rig::logged_in(Rig::config().timeouts(timeouts), Limits::DEFAULT);
    log_out(&mut rig);
    rig.target.expect_logout();
    rig.advance(Duration::from_secs(50));
    let now = rig.clock.now();
    let (connection, session) = rig.driver.ask();
    let scope = iscsi_core::DiscoveryScope::Session;
    assert!(connection.send_targets(scope, session, now).is_err());
    connection.ping(session);
    rig.run();
    assert!(rig.target.inbox.is_empty(), "{:?}", rig.target.inbox);
    assert_eq!(rig.state(), SessionState::LoggingOut);
}

#[test]
fn o_02_every_answer_closes_the_session() {
    for code in [
        LogoutResponseCode::CidNotFound,
        LogoutResponseCode::RecoveryNotSupported,
        LogoutResponseCode::CleanupFailed,
    ] {
        let mut rig = Rig::scripted();
        log_out(&mut rig);
        let request = rig.target.expect_logout();
        let mut response = rig.target.logged_out(&request);
        response.response = code;
        rig.send(response, &[]);
        assert_eq!(rig.state(), SessionState::Closed);
    }
}

#[test]
fn o_03_unanswered_logout_ends_in_time() {
    let mut rig = Rig::scripted();
    log_out(&mut rig);
    rig.advance(Duration::from_secs(16));
    assert!(rig.link.is_none());
    assert!(!matches!(rig.state(), SessionState::LoggingOut), "{:?}", rig.state());
}

#[test]
fn logout_with_a_task_that_never_ends_is_done_in_time() {
    let mut rig = Rig::scripted();
    let task = rig.read(0, 1);
    rig.run();
    log_out(&mut rig);
    rig.advance(Duration::from_secs(16));
    assert!(rig.link.is_none() && rig.end(task).is_some());
}

#[test]
fn o_04_o_07_logout_response_that_answers_nothing() {
    let mut rig = Rig::scripted();
    log_out(&mut rig);
    let mut request = rig.target.expect_logout();
    request.initiator_task_tag = InitiatorTaskTag(0x0044_0000);
    let response = rig.target.logged_out(&request);
    rig.send(response, &[]);
    assert!(rig.violation().is_some());

    let mut rig = Rig::scripted();
    let response = rig.target.logged_out(&request);
    rig.send(response, &[]);
    assert!(rig.violation().is_some());
}

#[test]
fn o_06_end_of_stream_is_an_answer() {
    let mut rig = Rig::scripted();
    log_out(&mut rig);
    let now = rig.clock.now();
    rig.link.as_mut().unwrap().to_initiator.close_at_once(now);
    rig.run();
    assert_eq!(rig.state(), SessionState::Closed);
}

#[test]
fn o_09_f_15_what_follows_the_logout_response_is_ignored() {
    let mut rig = Rig::scripted();
    log_out(&mut rig);
    let request = rig.target.expect_logout();
    let response = rig.target.logged_out(&request);
    rig.target.send(response, &[]);
    rig.target.send_raw(&[0; 480]);
    rig.run();
    assert_eq!(rig.state(), SessionState::Closed);
    assert_eq!(rig.told.last(), Some(&Told::State(SessionState::Closed)));
}
