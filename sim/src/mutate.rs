//! Where bytes change on their way, and how.

use iscsi_core::testing::{Edit, Mutation, Rng};

/// The changes on a connection: to the target, and to the initiator.
pub(crate) fn draw(rng: &mut Rng) -> [Vec<Mutation>; 2] {
    let mut plans = [Vec::new(), Vec::new()];
    for _ in 0..=rng.below(6) {
        let way = rng.below(2) as usize;
        let (pdu, at) = (rng.below(32), rng.below(0x1_0000) as usize);
        let byte = rng.below(256);
        let count = 1 + (byte % 64) as usize;
        let (at, edit) = match rng.below(10) {
            0..3 => (at, Edit::Flip(byte as u8)),
            3 | 4 => (at, Edit::Set(byte as u8)),
            5 => (at, Edit::Remove(count)),
            6 => (at, Edit::Repeat(count)),
            7 => (at, Edit::Insert(count, at as u8)),
            8 => (0, Edit::Repeat(usize::MAX)),
            _ => (0, Edit::Remove(usize::MAX)),
        };
        plans[way].push(Mutation { pdu, at, edit });
    }
    plans
}
