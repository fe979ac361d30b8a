//! Disks: where the blocks of a logical unit are.

mod null;
mod ram;

#[cfg(feature = "std")]
mod file;

#[cfg(feature = "std")]
pub use file::{FileDisk, FileDiskError};
pub use null::NullDisk;
pub use ram::{RamDisk, SizeError};

use core::fmt;

/// A store of bytes that a logical unit serves.
///
/// Offsets and lengths are in bytes. The engine has checked them against [`blocks`](Self::blocks) before it calls.
/// Commands cover
/// whole blocks, but the initiator may cut their data anywhere, and so a call may begin and end within a block.
///
/// A disk in memory lends it: [`lend`](Self::lend) and [`lend_mut`](Self::lend_mut) let the engine send from it and
/// receive into
/// it without a copy. What was lent for a read may be changed by a write that runs at the same time; the reader then gets a
/// mixture of old and new, as from any disk.
///
/// ```
/// use iscsi_target::{Disk, DiskError};
///
/// /// Every byte is its offset.
/// struct Counting;
///
/// impl Disk for Counting {
///     fn block_size(&self) -> u32 { 512 }
///     fn blocks(&self) -> u64 { 8 }
///     fn is_read_only(&self) -> bool { true }
///     fn read(&mut self, at: u64, into: &mut [u8]) -> Result<(), DiskError> {
///         for (byte, n) in into.iter_mut().zip(at..) {
///             *byte = n as u8;
///         }
///         Ok(())
///     }
///     fn write(&mut self, _at: u64, _data: &[u8]) -> Result<(), DiskError> {
///         Err(DiskError::Write)
///     }
/// }
/// let mut two = [0; 2];
/// Counting.read(513, &mut two).unwrap();
/// assert_eq!(two, [1, 2]);
/// assert!(Counting.lend(0, 512).is_none());
/// ```
pub trait Disk {
    /// Bytes in a block: a power of two, 512 to 65536.
    fn block_size(&self) -> u32;

    /// How many blocks there are, at least 1.
    fn blocks(&self) -> u64;

    /// Whether writes are refused (the engine then does not ask).
    fn is_read_only(&self) -> bool {
        false
    }

    /// Whether blocks can be given back with [`unmap`](Self::unmap) and then read as zeros.
    fn is_thin(&self) -> bool {
        false
    }

    /// Shows the bytes at `at`: 1 to `max` of them, or `None` if the disk is not in memory.
    fn lend(&self, at: u64, max: usize) -> Option<&[u8]> {
        let _ = (at, max);
        None
    }

    /// Whether memory that is [lent](Self::lend) holds the same bytes for ever, whatever is written: then the engine sends from it even what has a
    /// digest, or may be asked for a second time, and remembers checksums by the place in memory.
    fn is_constant(&self) -> bool {
        false
    }

    /// Whether what is written is forgotten, and [`write`](Self::write) always well: then large writes need not even be read from the network.
    fn is_forgetful(&self) -> bool {
        false
    }

    /// The place of the bytes at `at`, to be overwritten: 1 to `max` of them, or `None` if the disk is not in memory.
    fn lend_mut(&mut self, at: u64, max: usize) -> Option<&mut [u8]> {
        let _ = (at, max);
        None
    }

    /// Copies bytes out.
    ///
    /// # Errors
    /// [`DiskError`], reported to the initiator as sense data.
    fn read(&mut self, at: u64, into: &mut [u8]) -> Result<(), DiskError>;

    /// Copies bytes in.
    ///
    /// # Errors
    /// [`DiskError`], reported to the initiator as sense data.
    fn write(&mut self, at: u64, data: &[u8]) -> Result<(), DiskError>;

    /// Makes everything written so far survive a loss of power.
    ///
    /// # Errors
    /// [`DiskError`], reported to the initiator as sense data.
    fn flush(&mut self) -> Result<(), DiskError> {
        Ok(())
    }

    /// Gives back whole blocks: they read as zeros from now on. Called only if the disk [is thin](Self::is_thin).
    ///
    /// # Errors
    /// [`DiskError`], reported to the initiator as sense data.
    fn unmap(&mut self, at: u64, len: u64) -> Result<(), DiskError> {
        zero(self, at, len)
    }

    /// Whether the block at `at` is mapped, and for how many bytes from there at most that holds: at least one block.
    /// Called only
    /// if the disk [is thin](Self::is_thin).
    fn extent(&mut self, at: u64) -> Extent {
        Extent {
            len: self.blocks().saturating_mul(self.block_size().into()).saturating_sub(at),
            mapped: true,
        }
    }
}

/// Writes zeros.
pub(crate) fn zero<D: Disk + ?Sized>(
    disk: &mut D,
    mut at: u64,
    mut len: u64,
) -> Result<(), DiskError> {
    const ZEROS: &[u8] = &[0; 4096];
    while len > 0 {
        let n = len.min(ZEROS.len() as u64);
        disk.write(at, ZEROS.get(..n as usize).unwrap_or(ZEROS))?;
        at += n;
        len -= n;
    }
    Ok(())
}

/// Blocks of the same provisioning status (SBC GET LBA STATUS).
///
/// ```
/// use iscsi_target::Extent;
/// assert!(Extent { len: 512, mapped: true }.mapped);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// Bytes, a multiple of the block size, at least one block.
    pub len: u64,
    /// Whether the blocks hold data; if not, they read as zeros.
    pub mapped: bool,
}

/// Why a disk failed.
///
/// ```
/// use iscsi_target::DiskError;
/// assert_eq!(DiskError::Read.to_string(), "the disk cannot be read");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum DiskError {
    /// The bytes cannot be read: MEDIUM ERROR, UNRECOVERED READ ERROR.
    Read,
    /// The bytes cannot be written: MEDIUM ERROR, WRITE ERROR.
    Write,
    /// There is no room for more data: DATA PROTECT, SPACE ALLOCATION FAILED.
    NoSpace,
    /// The disk does not work at all: HARDWARE ERROR, INTERNAL TARGET FAILURE.
    Failed,
}

impl fmt::Display for DiskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Read => "the disk cannot be read",
            Self::Write => "the disk cannot be written",
            Self::NoSpace => "the disk has no space left",
            Self::Failed => "the disk failed",
        })
    }
}

impl core::error::Error for DiskError {}
