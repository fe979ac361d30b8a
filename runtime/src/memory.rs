//! Memory that goes in with a request and comes back with its end.

use core::fmt;

use iscsi_core::Command;
use iscsi_disk::{Operation, Request};

use crate::error::Error;

/// Memory that can be lent, in one piece or in several.
///
/// ```
/// use iscsi_runtime::Lend;
///
/// /// Two halves of what is to be written.
/// #[derive(Debug)]
/// struct Halves([Vec<u8>; 2]);
///
/// impl Lend for Halves {
///     fn space(&mut self, _: usize, _: u32) -> &mut [u8] {
///         &mut []
///     }
///     fn bytes(&self, at: usize, max: u32) -> &[u8] {
///         let first = self.0[0].len();
///         let run = if at < first { &self.0[0][at..] } else { &self.0[1][at - first..] };
///         &run[..run.len().min(max as usize)]
///     }
///     fn room(&self) -> [u64; 2] {
///         [0, (self.0[0].len() + self.0[1].len()) as u64]
///     }
/// }
/// let halves = Halves([vec![1; 3], vec![2; 5]]);
/// assert_eq!((halves.bytes(1, 8), halves.bytes(3, 4)), (&[1, 1][..], &[2; 4][..]));
/// ```
pub trait Lend: fmt::Debug {
    /// Where data from the target go: the longest run from byte `at`, at most `max` bytes; empty beyond the end.
    fn space(&mut self, at: usize, max: u32) -> &mut [u8];

    /// Data to the target: the longest run from byte `at`, at most `max` bytes; empty beyond the end.
    fn bytes(&self, at: usize, max: u32) -> &[u8];

    /// Bytes from the target and to it that there is room for.
    fn room(&self) -> [u64; 2];
}

/// The run of contiguous memory from `at`, of exactly `max` bytes or none.
///
/// ```
/// assert_eq!(iscsi_runtime::run_of(&[1, 2, 3], 1, 2), [2, 3]);
/// assert!(iscsi_runtime::run_of(&[1, 2, 3], 1, 3).is_empty());
/// ```
pub fn run_of(memory: &[u8], at: usize, max: u32) -> &[u8] {
    memory.get(at..at.saturating_add(max as usize)).unwrap_or_default()
}

/// The same to be written.
///
/// ```
/// iscsi_runtime::run_of_mut(&mut [1, 2, 3], 1, 2).fill(0);
/// ```
pub fn run_of_mut(memory: &mut [u8], at: usize, max: u32) -> &mut [u8] {
    memory.get_mut(at..at.saturating_add(max as usize)).unwrap_or_default()
}

/// Checks that a command's data have room.
///
/// ```
/// use iscsi_core::{Command, Lun, Transfer};
/// use iscsi_runtime::{Payload, check_command};
/// let command = Command::new(Lun::ZERO, &[0; 6], Transfer::In(9));
/// let error = check_command(&command, &Payload::In(vec![0; 8])).unwrap_err();
/// assert_eq!(error.to_string(), "9 bytes are to be moved, the memory has 8");
/// ```
///
/// # Errors
/// [`Error::Memory`]
pub fn check_command(command: &Command<'_>, memory: &impl Lend) -> Result<(), Error> {
    let transfer = &command.transfer;
    require([transfer.in_len().into(), transfer.out_len().into()], memory)
}

/// Checks that a request's data have room.
///
/// ```
/// use iscsi_disk::Request;
/// use iscsi_runtime::{Payload, check_request};
/// assert!(check_request(&Request::read(0, 8), &Payload::In(vec![0; 8])).is_ok());
/// assert!(check_request(&Request::write(0, 8), &Payload::In(vec![0; 8])).is_err());
/// ```
///
/// # Errors
/// [`Error::Memory`]
pub fn check_request(request: &Request, memory: &impl Lend) -> Result<(), Error> {
    let needed = request.memory();
    let needed = match request.operation {
        Operation::Read => [needed, 0],
        _ => [0, needed],
    };
    require(needed, memory)
}

fn require(needed: [u64; 2], memory: &impl Lend) -> Result<(), Error> {
    let mut pairs = needed.into_iter().zip(memory.room());
    match pairs.find(|(needed, given)| needed > given) {
        Some((needed, given)) => Err(Error::Memory { needed, given }),
        None => Ok(()),
    }
}

/// Owned memory for the data of one command. It goes in with the command and comes back with its end.
///
/// ```
/// use iscsi_runtime::Payload;
/// assert_eq!(Payload::In(vec![7; 4]).into_bytes(), [7; 4]);
/// ```
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub enum Payload {
    /// No data.
    #[default]
    None,
    /// Where data from the target go.
    In(Vec<u8>),
    /// Data to the target.
    Out(Vec<u8>),
    /// Both, for bidirectional commands.
    Both {
        /// Data to the target.
        out: Vec<u8>,
        /// Where data from the target go.
        r#in: Vec<u8>,
    },
}

impl Payload {
    /// The memory; of [`Both`](Self::Both) that for data from the target.
    pub fn into_bytes(self) -> Vec<u8> {
        match self {
            Self::None => Vec::new(),
            Self::In(bytes) | Self::Out(bytes) | Self::Both { r#in: bytes, .. } => bytes,
        }
    }
}

impl Lend for Payload {
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

/// A request that failed, with the memory that went in.
///
/// ```
/// use iscsi_runtime::{Error, Failed, Payload};
/// let failed = Failed { error: Error::ShutDown, payload: Payload::Out(vec![1]) };
/// assert_eq!(failed.to_string(), "the session was shut down");
/// assert_eq!(format!("{failed:?}"), "Failed { error: ShutDown, .. }");
/// assert_eq!(failed.payload.into_bytes(), [1]);
/// ```
pub struct Failed<P = Payload> {
    /// Why.
    pub error: Error,
    /// The memory. What a failed read has put there means nothing.
    pub payload: P,
}

/// Without the memory: what an `unwrap` prints is not megabytes.
impl<P> fmt::Debug for Failed<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Failed").field("error", &self.error).finish_non_exhaustive()
    }
}

impl<P> fmt::Display for Failed<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl<P> core::error::Error for Failed<P> {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        self.error.source()
    }
}

impl<P> From<Failed<P>> for Error {
    fn from(failed: Failed<P>) -> Self {
        failed.error
    }
}

#[cfg(test)]
mod tests {
    use iscsi_core::{Lun, Transfer};

    use super::*;

    #[test]
    fn memory_must_hold_the_transfer() {
        let command = |transfer| Command::new(Lun::ZERO, &[0; 6], transfer);
        let block = Payload::In(vec![0; 8]);
        assert!(check_command(&command(Transfer::In(8)), &block).is_ok());
        let error = check_command(&command(Transfer::In(9)), &block).unwrap_err();
        assert!(matches!(error, Error::Memory { needed: 9, given: 8 }));
        let error = check_command(&command(Transfer::Out(1)), &block).unwrap_err();
        assert!(matches!(error, Error::Memory { needed: 1, given: 0 }));
        assert!(check_command(&command(Transfer::None), &Payload::None).is_ok());
        let both = Payload::Both { out: vec![1, 2], r#in: vec![0; 8] };
        assert!(check_command(&command(Transfer::Both { out: 2, r#in: 8 }), &both).is_ok());
    }

    #[test]
    fn memory_must_hold_the_request() {
        let block = Payload::Out(vec![0; 8]);
        assert!(check_request(&Request::write(0, 8), &block).is_ok());
        let error = check_request(&Request::read(0, 8), &block).unwrap_err();
        assert!(matches!(error, Error::Memory { needed: 8, given: 0 }));
        let twice = check_request(&Request::compare_and_write(0, 8), &block);
        assert!(matches!(twice, Err(Error::Memory { needed: 16, given: 8 })));
        assert!(check_request(&Request::unmap(0, 8), &Payload::None).is_ok());
    }
}
