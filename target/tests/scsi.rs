//! The device server: what each command does to a disk and what it tells.

mod support;

use iscsi_core::Lun;
use iscsi_core::wire::{Isid, Residual, ScsiCommand, ScsiStatus};
use iscsi_scsi::alua::{ReportTargetPortGroups, TargetPortGroups};
use iscsi_scsi::block::{CompareAndWrite, Read6, Read10, Read12, Read16, Write6, Write10, Write12};
use iscsi_scsi::cache::{PreFetch10, SynchronizeCache16};
use iscsi_scsi::capacity::{
    ReadCapacity10, ReadCapacity10Data, ReadCapacity16, ReadCapacity16Data,
};
use iscsi_scsi::inquiry::{Peripheral, StandardInquiry};
use iscsi_scsi::mode::{
    CachingPage, ModeData, ModePageCode, ModeParameters, ModeSelect10, ModeSense6, ModeSense10,
    PageControl, PageData,
};
use iscsi_scsi::opcodes::{OneOpcode, ReportSupportedOpcodes, ReportingOptions, SupportedOpcodes};
use iscsi_scsi::primary::{Inquiry, RequestSense, StartStopUnit, TestUnitReady};
use iscsi_scsi::provisioning::{
    GetLbaStatus, LbaStatusData, ProvisioningStatus, Unmap, UnmapDescriptor, UnmapList,
    WriteSame10, WriteSame16,
};
use iscsi_scsi::report_luns::{ReportLuns, ReportLunsData, SelectReport};
use iscsi_scsi::verify::{Verify10, WriteAndVerify10};
use iscsi_scsi::vpd::{
    BlockLimits, DeviceIdentification, LogicalBlockProvisioning, PageCode, ProvisioningType,
    SupportedPages, UnitSerialNumber,
};
use iscsi_scsi::{ByteCheck, Cdb, DataLength, Direction, Protect, Sense};
use iscsi_target::{NullDisk, RamDisk};
use support::*;

fn bench() -> Bench {
    Bench::logged_in(&["InitialR2T=No"])
}

#[track_caller]
fn tell(bench: &mut Bench, cdb: &Cdb) -> Vec<u8> {
    let (mut data, end) = bench.read(0, cdb);
    assert_eq!(end.status, ScsiStatus::Good);
    let len = end.residual.transferred(data.len() as u32).unwrap();
    data.truncate(len as usize);
    data
}

fn vpd(bench: &mut Bench, page: PageCode) -> Vec<u8> {
    tell(bench, &Inquiry { page: Some(page), allocation_length: 1000 }.cdb())
}

#[test]
fn inquiry_names_the_unit() {
    let mut bench = bench();
    let data = tell(&mut bench, &Inquiry { page: None, allocation_length: 255 }.cdb());
    let inquiry = StandardInquiry::parse(&data).unwrap();
    assert_eq!((data.len(), inquiry.peripheral), (96, Peripheral::DISK));
    assert_eq!(inquiry.vendor().trimmed().as_str(), Some("ISCSI-RS"));
    assert!(inquiry.cmd_que);
    // Cut by the allocation length.
    assert_eq!(tell(&mut bench, &Inquiry { page: None, allocation_length: 5 }.cdb()), data[..5]);

    let pages = vpd(&mut bench, PageCode::SUPPORTED_PAGES);
    for page in SupportedPages::parse(&pages).unwrap().codes() {
        assert_eq!(vpd(&mut bench, page)[1], page.code());
    }
    let serial = vpd(&mut bench, PageCode::UNIT_SERIAL_NUMBER);
    assert_eq!(UnitSerialNumber::parse(&serial).unwrap().serial().as_bytes(), b"serial-0");
    let page = vpd(&mut bench, PageCode::DEVICE_IDENTIFICATION);
    let identification = DeviceIdentification::parse(&page).unwrap();
    assert!(identification.unit_name().is_some());
    let port = format!("{TARGET},t,0x0001\0");
    assert!(identification.designators().any(|it| it.bytes.starts_with(port.as_bytes())));
    let unknown = Inquiry { page: Some(PageCode::ZONED_BLOCK), allocation_length: 96 }.cdb();
    assert_eq!(bench.read(0, &unknown).1.check(), (5, 0x24, 0));
}

#[test]
fn names_differ_from_unit_to_unit() {
    let mut bench = Bench::with_disks(vec![ram(512), ram(512)], |_| {});
    bench.login(0, &[]);
    let cdb = Inquiry { page: Some(PageCode::DEVICE_IDENTIFICATION), allocation_length: 500 }.cdb();
    let names = [0, 1].map(|lun| {
        let command = ScsiCommand { lun: Lun::new(lun).unwrap(), ..bench.command(0, &cdb) };
        bench.send(0, command, &[]);
        let (data, _) = bench.finish_read(0, &command);
        DeviceIdentification::parse(&data).unwrap().unit_name().unwrap().bytes.to_vec()
    });
    assert_ne!(names[0], names[1]);
}

#[test]
fn capacity_is_told_in_both_forms() {
    let mut bench = bench();
    let data = tell(&mut bench, &ReadCapacity10.cdb());
    let short = ReadCapacity10Data::parse(&data).unwrap();
    assert_eq!((short.last_lba, short.block_length), (2047, 512));
    let data = tell(&mut bench, &ReadCapacity16::default().cdb());
    let long = ReadCapacity16Data::parse(&data).unwrap();
    assert_eq!((long.last_lba, long.block_length, long.lbpme), (2047, 512, true));

    let mut bench =
        Bench::with_disks(vec![Box::new(NullDisk::with_block_size(1 << 60, 4096))], |_| {});
    bench.login(0, &[]);
    let data = tell(&mut bench, &ReadCapacity10.cdb());
    assert_eq!(ReadCapacity10Data::parse(&data).unwrap().blocks(), None);
    let data = tell(&mut bench, &ReadCapacity16::default().cdb());
    assert_eq!(ReadCapacity16Data::parse(&data).unwrap().blocks(), Some(1 << 48));
}

#[test]
fn luns_are_reported_and_missing_ones_have_answers() {
    let mut bench = Bench::with_disks(vec![ram(512), ram(512), ram(512)], |_| {});
    bench.login(0, &[]);
    let missing = Lun::new(9).unwrap();
    let mut at = |cdb: &Cdb| {
        let command = ScsiCommand { lun: missing, ..bench.command(0, cdb) };
        bench.send(0, command, &[]);
        bench.finish_read(0, &command)
    };
    let report = ReportLuns { select: SelectReport::ADDRESSED, allocation_length: 256 }.cdb();
    let (data, _) = at(&report);
    let list = ReportLunsData::parse(&data).unwrap();
    assert!(list.is_complete());
    let numbers: Vec<_> = list.luns().map(|lun| lun.number().unwrap()).collect();
    assert_eq!(numbers, [0, 1, 2]);
    let (data, end) = at(&Inquiry::default().cdb());
    assert_eq!((end.status, data[0]), (ScsiStatus::Good, 0x7f));
    assert_eq!(at(&TestUnitReady.cdb()).1.check(), (5, 0x25, 0));
    let (data, end) = at(&RequestSense::default().cdb());
    assert_eq!(end.status, ScsiStatus::Good);
    assert_eq!(Sense::parse(&data).unwrap().additional.asc, 0x25);
}

#[test]
fn short_and_long_forms_reach_the_same_blocks() {
    let mut bench = bench();
    let data = pattern(1024, 2);
    let write6 = Write6 { lba: 9, blocks: 2 }.cdb().unwrap();
    bench.write(0, &write6, &data, 512).assert_good();
    let reads = [
        Read6 { lba: 9, blocks: 2 }.cdb().unwrap(),
        Read10 { lba: 9, blocks: 2, ..Default::default() }.cdb(),
        Read12 { lba: 9, blocks: 2, ..Default::default() }.cdb(),
        Read16 { lba: 9, blocks: 2, ..Default::default() }.cdb(),
    ];
    for read in reads {
        assert_eq!(tell(&mut bench, &read), data);
    }
    let write12 = Write12 { lba: 2047, blocks: 1, ..Default::default() }.cdb();
    bench.write(0, &write12, &data[..512], 512).assert_good();
}

#[test]
fn the_end_of_the_disk_is_kept() {
    let mut bench = bench();
    for (lba, blocks, good) in
        [(2047, 1, true), (2048, 0, true), (2048, 1, false), (2047, 2, false), (2049, 0, false)]
    {
        let read = Read10 { lba, blocks, ..Default::default() }.cdb();
        let end = bench.read(0, &read).1;
        if good { end.assert_good() } else { assert_eq!(end.check(), (5, 0x21, 0)) }
    }
    let far = Read16 { lba: u64::MAX, blocks: 1, ..Default::default() }.cdb();
    assert_eq!(bench.read(0, &far).1.check(), (5, 0x21, 0));
    let protected =
        Read10 { lba: 0, blocks: 1, protect: Protect::CHECK, ..Default::default() }.cdb();
    assert_eq!(bench.read(0, &protected).1.check(), (5, 0x24, 0));
}

#[test]
fn unknown_commands_are_illegal() {
    let mut bench = bench();
    for opcode in [0x04, 0x3b, 0x7f, 0x83, 0xa1, 0xc0, 0xff] {
        let mut bytes = [0; 16];
        bytes[0] = opcode;
        let cdb = Cdb::from_bytes(&bytes, Direction::None, DataLength::Bytes(0)).unwrap();
        assert_eq!(bench.read(0, &cdb).1.check(), (5, 0x20, 0), "{opcode:#x}");
    }
    let mut bytes = [0; 16];
    (bytes[0], bytes[1]) = (0x9e, 0x1f);
    let cdb = Cdb::from_bytes(&bytes, Direction::None, DataLength::Bytes(0)).unwrap();
    assert_eq!(bench.read(0, &cdb).1.check(), (5, 0x24, 0));
}

#[test]
fn verify_compares() {
    let mut bench = bench();
    let data = pattern(2048, 6);
    let write = WriteAndVerify10 { lba: 4, blocks: 4, ..Default::default() }.cdb();
    bench.write(0, &write, &data, 700).assert_good();
    let compare =
        Verify10 { lba: 4, blocks: 4, check: ByteCheck::COMPARE, ..Default::default() }.cdb();
    bench.write(0, &compare, &data, 700).assert_good();
    let mut other = data.clone();
    other[1500] ^= 1;
    let end = bench.write(0, &compare, &other, 700);
    assert_eq!(end.check(), (0xe, 0x1d, 0));
    assert_eq!(end.sense.unwrap().information, Some(1500));
    let medium = Verify10 { lba: 4, blocks: 4, ..Default::default() }.cdb();
    bench.read(0, &medium).1.assert_good();
    // One block against many.
    let same =
        WriteSame10 { lba: 0, blocks: core::num::NonZero::new(4), ..Default::default() }.cdb();
    bench.write(0, &same, &data[..512], 512).assert_good();
    let check = ByteCheck::COMPARE_ONE_BLOCK;
    let verify = Verify10 { lba: 0, blocks: 4, check, ..Default::default() }.cdb();
    bench.write(0, &verify, &data[..512], 512).assert_good();
    let verify = Verify10 { lba: 0, blocks: 5, check, ..Default::default() }.cdb();
    assert_eq!(bench.write(0, &verify, &data[512..1024], 512).check(), (0xe, 0x1d, 0));
}

#[test]
fn compare_and_write_is_all_or_nothing() {
    let mut bench = bench();
    let (old, new) = (vec![0; 1024], pattern(1024, 5));
    let cdb = CompareAndWrite { lba: 3, blocks: 2, ..Default::default() }.cdb();
    bench.write(0, &cdb, &[old.clone(), new.clone()].concat(), 300).assert_good();
    let read = Read10 { lba: 3, blocks: 2, ..Default::default() }.cdb();
    assert_eq!(tell(&mut bench, &read), new);
    let end = bench.write(0, &cdb, &[old, vec![9; 1024]].concat(), 300);
    assert_eq!(end.check(), (0xe, 0x1d, 0));
    assert_eq!(end.sense.unwrap().information, Some(0));
    assert_eq!(tell(&mut bench, &read), new);
    let limits = vpd(&mut bench, PageCode::BLOCK_LIMITS);
    let most = BlockLimits::parse(&limits).unwrap().max_compare_and_write_length;
    let too_long = CompareAndWrite { lba: 0, blocks: most + 1, ..Default::default() }.cdb();
    let len = (usize::from(most) + 1) * 1024;
    assert_eq!(bench.write(0, &too_long, &vec![0; len], 65536).check(), (5, 0x24, 0));
}

#[test]
fn staging_is_limited_and_comes_back() {
    let mut bench = Bench::logged_in(&["InitialR2T=Yes", "ImmediateData=No"]);
    let cdb = CompareAndWrite { lba: 0, blocks: 64, ..Default::default() }.cdb();
    let commands: Vec<ScsiCommand> = (0..2)
        .map(|_| {
            let command = bench.command(0, &cdb);
            bench.send(0, command, &[]);
            command
        })
        .collect();
    // The first takes all room; the second is asked to come later.
    let mut answers = Vec::new();
    while let Some(received) = bench.poll(0) {
        answers.push(received.pdu());
    }
    let iscsi_core::wire::TargetPdu::ScsiResponse(busy) = answers[1] else { panic!() };
    assert_eq!(busy.initiator_task_tag, commands[1].initiator_task_tag);
    let iscsi_core::wire::ScsiResponseCode::CompletedAtTarget(end) = busy.response else {
        panic!()
    };
    assert_eq!(end.status, ScsiStatus::TaskSetFull);
    bench.clients[0].take_status(busy.stat_sn);
    let iscsi_core::wire::TargetPdu::R2t(r2t) = answers[0] else { panic!() };
    let data = vec![0; 65536];
    bench.send_burst(0, &commands[0], Some(r2t.transfer()), &data, 0, 65536, 8192);
    bench.finish_write(0, &commands[0], &data, 8192).assert_good();
    for _ in 0..20 {
        bench.write(0, &cdb, &data, 8192).assert_good();
    }
}

#[test]
fn write_same_fills() {
    let mut bench = bench();
    let block = pattern(512, 1);
    let count = core::num::NonZero::new(10);
    let same = WriteSame16 { lba: 100, blocks: count, ..Default::default() }.cdb();
    bench.write(0, &same, &block, 512).assert_good();
    let read = Read10 { lba: 100, blocks: 10, ..Default::default() }.cdb();
    assert_eq!(tell(&mut bench, &read), block.repeat(10));
    let unmap = WriteSame16 {
        lba: 102,
        blocks: core::num::NonZero::new(3),
        unmap: true,
        ndob: true,
        ..Default::default()
    };
    bench.read(0, &unmap.cdb()).1.assert_good();
    let data = tell(&mut bench, &read);
    assert!(data[1024..2560].iter().all(|byte| *byte == 0));
    assert_eq!(data[2560..], block.repeat(5));
    // WSNZ is set: "to the end" is not served.
    let open = WriteSame10 { lba: 0, blocks: None, ..Default::default() }.cdb();
    assert_eq!(bench.write(0, &open, &block, 512).check(), (5, 0x24, 0));
}

#[test]
fn blocks_can_be_given_back() {
    let mut bench = bench();
    let page = vpd(&mut bench, PageCode::LOGICAL_BLOCK_PROVISIONING);
    let provisioning = LogicalBlockProvisioning::parse(&page).unwrap();
    assert!(provisioning.lbpu && provisioning.kind == ProvisioningType::THIN);
    let write = Write10 { lba: 0, blocks: 8, ..Default::default() }.cdb();
    bench.write(0, &write, &[7; 4096], 4096).assert_good();
    let mut list = [0; 100];
    let ranges = [UnmapDescriptor { lba: 1, blocks: 2 }, UnmapDescriptor { lba: 6, blocks: 1 }];
    let len = UnmapList::build(&ranges, &mut list).unwrap();
    let unmap = Unmap { parameter_list_length: len as u16, ..Default::default() }.cdb();
    bench.write(0, &unmap, &list[..len], 512).assert_good();
    let status = GetLbaStatus { lba: 0, allocation_length: 8 + 16 * 6, ..Default::default() }.cdb();
    let data = tell(&mut bench, &status);
    let ranges: Vec<(u64, u32, bool)> = LbaStatusData::parse(&data)
        .unwrap()
        .ranges()
        .map(|range| (range.lba, range.blocks, range.status == ProvisioningStatus::DEALLOCATED))
        .collect();
    let expected =
        [(0, 1, false), (1, 2, true), (3, 3, false), (6, 1, true), (7, 1, false), (8, 2040, true)];
    assert_eq!(ranges, expected);
    let bad = [UnmapDescriptor { lba: 2047, blocks: 2 }];
    let len = UnmapList::build(&bad, &mut list).unwrap();
    let unmap = Unmap { parameter_list_length: len as u16, ..Default::default() }.cdb();
    assert_eq!(bench.write(0, &unmap, &list[..len], 512).check(), (5, 0x21, 0));
}

#[test]
fn read_only_disks_refuse_writes() {
    let disk = RamDisk::new(vec![0; 4096], 512).unwrap().read_only(true);
    let mut bench = Bench::with_disks(vec![Box::new(disk)], |_| {});
    bench.login(0, &["InitialR2T=No"]);
    let write = Write10 { lba: 0, blocks: 1, ..Default::default() }.cdb();
    assert_eq!(bench.write(0, &write, &[1; 512], 512).check(), (7, 0x27, 0));
    let data = tell(
        &mut bench,
        &ModeSense6 { page: ModePageCode::ALL, allocation_length: 255, ..Default::default() }.cdb(),
    );
    assert!(ModeData::parse6(&data).unwrap().write_protect());
}

#[test]
fn mode_pages_can_be_read_and_changed() {
    let mut bench = bench();
    let sense = |control, page| {
        ModeSense10 { control, page, allocation_length: 500, ..Default::default() }.cdb()
    };
    let caching = |data: &[u8]| {
        let page = ModeData::parse10(data).unwrap().page(ModePageCode::CACHING).unwrap();
        match page.data() {
            PageData::Caching(caching) => caching,
            other => panic!("{other:?}"),
        }
    };
    let data = tell(&mut bench, &sense(PageControl::CURRENT, ModePageCode::CACHING));
    let now = caching(&data);
    assert!(now.wce);
    assert_eq!(ModeData::parse10(&data).unwrap().block_descriptor.unwrap().blocks, 2048);
    let changed = CachingPage { wce: false, ..now };
    let parameters = ModeParameters {
        medium_type: 0,
        write_protect: false,
        dpo_fua: false,
        block_descriptor: None,
    };
    let mut list = [0; 100];
    let len = parameters.build_select10(&[PageData::Caching(changed)], &mut list).unwrap();
    let select = ModeSelect10 { parameter_list_length: len as u16, ..Default::default() }.cdb();
    bench.write(0, &select, &list[..len], 512).assert_good();
    let data = tell(&mut bench, &sense(PageControl::CURRENT, ModePageCode::CACHING));
    assert!(!caching(&data).wce);
    let data = tell(&mut bench, &sense(PageControl::DEFAULT, ModePageCode::CACHING));
    assert!(caching(&data).wce);
    let data = tell(&mut bench, &sense(PageControl::CURRENT, ModePageCode::ALL));
    assert_eq!(ModeData::parse10(&data).unwrap().pages().count(), 3);
    assert_eq!(
        bench.read(0, &sense(PageControl::SAVED, ModePageCode::ALL)).1.check(),
        (5, 0x39, 0)
    );
    let unknown = sense(PageControl::CURRENT, ModePageCode::POWER_CONDITION);
    assert_eq!(bench.read(0, &unknown).1.check(), (5, 0x24, 0));
    // What cannot be changed is not changed, and nothing else of that list either.
    let impossible = CachingPage { wce: true, rcd: true, ..now };
    let len = parameters.build_select10(&[PageData::Caching(impossible)], &mut list).unwrap();
    assert_eq!(bench.write(0, &select, &list[..len], 512).check(), (5, 0x26, 0));
    let data = tell(&mut bench, &sense(PageControl::CURRENT, ModePageCode::CACHING));
    assert!(!caching(&data).wce);
}

#[test]
fn other_sessions_are_told_of_changed_modes() {
    let mut bench = bench();
    let other = bench.connect();
    bench.login_as(other, INITIATOR, Isid::random(3, 3), &[]);
    let parameters = ModeParameters {
        medium_type: 0,
        write_protect: false,
        dpo_fua: false,
        block_descriptor: None,
    };
    let mut list = [0; 100];
    let len =
        parameters.build_select10(&[PageData::Caching(CachingPage::default())], &mut list).unwrap();
    let select = ModeSelect10 { parameter_list_length: len as u16, ..Default::default() }.cdb();
    bench.write(0, &select, &list[..len], 512).assert_good();
    // REQUEST SENSE reports it and clears it.
    let (data, end) = bench.read(other, &RequestSense::default().cdb());
    assert_eq!(end.status, ScsiStatus::Good);
    let sense = Sense::parse(&data).unwrap();
    assert_eq!((sense.additional.asc, sense.additional.ascq), (0x2a, 1));
    bench.read(other, &TestUnitReady.cdb()).1.assert_good();
}

#[test]
fn a_stopped_unit_is_not_ready() {
    let mut bench = bench();
    bench.read(0, &StartStopUnit { start: false, ..Default::default() }.cdb()).1.assert_good();
    assert_eq!(bench.read(0, &TestUnitReady.cdb()).1.check(), (2, 4, 2));
    let read = Read10 { lba: 0, blocks: 1, ..Default::default() }.cdb();
    assert_eq!(bench.read(0, &read).1.check(), (2, 4, 2));
    bench.read(0, &StartStopUnit { start: true, ..Default::default() }.cdb()).1.assert_good();
    bench.read(0, &TestUnitReady.cdb()).1.assert_good();
}

#[test]
fn supported_commands_are_the_ones_served() {
    let mut bench = bench();
    let all = ReportSupportedOpcodes {
        options: ReportingOptions::All,
        timeouts: false,
        allocation_length: 4096,
    };
    let data = tell(&mut bench, &all.cdb());
    let commands: Vec<_> = SupportedOpcodes::parse(&data).unwrap().commands().collect();
    assert!(commands.len() > 40);
    for command in &commands {
        let options = match command.service_action {
            Some(action) => ReportingOptions::ServiceAction(command.opcode, action),
            None => ReportingOptions::Opcode(command.opcode),
        };
        let one = ReportSupportedOpcodes { options, timeouts: true, allocation_length: 64 };
        let data = tell(&mut bench, &one.cdb());
        let one = OneOpcode::parse(&data).unwrap();
        assert!(one.support.is_supported() && one.timeouts.is_some());
        assert_eq!(one.usage.len(), usize::from(command.cdb_length));
        assert_eq!(one.usage[0], command.opcode);
        // No listed command has an invalid operation code.
        let mut bytes = [0; 16];
        bytes[0] = command.opcode;
        bytes[1] = command.service_action.unwrap_or(0) as u8;
        let len = usize::from(command.cdb_length);
        let cdb = Cdb::from_bytes(&bytes[..len], Direction::In, DataLength::Bytes(256)).unwrap();
        let end = bench.read(0, &cdb).1;
        assert_ne!(
            end.sense.map(|sense| sense.additional.asc),
            Some(0x20),
            "{:#x}",
            command.opcode
        );
    }
    let none = ReportSupportedOpcodes {
        options: ReportingOptions::Opcode(0x04),
        timeouts: false,
        allocation_length: 64,
    };
    let data = tell(&mut bench, &none.cdb());
    assert!(!OneOpcode::parse(&data).unwrap().support.is_supported());
}

#[test]
fn the_rest_is_served_too() {
    let mut bench = bench();
    let data =
        tell(&mut bench, &ReportTargetPortGroups { extended: false, allocation_length: 64 }.cdb());
    let groups = TargetPortGroups::parse(&data, false).unwrap();
    assert_eq!(groups.groups().map(|group| group.id).collect::<Vec<_>>(), [1]);
    bench.read(0, &SynchronizeCache16::default().cdb()).1.assert_good();
    let end = bench.read(0, &PreFetch10 { lba: 0, ..Default::default() }.cdb()).1;
    assert_eq!((end.status, end.residual), (ScsiStatus::ConditionMet, Residual::None));
}

#[test]
fn a_loss_of_power_is_told_once() {
    let mut bench = bench();
    bench.target.powered_on(1);
    bench.read(0, &TestUnitReady.cdb()).1.assert_good();
    bench.target.powered_on(0);
    assert_eq!(bench.read(0, &TestUnitReady.cdb()).1.check(), (6, 0x29, 1));
    bench.read(0, &TestUnitReady.cdb()).1.assert_good();
}

#[test]
fn a_new_size_is_told() {
    let mut bench = bench();
    // Nothing has changed: nobody is told.
    bench.target.capacity_changed(0);
    bench.read(0, &TestUnitReady.cdb()).1.assert_good();
    assert!(bench.target.unit_mut(0).is_some() && bench.target.unit_mut(1).is_none());
}
