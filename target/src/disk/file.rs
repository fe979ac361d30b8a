//! A disk in a file or on a block device.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek as _, SeekFrom};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use core::fmt;

use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::Errno;

use super::ram::{SizeError, check_size};
use super::{Disk, DiskError, Extent, zero};

/// A disk whose bytes are those of a file. Blocks given back become holes of the file where its file system can do that.
///
/// ```
/// use iscsi_target::{Disk, FileDisk};
/// let path = std::env::temp_dir().join(format!("iscsi-target-doc-{}", std::process::id()));
/// std::fs::write(&path, [0; 1024]).unwrap();
/// let mut disk = FileDisk::open(&path, 512).unwrap();
/// disk.write(510, b"data").unwrap();
/// drop(disk);
/// assert_eq!(std::fs::read(&path).unwrap()[510..514], *b"data");
/// std::fs::remove_file(&path).unwrap();
/// ```
#[derive(Debug)]
pub struct FileDisk {
    file: File,
    size: u64,
    block_size: u32,
    read_only: bool,
}

impl FileDisk {
    /// Opens a file for reading and writing. Its length is the size of the disk.
    ///
    /// # Errors
    /// [`FileDiskError`]
    pub fn open(path: &Path, block_size: u32) -> Result<Self, FileDiskError> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        Self::new(file, block_size, false)
    }

    /// Opens a file for reading only.
    ///
    /// # Errors
    /// [`FileDiskError`]
    pub fn open_read_only(path: &Path, block_size: u32) -> Result<Self, FileDiskError> {
        Self::new(File::open(path)?, block_size, true)
    }

    fn new(mut file: File, block_size: u32, read_only: bool) -> Result<Self, FileDiskError> {
        // Unlike the metadata, the end position also tells the size of a block device.
        let size = file.seek(SeekFrom::End(0))?;
        check_size(size, block_size)?;
        Ok(Self { file, size, block_size, read_only })
    }
}

impl Disk for FileDisk {
    fn block_size(&self) -> u32 {
        self.block_size
    }

    fn blocks(&self) -> u64 {
        self.size / u64::from(self.block_size)
    }

    fn is_read_only(&self) -> bool {
        self.read_only
    }

    fn is_thin(&self) -> bool {
        true
    }

    fn read(&mut self, at: u64, into: &mut [u8]) -> Result<(), DiskError> {
        self.file.read_exact_at(into, at).map_err(|_| DiskError::Read)
    }

    fn write(&mut self, at: u64, data: &[u8]) -> Result<(), DiskError> {
        self.file.write_all_at(data, at).map_err(|error| match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => DiskError::NoSpace,
            _ => DiskError::Write,
        })
    }

    fn flush(&mut self) -> Result<(), DiskError> {
        self.file.sync_data().map_err(|_| DiskError::Write)
    }

    fn unmap(&mut self, at: u64, len: u64) -> Result<(), DiskError> {
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        match fallocate(&self.file, flags, at, len) {
            Ok(()) => Ok(()),
            Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => zero(self, at, len),
            Err(_) => Err(DiskError::Write),
        }
    }

    fn extent(&mut self, at: u64) -> Extent {
        let block = u64::from(self.block_size);
        let rest = self.size.saturating_sub(at).max(block);
        let found = |to| rustix::fs::seek(&self.file, to);
        let whole = |end: u64| (end.saturating_sub(at) / block * block).clamp(block, rest);
        match found(rustix::fs::SeekFrom::Data(at)) {
            // A block with any data in it is mapped.
            Ok(data) if data < at + block => match found(rustix::fs::SeekFrom::Hole(at + block)) {
                Ok(hole) => Extent { len: whole(hole.next_multiple_of(block)), mapped: true },
                Err(_) => Extent { len: rest, mapped: true },
            },
            Ok(data) => Extent { len: whole(data), mapped: false },
            Err(Errno::NXIO) => Extent { len: rest, mapped: false },
            Err(_) => Extent { len: rest, mapped: true },
        }
    }
}

/// Why a file is no disk.
///
/// ```
/// use std::path::Path;
/// use iscsi_target::{FileDisk, FileDiskError};
/// let error = FileDisk::open(Path::new("/does/not/exist"), 512).unwrap_err();
/// assert!(matches!(error, FileDiskError::Io(_)));
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum FileDiskError {
    /// The file cannot be opened, or its size cannot be found.
    Io(io::Error),
    /// The size of the file or of the block.
    Size(SizeError),
}

impl From<io::Error> for FileDiskError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<SizeError> for FileDiskError {
    fn from(error: SizeError) -> Self {
        Self::Size(error)
    }
}

impl fmt::Display for FileDiskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => error.fmt(f),
            Self::Size(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for FileDiskError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Io(error) => Some(error),
            Self::Size(error) => Some(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holes_are_unmapped_and_read_as_zeros() {
        let path = std::env::temp_dir().join(std::format!("iscsi-target-{}", std::process::id()));
        std::fs::write(&path, [1; 65536]).unwrap();
        let mut disk = FileDisk::open(&path, 4096).unwrap();
        disk.unmap(8192, 8192).unwrap();
        let mut block = [9; 4096];
        disk.read(8192, &mut block).unwrap();
        assert_eq!(block, [0; 4096]);
        let mut at = 0;
        while at < 65536 {
            let extent = disk.extent(at);
            assert!(extent.len > 0 && extent.len % 4096 == 0);
            assert!(extent.mapped || (8192..16384).contains(&at));
            at += extent.len;
        }
        assert_eq!(at, 65536);
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn odd_sizes_are_refused() {
        let path = std::env::temp_dir().join(std::format!("iscsi-odd-{}", std::process::id()));
        std::fs::write(&path, [1; 1000]).unwrap();
        let error = FileDisk::open_read_only(&path, 512).unwrap_err();
        assert!(matches!(error, FileDiskError::Size(SizeError::NoMultiple(1000))));
        std::fs::remove_file(&path).unwrap();
    }
}
