//! What each PDU of the target means: where its data segment goes, and what changes once it is whole and verified.

use super::rx::Place;
use super::{Connection, ConnectionState};
use crate::error::{LostReason, ProtocolError};
use crate::session::{Burst, Session, TaskEnd, TaskOutcome, TaskState};
use crate::wire::{
    BHS_LEN, Completion, DataIn, LogoutResponse, NopInKind, Opcode, R2t, Reject, RejectReason,
    Residual, ScsiResponse, ScsiResponseCode, ScsiStatus, TargetPdu, TaskManagementResponse,
    TaskManagementResponseCode,
};
use crate::{DataSn, InitiatorTaskTag, Instant, Lun, StatSn};

impl From<ProtocolError> for LostReason {
    fn from(e: ProtocolError) -> Self {
        Self::Protocol(e)
    }
}

impl Connection {
    /// Checks a header and says where its data segment goes; `None` if the PDU has to wait for the application.
    pub(super) fn place_of(
        &self,
        pdu: &TargetPdu,
        session: &Session,
    ) -> Result<Option<Place>, ProtocolError> {
        if self.core.state == ConnectionState::Login {
            return match pdu {
                TargetPdu::LoginResponse(response) => {
                    self.control_place(self.core.login_text, response.data_segment_length).map(Some)
                }
                other => Err(ProtocolError::UnexpectedPdu(other.opcode() as u8)),
            };
        }
        match pdu {
            TargetPdu::DataIn(data_in) => self.place_of_data_in(data_in, session).map(Some),
            TargetPdu::ScsiResponse(response) => {
                let itt = response.initiator_task_tag;
                if self.is_repeated(response.stat_sn) {
                    Ok(Some(Place::Nowhere))
                } else if session.find(itt).is_some() {
                    Ok(Some(Place::Stage))
                } else if self.core.recovery.misses_status(response.stat_sn) {
                    // Its task was ended in the meantime.
                    Ok(Some(Place::Nowhere))
                } else {
                    unknown_task(itt, session).map(|()| Some(Place::Nowhere))
                }
            }
            TargetPdu::AsyncMessage(_) | TargetPdu::Reject(_) => Ok(Some(Place::Stage)),
            TargetPdu::NopIn(nop) => {
                let waits = matches!(nop.kind, NopInKind::Ping(_)) && self.core.echo.is_some();
                Ok((!waits).then_some(Place::Nowhere))
            }
            TargetPdu::TextResponse(text) if self.is_repeated(text.stat_sn) => {
                Ok(Some(Place::Nowhere))
            }
            TargetPdu::TextResponse(text) => self.place_of_text(text).map(Some),
            TargetPdu::R2t(_)
            | TargetPdu::TaskManagementResponse(_)
            | TargetPdu::LogoutResponse(_) => Ok(Some(Place::Nowhere)),
            TargetPdu::LoginResponse(_) => {
                Err(ProtocolError::UnexpectedPdu(Opcode::LoginResponse as u8))
            }
        }
    }

    /// Everything that must hold before a byte of Data-In is placed.
    #[inline]
    fn place_of_data_in(
        &self,
        data_in: &DataIn,
        session: &Session,
    ) -> Result<Place, ProtocolError> {
        let itt = data_in.initiator_task_tag;
        if data_in.status.is_some_and(|status| self.is_repeated(status.stat_sn)) {
            return self.place_of_repeated(data_in, session);
        }
        let Some(index) = session.find(itt) else {
            if data_in.status.is_some_and(|s| self.core.recovery.misses_status(s.stat_sn)) {
                return Ok(Place::Nowhere);
            }
            return unknown_task(itt, session).map(|()| Place::Nowhere);
        };
        let slot = &session.slots[index];
        let (offset, length) = (data_in.buffer_offset, data_in.data_segment_length);
        if slot.in_len == 0 && (length > 0 || slot.out_len > 0) {
            return Err(ProtocolError::DataInNotExpected(itt));
        }
        // Bidirectional commands get their status in a SCSI Response (RFC 7143 section 11.7.3).
        if data_in.status.is_some() && slot.out_len > 0 {
            return Err(ProtocolError::DataInNotExpected(itt));
        }
        if data_in.data_sn != slot.in_data_sn {
            if self.core.recovery.is_enabled() && slot.out_len == 0 {
                return self.place_out_of_turn(data_in, index, session);
            }
            // A repeated PDU is dropped; one that brings a new status is not repeated.
            if data_in.data_sn.lt(slot.in_data_sn) && data_in.status.is_none() {
                return Ok(Place::Nowhere);
            }
            let expected = slot.in_data_sn;
            return Err(ProtocolError::DataSn { expected, got: data_in.data_sn });
        }
        match offset.checked_add(length) {
            Some(end) if end <= slot.in_len => {}
            _ => {
                let expected = slot.in_len;
                return Err(ProtocolError::DataInOutOfRange { offset, length, expected });
            }
        }
        let negotiated = &session.core.negotiated;
        let in_order = negotiated.data_pdu_in_order && negotiated.data_sequence_in_order;
        let goes_back = in_order && offset < slot.in_end;
        // Out of order, overlaps cannot be told from new bytes one by one; in sum they can.
        let too_much = slot.in_received.saturating_add(length) > slot.in_len;
        if length > 0 && (goes_back || too_much) {
            return Err(ProtocolError::DataInOrder { offset, previous_end: slot.in_end });
        }
        Ok(Place::Task { task: session.slots.id(index), at: offset })
    }

    /// A whole PDU with a verified data segment.
    #[inline]
    pub(super) fn process(
        &mut self,
        pdu: &TargetPdu,
        session: &mut Session,
        now: Instant,
    ) -> Result<(), LostReason> {
        match pdu {
            TargetPdu::DataIn(data_in) => {
                session.core.window.update(data_in.exp_cmd_sn, data_in.max_cmd_sn);
                self.data_in(data_in, session)
            }
            TargetPdu::ScsiResponse(response) => {
                session.core.window.update(response.exp_cmd_sn, response.max_cmd_sn);
                self.scsi_response(response, session)
            }
            TargetPdu::R2t(r2t) => {
                session.core.window.update(r2t.exp_cmd_sn, r2t.max_cmd_sn);
                self.r2t(r2t, session)
            }
            TargetPdu::NopIn(nop) => {
                session.core.window.update(nop.exp_cmd_sn, nop.max_cmd_sn);
                self.nop_in(nop, session, now)
            }
            TargetPdu::TaskManagementResponse(response) => {
                session.core.window.update(response.exp_cmd_sn, response.max_cmd_sn);
                self.task_management_response(response, session, now)
            }
            TargetPdu::TextResponse(response) => {
                session.core.window.update(response.exp_cmd_sn, response.max_cmd_sn);
                self.text_response(response)
            }
            TargetPdu::LogoutResponse(response) => {
                session.core.window.update(response.exp_cmd_sn, response.max_cmd_sn);
                self.logout_response(response, session, now)
            }
            TargetPdu::AsyncMessage(message) => {
                session.core.window.update(message.exp_cmd_sn, message.max_cmd_sn);
                self.async_message(message, session, now)
            }
            TargetPdu::Reject(reject) => {
                session.core.window.update(reject.exp_cmd_sn, reject.max_cmd_sn);
                self.reject(reject, session, now)
            }
            TargetPdu::LoginResponse(response) => self.login_response(response, session, now),
        }
    }

    /// Takes the StatSN of a PDU that advances it. False for a duplicate, which has to be ignored; a gap is a lost response.
    #[inline]
    pub(super) fn status(&mut self, stat_sn: StatSn) -> Result<bool, LostReason> {
        let expected = self.core.exp_stat_sn;
        if stat_sn == expected {
            self.core.exp_stat_sn = expected.next();
            Ok(true)
        } else {
            self.status_out_of_turn(stat_sn)
        }
    }

    /// A PDU with this StatSN was received before (RFC 7143 section 7.9): whatever it says is to be ignored.
    #[inline]
    fn is_repeated(&self, stat_sn: StatSn) -> bool {
        stat_sn.lt(self.core.exp_stat_sn) && !self.core.recovery.misses_status(stat_sn)
    }

    /// Checks a StatSN that only announces the next one: if it is ahead, a response was lost.
    pub(super) fn next_status(&mut self, stat_sn: StatSn) -> Result<(), LostReason> {
        if self.core.exp_stat_sn.lt(stat_sn) {
            return self.statuses_before(stat_sn);
        }
        Ok(())
    }

    #[inline]
    fn data_in(&mut self, data_in: &DataIn, session: &mut Session) -> Result<(), LostReason> {
        if let Some(status) = &data_in.status
            && !self.status(status.stat_sn)?
        {
            return self.data_in_out_of_turn(data_in, false, session);
        }
        let Some(index) = session.find(data_in.initiator_task_tag) else { return Ok(()) };
        let slot = &mut session.slots[index];
        if data_in.data_sn != slot.in_data_sn {
            return self.data_in_out_of_turn(data_in, true, session);
        }
        slot.in_data_sn = slot.in_data_sn.next();
        slot.in_received += data_in.data_segment_length;
        session.core.data_in_came(data_in.data_segment_length);
        if data_in.data_segment_length > 0 {
            slot.in_end = data_in.buffer_offset + data_in.data_segment_length;
        }
        if data_in.acknowledge.is_some() {
            let task = session.slots.id(index);
            self.acknowledge_data(data_in, task);
        }
        if let Some(status) = &data_in.status {
            let completion =
                Completion { status: status.status, residual: status.residual, ..Completion::GOOD };
            let response = ScsiResponseCode::CompletedAtTarget(completion);
            return self.task_completed(index, response, status.stat_sn, session);
        }
        Ok(())
    }

    fn scsi_response(
        &mut self,
        response: &ScsiResponse,
        session: &mut Session,
    ) -> Result<(), LostReason> {
        if !self.status(response.stat_sn)? {
            return Ok(());
        }
        let Some(index) = session.find(response.initiator_task_tag) else { return Ok(()) };
        let slot = &mut session.slots[index];
        if let ScsiResponseCode::CompletedAtTarget(completion) = &response.response {
            let (announced, received) = (completion.exp_data_sn, slot.in_data_sn);
            // Fatal only if bytes are missing too. Bidirectional commands number R2Ts and Data-In together; no two targets agree on how.
            let expected = transferred(completion.residual, slot.in_len);
            if slot.out_len == 0 && received.lt(announced) && slot.in_received < expected {
                self.data_behind_response(completion, index, session)?;
            }
        }
        let slot = &mut session.slots[index];
        if response.data_segment_length > 0 {
            let stage = &self.core.rx.stage;
            let sense = u16::from_be_bytes([stage[0], stage[1]]);
            if u32::from(sense) + 2 > response.data_segment_length {
                let data_segment = response.data_segment_length;
                return Err(ProtocolError::SenseLength { sense, data_segment }.into());
            }
            // A header that is still shown must not change under the transport.
            if slot.frozen == 0 || slot.ahs_len == 0 {
                let len = usize::from(sense).min(252);
                slot.aux[..len].copy_from_slice(&stage[2..2 + len]);
                slot.sense_len = len as u8;
            }
        }
        let mut code = response.response;
        if let ScsiResponseCode::CompletedAtTarget(completion) = &mut code
            && session.core.negotiated.iscsi_protocol_level < 2
        {
            // Reserved without that level (RFC 7144 section 5.2).
            completion.status_qualifier = 0;
        }
        self.task_completed(index, code, response.stat_sn, session)
    }

    /// The target's last word on a task.
    pub(super) fn task_completed(
        &mut self,
        index: u16,
        response: ScsiResponseCode,
        stat_sn: StatSn,
        session: &mut Session,
    ) -> Result<(), LostReason> {
        if !self.core.recovery.is_idle() && self.holds_status(index, &response, stat_sn, session)? {
            return Ok(());
        }
        let slot = &session.slots[index];
        let mut missing = 0;
        if let ScsiResponseCode::CompletedAtTarget(completion) = &response
            && matches!(completion.status, ScsiStatus::Good | ScsiStatus::ConditionMet)
        {
            let Completion { residual, bidi_read_residual, .. } = *completion;
            let read_residual = if slot.out_len > 0 { bidi_read_residual } else { residual };
            // What is frozen and not sent yet cannot have reached the target.
            let unsent = if slot.frozen > 0 { self.core.ring.unsent_data_of(index) } else { 0 };
            let sent = slot.out_sent.saturating_sub(unsent);
            let not_received =
                transferred(read_residual, slot.in_len).saturating_sub(slot.in_received);
            // A write that the target took a part of is not done, whatever it calls it.
            let not_sent = slot.out_len - sent.min(transferred(residual, slot.out_len));
            missing = not_received.saturating_add(not_sent);
        }
        let outcome = TaskOutcome { response, data_in: slot.in_received, missing };
        self.end_task(index, TaskEnd::Done(outcome), session);
        Ok(())
    }

    /// Ends a task; of its Data-Out only what is half sent still goes out.
    fn end_task(&mut self, index: u16, end: TaskEnd, session: &mut Session) {
        if session.slots[index].frozen > 0 {
            self.core.ring.withdraw_data(index, |task| session.thawed(task));
        }
        session.finish(index, end);
    }

    fn r2t(&mut self, r2t: &R2t, session: &mut Session) -> Result<(), LostReason> {
        let itt = r2t.initiator_task_tag;
        let Some(index) = session.find(itt) else {
            return Ok(unknown_task(itt, session)?);
        };
        let max_burst = session.core.negotiated.max_burst_length;
        let max_outstanding = session.core.negotiated.max_outstanding_r2t;
        let arrival = session.next_arrival();
        let slot = &mut session.slots[index];
        if slot.out_len == 0 {
            return Err(ProtocolError::R2tNotExpected(itt).into());
        }
        // Some targets leave the LUN of an R2T empty; it is copied back as it came.
        if slot.lun != r2t.lun && r2t.lun != Lun::ZERO {
            return Err(ProtocolError::LunMismatch(itt).into());
        }
        if r2t.r2t_sn != slot.r2t_sn && !self.r2t_out_of_turn(r2t, index, session)? {
            return Ok(());
        }
        let slot = &mut session.slots[index];
        let (offset, length) = (r2t.buffer_offset, r2t.desired_data_transfer_length);
        let end = match offset.checked_add(length) {
            Some(end) if end <= slot.out_len => end,
            _ => {
                let expected = slot.out_len;
                return Err(ProtocolError::R2tOutOfRange { offset, length, expected }.into());
            }
        };
        if length > max_burst {
            return Err(ProtocolError::R2tTooLong { length, max: max_burst }.into());
        }
        if slot.revoked {
            // As in `revoke`: the other tasks have their memory, and may be issued again.
            return Err(LostReason::Aborted);
        }
        let in_turn = r2t.r2t_sn == slot.r2t_sn;
        if in_turn {
            slot.r2t_sn = slot.r2t_sn.next();
        }
        let burst =
            Burst { transfer: Some(r2t.transfer()), at: offset, end, data_sn: DataSn(0), arrival };
        if u16::from(slot.bursts.len()) >= max_outstanding || !slot.bursts.push(burst) {
            return Err(ProtocolError::TooManyR2ts(itt).into());
        }
        if in_turn && self.core.recovery.is_enabled() {
            self.note_recovery_r2t(index, offset, end, session);
        }
        session.line_up(index);
        Ok(())
    }

    fn task_management_response(
        &mut self,
        response: &TaskManagementResponse,
        session: &mut Session,
        now: Instant,
    ) -> Result<(), LostReason> {
        if self.comes_too_early(response.stat_sn)? || !self.status(response.stat_sn)? {
            return Ok(());
        }
        let itt = response.initiator_task_tag;
        if !session.core.tmf.awaits(itt) {
            if session.core.tmf.gave_up(itt) {
                return Ok(());
            }
            return Err(ProtocolError::UnknownTask(itt).into());
        }
        session.task_management_answered(response.response, now)?;
        self.withdraw_ended(session);
        Ok(())
    }

    /// Tasks may have ended with PDUs in the ring; what was not started is taken back.
    fn withdraw_ended(&mut self, session: &mut Session) {
        for index in session.slots.indices() {
            if session.slots[index].state == TaskState::Draining {
                self.core.ring.withdraw_data(index, |task| session.thawed(task));
            }
        }
    }

    fn logout_response(
        &mut self,
        response: &LogoutResponse,
        session: &mut Session,
        now: Instant,
    ) -> Result<(), LostReason> {
        let itt = response.initiator_task_tag;
        if !session.core.logout.is_some_and(|l| l.sent && l.itt == itt) {
            return Err(ProtocolError::UnexpectedPdu(Opcode::LogoutResponse as u8).into());
        }
        // Whatever the response says: no more can be done on this connection (RFC 7143 section 11.15).
        self.close();
        session.logged_out(response, now);
        Ok(())
    }

    fn reject(
        &mut self,
        reject: &Reject,
        session: &mut Session,
        now: Instant,
    ) -> Result<(), LostReason> {
        if !self.status(reject.stat_sn)? {
            return Ok(());
        }
        let reason = reject.reason;
        // A reserved code says nothing that could be acted on: it is a protocol error (RFC 7143 section 11).
        if matches!(reason, RejectReason::Other(_) | RejectReason::NegotiationReset) {
            return Err(ProtocolError::Rejected(reason).into());
        }
        let Some(bhs) = self.core.rx.stage.first_chunk::<BHS_LEN>() else { return Ok(()) };
        let opcode = Opcode::of(bhs);
        let itt = InitiatorTaskTag(u32::from_be_bytes([bhs[16], bhs[17], bhs[18], bhs[19]]));
        let immediate = bhs[0] & 0x40 != 0;
        match opcode {
            // It ends with the connection, or is issued again. An abort would be rejected too.
            Some(Opcode::ScsiCommand | Opcode::TaskManagementRequest)
                if reason == RejectReason::WaitingForLogout => {}
            Some(Opcode::ScsiCommand) => {
                if let Some(index) = session.find(itt) {
                    if self.retries_command(reason, index, session) {
                        // It is sent again, or goes on.
                    } else if immediate {
                        // If the target had begun the task, a response follows nevertheless.
                        session.bury(index);
                        self.end_task(index, TaskEnd::Lost(LostReason::Rejected(reason)), session);
                    } else {
                        // The abort also plugs the hole in the CmdSN order (RFC 7143 sections 7.3 and 11.6.1).
                        session.give_up(index, LostReason::Rejected(reason), now);
                    }
                }
            }
            Some(Opcode::TaskManagementRequest) if session.core.tmf.awaits(itt) => {
                let rejected = TaskManagementResponseCode::FunctionRejected;
                session.task_management_answered(rejected, now)?;
            }
            Some(Opcode::NopOut) if self.is_ping(itt) => self.ping_answered(session, now),
            Some(Opcode::TextRequest) => self.text_rejected(reason),
            Some(Opcode::LogoutRequest) if session.core.logout.is_some_and(|l| l.itt == itt) => {
                return Err(ProtocolError::Rejected(reason).into());
            }
            Some(Opcode::SnackRequest) => {
                let bhs = *bhs;
                self.snack_rejected(reject, &bhs, session)?;
            }
            // Data-Out: the task lives and its response is still due.
            _ => {}
        }
        if reason == RejectReason::WaitingForLogout {
            session.logout_requested(0, now);
        }
        Ok(())
    }
}

/// How many of `expected` bytes were moved; none if the residual claims more than that.
pub(super) fn transferred(residual: Residual, expected: u32) -> u32 {
    residual.transferred(expected).unwrap_or(0)
}

/// A tag that names no running task: what comes late for an aborted one is dropped, the rest is an error.
fn unknown_task(itt: InitiatorTaskTag, session: &Session) -> Result<(), ProtocolError> {
    if session.was_aborted(itt) { Ok(()) } else { Err(ProtocolError::UnknownTask(itt)) }
}
