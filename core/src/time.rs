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

/// The first of some deadlines. Each turn asks for it more than once: a fold over numbers, in which "never" is the largest, costs a fraction of
/// one over options.
#[inline]
pub(crate) fn earliest<const N: usize>(deadlines: [Option<Instant>; N]) -> Option<Instant> {
    let never = Instant(u64::MAX);
    let first = deadlines.into_iter().fold(never, |first, at| first.min(at.unwrap_or(never)));
    (first != never).then_some(first)
}

impl core::ops::Add<Duration> for Instant {
    type Output = Self;

    /// Saturates at the end of the scale, 584,000 years after the origin.
    #[cfg_attr(not(feature = "std"), inline(never))]
    fn add(self, rhs: Duration) -> Self {
        // Without the 128 bits of `as_micros`, which small processors pay for at each of many calls.
        let micros = rhs.as_secs().saturating_mul(1_000_000);
        Self(self.0.saturating_add(micros).saturating_add(rhs.subsec_micros().into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_earliest_deadline_is_found_and_never_is_none() {
        let at = Instant::from_micros;
        assert_eq!(earliest([None, Some(at(7)), None, Some(at(5))]), Some(at(5)));
        assert_eq!(earliest([None, None]), None);
        assert_eq!(earliest([Some(at(u64::MAX))]), None);
    }

    #[test]
    fn durations_of_any_length_are_added() {
        let start = Instant::from_micros(7);
        assert_eq!(start + Duration::new(2, 1_999), Instant::from_micros(2_000_008));
        assert_eq!(start + Duration::MAX, Instant::from_micros(u64::MAX));
        assert_eq!(Instant::from_micros(u64::MAX) + Duration::from_micros(1), Instant(u64::MAX));
    }
}
