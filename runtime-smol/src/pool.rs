//! Buffers that reads take when their data arrive.

use core::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::BytesMut;

/// Buffers of one length for many reads: each takes one when its first data arrive, and gives it back when its result is dropped.
///
/// So a thousand reads under way need few buffers, the few stay in the processor's cache, and none is allocated for a read once there are enough.
/// A pool is never larger than what was in use at once.
///
/// ```no_run
/// use iscsi_runtime_smol::{Disk, Error, Memory, Pool, Request};
///
/// /// The sum of the first bytes of every MiB.
/// async fn sum(disk: &Disk) -> Result<u64, Error> {
///     let pool = Pool::new(4096);
///     let read = |n| disk.submit(Request::read(n << 20, 4096), pool.memory());
///     let tickets: Vec<_> = (0..disk.capacity() >> 20).map(read).collect();
///     let mut sum = 0;
///     for ticket in tickets {
///         let Memory::Pooled(read) = ticket.await? else { continue };
///         sum += read.data().first().map_or(0, |&byte| u64::from(byte));
///     }
///     Ok(sum)
/// }
/// # let _ = sum;
/// ```
#[derive(Clone)]
pub struct Pool(Arc<Buffers>);

struct Buffers {
    /// Those that nobody has.
    free: Mutex<Vec<BytesMut>>,
    len: usize,
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("len", &self.0.len).finish_non_exhaustive()
    }
}

impl Pool {
    /// No buffers yet, of `len` bytes each.
    pub fn new(len: usize) -> Self {
        Self(Arc::new(Buffers { free: Mutex::default(), len }))
    }

    /// Memory for a read of up to the length of a buffer.
    pub fn memory(&self) -> Pooled {
        Pooled { pool: self.clone(), buffer: None }
    }

    fn take(&self) -> BytesMut {
        // Nothing can go wrong under the lock, so a poisoned one is as good as any.
        let free = self.0.free.lock().unwrap_or_else(PoisonError::into_inner).pop();
        free.unwrap_or_else(|| BytesMut::zeroed(self.0.len))
    }

    fn give(&self, buffer: BytesMut) {
        self.0.free.lock().unwrap_or_else(PoisonError::into_inner).push(buffer);
    }
}

/// Memory of a read that is a buffer of a [`Pool`] once data have arrived.
///
/// ```
/// use iscsi_runtime_smol::{Memory, Pool};
/// let memory = Pool::new(512).memory();
/// assert!(memory.data().is_empty(), "nothing has come");
/// assert!(Memory::from(memory).into_mut().is_empty());
/// ```
pub struct Pooled {
    pool: Pool,
    buffer: Option<BytesMut>,
}

/// Without the bytes, which may be many.
impl fmt::Debug for Pooled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pooled").field("filled", &self.buffer.is_some()).finish_non_exhaustive()
    }
}

impl Pooled {
    /// The whole buffer; empty if no data came. What the read did not fill holds bytes of earlier ones.
    pub fn data(&self) -> &[u8] {
        self.buffer.as_deref().unwrap_or_default()
    }

    /// The buffer, to be kept: the pool makes another one when it needs it. Empty if no data came.
    pub fn into_mut(mut self) -> BytesMut {
        self.buffer.take().unwrap_or_default()
    }

    /// Bytes that there is room for.
    pub(crate) fn len(&self) -> usize {
        self.pool.0.len
    }

    pub(crate) fn space(&mut self) -> &mut BytesMut {
        self.buffer.get_or_insert_with(|| self.pool.take())
    }
}

impl Drop for Pooled {
    fn drop(&mut self) {
        if let Some(buffer) = self.buffer.take() {
            self.pool.give(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use iscsi_runtime::Lend as _;

    use super::*;
    use crate::memory::Memory;

    #[test]
    fn a_read_has_a_buffer_from_its_first_byte_to_its_end() {
        let pool = Pool::new(8);
        let free = || pool.0.free.lock().unwrap().len();
        let mut reads = [(); 3].map(|()| Memory::from(pool.memory()));
        assert!(reads.iter().all(|read| read.room() == [8, 0]));
        reads[1].space(2, 3).fill(7);
        assert!(reads[1].space(2, 7).is_empty(), "beyond the buffer");
        assert_eq!(free(), 0);
        let [_, second, mut third] = reads;
        let Memory::Pooled(second) = second else { unreachable!() };
        assert_eq!(second.data(), [0, 0, 7, 7, 7, 0, 0, 0]);
        drop(second);
        assert_eq!(free(), 1);
        third.space(0, 1).fill(1);
        assert_eq!(free(), 0, "the buffer of the second");
        assert_eq!(third.into_mut()[..3], [1, 0, 7]);
        assert_eq!(free(), 0, "kept");
    }
}
