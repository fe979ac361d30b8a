//! Connecting without blocking: neither a resolver nor a silent address holds anything up.
//!
//! Addresses race: the next one starts when the one before has failed or has not answered for a quarter of a second (RFC 8305
//! section 5). The first to connect wins, the others are closed.

use alloc::collections::VecDeque;
use core::net::SocketAddr;
use core::time::Duration;
use std::io;

use iscsi_core::{Instant, Portal};
use rustix::io::Errno;
use socket2::SockAddr;

use super::error::{Attempt, ConnectError, Step};
use super::options::TcpOptions;
use super::resolve::{Resolve, Resolving, literal};
use crate::reactor::Reactor;

/// How long an address may be silent before the next one is tried beside it.
const HEAD_START: Duration = Duration::from_millis(250);

/// A connection that is being made. [`Engine`](crate::Engine) uses one for each; it is public for loops that need the sockets.
///
/// It is asked again whenever a socket of it is ready, its waker was called or its deadline has come; more often does no harm.
/// It ends when the session says so: the time limit for connecting is the session's.
///
/// ```
/// # use std::{io, net::TcpStream};
/// # use iscsi_core::driver::NonBlocking;
/// # use iscsi_runtime::Reactor;
/// # #[derive(Debug)]
/// # struct Poll;
/// # impl Reactor for Poll {
/// #     type Socket = NonBlocking<TcpStream>;
/// #     fn adopt(&mut self, socket: TcpStream) -> io::Result<Self::Socket> { Ok(NonBlocking(socket)) }
/// #     fn take_error(socket: &Self::Socket) -> io::Result<Option<io::Error>> { socket.0.take_error() }
/// #     fn is_connected(socket: &Self::Socket) -> io::Result<bool> { iscsi_runtime::has_peer(socket.0.peer_addr()) }
/// #     fn waker(&self) -> Box<dyn Fn() + Send + Sync> { Box::new(|| {}) }
/// # }
/// use iscsi_core::Instant;
/// use iscsi_runtime::{Dialer, SystemResolver, TcpOptions};
///
/// let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
/// let (mut reactor, options) = (Poll, TcpOptions::default());
/// let address = listener.local_addr()?;
/// let mut dialer = Dialer::start(address.into(), &SystemResolver, &reactor);
/// let (_socket, peer) = loop {
///     // A real loop waits here for `dialer.sockets()` to become writable.
///     if let Some(result) = dialer.advance(&mut reactor, &options, Instant::ZERO) {
///         break result?;
///     }
/// };
/// assert_eq!(peer, address);
/// # Ok::<(), Box<dyn core::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Dialer<S> {
    portal: Portal,
    resolving: Option<Resolving>,
    /// Addresses that were not tried yet.
    waiting: VecDeque<SocketAddr>,
    runners: Vec<Runner<S>>,
    failed: Vec<Attempt>,
    /// When the next address is tried, if none has failed before.
    next_start: Instant,
}

/// One address that has not answered yet.
#[derive(Debug)]
struct Runner<S> {
    socket: S,
    address: SocketAddr,
    deadline: Option<Instant>,
}

/// What became of a connection: the socket and its peer, or why there is none.
type Dialed<S> = Result<(S, SocketAddr), ConnectError>;

impl<S> Dialer<S> {
    /// Starts to connect to a portal. Addresses are tried by [`advance`](Self::advance), which is to be called at once.
    pub fn start<R>(portal: Portal, resolver: &dyn Resolve, reactor: &R) -> Self
    where
        R: Reactor<Socket = S>,
    {
        let literal = literal(&portal);
        let resolving = match literal {
            Some(_) => None,
            None => Some(Resolving::start(&portal, resolver, reactor.waker())),
        };
        Self {
            portal,
            resolving,
            waiting: literal.into_iter().collect(),
            runners: Vec::new(),
            failed: Vec::new(),
            next_start: Instant::ZERO,
        }
    }

    /// Goes on as far as possible. The connection or what became of it, once it is known; then there is nothing left to do.
    pub fn advance<R>(
        &mut self,
        reactor: &mut R,
        options: &TcpOptions,
        now: Instant,
    ) -> Option<Dialed<S>>
    where
        R: Reactor<Socket = S>,
    {
        if let Some(resolving) = &self.resolving {
            let found = resolving.take()?;
            self.resolving = None;
            match found {
                Ok(found) => self.waiting.extend(found),
                Err(error) => return Some(Err(self.end(None, Step::Resolve, error))),
            }
        }
        if self.failed.is_empty() && self.runners.is_empty() {
            self.waiting.retain(|address| options.reaches(address));
            if self.waiting.is_empty() {
                let error = io::ErrorKind::AddrNotAvailable.into();
                return Some(Err(self.end(None, Step::Resolve, error)));
            }
        }
        loop {
            if let Some(winner) = self.look(reactor, now) {
                let (socket, address) = winner;
                self.give_up(reactor);
                return Some(Ok((socket, address)));
            }
            let turn = self.runners.is_empty() || now >= self.next_start;
            match self.waiting.pop_front() {
                Some(address) if turn => {
                    let begun = self.enter(address, reactor, options, now);
                    // Who has failed at once needs no head start.
                    self.next_start = if begun { now + HEAD_START } else { now };
                }
                Some(address) => {
                    self.waiting.push_front(address);
                    return None;
                }
                None if self.runners.is_empty() => return Some(Err(self.error())),
                None => return None,
            }
        }
    }

    /// Starts to connect to one more address. False if that has failed.
    fn enter<R>(
        &mut self,
        address: SocketAddr,
        reactor: &mut R,
        options: &TcpOptions,
        now: Instant,
    ) -> bool
    where
        R: Reactor<Socket = S>,
    {
        let failed = self.failed.len();
        let socket = match options.socket(&address) {
            Ok(socket) => socket,
            Err((step, error)) => {
                self.fail(Some(address), step, error);
                return false;
            }
        };
        match socket.connect(&SockAddr::from(address)) {
            // An interrupted connect goes on by itself.
            Ok(()) => {}
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) if e.raw_os_error() == Some(Errno::INPROGRESS.raw_os_error()) => {}
            Err(error) => {
                self.fail(Some(address), Step::Connect, error);
                return false;
            }
        }
        match reactor.adopt(socket.into()) {
            Ok(socket) => {
                let deadline = options.attempt_timeout.map(|limit| now + limit);
                self.runners.push(Runner { socket, address, deadline });
            }
            Err(error) => self.fail(Some(address), Step::Wait, error),
        }
        self.failed.len() == failed
    }

    /// The first socket that has arrived. Those that have failed, or whose time is over, are out of the race.
    fn look<R>(&mut self, reactor: &mut R, now: Instant) -> Option<(S, SocketAddr)>
    where
        R: Reactor<Socket = S>,
    {
        let mut at = 0;
        while let Some(runner) = self.runners.get(at) {
            let verdict = match R::take_error(&runner.socket) {
                Ok(None) => R::is_connected(&runner.socket),
                Ok(Some(error)) | Err(error) => Err(error),
            };
            let late = runner.deadline.is_some_and(|deadline| deadline <= now);
            let error = match verdict {
                Ok(false) if late => io::ErrorKind::TimedOut.into(),
                Ok(false) => {
                    at += 1;
                    continue;
                }
                Ok(true) => {
                    let runner = self.runners.swap_remove(at);
                    return Some((runner.socket, runner.address));
                }
                Err(error) => error,
            };
            let runner = self.runners.remove(at);
            reactor.release(runner.socket);
            self.fail(Some(runner.address), Step::Connect, error);
            // Its successor need not wait for the end of the head start.
            self.next_start = now;
        }
        None
    }

    fn fail(&mut self, address: Option<SocketAddr>, step: Step, error: io::Error) {
        self.failed.push(Attempt { address, step, error });
    }

    fn end(&mut self, address: Option<SocketAddr>, step: Step, error: io::Error) -> ConnectError {
        self.fail(address, step, error);
        self.error()
    }

    fn error(&mut self) -> ConnectError {
        let attempts = core::mem::take(&mut self.failed);
        let timed_out = attempts.iter().any(|a| a.error.kind() == io::ErrorKind::TimedOut);
        ConnectError { portal: self.portal.clone(), attempts, timed_out }
    }

    /// Closes what is still under way.
    fn give_up<R>(&mut self, reactor: &mut R)
    where
        R: Reactor<Socket = S>,
    {
        self.runners.drain(..).for_each(|runner| reactor.release(runner.socket));
    }

    /// Gives up: the time is over.
    pub fn time_out<R>(mut self, reactor: &mut R) -> ConnectError
    where
        R: Reactor<Socket = S>,
    {
        let timed_out = || io::Error::from(io::ErrorKind::TimedOut);
        if self.resolving.is_some() {
            self.fail(None, Step::Resolve, timed_out());
        }
        for address in self.runners.iter().map(|runner| runner.address).collect::<Vec<_>>() {
            self.fail(Some(address), Step::Connect, timed_out());
        }
        self.give_up(reactor);
        ConnectError { timed_out: true, ..self.error() }
    }

    /// The sockets that are being connected: they become writable when that is over.
    pub fn sockets(&self) -> impl Iterator<Item = &S> {
        self.runners.iter().map(|runner| &runner.socket)
    }

    /// Whether a name that was looked up has its answer, which [`advance`](Self::advance) would take.
    pub fn has_resolved(&self) -> bool {
        self.resolving.as_ref().is_some_and(Resolving::is_done)
    }

    /// When to [`advance`](Self::advance), if nothing happens before.
    pub fn deadline(&self) -> Option<Instant> {
        let ends = self.runners.iter().filter_map(|runner| runner.deadline);
        let next =
            (!self.waiting.is_empty() && self.resolving.is_none()).then_some(self.next_start);
        ends.chain(next).min()
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::thread;

    use iscsi_core::driver::NonBlocking;
    use socket2::{Domain, Socket, Type};

    use super::*;
    use crate::net::Answer;
    use crate::reactor::has_peer;

    /// Counts its sockets.
    #[derive(Debug, Default)]
    struct Plain(usize);

    impl Reactor for Plain {
        type Socket = NonBlocking<TcpStream>;

        fn adopt(&mut self, socket: TcpStream) -> io::Result<Self::Socket> {
            self.0 += 1;
            Ok(NonBlocking(socket))
        }

        fn release(&mut self, socket: Self::Socket) {
            self.0 -= 1;
            drop(socket);
        }

        fn take_error(socket: &Self::Socket) -> io::Result<Option<io::Error>> {
            socket.0.take_error()
        }

        fn is_connected(socket: &Self::Socket) -> io::Result<bool> {
            has_peer(socket.0.peer_addr())
        }

        fn waker(&self) -> Box<dyn Fn() + Send + Sync> {
            Box::new(|| {})
        }
    }

    /// Gives these addresses for every name.
    #[derive(Debug)]
    struct Fixed(Vec<SocketAddr>);

    impl Resolve for Fixed {
        fn resolve(&self, _: &Portal, answer: Answer) {
            answer.give(Ok(self.0.clone()));
        }
    }

    /// A listener whose queue is full answers no SYN; with the sockets that fill it.
    fn deaf() -> (Vec<Socket>, SocketAddr) {
        let make = || Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        let listener = make();
        listener.bind(&SockAddr::from(SocketAddr::from(([127, 0, 0, 1], 0)))).unwrap();
        listener.listen(0).unwrap();
        let address = listener.local_addr().unwrap();
        let mut sockets = vec![listener];
        // On the loopback interface a connection is made within the call, unless the queue is full and the SYN is dropped.
        loop {
            let socket = make();
            match socket.connect_timeout(&address, Duration::from_millis(100)) {
                Ok(()) => sockets.push(socket),
                Err(error) if error.kind() == io::ErrorKind::TimedOut => break,
                Err(error) => panic!("{error}"),
            }
            assert!(sockets.len() < 100, "the queue never fills");
        }
        (sockets, address.as_socket().unwrap())
    }

    /// Races in the time of the test: a millisecond for each look. Who won, when, and what failed.
    fn race(
        addresses: &[SocketAddr],
        options: &TcpOptions,
        millis: u64,
    ) -> (Result<SocketAddr, ConnectError>, u64) {
        let mut reactor = Plain::default();
        let resolver = Fixed(addresses.to_vec());
        let portal = Portal::parse("a-name").unwrap();
        let mut dialer = Dialer::start(portal, &resolver, &reactor);
        for at in 0..millis {
            let now = Instant::from_micros(at * 1_000);
            if let Some(result) = dialer.advance(&mut reactor, options, now) {
                let won = result.map(|(socket, address)| {
                    reactor.release(socket);
                    address
                });
                assert_eq!(reactor.0, 0, "all others are closed");
                return (won, at);
            }
            assert!(dialer.deadline().is_none_or(|deadline| deadline > now));
            // The other side's kernel needs a moment.
            thread::yield_now();
        }
        let error = dialer.time_out(&mut reactor);
        assert_eq!(reactor.0, 0);
        (Err(error), millis)
    }

    fn refusing() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap()
    }

    #[test]
    fn a_silent_address_does_not_hold_up_the_next() {
        let (_sockets, silent) = deaf();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let good = listener.local_addr().unwrap();
        let (won, at) = race(&[silent, good], &TcpOptions::default(), 10_000);
        assert_eq!(won.unwrap(), good);
        assert!((250..2_000).contains(&at), "{at}");
    }

    #[test]
    fn a_refusal_is_followed_at_once() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let good = listener.local_addr().unwrap();
        let (won, at) = race(&[refusing(), good], &TcpOptions::default(), 10_000);
        assert_eq!(won.unwrap(), good);
        assert!(at < 250, "{at}");
    }

    #[test]
    fn every_attempt_is_told() {
        let (one, two) = (refusing(), refusing());
        let (won, _) = race(&[one, two], &TcpOptions::default(), 10_000);
        let error = won.unwrap_err();
        let told: Vec<_> = error.attempts().iter().map(|a| (a.address, a.error.kind())).collect();
        let refused = io::ErrorKind::ConnectionRefused;
        assert_eq!(told, [(Some(one), refused), (Some(two), refused)]);
        assert!(!error.timed_out());
    }

    #[test]
    fn an_address_has_its_own_time() {
        let (_sockets, silent) = deaf();
        let options = TcpOptions {
            attempt_timeout: Some(Duration::from_millis(40)),
            ..TcpOptions::default()
        };
        let (won, at) = race(&[silent], &options, 10_000);
        assert!(won.unwrap_err().timed_out());
        assert_eq!(at, 40);
    }

    #[test]
    fn the_time_of_all_ends_it() {
        let (_sockets, silent) = deaf();
        let (won, _) = race(&[silent], &TcpOptions::default(), 100);
        let error = won.unwrap_err();
        assert!(error.timed_out());
        assert_eq!(error.attempts()[0].error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(error.attempts()[0].address, Some(silent));
    }

    #[test]
    fn addresses_of_the_wrong_family_are_left_out() {
        let source = Some("::1".parse().unwrap());
        let options = TcpOptions { source, ..TcpOptions::default() };
        let (won, _) = race(&[refusing()], &options, 10);
        let error = won.unwrap_err();
        assert_eq!(error.attempts()[0].error.kind(), io::ErrorKind::AddrNotAvailable);
    }
}
