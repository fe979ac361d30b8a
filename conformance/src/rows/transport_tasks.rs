//! Z-07 to Z-15: what becomes of tasks and requests; connections that are not made, or are gone in silence.

use iscsi_core::config::{Recovery, Retry};
use iscsi_core::testing::{Disk, Do, End, Field, Rig, Rule, Told, When};
use iscsi_core::text::Limits;
use iscsi_core::wire::Opcode;
use iscsi_core::{
    Instant, LostReason, Lun, OnLoss, SessionState, SubmitError, TaskManagement, Timer, Transfer,
    Verdict as Devices,
};

use super::common::{all, at_once};
use super::transport::{coming_back, commands, exactly, for_ever, lost_at, reinstated, seconds};
use crate::case::{Case, Direct, Job, Request, Row, Setup, Verdict};
use crate::expect::{Expect, Is, Law, Pdus};
use crate::{fails, pattern};

pub(crate) fn rows() -> Vec<Row> {
    vec![
        Row::pass("Z-07", z07()),
        Row::pass("Z-08", z08()),
        Row::pass("Z-09", z09())
            .note("no memory of the application is held between two calls, and no socket at all; a handle of iscsi-runtime-std closes its socket"),
        Row::new("Z-10", Verdict::Direct(Direct { name: "every session draws its ISID", check: z10 }))
            .note("a session knows of no other one: who configures an ISID keeps it apart from that of other sessions"),
        Row::new(
            "Z-11",
            Verdict::NotApplicable("a session has one connection: MaxConnections is 1"),
        ),
        Row::pass("Z-12", z12())
            .note("the session waits until the application says so; iscsi-disk compares identity and size"),
        Row::pass("Z-13", z13()).note("why it was not made is known to the runtime, which resolves names and connects"),
        Row::pass("Z-14", z14()),
        Row::pass("Z-15", z15()),
    ]
}

/// A write of one block.
fn write(on_loss: OnLoss) -> Job {
    let cdb = Disk::write10(4, 1);
    Request { on_loss, ..Request::new(&cdb, Transfer::Out(512)) }.job()
}

fn z07() -> Vec<Case> {
    let writes = |connection| commands().on(connection).with(Field::OPERATION_CODE, 0x2a);
    let setup = |on_loss| for_ever(Setup::normal()).jobs([write(on_loss), Job::Settle]);
    let unknown = || {
        all([
            Expect::GoesOn,
            Expect::Task(0, pattern!(Told::Lost { .. })),
            Expect::Count(writes(0), 1..=1),
            Expect::Count(writes(1), 0..=0),
            reinstated(),
        ])
    };
    // The target has done it, and its answer is lost.
    let answer_lost =
        Rule::new(When::sends(Opcode::ScsiResponse), Do::Cut { at: 0, end: End::Reset }).on(0);
    vec![
        Case::new("not answered", setup(OnLoss::Report))
            .rules(lost_at(0, End::Reset))
            .expect(unknown()),
        Case::new("the answer is lost", setup(OnLoss::Report))
            .rules([answer_lost.clone()])
            .expect(unknown()),
        Case::new("the data is on its way", {
            setup(OnLoss::Report).config(|c| c.immediate_data(false).initial_r2t(true))
        })
        .rules([Rule::new(When::sends(Opcode::R2t), Do::RESET).on(0)])
        .expect(unknown()),
        Case::new("declared to be repeatable", setup(OnLoss::Reissue)).rules([answer_lost]).expect(
            all([
                Expect::Works,
                Expect::TaskGood(0),
                Expect::Count(writes(0), 1..=1),
                Expect::Count(writes(1), 1..=1),
                reinstated(),
            ]),
        ),
    ]
}

fn z08() -> Vec<Case> {
    let reset = Setup::reading();
    let dead = |job: Job| {
        let jobs = [Job::read(0, 8), Job::Settle, job, Job::Settle];
        Case::new(format!("failed: {:?}", jobs[2]), reset.clone().jobs(jobs))
            .rules(lost_at(0, End::Reset))
            .honest(Setup::reading())
            .expect(all([
                fails!(LostReason::Transport),
                at_once(),
                Expect::Refused(2, pattern!(SubmitError::NotOpen | SubmitError::NoSuchTask)),
            ]))
    };
    let mut cases = vec![
        dead(Job::read(0, 8)),
        dead(Job::write(0, 8)),
        dead(Job::Manage(TaskManagement::LogicalUnitReset(Lun::ZERO))),
        dead(Job::Abort(0)),
        dead(Job::Discover),
        dead(Job::Logout),
        dead(Job::ForceReconnect),
    ];
    // While it waits, what there is room for is kept.
    let jobs = [Job::read(0, 8), Job::sleep(1)].into_iter();
    let jobs = jobs.chain((0..9).map(|n| Job::read(n, 2))).chain([Job::Settle]);
    let queued = for_ever(Setup::normal()).jobs(jobs);
    cases.push(
        Case::new("waiting", queued).rules(lost_at(0, End::Reset)).honest(Setup::reading()).expect(
            all([
                Expect::GoesOn,
                Expect::Task(0, pattern!(Told::Lost { .. })),
                Expect::All((1..9).map(Expect::TaskGood).collect()),
                Expect::Refused(10, pattern!(SubmitError::NoFreeTask)),
                Expect::Count(commands().on(0), 1..=1),
            ]),
        ),
    );
    let waiting = |job: Job, expect: Expect| {
        let jobs = [Job::read(0, 8), Job::sleep(1), job, Job::Settle];
        Case::new(format!("waiting: {:?}", jobs[2]), for_ever(Setup::normal()).jobs(jobs))
            .rules(lost_at(0, End::Reset))
            .honest(Setup::reading())
            .expect(all([expect, Expect::Task(0, pattern!(Told::Lost { .. }))]))
    };
    cases.extend([
        waiting(
            Job::Discover,
            all([Expect::TaskGood(1), Expect::Refused(2, pattern!(SubmitError::NotOpen))]),
        ),
        waiting(Job::Ping, Expect::GoesOn),
        waiting(Job::Logout, Expect::Ends(pattern!(SessionState::Closed))),
    ]);
    cases
}

fn z09() -> Vec<Case> {
    let late = |kind, n| Rule::new(When::sends_nth(kind, n), Do::Late(seconds(2)));
    let parts = Setup::normal().service(|s| s.segment = 512);
    let reading = parts.jobs([Job::read(0, 8), Job::sleep(1), Job::Revoke(0), Job::Settle]);
    let soliciting = Setup::normal().config(|c| c.immediate_data(false).initial_r2t(true)).jobs([
        Job::write(4, 16),
        Job::sleep(1),
        Job::Revoke(0),
        Job::sleep(5),
        Job::Settle,
    ]);
    vec![
        Case::new("while data arrive", reading.clone())
            .rules([late(Opcode::DataIn, 4)])
            .honest(Setup::reading())
            .expect(Expect::GoesOn),
        Case::new("in the middle of a PDU", reading)
            .rules([Rule::new(When::sends_nth(Opcode::DataIn, 4), Do::Split(vec![200])), {
                Rule::new(When::Bytes(3500), Do::Late(seconds(2)))
            }])
            .honest(Setup::reading())
            .expect(Expect::GoesOn),
        Case::new("before its data are asked for", soliciting)
            .rules([late(Opcode::R2t, 0)])
            .honest(Setup::writing())
            .expect(all([
                Expect::Count(Pdus::sent(Opcode::DataOut), 0..=0),
                Expect::Ends(pattern!(
                    SessionState::LoggedIn | SessionState::Failed(LostReason::Aborted)
                )),
            ])),
    ]
}

/// Sessions that run at the same time have ISIDs of their own.
fn z10(sound: bool) -> Result<(), String> {
    let isid = |seed: u64| {
        let config = Rig::config().build().map_err(|error| error.to_string())?;
        let mut rig = Rig::new(config, Limits::DEFAULT, if sound { seed } else { 1 });
        rig.log_in();
        rig.driver.session.isid().ok_or_else(|| "there is none".to_owned())
    };
    let mut seen = Vec::new();
    for seed in 1..=200 {
        let isid = isid(seed)?;
        if seen.contains(&isid) {
            return Err(format!("{isid:?} twice"));
        }
        seen.push(isid);
    }
    Ok(())
}

/// On the second connection no command was sent before the fifth second.
const NOT_BEFORE: Law = Law {
    name: "nothing is issued before the devices are verified",
    check: |seen| {
        let verified = Instant::ZERO + seconds(5);
        match commands().on(1).first().find(seen).first() {
            Some(entry) if entry.at >= verified => Ok(()),
            other => Err(format!("{:?}", other.map(|entry| entry.at))),
        }
    },
};

fn z12() -> Vec<Case> {
    let read = |lun: Lun| Request { lun, ..Request::reissued_read(0, 8) }.job();
    let other = Lun::new(1).expect("a LUN");
    let jobs = [read(Lun::ZERO), read(other), Job::Settle];
    let changed = |lun| {
        for_ever(Setup::normal())
            .with(|s| s.devices = Some(Devices::Changed(lun)))
            .jobs(jobs.clone())
    };
    let silent = || for_ever(Setup::normal()).with(|s| s.devices = None);
    let lost = |n| Expect::Task(n, pattern!(Told::Lost { reason: LostReason::DeviceChanged, .. }));
    let never = Recovery { retry: Retry::For(seconds(90)), ..Recovery::FOREVER };
    vec![
        Case::new("the same", for_ever(Setup::normal()).jobs(jobs.clone()))
            .rules(lost_at(1, End::Reset))
            .expect(all([Expect::Works, Expect::Told(pattern!(Told::NeedVerify)), reinstated()])),
        Case::new("another disk at LUN 0", changed(Lun::ZERO))
            .rules(lost_at(1, End::Reset))
            .expect(all([Expect::GoesOn, lost(0), Expect::TaskGood(1), reinstated()])),
        Case::new("another disk at LUN 1", changed(other))
            .rules(lost_at(1, End::Reset))
            .expect(all([Expect::GoesOn, lost(1), Expect::TaskGood(0), reinstated()])),
        Case::new("verified later", {
            silent().jobs([
                read(Lun::ZERO),
                Job::sleep(5),
                Job::Verified(Devices::Same),
                Job::Settle,
            ])
        })
        .rules(lost_at(0, End::Reset))
        .expect(all([Expect::Works, Expect::Law(NOT_BEFORE), reinstated()])),
        Case::new("never verified", {
            silent().config(|c| c.recovery(never)).jobs([read(Lun::ZERO), Job::Settle])
        })
        .rules(lost_at(0, End::Reset))
        .expect(all([
            fails!(LostReason::TimedOut(Timer::Recovery)),
            Expect::Told(pattern!(Told::ConnectionLost(LostReason::TimedOut(Timer::Verify)))),
            Expect::Count(commands(), 1..=1),
        ])),
    ]
}

fn z13() -> Vec<Case> {
    let connect = |act| Rule::new(When::Connects, act);
    let four = iscsi_core::config::Timeouts {
        connect: seconds(4),
        ..iscsi_core::config::Timeouts::DEFAULT
    };
    let timed_out = || fails!(LostReason::TimedOut(Timer::Connect));
    let again = Setup::normal().jobs([Job::sleep(1), Job::Open]);
    vec![
        Case::new("refused", Setup::normal()).rules([connect(Do::Refuse)]).expect(all([
            fails!(LostReason::ConnectFailed),
            at_once(),
            Expect::Connections(1..=1),
        ])),
        Case::new("no answer", Setup::normal()).rules([connect(Do::Ignore)]).expect(all([
            timed_out(),
            Expect::OverAt(exactly(10)),
            Expect::Connections(1..=1),
        ])),
        Case::new("no answer for four seconds", Setup::normal().config(|c| c.timeouts(four)))
            .rules([connect(Do::Ignore)])
            .expect(all([timed_out(), Expect::OverAt(exactly(4))])),
        Case::new("a task that waits", Setup::reading().with(|s| s.early = true))
            .rules([connect(Do::Ignore)])
            .expect(all([
                timed_out(),
                Expect::Task(
                    0,
                    pattern!(Told::Lost { reason: LostReason::TimedOut(Timer::Connect), .. }),
                ),
            ])),
        // There is nothing to come back to.
        Case::new("with a policy for losses", for_ever(Setup::normal()))
            .rules([connect(Do::Refuse)])
            .expect(all([
                fails!(LostReason::ConnectFailed),
                at_once(),
                Expect::Connections(1..=1),
            ])),
        Case::new("opened again", again).rules([connect(Do::Refuse).on(0)]).expect(all([
            Expect::Works,
            Expect::Connections(2..=2),
            Expect::Told(pattern!(Told::State(SessionState::Failed(LostReason::ConnectFailed)))),
        ])),
    ]
}

fn z14() -> Vec<Case> {
    let gone = || fails!(LostReason::TimedOut(Timer::NopOut));
    let silent = |n| {
        let when = When::receives_nth(Opcode::ScsiCommand, n);
        [Rule::new(when.clone(), Do::Ignore).on(0), Rule::new(when, Do::SILENCE).on(0)]
    };
    let idle = Setup::normal().jobs([Job::sleep(30)]);
    let pings = || Expect::Count(Pdus::sent(Opcode::NopOut), 1..=1);
    vec![
        Case::new("idle", idle).rules([Rule::new(When::LoggedIn, Do::SILENCE)]).expect(all([
            gone(),
            Expect::OverAt(exactly(10)),
            pings(),
        ])),
        Case::new("with a task", Setup::reading()).rules(silent(0)).expect(all([
            gone(),
            Expect::OverAt(exactly(10)),
            pings(),
            Expect::Task(
                0,
                pattern!(Told::Lost { reason: LostReason::TimedOut(Timer::NopOut), .. }),
            ),
        ])),
        Case::new("a session that comes back", coming_back()).rules(silent(0)).expect(all([
            Expect::Works,
            reinstated(),
            Expect::Waits(1, exactly(2)),
        ])),
        Case::new("a peer that answers pings is not gone", {
            Setup::normal().jobs([Job::sleep(60)])
        })
        .expect(all([
            Expect::Works,
            Expect::Connections(1..=1),
            Expect::Count(Pdus::sent(Opcode::NopOut), 10..=13),
        ])),
    ]
}

fn z15() -> Vec<Case> {
    let aborts = || Pdus::sent(Opcode::TaskManagementRequest).with(Field::FUNCTION, 1);
    let aborted = || {
        all([
            Expect::GoesOn,
            Expect::Count(aborts(), 1..=1),
            Expect::Field(
                aborts(),
                Field::REFERENCED_TASK_TAG,
                Is::Same(commands().first(), Field::INITIATOR_TASK_TAG, 0),
            ),
            Expect::Field(
                aborts(),
                Field::REF_CMD_SN,
                Is::Same(commands().first(), Field::CMD_SN, 0),
            ),
        ])
    };
    let lost = || Expect::Task(0, pattern!(Told::Lost { reason: LostReason::Aborted, .. }));
    let aborting = |setup: Setup| setup.jobs([Job::read(0, 8), Job::Abort(0), Job::Settle]);
    let parts = || Setup::normal().service(|s| s.segment = 512);
    let managed = || When::receives(Opcode::TaskManagementRequest);
    vec![
        Case::new("not answered", aborting(Setup::normal()))
            .rule(When::receives(Opcode::ScsiCommand), Do::Ignore)
            .honest(Setup::reading())
            .expect(all([aborted(), lost(), Expect::Untouched(0)])),
        // The data come while the abort is under way: the task is good, or its end is known.
        Case::new("data come first", aborting(parts()))
            .rules(
                (0..8).map(|n| Rule::new(When::sends_nth(Opcode::DataIn, n), Do::hold(managed()))),
            )
            .honest(Setup::reading())
            .expect(all([aborted(), Expect::Any(vec![Expect::TaskGood(0), lost()])])),
        // Nothing may be asked of memory that is gone; the session would fail for it.
        Case::new("the memory is taken away", {
            Setup::normal().jobs([Job::read(0, 8), Job::Revoke(0), Job::Settle])
        })
        .rule(When::sends(Opcode::DataIn), Do::Late(seconds(3)))
        .honest(Setup::reading())
        .expect(Expect::GoesOn),
        Case::new("the memory of a write is taken away", {
            Setup::normal().config(|c| c.immediate_data(false).initial_r2t(true)).jobs([
                Job::write(0, 8),
                Job::Revoke(0),
                Job::Settle,
            ])
        })
        .rule(When::receives(Opcode::ScsiCommand), Do::Ignore)
        .honest(Setup::reading())
        .expect(all([aborted(), Expect::Count(Pdus::sent(Opcode::DataOut), 0..=0)])),
        Case::new("the end is not wanted", {
            Setup::normal().jobs([Job::read(0, 8), Job::Detach(0), Job::Settle])
        })
        .rule(When::sends(Opcode::DataIn), Do::Late(seconds(3)))
        .honest(Setup::reading())
        .expect(Expect::GoesOn),
    ]
}
