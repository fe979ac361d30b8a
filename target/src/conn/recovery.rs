//! Recovery within the connection: ErrorRecoveryLevel 1 (RFC 7143 sections 7.8, 7.9 and 11.16).
//!
//! **Statuses** are kept as they were sent until ExpStatSN acknowledges them: header and sense, and for a read what its data can be made of
//! again. There is room for a whole window of them; beyond that the oldest is forgotten, and a SNACK for it is rejected. The data of a ping and
//! text are not kept, because they may be large; a SNACK for them is rejected, too.
//!
//! **Data-In** are not kept but read again from the disk, while the status of their task is not acknowledged. So they are what the disk holds
//! now: bytes that a write changed in between differ from those sent first. For the initiator the read is not done before it has all
//! data, so such a write runs at the same time as the read, whose data may then be old or new in any block. What can be told only once, the
//! answer to REQUEST SENSE, is not told again. Every read is cut into PDUs in the same way at this level: from the disk's memory nothing is
//! lent.
//!
//! **Data-Out** that arrive damaged are rejected, and asked for again with an R2T once their burst is over. A command whose immediate data arrive
//! damaged stays, because its header was good; an initiator that sends it again is taken for one that retries.

use heapless::Vec;
use iscsi_core::wire::{
    BHS_LEN, Bhs, DataIn, DataOut, InitiatorPdu, Opcode, RejectReason, SnackKind, SnackRequest,
    TransferTag,
};
use iscsi_core::{DataSn, InitiatorTaskTag, Instant, Lun, StatSn, TargetTransferTag};

use super::TargetConnection;
use super::command::damaged_data;
use super::pages::PAGE;
use super::ring::{Body, INLINE};
use super::task::{Lost, Task, Work};
use crate::target::Target;

/// Statuses that are kept.
pub(super) const KEPT: usize = 136;

/// SNACKs that may wait to be served; beyond that no input is taken.
pub(super) const AGAIN: usize = 40;

/// How often a range of Data-Out is asked for before its task fails.
const TRIES: u8 = 4;

/// REQUEST SENSE: its answer is gone once it was told.
const REQUEST_SENSE: u8 = 0x03;

/// A status that may have to be sent again.
#[derive(Debug, Clone)]
pub(super) struct Kept {
    stat_sn: StatSn,
    bhs: Bhs,
    inline: [u8; INLINE],
    inline_len: u8,
    /// Of a task with Data-In.
    source: Option<Source>,
}

/// Where the Data-In of a task come from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Source {
    itt: InitiatorTaskTag,
    lun: Lun,
    unit: Option<u16>,
    work: Work,
    cdb: [u8; 16],
    total: u32,
    /// Data-In sent, and how many of them were acknowledged.
    sent: u32,
    acknowledged: u32,
    tag: TargetTransferTag,
}

/// What is to be sent again.
#[derive(Debug, Clone, Copy)]
pub(super) enum Again {
    Data { itt: InitiatorTaskTag, next: u32, end: u32 },
    R2t { itt: InitiatorTaskTag, next: u32, end: u32 },
    Status { next: StatSn, end: StatSn },
}

/// One Data-In of a task.
#[derive(Debug, Clone, Copy)]
struct Piece {
    at: u32,
    len: u32,
    is_final: bool,
    is_last: bool,
}

/// Keeping.
impl TargetConnection {
    /// Keeps a status that is sent now.
    pub(super) fn keep(&mut self, stat_sn: StatSn, bhs: &Bhs, data: &[u8], source: Option<Source>) {
        if !self.core.level_1 {
            return;
        }
        let mut inline = [0; INLINE];
        let Some(place) = inline.get_mut(..data.len()) else { return };
        place.copy_from_slice(data);
        if self.core.kept.is_full() {
            self.core.kept.pop_front();
        }
        let inline_len = data.len() as u8;
        let kept = Kept { stat_sn, bhs: *bhs, inline, inline_len, source };
        let _ = self.core.kept.push_back(kept);
    }

    /// Forgets what the initiator has received.
    pub(super) fn acknowledge(&mut self, exp_stat_sn: StatSn) {
        if self.core.stat_sn.lt(exp_stat_sn) {
            return;
        }
        while self.core.kept.front().is_some_and(|kept| kept.stat_sn.lt(exp_stat_sn)) {
            self.core.kept.pop_front();
        }
    }

    /// What the Data-In of a task are made of, if it has sent some.
    pub(super) fn source(&self, index: u16) -> Option<Source> {
        let task = &self.tasks[index];
        (self.core.level_1 && task.data_sn > 0).then(|| Source {
            itt: task.itt,
            lun: task.lun,
            unit: task.unit,
            work: task.origin,
            cdb: task.cdb,
            total: task.total,
            sent: task.data_sn,
            acknowledged: task.acknowledged,
            tag: self.tasks.tag(index),
        })
    }

    fn find_source(&self, itt: InitiatorTaskTag) -> Option<Source> {
        if let Some(index) = self.tasks.find(itt) {
            return self.source(index).filter(|_| !self.tasks[index].aborted);
        }
        let mut kept = self.core.kept.iter().rev().filter_map(|kept| kept.source);
        kept.find(|source| source.itt == itt)
    }

    /// The request for an acknowledgement that goes with the end of a sequence (RFC 7143 section 11.7.2).
    pub(super) fn ask_to_acknowledge(
        &self,
        index: u16,
        ends_sequence: bool,
    ) -> Option<TransferTag> {
        (self.core.level_1 && ends_sequence).then(|| TransferTag {
            lun: self.tasks[index].lun,
            target_transfer_tag: self.tasks.tag(index),
        })
    }
}

/// SNACKs.
impl TargetConnection {
    pub(super) fn snack(&mut self, snack: &SnackRequest, target: &mut Target<'_>, now: Instant) {
        let again = match snack.kind {
            _ if !self.core.level_1 => match snack.kind {
                // Acknowledges what error recovery level 0 has forgotten long ago.
                SnackKind::DataAck { .. } => Err(RejectReason::InvalidDataAck),
                _ => Err(RejectReason::SnackReject),
            },
            SnackKind::Data { initiator_task_tag: itt, beg_run, run_length } => {
                self.missing_of_task(itt, beg_run, run_length)
            }
            SnackKind::Status { beg_run, run_length } => self.missing_statuses(beg_run, run_length),
            SnackKind::DataAck { transfer, beg_run } => {
                match self.acknowledge_data(transfer.target_transfer_tag, beg_run) {
                    true => return,
                    false => Err(RejectReason::InvalidDataAck),
                }
            }
            // Segments do not change their size during a connection.
            SnackKind::ResegmentedData { .. } => Err(RejectReason::SnackReject),
        };
        match again {
            // A SNACK is only taken while there is room.
            Ok(again) => self.core.again.push_back(again).unwrap_or_default(),
            Err(reason) => self.reject(reason, target, now),
        }
    }

    /// Data-In or R2Ts. What was not sent or was acknowledged must not be asked for (RFC 7143 section 11.16).
    fn missing_of_task(
        &self,
        itt: InitiatorTaskTag,
        first: u32,
        count: u32,
    ) -> Result<Again, RejectReason> {
        if let Some(index) = self.tasks.find(itt)
            && self.tasks[index].r2t_sn > 0
        {
            let task = &self.tasks[index];
            let end = end_of_run(first, count, task.r2t_sn)?;
            // All of them must be outstanding; "all from 0" means those that are.
            let open = |sn: u32| task.bursts.iter().any(|burst| burst.r2t_sn == sn);
            if count > 0 && !(first..end).all(open) {
                return Err(RejectReason::ProtocolError);
            }
            return Ok(Again::R2t { itt, next: first, end });
        }
        let source = self.find_source(itt).ok_or(RejectReason::ProtocolError)?;
        if source.work == Work::Reply && source.cdb[0] == REQUEST_SENSE {
            return Err(RejectReason::SnackReject);
        }
        let first = if count == 0 { first.max(source.acknowledged) } else { first };
        if first < source.acknowledged {
            return Err(RejectReason::ProtocolError);
        }
        Ok(Again::Data { itt, next: first, end: end_of_run(first, count, source.sent)? })
    }

    fn missing_statuses(&self, first: StatSn, count: u32) -> Result<Again, RejectReason> {
        let all = first == StatSn(0) && count == 0;
        let oldest = self.core.kept.front().map_or(self.core.stat_sn, |kept| kept.stat_sn);
        let first = if all { oldest } else { first };
        let end = if count == 0 { self.core.stat_sn } else { first.plus(count) };
        if self.core.stat_sn.lt(end) || !first.lt(end) || first.lt(oldest) {
            return Err(RejectReason::ProtocolError);
        }
        let mut next = first;
        while next != end {
            if !self.core.kept.iter().any(|kept| kept.stat_sn == next) {
                return Err(RejectReason::SnackReject);
            }
            next = next.next();
        }
        Ok(Again::Status { next: first, end })
    }

    /// All Data-In before `next` have arrived. False if that cannot be.
    fn acknowledge_data(&mut self, tag: TargetTransferTag, next: DataSn) -> bool {
        if let Some(index) = self.tasks.find_tag(tag) {
            let task = &mut self.tasks[index];
            let known = next.0 <= task.data_sn;
            if known {
                task.acknowledged = task.acknowledged.max(next.0);
            }
            return known;
        }
        let mut sources = self.core.kept.iter_mut().filter_map(|kept| kept.source.as_mut());
        match sources.find(|source| source.tag == tag && next.0 <= source.sent) {
            Some(source) => {
                source.acknowledged = source.acknowledged.max(next.0);
                true
            }
            None => false,
        }
    }

    /// Sends the next PDU again that was asked for. False if it has to wait for room.
    pub(super) fn freeze_again(&mut self, target: &mut Target<'_>) -> bool {
        let Some(again) = self.core.again.front().copied() else { return false };
        let sent = match again {
            Again::Data { itt, next, end } if next < end => {
                self.freeze_data_again(itt, next, target)
            }
            Again::R2t { itt, next, end } if next < end => {
                self.freeze_r2t_again(itt, next);
                true
            }
            Again::Status { next, end } if next != end => self.freeze_status_again(next, target),
            _ => {
                self.core.again.pop_front();
                return true;
            }
        };
        if sent && let Some(again) = self.core.again.front_mut() {
            match again {
                Again::Data { next, .. } | Again::R2t { next, .. } => *next += 1,
                Again::Status { next, .. } => *next = next.next(),
            }
        }
        sent
    }

    fn freeze_data_again(
        &mut self,
        itt: InitiatorTaskTag,
        data_sn: u32,
        target: &mut Target<'_>,
    ) -> bool {
        // It may have been aborted or acknowledged since.
        let Some(source) = self.find_source(itt) else { return true };
        let Some(piece) = self.piece(&source, data_sn, target) else { return true };
        let with_status = self.core.kept.iter().rev().find(|kept| {
            Opcode::of(&kept.bhs) == Some(Opcode::DataIn)
                && kept.source.is_some_and(|kept| kept.itt == itt)
        });
        if piece.is_last
            && let Some(stat_sn) = with_status.map(|kept| kept.stat_sn)
        {
            return self.freeze_status_again(stat_sn, target);
        }
        let acknowledge = piece.is_final && !piece.is_last;
        let data_in = DataIn {
            is_final: piece.is_final,
            acknowledge: acknowledge
                .then_some(TransferTag { lun: source.lun, target_transfer_tag: source.tag }),
            status: None,
            data_segment_length: piece.len,
            initiator_task_tag: itt,
            exp_cmd_sn: self.core.exp_cmd_sn,
            max_cmd_sn: self.core.max_cmd_sn,
            data_sn: DataSn(data_sn),
            buffer_offset: piece.at,
        };
        let mut bhs = [0; BHS_LEN];
        data_in.emit(&mut bhs);
        self.push_data(&bhs, &source, piece.at, piece.len, target)
    }

    /// Pushes a Data-In with `len` bytes from `at` on, made again.
    fn push_data(
        &mut self,
        bhs: &Bhs,
        source: &Source,
        at: u32,
        len: u32,
        target: &mut Target<'_>,
    ) -> bool {
        let Some(nexus) = self.core.nexus else { return true };
        let room = if source.work == Work::Reply { PAGE } else { len as usize };
        let Some(run) = self.core.bounce_pages.take(room) else { return false };
        let area = self.core.bounce.get_mut(run.at()..run.at() + room).unwrap_or_default();
        let mut from = run.at();
        let made = match source.work {
            Work::Read { at: disk } => {
                let unit = source.unit.and_then(|unit| target.units.get_mut(usize::from(unit)));
                unit.is_some_and(|unit| unit.disk_mut().read(disk + u64::from(at), area).is_ok())
            }
            Work::Reply => {
                area.fill(0);
                from += at as usize;
                target.reply(nexus, source.unit, &source.cdb, area).is_ok()
            }
            _ => false,
        };
        if made {
            self.push(bhs, Body::Area { at: from, len: len as usize, pages: Some(run) });
        } else {
            // The initiator waits for it in vain, and drops the connection.
            self.core.bounce_pages.give(run);
        }
        true
    }

    fn freeze_status_again(&mut self, stat_sn: StatSn, target: &mut Target<'_>) -> bool {
        let Some(kept) = self.core.kept.iter().find(|kept| kept.stat_sn == stat_sn) else {
            return true;
        };
        let mut bhs = kept.bhs;
        // The same PDU, with the counters of now (RFC 7143 section 11.16).
        bhs[28..32].copy_from_slice(&self.core.exp_cmd_sn.0.to_be_bytes());
        bhs[32..36].copy_from_slice(&self.core.max_cmd_sn.0.to_be_bytes());
        if Opcode::of(&bhs) == Some(Opcode::DataIn) {
            let (Some(source), Ok(data_in)) = (kept.source, DataIn::parse(&bhs)) else {
                return true;
            };
            let (at, len) = (data_in.buffer_offset, data_in.data_segment_length);
            return self.push_data(&bhs, &source, at, len, target);
        }
        let (inline, len) = (kept.inline, usize::from(kept.inline_len));
        let data = inline.get(..len).unwrap_or_default();
        self.push(&bhs, if len == 0 { Body::None } else { Body::Inline(data) });
        true
    }

    fn freeze_r2t_again(&mut self, itt: InitiatorTaskTag, r2t_sn: u32) {
        let Some(index) = self.tasks.find(itt) else { return };
        let burst = self.tasks[index].bursts.iter().find(|burst| burst.r2t_sn == r2t_sn).copied();
        if let Some(burst) = burst {
            self.push_r2t(index, &burst);
        }
    }

    /// The Data-In with this number.
    fn piece(&self, source: &Source, data_sn: u32, target: &Target<'_>) -> Option<Piece> {
        let (mut at, mut sequence) = (0, 0);
        for number in 0..=data_sn {
            let len = self.cut(source.work, source.total - at, sequence, target);
            sequence += len;
            let is_last = at + len == source.total;
            let is_final = is_last || sequence == self.core.negotiated.max_burst_length;
            if number == data_sn {
                return (len > 0).then_some(Piece { at, len, is_final, is_last });
            }
            if is_final {
                sequence = 0;
            }
            at += len;
        }
        None
    }
}

/// Data-Out.
impl TargetConnection {
    /// Data-Out of a task arrived damaged: they are asked for again, unless nobody wants them.
    pub(super) fn data_out_lost(&mut self, pdu: &InitiatorPdu, index: u16) {
        let (at, len, tries) = match pdu {
            InitiatorPdu::ScsiCommand(command) => (0, command.data_segment_length, 0),
            InitiatorPdu::DataOut(data_out) => {
                let DataOut { buffer_offset, data_segment_length, .. } = *data_out;
                let tries = self.tasks[index].burst(data_out).map_or(0, |burst| burst.tries);
                (buffer_offset, data_segment_length, tries)
            }
            _ => return,
        };
        let task = &mut self.tasks[index];
        let end = at.saturating_add(len).min(task.total);
        let wanted = task.is_good() && !task.aborted && task.work.is_data_out();
        if !wanted || at >= end {
            return;
        }
        if tries >= TRIES || !note(&mut task.lost, Lost { at, end, tries: tries + 1 }) {
            self.fail_task(index, damaged_data());
        }
    }
}

/// Adds a range; one that follows another is joined with it. False if there is no room.
fn note<const N: usize>(lost: &mut Vec<Lost, N>, new: Lost) -> bool {
    match lost.last_mut() {
        Some(last) if last.end == new.at && last.tries == new.tries => {
            last.end = new.end;
            true
        }
        _ => lost.push(new).is_ok(),
    }
}

/// The end of a run that begins with `first`, of `count` numbers or of all that were sent.
fn end_of_run(first: u32, count: u32, sent: u32) -> Result<u32, RejectReason> {
    let end = if count == 0 { Some(sent) } else { first.checked_add(count) };
    end.filter(|end| first < *end && *end <= sent).ok_or(RejectReason::ProtocolError)
}

impl Task {
    /// There is something to ask for.
    pub(super) fn asks(&self) -> bool {
        self.r2t_at < self.r2t_end || !self.lost.is_empty()
    }
}
