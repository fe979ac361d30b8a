//! A session whose caller waits.

use alloc::sync::Arc;
use core::ops::Deref;
use core::time::Duration;
use std::net::TcpStream;
use std::{io, time};

use iscsi_core::{Instant, LostReason, NoBuffers, Portal, SessionState, SubmitError, Wants};
use iscsi_runtime::{BusyWait, Error, Reactor, Step, Wake as _, has_peer, set_low_water};
use rustix::event::{PollFd, PollFlags};

use crate::socket::{PATIENCE, Socket};
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
    type Socket = Socket;

    fn adopt(&mut self, socket: TcpStream) -> io::Result<Self::Socket> {
        Ok(Socket::new(socket))
    }

    fn take_error(socket: &Self::Socket) -> io::Result<Option<io::Error>> {
        socket.stream().take_error()
    }

    fn is_connected(socket: &Self::Socket) -> io::Result<bool> {
        has_peer(socket.stream().peer_addr())
    }

    fn set_low_water(socket: &mut Socket, bytes: u32) -> bool {
        socket.set_ready();
        set_low_water(socket.stream(), bytes)
    }

    fn set_patient(socket: &mut Socket, patient: bool) {
        socket.patient = patient;
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
pub(crate) fn wait(engine: &mut Engine, wants: Wants, until: Option<Instant>) -> Result<(), Error> {
    let wants = engine.wants(wants);
    if until.is_none() && !engine.is_waiting(&wants) {
        return Ok(());
    }
    if engine.socket().is_some() {
        // Once there is a connection nobody wakes this thread.
        if wait_by_reading(engine, &wants, until) {
            return Ok(());
        }
        let slept = sleep(engine, wants, until, false);
        if let Some(socket) = engine.socket_mut() {
            socket.set_ready();
        }
        return slept;
    }
    let waker = engine.reactor().thread_waker().clone();
    waker.arm();
    // Helpers look up names.
    let resolved = engine.has_resolved();
    let result = if resolved { Ok(()) } else { sleep(engine, wants, until, true) };
    waker.disarm();
    result
}

/// Waits for few commands with the call that reads their answers, if nothing else is to be waited for. True if that is done.
fn wait_by_reading(engine: &mut Engine, wants: &Wants, until: Option<Instant>) -> bool {
    let under_way = engine.session.in_use();
    if !(1..=BusyWait::FEW).contains(&under_way) || wants.again || wants.write || !wants.read {
        return false;
    }
    let end = earliest_of(wants.deadline, until);
    if end.is_some_and(|end| end.saturating_since(engine.now()) < PATIENCE) {
        return false;
    }
    let read = |engine: &mut &mut Engine, pace| {
        let recv = match pace {
            Pace::Look => Socket::recv_now,
            Pace::Sleep { .. } => Socket::wait_and_recv,
        };
        engine.read_ahead(recv).ok_or(NotByReading)
    };
    look_then_sleep(engine, Duration::MAX, read).is_ok()
}

/// The next bytes go straight to their place.
struct NotByReading;

fn earliest_of(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    [a, b].into_iter().flatten().min()
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
    let deadline = earliest_of(wants.deadline, until);
    let time = deadline.map(|at| at.saturating_since(engine.now()));
    let waker = PollFd::new(&**engine.reactor().thread_waker(), PollFlags::IN);
    let mut events = PollFlags::empty();
    events.set(PollFlags::IN, wants.read);
    events.set(PollFlags::OUT, wants.write);
    let polled = match engine.socket() {
        Some(socket) => {
            let mut fds = [PollFd::new(socket.stream(), events), waker];
            let used = if wakeable { 2 } else { 1 };
            poll_busily(&mut fds[..used], time, engine)
        }
        None => {
            let racing =
                engine.dialing().map(|socket| PollFd::new(socket.stream(), PollFlags::OUT));
            let mut fds: Vec<_> = racing.chain([waker]).collect();
            poll_until(&mut fds, time)
        }
    };
    polled.map(drop).map_err(|error| Error::io(Step::Wait, engine.peer(), error))
}

/// Looks at the sockets for a moment if their answer is to be expected soon, then sleeps.
fn poll_busily(
    fds: &mut [PollFd<'_>],
    time: Option<Duration>,
    engine: &Engine,
) -> io::Result<bool> {
    look_then_sleep(engine, time.unwrap_or(Duration::MAX), |_, pace| {
        let time = match pace {
            Pace::Look => Some(Duration::ZERO),
            Pace::Sleep { looked } => time.map(|time| time.saturating_sub(looked)),
        };
        poll_until(fds, time)
    })
}

/// How an attempt to find an answer waits.
#[derive(Clone, Copy)]
enum Pace {
    /// Not at all.
    Look,
    /// Until there is one, after looks that took so long.
    Sleep { looked: Duration },
}

/// Looks for answers for a moment, at most `most`, if they are to be expected soon, then sleeps. `attempt` says whether something came; an
/// error ends the wait.
fn look_then_sleep<E: Deref<Target = Engine>, X>(
    mut engine: E,
    most: Duration,
    mut attempt: impl FnMut(&mut E, Pace) -> Result<bool, X>,
) -> Result<bool, X> {
    let under_way = engine.session.in_use();
    if !engine.busy_wait().concerns(under_way) {
        return attempt(&mut engine, Pace::Sleep { looked: Duration::ZERO });
    }
    let start = time::Instant::now();
    let looked = engine.busy_wait().time(under_way).min(most);
    let mut found = false;
    while !found && start.elapsed() < looked {
        found = attempt(&mut engine, Pace::Look)?;
        core::hint::spin_loop();
    }
    if !found {
        found = attempt(&mut engine, Pace::Sleep { looked })?;
    }
    if found {
        engine.busy_wait().ended(start.elapsed());
    }
    Ok(found)
}
