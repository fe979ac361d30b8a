//! CDB fields that many block commands share, and the three layouts they stand in.

use crate::bytes::{Fields, bit};
use crate::cdb::CdbWriter;
use crate::codes::codes;
use crate::error::CommandError;

codes! {
    /// RDPROTECT, WRPROTECT or VRPROTECT: what to do with protection information (SBC).
    ///
    /// Any value but [`Protect::NONE`] makes the transfer carry 8 bytes of protection information
    /// per interval, which the caller adds to the block length.
    ///
    /// ```
    /// use iscsi_scsi::Protect;
    /// assert_eq!(Protect::default(), Protect::NONE);
    /// assert_eq!(Protect::new(8), None);
    /// ```
    pub struct Protect: 3 bits {
        NONE = 0 => "none",
        CHECK = 1 => "check guard, application tag and reference tag",
        NO_GUARD_APPLICATION = 2 => "check reference tag",
        NO_CHECK = 3 => "transfer without check",
        GUARD = 4 => "check guard",
        CHECK_ALTERNATE = 5 => "check as 1",
    }
}

codes! {
    /// BYTCHK: what VERIFY and WRITE AND VERIFY compare (SBC).
    ///
    /// ```
    /// use iscsi_scsi::ByteCheck;
    /// assert_eq!(ByteCheck::COMPARE.code(), 1);
    /// ```
    pub struct ByteCheck: 2 bits {
        MEDIUM = 0 => "medium only",
        COMPARE = 1 => "compare with data-out",
        /// One block of data-out against every block of the medium; not in WRITE AND VERIFY.
        COMPARE_ONE_BLOCK = 3 => "compare one block with all",
    }
}

/// A number of `WIDTH` bits, 1 to 8: a field too narrow for the type `u8`.
///
/// ```
/// use iscsi_scsi::Bits;
/// assert_eq!(Bits::<3>::new(7).map(|bits| bits.get()), Some(7));
/// assert_eq!(Bits::<3>::new(8), None);
/// assert_eq!(Bits::<3>::from_bits(0xfa).get(), 2);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bits<const WIDTH: u32>(u8);

impl<const WIDTH: u32> Bits<WIDTH> {
    /// The largest number.
    pub const MAX: u8 = 0xff >> (8 - WIDTH);

    /// The number, unless it needs more bits.
    pub const fn new(number: u8) -> Option<Self> {
        if number > Self::MAX { None } else { Some(Self(number)) }
    }

    /// The number in the low bits of a byte; bits above the field are ignored.
    pub const fn from_bits(byte: u8) -> Self {
        Self(byte & Self::MAX)
    }

    /// The number.
    pub const fn get(self) -> u8 {
        self.0
    }
}

/// GROUP NUMBER, 0 to 63: which statistics or hints group a command belongs to (SBC).
///
/// ```
/// use iscsi_scsi::GroupNumber;
/// assert_eq!(GroupNumber::new(63).map(|group| group.get()), Some(63));
/// assert_eq!(GroupNumber::new(64), None);
/// ```
pub type GroupNumber = Bits<6>;

/// Byte 1 of READ and WRITE.
pub(crate) fn transfer_flags(protect: Protect, dpo: bool, fua: bool) -> u8 {
    protect.code() << 5 | bit(dpo, 0x10) | bit(fua, 0x08)
}

/// Byte 1 of VERIFY and WRITE AND VERIFY.
pub(crate) fn verify_flags(protect: Protect, dpo: bool, check: ByteCheck) -> u8 {
    protect.code() << 5 | bit(dpo, 0x10) | check.code() << 1
}

/// Refuses the reserved BYTCHK value.
pub(crate) fn byte_check(flags: u8) -> Result<ByteCheck, CommandError> {
    match ByteCheck::from_bits(flags >> 1) {
        ByteCheck(2) => Err(CommandError::Field { byte: 1, bit: 2 }),
        check => Ok(check),
    }
}

/// 2-5 LBA, 6 group, 7-8 count.
pub(crate) mod layout10 {
    use super::*;

    pub(crate) fn write(op: u8, flags: u8, lba: u32, count: u16, group: GroupNumber) -> CdbWriter {
        CdbWriter::new(op).u8(flags).u32(lba).u8(group.get()).u16(count).zeros::<1>()
    }

    pub(crate) fn read(f: Fields<'_>) -> (u32, u16, GroupNumber) {
        (f.u32(2), f.u16(7), GroupNumber::from_bits(f.u8(6)))
    }
}

/// 2-5 LBA, 6-9 count, 10 group.
pub(crate) mod layout12 {
    use super::*;

    pub(crate) fn write(op: u8, flags: u8, lba: u32, count: u32, group: GroupNumber) -> CdbWriter {
        CdbWriter::new(op).u8(flags).u32(lba).u32(count).u8(group.get()).zeros::<1>()
    }

    pub(crate) fn read(f: Fields<'_>) -> (u32, u32, GroupNumber) {
        (f.u32(2), f.u32(6), GroupNumber::from_bits(f.u8(10)))
    }
}

/// 2-9 LBA, 10-13 count, 14 group.
pub(crate) mod layout16 {
    use super::*;

    pub(crate) fn write(op: u8, flags: u8, lba: u64, count: u32, group: GroupNumber) -> CdbWriter {
        CdbWriter::new(op).u8(flags).u64(lba).u32(count).u8(group.get()).zeros::<1>()
    }

    pub(crate) fn read(f: Fields<'_>) -> (u64, u32, GroupNumber) {
        (f.u64(2), f.u32(10), GroupNumber::from_bits(f.u8(14)))
    }
}
