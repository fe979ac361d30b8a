//! what a SCSI Response says.

use core::time::Duration;

use iscsi_core::config::Recovery;
use iscsi_core::testing::{Disk, Do, Field, Rule, Told, When};
use iscsi_core::wire::{Completion, Opcode, Residual, ScsiResponseCode, ScsiStatus};
use iscsi_core::{LostReason, ProtocolError, TaskOutcome, Timer, Transfer};
use iscsi_scsi::sense::{AdditionalSense, Sense, SenseKey};

use super::common::{all, at_once, with_digests};
use crate::case::{Case, Job, Request, Row, Setup};
use crate::expect::{Expect, Is, Law, Pattern, Pdus};
use crate::observe::Observation;
use crate::{breaks, format_breaks, pattern};

pub(crate) fn rows() -> Vec<Row> {
    vec![
        Row::pass("R-01", r01()),
        Row::pass("R-02", r02()),
        Row::pass("R-03", r03()),
        Row::pass("R-04", r04()),
        Row::pass("R-05", r05()),
        Row::pass("R-06", r06()),
        Row::pass("R-07", r07()),
        Row::pass("R-08", r08()),
        Row::pass("R-09", r09()).note("it claims that nothing was moved; the bytes that came are counted"),
        Row::pass("R-10", r10()),
        Row::pass("R-11", r11()),
        Row::pass("R-12", r12())
            .note("a count that is too high while all bytes are there is accepted, since targets in the field send it"),
    ]
}

/// A read whose status comes in a response.
pub(super) fn responding() -> Setup {
    Setup::reading().service(|s| s.collapse = false)
}

/// A rule for the first response.
pub(super) fn on_response(act: Do) -> Rule {
    Rule::new(When::sends(Opcode::ScsiResponse), act).on(0)
}

/// The first response is CHECK CONDITION with this data segment.
pub(super) fn checks(segment: &[u8]) -> [Rule; 2] {
    [Do::Set(Field::STATUS, 0x02), Do::Data(segment.to_vec())].map(on_response)
}

/// A data segment with this sense.
pub(super) fn segment(sense: &[u8]) -> Vec<u8> {
    [&(sense.len() as u16).to_be_bytes()[..], sense].concat()
}

pub(super) fn lost() -> Expect {
    Expect::Task(0, pattern!(Told::Lost { .. }))
}

/// With ErrorRecoveryLevel 1 on both sides.
fn level_1(setup: Setup) -> Setup {
    setup.config(|c| c.error_recovery_level(1)).target(|limits| limits.error_recovery_level = 1)
}

/// The sense of the first task, which ended with CHECK CONDITION.
pub(super) fn sense_of(seen: &Observation) -> Result<&[u8], String> {
    match seen.task_end(0)? {
        Told::Done { outcome, sense, .. }
            if outcome.status() == Some(ScsiStatus::CheckCondition) =>
        {
            Ok(sense)
        }
        other => Err(format!("{other:?}")),
    }
}

/// Sense in fixed format: MEDIUM ERROR, unrecovered read error, at block 0x01020304.
pub(super) const FIXED: [u8; 18] = [0xf0, 0, 3, 1, 2, 3, 4, 10, 0, 0, 0, 0, 0x11, 0, 0, 0, 0, 0];

pub(super) const FIXED_DELIVERED: Law = Law {
    name: "the fixed sense is delivered exactly, and means what it says",
    check: |seen| {
        let bytes = sense_of(seen)?;
        let sense = Sense::parse(bytes).map_err(|error| format!("{error}"))?;
        let wanted = Sense::new(SenseKey::MEDIUM_ERROR, AdditionalSense { asc: 0x11, ascq: 0 })
            .with_information(0x0102_0304);
        if bytes == FIXED && sense == wanted { Ok(()) } else { Err(format!("{bytes:02x?}")) }
    },
};

fn r01() -> Vec<Case> {
    let exact = segment(&FIXED);
    // Bytes behind the sense are response data.
    let longer = [&exact[..], &[0xee; 5]].concat();
    let mut cases = Vec::new();
    for (name, data) in [("exactly", exact), ("with response data", longer)] {
        for digests in [false, true] {
            let setup = if digests { with_digests(responding()) } else { responding() };
            cases.push(
                Case::new(format!("{name}, digests {digests}"), setup)
                    .rules(checks(&data))
                    .expect(all([Expect::GoesOn, Expect::Law(FIXED_DELIVERED)])),
            );
        }
        cases.push(
            Case::new(format!("{name}, a write"), Setup::writing())
                .rules(checks(&data))
                .expect(all([Expect::GoesOn, Expect::Law(FIXED_DELIVERED)])),
        );
    }
    cases
}

/// Sense in descriptor format: ILLEGAL REQUEST, logical block address out of range, with an information descriptor.
const DESCRIPTOR: [u8; 20] =
    [0x72, 5, 0x21, 0, 0, 0, 0, 12, 0x00, 10, 0x80, 0, 0, 0, 0, 1, 0, 0, 0, 7];

const DESCRIPTOR_DELIVERED: Law = Law {
    name: "the descriptor sense is delivered exactly, and means what it says",
    check: |seen| {
        let bytes = sense_of(seen)?;
        let sense = Sense::parse(bytes).map_err(|error| format!("{error}"))?;
        let wanted = Sense::new(SenseKey::ILLEGAL_REQUEST, AdditionalSense { asc: 0x21, ascq: 0 })
            .with_information(0x1_0000_0007);
        if bytes == DESCRIPTOR && sense == wanted { Ok(()) } else { Err(format!("{sense:?}")) }
    },
};

fn r02() -> Vec<Case> {
    [responding(), Setup::writing(), with_digests(responding())]
        .into_iter()
        .enumerate()
        .map(|(n, setup)| {
            Case::new(format!("set-up {n}"), setup)
                .rules(checks(&segment(&DESCRIPTOR)))
                .expect(all([Expect::GoesOn, Expect::Law(DESCRIPTOR_DELIVERED)]))
        })
        .collect()
}

/// The same for a session that comes back.
fn recovers(name: &str, rules: impl IntoIterator<Item = Rule>, told: Pattern<Told>) -> Case {
    let recovery = Recovery { verify: false, ..Recovery::lasting(Duration::from_secs(60)) };
    let jobs = [Job::read(0, 8), Job::Settle, Job::sleep(10)];
    let setup = responding().config(|c| c.recovery(recovery)).jobs(jobs);
    Case::new(format!("{name}, with session recovery"), setup).rules(rules).expect(all([
        Expect::GoesOn,
        lost(),
        Expect::Told(told),
        Expect::Connections(2..=2),
    ]))
}

fn r03() -> Vec<Case> {
    let check = || on_response(Do::Set(Field::STATUS, 0x02));
    let told = pattern!(Told::ConnectionLost(LostReason::Protocol(ProtocolError::Format(
        iscsi_core::wire::FormatError::CheckConditionWithoutSense
    ))));
    let mut cases: Vec<Case> = [("a read", responding()), ("a write", Setup::writing())]
        .into_iter()
        .map(|(name, setup)| {
            Case::new(name, setup).rules([check()]).expect(all([
                format_breaks!(CheckConditionWithoutSense),
                at_once(),
                lost(),
            ]))
        })
        .collect();
    cases.push(recovers("a read", [check()], told));
    cases
}

fn r04() -> Vec<Case> {
    let beyond =
        |length: u16, bytes: usize| [&length.to_be_bytes()[..], &vec![0x70; bytes]].concat();
    let mut cases = Vec::new();
    for (name, data) in [
        ("one too many", beyond(19, 18)),
        ("one of none", beyond(1, 0)),
        ("all of none", beyond(0xffff, 0)),
        ("all of many", beyond(0xffff, 300)),
        ("253 of 252", beyond(253, 252)),
    ] {
        for (status, what) in [(0x02, "CHECK CONDITION"), (0x00, "GOOD")] {
            cases.push(
                Case::new(format!("{name}, {what}"), responding())
                    .rules(checks(&data))
                    .rules([on_response(Do::Set(Field::STATUS, status))])
                    .expect(all([breaks!(SenseLength { .. }), at_once(), lost()])),
            );
        }
    }
    cases.push(Case::new("a segment of one byte", responding()).rules(checks(&[0])).expect(all([
        format_breaks!(SenseLengthCut),
        at_once(),
        lost(),
    ])));
    let told = pattern!(Told::ConnectionLost(LostReason::Protocol(ProtocolError::SenseLength {
        sense: 19,
        data_segment: 20
    })));
    cases.push(recovers("one too many", checks(&beyond(19, 18)), told));
    cases
}

/// The first task is done so, without sense.
macro_rules! done {
    ($response:pat, $data_in:pat, $missing:pat) => {
        pattern!(Told::Done {
            outcome: TaskOutcome { response: $response, data_in: $data_in, missing: $missing, .. },
            ..
        })
    };
}

/// The first task is completed at the target so.
macro_rules! completed {
    ($($field:ident: $value:pat),* => $data_in:pat, $missing:pat) => {
        done!(
            ScsiResponseCode::CompletedAtTarget(Completion { $($field: $value,)* .. }),
            $data_in,
            $missing
        )
    };
}

pub(super) use {completed, done};

fn no_sense() -> Expect {
    let none = Law {
        name: "no sense",
        check: |seen| match seen.task_end(0)? {
            Told::Done { sense, .. } if sense.is_empty() => Ok(()),
            other => Err(format!("{other:?}")),
        },
    };
    Expect::Law(none)
}

fn r05() -> Vec<Case> {
    let data = || [&[0, 0], &FIXED[..]].concat();
    let short = || vec![0, 0, 0x70];
    let mut cases = Vec::new();
    for data in [data(), short()] {
        cases.push(
            Case::new(format!("GOOD, {} bytes", data.len()), responding())
                .rules([on_response(Do::Data(data.clone()))])
                .expect(all([Expect::Works, Expect::TaskGood(0), no_sense()])),
        );
        cases.push(
            Case::new(format!("CHECK CONDITION, {} bytes", data.len()), responding())
                .rules(checks(&data))
                .expect(all([
                    Expect::GoesOn,
                    Expect::Task(0, completed!(status: ScsiStatus::CheckCondition => 4096, _)),
                    no_sense(),
                ])),
        );
    }
    cases
}

/// Everything that means something only with a completed command.
fn nonsense() -> Vec<Rule> {
    let set = |field, value| on_response(Do::Set(field, value));
    vec![
        set(Field::OVERFLOW, 1),
        set(Field::UNDERFLOW, 1),
        set(Field::BIDI_OVERFLOW, 1),
        set(Field::BIDI_UNDERFLOW, 1),
        set(Field::RESIDUAL, 0xffff_ffff),
        set(Field::BIDI_RESIDUAL, 0xffff_ffff),
        set(Field::EXP_DATA_SN, 9),
    ]
}

fn r06() -> Vec<Case> {
    let mut cases = Vec::new();
    let failed = done!(ScsiResponseCode::TargetFailure, _, _);
    for (name, setup) in [("a read", responding()), ("a write", Setup::writing())] {
        for status in [0x00, 0x02, 0x08] {
            for more in [Vec::new(), nonsense()] {
                let case = Case::new(
                    format!("{name}, status {status:#04x}, {} fields", more.len()),
                    setup.clone(),
                );
                let not_good = Expect::Not(Box::new(Expect::TaskGood(0)));
                cases.push(
                    case.rules(
                        [Do::Set(Field::RESPONSE, 1), Do::Set(Field::STATUS, status)]
                            .map(on_response),
                    )
                    .rules(more)
                    .expect(all([
                        Expect::GoesOn,
                        Expect::Task(0, failed),
                        not_good,
                    ])),
                );
            }
        }
    }
    cases
}

fn r07() -> Vec<Case> {
    let mut cases = Vec::new();
    for code in [0x80, 0x81, 0xfe, 0xff] {
        cases.push(
            Case::new(format!("vendor {code:#04x}"), responding())
                .rules([on_response(Do::Set(Field::RESPONSE, code))])
                .expect(all([
                    Expect::GoesOn,
                    Expect::Task(0, done!(ScsiResponseCode::Other(0x80..), _, _)),
                    Expect::Not(Box::new(Expect::TaskGood(0))),
                ])),
        );
    }
    for code in [0x02, 0x03, 0x40, 0x7f] {
        cases.push(
            Case::new(format!("reserved {code:#04x}"), responding())
                .rules([on_response(Do::Set(Field::RESPONSE, code))])
                .expect(all([format_breaks!(ReservedScsiResponse(_)), at_once(), lost()])),
        );
    }
    cases
}

fn r08() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, setup) in [("a read", responding()), ("a write", Setup::writing())] {
        for count in [0, 512, 0xffff_ffff] {
            let both = |fields: [Field; 2], residual| {
                let rules = fields.map(|field| on_response(Do::Set(field, 1)));
                rules.into_iter().chain([on_response(Do::Set(residual, count))])
            };
            let main = both([Field::OVERFLOW, Field::UNDERFLOW], Field::RESIDUAL);
            let bidi = both([Field::BIDI_OVERFLOW, Field::BIDI_UNDERFLOW], Field::BIDI_RESIDUAL);
            cases.push(
                Case::new(format!("{name}, O and U, {count}"), setup.clone())
                    .rules(main)
                    .expect(all([format_breaks!(OverflowAndUnderflow), at_once(), lost()])),
            );
            cases.push(
                Case::new(format!("{name}, o and u, {count}"), setup.clone())
                    .rules(bidi)
                    .expect(all([format_breaks!(BidiOverflowAndUnderflow), at_once(), lost()])),
            );
        }
    }
    cases
}

/// A read that is not compared with the disk.
fn read_any(bytes: u32) -> Job {
    Request::new(&Disk::read10(0, (bytes / 512) as u16), Transfer::In(bytes)).job()
}

fn residual(flag: Field, count: u64) -> [Rule; 2] {
    [Do::Set(flag, 1), Do::Set(Field::RESIDUAL, count)].map(on_response)
}

fn r09() -> Vec<Case> {
    let mut cases = Vec::new();
    let read = completed!(
        status: ScsiStatus::Good,
        residual: Residual::Underflow(4097..) => 4096,
        0
    );
    for count in [4097, 0x8000_0000, 0xffff_ffff] {
        let setup = responding().jobs([read_any(4096), Job::Settle]);
        cases.push(
            Case::new(format!("a read, {count}"), setup)
                .rules(residual(Field::UNDERFLOW, count))
                .expect(all([Expect::GoesOn, Expect::Task(0, read)])),
        );
    }
    // Of a write nothing was taken, it says: all of it is missing.
    let write = completed!(
        status: ScsiStatus::Good,
        residual: Residual::Underflow(8193..) => 0,
        8192
    );
    for count in [8193, 0x8000_0000, 0xffff_ffff] {
        cases.push(
            Case::new(format!("a write, {count}"), Setup::writing())
                .rules(residual(Field::UNDERFLOW, count))
                .expect(all([
                    Expect::GoesOn,
                    Expect::Task(0, write),
                    Expect::Not(Box::new(Expect::TaskGood(0))),
                ])),
        );
    }
    cases
}

fn r10() -> Vec<Case> {
    let mut cases = Vec::new();
    for count in [1, 512, 0xffff_ffff] {
        for (name, setup, bytes) in
            [("a read", responding(), 4096), ("a write", Setup::writing(), 0)]
        {
            let done = match bytes {
                0 => {
                    completed!(status: ScsiStatus::Good, residual: Residual::Overflow(1..) => 0, 0)
                }
                _ => {
                    completed!(status: ScsiStatus::Good, residual: Residual::Overflow(1..) => 4096, 0)
                }
            };
            cases.push(
                Case::new(format!("{name}, {count}"), setup)
                    .rules(residual(Field::OVERFLOW, count))
                    .expect(all([
                        Expect::GoesOn,
                        Expect::Task(0, done),
                        // To the caller it is not as good as without.
                        Expect::Not(Box::new(Expect::TaskGood(0))),
                    ])),
            );
        }
    }
    cases
}

fn r11() -> Vec<Case> {
    let mut cases = Vec::new();
    let none = || {
        completed!(
            status: ScsiStatus::Good,
            residual: Residual::None,
            bidi_read_residual: Residual::None =>
            _,
            0
        )
    };
    for count in [1, 512, 0xffff_ffff] {
        for (name, setup) in [("a read", responding()), ("a write", Setup::writing())] {
            let rules = [Field::RESIDUAL, Field::BIDI_RESIDUAL]
                .map(|field| on_response(Do::Set(field, count)));
            cases.push(
                Case::new(format!("{name}, {count}"), setup)
                    .rules(rules)
                    .expect(all([Expect::Works, Expect::Task(0, none())])),
            );
        }
        let in_data = Rule::new(When::sends(Opcode::DataIn), Do::Set(Field::RESIDUAL, count));
        cases.push(
            Case::new(format!("Data-In, {count}"), Setup::reading())
                .rules([in_data])
                .expect(all([Expect::Works, Expect::Task(0, none())])),
        );
    }
    cases
}

fn r12() -> Vec<Case> {
    let parts = || responding().service(|s| s.segment = 512);
    let drops = |number| Rule::new(When::sends_nth(Opcode::DataIn, number), Do::Drop).on(0);
    let snacks = || Pdus::sent(Opcode::SnackRequest);
    let mut cases = vec![
        Case::new("the last is missing", parts()).rules([drops(7)]).expect(all([
            breaks!(ExpDataSn { .. }),
            at_once(),
            lost(),
            Expect::Count(snacks(), 0..=0),
        ])),
        Case::new("three are missing", parts())
            .rules([drops(5), drops(6), drops(7)])
            .expect(all([breaks!(ExpDataSn { .. }), at_once(), lost()])),
        Case::new("the only one is missing", responding()).rules([drops(0)]).expect(all([
            breaks!(ExpDataSn { .. }),
            at_once(),
            lost(),
            Expect::Untouched(0),
        ])),
        Case::new("far too many", parts())
            .rules([drops(7), on_response(Do::Set(Field::EXP_DATA_SN, 0x7fff_ffff))])
            .expect(all([breaks!(ExpDataSn { .. }), at_once(), lost()])),
        Case::new("all bytes are there", parts())
            .rules([on_response(Do::Add(Field::EXP_DATA_SN, 1))])
            .expect(all([Expect::Works, Expect::TaskGood(0)])),
    ];
    let told =
        pattern!(Told::ConnectionLost(LostReason::Protocol(ProtocolError::ExpDataSn { .. })));
    cases.push(recovers("the only one is missing", [drops(0)], told));
    for missing in 1..=3 {
        let holds = (8 - missing..8).map(|number| {
            let act = Do::hold(When::receives(Opcode::SnackRequest));
            Rule::new(When::sends_nth(Opcode::DataIn, number), act).on(0)
        });
        let status = || Pdus::received(Opcode::ScsiResponse).first();
        cases.push(
            Case::new(format!("level 1, {missing} missing"), level_1(parts())).rules(holds).expect(
                all([
                    Expect::Works,
                    Expect::TaskGood(0),
                    Expect::Count(snacks(), 1..=1),
                    Expect::Field(snacks(), Field::SNACK_TYPE, Is::Value(0)),
                    Expect::Field(snacks(), Field::BEG_RUN, Is::Value(8 - u64::from(missing))),
                    Expect::Field(snacks(), Field::RUN_LENGTH, Is::Value(missing.into())),
                    // The status waits for its data.
                    Expect::Field(
                        snacks(),
                        Field::EXP_STAT_SN,
                        Is::Same(status(), Field::STAT_SN, 0),
                    ),
                ]),
            ),
        );
    }
    // More than bytes are missing cannot be missing.
    cases.push(
        Case::new("level 1, far too many", level_1(parts()))
            .rules([drops(7), on_response(Do::Set(Field::EXP_DATA_SN, 0x7fff_ffff))])
            .expect(all([breaks!(ExpDataSn { .. }), at_once(), lost()])),
    );
    let fails = Expect::Fails(pattern!(
        LostReason::TimedOut(Timer::Snack) | LostReason::Protocol(ProtocolError::DataSn { .. })
    ));
    cases.push(
        Case::new("level 1, it never comes", level_1(parts()))
            .rules([drops(7)])
            .rule(When::receives_each(Opcode::SnackRequest), Do::Ignore)
            .expect(all([fails, lost()])),
    );
    cases
}
