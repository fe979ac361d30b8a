//! CHAP as the target asks for it (RFC 7143 sections 9.2 and 12.1).

mod support;

use iscsi_core::auth::{
    Chap, ChapAlgorithm, ChapAlgorithms, ChapInitiator, ChapKeys, Entropy, RecentChallenges, Secret,
};
use iscsi_core::text::{Key, Pairs, SessionType, Writer};
use iscsi_core::wire::{LoginOutcome, LoginRequest, LoginStatus, Stage, TargetPdu};
use support::*;

const SECURITY: Stage = Stage::SecurityNegotiation;
const OPERATIONAL: Stage = Stage::LoginOperationalNegotiation;

fn secret(text: &str) -> Secret {
    Secret::new(text).unwrap()
}

fn chap(user: &str, password: &str) -> Chap {
    Chap::new(user, secret(password)).unwrap()
}

fn mutual(user: &str, password: &str, own_user: &str, own_password: &str) -> Chap {
    chap(user, password).with_mutual(Some(own_user), secret(own_password)).unwrap()
}

/// Bytes as Debug shows them within a list.
fn numbers(bytes: &[u8]) -> String {
    format!("{bytes:?}").trim_matches(['[', ']']).to_owned()
}

/// Goes through the security stage with these credentials. The status that ended it, or success in the full feature phase.
fn log_in(bench: &mut Bench, credentials: &Chap, session_type: SessionType) -> LoginStatus {
    let n = bench.clients.len() - 1;
    let mut initiator = ChapInitiator::new(&Entropy::new([99; 64]));
    let recent = &mut RecentChallenges::new();
    let names = [format!("InitiatorName={INITIATOR}"), format!("TargetName={TARGET}")];
    let mut text: Vec<u8> = Vec::new();
    let mut put = |pair: &str| text.extend_from_slice(format!("{pair}\0").as_bytes());
    put(&names[0]);
    match session_type {
        SessionType::Normal => put(&names[1]),
        SessionType::Discovery => put("SessionType=Discovery"),
    }
    put("AuthMethod=CHAP");
    let mut step = 0;
    loop {
        step += 1;
        let request = LoginRequest {
            next_stage: (step == 3).then_some(OPERATIONAL),
            data_segment_length: text.len() as u32,
            ..bench.login_request(n, SECURITY)
        };
        bench.send(n, request, &text);
        let answer = bench.receive(n);
        let TargetPdu::LoginResponse(response) = answer.pdu() else { panic!() };
        let progress = match response.outcome {
            LoginOutcome::Refused(status) => return status,
            LoginOutcome::Proceed(progress) => progress,
        };
        let mut keys = ChapKeys::default();
        for pair in Pairs::new(&answer.data).map(Result::unwrap) {
            let key = Key::from_name(pair.key).unwrap();
            if key.is_security_key() && key != Key::AuthMethod {
                keys.add(key, &pair).unwrap();
            }
        }
        let mut area = [0; 2048];
        let mut out = Writer::new(&mut area);
        match step {
            1 => initiator.offer(credentials, &mut out).unwrap(),
            2 => initiator.respond(&keys, credentials, recent, &mut out).unwrap(),
            _ => {
                initiator.verify(&keys, credentials).unwrap();
                assert_eq!(progress.next_stage, Some(OPERATIONAL));
                break;
            }
        }
        assert_eq!(progress.next_stage, None);
        text = out.written().to_vec();
        let shown = format!("{:?}", bench.clients[n].connection);
        assert!(!shown.contains(&numbers(&answer.data)), "the text of the login is shown");
    }
    let request = LoginRequest {
        next_stage: Some(Stage::FullFeaturePhase),
        ..bench.login_request(n, OPERATIONAL)
    };
    let (response, _) = bench.exchange_login(n, request, &[]);
    response.outcome.status()
}

fn bench_with(auth: Chap) -> Bench {
    Bench::new(|config| config.auth = Some(auth))
}

#[test]
fn the_right_secret_opens() {
    for algorithm in ChapAlgorithm::ALL.into_iter().filter(|algorithm| algorithm.is_available()) {
        let only = ChapAlgorithms::new(&[algorithm]).unwrap();
        let mut bench = bench_with(chap("user", "a long enough secret"));
        let credentials = chap("user", "a long enough secret").with_algorithms(only).unwrap();
        let status = log_in(&mut bench, &credentials, SessionType::Normal);
        assert_eq!(status, LoginStatus::SUCCESS, "{algorithm}");
        assert_eq!(bench.target.sessions().count(), 1);
    }
}

#[test]
fn a_wrong_secret_or_name_does_not() {
    for credentials in [chap("user", "another long secret"), chap("User", "a long enough secret")] {
        let mut bench = bench_with(chap("user", "a long enough secret"));
        let status = log_in(&mut bench, &credentials, SessionType::Normal);
        assert_eq!(status, LoginStatus::AUTHENTICATION_FAILURE);
        assert_eq!(bench.target.sessions().count(), 0);
    }
}

#[test]
fn the_target_proves_itself() {
    // The initiator side of the exchange checks the target's proof.
    let mut bench =
        bench_with(mutual("user", "a long enough secret", "target", "the target's own one"));
    let credentials = mutual("user", "a long enough secret", "target", "the target's own one");
    assert_eq!(log_in(&mut bench, &credentials, SessionType::Normal), LoginStatus::SUCCESS);
}

#[test]
fn proof_that_was_not_configured_cannot_be_given() {
    let mut bench = bench_with(chap("user", "a long enough secret"));
    let credentials = mutual("user", "a long enough secret", "target", "the target's own one");
    let status = log_in(&mut bench, &credentials, SessionType::Normal);
    assert_eq!(status, LoginStatus::AUTHENTICATION_FAILURE);
}

#[test]
fn the_target_secret_is_not_accepted_from_an_initiator() {
    let mut bench =
        bench_with(mutual("user", "a long enough secret", "target", "the target's own one"));
    let status = log_in(&mut bench, &chap("user", "the target's own one"), SessionType::Normal);
    assert_eq!(status, LoginStatus::AUTHENTICATION_FAILURE);
}

#[test]
fn discovery_has_its_own_account() {
    let mut bench = Bench::new(|config| {
        config.auth = Some(chap("user", "a long enough secret"));
        config.discovery_auth = Some(chap("finder", "another long secret"));
    });
    let finder = chap("finder", "another long secret");
    assert_eq!(log_in(&mut bench, &finder, SessionType::Discovery), LoginStatus::SUCCESS);
    bench.connect();
    let status = log_in(&mut bench, &finder, SessionType::Normal);
    assert_eq!(status, LoginStatus::AUTHENTICATION_FAILURE);
}

#[test]
fn authentication_cannot_be_skipped() {
    let names = [format!("InitiatorName={INITIATOR}"), format!("TargetName={TARGET}")];
    let [initiator, target] = [names[0].as_str(), names[1].as_str()];
    let cases: [(Stage, Option<Stage>, &[&str]); 4] = [
        (OPERATIONAL, Some(Stage::FullFeaturePhase), &[]),
        (SECURITY, Some(OPERATIONAL), &["AuthMethod=None"]),
        (SECURITY, Some(Stage::FullFeaturePhase), &["AuthMethod=KRB5,SRP"]),
        (SECURITY, Some(OPERATIONAL), &["AuthMethod=CHAP", "CHAP_N=user", "CHAP_R=0x00"]),
    ];
    for (stage, next_stage, keys) in cases {
        let mut bench = bench_with(chap("user", "a long enough secret"));
        let request = LoginRequest { next_stage, ..bench.login_request(0, stage) };
        let keys: Vec<&str> = [initiator, target].into_iter().chain(keys.iter().copied()).collect();
        let (response, _) = bench.exchange_login(0, request, &keys);
        let LoginOutcome::Refused(status) = response.outcome else { panic!("{keys:?}") };
        assert_eq!(status.class, 2, "{keys:?}");
        assert_eq!(bench.target.sessions().count(), 0);
    }
}

#[test]
fn leaving_without_proof_gets_nowhere() {
    let mut bench = bench_with(chap("user", "a long enough secret"));
    let names = [format!("InitiatorName={INITIATOR}"), format!("TargetName={TARGET}")];
    let request =
        LoginRequest { next_stage: Some(OPERATIONAL), ..bench.login_request(0, SECURITY) };
    let (response, text) =
        bench.exchange_login(0, request, &[&names[0], &names[1], "AuthMethod=CHAP"]);
    let LoginOutcome::Proceed(progress) = response.outcome else { panic!() };
    assert_eq!(progress.next_stage, None);
    assert!(text.contains(&"AuthMethod=CHAP".into()));
    // No CHAP_A: the parameter is missing.
    let (response, _) = bench.exchange_login(0, request, &[]);
    assert_eq!(response.outcome, LoginOutcome::Refused(LoginStatus::MISSING_PARAMETER));
}

#[test]
fn an_initiator_that_says_nothing_is_asked() {
    // RFC 7143 section 12.1: the target may make the proposal.
    let mut bench = bench_with(chap("user", "a long enough secret"));
    let names = [format!("InitiatorName={INITIATOR}"), format!("TargetName={TARGET}")];
    let request = bench.login_request(0, SECURITY);
    let (response, text) = bench.exchange_login(0, request, &[&names[0], &names[1]]);
    assert!(matches!(response.outcome, LoginOutcome::Proceed(p) if p.next_stage.is_none()));
    assert!(text.contains(&"AuthMethod=CHAP".into()));
    let (response, text) = bench.exchange_login(0, request, &["AuthMethod=CHAP", "CHAP_A=5"]);
    assert!(matches!(response.outcome, LoginOutcome::Proceed(_)));
    assert!(text.contains(&"CHAP_A=5".into()) && !text.contains(&"AuthMethod=CHAP".into()));
    assert!(text.iter().any(|pair| pair.starts_with("CHAP_C=0x")));
}

#[test]
fn a_reflected_challenge_is_refused() {
    // RFC 7143 section 9.2.1.
    let mut bench =
        bench_with(mutual("user", "a long enough secret", "target", "the target's own one"));
    let names = [format!("InitiatorName={INITIATOR}"), format!("TargetName={TARGET}")];
    let request = bench.login_request(0, SECURITY);
    bench.exchange_login(0, request, &[&names[0], &names[1], "AuthMethod=CHAP"]);
    let (_, text) = bench.exchange_login(0, request, &["CHAP_A=5"]);
    let challenge = text.iter().find(|pair| pair.starts_with("CHAP_C=")).unwrap().clone();
    let response = "CHAP_R=0x00112233445566778899aabbccddeeff";
    let (response, _) =
        bench.exchange_login(0, request, &["CHAP_N=user", response, "CHAP_I=1", &challenge]);
    assert_eq!(response.outcome, LoginOutcome::Refused(LoginStatus::AUTHENTICATION_FAILURE));
}

#[test]
fn none_is_enough_where_it_is_allowed() {
    let mut bench = bench_with(chap("user", "a long enough secret").allow_none(true));
    let names = [format!("InitiatorName={INITIATOR}"), format!("TargetName={TARGET}")];
    let request =
        LoginRequest { next_stage: Some(OPERATIONAL), ..bench.login_request(0, SECURITY) };
    let keys = [names[0].as_str(), &names[1], "AuthMethod=None"];
    let (response, text) = bench.exchange_login(0, request, &keys);
    assert!(
        matches!(response.outcome, LoginOutcome::Proceed(p) if p.next_stage == Some(OPERATIONAL))
    );
    assert!(text.contains(&"AuthMethod=None".into()));
}
