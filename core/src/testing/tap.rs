//! Looking on at the initiator's end of a link.

use alloc::vec::Vec;

use super::framer::digests_of;
use crate::digest::{DigestKind, crc32c, to_wire};
use crate::wire::{BHS_LEN, Bhs, Opcode, PduLengths};
use crate::{Direction, Instant};

/// Sees every byte that the initiator sends and receives, in their order, and tells the headers. It learns the digests from the login.
///
/// A direction in which a header digest does not match is not looked at any more: nobody can tell where its next PDU begins.
///
/// ```
/// use iscsi_core::testing::{Clock, Faults, Link, Rng, Tap};
/// use iscsi_core::{Direction, driver::Transport};
/// let mut link = Link::new(Faults::NONE, Faults::NONE, &mut Rng::new(1));
/// link.tap = Some(Tap::new());
/// link.initiator(&Clock::new()).send(&[&[0; 40], &[0; 8]]).unwrap();
/// let headers = link.tap.as_mut().unwrap().take_headers();
/// assert_eq!(headers, [(Direction::Sent, [0; 48])]);
/// ```
#[derive(Debug, Default)]
pub struct Tap {
    sent: Stream,
    received: Stream,
    digests: (DigestKind, DigestKind),
    headers: Vec<(Direction, Bhs)>,
    bytes: Option<Vec<(Direction, Instant, Vec<u8>)>>,
}

impl Tap {
    /// For a connection from its first byte.
    pub fn new() -> Self {
        Self::default()
    }

    /// The same, and the bytes are kept.
    pub fn keeping_bytes() -> Self {
        Self { bytes: Some(Vec::new()), ..Self::default() }
    }

    /// The headers since the last call.
    pub fn take_headers(&mut self) -> Vec<(Direction, Bhs)> {
        core::mem::take(&mut self.headers)
    }

    /// The bytes since the last call, if they are kept.
    pub fn take_bytes(&mut self) -> Vec<(Direction, Instant, Vec<u8>)> {
        self.bytes.as_mut().map(core::mem::take).unwrap_or_default()
    }

    pub(super) fn see(&mut self, direction: Direction, bytes: &[u8], now: Instant) {
        if bytes.is_empty() {
            return;
        }
        if let Some(kept) = &mut self.bytes {
            kept.push((direction, now, bytes.to_vec()));
        }
        let stream = match direction {
            Direction::Sent => &mut self.sent,
            Direction::Received => &mut self.received,
        };
        stream.push(bytes, &mut self.digests, |bhs| self.headers.push((direction, bhs)));
    }
}

/// One direction.
#[derive(Debug, Default)]
struct Stream {
    /// Header, additional segments and header digest, as far as they are there.
    head: Vec<u8>,
    /// Bytes of the data segment and its trailer that are still to come.
    left: usize,
    /// What a Login Response says.
    text: Option<Vec<u8>>,
    lost: bool,
}

impl Stream {
    fn push(
        &mut self,
        mut bytes: &[u8],
        digests: &mut (DigestKind, DigestKind),
        mut tell: impl FnMut(Bhs),
    ) {
        while !bytes.is_empty() && !self.lost {
            if self.left > 0 {
                let (now, later) = bytes.split_at(self.left.min(bytes.len()));
                self.left -= now.len();
                bytes = later;
                if let Some(text) = &mut self.text {
                    text.extend_from_slice(now);
                    if self.left == 0 {
                        learn(text, digests);
                    }
                }
                continue;
            }
            let Some(bhs) = self.head.first_chunk::<BHS_LEN>().copied() else {
                bytes = self.fill(BHS_LEN, bytes);
                if self.head.len() == BHS_LEN {
                    self.look(*digests, &mut tell);
                }
                continue;
            };
            let (header, data) = digests_of(&bhs, digests.0, digests.1);
            bytes = self.fill(BHS_LEN + PduLengths::new(&bhs, header, data).before_data(), bytes);
            self.look(*digests, &mut tell);
        }
    }

    fn fill<'a>(&mut self, to: usize, bytes: &'a [u8]) -> &'a [u8] {
        let (now, later) = bytes.split_at((to - self.head.len()).min(bytes.len()));
        self.head.extend_from_slice(now);
        later
    }

    /// Takes a header once everything before the data segment is there.
    fn look(&mut self, digests: (DigestKind, DigestKind), tell: &mut impl FnMut(Bhs)) {
        let Some(bhs) = self.head.first_chunk::<BHS_LEN>().copied() else { return };
        let (header, data) = digests_of(&bhs, digests.0, digests.1);
        let lengths = PduLengths::new(&bhs, header, data);
        if self.head.len() < BHS_LEN + lengths.before_data() {
            return;
        }
        let (covered, digest) = self.head.split_at(BHS_LEN + lengths.ahs);
        if !digest.is_empty() && digest != to_wire(crc32c(covered)) {
            self.lost = true;
            return;
        }
        self.head.clear();
        self.left = lengths.data + lengths.after_data();
        self.text = (Opcode::of(&bhs) == Some(Opcode::LoginResponse)).then(Vec::new);
        tell(bhs);
    }
}

/// What the text of a Login Response chooses. An offer without an answer chooses nothing.
pub(super) fn learn(text: &[u8], digests: &mut (DigestKind, DigestKind)) {
    for pair in text.split(|byte| *byte == 0) {
        let kind = |value: &[u8]| match value {
            b"CRC32C" => DigestKind::Crc32c,
            _ => DigestKind::None,
        };
        if let Some(value) = pair.strip_prefix(b"HeaderDigest=") {
            digests.0 = kind(value);
        } else if let Some(value) = pair.strip_prefix(b"DataDigest=") {
            digests.1 = kind(value);
        }
    }
}
