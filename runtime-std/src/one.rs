//! The memory of the only thing under way.

use iscsi_core::{Buffers, TaskId};
use iscsi_disk::{RequestBuffers, RequestId};
use iscsi_runtime::{Data, Lend};

/// The memory of the only thing under way.
#[derive(Debug)]
pub(crate) struct One<'m, 'a, K> {
    pub(crate) key: K,
    pub(crate) data: &'m mut Data<'a>,
}

impl Buffers for One<'_, '_, TaskId> {
    fn data_in(&mut self, task: TaskId, at: u32, max: u32) -> &mut [u8] {
        if task == self.key { self.data.space(at as usize, max) } else { &mut [] }
    }

    fn data_out(&self, task: TaskId, at: u32, max: u32) -> &[u8] {
        if task == self.key { self.data.bytes(at as usize, max) } else { &[] }
    }
}

impl RequestBuffers for One<'_, '_, RequestId> {
    fn data_in(&mut self, request: RequestId, at: u64, max: u32) -> &mut [u8] {
        let at = usize::try_from(at).unwrap_or(usize::MAX);
        if request == self.key { self.data.space(at, max) } else { &mut [] }
    }

    fn data_out(&self, request: RequestId, at: u64, max: u32) -> &[u8] {
        let at = usize::try_from(at).unwrap_or(usize::MAX);
        if request == self.key { self.data.bytes(at, max) } else { &[] }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_lends_to_one() {
        let (mine, other) = (TaskId::from_bits(0x1_0000), TaskId::from_bits(0x2_0000));
        let mut data = Data::Out(&[1, 2, 3]);
        let mut one = One { key: mine, data: &mut data };
        assert_eq!(one.data_out(mine, 1, 2), [2, 3]);
        assert!(one.data_out(other, 1, 2).is_empty() && one.data_in(mine, 0, 1).is_empty());
        assert!(one.data_out(mine, 2, 2).is_empty());
    }
}
