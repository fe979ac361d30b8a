//! D-13 to D-21: Data-In that are missing, repeated or out of order, and acknowledgements of data.

use core::time::Duration;

use iscsi_core::config::Recovery;
use iscsi_core::testing::{Disk, Do, Field, Rule, Told, When};
use iscsi_core::wire::{Completion, Opcode, Residual, ScsiResponseCode, ScsiStatus};
use iscsi_core::{
    DataSn, Direction, LostReason, ProtocolError, StatSn, TaskOutcome, Timer, Transfer,
};

use super::common::{all, at_once};
use super::data_in::{
    collapsed, first, in_parts, level_1, lost, no_snack, on_data_in, snacks, stray,
};
use crate::case::{Case, Job, Request, Row, Setup};
use crate::expect::{Expect, Is, Law, Pdus};
use crate::{breaks, pattern};

pub(crate) fn rows() -> Vec<Row> {
    vec![
        Row::pass("D-13", d13()),
        Row::pass("D-14", d14()),
        Row::pass("D-15", d15()),
        Row::pass("D-16", d16()),
        Row::pass("D-17", d17()).note("tolerated: nothing depends on where a sequence ends"),
        Row::pass("D-18", d18())
            .note("the task ends with the target's status and the number of missing bytes, and is not good"),
        Row::pass("D-19", d19()),
        Row::pass("D-20", d20()),
        Row::pass("D-21", d21()).note("ignored"),
    ]
}

fn d13() -> Vec<Case> {
    let mut cases = Vec::new();
    for number in 0..7 {
        for setup in [in_parts(), collapsed()] {
            let collapse = setup.service.collapse;
            cases.push(
                Case::new(format!("{number} of eight, status in Data-In {collapse}"), setup)
                    .rules(on_data_in(number, [Do::Drop]))
                    .expect(all([
                        breaks!(DataSn { expected: DataSn(_), got: DataSn(_) }),
                        at_once(),
                        lost(),
                        no_snack(),
                    ])),
            );
        }
    }
    // Its bytes are all there, but a number is not.
    cases.push(
        Case::new("a number is left out", Setup::reading())
            .rules(on_data_in(0, [Do::Add(Field::DATA_SN, 1)]))
            .expect(all([breaks!(DataSn { .. }), at_once(), lost()])),
    );
    // The session comes back, if its policy allows that; the task may be issued again.
    let mut request = Request::new(&Disk::read10(0, 8), Transfer::In(4096));
    request.on_loss = iscsi_core::OnLoss::Reissue;
    let recovery = Recovery { verify: false, ..Recovery::lasting(Duration::from_secs(60)) };
    let setup = in_parts().config(|c| c.recovery(recovery)).jobs([request.job(), Job::Settle]);
    let told = pattern!(Told::ConnectionLost(LostReason::Protocol(ProtocolError::DataSn { .. })));
    cases.push(Case::new("recovery", setup).rules(on_data_in(3, [Do::Drop])).expect(all([
        Expect::Works,
        Expect::Told(told),
        Expect::Connections(2..=2),
    ])));
    cases
}

/// One SNACK for these Data-In, which does not acknowledge the status of the task.
fn data_snack(first: u64, count: u64) -> Expect {
    let command = || Pdus::sent(Opcode::ScsiCommand).first();
    let tag = Field::INITIATOR_TASK_TAG;
    all([
        Expect::Count(snacks(), 1..=1),
        Expect::Field(snacks(), Field::SNACK_TYPE, Is::Value(0)),
        Expect::Field(snacks(), tag, Is::Same(command(), tag, 0)),
        Expect::Field(snacks(), Field::TARGET_TRANSFER_TAG, Is::Value(0xffff_ffff)),
        Expect::Field(snacks(), Field::BEG_RUN, Is::Value(first)),
        Expect::Field(snacks(), Field::RUN_LENGTH, Is::Value(count)),
        Expect::Law(STATUS_WAITS),
    ])
}

/// As long as data of the first task are missing its status is not acknowledged.
const STATUS_WAITS: Law = Law {
    name: "the status is not acknowledged before the data are there",
    check: |seen| {
        let takes = |bhs: &[u8; 48]| match Opcode::of(bhs) {
            Some(Opcode::DataIn) => Field::HAS_STATUS.get(bhs) == 1,
            Some(Opcode::ScsiResponse) => true,
            _ => false,
        };
        let status = seen.pdus.iter().find(|entry| takes(&entry.bhs)).ok_or("no status")?;
        let status = StatSn(Field::STAT_SN.get(&status.bhs) as u32);
        let end = seen.tasks.first().and_then(|task| task.end.as_ref()).ok_or("no end")?.0;
        let sent = |entry: &&iscsi_core::testing::Entry| {
            entry.direction == Direction::Sent && entry.at < end
                || Opcode::of(&entry.bhs) == Some(Opcode::SnackRequest)
        };
        for entry in seen.pdus.iter().filter(sent) {
            let acknowledged = StatSn(Field::EXP_STAT_SN.get(&entry.bhs) as u32);
            if status.lt(acknowledged) {
                return Err(format!("{acknowledged} at {:?}", entry.at));
            }
        }
        Ok(())
    },
};

fn d14() -> Vec<Case> {
    let mut cases = Vec::new();
    let hold = |number| on_data_in(number, [Do::hold(When::receives(Opcode::SnackRequest))]);
    for collapse in [false, true] {
        let setup = || level_1(in_parts().service(|s| s.collapse = collapse));
        for number in 0..7 {
            cases.push(
                Case::new(format!("{number} of eight, status in Data-In {collapse}"), setup())
                    .rules(hold(number))
                    .expect(all([
                        Expect::Works,
                        Expect::TaskGood(0),
                        data_snack(number.into(), 1),
                    ])),
            );
        }
        cases.push(
            Case::new(format!("a run of three, status in Data-In {collapse}"), setup())
                .rules((2..5).flat_map(hold))
                .expect(all([Expect::Works, Expect::TaskGood(0), data_snack(2, 3)])),
        );
        // What was asked for takes its time, and other PDUs go out meanwhile.
        let late = || Do::hold(When::At(Duration::from_millis(500)));
        let jobs = [
            Job::read(0, 8),
            Job::Sleep(Duration::from_millis(100)),
            Job::Ping,
            Job::Sleep(Duration::from_millis(100)),
            Job::write(32, 1),
            Job::Settle,
        ];
        cases.push(
            Case::new(format!("late, status in Data-In {collapse}"), setup().jobs(jobs))
                .rules(on_data_in(3, [late()]))
                .expect(all([Expect::Works, Expect::TaskGood(0), data_snack(3, 1)])),
        );
    }
    cases.push(Case::new("the last of eight", level_1(in_parts())).rules(hold(7)).expect(all([
        Expect::Works,
        Expect::TaskGood(0),
        data_snack(7, 1),
    ])));
    // Two holes, two SNACKs.
    let tries = |number| Expect::Field(snacks().nth(number), Field::RUN_LENGTH, Is::Value(1));
    cases.push(
        Case::new("two holes", level_1(in_parts()))
            .rules(hold(1))
            .rules(on_data_in(4, [Do::hold(When::receives_nth(Opcode::SnackRequest, 1))]))
            .expect(all([
                Expect::Works,
                Expect::TaskGood(0),
                Expect::Count(snacks(), 2..=2),
                Expect::Field(snacks().nth(0), Field::BEG_RUN, Is::Value(1)),
                Expect::Field(snacks().nth(1), Field::BEG_RUN, Is::Value(4)),
                tries(0),
                tries(1),
                Expect::Law(STATUS_WAITS),
            ])),
    );
    // It never comes: the task is not good.
    cases.push(
        Case::new("never", level_1(in_parts()))
            .rule(When::receives_each(Opcode::SnackRequest), Do::Ignore)
            .rules(on_data_in(3, [Do::Drop]))
            .expect(all([
                breaks_or_times_out(),
                lost(),
                Expect::Field(snacks(), Field::BEG_RUN, Is::Value(3)),
                Expect::Law(STATUS_WAITS),
            ])),
    );
    cases
}

fn breaks_or_times_out() -> Expect {
    Expect::Fails(pattern!(
        LostReason::TimedOut(Timer::Snack) | LostReason::Protocol(ProtocolError::DataSn { .. })
    ))
}

fn d15() -> Vec<Case> {
    let mut cases = Vec::new();
    for level in 0..=1 {
        let at_level = |setup: Setup| if level == 1 { level_1(setup) } else { setup };
        for copies in [2, 3] {
            for number in [0, 1, 6, 7] {
                cases.push(
                    Case::new(
                        format!("{number} of eight {copies} times, level {level}"),
                        at_level(in_parts()),
                    )
                    .rules(on_data_in(number, [Do::Repeat(copies)]))
                    .expect(all([
                        Expect::Works,
                        Expect::TaskGood(0),
                        no_snack(),
                    ])),
                );
            }
            let each = Rule::new(When::sends_each(Opcode::DataIn), Do::Repeat(copies));
            cases.push(
                Case::new(format!("each {copies} times, level {level}"), at_level(in_parts()))
                    .rules([each])
                    .expect(all([Expect::Works, Expect::TaskGood(0), no_snack()])),
            );
        }
        // What comes twice does not overwrite: the second time it brings something else, and is not looked at.
        let other = stray().set(Field::FINAL, 0);
        cases.push(
            Case::new(format!("with other data, level {level}"), at_level(in_parts()))
                .rules(on_data_in(2, [Do::Send(other)]))
                .expect(all([Expect::Works, Expect::TaskGood(0), no_snack()])),
        );
    }
    cases
}

fn d16() -> Vec<Case> {
    let mut cases: Vec<Case> = [0, 1, 256, 511]
        .into_iter()
        .map(|offset| {
            Case::new(format!("the second at {offset}"), in_parts())
                .rules(on_data_in(1, [Do::Set(Field::BUFFER_OFFSET, offset)]))
                .expect(all([breaks!(DataInOrder { .. }), at_once(), lost()]))
        })
        .collect();
    for number in [2, 7] {
        cases.push(
            Case::new(format!("{number} goes back"), in_parts())
                .rules(on_data_in(number, [Do::Add(Field::BUFFER_OFFSET, -512)]))
                .expect(all([breaks!(DataInOrder { .. }), at_once(), lost()])),
        );
    }
    // Sequences, too, go on.
    let setup = in_parts().config(|c| c.max_burst_length(1024).first_burst_length(512));
    cases.push(
        Case::new("the second sequence goes back", setup)
            .rules(on_data_in(2, [Do::Set(Field::BUFFER_OFFSET, 0)]))
            .expect(all([breaks!(DataInOrder { .. }), at_once(), lost()])),
    );
    cases
}

fn d17() -> Vec<Case> {
    let setup = |collapse| {
        in_parts()
            .config(|c| c.max_burst_length(512).first_burst_length(512))
            .service(|s| s.collapse = collapse)
    };
    let mut cases: Vec<Case> = [(false, 8), (true, 7)]
        .into_iter()
        .map(|(collapse, count)| {
            let rules = (0..count).flat_map(|n| on_data_in(n, [Do::Set(Field::FINAL, 0)]));
            Case::new(format!("status in Data-In {collapse}"), setup(collapse))
                .rules(rules)
                .expect(all([Expect::Works, Expect::TaskGood(0)]))
        })
        .collect();
    // The sequence does not end where the task does.
    cases.push(
        Case::new("beyond the task", setup(false))
            .rules((0..8).flat_map(|n| on_data_in(n, [Do::Set(Field::FINAL, 0)])))
            .rules(on_data_in(
                7,
                [Do::Send(stray().set(Field::DATA_SN, 8).set(Field::BUFFER_OFFSET, 4096))],
            ))
            .expect(all([breaks!(DataInOutOfRange { .. }), at_once(), lost()])),
    );
    cases
}

fn d18() -> Vec<Case> {
    let mut cases = Vec::new();
    for collapse in [false, true] {
        let setup = Setup::normal()
            .service(|s| {
                s.segment = 512;
                s.collapse = collapse;
            })
            .jobs([Job::read(0, 3), Job::Settle]);
        let short = pattern!(Told::Done {
            outcome: TaskOutcome {
                response: ScsiResponseCode::CompletedAtTarget(Completion {
                    status: ScsiStatus::Good,
                    residual: Residual::None,
                    ..
                }),
                data_in: 1024,
                missing: 512,
                ..
            },
            ..
        });
        let hole = Law {
            name: "the task is not good, and the hole is as it was",
            check: |seen| {
                let task = seen.tasks.first().ok_or("no task")?;
                let hole = task.placed[512..1024].iter().all(|byte| *byte == 0xee);
                if hole && !task.good { Ok(()) } else { Err(format!("good {}", task.good)) }
            },
        };
        let mut case = Case::new(format!("status in Data-In {collapse}"), setup)
            .rules(on_data_in(1, [Do::Drop]))
            .rules(on_data_in(2, [Do::Add(Field::DATA_SN, -1)]));
        if !collapse {
            let response = When::sends(Opcode::ScsiResponse);
            case = case.rules([first(response, Do::Add(Field::EXP_DATA_SN, -1))]);
        }
        cases.push(case.expect(all([Expect::GoesOn, Expect::Task(0, short), Expect::Law(hole)])));
    }
    cases
}

/// A bit with this tag, in the LUN of another unit: both have to be copied.
fn asks(tag: u64) -> [Do; 3] {
    [
        Do::Set(Field::ACKNOWLEDGE, 1),
        Do::Set(Field::TARGET_TRANSFER_TAG, tag),
        Do::Set(Field::LUN, 0x0001_0000_0000_0000),
    ]
}

fn d19() -> Vec<Case> {
    let mut cases = Vec::new();
    for collapse in [false, true] {
        let each = asks(5).map(|act| Rule::new(When::sends_each(Opcode::DataIn), act));
        let setup = in_parts().service(|s| s.collapse = collapse);
        cases.push(
            Case::new(format!("status in Data-In {collapse}"), setup).rules(each).expect(all([
                Expect::Works,
                Expect::TaskGood(0),
                no_snack(),
            ])),
        );
    }
    cases
}

/// A DataACK up to here, with what the Data-In that asked for it had.
fn data_ack(which: Pdus, next: u64) -> Expect {
    let asked = || Pdus::received(Opcode::DataIn).with(Field::ACKNOWLEDGE, 1).first();
    all([
        Expect::Field(which.clone(), Field::SNACK_TYPE, Is::Value(2)),
        Expect::Field(which.clone(), Field::INITIATOR_TASK_TAG, Is::Value(0xffff_ffff)),
        Expect::Field(
            which.clone(),
            Field::TARGET_TRANSFER_TAG,
            Is::Same(asked(), Field::TARGET_TRANSFER_TAG, 0),
        ),
        Expect::Field(which.clone(), Field::LUN, Is::Same(asked(), Field::LUN, 0)),
        Expect::Field(which.clone(), Field::BEG_RUN, Is::Value(next)),
        Expect::Field(which, Field::RUN_LENGTH, Is::Value(0)),
        Expect::Law(STATUS_WAITS),
    ])
}

fn d20() -> Vec<Case> {
    let pause = |number| on_data_in(number, [Do::Late(Duration::from_millis(100))]);
    let mut cases = Vec::new();
    for collapse in [false, true] {
        let setup = || level_1(in_parts().service(|s| s.collapse = collapse));
        for number in 0..6 {
            cases.push(
                Case::new(format!("at {number}, status in Data-In {collapse}"), setup())
                    .rules(on_data_in(number, asks(5)))
                    .rules(pause(number + 1))
                    .expect(all([
                        Expect::Works,
                        Expect::TaskGood(0),
                        Expect::Count(snacks(), 1..=1),
                        data_ack(snacks(), u64::from(number) + 1),
                    ])),
            );
        }
        // With a hole before it, the hole comes first. The rest is sent later.
        let hold = Do::hold(When::receives(Opcode::SnackRequest));
        let later = || Do::hold(When::At(Duration::from_millis(100)));
        let mut case = Case::new(format!("with a hole, status in Data-In {collapse}"), setup())
            .rules(on_data_in(1, [hold]))
            .rules(on_data_in(3, asks(5)))
            .rules((4..8).flat_map(|number| on_data_in(number, [later()])));
        if !collapse {
            case = case.rules([first(When::sends(Opcode::ScsiResponse), later())]);
        }
        cases.push(case.expect(all([
            Expect::Works,
            Expect::TaskGood(0),
            Expect::Count(snacks(), 2..=2),
            Expect::Field(snacks().nth(0), Field::SNACK_TYPE, Is::Value(0)),
            data_ack(snacks().nth(1), 4),
        ])));
    }
    cases
}

fn d21() -> Vec<Case> {
    [0, 1]
        .into_iter()
        .map(|level| {
            let setup = if level == 1 { level_1(in_parts()) } else { in_parts() };
            Case::new(format!("level {level}"), setup)
                .rules(on_data_in(2, [Do::Set(Field::ACKNOWLEDGE, 1)]))
                .rules(on_data_in(3, [Do::Late(Duration::from_millis(100))]))
                .expect(all([Expect::Works, Expect::TaskGood(0), no_snack()]))
        })
        .collect()
}
