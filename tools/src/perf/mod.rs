//! `iscsi-perf`: measures a logical unit.

mod args;
mod document;
mod memory;
mod mio_engine;
mod pattern;
mod screen;
mod smol_engine;
mod stats;
mod std_engine;
mod svg;
mod workload;

use core::ops::Range;
use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;
use std::fs;
use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use iscsi_core::SessionState;
use iscsi_core::driver::RecvBuf;
use iscsi_core::url::IscsiUrl;
use iscsi_disk::Geometry;
use iscsi_runtime_std::{Disk, SessionStep};

use crate::args as arguments;
use crate::connect::{Setup, explain};
use crate::output::{self, FAILED, Outcome, Stop, complain, print_json, report};
use args::{Arguments, Runtime};
use stats::{Counted, Interval, Recorder, Summary, cpu_time, per_second};
use workload::{Clock, Job, Mode, Patience, Workload};

pub(crate) const TOOL: &str = "iscsi-perf";

/// Exit code for wrong arguments.
const WRONG_ARGUMENTS: u8 = 1;

/// The most memory for what is under way.
const MAX_MEMORY: u64 = 2 << 30;

/// Connections that were lost.
static LOSSES: AtomicU64 = AtomicU64::new(0);

/// Runs the tool with the arguments of the process.
pub fn main() -> ExitCode {
    let arguments: Arguments = match arguments::parse(WRONG_ARGUMENTS) {
        Ok(arguments) => arguments,
        Err(code) => return code,
    };
    let mode = match arguments.mode() {
        Ok(mode) => mode,
        Err(stop) => {
            report(TOOL, &stop);
            return ExitCode::from(WRONG_ARGUMENTS);
        }
    };
    match run(&arguments, mode) {
        // Whoever closed the output has not seen whether the data are right.
        Err(Stop::Unread) if mode == Mode::Verify => ExitCode::from(FAILED),
        outcome => output::finish(TOOL, outcome),
    }
}

/// Says why a connection was lost and what is done about it, and counts.
fn tell(step: &SessionStep) {
    let again = step.recovery.is_some_and(|recovery| recovery.attempts > 0);
    match step.state {
        SessionState::Waiting(_) => {
            if step.was_logged_in {
                LOSSES.fetch_add(1, Ordering::Relaxed);
            }
            complain(TOOL, format_args!("{step}"));
        }
        SessionState::LoggedIn if again => complain(TOOL, format_args!("{step} again, going on")),
        _ => {}
    }
}

/// Reads of so many bytes, or more, are taken from as large a scratch as there is, if there are many at once.
const LARGE: usize = 32 << 10;
const MANY: u16 = 5;

fn run(arguments: &Arguments, mode: Mode) -> Outcome<u8> {
    let mut setup = Setup::new(TOOL, &arguments.common, &arguments.negotiation)?;
    let options = setup.options_mut();
    options.depth = arguments.max.into();
    options.batch = arguments.batch.into();
    options.busy_wait = Duration::from_micros(arguments.busy_wait.into());
    setup.set_recovery(arguments.retry_for(), tell);
    let url = setup.unit_url(arguments.url.as_deref().unwrap_or_default())?;
    let geometry = look(&setup, &url, mode)?;
    let workload = describe(arguments, mode, &geometry).map_err(|stop| stop.about(&url))?;
    setup.options_mut().scratch = match arguments.scratch {
        0 if !workload.places && workload.bytes() >= LARGE && arguments.max >= MANY => {
            RecvBuf::MAX_ROOM
        }
        kib => usize::from(kib) << 10,
    };
    let mut out = io::stdout();
    if !arguments.json {
        screen::header(&mut out, &url.to_string(), geometry.blocks(), &workload)?;
    }
    let patience = Patience {
        ignore_errors: arguments.ignore_errors,
        losses: &LOSSES,
        max_losses: arguments.max_losses(),
    };
    let job = Job::new(workload, url.lun, patience);
    let summary = measure(arguments, &job, &setup, &url)?;
    for stop in &summary.recorder.kept {
        report(TOOL, stop);
    }
    summary.check()?;
    if let Some(path) = &arguments.svg {
        let (runtime, mode) = (arguments.runtime().label(), job.workload.mode.label());
        let title = format!("{mode} of {url}, {runtime}, {} at once", job.workload.depth);
        fs::write(path, svg::picture(&title, &summary))
            .map_err(|error| Stop::failed(format!("{}: {error}", path.display())))?;
    }
    if arguments.json {
        let runtime = arguments.runtime();
        let document = document::document(&url, runtime, &job.workload, &summary);
        print_json(&mut out, &document)?;
    } else {
        if !arguments.logging && !summary.intervals.is_empty() {
            // Behind the line that has changed so far.
            writeln!(out)?;
        }
        screen::result(&mut out, &summary, arguments.histogram)?;
    }
    Ok(if summary.recorder.errors > 0 { FAILED } else { 0 })
}

/// What the unit is, and whether it may be used so.
fn look(setup: &Setup, url: &IscsiUrl, mode: Mode) -> Outcome<Geometry> {
    let unit = setup.open(url)?;
    let disk = Disk::open(unit.client, unit.lun).map_err(|error| explain(&error).about(url))?;
    let (geometry, read_only) = (*disk.geometry(), disk.is_read_only());
    // The measurement has sessions of its own.
    let _ = disk.logout();
    if mode.writes() && read_only {
        return Err(Stop::with_remedy(
            format!("{url}: the unit is write protected"),
            "--mode read measures it",
        ));
    }
    Ok(geometry)
}

/// The workload that was asked for, on a unit of that size.
fn describe(arguments: &Arguments, mode: Mode, geometry: &Geometry) -> Outcome<Workload> {
    let (blocks, block_size) = (geometry.blocks(), geometry.block_size());
    let range = range(arguments, blocks)?;
    let span = range.end - range.start;
    let bytes = u64::from(arguments.blocks) * u64::from(block_size);
    let limit = geometry.max_transfer().unwrap_or(u64::MAX).min(u64::from(u32::MAX));
    if bytes > limit {
        return Err(Stop::with_remedy(
            format!("one I/O of {bytes} bytes is too much"),
            format!("the unit takes -b {}", limit / u64::from(block_size)),
        ));
    }
    let sessions = arguments.sessions;
    if span < sessions.into() {
        return Err(Stop::failed(format!("{span} blocks are too few for {sessions} sessions")));
    }
    let memory = bytes.saturating_mul(arguments.max.into()).saturating_mul(sessions.into());
    if memory > MAX_MEMORY {
        return Err(Stop::with_remedy(
            format!("{memory} bytes of memory would be needed, {MAX_MEMORY} are the most"),
            "lower -m, -b or --sessions",
        ));
    }
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Ok(Workload {
        mode,
        random: arguments.random,
        blocks: arguments.blocks,
        random_blocks: arguments.random_blocks,
        block_size,
        range,
        depth: arguments.max.into(),
        sessions: sessions.into(),
        seed: arguments.seed.unwrap_or(since_1970.as_nanos() as u64),
        rate: arguments.rate,
        warm_up: arguments.warm_up,
        time: arguments.time(),
        count: arguments.count,
        places: arguments.place || mode == Mode::Verify,
    })
}

fn range(arguments: &Arguments, blocks: u64) -> Outcome<Range<u64>> {
    let first = arguments.first;
    if first >= blocks {
        return Err(Stop::failed(format!("there is no block {first}: the unit has {blocks}")));
    }
    let rest = blocks - first;
    match arguments.span {
        Some(span) if span > rest => Err(Stop::failed(format!(
            "there are no {span} blocks from {first} on: the unit has {blocks}"
        ))),
        span => Ok(first..first + span.unwrap_or(rest)),
    }
}

/// What an engine tells meanwhile.
enum Stage {
    Started,
    Ended,
}

fn measure(arguments: &Arguments, job: &Job, setup: &Setup, url: &IscsiUrl) -> Outcome<Summary> {
    let (sender, receiver) = channel();
    let engine = match arguments.runtime() {
        Runtime::Std => std_engine::run,
        Runtime::Mio => mio_engine::run,
        Runtime::Smol => smol_engine::run,
    };
    let (recorders, watched) = thread::scope(|scope| {
        let worker = scope.spawn(move || {
            let tell = |stage| {
                // Whoever watches is there until this thread ends.
                let _ = sender.send(stage);
            };
            let started = || {
                // Before, there is nothing that could be told in the end.
                if let Err(stop) = job.ending.heed_signals() {
                    job.fail(stop);
                }
                tell(Stage::Started);
            };
            engine(job, setup, url, &started, &|| tell(Stage::Ended))
        });
        let watched = watch(arguments, job, &receiver);
        (worker.join(), watched)
    });
    let recorders = match recorders {
        Ok(recorders) => recorders?,
        Err(_) => return Err(Stop::failed("a thread panicked")),
    };
    job.outcome()?;
    let begin = job.clock().map_or_else(Instant::now, |clock| clock.begin);
    let recorder = recorders.into_iter().reduce(|mut all, one: Recorder| {
        all.add(one);
        all
    });
    let recorder = recorder.unwrap_or_else(|| Recorder::new(begin));
    let time = recorder.time(begin);
    let Watched { cpu, intervals } = watched;
    let busy = Counted::of(&job.live).busy;
    let losses = LOSSES.load(Ordering::Relaxed);
    Ok(Summary { recorder, time, cpu, busy, losses, intervals })
}

/// What is seen from outside while it runs.
#[derive(Debug, Default)]
struct Watched {
    cpu: Duration,
    intervals: Vec<Interval>,
}

/// Prints a line for each second until the engine tells its end.
fn watch(arguments: &Arguments, job: &Job, stages: &Receiver<Stage>) -> Watched {
    let mut watched = Watched::default();
    let Ok(Stage::Started) = stages.recv() else { return watched };
    let Some(Clock { begin, .. }) = job.clock() else { return watched };
    let wait = |until: Instant| {
        let time = until.saturating_duration_since(Instant::now());
        matches!(stages.recv_timeout(time), Err(RecvTimeoutError::Timeout))
    };
    if Instant::now() < begin && !wait(begin) {
        return watched;
    }
    let (cpu, base) = (cpu_time(), Counted::of(&job.live));
    let (mut before, mut before_time) = (base, Duration::ZERO);
    let mut tick = begin + Duration::from_secs(1);
    while wait(tick) {
        let (count, time) = (Counted::of(&job.live), begin.elapsed());
        let second = time.saturating_sub(before_time);
        let iops = per_second(count.ios - before.ios, second);
        let bytes_per_second = per_second(count.bytes - before.bytes, second);
        watched.intervals.push(Interval { at: time, iops, bytes_per_second });
        (before, before_time) = (count, time);
        tick += Duration::from_secs(1);
        if !arguments.json {
            let so_far =
                Counted { ios: count.ios - base.ios, bytes: count.bytes - base.bytes, ..count };
            let mut out = io::stdout().lock();
            let rates = (iops, bytes_per_second);
            let printed =
                screen::live(&mut out, &job.workload, arguments.logging, time, rates, so_far);
            if let Err(stop) = printed.and_then(|()| Ok(out.flush()?)) {
                job.fail(stop);
            }
        }
    }
    watched.cpu = cpu_time().saturating_sub(cpu);
    watched
}
