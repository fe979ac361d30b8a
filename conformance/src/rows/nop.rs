//! N: NOP.

use core::time::Duration;

use iscsi_core::config::{Recovery, Timeouts};
use iscsi_core::testing::{Do, Extra, Faults, Field, Rule, Told, When};
use iscsi_core::wire::Opcode;
use iscsi_core::{Direction, LostReason, OnLoss, Timer};

use super::common::{all, at_once, soliciting};
use crate::case::{Case, Job, Request, Row, Setup};
use crate::expect::{Expect, Is, Law, Pdus};
use crate::{breaks, fails, format_breaks, pattern};

pub(crate) fn rows() -> Vec<Row> {
    vec![
        Row::pass("N-01", n01()),
        Row::pass("N-02", n02()),
        Row::pass("N-03", n03()),
        Row::pass("N-04", n04()),
        Row::pass("N-05", n05())
            .note("our pings carry no data, so an echo differs only by being longer"),
        Row::pass("N-06", n06()),
        Row::pass("N-07", n07()),
        Row::pass("N-08", n08()),
        Row::pass("N-09", n09()),
        Row::pass("N-10", n10()),
    ]
}

const RESERVED: u64 = 0xffff_ffff;

/// A ping of the target.
fn ping(tag: u64, lun: u64) -> Extra {
    Extra::new(Opcode::NopIn).set(Field::TARGET_TRANSFER_TAG, tag).set(Field::LUN, lun)
}

fn echoes() -> Pdus {
    Pdus::sent(Opcode::NopOut).with(Field::INITIATOR_TASK_TAG, RESERVED)
}

/// Every ping of ours.
fn own_pings() -> Pdus {
    Pdus::sent(Opcode::NopOut).with(Field::TARGET_TRANSFER_TAG, RESERVED)
}

/// The ping is answered once, with its tag and its LUN.
fn answered(tag: u64, lun: u64) -> Expect {
    all([
        Expect::Works,
        Expect::Connections(1..=1),
        Expect::Count(echoes(), 1..=1),
        Expect::Answered(
            Pdus::received(Opcode::NopIn).with(Field::TARGET_TRANSFER_TAG, tag),
            echoes(),
            Duration::from_millis(1),
        ),
        Expect::Field(echoes(), Field::TARGET_TRANSFER_TAG, Is::Value(tag)),
        Expect::Field(echoes(), Field::LUN, Is::Value(lun)),
        Expect::Field(echoes(), Field::IMMEDIATE, Is::Value(1)),
        Expect::Length(echoes(), Is::Value(0)),
    ])
}

fn n01() -> Vec<Case> {
    let command = |n| Pdus::sent(Opcode::ScsiCommand).nth(n);
    let next = |field| Is::Same(command(0), field, 1);
    let unmoved = all([
        Expect::Field(echoes(), Field::CMD_SN, next(Field::CMD_SN)),
        Expect::Field(command(1), Field::CMD_SN, next(Field::CMD_SN)),
    ]);
    let in_task = When::receives(Opcode::ScsiCommand);
    let closed = Setup::reading().with(|s| s.window = 1);
    vec![
        Case::new("nothing else happens", Setup::reading())
            .rule(When::LoggedIn, Do::Send(ping(0x1234, 0)))
            .expect(answered(0x1234, 0)),
        Case::new("during a read", Setup::reading())
            .rule(in_task.clone(), Do::Send(ping(0, 5 << 48)))
            .expect(all([answered(0, 5 << 48), unmoved.clone()])),
        Case::new("during a write", soliciting())
            .rule(When::sends(Opcode::R2t), Do::Send(ping(0xffff_fffe, 1 << 48)))
            .expect(all([answered(0xffff_fffe, 1 << 48), unmoved.clone()])),
        Case::new("the window is closed", closed)
            .rule(in_task.clone(), Do::Window(0))
            .rule(in_task, Do::Send(ping(7, 0)))
            .rule(When::receives(Opcode::NopOut), Do::Window(8))
            .expect(all([answered(7, 0), unmoved])),
        Case::new("in a discovery session", Setup::discovery())
            .rule(When::LoggedIn, Do::Send(ping(9, 0)))
            .expect(answered(9, 0)),
    ]
}

fn n02() -> Vec<Case> {
    let update = || Extra::new(Opcode::NopIn);
    let none = all([
        Expect::Works,
        Expect::Connections(1..=1),
        Expect::Count(Pdus::sent(Opcode::NopOut), 0..=0),
    ]);
    // Nothing may be sent until the update opens the window.
    let second = || When::At(Duration::from_secs(1));
    let closed = Setup::reading().with(|s| s.window = 0);
    vec![
        Case::new("during a read", Setup::reading())
            .rule(When::receives(Opcode::ScsiCommand), Do::Send(update()))
            .expect(none.clone()),
        Case::new("it opens the window", closed)
            .honest(Setup::reading())
            .rule(second(), Do::Window(8))
            .rule(second(), Do::Send(update()))
            .expect(all([none, Expect::Law(COMMANDS_AFTER_A_SECOND)])),
        Case::new("it tells of a lost status", Setup::reading())
            .rule(
                When::receives(Opcode::ScsiCommand),
                Do::Send(update().set(Field::STAT_SN, 0x100)),
            )
            .expect(all([breaks!(StatSn { .. }), at_once()])),
    ]
}

/// No command was sent in the first second.
const COMMANDS_AFTER_A_SECOND: Law = Law {
    name: "the first command was sent after a second",
    check: |seen| {
        let is_command = |e: &&iscsi_core::testing::Entry| {
            Opcode::of(&e.bhs) == Some(Opcode::ScsiCommand) && e.direction == Direction::Sent
        };
        match seen.pdus.iter().find(is_command) {
            Some(entry) if entry.at.as_micros() == 1_000_000 => Ok(()),
            other => Err(format!("{:?}", other.map(|entry| entry.at))),
        }
    },
};

fn n03() -> Vec<Case> {
    let both = ping(5, 0).set(Field::INITIATOR_TASK_TAG, 0x10);
    let setup = Setup::normal().jobs([Job::Ping, Job::Settle]);
    vec![
        Case::new("unasked", Setup::reading())
            .rule(When::receives(Opcode::ScsiCommand), Do::Send(both))
            .expect(all([format_breaks!(BothNopTags), at_once()])),
        Case::new("an echo", setup)
            .rule(When::sends(Opcode::NopIn), Do::Set(Field::TARGET_TRANSFER_TAG, 5))
            .expect(all([format_breaks!(BothNopTags), at_once()])),
    ]
}

fn n04() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, tag) in [("a ping", 5), ("an update", RESERVED)] {
        for length in [1, 4, 512] {
            let extra = ping(tag, 0).data(&vec![0x77; length]);
            cases.push(
                Case::new(format!("{name} with {length} bytes"), Setup::reading())
                    .rule(When::receives(Opcode::ScsiCommand), Do::Send(extra))
                    .expect(all([
                        format_breaks!(UnsolicitedNopData(_)),
                        Expect::Count(echoes(), 0..=0),
                        at_once(),
                    ])),
            );
        }
    }
    cases
}

fn pinging() -> Setup {
    Setup::normal().jobs([Job::Ping, Job::Settle])
}

fn n05() -> Vec<Case> {
    [1, 4, 512]
        .into_iter()
        .map(|length| {
            Case::new(format!("{length} bytes"), pinging())
                .rule(When::sends(Opcode::NopIn), Do::Data(vec![0; length]))
                .expect(all([breaks!(NopEcho), at_once()]))
        })
        .collect()
}

fn n06() -> Vec<Case> {
    let unknown =
        || Extra::new(Opcode::NopIn).numbered().set(Field::INITIATOR_TASK_TAG, 0x0bad_0000);
    let broken = || all([breaks!(UnknownTask(_)), at_once()]);
    let of_command =
        Extra::new(Opcode::NopIn).numbered().of_task().set(Field::TARGET_TRANSFER_TAG, RESERVED);
    vec![
        Case::new("nothing was sent", Setup::reading())
            .rule(When::receives(Opcode::ScsiCommand), Do::Send(unknown()))
            .expect(broken()),
        Case::new("the tag of a command", Setup::reading())
            .rule(When::receives(Opcode::ScsiCommand), Do::Send(of_command.clone()))
            .expect(broken()),
        Case::new("another tag than the ping's", pinging())
            .rule(When::sends(Opcode::NopIn), Do::Set(Field::INITIATOR_TASK_TAG, 0x0bad_0000))
            .expect(broken()),
        Case::new("twice", pinging())
            .rule(When::sends(Opcode::NopIn), Do::Send(of_command))
            .expect(broken()),
    ]
}

/// Over after this many seconds.
fn over_after(seconds: u64) -> Expect {
    let time = Duration::from_secs(seconds);
    Expect::OverAt(time..=time + Duration::from_millis(1))
}

fn n07() -> Vec<Case> {
    let silent = || Rule::new(When::receives_each(Opcode::NopOut), Do::Ignore);
    let timed_out = || fails!(LostReason::TimedOut(Timer::NopOut));
    let idle = || Setup::normal().jobs([Job::sleep(20)]);
    let quick = Timeouts {
        nop_interval: Some(Duration::from_secs(1)),
        nop_timeout: Duration::from_secs(2),
        ..Timeouts::DEFAULT
    };
    let recovery = Recovery { verify: false, ..Recovery::lasting(Duration::from_secs(60)) };
    let mut again =
        Request::new(&iscsi_core::testing::Disk::read10(0, 8), iscsi_core::Transfer::In(4096));
    again.on_loss = OnLoss::Reissue;
    let back = Setup::normal().config(|c| c.recovery(recovery)).jobs([again.job(), Job::Settle]);
    vec![
        Case::new("a ping of the application", pinging()).rules([silent()]).expect(all([
            timed_out(),
            over_after(5),
            Expect::Count(own_pings(), 1..=1),
        ])),
        Case::new("nothing else happens", idle()).rules([silent()]).expect(all([
            timed_out(),
            over_after(10),
            Expect::Count(own_pings(), 1..=1),
        ])),
        Case::new("other times", idle().config(|c| c.timeouts(quick)))
            .rules([silent()])
            .expect(all([timed_out(), over_after(3), Expect::Count(own_pings(), 1..=1)])),
        Case::new("a task waits", Setup::reading())
            .rules([silent()])
            .rule(When::receives(Opcode::ScsiCommand), Do::Ignore)
            .expect(all([
                timed_out(),
                over_after(10),
                Expect::Task(0, pattern!(Told::Lost { .. })),
            ])),
        Case::new("with session recovery", back)
            .rules([
                Rule::new(When::receives(Opcode::ScsiCommand), Do::SILENCE).on(0),
                Rule::new(When::receives(Opcode::NopOut), Do::Ignore).on(0),
            ])
            .expect(all([Expect::Works, Expect::Connections(2..=2)])),
    ]
}

/// How many pings come in a row.
const MANY: u64 = 1000;

/// Each of a thousand pings was answered, in its turn.
const ALL_ANSWERED: Law = Law {
    name: "a thousand pings are answered in their order",
    check: |seen| {
        let tags = seen.pdus.iter().filter(|entry| {
            entry.direction == Direction::Sent
                && Opcode::of(&entry.bhs) == Some(Opcode::NopOut)
                && Field::INITIATOR_TASK_TAG.get(&entry.bhs) == RESERVED
        });
        let tags: Vec<u64> = tags.map(|entry| Field::TARGET_TRANSFER_TAG.get(&entry.bhs)).collect();
        match (0..MANY).eq(tags.iter().copied()) {
            true => Ok(()),
            false => Err(format!("{} answers", tags.len())),
        }
    },
};

fn n08() -> Vec<Case> {
    let flood = || {
        let command = || When::receives(Opcode::ScsiCommand);
        (0..MANY).map(move |tag| Rule::new(command(), Do::Send(ping(tag, 0))))
    };
    let expect = all([
        Expect::Works,
        Expect::Connections(1..=1),
        Expect::TaskGood(0),
        Expect::Law(ALL_ANSWERED),
    ]);
    // Answers leave more slowly than pings arrive.
    let latency = Duration::from_micros(100);
    let narrow = Faults { latency, window: 97, ..Faults::NONE };
    let slow = Setup::reading().with(|s| s.faults = [narrow, Faults::NONE]);
    vec![
        Case::new("answers go out at once", Setup::reading()).rules(flood()).expect(expect.clone()),
        Case::new("answers go out slowly", slow).rules(flood()).expect(expect),
    ]
}

fn n09() -> Vec<Case> {
    [0x00ff << 48, 0x4fff << 48, u64::MAX]
        .into_iter()
        .map(|lun| {
            Case::new(format!("{lun:#x}"), Setup::reading())
                .rule(When::receives(Opcode::ScsiCommand), Do::Send(ping(5, lun)))
                .expect(answered(5, lun))
        })
        .collect()
}

fn n10() -> Vec<Case> {
    let command = |n| Pdus::sent(Opcode::ScsiCommand).nth(n);
    let form = || {
        all([
            Expect::Works,
            Expect::Field(own_pings(), Field::INITIATOR_TASK_TAG, Is::Not(RESERVED)),
            Expect::Field(own_pings(), Field::LUN, Is::Value(0)),
            Expect::Field(own_pings(), Field::FINAL, Is::Value(1)),
            Expect::Field(own_pings(), Field::IMMEDIATE, Is::Value(1)),
            Expect::Length(own_pings(), Is::AtMost(512)),
        ])
    };
    let short = |setup: Setup| setup.target(|l| l.max_recv_data_segment_length = 512);
    let between = Setup::normal().jobs([Job::read(0, 8), Job::Settle, Job::Ping, Job::Settle]);
    let is_next = |pdus| Expect::Field(pdus, Field::CMD_SN, Is::Same(command(0), Field::CMD_SN, 1));
    vec![
        Case::new("asked for", short(between)).expect(all([
            form(),
            Expect::Count(own_pings(), 1..=1),
            // It takes no number.
            is_next(own_pings()),
            is_next(command(1)),
        ])),
        Case::new("asked for twice", Setup::normal().jobs([Job::Ping, Job::Ping, Job::Settle]))
            .rule(When::sends(Opcode::NopIn), Do::Late(Duration::from_secs(1)))
            .expect(all([form(), Expect::Count(own_pings(), 1..=1)])),
        Case::new("after five seconds of silence", short(Setup::normal().jobs([Job::sleep(18)])))
            .expect(all([form(), Expect::Count(own_pings(), 3..=3)])),
    ]
}
