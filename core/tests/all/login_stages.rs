//! The stage machine of the login: rows L-01 to L-47 of the conformance matrix that concern headers and text.

use iscsi_core::auth::{AuthRule, Entropy, RecentChallenges};
use iscsi_core::config::SecurityStart;
use iscsi_core::login::{Identity, Login, LoginError, LoginRule, Step};
use iscsi_core::text::{Digests, Key, KeyRule, TextRule};
use iscsi_core::wire::{Isid, LoginOutcome, LoginProgress, LoginResponse, LoginStatus};
use iscsi_core::{CmdSn, Config, InitiatorTaskTag, Negotiated, StatSn};
use proptest::prelude::*;

use crate::login_support::{FULL_FEATURE, OPERATIONAL, SECURITY, Script, identity, name, normal};

/// A login that stands in the operational stage, its offers sent.
fn operational() -> Script {
    let config = normal().security_start(SecurityStart::Skip).build().unwrap();
    Script::start(config)
}

fn rule(result: Result<Step, LoginError>) -> LoginRule {
    match result {
        Err(LoginError::Rule(rule)) => rule,
        other => panic!("{other:?}"),
    }
}

fn key_rule(result: Result<Step, LoginError>) -> KeyRule {
    match result {
        Err(LoginError::Key(error)) => error.rule,
        other => panic!("{other:?}"),
    }
}

/// Changes a fitting response to `next` and takes it.
fn altered(
    mut script: Script,
    next: Option<iscsi_core::wire::Stage>,
    alter: impl FnOnce(&mut LoginResponse, &mut LoginProgress),
) -> Result<Step, LoginError> {
    let mut response = script.fitting(next);
    if let LoginOutcome::Proceed(mut progress) = response.outcome {
        alter(&mut response, &mut progress);
        response.outcome = LoginOutcome::Proceed(progress);
    }
    script.take(response, "")
}

#[test]
fn the_usual_login_takes_two_exchanges() {
    let config = normal().initiator_alias("build host").build().unwrap();
    let mut script = Script::start(config);
    assert_eq!(
        script.sent,
        "InitiatorName=iqn.2001-04.com.example:host;InitiatorAlias=build host;\
         TargetName=iqn.2001-04.com.example:disk;SessionType=Normal;AuthMethod=None;"
    );
    assert_eq!(
        (script.request.current_stage, script.request.next_stage),
        (SECURITY, Some(OPERATIONAL))
    );
    script.answer(Some(OPERATIONAL), "AuthMethod=None;TargetPortalGroupTag=3;").unwrap();
    assert_eq!(
        (script.request.current_stage, script.request.next_stage),
        (OPERATIONAL, Some(FULL_FEATURE))
    );
    assert!(script.sent.starts_with("HeaderDigest=None,CRC32C;"));
    // Declarations are made once on a connection.
    assert!(!script.sent.contains("Name=") && !script.sent.contains("SessionType"));
    let negotiated = script.done("MaxRecvDataSegmentLength=65536;TargetAlias=disk one;");
    assert_eq!(negotiated.target_portal_group_tag, Some(3));
    assert_eq!(negotiated.target_max_recv_data_segment_length, 65_536);
    assert_eq!(script.login.target_alias(), Some("disk one"));
    assert!(!script.login.is_authenticated());
}

#[test]
fn l01_a_login_can_begin_in_the_operational_stage() {
    let mut script = operational();
    assert_eq!(
        (script.request.current_stage, script.request.next_stage),
        (OPERATIONAL, Some(FULL_FEATURE))
    );
    assert!(script.sent.contains("InitiatorName=") && script.sent.contains("MaxBurstLength="));
    assert!(!script.sent.contains("AuthMethod"));
    script.done("");
    assert_eq!(script.login.exp_stat_sn(), StatSn(0x1001));
}

#[test]
fn discovery_sessions_say_so_and_need_no_target() {
    let config = Config::discovery(name("iqn.2001-04.com.example:host")).build().unwrap();
    let mut script = Script::start(config);
    assert_eq!(
        script.sent,
        "InitiatorName=iqn.2001-04.com.example:host;SessionType=Discovery;AuthMethod=None;"
    );
    script.answer(Some(OPERATIONAL), "AuthMethod=None;").unwrap();
    assert!(!script.sent.contains("Digest") && !script.sent.contains("MaxBurstLength"));
    let negotiated = script.done("ErrorRecoveryLevel=0;");
    assert_eq!((negotiated.error_recovery_level, negotiated.max_connections), (0, 1));
}

#[test]
fn headers_carry_the_identity() {
    let mut script = Script::start(normal().build().unwrap());
    let header = script.login.header(&script.request);
    assert_eq!(header.data_segment_length as usize, script.sent.len());
    assert_eq!((header.isid, header.tsih, header.cid), (identity().isid, 0, 0));
    assert_eq!((header.cmd_sn, header.exp_stat_sn), (CmdSn(100), StatSn(0)));
    assert_eq!(header.initiator_task_tag, InitiatorTaskTag(5));
    assert_eq!((header.version_max, header.version_min), (0, 0));
    script.answer(Some(OPERATIONAL), "").unwrap();
    let header = script.login.header(&script.request);
    assert_eq!((header.cmd_sn, header.exp_stat_sn), (CmdSn(100), StatSn(0x1001)));
    assert_eq!(header.current_stage, OPERATIONAL);
    assert!(header.next_stage == Some(FULL_FEATURE) && !header.is_continued);
}

#[test]
fn l03_to_l09_headers_that_do_not_fit() {
    let stage = |next, alter: fn(&mut LoginResponse, &mut LoginProgress)| {
        rule(altered(operational(), next, alter))
    };
    let done = Some(FULL_FEATURE);
    assert_eq!(
        stage(done, |r, _| r.initiator_task_tag = InitiatorTaskTag(6)),
        LoginRule::InitiatorTaskTag
    );
    assert_eq!(stage(done, |r, _| r.isid = Isid::random(1, 1)), LoginRule::Isid);
    assert_eq!(stage(None, |_, p| p.current_stage = SECURITY), LoginRule::CurrentStage);
    assert_eq!(stage(done, |r, _| r.tsih = 0), LoginRule::TsihZero);
    assert_eq!(stage(done, |r, _| r.version_active = 1), LoginRule::Version);

    let security = || Script::start(normal().build().unwrap());
    assert_eq!(rule(altered(security(), done, |_, _| {})), LoginRule::NextStage);
    assert_eq!(rule(altered(security(), Some(SECURITY), |_, _| {})), LoginRule::NextStage);
    assert_eq!(rule(altered(operational(), Some(SECURITY), |_, _| {})), LoginRule::NextStage);
}

#[test]
fn l07_a_target_may_not_change_the_stage_unasked() {
    let chap = iscsi_core::auth::Chap::new(
        "alice",
        iscsi_core::auth::Secret::new("secret-of-alice").unwrap(),
    );
    let mut script = Script::start(normal().chap(chap.unwrap()).build().unwrap());
    assert_eq!(script.request.next_stage, None);
    let step = script.answer(Some(OPERATIONAL), "AuthMethod=CHAP;");
    assert_eq!(rule(step), LoginRule::TransitNotRequested);
}

#[test]
fn l11_a_target_that_takes_its_time_is_asked_again() {
    let mut script = Script::start(normal().build().unwrap());
    script.answer(None, "AuthMethod=None;").unwrap();
    assert_eq!((script.sent.as_str(), script.request.next_stage), ("", Some(OPERATIONAL)));
    script.answer(Some(OPERATIONAL), "").unwrap();
    script.answer(None, "HeaderDigest=None;").unwrap();
    assert_eq!((script.sent.as_str(), script.request.next_stage), ("", Some(FULL_FEATURE)));
    script.answer(None, "MaxBurstLength=65536;OFMarker=Yes;NewKey=1;").unwrap();
    assert_eq!(script.sent, "OFMarker=No;NewKey=NotUnderstood;");
    assert_eq!(script.request.next_stage, Some(FULL_FEATURE));
    assert_eq!(script.done("FirstBurstLength=512;").max_burst_length, 65_536);
}

#[test]
fn l12_to_l14_endless_logins_end() {
    let mut script = operational();
    for _ in 1..32 {
        script.answer(None, "").unwrap();
    }
    assert_eq!(rule(script.answer(None, "")), LoginRule::TooManyExchanges);

    let mut script = operational();
    for _ in 1..32 {
        script.continued("A=").unwrap();
    }
    assert_eq!(rule(script.continued("A=")), LoginRule::TooManyExchanges);

    let mut script = operational();
    let long = "x".repeat(65_537);
    assert_eq!(rule(script.continued(&long)), LoginRule::TextTooLong);

    let config = normal().security_start(SecurityStart::Skip).login_exchanges(6);
    let mut script = Script::start(config.build().unwrap());
    for _ in 1..6 {
        script.answer(None, "").unwrap();
    }
    assert_eq!(rule(script.answer(None, "")), LoginRule::TooManyExchanges);
}

#[test]
fn l15_continued_text_acts_only_when_complete() {
    let text = "MaxBurstLength=65536;OFMarker=Yes;";
    for cut in 0..text.len() {
        let mut script = operational();
        script.continued(&text[..cut]).unwrap();
        assert_eq!((script.sent.as_str(), script.request.is_continued), ("", false));
        assert_eq!(script.request.next_stage, Some(FULL_FEATURE));
        script.answer(None, text).unwrap();
        assert_eq!(script.sent, "OFMarker=No;");
        assert_eq!(script.done("").max_burst_length, 65_536);
    }
}

#[test]
fn long_text_of_this_side_goes_out_in_pieces() {
    // 700 unknown keys ask for 14700 bytes of answers.
    let keys: String = (0..700).map(|n| format!("K{n:03}=1;")).collect();
    let mut script = operational();
    script.answer(None, &keys).unwrap();
    let first = script.sent.clone();
    assert_eq!(first.len(), 8192);
    assert!(script.request.is_continued && script.request.next_stage.is_none());
    script.answer(None, "").unwrap();
    assert!(!script.request.is_continued && script.request.next_stage == Some(FULL_FEATURE));
    let whole = first + &script.sent;
    let expected: String = (0..700).map(|n| format!("K{n:03}=NotUnderstood;")).collect();
    assert_eq!(whole, expected);
    script.done("");

    for (next, text) in [(None, "HeaderDigest=None;"), (Some(FULL_FEATURE), "")] {
        let mut script = operational();
        script.answer(None, &keys).unwrap();
        let expected = match next {
            None => LoginRule::TextNotAwaited,
            Some(_) => LoginRule::TransitNotRequested,
        };
        assert_eq!(rule(script.answer(next, text)), expected);
    }
    let mut script = operational();
    script.answer(None, &keys).unwrap();
    assert_eq!(rule(script.continued("")), LoginRule::TextNotAwaited);
}

#[test]
fn an_area_that_is_too_short_fails_the_login() {
    let config = normal().build().unwrap();
    let mut login = Login::new(identity(), Entropy::new([0; 64]));
    let error = login.start(&config, &mut [0; 64]).unwrap_err();
    assert_eq!(error, LoginError::Rule(LoginRule::RequestTooLong));
    let login = Login::new(identity(), Entropy::new([0; 64]));
    let mut script = Script::start_with(login, config, 160);
    assert_eq!(rule(script.answer(Some(OPERATIONAL), "")), LoginRule::RequestTooLong);
    let login = Login::new(identity(), Entropy::new([0; 64]));
    let mut script = Script::start_with(login, normal().build().unwrap(), 400);
    script.answer(Some(OPERATIONAL), "").unwrap();
    let keys: String = (0..100).map(|n| format!("K{n:03}=1;")).collect();
    assert_eq!(key_rule(script.answer(None, &keys)), KeyRule::AnswersTooLong);
}

#[test]
fn l16_and_l17_the_tsih_of_a_new_session_comes_last() {
    let mut script = Script::start(normal().build().unwrap());
    let mut early = script.fitting(Some(OPERATIONAL));
    early.tsih = 77;
    script.take(early, "AuthMethod=None;").unwrap();
    script.done("");
}

#[test]
fn l18_and_l44_a_connection_that_joins_a_session() {
    let mut established = Negotiated::DEFAULT;
    established.max_burst_length = 65_536;
    let identity = Identity { tsih: 9, cid: 1, ..identity() };
    let joining = || {
        let login = Login::joining(identity, Entropy::new([0; 64]), established);
        Script::start_with(login, normal().build().unwrap(), 8192)
    };
    let mut script = joining();
    assert!(script.sent.starts_with("InitiatorName=") && !script.sent.contains("SessionType"));
    assert_eq!(script.login.header(&script.request).cid, 1);
    script.answer(Some(OPERATIONAL), "AuthMethod=None;").unwrap();
    assert_eq!(
        script.sent,
        "HeaderDigest=None,CRC32C;DataDigest=None,CRC32C;MaxRecvDataSegmentLength=262144;"
    );
    let negotiated = script.done("HeaderDigest=CRC32C;");
    assert_eq!(negotiated.max_burst_length, 65_536);
    assert_eq!(negotiated.header_digest, iscsi_core::digest::DigestKind::Crc32c);
    assert_eq!(rule(altered(joining(), None, |r, _| r.tsih = 8)), LoginRule::Tsih);
    assert_eq!(rule(altered(joining(), None, |r, _| r.tsih = 0)), LoginRule::Tsih);
}

#[test]
fn l20_to_l22_refusals_keep_their_status() {
    for (class, details) in
        [(2, 0..=0x0b_u8), (3, 0..=2), (2, 0x77..=0x77), (4, 0..=0), (0x0f, 1..=1)]
    {
        for detail in details {
            let mut script = operational();
            let step = script.refuse(class, detail, "").unwrap();
            assert_eq!(step, Step::Refused(LoginStatus { class, detail }));
            // The login has ended.
            assert_eq!(rule(script.answer(None, "")), LoginRule::NotRunning);
        }
    }
    // Class 1 with an unknown detail names no address that could be trusted to be one.
    let step = operational().refuse(1, 9, "TargetAddress=192.0.2.1;").unwrap();
    assert_eq!(step, Step::Refused(LoginStatus { class: 1, detail: 9 }));
}

#[test]
fn l23_to_l28_redirects() {
    for (detail, permanent) in [(1, false), (2, true)] {
        let mut script = Script::start(normal().build().unwrap());
        let step = script.refuse(1, detail, "TargetAddress=192.0.2.9:3261;").unwrap();
        assert_eq!(step, Step::Redirect { permanent });
        let portal = script.login.redirect().unwrap();
        assert_eq!((portal.host(), portal.port()), ("192.0.2.9", 3261));
    }
    // A portal group tag does not belong there and does no harm; nor does another key, or a second address.
    for text in [
        "TargetAddress=[2001:db8::1]:3260,7;",
        "TargetName=iqn.other;TargetAddress=[2001:db8::1];TargetAddress=192.0.2.1;",
    ] {
        let mut script = operational();
        assert_eq!(script.refuse(1, 1, text).unwrap(), Step::Redirect { permanent: false });
        assert_eq!(script.login.redirect().unwrap().host(), "2001:db8::1");
    }
    for text in ["", "TargetAddress=;", "TargetAddress=[::1;", "TargetAlias=x;", "garbage"] {
        let step = operational().refuse(1, 1, text);
        assert_eq!(rule(step), LoginRule::RedirectAddress, "{text}");
    }
}

#[test]
fn l29_and_l30_stat_sn_advances_by_one() {
    for first in [0, 0x7fff_ffff, 0xffff_ffff] {
        let mut script = Script::start(normal().build().unwrap());
        script.stat_sn = first;
        script.answer(Some(OPERATIONAL), "").unwrap();
        assert_eq!(script.login.exp_stat_sn(), StatSn(first.wrapping_add(1)));
        script.continued("").unwrap();
        script.done("");
        assert_eq!(script.login.exp_stat_sn(), StatSn(first.wrapping_add(3)));
    }
    for step in [0, 2, u32::MAX] {
        let mut script = Script::start(normal().build().unwrap());
        script.answer(Some(OPERATIONAL), "").unwrap();
        script.stat_sn = script.stat_sn.wrapping_add(step).wrapping_sub(1);
        assert_eq!(rule(script.answer(Some(FULL_FEATURE), "")), LoginRule::StatSn);
    }
}

#[test]
fn l36_to_l39_the_portal_group() {
    let expecting = || {
        let config = normal().expected_target_portal_group_tag(1);
        Script::start(config.build().unwrap())
    };
    let tag = |text: &str| expecting().answer(Some(OPERATIONAL), text);
    assert!(tag("TargetPortalGroupTag=1;").is_ok());
    assert!(tag("").is_ok());
    assert_eq!(rule(tag("TargetPortalGroupTag=2;")), LoginRule::PortalGroup);
    assert_eq!(key_rule(tag("TargetPortalGroupTag=70000;")), KeyRule::OutOfRange);
    let mut script = operational();
    assert_eq!(script.done("").target_portal_group_tag, None);
    let mut script = operational();
    assert_eq!(script.done("TargetPortalGroupTag=0;").target_portal_group_tag, Some(0));
}

#[test]
fn l40_to_l42_keys_out_of_place() {
    let mut script = Script::start(normal().build().unwrap());
    let step = script.answer(Some(OPERATIONAL), "MaxBurstLength=65536;");
    assert_eq!(key_rule(step), KeyRule::WrongStage);
    for key in [Key::InitiatorName, Key::SessionType, Key::SendTargets] {
        let step = operational().answer(None, &format!("{key}=x;"));
        assert_eq!(key_rule(step), KeyRule::WrongSender);
    }
    let mut script = operational();
    script.answer(None, "TargetName=iqn.2001-04.com.example:other;").unwrap();
    assert_eq!(script.sent, "");
    script.done("");
}

#[test]
fn l46_offers_without_an_answer() {
    let mut script = operational();
    let negotiated = script.done("");
    assert!(negotiated.initial_r2t && negotiated.immediate_data);
    assert_eq!((negotiated.max_burst_length, negotiated.first_burst_length), (262_144, 65_536));
    assert_eq!((negotiated.max_outstanding_r2t, negotiated.default_time2retain), (1, 20));
    let config = normal().security_start(SecurityStart::Skip).data_digest(Digests::CRC32C);
    let mut script = Script::start(config.build().unwrap());
    let step = script.answer(Some(FULL_FEATURE), "");
    assert_eq!(key_rule(step), KeyRule::Unanswered);
}

#[test]
fn l47_the_last_response_asks_for_nothing() {
    let mut script = operational();
    // Everything was offered, so a proposal is of a key that was not.
    let step = script.answer(Some(FULL_FEATURE), "OFMarker=Yes;");
    assert_eq!(rule(step), LoginRule::AnswerOwed);
    // Neither a boolean that decides nor an unknown key, which may be a declaration, stops the login.
    operational().done("OFMarker=No;X-com.example.key=1;");
}

#[test]
fn k28_k36_and_k45_failures_of_text() {
    let step = operational().answer(None, "MaxBurstLength=512;MaxBurstLength=512;");
    assert_eq!(key_rule(step), KeyRule::Repeated);
    let mut script = operational();
    script.answer(None, "MaxBurstLength=512;").unwrap();
    assert_eq!(key_rule(script.answer(None, "MaxBurstLength=512;")), KeyRule::Repeated);

    let step = operational().answer(Some(FULL_FEATURE), "MaxBurstLength=512");
    let Err(LoginError::Text(error)) = step else { panic!("{step:?}") };
    assert_eq!((error.rule, error.at), (TextRule::TerminatorMissing, 0));
    let config = normal().security_start(SecurityStart::Skip).lenient_text(true);
    let mut lenient = Script::start(config.build().unwrap());
    assert_eq!(lenient.done("MaxBurstLength=512").max_burst_length, 512);

    // A failed login has ended; nothing of it acts on the next.
    let mut script = operational();
    script.answer(None, "MaxBurstLength=512;").unwrap();
    script.answer(None, "broken;").unwrap_err();
    assert_eq!(rule(script.answer(Some(FULL_FEATURE), "")), LoginRule::NotRunning);
    assert_eq!(operational().done("").max_burst_length, 262_144);
}

#[test]
fn a_login_serves_once() {
    let config = normal().build().unwrap();
    let mut script = Script::start(config.clone());
    let again = script.login.start(&config, &mut [0; 8192]);
    assert_eq!(again, Err(LoginError::Rule(LoginRule::NotRunning)));
    let mut idle = Login::IDLE;
    let start = idle.start(&config, &mut [0; 8192]);
    assert_eq!(start, Err(LoginError::Rule(LoginRule::NotRunning)));
    let response = script.fitting(None);
    let mut recent = RecentChallenges::new();
    let step = idle.response(&response, b"", &config, &mut recent, &mut [0; 8192]);
    assert_eq!(rule(step), LoginRule::NotRunning);
}

#[test]
fn the_errors_name_their_section() {
    let mut script = operational();
    let error = script.answer(None, "MaxBurstLength=9999999;").unwrap_err();
    assert_eq!(error.section(), "6.2.2");
    assert_eq!(
        error.to_string(),
        "MaxBurstLength: the answer is larger than the offer (RFC 7143 section 6.2.2)"
    );
    assert_eq!(LoginError::Auth(AuthRule::Skipped).section(), "9.2");
}

proptest! {
    /// Whatever a target says, the login ends or goes on, within its bounds.
    #[test]
    fn hostile_targets_never_panic(
        responses in prop::collection::vec(
            (any::<bool>(), any::<bool>(), prop::collection::vec(any::<u8>(), 0..64), pieces()),
            1..40,
        ),
    ) {
        let mut script = Script::start(normal().build().unwrap());
        for (transit, garbage, bytes, text) in responses {
            let next = script.request.next_stage.filter(|_| transit);
            let step = match garbage {
                true => script.take_bytes(script.fitting(next), &bytes),
                false => script.answer(next, &text),
            };
            match step {
                Ok(Step::Send(request)) => prop_assert!(request.text.len() <= 8192),
                _ => break,
            }
        }
    }
}

fn pieces() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "AuthMethod=None;",
        "AuthMethod=CHAP;",
        "CHAP_A=5;",
        "TargetPortalGroupTag=1;",
        "HeaderDigest=None;",
        "MaxBurstLength=65536;",
        "OFMarker=Yes;",
        "NewKey=1;",
        "",
    ]);
    prop::collection::vec(piece, 0..3).prop_map(|pieces| pieces.concat())
}
