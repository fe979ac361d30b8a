//! Data in both directions: immediate, unsolicited, solicited; limits, residuals, errors (RFC 7143 sections 4.2.5, 11.3
//! to 11.8).

mod support;

use iscsi_core::text::Limits;
use iscsi_core::wire::{DataOut, R2t, Residual, ScsiCommand, ScsiStatus, TargetPdu, TransferTag};
use iscsi_core::{DataSn, Lun, TargetTransferTag};
use iscsi_scsi::block::{Read10, Read16, Write10, Write16};
use iscsi_scsi::primary::Inquiry;
use iscsi_target::Quirks;
use support::*;

fn read10(lba: u32, blocks: u16) -> iscsi_scsi::Cdb {
    Read10 { lba, blocks, ..Read10::default() }.cdb()
}

fn write10(lba: u32, blocks: u16) -> iscsi_scsi::Cdb {
    Write10 { lba, blocks, ..Write10::default() }.cdb()
}

#[track_caller]
fn next_r2t(bench: &mut Bench) -> R2t {
    match bench.receive(0).pdu() {
        TargetPdu::R2t(r2t) => r2t,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_was_written_is_read() {
    let all: &[&[&str]] = &[
        &["InitialR2T=Yes", "ImmediateData=No", "MaxBurstLength=1024"],
        &["InitialR2T=Yes", "ImmediateData=Yes", "FirstBurstLength=512", "MaxBurstLength=1536"],
        &["InitialR2T=No", "ImmediateData=No", "FirstBurstLength=2048", "MaxBurstLength=4096"],
        &["InitialR2T=No", "ImmediateData=Yes", "FirstBurstLength=3000", "MaxBurstLength=5000"],
        &["InitialR2T=No", "MaxOutstandingR2T=8", "MaxBurstLength=512", "FirstBurstLength=512"],
        &["HeaderDigest=CRC32C", "DataDigest=CRC32C", "InitialR2T=No", "MaxBurstLength=3000"],
        &["MaxRecvDataSegmentLength=512", "MaxBurstLength=1100"],
    ];
    for (keys, piece) in all.iter().flat_map(|keys| [1, 3, 512, 700, 65536].map(|n| (*keys, n))) {
        let mut bench = Bench::logged_in(keys);
        let data = pattern(9 * 512, piece as u8);
        bench.write(0, &write10(5, 9), &data, piece).assert_good();
        let (back, end) = bench.read(0, &read10(5, 9));
        end.assert_good();
        assert!(back == data, "{keys:?} in pieces of {piece}");
        // The blocks beside are untouched.
        let (around, _) = bench.read(0, &read10(4, 11));
        assert!(around[..512].iter().chain(&around[10 * 512..]).all(|byte| *byte == 0));
    }
}

#[test]
fn bytes_may_come_one_by_one() {
    let mut bench = Bench::new(|_| {});
    bench.client(0).chunk = 1;
    bench.login(
        0,
        &["InitialR2T=No", "HeaderDigest=CRC32C", "DataDigest=CRC32C", "MaxBurstLength=512"],
    );
    let data = pattern(1536, 1);
    bench.write(0, &write10(1, 3), &data, 300).assert_good();
    let (back, end) = bench.read(0, &read10(1, 3));
    end.assert_good();
    assert_eq!(back, data);
}

#[test]
fn data_in_keeps_every_limit() {
    let mut bench = Bench::logged_in(&["MaxRecvDataSegmentLength=1030", "MaxBurstLength=2500"]);
    let command = bench.command(0, &read10(0, 20));
    bench.send(0, command, &[]);
    let (mut at, mut sequence, mut data_sn) = (0, 0, DataSn(0));
    loop {
        let TargetPdu::DataIn(data_in) = bench.receive(0).pdu() else { panic!() };
        let len = data_in.data_segment_length;
        assert_eq!((data_in.buffer_offset, data_in.data_sn), (at, data_sn));
        assert!(len <= 1030);
        sequence += len;
        assert!(sequence <= 2500);
        at += len;
        data_sn = data_sn.next();
        assert_eq!(data_in.acknowledge, None);
        if data_in.is_final {
            assert!(sequence == 2500 || at == 10240, "F at {at}");
            sequence = 0;
        } else {
            assert!(len.is_multiple_of(4));
        }
        if let Some(status) = data_in.status {
            assert!(data_in.is_final);
            assert_eq!((status.status, status.residual), (ScsiStatus::Good, Residual::None));
            assert_eq!(status.stat_sn, bench.clients[0].stat_sn);
            break;
        }
    }
    assert_eq!(at, 10240);
    bench.assert_silent(0);
}

#[test]
fn r2ts_keep_every_limit() {
    let mut bench = Bench::logged_in(&[
        "InitialR2T=Yes",
        "ImmediateData=No",
        "MaxBurstLength=1000",
        "MaxOutstandingR2T=3",
    ]);
    let data = pattern(5120, 7);
    let cdb = write10(0, 10);
    let command =
        ScsiCommand { write: true, expected_data_transfer_length: 5120, ..bench.command(0, &cdb) };
    bench.send(0, command, &[]);
    let r2ts: Vec<R2t> = (0..3).map(|_| next_r2t(&mut bench)).collect();
    bench.assert_silent(0);
    for (n, r2t) in r2ts.iter().enumerate() {
        assert_eq!(r2t.r2t_sn.0, n as u32);
        assert_eq!((r2t.buffer_offset, r2t.desired_data_transfer_length), (n as u32 * 1000, 1000));
        assert_ne!(r2t.target_transfer_tag, TargetTransferTag::RESERVED);
        assert_eq!(r2t.lun, Lun::ZERO);
    }
    // Each burst that ends makes room for the next R2T.
    let mut outstanding: std::collections::VecDeque<R2t> = r2ts.into();
    let mut covered = 3000;
    while let Some(r2t) = outstanding.pop_front() {
        let (from, len) = (r2t.buffer_offset, r2t.desired_data_transfer_length);
        bench.send_burst(0, &command, Some(r2t.transfer()), &data, from, from + len, 300);
        if covered < 5120 {
            let next = next_r2t(&mut bench);
            assert_eq!(next.buffer_offset, covered);
            covered += next.desired_data_transfer_length;
            outstanding.push_back(next);
        }
    }
    bench.finish_write(0, &command, &data, 300).assert_good();
    assert_eq!(bench.read(0, &read10(0, 10)).0, data);
}

#[test]
fn unordered_data_are_fine_where_they_were_agreed_upon() {
    let mut bench = Bench::new(|config| {
        config.limits =
            Limits { data_pdu_in_order: false, data_sequence_in_order: false, ..config.limits };
    });
    bench.login(
        0,
        &["DataPDUInOrder=No", "DataSequenceInOrder=No", "InitialR2T=Yes", "ImmediateData=No"],
    );
    *bench.target.quirks_mut() =
        Quirks { r2t_length: Some(700), r2t_backwards: true, ..Quirks::default() };
    let data = pattern(2048, 3);
    let command =
        ScsiCommand { expected_data_transfer_length: 2048, ..bench.command(0, &write10(0, 4)) };
    bench.send(0, command, &[]);
    let mut offsets = Vec::new();
    while let Some(received) = bench.poll(0) {
        let r2t = match received.pdu() {
            TargetPdu::R2t(r2t) => r2t,
            TargetPdu::ScsiResponse(_) => break,
            other => panic!("{other:?}"),
        };
        offsets.push(r2t.buffer_offset);
        let (from, to) = (r2t.buffer_offset, r2t.buffer_offset + r2t.desired_data_transfer_length);
        // The second half first.
        let middle = (from + to) / 2;
        for (n, (from, to)) in [(middle, to), (from, middle)].into_iter().enumerate() {
            let pdu =
                data_out(&command, Some(r2t.transfer()), from, to - from, DataSn(n as u32), n == 1);
            bench.send(0, pdu, &data[from as usize..to as usize]);
        }
    }
    assert_eq!(offsets, [1348, 648, 0]);
    bench.clients[0].stat_sn = bench.clients[0].stat_sn.next();
    assert_eq!(bench.read(0, &read10(0, 4)).0, data);
}

#[test]
fn residuals_tell_both_ways() {
    let mut bench = Bench::logged_in(&[]);
    let mut with_length = |cdb: &iscsi_scsi::Cdb, expected_data_transfer_length, read| {
        let command = ScsiCommand {
            expected_data_transfer_length,
            read,
            write: false,
            ..bench.command(0, cdb)
        };
        bench.send(0, command, &[]);
        bench.finish_read(0, &command).1
    };
    let read = read10(0, 4);
    assert_eq!(with_length(&read, 2048, true).residual, Residual::None);
    assert_eq!(with_length(&read, 4096, true).residual, Residual::Underflow(2048));
    assert_eq!(with_length(&read, 1000, true).residual, Residual::Overflow(1048));
    assert_eq!(with_length(&read, 0, false).residual, Residual::Overflow(2048));
    let nothing = iscsi_scsi::primary::TestUnitReady.cdb();
    assert_eq!(with_length(&nothing, 512, true).residual, Residual::Underflow(512));
    let inquiry = Inquiry { page: None, allocation_length: 200 }.cdb();
    assert_eq!(with_length(&inquiry, 200, true).residual, Residual::Underflow(200 - 96));
    let beyond = read10(3000, 1);
    let end = with_length(&beyond, 512, true);
    assert_eq!(end.check(), (5, 0x21, 0));
    assert_eq!(end.residual, Residual::Underflow(512));
}

#[test]
fn writes_have_residuals_too() {
    let mut bench = Bench::logged_in(&["InitialR2T=No"]);
    // More announced than written: what is too much goes nowhere.
    let data = pattern(1536, 9);
    let end = bench.write(0, &write10(0, 2), &data, 512);
    assert_eq!((end.status, end.residual), (ScsiStatus::Good, Residual::Underflow(512)));
    let (back, _) = bench.read(0, &read10(0, 3));
    assert_eq!(back[..1024], data[..1024]);
    assert!(back[1024..].iter().all(|byte| *byte == 0));
    // Less announced than the command writes.
    let end = bench.write(0, &write10(8, 2), &data[..512], 512);
    assert_eq!(end.residual, Residual::Overflow(512));
    let (back, _) = bench.read(0, &read10(8, 2));
    assert_eq!(back[..512], data[..512]);
}

#[test]
fn status_can_be_kept_out_of_data_in() {
    let mut bench = Bench::logged_in(&[]);
    *bench.target.quirks_mut() =
        Quirks { separate_status: true, data_in_length: Some(600), ..Quirks::default() };
    let command = bench.command(0, &read10(0, 3));
    bench.send(0, command, &[]);
    for len in [600, 600, 336] {
        let TargetPdu::DataIn(data_in) = bench.receive(0).pdu() else { panic!() };
        assert_eq!((data_in.data_segment_length, data_in.status), (len, None));
    }
    let TargetPdu::ScsiResponse(response) = bench.receive(0).pdu() else { panic!() };
    let iscsi_core::wire::ScsiResponseCode::CompletedAtTarget(completion) = response.response
    else {
        panic!()
    };
    assert_eq!((completion.status, completion.exp_data_sn), (ScsiStatus::Good, DataSn(3)));
}

/// A write of 4 blocks whose first command PDU is `command` with `immediate` bytes; the target has to end it with `expected`.
#[track_caller]
fn failing_write(
    keys: &[&str],
    change: impl FnOnce(&mut ScsiCommand),
    immediate: usize,
    bursts: &[(u32, u32, u32, bool)],
    expected: (u8, u8, u8),
) {
    let mut bench = Bench::logged_in(keys);
    let data = pattern(4096, 5);
    let mut command = ScsiCommand {
        write: true,
        data_segment_length: immediate as u32,
        expected_data_transfer_length: 2048,
        ..bench.command(0, &write10(0, 4))
    };
    change(&mut command);
    bench.send(0, command, &data[..immediate]);
    for &(at, len, data_sn, is_final) in bursts {
        // While more is to come there is no status (RFC 7143 section 11.4.2).
        bench.assert_silent(0);
        let pdu = data_out(&command, None, at, len, DataSn(data_sn), is_final);
        bench.send(0, pdu, &data[..len as usize]);
    }
    let end = bench.finish_write(0, &command, &data, 512);
    assert_eq!(end.check(), expected);
    // The session goes on.
    bench.read(0, &read10(0, 1)).1.assert_good();
}

const UNEXPECTED: (u8, u8, u8) = (0xb, 0x0c, 0x0c);
const WRONG_AMOUNT: (u8, u8, u8) = (0xb, 0x0c, 0x0d);

#[test]
fn forbidden_unsolicited_data_fail_the_command() {
    failing_write(&["ImmediateData=No"], |_| {}, 512, &[], UNEXPECTED);
    failing_write(
        &["InitialR2T=Yes", "ImmediateData=Yes"],
        |command| command.is_final = false,
        512,
        &[(512, 512, 0, false), (1024, 1024, 1, true)],
        UNEXPECTED,
    );
}

#[test]
fn the_wrong_amount_of_data_fails_the_command() {
    // More immediate data than FirstBurstLength.
    failing_write(&["FirstBurstLength=512"], |_| {}, 1024, &[], WRONG_AMOUNT);
    let unsolicited = |command: &mut ScsiCommand| command.is_final = false;
    let keys = ["InitialR2T=No"];
    // Ends early, with a hole, beyond the end, with a wrong DataSN.
    failing_write(&keys, unsolicited, 512, &[(512, 512, 0, true)], WRONG_AMOUNT);
    failing_write(&keys, unsolicited, 512, &[(1024, 1024, 0, true)], WRONG_AMOUNT);
    failing_write(&keys, unsolicited, 512, &[(512, 2048, 0, true)], WRONG_AMOUNT);
    failing_write(
        &keys,
        unsolicited,
        512,
        &[(512, 512, 0, false), (1024, 1024, 5, true)],
        WRONG_AMOUNT,
    );
}

#[test]
fn a_command_that_fails_still_takes_its_unsolicited_data() {
    let mut bench = Bench::logged_in(&["InitialR2T=No"]);
    let data = pattern(1024, 5);
    let end = bench.write(0, &write10(4000, 2), &data, 256);
    assert_eq!(end.check(), (5, 0x21, 0));
    bench.read(0, &read10(0, 1)).1.assert_good();
}

#[test]
fn solicited_data_must_fit_their_r2t() {
    for (offset, len) in [(256, 512), (0, 1024)] {
        let mut bench =
            Bench::logged_in(&["InitialR2T=Yes", "ImmediateData=No", "MaxBurstLength=512"]);
        let data = pattern(1024, 5);
        let command =
            ScsiCommand { expected_data_transfer_length: 1024, ..bench.command(0, &write10(0, 2)) };
        bench.send(0, command, &[]);
        let r2t = next_r2t(&mut bench);
        let pdu = data_out(&command, Some(r2t.transfer()), offset, len, DataSn(0), true);
        bench.send(0, pdu, &data[..len as usize]);
        assert_eq!(bench.finish_write(0, &command, &data, 512).check(), WRONG_AMOUNT);
        let (back, _) = bench.read(0, &read10(0, 2));
        assert!(back.iter().all(|byte| *byte == 0), "nothing was written");
    }
}

#[test]
fn data_for_nobody_are_thrown_away() {
    let mut bench = Bench::logged_in(&["InitialR2T=No"]);
    let command = bench.command(0, &write10(0, 1));
    bench.clients[0].cmd_sn = command.cmd_sn;
    let stale =
        Some(TransferTag { lun: Lun::ZERO, target_transfer_tag: TargetTransferTag(0x1234_0007) });
    for transfer in [None, stale] {
        let pdu: DataOut = data_out(&command, transfer, 0, 512, DataSn(0), true);
        bench.send(0, pdu, &[1; 512]);
        bench.assert_silent(0);
    }
    let (back, end) = bench.read(0, &read10(0, 1));
    end.assert_good();
    assert_eq!(back, [0; 512]);
}

#[test]
fn many_commands_at_once_keep_their_data_apart() {
    let mut bench = Bench::logged_in(&["MaxRecvDataSegmentLength=4096"]);
    for n in 0..64u32 {
        bench.write(0, &write10(n * 16, 16), &pattern(8192, n as u8), 65536).assert_good();
    }
    let commands: Vec<ScsiCommand> = (0..64)
        .map(|n| {
            let cdb = Read16 { lba: n * 16, blocks: 16, ..Read16::default() }.cdb();
            let command = bench.command(0, &cdb);
            bench.send(0, command, &[]);
            command
        })
        .collect();
    for (n, command) in commands.iter().enumerate() {
        let (data, end) = bench.finish_read(0, command);
        end.assert_good();
        assert!(data == pattern(8192, n as u8), "command {n}");
    }
}

#[test]
fn fua_and_16_byte_commands_write_too() {
    let mut bench = Bench::logged_in(&["InitialR2T=No"]);
    let cdb = Write16 { lba: 2047, blocks: 1, fua: true, ..Write16::default() }.cdb();
    bench.write(0, &cdb, &pattern(512, 1), 100).assert_good();
    assert_eq!(bench.read(0, &read10(2047, 1)).0, pattern(512, 1));
}
