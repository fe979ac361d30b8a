//! G: digests.

use iscsi_core::digest::{DigestKind, crc32c, to_wire};
use iscsi_core::testing::{Do, Extra, Field, Kind, Node, Nth, Rule, Told, When};
use iscsi_core::text::{Digests, Negotiated};
use iscsi_core::wire::{Ahs, AhsIter, Opcode};
use iscsi_core::{LostReason, ProtocolError, Transfer};

use super::common::{KINDS, all, at_once, harmless, patched, soliciting, with_digests};
use crate::case::{Case, Direct, Job, Request, Row, Setup, TARGET, Verdict};
use crate::expect::{Expect, Is, Law, Pdus};
use crate::{breaks, fails, format_breaks, pattern};

pub(crate) fn rows() -> Vec<Row> {
    vec![
        Row::pass("G-01", g01()),
        Row::pass("G-02", g02()).note("the connection is dropped, and the task with it"),
        Row::pass("G-03", g03()),
        Row::pass("G-04", g04()),
        Row::pass("G-05", g05()),
        Row::pass("G-06", g06()),
        Row::pass("G-07", g07()),
        Row::pass("G-08", g08()),
        Row::pass("G-09", g09()),
        Row::new("G-10", Verdict::Direct(Direct { name: "vectors of the RFC", check: g10 })),
        Row::pass("G-11", g11()),
        Row::pass("G-12", g12()),
    ]
}

/// Both sides recover within the connection.
pub(super) fn with_level_1(setup: Setup) -> Setup {
    setup.config(|c| c.error_recovery_level(1)).target(|l| l.error_recovery_level = 1)
}

fn no_data_digest(setup: Setup) -> Setup {
    setup.config(|c| c.header_digest(Digests::CRC32C).data_digest(Digests::NONE))
}

fn no_header_digest(setup: Setup) -> Setup {
    setup.config(|c| c.header_digest(Digests::NONE).data_digest(Digests::CRC32C))
}

/// The first PDU of each kind is changed so, its set-up too; the two kinds that need no reason have `extra` done to them instead.
fn each_kind(act: &Do, extra: fn(Extra) -> Extra, change: fn(Setup) -> Setup) -> Vec<Case> {
    let case = |kind| {
        let mut case = match harmless(kind) {
            None => patched(kind, core::slice::from_ref(act)),
            Some(pdu) => Case::new(format!("{kind:?}"), Setup::reading())
                .rule(When::receives(Opcode::ScsiCommand), Do::Send(extra(pdu))),
        };
        case.setup = change(case.setup);
        case
    };
    KINDS.into_iter().map(case).collect()
}

fn g01() -> Vec<Case> {
    let wrong = || all([breaks!(HeaderDigest), at_once()]);
    let mut cases = Vec::new();
    for (name, change) in [
        ("both", with_digests as fn(Setup) -> Setup),
        ("header only", no_data_digest),
        ("level 1", |setup| with_level_1(with_digests(setup))),
    ] {
        for mut case in each_kind(&Do::SpoilHeaderDigest, |pdu| pdu.flip(48, 1), change) {
            // Discovery sessions are always at level 0.
            if name == "level 1" && case.setup.nodes.is_some() {
                continue;
            }
            case.name = format!("{}, {name}", case.name);
            cases.push(case.expect(wrong()));
        }
    }
    // Nothing of it is processed.
    let event = Extra::new(Opcode::AsyncMessage).numbered().set(Field::ASYNC_EVENT, 200);
    cases.extend([
        Case::new("no byte is placed", with_digests(Setup::reading()))
            .rule(When::sends(Opcode::DataIn), Do::SpoilHeaderDigest)
            .expect(all([
                wrong(),
                Expect::Untouched(0),
                Expect::Task(0, pattern!(Told::Lost { .. })),
            ])),
        Case::new("no event is told", with_digests(Setup::reading()))
            .rule(When::receives(Opcode::ScsiCommand), Do::Send(event.flip(49, 0x80)))
            .expect(all([
                wrong(),
                Expect::Not(Box::new(Expect::Told(pattern!(Told::AsyncMessage)))),
            ])),
        Case::new("no ping is answered", with_digests(Setup::reading()))
            .rule(
                When::receives(Opcode::ScsiCommand),
                Do::Send(
                    Extra::new(Opcode::NopIn)
                        .set(Field::TARGET_TRANSFER_TAG, 5)
                        .set(Field::LUN, 0)
                        .flip(51, 1),
                ),
            )
            .expect(all([wrong(), Expect::Count(Pdus::sent(Opcode::NopOut), 0..=0)])),
        Case::new("no data is sent for an R2T", with_digests(soliciting()))
            .rule(When::sends(Opcode::R2t), Do::SpoilHeaderDigest)
            .expect(all([wrong(), Expect::Count(Pdus::sent(Opcode::DataOut), 0..=0)])),
    ]);
    cases
}

fn g02() -> Vec<Case> {
    let wrong = || {
        all([
            breaks!(DataDigest),
            at_once(),
            Expect::Task(
                0,
                pattern!(Told::Lost {
                    reason: LostReason::Protocol(ProtocolError::DataDigest),
                    ..
                }),
            ),
            Expect::Count(Pdus::sent(Opcode::SnackRequest), 0..=0),
        ])
    };
    let mut cases = Vec::new();
    for (name, change) in
        [("both", with_digests as fn(Setup) -> Setup), ("data only", no_header_digest)]
    {
        let parts = || change(Setup::reading()).service(|s| s.segment = 512);
        cases.push(
            Case::new(format!("the only PDU, {name}"), change(Setup::reading()))
                .rule(When::sends(Opcode::DataIn), Do::SpoilDataDigest)
                .expect(wrong()),
        );
        for n in [0, 3, 7] {
            cases.push(
                Case::new(format!("PDU {n} of 8, {name}"), parts())
                    .rule(When::sends_nth(Opcode::DataIn, n), Do::SpoilDataDigest)
                    .expect(wrong()),
            );
        }
        let large = change(Setup::normal())
            .service(|s| s.blocks = 1024)
            .jobs([Job::read(0, 512), Job::Settle]);
        cases.push(
            Case::new(format!("256 KiB, {name}"), large)
                .rule(When::sends(Opcode::DataIn), Do::Flip { at: 200_000, mask: 0x10 })
                .expect(wrong()),
        );
    }
    cases
}

fn g03() -> Vec<Case> {
    let snacks = || Pdus::sent(Opcode::SnackRequest);
    let eight = || with_level_1(with_digests(Setup::reading())).service(|s| s.segment = 512);
    let mut cases = Vec::new();
    for collapse in [true, false] {
        for spoilt in [vec![0], vec![3], vec![7], vec![0, 1, 2], vec![1, 4, 6], vec![6, 7]] {
            let setup = eight().service(|s| s.collapse = collapse);
            let spoil = |n| Rule::new(When::sends_nth(Opcode::DataIn, n), Do::SpoilDataDigest);
            let rules: Vec<Rule> = spoilt.iter().copied().map(spoil).collect();
            cases.push(
                Case::new(format!("PDUs {spoilt:?}, collapsed {collapse}"), setup)
                    .rules(rules)
                    .expect(all([
                        Expect::Works,
                        Expect::Field(snacks(), Field::SNACK_TYPE, Is::Value(0)),
                        Expect::Count(snacks(), 1..=spoilt.len()),
                        Expect::Connections(1..=1),
                    ])),
            );
        }
    }
    cases.push(
        Case::new("damaged again and again", eight())
            .rule(When::sends_each(Opcode::DataIn), Do::SpoilDataDigest)
            .expect(all([breaks!(DataDigest), Expect::Task(0, pattern!(Told::Lost { .. }))])),
    );
    cases
}

/// A session for commands that asks for its own target.
fn asking() -> Setup {
    Setup::normal()
        .jobs([Job::Discover, Job::Settle])
        .with(|s| s.nodes = Some(vec![Node::new(TARGET, &["192.0.2.2:3260,1"])]))
}

fn g04() -> Vec<Case> {
    let command = Request::new(&[0xff, 0, 0, 0, 0, 0], Transfer::None);
    let failing = Setup::normal().jobs([command.job(), Job::Settle]);
    let spoil = |kind| Rule::new(When::sends(kind), Do::SpoilDataDigest);
    let send = |extra| Rule::new(When::receives(Opcode::ScsiCommand), Do::Send(extra));
    let event = Extra::new(Opcode::AsyncMessage).numbered().set(Field::ASYNC_EVENT, 255);
    let reject = harmless(Opcode::Reject).expect("a Reject");
    let echo = Rule::new(When::sends(Opcode::NopIn), Do::Data(vec![1, 2, 3, 4]));
    let stimuli: Vec<(Opcode, Setup, Vec<Rule>, Expect)> = vec![
        (
            Opcode::ScsiResponse,
            failing,
            vec![spoil(Opcode::ScsiResponse)],
            all([
                Expect::GoesOn,
                Expect::Task(0, pattern!(Told::Done { sense, .. } if sense.len() == 18)),
            ]),
        ),
        (
            Opcode::AsyncMessage,
            Setup::reading(),
            vec![send(event.data(&[1, 2, 3, 4]).flip(53, 1))],
            all([Expect::Works, Expect::Notice(255, Vec::new())]),
        ),
        (Opcode::Reject, Setup::reading(), vec![send(reject.flip(60, 1))], Expect::Works),
        (Opcode::TextResponse, asking(), vec![spoil(Opcode::TextResponse)], Expect::Works),
        (
            Opcode::NopIn,
            Setup::normal().jobs([Job::Ping, Job::Settle]),
            vec![echo, spoil(Opcode::NopIn)],
            Expect::Works,
        ),
    ];
    let mut cases = Vec::new();
    for (kind, setup, rules, mended) in stimuli {
        let snacks = || Pdus::sent(Opcode::SnackRequest);
        // What comes behind it shows that nothing but this status is missing.
        let asked = all([
            Expect::Count(snacks(), 1..=1),
            Expect::Field(snacks(), Field::SNACK_TYPE, Is::Value(1)),
            Expect::Field(snacks(), Field::RUN_LENGTH, Is::Value(1)),
            Expect::Field(
                snacks(),
                Field::BEG_RUN,
                Is::Same(Pdus::received(kind).first(), Field::STAT_SN, 0),
            ),
            // Not acknowledged until it has come.
            Expect::Field(
                snacks(),
                Field::EXP_STAT_SN,
                Is::Same(Pdus::received(kind).first(), Field::STAT_SN, 0),
            ),
        ]);
        let silent = Expect::Not(Box::new(Expect::Any(vec![
            Expect::Told(pattern!(Told::AsyncMessage)),
            Expect::Item(pattern!(_)),
            Expect::Told(pattern!(Told::Done { .. })),
        ])));
        let case = |name: &str, setup| {
            Case::new(format!("{kind:?}, {name}"), with_digests(setup))
                .rules(rules.clone())
                .honest(with_digests(Setup::reading()))
        };
        let mut at_level_0 = all([breaks!(DataDigest), at_once()]);
        // A read goes on until the damaged PDU, and may be done before.
        if !matches!(kind, Opcode::AsyncMessage | Opcode::Reject) {
            at_level_0 = all([at_level_0, silent]);
        }
        cases.push(case("level 0", setup.clone()).expect(at_level_0));
        cases.push(case("level 1", with_level_1(setup)).expect(all([mended, asked])));
    }
    cases
}

fn g05() -> Vec<Case> {
    let jobs = [
        Job::test_unit_ready(),
        Job::Ping,
        Job::write(4, 2),
        Job::read(0, 2),
        Job::Settle,
        Job::Manage(iscsi_core::TaskManagement::LogicalUnitReset(iscsi_core::Lun::ZERO)),
        Job::Settle,
        Job::Logout,
        Job::Settle,
        Job::Open,
    ];
    let without = |pdus: Pdus| Expect::Length(pdus, Is::Value(0));
    let mut cases = Vec::new();
    for (name, change) in
        [("both", with_digests as fn(Setup) -> Setup), ("data only", no_header_digest)]
    {
        let setup = change(Setup::normal()).jobs(jobs.clone()).service(|s| s.collapse = false);
        cases.push(Case::new(name, setup).expect(all([
            Expect::Works,
            Expect::Negotiated(pattern!(Negotiated { data_digest: DigestKind::Crc32c, .. })),
            without(Pdus::sent(Opcode::ScsiCommand).first()),
            without(Pdus::sent(Opcode::NopOut)),
            without(Pdus::sent(Opcode::TaskManagementRequest)),
            without(Pdus::sent(Opcode::LogoutRequest)),
            without(Pdus::received(Opcode::ScsiResponse)),
            without(Pdus::received(Opcode::NopIn)),
            without(Pdus::received(Opcode::TaskManagementResponse)),
            without(Pdus::received(Opcode::LogoutResponse)),
        ])));
    }
    cases
}

fn g06() -> Vec<Case> {
    let mut cases = Vec::new();
    for length in [1u8, 2, 3, 5, 6, 7] {
        let inquiry = Request::new(&[0x12, 0, 0, 0, length, 0], Transfer::In(length.into()));
        let setup = with_digests(Setup::normal().jobs([inquiry.job(), Job::Settle]));
        for pad in [0, 0xa5, 0xff] {
            cases.push(
                Case::new(format!("{length} bytes in, padded with {pad:#x}"), setup.clone())
                    .rule(When::sends_each(Opcode::DataIn), Do::Pad(pad))
                    .expect(all([
                        Expect::Works,
                        Expect::Length(
                            Pdus::received(Opcode::DataIn).first(),
                            Is::Value(length.into()),
                        ),
                    ])),
            );
        }
        // A bit of the padding turns over on the way.
        for at in length..length.next_multiple_of(4) {
            let flip = Do::Flip { at: 52 + usize::from(at), mask: 0x08 };
            cases.push(
                Case::new(format!("{length} bytes in, pad {at} damaged"), setup.clone())
                    .rule(When::sends(Opcode::DataIn), flip)
                    .expect(all([breaks!(DataDigest), at_once()])),
            );
        }
        // Of our own PDUs the target checks digest and padding.
        for immediate in [true, false] {
            let write =
                Request::new(&[0x2a, 0, 0, 0, 0, 0, 0, 0, 1, 0], Transfer::Out(length.into()));
            let setup = with_digests(Setup::normal().jobs([write.job(), Job::Settle]))
                .config(|c| c.immediate_data(immediate).initial_r2t(!immediate));
            let kind = if immediate { Opcode::ScsiCommand } else { Opcode::DataOut };
            cases.push(
                Case::new(format!("{length} bytes out, immediate {immediate}"), setup)
                    .honest(Setup::writing())
                    .expect(all([
                        Expect::GoesOn,
                        Expect::Task(0, pattern!(Told::Done { .. })),
                        Expect::Length(Pdus::sent(kind).first(), Is::Value(length.into())),
                    ])),
            );
        }
    }
    cases
}

/// The first command has its long CDB, a part of it in an additional header segment.
const LONG_CDB: Law = Law {
    name: "the command has an extended CDB",
    check: |seen| {
        let command = Pdus::sent(Opcode::ScsiCommand).first().find(seen);
        let entry = command.first().ok_or("there is no command")?;
        match AhsIter::new(&entry.ahs).next() {
            Some(Ok(Ahs::ExtendedCdb(rest))) if rest.iter().all(|byte| *byte == 0x77) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    },
};

fn g07() -> Vec<Case> {
    let mut cases = Vec::new();
    for length in [17, 18, 19, 20, 32, 260] {
        for (name, change) in
            [("both", with_digests as fn(Setup) -> Setup), ("header only", no_data_digest)]
        {
            let mut cdb = vec![0x77; length];
            cdb[..16].fill(0);
            cdb[0] = 0x28;
            cdb[8] = 4;
            let read = Request::new(&cdb, Transfer::In(2048));
            let setup = change(Setup::normal().jobs([read.job(), Job::Settle]));
            cases.push(
                Case::new(format!("a CDB of {length} bytes, {name}"), setup)
                    .expect(all([Expect::Works, Expect::Law(LONG_CDB)])),
            );
        }
    }
    cases
}

fn g08() -> Vec<Case> {
    let mut cases: Vec<Case> = KINDS
        .into_iter()
        .filter(|kind| harmless(*kind).is_none())
        .map(|kind| {
            let mut case = patched(kind, &[Do::ReverseDigests]);
            case.setup = with_digests(case.setup);
            case.expect(all([breaks!(HeaderDigest), at_once()]))
        })
        .collect();
    cases.push(
        Case::new("a data digest", no_header_digest(Setup::reading()))
            .rule(When::sends(Opcode::DataIn), Do::ReverseDigests)
            .expect(all([breaks!(DataDigest), at_once()])),
    );
    cases
}

fn g09() -> Vec<Case> {
    use DigestKind::{Crc32c, None};
    let jobs = [
        Job::read(0, 8),
        Job::write(4, 16),
        Job::Ping,
        Job::test_unit_ready(),
        Job::Settle,
        Job::Discover,
        Job::Settle,
    ];
    let mut cases = Vec::new();
    for (header, data, agreed) in [
        (false, false, pattern!(Negotiated { header_digest: None, data_digest: None, .. })),
        (true, false, pattern!(Negotiated { header_digest: Crc32c, data_digest: None, .. })),
        (false, true, pattern!(Negotiated { header_digest: None, data_digest: Crc32c, .. })),
        (true, true, pattern!(Negotiated { header_digest: Crc32c, data_digest: Crc32c, .. })),
    ] {
        let digests = |wanted| if wanted { Digests::CRC32C } else { Digests::NONE };
        for immediate in [true, false] {
            let setup = asking()
                .jobs(jobs.clone())
                .config(|c| c.header_digest(digests(header)).data_digest(digests(data)))
                .config(|c| c.immediate_data(immediate).initial_r2t(!immediate))
                .config(|c| c.max_recv_data_segment_length(1024));
            cases.push(
                Case::new(format!("{header} {data}, immediate data {immediate}"), setup)
                    .expect(all([Expect::Works, Expect::Negotiated(agreed)])),
            );
        }
        let setup = Setup::discovery()
            .config(|c| c.header_digest(digests(header)).data_digest(digests(data)));
        cases.push(
            Case::new(format!("{header} {data}, discovery"), setup)
                .expect(all([Expect::Works, Expect::Negotiated(agreed)])),
        );
    }
    cases
}

fn g10(sound: bool) -> Result<(), String> {
    let ascending: [u8; 32] = core::array::from_fn(|i| i as u8);
    let descending: [u8; 32] = core::array::from_fn(|i| 31 - i as u8);
    let mut read_10 = [0; 48];
    read_10[..2].copy_from_slice(&[0x01, 0xc0]);
    read_10[16] = 0x14;
    read_10[22] = 0x04;
    read_10[27] = 0x14;
    read_10[31] = 0x18;
    read_10[32] = 0x28;
    read_10[40] = 0x02;
    for (bytes, wire) in [
        (&[0; 32][..], [0xaa, 0x36, 0x91, 0x8a]),
        (&[0xff; 32], [0x43, 0xab, 0xa8, 0x62]),
        (&ascending, [0x4e, 0x79, 0xdd, 0x46]),
        (&descending, [0x5c, 0xdb, 0x3f, 0x11]),
        (&read_10, [0x56, 0x3a, 0x96, 0xd9]),
    ] {
        let digest = to_wire(crc32c(bytes));
        if (digest == wire) != sound {
            return Err(format!("{digest:02x?} for {bytes:02x?}"));
        }
    }
    Ok(())
}

fn g11() -> Vec<Case> {
    // 48 bytes, their digest, 30 bytes of data, 2 of padding, their digest.
    let inquiry = Request::new(&[0x12, 0, 0, 0, 30, 0], Transfer::In(30));
    let setup = with_digests(Setup::normal().jobs([inquiry.job(), Job::Settle]));
    let mut cases = Vec::new();
    for bit in 0..88 * 8 {
        let (at, mask) = (bit / 8, 1 << (bit % 8));
        let expect = if at < 52 { breaks!(HeaderDigest) } else { breaks!(DataDigest) };
        cases.push(
            Case::new(format!("Data-In, bit {} of byte {at}", bit % 8), setup.clone())
                .rule(When::sends(Opcode::DataIn), Do::Flip { at, mask })
                .expect(all([expect, at_once(), Expect::Task(0, pattern!(Told::Lost { .. }))])),
        );
    }
    for kind in [Opcode::ScsiResponse, Opcode::R2t, Opcode::NopIn] {
        for at in 0..52 {
            let mut case = patched(kind, &[Do::Flip { at, mask: 1 << (at % 8) }]);
            case.name = format!("{kind:?}, byte {at}");
            case.setup = with_digests(case.setup);
            cases.push(case.expect(all([breaks!(HeaderDigest), at_once()])));
        }
    }
    cases
}

fn g12() -> Vec<Case> {
    let append = |n| {
        let when = When::Sends(Kind::Of(Opcode::LoginResponse), Nth::Is(n));
        Rule::new(when, Do::Append(vec![0xaa, 0x36, 0x91, 0x8a]))
    };
    let (digests, plain) = (with_digests(Setup::normal()), Setup::normal());
    vec![
        Case::new("behind the first response", digests.clone())
            .rules([append(0)])
            .expect(all([format_breaks!(UnassignedOpcode(0x2a)), at_once()])),
        Case::new("behind the first response, no digests", plain.clone())
            .rules([append(0)])
            .expect(all([format_breaks!(UnassignedOpcode(0x2a)), at_once()])),
        // Digests begin behind it, and find this.
        Case::new("behind the last response", digests.clone())
            .rules([append(1)])
            .expect(breaks!(HeaderDigest)),
        Case::new("behind the last response, no digests", plain)
            .rules([append(1)])
            .expect(fails!(LostReason::Protocol(ProtocolError::Format(_)))),
        Case::new("none", digests).expect(all([
            Expect::Works,
            Expect::Negotiated(pattern!(Negotiated {
                header_digest: DigestKind::Crc32c,
                data_digest: DigestKind::Crc32c,
                ..
            })),
        ])),
    ]
}
