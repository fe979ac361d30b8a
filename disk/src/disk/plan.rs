//! From a request to its commands.

use core::num::NonZero;

use iscsi_core::{OnLoss, Transfer};
use iscsi_scsi::block::{CompareAndWrite, Read10, Read16, Write10, Write16};
use iscsi_scsi::cache::SynchronizeCache10;
use iscsi_scsi::provisioning::{Unmap, UnmapDescriptor, UnmapList, WriteSame10, WriteSame16};
use iscsi_scsi::verify::{Verify10, Verify16};
use iscsi_scsi::{ByteCheck, Cdb};

use crate::config::DiskConfig;
use crate::geometry::{Geometry, UnmapMethod, ZeroMethod};
use crate::request::Operation;
use crate::slot::{CommandEntry, Kind, Phase, RequestEntry};
use crate::split::{PieceLimit, overlap};

/// What is worked out once per device: methods and limits of commands, in blocks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) transfer: PieceLimit,
    pub(crate) same: PieceLimit,
    pub(crate) unmap: PieceLimit,
    pub(crate) zero: ZeroMethod,
    pub(crate) zero_by_unmapping: bool,
    pub(crate) unmap_method: UnmapMethod,
    pub(crate) fua: bool,
}

/// One command to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) kind: Kind,
    pub(crate) lba: u64,
    pub(crate) blocks: u32,
    /// Where the cursor stands before it, and after it.
    pub(crate) place: u64,
    pub(crate) after: u64,
}

const ANYWHERE: PieceLimit = PieceLimit { max: 1, granularity: 1, first: 0 };

impl Plan {
    pub(crate) const NONE: Self = Self {
        transfer: ANYWHERE,
        same: ANYWHERE,
        unmap: ANYWHERE,
        zero: ZeroMethod::Write,
        zero_by_unmapping: false,
        unmap_method: UnmapMethod::None,
        fua: false,
    };

    pub(crate) fn new(geometry: &Geometry, config: &DiskConfig) -> Self {
        let (granularity, first) = geometry.transfer_granularity();
        let max = geometry.max_transfer_blocks(config.max_transfer);
        let mut plan = Self {
            transfer: PieceLimit { max, granularity, first },
            unmap_method: geometry.unmap_method(),
            fua: geometry.has_fua(),
            ..Self::NONE
        };
        let (granularity, first) = geometry.deallocation_granularity();
        let max = match plan.unmap_method {
            UnmapMethod::Unmap => geometry.max_unmap_blocks(),
            UnmapMethod::Same16 => geometry.max_same_blocks(u32::MAX),
            UnmapMethod::Same10 | UnmapMethod::None => geometry.max_same_blocks(0xffff),
        };
        plan.unmap = PieceLimit { max, granularity, first };
        plan.set_zero_method(geometry.zero_method(), geometry);
        plan
    }

    /// Chooses how zeros are written.
    pub(crate) fn set_zero_method(&mut self, method: ZeroMethod, geometry: &Geometry) {
        let (granularity, first) = geometry.deallocation_granularity();
        let count = if method == ZeroMethod::Same10 { 0xffff } else { u32::MAX };
        let max = geometry.max_same_blocks(count);
        self.zero = method;
        self.zero_by_unmapping = geometry.zeroes_by_unmapping(method);
        self.same = PieceLimit { max, granularity, first };
    }

    /// The next command of a request; `None` if all of this phase was submitted.
    pub(crate) fn next(&self, request: &RequestEntry) -> Option<Piece> {
        let place = request.cursor;
        if request.phase == Phase::Edges {
            return (place < request.edges()).then(|| Piece {
                kind: Kind::ReadEdge(place as u8),
                lba: request.edge_lba(place),
                blocks: 1,
                place,
                after: place + 1,
            });
        }
        let left = request.end.checked_sub(place).filter(|&left| left > 0)?;
        let ranged = |kind, limit: &PieceLimit, left| {
            let blocks = limit.piece(place, left);
            Piece { kind, lba: place, blocks, place, after: place + u64::from(blocks) }
        };
        let whole = |kind| Piece {
            kind,
            lba: request.first,
            blocks: left as u32,
            place,
            after: request.end,
        };
        if request.phase == Phase::Flush {
            return Some(whole(Kind::Flush));
        }
        Some(match request.operation {
            Operation::Read => ranged(Kind::Read, &self.transfer, left),
            Operation::Write { .. } => ranged(Kind::Write, &self.transfer, left),
            Operation::Verify => ranged(Kind::Verify, &self.transfer, left),
            Operation::Compare => ranged(Kind::Compare, &self.transfer, left),
            Operation::Flush => whole(Kind::Flush),
            Operation::CompareAndWrite => whole(Kind::CompareAndWrite),
            Operation::Unmap if self.unmap_method == UnmapMethod::Unmap => {
                ranged(Kind::Unmap, &self.unmap, left)
            }
            Operation::Unmap => ranged(Kind::UnmapSame, &self.unmap, left),
            Operation::WriteZeroes { .. } if self.zero == ZeroMethod::Write => {
                ranged(Kind::WriteZeros, &self.transfer, left)
            }
            Operation::WriteZeroes { .. } => {
                // Blocks that are covered in part keep the rest of their content.
                let cut =
                    (request.head_cut && place == request.first) || (request.tail_cut && left == 1);
                if cut {
                    ranged(Kind::WriteZeros, &ANYWHERE, 1)
                } else {
                    let left = left - u64::from(request.tail_cut);
                    ranged(Kind::WriteSame, &self.same, left)
                }
            }
        })
    }

    /// The CDB of a command and its entry in the table, without the task.
    pub(crate) fn command(
        &self,
        piece: &Piece,
        request: &RequestEntry,
        block_size: u32,
    ) -> (Cdb, CommandEntry, OnLoss) {
        let cdb = self.cdb(piece, request);
        let mut entry = CommandEntry { kind: piece.kind, place: piece.place, ..CommandEntry::NONE };
        // The limits keep this below 2^32.
        let bytes = u32::try_from(cdb.expected_bytes(block_size)).unwrap_or(u32::MAX);
        entry.transfer = match cdb.direction() {
            iscsi_scsi::Direction::None => Transfer::None,
            iscsi_scsi::Direction::In => Transfer::In(bytes),
            iscsi_scsi::Direction::Out => Transfer::Out(bytes),
        };
        match piece.kind {
            Kind::Read | Kind::Write | Kind::WriteZeros | Kind::Compare => {
                let start = piece.lba.saturating_mul(block_size.into());
                (entry.skip, entry.base, entry.run) =
                    overlap(start, bytes, request.offset, request.len);
            }
            Kind::CompareAndWrite => entry.run = bytes,
            Kind::Unmap => {
                let range = UnmapDescriptor { lba: piece.lba, blocks: piece.blocks };
                // The list of one range has 24 bytes, which is what there is.
                let _length = UnmapList::build(&[range], &mut entry.list);
            }
            _ => {}
        }
        let on_loss = match piece.kind {
            // Done twice, it would compare with what it wrote itself.
            Kind::CompareAndWrite => OnLoss::Report,
            _ => OnLoss::Reissue,
        };
        (cdb, entry, on_loss)
    }

    fn cdb(&self, piece: &Piece, request: &RequestEntry) -> Cdb {
        let &Piece { lba, blocks, .. } = piece;
        // The 10-byte form wherever address and count fit.
        let short = match (u32::try_from(lba), u16::try_from(blocks)) {
            (Ok(lba), Ok(blocks)) => Some((lba, blocks)),
            _ => None,
        };
        let fua = self.fua && matches!(request.operation, Operation::Write { fua: true });
        let check = match piece.kind {
            Kind::Compare => ByteCheck::COMPARE,
            _ => ByteCheck::MEDIUM,
        };
        match piece.kind {
            Kind::Read | Kind::ReadEdge(_) | Kind::Probe => match short {
                Some((lba, blocks)) => Read10 { lba, blocks, ..Default::default() }.cdb(),
                None => Read16 { lba, blocks, ..Default::default() }.cdb(),
            },
            Kind::Write | Kind::WriteZeros => match short {
                Some((lba, blocks)) => Write10 { lba, blocks, fua, ..Default::default() }.cdb(),
                None => Write16 { lba, blocks, fua, ..Default::default() }.cdb(),
            },
            Kind::Verify | Kind::Compare => match short {
                Some((lba, blocks)) => Verify10 { lba, blocks, check, ..Default::default() }.cdb(),
                None => Verify16 { lba, blocks, check, ..Default::default() }.cdb(),
            },
            Kind::WriteSame => {
                let deallocate = request.operation == Operation::WriteZeroes { deallocate: true };
                let ndob = self.zero == ZeroMethod::Same16NoData;
                let unmap = deallocate && self.zero_by_unmapping;
                Self::write_same(lba, blocks, unmap, ndob, self.zero == ZeroMethod::Same10)
            }
            Kind::UnmapSame => {
                let same_10 = self.unmap_method == UnmapMethod::Same10;
                Self::write_same(lba, blocks, true, false, same_10)
            }
            Kind::Unmap => {
                let parameter_list_length = UnmapList::size(1) as u16;
                Unmap { parameter_list_length, ..Default::default() }.cdb()
            }
            Kind::CompareAndWrite => {
                CompareAndWrite { lba, blocks: blocks as u8, ..Default::default() }.cdb()
            }
            Kind::Flush => SynchronizeCache10::default().cdb(),
        }
    }

    fn write_same(lba: u64, blocks: u32, unmap: bool, ndob: bool, same_10: bool) -> Cdb {
        match (u32::try_from(lba), u16::try_from(blocks)) {
            (Ok(lba), Ok(blocks)) if same_10 => {
                let blocks = NonZero::new(blocks);
                WriteSame10 { lba, blocks, unmap, ..Default::default() }.cdb()
            }
            _ => {
                let blocks = NonZero::new(blocks);
                WriteSame16 { lba, blocks, unmap, ndob, ..Default::default() }.cdb()
            }
        }
    }
}
