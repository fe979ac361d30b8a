//! Recovery within the connection: ErrorRecoveryLevel 1 (RFC 7143 sections 7.8, 7.9 and 11.16).
//!
//! What is missing is a short list of `Gap`s: runs of DataSNs or R2TSNs of a task, or of StatSNs of the connection. A number that was never
//! seen is compared with the next one that is due, as at level 0; everything below that has arrived unless it lies in a gap. So
//! memory is bounded by the number of gaps, not by how far the target has gone on since, and without an error nothing is looked up.
//!
//! **A damaged PDU was not received.** Its header only says which number is missing: of Data-In the DataSN, of everything else the
//! StatSN. Its bytes may stand in the task's memory, but they are not counted; the PDU that comes again overwrites them.
//!
//! **Statuses behind a gap are taken as they come**, with these limits. ExpStatSN in what is sent is the oldest number that is missing, so
//! the target keeps everything from there on. A status whose task lacks data is held: its task goes on, its number counts as missing for
//! ExpStatSN, and when the last Data-In is there the task ends with it. A status that travels in a Data-In which is asked for
//! comes with that; if it does not, it is asked for by itself. The answer to a task management function speaks about the
//! tasks before it: behind a gap it is not taken but counted as missing too, and comes again after them. A status more than
//! [`WINDOW`] ahead, or one gap more than there is room for, is as fatal as at level 0.
//!
//! **Data-In behind a gap are placed as they come.** A recovered PDU must fit between the bytes around its gap, if data are in order; in
//! any case never more bytes are counted than the task expects.
//!
//! **Each request has a deadline** (the time for the answer to a ping) and each PDU a number of tries ([`TRIES`]). An answer that does not
//! come, or a PDU that arrives damaged too often ends the connection, as at level 0. A header digest that does not match always does:
//! without it there is no way to find the next PDU. If the target rejects a request for data or an R2T the task waits for its status; if
//! it rejects one for a status the connection ends.
//!
//! R-Data SNACKs are not sent: MaxRecvDataSegmentLength does not change during a connection. Bidirectional commands are not recovered:
//! they number R2Ts and Data-In together, and no two targets agree on how.

use super::dispatch::transferred;
use super::gaps::{Ack, Gap, Missing, State, TRIES};
use super::rx::Place;
use super::{Connection, ConnectionState};
use crate::error::{LostReason, ProtocolError};
use crate::session::{Session, TaskEnd, TaskOutcome, TaskState};
use crate::wire::{
    Bhs, Completion, DataIn, NopInKind, Opcode, R2t, Reject, RejectReason, ScsiResponseCode,
    SnackKind, SnackRequest, TargetPdu,
};
use crate::{DataSn, InitiatorTaskTag, Instant, StatSn, TaskId};

/// How far a status may be ahead of the one that is due.
const WINDOW: u32 = 1024;

/// What a connection recovered at ErrorRecoveryLevel 1 (RFC 7143 section 7.1.5), by the kind of PDU that was lost or damaged.
///
/// ```
/// let recovered = iscsi_core::InlineConnection::new().counters().recovered;
/// assert_eq!(recovered, iscsi_core::Recovered::default());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Recovered {
    /// SNACK Requests sent that ask for something again.
    pub snacks: u64,
    /// DataACKs sent.
    pub data_acks: u64,
    /// Data-In PDUs without a status that came again.
    pub data_in: u64,
    /// Data-In PDUs with a status that came again.
    pub last_data_in: u64,
    /// SCSI Responses that came again.
    pub scsi_responses: u64,
    /// R2Ts that came again.
    pub r2ts: u64,
    /// Responses to task management functions that came again.
    pub task_management_responses: u64,
    /// Text Responses that came again.
    pub text_responses: u64,
    /// NOP-Ins with a status that came again.
    pub nop_ins: u64,
    /// Asynchronous Messages that came again.
    pub async_messages: u64,
    /// Rejects that came again.
    pub rejects: u64,
    /// Recovery R2Ts: requests for Data-Out that had been sent before.
    pub recovery_r2ts: u64,
    /// SCSI Commands sent again because their immediate data had arrived damaged.
    pub commands: u64,
}

impl Recovered {
    pub(super) const NONE: Self = Self {
        snacks: 0,
        data_acks: 0,
        data_in: 0,
        last_data_in: 0,
        scsi_responses: 0,
        r2ts: 0,
        task_management_responses: 0,
        text_responses: 0,
        nop_ins: 0,
        async_messages: 0,
        rejects: 0,
        recovery_r2ts: 0,
        commands: 0,
    };

    const fn count(&mut self, opcode: Option<Opcode>) {
        match opcode {
            Some(Opcode::ScsiResponse) => self.scsi_responses += 1,
            Some(Opcode::TaskManagementResponse) => self.task_management_responses += 1,
            Some(Opcode::TextResponse) => self.text_responses += 1,
            Some(Opcode::NopIn) => self.nop_ins += 1,
            Some(Opcode::AsyncMessage) => self.async_messages += 1,
            Some(Opcode::Reject) => self.rejects += 1,
            _ => {}
        }
    }
}

/// What came damaged.
impl Connection {
    /// The data digest of a PDU does not match: it is thrown away, and asked for again.
    pub(super) fn damaged(
        &mut self,
        pdu: &TargetPdu,
        session: &mut Session,
    ) -> Result<(), LostReason> {
        if !self.core.recovery.is_enabled() || self.core.state != ConnectionState::FullFeature {
            return Err(ProtocolError::DataDigest.into());
        }
        self.core.counters.pdus_received += 1;
        match pdu {
            TargetPdu::DataIn(data_in) => self.damaged_data_in(data_in, session),
            TargetPdu::ScsiResponse(response) => self.damaged_status(response.stat_sn, None),
            TargetPdu::TaskManagementResponse(response) => {
                self.damaged_status(response.stat_sn, None)
            }
            TargetPdu::TextResponse(response) => self.damaged_status(response.stat_sn, None),
            TargetPdu::AsyncMessage(message) => self.damaged_status(message.stat_sn, None),
            TargetPdu::Reject(reject) => self.damaged_status(reject.stat_sn, None),
            TargetPdu::NopIn(nop) => match nop.kind {
                NopInKind::PingResponse(_) => self.damaged_status(nop.stat_sn, None),
                NopInKind::Ping(_) | NopInKind::Update => Err(ProtocolError::DataDigest.into()),
            },
            // These have no data segment.
            TargetPdu::LogoutResponse(_) | TargetPdu::R2t(_) | TargetPdu::LoginResponse(_) => {
                Err(ProtocolError::DataDigest.into())
            }
        }
    }

    fn damaged_data_in(
        &mut self,
        data_in: &DataIn,
        session: &mut Session,
    ) -> Result<(), LostReason> {
        let mut carrier = None;
        if let Some(index) = session.find(data_in.initiator_task_tag) {
            let task = session.slots.id(index);
            let is_in_order = is_in_order(session);
            let slot = &mut session.slots[index];
            if slot.out_len > 0 {
                return Err(ProtocolError::DataDigest.into());
            }
            let data_sn = data_in.data_sn;
            if slot.in_data_sn.le(data_sn) {
                let end = data_in.buffer_offset + data_in.data_segment_length;
                let (from, bytes) = (slot.in_data_sn, (slot.in_end, end));
                slot.in_data_sn = data_sn.next();
                slot.in_end = end;
                self.data_lost(task, from, data_sn.next(), bytes, session)?;
                carrier = Some(task);
            } else if let Some(gap) = self.core.recovery.find_data(task, data_sn) {
                let end = data_in.buffer_offset + data_in.data_segment_length;
                let bytes = is_in_order.then_some((data_in.buffer_offset, end));
                if !self.core.recovery.ask_again(gap, data_sn.0, bytes) {
                    return Err(ProtocolError::DataDigest.into());
                }
                carrier = Some(task);
            }
        }
        match &data_in.status {
            Some(status) => self.damaged_status(status.stat_sn, carrier),
            None => Ok(()),
        }
    }

    /// A PDU with this StatSN was thrown away; it comes again, perhaps with the data of a task.
    fn damaged_status(
        &mut self,
        stat_sn: StatSn,
        carrier: Option<TaskId>,
    ) -> Result<(), LostReason> {
        let next = self.core.exp_stat_sn;
        if stat_sn.lt(next) {
            let recovery = &mut self.core.recovery;
            return match recovery.find(stat_sn.0, Gap::is_status) {
                Some(gap) if !recovery.ask_again(gap, stat_sn.0, None) => {
                    Err(ProtocolError::DataDigest.into())
                }
                _ => Ok(()),
            };
        }
        self.status_lost(next, stat_sn)?;
        self.core.exp_stat_sn = stat_sn.next();
        let mut gap = Gap::new(Missing::Status(carrier), stat_sn.0, stat_sn.next().0);
        if carrier.is_some() {
            gap.state = State::Waiting;
        }
        if self.core.recovery.add(gap) { Ok(()) } else { Err(ProtocolError::DataDigest.into()) }
    }

    /// The statuses from `expected` on, and before `got`, did not come.
    fn status_lost(&mut self, expected: StatSn, got: StatSn) -> Result<(), LostReason> {
        let gap = Gap::new(Missing::Status(None), expected.0, got.0);
        let far = expected.distance_to(got) > WINDOW;
        if far || !self.core.recovery.add(gap) {
            return Err(ProtocolError::StatSn { expected, got }.into());
        }
        Ok(())
    }

    fn data_lost(
        &mut self,
        task: TaskId,
        from: DataSn,
        to: DataSn,
        (at, end): (u32, u32),
        session: &Session,
    ) -> Result<(), LostReason> {
        let mut gap = Gap { at, end, ..Gap::new(Missing::Data(task), from.0, to.0) };
        if !is_in_order(session) {
            gap.at = 0;
            gap.end = session.slots.live(task).map_or(0, |slot| slot.in_len);
        }
        if self.core.recovery.add(gap) {
            Ok(())
        } else {
            Err(ProtocolError::DataSn { expected: from, got: to }.into())
        }
    }
}

/// What came out of turn.
impl Connection {
    /// The StatSN that acknowledges everything before it.
    #[inline]
    pub(super) fn acknowledged(&self) -> StatSn {
        self.core.recovery.oldest(self.core.exp_stat_sn)
    }

    /// A status that is not the next one. False if it is known already.
    pub(super) fn status_out_of_turn(&mut self, stat_sn: StatSn) -> Result<bool, LostReason> {
        let expected = self.core.exp_stat_sn;
        let recovery = &mut self.core.recovery;
        if stat_sn.lt(expected) {
            let Some(gap) = recovery.find(stat_sn.0, Gap::is_status) else { return Ok(false) };
            if !recovery.take(gap, stat_sn.0, None) {
                // No room to remember what is around it: it comes again.
                return Ok(false);
            }
            self.core.counters.recovered.count(Opcode::of(self.core.rx.bhs()));
            return Ok(true);
        }
        if !recovery.is_enabled() {
            return Err(ProtocolError::StatSn { expected, got: stat_sn }.into());
        }
        self.status_lost(expected, stat_sn)?;
        self.core.exp_stat_sn = stat_sn.next();
        Ok(true)
    }

    /// The next status to come is this one, although another was due.
    pub(super) fn statuses_before(&mut self, stat_sn: StatSn) -> Result<(), LostReason> {
        let expected = self.core.exp_stat_sn;
        if !self.core.recovery.is_enabled() {
            return Err(ProtocolError::StatSn { expected, got: stat_sn }.into());
        }
        self.status_lost(expected, stat_sn)?;
        self.core.exp_stat_sn = stat_sn;
        Ok(())
    }

    /// Where Data-In go whose status is known already: it may be that only the data are missing.
    #[cold]
    pub(super) fn place_of_repeated(
        &self,
        data_in: &DataIn,
        session: &Session,
    ) -> Result<Place, ProtocolError> {
        match session.find(data_in.initiator_task_tag) {
            Some(index) if !self.core.recovery.is_idle() => {
                let recovery = &self.core.recovery;
                let missing = recovery.find_data(session.slots.id(index), data_in.data_sn);
                match missing {
                    Some(_) => self.place_out_of_turn(data_in, index, session),
                    None => Ok(Place::Nowhere),
                }
            }
            _ => Ok(Place::Nowhere),
        }
    }

    /// Where Data-In go whose DataSN is not the next one of their task.
    #[cold]
    pub(super) fn place_out_of_turn(
        &self,
        data_in: &DataIn,
        index: u16,
        session: &Session,
    ) -> Result<Place, ProtocolError> {
        let slot = &session.slots[index];
        let task = session.slots.id(index);
        let (offset, length) = (data_in.buffer_offset, data_in.data_segment_length);
        let (expected, got) = (slot.in_data_sn, data_in.data_sn);
        let end = match offset.checked_add(length) {
            Some(end) if end <= slot.in_len => end,
            _ => {
                let expected = slot.in_len;
                return Err(ProtocolError::DataInOutOfRange { offset, length, expected });
            }
        };
        let room = slot.in_len - slot.in_received.min(slot.in_len);
        let place = Place::Task { task, at: offset };
        if expected.lt(got) {
            // No more PDUs can be missing than bytes are.
            if expected.distance_to(got) > room.saturating_sub(length) {
                return Err(ProtocolError::DataSn { expected, got });
            }
            if length > 0 && is_in_order(session) && offset < slot.in_end {
                return Err(ProtocolError::DataInOrder { offset, previous_end: slot.in_end });
            }
            return Ok(place);
        }
        let in_order = is_in_order(session);
        let recovery = &self.core.recovery;
        let gap = match recovery.find_data(task, got) {
            Some(gap) if recovery.can_take(gap, got.0, in_order.then_some((offset, end))) => {
                recovery.gaps.get(gap)
            }
            // Known already.
            _ => None,
        };
        let Some(gap) = gap else { return Ok(Place::Nowhere) };
        if length > 0 && (offset < gap.at || end > gap.end || length > room) {
            return Err(ProtocolError::DataInOrder { offset, previous_end: gap.at });
        }
        Ok(place)
    }

    /// Whole Data-In out of turn: behind a gap, or what was missing. `fresh` if the status in it, if there is one, counts.
    #[cold]
    pub(super) fn data_in_out_of_turn(
        &mut self,
        data_in: &DataIn,
        fresh: bool,
        session: &mut Session,
    ) -> Result<(), LostReason> {
        let Some(index) = session.find(data_in.initiator_task_tag) else { return Ok(()) };
        let task = session.slots.id(index);
        let in_order = is_in_order(session);
        let slot = &mut session.slots[index];
        let (at, length) = (data_in.buffer_offset, data_in.data_segment_length);
        let (expected, got) = (slot.in_data_sn, data_in.data_sn);
        if expected.lt(got) && fresh {
            let bytes = (slot.in_end, if length > 0 { at } else { slot.in_len });
            slot.in_data_sn = got.next();
            slot.in_received += length;
            session.core.data_in_came(length);
            if length > 0 {
                slot.in_end = at + length;
            }
            self.data_lost(task, expected, got, bytes, session)?;
        } else if let Some(gap) = self.core.recovery.find_data(task, got) {
            // Without order the bounds of a gap are those of the task.
            let bytes = in_order.then_some((at, at + length));
            if !self.core.recovery.take(gap, got.0, bytes) {
                return Ok(());
            }
            slot.in_received += length;
            session.core.data_in_came(length);
            let recovered = &mut self.core.counters.recovered;
            match data_in.status {
                Some(_) => recovered.last_data_in += 1,
                None => recovered.data_in += 1,
            }
        }
        self.acknowledge_data(data_in, task);
        self.core.recovery.settle();
        match &data_in.status {
            Some(status) if fresh => {
                let completion = Completion {
                    status: status.status,
                    residual: status.residual,
                    ..Completion::GOOD
                };
                let response = ScsiResponseCode::CompletedAtTarget(completion);
                self.task_completed(index, response, status.stat_sn, session)
            }
            _ => self.release_held(index, session),
        }
    }

    /// A response that counts more Data-In than came: the rest is missing. Nothing to do if all bytes are there.
    pub(super) fn data_behind_response(
        &mut self,
        completion: &Completion,
        index: u16,
        session: &mut Session,
    ) -> Result<(), LostReason> {
        let task = session.slots.id(index);
        let slot = &mut session.slots[index];
        let (announced, received) = (completion.exp_data_sn, slot.in_data_sn);
        let expected = transferred(completion.residual, slot.in_len);
        let room = slot.in_len - slot.in_received.min(slot.in_len);
        if !self.core.recovery.is_enabled() || received.distance_to(announced) > room {
            return Err(ProtocolError::ExpDataSn { announced, received }.into());
        }
        let bytes = (slot.in_end, expected.max(slot.in_end));
        slot.in_data_sn = announced;
        self.data_lost(task, received, announced, bytes, session)
    }

    /// Holds the status of a task whose data are not complete. False if they are.
    #[cold]
    pub(super) fn holds_status(
        &mut self,
        index: u16,
        response: &ScsiResponseCode,
        stat_sn: StatSn,
        session: &mut Session,
    ) -> Result<bool, LostReason> {
        let task = session.slots.id(index);
        let completed = matches!(response, ScsiResponseCode::CompletedAtTarget(_));
        if !completed || !self.core.recovery.misses_data(task) {
            return Ok(false);
        }
        let mut gap = Gap::new(Missing::Held(task), stat_sn.0, stat_sn.next().0);
        gap.state = State::Waiting;
        if !self.core.recovery.add(gap) {
            return Err(ProtocolError::DataDigest.into());
        }
        let outcome = TaskOutcome { response: *response, data_in: 0, missing: 0 };
        session.slots[index].end = TaskEnd::Done(outcome);
        Ok(true)
    }

    /// Ends a task whose status was held, if its data are complete now.
    fn release_held(&mut self, index: u16, session: &mut Session) -> Result<(), LostReason> {
        let task = session.slots.id(index);
        let recovery = &mut self.core.recovery;
        if recovery.is_idle() || recovery.misses_data(task) {
            return Ok(());
        }
        let held = recovery.gaps.iter().position(|gap| gap.missing == Missing::Held(task));
        let Some(held) = held else { return Ok(()) };
        let stat_sn = StatSn(recovery.gaps.remove(held).from);
        match session.slots[index].end {
            TaskEnd::Done(outcome) => {
                self.task_completed(index, outcome.response, stat_sn, session)
            }
            TaskEnd::Lost(_) => Ok(()),
        }
    }

    /// The answer to a task management function must wait for the statuses before it: it is thrown away, and comes again after them.
    pub(super) fn comes_too_early(&mut self, stat_sn: StatSn) -> Result<bool, LostReason> {
        let recovery = &self.core.recovery;
        let early = recovery.gaps.iter().any(|gap| gap.is_status() && StatSn(gap.from).lt(stat_sn))
            || recovery.is_enabled() && self.core.exp_stat_sn.lt(stat_sn);
        if early {
            self.damaged_status(stat_sn, None)?;
        }
        Ok(early)
    }

    /// Notes an acknowledgement that the target asks for.
    pub(super) fn acknowledge_data(&mut self, data_in: &DataIn, task: TaskId) {
        let Some(transfer) = data_in.acknowledge.filter(|_| self.core.recovery.is_enabled()) else {
            return;
        };
        let ack = Ack { task, transfer, data_sn: data_in.data_sn };
        let _ = self.core.recovery.acks.push(ack);
    }

    /// An R2T that is not the next one of its task. False if it is known already.
    pub(super) fn r2t_out_of_turn(
        &mut self,
        r2t: &R2t,
        index: u16,
        session: &mut Session,
    ) -> Result<bool, LostReason> {
        let max_outstanding = u32::from(session.core.negotiated.max_outstanding_r2t);
        let task = session.slots.id(index);
        let slot = &mut session.slots[index];
        let (expected, got) = (slot.r2t_sn, r2t.r2t_sn);
        let recovery = &mut self.core.recovery;
        if got.lt(expected) {
            let gap = recovery.find(got.0, |gap| gap.missing == Missing::R2t(task));
            let came = gap.is_some_and(|gap| recovery.take(gap, got.0, None));
            self.core.counters.recovered.r2ts += u64::from(came);
            return Ok(came);
        }
        let missing = Gap::new(Missing::R2t(task), expected.0, got.0);
        // A target has no more of them under way. Bidirectional commands are not recovered.
        let fatal =
            !recovery.is_enabled() || slot.in_len > 0 || missing.len() >= max_outstanding.max(2);
        if fatal || !recovery.add(missing) {
            return Err(ProtocolError::R2tSn { expected, got }.into());
        }
        // The caller takes this one.
        slot.r2t_sn = got;
        Ok(true)
    }

    /// A recovery R2T asks for bytes that were sent: they have not reached the target.
    pub(super) fn note_recovery_r2t(
        &mut self,
        index: u16,
        at: u32,
        end: u32,
        session: &mut Session,
    ) {
        // Out of order an earlier range may well be asked for the first time.
        if !session.core.negotiated.data_sequence_in_order {
            return;
        }
        let slot = &mut session.slots[index];
        if at < slot.out_end {
            let again = slot.out_end.min(end) - at;
            slot.out_sent = slot.out_sent.saturating_sub(again);
            self.core.counters.recovered.recovery_r2ts += 1;
        }
        slot.out_end = slot.out_end.max(end);
    }
}

/// What the target refused.
impl Connection {
    /// A SNACK of ours was rejected: data or R2Ts will not come again. The task stays, and its status is still due (RFC 7143 sections 7.3 and
    /// 7.8); if that is here already the task ends with it, and says how much is missing. Without a status there is no way on.
    pub(super) fn snack_rejected(
        &mut self,
        reject: &Reject,
        bhs: &Bhs,
        session: &mut Session,
    ) -> Result<(), LostReason> {
        if self.core.recovery.is_idle() {
            return Ok(());
        }
        let word = |at: usize| u32::from_be_bytes([bhs[at], bhs[at + 1], bhs[at + 2], bhs[at + 3]]);
        let (itt, first, length) = (InitiatorTaskTag(word(16)), word(40), word(44));
        let is_meant = |gap: &Gap| {
            let overlaps = gap.contains(first) || gap.from.wrapping_sub(first) < length;
            matches!(gap.state, State::Asked(_))
                && overlaps
                && match gap.task() {
                    Some(task) => session.slots.live(task).is_some_and(|slot| slot.itt == itt),
                    None => itt.is_reserved(),
                }
        };
        let recovery = &mut self.core.recovery;
        // Nothing is missing for a DataACK, or for what has come or ended in the meantime.
        let Some(at) = recovery.gaps.iter().position(is_meant) else { return Ok(()) };
        match recovery.gaps.get(at).map(|gap| gap.missing) {
            Some(Missing::Data(task) | Missing::R2t(task)) => {
                recovery.gaps.remove(at);
                recovery.settle();
                self.release_held(task.index() as u16, session)
            }
            _ => Err(ProtocolError::Rejected(reject.reason).into()),
        }
    }

    /// Whether a rejected command is to be sent again: its immediate data arrived damaged, and the target has thrown it away.
    pub(super) fn retries_command(
        &mut self,
        reason: RejectReason,
        index: u16,
        session: &mut Session,
    ) -> bool {
        if !self.core.recovery.is_enabled() || reason != RejectReason::DataDigestError {
            return false;
        }
        let task = session.slots.id(index);
        let slot = &session.slots[index];
        if slot.state != TaskState::Active {
            return false;
        }
        // A command that counts as received stays: an R2T or a status follows (RFC 7143 section 7.8).
        if !slot.immediate && slot.cmd_sn.lt(session.core.window.exp_cmd_sn) {
            return true;
        }
        let recovery = &mut self.core.recovery;
        let known = recovery.gaps.iter_mut().find(|gap| gap.missing == Missing::Command(task));
        let is_sent_again = match known {
            Some(gap) if gap.tries < TRIES => {
                gap.state = State::Wanted;
                true
            }
            Some(_) => false,
            None => recovery.add(Gap::new(Missing::Command(task), 0, 1)),
        };
        if is_sent_again {
            // What was asked of the target until now does not concern what it will be sent.
            session.slots[index].order = session.next_arrival();
        }
        is_sent_again
    }
}

/// Sending and time.
impl Connection {
    /// What is to be sent next for recovery.
    pub(super) fn next_recovery(&mut self, session: &mut Session, now: Instant) -> Option<Due> {
        let recovery = &mut self.core.recovery;
        recovery.prune(|task| session.slots.live(task).is_some());
        // After an ABORT TASK the target may not know any more what is acknowledged.
        let is_active =
            |task| session.slots.live(task).is_some_and(|s| s.state == TaskState::Active);
        recovery.acks.retain(|ack| is_active(ack.task));
        if let Some(index) = recovery.next_wanted() {
            let gap = recovery.gaps.get_mut(index)?;
            gap.tries += 1;
            gap.state = State::Asked(now + session.config().timeouts().nop_timeout);
            let run_length = gap.len();
            let kind = match gap.missing {
                Missing::Command(task) => {
                    // The task's own deadline holds.
                    gap.state = State::Waiting;
                    if session.slots.live(task)?.state != TaskState::Active {
                        return None;
                    }
                    self.core.counters.recovered.commands += 1;
                    return Some(Due::Command(task.index() as u16));
                }
                Missing::Data(task) | Missing::R2t(task) | Missing::Held(task) => {
                    // What is asked for may come twice: the second may find its task ended.
                    session.bury(task.index() as u16);
                    let initiator_task_tag = session.slots.live(task)?.itt;
                    SnackKind::Data { initiator_task_tag, beg_run: gap.from, run_length }
                }
                Missing::Status(_) => SnackKind::Status { beg_run: StatSn(gap.from), run_length },
            };
            self.core.counters.recovered.snacks += 1;
            return Some(Due::Snack(SnackRequest { kind, exp_stat_sn: self.acknowledged() }));
        }
        let ack = recovery.next_ack()?;
        let Ack { task, transfer, .. } = recovery.acks.remove(ack);
        let next = session.slots.live(task)?.in_data_sn;
        let first = recovery
            .gaps
            .iter()
            .filter(|gap| gap.missing == Missing::Data(task))
            .map(|gap| DataSn(gap.from))
            .max_by_key(|from| from.distance_to(next));
        let kind = SnackKind::DataAck { transfer, beg_run: first.unwrap_or(next) };
        self.core.counters.recovered.data_acks += 1;
        Some(Due::Snack(SnackRequest { kind, exp_stat_sn: self.acknowledged() }))
    }

    /// Whether an answer is overdue.
    pub(super) fn recovery_expired(&mut self, session: &Session, now: Instant) -> bool {
        let recovery = &mut self.core.recovery;
        if recovery.is_idle() {
            return false;
        }
        recovery.prune(|task| session.slots.live(task).is_some());
        recovery.deadline().is_some_and(|at| at <= now)
    }
}

/// Something to send for recovery.
#[derive(Debug, Clone, Copy)]
pub(super) enum Due {
    Snack(SnackRequest),
    /// The command in this slot.
    Command(u16),
}

fn is_in_order(session: &Session) -> bool {
    let negotiated = &session.core.negotiated;
    negotiated.data_pdu_in_order && negotiated.data_sequence_in_order
}
