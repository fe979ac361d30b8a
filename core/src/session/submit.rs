//! Taking commands and letting go of them: submit, abort, detach, revoke.

use super::task::{Command, NIL, TaskEnd, TaskSlot, TaskState};
use super::{Session, SessionState, tag, tmf};
use crate::error::{LostReason, SubmitError};
use crate::session::List;
use crate::text::SessionType;
use crate::wire::CommandAhs;
use crate::{Instant, TaskId, Transfer};

/// Longest CDB of SPC (variable length CDBs): 260 bytes.
const MAX_CDB: usize = 260;

impl Session {
    /// Queues a command. It is sent as soon as there is a logged-in connection and room in the target's command window.
    ///
    /// # Errors
    /// [`SubmitError::NoFreeTask`] if the table is full, and what else keeps the session from taking commands; nothing changed then.
    pub fn submit(&mut self, command: &Command<'_>, now: Instant) -> Result<TaskId, SubmitError> {
        match self.core.state {
            SessionState::Closed | SessionState::Failed(_) => return Err(SubmitError::NotOpen),
            SessionState::LoggingOut if !self.leaves_by_request() => {
                return Err(SubmitError::LoggingOut);
            }
            _ => {}
        }
        if self.core.config.session_type() == SessionType::Discovery {
            return Err(SubmitError::DiscoverySession);
        }
        let index = self.allocate().ok_or(SubmitError::NoFreeTask)?;
        let bits = self.core.tag_bits;
        let slot = &mut self.slots[index];
        if let Err(error) = fill(slot, command) {
            self.core.free.push_front(&mut self.slots, index);
            return Err(error);
        }
        slot.itt = tag(&mut slot.tag_generation, u32::from(index), bits);
        self.core.in_use += 1;
        if command.immediate {
            self.queue_immediate(index);
        } else {
            self.core.queue.push_back(&mut self.slots, index);
        }
        let timeout = command.timeout.or_else(|| self.core.config.timeouts().command);
        self.slots[index].timeout = timeout;
        if let Some(timeout) = timeout.filter(|_| !self.is_recovering()) {
            self.core.deadlines.insert(&mut self.slots, index, now + timeout);
        }
        Ok(self.slots.id(index))
    }

    fn allocate(&mut self) -> Option<u16> {
        if let Some(index) = self.core.free.pop_front(&mut self.slots) {
            return Some(index);
        }
        let index = self.core.fresh;
        (usize::from(index) < self.slots.capacity()).then(|| {
            self.core.fresh += 1;
            index
        })
    }

    /// Immediate commands go ahead of all others, in their own order.
    fn queue_immediate(&mut self, index: u16) {
        let mut at = self.core.queue.front();
        while let Some(i) = at {
            if !self.slots[i].immediate {
                self.core.queue.insert_before(&mut self.slots, i, index);
                return;
            }
            at = List::after(&self.slots, i);
        }
        self.core.queue.push_back(&mut self.slots, index);
    }

    /// Aborts a task. If it was not sent yet it ends at once; else an ABORT TASK is sent and the task ends when the target has
    /// answered it, with its own response if that was faster. An answer that shows that the command got lost, or an older one, costs the connection
    /// ([`ProtocolError::ExpCmdSn`](crate::ProtocolError::ExpCmdSn)): the target would wait for it for ever.
    ///
    /// # Errors
    /// [`SubmitError::NoSuchTask`] if the task has ended.
    pub fn abort(&mut self, task: TaskId, now: Instant) -> Result<(), SubmitError> {
        let index = self.running(task)?;
        self.give_up(index, LostReason::Aborted, now);
        Ok(())
    }

    /// Suppresses the end event of a task. Its memory must stay lendable until the session no longer holds the
    /// task ([`Session::holds`]); to take the memory away at once, use
    /// [`Connection::revoke`](crate::Connection::revoke).
    ///
    /// # Errors
    /// [`SubmitError::NoSuchTask`] if the task has ended.
    pub fn detach(&mut self, task: TaskId) -> Result<(), SubmitError> {
        let index = self.slots.lookup(task).ok_or(SubmitError::NoSuchTask)?;
        self.slots[index].detached = true;
        Ok(())
    }

    /// Whether the engine may still ask for the memory of this task.
    pub fn holds(&self, task: TaskId) -> bool {
        self.slots.lookup(task).is_some()
    }

    fn running(&self, task: TaskId) -> Result<u16, SubmitError> {
        self.slots
            .lookup(task)
            .filter(|&i| !matches!(self.slots[i].state, TaskState::Draining | TaskState::Ended))
            .ok_or(SubmitError::NoSuchTask)
    }

    /// Ends a task that the target has not answered: at once if it was not sent, by ABORT TASK otherwise.
    pub(crate) fn give_up(&mut self, index: u16, reason: LostReason, now: Instant) {
        match self.slots[index].state {
            TaskState::Queued => {
                self.core.queue.remove(&mut self.slots, index);
                self.finish(index, TaskEnd::Lost(reason));
            }
            TaskState::Active => {
                self.core.deadlines.remove(&mut self.slots, index);
                let slot = &mut self.slots[index];
                slot.state = TaskState::Aborting;
                slot.abort_reason = reason;
                self.core.aborts_wanted = true;
                tmf::start_abort(self, now);
            }
            TaskState::Aborting | TaskState::Free | TaskState::Draining | TaskState::Ended => {}
        }
    }

    /// Marks a task's memory as gone. Returns false if the connection has to be dropped because bytes of it are owed.
    ///
    /// Used by [`Connection::revoke`](crate::Connection::revoke), which knows what is half sent.
    pub(crate) fn revoke_slot(&mut self, task: TaskId, now: Instant) -> Result<bool, SubmitError> {
        let index = self.slots.lookup(task).ok_or(SubmitError::NoSuchTask)?;
        let slot = &mut self.slots[index];
        slot.revoked = true;
        slot.detached = true;
        let owes = slot.next_burst().is_some();
        let writes = slot.out_len > 0;
        match slot.state {
            TaskState::Queued => self.give_up(index, LostReason::Aborted, now),
            TaskState::Active if writes && !owes => self.give_up(index, LostReason::Aborted, now),
            _ => {}
        }
        Ok(!(writes && owes))
    }
}

pub(super) fn fill(slot: &mut TaskSlot, command: &Command<'_>) -> Result<(), SubmitError> {
    if command.cdb.is_empty() || command.cdb.len() > MAX_CDB {
        return Err(SubmitError::CdbLength);
    }
    // Nothing below may fail once the slot is marked as used; the image is made first.
    // A direction without bytes is none: the Bidirectional AHS goes with both bits only.
    let bidi = match command.transfer {
        Transfer::Both { out: 1.., r#in: r#in @ 1.. } => Some(r#in),
        _ => None,
    };
    let ahs = CommandAhs::new(command.cdb, bidi)
        .emit(&mut slot.aux)
        .map_err(|_| SubmitError::CdbLength)?;
    slot.rewind();
    slot.generation = slot.generation.wrapping_add(1) & 0xffff_ffff_ffff;
    slot.state = TaskState::Queued;
    slot.detached = false;
    slot.revoked = false;
    slot.immediate = command.immediate;
    slot.attribute = command.attribute;
    slot.on_loss = command.on_loss;
    slot.sense_len = 0;
    slot.lun = command.lun;
    slot.cdb = [0; 16];
    for (to, from) in slot.cdb.iter_mut().zip(command.cdb) {
        *to = *from;
    }
    slot.out_len = command.transfer.out_len();
    slot.in_len = command.transfer.in_len();
    slot.ahs_len = ahs.bytes() as u16;
    slot.owes_data = false;
    slot.deadline = None;
    slot.timeout = None;
    slot.reissues = 0;
    debug_assert!(slot.link.next == NIL);
    Ok(())
}

impl Session {
    /// Remembers the tag of an aborted task, so that what still comes for it is dropped.
    pub(crate) fn bury(&mut self, index: u16) {
        let slot = &mut self.slots[index];
        slot.aborted_itt = slot.itt;
    }
}
