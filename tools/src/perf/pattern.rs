//! What is written, and numbers without a pattern.

use bytes::Bytes;

/// About so many bytes of content are made, whatever the block size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Amount {
    /// For what is read back and compared: content repeats after a long way.
    Compared,
    /// For what is only written: it stays in the processor's cache, as data do that a program has just made.
    Written,
}

impl Amount {
    const fn bytes(self) -> u32 {
        match self {
            Self::Compared => 4 << 20,
            Self::Written => 256 << 10,
        }
    }
}

/// The content of every block, told by its address and the run's seed.
///
/// It repeats after a prime number of blocks: a block that was written to another place, off by any other distance (a power of two, say),
/// is told from the right one, and nothing is computed or copied for a write.
#[derive(Debug)]
pub(crate) struct Pattern {
    bytes: Bytes,
    /// Blocks until it repeats.
    period: u64,
    block_size: u32,
}

impl Pattern {
    /// For blocks of this size, of which at most so many are written at once.
    pub(crate) fn new(seed: u64, block_size: u32, most: u32, amount: Amount) -> Self {
        if most == 0 {
            return Self { bytes: Bytes::new(), period: 1, block_size };
        }
        let period = prime_up_to((amount.bytes() / block_size.max(1)).max(61));
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

    /// The content of so many bytes from this block on.
    pub(crate) fn content(&self, lba: u64, len: usize) -> Content<'_> {
        let place = usize::try_from(lba % self.period).unwrap_or(0) * self.block_size as usize;
        Content { pattern: self, place, len }
    }
}

/// The content of the blocks of one I/O.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Content<'a> {
    pattern: &'a Pattern,
    place: usize,
    /// In bytes.
    pub(crate) len: usize,
}

impl<'a> Content<'a> {
    /// The next bytes from an offset on, at most `max` and at least one, unless that is the end. The same content is always the same memory, so that it stays
    /// in the cache.
    pub(crate) fn run(&self, offset: usize, max: usize) -> &'a [u8] {
        let Pattern { bytes, period, block_size } = self.pattern;
        let once = *period as usize * *block_size as usize;
        let at = (self.place + offset) % once.max(1);
        let max = max.min(self.len.saturating_sub(offset));
        bytes.get(at..once.min(at + max)).unwrap_or_default()
    }

    /// All of it in one piece.
    pub(crate) fn whole(&self) -> Bytes {
        let (bytes, place) = (&self.pattern.bytes, self.place..self.place + self.len);
        if place.end <= bytes.len() { bytes.slice(place) } else { Bytes::new() }
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
            let pattern = Pattern::new(1, size, 300, Amount::Compared);
            let block = |lba| pattern.content(lba, size as usize).whole();
            for shift in 0..40 {
                assert_ne!(block(7), block(7 + (1 << shift)), "{size} {shift}");
            }
            assert_eq!(block(7), block(7 + pattern.period));
            // Blocks that are written together are those that are written alone.
            let last = pattern.period - 1;
            let run = pattern.content(last, 300 * size as usize).whole();
            for n in 0..300 {
                let at = n * size as usize;
                assert_eq!(run.slice(at..at + size as usize), block(last + n as u64));
            }
        }
        let bytes = |seed, most| Pattern::new(seed, 512, most, Amount::Written).bytes;
        assert_ne!(bytes(1, 1), bytes(2, 1));
        assert!(bytes(1, 0).is_empty());
    }

    #[test]
    fn runs_are_the_content_in_pieces() {
        for (size, amount) in
            [(512, Amount::Written), (520, Amount::Compared), (65536, Amount::Written)]
        {
            let pattern = Pattern::new(1, size, 100, amount);
            let content = pattern.content(pattern.period - 3, 100 * size as usize);
            let mut pieces = Vec::new();
            while pieces.len() < content.len {
                let run = content.run(pieces.len(), 3000);
                assert!((1..=3000).contains(&run.len()));
                pieces.extend_from_slice(run);
            }
            assert!(pieces == content.whole(), "{size}");
            assert!(content.run(content.len, 1).is_empty());
        }
        let none = Pattern::new(1, 512, 0, Amount::Written);
        assert!(
            none.content(5, 512).run(0, 512).is_empty() && none.content(5, 512).whole().is_empty()
        );
    }

    #[test]
    fn more_blocks_at_once_than_the_period() {
        let pattern = Pattern::new(1, 65536, 200, Amount::Compared);
        assert!(pattern.period < 200);
        let run = pattern.content(0, 200 * 65536).whole();
        let again = pattern.period as usize * 65536;
        assert_eq!(run.slice(..65536), run.slice(again..again + 65536));
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
