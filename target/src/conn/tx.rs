//! Sending: which PDU is next, and freezing it.

use iscsi_core::digest::{Crc32c, DigestKind};
use iscsi_core::wire::{
    AsyncMessage, BHS_LEN, Bhs, Completion, DataIn, DataInStatus, LogoutResponse, NopIn, NopInKind,
    R2t, Reject, ScsiResponse, ScsiResponseCode, ScsiStatus, TaskManagementResponse, TextResponse,
};
use iscsi_core::{CmdSn, DataSn, Direction, Instant, R2tSn, StatSn};

use super::control::Control;
use super::pages::{AREA, PAGE, Run};
use super::ring::{Body, INLINE, RING};
use super::task::{Burst, Line, Work};
use super::{State, TargetConnection};
use crate::target::Target;

/// The PDUs that a page of data takes: no initiator takes less than 512 bytes at once.
const REPLY_PDUS: usize = PAGE / 512;

/// The most of a read that is copied at once.
const COPY: usize = AREA / 2;

impl TargetConnection {
    /// The most runs that [`poll_transmit`](Self::poll_transmit) is ever asked to show by the driver: three for each
    /// PDU of the ring.
    pub const MAX_RUNS: usize = 3 * RING;

    /// Whether there is something to send now.
    pub(super) fn has_transmit(&self) -> bool {
        let core = &self.core;
        core.state != State::Closed
            && (!core.ring.is_empty()
                || !core.control.is_empty()
                || core.timers.pings
                || !core.again.is_empty()
                || self.tasks.front(Line::Asking).is_some()
                || self.tasks.front(Line::Ready).is_some()
                || self.has_opened())
    }

    /// The initiator knows only of a closed window, and tasks have ended without an answer that would say that it is open again.
    fn has_opened(&self) -> bool {
        let core = &self.core;
        core.state == State::FullFeature
            && core.told_max_cmd_sn.lt(core.exp_cmd_sn)
            && core.exp_cmd_sn.le(core.max_cmd_sn)
    }

    /// Shows what is to be sent: freezes as many PDUs as the ring takes, which is not much more than 512 KiB, then puts runs of bytes into `out`, in order,
    /// and returns how many.
    /// Nothing changes until [`transmitted`](Self::transmitted) says how much went out: asking again shows the same
    /// bytes, unless a write
    /// has changed what a disk lends.
    pub fn poll_transmit<'a>(
        &'a mut self,
        target: &'a mut Target<'_>,
        out: &mut [&'a [u8]],
        now: Instant,
    ) -> usize {
        self.freeze(target, now);
        self.show(target, out)
    }

    /// Freezes as many PDUs as the ring takes. How many are in it.
    pub(crate) fn freeze(&mut self, target: &mut Target<'_>, now: Instant) -> usize {
        self.sync(target);
        while !self.core.ring.has_enough() && self.freeze_next(target, now) {}
        self.core.ring.len()
    }

    /// Shows what is frozen.
    pub(crate) fn show<'a>(&'a self, target: &'a Target<'_>, out: &mut [&'a [u8]]) -> usize {
        self.core.ring.view(&self.core.bounce, target.units, out)
    }

    /// `n` bytes of what was shown went out. More than there were count as that.
    pub fn transmitted(&mut self, n: usize) {
        let core = &mut self.core;
        let n = n.min(core.ring.unsent());
        core.counters.bytes_sent += n as u64;
        core.ring.transmitted(n, &mut core.bounce_pages);
    }

    /// Freezes the next PDU, if there is one. Short answers first, then R2Ts (they keep the initiator busy), then data and
    /// statuses.
    fn freeze_next(&mut self, target: &mut Target<'_>, now: Instant) -> bool {
        if let Some(control) = self.core.control.pop_front() {
            self.freeze_control(&control);
            self.resume(target, now);
            return true;
        }
        if core::mem::take(&mut self.core.timers.pings) {
            self.freeze_control(&Control::Ping);
            return true;
        }
        if !self.core.again.is_empty() {
            let moved = self.freeze_again(target);
            self.resume(target, now);
            return moved;
        }
        if let Some(index) = self.tasks.front(Line::Asking) {
            self.freeze_r2t(index, target, now);
            return true;
        }
        if let Some(index) = self.tasks.front(Line::Ready) {
            let moved = self.freeze_task(index, target);
            // Pages may have become free that a PDU waits for.
            self.resume(target, now);
            return moved;
        }
        if self.core.state == State::FullFeature && self.core.rx.is_held() {
            self.resume(target, now);
            return !self.core.control.is_empty();
        }
        if self.has_opened() {
            self.freeze_control(&Control::Update);
            return true;
        }
        false
    }

    #[inline]
    pub(super) fn push(&mut self, bhs: &Bhs, body: Body<'_>) {
        self.core.counters.pdus_sent += 1;
        // Every PDU of a target has it there.
        self.core.told_max_cmd_sn = CmdSn(u32::from_be_bytes([bhs[32], bhs[33], bhs[34], bhs[35]]));
        self.traced(Direction::Sent, bhs);
        self.core.ring.push(bhs, body, &self.core.bounce);
    }

    /// The number of a status that is sent now.
    const fn take_stat_sn(&mut self) -> StatSn {
        let stat_sn = self.core.stat_sn;
        self.core.stat_sn = stat_sn.next();
        stat_sn
    }

    fn freeze_control(&mut self, control: &Control) {
        let (exp_cmd_sn, max_cmd_sn) = (self.core.exp_cmd_sn, self.core.max_cmd_sn);
        let mut bhs = [0; BHS_LEN];
        let mut body = Body::None;
        let stat_sn = self.core.stat_sn;
        match *control {
            Control::Echo { itt, len, run } => {
                if let Some(run) = run {
                    body = Body::Area { at: run.at(), len, pages: Some(run) };
                }
                self.emit_nop_in(NopInKind::PingResponse(itt), len, &mut bhs);
            }
            Control::Ping => {
                self.emit_nop_in(NopInKind::Ping(Control::ping_tag()), 0, &mut bhs);
            }
            Control::Update => self.emit_nop_in(NopInKind::Update, 0, &mut bhs),
            Control::TaskManagement { itt, response } => TaskManagementResponse {
                response,
                initiator_task_tag: itt,
                stat_sn: self.take_stat_sn(),
                exp_cmd_sn,
                max_cmd_sn,
            }
            .emit(&mut bhs),
            Control::Logout { itt, response } => LogoutResponse {
                response,
                initiator_task_tag: itt,
                stat_sn: self.take_stat_sn(),
                exp_cmd_sn,
                max_cmd_sn,
                time2wait: self.core.negotiated.default_time2wait,
                time2retain: 0,
            }
            .emit(&mut bhs),
            Control::Text { itt, transfer, is_continued, len, run } => {
                body = Body::Area { at: run.at(), len, pages: Some(run) };
                TextResponse {
                    transfer,
                    is_continued,
                    data_segment_length: len as u32,
                    initiator_task_tag: itt,
                    stat_sn: self.take_stat_sn(),
                    exp_cmd_sn,
                    max_cmd_sn,
                }
                .emit(&mut bhs);
            }
            Control::Async(event) => AsyncMessage {
                event,
                data_segment_length: 0,
                stat_sn: self.take_stat_sn(),
                exp_cmd_sn,
                max_cmd_sn,
            }
            .emit(&mut bhs),
            Control::Reject { reason, ref header } => {
                body = Body::Inline(header);
                Reject {
                    reason,
                    data_segment_length: header.len() as u32,
                    stat_sn: self.take_stat_sn(),
                    exp_cmd_sn,
                    max_cmd_sn,
                    data_sn: DataSn(0),
                }
                .emit(&mut bhs);
            }
        }
        if self.core.stat_sn != stat_sn {
            match body {
                Body::Inline(data) => self.keep(stat_sn, &bhs, data, None),
                Body::None => self.keep(stat_sn, &bhs, &[], None),
                // Too large to be kept.
                Body::Area { .. } | Body::Disk { .. } => {}
            }
        }
        self.push(&bhs, body);
    }

    fn emit_nop_in(&mut self, kind: NopInKind, len: usize, bhs: &mut Bhs) {
        let stat_sn = match kind {
            NopInKind::PingResponse(_) => self.take_stat_sn(),
            // What answers nothing tells the next number and does not take it (RFC 7143 section 11.19.2).
            NopInKind::Ping(_) | NopInKind::Update => self.core.stat_sn,
        };
        NopIn {
            kind,
            data_segment_length: len as u32,
            stat_sn,
            exp_cmd_sn: self.core.exp_cmd_sn,
            max_cmd_sn: self.core.max_cmd_sn,
        }
        .emit(bhs);
    }

    /// Asks for the next burst of the task that is first in line (RFC 7143 section 11.8).
    fn freeze_r2t(&mut self, index: u16, target: &mut Target<'_>, now: Instant) {
        let negotiated = &self.core.negotiated;
        let most =
            target.quirks.r2t_length.unwrap_or(u32::MAX).clamp(1, negotiated.max_burst_length);
        let allowed = usize::from(negotiated.max_outstanding_r2t);
        let backwards = target.quirks.r2t_backwards;
        let tag = self.tasks.tag(index);
        let task = &mut self.tasks[index];
        if !task.asks() || task.bursts.len() >= allowed || task.bursts.is_full() {
            self.tasks.pop(Line::Asking);
            let task = &self.tasks[index];
            if !task.asks() && !task.awaits_data() {
                self.advance(index, target, now);
            }
            return;
        }
        let (start, len, tries) = if let Some(lost) = task.lost.first_mut() {
            // What arrived damaged goes first.
            let (start, tries) = (lost.at, lost.tries);
            let len = (lost.end - start).min(most);
            lost.at += len;
            if lost.at == lost.end {
                task.lost.remove(0);
            }
            (start, len, tries)
        } else {
            let len = (task.r2t_end - task.r2t_at).min(most);
            let start = if backwards { task.r2t_end - len } else { task.r2t_at };
            if backwards {
                task.r2t_end = start;
            } else {
                task.r2t_at += len;
            }
            (start, len, 0)
        };
        let r2t_sn = task.r2t_sn;
        task.r2t_sn = r2t_sn.wrapping_add(1);
        let end = start + len;
        let burst = Burst { tag, at: start, start, end, got: 0, data_sn: 0, r2t_sn, tries };
        // There is room: it was checked above.
        let _ = task.bursts.push(burst);
        if !task.asks() || task.bursts.len() >= allowed {
            self.tasks.pop(Line::Asking);
        }
        self.push_r2t(index, &burst);
    }

    /// The R2T for a burst.
    pub(super) fn push_r2t(&mut self, index: u16, burst: &Burst) {
        let task = &self.tasks[index];
        let r2t = R2t {
            lun: task.lun,
            initiator_task_tag: task.itt,
            target_transfer_tag: burst.tag,
            stat_sn: self.core.stat_sn,
            exp_cmd_sn: self.core.exp_cmd_sn,
            max_cmd_sn: self.core.max_cmd_sn,
            r2t_sn: R2tSn(burst.r2t_sn),
            buffer_offset: burst.start,
            desired_data_transfer_length: burst.end - burst.start,
        };
        let mut bhs = [0; BHS_LEN];
        r2t.emit(&mut bhs);
        self.push(&bhs, Body::None);
    }

    /// Freezes the next PDU of the task that is first in line. False if it has to wait for room in the bounce area.
    #[inline]
    fn freeze_task(&mut self, index: u16, target: &mut Target<'_>) -> bool {
        let task = &self.tasks[index];
        if task.aborted {
            self.tasks.pop(Line::Ready);
            if !self.tasks[index].awaits_data() {
                self.release(index);
            }
            return true;
        }
        match task.work {
            Work::Read { at } if task.is_good() && task.total > 0 => {
                self.freeze_read(index, at, target)
            }
            Work::Reply if task.is_good() => self.freeze_reply(index, target),
            _ => {
                self.freeze_status(index, target);
                true
            }
        }
    }

    /// Freezes the next Data-In of a read.
    #[inline]
    fn freeze_read(&mut self, index: u16, at: u64, target: &mut Target<'_>) -> bool {
        let task = &self.tasks[index];
        let Some(unit) = task.unit else { return true };
        let (left, sequence) = (task.total - task.done, task.sequence);
        let from = at + u64::from(task.done);
        let Some(device) = target.units.get_mut(usize::from(unit)) else { return true };
        // A digest must be that of the bytes that are sent, and what may be asked for again must not change.
        let digests = self.core.ring.data_digest == DigestKind::Crc32c;
        let must_stay = digests || self.core.level_1;
        let lends =
            device.disk().lend(from, 1).is_some() && (!must_stay || device.disk().is_constant());
        let mut run = None;
        let most = if lends { u32::MAX } else { COPY as u32 };
        let len = self.cut_read(left, sequence, most, target);
        let mut crc = Crc32c::new();
        let Some(device) = target.units.get_mut(usize::from(unit)) else { return true };
        if !lends {
            let Some(pages) = self.core.bounce_pages.take(len as usize) else { return false };
            let area = self.core.bounce.get_mut(pages.at()..pages.at() + len as usize);
            if let Err(error) = device.disk_mut().read(from, area.unwrap_or_default()) {
                self.core.bounce_pages.give(pages);
                self.fail_task(index, error.into());
                return true;
            }
            run = Some(pages);
        } else if digests {
            crc = self.core.summed.sum(device, from, len as usize);
        }
        let body = match run {
            Some(pages) => Body::Area { at: pages.at(), len: len as usize, pages: Some(pages) },
            None => Body::Disk { unit, at: from, len: len as usize, crc },
        };
        self.freeze_data_in(index, len, body, target);
        true
    }

    /// The length of the next Data-In of a read: `left` bytes are to be sent, `sequence` bytes of the current sequence were.
    fn cut_read(&self, left: u32, sequence: u32, most: u32, target: &Target<'_>) -> u32 {
        let burst_left = self.core.negotiated.max_burst_length - sequence;
        let max_send = match target.quirks.data_in_length {
            Some(limit) => limit.clamp(4, self.core.max_send),
            None => self.core.max_send,
        };
        let len = left.min(burst_left).min(max_send).min(most);
        // All but the last PDU of a sequence are whole words (RFC 7143 section 11.7.7).
        if len < left.min(burst_left) { len & !3 } else { len }
    }

    /// The length of the next Data-In when nothing is lent.
    pub(super) fn cut(&self, work: Work, left: u32, sequence: u32, target: &Target<'_>) -> u32 {
        match work {
            Work::Reply => left.min(self.cut_reply()),
            _ => self.cut_read(left, sequence, COPY as u32, target),
        }
    }

    fn cut_reply(&self) -> u32 {
        self.core.max_send.min(self.core.negotiated.max_burst_length) & !3
    }

    /// Makes the data of a command that tells something, and freezes the one Data-In that they fit into.
    fn freeze_reply(&mut self, index: u16, target: &mut Target<'_>) -> bool {
        let Some(nexus) = self.core.nexus else { return true };
        if self.core.ring.free() < REPLY_PDUS {
            return false;
        }
        let Some(run) = self.core.bounce_pages.take(PAGE) else { return false };
        let task = &self.tasks[index];
        let area = self.core.bounce.get_mut(run.at()..run.at() + PAGE).unwrap_or_default();
        area.fill(0);
        match target.reply(nexus, task.unit, &task.cdb, area) {
            Ok(len) => {
                let task = &mut self.tasks[index];
                task.length = len as u64;
                task.total = task.total.min(len as u32);
                if task.total == 0 {
                    self.core.bounce_pages.give(run);
                    task.work = Work::Status;
                } else {
                    self.freeze_page(index, run, target);
                }
            }
            Err(ending) => {
                self.core.bounce_pages.give(run);
                self.fail_task(index, ending);
            }
        }
        true
    }

    /// Freezes everything in a page: one Data-In, or several for an initiator that takes little at once.
    fn freeze_page(&mut self, index: u16, run: Run, target: &Target<'_>) {
        let (total, mut done) = (self.tasks[index].total, 0);
        let most = self.cut_reply();
        while done < total {
            let len = (total - done).min(most);
            let at = run.at() + done as usize;
            done += len;
            let pages = (done == total).then_some(run);
            self.freeze_data_in(index, len, Body::Area { at, len: len as usize, pages }, target);
        }
    }

    /// Freezes a Data-In of `len` bytes; with the status, if it is the last one and the status fits.
    #[inline]
    fn freeze_data_in(&mut self, index: u16, len: u32, body: Body<'_>, target: &Target<'_>) {
        let task = &mut self.tasks[index];
        if task.data_sn == 0 {
            task.origin = task.work;
        }
        let offset = task.done;
        task.done += len;
        task.sequence += len;
        let data_sn = DataSn(task.data_sn);
        task.data_sn = task.data_sn.wrapping_add(1);
        let is_last = task.done == task.total;
        let is_final = is_last || task.sequence == self.core.negotiated.max_burst_length;
        if is_final {
            task.sequence = 0;
        }
        let initiator_task_tag = task.itt;
        let collapse = is_last && !target.quirks.separate_status;
        let residual = task.residual();
        let acknowledge = self.ask_to_acknowledge(index, is_final && !is_last);
        let source = if collapse { self.source(index) } else { None };
        let status = collapse.then(|| {
            self.tasks.pop(Line::Ready);
            self.release(index);
            DataInStatus { status: ScsiStatus::Good, residual, stat_sn: self.take_stat_sn() }
        });
        let data_in = DataIn {
            is_final,
            acknowledge,
            status,
            data_segment_length: len,
            initiator_task_tag,
            exp_cmd_sn: self.core.exp_cmd_sn,
            max_cmd_sn: self.core.max_cmd_sn,
            data_sn,
            buffer_offset: offset,
        };
        let mut bhs = [0; BHS_LEN];
        data_in.emit(&mut bhs);
        if let Some(status) = &status {
            self.keep(status.stat_sn, &bhs, &[], source);
        }
        self.push(&bhs, body);
        if is_last && !collapse {
            self.tasks[index].work = Work::Status;
        }
    }

    /// Freezes the SCSI Response that ends a task.
    #[inline]
    fn freeze_status(&mut self, index: u16, target: &Target<'_>) {
        let task = &self.tasks[index];
        let mut sense = [0; INLINE];
        let mut len = 0;
        if let Some(data) = &task.ending.sense {
            let descriptor = task
                .unit
                .and_then(|unit| target.units.get(usize::from(unit)))
                .is_some_and(|unit| unit.descriptor_sense());
            let (head, body) = sense.split_at_mut(2);
            let size = match descriptor {
                true => data.emit_descriptor(body),
                false => data.emit_fixed(body),
            };
            let size = size.min(body.len());
            head.copy_from_slice(&(size as u16).to_be_bytes());
            len = 2 + size;
        }
        let completion = Completion {
            status: task.ending.status,
            residual: task.residual(),
            exp_data_sn: DataSn(task.data_sn),
            ..Completion::GOOD
        };
        let initiator_task_tag = task.itt;
        let source = self.source(index);
        self.tasks.pop(Line::Ready);
        self.release(index);
        let stat_sn = self.take_stat_sn();
        let response = ScsiResponse {
            response: ScsiResponseCode::CompletedAtTarget(completion),
            data_segment_length: len as u32,
            initiator_task_tag,
            snack_tag: None,
            stat_sn,
            exp_cmd_sn: self.core.exp_cmd_sn,
            max_cmd_sn: self.core.max_cmd_sn,
        };
        let mut bhs = [0; BHS_LEN];
        response.emit(&mut bhs);
        let body = match len {
            0 => Body::None,
            _ => Body::Inline(sense.get(..len).unwrap_or_default()),
        };
        self.keep(stat_sn, &bhs, sense.get(..len).unwrap_or_default(), source);
        self.push(&bhs, body);
    }
}
