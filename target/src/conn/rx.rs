//! Receiving: framing, digests, and where each byte goes.
//!
//! One machine with four phases (header, additional header segments, data segment, trailer). It always knows the one
//! place where the
//! next bytes belong ([`TargetConnection::recv_space`]) and is told how many were put there ([`TargetConnection::received`]);
//! [`TargetConnection::receive`] takes bytes from a scratch, from which they go straight to the disk.

use iscsi_core::digest::{Crc32c, DigestKind, to_wire};
use iscsi_core::wire::{
    self, BHS_LEN, Bhs, CommandAhs, FormatError, InitiatorPdu, PduLengths, RejectReason,
};
use iscsi_core::{Direction, Instant};

use super::pages::AREA;
use super::{EndReason, Ending, State, TargetConnection};
use crate::target::Target;

const DIGEST: usize = 4;

/// Additional header segments that are kept to be looked at. Longer ones are passed over.
const AHS: usize = 64;

/// Takes what goes nowhere, and data for a disk that does not lend.
const SINK: usize = 512;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Header,
    Ahs,
    HeaderDigest,
    /// A whole header that must wait until something was sent.
    Held,
    Data,
    Trailer,
}

/// Where a data segment goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Nowhere,
    Text { at: u32 },
    Bounce { at: u32 },
    Staging { at: u32 },
    Disk { unit: u16, at: u64 },
    Compare { unit: u16, at: u64, offset: u32 },
}

/// Where the data segment of a PDU goes: so many bytes to the place, the rest nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Placement {
    pub(super) place: Place,
    pub(super) room: u32,
    /// The task that fails if the place does.
    pub(super) task: Option<u16>,
}

impl Placement {
    pub(super) const NOWHERE: Self = Self { place: Place::Nowhere, room: 0, task: None };

    /// How many bytes behind the first `done` can be read straight into memory that a disk lends.
    #[inline]
    fn direct_len(&self, done: u32, target: &mut Target<'_>) -> usize {
        let Place::Disk { unit, at } = self.place else { return 0 };
        let unit = target.units.get_mut(usize::from(unit));
        match unit.and_then(|unit| unit.disk_mut().lend_mut(at + u64::from(done), 1)) {
            Some(_) => self.room.saturating_sub(done) as usize,
            None => 0,
        }
    }
}

/// What is known of the PDU that is being received.
#[derive(Debug)]
pub(super) struct Rx {
    phase: Phase,
    /// Bytes of the header, additional header segments, digest or trailer that are there.
    got: u16,
    trailer_len: u8,
    header_digest: DigestKind,
    data_digest: DigestKind,
    /// What was declared with MaxRecvDataSegmentLength.
    max_segment: u32,
    /// Nothing is of interest any more.
    discard: bool,
    header: Bhs,
    ahs: [u8; AHS],
    trailer: [u8; 3 + DIGEST],
    placement: Placement,
    /// Where the data segment of the PDU before went.
    before: Placement,
    segment: u32,
    at: u32,
    crc: Crc32c,
    pdu: Option<InitiatorPdu>,
    /// The data segment does not do, unless it turns out to be damaged.
    failed: Option<Ending>,
    sink: [u8; SINK],
}

impl Rx {
    pub(super) const fn new() -> Self {
        Self {
            phase: Phase::Header,
            got: 0,
            trailer_len: 0,
            header_digest: DigestKind::None,
            data_digest: DigestKind::None,
            max_segment: 8192,
            discard: false,
            header: [0; BHS_LEN],
            ahs: [0; AHS],
            trailer: [0; 3 + DIGEST],
            placement: Placement::NOWHERE,
            before: Placement::NOWHERE,
            segment: 0,
            at: 0,
            crc: Crc32c::new(),
            pdu: None,
            failed: None,
            sink: [0; SINK],
        }
    }

    /// The parameters of the full feature phase act from the next PDU on.
    pub(super) const fn set_negotiated(
        &mut self,
        header_digest: DigestKind,
        data_digest: DigestKind,
        max_segment: u32,
    ) {
        self.header_digest = header_digest;
        self.data_digest = data_digest;
        self.max_segment = max_segment;
    }

    /// The task ends: what still comes for it in this PDU reaches no disk. If the task `stays`, until the initiator has sent what it owes, the end of the PDU
    /// is still told to it.
    pub(super) fn divert(&mut self, index: u16, stays: bool) {
        if self.placement.task == Some(index) {
            let task = stays.then_some(index);
            self.placement = Placement { task, ..Placement::NOWHERE };
        }
    }

    pub(super) const fn discard_all(&mut self) {
        self.discard = true;
        self.placement = Placement::NOWHERE;
        if matches!(self.phase, Phase::Held) {
            self.phase = Phase::Header;
            self.got = 0;
        }
    }

    pub(super) const fn is_held(&self) -> bool {
        matches!(self.phase, Phase::Held)
    }

    pub(super) const fn bhs(&self) -> &Bhs {
        &self.header
    }

    fn ahs_len(&self) -> usize {
        wire::total_ahs_length(&self.header)
    }

    /// The control bytes that are missing: to be put into the returned place.
    fn space(&mut self) -> &mut [u8] {
        let got = usize::from(self.got);
        let ahs = self.ahs_len();
        match self.phase {
            Phase::Header => self.header.get_mut(got..),
            Phase::Ahs if got < AHS => self.ahs.get_mut(got..ahs.min(AHS)),
            Phase::Ahs => self.sink.get_mut(..(ahs - got).min(SINK)),
            Phase::HeaderDigest => self.trailer.get_mut(got..DIGEST),
            Phase::Trailer => self.trailer.get_mut(got..usize::from(self.trailer_len)),
            Phase::Held | Phase::Data => None,
        }
        .unwrap_or_default()
    }
}

impl TargetConnection {
    /// Takes bytes that arrived, at most as far as `budget` PDUs go. Returns how many bytes were used: fewer than given when
    /// the budget is spent, when something has to be sent first, or when the connection is closed.
    pub fn receive(
        &mut self,
        input: &[u8],
        budget: &mut usize,
        target: &mut Target<'_>,
        now: Instant,
    ) -> usize {
        self.sync(target);
        let mut used = 0;
        while *budget > 0 && self.core.state != State::Closed {
            let Some(rest) = input.get(used..).filter(|rest| !rest.is_empty()) else { break };
            if self.core.rx.discard {
                used = input.len();
                self.core.counters.bytes_received += rest.len() as u64;
                break;
            }
            let before = self.core.counters.pdus_received;
            let n = if self.core.rx.phase == Phase::Data {
                let left = (self.core.rx.segment - self.core.rx.at) as usize;
                let run = rest.get(..left).unwrap_or(rest);
                self.place(run, target);
                self.core.counters.bytes_received += run.len() as u64;
                self.data_received(run.len(), target, now);
                run.len()
            } else {
                let space = self.core.rx.space();
                let n = space.len().min(rest.len());
                if n == 0 {
                    break;
                }
                space[..n].copy_from_slice(&rest[..n]);
                self.core.counters.bytes_received += n as u64;
                self.control_received(n, target, now);
                n
            };
            used += n;
            if self.core.counters.pdus_received != before {
                *budget -= 1;
            }
        }
        if used > 0 {
            self.heard(now);
        }
        used
    }

    /// Where the next bytes from the initiator belong: one contiguous run, empty if input has to wait or the connection
    /// is closed.
    pub fn recv_space<'a>(&'a mut self, target: &'a mut Target<'_>) -> &'a mut [u8] {
        let core = &mut self.core;
        if core.state == State::Closed {
            return &mut [];
        }
        let rx = &mut core.rx;
        if rx.discard {
            return &mut rx.sink;
        }
        if rx.phase != Phase::Data {
            return rx.space();
        }
        let left = (rx.segment - rx.at) as usize;
        let room = (rx.placement.room as usize).saturating_sub(rx.at as usize);
        let area = |area: &'a mut [u8; AREA], at: u32| {
            let from = at as usize + rx.at as usize;
            area.get_mut(from..from + room).unwrap_or_default()
        };
        let place = match rx.placement.place {
            _ if room == 0 => &mut [],
            Place::Text { at } => {
                let from = at as usize + rx.at as usize;
                core.text_area.get_mut(from..from + room).unwrap_or_default()
            }
            Place::Bounce { at } => area(&mut core.bounce, at),
            Place::Staging { at } => area(&mut core.staging, at),
            Place::Disk { unit, at } => {
                let unit = target.units.get_mut(usize::from(unit));
                let lent =
                    unit.and_then(|unit| unit.disk_mut().lend_mut(at + u64::from(rx.at), room));
                lent.unwrap_or_default()
            }
            Place::Compare { .. } | Place::Nowhere => &mut [],
        };
        if place.is_empty() {
            // To be dropped, or to be passed on by `received`.
            let room = if room == 0 { left } else { room };
            let len = SINK.min(room);
            return &mut rx.sink[..len];
        }
        let len = place.len().min(left);
        &mut place[..len]
    }

    /// How many bytes of Data-Out are still to come that can be read straight into memory that the disk lends. Zero for
    /// everything
    /// else.
    #[inline]
    pub fn direct_len(&self, target: &mut Target<'_>) -> usize {
        let rx = &self.core.rx;
        match rx.phase {
            Phase::Data => rx.placement.direct_len(rx.at, target),
            _ => 0,
        }
    }

    /// How many bytes are still to come of a data segment of at least `threshold` bytes that better goes past a scratch; zero in front of a PDU that
    /// is probably like such a one before. `None` for everything else.
    #[inline]
    pub(crate) fn left_of_large(&self, threshold: usize, target: &mut Target<'_>) -> Option<usize> {
        let rx = &self.core.rx;
        let (placement, left) = match rx.phase {
            Phase::Header => (&rx.before, 0),
            Phase::Data => (&rx.placement, rx.segment - rx.at),
            Phase::Trailer => (&rx.placement, 0),
            Phase::Ahs | Phase::HeaderDigest | Phase::Held => return None,
        };
        let len = self.forgotten_len(placement, target).max(placement.direct_len(0, target));
        (len >= threshold).then_some(left as usize)
    }

    /// How many of the bytes that come next nobody needs: the rest of a data segment without a digest for a disk that
    /// [is forgetful](crate::Disk::is_forgetful).
    #[inline]
    pub fn discard_len(&self, target: &Target<'_>) -> usize {
        let rx = &self.core.rx;
        match rx.phase {
            Phase::Data if !rx.discard && rx.segment <= rx.placement.room => {
                self.forgotten_len(&rx.placement, target).saturating_sub(rx.at as usize)
            }
            _ => 0,
        }
    }

    /// How many bytes of a data segment with this placement nobody needs.
    fn forgotten_len(&self, placement: &Placement, target: &Target<'_>) -> usize {
        let rx = &self.core.rx;
        let Place::Disk { unit, .. } = placement.place else { return 0 };
        let unit = target.units.get(usize::from(unit));
        let forgets = rx.data_digest == DigestKind::None
            && unit.is_some_and(|unit| unit.disk().is_forgetful());
        if forgets { placement.room as usize } else { 0 }
    }

    /// `n` bytes came that nobody needs, of at most [`discard_len`](Self::discard_len); more count as that.
    pub fn discarded(&mut self, n: usize, target: &mut Target<'_>, now: Instant) {
        let n = n.min(self.discard_len(target));
        if self.core.state == State::Closed || n == 0 {
            return;
        }
        self.core.counters.bytes_received += n as u64;
        self.data_received(n, target, now);
        self.heard(now);
    }

    /// `n` bytes were put where [`recv_space`](Self::recv_space) said. More than there was room for count as that.
    pub fn received(&mut self, n: usize, target: &mut Target<'_>, now: Instant) {
        // More than there was room for cannot have been put there.
        let n = n.min(self.recv_space(target).len());
        if self.core.state == State::Closed || n == 0 {
            return;
        }
        self.core.counters.bytes_received += n as u64;
        if !self.core.rx.discard {
            if self.core.rx.phase == Phase::Data {
                self.take_placed(n, target);
                self.data_received(n, target, now);
            } else {
                self.control_received(n, target, now);
            }
        }
        self.heard(now);
    }

    /// Looks at the `n` bytes that were just put into `recv_space`, while they are in the cache: digest, and data that
    /// could not be
    /// placed directly.
    fn take_placed(&mut self, n: usize, target: &mut Target<'_>) {
        let rx = &self.core.rx;
        let in_sink = rx.at < rx.placement.room
            && matches!(rx.placement.place, Place::Disk { .. } | Place::Compare { .. })
            && self.direct_len(target) == 0;
        if in_sink {
            let sink = self.core.rx.sink;
            self.place(sink.get(..n).unwrap_or_default(), target);
        } else if self.core.rx.data_digest == DigestKind::Crc32c {
            let mut crc = core::mem::take(&mut self.core.rx.crc);
            // Shows the same run again: nothing has been counted yet.
            let run = self.recv_space(target);
            crc.update(run.get(..n).unwrap_or(run));
            self.core.rx.crc = crc;
        }
    }

    /// Puts bytes of the data segment where they belong.
    #[inline]
    fn place(&mut self, run: &[u8], target: &mut Target<'_>) {
        let core = &mut self.core;
        let rx = &mut core.rx;
        if rx.data_digest == DigestKind::Crc32c {
            rx.crc.update(run);
        }
        let room = (rx.placement.room as usize).saturating_sub(rx.at as usize);
        let run = run.get(..room).unwrap_or(run);
        if run.is_empty() {
            return;
        }
        let done = rx.at;
        let area = |area: &mut [u8], at: u32| {
            let from = at as usize + done as usize;
            if let Some(place) = area.get_mut(from..from + run.len()) {
                place.copy_from_slice(run);
            }
        };
        let result = match rx.placement.place {
            Place::Nowhere => return,
            Place::Text { at } => return area(&mut core.text_area, at),
            Place::Bounce { at } => return area(&mut core.bounce, at),
            Place::Staging { at } => return area(&mut core.staging, at),
            Place::Disk { unit, at } => match target.units.get_mut(usize::from(unit)) {
                Some(unit) => unit.write(at + u64::from(done), run),
                None => return,
            },
            Place::Compare { unit, at, offset } => match target.units.get_mut(usize::from(unit)) {
                Some(unit) => {
                    unit.compare(at + u64::from(done), run, u64::from(offset) + u64::from(done))
                }
                None => return,
            },
        };
        if let Err(ending) = result {
            let task = rx.placement.task;
            // The rest has no place any more.
            rx.placement = Placement { task, ..Placement::NOWHERE };
            if core.level_1 {
                rx.failed = Some(ending);
            } else if let Some(index) = task {
                self.fail_task(index, ending);
            }
        }
    }

    fn data_received(&mut self, n: usize, target: &mut Target<'_>, now: Instant) {
        let rx = &mut self.core.rx;
        rx.at += n as u32;
        if rx.at < rx.segment {
            return;
        }
        rx.got = 0;
        if rx.trailer_len > 0 {
            rx.phase = Phase::Trailer;
        } else {
            self.pdu_complete(true, target, now);
        }
    }

    /// `n` bytes of a header or trailer came.
    fn control_received(&mut self, n: usize, target: &mut Target<'_>, now: Instant) {
        let rx = &mut self.core.rx;
        rx.got += n as u16;
        let got = usize::from(rx.got);
        match rx.phase {
            Phase::Header if got == BHS_LEN => {
                rx.got = 0;
                if rx.header_digest == DigestKind::Crc32c {
                    rx.crc = Crc32c::new();
                    rx.crc.update(&rx.header);
                }
                // In the login phase nothing has additional segments: there is no need to wait for them.
                if self.core.state == State::FullFeature && self.core.rx.ahs_len() > 0 {
                    self.core.rx.phase = Phase::Ahs;
                } else {
                    self.segments_complete(target, now);
                }
            }
            Phase::Ahs => {
                if rx.header_digest == DigestKind::Crc32c {
                    let run = if got <= AHS { &rx.ahs[got - n..got] } else { &rx.sink[..n] };
                    rx.crc.update(run);
                }
                if got == rx.ahs_len() {
                    rx.got = 0;
                    self.segments_complete(target, now);
                }
            }
            Phase::HeaderDigest if got == DIGEST => {
                let crc = core::mem::take(&mut rx.crc);
                if to_wire(crc.finish()) == rx.trailer[..DIGEST] {
                    self.header_complete(target, now);
                } else {
                    self.close(EndReason::HeaderDigest, target);
                }
            }
            Phase::Trailer if got == usize::from(rx.trailer_len) => {
                let mut intact = true;
                if rx.data_digest == DigestKind::Crc32c {
                    let (padding, digest) = rx.trailer[..got].split_at(got - DIGEST);
                    let mut crc = core::mem::take(&mut rx.crc);
                    crc.update(padding);
                    intact = to_wire(crc.finish()) == digest;
                }
                self.pdu_complete(intact, target, now);
            }
            _ => {}
        }
    }

    /// Header and additional header segments are there.
    fn segments_complete(&mut self, target: &mut Target<'_>, now: Instant) {
        let rx = &mut self.core.rx;
        if rx.header_digest == DigestKind::Crc32c {
            rx.phase = Phase::HeaderDigest;
        } else {
            self.header_complete(target, now);
        }
    }

    fn header_complete(&mut self, target: &mut Target<'_>, now: Instant) {
        let rx = &mut self.core.rx;
        rx.got = 0;
        rx.at = 0;
        let lengths = PduLengths::new(&rx.header, rx.header_digest, rx.data_digest);
        rx.segment = lengths.data as u32;
        rx.trailer_len = lengths.after_data() as u8;
        let parsed = rx.parse();
        self.traced(Direction::Received, &self.core.rx.header);
        if self.core.rx.segment > self.core.rx.max_segment || parsed.is_err() {
            let reason = match parsed {
                Ok(_) => RejectReason::ProtocolError,
                Err(FormatError::UnassignedOpcode(_) | FormatError::VendorOpcode(_)) => {
                    RejectReason::CommandNotSupported
                }
                Err(_) => RejectReason::InvalidPduField,
            };
            self.malformed(parsed.err(), reason, target, now);
            return;
        }
        self.core.rx.pdu = parsed.ok();
        self.begin_pdu(target, now);
    }

    /// A header that breaks a rule: refused in the full feature phase, the end of a login.
    fn malformed(
        &mut self,
        error: Option<FormatError>,
        reason: RejectReason,
        target: &mut Target<'_>,
        now: Instant,
    ) {
        self.core.rx.pdu = None;
        match self.core.state {
            State::FullFeature => {
                self.reject(reason, target, now);
                self.receive_segment(Placement::NOWHERE, target, now);
            }
            State::Login => self.malformed_login(error, target, now),
            State::Closed | State::Closing => {}
        }
    }

    /// Decides where the data segment goes, or that the PDU has to wait.
    fn begin_pdu(&mut self, target: &mut Target<'_>, now: Instant) {
        let Some(pdu) = self.core.rx.pdu else { return };
        match self.begin(&pdu, target, now) {
            Some(placement) => self.receive_segment(placement, target, now),
            None => self.core.rx.phase = Phase::Held,
        }
    }

    #[inline]
    fn receive_segment(&mut self, placement: Placement, target: &mut Target<'_>, now: Instant) {
        let rx = &mut self.core.rx;
        if rx.discard {
            return;
        }
        if rx.segment == 0 {
            rx.placement = placement;
            self.pdu_complete(true, target, now);
            return;
        }
        rx.placement = placement;
        rx.phase = Phase::Data;
        if rx.data_digest == DigestKind::Crc32c {
            rx.crc = Crc32c::new();
        }
    }

    /// Something was sent: goes on with the PDU that had to wait.
    pub(super) fn resume(&mut self, target: &mut Target<'_>, now: Instant) {
        if self.core.rx.is_held() {
            self.begin_pdu(target, now);
        }
    }

    fn pdu_complete(&mut self, intact: bool, target: &mut Target<'_>, now: Instant) {
        let rx = &mut self.core.rx;
        rx.phase = Phase::Header;
        rx.got = 0;
        let placement = core::mem::replace(&mut rx.placement, Placement::NOWHERE);
        rx.before = placement;
        let pdu = rx.pdu.take();
        let failed = rx.failed.take().filter(|_| intact);
        self.core.counters.pdus_received += 1;
        if let (Some(ending), Some(index)) = (failed, placement.task) {
            self.fail_task(index, ending);
        }
        if let Some(pdu) = pdu {
            self.process(&pdu, &placement, intact, target, now);
        }
    }
}

impl Rx {
    fn parse(&self) -> Result<InitiatorPdu, FormatError> {
        let pdu = InitiatorPdu::parse(&self.header)?;
        // Most have no additional segments, and need none.
        if let InitiatorPdu::ScsiCommand(command) = &pdu
            && (command.read && command.write || self.ahs_len() > 0)
            && let Some(segments) = self.ahs.get(..self.ahs_len())
        {
            CommandAhs::parse(command, segments)?;
        }
        Ok(pdu)
    }
}
