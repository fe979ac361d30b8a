//! A logical unit whose commands are sent and received by a thread of its own, many at once.

use core::cell::Cell;
use core::time::Duration;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Instant;

use iscsi_core::{Command, Lun, OnLoss, Transfer};
use iscsi_runtime_std::{Completed, Failed, Handle, Payload, SharedDisk, Ticket};
use iscsi_scsi::block::{Read10, Read16, Write10, Write16};
use iscsi_scsi::cache::{SynchronizeCache10, SynchronizeCache16};
use iscsi_scsi::mode::{ModeData, ModePageCode, ModeSense6, PageData};
use iscsi_scsi::vpd::{BlockLimits, PageCode};
use iscsi_scsi::{Cdb, Direction, SenseKey};

use crate::connect::explain;
use crate::output::{Outcome, Stop};
use crate::signals::{Ending, GRACE, LOOK, is_connected};
use crate::unit::{Trouble, Unit, Verdict, judge};

/// How often a unit is asked what it is, if the connection is lost meanwhile and replaced.
const ROUNDS: u32 = 16;

/// How long a logout may take after a request to end.
const LOGOUT: Duration = Duration::from_secs(1);

/// A logical unit of a session that a thread of its own drives.
#[derive(Debug)]
pub(crate) struct Disk {
    handle: Handle,
    /// After a reconnect, this makes sure that the unit is still the same one before anything is sent again.
    guard: SharedDisk,
    lun: Lun,
    url: String,
    size: Size,
    /// Unit attentions to these commands that told of a reset.
    resets: Cell<u32>,
    /// One of them said that mode parameters may have changed. The guard hears of those only that come with a new login.
    mode_changed: Cell<bool>,
    /// After such a one the unit did not say that it has no volatile write cache.
    cache_came: Cell<bool>,
    ending: Arc<Ending>,
}

/// How large a unit is, and what it takes.
#[derive(Debug)]
struct Size {
    block_size: u32,
    blocks: u64,
    /// 16-byte commands, because the unit is large or because that was asked for.
    long: bool,
    /// Most blocks of one command.
    max_blocks: u32,
}

/// Room for a mode page and what stands before it.
const MODE_DATA: u8 = 252;

impl Size {
    fn ask(unit: &mut Unit, long: bool) -> Outcome<Self> {
        let url = unit.url.clone();
        let capacity =
            unit.capacity().map_err(|trouble| trouble.stop("READ CAPACITY").about(&url))?;
        let blocks = capacity.blocks().filter(|_| capacity.bytes().is_some());
        let (Some(blocks), block_size @ 1..) = (blocks, capacity.block_length) else {
            return Err(Stop::failed(format!("{url}: the unit claims an impossible size")));
        };
        // A unit need not have the page, and 0 stands for no limit.
        let limit = unit.inquiry(Some(PageCode::BLOCK_LIMITS)).ok();
        let limit = limit.and_then(|page| BlockLimits::parse(&page).ok());
        let limit = limit.map_or(0, |limits| limits.max_transfer_length);
        let long = long || blocks > 1 << 32;
        let most = if long { u32::MAX / block_size } else { u32::from(u16::MAX) };
        let max_blocks = if limit == 0 { most } else { most.min(limit) };
        Ok(Self { block_size, blocks, long, max_blocks })
    }
}

/// A run of whole blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) lba: u64,
    pub(crate) blocks: u32,
}

impl Disk {
    /// From a session, after asking the unit for its size and its limits, and whatever else `ask` asks for.
    pub(crate) fn open<T>(
        mut unit: Unit,
        long: bool,
        ask: impl Fn(&mut Unit) -> T,
    ) -> Outcome<(Self, T)> {
        let (url, lun) = (unit.url.clone(), unit.lun);
        for round in 0..ROUNDS {
            let login = unit.login();
            if round > 0 {
                unit.check_serial()?;
            }
            let told = ask(&mut unit);
            let size = Size::ask(&mut unit, long)?;
            // After a reconnect, this makes sure that the unit is still the same one before anything is sent again.
            let guard = iscsi_runtime_std::Disk::open(unit.client, lun);
            let mut guard = guard.map_err(|error| explain(&error).about(&url))?;
            if guard.client().session().counters().logins == login {
                let guard = SharedDisk::new(guard).map_err(|error| explain(&error).about(&url))?;
                let handle = guard.handle().clone();
                let disk = Self {
                    handle,
                    guard,
                    lun,
                    url,
                    size,
                    resets: Cell::default(),
                    mode_changed: Cell::default(),
                    cache_came: Cell::default(),
                    ending: Arc::default(),
                };
                return Ok((disk, told));
            }
            // What was told over a connection that is lost may be what another unit says of itself.
            unit.client = guard.into_client();
        }
        let message =
            format!("{url}: the connection was lost {ROUNDS} times before the unit was known");
        Err(Stop::failed(message))
    }

    /// The same, but for an end that may be asked for.
    pub(crate) fn with_ending(self, ending: &Arc<Ending>) -> Self {
        Self { ending: ending.clone(), ..self }
    }

    pub(crate) const fn block_size(&self) -> u32 {
        self.size.block_size
    }

    /// Size in bytes; it fits because [`open`](Self::open) looked.
    pub(crate) const fn bytes(&self) -> u64 {
        self.size.blocks.saturating_mul(self.size.block_size as u64)
    }

    /// Most bytes of one command.
    pub(crate) const fn max_bytes(&self) -> u64 {
        self.size.max_blocks as u64 * self.size.block_size as u64
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Whether the unit may keep what is written in a volatile cache: unless it says that it does not.
    pub(crate) fn may_cache(&self) -> bool {
        if self.mode_changed.take() {
            self.cache_came.set(self.write_cache() != Some(false));
        }
        self.cache_came.get() || self.guard.geometry().write_cache() != Some(false)
    }

    /// Asks the unit for WCE of its caching mode page; `None` if it does not tell.
    fn write_cache(&self) -> Option<bool> {
        let page = ModePageCode::CACHING;
        let cdb = ModeSense6 { page, allocation_length: MODE_DATA, ..Default::default() }.cdb();
        let mut tries = 0;
        loop {
            let ticket = self.submit(&cdb, vec![0; MODE_DATA.into()]);
            let (completed, payload) = self.wait(ticket, GRACE, None)?.ok()?;
            match judge(Ok(completed)).ok()? {
                Verdict::Done(returned) => {
                    let data = payload.into_bytes();
                    let data = data.get(..usize::try_from(returned).ok()?)?;
                    let data = ModeData::parse6(data).ok()?;
                    return match data.page(page)?.data() {
                        PageData::Caching(page) => Some(page.wce),
                        _ => None,
                    };
                }
                again => {
                    self.note(&again);
                    tries += 1;
                    if !self.ending.sleep(again.retry(tries).ok()?) {
                        return None;
                    }
                }
            }
        }
    }

    /// Takes note of what a command is to be sent again for.
    fn note(&self, again: &Verdict) {
        let Some(sense) = again.sense().filter(|sense| sense.key == SenseKey::UNIT_ATTENTION)
        else {
            return;
        };
        if sense.is_reset() {
            self.resets.set(self.resets.get().wrapping_add(1));
        }
        if matches!(sense.additional.asc, 0x29 | 0x2a) {
            self.mode_changed.set(true);
        }
    }

    /// How many unit attentions have said that the unit was powered on or reset, to these commands and at new logins. Once a command has ended,
    /// all those are counted that the unit told before it.
    pub(crate) fn resets(&self) -> u32 {
        self.resets.get().wrapping_add(self.guard.resets())
    }

    /// The whole blocks around `len` bytes from `offset`, and where in them the bytes begin.
    pub(crate) fn cover(&self, offset: u64, len: usize) -> (Run, usize) {
        let size = u64::from(self.size.block_size);
        let (lba, head) = (offset / size, offset % size);
        let blocks = head.saturating_add(len as u64).div_ceil(size);
        let run = Run { lba, blocks: u32::try_from(blocks).unwrap_or(u32::MAX) };
        (run, usize::try_from(head).unwrap_or(usize::MAX))
    }

    /// Starts to read blocks into memory.
    pub(crate) fn read(&self, run: Run, memory: Vec<u8>) -> Flight {
        self.start(self.cdb(Direction::In, run), memory)
    }

    /// Starts to write blocks from memory.
    pub(crate) fn write(&self, run: Run, memory: Vec<u8>) -> Flight {
        self.start(self.cdb(Direction::Out, run), memory)
    }

    fn cdb(&self, direction: Direction, run: Run) -> Cdb {
        let Run { lba, blocks } = run;
        let short =
            u32::try_from(lba).ok().zip(u16::try_from(blocks).ok()).filter(|_| !self.size.long);
        match (direction, short) {
            (Direction::Out, Some((lba, blocks))) => {
                Write10 { lba, blocks, ..Default::default() }.cdb()
            }
            (_, Some((lba, blocks))) => Read10 { lba, blocks, ..Default::default() }.cdb(),
            (Direction::Out, None) => Write16 { lba, blocks, ..Default::default() }.cdb(),
            (_, None) => Read16 { lba, blocks, ..Default::default() }.cdb(),
        }
    }

    fn start(&self, cdb: Cdb, memory: Vec<u8>) -> Flight {
        Flight { ticket: self.submit(&cdb, memory), cdb }
    }

    fn submit(&self, cdb: &Cdb, memory: Vec<u8>) -> Ticket<(Completed, Payload)> {
        let bytes = u32::try_from(cdb.expected_bytes(self.size.block_size)).unwrap_or(u32::MAX);
        let (transfer, payload) = match cdb.direction() {
            Direction::In => (Transfer::In(bytes), Payload::In(memory)),
            Direction::Out => (Transfer::Out(bytes), Payload::Out(memory)),
            _ => (Transfer::None, Payload::None),
        };
        let command = Command::new(self.lun, cdb.as_bytes(), transfer).on_loss(OnLoss::Reissue);
        self.handle.submit(&command, payload)
    }

    /// Waits for the end of a command, and sends it again as long as that helps. The memory comes back, unless the end was asked for and
    /// the command is given up.
    pub(crate) fn finish(&self, flight: Flight) -> (Vec<u8>, Result<(), Trouble>) {
        self.finish_within(flight, GRACE, None)
    }

    /// The same for data that nobody wants once the end was asked for.
    pub(crate) fn finish_if_wanted(&self, flight: Flight) -> (Vec<u8>, Result<(), Trouble>) {
        self.finish_within(flight, Duration::ZERO, None)
    }

    /// After a request to end the command is given up when `grace` has passed since then, or since it was `begun` if that was later.
    fn finish_within(
        &self,
        flight: Flight,
        grace: Duration,
        begun: Option<Instant>,
    ) -> (Vec<u8>, Result<(), Trouble>) {
        let Flight { mut ticket, cdb } = flight;
        let expected = cdb.expected_bytes(self.size.block_size);
        let mut tries = 0;
        loop {
            let Some(end) = self.wait(ticket, grace, begun) else {
                return (Vec::new(), Err(Trouble::Interrupted));
            };
            let (result, memory) = match end {
                Ok((completed, payload)) => (Ok(completed), payload.into_bytes()),
                Err(Failed { error, payload }) => (Err(error), payload.into_bytes()),
            };
            let moved = result.as_ref().map_or(expected, |completed| {
                let outcome = &completed.outcome;
                let bytes = u32::try_from(expected).unwrap_or(u32::MAX);
                match cdb.direction() {
                    Direction::In => outcome.data_in.into(),
                    _ => outcome.residual().transferred(bytes).unwrap_or(0).into(),
                }
            });
            let delay = match judge(result) {
                // SCSI leaves it to the initiator to call that a failure.
                Ok(Verdict::Done(_)) if moved < expected && cdb.direction() == Direction::Out => {
                    return (memory, Err(Trouble::Taken { bytes: moved, of: expected }));
                }
                Ok(Verdict::Done(_)) if moved < expected => {
                    let got = usize::try_from(moved).unwrap_or(usize::MAX);
                    let needed = usize::try_from(expected).unwrap_or(usize::MAX);
                    let error = iscsi_scsi::ParseError::Short { needed, got };
                    return (memory, Err(Trouble::Answer(error)));
                }
                Ok(Verdict::Done(_)) => return (memory, Ok(())),
                Ok(again) => {
                    self.note(&again);
                    tries += 1;
                    again.retry(tries)
                }
                Err(trouble) => return (memory, Err(trouble)),
            };
            match delay {
                Ok(delay) if self.ending.sleep(delay) => {}
                Ok(_) => return (memory, Err(Trouble::Interrupted)),
                Err(trouble) => return (memory, Err(trouble)),
            }
            ticket = self.submit(&cdb, memory);
        }
    }

    /// Waits for the end of a command; `None` if it is [given up](Self::gives_up) before.
    fn wait(
        &self,
        mut ticket: Ticket<(Completed, Payload)>,
        grace: Duration,
        begun: Option<Instant>,
    ) -> Option<Result<(Completed, Payload), Failed>> {
        loop {
            match ticket.wait_for(LOOK) {
                Ok(end) => return Some(end),
                Err(_) if self.gives_up(grace, begun) => return None,
                Err(under_way) => ticket = under_way,
            }
        }
    }

    /// Whether the end was asked for, and what takes longer than `grace` since then and since it was `begun` is given up.
    fn gives_up(&self, grace: Duration, begun: Option<Instant>) -> bool {
        let grace = match (begun, self.ending.since()) {
            (Some(begun), Some(since)) => grace + begun.saturating_duration_since(since),
            _ => grace,
        };
        // The thread of the session answers at once, and not at all if the session has ended.
        let connected = || self.handle.status().is_ok_and(|status| is_connected(status.state));
        self.ending.gives_up(grace, connected)
    }

    /// Has the device write its cache to the medium. A request to end leaves this as much time as what was under way before.
    pub(crate) fn flush(&self) -> Result<(), Trouble> {
        let cdb = match self.size.long {
            true => SynchronizeCache16::default().cdb(),
            false => SynchronizeCache10::default().cdb(),
        };
        let flight = self.start(cdb, Vec::new());
        match self.finish_within(flight, GRACE, Some(Instant::now())).1 {
            Ok(()) => Ok(()),
            // No such command: no cache.
            Err(trouble) if trouble.is_illegal_request() => Ok(()),
            Err(trouble) => Err(trouble),
        }
    }

    /// That [`flush`](Self::flush) failed, as a reason to stop.
    pub(crate) fn not_flushed(&self, trouble: Trouble) -> Stop {
        trouble.stop("SYNCHRONIZE CACHE").about(&self.url)
    }

    /// Logs out. Everything has been said by then.
    pub(crate) fn close(self) {
        let (begun, handle) = (Instant::now(), self.handle.clone());
        let (sender, ended) = channel();
        let shut_down = move || {
            let _ = handle.shut_down();
            // After a request to end nobody may be there any more.
            let _ = sender.send(());
        };
        // Without a thread to be had, the session ends when its last handle is dropped.
        let thread = thread::Builder::new().name("iscsi-logout".into()).spawn(shut_down);
        while thread.is_ok()
            && ended.recv_timeout(LOOK) == Err(RecvTimeoutError::Timeout)
            && !self.gives_up(LOGOUT, Some(begun))
        {}
    }
}

/// A command under way.
#[derive(Debug)]
pub(crate) struct Flight {
    ticket: Ticket<(Completed, Payload)>,
    cdb: Cdb,
}

/// Commands under way, with what each was for, in the order in which they were sent.
#[derive(Debug)]
pub(crate) struct Flights<T> {
    queue: VecDeque<(T, Flight)>,
}

impl<T> Flights<T> {
    pub(crate) const fn new() -> Self {
        Self { queue: VecDeque::new() }
    }

    pub(crate) fn len(&self) -> usize {
        self.queue.len()
    }

    pub(crate) fn push(&mut self, what: T, flight: Flight) {
        self.queue.push_back((what, flight));
    }

    pub(crate) fn pop(&mut self) -> Option<(T, Flight)> {
        self.queue.pop_front()
    }
}
