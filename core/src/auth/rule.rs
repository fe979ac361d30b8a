//! Rules of authentication.

use core::fmt;

use crate::text::Key;
use crate::wire::LoginStatus;

/// Why authentication failed: one variant for each rule (RFC 7143 sections 9.2 and 12.1).
///
/// Of mutual CHAP, [`AuthRule::ResponseMissing`] says that the target proved nothing, [`AuthRule::WrongResponse`] that it
/// does not know the secret that is configured for it, and [`AuthRule::ReplayedResponse`] that it answered with this
/// side's own secret.
///
/// ```
/// use iscsi_core::auth::AuthRule;
/// assert_eq!(AuthRule::ReplayedResponse.section(), "9.2.1");
/// assert_eq!(AuthRule::WrongResponse.to_string(), "the CHAP response of the other side is wrong: its secret is another");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum AuthRule {
    /// The target chose an authentication method that was not offered.
    MethodNotOffered,
    /// The target rejects every method that was offered.
    MethodRejected,
    /// The other side offers no method that is accepted here.
    NoCommonMethod,
    /// The target went on without the authentication that is required here.
    Skipped,
    /// A key that does not belong to this step.
    UnexpectedKey(Key),
    /// A key of this step is missing.
    MissingKey(Key),
    /// CHAP_A is not one number.
    AlgorithmMalformed,
    /// CHAP_A is none of the offered algorithms.
    AlgorithmNotOffered,
    /// None of the algorithms in CHAP_A is accepted here.
    NoCommonAlgorithm,
    /// CHAP_I is not a number from 0 to 255.
    Identifier,
    /// CHAP_C is no binary item.
    ChallengeMalformed,
    /// CHAP_C has no byte.
    ChallengeEmpty,
    /// CHAP_C has more than 1024 bytes.
    ChallengeTooLong,
    /// CHAP_C is a challenge that this node issued on some connection.
    ChallengeReflected,
    /// CHAP_N is empty, too long or not UTF-8.
    NameMalformed,
    /// CHAP_N is not the name that is configured for the other side.
    WrongName,
    /// The other side did not prove its identity.
    ResponseMissing,
    /// CHAP_R is no binary item of the hash's length.
    ResponseMalformed,
    /// CHAP_R is wrong: the other side does not know its secret.
    WrongResponse,
    /// CHAP_R is what this side would have answered: both directions share a secret, or the response was obtained from this node.
    ReplayedResponse,
    /// The initiator demands mutual authentication and this target has no credentials for it.
    MutualNotConfigured,
    /// The answer does not fit into the area for it.
    AnswerTooLong,
}

impl AuthRule {
    /// The section of RFC 7143 that holds the rule.
    pub const fn section(&self) -> &'static str {
        match self {
            Self::MethodNotOffered | Self::MethodRejected | Self::NoCommonMethod => "12.1",
            Self::Skipped | Self::UnexpectedKey(_) | Self::MissingKey(_) | Self::WrongName => "9.2",
            Self::ChallengeReflected | Self::ReplayedResponse => "9.2.1",
            _ => "12.1.3",
        }
    }

    /// The status with which a target refuses the login.
    pub const fn login_status(&self) -> LoginStatus {
        match self {
            Self::MissingKey(_) => LoginStatus::MISSING_PARAMETER,
            Self::UnexpectedKey(_)
            | Self::AlgorithmMalformed
            | Self::Identifier
            | Self::ChallengeMalformed
            | Self::ChallengeEmpty
            | Self::ChallengeTooLong
            | Self::NameMalformed
            | Self::ResponseMalformed => LoginStatus::INITIATOR_ERROR,
            Self::AnswerTooLong => LoginStatus::TARGET_ERROR,
            _ => LoginStatus::AUTHENTICATION_FAILURE,
        }
    }
}

impl fmt::Display for AuthRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::MethodNotOffered => "the target chose an AuthMethod that was not offered",
            Self::MethodRejected => "the target rejects every AuthMethod that was offered",
            Self::NoCommonMethod => "the other side offers no AuthMethod that is accepted here",
            Self::Skipped => "the target went on without the required authentication",
            Self::UnexpectedKey(key) => return write!(f, "{key} does not belong to this step"),
            Self::MissingKey(key) => return write!(f, "{key} is missing"),
            Self::AlgorithmMalformed => "CHAP_A is not a number",
            Self::AlgorithmNotOffered => "CHAP_A names an algorithm that was not offered",
            Self::NoCommonAlgorithm => "CHAP_A names no algorithm that is accepted here",
            Self::Identifier => "CHAP_I is not a number from 0 to 255",
            Self::ChallengeMalformed => "CHAP_C is no binary item",
            Self::ChallengeEmpty => "CHAP_C is empty",
            Self::ChallengeTooLong => "CHAP_C has more than 1024 bytes",
            Self::ChallengeReflected => "CHAP_C is a challenge that was issued here",
            Self::NameMalformed => "CHAP_N is empty, too long or not UTF-8",
            Self::WrongName => "CHAP_N is not the configured name",
            Self::ResponseMissing => "the other side did not prove its identity",
            Self::ResponseMalformed => "CHAP_R is no binary item of the right length",
            Self::WrongResponse => {
                "the CHAP response of the other side is wrong: its secret is another"
            }
            Self::ReplayedResponse => {
                "the CHAP response of the other side was made with the secret of this side"
            }
            Self::MutualNotConfigured => "mutual CHAP is asked for and not configured",
            Self::AnswerTooLong => "there is no room for the answer",
        })
    }
}

impl core::error::Error for AuthRule {}
