//! Designators and labels: what tools print.

use iscsi_scsi::alua::AccessState;
use iscsi_scsi::inquiry::{DeviceType, Qualifier, Version, VersionDescriptor};
use iscsi_scsi::reservation::ReservationType;
use iscsi_scsi::sense::SenseKey;
use iscsi_scsi::vpd::*;

fn name(kind: DesignatorType, bytes: &[u8]) -> Option<DesignatorName<'_>> {
    Designator::binary(kind, bytes).name()
}

#[test]
fn eui64() {
    let bytes = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16];
    let eui = |len| name(DesignatorType::EUI64, &bytes[..len]);
    assert_eq!(eui(8), Some(DesignatorName::Eui64(0x0102_0304_0506_0708)));
    assert_eq!(
        eui(12),
        Some(DesignatorName::Eui64Directory { eui: 0x0102_0304_0506_0708, directory: 0x090a_0b0c })
    );
    assert_eq!(
        eui(16),
        Some(DesignatorName::Eui64Extended {
            extension: 0x0102_0304_0506_0708,
            eui: 0x090a_0b0c_0d0e_0f10
        })
    );
    assert_eq!(eui(16).unwrap().to_string(), "eui.0102030405060708090a0b0c0d0e0f10");
    for len in [0, 7, 9, 13, 15] {
        assert_eq!(eui(len), None);
    }
}

#[test]
fn naa() {
    let naa = |bytes: &[u8]| name(DesignatorType::NAA, bytes).map(|name| name.to_string());
    let mut bytes = [0x21, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef, 1, 2, 3, 4, 5, 6, 7, 8];
    assert_eq!(
        name(DesignatorType::NAA, &bytes[..8]),
        Some(DesignatorName::NaaExtended { a: 0x123, company: 0x45_6789, b: 0xab_cdef })
    );
    // Text is the bytes in hexadecimal, whatever the fields.
    assert_eq!(naa(&bytes[..8]).unwrap(), "naa.2123456789abcdef");
    bytes[0] = 0x31;
    assert_eq!(naa(&bytes[..8]).unwrap(), "naa.3123456789abcdef");
    bytes[0] = 0x51;
    assert_eq!(
        name(DesignatorType::NAA, &bytes[..8]),
        Some(DesignatorName::NaaRegistered { company: 0x12_3456, vendor: 0x7_89ab_cdef })
    );
    assert_eq!(naa(&bytes[..8]).unwrap(), "naa.5123456789abcdef");
    bytes[0] = 0x61;
    assert_eq!(naa(&bytes).unwrap(), "naa.6123456789abcdef0102030405060708");
    assert_eq!(naa(&bytes[..8]), None, "NAA 6 has 16 bytes");
    bytes[0] = 0x51;
    assert_eq!(naa(&bytes), None, "NAA 5 has 8 bytes");
    assert_eq!(naa(&[]), None);
}

#[test]
fn other_names() {
    assert_eq!(
        name(DesignatorType::TARGET_PORT_GROUP, &[0, 0, 1, 2]),
        Some(DesignatorName::TargetPortGroup(0x0102))
    );
    assert_eq!(
        name(DesignatorType::LOGICAL_UNIT_GROUP, &[0, 0, 1, 2]),
        Some(DesignatorName::LogicalUnitGroup(0x0102))
    );
    assert_eq!(name(DesignatorType::RELATIVE_TARGET_PORT, &[0, 1]), None);
    assert_eq!(name(DesignatorType::MD5, &[7; 16]), Some(DesignatorName::Md5([7; 16])));
    assert_eq!(name(DesignatorType::MD5, &[7; 15]), None);
    let text = name(DesignatorType::SCSI_NAME, b"iqn.2001-04.com.example,t,0x0001\0\0\0\0");
    assert_eq!(text.unwrap().to_string(), "iqn.2001-04.com.example,t,0x0001");
    let uuid = [0x10, 0, 0x12, 0x34, 0x56, 0x78, 0x9a, 0xbc, 0xde, 0xf0, 1, 2, 3, 4, 5, 6, 7, 8];
    assert_eq!(
        name(DesignatorType::UUID, &uuid).unwrap().to_string(),
        "12345678-9abc-def0-0102-030405060708"
    );
    assert_eq!(
        name(DesignatorType::T10, b"IET     00010001").unwrap().to_string(),
        "IET     00010001"
    );
    assert_eq!(name(DesignatorType::T10, b"IET"), None);
    let nasty = name(DesignatorType::SCSI_NAME, b"a\x1b[2Jb").unwrap();
    assert_eq!(nasty.to_string(), "a.[2Jb", "no escape sequence reaches a terminal");
}

#[test]
fn strongest_name_of_the_unit() {
    let port = Designator::scsi_name(Association::TARGET_PORT, b"iqn.x,t,0x1\0");
    let t10 = Designator::t10(b"IET     00010001");
    let naa = [0x50, 0, 0, 0, 0, 0, 0, 1];
    let device =
        Designator::binary(DesignatorType::NAA, &naa).with_association(Association::TARGET_DEVICE);
    let unit = Designator::binary(DesignatorType::NAA, &naa);
    let strongest = |list: &[Designator<'_>]| {
        let mut page = [0; 128];
        let peripheral = iscsi_scsi::inquiry::Peripheral::DISK;
        let len = DeviceIdentification::emit(peripheral, list.iter().copied(), &mut page);
        let parsed = DeviceIdentification::parse(&page[..len]).unwrap();
        assert!(parsed.designators().eq(list.iter().copied()));
        parsed.unit_name().map(|name| name.kind)
    };
    assert_eq!(strongest(&[port, t10, device, unit]), Some(DesignatorType::NAA));
    assert_eq!(strongest(&[port, device, t10]), Some(DesignatorType::T10));
    assert_eq!(strongest(&[port, device]), None);
}

#[test]
fn labels() {
    assert_eq!(DeviceType::CD_DVD.label(), "MMC");
    assert_eq!(DeviceType::from_bits(0x0a).label(), "unknown");
    assert_eq!(Qualifier::from_bits(2).label(), "unknown");
    assert_eq!(Version::from_bits(4).label(), "ANSI INCITS 351-2001 (SPC-2)");
    assert_eq!(VersionDescriptor(0x033e).label(), "SBC-2 ISO/IEC 14776-322");
    assert_eq!(PageCode::from(0xb1).label(), "BLOCK_DEVICE_CHARACTERISTICS");
    assert_eq!(ProtocolIdentifier::ISCSI.label(), "ISCSI");
    assert_eq!(Association::TARGET_PORT.label(), "TARGET_PORT");
    assert_eq!(CodeSet::from_bits(0).label(), "unknown");
    assert_eq!(AccessState::from_bits(0).label(), "ACTIVE-OPTIMIZED");
    assert_eq!(ReservationType::from_bits(2).label(), "unknown");
    for code in 0..16 {
        assert_ne!(SenseKey::new(code).unwrap().label(), "unknown", "every sense key has a name");
    }
    assert_eq!(SenseKey::new(16), None);
    assert_eq!(format!("{:<8}|", CodeSet::UTF8), "UTF8    |");
}

#[test]
fn third_party_copy_of_a_wrong_length() {
    // The command list says 9 bytes, of which 3 are there; the second command is cut off.
    let page = [0, 0x8f, 0, 10, 0, 1, 0, 6, 9, 0x83, 1, 0x00, 0x84, 5];
    let parsed = ThirdPartyCopy::parse(&page).unwrap();
    assert_eq!(parsed.supported_commands().collect::<Vec<_>>(), [(0x83, &[0x00][..])]);
}

#[test]
fn provisioning_group() {
    let group = Designator::binary(DesignatorType::NAA, &[0x50, 0, 0, 0, 0, 0, 0, 9]);
    let thin = LogicalBlockProvisioning {
        threshold_exponent: 1,
        dp: true,
        group: Some(group),
        minimum_percentage: 31,
        threshold_percentage: 80,
        ..Default::default()
    };
    let mut page = [0; 20];
    let peripheral = iscsi_scsi::inquiry::Peripheral::DISK;
    assert_eq!(thin.emit(peripheral, &mut page), 20);
    assert_eq!(page[..8], [0, 0xb2, 0, 16, 1, 0x01, 0xf8, 80]);
    assert_eq!(LogicalBlockProvisioning::parse(&page), Ok(thin));
    let cut = LogicalBlockProvisioning::parse(&page[..19]).unwrap();
    assert_eq!((cut.dp, cut.group), (true, None));
}
