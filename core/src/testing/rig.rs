//! Initiator, link, clock and scripted target, wired up.

use alloc::boxed::Box;
use alloc::format;
use alloc::vec::Vec;
use core::time::Duration;

use super::clock::Clock;
use super::disk::{Disk, Service};
use super::memory::Memory;
use super::pipe::Faults;
use super::recorder::Recorder;
use super::rng::Rng;
use super::script::{End, Piece};
use super::scripted::{Connecting, ScriptedTarget};
use super::strict::StrictDriver;
use super::told::Told;
use super::wire::Link;
use crate::auth::Entropy;
use crate::driver::RecvBuf;
use crate::text::Limits;
use crate::wire::TargetPdu;
use crate::{
    Action, Command, Config, ConfigBuilder, Direction, InlineSession, Instant, IscsiName,
    LostReason, Lun, Portal, ProtocolError, Session, SessionState, TaskId, TaskOutcome, Transfer,
};

/// The most steps of one run.
const STEPS: u32 = 2_000_000;

/// A session under test with everything around it: strict driver, link with faults, scripted target, virtual clock.
///
/// Time stands still in [`run`](Self::run), but for bytes that are under way; [`advance`](Self::advance) lets it pass and stops at every
/// deadline.
///
/// ```
/// use iscsi_core::testing::{Disk, Rig};
/// let mut rig = Rig::serving(Disk::new(16));
/// let task = rig.read(2, 4);
/// rig.run();
/// assert!(rig.outcome(task).is_good());
/// assert_eq!(rig.memory.read(task), &rig.disk().bytes[1024..3072]);
/// ```
#[derive(Debug)]
pub struct Rig {
    /// The time.
    pub clock: Clock,
    /// The initiator.
    pub driver: StrictDriver,
    /// The other side.
    pub target: ScriptedTarget,
    /// The memory of all tasks.
    pub memory: Memory,
    /// The connection, while there is one.
    pub link: Option<Link>,
    /// The faults of the next connection: to the target, and to the initiator.
    pub faults: [Faults; 2],
    /// Every event so far.
    pub told: Vec<Told>,
    /// Every action so far.
    pub actions: Vec<Action>,
    /// The recording of the run, if there is to be one.
    pub recorder: Option<Recorder>,
    /// Where randomness comes from.
    pub rng: Rng,
    /// Connections are refused.
    pub refuse: bool,
    logged: [usize; 2],
    /// What the target sent and the pipe did not take yet, and how much of it it took.
    output: Vec<u8>,
    written: usize,
}

impl Rig {
    /// The configuration that rigs use unless told otherwise.
    ///
    /// # Panics
    /// Never: the names are names.
    pub fn config() -> ConfigBuilder {
        let name = |name| IscsiName::new(name).expect("a name");
        Config::normal(name("iqn.2001-04.com.example:host"), name("iqn.2001-04.com.example:disk"))
    }

    /// A rig that is not connected.
    ///
    /// # Panics
    /// Never: a new session can be configured.
    pub fn new(config: Config, limits: Limits, seed: u64) -> Self {
        let session = Box::<InlineSession<8>>::default();
        Self::with(config, limits, session, RecvBuf::boxed(), seed)
    }

    /// A rig with a session and a scratch of its own.
    ///
    /// # Panics
    /// If the session is open.
    pub fn with(
        config: Config,
        limits: Limits,
        mut session: Box<Session>,
        scratch: Box<RecvBuf>,
        seed: u64,
    ) -> Self {
        session.configure(config).expect("the session is not open");
        Self {
            clock: Clock::new(),
            driver: StrictDriver::new(session, scratch, seed),
            target: ScriptedTarget::new(limits),
            memory: Memory::new(),
            link: None,
            faults: [Faults::NONE; 2],
            told: Vec::new(),
            actions: Vec::new(),
            recorder: None,
            rng: Rng::new(seed),
            refuse: false,
            logged: [0; 2],
            output: Vec::new(),
            written: 0,
        }
    }

    /// A rig that is logged in; the target waits for the test's script.
    ///
    /// # Panics
    /// If the login fails.
    pub fn scripted() -> Self {
        Self::logged_in(Self::config(), Limits::DEFAULT)
    }

    /// A rig that is logged in, with these configurations of both sides.
    ///
    /// # Panics
    /// If the login fails.
    pub fn logged_in(config: ConfigBuilder, limits: Limits) -> Self {
        let mut rig = Self::new(config.build().expect("a configuration"), limits, 1);
        rig.log_in();
        rig
    }

    /// A rig that is logged in, and whose target serves this disk.
    ///
    /// # Panics
    /// If the login fails.
    pub fn serving(disk: Disk) -> Self {
        let mut rig = Self::scripted();
        rig.target.service = Some(Service::new(disk));
        rig
    }

    /// Opens the session and runs until the login is through.
    ///
    /// # Panics
    /// If the login fails.
    pub fn log_in(&mut self) {
        self.open();
        let state = self.driver.session.state();
        assert_eq!(state, SessionState::LoggedIn, "seed {}", self.rng.seed());
        self.told.clear();
        self.actions.clear();
    }

    /// Opens the session and runs.
    ///
    /// # Panics
    /// If the session is open.
    pub fn open(&mut self) {
        let portal = Portal::parse("192.0.2.2:3260").expect("a portal");
        self.driver.session.open(portal, self.clock.now()).expect("the session is not open");
        self.driver.touch();
        self.run();
    }

    /// The disk of the service.
    ///
    /// # Panics
    /// If the target serves none.
    pub fn disk(&self) -> &Disk {
        &self.target.service.as_ref().expect("a service").disk
    }

    /// Submits a command and lends memory for it. `out` is what it sends.
    ///
    /// # Panics
    /// If the session refuses.
    pub fn submit(&mut self, command: &Command<'_>, out: &[u8]) -> TaskId {
        assert_eq!(command.transfer.out_len() as usize, out.len());
        let now = self.clock.now();
        let task = self.driver.session.submit(command, now).expect("the session takes a command");
        self.memory.take(task);
        if command.transfer.in_len() > 0 {
            self.memory.lend_in(task, command.transfer.in_len() as usize);
        }
        if !out.is_empty() {
            self.memory.lend_out(task, out.to_vec());
        }
        self.driver.touch();
        task
    }

    /// Submits a READ(10) of blocks of LUN 0.
    pub fn read(&mut self, lba: u32, blocks: u16) -> TaskId {
        let cdb = Disk::read10(lba, blocks);
        let transfer = Transfer::In(u32::from(blocks) * 512);
        self.submit(&Command::new(Lun::ZERO, &cdb, transfer), &[])
    }

    /// Submits a WRITE(10) of whole blocks of LUN 0.
    pub fn write(&mut self, lba: u32, bytes: &[u8]) -> TaskId {
        let cdb = Disk::write10(lba, (bytes.len() / 512) as u16);
        let transfer = Transfer::Out(bytes.len() as u32);
        self.submit(&Command::new(Lun::ZERO, &cdb, transfer), bytes)
    }

    /// Sends a PDU of the target with this data segment, and runs.
    pub fn send(&mut self, pdu: impl Into<TargetPdu>, data: &[u8]) {
        self.target.send(pdu, data);
        self.run();
    }

    /// The end of a task, once it was told.
    pub fn end(&self, task: TaskId) -> Option<&Told> {
        self.told.iter().find(|told| told.task() == Some(task))
    }

    /// The outcome of a task.
    ///
    /// # Panics
    /// If the task was not answered.
    pub fn outcome(&self, task: TaskId) -> TaskOutcome {
        match self.end(task) {
            Some(Told::Done { outcome, .. }) => *outcome,
            other => panic!("seed {}: {task:?}: {other:?}", self.rng.seed()),
        }
    }

    /// Why a task was lost; `None` if it was not.
    pub fn lost(&self, task: TaskId) -> Option<LostReason> {
        match self.end(task) {
            Some(Told::Lost { reason, .. }) => Some(*reason),
            _ => None,
        }
    }

    /// The rule that the session ended for; `None` if it runs or ended otherwise.
    pub fn violation(&self) -> Option<ProtocolError> {
        match self.state() {
            SessionState::Failed(LostReason::Protocol(error)) => Some(error),
            _ => None,
        }
    }

    /// Where the session stands.
    pub fn state(&self) -> SessionState {
        self.driver.session.state()
    }

    /// Runs until nothing more happens without time passing. Bytes that are under way arrive.
    ///
    /// # Panics
    /// If that never comes.
    pub fn run(&mut self) {
        for _ in 0..STEPS {
            if self.step() {
                continue;
            }
            let now = self.clock.now();
            let arrival = self.link.as_ref().and_then(|link| link.next_arrival(now));
            match [arrival, self.target.script.output_due()].into_iter().flatten().min() {
                Some(at) => self.clock.jump_to(at),
                None => return,
            }
        }
        panic!("seed {}: the run does not end, {:?}", self.rng.seed(), self.driver.wants());
    }

    /// Lets time pass and runs; every deadline on the way is met.
    ///
    /// # Panics
    /// If a run does not end.
    pub fn advance(&mut self, time: Duration) {
        let end = self.clock.now() + time;
        for _ in 0..STEPS {
            self.run();
            match self.driver.deadline().filter(|at| *at <= end) {
                Some(at) => self.clock.jump_to(at),
                None => {
                    self.clock.jump_to(end);
                    self.run();
                    return;
                }
            }
        }
        panic!("seed {}: time does not pass, {:?}", self.rng.seed(), self.driver.wants());
    }

    /// One step of everybody. True if somebody did something.
    pub fn step(&mut self) -> bool {
        let target = self.step_target();
        let turned = self.driver.turn(&mut self.memory, self.link.as_mut(), &self.clock);
        let acted = self.act();
        let told = self.listen();
        target || turned || acted || told
    }

    fn listen(&mut self) -> bool {
        let before = self.told.len();
        while let Some(event) = self.driver.session.poll_event() {
            let told = Told::from(event);
            if let Some(recorder) = &mut self.recorder {
                recorder.line(&format!("{told:?}"), self.clock.now());
            }
            self.told.push(told);
        }
        if self.told.len() != before {
            // Taking an event may free what others wait for.
            self.driver.touch();
        }
        self.told.len() != before
    }

    fn act(&mut self) -> bool {
        let mut acted = false;
        while let Some(action) = self.driver.session.poll_action() {
            acted = true;
            self.actions.push(action);
            match action {
                Action::Disconnect => {
                    if let Some(recorder) = &mut self.recorder {
                        recorder.closed(Direction::Sent, self.clock.now());
                    }
                    self.link = None;
                    self.driver.disconnected(&self.clock);
                }
                Action::Connect if self.refuse => {
                    self.driver.session.connect_failed(self.clock.now());
                }
                Action::Connect => match self.target.connects() {
                    Connecting::Refused => {
                        self.driver.session.connect_failed(self.clock.now());
                    }
                    Connecting::Ignored => {}
                    Connecting::Made => self.connected(),
                },
            }
        }
        acted
    }

    fn connected(&mut self) {
        self.link = Some(Link::new(self.faults[0], self.faults[1], &mut self.rng));
        self.logged = [0; 2];
        self.output.clear();
        self.written = 0;
        if let Some(recorder) = &mut self.recorder {
            recorder.connected(self.clock.now());
        }
        let mut bytes = [0; 64];
        self.rng.fill(&mut bytes);
        self.driver.opened(Entropy::new(bytes), &self.clock);
    }

    fn step_target(&mut self) -> bool {
        let now = self.clock.now();
        self.target.tick(now);
        let Some(link) = &mut self.link else {
            self.target.take_output();
            return false;
        };
        let mut acted = false;
        let mut bytes = [0; 4096];
        while let Ok(Some(n)) = link.to_target.read(&mut bytes, now) {
            if n == 0 {
                break;
            }
            acted = true;
            if let Some(recorder) = &mut self.recorder {
                recorder.bytes(Direction::Sent, &bytes[..n], now);
            }
            // Who has closed the connection does not listen any more; who is silent does.
            if !matches!(self.target.script.ended(), Some(End::Close | End::Reset)) {
                self.target.receive(&bytes[..n]);
            }
        }
        self.log();
        self.put_out(now) || acted
    }

    /// Hands what the target has put out to the pipe, as far as it takes it.
    fn put_out(&mut self, now: Instant) -> bool {
        let mut acted = false;
        let Some(link) = &mut self.link else { return false };
        loop {
            while self.written == self.output.len() {
                match self.target.script.poll() {
                    None => return acted,
                    Some(Piece::Bytes(bytes)) => {
                        self.output = bytes;
                        self.written = 0;
                    }
                    Some(Piece::End(End::Close)) => link.to_initiator.close(now),
                    Some(Piece::End(End::Reset)) => {
                        link.to_initiator.reset_after(now);
                        link.to_target.reset_after(now);
                    }
                    Some(Piece::End(End::Silence) | Piece::Wait(_)) => {}
                }
                acted = true;
            }
            let rest = &self.output[self.written..];
            let Ok(Some(n)) = link.to_initiator.write(rest, now) else { return acted };
            if let Some(recorder) = &mut self.recorder {
                recorder.bytes(Direction::Received, &rest[..n], now);
            }
            self.written += n;
            acted = true;
        }
    }

    /// When something happens without anybody's doing: a deadline, an arrival, the script. `None` if nothing ever does.
    pub fn next_time(&self) -> Option<Instant> {
        let arrival = self.link.as_ref().and_then(|link| link.next_arrival(self.clock.now()));
        let script = self.target.script.next_time();
        [self.driver.deadline(), arrival, script].into_iter().flatten().min()
    }

    fn log(&mut self) {
        let now = self.clock.now();
        let Some(recorder) = &mut self.recorder else { return };
        for bhs in &self.target.received()[self.logged[0]..] {
            recorder.header(Direction::Sent, bhs, now);
        }
        for bhs in &self.target.sent()[self.logged[1]..] {
            recorder.header(Direction::Received, bhs, now);
        }
        self.logged = [self.target.received().len(), self.target.sent().len()];
    }
}
