//! A session whose caller waits.

use alloc::sync::Arc;
use std::io;
use std::net::TcpStream;

use iscsi_core::driver::NonBlocking;
use iscsi_core::{Instant, LostReason, NoBuffers, Portal, SessionState, SubmitError, Wants};
use iscsi_runtime::{Error, Reactor, Step, Wake as _, has_peer};
use rustix::event::{PollFd, PollFlags};

use crate::wait::{Waker, poll_until};

/// One session, driven by blocking calls.
pub(crate) type Engine = iscsi_runtime::Engine<Poll>;

/// Sockets that are waited for with poll(2).
#[derive(Debug)]
pub(crate) struct Poll {
    waker: Arc<Waker>,
}

impl Poll {
    pub(crate) fn new() -> Result<Self, Error> {
        let waker = Waker::new().map_err(|error| Error::io(Step::Waker, None, error))?;
        Ok(Self { waker: Arc::new(waker) })
    }

    pub(crate) const fn thread_waker(&self) -> &Arc<Waker> {
        &self.waker
    }
}

impl Reactor for Poll {
    type Socket = NonBlocking<TcpStream>;

    fn adopt(&mut self, socket: TcpStream) -> io::Result<Self::Socket> {
        Ok(NonBlocking(socket))
    }

    fn take_error(socket: &Self::Socket) -> io::Result<Option<io::Error>> {
        socket.0.take_error()
    }

    fn is_connected(socket: &Self::Socket) -> io::Result<bool> {
        has_peer(socket.0.peer_addr())
    }

    fn waker(&self) -> Box<dyn Fn() + Send + Sync> {
        let waker = self.waker.clone();
        Box::new(move || waker.wake())
    }
}

/// Opens the session and waits until it is logged in.
pub(crate) fn log_in(engine: &mut Engine, portal: Portal) -> Result<(), Error> {
    engine.open(portal)?;
    wait_for_login(engine)
}

/// Drops the connection and waits for the next one.
pub(crate) fn reconnect(engine: &mut Engine) -> Result<(), Error> {
    let now = engine.now();
    engine.session.force_reconnect(now).map_err(|error| engine.refusal(error))?;
    wait_for_login(engine)
}

fn wait_for_login(engine: &mut Engine) -> Result<(), Error> {
    loop {
        let wants = engine.turn(&mut NoBuffers);
        match engine.session.state() {
            SessionState::LoggedIn => return Ok(()),
            SessionState::Verifying => engine.vouch(),
            SessionState::Failed(reason) => return Err(engine.failure(reason)),
            SessionState::Closed => return Err(engine.failure(LostReason::LoggedOut)),
            _ => wait(engine, wants, None)?,
        }
    }
}

/// Logs out and waits for the end, at most for the configured time.
pub(crate) fn log_out(engine: &mut Engine) -> Result<(), Error> {
    let now = engine.now();
    match engine.session.logout(now) {
        Ok(()) | Err(SubmitError::LoggingOut) => {}
        Err(error) => return Err(engine.refusal(error)),
    }
    loop {
        let wants = engine.turn_and_vouch(&mut NoBuffers);
        while engine.session.poll_event().is_some() {}
        match engine.session.state() {
            SessionState::Closed => return Ok(()),
            SessionState::Failed(reason) => return Err(engine.failure(reason)),
            _ => wait(engine, wants, None)?,
        }
    }
}

/// Waits for what a turn said, at most until `until`; returns at once if there is nothing to wait for.
pub(crate) fn wait(engine: &Engine, wants: Wants, until: Option<Instant>) -> Result<(), Error> {
    let wants = engine.wants(wants);
    if until.is_none() && !engine.is_waiting(&wants) {
        return Ok(());
    }
    let waker = engine.reactor().thread_waker();
    waker.arm();
    let result = if engine.has_resolved() {
        Ok(())
    } else {
        // Helpers look up names; once there is a connection nobody wakes this thread.
        sleep(engine, wants, until, engine.socket().is_none())
    };
    waker.disarm();
    result
}

/// Waits for the sockets, the time, and the waker, which must have been armed before the last look for work.
pub(crate) fn sleep(
    engine: &Engine,
    wants: Wants,
    until: Option<Instant>,
    wakeable: bool,
) -> Result<(), Error> {
    if wants.again {
        return Ok(());
    }
    let deadline = [wants.deadline, until].into_iter().flatten().min();
    let time = deadline.map(|at| at.saturating_since(engine.now()));
    let waker = PollFd::new(&**engine.reactor().thread_waker(), PollFlags::IN);
    let mut events = PollFlags::empty();
    events.set(PollFlags::IN, wants.read);
    events.set(PollFlags::OUT, wants.write);
    let polled = match engine.socket() {
        Some(socket) => {
            let mut fds = [PollFd::new(&socket.0, events), waker];
            let used = if wakeable { 2 } else { 1 };
            poll_until(&mut fds[..used], time)
        }
        None => {
            let racing = engine.dialing().map(|socket| PollFd::new(&socket.0, PollFlags::OUT));
            let mut fds: Vec<_> = racing.chain([waker]).collect();
            poll_until(&mut fds, time)
        }
    };
    polled.map_err(|error| Error::io(Step::Wait, engine.peer(), error))
}
