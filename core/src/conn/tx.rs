//! Sending: which PDU is next, and freezing it.

use super::control::Ping;
use super::plan::TransmitRun;
use super::recovery::Due;
use super::ring::{Body, Draft, NoBuffer, RING};
use super::{Connection, ConnectionState, Direction};
use crate::buffers::Buffers;
use crate::error::LostReason;
use crate::session::{Burst, Session, TaskState};
use crate::wire::{
    AhsLength, BHS_LEN, Bhs, DataOut, LogoutReason, LogoutRequest, NopOut, NopOutKind, ScsiCommand,
};
use crate::{DataSn, Instant, R2tSn};

impl Connection {
    /// The most runs that [`poll_transmit`](Self::poll_transmit) is ever asked to show by the driver: three for each PDU of the ring.
    pub const MAX_RUNS: usize = 3 * RING;

    /// Whether there is something to send now, if the session has use for the connection.
    #[inline]
    pub(crate) fn has_transmit(&self, session: &Session) -> bool {
        if !self.core.ring.is_empty() {
            return true;
        }
        match self.core.state {
            ConnectionState::Closed => false,
            ConnectionState::Login => self.core.login_out.is_some(),
            ConnectionState::FullFeature => {
                self.core.echo.is_some()
                    || !session.logout_sent()
                        && (self.command_due(session).is_some()
                            || !session.core.owing.is_empty()
                            || self.core.ping == Ping::Wanted
                            || self.core.text.is_wanted()
                            || self.core.recovery.is_due(session)
                            || session.core.tmf.is_due()
                            || session.logout_due())
            }
        }
    }

    /// The first command of the queue, if the window takes it.
    fn command_due(&self, session: &Session) -> Option<u16> {
        let index = session.core.queue.front().filter(|i| session.may_send(*i))?;
        (session.slots[index].immediate || session.core.window.is_open()).then_some(index)
    }

    /// Shows what is to be sent: freezes as many PDUs as the ring takes, then puts runs of bytes into `out`, in order, and returns how many.
    /// Nothing changes until [`transmitted`](Self::transmitted) says how much went out: asking again shows the same bytes.
    pub fn poll_transmit<'a>(
        &'a mut self,
        session: &'a mut Session,
        buffers: &'a (impl Buffers + ?Sized),
        out: &mut [&'a [u8]],
        now: Instant,
    ) -> usize {
        if self.close_if_abandoned(session) {
            return 0;
        }
        // The one fault of the application: it owes bytes and does not lend them.
        if self.fill(session, buffers, now).is_err() || self.core.ring.front_missing(buffers) {
            self.fail(LostReason::NoBuffer, session, now);
        }
        self.show(session, now);
        self.core.ring.view(&session.slots, self.transmit_area(), buffers, out)
    }

    /// The same as plain data: puts runs that are named instead of lent into `out`, in order, and returns how many. There are at most five for
    /// each PDU; a plan of fewer is merely shorter.
    ///
    /// What is named stays as it is until [`transmitted`](Self::transmitted) is called: a send may be under way meanwhile, but only one. A
    /// connection that closes ends its tasks: close the stream and wait for the send before an end event is taken as leave to use the memory
    /// again.
    ///
    /// With DataDigest the digest is computed when a PDU enters the ring: `buffers` must then lend the bytes. Without, nothing is asked of
    /// `buffers`, and [`NoBuffers`](crate::NoBuffers) will do. If the application does not have the bytes, it ends the connection with
    /// [`closed`](Self::closed).
    pub fn transmit_plan(
        &mut self,
        session: &mut Session,
        buffers: &dyn Buffers,
        out: &mut [TransmitRun],
        now: Instant,
    ) -> usize {
        if self.close_if_abandoned(session) {
            return 0;
        }
        if self.fill(session, buffers, now).is_err() {
            self.fail(LostReason::NoBuffer, session, now);
        }
        self.show(session, now);
        self.core.ring.plan(&session.slots, self.transmit_area(), out)
    }

    /// What is in the ring is about to be shown, and must go out.
    fn show(&mut self, session: &Session, now: Instant) {
        self.watch_sending(session, now);
        self.core.ring.show();
    }

    /// `n` bytes of what was shown went out; 0 if none could be sent. More than there were count as that.
    pub fn transmitted(&mut self, n: usize, session: &mut Session) {
        let n = n.min(self.core.ring.unsent() as usize);
        self.core.counters.bytes_sent += n as u64;
        self.core.ring.transmitted(n, |task| session.thawed(task));
        if self.core.ring.is_empty() {
            self.core.timers.sending = None;
        }
    }

    /// What is to be sent must go out.
    fn watch_sending(&mut self, session: &Session, now: Instant) {
        let core = &mut self.core;
        if core.ring.is_empty() {
            core.timers.sending = None;
        } else if core.timers.sending.is_none() {
            let deadline = now + session.config().timeouts().progress;
            core.timers.sending = Some((deadline, core.counters.bytes_sent));
        }
    }

    /// Freezes what may be sent, until the ring is full.
    fn fill(
        &mut self,
        session: &mut Session,
        buffers: &(impl Buffers + ?Sized),
        now: Instant,
    ) -> Result<(), NoBuffer> {
        match self.core.state {
            ConnectionState::Closed => Ok(()),
            ConnectionState::Login => self.fill_login(buffers),
            ConnectionState::FullFeature => {
                while self.core.ring.has_room() && self.freeze_next(session, buffers, now)? {}
                Ok(())
            }
        }
    }

    /// Freezes the next PDU of the full feature phase. Short control PDUs first, then commands (they are small and keep the target
    /// busy), then data that was asked for.
    fn freeze_next(
        &mut self,
        session: &mut Session,
        buffers: &(impl Buffers + ?Sized),
        now: Instant,
    ) -> Result<bool, NoBuffer> {
        if let Some(transfer) = self.core.echo.take() {
            self.freeze_nop(NopOutKind::PingResponse(transfer), session, buffers)?;
            self.resume();
            return Ok(true);
        }
        if session.logout_sent() {
            return Ok(false);
        }
        // A command that is sent again has its place in the order of sending already.
        if !self.core.recovery.is_idle()
            && let Some(due) = self.next_recovery(session, now)
        {
            self.freeze_recovery(due, session, buffers)?;
            return Ok(true);
        }
        if session.core.tmf.is_due() {
            if let Some(request) = session.take_task_management(self.acknowledged(), now) {
                let mut bhs = [0; BHS_LEN];
                request.emit(&mut bhs);
                self.freeze_header(&bhs, buffers)?;
            }
            return Ok(true);
        }
        if let Some(initiator_task_tag) = self.take_ping(session, now) {
            let kind = NopOutKind::Ping { immediate: true, initiator_task_tag };
            self.freeze_nop(kind, session, buffers)?;
            return Ok(true);
        }
        if self.core.text.is_wanted() {
            self.freeze_text(session, buffers)?;
            return Ok(true);
        }
        if let Some(index) = self.command_due(session) {
            self.freeze_command(index, session, buffers)?;
            return Ok(true);
        }
        if let Some(index) = session.core.owing.front() {
            self.freeze_data_out(index, session, buffers)?;
            return Ok(true);
        }
        if session.logout_due() {
            self.freeze_logout(session, buffers)?;
            return Ok(true);
        }
        Ok(false)
    }

    pub(super) fn freeze(
        &mut self,
        draft: &Draft<'_>,
        buffers: &(impl Buffers + ?Sized),
    ) -> Result<(), NoBuffer> {
        self.core.counters.pdus_sent += 1;
        self.traced(Direction::Sent, draft.bhs);
        let control = self.control.get(super::RECEIVE_AREA..).unwrap_or_default();
        self.core.ring.push(draft, control, buffers)
    }

    /// Freezes a PDU that is nothing but a header.
    fn freeze_header(
        &mut self,
        bhs: &Bhs,
        buffers: &(impl Buffers + ?Sized),
    ) -> Result<(), NoBuffer> {
        let draft = Draft { bhs, task: None, ahs: &[], body: Body::None, body_len: 0 };
        self.freeze(&draft, buffers)
    }

    fn freeze_nop(
        &mut self,
        kind: NopOutKind,
        session: &Session,
        buffers: &(impl Buffers + ?Sized),
    ) -> Result<(), NoBuffer> {
        let nop = NopOut {
            kind,
            data_segment_length: 0,
            cmd_sn: session.core.window.cmd_sn,
            exp_stat_sn: self.acknowledged(),
        };
        let mut bhs = [0; BHS_LEN];
        nop.emit(&mut bhs);
        self.freeze_header(&bhs, buffers)
    }

    fn freeze_logout(
        &mut self,
        session: &mut Session,
        buffers: &(impl Buffers + ?Sized),
    ) -> Result<(), NoBuffer> {
        let Some(logout) = &mut session.core.logout else { return Ok(()) };
        logout.sent = true;
        // Nothing may follow; what was not asked yet is not asked any more.
        self.core.ping = Ping::Idle;
        self.core.timers.ping = None;
        self.core.timers.idle = None;
        let request = LogoutRequest {
            immediate: true,
            reason: LogoutReason::CloseSession,
            initiator_task_tag: logout.itt,
            cmd_sn: session.core.window.cmd_sn,
            exp_stat_sn: self.acknowledged(),
        };
        let mut bhs = [0; BHS_LEN];
        request.emit(&mut bhs);
        self.freeze_header(&bhs, buffers)
    }

    fn freeze_recovery(
        &mut self,
        due: Due,
        session: &mut Session,
        buffers: &(impl Buffers + ?Sized),
    ) -> Result<(), NoBuffer> {
        match due {
            Due::Snack(request) => {
                let mut bhs = [0; BHS_LEN];
                request.emit(&mut bhs);
                self.freeze_header(&bhs, buffers)
            }
            Due::Command(index) => {
                // All of its data go again, too: those of the first time had no task to belong to.
                self.core.ring.withdraw_data(index, |task| session.thawed(task));
                session.step_out(index);
                let slot = &mut session.slots[index];
                slot.bursts.clear();
                slot.r2t_sn = R2tSn(0);
                self.freeze_command_pdu(index, session, buffers)
            }
        }
    }

    /// Sends a command with its immediate data, and lines up its unsolicited burst (RFC 7143 sections 4.2.5.2 and 13.11).
    fn freeze_command(
        &mut self,
        index: u16,
        session: &mut Session,
        buffers: &(impl Buffers + ?Sized),
    ) -> Result<(), NoBuffer> {
        session.core.queue.remove(&mut session.slots, index);
        session.core.live += 1;
        let slot = &mut session.slots[index];
        session.core.data_in_due += u64::from(slot.in_len);
        slot.state = TaskState::Active;
        slot.cmd_sn =
            if slot.immediate { session.core.window.cmd_sn } else { session.core.window.take() };
        self.freeze_command_pdu(index, session, buffers)
    }

    /// The PDU of a command that has its number.
    fn freeze_command_pdu(
        &mut self,
        index: u16,
        session: &mut Session,
        buffers: &(impl Buffers + ?Sized),
    ) -> Result<(), NoBuffer> {
        let exp_stat_sn = self.acknowledged();
        let negotiated = &session.core.negotiated;
        let (first_burst, initial_r2t) = (negotiated.first_burst_length, negotiated.initial_r2t);
        let immediate_data = negotiated.immediate_data;
        let arrival = session.next_arrival();
        let task = session.slots.id(index);
        let slot = &mut session.slots[index];

        let unsolicited = slot.out_len.min(first_burst);
        let mut immediate = if immediate_data { unsolicited.min(self.core.max_send) } else { 0 };
        let burst_end = if initial_r2t { immediate } else { unsolicited };
        if immediate < burst_end {
            // All but the last PDU of a burst are whole words.
            immediate &= !3;
        }
        slot.unsolicited =
            Burst { transfer: None, at: immediate, end: burst_end, data_sn: DataSn(0), arrival };
        slot.out_sent = immediate;
        slot.out_end = burst_end;
        slot.frozen += 1;
        slot.order = arrival;
        let read_only = slot.out_len == 0;
        let command = ScsiCommand {
            immediate: slot.immediate,
            is_final: burst_end == immediate,
            read: slot.in_len > 0,
            write: !read_only,
            attribute: slot.attribute,
            priority: 0,
            total_ahs_length: AhsLength((slot.ahs_len / 4) as u8),
            data_segment_length: immediate,
            lun: slot.lun,
            initiator_task_tag: slot.itt,
            expected_data_transfer_length: if read_only { slot.in_len } else { slot.out_len },
            cmd_sn: slot.cmd_sn,
            exp_stat_sn,
            cdb: slot.cdb,
        };
        let mut bhs = [0; BHS_LEN];
        command.emit(&mut bhs);
        if immediate < burst_end {
            session.line_up(index);
        }
        let slot = &session.slots[index];
        let ahs = slot.aux.get(..usize::from(slot.ahs_len)).unwrap_or_default();
        let body = if immediate > 0 { Body::Task { task, at: 0 } } else { Body::None };
        let draft = Draft { bhs: &bhs, task: Some(index), ahs, body, body_len: immediate };
        self.freeze(&draft, buffers)
    }

    /// Sends the next Data-Out of the task that is first in line.
    fn freeze_data_out(
        &mut self,
        index: u16,
        session: &mut Session,
        buffers: &(impl Buffers + ?Sized),
    ) -> Result<(), NoBuffer> {
        let exp_stat_sn = self.acknowledged();
        let task = session.slots.id(index);
        let slot = &mut session.slots[index];
        let itt = slot.itt;
        let solicited = slot.unsolicited.at >= slot.unsolicited.end;
        let burst = if solicited { slot.bursts.front_mut() } else { Some(&mut slot.unsolicited) };
        let Some(burst) = burst else {
            session.step_out(index);
            return Ok(());
        };
        let left = burst.end - burst.at;
        let mut len = left.min(self.core.max_send);
        if len < left {
            // All but the last PDU of a burst are whole words (RFC 7143 section 11.7.7).
            len &= !3;
        }
        let is_final = len == left;
        let data_out = DataOut {
            is_final,
            transfer: burst.transfer,
            data_segment_length: len,
            initiator_task_tag: itt,
            exp_stat_sn,
            data_sn: burst.data_sn,
            buffer_offset: burst.at,
        };
        let body = Body::Task { task, at: burst.at };
        burst.at += len;
        burst.data_sn = burst.data_sn.next();
        slot.out_sent = slot.out_sent.saturating_add(len);
        slot.frozen += 1;
        if is_final {
            if solicited {
                slot.bursts.pop();
            }
            session.step_out(index);
            session.line_up(index);
        }
        let mut bhs = [0; BHS_LEN];
        data_out.emit(&mut bhs);
        let draft = Draft { bhs: &bhs, task: Some(index), ahs: &[], body, body_len: len };
        self.freeze(&draft, buffers)
    }
}
