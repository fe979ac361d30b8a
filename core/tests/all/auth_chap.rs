//! CHAP of both roles: rows of the conformance matrix that need no login around them.

use iscsi_core::auth::{
    AuthRule, Chap, ChapAlgorithm, ChapAlgorithms, ChapInitiator, ChapKeys, ChapVerifier,
    CredentialsError, Entropy, RecentChallenges, Secret, Verified,
};
use iscsi_core::text::{Key, Pairs, Writer};
use iscsi_core::wire::LoginStatus;

use crate::text_pairs::base64;

const CHALLENGE: &str = "0x00112233445566778899aabbccddeeff";

/// The initiator's challenge: its entropy is all 0x11.
const OURS: [u8; 32] = [0x11; 32];

fn secret(text: &str) -> Secret {
    Secret::new(text).unwrap()
}

fn one_way() -> Chap {
    Chap::new("alice", secret("secret-of-alice")).unwrap()
}

fn mutual() -> Chap {
    one_way().with_mutual(Some("disk"), secret("secret-of-disk-")).unwrap()
}

/// The keys of a message, `;` standing for the zero byte.
fn with_keys<T>(text: &str, take: impl FnOnce(&ChapKeys<'_>) -> T) -> T {
    let text = text.replace(';', "\0");
    let mut keys = ChapKeys::default();
    for pair in Pairs::new(text.as_bytes()) {
        let pair = pair.unwrap();
        keys.add(Key::from_name(pair.key).unwrap(), &pair).unwrap();
    }
    take(&keys)
}

/// An initiator and what it wrote last.
struct Initiator {
    machine: ChapInitiator,
    chap: Chap,
    recent: RecentChallenges,
    written: String,
}

impl Initiator {
    fn new(chap: Chap) -> Self {
        Self {
            machine: ChapInitiator::new(&Entropy::new([0x11; 64])),
            chap,
            recent: RecentChallenges::new(),
            written: String::new(),
        }
    }

    fn respond(&mut self, text: &str) -> Result<(), AuthRule> {
        let mut area = [0; 4096];
        let mut out = Writer::new(&mut area);
        let result = with_keys(text, |keys| {
            self.machine.respond(keys, &self.chap, &mut self.recent, &mut out)
        });
        self.written = String::from_utf8(out.written().to_vec()).unwrap().replace('\0', ";");
        result
    }

    fn verify(&self, text: &str) -> Result<(), AuthRule> {
        with_keys(text, |keys| self.machine.verify(keys, &self.chap))
    }

    /// A mutual exchange up to the point where the target's proof is awaited.
    fn awaiting_proof() -> Self {
        let chap = mutual().with_algorithms(ChapAlgorithms::MD5).unwrap();
        let mut initiator = Self::new(chap);
        initiator.respond(&format!("CHAP_A=5;CHAP_I=7;CHAP_C={CHALLENGE};")).unwrap();
        initiator
    }
}

/// What the target in these tests answers to the initiator's challenge, made by the project's own verifier.
fn proof(user: &str, target_secret: &str) -> String {
    let own = secret(target_secret);
    let mut area = [0; 4096];
    let mut recent = RecentChallenges::new();
    let mut verifier = ChapVerifier::new(&Entropy::new([0x22; 64]));
    let mut out = Writer::new(&mut area);
    let issued = with_keys("CHAP_A=5;", |keys| {
        verifier.challenge(keys, &ChapAlgorithms::MD5, &mut recent, &mut out)
    });
    issued.unwrap();
    let step = String::from_utf8(out.written().to_vec()).unwrap().replace('\0', ";");
    let chap = mutual().with_algorithms(ChapAlgorithms::MD5).unwrap();
    let mut initiator = Initiator::new(chap);
    initiator.respond(&step).unwrap();
    let mut out = Writer::new(&mut area);
    let verified = with_keys(&initiator.written, |keys| {
        assert_eq!(verifier.user(keys), Ok("alice"));
        verifier.verify(keys, &secret("secret-of-alice"), Some((user, &own)), &recent, &mut out)
    });
    assert_eq!(verified, Ok(Verified::Mutual));
    String::from_utf8(out.written().to_vec()).unwrap().replace('\0', ";")
}

#[test]
#[cfg(feature = "chap-sha")]
fn responses_are_the_hash_of_identifier_secret_and_challenge() {
    // Computed with Python's hashlib over ff, "secret-of-alice" and the challenge.
    for (number, response) in [
        (5, "eb5b1e69e14259ea78f1b8dd8f9a594f"),
        (6, "2c1c1a61192cbd9db94d00bfa7e1a18dd09f5deb"),
        (7, "b4ce6a53dcc1972a91ab5f6dddd3275cf92222fa6b204c946e3b9ebc41a47b45"),
        (8, "1db087a630655145e51d44a8dca5bd18646ef72604651225ec93abf09fc9436e"),
    ] {
        let mut initiator = Initiator::new(one_way());
        initiator.respond(&format!("CHAP_A={number};CHAP_I=0xff;CHAP_C={CHALLENGE};")).unwrap();
        assert_eq!(initiator.written, format!("CHAP_N=alice;CHAP_R=0x{response};"));
    }
}

#[test]
fn a08_and_a09_identifiers_and_challenges_of_every_size() {
    let long: String = (0..1024).map(|n| format!("{:02X}", n % 256)).collect();
    for (text, response) in [
        ("CHAP_I=0;CHAP_C=0xa;", "db879965b9b575703030c2555d2ee687"),
        ("CHAP_I=0x0;CHAP_C=0bCg==;", "db879965b9b575703030c2555d2ee687"),
        (&format!("CHAP_I=255;CHAP_C=0X{long};"), "841b5274ee1435d720aa914d234247f5"),
        ("CHAP_I=255;CHAP_C=0bABEiM0RVZneImaq7zN3u/w==;", "eb5b1e69e14259ea78f1b8dd8f9a594f"),
    ] {
        let mut initiator = Initiator::new(one_way());
        initiator.respond(&format!("CHAP_A=5;{text}")).unwrap();
        assert_eq!(initiator.written, format!("CHAP_N=alice;CHAP_R=0x{response};"), "{text}");
    }
}

#[test]
fn a04_to_a12_a_wrong_second_step_is_not_answered() {
    let c = format!("CHAP_C={CHALLENGE};");
    let too_long = format!("CHAP_A=5;CHAP_I=1;CHAP_C=0x{};", "00".repeat(1025));
    for (text, rule) in [
        (&*format!("CHAP_A=6;CHAP_I=1;{c}"), AuthRule::AlgorithmNotOffered),
        (&format!("CHAP_A=99;CHAP_I=1;{c}"), AuthRule::AlgorithmNotOffered),
        (&format!("CHAP_A=md5;CHAP_I=1;{c}"), AuthRule::AlgorithmMalformed),
        (&format!("CHAP_A=;CHAP_I=1;{c}"), AuthRule::AlgorithmMalformed),
        (&format!("CHAP_A=5,7;CHAP_I=1;{c}"), AuthRule::AlgorithmMalformed),
        (&format!("CHAP_I=1;{c}"), AuthRule::MissingKey(Key::ChapA)),
        (&format!("CHAP_A=5;{c}"), AuthRule::MissingKey(Key::ChapI)),
        ("CHAP_A=5;CHAP_I=1;", AuthRule::MissingKey(Key::ChapC)),
        ("", AuthRule::MissingKey(Key::ChapA)),
        (&format!("CHAP_A=5;CHAP_I=256;{c}"), AuthRule::Identifier),
        (&format!("CHAP_A=5;CHAP_I=-1;{c}"), AuthRule::Identifier),
        (&format!("CHAP_A=5;CHAP_I=99999;{c}"), AuthRule::Identifier),
        (&format!("CHAP_A=5;CHAP_I=abc;{c}"), AuthRule::Identifier),
        ("CHAP_A=5;CHAP_I=1;CHAP_C=0x;", AuthRule::ChallengeEmpty),
        ("CHAP_A=5;CHAP_I=1;CHAP_C=0b;", AuthRule::ChallengeEmpty),
        (&too_long, AuthRule::ChallengeTooLong),
        ("CHAP_A=5;CHAP_I=1;CHAP_C=0x0g;", AuthRule::ChallengeMalformed),
        ("CHAP_A=5;CHAP_I=1;CHAP_C=0bAA=;", AuthRule::ChallengeMalformed),
        ("CHAP_A=5;CHAP_I=1;CHAP_C=1234;", AuthRule::ChallengeMalformed),
        ("CHAP_A=5;CHAP_I=1;CHAP_C=;", AuthRule::ChallengeMalformed),
        (&format!("CHAP_A=5;CHAP_I=1;{c}CHAP_R=0x00;"), AuthRule::UnexpectedKey(Key::ChapR)),
        (&format!("CHAP_A=5;CHAP_I=1;{c}CHAP_N=disk;"), AuthRule::UnexpectedKey(Key::ChapN)),
    ] {
        let chap = one_way().with_algorithms(ChapAlgorithms::MD5).unwrap();
        let mut initiator = Initiator::new(chap);
        assert_eq!(initiator.respond(text), Err(rule), "{text}");
        assert_eq!(initiator.written, "", "{text}");
    }
    // A hexadecimal algorithm number is a number.
    let mut initiator = Initiator::new(one_way());
    assert_eq!(initiator.respond(&format!("CHAP_A=0x5;CHAP_I=1;{c}")), Ok(()));
}

#[test]
fn a13_challenges_of_this_node_are_not_answered() {
    let hex: String = OURS.iter().map(|byte| format!("{byte:02x}")).collect();
    let reflected = format!("CHAP_A=5;CHAP_I=1;CHAP_C=0x{hex};");
    // On the same connection.
    let mut initiator = Initiator::new(mutual());
    assert_eq!(initiator.respond(&reflected), Err(AuthRule::ChallengeReflected));
    assert_eq!(initiator.written, "");
    // On another connection that shares the ring.
    let mut first = Initiator::new(mutual());
    first.respond(&format!("CHAP_A=5;CHAP_I=1;CHAP_C={CHALLENGE};")).unwrap();
    let mut second = Initiator::new(one_way());
    second.machine = ChapInitiator::new(&Entropy::new([0x33; 64]));
    second.recent = first.recent.clone();
    assert_eq!(second.respond(&reflected), Err(AuthRule::ChallengeReflected));
    // A14: the same foreign challenge again is answered.
    second.respond(&format!("CHAP_A=5;CHAP_I=1;CHAP_C={CHALLENGE};")).unwrap();
}

#[test]
fn a15_to_a21_the_proof_of_the_target() {
    let initiator = Initiator::awaiting_proof();
    let good = proof("disk", "secret-of-disk-");
    assert_eq!(initiator.verify(&good), Ok(()));
    let response = good.strip_prefix("CHAP_N=disk;CHAP_R=0x").unwrap().trim_end_matches(';');

    assert_eq!(initiator.verify(""), Err(AuthRule::ResponseMissing));
    assert_eq!(initiator.verify("CHAP_N=disk;"), Err(AuthRule::MissingKey(Key::ChapR)));
    assert_eq!(
        initiator.verify(&format!("CHAP_R=0x{response};")),
        Err(AuthRule::MissingKey(Key::ChapN))
    );
    let wrong = proof("disk", "another-secret-");
    assert_eq!(initiator.verify(&wrong), Err(AuthRule::WrongResponse));
    let shared = proof_with_own_secret();
    assert_eq!(initiator.verify(&shared), Err(AuthRule::ReplayedResponse));
    let named = proof("tape", "secret-of-disk-");
    assert_eq!(initiator.verify(&named), Err(AuthRule::WrongName));

    for bad in ["0x", "0x00", &format!("0x{response}00"), &format!("0x{}", "00".repeat(1025)), "x"]
    {
        let text = format!("CHAP_N=disk;CHAP_R={bad};");
        assert_eq!(initiator.verify(&text), Err(AuthRule::ResponseMalformed), "{bad}");
    }
    for name in [String::new(), "x".repeat(256)] {
        let text = format!("CHAP_N={name};CHAP_R=0x{response};");
        assert_eq!(initiator.verify(&text), Err(AuthRule::NameMalformed));
    }
    let extra = format!("{good}CHAP_I=1;");
    assert_eq!(initiator.verify(&extra), Err(AuthRule::UnexpectedKey(Key::ChapI)));
}

/// A target that answers with the initiator's secret, as if both directions shared one.
fn proof_with_own_secret() -> String {
    // The verifier notices this, too, so the response comes from an initiator that is made to answer its own challenge.
    let mut other = Initiator::new(one_way().with_algorithms(ChapAlgorithms::MD5).unwrap());
    other.machine = ChapInitiator::new(&Entropy::new([0x44; 64]));
    let hex: String = OURS.iter().map(|byte| format!("{byte:02x}")).collect();
    other.respond(&format!("CHAP_A=5;CHAP_I={};CHAP_C=0x{hex};", 0x11)).unwrap();
    other.written.replace("CHAP_N=alice", "CHAP_N=disk")
}

#[test]
fn a19_and_a21_a_proof_in_base64_and_a_long_name() {
    let name = "n".repeat(255);
    let good = proof(&name, "secret-of-disk-");
    let hex = good.rsplit_once("0x").unwrap().1.trim_end_matches(';');
    let bytes: Vec<u8> = (0..hex.len() / 2)
        .map(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap())
        .collect();
    let chap = one_way().with_mutual(None, secret("secret-of-disk-")).unwrap();
    let mut initiator = Initiator::new(chap.with_algorithms(ChapAlgorithms::MD5).unwrap());
    initiator.respond(&format!("CHAP_A=5;CHAP_I=7;CHAP_C={CHALLENGE};")).unwrap();
    let text = format!("CHAP_N={name};CHAP_R=0b{};", base64(&bytes));
    assert_eq!(initiator.verify(&text), Ok(()));
}

#[test]
fn a27_an_unasked_proof_is_refused() {
    let mut initiator = Initiator::new(one_way());
    initiator.respond(&format!("CHAP_A=5;CHAP_I=7;CHAP_C={CHALLENGE};")).unwrap();
    assert!(!initiator.written.contains("CHAP_C"));
    assert_eq!(initiator.verify(""), Ok(()));
    let unasked = initiator.verify("CHAP_N=disk;CHAP_R=0x00;");
    assert_eq!(unasked, Err(AuthRule::UnexpectedKey(Key::ChapN)));
}

#[test]
fn a29_the_challenge_is_the_entropy_and_long_enough() {
    let initiator = Initiator::awaiting_proof();
    let hex: String = OURS.iter().map(|byte| format!("{byte:02x}")).collect();
    assert!(initiator.written.ends_with(&format!("CHAP_I=17;CHAP_C=0x{hex};")));
}

#[test]
fn a30_nothing_secret_is_printed() {
    let initiator = Initiator::awaiting_proof();
    let printed = format!(
        "{:?} {:?} {:?} {:?}",
        initiator.machine,
        initiator.chap,
        Entropy::new([0x11; 64]),
        with_keys("CHAP_R=0x1234;CHAP_C=0x5678;", |keys| format!("{keys:?}")),
    );
    for secret in ["secret-of", "1111", "0x11", "17", "1234", "5678"] {
        assert!(!printed.contains(secret), "{secret} in {printed}");
    }
}

#[test]
fn a22_and_a23_credentials_are_checked() {
    let same = one_way().with_mutual(None, secret("secret-of-alice"));
    assert_eq!(same.unwrap_err(), CredentialsError::EqualSecrets);
    assert!(secret("elevenbytes").is_short() && !secret("twelve bytes").is_short());
    assert_eq!(Chap::new("", secret("x")).unwrap_err(), CredentialsError::UserEmpty);
    let long = "x".repeat(256);
    assert_eq!(Chap::new(&long, secret("x")).unwrap_err(), CredentialsError::UserTooLong);
    assert_eq!(Secret::new([0; 257]).unwrap_err(), CredentialsError::SecretTooLong);
    assert_eq!(
        one_way().with_algorithms(ChapAlgorithms::EMPTY).unwrap_err(),
        CredentialsError::NoAlgorithm
    );
    let all = one_way().with_algorithms(ChapAlgorithms::new(&ChapAlgorithm::ALL).unwrap());
    assert_eq!(all.is_ok(), cfg!(feature = "chap-sha"));
}

/// A target's verifier that has issued its challenge for MD5.
fn issued(list: &str) -> (ChapVerifier, RecentChallenges, Result<String, AuthRule>) {
    let mut verifier = ChapVerifier::new(&Entropy::new([0x22; 64]));
    let mut recent = RecentChallenges::new();
    let mut area = [0; 256];
    let mut out = Writer::new(&mut area);
    let result = with_keys(list, |keys| {
        verifier.challenge(keys, &ChapAlgorithms::MD5, &mut recent, &mut out)
    });
    let text = String::from_utf8(out.written().to_vec()).unwrap().replace('\0', ";");
    (verifier, recent, result.map(|()| text))
}

#[test]
fn md5_is_offered_before_the_number_that_some_targets_misread() {
    let mut area = [0; 64];
    let mut out = Writer::new(&mut area);
    ChapInitiator::new(&Entropy::new([0; 64])).offer(&one_way(), &mut out).unwrap();
    let all: &[u8] = if cfg!(feature = "chap-sha") { b"CHAP_A=8,5,7,6\0" } else { b"CHAP_A=5\0" };
    assert_eq!(out.written(), all);
}

#[test]
fn the_verifier_chooses_an_algorithm() {
    let step = issued("CHAP_A=99,7,5;").2.unwrap();
    assert!(step.starts_with("CHAP_A=5;CHAP_I=34;CHAP_C=0x2222"));
    assert_eq!(issued("CHAP_A=7;").2, Err(AuthRule::NoCommonAlgorithm));
    assert_eq!(issued("CHAP_A=5,x;").2, Err(AuthRule::AlgorithmMalformed));
    assert_eq!(issued("").2, Err(AuthRule::MissingKey(Key::ChapA)));
    assert_eq!(issued("CHAP_A=5;CHAP_N=a;").2, Err(AuthRule::UnexpectedKey(Key::ChapN)));
}

#[test]
fn the_verifier_refuses_what_proves_nothing() {
    let (verifier, recent, step) = issued("CHAP_A=5;");
    let mut initiator = Initiator::new(mutual().with_algorithms(ChapAlgorithms::MD5).unwrap());
    initiator.respond(&step.unwrap()).unwrap();
    let own = secret("secret-of-disk-");
    let verify = |text: &str, secret_text: &str, own: Option<(&str, &Secret)>| {
        let mut area = [0; 256];
        let mut out = Writer::new(&mut area);
        let result = with_keys(text, |keys| {
            verifier.verify(keys, &secret(secret_text), own, &recent, &mut out)
        });
        assert_eq!(
            out.is_empty(),
            result != Ok(Verified::Mutual),
            "written before it was verified"
        );
        result
    };
    let own = Some(("disk", &own));
    let text = initiator.written.as_str();
    assert_eq!(verify(text, "secret-of-alice", own), Ok(Verified::Mutual));
    assert_eq!(verify(text, "secret-of-alice", None), Err(AuthRule::MutualNotConfigured));
    assert_eq!(verify(text, "another-secret-", own), Err(AuthRule::WrongResponse));
    let alice = secret("secret-of-alice");
    let shared = Some(("disk", &alice));
    assert_eq!(verify(text, "another-secret-", shared), Err(AuthRule::ReplayedResponse));
    let one_way = text.split_inclusive(';').take(2).collect::<String>();
    assert_eq!(verify(&one_way, "secret-of-alice", own), Ok(Verified::OneWay));
    assert_eq!(
        verify("CHAP_N=alice;", "secret-of-alice", own),
        Err(AuthRule::MissingKey(Key::ChapR))
    );
    let no_challenge = format!("{one_way}CHAP_I=1;");
    assert_eq!(
        verify(&no_challenge, "secret-of-alice", own),
        Err(AuthRule::MissingKey(Key::ChapC))
    );
    let reflected = format!("{one_way}CHAP_I=1;CHAP_C=0x{};", "22".repeat(32));
    assert_eq!(verify(&reflected, "secret-of-alice", own), Err(AuthRule::ChallengeReflected));
    // A response without a challenge.
    let fresh = ChapVerifier::new(&Entropy::new([0x22; 64]));
    let mut area = [0; 256];
    let result = with_keys(&one_way, |keys| {
        fresh.verify(keys, &alice, None, &recent, &mut Writer::new(&mut area))
    });
    assert_eq!(result, Err(AuthRule::UnexpectedKey(Key::ChapR)));
}

#[test]
fn a_target_knows_the_status_for_each_failure() {
    let status = |rule: AuthRule| rule.login_status();
    assert_eq!(status(AuthRule::WrongResponse), LoginStatus::AUTHENTICATION_FAILURE);
    assert_eq!(status(AuthRule::MissingKey(Key::ChapR)), LoginStatus::MISSING_PARAMETER);
    assert_eq!(status(AuthRule::ChallengeMalformed), LoginStatus::INITIATOR_ERROR);
}

#[test]
fn identifiers_of_challenges_that_follow_each_other_differ() {
    let recent = &mut RecentChallenges::new();
    let mut challenge = |byte: u8, identifier: u8| {
        let mut entropy = [byte; 64];
        entropy[32] = identifier;
        let mut area = [0; 256];
        let mut out = Writer::new(&mut area);
        let mut verifier = ChapVerifier::new(&Entropy::new(entropy));
        with_keys("CHAP_A=5;", |keys| {
            verifier.challenge(keys, &ChapAlgorithms::MD5, recent, &mut out).unwrap();
        });
        let mut pairs = Pairs::new(out.written()).map(Result::unwrap);
        let pair = pairs.find(|pair| pair.key == "CHAP_I").unwrap();
        pair.text().unwrap().parse::<u8>().unwrap()
    };
    let identifiers = [challenge(1, 7), challenge(2, 7), challenge(3, 7), challenge(4, 255)];
    assert_eq!(identifiers, [7, 8, 7, 255]);
    assert_eq!(challenge(5, 255), 0);
}
