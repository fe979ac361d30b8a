//! Receiving: framing, digests, and where each byte goes.
//!
//! One machine with three phases (header, data segment, trailer). It always knows the one place where the next bytes belong
//! ([`Connection::recv_space`]) and is told how many were put there ([`Connection::received`]); taking bytes from a scratch
//! ([`Connection::receive`]) is a loop over the two.

use super::plan::RecvPlan;
use super::{Connection, ConnectionState, Direction, RECEIVE_AREA};
use crate::Instant;
use crate::buffers::Buffers;
use crate::digest::{Crc32c, to_wire};
use crate::error::{LostReason, ProtocolError};
use crate::session::{Session, TaskId};
use crate::wire::{self, BHS_LEN, Bhs, TargetPdu};

const DIGEST: usize = 4;

/// Staging for sense data, asynchronous messages and rejected headers: what is longer is cut.
pub(super) const STAGE: usize = 2 + 252 + 2;

/// The data segment a peer may send before anything was declared (RFC 7143 section 13.12).
const DEFAULT_SEGMENT: u32 = 8192;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Header,
    /// A whole header that must wait until the application has taken an event.
    Held,
    Data,
    Trailer,
}

/// Where the data segment of the current PDU goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// To a task's memory, from this offset; to nowhere once the task has ended.
    Task {
        task: TaskId,
        at: u32,
    },
    /// To the receive part of the control area, from this offset.
    Control {
        at: u16,
    },
    /// To the staging area.
    Stage,
    Nowhere,
}

/// What is known of the PDU that is being received.
#[derive(Debug)]
pub(super) struct Rx {
    phase: Phase,
    /// Bytes of the header or trailer that are there.
    got: u8,
    trailer_len: u8,
    pub(super) header_digest: bool,
    pub(super) data_digest: bool,
    pub(super) max_segment: u32,
    header: [u8; BHS_LEN + DIGEST],
    trailer: [u8; 3 + DIGEST],
    place: Place,
    segment: u32,
    at: u32,
    crc: Crc32c,
    /// The data segment is consumed where it arrives, or the last one was.
    consumed: bool,
    pdu: Option<TargetPdu>,
    pub(super) stage: [u8; STAGE],
    /// Takes what goes nowhere.
    sink: [u8; 64],
}

impl Rx {
    pub(super) const fn new() -> Self {
        Self {
            phase: Phase::Header,
            got: 0,
            trailer_len: 0,
            header_digest: false,
            data_digest: false,
            max_segment: DEFAULT_SEGMENT,
            header: [0; BHS_LEN + DIGEST],
            trailer: [0; 3 + DIGEST],
            place: Place::Nowhere,
            segment: 0,
            at: 0,
            crc: Crc32c::new(),
            consumed: false,
            pdu: None,
            stage: [0; STAGE],
            sink: [0; 64],
        }
    }

    /// The next byte is that of a header.
    const fn end_pdu(&mut self) {
        self.phase = Phase::Header;
        self.got = 0;
        self.place = Place::Nowhere;
    }

    const fn header_len(&self) -> usize {
        if self.header_digest { BHS_LEN + DIGEST } else { BHS_LEN }
    }

    /// Bytes of the header, data segment or trailer that are still to come.
    const fn left(&self) -> usize {
        match self.phase {
            Phase::Held => 0,
            Phase::Header => self.header_len().saturating_sub(self.got as usize),
            Phase::Data => (self.segment - self.at) as usize,
            Phase::Trailer => self.trailer_len.saturating_sub(self.got) as usize,
        }
    }

    pub(super) const fn is_held(&self) -> bool {
        matches!(self.phase, Phase::Held)
    }

    /// In the middle of a PDU.
    const fn is_busy(&self) -> bool {
        !(matches!(self.phase, Phase::Header) && self.got == 0)
    }

    pub(super) fn bhs(&self) -> &Bhs {
        self.header.first_chunk().unwrap_or(&[0; BHS_LEN])
    }
}

impl Connection {
    /// Takes bytes that arrived, at most as far as `budget` PDUs go. Returns how many bytes were used: fewer than given when
    /// the budget is spent, when an event has to be taken first, or when the connection is closed.
    ///
    /// A broken rule closes the connection; the session's events tell.
    pub fn receive(
        &mut self,
        input: &[u8],
        budget: &mut usize,
        session: &mut Session,
        buffers: &mut (impl Buffers + ?Sized),
        now: Instant,
    ) -> usize {
        self.go_on(session, now);
        let mut used = 0;
        while *budget > 0 && used < input.len() {
            let rest = &input[used..];
            let consumed = self.consume(rest, session, buffers);
            let n = consumed.unwrap_or_else(|| self.place(rest, session, buffers));
            if n == 0 {
                if !self.close_if_abandoned(session) && !self.is_paused() {
                    self.fail(LostReason::NoBuffer, session, now);
                }
                break;
            }
            used += n;
            let before = self.core.counters.pdus_received;
            match consumed {
                Some(_) => self.count(n, session, buffers, now),
                None => self.received(n, session, buffers, now),
            }
            if self.core.counters.pdus_received != before {
                *budget -= 1;
            }
        }
        used
    }

    /// Hands bytes that arrived to a task that consumes them. Returns how many; `None` if they are to be put somewhere.
    #[inline]
    fn consume(
        &mut self,
        input: &[u8],
        session: &Session,
        buffers: &mut (impl Buffers + ?Sized),
    ) -> Option<usize> {
        let RecvPlan::Task { task, offset, len } = self.recv_plan(session) else { return None };
        if !buffers.consumes(task) {
            return None;
        }
        let run = &input[..input.len().min(len as usize)];
        buffers.consume(task, offset, run);
        let rx = &mut self.core.rx;
        rx.consumed = true;
        if rx.data_digest {
            rx.crc.update(run);
        }
        Some(run.len())
    }

    /// Puts bytes that arrived where they belong. Returns how many.
    #[inline]
    fn place(
        &mut self,
        input: &[u8],
        session: &Session,
        buffers: &mut (impl Buffers + ?Sized),
    ) -> usize {
        let space = self.recv_space(session, buffers);
        let n = space.len().min(input.len());
        space[..n].copy_from_slice(&input[..n]);
        n
    }

    /// Where the next bytes from the target belong: one contiguous run, empty if input has to wait or the connection is closed.
    pub fn recv_space<'a>(
        &'a mut self,
        session: &Session,
        buffers: &'a mut (impl Buffers + ?Sized),
    ) -> &'a mut [u8] {
        match self.recv_plan(session) {
            RecvPlan::Nothing => &mut [],
            RecvPlan::Own { len } => self.own_space(len as usize),
            RecvPlan::Task { task, offset, len } => {
                let run = buffers.data_in(task, offset, len);
                let len = run.len().min(len as usize);
                &mut run[..len]
            }
            RecvPlan::Discard { len } => {
                let sink = &mut self.core.rx.sink;
                let len = sink.len().min(len as usize);
                &mut sink[..len]
            }
        }
    }

    /// The same as plain data, see [`RecvPlan`].
    #[inline]
    pub fn recv_plan(&self, session: &Session) -> RecvPlan {
        if self.core.state == ConnectionState::Closed || session.is_disconnected() {
            return RecvPlan::Nothing;
        }
        let rx = &self.core.rx;
        let own = |len: usize| RecvPlan::Own { len: len as u32 };
        match rx.phase {
            Phase::Held => RecvPlan::Nothing,
            Phase::Header | Phase::Trailer => own(rx.left()),
            Phase::Data => {
                let left = rx.segment - rx.at;
                match rx.place {
                    Place::Task { task, at } if session.is_lent(task) => {
                        RecvPlan::Task { task, offset: at + rx.at, len: left }
                    }
                    Place::Control { .. } => own(left as usize),
                    Place::Stage if (rx.at as usize) < STAGE => {
                        own((STAGE - rx.at as usize).min(left as usize))
                    }
                    // What nobody wants has to be seen for the digest all the same.
                    _ if rx.data_digest => own(rx.sink.len().min(left as usize)),
                    Place::Task { .. } | Place::Stage | Place::Nowhere => {
                        RecvPlan::Discard { len: left }
                    }
                }
            }
        }
    }

    /// Where the next bytes go that are the connection's own.
    fn own_space(&mut self, len: usize) -> &mut [u8] {
        let rx = &mut self.core.rx;
        let at = rx.at as usize;
        let (place, from) = match (rx.phase, rx.place) {
            (Phase::Header | Phase::Held, _) => (&mut rx.header[..], usize::from(rx.got)),
            (Phase::Trailer, _) => (&mut rx.trailer[..], usize::from(rx.got)),
            (Phase::Data, Place::Control { at: start }) => {
                (&mut self.control, usize::from(start) + at)
            }
            (Phase::Data, Place::Stage) if at < STAGE => (&mut rx.stage[..], at),
            (Phase::Data, _) => (&mut rx.sink[..], 0),
        };
        place.get_mut(from..from + len).unwrap_or_default()
    }

    /// Whether a task's data segment of at least `threshold` bytes is being received: what remains of it is better read straight into
    /// [`recv_space`](Self::recv_space) than copied out of a scratch, unless the task [consumes](Buffers::consumes) it.
    #[inline]
    pub fn is_receiving(&self, threshold: usize, session: &Session) -> bool {
        self.receiving(threshold, session).is_some()
    }

    /// The task whose data segment of at least `threshold` bytes is being received.
    #[inline]
    pub(crate) fn receiving(&self, threshold: usize, session: &Session) -> Option<TaskId> {
        let rx = &self.core.rx;
        match (rx.phase, rx.place) {
            (Phase::Data, Place::Task { task, .. }) => {
                (rx.segment as usize >= threshold && session.is_lent(task)).then_some(task)
            }
            _ => None,
        }
    }

    /// Bytes of Data-In that the commands under way have asked for and that have not come
    /// ([`Session::data_in_due`], without what has come of the PDU that is being received). The target sends them without being asked for more: a loop may sleep
    /// until some of them are there (`SO_RCVLOWAT` of socket(7)), if it wakes after a while all the same. Commands may end early, and targets may
    /// be slow or wait for an answer.
    pub fn data_in_due(&self, session: &Session) -> u64 {
        let rx = &self.core.rx;
        let come = match (rx.phase, rx.place) {
            (Phase::Data, Place::Task { .. }) => rx.at,
            _ => 0,
        };
        session.data_in_due().saturating_sub(come.into())
    }

    /// Whether the next bytes are those of a header, and the data segment before it had at least `threshold` bytes and was read straight into its place: what
    /// follows is probably as long, and only its header should be read into a scratch.
    #[inline]
    pub(crate) const fn is_behind(&self, threshold: usize) -> bool {
        let rx = &self.core.rx;
        matches!(rx.phase, Phase::Header) && rx.segment as usize >= threshold && !rx.consumed
    }

    /// `n` bytes were put where [`recv_space`](Self::recv_space) or [`recv_plan`](Self::recv_plan) said. More than they had room for count as
    /// that.
    pub fn received(
        &mut self,
        n: usize,
        session: &mut Session,
        buffers: &mut (impl Buffers + ?Sized),
        now: Instant,
    ) {
        let rx = &mut self.core.rx;
        // A task that ends in the middle of a segment consumes no more of it.
        rx.consumed &= rx.phase != Phase::Data;
        self.count(n, session, buffers, now);
    }

    fn count(
        &mut self,
        n: usize,
        session: &mut Session,
        buffers: &mut (impl Buffers + ?Sized),
        now: Instant,
    ) {
        if self.close_if_abandoned(session) {
            return;
        }
        let n = n.min(self.core.rx.left());
        if n == 0 {
            return;
        }
        self.core.counters.bytes_received += n as u64;
        let was_busy = self.core.rx.is_busy();
        if let Err(error) = self.step(n, session, buffers, now) {
            self.fail(error, session, now);
            return;
        }
        self.watch_progress(was_busy, session, now);
    }

    fn step(
        &mut self,
        n: usize,
        session: &mut Session,
        buffers: &mut (impl Buffers + ?Sized),
        now: Instant,
    ) -> Result<(), LostReason> {
        let rx = &mut self.core.rx;
        match rx.phase {
            Phase::Held => Ok(()),
            Phase::Header => {
                rx.got = rx.got.saturating_add(n as u8);
                if usize::from(rx.got) < rx.header_len() {
                    return Ok(());
                }
                self.header_complete(session, now)
            }
            Phase::Data => {
                if rx.data_digest && !rx.consumed {
                    self.digest_run(n, session, buffers);
                }
                let rx = &mut self.core.rx;
                rx.at += n as u32;
                if rx.at < rx.segment {
                    return Ok(());
                }
                rx.got = 0;
                if rx.trailer_len > 0 {
                    rx.phase = Phase::Trailer;
                    return Ok(());
                }
                self.pdu_complete(session, now)
            }
            Phase::Trailer => {
                rx.got += n as u8;
                if rx.got < rx.trailer_len {
                    return Ok(());
                }
                if rx.data_digest {
                    let (padding, digest) = rx.trailer[..usize::from(rx.trailer_len)]
                        .split_at(usize::from(rx.trailer_len) - DIGEST);
                    rx.crc.update(padding);
                    if to_wire(rx.crc.clone().finish()) != digest {
                        rx.end_pdu();
                        return match rx.pdu.take() {
                            Some(pdu) => self.damaged(&pdu, session),
                            None => Ok(()),
                        };
                    }
                }
                self.pdu_complete(session, now)
            }
        }
    }

    /// Runs the digest over the `n` bytes that were just placed, while they are in the cache.
    fn digest_run(&mut self, n: usize, session: &Session, buffers: &mut (impl Buffers + ?Sized)) {
        let mut left = n;
        let at = self.core.rx.at;
        let mut crc = self.core.rx.crc.clone();
        while left > 0 {
            // recv_space shows the same run again: nothing has been counted yet.
            let run = self.recv_space(session, buffers);
            let len = run.len().min(left);
            if len == 0 {
                break;
            }
            crc.update(&run[..len]);
            left -= len;
            self.core.rx.at += len as u32;
        }
        self.core.rx.at = at;
        self.core.rx.crc = crc;
    }

    fn header_complete(&mut self, session: &mut Session, now: Instant) -> Result<(), LostReason> {
        let rx = &mut self.core.rx;
        if rx.header_digest {
            let mut crc = Crc32c::new();
            crc.update(rx.bhs());
            if to_wire(crc.finish()) != rx.header[BHS_LEN..] {
                return Err(LostReason::Protocol(ProtocolError::HeaderDigest));
            }
        }
        let pdu = TargetPdu::parse(rx.bhs()).map_err(|e| LostReason::Protocol(e.into()))?;
        let length = wire::data_segment_length(rx.bhs());
        if length > rx.max_segment {
            let max = rx.max_segment;
            return Err(LostReason::Protocol(ProtocolError::DataSegmentTooLong { length, max }));
        }
        rx.segment = length;
        rx.at = 0;
        rx.got = 0;
        rx.pdu = Some(pdu);
        self.traced(Direction::Received, &self.core.rx.header_bhs());
        self.begin_pdu(session, now)
    }

    /// Decides where the data segment goes, or that the PDU has to wait.
    fn begin_pdu(&mut self, session: &mut Session, now: Instant) -> Result<(), LostReason> {
        let Some(pdu) = self.core.rx.pdu else { return Ok(()) };
        let Some(place) = self.place_of(&pdu, session).map_err(LostReason::Protocol)? else {
            self.core.rx.phase = Phase::Held;
            return Ok(());
        };
        let rx = &mut self.core.rx;
        if rx.segment == 0 {
            return self.pdu_complete(session, now);
        }
        let padding = (rx.segment.wrapping_neg() & 3) as u8;
        rx.trailer_len = padding + if rx.data_digest { DIGEST as u8 } else { 0 };
        rx.place = place;
        rx.phase = Phase::Data;
        rx.crc = Crc32c::new();
        rx.consumed = false;
        Ok(())
    }

    /// What input had to wait for is gone: the next [`receive`](Self::receive) goes on.
    pub(super) const fn resume(&mut self) {
        self.core.resumed = self.core.rx.is_held();
    }

    /// Goes on with a PDU that had to wait, if what it waited for is gone. [`receive`](Self::receive) and the driver do it by themselves; a loop that only
    /// uses [`recv_space`](Self::recv_space) calls it when the space is empty.
    pub fn go_on(&mut self, session: &mut Session, now: Instant) {
        if !core::mem::take(&mut self.core.resumed) || self.core.state == ConnectionState::Closed {
            return;
        }
        if let Err(reason) = self.begin_pdu(session, now) {
            self.fail(reason, session, now);
            return;
        }
        self.watch_progress(false, session, now);
    }

    fn pdu_complete(&mut self, session: &mut Session, now: Instant) -> Result<(), LostReason> {
        self.core.rx.end_pdu();
        self.core.counters.pdus_received += 1;
        match self.core.rx.pdu.take() {
            Some(pdu) => self.process(&pdu, session, now),
            None => Ok(()),
        }
    }

    /// A PDU that started must go on; bytes that came put the keep-alive off.
    fn watch_progress(&mut self, was_busy: bool, session: &Session, now: Instant) {
        let core = &mut self.core;
        if !core.rx.is_busy() || core.rx.is_held() {
            core.timers.progress = None;
        } else if !was_busy || core.timers.progress.is_none() {
            let period = session.config().timeouts().progress;
            core.timers.progress = Some((now + period, core.counters.bytes_received));
        }
        self.heard(session, now);
    }

    /// The offset of text that is received now, checked against the room there is.
    pub(super) fn control_place(&self, at: usize, length: u32) -> Result<Place, ProtocolError> {
        match at.checked_add(length as usize) {
            Some(end) if end <= RECEIVE_AREA => Ok(Place::Control { at: at as u16 }),
            _ => Err(ProtocolError::TextTooLong),
        }
    }
}

impl Rx {
    fn header_bhs(&self) -> Bhs {
        *self.bhs()
    }
}
