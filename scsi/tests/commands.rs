//! CDBs: hand-checked vectors, and every command parsed back from its own CDB.

use core::num::NonZero;

use iscsi_scsi::alua::{ReportTargetPortGroups, SetTargetPortGroups};
use iscsi_scsi::block::*;
use iscsi_scsi::block32::*;
use iscsi_scsi::cache::*;
use iscsi_scsi::capacity::{ReadCapacity10, ReadCapacity16};
use iscsi_scsi::command::BlockAction;
use iscsi_scsi::mode::*;
use iscsi_scsi::opcodes::*;
use iscsi_scsi::primary::*;
use iscsi_scsi::provisioning::*;
use iscsi_scsi::report_luns::{ReportLuns, SelectReport};
use iscsi_scsi::reservation::*;
use iscsi_scsi::verify::*;
use iscsi_scsi::vpd::PageCode;
use iscsi_scsi::{
    Bits, ByteCheck, Cdb, CdbError, Command, CommandError, DataLength, Direction, GroupNumber,
    Protect,
};
use proptest::prelude::*;

fn group() -> impl Strategy<Value = GroupNumber> {
    (0_u8..64).prop_map(|number| GroupNumber::new(number).unwrap())
}

fn protect() -> impl Strategy<Value = Protect> {
    (0_u8..8).prop_map(|code| Protect::new(code).unwrap())
}

fn check() -> impl Strategy<Value = ByteCheck> {
    prop_oneof![
        Just(ByteCheck::MEDIUM),
        Just(ByteCheck::COMPARE),
        Just(ByteCheck::COMPARE_ONE_BLOCK)
    ]
}

/// Parses the CDB of a command and expects the command, with and without the padding that the
/// 16-byte field of an iSCSI header adds.
fn same(command: Command) {
    let cdb = command.cdb().unwrap();
    assert_eq!(Command::parse(cdb.as_bytes()), Ok(command));
    let mut padded = [0; 48];
    padded[..cdb.as_bytes().len()].copy_from_slice(cdb.as_bytes());
    assert_eq!(Command::parse(&padded), Ok(command));
    for len in 0..cdb.as_bytes().len() {
        let needed = if len == 0 { 1 } else { cdb.as_bytes().len() };
        assert_eq!(
            Command::parse(&cdb.as_bytes()[..len]),
            Err(CommandError::Short { needed, got: len })
        );
    }
}

proptest! {
    #[test]
    fn transfers(
        lba: u64, blocks: u32, protect in protect(), dpo: bool, fua: bool, group in group(),
        reference: u32, application: u16, application_mask: u16,
    ) {
        let (lba32, blocks16) = (lba as u32, blocks as u16);
        same(Read10 { lba: lba32, blocks: blocks16, protect, dpo, fua, group }.into());
        same(Read12 { lba: lba32, blocks, protect, dpo, fua, group }.into());
        same(Read16 { lba, blocks, protect, dpo, fua, group }.into());
        same(Write10 { lba: lba32, blocks: blocks16, protect, dpo, fua, group }.into());
        same(Write12 { lba: lba32, blocks, protect, dpo, fua, group }.into());
        same(Write16 { lba, blocks, protect, dpo, fua, group }.into());
        same(OrWrite16 { lba, blocks, protect, dpo, fua, group }.into());
        same(CompareAndWrite { lba, blocks: blocks as u8, protect, dpo, fua, group }.into());
        let boundary = application;
        same(WriteAtomic16 { lba, blocks: blocks16, boundary, protect, dpo, fua, group }.into());
        let tags = ExpectedTags { reference, application, application_mask };
        same(Read32 { lba, blocks, protect, dpo, fua, group, tags }.into());
        same(Write32 { lba, blocks, protect, dpo, fua, group, tags }.into());
    }

    #[test]
    fn six_byte_transfers(lba in 0_u32..=LBA_MAX_6, blocks in 1_u16..=256) {
        same(Command::Read6(Read6 { lba, blocks }));
        same(Command::Write6(Write6 { lba, blocks }));
    }

    #[test]
    fn verifies(
        lba: u64, blocks: u32, check in check(), protect in protect(), dpo: bool, group in group(),
    ) {
        let (lba32, blocks16) = (lba as u32, blocks as u16);
        same(Verify10 { lba: lba32, blocks: blocks16, check, protect, dpo, group }.into());
        same(Verify12 { lba: lba32, blocks, check, protect, dpo, group }.into());
        same(Verify16 { lba, blocks, check, protect, dpo, group }.into());
        same(WriteAndVerify10 { lba: lba32, blocks: blocks16, check, protect, dpo, group }.into());
        same(WriteAndVerify12 { lba: lba32, blocks, check, protect, dpo, group }.into());
        same(WriteAndVerify16 { lba, blocks, check, protect, dpo, group }.into());
        let tags = ExpectedTags { reference: lba32, ..Default::default() };
        same(Verify32 { lba, blocks, check, protect, dpo, group, tags }.into());
        same(WriteAndVerify32 { lba, blocks, check, protect, dpo, group, tags }.into());
    }

    #[test]
    fn ranges(
        lba: u64, count: u32, protect in protect(), immediate: bool, anchor: bool, unmap: bool,
        ndob: bool, group in group(),
    ) {
        let lba32 = lba as u32;
        let (blocks, blocks16) = (NonZero::new(count), NonZero::new(count as u16));
        same(SynchronizeCache10 { lba: lba32, blocks: blocks16, immediate, group }.into());
        same(SynchronizeCache16 { lba, blocks, immediate, group }.into());
        same(PreFetch10 { lba: lba32, blocks: blocks16, immediate, group }.into());
        same(PreFetch16 { lba, blocks, immediate, group }.into());
        same(WriteSame10 { lba: lba32, blocks: blocks16, anchor, unmap, protect, group }.into());
        same(WriteSame16 { lba, blocks, anchor, unmap, ndob, protect, group }.into());
        let tags = ExpectedTags { application: 7, ..Default::default() };
        same(WriteSame32 { lba, blocks, anchor, unmap, ndob, protect, group, tags }.into());
        same(Unmap { parameter_list_length: count as u16, anchor, group }.into());
        let report_type = count as u8;
        same(GetLbaStatus { lba, allocation_length: count, report_type }.into());
    }

    #[test]
    fn others(a: u8, b: u8, c: u16, d: u32, x: bool, y: bool, z: bool) {
        same(Command::TestUnitReady(TestUnitReady));
        same(RequestSense { descriptor: x, allocation_length: a }.into());
        let page = x.then(|| PageCode::from(a));
        same(Inquiry { page, allocation_length: c }.into());
        same(StartStopUnit {
            immediate: x,
            power_condition: PowerCondition::from_bits(a),
            modifier: Bits::from_bits(b),
            no_flush: y,
            load_eject: z,
            start: x,
        }.into());
        same(PreventAllowMediumRemoval { prevent: Prevent::from_bits(a) }.into());
        same(ReadCapacity10.into());
        same(ReadCapacity16 { allocation_length: d }.into());
        let select = SelectReport::from_bits(a);
        same(ReportLuns { select, allocation_length: d.max(16) }.into());
        let (control, page) = (PageControl::from_bits(a), ModePageCode::from_bits(b));
        same(ModeSense6 { dbd: x, control, page, subpage: a, allocation_length: b }.into());
        same(ModeSense10 {
            llbaa: y, dbd: x, control, page, subpage: a, allocation_length: c,
        }.into());
        same(ModeSelect6 { pf: x, rtd: y, sp: z, parameter_list_length: a }.into());
        same(ModeSelect10 { pf: x, rtd: y, sp: z, parameter_list_length: c }.into());
        let action = ReserveInAction::from_bits(a);
        same(PersistentReserveIn { action, allocation_length: c }.into());
        same(PersistentReserveOut {
            action: ReserveOutAction::from_bits(a),
            scope: Scope::from_bits(b),
            kind: ReservationType::from_bits(a),
            parameter_list_length: d,
        }.into());
        same(Reserve6.into());
        same(Release6.into());
        same(Reserve10.into());
        same(Release10.into());
        for options in [
            ReportingOptions::Opcode(a),
            ReportingOptions::ServiceAction(a, c),
            ReportingOptions::Either(a, c),
            ReportingOptions::All,
        ] {
            same(ReportSupportedOpcodes { options, timeouts: x, allocation_length: d }.into());
        }
        same(ReportSupportedTmfs { extended: x, allocation_length: d }.into());
        same(ReportTargetPortGroups { extended: x, allocation_length: d }.into());
        same(SetTargetPortGroups { parameter_list_length: d }.into());
    }

    /// Whatever arrives, parsing ends, and a command that was understood says the same again.
    #[test]
    fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
        match Command::parse(&bytes) {
            Ok(command) => {
                let again = command.cdb().expect("a parsed command has a CDB");
                prop_assert_eq!(Command::parse(again.as_bytes()), Ok(command));
                command.block_range().map(|range| range.resolve(1000));
            }
            Err(error) => {
                let mut sense = [0; 18];
                prop_assert_eq!(error.sense().emit_fixed(&mut sense), 18);
                prop_assert_eq!(sense[2], 0x05);
            }
        }
    }
}

#[test]
fn every_opcode_alone() {
    for opcode in 0..=255 {
        for action in 0..32 {
            let mut cdb = [0; 32];
            (cdb[0], cdb[1]) = (opcode, action);
            let _ = Command::parse(&cdb);
            let _ = Command::parse(&[opcode; 32]);
        }
    }
}

#[test]
fn data_phases() {
    fn phase(cdb: Cdb) -> (Direction, DataLength) {
        (cdb.direction(), cdb.data_length())
    }
    use DataLength::{Blocks, Bytes};
    use Direction::{In, None, Out};
    let lba = 1;
    assert_eq!(phase(TestUnitReady.cdb()), (None, Bytes(0)));
    assert_eq!(phase(Inquiry::default().cdb()), (In, Bytes(96)));
    assert_eq!(phase(Read6 { lba: 1, blocks: 256 }.cdb().unwrap()), (In, Blocks(256)));
    assert_eq!(phase(Read16 { lba, blocks: 7, ..Default::default() }.cdb()), (In, Blocks(7)));
    let most = Write16 { lba, blocks: u32::MAX, ..Default::default() }.cdb();
    assert_eq!(most.expected_bytes(4096), u64::from(u32::MAX) * 4096);
    assert_eq!(
        phase(CompareAndWrite { lba, blocks: 255, ..Default::default() }.cdb()),
        (Out, Blocks(510))
    );
    assert_eq!(phase(WriteSame16 { lba, ..Default::default() }.cdb()), (Out, Blocks(1)));
    let zeros = WriteSame16 { lba, ndob: true, ..Default::default() };
    assert_eq!(phase(zeros.cdb()), (None, Blocks(0)));
    assert_eq!(phase(Unmap::default().cdb()), (None, Bytes(0)));
    assert_eq!(phase(SynchronizeCache16::default().cdb()), (None, Bytes(0)));
    let verify = |check, blocks| phase(Verify16 { lba, blocks, check, ..Default::default() }.cdb());
    assert_eq!(verify(ByteCheck::MEDIUM, 9), (None, Blocks(0)));
    assert_eq!(verify(ByteCheck::COMPARE, 9), (Out, Blocks(9)));
    assert_eq!(verify(ByteCheck::COMPARE_ONE_BLOCK, 9), (Out, Blocks(1)));
    assert_eq!(verify(ByteCheck::COMPARE_ONE_BLOCK, 0), (None, Blocks(0)));
}

#[test]
fn six_byte_limits() {
    for blocks in [0, 257, u16::MAX] {
        let error = CdbError::BlockCount { blocks: blocks.into(), max: 256 };
        assert_eq!(Read6 { lba: 0, blocks }.cdb(), Err(error));
        assert_eq!(Write6 { lba: 0, blocks }.cdb(), Err(error));
    }
    assert!(Read6 { lba: LBA_MAX_6, blocks: 1 }.cdb().is_ok());
    let error = CdbError::LbaTooLarge { lba: 0x20_0000, max: 0x1f_ffff };
    assert_eq!(Write6 { lba: 0x20_0000, blocks: 1 }.cdb(), Err(error));
}

#[test]
fn refused_fields() {
    // BYTCHK 10b is reserved.
    let verify = [0x2f, 0x04, 0, 0, 0, 0, 0, 0, 1, 0];
    assert_eq!(Command::parse(&verify), Err(CommandError::Field { byte: 1, bit: 2 }));
    // RESERVE(6) with the third-party bit.
    let reserve = [0x16, 0x10, 0, 0, 0, 0];
    assert_eq!(Command::parse(&reserve), Err(CommandError::Field { byte: 1, bit: 4 }));
    // A service action that nobody knows, and one of a long CDB.
    let mut action = [0; 16];
    (action[0], action[1]) = (0x9e, 0x1f);
    let error = CommandError::ServiceAction { opcode: 0x9e, service_action: 0x1f };
    assert_eq!(Command::parse(&action), Err(error));
    let mut long = [0; 32];
    (long[0], long[7], long[9]) = (0x7f, 24, 0x99);
    let error = CommandError::ServiceAction { opcode: 0x7f, service_action: 0x99 };
    assert_eq!(Command::parse(&long), Err(error));
    long[7] = 25;
    assert_eq!(Command::parse(&long), Err(CommandError::Field { byte: 7, bit: 7 }));
    assert_eq!(Command::parse(&[0xff; 32]), Err(CommandError::Opcode { opcode: 0xff }));
}

#[test]
fn block_ranges() {
    let range = |cdb: &[u8]| Command::parse(cdb).unwrap().block_range().unwrap();
    let read = range(&[0x08, 0, 0, 9, 0, 0]);
    assert_eq!((read.action, read.resolve(265)), (BlockAction::Read, Some(9..265)));
    assert_eq!(read.resolve(264), None);
    let nothing = range(&[0x28, 0, 0, 0, 0, 100, 0, 0, 0, 0]);
    assert_eq!(nothing.resolve(100), Some(100..100), "an empty range at the end");
    assert_eq!(nothing.resolve(99), None);
    let wrap = [0x88, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 2, 0, 0];
    assert_eq!(range(&wrap).resolve(u64::MAX), None, "the end overflows");
    let same = range(&[0x41, 0, 0, 0, 0, 5, 0, 0, 0, 0]);
    assert_eq!((same.blocks, same.resolve(8)), (None, Some(5..8)));
    assert_eq!(same.resolve(4), None, "to the end, from beyond it");
    assert_eq!(Command::parse(&[0; 6]).unwrap().block_range(), None);
}
