//! S: StatSN.

use core::time::Duration;

use iscsi_core::config::{Recovery, Timeouts};
use iscsi_core::testing::{Do, Entry, Extra, Field, Rule, Told, When};
use iscsi_core::wire::Opcode;
use iscsi_core::{Direction, Instant, LostReason, Lun, StatSn, TaskManagement};

use super::common::{all, at_once, harmless, setup_for, soliciting};
use crate::case::{Case, Job, Row, Setup};
use crate::expect::{Expect, Is, Law, Pdus};
use crate::observe::Observation;
use crate::{breaks, pattern};

pub(crate) fn rows() -> Vec<Row> {
    vec![
        Row::pass("S-01", s01()),
        Row::pass("S-02", s02()),
        Row::pass("S-03", s03()),
        Row::pass("S-04", s04()),
        Row::pass("S-05", s05()),
        Row::pass("S-06", s06()),
        Row::pass("S-07", s07()),
        Row::pass("S-08", s08()),
        Row::pass("S-09", s09()),
    ]
}

/// The first StatSN after a login of two exchanges.
const FIRST: u64 = 3;

/// Kinds of PDUs with a status that a target sends while the connection goes on.
const STATUSES: [Opcode; 7] = [
    Opcode::NopIn,
    Opcode::ScsiResponse,
    Opcode::TaskManagementResponse,
    Opcode::TextResponse,
    Opcode::DataIn,
    Opcode::AsyncMessage,
    Opcode::Reject,
];

/// The StatSN that a PDU takes; none if it only shows the next one, or has no such field.
fn status_of(entry: &Entry) -> Option<StatSn> {
    let takes = match Opcode::of(&entry.bhs)? {
        Opcode::R2t => false,
        Opcode::DataIn => Field::HAS_STATUS.get(&entry.bhs) == 1,
        Opcode::NopIn => Field::INITIATOR_TASK_TAG.get(&entry.bhs) != 0xffff_ffff,
        _ => true,
    };
    takes.then(|| StatSn(Field::STAT_SN.get(&entry.bhs) as u32))
}

/// What the initiator sends after the login acknowledges every status before it.
fn follows(seen: &Observation) -> Result<Vec<Opcode>, String> {
    let mut next = None;
    let mut acknowledged = Vec::new();
    let mut kind = None;
    for entry in &seen.pdus {
        if entry.direction == Direction::Received {
            if let Some(stat_sn) = status_of(entry) {
                next = Some(stat_sn.next());
                kind = Opcode::of(&entry.bhs);
            }
            continue;
        }
        let Some(next) = next else { continue };
        let sent = StatSn(Field::EXP_STAT_SN.get(&entry.bhs) as u32);
        if sent != next {
            return Err(format!("{sent} instead of {next}"));
        }
        acknowledged.extend(kind.take());
    }
    Ok(acknowledged)
}

const FOLLOWS: Law = Law {
    name: "ExpStatSN is the last StatSN plus 1",
    check: |seen| match follows(seen)?.len() {
        0..=2 => Err("only the login was acknowledged".into()),
        _ => Ok(()),
    },
};

const FOLLOWS_EVERY_KIND: Law = Law {
    name: "ExpStatSN is the last StatSN plus 1, after every kind of PDU",
    check: |seen| {
        let kinds = follows(seen)?;
        match STATUSES.iter().find(|kind| !kinds.contains(kind)) {
            Some(kind) => Err(format!("{kind:?} was not acknowledged")),
            None => Ok(()),
        }
    },
};

fn s01() -> Vec<Case> {
    let reset = Job::Manage(TaskManagement::LogicalUnitReset(Lun::ZERO));
    let jobs = [
        Job::read(0, 8),
        Job::write(32, 8),
        Job::Ping,
        reset,
        Job::Discover,
        Job::read(8, 8),
        Job::sleep(1),
        Job::test_unit_ready(),
        Job::sleep(1),
        Job::test_unit_ready(),
    ];
    let mut nodes = Setup::discovery().nodes.unwrap_or_default();
    nodes.truncate(1);
    let setup = Setup::normal()
        .with(|s| s.nodes = Some(nodes))
        .jobs(jobs.into_iter().flat_map(|job| [job, Job::Settle]));
    let sends = |millis, kind| {
        let extra = harmless(kind).expect("a PDU that is sent at any time");
        Rule::new(When::At(Duration::from_millis(millis)), Do::Send(extra))
    };
    vec![
        Case::new("one by one", setup)
            .rules([sends(500, Opcode::AsyncMessage), sends(1500, Opcode::Reject)])
            .expect(all([Expect::Works, Expect::Law(FOLLOWS_EVERY_KIND)])),
    ]
}

fn s02() -> Vec<Case> {
    let mut cases = Vec::new();
    let works = || all([Expect::Works, Expect::Law(FOLLOWS)]);
    for each in [512, 2048] {
        let setup = soliciting().service(|s| s.burst = each);
        cases.push(Case::new(format!("R2Ts for {each} bytes"), setup).expect(works()));
    }
    for back in [1, 100] {
        cases.push(
            Case::new(format!("R2T, {back} back"), soliciting().service(|s| s.burst = 2048))
                .rule(When::sends_each(Opcode::R2t), Do::Add(Field::STAT_SN, -back))
                .expect(works()),
        );
    }
    let setup = || Setup::normal().jobs((0..4).flat_map(|n| [Job::read(n, 1), Job::Settle]));
    for (name, tag) in [("an update", 0xffff_ffff), ("a ping", 7)] {
        let nop = Extra::new(Opcode::NopIn).set(Field::TARGET_TRANSFER_TAG, tag);
        cases.push(
            Case::new(format!("NOP-In, {name}"), setup())
                .rule(When::LoggedIn, Do::Send(nop.clone()))
                .rule(When::sends_each(Opcode::DataIn), Do::Send(nop))
                .expect(works()),
        );
    }
    let several = setup().service(|s| {
        s.segment = 512;
        s.collapse = false;
    });
    for stat_sn in [0, 1, FIRST, FIRST + 1, FIRST + 1000, 0x8000_0000 + FIRST, 0xffff_ffff] {
        cases.push(
            Case::new(format!("Data-In without status, {stat_sn:#x}"), several.clone())
                .rule(When::sends_each(Opcode::DataIn), Do::Set(Field::STAT_SN, stat_sn))
                .expect(works()),
        );
    }
    cases
}

/// A run in which the first status of this kind has another number than the next.
fn renumbered(kind: Opcode, add: i64) -> Case {
    let case = Case::new(format!("{kind:?}, {add:+#x}"), setup_for(kind));
    match harmless(kind) {
        None => case.rules([Rule::new(When::sends(kind), Do::Add(Field::STAT_SN, add)).on(0)]),
        Some(extra) => {
            let number = (FIRST as u32).wrapping_add(add as u32);
            let extra = extra.set(Field::STAT_SN, number.into());
            case.rule(When::receives(Opcode::ScsiCommand), Do::Send(extra))
        }
    }
}

fn s03() -> Vec<Case> {
    let mut cases = Vec::new();
    for kind in STATUSES {
        cases.push(renumbered(kind, 1).expect(all([breaks!(StatSn { .. }), at_once()])));
    }
    // A response is lost as a whole, and the next one shows it.
    let setup = || Setup::normal().jobs([Job::read(0, 8), Job::read(8, 8), Job::Settle]);
    let lost = pattern!(Told::Lost { .. });
    let drops = || [Rule::new(When::sends(Opcode::DataIn), Do::Drop).on(0)];
    cases.push(Case::new("a lost response", setup()).rules(drops()).expect(all([
        breaks!(StatSn { .. }),
        at_once(),
        Expect::Task(0, lost),
    ])));
    // With a policy that allows it, the session comes back.
    let jobs = [Job::read(0, 8), Job::read(8, 8), Job::Settle, Job::sleep(10)];
    let recovering = setup().jobs(jobs).config(|c| {
        c.recovery(Recovery { verify: false, ..Recovery::lasting(Duration::from_secs(60)) })
    });
    let told = pattern!(Told::ConnectionLost(LostReason::Protocol(
        iscsi_core::ProtocolError::StatSn { .. }
    )));
    cases.push(Case::new("a lost response, with recovery", recovering).rules(drops()).expect(all(
        [Expect::GoesOn, Expect::Told(told), Expect::Task(0, lost), Expect::Connections(2..=2)],
    )));
    cases
}

/// With ErrorRecoveryLevel 1 on both sides.
fn level_1(setup: Setup) -> Setup {
    setup.config(|c| c.error_recovery_level(1)).target(|limits| limits.error_recovery_level = 1)
}

/// A SNACK for these statuses.
fn status_snack(first: u64, count: u64) -> Expect {
    let snacks = || Pdus::sent(Opcode::SnackRequest);
    all([
        Expect::Count(snacks(), 1..=1),
        Expect::Field(snacks(), Field::SNACK_TYPE, Is::Value(1)),
        Expect::Field(snacks(), Field::INITIATOR_TASK_TAG, Is::Value(0xffff_ffff)),
        Expect::Field(snacks(), Field::TARGET_TRANSFER_TAG, Is::Value(0xffff_ffff)),
        Expect::Field(snacks(), Field::LUN, Is::Value(0)),
        Expect::Field(snacks(), Field::BEG_RUN, Is::Value(first)),
        Expect::Field(snacks(), Field::RUN_LENGTH, Is::Value(count)),
        // What is missing is not acknowledged.
        Expect::Field(snacks(), Field::EXP_STAT_SN, Is::Value(first)),
    ])
}

/// The last PDU of the run acknowledges everything before it.
fn all_acknowledged() -> Expect {
    let last = Pdus::sent(Opcode::ScsiCommand).last();
    let known = Law {
        name: "the final READ acknowledges everything",
        check: |seen| {
            let command = Pdus::sent(Opcode::ScsiCommand).last().find(seen);
            let command = *command.first().ok_or("no command")?;
            let before = seen.pdus.iter().take_while(|entry| *entry != command);
            let received = before.filter(|entry| entry.direction == Direction::Received);
            let last = received.filter_map(status_of).fold(None, |last: Option<StatSn>, n| {
                Some(last.filter(|last| n.lt(*last)).unwrap_or(n))
            });
            let wanted = last.ok_or("no status")?.next();
            let sent = StatSn(Field::EXP_STAT_SN.get(&command.bhs) as u32);
            if sent == wanted { Ok(()) } else { Err(format!("{sent} instead of {wanted}")) }
        },
    };
    all([Expect::Count(last, 1..=1), Expect::Law(known)])
}

/// Before the missing status comes after half a second, nothing acknowledges it.
const NOT_ACKNOWLEDGED: Law = Law {
    name: "the missing status is not acknowledged before it comes",
    check: |seen| {
        let comes = Instant::ZERO + Duration::from_millis(500);
        let hole = Pdus::received(Opcode::ScsiResponse).first().find(seen);
        let hole = hole.first().and_then(|entry| status_of(entry)).ok_or("no response")?;
        let (mut before, mut after) = (0, 0);
        for entry in seen.pdus.iter().filter(|entry| entry.direction == Direction::Sent) {
            let sent = StatSn(Field::EXP_STAT_SN.get(&entry.bhs) as u32);
            if entry.at >= comes {
                after += usize::from(hole.lt(sent));
            } else if hole.lt(sent) {
                return Err(format!("{sent} at {:?}", entry.at));
            } else {
                before += 1;
            }
        }
        if before > 6 && after > 0 {
            Ok(())
        } else {
            Err(format!("{before} before, {after} after"))
        }
    },
};

fn s04() -> Vec<Case> {
    let snack = || When::receives(Opcode::SnackRequest);
    let mut cases = Vec::new();
    let reads = |count: u32| {
        let setup = Setup::normal().service(|s| s.collapse = false);
        level_1(setup.jobs((0..count).map(|n| Job::read(n, 1)).chain([Job::Settle])))
    };
    for missing in 1..=3 {
        let rules = (0..missing)
            .map(|n| Rule::new(When::sends_nth(Opcode::ScsiResponse, n), Do::hold(snack())));
        cases.push(
            Case::new(format!("{missing} responses"), reads(missing + 1)).rules(rules).expect(all(
                [Expect::Works, status_snack(FIRST, missing.into()), all_acknowledged()],
            )),
        );
    }
    // One that is in the middle.
    cases.push(
        Case::new("the second response", reads(4))
            .rule(When::sends_nth(Opcode::ScsiResponse, 1), Do::hold(snack()))
            .expect(all([Expect::Works, status_snack(FIRST + 1, 1), all_acknowledged()])),
    );
    // Other kinds; a read behind them shows the gap.
    let reset = Job::Manage(TaskManagement::LogicalUnitReset(Lun::ZERO));
    for (kind, job) in [(Opcode::NopIn, Job::Ping), (Opcode::TaskManagementResponse, reset)] {
        let jobs = [job, Job::Sleep(Duration::from_millis(1)), Job::read(0, 1), Job::Settle];
        cases.push(
            Case::new(format!("{kind:?}"), level_1(Setup::normal().jobs(jobs)))
                .rule(When::sends(kind), Do::hold(snack()))
                .expect(all([Expect::Works, status_snack(FIRST, 1), all_acknowledged()])),
        );
    }
    // What was asked for takes its time, and the session goes on.
    let millis = |n| Job::Sleep(Duration::from_millis(n));
    let jobs = [
        Job::read(0, 1),
        Job::read(1, 1),
        millis(100),
        Job::read(2, 1),
        Job::Ping,
        millis(100),
        Job::write(32, 1),
        Job::Settle,
    ];
    let setup = Setup::normal().service(|s| s.collapse = false).jobs(jobs);
    cases.push(
        Case::new("late", level_1(setup))
            .rule(When::sends(Opcode::ScsiResponse), Do::hold(When::At(Duration::from_millis(500))))
            .rule(When::receives_each(Opcode::SnackRequest), Do::Ignore)
            .expect(all([
                Expect::Works,
                status_snack(FIRST, 1),
                Expect::Law(NOT_ACKNOWLEDGED),
                all_acknowledged(),
            ])),
    );
    // It never comes.
    let gone = pattern!(
        LostReason::Protocol(iscsi_core::ProtocolError::StatSn { .. })
            | LostReason::TimedOut(iscsi_core::Timer::Snack)
    );
    cases.push(
        Case::new("never", reads(2))
            .rule(When::sends(Opcode::ScsiResponse), Do::Drop)
            .rule(When::receives_each(Opcode::SnackRequest), Do::Ignore)
            .expect(all([Expect::Fails(gone), status_snack_first()])),
    );
    cases
}

/// It is asked for at least once.
fn status_snack_first() -> Expect {
    let snack = || Pdus::sent(Opcode::SnackRequest);
    all([
        Expect::Field(snack(), Field::SNACK_TYPE, Is::Value(1)),
        Expect::Field(snack(), Field::BEG_RUN, Is::Value(FIRST)),
        Expect::Field(snack(), Field::RUN_LENGTH, Is::Value(1)),
        Expect::Count(Pdus::all_sent().with(Field::EXP_STAT_SN, FIRST + 2), 0..=0),
    ])
}

fn s05() -> Vec<Case> {
    let mut cases = Vec::new();
    for kind in STATUSES {
        for add in [1 << 31, (1 << 31) - 1, 0x1000_0000] {
            let fails = || all([breaks!(StatSn { .. }), at_once()]);
            cases.push(renumbered(kind, add).expect(fails()));
            let mut case = renumbered(kind, add);
            // A session for discovery has no levels.
            if kind != Opcode::TextResponse {
                case.name += ", level 1";
                case.setup = level_1(case.setup);
                cases.push(case.expect(fails()));
            }
        }
    }
    cases
}

/// Asynchronous messages are told once.
const ONE_NOTICE: Law = Law {
    name: "one asynchronous message is told",
    check: |seen| match seen.notices.as_slice() {
        [notice] if notice.missed == 0 => Ok(()),
        other => Err(format!("{other:?}")),
    },
};

fn s06() -> Vec<Case> {
    let mut cases = Vec::new();
    for level in 0..=1 {
        let at_level = |setup: Setup| if level == 1 { level_1(setup) } else { setup };
        for kind in STATUSES.into_iter().filter(|kind| harmless(*kind).is_none()) {
            if level == 1 && kind == Opcode::TextResponse {
                continue;
            }
            for copies in [2, 5] {
                cases.push(
                    Case::new(
                        format!("{kind:?}, {copies} times, level {level}"),
                        at_level(setup_for(kind)),
                    )
                    .rule(When::sends(kind), Do::Repeat(copies))
                    .expect(all([Expect::Works, no_snack()])),
                );
            }
        }
        for kind in [Opcode::AsyncMessage, Opcode::Reject] {
            let extra = harmless(kind).expect("a PDU that is sent at any time");
            let again = extra.clone().set(Field::STAT_SN, FIRST);
            let again = Extra { numbered: false, ..again };
            let expect = match kind {
                Opcode::AsyncMessage => Expect::Law(ONE_NOTICE),
                _ => no_snack(),
            };
            cases.push(
                Case::new(format!("{kind:?}, level {level}"), at_level(Setup::reading()))
                    .rule(When::receives(Opcode::ScsiCommand), Do::Send(extra))
                    .rule(When::receives(Opcode::ScsiCommand), Do::Send(again.clone()))
                    .rule(When::receives_nth(Opcode::ScsiCommand, 1), Do::Send(again))
                    .expect(all([Expect::Works, expect])),
            );
        }
        // An old status with the tag of a task that runs: it is not the task's.
        let setup = Setup::normal().jobs([
            Job::read(0, 8),
            Job::Settle,
            Job::read(8, 8),
            Job::write(32, 8),
            Job::Settle,
        ]);
        for kind in [Opcode::ScsiResponse, Opcode::DataIn] {
            let old = Extra::new(kind).of_task().set(Field::STAT_SN, FIRST);
            let old = match kind {
                Opcode::DataIn => old.set(Field::HAS_STATUS, 1),
                _ => old,
            };
            cases.push(
                Case::new(format!("an old {kind:?}, level {level}"), at_level(setup.clone()))
                    .rule(When::receives_nth(Opcode::ScsiCommand, 1), Do::Send(old.clone()))
                    .rule(When::receives_nth(Opcode::ScsiCommand, 2), Do::Send(old))
                    .expect(all([Expect::Works, no_snack()])),
            );
        }
    }
    cases
}

fn no_snack() -> Expect {
    Expect::Count(Pdus::sent(Opcode::SnackRequest), 0..=0)
}

fn s07() -> Vec<Case> {
    let mut cases = Vec::new();
    for before in 0..10_u32 {
        let stat_sn = 0_u32.wrapping_sub(before);
        let jobs = (0..6).flat_map(|n| match n % 3 {
            0 => [Job::read(n, 1), Job::Settle],
            1 => [Job::write(32, 2), Job::Settle],
            _ => [Job::Ping, Job::Settle],
        });
        let setup = Setup::normal().with(|s| s.stat_sn = stat_sn).jobs(jobs);
        cases.push(
            Case::new(format!("{stat_sn:#x}"), setup.clone())
                .expect(all([Expect::Works, Expect::Law(FOLLOWS)])),
        );
        // A gap at any place around the wrap.
        let setup = setup.jobs((0..8).map(|n| Job::read(n, 1)).chain([Job::Settle]));
        let hold = Do::hold(When::receives(Opcode::SnackRequest));
        let snack = || Pdus::sent(Opcode::SnackRequest);
        let missing = || Pdus::received(Opcode::ScsiResponse).nth(2);
        cases.push(
            Case::new(
                format!("{stat_sn:#x}, a gap"),
                level_1(setup.service(|s| s.collapse = false)),
            )
            .rule(When::sends_nth(Opcode::ScsiResponse, 2), hold)
            .expect(all([
                Expect::Works,
                Expect::Count(snack(), 1..=1),
                Expect::Field(snack(), Field::BEG_RUN, Is::Same(missing(), Field::STAT_SN, 0)),
                all_acknowledged(),
            ])),
        );
    }
    cases
}

fn s08() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, tag) in [("an update", 0xffff_ffff), ("a ping", 7)] {
        let nop = Extra::new(Opcode::NopIn).set(Field::TARGET_TRANSFER_TAG, tag);
        for ahead in [1, 2, 1000, 0x7fff_ffff - FIRST] {
            let nop = nop.clone().set(Field::STAT_SN, FIRST + ahead);
            cases.push(
                Case::new(format!("{name}, {ahead} ahead"), Setup::reading())
                    .rule(When::LoggedIn, Do::Send(nop))
                    .expect(all([breaks!(StatSn { .. }), at_once()])),
            );
        }
        // The response is lost, and the NOP-In behind it tells.
        let setup = Setup::reading().service(|s| s.collapse = false);
        let sends = || When::sends(Opcode::ScsiResponse);
        cases.push(
            Case::new(format!("{name} behind a lost response"), setup.clone())
                .rule(sends(), Do::Drop)
                .rule(sends(), Do::Send(nop.clone()))
                .expect(all([
                    breaks!(StatSn { .. }),
                    at_once(),
                    Expect::Task(0, pattern!(Told::Lost { .. })),
                ])),
        );
        cases.push(
            Case::new(format!("{name} behind a lost response, level 1"), level_1(setup))
                .rule(sends(), Do::hold(When::receives(Opcode::SnackRequest)))
                .rule(sends(), Do::Send(nop))
                .expect(all([Expect::Works, status_snack(FIRST, 1), all_acknowledged()])),
        );
    }
    cases
}

/// The response to the first command is acknowledged within this many seconds.
fn acknowledged_within(seen: &Observation, seconds: u64) -> Result<(), String> {
    let status = seen.pdus.iter().find(|e| Opcode::of(&e.bhs) == Some(Opcode::DataIn));
    let status = status.ok_or("no response")?;
    let number = status_of(status).ok_or("no status")?;
    let acknowledges = |entry: &&Entry| {
        let sent = StatSn(Field::EXP_STAT_SN.get(&entry.bhs) as u32);
        entry.direction == Direction::Sent && number.lt(sent)
    };
    let first = seen.pdus.iter().find(acknowledges).ok_or("it was never acknowledged")?;
    let took = first.at.saturating_since(status.at);
    if took <= Duration::from_secs(seconds) { Ok(()) } else { Err(format!("after {took:?}")) }
}

fn s09() -> Vec<Case> {
    let jobs = [Job::read(0, 8), Job::Settle, Job::sleep(60)];
    let setup = Setup::normal().jobs(jobs);
    let quiet = Timeouts { nop_interval: None, ..Timeouts::DEFAULT };
    let by_ping = Law {
        name: "acknowledged by the ping of an idle connection",
        check: |seen| acknowledged_within(seen, 5),
    };
    let by_request = Law {
        name: "acknowledged by the next request",
        check: |seen| acknowledged_within(seen, 60),
    };
    vec![
        Case::new("by a ping", setup.clone()).expect(all([Expect::Works, Expect::Law(by_ping)])),
        Case::new("by the next request", setup.config(|c| c.timeouts(quiet))).expect(all([
            Expect::Works,
            Expect::Law(by_request),
            Expect::Count(Pdus::sent(Opcode::NopOut), 0..=0),
        ])),
    ]
}
