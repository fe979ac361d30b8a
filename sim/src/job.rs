//! What the application asks of a disk.

use core::num::NonZero;

use iscsi_core::Transfer;
use iscsi_core::testing::Rng;
use iscsi_scsi::ByteCheck;
use iscsi_scsi::block::{CompareAndWrite, Read10, Read16, Write10, Write16};
use iscsi_scsi::cache::SynchronizeCache10;
use iscsi_scsi::primary::TestUnitReady;
use iscsi_scsi::provisioning::{Unmap, UnmapDescriptor, UnmapList, WriteSame16};
use iscsi_scsi::verify::Verify10;

use crate::model::Model;
use crate::setup::BLOCK;

/// One command, and what it is to do to the disk.
#[derive(Debug, Clone)]
pub(crate) struct Job {
    pub(crate) lba: usize,
    pub(crate) cdb: Vec<u8>,
    pub(crate) transfer: Transfer,
    pub(crate) out: Vec<u8>,
    /// What the blocks from `lba` on hold afterwards; empty if it writes nothing.
    pub(crate) writes: Vec<u8>,
    /// It compares, and what it compares with is wrong.
    pub(crate) miscompares: bool,
}

impl Job {
    fn new(lba: usize, cdb: iscsi_scsi::Cdb, transfer: Transfer) -> Self {
        let cdb = cdb.as_bytes().to_vec();
        Self { lba, cdb, transfer, out: Vec::new(), writes: Vec::new(), miscompares: false }
    }

    fn sending(lba: usize, cdb: iscsi_scsi::Cdb, out: Vec<u8>) -> Self {
        Self { out: out.clone(), ..Self::new(lba, cdb, Transfer::Out(out.len() as u32)) }
    }

    pub(crate) fn test_unit_ready() -> Self {
        Self::new(0, TestUnitReady.cdb(), Transfer::None)
    }

    pub(crate) fn read(lba: usize, blocks: usize) -> Self {
        let cdb = Read10 { lba: lba as u32, blocks: blocks as u16, ..Default::default() }.cdb();
        Self::new(lba, cdb, Transfer::In((blocks * BLOCK) as u32))
    }

    /// Any job within these blocks.
    pub(crate) fn draw(rng: &mut Rng, model: &Model, lane: core::ops::Range<usize>) -> Self {
        let most = if rng.below(4) == 0 { lane.len() } else { lane.len() / 2 };
        let blocks = 1 + rng.below(most as u64) as usize;
        let lba = lane.start + rng.below((lane.len() - blocks + 1) as u64) as usize;
        let known = model.known(lba, blocks).map(<[u8]>::to_vec);
        match (rng.below(20), known) {
            (0..6, _) => Self::read(lba, blocks),
            (6, _) => {
                let (lba64, count) = (lba as u64, blocks as u32);
                let cdb = Read16 { lba: lba64, blocks: count, ..Default::default() }.cdb();
                Self::new(lba, cdb, Transfer::In((blocks * BLOCK) as u32))
            }
            (7, _) => Self::write_same(rng, lba, blocks),
            (8, _) => Self::unmap(lba, blocks),
            (9, _) => Self::new(lba, SynchronizeCache10::default().cdb(), Transfer::None),
            (10, Some(known)) => Self::compare_and_write(rng, lba, &known),
            (11, Some(known)) => Self::verify(rng, lba, known),
            _ => Self::write(rng, lba, blocks),
        }
    }

    fn write(rng: &mut Rng, lba: usize, blocks: usize) -> Self {
        let mut data = vec![0; blocks * BLOCK];
        rng.fill(&mut data);
        let fua = rng.below(8) == 0;
        let cdb = if rng.below(4) == 0 {
            let (lba, blocks) = (lba as u64, blocks as u32);
            Write16 { lba, blocks, fua, ..Default::default() }.cdb()
        } else {
            let (lba, blocks) = (lba as u32, blocks as u16);
            Write10 { lba, blocks, fua, ..Default::default() }.cdb()
        };
        Self { writes: data.clone(), ..Self::sending(lba, cdb, data) }
    }

    fn write_same(rng: &mut Rng, lba: usize, blocks: usize) -> Self {
        let ndob = rng.below(3) == 0;
        let unmap = rng.below(3) == 0;
        let count = NonZero::new(blocks as u32);
        let cdb =
            WriteSame16 { lba: lba as u64, blocks: count, unmap, ndob, ..Default::default() }.cdb();
        if ndob {
            return Self { writes: vec![0; blocks * BLOCK], ..Self::new(lba, cdb, Transfer::None) };
        }
        let mut block = vec![0; BLOCK];
        if rng.below(4) > 0 {
            rng.fill(&mut block);
        }
        Self { writes: block.repeat(blocks), ..Self::sending(lba, cdb, block) }
    }

    fn unmap(lba: usize, blocks: usize) -> Self {
        let range = UnmapDescriptor { lba: lba as u64, blocks: blocks as u32 };
        let mut list = vec![0; UnmapList::size(1)];
        let len = UnmapList::build(&[range], &mut list).unwrap_or(0);
        let cdb = Unmap { parameter_list_length: len as u16, ..Default::default() }.cdb();
        Self { writes: vec![0; blocks * BLOCK], ..Self::sending(lba, cdb, list) }
    }

    fn compare_and_write(rng: &mut Rng, lba: usize, known: &[u8]) -> Self {
        let blocks = (known.len() / BLOCK).min(8);
        let mut new = vec![0; blocks * BLOCK];
        rng.fill(&mut new);
        let mut out = known[..new.len()].to_vec();
        let miscompares = rng.below(3) == 0;
        if miscompares {
            let at = rng.below(out.len() as u64) as usize;
            out[at] ^= 0x10;
        }
        out.extend_from_slice(&new);
        let cdb = CompareAndWrite { lba: lba as u64, blocks: blocks as u8, ..Default::default() };
        let writes = if miscompares { Vec::new() } else { new };
        Self { writes, miscompares, ..Self::sending(lba, cdb.cdb(), out) }
    }

    fn verify(rng: &mut Rng, lba: usize, known: Vec<u8>) -> Self {
        let mut out = known;
        let miscompares = rng.below(3) == 0;
        if miscompares {
            let at = rng.below(out.len() as u64) as usize;
            out[at] ^= 0x10;
        }
        let (blocks, check) = ((out.len() / BLOCK) as u16, ByteCheck::COMPARE);
        let cdb = Verify10 { lba: lba as u32, blocks, check, ..Default::default() }.cdb();
        Self { miscompares, ..Self::sending(lba, cdb, out) }
    }
}
