//! Randomness that can be repeated.

use alloc::vec::Vec;

/// Numbers for tests: of a xorshift64* generator, or of bytes that somebody else has chosen. It shows its seed when printed, so that a
/// failing run can be repeated.
///
/// ```
/// use iscsi_core::testing::Rng;
/// let (mut a, mut b) = (Rng::new(7), Rng::new(7));
/// assert_eq!(a.next_u64(), b.next_u64());
/// assert!(a.below(10) < 10);
/// assert_eq!(a.seed(), 7);
/// ```
#[derive(Debug, Clone)]
pub struct Rng {
    seed: u64,
    state: u64,
    bytes: Bytes,
}

/// Whether draws come from bytes, or go to bytes.
#[derive(Debug, Clone)]
enum Bytes {
    None,
    /// Draws take these from the position on.
    Played(Vec<u8>, usize),
    /// Draws come from the generator and are written down.
    Kept(Vec<u8>),
}

impl Rng {
    /// A generator for `seed`; every seed will do, 0 too.
    pub const fn new(seed: u64) -> Self {
        // One round of splitmix64: neighbouring seeds start far apart, and none at 0, where xorshift stands still.
        let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        Self { seed, state: (z ^ (z >> 31)) | 1, bytes: Bytes::None }
    }

    /// A generator for the number in the environment variable `SEED`, or for `default` without it.
    pub fn from_env(default: u64) -> Self {
        let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok());
        Self::new(seed.unwrap_or(default))
    }

    /// What these bytes say, from the front; zeros behind their end. For a fuzzer: a choice among up to 256 is one byte, among up to 65,536
    /// two. What [`fill`](Self::fill) gives is made from one byte.
    ///
    /// ```
    /// use iscsi_core::testing::Rng;
    /// let mut rng = Rng::from_bytes(&[7, 1, 0]);
    /// assert_eq!((rng.below(5), rng.below(1000)), (2, 256));
    /// assert!(rng.is_used_up());
    /// assert_eq!(rng.next_u64(), 0);
    /// ```
    pub fn from_bytes(bytes: &[u8]) -> Self {
        Self { bytes: Bytes::Played(bytes.to_vec(), 0), ..Self::new(0) }
    }

    /// As [`new`](Self::new), and what is drawn is written down as [`from_bytes`](Self::from_bytes) reads it.
    ///
    /// ```
    /// use iscsi_core::testing::Rng;
    /// let mut first = Rng::keeping_bytes(3);
    /// let drawn = [first.below(6), first.below(9_000), first.next_u64()];
    /// let mut again = Rng::from_bytes(first.kept_bytes());
    /// assert_eq!(drawn, [again.below(6), again.below(9_000), again.next_u64()]);
    /// ```
    pub fn keeping_bytes(seed: u64) -> Self {
        Self { bytes: Bytes::Kept(Vec::new()), ..Self::new(seed) }
    }

    /// What was written down so far.
    pub fn kept_bytes(&self) -> &[u8] {
        match &self.bytes {
            Bytes::Kept(bytes) => bytes,
            _ => &[],
        }
    }

    /// Whether it plays bytes, and they are at their end.
    pub const fn is_used_up(&self) -> bool {
        matches!(&self.bytes, Bytes::Played(bytes, at) if *at >= bytes.len())
    }

    /// Whether it plays bytes.
    pub const fn plays_bytes(&self) -> bool {
        matches!(&self.bytes, Bytes::Played(..))
    }

    /// Whether it plays bytes or writes them down: a run that a fuzzer repeats many times should be short.
    pub const fn is_for_fuzzing(&self) -> bool {
        !matches!(&self.bytes, Bytes::None)
    }

    /// What it was made from; 0 if it plays bytes.
    pub const fn seed(&self) -> u64 {
        self.seed
    }

    const fn step(&mut self) -> u64 {
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        self.state.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// The next `len` bytes as a number, the high one first, if it plays bytes.
    fn played(&mut self, len: usize) -> Option<u64> {
        let Bytes::Played(bytes, at) = &mut self.bytes else { return None };
        let mut number = 0;
        for _ in 0..len {
            number = number << 8 | u64::from(bytes.get(*at).copied().unwrap_or(0));
            *at = at.saturating_add(1);
        }
        Some(number)
    }

    fn keep(&mut self, number: u64, len: usize) {
        if let Bytes::Kept(bytes) = &mut self.bytes {
            bytes.extend_from_slice(&number.to_be_bytes()[8 - len..]);
        }
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        if let Some(number) = self.played(8) {
            return number;
        }
        let number = self.step();
        self.keep(number, 8);
        number
    }

    /// A number below `n`; 0 if `n` is 0.
    pub fn below(&mut self, n: u64) -> u64 {
        if n == 0 {
            return 0;
        }
        let len = match n {
            1 => 0,
            2..=0x100 => 1,
            0x101..=0x1_0000 => 2,
            _ => 8,
        };
        if let Some(number) = self.played(len) {
            return number % n;
        }
        // The top bits are the good ones; the bias does not matter here.
        let number = (self.step() >> 11) % n;
        self.keep(number, len);
        number
    }

    /// True in `n` of 1000 cases.
    pub fn per_mille(&mut self, n: u16) -> bool {
        self.below(1000) < u64::from(n)
    }

    /// Fills `bytes`.
    pub fn fill(&mut self, bytes: &mut [u8]) {
        if let Some(seed) = self.played(1) {
            return Self::new(seed).fill(bytes);
        }
        self.keep(self.state, 1);
        for chunk in bytes.chunks_mut(8) {
            let random = self.step().to_le_bytes();
            for (to, from) in chunk.iter_mut().zip(random) {
                *to = from;
            }
        }
    }

    /// Another generator that goes its own way. It draws from a seed, also if this one plays bytes.
    pub fn fork(&mut self) -> Self {
        let mut fork = Self::new(self.next_u64());
        fork.seed = self.seed;
        fork
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs that were told by their seeds stay what they were.
    #[test]
    fn keeping_bytes_changes_no_number() {
        let (mut plain, mut keeping) = (Rng::new(5), Rng::keeping_bytes(5));
        let mut bytes = [[0; 20]; 2];
        for n in [1, 2, 255, 256, 257, 65_536, 65_537, u64::MAX] {
            assert_eq!(plain.below(n), keeping.below(n));
            assert_eq!(plain.fork().next_u64(), keeping.fork().next_u64());
        }
        plain.fill(&mut bytes[0]);
        keeping.fill(&mut bytes[1]);
        assert_eq!(bytes[0], bytes[1]);
        assert_eq!(plain.next_u64(), keeping.next_u64());
    }

    #[test]
    fn kept_bytes_play_the_same_choices() {
        let mut first = Rng::keeping_bytes(9);
        let draw = |rng: &mut Rng| {
            let numbers = [1, 2, 255, 256, 257, 65_536, 65_537, u64::MAX].map(|n| rng.below(n));
            rng.fill(&mut [0; 100]);
            (numbers, rng.per_mille(500), rng.fork().next_u64(), rng.below(0), rng.next_u64())
        };
        let drawn = draw(&mut first);
        let mut again = Rng::from_bytes(first.kept_bytes());
        assert!(!again.is_used_up());
        assert_eq!(draw(&mut again), drawn);
        assert!(again.is_used_up() && again.below(1000) == 0);
    }
}
