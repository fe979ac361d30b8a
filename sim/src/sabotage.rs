//! Deliberately broken pairs: the simulation has to find what is wrong with them.

use iscsi_target::{Disk, DiskError, Extent};

/// What is broken.
///
/// ```
/// use iscsi_sim::{Sabotage, Scenario, sabotage};
/// let found = (0..20).find_map(|seed| sabotage(seed, Scenario::Network, Sabotage::RottenDisk).err());
/// assert!(found.unwrap().reason.contains("something else"));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sabotage {
    /// The disk changes a bit of what is written now and then.
    RottenDisk,
    /// The disk forgets a write now and then.
    ForgetfulDisk,
    /// Bits flip, and there is no digest.
    FlipsWithoutDigests,
    /// The target never answers a read.
    IgnoredReads,
    /// The target skips a StatSN.
    StatSnGap,
    /// The network damages all data to the initiator, and does not say so.
    UntoldDamage,
}

/// A disk that keeps most of what it is told.
#[derive(Debug)]
pub(crate) struct BadDisk<D> {
    pub(crate) disk: D,
    pub(crate) sabotage: Option<Sabotage>,
    pub(crate) writes: u64,
}

/// Every how many writes something goes wrong.
const OFTEN: u64 = 11;

impl<D: Disk> Disk for BadDisk<D> {
    fn block_size(&self) -> u32 {
        self.disk.block_size()
    }

    fn blocks(&self) -> u64 {
        self.disk.blocks()
    }

    fn is_thin(&self) -> bool {
        self.disk.is_thin()
    }

    fn lend(&self, at: u64, max: usize) -> Option<&[u8]> {
        self.disk.lend(at, max)
    }

    fn lend_mut(&mut self, at: u64, max: usize) -> Option<&mut [u8]> {
        match self.sabotage {
            None => self.disk.lend_mut(at, max),
            Some(_) => None,
        }
    }

    fn read(&mut self, at: u64, into: &mut [u8]) -> Result<(), DiskError> {
        self.disk.read(at, into)
    }

    fn write(&mut self, at: u64, data: &[u8]) -> Result<(), DiskError> {
        self.writes += 1;
        let goes_wrong = self.writes.is_multiple_of(OFTEN);
        match self.sabotage {
            Some(Sabotage::ForgetfulDisk) if goes_wrong => Ok(()),
            Some(Sabotage::RottenDisk) if goes_wrong => {
                let mut data = data.to_vec();
                data[0] ^= 1;
                self.disk.write(at, &data)
            }
            _ => self.disk.write(at, data),
        }
    }

    fn unmap(&mut self, at: u64, len: u64) -> Result<(), DiskError> {
        self.disk.unmap(at, len)
    }

    fn extent(&mut self, at: u64) -> Extent {
        self.disk.extent(at)
    }
}
