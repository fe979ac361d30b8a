//! Ends of commands: what is good, what is tried again, what fails.

use iscsi_core::wire::{Residual, ScsiResponseCode};
use iscsi_core::{Event, Instant, LostReason, TaskOutcome, Transfer};
use iscsi_scsi::disposition::{Refresh, Wait};
use iscsi_scsi::{Disposition, Sense, Status};

use super::submit::entry_mut;
use super::verify::Verification;
use super::{Core, Disk, DiskState};
use crate::error::{DiskError, ScsiError};
use crate::geometry::ZeroMethod;
use crate::probe::{Probe, Progress};
use crate::request::Operation;
use crate::slot::{CommandEntry, Kind, Phase, Retry};

/// A command that did not do what it was asked, and what that calls for.
#[derive(Debug, Clone, Copy)]
struct Trouble {
    disposition: Disposition,
    error: DiskError,
}

impl Trouble {
    /// What cannot be healed by trying again.
    const fn fatal(error: DiskError) -> Self {
        Self { disposition: Disposition::Fail(iscsi_scsi::disposition::Failure::Other), error }
    }
}

impl Trouble {
    /// The command ended without an answer.
    const fn lost(reason: LostReason) -> Self {
        let error = DiskError::Lost(reason);
        match reason {
            // Another command on the unit had to be ended by a reset.
            LostReason::TaskManagement => {
                Self { disposition: Disposition::RetryIfIdempotent, error }
            }
            // It was spoilt on its way, or came at a bad time.
            LostReason::Rejected(reason) if reason.may_resend() => {
                Self { disposition: Disposition::RetryIfIdempotent, error }
            }
            _ => Self::fatal(error),
        }
    }
}

impl Disk {
    /// Takes an event of the session. Returns whether it concerned a task of this disk.
    pub fn handle_event(&mut self, event: &Event<'_>, now: Instant) -> bool {
        let (Event::TaskDone { task, .. } | Event::TaskLost { task, .. }) = *event else {
            self.session_event(event);
            return false;
        };
        let Some(entry) = self.command(task).copied() else { return false };
        let (verdict, data_in) = match *event {
            Event::TaskDone { outcome, sense, .. } => {
                (judge(&outcome, sense, &entry), outcome.data_in)
            }
            Event::TaskLost { reason, .. } => (Err(Trouble::lost(reason)), 0),
            _ => return false,
        };
        self.core.in_flight = self.core.in_flight.saturating_sub(1);
        self.adapt(&verdict, now);
        if let Err(Trouble { error: DiskError::Scsi(error), .. }) = &verdict
            && error.is_reset()
        {
            self.core.resets = self.core.resets.wrapping_add(1);
        }
        if entry.kind == Kind::Probe {
            self.core.probe_command.task = None;
            let withdrawn = core::mem::take(&mut self.core.withdrawn);
            let again = withdrawn || self.core.away || self.core.verification != Verification::None;
            if again && matches!(event, Event::TaskLost { .. }) {
                // What was read before may be another device's.
                self.core.probe = self.core.probe.map(|_| Probe::new());
            } else {
                self.probe_answered(data_in, verdict, now);
            }
        } else {
            if let Some(slot) = self.slots.get_mut(task.index()) {
                slot.command.task = None;
            }
            self.command_ended(&entry, verdict, now);
        }
        true
    }

    /// Learns from every end how much the device can take.
    fn adapt(&mut self, verdict: &Result<(), Trouble>, now: Instant) {
        let core = &mut self.core;
        match verdict {
            Ok(()) => {
                if core.paused_until.is_none() {
                    core.pause = core::time::Duration::ZERO;
                }
                let most = core.config.queue_depth.max(1);
                if core.limit < most {
                    core.good_in_a_row += 1;
                    if core.good_in_a_row >= core.limit {
                        core.good_in_a_row = 0;
                        core.limit += 1;
                    }
                }
            }
            Err(Trouble { disposition: Disposition::RetryAfter(wait), .. }) => {
                if *wait == Wait::QueueFull {
                    core.limit = core.in_flight.max(1);
                    core.good_in_a_row = 0;
                }
                // Commands that were under way together make one pause.
                if core.paused_until.is_none_or(|until| until <= now) {
                    let longest = core.config.longest_delay.max(core.config.first_delay);
                    core.pause =
                        core.pause.saturating_mul(2).clamp(core.config.first_delay, longest);
                    core.paused_until = Some(now + core.pause);
                }
            }
            Err(_) => {}
        }
    }

    fn command_ended(&mut self, entry: &CommandEntry, verdict: Result<(), Trouble>, now: Instant) {
        let index = entry.request.index() as u16;
        if let Err(trouble) = verdict {
            self.trouble(index, entry, trouble);
        }
        self.command_left(index, now);
    }

    /// A revoked task is gone.
    pub(super) fn let_go(&mut self, entry: &CommandEntry) {
        self.core.in_flight = self.core.in_flight.saturating_sub(1);
        self.command_left(entry.request.index() as u16, Instant::ZERO);
    }

    /// Notes what is to be done about a failed command.
    fn trouble(&mut self, index: u16, entry: &CommandEntry, trouble: Trouble) {
        let Trouble { disposition, error } = trouble;
        let refused = error.opcode_refused();
        if refused && entry.kind == Kind::WriteSame && self.next_zero_method(entry) {
            return self.note_retry(index, entry, error, false);
        }
        if refused && entry.kind == Kind::Flush && !self.has_write_cache() {
            // Nothing to flush, and no command for it.
            return;
        }
        match disposition {
            Disposition::Retry(refresh) => {
                self.core.check_wanted |= needs_check(refresh);
                self.note_retry(index, entry, error, false);
            }
            Disposition::RetryIfIdempotent if entry.kind != Kind::CompareAndWrite => {
                self.note_retry(index, entry, error, false);
            }
            Disposition::RetryAfter(_) => self.note_retry(index, entry, error, true),
            _ => entry_mut(self, index, |request| {
                if request.result.is_ok() {
                    request.result = Err(error);
                }
            }),
        }
    }

    fn note_retry(&mut self, index: u16, entry: &CommandEntry, error: DiskError, delayed: bool) {
        entry_mut(self, index, |request| {
            let retry = &mut request.retry;
            retry.from = Some(retry.from.map_or(entry.place, |from| from.min(entry.place)));
            retry.error = error;
            retry.delayed |= delayed;
        });
    }

    /// The device refused the way in which zeros were written: takes the next one. False if there is none.
    fn next_zero_method(&mut self, refused: &CommandEntry) -> bool {
        let Some(geometry) = self.core.geometry else { return false };
        let next = match self.core.plan.zero {
            ZeroMethod::Same16NoData => ZeroMethod::Same16,
            // A command of an earlier method was still under way.
            ZeroMethod::Write => return true,
            _ if refused.transfer == Transfer::None => return true,
            ZeroMethod::Same16 | ZeroMethod::Same10 => ZeroMethod::Write,
        };
        self.core.plan.set_zero_method(next, &geometry);
        true
    }

    /// The device says that its write cache is on.
    fn has_write_cache(&self) -> bool {
        self.write_cache() == Some(true)
    }

    fn write_cache(&self) -> Option<bool> {
        self.core.geometry.as_ref().and_then(crate::Geometry::write_cache)
    }

    /// One command less is in flight: goes on with the request.
    fn command_left(&mut self, index: u16, now: Instant) {
        let retries = self.core.config.retries;
        let patience = self.core.config.patience;
        let Some(slot) = self.slots.get_mut(usize::from(index)) else { return };
        let request = &mut slot.request;
        request.in_flight = request.in_flight.saturating_sub(1);
        if request.in_flight > 0 {
            if !request.is_held() && self.core.plan.next(request).is_some() {
                self.make_ready(index);
            }
            return;
        }
        if request.result.is_err() {
            return self.finish(index);
        }
        if let Some(from) = request.retry.from.take() {
            let retry = &mut request.retry;
            if retry.mark.is_none_or(|mark| from > mark) {
                // It got further than ever before.
                retry.mark = Some(from);
                retry.tries = 0;
                retry.since = now;
            }
            let delayed = core::mem::take(&mut retry.delayed);
            let exhausted = if delayed {
                now.saturating_since(retry.since) >= patience
            } else {
                retry.tries = retry.tries.saturating_add(1);
                retry.tries > retries
            };
            if exhausted {
                request.result = Err(retry.error);
                return self.finish(index);
            }
            request.cursor = from;
            return self.make_ready(index);
        }
        if self.core.plan.next(request).is_some() {
            return self.make_ready(index);
        }
        self.phase_ended(index);
    }

    fn phase_ended(&mut self, index: u16) {
        let flush = !self.core.plan.fua && self.write_cache() != Some(false);
        let Some(slot) = self.slots.get_mut(usize::from(index)) else { return };
        let request = &mut slot.request;
        request.retry = Retry::NONE;
        match (request.phase, request.operation) {
            (Phase::Edges, _) => {
                request.phase = Phase::Transfer;
                request.cursor = request.first;
                self.make_ready(index);
            }
            (Phase::Transfer, Operation::Write { fua: true }) if flush => {
                request.phase = Phase::Flush;
                request.cursor = request.first;
                self.make_ready(index);
            }
            _ => self.finish(index),
        }
    }
}

/// Bring-up and checks.
impl Disk {
    fn probe_answered(&mut self, data_in: u32, verdict: Result<(), Trouble>, now: Instant) {
        // Without a run, its command was the last one of a run that was given up.
        let Core { probe, answer, .. } = &mut self.core;
        let Some(probe) = probe else { return };
        let len = (data_in as usize).min(answer.len());
        let answer = match verdict {
            Ok(()) => Ok(answer.get(..len).unwrap_or_default()),
            Err(Trouble { disposition, error }) => match disposition {
                Disposition::Retry(refresh) => {
                    let again = probe.has_read() && needs_check(refresh);
                    return self.retry_probe(again, error);
                }
                Disposition::RetryIfIdempotent => return self.retry_probe(false, error),
                Disposition::RetryAfter(_) => {
                    let since = *self.core.probe_since.get_or_insert(now);
                    if now.saturating_since(since) >= self.core.config.patience {
                        self.fail_all(error);
                    }
                    return;
                }
                _ => Err(error),
            },
        };
        match probe.answered(answer) {
            Progress::Next => self.core.probe_since = None,
            Progress::Failed(error) => self.fail_all(error),
            Progress::Done => self.probe_done(),
        }
    }

    fn retry_probe(&mut self, again: bool, error: DiskError) {
        self.core.probe_tries = self.core.probe_tries.saturating_add(1);
        if self.core.probe_tries > self.core.config.retries.saturating_mul(2).max(4) {
            self.fail_all(error);
        } else if again {
            self.core.probe = Some(Probe::new());
        }
    }

    fn probe_done(&mut self) {
        let Some(probe) = self.core.probe.take() else { return };
        let Some((identity, &geometry)) = probe.result() else { return };
        if let (Some(before), Some(known)) = (&self.core.identity, &self.core.geometry) {
            if !identity.is_same_device(before) || known.block_size() != geometry.block_size() {
                return self.fail_all(DiskError::DeviceChanged);
            }
            if *known != geometry {
                self.core.geometry_reported = false;
            }
        }
        self.core.identity = Some(*identity);
        if self.core.geometry != Some(geometry) {
            self.adopt(geometry);
        }
        self.set_state(DiskState::Ready);
        self.recheck_ranges(geometry);
        self.decide(true);
    }

    /// The device may have become smaller, or write protected by a type of its own: requests that do not fit any more fail.
    fn recheck_ranges(&mut self, geometry: crate::Geometry) {
        for index in 0..self.core.fresh {
            let outside = self.slots.get(usize::from(index)).is_some_and(|slot| {
                !matches!(slot.request.phase, Phase::Free | Phase::Done)
                    && slot.request.end > geometry.blocks()
            });
            if outside {
                self.fail(index, DiskError::OutOfRange { capacity: geometry.capacity() });
            }
        }
    }
}

/// Which unit attentions call for another look at the device.
const fn needs_check(refresh: Refresh) -> bool {
    !matches!(refresh, Refresh::Nothing | Refresh::Reservations | Refresh::TargetPortGroups)
}

/// What the end of a command means.
fn judge(outcome: &TaskOutcome, sense: &[u8], command: &CommandEntry) -> Result<(), Trouble> {
    let ScsiResponseCode::CompletedAtTarget(completion) = &outcome.response else {
        return Err(Trouble::fatal(DiskError::Response(outcome.response.to_byte())));
    };
    let status = Status::from(completion.status.to_byte());
    if status != Status::GOOD {
        let sense = Sense::parse(sense).ok();
        let disposition = Disposition::of(status, sense.as_ref());
        if disposition != Disposition::Success {
            let error = DiskError::Scsi(ScsiError::new(status, sense.as_ref()));
            return Err(Trouble { disposition, error });
        }
    }
    judge_transfer(outcome, completion.residual, command).map_err(Trouble::fatal)
}

/// A command that ended well has moved all of its data, unless it asked for as much as there is.
fn judge_transfer(
    outcome: &TaskOutcome,
    residual: Residual,
    command: &CommandEntry,
) -> Result<(), DiskError> {
    let (expected, transferred) = match command.transfer {
        Transfer::None => return Ok(()),
        Transfer::In(expected) | Transfer::Both { r#in: expected, .. } => {
            (expected, outcome.data_in)
        }
        Transfer::Out(expected) => (expected, residual.transferred(expected).unwrap_or(0)),
    };
    if outcome.missing > 0 {
        return Err(DiskError::ShortTransfer { expected, transferred });
    }
    if command.kind == Kind::Probe {
        return Ok(());
    }
    match residual {
        Residual::Overflow(excess) => Err(DiskError::LongTransfer { expected, excess }),
        _ if transferred < expected => Err(DiskError::ShortTransfer { expected, transferred }),
        _ => Ok(()),
    }
}

impl Disk {
    /// Whether bring-up or a check is under way.
    pub const fn is_checking(&self) -> bool {
        matches!(self.core.state, DiskState::Starting | DiskState::Checking)
    }
}
