//! What is written, and numbers without a pattern.

use core::ops::Range;

use bytes::Bytes;

/// How much content is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Amount {
    /// For reads.
    None,
    /// For what is only written: 256 KiB at most, if blocks are not larger than half of that. It stays in the processor's cache, as data do that a program has just made.
    Written,
    /// For what is read back and compared: about 4 MiB, and 61 blocks at least. Content repeats after a long way.
    Compared,
}

impl Amount {
    /// A prime number of blocks, or none.
    fn blocks(self, block_size: u32) -> u32 {
        match self {
            Self::None => 0,
            Self::Written => prime_up_to(((256 << 10) / block_size).max(2)),
            Self::Compared => prime_up_to(((4 << 20) / block_size).max(61)),
        }
    }
}

/// The content of every block, told by its address and the run's seed.
///
/// It repeats after a prime number of blocks: a block that was written to another place, off by any other distance (a power of two, say),
/// is told from the right one, and nothing is computed or copied for a write.
#[derive(Debug)]
pub(crate) struct Pattern {
    /// Of as many blocks as there are before it repeats.
    bytes: Bytes,
    block_size: u32,
}

impl Pattern {
    /// For blocks of this size.
    pub(crate) fn new(seed: u64, block_size: u32, amount: Amount) -> Self {
        let block_size = block_size.max(1);
        let mut random = Random::new(seed, u64::MAX);
        let mut bytes = vec![0; amount.blocks(block_size) as usize * block_size as usize];
        for word in bytes.chunks_mut(8) {
            let random = random.next().to_le_bytes();
            word.copy_from_slice(random.get(..word.len()).unwrap_or_default());
        }
        Self { bytes: bytes.into(), block_size }
    }

    /// The content of so many bytes from this block on.
    pub(crate) fn content(&self, lba: u64, len: usize) -> Content<'_> {
        let size = u64::from(self.block_size);
        let period = (self.bytes.len() as u64 / size).max(1);
        let place = usize::try_from(lba % period * size).unwrap_or(0);
        let len = if self.bytes.is_empty() { 0 } else { len };
        Content { bytes: &self.bytes, place, len }
    }
}

/// The content of the blocks of one I/O.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Content<'a> {
    /// It goes round in these, from `place` on.
    bytes: &'a Bytes,
    place: usize,
    /// In bytes.
    pub(crate) len: usize,
}

impl<'a> Content<'a> {
    /// The next bytes from an offset on, at most `max` and at least one, unless that is the end.
    pub(crate) fn run(&self, offset: usize, max: usize) -> &'a [u8] {
        self.bytes.get(self.place_of_run(offset, max)).unwrap_or_default()
    }

    fn place_of_run(&self, offset: usize, max: usize) -> Range<usize> {
        let at = (self.place + offset) % self.bytes.len().max(1);
        let len = max.min(self.len.saturating_sub(offset));
        at..self.bytes.len().min(at.saturating_add(len))
    }

    /// All of it as shared memory, if it is in one piece.
    pub(crate) fn piece(&self) -> Option<Bytes> {
        let end = self.place + self.len;
        (end <= self.bytes.len()).then(|| self.bytes.slice(self.place..end))
    }

    /// All of it as shared memory.
    pub(crate) fn parts(&self) -> Vec<Bytes> {
        let mut parts = Vec::new();
        let mut at = 0;
        while at < self.len {
            let part = self.bytes.slice(self.place_of_run(at, usize::MAX));
            at += part.len();
            parts.push(part);
        }
        parts
    }

    /// The first byte that is another in `data`, or missing there.
    pub(crate) fn difference(&self, data: &[u8]) -> Option<Difference> {
        let mut at = 0;
        while at < self.len {
            let wanted = self.run(at, usize::MAX);
            let rest = data.get(at..).unwrap_or_default();
            let read = rest.get(..wanted.len()).unwrap_or(rest);
            if read != wanted {
                let same = wanted.iter().zip(read).take_while(|(wanted, read)| wanted == read);
                let within = same.count();
                let byte = |bytes: &[u8]| bytes.get(within).copied();
                let (wanted, read) = (byte(wanted).unwrap_or(0), byte(read));
                return Some(Difference { at: at + within, wanted, read });
            }
            at += wanted.len();
        }
        None
    }
}

/// Where what was read is not what was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Difference {
    /// In bytes from the beginning.
    pub(crate) at: usize,
    pub(crate) wanted: u8,
    pub(crate) read: Option<u8>,
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

    fn whole(content: Content<'_>) -> Vec<u8> {
        content.parts().concat()
    }

    #[test]
    fn content_is_told_by_the_address() {
        for size in [512, 520, 4096, 65536] {
            let pattern = Pattern::new(1, size, Amount::Compared);
            let period = (pattern.bytes.len() / size as usize) as u64;
            let block = |lba| whole(pattern.content(lba, size as usize));
            for shift in 0..40 {
                assert_ne!(block(7), block(7 + (1 << shift)), "{size} {shift}");
            }
            assert_eq!(block(7), block(7 + period));
            // Blocks that are written together are those that are written alone.
            let run = whole(pattern.content(period - 1, 300 * size as usize));
            for (n, together) in run.chunks(size as usize).enumerate() {
                assert!(together == block(period - 1 + n as u64), "{size} {n}");
            }
        }
        let bytes = |seed, amount| Pattern::new(seed, 512, amount).bytes;
        assert_ne!(bytes(1, Amount::Written), bytes(2, Amount::Written));
        assert!(bytes(1, Amount::None).is_empty());
    }

    #[test]
    fn what_is_only_written_stays_in_the_cache() {
        for size in [512, 520, 4096, 65536, 131_072] {
            let len = Pattern::new(1, size, Amount::Written).bytes.len();
            assert!((128 << 10..=256 << 10).contains(&len), "{size}: {len}");
        }
    }

    #[test]
    fn runs_are_the_content_in_pieces() {
        for (size, amount) in
            [(512, Amount::Written), (520, Amount::Compared), (65536, Amount::Written)]
        {
            let pattern = Pattern::new(1, size, amount);
            let content = pattern.content(10_000, pattern.bytes.len() + 3 * size as usize);
            let mut pieces = Vec::new();
            while pieces.len() < content.len {
                let run = content.run(pieces.len(), 3000);
                assert!((1..=3000).contains(&run.len()));
                pieces.extend_from_slice(run);
            }
            assert!(pieces == whole(content), "{size}");
            assert!(content.piece().is_none() && content.parts().len() > 1);
            let one = pattern.content(0, size as usize);
            assert!(one.piece().is_some_and(|piece| piece == pattern.bytes[..size as usize]));
            assert!(content.run(content.len, 1).is_empty());
            assert_eq!(content.difference(&pieces), None);
            for at in [0, pattern.bytes.len() - 1, pattern.bytes.len(), content.len - 1] {
                let wanted = pieces[at];
                pieces[at] ^= 1;
                let difference = Difference { at, wanted, read: Some(wanted ^ 1) };
                assert_eq!(content.difference(&pieces), Some(difference));
                pieces[at] ^= 1;
                let difference = Difference { at, wanted, read: None };
                assert_eq!(content.difference(&pieces[..at]), Some(difference));
            }
        }
        let none = Pattern::new(1, 512, Amount::None);
        assert!(none.content(5, 512).run(0, 512).is_empty());
        assert!(none.content(5, 512).parts().is_empty());
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
