//! One direction of a byte stream: ordered and reliable as TCP is, with everything that happens above TCP.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use super::damage::{Damage, list};
use super::framer::Framer;
use super::mutation::{Mutation, Mutations};
use super::rng::Rng;
use super::tap::learn;
use crate::Instant;
use crate::digest::DigestKind;
use crate::wire::{BHS_LEN, Opcode};

/// What a [`Pipe`] does to the bytes that go through it. Chances are in 1/1000 per write.
///
/// ```
/// use core::time::Duration;
/// use iscsi_core::testing::Faults;
/// let faults = Faults { split: 500, delay: Duration::from_millis(1), ..Faults::NONE };
/// assert_eq!(faults.flip, 0);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Faults {
    /// The bytes arrive in pieces, cut anywhere.
    pub split: u16,
    /// Every piece arrives this much later than it was written: half a round trip.
    pub latency: Duration,
    /// A piece arrives up to this much later on top of that.
    pub delay: Duration,
    /// Nothing arrives for [`stall_time`](Self::stall_time).
    pub stall: u16,
    /// How long a stall lasts.
    pub stall_time: Duration,
    /// Bytes that may be under way; a write beyond it is cut short or refused.
    pub window: usize,
    /// One bit of the bytes arrives wrong.
    pub flip: u16,
    /// The connection is reset after this many bytes, be it in the middle of a PDU.
    pub cut: Option<u64>,
}

impl Faults {
    /// An ideal pipe.
    pub const NONE: Self = Self {
        split: 0,
        latency: Duration::ZERO,
        delay: Duration::ZERO,
        stall: 0,
        stall_time: Duration::ZERO,
        window: usize::MAX,
        flip: 0,
        cut: None,
    };

    /// What a network does to honest peers: nothing that loses a byte. Drawn from `rng`.
    pub fn network(rng: &mut Rng) -> Self {
        Self {
            split: [0, 100, 500, 1000][rng.below(4) as usize],
            latency: Duration::ZERO,
            delay: Duration::from_micros([0, 50, 5_000][rng.below(3) as usize]),
            stall: [0, 0, 20][rng.below(3) as usize],
            stall_time: Duration::from_millis(300),
            window: [usize::MAX, 65_536, 1_460, 97][rng.below(4) as usize],
            flip: 0,
            cut: None,
        }
    }
}

/// What happens to a whole PDU on its way, as a bad peer or a digest error downstream would do it.
///
/// ```
/// use iscsi_core::testing::PduFault;
/// assert_ne!(PduFault::Drop, PduFault::Repeat);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PduFault {
    /// It does not arrive.
    Drop,
    /// It arrives twice.
    Repeat,
    /// It arrives after the PDU that follows it, even if that one is swapped too; if none follows, it does not arrive.
    Swap,
}

/// The connection was reset.
///
/// ```
/// assert_eq!(iscsi_core::testing::Reset.to_string(), "connection reset");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reset;

impl fmt::Display for Reset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("connection reset")
    }
}

impl core::error::Error for Reset {}

#[derive(Debug)]
struct Segment {
    at: Instant,
    bytes: Vec<u8>,
    read: usize,
}

/// Changes to whole PDUs.
#[derive(Debug)]
struct Filter {
    framer: Framer,
    passed: u64,
    faults: Vec<(u64, PduFault)>,
    /// PDUs that wait to be overtaken; the last one first.
    held: Vec<Vec<u8>>,
    damage: Option<Damage>,
    mutations: Option<Mutations>,
}

/// One direction of a byte stream.
///
/// ```
/// use iscsi_core::Instant;
/// use iscsi_core::testing::{Faults, Pipe, Rng};
/// let mut pipe = Pipe::new(Faults::NONE, Rng::new(1));
/// assert_eq!(pipe.write(b"abc", Instant::ZERO), Ok(Some(3)));
/// let mut bytes = [0; 2];
/// assert_eq!(pipe.read(&mut bytes, Instant::ZERO), Ok(Some(2)));
/// assert_eq!(&bytes, b"ab");
/// pipe.close_at_once(Instant::ZERO);
/// assert_eq!(pipe.read(&mut bytes, Instant::ZERO), Ok(Some(1)));
/// assert_eq!(pipe.read(&mut bytes, Instant::ZERO), Ok(Some(0))); // the end
/// ```
#[derive(Debug)]
pub struct Pipe {
    faults: Faults,
    rng: Rng,
    segments: VecDeque<Segment>,
    under_way: usize,
    last_at: Instant,
    written: u64,
    end: Option<Instant>,
    reset: Option<Instant>,
    /// Segments read to their end.
    consumed: u64,
    /// How often a reader made room after a write was refused or cut short.
    relieved: u64,
    refused: bool,
    flipped: u64,
    filter: Option<Filter>,
    /// The digests that a login response in this pipe chose, until the other direction was told.
    learned: Option<(DigestKind, DigestKind)>,
}

impl Pipe {
    /// An empty pipe.
    pub const fn new(faults: Faults, rng: Rng) -> Self {
        Self {
            faults,
            rng,
            segments: VecDeque::new(),
            under_way: 0,
            last_at: Instant::ZERO,
            written: 0,
            end: None,
            reset: None,
            consumed: 0,
            relieved: 0,
            refused: false,
            flipped: 0,
            filter: None,
            learned: None,
        }
    }

    /// Other faults from now on. `cut` counts all bytes since the beginning.
    pub const fn set_faults(&mut self, faults: Faults) {
        self.faults = faults;
    }

    /// Faults of whole PDUs from now on: pairs of the PDU's number, the next one being 0, and what happens to it. Must be set between
    /// two PDUs, with the digests that are in force then; on a fresh [`Link`](super::Link) these are none, and the digests that its login
    /// negotiates are followed.
    pub fn set_pdu_faults(
        &mut self,
        faults: &[(u64, PduFault)],
        header: DigestKind,
        data: DigestKind,
    ) {
        let framer = Framer::new(header, data);
        let faults = faults.to_vec();
        let held = self.filter.take().map(|before| before.held).unwrap_or_default();
        self.filter =
            Some(Filter { framer, passed: 0, faults, held, damage: None, mutations: None });
    }

    /// From now on, turns over one bit in `per_mille` of 1000 PDUs with a data digest, only in data, padding or data digest: the stream stays
    /// framed. Must be set between two PDUs, with the digests that are in force then, and follows them as
    /// [`set_pdu_faults`](Self::set_pdu_faults) does, whose faults it ends.
    pub fn damage_data(&mut self, per_mille: u16, header: DigestKind, data: DigestKind) {
        self.set_pdu_faults(&[], header, data);
        let damage = Damage::new(self.rng.fork(), per_mille);
        if let Some(filter) = &mut self.filter {
            filter.damage = Some(damage);
        }
    }

    /// Changes bytes of PDUs from now on. Those of the login may be spared; then they are not counted. Must be called on a fresh
    /// [`Link`](super::Link), whose login is followed for its digests. It ends other changes to whole PDUs.
    pub fn mutate(&mut self, mutations: &[Mutation], spares_logins: bool) {
        self.set_pdu_faults(&[], DigestKind::None, DigestKind::None);
        if let Some(filter) = &mut self.filter {
            filter.mutations = Some(Mutations::new(mutations.to_vec(), spares_logins));
        }
    }

    /// How many changes [`mutate`](Self::mutate) has made.
    pub fn mutated(&self) -> u64 {
        let mutations = self.filter.as_ref().and_then(|filter| filter.mutations.as_ref());
        mutations.map_or(0, |mutations| mutations.applied)
    }

    /// How many PDUs of each kind [`damage_data`](Self::damage_data) has damaged.
    pub fn damaged(&self) -> Vec<(&'static str, u64)> {
        let damage = self.filter.as_ref().and_then(|filter| filter.damage.as_ref());
        damage.map_or_else(Vec::new, |damage| list(&damage.counts))
    }

    /// How often [`damage_data`](Self::damage_data) has damaged the same PDU to the initiator, at most: what is sent again under its DataSN or
    /// its StatSN is the same.
    pub fn most_damaged(&self) -> u32 {
        let damage = self.filter.as_ref().and_then(|filter| filter.damage.as_ref());
        damage.map_or(0, Damage::most)
    }

    /// The digests of the full feature phase, for the filter of whole PDUs.
    pub(super) const fn set_digests(&mut self, header: DigestKind, data: DigestKind) {
        if let Some(filter) = &mut self.filter {
            filter.framer.set_digests(header, data);
        }
    }

    pub(super) const fn take_learned(&mut self) -> Option<(DigestKind, DigestKind)> {
        self.learned.take()
    }

    /// Bits that [`Faults::flip`] has turned over.
    pub const fn flipped(&self) -> u64 {
        self.flipped
    }

    /// Bytes written since the beginning.
    pub const fn written(&self) -> u64 {
        self.written
    }

    /// Writes as many bytes as there is room for; `None` if there is none.
    ///
    /// # Errors
    /// [`Reset`]
    pub fn write(&mut self, bytes: &[u8], now: Instant) -> Result<Option<usize>, Reset> {
        if self.is_reset(now) {
            return Err(Reset);
        }
        let n = bytes.len().min(self.faults.window.saturating_sub(self.under_way));
        self.refused |= n < bytes.len();
        if n == 0 && !bytes.is_empty() {
            return Ok(None);
        }
        let bytes = &bytes[..n];
        match self.filter.take() {
            None => self.put(bytes, now),
            Some(mut filter) => {
                let before = filter.framer.digests();
                let changed = filter.change(bytes);
                let after = filter.framer.digests();
                if before != after {
                    self.learned = Some(after);
                }
                self.filter = Some(filter);
                self.put(&changed, now);
            }
        }
        Ok(Some(n))
    }

    fn put(&mut self, bytes: &[u8], now: Instant) {
        let mut bytes = bytes.to_vec();
        if let Some(cut) = self.faults.cut {
            let left = cut.saturating_sub(self.written);
            if (bytes.len() as u64) >= left {
                bytes.truncate(left as usize);
                self.reset_after(now);
            }
        }
        if bytes.is_empty() {
            return;
        }
        self.written += bytes.len() as u64;
        self.under_way += bytes.len();
        if self.rng.per_mille(self.faults.flip) {
            let bit = self.rng.below(bytes.len() as u64 * 8);
            bytes[(bit / 8) as usize] ^= 1 << (bit % 8);
            self.flipped += 1;
        }
        if self.rng.per_mille(self.faults.stall) {
            self.last_at = self.last_at.max(now) + self.faults.stall_time;
        }
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let split = self.rng.per_mille(self.faults.split);
            let most = rest.len() as u64;
            let len = if split { 1 + self.rng.below(most) } else { most };
            let (piece, after) = rest.split_at(len as usize);
            self.segment(piece, now);
            rest = after;
        }
        if let Some(reset) = &mut self.reset {
            *reset = self.last_at;
        }
    }

    fn segment(&mut self, piece: &[u8], now: Instant) {
        let delay = self.rng.below(self.faults.delay.as_micros() as u64 + 1);
        let arrival = now + self.faults.latency + Duration::from_micros(delay);
        let mut at = self.last_at.max(arrival);
        if self.faults.split > 0 {
            // What arrives at the same time is read as one.
            at = at + Duration::from_micros(1);
        }
        self.last_at = at;
        self.segments.push_back(Segment { at, bytes: piece.to_vec(), read: 0 });
    }

    /// Reads what has arrived: `Some(0)` at the end, `None` if there is nothing now.
    ///
    /// # Errors
    /// [`Reset`]
    pub fn read(&mut self, out: &mut [u8], now: Instant) -> Result<Option<usize>, Reset> {
        let mut n = 0;
        while let Some(segment) = self.segments.front_mut().filter(|s| s.at <= now) {
            if n == out.len() {
                break;
            }
            let rest = &segment.bytes[segment.read..];
            let len = rest.len().min(out.len() - n);
            out[n..n + len].copy_from_slice(&rest[..len]);
            n += len;
            segment.read += len;
            if len == rest.len() {
                self.segments.pop_front();
                self.consumed += 1;
            }
        }
        if n > 0 {
            self.under_way -= n;
            // A filter lets whole PDUs through, which may be more than the window.
            if self.under_way < self.faults.window && core::mem::take(&mut self.refused) {
                self.relieved += 1;
            }
            return Ok(Some(n));
        }
        if out.is_empty() || self.segments.front().is_some_and(|s| s.at <= now) {
            return Ok(None);
        }
        if self.is_reset(now) {
            return Err(Reset);
        }
        Ok(self.end.filter(|end| *end <= now && self.segments.is_empty()).map(|_| 0))
    }

    /// No more is written: the reader sees the end a microsecond after the last byte, as an arrival of its own.
    pub fn close(&mut self, now: Instant) {
        self.end = Some(self.last_at.max(now) + Duration::from_micros(1));
    }

    /// As [`close`](Self::close), with the end arriving together with the last byte.
    pub fn close_at_once(&mut self, now: Instant) {
        self.end = Some(self.last_at.max(now));
    }

    /// Resets the connection after what is under way.
    pub fn reset_after(&mut self, now: Instant) {
        self.reset = Some(self.last_at.max(now));
    }

    /// Whether the reset has arrived.
    fn is_reset(&self, now: Instant) -> bool {
        self.reset.is_some_and(|at| at <= now) && self.segments.is_empty()
    }

    /// How many arrivals there were up to now: segments, the end, a reset. It grows when a reader has a reason to look again.
    pub fn arrivals(&self, now: Instant) -> u64 {
        let waiting = self.segments.partition_point(|s| s.at <= now) as u64;
        let marks = [self.end, self.reset].into_iter().flatten().filter(|at| *at <= now).count();
        self.consumed + waiting + marks as u64
    }

    /// How often room came back after a write was refused or cut short. It grows when a writer has a reason to try again.
    pub const fn relieved(&self) -> u64 {
        self.relieved
    }

    /// When something arrives next, after now.
    pub fn next_arrival(&self, now: Instant) -> Option<Instant> {
        let first = self.segments.partition_point(|s| s.at <= now);
        let segment = self.segments.get(first).map(|s| s.at);
        [segment, self.end.filter(|at| *at > now), self.reset.filter(|at| *at > now)]
            .into_iter()
            .flatten()
            .min()
    }
}

impl Filter {
    /// Learns the digests of the PDUs that come after the login.
    fn follow(&mut self, pdu: &[u8]) {
        let Some((bhs, text)) = pdu.split_first_chunk::<BHS_LEN>() else { return };
        if Opcode::of(bhs) == Some(Opcode::LoginResponse) {
            let mut digests = self.framer.digests();
            learn(text, &mut digests);
            self.framer.set_digests(digests.0, digests.1);
        }
    }

    fn change(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        self.framer.push(bytes);
        while let Some(mut pdu) = self.framer.next_bytes() {
            self.follow(&pdu);
            if let Some(damage) = &mut self.damage {
                damage.damage(&mut pdu, self.framer.digests());
            }
            if let Some(mutations) = &mut self.mutations {
                mutations.change(&mut pdu);
            }
            let number = self.passed;
            self.passed += 1;
            let fault = self.faults.iter().find(|(n, _)| *n == number).map(|(_, fault)| *fault);
            match fault {
                Some(PduFault::Drop) => continue,
                Some(PduFault::Swap) => {
                    self.held.push(pdu);
                    continue;
                }
                Some(PduFault::Repeat) => {
                    out.extend_from_slice(&pdu);
                    out.extend_from_slice(&pdu);
                }
                None => out.extend_from_slice(&pdu),
            }
            while let Some(held) = self.held.pop() {
                out.extend_from_slice(&held);
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn swaps_in_a_row_lose_nothing() {
        let mut pipe = Pipe::new(Faults::NONE, Rng::new(1));
        let faults = [(0, PduFault::Swap), (1, PduFault::Swap), (3, PduFault::Swap)];
        pipe.set_pdu_faults(&faults, DigestKind::None, DigestKind::None);
        let mut arrived = Vec::new();
        let mut send = |pipe: &mut Pipe, tag: u8| {
            let mut pdu = [0; BHS_LEN];
            pdu[19] = tag;
            pipe.write(&pdu, Instant::ZERO).unwrap();
            let mut bytes = [0; 8 * BHS_LEN];
            let n = pipe.read(&mut bytes, Instant::ZERO).unwrap().unwrap_or(0);
            arrived.extend(bytes[..n].chunks(BHS_LEN).map(|pdu| pdu[19]));
        };
        for tag in 0..4 {
            send(&mut pipe, tag);
        }
        // Other faults from now on: what is held back still comes.
        pipe.set_pdu_faults(&[], DigestKind::None, DigestKind::None);
        send(&mut pipe, 4);
        assert_eq!(arrived, [2, 1, 0, 4, 3]);
    }
}
