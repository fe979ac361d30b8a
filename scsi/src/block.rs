//! READ, WRITE, ORWRITE, WRITE ATOMIC and COMPARE AND WRITE (SBC).
//!
//! In the 10, 12 and 16 byte commands a block count of 0 transfers nothing and is not an error. In
//! READ(6) and WRITE(6) the code 0 means 256 blocks, so [`Read6::blocks`] counts from 1 to 256 and
//! 0 is refused.

use crate::bytes::Fields;
use crate::cdb::{Cdb, CdbWriter, Direction};
use crate::error::{CdbError, CommandError};
use crate::fields::{GroupNumber, Protect, layout10, layout12, layout16, transfer_flags};

macro_rules! transfer {
    (
        $(#[$meta:meta])*
        $name:ident, $opcode:literal, $layout:ident, $lba:ty, $count:ty, $direction:ident
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct $name {
            /// First logical block.
            pub lba: $lba,
            /// Number of blocks; 0 transfers nothing.
            pub blocks: $count,
            /// Use of protection information.
            pub protect: Protect,
            /// Disable page out: the blocks need not stay in the cache.
            pub dpo: bool,
            /// Force unit access: go to the medium, not to a volatile cache.
            pub fua: bool,
            /// Group number.
            pub group: GroupNumber,
        }

        impl $name {
            /// Operation code.
            pub const OPCODE: u8 = $opcode;

            /// The CDB.
            pub fn cdb(&self) -> Cdb {
                let flags = transfer_flags(self.protect, self.dpo, self.fua);
                $layout::write($opcode, flags, self.lba, self.blocks, self.group)
                    .blocks(Direction::$direction, self.blocks.into())
            }

            pub(crate) fn parse(f: Fields<'_>) -> Result<Self, CommandError> {
                let (lba, blocks, group) = $layout::read(f);
                let protect = Protect::from_bits(f.u8(1) >> 5);
                Ok(Self { lba, blocks, protect, dpo: f.flag(1, 0x10), fua: f.flag(1, 0x08), group })
            }
        }
    };
}

transfer! {
    /// READ(10).
    ///
    /// ```
    /// use iscsi_scsi::block::Read10;
    /// let cdb = Read10 {
    ///     lba: 0x0102_0304, blocks: 0x0506, fua: true, ..Default::default()
    /// }.cdb();
    /// assert_eq!(cdb.as_bytes(), [0x28, 0x08, 1, 2, 3, 4, 0, 5, 6, 0]);
    /// assert_eq!(cdb.expected_bytes(512), 0x0506 * 512);
    /// ```
    Read10, 0x28, layout10, u32, u16, In
}
transfer! {
    /// READ(12).
    ///
    /// ```
    /// use iscsi_scsi::block::Read12;
    /// let cdb = Read12 { lba: 1, blocks: 2, ..Default::default() }.cdb();
    /// assert_eq!(cdb.as_bytes(), [0xa8, 0, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0]);
    /// ```
    Read12, 0xa8, layout12, u32, u32, In
}
transfer! {
    /// READ(16).
    ///
    /// ```
    /// use iscsi_scsi::block::Read16;
    /// let cdb = Read16 {
    ///     lba: 0x0102_0304_0506_0708, blocks: 9, dpo: true, ..Default::default()
    /// }.cdb();
    /// assert_eq!(cdb.as_bytes(), [0x88, 0x10, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 9, 0, 0]);
    /// ```
    Read16, 0x88, layout16, u64, u32, In
}
transfer! {
    /// WRITE(10).
    ///
    /// ```
    /// use iscsi_scsi::{Direction, block::Write10};
    /// let cdb = Write10 { lba: 1, blocks: 2, ..Default::default() }.cdb();
    /// assert_eq!(cdb.as_bytes(), [0x2a, 0, 0, 0, 0, 1, 0, 0, 2, 0]);
    /// assert_eq!(cdb.direction(), Direction::Out);
    /// ```
    Write10, 0x2a, layout10, u32, u16, Out
}
transfer! {
    /// WRITE(12).
    ///
    /// ```
    /// use iscsi_scsi::block::Write12;
    /// let cdb = Write12 { lba: 1, blocks: 2, ..Default::default() }.cdb();
    /// assert_eq!(cdb.as_bytes(), [0xaa, 0, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0]);
    /// ```
    Write12, 0xaa, layout12, u32, u32, Out
}
transfer! {
    /// WRITE(16).
    ///
    /// ```
    /// use iscsi_scsi::{Protect, block::Write16};
    /// let cdb = Write16 {
    ///     lba: 1, blocks: 2, protect: Protect::CHECK, ..Default::default()
    /// }.cdb();
    /// assert_eq!(cdb.as_bytes(), [0x8a, 0x20, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0]);
    /// ```
    Write16, 0x8a, layout16, u64, u32, Out
}
transfer! {
    /// ORWRITE(16): ors the data into the blocks.
    ///
    /// ```
    /// use iscsi_scsi::block::OrWrite16;
    /// let cdb = OrWrite16 { lba: 1, blocks: 2, ..Default::default() }.cdb();
    /// assert_eq!(cdb.as_bytes(), [0x8b, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0]);
    /// ```
    OrWrite16, 0x8b, layout16, u64, u32, Out
}

macro_rules! transfer6 {
    ($(#[$meta:meta])* $name:ident, $opcode:literal, $direction:ident) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct $name {
            /// First logical block, at most [`LBA_MAX_6`].
            pub lba: u32,
            /// Number of blocks, 1 to 256.
            pub blocks: u16,
        }

        impl $name {
            /// Operation code.
            pub const OPCODE: u8 = $opcode;

            /// The CDB.
            ///
            /// # Errors
            /// [`CdbError::LbaTooLarge`] and [`CdbError::BlockCount`].
            pub fn cdb(&self) -> Result<Cdb, CdbError> {
                let code = code6(self.lba, self.blocks)?;
                Ok(CdbWriter::new($opcode)
                    .u24(self.lba)
                    .u8(code)
                    .zeros::<1>()
                    .blocks(Direction::$direction, self.blocks.into()))
            }

            pub(crate) fn parse(f: Fields<'_>) -> Result<Self, CommandError> {
                let blocks = match f.u8(4) {
                    0 => 256,
                    blocks => u16::from(blocks),
                };
                Ok(Self { lba: f.u24(1) & LBA_MAX_6, blocks })
            }
        }
    };
}

/// The largest logical block address of READ(6) and WRITE(6): 21 bits.
pub const LBA_MAX_6: u32 = 0x1f_ffff;

transfer6! {
    /// READ(6).
    ///
    /// ```
    /// use iscsi_scsi::block::Read6;
    /// let cdb = Read6 { lba: 0x1f_0203, blocks: 256 }.cdb()?;
    /// assert_eq!(cdb.as_bytes(), [0x08, 0x1f, 2, 3, 0, 0]);
    /// # Ok::<(), iscsi_scsi::CdbError>(())
    /// ```
    Read6, 0x08, In
}
transfer6! {
    /// WRITE(6).
    ///
    /// ```
    /// use iscsi_scsi::block::Write6;
    /// let cdb = Write6 { lba: 1, blocks: 255 }.cdb()?;
    /// assert_eq!(cdb.as_bytes(), [0x0a, 0, 0, 1, 255, 0]);
    /// assert!(Write6 { lba: 1, blocks: 0 }.cdb().is_err());
    /// # Ok::<(), iscsi_scsi::CdbError>(())
    /// ```
    Write6, 0x0a, Out
}

fn code6(lba: u32, blocks: u16) -> Result<u8, CdbError> {
    if lba > LBA_MAX_6 {
        return Err(CdbError::LbaTooLarge { lba: lba.into(), max: LBA_MAX_6.into() });
    }
    match blocks {
        0 | 257.. => Err(CdbError::BlockCount { blocks: blocks.into(), max: 256 }),
        256 => Ok(0),
        blocks => Ok(u8::try_from(blocks).unwrap_or(0)),
    }
}

/// WRITE ATOMIC(16): all of the blocks are written or none.
///
/// ```
/// use iscsi_scsi::block::WriteAtomic16;
/// let cdb = WriteAtomic16 { lba: 1, blocks: 8, boundary: 4, ..Default::default() }.cdb();
/// assert_eq!(cdb.as_bytes(), [0x9c, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 4, 0, 8, 0, 0]);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WriteAtomic16 {
    /// First logical block.
    pub lba: u64,
    /// Number of blocks; 0 transfers nothing.
    pub blocks: u16,
    /// Blocks between boundaries that one atomic write must not cross by itself; 0 for none.
    pub boundary: u16,
    /// Use of protection information.
    pub protect: Protect,
    /// Disable page out.
    pub dpo: bool,
    /// Force unit access.
    pub fua: bool,
    /// Group number.
    pub group: GroupNumber,
}

impl WriteAtomic16 {
    /// Operation code.
    pub const OPCODE: u8 = 0x9c;

    /// The CDB.
    pub fn cdb(&self) -> Cdb {
        CdbWriter::new(Self::OPCODE)
            .u8(transfer_flags(self.protect, self.dpo, self.fua))
            .u64(self.lba)
            .u16(self.boundary)
            .u16(self.blocks)
            .u8(self.group.get())
            .zeros::<1>()
            .blocks(Direction::Out, self.blocks.into())
    }

    pub(crate) fn parse(f: Fields<'_>) -> Result<Self, CommandError> {
        Ok(Self {
            lba: f.u64(2),
            blocks: f.u16(12),
            boundary: f.u16(10),
            protect: Protect::from_bits(f.u8(1) >> 5),
            dpo: f.flag(1, 0x10),
            fua: f.flag(1, 0x08),
            group: GroupNumber::from_bits(f.u8(14)),
        })
    }
}

/// COMPARE AND WRITE: the data-out holds `blocks` to compare, then `blocks` to write.
///
/// ```
/// use iscsi_scsi::block::CompareAndWrite;
/// let cdb = CompareAndWrite { lba: 1, blocks: 3, ..Default::default() }.cdb();
/// assert_eq!(cdb.as_bytes(), [0x89, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 3, 0, 0]);
/// assert_eq!(cdb.expected_bytes(512), 6 * 512);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CompareAndWrite {
    /// First logical block.
    pub lba: u64,
    /// Number of blocks compared and written; 0 does nothing.
    pub blocks: u8,
    /// Use of protection information.
    pub protect: Protect,
    /// Disable page out.
    pub dpo: bool,
    /// Force unit access.
    pub fua: bool,
    /// Group number.
    pub group: GroupNumber,
}

impl CompareAndWrite {
    /// Operation code.
    pub const OPCODE: u8 = 0x89;

    /// The CDB.
    pub fn cdb(&self) -> Cdb {
        CdbWriter::new(Self::OPCODE)
            .u8(transfer_flags(self.protect, self.dpo, self.fua))
            .u64(self.lba)
            .zeros::<3>()
            .u8(self.blocks)
            .u8(self.group.get())
            .zeros::<1>()
            .blocks(Direction::Out, u64::from(self.blocks) * 2)
    }

    pub(crate) fn parse(f: Fields<'_>) -> Result<Self, CommandError> {
        Ok(Self {
            lba: f.u64(2),
            blocks: f.u8(13),
            protect: Protect::from_bits(f.u8(1) >> 5),
            dpo: f.flag(1, 0x10),
            fua: f.flag(1, 0x08),
            group: GroupNumber::from_bits(f.u8(14)),
        })
    }
}
