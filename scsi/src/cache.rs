//! SYNCHRONIZE CACHE and PRE-FETCH (SBC).
//!
//! A count of 0 in these CDBs means "to the end of the medium", which is `None` here.

use core::num::NonZero;

use crate::bytes::{Fields, bit};
use crate::cdb::Cdb;
use crate::error::CommandError;
use crate::fields::{GroupNumber, layout10, layout16};

macro_rules! ranged {
    ($(#[$meta:meta])* $name:ident, $opcode:literal, $layout:ident, $lba:ty, $count:ty) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct $name {
            /// First logical block.
            pub lba: $lba,
            /// Number of blocks; `None` means to the end of the medium.
            pub blocks: Option<NonZero<$count>>,
            /// Return status at once, do not wait for the operation to end.
            pub immediate: bool,
            /// Group number.
            pub group: GroupNumber,
        }

        impl $name {
            /// Operation code.
            pub const OPCODE: u8 = $opcode;

            /// The CDB.
            pub fn cdb(&self) -> Cdb {
                let count = self.blocks.map_or(0, NonZero::get);
                $layout::write($opcode, bit(self.immediate, 0x02), self.lba, count, self.group)
                    .no_data()
            }

            pub(crate) fn parse(f: Fields<'_>) -> Result<Self, CommandError> {
                let (lba, count, group) = $layout::read(f);
                Ok(Self { lba, blocks: NonZero::new(count), immediate: f.flag(1, 0x02), group })
            }
        }
    };
}

ranged! {
    /// SYNCHRONIZE CACHE(10). The default is the whole medium.
    ///
    /// ```
    /// use iscsi_scsi::cache::SynchronizeCache10;
    /// let cdb = SynchronizeCache10::default().cdb();
    /// assert_eq!(cdb.as_bytes(), [0x35, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    /// ```
    SynchronizeCache10, 0x35, layout10, u32, u16
}
ranged! {
    /// SYNCHRONIZE CACHE(16). The default is the whole medium.
    ///
    /// ```
    /// use core::num::NonZero;
    /// use iscsi_scsi::cache::SynchronizeCache16;
    /// let blocks = NonZero::new(9);
    /// let cdb = SynchronizeCache16 {
    ///     lba: 8, blocks, immediate: true, ..Default::default()
    /// }.cdb();
    /// assert_eq!(cdb.as_bytes(), [0x91, 0x02, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 9, 0, 0]);
    /// ```
    SynchronizeCache16, 0x91, layout16, u64, u32
}
ranged! {
    /// PRE-FETCH(10). CONDITION MET says that all blocks fit the cache.
    ///
    /// ```
    /// use core::num::NonZero;
    /// use iscsi_scsi::cache::PreFetch10;
    /// let cdb = PreFetch10 { lba: 1, blocks: NonZero::new(2), ..Default::default() }.cdb();
    /// assert_eq!(cdb.as_bytes(), [0x34, 0, 0, 0, 0, 1, 0, 0, 2, 0]);
    /// ```
    PreFetch10, 0x34, layout10, u32, u16
}
ranged! {
    /// PRE-FETCH(16). CONDITION MET says that all blocks fit the cache.
    ///
    /// ```
    /// use iscsi_scsi::cache::PreFetch16;
    /// let cdb = PreFetch16 { lba: 1, immediate: true, ..Default::default() }.cdb();
    /// assert_eq!(cdb.as_bytes(), [0x90, 0x02, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    /// ```
    PreFetch16, 0x90, layout16, u64, u32
}
