//! A disk without contents, to measure everything else.

use super::{Disk, DiskError};

const ZEROS: &[u8] = &[0; 256 * 1024];

/// Reads as zeros and forgets what is written. Needs no memory, whatever its size.
///
/// ```
/// use iscsi_target::{Disk, NullDisk};
/// let mut disk = NullDisk::new(1 << 40);
/// assert_eq!(disk.blocks(), 1 << 31);
/// disk.write(4096, b"gone").unwrap();
/// assert_eq!(disk.lend(4096, 4), Some(&[0; 4][..]));
/// ```
#[derive(Debug, Clone, Copy)]
pub struct NullDisk {
    blocks: u64,
    block_size: u32,
}

impl NullDisk {
    /// A disk of `size` bytes in blocks of 512, at least one block.
    pub const fn new(size: u64) -> Self {
        Self::with_block_size(size, 512)
    }

    /// A disk of `size` bytes in blocks of `block_size` bytes (a power of two, 512 to 65536; anything else becomes 512).
    pub const fn with_block_size(size: u64, block_size: u32) -> Self {
        let block_size = if block_size.is_power_of_two() && block_size >= 512 && block_size <= 65536
        {
            block_size
        } else {
            512
        };
        let blocks = size / block_size as u64;
        Self { blocks: if blocks == 0 { 1 } else { blocks }, block_size }
    }
}

impl Disk for NullDisk {
    fn block_size(&self) -> u32 {
        self.block_size
    }

    fn blocks(&self) -> u64 {
        self.blocks
    }

    #[inline]
    fn lend(&self, _at: u64, max: usize) -> Option<&[u8]> {
        Some(ZEROS.get(..max).unwrap_or(ZEROS))
    }

    fn is_constant(&self) -> bool {
        true
    }

    fn is_forgetful(&self) -> bool {
        true
    }

    fn read(&mut self, _at: u64, into: &mut [u8]) -> Result<(), DiskError> {
        into.fill(0);
        Ok(())
    }

    #[inline]
    fn write(&mut self, _at: u64, _data: &[u8]) -> Result<(), DiskError> {
        Ok(())
    }
}
