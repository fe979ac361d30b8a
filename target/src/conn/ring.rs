//! The send ring: PDUs whose headers and digests are fixed, waiting for the transport.
//!
//! Data that a disk lends stay on the disk; everything else is in the connection's bounce area or in the ring itself.

use iscsi_core::digest::{Crc32c, DigestKind, to_wire};
use iscsi_core::wire::{BHS_LEN, Bhs, padding};

use super::pages::{Pages, Run};
use crate::unit::LogicalUnit;

/// PDUs that may wait at once.
pub(crate) const RING: usize = 64;

/// Bytes that may wait at once; the PDU that passes this is the last one. So an answer never waits behind megabytes, and one call of the
/// transport sends no more than that.
const BYTES: usize = 512 * 1024;

/// The longest data segment that is kept in the ring itself: a rejected header.
pub(crate) const INLINE: usize = BHS_LEN;

const DIGEST: usize = 4;

/// Header, its digest, an inline data segment or none, padding, data digest.
const OWN: usize = BHS_LEN + DIGEST + INLINE + DIGEST;

/// Where the data segment of a PDU is.
#[derive(Debug, Clone)]
pub(crate) enum Body<'a> {
    None,
    /// To be copied into the ring: at most [`INLINE`] bytes.
    Inline(&'a [u8]),
    /// In the bounce area. The pages, if given, are free once the PDU is gone.
    Area {
        at: usize,
        len: usize,
        pages: Option<Run>,
    },
    /// On a disk that lends it.
    Disk {
        unit: u16,
        at: u64,
        len: usize,
        /// Of the data, where digests are sent.
        crc: Crc32c,
    },
}

#[derive(Debug, Clone, Copy)]
enum Source {
    Nothing,
    Area { at: u32 },
    Disk { unit: u16, at: u64 },
}

#[derive(Debug, Clone, Copy)]
struct Frozen {
    bytes: [u8; OWN],
    /// How much of `bytes` goes before the body.
    head_len: u8,
    /// How much of `bytes`, behind that, goes after the body.
    tail_len: u8,
    source: Source,
    body_len: u32,
    pages: Option<Run>,
}

impl Frozen {
    const EMPTY: Self = Self {
        bytes: [0; OWN],
        head_len: 0,
        tail_len: 0,
        source: Source::Nothing,
        body_len: 0,
        pages: None,
    };

    const fn total(&self) -> usize {
        self.head_len as usize + self.body_len as usize + self.tail_len as usize
    }

    /// Appends to `bytes`, which has room for everything that is ever appended.
    fn append(&mut self, at: usize, run: &[u8]) -> usize {
        match self.bytes.get_mut(at..at + run.len()) {
            Some(place) => {
                place.copy_from_slice(run);
                at + run.len()
            }
            None => at,
        }
    }
}

#[derive(Debug)]
pub(crate) struct Ring {
    ring: [Frozen; RING],
    head: u8,
    len: u8,
    /// Bytes of the first PDU that are gone already.
    sent: u32,
    /// Bytes of all PDUs, with those of the first one that are gone.
    bytes: usize,
    pub(crate) header_digest: DigestKind,
    pub(crate) data_digest: DigestKind,
}

impl Ring {
    pub(crate) const fn new() -> Self {
        Self {
            ring: [Frozen::EMPTY; RING],
            head: 0,
            len: 0,
            sent: 0,
            bytes: 0,
            header_digest: DigestKind::None,
            data_digest: DigestKind::None,
        }
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(crate) const fn is_full(&self) -> bool {
        self.len as usize == RING
    }

    /// Whether there is no need for more PDUs before some have gone.
    pub(crate) const fn has_enough(&self) -> bool {
        self.is_full() || self.bytes >= BYTES
    }

    /// PDUs that wait.
    pub(crate) const fn len(&self) -> usize {
        self.len as usize
    }

    /// PDUs for which there is room.
    pub(crate) const fn free(&self) -> usize {
        RING - self.len as usize
    }

    pub(crate) const fn clear(&mut self) {
        self.head = 0;
        self.len = 0;
        self.sent = 0;
        self.bytes = 0;
        self.header_digest = DigestKind::None;
        self.data_digest = DigestKind::None;
    }

    #[inline]
    const fn position(&self, n: u8) -> usize {
        (self.head as usize + n as usize) % RING
    }

    /// Freezes a PDU: fixes its digests. The ring must not be full.
    #[inline]
    pub(crate) fn push(&mut self, bhs: &Bhs, body: Body<'_>, area: &[u8]) {
        debug_assert!(!self.is_full());
        let (header_digest, data_digest) = (self.header_digest, self.data_digest);
        let position = self.position(self.len);
        let frozen = &mut self.ring[position];
        let mut end = frozen.append(0, bhs);
        if header_digest == DigestKind::Crc32c {
            let mut crc = Crc32c::new();
            crc.update(bhs);
            end = frozen.append(end, &to_wire(crc.finish()));
        }
        let digests = data_digest == DigestKind::Crc32c;
        let mut crc = Crc32c::new();
        let (source, len, pages) = match body {
            Body::None => (Source::Nothing, 0, None),
            Body::Inline(bytes) => {
                end = frozen.append(end, bytes);
                if digests {
                    crc.update(bytes);
                }
                (Source::Nothing, bytes.len(), None)
            }
            Body::Area { at, len, pages } => {
                if digests {
                    crc.update(area.get(at..at + len).unwrap_or_default());
                }
                (Source::Area { at: at as u32 }, len, pages)
            }
            Body::Disk { unit, at, len, crc: data } => {
                crc = data;
                (Source::Disk { unit, at }, len, None)
            }
        };
        let head_len = end;
        let pad = padding(len);
        end = frozen.append(end, &[0; 3][..pad]);
        if digests && len > 0 {
            crc.update(&[0; 3][..pad]);
            end = frozen.append(end, &to_wire(crc.finish()));
        }
        frozen.head_len = head_len as u8;
        frozen.tail_len = (end - head_len) as u8;
        frozen.body_len = match source {
            Source::Nothing => 0,
            _ => len as u32,
        };
        frozen.source = source;
        frozen.pages = pages;
        self.bytes += frozen.total();
        self.len += 1;
    }

    /// Shows the bytes that are next to send, as many runs as fit into `out`. Returns the number of runs.
    pub(crate) fn view<'a>(
        &'a self,
        area: &'a [u8],
        units: &'a [LogicalUnit<'_>],
        out: &mut [&'a [u8]],
    ) -> usize {
        let mut gather = Gather { out, len: 0, skip: self.sent as usize };
        for n in 0..self.len {
            if !gather.pdu(&self.ring[self.position(n)], area, units) {
                break;
            }
        }
        gather.len
    }

    /// Bytes that were not sent.
    pub(crate) const fn unsent(&self) -> usize {
        self.bytes - self.sent as usize
    }

    /// `n` bytes went out. Pages of PDUs that are gone are given back.
    pub(crate) fn transmitted(&mut self, mut n: usize, pages: &mut Pages) {
        while self.len > 0 {
            let frozen = &self.ring[usize::from(self.head)];
            let total = frozen.total();
            let rest = total - self.sent as usize;
            if n < rest {
                self.sent += n as u32;
                return;
            }
            n -= rest;
            if let Some(run) = frozen.pages {
                pages.give(run);
            }
            self.sent = 0;
            self.bytes -= total;
            self.head = self.position(1) as u8;
            self.len -= 1;
        }
    }
}

/// Collects runs, leaving out the first `skip` bytes.
struct Gather<'o, 'a> {
    out: &'o mut [&'a [u8]],
    len: usize,
    skip: usize,
}

impl<'a> Gather<'_, 'a> {
    /// Adds a run; false if there is no room for more.
    #[inline]
    fn put(&mut self, run: &'a [u8]) -> bool {
        if self.skip >= run.len() {
            self.skip -= run.len();
            return true;
        }
        match self.out.get_mut(self.len) {
            Some(place) => {
                *place = &run[self.skip..];
                self.skip = 0;
                self.len += 1;
                true
            }
            None => false,
        }
    }

    #[inline]
    fn pdu(&mut self, frozen: &'a Frozen, area: &'a [u8], units: &'a [LogicalUnit<'_>]) -> bool {
        let (head, rest) = frozen.bytes.split_at(usize::from(frozen.head_len));
        let body_len = frozen.body_len as usize;
        self.put(head)
            && match frozen.source {
                Source::Nothing => true,
                Source::Area { at } => {
                    let at = at as usize;
                    self.put(area.get(at..at + body_len).unwrap_or_default())
                }
                Source::Disk { unit, at } => {
                    units.get(usize::from(unit)).is_some_and(|unit| self.lent(unit, at, body_len))
                }
            }
            && self.put(rest.get(..usize::from(frozen.tail_len)).unwrap_or_default())
    }

    /// Adds what a disk lends; false also if it does not lend it any more: the connection then stands still, which its peer
    /// will notice.
    #[inline]
    fn lent(&mut self, unit: &'a LogicalUnit<'_>, at: u64, len: usize) -> bool {
        let mut left = len;
        for run in unit.lent(at, len) {
            if !self.put(run) {
                return false;
            }
            left -= run.len();
        }
        left == 0
    }
}
