//! What is asked of a disk: operations on byte ranges.

use core::fmt;

/// What a request does with its range.
///
/// ```
/// use iscsi_disk::Operation;
/// assert!(Operation::Write { fua: false }.modifies());
/// assert!(!Operation::Verify.modifies());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Operation {
    /// Reads into the request's memory.
    Read,
    /// Writes the request's memory.
    Write {
        /// The data are on the medium when the request is done, not only in a volatile cache.
        fua: bool,
    },
    /// Writes what earlier requests left in a volatile cache to the medium.
    Flush,
    /// Tells the device that the content is no longer needed (trim). Only whole blocks inside the range are concerned.
    Unmap,
    /// Makes the range read as zeros.
    WriteZeroes {
        /// The blocks may be deallocated if they read as zeros then.
        deallocate: bool,
    },
    /// Compares the range with the first half of the request's memory and, if equal, writes the second half: atomic.
    CompareAndWrite,
    /// Has the device check that the range can be read. Blocks that the range covers in part are checked whole.
    Verify,
    /// Has the device compare the range with the request's memory.
    Compare,
}

impl Operation {
    /// Whether the operation may change what the range reads as.
    pub const fn modifies(self) -> bool {
        matches!(
            self,
            Self::Write { .. } | Self::Unmap | Self::WriteZeroes { .. } | Self::CompareAndWrite
        )
    }
}

/// One request: an operation on the bytes `offset..offset + len`.
///
/// ```
/// use iscsi_disk::{Operation, Request};
/// let request = Request::write(4096, 100).fua();
/// assert_eq!(request.operation, Operation::Write { fua: true });
/// assert_eq!((request.offset, request.len), (4096, 100));
/// assert_eq!(request.memory(), 100);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Request {
    /// What to do.
    pub operation: Operation,
    /// First byte on the disk.
    pub offset: u64,
    /// Number of bytes on the disk.
    pub len: u64,
}

impl Request {
    const fn new(operation: Operation, offset: u64, len: u64) -> Self {
        Self { operation, offset, len }
    }

    /// Reads `len` bytes from `offset`.
    pub const fn read(offset: u64, len: u64) -> Self {
        Self::new(Operation::Read, offset, len)
    }

    /// Writes `len` bytes at `offset`.
    pub const fn write(offset: u64, len: u64) -> Self {
        Self::new(Operation::Write { fua: false }, offset, len)
    }

    /// Flushes the device's write cache.
    pub const fn flush() -> Self {
        Self::new(Operation::Flush, 0, 0)
    }

    /// Deallocates the whole blocks in `len` bytes from `offset`.
    pub const fn unmap(offset: u64, len: u64) -> Self {
        Self::new(Operation::Unmap, offset, len)
    }

    /// Makes `len` bytes from `offset` zero, deallocating blocks where the device can.
    pub const fn write_zeroes(offset: u64, len: u64) -> Self {
        Self::new(Operation::WriteZeroes { deallocate: true }, offset, len)
    }

    /// Compares `len` bytes from `offset` with the first `len` bytes of the memory and, if equal, writes the next `len` ones.
    pub const fn compare_and_write(offset: u64, len: u64) -> Self {
        Self::new(Operation::CompareAndWrite, offset, len)
    }

    /// Checks that `len` bytes from `offset` can be read.
    pub const fn verify(offset: u64, len: u64) -> Self {
        Self::new(Operation::Verify, offset, len)
    }

    /// Compares `len` bytes from `offset` with the memory.
    pub const fn compare(offset: u64, len: u64) -> Self {
        Self::new(Operation::Compare, offset, len)
    }

    /// For a write: done means on the medium (force unit access). A device that has no such writes is flushed instead.
    #[must_use]
    pub const fn fua(mut self) -> Self {
        if let Operation::Write { .. } = self.operation {
            self.operation = Operation::Write { fua: true };
        }
        self
    }

    /// For zeros: the blocks stay allocated.
    #[must_use]
    pub const fn keep_allocated(mut self) -> Self {
        if let Operation::WriteZeroes { .. } = self.operation {
            self.operation = Operation::WriteZeroes { deallocate: false };
        }
        self
    }

    /// Bytes of memory that the request reads or fills; offsets that [`RequestBuffers`](crate::RequestBuffers) is asked for stay below.
    pub const fn memory(&self) -> u64 {
        match self.operation {
            Operation::Read | Operation::Write { .. } | Operation::Compare => self.len,
            Operation::CompareAndWrite => self.len.saturating_mul(2),
            Operation::Flush
            | Operation::Unmap
            | Operation::WriteZeroes { .. }
            | Operation::Verify => 0,
        }
    }
}

/// A request as the application knows it, from [`Disk::submit`](crate::Disk::submit) to its one end event.
///
/// The low 16 bits are the slot's index, below the disk's [`capacity`](crate::Disk::capacity), so that it can index a table of buffers; the
/// upper 48 count how often the slot was used, so that a handle which outlived its request never reaches a later one.
///
/// ```
/// use iscsi_disk::RequestId;
/// let id = RequestId::from_bits(0x0005_0003);
/// assert_eq!((id.index(), id.to_bits()), (3, 0x0005_0003));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct RequestId(u64);

impl RequestId {
    pub(crate) const fn new(index: u16, generation: u64) -> Self {
        Self(generation << 16 | index as u64)
    }

    /// The slot of the request.
    pub const fn index(self) -> usize {
        (self.0 & 0xffff) as usize
    }

    /// The whole handle as a number.
    pub const fn to_bits(self) -> u64 {
        self.0
    }

    /// The handle whose number this is.
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    pub(crate) const fn generation(self) -> u64 {
        self.0 >> 16
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RequestId({}.{})", self.index(), self.generation())
    }
}
