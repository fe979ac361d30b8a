//! The memory of what is under way, found without a search.

use iscsi_core::{Buffers, TaskId};
use iscsi_disk::{RequestBuffers, RequestId};

use crate::memory::Lend;

/// A handle that names a slot; the rest of it tells one use of the slot from the next.
///
/// ```
/// use iscsi_core::TaskId;
/// assert_eq!(iscsi_runtime::Key::index(TaskId::from_bits(0x1_0003)), 3);
/// ```
pub trait Key: Copy + PartialEq {
    /// The slot.
    fn index(self) -> usize;
}

impl Key for TaskId {
    fn index(self) -> usize {
        self.index()
    }
}

impl Key for RequestId {
    fn index(self) -> usize {
        self.index()
    }
}

/// Values by handle. Memory in it is lent to the engine and to disks.
///
/// ```
/// use iscsi_core::{Buffers, TaskId};
/// use iscsi_runtime::{Payload, Table};
/// let task = TaskId::from_bits(0x1_0003);
/// let mut table = Table::default();
/// table.insert(task, Payload::Out(vec![1, 2, 3]));
/// assert_eq!(table.data_out(task, 1, 2), [2, 3]);
/// assert_eq!(table.remove(task), Some(Payload::Out(vec![1, 2, 3])));
/// ```
#[derive(Debug)]
pub struct Table<K, V> {
    slots: Vec<Option<(K, V)>>,
    len: usize,
}

impl<K, V> Default for Table<K, V> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K, V> Table<K, V> {
    /// An empty table.
    pub const fn new() -> Self {
        Self { slots: Vec::new(), len: 0 }
    }
}

impl<K: Key, V> Table<K, V> {
    /// Keeps a value; another use of the same slot loses its value.
    pub fn insert(&mut self, key: K, value: V) {
        let index = key.index();
        if self.slots.len() <= index {
            self.slots.resize_with(index + 1, || None);
        }
        if let Some(slot) = self.slots.get_mut(index) {
            self.len += usize::from(slot.is_none());
            *slot = Some((key, value));
        }
    }

    /// Takes a value out.
    pub fn remove(&mut self, key: K) -> Option<V> {
        let slot = self.slots.get_mut(key.index())?;
        let (_, value) = slot.take_if(|(id, _)| *id == key)?;
        self.len -= 1;
        Some(value)
    }

    /// Values in the table.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The handles in the table.
    pub fn keys(&self) -> impl Iterator<Item = K> {
        self.slots.iter().flatten().map(|(key, _)| *key)
    }

    fn get(&self, key: K) -> Option<&V> {
        match self.slots.get(key.index()) {
            Some(Some((id, value))) if *id == key => Some(value),
            _ => None,
        }
    }

    fn get_mut(&mut self, key: K) -> Option<&mut V> {
        match self.slots.get_mut(key.index()) {
            Some(Some((id, value))) if *id == key => Some(value),
            _ => None,
        }
    }
}

impl<K: Key, V: Lend> Table<K, V> {
    fn space(&mut self, key: K, at: usize, max: u32) -> &mut [u8] {
        self.get_mut(key).map(|memory| memory.space(at, max)).unwrap_or_default()
    }

    fn bytes(&self, key: K, at: usize, max: u32) -> &[u8] {
        self.get(key).map(|memory| memory.bytes(at, max)).unwrap_or_default()
    }
}

impl<V: Lend> Buffers for Table<TaskId, V> {
    fn data_in(&mut self, task: TaskId, at: u32, max: u32) -> &mut [u8] {
        self.space(task, at as usize, max)
    }

    fn data_out(&self, task: TaskId, at: u32, max: u32) -> &[u8] {
        self.bytes(task, at as usize, max)
    }

    fn consumes(&self, task: TaskId) -> bool {
        self.get(task).is_some_and(Lend::consumes)
    }

    fn consume(&mut self, task: TaskId, at: u32, bytes: &[u8]) {
        if let Some(memory) = self.get_mut(task) {
            memory.consume(at as usize, bytes);
        }
    }
}

impl<V: Lend> RequestBuffers for Table<RequestId, V> {
    fn data_in(&mut self, request: RequestId, at: u64, max: u32) -> &mut [u8] {
        self.space(request, usize::try_from(at).unwrap_or(usize::MAX), max)
    }

    fn data_out(&self, request: RequestId, at: u64, max: u32) -> &[u8] {
        self.bytes(request, usize::try_from(at).unwrap_or(usize::MAX), max)
    }

    fn consumes(&self, request: RequestId) -> bool {
        self.get(request).is_some_and(Lend::consumes)
    }

    fn consume(&mut self, request: RequestId, at: u64, bytes: &[u8]) {
        if let Some(memory) = self.get_mut(request) {
            memory.consume(usize::try_from(at).unwrap_or(usize::MAX), bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::Payload;

    #[test]
    fn memory_is_lent_to_its_own_task_only() {
        let (old, new) = (TaskId::from_bits(0x1_0003), TaskId::from_bits(0x2_0003));
        let mut table = Table::default();
        table.insert(old, Payload::In(vec![0; 8]));
        assert_eq!(table.data_in(old, 2, 6).len(), 6);
        assert!(table.data_in(old, 2, 7).is_empty(), "beyond the memory");
        assert!(table.data_in(new, 0, 1).is_empty(), "another task in the same slot");
        assert!(table.data_out(old, 0, 1).is_empty(), "not for writing");
        assert!(table.remove(new).is_none());
        assert!(matches!(table.remove(old), Some(Payload::In(_))));
        assert!(table.is_empty() && table.keys().count() == 0);
        assert!(table.data_in(old, 0, 1).is_empty());
    }

    #[test]
    fn no_offset_is_too_large() {
        let id = RequestId::from_bits(0x1_0001);
        let mut table = Table::default();
        table.insert(id, Payload::Out(vec![1, 2, 3]));
        assert_eq!(RequestBuffers::data_out(&table, id, 1, 2), [2, 3]);
        assert!(RequestBuffers::data_out(&table, id, u64::MAX, u32::MAX).is_empty());
    }
}
