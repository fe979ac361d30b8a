//! Memory lent for commands.

use iscsi_core::{Command, Transfer};

use crate::error::Error;
use crate::table::Lend;

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

    /// Bytes from the target and to it that the memory has room for.
    fn room(&self) -> [u64; 2] {
        let [r#in, out] = match self {
            Self::None => [0, 0],
            Self::In(r#in) => [r#in.len(), 0],
            Self::Out(out) => [0, out.len()],
            Self::Both { out, r#in } => [r#in.len(), out.len()],
        };
        [r#in as u64, out as u64]
    }

    /// Whether a command's data have room.
    pub(crate) fn check(&self, command: &Command<'_>) -> Result<(), Error> {
        let transfer = &command.transfer;
        self.require([transfer.in_len().into(), transfer.out_len().into()])
    }

    /// Whether a request's data have room.
    pub(crate) fn check_request(&self, request: &iscsi_disk::Request) -> Result<(), Error> {
        let memory = request.memory();
        self.require(match request.operation {
            iscsi_disk::Operation::Read => [memory, 0],
            _ => [0, memory],
        })
    }

    fn require(&self, needed: [u64; 2]) -> Result<(), Error> {
        let mut pairs = needed.into_iter().zip(self.room());
        match pairs.find(|(needed, given)| needed > given) {
            Some((needed, given)) => Err(Error::Memory { needed, given }),
            None => Ok(()),
        }
    }
}

impl Lend for Data<'_> {
    fn space(&mut self) -> &mut [u8] {
        match self {
            Self::In(r#in) | Self::Both { r#in, .. } => r#in,
            Self::None | Self::Out(_) => &mut [],
        }
    }

    fn bytes(&self) -> &[u8] {
        match self {
            Self::Out(out) | Self::Both { out, .. } => out,
            Self::None | Self::In(_) => &[],
        }
    }
}

/// The memory of the only thing under way.
#[derive(Debug)]
pub(crate) struct One<'m, 'a, K> {
    pub(crate) key: K,
    pub(crate) data: &'m mut Data<'a>,
}

impl iscsi_core::Buffers for One<'_, '_, iscsi_core::TaskId> {
    fn data_in(&mut self, task: iscsi_core::TaskId, at: u32, max: u32) -> &mut [u8] {
        let space = if task == self.key { self.data.space() } else { &mut [] };
        space.get_mut(range(at.into(), max)).unwrap_or_default()
    }

    fn data_out(&self, task: iscsi_core::TaskId, at: u32, max: u32) -> &[u8] {
        let bytes = if task == self.key { self.data.bytes() } else { &[] };
        bytes.get(range(at.into(), max)).unwrap_or_default()
    }
}

impl iscsi_disk::RequestBuffers for One<'_, '_, iscsi_disk::RequestId> {
    fn data_in(&mut self, request: iscsi_disk::RequestId, at: u64, max: u32) -> &mut [u8] {
        let space = if request == self.key { self.data.space() } else { &mut [] };
        space.get_mut(range(at, max)).unwrap_or_default()
    }

    fn data_out(&self, request: iscsi_disk::RequestId, at: u64, max: u32) -> &[u8] {
        let bytes = if request == self.key { self.data.bytes() } else { &[] };
        bytes.get(range(at, max)).unwrap_or_default()
    }
}

fn range(at: u64, max: u32) -> core::ops::Range<usize> {
    let at = usize::try_from(at).unwrap_or(usize::MAX);
    at..at.saturating_add(max as usize)
}

#[cfg(test)]
mod tests {
    use iscsi_core::{Buffers, Lun, TaskId};
    use iscsi_disk::Request;

    use super::*;

    #[test]
    fn memory_must_hold_the_transfer() {
        let command = |transfer| Command::new(Lun::ZERO, &[0; 6], transfer);
        let mut block = [0; 8];
        assert!(Data::In(&mut block).check(&command(Transfer::In(8))).is_ok());
        let error = Data::In(&mut block).check(&command(Transfer::In(9))).unwrap_err();
        assert!(matches!(error, Error::Memory { needed: 9, given: 8 }));
        let error = Data::In(&mut block).check(&command(Transfer::Out(1))).unwrap_err();
        assert!(matches!(error, Error::Memory { needed: 1, given: 0 }));
        assert!(Data::None.check(&command(Transfer::None)).is_ok());
        let both = Data::Both { out: &[1, 2], r#in: &mut block };
        assert_eq!(both.transfer(), Some(Transfer::Both { out: 2, r#in: 8 }));
    }

    #[test]
    fn memory_must_hold_the_request() {
        let mut block = [0; 8];
        assert!(Data::In(&mut block).check_request(&Request::read(0, 8)).is_ok());
        let error = Data::In(&mut block).check_request(&Request::write(0, 8)).unwrap_err();
        assert!(matches!(error, Error::Memory { needed: 8, given: 0 }));
        let twice = Data::Out(&[0; 8]).check_request(&Request::compare_and_write(0, 8));
        assert!(matches!(twice, Err(Error::Memory { needed: 16, given: 8 })));
        assert!(Data::None.check_request(&Request::unmap(0, 8)).is_ok());
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
