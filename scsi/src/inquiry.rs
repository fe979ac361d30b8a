//! Standard INQUIRY data (SPC).
//!
//! Labels that are printed by common tools are spelled as those print them, misspellings included.

use core::fmt;

use crate::ascii::Ascii;
use crate::bytes::{Fields, Out, array_at, bit, cut, need};
use crate::codes::codes;
use crate::error::ParseError;

codes! {
    /// PERIPHERAL QUALIFIER: whether there is a device behind the LUN.
    ///
    /// ```
    /// use iscsi_scsi::inquiry::Qualifier;
    /// assert_eq!(Qualifier::NOT_SUPPORTED.code(), 3);
    /// assert_eq!(Qualifier::CONNECTED.label(), "CONNECTED");
    /// ```
    pub struct Qualifier: 3 bits {
        CONNECTED = 0 => "CONNECTED",
        DISCONNECTED = 1 => "DISCONNECTED",
        /// No logical unit can be at this LUN.
        NOT_SUPPORTED = 3 => "NOT_SUPPORTED",
    }
}

codes! {
    /// PERIPHERAL DEVICE TYPE.
    ///
    /// ```
    /// use iscsi_scsi::inquiry::DeviceType;
    /// assert_eq!(DeviceType::default(), DeviceType::DISK);
    /// assert_eq!(DeviceType::DISK.label(), "DIRECT_ACCESS");
    /// ```
    pub struct DeviceType: 5 bits {
        DISK = 0x00 => "DIRECT_ACCESS",
        TAPE = 0x01 => "SEQUENTIAL_ACCESS",
        PRINTER = 0x02 => "PRINTER",
        PROCESSOR = 0x03 => "PROCESSOR",
        WRITE_ONCE = 0x04 => "WRITE_ONCE",
        CD_DVD = 0x05 => "MMC",
        SCANNER = 0x06 => "SCANNER",
        OPTICAL_MEMORY = 0x07 => "OPTICAL_MEMORY",
        MEDIA_CHANGER = 0x08 => "MEDIA_CHANGER",
        COMMUNICATIONS = 0x09 => "COMMUNICATIONS",
        STORAGE_ARRAY_CONTROLLER = 0x0c => "STORAGE_ARRAY_CONTROLLER",
        ENCLOSURE_SERVICES = 0x0d => "ENCLOSURE_SERVICES",
        SIMPLIFIED_DIRECT_ACCESS = 0x0e => "SIMPLIFIED_DIRECT_ACCESS",
        OPTICAL_CARD_READER = 0x0f => "OPTICAL_CARD_READER",
        BRIDGE_CONTROLLER = 0x10 => "BRIDGE_CONTROLLER",
        OBJECT_STORAGE = 0x11 => "OSD",
        AUTOMATION = 0x12 => "AUTOMATION",
        SECURITY_MANAGER = 0x13 => "SEQURITY_MANAGER",
        HOST_MANAGED_ZONED = 0x14 => "HOST_MANAGED_ZONED",
        WELL_KNOWN_LUN = 0x1e => "WELL_KNOWN_LUN",
        UNKNOWN = 0x1f => "UNKNOWN",
    }
}

/// The first byte of all INQUIRY data: qualifier and device type.
///
/// ```
/// use iscsi_scsi::inquiry::Peripheral;
/// assert!(!Peripheral::ABSENT.is_present());
/// assert!(Peripheral::DISK.is_present());
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Peripheral {
    /// Peripheral qualifier.
    pub qualifier: Qualifier,
    /// Peripheral device type.
    pub device_type: DeviceType,
}

impl Peripheral {
    /// A connected disk.
    pub const DISK: Self = Self { qualifier: Qualifier::CONNECTED, device_type: DeviceType::DISK };
    /// What a device answers for a LUN without a logical unit: byte 7fh.
    pub const ABSENT: Self =
        Self { qualifier: Qualifier::NOT_SUPPORTED, device_type: DeviceType::UNKNOWN };

    /// True if a logical unit is connected.
    pub fn is_present(self) -> bool {
        self.qualifier == Qualifier::CONNECTED
    }

    pub(crate) fn from_byte(byte: u8) -> Self {
        Self {
            qualifier: Qualifier::from_bits(byte >> 5),
            device_type: DeviceType::from_bits(byte),
        }
    }

    pub(crate) fn to_byte(self) -> u8 {
        self.qualifier.code() << 5 | self.device_type.code()
    }
}

codes! {
    /// VERSION: the version of SPC that the device claims.
    ///
    /// ```
    /// use iscsi_scsi::inquiry::Version;
    /// assert_eq!(Version::SPC3.label(), "ANSI INCITS 408-2005 (SPC-3)");
    /// ```
    pub struct Version: 8 bits {
        SPC = 3 => "ANSI INCITS 301-1997 (SPC)",
        SPC2 = 4 => "ANSI INCITS 351-2001 (SPC-2)",
        SPC3 = 5 => "ANSI INCITS 408-2005 (SPC-3)",
        SPC4 = 6 => "ANSI INCITS 513-2015 (SPC-4)",
        SPC5 = 7 => "ANSI INCITS 502-2020 (SPC-5)",
    }
}

/// A version descriptor: a standard the device claims to follow.
///
/// ```
/// use iscsi_scsi::inquiry::VersionDescriptor;
/// assert_eq!(VersionDescriptor(0x0960).label(), "iSCSI");
/// assert_eq!(VersionDescriptor(0xffff).label(), "unknown");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VersionDescriptor(
    /// The code.
    pub u16,
);

impl VersionDescriptor {
    /// iSCSI, no version claimed.
    pub const ISCSI: Self = Self(0x0960);
    /// SPC-4, no version claimed.
    pub const SPC4: Self = Self(0x0460);
    /// SBC-3, no version claimed.
    pub const SBC3: Self = Self(0x04c0);

    /// A short name, `"unknown"` for a code without one.
    pub const fn label(self) -> &'static str {
        match self.0 {
            0x0020 => "SAM",
            0x0040 => "SAM-2",
            0x0060 => "SAM-3",
            0x0080 => "SAM-4",
            0x00a0 => "SAM-5",
            0x0120 => "SPC",
            0x013b => "SPC T10/0995-D revision 11a",
            0x013c => "SPC ANSI INCITS 301-1997",
            0x0180 => "SBC",
            0x019b => "SBC T10/0996-D revision 08c",
            0x019c => "SBC ANSI INCITS 306-1998",
            0x0200 => "SSC",
            0x0260 => "SPC-2",
            0x0267 => "SPC-2 T10/1236-D revision 12",
            0x0269 => "SPC-2 T10/1236-D revision 18",
            0x0275 => "SPC-2 T10/1236-D revision 19",
            0x0276 => "SPC-2 T10/1236-D revision 20",
            0x0277 => "SPC-2 ANSI INCITS 351-2001",
            0x0278 => "SPC-2 ISO.IEC 14776-452",
            0x0300 => "SPC-3",
            0x0301 => "SPC-3 T10/1416-D revision 7",
            0x0307 => "SPC-3 T10/1416-D revision 21",
            0x030f => "SPC-3 T10/1416-D revision 22",
            0x0312 => "SPC-3 T10/1416-D revision 23",
            0x0314 => "SPC-3 ANSI INCITS 408-2005",
            0x0316 => "SPC-3 ISO/IEC 14776-453",
            0x0320 => "SBC-2",
            0x0322 => "SBC-2 T10/1417-D revision 5A",
            0x0324 => "SBC-2 T10/1417-D revision 15",
            0x033b => "SBC-2 T10/1417-D revision 16",
            0x033d => "SBC-2 ANSI INCITS 405-2005",
            0x033e => "SBC-2 ISO/IEC 14776-322",
            0x0460 => "SPC-4",
            0x0461 => "SPC-4 T10/1731-D revision 16",
            0x0462 => "SPC-4 T10/1731-D revision 18",
            0x0463 => "SPC-4 T10/1731-D revision 23",
            0x04c0 => "SBC-3",
            0x05c0 => "SPC-5",
            0x0600 => "SBC-4",
            0x0960 => "iSCSI",
            0x1747 => "UAS T10/2095-D revision 04",
            _ => "unknown",
        }
    }
}

/// The label.
impl fmt::Display for VersionDescriptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.label())
    }
}

/// Standard INQUIRY data.
///
/// ```
/// use iscsi_scsi::inquiry::{StandardInquiry, Version};
///
/// let mut disk = StandardInquiry { version: Version::SPC3, cmd_que: true, ..Default::default() };
/// disk.set_names("ACME", "VIRTUAL DISK", "1.0");
/// let mut data = [0; 96];
/// assert_eq!(disk.emit(&mut data), 96);
/// assert_eq!(data[4], 91);
/// assert_eq!(&data[8..16], b"ACME    ");
///
/// let parsed = StandardInquiry::parse(&data)?;
/// assert_eq!(parsed, disk);
/// assert_eq!(parsed.product().trimmed().as_bytes(), b"VIRTUAL DISK");
/// # Ok::<(), iscsi_scsi::ParseError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StandardInquiry {
    /// Qualifier and device type.
    pub peripheral: Peripheral,
    /// RMB: the medium can be removed.
    pub removable: bool,
    /// Version of SPC.
    pub version: Version,
    /// NORMACA: the NACA bit is supported.
    pub norm_aca: bool,
    /// HISUP: LUNs are hierarchical.
    pub hi_sup: bool,
    /// RESPONSE DATA FORMAT, 0 to 15; 2 in all versions since SCSI-2.
    pub response_data_format: u8,
    /// SCCS: a storage array controller.
    pub sccs: bool,
    /// ACC: an access controls coordinator (obsolete).
    pub acc: bool,
    /// TPGS, 0 to 3: asymmetric access; bit 0 implicit, bit 1 explicit.
    pub tpgs: u8,
    /// 3PC: third-party copy commands.
    pub third_party_copy: bool,
    /// PROTECT: protection information.
    pub protect: bool,
    /// ENCSERV: enclosure services.
    pub enc_serv: bool,
    /// MULTIP: more than one port.
    pub multi_p: bool,
    /// SYNC (obsolete, parallel SCSI).
    pub sync: bool,
    /// CMDQUE: command queuing.
    pub cmd_que: bool,
    /// T10 vendor identification.
    pub vendor: [u8; 8],
    /// Product identification.
    pub product: [u8; 16],
    /// Product revision level.
    pub revision: [u8; 4],
    /// Version descriptors, 0 where there is none.
    pub version_descriptors: [VersionDescriptor; 8],
}

impl Default for StandardInquiry {
    /// A connected disk with blank names.
    fn default() -> Self {
        Self {
            peripheral: Peripheral::DISK,
            removable: false,
            version: Version::default(),
            norm_aca: false,
            hi_sup: false,
            response_data_format: 2,
            sccs: false,
            acc: false,
            tpgs: 0,
            third_party_copy: false,
            protect: false,
            enc_serv: false,
            multi_p: false,
            sync: false,
            cmd_que: false,
            vendor: [b' '; 8],
            product: [b' '; 16],
            revision: [b' '; 4],
            version_descriptors: [VersionDescriptor(0); 8],
        }
    }
}

impl StandardInquiry {
    /// Size of the data that [`Self::emit`] writes, in bytes.
    pub const SIZE: usize = 96;

    /// Bytes of the whole data, which may be more than were returned. `None` below 5 bytes.
    pub fn full_size(data: &[u8]) -> Option<usize> {
        data.get(4).map(|&additional| usize::from(additional) + 5)
    }

    /// Parses the data. Names and version descriptors that were not returned are blank.
    ///
    /// # Errors
    /// [`ParseError::Short`] below 5 bytes.
    pub fn parse(data: &[u8]) -> Result<Self, ParseError> {
        need(data, 5)?;
        let data = cut(data, Self::full_size(data).unwrap_or(0));
        let f = Fields(data);
        let mut version_descriptors = [VersionDescriptor(0); 8];
        for (index, descriptor) in version_descriptors.iter_mut().enumerate() {
            *descriptor = VersionDescriptor(f.u16(58 + 2 * index));
        }
        Ok(Self {
            peripheral: Peripheral::from_byte(f.u8(0)),
            removable: f.flag(1, 0x80),
            version: Version::from_bits(f.u8(2)),
            norm_aca: f.flag(3, 0x20),
            hi_sup: f.flag(3, 0x10),
            response_data_format: f.u8(3) & 0x0f,
            sccs: f.flag(5, 0x80),
            acc: f.flag(5, 0x40),
            tpgs: f.u8(5) >> 4 & 0x03,
            third_party_copy: f.flag(5, 0x08),
            protect: f.flag(5, 0x01),
            enc_serv: f.flag(6, 0x40),
            multi_p: f.flag(6, 0x10),
            sync: f.flag(7, 0x10),
            cmd_que: f.flag(7, 0x02),
            vendor: array_at(data, 8).unwrap_or([b' '; 8]),
            product: array_at(data, 16).unwrap_or([b' '; 16]),
            revision: array_at(data, 32).unwrap_or([b' '; 4]),
            version_descriptors,
        })
    }

    /// T10 vendor identification as text.
    pub fn vendor(&self) -> Ascii<'_> {
        Ascii::new(&self.vendor)
    }

    /// Product identification as text.
    pub fn product(&self) -> Ascii<'_> {
        Ascii::new(&self.product)
    }

    /// Product revision level as text.
    pub fn revision(&self) -> Ascii<'_> {
        Ascii::new(&self.revision)
    }

    /// Sets the three names, cut or padded with spaces to 8, 16 and 4 bytes.
    pub fn set_names(&mut self, vendor: &str, product: &str, revision: &str) {
        Out::new(&mut self.vendor).padded(vendor.as_bytes(), 8);
        Out::new(&mut self.product).padded(product.as_bytes(), 16);
        Out::new(&mut self.revision).padded(revision.as_bytes(), 4);
    }

    /// Writes the data, truncated to the buffer, and returns the full size. Values wider than
    /// their field are masked.
    pub fn emit(&self, out: &mut [u8]) -> usize {
        let mut out = Out::new(out);
        out.u8(self.peripheral.to_byte())
            .u8(bit(self.removable, 0x80))
            .u8(self.version.code())
            .u8(bit(self.norm_aca, 0x20)
                | bit(self.hi_sup, 0x10)
                | self.response_data_format & 0x0f)
            .u8(91)
            .u8(bit(self.sccs, 0x80)
                | bit(self.acc, 0x40)
                | (self.tpgs & 0x03) << 4
                | bit(self.third_party_copy, 0x08)
                | bit(self.protect, 0x01))
            .u8(bit(self.enc_serv, 0x40) | bit(self.multi_p, 0x10))
            .u8(bit(self.sync, 0x10) | bit(self.cmd_que, 0x02))
            .bytes(&self.vendor)
            .bytes(&self.product)
            .bytes(&self.revision)
            .zeros(22);
        for descriptor in self.version_descriptors {
            out.u16(descriptor.0);
        }
        out.zeros(22).len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_hand() {
        let mut data = [0_u8; 66];
        data[..8].copy_from_slice(&[0x00, 0x80, 0x05, 0x32, 61, 0xf9, 0x50, 0x12]);
        data[8..36].copy_from_slice(b"IET     VIRTUAL-DISK    0001");
        data[58..62].copy_from_slice(&[0x09, 0x60, 0x04, 0xc0]);
        let inquiry = StandardInquiry::parse(&data).unwrap();
        let mut expected = StandardInquiry {
            removable: true,
            version: Version::SPC3,
            norm_aca: true,
            hi_sup: true,
            sccs: true,
            acc: true,
            tpgs: 3,
            third_party_copy: true,
            protect: true,
            enc_serv: true,
            multi_p: true,
            sync: true,
            cmd_que: true,
            ..Default::default()
        };
        expected.set_names("IET", "VIRTUAL-DISK", "0001");
        expected.version_descriptors[0] = VersionDescriptor::ISCSI;
        expected.version_descriptors[1] = VersionDescriptor::SBC3;
        assert_eq!(inquiry, expected);
        assert_eq!(StandardInquiry::full_size(&data), Some(66));
    }

    #[test]
    fn additional_length_bounds_the_fields() {
        let mut data = [b'x'; 36];
        data[4] = 11; // ends after the vendor
        let inquiry = StandardInquiry::parse(&data).unwrap();
        assert_eq!(inquiry.vendor, [b'x'; 8]);
        assert_eq!(inquiry.product, [b' '; 16]);
        assert_eq!(StandardInquiry::parse(&[0; 4]), Err(ParseError::Short { needed: 5, got: 4 }));
    }

    #[test]
    fn absent_unit() {
        assert_eq!(Peripheral::from_byte(0x7f), Peripheral::ABSENT);
        assert_eq!(Peripheral::ABSENT.to_byte(), 0x7f);
    }

    #[test]
    fn names_are_cut() {
        let mut inquiry = StandardInquiry::default();
        inquiry.set_names("LONGVENDOR", "P", "12345");
        assert_eq!(&inquiry.vendor, b"LONGVEND");
        assert_eq!(&inquiry.product, b"P               ");
        assert_eq!(&inquiry.revision, b"1234");
    }
}
