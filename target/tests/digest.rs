//! Digests (RFC 7143 sections 7.8 and 13.1).

mod support;

use iscsi_core::digest::{crc32c, to_wire};
use iscsi_core::wire::{
    BHS_LEN, CommandAhs, InitiatorPdu, NopOut, NopOutKind, RejectReason, ScsiCommand, TargetPdu,
};
use iscsi_core::{CmdSn, InitiatorTaskTag, StatSn};
use iscsi_scsi::block::{Read10, Write10};
use iscsi_scsi::primary::TestUnitReady;
use iscsi_target::{Disk, DiskError, EndReason, NullDisk};
use support::*;

const BOTH: &[&str] = &["HeaderDigest=CRC32C", "DataDigest=CRC32C"];

#[test]
fn every_combination_carries_data() {
    for keys in [&[][..], &["HeaderDigest=CRC32C"], &["DataDigest=CRC32C"], BOTH] {
        let mut bench = Bench::logged_in(keys);
        for blocks in [1, 3, 17] {
            let data = pattern(usize::from(blocks) * 512, blocks as u8);
            let write = Write10 { lba: 1, blocks, ..Write10::default() }.cdb();
            bench.write(0, &write, &data, 777).assert_good();
            let read = Read10 { lba: 1, blocks, ..Read10::default() }.cdb();
            let (back, end) = bench.read(0, &read);
            end.assert_good();
            assert_eq!(back, data);
        }
    }
}

#[test]
fn a_damaged_header_ends_the_connection() {
    let mut bench = Bench::logged_in(BOTH);
    let command = bench.command(0, &TestUnitReady.cdb());
    let mut bytes = [0; BHS_LEN + 4];
    let mut bhs = [0; BHS_LEN];
    InitiatorPdu::from(command).emit(&mut bhs);
    bytes[..BHS_LEN].copy_from_slice(&bhs);
    bytes[BHS_LEN..].copy_from_slice(&to_wire(crc32c(&bhs) ^ 1));
    bench.feed(0, &bytes);
    bench.assert_closed(0);
    assert_eq!(bench.clients[0].connection.end_reason(), Some(EndReason::HeaderDigest));
    assert_eq!(bench.target.sessions().count(), 0);
}

/// Sends a PDU whose data digest is wrong.
fn send_damaged(bench: &mut Bench, pdu: impl Into<InitiatorPdu>, data: &[u8]) {
    let mut bhs = [0; BHS_LEN];
    pdu.into().emit(&mut bhs);
    let mut bytes = bhs.to_vec();
    bytes.extend(to_wire(crc32c(&bhs)));
    bytes.extend(data);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes.extend([0xba, 0xad, 0xf0, 0x0d]);
    bench.feed(0, &bytes);
}

#[test]
fn damaged_data_fail_their_command() {
    let mut bench = Bench::logged_in(&[BOTH, &["InitialR2T=Yes", "MaxBurstLength=512"]].concat());
    let cdb = Write10 { lba: 0, blocks: 2, ..Write10::default() }.cdb();
    let data = pattern(1024, 1);
    // Immediate data.
    let command = ScsiCommand {
        data_segment_length: 512,
        expected_data_transfer_length: 1024,
        ..bench.command(0, &cdb)
    };
    send_damaged(&mut bench, command, &data[..512]);
    assert_eq!(bench.rejected(0), RejectReason::DataDigestError);
    let end = bench.finish_write(0, &command, &data, 512);
    assert_eq!(end.check(), (0xb, 0x47, 5));
    // Solicited data.
    let command = ScsiCommand {
        data_segment_length: 512,
        expected_data_transfer_length: 1024,
        ..bench.command(0, &cdb)
    };
    bench.send(0, command, &data[..512]);
    let received = bench.receive(0);
    let TargetPdu::R2t(r2t) = received.pdu() else { panic!() };
    let pdu = data_out(&command, Some(r2t.transfer()), 512, 512, iscsi_core::DataSn(0), true);
    send_damaged(&mut bench, pdu, &data[512..]);
    assert_eq!(bench.rejected(0), RejectReason::DataDigestError);
    assert_eq!(bench.finish_write(0, &command, &data, 512).check(), (0xb, 0x47, 5));
    bench.write(0, &cdb, &data, 512).assert_good();
}

#[test]
fn a_damaged_ping_is_rejected() {
    let mut bench = Bench::logged_in(BOTH);
    let ping = NopOut {
        kind: NopOutKind::Ping { immediate: true, initiator_task_tag: InitiatorTaskTag(1) },
        data_segment_length: 5,
        cmd_sn: CmdSn(0),
        exp_stat_sn: StatSn(0),
    };
    for _ in 0..50 {
        send_damaged(&mut bench, ping, b"hello");
        assert_eq!(bench.rejected(0), RejectReason::DataDigestError);
    }
    bench.send(0, ping, b"hello");
    assert_eq!(bench.receive(0).data, b"hello");
}

#[test]
fn additional_segments_count_in_the_header_digest() {
    let mut bench = Bench::logged_in(BOTH);
    let mut area = [0; 64];
    let total_ahs_length = CommandAhs::new(&[1; 32], None).emit(&mut area).unwrap();
    let mut cdb = [0; 16];
    (cdb[0], cdb[7]) = (0x7f, 24);
    let command = ScsiCommand { cdb, total_ahs_length, ..bench.command(0, &TestUnitReady.cdb()) };
    let mut bhs = [0; BHS_LEN];
    InitiatorPdu::from(command).emit(&mut bhs);
    bench.send_raw(0, &bhs, &area[..total_ahs_length.bytes()], &[]);
    // The 32-byte commands are not served.
    let (_, end) = bench.finish_read(0, &command);
    assert_eq!(end.check(), (5, 0x20, 0));
    // Segments that make no sense, and more of them than anybody needs.
    for bad in [&[0xff; 8][..], &[0; 200]] {
        let mut bhs = [0; BHS_LEN];
        let command = bench.command(0, &TestUnitReady.cdb());
        bench.clients[0].cmd_sn = command.cmd_sn;
        InitiatorPdu::from(command).emit(&mut bhs);
        bhs[4] = (bad.len() / 4) as u8;
        bench.send_raw(0, &bhs, bad, &[]);
        if bad.len() <= 64 {
            assert_eq!(bench.rejected(0), RejectReason::InvalidPduField);
        }
    }
}

/// A disk that is not in memory, and fails where it is told to.
struct Slow {
    bytes: Vec<u8>,
    bad_block: u64,
}

impl Disk for Slow {
    fn block_size(&self) -> u32 {
        512
    }

    fn blocks(&self) -> u64 {
        self.bytes.len() as u64 / 512
    }

    fn read(&mut self, at: u64, into: &mut [u8]) -> Result<(), DiskError> {
        let end = at + into.len() as u64;
        if (at / 512..end.div_ceil(512)).contains(&self.bad_block) {
            return Err(DiskError::Read);
        }
        into.copy_from_slice(&self.bytes[at as usize..end as usize]);
        Ok(())
    }

    fn write(&mut self, at: u64, data: &[u8]) -> Result<(), DiskError> {
        let end = at + data.len() as u64;
        if (at / 512..end.div_ceil(512)).contains(&self.bad_block) {
            return Err(DiskError::NoSpace);
        }
        self.bytes[at as usize..end as usize].copy_from_slice(data);
        Ok(())
    }
}

#[test]
fn disks_that_lend_nothing_are_copied_from() {
    for keys in [&[][..], BOTH, &["MaxRecvDataSegmentLength=16777212", "MaxBurstLength=16777215"]] {
        let disk = Slow { bytes: vec![0; 1 << 20], bad_block: 2047 };
        let mut bench = Bench::with_disks(vec![Box::new(disk)], |_| {});
        bench.login(0, keys);
        let data = pattern(600 * 512, 4);
        let write = Write10 { lba: 7, blocks: 600, ..Write10::default() }.cdb();
        bench.write(0, &write, &data, 5000).assert_good();
        // More at once than the bounce area holds.
        let read = Read10 { lba: 7, blocks: 600, ..Read10::default() }.cdb();
        let commands: Vec<ScsiCommand> = (0..3)
            .map(|_| {
                let command = bench.command(0, &read);
                bench.send(0, command, &[]);
                command
            })
            .collect();
        for command in &commands {
            let (back, end) = bench.finish_read(0, command);
            end.assert_good();
            assert!(back == data);
        }
        // The disk's failures are told.
        let read = Read10 { lba: 2046, blocks: 2, ..Read10::default() }.cdb();
        assert_eq!(bench.read(0, &read).1.check(), (3, 0x11, 0));
        let write = Write10 { lba: 2046, blocks: 2, ..Write10::default() }.cdb();
        assert_eq!(bench.write(0, &write, &data[..1024], 512).check(), (7, 0x27, 7));
    }
}

/// The lengths of the Data-In of a read of 300 KiB, and what the digests say of them.
fn segments(disk: Box<dyn Disk>, keys: &[&str]) -> Vec<usize> {
    let mut bench = Bench::with_disks(vec![disk], |_| {});
    bench.login(0, &[keys, &["MaxRecvDataSegmentLength=131072"]].concat());
    let read = Read10 { lba: 3, blocks: 600, ..Read10::default() }.cdb();
    // Digests cover the padding, too.
    let command = ScsiCommand { expected_data_transfer_length: 307_197, ..bench.command(0, &read) };
    bench.send(0, command, &[]);
    let mut lens = Vec::new();
    while lens.iter().sum::<usize>() < 307_197 {
        let received = bench.receive(0);
        assert!(matches!(received.pdu(), TargetPdu::DataIn(_)));
        assert!(received.data.iter().all(|byte| *byte == 0));
        lens.push(received.data.len());
    }
    lens
}

#[test]
fn what_never_changes_is_sent_without_a_copy_in_spite_of_digests() {
    let null = || Box::new(NullDisk::new(1 << 20));
    for keys in [&[][..], &["DataDigest=CRC32C"], BOTH] {
        assert_eq!(segments(null(), keys), [131_072, 131_072, 45_053]);
    }
    // What may change is copied first, as far as the area for that goes.
    assert_eq!(segments(ram(1 << 20), &[]), [131_072, 131_072, 45_053]);
    assert_eq!(segments(ram(1 << 20), BOTH)[0], 32_768);
}
