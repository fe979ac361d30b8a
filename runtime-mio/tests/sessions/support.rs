//! A loop around sessions, and targets for them.

use core::time::Duration;
use std::time::Instant;

use iscsi_core::config::{Recovery, Retry, Timeouts};
use iscsi_core::{Config, ConfigBuilder, IscsiName, Lun};
use iscsi_disk::DiskConfig;
use iscsi_runtime_mio::mio::{Events, Poll, Token};
use iscsi_runtime_mio::{Event, Lend, OpenedDisk, Options, Payload, SessionId, Sessions};
use iscsi_target::server::{Server, ServerHandle};
use iscsi_target::{RamDisk, TargetConfig};

pub(crate) fn target_name() -> IscsiName {
    IscsiName::new("iqn.2001-04.com.example:mio").unwrap()
}

/// A target with a disk of so many bytes that may be come back to at once.
pub(crate) fn target(bytes: usize) -> ServerHandle {
    target_with(bytes, |_| {})
}

pub(crate) fn target_with(bytes: usize, set: impl FnOnce(&mut TargetConfig)) -> ServerHandle {
    let mut config = TargetConfig::new(target_name());
    config.limits.default_time2wait = 0;
    set(&mut config);
    let mut server = Server::bind("127.0.0.1:0", config).unwrap();
    server.add_disk(RamDisk::new(vec![0; bytes], 512).unwrap());
    server.spawn().unwrap()
}

/// Short times, and a session that comes back for ever.
pub(crate) fn config() -> ConfigBuilder {
    let host = IscsiName::new("iqn.2001-04.com.example:host").unwrap();
    let timeouts = Timeouts {
        connect: Duration::from_secs(5),
        login: Duration::from_secs(5),
        ..Timeouts::DEFAULT
    };
    let recovery = Recovery {
        retry: Retry::Forever,
        first_delay: Duration::from_millis(20),
        longest_delay: Duration::from_millis(100),
        ..Recovery::FOREVER
    };
    Config::normal(host, target_name()).timeouts(timeouts).recovery(recovery).default_time2wait(0)
}

/// A poll with sessions in it.
pub(crate) struct Loop<M: Lend + Default = Payload> {
    pub(crate) poll: Poll,
    pub(crate) events: Events,
    pub(crate) sessions: Sessions<u64, M>,
    /// Turns of the loop.
    pub(crate) turns: u64,
}

impl Loop {
    pub(crate) fn new() -> Self {
        Self::with_memory()
    }
}

impl<M: Lend + Default> Loop<M> {
    pub(crate) fn with_memory() -> Self {
        let poll = Poll::new().unwrap();
        let sessions = Sessions::with_memory(poll.registry()).unwrap();
        Self { poll, events: Events::with_capacity(1024), sessions, turns: 0 }
    }

    /// One turn of the sessions, and one wait.
    pub(crate) fn turn(&mut self) {
        self.turns += 1;
        self.sessions.turn();
        let timeout = self.sessions.timeout().unwrap_or(Duration::from_secs(1));
        self.poll.poll(&mut self.events, Some(timeout)).unwrap();
        for event in &self.events {
            assert!(self.sessions.handle(event), "{event:?}");
        }
    }

    /// The next event, which must come within half a minute.
    pub(crate) fn next(&mut self) -> Event<u64, M> {
        let end = Instant::now() + Duration::from_secs(30);
        loop {
            if let Some(event) = self.sessions.poll_event() {
                return event;
            }
            assert!(Instant::now() < end, "nothing happens: {:?}", self.sessions);
            self.turn();
        }
    }

    pub(crate) fn connect(&mut self, token: usize, address: core::net::SocketAddr) -> SessionId {
        let config = config().build().unwrap();
        let options = Options::default();
        let token = Token(token);
        let session = self.sessions.connect(token, config, address.into(), &options, 0).unwrap();
        match self.next() {
            Event::Connected { session: connected, result: Ok(()), .. } => {
                assert_eq!(connected, session);
            }
            event => panic!("{event:?}"),
        }
        session
    }

    pub(crate) fn open(&mut self, session: SessionId) -> OpenedDisk {
        self.sessions.open(session, DiskConfig::new(Lun::ZERO), 0);
        match self.next() {
            Event::Opened { result, .. } => *result.unwrap(),
            event => panic!("{event:?}"),
        }
    }
}

/// Bytes that tell their place.
pub(crate) fn pattern(len: usize, seed: usize) -> Vec<u8> {
    (0..len).map(|at| (at * 7 + at / 251 + seed) as u8).collect()
}
