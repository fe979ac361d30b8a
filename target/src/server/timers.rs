//! The deadlines of all connections, at most one for each.

use std::collections::BTreeSet;
use std::vec::Vec;

use iscsi_core::Instant;

/// One deadline for each index. Found without a scan.
#[derive(Debug, Default)]
pub(super) struct Timers {
    set: BTreeSet<(Instant, usize)>,
    by_index: Vec<Option<Instant>>,
}

impl Timers {
    /// The deadline of `index` from now on.
    ///
    /// One that has moved later keeps its place: it is due too early once, and set anew then. Whatever is heard from an initiator moves
    /// the deadline, and few come to it.
    pub(super) fn set(&mut self, index: usize, deadline: Option<Instant>) {
        if self.by_index.len() <= index {
            self.by_index.resize(index + 1, None);
        }
        let Some(slot) = self.by_index.get_mut(index) else { return };
        let keeps = matches!((*slot, deadline), (Some(old), Some(new)) if old <= new);
        if keeps || *slot == deadline {
            return;
        }
        if let Some(old) = slot.take() {
            self.set.remove(&(old, index));
        }
        if let Some(new) = deadline {
            self.set.insert((new, index));
            *slot = Some(new);
        }
    }

    /// The next deadline.
    pub(super) fn next(&self) -> Option<Instant> {
        self.set.first().map(|(deadline, _)| *deadline)
    }

    /// An index whose deadline has come, which it has no more.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<usize> {
        let (deadline, index) = *self.set.first()?;
        if deadline > now {
            return None;
        }
        self.set.remove(&(deadline, index));
        if let Some(slot) = self.by_index.get_mut(index) {
            *slot = None;
        }
        Some(index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(micros: u64) -> Instant {
        Instant::from_micros(micros)
    }

    #[test]
    fn the_earliest_comes_first_and_once() {
        let mut timers = Timers::default();
        timers.set(7, Some(at(30)));
        timers.set(2, Some(at(20)));
        timers.set(7, Some(at(10)));
        assert_eq!(timers.next(), Some(at(10)));
        assert_eq!(timers.take_due(at(9)), None);
        assert_eq!(timers.take_due(at(25)), Some(7));
        assert_eq!(timers.take_due(at(25)), Some(2));
        assert_eq!(timers.take_due(at(25)), None);
        assert_eq!(timers.next(), None);
    }

    #[test]
    fn later_deadlines_cost_nothing_and_gone_ones_are_gone() {
        let mut timers = Timers::default();
        timers.set(0, Some(at(10)));
        for micros in 11..1_000 {
            timers.set(0, Some(at(micros)));
            assert_eq!(timers.set.len(), 1);
        }
        assert_eq!(timers.next(), Some(at(10)), "too early once");
        timers.set(0, None);
        assert_eq!(timers.next(), None);
    }
}
