//! Authentication within the login: rows of the conformance matrix that concern stages.

use iscsi_core::auth::{
    AuthRule, Chap, ChapAlgorithms, ChapKeys, ChapVerifier, Entropy, RecentChallenges, Secret,
    Verified,
};
use iscsi_core::config::SecurityStart;
use iscsi_core::login::{LoginError, LoginRule, Step};
use iscsi_core::text::{Key, KeyRule, Pairs, Writer};
use iscsi_core::wire::LoginStatus;

use crate::login_support::{
    ENTROPY, FULL_FEATURE, OPERATIONAL, SECURITY, Script, name, normal, readable,
};

fn secret(text: &str) -> Secret {
    Secret::new(text).unwrap()
}

fn one_way() -> Chap {
    let chap = Chap::new("alice", secret("secret-of-alice")).unwrap();
    chap.with_algorithms(ChapAlgorithms::MD5).unwrap()
}

fn mutual() -> Chap {
    one_way().with_mutual(Some("disk"), secret("secret-of-disk-")).unwrap()
}

fn login(chap: Chap) -> Script {
    Script::start(normal().chap(chap).build().unwrap())
}

fn rule(result: Result<Step, LoginError>) -> AuthRule {
    match result {
        Err(LoginError::Auth(rule)) => rule,
        other => panic!("{other:?}"),
    }
}

/// The target's side of CHAP.
struct Target {
    verifier: ChapVerifier,
    recent: RecentChallenges,
}

impl Target {
    fn new() -> Self {
        let verifier = ChapVerifier::new(&Entropy::new([0x22; 64]));
        Self { verifier, recent: RecentChallenges::new() }
    }

    /// CHAP_A, CHAP_I and CHAP_C in answer to the request `sent`.
    fn challenge(&mut self, sent: &str) -> String {
        let text = sent.replace(';', "\0");
        let mut area = [0; 256];
        let mut out = Writer::new(&mut area);
        let accepted = ChapAlgorithms::available();
        self.verifier.challenge(&keys(&text), &accepted, &mut self.recent, &mut out).unwrap();
        readable(out.written())
    }

    /// CHAP_N and CHAP_R in answer to the request `sent`, if it asks for them.
    fn proof(&self, sent: &str, own: &str) -> (Verified, String) {
        let text = sent.replace(';', "\0");
        let mut area = [0; 256];
        let mut out = Writer::new(&mut area);
        let (theirs, own) = (secret("secret-of-alice"), secret(own));
        let verified = self
            .verifier
            .verify(&keys(&text), &theirs, Some(("disk", &own)), &self.recent, &mut out)
            .unwrap();
        (verified, readable(out.written()))
    }
}

fn keys(text: &str) -> ChapKeys<'_> {
    let mut keys = ChapKeys::default();
    for pair in Pairs::new(text.as_bytes()).map(Result::unwrap) {
        let key = Key::from_name(pair.key).unwrap();
        if key.is_security_key() && key != Key::AuthMethod {
            keys.add(key, &pair).unwrap();
        }
    }
    keys
}

/// A login that has sent CHAP_R.
fn awaiting_proof(chap: Chap) -> (Script, Target) {
    let (mut script, mut target) = (login(chap), Target::new());
    script.answer(None, "AuthMethod=CHAP;TargetPortalGroupTag=1;").unwrap();
    let challenge = target.challenge(&script.sent);
    script.answer(None, &challenge).unwrap();
    (script, target)
}

#[test]
fn one_way_chap() {
    let mut script = login(one_way());
    let mut target = Target::new();
    assert!(script.sent.ends_with("SessionType=Normal;AuthMethod=CHAP;"));
    assert_eq!((script.request.current_stage, script.request.next_stage), (SECURITY, None));
    script.answer(None, "AuthMethod=CHAP;TargetPortalGroupTag=1;").unwrap();
    assert_eq!((script.sent.as_str(), script.request.next_stage), ("CHAP_A=5;", None));
    let challenge = target.challenge(&script.sent);
    script.answer(None, &challenge).unwrap();
    assert_eq!(script.request.next_stage, Some(OPERATIONAL));
    assert!(script.sent.starts_with("CHAP_N=alice;CHAP_R=0x") && !script.sent.contains("CHAP_C"));
    assert_eq!(target.proof(&script.sent, "secret-of-disk-"), (Verified::OneWay, String::new()));
    assert!(!script.login.is_authenticated());
    script.answer(Some(OPERATIONAL), "").unwrap();
    assert!(script.login.is_authenticated());
    assert!(script.sent.starts_with("HeaderDigest="));
    script.done("");
}

#[test]
fn mutual_chap_at_once_and_in_two_steps() {
    for late in [false, true] {
        let (mut script, target) = awaiting_proof(mutual());
        assert_eq!(script.request.next_stage, Some(OPERATIONAL));
        let (verified, proof) = target.proof(&script.sent, "secret-of-disk-");
        assert_eq!(verified, Verified::Mutual);
        if late {
            script.answer(None, &proof).unwrap();
            assert!(script.login.is_authenticated());
            assert_eq!((script.sent.as_str(), script.request.next_stage), ("", Some(OPERATIONAL)));
            script.answer(Some(OPERATIONAL), "").unwrap();
        } else {
            script.answer(Some(OPERATIONAL), &proof).unwrap();
        }
        assert!(script.login.is_authenticated());
        script.done("");
    }
}

#[test]
fn k44_a_challenge_in_pieces_is_answered_when_complete() {
    let (mut script, mut target) = (login(one_way()), Target::new());
    script.answer(None, "AuthMethod=CHAP;").unwrap();
    let challenge = target.challenge(&script.sent);
    for cut in [0, 3, 9, challenge.len() - 1] {
        script.continued(&challenge[..cut]).unwrap();
        assert_eq!((script.sent.as_str(), script.request.next_stage), ("", None));
    }
    script.answer(None, &challenge).unwrap();
    assert_eq!(target.proof(&script.sent, "secret-of-disk-").0, Verified::OneWay);
    script.answer(Some(OPERATIONAL), "").unwrap();
    script.done("");
}

#[test]
fn the_target_may_think_before_it_accepts() {
    let (mut script, target) = awaiting_proof(mutual());
    let (_, proof) = target.proof(&script.sent, "secret-of-disk-");
    script.answer(None, "").unwrap();
    assert_eq!((script.sent.as_str(), script.request.next_stage), ("", Some(OPERATIONAL)));
    script.answer(Some(OPERATIONAL), &proof).unwrap();
    script.done("");
}

#[test]
fn a01_and_a25_to_a26_methods_that_were_not_offered() {
    for method in ["None", "KRB5", "SRP", "CHAP,None", "chap", ""] {
        let step = login(one_way()).answer(None, &format!("AuthMethod={method};"));
        assert_eq!(rule(step), AuthRule::MethodNotOffered, "{method}");
    }
    let step = login(one_way()).answer(None, "AuthMethod=Reject;");
    assert_eq!(rule(step), AuthRule::MethodRejected);
    // Without credentials only None is offered.
    let plain = || Script::start(normal().build().unwrap());
    assert_eq!(rule(plain().answer(None, "AuthMethod=CHAP;")), AuthRule::MethodNotOffered);
    assert_eq!(rule(plain().answer(None, "AuthMethod=Reject;")), AuthRule::MethodRejected);
    let step = plain().refuse(2, 1, "").unwrap();
    assert_eq!(step, Step::Refused(LoginStatus::AUTHENTICATION_FAILURE));
}

#[test]
fn a02_and_a03_authentication_cannot_be_skipped() {
    // T=1 was not asked for, so the header is wrong already.
    for next in [OPERATIONAL, FULL_FEATURE] {
        for text in ["", "AuthMethod=CHAP;", "AuthMethod=None;"] {
            let step = login(one_way()).answer(Some(next), text);
            let expected = LoginError::Rule(LoginRule::TransitNotRequested);
            assert_eq!(step.unwrap_err(), expected, "{text}");
        }
    }
    // With None offered, T=1 was asked for: CHAP may be chosen then, but not left.
    let step = login(one_way().allow_none(true)).answer(Some(OPERATIONAL), "AuthMethod=CHAP;");
    assert_eq!(rule(step), AuthRule::Skipped);
    // A target that never names a method is asked until the exchanges are used up.
    let mut script = login(one_way());
    let error = loop {
        if let Err(error) = script.answer(None, "") {
            break error;
        }
    };
    assert_eq!(error, LoginError::Rule(LoginRule::TooManyExchanges));
}

#[test]
fn none_may_be_allowed() {
    let chap = one_way().allow_none(true);
    let mut script = login(chap.clone());
    assert!(script.sent.ends_with("AuthMethod=CHAP,None;"));
    assert_eq!(script.request.next_stage, Some(OPERATIONAL));
    script.answer(Some(OPERATIONAL), "AuthMethod=None;").unwrap();
    script.done("");
    assert!(!script.login.is_authenticated());
    // No answer at all is None, too.
    let mut script = login(chap.clone());
    script.answer(Some(OPERATIONAL), "TargetPortalGroupTag=1;").unwrap();
    script.done("");
    // And CHAP is done in full if the target wants it.
    let (mut script, mut target) = (login(chap), Target::new());
    script.answer(None, "AuthMethod=CHAP;").unwrap();
    assert_eq!(script.request.next_stage, None);
    let challenge = target.challenge(&script.sent);
    script.answer(None, &challenge).unwrap();
    script.answer(Some(OPERATIONAL), "").unwrap();
    assert!(script.login.is_authenticated());
}

#[test]
fn a06_a12_and_a28_steps_out_of_order() {
    let offered = || {
        let mut script = login(one_way());
        script.answer(None, "AuthMethod=CHAP;").unwrap();
        script
    };
    assert_eq!(rule(offered().answer(None, "")), AuthRule::MissingKey(Key::ChapA));
    assert_eq!(rule(offered().answer(None, "CHAP_A=5;")), AuthRule::MissingKey(Key::ChapI));
    let step = offered().answer(Some(OPERATIONAL), "CHAP_A=5;CHAP_I=1;CHAP_C=0x01;");
    assert_eq!(step.unwrap_err(), LoginError::Rule(LoginRule::TransitNotRequested));
    let step = offered().answer(None, "CHAP_N=disk;CHAP_R=0x01;");
    assert_eq!(rule(step), AuthRule::UnexpectedKey(Key::ChapN));
    let step = offered().answer(None, "SRP_B=0x01;");
    assert_eq!(rule(step), AuthRule::UnexpectedKey(Key::SrpB));
    // The challenge before the method is settled.
    let step = login(one_way()).answer(None, "AuthMethod=CHAP;CHAP_A=5;CHAP_I=1;CHAP_C=0x01;");
    assert_eq!(rule(step), AuthRule::UnexpectedKey(Key::ChapA));
    // A second AuthMethod is a renegotiation.
    let Err(LoginError::Key(error)) = offered().answer(None, "AuthMethod=CHAP;") else { panic!() };
    assert_eq!(error.rule, KeyRule::Repeated);
    // CHAP keys without CHAP.
    let mut plain = Script::start(normal().build().unwrap());
    let step = plain.answer(Some(OPERATIONAL), "AuthMethod=None;CHAP_A=5;");
    assert_eq!(rule(step), AuthRule::UnexpectedKey(Key::ChapA));
}

#[test]
fn a13_a_reflected_challenge_is_not_answered() {
    let mut script = login(mutual());
    script.answer(None, "AuthMethod=CHAP;").unwrap();
    let ours = format!("{ENTROPY:02x}").repeat(32);
    let step = script.answer(None, &format!("CHAP_A=5;CHAP_I=1;CHAP_C=0x{ours};"));
    assert_eq!(rule(step), AuthRule::ChallengeReflected);

    // The challenge of an earlier connection, which the session remembers.
    let (earlier, _) = awaiting_proof(mutual());
    let mut script = login(one_way());
    script.recent = earlier.recent;
    script.answer(None, "AuthMethod=CHAP;").unwrap();
    let step = script.answer(None, &format!("CHAP_A=5;CHAP_I=1;CHAP_C=0x{ours};"));
    assert_eq!(rule(step), AuthRule::ChallengeReflected);
}

#[test]
fn a15_to_a17_the_target_must_prove_itself() {
    let (mut script, _) = awaiting_proof(mutual());
    assert_eq!(rule(script.answer(Some(OPERATIONAL), "")), AuthRule::ResponseMissing);
    let (mut script, target) = awaiting_proof(mutual());
    let (_, proof) = target.proof(&script.sent, "some-other-secret");
    assert_eq!(rule(script.answer(Some(OPERATIONAL), &proof)), AuthRule::WrongResponse);
    let (mut script, target) = awaiting_proof(mutual());
    let (_, proof) = target.proof(&script.sent, "secret-of-disk-");
    let renamed = proof.replace("disk", "tape");
    assert_eq!(rule(script.answer(Some(OPERATIONAL), &renamed)), AuthRule::WrongName);
    let (mut script, _) = awaiting_proof(mutual());
    let step = script.answer(Some(OPERATIONAL), "CHAP_N=disk;");
    assert_eq!(rule(step), AuthRule::MissingKey(Key::ChapR));
}

#[test]
fn a24_a_wrong_secret_is_the_target_s_to_refuse() {
    let (mut script, _) = awaiting_proof(one_way());
    let step = script.refuse(2, 1, "").unwrap();
    assert_eq!(step, Step::Refused(LoginStatus::AUTHENTICATION_FAILURE));
    assert_eq!(step_rule(script.answer(None, "")), LoginRule::NotRunning);
}

fn step_rule(result: Result<Step, LoginError>) -> LoginRule {
    match result {
        Err(LoginError::Rule(rule)) => rule,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a27_an_unasked_proof_ends_the_login() {
    let (mut script, _) = awaiting_proof(one_way());
    let step = script.answer(Some(OPERATIONAL), "CHAP_N=disk;CHAP_R=0x00;");
    assert_eq!(rule(step), AuthRule::UnexpectedKey(Key::ChapN));
}

#[test]
fn a31_the_target_may_propose_the_method() {
    let awaiting = |chap: Option<Chap>| {
        let mut builder = normal().security_start(SecurityStart::AwaitOffer);
        if let Some(chap) = chap {
            builder = builder.chap(chap);
        }
        Script::start(builder.build().unwrap())
    };
    let mut script = awaiting(Some(one_way()));
    assert!(!script.sent.contains("AuthMethod") && script.request.next_stage.is_none());
    let mut target = Target::new();
    script.answer(None, "AuthMethod=SRP,CHAP,None;").unwrap();
    assert_eq!(script.sent, "AuthMethod=CHAP;CHAP_A=5;");
    let challenge = target.challenge(&script.sent);
    script.answer(None, &challenge).unwrap();
    script.answer(Some(OPERATIONAL), "").unwrap();
    assert!(script.login.is_authenticated());

    let step = awaiting(Some(one_way())).answer(None, "AuthMethod=None,SRP;");
    assert_eq!(rule(step), AuthRule::NoCommonMethod);

    let mut script = awaiting(None);
    script.answer(None, "AuthMethod=CHAP,None;").unwrap();
    assert_eq!(script.sent, "AuthMethod=None;");
    assert_eq!(script.request.next_stage, Some(OPERATIONAL));
    script.answer(Some(OPERATIONAL), "").unwrap();
    script.done("");
    assert_eq!(rule(awaiting(None).answer(None, "AuthMethod=CHAP;")), AuthRule::NoCommonMethod);
    // A target without a wish goes on.
    let mut script = awaiting(None);
    script.answer(Some(OPERATIONAL), "").unwrap();
    script.done("");
}

#[test]
fn discovery_authenticates_too() {
    let config = iscsi_core::Config::discovery(name("iqn.2001-04.com.example:host"))
        .chap(one_way())
        .build()
        .unwrap();
    let (mut script, mut target) = (Script::start(config), Target::new());
    assert!(script.sent.ends_with("SessionType=Discovery;AuthMethod=CHAP;"));
    script.answer(None, "AuthMethod=CHAP;").unwrap();
    let challenge = target.challenge(&script.sent);
    script.answer(None, &challenge).unwrap();
    script.answer(Some(OPERATIONAL), "").unwrap();
    script.done("");
}
