//! Task tags and LUNs: the identifiers that travel in headers.

use core::fmt;

/// An Initiator Task Tag (RFC 7143 section 11.2.1.8).
///
/// ```
/// use iscsi_core::InitiatorTaskTag;
/// assert!(InitiatorTaskTag::RESERVED.is_reserved());
/// assert_eq!(InitiatorTaskTag(7).to_string(), "0x7");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct InitiatorTaskTag(pub u32);

impl InitiatorTaskTag {
    /// "No task": 0xffffffff.
    pub const RESERVED: Self = Self(0xffff_ffff);

    /// Whether this is [`Self::RESERVED`].
    pub const fn is_reserved(self) -> bool {
        self.0 == Self::RESERVED.0
    }
}

impl fmt::Display for InitiatorTaskTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

/// A Target Transfer Tag: opaque to the initiator, echoed together with the LUN (RFC 7143 section 11.7.4).
///
/// ```
/// use iscsi_core::TargetTransferTag;
/// assert!(TargetTransferTag::RESERVED.is_reserved());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TargetTransferTag(pub u32);

impl TargetTransferTag {
    /// "No tag": 0xffffffff.
    pub const RESERVED: Self = Self(0xffff_ffff);

    /// Whether this is [`Self::RESERVED`].
    pub const fn is_reserved(self) -> bool {
        self.0 == Self::RESERVED.0
    }
}

impl fmt::Display for TargetTransferTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

/// A logical unit number: the eight bytes of SAM-5 as they stand in a header (RFC 7143 section 11.2.1.7).
///
/// A LUN from REPORT LUNS is kept as it came: [`Lun::from_bytes`]. A number that a person typed is encoded by
/// [`Lun::new`] in the shortest form that holds it.
///
/// ```
/// use iscsi_core::Lun;
/// assert_eq!(Lun::new(1).unwrap().to_bytes(), [0, 1, 0, 0, 0, 0, 0, 0]);         // peripheral
/// assert_eq!(Lun::new(300).unwrap().to_bytes(), [0x41, 0x2c, 0, 0, 0, 0, 0, 0]); // flat
/// assert_eq!(Lun::new(70_000).unwrap().to_bytes(), [0xd2, 1, 0x11, 0x70, 0, 0, 0, 0]); // extended flat
/// assert_eq!(Lun::new(300).unwrap().number(), Some(300));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Lun(u64);

impl Lun {
    /// LUN 0 in peripheral form, also the value of a reserved LUN field.
    pub const ZERO: Self = Self(0);

    /// Encodes a number: peripheral below 256, flat below 16384, extended flat (24 bits) below 2^24, long extended flat
    /// below 2^40. `None` above that.
    pub const fn new(number: u64) -> Option<Self> {
        match number {
            0..0x100 => Some(Self(number << 48)),
            0x100..0x4000 => Some(Self((0x4000 | number) << 48)),
            0x4000..0x100_0000 => Some(Self(0xd2 << 56 | number << 32)),
            0x100_0000..0x100_0000_0000 => Some(Self(0xe2 << 56 | number << 16)),
            _ => None,
        }
    }

    /// The LUN whose eight bytes these are, in any addressing method.
    pub const fn from_bytes(bytes: [u8; 8]) -> Self {
        Self(u64::from_be_bytes(bytes))
    }

    /// The eight bytes as they travel.
    pub const fn to_bytes(self) -> [u8; 8] {
        self.0.to_be_bytes()
    }

    /// The number, if this is a single-level LUN in a form that [`Lun::new`] makes (or flat form of a small number).
    pub const fn number(self) -> Option<u64> {
        let top = self.0 >> 48;
        let method = self.0 >> 56;
        if self.0 & 0xffff_ffff_ffff == 0 && top < 0x100 {
            Some(top)
        } else if self.0 & 0xffff_ffff_ffff == 0 && top >> 14 == 1 {
            Some(top & 0x3fff)
        } else if method == 0xd2 && self.0 & 0xffff_ffff == 0 {
            Some(self.0 >> 32 & 0xff_ffff)
        } else if method == 0xe2 && self.0 & 0xffff == 0 {
            Some(self.0 >> 16 & 0xff_ffff_ffff)
        } else {
            None
        }
    }
}

impl fmt::Debug for Lun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Lun({self})")
    }
}

impl fmt::Display for Lun {
    /// The number where there is one, else all eight bytes as `0x` and 16 hex digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.number() {
            Some(number) => write!(f, "{number}"),
            None => write!(f, "{:#018x}", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_survive_each_encoding() {
        for number in [0, 1, 255, 256, 16383, 16384, 0xff_ffff, 0x100_0000, 0xff_ffff_ffff] {
            assert_eq!(Lun::new(number).unwrap().number(), Some(number), "{number:#x}");
        }
        assert_eq!(Lun::new(0x100_0000_0000), None);
    }

    #[test]
    fn other_methods_have_no_number() {
        let well_known = Lun::from_bytes([0xc1, 1, 0, 0, 0, 0, 0, 0]);
        assert_eq!(well_known.number(), None);
        assert_eq!(std::format!("{well_known}"), "0xc101000000000000");
    }
}
