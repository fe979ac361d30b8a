//! Plays many seeds, and records those that fail.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use clap::Parser;
use iscsi_sim::{Failure, Scenario, play, record};

/// Plays the initiator's engine against the target's in virtual time, with faults. Exit code 1 if anything was found.
#[derive(Debug, Parser)]
#[command(name = "iscsi-sim", version)]
struct Options {
    /// How many seeds to play
    #[arg(long, default_value_t = 1000)]
    seeds: u64,
    /// The first seed
    #[arg(long, default_value_t = 0)]
    first: u64,
    /// Only this scenario: network, aborts, cuts, flips, pdus, storm, damage, recovery or tempest; otherwise the seeds take turns
    #[arg(long)]
    scenario: Option<Scenario>,
    /// Threads; as many as there are processors unless said otherwise
    #[arg(long)]
    jobs: Option<usize>,
    /// Record every seed that fails here: seed-N-SCENARIO.pcap and seed-N-SCENARIO.log
    #[arg(long)]
    out: Option<PathBuf>,
    /// Record every seed, not only those that fail
    #[arg(long, requires = "out")]
    record_all: bool,
}

/// Prints a line. Whoever reads them may have gone; the runs and the exit code count all the same.
macro_rules! tell {
    ($($what:tt)*) => {
        let _ = writeln!(io::stdout(), $($what)*);
    };
}

/// How often progress is told.
const PROGRESS: Duration = Duration::from_secs(10);

/// A run of a debug build takes more stack than the default of a thread.
const STACK: usize = 8 << 20;

/// What the threads share.
struct Work<'o> {
    options: &'o Options,
    next: AtomicU64,
    done: AtomicU64,
    steps: AtomicU64,
    counts: Mutex<BTreeMap<(&'static str, &'static str), u64>>,
    failures: Mutex<Vec<Failure>>,
}

impl Work<'_> {
    fn run(&self) {
        loop {
            let n = self.next.fetch_add(1, Ordering::Relaxed);
            if n >= self.options.seeds {
                return;
            }
            let seed = self.options.first.wrapping_add(n);
            let scenario = self.options.scenario.unwrap_or_else(|| Scenario::of(seed));
            match play(seed, scenario) {
                Ok(report) => {
                    self.steps.fetch_add(report.steps, Ordering::Relaxed);
                    if let Ok(mut counts) = self.counts.lock() {
                        for (what, count) in report.counts {
                            *counts.entry(what).or_default() += count;
                        }
                    }
                    if self.options.record_all {
                        self.keep(seed, scenario);
                    }
                }
                Err(failure) => self.failed(failure),
            }
            self.done.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn failed(&self, failure: Failure) {
        tell!("FAILED {failure}");
        let mut again = format!(
            "cargo xtask sim --first {} --seeds 1 --scenario {}",
            failure.seed, failure.scenario
        );
        if let Some(out) = &self.options.out {
            again += &format!(" --out {}", out.display());
            self.keep(failure.seed, failure.scenario);
        }
        tell!("       {again}");
        if let Ok(mut failures) = self.failures.lock() {
            failures.push(failure);
        }
    }

    /// Plays a run again and writes what happened.
    fn keep(&self, seed: u64, scenario: Scenario) {
        let Some(out) = &self.options.out else { return };
        match write(out, seed, scenario) {
            Ok(path) => {
                tell!("       {}", path.display());
            }
            Err(error) => {
                tell!("       {}: {error}", out.display());
            }
        }
    }
}

fn write(out: &Path, seed: u64, scenario: Scenario) -> io::Result<PathBuf> {
    fs::create_dir_all(out)?;
    let recording = record(seed, scenario);
    let stem = out.join(format!("seed-{seed}-{scenario}"));
    fs::write(stem.with_extension("pcap"), &recording.pcap)?;
    let mut text = recording.lines.join("\n");
    text += &match recording.result {
        Ok(report) => format!("\n{report:?}\n"),
        Err(failure) => format!("\n{failure}\n"),
    };
    let path = stem.with_extension("log");
    fs::write(&path, text)?;
    Ok(path)
}

fn main() -> ExitCode {
    let options = Options::parse();
    let work = Work {
        options: &options,
        next: AtomicU64::new(0),
        done: AtomicU64::new(0),
        steps: AtomicU64::new(0),
        counts: Mutex::new(BTreeMap::new()),
        failures: Mutex::new(Vec::new()),
    };
    let jobs = options.jobs.or_else(|| thread::available_parallelism().ok().map(usize::from));
    let start = Instant::now();
    thread::scope(|scope| {
        let mut threads = Vec::new();
        for _ in 0..jobs.unwrap_or(1).max(1) {
            let thread = thread::Builder::new().stack_size(STACK);
            match thread.spawn_scoped(scope, || work.run()) {
                Ok(thread) => threads.push(thread),
                Err(error) => {
                    tell!("no thread: {error}");
                }
            }
        }
        let mut told = start;
        while !threads.iter().all(thread::ScopedJoinHandle::is_finished) {
            thread::park_timeout(Duration::from_millis(50));
            if told.elapsed() >= PROGRESS {
                told = Instant::now();
                tell!("{} of {} runs", work.done.load(Ordering::Relaxed), options.seeds);
            }
        }
    });
    if let Ok(counts) = work.counts.lock() {
        for ((what, kind), count) in &*counts {
            tell!("{count:>10} {what}: {kind}");
        }
    }
    let failed = work.failures.lock().map_or(0, |failures| failures.len());
    tell!(
        "{} runs in {:.1} s, {} steps, {failed} failed",
        work.done.load(Ordering::Relaxed),
        start.elapsed().as_secs_f64(),
        work.steps.load(Ordering::Relaxed),
    );
    if failed == 0 && work.done.load(Ordering::Relaxed) == options.seeds {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
