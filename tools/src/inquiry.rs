//! INQUIRY data as lines of text, in the form of libiscsi's `iscsi-inq`.

use std::io::{self, Write};

use iscsi_scsi::Ascii;
use iscsi_scsi::inquiry::StandardInquiry;
use iscsi_scsi::vpd::{
    BlockCharacteristics, BlockLimits, CodeSet, DeviceIdentification, LogicalBlockProvisioning,
    SupportedPages, Vpd, VpdPage,
};

/// Prints standard INQUIRY data.
pub(crate) fn print_standard(out: &mut impl Write, inquiry: &StandardInquiry) -> io::Result<()> {
    writeln!(out, "Peripheral Qualifier:{}", inquiry.peripheral.qualifier)?;
    writeln!(out, "Peripheral Device Type:{}", inquiry.peripheral.device_type)?;
    writeln!(out, "Removable:{}", u8::from(inquiry.removable))?;
    writeln!(out, "Version:{} {}", inquiry.version.code(), inquiry.version)?;
    writeln!(out, "NormACA:{}", u8::from(inquiry.norm_aca))?;
    writeln!(out, "HiSup:{}", u8::from(inquiry.hi_sup))?;
    // The missing letter is libiscsi's: scripts look for it.
    writeln!(out, "ReponseDataFormat:{}", inquiry.response_data_format)?;
    for (label, value) in [
        ("SCCS", u8::from(inquiry.sccs)),
        ("ACC", u8::from(inquiry.acc)),
        ("TPGS", inquiry.tpgs),
        ("3PC", u8::from(inquiry.third_party_copy)),
        ("Protect", u8::from(inquiry.protect)),
        ("EncServ", u8::from(inquiry.enc_serv)),
        ("MultiP", u8::from(inquiry.multi_p)),
        ("SYNC", u8::from(inquiry.sync)),
        ("CmdQue", u8::from(inquiry.cmd_que)),
    ] {
        writeln!(out, "{label}:{value}")?;
    }
    writeln!(out, "Vendor:{}", until_nul(inquiry.vendor().as_bytes()))?;
    writeln!(out, "Product:{}", until_nul(inquiry.product().as_bytes()))?;
    writeln!(out, "Revision:{}", until_nul(inquiry.revision().as_bytes()))?;
    for descriptor in inquiry.version_descriptors.iter().filter(|descriptor| descriptor.0 != 0) {
        writeln!(out, "Version Descriptor:{:04x} {descriptor}", descriptor.0)?;
    }
    Ok(())
}

/// Prints a vital product data page; one that is not decoded as its bytes.
pub(crate) fn print_page(out: &mut impl Write, data: &[u8], page: &Vpd<'_>) -> io::Result<()> {
    match page {
        Vpd::SupportedPages(page) => print_supported(out, page),
        Vpd::UnitSerialNumber(page) => {
            writeln!(out, "Unit Serial Number:[{}]", until_nul(page.serial().as_bytes()))
        }
        Vpd::DeviceIdentification(page) => print_identification(out, data, page),
        Vpd::BlockLimits(page) => print_limits(out, page),
        Vpd::BlockCharacteristics(page) => print_characteristics(out, page),
        Vpd::LogicalBlockProvisioning(page) => print_provisioning(out, page),
        _ => print_bytes(out, data),
    }
}

fn print_supported(out: &mut impl Write, page: &SupportedPages<'_>) -> io::Result<()> {
    for code in page.codes() {
        writeln!(out, "Page:0x{:02x} {code}", code.code())?;
    }
    Ok(())
}

fn print_identification(
    out: &mut impl Write,
    data: &[u8],
    page: &DeviceIdentification<'_>,
) -> io::Result<()> {
    if let Ok(VpdPage { peripheral, code, .. }) = VpdPage::parse(data) {
        writeln!(out, "Peripheral Qualifier:{}", peripheral.qualifier)?;
        writeln!(out, "Peripheral Device Type:{}", peripheral.device_type)?;
        writeln!(out, "Page Code:(0x{:02x}) {code}", code.code())?;
    }
    for (number, designator) in page.designators().enumerate() {
        writeln!(out, "DEVICE DESIGNATOR #{number}")?;
        if let Some(protocol) = designator.protocol {
            writeln!(out, "Device Protocol Identifier:({}) {protocol}", protocol.code())?;
        }
        writeln!(out, "Code Set:({}) {}", designator.code_set.code(), designator.code_set)?;
        writeln!(out, "PIV:{}", u8::from(designator.protocol.is_some()))?;
        let (association, kind) = (designator.association, designator.kind);
        writeln!(out, "Association:({}) {association}", association.code())?;
        writeln!(out, "Designator Type:({}) {kind}", kind.code())?;
        match designator.code_set {
            CodeSet::ASCII | CodeSet::UTF8 => {
                writeln!(out, "Designator:[{}]", until_nul(designator.bytes))?;
            }
            _ => writeln!(out, "Designator:[{}]", hex(designator.bytes))?,
        }
    }
    Ok(())
}

fn print_limits(out: &mut impl Write, limits: &BlockLimits) -> io::Result<()> {
    let granularity = limits.optimal_transfer_granularity;
    writeln!(out, "wsnz:{}", u8::from(limits.wsnz))?;
    writeln!(out, "maximum compare and write length:{}", limits.max_compare_and_write_length)?;
    writeln!(out, "optimal transfer length granularity:{granularity}")?;
    writeln!(out, "maximum transfer length:{}", limits.max_transfer_length)?;
    writeln!(out, "optimal transfer length:{}", limits.optimal_transfer_length)?;
    let prefetch = limits.max_prefetch_length;
    writeln!(out, "maximum prefetch xdread xdwrite transfer length:{prefetch}")?;
    writeln!(out, "maximum unmap lba count:{}", limits.max_unmap_lba_count)?;
    let descriptors = limits.max_unmap_descriptor_count;
    writeln!(out, "maximum unmap block descriptor count:{descriptors}")?;
    writeln!(out, "optimal unmap granularity:{}", limits.optimal_unmap_granularity)?;
    let alignment = limits.unmap_granularity_alignment;
    writeln!(out, "ugavalid:{}", u8::from(alignment.is_some()))?;
    writeln!(out, "unmap granularity alignment:{}", alignment.unwrap_or(0))?;
    writeln!(out, "maximum write same length:{}", limits.max_write_same_length)
}

fn print_characteristics(out: &mut impl Write, page: &BlockCharacteristics) -> io::Result<()> {
    writeln!(out, "Medium Rotation Rate:{}RPM", page.rotation_rate)
}

fn print_provisioning(out: &mut impl Write, page: &LogicalBlockProvisioning<'_>) -> io::Result<()> {
    for (label, value) in [
        ("Threshold Exponent", page.threshold_exponent),
        ("lbpu", u8::from(page.lbpu)),
        ("lbpws", u8::from(page.lbpws)),
        ("lbpws10", u8::from(page.lbpws10)),
        ("lbprz", page.lbprz),
        ("anc_sup", u8::from(page.anc_sup)),
        ("dp", u8::from(page.dp)),
        ("provisioning type", page.kind.code()),
    ] {
        writeln!(out, "{label}:{value}")?;
    }
    Ok(())
}

/// Bytes in rows of 16, each with its offset.
fn print_bytes(out: &mut impl Write, data: &[u8]) -> io::Result<()> {
    for (row, bytes) in data.chunks(16).enumerate() {
        write!(out, "{:04x}:", row * 16)?;
        for byte in bytes {
            write!(out, " {byte:02x}")?;
        }
        writeln!(out)?;
    }
    Ok(())
}

/// Text up to the first zero byte: what follows is padding.
pub(crate) fn until_nul(bytes: &[u8]) -> Ascii<'_> {
    Ascii::new(bytes.split(|byte| *byte == 0).next().unwrap_or_default())
}

/// Bytes as hex digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use iscsi_scsi::inquiry::{Peripheral, Version, VersionDescriptor};
    use iscsi_scsi::vpd::{Association, Designator, DesignatorType, PageCode};

    use super::*;

    fn page(data: &[u8]) -> String {
        let mut out = Vec::new();
        print_page(&mut out, data, &Vpd::parse(data).unwrap()).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn standard_data() {
        let mut inquiry = StandardInquiry {
            version: Version::SPC3,
            hi_sup: true,
            cmd_que: true,
            ..StandardInquiry::default()
        };
        inquiry.set_names("IET", "VIRTUAL-DISK", "0001");
        inquiry.version_descriptors[2] = VersionDescriptor::ISCSI;
        let mut out = Vec::new();
        print_standard(&mut out, &inquiry).unwrap();
        let expected = "Peripheral Qualifier:CONNECTED\nPeripheral Device Type:DIRECT_ACCESS\n\
            Removable:0\nVersion:5 ANSI INCITS 408-2005 (SPC-3)\nNormACA:0\nHiSup:1\n\
            ReponseDataFormat:2\nSCCS:0\nACC:0\nTPGS:0\n3PC:0\nProtect:0\nEncServ:0\nMultiP:0\n\
            SYNC:0\nCmdQue:1\nVendor:IET     \nProduct:VIRTUAL-DISK    \nRevision:0001\n\
            Version Descriptor:0960 iSCSI\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn identification() {
        let list = [
            Designator::binary(DesignatorType::NAA, &[0x60, 0, 1, 0xff]),
            Designator::scsi_name(
                Association::TARGET_PORT,
                b"iqn.2001-04.com.example,t,0x0001\0\0",
            ),
        ];
        let mut data = [0; 255];
        let size = DeviceIdentification::emit(Peripheral::DISK, list, &mut data);
        assert_eq!(
            page(&data[..size]),
            "Peripheral Qualifier:CONNECTED\nPeripheral Device Type:DIRECT_ACCESS\n\
             Page Code:(0x83) DEVICE_IDENTIFICATION\nDEVICE DESIGNATOR #0\n\
             Code Set:(1) BINARY\nPIV:0\nAssociation:(0) LOGICAL_UNIT\nDesignator Type:(3) NAA\n\
             Designator:[600001ff]\nDEVICE DESIGNATOR #1\nDevice Protocol Identifier:(5) ISCSI\n\
             Code Set:(3) UTF8\nPIV:1\nAssociation:(1) TARGET_PORT\n\
             Designator Type:(8) SCSI_NAME_STRING\nDesignator:[iqn.2001-04.com.example,t,0x0001]\n"
        );
    }

    #[test]
    fn limits_and_the_rest() {
        let limits = BlockLimits {
            max_transfer_length: 65535,
            unmap_granularity_alignment: Some(7),
            ..BlockLimits::default()
        };
        let mut data = [0; 64];
        limits.emit(Peripheral::DISK, &mut data);
        let text = page(&data);
        assert!(text.contains("maximum transfer length:65535\n"));
        assert!(text.contains("ugavalid:1\nunmap granularity alignment:7\n"));
        assert_eq!(text.lines().count(), 12);

        BlockCharacteristics { rotation_rate: 7200, ..Default::default() }
            .emit(Peripheral::DISK, &mut data);
        assert_eq!(page(&data), "Medium Rotation Rate:7200RPM\n");

        let mut data = [0; 8];
        SupportedPages::emit(Peripheral::DISK, [PageCode::BLOCK_LIMITS], &mut data);
        assert_eq!(page(&data), "Page:0xb0 BLOCK_LIMITS\n");
    }

    #[test]
    fn unknown_pages_are_shown_as_bytes() {
        let mut data = [0xab; 24];
        data[..4].copy_from_slice(&[0, 0xc7, 0, 20]);
        assert_eq!(
            page(&data),
            "0000: 00 c7 00 14 ab ab ab ab ab ab ab ab ab ab ab ab\n\
             0010: ab ab ab ab ab ab ab ab\n"
        );
    }

    #[test]
    fn a_device_cannot_write_to_the_terminal() {
        let mut data = [0; 12];
        data[..12].copy_from_slice(b"\x00\x80\x00\x08A\x1b[2J\nB ");
        assert_eq!(page(&data), "Unit Serial Number:[A.[2J.B ]\n");
    }
}
