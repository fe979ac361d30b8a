//! The hash functions of CHAP.

use core::fmt;

use md5::Digest;

use super::Secret;
use crate::text::Preferences;

/// The longest hash in bytes.
const MAX_HASH_LEN: usize = 32;

/// A hash function for CHAP, by its IANA number (RFC 7143 section 12.1.3).
///
/// MD5 is always there; the others need the feature `chap-sha`.
///
/// ```
/// use iscsi_core::auth::ChapAlgorithm;
/// assert_eq!(ChapAlgorithm::Md5.number(), 5);
/// assert_eq!(ChapAlgorithm::from_number(8), Some(ChapAlgorithm::Sha3_256));
/// assert_eq!(ChapAlgorithm::Sha256.hash_len(), 32);
/// assert!(ChapAlgorithm::Md5.is_available());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ChapAlgorithm {
    /// Number 5, 16 bytes.
    Md5,
    /// Number 6, 20 bytes.
    Sha1,
    /// Number 7, 32 bytes.
    Sha256,
    /// Number 8, 32 bytes.
    Sha3_256,
}

impl ChapAlgorithm {
    /// The strongest first.
    pub const ALL: [Self; 4] = [Self::Sha3_256, Self::Sha256, Self::Sha1, Self::Md5];

    /// The number in CHAP_A.
    pub const fn number(self) -> u8 {
        match self {
            Self::Md5 => 5,
            Self::Sha1 => 6,
            Self::Sha256 => 7,
            Self::Sha3_256 => 8,
        }
    }

    /// The algorithm of this number.
    pub fn from_number(number: u64) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| u64::from(algorithm.number()) == number)
    }

    /// Bytes of a response.
    pub const fn hash_len(self) -> usize {
        match self {
            Self::Md5 => 16,
            Self::Sha1 => 20,
            Self::Sha256 | Self::Sha3_256 => 32,
        }
    }

    /// Whether this build can compute it.
    pub const fn is_available(self) -> bool {
        matches!(self, Self::Md5) || cfg!(feature = "chap-sha")
    }

    /// The response to a challenge: the hash of identifier, secret and challenge (RFC 1994 section 4.1). Empty if the algorithm is
    /// not available.
    pub(super) fn response(self, identifier: u8, secret: &Secret, challenge: &[u8]) -> Response {
        match self {
            Self::Md5 => hash::<md5::Md5>(identifier, secret, challenge),
            #[cfg(feature = "chap-sha")]
            Self::Sha1 => hash::<sha1::Sha1>(identifier, secret, challenge),
            #[cfg(feature = "chap-sha")]
            Self::Sha256 => hash::<sha2::Sha256>(identifier, secret, challenge),
            #[cfg(feature = "chap-sha")]
            Self::Sha3_256 => hash::<sha3::Sha3_256>(identifier, secret, challenge),
            #[cfg(not(feature = "chap-sha"))]
            Self::Sha1 | Self::Sha256 | Self::Sha3_256 => Response::new(),
        }
    }
}

impl fmt::Display for ChapAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Md5 => "MD5",
            Self::Sha1 => "SHA-1",
            Self::Sha256 => "SHA-256",
            Self::Sha3_256 => "SHA3-256",
        })
    }
}

/// The algorithms to offer or accept, the most wanted first.
///
/// ```
/// use iscsi_core::auth::{ChapAlgorithm, ChapAlgorithms};
/// let algorithms = ChapAlgorithms::new(&[ChapAlgorithm::Md5]).unwrap();
/// assert_eq!(algorithms, ChapAlgorithms::MD5);
/// assert!(ChapAlgorithms::available().contains(ChapAlgorithm::Md5));
/// ```
pub type ChapAlgorithms = Preferences<ChapAlgorithm, 4>;

impl ChapAlgorithms {
    /// MD5 only.
    pub const MD5: Self = Self::from_array([Some(ChapAlgorithm::Md5), None, None, None]);

    /// All that this build can compute: SHA3-256, MD5, SHA-256, SHA-1.
    ///
    /// MD5 stands before SHA-256 because some targets (tgt, and others of its descent) take number 7 for SHA-1 and choose the
    /// first number that they know: with 7 in front the login to them fails. A target for which MD5 is too weak skips it.
    pub const fn available() -> Self {
        if cfg!(feature = "chap-sha") {
            Self::from_array([
                Some(ChapAlgorithm::Sha3_256),
                Some(ChapAlgorithm::Md5),
                Some(ChapAlgorithm::Sha256),
                Some(ChapAlgorithm::Sha1),
            ])
        } else {
            Self::MD5
        }
    }
}

/// A computed response, as long as its hash.
pub(super) type Response = heapless::Vec<u8, MAX_HASH_LEN>;

fn hash<H: Digest>(identifier: u8, secret: &Secret, challenge: &[u8]) -> Response {
    let mut hasher = H::new();
    hasher.update([identifier]);
    hasher.update(secret.as_bytes());
    hasher.update(challenge);
    Response::from_slice(&hasher.finalize()).unwrap_or_default()
}
