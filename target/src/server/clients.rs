//! The connections of a server: a table by token, a line of those that have something to do, their deadlines.

use std::boxed::Box;
use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::vec::Vec;

use iscsi_core::driver::Deadlines;
use iscsi_core::{Instant, Wants};
use mio::event::Event;
use mio::{Registry, Token};

use super::socket::Socket;
use crate::conn::TargetConnection;
use crate::driver::{RecvBuf, pump};
use crate::target::Target;

/// PDUs of one connection before the others get their turn; the driver bounds the bytes.
const BUDGET: usize = 64;

/// What is read at once when it is many small requests.
const SCRATCH: usize = 64 * 1024;

/// How many of them are kept for the next ones.
const SPARE: usize = 4;

/// One connection.
pub(super) struct Client {
    pub(super) socket: Socket,
    pub(super) peer: SocketAddr,
    pub(super) connection: Box<TargetConnection>,
    /// Bytes that were read and not taken. There are none as a rule, and then there is no scratch either.
    scratch: Option<Box<RecvBuf>>,
    /// Its login was told.
    pub(super) logged_in: bool,
    /// In the line of those that have something to do.
    ready: bool,
    /// The sending side is shut down.
    shut: bool,
}

impl Client {
    pub(super) const fn new(
        socket: Socket,
        peer: SocketAddr,
        connection: Box<TargetConnection>,
    ) -> Self {
        Self {
            socket,
            peer,
            connection,
            scratch: None,
            logged_in: false,
            ready: false,
            shut: false,
        }
    }

    /// Moves bytes, and says what to wait for.
    fn serve(
        &mut self,
        scratch: &mut RecvBuf,
        registry: &Registry,
        target: &mut Target<'_>,
        now: Instant,
    ) -> io::Result<Wants> {
        let wants = pump(&mut self.connection, target, scratch, &mut self.socket, now, BUDGET)?;
        if wants.write
            && let Err(error) = self.socket.await_room(registry)
        {
            self.connection.closed(target);
            return Err(error);
        }
        if self.connection.is_finished() && !self.shut {
            self.shut = true;
            self.socket.shut();
        }
        Ok(wants)
    }
}

/// All connections. What a turn costs depends on those that have something to do, not on how many there are.
#[derive(Default)]
pub(super) struct Clients {
    slots: Vec<Option<Client>>,
    free: Vec<usize>,
    /// Whoever is in it is there once, and is there still.
    ready: VecDeque<usize>,
    deadlines: Deadlines,
    /// Scratches that no connection needs at the moment; one as a rule.
    spare: Vec<Box<RecvBuf>>,
}

impl Clients {
    /// How many there are.
    pub(super) const fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// The token of the next one.
    pub(super) fn next_token(&self) -> Token {
        Token(self.free.last().copied().unwrap_or(self.slots.len()))
    }

    /// Adds one, whose socket has the [`next_token`](Self::next_token). It has nothing to do before that is told.
    pub(super) fn insert(&mut self, client: Client) {
        let deadline = client.connection.wants().deadline;
        let index = match self.free.pop() {
            Some(index) => index,
            None => {
                self.slots.push(None);
                self.slots.len() - 1
            }
        };
        if let Some(slot) = self.slots.get_mut(index) {
            *slot = Some(client);
        }
        self.deadlines.set(index, deadline);
    }

    /// The next deadline; now, if someone has something to do.
    pub(super) fn deadline(&self) -> Option<Instant> {
        if self.ready.is_empty() { self.deadlines.next() } else { Some(Instant::ZERO) }
    }

    /// Takes note of what the poll has told of a socket.
    pub(super) fn told(&mut self, event: &Event) {
        let Token(index) = event.token();
        if let Some(client) = self.slots.get_mut(index).and_then(Option::as_mut) {
            client.socket.told(event);
            self.wake(index);
        }
    }

    /// Whose deadline has come has something to do.
    pub(super) fn wake_due(&mut self, now: Instant) {
        while let Some(index) = self.deadlines.take_due(now) {
            self.wake(index);
        }
    }

    fn wake(&mut self, index: usize) {
        if let Some(client) = self.slots.get_mut(index).and_then(Option::as_mut)
            && !core::mem::replace(&mut client.ready, true)
        {
            self.ready.push_back(index);
        }
    }

    /// Everyone has something to do. Only for what is rare: a wish of the application, something that others have to notice.
    pub(super) fn wake_all(&mut self, mut each: impl FnMut(&mut TargetConnection)) {
        for index in 0..self.slots.len() {
            if let Some(client) = self.slots.get_mut(index).and_then(Option::as_mut) {
                each(&mut client.connection);
                self.wake(index);
            }
        }
    }

    /// Gives each connection that has something to do its turn; `tell` sees it afterwards. Those that can go on at once come again in the
    /// next round.
    pub(super) fn serve(
        &mut self,
        registry: &Registry,
        target: &mut Target<'_>,
        now: Instant,
        mut tell: impl FnMut(&mut Client, &Target<'_>),
    ) {
        for _ in 0..self.ready.len() {
            let Some(index) = self.ready.pop_front() else { return };
            let Some(slot) = self.slots.get_mut(index) else { continue };
            let Some(client) = slot else { continue };
            client.ready = false;
            let kept = client.scratch.take().or_else(|| self.spare.pop());
            let mut scratch = kept.unwrap_or_else(|| Box::new(RecvBuf::new([0; SCRATCH])));
            let served = client.serve(&mut scratch, registry, target, now);
            tell(client, target);
            if client.connection.is_closed() {
                client.socket.release(registry);
                scratch.clear();
                *slot = None;
                self.free.push(index);
                self.deadlines.set(index, None);
            } else if !scratch.is_empty() {
                client.scratch = Some(scratch);
                self.await_next(index, served);
                continue;
            } else {
                self.await_next(index, served);
            }
            // Connections that had to keep theirs for a while come back with them.
            if self.spare.len() < SPARE {
                self.spare.push(scratch);
            }
        }
    }

    fn await_next(&mut self, index: usize, served: io::Result<Wants>) {
        // An error closes the connection.
        let Ok(wants) = served else { return };
        self.deadlines.set(index, wants.deadline);
        if wants.again {
            self.wake(index);
        }
    }
}
