//! Buffers of many tasks.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use crate::{Buffers, TaskId};

/// The memory of any number of tasks. It panics at an access beyond the task that it is for, and can be scattered.
///
/// ```
/// use iscsi_core::{Buffers, TaskId, testing::Memory};
/// let mut memory = Memory::new();
/// let task = TaskId::from_bits(0x1_0000);
/// memory.lend_in(task, 8);
/// memory.data_in(task, 4, 4).fill(1);
/// assert_eq!(memory.read(task), [0xee, 0xee, 0xee, 0xee, 1, 1, 1, 1]);
/// assert!(memory.data_in(TaskId::from_bits(0x2_0000), 0, 4).is_empty());
/// ```
#[derive(Debug, Clone, Default)]
pub struct Memory {
    reads: BTreeMap<u64, Vec<u8>>,
    writes: BTreeMap<u64, Vec<u8>>,
    longest_run: Option<usize>,
    consuming: bool,
}

/// What memory holds before anything was placed there.
const UNTOUCHED: u8 = 0xee;

impl Memory {
    /// No memory for any task.
    pub const fn new() -> Self {
        Self {
            reads: BTreeMap::new(),
            writes: BTreeMap::new(),
            longest_run: None,
            consuming: false,
        }
    }

    /// Memory in pieces of at most `bytes`.
    ///
    /// # Panics
    /// If `bytes` is 0.
    pub fn scattered(bytes: usize) -> Self {
        assert!(bytes > 0, "a run has at least one byte");
        Self { longest_run: Some(bytes), ..Self::new() }
    }

    /// Memory that is never lent for Data-In: they are consumed, and written down all the same.
    pub fn consuming() -> Self {
        Self { consuming: true, ..Self::new() }
    }

    /// Memory for a task's Data-In, filled with 0xee.
    pub fn lend_in(&mut self, task: TaskId, len: usize) {
        self.reads.insert(task.to_bits(), alloc::vec![UNTOUCHED; len]);
    }

    /// The memory of a task's Data-Out.
    pub fn lend_out(&mut self, task: TaskId, bytes: Vec<u8>) {
        self.writes.insert(task.to_bits(), bytes);
    }

    /// What a task's Data-In left; empty for a task without memory.
    pub fn read(&self, task: TaskId) -> &[u8] {
        self.reads.get(&task.to_bits()).map_or(&[], Vec::as_slice)
    }

    /// What a task's Data-Out is; empty for a task without memory.
    pub fn write(&self, task: TaskId) -> &[u8] {
        self.writes.get(&task.to_bits()).map_or(&[], Vec::as_slice)
    }

    /// Takes the memory of a task away.
    pub fn take(&mut self, task: TaskId) {
        self.reads.remove(&task.to_bits());
        self.writes.remove(&task.to_bits());
    }

    /// Whether no byte was placed in a task's memory.
    pub fn is_untouched(&self, task: TaskId) -> bool {
        self.read(task).iter().all(|byte| *byte == UNTOUCHED)
    }

    fn run(&self, len: usize, at: u32, max: u32) -> core::ops::Range<usize> {
        let (at, max) = (at as usize, max as usize);
        assert!(max > 0, "the engine asked for no byte");
        assert!(at + max <= len, "the engine asked for {at}..{} of {len} bytes", at + max);
        at..at + self.longest_run.unwrap_or(max).min(max)
    }
}

impl Buffers for Memory {
    fn data_in(&mut self, task: TaskId, at: u32, max: u32) -> &mut [u8] {
        let len = self.reads.get(&task.to_bits()).map(Vec::len).filter(|_| !self.consuming);
        let Some(len) = len else { return &mut [] };
        let run = self.run(len, at, max);
        self.reads.get_mut(&task.to_bits()).map_or(&mut [], |bytes| &mut bytes[run])
    }

    fn data_out(&self, task: TaskId, at: u32, max: u32) -> &[u8] {
        let Some(bytes) = self.writes.get(&task.to_bits()) else { return &[] };
        &bytes[self.run(bytes.len(), at, max)]
    }

    fn consumes(&self, task: TaskId) -> bool {
        self.consuming && self.reads.contains_key(&task.to_bits())
    }

    fn consume(&mut self, task: TaskId, at: u32, bytes: &[u8]) {
        assert!(!bytes.is_empty(), "nothing to consume");
        let memory = self.reads.get_mut(&task.to_bits()).expect("a task that consumes");
        memory[at as usize..][..bytes.len()].copy_from_slice(bytes);
    }
}
