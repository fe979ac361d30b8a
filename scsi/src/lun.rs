//! Logical unit numbers: the 8 bytes and what they mean (SAM).

use core::fmt;
use core::str::FromStr;

use crate::codes::codes;

/// A logical unit number, 8 bytes as they stand in REPORT LUNS and in iSCSI headers.
///
/// Compare LUNs as the 8 bytes: 0 by the peripheral method and 0 by the flat method are different
/// bytes, and a device need not take one for the other. Send a reported LUN back unchanged.
///
/// ```
/// use iscsi_scsi::Lun;
/// let lun = Lun::new(1).unwrap();
/// assert_eq!(lun.to_bytes(), [0, 1, 0, 0, 0, 0, 0, 0]);
/// assert_eq!(Lun::new(300).unwrap().to_bytes(), [0x41, 0x2c, 0, 0, 0, 0, 0, 0]);
/// assert_eq!(lun.number(), Some(1));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lun([u8; 8]);

impl Lun {
    /// LUN 0, by the peripheral device method.
    pub const ZERO: Self = Self([0; 8]);
    /// The REPORT LUNS well-known logical unit.
    pub const REPORT_LUNS: Self = Self([0xc1, 1, 0, 0, 0, 0, 0, 0]);

    /// A single-level LUN in the usual coding: the peripheral device method below 256, the flat
    /// space method below 16384, the extended flat space method up to 24 bits. `None` above.
    pub const fn new(number: u32) -> Option<Self> {
        let [top, a, b, c] = number.to_be_bytes();
        match number {
            0..=0xff => Some(Self([0, c, 0, 0, 0, 0, 0, 0])),
            0x100..=0x3fff => Some(Self([0x40 | b, c, 0, 0, 0, 0, 0, 0])),
            _ if top == 0 => Some(Self([0xd2, a, b, c, 0, 0, 0, 0])),
            _ => None,
        }
    }

    /// A LUN by the flat space method, whatever its size. `None` above 14 bits.
    pub const fn flat(number: u16) -> Option<Self> {
        let [high, low] = number.to_be_bytes();
        if high > 0x3f { None } else { Some(Self([0x40 | high, low, 0, 0, 0, 0, 0, 0])) }
    }

    /// A LUN from its 8 bytes.
    pub const fn from_bytes(bytes: [u8; 8]) -> Self {
        Self(bytes)
    }

    /// The 8 bytes.
    pub const fn to_bytes(self) -> [u8; 8] {
        self.0
    }

    /// The number of a logical unit of this device that one level names. `None` for a well-known
    /// logical unit and for a LUN of more levels.
    pub fn number(self) -> Option<u64> {
        let (address, rest) = self.first_level();
        if rest != [0; 8] {
            return None;
        }
        match address {
            LunAddress::Peripheral { bus: 0, lun } => Some(lun.into()),
            LunAddress::Flat(lun) => Some(lun.into()),
            LunAddress::ExtendedFlat(lun) => Some(lun.into()),
            LunAddress::LongExtendedFlat(lun) => Some(lun),
            _ => None,
        }
    }

    /// The address of the first level.
    pub fn address(self) -> LunAddress {
        self.first_level().0
    }

    /// The addresses of all levels, at least one and at most four. A level after the first counts
    /// if it or one after it is not zero.
    pub fn levels(self) -> impl Iterator<Item = LunAddress> {
        let mut rest = Some(self);
        core::iter::from_fn(move || {
            let (address, next) = rest?.first_level();
            rest = (next != [0; 8]).then_some(Self(next));
            Some(address)
        })
    }

    /// The address of the first level, and the levels after it moved to the front.
    fn first_level(self) -> (LunAddress, [u8; 8]) {
        let [a, b, c, d, e, f, g, h] = self.0;
        let after2 = [c, d, e, f, g, h, 0, 0];
        match (a >> 6, a & 0x3f) {
            (0, bus) => (LunAddress::Peripheral { bus, lun: b }, after2),
            (1, high) => (LunAddress::Flat(u16::from_be_bytes([high, b])), after2),
            (2, target) => (LunAddress::LogicalUnit { target, bus: b >> 5, lun: b & 0x1f }, after2),
            (_, 0x01) => (LunAddress::WellKnown(WellKnown::from_bits(b)), after2),
            (_, 0x12) => {
                let lun = u32::from_be_bytes([0, b, c, d]);
                (LunAddress::ExtendedFlat(lun), [e, f, g, h, 0, 0, 0, 0])
            }
            (_, 0x22) => {
                let lun = u64::from_be_bytes([0, 0, 0, b, c, d, e, f]);
                (LunAddress::LongExtendedFlat(lun), [g, h, 0, 0, 0, 0, 0, 0])
            }
            (_, 0x3f) if self.0 == [0xff; 8] => (LunAddress::NotSpecified, [0; 8]),
            _ => (LunAddress::Unknown, [0; 8]),
        }
    }
}

impl From<u8> for Lun {
    /// A LUN by the peripheral device method.
    fn from(number: u8) -> Self {
        Self([0, number, 0, 0, 0, 0, 0, 0])
    }
}

/// The number of a LUN that has one, `well-known 0x01` for a well-known logical unit, else
/// `0x` and the 16 hexadecimal digits.
impl fmt::Display for Lun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (address, rest) = self.first_level();
        match (self.number(), address) {
            (Some(number), _) => write!(f, "{number}"),
            (None, LunAddress::WellKnown(unit)) if rest == [0; 8] => {
                write!(f, "well-known {:#04x}", unit.code())
            }
            _ => write!(f, "{:#018x}", u64::from_be_bytes(self.0)),
        }
    }
}

/// A text that names no LUN.
///
/// ```
/// use iscsi_scsi::{Lun, lun::ParseLunError};
/// assert_eq!("16777216".parse::<Lun>(), Err(ParseLunError::Range));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ParseLunError {
    /// Neither a decimal number nor `0x` and 16 hexadecimal digits.
    Syntax,
    /// A decimal number above 24 bits.
    Range,
}

impl fmt::Display for ParseLunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Syntax => "a LUN is a decimal number, or 0x and 16 hexadecimal digits",
            Self::Range => "a LUN in decimal is at most 16777215",
        })
    }
}

impl core::error::Error for ParseLunError {}

/// A decimal number, see [`Lun::new`], or the 8 bytes as `0x` and 16 hexadecimal digits.
impl FromStr for Lun {
    type Err = ParseLunError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = |text: &str, radix| text.bytes().all(|b| char::from(b).is_digit(radix));
        if let Some(hex) = text.strip_prefix("0x") {
            if hex.len() != 16 || !digits(hex, 16) {
                return Err(ParseLunError::Syntax);
            }
            let bytes = u64::from_str_radix(hex, 16).map_err(|_| ParseLunError::Syntax)?;
            return Ok(Self(bytes.to_be_bytes()));
        }
        if text.is_empty() || !digits(text, 10) {
            return Err(ParseLunError::Syntax);
        }
        text.parse().ok().and_then(Self::new).ok_or(ParseLunError::Range)
    }
}

/// How one level of a LUN addresses its logical unit (SAM).
///
/// ```
/// use iscsi_scsi::{Lun, lun::LunAddress};
/// let lun = Lun::from_bytes([0xd2, 1, 0, 0, 0, 0, 0, 0]);
/// assert_eq!(lun.address(), LunAddress::ExtendedFlat(0x1_0000));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LunAddress {
    /// Peripheral device addressing; bus 0 is this device, another bus goes down one level.
    Peripheral {
        /// Bus identifier, 6 bits.
        bus: u8,
        /// LUN, or the target on that bus.
        lun: u8,
    },
    /// Flat space addressing, 14 bits.
    Flat(u16),
    /// Logical unit addressing.
    LogicalUnit {
        /// Target, 6 bits.
        target: u8,
        /// Bus, 3 bits.
        bus: u8,
        /// LUN, 5 bits.
        lun: u8,
    },
    /// A well-known logical unit.
    WellKnown(WellKnown),
    /// Extended flat space addressing, 24 bits.
    ExtendedFlat(u32),
    /// Long extended flat space addressing, 40 bits.
    LongExtendedFlat(u64),
    /// All bytes 0xff: no logical unit.
    NotSpecified,
    /// A method that is not known.
    Unknown,
}

codes! {
    /// Well-known logical unit numbers (SPC).
    ///
    /// ```
    /// use iscsi_scsi::{Lun, lun::{LunAddress, WellKnown}};
    /// assert_eq!(Lun::REPORT_LUNS.address(), LunAddress::WellKnown(WellKnown::REPORT_LUNS));
    /// ```
    pub struct WellKnown: 8 bits {
        REPORT_LUNS = 0x01 => "REPORT LUNS",
        ACCESS_CONTROLS = 0x02 => "ACCESS CONTROLS",
        TARGET_LOG_PAGES = 0x03 => "TARGET LOG PAGES",
        SECURITY_PROTOCOL = 0x04 => "SECURITY PROTOCOL",
        MANAGEMENT_PROTOCOL = 0x05 => "MANAGEMENT PROTOCOL",
        TARGET_COMMANDS = 0x06 => "TARGET COMMANDS",
    }
}

#[cfg(test)]
mod tests {
    extern crate alloc;
    use alloc::string::ToString;
    use alloc::vec::Vec;

    use super::*;

    #[test]
    fn coding_by_size() {
        let cases: [(u32, [u8; 4]); 7] = [
            (0, [0, 0, 0, 0]),
            (255, [0, 255, 0, 0]),
            (256, [0x41, 0, 0, 0]),
            (0x3fff, [0x7f, 0xff, 0, 0]),
            (0x4000, [0xd2, 0, 0x40, 0]),
            (0x12_3456, [0xd2, 0x12, 0x34, 0x56]),
            (0xff_ffff, [0xd2, 0xff, 0xff, 0xff]),
        ];
        for (number, bytes) in cases {
            let lun = Lun::new(number).unwrap();
            assert_eq!(lun.to_bytes()[..4], bytes);
            assert_eq!(lun.to_bytes()[4..], [0; 4]);
            assert_eq!(lun.number(), Some(number.into()));
            assert_eq!(lun.to_string(), number.to_string());
            assert_eq!(number.to_string().parse(), Ok(lun));
        }
        assert_eq!(Lun::new(0x100_0000), None);
        assert_eq!(Lun::flat(1).unwrap().to_bytes()[..2], [0x40, 1]);
        assert_eq!(Lun::flat(0x4000), None);
        assert_ne!(Lun::flat(1), Lun::new(1), "equal numbers, different LUNs");
    }

    #[test]
    fn methods() {
        let lun = |bytes: [u8; 8]| Lun::from_bytes(bytes);
        assert_eq!(
            lun([0xe2, 1, 2, 3, 4, 5, 0, 0]).address(),
            LunAddress::LongExtendedFlat(0x01_0203_0405)
        );
        assert_eq!(
            lun([0x85, 0x62, 0, 0, 0, 0, 0, 0]).address(),
            LunAddress::LogicalUnit { target: 5, bus: 3, lun: 2 }
        );
        assert_eq!(lun([0xff; 8]).address(), LunAddress::NotSpecified);
        assert_eq!(lun([0xc7, 0, 0, 0, 0, 0, 0, 0]).address(), LunAddress::Unknown);
        let two = lun([0x02, 7, 0x40, 9, 0, 0, 0, 0]);
        let levels: Vec<_> = two.levels().collect();
        assert_eq!(levels, [LunAddress::Peripheral { bus: 2, lun: 7 }, LunAddress::Flat(9)]);
        assert_eq!(two.number(), None);
        assert_eq!(two.to_string(), "0x0207400900000000");
        assert_eq!("0x0207400900000000".parse(), Ok(two));
        assert_eq!(Lun::REPORT_LUNS.to_string(), "well-known 0x01");
        assert_eq!(lun([1; 8]).levels().count(), 4);
        assert_eq!(Lun::ZERO.levels().count(), 1);
    }

    #[test]
    fn not_a_lun() {
        for text in ["", "+1", "-1", "1 ", "0x1", "x", "0x00000000000000+1", "0x02074009000000000"]
        {
            assert_eq!(text.parse::<Lun>(), Err(ParseLunError::Syntax), "{text:?}");
        }
        assert_eq!("99999999999999999999".parse::<Lun>(), Err(ParseLunError::Range));
    }
}
