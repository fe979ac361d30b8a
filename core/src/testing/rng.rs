//! Randomness that can be repeated.

/// A xorshift64* generator. It shows its seed when printed, so that a failing run can be repeated.
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
}

impl Rng {
    /// A generator for `seed`; every seed will do, 0 too.
    pub const fn new(seed: u64) -> Self {
        // One round of splitmix64: neighbouring seeds start far apart, and none at 0, where xorshift stands still.
        let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        Self { seed, state: (z ^ (z >> 31)) | 1 }
    }

    /// A generator for the number in the environment variable `SEED`, or for `default` without it.
    pub fn from_env(default: u64) -> Self {
        let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok());
        Self::new(seed.unwrap_or(default))
    }

    /// What it was made from.
    pub const fn seed(&self) -> u64 {
        self.seed
    }

    /// The next 64 bits.
    pub const fn next_u64(&mut self) -> u64 {
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        self.state.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `n`; 0 if `n` is 0.
    pub const fn below(&mut self, n: u64) -> u64 {
        // The top bits are the good ones; the bias does not matter here.
        if n == 0 { 0 } else { (self.next_u64() >> 11) % n }
    }

    /// True in `n` of 1000 cases.
    pub const fn per_mille(&mut self, n: u16) -> bool {
        self.below(1000) < n as u64
    }

    /// Fills `bytes`.
    pub fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            let random = self.next_u64().to_le_bytes();
            for (to, from) in chunk.iter_mut().zip(random) {
                *to = from;
            }
        }
    }

    /// Another generator that goes its own way.
    pub const fn fork(&mut self) -> Self {
        let mut fork = Self::new(self.next_u64());
        fork.seed = self.seed;
        fork
    }
}
