//! Why no connection was made: every attempt, and where it failed.

use core::fmt;
use core::net::SocketAddr;
use std::io;

use iscsi_core::Portal;

/// What was being done when the system said no.
///
/// ```
/// use iscsi_runtime::Step;
/// assert_eq!(Step::Option("SO_RCVBUF").to_string(), "setting SO_RCVBUF");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Step {
    /// Looking up the addresses of the host name.
    Resolve,
    /// Making a socket.
    Socket,
    /// Setting this socket option.
    Option(&'static str),
    /// Binding to this network interface.
    BindInterface(String),
    /// Binding to the source address.
    BindSource,
    /// Connecting.
    Connect,
    /// Drawing random bytes.
    Random,
    /// Making a thread.
    Thread,
    /// Making the object that wakes a sleeping thread.
    Waker,
    /// Waiting for the socket.
    Wait,
    /// Reading from the connection or writing to it.
    Transfer,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Resolve => "looking up the host name",
            Self::Socket => "making a socket",
            Self::Option(name) => return write!(f, "setting {name}"),
            Self::BindInterface(name) => return write!(f, "binding to interface {name}"),
            Self::BindSource => "binding to the source address",
            Self::Connect => "connecting",
            Self::Random => "drawing random bytes",
            Self::Thread => "making a thread",
            Self::Waker => "making a waker",
            Self::Wait => "waiting for the connection",
            Self::Transfer => "using the connection",
        })
    }
}

/// One attempt that failed.
///
/// ```
/// use iscsi_runtime::{Attempt, Step};
/// let attempt = Attempt {
///     address: Some("192.0.2.1:3260".parse().unwrap()),
///     step: Step::Connect,
///     error: std::io::ErrorKind::TimedOut.into(),
/// };
/// assert_eq!(attempt.to_string(), "192.0.2.1:3260: timed out");
/// ```
#[derive(Debug)]
pub struct Attempt {
    /// The address that was tried; `None` if it did not come so far.
    pub address: Option<SocketAddr>,
    /// What failed.
    pub step: Step,
    /// What the system said.
    pub error: io::Error,
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(address) = self.address {
            write!(f, "{address}: ")?;
        }
        match self.step {
            Step::Connect => write!(f, "{}", self.error),
            ref step => write!(f, "{step}: {}", self.error),
        }
    }
}

/// No address of a portal could be connected to.
///
/// ```
/// use iscsi_runtime::Error;
///
/// fn report(error: &Error) {
///     if let Error::Connect(error) = error {
///         for attempt in error.attempts() {
///             println!("{attempt}");
///         }
///     }
/// }
/// # report(&Error::ShutDown);
/// ```
#[derive(Debug)]
pub struct ConnectError {
    pub(crate) portal: Portal,
    pub(crate) attempts: Vec<Attempt>,
    pub(crate) timed_out: bool,
}

impl ConnectError {
    /// Where the connection should have gone.
    pub const fn portal(&self) -> &Portal {
        &self.portal
    }

    /// Every attempt, in the order in which they failed.
    pub fn attempts(&self) -> &[Attempt] {
        &self.attempts
    }

    /// Whether the time limit ended it.
    pub const fn timed_out(&self) -> bool {
        self.timed_out
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot connect to {}", self.portal)?;
        for (n, attempt) in self.attempts.iter().enumerate() {
            write!(f, "{}{attempt}", if n == 0 { ": " } else { "; " })?;
        }
        if self.timed_out && self.attempts.is_empty() {
            f.write_str(": timed out")?;
        }
        Ok(())
    }
}

impl core::error::Error for ConnectError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        self.attempts.last().map(|attempt| &attempt.error as _)
    }
}
