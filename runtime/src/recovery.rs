//! What a session that lost its connection tells, on the way back and when it gives up.

use core::fmt;
use core::time::Duration;

use iscsi_core::{LostReason, RecoveryStatus, SessionState};

use crate::error::Error;

/// A step in the life of a session, for [`Options::watch`](crate::Options::watch).
///
/// ```
/// use core::time::Duration;
/// use iscsi_core::{LostReason, SessionState};
/// use iscsi_runtime::SessionStep;
/// let step = SessionStep {
///     state: SessionState::Waiting(LostReason::Eof),
///     recovery: None,
///     was_logged_in: true,
///     wait: Some(Duration::from_millis(1500)),
/// };
/// let text = "connection lost: the target closed the connection; next attempt in 1.5 s";
/// assert_eq!(step.to_string(), text);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionStep {
    /// The state that the session has reached.
    pub state: SessionState,
    /// The session was logged in before this step: a loss is not a failed attempt.
    pub was_logged_in: bool,
    /// How the recovery stands, if there is one.
    pub recovery: Option<RecoveryStatus>,
    /// How long the session waits before the next attempt to connect.
    pub wait: Option<Duration>,
}

/// A function that is told the steps of a session, for example to log them. Of steps that follow each other within one turn of the loop it hears the last. It runs on
/// the thread that drives the session.
pub type Watch = fn(&SessionStep);

impl fmt::Display for SessionStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let attempt = self.recovery.map_or(0, |recovery| recovery.attempts);
        match self.state {
            SessionState::Idle => f.write_str("not connected"),
            SessionState::Connecting if attempt > 0 => write!(f, "connecting, attempt {attempt}"),
            SessionState::Connecting => f.write_str("connecting"),
            SessionState::LoggingIn => f.write_str("logging in"),
            SessionState::Verifying => f.write_str("logged in again, verifying the device"),
            SessionState::LoggedIn => f.write_str("logged in"),
            SessionState::LoggingOut => f.write_str("logging out"),
            SessionState::Waiting(reason) => {
                if self.was_logged_in {
                    write!(f, "connection lost: {reason}")?;
                } else {
                    write!(f, "attempt {attempt} failed: {reason}")?;
                }
                match self.wait {
                    Some(Duration::ZERO) => f.write_str("; connecting again"),
                    Some(wait) => write!(f, "; next attempt in {:.1} s", wait.as_secs_f32()),
                    None => Ok(()),
                }
            }
            SessionState::Closed => f.write_str("logged out"),
            SessionState::Failed(reason) => write!(f, "failed: {reason}"),
            _ => write!(f, "{:?}", self.state),
        }
    }
}

/// A session that did not come back in the time that its policy gives ([`Recovery::retry`](iscsi_core::config::Recovery::retry)).
///
/// ```
/// use iscsi_runtime::Error;
///
/// fn report(error: &Error) {
///     if let Error::GaveUp(failure) = error {
///         eprintln!("{} attempts, the last: {}", failure.attempts, failure.last);
///     }
/// }
/// # report(&Error::ShutDown);
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct GaveUp {
    /// Why the connection was lost.
    pub first: LostReason,
    /// Why the last attempt failed.
    pub last: Error,
    /// Attempts that were begun.
    pub attempts: u32,
    /// How long they took together, in the engine's time.
    pub time: Duration,
}

impl fmt::Display for GaveUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { first, last, attempts, time } = self;
        let seconds = time.as_secs_f32();
        let plural = if *attempts == 1 { "" } else { "s" };
        write!(
            f,
            "gave up after {attempts} attempt{plural} in {seconds:.1} s to replace the connection ({first}): {last}"
        )
    }
}
