//! Checksums of what a disk lends and never changes.

use iscsi_core::digest::Crc32c;

use crate::unit::LogicalUnit;

/// Remembers the last checksum: a disk that lends the same memory for every block, as the null disk does, has it summed up once and not for
/// every read.
#[derive(Debug)]
pub(super) struct Summed {
    /// Where the bytes are, and how many.
    place: (usize, usize),
    crc: Crc32c,
}

impl Summed {
    pub(super) const NOTHING: Self = Self { place: (0, 0), crc: Crc32c::new() };

    /// The checksum of `len` bytes from `at`, of a disk that [is constant](crate::Disk::is_constant).
    pub(super) fn sum(&mut self, device: &LogicalUnit<'_>, at: u64, len: usize) -> Crc32c {
        let whole = device.disk().lend(at, len).and_then(|run| run.get(..len));
        let Some(run) = whole else {
            let mut crc = Crc32c::new();
            device.lent(at, len).for_each(|run| crc.update(run));
            return crc;
        };
        let place = (run.as_ptr() as usize, len);
        if self.place != place {
            self.crc = Crc32c::new();
            self.crc.update(run);
            self.place = place;
        }
        self.crc.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::{Disk, DiskError};

    /// Lends its bytes in pieces of a hundred.
    struct Rom([u8; 1024]);

    impl Disk for Rom {
        fn block_size(&self) -> u32 {
            512
        }

        fn blocks(&self) -> u64 {
            2
        }

        fn is_constant(&self) -> bool {
            true
        }

        fn lend(&self, at: u64, max: usize) -> Option<&[u8]> {
            let rest = self.0.get(at as usize..)?;
            rest.get(..max.min(100 - at as usize % 100)).or(Some(rest))
        }

        fn read(&mut self, _: u64, _: &mut [u8]) -> Result<(), DiskError> {
            Err(DiskError::Read)
        }

        fn write(&mut self, _: u64, _: &[u8]) -> Result<(), DiskError> {
            Err(DiskError::Write)
        }
    }

    #[test]
    fn a_sum_is_that_of_its_place() {
        let mut rom = Rom(core::array::from_fn(|n| (n / 3) as u8));
        let bytes = rom.0;
        let unit = LogicalUnit::new(0, &mut rom, "1");
        let mut summed = Summed::NOTHING;
        for (at, len) in [(0, 50), (0, 50), (0, 49), (1, 50), (100, 50), (90, 20), (0, 50), (0, 0)]
        {
            let crc = summed.sum(&unit, at as u64, len);
            assert_eq!(
                crc.finish(),
                iscsi_core::digest::crc32c(&bytes[at..at + len]),
                "{at} {len}"
            );
        }
    }
}
