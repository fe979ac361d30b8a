//! C: the command window.

use core::time::Duration;

use iscsi_core::testing::{Do, Extra, Field, Kind, Nth, Rule, Told, When};
use iscsi_core::text::Limits;
use iscsi_core::wire::{Opcode, RejectReason};
use iscsi_core::{
    CmdSn, Direction, Instant, LostReason, Lun, SubmitError, TaskManagement, Transfer,
};

use super::common::{all, soliciting, with_digests};
use crate::case::{Case, Job, Request, Row, Setup};
use crate::expect::{Expect, Is, Law, Pdus};
use crate::observe::Observation;
use crate::pattern;

pub(crate) fn rows() -> Vec<Row> {
    vec![
        Row::pass("C-01", c01()),
        Row::pass("C-02", c02()),
        Row::pass("C-03", c03()),
        Row::pass("C-04", c04()),
        Row::pass("C-05", c05()),
        Row::pass("C-06", c06()),
        Row::pass("C-07", c07()),
        Row::pass("C-08", c08()).note("the pair is ignored whole"),
        Row::pass("C-09", c09()),
        Row::pass("C-10", c10()),
        Row::pass("C-11", c11())
            .note("the task is aborted with its CmdSN as RefCmdSN; the number is not used again"),
        Row::pass("C-12", c12()),
        Row::pass("C-13", c13()),
    ]
}

/// A command that does nothing.
fn ready() -> Job {
    Job::test_unit_ready()
}

/// The same, for immediate delivery.
fn ready_now() -> Job {
    Request { immediate: true, ..Request::new(&[0; 6], Transfer::None) }.job()
}

fn first_command() -> CmdSn {
    CmdSn(100)
}

/// Numbers that a test can name: the first command has number 100.
fn numbered(setup: Setup) -> Setup {
    setup.config(|c| c.initial_cmd_sn(first_command()))
}

/// Kinds of PDUs that carry a CmdSN and come after the login.
fn has_cmd_sn(bhs: &[u8; 48]) -> bool {
    !matches!(
        Opcode::of(bhs),
        Some(Opcode::LoginRequest | Opcode::DataOut | Opcode::SnackRequest) | None
    )
}

/// Every PDU after the login carries the number that is due, and only those that are not immediate use it up.
const NUMBERS_IN_ORDER: Law = Law {
    name: "each command takes the next CmdSN, immediate ones none",
    check: |seen| {
        let sent = seen.pdus.iter().filter(|entry| entry.direction == Direction::Sent);
        let mut due = None;
        let mut counted = [0; 2];
        for entry in sent {
            let cmd_sn = CmdSn(Field::CMD_SN.get(&entry.bhs) as u32);
            let Some(next) = due.filter(|_| has_cmd_sn(&entry.bhs)) else {
                if Opcode::of(&entry.bhs) == Some(Opcode::LoginRequest) {
                    due = Some(cmd_sn);
                }
                continue;
            };
            if cmd_sn != next {
                return Err(format!("{cmd_sn} instead of {next}"));
            }
            let immediate = Field::IMMEDIATE.get(&entry.bhs) == 1;
            counted[usize::from(immediate)] += 1;
            due = Some(if immediate { next } else { next.next() });
        }
        if counted[0] > 0 { Ok(()) } else { Err("no command took a number".into()) }
    },
};

fn c01() -> Vec<Case> {
    let inquiry = || Request::new(&[0x12, 0, 0, 0, 36, 0], Transfer::In(36)).job();
    let mixed = || {
        [
            Job::read(0, 8),
            ready_now(),
            Job::write(32, 8),
            Job::Ping,
            inquiry(),
            ready_now(),
            Job::Manage(TaskManagement::LogicalUnitReset(Lun::ZERO)),
            Job::read(8, 1),
            ready(),
            ready_now(),
            Job::write(40, 16),
            inquiry(),
        ]
    };
    let at_once =
        Setup::normal().with(|s| s.depth = 32).jobs(mixed().into_iter().chain([Job::Settle]));
    let one_by_one = Setup::normal().jobs(mixed().into_iter().flat_map(|job| [job, Job::Settle]));
    [("at once", at_once), ("one by one", one_by_one)]
        .into_iter()
        .map(|(name, setup)| {
            let setup = setup.config(|c| c.initial_r2t(false));
            let immediate = Pdus::sent(Opcode::ScsiCommand).with(Field::IMMEDIATE, 1);
            Case::new(name, setup).expect(all([
                Expect::Works,
                Expect::Law(NUMBERS_IN_ORDER),
                Expect::Count(Pdus::sent(Opcode::ScsiCommand), 11..=11),
                Expect::Count(immediate, 3..=3),
            ]))
        })
        .collect()
}

/// When windows open in these tests.
const OPENS: Duration = Duration::from_secs(3);

/// Commands sent before the window opened.
fn sent_before(seen: &Observation, immediate: u64, at: Duration) -> usize {
    let commands = Pdus::sent(Opcode::ScsiCommand).with(Field::IMMEDIATE, immediate);
    commands.find(seen).iter().filter(|entry| entry.at < Instant::ZERO + at).count()
}

/// Before the window opens there is one numbered command, the one that it took; the immediate command does not wait.
const ONE_AND_IMMEDIATE: Law = Law {
    name: "one command and the immediate one in the first three seconds",
    check: |seen| match (sent_before(seen, 0, OPENS), sent_before(seen, 1, OPENS)) {
        (1, 1) => Ok(()),
        other => Err(format!("{other:?}")),
    },
};

/// The target opens its window, and tells so in a NOP-In that answers nothing.
fn opens() -> [Rule; 2] {
    [
        Rule::new(When::At(OPENS), Do::Window(32)),
        Rule::new(When::At(OPENS), Do::Send(Extra::new(Opcode::NopIn))),
    ]
}

fn c02() -> Vec<Case> {
    let jobs = |first: Job| {
        [first, Job::Settle, ready(), Job::read(16, 8), ready_now(), Job::Ping, Job::Settle]
    };
    let closed = |name: &str, setup: Setup, first: Job| {
        let setup = setup.with(|s| s.window = 1).jobs(jobs(first));
        Case::new(name, setup)
            .rule(When::receives(Opcode::ScsiCommand), Do::Window(0))
            .rules(opens())
            .expect(all([
                Expect::Works,
                Expect::Law(ONE_AND_IMMEDIATE),
                Expect::Law(NUMBERS_IN_ORDER),
                Expect::Count(Pdus::sent(Opcode::NopOut), 1..=1),
            ]))
    };
    vec![
        closed("by Data-In", Setup::normal(), Job::read(0, 8)),
        closed("by a response", Setup::normal().service(|s| s.collapse = false), Job::read(0, 8)),
        closed("by R2T", soliciting(), Job::write(32, 8)),
        closed("by a response to a write", Setup::normal(), Job::write(32, 8)),
    ]
}

/// Nothing is answered in the first second.
fn unanswered(most: u32) -> Rule {
    let each = When::sends_each(Opcode::ScsiResponse);
    Rule::new(each, Do::hold(When::At(Duration::from_secs(1)))).times(most)
}

fn sent_unanswered(seen: &Observation) -> usize {
    sent_before(seen, 0, Duration::from_secs(1))
}

macro_rules! exactly_unanswered {
    ($count:literal) => {
        Law {
            name: concat!(stringify!($count), " commands are sent while none is answered"),
            check: |seen| match sent_unanswered(seen) {
                $count => Ok(()),
                other => Err(format!("{other} were sent")),
            },
        }
    };
}

fn c03() -> Vec<Case> {
    let case =
        |window: u32, jobs: usize, law: Law| {
            let setup = Setup::normal().with(|s| {
                s.depth = 128;
                s.window = window;
            });
            let setup = setup.jobs((0..jobs).map(|_| ready()).chain([Job::Settle]));
            Case::new(format!("window of {window}"), setup)
                .rules([unanswered(window)])
                .expect(all([Expect::Works, Expect::Law(law), Expect::Law(NUMBERS_IN_ORDER)]))
        };
    vec![
        case(1, 6, exactly_unanswered!(1)),
        case(2, 6, exactly_unanswered!(2)),
        case(31, 120, exactly_unanswered!(31)),
        case(100, 120, exactly_unanswered!(100)),
    ]
}

/// Reads one after the other, more than a window of 1 takes.
fn several(window: u32) -> Setup {
    let jobs = (0..6).flat_map(|n| [Job::read(n, 1), ready(), Job::Settle]);
    numbered(Setup::normal()).with(|s| s.window = window).jobs(jobs)
}

/// Every PDU after the login has its numbers moved.
fn all_moved(exp: i64, max: i64) -> [Rule; 2] {
    let each = || When::Sends(Kind::FullFeature, Nth::Each);
    [
        Rule::new(each(), Do::Add(Field::EXP_CMD_SN, exp)),
        Rule::new(each(), Do::Add(Field::MAX_CMD_SN, max)),
    ]
}

/// A NOP-In with these numbers.
fn told(exp: u32, max: u32) -> Extra {
    Extra::new(Opcode::NopIn).set(Field::EXP_CMD_SN, exp.into()).set(Field::MAX_CMD_SN, max.into())
}

/// A Reject of the command that was received, because its immediate data arrived damaged; with these numbers.
fn damaged(exp: u32, max: u32) -> Extra {
    Extra::new(Opcode::Reject)
        .numbered()
        .with_header()
        .set(Field::RESPONSE, RejectReason::DataDigestError.to_byte().into())
        .set(Field::EXP_CMD_SN, exp.into())
        .set(Field::MAX_CMD_SN, max.into())
}

/// A write whose immediate data arrive damaged, which shows whether its CmdSN counts as received: if not, the command is sent again.
fn level_1() -> Setup {
    let setup = numbered(Setup::normal().jobs([Job::write(4, 16), Job::Settle]));
    setup
        .config(|c| c.error_recovery_level(1).initial_r2t(true))
        .target(|limits: &mut Limits| limits.error_recovery_level = 1)
}

fn writes() -> Pdus {
    Pdus::sent(Opcode::ScsiCommand).with(Field::OPERATION_CODE, 0x2a)
}

fn c04() -> Vec<Case> {
    let mut cases: Vec<Case> = [2, 3, 1000, 0x7fff_ffff]
        .into_iter()
        .map(|below| {
            // An honest MaxCmdSN is ExpCmdSN + 31.
            Case::new(format!("MaxCmdSN = ExpCmdSN - {below}"), several(32))
                .rules(all_moved(0, -31 - below))
                // The last of them is half the circle away from what was told before.
                .rule(When::LoggedIn, Do::Trust)
                .expect(all([Expect::Works, Expect::Law(NUMBERS_IN_ORDER)]))
        })
        .collect();
    // ExpCmdSN of such a pair is not taken either: a command that it acknowledges is sent again.
    let first = first_command().0;
    cases.push(
        Case::new("ExpCmdSN of such a pair", level_1())
            .rules([
                Rule::new(
                    When::receives(Opcode::ScsiCommand),
                    Do::Send(told(first + 1, first - 1)),
                ),
                Rule::new(
                    When::receives(Opcode::ScsiCommand),
                    Do::Send(damaged(first, first + 31)),
                ),
                Rule::new(When::receives(Opcode::ScsiCommand), Do::Ignore),
                Rule::new(When::receives(Opcode::ScsiCommand), Do::Trust),
            ])
            .expect(all([
                Expect::Works,
                Expect::Count(writes(), 2..=2),
                Expect::Field(writes(), Field::CMD_SN, Is::Value(first.into())),
            ])),
    );
    cases
}

fn c05() -> Vec<Case> {
    let mut cases: Vec<Case> = [-1, -16, -31, -32]
        .into_iter()
        .map(|back| {
            Case::new(format!("{back} in every PDU"), several(32))
                .rules(all_moved(0, back))
                .expect(all([Expect::Works, Expect::Law(NUMBERS_IN_ORDER)]))
        })
        .collect();
    // The window of 4 closes again, says the target; it does not.
    let first = first_command().0;
    let setup = numbered(Setup::normal()).with(|s| s.window = 4);
    cases.push(
        Case::new("told by NOP-In", setup.jobs((0..6).map(|_| ready()).chain([Job::Settle])))
            .rules([
                unanswered(4),
                Rule::new(When::LoggedIn, Do::Send(told(first, first + 1))),
                Rule::new(When::LoggedIn, Do::Send(told(first, first - 1))),
            ])
            .expect(all([
                Expect::Works,
                Expect::Law(exactly_unanswered!(4)),
                Expect::Law(NUMBERS_IN_ORDER),
            ])),
    );
    cases
}

fn c06() -> Vec<Case> {
    let mut cases: Vec<Case> = [-1, -2, -1000]
        .into_iter()
        .map(|back| {
            Case::new(format!("{back} in every PDU"), several(2))
                .rules(all_moved(back, 0))
                .expect(all([Expect::Works, Expect::Law(NUMBERS_IN_ORDER)]))
        })
        .collect();
    // The command counts as received, whatever is told afterwards: it is not sent again.
    let first = first_command().0;
    cases.push(
        Case::new("what was acknowledged stays so", level_1())
            .rules([
                Rule::new(
                    When::receives(Opcode::ScsiCommand),
                    Do::Send(told(first + 1, first + 32)),
                ),
                Rule::new(When::receives(Opcode::ScsiCommand), Do::Send(told(first, first + 32))),
                Rule::new(
                    When::receives(Opcode::ScsiCommand),
                    Do::Send(damaged(first, first + 32)),
                ),
                // The answer takes its time: a command that is sent again would come first.
                Rule::new(When::sends(Opcode::ScsiResponse), Do::Late(Duration::from_millis(100))),
            ])
            .expect(all([Expect::Works, Expect::Count(writes(), 1..=1)])),
    );
    cases
}

fn c07() -> Vec<Case> {
    let mut cases = Vec::new();
    for initial in [0xffff_fffe, 0xffff_ffff, 0, 0x7fff_fffe, 0x8000_0000, 0xffff_ffe0] {
        for window in [1, 2, 32] {
            let setup = several(window).config(|c| c.initial_cmd_sn(CmdSn(initial)));
            let commands = || Pdus::sent(Opcode::ScsiCommand);
            cases.push(Case::new(format!("{initial:#x}, window of {window}"), setup).expect(all(
                [
                    Expect::Works,
                    Expect::Law(NUMBERS_IN_ORDER),
                    Expect::Field(commands().first(), Field::CMD_SN, Is::Value(initial.into())),
                    Expect::Field(
                        commands(),
                        Field::CMD_SN,
                        Is::Counts(commands(), Field::CMD_SN, 0),
                    ),
                ],
            )));
        }
    }
    cases
}

/// The second command waits for its window, which the wrong numbers do not open.
const HELD_BACK: Law = Law {
    name: "one command in the first three seconds",
    check: |seen| match sent_before(seen, 0, OPENS) {
        1 => Ok(()),
        other => Err(format!("{other} commands were sent")),
    },
};

fn c08() -> Vec<Case> {
    let mut cases = Vec::new();
    for ahead in [1, 2, 1000, 0x3fff_ffff, 0x7fff_fff0] {
        cases.push(
            Case::new(format!("{ahead} too many in every PDU"), several(32))
                .rules(all_moved(ahead, ahead))
                // The target itself does not tell the largest of them from small ones.
                .rule(When::LoggedIn, Do::Trust)
                .expect(all([Expect::Works, Expect::Law(NUMBERS_IN_ORDER)])),
        );
        // With a command that waits for its window.
        let first = u64::from(first_command().0);
        let setup = numbered(Setup::normal()).with(|s| s.window = 1).jobs([
            Job::read(0, 8),
            ready(),
            Job::read(8, 8),
            Job::Settle,
        ]);
        let ahead = ahead.unsigned_abs();
        let told = Extra::new(Opcode::NopIn)
            .set(Field::EXP_CMD_SN, first + 1 + ahead)
            .set(Field::MAX_CMD_SN, first + 32 + ahead);
        cases.push(
            Case::new(format!("{ahead} too many, a closed window"), setup)
                .rule(When::receives(Opcode::ScsiCommand), Do::Send(told))
                .rule(When::receives(Opcode::ScsiCommand), Do::Window(0))
                .rules(opens())
                .expect(all([
                    Expect::Works,
                    Expect::Law(HELD_BACK),
                    Expect::Law(NUMBERS_IN_ORDER),
                ])),
        );
    }
    // A command that was not sent then is not acknowledged: if its data arrive damaged, it is sent again.
    let first = first_command().0;
    for ahead in [1, 5, 1000] {
        let setup = level_1().jobs([ready(), Job::Settle, Job::write(4, 16), Job::Settle]);
        let second = || When::receives_nth(Opcode::ScsiCommand, 1);
        cases.push(
            Case::new(format!("{ahead} too many, damaged data"), setup)
                .rule(
                    When::receives(Opcode::ScsiCommand),
                    Do::Send(told(first + 1 + ahead, first + 32 + ahead)),
                )
                .rule(second(), Do::Send(damaged(first + 1, first + 32)))
                .rule(second(), Do::Ignore)
                .rule(second(), Do::Trust)
                .expect(all([
                    Expect::Works,
                    Expect::Count(writes(), 2..=2),
                    Expect::Field(writes(), Field::CMD_SN, Is::Value((first + 1).into())),
                ])),
        );
    }
    cases
}

fn c09() -> Vec<Case> {
    let half = 1 << 31;
    [(half, half), (0, half), (half, 0)]
        .into_iter()
        .flat_map(|(exp, max)| {
            [1, 4, 32].map(|window| {
                // The login opens enough for all commands, if later PDUs do not.
                let setup = several(32);
                Case::new(format!("ExpCmdSN {exp:+#x}, MaxCmdSN {max:+#x}, window {window}"), setup)
                    .rule(When::LoggedIn, Do::Window(window))
                    .rule(When::LoggedIn, Do::Trust)
                    .rules(all_moved(exp, max))
                    .expect(all([Expect::Works, Expect::Law(NUMBERS_IN_ORDER)]))
            })
        })
        .collect()
}

/// Each NOP-In lets one command through, at once.
const ONE_PER_SECOND: Law = Law {
    name: "a command in each second",
    check: |seen| {
        let commands = Pdus::sent(Opcode::ScsiCommand).find(seen);
        for second in 1..=4 {
            let from = Instant::ZERO + Duration::from_secs(second);
            let to = from + Duration::from_millis(1);
            let sent = commands.iter().filter(|e| e.at >= from && e.at <= to).count();
            if sent != 1 {
                return Err(format!("{sent} commands in second {second}"));
            }
        }
        Ok(())
    },
};

fn c10() -> Vec<Case> {
    let setup = |digests: bool| {
        let setup = Setup::normal().with(|s| s.window = 1).jobs([
            ready(),
            Job::read(0, 8),
            Job::write(32, 8),
            ready(),
            Job::read(1, 1),
            Job::Settle,
        ]);
        if digests { with_digests(setup) } else { setup }
    };
    [false, true]
        .into_iter()
        .map(|digests| {
            let mut rules = vec![Rule::new(When::receives(Opcode::ScsiCommand), Do::Window(0))];
            for second in 1..=4 {
                let at = || When::At(Duration::from_secs(second));
                rules.push(Rule::new(at(), Do::Window(1)));
                rules.push(Rule::new(at(), Do::Send(Extra::new(Opcode::NopIn))));
                // What the target has then fills the window again.
                rules.push(Rule::new(at(), Do::Window(0)));
            }
            let last = || When::At(Duration::from_millis(4500));
            rules.push(Rule::new(last(), Do::Window(32)));
            rules.push(Rule::new(last(), Do::Send(Extra::new(Opcode::NopIn))));
            Case::new(format!("digests {digests}"), setup(digests)).rules(rules).expect(all([
                Expect::Works,
                Expect::Law(ONE_PER_SECOND),
                // Nobody asks for an answer.
                Expect::Count(Pdus::sent(Opcode::NopOut), 0..=0),
            ]))
        })
        .collect()
}

fn c11() -> Vec<Case> {
    let first = first_command().0;
    let mut cases = Vec::new();
    for reason in [RejectReason::CommandNotSupported, RejectReason::InvalidPduField] {
        for window in [1, 32] {
            // The hole shows in every number until it is plugged.
            let reject = Extra::new(Opcode::Reject)
                .numbered()
                .with_header()
                .set(Field::RESPONSE, reason.to_byte().into())
                .set(Field::EXP_CMD_SN, first.into())
                .set(Field::MAX_CMD_SN, (first + window - 1).into());
            let jobs = [Job::read(0, 8), ready(), ready(), Job::Settle, Job::write(32, 8)];
            let setup = numbered(Setup::normal())
                .with(|s| s.window = window)
                .jobs(jobs.into_iter().chain([Job::Settle]));
            let lost = match reason {
                RejectReason::CommandNotSupported => pattern!(Told::Lost {
                    reason: LostReason::Rejected(RejectReason::CommandNotSupported),
                    ..
                }),
                _ => pattern!(Told::Lost {
                    reason: LostReason::Rejected(RejectReason::InvalidPduField),
                    ..
                }),
            };
            let abort = || Pdus::sent(Opcode::TaskManagementRequest);
            let rejected = || Pdus::sent(Opcode::ScsiCommand).first();
            let tag = Field::INITIATOR_TASK_TAG;
            let receives = || When::receives(Opcode::ScsiCommand);
            cases.push(
                Case::new(format!("{reason:?}, window of {window}"), setup)
                    .rule(receives(), Do::Send(reject))
                    .rule(receives(), Do::Ignore)
                    .expect(all([
                        Expect::GoesOn,
                        Expect::Task(0, lost),
                        Expect::TaskGood(1),
                        Expect::TaskGood(2),
                        Expect::TaskGood(3),
                        Expect::Law(NUMBERS_IN_ORDER),
                        Expect::Count(abort(), 1..=1),
                        Expect::Field(abort(), Field::FUNCTION, Is::Value(1)),
                        Expect::Field(abort(), Field::IMMEDIATE, Is::Value(1)),
                        Expect::Field(
                            abort(),
                            Field::REFERENCED_TASK_TAG,
                            Is::Same(rejected(), tag, 0),
                        ),
                        Expect::Field(
                            abort(),
                            Field::REF_CMD_SN,
                            Is::Same(rejected(), Field::CMD_SN, 0),
                        ),
                    ])),
            );
        }
    }
    cases
}

fn c12() -> Vec<Case> {
    // Eight tasks are all that the table takes.
    let setup = |jobs| Setup::normal().jobs((0..jobs).map(|_| ready()).chain([Job::Settle]));
    let mut cases = Vec::new();
    for window in [0x7fff_ffff, 0x8000_0000] {
        let at_login = |s: &mut Setup| s.window = window;
        let later = |s: &mut Setup| s.window = 1;
        let opens = Rule::new(When::receives(Opcode::ScsiCommand), Do::Window(window));
        let case = |name: &str, window: &dyn Fn(&mut Setup)| {
            Case::new(name, setup(9).with(window))
                .honest(setup(8).with(window))
                .rules([unanswered(8)])
                .expect(all([
                    Expect::GoesOn,
                    Expect::Refused(8, pattern!(SubmitError::NoFreeTask)),
                    Expect::TaskGood(7),
                    Expect::Law(NUMBERS_IN_ORDER),
                ]))
        };
        cases.push(case(&format!("{window:#x} from the login on"), &at_login));
        // The target's own check takes no step of half the circle.
        let trusts = Rule::new(When::LoggedIn, Do::Trust);
        cases.push(case(&format!("{window:#x} later"), &later).rules([opens, trusts]));
    }
    cases
}

fn c13() -> Vec<Case> {
    // The pair is that from before the command.
    let kinds = [
        (Opcode::DataIn, Setup::reading()),
        (Opcode::ScsiResponse, Setup::reading().service(|s| s.collapse = false)),
        (Opcode::ScsiResponse, Setup::writing()),
        (Opcode::R2t, soliciting()),
    ];
    kinds
        .into_iter()
        .map(|(kind, setup)| {
            let rules = [Field::EXP_CMD_SN, Field::MAX_CMD_SN]
                .map(|field| Rule::new(When::sends_each(kind), Do::Add(field, -1)));
            Case::new(format!("{kind:?}, {} jobs", setup.jobs.len()), setup)
                .rules(rules)
                .expect(all([Expect::Works, Expect::Law(NUMBERS_IN_ORDER)]))
        })
        .collect()
}
