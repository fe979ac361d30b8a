//! Random bytes and the challenges made of them.

use core::fmt;

/// Bytes of a challenge: the longest hash, and below the 50 bytes that some targets take at most.
pub(super) const CHALLENGE_LEN: usize = 32;

/// How many challenges are remembered.
const REMEMBERED: usize = 8;

/// 64 unpredictable bytes, drawn by the runtime from a cryptographic source, fresh for each connection.
///
/// ```
/// use iscsi_core::auth::Entropy;
/// let entropy = Entropy::new([7; 64]);
/// assert_eq!(format!("{entropy:?}"), "Entropy(..)");
/// ```
#[derive(Clone)]
pub struct Entropy([u8; 64]);

impl Entropy {
    /// Takes the bytes.
    pub const fn new(bytes: [u8; 64]) -> Self {
        Self(bytes)
    }

    /// A challenge and its identifier.
    pub(super) const fn challenge(&self) -> ([u8; CHALLENGE_LEN], u8) {
        let mut challenge = [0; CHALLENGE_LEN];
        challenge.copy_from_slice(self.0.split_at(CHALLENGE_LEN).0);
        (challenge, self.0[CHALLENGE_LEN])
    }

    /// A random ISID (RFC 7143 section 11.12.5), from bytes that no challenge uses.
    pub(crate) const fn isid(&self) -> crate::wire::Isid {
        let b = &self.0;
        let random = u32::from_be_bytes([0, b[40], b[41], b[42]]);
        crate::wire::Isid::random(random, u16::from_be_bytes([b[43], b[44]]))
    }

    /// A first CmdSN: small, so that what a target does wrong with it can be told from a wrap-around.
    pub(crate) const fn cmd_sn(&self) -> crate::CmdSn {
        let b = &self.0;
        crate::CmdSn(1 + u16::from_be_bytes([b[48], b[49]]) as u32)
    }

    /// What keeps initiators from coming back at the same moment.
    pub(crate) const fn jitter(&self) -> u32 {
        let b = &self.0;
        u32::from_be_bytes([b[50], b[51], b[52], b[53]])
    }
}

impl fmt::Debug for Entropy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Entropy(..)")
    }
}

/// The challenges that this node issued last, on any connection.
///
/// A peer that answers with one of them as its own challenge wants this node to compute the response for it
/// (RFC 7143 section 9.2.1). One ring serves all connections of a session, or of a program.
///
/// ```
/// use iscsi_core::auth::RecentChallenges;
/// let mut recent = RecentChallenges::new();
/// recent.record(&[1; 32]);
/// assert!(recent.contains(&[1; 32]) && !recent.contains(&[2; 32]));
/// for n in 2..10 {
///     recent.record(&[n; 32]);
/// }
/// assert!(!recent.contains(&[1; 32])); // eight later ones have displaced it
/// ```
#[derive(Debug, Clone)]
pub struct RecentChallenges {
    ring: [Option<[u8; CHALLENGE_LEN]>; REMEMBERED],
    next: usize,
    identifier: Option<u8>,
}

impl RecentChallenges {
    /// Remembers nothing yet.
    pub const fn new() -> Self {
        Self { ring: [None; REMEMBERED], next: 0, identifier: None }
    }

    /// Remembers a challenge and forgets the oldest of nine.
    pub fn record(&mut self, challenge: &[u8; CHALLENGE_LEN]) {
        if let Some(place) = self.ring.get_mut(self.next % REMEMBERED) {
            *place = Some(*challenge);
        }
        self.next = (self.next + 1) % REMEMBERED;
    }

    /// The identifier for the next challenge: the one that was drawn, unless the last challenge had it (RFC 1994 section 4.1).
    pub(super) fn next_identifier(&mut self, drawn: u8) -> u8 {
        let again = self.identifier == Some(drawn);
        let next = if again { drawn.wrapping_add(1) } else { drawn };
        self.identifier = Some(next);
        next
    }

    /// Whether this challenge is remembered.
    pub fn contains(&self, challenge: &[u8]) -> bool {
        self.ring.iter().flatten().any(|issued| issued == challenge)
    }
}

impl Default for RecentChallenges {
    fn default() -> Self {
        Self::new()
    }
}
