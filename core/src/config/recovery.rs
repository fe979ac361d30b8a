//! What becomes of a session whose connection is lost.

use core::time::Duration;

/// How long a session that was logged in tries to come back.
///
/// ```
/// use core::time::Duration;
/// use iscsi_core::config::Retry;
/// assert_eq!(Retry::default(), Retry::Never);
/// assert_ne!(Retry::For(Duration::from_secs(120)), Retry::Forever);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Retry {
    /// Not at all: the session fails, and every task ends with the reason.
    #[default]
    Never,
    /// Until this much time has passed since the loss; then the session fails. Tasks wait until then.
    For(Duration),
    /// For as long as the application lets it. Every attempt has its deadlines, but the tasks wait without one.
    Forever,
}

/// The policy for session recovery (RFC 7143 section 7.1.4.4): what happens when the connection of a session that was logged in is lost.
///
/// A recovering session keeps what was not sent yet, and what was sent with [`OnLoss::Reissue`](crate::OnLoss::Reissue). All else ends with
/// [`Event::TaskLost`](crate::Event::TaskLost) at once. It waits for DefaultTime2Wait, or for the time that the target announced, logs in again
/// with the same ISID (session reinstatement), has the devices verified, and issues what it kept again: one command first, and the rest when that
/// is answered or has taken a second.
///
/// Attempts after the first wait longer and longer: from `first_delay`, twice as long each time, up to `longest_delay`; a random part of up
/// to one half is taken off, so that many initiators do not come back at the same moment. The delays, and the
/// policy's time, start over only once a connection has completed a task, or stood for `longest_delay` (or for the policy's time, if that is shorter): a connection
/// that is lost again and again is not tried again and again. While commands wait it has stood up to the last answer to a ping.
///
/// ```
/// use core::time::Duration;
/// use iscsi_core::config::{Recovery, Retry};
///
/// // What open-iscsi calls a replacement_timeout of two minutes.
/// let recovery = Recovery::lasting(Duration::from_secs(120));
/// assert_eq!(recovery.retry, Retry::For(Duration::from_secs(120)));
/// assert_eq!(Recovery::default().retry, Retry::Never);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recovery {
    /// How long to try.
    pub retry: Retry,
    /// The delay before the second attempt.
    pub first_delay: Duration,
    /// The longest delay.
    pub longest_delay: Duration,
    /// How often one command may be issued again: a command that takes every connection down is given up after that.
    pub reissues: u8,
    /// After a new login, wait until [`Session::verified`](crate::Session::verified) says that the devices are the same as before. Without it
    /// commands go to whatever answers under the target's name now.
    pub verify: bool,
}

impl Recovery {
    /// No recovery: a lost connection fails the session and all of its tasks.
    pub const NEVER: Self = Self {
        retry: Retry::Never,
        first_delay: Duration::from_secs(1),
        longest_delay: Duration::from_secs(30),
        reissues: 16,
        verify: true,
    };

    /// Tries for this long, tasks waiting meanwhile.
    pub const fn lasting(time: Duration) -> Self {
        Self { retry: Retry::For(time), ..Self::NEVER }
    }

    /// Tries until the application closes the session.
    pub const FOREVER: Self = Self { retry: Retry::Forever, ..Self::NEVER };

    /// The longest wait before attempt number `attempt`, the first of which is 1 and waits for the target's time only.
    pub(crate) fn delay(&self, attempt: u32) -> Duration {
        match attempt.checked_sub(2) {
            None => Duration::ZERO,
            Some(doublings) => {
                let factor = 1u32.checked_shl(doublings).unwrap_or(u32::MAX);
                self.first_delay.saturating_mul(factor).min(self.longest_delay)
            }
        }
    }
}

impl Default for Recovery {
    fn default() -> Self {
        Self::NEVER
    }
}

/// What follows if a task that missed its deadline cannot be aborted: the target refuses ABORT TASK or does not answer it in time.
///
/// Each step has the deadline [`Timeouts::task_management`](super::Timeouts::task_management). A reset ends the commands of other
/// initiators too. Those of this session end with [`LostReason::TaskManagement`](crate::LostReason::TaskManagement); `iscsi-disk` tries its own again.
///
/// ```
/// use iscsi_core::config::Escalation;
/// assert!(Escalation::Connection < Escalation::TargetColdReset);
/// assert_eq!(Escalation::default(), Escalation::LogicalUnitReset);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[non_exhaustive]
pub enum Escalation {
    /// The connection is dropped.
    Connection,
    /// LOGICAL UNIT RESET, then the connection is dropped.
    #[default]
    LogicalUnitReset,
    /// LOGICAL UNIT RESET, then TARGET COLD RESET, then the connection is dropped.
    TargetColdReset,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_the_longest() {
        let recovery = Recovery::FOREVER;
        let delays = [0, 1, 2, 3, 6, 7, 8, 40, u32::MAX].map(|n| recovery.delay(n).as_secs());
        assert_eq!(delays, [0, 0, 1, 2, 16, 30, 30, 30, 30]);
    }
}
