//! The sessions of one loop.

use core::fmt;
use core::time::Duration;
use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::time::Instant;

use iscsi_core::driver::Deadlines;
use iscsi_core::url::IscsiUrl;
use iscsi_core::{Command, Config, DiscoveryScope, IscsiName, Portal, TaskManagement};
use iscsi_disk::{DiskConfig, Geometry};
use iscsi_runtime::{
    Engine, Error, Job, Lend, Options, OwnedCommand, Payload, Request, Service, Status, Step,
    UnitId, check_command, check_request,
};
use mio::{Registry, Token};

use crate::event::{DiskId, Event, Events, Queue, SessionId, Tagged, is_empty, pop, push};
use crate::looking::Looking;
use crate::reactor::{PollReactor, Scratches};

type Member<T, M> = Service<PollReactor, Events<T, M>>;

/// A place for a session.
struct Slot<T, M: Lend + Default> {
    generation: u64,
    token: Token,
    /// In the line of those that have something to do.
    ready: bool,
    /// Behind the bytes that a read takes is something else: the end of the stream, or bytes behind an urgent mark.
    behind: bool,
    /// Commands that were under way after the last turn.
    under_way: usize,
    service: Option<Member<T, M>>,
}

/// Any number of sessions in a [`mio::Poll`] of yours. `T` is what you know requests by: each event brings it back. `M` is the memory that goes in
/// with a request and comes back with its event: a vector each, or whatever can be [lent](Lend).
///
/// Nothing here blocks, and nothing is done but in [`turn`](Self::turn), which gives each session that has something to do a fair share
/// of time. The loop is yours:
///
/// ```no_run
/// use iscsi_core::IscsiName;
/// use iscsi_runtime_mio::{Event, Options, Sessions, mio};
///
/// let url = "iscsi://storage.example.com/iqn.2001-04.com.example:disk/1".parse()?;
/// let mut poll = mio::Poll::new()?;
/// let mut readiness = mio::Events::with_capacity(64);
/// let mut sessions = Sessions::new(poll.registry())?;
/// sessions.connect_disk(mio::Token(0), &url, IscsiName::new("iqn.2001-04.com.example:host")?, &Options::default(), "open")?;
/// loop {
///     sessions.turn();
///     while let Some(event) = sessions.poll_event() {
///         match event {
///             Event::Opened { result, .. } => sessions.read_at(result?.disk, 0, vec![0; 4096], "read"),
///             Event::Done { result, .. } => return Ok(println!("{:?}", result?)),
///             _ => {}
///         }
///     }
///     poll.poll(&mut readiness, sessions.timeout())?;
///     for event in &readiness {
///         let _is_ours = sessions.handle(event);
///     }
/// }
/// # #[expect(unreachable_code)]
/// # Ok::<(), Box<dyn core::error::Error>>(())
/// ```
pub struct Sessions<T = u64, M: Lend + Default = Payload> {
    registry: Arc<Registry>,
    slots: Vec<Slot<T, M>>,
    free: Vec<usize>,
    tokens: HashMap<Token, usize>,
    ready: VecDeque<usize>,
    deadlines: Deadlines<Instant>,
    scratches: Scratches,
    events: Queue<T, M>,
    looking: Looking,
}

impl<T, M: Lend + Default> fmt::Debug for Sessions<T, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tokens: Vec<_> = self.tokens.keys().collect();
        f.debug_struct("Sessions").field("tokens", &tokens).finish_non_exhaustive()
    }
}

impl<T> Sessions<T> {
    /// None yet; the memory of requests is a [`Payload`].
    ///
    /// # Errors
    /// What the system says of a second handle to the registry.
    pub fn new(registry: &Registry) -> io::Result<Self> {
        Self::with_memory(registry)
    }
}

/// Sessions come and go.
impl<T, M: Lend + Default> Sessions<T, M> {
    /// None yet; the memory of requests is of any kind.
    ///
    /// ```
    /// use iscsi_runtime_mio::{Lend, Sessions, mio};
    ///
    /// /// Zeros to be written, which take no memory.
    /// #[derive(Debug, Default)]
    /// struct Zeros(u64);
    ///
    /// impl Lend for Zeros {
    ///     fn space(&mut self, _: usize, _: u32) -> &mut [u8] {
    ///         &mut []
    ///     }
    ///     fn bytes(&self, _: usize, max: u32) -> &[u8] {
    ///         &[0; 4096][..max.min(4096) as usize]
    ///     }
    ///     fn room(&self) -> [u64; 2] {
    ///         [0, self.0]
    ///     }
    /// }
    /// let poll = mio::Poll::new()?;
    /// let sessions: Sessions<u64, Zeros> = Sessions::with_memory(poll.registry())?;
    /// assert!(sessions.is_empty());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`new`](Sessions::new).
    pub fn with_memory(registry: &Registry) -> io::Result<Self> {
        Ok(Self {
            registry: Arc::new(registry.try_clone()?),
            slots: Vec::new(),
            free: Vec::new(),
            tokens: HashMap::new(),
            ready: VecDeque::new(),
            deadlines: Deadlines::default(),
            scratches: Scratches::default(),
            events: Queue::default(),
            looking: Looking::default(),
        })
    }

    /// Connects a new session, whose sockets are all registered under `token`: those of the first connection, and those of every later
    /// one. [`Event::Connected`] tells how it ended.
    ///
    /// # Errors
    /// [`Error::Io`] if another session has the token, [`Error::Submit`] if the session does not take the configuration.
    pub fn connect(
        &mut self,
        token: Token,
        config: Config,
        portal: Portal,
        options: &Options,
        tag: T,
    ) -> Result<SessionId, Error> {
        if self.tokens.contains_key(&token) {
            let error = io::Error::new(
                io::ErrorKind::AlreadyExists,
                format!("token {} belongs to another session", token.0),
            );
            return Err(Error::io(Step::Wait, None, error));
        }
        let reactor = PollReactor::new(self.registry.clone(), token, self.scratches.clone());
        let service = Service::new(Engine::new(config, options, reactor)?, portal);
        let index = match self.free.pop() {
            Some(index) => index,
            None => {
                self.slots.push(Slot {
                    generation: 0,
                    token,
                    ready: false,
                    behind: false,
                    under_way: 0,
                    service: None,
                });
                self.slots.len() - 1
            }
        };
        self.looking.begin(options.busy_wait);
        let generation = match self.slots.get_mut(index) {
            Some(slot) => {
                slot.token = token;
                slot.service = Some(service);
                slot.generation
            }
            None => 0,
        };
        self.tokens.insert(token, index);
        let session = SessionId { index, generation };
        let reply = self.tagged(session, tag);
        self.ask(session, Request::Connect(reply));
        Ok(session)
    }

    /// Connects to the target of a URL and opens its logical unit: [`Event::Opened`] tells how both ended.
    ///
    /// # Errors
    /// Those of [`connect`](Self::connect); [`Error::Credentials`] or [`Error::Config`] if the URL's values do not fit together.
    pub fn connect_disk(
        &mut self,
        token: Token,
        url: &IscsiUrl,
        name: IscsiName,
        options: &Options,
        tag: T,
    ) -> Result<SessionId, Error>
    where
        T: Clone,
    {
        let config = url.config(name)?.build()?;
        let session = self.connect(token, config, url.portal.clone(), options, tag.clone())?;
        self.open(session, DiskConfig::new(url.lun), tag);
        Ok(session)
    }

    /// Finishes what is under way, logs out and closes the connection; [`Event::Closed`] is the last that is heard of the session. What waits
    /// for a connection that is lost waits for the time of the recovery policy, or not at all if that has no end.
    pub fn close(&mut self, session: SessionId) {
        if let Some(service) = self.service_mut(session) {
            service.close();
            self.wake(session.index);
        }
    }

    /// Closes the connection at once. What is under way ends with [`Error::ShutDown`]; there is no [`Event::Closed`].
    pub fn remove(&mut self, session: SessionId) {
        if self.service(session).is_some() {
            self.vacate(session.index);
        }
    }

    fn vacate(&mut self, index: usize) {
        let Some(slot) = self.slots.get_mut(index) else { return };
        // Dropped, it answers everything.
        slot.service = None;
        self.looking.under_way -= core::mem::take(&mut slot.under_way);
        slot.generation += 1;
        self.tokens.remove(&slot.token);
        self.free.push(index);
        self.deadlines.set(index, None);
    }

    fn service(&self, session: SessionId) -> Option<&Member<T, M>> {
        let slot = self.slots.get(session.index)?;
        slot.service.as_ref().filter(|_| slot.generation == session.generation)
    }

    fn service_mut(&mut self, session: SessionId) -> Option<&mut Member<T, M>> {
        let slot = self.slots.get_mut(session.index)?;
        slot.service.as_mut().filter(|_| slot.generation == session.generation)
    }

    fn tagged(&self, session: SessionId, tag: T) -> Tagged<T, M> {
        Tagged { session, unit: UnitId::FIRST, tag, queue: self.events.clone() }
    }
}

/// The loop.
impl<T, M: Lend + Default> Sessions<T, M> {
    /// Takes note of what the poll has told. Returns whether it was about a session.
    pub fn handle(&mut self, event: &mio::event::Event) -> bool {
        let Some(&index) = self.tokens.get(&event.token()) else { return false };
        self.looking.found();
        if let Some(slot) = self.slots.get_mut(index)
            && let Some(service) = &slot.service
        {
            let readable = event.is_readable() || event.is_read_closed() || event.is_error();
            let writable = event.is_writable() || event.is_write_closed() || event.is_error();
            service.engine().reactor().readiness().add(readable, writable);
            slot.behind |= event.is_read_closed() || event.is_priority();
        }
        self.wake(index);
        true
    }

    fn wake(&mut self, index: usize) {
        if let Some(slot) = self.slots.get_mut(index)
            && !core::mem::replace(&mut slot.ready, true)
        {
            self.ready.push_back(index);
        }
    }

    /// Gives each session that has something to do its share: sends, receives, acts on deadlines. Then take the events.
    ///
    /// Sessions with more to do come again in the next turn; between turns the loop looks after everything else.
    pub fn turn(&mut self) {
        let now = Instant::now();
        while let Some(index) = self.deadlines.take_due(now) {
            self.wake(index);
        }
        for _ in 0..self.ready.len() {
            let Some(index) = self.ready.pop_front() else { return };
            self.serve(index);
        }
    }

    fn serve(&mut self, index: usize) {
        let Some(slot) = self.slots.get_mut(index) else { return };
        slot.ready = false;
        let session = SessionId { index, generation: slot.generation };
        let Some(service) = &mut slot.service else { return };
        let turn = service.turn();
        let under_way = service.engine().session.in_use();
        self.looking.under_way -= core::mem::replace(&mut slot.under_way, under_way);
        self.looking.under_way += under_way;
        while let Some(notice) = service.take_notice() {
            push(&self.events, Event::Notice { session, notice });
        }
        while let Some(unit) = service.take_resized() {
            if let Some(&geometry) = service.geometry(unit) {
                let disk = DiskId { session, unit };
                push(&self.events, Event::Resized { disk, geometry });
            }
        }
        if let Some(result) = turn.end {
            self.vacate(index);
            push(&self.events, Event::Closed { session, result });
            return;
        }
        let deadline = turn.wants.deadline.map(|time| service.engine().system_time(time));
        self.deadlines.set(index, deadline);
        if turn.wants.again {
            self.wake(index);
        } else if core::mem::take(&mut slot.behind) {
            // It was announced together with the bytes before it, and not read with them.
            service.engine().reactor().readiness().add(true, false);
            self.wake(index);
        }
    }

    /// For how long the loop may wait: not at all if a session has something to do or an event was not taken, else until the next deadline;
    /// `None` for ever. With few commands under way it may be zero for a moment, see [`BusyWait`](iscsi_runtime::BusyWait); the first session's
    /// [`Options::busy_wait`] says for how long.
    pub fn timeout(&self) -> Option<Duration> {
        if !self.ready.is_empty() || !is_empty(&self.events) || self.looking.goes_on() {
            return Some(Duration::ZERO);
        }
        self.deadlines.next().map(|deadline| deadline.saturating_duration_since(Instant::now()))
    }

    /// The next thing that has happened.
    #[must_use]
    pub fn poll_event(&mut self) -> Option<Event<T, M>> {
        pop(&self.events)
    }
}

/// Requests. Each has its event, with the tag it was given; what is beyond a session's depth waits in line, with its memory. A session that is
/// not there any more answers with [`Error::ShutDown`].
impl<T, M: Lend + Default> Sessions<T, M> {
    fn ask(&mut self, session: SessionId, request: Request<Events<T, M>>) {
        match self.service_mut(session) {
            Some(service) => {
                service.accept(request);
                self.wake(session.index);
            }
            None => request.refuse(),
        }
    }

    /// Opens a logical unit of a session as a block device: [`Event::Opened`]. A session may have several.
    pub fn open(&mut self, session: SessionId, config: DiskConfig, tag: T) {
        let reply = self.tagged(session, tag);
        self.ask(session, Request::Open(config, reply));
    }

    /// Lets go of a disk: what is under way on it goes on to its end. The session stays.
    pub fn close_disk(&mut self, disk: DiskId) {
        self.ask(disk.session, Request::Close(disk.unit));
    }

    /// Makes everything durable whose write has ended: [`Event::Done`].
    pub fn flush(&mut self, disk: DiskId, tag: T) {
        self.request(disk, iscsi_disk::Request::flush(), M::default(), tag);
    }

    /// Carries out any request to a disk: [`Event::Done`]. Requests that are under way together take effect in any order.
    pub fn request(&mut self, disk: DiskId, request: iscsi_disk::Request, payload: M, tag: T) {
        let refusal = check_request(&request, &payload).err();
        let tagged = Tagged { unit: disk.unit, ..self.tagged(disk.session, tag) };
        let job = Job::new(payload, tagged);
        match refusal {
            Some(error) => job.end(Err(error)),
            None => self.ask(disk.session, Request::Disk(disk.unit, request, job)),
        }
    }

    /// Executes a SCSI command: [`Event::Executed`].
    pub fn execute(&mut self, session: SessionId, command: &Command<'_>, payload: M, tag: T) {
        let refusal = check_command(command, &payload).err();
        let job = Job::new(payload, self.tagged(session, tag));
        match refusal {
            Some(error) => job.end(Err(error)),
            None => self.ask(session, Request::Execute(OwnedCommand::new(command), job)),
        }
    }

    /// Asks the target for a task management function: [`Event::TaskManagement`].
    pub fn task_management(&mut self, session: SessionId, function: TaskManagement, tag: T) {
        let reply = self.tagged(session, tag);
        self.ask(session, Request::TaskManagement(function, reply));
    }

    /// Asks the target for a sign of life: [`Event::Pong`].
    pub fn ping(&mut self, session: SessionId, tag: T) {
        let reply = self.tagged(session, tag);
        self.ask(session, Request::Ping(reply));
    }

    /// Asks which targets there are, and where: [`Event::Discovered`]. In a normal session only for its own target.
    pub fn discover(&mut self, session: SessionId, scope: DiscoveryScope<'_>, tag: T) {
        let reply = self.tagged(session, tag);
        self.ask(session, Request::Discover(scope.into(), reply));
    }

    /// Logs in again after the session has failed: [`Event::Connected`]. If it is on its way back by itself, it does not wait for the end of its
    /// delay.
    pub fn reconnect(&mut self, session: SessionId, tag: T) {
        let reply = self.tagged(session, tag);
        self.ask(session, Request::Connect(reply));
    }

    /// Drops the connection and makes a new one: [`Event::Connected`]. What is under way goes on afterwards or ends, as after any other loss.
    pub fn force_reconnect(&mut self, session: SessionId, tag: T) {
        let reply = self.tagged(session, tag);
        self.ask(session, Request::ForceReconnect(reply));
    }
}

/// Requests whose memory is a vector.
impl<T> Sessions<T> {
    /// Fills `data` from this offset of a disk in bytes: [`Event::Done`].
    pub fn read_at(&mut self, disk: DiskId, offset: u64, data: Vec<u8>, tag: T) {
        let request = iscsi_disk::Request::read(offset, data.len() as u64);
        self.request(disk, request, Payload::In(data), tag);
    }

    /// Writes `data` at this offset of a disk in bytes: [`Event::Done`].
    pub fn write_at(&mut self, disk: DiskId, offset: u64, data: Vec<u8>, tag: T) {
        let request = iscsi_disk::Request::write(offset, data.len() as u64);
        self.request(disk, request, Payload::Out(data), tag);
    }
}

/// Getters.
impl<T, M: Lend + Default> Sessions<T, M> {
    /// How many sessions there are.
    pub fn len(&self) -> usize {
        self.tokens.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }

    /// The token of a session.
    pub fn token(&self, session: SessionId) -> Option<Token> {
        self.service(session)?;
        self.slots.get(session.index).map(|slot| slot.token)
    }

    /// How a session stands.
    pub fn status(&self, session: SessionId) -> Option<Status> {
        self.service(session).map(Service::status)
    }

    /// The session itself: names, identifiers, command window.
    pub fn session(&self, session: SessionId) -> Option<&iscsi_core::Session> {
        self.service(session).map(|service| &*service.engine().session)
    }

    /// Sizes, limits and abilities of a disk, as last told by the device.
    pub fn geometry(&self, disk: DiskId) -> Option<&Geometry> {
        self.service(disk.session)?.geometry(disk.unit)
    }
}
