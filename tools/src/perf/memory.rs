//! The memory of I/Os in loops: reads take it when their data arrive, writes share one pattern.

use std::cell::RefCell;

use iscsi_runtime_std::Lend;

use crate::perf::pattern::Content;
use crate::perf::workload::{Io, Job};

/// Buffers of one session that no read has at the moment.
pub(crate) type Pool = RefCell<Vec<Vec<u8>>>;

/// The memory of one I/O. A read that is to be placed takes a buffer when its data arrive, as libiscsi does: few are in use at once, and stay in the
/// processor's cache.
#[derive(Debug, Default)]
pub(crate) struct Memory<'a> {
    /// `None` for a read whose bytes are taken where they arrive.
    pool: Option<&'a Pool>,
    buffer: Option<Vec<u8>>,
    /// Bytes to be read.
    len: usize,
    out: Option<Content<'a>>,
}

impl<'a> Memory<'a> {
    /// For this I/O of the job.
    pub(crate) fn of(io: &Io, job: &'a Job, pool: &'a Pool) -> Self {
        let mut memory = Self::default();
        if io.is_write() {
            memory.out = Some(job.content(io));
        } else {
            memory.len = job.workload.bytes();
            memory.pool = job.workload.places.then_some(pool);
        }
        memory
    }

    /// What was read; empty if nothing came, or nothing is placed.
    pub(crate) fn data(&self) -> &[u8] {
        self.buffer.as_deref().unwrap_or_default()
    }
}

impl Lend for Memory<'_> {
    fn space(&mut self, at: usize, max: u32) -> &mut [u8] {
        let Some(pool) = self.pool else { return &mut [] };
        let len = self.len;
        // Buffers of one session are all as long.
        let take = || pool.borrow_mut().pop().unwrap_or_else(|| vec![0; len]);
        let buffer = self.buffer.get_or_insert_with(take);
        buffer.get_mut(at..at + max as usize).unwrap_or_default()
    }

    fn bytes(&self, at: usize, max: u32) -> &[u8] {
        self.out.as_ref().map(|out| out.run(at, max as usize)).unwrap_or_default()
    }

    fn room(&self) -> [u64; 2] {
        [self.len as u64, self.out.as_ref().map_or(0, |out| out.len as u64)]
    }

    fn consumes(&self) -> bool {
        self.pool.is_none() && self.len > 0
    }
}

impl Drop for Memory<'_> {
    fn drop(&mut self) {
        if let (Some(pool), Some(buffer)) = (self.pool, self.buffer.take()) {
            pool.borrow_mut().push(buffer);
        }
    }
}
