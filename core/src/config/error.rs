//! Why a configuration was refused.

use core::fmt;

use crate::text::Key;

/// A value outside of its range, or values that do not fit together.
///
/// ```
/// use iscsi_core::{Config, ConfigError, IscsiName};
/// use iscsi_core::text::Key;
///
/// let name = IscsiName::new("iqn.2001-04.com.example:host").unwrap();
/// let error = Config::discovery(name).max_recv_data_segment_length(100).build().unwrap_err();
/// assert_eq!(
///     error,
///     ConfigError::OutOfRange { key: Key::MaxRecvDataSegmentLength, min: 512, max: 16_777_215 }
/// );
/// assert_eq!(error.to_string(), "MaxRecvDataSegmentLength must be from 512 to 16777215");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConfigError {
    /// The value of a key is outside of its range.
    OutOfRange {
        /// The key.
        key: Key,
        /// The smallest value.
        min: u32,
        /// The largest value.
        max: u32,
    },
    /// An alias has at most 255 bytes and no zero byte.
    Alias,
    /// TaskReporting is offered without RFC3720 or without ResponseFence (RFC 7143 section 13.23).
    TaskReportingIncomplete,
    /// TaskReporting offers FastAbort, which the engine does not do (RFC 7143 section 4.2.3.4).
    FastAbort,
    /// A login that skips SecurityNegotiation cannot use credentials.
    SkipsSecurityWithCredentials,
    /// A time limit of zero.
    ZeroTimeout(TimeoutKind),
    /// Recovery with a delay of zero would spin, and one that lasts no time is none.
    RecoveryDelay,
    /// A login must be allowed 6 exchanges at least (RFC 7143 section 6.2).
    TooFewLoginExchanges,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OutOfRange { key, min, max } => write!(f, "{key} must be from {min} to {max}"),
            Self::Alias => f.write_str("InitiatorAlias has at most 255 bytes and no zero byte"),
            Self::TaskReportingIncomplete => {
                f.write_str("TaskReporting must offer RFC3720 and ResponseFence")
            }
            Self::FastAbort => f.write_str("TaskReporting cannot offer FastAbort"),
            Self::SkipsSecurityWithCredentials => {
                f.write_str("a login with credentials cannot skip SecurityNegotiation")
            }
            Self::ZeroTimeout(kind) => write!(f, "the {kind} time limit must be above zero"),
            Self::RecoveryDelay => f.write_str(
                "recovery needs a time and a first delay above zero, and a longest delay not below the first",
            ),
            Self::TooFewLoginExchanges => f.write_str("a login needs at least 6 exchanges"),
        }
    }
}

impl core::error::Error for ConfigError {}

/// A time limit, by the name of its field in [`Timeouts`](super::Timeouts).
///
/// ```
/// assert_eq!(iscsi_core::config::TimeoutKind::NopInterval.to_string(), "nop_interval");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TimeoutKind {
    /// `connect`
    Connect,
    /// `login`
    Login,
    /// `command`
    Command,
    /// `task_management`
    TaskManagement,
    /// `text`
    Text,
    /// `logout`
    Logout,
    /// `nop_interval`
    NopInterval,
    /// `nop_timeout`
    NopTimeout,
    /// `progress`
    Progress,
    /// `verify`
    Verify,
}

impl fmt::Display for TimeoutKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connect => "connect",
            Self::Login => "login",
            Self::Command => "command",
            Self::TaskManagement => "task_management",
            Self::Text => "text",
            Self::Logout => "logout",
            Self::NopInterval => "nop_interval",
            Self::NopTimeout => "nop_timeout",
            Self::Progress => "progress",
            Self::Verify => "verify",
        })
    }
}
