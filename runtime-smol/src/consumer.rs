//! Reads whose bytes are looked at where they arrive.

use core::fmt;

/// For a read whose bytes are looked at where they arrive, and kept nowhere: for a checksum, a comparison, another file. That takes fewer copies and fewer
/// system calls than a buffer, above all with a large [`Options::scratch`](crate::Options::scratch).
///
/// ```no_run
/// use std::sync::{Arc, Mutex};
/// use iscsi_runtime_smol::{Consumer, Disk, Error, Request};
///
/// /// Adds the bytes of the first MiB up.
/// async fn sum(disk: &Disk) -> Result<u64, Error> {
///     let sum = Arc::new(Mutex::new(0));
///     let shared = sum.clone();
///     let add = move |_at, bytes: &[u8]| {
///         *shared.lock().unwrap() += bytes.iter().map(|&byte| u64::from(byte)).sum::<u64>();
///     };
///     disk.submit(Request::read(0, 1 << 20), Consumer::new(1 << 20, add)).await?;
///     let sum = *sum.lock().unwrap();
///     Ok(sum)
/// }
/// # let _ = sum;
/// ```
pub struct Consumer {
    len: usize,
    take: Box<Take>,
}

type Take = dyn FnMut(usize, &[u8]) + Send + Sync;

/// Without the function.
impl fmt::Debug for Consumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consumer").field("len", &self.len).finish_non_exhaustive()
    }
}

impl Consumer {
    /// For a read of up to `len` bytes. `take` is called by the session's driver with each run of them and where it begins. What it has seen counts once the read
    /// has ended well; until then the same bytes may come again.
    pub fn new(len: usize, take: impl FnMut(usize, &[u8]) + Send + Sync + 'static) -> Self {
        Self { len, take: Box::new(take) }
    }

    /// The most bytes that may be read.
    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn consume(&mut self, at: usize, bytes: &[u8]) {
        (self.take)(at, bytes);
    }
}
