//! FORMAT UNIT, SANITIZE and READ DEFECT DATA (SBC).

use crate::bytes::{Out, bit, len16};
use crate::cdb::{Cdb, CdbWriter};
use crate::codes::codes;
use crate::error::{BuildError, CdbError};
use crate::fields::Bits;

codes! {
    /// DEFECT LIST FORMAT.
    ///
    /// ```
    /// use iscsi_scsi::format::DefectListFormat;
    /// assert_eq!(DefectListFormat::LONG_BLOCK.code(), 3);
    /// ```
    pub struct DefectListFormat: 3 bits {
        SHORT_BLOCK = 0 => "short block",
        EXTENDED_BYTES_FROM_INDEX = 1 => "extended bytes from index",
        EXTENDED_PHYSICAL_SECTOR = 2 => "extended physical sector",
        LONG_BLOCK = 3 => "long block",
        BYTES_FROM_INDEX = 4 => "bytes from index",
        PHYSICAL_SECTOR = 5 => "physical sector",
        VENDOR = 6 => "vendor specific",
    }
}

/// FORMAT UNIT. The caller sends a parameter list if `format_data`.
///
/// ```
/// use iscsi_scsi::{Bits, format::FormatUnit};
/// assert_eq!(FormatUnit::default().cdb().as_bytes(), [0x04, 0, 0, 0, 0, 0]);
/// let cdb = FormatUnit {
///     protection: Bits::from_bits(3), format_data: true, list_length: 4, ..Default::default()
/// }.cdb();
/// assert_eq!(cdb.as_bytes(), [0x04, 0xd0, 0, 0, 0, 0]);
/// assert_eq!(cdb.expected_bytes(0), 4);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FormatUnit {
    /// FMTPINFO: format with protection information.
    pub protection: Bits<2>,
    /// LONGLIST: the parameter list header is the long one.
    pub long_list: bool,
    /// FMTDATA: there is a parameter list.
    pub format_data: bool,
    /// CMPLST: the defect list is complete.
    pub complete_list: bool,
    /// Format of the defect list.
    pub defect_format: DefectListFormat,
    /// FFMT: fast format.
    pub fast: Bits<2>,
    /// Bytes of the parameter list, which the CDB does not tell. Ignored unless `format_data`.
    pub list_length: u32,
}

impl FormatUnit {
    /// Operation code.
    pub const OPCODE: u8 = 0x04;

    /// The CDB.
    pub fn cdb(&self) -> Cdb {
        CdbWriter::new(Self::OPCODE)
            .u8(self.protection.get() << 6
                | bit(self.long_list, 0x20)
                | bit(self.format_data, 0x10)
                | bit(self.complete_list, 0x08)
                | self.defect_format.code())
            .zeros::<2>()
            .u8(self.fast.get())
            .zeros::<1>()
            .bytes_out(if self.format_data { self.list_length } else { 0 })
    }
}

codes! {
    /// Service action of SANITIZE.
    ///
    /// ```
    /// use iscsi_scsi::format::SanitizeAction;
    /// assert_eq!(SanitizeAction::CRYPTOGRAPHIC_ERASE.code(), 3);
    /// ```
    pub struct SanitizeAction: 5 bits {
        OVERWRITE = 0x01 => "OVERWRITE",
        BLOCK_ERASE = 0x02 => "BLOCK ERASE",
        CRYPTOGRAPHIC_ERASE = 0x03 => "CRYPTOGRAPHIC ERASE",
        EXIT_FAILURE_MODE = 0x1f => "EXIT FAILURE MODE",
    }
}

/// SANITIZE. The data of OVERWRITE is an [`OverwriteList`].
///
/// ```
/// use iscsi_scsi::format::{Sanitize, SanitizeAction};
/// let action = SanitizeAction::BLOCK_ERASE;
/// let cdb = Sanitize { action, immediate: true, ..Default::default() }.cdb();
/// assert_eq!(cdb.as_bytes(), [0x48, 0x82, 0, 0, 0, 0, 0, 0, 0, 0]);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sanitize {
    /// Service action.
    pub action: SanitizeAction,
    /// Return status at once.
    pub immediate: bool,
    /// ZNR: do not reset write pointers of zones.
    pub znr: bool,
    /// AUSE: allow exit from a failed sanitize without another one.
    pub ause: bool,
    /// Bytes of the parameter list.
    pub parameter_list_length: u16,
}

impl Sanitize {
    /// Operation code.
    pub const OPCODE: u8 = 0x48;

    /// The CDB.
    pub fn cdb(&self) -> Cdb {
        CdbWriter::new(Self::OPCODE)
            .u8(bit(self.immediate, 0x80)
                | bit(self.znr, 0x40)
                | bit(self.ause, 0x20)
                | self.action.code())
            .zeros::<5>()
            .u16(self.parameter_list_length)
            .zeros::<1>()
            .bytes_out(self.parameter_list_length.into())
    }
}

/// The parameter list of SANITIZE OVERWRITE.
///
/// ```
/// use iscsi_scsi::{Bits, format::OverwriteList};
/// let list = OverwriteList {
///     invert: true, test: Bits::default(), count: 3, pattern: &[0xaa, 0x55],
/// };
/// let mut bytes = [0xee; 6];
/// assert_eq!(list.build(&mut bytes)?, 6);
/// assert_eq!(bytes, [0x83, 0, 0, 2, 0xaa, 0x55]);
/// # Ok::<(), iscsi_scsi::BuildError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OverwriteList<'a> {
    /// INVERT: invert the pattern between passes.
    pub invert: bool,
    /// TEST: vendor specific changes of the pattern.
    pub test: Bits<2>,
    /// OVERWRITE COUNT, 1 to 31.
    pub count: u8,
    /// INITIALIZATION PATTERN, 1 byte to one block.
    pub pattern: &'a [u8],
}

impl OverwriteList<'_> {
    /// Writes the list and returns its length.
    ///
    /// # Errors
    /// [`BuildError::TooShort`] and [`BuildError::TooLong`] for a count outside of 1 to 31 or an
    /// empty or too long pattern, [`BuildError::BufferTooSmall`].
    pub fn build(&self, out: &mut [u8]) -> Result<usize, BuildError> {
        let count = usize::from(self.count);
        if count == 0 || self.pattern.is_empty() {
            return Err(BuildError::TooShort { len: 0, min: 1 });
        }
        if count > 31 {
            return Err(BuildError::TooLong { len: count, max: 31 });
        }
        Out::new(out)
            .u8(bit(self.invert, 0x80) | self.test.get() << 5 | self.count)
            .zeros(1)
            .u16(len16(self.pattern.len())?)
            .bytes(self.pattern)
            .complete()
    }
}

/// READ DEFECT DATA(10).
///
/// ```
/// use iscsi_scsi::format::ReadDefectData10;
/// let cdb = ReadDefectData10 { grown: true, allocation_length: 4, ..Default::default() }.cdb();
/// assert_eq!(cdb.as_bytes(), [0x37, 0, 0x08, 0, 0, 0, 0, 0, 4, 0]);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReadDefectData10 {
    /// REQ_PLIST: the primary list.
    pub primary: bool,
    /// REQ_GLIST: the grown list.
    pub grown: bool,
    /// Format of the list.
    pub format: DefectListFormat,
    /// Bytes the caller has room for.
    pub allocation_length: u16,
}

impl ReadDefectData10 {
    /// Operation code.
    pub const OPCODE: u8 = 0x37;

    /// The CDB.
    pub fn cdb(&self) -> Cdb {
        CdbWriter::new(Self::OPCODE)
            .zeros::<1>()
            .u8(bit(self.primary, 0x10) | bit(self.grown, 0x08) | self.format.code())
            .zeros::<4>()
            .u16(self.allocation_length)
            .zeros::<1>()
            .bytes_in(self.allocation_length.into())
    }
}

/// READ DEFECT DATA(12).
///
/// ```
/// use iscsi_scsi::format::ReadDefectData12;
/// let cdb = ReadDefectData12 {
///     primary: true, index: 1, allocation_length: 8, ..Default::default()
/// }.cdb();
/// assert_eq!(cdb.as_bytes(), [0xb7, 0x10, 0, 0, 0, 1, 0, 0, 0, 8, 0, 0]);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReadDefectData12 {
    /// REQ_PLIST: the primary list.
    pub primary: bool,
    /// REQ_GLIST: the grown list.
    pub grown: bool,
    /// Format of the list.
    pub format: DefectListFormat,
    /// ADDRESS DESCRIPTOR INDEX: the first descriptor wanted.
    pub index: u32,
    /// Bytes the caller has room for.
    pub allocation_length: u32,
}

impl ReadDefectData12 {
    /// Operation code.
    pub const OPCODE: u8 = 0xb7;

    /// The CDB.
    pub fn cdb(&self) -> Cdb {
        CdbWriter::new(Self::OPCODE)
            .u8(bit(self.primary, 0x10) | bit(self.grown, 0x08) | self.format.code())
            .u32(self.index)
            .u32(self.allocation_length)
            .zeros::<2>()
            .bytes_in(self.allocation_length)
    }
}

/// Checks a 24-bit field.
pub(crate) fn check24(value: u32) -> Result<u32, CdbError> {
    match value {
        0..=0xff_ffff => Ok(value),
        _ => Err(CdbError::ValueTooLarge { value, max: 0xff_ffff }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overwrite_limits() {
        let build = |count, pattern| {
            OverwriteList { invert: false, test: Bits::default(), count, pattern }
                .build(&mut [0; 16])
        };
        assert_eq!(build(0, &[0]), Err(BuildError::TooShort { len: 0, min: 1 }));
        assert_eq!(build(32, &[0]), Err(BuildError::TooLong { len: 32, max: 31 }));
        assert_eq!(build(1, &[]), Err(BuildError::TooShort { len: 0, min: 1 }));
        assert_eq!(build(31, &[7; 12]), Ok(16));
    }

    #[test]
    fn sanitize_overwrite_by_hand() {
        let cdb = Sanitize {
            action: SanitizeAction::OVERWRITE,
            znr: true,
            ause: true,
            parameter_list_length: 0x0102,
            immediate: false,
        }
        .cdb();
        assert_eq!(cdb.as_bytes(), [0x48, 0x61, 0, 0, 0, 0, 0, 1, 2, 0]);
    }
}
