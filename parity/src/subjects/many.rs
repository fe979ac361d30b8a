//! The mio runtime, in a loop of the suite's own.

use alloc::collections::{BTreeSet, VecDeque};
use core::time::Duration;
use std::time::Instant;

use iscsi_core::{Command, Config, DiscoveryScope, Lun, Portal};
use iscsi_disk::{DiskConfig, Request};
use iscsi_runtime::{Completed, Discovery, Error, Failed, Options, Payload};
use iscsi_runtime_mio::mio::{Events, Poll, Token};
use iscsi_runtime_mio::{DiskId, Event, SessionId, Sessions};

use crate::{Path, Runtime, Standing};

/// Longer than any time limit in the suite.
const PATIENCE: Duration = Duration::from_secs(60);

pub(super) struct Mio;

/// The tag of what is not a request to the disk.
const OTHER: u64 = 0;

struct Loop {
    poll: Poll,
    ready: Events,
    sessions: Sessions<u64>,
    session: Option<SessionId>,
    disk: Option<DiskId>,
    begun: u64,
    abandoned: BTreeSet<u64>,
    ended: VecDeque<(u64, Result<Payload, Failed>)>,
}

impl Loop {
    fn new() -> Self {
        let poll = Poll::new().expect("a poll");
        let sessions = Sessions::new(poll.registry()).expect("a second handle to it");
        Self {
            poll,
            ready: Events::with_capacity(16),
            sessions,
            session: None,
            disk: None,
            begun: OTHER,
            abandoned: BTreeSet::new(),
            ended: VecDeque::new(),
        }
    }

    fn connect(&mut self, config: Config, portal: Portal, options: &Options) -> Result<(), Error> {
        let session = self.sessions.connect(Token(7), config, portal, options, OTHER)?;
        self.session = Some(session);
        match self.other() {
            Event::Connected { result, .. } => result,
            event => panic!("{event:?}"),
        }
    }

    fn session(&self) -> SessionId {
        self.session.expect("it was connected")
    }

    fn event(&mut self) -> Event<u64> {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(event) = self.sessions.poll_event() {
                return event;
            }
            assert!(Instant::now() < end, "nothing happens");
            self.sessions.turn();
            let time = self.sessions.timeout().unwrap_or(PATIENCE);
            self.poll.poll(&mut self.ready, Some(time)).expect("poll");
            for event in &self.ready {
                assert!(self.sessions.handle(event));
            }
        }
    }

    /// The next event that is not about a request to the disk; those are kept.
    fn other(&mut self) -> Event<u64> {
        loop {
            match self.event() {
                Event::Done { tag, result, .. } if tag != OTHER => self.keep(tag, result),
                Event::Notice { .. } => {}
                event => return event,
            }
        }
    }

    fn keep(&mut self, number: u64, result: Result<Payload, Failed>) {
        if !self.abandoned.remove(&number) {
            self.ended.push_back((number, result));
        }
    }
}

impl Runtime for Mio {
    fn name(&self) -> &'static str {
        "mio"
    }

    fn open(
        &self,
        config: Config,
        portal: Portal,
        lun: Lun,
        options: &Options,
    ) -> Result<Box<dyn Path>, Error> {
        let mut l = Loop::new();
        l.connect(config, portal, options)?;
        l.sessions.open(l.session(), DiskConfig::new(lun), OTHER);
        match l.other() {
            Event::Opened { result, .. } => l.disk = Some(result?.disk),
            event => panic!("{event:?}"),
        }
        Ok(Box::new(l))
    }

    fn discover(
        &self,
        config: Config,
        portal: Portal,
        scope: DiscoveryScope<'_>,
    ) -> Result<Discovery, Error> {
        let mut l = Loop::new();
        l.connect(config, portal, &Options::default())?;
        l.sessions.discover(l.session(), scope, OTHER);
        match l.other() {
            Event::Discovered { result, .. } => result,
            event => panic!("{event:?}"),
        }
    }
}

impl Path for Loop {
    fn submit(&mut self, request: Request, payload: Payload) -> u64 {
        self.begun += 1;
        let disk = self.disk.expect("it was opened");
        self.sessions.request(disk, request, payload, self.begun);
        self.begun
    }

    fn next(&mut self) -> (u64, Result<Payload, Failed>) {
        loop {
            if let Some(end) = self.ended.pop_front() {
                return end;
            }
            match self.event() {
                Event::Done { tag, result, .. } => self.keep(tag, result),
                Event::Notice { .. } => {}
                event => panic!("{event:?}"),
            }
        }
    }

    fn abandon(&mut self, number: u64) {
        let before = self.ended.len();
        self.ended.retain(|(ended, _)| *ended != number);
        if self.ended.len() == before {
            self.abandoned.insert(number);
        }
    }

    fn execute(
        &mut self,
        command: &Command<'_>,
        payload: Payload,
    ) -> Result<(Completed, Payload), Failed> {
        self.sessions.execute(self.session(), command, payload, OTHER);
        match self.other() {
            Event::Executed { result, .. } => result,
            event => panic!("{event:?}"),
        }
    }

    fn ping(&mut self) -> Result<Duration, Error> {
        self.sessions.ping(self.session(), OTHER);
        match self.other() {
            Event::Pong { result, .. } => result,
            event => panic!("{event:?}"),
        }
    }

    fn force_reconnect(&mut self) -> Result<(), Error> {
        self.sessions.force_reconnect(self.session(), OTHER);
        match self.other() {
            Event::Connected { result, .. } => result,
            event => panic!("{event:?}"),
        }
    }

    fn reconnect(&mut self) -> Result<(), Error> {
        self.sessions.reconnect(self.session(), OTHER);
        match self.other() {
            Event::Connected { result, .. } => result,
            event => panic!("{event:?}"),
        }
    }

    fn standing(&mut self) -> Standing {
        // What has come is taken first; a loop that looks has looked after its sessions, too.
        let kept = self.ended.len();
        while !self.abandoned.is_empty() && self.ended.len() == kept {
            match self.event() {
                Event::Done { tag, result, .. } => self.keep(tag, result),
                event => panic!("{event:?}"),
            }
        }
        self.sessions.status(self.session()).expect("it is there").into()
    }

    fn capacity(&self) -> u64 {
        let geometry = self.disk.and_then(|disk| self.sessions.geometry(disk));
        geometry.expect("it was opened").capacity()
    }

    fn shut_down(mut self: Box<Self>) -> Result<(), Error> {
        self.sessions.close(self.session());
        match self.other() {
            Event::Closed { result, .. } => result,
            event => panic!("{event:?}"),
        }
    }
}
