//! What the disks must hold.

use std::collections::BTreeMap;

use crate::Finding;
use crate::setup::BLOCK;

/// One disk. A block that a lost write may or may not have reached is open, byte by byte, until it is written or read again.
#[derive(Debug, Clone)]
pub(crate) struct Model {
    bytes: Vec<u8>,
    open: BTreeMap<usize, Open>,
}

/// What a block may hold instead of what is in `bytes`.
#[derive(Debug, Clone, Default)]
struct Open {
    other: Vec<Vec<u8>>,
    /// Anything.
    wild: bool,
}

impl Model {
    /// A disk of zeros.
    pub(crate) fn new(blocks: usize) -> Self {
        Self { bytes: vec![0; blocks * BLOCK], open: BTreeMap::new() }
    }

    /// What is there, if that is known.
    pub(crate) fn known(&self, lba: usize, blocks: usize) -> Option<&[u8]> {
        let open = self.open.range(lba..lba + blocks).next().is_some();
        (!open).then(|| &self.bytes[lba * BLOCK..(lba + blocks) * BLOCK])
    }

    /// These whole blocks were written.
    pub(crate) fn wrote(&mut self, lba: usize, data: &[u8]) {
        self.bytes[lba * BLOCK..][..data.len()].copy_from_slice(data);
        for block in lba..lba + data.len() / BLOCK {
            self.open.remove(&block);
        }
    }

    /// These blocks were to be written, and nobody knows what became of it.
    pub(crate) fn may_have_written(&mut self, lba: usize, data: &[u8], wild: bool) {
        for (block, new) in (lba..).zip(data.chunks(BLOCK)) {
            let open = self.open.entry(block).or_default();
            open.other.push(new.to_vec());
            open.wild |= wild;
        }
    }

    /// Any block may hold anything.
    pub(crate) fn forget(&mut self) {
        for block in 0..self.bytes.len() / BLOCK {
            self.open.entry(block).or_default().wild = true;
        }
    }

    /// These bytes were read, or found on the disk. An open block is then known: nothing may change it any more.
    pub(crate) fn compare(&mut self, lba: usize, data: &[u8]) -> Result<(), Finding> {
        for (block, found) in (lba..).zip(data.chunks(BLOCK)) {
            let expected = &self.bytes[block * BLOCK..][..BLOCK];
            let open = self.open.get(&block);
            if open.is_some_and(|open| open.wild) {
                continue;
            }
            let may_be = |at: usize, byte: u8| {
                byte == expected[at]
                    || open.is_some_and(|open| open.other.iter().any(|other| other[at] == byte))
            };
            if let Some(at) = (0..BLOCK).find(|at| !may_be(*at, found[*at])) {
                let (found, expected) = (found[at], expected[at]);
                return Err(format!(
                    "block {block} byte {at} is {found:#04x} instead of {expected:#04x}"
                ));
            }
        }
        self.wrote(lba, data);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_write_leaves_each_byte_old_or_new_until_it_is_seen() {
        let mut model = Model::new(2);
        model.wrote(0, &[1; 2 * BLOCK]);
        model.may_have_written(1, &[2; BLOCK], false);
        assert!(model.known(0, 1).is_some() && model.known(0, 2).is_none());
        let mut found = [1; BLOCK];
        found[5..9].fill(2);
        assert!(model.clone().compare(1, &[3; BLOCK]).is_err());
        model.compare(1, &found).unwrap();
        assert_eq!(model.known(1, 1), Some(&found[..]));
        assert!(model.compare(1, &[2; BLOCK]).is_err(), "it changes no more");
    }

    #[test]
    fn anything_is_on_a_block_that_damaged_bytes_may_have_reached() {
        let mut model = Model::new(1);
        model.may_have_written(0, &[2; BLOCK], true);
        model.compare(0, &[9; BLOCK]).unwrap();
        assert!(model.compare(0, &[8; BLOCK]).is_err());
        model.forget();
        model.compare(0, &[8; BLOCK]).unwrap();
    }
}
