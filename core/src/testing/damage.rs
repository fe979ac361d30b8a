//! Bits turned over where only the data digest sees it.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use super::framer::digests_of;
use super::rng::Rng;
use crate::digest::DigestKind;
use crate::wire::{BHS_LEN, Bhs, Opcode, PduLengths};

/// Single bits turned over in data segments, padding and data digests, counted by the kind of PDU.
#[derive(Debug)]
pub(super) struct Damage {
    rng: Rng,
    per_mille: u16,
    pub(super) counts: BTreeMap<&'static str, u64>,
}

impl Damage {
    pub(super) const fn new(rng: Rng, per_mille: u16) -> Self {
        Self { rng, per_mille, counts: BTreeMap::new() }
    }

    /// Damages a PDU with a data segment and a data digest, if chance wants it.
    pub(super) fn damage(&mut self, pdu: &mut [u8], digests: (DigestKind, DigestKind)) {
        let Some(bhs) = pdu.first_chunk::<BHS_LEN>() else { return };
        let (header, data) = digests_of(bhs, digests.0, digests.1);
        let lengths = PduLengths::new(bhs, header, data);
        let is_seen = lengths.data > 0 && data != DigestKind::None;
        if !is_seen || !self.rng.per_mille(self.per_mille) {
            return;
        }
        *self.counts.entry(kind(bhs)).or_default() += 1;
        // Padding and digest are short, and worth a fourth of the cases.
        let end = pdu.len();
        let behind = end - lengths.after_data();
        let start = behind - lengths.data;
        let range = if self.rng.below(4) == 0 && behind < end { behind..end } else { start..end };
        let bit = self.rng.below(range.len() as u64 * 8) as usize;
        pdu[range.start + bit / 8] ^= 1 << (bit % 8);
    }
}

/// What the PDU is, as far as recovery makes a difference.
fn kind(bhs: &Bhs) -> &'static str {
    match Opcode::of(bhs) {
        Some(Opcode::DataIn) if bhs[1] & 0x01 != 0 => "Data-In with status",
        Some(Opcode::DataIn) => "Data-In",
        Some(Opcode::ScsiResponse) => "SCSI Response",
        Some(Opcode::DataOut) if bhs[1] & 0x80 != 0 => "last Data-Out",
        Some(Opcode::DataOut) => "Data-Out",
        Some(Opcode::ScsiCommand) => "SCSI Command",
        Some(Opcode::Reject) => "Reject",
        _ => "other",
    }
}

/// The numbers of a run, for printing.
pub(super) fn list(counts: &BTreeMap<&'static str, u64>) -> Vec<(&'static str, u64)> {
    counts.iter().map(|(kind, count)| (*kind, *count)).collect()
}
