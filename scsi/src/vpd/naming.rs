//! What the bytes of a designator mean (SPC).

use core::fmt;

use super::identification::{Designator, DesignatorType};
use crate::ascii::Ascii;
use crate::bytes::{Fields, array_at, u16_at};

/// A decoded designator.
///
/// `Display` gives the form that tools print: text as it is, numbers in hexadecimal.
///
/// ```
/// use iscsi_scsi::vpd::{Designator, DesignatorName, DesignatorType};
/// let port = Designator::binary(DesignatorType::RELATIVE_TARGET_PORT, &[0, 0, 0, 1]);
/// assert_eq!(port.name(), Some(DesignatorName::RelativeTargetPort(1)));
/// let naa = [0x50, 0x06, 0x01, 0x60, 0x3b, 0xa0, 0x3d, 0x9e];
/// let naa = Designator::binary(DesignatorType::NAA, &naa).name().unwrap();
/// assert_eq!(naa, DesignatorName::NaaRegistered { company: 0x60_16, vendor: 0x0_3ba0_3d9e });
/// assert_eq!(format!("{naa}"), "naa.500601603ba03d9e");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DesignatorName<'a> {
    /// Vendor specific.
    Vendor(&'a [u8]),
    /// T10 vendor identification and what follows it.
    T10 {
        /// The registered name of the vendor, padded with spaces.
        vendor: [u8; 8],
        /// Vendor specific identifier.
        id: &'a [u8],
    },
    /// EUI-64 of 8 bytes.
    Eui64(u64),
    /// EUI-64 based, 12 bytes: the EUI-64 and a directory identifier.
    Eui64Directory {
        /// EUI-64.
        eui: u64,
        /// Directory identifier.
        directory: u32,
    },
    /// EUI-64 based, 16 bytes: an identifier extension and the EUI-64.
    Eui64Extended {
        /// Identifier extension.
        extension: u64,
        /// EUI-64.
        eui: u64,
    },
    /// NAA 2, IEEE Extended.
    NaaExtended {
        /// Vendor specific identifier A, 12 bits.
        a: u16,
        /// IEEE company identifier, 24 bits.
        company: u32,
        /// Vendor specific identifier B, 24 bits.
        b: u32,
    },
    /// NAA 3, Locally Assigned, 60 bits.
    NaaLocal(u64),
    /// NAA 5, IEEE Registered.
    NaaRegistered {
        /// IEEE company identifier, 24 bits.
        company: u32,
        /// Vendor specific identifier, 36 bits.
        vendor: u64,
    },
    /// NAA 6, IEEE Registered Extended.
    NaaRegisteredExtended {
        /// IEEE company identifier, 24 bits.
        company: u32,
        /// Vendor specific identifier, 36 bits.
        vendor: u64,
        /// Vendor specific identifier extension.
        extension: u64,
    },
    /// Relative target port identifier.
    RelativeTargetPort(u16),
    /// Target port group.
    TargetPortGroup(u16),
    /// Logical unit group.
    LogicalUnitGroup(u16),
    /// MD5 of names.
    Md5([u8; 16]),
    /// SCSI name string without its padding.
    ScsiName(&'a [u8]),
    /// UUID (RFC 4122).
    Uuid([u8; 16]),
}

impl<'a> Designator<'a> {
    /// Decodes the bytes by the designator type. `None` if the type is not known or the length is
    /// not one that it allows.
    pub fn name(&self) -> Option<DesignatorName<'a>> {
        let bytes = self.bytes;
        let f = Fields(bytes);
        // Ports and groups: 4 bytes, of which the last two count.
        let number = || if bytes.len() == 4 { u16_at(bytes, 2) } else { None };
        match self.kind {
            DesignatorType::VENDOR => Some(DesignatorName::Vendor(bytes)),
            DesignatorType::T10 => {
                let (&vendor, id) = bytes.split_first_chunk()?;
                Some(DesignatorName::T10 { vendor, id })
            }
            DesignatorType::EUI64 => match bytes.len() {
                8 => Some(DesignatorName::Eui64(f.u64(0))),
                12 => Some(DesignatorName::Eui64Directory { eui: f.u64(0), directory: f.u32(8) }),
                16 => Some(DesignatorName::Eui64Extended { extension: f.u64(0), eui: f.u64(8) }),
                _ => None,
            },
            DesignatorType::NAA => naa(bytes),
            DesignatorType::RELATIVE_TARGET_PORT => {
                number().map(DesignatorName::RelativeTargetPort)
            }
            DesignatorType::TARGET_PORT_GROUP => number().map(DesignatorName::TargetPortGroup),
            DesignatorType::LOGICAL_UNIT_GROUP => number().map(DesignatorName::LogicalUnitGroup),
            DesignatorType::MD5 => bytes.try_into().ok().map(DesignatorName::Md5),
            DesignatorType::SCSI_NAME => {
                let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
                Some(DesignatorName::ScsiName(bytes.get(..end)?))
            }
            // Byte 0: designator version 1 in the high half; byte 1 reserved.
            DesignatorType::UUID if bytes.len() == 18 => {
                array_at(bytes, 2).map(DesignatorName::Uuid)
            }
            _ => None,
        }
    }
}

/// Cuts the bit fields of a Network Address Authority designator.
fn naa(bytes: &[u8]) -> Option<DesignatorName<'static>> {
    let f = Fields(bytes);
    let head = f.u64(0);
    // The masks leave at most 24, 12 and 36 bits.
    let bits = |shift: u32, width: u32| head >> shift & ((1 << width) - 1);
    let small = |shift, width| u32::try_from(bits(shift, width)).unwrap_or(0);
    match (bytes.len(), head >> 60) {
        (8, 2) => Some(DesignatorName::NaaExtended {
            a: u16::try_from(bits(48, 12)).unwrap_or(0),
            company: small(24, 24),
            b: small(0, 24),
        }),
        (8, 3) => Some(DesignatorName::NaaLocal(bits(0, 60))),
        (8, 5) => {
            Some(DesignatorName::NaaRegistered { company: small(36, 24), vendor: bits(0, 36) })
        }
        (16, 6) => Some(DesignatorName::NaaRegisteredExtended {
            company: small(36, 24),
            vendor: bits(0, 36),
            extension: f.u64(8),
        }),
        _ => None,
    }
}

impl fmt::Display for DesignatorName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hex = |f: &mut fmt::Formatter<'_>, bytes: &[u8]| {
            bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
        };
        match *self {
            Self::Vendor(bytes) => hex(f, bytes),
            Self::T10 { vendor, id } => write!(f, "{}{}", Ascii::new(&vendor), Ascii::new(id)),
            Self::Eui64(eui) => write!(f, "eui.{eui:016x}"),
            Self::Eui64Directory { eui, directory } => write!(f, "eui.{eui:016x}{directory:08x}"),
            Self::Eui64Extended { extension, eui } => write!(f, "eui.{extension:016x}{eui:016x}"),
            Self::NaaExtended { a, company, b } => write!(f, "naa.2{a:03x}{company:06x}{b:06x}"),
            Self::NaaLocal(number) => write!(f, "naa.3{number:015x}"),
            Self::NaaRegistered { company, vendor } => write!(f, "naa.5{company:06x}{vendor:09x}"),
            Self::NaaRegisteredExtended { company, vendor, extension } => {
                write!(f, "naa.6{company:06x}{vendor:09x}{extension:016x}")
            }
            Self::RelativeTargetPort(number)
            | Self::TargetPortGroup(number)
            | Self::LogicalUnitGroup(number) => write!(f, "{number:#06x}"),
            Self::Md5(digest) => hex(f, &digest),
            Self::ScsiName(name) => match str::from_utf8(name) {
                Ok(text) if !text.chars().any(char::is_control) => f.write_str(text),
                _ => write!(f, "{}", Ascii::new(name)),
            },
            Self::Uuid(uuid) => {
                for (index, byte) in uuid.iter().enumerate() {
                    if matches!(index, 4 | 6 | 8 | 10) {
                        f.write_str("-")?;
                    }
                    write!(f, "{byte:02x}")?;
                }
                Ok(())
            }
        }
    }
}
