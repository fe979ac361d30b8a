//! Discovery sessions and text in the full feature phase (RFC 7143 sections 4.3, 11.10, 11.11 and appendix C).

mod support;

use core::time::Duration;

use iscsi_core::wire::{
    LoginOutcome, LoginRequest, LogoutReason, LogoutRequest, LogoutResponseCode, RejectReason,
    Stage, TargetPdu, TextRequest, TransferTag,
};
use iscsi_core::{InitiatorTaskTag, Lun, StatSn, TargetTransferTag};
use iscsi_scsi::primary::TestUnitReady;
use iscsi_target::Quirks;
use support::*;

const TAG: InitiatorTaskTag = InitiatorTaskTag(0x7e87);

fn discovery(keys: &[&str]) -> Bench {
    discovery_with(keys, |_| {})
}

fn discovery_with(keys: &[&str], configure: impl FnOnce(&mut iscsi_target::TargetConfig)) -> Bench {
    let mut bench = Bench::new(configure);
    let name = format!("InitiatorName={INITIATOR}");
    let mut all = vec![name.as_str(), "SessionType=Discovery"];
    all.extend(keys);
    let request = LoginRequest {
        next_stage: Some(Stage::FullFeaturePhase),
        ..bench.login_request(0, Stage::LoginOperationalNegotiation)
    };
    let (response, text) = bench.exchange_login(0, request, &all);
    let LoginOutcome::Proceed(progress) = response.outcome else { panic!("{response:?}") };
    assert!(progress.is_done());
    // There is no target yet, so it has no portal group.
    assert!(!text.iter().any(|pair| pair.starts_with("TargetPortalGroupTag")));
    bench.clients[0].stat_sn = progress.stat_sn.next();
    bench
}

fn request(bench: &mut Bench, transfer: Option<TransferTag>, len: usize) -> TextRequest {
    let cmd_sn = bench.clients[0].cmd_sn;
    bench.clients[0].cmd_sn = cmd_sn.next();
    TextRequest {
        immediate: false,
        is_final: true,
        is_continued: false,
        transfer,
        data_segment_length: len as u32,
        initiator_task_tag: TAG,
        cmd_sn,
        exp_stat_sn: StatSn(0),
    }
}

/// Sends text in one request.
fn ask(bench: &mut Bench, text: &str) {
    let pdu = request(bench, None, text.len());
    bench.send(0, pdu, text.as_bytes());
}

/// Sends text and collects the whole answer; and how many PDUs it took.
fn answer(bench: &mut Bench, text: &str) -> (String, usize) {
    ask(bench, text);
    let mut all = Vec::new();
    for pdus in 1.. {
        let received = bench.receive(0);
        let TargetPdu::TextResponse(response) = received.pdu() else { panic!("{received:?}") };
        assert_eq!(response.initiator_task_tag, TAG);
        bench.clients[0].take_status(response.stat_sn);
        all.extend(&received.data);
        if response.is_final() {
            return (String::from_utf8(all).unwrap(), pdus);
        }
        if !response.is_continued {
            assert_eq!(all.last(), Some(&0), "cut between pairs");
        }
        let pdu = request(bench, response.transfer, 0);
        bench.send(0, pdu, &[]);
    }
    unreachable!()
}

#[test]
fn all_tells_name_and_address() {
    let mut bench = discovery(&[]);
    let expected = format!("TargetName={TARGET}\0TargetAddress=127.0.0.1:3260,1\0");
    assert_eq!(answer(&mut bench, "SendTargets=All\0"), (expected, 1));
}

#[test]
fn portals_of_the_settings_come_first() {
    let mut bench = discovery_with(&[], |config| {
        config.target_portal_group_tag = 9;
        for portal in ["192.0.2.1:3261", "[2001:db8::1]:3260"] {
            config.portals.push(portal.parse().unwrap()).unwrap();
        }
    });
    let expected = format!(
        "TargetName={TARGET}\0TargetAddress=192.0.2.1:3261,9\0TargetAddress=[2001:db8::1]:3260,9\0"
    );
    assert_eq!(answer(&mut bench, "SendTargets=All\0").0, expected);
    assert_eq!(answer(&mut bench, &format!("SendTargets={TARGET}\0")).0, expected);
}

#[test]
fn an_unknown_name_gets_an_empty_answer() {
    let mut bench = discovery(&[]);
    let text = "SendTargets=iqn.2001-04.com.example:nobody\0";
    assert_eq!(answer(&mut bench, text), (String::new(), 1));
}

#[test]
fn long_answers_come_in_pieces() {
    for (limit, piece) in [(512, None), (8192, None), (8192, Some(100)), (8192, Some(1))] {
        let limit = format!("MaxRecvDataSegmentLength={limit}");
        let mut bench = discovery(&[&limit]);
        let extra_targets = if piece == Some(1) { 3 } else { 300 };
        *bench.target.quirks_mut() =
            Quirks { extra_targets, text_piece: piece, ..Quirks::default() };
        let (text, pdus) = answer(&mut bench, "SendTargets=All\0");
        assert!(pdus > 1, "{limit} {piece:?}");
        let names = text.split('\0').filter(|pair| pair.starts_with("TargetName="));
        let names: Vec<&str> = names.collect();
        assert_eq!(names.len(), 1 + usize::from(extra_targets));
        assert_eq!(names[3], format!("TargetName={TARGET}.extra-2"));
        let addresses = text.split('\0').filter(|pair| pair.starts_with("TargetAddress="));
        assert_eq!(addresses.count(), names.len());
        // The exchange is over: the next one starts anew.
        assert_eq!(answer(&mut bench, "SendTargets=iqn.2001-04.com.example:nobody\0").1, 1);
    }
}

#[test]
fn a_request_may_come_in_pieces() {
    let mut bench = discovery(&[]);
    let first = TextRequest { is_final: false, is_continued: true, ..request(&mut bench, None, 7) };
    bench.send(0, first, b"SendTar");
    let received = bench.receive(0);
    let TargetPdu::TextResponse(response) = received.pdu() else { panic!() };
    assert!(received.data.is_empty() && !response.is_final());
    let second = request(&mut bench, response.transfer, 9);
    bench.send(0, second, b"gets=All\0");
    let received = bench.receive(0);
    assert!(received.text().contains(&format!("TargetName={TARGET}")));
}

#[test]
fn a_new_request_resets_the_old_one() {
    let mut bench = discovery(&["MaxRecvDataSegmentLength=512"]);
    *bench.target.quirks_mut() = Quirks { extra_targets: 50, ..Quirks::default() };
    ask(&mut bench, "SendTargets=All\0");
    let TargetPdu::TextResponse(response) = bench.receive(0).pdu() else { panic!() };
    assert!(!response.is_final());
    bench.clients[0].take_status(response.stat_sn);
    let (text, _) = answer(&mut bench, &format!("SendTargets={TARGET}\0"));
    assert_eq!(text.matches("TargetName").count(), 1);
}

#[test]
fn requests_that_make_no_sense_are_rejected() {
    for text in [
        "SendTargets=\0",
        "SendTargets=All\0SendTargets=All\0",
        "SendTargets=All\0MaxRecvDataSegmentLength=1024\0",
        "MaxRecvDataSegmentLength=1024\0",
        "SendTargets",
        "",
    ] {
        let mut bench = discovery(&[]);
        ask(&mut bench, text);
        assert_eq!(bench.rejected(0), RejectReason::ProtocolError, "{text:?}");
        assert_eq!(answer(&mut bench, "SendTargets=All\0").1, 1);
    }
    // A tag that was never given.
    let mut bench = discovery(&[]);
    let transfer = TransferTag { lun: Lun::ZERO, target_transfer_tag: TargetTransferTag(3) };
    let pdu = request(&mut bench, Some(transfer), 0);
    bench.send(0, pdu, &[]);
    assert_eq!(bench.rejected(0), RejectReason::ProtocolError);
}

#[test]
fn nothing_else_is_served() {
    let mut bench = discovery(&[]);
    let command = bench.command(0, &TestUnitReady.cdb());
    bench.send(0, command, &[]);
    assert_eq!(bench.rejected(0), RejectReason::ProtocolError);
    bench.clients[0].cmd_sn = command.cmd_sn;
    let logout = |reason, cmd_sn| LogoutRequest {
        immediate: true,
        reason,
        initiator_task_tag: TAG,
        cmd_sn,
        exp_stat_sn: StatSn(0),
    };
    let cmd_sn = bench.clients[0].cmd_sn;
    bench.send(0, logout(LogoutReason::CloseConnection { cid: 1 }, cmd_sn), &[]);
    assert_eq!(bench.rejected(0), RejectReason::ProtocolError);
    bench.send(0, logout(LogoutReason::CloseSession, cmd_sn), &[]);
    let TargetPdu::LogoutResponse(response) = bench.receive(0).pdu() else { panic!() };
    assert_eq!(response.response, LogoutResponseCode::Success);
}

#[test]
fn an_idle_discovery_session_is_ended() {
    let mut bench =
        discovery_with(&[], |config| config.discovery_timeout = Duration::from_secs(30));
    bench.advance(Duration::from_secs(30));
    bench.assert_silent(0);
    assert!(bench.clients[0].connection.is_finished());
    assert_eq!(bench.target.sessions().count(), 0);
}

#[test]
fn a_normal_session_may_ask_for_its_own_target() {
    let mut bench = Bench::logged_in(&[]);
    let expected = format!("TargetName={TARGET}\0TargetAddress=127.0.0.1:3260,1\0");
    assert_eq!(answer(&mut bench, "SendTargets=\0").0, expected);
    assert_eq!(answer(&mut bench, &format!("SendTargets={TARGET}\0")).0, expected);
    for text in ["SendTargets=All\0", "SendTargets=iqn.2001-04.com.example:other\0"] {
        ask(&mut bench, text);
        assert_eq!(bench.rejected(0), RejectReason::ProtocolError);
    }
}

#[test]
fn the_own_limit_can_be_declared_anew() {
    let mut bench = Bench::logged_in(&["MaxRecvDataSegmentLength=1024"]);
    // In two steps: nothing acts before the end.
    let text = "MaxRecvDataSegmentLength=2048\0InitiatorAlias=me\0";
    let first = TextRequest { is_final: false, ..request(&mut bench, None, text.len()) };
    bench.send(0, first, text.as_bytes());
    let TargetPdu::TextResponse(response) = bench.receive(0).pdu() else { panic!() };
    bench.clients[0].take_status(response.stat_sn);
    assert_eq!(
        bench.clients[0].connection.negotiated().initiator_max_recv_data_segment_length,
        1024
    );
    let second = request(&mut bench, response.transfer, 0);
    bench.send(0, second, &[]);
    let TargetPdu::TextResponse(response) = bench.receive(0).pdu() else { panic!() };
    assert!(response.is_final());
    bench.clients[0].take_status(response.stat_sn);
    assert_eq!(
        bench.clients[0].connection.negotiated().initiator_max_recv_data_segment_length,
        2048
    );
    let cdb = iscsi_scsi::block::Read10 { lba: 0, blocks: 4, ..Default::default() }.cdb();
    let command = bench.command(0, &cdb);
    bench.send(0, command, &[]);
    let TargetPdu::DataIn(data_in) = bench.receive(0).pdu() else { panic!() };
    assert_eq!(data_in.data_segment_length, 2048);
}

#[test]
fn session_wide_keys_cannot_be_changed_any_more() {
    let mut bench = Bench::logged_in(&[]);
    ask(&mut bench, "MaxBurstLength=512\0");
    assert_eq!(bench.rejected(0), RejectReason::ProtocolError);
    assert_eq!(
        answer(&mut bench, "X-com.example.wish=1\0").0,
        "X-com.example.wish=NotUnderstood\0"
    );
}
