//! Every parser over the same bytes: for tests and fuzzing.

use core::fmt::{self, Write};

use crate::alua::{TargetPortGroup, TargetPortGroups};
use crate::capacity::{ReadCapacity10Data, ReadCapacity16Data};
use crate::copy::{CopyOperatingParameters, CopyStatus};
use crate::diagnostic::IdentifyingInformation;
use crate::inquiry::{Peripheral, StandardInquiry};
use crate::log::LogPage;
use crate::mode::{CachingPage, ControlPage, ModeData, ModeParameters, PageData};
use crate::opcodes::{OneOpcode, SupportedOpcode, SupportedOpcodes, SupportedTmfs};
use crate::provisioning::{LbaStatusData, LbaStatusDescriptor, UnmapDescriptor, UnmapList};
use crate::report_luns::ReportLunsData;
use crate::reservation::*;
use crate::sense::{AdditionalSense, Sense, SenseKey, SenseKeySpecific, descriptors};
use crate::toc::Toc;
use crate::transport_id::TransportId;
use crate::vpd::*;
use crate::{Ascii, Command, Lun};

/// Runs every parser over the data and walks everything it yields.
///
/// ```
/// iscsi_scsi::testing::read_all(&[0x70, 0, 5, 0, 0, 0, 0, 10]);
/// ```
///
/// # Panics
/// If a parser does, or yields more items than the data can hold, or sense data change when they are written and read again.
pub fn read_all(data: &[u8]) {
    let bound = data.len() + 1;
    macro_rules! walk {
        ($iterator:expr) => {{
            let count = $iterator.inspect(|item| print(format_args!("{item:?}"))).count();
            assert!(count < bound, "{count} items in {} bytes", data.len());
        }};
    }
    if let Ok(sense) = Sense::parse(data) {
        print(format_args!("{sense}"));
        let mut out = [0; 252];
        let len = sense.emit_descriptor(&mut out);
        assert_eq!(Sense::parse(&out[..len]), Ok(sense));
    }
    walk!(descriptors(data));
    if let Ok(inquiry) = StandardInquiry::parse(data) {
        print(format_args!("{}", inquiry.vendor().trimmed()));
    }
    let _ = (ReadCapacity10Data::parse(data), ReadCapacity10Data::parse(data).map(|c| c.blocks()));
    let _ = ReadCapacity16Data::parse(data).map(|c| (c.bytes(), c.blocks_per_physical()));
    if let Ok(report) = ReportLunsData::parse(data) {
        walk!(report.luns());
        walk!(report.luns().flat_map(Lun::levels).step_by(4));
        walk!(report.luns().map(|lun| print(format_args!("{lun}"))));
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
        walk!(mode.pages().map(|page| print(format_args!("{:?}", page.data()))));
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
    print(format_args!("{}", Ascii::new(data)));
    print(format_args!("{:?}", Command::parse(data)));
    let mut page = [0; 4096];
    let len = data.len().min(page.len());
    let page = &mut page[..len];
    page.copy_from_slice(&data[..len]);
    for code in [0x00, 0x80, 0x83, 0x86, 0x8f, 0xb0, 0xb1, 0xb2, 0xb3, 0xb4, 0xb5, 0xb6, 0xc0] {
        if let Some(byte) = page.get_mut(1) {
            *byte = code;
        }
        read_vpd(page);
    }
}

fn read_vpd(page: &[u8]) {
    let Ok(parsed) = Vpd::parse(page) else { return };
    print(format_args!("{parsed:?}"));
    match parsed {
        Vpd::SupportedPages(pages) => assert!(pages.codes().len() <= page.len()),
        Vpd::UnitSerialNumber(serial) => print(format_args!("{}", serial.serial())),
        Vpd::DeviceIdentification(list) => {
            let names =
                list.designators().map(|d| d.name().map(|name| print(format_args!("{name}"))));
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

/// Data of each kind as a device returns them, or an initiator sends them, by name.
///
/// ```
/// let mut count = 0;
/// iscsi_scsi::testing::samples(|name, data| {
///     assert!(!name.is_empty() && !data.is_empty());
///     iscsi_scsi::testing::read_all(data);
///     count += 1;
/// });
/// assert!(count > 10);
/// ```
///
/// # Panics
/// Never: there is room for each.
pub fn samples(mut with: impl FnMut(&str, &[u8])) {
    let mut give = |name: &str, emit: &dyn Fn(&mut [u8]) -> usize| {
        let mut data = [0; 512];
        let len = emit(&mut data);
        with(name, &data[..len]);
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
    give("standard-inquiry", &|out| StandardInquiry::default().emit(out));
    give("vpd-identification", &|out| {
        DeviceIdentification::emit(Peripheral::DISK, designators, out)
    });
    give("vpd-serial-number", &|out| UnitSerialNumber::emit(Peripheral::DISK, b"beaf11", out));
    give("vpd-block-limits", &|out| BlockLimits::default().emit(Peripheral::DISK, out));
    give("read-capacity-16", &|out| ReadCapacity16Data::default().emit(out));
    give("report-luns", &|out| ReportLunsData::emit([Lun::ZERO, Lun::REPORT_LUNS], out));
    give("lba-status", &|out| LbaStatusData::emit([LbaStatusDescriptor::default(); 3], out));
    give("unmap-list", &|out| {
        UnmapList::build(&[UnmapDescriptor::default(); 3], out).expect("room")
    });
    give("mode-sense-6", &|out| ModeParameters::default().emit_sense6(&pages, out));
    give("mode-sense-10", &|out| ModeParameters::default().emit_sense10(&pages, out));
    give("target-port-groups", &|out| TargetPortGroups::emit([group; 2], out));
    give("supported-opcodes", &|out| SupportedOpcodes::emit([opcode; 3], out));
    give("sense-fixed", &|out| sense.emit_fixed(out));
    give("sense-descriptor", &|out| sense.emit_descriptor(out));
    give("reservation-keys", &|out| ReservationKeys::emit(1, [1, 2], out));
    give("reservation-full-status", &|out| FullStatus::emit(1, [registration; 2], out));
    give("reserve-parameters", &|out| {
        parameters.build(&[registration.port; 2], out).expect("room")
    });
}

/// Writes to nowhere what a person would read.
fn print(text: fmt::Arguments<'_>) {
    struct Nowhere;
    impl Write for Nowhere {
        fn write_str(&mut self, _: &str) -> fmt::Result {
            Ok(())
        }
    }
    assert!(Nowhere.write_fmt(text).is_ok(), "whatever is shown fails only where its text goes");
}
