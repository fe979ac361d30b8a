//! T: task management.

use core::time::Duration;

use iscsi_core::config::{Escalation, Recovery, Timeouts};
use iscsi_core::testing::{Disk, Do, Extra, Field, Rule, Told, When};
use iscsi_core::text::{TaskReporting, TaskReportings};
use iscsi_core::wire::{Opcode, TaskManagementResponseCode as Code};
use iscsi_core::{LostReason, Lun, OnLoss, SubmitError, TaskManagement, Timer, Transfer};

use super::common::{all, at_once, patched, soliciting};
use super::write_laws::ANSWERED_IN_ORDER;
use crate::case::{Case, Job, Request, Row, Setup};
use crate::expect::{Expect, Is, Law, Pdus};
use crate::{breaks, fails, format_breaks, key_breaks, login_breaks, pattern};

pub(crate) fn rows() -> Vec<Row> {
    vec![
        Row::pass("T-01", t01()),
        Row::pass("T-02", t02()),
        Row::pass("T-03", t03()),
        Row::pass("T-04", t04()),
        Row::pass("T-05", t05()),
        Row::pass("T-06", t06()).note(
            "a refused abort that the application asked for leaves the task as it is; its deadline then escalates",
        ),
        Row::pass("T-07", t07()),
        Row::pass("T-08", t08()),
        Row::pass("T-09", t09()),
        Row::pass("T-10", t10()).note("FastAbort is not offered; a target that chooses it is refused"),
        Row::pass("T-11", t11()),
        Row::pass("T-12", t12()),
        Row::pass("T-13", t13()),
        Row::pass("T-14", t14()),
        Row::pass("T-15", t15()),
        Row::pass("T-16", t16()).note("level 2 is not offered, so TASK REASSIGN is never sent"),
        Row::pass("T-17", t17()),
    ]
}

/// The application's function ended so.
macro_rules! told {
    ($result:pat) => {
        Expect::Told(pattern!(Told::Managed { result: $result, .. }))
    };
}

fn functions() -> Pdus {
    Pdus::sent(Opcode::TaskManagementRequest)
}

/// The requests for this function.
fn function(code: u64) -> Pdus {
    functions().with(Field::FUNCTION, code)
}

const ABORT_TASK: u64 = 1;
const LOGICAL_UNIT_RESET: u64 = 5;

fn lun(number: u8) -> Lun {
    Lun::new(number.into()).expect("a LUN")
}

fn read_on(number: u8) -> Request {
    let mut request = Request::new(&Disk::read10(0, 8), Transfer::In(4096));
    request.lun = lun(number);
    request
}

/// The command with this number on its connection is not answered.
fn unanswered(number: u32) -> Rule {
    Rule::new(When::receives_nth(Opcode::ScsiCommand, number), Do::Ignore)
}

/// Task `number` was aborted by the application.
fn aborted(number: usize) -> Expect {
    Expect::Task(number, pattern!(Told::Lost { reason: LostReason::Aborted, .. }))
}

/// The session goes on, and it is the same connection.
fn goes_on() -> Expect {
    all([Expect::GoesOn, Expect::Connections(1..=1)])
}

/// The only ABORT TASK names the command with this number.
fn names(command: Pdus) -> Expect {
    let is = |field, plus| Is::Same(command.clone(), field, plus);
    all([
        Expect::Count(functions(), 1..=1),
        Expect::Field(functions(), Field::FUNCTION, Is::Value(ABORT_TASK)),
        Expect::Field(functions(), Field::REFERENCED_TASK_TAG, is(Field::INITIATOR_TASK_TAG, 0)),
        Expect::Field(functions(), Field::LUN, is(Field::LUN, 0)),
        Expect::Field(functions(), Field::INITIATOR_TASK_TAG, Is::Not(0xffff_ffff)),
        Expect::Field(functions(), Field::IMMEDIATE, Is::Value(1)),
    ])
}

fn t01() -> Vec<Case> {
    let command = |n| Pdus::sent(Opcode::ScsiCommand).nth(n);
    let ref_cmd_sn =
        |n| Expect::Field(functions(), Field::REF_CMD_SN, Is::Same(command(n), Field::CMD_SN, 0));
    let of_command = |n| all([goes_on(), aborted(n), names(command(n)), ref_cmd_sn(n)]);
    let second =
        [read_on(0).job(), read_on(5).job(), Job::test_unit_ready(), Job::Abort(1), Job::Settle];
    vec![
        Case::new("a read", Setup::normal().jobs([read_on(5).job(), Job::Abort(0), Job::Settle]))
            .rules([unanswered(0)])
            .expect(of_command(0)),
        Case::new("one of several", Setup::normal().jobs(second))
            .rules([unanswered(1)])
            .expect(all([of_command(1), Expect::TaskGood(0), Expect::TaskGood(2)])),
        Case::new("a write", soliciting().jobs([Job::write(4, 16), Job::Abort(0), Job::Settle]))
            .rule(When::sends(Opcode::R2t), Do::Drop)
            .expect(of_command(0)),
    ]
}

fn t02() -> Vec<Case> {
    let mut request = read_on(5);
    request.immediate = true;
    // A command between the two moves CmdSN on.
    let jobs = [request.job(), Job::read(0, 1), Job::Abort(0), Job::Settle];
    let command = Pdus::sent(Opcode::ScsiCommand).first();
    vec![Case::new("immediate", Setup::normal().jobs(jobs)).rules([unanswered(0)]).expect(all([
        goes_on(),
        aborted(0),
        names(command.clone()),
        Expect::Field(command.clone(), Field::IMMEDIATE, Is::Value(1)),
        Expect::Field(functions(), Field::REF_CMD_SN, Is::Same(functions(), Field::CMD_SN, 0)),
        Expect::Field(functions(), Field::REF_CMD_SN, Is::Same(command, Field::CMD_SN, 1)),
    ]))]
}

/// The first task ended only when the answer to its abort came, three seconds later.
const WAITS_FOR_THE_ANSWER: Law = Law {
    name: "the task lives until the abort is answered",
    check: |seen| {
        let task = seen.tasks.first().ok_or("there is no task")?;
        let (at, _) = task.end.as_ref().ok_or("it has no end")?;
        match at.saturating_since(task.at) {
            time if time == Duration::from_secs(3) => Ok(()),
            time => Err(format!("it ended after {time:?}")),
        }
    },
};

fn abort_read() -> Setup {
    Setup::normal().jobs([Job::read(0, 8), Job::Abort(0), Job::Settle])
}

fn t03() -> Vec<Case> {
    let write = soliciting().jobs([Job::write(4, 16), Job::Abort(0), Job::Settle]);
    let mut cases = Vec::new();
    for code in [0, 1] {
        let rules = [
            Rule::new(When::sends(Opcode::TaskManagementResponse), Do::Set(Field::RESPONSE, code)),
            Rule::new(
                When::sends(Opcode::TaskManagementResponse),
                Do::Late(Duration::from_secs(3)),
            ),
        ];
        let expect =
            all([goes_on(), aborted(0), Expect::Untouched(0), Expect::Law(WAITS_FOR_THE_ANSWER)]);
        cases.push(
            Case::new(format!("response {code}, a read"), abort_read())
                .rules([unanswered(0)])
                .rules(rules.clone())
                .expect(expect.clone()),
        );
        cases.push(
            Case::new(format!("response {code}, a write"), write.clone())
                .rule(When::sends(Opcode::R2t), Do::Drop)
                .rules(rules)
                .expect(expect),
        );
    }
    cases
}

fn t04() -> Vec<Case> {
    let overtakes = |kind| {
        [Rule::new(When::sends(kind), Do::hold(When::receives(Opcode::TaskManagementRequest)))]
    };
    let expect = all([
        Expect::Works,
        Expect::Connections(1..=1),
        Expect::Count(function(ABORT_TASK), 1..=1),
        Expect::Field(
            Pdus::received(Opcode::TaskManagementResponse),
            Field::RESPONSE,
            Is::Value(1),
        ),
    ]);
    let write = Setup::writing().jobs([Job::write(4, 16), Job::Abort(0), Job::Settle]);
    vec![
        Case::new("status with the data", abort_read())
            .rules(overtakes(Opcode::DataIn))
            .expect(expect.clone()),
        Case::new("a response", write).rules(overtakes(Opcode::ScsiResponse)).expect(expect),
    ]
}

/// A second after the run began, this comes for the last command.
fn late(extra: Extra) -> Rule {
    Rule::new(When::At(Duration::from_secs(1)), Do::Send(extra.of_task()))
}

fn t05() -> Vec<Case> {
    let data_in = |status| {
        Extra::new(Opcode::DataIn)
            .set(Field::HAS_STATUS, status)
            .set(Field::STATUS, 0)
            .set(Field::DATA_SN, 0)
            .set(Field::BUFFER_OFFSET, 0)
            .data(&[0x11; 4096])
    };
    let response = Extra::new(Opcode::ScsiResponse).numbered();
    let check_condition =
        response.clone().set(Field::STATUS, 2).data(&[0, 4, 0x70, 0, 0x06, 0, 0, 0]);
    let r2t = Extra::new(Opcode::R2t)
        .set(Field::TARGET_TRANSFER_TAG, 7)
        .set(Field::R2T_SN, 0)
        .set(Field::BUFFER_OFFSET, 0)
        .set(Field::DESIRED_LENGTH, 512);
    let lates = [
        ("data", vec![data_in(0)]),
        ("data with status", vec![data_in(1).numbered()]),
        ("data and a response", vec![data_in(0), response.clone()]),
        ("a response", vec![response]),
        ("a response with sense", vec![check_condition]),
    ];
    let reset = TaskManagement::LogicalUnitReset(Lun::ZERO);
    let ends: [(&str, Job, Expect); 2] = [
        ("abort", Job::Abort(0), aborted(0)),
        (
            "reset",
            Job::Manage(reset),
            Expect::Task(0, pattern!(Told::Lost { reason: LostReason::TaskManagement, .. })),
        ),
    ];
    let mut cases = Vec::new();
    for (end, job, lost) in ends {
        let jobs = |first: Job| [first, job.clone(), Job::sleep(2), Job::Settle];
        let expect = all([goes_on(), lost, Expect::Untouched(0)]);
        for (name, extras) in &lates {
            let setup = Setup::normal().jobs(jobs(Job::read(0, 8)));
            cases.push(
                Case::new(format!("{end}, {name}"), setup)
                    .rules([unanswered(0)])
                    .rules(extras.iter().cloned().map(late))
                    .expect(expect.clone()),
            );
        }
        let setup = soliciting().jobs(jobs(Job::write(4, 16)));
        cases.push(
            Case::new(format!("{end}, an R2T"), setup)
                .rules([unanswered(0), late(r2t.clone())])
                .expect(all([expect.clone(), Expect::Count(Pdus::sent(Opcode::DataOut), 0..=0)])),
        );
    }
    cases
}

/// A read that has two seconds.
fn short_of_time() -> Job {
    let mut request = Request::new(&Disk::read10(0, 8), Transfer::In(4096));
    request.timeout = Some(Duration::from_secs(2));
    request.job()
}

fn timed_out(number: usize) -> Expect {
    Expect::Task(number, pattern!(Told::Lost { reason: LostReason::TimedOut(Timer::Task), .. }))
}

fn t06() -> Vec<Case> {
    let answer = |code| Do::Set(Field::RESPONSE, code);
    let managed: [(u64, Expect); 7] = [
        (2, told!(Ok(Code::LunDoesNotExist))),
        (3, told!(Ok(Code::TaskStillAllegiant))),
        (4, told!(Ok(Code::ReassignmentNotSupported))),
        (5, told!(Ok(Code::FunctionNotSupported))),
        (6, told!(Ok(Code::AuthorizationFailed))),
        (255, told!(Ok(Code::FunctionRejected))),
        (8, told!(Ok(Code::Other(8)))),
    ];
    let first = When::sends(Opcode::TaskManagementResponse);
    let each = When::sends_each(Opcode::TaskManagementResponse);
    let by_deadline = || Setup::normal().jobs([short_of_time(), Job::Settle]);
    let at = |seconds| {
        Expect::OverAt(Duration::from_secs(seconds)..=Duration::from_millis(seconds * 1000 + 1))
    };
    let mut cases = Vec::new();
    for (code, told) in managed {
        // A reset that fails ends nothing.
        let reset = TaskManagement::LogicalUnitReset(Lun::ZERO);
        let jobs = [Job::read(0, 8), Job::Manage(reset), Job::Settle];
        cases.push(
            Case::new(format!("{code} to a reset"), Setup::normal().jobs(jobs))
                .rule(
                    When::sends(Opcode::DataIn),
                    Do::hold(When::receives(Opcode::TaskManagementRequest)),
                )
                .rule(first.clone(), answer(code))
                .expect(all([Expect::Works, Expect::Connections(1..=1), told])),
        );
        // The application's abort fails, the task's deadline aborts it again.
        cases.push(
            Case::new(format!("{code} to an abort"), abort_read())
                .rules([unanswered(0)])
                .rule(first.clone(), answer(code))
                .expect(all([goes_on(), Expect::Count(function(ABORT_TASK), 2..=2), timed_out(0)])),
        );
        cases.push(
            Case::new(format!("{code} to an abort by deadline"), by_deadline())
                .rules([unanswered(0)])
                .rule(first.clone(), answer(code))
                .expect(all([
                    goes_on(),
                    Expect::Count(function(ABORT_TASK), 1..=1),
                    Expect::Count(function(LOGICAL_UNIT_RESET), 1..=1),
                    timed_out(0),
                ])),
        );
        cases.push(
            Case::new(format!("{code} to everything"), by_deadline())
                .rules([unanswered(0)])
                .rule(each.clone(), answer(code))
                .expect(all([
                    fails!(LostReason::TimedOut(Timer::Task)),
                    Expect::Count(function(ABORT_TASK), 1..=1),
                    Expect::Count(function(LOGICAL_UNIT_RESET), 1..=1),
                    at(2),
                    timed_out(0),
                ])),
        );
    }
    cases
}

fn t07() -> Vec<Case> {
    let silent = || Rule::new(When::receives_each(Opcode::TaskManagementRequest), Do::Ignore);
    let by_deadline = || Setup::normal().jobs([short_of_time(), Job::Settle]);
    let reset = TaskManagement::LogicalUnitReset(Lun::ZERO);
    let managing = Setup::normal().jobs([Job::read(0, 8), Job::Manage(reset), Job::Settle]);
    let over_at = |seconds| {
        Expect::OverAt(Duration::from_secs(seconds)..=Duration::from_millis(seconds * 1000 + 1))
    };
    let counts = |aborts, resets| {
        all([
            Expect::Count(function(ABORT_TASK), aborts..=aborts),
            Expect::Count(function(LOGICAL_UNIT_RESET), resets..=resets),
        ])
    };
    let lost = Expect::Task(0, pattern!(Told::Lost { .. }));
    let timed_out = || fails!(LostReason::TimedOut(Timer::TaskManagement));
    let case = |name: &str, setup: Setup| Case::new(name, setup).rules([unanswered(0), silent()]);
    let connection = by_deadline().config(|c| c.escalation(Escalation::Connection));
    let everything = by_deadline().config(|c| c.escalation(Escalation::TargetColdReset));
    vec![
        case("an abort by deadline", by_deadline()).expect(all([
            timed_out(),
            counts(1, 1),
            over_at(62),
            lost.clone(),
        ])),
        case("an abort of the application", abort_read()).expect(all([
            timed_out(),
            counts(1, 1),
            over_at(60),
            lost.clone(),
        ])),
        case("without a reset", connection).expect(all([
            timed_out(),
            counts(1, 0),
            over_at(32),
            lost.clone(),
        ])),
        case("with a cold reset", everything).expect(all([
            timed_out(),
            counts(1, 1),
            Expect::Count(function(7), 1..=1),
            over_at(92),
            lost.clone(),
        ])),
        case("a function of the application", managing).expect(all([
            timed_out(),
            counts(0, 1),
            over_at(30),
            lost,
            told!(Err(LostReason::TimedOut(Timer::TaskManagement))),
        ])),
    ]
}

fn t08() -> Vec<Case> {
    let unknown = || {
        Extra::new(Opcode::TaskManagementResponse)
            .numbered()
            .set(Field::INITIATOR_TASK_TAG, 0x0bad_0000)
    };
    let wrong_tag = [Do::Set(Field::INITIATOR_TASK_TAG, 0x0bad_0000)];
    // Pings would take the numbers behind the answer that is held back.
    let quiet = Timeouts { nop_interval: None, ..Timeouts::DEFAULT };
    let by_deadline = Setup::normal().config(|c| c.timeouts(quiet));
    let by_deadline = by_deadline.jobs([short_of_time(), Job::Settle]);
    vec![
        Case::new("nothing was asked", Setup::reading())
            .rule(When::receives(Opcode::ScsiCommand), Do::Send(unknown()))
            .expect(all([breaks!(UnknownTask(_)), at_once()])),
        patched(Opcode::TaskManagementResponse, &wrong_tag)
            .expect(all([breaks!(UnknownTask(_)), at_once()])),
        Case::new("twice", abort_read())
            .rules([unanswered(0)])
            .rule(
                When::sends(Opcode::TaskManagementResponse),
                Do::Send(Extra::new(Opcode::TaskManagementResponse).numbered().of_task()),
            )
            .expect(all([breaks!(UnknownTask(_)), at_once()])),
        Case::new("late, when something stronger was asked for", by_deadline)
            .rules([unanswered(0)])
            .rule(
                When::sends(Opcode::TaskManagementResponse),
                Do::hold(When::receives_nth(Opcode::TaskManagementRequest, 1)),
            )
            .expect(all([
                goes_on(),
                timed_out(0),
                Expect::Count(function(ABORT_TASK), 1..=1),
                Expect::Count(function(LOGICAL_UNIT_RESET), 1..=1),
            ])),
    ]
}

fn t09() -> Vec<Case> {
    let abort_set = TaskManagement::AbortTaskSet(Lun::ZERO);
    [(1, "in one segment", 262_144), (8, "in eight segments", 1024)]
        .into_iter()
        .map(|(data_outs, name, segment)| {
            let setup = soliciting().target(|l| l.max_recv_data_segment_length = segment).jobs([
                Job::write(4, 16),
                Job::Manage(abort_set),
                Job::Settle,
            ]);
            let last = When::receives_nth(Opcode::DataOut, data_outs - 1);
            let count = data_outs as usize;
            Case::new(name, setup)
                .rule(
                    When::sends(Opcode::R2t),
                    Do::hold(When::receives(Opcode::TaskManagementRequest)),
                )
                .rule(When::sends(Opcode::TaskManagementResponse), Do::hold(last))
                .rule(When::receives_each(Opcode::DataOut), Do::Ignore)
                .expect(all([
                    goes_on(),
                    Expect::Task(
                        0,
                        pattern!(Told::Lost { reason: LostReason::TaskManagement, .. }),
                    ),
                    Expect::Count(Pdus::sent(Opcode::DataOut), count..=count),
                    Expect::Field(Pdus::sent(Opcode::DataOut).last(), Field::FINAL, Is::Value(1)),
                    Expect::Law(ANSWERED_IN_ORDER),
                    told!(Ok(Code::FunctionComplete)),
                ]))
        })
        .collect()
}

fn reporting() -> TaskReportings {
    TaskReportings::new(&[TaskReporting::ResponseFence, TaskReporting::Rfc3720]).expect("two")
}

fn t10() -> Vec<Case> {
    let offers = Setup::reading().config(|c| c.task_reporting(reporting()));
    let chosen = || Rule::new(When::sends_last_login(), Do::key("TaskReporting", "FastAbort"));
    vec![
        Case::new("chosen out of two others", offers)
            .rules([chosen()])
            .expect(all([key_breaks!(TaskReporting, NotOffered), at_once()])),
        Case::new("chosen out of nothing", Setup::reading())
            .rules([chosen()])
            .expect(all([login_breaks!(AnswerOwed), at_once()])),
    ]
}

fn t11() -> Vec<Case> {
    let abort_set = TaskManagement::AbortTaskSet(Lun::ZERO);
    let setup = Setup::normal().jobs([Job::read(0, 8), Job::Manage(abort_set), Job::Settle]);
    let ping = Extra::new(Opcode::NopIn).set(Field::TARGET_TRANSFER_TAG, 0x77);
    let answer = Pdus::sent(Opcode::NopOut).with(Field::TARGET_TRANSFER_TAG, 0x77);
    vec![
        Case::new("a ping", setup)
            .rules([unanswered(0)])
            .rule(When::receives(Opcode::TaskManagementRequest), Do::Send(ping))
            // The function is answered once the ping is.
            .rule(
                When::sends(Opcode::TaskManagementResponse),
                Do::hold(When::receives(Opcode::NopOut)),
            )
            .expect(all([
                goes_on(),
                Expect::Count(answer.clone(), 1..=1),
                Expect::Answered(Pdus::received(Opcode::NopIn), answer, Duration::from_millis(1)),
                told!(Ok(Code::FunctionComplete)),
            ])),
    ]
}

fn t12() -> Vec<Case> {
    let lost = |n| Expect::Task(n, pattern!(Told::Lost { reason: LostReason::TaskManagement, .. }));
    let mut elsewhere = Request::new(&[0; 6], Transfer::None);
    elsewhere.lun = lun(5);
    let managed = told!(Ok(Code::FunctionComplete));
    let case = |name: &str, function: TaskManagement, others: &[Expect]| {
        let jobs = [
            Job::read(0, 8),
            Job::write(8, 8),
            elsewhere.clone().job(),
            Job::Manage(function),
            Job::sleep(2),
            Job::Settle,
        ];
        let mut expects = vec![goes_on(), lost(0), lost(1), managed.clone()];
        expects.extend_from_slice(others);
        Case::new(name, Setup::normal().jobs(jobs))
            .rules([unanswered(0), unanswered(1), unanswered(2)])
            .rules([late(Extra::new(Opcode::ScsiResponse).numbered())])
            .expect(Expect::All(expects))
    };
    // A task that was sent behind the function is none of its business.
    let reset = TaskManagement::LogicalUnitReset(Lun::ZERO);
    let jobs = [Job::read(0, 8), Job::Manage(reset), Job::read(16, 8), Job::Settle];
    let behind = Case::new("a task behind the reset", Setup::normal().jobs(jobs))
        .rules([unanswered(0)])
        .rule(
            When::sends(Opcode::TaskManagementResponse),
            Do::hold(When::receives_nth(Opcode::ScsiCommand, 1)),
        )
        .expect(all([goes_on(), lost(0), Expect::TaskGood(1), managed.clone()]));
    vec![
        case("reset", reset, &[Expect::TaskGood(2)]),
        case("task set aborted", TaskManagement::AbortTaskSet(Lun::ZERO), &[Expect::TaskGood(2)]),
        case("task set cleared", TaskManagement::ClearTaskSet(Lun::ZERO), &[Expect::TaskGood(2)]),
        case("warm reset of the target", TaskManagement::TargetWarmReset, &[lost(2)]),
        behind,
    ]
}

fn t13() -> Vec<Case> {
    let cold = Job::Manage(TaskManagement::TargetColdReset);
    let setup = || Setup::normal().jobs([Job::read(0, 8), cold.clone(), Job::Settle]);
    let case = |name: &str, act: Do, expect: Expect| {
        Case::new(name, setup())
            .rules([unanswered(0)])
            .rule(When::receives(Opcode::TaskManagementRequest), Do::Ignore)
            .rule(When::receives(Opcode::TaskManagementRequest), act)
            .expect(all([
                expect,
                Expect::Count(function(7), 1..=1),
                Expect::Task(0, pattern!(Told::Lost { .. })),
                Expect::Told(pattern!(Told::Managed { result: Err(_), .. })),
            ]))
    };
    // With recovery the session comes back, and the read is issued again.
    let recovery = Recovery { verify: false, ..Recovery::lasting(Duration::from_secs(60)) };
    let mut again = read_on(0);
    again.on_loss = OnLoss::Reissue;
    let back =
        setup().config(|c| c.recovery(recovery)).jobs([again.job(), cold.clone(), Job::Settle]);
    let on_first = |when, act| Rule::new(when, act).on(0);
    let request = || When::receives(Opcode::TaskManagementRequest);
    vec![
        case("closed", Do::CLOSE, all([fails!(LostReason::Eof), at_once()])),
        case("reset", Do::RESET, all([fails!(LostReason::Transport), at_once()])),
        case(
            "silent",
            Do::SILENCE,
            all([
                fails!(LostReason::TimedOut(Timer::NopOut)),
                Expect::OverAt(Duration::ZERO..=Duration::from_secs(11)),
            ]),
        ),
        Case::new("with session recovery", back)
            .rules([
                on_first(When::receives(Opcode::ScsiCommand), Do::Ignore),
                on_first(request(), Do::Ignore),
                on_first(request(), Do::CLOSE),
            ])
            .expect(all([
                Expect::Works,
                Expect::Connections(2..=2),
                Expect::Told(pattern!(Told::Managed { result: Err(_), .. })),
            ])),
    ]
}

fn t14() -> Vec<Case> {
    let level = |own: Option<u8>, target: Option<u8>| {
        Setup::normal()
            .config(|c| c.iscsi_protocol_level(own))
            .target(|l| l.iscsi_protocol_level = target)
    };
    let wanted = [
        (10, TaskManagement::QueryTaskSet(lun(5))),
        (11, TaskManagement::ItNexusReset),
        (12, TaskManagement::QueryAsynchronousEvent(lun(5))),
    ];
    let mut cases = Vec::new();
    for (name, own, target) in [
        ("not offered", None, Some(2)),
        ("level 1", Some(1), Some(2)),
        ("lowered by the target", Some(2), Some(1)),
        ("not answered", Some(2), None),
    ] {
        for (code, function) in wanted {
            let jobs = [Job::Manage(function), Job::Settle];
            cases.push(
                Case::new(format!("{name}, function {code}"), level(own, target).jobs(jobs))
                    .expect(all([
                        Expect::Works,
                        Expect::Refused(0, pattern!(SubmitError::NotNegotiated)),
                        Expect::Count(functions(), 0..=0),
                    ])),
            );
        }
        let jobs = [Job::read(0, 8), Job::QueryTask(0), Job::sleep(1), Job::Settle];
        cases.push(
            Case::new(format!("{name}, function 9"), level(own, target).jobs(jobs))
                .rule(When::sends(Opcode::DataIn), Do::hold(When::At(Duration::from_millis(500))))
                .expect(all([
                    Expect::Works,
                    Expect::Refused(1, pattern!(SubmitError::NotNegotiated)),
                    Expect::Count(functions(), 0..=0),
                ])),
        );
    }
    let succeeded = || {
        [
            Rule::new(When::sends(Opcode::TaskManagementResponse), Do::Set(Field::RESPONSE, 7)),
            Rule::new(
                When::sends(Opcode::TaskManagementResponse),
                Do::Patch(8, vec![0x51, 0x29, 0x00]),
            ),
        ]
    };
    let informed =
        told!(Ok(Code::FunctionSucceeded { additional_response_information: [0x51, 0x29, 0x00] }));
    for (code, function) in wanted {
        let jobs = [Job::Manage(function), Job::Settle];
        let lun = if code == 11 { 0 } else { 5 << 48 };
        cases.push(
            Case::new(format!("level 2, function {code}"), level(Some(2), Some(2)).jobs(jobs))
                .rules(succeeded())
                .expect(all([
                    Expect::Works,
                    Expect::Count(functions(), 1..=1),
                    Expect::Field(self::function(code), Field::LUN, Is::Value(lun)),
                    Expect::Field(
                        self::function(code),
                        Field::REFERENCED_TASK_TAG,
                        Is::Value(0xffff_ffff),
                    ),
                    informed.clone(),
                ])),
        );
    }
    let jobs = [read_on(5).job(), Job::QueryTask(0), Job::Settle];
    let command = Pdus::sent(Opcode::ScsiCommand).first();
    let is = |field| Is::Same(command.clone(), field, 0);
    cases.push(
        // The task lives on: it is only asked about.
        Case::new("level 2, function 9", level(Some(2), Some(2)).jobs(jobs))
            .rule(
                When::sends(Opcode::DataIn),
                Do::hold(When::receives(Opcode::TaskManagementRequest)),
            )
            .rules(succeeded())
            .expect(all([
                Expect::Works,
                Expect::Count(functions(), 1..=1),
                Expect::Field(
                    function(9),
                    Field::REFERENCED_TASK_TAG,
                    is(Field::INITIATOR_TASK_TAG),
                ),
                Expect::Field(function(9), Field::REF_CMD_SN, is(Field::CMD_SN)),
                Expect::Field(function(9), Field::LUN, is(Field::LUN)),
                informed,
            ])),
    );
    cases
}

fn t15() -> Vec<Case> {
    let command = |n| Pdus::sent(Opcode::ScsiCommand).nth(n);
    let functions_of = [
        (2, TaskManagement::AbortTaskSet(lun(5))),
        (3, TaskManagement::ClearAca(lun(5))),
        (4, TaskManagement::ClearTaskSet(lun(5))),
        (5, TaskManagement::LogicalUnitReset(lun(5))),
        (6, TaskManagement::TargetWarmReset),
        (7, TaskManagement::TargetColdReset),
    ];
    let unmoved = |code| {
        all([
            Expect::Field(function(code), Field::IMMEDIATE, Is::Value(1)),
            Expect::Field(function(code), Field::CMD_SN, Is::Same(command(0), Field::CMD_SN, 1)),
            Expect::Field(command(1), Field::CMD_SN, Is::Same(command(0), Field::CMD_SN, 1)),
        ])
    };
    let mut cases: Vec<Case> = functions_of
        .into_iter()
        .map(|(code, function)| {
            let jobs = [Job::read(0, 1), Job::Manage(function), Job::Settle];
            Case::new(format!("function {code}"), Setup::normal().jobs(jobs)).expect(all([
                Expect::Works,
                Expect::Count(functions(), 1..=1),
                unmoved(code),
            ]))
        })
        .collect();
    // A closed window keeps commands back, but not this.
    let first = || When::receives(Opcode::ScsiCommand);
    cases.push(
        Case::new("the window is closed", abort_read().with(|s| s.window = 1))
            .rules([unanswered(0), Rule::new(first(), Do::Window(0))])
            .rule(When::receives(Opcode::TaskManagementRequest), Do::Window(8))
            .expect(all([goes_on(), aborted(0), unmoved(ABORT_TASK)])),
    );
    cases
}

fn t16() -> Vec<Case> {
    let recovery = Recovery { verify: false, ..Recovery::lasting(Duration::from_secs(60)) };
    let mut cases = Vec::new();
    for level in [0, 1] {
        let mut again = read_on(0);
        again.on_loss = OnLoss::Reissue;
        let setup = Setup::normal()
            .config(|c| c.recovery(recovery).error_recovery_level(level))
            .target(|l| l.error_recovery_level = level)
            .jobs([again.job(), Job::Settle]);
        cases.push(
            Case::new(format!("a connection is lost, level {level}"), setup)
                .rules([Rule::new(When::receives(Opcode::ScsiCommand), Do::CLOSE).on(0)])
                .expect(all([
                    Expect::Works,
                    Expect::Connections(2..=2),
                    Expect::Count(functions(), 0..=0),
                    // The task was issued again instead, as a new command of a new session.
                    Expect::Count(Pdus::sent(Opcode::ScsiCommand).on(1), 2..=2),
                    Expect::Field(
                        Pdus::sent(Opcode::LoginRequest).on(1),
                        Field::TSIH,
                        Is::Value(0),
                    ),
                ])),
        );
    }
    cases.push(
        Case::new("the target chooses level 2", Setup::reading())
            .rule(When::sends_last_login(), Do::key("ErrorRecoveryLevel", "2"))
            .expect(all([key_breaks!(ErrorRecoveryLevel, AboveOffer), at_once()])),
    );
    cases
}

fn t17() -> Vec<Case> {
    [1, 4, 512]
        .into_iter()
        .map(|length| {
            let mut case = patched(Opcode::TaskManagementResponse, &[Do::Data(vec![0x5a; length])]);
            case.name = format!("{length} bytes");
            case.expect(all([format_breaks!(UnexpectedData(_)), at_once()]))
        })
        .collect()
}
