//! CDBs parsed back: what a device server does first with a command.

use core::num::NonZero;

use crate::alua::{ReportTargetPortGroups, SetTargetPortGroups};
use crate::block::*;
use crate::block32::*;
use crate::bytes::Fields;
use crate::cache::*;
use crate::capacity::{ReadCapacity10, ReadCapacity16};
use crate::cdb::{Cdb, cdb_length};
use crate::error::{CdbError, CommandError};
use crate::fields::Protect;
use crate::mode::{ModeSelect6, ModeSelect10, ModeSense6, ModeSense10};
use crate::opcodes::{ReportSupportedOpcodes, ReportSupportedTmfs};
use crate::primary::*;
use crate::provisioning::{GetLbaStatus, Unmap, WriteSame10, WriteSame16};
use crate::report_luns::ReportLuns;
use crate::reservation::{
    PersistentReserveIn, PersistentReserveOut, Release6, Release10, Reserve6, Reserve10,
};
use crate::verify::*;

macro_rules! commands {
    (
        fallible { $($fallible:ident,)* }
        plain { $($opcode_only:ident,)* }
        actions { $($with_action:ident,)* }
        long { $($long:ident,)* }
    ) => {
        /// A command that this crate can parse.
        ///
        /// ```
        /// use iscsi_scsi::{Command, block::Read10};
        /// let cdb = [0x28, 0, 0, 0, 0, 8, 0, 0, 2, 0];
        /// let command = Command::parse(&cdb)?;
        /// let read = Read10 { lba: 8, blocks: 2, ..Default::default() };
        /// assert_eq!(command, Command::Read10(read));
        /// # Ok::<(), iscsi_scsi::CommandError>(())
        /// ```
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[non_exhaustive]
        pub enum Command {
            /// TEST UNIT READY.
            TestUnitReady(TestUnitReady),
            $(
                #[doc = concat!("See [`", stringify!($fallible), "`].")]
                $fallible($fallible),
            )*
            $(
                #[doc = concat!("See [`", stringify!($opcode_only), "`].")]
                $opcode_only($opcode_only),
            )*
            $(
                #[doc = concat!("See [`", stringify!($with_action), "`].")]
                $with_action($with_action),
            )*
            $(
                #[doc = concat!("See [`", stringify!($long), "`].")]
                $long($long),
            )*
        }

        impl Command {
            fn parse_fields(f: Fields<'_>) -> Result<Self, CommandError> {
                match (f.u8(0), f.u8(1) & 0x1f) {
                    (TestUnitReady::OPCODE, _) => Ok(Self::TestUnitReady(TestUnitReady)),
                    $(($fallible::OPCODE, _) => $fallible::parse(f).map(Self::$fallible),)*
                    $(($opcode_only::OPCODE, _) => $opcode_only::parse(f).map(Self::$opcode_only),)*
                    $(($with_action::OPCODE, $with_action::SERVICE_ACTION) => {
                        $with_action::parse(f).map(Self::$with_action)
                    })*
                    (opcode @ (0x9e | 0x9f | 0xa3 | 0xa4), action) => {
                        Err(CommandError::ServiceAction { opcode, service_action: action.into() })
                    }
                    (opcode, _) => Err(CommandError::Opcode { opcode }),
                }
            }

            fn parse_long(f: Fields<'_>) -> Result<Self, CommandError> {
                match f.u16(8) {
                    $($long::SERVICE_ACTION => $long::parse(f).map(Self::$long),)*
                    service_action => {
                        Err(CommandError::ServiceAction { opcode: VARIABLE_LENGTH, service_action })
                    }
                }
            }

            /// The CDB of this command.
            ///
            /// # Errors
            /// The errors of READ(6) and WRITE(6), which a parsed command cannot have.
            pub fn cdb(&self) -> Result<Cdb, CdbError> {
                match self {
                    Self::TestUnitReady(command) => Ok(command.cdb()),
                    $(Self::$fallible(command) => command.cdb(),)*
                    $(Self::$opcode_only(command) => Ok(command.cdb()),)*
                    $(Self::$with_action(command) => Ok(command.cdb()),)*
                    $(Self::$long(command) => Ok(command.cdb()),)*
                }
            }
        }

        $(impl From<$opcode_only> for Command {
            fn from(command: $opcode_only) -> Self {
                Self::$opcode_only(command)
            }
        })*
        $(impl From<$with_action> for Command {
            fn from(command: $with_action) -> Self {
                Self::$with_action(command)
            }
        })*
        $(impl From<$long> for Command {
            fn from(command: $long) -> Self {
                Self::$long(command)
            }
        })*
    };
}

commands! {
    fallible { Read6, Write6, }
    plain {
        Read10, Read12, Read16, Write10, Write12, Write16,
        OrWrite16, WriteAtomic16, CompareAndWrite,
        Verify10, Verify12, Verify16, WriteAndVerify10, WriteAndVerify12, WriteAndVerify16,
        SynchronizeCache10, SynchronizeCache16, PreFetch10, PreFetch16,
        Unmap, WriteSame10, WriteSame16, ReadCapacity10, ReportLuns,
        RequestSense, Inquiry, StartStopUnit, PreventAllowMediumRemoval,
        ModeSense6, ModeSense10, ModeSelect6, ModeSelect10,
        PersistentReserveIn, PersistentReserveOut, Reserve6, Reserve10, Release6, Release10,
    }
    actions {
        ReadCapacity16, GetLbaStatus, ReportSupportedOpcodes, ReportSupportedTmfs,
        ReportTargetPortGroups, SetTargetPortGroups,
    }
    long { Read32, Write32, Verify32, WriteAndVerify32, WriteSame32, }
}

impl Command {
    /// Parses a CDB. Bytes after its end, such as the padding of the 16-byte field of iSCSI, are
    /// ignored.
    ///
    /// # Errors
    /// [`CommandError`], which has the sense data to answer with.
    pub fn parse(cdb: &[u8]) -> Result<Self, CommandError> {
        let got = cdb.len();
        let Some(&opcode) = cdb.first() else {
            return Err(CommandError::Short { needed: 1, got });
        };
        let needed = match cdb_length(opcode) {
            Some(length) => length,
            None if opcode == VARIABLE_LENGTH => 32,
            None => return Err(CommandError::Opcode { opcode }),
        };
        let Some(cdb) = cdb.get(..needed) else {
            return Err(CommandError::Short { needed, got });
        };
        let f = Fields(cdb);
        if opcode != VARIABLE_LENGTH {
            return Self::parse_fields(f);
        }
        if f.u8(7) != 24 {
            return Err(CommandError::Field { byte: 7, bit: 7 });
        }
        Self::parse_long(f)
    }

    /// What the command does to the blocks of the medium, in one form for all sizes. `None` for a
    /// command that names no range.
    pub fn block_range(&self) -> Option<BlockRange> {
        use BlockAction as Act;
        macro_rules! counted {
            ($command:expr, $action:expr) => {
                BlockRange {
                    action: $action,
                    lba: $command.lba.into(),
                    blocks: Some($command.blocks.into()),
                    protect: Protect::NONE,
                    fua: false,
                }
            };
        }
        macro_rules! transfer {
            ($command:expr, $action:expr) => {
                BlockRange {
                    protect: $command.protect,
                    fua: $command.fua,
                    ..counted!($command, $action)
                }
            };
        }
        macro_rules! verify {
            ($command:expr, $action:expr) => {
                BlockRange { protect: $command.protect, ..counted!($command, $action) }
            };
        }
        macro_rules! open {
            ($command:expr, $action:expr) => {
                BlockRange {
                    action: $action,
                    lba: $command.lba.into(),
                    blocks: $command.blocks.map(|blocks| NonZero::get(blocks).into()),
                    protect: Protect::NONE,
                    fua: false,
                }
            };
        }
        macro_rules! same {
            ($command:expr) => {
                BlockRange { protect: $command.protect, ..open!($command, Act::WriteSame) }
            };
        }
        Some(match self {
            Self::Read6(c) => counted!(c, Act::Read),
            Self::Read10(c) => transfer!(c, Act::Read),
            Self::Read12(c) => transfer!(c, Act::Read),
            Self::Read16(c) => transfer!(c, Act::Read),
            Self::Read32(c) => transfer!(c, Act::Read),
            Self::Write6(c) => counted!(c, Act::Write),
            Self::Write10(c) => transfer!(c, Act::Write),
            Self::Write12(c) => transfer!(c, Act::Write),
            Self::Write16(c) => transfer!(c, Act::Write),
            Self::Write32(c) => transfer!(c, Act::Write),
            Self::WriteAtomic16(c) => transfer!(c, Act::WriteAtomic),
            Self::OrWrite16(c) => transfer!(c, Act::OrWrite),
            Self::CompareAndWrite(c) => transfer!(c, Act::CompareAndWrite),
            Self::WriteAndVerify10(c) => verify!(c, Act::WriteAndVerify),
            Self::WriteAndVerify12(c) => verify!(c, Act::WriteAndVerify),
            Self::WriteAndVerify16(c) => verify!(c, Act::WriteAndVerify),
            Self::WriteAndVerify32(c) => verify!(c, Act::WriteAndVerify),
            Self::Verify10(c) => verify!(c, Act::Verify),
            Self::Verify12(c) => verify!(c, Act::Verify),
            Self::Verify16(c) => verify!(c, Act::Verify),
            Self::Verify32(c) => verify!(c, Act::Verify),
            Self::SynchronizeCache10(c) => open!(c, Act::Synchronize),
            Self::SynchronizeCache16(c) => open!(c, Act::Synchronize),
            Self::PreFetch10(c) => open!(c, Act::PreFetch),
            Self::PreFetch16(c) => open!(c, Act::PreFetch),
            Self::WriteSame10(c) => same!(c),
            Self::WriteSame16(c) => same!(c),
            Self::WriteSame32(c) => same!(c),
            _ => return None,
        })
    }
}

/// What a command does to a range of blocks.
///
/// ```
/// use iscsi_scsi::command::BlockAction;
/// assert!(BlockAction::WriteSame.writes());
/// assert!(!BlockAction::Verify.writes());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BlockAction {
    /// READ.
    Read,
    /// WRITE.
    Write,
    /// WRITE ATOMIC.
    WriteAtomic,
    /// ORWRITE.
    OrWrite,
    /// WRITE AND VERIFY.
    WriteAndVerify,
    /// COMPARE AND WRITE.
    CompareAndWrite,
    /// WRITE SAME.
    WriteSame,
    /// VERIFY.
    Verify,
    /// SYNCHRONIZE CACHE.
    Synchronize,
    /// PRE-FETCH.
    PreFetch,
}

impl BlockAction {
    /// Whether the medium changes.
    pub const fn writes(self) -> bool {
        !matches!(self, Self::Read | Self::Verify | Self::Synchronize | Self::PreFetch)
    }
}

/// The range of blocks that a command names.
///
/// ```
/// use iscsi_scsi::{Command, command::BlockAction};
/// let flush = Command::parse(&[0x35, 0, 0, 0, 0, 16, 0, 0, 0, 0])?.block_range().unwrap();
/// assert_eq!(flush.action, BlockAction::Synchronize);
/// assert_eq!(flush.resolve(100), Some(16..100), "to the end");
///
/// let read = Command::parse(&[0x28, 0, 0, 0, 0, 99, 0, 0, 2, 0])?.block_range().unwrap();
/// assert_eq!(read.resolve(100), None, "beyond the end");
/// # Ok::<(), iscsi_scsi::CommandError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockRange {
    /// What happens to the blocks.
    pub action: BlockAction,
    /// First logical block.
    pub lba: u64,
    /// Number of blocks; `None` means to the end of the medium.
    pub blocks: Option<u32>,
    /// Use of protection information.
    pub protect: Protect,
    /// Force unit access.
    pub fua: bool,
}

impl BlockRange {
    /// The range on a medium of `capacity` blocks, or `None` if it is not within: LOGICAL BLOCK
    /// ADDRESS OUT OF RANGE. An empty range may start at the end of the medium.
    pub fn resolve(&self, capacity: u64) -> Option<core::ops::Range<u64>> {
        let end = match self.blocks {
            Some(blocks) => self.lba.checked_add(blocks.into())?,
            None => capacity,
        };
        (self.lba <= end && end <= capacity).then_some(self.lba..end)
    }
}
