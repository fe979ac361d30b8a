//! Connecting on a helper thread, so that neither a resolver nor a silent address holds a deadline up.
//!
//! Addresses race: the next one starts when the one before has failed or has not answered for a quarter of a second (RFC 8305
//! section 5), each with what is left of the time. The first to connect wins, the others are closed.

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use core::net::SocketAddr;
use core::time::Duration;
use std::io;
use std::net::TcpStream;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

use iscsi_core::Portal;
use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use socket2::{SockAddr, Socket};

use super::error::{Attempt, ConnectError, Step};
use super::options::TcpOptions;
use super::resolve::resolve;
use crate::wait::{Waker, poll_until};

/// How long an address may be silent before the next one is tried beside it.
const HEAD_START: Duration = Duration::from_millis(250);

/// A connection that is being made. Dropped, it is given up.
#[derive(Debug)]
pub(crate) struct Dialing(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    portal: Portal,
    state: Mutex<State>,
    /// Wakes the helper thread, to stop it.
    cancel: Waker,
    /// Wakes whoever waits for the connection.
    done: Arc<Waker>,
}

#[derive(Debug, Default)]
struct State {
    resolving: bool,
    cancelled: bool,
    /// Addresses that have not answered yet.
    racing: Vec<SocketAddr>,
    failed: Vec<Attempt>,
    ended: bool,
    connected: Option<(TcpStream, SocketAddr)>,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Dialing {
    /// Starts to connect; `done` is woken at the end.
    pub(crate) fn start(
        portal: Portal,
        options: &TcpOptions,
        time_limit: Duration,
        done: &Arc<Waker>,
    ) -> Result<Self, Attempt> {
        let failed = |step| move |error| Attempt { address: None, step, error };
        let shared = Arc::new(Shared {
            portal,
            state: Mutex::new(State { resolving: true, ..State::default() }),
            cancel: Waker::new().map_err(failed(Step::Waker))?,
            done: done.clone(),
        });
        let deadline = Instant::now() + time_limit;
        let (helper, options) = (shared.clone(), options.clone());
        thread::Builder::new()
            .name("iscsi-connect".into())
            .spawn(move || run(&helper, &options, deadline))
            .map_err(failed(Step::Thread))?;
        Ok(Self(shared))
    }

    /// The connection or what became of it, once it is known.
    pub(crate) fn poll(&mut self) -> Option<Result<(TcpStream, SocketAddr), ConnectError>> {
        let mut state = self.0.state();
        if !state.ended {
            return None;
        }
        if let Some(connected) = state.connected.take() {
            return Some(Ok(connected));
        }
        let attempts = core::mem::take(&mut state.failed);
        let timed_out = attempts.iter().any(|a| a.error.kind() == io::ErrorKind::TimedOut);
        Some(Err(ConnectError { portal: self.0.portal.clone(), attempts, timed_out }))
    }

    /// Whether [`poll`](Self::poll) has something.
    pub(crate) fn is_done(&self) -> bool {
        self.0.state().ended
    }

    /// Gives up: the time is over.
    pub(crate) fn time_out(self) -> ConnectError {
        let mut state = self.0.state();
        let mut attempts = core::mem::take(&mut state.failed);
        let timed_out = || io::Error::from(io::ErrorKind::TimedOut);
        if state.resolving {
            attempts.push(Attempt { address: None, step: Step::Resolve, error: timed_out() });
        }
        attempts.extend(state.racing.iter().map(|address| Attempt {
            address: Some(*address),
            step: Step::Connect,
            error: timed_out(),
        }));
        ConnectError { portal: self.0.portal.clone(), attempts, timed_out: true }
    }
}

impl Drop for Dialing {
    fn drop(&mut self) {
        self.0.state().cancelled = true;
        self.0.cancel.wake();
    }
}

fn run(shared: &Shared, options: &TcpOptions, deadline: Instant) {
    let addresses = resolve(&shared.portal);
    shared.state().resolving = false;
    let connected = match addresses {
        Ok(addresses) => {
            let next_start = Instant::now();
            Race { shared, options, deadline, runners: Vec::new(), next_start }.run(&addresses)
        }
        Err(error) => {
            shared.state().failed.push(Attempt { address: None, step: Step::Resolve, error });
            None
        }
    };
    let mut state = shared.state();
    state.racing.clear();
    state.connected = connected;
    state.ended = true;
    drop(state);
    shared.done.wake();
}

/// One address that has not answered yet.
struct Runner {
    socket: Socket,
    address: SocketAddr,
    deadline: Instant,
}

struct Race<'a> {
    shared: &'a Shared,
    options: &'a TcpOptions,
    deadline: Instant,
    runners: Vec<Runner>,
    /// When the next address is tried, if none has failed before.
    next_start: Instant,
}

impl Race<'_> {
    fn run(&mut self, addresses: &[SocketAddr]) -> Option<(TcpStream, SocketAddr)> {
        let mut waiting: VecDeque<_> =
            addresses.iter().filter(|a| self.options.reaches(a)).collect();
        if waiting.is_empty() {
            let error = io::ErrorKind::AddrNotAvailable.into();
            self.failed(None, Step::Resolve, error);
        }
        loop {
            let now = Instant::now();
            if self.shared.state().cancelled {
                return None;
            }
            let turn = self.runners.is_empty() || now >= self.next_start;
            if let Some(address) = if turn { waiting.pop_front() } else { None } {
                self.next_start = now + HEAD_START;
                if let Some(connected) = self.enter(*address, now) {
                    return Some(connected);
                }
                continue;
            }
            if self.runners.is_empty() {
                return None;
            }
            let ends = self.runners.iter().map(|runner| runner.deadline);
            let next = (!waiting.is_empty()).then_some(self.next_start);
            if let Some(connected) = self.wait(ends.chain(next).min().unwrap_or(self.deadline)) {
                return Some(connected);
            }
        }
    }

    /// Starts to connect to one more address.
    fn enter(&mut self, address: SocketAddr, now: Instant) -> Option<(TcpStream, SocketAddr)> {
        let socket = match self.options.socket(&address) {
            Ok(socket) => socket,
            Err((step, error)) => {
                self.failed(Some(address), step, error);
                return None;
            }
        };
        match socket.connect(&SockAddr::from(address)) {
            Ok(()) => return Some((socket.into(), address)),
            Err(e) if e.raw_os_error() == Some(Errno::INPROGRESS.raw_os_error()) => {}
            // An interrupted connect goes on by itself.
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => {
                self.failed(Some(address), Step::Connect, error);
                return None;
            }
        }
        let own = self.options.attempt_timeout.map_or(self.deadline, |limit| now + limit);
        self.runners.push(Runner { socket, address, deadline: own.min(self.deadline) });
        self.shared.state().racing.push(address);
        None
    }

    /// Waits until a runner arrives or fails, or until `until`.
    fn wait(&mut self, until: Instant) -> Option<(TcpStream, SocketAddr)> {
        let mut fds: Vec<_> =
            self.runners.iter().map(|r| PollFd::new(&r.socket, PollFlags::OUT)).collect();
        fds.push(PollFd::new(&self.shared.cancel, PollFlags::IN));
        let time = until.saturating_duration_since(Instant::now());
        if let Err(error) = poll_until(&mut fds, Some(time)) {
            drop(fds);
            self.runners.clear();
            self.failed(None, Step::Wait, error);
            return None;
        }
        let ready: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
        drop(fds);
        let now = Instant::now();
        let before = self.runners.len();
        let mut left = Vec::new();
        for (runner, ready) in core::mem::take(&mut self.runners).into_iter().zip(ready) {
            if ready {
                match runner.socket.take_error() {
                    Ok(None) => return Some((runner.socket.into(), runner.address)),
                    Ok(Some(error)) | Err(error) => {
                        self.failed(Some(runner.address), Step::Connect, error);
                    }
                }
            } else if runner.deadline <= now {
                let error = io::ErrorKind::TimedOut.into();
                self.failed(Some(runner.address), Step::Connect, error);
            } else {
                left.push(runner);
            }
        }
        if left.len() < before {
            self.next_start = now;
        }
        self.runners = left;
        None
    }

    fn failed(&self, address: Option<SocketAddr>, step: Step, error: io::Error) {
        let mut state = self.shared.state();
        state.racing.retain(|racing| Some(*racing) != address);
        state.failed.push(Attempt { address, step, error });
    }
}

#[cfg(test)]
mod tests {
    use socket2::{Domain, Type};
    use std::net::TcpListener;

    use super::*;

    /// A listener whose queue is full answers no SYN; with the sockets that fill it.
    fn deaf() -> (Vec<Socket>, SocketAddr) {
        let make = || Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        let listener = make();
        listener.bind(&SockAddr::from(SocketAddr::from(([127, 0, 0, 1], 0)))).unwrap();
        listener.listen(0).unwrap();
        let address = listener.local_addr().unwrap();
        let mut sockets = vec![listener];
        for _ in 0..4 {
            let socket = make();
            socket.set_nonblocking(true).unwrap();
            let _ = socket.connect(&address);
            sockets.push(socket);
        }
        thread::sleep(Duration::from_millis(50));
        (sockets, address.as_socket().unwrap())
    }

    fn race(addresses: &[SocketAddr], time: Duration) -> (Option<SocketAddr>, Arc<Shared>) {
        let shared = Arc::new(Shared {
            portal: Portal::parse("127.0.0.1").unwrap(),
            state: Mutex::default(),
            cancel: Waker::new().unwrap(),
            done: Arc::new(Waker::new().unwrap()),
        });
        let options = TcpOptions::default();
        let now = Instant::now();
        let (deadline, runners) = (now + time, Vec::new());
        let race = Race { shared: &shared, options: &options, deadline, runners, next_start: now };
        let won = { race }.run(addresses).map(|(_, address)| address);
        (won, shared)
    }

    #[test]
    fn a_silent_address_does_not_hold_up_the_next() {
        let (_sockets, silent) = deaf();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let good = listener.local_addr().unwrap();
        let start = Instant::now();
        let (won, _) = race(&[silent, good], Duration::from_secs(10));
        assert_eq!(won, Some(good));
        let took = start.elapsed();
        assert!(took >= HEAD_START && took < Duration::from_secs(2), "{took:?}");
    }

    #[test]
    fn a_refusal_is_followed_at_once() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let good = listener.local_addr().unwrap();
        let refusing = SocketAddr::from(([127, 0, 0, 1], 1));
        let start = Instant::now();
        let (won, shared) = race(&[refusing, good], Duration::from_secs(10));
        assert_eq!(won, Some(good));
        assert!(start.elapsed() < HEAD_START);
        assert_eq!(shared.state().failed.len(), 1);
    }

    #[test]
    fn a_race_ends_at_its_deadline() {
        let (_sockets, silent) = deaf();
        let (won, shared) = race(&[silent], Duration::from_millis(100));
        assert_eq!(won, None);
        let state = shared.state();
        assert_eq!(state.failed[0].error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(state.racing, []);
    }

    #[test]
    fn a_race_that_nobody_waits_for_is_given_up() {
        let (_sockets, silent) = deaf();
        let done = Arc::new(Waker::new().unwrap());
        let options = TcpOptions::default();
        let dialing =
            Dialing::start(silent.into(), &options, Duration::from_secs(60), &done).ok().unwrap();
        let shared = dialing.0.clone();
        thread::sleep(Duration::from_millis(50));
        drop(dialing);
        let end = Instant::now() + Duration::from_secs(5);
        while !shared.state().ended {
            assert!(Instant::now() < end, "the helper thread goes on");
            thread::sleep(Duration::from_millis(5));
        }
    }
}
