//! A session with its disks, queues and answers, as one state machine: all that a runtime adds is a way to wait.

mod answers;
mod request;
mod unit;

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use core::net::SocketAddr;
use core::sync::atomic::AtomicU32;

use iscsi_core::config::Retry;
use iscsi_core::text::SessionType;
use iscsi_core::{
    Counters, Instant, Negotiated, Portal, RecoveryStatus, SessionCounters, SessionState,
    SubmitError, TaskId, TaskManagement, TaskManagementId, Wants,
};
use iscsi_disk::{DiskConfig, DiskError, Geometry, RequestError};

use crate::discovery::{Collector, OwnedScope};
use crate::engine::Engine;
use crate::error::Error;
use crate::notice::Notice;
use crate::reactor::Reactor;
use crate::reply::Reply as _;
use crate::table::Table;
pub use request::{
    CommandJob, DiskJob, End, Front, Job, Opened, OwnedCommand, Request, Spare, Threads,
};
use unit::{DrivenUnit, News};
pub use unit::{Unit, UnitId};

/// A session with its disks: takes requests of any number, keeps what is beyond its depth in line, and answers each of them once.
///
/// A loop hands over what was asked by [`accept`](Self::accept), calls [`turn`](Self::turn), and waits for what that says and for the sockets
/// of the [`engine`](Self::engine). It never blocks. `F` is the side that the application sees.
///
/// Dropped, it answers everything with [`Error::ShutDown`].
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
/// use iscsi_core::{Config, IscsiName, Portal};
/// use iscsi_runtime::{Engine, Options, Request, Service, Threads, one_shot};
///
/// let config = Config::discovery(IscsiName::new("iqn.2001-04.com.example:host")?).build()?;
/// let engine = Engine::new(config, &Options::default(), Poll)?;
/// let portal = Portal::parse("127.0.0.1:1")?; // where nobody listens
/// let mut service = Service::<_, Threads>::new(engine, portal);
/// let (sender, connected) = one_shot();
/// service.accept(Request::Connect(sender));
/// while !connected.is_ready() {
///     service.turn();
///     // A real loop waits here.
/// }
/// let error = connected.wait().unwrap().unwrap_err();
/// assert!(error.to_string().starts_with("cannot connect to 127.0.0.1:1: "));
/// # Ok::<(), Box<dyn core::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Service<R: Reactor, F: Front> {
    engine: Engine<R>,
    portal: Portal,
    /// Commands beyond the session's depth, oldest first.
    backlog: VecDeque<(OwnedCommand, CommandJob<F>)>,
    jobs: Table<TaskId, CommandJob<F>>,
    units: Vec<DrivenUnit<F>>,
    /// Task management functions that wait for the one before.
    functions: VecDeque<(TaskManagement, F::Function)>,
    function: Option<(TaskManagementId, F::Function)>,
    /// Wait for the login to succeed or fail.
    connecting: Vec<F::Connected>,
    pings: Vec<PendingPing<F>>,
    /// Questions for targets that wait for the one before.
    questions: VecDeque<(OwnedScope, F::Discovery)>,
    question: Option<(Collector, F::Discovery)>,
    news: News,
    /// Who takes free slots first: disks and single commands in turn.
    first: usize,
    closing: bool,
    logging_out: bool,
}

/// Who waits for a sign of life, since when, and how many PDUs had come then.
#[derive(Debug)]
struct PendingPing<F: Front> {
    since: Instant,
    before: u64,
    reply: F::Ping,
}

/// What a turn left.
///
/// ```
/// assert!(iscsi_runtime::Turn::default().end.is_none());
/// ```
#[derive(Debug, Default)]
#[must_use = "it says what to wait for"]
pub struct Turn {
    /// What to wait for.
    pub wants: Wants,
    /// After [`Service::close`]: everything is answered, and this is how the session ended. There is nothing left to do.
    pub end: Option<Result<(), Error>>,
}

/// How a session stands.
///
/// ```
/// fn print(status: &iscsi_runtime::Status) {
///     println!("{:?}, {} PDUs received", status.state, status.counters.pdus_received);
/// }
/// # let _ = print;
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Status {
    /// The state of the session.
    pub state: SessionState,
    /// How a recovery stands, if there is one.
    pub recovery: Option<RecoveryStatus>,
    /// What the session counted: logins, losses, commands issued again.
    pub session: SessionCounters,
    /// What was negotiated at the last login.
    pub negotiated: Negotiated,
    /// What the present connection counted so far.
    pub counters: Counters,
    /// The address of the target; `None` without a connection.
    pub peer: Option<SocketAddr>,
    /// Commands that the session has.
    pub in_use: usize,
    /// How many it can have.
    pub capacity: usize,
}

impl<R: Reactor, F: Front> Service<R, F> {
    /// Takes over a session, open or not; [`Request::Connect`] connects to `portal`.
    pub const fn new(engine: Engine<R>, portal: Portal) -> Self {
        Self {
            engine,
            portal,
            backlog: VecDeque::new(),
            jobs: Table::new(),
            units: Vec::new(),
            functions: VecDeque::new(),
            function: None,
            connecting: Vec::new(),
            pings: Vec::new(),
            questions: VecDeque::new(),
            question: None,
            news: News { freed: false, resized: false },
            first: 0,
            closing: false,
            logging_out: false,
        }
    }

    /// Takes over a disk that was opened on this session.
    pub fn add(&mut self, unit: Unit) -> UnitId {
        let id = self.next_unit();
        self.place(DrivenUnit::new(id, unit));
        id
    }

    /// The session, its connection and its sockets.
    pub const fn engine(&self) -> &Engine<R> {
        &self.engine
    }

    /// The same, for settings and extras: whoever takes the session's events here takes answers away.
    pub const fn engine_mut(&mut self) -> &mut Engine<R> {
        &mut self.engine
    }

    /// Sizes, limits and abilities of a disk, as last told by the device.
    pub fn geometry(&self, unit: UnitId) -> Option<&Geometry> {
        self.unit(unit)?.geometry()
    }

    /// How many unit attentions have told a disk that its device was powered on or reset ([`iscsi_disk::Disk::resets`]): the number stands there before the
    /// end of any request or command is told that the device answered later. `None` if there is no such disk.
    pub fn resets(&self, unit: UnitId) -> Option<Arc<AtomicU32>> {
        Some(self.unit(unit)?.resets().clone())
    }

    /// A disk whose geometry has changed, for example because it was resized; each once.
    pub fn take_resized(&mut self) -> Option<UnitId> {
        if !self.news.resized {
            return None;
        }
        let resized = self.units.iter_mut().find(|unit| unit.resized);
        self.news.resized = resized.is_some();
        resized.map(|unit| {
            unit.resized = false;
            unit.id()
        })
    }

    fn unit(&self, id: UnitId) -> Option<&DrivenUnit<F>> {
        self.units.get(id.index).filter(|unit| unit.id() == id)
    }

    fn unit_mut(&mut self, id: UnitId) -> Option<&mut DrivenUnit<F>> {
        self.units.get_mut(id.index).filter(|unit| unit.id() == id)
    }

    /// The name of the next disk: in the place of one that could not be opened or was closed, or in a new one.
    fn next_unit(&self) -> UnitId {
        let free = self.units.iter().find(|unit| unit.is_dead());
        let new = UnitId { index: self.units.len(), generation: 0 };
        free.map_or(new, DrivenUnit::next_id)
    }

    fn place(&mut self, unit: DrivenUnit<F>) {
        match self.units.get_mut(unit.id().index) {
            Some(place) => *place = unit,
            None => self.units.push(unit),
        }
    }

    /// The oldest message of the target that was not taken.
    pub fn take_notice(&mut self) -> Option<Notice> {
        self.engine.notices.pop_front()
    }

    /// Takes no more requests: what is under way goes on to its end, then the session is logged out. What waits for a connection that is
    /// lost waits for the time of the recovery policy, or not at all if that has no end.
    pub const fn close(&mut self) {
        self.closing = true;
    }

    /// Does everything that can be done without waiting, for a fair share of time: tens of microseconds.
    pub fn turn(&mut self) -> Turn {
        self.submit();
        let Self { engine, units, jobs, .. } = self;
        let mut wants = unit::lend(units, jobs, |buffers| engine.turn(buffers));
        if self.settle() {
            // Slots have become free, or something can be asked for now.
            wants.again |= self.has_backlog();
        }
        // Once a turn: with two steps, two parties would never change places.
        self.first = self.first.wrapping_add(1);
        // What is submitted now waits for the next turn.
        wants.again |= self.share_slots();
        wants.again |= self.vouch();
        wants.again |= self.settle_questions();
        // Requests may end without an event of the session, for example because it has failed: others take their places.
        wants.again |= core::mem::take(&mut self.news.freed) && self.has_backlog();
        if self.closing && (self.is_idle() || self.is_away_for_ever() || self.was_never_opened()) {
            if let Some(end) = self.end() {
                return Turn { wants, end: Some(end) };
            }
            if !self.logging_out {
                self.logging_out = true;
                let now = self.engine.now();
                // Refused means that there is nothing to log out of, or that it is under way.
                let _ = self.engine.session.logout(now);
                wants.again = true;
            }
        }
        let mut wants = self.engine.wants(wants);
        let disks = self.units.iter().filter_map(|unit| unit.disk.poll_timeout());
        wants.deadline = disks.chain(wants.deadline).min();
        Turn { wants, end: None }
    }

    fn is_idle(&self) -> bool {
        !self.has_backlog()
            && self.units.iter().all(|unit| unit.disk.in_use() == 0 && unit.opening.is_none())
            && self.function.is_none()
            && self.question.is_none()
            && self.connecting.is_empty()
            && self.engine.session.in_use() == 0
    }

    /// Nobody but the application would end the attempts to come back, and the application has let go.
    fn is_away_for_ever(&self) -> bool {
        let session = &self.engine.session;
        session.config().recovery().retry == Retry::Forever
            && session.recovery().is_some()
            && matches!(
                session.state(),
                SessionState::Waiting(_) | SessionState::Connecting | SessionState::LoggingIn
            )
    }

    /// What waits for a login that nobody has asked for waits for nothing.
    fn was_never_opened(&self) -> bool {
        self.engine.session.state() == SessionState::Idle
    }

    /// Answers for the devices after a new login if no disk does. True if the session goes on.
    fn vouch(&mut self) -> bool {
        let asked = self.engine.session.state() == SessionState::Verifying;
        let taken = self.units.iter().any(|unit| unit.disk.is_verifying());
        if asked && !taken {
            self.engine.vouch();
        }
        asked && !taken
    }

    fn has_backlog(&self) -> bool {
        !self.backlog.is_empty()
            || !self.functions.is_empty()
            || !self.questions.is_empty()
            || self.units.iter().any(|unit| !unit.backlog.is_empty())
    }

    /// How the session ended, if it has.
    fn end(&self) -> Option<Result<(), Error>> {
        match self.engine.session.state() {
            SessionState::Closed | SessionState::Idle => Some(Ok(())),
            SessionState::Failed(reason) => Some(Err(self.engine.failure(reason))),
            _ => None,
        }
    }
}

/// Requests in.
impl<R: Reactor, F: Front> Service<R, F> {
    /// Takes a request; its answer comes by a later [`turn`](Self::turn), or at once.
    pub fn accept(&mut self, request: Request<F>) {
        if self.closing && !matches!(request, Request::Close(_) | Request::Status(_)) {
            return request.refuse();
        }
        match request {
            Request::Execute(command, job) => self.backlog.push_back((command, job)),
            Request::Open(config, reply) => self.open(config, reply),
            Request::Close(unit) => {
                if let Some(unit) = self.unit_mut(unit) {
                    unit.closed = true;
                }
            }
            Request::Disk(unit, request, job) => match self.unit_mut(unit) {
                Some(unit) if !unit.closed => unit.backlog.push_back((request, job)),
                _ => job.end(Err(RequestError::NotReady.into())),
            },
            Request::TaskManagement(function, reply) => self.functions.push_back((function, reply)),
            Request::Connect(reply) => self.connect(reply),
            Request::ForceReconnect(reply) => self.force_reconnect(reply),
            Request::Ping(reply) => self.ping(reply),
            Request::Discover(scope, reply) => self.questions.push_back((scope, reply)),
            Request::Status(reply) => reply.send(self.status()),
        }
    }

    fn submit(&mut self) {
        if self.function.is_none() {
            self.start_function();
        }
        self.start_question();
        self.units.iter_mut().for_each(DrivenUnit::submit);
        self.share_slots();
    }

    fn submit_commands(&mut self) {
        while let Some((command, job)) = self.backlog.pop_front() {
            if !job.is_wanted() {
                continue;
            }
            let now = self.engine.now();
            let lun = command.command().lun;
            if self.units.iter().any(|unit| unit.is_lost(lun)) {
                job.end(Err(Error::Disk(DiskError::DeviceChanged)));
                continue;
            }
            match self.engine.session.submit(&command.command(), now) {
                Ok(task) => self.jobs.insert(task, job),
                Err(SubmitError::NoFreeTask) => {
                    self.backlog.push_front((command, job));
                    break;
                }
                Err(error) => job.end(Err(self.engine.refusal(error))),
            }
        }
    }

    fn open(&mut self, config: DiskConfig, reply: F::Opened) {
        let (id, capacity) = (self.next_unit(), self.engine.session.capacity());
        self.place(DrivenUnit::opening(id, capacity, config, reply));
    }

    /// Lets disks and single commands take the free slots of the session, another one first each turn, so that a disk with more to do than
    /// there are slots does not keep the others out. Tells what has ended. True if something was submitted.
    fn share_slots(&mut self) -> bool {
        let parties = self.units.len() + 1;
        let mut submitted = false;
        for n in 0..parties {
            match self.units.get_mut(self.first.wrapping_add(n) % parties) {
                Some(unit) => submitted |= unit.drive(&mut self.engine, &mut self.news),
                None => {
                    let before = self.backlog.len();
                    self.submit_commands();
                    submitted |= self.backlog.len() < before;
                }
            }
        }
        submitted
    }

    fn start_function(&mut self) {
        while let Some((function, reply)) = self.functions.pop_front() {
            let now = self.engine.now();
            match self.engine.session.task_management(function, now) {
                Ok(id) => {
                    self.function = Some((id, reply));
                    return;
                }
                // The engine is aborting a command; its end makes room.
                Err(SubmitError::Busy) => {
                    self.functions.push_front((function, reply));
                    return;
                }
                Err(error) => reply.send(Err(self.engine.refusal(error))),
            }
        }
    }

    fn start_question(&mut self) {
        while self.question.is_none() {
            let Some((scope, reply)) = self.questions.pop_front() else { return };
            match Collector::start(&mut self.engine, scope.scope()) {
                Ok(collector) => self.question = Some((collector, reply)),
                // A part of an answer that nobody wants is under way; it makes room.
                Err(Error::Submit(SubmitError::Busy)) => {
                    self.questions.push_front((scope, reply));
                    return;
                }
                Err(error) => reply.send(Err(error)),
            }
        }
    }

    fn connect(&mut self, reply: F::Connected) {
        match self.engine.session.state() {
            SessionState::LoggedIn => {
                self.units.iter_mut().for_each(DrivenUnit::revive);
                reply.send(Ok(()));
            }
            // A logout that the target asked for is followed by a login, if the policy says so; else its end is told.
            SessionState::Connecting
            | SessionState::LoggingIn
            | SessionState::Verifying
            | SessionState::LoggingOut => self.connecting.push(reply),
            SessionState::Waiting(_) => {
                let now = self.engine.now();
                // The delay is cut short; the target's time is not.
                let _ = self.engine.session.retry_now(now);
                self.connecting.push(reply);
            }
            _ => match self.engine.open(self.portal.clone()) {
                Ok(()) => {
                    // The session begins anew, and asks nobody to verify: requests must not come before the look.
                    self.units.iter_mut().for_each(DrivenUnit::look_again);
                    self.connecting.push(reply);
                }
                Err(error) => reply.send(Err(error)),
            },
        }
    }

    fn force_reconnect(&mut self, reply: F::Connected) {
        let now = self.engine.now();
        match self.engine.session.force_reconnect(now) {
            Ok(()) => self.connecting.push(reply),
            Err(SubmitError::NotOpen) => self.connect(reply),
            Err(error) => reply.send(Err(self.engine.refusal(error))),
        }
    }

    fn ping(&mut self, reply: F::Ping) {
        if self.engine.session.state() != SessionState::LoggedIn {
            reply.send(Err(self.engine.refusal(SubmitError::NotOpen)));
            return;
        }
        if self.engine.session.config().session_type() == SessionType::Discovery {
            reply.send(Err(Error::Submit(SubmitError::DiscoverySession)));
            return;
        }
        let since = self.engine.now();
        self.engine.connection.ping(&self.engine.session);
        let before = self.engine.connection.counters().pdus_received;
        self.pings.push(PendingPing { since, before, reply });
    }

    /// How things stand.
    pub fn status(&self) -> Status {
        let session = &self.engine.session;
        Status {
            state: session.state(),
            recovery: session.recovery(),
            session: session.counters(),
            negotiated: *session.negotiated(),
            counters: self.engine.connection.counters(),
            peer: self.engine.peer(),
            in_use: session.in_use(),
            capacity: session.capacity(),
        }
    }
}

impl<R: Reactor, F: Front> Drop for Service<R, F> {
    /// Answers everything that jobs do not answer themselves.
    fn drop(&mut self) {
        self.connecting.drain(..).for_each(|reply| reply.send(Err(Error::ShutDown)));
        self.pings.drain(..).for_each(|ping| ping.reply.send(Err(Error::ShutDown)));
        let functions = self.functions.drain(..).map(|(_, reply)| reply);
        let function = self.function.take().map(|(_, reply)| reply);
        functions.chain(function).for_each(|reply| reply.send(Err(Error::ShutDown)));
        let questions = self.questions.drain(..).map(|(_, reply)| reply);
        let question = self.question.take().map(|(_, reply)| reply);
        questions.chain(question).for_each(|reply| reply.send(Err(Error::ShutDown)));
        let openings = self.units.iter_mut().filter_map(|unit| unit.opening.take());
        openings.for_each(|reply| reply.send(Err(Error::ShutDown)));
    }
}
