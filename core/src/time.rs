//! Time as a number: the engine has no clock, callers tell it what time it is.

use core::time::Duration;

/// A point in time: microseconds since an origin that the caller chooses once (boot, process start).
///
/// Only differences matter. The engine never asks for the time; every call that may start a timer takes `now`, and
/// `now` must not go back between calls.
///
/// ```
/// use core::time::Duration;
/// use iscsi_core::Instant;
///
/// let start = Instant::from_micros(1_000);
/// let later = start + Duration::from_millis(5);
/// assert_eq!(later.as_micros(), 6_000);
/// assert_eq!(later.saturating_since(start), Duration::from_millis(5));
/// assert_eq!(start.saturating_since(later), Duration::ZERO);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Instant(u64);

impl Instant {
    /// The origin.
    pub const ZERO: Self = Self(0);

    /// The point `micros` microseconds after the origin.
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// Microseconds since the origin.
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// The time from `earlier` to `self`, zero if `earlier` is later.
    pub const fn saturating_since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

impl core::ops::Add<Duration> for Instant {
    type Output = Self;

    /// Saturates at the end of the scale, 584,000 years after the origin.
    fn add(self, rhs: Duration) -> Self {
        let micros = u64::try_from(rhs.as_micros()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(micros))
    }
}
