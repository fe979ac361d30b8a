//! Reading ahead.

use core::pin::Pin;
use core::task::{Context, Poll, ready};
use std::collections::VecDeque;
use std::io;

use bytes::{Buf as _, BytesMut};
use iscsi_disk::Request;
use iscsi_runtime::Error;

use super::{CHUNK, DEPTH, before_end, rest_of_chunk};
use crate::disk::Disk;
use crate::memory::Memory;
use crate::ticket::Ticket;

/// The least that is read: a few bytes here and there shall not cost 64 KiB each.
const LEAST: usize = 4 << 10;

/// What was read before it was asked for.
#[derive(Debug)]
pub(super) struct Reader {
    /// Bytes from the position on.
    ready: BytesMut,
    /// Bytes behind them, in their order.
    ahead: VecDeque<Ticket<Memory>>,
    /// Where the bytes behind all of these begin; `None` if there are none.
    next: Option<u64>,
    /// How many requests may be under way: one until the reader has gone on from one to the next.
    depth: usize,
}

impl Reader {
    pub(super) fn new() -> Self {
        Self { ready: BytesMut::new(), ahead: VecDeque::new(), next: None, depth: 1 }
    }

    /// What was read is not what comes next, or not what it was.
    pub(super) fn forget(&mut self) {
        if self.next.is_some() {
            *self = Self::new();
        }
    }

    /// Bytes from `position`, which has moved only by what this has given since it was told to forget.
    pub(super) fn poll_read(
        &mut self,
        disk: &Disk,
        position: u64,
        context: &mut Context<'_>,
        memory: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        if self.ready.is_empty() {
            self.go_ahead(disk, position, memory.len());
            let Some(ticket) = self.ahead.front_mut() else {
                // Read again, it may be longer then.
                self.forget();
                return Poll::Ready(Ok(0));
            };
            match ready!(Pin::new(ticket).poll(context)) {
                Ok(read) => {
                    self.ahead.pop_front();
                    self.ready = read.into_mut();
                    self.depth = (self.depth * 2).min(DEPTH);
                }
                Err(failed) => {
                    self.forget();
                    return Poll::Ready(Err(Error::from(failed).into()));
                }
            }
        }
        let len = self.ready.len().min(memory.len());
        if let Some(place) = memory.get_mut(..len) {
            self.ready.copy_to_slice(place);
        }
        Poll::Ready(Ok(len))
    }

    /// Asks for what comes next.
    fn go_ahead(&mut self, disk: &Disk, position: u64, wanted: usize) {
        let capacity = disk.capacity();
        while self.ahead.len() < self.depth {
            let (next, most) = match self.next {
                Some(next) => (next, CHUNK),
                None => (position, wanted.max(LEAST)),
            };
            let len = before_end(capacity, next, most.min(rest_of_chunk(next)));
            if len == 0 {
                return;
            }
            let read = Request::read(next, len as u64);
            self.ahead.push_back(disk.submit(read, BytesMut::zeroed(len)));
            self.next = Some(next + len as u64);
        }
    }
}
