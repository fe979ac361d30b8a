//! The loop: waits for sockets, deadlines and wishes, and has everything carried out.

use std::io::{self, ErrorKind, Read};
use std::time;
use std::vec::Vec;

use core::time::Duration;

use iscsi_core::auth::Entropy;
use iscsi_core::wire::AsyncEvent;
use iscsi_core::{Instant, Portal};
use mio::net::{TcpListener, UnixStream};
use mio::{Events, Interest, Poll, Token};

use super::clients::{Client, Clients};
use super::look::Look;
use super::socket::Socket;
use super::{Observer, Request, Server, ServerControl, ServerEvent};
use crate::conn::{EndReason, TargetConnection};
use crate::nexus::NexusSlot;
use crate::target::Target;
use crate::unit::LogicalUnit;

/// How long connections have to take leave when the server stops.
const FAREWELL: Duration = Duration::from_millis(500);

/// How long the listener is left alone after the system refused a connection.
const PAUSE: Duration = Duration::from_millis(100);

/// Connections that are accepted before the others get their turn.
const ACCEPTS: usize = 16;

/// Events taken from the system at once. What does not fit is told next time.
const EVENTS: usize = 256;

/// Someone has a wish. Connections have their index as token.
const WAKE: Token = Token(usize::MAX);

/// Someone wants to connect.
const LISTENER: Token = Token(usize::MAX - 1);

pub(super) fn run(server: Server) -> io::Result<()> {
    let Server {
        listener,
        config,
        mut disks,
        quirks,
        control,
        wake,
        observer,
        max_connections,
        ..
    } = server;
    let mut units: Vec<LogicalUnit<'_>> = disks
        .iter_mut()
        .map(|served| LogicalUnit::new(served.number, served.disk.as_mut(), &served.serial))
        .collect();
    let mut sessions = std::vec![NexusSlot::EMPTY; max_connections];
    let mut target = Target::new(&config, &mut units, &mut sessions)
        .map_err(|error| io::Error::new(ErrorKind::InvalidInput, error))?;
    *target.quirks_mut() = quirks;
    let poll = Poll::new()?;
    let mut listener = TcpListener::from_std(listener);
    let mut wake = UnixStream::from_std(wake);
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    poll.registry().register(&mut wake, WAKE, Interest::READABLE)?;
    let mut serving = EventLoop {
        poll,
        listener,
        control,
        wake,
        observer,
        clients: Clients::default(),
        max_connections,
        start: time::Instant::now(),
        look: Look::new(),
        acceptable: false,
        listen_at: None,
        stop_at: None,
        changes: target.changes(),
    };
    let result = serving.run(&mut target);
    target.flush_all();
    result
}

struct EventLoop {
    poll: Poll,
    listener: TcpListener,
    control: ServerControl,
    wake: UnixStream,
    observer: Option<Observer>,
    clients: Clients,
    max_connections: usize,
    start: time::Instant,
    look: Look,
    /// Connections may wait at the listener.
    acceptable: bool,
    /// When connections are accepted again, after the system refused one.
    listen_at: Option<Instant>,
    /// When the server ends even if connections are left.
    stop_at: Option<Instant>,
    /// [`Target::changes`] when all connections were last told to look.
    changes: u64,
}

impl EventLoop {
    fn now(&self) -> Instant {
        Instant::from_micros(self.start.elapsed().as_micros() as u64)
    }

    fn run(&mut self, target: &mut Target<'_>) -> io::Result<()> {
        let mut events = Events::with_capacity(EVENTS);
        loop {
            self.wait(&mut events)?;
            let now = self.now();
            let mut woken = false;
            for event in &events {
                match event.token() {
                    WAKE => woken = true,
                    LISTENER => self.acceptable = true,
                    _ => self.clients.told(event),
                }
            }
            if woken {
                self.obey(target, now);
            }
            if self.accepts() && self.listen_at.is_none_or(|at| at <= now) {
                self.accept(target, now)?;
            }
            self.serve(target, now);
            match self.stop_at {
                Some(at) if self.clients.len() == 0 || at <= now => return Ok(()),
                _ => {}
            }
        }
    }

    const fn accepts(&self) -> bool {
        self.acceptable && self.stop_at.is_none()
    }

    /// Waits until there is something to do.
    fn wait(&mut self, events: &mut Events) -> io::Result<()> {
        let listen = self.accepts().then(|| self.listen_at.unwrap_or(Instant::ZERO));
        let deadline = self.clients.deadline().into_iter().chain(listen).chain(self.stop_at).min();
        let timeout = deadline.map(|at| match at {
            Instant::ZERO => Duration::ZERO,
            at => at.saturating_since(self.now()),
        });
        if timeout == Some(Duration::ZERO) {
            return self.poll(events, timeout);
        }
        let start = time::Instant::now();
        let most = self.look.time().min(timeout.unwrap_or(Duration::MAX));
        let mut waited = Duration::ZERO;
        while waited < most {
            self.poll(events, Some(Duration::ZERO))?;
            waited = start.elapsed();
            if !events.is_empty() {
                self.look.found(waited);
                return Ok(());
            }
        }
        self.poll(events, timeout)?;
        self.look.found(start.elapsed());
        Ok(())
    }

    fn poll(&mut self, events: &mut Events, timeout: Option<Duration>) -> io::Result<()> {
        match self.poll.poll(events, timeout) {
            Err(error) if error.kind() != ErrorKind::Interrupted => Err(error),
            _ => Ok(()),
        }
    }

    /// Serves the connections that have something to do. If something happened that others have to notice, all come next.
    fn serve(&mut self, target: &mut Target<'_>, now: Instant) {
        self.clients.wake_due(now);
        let mut observer = self.observer.as_mut();
        let mut tell = |event: &ServerEvent<'_>| {
            if let Some(observer) = &mut observer {
                observer(event);
            }
        };
        self.clients.serve(self.poll.registry(), target, now, |client, target| {
            let (peer, connection) = (client.peer, &client.connection);
            if !client.logged_in && connection.is_full_feature() {
                client.logged_in = true;
                if let Some(initiator) = connection.initiator(target) {
                    let negotiated = connection.negotiated();
                    tell(&ServerEvent::LoggedIn { peer, initiator, negotiated });
                }
            }
            if connection.is_closed() {
                let reason = connection.end_reason().unwrap_or(EndReason::Disconnected);
                tell(&ServerEvent::Disconnected { peer, reason });
            }
        });
        if self.changes != target.changes() {
            self.changes = target.changes();
            self.clients.wake_all(|_| {});
        }
    }

    fn accept(&mut self, target: &Target<'_>, now: Instant) -> io::Result<()> {
        self.listen_at = None;
        for _ in 0..ACCEPTS {
            let (stream, peer) = match self.listener.accept() {
                Ok(accepted) => accepted,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.acceptable = false;
                    return Ok(());
                }
                // This one has gone already, or too many files are open: nothing will be told of those that wait, and they are left
                // alone for a moment.
                Err(_) => {
                    self.listen_at = Some(now + PAUSE);
                    return Ok(());
                }
            };
            if self.clients.len() >= self.max_connections {
                continue;
            }
            let token = self.clients.next_token();
            let Ok(socket) = Socket::new(stream, self.poll.registry(), token) else { continue };
            let Ok(local) = socket.local_addr() else { continue };
            let mut entropy = [0; 64];
            getrandom::fill(&mut entropy).map_err(io::Error::other)?;
            let mut connection = TargetConnection::boxed();
            connection.opened(target, Entropy::new(entropy), Some(Portal::from(local)), now);
            if let Some(observer) = &mut self.observer {
                observer(&ServerEvent::Connected { peer });
            }
            self.clients.insert(Client::new(socket, peer, connection));
        }
        Ok(())
    }

    /// Does what was asked for.
    fn obey(&mut self, target: &mut Target<'_>, now: Instant) {
        let mut bytes = [0; 64];
        while matches!(self.wake.read(&mut bytes), Ok(1..)) {}
        while let Some(request) = self.control.next() {
            match request {
                Request::Stop => {
                    self.stop_at.get_or_insert(now + FAREWELL);
                    self.drop_connections(true, target, now);
                }
                Request::Quirks(quirks) => *target.quirks_mut() = *quirks,
                Request::AskForLogout { seconds } => self.clients.wake_all(|connection| {
                    connection.send_async(AsyncEvent::LogoutRequested { seconds });
                }),
                Request::DropConnections { announced } => {
                    self.drop_connections(announced, target, now);
                }
                Request::CapacityChanged { number } => target.capacity_changed(number),
                Request::PoweredOn { number } => target.powered_on(number),
            }
        }
    }

    fn drop_connections(&mut self, announced: bool, target: &mut Target<'_>, now: Instant) {
        self.clients.wake_all(|connection| {
            if announced {
                connection.drop_announced(target, now);
            } else {
                connection.drop_now(target);
            }
        });
    }
}
