//! Data from a peer: random bytes, all ones, and every prefix of valid data never panic, and no
//! iterator yields more than the bytes at hand can hold.

use iscsi_scsi::alua::{TargetPortGroup, TargetPortGroups};
use iscsi_scsi::capacity::{ReadCapacity10Data, ReadCapacity16Data};
use iscsi_scsi::copy::{CopyOperatingParameters, CopyStatus};
use iscsi_scsi::diagnostic::IdentifyingInformation;
use iscsi_scsi::inquiry::{Peripheral, StandardInquiry};
use iscsi_scsi::log::LogPage;
use iscsi_scsi::mode::{CachingPage, ControlPage, ModeData, ModeParameters, PageData};
use iscsi_scsi::opcodes::{OneOpcode, SupportedOpcode, SupportedOpcodes, SupportedTmfs};
use iscsi_scsi::provisioning::{LbaStatusData, LbaStatusDescriptor, UnmapDescriptor, UnmapList};
use iscsi_scsi::report_luns::ReportLunsData;
use iscsi_scsi::reservation::*;
use iscsi_scsi::sense::{AdditionalSense, Sense, SenseKey, SenseKeySpecific, descriptors};
use iscsi_scsi::toc::Toc;
use iscsi_scsi::transport_id::TransportId;
use iscsi_scsi::vpd::*;
use iscsi_scsi::{Ascii, Lun};
use proptest::prelude::*;

/// Runs every parser over the data and walks everything it yields.
fn parse_all(data: &[u8]) {
    let bound = data.len() + 1;
    macro_rules! walk {
        ($iterator:expr) => {{
            let count = $iterator.inspect(|item| drop(format!("{item:?}"))).count();
            assert!(count < bound, "{count} items in {} bytes", data.len());
        }};
    }
    if let Ok(sense) = Sense::parse(data) {
        let _ = sense.to_string();
    }
    walk!(descriptors(data));
    let _ = StandardInquiry::parse(data).map(|inquiry| inquiry.vendor().trimmed().to_string());
    let _ = (ReadCapacity10Data::parse(data), ReadCapacity10Data::parse(data).map(|c| c.blocks()));
    let _ = ReadCapacity16Data::parse(data).map(|c| (c.bytes(), c.blocks_per_physical()));
    if let Ok(report) = ReportLunsData::parse(data) {
        walk!(report.luns());
        walk!(report.luns().flat_map(Lun::levels).step_by(4));
        walk!(report.luns().map(|lun| lun.to_string()));
    }
    if let Ok(status) = LbaStatusData::parse(data) {
        walk!(status.ranges());
    }
    if let Ok(list) = UnmapList::parse(data) {
        walk!(list.ranges().map(|range| range.end()));
    }
    let modes = [
        ModeData::parse6(data),
        ModeData::parse10(data),
        ModeData::parse_list6(data),
        ModeData::parse_list10(data),
    ];
    for mode in modes.into_iter().flatten() {
        walk!(mode.pages().map(|page| format!("{:?}", page.data())));
    }
    if let Ok(toc) = Toc::parse(data) {
        walk!(toc.tracks());
        walk!(toc.full());
    }
    if let Ok(page) = LogPage::parse(data) {
        walk!(page.parameters().map(|parameter| parameter.number()));
    }
    if let Ok(keys) = ReservationKeys::parse(data) {
        walk!(keys.keys());
    }
    let _ = (Reservation::parse(data), ReservationCapabilities::parse(data));
    if let Ok(status) = FullStatus::parse(data) {
        walk!(status.registrations());
    }
    if let Ok((_, ports)) = ReserveParameters::parse(data) {
        walk!(ports);
    }
    let _ = RegisterAndMove::parse(data);
    let _ = TransportId::parse(data).map(|(id, _)| id.iscsi_name().map(<[u8]>::len));
    if let Ok(opcodes) = SupportedOpcodes::parse(data) {
        walk!(opcodes.commands());
    }
    let _ = (OneOpcode::parse(data), OneOpcode::full_size(data), SupportedTmfs::parse(data));
    for extended in [false, true] {
        if let Ok(groups) = TargetPortGroups::parse(data, extended) {
            walk!(groups.groups());
        }
    }
    let _ = (CopyOperatingParameters::parse(data), IdentifyingInformation::parse(data));
    let _ = CopyStatus::parse(data).map(|status| status.bytes());
    let _ = Ascii::new(data).to_string();
    let mut page = data.to_vec();
    for code in [0x00, 0x80, 0x83, 0x86, 0x8f, 0xb0, 0xb1, 0xb2, 0xb3, 0xb4, 0xb5, 0xb6, 0xc0] {
        if let Some(byte) = page.get_mut(1) {
            *byte = code;
        }
        parse_vpd(&page);
    }
}

fn parse_vpd(page: &[u8]) {
    let Ok(parsed) = Vpd::parse(page) else { return };
    let _ = format!("{parsed:?}");
    match parsed {
        Vpd::SupportedPages(pages) => assert!(pages.codes().len() <= page.len()),
        Vpd::UnitSerialNumber(serial) => drop(serial.serial().to_string()),
        Vpd::DeviceIdentification(list) => {
            let names = list.designators().map(|d| d.name().map(|name| name.to_string()));
            assert!(names.count() <= page.len());
            let _ = list.unit_name();
        }
        Vpd::ThirdPartyCopy(list) => {
            assert!(list.descriptors().count() <= page.len());
            assert!(list.supported_commands().count() <= page.len());
        }
        Vpd::SupportedBlockLengths(list) => assert!(list.lengths().len() <= page.len()),
        _ => {}
    }
}

proptest! {
    #[test]
    fn random_bytes(data in proptest::collection::vec(any::<u8>(), 0..300)) {
        parse_all(&data);
    }

    /// Small lengths in the length fields reach deeper than random ones.
    #[test]
    fn small_bytes(data in proptest::collection::vec(0_u8..40, 0..300)) {
        parse_all(&data);
    }

    /// A sense key survives both formats, with any codes.
    #[test]
    fn sense_round_trip(
        key in 0_u8..16, asc: u8, ascq: u8, deferred: bool, information: u32, fru: u8,
        specific in 1_u32.., byte: u16, ili: bool,
    ) {
        let sense = Sense {
            deferred,
            information: Some(information.into()),
            command_specific: Some(specific.into()),
            sense_key_specific: match key {
                5 => Some(SenseKeySpecific::FieldPointer { in_cdb: true, bit: Some(3), byte }),
                1 | 3 | 4 => Some(SenseKeySpecific::RetryCount(byte)),
                0 | 2 => Some(SenseKeySpecific::Progress(byte)),
                _ => None,
            },
            fru: (fru != 0).then_some(fru),
            incorrect_length: ili,
            ..Sense::new(SenseKey::new(key).unwrap(), AdditionalSense { asc, ascq })
        };
        let mut data = [0xee; 252];
        let len = sense.emit_fixed(&mut data);
        prop_assert_eq!(Sense::parse(&data[..len]), Ok(sense));
        let len = sense.emit_descriptor(&mut data);
        prop_assert_eq!(Sense::parse(&data[..len]), Ok(sense));
    }

    #[test]
    fn limits_round_trip(
        wsnz: bool, a: u8, b: u16, c: u32, d: u32, e: u32, f: u64, alignment in 0_u32..0x8000_0000,
    ) {
        let limits = BlockLimits {
            wsnz,
            max_compare_and_write_length: a,
            optimal_transfer_granularity: b,
            max_transfer_length: c,
            optimal_transfer_length: d,
            max_prefetch_length: e,
            max_unmap_lba_count: c ^ d,
            max_unmap_descriptor_count: d ^ e,
            optimal_unmap_granularity: e ^ c,
            unmap_granularity_alignment: wsnz.then_some(alignment),
            max_write_same_length: f,
            max_atomic_transfer_length: !c,
            atomic_alignment: !d,
            atomic_transfer_length_granularity: !e,
            max_atomic_transfer_length_with_boundary: c.rotate_left(1),
            max_atomic_boundary: d.rotate_left(1),
        };
        let mut page = [0; 64];
        prop_assert_eq!(limits.emit(Peripheral::DISK, &mut page), 64);
        prop_assert_eq!(BlockLimits::parse(&page), Ok(limits));
    }

    #[test]
    fn characteristics_round_trip(rate: u16, a in 0_u8..4, b in 0_u8..16, fuab: bool) {
        let page = BlockCharacteristics {
            rotation_rate: rate,
            product_type: b,
            wabereq: a,
            wacereq: 3 - a,
            form_factor: b,
            zoned: a,
            fuab,
            vbuls: !fuab,
        };
        let mut data = [0; 64];
        page.emit(Peripheral::DISK, &mut data);
        prop_assert_eq!(BlockCharacteristics::parse(&data), Ok(page));
    }
}

#[test]
fn all_ones_and_all_zeros() {
    for len in 0..300 {
        parse_all(&vec![0xff; len]);
        parse_all(&vec![0x00; len]);
    }
}

#[test]
fn every_prefix_of_valid_data() {
    for data in samples() {
        for len in 0..=data.len() {
            parse_all(&data[..len]);
        }
        // And every single byte at its largest.
        for at in 0..data.len() {
            let mut damaged = data.clone();
            damaged[at] = 0xff;
            parse_all(&damaged);
        }
    }
}

/// An emitter writes the same bytes into a short buffer, and says the same size.
#[test]
fn emitters_truncate() {
    let inquiry = StandardInquiry { version_descriptors: [VD; 8], ..Default::default() };
    let mut whole = [0; 96];
    assert_eq!(inquiry.emit(&mut whole), 96);
    for len in 0..96 {
        let mut part = vec![0; len];
        assert_eq!(inquiry.emit(&mut part), 96);
        assert_eq!(part, whole[..len]);
    }
    assert_eq!(ReportLunsData::emit([Lun::ZERO; 4], &mut []), 40);
    assert_eq!(SupportedPages::emit(Peripheral::DISK, [PageCode::BLOCK_LIMITS], &mut []), 5);
}

const VD: iscsi_scsi::inquiry::VersionDescriptor = iscsi_scsi::inquiry::VersionDescriptor::ISCSI;

fn samples() -> Vec<Vec<u8>> {
    let emitted = |emit: &dyn Fn(&mut [u8]) -> usize| {
        let mut data = vec![0; 512];
        let len = emit(&mut data);
        data.truncate(len);
        data
    };
    let naa = [0x60; 16];
    let designators = [
        Designator::t10(b"IET     00010001"),
        Designator::binary(DesignatorType::NAA, &naa),
        Designator::scsi_name(Association::TARGET_PORT, b"iqn.2001-04.com.example,t,0x0001\0"),
    ];
    let pages = [
        PageData::Caching(CachingPage { wce: true, ..Default::default() }),
        PageData::Control(ControlPage::default()),
    ];
    let group = TargetPortGroup { ports: &[0, 0, 0, 1, 0, 0, 0, 2], ..Default::default() };
    let opcode =
        SupportedOpcode { opcode: 0x28, service_action: Some(1), cdb_length: 10, timeouts: None };
    let sense = Sense::new(SenseKey::ILLEGAL_REQUEST, AdditionalSense::INVALID_FIELD_IN_CDB)
        .with_information(7)
        .with_sense_key_specific(SenseKeySpecific::Other([0x80, 1, 2]));
    let registration = FullStatusDescriptor {
        key: 1,
        all_target_ports: false,
        holder: Some((Scope::LOGICAL_UNIT, ReservationType::WRITE_EXCLUSIVE)),
        relative_port: 1,
        port: TransportId::iscsi_port("iqn.2001-04.com.example,i,0x00023d000001"),
    };
    let parameters = ReserveParameters::default();
    vec![
        emitted(&|out| StandardInquiry::default().emit(out)),
        emitted(&|out| DeviceIdentification::emit(Peripheral::DISK, designators, out)),
        emitted(&|out| UnitSerialNumber::emit(Peripheral::DISK, b"beaf11", out)),
        emitted(&|out| BlockLimits::default().emit(Peripheral::DISK, out)),
        emitted(&|out| ReadCapacity16Data::default().emit(out)),
        emitted(&|out| ReportLunsData::emit([Lun::ZERO, Lun::REPORT_LUNS], out)),
        emitted(&|out| LbaStatusData::emit([LbaStatusDescriptor::default(); 3], out)),
        emitted(&|out| UnmapList::build(&[UnmapDescriptor::default(); 3], out).unwrap()),
        emitted(&|out| ModeParameters::default().emit_sense6(&pages, out)),
        emitted(&|out| ModeParameters::default().emit_sense10(&pages, out)),
        emitted(&|out| TargetPortGroups::emit([group; 2], out)),
        emitted(&|out| SupportedOpcodes::emit([opcode; 3], out)),
        emitted(&|out| sense.emit_fixed(out)),
        emitted(&|out| sense.emit_descriptor(out)),
        emitted(&|out| ReservationKeys::emit(1, [1, 2], out)),
        emitted(&|out| FullStatus::emit(1, [registration; 2], out)),
        emitted(&|out| parameters.build(&[registration.port; 2], out).unwrap()),
    ]
}
