//! VERIFY and WRITE AND VERIFY (SBC).

use crate::bytes::Fields;
use crate::cdb::{Cdb, Direction};
use crate::error::CommandError;
use crate::fields::{
    ByteCheck, GroupNumber, Protect, byte_check, layout10, layout12, layout16, verify_flags,
};

macro_rules! verify {
    (
        $(#[$meta:meta])*
        $name:ident, $opcode:literal, $layout:ident, $lba:ty, $count:ty, $phase:ident
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct $name {
            /// First logical block.
            pub lba: $lba,
            /// Number of blocks; 0 does nothing.
            pub blocks: $count,
            /// What is compared.
            pub check: ByteCheck,
            /// Use of protection information.
            pub protect: Protect,
            /// Disable page out.
            pub dpo: bool,
            /// Group number.
            pub group: GroupNumber,
        }

        impl $name {
            /// Operation code.
            pub const OPCODE: u8 = $opcode;

            /// The CDB.
            pub fn cdb(&self) -> Cdb {
                let flags = verify_flags(self.protect, self.dpo, self.check);
                let (direction, blocks) = $phase(self.check, self.blocks.into());
                $layout::write($opcode, flags, self.lba, self.blocks, self.group)
                    .blocks(direction, blocks)
            }

            pub(crate) fn parse(f: Fields<'_>) -> Result<Self, CommandError> {
                let (lba, blocks, group) = $layout::read(f);
                let flags = f.u8(1);
                Ok(Self {
                    lba,
                    blocks,
                    check: byte_check(flags)?,
                    protect: Protect::from_bits(flags >> 5),
                    dpo: f.flag(1, 0x10),
                    group,
                })
            }
        }
    };
}

pub(crate) fn verify_phase(check: ByteCheck, blocks: u64) -> (Direction, u64) {
    match check {
        ByteCheck::COMPARE => (Direction::Out, blocks),
        ByteCheck::COMPARE_ONE_BLOCK if blocks != 0 => (Direction::Out, 1),
        _ => (Direction::None, 0),
    }
}

pub(crate) fn write_phase(_: ByteCheck, blocks: u64) -> (Direction, u64) {
    (Direction::Out, blocks)
}

verify! {
    /// VERIFY(10).
    ///
    /// ```
    /// use iscsi_scsi::{ByteCheck, Direction, verify::Verify10};
    /// let mut verify = Verify10 { lba: 1, blocks: 2, ..Default::default() };
    /// assert_eq!(verify.cdb().direction(), Direction::None);
    /// verify.check = ByteCheck::COMPARE;
    /// assert_eq!(verify.cdb().as_bytes(), [0x2f, 0x02, 0, 0, 0, 1, 0, 0, 2, 0]);
    /// assert_eq!(verify.cdb().expected_bytes(512), 1024);
    /// ```
    Verify10, 0x2f, layout10, u32, u16, verify_phase
}
verify! {
    /// VERIFY(12).
    ///
    /// ```
    /// use iscsi_scsi::verify::Verify12;
    /// let cdb = Verify12 { lba: 1, blocks: 2, ..Default::default() }.cdb();
    /// assert_eq!(cdb.as_bytes(), [0xaf, 0, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0]);
    /// ```
    Verify12, 0xaf, layout12, u32, u32, verify_phase
}
verify! {
    /// VERIFY(16).
    ///
    /// ```
    /// use iscsi_scsi::{ByteCheck, verify::Verify16};
    /// let check = ByteCheck::COMPARE_ONE_BLOCK;
    /// let cdb = Verify16 { lba: 1, blocks: 2, check, ..Default::default() }.cdb();
    /// assert_eq!(cdb.as_bytes(), [0x8f, 0x06, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0]);
    /// assert_eq!(cdb.expected_bytes(512), 512);
    /// ```
    Verify16, 0x8f, layout16, u64, u32, verify_phase
}
verify! {
    /// WRITE AND VERIFY(10).
    ///
    /// ```
    /// use iscsi_scsi::verify::WriteAndVerify10;
    /// let cdb = WriteAndVerify10 { lba: 1, blocks: 2, dpo: true, ..Default::default() }.cdb();
    /// assert_eq!(cdb.as_bytes(), [0x2e, 0x10, 0, 0, 0, 1, 0, 0, 2, 0]);
    /// assert_eq!(cdb.expected_bytes(512), 1024);
    /// ```
    WriteAndVerify10, 0x2e, layout10, u32, u16, write_phase
}
verify! {
    /// WRITE AND VERIFY(12).
    ///
    /// ```
    /// use iscsi_scsi::verify::WriteAndVerify12;
    /// let cdb = WriteAndVerify12 { lba: 1, blocks: 2, ..Default::default() }.cdb();
    /// assert_eq!(cdb.as_bytes(), [0xae, 0, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0]);
    /// ```
    WriteAndVerify12, 0xae, layout12, u32, u32, write_phase
}
verify! {
    /// WRITE AND VERIFY(16).
    ///
    /// ```
    /// use iscsi_scsi::verify::WriteAndVerify16;
    /// let cdb = WriteAndVerify16 { lba: 1, blocks: 2, ..Default::default() }.cdb();
    /// assert_eq!(cdb.as_bytes(), [0x8e, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0]);
    /// ```
    WriteAndVerify16, 0x8e, layout16, u64, u32, write_phase
}
