//! What is measured.

use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;
use std::time::Instant;

use hdrhistogram::Histogram;
use rustix::time::{ClockId, clock_gettime};

use crate::output::{Outcome, Stop};

/// Failures that are kept to be told; the rest is counted.
const KEPT_ERRORS: usize = 10;

/// The percentiles that are told, with their names in JSON.
pub(crate) const PERCENTILES: [(f64, &str); 6] = [
    (50.0, "p50"),
    (90.0, "p90"),
    (95.0, "p95"),
    (99.0, "p99"),
    (99.9, "p99.9"),
    (99.99, "p99.99"),
];

/// What one session counts for whoever looks at it meanwhile. Only its own thread writes.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct LiveLane {
    ios: AtomicU64,
    bytes: AtomicU64,
    lba: AtomicU64,
    in_flight: AtomicU64,
    busy: AtomicU64,
    errors: AtomicU64,
}

fn add(counter: &AtomicU64, more: u64) {
    // One writer: no need for a locked instruction.
    counter.store(counter.load(Ordering::Relaxed).wrapping_add(more), Ordering::Relaxed);
}

impl LiveLane {
    pub(crate) fn begun(&self, lba: u64, in_flight: u64) {
        self.lba.store(lba, Ordering::Relaxed);
        self.in_flight.store(in_flight, Ordering::Relaxed);
    }

    pub(crate) fn ended(&self, in_flight: u64) {
        self.in_flight.store(in_flight, Ordering::Relaxed);
    }

    pub(crate) fn count(&self, bytes: u32) {
        add(&self.ios, 1);
        add(&self.bytes, bytes.into());
    }

    pub(crate) fn busy(&self) {
        add(&self.busy, 1);
    }

    pub(crate) fn error(&self) {
        add(&self.errors, 1);
    }
}

/// The counters of all sessions together.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Counted {
    pub(crate) ios: u64,
    pub(crate) bytes: u64,
    /// The latest of one session.
    pub(crate) lba: u64,
    pub(crate) in_flight: u64,
    pub(crate) busy: u64,
    pub(crate) errors: u64,
}

impl Counted {
    pub(crate) fn of(lanes: &[LiveLane]) -> Self {
        let mut all = Self::default();
        for lane in lanes {
            let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
            all.ios += get(&lane.ios);
            all.bytes += get(&lane.bytes);
            all.lba = all.lba.max(get(&lane.lba));
            all.in_flight += get(&lane.in_flight);
            all.busy += get(&lane.busy);
            all.errors += get(&lane.errors);
        }
        all
    }
}

/// I/Os of one direction, with their latencies in nanoseconds.
#[derive(Debug)]
pub(crate) struct Direction {
    pub(crate) ios: u64,
    pub(crate) bytes: u64,
    pub(crate) latency: Histogram<u64>,
}

impl Direction {
    fn new() -> Self {
        Self { ios: 0, bytes: 0, latency: histogram() }
    }

    fn add(&mut self, other: &Self) {
        self.ios += other.ios;
        self.bytes += other.bytes;
        // Both have the same bounds.
        let _ = self.latency.add(&other.latency);
    }
}

/// From a nanosecond to an hour, three digits. It never grows.
fn histogram() -> Histogram<u64> {
    const HOUR: u64 = 3_600_000_000_000;
    #[expect(clippy::expect_used, reason = "the bounds are constants that fit")]
    Histogram::new_with_bounds(1, HOUR, 3).expect("bounds")
}

/// What one session measures. Nothing of it allocates while I/Os are recorded.
#[derive(Debug)]
pub(crate) struct Recorder {
    pub(crate) read: Direction,
    pub(crate) write: Direction,
    /// The failures that were ignored: how many, and the first ones.
    pub(crate) errors: u64,
    pub(crate) kept: Vec<Stop>,
    /// The end of the last I/O that counted.
    last: Instant,
}

impl Recorder {
    pub(crate) fn new(begin: Instant) -> Self {
        let (read, write) = (Direction::new(), Direction::new());
        Self { read, write, errors: 0, kept: Vec::new(), last: begin }
    }

    pub(crate) fn record(&mut self, is_write: bool, bytes: u32, latency: Duration, now: Instant) {
        let direction = if is_write { &mut self.write } else { &mut self.read };
        direction.ios += 1;
        direction.bytes += u64::from(bytes);
        let nanos = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
        direction.latency.saturating_record(nanos.max(1));
        self.last = self.last.max(now);
    }

    pub(crate) fn error(&mut self, stop: Stop) {
        self.errors += 1;
        if self.kept.len() < KEPT_ERRORS {
            self.kept.push(stop);
        }
    }

    /// Adds what another session measured.
    pub(crate) fn add(&mut self, other: Self) {
        self.read.add(&other.read);
        self.write.add(&other.write);
        self.errors += other.errors;
        let room = KEPT_ERRORS.saturating_sub(self.kept.len());
        self.kept.extend(other.kept.into_iter().take(room));
        self.last = self.last.max(other.last);
    }

    pub(crate) const fn ios(&self) -> u64 {
        self.read.ios + self.write.ios
    }

    pub(crate) const fn bytes(&self) -> u64 {
        self.read.bytes + self.write.bytes
    }

    /// From the moment from which it counts to the last end.
    pub(crate) fn time(&self, begin: Instant) -> Duration {
        self.last.saturating_duration_since(begin)
    }

    /// The latencies of both directions.
    pub(crate) fn latency(&self) -> Histogram<u64> {
        let mut all = self.read.latency.clone();
        let _ = all.add(&self.write.latency);
        all
    }
}

/// Per second; 0 of no time.
pub(crate) fn per_second(count: u64, time: Duration) -> f64 {
    if time.is_zero() { 0.0 } else { count as f64 / time.as_secs_f64() }
}

/// The time that this process has used processors for, all of its threads together.
pub(crate) fn cpu_time() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ProcessCPUTime)).unwrap_or_default()
}

/// One second of the run, or what there was of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Interval {
    /// When it ended, from the moment from which it counts.
    pub(crate) at: Duration,
    pub(crate) iops: f64,
    pub(crate) bytes_per_second: f64,
}

/// The result.
#[derive(Debug)]
pub(crate) struct Summary {
    pub(crate) recorder: Recorder,
    pub(crate) time: Duration,
    /// Of processors, in this process.
    pub(crate) cpu: Duration,
    pub(crate) busy: u64,
    pub(crate) losses: u64,
    pub(crate) intervals: Vec<Interval>,
}

impl Summary {
    /// Microseconds of processors for each I/O.
    pub(crate) fn cpu_per_io(&self) -> f64 {
        match self.recorder.ios() {
            0 => 0.0,
            ios => self.cpu.as_secs_f64() * 1e6 / ios as f64,
        }
    }

    /// A run without a single I/O is no measurement.
    pub(crate) fn check(&self) -> Outcome<()> {
        if self.recorder.ios() > 0 || self.recorder.errors > 0 {
            return Ok(());
        }
        Err(Stop::with_remedy("no I/O was measured", "-t allows more time"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_add_up() {
        let begin = Instant::now();
        let second = Duration::from_secs(1);
        let (mut one, mut other) = (Recorder::new(begin), Recorder::new(begin));
        one.record(false, 512, Duration::from_micros(100), begin + second);
        other.record(true, 1024, Duration::from_micros(300), begin + 2 * second);
        other.record(false, 512, Duration::from_secs(7200), begin + second);
        for n in 0..20 {
            other.error(Stop::failed(n.to_string()));
        }
        one.add(other);
        assert_eq!((one.ios(), one.bytes(), one.errors), (3, 2048, 20));
        assert_eq!(one.kept.len(), KEPT_ERRORS);
        assert_eq!(one.time(begin), 2 * second);
        let latency = one.latency();
        assert_eq!(latency.len(), 3);
        assert!(latency.value_at_quantile(0.3).abs_diff(100_000) < 200);
        assert!(latency.max() >= 3_599_000_000_000, "an hour is the longest");
        assert_eq!(per_second(one.ios(), one.time(begin)), 1.5);
    }

    #[test]
    fn processor_time_grows() {
        let before = cpu_time();
        let mut sum = 0_u64;
        while cpu_time() == before {
            sum = core::hint::black_box(sum.wrapping_add(1));
        }
        assert!(cpu_time() > before);
    }

    #[test]
    fn lanes_are_counted_together() {
        let lanes = [LiveLane::default(), LiveLane::default()];
        lanes[0].begun(7, 3);
        lanes[1].begun(5, 1);
        lanes[1].count(512);
        lanes[1].ended(0);
        lanes[0].busy();
        let all = Counted::of(&lanes);
        assert_eq!((all.ios, all.bytes, all.lba, all.in_flight), (1, 512, 7, 3));
        assert_eq!((all.busy, all.errors), (1, 0));
    }
}
