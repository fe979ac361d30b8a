//! L-29 to L-42 and L-45 to L-47: numbers, time and keys of the login.

use core::time::Duration;

use iscsi_core::testing::{Do, Extra, Field, Rule, When};
use iscsi_core::text::{Digests, Negotiated};
use iscsi_core::wire::Opcode;
use iscsi_core::{Instant, LostReason, Timer};

use super::common::{all, at_once, with_chap};
use crate::case::{Case, Job, Row, Setup};
use crate::expect::{Expect, Is, Law, Pdus};
use crate::{breaks, fails, format_breaks, key_breaks, login_breaks, pattern};

pub(crate) fn rows() -> Vec<Row> {
    vec![
        Row::pass("L-29", l29()),
        Row::pass("L-30", l30()),
        Row::pass("L-31", l31())
            .note("a pair of counters that acknowledges too much is ignored whole; a ping brings the right ones"),
        Row::pass("L-32", l32()),
        Row::pass("L-33", l33()),
        Row::pass("L-34", l34()),
        Row::pass("L-35", l35()),
        Row::pass("L-36", l36()).note("goes on; what was negotiated says that there is no tag"),
        Row::pass("L-37", l37()),
        Row::pass("L-38", l38()),
        Row::pass("L-39", l39()),
        Row::pass("L-40", l40()),
        Row::pass("L-41", l41()).note("fatal: the target takes our part"),
        Row::pass("L-42", l42()).note("ignored, since targets in the field send it; ours stays"),
        Row::pass("L-45", l45()).note("fatal: a detail without meaning may mean anything"),
        Row::pass("L-46", l46()),
        Row::pass("L-47", l47())
            .note("an unknown key is tolerated there: what it says has no effect, and targets in the field send such"),
    ]
}

fn last(act: Do) -> Rule {
    Rule::new(When::sends_last_login(), act)
}

fn first(act: Do) -> Rule {
    Rule::new(When::sends(Opcode::LoginResponse), act)
}

fn l29() -> Vec<Case> {
    let case = |name: &str, add| {
        Case::new(name, Setup::normal())
            .rules([last(Do::Add(Field::STAT_SN, add))])
            .expect(all([login_breaks!(StatSn), at_once()]))
    };
    vec![case("one missing", 1), case("repeated", -1), case("half the circle", 1 << 31)]
}

fn l30() -> Vec<Case> {
    let numbers = [
        0,
        1,
        0x7fff_fffd,
        0x7fff_fffe,
        0x7fff_ffff,
        0x8000_0000,
        0xffff_fffd,
        0xffff_fffe,
        u32::MAX,
    ];
    numbers
        .into_iter()
        .map(|stat_sn| {
            let setup = Setup::reading().with(|s| s.stat_sn = stat_sn);
            let answers = || Pdus::received(Opcode::LoginResponse);
            let second = Pdus::sent(Opcode::LoginRequest).last();
            let command = Pdus::sent(Opcode::ScsiCommand).first();
            Case::new(format!("{stat_sn:#x}"), setup).expect(all([
                Expect::Works,
                Expect::Field(answers().first(), Field::STAT_SN, Is::Value(stat_sn.into())),
                Expect::Field(
                    second,
                    Field::EXP_STAT_SN,
                    Is::Same(answers().first(), Field::STAT_SN, 1),
                ),
                Expect::Field(
                    command,
                    Field::EXP_STAT_SN,
                    Is::Same(answers().last(), Field::STAT_SN, 1),
                ),
            ]))
        })
        .collect()
}

fn l31() -> Vec<Case> {
    [-1000, -1, 1, 1000]
        .into_iter()
        .map(|add| {
            Case::new(format!("off by {add}"), Setup::normal())
                .rules([last(Do::Add(Field::EXP_CMD_SN, add))])
                .expect(all([
                    Expect::Works,
                    // Its own numbers are not changed by it.
                    Expect::Field(
                        Pdus::sent(Opcode::ScsiCommand).first(),
                        Field::CMD_SN,
                        Is::Same(Pdus::sent(Opcode::LoginRequest).first(), Field::CMD_SN, 0),
                    ),
                ]))
        })
        .collect()
}

/// No command was sent in the first three seconds, and some were then.
const HELD_BACK: Law = Law {
    name: "commands wait for three seconds",
    check: |seen| {
        let opens = Instant::ZERO + Duration::from_secs(3);
        let commands = Pdus::sent(Opcode::ScsiCommand).find(seen);
        match commands.first() {
            Some(entry) if entry.at >= opens => Ok(()),
            other => Err(format!("the first command: {:?}", other.map(|entry| entry.at))),
        }
    },
};

fn l32() -> Vec<Case> {
    let opens = Rule::new(When::At(Duration::from_secs(3)), Do::Send(Extra::new(Opcode::NopIn)));
    let ping = Pdus::sent(Opcode::NopOut);
    let closed = |setup: Setup| {
        Case::new(format!("{} jobs", setup.jobs.len()), setup)
            .rules([last(Do::Add(Field::MAX_CMD_SN, -32)), opens.clone()])
    };
    let with_ping =
        Setup::normal().jobs([Job::Ping, Job::read(0, 8), Job::write(32, 2), Job::Settle]);
    vec![
        closed(Setup::normal()).expect(all([Expect::Works, Expect::Law(HELD_BACK)])),
        // A ping is immediate, so it is sent; its echo would open the window and is kept quiet.
        closed(with_ping)
            .rules([Rule::new(When::sends(Opcode::NopIn), Do::Add(Field::MAX_CMD_SN, -32))])
            .expect(all([Expect::Works, Expect::Law(HELD_BACK), Expect::Count(ping, 1..=1)])),
    ]
}

fn l33() -> Vec<Case> {
    let mut cases = Vec::new();
    for number in 0..2 {
        for (act, expect) in
            [(Do::CLOSE, fails!(LostReason::Eof)), (Do::RESET, fails!(LostReason::Transport))]
        {
            let case = Case::new(format!("{act:?} at request {number}"), Setup::normal());
            cases.push(
                case.rule(When::receives_nth(Opcode::LoginRequest, number), Do::Ignore)
                    .rule(When::receives_nth(Opcode::LoginRequest, number), act)
                    .expect(all([expect, at_once(), Expect::Connections(1..=1)])),
            );
        }
    }
    cases
}

fn l34() -> Vec<Case> {
    let after =
        |seconds| Expect::OverAt(Duration::from_secs(seconds)..=Duration::from_secs(seconds));
    let silent = |number| Rule::new(When::receives_nth(Opcode::LoginRequest, number), Do::SILENCE);
    let quick = Setup::normal().config(|c| {
        c.timeouts(iscsi_core::config::Timeouts {
            login: Duration::from_secs(4),
            ..iscsi_core::config::Timeouts::DEFAULT
        })
    });
    let timed_out = || fails!(LostReason::TimedOut(Timer::Login));
    vec![
        Case::new("no answer", Setup::normal())
            .rules([silent(0)])
            .expect(all([timed_out(), after(15)])),
        Case::new("no second answer", Setup::normal())
            .rules([silent(1)])
            .expect(all([timed_out(), after(15)])),
        Case::new("four seconds", quick).rules([silent(0)]).expect(all([timed_out(), after(4)])),
    ]
}

fn l35() -> Vec<Case> {
    // What was offered for later does not hold in the login.
    let setup = Setup::normal().config(|c| c.max_recv_data_segment_length(1 << 20));
    let mut cases: Vec<Case> = [0, 1]
        .into_iter()
        .map(|number| {
            let when = When::sends_nth(Opcode::LoginResponse, number);
            Case::new(format!("header of response {number}"), setup.clone())
                .rule(when, Do::Set(Field::DATA_SEGMENT_LENGTH, 8193))
                .expect(all([breaks!(DataSegmentTooLong { length: 8193, max: 8192 }), at_once()]))
        })
        .collect();
    cases.push(
        Case::new("with all its bytes", setup).rules([last(Do::Data(vec![b'a'; 8196]))]).expect(
            all([
                breaks!(DataSegmentTooLong { length: 8196, max: 8192 }),
                Expect::TakenAtMost(200),
                at_once(),
            ]),
        ),
    );
    cases
}

fn l36() -> Vec<Case> {
    let none = Expect::Negotiated(pattern!(Negotiated { target_portal_group_tag: None, .. }));
    let there = Expect::Negotiated(pattern!(Negotiated { target_portal_group_tag: Some(1), .. }));
    vec![
        Case::new("missing", Setup::normal())
            .rules([first(Do::drop_key("TargetPortalGroupTag"))])
            .expect(all([Expect::Works, none])),
        Case::new("there", Setup::normal()).expect(all([Expect::Works, there])),
    ]
}

fn l37() -> Vec<Case> {
    let setup = || Setup::normal().config(|c| c.expected_target_portal_group_tag(1));
    vec![
        Case::new("another", setup())
            .rules([first(Do::key("TargetPortalGroupTag", "2"))])
            .expect(all([login_breaks!(PortalGroup), at_once()])),
        Case::new("the one expected, in hexadecimal", setup())
            .rules([first(Do::key("TargetPortalGroupTag", "0x1"))]),
    ]
}

fn l38() -> Vec<Case> {
    let zero = Expect::Negotiated(pattern!(Negotiated { target_portal_group_tag: Some(0), .. }));
    let most =
        Expect::Negotiated(pattern!(Negotiated { target_portal_group_tag: Some(65535), .. }));
    [("0", zero), ("65535", most)]
        .into_iter()
        .map(|(tag, expect)| {
            Case::new(tag, Setup::normal())
                .rules([first(Do::key("TargetPortalGroupTag", tag))])
                .expect(all([Expect::Works, expect]))
        })
        .collect()
}

fn l39() -> Vec<Case> {
    let case = |value: &str, expect: Expect| {
        Case::new(format!("{value:?}"), Setup::normal())
            .rules([first(Do::key("TargetPortalGroupTag", value))])
            .expect(all([expect, at_once()]))
    };
    let out_of_range = || key_breaks!(TargetPortalGroupTag, OutOfRange);
    let no_number =
        || key_breaks!(TargetPortalGroupTag, Malformed(iscsi_core::text::TextRule::Number));
    vec![
        case("70000", out_of_range()),
        case("0x10000", out_of_range()),
        case("65536", out_of_range()),
        case("18446744073709551617", out_of_range()),
        case("-1", no_number()),
        case("abc", no_number()),
        case("", no_number()),
        case("1,2", no_number()),
    ]
}

fn l40() -> Vec<Case> {
    let case = |pair: &str, expect: Expect| {
        Case::new(pair, Setup::normal())
            .rules([first(Do::add_pairs(&[pair]))])
            .expect(all([expect, at_once()]))
    };
    vec![
        case("MaxBurstLength=262144", key_breaks!(MaxBurstLength, WrongStage)),
        case("MaxRecvDataSegmentLength=8192", key_breaks!(MaxRecvDataSegmentLength, WrongStage)),
        case("HeaderDigest=None", key_breaks!(HeaderDigest, WrongStage)),
        case("InitialR2T=Yes", key_breaks!(InitialR2T, WrongStage)),
        case("ErrorRecoveryLevel=0", key_breaks!(ErrorRecoveryLevel, WrongStage)),
        case("TaskReporting=RFC3720", key_breaks!(TaskReporting, WrongStage)),
    ]
}

fn l41() -> Vec<Case> {
    let mut cases = Vec::new();
    for rule in [first as fn(Do) -> Rule, last] {
        for (pair, expect) in [
            ("InitiatorName=iqn.2001-04.com.example:host", key_breaks!(InitiatorName, WrongSender)),
            ("InitiatorAlias=host", key_breaks!(InitiatorAlias, WrongSender)),
            ("SessionType=Normal", key_breaks!(SessionType, WrongSender)),
            ("SendTargets=All", key_breaks!(SendTargets, WrongSender)),
        ] {
            let rule = rule(Do::add_pairs(&[pair]));
            cases.push(
                Case::new(format!("{pair}, {:?}", rule.when), Setup::normal())
                    .rules([rule])
                    .expect(all([expect, at_once()])),
            );
        }
    }
    cases
}

fn l42() -> Vec<Case> {
    let mut cases = Vec::new();
    for name in ["iqn.2001-04.com.example:other", "iqn.2001-04.com.example:disk", "nonsense", ""] {
        let pair = format!("TargetName={name}");
        let rules = [first(Do::add_pairs(&[&pair])), last(Do::add_pairs(&[&pair]))];
        cases.push(Case::new(pair, Setup::logging_out()).rules(rules).expect(all([
            Expect::Works,
            Expect::Pair(
                Pdus::sent(Opcode::LoginRequest).on(1).first(),
                "TargetName=iqn.2001-04.com.example:disk",
            ),
        ])));
    }
    cases
}

fn l45() -> Vec<Case> {
    let case = |name: &str, rule: Rule, expect: Expect| {
        Case::new(name, Setup::normal()).rules([rule]).expect(all([expect, at_once()]))
    };
    vec![
        case(
            "first response",
            first(Do::Set(Field::STATUS_DETAIL, 1)),
            format_breaks!(ReservedSuccessDetail(1)),
        ),
        case(
            "last response",
            last(Do::Set(Field::STATUS_DETAIL, 0xff)),
            format_breaks!(ReservedSuccessDetail(0xff)),
        ),
    ]
}

/// The keys whose answer is missing have their defaults, where this side could have agreed to them.
fn l46() -> Vec<Case> {
    let defaults = Expect::Negotiated(pattern!(Negotiated {
        max_burst_length: 262_144,
        first_burst_length: 65_536,
        max_outstanding_r2t: 1,
        initial_r2t: true,
        immediate_data: true,
        target_max_recv_data_segment_length: 8192,
        ..
    }));
    let nothing = || last(Do::Data(Vec::new()));
    let digests = |d: Digests| Setup::normal().config(|c| c.header_digest(d).data_digest(d));
    // An empty response that stays in the security stage, to every request.
    let empty = Extra::new(Opcode::LoginResponse).of_task().numbered().set(Field::TRANSIT, 0);
    let each = || When::receives_each(Opcode::LoginRequest);
    vec![
        Case::new("no answer at all", Setup::reading())
            .rules([nothing()])
            .expect(all([Expect::Works, defaults])),
        Case::new("a required digest", digests(Digests::CRC32C))
            .rules([nothing()])
            .expect(all([key_breaks!(HeaderDigest, Unanswered), at_once()])),
        Case::new("a required data digest", digests(Digests::CRC32C))
            .rules([last(Do::drop_key("DataDigest"))])
            .expect(all([key_breaks!(DataDigest, Unanswered), at_once()])),
        Case::new("a digest that may be missing", digests(Digests::NONE_CRC32C))
            .rules([last(Do::drop_key("HeaderDigest"))]),
        Case::new("a smaller maximum than the default", {
            Setup::normal().config(|c| c.max_burst_length(8192).first_burst_length(4096))
        })
        .rules([last(Do::drop_key("MaxBurstLength"))])
        .expect(all([key_breaks!(MaxBurstLength, Unanswered), at_once()])),
        Case::new("AuthMethod, where None is fine", Setup::normal())
            .rules([first(Do::drop_key("AuthMethod"))]),
        Case::new("AuthMethod, where CHAP is required", with_chap(Setup::normal()))
            .rule(each(), Do::Ignore)
            .rule(each(), Do::Send(empty))
            .expect(all([
                login_breaks!(TooManyExchanges),
                Expect::Count(Pdus::sent(Opcode::ScsiCommand), 0..=0),
            ])),
    ]
}

fn l47() -> Vec<Case> {
    let case = |name: &str, pair: &str, expect: Expect| {
        Case::new(name, Setup::normal()).rules([last(Do::add_pairs(&[pair]))]).expect(expect)
    };
    let owed = || all([login_breaks!(AnswerOwed), at_once()]);
    vec![
        case("a list", "TaskReporting=RFC3720,ResponseFence", owed()),
        case("a number", "iSCSIProtocolLevel=2", owed()),
        case("an obsolete boolean", "IFMarker=Yes", owed()),
        case("an obsolete range", "OFMarkInt=1~65535", owed()),
        case("a boolean that needs no answer", "IFMarker=No", Expect::Works),
        case("an unknown key", "X-com.example.colour=blue", Expect::Works),
    ]
}
