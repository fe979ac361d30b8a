//! ErrorRecoveryLevel 1 of the target, PDU by PDU (RFC 7143 sections 7.8 and 11.16).

mod support;

use iscsi_core::wire::{
    self, BHS_LEN, DataIn, InitiatorPdu, NopOut, NopOutKind, R2t, RejectReason, ScsiCommand,
    ScsiStatus, SnackKind, SnackRequest, TargetPdu, TransferTag,
};
use iscsi_core::{DataSn, InitiatorTaskTag, Lun, StatSn, TargetTransferTag};
use iscsi_scsi::Cdb;
use iscsi_scsi::block::{Read10, Write10};
use iscsi_scsi::primary::{RequestSense, TestUnitReady};
use support::*;

const KEYS: &[&str] =
    &["ErrorRecoveryLevel=1", "DataDigest=CRC32C", "MaxRecvDataSegmentLength=1024"];

/// A target at level 1 with a client, and a pattern on its disk.
fn bench_with(keys: &[&str]) -> Bench {
    let mut bench = Bench::new(|config| config.limits.error_recovery_level = 1);
    let answer = bench.login(0, keys);
    assert!(answer.contains(&"ErrorRecoveryLevel=1".into()), "{answer:?}");
    let write = Write10 { lba: 0, blocks: 16, ..Write10::default() }.cdb();
    // The unit attention of a new session first.
    bench.read(0, &TestUnitReady.cdb());
    bench.write(0, &write, &pattern(8192, 1), 1024).assert_good();
    bench
}

fn bench() -> Bench {
    bench_with(KEYS)
}

fn snack(bench: &mut Bench, kind: SnackKind) {
    let exp_stat_sn = bench.clients[0].stat_sn;
    bench.send(0, SnackRequest { kind, exp_stat_sn }, &[]);
}

fn data_snack(bench: &mut Bench, itt: InitiatorTaskTag, beg_run: u32, run_length: u32) {
    snack(bench, SnackKind::Data { initiator_task_tag: itt, beg_run, run_length });
}

/// Sends a PDU whose data digest is wrong.
fn send_damaged(bench: &mut Bench, pdu: impl Into<InitiatorPdu>, data: &[u8]) {
    let mut bhs = [0; BHS_LEN];
    pdu.into().emit(&mut bhs);
    let mut bytes = bhs.to_vec();
    let mut wrong = data.to_vec();
    wrong[0] ^= 0x10;
    bytes.extend_from_slice(&wrong);
    bytes.resize(bytes.len() + wire::padding(data.len()), 0);
    let mut padded = data.to_vec();
    padded.resize(bytes.len() - BHS_LEN, 0);
    bytes.extend_from_slice(&iscsi_core::digest::to_wire(iscsi_core::digest::crc32c(&padded)));
    bench.feed(0, &bytes);
}

/// The next PDU is a replica: only ExpCmdSN and MaxCmdSN may be others.
#[track_caller]
fn assert_again(bench: &mut Bench, first: &Received) {
    let (mut first, mut again) = (first.clone(), bench.receive(0));
    for pdu in [&mut first, &mut again] {
        pdu.bhs[28..36].fill(0);
    }
    assert!(first == again, "{:?} {:?}", first.pdu(), again.pdu());
}

/// A read of 4 KiB in four PDUs, of which nothing is acknowledged.
fn read_4k(bench: &mut Bench) -> (ScsiCommand, Vec<Received>) {
    let command = bench.command(0, &Read10 { lba: 2, blocks: 8, ..Read10::default() }.cdb());
    bench.send(0, command, &[]);
    let pdus: Vec<Received> = (0..4).map(|_| bench.receive(0)).collect();
    bench.assert_silent(0);
    (command, pdus)
}

fn data_in(received: &Received) -> DataIn {
    match received.pdu() {
        TargetPdu::DataIn(data_in) => data_in,
        other => panic!("{other:?}"),
    }
}

#[test]
fn data_in_come_again_as_they_were() {
    let mut bench = bench();
    let (command, pdus) = read_4k(&mut bench);
    let itt = command.initiator_task_tag;
    assert!(data_in(&pdus[3]).status.is_some());
    for (first, count, wanted) in
        [(0, 1, 0..1), (1, 2, 1..3), (3, 1, 3..4), (2, 0, 2..4), (0, 0, 0..4)]
    {
        data_snack(&mut bench, itt, first, count);
        for n in wanted {
            assert_again(&mut bench, &pdus[n]);
        }
        bench.assert_silent(0);
    }
    // What was never sent.
    for (first, count) in [(4, 1), (3, 2), (4, 0), (u32::MAX, 2), (0, u32::MAX)] {
        data_snack(&mut bench, itt, first, count);
        assert_eq!(rejected(&mut bench), RejectReason::ProtocolError, "{first} {count}");
    }
    data_snack(&mut bench, InitiatorTaskTag(0x7777), 0, 1);
    assert_eq!(rejected(&mut bench), RejectReason::ProtocolError);
    // And what is acknowledged.
    bench.clients[0].stat_sn = data_in(&pdus[3]).status.unwrap().stat_sn.next();
    data_snack(&mut bench, itt, 3, 1);
    assert_eq!(rejected(&mut bench), RejectReason::ProtocolError);
}

/// The reason of a Reject, whose number is not acknowledged by the client.
fn rejected(bench: &mut Bench) -> RejectReason {
    let received = bench.receive(0);
    let TargetPdu::Reject(reject) = received.pdu() else { panic!("{:?}", received.pdu()) };
    reject.reason
}

#[test]
fn data_that_a_device_server_makes_come_again() {
    let mut bench = bench_with(&["ErrorRecoveryLevel=1", "MaxRecvDataSegmentLength=512"]);
    let inquiry: Cdb =
        iscsi_scsi::primary::Inquiry { allocation_length: 4096, ..Default::default() }.cdb();
    let command = bench.command(0, &inquiry);
    bench.send(0, command, &[]);
    let pdu = bench.receive(0);
    data_snack(&mut bench, command.initiator_task_tag, 0, 1);
    assert_again(&mut bench, &pdu);
    // Sense data are told once.
    let command = bench.command(0, &RequestSense::default().cdb());
    bench.send(0, command, &[]);
    data_in(&bench.receive(0));
    data_snack(&mut bench, command.initiator_task_tag, 0, 1);
    assert_eq!(rejected(&mut bench), RejectReason::SnackReject);
}

#[test]
fn statuses_come_again_until_they_are_acknowledged() {
    let mut bench = bench();
    let first = bench.clients[0].stat_sn;
    // A response with sense, a status in Data-In, a Reject, a ping without data and one with.
    let command = bench.command(0, &Read10 { lba: 1 << 30, blocks: 1, ..Read10::default() }.cdb());
    bench.send(0, command, &[]);
    let mut sent = vec![bench.receive(0)];
    let (_, mut pdus) = read_4k(&mut bench);
    sent.push(pdus.pop().unwrap());
    data_snack(&mut bench, InitiatorTaskTag(0x7777), 0, 1);
    sent.push(bench.receive(0));
    for data in [&[][..], &[7; 5]] {
        let nop = NopOut {
            kind: NopOutKind::Ping {
                immediate: true,
                initiator_task_tag: InitiatorTaskTag(0x5555),
            },
            data_segment_length: data.len() as u32,
            cmd_sn: bench.clients[0].cmd_sn,
            exp_stat_sn: first,
        };
        bench.send(0, nop, data);
        sent.push(bench.receive(0));
    }
    let run = |from: u32, run_length| SnackKind::Status { beg_run: first.plus(from), run_length };
    for (from, count, wanted) in [(0, 1, 0..1), (1, 1, 1..2), (2, 2, 2..4), (0, 4, 0..4)] {
        snack(&mut bench, run(from, count));
        for n in wanted {
            assert_again(&mut bench, &sent[n]);
        }
        bench.assert_silent(0);
    }
    // The echo was too large to be kept; the next was never sent.
    snack(&mut bench, run(4, 1));
    assert_eq!(rejected(&mut bench), RejectReason::SnackReject);
    for (from, count) in [(20, 1), (5, 200), (u32::MAX, 1)] {
        snack(&mut bench, run(from, count));
        assert_eq!(rejected(&mut bench), RejectReason::ProtocolError, "{from} {count}");
    }
    bench.clients[0].stat_sn = first.plus(2);
    snack(&mut bench, run(1, 1));
    assert_eq!(rejected(&mut bench), RejectReason::ProtocolError);
    snack(&mut bench, run(2, 1));
    assert_again(&mut bench, &sent[2]);
}

#[test]
fn statuses_are_kept_within_bounds() {
    let mut bench = bench();
    let first = bench.clients[0].stat_sn;
    for n in 0..300 {
        let command = bench.command(0, &TestUnitReady.cdb());
        bench.send(0, ScsiCommand { exp_stat_sn: first, ..command }, &[]);
        let TargetPdu::ScsiResponse(response) = bench.receive(0).pdu() else { panic!() };
        assert_eq!(response.stat_sn, first.plus(n));
    }
    snack(&mut bench, SnackKind::Status { beg_run: first.plus(299), run_length: 1 });
    assert!(matches!(bench.receive(0).pdu(), TargetPdu::ScsiResponse(_)));
    snack(&mut bench, SnackKind::Status { beg_run: first, run_length: 1 });
    assert_eq!(rejected(&mut bench), RejectReason::ProtocolError);
}

#[test]
fn data_are_to_be_acknowledged_at_the_end_of_each_sequence() {
    let mut keys = KEYS.to_vec();
    keys.push("MaxBurstLength=2048");
    let mut bench = bench_with(&keys);
    let (command, pdus) = read_4k(&mut bench);
    let itt = command.initiator_task_tag;
    let asked: Vec<bool> = pdus.iter().map(|pdu| data_in(pdu).acknowledge.is_some()).collect();
    assert_eq!(asked, [false, true, false, false]);
    let transfer = data_in(&pdus[1]).acknowledge.unwrap();
    assert_eq!(transfer.lun, command.lun);
    // The replica asks, too.
    data_snack(&mut bench, itt, 1, 1);
    assert_again(&mut bench, &pdus[1]);
    snack(&mut bench, SnackKind::DataAck { transfer, beg_run: DataSn(2) });
    bench.assert_silent(0);
    data_snack(&mut bench, itt, 1, 1);
    assert_eq!(rejected(&mut bench), RejectReason::ProtocolError);
    data_snack(&mut bench, itt, 2, 1);
    assert_again(&mut bench, &pdus[2]);
    // More than was sent, and a tag that was never given.
    snack(&mut bench, SnackKind::DataAck { transfer, beg_run: DataSn(5) });
    assert_eq!(rejected(&mut bench), RejectReason::InvalidDataAck);
    let unknown =
        TransferTag { lun: Lun::ZERO, target_transfer_tag: TargetTransferTag(0x1234_0001) };
    snack(&mut bench, SnackKind::DataAck { transfer: unknown, beg_run: DataSn(1) });
    assert_eq!(rejected(&mut bench), RejectReason::InvalidDataAck);
    // Resegmentation is not offered.
    snack(&mut bench, SnackKind::ResegmentedData { initiator_task_tag: itt, snack_tag: 5 });
    assert_eq!(rejected(&mut bench), RejectReason::SnackReject);
}

#[test]
fn at_level_0_nothing_comes_again() {
    let mut bench = Bench::new(|config| config.limits.error_recovery_level = 2);
    let answer = bench.login(
        0,
        &["ErrorRecoveryLevel=2", "MaxRecvDataSegmentLength=1024", "MaxBurstLength=2048"],
    );
    assert!(answer.contains(&"ErrorRecoveryLevel=1".into()), "level 2 is never agreed to");
    let mut bench = Bench::new(|_| {});
    bench.login(
        0,
        &["ErrorRecoveryLevel=1", "MaxRecvDataSegmentLength=1024", "MaxBurstLength=2048"],
    );
    assert_eq!(bench.clients[0].connection.negotiated().error_recovery_level, 0);
    bench.read(0, &TestUnitReady.cdb());
    let (command, pdus) = read_4k(&mut bench);
    assert!(pdus.iter().all(|pdu| data_in(pdu).acknowledge.is_none()));
    data_snack(&mut bench, command.initiator_task_tag, 0, 1);
    assert_eq!(rejected(&mut bench), RejectReason::SnackReject);
}

/// A write of 4 KiB that waits for its first R2T.
fn writing(bench: &mut Bench, immediate: &[u8]) -> ScsiCommand {
    let write = Write10 { lba: 0, blocks: 8, ..Write10::default() }.cdb();
    let command = bench.command(0, &write);
    ScsiCommand { data_segment_length: immediate.len() as u32, ..command }
}

fn r2t(bench: &mut Bench) -> R2t {
    let received = bench.receive(0);
    match received.pdu() {
        TargetPdu::R2t(r2t) => r2t,
        other => panic!("{other:?}"),
    }
}

/// What an R2T says: its number, where and how much.
fn asked(bench: &mut Bench) -> ((u32, u32, u32), TransferTag) {
    let r2t = r2t(bench);
    let what = (r2t.r2t_sn.0, r2t.buffer_offset, r2t.desired_data_transfer_length);
    (what, r2t.transfer())
}

#[test]
fn damaged_data_out_are_asked_for_again() {
    let mut bench = bench();
    let data = pattern(4096, 9);
    let command = writing(&mut bench, &[]);
    bench.send(0, command, &[]);
    let (what, tag) = asked(&mut bench);
    assert_eq!(what, (0, 0, 4096));
    for n in 0..4u32 {
        let at = n * 1024;
        let part = &data[at as usize..][..1024];
        let pdu = data_out(&command, Some(tag), at, 1024, DataSn(n), n == 3);
        if n == 0 || n == 2 {
            bench.send(0, pdu, part);
            bench.assert_silent(0);
        } else {
            send_damaged(&mut bench, pdu, part);
            assert_eq!(bench.rejected(0), RejectReason::DataDigestError);
        }
    }
    // One after the other: the last PDU of the burst was damaged, and it is over.
    let (what, tag) = asked(&mut bench);
    assert_eq!(what, (1, 1024, 1024));
    bench.assert_silent(0);
    let pdu = data_out(&command, Some(tag), 1024, 1024, DataSn(0), true);
    bench.send(0, pdu, &data[1024..2048]);
    let (what, tag) = asked(&mut bench);
    assert_eq!(what, (2, 3072, 1024));
    // Damaged again.
    let pdu = data_out(&command, Some(tag), 3072, 1024, DataSn(0), true);
    send_damaged(&mut bench, pdu, &data[3072..]);
    assert_eq!(bench.rejected(0), RejectReason::DataDigestError);
    let (what, tag) = asked(&mut bench);
    assert_eq!(what, (3, 3072, 1024));
    bench.send_burst(0, &command, Some(tag), &data, 3072, 4096, 1024);
    bench.finish_write(0, &command, &data, 1024).assert_good();
    let (back, end) = bench.read(0, &Read10 { lba: 0, blocks: 8, ..Read10::default() }.cdb());
    end.assert_good();
    assert!(back == data);
}

#[test]
fn damaged_immediate_and_unsolicited_data_are_asked_for() {
    let mut keys = KEYS.to_vec();
    keys.extend(["InitialR2T=No", "FirstBurstLength=2048"]);
    let mut bench = bench_with(&keys);
    let data = pattern(4096, 5);
    let command = ScsiCommand { is_final: false, ..writing(&mut bench, &data[..1024]) };
    send_damaged(&mut bench, command, &data[..1024]);
    assert_eq!(bench.rejected(0), RejectReason::DataDigestError);
    let (what, tag) = asked(&mut bench);
    assert_eq!(what, (0, 0, 1024));
    let pdu = data_out(&command, None, 1024, 1024, DataSn(0), true);
    send_damaged(&mut bench, pdu, &data[1024..2048]);
    assert_eq!(bench.rejected(0), RejectReason::DataDigestError);
    // One at a time.
    bench.assert_silent(0);
    bench.send_burst(0, &command, Some(tag), &data, 0, 1024, 1024);
    for (r2t_sn, at, len) in [(1, 1024, 1024), (2, 2048, 2048)] {
        let (what, tag) = asked(&mut bench);
        assert_eq!(what, (r2t_sn, at, len));
        bench.send_burst(0, &command, Some(tag), &data, at, at + len, 1024);
    }
    bench.finish_write(0, &command, &data, 1024).assert_good();
    let (back, _) = bench.read(0, &Read10 { lba: 0, blocks: 8, ..Read10::default() }.cdb());
    assert!(back == data);
}

#[test]
fn damaged_too_often_fails_the_task() {
    let mut bench = bench();
    let data = pattern(4096, 3);
    let command = writing(&mut bench, &[]);
    bench.send(0, command, &[]);
    for tries in 0..5 {
        let (what, tag) = asked(&mut bench);
        assert_eq!(what, (tries, 0, 4096));
        let mut at = 0;
        while at < 4096 {
            let pdu = data_out(&command, Some(tag), at, 1024, DataSn(at / 1024), at == 3072);
            send_damaged(&mut bench, pdu, &data[at as usize..][..1024]);
            assert_eq!(bench.rejected(0), RejectReason::DataDigestError);
            at += 1024;
        }
    }
    // Protocol service CRC error.
    assert_eq!(bench.finish_write(0, &command, &data, 1024).check(), (0xb, 0x47, 5));
}

#[test]
fn a_comparison_with_damaged_data_is_none() {
    let mut bench = bench();
    let mut cdb = [0; 10];
    cdb[0] = 0x2f; // VERIFY(10)
    cdb[1] = 0x02; // BYTCHK
    cdb[8] = 2;
    for right in [true, false] {
        let mut data = pattern(8192, 1)[..1024].to_vec();
        if !right {
            data[700] ^= 1;
        }
        let read = bench.command(0, &Read10 { lba: 0, blocks: 2, ..Read10::default() }.cdb());
        let mut padded = [0; 16];
        padded[..10].copy_from_slice(&cdb);
        let command = ScsiCommand {
            read: false,
            write: true,
            data_segment_length: 1024,
            cdb: padded,
            ..read
        };
        send_damaged(&mut bench, command, &data);
        assert_eq!(bench.rejected(0), RejectReason::DataDigestError);
        let end = bench.finish_write(0, &command, &data, 1024);
        if right {
            end.assert_good();
        } else {
            // MISCOMPARE during verify operation.
            assert_eq!(end.check(), (0xe, 0x1d, 0));
        }
    }
}

#[test]
fn an_r2t_comes_again_while_it_is_open() {
    let mut bench = bench();
    let data = pattern(4096, 8);
    let command = writing(&mut bench, &[]);
    bench.send(0, command, &[]);
    let first = r2t(&mut bench);
    for count in [1, 0] {
        data_snack(&mut bench, command.initiator_task_tag, 0, count);
        assert_eq!(r2t(&mut bench), first);
    }
    data_snack(&mut bench, command.initiator_task_tag, 1, 1);
    assert_eq!(rejected(&mut bench), RejectReason::ProtocolError);
    let stat_sn: StatSn = bench.clients[0].stat_sn;
    bench.clients[0].stat_sn = stat_sn.next();
    bench.send_burst(0, &command, Some(first.transfer()), &data, 0, 4096, 1024);
    let end = bench.finish_write(0, &command, &data, 1024);
    assert_eq!(end.status, ScsiStatus::Good);
    data_snack(&mut bench, command.initiator_task_tag, 0, 1);
    assert_eq!(rejected(&mut bench), RejectReason::ProtocolError);
}
