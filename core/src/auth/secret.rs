//! CHAP secrets.

use core::fmt;

use heapless::Vec;
use subtle::ConstantTimeEq as _;

use super::CredentialsError;

/// The longest secret in bytes.
pub const MAX_SECRET_LEN: usize = 256;

/// Below this many bytes (96 bits) CHAP should not be used without IPsec (RFC 7143 section 9.2.1).
pub const MIN_ADVISED_SECRET_LEN: usize = 12;

/// A CHAP secret: 1 to [`MAX_SECRET_LEN`] bytes of any value.
///
/// It is never printed, and compared in a time that does not depend on its bytes.
///
/// ```
/// use iscsi_core::auth::Secret;
///
/// let secret = Secret::new(b"0123456789ab").unwrap();
/// assert_eq!(format!("{secret:?}"), "Secret(..)");
/// assert!(!secret.is_short());
/// assert!(Secret::new("kurz").unwrap().is_short());
/// assert!(Secret::new([0; 257]).is_err());
/// ```
#[derive(Clone)]
pub struct Secret(Vec<u8, MAX_SECRET_LEN>);

impl Secret {
    /// A secret of raw bytes; those of a string are its UTF-8.
    ///
    /// # Errors
    /// [`CredentialsError::SecretEmpty`] or [`CredentialsError::SecretTooLong`].
    pub fn new(bytes: impl AsRef<[u8]>) -> Result<Self, CredentialsError> {
        let bytes = bytes.as_ref();
        if bytes.is_empty() {
            return Err(CredentialsError::SecretEmpty);
        }
        Vec::from_slice(bytes).map(Self).map_err(|_| CredentialsError::SecretTooLong)
    }

    /// Whether the secret has fewer than [`MIN_ADVISED_SECRET_LEN`] bytes.
    pub fn is_short(&self) -> bool {
        self.0.len() < MIN_ADVISED_SECRET_LEN
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes().ct_eq(other.as_bytes()).into()
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}
