//! Writing behind.

use core::pin::Pin;
use core::task::{Context, Poll, ready};
use std::collections::VecDeque;
use std::io;

use bytes::BytesMut;
use iscsi_disk::Request;
use iscsi_runtime::Error;

use super::{CHUNK, DEPTH, rest_of_chunk};
use crate::disk::Disk;
use crate::memory::Memory;
use crate::ticket::Ticket;

/// What was taken and is not on the device yet.
#[derive(Debug)]
pub(super) struct Writer {
    /// Bytes that were not asked to be written yet; none beyond the end of a chunk.
    gathered: BytesMut,
    /// Where they go.
    at: u64,
    /// Writes under way, oldest first.
    flying: VecDeque<Ticket<Memory>>,
    /// The flush of the device, once all writes before it had ended.
    flushing: Option<Ticket<Memory>>,
    /// Something was written since that flush began.
    written: bool,
    /// What nobody was told yet.
    error: Option<Error>,
}

impl Writer {
    pub(super) fn new() -> Self {
        Self {
            gathered: BytesMut::new(),
            at: 0,
            flying: VecDeque::new(),
            flushing: None,
            written: false,
            error: None,
        }
    }

    /// Takes a first part of `data`, for `position`: nothing else was asked for since the bytes before it were taken, or all of those are written.
    pub(super) fn poll_write(
        &mut self,
        disk: &Disk,
        position: u64,
        context: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        // Those that have ended, without waiting for any.
        while self.flying.front().is_some_and(Ticket::is_done) {
            ready!(self.poll_oldest(context));
        }
        self.tell()?;
        if data.is_empty() {
            return Poll::Ready(Ok(0));
        }
        if self.is_full() {
            while self.flying.len() >= DEPTH {
                ready!(self.poll_oldest(context));
            }
            self.tell()?;
            self.submit(disk);
        }
        if self.gathered.is_empty() {
            self.at = position;
        }
        let len = data.len().min(rest_of_chunk(position));
        self.gathered.extend_from_slice(data.get(..len).unwrap_or_default());
        self.written = true;
        // It need not wait for the next call, if there is room.
        if self.is_full() && self.flying.len() < DEPTH {
            self.submit(disk);
        }
        Poll::Ready(Ok(len))
    }

    /// Waits until all is written, or has failed.
    pub(super) fn poll_written(
        &mut self,
        disk: &Disk,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while !(self.gathered.is_empty() && self.flying.is_empty()) {
            if self.flying.len() < DEPTH {
                self.submit(disk);
            }
            ready!(self.poll_oldest(context));
        }
        Poll::Ready(self.tell())
    }

    /// Waits until all is written, and then durable.
    pub(super) fn poll_flush(
        &mut self,
        disk: &Disk,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            ready!(self.poll_written(disk, context))?;
            let flush = self.flushing.get_or_insert_with(|| {
                self.written = false;
                disk.submit(Request::flush(), Memory::None)
            });
            let end = ready!(Pin::new(flush).poll(context));
            self.flushing = None;
            if let Err(failed) = end {
                return Poll::Ready(Err(Error::from(failed).into()));
            }
            // Else a flush was given up, there was a write, and this is another flush: it is for that write, too.
            if !self.written {
                return Poll::Ready(Ok(()));
            }
        }
    }

    /// Lets everything go on, without anybody who waits for it.
    pub(super) fn let_go(&mut self, disk: &Disk) {
        self.submit(disk);
        self.flying.drain(..).for_each(Ticket::detach);
    }

    /// Whether the bytes that were gathered reach the end of their chunk.
    fn is_full(&self) -> bool {
        !self.gathered.is_empty() && self.gathered.len() == rest_of_chunk(self.at)
    }

    fn submit(&mut self, disk: &Disk) {
        if !self.gathered.is_empty() {
            let data = self.gathered.split().freeze();
            let write = Request::write(self.at, data.len() as u64);
            self.flying.push_back(disk.submit(write, data));
            self.gathered.reserve(CHUNK);
        }
    }

    fn poll_oldest(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let Some(ticket) = self.flying.front_mut() else { return Poll::Ready(()) };
        if let Err(failed) = ready!(Pin::new(ticket).poll(context)) {
            // The first one says most.
            self.error.get_or_insert(failed.error);
        }
        self.flying.pop_front();
        Poll::Ready(())
    }

    fn tell(&mut self) -> io::Result<()> {
        self.error.take().map_or(Ok(()), |error| Err(error.into()))
    }
}
