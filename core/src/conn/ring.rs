//! The send ring: PDUs whose headers and digests are fixed, waiting for the transport.
//!
//! A PDU enters the ring when there is a chance to send it; from then on its bytes do not change, however often they are
//! looked at and in however many pieces they leave. Payload stays in the application's memory.

use super::plan::{OwnBytes, OwnPlace, TransmitRun};
use crate::buffers::Buffers;
use crate::digest::{Crc32c, to_wire};
use crate::session::{Slots, TaskId, TaskSlot};
use crate::wire::{BHS_LEN, Bhs};

/// PDUs that may wait at once; also the most that one gather write can take.
pub(crate) const RING: usize = 32;

/// "Belongs to no task".
const NO_TASK: u16 = u16::MAX;

const DIGEST: usize = 4;

/// Bytes that fill the ring: enough for one large gather write. A ping, an abort or the echo of a ping waits behind no more.
const ENOUGH: u64 = 256 * 1024;

/// Where the data segment of a PDU is.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Body {
    None,
    /// Bytes of a task, from this offset.
    Task {
        task: TaskId,
        at: u32,
    },
    /// The transmit part of the control area, from this offset.
    Control {
        at: u16,
    },
}

/// A PDU ready to go.
#[derive(Debug, Clone, Copy)]
struct Frozen {
    /// BHS and, at the end, the header digest.
    head: [u8; BHS_LEN + DIGEST],
    /// Padding and data digest.
    tail: [u8; 3 + DIGEST],
    tail_len: u8,
    header_digest: bool,
    /// Length of the additional header segments, which stand in the task's slot.
    ahs_len: u16,
    task: u16,
    body: Body,
    body_len: u32,
    /// All bytes; 0 for a PDU that was withdrawn.
    total: u32,
}

const EMPTY: Frozen = Frozen {
    head: [0; BHS_LEN + DIGEST],
    tail: [0; 3 + DIGEST],
    tail_len: 0,
    header_digest: false,
    ahs_len: 0,
    task: NO_TASK,
    body: Body::None,
    body_len: 0,
    total: 0,
};

/// What a PDU is made of, for [`Ring::push`].
#[derive(Debug)]
pub(crate) struct Draft<'a> {
    pub(crate) bhs: &'a Bhs,
    /// The slot whose memory or header the PDU shows.
    pub(crate) task: Option<u16>,
    pub(crate) ahs: &'a [u8],
    pub(crate) body: Body,
    pub(crate) body_len: u32,
}

/// The application returned an empty run for bytes that it owes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NoBuffer;

#[derive(Debug)]
pub(crate) struct Ring {
    ring: [Frozen; RING],
    head: u8,
    len: u8,
    /// Bytes of the first PDU that are gone already.
    sent: u32,
    /// PDUs that were shown, and perhaps are on their way: they cannot be taken back.
    shown: u8,
    /// Bytes of all PDUs, sent ones of the first included.
    pending: u64,
    /// PDUs that have left since the connection was opened.
    gone: u64,
    pub(crate) header_digest: bool,
    pub(crate) data_digest: bool,
}

impl Ring {
    pub(crate) const fn new() -> Self {
        Self {
            ring: [EMPTY; RING],
            head: 0,
            len: 0,
            sent: 0,
            shown: 0,
            pending: 0,
            gone: 0,
            header_digest: false,
            data_digest: false,
        }
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(crate) const fn is_full(&self) -> bool {
        self.len as usize == RING
    }

    /// Another PDU may be frozen: there is a place, and not so much data before it that what is urgent would come late.
    pub(crate) const fn has_room(&self) -> bool {
        !self.is_full() && self.pending < ENOUGH
    }

    /// The number that the next PDU gets.
    pub(crate) const fn next_number(&self) -> u64 {
        self.gone + self.len as u64
    }

    /// The PDU with this number has left.
    pub(crate) const fn has_left(&self, number: u64) -> bool {
        self.gone > number
    }

    pub(crate) const fn clear(&mut self) {
        self.pending = 0;
        self.gone = 0;
        self.head = 0;
        self.len = 0;
        self.sent = 0;
        self.shown = 0;
        self.header_digest = false;
        self.data_digest = false;
    }

    const fn position(&self, n: u8) -> usize {
        (self.head as usize + n as usize) % RING
    }

    /// Freezes a PDU: fixes its digests. The ring must not be full.
    pub(crate) fn push(
        &mut self,
        draft: &Draft<'_>,
        control: &[u8],
        buffers: &(impl Buffers + ?Sized),
    ) -> Result<(), NoBuffer> {
        debug_assert!(!self.is_full());
        let position = self.position(self.len);
        let padding = (draft.body_len.wrapping_neg() & 3) as usize;
        let mut tail = [0; 3 + DIGEST];
        let mut tail_len = padding;
        if self.data_digest && draft.body_len > 0 {
            let mut crc = Crc32c::new();
            match draft.body {
                Body::None => {}
                Body::Control { at } => {
                    let text = control.get(usize::from(at)..).unwrap_or_default();
                    crc.update(text.get(..draft.body_len as usize).ok_or(NoBuffer)?);
                }
                Body::Task { task, at } => {
                    each_run(task, at, draft.body_len, buffers, |run| {
                        crc.update(run);
                        true
                    })?;
                }
            }
            crc.update(&[0; 3][..padding]);
            let digest = to_wire(crc.finish());
            tail[padding..padding + DIGEST].copy_from_slice(&digest);
            tail_len += DIGEST;
        }
        let frozen = &mut self.ring[position];
        frozen.head[..BHS_LEN].copy_from_slice(draft.bhs);
        let mut head_len = BHS_LEN;
        if self.header_digest {
            let mut crc = Crc32c::new();
            crc.update(draft.bhs);
            crc.update(draft.ahs);
            frozen.head[BHS_LEN..].copy_from_slice(&to_wire(crc.finish()));
            head_len += DIGEST;
        }
        frozen.header_digest = self.header_digest;
        frozen.tail = tail;
        frozen.tail_len = tail_len as u8;
        frozen.ahs_len = draft.ahs.len() as u16;
        frozen.task = draft.task.unwrap_or(NO_TASK);
        frozen.body = draft.body;
        frozen.body_len = draft.body_len;
        frozen.total = (head_len + draft.ahs.len() + tail_len) as u32 + draft.body_len;
        self.pending += u64::from(frozen.total);
        self.len += 1;
        Ok(())
    }

    /// The next byte to send belongs to a task whose memory is not lent.
    pub(crate) fn front_missing(&self, buffers: &(impl Buffers + ?Sized)) -> bool {
        let frozen = &self.ring[usize::from(self.head)];
        let Body::Task { task, at } = frozen.body else { return false };
        let after_body = u32::from(frozen.tail_len) + frozen.body_len;
        let done = self.sent.saturating_sub(frozen.total - after_body);
        self.len > 0
            && done < frozen.body_len
            && buffers.data_out(task, at + done, frozen.body_len - done).is_empty()
    }

    /// Shows the bytes that are next to send, as many runs as fit into `out`, up to memory that is not lent. Returns the number
    /// of runs.
    pub(crate) fn view<'a>(
        &'a self,
        slots: &'a Slots<[TaskSlot]>,
        control: &'a [u8],
        buffers: &'a (impl Buffers + ?Sized),
        out: &mut [&'a [u8]],
    ) -> usize {
        let mut slices = Slices { out, len: 0, buffers };
        self.walk(slots, control, &mut slices);
        slices.len
    }

    /// Names the bytes that are next to send, as many runs as fit into `out`. Returns the number of runs.
    pub(crate) fn plan(
        &self,
        slots: &Slots<[TaskSlot]>,
        control: &[u8],
        out: &mut [TransmitRun],
    ) -> usize {
        let mut names = Names { out, len: 0 };
        self.walk(slots, control, &mut names);
        names.len
    }

    #[inline]
    fn walk<'a>(
        &'a self,
        slots: &'a Slots<[TaskSlot]>,
        control: &'a [u8],
        show: &mut impl Show<'a>,
    ) {
        let mut walk = Walk { show, skip: self.sent as usize };
        for n in 0..self.len {
            let position = self.position(n);
            let frozen = &self.ring[position];
            if frozen.total > 0 && !walk.pdu(frozen, position as u8, slots, control) {
                break;
            }
        }
    }

    /// The bytes of the connection's own that a run names; none for a name that is stale.
    #[inline]
    pub(crate) fn own<'a>(
        &'a self,
        own: OwnBytes,
        slots: &'a Slots<[TaskSlot]>,
        control: &'a [u8],
    ) -> &'a [u8] {
        let place = match own.place {
            OwnPlace::Head(n) => self.ring.get(usize::from(n)).map(|frozen| &frozen.head[..]),
            OwnPlace::Tail(n) => self.ring.get(usize::from(n)).map(|frozen| &frozen.tail[..]),
            OwnPlace::Ahs(task) => slots.get(usize::from(task)).map(|slot| &slot.aux[..]),
            OwnPlace::Text => Some(control),
        };
        let from = usize::from(own.from);
        place.and_then(|bytes| bytes.get(from..from + usize::from(own.len))).unwrap_or_default()
    }

    /// All PDUs are about to be shown.
    pub(crate) const fn show(&mut self) {
        self.shown = self.len;
    }

    /// Bytes that were not sent.
    pub(crate) const fn unsent(&self) -> u64 {
        self.pending - self.sent as u64
    }

    /// `n` bytes went out. `left` is called with the task of each PDU that is gone.
    pub(crate) fn transmitted(&mut self, mut n: usize, mut left: impl FnMut(u16)) {
        self.shown = 0;
        while self.len > 0 {
            let frozen = &self.ring[usize::from(self.head)];
            let rest = (frozen.total - self.sent) as usize;
            if n < rest {
                self.sent += n as u32;
                return;
            }
            n -= rest;
            self.pending -= u64::from(frozen.total);
            if frozen.task != NO_TASK {
                left(frozen.task);
            }
            self.sent = 0;
            self.gone += 1;
            self.head = self.position(1) as u8;
            self.len -= 1;
        }
    }

    /// Withdraws what was not started of a task's Data-Out. `left` is called for each PDU withdrawn. Commands stay: their
    /// CmdSN is taken.
    pub(crate) fn withdraw_data(&mut self, task: u16, mut left: impl FnMut(u16)) {
        let kept = self.shown.max(u8::from(self.sent > 0));
        for n in kept..self.len {
            let position = self.position(n);
            let frozen = &mut self.ring[position];
            let data_out = frozen.head[0] & 0x3f == crate::wire::Opcode::DataOut as u8;
            if frozen.task == task && data_out {
                self.pending -= u64::from(frozen.total);
                *frozen = EMPTY;
                left(task);
            }
        }
        if kept == 0 {
            self.transmitted(0, |_| ());
        }
    }

    /// Bytes of the task's data that are in the ring and not sent, or not all of their PDU.
    pub(crate) fn unsent_data_of(&self, task: u16) -> u32 {
        (0..self.len)
            .map(|n| &self.ring[self.position(n)])
            .filter(|frozen| frozen.task == task)
            .map(|frozen| frozen.body_len)
            .sum()
    }

    /// A PDU with bytes of the task's memory is in the ring.
    pub(crate) fn shows_memory_of(&self, task: u16) -> bool {
        (0..self.len).any(|n| {
            let frozen = &self.ring[self.position(n)];
            frozen.task == task && frozen.body_len > 0
        })
    }
}

/// Takes runs one after the other, as long as it returns true.
trait Show<'a> {
    /// Bytes of the connection's own: `bytes` are those from `from` on in `place`.
    fn own(&mut self, place: OwnPlace, from: usize, bytes: &'a [u8]) -> bool;
    fn task(&mut self, task: TaskId, offset: u32, len: u32) -> bool;
}

/// Collects runs as slices.
struct Slices<'o, 'a, B: ?Sized> {
    out: &'o mut [&'a [u8]],
    len: usize,
    buffers: &'a B,
}

impl<'a, B: Buffers + ?Sized> Show<'a> for Slices<'_, 'a, B> {
    #[inline]
    fn own(&mut self, _place: OwnPlace, _from: usize, bytes: &'a [u8]) -> bool {
        let Some(place) = self.out.get_mut(self.len) else { return false };
        *place = bytes;
        self.len += 1;
        true
    }

    #[inline]
    fn task(&mut self, task: TaskId, offset: u32, len: u32) -> bool {
        each_run(task, offset, len, self.buffers, |run| self.own(OwnPlace::Text, 0, run))
            == Ok(true)
    }
}

/// Collects runs as data.
struct Names<'o> {
    out: &'o mut [TransmitRun],
    len: usize,
}

impl Names<'_> {
    fn put(&mut self, run: TransmitRun) -> bool {
        let Some(place) = self.out.get_mut(self.len) else { return false };
        *place = run;
        self.len += 1;
        true
    }
}

impl<'a> Show<'a> for Names<'_> {
    fn own(&mut self, place: OwnPlace, from: usize, bytes: &'a [u8]) -> bool {
        let (from, len) = (from as u16, bytes.len() as u16);
        self.put(TransmitRun::Own(OwnBytes { place, from, len }))
    }

    fn task(&mut self, task: TaskId, offset: u32, len: u32) -> bool {
        self.put(TransmitRun::Task { task, offset, len })
    }
}

/// Goes through PDUs, leaving out the first `skip` bytes.
struct Walk<'s, S> {
    show: &'s mut S,
    skip: usize,
}

impl<'a, S: Show<'a>> Walk<'_, S> {
    #[inline]
    fn own(&mut self, place: OwnPlace, from: usize, bytes: &'a [u8]) -> bool {
        let skip = self.skip;
        if skip >= bytes.len() {
            self.skip -= bytes.len();
            return true;
        }
        self.skip = 0;
        self.show.own(place, from + skip, &bytes[skip..])
    }

    #[inline]
    fn pdu(
        &mut self,
        frozen: &'a Frozen,
        position: u8,
        slots: &'a Slots<[TaskSlot]>,
        control: &'a [u8],
    ) -> bool {
        let head = OwnPlace::Head(position);
        let head_end = if frozen.header_digest { BHS_LEN + DIGEST } else { BHS_LEN };
        let header = if frozen.ahs_len == 0 {
            self.own(head, 0, &frozen.head[..head_end])
        } else {
            let ahs = slots.get(usize::from(frozen.task)).map_or(&[][..], |slot| {
                slot.aux.get(..usize::from(frozen.ahs_len)).unwrap_or_default()
            });
            self.own(head, 0, &frozen.head[..BHS_LEN])
                && self.own(OwnPlace::Ahs(frozen.task), 0, ahs)
                && self.own(head, BHS_LEN, &frozen.head[BHS_LEN..head_end])
        };
        header
            && match frozen.body {
                Body::None => true,
                Body::Control { at } => {
                    let at = usize::from(at);
                    let text = control.get(at..at + frozen.body_len as usize);
                    text.is_some_and(|text| self.own(OwnPlace::Text, at, text))
                }
                Body::Task { task, at } => {
                    let from = self.skip.min(frozen.body_len as usize);
                    self.skip -= from;
                    let len = frozen.body_len - from as u32;
                    len == 0 || self.show.task(task, at + from as u32, len)
                }
            }
            && self.own(OwnPlace::Tail(position), 0, &frozen.tail[..usize::from(frozen.tail_len)])
    }
}

/// Calls `each` for the runs of a task's memory, until it returns false; the result is what it returned last.
fn each_run<'a>(
    task: TaskId,
    at: u32,
    len: u32,
    buffers: &'a (impl Buffers + ?Sized),
    mut each: impl FnMut(&'a [u8]) -> bool,
) -> Result<bool, NoBuffer> {
    let mut done = 0;
    while done < len {
        let run = buffers.data_out(task, at + done, len - done);
        // A longer run than asked for is cut, an empty one cannot be sent.
        let run = run.get(..(len - done) as usize).unwrap_or(run);
        if run.is_empty() {
            return Err(NoBuffer);
        }
        done += run.len() as u32;
        if !each(run) {
            return Ok(false);
        }
    }
    Ok(true)
}
