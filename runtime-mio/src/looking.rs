//! A poll that does not wait for a moment, while few commands are under way.

use std::cell::Cell;
use std::time::{Duration, Instant};

use iscsi_runtime::BusyWait;

/// Whether the loop looks for answers or sleeps, for all sessions together.
#[derive(Debug, Default)]
pub(crate) struct Looking {
    busy_wait: Option<BusyWait>,
    /// Commands of all sessions.
    pub(crate) under_way: usize,
    /// When the loop began to wait for them.
    since: Cell<Option<Instant>>,
}

impl Looking {
    /// The first session says for how long.
    pub(crate) fn begin(&mut self, limit: Duration) {
        self.busy_wait.get_or_insert_with(|| BusyWait::new(limit));
    }

    /// The loop is about to wait: whether it only looks.
    pub(crate) fn goes_on(&self) -> bool {
        let Some(busy_wait) = &self.busy_wait else { return false };
        if !busy_wait.concerns(self.under_way) {
            self.since.set(None);
            return false;
        }
        let now = Instant::now();
        let since = self.since.get().unwrap_or(now);
        self.since.set(Some(since));
        now.duration_since(since) < busy_wait.time(self.under_way)
    }

    /// Something has come.
    pub(crate) fn found(&self) {
        if let (Some(busy_wait), Some(since)) = (&self.busy_wait, self.since.take()) {
            busy_wait.ended(since.elapsed());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_looks_while_few_are_under_way_and_answers_come() {
        if std::thread::available_parallelism().is_ok_and(|processors| processors.get() == 1) {
            // Here it never looks.
            return;
        }
        let mut looking = Looking::default();
        assert!(!looking.goes_on(), "no session");
        looking.begin(Duration::from_secs(60));
        looking.under_way = 1;
        // Answers that take as long as sleeping costs.
        let mut waits = 0;
        while !looking.goes_on() {
            waits += 1;
            assert!(waits < 100, "it never begins");
            let late = Instant::now().checked_sub(Duration::from_micros(100)).unwrap();
            looking.since.set(Some(late));
            looking.found();
        }
        assert!(waits > 1, "not before some sleeps");
        assert!(looking.goes_on(), "until something comes");
        looking.under_way = 100;
        assert!(!looking.goes_on());
    }

    #[test]
    fn zero_is_never() {
        let mut looking = Looking::default();
        looking.begin(Duration::ZERO);
        looking.under_way = 1;
        assert!(!looking.goes_on());
        looking.found();
    }
}
