//! What is to be done to which bytes.

use core::fmt;
use core::ops::{Bound, RangeBounds};
use core::time::Duration;

/// One of the two ways through the proxy.
///
/// ```
/// use iscsi_fault_proxy::Way;
/// assert_eq!(Way::ToClient.to_string(), "to the client");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Way {
    /// From the one who connects to the proxy: an initiator.
    ToServer,
    /// From the one that the proxy connects to: a target.
    ToClient,
}

impl Way {
    pub(crate) const BOTH: [Self; 2] = [Self::ToServer, Self::ToClient];

    pub(crate) const fn index(self) -> usize {
        match self {
            Self::ToServer => 0,
            Self::ToClient => 1,
        }
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ToServer => "to the server",
            Self::ToClient => "to the client",
        })
    }
}

/// What can happen to a stream of bytes once a certain number of them has passed.
///
/// ```
/// use iscsi_fault_proxy::Fault;
/// assert_ne!(Fault::Reset, Fault::Close);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Fault {
    /// Both sides get a RST; bytes that are under way are lost.
    Reset,
    /// Both sides get a FIN after these bytes, which may be in the middle of a message. What they still send is swallowed.
    Close,
    /// The receiver of this way gets a FIN after these bytes, and what comes behind them is swallowed; the other way goes on.
    HalfClose,
    /// Nothing passes this way any more, and nothing is taken in: the sender's buffers fill up.
    Stall,
    /// As many bytes disappear, and those behind them pass.
    Skip(u64),
}

/// A range that is closed at both ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) low: u64,
    pub(crate) high: u64,
}

impl Span {
    pub(crate) const ALL: Self = Self { low: 0, high: u64::MAX };

    /// An empty range is its beginning.
    pub(crate) fn of(range: impl RangeBounds<u64>) -> Self {
        let low = match range.start_bound() {
            Bound::Included(low) => *low,
            Bound::Excluded(low) => low.saturating_add(1),
            Bound::Unbounded => 0,
        };
        let high = match range.end_bound() {
            Bound::Included(high) => *high,
            Bound::Excluded(high) => high.saturating_sub(1),
            Bound::Unbounded => u64::MAX,
        };
        Self { low, high: high.max(low) }
    }

    pub(crate) const fn contains(self, number: u64) -> bool {
        self.low <= number && number <= self.high
    }
}

/// A fault after a number of bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rule {
    /// Whose bytes count; `None` for those of both ways together.
    pub(crate) way: Option<Way>,
    pub(crate) after: Span,
    pub(crate) fault: Fault,
}

/// Bits that are flipped.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Flips {
    /// Bytes from one to the next.
    pub(crate) every: Span,
    /// Nothing before this byte is touched.
    pub(crate) from: u64,
    /// Nothing of an iSCSI login is touched.
    pub(crate) outside_login: bool,
}

/// Everything that is to be done.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    /// Which connections; others are left alone.
    pub(crate) connections: Span,
    pub(crate) rules: Vec<Rule>,
    pub(crate) flips: [Option<Flips>; 2],
    /// How long bytes are held back.
    pub(crate) delays: [Option<[Duration; 2]>; 2],
    /// So many bytes at a time, and the pause after them.
    pub(crate) trickles: [Option<(usize, Duration)>; 2],
}

/// Random numbers that are the same for the same seed: splitmix64.
#[derive(Debug, Clone)]
pub(crate) struct Rng(u64);

impl Rng {
    /// A stream of its own for each purpose, so that one decision does not shift the others.
    pub(crate) fn new(seed: u64, connection: u64, purpose: u64) -> Self {
        let mut rng = Self(seed);
        rng.0 = rng.next() ^ connection;
        rng.0 = rng.next() ^ purpose;
        rng
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn within(&mut self, span: Span) -> u64 {
        match (span.high - span.low).checked_add(1) {
            Some(size) => span.low + self.next() % size,
            None => self.next(),
        }
    }

    pub(crate) fn duration(&mut self, [low, high]: [Duration; 2]) -> Duration {
        let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let low = nanos(low);
        Duration::from_nanos(self.within(Span { low, high: nanos(high).max(low) }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_of_all_kinds() {
        assert_eq!(Span::of(3..5), Span { low: 3, high: 4 });
        assert_eq!(Span::of(3..=5), Span { low: 3, high: 5 });
        assert_eq!(Span::of(3..3), Span { low: 3, high: 3 });
        assert_eq!(Span::of(..), Span::ALL);
    }

    #[test]
    fn numbers_stay_within_and_repeat() {
        let span = Span { low: 10, high: 12 };
        let draw = |seed, connection| {
            let mut rng = Rng::new(seed, connection, 0);
            (0..100).map(|_| rng.within(span)).collect::<Vec<_>>()
        };
        let numbers = draw(7, 1);
        assert!(numbers.iter().all(|n| span.contains(*n)));
        assert!((10..=12).all(|n| numbers.contains(&n)));
        assert_eq!(numbers, draw(7, 1));
        assert_ne!(numbers, draw(8, 1));
        assert_ne!(numbers, draw(7, 2));
        Rng::new(0, 0, 0).within(Span::ALL);
    }
}
