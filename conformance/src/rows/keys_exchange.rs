//! K-22 to K-34: proposals of the target, refusals, repetitions.

use iscsi_core::LostReason;
use iscsi_core::login::LoginError;
use iscsi_core::testing::{Do, Field, Rule, When};
use iscsi_core::text::{Digests, KeyError, KeyRule, Negotiated, TaskReporting, TaskReportings};
use iscsi_core::wire::Opcode;
use iscsi_core::{Lun, ProtocolError, SubmitError, TaskManagement};

use super::common::{all, at_once};
use crate::case::{Case, Job, Row, Setup};
use crate::expect::{Expect, Is, Pdus};
use crate::{fails, key_breaks, pattern};

pub(crate) fn rows() -> Vec<Row> {
    vec![
        Row::pass("K-22", k22()),
        Row::pass("K-23", k23()),
        Row::pass("K-24", k24()),
        Row::pass("K-25", k25()),
        Row::pass("K-26", k26()),
        Row::pass("K-27", k27()),
        Row::pass("K-28", k28()),
        Row::pass("K-29", k29()),
        Row::pass("K-30", k30()),
        Row::pass("K-31", k31()),
        Row::pass("K-32", k32()),
        Row::pass("K-33", k33()),
        Row::pass("K-34", k34()),
    ]
}

pub(super) fn last(act: Do) -> Rule {
    Rule::new(When::sends_last_login(), act)
}

/// A change of the response with this number.
pub(super) fn response(number: u32, act: Do) -> Rule {
    Rule::new(When::sends_nth(Opcode::LoginResponse, number), act)
}

pub(super) fn login_requests() -> Pdus {
    Pdus::sent(Opcode::LoginRequest)
}

/// The login fails at once for this reason, and no command is sent.
pub(super) fn stops(expect: Expect) -> Expect {
    all([expect, at_once(), Expect::Count(Pdus::sent(Opcode::ScsiCommand), 0..=0)])
}

/// The response with this number stays in its stage and holds these pairs, too; what is answered to them is not told to the target.
pub(super) fn proposes(number: u32, pairs: &[&str]) -> Vec<Rule> {
    vec![
        response(number, Do::Trust),
        response(number, Do::Set(Field::TRANSIT, 0)),
        response(number, Do::Set(Field::NEXT_STAGE, 0)),
        response(number, Do::add_pairs(pairs)),
    ]
}

/// The target proposes these pairs in the operational stage, all else being settled; the next request holds these answers and ends the login.
pub(super) fn proposal(name: &str, setup: Setup, pairs: &[&str], answers: &[&'static str]) -> Case {
    let answer = || login_requests().nth(2);
    let length: usize = answers.iter().map(|answer| answer.len() + 1).sum();
    let mut seen = vec![
        Expect::Works,
        Expect::Count(login_requests(), 3..=3),
        Expect::Field(answer(), Field::TRANSIT, Is::Value(1)),
        Expect::Field(answer(), Field::NEXT_STAGE, Is::Value(3)),
        // Nothing but these answers.
        Expect::Length(answer(), Is::Value(length as u64)),
    ];
    seen.extend(answers.iter().map(|pair| Expect::Pair(answer(), pair)));
    Case::new(name, setup)
        .rules(proposes(1, pairs))
        .rules([response(2, Do::Data(Vec::new()))])
        .expect(Expect::All(seen))
}

fn k22() -> Vec<Case> {
    let (vendor, new) = ("X-com.vendor.foo=NotUnderstood", "NewKey=NotUnderstood");
    let security = || login_requests().nth(1);
    vec![
        proposal("a vendor's key", Setup::normal(), &["X-com.vendor.foo=1"], &[vendor]),
        proposal("a new key", Setup::normal(), &["NewKey=1"], &[new]),
        proposal("both", Setup::normal(), &["NewKey=1", "X-com.vendor.foo=a,b"], &[new, vendor]),
        proposal("without a value", Setup::normal(), &["NewKey="], &[new]),
        Case::new("in the security stage", Setup::normal())
            .rules(proposes(0, &["X-com.vendor.foo=1", "NewKey=1"]))
            .expect(all([
                Expect::Works,
                Expect::Count(login_requests(), 3..=3),
                Expect::Pair(security(), "X-com.vendor.foo=NotUnderstood"),
                Expect::Pair(security(), "NewKey=NotUnderstood"),
                Expect::Field(security(), Field::CURRENT_STAGE, Is::Value(0)),
                Expect::Field(security(), Field::TRANSIT, Is::Value(1)),
            ])),
    ]
}

/// Keys for which this side has made no offer.
fn k23() -> Vec<Case> {
    let case = |pair: &str, answer| proposal(pair, silent(), &[pair], &[answer]);
    let fences =
        Setup::normal().config(|c| c.header_digest(Digests::EMPTY).data_digest(Digests::EMPTY));
    vec![
        case("HeaderDigest=CRC32C,None", "HeaderDigest=None"),
        case("DataDigest=CRC32C,SHA-256,None", "DataDigest=None"),
        case("HeaderDigest=CRC32C", "HeaderDigest=Reject"),
        case("TaskReporting=ResponseFence,RFC3720", "TaskReporting=RFC3720"),
        case("TaskReporting=FastAbort", "TaskReporting=Reject"),
        case("iSCSIProtocolLevel=2", "iSCSIProtocolLevel=1"),
        case("iSCSIProtocolLevel=0", "iSCSIProtocolLevel=0"),
        case("iSCSIProtocolLevel=32", "iSCSIProtocolLevel=Reject"),
        case("RDMAExtensions=Yes", "RDMAExtensions=No"),
        case("TargetRecvDataSegmentLength=8192", "TargetRecvDataSegmentLength=Irrelevant"),
        proposal(
            "several",
            fences,
            &["HeaderDigest=None", "iSCSIProtocolLevel=1", "TaskReporting=RFC3720"],
            &["HeaderDigest=None", "iSCSIProtocolLevel=1", "TaskReporting=RFC3720"],
        ),
    ]
}

/// No digest is offered, nor refused.
fn silent() -> Setup {
    Setup::normal().config(|c| c.header_digest(Digests::EMPTY).data_digest(Digests::EMPTY))
}

fn k24() -> Vec<Case> {
    let case = |key: &str, expect| {
        Case::new(key, Setup::normal())
            .rules([last(Do::key(key, "NotUnderstood"))])
            .expect(stops(expect))
    };
    vec![
        case("HeaderDigest", key_breaks!(HeaderDigest, NotUnderstood)),
        case("DataDigest", key_breaks!(DataDigest, NotUnderstood)),
        case("MaxConnections", key_breaks!(MaxConnections, NotUnderstood)),
        case("InitialR2T", key_breaks!(InitialR2T, NotUnderstood)),
        case("ImmediateData", key_breaks!(ImmediateData, NotUnderstood)),
        case("MaxBurstLength", key_breaks!(MaxBurstLength, NotUnderstood)),
        case("FirstBurstLength", key_breaks!(FirstBurstLength, NotUnderstood)),
        case("DefaultTime2Wait", key_breaks!(DefaultTime2Wait, NotUnderstood)),
        case("DefaultTime2Retain", key_breaks!(DefaultTime2Retain, NotUnderstood)),
        case("MaxOutstandingR2T", key_breaks!(MaxOutstandingR2T, NotUnderstood)),
        case("DataPDUInOrder", key_breaks!(DataPduInOrder, NotUnderstood)),
        case("DataSequenceInOrder", key_breaks!(DataSequenceInOrder, NotUnderstood)),
        case("ErrorRecoveryLevel", key_breaks!(ErrorRecoveryLevel, NotUnderstood)),
    ]
}

/// A session that offers what RFC 7144 and RFC 7143 have brought.
fn modern() -> Setup {
    let reporting = TaskReportings::new(&[TaskReporting::ResponseFence, TaskReporting::Rfc3720]);
    let reporting = reporting.expect("two values");
    Setup::normal()
        .config(|c| c.iscsi_protocol_level(Some(2)).task_reporting(reporting))
        .target(|l| l.iscsi_protocol_level = Some(2))
        .target(|l| l.task_reporting = reporting)
}

fn k25() -> Vec<Case> {
    let level = Expect::Negotiated(pattern!(Negotiated { iscsi_protocol_level: 1, .. }));
    let reporting =
        Expect::Negotiated(pattern!(Negotiated { task_reporting: TaskReporting::Rfc3720, .. }));
    let both = Expect::Negotiated(pattern!(Negotiated {
        iscsi_protocol_level: 2,
        task_reporting: TaskReporting::ResponseFence,
        ..
    }));
    let unknown = |key| last(Do::key(key, "NotUnderstood"));
    let query = [Job::Manage(TaskManagement::QueryTaskSet(Lun::ZERO)), Job::Settle];
    vec![
        Case::new("iSCSIProtocolLevel", modern().jobs(query))
            .rules([unknown("iSCSIProtocolLevel")])
            .expect(all([
                Expect::Works,
                level,
                Expect::Refused(0, pattern!(SubmitError::NotNegotiated)),
            ])),
        Case::new("TaskReporting", modern())
            .rules([unknown("TaskReporting")])
            .expect(all([Expect::Works, reporting])),
        Case::new("neither", modern()).expect(all([Expect::Works, both])),
        // What a target could fail to understand is not sent: no key of a vendor, nor X#NodeArchitecture.
        Case::new("nothing else", Setup::normal()).expect(all([
            Expect::Works,
            Expect::NoKey(login_requests(), "X#NodeArchitecture"),
            Expect::NoKey(login_requests(), "TaskReporting"),
            Expect::NoKey(login_requests(), "iSCSIProtocolLevel"),
        ])),
    ]
}

fn k26() -> Vec<Case> {
    let reject = |key: &str| last(Do::key(key, "Reject"));
    let small = |key: &str, expect| {
        let setup = Setup::normal()
            .config(|c| c.max_burst_length(8192).first_burst_length(4096).max_connections(1));
        Case::new(format!("{key}, the default is too large"), setup)
            .rules([reject(key)])
            .expect(stops(expect))
    };
    let write = || Setup::normal().jobs([Job::write(4, 40), Job::Settle]);
    vec![
        Case::new("MaxBurstLength", write()).rules([reject("MaxBurstLength")]).expect(all([
            Expect::Works,
            Expect::Negotiated(pattern!(Negotiated { max_burst_length: 262_144, .. })),
        ])),
        Case::new("FirstBurstLength", write()).rules([reject("FirstBurstLength")]).expect(all([
            Expect::Works,
            Expect::Negotiated(pattern!(Negotiated { first_burst_length: 65_536, .. })),
        ])),
        Case::new("MaxOutstandingR2T", write()).rules([reject("MaxOutstandingR2T")]).expect(all([
            Expect::Works,
            Expect::Negotiated(pattern!(Negotiated { max_outstanding_r2t: 1, .. })),
        ])),
        Case::new("DefaultTime2Wait", write()).rules([reject("DefaultTime2Wait")]).expect(all([
            Expect::Works,
            Expect::Negotiated(pattern!(Negotiated { default_time2wait: 2, .. })),
        ])),
        small("MaxBurstLength", key_breaks!(MaxBurstLength, Refused)),
        small("FirstBurstLength", key_breaks!(FirstBurstLength, Refused)),
    ]
}

fn k27() -> Vec<Case> {
    let case = |pair: &str, expect| {
        Case::new(pair, silent()).rules(proposes(1, &[pair])).expect(stops(expect))
    };
    let unknown = || {
        fails!(LostReason::Protocol(ProtocolError::Login(LoginError::Key(KeyError {
            key: None,
            rule: KeyRule::ReservedWord,
        }))))
    };
    let discovery = |pair: &str, expect| {
        Case::new(format!("{pair}, discovery"), Setup::discovery())
            .rules(proposes(1, &[pair]))
            .expect(all([expect, at_once()]))
    };
    vec![
        case("TaskReporting=Reject", key_breaks!(TaskReporting, ReservedWord)),
        case("iSCSIProtocolLevel=NotUnderstood", key_breaks!(IscsiProtocolLevel, ReservedWord)),
        case("HeaderDigest=Reject", key_breaks!(HeaderDigest, ReservedWord)),
        case("IFMarker=Irrelevant", key_breaks!(IfMarker, ReservedWord)),
        case("RDMAExtensions=NotUnderstood", key_breaks!(RdmaExtensions, ReservedWord)),
        case("X-com.vendor.foo=NotUnderstood", unknown()),
        // There this side has not offered it.
        discovery("MaxBurstLength=Reject", key_breaks!(MaxBurstLength, ReservedWord)),
        discovery("InitialR2T=NotUnderstood", key_breaks!(InitialR2T, ReservedWord)),
    ]
}

fn k28() -> Vec<Case> {
    let mut cases = Vec::new();
    for (pair, expect) in [
        ("MaxBurstLength=262144", key_breaks!(MaxBurstLength, Repeated)),
        ("HeaderDigest=None", key_breaks!(HeaderDigest, Repeated)),
        ("InitialR2T=No", key_breaks!(InitialR2T, Repeated)),
        ("ErrorRecoveryLevel=0", key_breaks!(ErrorRecoveryLevel, Repeated)),
        ("DefaultTime2Wait=Reject", key_breaks!(DefaultTime2Wait, Repeated)),
    ] {
        cases.push(
            Case::new(format!("{pair} in one response"), Setup::normal())
                .rules([last(Do::add_pairs(&[pair]))])
                .expect(stops(expect.clone())),
        );
        cases.push(
            Case::new(format!("{pair} in the next response"), Setup::normal())
                .rules(proposes(1, &[]))
                .rules([response(2, Do::Data(Vec::new())), response(2, Do::add_pairs(&[pair]))])
                .expect(stops(expect)),
        );
    }
    cases.push(
        Case::new("AuthMethod", Setup::normal())
            .rules([response(0, Do::add_pairs(&["AuthMethod=None"]))])
            .expect(stops(key_breaks!(AuthMethod, Repeated))),
    );
    let unknown = fails!(LostReason::Protocol(ProtocolError::Login(LoginError::Key(KeyError {
        key: None,
        rule: KeyRule::Repeated,
    }))));
    cases.push(
        Case::new("an unknown key", Setup::normal())
            .rules(proposes(1, &["NewKey=1", "Other=1", "NewKey=2"]))
            .expect(stops(unknown)),
    );
    cases
}

fn k29() -> Vec<Case> {
    let alias = "TargetAlias=disk";
    let length = "MaxRecvDataSegmentLength=8192";
    let tag = "TargetPortalGroupTag=1";
    let case = |name: &str, rules: Vec<Rule>, expect| {
        Case::new(name, Setup::normal()).rules(rules).expect(stops(expect))
    };
    vec![
        case(
            "MaxRecvDataSegmentLength",
            vec![last(Do::add_pairs(&[length]))],
            key_breaks!(MaxRecvDataSegmentLength, Repeated),
        ),
        case(
            "MaxRecvDataSegmentLength, later",
            [
                proposes(1, &[]),
                vec![response(2, Do::Data(Vec::new())), response(2, Do::add_pairs(&[length]))],
            ]
            .concat(),
            key_breaks!(MaxRecvDataSegmentLength, Repeated),
        ),
        case(
            "TargetAlias",
            vec![last(Do::add_pairs(&[alias, alias]))],
            key_breaks!(TargetAlias, Repeated),
        ),
        case(
            "TargetAlias in both stages",
            vec![response(0, Do::add_pairs(&[alias])), response(1, Do::add_pairs(&[alias]))],
            key_breaks!(TargetAlias, Repeated),
        ),
        case(
            "TargetPortalGroupTag",
            vec![last(Do::add_pairs(&[tag]))],
            key_breaks!(TargetPortalGroupTag, Repeated),
        ),
    ]
}

fn k30() -> Vec<Case> {
    let busy = || Setup::normal().jobs([Job::write(4, 40), Job::read(0, 16), Job::Settle]);
    vec![
        proposal("IFMarker", busy(), &["IFMarker=Yes"], &["IFMarker=No"]),
        proposal("OFMarker", busy(), &["OFMarker=Yes"], &["OFMarker=No"]),
        proposal("both", busy(), &["OFMarker=Yes", "IFMarker=No"], &["OFMarker=No", "IFMarker=No"]),
        Case::new("never proposed", busy()).expect(all([
            Expect::Works,
            Expect::NoKey(login_requests(), "IFMarker"),
            Expect::NoKey(login_requests(), "OFMarker"),
        ])),
    ]
}

fn k31() -> Vec<Case> {
    let setup = Setup::normal;
    vec![
        proposal("IFMarkInt", setup(), &["IFMarkInt=1~65535"], &["IFMarkInt=Reject"]),
        proposal("OFMarkInt", setup(), &["OFMarkInt=1~65535"], &["OFMarkInt=Reject"]),
        proposal(
            "with IFMarker",
            setup(),
            &["IFMarker=Yes", "IFMarkInt=2048~4096"],
            &["IFMarker=No", "IFMarkInt=Reject"],
        ),
    ]
}

fn k32() -> Vec<Case> {
    let offer = || Expect::Pair(login_requests().last(), "iSCSIProtocolLevel=2");
    let query =
        || modern().jobs([Job::Manage(TaskManagement::QueryTaskSet(Lun::ZERO)), Job::Settle]);
    let case = |level, negotiated, asks: usize| {
        let mut seen = vec![
            Expect::Works,
            offer(),
            negotiated,
            Expect::Count(Pdus::sent(Opcode::TaskManagementRequest), asks..=asks),
        ];
        if asks == 0 {
            seen.push(Expect::Refused(0, pattern!(SubmitError::NotNegotiated)));
        }
        Case::new(
            format!("level {level}"),
            query().target(|l| l.iscsi_protocol_level = Some(level)),
        )
        .expect(Expect::All(seen))
    };
    vec![
        case(0, Expect::Negotiated(pattern!(Negotiated { iscsi_protocol_level: 0, .. })), 0),
        case(1, Expect::Negotiated(pattern!(Negotiated { iscsi_protocol_level: 1, .. })), 0),
        case(2, Expect::Negotiated(pattern!(Negotiated { iscsi_protocol_level: 2, .. })), 1),
    ]
}

fn k33() -> Vec<Case> {
    let case = |level: &str, expect| {
        Case::new(level, modern())
            .rules([last(Do::key("iSCSIProtocolLevel", level))])
            .expect(stops(expect))
    };
    vec![
        case("3", key_breaks!(IscsiProtocolLevel, AboveOffer)),
        case("31", key_breaks!(IscsiProtocolLevel, AboveOffer)),
        case("32", key_breaks!(IscsiProtocolLevel, OutOfRange)),
        case("258", key_breaks!(IscsiProtocolLevel, OutOfRange)),
    ]
}

fn k34() -> Vec<Case> {
    ["FastAbort", "responsefence", "ResponseFence,RFC3720", ""]
        .into_iter()
        .map(|value| {
            Case::new(format!("{value:?}"), modern())
                .rules([last(Do::key("TaskReporting", value))])
                .expect(stops(key_breaks!(TaskReporting, NotOffered)))
        })
        .collect()
}
