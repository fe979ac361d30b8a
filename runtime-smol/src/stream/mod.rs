//! A disk as a stream of bytes.

mod read;
mod write;

use core::pin::Pin;
use core::task::{Context, Poll, ready};
use std::io::{self, SeekFrom};

use futures_io::{AsyncRead, AsyncSeek, AsyncWrite};

use crate::disk::Disk;
use read::Reader;
use write::Writer;

/// Bytes of one request of a stream. Requests end at multiples of it.
const CHUNK: usize = 64 << 10;

/// Requests of a stream that are under way at once.
const DEPTH: usize = 4;

/// How much of `len` bytes lies before the end of the device.
fn before_end(capacity: u64, position: u64, len: usize) -> usize {
    usize::try_from(capacity.saturating_sub(position)).unwrap_or(usize::MAX).min(len)
}

/// Bytes from a position to the end of its chunk.
const fn rest_of_chunk(position: u64) -> usize {
    CHUNK - (position % CHUNK as u64) as usize
}

/// A disk as a stream of bytes, from [`Disk::stream`]: [`AsyncRead`], [`AsyncWrite`] and [`AsyncSeek`] on the whole device, like on a block
/// device file.
///
/// It has memory of its own, so that every poll may be the last one, and the next one may come with other memory:
///
/// * **Writing** copies and goes on. Requests of 64 KiB, a few at once, are under way behind it. Their errors are told by the next call, whatever it
///   is, once; what failed is not tried again. `flush` and `close` wait for all of them and then flush the device.
/// * **Reading** runs ahead, a few requests of 64 KiB once it turns out to go on. It sees what was written to this stream before, and waits for it.
///   What others write meanwhile may be missed until the next seek to another place.
/// * **Seeking** waits for what was written. Beyond the end of the device there is nothing to read.
/// * **At the end of the device** reading and writing give 0; `write_all` makes an error of kind `WriteZero` of that.
///
/// Dropped without a flush, it lets the writes go on in the background; then nobody learns of their errors.
///
/// ```no_run
/// use futures_lite::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt};
/// use iscsi_runtime_smol::Disk;
/// use std::io::{Result, SeekFrom};
///
/// async fn stamp(disk: &Disk) -> Result<[u8; 8]> {
///     let (mut stream, mut old) = (disk.stream(), [0; 8]);
///     stream.seek(SeekFrom::End(-8)).await?;
///     stream.read_exact(&mut old).await?;
///     stream.seek(SeekFrom::Current(-8)).await?;
///     stream.write_all(b"was here").await?;
///     stream.flush().await?;
///     Ok(old)
/// }
/// # let _ = stamp;
/// ```
#[derive(Debug)]
pub struct DiskStream {
    disk: Disk,
    position: u64,
    reader: Reader,
    writer: Writer,
}

impl DiskStream {
    /// A stream from the first byte of a disk.
    pub fn new(disk: Disk) -> Self {
        Self { disk, position: 0, reader: Reader::new(), writer: Writer::new() }
    }

    /// The disk.
    pub const fn disk(&self) -> &Disk {
        &self.disk
    }

    /// Where the next byte is read or written.
    pub const fn position(&self) -> u64 {
        self.position
    }
}

impl AsyncRead for DiskStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        memory: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        if memory.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let Self { disk, position, reader, writer } = &mut *self;
        ready!(writer.poll_written(disk, context))?;
        let len = ready!(reader.poll_read(disk, *position, context, memory))?;
        *position += len as u64;
        Poll::Ready(Ok(len))
    }
}

impl AsyncWrite for DiskStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        let Self { disk, position, reader, writer } = &mut *self;
        let len = before_end(disk.capacity(), *position, data.len());
        let data = data.get(..len).unwrap_or_default();
        let len = ready!(writer.poll_write(disk, *position, context, data))?;
        if len > 0 {
            reader.forget();
            *position += len as u64;
        }
        Poll::Ready(Ok(len))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { disk, writer, .. } = &mut *self;
        writer.poll_flush(disk, context)
    }

    /// Flushes. The session stays open.
    fn poll_close(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_flush(context)
    }
}

impl AsyncSeek for DiskStream {
    fn poll_seek(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        to: SeekFrom,
    ) -> Poll<io::Result<u64>> {
        let Self { disk, position, reader, writer } = &mut *self;
        ready!(writer.poll_written(disk, context))?;
        let to = match to {
            SeekFrom::Start(offset) => Some(offset),
            SeekFrom::End(by) => disk.capacity().checked_add_signed(by),
            SeekFrom::Current(by) => position.checked_add_signed(by),
        };
        let to = to.ok_or(io::ErrorKind::InvalidInput)?;
        if to != *position {
            reader.forget();
            *position = to;
        }
        Poll::Ready(Ok(to))
    }
}

impl Drop for DiskStream {
    fn drop(&mut self) {
        self.writer.let_go(&self.disk);
    }
}
