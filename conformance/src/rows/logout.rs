//! O: logout.

use core::time::Duration;

use iscsi_core::config::{Recovery, Timeouts};
use iscsi_core::testing::{Do, Extra, Field, Rule, Told, When};
use iscsi_core::wire::{LogoutResponse, LogoutResponseCode, Opcode};
use iscsi_core::{LostReason, SessionState, SubmitError, Timer};

use super::common::{all, at_once};
use crate::case::{Case, Job, Row, Setup};
use crate::expect::{Expect, Is, Law, Pdus};
use crate::{breaks, fails, pattern};

pub(crate) fn rows() -> Vec<Row> {
    vec![
        Row::pass("O-01", o01()),
        Row::pass("O-02", o02())
            .note("a session that the application opens again is opened at once; the response tells the time to wait"),
        Row::pass("O-03", o03()),
        Row::pass("O-04", o04()),
        Row::pass("O-05", o05()),
        Row::pass("O-06", o06()),
        Row::pass("O-07", o07()),
        Row::pass("O-08", o08()),
        Row::pass("O-09", o09()),
    ]
}

fn requests() -> Pdus {
    Pdus::sent(Opcode::LogoutRequest)
}

/// Reads, logs out, and that is all.
fn leaving() -> Setup {
    Setup::normal().jobs([Job::read(0, 8), Job::Settle, Job::Logout, Job::Settle])
}

fn closed() -> Expect {
    Expect::Ends(pattern!(SessionState::Closed))
}

/// The Logout Request is the last that was sent on each connection that has one.
const LAST_WORD: Law = Law {
    name: "nothing follows a Logout Request",
    check: |seen| {
        let all = Pdus::all_sent().find(seen);
        let requests: Vec<_> = requests().find(seen);
        if requests.is_empty() {
            return Err("there is none".into());
        }
        for request in requests {
            let on = |entry: &&&iscsi_core::testing::Entry| entry.connection == request.connection;
            let last = all.iter().rfind(on).copied();
            if last != Some(request) {
                return Err(format!("{:?} follows", last.map(|entry| Opcode::of(&entry.bhs))));
            }
        }
        Ok(())
    },
};

fn o01() -> Vec<Case> {
    let request = all([
        Expect::Works,
        Expect::Count(requests(), 1..=1),
        Expect::Field(requests(), Field::LOGOUT_REASON, Is::Value(0)),
        Expect::Field(requests(), Field::FINAL, Is::Value(1)),
        Expect::Field(requests(), Field::TOTAL_AHS_LENGTH, Is::Value(0)),
        // CID and the bytes behind it have no meaning when the session is closed.
        Expect::Field(requests(), Field::bytes(20, 4), Is::Value(0)),
        Expect::Length(requests(), Is::Value(0)),
        Expect::Law(LAST_WORD),
    ]);
    let refused = leaving().jobs([Job::read(0, 8), Job::Logout, Job::read(8, 8), Job::Settle]);
    let waits = Rule::new(When::sends(Opcode::LogoutResponse), Do::Late(Duration::from_secs(3)));
    vec![
        Case::new("closed", leaving()).expect(all([request.clone(), closed(), at_once()])),
        Case::new("the answer takes time", leaving()).rules([waits.clone()]).expect(all([
            request.clone(),
            closed(),
            Expect::OverAt(Duration::from_secs(3)..=Duration::from_secs(3)),
        ])),
        Case::new("opened again", Setup::logging_out()).expect(all([
            request,
            Expect::Connections(2..=2),
            Expect::Told(pattern!(Told::State(SessionState::Closed))),
        ])),
        Case::new("a command behind it", refused).rules([waits]).honest(leaving()).expect(all([
            Expect::TaskGood(0),
            Expect::Refused(2, pattern!(SubmitError::LoggingOut)),
            Expect::Law(LAST_WORD),
            closed(),
        ])),
        Case::new("with a ping under way", {
            leaving().jobs([Job::read(0, 8), Job::Ping, Job::Logout, Job::Settle])
        })
        .expect(all([Expect::Works, Expect::Law(LAST_WORD), closed()])),
    ]
}

fn o02() -> Vec<Case> {
    let set = |field, value| Rule::new(When::sends(Opcode::LogoutResponse), Do::Set(field, value));
    let mut cases = Vec::new();
    for (code, told) in [
        (1, pattern!(Some(LogoutResponse { response: LogoutResponseCode::CidNotFound, .. }))),
        (
            2,
            pattern!(Some(LogoutResponse {
                response: LogoutResponseCode::RecoveryNotSupported,
                time2wait: 7,
                time2retain: 20,
                ..
            })),
        ),
        (
            3,
            pattern!(Some(LogoutResponse {
                response: LogoutResponseCode::CleanupFailed,
                time2wait: 7,
                time2retain: 20,
                ..
            })),
        ),
    ] {
        let rules =
            [set(Field::RESPONSE, code), set(Field::TIME2WAIT, 7), set(Field::TIME2RETAIN, 20)];
        cases.push(Case::new(format!("response {code}"), leaving()).rules(rules).expect(all([
            Expect::Works,
            closed(),
            at_once(),
            Expect::LoggedOut(told),
            Expect::Connections(1..=1),
        ])));
    }
    // The target asks for a logout, and the session comes back: after the time of the response, if that counts.
    let asks = Extra::new(Opcode::AsyncMessage)
        .numbered()
        .set(Field::ASYNC_EVENT, 1)
        .set(Field::PARAMETER3, 5);
    for (code, seconds) in [(0, 2), (1, 2), (2, 7), (3, 7)] {
        let setup = Setup::reading().config(|c| c.recovery(Recovery::FOREVER));
        let wait = Duration::from_secs(seconds);
        cases.push(
            Case::new(format!("response {code}, and back"), setup)
                .rules([
                    set(Field::RESPONSE, code),
                    set(Field::TIME2WAIT, 7),
                    Rule::new(When::sends(Opcode::DataIn), Do::Send(asks.clone())).on(0),
                ])
                .expect(all([
                    Expect::Works,
                    Expect::Connections(2..=2),
                    Expect::Waits(1, wait..=wait),
                ])),
        );
    }
    cases
}

fn o03() -> Vec<Case> {
    let silent = |name: &str, act| {
        Case::new(name, leaving()).rule(When::receives(Opcode::LogoutRequest), act).expect(all([
            fails!(LostReason::TimedOut(Timer::Logout)),
            Expect::OverAt(Duration::from_secs(15)..=Duration::from_secs(15)),
            Expect::TaskGood(0),
        ]))
    };
    vec![silent("no answer", Do::Ignore), silent("nothing more at all", Do::SILENCE)]
}

fn o04() -> Vec<Case> {
    [1, -1, 1 << 16]
        .into_iter()
        .map(|add| {
            let act = Do::Add(Field::INITIATOR_TASK_TAG, add);
            Case::new(format!("off by {add}"), leaving())
                .rule(When::sends(Opcode::LogoutResponse), act)
                .expect(all([breaks!(UnexpectedPdu(0x26)), at_once()]))
        })
        .collect()
}

fn o05() -> Vec<Case> {
    // The task is still running when half of the time for the logout is over: the request goes out then.
    let held = |setup: Setup| {
        let no_pings = Timeouts { nop_interval: None, ..Timeouts::DEFAULT };
        let jobs = [Job::read(0, 8), Job::Logout, Job::Settle];
        setup.config(|c| c.timeouts(no_pings)).jobs(jobs)
    };
    let until = || Do::hold(When::receives(Opcode::LogoutRequest));
    let after = || Expect::OverAt(Duration::from_millis(7500)..=Duration::from_millis(7501));
    let parts = held(Setup::normal()).service(|s| s.segment = 512).service(|s| s.collapse = false);
    let stays = Case::new("nothing comes", held(Setup::normal()))
        .rule(When::receives(Opcode::ScsiCommand), Do::Ignore)
        .expect(all([
            Expect::Task(0, pattern!(Told::Lost { reason: LostReason::LoggedOut, .. })),
            Expect::Untouched(0),
            closed(),
            after(),
        ]));
    let unknown = Extra::new(Opcode::DataIn)
        .set(Field::INITIATOR_TASK_TAG, 0x00ab_cdef)
        .set(Field::BUFFER_OFFSET, 0)
        .data(&[0; 512]);
    vec![
        Case::new("the Data-In with the status", held(Setup::normal()))
            .rule(When::sends(Opcode::DataIn), until())
            .expect(all([Expect::Works, Expect::TaskGood(0), closed(), after()])),
        Case::new("Data-In in parts and a response", parts)
            .rules([
                Rule::new(When::sends_each(Opcode::DataIn), until()),
                Rule::new(When::sends(Opcode::ScsiResponse), until()),
            ])
            .expect(all([Expect::Works, Expect::TaskGood(0), closed(), after()])),
        stays,
        Case::new("Data-In of no task", leaving())
            .rule(When::receives(Opcode::LogoutRequest), Do::Send(unknown))
            .expect(all([breaks!(UnknownTask(_)), at_once(), Expect::TaskGood(0)])),
    ]
}

fn o06() -> Vec<Case> {
    let none_failed =
        || Expect::Not(Box::new(Expect::Told(pattern!(Told::State(SessionState::Failed(_))))));
    [Do::CLOSE, Do::RESET]
        .into_iter()
        .flat_map(|act| {
            [leaving(), Setup::logging_out()].map(|setup| {
                let connections = setup.jobs.iter().filter(|job| **job == Job::Open).count() + 1;
                Case::new(format!("{act:?}, {connections} connections"), setup)
                    .rules([
                        Rule::new(When::receives(Opcode::LogoutRequest), Do::Ignore),
                        Rule::new(When::receives(Opcode::LogoutRequest), act.clone()),
                    ])
                    .expect(all([
                        Expect::Works,
                        Expect::Told(pattern!(Told::State(SessionState::Closed))),
                        none_failed(),
                        Expect::Connections(connections..=connections),
                    ]))
            })
        })
        .collect()
}

fn o07() -> Vec<Case> {
    let extra = || Extra::new(Opcode::LogoutResponse).of_task().numbered().set(Field::LUN, 0);
    let case = |name: &str, setup, when| {
        Case::new(name, setup)
            .rule(when, Do::Send(extra()))
            .expect(all([breaks!(UnexpectedPdu(0x26)), at_once()]))
    };
    vec![
        case("with the tag of a command", Setup::reading(), When::receives(Opcode::ScsiCommand)),
        case("behind a read", Setup::reading(), When::sends(Opcode::DataIn)),
        case(
            "with the tag of a ping",
            Setup::normal().jobs([Job::Ping, Job::Settle]),
            When::receives(Opcode::NopOut),
        ),
        case("in a discovery session", Setup::discovery(), When::receives(Opcode::TextRequest)),
    ]
}

fn o08() -> Vec<Case> {
    let setup = Setup::discovery().jobs([Job::Discover, Job::Settle, Job::Logout, Job::Settle]);
    let expect = all([
        Expect::Works,
        closed(),
        Expect::Count(requests(), 1..=1),
        Expect::Field(requests(), Field::LOGOUT_REASON, Is::Value(0)),
        Expect::Field(requests(), Field::bytes(20, 4), Is::Value(0)),
        Expect::Law(LAST_WORD),
    ]);
    let asks = Extra::new(Opcode::AsyncMessage)
        .numbered()
        .set(Field::ASYNC_EVENT, 1)
        .set(Field::PARAMETER3, 5);
    vec![
        Case::new("the application's wish", setup.clone()).expect(expect),
        Case::new("the target's wish", setup)
            .rule(When::sends(Opcode::TextResponse), Do::Send(asks))
            .expect(all([
                closed(),
                Expect::Count(requests(), 1..=1),
                Expect::Field(requests(), Field::LOGOUT_REASON, Is::Value(0)),
            ])),
    ]
}

fn o09() -> Vec<Case> {
    let extras = [
        Extra::new(Opcode::NopIn).set(Field::TARGET_TRANSFER_TAG, 5).set(Field::LUN, 0),
        Extra::new(Opcode::NopIn),
        Extra::new(Opcode::AsyncMessage).numbered().set(Field::ASYNC_EVENT, 3),
        Extra::new(Opcode::Reject).numbered().with_header().set(Field::RESPONSE, 4),
        Extra::new(Opcode::LogoutResponse).of_task().numbered(),
        Extra::new(Opcode::DataIn).set(Field::INITIATOR_TASK_TAG, 77).data(&[0; 512]),
        Extra::with_opcode(0x2a),
    ];
    let quiet = || {
        all([
            Expect::Works,
            Expect::Law(LAST_WORD),
            Expect::Not(Box::new(Expect::Told(pattern!(Told::State(SessionState::Failed(_)))))),
            Expect::Told(pattern!(Told::State(SessionState::Closed))),
        ])
    };
    let mut cases = Vec::new();
    for setup in [leaving(), Setup::logging_out()] {
        for extra in &extras {
            let name = format!("{:#04x}, {} jobs", extra.opcode, setup.jobs.len());
            cases.push(
                Case::new(name, setup.clone())
                    .rule(When::sends(Opcode::LogoutResponse), Do::Send(extra.clone()))
                    .expect(quiet()),
            );
        }
    }
    cases
}
