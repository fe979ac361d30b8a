//! One session, its connection and its socket: what every blocking type of this crate drives.

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use core::net::SocketAddr;
use std::net::TcpStream;
use std::time;

use iscsi_core::auth::Entropy;
use iscsi_core::driver::{NonBlocking, RecvBuf, pump};
use iscsi_core::wire::AsyncEvent;
use iscsi_core::{
    Action, Buffers, Command, Config, ConnectionState, Event, InlineConnection, Instant,
    LostReason, Portal, Session, SessionState, SubmitError, TaskId, Timer, Verdict, Wants,
};
use rustix::event::{PollFd, PollFlags};

use crate::error::Error;
use crate::login::LoginFailure;
use crate::net::{Attempt, ConnectError, Dialing, Step};
use crate::options::Options;
use crate::recovery::{GaveUp, SessionStep, Watch};
use crate::wait::{Waker, poll_until};

/// PDUs received in one turn. Small: new requests go out while the target still works on the older ones. With a large one both sides
/// take turns at being idle.
const BUDGET: usize = 8;

/// Bytes read at once when they are many small answers: seven of 4 KiB, about what one turn takes.
const SCRATCH: usize = 32 << 10;

/// Asynchronous messages that are kept for the application; the oldest goes first.
pub(crate) const NOTICES: usize = 32;

/// An asynchronous message of the target (RFC 7143 section 11.9). The engine has done already what the protocol asks for.
///
/// ```
/// use iscsi_core::wire::AsyncEvent;
/// use iscsi_runtime_std::Notice;
/// let event = AsyncEvent::LogoutRequested { seconds: 3 };
/// let notice = Notice { event, sense: Box::default(), missed: 0 };
/// assert!(notice.sense.is_empty());
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// What happened.
    pub event: AsyncEvent,
    /// Sense data of a SCSI event; empty for all others.
    pub sense: Box<[u8]>,
    /// Messages that arrived together with this one, before it, and are lost.
    pub missed: u32,
}

/// A connected, non-blocking socket.
#[derive(Debug)]
struct Tcp {
    stream: NonBlocking<TcpStream>,
    peer: SocketAddr,
}

#[derive(Debug)]
pub(crate) struct Engine {
    pub(crate) session: Box<Session>,
    pub(crate) connection: Box<InlineConnection>,
    scratch: Box<RecvBuf>,
    tcp: Option<Tcp>,
    dialing: Option<Dialing>,
    pub(crate) waker: Arc<Waker>,
    options: Options,
    origin: time::Instant,
    /// What the system said when the last connection ended.
    cause: Option<Error>,
    pub(crate) notices: VecDeque<Notice>,
    /// What was told last: the state, and how many attempts there had been.
    watched: (SessionState, u32),
}

impl Engine {
    pub(crate) fn new(config: Config, options: &Options) -> Result<Self, Error> {
        let waker = Waker::new().map_err(|error| Error::io(Step::Waker, None, error))?;
        let mut session = Session::boxed(options.depth);
        session.configure(config)?;
        let mut connection = Box::new(InlineConnection::new());
        connection.set_trace(options.trace);
        Ok(Self {
            session,
            connection,
            scratch: Box::new(RecvBuf::new([0; SCRATCH])),
            tcp: None,
            dialing: None,
            waker: Arc::new(waker),
            options: options.clone(),
            origin: time::Instant::now(),
            cause: None,
            notices: VecDeque::new(),
            watched: (SessionState::Idle, 0),
        })
    }

    /// Opens the session and waits until it is logged in.
    pub(crate) fn log_in(&mut self, portal: Portal) -> Result<(), Error> {
        self.open(portal)?;
        self.wait_for_login()
    }

    /// Drops the connection and waits for the next one.
    pub(crate) fn reconnect(&mut self) -> Result<(), Error> {
        let now = self.now();
        self.session.force_reconnect(now).map_err(|error| self.refusal(error))?;
        self.wait_for_login()
    }

    fn wait_for_login(&mut self) -> Result<(), Error> {
        loop {
            let wants = self.turn(&mut iscsi_core::NoBuffers);
            match self.session.state() {
                SessionState::LoggedIn => return Ok(()),
                SessionState::Verifying => self.vouch(),
                SessionState::Failed(reason) => return Err(self.failure(reason)),
                SessionState::Closed => return Err(self.failure(LostReason::LoggedOut)),
                _ => self.wait(wants, None)?,
            }
        }
    }

    /// Opens the session.
    pub(crate) fn open(&mut self, portal: Portal) -> Result<(), Error> {
        let now = self.now();
        self.cause = None;
        self.session.open(portal, now)?;
        Ok(())
    }

    /// Logs out and waits for the end, at most for the configured time.
    pub(crate) fn log_out(&mut self) -> Result<(), Error> {
        let now = self.now();
        match self.session.logout(now) {
            Ok(()) | Err(SubmitError::LoggingOut) => {}
            Err(error) => return Err(self.refusal(error)),
        }
        loop {
            let wants = self.turn_and_vouch(&mut iscsi_core::NoBuffers);
            while self.session.poll_event().is_some() {}
            match self.session.state() {
                SessionState::Closed => return Ok(()),
                SessionState::Failed(reason) => return Err(self.failure(reason)),
                _ => self.wait(wants, None)?,
            }
        }
    }

    /// Goes on after a new login without a look at the devices: nobody here knows them. Who marks commands as ones to issue again answers for
    /// it, or leaves it to a [`Disk`](crate::Disk).
    pub(crate) fn vouch(&mut self) {
        let now = self.now();
        // In any other state there is nothing to answer.
        let _ = self.session.verified(Verdict::Same, now);
    }

    /// The engine's time.
    pub(crate) fn now(&self) -> Instant {
        Instant::from_micros(u64::try_from(self.origin.elapsed().as_micros()).unwrap_or(u64::MAX))
    }

    pub(crate) fn submit(&mut self, command: &Command<'_>) -> Result<TaskId, Error> {
        let now = self.now();
        self.session.submit(command, now).map_err(|error| self.refusal(error))
    }

    /// Takes the memory of a task away: nobody waits for it any more.
    pub(crate) fn revoke(&mut self, task: TaskId) {
        let now = self.now();
        // It may have ended by itself, which is as good.
        let _ = self.connection.revoke(task, &mut self.session, now);
    }

    /// Fails with the reason if the connection of this login (counted from 1) is lost.
    pub(crate) fn require_connection(&self, login: u64) -> Result<(), Error> {
        let connected = matches!(
            self.session.state(),
            SessionState::LoggedIn | SessionState::LoggingOut | SessionState::Verifying
        );
        if connected && self.session.counters().logins == login {
            return Ok(());
        }
        let reason = match self.session.state() {
            SessionState::Failed(reason) => reason,
            _ => self.session.recovery().map_or(LostReason::LoggedOut, |recovery| recovery.first),
        };
        Err(self.failure(reason))
    }

    pub(crate) fn peer(&self) -> Option<SocketAddr> {
        self.tcp.as_ref().map(|tcp| tcp.peer)
    }

    /// Why the session no longer takes requests; the reason of its end says more than the refusal.
    pub(crate) fn refusal(&self, error: SubmitError) -> Error {
        match self.session.state() {
            SessionState::Failed(reason) if error == SubmitError::NotOpen => self.failure(reason),
            _ => Error::Submit(error),
        }
    }

    /// The error for a task or session that was lost for this reason.
    pub(crate) fn failure(&self, reason: LostReason) -> Error {
        if let (LostReason::TimedOut(Timer::Recovery), Some(status)) =
            (reason, self.session.recovery())
        {
            return Error::GaveUp(Arc::new(GaveUp {
                first: status.first,
                last: self.failure(status.last),
                attempts: status.attempts,
                time: self.now().saturating_since(status.since),
            }));
        }
        let caused = matches!(
            reason,
            LostReason::ConnectFailed
                | LostReason::Transport
                | LostReason::TimedOut(Timer::Connect)
        );
        if let Some(cause) = self.cause.as_ref().filter(|_| caused) {
            return cause.clone();
        }
        match LoginFailure::of(reason, self.session.config()) {
            Some(failure) => Error::Login(failure),
            None => Error::Lost(reason),
        }
    }
}

/// Moving bytes.
impl Engine {
    /// Does everything that can be done without waiting. Events are to be taken afterwards, before [`wait`](Self::wait).
    pub(crate) fn turn(&mut self, buffers: &mut (impl Buffers + ?Sized)) -> Wants {
        self.act();
        let now = self.now();
        let mut wants = self.pump(buffers, now);
        self.take_notice();
        wants.again |= self.act();
        if let Some(watch) = self.options.watch {
            self.watch(watch);
        }
        wants
    }

    /// The same for a loop that knows no devices.
    pub(crate) fn turn_and_vouch(&mut self, buffers: &mut (impl Buffers + ?Sized)) -> Wants {
        let mut wants = self.turn(buffers);
        if self.session.state() == SessionState::Verifying {
            self.vouch();
            wants.again = true;
        }
        wants
    }

    fn watch(&mut self, watch: Watch) {
        let recovery = self.session.recovery();
        let seen = (self.session.state(), recovery.map_or(0, |recovery| recovery.attempts));
        if self.watched == seen {
            return;
        }
        let was_logged_in = matches!(
            self.watched.0,
            SessionState::LoggedIn | SessionState::LoggingOut | SessionState::Verifying
        );
        self.watched = seen;
        let next = recovery.and_then(|recovery| recovery.next_attempt);
        let mut wait = next.map(|at| at.saturating_since(self.now()));
        let mut state = seen.0;
        if let (SessionState::Connecting | SessionState::LoggingIn, true, Some(recovery)) =
            (state, was_logged_in, recovery)
        {
            // There was no time to wait for, and perhaps a new stream at once; the loss is a step all the same.
            state = SessionState::Waiting(recovery.last);
            wait = Some(core::time::Duration::ZERO);
        }
        watch(&SessionStep { state, was_logged_in, recovery, wait });
    }

    fn pump(&mut self, buffers: &mut (impl Buffers + ?Sized), now: Instant) -> Wants {
        let Some(tcp) = &mut self.tcp else {
            self.session.handle_timeout(now);
            return Wants { deadline: self.session.poll_timeout(), ..Wants::default() };
        };
        let (connection, session) = (&mut self.connection, &mut self.session);
        match pump(connection, session, buffers, &mut self.scratch, &mut tcp.stream, now, BUDGET) {
            Ok(wants) => wants,
            Err(error) => {
                self.cause = Some(Error::io(Step::Transfer, Some(tcp.peer), error));
                Wants { again: true, ..Wants::default() }
            }
        }
    }

    fn take_notice(&mut self) {
        let Some(notice) = self.connection.poll_async() else { return };
        if self.notices.len() == NOTICES {
            self.notices.pop_front();
        }
        let sense = notice.sense.into();
        self.notices.push_back(Notice { event: notice.event, sense, missed: notice.missed });
    }

    /// Does what the engine asks for. True if there was something.
    fn act(&mut self) -> bool {
        let mut any = false;
        while let Some(action) = self.session.poll_action() {
            any = true;
            match action {
                Action::Disconnect => {
                    if let Some(dialing) = self.dialing.take() {
                        self.cause = Some(Error::Connect(Arc::new(dialing.time_out())));
                    }
                    self.hang_up();
                }
                Action::Connect => self.dial(),
                _ => {}
            }
        }
        let Some(result) = self.dialing.as_mut().and_then(Dialing::poll) else { return any };
        self.dialing = None;
        match result {
            Ok((stream, peer)) => self.connected(Tcp { stream: NonBlocking(stream), peer }),
            Err(error) => self.connect_failed(Error::Connect(Arc::new(error))),
        }
        true
    }

    fn hang_up(&mut self) {
        self.tcp = None;
        self.scratch.clear();
    }

    fn dial(&mut self) {
        self.hang_up();
        let Some(portal) = self.session.portal().cloned() else { return };
        let limit = self.session.config().timeouts().connect;
        let started = Dialing::start(portal.clone(), &self.options.tcp, limit, &self.waker);
        match started {
            Ok(dialing) => self.dialing = Some(dialing),
            Err(attempt) => self.connect_failed(not_started(portal, attempt)),
        }
    }

    fn connected(&mut self, tcp: Tcp) {
        let mut bytes = [0; 64];
        if let Err(error) = getrandom::fill(&mut bytes) {
            self.connect_failed(Error::io(Step::Random, Some(tcp.peer), error.into()));
            return;
        }
        self.tcp = Some(tcp);
        let now = self.now();
        self.connection.opened(&mut self.session, Entropy::new(bytes), now);
    }

    fn connect_failed(&mut self, cause: Error) {
        self.cause = Some(cause);
        let now = self.now();
        self.session.connect_failed(now);
    }
}

fn not_started(portal: Portal, attempt: Attempt) -> Error {
    Error::Connect(Arc::new(ConnectError { portal, attempts: vec![attempt], timed_out: false }))
}

/// Waiting.
impl Engine {
    /// Waits for what [`turn`](Self::turn) said, at most until `until`; returns at once if there is nothing to wait for.
    pub(crate) fn wait(&self, wants: Wants, until: Option<Instant>) -> Result<(), Error> {
        self.waker.arm();
        let nothing = self.tcp.is_none() && wants.deadline.or(until).is_none();
        let result = match &self.dialing {
            Some(dialing) if dialing.is_done() => Ok(()),
            None if nothing => Ok(()),
            dialing => {
                let wakeable = dialing.is_some();
                self.sleep(wants, until, wakeable)
            }
        };
        self.waker.disarm();
        result
    }

    /// Whether a connection that was being made stands, or could not be made.
    pub(crate) fn has_dialed(&self) -> bool {
        self.dialing.as_ref().is_some_and(Dialing::is_done)
    }

    /// Waits like [`wait`](Self::wait), and for the waker, which must have been armed before the last look for work.
    pub(crate) fn sleep(
        &self,
        mut wants: Wants,
        until: Option<Instant>,
        wakeable: bool,
    ) -> Result<(), Error> {
        // Submitting and taking events may have changed what the connection waits for.
        if !wants.again && self.tcp.is_some() && self.connection.state() != ConnectionState::Closed
        {
            wants = self.connection.wants(&self.session);
        }
        if wants.again {
            return Ok(());
        }
        let deadline = [wants.deadline, until].into_iter().flatten().min();
        let time = deadline.map(|at| at.saturating_since(self.now()));
        let mut events = PollFlags::empty();
        events.set(PollFlags::IN, wants.read);
        events.set(PollFlags::OUT, wants.write);
        let waker = PollFd::new(&self.waker, PollFlags::IN);
        let polled = match &self.tcp {
            Some(tcp) => {
                let mut fds = [PollFd::new(&tcp.stream.0, events), waker];
                let used = if wakeable { 2 } else { 1 };
                poll_until(&mut fds[..used], time)
            }
            None => poll_until(&mut [waker], time),
        };
        polled.map_err(|error| Error::io(Step::Wait, self.peer(), error))
    }
}

/// The end of a task, as told by an event.
pub(crate) enum TaskEnd<'a> {
    Done(iscsi_core::TaskOutcome, &'a [u8]),
    Lost(LostReason),
}

impl<'a> TaskEnd<'a> {
    /// The task that this event ends, if it ends one.
    pub(crate) fn of(event: Event<'a>) -> Option<(TaskId, Self)> {
        match event {
            Event::TaskDone { task, outcome, sense } => Some((task, Self::Done(outcome, sense))),
            Event::TaskLost { task, reason } => Some((task, Self::Lost(reason))),
            _ => None,
        }
    }
}
