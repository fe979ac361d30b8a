//! Sockets in a mio poll.

use std::io::{self, Write as _};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use iscsi_core::driver::{NonBlocking, RecvBuf, SHORT_IS_ALL, Transport};
use iscsi_runtime::{Reactor, has_peer, set_low_water};
use mio::unix::pipe;
use mio::{Interest, Registry, Token};

/// How many scratches are kept for the next sessions.
const SPARE: usize = 4;

/// What the poll has told of the sockets of a session and was not used up: calls that could not do anything are not made.
#[derive(Debug, Default)]
pub(crate) struct Readiness {
    readable: AtomicBool,
    writable: AtomicBool,
}

impl Readiness {
    pub(crate) fn add(&self, readable: bool, writable: bool) {
        // Only the thread of the loop reads and writes them.
        self.readable.fetch_or(readable, Ordering::Relaxed);
        self.writable.fetch_or(writable, Ordering::Relaxed);
    }
}

/// A socket, read and written only when there is a point in it.
#[derive(Debug)]
pub(crate) struct PollSocket {
    stream: NonBlocking<mio::net::TcpStream>,
    readiness: Arc<Readiness>,
    /// Fewer bytes are not announced.
    low_water: u32,
}

impl Transport for PollSocket {
    type Error = io::Error;

    const EDGE_TRIGGERED: bool = !SHORT_IS_ALL;

    fn send(&mut self, runs: &[&[u8]]) -> io::Result<Option<usize>> {
        if !self.readiness.writable.load(Ordering::Relaxed) {
            return Ok(None);
        }
        let sent = self.stream.send(runs)?;
        self.readiness.writable.store(sent.is_some(), Ordering::Relaxed);
        Ok(sent)
    }

    fn recv(&mut self, space: [&mut [u8]; 2]) -> io::Result<Option<usize>> {
        if !self.readiness.readable.load(Ordering::Relaxed) {
            return Ok(None);
        }
        let room: usize = space.iter().map(|space| space.len()).sum();
        let received = self.stream.recv(space)?;
        let more = received.is_some_and(|n| n == room || n > 0 && !SHORT_IS_ALL);
        self.readiness.readable.store(more, Ordering::Relaxed);
        Ok(received)
    }
}

/// Scratches that no session needs at the moment; one as a rule.
pub(crate) type Scratches = Arc<Mutex<Vec<Box<RecvBuf>>>>;

/// The sockets of one session: all are registered under its token, edge-triggered.
#[derive(Debug)]
pub(crate) struct PollReactor {
    registry: Arc<Registry>,
    token: Token,
    readiness: Arc<Readiness>,
    scratches: Scratches,
    /// Becomes readable when a host name was looked up.
    lookup: Mutex<Option<pipe::Receiver>>,
}

impl PollReactor {
    pub(crate) fn new(registry: Arc<Registry>, token: Token, scratches: Scratches) -> Self {
        Self { registry, token, readiness: Arc::default(), scratches, lookup: Mutex::new(None) }
    }

    pub(crate) fn readiness(&self) -> &Readiness {
        &self.readiness
    }

    fn set_lookup(&self, new: Option<pipe::Receiver>) {
        let old = {
            let mut lookup = self.lookup.lock().unwrap_or_else(PoisonError::into_inner);
            core::mem::replace(&mut *lookup, new)
        };
        if let Some(mut old) = old {
            // It is closed in any case.
            let _ = self.registry.deregister(&mut old);
        }
    }

    fn begin_lookup(&self) -> io::Result<pipe::Sender> {
        let (sender, mut receiver) = pipe::new()?;
        self.registry.register(&mut receiver, self.token, Interest::READABLE)?;
        self.set_lookup(Some(receiver));
        Ok(sender)
    }
}

impl Reactor for PollReactor {
    type Socket = PollSocket;

    fn adopt(&mut self, socket: TcpStream) -> io::Result<Self::Socket> {
        self.set_lookup(None);
        let mut socket = mio::net::TcpStream::from_std(socket);
        let both = Interest::READABLE | Interest::WRITABLE;
        // A read stops at an urgent mark: it is short although more is there.
        #[cfg(any(target_os = "linux", target_os = "android"))]
        let both = both | Interest::PRIORITY;
        self.registry.register(&mut socket, self.token, both)?;
        self.readiness.add(true, true);
        let (stream, readiness) = (NonBlocking(socket), self.readiness.clone());
        Ok(PollSocket { stream, readiness, low_water: 1 })
    }

    fn release(&mut self, mut socket: Self::Socket) {
        // It is closed in any case.
        let _ = self.registry.deregister(&mut socket.stream.0);
    }

    fn take_error(socket: &Self::Socket) -> io::Result<Option<io::Error>> {
        socket.stream.0.take_error()
    }

    fn is_connected(socket: &Self::Socket) -> io::Result<bool> {
        has_peer(socket.stream.0.peer_addr())
    }

    fn set_low_water(socket: &mut Self::Socket, bytes: u32) -> bool {
        // What is there below the old mark was not announced.
        let lower = bytes < core::mem::replace(&mut socket.low_water, bytes);
        socket.readiness.add(lower, false);
        set_low_water(&socket.stream.0, bytes)
    }

    fn lend_scratch(&mut self, len: usize) -> Box<RecvBuf> {
        let mut kept = self.scratches.lock().unwrap_or_else(PoisonError::into_inner);
        // All sessions have the same length as a rule.
        let fits =
            kept.iter().rposition(|scratch| scratch.capacity() >= len.min(RecvBuf::MAX_ROOM));
        fits.map_or_else(|| RecvBuf::with_room(len), |at| kept.swap_remove(at))
    }

    fn take_scratch(&mut self, scratch: Box<RecvBuf>) -> Option<Box<RecvBuf>> {
        let mut kept = self.scratches.lock().unwrap_or_else(PoisonError::into_inner);
        // Sessions that had to keep theirs for a while come back with them.
        if kept.len() < SPARE {
            kept.push(scratch);
        }
        None
    }

    fn waker(&self) -> Box<dyn Fn() + Send + Sync> {
        match self.begin_lookup() {
            Ok(sender) => {
                let sender = Mutex::new(sender);
                Box::new(move || {
                    let mut sender = sender.lock().unwrap_or_else(PoisonError::into_inner);
                    // Whoever does not read it any more needs no waking.
                    let _ = sender.write(&[0]);
                })
            }
            // Out of descriptors: the answer is found when the time limit for connecting makes the session turn.
            Err(_) => Box::new(|| {}),
        }
    }
}

impl Drop for PollReactor {
    fn drop(&mut self) {
        self.set_lookup(None);
    }
}
