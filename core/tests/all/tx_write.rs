//! Writes: immediate data, the unsolicited burst, R2Ts, and what goes out when.
#![cfg(feature = "testing")]

use iscsi_core::testing::{Disk, R2tOrder, Rig, Service};
use iscsi_core::text::Limits;
use iscsi_core::wire::{BHS_LEN, CommandAhs, Completion, DataOut, InitiatorPdu, R2t, ScsiCommand};
use iscsi_core::{
    Command, ConfigBuilder, InitiatorTaskTag, Lun, ProtocolError, R2tSn, TargetTransferTag, TaskId,
    Transfer,
};

fn bytes(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at % 253) as u8).collect()
}

/// What of a write goes out without an R2T: immediate bytes, and the Data-Out behind them as offset, length and F.
fn unsolicited(
    config: ConfigBuilder,
    segment: u32,
    len: u32,
) -> (u32, bool, Vec<(u32, u32, bool)>) {
    let limits = Limits { max_recv_data_segment_length: segment, ..Limits::DEFAULT };
    let mut rig = Rig::logged_in(config, limits);
    let data = bytes(len as usize);
    rig.submit(&Command::new(Lun::new(3).unwrap(), &[0x2a; 10], Transfer::Out(len)), &data);
    rig.run();
    let (command, immediate) = rig.target.expect_command();
    assert!(command.write && !command.read);
    assert_eq!(command.expected_data_transfer_length, len);
    assert_eq!(immediate, data[..immediate.len()]);
    let mut bursts = Vec::new();
    while !rig.target.inbox.is_empty() {
        let (data_out, part) = rig.target.expect_data_out();
        assert_eq!(data_out.transfer, None);
        assert_eq!(data_out.data_sn.0, bursts.len() as u32);
        assert_eq!(data_out.initiator_task_tag, command.initiator_task_tag);
        let at = data_out.buffer_offset as usize;
        assert_eq!(part, data[at..at + part.len()]);
        bursts.push((data_out.buffer_offset, part.len() as u32, data_out.is_final));
    }
    (immediate.len() as u32, command.is_final, bursts)
}

fn config(immediate: bool, initial_r2t: bool, first_burst: u32) -> ConfigBuilder {
    Rig::config().immediate_data(immediate).initial_r2t(initial_r2t).first_burst_length(first_burst)
}

#[test]
fn w_01_w_05_immediate_data_only() {
    for (first, segment, len, immediate) in [
        (4096, 8192, 512, 512),
        (4096, 8192, 4096, 4096),
        (4096, 8192, 4097, 4096),
        (4096, 1024, 4096, 1024),
        (4096, 1024, 1, 1),
        (1024, 513, 700, 513),
    ] {
        let got = unsolicited(config(true, true, first), segment, len);
        assert_eq!(got, (immediate, true, vec![]), "{first} {segment} {len}");
    }
}

#[test]
fn w_02_nothing_without_an_r2t() {
    assert_eq!(unsolicited(config(false, true, 4096), 8192, 8192), (0, true, vec![]));
}

#[test]
fn w_03_unsolicited_burst_without_immediate_data() {
    for (first, segment, len, bursts) in [
        (4096, 8192, 512, vec![(0, 512, true)]),
        (4096, 8192, 9000, vec![(0, 4096, true)]),
        (
            2048,
            512,
            9000,
            vec![(0, 512, false), (512, 512, false), (1024, 512, false), (1536, 512, true)],
        ),
        // Segments within a burst are whole words.
        (1026, 515, 9000, vec![(0, 512, false), (512, 514, true)]),
    ] {
        let got = unsolicited(config(false, false, first), segment, len);
        assert_eq!(got, (0, false, bursts), "{first} {segment} {len}");
    }
}

#[test]
fn w_04_w_24_immediate_data_and_unsolicited_burst_fill_the_first_burst() {
    for (first, segment, len, immediate, bursts) in [
        (4096, 1024, 1024, 1024, vec![]),
        (4096, 1024, 1025, 1024, vec![(1024, 1, true)]),
        (2048, 1024, 9000, 1024, vec![(1024, 1024, true)]),
        (2500, 1024, 9000, 1024, vec![(1024, 1024, false), (2048, 452, true)]),
        (4096, 8192, 9000, 4096, vec![]),
    ] {
        let got = unsolicited(config(true, false, first), segment, len);
        assert_eq!(got, (immediate, bursts.is_empty(), bursts), "{first} {segment} {len}");
    }
}

/// Every combination against the service, which checks all rules, and the data against the disk.
#[test]
fn write_matrix() {
    let sizes = [512u32, 1000, 2049, 4096];
    for immediate in [false, true] {
        for initial_r2t in [false, true] {
            for first in sizes {
                for segment in [512, 1001, 4096] {
                    for burst in [512u32, 777, 4096] {
                        let limits =
                            Limits { max_recv_data_segment_length: segment, ..Limits::DEFAULT };
                        let config = config(immediate, initial_r2t, first.min(burst.max(512)))
                            .max_burst_length(burst.max(512));
                        let mut rig = Rig::logged_in(config, limits);
                        let mut service = Service::new(Disk::new(64));
                        service.burst = burst;
                        service.outstanding = 1 + (burst % 3) as u16;
                        rig.target.service = Some(service);
                        let mut tasks = Vec::new();
                        for blocks in [1, 2, 7, 13] {
                            let data = bytes(blocks * 512);
                            let at = blocks * 4 % 20;
                            tasks.push((rig.write(at as u32, &data), at, data));
                            rig.run();
                        }
                        for (task, at, data) in tasks {
                            assert!(rig.outcome(task).is_good());
                            let _ = (at, data);
                        }
                        let data = bytes(13 * 512);
                        assert_eq!(&rig.disk().bytes[12 * 512..25 * 512], data);
                    }
                }
            }
        }
    }
}

/// A rig with a write of `len` bytes under way, of which nothing was sent.
fn writing(len: u32, limits: Limits) -> (Rig, TaskId, ScsiCommand) {
    let mut rig = Rig::logged_in(
        config(false, true, 512).data_sequence_in_order(false).max_burst_length(4096),
        Limits { data_sequence_in_order: false, ..limits },
    );
    let data = bytes(len as usize);
    let lun = Lun::new(5).unwrap();
    let task = rig.submit(&Command::new(lun, &[0x2a; 10], Transfer::Out(len)), &data);
    rig.run();
    let (command, none) = rig.target.expect_command();
    assert!(none.is_empty() && rig.target.inbox.is_empty());
    (rig, task, command)
}

/// All Data-Out in the inbox: tag, offset, length, DataSN, F.
fn answers(rig: &mut Rig) -> Vec<(u32, u32, usize, u32, bool)> {
    let mut found = Vec::new();
    while !rig.target.inbox.is_empty() {
        let (data_out, part) = rig.target.expect_data_out();
        let transfer = data_out.transfer.unwrap();
        let DataOut { buffer_offset, data_sn, is_final, .. } = data_out;
        let tag = transfer.target_transfer_tag.0;
        assert_eq!(part, bytes(8192)[buffer_offset as usize..][..part.len()]);
        found.push((tag, buffer_offset, part.len(), data_sn.0, is_final));
    }
    found
}

#[test]
fn w_06_r2t_is_answered_in_segments() {
    let limits = Limits { max_recv_data_segment_length: 512, ..Limits::DEFAULT };
    let (mut rig, task, command) = writing(4096, limits);
    let r2t = rig.target.r2t(&command, 0, 1024, 2048);
    rig.send(r2t, &[]);
    assert_eq!(
        answers(&mut rig),
        [
            (0x7000, 1024, 512, 0, false),
            (0x7000, 1536, 512, 1, false),
            (0x7000, 2048, 512, 2, false),
            (0x7000, 2560, 512, 3, true),
        ]
    );
    assert!(rig.end(task).is_none());
}

#[test]
fn w_06_lun_and_tag_are_copied() {
    let (mut rig, _, command) = writing(512, Limits::DEFAULT);
    let target_transfer_tag = TargetTransferTag(0x1234_5678);
    let r2t = R2t { target_transfer_tag, ..rig.target.r2t(&command, 0, 0, 512) };
    rig.send(r2t, &[]);
    let (data_out, _) = rig.target.expect_data_out();
    assert_eq!(data_out.transfer, Some(r2t.transfer()));
    assert_eq!(data_out.exp_stat_sn, rig.target.stat_sn);
}

#[test]
fn w_07_w_08_r2ts_are_answered_in_arrival_order() {
    let (mut rig, _, command) = writing(4096, Limits::DEFAULT);
    for (sn, offset, length) in [(0, 3072, 1024), (1, 0, 1024), (2, 1024, 1)] {
        let r2t = rig.target.r2t(&command, sn, offset, length);
        rig.target.send(r2t, &[]);
    }
    rig.run();
    assert_eq!(
        answers(&mut rig),
        [(0x7000, 3072, 1024, 0, true), (0x7001, 0, 1024, 0, true), (0x7002, 1024, 1, 0, true)]
    );
}

#[test]
fn w_23_arrival_order_across_tasks() {
    let limits = Limits { max_recv_data_segment_length: 512, ..Limits::DEFAULT };
    let (mut rig, _, first) = writing(2048, limits);
    let data = bytes(2048);
    rig.submit(&Command::new(Lun::ZERO, &[0x2a; 10], Transfer::Out(2048)), &data);
    rig.run();
    let (second, _) = rig.target.expect_command();
    let order = [(&second, 0, 0, 0x10), (&first, 0, 0, 0x20), (&second, 1, 1024, 0x30)];
    for (command, sn, offset, tag) in order {
        let target_transfer_tag = TargetTransferTag(tag);
        let r2t = R2t { target_transfer_tag, ..rig.target.r2t(command, sn, offset, 1024) };
        rig.target.send(r2t, &[]);
    }
    rig.run();
    let tags: Vec<_> = answers(&mut rig).into_iter().map(|answer| answer.0).collect();
    assert_eq!(tags, [0x10, 0x10, 0x20, 0x20, 0x30, 0x30]);
}

#[test]
fn w_25_unsolicited_bursts_follow_the_order_of_their_commands() {
    let limits = Limits { max_recv_data_segment_length: 512, ..Limits::DEFAULT };
    let mut rig = Rig::logged_in(config(false, false, 1024), limits);
    for _ in 0..3 {
        rig.submit(&Command::new(Lun::ZERO, &[0x2a; 10], Transfer::Out(1024)), &bytes(1024));
    }
    rig.run();
    let mut commands = Vec::new();
    let mut data = Vec::new();
    while let Some((pdu, _)) = rig.target.inbox.pop_front() {
        match pdu {
            InitiatorPdu::ScsiCommand(command) => commands.push(command.initiator_task_tag),
            InitiatorPdu::DataOut(data_out) => data.push(data_out.initiator_task_tag),
            other => panic!("{other:?}"),
        }
    }
    let twice: Vec<_> = commands.iter().flat_map(|itt| [*itt; 2]).collect();
    assert_eq!((commands.len(), data), (3, twice));
}

fn refused_r2t(change: impl Fn(R2t, &ScsiCommand) -> R2t) -> ProtocolError {
    let (mut rig, task, command) = writing(4096, Limits::DEFAULT);
    let r2t = rig.target.r2t(&command, 0, 0, 512);
    rig.send(change(r2t, &command), &[]);
    assert!(rig.target.inbox.is_empty(), "data went out");
    assert!(rig.lost(task).is_some());
    rig.violation().expect("a protocol error")
}

#[test]
fn w_09_more_r2ts_than_agreed() {
    let limits = Limits { max_outstanding_r2t: 2, ..Limits::DEFAULT };
    let (mut rig, _, command) = writing(4096, limits);
    for sn in 0..3 {
        let r2t = rig.target.r2t(&command, sn, sn * 512, 512);
        rig.target.send(r2t, &[]);
    }
    rig.run();
    assert_eq!(rig.violation(), Some(ProtocolError::TooManyR2ts(command.initiator_task_tag)));
}

#[test]
fn w_10_w_13_r2t_without_length_or_tag() {
    let error = refused_r2t(|r2t, _| R2t { desired_data_transfer_length: 0, ..r2t });
    assert!(matches!(error, ProtocolError::Format(_)), "{error:?}");
    let error =
        refused_r2t(|r2t, _| R2t { target_transfer_tag: TargetTransferTag::RESERVED, ..r2t });
    assert!(matches!(error, ProtocolError::Format(_)), "{error:?}");
}

#[test]
fn w_11_r2t_longer_than_max_burst_length() {
    let (mut rig, _, command) = writing(8192, Limits::DEFAULT);
    let r2t = rig.target.r2t(&command, 0, 0, 4097);
    rig.send(r2t, &[]);
    assert_eq!(rig.violation(), Some(ProtocolError::R2tTooLong { length: 4097, max: 4096 }));
}

#[test]
fn w_12_r2t_beyond_the_task() {
    for (offset, length) in [(3585, 512), (4096, 1), (0, 4097), (0x8000_0000, 512)] {
        let error = refused_r2t(|r2t, _| R2t {
            buffer_offset: offset,
            desired_data_transfer_length: length,
            ..r2t
        });
        assert_eq!(error, ProtocolError::R2tOutOfRange { offset, length, expected: 4096 });
    }
    let error = refused_r2t(|r2t, _| R2t { buffer_offset: 0xffff_ff00, ..r2t });
    assert!(
        matches!(error, ProtocolError::Format(_) | ProtocolError::R2tOutOfRange { .. }),
        "{error:?}"
    );
}

#[test]
fn w_14_r2t_for_a_read() {
    let mut rig = Rig::scripted();
    rig.read(0, 1);
    rig.run();
    let (command, _) = rig.target.expect_command();
    let r2t = rig.target.r2t(&command, 0, 0, 512);
    rig.send(r2t, &[]);
    assert_eq!(rig.violation(), Some(ProtocolError::R2tNotExpected(command.initiator_task_tag)));
}

#[test]
fn w_15_r2t_for_an_unknown_task() {
    let itt = InitiatorTaskTag(0x0123_0000);
    let error = refused_r2t(|r2t, _| R2t { initiator_task_tag: itt, ..r2t });
    assert_eq!(error, ProtocolError::UnknownTask(itt));
}

#[test]
fn w_16_r2t_with_another_lun() {
    let lun = Lun::new(6).unwrap();
    let itt = core::cell::Cell::new(InitiatorTaskTag::RESERVED);
    let error = refused_r2t(|r2t, command| {
        itt.set(command.initiator_task_tag);
        R2t { lun, ..r2t }
    });
    assert_eq!(error, ProtocolError::LunMismatch(itt.get()));
}

#[test]
fn w_17_r2t_is_missing() {
    let error = refused_r2t(|r2t, _| R2t { r2t_sn: R2tSn(1), ..r2t });
    assert_eq!(error, ProtocolError::R2tSn { expected: R2tSn(0), got: R2tSn(1) });
}

#[test]
fn w_18_repeated_r2t_is_discarded() {
    let (mut rig, task, command) = writing(1024, Limits::DEFAULT);
    let r2t = rig.target.r2t(&command, 0, 0, 1024);
    rig.send(r2t, &[]);
    assert_eq!(answers(&mut rig).len(), 1);
    rig.send(r2t, &[]);
    assert!(rig.target.inbox.is_empty());
    let response = rig.target.response(&command, Completion::GOOD);
    rig.send(response, &[]);
    assert!(rig.outcome(task).is_good());
}

#[test]
fn w_20_r2t_after_the_response() {
    let (mut rig, task, command) = writing(1024, Limits::DEFAULT);
    let response = rig.target.response(&command, Completion::GOOD);
    rig.send(response, &[]);
    rig.memory.take(task);
    let r2t = rig.target.r2t(&command, 0, 0, 1024);
    rig.send(r2t, &[]);
    assert!(rig.target.inbox.is_empty());
    assert_eq!(rig.violation(), Some(ProtocolError::UnknownTask(command.initiator_task_tag)));
}

#[test]
fn r_18_response_before_all_data_stops_them() {
    let limits = Limits { max_recv_data_segment_length: 512, ..Limits::DEFAULT };
    let (mut rig, task, command) = writing(4096, limits);
    // Room for the first PDU and a half.
    rig.link.as_mut().unwrap().to_target.set_faults(iscsi_core::testing::Faults {
        window: 840,
        ..iscsi_core::testing::Faults::NONE
    });
    let r2t = rig.target.r2t(&command, 0, 0, 4096);
    rig.target.send(r2t, &[]);
    let response = rig.target.response(&command, Completion::GOOD);
    rig.target.send(response, &[]);
    rig.run();
    let outcome = rig.outcome(task);
    assert!(outcome.missing > 0 && !outcome.is_good());
    // What was begun is finished, the rest is not sent.
    let sent = answers(&mut rig);
    assert!(sent.len() < 8, "{sent:?}");
    assert_eq!(rig.driver.session.in_use(), 0);
    let next = rig.read(0, 1);
    rig.run();
    let (command, _) = rig.target.expect_command();
    let last = rig.target.last_data_in(&command, 0, 0);
    rig.send(last, &[9; 512]);
    assert!(rig.outcome(next).is_good());
}

#[test]
fn w_26_long_cdbs_travel_in_an_additional_header_segment() {
    for len in [1, 6, 16, 17, 32, 255, 260] {
        let mut rig = Rig::scripted();
        let cdb: Vec<u8> = (0..len).map(|n| (n as u8).wrapping_add(1)).collect();
        rig.submit(&Command::new(Lun::ZERO, &cdb, Transfer::None), &[]);
        rig.run();
        let (InitiatorPdu::ScsiCommand(command), pdu) = rig.target.expect() else { panic!() };
        let ahs = CommandAhs::parse(&command, &pdu.ahs).unwrap();
        let mut out = [0; 260];
        let whole = ahs.join_cdb(&command, &mut out).unwrap();
        let rounded = whole.len();
        assert_eq!(whole[..len.min(rounded)], cdb[..]);
        assert_eq!(pdu.ahs.is_empty(), len <= 16);
    }
}

#[test]
fn w_27_bidirectional_command_serves_both_directions() {
    let mut rig = Rig::scripted();
    let transfer = Transfer::Both { out: 1024, r#in: 512 };
    let task = rig.submit(&Command::new(Lun::ZERO, &[0x53; 10], transfer), &bytes(1024));
    rig.run();
    let (InitiatorPdu::ScsiCommand(command), pdu) = rig.target.expect() else { panic!() };
    let ahs = CommandAhs::parse(&command, &pdu.ahs).unwrap();
    assert_eq!(ahs.bidi_read_expected_data_transfer_length, Some(512));
    assert_eq!((pdu.data.len(), command.expected_data_transfer_length), (1024, 1024));
    let data_in = rig.target.data_in(&command, 0, 0);
    rig.send(data_in, &[8; 512]);
    let response = rig.target.response(&command, Completion::GOOD);
    rig.send(response, &[]);
    assert!(rig.outcome(task).is_good());
    assert_eq!(rig.memory.read(task), [8; 512]);
}

/// RFC 7143 section 11.7.7: all but the last PDU of a burst are whole words, the immediate one included.
#[test]
fn w_05_immediate_data_before_more_of_the_burst_are_whole_words() {
    for segment in [1025, 1026, 1027] {
        let expected = (1024, false, vec![(1024, 976, true)]);
        assert_eq!(unsolicited(config(true, false, 4096), segment, 2000), expected, "{segment}");
        // Nothing follows: all of it.
        let expected = (segment - 1, true, vec![]);
        assert_eq!(unsolicited(config(true, true, 4096), segment, segment - 1), expected);
    }
}

/// What the target had asked for and does not want any more is not sent in the name of the next task.
#[test]
fn r2ts_of_a_task_end_with_it() {
    let (mut rig, task, command) = writing(4096, Limits::DEFAULT);
    let r2t = rig.target.r2t(&command, 0, 1024, 512);
    rig.target.send(r2t, &[]);
    let response = rig.target.response(&command, Completion::GOOD);
    rig.send(response, &[]);
    assert!(rig.end(task).is_some());
    assert!(rig.target.inbox.is_empty());
    let next = Command::new(Lun::ZERO, &[0x2a; 10], Transfer::Out(2048));
    let next = rig.submit(&next, &bytes(2048));
    assert_eq!(next.index(), task.index());
    rig.run();
    let (command, _) = rig.target.expect_command();
    assert!(rig.target.inbox.is_empty());
    let r2t = rig.target.r2t(&command, 0, 0, 2048);
    rig.send(r2t, &[]);
    assert_eq!(answers(&mut rig), [(0x7000, 0, 2048, 0, true)]);
}

#[test]
fn descending_r2ts_without_sequence_order() {
    let limits = Limits { data_sequence_in_order: false, ..Limits::DEFAULT };
    let mut rig = Rig::logged_in(config(true, false, 512).data_sequence_in_order(false), limits);
    let mut service = Service::new(Disk::new(64));
    service.order = R2tOrder::Descending;
    service.burst = 700;
    rig.target.service = Some(service);
    let task = rig.write(3, &bytes(20 * 512));
    rig.run();
    assert!(rig.outcome(task).is_good());
    assert_eq!(&rig.disk().bytes[3 * 512..23 * 512], bytes(20 * 512));
}

#[test]
fn header_of_a_data_out_is_exact() {
    let (mut rig, _, command) = writing(512, Limits::DEFAULT);
    let r2t = rig.target.r2t(&command, 0, 0, 512);
    rig.send(r2t, &[]);
    let itt = command.initiator_task_tag.0.to_be_bytes();
    let stat = rig.target.stat_sn.0.to_be_bytes();
    let mut expected = [0; BHS_LEN];
    expected[0] = 0x05;
    expected[1] = 0x80;
    expected[5..8].copy_from_slice(&[0, 2, 0]);
    expected[9] = 5; // the LUN
    expected[16..20].copy_from_slice(&itt);
    expected[20..24].copy_from_slice(&[0, 0, 0x70, 0]);
    expected[28..32].copy_from_slice(&stat);
    assert_eq!(rig.target.expect().1.bhs, expected);
}

#[test]
fn bidirectional_command_of_many_gibibytes_without_data() {
    let config = Rig::config().immediate_data(false).initial_r2t(true);
    let mut rig = Rig::logged_in(config, Limits::DEFAULT);
    let transfer = Transfer::Both { out: 3 << 30, r#in: 3 << 30 };
    let command = Command::new(Lun::ZERO, &[0x53; 10], transfer);
    let now = rig.clock.now();
    let task = rig.driver.session.submit(&command, now).unwrap();
    rig.driver.touch();
    rig.run();
    let (command, _) = rig.target.expect_command();
    let response = rig.target.response(&command, Completion::GOOD);
    rig.send(response, &[]);
    assert!(!rig.outcome(task).is_good());
    assert!(rig.outcome(task).missing >= 3 << 30);
}
