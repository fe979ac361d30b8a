//! What an initiator needs for CHAP: names, secrets, algorithms.

use core::fmt;

use heapless::String;

use super::{ChapAlgorithm, ChapAlgorithms, Secret};

/// The longest user name (CHAP_N) in bytes.
pub const MAX_USER_LEN: usize = 255;

/// The initiator's credentials and its demands on the target (RFC 7143 section 12.1.3).
///
/// ```
/// use iscsi_core::auth::{Chap, ChapAlgorithms, CredentialsError, Secret};
///
/// let ours = Secret::new("initiator-secret").unwrap();
/// let theirs = Secret::new("target-secret-1").unwrap();
/// let chap = Chap::new("alice", ours.clone()).unwrap()
///     .with_algorithms(ChapAlgorithms::MD5).unwrap()
///     .with_mutual(Some("disk"), theirs).unwrap();
/// assert_eq!(chap.user(), "alice");
/// assert!(chap.mutual().is_some() && !chap.allows_none());
///
/// let shared = Chap::new("alice", ours.clone()).unwrap().with_mutual(None, ours);
/// assert_eq!(shared.unwrap_err(), CredentialsError::EqualSecrets);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chap {
    user: String<MAX_USER_LEN>,
    secret: Secret,
    algorithms: ChapAlgorithms,
    mutual: Option<MutualChap>,
    allow_none: bool,
}

impl Chap {
    /// One-way CHAP: the initiator proves that it knows `secret`. All available algorithms are offered, and AuthMethod=None is not.
    ///
    /// # Errors
    /// [`CredentialsError::UserEmpty`] or [`CredentialsError::UserTooLong`].
    pub fn new(user: &str, secret: Secret) -> Result<Self, CredentialsError> {
        Ok(Self {
            user: checked_user(user)?,
            secret,
            algorithms: ChapAlgorithms::available(),
            mutual: None,
            allow_none: false,
        })
    }

    /// Also demands that the target proves that it knows `secret` and, if given, that it calls itself `user`.
    ///
    /// # Errors
    /// [`CredentialsError::EqualSecrets`] if the secret is the initiator's own (RFC 7143 section 9.2.1), or a rule for `user`.
    pub fn with_mutual(
        mut self,
        user: Option<&str>,
        secret: Secret,
    ) -> Result<Self, CredentialsError> {
        if secret == self.secret {
            return Err(CredentialsError::EqualSecrets);
        }
        self.mutual = Some(MutualChap { user: user.map(checked_user).transpose()?, secret });
        Ok(self)
    }

    /// Offers these algorithms in this order.
    ///
    /// # Errors
    /// [`CredentialsError::NoAlgorithm`] for an empty list, [`CredentialsError::Unavailable`] if this build lacks one.
    pub fn with_algorithms(mut self, algorithms: ChapAlgorithms) -> Result<Self, CredentialsError> {
        if algorithms.is_empty() {
            return Err(CredentialsError::NoAlgorithm);
        }
        if let Some(missing) = algorithms.iter().find(|algorithm| !algorithm.is_available()) {
            return Err(CredentialsError::Unavailable(missing));
        }
        self.algorithms = algorithms;
        Ok(self)
    }

    /// Also offers AuthMethod=None, after CHAP: a target that does not ask for authentication is then accepted.
    ///
    /// Whoever can answer in the target's place can choose None, so this is off unless asked for.
    #[must_use]
    pub const fn allow_none(mut self, allow: bool) -> Self {
        self.allow_none = allow;
        self
    }

    /// The initiator's name, sent as CHAP_N.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// The initiator's secret.
    pub const fn secret(&self) -> &Secret {
        &self.secret
    }

    /// The algorithms, the most wanted first.
    pub const fn algorithms(&self) -> &ChapAlgorithms {
        &self.algorithms
    }

    /// What the target must prove.
    pub const fn mutual(&self) -> Option<&MutualChap> {
        self.mutual.as_ref()
    }

    /// Whether AuthMethod=None is offered, too.
    pub const fn allows_none(&self) -> bool {
        self.allow_none
    }
}

/// What the target must prove in mutual CHAP.
///
/// ```
/// use iscsi_core::auth::{Chap, Secret};
/// let chap = Chap::new("alice", Secret::new("initiator-secret").unwrap()).unwrap()
///     .with_mutual(Some("disk"), Secret::new("target-secret-1").unwrap()).unwrap();
/// assert_eq!(chap.mutual().unwrap().user(), Some("disk"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MutualChap {
    user: Option<String<MAX_USER_LEN>>,
    secret: Secret,
}

impl MutualChap {
    /// The name that the target must give as CHAP_N; any if absent.
    pub fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    /// The target's secret.
    pub const fn secret(&self) -> &Secret {
        &self.secret
    }
}

/// Why credentials were refused.
///
/// ```
/// use iscsi_core::auth::{CredentialsError, Secret};
/// assert_eq!(Secret::new("").unwrap_err(), CredentialsError::SecretEmpty);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum CredentialsError {
    /// A user name must not be empty.
    UserEmpty,
    /// A user name has at most [`MAX_USER_LEN`] bytes.
    UserTooLong,
    /// A user name holds a zero byte.
    UserCharacter,
    /// A secret must not be empty.
    SecretEmpty,
    /// A secret has at most [`super::MAX_SECRET_LEN`] bytes.
    SecretTooLong,
    /// A secret is given, or one is demanded of the target, without a user name for the initiator.
    UserMissing,
    /// There is no secret for the initiator.
    SecretMissing,
    /// There is no secret for the target, which mutual CHAP needs.
    MutualSecretMissing,
    /// Both directions have the same secret (RFC 7143 section 9.2.1).
    EqualSecrets,
    /// No algorithm is offered.
    NoAlgorithm,
    /// This build cannot compute the algorithm.
    Unavailable(ChapAlgorithm),
}

impl fmt::Display for CredentialsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UserEmpty => f.write_str("a CHAP user name must not be empty"),
            Self::UserTooLong => f.write_str("a CHAP user name has at most 255 bytes"),
            Self::UserCharacter => f.write_str("a CHAP user name must not hold a zero byte"),
            Self::SecretEmpty => f.write_str("a CHAP secret must not be empty"),
            Self::SecretTooLong => f.write_str("a CHAP secret has at most 256 bytes"),
            Self::UserMissing => f.write_str("the CHAP user name of the initiator is missing"),
            Self::SecretMissing => f.write_str("the CHAP secret of the initiator is missing"),
            Self::MutualSecretMissing => f.write_str("the CHAP secret of the target is missing"),
            Self::EqualSecrets => f.write_str("the secrets of both directions must differ"),
            Self::NoAlgorithm => f.write_str("no CHAP algorithm is offered"),
            Self::Unavailable(algorithm) => {
                write!(f, "this build has no {algorithm} (feature chap-sha)")
            }
        }
    }
}

impl core::error::Error for CredentialsError {}

fn checked_user(user: &str) -> Result<String<MAX_USER_LEN>, CredentialsError> {
    if user.is_empty() {
        return Err(CredentialsError::UserEmpty);
    }
    if user.contains('\0') {
        return Err(CredentialsError::UserCharacter);
    }
    String::try_from(user).map_err(|_| CredentialsError::UserTooLong)
}
