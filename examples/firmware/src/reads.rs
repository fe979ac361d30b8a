//! What is read, and where it goes.

use iscsi_core::{Buffers, Command, Instant, Lun, Session, TaskId, Transfer};

use crate::failure::Failure;

/// Bytes of a block.
pub(crate) const BLOCK: usize = 512;
/// Commands that are under way at once, and the blocks that each of them reads.
pub(crate) const READS: usize = 4;
const BLOCKS_PER_READ: usize = 4;
/// Bytes that one command reads.
pub(crate) const PART: usize = BLOCKS_PER_READ * BLOCK;

/// The four reads and the memory that is lent to them.
pub(crate) struct Reads<'a> {
    blocks: &'a mut [u8],
    tasks: [Option<TaskId>; READS],
}

impl<'a> Reads<'a> {
    /// `blocks` has room for what all of them read.
    pub(crate) const fn new(blocks: &'a mut [u8]) -> Self {
        Self { blocks, tasks: [None; READS] }
    }

    /// Hands the commands to the session.
    pub(crate) fn submit(&mut self, session: &mut Session, now: Instant) -> Result<(), Failure> {
        for (i, task) in self.tasks.iter_mut().enumerate() {
            let block = (i * BLOCKS_PER_READ) as u8;
            let read10 = [0x28, 0, 0, 0, 0, block, 0, 0, BLOCKS_PER_READ as u8, 0];
            let command = Command::new(Lun::ZERO, &read10, Transfer::In(PART as u32));
            *task = Some(session.submit(&command, now)?);
        }
        Ok(())
    }

    /// One of them has ended well.
    pub(crate) fn done(&mut self, task: TaskId) {
        for place in self.tasks.iter_mut().filter(|place| **place == Some(task)) {
            *place = None;
        }
    }

    pub(crate) fn all_done(&self) -> bool {
        self.tasks.iter().all(Option::is_none)
    }

    /// Compares with the pattern: words of the disk, numbered, each times an odd constant.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        const FACTOR: u32 = 0x9e37_79b1;
        for (number, word) in (0u32..).zip(self.blocks.chunks_exact(4)) {
            if word != number.wrapping_mul(FACTOR).to_be_bytes() {
                return Err(Failure::Data { block: number as usize * 4 / BLOCK });
            }
        }
        Ok(())
    }
}

impl Buffers for Reads<'_> {
    fn data_in(&mut self, task: TaskId, at: u32, max: u32) -> &mut [u8] {
        let part = self.tasks.iter().position(|place| *place == Some(task));
        let start = part.map_or(usize::MAX, |part| part * PART + at as usize);
        let rest = self.blocks.get_mut(start..).unwrap_or_default();
        let len = rest.len().min(max as usize);
        &mut rest[..len]
    }

    fn data_out(&self, _: TaskId, _: u32, _: u32) -> &[u8] {
        &[]
    }
}
