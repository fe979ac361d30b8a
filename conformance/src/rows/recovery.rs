//! V: error recovery within the connection, and what is not offered of it.

use core::time::Duration;

use iscsi_core::config::{Recovery, Timeouts};
use iscsi_core::testing::{Do, Extra, Field, Rng, Rule, Told, When};
use iscsi_core::text::Negotiated;
use iscsi_core::wire::Opcode;
use iscsi_core::{LostReason, ProtocolError, Timer, Transfer};

use super::common::{all, at_once, with_digests};
use super::digest::with_level_1;
use crate::case::{Case, Job, Request, Row, Setup, Verdict};
use crate::expect::{Expect, Is, Law, Pdus};
use crate::{breaks, fails, pattern};

/// Why rows about level 2 do not apply.
const LEVEL_2: &str = "needs ErrorRecoveryLevel 2, which is not offered: a lost connection is replaced by a new session";

pub(crate) fn rows() -> Vec<Row> {
    vec![
        Row::pass("V-01", v01()),
        Row::pass("V-02", v02()).note(
            "a GOOD status whose data were refused is told with the bytes that are missing: it is not good; if a status is refused the connection ends",
        ),
        Row::pass("V-03", v03()),
        Row::pass("V-04", v04())
            .note("sent again only if the target says that the immediate data were damaged; a command that is not answered is aborted"),
        Row::pass("V-05", v05())
            .note("no R-Data SNACK is sent, because MaxRecvDataSegmentLength does not change in a connection; a tag that nobody gave is ignored"),
        Row::pass("V-06", v06()),
        Row::new("V-07", Verdict::NotApplicable(LEVEL_2)),
        Row::new("V-08", Verdict::NotApplicable(LEVEL_2)),
        Row::new("V-09", Verdict::NotApplicable(LEVEL_2)),
        Row::pass("V-10", v10()),
        Row::pass("V-11", v11()).note("level 1 is the highest that is offered"),
    ]
}

fn snacks() -> Pdus {
    Pdus::sent(Opcode::SnackRequest)
}

/// Level 1 and digests; reads in eight parts.
fn reading() -> Setup {
    with_level_1(with_digests(Setup::reading())).service(|s| s.segment = 512)
}

fn drops(kind: Opcode, n: u32) -> Rule {
    Rule::new(When::sends_nth(kind, n), Do::Drop)
}

fn v01() -> Vec<Case> {
    let asks = |from: u64, length: u64| {
        all([
            Expect::Works,
            Expect::Count(snacks(), 1..=1),
            Expect::Field(snacks(), Field::SNACK_TYPE, Is::Value(0)),
            Expect::Field(snacks(), Field::BEG_RUN, Is::Value(from)),
            Expect::Field(snacks(), Field::RUN_LENGTH, Is::Value(length)),
            Expect::Field(snacks(), Field::TARGET_TRANSFER_TAG, Is::Value(0xffff_ffff)),
            Expect::Field(
                snacks(),
                Field::INITIATOR_TASK_TAG,
                Is::Same(Pdus::sent(Opcode::ScsiCommand).first(), Field::INITIATOR_TASK_TAG, 0),
            ),
        ])
    };
    let mut cases = Vec::new();
    for collapse in [true, false] {
        let setup = || reading().service(|s| s.collapse = collapse);
        for (from, length) in [(0, 1), (0, 4), (3, 1), (3, 3), (6, 1)] {
            cases.push(
                Case::new(format!("{length} from {from} are lost, collapsed {collapse}"), setup())
                    .rules((from..from + length).map(|n| drops(Opcode::DataIn, n)))
                    .expect(asks(from.into(), length.into())),
            );
        }
        cases.push(
            Case::new(format!("the last is damaged, collapsed {collapse}"), setup())
                .rule(When::sends_nth(Opcode::DataIn, 7), Do::SpoilDataDigest)
                .expect(asks(7, 1)),
        );
        cases.push(
            Case::new(format!("what comes again comes twice, collapsed {collapse}"), setup())
                .rules([drops(Opcode::DataIn, 2)])
                .rule(When::sends_nth(Opcode::DataIn, 8), Do::Repeat(2))
                .expect(asks(2, 1)),
        );
    }
    cases
}

fn v02() -> Vec<Case> {
    let refuses = |reason| {
        let reject = Extra::new(Opcode::Reject).numbered().with_header();
        let when = || When::receives_nth(Opcode::SnackRequest, 0);
        [
            Rule::new(when(), Do::Ignore),
            Rule::new(when(), Do::Send(reject.set(Field::RESPONSE, reason))),
        ]
    };
    // All bytes but those of one PDU, and the target calls it good.
    let incomplete = || {
        all([
            Expect::GoesOn,
            Expect::Connections(1..=1),
            Expect::Task(
                0,
                pattern!(Told::Done { outcome, .. } if outcome.missing == 512 && !outcome.is_good()),
            ),
        ])
    };
    // ABORTED COMMAND, SNACK rejected.
    let mut sense = vec![0, 18, 0x70, 0, 0x0b, 0, 0, 0, 0, 10];
    sense.resize(20, 0);
    (sense[14], sense[15]) = (0x11, 0x13);
    let check = |act| Rule::new(When::sends(Opcode::ScsiResponse), act);
    let ends_badly = [
        check(Do::Late(Duration::from_secs(1))),
        check(Do::Set(Field::STATUS, 2)),
        check(Do::Data(sense)),
    ];
    let separate = || reading().service(|s| s.collapse = false);
    let mut cases = Vec::new();
    for reason in [3, 4] {
        cases.extend([
            Case::new(format!("reason {reason}, the status has come"), reading())
                .rules([drops(Opcode::DataIn, 2)])
                .rules(refuses(reason))
                .expect(all([incomplete(), Expect::Count(snacks(), 1..=1)])),
            Case::new(format!("reason {reason}, the response has come"), separate())
                .rules([drops(Opcode::DataIn, 2)])
                .rules(refuses(reason))
                .expect(all([incomplete(), Expect::Count(snacks(), 1..=1)])),
            // It is asked for by itself then.
            Case::new(format!("reason {reason}, the status is in the damaged PDU"), reading())
                .rule(When::sends_nth(Opcode::DataIn, 7), Do::SpoilDataDigest)
                .rules(refuses(reason))
                .expect(all([
                    incomplete(),
                    Expect::Field(snacks().nth(1), Field::SNACK_TYPE, Is::Value(1)),
                ])),
            Case::new(format!("reason {reason}, the status is to come"), separate())
                .rules([drops(Opcode::DataIn, 2)])
                .rules(refuses(reason))
                .rules(ends_badly.clone())
                .expect(all([
                    Expect::GoesOn,
                    Expect::Connections(1..=1),
                    Expect::Task(
                        0,
                        pattern!(
                            Told::Done { sense, .. }
                                if sense.get(12..14) == Some(&[0x11, 0x13])
                        ),
                    ),
                ])),
            // Without a status there is no way on.
            Case::new(format!("reason {reason}, a status is refused"), separate())
                .rules([drops(Opcode::ScsiResponse, 0)])
                .rules(refuses(reason))
                .expect(all([
                    fails!(LostReason::Protocol(ProtocolError::Rejected(_))),
                    Expect::Task(0, pattern!(Told::Lost { .. })),
                ])),
        ]);
    }
    cases
}

fn v03() -> Vec<Case> {
    let own = |setup: Setup| with_level_1(with_digests(setup)).service(|s| s.collapse = false);
    let asked = |again| {
        all([
            Expect::Works,
            Expect::Count(snacks(), 1..=1),
            Expect::Field(snacks(), Field::SNACK_TYPE, Is::Value(1)),
            Expect::Field(snacks(), Field::RUN_LENGTH, Is::Value(1)),
            Expect::Field(snacks(), Field::INITIATOR_TASK_TAG, Is::Value(0xffff_ffff)),
            Expect::Field(
                Pdus::received(Opcode::ScsiResponse).nth(again),
                Field::STAT_SN,
                Is::Same(snacks(), Field::BEG_RUN, 0),
            ),
        ])
    };
    let response = Opcode::ScsiResponse;
    let several = own(Setup::normal().jobs([
        Job::read(0, 8),
        Job::test_unit_ready(),
        Job::read(16, 8),
        Job::Settle,
    ]));
    let mut cases = vec![
        Case::new("a read", own(Setup::reading())).rules([drops(response, 0)]).expect(asked(0)),
        Case::new("a write", own(Setup::writing())).rules([drops(response, 0)]).expect(asked(0)),
        Case::new("the first of several", several.clone())
            .rules([drops(response, 0)])
            // The one behind it shows that it is missing.
            .expect(asked(1)),
        Case::new("all of several", several)
            .rules((0..3).map(|n| drops(response, n)))
            .expect(all([Expect::Works, Expect::Field(snacks(), Field::SNACK_TYPE, Is::Value(1))])),
    ];
    for times in [2, 5] {
        // The second response is the one that comes again.
        cases.push(
            Case::new(format!("it comes {times} times"), own(Setup::reading()))
                .rules([drops(response, 0)])
                .rule(When::sends_nth(response, 1), Do::Repeat(times))
                .expect(asked(0)),
        );
    }
    cases
}

/// The first two commands are the same, but for what was acknowledged in the meantime.
const SAME_COMMAND: Law = Law {
    name: "the same command is sent twice on the same connection",
    check: |seen| {
        let commands = Pdus::sent(Opcode::ScsiCommand).find(seen);
        let [first, second, ..] = commands[..] else {
            return Err("there are no two commands".into());
        };
        let mut again = second.bhs;
        Field::EXP_STAT_SN.set(&mut again, Field::EXP_STAT_SN.get(&first.bhs));
        let same = again == first.bhs && second.data == first.data;
        if same && first.connection == second.connection {
            Ok(())
        } else {
            Err(format!("{:02x?}, then {:02x?}", first.bhs, second.bhs))
        }
    },
};

fn v04() -> Vec<Case> {
    let reject = Extra::new(Opcode::Reject).numbered().with_header().set(Field::RESPONSE, 2);
    let lost = |n| {
        let when = When::receives_nth(Opcode::ScsiCommand, n);
        [Rule::new(when.clone(), Do::Lose), Rule::new(when, Do::Send(reject.clone()))]
    };
    let commands = || Pdus::sent(Opcode::ScsiCommand);
    let setup = || with_level_1(with_digests(Setup::writing()));
    let mut write = Request::new(&iscsi_core::testing::Disk::write10(4, 2), Transfer::Out(1024));
    write.timeout = Some(Duration::from_secs(10));
    let unanswered = with_level_1(Setup::normal().jobs([write.job(), Job::Settle]));
    vec![
        Case::new("once", setup()).rules(lost(0)).expect(all([
            Expect::Works,
            Expect::Law(SAME_COMMAND),
            Expect::Count(commands(), 3..=3),
        ])),
        Case::new("twice", setup()).rules(lost(0)).rules(lost(1)).expect(all([
            Expect::Works,
            Expect::Law(SAME_COMMAND),
            Expect::Count(commands(), 4..=4),
        ])),
        // No timer sends it again: a target that is slow would do it twice.
        Case::new("no answer", unanswered)
            .rule(When::receives(Opcode::ScsiCommand), Do::Ignore)
            .expect(all([
                Expect::GoesOn,
                Expect::Count(commands(), 2..=2),
                Expect::Field(commands(), Field::CMD_SN, Is::Counts(commands(), Field::CMD_SN, 0)),
                Expect::Count(Pdus::sent(Opcode::TaskManagementRequest), 1..=1),
                Expect::Task(
                    0,
                    pattern!(Told::Lost { reason: LostReason::TimedOut(Timer::Task), .. }),
                ),
            ])),
    ]
}

fn v05() -> Vec<Case> {
    let resegmented = || Expect::Count(snacks().with(Field::SNACK_TYPE, 3), 0..=0);
    let own = || reading().service(|s| s.collapse = false);
    let tagged = Rule::new(When::sends_each(Opcode::ScsiResponse), Do::Set(Field::SNACK_TAG, 5));
    let spoilt = [1, 4].map(|n| Rule::new(When::sends_nth(Opcode::DataIn, n), Do::SpoilDataDigest));
    vec![
        Case::new("a tag in a response", own())
            .rules([tagged.clone()])
            .expect(all([Expect::Works, resegmented()])),
        Case::new("a tag, and damaged data", own())
            .rules([tagged])
            .rules(spoilt.clone())
            .expect(all([Expect::Works, resegmented(), Expect::Count(snacks(), 2..=2)])),
        Case::new("damaged data", own()).rules(spoilt).expect(all([
            Expect::Works,
            resegmented(),
            Expect::Count(snacks(), 2..=2),
        ])),
    ]
}

/// The target complains about a SNACK for what it never sent or what was acknowledged.
fn v06() -> Vec<Case> {
    // If sequences come in order, there is one R2T at a time, and nothing shows that it is missing.
    let setup = |collapse, in_order| {
        with_level_1(with_digests(Setup::normal()))
            .service(|s| s.segment = 512)
            .service(|s| s.collapse = collapse)
            .service(|s| s.burst = 1024)
            .config(|c| c.immediate_data(false).initial_r2t(true).data_sequence_in_order(in_order))
            .target(|l| l.data_sequence_in_order = in_order)
            .jobs([
                Job::read(0, 8),
                Job::write(16, 12),
                Job::test_unit_ready(),
                Job::read(4, 8),
                Job::Ping,
                Job::Settle,
                Job::read(20, 4),
                Job::Settle,
            ])
    };
    let mut cases = vec![
        Case::new("nothing is damaged", setup(true, true))
            .expect(all([Expect::Works, Expect::Count(snacks(), 0..=0)])),
    ];
    for seed in 0..64 {
        let mut rng = Rng::new(seed);
        let mut rules = Vec::new();
        let in_order = seed % 4 < 2;
        for _ in 0..1 + rng.below(6) {
            let (kind, most) = match rng.below(5) {
                0 => (Opcode::ScsiResponse, 1),
                // The last one is not lost: nothing comes behind it, and nobody asks for it by a timer.
                1 if !in_order => (Opcode::R2t, 5),
                _ => (Opcode::DataIn, 20),
            };
            let n = rng.below(most);
            let act = match kind {
                // From 8 on it may be one that comes again; that such a one is lost is the end of the connection.
                Opcode::DataIn if n >= 8 || rng.below(2) == 0 => Do::SpoilDataDigest,
                Opcode::DataIn if rng.below(4) == 0 => Do::Repeat(2),
                _ => Do::Drop,
            };
            rules.push(Rule::new(When::sends_nth(kind, n as u32), act));
        }
        cases.push(
            Case::new(format!("seed {seed}, {rules:?}"), setup(seed % 2 == 0, in_order))
                .rules(rules)
                .optional()
                .expect(all([Expect::Works, Expect::Connections(1..=1)])),
        );
    }
    cases
}

fn v10() -> Vec<Case> {
    let read = Request::reissued_read(0, 8);
    let setup = Setup::normal()
        .config(|c| c.recovery(Recovery::FOREVER).default_time2retain(0))
        .jobs([read.job(), Job::Settle]);
    let first = |act| Rule::new(When::receives(Opcode::ScsiCommand), act).on(0);
    let logins = || Pdus::sent(Opcode::LoginRequest);
    let anew = |wait: u64| {
        let wait = Duration::from_secs(wait);
        all([
            Expect::Works,
            Expect::Connections(2..=2),
            Expect::Waits(1, wait..=wait),
            Expect::Negotiated(pattern!(Negotiated { default_time2retain: 0, .. })),
            Expect::Field(logins(), Field::TSIH, Is::Value(0)),
            Expect::Field(logins(), Field::ISID, Is::Same(logins().first(), Field::ISID, 0)),
            Expect::Count(Pdus::sent(Opcode::TaskManagementRequest), 0..=0),
            Expect::Count(Pdus::sent(Opcode::LogoutRequest), 0..=0),
        ])
    };
    let dropped = |event| {
        let extra = Extra::new(Opcode::AsyncMessage).numbered().set(Field::ASYNC_EVENT, event);
        extra.set(Field::PARAMETER2, 3).set(Field::PARAMETER3, 0)
    };
    vec![
        Case::new("a reset", setup.clone())
            .rules([first(Do::Ignore), first(Do::RESET)])
            .expect(anew(2)),
        Case::new("the session is dropped", setup.clone())
            .rules([first(Do::Ignore), first(Do::Send(dropped(3)))])
            .expect(anew(3)),
        Case::new("the connection is dropped", setup)
            .rules([first(Do::Ignore), first(Do::Send(dropped(2)))])
            .expect(anew(3)),
    ]
}

fn v11() -> Vec<Case> {
    let offering = |setup: Setup| with_digests(setup).config(|c| c.error_recovery_level(1));
    let agreed = || {
        all([
            Expect::Count(snacks(), 0..=0),
            Expect::Count(Pdus::sent(Opcode::TaskManagementRequest), 0..=0),
            Expect::Pair(Pdus::sent(Opcode::LoginRequest), "ErrorRecoveryLevel=1"),
            Expect::Negotiated(pattern!(Negotiated { error_recovery_level: 0, .. })),
        ])
    };
    let parts = || offering(Setup::reading()).service(|s| s.segment = 512);
    let spoil = Rule::new(When::sends_nth(Opcode::DataIn, 2), Do::SpoilDataDigest);
    let asks = |field, value| Rule::new(When::sends_nth(Opcode::DataIn, 2), Do::Set(field, value));
    let responses = || offering(Setup::reading()).service(|s| s.collapse = false);
    vec![
        Case::new("nothing is damaged", parts()).expect(all([Expect::Works, agreed()])),
        Case::new("damaged data", parts()).rules([spoil]).expect(all([
            breaks!(DataDigest),
            at_once(),
            agreed(),
        ])),
        Case::new("lost data", parts()).rules([drops(Opcode::DataIn, 2)]).expect(all([
            breaks!(DataSn { .. }),
            at_once(),
            agreed(),
        ])),
        Case::new("a lost response", responses())
            .rules([drops(Opcode::ScsiResponse, 0)])
            .expect(all([fails!(LostReason::Protocol(_)), agreed()])),
        Case::new("a wish for an acknowledgement", parts())
            .rules([
                asks(Field::ACKNOWLEDGE, 1),
                asks(Field::TARGET_TRANSFER_TAG, 7),
                asks(Field::LUN, 0),
            ])
            .expect(all([Expect::Works, agreed()])),
        Case::new("no answer to the key", parts())
            .rules([drops(Opcode::DataIn, 2)])
            .rule(When::sends_last_login(), Do::drop_key("ErrorRecoveryLevel"))
            .expect(all([breaks!(DataSn { .. }), agreed()])),
        Case::new("a lost connection", {
            parts()
                .config(|c| c.timeouts(Timeouts::DEFAULT).recovery(Recovery::FOREVER))
                .jobs([Request::reissued_read(0, 8).job(), Job::Settle])
        })
        .rules([
            Rule::new(When::receives(Opcode::ScsiCommand), Do::Ignore).on(0),
            Rule::new(When::receives(Opcode::ScsiCommand), Do::RESET).on(0),
        ])
        .expect(all([Expect::Works, Expect::Connections(2..=2), agreed()])),
    ]
}
