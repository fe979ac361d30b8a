//! What is written, and numbers without a pattern.

use bytes::Bytes;

/// About as much content is made, whatever the block size.
const CONTENT: u32 = 4 << 20;

/// The content of every block, told by its address and the run's seed.
///
/// It repeats after a prime number of blocks: a block that was written to another place, off by any other distance (a power of two, say),
/// is told from the right one, and nothing is computed or copied for a write.
#[derive(Debug)]
pub(crate) struct Pattern {
    bytes: Bytes,
    period: u64,
    block_size: u32,
}

impl Pattern {
    /// For blocks of this size, of which at most so many are written at once.
    pub(crate) fn new(seed: u64, block_size: u32, most: u32) -> Self {
        if most == 0 {
            return Self { bytes: Bytes::new(), period: 1, block_size };
        }
        let period = prime_up_to((CONTENT / block_size.max(1)).max(61));
        let size = block_size as usize;
        let mut random = Random::new(seed, u64::MAX);
        let (once, all) = (period as usize * size, (period as usize + most as usize) * size);
        let mut bytes = vec![0; all];
        let (first, rest) = bytes.split_at_mut(once);
        for word in first.chunks_mut(8) {
            let random = random.next().to_le_bytes();
            word.copy_from_slice(random.get(..word.len()).unwrap_or_default());
        }
        for again in rest.chunks_mut(once) {
            again.copy_from_slice(first.get(..again.len()).unwrap_or_default());
        }
        Self { bytes: bytes.into(), period: period.into(), block_size }
    }

    /// All of it.
    pub(crate) const fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Where in the bytes the content of a block begins; that of the next blocks follows.
    pub(crate) fn place(&self, lba: u64) -> usize {
        usize::try_from(lba % self.period).unwrap_or(0) * self.block_size as usize
    }
}

/// The largest prime number that is not larger; `most` is at least 2.
fn prime_up_to(most: u32) -> u32 {
    let is_prime = |n: &u32| (2..).take_while(|d| d * d <= *n).all(|d| !n.is_multiple_of(d));
    (2..=most).rev().find(is_prime).unwrap_or(2)
}

/// Numbers without a pattern, the same for the same seed (splitmix64).
#[derive(Debug)]
pub(crate) struct Random(u64);

impl Random {
    /// Each stream of a seed has numbers of its own.
    pub(crate) fn new(seed: u64, stream: u64) -> Self {
        let mut mixed = Self(seed ^ stream.wrapping_mul(0xd134_2543_de82_ef95));
        Self(mixed.next())
    }

    pub(crate) const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`; 0 if that is 0.
    pub(crate) const fn below(&mut self, end: u64) -> u64 {
        ((self.next() as u128 * end as u128) >> 64) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_is_told_by_the_address() {
        for size in [512, 520, 4096, 65536] {
            let pattern = Pattern::new(1, size, 300);
            let block = |lba: u64| {
                let at = pattern.place(lba);
                pattern.bytes().slice(at..at + size as usize)
            };
            for shift in 0..40 {
                assert_ne!(block(7), block(7 + (1 << shift)), "{size} {shift}");
            }
            assert_eq!(block(7), block(7 + pattern.period));
            // Blocks that are written together are those that are written alone.
            let last = pattern.period - 1;
            let at = pattern.place(last);
            let run = pattern.bytes().slice(at..at + 300 * size as usize);
            for n in 0..300 {
                let at = n * size as usize;
                assert_eq!(run.slice(at..at + size as usize), block(last + n as u64));
            }
        }
        assert_ne!(Pattern::new(1, 512, 1).bytes(), Pattern::new(2, 512, 1).bytes());
        assert!(Pattern::new(1, 512, 0).bytes().is_empty());
    }

    #[test]
    fn more_blocks_at_once_than_the_period() {
        let pattern = Pattern::new(1, 65536, 200);
        let period = usize::try_from(pattern.period).unwrap() * 65536;
        assert!(period < 200 * 65536);
        assert_eq!(pattern.bytes().slice(..65536), pattern.bytes().slice(period..period + 65536));
    }

    #[test]
    fn primes() {
        assert_eq!([61, 1024, 8192].map(prime_up_to), [61, 1021, 8191]);
    }

    #[test]
    fn numbers_below() {
        let mut random = Random::new(1, 0);
        let mut seen = [0; 10];
        for _ in 0..10_000 {
            seen[random.below(10) as usize] += 1;
        }
        assert!(seen.iter().all(|count| (850..1150).contains(count)), "{seen:?}");
        assert_eq!(random.below(0), 0);
    }
}
