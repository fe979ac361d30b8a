//! INQUIRY (SPC).

use core::fmt::Write as _;

use heapless::String;
use iscsi_scsi::inquiry::{Peripheral, StandardInquiry, Version, VersionDescriptor};
use iscsi_scsi::primary::Inquiry;
use iscsi_scsi::vpd::{
    Association, BlockCharacteristics, BlockLimits, Designator, DesignatorType,
    DeviceIdentification, LogicalBlockProvisioning, PageCode, ProtocolIdentifier, ProvisioningType,
    SupportedPages, UnitSerialNumber,
};

use super::block::{MAX_UNMAP_DESCRIPTORS, MAX_WRITE_SAME};
use super::{Context, LogicalUnit, bad_field};
use crate::conn::Ending;

/// The pages of every unit, in ascending order.
const PAGES: [PageCode; 6] = [
    PageCode::SUPPORTED_PAGES,
    PageCode::UNIT_SERIAL_NUMBER,
    PageCode::DEVICE_IDENTIFICATION,
    PageCode::BLOCK_LIMITS,
    PageCode::BLOCK_CHARACTERISTICS,
    PageCode::LOGICAL_BLOCK_PROVISIONING,
];

/// The answer of a LUN behind which there is no unit.
pub(crate) fn absent_inquiry(command: &Inquiry, out: &mut [u8]) -> Result<usize, Ending> {
    if command.page.is_some() {
        return Err(bad_field(2, 7));
    }
    let absent = StandardInquiry {
        peripheral: Peripheral::ABSENT,
        version: Version::SPC4,
        ..StandardInquiry::default()
    };
    let len = absent.emit(out).min(out.len());
    Ok(len.min(command.allocation_length.into()))
}

impl LogicalUnit<'_> {
    pub(super) fn inquiry(
        &self,
        command: &Inquiry,
        context: &Context<'_>,
        out: &mut [u8],
    ) -> Result<usize, Ending> {
        let disk = Peripheral::DISK;
        Ok(match command.page {
            None => self.standard_inquiry().emit(out),
            Some(PageCode::SUPPORTED_PAGES) => SupportedPages::emit(disk, PAGES, out),
            Some(PageCode::UNIT_SERIAL_NUMBER) => {
                UnitSerialNumber::emit(disk, self.serial.as_bytes(), out)
            }
            Some(PageCode::DEVICE_IDENTIFICATION) => self.identification(context, out),
            Some(PageCode::BLOCK_LIMITS) => self.block_limits().emit(disk, out),
            Some(PageCode::BLOCK_CHARACTERISTICS) => {
                // 1: not a rotating medium.
                BlockCharacteristics { rotation_rate: 1, ..Default::default() }.emit(disk, out)
            }
            Some(PageCode::LOGICAL_BLOCK_PROVISIONING) => self.provisioning().emit(disk, out),
            Some(_) => return Err(bad_field(2, 7)),
        })
    }

    fn standard_inquiry(&self) -> StandardInquiry {
        let mut version_descriptors = [VersionDescriptor(0); 8];
        let standards =
            [VersionDescriptor::ISCSI, VersionDescriptor::SPC4, VersionDescriptor::SBC3];
        for (place, standard) in version_descriptors.iter_mut().zip(standards) {
            *place = standard;
        }
        StandardInquiry {
            version: Version::SPC4,
            hi_sup: true,
            tpgs: 1,
            cmd_que: true,
            vendor: self.vendor,
            product: self.product,
            revision: self.revision,
            version_descriptors,
            ..StandardInquiry::default()
        }
    }

    /// Who the unit is, and through which port it was asked.
    fn identification(&self, context: &Context<'_>, out: &mut [u8]) -> usize {
        let mut t10 = heapless::Vec::<u8, 64>::new();
        for part in [&self.vendor[..], self.serial.as_bytes()] {
            // 8 bytes and at most MAX_SERIAL_LEN.
            let _ = t10.extend_from_slice(part);
        }
        let naa = self.naa().to_be_bytes();
        let [high, low] = context.target_portal_group_tag.to_be_bytes();
        let group = [0, 0, high, low];
        // A name has at most 223 bytes; the port's name adds 9, the length field of a designator allows 255.
        let mut port = String::<240>::new();
        let _ = write!(port, "{},t,0x{:04x}", context.target_name, context.target_portal_group_tag);
        let pad = |len: usize| (len + 1).next_multiple_of(4);
        let mut padded = [0; 240];
        let port_name = terminated(port.as_bytes(), &mut padded, pad(port.len()));
        let mut padded = [0; 240];
        let device = context.target_name.as_bytes();
        let device_name = terminated(device, &mut padded, pad(device.len()));
        let on_port = |kind, bytes| {
            let designator = Designator::binary(kind, bytes);
            Designator { protocol: Some(ProtocolIdentifier::ISCSI), ..designator }
                .with_association(Association::TARGET_PORT)
        };
        let designators = [
            Designator::t10(&t10),
            Designator::binary(DesignatorType::NAA, &naa),
            on_port(DesignatorType::RELATIVE_TARGET_PORT, &[0, 0, 0, 1]),
            on_port(DesignatorType::TARGET_PORT_GROUP, &group),
            Designator::scsi_name(Association::TARGET_PORT, port_name),
            Designator::scsi_name(Association::TARGET_DEVICE, device_name),
        ];
        DeviceIdentification::emit(Peripheral::DISK, designators, out)
    }

    /// A locally assigned name (NAA 3): a hash of vendor and serial number.
    fn naa(&self) -> u64 {
        let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
        let bytes = self.vendor.iter().chain(self.serial.as_bytes());
        let hash = bytes.fold(0xcbf2_9ce4_8422_2325, step);
        3 << 60 | hash >> 4
    }

    fn block_limits(&self) -> BlockLimits {
        let thin = self.disk.is_thin();
        BlockLimits {
            wsnz: true,
            max_compare_and_write_length: self.max_compare_and_write(),
            max_unmap_lba_count: if thin { u32::MAX } else { 0 },
            max_unmap_descriptor_count: if thin { MAX_UNMAP_DESCRIPTORS } else { 0 },
            optimal_unmap_granularity: u32::from(thin),
            max_write_same_length: MAX_WRITE_SAME,
            ..BlockLimits::default()
        }
    }

    fn provisioning(&self) -> LogicalBlockProvisioning<'static> {
        let thin = self.disk.is_thin();
        LogicalBlockProvisioning {
            lbpu: thin,
            lbpws: thin,
            lbpws10: thin,
            lbprz: u8::from(thin),
            kind: if thin { ProvisioningType::THIN } else { ProvisioningType::FULL },
            ..LogicalBlockProvisioning::default()
        }
    }
}

/// A name with at least one zero byte behind it, as SCSI name strings are.
fn terminated<'a>(name: &[u8], area: &'a mut [u8; 240], len: usize) -> &'a [u8] {
    for (place, byte) in area.iter_mut().zip(name) {
        *place = *byte;
    }
    area.get(..len).unwrap_or(&area[..])
}
