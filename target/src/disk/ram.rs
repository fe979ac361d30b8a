//! A disk in memory.

use core::fmt;

use super::{Disk, DiskError, Extent};

/// How far ahead blocks are looked at to tell an extent.
const EXTENT: usize = 1 << 20;

/// A disk in memory that the caller gives: a `Vec`, a boxed slice, a static array, a part of a larger area.
///
/// Blocks that hold nothing but zeros count as unmapped.
///
/// ```
/// use iscsi_target::{Disk, RamDisk};
/// let mut memory = [0; 4096];
/// let mut disk = RamDisk::new(&mut memory[..], 512).unwrap();
/// assert_eq!(disk.blocks(), 8);
/// disk.write(513, b"here").unwrap();
/// assert_eq!(disk.lend(512, 6), Some(&b"\0here\0"[..]));
/// assert!(RamDisk::new([0; 700], 512).is_err());
/// ```
#[derive(Clone)]
pub struct RamDisk<M> {
    memory: M,
    block_size: u32,
    read_only: bool,
}

impl<M: AsRef<[u8]> + AsMut<[u8]>> RamDisk<M> {
    /// A disk of the whole memory in blocks of `block_size` bytes.
    ///
    /// # Errors
    /// [`SizeError`]
    pub fn new(memory: M, block_size: u32) -> Result<Self, SizeError> {
        check_size(memory.as_ref().len() as u64, block_size)?;
        Ok(Self { memory, block_size, read_only: false })
    }

    /// Refuses writes from now on, or accepts them again.
    #[must_use]
    pub fn read_only(mut self, read_only: bool) -> Self {
        self.read_only = read_only;
        self
    }

    /// The memory.
    pub fn into_inner(self) -> M {
        self.memory
    }

    fn run(&self, at: u64, max: usize) -> Option<&[u8]> {
        let rest = self.memory.as_ref().get(usize::try_from(at).ok()?..)?;
        Some(rest.get(..max).unwrap_or(rest)).filter(|run| !run.is_empty())
    }

    fn run_mut(&mut self, at: u64, max: usize) -> Option<&mut [u8]> {
        let rest = self.memory.as_mut().get_mut(usize::try_from(at).ok()?..)?;
        let len = rest.len().min(max);
        rest.get_mut(..len).filter(|run| !run.is_empty())
    }
}

impl<M> fmt::Debug for RamDisk<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RamDisk")
            .field("block_size", &self.block_size)
            .field("read_only", &self.read_only)
            .finish_non_exhaustive()
    }
}

impl<M: AsRef<[u8]> + AsMut<[u8]>> Disk for RamDisk<M> {
    fn block_size(&self) -> u32 {
        self.block_size
    }

    fn blocks(&self) -> u64 {
        self.memory.as_ref().len() as u64 / u64::from(self.block_size)
    }

    fn is_read_only(&self) -> bool {
        self.read_only
    }

    fn is_thin(&self) -> bool {
        true
    }

    #[inline]
    fn lend(&self, at: u64, max: usize) -> Option<&[u8]> {
        self.run(at, max)
    }

    #[inline]
    fn lend_mut(&mut self, at: u64, max: usize) -> Option<&mut [u8]> {
        self.run_mut(at, max)
    }

    fn read(&mut self, at: u64, into: &mut [u8]) -> Result<(), DiskError> {
        let run = self.run(at, into.len()).unwrap_or_default();
        if run.len() != into.len() {
            return Err(DiskError::Read);
        }
        into.copy_from_slice(run);
        Ok(())
    }

    fn write(&mut self, at: u64, data: &[u8]) -> Result<(), DiskError> {
        let run = self.run_mut(at, data.len()).unwrap_or_default();
        if run.len() != data.len() {
            return Err(DiskError::Write);
        }
        run.copy_from_slice(data);
        Ok(())
    }

    fn unmap(&mut self, at: u64, len: u64) -> Result<(), DiskError> {
        self.run_mut(at, usize::try_from(len).unwrap_or(usize::MAX)).unwrap_or_default().fill(0);
        Ok(())
    }

    fn extent(&mut self, at: u64) -> Extent {
        let size = self.block_size as usize;
        let rest = self.run(at, EXTENT).unwrap_or_default();
        let mut blocks = rest.chunks(size).map(|block| block.iter().any(|byte| *byte != 0));
        let mapped = blocks.next().unwrap_or(true);
        let more = blocks.take_while(|other| *other == mapped).count();
        Extent { len: (more as u64 + 1) * u64::from(self.block_size), mapped }
    }
}

/// Why a size does not make a disk.
///
/// ```
/// use iscsi_target::{RamDisk, SizeError};
/// assert_eq!(RamDisk::new([0; 4096], 520).unwrap_err(), SizeError::BlockSize(520));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SizeError {
    /// The block size is no power of two between 512 and 65536.
    BlockSize(u32),
    /// There is not even one block.
    Empty,
    /// The size in bytes is no multiple of the block size.
    NoMultiple(u64),
}

impl fmt::Display for SizeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BlockSize(size) => {
                write!(f, "a block of {size} bytes: it must be a power of two from 512 to 65536")
            }
            Self::Empty => f.write_str("a disk must have at least one block"),
            Self::NoMultiple(size) => {
                write!(f, "a disk of {size} bytes: the size must be a multiple of the block size")
            }
        }
    }
}

impl core::error::Error for SizeError {}

/// Checks what every disk must keep.
pub(super) const fn check_size(size: u64, block_size: u32) -> Result<(), SizeError> {
    if !block_size.is_power_of_two() || block_size < 512 || block_size > 65536 {
        return Err(SizeError::BlockSize(block_size));
    }
    if size == 0 {
        return Err(SizeError::Empty);
    }
    if !size.is_multiple_of(block_size as u64) {
        return Err(SizeError::NoMultiple(size));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extents_follow_the_contents() {
        let mut disk = RamDisk::new([0; 2048], 512).unwrap();
        assert_eq!(disk.extent(0), Extent { len: 2048, mapped: false });
        disk.write(600, &[1]).unwrap();
        assert_eq!(disk.extent(0), Extent { len: 512, mapped: false });
        assert_eq!(disk.extent(512), Extent { len: 512, mapped: true });
        assert_eq!(disk.extent(1024), Extent { len: 1024, mapped: false });
        disk.unmap(512, 512).unwrap();
        assert_eq!(disk.extent(0).len, 2048);
    }

    #[test]
    fn nothing_outside_is_touched() {
        let mut disk = RamDisk::new([7; 512], 512).unwrap();
        assert_eq!(disk.write(510, &[0; 3]), Err(DiskError::Write));
        assert_eq!(disk.read(u64::MAX, &mut [0]), Err(DiskError::Read));
        assert_eq!(disk.lend(512, 1), None);
        assert_eq!(disk.lend(511, 9), Some(&[7][..]));
        assert_eq!(disk.into_inner(), [7; 512]);
    }
}
