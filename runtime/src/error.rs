//! What can go wrong.

use alloc::sync::Arc;
use core::fmt;
use core::net::SocketAddr;
use std::io;

use iscsi_core::auth::CredentialsError;
use iscsi_core::wire::RejectReason;
use iscsi_core::{ConfigError, LostReason, SubmitError, Timer};
use iscsi_disk::{DiskError, RequestError};

use crate::login::LoginFailure;
use crate::net::{ConnectError, Step};
use crate::recovery::GaveUp;
use crate::scsi::ScsiError;

/// What can go wrong. Cloning is cheap: one broken connection may be the error of many requests.
///
/// ```
/// use iscsi_core::{LostReason, Timer};
/// use iscsi_runtime::Error;
///
/// let error = Error::Lost(LostReason::TimedOut(Timer::Task));
/// assert_eq!(error.timer(), Some(Timer::Task));
/// assert_eq!(error.to_string(), "task timed out");
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Error {
    /// No address of the portal could be connected to.
    Connect(Arc<ConnectError>),
    /// The system refused something else.
    Io(Arc<IoError>),
    /// The target refused the login, or failed to prove who it is.
    Login(LoginFailure),
    /// The session or the task ended without an answer.
    Lost(LostReason),
    /// The connection was lost, and the session did not come back in the time that its policy gives.
    GaveUp(Arc<GaveUp>),
    /// The session does not take such a request now.
    Submit(SubmitError),
    /// The configuration is wrong.
    Config(ConfigError),
    /// The credentials are wrong.
    Credentials(CredentialsError),
    /// The device ended a command with an error.
    Scsi(ScsiError),
    /// The disk does not take such a request.
    Request(RequestError),
    /// A request to a disk failed.
    Disk(DiskError),
    /// The memory for a command's data is shorter than what is to be moved.
    Memory {
        /// Bytes to be moved.
        needed: u64,
        /// Bytes of memory for that direction.
        given: u64,
    },
    /// The target refused to tell its targets.
    Discovery(RejectReason),
    /// A portal told more names and addresses than this; whatever it means, no memory is filled with it.
    TooManyTargets(usize),
    /// The handle was shut down.
    ShutDown,
}

impl Error {
    /// The time limit that has passed, if one has.
    pub fn timer(&self) -> Option<Timer> {
        match self {
            Self::Lost(LostReason::TimedOut(timer)) => Some(*timer),
            Self::GaveUp(_) => Some(Timer::Recovery),
            Self::Connect(error) if error.timed_out() => Some(Timer::Connect),
            _ => None,
        }
    }

    /// Of a system call.
    pub fn io(step: Step, peer: Option<SocketAddr>, source: io::Error) -> Self {
        Self::Io(Arc::new(IoError { step, peer, source }))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect(error) => error.fmt(f),
            Self::Io(error) => error.fmt(f),
            Self::Login(failure) => failure.fmt(f),
            Self::Lost(reason) => reason.fmt(f),
            Self::GaveUp(failure) => failure.fmt(f),
            Self::Submit(error) => error.fmt(f),
            Self::Config(error) => error.fmt(f),
            Self::Credentials(error) => error.fmt(f),
            Self::Scsi(error) => error.fmt(f),
            Self::Request(error) => error.fmt(f),
            Self::Disk(error) => error.fmt(f),
            Self::Memory { needed, given } => {
                write!(f, "{needed} bytes are to be moved, the memory has {given}")
            }
            Self::Discovery(reason) => write!(f, "the target refuses discovery: {reason}"),
            Self::TooManyTargets(most) => {
                write!(f, "the portal tells more than {most} names and addresses")
            }
            Self::ShutDown => f.write_str("the session was shut down"),
        }
    }
}

impl core::error::Error for Error {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Connect(error) => error.source(),
            Self::Io(error) => Some(&error.source),
            Self::GaveUp(failure) => Some(&failure.last),
            _ => None,
        }
    }
}

impl From<SubmitError> for Error {
    fn from(error: SubmitError) -> Self {
        Self::Submit(error)
    }
}

impl From<ConfigError> for Error {
    fn from(error: ConfigError) -> Self {
        Self::Config(error)
    }
}

impl From<CredentialsError> for Error {
    fn from(error: CredentialsError) -> Self {
        Self::Credentials(error)
    }
}

impl From<ScsiError> for Error {
    fn from(error: ScsiError) -> Self {
        Self::Scsi(error)
    }
}

impl From<RequestError> for Error {
    fn from(error: RequestError) -> Self {
        Self::Request(error)
    }
}

impl From<Error> for io::Error {
    /// With the nearest kind, for code that speaks `std::io`.
    fn from(error: Error) -> Self {
        let kind = match &error {
            Error::Io(inner) => inner.source.kind(),
            Error::Connect(inner) => {
                inner.attempts().last().map_or(io::ErrorKind::NotFound, |last| last.error.kind())
            }
            Error::Login(_) => io::ErrorKind::PermissionDenied,
            Error::Lost(LostReason::TimedOut(_)) | Error::GaveUp(_) => io::ErrorKind::TimedOut,
            Error::Lost(LostReason::Eof | LostReason::Transport) => io::ErrorKind::ConnectionReset,
            Error::Lost(_) => io::ErrorKind::ConnectionAborted,
            Error::Submit(SubmitError::NotOpen) | Error::ShutDown => io::ErrorKind::NotConnected,
            Error::Memory { .. } | Error::Config(_) | Error::Credentials(_) => {
                io::ErrorKind::InvalidInput
            }
            Error::Request(RequestError::OutOfRange { .. }) => io::ErrorKind::UnexpectedEof,
            Error::Request(RequestError::ReadOnly) => io::ErrorKind::ReadOnlyFilesystem,
            Error::Request(RequestError::Unsupported) => io::ErrorKind::Unsupported,
            Error::Request(RequestError::Unaligned { .. } | RequestError::TooLong { .. }) => {
                io::ErrorKind::InvalidInput
            }
            Error::Submit(_)
            | Error::Scsi(_)
            | Error::Request(_)
            | Error::Disk(_)
            | Error::Discovery(_)
            | Error::TooManyTargets(_) => io::ErrorKind::Other,
        };
        Self::new(kind, error)
    }
}

/// A system call that failed, and where.
///
/// ```
/// use iscsi_runtime::Error;
///
/// fn report(error: &Error) {
///     if let Error::Io(error) = error {
///         println!("{:?}: {}", error.peer(), error.step());
///     }
/// }
/// # report(&Error::ShutDown);
/// ```
#[derive(Debug)]
pub struct IoError {
    step: Step,
    peer: Option<SocketAddr>,
    source: io::Error,
}

impl IoError {
    /// What was being done.
    pub const fn step(&self) -> &Step {
        &self.step
    }

    /// The address of the target, if there was a connection.
    pub const fn peer(&self) -> Option<SocketAddr> {
        self.peer
    }

    /// What the system said.
    pub const fn error(&self) -> &io::Error {
        &self.source
    }
}

impl fmt::Display for IoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.peer {
            Some(peer) => write!(f, "{} with {peer}: {}", self.step, self.source),
            None => write!(f, "{}: {}", self.step, self.source),
        }
    }
}

impl core::error::Error for IoError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        Some(&self.source)
    }
}
