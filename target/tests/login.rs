//! The login phase (RFC 7143 sections 6.3, 11.12 and 11.13).

mod support;

use core::time::Duration;

use iscsi_core::text::{Digests, Limits};
use iscsi_core::wire::{
    Isid, LoginOutcome, LoginRequest, LoginStatus, NopOut, NopOutKind, Stage, TargetPdu,
};
use iscsi_core::{CmdSn, InitiatorTaskTag, StatSn};
use iscsi_target::{EndReason, Quirks};
use support::*;

const SECURITY: Stage = Stage::SecurityNegotiation;
const OPERATIONAL: Stage = Stage::LoginOperationalNegotiation;
const DONE: Option<Stage> = Some(Stage::FullFeaturePhase);

fn names() -> [String; 2] {
    [format!("InitiatorName={INITIATOR}"), format!("TargetName={TARGET}")]
}

/// Sends one request and expects it to be refused, and the connection to end.
#[track_caller]
fn refused(bench: &mut Bench, request: LoginRequest, keys: &[&str]) -> LoginStatus {
    let (response, _) = bench.exchange_login(0, request, keys);
    let LoginOutcome::Refused(status) = response.outcome else { panic!("{response:?}") };
    bench.assert_silent(0);
    assert!(bench.clients[0].connection.is_finished());
    assert_eq!(bench.clients[0].connection.end_reason(), Some(EndReason::LoginRefused(status)));
    bench.advance(Duration::from_secs(3));
    bench.assert_closed(0);
    status
}

#[test]
fn one_exchange_is_enough() {
    let mut bench = Bench::new(|_| {});
    let text =
        bench.login(0, &["MaxBurstLength=65536", "InitialR2T=No", "HeaderDigest=CRC32C,None"]);
    for key in [
        "TargetPortalGroupTag=1",
        "MaxBurstLength=65536",
        "InitialR2T=No",
        "HeaderDigest=CRC32C",
        "MaxRecvDataSegmentLength=262144",
    ] {
        assert!(text.iter().any(|pair| pair == key), "{key} in {text:?}");
    }
    let negotiated = bench.clients[0].connection.negotiated();
    assert_eq!(negotiated.max_burst_length, 65536);
    assert!(!negotiated.initial_r2t);
    let sessions: Vec<_> = bench.target.sessions().collect();
    assert_eq!(sessions.len(), 1);
    assert_eq!((sessions[0].initiator.as_str(), sessions[0].isid), (INITIATOR, ISID));
}

#[test]
fn both_stages_step_by_step() {
    let mut bench = Bench::new(|config| {
        config.alias = Some("disks".try_into().unwrap());
        config.target_portal_group_tag = 7;
    });
    let [initiator, target] = names();
    let request = bench.login_request(0, SECURITY);
    let request = LoginRequest { next_stage: Some(OPERATIONAL), ..request };
    let keys = [initiator.as_str(), &target, "SessionType=Normal", "AuthMethod=None"];
    let (response, text) = bench.exchange_login(0, request, &keys);
    let LoginOutcome::Proceed(progress) = response.outcome else { panic!() };
    assert_eq!(progress.next_stage, Some(OPERATIONAL));
    assert_eq!((progress.exp_cmd_sn, response.tsih), (request.cmd_sn, 0));
    assert!(!progress.max_cmd_sn.lt(progress.exp_cmd_sn.minus(1)));
    assert_eq!(text, ["TargetPortalGroupTag=7", "TargetAlias=disks", "AuthMethod=None"]);
    let first_stat_sn = progress.stat_sn;

    // T=0: the target must not leave the stage.
    let request = bench.login_request(0, OPERATIONAL);
    let (response, text) = bench.exchange_login(0, request, &["ImmediateData=No"]);
    let LoginOutcome::Proceed(progress) = response.outcome else { panic!() };
    assert_eq!(progress.next_stage, None);
    assert_eq!(progress.stat_sn, first_stat_sn.next());
    assert_eq!(text, ["ImmediateData=No", "MaxRecvDataSegmentLength=262144"]);

    // The TPGT and the own limit are told once.
    let request = LoginRequest { next_stage: DONE, ..request };
    let (response, text) = bench.exchange_login(0, request, &[]);
    let LoginOutcome::Proceed(progress) = response.outcome else { panic!() };
    assert!(progress.is_done() && text.is_empty());
    assert_ne!(response.tsih, 0);
    assert_eq!(progress.stat_sn, first_stat_sn.plus(2));
    assert!(!bench.clients[0].connection.negotiated().immediate_data);
}

#[test]
fn long_text_comes_in_pieces() {
    let mut bench = Bench::new(|_| {});
    let [initiator, target] = names();
    let whole = format!("{initiator}\0{target}\0MaxBurstLength=4096\0");
    // Cut within a key and within a value.
    let pieces = [&whole[..20], &whole[20..70], &whole[70..]];
    for (at, piece) in pieces.iter().enumerate() {
        let last = at == 2;
        let request = LoginRequest {
            is_continued: !last,
            next_stage: DONE.filter(|_| last),
            data_segment_length: piece.len() as u32,
            ..bench.login_request(0, OPERATIONAL)
        };
        bench.send(0, request, piece.as_bytes());
        let answer = bench.receive(0);
        let TargetPdu::LoginResponse(response) = answer.pdu() else { panic!() };
        let LoginOutcome::Proceed(progress) = response.outcome else { panic!() };
        assert_eq!(progress.is_done(), last);
        assert_eq!(answer.data.is_empty(), !last);
    }
    assert_eq!(bench.clients[0].connection.negotiated().max_burst_length, 4096);
}

#[test]
fn what_is_missing_or_wrong_is_named() {
    let [initiator, target] = names();
    let (initiator, target) = (initiator.as_str(), target.as_str());
    let cases: &[(&[&str], LoginStatus)] = &[
        (&[target], LoginStatus::MISSING_PARAMETER),
        (&[initiator], LoginStatus::MISSING_PARAMETER),
        (&[initiator, "TargetName=iqn.2001-04.com.example:other"], LoginStatus::NOT_FOUND),
        (&[initiator, target, "SessionType=Strange"], LoginStatus::SESSION_TYPE_NOT_SUPPORTED),
        (&[initiator, target, initiator], LoginStatus::INITIATOR_ERROR),
        (&["InitiatorName=nobody", target], LoginStatus::INITIATOR_ERROR),
        (&[initiator, target, "SendTargets=All"], LoginStatus::INITIATOR_ERROR),
        (
            &[initiator, target, "MaxBurstLength=1024", "FirstBurstLength=2048"],
            LoginStatus::INITIATOR_ERROR,
        ),
        (&[initiator, target, "no equals sign"], LoginStatus::INITIATOR_ERROR),
    ];
    for (keys, status) in cases {
        let mut bench = Bench::new(|_| {});
        let request = LoginRequest { next_stage: DONE, ..bench.login_request(0, OPERATIONAL) };
        assert_eq!(refused(&mut bench, request, keys), *status, "{keys:?}");
        assert_eq!(bench.target.sessions().count(), 0);
    }
}

#[test]
fn operational_keys_have_no_place_in_the_security_stage() {
    let mut bench = Bench::new(|_| {});
    let [initiator, target] = names();
    let request = bench.login_request(0, SECURITY);
    let keys = [initiator.as_str(), &target, "AuthMethod=None", "MaxBurstLength=1024"];
    assert_eq!(refused(&mut bench, request, &keys), LoginStatus::INITIATOR_ERROR);
}

#[test]
fn unknown_keys_are_answered_and_do_no_harm() {
    let mut bench = Bench::new(|_| {});
    let text = bench.login(0, &["X-com.example.color=blue", "IFMarker=No"]);
    assert!(text.contains(&"X-com.example.color=NotUnderstood".into()));
    assert!(text.iter().any(|pair| pair == "IFMarker=No" || pair == "IFMarker=Reject"));
}

#[test]
fn versions_above_zero_are_refused() {
    let mut bench = Bench::new(|_| {});
    let [initiator, target] = names();
    let request = bench.login_request(0, OPERATIONAL);
    let request = LoginRequest { version_min: 1, version_max: 3, next_stage: DONE, ..request };
    let status = refused(&mut bench, request, &[&initiator, &target]);
    assert_eq!(status, LoginStatus::UNSUPPORTED_VERSION);
}

#[test]
fn the_identity_must_not_change_on_the_way() {
    let change: [fn(&mut LoginRequest); 4] = [
        |request| request.isid = Isid::random(9, 9),
        |request| request.tsih = 5,
        |request| request.cid = 5,
        |request| request.initiator_task_tag = InitiatorTaskTag(5),
    ];
    for change in change {
        let mut bench = Bench::new(|_| {});
        let [initiator, target] = names();
        let first = bench.login_request(0, OPERATIONAL);
        bench.exchange_login(0, first, &[&initiator, &target]);
        let mut second = LoginRequest { next_stage: DONE, ..first };
        change(&mut second);
        assert_eq!(refused(&mut bench, second, &[]), LoginStatus::INITIATOR_ERROR);
    }
}

#[test]
fn the_stage_must_be_the_agreed_one() {
    let mut bench = Bench::new(|_| {});
    let [initiator, target] = names();
    let first = bench.login_request(0, OPERATIONAL);
    bench.exchange_login(0, first, &[&initiator, &target]);
    let back = bench.login_request(0, SECURITY);
    assert_eq!(refused(&mut bench, back, &[]), LoginStatus::INITIATOR_ERROR);
}

#[test]
fn endless_logins_are_ended() {
    let mut bench = Bench::new(|_| {});
    let [initiator, target] = names();
    let request = bench.login_request(0, OPERATIONAL);
    bench.exchange_login(0, request, &[&initiator, &target]);
    for _ in 0..100 {
        let (response, _) = bench.exchange_login(0, request, &[]);
        if let LoginOutcome::Refused(status) = response.outcome {
            assert_eq!(status, LoginStatus::INITIATOR_ERROR);
            return;
        }
    }
    panic!("a hundred requests");
}

#[test]
fn a_stream_that_is_no_login_is_dropped() {
    let mut bench = Bench::new(|_| {});
    let ping = NopOut {
        kind: NopOutKind::Ping { immediate: true, initiator_task_tag: InitiatorTaskTag(1) },
        data_segment_length: 0,
        cmd_sn: CmdSn(0),
        exp_stat_sn: StatSn(0),
    };
    bench.send(0, ping, &[]);
    bench.assert_closed(0);
    assert_eq!(bench.clients[0].connection.end_reason(), Some(EndReason::NotALogin));

    let mut bench = Bench::new(|_| {});
    bench.feed(0, b"GET / HTTP/1.1\r\nHost: example.com\r\nConnection: close\r\n\r\n");
    bench.assert_closed(0);

    // Later in the login it is refused by name.
    let mut bench = Bench::new(|_| {});
    let [initiator, target] = names();
    let request = bench.login_request(0, OPERATIONAL);
    bench.exchange_login(0, request, &[&initiator, &target]);
    bench.send(0, ping, &[]);
    let TargetPdu::LoginResponse(response) = bench.receive(0).pdu() else { panic!() };
    assert_eq!(response.outcome, LoginOutcome::Refused(LoginStatus::INVALID_DURING_LOGIN));
}

#[test]
fn a_silent_login_is_timed_out() {
    let mut bench = Bench::new(|config| config.login_timeout = Duration::from_secs(5));
    assert!(bench.clients[0].connection.wants().deadline.is_some());
    bench.advance(Duration::from_secs(4));
    assert!(!bench.clients[0].connection.is_closed());
    bench.advance(Duration::from_secs(1));
    bench.assert_closed(0);
    assert_eq!(bench.clients[0].connection.end_reason(), Some(EndReason::TimedOut));
}

#[test]
fn a_required_digest_is_proposed_by_the_target() {
    let mut bench = Bench::new(|config| {
        config.limits = Limits { header_digest: Digests::CRC32C, ..config.limits };
    });
    let [initiator, target] = names();
    let request = LoginRequest { next_stage: DONE, ..bench.login_request(0, OPERATIONAL) };
    let (response, text) = bench.exchange_login(0, request, &[&initiator, &target]);
    let LoginOutcome::Proceed(progress) = response.outcome else { panic!() };
    assert_eq!(progress.next_stage, None, "an answer is owed");
    assert!(text.contains(&"HeaderDigest=CRC32C".into()));
    let (response, _) = bench.exchange_login(0, request, &["HeaderDigest=CRC32C"]);
    let LoginOutcome::Proceed(progress) = response.outcome else { panic!() };
    assert!(progress.is_done());
}

#[test]
fn quirks_refuse_and_redirect() {
    let [initiator, target] = names();
    let mut bench = Bench::new(|_| {});
    *bench.target.quirks_mut() =
        Quirks { refuse_login: Some(LoginStatus::SERVICE_UNAVAILABLE), ..Quirks::default() };
    let request = LoginRequest { next_stage: DONE, ..bench.login_request(0, OPERATIONAL) };
    let status = refused(&mut bench, request, &[&initiator, &target]);
    assert_eq!(status, LoginStatus::SERVICE_UNAVAILABLE);

    let portal = "[2001:db8::1]:860".parse().unwrap();
    let mut bench = Bench::new(|_| {});
    *bench.target.quirks_mut() = Quirks { redirect: Some((portal, true)), ..Quirks::default() };
    let (response, text) = bench.exchange_login(0, request, &[&initiator, &target]);
    let status = LoginStatus::TARGET_MOVED_PERMANENTLY;
    assert_eq!(response.outcome, LoginOutcome::Refused(status));
    assert_eq!(text, ["TargetAddress=[2001:db8::1]:860"]);
}

#[test]
fn joining_a_session_follows_the_table() {
    // RFC 7143 section 6.3.1.
    let mut bench = Bench::logged_in(&[]);
    let tsih = bench.target.sessions().next().unwrap().tsih;
    let [initiator, target] = names();
    for (isid, tsih, cid, expected) in [
        (Isid::random(1, 1), 77, 1, Some(LoginStatus::SESSION_DOES_NOT_EXIST)),
        (ISID, tsih.wrapping_add(1), 1, Some(LoginStatus::SESSION_DOES_NOT_EXIST)),
        (ISID, tsih, 2, Some(LoginStatus::TOO_MANY_CONNECTIONS)),
        (ISID, tsih, 1, None),
    ] {
        let n = bench.connect();
        let request = bench.login_request(n, OPERATIONAL);
        let request = LoginRequest { isid, tsih, cid, next_stage: DONE, ..request };
        let (response, _) = bench.exchange_login(n, request, &[&initiator, &target]);
        match expected {
            Some(status) => assert_eq!(response.outcome, LoginOutcome::Refused(status)),
            None => {
                assert!(matches!(response.outcome, LoginOutcome::Proceed(p) if p.is_done()));
                assert_eq!(response.tsih, tsih);
            }
        }
    }
    // The connection was reinstated: the old one is gone.
    bench.advance(Duration::ZERO);
    bench.assert_closed(0);
    assert_eq!(bench.clients[0].connection.end_reason(), Some(EndReason::SessionEnded));
    assert_eq!(bench.target.sessions().count(), 1);
}

#[test]
fn a_full_registry_is_out_of_resources() {
    let mut bench = Bench::new(|_| {});
    for session in 0..4 {
        let n = if session == 0 { 0 } else { bench.connect() };
        bench.login_as(n, INITIATOR, Isid::random(1, session), &[]);
    }
    let n = bench.connect();
    let [initiator, target] = names();
    let request = bench.login_request(n, OPERATIONAL);
    let request = LoginRequest { isid: Isid::random(2, 2), next_stage: DONE, ..request };
    let (response, _) = bench.exchange_login(n, request, &[&initiator, &target]);
    assert_eq!(response.outcome, LoginOutcome::Refused(LoginStatus::OUT_OF_RESOURCES));
    // Room is made by whoever leaves.
    bench.clients[2].connection.received_eof(&mut bench.target);
    let n = bench.connect();
    bench.login_as(n, INITIATOR, Isid::random(2, 2), &[]);
}

#[test]
fn login_text_may_arrive_byte_by_byte() {
    let mut bench = Bench::new(|_| {});
    bench.client(0).chunk = 1;
    bench.login(0, &["HeaderDigest=CRC32C", "DataDigest=CRC32C"]);
    let (_, end) = bench.read(0, &iscsi_scsi::primary::TestUnitReady.cdb());
    end.assert_good();
}

#[test]
fn a_digest_that_is_demanded_cannot_be_declined() {
    let demanding = || {
        Bench::new(|config| {
            config.limits.header_digest = Digests::CRC32C;
            config.limits.data_digest = Digests::CRC32C;
        })
    };
    let [initiator, target] = names();
    // Declined, and the stage skipped in which they are agreed upon.
    for (stage, keys) in [
        (OPERATIONAL, &["HeaderDigest=None", "DataDigest=None"][..]),
        (SECURITY, &["AuthMethod=None"]),
    ] {
        let mut bench = demanding();
        let request = LoginRequest { next_stage: DONE, ..bench.login_request(0, stage) };
        let keys = [&[initiator.as_str(), target.as_str()], keys].concat();
        assert_eq!(refused(&mut bench, request, &keys), LoginStatus::INITIATOR_ERROR);
    }
    let mut bench = demanding();
    bench.login(0, &["HeaderDigest=CRC32C", "DataDigest=CRC32C"]);
}
