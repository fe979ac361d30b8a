//! A disk over a real session and connection, against a scripted target, on a virtual clock.
#![allow(dead_code, reason = "each test file uses a part of it")]
#![expect(clippy::std_instead_of_alloc, reason = "tests have std")]

pub(crate) mod device;
pub(crate) mod target;

use core::time::Duration;
use std::collections::HashMap;

use iscsi_core::auth::Entropy;
use iscsi_core::config::{Recovery, SecurityStart, Timeouts};
use iscsi_core::driver::{RecvBuf, pump};
use iscsi_core::{
    Action, Config, InlineConnection, Instant, IscsiName, Lun, Portal, Session, SessionState,
    Verdict,
};
use iscsi_disk::{
    Disk, DiskConfig, DiskError, DiskEvent, DiskState, Request, RequestBuffers, RequestError,
    RequestId,
};

use device::Device;
use target::Target;

/// The memory of all requests.
#[derive(Default)]
pub(crate) struct Memory(pub(crate) HashMap<RequestId, Vec<u8>>, pub(crate) Reads);

/// How reads come to their memory.
#[derive(Default, PartialEq, Eq)]
pub(crate) enum Reads {
    #[default]
    Placed,
    Consumed,
}

impl RequestBuffers for Memory {
    fn data_in(&mut self, request: RequestId, at: u64, max: u32) -> &mut [u8] {
        assert!(self.1 == Reads::Placed, "asked for memory");
        let memory = self.0.get_mut(&request).expect("memory of a running request");
        // A short run now and then.
        let len = (max as usize).min(1000);
        &mut memory[at as usize..][..max as usize][..len]
    }

    fn data_out(&self, request: RequestId, at: u64, max: u32) -> &[u8] {
        let memory = self.0.get(&request).expect("memory of a running request");
        let len = (max as usize).min(1500);
        &memory[at as usize..][..max as usize][..len]
    }

    fn consumes(&self, _request: RequestId) -> bool {
        self.1 == Reads::Consumed
    }

    fn consume(&mut self, request: RequestId, at: u64, bytes: &[u8]) {
        let memory = self.0.get_mut(&request).expect("memory of a running request");
        memory[at as usize..][..bytes.len()].copy_from_slice(bytes);
    }
}

/// Everything together.
pub(crate) struct World {
    pub(crate) disk: Box<Disk>,
    pub(crate) session: Box<Session>,
    pub(crate) connection: Box<InlineConnection>,
    pub(crate) scratch: Box<RecvBuf>,
    pub(crate) target: Target,
    pub(crate) now: Instant,
    pub(crate) memory: Memory,
    pub(crate) done: HashMap<RequestId, Result<(), DiskError>>,
    pub(crate) states: Vec<DiskState>,
    pub(crate) geometry_changes: usize,
    pub(crate) recovery: Recovery,
}

impl World {
    /// Logged in, with a started disk.
    pub(crate) fn new(device: Device) -> Self {
        let mut world = Self::idle(device, |_| {});
        world.start();
        assert_eq!(world.disk.state(), DiskState::Ready);
        world
    }

    /// Logged in, with a disk that is not started.
    pub(crate) fn idle(device: Device, tune: impl FnOnce(&mut DiskConfig)) -> Self {
        let mut config = DiskConfig::new(Lun::new(1).unwrap());
        tune(&mut config);
        let mut world = Self {
            disk: Disk::boxed(8, config),
            session: Session::boxed(8),
            connection: Box::new(InlineConnection::new()),
            scratch: RecvBuf::boxed(),
            target: Target::new(device),
            now: Instant::ZERO,
            memory: Memory::default(),
            done: HashMap::new(),
            states: Vec::new(),
            geometry_changes: 0,
            recovery: Recovery::NEVER,
        };
        world.log_in();
        world
    }

    pub(crate) fn log_in(&mut self) {
        let timeouts = Timeouts { nop_interval: None, command: None, ..Timeouts::DEFAULT };
        let name = |name| IscsiName::new(name).unwrap();
        let config = Config::normal(name("iqn.2026-01.test:me"), name("iqn.2026-01.test:disk"))
            .security_start(SecurityStart::Skip)
            .timeouts(timeouts)
            .recovery(self.recovery)
            .default_time2wait(0)
            .build()
            .unwrap();
        self.session.configure(config).unwrap();
        self.session.open(Portal::parse("127.0.0.1:3260").unwrap(), self.now).unwrap();
        for _ in 0..20 {
            self.turn();
        }
        assert_eq!(self.session.state(), SessionState::LoggedIn);
    }

    /// Connects if the session wants it.
    fn act(&mut self) {
        while let Some(action) = self.session.poll_action() {
            if action == Action::Connect {
                self.scratch.clear();
                self.target.connected();
                let entropy = Entropy::new([7; 64]);
                self.connection.opened(&mut self.session, entropy, self.now);
            }
        }
    }

    /// The connection breaks.
    pub(crate) fn cut(&mut self) {
        self.connection.received_eof(&mut self.session, self.now);
    }

    pub(crate) fn start(&mut self) {
        self.disk.start().unwrap();
        self.run_until(|world| !world.disk.is_checking());
    }

    /// Moves what can be moved once, and answers the session in the place of a disk that does not. Returns whether anything happened.
    pub(crate) fn turn(&mut self) -> bool {
        let mut any = self.turn_unverified();
        if self.session.state() == SessionState::Verifying && !self.disk.is_verifying() {
            any |= self.session.verified(Verdict::Same, self.now).is_ok();
        }
        any
    }

    /// The same while somebody else verifies.
    pub(crate) fn turn_unverified(&mut self) -> bool {
        self.act();
        let mut any = self.disk.drive(&mut self.session, self.now);
        let wants = pump(
            &mut self.connection,
            &mut self.session,
            &mut self.disk.buffers(&mut self.memory),
            &mut self.scratch,
            &mut self.target,
            self.now,
            3,
        )
        .unwrap();
        any |= wants.again || self.target.has_something_to_do();
        while let Some(event) = self.session.poll_event() {
            any |= self.disk.handle_event(&event, self.now);
        }
        while let Some(event) = self.disk.poll_event() {
            any = true;
            match event {
                DiskEvent::StateChanged(state) => self.states.push(state),
                DiskEvent::GeometryChanged => self.geometry_changes += 1,
                DiskEvent::Done { request, result } => {
                    assert!(self.done.insert(request, result).is_none(), "ended twice");
                }
                _ => {}
            }
        }
        // What ended may have made room.
        any |= self.disk.drive(&mut self.session, self.now);
        any
    }

    /// Runs until nothing moves without time passing.
    pub(crate) fn settle(&mut self) {
        while self.turn() {}
    }

    /// Runs, letting time pass where everything waits for it.
    pub(crate) fn run_until(&mut self, done: impl Fn(&Self) -> bool) {
        for _ in 0..100_000 {
            if done(self) {
                return;
            }
            if self.turn() {
                continue;
            }
            if done(self) {
                return;
            }
            let deadlines = [self.disk.poll_timeout(), self.session.poll_timeout()];
            let deadline = deadlines.into_iter().flatten().min().expect("something to wait for");
            assert!(deadline > self.now, "a deadline in the past");
            self.now = deadline;
            self.session.handle_timeout(self.now);
        }
        panic!("no end: {:?} {:?}", self.disk.state(), self.session.state());
    }

    pub(crate) fn advance(&mut self, by: Duration) {
        self.now = self.now + by;
    }

    /// Submits with memory.
    pub(crate) fn submit(
        &mut self,
        request: Request,
        memory: &[u8],
    ) -> Result<RequestId, RequestError> {
        let id = self.disk.submit(request)?;
        assert_eq!(memory.len() as u64, request.memory());
        self.memory.0.insert(id, memory.to_vec());
        Ok(id)
    }

    /// Submits and runs to the end.
    pub(crate) fn execute(
        &mut self,
        request: Request,
        memory: &[u8],
    ) -> Result<Vec<u8>, DiskError> {
        let id = self.submit(request, memory).expect("accepted");
        self.wait(id)
    }

    pub(crate) fn wait(&mut self, id: RequestId) -> Result<Vec<u8>, DiskError> {
        self.run_until(|world| world.done.contains_key(&id));
        let memory = self.memory.0.remove(&id).unwrap();
        self.done.remove(&id).unwrap().map(|()| memory)
    }

    pub(crate) fn read(&mut self, offset: u64, len: usize) -> Result<Vec<u8>, DiskError> {
        self.execute(Request::read(offset, len as u64), &vec![0xee; len])
    }

    pub(crate) fn write(&mut self, offset: u64, data: &[u8]) -> Result<(), DiskError> {
        self.execute(Request::write(offset, data.len() as u64), data).map(|_| ())
    }
}
