//! Z-01 to Z-06: the connection is lost, and the session comes back.

use core::ops::RangeInclusive;
use core::time::Duration;

use iscsi_core::config::{Recovery, Retry};
use iscsi_core::digest::DigestKind;
use iscsi_core::testing::{Disk, Do, End, Entry, Extra, Field, Rule, Told, When};
use iscsi_core::text::{Digests, Limits, Negotiated};
use iscsi_core::wire::Opcode;
use iscsi_core::{Action, LostReason, SessionState, Timer};

use super::common::all;
use crate::case::{Case, Job, Request, Row, Setup};
use crate::expect::{Expect, Is, Law, Pdus};
use crate::{fails, pattern};

pub(crate) fn rows() -> Vec<Row> {
    vec![
        Row::pass("Z-01", z01()),
        Row::pass("Z-02", z02()),
        Row::pass("Z-03", z03()),
        Row::pass("Z-04", z04()),
        Row::pass("Z-05", z05()).note("delivered with its sense data; iscsi-disk retries by rule"),
        Row::pass("Z-06", z06()),
    ]
}

pub(super) fn commands() -> Pdus {
    Pdus::sent(Opcode::ScsiCommand)
}

pub(super) const fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

pub(super) fn exactly(n: u64) -> RangeInclusive<Duration> {
    seconds(n)..=seconds(n)
}

pub(super) fn for_ever(setup: Setup) -> Setup {
    setup.config(|c| c.recovery(Recovery::FOREVER))
}

/// A read that may be issued again, and a session that comes back.
pub(super) fn coming_back() -> Setup {
    for_ever(Setup::normal()).jobs([Request::reissued_read(0, 8).job(), Job::Settle])
}

/// The first connection is lost when the command with this number has come; none is answered.
pub(super) fn lost_at(n: u32, end: End) -> [Rule; 2] {
    let ignore = Rule::new(When::receives_each(Opcode::ScsiCommand), Do::Ignore);
    let end = Rule::new(When::receives_nth(Opcode::ScsiCommand, n), Do::End(end));
    [ignore.on(0), end.on(0)]
}

/// These attempts to connect are refused.
fn refused(attempts: RangeInclusive<u32>) -> Vec<Rule> {
    attempts.map(|n| Rule::new(When::Connects, Do::Refuse).on(n)).collect()
}

pub(super) fn reinstated() -> Expect {
    let logins = || Pdus::sent(Opcode::LoginRequest);
    all([
        Expect::Connections(2..=2),
        Expect::Field(logins().on(1), Field::TSIH, Is::Value(0)),
        Expect::Field(logins().on(1), Field::ISID, Is::Same(logins().first(), Field::ISID, 0)),
        Expect::Field(logins().on(1), Field::CID, Is::Same(logins().first(), Field::CID, 0)),
    ])
}

fn z01() -> Vec<Case> {
    let reads = || (0..10).map(|n| Job::read(n, 1)).chain([Job::Settle]);
    let deep = |setup: Setup| setup.with(|s| s.depth = 32);
    let all_lost: fn(End) -> Expect = |end| {
        let task = |n| match end {
            End::Reset => {
                Expect::Task(n, pattern!(Told::Lost { reason: LostReason::Transport, .. }))
            }
            _ => Expect::Task(n, pattern!(Told::Lost { reason: LostReason::Eof, .. })),
        };
        Expect::All((0..10).map(task).collect())
    };
    let mut cases = Vec::new();
    for end in [End::Reset, End::Close] {
        let again = deep(Setup::normal()).jobs(reads().chain([Job::Open]));
        cases.push(
            Case::new(format!("{end:?}, opened again"), again).rules(lost_at(9, end)).expect(all(
                [
                    Expect::GoesOn,
                    all_lost(end),
                    reinstated(),
                    Expect::Told(pattern!(Told::State(SessionState::Failed(_)))),
                    Expect::Count(commands().on(1), 1..=1),
                ],
            )),
        );
        let back = deep(for_ever(Setup::normal())).jobs(reads());
        cases.push(Case::new(format!("{end:?}, reported"), back).rules(lost_at(9, end)).expect(
            all([
                Expect::GoesOn,
                all_lost(end),
                reinstated(),
                Expect::Count(commands().on(1), 1..=1),
            ]),
        ));
        let mixed = (0..10).map(|n| match n % 2 {
            0 => Request::reissued_read(n, 1).job(),
            _ => Job::read(n, 1),
        });
        let mixed = deep(for_ever(Setup::normal())).jobs(mixed.chain([Job::Settle]));
        let task = |n: usize| match n % 2 {
            0 => Expect::TaskGood(n),
            _ => Expect::Task(n, pattern!(Told::Lost { .. })),
        };
        cases.push(
            Case::new(format!("{end:?}, every second one again"), mixed)
                .rules(lost_at(9, end))
                .expect(all([
                    Expect::GoesOn,
                    Expect::All((0..10).map(task).collect()),
                    Expect::Law(DATA_OF_THE_DISK),
                    reinstated(),
                    Expect::Count(commands().on(1), 6..=6),
                ])),
        );
    }
    cases
}

/// What good reads of single blocks by command have placed is what the disk holds at the block with the number of the task.
const DATA_OF_THE_DISK: Law = Law {
    name: "what was issued again has its data",
    check: |seen| {
        let disk = Disk::new(64);
        for (n, task) in seen.tasks.iter().take(10).enumerate() {
            if task.good && task.placed != disk.bytes[n * 512..(n + 1) * 512] {
                return Err(format!("task {n} has other data"));
            }
        }
        Ok(())
    },
};

fn z02() -> Vec<Case> {
    let mut cases = Vec::new();
    let back =
        |wait| all([Expect::Works, Expect::Connections(2..=2), Expect::Waits(1, exactly(wait))]);
    // The larger of both sides' values is agreed upon.
    for (ours, theirs) in [(0, 0), (2, 2), (0, 5), (7, 1)] {
        let setup = coming_back()
            .config(|c| c.default_time2wait(ours))
            .target(|l| l.default_time2wait = theirs);
        cases.push(
            Case::new(format!("DefaultTime2Wait {ours} and {theirs}"), setup)
                .rules(lost_at(0, End::Close))
                .expect(back(ours.max(theirs).into())),
        );
    }
    for (event, wait) in [(2, 4), (3, 4), (3, 0), (2, 60)] {
        let message = Extra::new(Opcode::AsyncMessage)
            .numbered()
            .set(Field::ASYNC_EVENT, event)
            .set(Field::PARAMETER2, wait)
            .set(Field::PARAMETER3, 20);
        cases.push(
            Case::new(format!("event {event}, {wait} seconds"), coming_back())
                .rules([
                    Rule::new(When::receives(Opcode::ScsiCommand), Do::Ignore).on(0),
                    Rule::new(When::receives(Opcode::ScsiCommand), Do::Send(message)).on(0),
                ])
                .expect(back(wait)),
        );
    }
    // Who does not want to wait waits for the target's time all the same.
    for job in [Job::RetryNow, Job::ForceReconnect] {
        let name = format!("{job:?} after a second");
        let read = Request::reissued_read(0, 8).job();
        let setup = for_ever(Setup::normal()).jobs([read, Job::sleep(1), job, Job::Settle]);
        cases.push(Case::new(name, setup).rules(lost_at(0, End::Close)).expect(back(2)));
    }
    cases
}

fn z03() -> Vec<Case> {
    let between = |n, from: u64, to: u64| {
        Expect::Waits(n, Duration::from_millis(from)..=Duration::from_millis(to))
    };
    // Time2Wait, then twice as long each time with up to one half taken off, up to 30 seconds.
    let waits = all([
        between(1, 2000, 2000),
        between(2, 500, 1000),
        between(3, 1000, 2000),
        between(4, 2000, 4000),
        between(5, 4000, 8000),
        between(6, 8000, 16_000),
        between(7, 15_000, 30_000),
        between(8, 15_000, 30_000),
        between(9, 15_000, 30_000),
        between(10, 15_000, 30_000),
        between(11, 15_000, 30_000),
    ]);
    let read = || Request::reissued_read(0, 8).job();
    let leaving = for_ever(Setup::normal()).jobs([
        read(),
        Job::sleep(10),
        Job::Logout,
        Job::Settle,
        Job::sleep(60),
    ]);
    let hurried =
        for_ever(Setup::normal()).jobs([read(), Job::sleep(30), Job::RetryNow, Job::Settle]);
    let minute = Recovery { retry: Retry::For(seconds(60)), ..Recovery::FOREVER };
    let limited = coming_back().config(|c| c.recovery(minute));
    let own = Recovery {
        first_delay: Duration::from_millis(100),
        longest_delay: Duration::from_millis(400),
        ..Recovery::FOREVER
    };
    vec![
        Case::new("ten refusals", coming_back())
            .rules(lost_at(0, End::Reset))
            .rules(refused(1..=10))
            .expect(all([Expect::Works, Expect::Connections(12..=12), waits])),
        Case::new("nobody answers", coming_back())
            .rules(lost_at(0, End::Reset))
            .rules((1..=3).map(|n| Rule::new(When::Connects, Do::Ignore).on(n)))
            .expect(all([Expect::Works, Expect::Connections(5..=5), between(4, 2000, 4000)])),
        Case::new("the login is refused for a while", coming_back())
            .rules(lost_at(0, End::Reset))
            .rules((1..=3).flat_map(|n| {
                let set = |field, value| Do::Set(field, value);
                let acts = [
                    set(Field::STATUS_CLASS, 3),
                    set(Field::STATUS_DETAIL, 1),
                    Do::Data(Vec::new()),
                ];
                acts.map(|act| Rule::new(When::sends(Opcode::LoginResponse), act).on(n))
            }))
            .expect(all([Expect::Works, Expect::Connections(5..=5), between(4, 2000, 4000)])),
        Case::new("given up by the application", leaving)
            .rules(lost_at(0, End::Reset))
            .rules(refused(1..=6))
            .optional()
            .expect(all([
                Expect::Ends(pattern!(SessionState::Closed)),
                Expect::OverAt(exactly(10)),
                Expect::Task(0, pattern!(Told::Lost { reason: LostReason::LoggedOut, .. })),
                Expect::Connections(4..=6),
            ])),
        Case::new("hurried by the application", hurried)
            .rules(lost_at(0, End::Reset))
            .rules(refused(1..=5))
            .optional()
            .expect(all([Expect::Works, Expect::TakesAtMost(seconds(31))])),
        Case::new("given up after a minute", limited)
            .rules(lost_at(0, End::Reset))
            .rules(refused(1..=20))
            .optional()
            .expect(all([
                fails!(LostReason::TimedOut(Timer::Recovery)),
                Expect::OverAt(exactly(60)),
                Expect::Task(
                    0,
                    pattern!(Told::Lost { reason: LostReason::TimedOut(Timer::Recovery), .. }),
                ),
            ])),
        Case::new("delays of its own", coming_back().config(|c| c.recovery(own)))
            .rules(lost_at(0, End::Reset))
            .rules(refused(1..=5))
            .expect(all([
                Expect::Works,
                between(2, 50, 100),
                between(3, 100, 200),
                between(4, 200, 400),
                between(5, 200, 400),
                between(6, 200, 400),
            ])),
    ]
}

fn z04() -> Vec<Case> {
    let setup = Setup::normal()
        .config(|c| {
            c.header_digest(Digests::CRC32C_NONE)
                .data_digest(Digests::CRC32C_NONE)
                .recovery(Recovery { verify: false, ..Recovery::NEVER })
        })
        .target(|l| {
            l.header_digest = Digests::NONE;
            l.data_digest = Digests::NONE;
        })
        .jobs([
            Job::write(4, 16),
            Job::read(0, 8),
            Job::Settle,
            Job::ForceReconnect,
            Job::Settle,
            Job::write(24, 16),
            Job::read(40, 8),
            Job::Settle,
        ]);
    let case = |name: &str, change: fn(&mut Limits), expect: Expect| {
        let mut limits = setup.limits;
        change(&mut limits);
        let offer = Rule::new(When::Connects, Do::Offer(Box::new(limits))).on(1);
        Case::new(name, setup.clone()).rules([offer]).expect(all([
            Expect::Works,
            Expect::Connections(2..=2),
            Expect::Waits(1, exactly(2)),
            // All in one PDU on the first connection.
            Expect::Count(Pdus::sent(Opcode::DataOut).on(0), 0..=0),
            expect,
        ]))
    };
    let data_out = || Pdus::sent(Opcode::DataOut).on(1);
    vec![
        case(
            "digests",
            |l| {
                l.header_digest = Digests::CRC32C;
                l.data_digest = Digests::CRC32C;
            },
            Expect::Negotiated(pattern!(Negotiated {
                header_digest: DigestKind::Crc32c,
                data_digest: DigestKind::Crc32c,
                ..
            })),
        ),
        case(
            "the header digest alone",
            |l| l.header_digest = Digests::CRC32C,
            Expect::Negotiated(pattern!(Negotiated {
                header_digest: DigestKind::Crc32c,
                data_digest: DigestKind::None,
                ..
            })),
        ),
        case(
            "MaxRecvDataSegmentLength",
            |l| l.max_recv_data_segment_length = 512,
            all([
                Expect::Length(Pdus::sent(Opcode::ScsiCommand).on(1), Is::AtMost(512)),
                Expect::Length(data_out(), Is::AtMost(512)),
                Expect::Count(data_out(), 15..=15),
            ]),
        ),
        case(
            "FirstBurstLength and MaxBurstLength",
            |l| {
                l.first_burst_length = 1024;
                l.max_burst_length = 2048;
            },
            all([
                Expect::Length(Pdus::sent(Opcode::ScsiCommand).on(1), Is::AtMost(1024)),
                Expect::Count(Pdus::received(Opcode::R2t).on(1), 4..=4),
            ]),
        ),
        case(
            "InitialR2T and ImmediateData",
            |l| {
                l.initial_r2t = true;
                l.immediate_data = false;
            },
            all([
                Expect::Length(Pdus::sent(Opcode::ScsiCommand).on(1), Is::Value(0)),
                Expect::Count(Pdus::received(Opcode::R2t).on(1), 1..=1),
                Expect::Length(data_out(), Is::Value(8192)),
            ]),
        ),
    ]
}

fn z05() -> Vec<Case> {
    let mut cases = Vec::new();
    for (asc, ascq) in [(0x29, 0x07), (0x47, 0x7f)] {
        let mut sense = vec![0, 18, 0x70, 0, 0x06, 0, 0, 0, 0, 10];
        sense.resize(20, 0);
        (sense[14], sense[15]) = (asc, ascq);
        let attention = Extra::new(Opcode::ScsiResponse)
            .of_task()
            .numbered()
            .set(Field::LUN, 0)
            .set(Field::TARGET_TRANSFER_TAG, 0)
            .set(Field::STATUS, 2)
            .data(&sense);
        let when = || When::receives(Opcode::ScsiCommand);
        cases.push(
            Case::new(format!("{asc:02x}/{ascq:02x}"), coming_back())
                .rules(lost_at(0, End::Reset))
                .rules([
                    Rule::new(when(), Do::Ignore).on(1),
                    Rule::new(when(), Do::Send(attention)).on(1),
                ])
                .expect(all([
                    Expect::GoesOn,
                    reinstated(),
                    Expect::Task(
                        0,
                        match asc {
                            0x29 => pattern!(
                                Told::Done { sense, .. }
                                    if sense.get(12..14) == Some(&[0x29, 0x07])
                            ),
                            _ => pattern!(
                                Told::Done { sense, .. }
                                    if sense.get(12..14) == Some(&[0x47, 0x7f])
                            ),
                        },
                    ),
                ])),
        );
    }
    cases
}

/// The old connection is closed before the next one is asked for.
const CLOSED_FIRST: Law = Law {
    name: "one connection at a time",
    check: |seen| {
        let mut open = false;
        for (_, action) in &seen.actions {
            match (action, open) {
                (Action::Connect, false) => open = true,
                (Action::Disconnect, true) => open = false,
                (action, _) => return Err(format!("{action:?}, open: {open}")),
            }
        }
        if seen.connections.len() < 2 { Err("there was only one".into()) } else { Ok(()) }
    },
};

/// No tag of the old connection is used on the new one.
const NEW_TAGS: Law = Law {
    name: "tags are new",
    check: |seen| {
        let tags = |connection| -> Vec<u64> {
            let tag = |entry: &&Entry| Field::INITIATOR_TASK_TAG.get(&entry.bhs);
            commands().on(connection).find(seen).iter().map(tag).collect()
        };
        let (old, new) = (tags(0), tags(1));
        match new.iter().find(|tag| old.contains(tag)) {
            None if !old.is_empty() && !new.is_empty() => Ok(()),
            tag => Err(format!("{tag:?} of {old:?} and {new:?}")),
        }
    },
};

fn z06() -> Vec<Case> {
    let fresh = || {
        all([
            Expect::Works,
            Expect::TaskGood(0),
            reinstated(),
            Expect::Law(CLOSED_FIRST),
            Expect::Law(NEW_TAGS),
        ])
    };
    let mut cases = Vec::new();
    // In the middle of a header, of data, behind a part of the data.
    for at in [1, 47, 48, 100, 4000] {
        for end in [End::Close, End::Reset] {
            cases.push(
                Case::new(format!("{end:?} at byte {at} of a Data-In"), coming_back())
                    .rules([Rule::new(When::sends(Opcode::DataIn), Do::Cut { at, end }).on(0)])
                    .expect(fresh()),
            );
        }
    }
    let parts = || coming_back().service(|s| s.segment = 512);
    for n in [0, 3, 6] {
        let end = Rule::new(When::sends_nth(Opcode::DataIn, n), Do::RESET).on(0);
        cases.push(Case::new(format!("behind Data-In {n}"), parts()).rules([end]).expect(fresh()));
    }
    // With the first tag of all: what a stale PDU would look like.
    let old = 0x10;
    let stale = Extra::new(Opcode::DataIn)
        .set(Field::INITIATOR_TASK_TAG, old)
        .set(Field::BUFFER_OFFSET, 0)
        .data(&[0xee; 512]);
    cases.push(
        Case::new("data of the old task on the new connection", parts())
            .rules(lost_at(0, End::Reset))
            .rules([Rule::new(When::receives(Opcode::ScsiCommand), Do::Send(stale)).on(1)])
            .expect(all([
                Expect::Field(commands().on(0), Field::INITIATOR_TASK_TAG, Is::Value(old)),
                Expect::Told(pattern!(Told::ConnectionLost(LostReason::Protocol(_)))),
            ])),
    );
    cases
}
