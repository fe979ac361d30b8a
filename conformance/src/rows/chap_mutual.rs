//! the target's proof, credentials, and what is never shown.

use iscsi_core::auth::{
    AuthRule, Chap, ChapInitiator, ChapKeys, CredentialsError, Entropy, RecentChallenges, Secret,
};
use iscsi_core::config::{Notice, SecurityStart};
use iscsi_core::login::{Identity, Login, LoginError, Step};
use iscsi_core::testing::{Do, Field, Rig};
use iscsi_core::text::{Key, Limits, Negotiated, Pairs, Writer};
use iscsi_core::wire::{Isid, LoginOutcome, LoginProgress, LoginResponse, Opcode, Stage};
use iscsi_core::{CmdSn, InitiatorTaskTag, SessionState, StatSn};

use super::chap::{
    base64, bytes, hex, honest_value, login_requests, md5, our_challenges, response, stops, value,
    with_md5, with_mutual_md5,
};
use super::common::{all, with_chap, with_mutual_chap};
use crate::case::{Case, Direct, Job, Row, Setup, Verdict};
use crate::expect::{Expect, Is, Law, Pdus};
use crate::{auth_breaks, key_breaks};

pub(crate) fn rows() -> Vec<Row> {
    vec![
        Row::pass("A-15", a15()),
        Row::pass("A-16", a16()),
        Row::pass("A-17", a17()),
        Row::pass("A-18", a18()),
        Row::pass("A-19", a19()),
        Row::pass("A-20", a20()),
        Row::pass("A-21", a21()),
        Row::new("A-22", Verdict::Direct(Direct { name: "equal secrets", check: a22 })),
        Row::new("A-23", Verdict::Direct(Direct { name: "short secrets", check: a23 }))
            .note("taken, with a notice that the tools show: targets in the field have such secrets"),
        Row::pass("A-29", a29())
            .note("the bytes are the runtime's to draw, from the system's generator; here it is the test's"),
        Row::new("A-30", Verdict::Direct(Direct { name: "what Debug shows", check: a30 })),
        Row::pass("A-31", a31()),
        Row::new("A-32", Verdict::Direct(Direct { name: "method of a joining login", check: a32 }))
            .note("sessions have one connection; the login machine can join one more"),
    ]
}

/// The login with mutual CHAP and MD5, the response with the target's proof being changed so, and what is wrong then.
fn proof(name: &str, acts: impl IntoIterator<Item = Do>, expect: Expect) -> Case {
    Case::new(name, with_mutual_md5(Setup::normal(), Some("disk")))
        .rules(acts.into_iter().map(|act| response(2, act)))
        .expect(stops(expect))
}

/// The proof of an honest target in such a login.
fn honest_proof() -> Vec<u8> {
    let setup = with_mutual_md5(Setup::normal(), Some("disk"));
    bytes(&honest_value(&setup, &Pdus::received(Opcode::LoginResponse), "CHAP_R"))
}

fn a15() -> Vec<Case> {
    let name = || Do::drop_key("CHAP_N");
    let response_key = || Do::drop_key("CHAP_R");
    let later = [Do::Set(Field::TRANSIT, 0), Do::Set(Field::NEXT_STAGE, 0)];
    vec![
        proof("neither", [name(), response_key()], auth_breaks!(ResponseMissing)),
        proof("no CHAP_R", [response_key()], auth_breaks!(MissingKey(Key::ChapR))),
        proof("no CHAP_N", [name()], auth_breaks!(MissingKey(Key::ChapN))),
        // It may take its time, and has to come in the end.
        proof(
            "neither, one response later",
            [name(), response_key()].into_iter().chain(later),
            auth_breaks!(ResponseMissing),
        ),
        Case::new("with all algorithms", with_mutual_chap(Setup::normal()))
            .rules([response(2, name()), response(2, response_key())])
            .expect(stops(auth_breaks!(ResponseMissing))),
    ]
}

fn a16() -> Vec<Case> {
    let right = honest_proof();
    let flipped = |at: usize, mask: u8| {
        let mut wrong = right.clone();
        wrong[at] ^= mask;
        hex(&wrong)
    };
    let case = |name: &str, text: &str| {
        proof(name, [Do::key("CHAP_R", text)], auth_breaks!(WrongResponse))
    };
    let mut wrong = with_mutual_md5(Setup::normal(), Some("disk"));
    let other = Secret::new("another-secret-2").expect("a secret");
    if let Some(chap) = &mut wrong.chap {
        chap.own = Some(("disk".to_owned(), other));
    }
    vec![
        case("zeros", &hex(&[0; 16])),
        case("the first bit", &flipped(0, 0x80)),
        case("a bit in the middle", &flipped(7, 0x10)),
        case("the last bit", &flipped(15, 0x01)),
        case("of another challenge", "0xa172b718126bb3191344d50be137ec5e"),
        Case::new("another secret", wrong)
            .honest(with_mutual_md5(Setup::normal(), Some("disk")))
            .expect(stops(auth_breaks!(WrongResponse))),
    ]
}

/// What someone who knows `secret` answers to a challenge.
fn response_to(challenge: &str, secret: &str) -> String {
    let mut keys = ChapKeys::default();
    for pair in Pairs::new(challenge.as_bytes()).flatten() {
        let key = Key::from_name(pair.key).expect("a key of CHAP");
        keys.add(key, &pair).expect("a key of CHAP");
    }
    let chap = Chap::new("disk", Secret::new(secret).expect("a secret")).expect("a name");
    let mut area = [0; 1024];
    let mut out = Writer::new(&mut area);
    let mut machine = ChapInitiator::new(&Entropy::new([0; 64]));
    machine.respond(&keys, &chap, &mut RecentChallenges::new(), &mut out).expect("a challenge");
    let mut pairs = Pairs::new(out.written()).flatten();
    let pair = pairs.find(|pair| pair.key == Key::ChapR.name()).expect("a response");
    pair.text().expect("digits").to_owned()
}

fn a17() -> Vec<Case> {
    let case = |name: &str, setup: Setup, algorithm: u8| {
        let ours = |key| honest_value(&setup, &login_requests().nth(2), key);
        let (i, c) = (ours("CHAP_I"), ours("CHAP_C"));
        let challenge = format!("CHAP_A={algorithm}\0CHAP_I={i}\0CHAP_C={c}\0");
        let own = response_to(&challenge, "initiator-secret");
        // The honest proof is computed in the same way, from the secret that the target has.
        let right = honest_value(&setup, &Pdus::received(Opcode::LoginResponse), "CHAP_R");
        assert_eq!(right, response_to(&challenge, "target-secret-1"));
        Case::new(name, setup)
            .rules([response(2, Do::key("CHAP_R", &own))])
            .expect(stops(auth_breaks!(ReplayedResponse)))
    };
    vec![
        case("MD5", with_mutual_md5(Setup::normal(), Some("disk")), 5),
        case("SHA3-256", with_mutual_chap(Setup::normal()), 8),
        case("any name", with_mutual_md5(Setup::normal(), None), 5),
    ]
}

fn a18() -> Vec<Case> {
    let right = honest_proof();
    let zero_in_front = [&[0], &right[..]].concat();
    let zero_behind = [&right[..], &[0]].concat();
    let texts = [
        ("no text", String::new()),
        ("no byte", "0x".to_owned()),
        ("no byte in base64", "0b".to_owned()),
        ("one byte", hex(&right[..1])),
        ("15 bytes", hex(&right[..15])),
        ("a byte more in front", hex(&zero_in_front)),
        ("a byte more behind", hex(&zero_behind)),
        ("20 bytes", hex(&[0; 20])),
        ("1024 bytes", hex(&[7; 1024])),
        ("1025 bytes", hex(&[7; 1025])),
        ("1025 bytes in base64", base64(&[7; 1025])),
        ("no binary item", hex(&right)[2..].to_owned()),
        ("a wrong digit", hex(&right).replace("0x", "0xg")),
    ];
    texts
        .into_iter()
        .map(|(name, text)| {
            proof(name, [Do::key("CHAP_R", &text)], auth_breaks!(ResponseMalformed))
        })
        .collect()
}

fn a19() -> Vec<Case> {
    let right = honest_proof();
    let case = |name: &str, text: &str| {
        Case::new(name, with_mutual_md5(Setup::normal(), Some("disk")))
            .rules([response(2, Do::key("CHAP_R", text))])
            .expect(all([
                Expect::Works,
                // The initiator writes in hexadecimal.
                Expect::Law(Law {
                    name: "our proof is in hexadecimal",
                    check: |seen| match value(&login_requests(), "CHAP_R", seen) {
                        text if text.starts_with("0x") => Ok(()),
                        text => Err(text),
                    },
                }),
            ]))
    };
    vec![
        case("base64", &base64(&right)),
        case("base64 in capitals", &base64(&right).replacen("0b", "0B", 1)),
        case("hexadecimal in capitals", &hex(&right).to_uppercase()),
    ]
}

fn a20() -> Vec<Case> {
    let case = |name: &str| {
        proof(&format!("{name:?}"), [Do::key("CHAP_N", name)], auth_breaks!(WrongName))
    };
    vec![
        case("other"),
        case("Disk"),
        case("disk "),
        case("dis"),
        // The initiator's own.
        case("alice"),
        Case::new("any name will do", with_mutual_md5(Setup::normal(), None))
            .rules([response(2, Do::key("CHAP_N", "other"))]),
    ]
}

fn a21() -> Vec<Case> {
    let long = "n".repeat(255);
    let named = |length: usize, expect| {
        Case::new(format!("{length} bytes"), with_mutual_md5(Setup::normal(), None))
            .rules([response(2, Do::key("CHAP_N", &"n".repeat(length)))])
            .expect(expect)
    };
    vec![
        named(0, stops(auth_breaks!(NameMalformed))),
        named(1, Expect::Works),
        named(255, Expect::Works),
        named(256, stops(key_breaks!(ChapN, TooLong))),
        named(4000, stops(key_breaks!(ChapN, TooLong))),
        proof("255 bytes, another name", [Do::key("CHAP_N", &long)], auth_breaks!(WrongName)),
        proof(
            "no UTF-8",
            [Do::drop_key("CHAP_N"), Do::Text(b"CHAP_N=disk\xff\0".to_vec())],
            auth_breaks!(NameMalformed),
        ),
    ]
}

/// One secret for both directions is refused, whatever the names are.
fn a22(sound: bool) -> Result<(), String> {
    let secret = |text: &str| Secret::new(text).map_err(|e| e.to_string());
    let theirs = if sound { "initiator-secret" } else { "initiator-secret-2" };
    for name in [None, Some("disk"), Some("alice")] {
        let chap = Chap::new("alice", secret("initiator-secret")?).map_err(|e| e.to_string())?;
        let mutual = chap.with_mutual(name, secret(theirs)?);
        if mutual != Err(CredentialsError::EqualSecrets) {
            return Err(format!("{name:?}: {mutual:?}"));
        }
    }
    Ok(())
}

/// Secrets of less than 12 bytes are noticed, on either side; those of 12 are not.
fn a23(sound: bool) -> Result<(), String> {
    let secret = |length: usize, byte: u8| Secret::new(vec![byte; length]).expect("a secret");
    let least = if sound { 12 } else { 13 };
    for ours in [1, 11, 12, 16] {
        for theirs in [None, Some(1), Some(11), Some(12), Some(16)] {
            let mut chap = Chap::new("alice", secret(ours, 1)).map_err(|e| e.to_string())?;
            if let Some(length) = theirs {
                chap = chap.with_mutual(None, secret(length, 2)).map_err(|e| e.to_string())?;
            }
            let config = Rig::config().chap(chap).build().map_err(|e| e.to_string())?;
            let has = |notice: Notice| config.notices().contains(&notice);
            let noticed = (has(Notice::ShortSecret), has(Notice::ShortMutualSecret));
            if noticed != (ours < least, theirs.is_some_and(|length| length < least)) {
                return Err(format!("{ours} and {theirs:?} bytes: {noticed:?}"));
            }
        }
    }
    Ok(())
}

/// A session that logs in four times.
fn four_logins() -> Setup {
    let again = [Job::Logout, Job::Settle, Job::Open];
    Setup::normal().jobs([again.clone(), again.clone(), again].concat())
}

fn a29() -> Vec<Case> {
    const FRESH: Law = Law {
        name: "four challenges, all fresh",
        check: |seen| {
            let ours = our_challenges(seen);
            if ours.len() != 4 {
                return Err(format!("{} challenges", ours.len()));
            }
            for (at, (identifier, challenge)) in ours.iter().enumerate() {
                if bytes(challenge).len() < 16 {
                    return Err(format!("{challenge} is short"));
                }
                if ours[..at].iter().any(|(_, earlier)| earlier == challenge) {
                    return Err(format!("{challenge} comes again"));
                }
                if at > 0 && ours[at - 1].0 == *identifier {
                    return Err(format!("the identifier {identifier} comes again"));
                }
                let theirs = Pdus::received(Opcode::LoginResponse);
                let found = theirs.find(seen);
                let text = found.iter().flat_map(|entry| entry.data.split(|byte| *byte == 0));
                let theirs = text.filter_map(|pair| pair.strip_prefix(b"CHAP_C="));
                if theirs.into_iter().any(|theirs| theirs == challenge.as_bytes()) {
                    return Err(format!("{challenge} is the target's, too"));
                }
            }
            Ok(())
        },
    };
    // With the second seed the random bytes of two logins in a row have equal identifiers.
    [1, 199]
        .into_iter()
        .map(|seed| {
            let setup = with_mutual_md5(four_logins(), None).with(|s| s.seed = seed);
            Case::new(format!("seed {seed}"), setup).expect(all([
                Expect::Works,
                Expect::Law(FRESH),
                Expect::Connections(4..=4),
            ]))
        })
        .collect()
}

/// Nothing that holds a secret or a proof shows it, in text or as numbers: not while the login runs, not after it, not in errors.
fn a30(sound: bool) -> Result<(), String> {
    let setup = with_mutual_chap(Setup::normal());
    let config = setup.config.clone().build().map_err(|e| e.to_string())?;
    let mut needles = vec!["initiator-secret".to_owned(), "target-secret-1".to_owned()];
    for pdus in [login_requests(), Pdus::received(Opcode::LoginResponse)] {
        let proof = honest_value(&setup, &pdus, "CHAP_R");
        needles.push(proof.trim_start_matches("0x").to_owned());
    }
    if !sound {
        // The name is no secret.
        needles.push("alice".into());
    }
    let mut shown = vec![
        format!("{config:?} {config:#?} {:?} {:?}", config.chap(), setup.config),
        format!("{:?}", setup.chap),
    ];
    let mut rig = Rig::new(config.clone(), Limits::DEFAULT, setup.seed);
    rig.target.chap.clone_from(&setup.chap);
    rig.driver.session.open(crate::play::portal(), rig.clock.now()).map_err(|e| e.to_string())?;
    rig.driver.touch();
    let mut steps = 0;
    while rig.step() {
        steps += 1;
        shown.push(format!("{:?} {:#?}", rig.driver.session, rig.driver.connection()));
        shown.push(format!("{:?} {:?} {:?}", rig.driver, rig.told, rig.actions));
    }
    if rig.driver.session.state() != SessionState::LoggedIn || steps < 4 {
        return Err(format!("{:?} after {steps} steps", rig.driver.session.state()));
    }
    let mut machine = ChapInitiator::new(&Entropy::new([0x73; 64]));
    let text = "CHAP_A=8\0CHAP_I=1\0CHAP_C=0x00112233445566778899aabbccddeeff\0";
    let mut keys = ChapKeys::default();
    for pair in Pairs::new(text.as_bytes()).flatten() {
        let key = Key::from_name(pair.key).ok_or("no key")?;
        keys.add(key, &pair).map_err(|e| e.to_string())?;
    }
    let mut area = [0; 1024];
    let chap = config.chap().ok_or("no CHAP")?;
    let mut out = Writer::new(&mut area);
    machine
        .respond(&keys, chap, &mut RecentChallenges::new(), &mut out)
        .map_err(|e| e.to_string())?;
    shown.push(format!("{machine:?} {keys:?}"));
    for error in [AuthRule::WrongResponse, AuthRule::ReplayedResponse, AuthRule::ResponseMalformed]
    {
        shown.push(format!("{error:?} {error} {:?}", LoginError::Auth(error)));
    }
    for needle in &needles {
        let numbers = format!("{:?}", needle.as_bytes());
        let numbers = numbers.trim_matches(['[', ']']);
        let lines = numbers.replace(", ", ",\n");
        for text in &shown {
            let bare: String = text.split_whitespace().collect();
            let in_lines: String = lines.split_whitespace().collect();
            if text.contains(needle.as_str()) || bare.contains(&in_lines) {
                return Err(format!("{needle} is in {:.300}", text));
            }
        }
    }
    Ok(())
}

fn a31() -> Vec<Case> {
    let waits = |setup: Setup| setup.config(|c| c.security_start(SecurityStart::AwaitOffer));
    let answer = || login_requests().nth(1);
    let expected = || {
        vec![
            Expect::Works,
            Expect::NoKey(login_requests().first(), "AuthMethod"),
            Expect::Field(login_requests().first(), Field::TRANSIT, Is::Value(0)),
            Expect::Pair(answer(), "AuthMethod=CHAP"),
            Expect::Field(answer(), Field::CURRENT_STAGE, Is::Value(0)),
            Expect::Field(answer(), Field::TRANSIT, Is::Value(0)),
        ]
    };
    let with_list = |name: &str, setup: Setup, algorithms| {
        let mut seen = expected();
        seen.push(Expect::Pair(answer(), algorithms));
        Case::new(name, waits(setup)).expect(Expect::All(seen))
    };
    let chosen = |list: &str| {
        let mut seen = expected();
        seen.push(Expect::Pair(answer(), "CHAP_A=5"));
        Case::new(list, waits(with_md5(Setup::normal())))
            .rules([response(0, Do::key("AuthMethod", list))])
            .expect(Expect::All(seen))
    };
    let nothing = || waits(Setup::normal());
    vec![
        with_list("one-way", with_md5(Setup::normal()), "CHAP_A=5"),
        with_list("mutual", with_mutual_md5(Setup::normal(), Some("disk")), "CHAP_A=5"),
        with_list("all algorithms", with_chap(Setup::normal()), "CHAP_A=8,5,7,6"),
        // None is not taken, although it is preferred.
        chosen("None,CHAP"),
        chosen("KRB5,SRP,CHAP,None"),
        Case::new("CHAP is proposed to one who has no secret", nothing())
            .rules([response(0, Do::key("AuthMethod", "CHAP"))])
            .expect(stops(auth_breaks!(NoCommonMethod))),
    ]
}

/// A further connection of a session that was authenticated offers the same method, and takes no other.
fn a32(sound: bool) -> Result<(), String> {
    let config = Rig::config().chap(md5()).build().map_err(|e| e.to_string())?;
    let refused = Err(LoginError::Auth(AuthRule::MethodNotOffered));
    for (text, good) in [("AuthMethod=CHAP\0", true), ("AuthMethod=None\0", false)] {
        let identity = Identity {
            isid: Isid::random(1, 0),
            tsih: 7,
            cid: 1,
            cmd_sn: CmdSn(1),
            initiator_task_tag: InitiatorTaskTag(0),
        };
        let (mut area, mut recent) = ([0; 8192], RecentChallenges::new());
        let mut login = Login::joining(identity, Entropy::new([3; 64]), Negotiated::DEFAULT);
        let request = login.start(&config, &mut area).map_err(|e| e.to_string())?;
        let offer = String::from_utf8_lossy(&area[request.text.clone()]).into_owned();
        if !offer.contains("\0AuthMethod=CHAP\0") || request.is_transit() {
            return Err(offer);
        }
        let response = LoginResponse {
            outcome: LoginOutcome::Proceed(LoginProgress {
                current_stage: Stage::SecurityNegotiation,
                next_stage: None,
                is_continued: false,
                stat_sn: StatSn(1),
                exp_cmd_sn: CmdSn(1),
                max_cmd_sn: CmdSn(32),
            }),
            version_max: 0,
            version_active: 0,
            data_segment_length: 16,
            isid: identity.isid,
            tsih: 7,
            initiator_task_tag: identity.initiator_task_tag,
        };
        let step = login.response(&response, text.as_bytes(), &config, &mut recent, &mut area);
        let fits = if good == sound { matches!(step, Ok(Step::Send(_))) } else { step == refused };
        if !fits {
            return Err(format!("{text:?}: {step:?}"));
        }
    }
    Ok(())
}
