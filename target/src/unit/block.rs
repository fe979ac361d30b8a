//! Commands that name blocks: READ, WRITE, VERIFY and their relatives (SBC).

use iscsi_core::wire::ScsiStatus;
use iscsi_scsi::command::{BlockAction, BlockRange};
use iscsi_scsi::provisioning::UnmapList;
use iscsi_scsi::sense::{AdditionalSense, SenseKey};
use iscsi_scsi::{ByteCheck, Command, Protect, Sense};

use super::{LogicalUnit, Start, bad_field, illegal};
use crate::conn::{Ending, STAGING};
use crate::disk::zero;

/// The most blocks of one WRITE SAME.
pub(super) const MAX_WRITE_SAME: u64 = 0x1_0000;

/// The most descriptors of one UNMAP: what fits into a page.
pub(super) const MAX_UNMAP_DESCRIPTORS: u32 = 255;

/// Bytes compared or written at once where the disk does not lend.
const CHUNK: usize = 512;

impl LogicalUnit<'_> {
    /// The most blocks of one COMPARE AND WRITE: both halves have to fit into the staging area.
    pub(super) fn max_compare_and_write(&self) -> u8 {
        (STAGING / 2 / self.block_size as usize).min(255) as u8
    }

    #[inline]
    pub(super) fn start_block(
        &mut self,
        command: &Command,
        range: &BlockRange,
    ) -> Result<Start, Ending> {
        if range.protect != Protect::NONE {
            return Err(bad_field(1, 7));
        }
        if range.action.writes() {
            self.check_writable()?;
        } else {
            self.check_started()?;
        }
        let Some(blocks) = range.resolve(self.blocks) else {
            return Err(illegal(AdditionalSense::LBA_OUT_OF_RANGE));
        };
        let size = u64::from(self.block_size);
        let at = blocks.start * size;
        let count = blocks.end - blocks.start;
        let length = count * size;
        let good = Ok(Start::Done(ScsiStatus::Good));
        match range.action {
            BlockAction::Read if length == 0 => good,
            BlockAction::Read => Ok(Start::Read { at, length }),
            BlockAction::Write | BlockAction::WriteAndVerify if length == 0 => good,
            BlockAction::Write => Ok(Start::Write { at, length, fua: range.fua }),
            BlockAction::WriteAndVerify => Ok(Start::Write { at, length, fua: true }),
            BlockAction::Verify => match byte_check(command) {
                ByteCheck::COMPARE if length > 0 => Ok(Start::Compare { at, length }),
                ByteCheck::COMPARE_ONE_BLOCK if length > 0 => {
                    Ok(Start::Staged { length: self.block_size })
                }
                _ => good,
            },
            BlockAction::CompareAndWrite if length == 0 => good,
            BlockAction::CompareAndWrite => {
                if count > self.max_compare_and_write().into() {
                    return Err(bad_field(13, 7));
                }
                Ok(Start::Staged { length: 2 * length as u32 })
            }
            BlockAction::WriteSame => self.start_write_same(command, range, count),
            BlockAction::Synchronize => self.flush().map(|()| Start::Done(ScsiStatus::Good)),
            BlockAction::PreFetch => Ok(Start::Done(ScsiStatus::ConditionMet)),
            _ => Err(illegal(AdditionalSense::INVALID_OPERATION_CODE)),
        }
    }

    fn start_write_same(
        &mut self,
        command: &Command,
        range: &BlockRange,
        count: u64,
    ) -> Result<Start, Ending> {
        let same = write_same(command);
        // WSNZ: a count of 0 does not mean "to the end" here.
        if range.blocks.is_none() || count > MAX_WRITE_SAME {
            return Err(bad_field(if same.long { 10 } else { 7 }, 7));
        }
        if same.anchor {
            return Err(bad_field(1, 4));
        }
        if same.unmap && !self.disk.is_thin() {
            return Err(bad_field(1, 3));
        }
        if same.no_data {
            self.write_same(range, same.unmap, None)?;
            return Ok(Start::Done(ScsiStatus::Good));
        }
        Ok(Start::Staged { length: self.block_size })
    }

    pub(super) fn finish_block(
        &mut self,
        command: &Command,
        range: &BlockRange,
        data: &[u8],
    ) -> Result<(), Ending> {
        match range.action {
            BlockAction::WriteSame => self.write_same(range, write_same(command).unmap, Some(data)),
            BlockAction::CompareAndWrite => self.compare_and_write(range, data),
            BlockAction::Verify => self.verify_with_block(range, data),
            _ => Err(illegal(AdditionalSense::INVALID_OPERATION_CODE)),
        }
    }

    /// Makes everything written so far durable.
    pub(crate) fn flush(&mut self) -> Result<(), Ending> {
        Ok(self.disk.flush()?)
    }

    /// Stores Data-Out.
    #[inline]
    pub(crate) fn write(&mut self, at: u64, data: &[u8]) -> Result<(), Ending> {
        Ok(self.disk.write(at, data)?)
    }

    /// Compares Data-Out with the disk. `offset` is where `data` stands in the command's data.
    pub(crate) fn compare(&mut self, at: u64, data: &[u8], offset: u64) -> Result<(), Ending> {
        let mut done = 0;
        while let Some(rest) = data.get(done..).filter(|rest| !rest.is_empty()) {
            let from = at + done as u64;
            let mut copy = [0; CHUNK];
            let there = match self.disk.lend(from, rest.len()) {
                Some(lent) => lent,
                None => {
                    let len = rest.len().min(CHUNK);
                    let copy = &mut copy[..len];
                    self.disk.read(from, copy)?;
                    copy
                }
            };
            if let Some(n) = rest.iter().zip(there).position(|(ours, theirs)| ours != theirs) {
                let position = offset + done as u64 + n as u64;
                return Err(Sense::new(
                    SenseKey::MISCOMPARE,
                    AdditionalSense::MISCOMPARE_DURING_VERIFY,
                )
                .with_information(position)
                .into());
            }
            if there.is_empty() {
                return Err(crate::DiskError::Failed.into());
            }
            done += there.len().min(rest.len());
        }
        Ok(())
    }

    fn compare_and_write(&mut self, range: &BlockRange, data: &[u8]) -> Result<(), Ending> {
        let (expected, new) = data.split_at(data.len() / 2);
        let at = range.lba * u64::from(self.block_size);
        self.compare(at, expected, 0)?;
        self.write(at, new)?;
        if range.fua { self.flush() } else { Ok(()) }
    }

    fn verify_with_block(&mut self, range: &BlockRange, block: &[u8]) -> Result<(), Ending> {
        let size = u64::from(self.block_size);
        for n in 0..u64::from(range.blocks.unwrap_or(0)) {
            self.compare((range.lba + n) * size, block, n * size)?;
        }
        Ok(())
    }

    /// Writes one block over and over; without a block, or with zeros and permission to unmap, unmaps or writes zeros.
    fn write_same(
        &mut self,
        range: &BlockRange,
        unmap: bool,
        block: Option<&[u8]>,
    ) -> Result<(), Ending> {
        let size = u64::from(self.block_size);
        let (at, count) = (range.lba * size, u64::from(range.blocks.unwrap_or(0)));
        let zeros = block.is_none_or(|block| block.iter().all(|byte| *byte == 0));
        if zeros && unmap {
            return Ok(self.disk.unmap(at, count * size)?);
        }
        match block.filter(|_| !zeros) {
            None => Ok(zero(self.disk, at, count * size)?),
            Some(block) => {
                for n in 0..count {
                    self.disk.write(at + n * size, block)?;
                }
                Ok(())
            }
        }
    }

    pub(super) fn unmap(&mut self, data: &[u8]) -> Result<(), Ending> {
        let list = UnmapList::parse(data)
            .map_err(|_| illegal(AdditionalSense::PARAMETER_LIST_LENGTH_ERROR))?;
        if list.ranges().len() > MAX_UNMAP_DESCRIPTORS as usize {
            return Err(illegal(AdditionalSense::INVALID_FIELD_IN_PARAMETER_LIST));
        }
        if list.ranges().any(|range| range.end().is_none_or(|end| end > self.blocks)) {
            return Err(illegal(AdditionalSense::LBA_OUT_OF_RANGE));
        }
        let size = u64::from(self.block_size);
        for range in list.ranges().filter(|range| range.blocks > 0) {
            self.disk.unmap(range.lba * size, u64::from(range.blocks) * size)?;
        }
        Ok(())
    }
}

fn byte_check(command: &Command) -> ByteCheck {
    match command {
        Command::Verify10(command) => command.check,
        Command::Verify12(command) => command.check,
        Command::Verify16(command) => command.check,
        _ => ByteCheck::MEDIUM,
    }
}

/// The flags of a WRITE SAME.
struct WriteSame {
    anchor: bool,
    unmap: bool,
    no_data: bool,
    long: bool,
}

fn write_same(command: &Command) -> WriteSame {
    let (anchor, unmap, no_data, long) = match command {
        Command::WriteSame10(command) => (command.anchor, command.unmap, false, false),
        Command::WriteSame16(command) => (command.anchor, command.unmap, command.ndob, true),
        _ => (false, false, false, true),
    };
    WriteSame { anchor, unmap, no_data, long }
}
