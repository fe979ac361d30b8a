//! D-01 to D-12 and D-22 to D-26: SCSI commands and Data-In.

use core::time::Duration;

use iscsi_core::config::Recovery;
use iscsi_core::testing::{Disk, Do, Extra, Field, Rule, Told, When};
use iscsi_core::wire::{Completion, Opcode, Residual, ScsiResponseCode, ScsiStatus};
use iscsi_core::{LostReason, ProtocolError, TaskOutcome, Timer, Transfer};

use super::common::{all, at_once, soliciting, with_digests};
use crate::case::{Case, Job, Request, Row, Setup};
use crate::expect::{Expect, Is, Law, Pdus};
use crate::{breaks, format_breaks, pattern};

pub(crate) fn rows() -> Vec<Row> {
    vec![
        Row::pass("D-01", d01()),
        Row::pass("D-02", d02()),
        Row::pass("D-03", d03()),
        Row::pass("D-04", d04()),
        Row::pass("D-05", d05()),
        Row::pass("D-06", d06()),
        Row::pass("D-07", d07()),
        Row::pass("D-08", d08()),
        Row::pass("D-09", d09()).note(
            "an empty Data-In for a command without data is accepted: there is nothing to write",
        ),
        Row::pass("D-10", d10()),
        Row::pass("D-11", d11()),
        Row::pass("D-12", d12()),
        Row::pass("D-22", d22()).note(
            "a session has one connection at a time; the other connection is the one before it",
        ),
        Row::pass("D-23", d23()),
        Row::pass("D-24", d24()),
        Row::pass("D-25", d25()),
        Row::pass("D-26", d26()),
    ]
}

/// What the disk holds at first.
fn disk() -> Vec<u8> {
    Disk::new(64).bytes
}

/// A read of 8 blocks in this many Data-In of 512 bytes, whose status comes in a response.
pub(super) fn in_parts() -> Setup {
    Setup::reading().service(|s| {
        s.segment = 512;
        s.collapse = false;
    })
}

/// The same, whose status comes in the last Data-In.
pub(super) fn collapsed() -> Setup {
    in_parts().service(|s| s.collapse = true)
}

/// A rule for the first connection.
pub(super) fn first(when: When, act: Do) -> Rule {
    Rule::new(when, act).on(0)
}

/// Rules for the Data-In with this number.
pub(super) fn on_data_in(number: u32, acts: impl IntoIterator<Item = Do>) -> Vec<Rule> {
    let when = || When::sends_nth(Opcode::DataIn, number);
    acts.into_iter().map(|act| first(when(), act)).collect()
}

/// The first task ends without an answer.
pub(super) fn lost() -> Expect {
    Expect::Task(0, pattern!(Told::Lost { .. }))
}

/// A read that is not compared with the disk: for targets that send something else.
fn read_any(bytes: u32) -> Job {
    Request::new(&Disk::read10(0, (bytes / 512) as u16), Transfer::In(bytes)).job()
}

fn inquiry(bytes: u8) -> Job {
    Request::new(&[0x12, 0, 0, 0, bytes, 0], Transfer::In(bytes.into())).job()
}

/// With ErrorRecoveryLevel 1 on both sides.
pub(super) fn level_1(setup: Setup) -> Setup {
    setup.config(|c| c.error_recovery_level(1)).target(|limits| limits.error_recovery_level = 1)
}

pub(super) fn snacks() -> Pdus {
    Pdus::sent(Opcode::SnackRequest)
}

pub(super) fn no_snack() -> Expect {
    Expect::Count(snacks(), 0..=0)
}

fn d01() -> Vec<Case> {
    let mut cases = Vec::new();
    for segment in [512, 1000, 1024, 4095, 4096] {
        for digests in [false, true] {
            let setup = in_parts().service(|s| s.segment = segment);
            let setup = if digests { with_digests(setup) } else { setup };
            cases.push(Case::new(format!("{segment} bytes, digests {digests}"), setup).expect(
                all([
                    Expect::Works,
                    Expect::TaskGood(0),
                    Expect::Count(Pdus::received(Opcode::ScsiResponse), 2..=2),
                ]),
            ));
        }
    }
    // Several sequences.
    let setup = in_parts().config(|c| c.max_burst_length(1024).first_burst_length(512));
    let ends = Pdus::received(Opcode::DataIn).with(Field::FINAL, 1);
    cases.push(
        Case::new("sequences of two", setup)
            .expect(all([Expect::Works, Expect::Count(ends, 12..=12)])),
    );
    // Data are placed by their offset: the second half comes first.
    let any_order = |setup: Setup| {
        setup.config(|c| c.data_pdu_in_order(false).data_sequence_in_order(false)).target(
            |limits| {
                limits.data_pdu_in_order = false;
                limits.data_sequence_in_order = false;
            },
        )
    };
    let setup = Setup::normal()
        .service(|s| {
            s.segment = 512;
            s.collapse = false;
        })
        .jobs([Job::read(0, 2), Job::Settle]);
    let disk = disk();
    let part = |number, at: usize| {
        let data = Do::Data(disk[at..at + 512].to_vec());
        on_data_in(number, [Do::Set(Field::BUFFER_OFFSET, at as u64), data])
    };
    cases.push(
        Case::new("the second half first", any_order(setup))
            .rules(part(0, 512))
            .rules(part(1, 0))
            .expect(all([Expect::Works, Expect::TaskGood(0)])),
    );
    cases
}

fn d02() -> Vec<Case> {
    let no_response = || Expect::Count(Pdus::received(Opcode::ScsiResponse), 0..=0);
    let mut cases: Vec<Case> = [512, 1000, 4096]
        .into_iter()
        .map(|segment| {
            Case::new(format!("{segment} bytes"), collapsed().service(|s| s.segment = segment))
                .expect(all([Expect::Works, Expect::TaskGood(0), no_response()]))
        })
        .collect();
    // INQUIRY data have 36 bytes: fewer than 64, more than 20.
    let underflow = pattern!(Told::Done {
        outcome: TaskOutcome {
            response: ScsiResponseCode::CompletedAtTarget(Completion {
                status: ScsiStatus::Good,
                residual: Residual::Underflow(28),
                ..
            }),
            data_in: 36,
            missing: 0,
            ..
        },
        ..
    });
    let setup = Setup::normal().jobs([inquiry(64), Job::Settle]);
    cases.push(Case::new("underflow", setup).expect(all([
        Expect::Works,
        Expect::Task(0, underflow),
        no_response(),
    ])));
    let overflow = pattern!(Told::Done {
        outcome: TaskOutcome {
            response: ScsiResponseCode::CompletedAtTarget(Completion {
                status: ScsiStatus::Good,
                residual: Residual::Overflow(16),
                ..
            }),
            data_in: 20,
            missing: 0,
            ..
        },
        ..
    });
    let request = Request::new(&[0x12, 0, 0, 0, 36, 0], Transfer::In(20));
    let setup = Setup::normal().jobs([request.job(), Job::Settle]);
    cases.push(Case::new("overflow", setup).honest(Setup::normal()).expect(all([
        Expect::GoesOn,
        Expect::Task(0, overflow),
        no_response(),
    ])));
    cases
}

fn d03() -> Vec<Case> {
    [("alone", Setup::reading(), 0), ("the last of eight", collapsed(), 7)]
        .into_iter()
        .map(|(name, setup, number)| {
            Case::new(name, setup)
                .rules(on_data_in(number, [Do::Set(Field::FINAL, 0)]))
                .expect(all([format_breaks!(StatusWithoutFinal), at_once(), lost()]))
        })
        .collect()
}

fn d04() -> Vec<Case> {
    [0x02, 0x08, 0x18, 0x22, 0x28, 0x30, 0x40, 0x01, 0xff]
        .into_iter()
        .flat_map(|status| {
            [("alone", Setup::reading(), 0), ("the last of eight", collapsed(), 7)].map(
                |(name, setup, number)| {
                    Case::new(format!("{status:#04x}, {name}"), setup)
                        .rules(on_data_in(number, [Do::Set(Field::STATUS, status)]))
                        .expect(all([format_breaks!(StatusNotForDataIn(_)), at_once(), lost()]))
                },
            )
        })
        .collect()
}

/// The first task is done with a status that fits the pattern, all its bytes being there.
macro_rules! done_with {
    ($status:pat) => {
        pattern!(Told::Done {
            outcome: TaskOutcome {
                response: ScsiResponseCode::CompletedAtTarget(Completion { status: $status, .. }),
                data_in: 4096,
                missing: 0,
                ..
            },
            ..
        })
    };
}

fn d05() -> Vec<Case> {
    let statuses = [
        (0x04, done_with!(ScsiStatus::ConditionMet)),
        (0x10, done_with!(ScsiStatus::Intermediate)),
        (0x14, done_with!(ScsiStatus::IntermediateConditionMet)),
    ];
    statuses
        .into_iter()
        .map(|(status, done)| {
            Case::new(format!("{status:#04x}"), collapsed())
                .rules(on_data_in(7, [Do::Set(Field::STATUS, status)]))
                .expect(all([Expect::GoesOn, Expect::Task(0, done)]))
        })
        .collect()
}

fn d06() -> Vec<Case> {
    let mut cases = Vec::new();
    for digests in [false, true] {
        let with = |setup: Setup| if digests { with_digests(setup) } else { setup };
        for offset in [1, 512, 4095, 4096, 8192, 0x7fff_ffff] {
            for collapse in [false, true] {
                let setup = with(Setup::reading().service(|s| s.collapse = collapse));
                let name = format!("at {offset}, status {collapse}, digests {digests}");
                cases.push(
                    Case::new(name, setup)
                        .rules(on_data_in(0, [Do::Set(Field::BUFFER_OFFSET, offset)]))
                        .expect(all([
                            breaks!(DataInOutOfRange { .. }),
                            at_once(),
                            lost(),
                            Expect::Untouched(0),
                        ])),
                );
            }
        }
        for length in [4097, 5000] {
            cases.push(
                Case::new(format!("{length} bytes, digests {digests}"), with(Setup::reading()))
                    .rules(on_data_in(0, [Do::Data(vec![0x11; length])]))
                    .expect(all([
                        breaks!(DataInOutOfRange { .. }),
                        at_once(),
                        lost(),
                        Expect::Untouched(0),
                    ])),
            );
        }
    }
    // The last of several reaches beyond.
    cases.push(
        Case::new("the last of eight", in_parts())
            .rules(on_data_in(7, [Do::Add(Field::BUFFER_OFFSET, 4)]))
            .expect(all([breaks!(DataInOutOfRange { .. }), at_once(), lost()])),
    );
    cases
}

fn d07() -> Vec<Case> {
    let wraps = || format_breaks!(RangeWraps { .. });
    let far = || breaks!(DataInOutOfRange { .. });
    [
        (0xffff_ffff, wraps()),
        (0xffff_f001, wraps()),
        (0xffff_f000, wraps()),
        (0xffff_efff, far()),
        (0xffff_0000, far()),
        (0x8000_0000, far()),
    ]
    .into_iter()
    .flat_map(|(offset, expect)| {
        [false, true].map(|collapse| {
            let setup = Setup::reading().service(|s| s.collapse = collapse);
            Case::new(format!("at {offset:#x}, status {collapse}"), setup)
                .rules(on_data_in(0, [Do::Set(Field::BUFFER_OFFSET, offset)]))
                .expect(all([expect.clone(), at_once(), lost(), Expect::Untouched(0)]))
        })
    })
    .collect()
}

/// Data-In for the command that was received last.
pub(super) fn stray() -> Extra {
    Extra::new(Opcode::DataIn)
        .of_task()
        .set(Field::DATA_SN, 0)
        .set(Field::BUFFER_OFFSET, 0)
        .data(&[0x77; 512])
}

/// The same with a status.
fn stray_status() -> Extra {
    stray().numbered().set(Field::HAS_STATUS, 1)
}

fn empty() -> Extra {
    Extra { data: Vec::new(), ..stray() }
}

fn d08() -> Vec<Case> {
    let mut cases = Vec::new();
    // Of an aborted task.
    let jobs = [
        Job::read(0, 8),
        Job::Sleep(Duration::from_millis(10)),
        Job::Abort(0),
        Job::Settle,
        Job::sleep(2),
    ];
    let setup = Setup::normal().jobs(jobs);
    for (name, extra) in [("data", stray()), ("a status", stray_status()), ("nothing", empty())] {
        let aborted = pattern!(Told::Lost { reason: LostReason::Aborted, .. });
        cases.push(
            Case::new(format!("{name} for an aborted task"), setup.clone())
                .rule(When::receives(Opcode::ScsiCommand), Do::Ignore)
                .rule(When::At(Duration::from_secs(1)), Do::Send(extra))
                .expect(all([
                    Expect::GoesOn,
                    Expect::Task(0, aborted),
                    Expect::Untouched(0),
                    Expect::Count(Pdus::sent(Opcode::TaskManagementRequest), 1..=1),
                    Expect::Connections(1..=1),
                ])),
        );
    }
    for tag in [0, 0x1234_5678, 0x7fff_fff0, 0xffff_fffe] {
        for (name, extra) in [("data", stray()), ("a status", stray_status()), ("nothing", empty())]
        {
            cases.push(
                Case::new(format!("{name} for tag {tag:#x}"), Setup::reading())
                    .rule(
                        When::receives(Opcode::ScsiCommand),
                        Do::Send(extra.set(Field::INITIATOR_TASK_TAG, tag)),
                    )
                    .expect(all([
                        breaks!(UnknownTask(_)),
                        at_once(),
                        lost(),
                        Expect::Untouched(0),
                    ])),
            );
        }
    }
    cases.push(
        Case::new("data for no tag", Setup::reading())
            .rule(
                When::receives(Opcode::ScsiCommand),
                Do::Send(stray().set(Field::INITIATOR_TASK_TAG, 0xffff_ffff)),
            )
            .expect(all([breaks!(Format(_)), at_once(), lost(), Expect::Untouched(0)])),
    );
    cases
}

fn d09() -> Vec<Case> {
    let mut cases = Vec::new();
    let ready = || Setup::normal().jobs([Job::test_unit_ready(), Job::Settle]);
    let received = || When::receives(Opcode::ScsiCommand);
    for (name, setup) in
        [("a write", Setup::writing()), ("a write with R2T", soliciting()), ("nothing", ready())]
    {
        for (what, extra) in [("data", stray()), ("a status", stray_status())] {
            cases.push(
                Case::new(format!("{what} for {name}"), setup.clone())
                    .rule(received(), Do::Send(extra))
                    .expect(all([breaks!(DataInNotExpected(_)), at_once(), lost()])),
            );
        }
    }
    for setup in [Setup::writing(), soliciting()] {
        cases.push(
            Case::new("nothing for a write", setup)
                .rule(received(), Do::Send(empty()))
                .expect(all([breaks!(DataInNotExpected(_)), at_once(), lost()])),
        );
    }
    cases
}

fn d10() -> Vec<Case> {
    let jobs = [Job::read(0, 8), Job::Settle, Job::sleep(2)];
    let mut cases = Vec::new();
    for collapse in [false, true] {
        for (name, extra) in [("data", stray()), ("a status", stray_status()), ("nothing", empty())]
        {
            let setup = Setup::normal().service(|s| s.collapse = collapse).jobs(jobs.clone());
            cases.push(
                Case::new(format!("{name}, status in Data-In {collapse}"), setup)
                    .rule(When::At(Duration::from_secs(1)), Do::Send(extra))
                    .expect(all([
                        breaks!(UnknownTask(_)),
                        Expect::OverAt(Duration::from_secs(1)..=Duration::from_secs(1)),
                        Expect::TaskGood(0),
                    ])),
            );
        }
    }
    cases
}

fn d11() -> Vec<Case> {
    let mut cases = Vec::new();
    for is_final in 0..=1 {
        // In front of the data.
        for collapse in [false, true] {
            let setup = Setup::reading().service(|s| s.collapse = collapse);
            let mut case = Case::new(format!("first, F {is_final}, status {collapse}"), setup)
                .rules(on_data_in(
                    0,
                    [
                        Do::SendBefore(empty().set(Field::FINAL, is_final)),
                        Do::Add(Field::DATA_SN, 1),
                    ],
                ));
            if !collapse {
                case = case.rules([first(
                    When::sends(Opcode::ScsiResponse),
                    Do::Add(Field::EXP_DATA_SN, 1),
                )]);
            }
            cases.push(case.expect(all([Expect::Works, Expect::TaskGood(0)])));
        }
        // Behind them.
        let last = empty()
            .set(Field::FINAL, is_final)
            .set(Field::DATA_SN, 1)
            .set(Field::BUFFER_OFFSET, 4096);
        cases.push(
            Case::new(
                format!("last, F {is_final}"),
                Setup::reading().service(|s| s.collapse = false),
            )
            .rules(on_data_in(0, [Do::Send(last)]))
            .rules([first(When::sends(Opcode::ScsiResponse), Do::Add(Field::EXP_DATA_SN, 1))])
            .expect(all([Expect::Works, Expect::TaskGood(0)])),
        );
    }
    let nothing = pattern!(Told::Done {
        outcome: TaskOutcome {
            response: ScsiResponseCode::CompletedAtTarget(Completion {
                status: ScsiStatus::Good,
                residual: Residual::Underflow(36),
                ..
            }),
            data_in: 0,
            missing: 0,
            ..
        },
        ..
    });
    let acts = [Do::Data(Vec::new()), Do::Set(Field::UNDERFLOW, 1), Do::Set(Field::RESIDUAL, 36)];
    let setup = Setup::normal().jobs([inquiry(36), Job::Settle]);
    cases.push(Case::new("the only one", setup).rules(on_data_in(0, acts)).expect(all([
        Expect::Works,
        Expect::Task(0, nothing),
        Expect::Untouched(0),
    ])));
    // A command that reads nothing may be answered so.
    let setup = Setup::normal().jobs([Job::test_unit_ready(), Job::Settle]);
    let status = Extra { data: Vec::new(), ..stray_status() };
    cases.push(
        Case::new("for a command without data", setup)
            .rule(When::receives(Opcode::ScsiCommand), Do::Send(status))
            .rule(When::receives(Opcode::ScsiCommand), Do::Ignore)
            .expect(Expect::Works),
    );
    cases
}

/// The first task times out ten seconds after it was submitted, with Data-In until then.
const TIMED_OUT: Law = Law {
    name: "the task times out after ten seconds, whatever comes",
    check: |seen| {
        let task = seen.tasks.first().ok_or("there is no task")?;
        let (at, _) = task.end.as_ref().ok_or("it has no end")?;
        let took = at.saturating_since(task.at);
        if took < Duration::from_secs(10) || took > Duration::from_millis(10_100) {
            return Err(format!("it ended after {took:?}"));
        }
        match Pdus::received(Opcode::DataIn).with(Field::DATA_SEGMENT_LENGTH, 0).find(seen).len() {
            900.. => Ok(()),
            few => Err(format!("only {few} Data-In came")),
        }
    },
};

fn d12() -> Vec<Case> {
    let mut request = Request::new(&Disk::read10(0, 8), Transfer::In(4096));
    request.timeout = Some(Duration::from_secs(10));
    let setup = Setup::normal().jobs([request.job(), Job::Settle]);
    [0, 1]
        .into_iter()
        .map(|is_final| {
            // Until the deadline.
            let flood = (0..990).map(|n| {
                let extra = empty().set(Field::FINAL, is_final).set(Field::DATA_SN, n);
                Rule::new(When::At(Duration::from_millis(10 * n + 10)), Do::Send(extra))
            });
            Case::new(format!("F {is_final}"), setup.clone())
                .rule(When::receives(Opcode::ScsiCommand), Do::Ignore)
                .rules(flood)
                .expect(all([
                    Expect::GoesOn,
                    Expect::Task(
                        0,
                        pattern!(Told::Lost { reason: LostReason::TimedOut(Timer::Task), .. }),
                    ),
                    Expect::Law(TIMED_OUT),
                ]))
        })
        .collect()
}

fn d22() -> Vec<Case> {
    // The first task of a session.
    const TAG: u64 = 0x10;
    let recovery = Recovery { verify: false, ..Recovery::lasting(Duration::from_secs(60)) };
    let setup = || {
        Setup::normal().config(|c| c.recovery(recovery)).jobs([
            Job::read(0, 8),
            Job::Settle,
            Job::sleep(30),
        ])
    };
    let told = pattern!(Told::ConnectionLost(LostReason::Protocol(ProtocolError::UnknownTask(_))));
    [("data", stray()), ("a status", stray_status())]
        .into_iter()
        .map(|(name, extra)| {
            let extra = extra.set(Field::INITIATOR_TASK_TAG, TAG);
            Case::new(name, setup())
                .rules([
                    first(When::receives(Opcode::ScsiCommand), Do::RESET),
                    first(When::receives(Opcode::ScsiCommand), Do::Ignore),
                    Rule::new(When::LoggedIn, Do::Send(extra)).on(1),
                ])
                .expect(all([
                    Expect::GoesOn,
                    Expect::Field(
                        Pdus::sent(Opcode::ScsiCommand).first(),
                        Field::INITIATOR_TASK_TAG,
                        Is::Value(TAG),
                    ),
                    lost(),
                    Expect::Untouched(0),
                    Expect::Told(told),
                    Expect::Connections(3..=3),
                ]))
        })
        .collect()
}

fn d23() -> Vec<Case> {
    let mut cases = Vec::new();
    for (collapse, kind) in [(true, Opcode::DataIn), (false, Opcode::ScsiResponse)] {
        let next = |extra: Extra| extra.set(Field::DATA_SN, 1);
        for (name, extra) in [("data", stray()), ("a status", stray_status()), ("nothing", empty())]
        {
            let setup = Setup::reading().service(|s| s.collapse = collapse);
            cases.push(
                Case::new(format!("{name} behind {kind:?}"), setup)
                    .rules([first(When::sends(kind), Do::Send(next(extra)))])
                    .expect(all([breaks!(UnknownTask(_)), at_once(), Expect::TaskGood(0)])),
            );
        }
    }
    cases
}

fn d24() -> Vec<Case> {
    let both = || [Do::Set(Field::OVERFLOW, 1), Do::Set(Field::UNDERFLOW, 1)];
    let mut cases: Vec<Case> = [0, 1, 4096]
        .into_iter()
        .map(|count| {
            Case::new(format!("count {count}"), collapsed())
                .rules(on_data_in(7, both()))
                .rules(on_data_in(7, [Do::Set(Field::RESIDUAL, count)]))
                .expect(all([format_breaks!(OverflowAndUnderflow), at_once(), lost()]))
        })
        .collect();
    // Without a status both are reserved.
    cases.push(
        Case::new("without status", in_parts())
            .rules(on_data_in(3, both()))
            .expect(all([Expect::Works, Expect::TaskGood(0)])),
    );
    cases
}

fn d25() -> Vec<Case> {
    let valid = pattern!(Told::Done {
        outcome: TaskOutcome {
            response: ScsiResponseCode::CompletedAtTarget(Completion {
                status: ScsiStatus::Good,
                residual: Residual::Underflow(100),
                ..
            }),
            data_in: 412,
            missing: 0,
            ..
        },
        ..
    });
    let placed = Law {
        name: "412 bytes are placed, and no other",
        check: |seen| {
            let task = seen.tasks.first().ok_or("no task")?;
            let right = task.placed[..412] == Disk::new(64).bytes[..412];
            let rest = task.placed[412..].iter().all(|byte| *byte == 0xee);
            if right && rest { Ok(()) } else { Err("they are not".into()) }
        },
    };
    let short = || Do::Data(disk()[..412].to_vec());
    let residual = || [Do::Set(Field::UNDERFLOW, 1), Do::Set(Field::RESIDUAL, 100)];
    let expect =
        || all([Expect::Works, Expect::TaskGood(0), Expect::Task(0, valid), Expect::Law(placed)]);
    let jobs = || [read_any(512), Job::Settle];
    let response = |act| first(When::sends(Opcode::ScsiResponse), act);
    vec![
        Case::new("in Data-In", Setup::normal().jobs(jobs()))
            .rules(on_data_in(0, [short()]))
            .rules(on_data_in(0, residual()))
            .expect(expect()),
        Case::new("in a response", Setup::normal().service(|s| s.collapse = false).jobs(jobs()))
            .rules(on_data_in(0, [short()]))
            .rules(residual().map(response))
            .expect(expect()),
    ]
}

fn d26() -> Vec<Case> {
    let mut cases = Vec::new();
    for collapse in [false, true] {
        for lun in [vec![0xa5; 8], vec![0xff; 8], vec![0, 1, 0, 0, 0, 0, 0, 0]] {
            let setup = in_parts().service(|s| s.collapse = collapse);
            cases.push(
                Case::new(format!("{lun:02x?}, status in Data-In {collapse}"), setup)
                    .rules([Rule::new(When::sends_each(Opcode::DataIn), Do::Patch(8, lun))])
                    .expect(all([Expect::Works, Expect::TaskGood(0)])),
            );
        }
    }
    cases
}
