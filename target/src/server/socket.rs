//! The socket of a connection, registered edge-triggered.
//!
//! An edge is told once, so the socket remembers what it was told and makes only calls in which there is a point. A read that does not
//! fill its space has taken all there was, and a write that does not send everything has filled the socket: what comes later, bytes,
//! the end of the stream or room, is a new edge (epoll(7)). Only what came with the edge itself, behind the bytes, is not told again:
//! then the socket is read until it says that there is nothing more. So a batch of requests costs one wait, one read and one write.

use std::io::{self, IoSlice, IoSliceMut, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr};

use iscsi_core::driver::{SHORT_IS_ALL, now_or_later};
use mio::event::Event;
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};

use crate::conn::TargetConnection;
use crate::driver::Transport;

/// A read stops at an urgent mark: it is short although more is there.
#[cfg(any(target_os = "linux", target_os = "android"))]
const INPUT: Interest = Interest::READABLE.add(Interest::PRIORITY);
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const INPUT: Interest = Interest::READABLE;

/// For so many runs a short list does: a long one costs more to lay out than the rest of a small answer.
const FEW: usize = 24;

/// A non-blocking socket that knows what was told of it.
#[derive(Debug)]
pub(super) struct Socket {
    stream: TcpStream,
    token: Token,
    readable: bool,
    writable: bool,
    /// Behind the bytes that a read takes is something else: the end of the stream, an error, bytes behind an urgent mark.
    behind: bool,
    /// Room for sending is told, too.
    tells_room: bool,
}

impl Socket {
    /// Registers `stream`. Room for sending is not told before the socket was full for the first time: most never are, and it would wake
    /// the loop for nothing whenever requests arrive while others are being read.
    pub(super) fn new(
        mut stream: TcpStream,
        registry: &Registry,
        token: Token,
    ) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        registry.register(&mut stream, token, INPUT)?;
        Ok(Self {
            stream,
            token,
            readable: false,
            writable: true,
            behind: false,
            tells_room: false,
        })
    }

    pub(super) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.stream.local_addr()
    }

    /// Takes note of what the poll has told.
    pub(super) fn told(&mut self, event: &Event) {
        let over = event.is_read_closed() || event.is_error();
        self.readable |= event.is_readable() || over || event.is_priority();
        self.writable |= event.is_writable() || event.is_write_closed() || event.is_error();
        self.behind |= over || event.is_priority();
    }

    /// There is something to send: if the socket is full, room will be told.
    pub(super) fn await_room(&mut self, registry: &Registry) -> io::Result<()> {
        if !self.writable && !self.tells_room {
            registry.reregister(&mut self.stream, self.token, INPUT | Interest::WRITABLE)?;
            self.tells_room = true;
        }
        Ok(())
    }

    /// Nothing more will be sent.
    pub(super) fn shut(&self) {
        // If the initiator is gone already, reading will tell.
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// Nothing more is told. The socket is closed when it is dropped.
    pub(super) fn release(&mut self, registry: &Registry) {
        // It is closed in any case.
        let _ = registry.deregister(&mut self.stream);
    }
}

impl Socket {
    /// Sends at most `N` runs in one call.
    fn gather<const N: usize>(&mut self, runs: &[&[u8]]) -> io::Result<Option<usize>> {
        let mut slices = [IoSlice::new(&[]); N];
        let mut len = 0;
        for (slice, run) in slices.iter_mut().zip(runs) {
            *slice = IoSlice::new(run);
            len += 1;
        }
        now_or_later(|| self.stream.write_vectored(&slices[..len]))
    }

    /// A read of at most `room` bytes took these.
    fn took(&mut self, received: Option<usize>, room: usize) -> Option<usize> {
        match received {
            Some(n) if n > 0 => self.readable = n == room || self.behind || !SHORT_IS_ALL,
            _ => (self.readable, self.behind) = (false, false),
        }
        received
    }
}

impl Transport for Socket {
    type Error = io::Error;

    /// Asked until it says that there is nothing more; most times it knows that without a call.
    const EDGE_TRIGGERED: bool = true;

    fn send(&mut self, runs: &[&[u8]]) -> io::Result<Option<usize>> {
        if !self.writable {
            return Ok(None);
        }
        let runs = runs.get(..TargetConnection::MAX_RUNS).unwrap_or(runs);
        let bytes: usize = runs.iter().map(|run| run.len()).sum();
        let sent = match runs {
            [run] => now_or_later(|| self.stream.write(run)),
            _ if runs.len() <= FEW => self.gather::<FEW>(runs),
            _ => self.gather::<{ TargetConnection::MAX_RUNS }>(runs),
        }?;
        self.writable = sent.is_some_and(|n| n == bytes || n > 0 && !SHORT_IS_ALL);
        Ok(sent)
    }

    fn recv(&mut self, space: [&mut [u8]; 2]) -> io::Result<Option<usize>> {
        if !self.readable {
            return Ok(None);
        }
        let [first, second] = space;
        let room = first.len() + second.len();
        let received = if first.is_empty() {
            now_or_later(|| self.stream.read(second))?
        } else {
            let mut slices = [IoSliceMut::new(first), IoSliceMut::new(second)];
            now_or_later(|| self.stream.read_vectored(&mut slices))?
        };
        Ok(self.took(received, room))
    }

    /// Bytes are dropped in the system, which saves their copies.
    #[cfg(target_os = "linux")]
    fn discard(&mut self, space: &mut [u8]) -> io::Result<Option<usize>> {
        use rustix::net::{RecvFlags, recv};
        if !self.readable {
            return Ok(None);
        }
        let room = space.len();
        let call = || Ok(recv(&self.stream, &mut *space, RecvFlags::TRUNC)?.0);
        let received = now_or_later(call)?;
        Ok(self.took(received, room))
    }
}
