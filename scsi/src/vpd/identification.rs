//! Page 83h: the designators that say which unit, port and device this is (SPC).

use super::{PageCode, VpdPage, finish, start};
use crate::bytes::{Out, cut};
use crate::codes::codes;
use crate::error::ParseError;
use crate::inquiry::Peripheral;

codes! {
    /// PROTOCOL IDENTIFIER of a designator or TransportID.
    ///
    /// ```
    /// use iscsi_scsi::vpd::ProtocolIdentifier;
    /// assert_eq!(ProtocolIdentifier::ISCSI.code(), 5);
    /// ```
    pub struct ProtocolIdentifier: 4 bits {
        FIBRE_CHANNEL = 0x0 => "FIBRE_CHANNEL",
        PARALLEL_SCSI = 0x1 => "PARALLEL_SCSI",
        SSA = 0x2 => "SSA",
        IEEE_1394 = 0x3 => "IEEE_1394",
        RDMA = 0x4 => "RDMA",
        ISCSI = 0x5 => "ISCSI",
        SAS = 0x6 => "SAS",
        ADT = 0x7 => "ADT",
        ATA = 0x8 => "ATA",
        UAS = 0x9 => "UAS",
        SOP = 0xa => "SOP",
        PCI_EXPRESS = 0xb => "PCI_EXPRESS",
        NONE = 0xf => "NONE",
    }
}

codes! {
    /// CODE SET of a designator.
    ///
    /// ```
    /// use iscsi_scsi::vpd::CodeSet;
    /// assert_eq!(CodeSet::UTF8.label(), "UTF8");
    /// ```
    pub struct CodeSet: 4 bits {
        BINARY = 1 => "BINARY",
        ASCII = 2 => "ASCII",
        UTF8 = 3 => "UTF8",
    }
}

codes! {
    /// ASSOCIATION: what a designator names.
    ///
    /// ```
    /// use iscsi_scsi::vpd::Association;
    /// assert_eq!(Association::default(), Association::LOGICAL_UNIT);
    /// ```
    pub struct Association: 2 bits {
        LOGICAL_UNIT = 0 => "LOGICAL_UNIT",
        TARGET_PORT = 1 => "TARGET_PORT",
        TARGET_DEVICE = 2 => "TARGET_DEVICE",
    }
}

codes! {
    /// DESIGNATOR TYPE.
    ///
    /// ```
    /// use iscsi_scsi::vpd::DesignatorType;
    /// assert_eq!(DesignatorType::SCSI_NAME.code(), 8);
    /// assert_eq!(DesignatorType::T10.label(), "T10_VENDORT_ID");
    /// ```
    pub struct DesignatorType: 4 bits {
        VENDOR = 0x0 => "VENDOR_SPECIFIC",
        T10 = 0x1 => "T10_VENDORT_ID",
        EUI64 = 0x2 => "EUI_64",
        NAA = 0x3 => "NAA",
        RELATIVE_TARGET_PORT = 0x4 => "RELATIVE_TARGET_PORT",
        TARGET_PORT_GROUP = 0x5 => "TARGET_PORT_GROUP",
        LOGICAL_UNIT_GROUP = 0x6 => "LOGICAL_UNIT_GROUP",
        MD5 = 0x7 => "MD5_LOGICAL_UNIT_IDENTIFIER",
        SCSI_NAME = 0x8 => "SCSI_NAME_STRING",
        PROTOCOL_SPECIFIC_PORT = 0x9 => "PROTOCOL_SPECIFIC_PORT",
        UUID = 0xa => "UUID",
    }
}

/// One designator: a name of the logical unit, of the target port or of the target device.
///
/// [`Designator::name`] decodes it.
///
/// ```
/// use iscsi_scsi::vpd::{Association, CodeSet, Designator, DesignatorType};
/// let name = Designator {
///     code_set: CodeSet::UTF8,
///     association: Association::TARGET_DEVICE,
///     kind: DesignatorType::SCSI_NAME,
///     protocol: None,
///     bytes: b"iqn.2001-04.com.example\0",
/// };
/// assert_eq!(name.size(), 28);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Designator<'a> {
    /// PROTOCOL IDENTIFIER, if PIV.
    pub protocol: Option<ProtocolIdentifier>,
    /// Code set of the bytes.
    pub code_set: CodeSet,
    /// What is named.
    pub association: Association,
    /// Designator type.
    pub kind: DesignatorType,
    /// The name, at most 255 bytes.
    pub bytes: &'a [u8],
}

impl<'a> Designator<'a> {
    /// Bytes of the whole descriptor.
    pub const fn size(&self) -> usize {
        self.bytes.len().saturating_add(4)
    }

    /// A name of the logical unit in binary.
    pub const fn binary(kind: DesignatorType, bytes: &'a [u8]) -> Self {
        Self {
            protocol: None,
            code_set: CodeSet::BINARY,
            association: Association::LOGICAL_UNIT,
            kind,
            bytes,
        }
    }

    /// A T10 vendor identification based name of the logical unit: 8 bytes vendor, then text.
    pub const fn t10(bytes: &'a [u8]) -> Self {
        Self { code_set: CodeSet::ASCII, ..Self::binary(DesignatorType::T10, bytes) }
    }

    /// A SCSI name string. The standard wants it NUL-terminated and padded to a multiple of 4; an
    /// iSCSI target port is `name,t,0xTTTT`.
    pub const fn scsi_name(association: Association, bytes: &'a [u8]) -> Self {
        let protocol = match association {
            Association::LOGICAL_UNIT => None,
            _ => Some(ProtocolIdentifier::ISCSI),
        };
        Self {
            protocol,
            code_set: CodeSet::UTF8,
            association,
            ..Self::binary(DesignatorType::SCSI_NAME, bytes)
        }
    }

    /// The same for another association.
    pub const fn with_association(self, association: Association) -> Self {
        Self { association, ..self }
    }

    /// Writes the descriptor.
    pub(crate) fn emit(&self, out: &mut Out<'_>) {
        let bytes = cut(self.bytes, 255);
        let protocol = self.protocol.map_or(0, |protocol| protocol.code() << 4);
        let piv = if self.protocol.is_some() { 0x80 } else { 0 };
        out.u8(protocol | self.code_set.code())
            .u8(piv | self.association.code() << 4 | self.kind.code())
            .zeros(1)
            .u8(u8::try_from(bytes.len()).unwrap_or(u8::MAX))
            .bytes(bytes);
    }
}

/// The designators in a list; one that is cut off ends the iteration.
pub(crate) fn designators<'a>(mut rest: &'a [u8]) -> impl Iterator<Item = Designator<'a>> + Clone {
    core::iter::from_fn(move || {
        let (&[first, second, _, length], after) = rest.split_first_chunk()?;
        let (bytes, after) = after.split_at_checked(length.into())?;
        rest = after;
        Some(Designator {
            protocol: (second & 0x80 != 0).then(|| ProtocolIdentifier::from_bits(first >> 4)),
            code_set: CodeSet::from_bits(first),
            association: Association::from_bits(second >> 4),
            kind: DesignatorType::from_bits(second),
            bytes,
        })
    })
}

/// Device identification, page 83h.
///
/// ```
/// use iscsi_scsi::inquiry::Peripheral;
/// use iscsi_scsi::vpd::{Designator, DesignatorName, DesignatorType, DeviceIdentification};
///
/// let naa = [0x60, 0, 0, 0, 0, 0, 0, 0, 0x0e, 0, 0, 0, 0, 1, 0, 1];
/// let t10 = Designator::t10(b"IET     00010001");
/// let list = [t10, Designator::binary(DesignatorType::NAA, &naa)];
/// let mut page = [0; 44];
/// assert_eq!(DeviceIdentification::emit(Peripheral::DISK, list, &mut page), 44);
/// assert_eq!(page[..8], [0, 0x83, 0, 40, 0x02, 0x01, 0, 16]);
///
/// let parsed = DeviceIdentification::parse(&page)?;
/// assert!(parsed.designators().eq(list));
/// assert_eq!(parsed.unit_name().unwrap().name(), Some(DesignatorName::NaaRegisteredExtended {
///     company: 0, vendor: 0, extension: 0x0e00_0000_0001_0001,
/// }));
/// # Ok::<(), iscsi_scsi::ParseError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceIdentification<'a> {
    list: &'a [u8],
}

impl<'a> DeviceIdentification<'a> {
    /// Parses the page.
    ///
    /// # Errors
    /// [`ParseError::Short`] and [`ParseError::PageCode`].
    pub fn parse(data: &'a [u8]) -> Result<Self, ParseError> {
        Ok(Self { list: VpdPage::expect(data, PageCode::DEVICE_IDENTIFICATION)?.body })
    }

    /// The designators in order. One that was not returned in full ends the iteration.
    pub fn designators(&self) -> impl Iterator<Item = Designator<'a>> + Clone + use<'a> {
        designators(self.list)
    }

    /// The strongest name of the logical unit: NAA, then EUI-64, UUID, SCSI name string, T10
    /// vendor identification, MD5, vendor specific. Two paths lead to the same unit if and only if
    /// these are equal.
    pub fn unit_name(&self) -> Option<Designator<'a>> {
        const RANKS: [DesignatorType; 7] = [
            DesignatorType::NAA,
            DesignatorType::EUI64,
            DesignatorType::UUID,
            DesignatorType::SCSI_NAME,
            DesignatorType::T10,
            DesignatorType::MD5,
            DesignatorType::VENDOR,
        ];
        RANKS.iter().find_map(|&kind| {
            self.designators().find(|designator| {
                designator.kind == kind && designator.association == Association::LOGICAL_UNIT
            })
        })
    }

    /// Writes the page, truncated to the buffer, and returns the full size. A designator longer
    /// than 255 bytes is cut.
    pub fn emit<'d>(
        peripheral: Peripheral,
        designators: impl IntoIterator<Item = Designator<'d>>,
        out: &mut [u8],
    ) -> usize {
        let mut out = start(peripheral, PageCode::DEVICE_IDENTIFICATION, out);
        for designator in designators {
            designator.emit(&mut out);
        }
        finish(out)
    }
}
