//! K-35 to K-46: the form of text, and when its keys act.

use core::time::Duration;

use iscsi_core::digest::DigestKind;
use iscsi_core::login::LoginError;
use iscsi_core::testing::{Do, Field, Rule, Told, When};
use iscsi_core::text::{Digests, Negotiated, TextRule};
use iscsi_core::wire::{LoginStatus, Opcode};
use iscsi_core::{LostReason, ProtocolError, SessionState};

use super::common::{all, at_once, soliciting, with_digests};
use super::keys_exchange::{last, login_requests, proposal, proposes, response, stops};
use crate::case::{Case, Job, Row, Setup};
use crate::expect::{Expect, Is, Law, Pdus};
use crate::{key_breaks, pattern, text_breaks};

pub(crate) fn rows() -> Vec<Row> {
    vec![
        Row::pass("K-35", k35()),
        Row::pass("K-36", k36()),
        Row::pass("K-37", k37()),
        Row::pass("K-38", k38()),
        Row::pass("K-39", k39()),
        Row::pass("K-40", k40()).note(
            "values for display are kept only if they are UTF-8, as they came, and documented as to be escaped; where a value counts, other bytes are an error",
        ),
        Row::pass("K-41", k41()),
        Row::pass("K-42", k42()).note("clamped: one R2T at a time"),
        Row::pass("K-43", k43())
            .note("ErrorRecoveryLevel=0 is offered there, so that 1 is an answer above the offer and fatal"),
        Row::pass("K-44", k44()),
        Row::pass("K-45", k45()),
        Row::pass("K-46", k46()),
    ]
}

fn k35() -> Vec<Case> {
    let mut cases = Vec::new();
    let long = "K".repeat(64);
    for (name, pair, expect) in [
        ("no equals sign", b"TargetAlias".to_vec(), text_breaks!(EqualsMissing)),
        ("no key", b"=x".to_vec(), text_breaks!(KeyEmpty)),
        ("an equals sign alone", b"=".to_vec(), text_breaks!(KeyEmpty)),
        ("64 characters", format!("{long}=1").into_bytes(), text_breaks!(KeyTooLong)),
        ("8000 characters", "K".repeat(8000).into_bytes(), text_breaks!(EqualsMissing)),
        ("a small letter", b"targetAlias=x".to_vec(), text_breaks!(KeyStart)),
        ("a digit", b"1Alias=x".to_vec(), text_breaks!(KeyStart)),
        ("a blank", b"Target Alias=x".to_vec(), text_breaks!(KeyCharacter)),
        ("a newline", b"TargetAlias\n=x".to_vec(), text_breaks!(KeyCharacter)),
        ("no UTF-8", b"Target\xffAlias=x".to_vec(), text_breaks!(KeyCharacter)),
        ("an umlaut", "Ätarget=x".as_bytes().to_vec(), text_breaks!(KeyCharacter)),
    ] {
        let text = [&pair[..], b"\0"].concat();
        for number in 0..2 {
            let text = if number == 0 { Do::Text(text.clone()) } else { Do::Data(text.clone()) };
            cases.push(
                Case::new(format!("{name}, response {number}"), Setup::normal())
                    .rules([response(number, text)])
                    .expect(stops(expect.clone())),
            );
        }
    }
    cases.push(proposal(
        "63 characters",
        Setup::normal(),
        &["KKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKK=1"],
        &["KKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKK=NotUnderstood"],
    ));
    cases
}

fn k36() -> Vec<Case> {
    let open = |bytes: &[u8]| last(Do::Text(bytes.to_vec()));
    let lenient = || Setup::normal().config(|c| c.lenient_text(true));
    vec![
        Case::new("strict", Setup::normal())
            .rules([open(b"TargetAlias=disk")])
            .expect(stops(text_breaks!(TerminatorMissing))),
        Case::new("strict, in the security stage", Setup::normal())
            .rules([response(0, Do::Data(b"AuthMethod=None".to_vec()))])
            .expect(stops(text_breaks!(TerminatorMissing))),
        Case::new("lenient", lenient())
            .rules([open(b"TargetAlias=disk")])
            .expect(all([Expect::Works, alias_is_disk()])),
        Case::new("lenient, in the security stage", lenient())
            .rules([response(0, Do::Data(b"AuthMethod=None".to_vec()))]),
        Case::new("lenient, but no pair", lenient())
            .rules([open(b"TargetAl")])
            .expect(stops(text_breaks!(EqualsMissing))),
    ]
}

fn alias_is_disk() -> Expect {
    Expect::Law(Law {
        name: "the alias is disk",
        check: |seen| match seen.alias.as_deref() {
            Some("disk") => Ok(()),
            other => Err(format!("{other:?}")),
        },
    })
}

fn k37() -> Vec<Case> {
    let zeros = |count| last(Do::Text(vec![0; count]));
    let alias = || last(Do::add_pairs(&["TargetAlias=disk"]));
    let works = || all([Expect::Works, alias_is_disk()]);
    vec![
        Case::new("behind", Setup::normal()).rules([alias(), zeros(3)]).expect(works()),
        Case::new("between", Setup::normal()).rules([zeros(2), alias()]).expect(works()),
        Case::new("both, many", Setup::normal())
            .rules([zeros(1000), alias(), zeros(5000)])
            .expect(works()),
        Case::new("before", Setup::normal())
            .rules([response(0, Do::Data(b"\0\0AuthMethod=None\0\0".to_vec())), alias()])
            .expect(works()),
        Case::new("nothing else", Setup::normal())
            .rules([response(1, Do::Data(vec![0; 7]))])
            .expect(all([
                Expect::Works,
                Expect::Negotiated(pattern!(Negotiated { max_burst_length: 262_144, .. })),
            ])),
    ]
}

/// The alias has 255 bytes.
const LONG_ALIAS: Law = Law {
    name: "the alias has its 255 bytes",
    check: |seen| match &seen.alias {
        Some(alias) if *alias == "a".repeat(255) => Ok(()),
        other => Err(format!("{other:?}")),
    },
};

fn k38() -> Vec<Case> {
    let alias = |length| format!("TargetAlias={}", "a".repeat(length));
    let node = |length| format!("X#NodeArchitecture={}", "a".repeat(length));
    let case = |pair: String| {
        let name = format!("{} bytes: {:.20}", pair.len(), pair);
        Case::new(name, Setup::normal()).rules([last(Do::add_pairs(&[&pair]))])
    };
    vec![
        case(alias(255)).expect(all([Expect::Works, Expect::Law(LONG_ALIAS)])),
        case(node(255)).expect(Expect::Works),
        case(alias(256)).expect(stops(key_breaks!(TargetAlias, TooLong))),
        case(node(256)).expect(stops(key_breaks!(NodeArchitecture, TooLong))),
        // The text of a response has 8192 bytes at most; the other answers do not go beyond a few hundred.
        case(alias(7600)).expect(stops(key_breaks!(TargetAlias, TooLong))),
        Case::new("8000 bytes", Setup::normal())
            .rules([last(Do::pairs(&[&alias(8000)]))])
            .expect(stops(key_breaks!(TargetAlias, TooLong))),
        Case::new("TargetAddress", Setup::normal())
            .rules([last(Do::add_pairs(&[&format!("TargetAddress={}", "a".repeat(301))]))])
            .expect(stops(key_breaks!(TargetAddress, TooLong))),
    ]
}

/// Pairs of unknown keys that fill so many bytes.
fn filler(bytes: usize) -> Vec<u8> {
    let mut text = Vec::new();
    let mut number = 0;
    while text.len() < bytes {
        let rest = bytes - text.len();
        let length = if rest > 600 { 300 } else { rest };
        let head = format!("X-com.example.k{number:03}=");
        text.extend_from_slice(head.as_bytes());
        text.extend(vec![b'v'; length - head.len() - 1]);
        text.push(0);
        number += 1;
    }
    text
}

fn k39() -> Vec<Case> {
    let answers = || login_requests().nth(2);
    let text = || filler(8192);
    let agreed = || {
        Expect::Negotiated(pattern!(Negotiated {
            max_burst_length: 262_144,
            target_max_recv_data_segment_length: 65_536,
            ..
        }))
    };
    let keys = b"MaxRecvDataSegmentLength=65536\0MaxBurstLength=262144\0";
    let with_keys = [&filler(8192 - keys.len())[..], keys].concat();
    vec![
        Case::new("with T", Setup::writing())
            .rules([last(Do::Data(with_keys.clone()))])
            .expect(all([Expect::Works, agreed()])),
        Case::new("each is answered", Setup::writing())
            .rules(proposes(1, &[]))
            .rules([response(1, Do::Data(with_keys)), response(2, Do::Data(Vec::new()))])
            .expect(all([
                Expect::Works,
                agreed(),
                Expect::Pair(answers(), "X-com.example.k000=NotUnderstood"),
                Expect::Pair(answers(), "X-com.example.k026=NotUnderstood"),
            ])),
        Case::new("in several responses", Setup::normal())
            .rules([
                response(1, Do::Data(text())),
                response(1, Do::Spread(vec![1, 100, 4000, 8191])),
            ])
            .expect(all([Expect::Works, Expect::Count(login_requests(), 6..=6)])),
        Case::new("in the security stage", Setup::normal())
            .rules([response(0, Do::Data(text()))])
            .expect(all([
                Expect::Works,
                Expect::Length(Pdus::received(Opcode::LoginResponse).first(), Is::Value(8192)),
            ])),
    ]
}

fn k40() -> Vec<Case> {
    const NO_ALIAS: Law = Law {
        name: "there is no alias",
        check: |seen| match &seen.alias {
            None => Ok(()),
            Some(alias) => Err(alias.escape_debug().to_string()),
        },
    };
    const CONTROLS: Law = Law {
        name: "the alias is as it came",
        check: |seen| match seen.alias.as_deref() {
            Some("\u{1b}[2Jdisk\r\n\u{7f}") => Ok(()),
            other => Err(format!("{other:?}")),
        },
    };
    let adds = |bytes: &[u8]| last(Do::Text([bytes, b"\0"].concat()));
    let sets = |key, bytes: &[u8]| {
        [last(Do::drop_key(key)), last(Do::Text([key.as_bytes(), b"=", bytes, b"\0"].concat()))]
    };
    vec![
        Case::new("an alias that is not UTF-8", Setup::normal())
            .rules([adds(b"TargetAlias=\xff\xfe\x80")])
            .expect(all([Expect::Works, Expect::Law(NO_ALIAS)])),
        Case::new("an alias with control characters", Setup::normal())
            .rules([adds(b"TargetAlias=\x1b[2Jdisk\r\n\x7f")])
            .expect(all([Expect::Works, Expect::Law(CONTROLS)])),
        Case::new("an unknown key", Setup::normal())
            .rules([adds(b"X-com.vendor.foo=\xff\x01\x02")]),
        Case::new("X#NodeArchitecture", Setup::normal())
            .rules([adds(b"X#NodeArchitecture=\xc3\x28\x1b")]),
        Case::new("a number", Setup::normal())
            .rules(sets("MaxBurstLength", b"512\xff"))
            .expect(stops(key_breaks!(MaxBurstLength, Malformed(TextRule::Utf8)))),
        Case::new("a number with a control character", Setup::normal())
            .rules(sets("MaxBurstLength", b"512\n"))
            .expect(stops(key_breaks!(MaxBurstLength, Malformed(TextRule::Number)))),
        Case::new("a boolean", Setup::normal())
            .rules(sets("InitialR2T", b"Yes\x01"))
            .expect(stops(key_breaks!(InitialR2T, Malformed(TextRule::Boolean)))),
        Case::new("a list", Setup::normal())
            .rules(sets("HeaderDigest", b"None\xf0\x9f"))
            .expect(stops(key_breaks!(HeaderDigest, Malformed(TextRule::Utf8)))),
    ]
}

fn k41() -> Vec<Case> {
    const UMLAUTS: Law = Law {
        name: "the alias is 127 umlauts and a letter",
        check: |seen| match &seen.alias {
            Some(alias) if *alias == format!("{}x", "ä".repeat(127)) => Ok(()),
            other => Err(format!("{other:?}")),
        },
    };
    let alias = format!("TargetAlias={}x", "ä".repeat(127));
    let again = login_requests().on(1);
    let another = "TargetAlias=iqn.2001-04.com.example:other";
    let same_name = Expect::Pair(again.clone().first(), "TargetName=iqn.2001-04.com.example:disk");
    vec![
        Case::new("127 umlauts", Setup::logging_out())
            .rules([response(0, Do::add_pairs(&[&alias]))])
            .expect(all([Expect::Works, Expect::Law(UMLAUTS), same_name.clone()])),
        // Another alias of the same target, and one that looks like a name, change nothing.
        Case::new("another one at the next login", Setup::logging_out())
            .rules([
                response(0, Do::add_pairs(&["TargetAlias=disk"])).on(0),
                response(0, Do::add_pairs(&[another])).on(1),
            ])
            .expect(all([
                Expect::Works,
                same_name,
                Expect::NoKey(login_requests(), "TargetAlias"),
                Expect::Field(
                    again,
                    Field::ISID,
                    Is::Same(login_requests().first(), Field::ISID, 0),
                ),
            ])),
    ]
}

fn k42() -> Vec<Case> {
    let setup = || {
        Setup::normal()
            .config(|c| c.error_recovery_level(1).initial_r2t(true).immediate_data(false))
            .target(|l| l.error_recovery_level = 1)
            .jobs([Job::write(4, 40), Job::Settle])
    };
    let clamped = Expect::Negotiated(pattern!(Negotiated {
        error_recovery_level: 1,
        data_sequence_in_order: true,
        max_outstanding_r2t: 1,
        ..
    }));
    let not_in_order = Expect::Negotiated(pattern!(Negotiated {
        error_recovery_level: 1,
        data_sequence_in_order: false,
        max_outstanding_r2t: 8,
        ..
    }));
    let free = setup()
        .config(|c| c.data_sequence_in_order(false))
        .target(|l| l.data_sequence_in_order = false);
    vec![
        Case::new("in order", setup())
            .rules([last(Do::key("MaxOutstandingR2T", "8"))])
            .expect(all([Expect::Works, clamped])),
        Case::new("in any order", free)
            .rules([last(Do::key("MaxOutstandingR2T", "8"))])
            .expect(all([Expect::Works, not_in_order])),
    ]
}

fn k43() -> Vec<Case> {
    let mut cases: Vec<Case> = [
        ("MaxBurstLength=8192", "MaxBurstLength=Irrelevant"),
        ("FirstBurstLength=8192", "FirstBurstLength=Irrelevant"),
        ("MaxConnections=4", "MaxConnections=Irrelevant"),
        ("InitialR2T=No", "InitialR2T=Irrelevant"),
        ("ImmediateData=Yes", "ImmediateData=Irrelevant"),
        ("MaxOutstandingR2T=4", "MaxOutstandingR2T=Irrelevant"),
        ("DataPDUInOrder=No", "DataPDUInOrder=Irrelevant"),
        ("DataSequenceInOrder=No", "DataSequenceInOrder=Irrelevant"),
        ("TaskReporting=ResponseFence,RFC3720", "TaskReporting=Irrelevant"),
        ("iSCSIProtocolLevel=2", "iSCSIProtocolLevel=Irrelevant"),
    ]
    .into_iter()
    .map(|(pair, answer)| proposal(pair, Setup::discovery(), &[pair], &[answer]))
    .collect();
    cases.push(
        Case::new("ErrorRecoveryLevel=1", Setup::discovery())
            .rules([last(Do::key("ErrorRecoveryLevel", "1"))])
            .expect(all([key_breaks!(ErrorRecoveryLevel, AboveOffer), at_once()])),
    );
    let level_1 = || {
        Setup::discovery()
            .config(|c| c.error_recovery_level(1))
            .target(|l| l.error_recovery_level = 1)
    };
    cases.push(Case::new("level 0 is offered, whatever is configured", level_1()).expect(all([
        Expect::Works,
        Expect::Pair(login_requests().last(), "ErrorRecoveryLevel=0"),
        Expect::Negotiated(pattern!(Negotiated { error_recovery_level: 0, .. })),
    ])));
    cases.push(
        Case::new("without an answer", level_1())
            .rules([last(Do::drop_key("ErrorRecoveryLevel"))])
            .expect(all([
                Expect::Works,
                Expect::Negotiated(pattern!(Negotiated { error_recovery_level: 0, .. })),
            ])),
    );
    cases
}

/// What the pieces say acts together, and not before the last one.
fn k44() -> Vec<Case> {
    let digests = || with_digests(Setup::writing());
    let spread = |setup: Setup, places: Vec<usize>| {
        let requests = 2 + places.len();
        Case::new(format!("in {} pieces", places.len() + 1), setup)
            .rules([response(1, Do::Spread(places))])
            .expect(all([
                Expect::Works,
                Expect::Negotiated(pattern!(Negotiated {
                    header_digest: DigestKind::Crc32c,
                    data_digest: DigestKind::Crc32c,
                    ..
                })),
                Expect::Count(login_requests(), requests..=requests),
            ]))
    };
    // The first piece holds a whole pair that is wrong: it is read once all is there.
    let wrong =
        [&b"MaxBurstLength=511\0"[..], b"DefaultTime2Wait=2\0", b"TargetAlias=disk\0"].concat();
    let later = |name: &str, places: Vec<usize>| {
        let requests = 2 + places.len();
        Case::new(name, Setup::normal())
            .rules([response(1, Do::Data(wrong.clone())), response(1, Do::Spread(places))])
            .expect(all([
                stops(key_breaks!(MaxBurstLength, OutOfRange)),
                Expect::Count(login_requests(), requests..=requests),
            ]))
    };
    // A small segment length in the first piece is none for the requests that ask for the rest, nor for the answers.
    let small =
        [&b"MaxRecvDataSegmentLength=512\0"[..], &filler(6000), b"MaxBurstLength=4096\0"].concat();
    let answers = || login_requests().last();
    vec![
        spread(digests(), vec![20, 40]),
        spread(digests(), vec![13, 19, 20, 30, 38, 39, 100]),
        later("an error in the first piece", vec![19, 38]),
        later("an error in the first piece, which is cut", vec![17, 40]),
        Case::new(
            "a segment length",
            Setup::writing().service(|s| (s.burst, s.outstanding) = (4096, 1)),
        )
        .rules(proposes(1, &[]))
        .rules([response(1, Do::Data(small)), response(1, Do::Spread(vec![29, 900]))])
        .rules([response(4, Do::Data(Vec::new()))])
        .expect(all([
            Expect::Works,
            Expect::Negotiated(pattern!(Negotiated {
                target_max_recv_data_segment_length: 512,
                max_burst_length: 4096,
                ..
            })),
            Expect::Pair(answers(), "X-com.example.k000=NotUnderstood"),
            Expect::Not(Box::new(Expect::Length(answers(), Is::AtMost(512)))),
            Expect::Length(Pdus::sent(Opcode::DataOut), Is::AtMost(512)),
        ])),
    ]
}

/// The first login agrees on everything and then fails; the second one agrees on nothing.
fn k45() -> Vec<Case> {
    let defaults = || {
        Expect::Negotiated(pattern!(Negotiated {
            header_digest: DigestKind::None,
            max_burst_length: 262_144,
            first_burst_length: 65_536,
            max_outstanding_r2t: 1,
            initial_r2t: true,
            target_max_recv_data_segment_length: 8192,
            ..
        }))
    };
    let agreed = [
        "HeaderDigest=CRC32C",
        "MaxRecvDataSegmentLength=512",
        "MaxBurstLength=1024",
        "FirstBurstLength=512",
        "InitialR2T=No",
        "MaxOutstandingR2T=8",
    ];
    let again =
        |setup: Setup| setup.jobs([Job::sleep(1), Job::Open, Job::write(4, 40), Job::Settle]);
    let setup = || {
        again(Setup::normal().config(|c| c.header_digest(Digests::CRC32C_NONE)))
            .target(|l| l.header_digest = Digests::NONE)
    };
    let first = |ends: Vec<Rule>| {
        let mut rules = proposes(1, &[]);
        rules.push(response(1, Do::pairs(&agreed)));
        rules.extend(ends);
        rules.into_iter().map(|rule| rule.on(0)).collect::<Vec<_>>()
    };
    let nothing = || last(Do::Data(Vec::new())).on(1);
    let (before, after) = (|| login_requests().on(0), || login_requests().on(1));
    let fresh = || {
        [
            Expect::Works,
            defaults(),
            Expect::Connections(2..=2),
            // Everything is offered again.
            Expect::Length(
                after().nth(0),
                Is::Same(before().nth(0), Field::DATA_SEGMENT_LENGTH, 0),
            ),
            Expect::Length(
                after().nth(1),
                Is::Same(before().nth(1), Field::DATA_SEGMENT_LENGTH, 0),
            ),
            Expect::Pair(after().nth(1), "HeaderDigest=CRC32C,None"),
            Expect::Pair(after().nth(1), "MaxBurstLength=1048576"),
        ]
    };
    let refusal = [
        response(2, Do::Data(Vec::new())),
        response(2, Do::Set(Field::STATUS_CLASS, 3)),
        response(2, Do::Set(Field::STATUS_DETAIL, 1)),
    ];
    let lost = Expect::Told(pattern!(Told::State(SessionState::Failed(LostReason::Eof))));
    let refused = Expect::Told(pattern!(Told::State(SessionState::Failed(
        LostReason::LoginRefused(LoginStatus { class: 3, detail: 1 })
    ))));
    let breach = Expect::Told(pattern!(Told::State(SessionState::Failed(LostReason::Protocol(
        ProtocolError::Login(LoginError::Key(_))
    )))));
    let write = [Expect::Length(Pdus::sent(Opcode::ScsiCommand).first(), Is::Value(8192))];
    vec![
        Case::new("refused", setup())
            .rules(first(refusal.to_vec()))
            .rules([nothing()])
            .expect(Expect::All(fresh().into_iter().chain([refused]).chain(write).collect())),
        Case::new("closed", setup())
            .rules(first(vec![
                Rule::new(When::receives_nth(Opcode::LoginRequest, 2), Do::CLOSE),
                Rule::new(When::receives_nth(Opcode::LoginRequest, 2), Do::Ignore),
            ]))
            .rules([nothing()])
            .expect(Expect::All(fresh().into_iter().chain([lost]).collect())),
        Case::new("our refusal", setup())
            .rules(first(vec![response(2, Do::pairs(&["ErrorRecoveryLevel=3"]))]))
            .rules([nothing()])
            .expect(Expect::All(fresh().into_iter().chain([breach]).collect())),
    ]
}

fn k46() -> Vec<Case> {
    let pair = "X#NodeArchitecture=ExampleOS 1.0";
    let unchanged = || {
        Expect::Negotiated(pattern!(Negotiated {
            max_burst_length: 1_048_576,
            first_burst_length: 262_144,
            initial_r2t: false,
            ..
        }))
    };
    let answered = || Expect::NoKey(login_requests(), "X#NodeArchitecture");
    vec![
        Case::new("last response", soliciting().config(|c| c.initial_r2t(false)))
            .rules([last(Do::add_pairs(&[pair]))])
            .expect(all([Expect::Works, unchanged(), answered()])),
        Case::new("in a response that is followed by a request", Setup::normal())
            .rules(proposes(1, &[pair]))
            .rules([response(2, Do::Data(Vec::new()))])
            .expect(all([
                Expect::Works,
                unchanged(),
                answered(),
                Expect::Length(login_requests().nth(2), Is::Value(0)),
                Expect::TakesAtMost(Duration::from_millis(1)),
            ])),
        Case::new("twice", Setup::normal())
            .rules([last(Do::add_pairs(&[pair, pair]))])
            .expect(stops(key_breaks!(NodeArchitecture, Repeated))),
        Case::new("twice in two responses", Setup::normal())
            .rules(proposes(1, &[pair]))
            .rules([response(2, Do::Data(Vec::new())), response(2, Do::add_pairs(&[pair]))])
            .expect(stops(key_breaks!(NodeArchitecture, Repeated))),
    ]
}
