//! Commands out: submits what can be submitted.

use iscsi_core::{Command, Instant, Session, SessionState, SubmitError, Transfer};
use iscsi_scsi::Direction;

use super::verify::Verification;
use super::{Disk, DiskState};
use crate::error::DiskError;
use crate::slot::{CommandEntry, Kind, Phase};

/// What became of an attempt to submit a command.
enum Attempt {
    Submitted,
    /// The request has nothing to submit now.
    Nothing,
    /// The session has no free task slot: later.
    Full,
}

impl Disk {
    /// Submits what can be submitted. To be called after [`start`](Self::start), [`submit`](Self::submit) and the like, after the session's
    /// events were polled (whomever they concerned: a task slot may be free now), and at the time of
    /// [`poll_timeout`](Self::poll_timeout); spurious calls are harmless.
    ///
    /// Returns whether the session has something new to send.
    pub fn drive(&mut self, session: &mut Session, now: Instant) -> bool {
        if self.core.revoked > 0 {
            self.collect_revoked(session);
        }
        self.look_at(session);
        let answered = self.answer_session(session, now);
        if matches!(self.core.state, DiskState::Idle | DiskState::Failed(_)) {
            // What a late answer asked to wait for does not matter any more.
            self.core.paused_until = None;
            return answered;
        }
        if session.capacity() > self.slots.len() {
            self.fail_all(DiskError::TableTooSmall);
            return false;
        }
        if self.core.paused_until.is_some_and(|until| now < until) {
            return answered;
        }
        self.core.paused_until = None;
        if self.withdraw_probe(session, now) {
            return true;
        }
        match session.state() {
            SessionState::Verifying if self.core.verification == Verification::Claimed => {}
            // The verdict of others comes first. What would be submitted now could not be sent, and a look that waits would be withdrawn
            // by the next call, again and again.
            SessionState::Verifying => return answered,
            // The session's answer to the loss comes first: nothing is known of the device.
            _ if self.core.away => return answered,
            _ => {}
        }
        if self.core.check_wanted && self.core.state == DiskState::Ready {
            self.begin_probe(DiskState::Checking);
        }
        if self.core.probe.is_some() {
            return self.submit_probe(session, now);
        }
        let mut any = answered;
        while self.core.in_flight < self.core.limit {
            let Some(index) = self.core.ready.pop_front(&self.slots) else { break };
            match self.submit_piece(index, session, now) {
                Attempt::Submitted => any = true,
                Attempt::Nothing => {}
                Attempt::Full => {
                    self.core.ready.push_front(&mut self.slots, index);
                    break;
                }
            }
        }
        any
    }

    /// Submits the next command of a request that was taken out of the ready list, and puts it back in line if there is more.
    fn submit_piece(&mut self, index: u16, session: &mut Session, now: Instant) -> Attempt {
        let block_size = self.core.block_size();
        let Some(slot) = self.slots.get_mut(usize::from(index)) else { return Attempt::Nothing };
        let request = &mut slot.request;
        request.queued = false;
        if request.is_held()
            || !matches!(request.phase, Phase::Edges | Phase::Transfer | Phase::Flush)
        {
            return Attempt::Nothing;
        }
        let Some(piece) = self.core.plan.next(request) else { return Attempt::Nothing };
        let (cdb, mut entry, on_loss) = self.core.plan.command(&piece, request, block_size);
        let mut command =
            Command::new(self.core.config.lun, cdb.as_bytes(), entry.transfer).on_loss(on_loss);
        command.timeout = self.core.config.timeout;
        let task = match session.submit(&command, now) {
            Ok(task) => task,
            Err(SubmitError::NoFreeTask) => {
                request.queued = true;
                return Attempt::Full;
            }
            Err(error) => {
                self.fail(index, DiskError::NotSubmitted(error));
                return Attempt::Nothing;
            }
        };
        request.cursor = piece.after;
        request.in_flight += 1;
        let more = request.in_flight < self.core.config.commands_per_request
            && self.core.plan.next(request).is_some();
        entry.request = crate::RequestId::new(index, request.generation);
        entry.task = Some(task);
        self.core.in_flight += 1;
        if let Some(slot) = self.slots.get_mut(task.index()) {
            slot.command = entry;
        }
        if more {
            self.make_ready(index);
        }
        Attempt::Submitted
    }

    fn submit_probe(&mut self, session: &mut Session, now: Instant) -> bool {
        let idle = self.core.probe_command.task.is_none();
        let Some(probe) = self.core.probe.as_ref().filter(|_| idle) else { return false };
        let cdb = probe.command();
        let bytes = u32::try_from(cdb.expected_bytes(0)).unwrap_or(0);
        let transfer = match cdb.direction() {
            Direction::In => Transfer::In(bytes),
            Direction::None | Direction::Out => Transfer::None,
        };
        self.core.answer.fill(0);
        // Reported on loss: the run begins anew then, because it may be another device that answers next.
        let mut command = Command::new(self.core.config.lun, cdb.as_bytes(), transfer);
        command.timeout = self.core.config.timeout;
        let submitted = match self.core.verification {
            Verification::Claimed => session.submit_verification(&command, now),
            _ => session.submit(&command, now),
        };
        match submitted {
            Ok(task) => {
                self.core.in_flight += 1;
                self.core.probe_command = CommandEntry {
                    task: Some(task),
                    kind: Kind::Probe,
                    transfer,
                    ..CommandEntry::NONE
                };
                true
            }
            Err(SubmitError::NoFreeTask) => false,
            Err(error) => {
                self.fail_all(DiskError::NotSubmitted(error));
                false
            }
        }
    }

    /// Tasks that were revoked have no end event: looks which of them the session has let go of.
    fn collect_revoked(&mut self, session: &Session) {
        for index in 0..self.slots.len() {
            let Some(command) = self.slots.get_mut(index).map(|slot| &mut slot.command) else {
                continue;
            };
            if command.revoked && command.task.is_some_and(|task| !session.holds(task)) {
                let entry = core::mem::replace(command, CommandEntry::NONE);
                self.core.revoked = self.core.revoked.saturating_sub(1);
                self.let_go(&entry);
            }
        }
    }

    /// Ends everything with an error; the disk has to be started again.
    pub(super) fn fail_all(&mut self, error: DiskError) {
        self.core.probe = None;
        self.decide(false);
        self.core.paused_until = None;
        self.set_state(DiskState::Failed(error));
        for index in 0..self.core.fresh {
            let pending = self
                .slots
                .get(usize::from(index))
                .is_some_and(|slot| !matches!(slot.request.phase, Phase::Free | Phase::Done));
            if pending {
                self.fail(index, error);
            }
        }
    }
}
