//! Why a login failed, in the words of the one who configured it.

use core::fmt;

use iscsi_core::auth::AuthRule;
use iscsi_core::login::LoginError;
use iscsi_core::wire::LoginStatus;
use iscsi_core::{Config, LostReason, ProtocolError};

/// Why a login failed.
///
/// A target does not say whether it was the user or the secret that it did not like (RFC 7143 section 11.13.5), so the two share
/// [`CredentialsRefused`](Self::CredentialsRefused).
///
/// ```
/// use iscsi_core::wire::LoginStatus;
/// use iscsi_runtime::LoginFailure;
/// let failure = LoginFailure::CredentialsRefused(LoginStatus::AUTHENTICATION_FAILURE);
/// assert_eq!(
///     failure.to_string(),
///     "the target does not know this CHAP user, or the secret is wrong: Authentication failure (0x0201)"
/// );
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum LoginFailure {
    /// The target demands CHAP and no credentials are configured.
    CredentialsMissing(LoginStatus),
    /// The target did not accept the CHAP user or the secret.
    CredentialsRefused(LoginStatus),
    /// The target did not prove that it knows the secret that is configured for it (mutual CHAP).
    TargetSecret(AuthRule),
    /// The target calls itself by another CHAP name than the one configured for it.
    TargetUser,
    /// The target has no credentials of its own, or does not use CHAP as demanded.
    TargetUnproven(AuthRule),
    /// This initiator is not allowed to use the target.
    NotAllowed(LoginStatus),
    /// There is no such target at this portal.
    NoSuchTarget(LoginStatus),
    /// The target refused for another reason.
    Refused(LoginStatus),
    /// The target broke a rule of the login.
    Protocol(LoginError),
}

impl LoginFailure {
    /// The failure that made the engine give up, if it was one of the login.
    pub(crate) fn of(reason: LostReason, config: &Config) -> Option<Self> {
        match reason {
            LostReason::LoginRefused(status) => Some(Self::of_status(status, config)),
            LostReason::Protocol(ProtocolError::Login(LoginError::Auth(rule))) => {
                Some(Self::of_rule(rule))
            }
            LostReason::Protocol(ProtocolError::Login(error)) => Some(Self::Protocol(error)),
            _ => None,
        }
    }

    fn of_status(status: LoginStatus, config: &Config) -> Self {
        match status {
            LoginStatus::AUTHENTICATION_FAILURE if config.chap().is_none() => {
                Self::CredentialsMissing(status)
            }
            LoginStatus::AUTHENTICATION_FAILURE => Self::CredentialsRefused(status),
            LoginStatus::AUTHORIZATION_FAILURE => Self::NotAllowed(status),
            LoginStatus::NOT_FOUND | LoginStatus::TARGET_REMOVED => Self::NoSuchTarget(status),
            _ => Self::Refused(status),
        }
    }

    fn of_rule(rule: AuthRule) -> Self {
        match rule {
            AuthRule::WrongResponse | AuthRule::ReplayedResponse | AuthRule::ResponseMalformed => {
                Self::TargetSecret(rule)
            }
            AuthRule::WrongName => Self::TargetUser,
            AuthRule::ResponseMissing | AuthRule::Skipped | AuthRule::MethodRejected => {
                Self::TargetUnproven(rule)
            }
            _ => Self::Protocol(LoginError::Auth(rule)),
        }
    }

    /// The target's status, if it sent one.
    pub const fn status(&self) -> Option<LoginStatus> {
        match self {
            Self::CredentialsMissing(status)
            | Self::CredentialsRefused(status)
            | Self::NotAllowed(status)
            | Self::NoSuchTarget(status)
            | Self::Refused(status) => Some(*status),
            Self::TargetSecret(_)
            | Self::TargetUser
            | Self::TargetUnproven(_)
            | Self::Protocol(_) => None,
        }
    }
}

impl fmt::Display for LoginFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CredentialsMissing(status) => {
                write!(f, "the target demands CHAP, and no user is configured: {status}")
            }
            Self::CredentialsRefused(status) => write!(
                f,
                "the target does not know this CHAP user, or the secret is wrong: {status}"
            ),
            Self::TargetSecret(rule) => {
                write!(f, "the target is not the one it should be (mutual CHAP): {rule}")
            }
            Self::TargetUser => {
                f.write_str("the CHAP name of the target is not the one configured (mutual CHAP)")
            }
            Self::TargetUnproven(rule) => {
                write!(f, "the target does not authenticate as demanded: {rule}")
            }
            Self::NotAllowed(status) => {
                write!(f, "this initiator may not use the target: {status}")
            }
            Self::NoSuchTarget(status) => write!(f, "there is no such target here: {status}"),
            Self::Refused(status) => write!(f, "the target refused the login: {status}"),
            Self::Protocol(error) => write!(f, "the login failed: {error}"),
        }
    }
}

impl core::error::Error for LoginFailure {}
