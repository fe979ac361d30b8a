//! The 32-byte block commands, which carry the expected protection information (SBC).
//!
//! Their CDBs need an extended CDB header segment on iSCSI (RFC 7143 section 11.2.2.3).

use core::num::NonZero;

use crate::bytes::{Fields, bit};
use crate::cdb::{Cdb, CdbWriter, Direction};
use crate::error::CommandError;
use crate::fields::{ByteCheck, GroupNumber, Protect, byte_check, transfer_flags, verify_flags};
use crate::provisioning::write_same_blocks;
use crate::verify::{verify_phase, write_phase};

/// Operation code of all variable length CDBs.
pub const VARIABLE_LENGTH: u8 = 0x7f;

/// The protection information that the device server shall expect, type 2 protection (SBC).
///
/// ```
/// use iscsi_scsi::block32::{ExpectedTags, Read32};
/// let tags = ExpectedTags { reference: 7, application: 0x1234, application_mask: 0xffff };
/// let cdb = Read32 { lba: 7, blocks: 1, tags, ..Default::default() }.cdb();
/// assert_eq!(cdb.as_bytes()[20..28], [0, 0, 0, 7, 0x12, 0x34, 0xff, 0xff]);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExpectedTags {
    /// Expected initial logical block reference tag.
    pub reference: u32,
    /// Expected logical block application tag.
    pub application: u16,
    /// Which bits of the application tag are compared.
    pub application_mask: u16,
}

fn write32(
    action: u16,
    flags: u8,
    lba: u64,
    count: u32,
    group: GroupNumber,
    tags: ExpectedTags,
) -> CdbWriter {
    CdbWriter::new(VARIABLE_LENGTH)
        .zeros::<5>()
        .u8(group.get())
        .u8(24)
        .u16(action)
        .u8(flags)
        .zeros::<1>()
        .u64(lba)
        .u32(tags.reference)
        .u16(tags.application)
        .u16(tags.application_mask)
        .u32(count)
}

fn read32(f: Fields<'_>) -> (u64, u32, GroupNumber, ExpectedTags) {
    let tags =
        ExpectedTags { reference: f.u32(20), application: f.u16(24), application_mask: f.u16(26) };
    (f.u64(12), f.u32(28), GroupNumber::from_bits(f.u8(6)), tags)
}

macro_rules! transfer32 {
    ($(#[$meta:meta])* $name:ident, $action:literal, $direction:ident) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct $name {
            /// First logical block.
            pub lba: u64,
            /// Number of blocks; 0 transfers nothing.
            pub blocks: u32,
            /// Use of protection information.
            pub protect: Protect,
            /// Disable page out.
            pub dpo: bool,
            /// Force unit access.
            pub fua: bool,
            /// Group number.
            pub group: GroupNumber,
            /// Expected protection information.
            pub tags: ExpectedTags,
        }

        impl $name {
            /// Service action of operation code 0x7f.
            pub const SERVICE_ACTION: u16 = $action;

            /// The CDB.
            pub fn cdb(&self) -> Cdb {
                let flags = transfer_flags(self.protect, self.dpo, self.fua);
                write32($action, flags, self.lba, self.blocks, self.group, self.tags)
                    .blocks(Direction::$direction, self.blocks.into())
            }

            pub(crate) fn parse(f: Fields<'_>) -> Result<Self, CommandError> {
                let (lba, blocks, group, tags) = read32(f);
                let protect = Protect::from_bits(f.u8(10) >> 5);
                let (dpo, fua) = (f.flag(10, 0x10), f.flag(10, 0x08));
                Ok(Self { lba, blocks, protect, dpo, fua, group, tags })
            }
        }
    };
}

macro_rules! verify32 {
    ($(#[$meta:meta])* $name:ident, $action:literal, $phase:ident) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct $name {
            /// First logical block.
            pub lba: u64,
            /// Number of blocks; 0 does nothing.
            pub blocks: u32,
            /// What is compared.
            pub check: ByteCheck,
            /// Use of protection information.
            pub protect: Protect,
            /// Disable page out.
            pub dpo: bool,
            /// Group number.
            pub group: GroupNumber,
            /// Expected protection information.
            pub tags: ExpectedTags,
        }

        impl $name {
            /// Service action of operation code 0x7f.
            pub const SERVICE_ACTION: u16 = $action;

            /// The CDB.
            pub fn cdb(&self) -> Cdb {
                let flags = verify_flags(self.protect, self.dpo, self.check);
                let (direction, blocks) = $phase(self.check, self.blocks.into());
                write32($action, flags, self.lba, self.blocks, self.group, self.tags)
                    .blocks(direction, blocks)
            }

            pub(crate) fn parse(f: Fields<'_>) -> Result<Self, CommandError> {
                let (lba, blocks, group, tags) = read32(f);
                let flags = f.u8(10);
                let check = byte_check(flags)
                    .map_err(|_| CommandError::Field { byte: 10, bit: 2 })?;
                let protect = Protect::from_bits(flags >> 5);
                Ok(Self { lba, blocks, check, protect, dpo: f.flag(10, 0x10), group, tags })
            }
        }
    };
}

transfer32! {
    /// READ(32).
    ///
    /// ```
    /// use iscsi_scsi::{Protect, block32::Read32};
    /// let cdb = Read32 { lba: 1, blocks: 2, protect: Protect::CHECK, ..Default::default() }.cdb();
    /// assert_eq!(cdb.as_bytes()[..12], [0x7f, 0, 0, 0, 0, 0, 0, 0x18, 0, 9, 0x20, 0]);
    /// assert_eq!(cdb.as_bytes()[12..20], [0, 0, 0, 0, 0, 0, 0, 1]);
    /// assert_eq!(cdb.as_bytes()[28..], [0, 0, 0, 2]);
    /// ```
    Read32, 0x0009, In
}
transfer32! {
    /// WRITE(32).
    ///
    /// ```
    /// use iscsi_scsi::block32::Write32;
    /// let cdb = Write32 { lba: 1, blocks: 2, fua: true, ..Default::default() }.cdb();
    /// assert_eq!(cdb.as_bytes()[..12], [0x7f, 0, 0, 0, 0, 0, 0, 0x18, 0, 0x0b, 0x08, 0]);
    /// ```
    Write32, 0x000b, Out
}
verify32! {
    /// VERIFY(32).
    ///
    /// ```
    /// use iscsi_scsi::{ByteCheck, block32::Verify32};
    /// let check = ByteCheck::COMPARE;
    /// let cdb = Verify32 { lba: 1, blocks: 2, check, ..Default::default() }.cdb();
    /// assert_eq!(cdb.as_bytes()[7..12], [0x18, 0, 0x0a, 0x02, 0]);
    /// assert_eq!(cdb.expected_bytes(512), 1024);
    /// ```
    Verify32, 0x000a, verify_phase
}
verify32! {
    /// WRITE AND VERIFY(32).
    ///
    /// ```
    /// use iscsi_scsi::block32::WriteAndVerify32;
    /// let cdb = WriteAndVerify32 { lba: 1, blocks: 2, ..Default::default() }.cdb();
    /// assert_eq!(cdb.as_bytes()[7..12], [0x18, 0, 0x0c, 0, 0]);
    /// ```
    WriteAndVerify32, 0x000c, write_phase
}

/// WRITE SAME(32).
///
/// ```
/// use iscsi_scsi::block32::WriteSame32;
/// let cdb = WriteSame32 { lba: 1, unmap: true, ndob: true, ..Default::default() }.cdb();
/// assert_eq!(cdb.as_bytes()[7..12], [0x18, 0, 0x0d, 0x09, 0]);
/// assert_eq!(cdb.expected_bytes(512), 0, "no data-out buffer");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WriteSame32 {
    /// First logical block.
    pub lba: u64,
    /// Number of blocks; `None` means to the end of the medium.
    pub blocks: Option<NonZero<u32>>,
    /// Anchor the blocks if they are unmapped.
    pub anchor: bool,
    /// Unmap instead of write where that reads back the same.
    pub unmap: bool,
    /// No data-out buffer: write zeros.
    pub ndob: bool,
    /// Use of protection information.
    pub protect: Protect,
    /// Group number.
    pub group: GroupNumber,
    /// Expected protection information.
    pub tags: ExpectedTags,
}

impl WriteSame32 {
    /// Service action of operation code 0x7f.
    pub const SERVICE_ACTION: u16 = 0x000d;

    /// The CDB.
    pub fn cdb(&self) -> Cdb {
        let flags = self.protect.code() << 5
            | bit(self.anchor, 0x10)
            | bit(self.unmap, 0x08)
            | bit(self.ndob, 0x01);
        let count = self.blocks.map_or(0, NonZero::get);
        let (direction, blocks) = write_same_blocks(self.ndob);
        write32(Self::SERVICE_ACTION, flags, self.lba, count, self.group, self.tags)
            .blocks(direction, blocks)
    }

    pub(crate) fn parse(f: Fields<'_>) -> Result<Self, CommandError> {
        let (lba, count, group, tags) = read32(f);
        Ok(Self {
            lba,
            blocks: NonZero::new(count),
            anchor: f.flag(10, 0x10),
            unmap: f.flag(10, 0x08),
            ndob: f.flag(10, 0x01),
            protect: Protect::from_bits(f.u8(10) >> 5),
            group,
            tags,
        })
    }
}
