//! K-01 to K-21: the values of the operational keys.

use iscsi_core::digest::DigestKind;
use iscsi_core::testing::{Do, Field, Kind, Nth, Rule, When};
use iscsi_core::text::{Digests, Negotiated, TextRule};
use iscsi_core::wire::Opcode;

use super::common::{all, at_once, soliciting};
use crate::case::{Case, Job, Row, Setup};
use crate::expect::{Expect, Is, Pdus};
use crate::{breaks, key_breaks, pattern};

pub(crate) fn rows() -> Vec<Row> {
    vec![
        Row::pass("K-01", k01()),
        Row::pass("K-02", k02()),
        Row::pass("K-03", k03()),
        Row::pass("K-04", k04()),
        Row::pass("K-05", k05()),
        Row::pass("K-06", k06()),
        Row::pass("K-07", k07()),
        Row::pass("K-08", k08()),
        Row::pass("K-09", k09()),
        Row::pass("K-10", k10()),
        Row::pass("K-11", k11()),
        Row::pass("K-12", k12()),
        Row::pass("K-13", k13()),
        Row::pass("K-14", k14()),
        Row::pass("K-15", k15()),
        Row::pass("K-16", k16()),
        Row::pass("K-17", k17()),
        Row::pass("K-18", k18()),
        Row::pass("K-19", k19()),
        Row::pass("K-20", k20()),
        Row::pass("K-21", k21()),
    ]
}

/// A login whose last response has this value for a key, and which goes wrong.
fn wrong(setup: Setup, key: &str, value: &str, expect: Expect) -> Case {
    Case::new(format!("{key}={value:?}"), setup)
        .rule(When::sends_last_login(), Do::key(key, value))
        .expect(all([
            expect,
            at_once(),
            Expect::Connections(1..=1),
            Expect::Count(Pdus::sent(Opcode::ScsiCommand), 0..=0),
        ]))
}

/// A session that offers this for both digests.
fn digests(digests: Digests) -> Setup {
    Setup::normal().config(|c| c.header_digest(digests).data_digest(digests))
}

/// The target checks what it receives by the digests that it agreed to, and there are none before the end of the login.
fn k01() -> Vec<Case> {
    let busy =
        || Setup::normal().jobs([Job::read(0, 8), Job::write(4, 16), Job::Ping, Job::Settle]);
    let header = |s: Setup| s.config(|c| c.header_digest(Digests::CRC32C_NONE));
    let agreed =
        || Expect::Negotiated(pattern!(Negotiated { header_digest: DigestKind::Crc32c, .. }));
    let offer = Expect::Pair(Pdus::sent(Opcode::LoginRequest).last(), "HeaderDigest=CRC32C,None");
    let first = When::Sends(Kind::FullFeature, Nth::Is(0));
    vec![
        Case::new("header digest", header(busy())).expect(all([Expect::Works, agreed(), offer])),
        Case::new("wrong in the first PDU after the login", header(busy()))
            .rule(first, Do::SpoilHeaderDigest)
            .expect(breaks!(HeaderDigest)),
        // In the login there is none to spoil.
        Case::new("not in the login", header(busy()))
            .rule(When::sends_each(Opcode::LoginResponse), Do::SpoilHeaderDigest)
            .expect(all([Expect::Works, agreed()])),
        Case::new(
            "the target has none",
            header(busy()).target(|l| l.header_digest = Digests::NONE),
        )
        .expect(all([
            Expect::Works,
            Expect::Negotiated(pattern!(Negotiated { header_digest: DigestKind::None, .. })),
        ])),
    ]
}

fn k02() -> Vec<Case> {
    let setup = || digests(Digests::NONE);
    vec![
        wrong(setup(), "HeaderDigest", "CRC32C", key_breaks!(HeaderDigest, NotOffered)),
        wrong(setup(), "DataDigest", "CRC32C", key_breaks!(DataDigest, NotOffered)),
        wrong(setup(), "HeaderDigest", "SHA-256", key_breaks!(HeaderDigest, NotOffered)),
        wrong(setup(), "HeaderDigest", "", key_breaks!(HeaderDigest, NotOffered)),
    ]
}

fn k03() -> Vec<Case> {
    let setup = || digests(Digests::CRC32C);
    vec![
        wrong(setup(), "HeaderDigest", "None", key_breaks!(HeaderDigest, NotOffered)),
        wrong(setup(), "DataDigest", "None", key_breaks!(DataDigest, NotOffered)),
        wrong(setup(), "HeaderDigest", "Reject", key_breaks!(HeaderDigest, Refused)),
        wrong(setup(), "DataDigest", "Reject", key_breaks!(DataDigest, Refused)),
        wrong(setup(), "HeaderDigest", "Irrelevant", key_breaks!(HeaderDigest, Refused)),
    ]
}

fn k04() -> Vec<Case> {
    let setup = || digests(Digests::CRC32C_NONE);
    vec![
        wrong(setup(), "HeaderDigest", "CRC32C,None", key_breaks!(HeaderDigest, NotOffered)),
        wrong(setup(), "DataDigest", "CRC32C,None", key_breaks!(DataDigest, NotOffered)),
        wrong(setup(), "HeaderDigest", "CRC32C,", key_breaks!(HeaderDigest, NotOffered)),
        wrong(setup(), "DataDigest", "None,None", key_breaks!(DataDigest, NotOffered)),
    ]
}

fn k05() -> Vec<Case> {
    let list = || digests(Digests::CRC32C_NONE);
    let boolean = Setup::normal;
    vec![
        wrong(list(), "HeaderDigest", "crc32c", key_breaks!(HeaderDigest, NotOffered)),
        wrong(list(), "HeaderDigest", "none", key_breaks!(HeaderDigest, NotOffered)),
        wrong(list(), "DataDigest", "Crc32C", key_breaks!(DataDigest, NotOffered)),
        wrong(
            boolean(),
            "InitialR2T",
            "yes",
            key_breaks!(InitialR2T, Malformed(TextRule::Boolean)),
        ),
        wrong(boolean(), "InitialR2T", "NO", key_breaks!(InitialR2T, Malformed(TextRule::Boolean))),
        wrong(
            boolean(),
            "ImmediateData",
            "no",
            key_breaks!(ImmediateData, Malformed(TextRule::Boolean)),
        ),
        wrong(
            boolean(),
            "MaxBurstLength",
            "reject",
            key_breaks!(MaxBurstLength, Malformed(TextRule::Number)),
        ),
        // To a key in the wrong case nothing was proposed: it is another key, and ours has no answer.
        Case::new("a key in the wrong case", list().config(|c| c.header_digest(Digests::CRC32C)))
            .rule(When::sends_last_login(), Do::drop_key("HeaderDigest"))
            .rule(When::sends_last_login(), Do::add_pairs(&["HEADERDIGEST=CRC32C"]))
            .expect(all([key_breaks!(HeaderDigest, Unanswered), at_once()])),
    ]
}

fn k06() -> Vec<Case> {
    let small = || Setup::normal().config(|c| c.max_burst_length(65_536).first_burst_length(512));
    let case = |value: &str| {
        wrong(small(), "MaxBurstLength", value, key_breaks!(MaxBurstLength, AboveOffer))
    };
    vec![
        case("65537"),
        case("65540"),
        case("0x10001"),
        case("262144"),
        case("16777215"),
        wrong(
            Setup::normal(),
            "MaxBurstLength",
            "1048577",
            key_breaks!(MaxBurstLength, AboveOffer),
        ),
    ]
}

fn k07() -> Vec<Case> {
    let above = || key_breaks!(FirstBurstLength, FirstBurstAboveMaxBurst);
    let both = |max: &str, first: &str| {
        wrong(Setup::normal(), "FirstBurstLength", first, above())
            .rule(When::sends_last_login(), Do::key("MaxBurstLength", max))
    };
    vec![
        wrong(
            Setup::normal(),
            "FirstBurstLength",
            "262145",
            key_breaks!(FirstBurstLength, AboveOffer),
        ),
        wrong(
            Setup::normal(),
            "FirstBurstLength",
            "16777215",
            key_breaks!(FirstBurstLength, AboveOffer),
        ),
        both("65536", "65537"),
        both("65536", "131072"),
        both("512", "262144"),
        Case::new("equal", Setup::writing())
            .rule(When::sends_last_login(), Do::key("MaxBurstLength", "65536"))
            .rule(When::sends_last_login(), Do::key("FirstBurstLength", "65536"))
            .expect(all([
                Expect::Works,
                Expect::Negotiated(pattern!(Negotiated {
                    max_burst_length: 65_536,
                    first_burst_length: 65_536,
                    ..
                })),
            ])),
    ]
}

fn k08() -> Vec<Case> {
    let setup = Setup::normal;
    vec![
        wrong(setup(), "MaxOutstandingR2T", "9", key_breaks!(MaxOutstandingR2T, AboveOffer)),
        wrong(setup(), "MaxOutstandingR2T", "65535", key_breaks!(MaxOutstandingR2T, AboveOffer)),
        wrong(setup(), "ErrorRecoveryLevel", "1", key_breaks!(ErrorRecoveryLevel, AboveOffer)),
        wrong(setup(), "ErrorRecoveryLevel", "2", key_breaks!(ErrorRecoveryLevel, AboveOffer)),
        wrong(
            setup().config(|c| c.error_recovery_level(1)),
            "ErrorRecoveryLevel",
            "2",
            key_breaks!(ErrorRecoveryLevel, AboveOffer),
        ),
        wrong(setup(), "MaxConnections", "2", key_breaks!(MaxConnections, AboveOffer)),
        wrong(setup(), "DefaultTime2Retain", "1", key_breaks!(DefaultTime2Retain, AboveOffer)),
        wrong(
            setup().config(|c| c.default_time2retain(60)),
            "DefaultTime2Retain",
            "61",
            key_breaks!(DefaultTime2Retain, AboveOffer),
        ),
    ]
}

fn k09() -> Vec<Case> {
    let setup = Setup::normal;
    let slow = || setup().config(|c| c.default_time2wait(30));
    let more = Expect::Negotiated(pattern!(Negotiated { default_time2wait: 60, .. }));
    vec![
        wrong(setup(), "DefaultTime2Wait", "1", key_breaks!(DefaultTime2Wait, BelowOffer)),
        wrong(setup(), "DefaultTime2Wait", "0", key_breaks!(DefaultTime2Wait, BelowOffer)),
        wrong(slow(), "DefaultTime2Wait", "29", key_breaks!(DefaultTime2Wait, BelowOffer)),
        Case::new("the larger one holds", slow())
            .rule(When::sends_last_login(), Do::key("DefaultTime2Wait", "60"))
            .expect(all([Expect::Works, more])),
    ]
}

fn k10() -> Vec<Case> {
    let setup = Setup::normal;
    vec![
        wrong(setup(), "MaxBurstLength", "511", key_breaks!(MaxBurstLength, OutOfRange)),
        wrong(setup(), "MaxBurstLength", "0", key_breaks!(MaxBurstLength, OutOfRange)),
        wrong(setup(), "MaxBurstLength", "16777216", key_breaks!(MaxBurstLength, OutOfRange)),
        // 512 and 2^32 more.
        wrong(setup(), "MaxBurstLength", "4294967808", key_breaks!(MaxBurstLength, OutOfRange)),
        wrong(setup(), "FirstBurstLength", "511", key_breaks!(FirstBurstLength, OutOfRange)),
        wrong(setup(), "FirstBurstLength", "0x1000000", key_breaks!(FirstBurstLength, OutOfRange)),
        wrong(setup(), "ErrorRecoveryLevel", "3", key_breaks!(ErrorRecoveryLevel, OutOfRange)),
        wrong(setup(), "ErrorRecoveryLevel", "256", key_breaks!(ErrorRecoveryLevel, OutOfRange)),
        wrong(setup(), "MaxConnections", "0", key_breaks!(MaxConnections, OutOfRange)),
        wrong(setup(), "MaxConnections", "65537", key_breaks!(MaxConnections, OutOfRange)),
        wrong(setup(), "MaxOutstandingR2T", "0", key_breaks!(MaxOutstandingR2T, OutOfRange)),
        wrong(setup(), "MaxOutstandingR2T", "65536", key_breaks!(MaxOutstandingR2T, OutOfRange)),
        wrong(setup(), "DefaultTime2Wait", "3601", key_breaks!(DefaultTime2Wait, OutOfRange)),
        wrong(setup(), "DefaultTime2Retain", "3601", key_breaks!(DefaultTime2Retain, OutOfRange)),
    ]
}

fn k11() -> Vec<Case> {
    let agreed = Expect::Negotiated(pattern!(Negotiated {
        max_burst_length: 0x4_0000,
        first_burst_length: 0xffff,
        max_outstanding_r2t: 4,
        default_time2wait: 16,
        target_max_recv_data_segment_length: 0x2000,
        ..
    }));
    let keys = [
        ("MaxBurstLength", "0x40000"),
        ("FirstBurstLength", "0XfFfF"),
        ("MaxOutstandingR2T", "0x4"),
        ("DefaultTime2Wait", "0x0000000010"),
        ("MaxRecvDataSegmentLength", "0x2000"),
    ];
    let rules = keys.map(|(key, value)| Rule::new(When::sends_last_login(), Do::key(key, value)));
    vec![
        Case::new("all numbers", Setup::writing().jobs([Job::write(0, 40), Job::Settle]))
            .rules(rules)
            .expect(all([Expect::Works, agreed])),
    ]
}

fn k12() -> Vec<Case> {
    const GARBAGE: [&str; 14] = [
        "",
        "12abc",
        "-1",
        "+5",
        " 512",
        "512 ",
        "0512",
        "0x",
        "0xg000",
        "5.0",
        "1e5",
        "512,1024",
        "0b1000",
        "\u{665}\u{661}\u{662}",
    ];
    const TOO_LARGE: [&str; 4] = [
        "1234567890123456789012345",
        "18446744073709551616",
        // 65536 and 2^64 more.
        "18446744073709617152",
        "0x10000000000010000",
    ];
    let setup = Setup::normal;
    let mut cases = Vec::new();
    for value in GARBAGE {
        cases.push(wrong(
            setup(),
            "MaxBurstLength",
            value,
            key_breaks!(MaxBurstLength, Malformed(TextRule::Number)),
        ));
        cases.push(wrong(
            setup(),
            "MaxRecvDataSegmentLength",
            value,
            key_breaks!(MaxRecvDataSegmentLength, Malformed(TextRule::Number)),
        ));
    }
    for value in TOO_LARGE {
        let no_burst = key_breaks!(MaxBurstLength, OutOfRange);
        let no_length = key_breaks!(MaxRecvDataSegmentLength, OutOfRange);
        let no_level = key_breaks!(ErrorRecoveryLevel, OutOfRange);
        cases.push(wrong(setup(), "MaxBurstLength", value, no_burst));
        cases.push(wrong(setup(), "MaxRecvDataSegmentLength", value, no_length));
        cases.push(wrong(setup(), "ErrorRecoveryLevel", value, no_level));
    }
    cases
}

fn k13() -> Vec<Case> {
    vec![wrong(soliciting(), "InitialR2T", "No", key_breaks!(InitialR2T, NoToYes))]
}

/// A write without immediate data, larger than what an R2T asks for.
fn streaming(initial_r2t: bool) -> Setup {
    Setup::normal()
        .config(|c| c.initial_r2t(false).immediate_data(false))
        .target(|l| l.initial_r2t = initial_r2t)
        .jobs([Job::write(4, 16), Job::Settle])
}

/// Data-Out PDUs that no R2T asked for.
fn unsolicited() -> Pdus {
    Pdus::sent(Opcode::DataOut).with(Field::TARGET_TRANSFER_TAG, 0xffff_ffff)
}

fn k14() -> Vec<Case> {
    vec![
        Case::new("No", streaming(false)).expect(all([
            Expect::Works,
            Expect::Negotiated(pattern!(Negotiated { initial_r2t: false, .. })),
            Expect::Pair(Pdus::sent(Opcode::LoginRequest).last(), "InitialR2T=No"),
            Expect::Count(unsolicited(), 1..=16),
            Expect::Count(Pdus::received(Opcode::R2t), 0..=0),
        ])),
        Case::new("Yes", streaming(true)).expect(all([
            Expect::Works,
            Expect::Negotiated(pattern!(Negotiated { initial_r2t: true, .. })),
            Expect::Pair(Pdus::sent(Opcode::LoginRequest).last(), "InitialR2T=No"),
            Expect::Count(unsolicited(), 0..=0),
            Expect::Count(Pdus::received(Opcode::R2t), 1..=16),
        ])),
    ]
}

fn k15() -> Vec<Case> {
    vec![wrong(soliciting(), "ImmediateData", "Yes", key_breaks!(ImmediateData, YesToNo))]
}

fn k16() -> Vec<Case> {
    // A write larger than the default of FirstBurstLength.
    let write = || soliciting().service(|s| s.blocks = 160).jobs([Job::write(4, 150), Job::Settle]);
    let irrelevant = |name: &str, setup: Setup| {
        Case::new(name, setup)
            .rule(When::sends_last_login(), Do::key("FirstBurstLength", "Irrelevant"))
            .expect(all([
                Expect::Works,
                Expect::Length(Pdus::sent(Opcode::ScsiCommand), Is::Value(0)),
                Expect::Count(unsolicited(), 0..=0),
                Expect::Count(Pdus::received(Opcode::R2t), 1..=100),
            ]))
    };
    let small = write().config(|c| c.max_burst_length(4096).first_burst_length(512));
    vec![
        irrelevant("usual offer", write()),
        // Neither would its default be an answer to this offer.
        irrelevant("offer below the default", small),
    ]
}

fn k17() -> Vec<Case> {
    let drop = |key| Rule::new(When::sends_last_login(), Do::drop_key(key));
    vec![
        Case::new("InitialR2T", streaming(true)).rules([drop("InitialR2T")]).expect(all([
            Expect::Works,
            Expect::Negotiated(pattern!(Negotiated { initial_r2t: true, .. })),
            Expect::Count(unsolicited(), 0..=0),
        ])),
        // Even if the target has meant No.
        Case::new("InitialR2T, No was meant", streaming(false)).rules([drop("InitialR2T")]).expect(
            all([
                Expect::Works,
                Expect::Negotiated(pattern!(Negotiated { initial_r2t: true, .. })),
                Expect::Count(unsolicited(), 0..=0),
            ]),
        ),
        Case::new("ImmediateData", Setup::writing()).rules([drop("ImmediateData")]).expect(all([
            Expect::Works,
            Expect::Negotiated(pattern!(Negotiated { immediate_data: true, .. })),
        ])),
    ]
}

fn k18() -> Vec<Case> {
    let (pdus, sequences) = ("DataPDUInOrder", "DataSequenceInOrder");
    let setup = Setup::normal;
    let pdus_only = || setup().config(|c| c.data_sequence_in_order(false));
    vec![
        wrong(setup(), pdus, "No", key_breaks!(DataPduInOrder, NoToYes)),
        wrong(setup(), sequences, "No", key_breaks!(DataSequenceInOrder, NoToYes)),
        wrong(pdus_only(), pdus, "No", key_breaks!(DataPduInOrder, NoToYes)),
        Case::new("an answer of Yes to an offer of No", pdus_only().jobs([Job::read(0, 8)]))
            .rule(When::sends_last_login(), Do::key(sequences, "Yes"))
            .expect(all([
                Expect::Works,
                Expect::Negotiated(pattern!(Negotiated { data_sequence_in_order: true, .. })),
            ])),
    ]
}

fn k19() -> Vec<Case> {
    let small = |setup: Setup| setup.target(|l| l.max_recv_data_segment_length = 512);
    let short = |opcode, least| {
        let pdus = move || Pdus::sent(opcode);
        [Expect::Count(pdus(), least..=1000), Expect::Length(pdus(), Is::AtMost(512))]
    };
    let write = [Job::write(4, 40), Job::Discover, Job::Ping, Job::Settle];
    let mut kinds = vec![
        Expect::Works,
        Expect::Negotiated(pattern!(Negotiated { target_max_recv_data_segment_length: 512, .. })),
        // The immediate data of the write fills one.
        Expect::Length(Pdus::sent(Opcode::ScsiCommand).first(), Is::Value(512)),
    ];
    kinds.extend(short(Opcode::ScsiCommand, 1));
    kinds.extend(short(Opcode::DataOut, 39));
    kinds.extend(short(Opcode::NopOut, 1));
    kinds.extend(short(Opcode::TextRequest, 1));
    let sessions_own = iscsi_core::testing::Node::new(crate::case::TARGET, &["192.0.2.2:3260,1"]);
    let with_text = |s: &mut Setup| s.nodes = Some(vec![sessions_own]);
    let solicited = soliciting().jobs([Job::write(4, 40), Job::Settle]);
    let mut only_solicited = vec![Expect::Works];
    only_solicited.extend(short(Opcode::DataOut, 40));
    vec![
        Case::new("every kind", small(Setup::normal().jobs(write).with(with_text)))
            .expect(Expect::All(kinds)),
        Case::new("solicited data only", small(solicited)).expect(Expect::All(only_solicited)),
    ]
}

fn k20() -> Vec<Case> {
    let write = soliciting().jobs([Job::write(4, 40), Job::Settle]);
    let data = || Pdus::sent(Opcode::DataOut);
    vec![
        Case::new("a write", write)
            .rule(When::sends_last_login(), Do::drop_key("MaxRecvDataSegmentLength"))
            .expect(all([
                Expect::Works,
                Expect::Negotiated(pattern!(Negotiated {
                    target_max_recv_data_segment_length: 8192,
                    ..
                })),
                Expect::Length(data(), Is::AtMost(8192)),
                Expect::Length(data().first(), Is::Value(8192)),
            ])),
        Case::new("immediate data", Setup::normal().jobs([Job::write(4, 40), Job::Settle]))
            .rule(When::sends_last_login(), Do::drop_key("MaxRecvDataSegmentLength"))
            .expect(all([
                Expect::Works,
                Expect::Length(Pdus::sent(Opcode::ScsiCommand).first(), Is::Value(8192)),
                Expect::Length(data(), Is::AtMost(8192)),
            ])),
    ]
}

fn k21() -> Vec<Case> {
    ["0", "1", "511", "16777216", "0x1000000", "4294967295", "4294968320"]
        .into_iter()
        .map(|value| {
            let expect = key_breaks!(MaxRecvDataSegmentLength, OutOfRange);
            wrong(Setup::normal(), "MaxRecvDataSegmentLength", value, expect)
        })
        .collect()
}
