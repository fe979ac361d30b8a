//! SCSI Responses and the tasks that they are for.

use core::time::Duration;

use iscsi_core::testing::{Do, Extra, Faults, Field, Rule, Told, When};
use iscsi_core::wire::{Completion, Opcode, Residual, ScsiResponseCode, ScsiStatus};
use iscsi_core::{LostReason, Lun, TaskManagement, TaskOutcome, Transfer};

use super::common::{all, at_once, soliciting};
use super::response::{
    FIXED, FIXED_DELIVERED, checks, completed, done, lost, on_response, responding, segment,
    sense_of,
};
use crate::case::{Case, Job, Request, Row, Setup};
use crate::expect::{Expect, Law, Pattern, Pdus};
use crate::observe::Observation;
use crate::{breaks, format_breaks, pattern};

pub(crate) fn rows() -> Vec<Row> {
    vec![
        Row::pass("R-13", r13()),
        Row::pass("R-14", r14()),
        Row::pass("R-15", r15()),
        Row::pass("R-16", r16()),
        Row::pass("R-17", r17()),
        Row::pass("R-18", r18()),
        Row::pass("R-19", r19()),
        Row::pass("R-20", r20()),
        Row::pass("R-21", r21()),
    ]
}

/// A response of status GOOD for the command that was received last.
fn stray() -> Extra {
    Extra::new(Opcode::ScsiResponse).of_task().numbered()
}

fn r13() -> Vec<Case> {
    let mut cases = Vec::new();
    for tag in [0, 0x1234_5678, 0x7fff_fff0, 0xffff_fffe] {
        cases.push(
            Case::new(format!("tag {tag:#x}"), Setup::reading())
                .rule(
                    When::receives(Opcode::ScsiCommand),
                    Do::Send(stray().set(Field::INITIATOR_TASK_TAG, tag)),
                )
                .expect(all([breaks!(UnknownTask(_)), at_once(), lost()])),
        );
    }
    cases.push(
        Case::new("no tag", Setup::reading())
            .rule(
                When::receives(Opcode::ScsiCommand),
                Do::Send(stray().set(Field::INITIATOR_TASK_TAG, 0xffff_ffff)),
            )
            .expect(all([format_breaks!(ReservedInitiatorTaskTag), at_once(), lost()])),
    );
    // A task that was aborted lately: the response is dropped, and its StatSN counts.
    let jobs = [
        Job::read(0, 8),
        Job::Sleep(Duration::from_millis(10)),
        Job::Abort(0),
        Job::Settle,
        Job::sleep(2),
    ];
    let aborted = pattern!(Told::Lost { reason: LostReason::Aborted, .. });
    for (name, extra) in [
        ("GOOD", stray()),
        ("CHECK CONDITION", stray().set(Field::STATUS, 2).data(&segment(&FIXED))),
        ("TASK ABORTED", stray().set(Field::STATUS, 0x40)),
    ] {
        cases.push(
            Case::new(format!("{name} for an aborted task"), Setup::normal().jobs(jobs.clone()))
                .rule(When::receives(Opcode::ScsiCommand), Do::Ignore)
                .rule(When::At(Duration::from_secs(1)), Do::Send(extra))
                .expect(all([
                    Expect::GoesOn,
                    Expect::Task(0, aborted),
                    Expect::Count(Pdus::sent(Opcode::TaskManagementRequest), 1..=1),
                ])),
        );
    }
    cases
}

fn r14() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, setup, kind) in [
        ("a read", responding(), Opcode::ScsiResponse),
        ("a read with status in Data-In", Setup::reading(), Opcode::DataIn),
        ("a write", Setup::writing(), Opcode::ScsiResponse),
    ] {
        cases.push(
            Case::new(format!("{name}, at once"), setup.clone())
                .rules([Rule::new(When::sends(kind), Do::Send(stray())).on(0)])
                .expect(all([breaks!(UnknownTask(_)), at_once(), Expect::TaskGood(0)])),
        );
        let jobs: Vec<Job> = setup.jobs.iter().cloned().chain([Job::sleep(2)]).collect();
        let failed = stray().set(Field::STATUS, 2).data(&segment(&FIXED));
        cases.push(
            Case::new(format!("{name}, later and another"), setup.jobs(jobs))
                .rule(When::At(Duration::from_secs(1)), Do::Send(failed))
                .expect(all([
                    breaks!(UnknownTask(_)),
                    Expect::OverAt(Duration::from_secs(1)..=Duration::from_secs(1)),
                    Expect::TaskGood(0),
                ])),
        );
    }
    cases
}

/// The second command is a new one: another tag, the next CmdSN.
const NEW_COMMAND: Law = Law {
    name: "what is issued again is a new command",
    check: |seen| {
        let commands = Pdus::sent(Opcode::ScsiCommand).find(seen);
        let [first, second, ..] = commands.as_slice() else { return Err("too few".into()) };
        let field = |field: Field| (field.get(&first.bhs), field.get(&second.bhs));
        let (sn, tag) = (field(Field::CMD_SN), field(Field::INITIATOR_TASK_TAG));
        if sn.1 == sn.0 + 1 && tag.0 != tag.1 { Ok(()) } else { Err(format!("{sn:?} {tag:?}")) }
    },
};

fn twice(setup: Setup) -> Setup {
    let first = setup.jobs[0].clone();
    setup.jobs([first.clone(), Job::Settle, first, Job::Settle])
}

fn r15() -> Vec<Case> {
    let statuses = [
        (0x08, completed!(status: ScsiStatus::Busy => _, _)),
        (0x28, completed!(status: ScsiStatus::TaskSetFull => _, _)),
        (0x18, completed!(status: ScsiStatus::ReservationConflict => _, _)),
        (0x40, completed!(status: ScsiStatus::TaskAborted => _, _)),
        (0x30, completed!(status: ScsiStatus::AcaActive => _, _)),
        (0x22, completed!(status: ScsiStatus::CommandTerminated => _, _)),
    ];
    let mut cases = Vec::new();
    for (status, done) in statuses {
        for (name, setup) in [
            ("a read", twice(responding())),
            ("a write", twice(Setup::writing())),
            ("a command without data", twice(Setup::normal().jobs([Job::test_unit_ready()]))),
        ] {
            cases.push(
                Case::new(format!("{name}, status {status:#04x}"), setup)
                    .rules([on_response(Do::Set(Field::STATUS, status))])
                    .expect(all([
                        Expect::GoesOn,
                        Expect::Task(0, done),
                        Expect::Not(Box::new(Expect::TaskGood(0))),
                        Expect::TaskGood(1),
                        Expect::Law(NEW_COMMAND),
                    ])),
            );
        }
    }
    cases
}

/// ABORTED COMMAND in fixed format.
const fn aborted(asc: u8, ascq: u8) -> [u8; 18] {
    [0x70, 0, 0x0b, 0, 0, 0, 0, 10, 0, 0, 0, 0, asc, ascq, 0, 0, 0, 0]
}

/// The sense is delivered as it came.
macro_rules! delivers {
    ($asc:literal, $ascq:literal) => {
        Law {
            name: concat!("delivers ABORTED COMMAND ", $asc, " ", $ascq),
            check: |seen| match sense_of(seen)? {
                sense if *sense == aborted($asc, $ascq) => Ok(()),
                other => Err(format!("{other:02x?}")),
            },
        }
    };
}

fn r16() -> Vec<Case> {
    let senses = [
        (aborted(0x47, 0x05), delivers!(0x47, 0x05)),
        (aborted(0x0c, 0x0c), delivers!(0x0c, 0x0c)),
        (aborted(0x0c, 0x0d), delivers!(0x0c, 0x0d)),
        (aborted(0x11, 0x13), delivers!(0x11, 0x13)),
    ];
    let mut cases = Vec::new();
    for (sense, law) in senses {
        for (name, setup) in [("a read", twice(responding())), ("a write", twice(Setup::writing()))]
        {
            cases.push(
                Case::new(format!("{name}, {:02x}/{:02x}", sense[12], sense[13]), setup)
                    .rules(checks(&segment(&sense)))
                    .expect(all([
                        Expect::GoesOn,
                        Expect::Law(law),
                        Expect::TaskGood(1),
                        Expect::Law(NEW_COMMAND),
                        // The engine does not issue it again by itself.
                        Expect::Count(Pdus::sent(Opcode::ScsiCommand), 3..=3),
                    ])),
            );
        }
    }
    cases
}

fn r17() -> Vec<Case> {
    let mut cases = Vec::new();
    for qualifier in [1, 0x4000, 0xffff] {
        let set = || on_response(Do::Set(Field::STATUS_QUALIFIER, qualifier));
        let good = completed!(status: ScsiStatus::Good, status_qualifier: 0 => _, 0);
        let busy = completed!(status: ScsiStatus::Busy, status_qualifier: 0 => _, _);
        for (name, setup) in [("a read", responding()), ("a write", Setup::writing())] {
            cases.push(
                Case::new(format!("{name}, {qualifier:#x}, GOOD"), setup.clone())
                    .rules([set()])
                    .expect(all([Expect::Works, Expect::TaskGood(0), Expect::Task(0, good)])),
            );
            cases.push(
                Case::new(format!("{name}, {qualifier:#x}, BUSY"), setup)
                    .rules([set(), on_response(Do::Set(Field::STATUS, 0x08))])
                    .expect(all([Expect::GoesOn, Expect::Task(0, busy)])),
            );
        }
    }
    // At level 2 it is told.
    let setup = responding()
        .config(|c| c.iscsi_protocol_level(Some(2)))
        .target(|limits| limits.iscsi_protocol_level = Some(2));
    cases.push(
        Case::new("level 2", setup)
            .rules([
                on_response(Do::Set(Field::STATUS_QUALIFIER, 0x4005)),
                on_response(Do::Set(Field::STATUS, 0x08)),
            ])
            .expect(all([
                Expect::GoesOn,
                Expect::Task(
                    0,
                    completed!(status: ScsiStatus::Busy, status_qualifier: 0x4005 => _, _),
                ),
            ])),
    );
    cases
}

/// Of the first task, how many Data-Out were sent.
fn data_out(seen: &Observation) -> usize {
    let command = Pdus::sent(Opcode::ScsiCommand).first().find(seen);
    let tag = |bhs| Field::INITIATOR_TASK_TAG.get(bhs);
    let Some(command) = command.first().map(|entry| tag(&entry.bhs)) else { return 0 };
    let sent = Pdus::sent(Opcode::DataOut);
    sent.find(seen).iter().filter(|entry| tag(&entry.bhs) == command).count()
}

fn r18() -> Vec<Case> {
    let none = Law {
        name: "no Data-Out behind the response",
        check: |seen| match data_out(seen) {
            0 => Ok(()),
            other => Err(format!("{other} were sent")),
        },
    };
    let few = Law {
        name: "what was under way when the response came, and no other Data-Out",
        check: |seen| match data_out(seen) {
            1..=8 => Ok(()),
            other => Err(format!("{other} were sent")),
        },
    };
    let check = || stray().set(Field::STATUS, 2).data(&segment(&FIXED));
    let soon = || Expect::TakesAtMost(Duration::from_secs(5));
    let short = || completed!(status: ScsiStatus::Good => 0, 1..);
    let delivered = || Expect::Law(FIXED_DELIVERED);
    // A write of 48 blocks in as many Data-Out, of which the network takes a few at a time.
    let long = || {
        soliciting().target(|limits| limits.max_recv_data_segment_length = 512).with(|s| {
            s.jobs = vec![Job::write(4, 48), Job::Settle];
            s.faults[0] =
                Faults { window: 2000, latency: Duration::from_millis(1), ..Faults::NONE };
        })
    };
    let behind_r2t = |extra| Rule::new(When::sends(Opcode::R2t), Do::Send(extra)).on(0);
    let mut cases =
        vec![
            Case::new("with the R2T, CHECK CONDITION", soliciting())
                .rules([behind_r2t(check())])
                .expect(all([Expect::GoesOn, delivered(), Expect::Law(none), soon()])),
            Case::new("with the R2T, GOOD", soliciting())
                .rules([behind_r2t(stray())])
                .expect(all([Expect::GoesOn, Expect::Task(0, short()), Expect::Law(none), soon()])),
        ];
    for (name, extra, expect) in
        [("CHECK CONDITION", check(), delivered()), ("GOOD", stray(), Expect::Task(0, short()))]
    {
        cases.push(
            Case::new(format!("in a burst, {name}"), long())
                .rule(When::receives(Opcode::DataOut), Do::Send(extra))
                .rule(When::receives_each(Opcode::DataOut), Do::Ignore)
                .expect(all([Expect::GoesOn, expect, Expect::Law(few), soon()])),
        );
    }
    cases
}

/// A bidirectional command that sends 1024 bytes and reads 512, all of which the target answers as the case says: 300 bytes of Data-In,
/// then a response with these fields.
fn bidirectional(name: &str, fields: &[(Field, u64)], done: Pattern<Told>) -> Case {
    let transfer = Transfer::Both { out: 1024, r#in: 512 };
    let setup = Setup::normal().jobs([Request::new(&[0x53; 10], transfer).job(), Job::Settle]);
    let received = || When::receives(Opcode::ScsiCommand);
    let data_in = Extra::new(Opcode::DataIn)
        .of_task()
        .set(Field::DATA_SN, 0)
        .set(Field::BUFFER_OFFSET, 0)
        .data(&[0x42; 300]);
    let mut response = stray().set(Field::EXP_DATA_SN, 1);
    for (field, value) in fields {
        response = response.set(*field, *value);
    }
    Case::new(name, setup)
        .honest(Setup::normal())
        .rule(received(), Do::Send(data_in))
        .rule(received(), Do::Send(response))
        .rule(received(), Do::Ignore)
        .expect(all([Expect::GoesOn, Expect::Task(0, done)]))
}

/// A completed bidirectional command.
macro_rules! both {
    ($write:pat, $read:pat, $missing:pat) => {
        completed!(
            status: ScsiStatus::Good,
            residual: $write,
            bidi_read_residual: $read =>
            300,
            $missing
        )
    };
}

/// The name of a case, the fields of its response, what the task is told.
type Bidirectional = (&'static str, Vec<(Field, u64)>, Pattern<Told>);

fn r19() -> Vec<Case> {
    use Residual::{None as Neither, Overflow, Underflow};
    let (over, under) = (Field::OVERFLOW, Field::UNDERFLOW);
    let (bidi_over, bidi_under) = (Field::BIDI_OVERFLOW, Field::BIDI_UNDERFLOW);
    let write = |flag, count| [(flag, 1), (Field::RESIDUAL, count)];
    let read = |flag, count| [(flag, 1), (Field::BIDI_RESIDUAL, count)];
    let cases: [Bidirectional; 9] = [
        // 212 bytes of the read are missing unless the target says that there are no more.
        ("neither", vec![], both!(Neither, Neither, 212)),
        ("u", read(bidi_under, 212).to_vec(), both!(Neither, Underflow(212), 0)),
        ("o", read(bidi_over, 9).to_vec(), both!(Neither, Overflow(9), 212)),
        ("O", write(over, 7).to_vec(), both!(Overflow(7), Neither, 212)),
        // It took 1000 bytes of 1024, and says so.
        ("U", write(under, 24).to_vec(), both!(Underflow(24), Neither, 236)),
        (
            "u and O",
            [read(bidi_under, 212), write(over, 7)].concat(),
            both!(Overflow(7), Underflow(212), 0),
        ),
        (
            "u and U",
            [read(bidi_under, 212), write(under, 24)].concat(),
            both!(Underflow(24), Underflow(212), 24),
        ),
        (
            "o and U",
            [read(bidi_over, 9), write(under, 24)].concat(),
            both!(Underflow(24), Overflow(9), 236),
        ),
        (
            "o and O",
            [read(bidi_over, 9), write(over, 7)].concat(),
            both!(Overflow(7), Overflow(9), 212),
        ),
    ];
    cases.into_iter().map(|(name, fields, done)| bidirectional(name, &fields, done)).collect()
}

fn r20() -> Vec<Case> {
    let reset = Job::Manage(TaskManagement::LogicalUnitReset(Lun::ZERO));
    let jobs = |job| Setup::normal().jobs([job, Job::Settle]);
    let kinds = [
        (Opcode::NopOut, jobs(Job::Ping)),
        (Opcode::TaskManagementRequest, jobs(reset)),
        (Opcode::TextRequest, Setup::discovery()),
        (Opcode::LogoutRequest, Setup::logging_out()),
    ];
    let mut cases = Vec::new();
    for (kind, setup) in kinds {
        for (name, extra) in [
            ("GOOD", stray()),
            ("CHECK CONDITION", stray().set(Field::STATUS, 2).data(&segment(&FIXED))),
        ] {
            cases.push(
                Case::new(format!("{name} for {kind:?}"), setup.clone())
                    .rule(When::receives(kind), Do::Send(extra))
                    .rule(When::receives(kind), Do::Ignore)
                    .expect(all([breaks!(UnknownTask(_)), at_once()])),
            );
        }
    }
    cases
}

fn r21() -> Vec<Case> {
    let delivered = Law {
        name: "sense with GOOD is delivered",
        check: |seen| match seen.task_end(0)? {
            Told::Done { sense, .. } if *sense == FIXED => Ok(()),
            other => Err(format!("{other:?}")),
        },
    };
    let mut cases = Vec::new();
    for level in [1, 2] {
        for (name, setup) in [("a read", responding()), ("a write", Setup::writing())] {
            let setup = setup
                .config(|c| c.iscsi_protocol_level(Some(level)))
                .target(|limits| limits.iscsi_protocol_level = Some(level));
            cases.push(
                Case::new(format!("{name}, iSCSIProtocolLevel {level}"), setup)
                    .rules([on_response(Do::Data(segment(&FIXED)))])
                    .expect(all([Expect::Works, Expect::TaskGood(0), Expect::Law(delivered)])),
            );
        }
    }
    cases
}
