//! An end on request: SIGINT and SIGTERM.
//!
//! The first of them lets what is under way come to its end, for a moment and while there is a connection: whoever sends it will
//! not wait as long as the time limits of commands and of reconnecting allow. The second one ends the program at once.

use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use iscsi_core::SessionState;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

use crate::output::{Outcome, Stop};

/// What is under way may go on for so long after a request to end. Both that and a cache that is written afterwards fit into the ten seconds
/// after which containers are killed.
pub(crate) const GRACE: Duration = Duration::from_secs(3);

/// How often whoever waits looks whether it is to end.
pub(crate) const LOOK: Duration = Duration::from_millis(100);

/// Whether a session has a connection: without one nothing comes to an end soon.
pub(crate) const fn is_connected(state: SessionState) -> bool {
    matches!(state, SessionState::LoggedIn | SessionState::LoggingOut | SessionState::Verifying)
}

/// A request to end, and since when it is known.
#[derive(Debug, Default)]
pub(crate) struct Ending {
    wanted: Arc<AtomicBool>,
    since: OnceLock<Instant>,
}

impl Ending {
    /// From now on SIGINT and SIGTERM ask for the end, and the second of them ends the program at once. Before, the first one does.
    pub(crate) fn heed_signals(&self) -> Outcome<()> {
        for signal in [SIGINT, SIGTERM] {
            // In this order, or the first one would be the second.
            flag::register_conditional_shutdown(signal, 128 + signal, self.wanted.clone())
                .and_then(|_| flag::register(signal, self.wanted.clone()))
                .map_err(|error| Stop::failed(format!("handling signals: {error}")))?;
        }
        Ok(())
    }

    /// Asks for the end.
    pub(crate) fn want(&self) {
        self.wanted.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_wanted(&self) -> bool {
        self.wanted.load(Ordering::Relaxed)
    }

    /// Since when the end is wanted, as far as anybody has looked.
    pub(crate) fn since(&self) -> Option<Instant> {
        self.is_wanted().then(|| *self.since.get_or_init(Instant::now))
    }

    /// Whether what is under way is to be given up: the end has been wanted for `grace`, or there is no connection.
    pub(crate) fn gives_up(&self, grace: Duration, is_connected: impl FnOnce() -> bool) -> bool {
        self.since().is_some_and(|since| since.elapsed() >= grace || !is_connected())
    }

    /// Waits for so long, or until the end is wanted. False if it is.
    pub(crate) fn sleep(&self, time: Duration) -> bool {
        let start = Instant::now();
        while !self.is_wanted() {
            let left = time.saturating_sub(start.elapsed());
            if left.is_zero() {
                return true;
            }
            std::thread::sleep(left.min(LOOK));
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_request_nothing_is_given_up() {
        let ending = Ending::default();
        assert!(!ending.gives_up(Duration::ZERO, || false));
        assert!(ending.sleep(Duration::from_millis(1)));
        assert_eq!(ending.since(), None);
    }

    #[test]
    fn there_is_no_grace_without_a_connection() {
        let ending = Ending::default();
        ending.want();
        assert!(!ending.gives_up(Duration::from_secs(3600), || true));
        assert!(ending.gives_up(Duration::from_secs(3600), || false));
        assert!(ending.gives_up(Duration::ZERO, || true));
        assert!(!ending.sleep(Duration::from_secs(3600)));
        assert_eq!(ending.since(), ending.since(), "the time of the first look stays");
    }

    #[test]
    fn connections() {
        assert!(is_connected(SessionState::LoggedIn) && is_connected(SessionState::Verifying));
        assert!(!is_connected(SessionState::LoggingIn));
    }
}
