//! Memory that goes in with a request and comes back with its end.

use core::fmt;

use iscsi_core::{Command, Transfer};
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

    /// Whether data from the target are handed to [`consume`](Self::consume) where they arrived, instead of going to [`space`](Self::space). `false` unless overridden.
    ///
    /// Who only looks at what is read (a checksum, a comparison, another file) is served with fewer copies and fewer system calls that way; see
    /// [`Options::scratch`](crate::Options::scratch). The answer is always the same.
    fn consumes(&self) -> bool {
        false
    }

    /// Data from the target, from byte `at` on, for a look at them: nothing keeps them. They count once the command has ended well; until then the same
    /// bytes may come again.
    fn consume(&mut self, _at: usize, _bytes: &[u8]) {}
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

/// Memory for the data of one command or request, by direction: owned as [`Payload`], borrowed as [`Data`]. It may be longer than what is moved; the
/// rest is left alone.
///
/// ```
/// use iscsi_runtime::Directed;
/// let constant: Directed<&'static [u8], Vec<u8>> = Directed::Out(b"written by many");
/// # let _ = constant;
/// ```
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub enum Directed<O, I> {
    /// No data.
    #[default]
    None,
    /// Where data from the target go.
    In(I),
    /// Data to the target.
    Out(O),
    /// Both, for bidirectional commands.
    Both {
        /// Data to the target.
        out: O,
        /// Where data from the target go.
        r#in: I,
    },
}

/// Owned memory for the data of one command or request. It goes in with it and comes back with its end.
///
/// ```
/// use iscsi_core::Transfer;
/// use iscsi_runtime::Payload;
/// let payload = Payload::In(vec![7; 4]);
/// assert_eq!(payload.transfer(), Some(Transfer::In(4)));
/// assert_eq!(payload.into_bytes(), [7; 4]);
/// ```
pub type Payload = Directed<Vec<u8>, Vec<u8>>;

/// Borrowed memory for the data of one command or request. Reads go straight from the socket into it, writes are gathered from it.
///
/// ```
/// use iscsi_core::Transfer;
/// use iscsi_runtime::Data;
///
/// let mut block = [0; 512];
/// assert_eq!(Data::In(&mut block).transfer(), Some(Transfer::In(512)));
/// assert_eq!(Data::Out(&[1, 2, 3]).transfer(), Some(Transfer::Out(3)));
/// ```
pub type Data<'a> = Directed<&'a [u8], &'a mut [u8]>;

impl Payload {
    /// The memory; of [`Both`](Self::Both) that for data from the target.
    pub fn into_bytes(self) -> Vec<u8> {
        match self {
            Self::None => Vec::new(),
            Self::In(bytes) | Self::Out(bytes) | Self::Both { r#in: bytes, .. } => bytes,
        }
    }

    /// The same memory, borrowed.
    pub fn borrow(&mut self) -> Data<'_> {
        match self {
            Self::None => Data::None,
            Self::In(r#in) => Data::In(r#in),
            Self::Out(out) => Data::Out(out),
            Self::Both { out, r#in } => Data::Both { out, r#in },
        }
    }
}

impl<O: AsRef<[u8]>, I: AsRef<[u8]>> Directed<O, I> {
    /// The transfer that uses all of this memory; `None` if it is 4 GiB or longer.
    pub fn transfer(&self) -> Option<Transfer> {
        let [r#in, out] = self.sizes();
        let (r#in, out) = (u32::try_from(r#in).ok()?, u32::try_from(out).ok()?);
        Some(match self {
            Self::None => Transfer::None,
            Self::In(_) => Transfer::In(r#in),
            Self::Out(_) => Transfer::Out(out),
            Self::Both { .. } => Transfer::Both { out, r#in },
        })
    }

    fn sizes(&self) -> [u64; 2] {
        let [r#in, out] = match self {
            Self::None => [0, 0],
            Self::In(r#in) => [r#in.as_ref().len(), 0],
            Self::Out(out) => [0, out.as_ref().len()],
            Self::Both { out, r#in } => [r#in.as_ref().len(), out.as_ref().len()],
        };
        [r#in as u64, out as u64]
    }
}

impl<O, I> Lend for Directed<O, I>
where
    O: AsRef<[u8]> + fmt::Debug,
    I: AsRef<[u8]> + AsMut<[u8]> + fmt::Debug,
{
    fn space(&mut self, at: usize, max: u32) -> &mut [u8] {
        match self {
            Self::In(r#in) | Self::Both { r#in, .. } => run_of_mut(r#in.as_mut(), at, max),
            Self::None | Self::Out(_) => &mut [],
        }
    }

    fn bytes(&self, at: usize, max: u32) -> &[u8] {
        match self {
            Self::Out(out) | Self::Both { out, .. } => run_of(out.as_ref(), at, max),
            Self::None | Self::In(_) => &[],
        }
    }

    fn room(&self) -> [u64; 2] {
        self.sizes()
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
    use iscsi_core::Lun;

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
    fn the_transfer_uses_all_memory() {
        let mut block = [0; 8];
        let both = Data::Both { out: &[1, 2], r#in: &mut block };
        assert_eq!(both.transfer(), Some(Transfer::Both { out: 2, r#in: 8 }));
        assert_eq!(both.room(), [8, 2]);
        assert_eq!(Payload::Out(vec![0; 3]).borrow().transfer(), Some(Transfer::Out(3)));
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
