//! A look for more before the thread sleeps.

use std::thread::available_parallelism;

use core::time::Duration;

/// How long a look lasts at most.
const TIME: Duration = Duration::from_micros(30);

/// A sleep of up to this length would have been saved by a look: who sleeps hears late.
const SHORT: Duration = Duration::from_micros(100);

/// Good experience beyond this is not remembered.
const MOST: u8 = 8;

/// Decides whether the loop looks for a moment for what comes next.
///
/// Whoever wakes a sleeping target pays for it, and waits for it: an initiator that keeps it busy has its next commands there within a moment. The
/// loop looks for that long as long as it finds something, not where commands come one at a time and far between.
#[derive(Debug)]
pub(super) struct Look {
    /// Looks that may still be in vain.
    credit: u8,
    /// With one processor it would keep others from sending.
    alone: bool,
}

impl Look {
    pub(super) fn new() -> Self {
        let alone = available_parallelism().is_ok_and(|processors| processors.get() == 1);
        Self { credit: 0, alone }
    }

    /// How long to look; zero for not at all.
    pub(super) const fn time(&self) -> Duration {
        if self.credit == 0 || self.alone { Duration::ZERO } else { TIME }
    }

    /// Something came this long after the loop had nothing to do.
    pub(super) fn found(&mut self, after: Duration) {
        self.credit = match after {
            _ if after <= TIME => MOST,
            _ if after <= SHORT => (self.credit + 1).min(MOST),
            _ => self.credit.saturating_sub(1),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_looks_while_that_finds_something() {
        let mut look = Look { credit: 0, alone: false };
        assert!(look.time().is_zero());
        look.found(SHORT);
        assert_eq!(look.time(), TIME);
        look.found(TIME);
        for _ in 0..MOST {
            assert_eq!(look.time(), TIME);
            look.found(SHORT * 2);
        }
        assert!(look.time().is_zero(), "in vain too often");
        look.found(SHORT * 2);
        assert!(look.time().is_zero());
    }

    #[test]
    fn with_one_processor_it_sleeps() {
        let mut look = Look { credit: 0, alone: true };
        look.found(TIME);
        assert!(look.time().is_zero());
    }
}
