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
    /// How often what the initiator numbers as received was hit.
    hits: BTreeMap<Number, u32>,
}

/// What stays the same when a PDU to the initiator is sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Number {
    /// The DataSN of a Data-In, and the Initiator Task Tag.
    Data(u32, u32),
    /// A StatSN.
    Status(u32),
}

impl Damage {
    pub(super) const fn new(rng: Rng, per_mille: u16) -> Self {
        Self { rng, per_mille, counts: BTreeMap::new(), hits: BTreeMap::new() }
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
        for number in numbers(bhs).into_iter().flatten() {
            *self.hits.entry(number).or_default() += 1;
        }
        // Padding and digest are short, and worth a fourth of the cases.
        let end = pdu.len();
        let behind = end - lengths.after_data();
        let start = behind - lengths.data;
        let range = if self.rng.below(4) == 0 && behind < end { behind..end } else { start..end };
        let bit = self.rng.below(range.len() as u64 * 8) as usize;
        pdu[range.start + bit / 8] ^= 1 << (bit % 8);
    }

    /// How often the PDU to the initiator was hit that was hit most often, each time that it was sent counting.
    pub(super) fn most(&self) -> u32 {
        self.hits.values().copied().max().unwrap_or(0)
    }
}

/// The numbers of a PDU to the initiator; a Data-In with a status has both.
fn numbers(bhs: &Bhs) -> [Option<Number>; 2] {
    let word = |at: usize| u32::from_be_bytes([bhs[at], bhs[at + 1], bhs[at + 2], bhs[at + 3]]);
    let status = Some(Number::Status(word(24)));
    match Opcode::of(bhs) {
        Some(Opcode::DataIn) => {
            let data = Number::Data(word(36), word(16));
            [Some(data), status.filter(|_| bhs[1] & 0x01 != 0)]
        }
        _ => [None, status],
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Framer;

    /// A PDU with two bytes of data and a data digest: the opcode, flags, Initiator Task Tag, StatSN and DataSN.
    fn pdu(opcode: u8, flags: u8, itt: u8, stat_sn: u8, data_sn: u8) -> Vec<u8> {
        let mut bhs = [0; BHS_LEN];
        (bhs[0], bhs[1], bhs[7]) = (opcode, flags, 2);
        (bhs[19], bhs[27], bhs[39]) = (itt, stat_sn, data_sn);
        Framer::new(DigestKind::None, DigestKind::Crc32c).frame(&bhs, &[], &[1, 2])
    }

    #[test]
    fn what_comes_again_is_the_same_pdu() {
        let hit = |pdus: &[Vec<u8>]| {
            let mut damage = Damage::new(Rng::new(1), 1000);
            for pdu in pdus {
                damage.damage(&mut pdu.clone(), (DigestKind::None, DigestKind::Crc32c));
            }
            damage.most()
        };
        let (data_in, response, with_status) = (0x25, 0x21, 0x81);
        assert_eq!(hit(&[]), 0);
        // Data-In without a status: its StatSN says nothing, and each task counts for itself.
        assert_eq!(hit(&[pdu(data_in, 0, 1, 0, 0), pdu(data_in, 0, 1, 0, 1)]), 1);
        assert_eq!(hit(&[pdu(data_in, 0, 1, 0, 0), pdu(data_in, 0, 2, 0, 0)]), 1);
        assert_eq!(hit(&[pdu(data_in, 0, 1, 0, 0), pdu(data_in, 0, 1, 9, 0)]), 2);
        // A status may come again without the data that it came with.
        assert_eq!(hit(&[pdu(data_in, with_status, 1, 7, 3), pdu(response, 0x80, 1, 7, 0)]), 2);
        assert_eq!(hit(&[pdu(response, 0x80, 1, 7, 0), pdu(response, 0x80, 2, 8, 0)]), 1);
    }
}
