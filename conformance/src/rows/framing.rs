//! F: framing and header validation.

use core::time::Duration;

use iscsi_core::config::Timeouts;
use iscsi_core::testing::{Do, End, Entry, Extra, Field, Kind, Nth, Rule, Told, When};
use iscsi_core::wire::{Ahs, AhsIter, FormatError, Opcode, data_segment_length, padding};
use iscsi_core::{Direction, LostReason, SessionState, Timer, Transfer};

use super::common::{KINDS, all, at_once, harmless, patched, setup_for, soliciting, with_digests};
use crate::case::{Case, Direct, Job, Request, Row, Setup, Verdict};
use crate::expect::{Expect, Law};
use crate::{breaks, fails, format_breaks, pattern, refused};

pub(crate) fn rows() -> Vec<Row> {
    vec![
        Row::pass("F-01", f01()),
        Row::pass("F-02", f02()),
        Row::pass("F-03", f03()),
        Row::pass("F-04", f04()),
        Row::pass("F-05", f05()).note("the header alone is refused; no byte of the AHS is awaited"),
        Row::new("F-06", Verdict::Direct(Direct { name: "AHS beyond its total", check: f06 }))
            .note("targets send no AHS; the parser is the one that a target uses"),
        Row::pass("F-07", f07()),
        Row::pass("F-08", f08()),
        Row::pass("F-09", f09())
            .note("a vendor's PDU closes the connection: nobody here understands it"),
        Row::pass("F-10", f10()),
        Row::pass("F-11", f11()),
        Row::pass("F-12", f12()),
        Row::pass("F-13", f13()).note("accepted: F says nothing in these kinds"),
        Row::pass("F-14", f14()),
        Row::pass("F-15", f15()),
        Row::pass("F-16", f16()),
        Row::pass("F-17", f17()),
        Row::pass("F-18", f18()),
        Row::pass("F-19", f19()),
    ]
}

/// Everything in pieces of each size, with and without digests; and everything in one piece.
fn f01() -> Vec<Case> {
    let mut cases = Vec::new();
    for digests in [false, true] {
        let setup = Setup::normal()
            .service(|s| s.segment = 512)
            .config(|c| c.max_recv_data_segment_length(512))
            .jobs([Job::read(0, 4), Job::write(4, 2), Job::Settle]);
        let setup = if digests { with_digests(setup) } else { setup };
        for size in 1..=64 {
            let case = Case::new(format!("pieces of {size}, digests {digests}"), setup.clone());
            cases.push(case.rule(When::sends_any(), Do::SplitEach(size)));
        }
        for at in 1..=60 {
            let case = Case::new(format!("cut at {at}, digests {digests}"), setup.clone());
            cases.push(case.rule(When::sends_any(), Do::Split(vec![at])));
        }
        // Five PDUs in one segment: nothing lies between them.
        cases.push(Case::new(format!("together, digests {digests}"), setup));
    }
    cases
}

/// Of the PDU that announces more than it has, the engine took the header and nothing else.
const ONLY_ITS_HEADER: Law = Law {
    name: "only the header of the PDU that announces too much was taken",
    check: |seen| {
        let mut before = 0;
        let received = |entry: &&Entry| entry.direction == Direction::Received;
        for entry in seen.pdus.iter().filter(received) {
            if data_segment_length(&entry.bhs) as usize > entry.data.len() {
                return match seen.bytes_taken {
                    taken if taken == before + 48 => Ok(()),
                    taken => Err(format!("{taken} bytes were taken, {} stood before", before + 48)),
                };
            }
            before += (48 + entry.data.len() + padding(entry.data.len())) as u64;
        }
        Err("no PDU announced too much".into())
    },
};

fn f02() -> Vec<Case> {
    let small = |setup: Setup| setup.config(|c| c.max_recv_data_segment_length(8192));
    let too_long = |case: Case, expect: Expect| {
        let setup = small(case.setup.clone());
        let mut case = case.expect(all([expect, at_once(), Expect::Law(ONLY_ITS_HEADER)]));
        case.setup = setup;
        case
    };
    let mut cases = Vec::new();
    for kind in KINDS {
        if matches!(
            kind,
            Opcode::R2t | Opcode::TaskManagementResponse | Opcode::LogoutResponse | Opcode::NopIn
        ) {
            continue;
        }
        for length in [8193, 0xff_ffff] {
            let expect = match length {
                8193 => breaks!(DataSegmentTooLong { length: 8193, max: 8192 }),
                _ => breaks!(DataSegmentTooLong { length: 0xff_ffff, max: 8192 }),
            };
            let case = patched(kind, &[Do::Set(Field::DATA_SEGMENT_LENGTH, length)]);
            cases.push(too_long(case, expect));
        }
    }
    for n in 0..2 {
        let case = Case::new(format!("login response {n}"), Setup::normal()).rule(
            When::sends_nth(Opcode::LoginResponse, n),
            Do::Set(Field::DATA_SEGMENT_LENGTH, 8193),
        );
        cases.push(too_long(case, breaks!(DataSegmentTooLong { length: 8193, max: 8192 })));
    }
    cases
}

fn f03() -> Vec<Case> {
    let kinds = [Opcode::R2t, Opcode::TaskManagementResponse, Opcode::LogoutResponse];
    kinds
        .into_iter()
        .flat_map(|kind| {
            let full = patched(kind, &[Do::Set(Field::DATA_SEGMENT_LENGTH, 0xff_ffff)])
                .expect(all([format_breaks!(UnexpectedData(0xff_ffff)), at_once()]));
            let little = patched(kind, &[Do::Data(vec![0; 4])])
                .expect(all([format_breaks!(UnexpectedData(4)), at_once()]));
            [full, little]
        })
        .collect()
}

fn f04() -> Vec<Case> {
    let mut cases = Vec::new();
    for kind in KINDS {
        let case = patched(kind, &[Do::Set(Field::TOTAL_AHS_LENGTH, 1)]);
        cases.push(case.expect(all([format_breaks!(UnexpectedAhs(1)), at_once()])));
        if harmless(kind).is_none() {
            let case = patched(kind, &[Do::Ahs(vec![0; 8])]);
            cases.push(case.expect(all([format_breaks!(UnexpectedAhs(2)), at_once()])));
        }
    }
    let login = Case::new("LoginResponse", Setup::normal());
    let login = login.rule(When::sends(Opcode::LoginResponse), Do::Ahs(vec![0; 4]));
    cases.push(login.expect(all([format_breaks!(UnexpectedAhs(1)), at_once()])));
    cases
}

fn f05() -> Vec<Case> {
    let stalls = [(Opcode::DataIn, Setup::reading()), (Opcode::LoginResponse, Setup::normal())];
    stalls
        .into_iter()
        .map(|(kind, setup)| {
            Case::new(format!("{kind:?}"), setup)
                .rule(When::sends(kind), Do::Set(Field::TOTAL_AHS_LENGTH, 255))
                .rule(When::sends(kind), Do::Cut { at: 52, end: End::Silence })
                .expect(all([format_breaks!(UnexpectedAhs(255)), at_once()]))
        })
        .collect()
}

/// Segments that reach beyond the total are refused, and nothing beyond is read.
fn f06(sound: bool) -> Result<(), String> {
    for total in (4..=32).step_by(4) {
        for length in 0..=40u16 {
            let mut bytes = vec![0; total];
            bytes[..2].copy_from_slice(&length.to_be_bytes());
            bytes[2] = 1;
            let segment = (3 + usize::from(length)).next_multiple_of(4);
            let first = AhsIter::new(&bytes).next();
            let refused = matches!(first, Some(Err(FormatError::AhsBeyondTotal { .. })));
            let wanted = if sound { segment > total } else { segment < total };
            if refused != wanted {
                return Err(format!("{length} in {total} bytes: {first:?}"));
            }
            if let Some(Ok(Ahs::ExtendedCdb(rest))) = first
                && rest.len() > total
            {
                return Err("more bytes than there are".into());
            }
        }
    }
    Ok(())
}

/// A PDU with this opcode: in place of the first login response, behind the login, while a task runs.
fn opcode_cases(opcode: u8, expect: &Expect) -> Vec<Case> {
    let extra = Extra::with_opcode(opcode);
    let expect = all([expect.clone(), at_once()]);
    vec![
        Case::new(format!("{opcode:#04x} in the login"), Setup::normal())
            .rule(When::receives(Opcode::LoginRequest), Do::Send(extra.clone()))
            .expect(expect.clone()),
        Case::new(format!("{opcode:#04x} after the login"), Setup::normal())
            .rule(When::LoggedIn, Do::Send(extra.clone()))
            .expect(expect.clone()),
        Case::new(format!("{opcode:#04x} with a task"), Setup::reading())
            .rule(When::receives(Opcode::ScsiCommand), Do::Send(extra.of_task()))
            .expect(expect),
    ]
}

fn f07() -> Vec<Case> {
    let unassigned = |code: &u8| Opcode::from_byte(*code).is_none() && !Opcode::is_vendor(*code);
    (0..0x40)
        .filter(unassigned)
        .flat_map(|code| opcode_cases(code, &format_breaks!(UnassignedOpcode(_))))
        .collect()
}

fn f08() -> Vec<Case> {
    [0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x10]
        .into_iter()
        .flat_map(|code| opcode_cases(code, &format_breaks!(WrongDirection(_))))
        .collect()
}

fn f09() -> Vec<Case> {
    [0x3c, 0x3d, 0x3e, 0x1c, 0x1d, 0x1e]
        .into_iter()
        .flat_map(|code| opcode_cases(code, &format_breaks!(VendorOpcode(_))))
        .collect()
}

fn f10() -> Vec<Case> {
    let bits = [Do::Set(Field::RESERVED_BIT, 1), Do::Set(Field::IMMEDIATE, 1)];
    let mut cases: Vec<Case> = KINDS.into_iter().map(|kind| patched(kind, &bits)).collect();
    cases.extend([Setup::reading(), soliciting()].map(|setup| {
        let rules = bits.clone().map(|act| Rule::new(When::sends_any(), act));
        Case::new("every PDU of a session", setup).rules(rules)
    }));
    cases
}

/// Bits of byte 1 and bytes that are reserved in each kind.
fn reserved(kind: Opcode) -> Vec<Do> {
    let bits = |mask| Do::Set(Field::bits(1, mask), 0xff);
    let bytes = |at: usize, len: usize| Do::Patch(at, vec![0xa5; len]);
    match kind {
        Opcode::NopIn => vec![bits(0x7f), bytes(2, 2), bytes(36, 12)],
        // Without level 2 the Status Qualifier is reserved, without SNACK its tag, without o and u the count.
        Opcode::ScsiResponse => {
            vec![bits(0x60), bits(0x01), bytes(8, 8), bytes(20, 4), bytes(40, 4)]
        }
        Opcode::TaskManagementResponse => {
            vec![bits(0x7f), bytes(3, 1), bytes(8, 8), bytes(20, 4), bytes(36, 12)]
        }
        Opcode::LoginResponse => vec![bits(0x30), bytes(20, 4), bytes(38, 10)],
        Opcode::TextResponse => vec![bits(0x3f), bytes(2, 2), bytes(36, 12)],
        Opcode::DataIn => vec![bits(0x38), bytes(2, 1), bytes(8, 8)],
        Opcode::LogoutResponse => {
            vec![bits(0x7f), bytes(3, 1), bytes(8, 8), bytes(20, 4), bytes(36, 4), bytes(44, 4)]
        }
        Opcode::R2t => vec![bits(0x7f), bytes(2, 2)],
        Opcode::AsyncMessage => {
            vec![bits(0x7f), bytes(2, 2), bytes(8, 8), bytes(20, 4), bytes(44, 4)]
        }
        Opcode::Reject => vec![bits(0x7f), bytes(3, 1), bytes(8, 8), bytes(20, 4), bytes(36, 12)],
        _ => Vec::new(),
    }
}

fn f11() -> Vec<Case> {
    let mut cases: Vec<Case> =
        KINDS.into_iter().map(|kind| patched(kind, &reserved(kind))).collect();
    let logins = reserved(Opcode::LoginResponse).into_iter();
    let logins = logins.map(|act| Rule::new(When::sends_each(Opcode::LoginResponse), act));
    cases.push(Case::new("LoginResponse", Setup::normal()).rules(logins));
    // Data-In without status has more of them.
    let setup = Setup::reading().service(|s| s.collapse = false);
    let bytes = |at: usize, len: usize| Do::Patch(at, vec![0xa5; len]);
    let acts = [bytes(2, 2), bytes(24, 4), bytes(44, 4)];
    let rules = acts.map(|act| Rule::new(When::sends_each(Opcode::DataIn), act));
    cases.push(Case::new("Data-In without status", setup).rules(rules));
    let flags = Rule::new(
        When::Sends(Kind::Of(Opcode::NopIn), Nth::Each),
        Do::Set(Field::bits(1, 0x7f), 0x7f),
    );
    cases.push(Case::new("NOP-In flags", setup_for(Opcode::NopIn)).rules([flags]));
    cases
}

fn f12() -> Vec<Case> {
    let mut cases = Vec::new();
    for digests in [false, true] {
        for length in 33..=36 {
            let cdb = [0x12, 0, 0, 0, length, 0];
            let request = Request::new(&cdb, Transfer::In(u32::from(length)));
            let setup = Setup::normal().jobs([request.job(), Job::Settle]);
            let setup = if digests { with_digests(setup) } else { setup };
            let case = Case::new(format!("{length} bytes, digests {digests}"), setup);
            let case = case.rule(When::sends_any(), Do::Pad(0xa5));
            cases.push(case.expect(all([Expect::Works, Expect::TaskGood(0)])));
        }
    }
    let discovery = Case::new("discovery", Setup::discovery());
    cases.push(discovery.rule(When::sends_any(), Do::Pad(0xa5)));
    cases
}

fn f13() -> Vec<Case> {
    let kinds = [
        Opcode::ScsiResponse,
        Opcode::R2t,
        Opcode::TaskManagementResponse,
        Opcode::LogoutResponse,
        Opcode::AsyncMessage,
        Opcode::Reject,
        Opcode::NopIn,
    ];
    kinds.into_iter().map(|kind| patched(kind, &[Do::Set(Field::FINAL, 0)])).collect()
}

fn f14() -> Vec<Case> {
    let mut cases = Vec::new();
    // With both digests: header to 47, its digest to 51, data to 563, its digest to 567.
    let setup = with_digests(Setup::normal()).jobs([Job::read(0, 1), Job::Settle]);
    for at in [1, 4, 47, 48, 50, 51, 52, 53, 300, 563, 564, 566, 567] {
        for end in [End::Close, End::Reset] {
            let expect = match end {
                End::Close => fails!(LostReason::Eof),
                _ => fails!(LostReason::Transport),
            };
            let lost = Expect::Task(0, pattern!(Told::Lost { .. }));
            let case = Case::new(format!("{end:?} at {at}"), setup.clone());
            cases.push(
                case.rule(When::sends(Opcode::DataIn), Do::Cut { at, end })
                    .expect(all([expect, lost])),
            );
        }
    }
    for at in [1, 20, 47, 48, 60] {
        let case = Case::new(format!("login, close at {at}"), Setup::normal());
        cases.push(
            case.rule(When::sends(Opcode::LoginResponse), Do::Cut { at, end: End::Close })
                .expect(fails!(LostReason::Eof)),
        );
    }
    cases
}

fn f15() -> Vec<Case> {
    let noise: Vec<u8> = (0..200u8).map(|n| n.wrapping_mul(37) | 1).collect();
    let refuse = |act| Rule::new(When::sends(Opcode::LoginResponse), act);
    let refusal = [
        refuse(Do::Set(Field::STATUS_CLASS, 2)),
        refuse(Do::Set(Field::STATUS_DETAIL, 1)),
        refuse(Do::Data(Vec::new())),
        refuse(Do::Append(noise.clone())),
    ];
    let closed = Expect::Told(pattern!(Told::State(SessionState::Closed)));
    let none_failed =
        Expect::Not(Box::new(Expect::Told(pattern!(Told::State(SessionState::Failed(_))))));
    vec![
        Case::new("behind a refusal", Setup::normal())
            .rules(refusal)
            .expect(all([refused!(2, 1), Expect::TakenAtMost(48)])),
        Case::new("behind a logout response", Setup::logging_out())
            .rule(When::sends(Opcode::LogoutResponse), Do::Append(noise))
            .expect(all([Expect::Works, closed, none_failed])),
    ]
}

fn f16() -> Vec<Case> {
    let every = Duration::from_secs(20);
    let trickle = |kind, name: &str, setup| {
        Case::new(format!("{kind:?}, {name}"), setup)
            .rule(When::sends(kind), Do::Trickle { bytes: 1, every })
    };
    let quiet = |setup: Setup| {
        setup.config(|c| c.timeouts(Timeouts { nop_interval: None, ..Timeouts::DEFAULT }))
    };
    let within = |from, to| Expect::OverAt(Duration::from_secs(from)..=Duration::from_secs(to));
    let lost = || Expect::Task(0, pattern!(Told::Lost { .. }));
    let progress = || fails!(LostReason::TimedOut(Timer::Progress));
    vec![
        trickle(Opcode::DataIn, "no pings", quiet(Setup::reading())).expect(all([
            progress(),
            within(30, 60),
            lost(),
        ])),
        // The echo of a ping is stuck behind the PDU.
        trickle(Opcode::DataIn, "pings", Setup::reading()).expect(all([
            fails!(LostReason::TimedOut(Timer::NopOut)),
            within(10, 60),
            lost(),
        ])),
        trickle(Opcode::LoginResponse, "login", Setup::normal())
            .expect(all([fails!(LostReason::TimedOut(Timer::Login)), within(15, 15)])),
        trickle(Opcode::TextResponse, "discovery", Setup::discovery()).expect(all([
            fails!(LostReason::TimedOut(Timer::Progress | Timer::Text)),
            within(30, 60),
        ])),
    ]
}

/// The first task times out ten seconds after it was submitted, not later.
const ON_TIME: Law = Law {
    name: "task 0 ends after ten seconds",
    check: |seen| {
        let task = seen.tasks.first().ok_or("there is no task")?;
        let (at, _) = task.end.as_ref().ok_or("task 0 has no end")?;
        match at.saturating_since(task.at) {
            time if time >= Duration::from_secs(10) && time <= Duration::from_millis(10_100) => {
                Ok(())
            }
            time => Err(format!("it ended after {time:?}")),
        }
    },
};

fn f17() -> Vec<Case> {
    let mut request = Request::new(&[0x28, 0, 0, 0, 0, 0, 0, 0, 8, 0], Transfer::In(4096));
    request.timeout = Some(Duration::from_secs(10));
    let setup = Setup::normal().jobs([request.job(), Job::Settle]);
    let ignore = Rule::new(When::receives(Opcode::ScsiCommand), Do::Ignore);
    let flood = |extra: &dyn Fn(u64) -> Extra| -> Vec<Rule> {
        let rule = |n| {
            let when = When::At(Duration::from_millis(20 + n / 4));
            Rule::new(when, Do::Send(extra(n)))
        };
        (0..2000).map(rule).collect()
    };
    let expect = all([
        Expect::GoesOn,
        Expect::Task(0, pattern!(Told::Lost { reason: LostReason::TimedOut(Timer::Task), .. })),
        Expect::Law(ON_TIME),
    ]);
    let nop = |_| Extra::new(Opcode::NopIn);
    let data_in = |n| {
        Extra::new(Opcode::DataIn)
            .of_task()
            .set(Field::FINAL, 0)
            .set(Field::BUFFER_OFFSET, 0)
            .set(Field::DATA_SN, n)
    };
    vec![
        Case::new("NOP-In", setup.clone())
            .rules([ignore.clone()])
            .rules(flood(&nop))
            .expect(expect.clone()),
        Case::new("empty Data-In", setup).rules([ignore]).rules(flood(&data_in)).expect(expect),
    ]
}

fn f18() -> Vec<Case> {
    let zeros = Do::Raw(vec![0; 48]);
    let expect = all([format_breaks!(WrongDirection(0)), at_once()]);
    [
        (When::receives(Opcode::LoginRequest), Setup::normal()),
        (When::LoggedIn, Setup::normal()),
        (When::receives(Opcode::ScsiCommand), Setup::reading()),
    ]
    .into_iter()
    .map(|(when, setup)| {
        Case::new(format!("{when:?}"), setup).rule(when, zeros.clone()).expect(expect.clone())
    })
    .collect()
}

fn f19() -> Vec<Case> {
    let states = [
        ("login", When::receives(Opcode::LoginRequest), Setup::normal()),
        ("second stage", When::receives_nth(Opcode::LoginRequest, 1), Setup::normal()),
        ("idle", When::LoggedIn, Setup::normal()),
        ("reading", When::receives(Opcode::ScsiCommand), Setup::reading()),
        ("writing", When::receives(Opcode::ScsiCommand), soliciting()),
        ("logout", When::receives(Opcode::LogoutRequest), Setup::logging_out()),
        ("discovery", When::receives(Opcode::TextRequest), Setup::discovery()),
    ];
    let mut cases = Vec::new();
    for (name, when, setup) in states {
        for seed in 0..32 {
            let case = Case::new(format!("{name}, seed {seed}"), setup.clone());
            cases.push(
                case.rule(when.clone(), Do::Noise { seed, len: 96 })
                    .rule(when.clone(), Do::Ignore)
                    .expect(breaks!(Format(_))),
            );
        }
    }
    cases
}
