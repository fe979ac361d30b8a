//! Changes to bytes on their way, each at a place that somebody has chosen.

use alloc::vec::Vec;

use crate::wire::{BHS_LEN, Bhs, Opcode};

/// A change to the bytes of one PDU.
///
/// ```
/// use iscsi_core::testing::{Edit, Mutation};
/// let mut bytes = vec![1, 2, 3];
/// Mutation { pdu: 0, at: 4, edit: Edit::Flip(7) }.apply(&mut bytes);
/// assert_eq!(bytes, [1, 0x82, 3]);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mutation {
    /// The number of the PDU, the first one being 0.
    pub pdu: u64,
    /// The byte within the PDU, with its padding and digests. What is beyond its end counts from the front again.
    pub at: usize,
    /// What happens there.
    pub edit: Edit,
}

/// What happens to bytes.
///
/// ```
/// use iscsi_core::testing::{Edit, Mutation};
/// let mut bytes = vec![1, 2, 3];
/// Mutation { pdu: 0, at: 1, edit: Edit::Repeat(2) }.apply(&mut bytes);
/// assert_eq!(bytes, [1, 2, 3, 2, 3]);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Edit {
    /// The bit of this number, modulo 8, turns over.
    Flip(u8),
    /// The byte becomes this.
    Set(u8),
    /// So many bytes are left out.
    Remove(usize),
    /// So many bytes come twice.
    Repeat(usize),
    /// So many bytes of this value come before it.
    Insert(usize, u8),
}

impl Mutation {
    /// Changes the bytes of a PDU; nothing if there are none.
    pub fn apply(&self, pdu: &mut Vec<u8>) {
        if pdu.is_empty() {
            return;
        }
        let at = self.at % pdu.len();
        let upto = |count: usize| at.saturating_add(count).min(pdu.len());
        match self.edit {
            Edit::Flip(bit) => pdu[at] ^= 1 << (bit % 8),
            Edit::Set(byte) => pdu[at] = byte,
            Edit::Remove(count) => {
                let end = upto(count);
                pdu.drain(at..end);
            }
            Edit::Repeat(count) => {
                let end = upto(count);
                let again = pdu[at..end].to_vec();
                pdu.splice(end..end, again);
            }
            Edit::Insert(count, byte) => {
                pdu.splice(at..at, core::iter::repeat_n(byte, count));
            }
        }
    }
}

/// The changes to one direction of a connection.
#[derive(Debug)]
pub(super) struct Mutations {
    list: Vec<Mutation>,
    spares_logins: bool,
    passed: u64,
    pub(super) applied: u64,
}

impl Mutations {
    pub(super) const fn new(list: Vec<Mutation>, spares_logins: bool) -> Self {
        Self { list, spares_logins, passed: 0, applied: 0 }
    }

    pub(super) fn change(&mut self, pdu: &mut Vec<u8>) {
        let opcode = pdu.first_chunk::<BHS_LEN>().and_then(|bhs: &Bhs| Opcode::of(bhs));
        let is_login = matches!(opcode, Some(Opcode::LoginRequest | Opcode::LoginResponse));
        if self.spares_logins && is_login {
            return;
        }
        for mutation in self.list.iter().filter(|mutation| mutation.pdu == self.passed) {
            mutation.apply(pdu);
            self.applied += 1;
        }
        self.passed += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_stay_within_the_pdu() {
        let edit = |at, edit| {
            let mut bytes = alloc::vec![1, 2, 3];
            Mutation { pdu: 0, at, edit }.apply(&mut bytes);
            bytes
        };
        assert_eq!(edit(2, Edit::Remove(9)), [1, 2]);
        assert_eq!(edit(0, Edit::Remove(usize::MAX)), []);
        assert_eq!(edit(2, Edit::Repeat(usize::MAX)), [1, 2, 3, 3]);
        assert_eq!(edit(5, Edit::Insert(2, 9)), [1, 2, 9, 9, 3]);
        assert_eq!(edit(usize::MAX, Edit::Set(7)).len(), 3);
        let mut none = Vec::new();
        Mutation { pdu: 0, at: 3, edit: Edit::Flip(1) }.apply(&mut none);
        assert_eq!(none, []);
    }

    #[test]
    fn pdus_of_a_login_are_not_counted_where_they_are_spared() {
        let mutation = Mutation { pdu: 0, at: 20, edit: Edit::Set(5) };
        let [mut sparing, mut all] =
            [true, false].map(|spares| Mutations::new(alloc::vec![mutation], spares));
        let (mut login, mut other) = (alloc::vec![0x43; BHS_LEN], alloc::vec![0x01; BHS_LEN]);
        sparing.change(&mut login);
        sparing.change(&mut other);
        assert_eq!((login[20], other[20], sparing.applied), (0x43, 5, 1));
        all.change(&mut login);
        assert_eq!((login[20], all.applied), (5, 1));
    }
}
