//! Virtual time.

use core::time::Duration;

use crate::Instant;

/// A clock that stands still until it is moved.
///
/// ```
/// use core::time::Duration;
/// use iscsi_core::{Instant, testing::Clock};
/// let mut clock = Clock::new();
/// clock.advance(Duration::from_millis(2));
/// clock.jump_to(Instant::from_micros(1)); // never back
/// assert_eq!(clock.now(), Instant::from_micros(2_000));
/// ```
#[derive(Debug, Clone, Default)]
pub struct Clock(Instant);

impl Clock {
    /// A clock at the origin.
    pub const fn new() -> Self {
        Self(Instant::ZERO)
    }

    /// What time it is.
    pub const fn now(&self) -> Instant {
        self.0
    }

    /// Moves on.
    pub fn advance(&mut self, by: Duration) {
        self.0 = self.0 + by;
    }

    /// Moves on to `at`; a time that has passed changes nothing.
    pub fn jump_to(&mut self, at: Instant) {
        self.0 = self.0.max(at);
    }
}
