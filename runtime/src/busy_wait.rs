//! Looking for an answer for a moment before the thread goes to sleep.

use core::sync::atomic::{AtomicU8, AtomicU32, Ordering};
use core::time::Duration;
use std::thread::available_parallelism;

/// From here on looking is worth it.
const WORTH: u8 = 8;

/// Good experience beyond this is not remembered.
const MOST: u8 = 16;

/// What a look that found nothing costs, in looks that found something.
const LOSS: u8 = 4;

/// Waits that are slept through before looking is tried. Each failure doubles the number for the next time.
const SLEEPS: [u32; 2] = [16, 4096];

/// Looks of a trial, which may take longer: processors that were asleep themselves need some answers to wake up.
const TRIAL: u8 = 4;

/// How much longer they may take, and how much longer than the limit a sleep may be to be worth a trial: a sleeper hears of its answer late.
const LONGER: u32 = 4;

/// A sleep that is as short as this is cheap: the target is awake, or shares the processor.
const CHEAP: Duration = Duration::from_micros(40);

/// Decides whether a loop looks for the answer for a moment, or sleeps at once.
///
/// To fall asleep and be woken may cost a thread more time than a fast target takes for its answer, in a virtual machine several times as
/// much. With few commands under way a loop therefore looks for at most [`Options::busy_wait`](crate::Options::busy_wait) first, but only
/// where that pays: it begins once some sleeps were neither cheap nor much longer than that time, stops when answers come later, and is then
/// tried ever more rarely. On a machine with one processor it never begins: it would keep that from the target.
///
/// ```
/// use core::time::Duration;
/// use iscsi_runtime::BusyWait;
///
/// let wait = BusyWait::new(Duration::from_micros(50));
/// for _ in 0..100 {
///     assert_eq!(wait.time(1), Duration::ZERO);
///     wait.ended(Duration::from_millis(5)); // a slow target
/// }
/// ```
#[derive(Debug)]
pub struct BusyWait {
    limit: Duration,
    /// How looking went lately; below [`WORTH`] the loop sleeps. Only the thread of the loop changes these.
    credit: AtomicU8,
    /// Looks that the trial still has.
    trial: AtomicU8,
    /// The average of the sleeps, in eighths of a microsecond.
    average: AtomicU32,
    /// Sleeps until looking is tried.
    sleeps: AtomicU32,
    /// The number of sleeps after the next failure.
    pause: AtomicU32,
}

impl BusyWait {
    /// The most commands under way for which it is worth looking: with more, each wake-up finds several answers, and its cost is shared.
    pub const FEW: usize = 4;

    /// Looks for at most this long; zero for never.
    pub fn new(limit: Duration) -> Self {
        let one = available_parallelism().is_ok_and(|processors| processors.get() == 1);
        Self::with_limit(if one { Duration::ZERO } else { limit })
    }

    const fn with_limit(limit: Duration) -> Self {
        Self {
            limit,
            credit: AtomicU8::new(0),
            trial: AtomicU8::new(0),
            average: AtomicU32::new(0),
            sleeps: AtomicU32::new(SLEEPS[0]),
            pause: AtomicU32::new(SLEEPS[0]),
        }
    }

    /// Whether a wait with so many commands under way is one to be measured.
    pub fn concerns(&self, under_way: usize) -> bool {
        !self.limit.is_zero() && (1..=Self::FEW).contains(&under_way)
    }

    /// For how long to look with so many commands under way; zero if the loop is to sleep at once.
    pub fn time(&self, under_way: usize) -> Duration {
        if self.credit.load(Ordering::Relaxed) < WORTH || !self.concerns(under_way) {
            return Duration::ZERO;
        }
        match self.trial.load(Ordering::Relaxed) {
            0 => self.limit,
            _ => self.limit * LONGER,
        }
    }

    /// A wait that [concerns](Self::concerns) this took so long, in all.
    pub fn ended(&self, waited: Duration) {
        let credit = self.credit.load(Ordering::Relaxed);
        if credit >= WORTH {
            self.looked(credit, waited);
        } else {
            self.slept(waited);
        }
    }

    fn looked(&self, credit: u8, waited: Duration) {
        let trial = self.trial.load(Ordering::Relaxed).saturating_sub(1);
        self.trial.store(trial, Ordering::Relaxed);
        if trial > 0 {
            return;
        }
        let credit = match waited <= self.limit {
            true => (credit + 1).min(MOST),
            false => credit.saturating_sub(LOSS),
        };
        self.credit.store(credit, Ordering::Relaxed);
        if credit == MOST {
            self.pause.store(SLEEPS[0], Ordering::Relaxed);
        } else if credit < WORTH {
            let pause = self.pause.load(Ordering::Relaxed);
            self.sleeps.store(pause, Ordering::Relaxed);
            self.pause.store((pause * 2).min(SLEEPS[1]), Ordering::Relaxed);
        }
    }

    fn slept(&self, waited: Duration) {
        let micros = waited.as_micros().min(100_000) as u32;
        let mut average = self.average.load(Ordering::Relaxed);
        average = average - average / 8 + micros;
        self.average.store(average, Ordering::Relaxed);
        let sleeps = self.sleeps.load(Ordering::Relaxed).saturating_sub(1);
        self.sleeps.store(sleeps, Ordering::Relaxed);
        let average = Duration::from_micros((average / 8).into());
        if sleeps == 0 && average > CHEAP && average <= self.limit * LONGER {
            self.trial.store(TRIAL, Ordering::Relaxed);
            self.credit.store(WORTH, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_micros(50);

    /// The last look of a trial; the others are not judged.
    fn ends_trial(wait: &BusyWait, each: Duration) {
        for _ in 0..TRIAL {
            assert_eq!(wait.time(1), LIMIT * LONGER);
            wait.ended(each);
        }
    }

    fn sleeps_until_it_looks(wait: &BusyWait, each: Duration) -> Option<u32> {
        (1..=2 * SLEEPS[1]).find(|_| {
            wait.ended(each);
            !wait.time(1).is_zero()
        })
    }

    #[test]
    fn it_looks_where_that_pays() {
        for (each, pays) in [(10, false), (39, false), (60, true), (150, true), (260, false)] {
            let wait = BusyWait::with_limit(LIMIT);
            assert_eq!(wait.time(1), Duration::ZERO, "not before some sleeps");
            let looks = sleeps_until_it_looks(&wait, Duration::from_micros(each));
            assert_eq!(looks.is_some(), pays, "{each} µs");
        }
    }

    #[test]
    fn failures_make_it_rare_and_success_common_again() {
        let wait = BusyWait::with_limit(LIMIT);
        let mut pauses = Vec::new();
        for _ in 0..12 {
            let sleeps = sleeps_until_it_looks(&wait, LIMIT * 2);
            pauses.push(sleeps.unwrap());
            ends_trial(&wait, LIMIT * 2);
            assert_eq!(wait.time(1), Duration::ZERO, "the trial failed");
        }
        assert!(pauses.is_sorted() && pauses.last() == Some(&SLEEPS[1]), "{pauses:?}");

        sleeps_until_it_looks(&wait, LIMIT * 2);
        ends_trial(&wait, LIMIT);
        for _ in 0..20 {
            wait.ended(LIMIT);
        }
        for _ in 0..2 {
            wait.ended(LIMIT * 2);
            assert_eq!(wait.time(1), LIMIT, "it went well for long");
        }
        wait.ended(LIMIT * 2);
        assert_eq!(wait.time(1), Duration::ZERO);
        assert_eq!(sleeps_until_it_looks(&wait, LIMIT * 2), Some(SLEEPS[0]));
    }

    #[test]
    fn only_few_commands_are_worth_it() {
        let wait = BusyWait::with_limit(LIMIT);
        sleeps_until_it_looks(&wait, LIMIT);
        ends_trial(&wait, LIMIT);
        assert_eq!((wait.time(1), wait.time(BusyWait::FEW)), (LIMIT, LIMIT));
        assert_eq!((wait.time(0), wait.time(BusyWait::FEW + 1)), (Duration::ZERO, Duration::ZERO));
        assert!(!BusyWait::with_limit(Duration::ZERO).concerns(1));
    }
}
