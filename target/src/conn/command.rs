//! SCSI commands: the CmdSN window, and the life of a task.

use iscsi_core::text::SessionType;
use iscsi_core::wire::{RejectReason, ScsiCommand, ScsiStatus};
use iscsi_core::{CmdSn, Instant, TargetTransferTag};
use iscsi_scsi::Sense;
use iscsi_scsi::sense::{AdditionalSense, SenseKey};

use super::control::Control;
use super::rx::{Place, Placement};
use super::task::{Burst, Ending, Line, RESERVED_SLOTS, Task, Work};
use super::{AHEAD, TargetConnection};
use crate::target::Target;
use crate::unit::{Start, illegal};

/// What the CmdSN of a request says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Arrival {
    /// The next one.
    InOrder,
    /// One is missing before it.
    Ahead,
    /// Not numbered.
    Immediate,
    /// A duplicate, or outside of the window: to be ignored without a word (RFC 7143 section 4.2.2.1).
    Ignored,
}

impl TargetConnection {
    /// Opens the window at the start of the full feature phase.
    pub(super) fn open_window(&mut self, cmd_sn: CmdSn, target: &Target<'_>) {
        let slots = self.tasks.capacity().saturating_sub(RESERVED_SLOTS as u16);
        let window = target.quirks.window.map_or(slots, |limit| limit.min(slots));
        self.core.exp_cmd_sn = cmd_sn;
        self.core.max_cmd_sn = cmd_sn.plus(window.into()).minus(1);
    }

    /// Takes the number of a request.
    #[inline]
    pub(super) fn arrive(&mut self, immediate: bool, cmd_sn: CmdSn) -> Arrival {
        let core = &mut self.core;
        if immediate {
            return Arrival::Immediate;
        }
        if !cmd_sn.le(core.max_cmd_sn) || cmd_sn.lt(core.exp_cmd_sn) {
            return Arrival::Ignored;
        }
        if cmd_sn == core.exp_cmd_sn {
            core.exp_cmd_sn = cmd_sn.next();
            if core.ahead_count > 0 {
                self.close_gap();
            }
            return Arrival::InOrder;
        }
        if !core.exp_cmd_sn.lt(cmd_sn) {
            return Arrival::Ignored;
        }
        let bit = cmd_sn.0 as usize % AHEAD;
        let (word, mask) = (&mut core.ahead[bit / 64], 1 << (bit % 64));
        if *word & mask != 0 {
            return Arrival::Ignored;
        }
        *word |= mask;
        core.ahead_count += 1;
        Arrival::Ahead
    }

    /// The missing number has come: those that follow are received, too.
    fn close_gap(&mut self) {
        let core = &mut self.core;
        loop {
            let bit = core.exp_cmd_sn.0 as usize % AHEAD;
            let (word, mask) = (&mut core.ahead[bit / 64], 1 << (bit % 64));
            if *word & mask == 0 {
                return;
            }
            *word &= !mask;
            core.ahead_count -= 1;
            core.exp_cmd_sn = core.exp_cmd_sn.next();
        }
    }

    /// A request that needs no slot is done: its place in the window is free again.
    pub(super) fn answered(&mut self, arrival: Arrival) {
        if matches!(arrival, Arrival::InOrder | Arrival::Ahead) {
            self.core.max_cmd_sn = self.core.max_cmd_sn.next();
        }
    }

    /// Tasks that were held back and whose turn it is now.
    #[inline]
    pub(super) fn release_held(&mut self, target: &mut Target<'_>, now: Instant) {
        if self.core.held > 0 {
            self.advance_held(target, now);
        }
    }

    fn advance_held(&mut self, target: &mut Target<'_>, now: Instant) {
        let mut cmd_sn = self.core.exp_cmd_sn.minus(AHEAD as u32);
        // In the order of their numbers; a few at most, and only after a hole.
        while cmd_sn != self.core.exp_cmd_sn {
            let held = self
                .tasks
                .live()
                .find(|index| self.tasks[*index].held && self.tasks[*index].cmd_sn == cmd_sn);
            if let Some(index) = held {
                self.tasks[index].held = false;
                self.core.held -= 1;
                self.advance(index, target, now);
            }
            cmd_sn = cmd_sn.next();
        }
    }

    /// A SCSI Command: the task begins, and its immediate data get their place.
    #[inline]
    pub(super) fn begin_command(
        &mut self,
        command: &ScsiCommand,
        target: &mut Target<'_>,
        now: Instant,
    ) -> Placement {
        let itt = command.initiator_task_tag;
        if self.core.session_type == SessionType::Discovery {
            self.reject(RejectReason::ProtocolError, target, now);
            return Placement::NOWHERE;
        }
        if let Some((opcode, reason)) = target.quirks.reject
            && opcode == command.cdb[0]
        {
            self.reject(reason, target, now);
            return Placement::NOWHERE;
        }
        if let Some(index) = self.tasks.find(itt) {
            // A retry of a command that is there is ignored; another command with its tag is an error.
            if self.tasks[index].cmd_sn != command.cmd_sn {
                self.reject(RejectReason::TaskInProgress, target, now);
            }
            return Placement::NOWHERE;
        }
        let full = usize::from(self.core.immediate_tasks) >= RESERVED_SLOTS;
        if command.immediate && (full || self.tasks.free_count() == 0) {
            self.reject(RejectReason::ImmediateCommandReject, target, now);
            return Placement::NOWHERE;
        }
        let arrival = self.arrive(command.immediate, command.cmd_sn);
        if arrival == Arrival::Ignored {
            return Placement::NOWHERE;
        }
        // The window is never wider than there are slots.
        let Some(index) = self.tasks.insert(itt) else { return Placement::NOWHERE };
        let task = &mut self.tasks[index];
        task.counted = arrival != Arrival::Immediate;
        task.held = arrival == Arrival::Ahead;
        task.cmd_sn = command.cmd_sn;
        task.lun = command.lun;
        task.cdb = command.cdb;
        task.read = command.read;
        task.expected = command.expected_data_transfer_length;
        task.parked = target.quirks.ignore == Some(command.cdb[0]);
        if arrival == Arrival::Immediate {
            self.core.immediate_tasks += 1;
        } else if arrival == Arrival::Ahead {
            self.core.held += 1;
        }
        self.start_task(index, command, target)
    }

    /// Asks the device server what the command does, and lines up its data.
    #[inline]
    fn start_task(
        &mut self,
        index: u16,
        command: &ScsiCommand,
        target: &mut Target<'_>,
    ) -> Placement {
        let Some(nexus) = self.core.nexus else { return Placement::NOWHERE };
        let unit = target.find_unit(command.lun);
        let task = &mut self.tasks[index];
        task.unit = unit;
        task.epoch = unit.map_or(0, |unit| target.unit_epoch(unit));
        let expected = command.expected_data_transfer_length;
        let (readable, writable) = match (command.read, command.write) {
            (_, true) => (0, expected),
            (true, false) => (expected, 0),
            (false, false) => (0, 0),
        };
        match target.start(nexus, unit, &command.cdb) {
            Ok(Start::Read { at, length }) => {
                task.work = Work::Read { at };
                task.length = length;
                task.total = clamp(length, readable);
            }
            Ok(Start::Write { at, length, fua }) => {
                task.work = Work::Write { at, fua };
                task.length = length;
                task.total = clamp(length, writable);
            }
            Ok(Start::Compare { at, length }) => {
                task.work = Work::Compare { at };
                task.length = length;
                task.total = clamp(length, writable);
            }
            Ok(Start::Staged { length }) => self.stage_task(index, length, writable),
            Ok(Start::Reply) => {
                task.work = Work::Reply;
                task.total = readable;
            }
            Ok(Start::Done(status)) => task.ending.status = status,
            Err(ending) => task.ending = ending,
        }
        if command.write { self.line_up_data_out(index, command) } else { Placement::NOWHERE }
    }

    fn stage_task(&mut self, index: u16, length: u32, writable: u32) {
        let task = &mut self.tasks[index];
        task.length = length.into();
        if writable < length {
            // Half a parameter list means nothing.
            task.ending = illegal(AdditionalSense::INVALID_FIELD_IN_INFORMATION_UNIT);
            return;
        }
        match self.core.staging_pages.take(length as usize) {
            Some(run) => {
                task.work = Work::Staged { run };
                task.total = length;
            }
            None => task.ending.status = ScsiStatus::TaskSetFull,
        }
    }

    /// Checks immediate data, and expects the unsolicited burst (RFC 7143 sections 4.2.5.2 and 13.11).
    fn line_up_data_out(&mut self, index: u16, command: &ScsiCommand) -> Placement {
        let negotiated = &self.core.negotiated;
        let immediate = command.data_segment_length;
        let limit = negotiated.first_burst_length.min(command.expected_data_transfer_length);
        let unsolicited_allowed = !negotiated.initial_r2t;
        let forbidden = immediate > 0 && !negotiated.immediate_data
            || !command.is_final && !unsolicited_allowed;
        let task = &mut self.tasks[index];
        task.r2t_end = task.total;
        task.r2t_at = immediate.min(task.total);
        if !command.is_final {
            task.unsolicited = Some(Burst {
                tag: TargetTransferTag::RESERVED,
                at: immediate,
                start: immediate,
                end: limit.max(immediate),
                got: 0,
                data_sn: 0,
                r2t_sn: 0,
                tries: 0,
            });
            task.r2t_at = limit.max(immediate).min(task.total);
        }
        if forbidden {
            self.fail_task(index, unexpected_unsolicited_data());
        } else if immediate > limit {
            self.fail_task(index, wrong_amount_of_data());
        }
        self.place_of_task(index, 0, immediate)
    }

    /// The place of Data-Out bytes of a task.
    pub(super) fn place_of_task(&self, index: u16, offset: u32, len: u32) -> Placement {
        let task = &self.tasks[index];
        if !task.is_good() || task.aborted || len == 0 {
            return Placement { task: Some(index), ..Placement::NOWHERE };
        }
        let unit = task.unit.unwrap_or(u16::MAX);
        let from = u64::from(offset);
        let place = match task.work {
            Work::Write { at, .. } => Place::Disk { unit, at: at + from },
            Work::Compare { at } => Place::Compare { unit, at: at + from, offset },
            Work::Staged { run } => Place::Staging { at: run.at() as u32 + offset },
            Work::Status | Work::Read { .. } | Work::Reply => Place::Nowhere,
        };
        let room = task.total.saturating_sub(offset).min(len);
        Placement { place, room, task: Some(index) }
    }

    /// Something of the task is done: what is next?
    #[inline]
    pub(super) fn advance(&mut self, index: u16, target: &mut Target<'_>, now: Instant) {
        let task = &self.tasks[index];
        if task.held || task.parked && !task.aborted {
            return;
        }
        if task.aborted {
            if !task.awaits_data() {
                self.abort(index, false);
                self.aborted_task_gone(target, now);
            }
            return;
        }
        if task.work.is_data_out() && task.is_good() {
            if task.asks() {
                if !task.bursts.is_full() {
                    self.tasks.push(Line::Asking, index);
                }
                return;
            }
            if task.awaits_data() {
                return;
            }
            self.carry_out(index, target);
        } else if task.awaits_data() {
            return;
        }
        match target.quirks.delay {
            Some(delay) => {
                self.tasks[index].due = Some(now + delay);
                self.tasks.push(Line::Delayed, index);
            }
            None => self.tasks.push(Line::Ready, index),
        }
    }

    /// All Data-Out of a task is there.
    fn carry_out(&mut self, index: u16, target: &mut Target<'_>) {
        let Some(nexus) = self.core.nexus else { return };
        let task = &mut self.tasks[index];
        let result = match task.work {
            Work::Write { fua: true, .. } => {
                let unit = task.unit.and_then(|unit| target.units.get_mut(usize::from(unit)));
                unit.map_or(Ok(()), |unit| unit.flush())
            }
            Work::Staged { run } => {
                let from = run.at();
                let data = self.core.staging.get(from..from + task.total as usize);
                let result = target.finish(nexus, task.unit, &task.cdb, data.unwrap_or_default());
                self.core.staging_pages.give(run);
                task.work = Work::Status;
                result
            }
            _ => Ok(()),
        };
        if let Err(ending) = result {
            self.fail_task(index, ending);
        }
        if self.core.seen != target.changes() {
            // The command ended the tasks of others; those of this session go on.
            self.core.seen = target.changes();
            for other in self.tasks.live() {
                let task = &mut self.tasks[other];
                task.epoch = task.unit.map_or(0, |unit| target.unit_epoch(unit));
            }
        }
    }

    /// The task ends like this, once its data have come. The first failure counts.
    pub(super) fn fail_task(&mut self, index: u16, ending: Ending) {
        let task = &mut self.tasks[index];
        if !task.is_good() {
            return;
        }
        task.ending = ending;
        // Nothing more is asked for.
        task.r2t_at = task.r2t_end;
        task.lost.clear();
        if let Work::Staged { run } = task.work {
            self.core.staging_pages.give(run);
            task.work = Work::Status;
        }
    }

    /// Ends a task without an answer. If `wait`, its slot stays until the data that the initiator owes have come.
    pub(super) fn abort(&mut self, index: u16, wait: bool) {
        self.core.rx.divert(index, true);
        let task = &mut self.tasks[index];
        if let Work::Staged { run } = task.work {
            self.core.staging_pages.give(run);
        }
        task.work = Work::Status;
        task.r2t_at = task.r2t_end;
        task.lost.clear();
        task.aborted = true;
        if task.held {
            task.held = false;
            self.core.held -= 1;
        }
        let task = &mut self.tasks[index];
        if wait && task.awaits_data() {
            return;
        }
        task.unsolicited = None;
        task.bursts.clear();
        if task.is_queued() {
            // Released when its turn comes.
            return;
        }
        self.release(index);
    }

    /// The task is gone: its place in the window is free again.
    #[inline]
    pub(super) fn release(&mut self, index: u16) {
        self.core.rx.divert(index, false);
        if !self.tasks[index].live {
            return;
        }
        if self.tasks[index].counted {
            self.core.max_cmd_sn = self.core.max_cmd_sn.next();
        } else {
            self.core.immediate_tasks -= 1;
        }
        self.tasks.release(index);
    }

    /// Refuses the PDU whose header was just received.
    pub(super) fn reject(&mut self, reason: RejectReason, target: &mut Target<'_>, now: Instant) {
        let header = *self.core.rx.bhs();
        if self.core.control.push_back(Control::Reject { reason, header }).is_err() {
            // No PDU is taken while the queue is full.
            self.finish(super::EndReason::Flooded, target, now);
        }
    }
}

impl Task {
    /// How the length that the initiator expects differs from what the command moves (RFC 7143 section 11.4.5).
    pub(super) fn residual(&self) -> iscsi_core::wire::Residual {
        use iscsi_core::wire::Residual;
        let failed = matches!(self.ending.status, ScsiStatus::CheckCondition)
            && !matches!(self.work, Work::Write { .. } | Work::Compare { .. });
        let length = if failed { 0 } else { self.length };
        let expected = u64::from(self.expected);
        let count = |count: u64| u32::try_from(count).unwrap_or(u32::MAX);
        if length > expected {
            Residual::Overflow(count(length - expected))
        } else if length < expected {
            Residual::Underflow(count(expected - length))
        } else {
            Residual::None
        }
    }
}

fn clamp(length: u64, room: u32) -> u32 {
    u32::try_from(length).map_or(room, |length| length.min(room))
}

fn aborted_command(additional: AdditionalSense) -> Ending {
    Sense::new(SenseKey::ABORTED_COMMAND, additional).into()
}

/// Data that were not asked for and not allowed (RFC 7143 section 11.4.7.2).
pub(super) fn unexpected_unsolicited_data() -> Ending {
    aborted_command(AdditionalSense::UNEXPECTED_UNSOLICITED_DATA)
}

/// More or fewer data than asked for (RFC 7143 section 11.4.7.2).
pub(super) fn wrong_amount_of_data() -> Ending {
    aborted_command(AdditionalSense::NOT_ENOUGH_UNSOLICITED_DATA)
}

/// Data that arrived damaged (RFC 7143 section 11.4.7.2).
pub(super) fn damaged_data() -> Ending {
    aborted_command(AdditionalSense::PROTOCOL_SERVICE_CRC_ERROR)
}
