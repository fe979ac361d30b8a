//! The deadlines of everything that one loop serves, at most one for each.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use crate::Instant;

/// At most one deadline for each index, for loops that serve many connections: the next one is found without a scan.
///
/// `T` is how the loop tells time. Indexes are those of its own table: the memory is as long as the highest.
///
/// ```
/// use iscsi_core::{Instant, driver::Deadlines};
/// let at = Instant::from_micros;
/// let mut deadlines = Deadlines::default();
/// deadlines.set(3, Some(at(20)));
/// deadlines.set(5, Some(at(10)));
/// assert_eq!(deadlines.next(), Some(at(10)));
/// assert_eq!(deadlines.take_due(at(15)), Some(5));
/// assert_eq!(deadlines.take_due(at(15)), None);
/// ```
#[derive(Debug, Clone)]
pub struct Deadlines<T = Instant> {
    set: BTreeSet<(T, usize)>,
    by_index: Vec<Option<T>>,
}

/// None yet.
impl<T> Default for Deadlines<T> {
    fn default() -> Self {
        Self { set: BTreeSet::new(), by_index: Vec::new() }
    }
}

impl<T: Copy + Ord> Deadlines<T> {
    /// The deadline of `index` from now on.
    ///
    /// One that has moved later keeps its place: it is due too early once, and is to be set anew then. Whatever is sent or heard moves
    /// deadlines, and few are come to.
    pub fn set(&mut self, index: usize, deadline: Option<T>) {
        if self.by_index.len() <= index {
            self.by_index.resize(index.saturating_add(1), None);
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

    /// The next deadline, or an earlier time: see [`set`](Self::set).
    pub fn next(&self) -> Option<T> {
        self.set.first().map(|(deadline, _)| *deadline)
    }

    /// An index whose deadline has come, which it has no more.
    pub fn take_due(&mut self, now: T) -> Option<usize> {
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
        let mut deadlines = Deadlines::default();
        deadlines.set(7, Some(at(30)));
        deadlines.set(2, Some(at(20)));
        deadlines.set(7, Some(at(10)));
        assert_eq!(deadlines.next(), Some(at(10)));
        assert_eq!(deadlines.take_due(at(9)), None);
        assert_eq!(deadlines.take_due(at(25)), Some(7));
        assert_eq!(deadlines.take_due(at(25)), Some(2));
        assert_eq!(deadlines.take_due(at(25)), None);
        assert_eq!(deadlines.next(), None);
    }

    #[test]
    fn later_deadlines_cost_nothing_and_gone_ones_are_gone() {
        let mut deadlines = Deadlines::default();
        deadlines.set(0, Some(at(10)));
        for micros in 11..1_000 {
            deadlines.set(0, Some(at(micros)));
            assert_eq!(deadlines.set.len(), 1);
        }
        assert_eq!(deadlines.next(), Some(at(10)), "too early once");
        deadlines.set(0, None);
        assert_eq!(deadlines.next(), None);
    }

    #[test]
    fn the_clock_of_the_system_does_as_well() {
        let now = std::time::Instant::now();
        let later = now + core::time::Duration::from_millis(1);
        let mut deadlines = Deadlines::default();
        deadlines.set(1, Some(later));
        assert_eq!(deadlines.take_due(now), None);
        assert_eq!(deadlines.take_due(later), Some(1));
    }
}
