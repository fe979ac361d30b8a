//! What is asked of a logical unit: which blocks, in which order, how fast and for how long.
//!
//! Everything here is the same whichever runtime carries it out. A [`Lane`] is one session's part: the engines ask it for the next I/O and
//! tell it how each ended.

use core::ops::Range;
use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Instant;

use iscsi_core::{Command, Lun, OnLoss, SessionState, Transfer};
use iscsi_runtime_std::{Completed, Error};
use iscsi_scsi::Cdb;
use iscsi_scsi::block::{Read16, Write16};

use crate::output::{Outcome, Stop};
use crate::perf::pattern::{Amount, Content, Difference, Pattern, Random};
use crate::perf::stats::{LiveLane, Recorder};
use crate::signals::{Ending, GRACE, LOOK, is_connected};
use crate::unit::{Verdict, judge};

/// A session that is held up by the rate may catch up with at most so much.
const CATCH_UP: Duration = Duration::from_millis(100);

/// What is done with the blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Read,
    Write,
    /// So many percent of the I/Os are reads.
    Mixed(u8),
    /// Writes, and reads each of them back.
    Verify,
}

impl Mode {
    pub(crate) const fn writes(self) -> bool {
        !matches!(self, Self::Read)
    }

    /// As in libiscsi's header.
    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::Read => "READ",
            Self::Write => "WRITE",
            Self::Mixed(_) => "READ/WRITE",
            Self::Verify => "WRITE+VERIFY",
        }
    }
}

/// The description that all sessions share.
#[derive(Debug, Clone)]
pub(crate) struct Workload {
    pub(crate) mode: Mode,
    pub(crate) random: bool,
    /// Most blocks of one I/O.
    pub(crate) blocks: u32,
    /// From 1 to [`blocks`](Self::blocks) blocks instead of as many.
    pub(crate) random_blocks: bool,
    pub(crate) block_size: u32,
    /// The blocks to use; at least one for each session.
    pub(crate) range: Range<u64>,
    /// I/Os under way at once, of one session.
    pub(crate) depth: usize,
    pub(crate) sessions: usize,
    pub(crate) seed: u64,
    /// I/Os per second of all sessions together.
    pub(crate) rate: Option<f64>,
    pub(crate) warm_up: Duration,
    pub(crate) time: Option<Duration>,
    /// I/Os of all sessions together, those of the warm-up not among them; of verify mode, writes.
    pub(crate) count: Option<u64>,
    /// Reads go to buffers, instead of being taken where they arrive.
    pub(crate) places: bool,
}

impl Workload {
    /// The blocks of one session: all at random, a part of them in order.
    fn part(&self, session: usize) -> Range<u64> {
        if self.random {
            return self.range.clone();
        }
        let (all, parts) = (u128::from(self.span()), self.sessions.max(1) as u128);
        // No part begins behind the end.
        let at = |n: usize| {
            self.range.start + u64::try_from(all * n as u128 / parts).unwrap_or(u64::MAX)
        };
        at(session)..at(session + 1)
    }

    pub(crate) const fn span(&self) -> u64 {
        self.range.end.saturating_sub(self.range.start)
    }

    /// How many I/Os one session is to begin.
    fn share(&self, session: usize) -> Option<u64> {
        let sessions = self.sessions.max(1) as u64;
        let more = |count: u64| u64::from((session as u64) < count % sessions);
        self.count.map(|count| count / sessions + more(count))
    }

    /// The memory of one I/O.
    pub(crate) const fn bytes(&self) -> usize {
        self.blocks as usize * self.block_size as usize
    }
}

/// When it counts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    /// From here on.
    pub(crate) begin: Instant,
    /// No I/O begins afterwards.
    end: Option<Instant>,
}

/// What the threads of a run share.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) workload: Workload,
    pub(crate) lun: Lun,
    pub(crate) live: Vec<LiveLane>,
    ignore_errors: bool,
    pattern: Pattern,
    clock: OnceLock<Clock>,
    /// A signal came, or something failed.
    pub(crate) ending: Ending,
    failure: Mutex<Option<Stop>>,
    losses: &'static AtomicU64,
    max_losses: Option<u64>,
}

/// What a run may put up with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    /// Go on behind I/Os that fail.
    pub(crate) ignore_errors: bool,
    /// Counts lost connections.
    pub(crate) losses: &'static AtomicU64,
    /// The most of them.
    pub(crate) max_losses: Option<u64>,
}

impl Job {
    pub(crate) fn new(workload: Workload, lun: Lun, patience: Patience) -> Self {
        let amount = match workload.mode {
            Mode::Read => Amount::None,
            Mode::Write | Mode::Mixed(_) => Amount::Written,
            Mode::Verify => Amount::Compared,
        };
        let pattern = Pattern::new(workload.seed, workload.block_size, amount);
        let live = (0..workload.sessions).map(|_| LiveLane::default()).collect();
        let Patience { ignore_errors, losses, max_losses } = patience;
        let (clock, failure) = (OnceLock::new(), Mutex::new(None));
        Self {
            workload,
            lun,
            live,
            ignore_errors,
            pattern,
            clock,
            ending: Ending::default(),
            failure,
            losses,
            max_losses,
        }
    }

    /// Starts the clock: all sessions are there.
    pub(crate) fn begin(&self) -> Clock {
        *self.clock.get_or_init(|| {
            let begin = Instant::now() + self.workload.warm_up;
            Clock { begin, end: self.workload.time.and_then(|time| begin.checked_add(time)) }
        })
    }

    /// When the clock was started; `None` before.
    pub(crate) fn clock(&self) -> Option<Clock> {
        self.clock.get().copied()
    }

    /// Ends the run, with the first reason that was given.
    pub(crate) fn fail(&self, stop: Stop) {
        let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        failure.get_or_insert(stop);
        self.ending.want();
    }

    /// Why it failed, if it did.
    pub(crate) fn outcome(&self) -> Outcome<()> {
        let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        failure.take().map_or(Ok(()), Err)
    }

    /// Whether to give up what is under way on a session, which stands like this: the run is to end, and there is no connection or no time left.
    pub(crate) fn gives_up(&self, state: SessionState) -> bool {
        self.ending.gives_up(GRACE, || is_connected(state))
    }

    /// What a write of these blocks writes.
    pub(crate) fn content(&self, io: &Io) -> Content<'_> {
        self.pattern.content(io.lba, io.bytes(self) as usize)
    }
}

/// What a command is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Read,
    Write,
    /// Reads what was written and compares it.
    Check,
}

/// One command.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Io {
    pub(crate) kind: Kind,
    pub(crate) lba: u64,
    pub(crate) blocks: u32,
    pub(crate) started: Instant,
}

impl Io {
    pub(crate) const fn bytes(&self, job: &Job) -> u32 {
        self.blocks.saturating_mul(job.workload.block_size)
    }

    pub(crate) const fn is_write(&self) -> bool {
        matches!(self.kind, Kind::Write)
    }

    pub(crate) fn cdb(&self) -> Cdb {
        let Self { lba, blocks, .. } = *self;
        match self.kind {
            Kind::Write => Write16 { lba, blocks, ..Default::default() }.cdb(),
            Kind::Read | Kind::Check => Read16 { lba, blocks, ..Default::default() }.cdb(),
        }
    }

    /// The command of this [`cdb`](Self::cdb). What is written depends on the place only, so that it may be written twice.
    pub(crate) fn command<'c>(&self, job: &Job, cdb: &'c Cdb) -> Command<'c> {
        let bytes = self.bytes(job);
        let transfer = if self.is_write() { Transfer::Out(bytes) } else { Transfer::In(bytes) };
        Command::new(job.lun, cdb.as_bytes(), transfer).on_loss(OnLoss::Reissue)
    }
}

/// What a session does next.
#[derive(Debug)]
pub(crate) enum Next {
    Issue(Io),
    /// Nothing before this time.
    Wait(Instant),
    /// Nothing more is begun; what is under way may have consequences.
    Done,
}

/// One session's part of the run.
#[derive(Debug)]
pub(crate) struct Lane<'j> {
    job: &'j Job,
    clock: Clock,
    live: &'j LiveLane,
    pub(crate) recorder: Recorder,
    random: Random,
    part: Range<u64>,
    position: u64,
    left: Option<u64>,
    /// The time between two I/Os, if there is a rate.
    interval: Option<Duration>,
    /// When the next I/O may begin.
    due: Instant,
    /// Commands that follow from others: read back, or try again.
    pending: Vec<Io>,
    in_flight: u64,
    /// Commands sent back since the last one that was done.
    refused: usize,
}

impl<'j> Lane<'j> {
    /// After [`Job::begin`].
    pub(crate) fn new(job: &'j Job, live: &'j LiveLane, session: usize) -> Self {
        let clock = job.begin();
        let workload = &job.workload;
        let part = workload.part(session);
        let interval = workload.rate.and_then(|rate| {
            Duration::try_from_secs_f64(workload.sessions.max(1) as f64 / rate).ok()
        });
        Self {
            job,
            clock,
            live,
            recorder: Recorder::new(clock.begin),
            random: Random::new(workload.seed, session as u64),
            position: part.start,
            part,
            left: workload.share(session),
            interval,
            due: Instant::now(),
            pending: Vec::with_capacity(workload.depth),
            in_flight: 0,
            refused: 0,
        }
    }

    /// What to do with memory that is free.
    pub(crate) fn next(&mut self, now: Instant) -> Next {
        if self.job.ending.is_wanted() || self.lost_too_often() {
            return Next::Done;
        }
        if self.pending.is_empty() && !self.may_begin(now) {
            return Next::Done;
        }
        if now < self.due {
            return Next::Wait(self.due.min(now + LOOK));
        }
        if let Some(interval) = self.interval {
            let earliest = now.checked_sub(CATCH_UP).unwrap_or(now);
            self.due = self.due.max(earliest) + interval;
        }
        let mut io = self.pending.pop().unwrap_or_else(|| self.draw(now));
        io.started = now;
        self.in_flight += 1;
        self.live.begun(io.lba, self.in_flight);
        Next::Issue(io)
    }

    fn may_begin(&self, now: Instant) -> bool {
        self.clock.end.is_none_or(|end| now < end) && self.left != Some(0)
    }

    fn lost_too_often(&self) -> bool {
        let Some(most) = self.job.max_losses else { return false };
        let losses = self.job.losses.load(Ordering::Relaxed);
        if losses > most {
            self.job.fail(Stop::with_remedy(
                format!("{losses} connections were lost, {most} may be"),
                "-x -1 allows any number",
            ));
        }
        losses > most
    }

    /// The next I/O of the description.
    fn draw(&mut self, now: Instant) -> Io {
        let workload = &self.job.workload;
        if let Some(left) = &mut self.left
            && now >= self.clock.begin
        {
            *left = left.saturating_sub(1);
        }
        let span = self.part.end - self.part.start;
        let mut blocks = workload.blocks;
        if workload.random_blocks {
            // At most as many as a u32 holds, and at least one.
            blocks = u32::try_from(self.random.below(blocks.into())).unwrap_or(0) + 1;
        }
        let most = u32::try_from(span).unwrap_or(u32::MAX);
        blocks = blocks.min(most);
        let lba = if workload.random {
            let size = u64::from(blocks);
            let offset = if workload.random_blocks {
                self.random.below(span - size + 1)
            } else {
                self.random.below(span / size) * size
            };
            self.part.start + offset
        } else {
            if self.position >= self.part.end {
                self.position = self.part.start;
            }
            let rest = u32::try_from(self.part.end - self.position).unwrap_or(u32::MAX);
            blocks = blocks.min(rest);
            let lba = self.position;
            self.position += u64::from(blocks);
            lba
        };
        let kind = match workload.mode {
            Mode::Read => Kind::Read,
            Mode::Write | Mode::Verify => Kind::Write,
            Mode::Mixed(reads) if self.random.below(100) < reads.into() => Kind::Read,
            Mode::Mixed(_) => Kind::Write,
        };
        Io { kind, lba, blocks, started: now }
    }

    /// Takes note of the end of a command; `data` is what was read.
    pub(crate) fn finished(
        &mut self,
        io: Io,
        now: Instant,
        result: Result<Completed, Error>,
        data: &[u8],
    ) {
        self.in_flight -= 1;
        let bytes = io.bytes(self.job);
        let all = |completed: &Completed| io.is_write() || completed.data_in() == bytes;
        match result {
            Ok(completed) if completed.outcome.is_good() && all(&completed) => {
                self.done(io, now, data);
            }
            result => self.not_done(io, now, result),
        }
        self.live.ended(self.in_flight);
    }

    fn done(&mut self, io: Io, now: Instant, data: &[u8]) {
        self.refused = 0;
        let bytes = io.bytes(self.job);
        if io.started >= self.clock.begin {
            self.recorder.record(io.is_write(), bytes, now - io.started, now);
        }
        self.live.count(bytes);
        match io.kind {
            Kind::Check => self.compare(io, data),
            Kind::Write if self.job.workload.mode == Mode::Verify => {
                self.pending.push(Io { kind: Kind::Check, ..io });
            }
            Kind::Read | Kind::Write => {}
        }
    }

    fn compare(&mut self, io: Io, data: &[u8]) {
        let Some(Difference { at, wanted, read }) = self.job.content(&io).difference(data) else {
            return;
        };
        let size = self.job.workload.block_size as usize;
        let lba = io.lba + (at / size) as u64;
        let read = read.map_or_else(|| "nothing".into(), |read| format!("{read:#04x}"));
        self.error(Stop::failed(format!(
            "block {lba}, byte {}: {read} was read, {wanted:#04x} was written",
            at % size
        )));
    }

    #[cold]
    fn not_done(&mut self, io: Io, now: Instant, result: Result<Completed, Error>) {
        let name = if io.is_write() { "WRITE(16)" } else { "READ(16)" };
        let about = format!("{} blocks at {}", io.blocks, io.lba);
        let trouble = match judge(result) {
            // GOOD, of fewer bytes than there are.
            Ok(Verdict::Done(bytes)) => {
                let (moved, of) = (if io.is_write() { "took" } else { "sent" }, io.bytes(self.job));
                let message = format!("{name}: the target {moved} {bytes} of {of} bytes");
                self.error(Stop::failed(message).about(about));
                return;
            }
            Ok(again) if self.refused < 4 * self.job.workload.depth + 32 => {
                self.refused += 1;
                self.live.busy();
                if matches!(again, Verdict::Later(_)) {
                    let pause = Duration::from_millis(1 << (self.refused / 8).min(7));
                    self.due = self.due.max(now + pause);
                }
                self.pending.push(io);
                return;
            }
            Ok(again) => match again.retry(u32::MAX) {
                Err(trouble) => trouble,
                Ok(_) => return,
            },
            Err(trouble) => trouble,
        };
        let is_final = trouble.is_final();
        let stop = trouble.stop(name).about(about);
        if is_final {
            self.job.fail(stop);
        } else {
            self.error(stop);
        }
    }

    /// An I/O that failed: the end, unless such are to be ignored.
    fn error(&mut self, stop: Stop) {
        if self.job.ignore_errors {
            self.recorder.error(stop);
            self.live.error();
        } else {
            self.job.fail(stop);
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn workload() -> Workload {
        Workload {
            mode: Mode::Read,
            random: false,
            blocks: 8,
            random_blocks: false,
            block_size: 512,
            range: 100..200,
            depth: 4,
            sessions: 1,
            seed: 1,
            rate: None,
            warm_up: Duration::ZERO,
            time: None,
            count: None,
            places: true,
        }
    }

    fn job(workload: Workload) -> Job {
        static LOSSES: AtomicU64 = AtomicU64::new(0);
        let patience = Patience { ignore_errors: false, losses: &LOSSES, max_losses: None };
        Job::new(workload, Lun::ZERO, patience)
    }

    /// The first I/Os of a session.
    fn draw(job: &Job, session: usize, count: usize) -> Vec<(u64, u32, Kind)> {
        let mut lane = Lane::new(job, &job.live[session], session);
        let now = Instant::now();
        let mut next = || match lane.next(now) {
            Next::Issue(io) => Some((io.lba, io.blocks, io.kind)),
            Next::Wait(_) | Next::Done => None,
        };
        (0..count).map_while(|_| next()).collect()
    }

    #[test]
    fn in_order_and_round_again() {
        let job = job(workload());
        let lbas: Vec<_> = draw(&job, 0, 14).iter().map(|io| (io.0, io.1)).collect();
        assert_eq!((lbas[0], lbas[1]), ((100, 8), (108, 8)));
        assert_eq!((lbas[12], lbas[13]), ((196, 4), (100, 8)), "the rest is shorter");
    }

    #[test]
    fn sessions_share_the_blocks_in_order() {
        let job = job(Workload { sessions: 3, range: 0..100, ..workload() });
        let mut covered = [0; 100];
        for session in 0..3 {
            for (lba, blocks, _) in draw(&job, session, 5) {
                let (lba, blocks) = (lba as usize, blocks as usize);
                covered[lba..lba + blocks].iter_mut().for_each(|block| *block += 1);
            }
        }
        assert_eq!(covered, [1; 100]);
    }

    #[test]
    fn random_places_stay_in_the_range() {
        for random_blocks in [false, true] {
            let random = Workload { random: true, random_blocks, ..workload() };
            let job = job(random);
            let ios = draw(&job, 0, 2000);
            assert!(ios.iter().all(|io| io.0 >= 100 && io.0 + u64::from(io.1) <= 200));
            assert!(ios.iter().any(|io| io.0 == 100) && ios.iter().any(|io| io.0 >= 188));
            assert_eq!(ios.iter().all(|io| io.1 == 8), !random_blocks);
            assert!(ios.iter().any(|io| io.1 == 8));
        }
        // The same seed gives the same run.
        let again = |seed| draw(&job(Workload { random: true, seed, ..workload() }), 0, 20);
        assert_eq!(again(7), again(7));
        assert_ne!(again(7), again(8));
    }

    #[test]
    fn counts_are_shared() {
        let job = job(Workload { sessions: 3, count: Some(11), ..workload() });
        let counts: Vec<_> = (0..3).map(|session| draw(&job, session, 100).len()).collect();
        assert_eq!(counts, [4, 4, 3]);
    }

    #[test]
    fn mixed_is_as_many_reads_as_wanted() {
        for (percent, around) in [(0, 0..=0), (70, 1300..=1500), (100, 2000..=2000)] {
            let job = job(Workload { mode: Mode::Mixed(percent), ..workload() });
            let ios = draw(&job, 0, 2000);
            let reads = ios.iter().filter(|io| io.2 == Kind::Read).count();
            assert!(around.contains(&reads), "{percent}: {reads}");
        }
    }

    #[test]
    fn a_rate_makes_wait() {
        let job = job(Workload { rate: Some(10.0), ..workload() });
        let mut lane = Lane::new(&job, &job.live[0], 0);
        let now = Instant::now();
        assert!(matches!(lane.next(now), Next::Issue(_)));
        assert!(matches!(lane.next(now), Next::Wait(until) if until > now));
        assert!(matches!(lane.next(now + Duration::from_millis(101)), Next::Issue(_)));
        // After a long pause, not everything is made up for at once.
        let late = now + Duration::from_secs(60);
        let burst = (0..100).take_while(|_| matches!(lane.next(late), Next::Issue(_))).count();
        assert!((1..=3).contains(&burst), "{burst}");
    }

    #[test]
    fn a_warm_up_does_not_count() {
        let long = Duration::from_secs(3600);
        let job = job(Workload { warm_up: long, count: Some(1), ..workload() });
        let mut lane = Lane::new(&job, &job.live[0], 0);
        let now = Instant::now();
        assert!(matches!(lane.next(now), Next::Issue(_)));
        assert!(matches!(lane.next(now), Next::Issue(_)));
        assert!(matches!(lane.next(now + 2 * long), Next::Issue(_)));
        assert!(matches!(lane.next(now + 2 * long), Next::Done));
    }

    #[test]
    fn a_stop_is_an_end() {
        let job = job(workload());
        job.fail(Stop::failed("first"));
        job.fail(Stop::failed("second"));
        assert!(draw(&job, 0, 1).is_empty());
        assert!(matches!(job.outcome(), Err(Stop::Failed { message, .. }) if message == "first"));
    }
}
