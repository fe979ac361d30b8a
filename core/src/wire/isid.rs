//! The initiator's part of a session identifier (RFC 7143 section 11.12.5).

use core::fmt;

use super::bhs::Bhs;
use super::field::{Field, field};

/// An Initiator Session ID: the six bytes as they travel (RFC 7143 section 11.12.5).
///
/// Together with the initiator's name it names the initiator port. Two live sessions with the same name and ISID towards the
/// same portal group evict each other, so each session draws its own and keeps it over reconnects.
///
/// ```
/// use iscsi_core::wire::{Isid, IsidFormat};
///
/// let isid = Isid::random(0x12_3456, 7);
/// assert_eq!(isid.to_bytes(), [0x80, 0x12, 0x34, 0x56, 0x00, 0x07]);
/// assert_eq!(isid.format(), IsidFormat::Random { random: 0x12_3456, qualifier: 7 });
/// assert_eq!(isid.to_string(), "801234560007");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Isid([u8; 6]);

/// What the bytes of an [`Isid`] mean, by its type bits.
///
/// ```
/// use iscsi_core::wire::{Isid, IsidFormat};
/// let isid = Isid::from_bytes([0xc0, 0, 0, 0, 0, 1]);
/// assert_eq!(isid.format(), IsidFormat::Reserved);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum IsidFormat {
    /// Type 0: an IEEE company identifier.
    Oui {
        /// 22 bits: the OUI without its I/G and U/L bits.
        oui: u32,
        /// 24 bits, chosen by the vendor.
        qualifier: u32,
    },
    /// Type 1: an enterprise number of IANA.
    EnterpriseNumber {
        /// 24 bits.
        number: u32,
        /// Chosen by the vendor.
        qualifier: u16,
    },
    /// Type 2: a random number.
    Random {
        /// 24 bits.
        random: u32,
        /// Distinguishes the sessions that share `random`.
        qualifier: u16,
    },
    /// Type 3 has no meaning.
    Reserved,
}

impl Isid {
    /// Type 0 from the low 22 bits of `oui` and the low 24 bits of `qualifier`.
    pub const fn oui(oui: u32, qualifier: u32) -> Self {
        let [_, a, b0, b1] = (oui & 0x3f_ffff).to_be_bytes();
        let [_, c, d0, d1] = qualifier.to_be_bytes();
        Self([a, b0, b1, c, d0, d1])
    }

    /// Type 1 from the low 24 bits of the enterprise number.
    pub const fn enterprise_number(number: u32, qualifier: u16) -> Self {
        Self::of_type(0x40, number, qualifier)
    }

    /// Type 2 from the low 24 bits of `random`.
    pub const fn random(random: u32, qualifier: u16) -> Self {
        Self::of_type(0x80, random, qualifier)
    }

    const fn of_type(type_bits: u8, number: u32, qualifier: u16) -> Self {
        let [_, b0, b1, c] = number.to_be_bytes();
        let [d0, d1] = qualifier.to_be_bytes();
        Self([type_bits, b0, b1, c, d0, d1])
    }

    /// Any six bytes.
    pub const fn from_bytes(bytes: [u8; 6]) -> Self {
        Self(bytes)
    }

    /// The six bytes as they travel.
    pub const fn to_bytes(self) -> [u8; 6] {
        self.0
    }

    /// What the bytes mean.
    pub const fn format(self) -> IsidFormat {
        let [a, b0, b1, c, d0, d1] = self.0;
        let number = u32::from_be_bytes([0, b0, b1, c]);
        let qualifier = u16::from_be_bytes([d0, d1]);
        match a >> 6 {
            0 => IsidFormat::Oui {
                oui: u32::from_be_bytes([0, a, b0, b1]),
                qualifier: u32::from_be_bytes([0, c, d0, d1]),
            },
            1 => IsidFormat::EnterpriseNumber { number, qualifier },
            2 => IsidFormat::Random { random: number, qualifier },
            _ => IsidFormat::Reserved,
        }
    }
}

field! { Isid, Isid::from_bytes, Isid::to_bytes; }

impl fmt::Display for Isid {
    /// Twelve hex digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Isid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Isid({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_format_puts_its_bits_where_the_rfc_does() {
        let oui = Isid::oui(0xff_1234, 0xab_cdef);
        assert_eq!(oui.to_bytes(), [0x3f, 0x12, 0x34, 0xab, 0xcd, 0xef]);
        assert_eq!(oui.format(), IsidFormat::Oui { oui: 0x3f_1234, qualifier: 0xab_cdef });
        let en = Isid::enterprise_number(0x01_0203, 0x0405);
        assert_eq!(en.to_bytes(), [0x40, 1, 2, 3, 4, 5]);
        let format = IsidFormat::EnterpriseNumber { number: 0x01_0203, qualifier: 0x0405 };
        assert_eq!(en.format(), format);
    }
}
