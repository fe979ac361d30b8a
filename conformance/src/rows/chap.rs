//! AuthMethod, and CHAP as far as the target's challenge and our proof.
//!
//! The proofs that are written here were computed by another implementation of MD5.

use core::time::Duration;

use iscsi_core::auth::{Chap, ChapAlgorithms, Secret};
use iscsi_core::config::{Recovery, SecurityStart};
use iscsi_core::testing::{Do, Field, Rule, TargetChap, When};
use iscsi_core::text::Key;
use iscsi_core::wire::Opcode;

use super::common::{all, at_once, with_chap, with_mutual_chap};
use crate::case::{Case, Job, Row, Setup};
use crate::expect::{Expect, Law, Pdus};
use crate::observe::Observation;
use crate::play::play;
use crate::{auth_breaks, key_breaks, login_breaks, refused};

pub(crate) fn rows() -> Vec<Row> {
    vec![
        Row::pass("A-01", a01()),
        Row::pass("A-02", a02()),
        Row::pass("A-03", a03()),
        Row::pass("A-04", a04()),
        Row::pass("A-05", a05()),
        Row::pass("A-06", a06()),
        Row::pass("A-07", a07()),
        Row::pass("A-08", a08()),
        Row::pass("A-09", a09()).note("a short challenge is answered without a warning: the secret's length is what counts"),
        Row::pass("A-10", a10()),
        Row::pass("A-11", a11()),
        Row::pass("A-12", a12())
            .note("within one response the order of the keys means nothing: a text is a set of pairs"),
        Row::pass("A-13", a13())
            .note("each session remembers the challenges of its own connections; a proof that another one gives away is made with the initiator's secret, which A-17 refuses"),
        Row::pass("A-14", a14())
            .note("answered without a warning: what targets have sent is not remembered, only what was sent to them"),
        Row::pass("A-24", a24()),
        Row::pass("A-25", a25()),
        Row::pass("A-26", a26()),
        Row::pass("A-27", a27()),
        Row::pass("A-28", a28()),
    ]
}

/// A change of the response with this number.
pub(super) fn response(number: u32, act: Do) -> Rule {
    Rule::new(When::sends_nth(Opcode::LoginResponse, number), act)
}

pub(super) fn login_requests() -> Pdus {
    Pdus::sent(Opcode::LoginRequest)
}

fn secret(text: &str) -> Secret {
    Secret::new(text).expect("a secret")
}

/// The initiator with MD5 only.
pub(super) fn md5() -> Chap {
    let chap = Chap::new("alice", secret("initiator-secret")).expect("a name");
    chap.with_algorithms(ChapAlgorithms::MD5).expect("MD5")
}

/// One-way CHAP with MD5.
pub(super) fn with_md5(setup: Setup) -> Setup {
    let mut setup = setup.config(|c| c.chap(md5()));
    setup.chap = Some(TargetChap::new(secret("initiator-secret")));
    setup
}

/// Mutual CHAP with MD5, the target being allowed any name or only this one.
pub(super) fn with_mutual_md5(setup: Setup, name: Option<&str>) -> Setup {
    let chap = md5().with_mutual(name, secret("target-secret-1")).expect("another secret");
    with_mutual_chap(setup).config(|c| c.chap(chap))
}

/// The login fails at once for this reason; no proof was sent, the operational stage was not reached.
fn stops_before_proof(expect: Expect) -> Expect {
    all([stops(expect), Expect::NoKey(login_requests(), "CHAP_R")])
}

/// The login fails at once for this reason; the operational stage was not reached.
pub(super) fn stops(expect: Expect) -> Expect {
    all([
        expect,
        at_once(),
        Expect::Connections(1..=1),
        Expect::Count(login_requests().with(Field::CURRENT_STAGE, 1), 0..=0),
        Expect::Count(Pdus::sent(Opcode::ScsiCommand), 0..=0),
    ])
}

/// CSG, NSG and T of the response with this number.
fn stages(number: u32, current: u64, next: u64, transit: u64) -> Vec<Rule> {
    vec![
        response(number, Do::Set(Field::CURRENT_STAGE, current)),
        response(number, Do::Set(Field::NEXT_STAGE, next)),
        response(number, Do::Set(Field::TRANSIT, transit)),
    ]
}

/// The value of a key in the only one of these PDUs.
pub(super) fn value(pdus: &Pdus, key: &str, seen: &Observation) -> String {
    let found = pdus.find(seen);
    let pairs = found.iter().flat_map(|entry| entry.data.split(|byte| *byte == 0));
    let mut values = pairs.filter_map(|pair| {
        let (name, value) = core::str::from_utf8(pair).ok()?.split_once('=')?;
        (name == key).then(|| value.to_owned())
    });
    values.next().unwrap_or_default()
}

/// The value of a key that is sent if nothing goes wrong: runs with equal seeds are equal.
pub(super) fn honest_value(setup: &Setup, pdus: &Pdus, key: &str) -> String {
    value(pdus, key, &play(setup, &[]))
}

/// As a binary item in hexadecimal.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold("0x".to_owned(), |text, byte| text + &format!("{byte:02x}"))
}

/// As a binary item in base64.
pub(super) fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = "0b".to_owned();
    for group in bytes.chunks(3) {
        let at = |n: usize| u32::from(group.get(n).copied().unwrap_or_default());
        let bits = at(0) << 16 | at(1) << 8 | at(2);
        for n in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * n)) as usize & 0x3f];
            text.push(if n <= group.len() { char::from(digit) } else { '=' });
        }
    }
    text
}

/// The bytes of a binary item in hexadecimal.
pub(super) fn bytes(text: &str) -> Vec<u8> {
    let mut out = [0; 1024];
    let length = iscsi_core::text::value::binary(text, &mut out).expect("a binary item");
    out[..length].to_vec()
}

fn a01() -> Vec<Case> {
    let none = || response(0, Do::key("AuthMethod", "None"));
    let transit = |csg| stages(0, 0, csg, 1);
    let again = with_chap(Setup::logging_out());
    vec![
        Case::new("one-way", with_chap(Setup::normal()))
            .rules([none()])
            .expect(stops_before_proof(auth_breaks!(MethodNotOffered))),
        Case::new("mutual", with_mutual_chap(Setup::normal()))
            .rules([none()])
            .expect(stops_before_proof(auth_breaks!(MethodNotOffered))),
        Case::new("with T", with_chap(Setup::normal()))
            .rules([none()])
            .rules(transit(1))
            .expect(stops_before_proof(login_breaks!(TransitNotRequested))),
        Case::new("at the second login of the session", again).rules([none().on(1)]).expect(all([
            auth_breaks!(MethodNotOffered),
            Expect::NoKey(login_requests().on(1), "CHAP_R"),
            Expect::Count(login_requests().on(1), 1..=1),
        ])),
    ]
}

fn a02() -> Vec<Case> {
    let waiting =
        with_chap(Setup::normal()).config(|c| c.security_start(SecurityStart::AwaitOffer));
    let case = |name: &str, setup: Setup, text: &[&str]| {
        Case::new(name, setup)
            .rules([response(0, Do::pairs(text))])
            .rules(stages(0, 0, 1, 1))
            .expect(stops_before_proof(login_breaks!(TransitNotRequested)))
    };
    vec![
        case("nothing said", with_chap(Setup::normal()), &[]),
        case("a portal group only", with_chap(Setup::normal()), &["TargetPortalGroupTag=1"]),
        case("mutual", with_mutual_chap(Setup::normal()), &["TargetPortalGroupTag=1"]),
        case("the target was to propose", waiting, &["TargetPortalGroupTag=1"]),
        Case::new("operational keys instead", with_chap(Setup::normal()))
            .rules([response(0, Do::pairs(&["MaxBurstLength=262144"]))])
            .expect(stops_before_proof(key_breaks!(MaxBurstLength, WrongStage))),
    ]
}

fn a03() -> Vec<Case> {
    let case = |name: &str, setup: Setup, number| {
        Case::new(name, setup)
            .rules([response(number, Do::Data(Vec::new()))])
            .rules(stages(number, 0, 3, 1))
            .expect(stops_before_proof(login_breaks!(TransitNotRequested)))
    };
    vec![
        case("first response", with_chap(Setup::normal()), 0),
        case("instead of a challenge", with_chap(Setup::normal()), 1),
        case("mutual", with_mutual_chap(Setup::normal()), 0),
        Case::new("as if in the operational stage", with_chap(Setup::normal()))
            .rules([response(0, Do::Data(Vec::new()))])
            .rules(stages(0, 1, 3, 1))
            .expect(stops_before_proof(login_breaks!(CurrentStage))),
        // T was offered then, but for the next stage only.
        Case::new("after the proof", with_mutual_chap(Setup::normal()))
            .rules(stages(2, 0, 3, 1))
            .expect(stops(login_breaks!(NextStage))),
    ]
}

/// A challenge with this value of a key, to an initiator that offers MD5, and what is wrong with it.
fn challenge(key: &str, value: &str, expect: Expect) -> Case {
    Case::new(format!("{key}={value:.40}"), with_md5(Setup::normal()))
        .rules([response(1, Do::key(key, value))])
        .expect(stops_before_proof(expect))
}

fn a04() -> Vec<Case> {
    let mut cases: Vec<Case> = ["6", "7", "8", "0", "4", "9", "255", "261", "18446744073709551615"]
        .into_iter()
        .map(|number| challenge("CHAP_A", number, auth_breaks!(AlgorithmNotOffered)))
        .collect();
    cases.push(
        Case::new("none of many", with_chap(Setup::normal()))
            .rules([response(1, Do::key("CHAP_A", "9"))])
            .expect(stops_before_proof(auth_breaks!(AlgorithmNotOffered))),
    );
    cases
}

fn a05() -> Vec<Case> {
    let mut cases: Vec<Case> =
        ["", "MD5", "5,7", "5,", ",5", "-5", "05", "5 ", "0x", "18446744073709551621"]
            .into_iter()
            .map(|text| challenge("CHAP_A", text, auth_breaks!(AlgorithmMalformed)))
            .collect();
    cases.push(
        Case::new("0x5", with_md5(Setup::normal()))
            .rules([response(1, Do::key("CHAP_A", "0x5"))])
            .expect(Expect::Works),
    );
    cases
}

fn a06() -> Vec<Case> {
    let case = |key: &str, expect: Expect| {
        [with_md5(Setup::normal()), with_mutual_md5(Setup::normal(), None)].map(|setup| {
            Case::new(
                format!("no {key}, {}", setup.chap.as_ref().is_some_and(|c| c.own.is_some())),
                setup,
            )
            .rules([response(1, Do::drop_key(key))])
            .expect(stops_before_proof(expect.clone()))
        })
    };
    let mut cases: Vec<Case> = [
        case("CHAP_A", auth_breaks!(MissingKey(Key::ChapA))),
        case("CHAP_I", auth_breaks!(MissingKey(Key::ChapI))),
        case("CHAP_C", auth_breaks!(MissingKey(Key::ChapC))),
    ]
    .into_iter()
    .flatten()
    .collect();
    cases.push(
        Case::new("no key", with_md5(Setup::normal()))
            .rules([response(1, Do::Data(Vec::new()))])
            .expect(stops_before_proof(auth_breaks!(MissingKey(Key::ChapA)))),
    );
    cases
}

fn a07() -> Vec<Case> {
    ["256", "-1", "99999", "abc", "", "0x100", "1,2", "4294967296", "18446744073709551616", "07"]
        .into_iter()
        .map(|text| challenge("CHAP_I", text, auth_breaks!(Identifier)))
        .collect()
}

/// A challenge that is answered with this proof.
fn answered(name: &str, identifier: &str, challenge: &str, proof: &'static str) -> Case {
    Case::new(name, with_md5(Setup::normal()))
        .rules([
            response(1, Do::key("CHAP_I", identifier)),
            response(1, Do::key("CHAP_C", challenge)),
        ])
        .expect(all([Expect::Works, Expect::Pair(login_requests().nth(2), proof)]))
}

fn a08() -> Vec<Case> {
    let challenge = "0x000102030405060708090a0b0c0d0e0f";
    [
        ("0", "CHAP_R=0xd6846d8378da8812c701552ba7b5d3d9"),
        ("0x0", "CHAP_R=0xd6846d8378da8812c701552ba7b5d3d9"),
        ("1", "CHAP_R=0xb8560a1a75e50351791f3b3e58ec4520"),
        ("127", "CHAP_R=0x776979984fe608fae25675499a1ae760"),
        ("128", "CHAP_R=0x476e10eab6ac4fe228f2bd95894eede5"),
        ("255", "CHAP_R=0xb1a0c99bb18d19920f2ac263b50a86c3"),
        ("0xff", "CHAP_R=0xb1a0c99bb18d19920f2ac263b50a86c3"),
        ("0X00fF", "CHAP_R=0xb1a0c99bb18d19920f2ac263b50a86c3"),
    ]
    .into_iter()
    .map(|(identifier, proof)| answered(identifier, identifier, challenge, proof))
    .collect()
}

/// Bytes of a challenge of this length.
fn some_bytes(length: usize) -> Vec<u8> {
    (0..length).map(|n| (n * 7 + 3) as u8).collect()
}

fn a09() -> Vec<Case> {
    let counted: Vec<u8> = (0..16).collect();
    let mut cases = Vec::new();
    for (challenge, proof) in [
        (vec![0x5a], "CHAP_R=0x4a1cb462a0ad8282d39b4476d12a1a33"),
        (vec![0, 0, 1], "CHAP_R=0x7d5a9e8ae127574dbfead453b799164d"),
        (counted, "CHAP_R=0xa172b718126bb3191344d50be137ec5e"),
        (vec![0; 1024], "CHAP_R=0x412b14109f551e7f35bde7152734bdd1"),
        (some_bytes(1024), "CHAP_R=0xabf0d67ca8cfbefebfdcb27b5d3b46d5"),
    ] {
        for text in [hex(&challenge), hex(&challenge).to_uppercase(), base64(&challenge)] {
            let name = format!("{} bytes, {:.10}", challenge.len(), text);
            cases.push(answered(&name, "7", &text, proof));
        }
    }
    cases
}

fn a10() -> Vec<Case> {
    let mut cases = vec![
        challenge("CHAP_C", "0x", auth_breaks!(ChallengeEmpty)),
        challenge("CHAP_C", "0b", auth_breaks!(ChallengeEmpty)),
    ];
    for length in [1025, 1026, 2048, 3900] {
        let too_long = some_bytes(length);
        cases.push(challenge("CHAP_C", &hex(&too_long), auth_breaks!(ChallengeTooLong)));
        cases.push(challenge("CHAP_C", &base64(&too_long), auth_breaks!(ChallengeTooLong)));
    }
    cases
}

fn a11() -> Vec<Case> {
    let mut cases = vec![
        answered("three digits", "7", "0xabc", "CHAP_R=0x8ce831180407d46317e1169f82a6de60"),
        answered("one digit", "7", "0xA", "CHAP_R=0x83c91e6385b04a4078e941eb0fd3d157"),
    ];
    for text in [
        "0xzz", "0x12g4", "0x12 34", "0x0x12", "deadbeef", "", "7", "0c12", "0b*AAA", "0bWg",
        "0bWg=", "0bWg===", "0b====", "0bW===", "0bWg=A", "0b=AAA", "0bWh==", "0bWm9=", "0bWm-_",
        "x12", "0",
    ] {
        cases.push(challenge("CHAP_C", text, auth_breaks!(ChallengeMalformed)));
    }
    cases.push(
        Case::new("no UTF-8", with_md5(Setup::normal()))
            .rules([
                response(1, Do::drop_key("CHAP_C")),
                response(1, Do::Text(b"CHAP_C=0x12\xff\0".to_vec())),
            ])
            .expect(stops_before_proof(auth_breaks!(ChallengeMalformed))),
    );
    cases
}

fn a12() -> Vec<Case> {
    let early = |name: &str, pairs: &[&str], expect| {
        Case::new(name, with_md5(Setup::normal()))
            .rules([response(0, Do::add_pairs(pairs))])
            .expect(stops_before_proof(expect))
    };
    let challenge = ["CHAP_A=5", "CHAP_I=7", "CHAP_C=0x000102030405060708090a0b0c0d0e0f"];
    let [a, i, c] = challenge;
    vec![
        early(
            "a whole challenge before CHAP_A",
            &challenge,
            auth_breaks!(UnexpectedKey(Key::ChapA)),
        ),
        early("CHAP_C before CHAP_A", &[c], auth_breaks!(UnexpectedKey(Key::ChapC))),
        early("CHAP_I before CHAP_A", &[i], auth_breaks!(UnexpectedKey(Key::ChapI))),
        Case::new("CHAP_R with the challenge", with_md5(Setup::normal()))
            .rules([response(1, Do::add_pairs(&["CHAP_R=0x000102030405060708090a0b0c0d0e0f"]))])
            .expect(stops_before_proof(auth_breaks!(UnexpectedKey(Key::ChapR)))),
        Case::new("CHAP_N with the challenge", with_md5(Setup::normal()))
            .rules([response(1, Do::add_pairs(&["CHAP_N=disk"]))])
            .expect(stops_before_proof(auth_breaks!(UnexpectedKey(Key::ChapN)))),
        Case::new("a second challenge after the proof", with_mutual_md5(Setup::normal(), None))
            .rules([response(2, Do::pairs(&[i, c]))])
            .expect(stops(key_breaks!(ChapI, Repeated))),
        Case::new("a key of another method", with_md5(Setup::normal()))
            .rules([response(1, Do::add_pairs(&["SRP_s=0x12"]))])
            .expect(stops_before_proof(auth_breaks!(UnexpectedKey(Key::SrpS)))),
        Case::new("in another order within the response", with_md5(Setup::normal()))
            .rules([response(1, Do::pairs(&[c, i, a]))]),
    ]
}

/// A challenge that we issue comes back as the target's.
fn a13() -> Vec<Case> {
    let no_answer = |connection| {
        all([
            auth_breaks!(ChallengeReflected),
            Expect::NoKey(login_requests().on(connection), "CHAP_R"),
            Expect::NoKey(login_requests().on(connection), "CHAP_C"),
            Expect::Count(login_requests().on(connection), 2..=2),
            Expect::Count(Pdus::sent(Opcode::ScsiCommand).on(connection), 0..=0),
            Expect::Connections(connection as usize + 1..=connection as usize + 1),
        ])
    };
    let thrice = || {
        let again = [Job::Logout, Job::Settle, Job::Open];
        with_mutual_chap(Setup::normal().jobs([again.clone(), again].concat()))
    };
    let once = || with_mutual_chap(Setup::normal());
    let twice = || with_mutual_chap(Setup::logging_out());
    let ours = |setup: &Setup, connection| {
        honest_value(setup, &login_requests().on(connection).nth(2), "CHAP_C")
    };
    let case = |name: &str, setup: Setup, connection, text: String| {
        Case::new(name, setup)
            .rules([response(1, Do::key("CHAP_C", &text)).on(connection)])
            .expect(no_answer(connection))
    };
    let first = ours(&twice(), 0);
    vec![
        case("of this connection", once(), 0, first.clone()),
        case("of the connection before", twice(), 1, first.clone()),
        case("in capitals", twice(), 1, first.to_uppercase()),
        case("in base64", twice(), 1, base64(&bytes(&first))),
        case("of two connections before", thrice(), 2, ours(&thrice(), 0)),
    ]
}

/// What we sent as CHAP_C, connection by connection.
pub(super) fn our_challenges(seen: &Observation) -> Vec<(String, String)> {
    let of = |connection: usize| {
        let pdus = login_requests().on(connection as u32);
        (value(&pdus, "CHAP_I", seen), value(&pdus, "CHAP_C", seen))
    };
    (0..seen.connections.len()).map(of).filter(|(_, challenge)| !challenge.is_empty()).collect()
}

fn a14() -> Vec<Case> {
    const FRESH: Law = Law {
        name: "two challenges of ours that differ",
        check: |seen| match &our_challenges(seen)[..] {
            [(_, first), (_, second)] if first != second => Ok(()),
            other => Err(format!("{other:?}")),
        },
    };
    let same = || {
        [
            response(1, Do::key("CHAP_I", "7")),
            response(1, Do::key("CHAP_C", "0x000102030405060708090a0b0c0d0e0f")),
        ]
    };
    let proof = "CHAP_R=0xa172b718126bb3191344d50be137ec5e";
    let proves = |connection| Expect::Pair(login_requests().on(connection), proof);
    vec![
        Case::new("one-way", with_md5(Setup::logging_out())).rules(same()).expect(all([
            Expect::Works,
            proves(0),
            proves(1),
        ])),
        Case::new("mutual", with_mutual_md5(Setup::logging_out(), None))
            .rules(same())
            .expect(all([Expect::Works, proves(0), proves(1), Expect::Law(FRESH)])),
    ]
}

fn a24() -> Vec<Case> {
    let refusal = |connection| {
        [
            response(2, Do::Set(Field::STATUS_CLASS, 2)),
            response(2, Do::Set(Field::STATUS_DETAIL, 1)),
            response(2, Do::Data(Vec::new())),
        ]
        .map(|rule| rule.on(connection))
    };
    let lasting = Recovery { verify: false, ..Recovery::lasting(Duration::from_secs(300)) };
    let recovering = || with_chap(Setup::normal()).config(|c| c.recovery(lasting));
    let mut wrong = with_chap(Setup::normal());
    wrong.chap = Some(TargetChap::new(secret("quite another secret")));
    let after_loss = recovering().jobs([Job::sleep(100)]);
    vec![
        Case::new("our secret is wrong", wrong)
            .honest(with_chap(Setup::normal()))
            .expect(stops(refused!(2, 1))),
        Case::new("mutual", with_mutual_chap(Setup::normal()))
            .rules(refusal(0))
            .expect(stops(refused!(2, 1))),
        Case::new("with recovery", recovering()).rules(refusal(0)).expect(stops(refused!(2, 1))),
        Case::new("when the session comes back", after_loss)
            .rules([Rule::new(When::At(Duration::from_secs(1)), Do::CLOSE).on(0)])
            .rules(refusal(1))
            .expect(all([refused!(2, 1), Expect::Connections(2..=2)])),
    ]
}

fn a25() -> Vec<Case> {
    let optional = || {
        let chap = Chap::new("alice", secret("initiator-secret")).expect("a name").allow_none(true);
        with_chap(Setup::normal()).config(|c| c.chap(chap))
    };
    let case = |name: &str, setup: Setup, word: &str, expect| {
        Case::new(format!("{name}, {word}"), setup)
            .rules([response(0, Do::key("AuthMethod", word))])
            .expect(stops_before_proof(expect))
    };
    let rejected = || auth_breaks!(MethodRejected);
    vec![
        case("required", with_chap(Setup::normal()), "Reject", rejected()),
        case("mutual", with_mutual_chap(Setup::normal()), "Reject", rejected()),
        // A target that rejects None, too, wants what we have not.
        case("optional", optional(), "Reject", rejected()),
        case("only None is offered", Setup::normal(), "Reject", rejected()),
        case("required", with_chap(Setup::normal()), "Irrelevant", auth_breaks!(MethodNotOffered)),
        case(
            "required",
            with_chap(Setup::normal()),
            "NotUnderstood",
            auth_breaks!(MethodNotOffered),
        ),
    ]
}

fn a26() -> Vec<Case> {
    let mut cases: Vec<Case> =
        ["SRP", "KRB5", "SPKM1", "CHAP,SRP", "chap", "", "X-com.example.auth"]
            .into_iter()
            .map(|method| {
                let offer = Expect::Pair(login_requests().first(), "AuthMethod=CHAP");
                Case::new(format!("{method:?}"), with_chap(Setup::normal()))
                    .rules([response(0, Do::key("AuthMethod", method))])
                    .expect(all([stops_before_proof(auth_breaks!(MethodNotOffered)), offer]))
            })
            .collect();
    cases.push(
        Case::new("SRP, where only None is offered", Setup::normal())
            .rules([response(0, Do::key("AuthMethod", "SRP"))])
            .expect(all([
                stops_before_proof(auth_breaks!(MethodNotOffered)),
                Expect::Pair(login_requests().first(), "AuthMethod=None"),
            ])),
    );
    let waiting =
        with_chap(Setup::normal()).config(|c| c.security_start(SecurityStart::AwaitOffer));
    cases.push(
        Case::new("the target proposes others only", waiting)
            .rules([response(0, Do::key("AuthMethod", "KRB5,SRP"))])
            .expect(stops_before_proof(auth_breaks!(NoCommonMethod))),
    );
    cases
}

fn a27() -> Vec<Case> {
    let proof = ["CHAP_N=disk", "CHAP_R=0x000102030405060708090a0b0c0d0e0f"];
    let [name, response_only] = proof;
    let one_way = || with_md5(Setup::normal());
    let mutual = || with_mutual_md5(Setup::normal(), Some("disk"));
    let case = |what: &str, setup: Setup, number, pairs: &[&str], expect| {
        Case::new(what, setup).rules([response(number, Do::add_pairs(pairs))]).expect(stops(expect))
    };
    let unexpected_name = || auth_breaks!(UnexpectedKey(Key::ChapN));
    vec![
        case("one-way, at the end", one_way(), 2, &proof, unexpected_name()),
        case("one-way, CHAP_N at the end", one_way(), 2, &[name], unexpected_name()),
        case(
            "one-way, CHAP_R at the end",
            one_way(),
            2,
            &[response_only],
            auth_breaks!(UnexpectedKey(Key::ChapR)),
        ),
        case("mutual, with the method", mutual(), 0, &proof, unexpected_name()),
        case("mutual, with the challenge", mutual(), 1, &proof, unexpected_name()),
        Case::new("one-way, in the operational stage", one_way())
            .rules([Rule::new(When::sends_last_login(), Do::add_pairs(&[response_only]))])
            .expect(all([key_breaks!(ChapR, WrongStage), at_once()])),
    ]
}

fn a28() -> Vec<Case> {
    let case = |name: &str, setup: Setup, next| {
        Case::new(name, setup)
            .rules(stages(1, 0, next, 1))
            .expect(stops_before_proof(login_breaks!(TransitNotRequested)))
    };
    vec![
        case("one-way", with_md5(Setup::normal()), 1),
        case("mutual", with_mutual_md5(Setup::normal(), None), 1),
        case("to the full feature phase", with_md5(Setup::normal()), 3),
        Case::new("without a challenge", with_md5(Setup::normal()))
            .rules([response(1, Do::Data(Vec::new()))])
            .rules(stages(1, 0, 1, 1))
            .expect(stops_before_proof(login_breaks!(TransitNotRequested))),
    ]
}
