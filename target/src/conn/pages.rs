//! Pages of a fixed area, given out in contiguous runs.

/// Bytes of a page.
pub(crate) const PAGE: usize = 4096;

/// Pages of an area.
pub(crate) const PAGES: usize = 16;

/// Bytes of an area.
pub(crate) const AREA: usize = PAGE * PAGES;

/// Some pages in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Run {
    first: u8,
    count: u8,
}

impl Run {
    /// Where the run begins in the area.
    pub(crate) const fn at(self) -> usize {
        self.first as usize * PAGE
    }

    const fn mask(self) -> u32 {
        ((1 << self.count) - 1) << self.first
    }
}

/// Which pages are in use.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Pages(u32);

impl Pages {
    pub(crate) const EMPTY: Self = Self(0);

    /// A run of at least `len` bytes, or `None` if there is none now; never for more than [`AREA`] bytes.
    pub(crate) fn take(&mut self, len: usize) -> Option<Run> {
        let count = len.div_ceil(PAGE).max(1);
        if count > PAGES {
            return None;
        }
        let run = (0..=PAGES - count)
            .map(|first| Run { first: first as u8, count: count as u8 })
            .find(|run| self.0 & run.mask() == 0)?;
        self.0 |= run.mask();
        Some(run)
    }

    /// Gives the run at `at` back.
    pub(crate) const fn give(&mut self, run: Run) {
        self.0 &= !run.mask();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_do_not_overlap_and_come_back() {
        let mut pages = Pages::EMPTY;
        let first = pages.take(1).unwrap();
        let second = pages.take(3 * PAGE).unwrap();
        assert_eq!((first.at(), second.at()), (0, PAGE));
        assert_eq!(pages.take(AREA), None);
        assert_eq!(pages.take(AREA - 4 * PAGE).unwrap().at(), 4 * PAGE);
        assert_eq!(pages.take(0), None);
        pages.give(first);
        assert_eq!(pages.take(PAGE), Some(first));
        pages.give(second);
        assert_eq!(pages.take(2 * PAGE).unwrap().at(), PAGE);
    }
}
