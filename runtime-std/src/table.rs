//! The memory of what is under way, found without a search.

use iscsi_core::{Buffers, TaskId};
use iscsi_disk::{RequestBuffers, RequestId};

/// A handle that names a slot; the rest of it tells one use of the slot from the next.
pub(crate) trait Key: Copy + PartialEq {
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

/// Memory that can be lent.
pub(crate) trait Lend {
    /// Where data from the target go.
    fn space(&mut self) -> &mut [u8];

    /// Data to the target.
    fn bytes(&self) -> &[u8];
}

/// Values by handle.
#[derive(Debug)]
pub(crate) struct Table<K, V> {
    slots: Vec<Option<(K, V)>>,
    len: usize,
}

impl<K, V> Default for Table<K, V> {
    fn default() -> Self {
        Self { slots: Vec::new(), len: 0 }
    }
}

impl<K: Key, V> Table<K, V> {
    pub(crate) fn insert(&mut self, key: K, value: V) {
        let index = key.index();
        if self.slots.len() <= index {
            self.slots.resize_with(index + 1, || None);
        }
        if let Some(slot) = self.slots.get_mut(index) {
            self.len += usize::from(slot.is_none());
            *slot = Some((key, value));
        }
    }

    pub(crate) fn remove(&mut self, key: K) -> Option<V> {
        let slot = self.slots.get_mut(key.index())?;
        let (_, value) = slot.take_if(|(id, _)| *id == key)?;
        self.len -= 1;
        Some(value)
    }

    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = K> {
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
        let space = self.get_mut(key).map(Lend::space).unwrap_or_default();
        space.get_mut(at..at.saturating_add(max as usize)).unwrap_or_default()
    }

    fn bytes(&self, key: K, at: usize, max: u32) -> &[u8] {
        let bytes = self.get(key).map(Lend::bytes).unwrap_or_default();
        bytes.get(at..at.saturating_add(max as usize)).unwrap_or_default()
    }
}

impl<V: Lend> Buffers for Table<TaskId, V> {
    fn data_in(&mut self, task: TaskId, at: u32, max: u32) -> &mut [u8] {
        self.space(task, at as usize, max)
    }

    fn data_out(&self, task: TaskId, at: u32, max: u32) -> &[u8] {
        self.bytes(task, at as usize, max)
    }
}

impl<V: Lend> RequestBuffers for Table<RequestId, V> {
    fn data_in(&mut self, request: RequestId, at: u64, max: u32) -> &mut [u8] {
        self.space(request, usize::try_from(at).unwrap_or(usize::MAX), max)
    }

    fn data_out(&self, request: RequestId, at: u64, max: u32) -> &[u8] {
        self.bytes(request, usize::try_from(at).unwrap_or(usize::MAX), max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Data;

    #[test]
    fn memory_is_lent_to_its_own_task_only() {
        let (old, new) = (TaskId::from_bits(0x1_0003), TaskId::from_bits(0x2_0003));
        let mut block = [0; 8];
        let mut table = Table::default();
        table.insert(old, Data::In(&mut block));
        assert_eq!(table.data_in(old, 2, 6).len(), 6);
        assert!(table.data_in(old, 2, 7).is_empty(), "beyond the memory");
        assert!(table.data_in(new, 0, 1).is_empty(), "another task in the same slot");
        assert!(table.data_out(old, 0, 1).is_empty(), "not for writing");
        assert!(table.remove(new).is_none());
        assert!(matches!(table.remove(old), Some(Data::In(_))));
        assert_eq!((table.len(), table.keys().count()), (0, 0));
        assert!(table.data_in(old, 0, 1).is_empty());
    }

    #[test]
    fn no_offset_is_too_large() {
        let id = RequestId::from_bits(0x1_0001);
        let mut table = Table::default();
        table.insert(id, Data::Out(&[1, 2, 3]));
        assert_eq!(RequestBuffers::data_out(&table, id, 1, 2), [2, 3]);
        assert!(RequestBuffers::data_out(&table, id, u64::MAX, u32::MAX).is_empty());
    }
}
