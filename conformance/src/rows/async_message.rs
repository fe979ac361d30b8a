//! E: asynchronous messages.

use core::time::Duration;

use iscsi_core::config::Recovery;
use iscsi_core::testing::{Disk, Do, Extra, Field, Rule, Told, When};
use iscsi_core::text::{TaskReporting, TaskReportings};
use iscsi_core::wire::Opcode;
use iscsi_core::{ConfigError, Direction, LostReason, OnLoss, SessionState, SubmitError, Transfer};

use super::common::{all, at_once};
use crate::case::{Case, Direct, Job, Request, Row, Setup, Verdict};
use crate::expect::{Expect, Is, Law, Pdus};
use crate::{breaks, fails, format_breaks, pattern};

pub(crate) fn rows() -> Vec<Row> {
    vec![
        Row::pass("E-01", e01())
            .note("running tasks have half of the target's time to end before the logout goes out"),
        Row::pass("E-02", e02()),
        Row::pass("E-03", e03()),
        Row::pass("E-04", e04()),
        Row::pass("E-05", e05()),
        Row::pass("E-06", e06()),
        Row::pass("E-07", e07()).note("of sense data 252 bytes are kept"),
        Row::pass("E-08", e08()),
        Row::new("E-09", Verdict::Direct(Direct { name: "FastAbort is not offered", check: e09 }))
            .note("FastAbort cannot be configured, so a target may not send the event"),
        Row::pass("E-10", e10())
            .note("the application is told, and the session goes on: nothing was agreed that the event could end"),
        Row::pass("E-11", e11()),
        Row::pass("E-12", e12()).note("ignored: the tag says nothing in this kind"),
        Row::pass("E-13", e13()),
        Row::pass("E-14", e14()),
    ]
}

/// An event, numbered as it has to be.
fn event(code: u64, parameters: [u64; 3]) -> Extra {
    let [first, second, third] = parameters;
    Extra::new(Opcode::AsyncMessage)
        .numbered()
        .set(Field::ASYNC_EVENT, code)
        .set(Field::PARAMETER1, first)
        .set(Field::PARAMETER2, second)
        .set(Field::PARAMETER3, third)
}

/// Behind the command with this number of the first connection an event comes.
fn behind_command(number: u32, extra: Extra) -> Rule {
    Rule::new(When::receives_nth(Opcode::ScsiCommand, number), Do::Send(extra)).on(0)
}

fn message() -> Pdus {
    Pdus::received(Opcode::AsyncMessage)
}

fn logout() -> Pdus {
    Pdus::sent(Opcode::LogoutRequest)
}

/// The session comes back by itself, and what may run twice is issued again.
fn recovering(setup: Setup) -> Setup {
    let recovery = Recovery { verify: false, ..Recovery::lasting(Duration::from_secs(60)) };
    setup.config(|c| c.recovery(recovery))
}

fn reissued() -> Job {
    let mut request = Request::new(&Disk::read10(0, 8), Transfer::In(4096));
    request.on_loss = OnLoss::Reissue;
    request.job()
}

/// Once the event had come nothing but answers, pings and the logout was sent on that connection, and nothing at all behind the logout.
const NOTHING_NEW: Law = Law {
    name: "no new command behind the event, and nothing behind the logout",
    check: |seen| {
        let first = |e: &iscsi_core::testing::Entry| e.connection == 0;
        let mut asked = false;
        let mut gone = false;
        for entry in seen.pdus.iter().filter(|entry| first(entry)) {
            match Opcode::of(&entry.bhs) {
                Some(Opcode::AsyncMessage | Opcode::Reject) => asked = true,
                _ if entry.direction == Direction::Received => {}
                other if gone => return Err(format!("{other:?} behind the logout")),
                Some(Opcode::LogoutRequest) => gone = true,
                Some(
                    opcode @ (Opcode::ScsiCommand
                    | Opcode::TaskManagementRequest
                    | Opcode::TextRequest),
                ) if asked => {
                    return Err(format!("{opcode:?} behind the event"));
                }
                _ => {}
            }
        }
        if asked && gone { Ok(()) } else { Err("no event, or no logout".into()) }
    },
};

/// One logout that closes the session or its connection, this soon after what asked for it.
pub(super) fn logs_out(cause: Pdus, within: Duration) -> Expect {
    all([
        Expect::Count(logout().on(0), 1..=1),
        Expect::Field(logout(), Field::LOGOUT_REASON, Is::AtMost(1)),
        Expect::Law(NOTHING_NEW),
        Expect::Answered(cause, logout().on(0), within),
    ])
}

/// Closed, because the target wanted it.
pub(super) fn closed() -> Expect {
    all([
        Expect::Ends(pattern!(SessionState::Closed)),
        Expect::Connections(1..=1),
        Expect::Not(Box::new(Expect::Told(pattern!(Told::State(SessionState::Failed(_)))))),
    ])
}

fn e01() -> Vec<Case> {
    let asks = || event(1, [0, 0, 5]);
    let now = Duration::from_millis(1);
    let five = Duration::from_secs(5);
    let lost = Expect::Task(0, pattern!(Told::Lost { reason: LostReason::LogoutRequested, .. }));
    let later = Setup::normal().jobs([Job::read(0, 8), Job::sleep(1), Job::read(0, 8)]);
    let back = |jobs: &[Job]| recovering(Setup::normal()).jobs(jobs.to_vec());
    let comes_back = || all([Expect::Works, Expect::Connections(2..=2)]);
    vec![
        Case::new("nothing runs", Setup::normal().jobs([Job::sleep(2)]))
            .rule(When::At(Duration::from_secs(1)), Do::Send(asks()))
            .expect(all([closed(), logs_out(message(), now)])),
        Case::new("a task ends in time", Setup::reading())
            .rules([behind_command(0, asks())])
            .expect(all([closed(), logs_out(message(), now), Expect::TaskGood(0)])),
        Case::new("a task does not end", Setup::reading())
            .rules([behind_command(0, asks())])
            .rule(When::receives(Opcode::ScsiCommand), Do::Ignore)
            .expect(all([closed(), logs_out(message().first(), five), lost])),
        Case::new("a command more is refused", later)
            .rules([behind_command(0, asks())])
            .rule(When::receives(Opcode::ScsiCommand), Do::Ignore)
            .expect(all([
                closed(),
                logs_out(message().first(), five),
                Expect::Refused(2, pattern!(SubmitError::LoggingOut)),
            ])),
        Case::new("the session comes back", back(&[reissued(), Job::sleep(10), Job::Settle]))
            .rules([behind_command(0, asks())])
            .expect(all([comes_back(), logs_out(message(), now)])),
        Case::new(
            "what waits goes over the next connection",
            back(&[reissued(), Job::sleep(1), Job::read(8, 8), Job::Settle]),
        )
        .rules([
            behind_command(0, asks()),
            Rule::new(When::receives(Opcode::ScsiCommand), Do::Ignore).on(0),
        ])
        .expect(all([
            comes_back(),
            logs_out(message().first(), five),
            Expect::Count(Pdus::sent(Opcode::ScsiCommand).on(0), 1..=1),
            Expect::Count(Pdus::sent(Opcode::ScsiCommand).on(1), 3..=3),
        ])),
    ]
}

fn e02() -> Vec<Case> {
    let now = Duration::from_millis(1);
    let asks = || event(1, [0, 0, 0]);
    let lost = Expect::Task(0, pattern!(Told::Lost { reason: LostReason::LogoutRequested, .. }));
    vec![
        Case::new("a task runs", Setup::reading())
            .rules([behind_command(0, asks())])
            .rule(When::receives(Opcode::ScsiCommand), Do::Ignore)
            .expect(all([closed(), logs_out(message(), now), lost])),
        Case::new("nothing runs", Setup::normal().jobs([Job::sleep(2)]))
            .rule(When::At(Duration::from_secs(1)), Do::Send(asks()))
            .expect(all([closed(), logs_out(message(), now)])),
    ]
}

/// The connection is dropped for this event.
fn dropped(rule: Rule, reason: Expect) -> Case {
    Case::new("without recovery", Setup::reading())
        .rules([rule])
        .rule(When::receives(Opcode::ScsiCommand), Do::Ignore)
        .expect(all([
            reason,
            at_once(),
            Expect::Connections(1..=1),
            Expect::Count(logout(), 0..=0),
            Expect::Task(0, pattern!(Told::Lost { .. })),
        ]))
}

/// The session comes back after this long.
fn comes_back_after(extra: Extra, from: Duration, to: Duration) -> Case {
    let setup = recovering(Setup::normal()).jobs([reissued(), Job::Settle]);
    Case::new("with recovery", setup)
        .rules([
            behind_command(0, extra),
            Rule::new(When::receives(Opcode::ScsiCommand), Do::Ignore).on(0),
        ])
        .expect(all([
            Expect::Works,
            Expect::Connections(2..=2),
            Expect::Waits(1, from..=to),
            Expect::Count(logout(), 0..=0),
        ]))
}

fn e03() -> Vec<Case> {
    let ours = || event(2, [0, 0, 1]);
    vec![
        dropped(behind_command(0, ours()), fails!(LostReason::AsyncEvent(2))),
        comes_back_after(ours(), Duration::ZERO, Duration::from_secs(1)),
    ]
}

/// The message is acknowledged with the response that followed it, by the final READ.
fn acknowledged() -> Expect {
    Expect::Field(
        Pdus::sent(Opcode::ScsiCommand).last(),
        Field::EXP_STAT_SN,
        Is::Same(message(), Field::STAT_SN, 2),
    )
}

/// The event is taken note of, and everything goes on.
fn goes_on(code: u8, sense: &[u8]) -> Expect {
    all([
        Expect::Works,
        Expect::Connections(1..=1),
        Expect::Notice(code, sense.to_vec()),
        acknowledged(),
    ])
}

fn e04() -> Vec<Case> {
    [1, 7, 0xffff]
        .into_iter()
        .map(|cid| {
            Case::new(format!("CID {cid}"), Setup::reading())
                .rules([behind_command(0, event(2, [cid, 0, 1]))])
                .expect(goes_on(2, &[]))
        })
        .collect()
}

fn e05() -> Vec<Case> {
    let all_of_them = || event(3, [0, 1, 2]);
    // Longer than what was agreed in the login, so it can only come from the event.
    let four = Duration::from_secs(4);
    let mut longer = comes_back_after(event(3, [0, 4, 10]), four, four + Duration::from_secs(10));
    longer.name = "with recovery, four seconds".into();
    vec![
        longer,
        dropped(behind_command(0, all_of_them()), fails!(LostReason::AsyncEvent(3))),
        comes_back_after(all_of_them(), Duration::from_secs(1), Duration::from_secs(3)),
    ]
}

fn e06() -> Vec<Case> {
    let text = || Pdus::sent(Opcode::TextRequest);
    let answer = Extra::new(Opcode::TextResponse)
        .numbered()
        .of_task()
        .set(Field::TARGET_TRANSFER_TAG, 0xffff_ffff);
    let served = |case: Case| {
        case.rule(When::receives(Opcode::TextRequest), Do::Ignore)
            .rule(When::receives(Opcode::TextRequest), Do::Send(answer.clone()))
    };
    let empty = |count: usize| {
        all([
            Expect::Works,
            Expect::Connections(1..=1),
            Expect::Count(text(), count..=count),
            Expect::Length(text(), Is::Value(0)),
            Expect::Field(text(), Field::FINAL, Is::Value(1)),
            Expect::Field(text(), Field::TARGET_TRANSFER_TAG, Is::Value(0xffff_ffff)),
            Expect::Answered(message().first(), text().first(), Duration::from_secs(3)),
            Expect::Notice(4, Vec::new()),
        ])
    };
    let wants = || event(4, [0, 0, 3]);
    vec![
        served(
            Case::new("nothing runs", Setup::normal().jobs([Job::sleep(2)]))
                .rule(When::At(Duration::from_secs(1)), Do::Send(wants())),
        )
        .expect(empty(1)),
        served(Case::new("a task runs", Setup::reading()).rules([behind_command(0, wants())]))
            .expect(empty(1)),
        served(
            Case::new("twice before the request", Setup::reading())
                .rules([behind_command(0, wants()), behind_command(0, wants())]),
        )
        .expect(empty(1)),
        // What is under way is what the target waits for.
        served(
            Case::new("twice before the answer", Setup::reading())
                .rules([behind_command(0, wants())])
                .rule(When::receives(Opcode::TextRequest), Do::Send(wants())),
        )
        .expect(empty(1)),
    ]
}

fn e07() -> Vec<Case> {
    let with_sense = |sense: &[u8], more: &[u8]| {
        let length = (sense.len() as u16).to_be_bytes();
        event(0, [0; 3]).set(Field::LUN, 5 << 48).data(&[&length, sense, more].concat())
    };
    let sense: Vec<u8> = (0..18u8).map(|n| if n == 0 { 0x70 } else { n }).collect();
    let long: Vec<u8> = (0..300u32).map(|n| n as u8).collect();
    let case = |name: &str, extra: Extra, sense: &[u8]| {
        Case::new(name, Setup::reading())
            .rules([behind_command(0, extra)])
            .expect(goes_on(0, sense))
    };
    vec![
        case("sense", with_sense(&sense, &[]), &sense),
        case("sense and what a vendor adds", with_sense(&sense, &[0x99; 30]), &sense),
        case("no sense", with_sense(&[], &[]), &[]),
        case("no data segment", event(0, [0; 3]), &[]),
        case("a lot of sense", with_sense(&long, &[]), &long[..252]),
    ]
}

fn e08() -> Vec<Case> {
    let case = |sense: u16, length: usize, expect: Expect| {
        let mut data = vec![0x70; length];
        data[..2].copy_from_slice(&sense.to_be_bytes());
        Case::new(format!("{sense} of {length} bytes"), Setup::reading())
            .rules([behind_command(0, event(0, [0; 3]).data(&data))])
            .expect(all([expect, at_once()]))
    };
    let cut = Case::new("one byte", Setup::reading())
        .rules([behind_command(0, event(0, [0; 3]).data(&[0]))])
        .expect(all([format_breaks!(SenseLengthCut), at_once()]));
    vec![
        cut,
        case(1, 2, breaks!(SenseLength { sense: 1, data_segment: 2 })),
        case(19, 20, breaks!(SenseLength { sense: 19, data_segment: 20 })),
        case(0xffff, 20, breaks!(SenseLength { sense: 0xffff, data_segment: 20 })),
        case(0xffff, 8192, breaks!(SenseLength { sense: 0xffff, data_segment: 8192 })),
    ]
}

/// FastAbort cannot be configured; the other two can.
fn e09(sound: bool) -> Result<(), String> {
    let mut values = vec![TaskReporting::ResponseFence, TaskReporting::Rfc3720];
    if sound {
        values.insert(0, TaskReporting::FastAbort);
    }
    let values = TaskReportings::new(&values).ok_or("no list")?;
    let config = Setup::normal().config(|c| c.task_reporting(values)).config.build();
    match config {
        Err(ConfigError::FastAbort) => Ok(()),
        other => Err(format!("{:?}", other.err())),
    }
}

fn e10() -> Vec<Case> {
    let ended = event(5, [0; 3]).set(Field::LUN, 5 << 48);
    vec![
        Case::new("for another logical unit", Setup::reading())
            .rules([behind_command(0, ended.clone())])
            .expect(goes_on(5, &[])),
        Case::new("for the one in use", Setup::writing())
            .rules([behind_command(0, ended.set(Field::LUN, 0))])
            .expect(goes_on(5, &[])),
    ]
}

fn e11() -> Vec<Case> {
    let data = [0, 0, 1, 2, 3, 4];
    [6u8, 7, 100, 247, 248, 254, 255]
        .into_iter()
        .flat_map(|code| {
            let plain = event(code.into(), [1, 2, 3]).set(Field::bytes(37, 1), 0x5a);
            [plain.clone(), plain.data(&data)].map(|extra| {
                Case::new(format!("{code}, {} bytes", extra.data.len()), Setup::reading())
                    .rules([behind_command(0, extra)])
                    .expect(goes_on(code, &[]))
            })
        })
        .collect()
}

fn e12() -> Vec<Case> {
    [0, 0x10, 0xffff_fffe]
        .into_iter()
        .map(|tag| {
            let extra = event(255, [0; 3]).set(Field::INITIATOR_TASK_TAG, tag);
            Case::new(format!("{tag:#x}"), Setup::reading())
                .rules([behind_command(0, extra)])
                .expect(goes_on(255, &[]))
        })
        .collect()
}

fn e13() -> Vec<Case> {
    let asks = |seconds| event(1, [0, 0, seconds]);
    let five = Duration::from_secs(5);
    let own = Expect::All(vec![
        Expect::Works,
        Expect::Count(logout(), 1..=1),
        Expect::Connections(1..=1),
    ]);
    let logging_out = Setup::normal().jobs([Job::read(0, 8), Job::Settle, Job::Logout]);
    vec![
        Case::new("before the logout is sent", Setup::reading())
            .rules([behind_command(0, asks(5)), behind_command(0, asks(4))])
            .rule(When::receives(Opcode::ScsiCommand), Do::Ignore)
            .expect(all([closed(), logs_out(message().first(), five)])),
        Case::new("before the logout is answered", Setup::reading())
            .rules([behind_command(0, asks(5))])
            .rule(When::sends(Opcode::LogoutResponse), Do::SendBefore(asks(5)))
            .expect(all([closed(), logs_out(message().first(), five)])),
        Case::new("during a logout of the application", logging_out)
            .rule(When::sends(Opcode::LogoutResponse), Do::SendBefore(asks(5)))
            .rule(When::sends(Opcode::LogoutResponse), Do::SendBefore(asks(0)))
            .expect(own),
    ]
}

/// The end of the connection was told once.
const TOLD_ONCE: Law = Law {
    name: "one loss is told",
    check: |seen| {
        let lost = |told: &Told| {
            matches!(told, Told::ConnectionLost(_) | Told::State(SessionState::Failed(_)))
        };
        match seen.told.iter().filter(|(_, told)| lost(told)).count() {
            1 => Ok(()),
            count => Err(format!("{count} are")),
        }
    },
};

fn e14() -> Vec<Case> {
    let mut cases = Vec::new();
    for (code, parameters) in [(2, [0, 1, 2]), (3, [0, 1, 2])] {
        for (how, end) in [("closed", Do::CLOSE), ("reset", Do::RESET)] {
            let rules = || {
                [
                    behind_command(0, event(code, parameters)),
                    Rule::new(When::receives(Opcode::ScsiCommand), Do::Ignore).on(0),
                    Rule::new(When::receives(Opcode::ScsiCommand), end.clone()).on(0),
                ]
            };
            // A reset may overtake what was sent before it.
            let fails = match end {
                Do::CLOSE => fails!(LostReason::AsyncEvent(2 | 3)),
                _ => fails!(LostReason::AsyncEvent(2 | 3) | LostReason::Transport),
            };
            cases.push(
                Case::new(format!("event {code}, {how}"), Setup::reading())
                    .rules(rules())
                    .expect(all([fails, at_once(), Expect::Law(TOLD_ONCE)])),
            );
            let setup = recovering(Setup::normal()).jobs([reissued(), Job::Settle]);
            cases.push(
                Case::new(format!("event {code}, {how}, with recovery"), setup)
                    .rules(rules())
                    .expect(all([
                        Expect::Works,
                        Expect::Connections(2..=2),
                        Expect::Law(TOLD_ONCE),
                        Expect::Waits(1, Duration::from_secs(1)..=Duration::from_secs(3)),
                    ])),
            );
        }
    }
    cases
}
