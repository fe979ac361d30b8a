//! One session, its connection and its socket: what every runtime drives.

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use core::net::SocketAddr;
use core::time::Duration;
use std::{io, time};

use iscsi_core::auth::Entropy;
use iscsi_core::driver::{RecvBuf, pump, read_ahead};
use iscsi_core::{
    Action, Buffers, Command, Config, ConnectionState, Event, InlineConnection, Instant,
    LostReason, Portal, Session, SessionState, SubmitError, TaskId, Timer, Verdict, Wants,
};
use iscsi_disk::DiskError;

use crate::busy_wait::BusyWait;
use crate::error::Error;
use crate::login::LoginFailure;
use crate::low_water::LowWater;
use crate::net::{Dialer, Step};
use crate::notice::Notice;
use crate::options::Options;
use crate::reactor::Reactor;
use crate::recovery::{GaveUp, SessionStep};
use crate::scsi::Completed;

/// A connected socket.
#[derive(Debug)]
struct Tcp<S> {
    socket: S,
    peer: SocketAddr,
    low_water: LowWater,
}

/// One session, its connection and its socket, without a way to wait.
///
/// A loop calls [`turn`](Self::turn), takes the session's events, and waits for what [`wants`](Self::wants) says: for the
/// [connected socket](Self::socket) or those that are [being connected](Self::dialing). [`Service`](crate::Service) is the same with
/// disks, queues and answers.
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
/// use iscsi_core::{Config, IscsiName, NoBuffers, Portal, SessionState};
/// use iscsi_runtime::{Engine, Options};
///
/// let name = IscsiName::new("iqn.2001-04.com.example:host")?;
/// let config = Config::discovery(name).build()?;
/// let mut engine = Engine::new(config, &Options::default(), Poll)?;
/// engine.open(Portal::parse("127.0.0.1:1")?)?; // where nobody listens
/// let reason = loop {
///     engine.turn(&mut NoBuffers);
///     // A real loop waits here.
///     if let SessionState::Failed(reason) = engine.session.state() {
///         break reason;
///     }
/// };
/// assert!(engine.failure(reason).to_string().starts_with("cannot connect to 127.0.0.1:1: "));
/// # Ok::<(), Box<dyn core::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Engine<R: Reactor> {
    /// The session.
    pub session: Box<Session>,
    /// Its connection.
    pub connection: Box<InlineConnection>,
    /// Messages of the target that nobody took, oldest first; [`NOTICES`](Self::NOTICES) are kept.
    pub notices: VecDeque<Notice>,
    /// Bytes that were read and not taken.
    scratch: Option<Box<RecvBuf>>,
    reactor: R,
    tcp: Option<Tcp<R::Socket>>,
    dialer: Option<Dialer<R::Socket>>,
    options: Options,
    busy_wait: BusyWait,
    /// This turn is followed by waiting.
    patient: bool,
    origin: time::Instant,
    /// What reading ahead has found wrong with the socket.
    broken: Option<io::Error>,
    /// What the system said when the last connection ended.
    cause: Option<Error>,
    /// What was told last: the state, and how many attempts there had been.
    watched: (SessionState, u32),
}

impl<R: Reactor> Engine<R> {
    /// How many messages of the target are kept for the application; the oldest goes first.
    pub const NOTICES: usize = 32;

    /// A session that is not open yet.
    ///
    /// # Errors
    /// [`Error::Submit`] if the session does not take the configuration.
    pub fn new(config: Config, options: &Options, reactor: R) -> Result<Self, Error> {
        let mut session = Session::boxed(options.depth);
        session.configure(config)?;
        let mut connection = Box::new(InlineConnection::new());
        connection.set_trace(options.trace);
        Ok(Self {
            session,
            connection,
            notices: VecDeque::new(),
            scratch: None,
            reactor,
            tcp: None,
            dialer: None,
            busy_wait: BusyWait::new(options.busy_wait),
            patient: false,
            options: options.clone(),
            origin: time::Instant::now(),
            broken: None,
            cause: None,
            watched: (SessionState::Idle, 0),
        })
    }

    /// Opens the session.
    ///
    /// # Errors
    /// [`Error::Submit`] if it is open.
    pub fn open(&mut self, portal: Portal) -> Result<(), Error> {
        let now = self.now();
        self.cause = None;
        self.session.open(portal, now)?;
        Ok(())
    }

    /// Goes on after a new login without a look at the devices: nobody here knows them. Who marks commands as ones to issue again answers for
    /// it, or leaves it to a disk.
    pub fn vouch(&mut self) {
        let now = self.now();
        // In any other state there is nothing to answer.
        let _ = self.session.verified(Verdict::Same, now);
    }

    /// The engine's time.
    pub fn now(&self) -> Instant {
        Instant::from_micros(u64::try_from(self.origin.elapsed().as_micros()).unwrap_or(u64::MAX))
    }

    /// A time of the engine on the system's clock.
    pub fn system_time(&self, time: Instant) -> time::Instant {
        // What does not fit is never reached.
        let far = || self.origin + Duration::from_secs(u32::MAX.into());
        let since = Duration::from_micros(time.as_micros());
        self.origin.checked_add(since).unwrap_or_else(far)
    }

    /// Submits a command.
    ///
    /// # Errors
    /// Why the session does not take it.
    pub fn submit(&mut self, command: &Command<'_>) -> Result<TaskId, Error> {
        let now = self.now();
        self.session.submit(command, now).map_err(|error| self.refusal(error))
    }

    /// Takes the memory of a task away: nobody waits for it any more.
    pub fn revoke(&mut self, task: TaskId) {
        let now = self.now();
        // It may have ended by itself, which is as good.
        let _ = self.connection.revoke(task, &mut self.session, now);
    }

    /// Whether the connection of this login (counted from 1) stands.
    ///
    /// # Errors
    /// Why it does not.
    pub fn require_connection(&self, login: u64) -> Result<(), Error> {
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

    /// The address of the target; `None` without a connection.
    pub fn peer(&self) -> Option<SocketAddr> {
        self.tcp.as_ref().map(|tcp| tcp.peer)
    }

    /// Why the session no longer takes requests; the reason of its end says more than the refusal.
    pub fn refusal(&self, error: SubmitError) -> Error {
        match self.session.state() {
            SessionState::Failed(reason) if error == SubmitError::NotOpen => self.failure(reason),
            _ => Error::Submit(error),
        }
    }

    /// The error for a task or session that was lost for this reason.
    pub fn failure(&self, reason: LostReason) -> Error {
        if let (LostReason::TimedOut(Timer::Recovery), Some(status)) =
            (reason, self.session.recovery())
        {
            return Error::GaveUp(Arc::new(GaveUp {
                first: status.first,
                last: self.failure(status.last),
                attempts: status.attempts,
                time: status.gives_up.unwrap_or_else(|| self.now()).saturating_since(status.since),
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
impl<R: Reactor> Engine<R> {
    /// Does everything that can be done without waiting. Events are to be taken afterwards, before waiting for what
    /// [`wants`](Self::wants) makes of the result.
    pub fn turn(&mut self, buffers: &mut (impl Buffers + ?Sized)) -> Wants {
        self.act();
        // The verdict about the devices came after the last turn, and a command that ends in this one ends the recovery: nobody would hear
        // that the session is there again.
        self.watch();
        let now = self.now();
        let mut wants = self.pump(buffers, now);
        self.take_notice();
        wants.again |= self.act();
        self.watch();
        wants
    }

    /// The same for a loop that waits afterwards, unless this turn ends what it waits for. With few commands under way it would be in vain to look
    /// for their answers right after they were sent; [`Reactor::set_patient`] hears of it. A deadline that is due is not judged
    /// without a look.
    pub fn turn_to_wait(&mut self, buffers: &mut (impl Buffers + ?Sized)) -> Wants {
        self.patient = self.session.in_use() <= BusyWait::FEW;
        let wants = self.turn(buffers);
        self.patient = false;
        wants
    }

    /// The same for a loop that knows no devices.
    pub fn turn_and_vouch(&mut self, buffers: &mut (impl Buffers + ?Sized)) -> Wants {
        let wants = self.turn(buffers);
        self.vouched(wants)
    }

    /// [`turn_to_wait`](Self::turn_to_wait) for a loop that knows no devices.
    pub fn turn_and_vouch_to_wait(&mut self, buffers: &mut (impl Buffers + ?Sized)) -> Wants {
        let wants = self.turn_to_wait(buffers);
        self.vouched(wants)
    }

    fn vouched(&mut self, mut wants: Wants) -> Wants {
        if self.session.state() == SessionState::Verifying {
            self.vouch();
            wants.again = true;
        }
        wants
    }

    /// Tells a step, if there was one and somebody wants to know.
    fn watch(&mut self) {
        let Some(watch) = self.options.watch else { return };
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
            wait = Some(Duration::ZERO);
        }
        watch(&SessionStep { state, was_logged_in, recovery, wait });
    }

    fn pump(&mut self, buffers: &mut (impl Buffers + ?Sized), now: Instant) -> Wants {
        let Some(tcp) = &mut self.tcp else {
            self.session.handle_timeout(now);
            return Wants { deadline: self.session.poll_timeout(), ..Wants::default() };
        };
        let lend = || self.reactor.lend_scratch(self.options.scratch_len());
        let mut scratch = self.scratch.take().unwrap_or_else(lend);
        let (connection, session) = (&mut self.connection, &mut self.session);
        let batch = self.options.batch_of(session.in_use());
        let looks = self.patient || tcp.low_water.is_on();
        let judges = looks && connection.wants(session).deadline.is_some_and(|at| at <= now);
        R::set_patient(&mut tcp.socket, self.patient && !judges);
        if tcp.low_water.take_back(judges, now) {
            // What works for more works for 1.
            R::set_low_water(&mut tcp.socket, 1);
        }
        let pumped = match self.broken.take() {
            None => pump(connection, session, buffers, &mut scratch, &mut tcp.socket, now, batch),
            Some(error) => {
                connection.closed(LostReason::Transport, session, now);
                Err(error)
            }
        };
        self.scratch = match scratch.is_empty() {
            true => self.reactor.take_scratch(scratch),
            false => Some(scratch),
        };
        match pumped {
            Ok(wants) => wants,
            Err(error) => {
                self.cause = Some(Error::io(Step::Transfer, Some(tcp.peer), error));
                Wants { again: true, ..Wants::default() }
            }
        }
    }

    fn take_notice(&mut self) {
        let Some(notice) = self.connection.poll_async() else { return };
        if self.notices.len() == Self::NOTICES {
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
                    if let Some(dialer) = self.dialer.take() {
                        let error = dialer.time_out(&mut self.reactor);
                        self.cause = Some(Error::Connect(Arc::new(error)));
                    }
                    self.hang_up();
                }
                Action::Connect => self.dial(),
                _ => {}
            }
        }
        if self.dialer.is_none() {
            return any;
        }
        let now = self.now();
        let Some(dialer) = &mut self.dialer else { return any };
        match dialer.advance(&mut self.reactor, &self.options.tcp, now) {
            None => return any,
            Some(Ok((socket, peer))) => {
                self.connected(Tcp { socket, peer, low_water: LowWater::new() });
            }
            Some(Err(error)) => self.connect_failed(Error::Connect(Arc::new(error))),
        }
        self.dialer = None;
        true
    }

    fn hang_up(&mut self) {
        self.broken = None;
        if let Some(tcp) = self.tcp.take() {
            self.reactor.release(tcp.socket);
        }
        // Bytes of an old connection mean nothing to a new one.
        if let Some(mut scratch) = self.scratch.take() {
            scratch.clear();
            self.scratch = self.reactor.take_scratch(scratch);
        }
    }

    fn dial(&mut self) {
        self.hang_up();
        let Some(portal) = self.session.portal().cloned() else { return };
        self.dialer = Some(Dialer::start(portal, &*self.options.resolver, &self.reactor));
    }

    fn connected(&mut self, tcp: Tcp<R::Socket>) {
        let mut bytes = [0; 64];
        if let Err(error) = getrandom::fill(&mut bytes) {
            self.connect_failed(Error::io(Step::Random, Some(tcp.peer), error.into()));
            self.reactor.release(tcp.socket);
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

impl<R: Reactor> Engine<R> {
    /// The error of a disk, with what is known of the end of the session.
    pub fn disk_failure(&self, error: DiskError) -> Error {
        match error {
            DiskError::Lost(reason) => self.failure(reason),
            DiskError::NotSubmitted(error) => self.refusal(error),
            error => Error::Disk(error),
        }
    }
}

/// Waiting.
impl<R: Reactor> Engine<R> {
    /// The reactor.
    pub const fn reactor(&self) -> &R {
        &self.reactor
    }

    /// The connected socket: the loop waits until it is readable or writable, as [`wants`](Self::wants) says.
    pub fn socket(&self) -> Option<&R::Socket> {
        self.tcp.as_ref().map(|tcp| &tcp.socket)
    }

    /// The same to be changed.
    pub fn socket_mut(&mut self) -> Option<&mut R::Socket> {
        self.tcp.as_mut().map(|tcp| &mut tcp.socket)
    }

    /// Reads before the next turn, which finds what came: for loops that wait by reading. `read` is what [`Transport::recv`](iscsi_core::driver::Transport::recv) is, but may wait. Not
    /// called, with `None`, if the next bytes are to go straight to their place, or nothing is to be read; else whether something came, be
    /// it an end or an error.
    pub fn read_ahead(
        &mut self,
        read: impl FnOnce(&mut R::Socket, &mut [u8]) -> io::Result<Option<usize>>,
    ) -> Option<bool> {
        let tcp = self.tcp.as_mut().filter(|_| self.broken.is_none())?;
        let lend = || self.reactor.lend_scratch(self.options.scratch_len());
        let mut scratch = self.scratch.take().unwrap_or_else(lend);
        let space = read_ahead(&self.connection, &self.session, &mut scratch);
        let result = space.map(|space| read(&mut tcp.socket, space));
        let found = result.map(|result| match result {
            Ok(received) => {
                scratch.filled_by(received.unwrap_or(0));
                received.is_some()
            }
            Err(error) => {
                self.broken = Some(error);
                true
            }
        });
        self.scratch = match scratch.is_empty() {
            true => self.reactor.take_scratch(scratch),
            false => Some(scratch),
        };
        found
    }

    /// Sockets that are being connected: the loop waits until one is writable.
    pub fn dialing(&self) -> impl Iterator<Item = &R::Socket> {
        self.dialer.iter().flat_map(Dialer::sockets)
    }

    /// Whether a name that was looked up has its answer, so that another [`turn`](Self::turn) is due. For loops whose waker works only while
    /// they sleep.
    pub fn has_resolved(&self) -> bool {
        self.dialer.as_ref().is_some_and(Dialer::has_resolved)
    }

    /// Whether to look for answers for a moment before the loop sleeps.
    pub const fn busy_wait(&self) -> &BusyWait {
        &self.busy_wait
    }

    /// Whether there is anything to wait for: a session that is not open, or at its end, waits for nothing.
    pub const fn is_waiting(&self, wants: &Wants) -> bool {
        self.tcp.is_some() || self.dialer.is_some() || wants.deadline.is_some()
    }

    /// What to wait for. `wants` is what the last [`turn`](Self::turn) returned; submitting and taking events may have changed it.
    ///
    /// Called right before the loop waits: while many large answers are due, the socket is told to become readable when much of them is there
    /// ([`Reactor::set_low_water`]), and the deadline is near.
    pub fn wants(&mut self, mut wants: Wants) -> Wants {
        let connected = self.tcp.is_some() && self.connection.state() != ConnectionState::Closed;
        if connected && !wants.again {
            let before = wants;
            wants = self.connection.wants(&self.session);
            // What has become possible since the turn is not announced where readiness is told once, at the edge.
            wants.again |= wants.write && !before.write || wants.read && !before.read;
        }
        let dialer = self.dialer.as_ref().and_then(Dialer::deadline);
        wants.deadline = [wants.deadline, dialer].into_iter().flatten().min();
        if connected && !wants.again {
            self.mark_low_water(&mut wants);
        }
        wants
    }

    /// The loop is about to wait, perhaps for many bytes, but then not for long.
    fn mark_low_water(&mut self, wants: &mut Wants) {
        let (commands, due) = (self.session.in_use(), self.connection.data_in_due(&self.session));
        let concerned = |tcp: &Tcp<R::Socket>| tcp.low_water.concerns(commands, due);
        if !self.tcp.as_ref().is_some_and(concerned) {
            return;
        }
        let now = self.now();
        let Some(tcp) = self.tcp.as_mut() else { return };
        let received = self.connection.counters().bytes_received;
        let mark = tcp.low_water.plan(commands, due, received, now);
        if mark.set.is_some_and(|bytes| !R::set_low_water(&mut tcp.socket, bytes)) {
            tcp.low_water.refuse();
            return;
        }
        wants.again |= mark.is_lower;
        wants.deadline = [wants.deadline, mark.until].into_iter().flatten().min();
    }
}

/// The end of a task, as told by an event, if the event tells one.
///
/// ```
/// use iscsi_core::{Event, LostReason, TaskId};
/// let task = TaskId::from_bits(0x1_0000);
/// let event = Event::TaskLost { task, reason: LostReason::Eof };
/// assert_eq!(iscsi_runtime::task_end(event), Some((task, Err(LostReason::Eof))));
/// ```
pub fn task_end(event: Event<'_>) -> Option<(TaskId, Result<Completed, LostReason>)> {
    match event {
        Event::TaskDone { task, outcome, sense } => {
            Some((task, Ok(Completed::new(outcome, sense))))
        }
        Event::TaskLost { task, reason } => Some((task, Err(reason))),
        _ => None,
    }
}
