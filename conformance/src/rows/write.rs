//! W: writes and R2T.

use core::time::Duration;

use iscsi_core::testing::{Do, Extra, Faults, Field, R2tOrder, Rule, Told, When};
use iscsi_core::wire::Opcode;
use iscsi_core::{LostReason, Lun, Timer, Transfer};

use super::common::{all, at_once, soliciting};
use super::write_laws::{
    ALL_THAT_MAY_BE, ANSWERED_IN_ORDER, BIDI_SEGMENTS, BIDI_SEGMENTS_OF_32, BURSTS_APART,
    CDB_WHERE_IT_BELONGS, READ_BYTES, SAME_BYTES_AGAIN, TWO_AT_A_TIME, WHILE_DATA_GO_OUT,
};
use crate::case::{Case, Job, Request, Row, Setup};
use crate::expect::{Expect, Is, Pdus};
use crate::{breaks, fails, format_breaks, pattern};

pub(crate) fn rows() -> Vec<Row> {
    vec![
        Row::pass("W-01", w01()),
        Row::pass("W-02", w02()),
        Row::pass("W-03", w03()),
        Row::pass("W-04", w04()),
        Row::pass("W-05", w05()),
        Row::pass("W-06", w06()),
        Row::pass("W-07", w07()),
        Row::pass("W-08", w08()),
        Row::pass("W-09", w09()),
        Row::pass("W-10", w10()),
        Row::pass("W-11", w11()),
        Row::pass("W-12", w12()),
        Row::pass("W-13", w13()),
        Row::pass("W-14", w14()),
        Row::pass("W-15", w15()),
        Row::pass("W-16", w16())
            .note("a LUN of zeros in an R2T is taken as left out: targets do that, and the task is known by its tag"),
        Row::pass("W-17", w17()),
        Row::pass("W-18", w18()),
        Row::pass("W-19", w19()),
        Row::pass("W-20", w20()),
        Row::pass("W-21", w21()),
        Row::pass("W-22", w22()).note("it is served: the range lies in the buffer"),
        Row::pass("W-23", w23()),
        Row::pass("W-24", w24()),
        Row::pass("W-25", w25()),
        Row::pass("W-26", w26()),
        Row::pass("W-27", w27())
            .note("Data-In are numbered from 0, as in the RFC's example A.3.3; R2Ts do not count"),
    ]
}

/// What is agreed on unsolicited data.
fn agreed(immediate: bool, initial_r2t: bool) -> Setup {
    Setup::writing().config(|c| c.immediate_data(immediate).initial_r2t(initial_r2t))
}

fn first_burst(bytes: u32) -> impl Fn(Setup) -> Setup {
    move |setup| setup.config(|c| c.first_burst_length(bytes))
}

/// The target takes no longer data segments.
fn segments(bytes: u32) -> impl Fn(Setup) -> Setup {
    move |setup| setup.target(|l| l.max_recv_data_segment_length = bytes)
}

fn command() -> Pdus {
    Pdus::sent(Opcode::ScsiCommand).first()
}

fn unsolicited() -> Pdus {
    Pdus::sent(Opcode::DataOut).with(Field::TARGET_TRANSFER_TAG, 0xffff_ffff)
}

/// The command has this much immediate data and this F bit, and so many unsolicited Data-Out follow.
fn sends(immediate: u64, is_final: u64, data_outs: usize) -> Expect {
    all([
        Expect::Works,
        Expect::Length(command(), Is::Value(immediate)),
        Expect::Field(command(), Field::FINAL, Is::Value(is_final)),
        Expect::Count(unsolicited(), data_outs..=data_outs),
        Expect::Law(ALL_THAT_MAY_BE),
        Expect::Law(ANSWERED_IN_ORDER),
    ])
}

fn w01() -> Vec<Case> {
    let setup = || agreed(true, true);
    let by_target =
        Setup::writing().config(|c| c.immediate_data(true)).target(|l| l.initial_r2t = true);
    vec![
        Case::new("FirstBurstLength", first_burst(1024)(setup())).expect(sends(1024, 1, 0)),
        Case::new("the target's segments", segments(512)(setup())).expect(sends(512, 1, 0)),
        Case::new("the length of the task", setup()).expect(sends(8192, 1, 0)),
        Case::new("the target wants it so", first_burst(1024)(by_target)).expect(sends(1024, 1, 0)),
    ]
}

fn w02() -> Vec<Case> {
    let by_target = Setup::writing().target(|l| {
        l.initial_r2t = true;
        l.immediate_data = false;
    });
    vec![
        Case::new("this side wants it so", agreed(false, true)).expect(sends(0, 1, 0)),
        Case::new("the target wants it so", by_target).expect(sends(0, 1, 0)),
    ]
}

fn w03() -> Vec<Case> {
    let setup = || agreed(false, false);
    let small = |setup| segments(512)(first_burst(2048)(setup));
    vec![
        Case::new("FirstBurstLength", first_burst(2048)(setup())).expect(sends(0, 0, 1)),
        Case::new("in short segments", small(setup())).expect(sends(0, 0, 4)),
        Case::new("the length of the task", setup()).expect(sends(0, 0, 1)),
        Case::new("a length that is no multiple", segments(512)(first_burst(1300)(setup())))
            .expect(sends(0, 0, 3)),
    ]
}

fn w04() -> Vec<Case> {
    let setup = || agreed(true, false);
    let small = |first| segments(512)(first_burst(first)(setup()));
    vec![
        Case::new("both", small(2048)).expect(sends(512, 0, 3)),
        Case::new("immediate data only", first_burst(2048)(setup())).expect(sends(2048, 1, 0)),
        Case::new("a length that is no multiple", small(1301)).expect(sends(512, 0, 2)),
        Case::new("segments that are no multiple", segments(1027)(first_burst(4096)(setup())))
            .expect(sends(1024, 0, 3)),
    ]
}

fn w05() -> Vec<Case> {
    [false, true]
        .into_iter()
        .flat_map(|initial_r2t| {
            [1, 2, 16].map(|blocks| {
                let length = u64::from(blocks) * 512;
                let setup = segments(length as u32)(agreed(true, initial_r2t))
                    .jobs([Job::write(4, blocks), Job::Settle]);
                Case::new(format!("{blocks} blocks, InitialR2T={initial_r2t}"), setup).expect(all(
                    [sends(length, 1, 0), Expect::Count(Pdus::sent(Opcode::DataOut), 0..=0)],
                ))
            })
        })
        .collect()
}

/// A write of blocks on another logical unit than 0, whose number is copied.
fn on_lun(lun: u8, blocks: u16) -> Job {
    let cdb = iscsi_core::testing::Disk::write10(4, blocks);
    let mut request = Request::new(&cdb, Transfer::Out(u32::from(blocks) * 512));
    request.lun = Lun::new(lun.into()).expect("a LUN");
    request.job()
}

fn w06() -> Vec<Case> {
    let setup = segments(512)(soliciting()).service(|s| s.burst = 2048);
    let setup = setup.jobs([on_lun(5, 4), Job::Settle]);
    let data_out = || Pdus::sent(Opcode::DataOut);
    let r2t = || Pdus::received(Opcode::R2t).first();
    let expect = all([
        Expect::Works,
        Expect::Count(data_out(), 4..=4),
        Expect::Field(data_out(), Field::DATA_SN, Is::Counts(r2t(), Field::R2T_SN, 0)),
        Expect::Field(data_out().with(Field::FINAL, 1), Field::DATA_SN, Is::Value(3)),
        Expect::Field(data_out().with(Field::FINAL, 0), Field::DATA_SN, Is::AtMost(2)),
        Expect::Field(
            data_out(),
            Field::TARGET_TRANSFER_TAG,
            Is::Same(r2t(), Field::TARGET_TRANSFER_TAG, 0),
        ),
        Expect::Field(data_out(), Field::LUN, Is::Value(5 << 48)),
        Expect::Length(data_out(), Is::Value(512)),
        Expect::Law(ANSWERED_IN_ORDER),
    ]);
    vec![Case::new("four segments", setup).expect(expect)]
}

fn two_r2ts() -> Setup {
    segments(512)(soliciting()).service(|s| {
        s.burst = 1024;
        s.outstanding = 2;
    })
}

fn w07() -> Vec<Case> {
    let expect = all([
        Expect::Works,
        Expect::Count(Pdus::received(Opcode::R2t), 8..=8),
        Expect::Count(Pdus::sent(Opcode::DataOut).with(Field::DATA_SN, 0), 8..=8),
        Expect::Law(TWO_AT_A_TIME),
        Expect::Law(ANSWERED_IN_ORDER),
    ]);
    vec![Case::new("two", two_r2ts()).expect(expect)]
}

fn w08() -> Vec<Case> {
    let setup = two_r2ts()
        .config(|c| c.data_sequence_in_order(false))
        .target(|l| l.data_sequence_in_order = false)
        .service(|s| s.order = R2tOrder::Descending);
    let expect = all([
        Expect::Works,
        Expect::Field(
            Pdus::received(Opcode::R2t).first(),
            Field::BUFFER_OFFSET,
            Is::Value(8192 - 1024),
        ),
        Expect::Law(TWO_AT_A_TIME),
        Expect::Law(ANSWERED_IN_ORDER),
    ]);
    vec![Case::new("from the end", setup).expect(expect)]
}

/// An R2T more for the task of the PDU that leads to it.
fn r2t(number: u64, offset: u64, length: u64) -> Extra {
    Extra::new(Opcode::R2t)
        .of_task()
        .set(Field::TARGET_TRANSFER_TAG, 0x7000 + number)
        .set(Field::R2T_SN, number)
        .set(Field::BUFFER_OFFSET, offset)
        .set(Field::DESIRED_LENGTH, length)
}

fn w09() -> Vec<Case> {
    let none_sent = Expect::Count(Pdus::sent(Opcode::DataOut), 0..=0);
    let case = |most: u16| {
        let setup = soliciting().config(|c| c.max_outstanding_r2t(most)).service(|s| s.burst = 512);
        let number = u64::from(most);
        Case::new(format!("{most} agreed"), setup)
            .rule(
                When::sends_nth(Opcode::R2t, u32::from(most) - 1),
                Do::Send(r2t(number, number * 512, 512)),
            )
            .expect(all([breaks!(TooManyR2ts(_)), none_sent.clone(), at_once()]))
    };
    // More than a ring of Data-Out can take off the list, and a link that is too narrow for them.
    let setup = segments(512)(soliciting()).service(|s| {
        s.blocks = 256;
        s.burst = 4096;
    });
    let jobs = [Job::write(4, 160), Job::Settle];
    let all_at_once = slow(512)(setup).jobs(jobs);
    let more = (8..14).map(|number| {
        Rule::new(When::sends_nth(Opcode::R2t, 7), Do::Send(r2t(number, number * 4096, 4096)))
    });
    let soon = Expect::OverAt(Duration::ZERO..=Duration::from_millis(50));
    let eight =
        Case::new("8 agreed", all_at_once).rules(more).expect(all([breaks!(TooManyR2ts(_)), soon]));
    vec![case(1), case(2), eight]
}

/// The first R2T of a write is changed so.
fn first_r2t(name: &str, setup: Setup, acts: &[Do], expect: Expect) -> Case {
    let rules = acts.iter().map(|act| Rule::new(When::sends(Opcode::R2t), act.clone()));
    let none_sent = Expect::Count(Pdus::sent(Opcode::DataOut), 0..=0);
    Case::new(name, setup).rules(rules).expect(all([expect, none_sent, at_once()]))
}

fn w10() -> Vec<Case> {
    let nothing = [Do::Set(Field::DESIRED_LENGTH, 0)];
    vec![first_r2t("nothing", soliciting(), &nothing, format_breaks!(NothingDesired))]
}

fn w11() -> Vec<Case> {
    let setup = || soliciting().config(|c| c.max_burst_length(1024).first_burst_length(512));
    [1025, 2048, 8192]
        .into_iter()
        .map(|length| {
            first_r2t(
                &format!("{length} bytes"),
                setup(),
                &[Do::Set(Field::DESIRED_LENGTH, length)],
                breaks!(R2tTooLong { max: 1024, .. }),
            )
        })
        .collect()
}

fn w12() -> Vec<Case> {
    let range = |offset, length| {
        [Do::Set(Field::BUFFER_OFFSET, offset), Do::Set(Field::DESIRED_LENGTH, length)]
    };
    let beyond = |name, offset, length| {
        first_r2t(
            name,
            soliciting(),
            &range(offset, length),
            breaks!(R2tOutOfRange { expected: 8192, .. }),
        )
    };
    vec![
        beyond("one byte longer", 0, 8193),
        beyond("one byte further", 1, 8192),
        beyond("the byte behind the end", 8192, 1),
        beyond("far beyond", 1 << 24, 512),
        beyond("everything", 0, 0xffff_ffff),
        first_r2t(
            "wraps around to the beginning",
            soliciting(),
            &range(0xffff_ff00, 0x200),
            format_breaks!(RangeWraps { .. }),
        ),
        first_r2t(
            "wraps around by one",
            soliciting(),
            &range(0xffff_ffff, 1),
            format_breaks!(RangeWraps { .. }),
        ),
    ]
}

fn w13() -> Vec<Case> {
    let reserved = [Do::Set(Field::TARGET_TRANSFER_TAG, 0xffff_ffff)];
    vec![first_r2t("reserved", soliciting(), &reserved, format_breaks!(ReservedTargetTransferTag))]
}

fn w14() -> Vec<Case> {
    let case = |name: &str, setup: Setup| {
        Case::new(name, setup)
            .rule(When::receives(Opcode::ScsiCommand), Do::Send(r2t(0, 0, 512)))
            .expect(all([
                breaks!(R2tNotExpected(_)),
                Expect::Count(Pdus::sent(Opcode::DataOut), 0..=0),
                at_once(),
            ]))
    };
    vec![
        case("a read", Setup::reading()),
        case("no data", Setup::normal().jobs([Job::test_unit_ready(), Job::Settle])),
    ]
}

fn w15() -> Vec<Case> {
    let unknown = [Do::Set(Field::INITIATOR_TASK_TAG, 0x0bad_0000)];
    let aborted = soliciting().jobs([Job::write(4, 16), Job::Abort(0), Job::sleep(2), Job::Settle]);
    vec![
        first_r2t("never used", soliciting(), &unknown, breaks!(UnknownTask(_))),
        Case::new("aborted", aborted)
            .rule(When::sends(Opcode::R2t), Do::Drop)
            .rule(When::At(Duration::from_secs(1)), Do::Send(r2t(0, 0, 512)))
            .expect(all([
                Expect::GoesOn,
                Expect::Connections(1..=1),
                Expect::Task(0, pattern!(Told::Lost { reason: LostReason::Aborted, .. })),
                Expect::Count(Pdus::received(Opcode::R2t), 1..=1),
                Expect::Count(Pdus::sent(Opcode::DataOut), 0..=0),
            ])),
    ]
}

fn w16() -> Vec<Case> {
    let other = [Do::Set(Field::LUN, 1 << 48)];
    let on_five = soliciting().jobs([on_lun(5, 4), Job::Settle]);
    // The service behind the target compares the LUN that comes back with the command's.
    let left_out = Case::new("left out", on_five.clone())
        .rules([
            Rule::new(When::sends(Opcode::R2t), Do::Set(Field::LUN, 0)),
            Rule::new(When::receives(Opcode::DataOut), Do::Ignore),
            Rule::new(
                When::receives(Opcode::DataOut),
                Do::Send(Extra::new(Opcode::ScsiResponse).numbered().of_task()),
            ),
        ])
        .expect(all([
            Expect::Works,
            Expect::Field(Pdus::sent(Opcode::DataOut), Field::LUN, Is::Value(0)),
        ]));
    vec![
        first_r2t("another than 0", soliciting(), &other, breaks!(LunMismatch(_))),
        first_r2t("another than 5", on_five, &other, breaks!(LunMismatch(_))),
        left_out,
    ]
}

/// Both sides agree on ErrorRecoveryLevel 1.
fn recovering(setup: Setup) -> Setup {
    setup.config(|c| c.error_recovery_level(1)).target(|l| l.error_recovery_level = 1)
}

fn w17() -> Vec<Case> {
    let snack = || Pdus::sent(Opcode::SnackRequest);
    let asked = || {
        all([
            Expect::Field(snack(), Field::SNACK_TYPE, Is::Value(0)),
            Expect::Field(
                snack(),
                Field::INITIATOR_TASK_TAG,
                Is::Same(command(), Field::INITIATOR_TASK_TAG, 0),
            ),
            Expect::Field(snack(), Field::TARGET_TRANSFER_TAG, Is::Value(0xffff_ffff)),
            Expect::Field(snack(), Field::BEG_RUN, Is::Value(0)),
            Expect::Field(snack(), Field::RUN_LENGTH, Is::Value(1)),
        ])
    };
    let held = Do::hold(When::receives(Opcode::SnackRequest));
    // At level 1 several R2Ts at a time need sequences that may come in any order (RFC 7143 section 13.19).
    let any_order = || {
        recovering(two_r2ts())
            .config(|c| c.data_sequence_in_order(false))
            .target(|l| l.data_sequence_in_order = false)
    };
    vec![
        Case::new("level 0", two_r2ts())
            .rule(When::sends(Opcode::R2t), Do::Drop)
            .expect(all([breaks!(R2tSn { .. }), at_once()])),
        Case::new("level 0, the number only", soliciting())
            .rule(When::sends(Opcode::R2t), Do::Add(Field::R2T_SN, 1))
            .expect(all([breaks!(R2tSn { .. }), at_once()])),
        Case::new("level 1, it comes again", any_order())
            .rule(When::sends(Opcode::R2t), held)
            .expect(all([
                Expect::Works,
                Expect::Connections(1..=1),
                Expect::Count(snack(), 1..=1),
                asked(),
            ])),
        Case::new("level 1, it does not", any_order())
            .rule(When::sends(Opcode::R2t), Do::Drop)
            .rule(When::receives_each(Opcode::SnackRequest), Do::Ignore)
            .expect(all([
                fails!(LostReason::TimedOut(Timer::Snack)),
                asked(),
                Expect::Count(snack(), 1..=4),
            ])),
    ]
}

fn w18() -> Vec<Case> {
    let sent_once = |data_outs: usize| {
        all([
            Expect::Works,
            Expect::Connections(1..=1),
            Expect::Count(Pdus::sent(Opcode::DataOut), data_outs..=data_outs),
            Expect::Count(Pdus::sent(Opcode::SnackRequest), 0..=0),
        ])
    };
    let quarters = || soliciting().service(|s| s.burst = 2048);
    let mut cases = Vec::new();
    for level in 0..=1 {
        let at_level = |setup| if level == 1 { recovering(setup) } else { setup };
        cases.push(
            Case::new(format!("at once, level {level}"), at_level(quarters()))
                .rule(When::sends_each(Opcode::R2t), Do::Repeat(2))
                .expect(sent_once(4)),
        );
        // The first one again when it was answered long ago.
        cases.push(
            Case::new(format!("late, level {level}"), at_level(quarters()))
                .rule(When::sends_nth(Opcode::R2t, 2), Do::SendBefore(r2t(0, 0, 2048)))
                .expect(sent_once(4)),
        );
    }
    cases
}

/// Behind the two halves of a write the first half is asked for again; the response waits for it.
fn asked_again(setup: Setup) -> Case {
    let data_out = |n| When::receives_nth(Opcode::DataOut, n);
    let last = || Pdus::sent(Opcode::DataOut).nth(2);
    Case::new("the first half again", setup.service(|s| s.burst = 4096))
        .rules([
            Rule::new(data_out(1), Do::Send(r2t(2, 0, 4096))),
            Rule::new(When::sends(Opcode::ScsiResponse), Do::hold(data_out(2))),
            Rule::new(data_out(2), Do::Ignore),
        ])
        .expect(all([
            Expect::Works,
            Expect::Connections(1..=1),
            Expect::Count(Pdus::sent(Opcode::DataOut), 3..=3),
            Expect::Field(last(), Field::BUFFER_OFFSET, Is::Value(0)),
            Expect::Field(last(), Field::DATA_SN, Is::Value(0)),
            Expect::Field(last(), Field::TARGET_TRANSFER_TAG, Is::Value(0x7002)),
            Expect::Length(last(), Is::Value(4096)),
            Expect::Law(SAME_BYTES_AGAIN),
        ]))
}

fn w19() -> Vec<Case> {
    vec![asked_again(recovering(soliciting()))]
}

fn w20() -> Vec<Case> {
    let case = |name: &str, setup: Setup, data_outs: usize| {
        Case::new(name, setup)
            .rule(When::sends(Opcode::ScsiResponse), Do::Send(r2t(1, 0, 512)))
            .expect(all([
                breaks!(UnknownTask(_)),
                Expect::TaskGood(0),
                Expect::Count(Pdus::sent(Opcode::DataOut), data_outs..=data_outs),
                at_once(),
            ]))
    };
    // Memory that the application took away is not read, be the abort answered or not.
    let revoked = soliciting().jobs([Job::write(4, 16), Job::Revoke(0), Job::sleep(2)]);
    let none_sent = Expect::Count(Pdus::sent(Opcode::DataOut), 0..=0);
    let late = Rule::new(When::At(Duration::from_secs(1)), Do::Send(r2t(0, 0, 512)));
    vec![
        case("behind solicited data", soliciting(), 1),
        case("behind immediate data", Setup::writing(), 0),
        Case::new("revoked and aborted", revoked.clone())
            .rule(When::sends(Opcode::R2t), Do::Drop)
            .rules([late.clone()])
            .expect(all([Expect::GoesOn, Expect::Connections(1..=1), none_sent.clone()])),
        Case::new("revoked", revoked)
            .rule(When::sends(Opcode::R2t), Do::Drop)
            .rule(When::receives(Opcode::TaskManagementRequest), Do::Ignore)
            .rules([late])
            .expect(all([fails!(LostReason::Aborted), none_sent])),
    ]
}

/// A link on which two commands are under way at the same time.
fn slow(window: usize) -> impl Fn(Setup) -> Setup {
    move |setup| {
        let latency = Duration::from_millis(1);
        let to_initiator = Faults { latency, ..Faults::NONE };
        setup.with(|s| s.faults = [Faults { window, ..to_initiator }, to_initiator])
    }
}

fn w21() -> Vec<Case> {
    let setup = segments(512)(first_burst(8192)(agreed(false, false)))
        .jobs([Job::write(4, 32), Job::Settle]);
    vec![Case::new("through a narrow link", slow(1024)(setup)).expect(all([
        sends(0, 0, 16),
        Expect::Count(Pdus::received(Opcode::R2t), 1..=1),
        Expect::Law(WHILE_DATA_GO_OUT),
    ]))]
}

fn w22() -> Vec<Case> {
    vec![asked_again(soliciting())]
}

fn w23() -> Vec<Case> {
    let jobs = [Job::write(4, 8), Job::write(20, 8), Job::write(40, 8), Job::Settle];
    let setup = slow(usize::MAX)(two_r2ts()).jobs(jobs);
    vec![Case::new("three writes", setup).expect(all([
        Expect::Works,
        Expect::Count(Pdus::received(Opcode::R2t), 12..=12),
        Expect::Law(TWO_AT_A_TIME),
        Expect::Law(ANSWERED_IN_ORDER),
    ]))]
}

fn w24() -> Vec<Case> {
    let case = |name: &str, initial_r2t: bool, segment: u32, expect: Expect| {
        let setup = segments(segment)(first_burst(2048)(agreed(true, initial_r2t)));
        let asked = Pdus::received(Opcode::R2t).first();
        let from = if initial_r2t { u64::from(segment.min(2048)) } else { 2048 };
        let rest = Expect::Field(asked, Field::BUFFER_OFFSET, Is::Value(from));
        Case::new(name, setup).expect(all([expect, rest]))
    };
    vec![
        case("immediate data", true, 262_144, sends(2048, 1, 0)),
        case("short segments", true, 512, sends(512, 1, 0)),
        case("with unsolicited data", false, 512, sends(512, 0, 3)),
    ]
}

fn w25() -> Vec<Case> {
    let jobs = [Job::write(4, 8), Job::write(20, 8), Job::write(40, 8), Job::Settle];
    let mut cases = Vec::new();
    for (name, immediate, window) in
        [("wide", false, usize::MAX), ("narrow", false, 1460), ("with immediate data", true, 97)]
    {
        let setup = slow(window)(segments(512)(agreed(immediate, false))).jobs(jobs.clone());
        let setup = setup.with(|s| s.early = true);
        cases.push(Case::new(name, setup).expect(all([Expect::Works, Expect::Law(BURSTS_APART)])));
    }
    cases
}

fn w26() -> Vec<Case> {
    let served = |cdb: &[u8], length: u32| {
        let setup =
            Setup::normal().jobs([Request::new(cdb, Transfer::In(length)).job(), Job::Settle]);
        Case::new(format!("{} bytes", cdb.len()), setup)
            .expect(all([Expect::Works, Expect::Law(CDB_WHERE_IT_BELONGS)]))
    };
    // The disk does not know them; the target's framing does.
    let refused = |length: u8| {
        let mut cdb: Vec<u8> = (0..length).map(|n| n ^ 0xa0).collect();
        cdb[0] = 0x7f;
        cdb[7] = length.wrapping_sub(8);
        let setup = Setup::normal().jobs([Request::new(&cdb, Transfer::None).job(), Job::Settle]);
        Case::new(format!("{length} bytes"), setup).honest(Setup::normal()).expect(all([
            Expect::GoesOn,
            Expect::Task(0, pattern!(Told::Done { .. })),
            Expect::Law(CDB_WHERE_IT_BELONGS),
        ]))
    };
    let mut capacity = [0; 16];
    capacity[..2].copy_from_slice(&[0x9e, 0x10]);
    capacity[13] = 32;
    let mut cases = vec![
        served(&[0x12, 0, 0, 0, 36, 0], 36),
        served(&iscsi_core::testing::Disk::read10(3, 2), 1024),
        served(&capacity, 32),
    ];
    cases.extend([16, 17, 18, 19, 20, 31, 32, 33, 255].map(refused));
    cases
}

fn w27() -> Vec<Case> {
    let transfer = Transfer::Both { out: 1024, r#in: 768 };
    let mut xdwriteread = [0; 10];
    (xdwriteread[0], xdwriteread[8]) = (0x53, 2);
    let long: Vec<u8> = (0..32u8).map(|n| if n == 0 { 0x7f } else { n }).collect();
    let bytes: Vec<u8> = (0..768u32).map(|n| n as u8 ^ 0x17).collect();
    let data_in = Extra::new(Opcode::DataIn)
        .of_task()
        .set(Field::DATA_SN, 0)
        .set(Field::BUFFER_OFFSET, 0)
        .data(&bytes);
    let response = Extra::new(Opcode::ScsiResponse).numbered().of_task().set(Field::EXP_DATA_SN, 1);
    let bits = |mask| Field::bits(1, mask);
    let case = |name: &str, setup: Setup, cdb: &[u8], asks: bool, segments| {
        let jobs = [Request::new(cdb, transfer).job(), Job::Settle];
        let last = if asks { Opcode::DataOut } else { Opcode::ScsiCommand };
        let case = Case::new(name, setup.jobs(jobs))
            .honest(Setup::normal())
            .rule(When::receives(Opcode::ScsiCommand), Do::Ignore);
        let case = match asks {
            true => case
                .rule(When::receives(Opcode::ScsiCommand), Do::Send(r2t(0, 0, 1024)))
                .rule(When::receives(Opcode::DataOut), Do::Ignore),
            false => case,
        };
        case.rule(When::receives(last), Do::Send(data_in.clone()))
            .rule(When::receives(last), Do::Send(response.clone()))
            .expect(all([
                Expect::Works,
                Expect::Field(command(), bits(0x40), Is::Value(1)),
                Expect::Field(command(), bits(0x20), Is::Value(1)),
                Expect::Field(command(), Field::EXPECTED_DATA_TRANSFER_LENGTH, Is::Value(1024)),
                Expect::Length(Pdus::sent(last).first(), Is::Value(1024)),
                Expect::Law(segments),
                Expect::Law(READ_BYTES),
            ]))
    };
    vec![
        case("solicited", soliciting(), &xdwriteread, true, BIDI_SEGMENTS),
        case("immediate", Setup::normal(), &xdwriteread, false, BIDI_SEGMENTS),
        case("a CDB of 32 bytes", soliciting(), &long, true, BIDI_SEGMENTS_OF_32),
    ]
}
