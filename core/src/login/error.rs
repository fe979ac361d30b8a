//! Why a login failed.

use core::fmt;

use crate::auth::AuthRule;
use crate::text::{KeyError, TextError};

/// A rule of the Login Phase that the target broke, in one of four families.
///
/// A login that the target refuses by status is no error but [`Step::Refused`](super::Step::Refused).
///
/// ```
/// use iscsi_core::login::{LoginError, LoginRule};
/// let error = LoginError::Rule(LoginRule::TsihZero);
/// assert_eq!(error.section(), "11.13.3");
/// assert_eq!(error.to_string(), "the last login response has TSIH 0 (RFC 7143 section 11.13.3)");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum LoginError {
    /// A rule for the exchange of requests and responses.
    Rule(LoginRule),
    /// Text that is no list of pairs.
    Text(TextError),
    /// A rule of negotiation.
    Key(KeyError),
    /// A rule of authentication.
    Auth(AuthRule),
}

impl LoginError {
    /// The section of RFC 7143 that holds the rule.
    pub const fn section(&self) -> &'static str {
        match self {
            Self::Rule(rule) => rule.section(),
            Self::Text(error) => error.section(),
            Self::Key(error) => error.section(),
            Self::Auth(rule) => rule.section(),
        }
    }
}

impl fmt::Display for LoginError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rule(rule) => rule.fmt(f)?,
            Self::Text(error) => error.fmt(f)?,
            Self::Key(error) => error.fmt(f)?,
            Self::Auth(rule) => rule.fmt(f)?,
        }
        write!(f, " (RFC 7143 section {})", self.section())
    }
}

impl core::error::Error for LoginError {}

impl From<LoginRule> for LoginError {
    fn from(rule: LoginRule) -> Self {
        Self::Rule(rule)
    }
}

impl From<TextError> for LoginError {
    fn from(error: TextError) -> Self {
        Self::Text(error)
    }
}

impl From<KeyError> for LoginError {
    fn from(error: KeyError) -> Self {
        Self::Key(error)
    }
}

impl From<AuthRule> for LoginError {
    fn from(rule: AuthRule) -> Self {
        Self::Auth(rule)
    }
}

/// The rules for the exchange of login requests and responses.
///
/// ```
/// use iscsi_core::login::LoginRule;
/// assert_eq!(LoginRule::StatSn.section(), "11.13.4");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LoginRule {
    /// No login is under way: it was not started, or it has ended.
    NotRunning,
    /// The Initiator Task Tag differs from the request's.
    InitiatorTaskTag,
    /// The ISID differs from the request's.
    Isid,
    /// The TSIH differs from the one of the session that the connection joins.
    Tsih,
    /// The last response of a new session has TSIH 0.
    TsihZero,
    /// Version-active is not 0.
    Version,
    /// The StatSN is not one above that of the previous response.
    StatSn,
    /// CSG differs from the request's.
    CurrentStage,
    /// T=1 although the request had T=0.
    TransitNotRequested,
    /// NSG is beyond the stage that was asked for.
    NextStage,
    /// T=1 in a response with a key that needs an answer.
    AnswerOwed,
    /// Text, T or C in the response to a request with C=1.
    TextNotAwaited,
    /// The login has taken more exchanges than it may.
    TooManyExchanges,
    /// The target's text is longer than 65536 bytes.
    TextTooLong,
    /// The area for requests is too short for this side's text.
    RequestTooLong,
    /// A redirect without a TargetAddress that can be read.
    RedirectAddress,
    /// TargetPortalGroupTag is not the one that is expected.
    PortalGroup,
}

impl LoginRule {
    /// The section of RFC 7143 that holds the rule.
    pub const fn section(self) -> &'static str {
        match self {
            Self::InitiatorTaskTag => "4.2.5.3",
            Self::Isid => "7.7",
            Self::Tsih | Self::TsihZero => "11.13.3",
            Self::Version => "11.13.2",
            Self::StatSn => "11.13.4",
            Self::TransitNotRequested | Self::AnswerOwed => "11.13.6",
            Self::TooManyExchanges | Self::TextNotAwaited => "6.2",
            Self::TextTooLong | Self::RequestTooLong => "6.1",
            Self::RedirectAddress => "11.13.5",
            Self::PortalGroup => "13.9",
            Self::NotRunning | Self::CurrentStage | Self::NextStage => "6.3",
        }
    }
}

impl fmt::Display for LoginRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotRunning => "no login is under way",
            Self::InitiatorTaskTag => "the login response is for another task tag",
            Self::Isid => "the login response has another ISID",
            Self::Tsih => "the login response has another TSIH",
            Self::TsihZero => "the last login response has TSIH 0",
            Self::Version => "the target uses another protocol version than 0",
            Self::StatSn => "the StatSN of the login response is not the next one",
            Self::CurrentStage => "the login response is for another stage",
            Self::TransitNotRequested => "the target changes the stage unasked",
            Self::NextStage => "the target goes beyond the stage that was asked for",
            Self::AnswerOwed => "the target changes the stage and asks for an answer",
            Self::TextNotAwaited => "the target does not wait for the end of the request",
            Self::TooManyExchanges => "the login takes too many exchanges",
            Self::TextTooLong => "the text of the target is too long",
            Self::RequestTooLong => "the area for login requests is too short",
            Self::RedirectAddress => "the target redirects to no usable address",
            Self::PortalGroup => "the target is in another portal group than expected",
        })
    }
}
