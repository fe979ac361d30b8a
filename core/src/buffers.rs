//! Memory lent to the engine for the length of one call.

use crate::TaskId;

/// The application's memory, reached by task and offset.
///
/// The engine holds no payload: whenever bytes of a task are to be placed or gathered it asks for the next run. Both methods return the
/// longest contiguous run that starts at offset `at`: at least 1 byte and at most `max`; scattered memory returns shorter runs.
/// An empty run means that the memory is gone; the connection is then dropped, because the bytes on the wire can be neither
/// skipped nor invented.
///
/// Offsets have been checked against the task's length: `at + max` never exceeds it, whatever the target sent.
///
/// ```
/// use iscsi_core::{Buffers, TaskId};
///
/// /// One block, wherever it came from.
/// struct Block([u8; 512]);
///
/// impl Buffers for Block {
///     fn data_in(&mut self, _task: TaskId, at: u32, max: u32) -> &mut [u8] {
///         &mut self.0[at as usize..][..max as usize]
///     }
///     fn data_out(&self, _task: TaskId, at: u32, max: u32) -> &[u8] {
///         &self.0[at as usize..][..max as usize]
///     }
/// }
/// assert_eq!(Block([7; 512]).data_out(TaskId::from_bits(0), 500, 12), [7; 12]);
/// ```
pub trait Buffers {
    /// Where bytes `at..at + max` of the task's Data-In go.
    fn data_in(&mut self, task: TaskId, at: u32, max: u32) -> &mut [u8];

    /// Bytes `at..at + max` of the task's Data-Out.
    fn data_out(&self, task: TaskId, at: u32, max: u32) -> &[u8];

    /// Whether the task's Data-In are handed to [`consume`](Self::consume) where they arrived, instead of going to [`data_in`](Self::data_in): they are then
    /// not copied, and large ones are read many at once. `false` unless overridden; the answer is the same from the submission of a task to its end.
    ///
    /// Only what goes through a scratch can be consumed ([`Connection::receive`](crate::Connection::receive), and the driver with one that is not empty):
    /// a loop that reads into [`recv_space`](crate::Connection::recv_space) has to lend memory.
    fn consumes(&self, _task: TaskId) -> bool {
        false
    }

    /// Bytes of the task's Data-In from offset `at` on, for a look at them: nothing keeps them. They come in runs of any length.
    ///
    /// What was seen counts once the task has ended well: until then it may be damaged, and the same bytes may come again.
    fn consume(&mut self, _task: TaskId, _at: u32, _bytes: &[u8]) {}
}

/// No memory at all, for sessions that only discover, log in or send commands without data.
///
/// ```
/// use iscsi_core::{Buffers, NoBuffers, TaskId};
/// assert!(NoBuffers.data_out(TaskId::from_bits(0), 0, 1).is_empty());
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct NoBuffers;

impl Buffers for NoBuffers {
    fn data_in(&mut self, _task: TaskId, _at: u32, _max: u32) -> &mut [u8] {
        &mut []
    }

    fn data_out(&self, _task: TaskId, _at: u32, _max: u32) -> &[u8] {
        &[]
    }
}

impl<B: Buffers + ?Sized> Buffers for &mut B {
    fn data_in(&mut self, task: TaskId, at: u32, max: u32) -> &mut [u8] {
        (**self).data_in(task, at, max)
    }

    fn data_out(&self, task: TaskId, at: u32, max: u32) -> &[u8] {
        (**self).data_out(task, at, max)
    }

    fn consumes(&self, task: TaskId) -> bool {
        (**self).consumes(task)
    }

    fn consume(&mut self, task: TaskId, at: u32, bytes: &[u8]) {
        (**self).consume(task, at, bytes);
    }
}

/// Borrowed memory for one read: whatever task asks gets it.
///
/// ```
/// use iscsi_core::{Buffers, ReadInto, TaskId};
/// let mut block = [0; 512];
/// let mut buffers = ReadInto(&mut block);
/// buffers.data_in(TaskId::from_bits(0), 8, 4).fill(1);
/// assert_eq!(block[8..12], [1; 4]);
/// ```
#[derive(Debug)]
pub struct ReadInto<'a>(pub &'a mut [u8]);

impl Buffers for ReadInto<'_> {
    fn data_in(&mut self, _task: TaskId, at: u32, max: u32) -> &mut [u8] {
        let rest = self.0.get_mut(at as usize..).unwrap_or_default();
        let len = rest.len().min(max as usize);
        &mut rest[..len]
    }

    fn data_out(&self, _task: TaskId, _at: u32, _max: u32) -> &[u8] {
        &[]
    }
}

/// Borrowed memory for one write.
///
/// ```
/// use iscsi_core::{Buffers, TaskId, WriteFrom};
/// assert_eq!(WriteFrom(&[1, 2, 3]).data_out(TaskId::from_bits(0), 1, 2), [2, 3]);
/// ```
#[derive(Debug)]
pub struct WriteFrom<'a>(pub &'a [u8]);

impl Buffers for WriteFrom<'_> {
    fn data_in(&mut self, _task: TaskId, _at: u32, _max: u32) -> &mut [u8] {
        &mut []
    }

    fn data_out(&self, _task: TaskId, at: u32, max: u32) -> &[u8] {
        let rest = self.0.get(at as usize..).unwrap_or_default();
        &rest[..rest.len().min(max as usize)]
    }
}
