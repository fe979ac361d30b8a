//! Taking decisions and PDUs from the bytes of a fuzzer.

use alloc::vec::Vec;

use crate::wire::{BHS_LEN, Bhs, data_segment_length, padding};

/// The bytes of a fuzzer, from the front. Behind the end there are zeros.
///
/// ```
/// use iscsi_core::testing::fuzz::Input;
/// let mut input = Input::new(&[7, 1, 2, 9]);
/// assert_eq!((input.byte(), input.word()), (7, 0x0102));
/// assert_eq!((input.take(5), input.byte()), (&[9][..], 0));
/// ```
#[derive(Debug, Clone)]
pub struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    /// All of `bytes`.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Whether nothing is left.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The next byte.
    pub fn byte(&mut self) -> u8 {
        self.take(1).first().copied().unwrap_or(0)
    }

    /// The next two bytes, the high one first.
    pub fn word(&mut self) -> u16 {
        u16::from_be_bytes([self.byte(), self.byte()])
    }

    /// The next `len` bytes, or what is left of them.
    pub fn take(&mut self, len: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        taken
    }

    /// Everything that is left.
    pub fn rest(&mut self) -> &'a [u8] {
        self.take(usize::MAX)
    }

    /// The next PDU: a header, padded with zeros if it is cut off, and its additional headers and data as far as they are there. Its
    /// lengths say what is there, so that a change of one PDU does not shift the others.
    pub fn pdu(&mut self) -> Option<PduInput<'a>> {
        if self.is_empty() {
            return None;
        }
        let mut bhs = [0; BHS_LEN];
        let header = self.take(BHS_LEN);
        bhs[..header.len()].copy_from_slice(header);
        let ahs = self.take(usize::from(bhs[4]) * 4);
        let ahs = &ahs[..ahs.len() & !3];
        bhs[4] = (ahs.len() / 4) as u8;
        let len = data_segment_length(&bhs) as usize;
        let data = self.take(len);
        bhs[5..8].copy_from_slice(&(data.len() as u32).to_be_bytes()[1..]);
        self.take(padding(data.len()));
        Some(PduInput { bhs, ahs, data })
    }
}

/// A PDU whose lengths are true.
///
/// ```
/// use iscsi_core::testing::fuzz::Input;
/// let pdu = Input::new(&[0x20, 0x80, 0, 0, 0, 0, 1]).pdu().unwrap();
/// assert_eq!((pdu.bhs[0], pdu.bhs[6], pdu.data.len()), (0x20, 0, 0));
/// ```
#[derive(Debug, Clone)]
pub struct PduInput<'a> {
    /// The header.
    pub bhs: Bhs,
    /// The additional header segments.
    pub ahs: &'a [u8],
    /// The data segment.
    pub data: &'a [u8],
}

impl PduInput<'_> {
    /// As [`Input::pdu`] reads it: without digests.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = [&self.bhs, self.ahs, self.data].concat();
        bytes.resize(bytes.len() + padding(self.data.len()), 0);
        bytes
    }
}
