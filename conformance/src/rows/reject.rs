//! J: Reject.

use core::time::Duration;

use iscsi_core::config::Recovery;
use iscsi_core::testing::{Disk, Do, Extra, Field, Node, Rule, Told, When};
use iscsi_core::wire::{Opcode, RejectReason, TaskManagementResponseCode as Code};
use iscsi_core::{
    DiscoveryItem, LostReason, Lun, OnLoss, SessionState, TaskManagement, Timer, Transfer,
};

use super::async_message::{closed, logs_out};
use super::common::{all, at_once, soliciting};
use super::write_laws::ALL_THAT_MAY_BE;
use crate::case::{Case, Job, Request, Row, Setup, TARGET};
use crate::expect::{Expect, Is, Law, Pdus};
use crate::play::play;
use crate::{breaks, format_breaks, pattern};

pub(crate) fn rows() -> Vec<Row> {
    vec![
        Row::pass("J-01", j01()),
        Row::pass("J-02", j02()),
        Row::pass("J-03", j03()),
        Row::pass("J-04", j04()).note("whether to try again is up to who asked for it"),
        Row::pass("J-05", j05()),
        Row::pass("J-06", j06()),
        Row::pass("J-07", j07()),
        Row::pass("J-08", j08()),
        Row::pass("J-09", j09()),
        Row::pass("J-10", j10()),
        Row::pass("J-11", j11()),
        Row::pass("J-12", j12()),
    ]
}

/// A Reject with the header of the PDU that led to it.
fn reject(reason: u64) -> Extra {
    Extra::new(Opcode::Reject).numbered().with_header().set(Field::RESPONSE, reason)
}

/// The first PDU of this kind is rejected instead of answered.
fn rejected(kind: Opcode, reason: u64) -> [Rule; 2] {
    [
        Rule::new(When::receives(kind), Do::Ignore),
        Rule::new(When::receives(kind), Do::Send(reject(reason))),
    ]
}

fn rejects() -> Pdus {
    Pdus::received(Opcode::Reject)
}

fn functions() -> Pdus {
    Pdus::sent(Opcode::TaskManagementRequest)
}

fn command(number: usize) -> Pdus {
    Pdus::sent(Opcode::ScsiCommand).nth(number)
}

/// The session goes on, and it is the same connection.
fn goes_on() -> Expect {
    all([Expect::GoesOn, Expect::Connections(1..=1)])
}

fn works() -> Expect {
    all([Expect::Works, Expect::Connections(1..=1)])
}

/// The first task was rejected.
macro_rules! task_rejected {
    ($reason:pat) => {
        Expect::Task(0, pattern!(Told::Lost { reason: LostReason::Rejected($reason), .. }))
    };
}

fn j01() -> Vec<Case> {
    let is = |field, plus| Is::Same(command(0), field, plus);
    let plugged = || {
        all([
            goes_on(),
            Expect::Count(functions(), 1..=1),
            Expect::Field(functions(), Field::FUNCTION, Is::Value(1)),
            Expect::Field(
                functions(),
                Field::REFERENCED_TASK_TAG,
                is(Field::INITIATOR_TASK_TAG, 0),
            ),
            Expect::Field(functions(), Field::REF_CMD_SN, is(Field::CMD_SN, 0)),
            Expect::Field(command(1), Field::CMD_SN, is(Field::CMD_SN, 1)),
        ])
    };
    let reasons = [
        (4, task_rejected!(RejectReason::ProtocolError)),
        (5, task_rejected!(RejectReason::CommandNotSupported)),
        (7, task_rejected!(RejectReason::TaskInProgress)),
        (9, task_rejected!(RejectReason::InvalidPduField)),
        (0x0a, task_rejected!(RejectReason::LongOperationReject)),
    ];
    let mut cases = Vec::new();
    for (reason, task) in reasons {
        for (name, setup) in [
            ("a read", Setup::reading()),
            ("a write", Setup::writing()),
            ("a write that waits", soliciting()),
        ] {
            cases.push(
                Case::new(format!("{name}, reason {reason}"), setup)
                    .rules(rejected(Opcode::ScsiCommand, reason))
                    .expect(all([plugged(), task.clone(), Expect::Untouched(0)])),
            );
        }
    }
    cases
}

/// Both sides agree on ErrorRecoveryLevel 1, with two R2Ts at a time.
fn recovering(setup: Setup) -> Setup {
    setup.config(|c| c.error_recovery_level(1).data_sequence_in_order(false)).target(|l| {
        l.error_recovery_level = 1;
        l.data_sequence_in_order = false;
    })
}

/// The target ends the first task: the SNACK was rejected (RFC 7143 section 11.4.7.2).
fn snack_rejected() -> Extra {
    let mut sense = [0; 20];
    sense[1] = 18;
    sense[2] = 0x70;
    sense[4] = 0x0b;
    sense[9] = 10;
    (sense[14], sense[15]) = (0x11, 0x13);
    Extra::new(Opcode::ScsiResponse).numbered().of_task().set(Field::STATUS, 2).data(&sense)
}

fn j02() -> Vec<Case> {
    let snack = || When::receives(Opcode::SnackRequest);
    let second = When::At(Duration::from_secs(1));
    let ended_by_target =
        Expect::Task(0, pattern!(Told::Done { sense, .. } if sense.get(12) == Some(&0x11)));
    let quarters = soliciting().service(|s| s.burst = 2048);
    let mut cases: Vec<Case> = [2, 4, 9]
        .into_iter()
        .map(|reason| {
            // The target asks for the rest of it, and answers in the end.
            Case::new(format!("Data-Out, reason {reason}"), quarters.clone())
                .rule(When::receives_nth(Opcode::DataOut, 1), Do::Send(reject(reason)))
                .expect(all([
                    works(),
                    Expect::TaskGood(0),
                    Expect::Count(Pdus::sent(Opcode::DataOut), 4..=4),
                    Expect::Count(functions(), 0..=0),
                ]))
        })
        .collect();
    for reason in [3, 4, 9] {
        let lost_r2t = recovering(soliciting()).service(|s| s.burst = 2048);
        cases.push(
            Case::new(format!("SNACK for an R2T, reason {reason}"), lost_r2t)
                .rule(When::sends(Opcode::R2t), Do::Drop)
                .rule(When::receives_each(Opcode::DataOut), Do::Ignore)
                .rule(snack(), Do::Send(reject(reason)))
                .rule(second.clone(), Do::Send(snack_rejected()))
                .expect(all([goes_on(), ended_by_target.clone()])),
        );
        let lost_data = recovering(Setup::reading()).service(|s| {
            s.segment = 1024;
            s.collapse = false;
        });
        cases.push(
            Case::new(format!("SNACK for data, reason {reason}"), lost_data)
                .rule(When::sends(Opcode::DataIn), Do::Drop)
                .rule(When::sends(Opcode::ScsiResponse), Do::Drop)
                .rule(snack(), Do::Send(reject(reason).set(Field::STAT_SN, FIRST_STAT_SN)))
                .rule(second.clone(), Do::NextStatSn(FIRST_STAT_SN as u32 + 1))
                .rule(second.clone(), Do::Send(snack_rejected()))
                .expect(all([goes_on(), ended_by_target.clone()])),
        );
    }
    // The target gives up without a word: the task's deadline ends it, and the session lives.
    let mut request = Request::new(&Disk::write10(4, 16), Transfer::Out(8192));
    request.timeout = Some(Duration::from_secs(20));
    let silent =
        recovering(soliciting()).service(|s| s.burst = 2048).jobs([request.job(), Job::Settle]);
    cases.push(
        Case::new("SNACK, and no response", silent)
            .rule(When::sends(Opcode::R2t), Do::Drop)
            .rule(When::receives_each(Opcode::DataOut), Do::Ignore)
            .rule(snack(), Do::Send(reject(3)))
            .expect(all([
                goes_on(),
                Expect::Task(
                    0,
                    pattern!(Told::Lost { reason: LostReason::TimedOut(Timer::Task), .. }),
                ),
            ])),
    );
    cases
}

/// The StatSN of the first status behind the login.
const FIRST_STAT_SN: u64 = 3;

fn j03() -> Vec<Case> {
    let task = task_rejected!(RejectReason::DataDigestError);
    let level_1 = |setup: Setup| {
        setup.config(|c| c.error_recovery_level(1)).target(|l| l.error_recovery_level = 1)
    };
    let same = |field| Expect::Field(command(1), field, Is::Same(command(0), field, 0));
    let first = || When::receives(Opcode::ScsiCommand);
    // A write whose data this target takes without looking.
    let request = Request::new(&Disk::write10(4, 16), Transfer::Out(8192));
    let commanded = Setup::normal().jobs([request.job(), Job::Settle]);
    // A Reject that does not count the command as received, although this target has done so.
    let number = first_cmd_sn(&level_1(Setup::writing()));
    let not_received = reject(2).set(Field::EXP_CMD_SN, number);
    let r2t = Extra::new(Opcode::R2t)
        .of_task()
        .set(Field::TARGET_TRANSFER_TAG, 0x7000)
        .set(Field::R2T_SN, 0)
        .set(Field::BUFFER_OFFSET, 0)
        .set(Field::DESIRED_LENGTH, 8192);
    vec![
        Case::new("level 0", Setup::writing())
            .rules(rejected(Opcode::ScsiCommand, 2))
            .expect(all([goes_on(), task, Expect::Count(functions(), 1..=1)])),
        Case::new("level 1, the command was not received", level_1(Setup::writing()))
            .rule(first(), Do::Ignore)
            .rule(first(), Do::Send(not_received))
            .rule(first(), Do::Trust)
            .expect(all([
                works(),
                Expect::Count(Pdus::sent(Opcode::ScsiCommand), 3..=3),
                same(Field::CMD_SN),
                same(Field::INITIATOR_TASK_TAG),
                same(Field::LUN),
                same(Field::FINAL),
                Expect::Length(command(1), Is::Value(8192)),
                Expect::Count(functions(), 0..=0),
            ])),
        Case::new("level 1, the command was received", level_1(commanded))
            .rules(rejected(Opcode::ScsiCommand, 2))
            .rule(first(), Do::Send(r2t))
            .rule(When::receives(Opcode::DataOut), Do::Ignore)
            .rule(
                When::receives(Opcode::DataOut),
                Do::Send(Extra::new(Opcode::ScsiResponse).numbered().of_task()),
            )
            .expect(all([
                goes_on(),
                Expect::Task(0, pattern!(Told::Done { outcome, .. } if outcome.is_good())),
                Expect::Count(Pdus::sent(Opcode::ScsiCommand), 2..=2),
                Expect::Length(Pdus::sent(Opcode::DataOut), Is::Value(8192)),
            ])),
    ]
}

/// The CmdSN of the first command of a run: randomness has a seed.
fn first_cmd_sn(setup: &Setup) -> u64 {
    let seen = play(setup, &[]);
    let first = command(0).find(&seen);
    first.first().map_or(0, |entry| Field::CMD_SN.get(&entry.bhs))
}

fn j04() -> Vec<Case> {
    let mut immediate = Request::new(&Disk::read10(0, 8), Transfer::In(4096));
    immediate.immediate = true;
    let commands = Setup::normal().jobs([immediate.job(), Job::Settle, Job::read(0, 8)]);
    let reset = TaskManagement::LogicalUnitReset(Lun::ZERO);
    let manages = Setup::normal().jobs([Job::Manage(reset), Job::Settle]);
    let pings = Setup::normal().jobs([Job::Ping, Job::Settle]);
    vec![
        Case::new("a command", commands).rules(rejected(Opcode::ScsiCommand, 6)).expect(all([
            goes_on(),
            task_rejected!(RejectReason::ImmediateCommandReject),
            Expect::TaskGood(1),
            // It had no number, so there is no hole.
            Expect::Count(functions(), 0..=0),
        ])),
        Case::new("a task management function", manages)
            .rules(rejected(Opcode::TaskManagementRequest, 6))
            .expect(all([
                works(),
                Expect::Told(pattern!(Told::Managed { result: Ok(Code::FunctionRejected), .. })),
            ])),
        Case::new("a ping", pings)
            .rules(rejected(Opcode::NopOut, 6))
            .expect(all([works(), Expect::Count(rejects(), 1..=1)])),
    ]
}

fn j05() -> Vec<Case> {
    let now = Duration::from_millis(1);
    let lost = Expect::Task(0, pattern!(Told::Lost { reason: LostReason::LogoutRequested, .. }));
    let recovery = Recovery { verify: false, ..Recovery::lasting(Duration::from_secs(60)) };
    let mut again = Request::new(&Disk::read10(0, 8), Transfer::In(4096));
    again.on_loss = OnLoss::Reissue;
    let back = Setup::normal().config(|c| c.recovery(recovery)).jobs([again.job(), Job::Settle]);
    let on_first = |rules: [Rule; 2]| rules.map(|rule| rule.on(0));
    let pings = Setup::normal().jobs([Job::Ping, Job::Settle]);
    vec![
        Case::new("a read", Setup::reading())
            .rules(rejected(Opcode::ScsiCommand, 0x0c))
            .expect(all([closed(), logs_out(rejects(), now), lost.clone()])),
        Case::new("a write", Setup::writing())
            .rules(rejected(Opcode::ScsiCommand, 0x0c))
            .expect(all([closed(), logs_out(rejects(), now), lost])),
        Case::new("a ping", pings)
            .rules(rejected(Opcode::NopOut, 0x0c))
            .expect(all([closed(), logs_out(rejects(), now)])),
        Case::new("with session recovery", back)
            .rules(on_first(rejected(Opcode::ScsiCommand, 0x0c)))
            .expect(all([Expect::Works, Expect::Connections(2..=2), logs_out(rejects(), now)])),
    ]
}

fn j06() -> Vec<Case> {
    let reset = || {
        all([
            breaks!(Rejected(RejectReason::NegotiationReset)),
            Expect::Connections(1..=1),
            at_once(),
        ])
    };
    let login = Case::new("in the login", Setup::normal())
        .rules(rejected(Opcode::LoginRequest, 0x0b))
        .expect(all([breaks!(UnexpectedPdu(0x3f)), Expect::Connections(1..=1), at_once()]));
    vec![
        Case::new("a text request", Setup::discovery())
            .rules(rejected(Opcode::TextRequest, 0x0b))
            .expect(reset()),
        Case::new("a command", Setup::reading())
            .rules(rejected(Opcode::ScsiCommand, 0x0b))
            .expect(reset()),
        login,
    ]
}

fn j07() -> Vec<Case> {
    let mut cases = Vec::new();
    for reason in [0, 1, 0x0d, 0x55, 0xff] {
        for (kind, setup) in [
            (Opcode::ScsiCommand, Setup::reading()),
            (Opcode::DataOut, soliciting()),
            (Opcode::NopOut, Setup::normal().jobs([Job::Ping, Job::Settle])),
        ] {
            cases.push(
                Case::new(format!("{kind:?}, reason {reason:#04x}"), setup)
                    .rules(rejected(kind, reason))
                    .expect(all([breaks!(Rejected(RejectReason::Other(_))), at_once()])),
            );
        }
    }
    cases
}

fn j08() -> Vec<Case> {
    [0, 1, 16, 20, 47]
        .into_iter()
        .map(|length| {
            let extra = Extra::new(Opcode::Reject)
                .numbered()
                .set(Field::RESPONSE, 4)
                .data(&vec![1; length]);
            Case::new(format!("{length} bytes"), Setup::reading())
                .rule(When::receives(Opcode::ScsiCommand), Do::Send(extra))
                .expect(all([format_breaks!(RejectWithoutHeader(_)), at_once()]))
        })
        .collect()
}

/// A header of this kind with a tag that was never used.
fn unknown_header(opcode: u8) -> [u8; 48] {
    let mut header = [0; 48];
    header[..2].copy_from_slice(&[opcode, 0x80]);
    header[16..20].copy_from_slice(&0x0bad_0000u32.to_be_bytes());
    header
}

/// A Reject with this header, while a read runs, changes nothing.
fn ignored(name: String, header: &[u8]) -> Case {
    let extra = Extra::new(Opcode::Reject).numbered().set(Field::RESPONSE, 9).data(header);
    Case::new(name, Setup::reading())
        .rule(When::receives(Opcode::ScsiCommand), Do::Send(extra))
        .expect(all([
            works(),
            Expect::Count(functions(), 0..=0),
            Expect::Count(rejects(), 1..=1),
            Expect::Field(command(1), Field::EXP_STAT_SN, Is::Same(rejects(), Field::STAT_SN, 2)),
        ]))
}

fn j09() -> Vec<Case> {
    // Every kind that an initiator sends, immediate or not; kinds that it never sends; no kind at all.
    let kinds = [0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x10, 0x21, 0x25, 0x3f, 0x1d, 0x09];
    kinds
        .into_iter()
        .flat_map(|kind| [kind, kind | 0x40])
        .map(|kind| ignored(format!("{kind:#04x}"), &unknown_header(kind)))
        .collect()
}

/// The run ended with a good READ on a session that stands.
const STANDS: Law = Law {
    name: "the session stands, and reads",
    check: |seen| match seen.tasks.last() {
        Some(task) if task.good && seen.probed && seen.end == SessionState::LoggedIn => Ok(()),
        other => Err(format!("{:?}, {other:?}", seen.end)),
    },
};

fn j10() -> Vec<Case> {
    let nodes = vec![Node::new(TARGET, &["192.0.2.2:3260,1"])];
    let asks = Setup::normal().with(|s| s.nodes = Some(nodes));
    let jobs = [Job::Discover, Job::Settle, Job::write(4, 16), Job::Settle];
    let asks = asks.jobs(jobs).config(|c| c.first_burst_length(1024));
    let twice = Setup::discovery().jobs([Job::Discover, Job::Settle, Job::Discover, Job::Settle]);
    let failed = || Expect::Item(pattern!(DiscoveryItem::Failed(_)));
    let mut cases = Vec::new();
    for reason in [4, 5, 6, 9, 0x0a] {
        cases.push(
            Case::new(format!("a session for commands, reason {reason}"), asks.clone())
                .rules(rejected(Opcode::TextRequest, reason))
                .expect(all([
                    failed(),
                    Expect::Connections(1..=1),
                    Expect::Law(STANDS),
                    // What was agreed in the login holds.
                    Expect::TaskGood(0),
                    Expect::Law(ALL_THAT_MAY_BE),
                ])),
        );
    }
    cases.push(
        Case::new("a discovery that is asked for again", twice)
            .honest(Setup::discovery())
            .rules(rejected(Opcode::TextRequest, 4))
            .expect(all([
                failed(),
                Expect::Item(pattern!(DiscoveryItem::Done)),
                Expect::Connections(1..=1),
                Expect::Ends(pattern!(SessionState::LoggedIn)),
            ])),
    );
    let event = Extra::new(Opcode::AsyncMessage)
        .numbered()
        .set(Field::ASYNC_EVENT, 4)
        .set(Field::PARAMETER3, 3);
    cases.push(
        Case::new("the answer to an event", Setup::reading())
            .rule(When::receives(Opcode::ScsiCommand), Do::Send(event))
            .rules(rejected(Opcode::TextRequest, 4))
            .expect(all([works(), Expect::Count(rejects(), 1..=1)])),
    );
    cases
}

fn j11() -> Vec<Case> {
    let mut cases = Vec::new();
    for number in 0..2 {
        for reason in [1, 4, 5, 9] {
            let at = When::receives_nth(Opcode::LoginRequest, number);
            cases.push(
                Case::new(format!("request {number}, reason {reason}"), Setup::normal())
                    .rule(at.clone(), Do::Ignore)
                    .rule(at, Do::Send(reject(reason)))
                    .expect(all([
                        breaks!(UnexpectedPdu(0x3f)),
                        Expect::Connections(1..=1),
                        at_once(),
                    ])),
            );
        }
    }
    cases
}

fn j12() -> Vec<Case> {
    let mut cases = Vec::new();
    for kind in [0x01, 0x05, 0x00, 0x04, 0x3f, 0x25] {
        let mut header = unknown_header(kind);
        header[4..8].fill(0xff);
        cases.push(ignored(format!("{kind:#04x}, nothing behind it"), &header));
        let mut long = header.to_vec();
        long.resize(48 + 1020, 0xff);
        cases.push(ignored(format!("{kind:#04x}, with its AHS"), &long));
        long.resize(8192, 0x3f);
        cases.push(ignored(format!("{kind:#04x}, and more"), &long));
    }
    // The header of a command that runs, with lengths that it never had.
    let first = || When::receives(Opcode::ScsiCommand);
    let mut cut = reject(9);
    cut.data = vec![0xff; 3];
    cases.push(
        Case::new("a running command, and three bytes more", Setup::reading())
            .rule(first(), Do::Ignore)
            .rule(first(), Do::Send(cut))
            .expect(all([
                goes_on(),
                task_rejected!(RejectReason::InvalidPduField),
                Expect::Untouched(0),
            ])),
    );
    cases
}
