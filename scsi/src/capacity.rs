//! READ CAPACITY(10) and (16): commands and returned data (SBC).

use crate::bytes::{Fields, Out, bit, need};
use crate::cdb::{Cdb, CdbWriter};
use crate::error::{CommandError, ParseError};

/// READ CAPACITY(10).
///
/// ```
/// use iscsi_scsi::capacity::ReadCapacity10;
/// assert_eq!(ReadCapacity10.cdb().as_bytes(), [0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
/// assert_eq!(ReadCapacity10.cdb().expected_bytes(0), 8);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReadCapacity10;

impl ReadCapacity10 {
    /// Operation code.
    pub const OPCODE: u8 = 0x25;

    /// The CDB.
    pub fn cdb(&self) -> Cdb {
        CdbWriter::new(Self::OPCODE).zeros::<9>().bytes_in(8)
    }

    /// The obsolete PMI bit and LBA field must be zero.
    pub(crate) fn parse(f: Fields<'_>) -> Result<Self, CommandError> {
        if f.flag(8, 0x01) {
            return Err(CommandError::Field { byte: 8, bit: 0 });
        }
        if f.u32(2) != 0 {
            return Err(CommandError::Field { byte: 2, bit: 7 });
        }
        Ok(Self)
    }
}

/// READ CAPACITY(16), a service action of SERVICE ACTION IN(16).
///
/// ```
/// use iscsi_scsi::capacity::ReadCapacity16;
/// let cdb = ReadCapacity16 { allocation_length: 32 }.cdb();
/// assert_eq!(cdb.as_bytes(), [0x9e, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32, 0, 0]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadCapacity16 {
    /// Bytes the caller has room for; [`ReadCapacity16Data::SIZE`] holds all.
    pub allocation_length: u32,
}

impl Default for ReadCapacity16 {
    fn default() -> Self {
        Self { allocation_length: 32 }
    }
}

impl ReadCapacity16 {
    /// Operation code.
    pub const OPCODE: u8 = 0x9e;
    /// Service action.
    pub const SERVICE_ACTION: u8 = 0x10;

    /// The CDB.
    pub fn cdb(&self) -> Cdb {
        CdbWriter::new(Self::OPCODE)
            .u8(Self::SERVICE_ACTION)
            .zeros::<8>()
            .u32(self.allocation_length)
            .zeros::<2>()
            .bytes_in(self.allocation_length)
    }

    pub(crate) fn parse(f: Fields<'_>) -> Result<Self, CommandError> {
        Ok(Self { allocation_length: f.u32(10) })
    }
}

/// Data of READ CAPACITY(10).
///
/// The field on the wire is the address of the *last* block, not a count; [`Self::blocks`] counts.
///
/// ```
/// use iscsi_scsi::capacity::ReadCapacity10Data;
/// let data = ReadCapacity10Data::parse(&[0, 0, 0x07, 0xff, 0, 0, 2, 0])?;
/// assert_eq!((data.last_lba, data.block_length), (0x7ff, 512));
/// assert_eq!(data.blocks(), Some(0x800));
/// # Ok::<(), iscsi_scsi::ParseError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReadCapacity10Data {
    /// Address of the last block; 0xffff_ffff if it does not fit.
    pub last_lba: u32,
    /// Block length in bytes, without protection information.
    pub block_length: u32,
}

impl ReadCapacity10Data {
    /// Size of the data in bytes.
    pub const SIZE: usize = 8;

    /// Parses the data.
    ///
    /// # Errors
    /// [`ParseError::Short`] below 8 bytes.
    pub fn parse(data: &[u8]) -> Result<Self, ParseError> {
        need(data, Self::SIZE)?;
        let f = Fields(data);
        Ok(Self { last_lba: f.u32(0), block_length: f.u32(4) })
    }

    /// Number of blocks, `None` if only READ CAPACITY(16) can tell.
    pub fn blocks(&self) -> Option<u64> {
        (self.last_lba != u32::MAX).then(|| u64::from(self.last_lba) + 1)
    }

    /// Writes the data, truncated to the buffer, and returns the full size.
    pub fn emit(&self, out: &mut [u8]) -> usize {
        Out::new(out).u32(self.last_lba).u32(self.block_length).len()
    }
}

/// Data of READ CAPACITY(16).
///
/// ```
/// use iscsi_scsi::capacity::ReadCapacity16Data;
/// let disk = ReadCapacity16Data {
///     last_lba: 0xfff, block_length: 4096, lbpme: true, ..Default::default()
/// };
/// let mut data = [0; 32];
/// assert_eq!(disk.emit(&mut data), 32);
/// assert_eq!(data[14], 0x80);
/// assert_eq!(ReadCapacity16Data::parse(&data), Ok(disk));
/// assert_eq!(disk.bytes(), Some(16 << 20));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReadCapacity16Data {
    /// Address of the last block.
    pub last_lba: u64,
    /// Block length in bytes, without protection information.
    pub block_length: u32,
    /// RC BASIS, 0 to 3: what the capacity of a zoned device counts.
    pub rc_basis: u8,
    /// P_TYPE, 0 to 7: protection type minus one, if `prot_en`.
    pub p_type: u8,
    /// PROT_EN: the medium is formatted with protection information.
    pub prot_en: bool,
    /// P_I_EXPONENT, 0 to 15: protection intervals per block, as a power of two.
    pub p_i_exponent: u8,
    /// Logical blocks per physical block, 0 to 15, as a power of two.
    pub lbppbe: u8,
    /// LBPME: logical block provisioning (UNMAP and the like) is enabled.
    pub lbpme: bool,
    /// LBPRZ: unmapped blocks read as zeros.
    pub lbprz: bool,
    /// Lowest logical block that starts on a physical block, 14 bits.
    pub lowest_aligned_lba: u16,
}

impl ReadCapacity16Data {
    /// Size of the data in bytes.
    pub const SIZE: usize = 32;

    /// Parses the data. Old devices return 12 bytes; the rest then reads as zero.
    ///
    /// # Errors
    /// [`ParseError::Short`] below 12 bytes.
    pub fn parse(data: &[u8]) -> Result<Self, ParseError> {
        need(data, 12)?;
        let f = Fields(data);
        Ok(Self {
            last_lba: f.u64(0),
            block_length: f.u32(8),
            rc_basis: f.u8(12) >> 4 & 0x03,
            p_type: f.u8(12) >> 1 & 0x07,
            prot_en: f.flag(12, 0x01),
            p_i_exponent: f.u8(13) >> 4,
            lbppbe: f.u8(13) & 0x0f,
            lbpme: f.flag(14, 0x80),
            lbprz: f.flag(14, 0x40),
            lowest_aligned_lba: f.u16(14) & 0x3fff,
        })
    }

    /// Number of blocks, `None` on overflow.
    pub fn blocks(&self) -> Option<u64> {
        self.last_lba.checked_add(1)
    }

    /// Size of the medium in bytes, `None` on overflow.
    pub fn bytes(&self) -> Option<u64> {
        self.blocks()?.checked_mul(self.block_length.into())
    }

    /// Logical blocks per physical block.
    pub fn blocks_per_physical(&self) -> u32 {
        1 << (self.lbppbe & 0x0f)
    }

    /// Writes the data, truncated to the buffer, and returns the full size. Values wider than
    /// their field are masked.
    pub fn emit(&self, out: &mut [u8]) -> usize {
        let thin = bit(self.lbpme, 0x80) | bit(self.lbprz, 0x40);
        Out::new(out)
            .u64(self.last_lba)
            .u32(self.block_length)
            .u8((self.rc_basis & 0x03) << 4 | (self.p_type & 0x07) << 1 | bit(self.prot_en, 1))
            .u8((self.p_i_exponent & 0x0f) << 4 | self.lbppbe & 0x0f)
            .u16(u16::from(thin) << 8 | self.lowest_aligned_lba & 0x3fff)
            .zeros(16)
            .len()
    }
}

impl From<ReadCapacity16Data> for ReadCapacity10Data {
    /// The short form, with 0xffff_ffff for an address that does not fit.
    fn from(data: ReadCapacity16Data) -> Self {
        Self {
            last_lba: u32::try_from(data.last_lba).unwrap_or(u32::MAX),
            block_length: data.block_length,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sixteen_byte_form_by_hand() {
        let mut data = [0_u8; 32];
        data[..16].copy_from_slice(&[
            0, 0, 0, 1, 0x23, 0x45, 0x67, 0x88, 0, 0, 0x02, 0, 0x25, 0x13, 0xc1, 0x02,
        ]);
        let parsed = ReadCapacity16Data::parse(&data).unwrap();
        let expected = ReadCapacity16Data {
            last_lba: 0x1_2345_6788,
            block_length: 512,
            rc_basis: 2,
            p_type: 2,
            prot_en: true,
            p_i_exponent: 1,
            lbppbe: 3,
            lbpme: true,
            lbprz: true,
            lowest_aligned_lba: 0x102,
        };
        assert_eq!(parsed, expected);
        assert_eq!(parsed.blocks_per_physical(), 8);
        let mut again = [0xee; 32];
        assert_eq!(parsed.emit(&mut again), 32);
        assert_eq!(again, data);
        assert_eq!(ReadCapacity10Data::from(parsed).blocks(), None, "use the long form");
    }

    #[test]
    fn overflow_is_no_capacity() {
        let data = ReadCapacity16Data::parse(&[0xff; 32]).unwrap();
        assert_eq!(data.blocks(), None);
        assert_eq!(data.bytes(), None);
    }

    #[test]
    fn pmi_is_refused() {
        let mut cdb = [0_u8; 10];
        cdb[8] = 1;
        let error = ReadCapacity10::parse(Fields(&cdb));
        assert_eq!(error, Err(CommandError::Field { byte: 8, bit: 0 }));
    }
}
