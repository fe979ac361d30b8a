//! Memory lent for commands.

use iscsi_core::{Buffers, TaskId, Transfer};
use iscsi_disk::{RequestBuffers, RequestId};
use iscsi_runtime::{Lend, run_of, run_of_mut};

/// Borrowed memory for the data of one command or request.
///
/// Reads go straight from the socket into it, writes are gathered from it. It may be longer than what is moved; the rest is left
/// alone.
///
/// ```
/// use iscsi_core::Transfer;
/// use iscsi_runtime_std::Data;
///
/// let mut block = [0; 512];
/// assert_eq!(Data::In(&mut block).transfer(), Some(Transfer::In(512)));
/// assert_eq!(Data::Out(&[1, 2, 3]).transfer(), Some(Transfer::Out(3)));
/// ```
#[derive(Debug, Default)]
pub enum Data<'a> {
    /// No data.
    #[default]
    None,
    /// Where data from the target go.
    In(&'a mut [u8]),
    /// Data to the target.
    Out(&'a [u8]),
    /// Both, for bidirectional commands.
    Both {
        /// Data to the target.
        out: &'a [u8],
        /// Where data from the target go.
        r#in: &'a mut [u8],
    },
}

impl Data<'_> {
    /// The transfer that uses all of this memory; `None` if it is 4 GiB or longer.
    pub fn transfer(&self) -> Option<Transfer> {
        let len = |bytes: &[u8]| u32::try_from(bytes.len()).ok();
        Some(match self {
            Self::None => Transfer::None,
            Self::In(r#in) => Transfer::In(len(r#in)?),
            Self::Out(out) => Transfer::Out(len(out)?),
            Self::Both { out, r#in } => Transfer::Both { out: len(out)?, r#in: len(r#in)? },
        })
    }
}

impl Lend for Data<'_> {
    fn space(&mut self, at: usize, max: u32) -> &mut [u8] {
        match self {
            Self::In(r#in) | Self::Both { r#in, .. } => run_of_mut(r#in, at, max),
            Self::None | Self::Out(_) => &mut [],
        }
    }

    fn bytes(&self, at: usize, max: u32) -> &[u8] {
        match self {
            Self::Out(out) | Self::Both { out, .. } => run_of(out, at, max),
            Self::None | Self::In(_) => &[],
        }
    }

    fn room(&self) -> [u64; 2] {
        let [r#in, out] = match self {
            Self::None => [0, 0],
            Self::In(r#in) => [r#in.len(), 0],
            Self::Out(out) => [0, out.len()],
            Self::Both { out, r#in } => [r#in.len(), out.len()],
        };
        [r#in as u64, out as u64]
    }
}

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
    fn the_transfer_uses_all_memory() {
        let mut block = [0; 8];
        let both = Data::Both { out: &[1, 2], r#in: &mut block };
        assert_eq!(both.transfer(), Some(Transfer::Both { out: 2, r#in: 8 }));
        assert_eq!(both.room(), [8, 2]);
    }

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
