//! The poll loop.

use std::boxed::Box;
use std::io::{self, ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::vec::Vec;

use core::time::Duration;

use iscsi_core::auth::Entropy;
use iscsi_core::wire::AsyncEvent;
use iscsi_core::{Instant, Portal, Wants};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::{Observer, Request, Server, ServerControl, ServerEvent};
use crate::conn::{EndReason, TargetConnection};
use crate::driver::{RecvBuf, Transport, pump};
use crate::nexus::NexusSlot;
use crate::target::Target;
use crate::unit::LogicalUnit;

/// PDUs of one connection before the others get their turn.
const BUDGET: usize = 256;

/// What a connection reads at once.
const SCRATCH: usize = 64 * 1024;

/// How long connections have to take leave when the server stops.
const FAREWELL: Duration = Duration::from_millis(500);

/// How long the listener is left alone after the system refused a connection.
const PAUSE: Duration = Duration::from_millis(100);

/// A non-blocking socket.
#[derive(Debug)]
struct Tcp(TcpStream);

/// `WouldBlock` is no error and an interrupted call is made again.
fn retry(mut call: impl FnMut() -> io::Result<usize>) -> io::Result<Option<usize>> {
    loop {
        match call() {
            Ok(n) => return Ok(Some(n)),
            Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(None),
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
}

impl Transport for Tcp {
    type Error = io::Error;

    fn send(&mut self, runs: &[&[u8]]) -> io::Result<Option<usize>> {
        let mut slices = [IoSlice::new(&[]); TargetConnection::MAX_RUNS];
        let len = runs.len().min(slices.len());
        for (slice, run) in slices.iter_mut().zip(runs) {
            *slice = IoSlice::new(run);
        }
        retry(|| self.0.write_vectored(&slices[..len]))
    }

    fn recv(&mut self, space: [&mut [u8]; 2]) -> io::Result<Option<usize>> {
        let [first, second] = space;
        if first.is_empty() {
            return retry(|| self.0.read(second));
        }
        let mut slices = [IoSliceMut::new(first), IoSliceMut::new(second)];
        retry(|| self.0.read_vectored(&mut slices))
    }
}

struct Client {
    tcp: Tcp,
    peer: SocketAddr,
    connection: Box<TargetConnection>,
    scratch: Box<RecvBuf>,
    wants: Wants,
    /// The sending side is shut down.
    shut: bool,
    logged_in: bool,
}

impl Client {
    /// Moves bytes. False once the connection is over.
    fn serve(&mut self, target: &mut Target<'_>, now: Instant) -> bool {
        let served =
            pump(&mut self.connection, target, &mut self.scratch, &mut self.tcp, now, BUDGET);
        let Ok(wants) = served else { return false };
        self.wants = wants;
        if self.connection.is_finished() && !self.shut {
            self.shut = true;
            // If the initiator is gone already, reading will tell.
            let _ = self.tcp.0.shutdown(Shutdown::Write);
        }
        !self.connection.is_closed()
    }
}

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
    let mut serving = EventLoop {
        listener,
        control,
        wake,
        observer,
        clients: Vec::new(),
        max_connections,
        start: std::time::Instant::now(),
        listen_at: None,
        stop_at: None,
    };
    let result = serving.run(&mut target);
    target.flush_all();
    result
}

struct EventLoop {
    listener: TcpListener,
    control: ServerControl,
    wake: UnixStream,
    observer: Option<Observer>,
    clients: Vec<Client>,
    max_connections: usize,
    start: std::time::Instant,
    /// When the server ends even if connections are left.
    /// When connections are accepted again, after the system refused one.
    listen_at: Option<Instant>,
    stop_at: Option<Instant>,
}

impl EventLoop {
    fn now(&self) -> Instant {
        Instant::from_micros(self.start.elapsed().as_micros() as u64)
    }

    fn run(&mut self, target: &mut Target<'_>) -> io::Result<()> {
        loop {
            let events = self.wait()?;
            let now = self.now();
            let before = target.changes();
            if events.wake {
                self.obey(target, now);
            }
            if events.accept && self.stop_at.is_none() {
                self.accept(target, now)?;
            }
            self.serve(target, now, &events.ready, before);
            match self.stop_at {
                Some(at) if self.clients.is_empty() || at <= now => return Ok(()),
                _ => {}
            }
        }
    }

    /// Waits until there is something to do.
    fn wait(&self) -> io::Result<Events> {
        let deadline = self.clients.iter().filter_map(|client| client.wants.deadline);
        let pause = self.listen_at.filter(|at| *at > self.now());
        let deadline = deadline.chain(self.stop_at).chain(pause).min();
        let again = self.clients.iter().any(|client| client.wants.again);
        let timeout = match (again, deadline) {
            (true, _) => Some(Duration::ZERO),
            (false, Some(at)) => Some(at.saturating_since(self.now())),
            (false, None) => None,
        };
        let timeout = timeout.map(|timeout| Timespec {
            tv_sec: timeout.as_secs() as i64,
            tv_nsec: timeout.subsec_nanos().into(),
        });
        let mut fds: Vec<PollFd<'_>> = Vec::with_capacity(2 + self.clients.len());
        fds.push(PollFd::new(&self.wake, PollFlags::IN));
        let accepts = if pause.is_some() { PollFlags::empty() } else { PollFlags::IN };
        fds.push(PollFd::new(&self.listener, accepts));
        for client in &self.clients {
            let mut flags = PollFlags::empty();
            flags.set(PollFlags::IN, client.wants.read);
            flags.set(PollFlags::OUT, client.wants.write);
            fds.push(PollFd::new(&client.tcp.0, flags));
        }
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let mut ready = fds.iter().map(|fd| !fd.revents().is_empty());
        Ok(Events {
            wake: ready.next().unwrap_or(false),
            accept: ready.next().unwrap_or(false),
            ready: ready.collect(),
        })
    }

    /// Serves the clients that can go on, then all of them if something happened that they have to notice.
    fn serve(&mut self, target: &mut Target<'_>, now: Instant, ready: &[bool], mut changes: u64) {
        for (at, client) in self.clients.iter_mut().enumerate() {
            let due = client.wants.deadline.is_some_and(|at| at <= now);
            // New clients are not among those that were waited for.
            if ready.get(at).copied().unwrap_or(true) || client.wants.again || due {
                client.serve(target, now);
            }
        }
        while changes != target.changes() {
            changes = target.changes();
            for client in &mut self.clients {
                client.serve(target, now);
            }
        }
        let mut observer = self.observer.as_mut();
        let mut tell = |event: &ServerEvent<'_>| {
            if let Some(observer) = &mut observer {
                observer(event);
            }
        };
        self.clients.retain_mut(|client| {
            let peer = client.peer;
            if !client.logged_in && client.connection.is_full_feature() {
                client.logged_in = true;
                if let Some(initiator) = client.connection.initiator(target) {
                    let negotiated = client.connection.negotiated();
                    tell(&ServerEvent::LoggedIn { peer, initiator, negotiated });
                }
            }
            if client.connection.is_closed() {
                let reason = client.connection.end_reason().unwrap_or(EndReason::Disconnected);
                tell(&ServerEvent::Disconnected { peer, reason });
            }
            !client.connection.is_closed()
        });
    }

    fn accept(&mut self, target: &Target<'_>, now: Instant) -> io::Result<()> {
        self.listen_at = None;
        loop {
            let (stream, peer) = match self.listener.accept() {
                Ok(accepted) => accepted,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                // This one has gone already, or too many files are open: the listener stays readable, and is left alone for a
                // moment.
                Err(_) => {
                    self.listen_at = Some(now + PAUSE);
                    return Ok(());
                }
            };
            if self.clients.len() >= self.max_connections {
                continue;
            }
            let Ok(local) = stream.local_addr() else { continue };
            if stream.set_nonblocking(true).is_err() || stream.set_nodelay(true).is_err() {
                continue;
            }
            let mut entropy = [0; 64];
            getrandom::fill(&mut entropy).map_err(io::Error::other)?;
            let mut connection = TargetConnection::boxed();
            connection.opened(target, Entropy::new(entropy), Some(Portal::from(local)), now);
            let wants = connection.wants();
            if let Some(observer) = &mut self.observer {
                observer(&ServerEvent::Connected { peer });
            }
            self.clients.push(Client {
                tcp: Tcp(stream),
                peer,
                connection,
                scratch: Box::new(RecvBuf::new([0; SCRATCH])),
                wants,
                shut: false,
                logged_in: false,
            });
        }
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
                Request::AskForLogout { seconds } => {
                    for client in &mut self.clients {
                        client.connection.send_async(AsyncEvent::LogoutRequested { seconds });
                        client.wants.again = true;
                    }
                }
                Request::DropConnections { announced } => {
                    self.drop_connections(announced, target, now);
                }
                Request::CapacityChanged { number } => target.capacity_changed(number),
            }
        }
    }

    fn drop_connections(&mut self, announced: bool, target: &mut Target<'_>, now: Instant) {
        for client in &mut self.clients {
            if announced {
                client.connection.drop_announced(target, now);
            } else {
                client.connection.drop_now(target);
            }
            client.wants.again = true;
        }
    }
}

/// What [`EventLoop::wait`] found.
struct Events {
    wake: bool,
    accept: bool,
    /// One for each client.
    ready: Vec<bool>,
}
