//! The life of a session: window, keep-alive, reject, logout, asynchronous messages, reinstatement.

mod support;

use core::time::Duration;

use iscsi_core::wire::{
    AsyncEvent, BHS_LEN, Isid, LogoutReason, LogoutRequest, LogoutResponseCode, NopInKind, NopOut,
    NopOutKind, RejectReason, ScsiCommand, ScsiStatus, SnackKind, SnackRequest, TargetPdu,
    TransferTag,
};
use iscsi_core::{CmdSn, InitiatorTaskTag, Lun, StatSn, TargetTransferTag};
use iscsi_scsi::block::{Read10, Write10};
use iscsi_scsi::primary::TestUnitReady;
use iscsi_target::{EndReason, Quirks};
use support::*;

fn ready(bench: &mut Bench) -> ScsiCommand {
    bench.command(0, &TestUnitReady.cdb())
}

/// The window that the last PDU told.
fn window(bench: &mut Bench, command: &ScsiCommand) -> (CmdSn, CmdSn) {
    let received = bench.receive(0);
    let TargetPdu::ScsiResponse(response) = received.pdu() else { panic!("{received:?}") };
    assert_eq!(response.initiator_task_tag, command.initiator_task_tag);
    bench.clients[0].take_status(response.stat_sn);
    (response.exp_cmd_sn, response.max_cmd_sn)
}

fn ping(itt: u32, cmd_sn: CmdSn, immediate: bool, len: usize) -> NopOut {
    NopOut {
        kind: NopOutKind::Ping { immediate, initiator_task_tag: InitiatorTaskTag(itt) },
        data_segment_length: len as u32,
        cmd_sn,
        exp_stat_sn: StatSn(0),
    }
}

fn logout(bench: &Bench, reason: LogoutReason) -> LogoutRequest {
    LogoutRequest {
        immediate: true,
        reason,
        initiator_task_tag: InitiatorTaskTag(0x10_6007),
        cmd_sn: bench.clients[0].cmd_sn,
        exp_stat_sn: StatSn(0),
    }
}

#[test]
fn the_window_moves_with_the_answers() {
    let mut bench = Bench::logged_in(&[]);
    let first = bench.clients[0].cmd_sn;
    for n in 1..10 {
        // Beyond the wrap: the first number is 0xfffffffe.
        let command = ready(&mut bench);
        bench.send(0, command, &[]);
        let (exp, max) = window(&mut bench, &command);
        assert_eq!((exp, max), (first.plus(n), first.plus(n + 127)));
    }
}

#[test]
fn numbers_outside_of_the_window_and_duplicates_are_ignored() {
    let mut bench = Bench::logged_in(&[]);
    let (first, second) = (ready(&mut bench), ready(&mut bench));
    bench.send(0, first, &[]);
    window(&mut bench, &first);
    let other = InitiatorTaskTag(0x77);
    for cmd_sn in
        [first.cmd_sn, first.cmd_sn.minus(5), second.cmd_sn.plus(128), second.cmd_sn.plus(1 << 31)]
    {
        bench.send(0, ScsiCommand { cmd_sn, initiator_task_tag: other, ..second }, &[]);
        bench.assert_silent(0);
    }
    bench.send(0, second, &[]);
    window(&mut bench, &second);
}

#[test]
fn commands_wait_for_their_turn() {
    let mut bench = Bench::logged_in(&[]);
    let commands: Vec<ScsiCommand> = (0..4).map(|_| ready(&mut bench)).collect();
    for n in [3, 1, 2] {
        bench.send(0, commands[n], &[]);
        bench.assert_silent(0);
    }
    // Twice the same, ahead of its turn.
    bench.send(0, commands[3], &[]);
    bench.send(0, ScsiCommand { initiator_task_tag: InitiatorTaskTag(99), ..commands[2] }, &[]);
    bench.assert_silent(0);
    bench.send(0, commands[0], &[]);
    for command in &commands {
        let (exp, _) = window(&mut bench, command);
        assert_eq!(exp, commands[3].cmd_sn.next());
    }
    bench.assert_silent(0);
}

#[test]
fn a_small_window_is_kept() {
    let mut bench = Bench::new(|_| {});
    *bench.target.quirks_mut() = Quirks { window: Some(2), ignore: Some(0), ..Quirks::default() };
    bench.login(0, &[]);
    let commands: Vec<ScsiCommand> = (0..3).map(|_| ready(&mut bench)).collect();
    for command in commands {
        bench.send(0, command, &[]);
    }
    // Two are never answered, the third was outside. An immediate command is fine.
    let immediate = ScsiCommand {
        immediate: true,
        ..bench.command(0, &Read10 { lba: 0, blocks: 1, ..Read10::default() }.cdb())
    };
    bench.send(0, immediate, &[]);
    let TargetPdu::DataIn(data_in) = bench.receive(0).pdu() else { panic!() };
    assert_eq!(data_in.max_cmd_sn, data_in.exp_cmd_sn.minus(1), "closed");
    bench.assert_silent(0);
}

#[test]
fn too_many_immediate_commands_are_rejected() {
    let mut bench = Bench::logged_in(&[]);
    *bench.target.quirks_mut() = Quirks { ignore: Some(0), ..Quirks::default() };
    for n in 0..3 {
        let command = ScsiCommand { immediate: true, ..ready(&mut bench) };
        bench.send(0, command, &[]);
        if n < 2 {
            bench.assert_silent(0);
        }
    }
    assert_eq!(bench.rejected(0), RejectReason::ImmediateCommandReject);
}

#[test]
fn a_tag_in_use_is_rejected() {
    let mut bench = Bench::logged_in(&[]);
    *bench.target.quirks_mut() = Quirks { ignore: Some(0), ..Quirks::default() };
    let command = ready(&mut bench);
    bench.send(0, command, &[]);
    bench.send(0, command, &[]);
    bench.assert_silent(0);
    let again = ScsiCommand { initiator_task_tag: command.initiator_task_tag, ..ready(&mut bench) };
    bench.send(0, again, &[]);
    assert_eq!(bench.rejected(0), RejectReason::TaskInProgress);
}

#[test]
fn pings_are_returned_with_their_data() {
    let mut bench = Bench::logged_in(&["MaxRecvDataSegmentLength=1000"]);
    for len in [0, 1, 999, 1000, 5000] {
        let data = pattern(len, 3);
        let cmd_sn = bench.clients[0].cmd_sn;
        bench.send(0, ping(7, cmd_sn, true, len), &data);
        let received = bench.receive(0);
        let TargetPdu::NopIn(nop) = received.pdu() else { panic!() };
        assert_eq!(nop.kind, NopInKind::PingResponse(InitiatorTaskTag(7)));
        assert_eq!(received.data, data[..len.min(1000)]);
        bench.clients[0].take_status(nop.stat_sn);
    }
    // A numbered one moves the window.
    let cmd_sn = bench.clients[0].cmd_sn;
    bench.send(0, ping(8, cmd_sn, false, 0), &[]);
    let TargetPdu::NopIn(nop) = bench.receive(0).pdu() else { panic!() };
    assert_eq!((nop.exp_cmd_sn, nop.max_cmd_sn), (cmd_sn.next(), cmd_sn.plus(128)));
}

#[test]
fn a_flood_of_pings_waits_until_answers_are_read() {
    let mut bench = Bench::logged_in(&[]);
    let cmd_sn = bench.clients[0].cmd_sn;
    for n in 0..200 {
        bench.send(0, ping(n, cmd_sn, true, 3000), &pattern(3000, n as u8));
    }
    for n in 0..200 {
        let received = bench.receive(0);
        let TargetPdu::NopIn(nop) = received.pdu() else { panic!() };
        assert_eq!(nop.kind, NopInKind::PingResponse(InitiatorTaskTag(n)));
        assert_eq!(received.data, pattern(3000, n as u8));
    }
}

#[test]
fn a_ping_does_not_wait_for_room_among_the_answers() {
    let interval = Duration::from_secs(10);
    let mut bench = Bench::new(|config| {
        config.nop_interval = Some(interval);
        config.nop_timeout = Duration::from_secs(3);
    });
    bench.login(0, &[]);
    // As many as are taken while no answer is read.
    let cmd_sn = bench.clients[0].cmd_sn;
    for n in 0..8 {
        bench.send(0, ping(n, cmd_sn, true, 0), &[]);
    }
    bench.advance(interval);
    let deadline = bench.clients[0].connection.wants().deadline.unwrap();
    assert_eq!(deadline, bench.now + Duration::from_secs(3), "a deadline that was acted on");
    for n in 0..8 {
        let TargetPdu::NopIn(nop) = bench.receive(0).pdu() else { panic!() };
        assert_eq!(nop.kind, NopInKind::PingResponse(InitiatorTaskTag(n)));
    }
    let TargetPdu::NopIn(nop) = bench.receive(0).pdu() else { panic!() };
    assert!(matches!(nop.kind, NopInKind::Ping(_)));
    bench.assert_silent(0);
    bench.advance(Duration::from_secs(3));
    bench.assert_closed(0);
}

#[test]
fn silence_is_broken_by_a_ping_that_must_be_answered() {
    let mut bench = Bench::new(|config| {
        config.nop_interval = Some(Duration::from_secs(10));
        config.nop_timeout = Duration::from_secs(3);
    });
    bench.login(0, &[]);
    bench.advance(Duration::from_secs(9));
    bench.assert_silent(0);
    bench.advance(Duration::from_secs(1));
    let TargetPdu::NopIn(nop) = bench.receive(0).pdu() else { panic!() };
    let NopInKind::Ping(transfer) = nop.kind else { panic!() };
    // It tells the next StatSN and does not take it (RFC 7143 section 11.19.2).
    assert_eq!(nop.stat_sn, bench.clients[0].stat_sn);
    bench.read(0, &TestUnitReady.cdb());
    let answer = |transfer| NopOut {
        kind: NopOutKind::PingResponse(transfer),
        data_segment_length: 0,
        cmd_sn: CmdSn(0),
        exp_stat_sn: StatSn(0),
    };
    bench.send(0, answer(transfer), &[]);
    bench.advance(Duration::from_secs(5));
    assert!(!bench.clients[0].connection.is_closed());
    // The next one stays without an answer; a wrong one does not count.
    bench.advance(Duration::from_secs(5));
    let TargetPdu::NopIn(nop) = bench.receive(0).pdu() else { panic!() };
    assert_eq!(nop.stat_sn, bench.clients[0].stat_sn);
    let wrong = TransferTag { lun: Lun::ZERO, target_transfer_tag: TargetTransferTag(1) };
    bench.send(0, answer(wrong), &[]);
    assert_eq!(bench.rejected(0), RejectReason::ProtocolError);
    bench.advance(Duration::from_secs(3));
    bench.assert_closed(0);
    assert_eq!(bench.clients[0].connection.end_reason(), Some(EndReason::TimedOut));
    assert_eq!(bench.target.sessions().count(), 0);
}

#[test]
fn bad_headers_are_rejected_and_returned() {
    let mut bench = Bench::logged_in(&[]);
    let mut header = [0; BHS_LEN];
    header[0] = 0x1c;
    header[7] = 8;
    bench.send_raw(0, &header, &[], &[9; 8]);
    let received = bench.receive(0);
    let TargetPdu::Reject(reject) = received.pdu() else { panic!() };
    assert_eq!(reject.reason, RejectReason::CommandNotSupported);
    assert_eq!(received.data, header);
    bench.clients[0].take_status(reject.stat_sn);
    // F and W both 0.
    let mut header = [0; BHS_LEN];
    header[0] = 0x01;
    bench.send_raw(0, &header, &[], &[]);
    assert_eq!(bench.rejected(0), RejectReason::InvalidPduField);
    let snack = SnackRequest {
        kind: SnackKind::Status { beg_run: StatSn(0), run_length: 0 },
        exp_stat_sn: StatSn(0),
    };
    bench.send(0, snack, &[]);
    assert_eq!(bench.rejected(0), RejectReason::SnackReject);
    // A second login phase.
    let request = bench.login_request(0, iscsi_core::wire::Stage::LoginOperationalNegotiation);
    bench.send(0, request, &[]);
    assert_eq!(bench.rejected(0), RejectReason::ProtocolError);
    // Longer than declared: passed over as a whole.
    let mut header = [0; BHS_LEN];
    header[0] = 0x40;
    header[5..8].copy_from_slice(&[4, 0, 4]);
    header[20..24].fill(0xff);
    bench.send_raw(0, &header, &[], &vec![1; 262_148]);
    assert_eq!(bench.rejected(0), RejectReason::ProtocolError);
    bench.read(0, &TestUnitReady.cdb()).1.assert_good();
}

#[test]
fn chosen_commands_are_rejected_delayed_or_ignored() {
    let mut bench = Bench::logged_in(&[]);
    *bench.target.quirks_mut() =
        Quirks { reject: Some((0, RejectReason::LongOperationReject)), ..Quirks::default() };
    let command = ready(&mut bench);
    bench.send(0, command, &[]);
    assert_eq!(bench.rejected(0), RejectReason::LongOperationReject);
    // Its number was not taken (RFC 7143 section 7.3).
    *bench.target.quirks_mut() =
        Quirks { delay: Some(Duration::from_millis(50)), ..Quirks::default() };
    bench.send(0, command, &[]);
    bench.assert_silent(0);
    bench.advance(Duration::from_millis(49));
    bench.assert_silent(0);
    let deadline = bench.clients[0].connection.wants().deadline;
    assert_eq!(deadline, Some(bench.now + Duration::from_millis(1)));
    bench.advance(Duration::from_millis(1));
    window(&mut bench, &command);
}

#[test]
fn logout_is_answered_and_closes() {
    let mut bench = Bench::logged_in(&[]);
    bench.send(0, logout(&bench, LogoutReason::CloseSession), &[]);
    let TargetPdu::LogoutResponse(response) = bench.receive(0).pdu() else { panic!() };
    assert_eq!(response.response, LogoutResponseCode::Success);
    assert!(bench.clients[0].connection.is_finished());
    assert_eq!(bench.target.sessions().count(), 0);
    // What still comes is ignored.
    let command = ready(&mut bench);
    bench.send(0, command, &[]);
    bench.assert_silent(0);
    bench.clients[0].connection.received_eof(&mut bench.target);
    bench.assert_closed(0);
    assert_eq!(bench.clients[0].connection.end_reason(), Some(EndReason::Logout));
}

#[test]
fn other_logouts_have_other_answers() {
    let mut bench = Bench::logged_in(&[]);
    for (reason, expected) in [
        (LogoutReason::CloseConnection { cid: 9 }, LogoutResponseCode::CidNotFound),
        (
            LogoutReason::RemoveConnectionForRecovery { cid: 1 },
            LogoutResponseCode::RecoveryNotSupported,
        ),
        (LogoutReason::CloseConnection { cid: 1 }, LogoutResponseCode::Success),
    ] {
        bench.send(0, logout(&bench, reason), &[]);
        let TargetPdu::LogoutResponse(response) = bench.receive(0).pdu() else { panic!() };
        assert_eq!(response.response, expected);
    }
    assert!(bench.clients[0].connection.is_finished());
}

#[test]
fn a_finished_connection_does_not_wait_for_ever() {
    let mut bench = Bench::logged_in(&[]);
    bench.send(0, logout(&bench, LogoutReason::CloseSession), &[]);
    bench.receive(0);
    assert!(bench.clients[0].connection.wants().deadline.is_some());
    bench.advance(Duration::from_secs(2));
    bench.assert_closed(0);
}

#[test]
fn the_target_can_ask_for_a_logout_and_drop() {
    let mut bench = Bench::logged_in(&["DefaultTime2Wait=5"]);
    assert!(bench.clients[0].connection.send_async(AsyncEvent::LogoutRequested { seconds: 9 }));
    let TargetPdu::AsyncMessage(message) = bench.receive(0).pdu() else { panic!() };
    assert_eq!(message.event, AsyncEvent::LogoutRequested { seconds: 9 });
    bench.clients[0].take_status(message.stat_sn);

    let now = bench.now;
    bench.clients[0].connection.drop_announced(&mut bench.target, now);
    let TargetPdu::AsyncMessage(message) = bench.receive(0).pdu() else { panic!() };
    let AsyncEvent::ConnectionDropped { cid, time2wait, .. } = message.event else { panic!() };
    assert_eq!((cid, time2wait), (1, 5));
    assert!(bench.clients[0].connection.is_finished());
    assert_eq!(bench.target.sessions().count(), 0);
}

#[test]
fn reinstatement_ends_the_old_session_and_is_told() {
    let mut bench = Bench::logged_in(&[]);
    *bench.target.quirks_mut() = Quirks { ignore: Some(0x28), ..Quirks::default() };
    let command = bench.command(0, &Read10 { lba: 0, blocks: 1, ..Read10::default() }.cdb());
    bench.send(0, command, &[]);
    let old = bench.target.sessions().next().unwrap().tsih;
    let changes = bench.target.changes();
    let n = bench.connect();
    bench.login(n, &[]);
    assert_ne!(bench.target.changes(), changes);
    assert_ne!(bench.target.sessions().next().unwrap().tsih, old);
    assert_eq!(bench.target.sessions().count(), 1);
    // The old connection notices as soon as it is served.
    let ready = ready(&mut bench);
    bench.send(0, ready, &[]);
    bench.assert_closed(0);
    assert_eq!(bench.clients[0].connection.end_reason(), Some(EndReason::SessionEnded));
    // COMMANDS CLEARED BY iSCSI PROTOCOL EVENT, once.
    let (_, end) = bench.read(n, &TestUnitReady.cdb());
    assert_eq!(end.check(), (6, 0x47, 0x7f));
    bench.read(n, &TestUnitReady.cdb()).1.assert_good();
}

#[test]
fn other_initiator_ports_are_other_sessions() {
    let mut bench = Bench::logged_in(&[]);
    let n = bench.connect();
    bench.login_as(n, INITIATOR, Isid::random(5, 5), &[]);
    let m = bench.connect();
    bench.login_as(m, "iqn.2001-04.com.example:other", ISID, &[]);
    assert_eq!(bench.target.sessions().count(), 3);
    let data = pattern(512, 8);
    let cdb = Write10 { lba: 3, blocks: 1, ..Write10::default() }.cdb();
    bench.write(n, &cdb, &data, 512).assert_good();
    for client in [0, m] {
        let (back, end) =
            bench.read(client, &Read10 { lba: 3, blocks: 1, ..Read10::default() }.cdb());
        end.assert_good();
        assert_eq!(back, data);
    }
}

#[test]
fn a_gap_in_the_status_numbers_can_be_made() {
    let mut bench = Bench::new(|_| {});
    *bench.target.quirks_mut() = Quirks { stat_sn_gap: 3, ..Quirks::default() };
    bench.login(0, &[]);
    let expected = bench.clients[0].stat_sn;
    let command = ready(&mut bench);
    bench.send(0, command, &[]);
    let TargetPdu::ScsiResponse(response) = bench.receive(0).pdu() else { panic!() };
    assert_eq!(response.stat_sn, expected.plus(3));
}

#[test]
fn the_first_command_can_be_told_of_the_power() {
    let mut bench = Bench::new(|_| {});
    *bench.target.quirks_mut() = Quirks { power_on_attention: true, ..Quirks::default() };
    bench.login(0, &[]);
    let (_, end) = bench.read(0, &TestUnitReady.cdb());
    assert_eq!((end.status, end.check()), (ScsiStatus::CheckCondition, (6, 0x29, 1)));
    bench.read(0, &TestUnitReady.cdb()).1.assert_good();
}

#[test]
fn nothing_changes_by_looking_twice() {
    let mut bench = Bench::logged_in(&[]);
    let command = bench.command(0, &Read10 { lba: 0, blocks: 9, ..Read10::default() }.cdb());
    bench.send(0, command, &[]);
    let Bench { target, clients, now } = &mut bench;
    let mut look = || {
        let mut runs: [&[u8]; 64] = [&[]; 64];
        let shown = clients[0].connection.poll_transmit(target, &mut runs, *now);
        runs[..shown].concat()
    };
    let first = look();
    assert_eq!(first, look());
    assert_eq!(first.len(), BHS_LEN + 9 * 512);
}
