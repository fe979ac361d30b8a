//! Both engines, what connects them, and what is checked after every step.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use iscsi_core::auth::Entropy;
use iscsi_core::digest::DigestKind;
use iscsi_core::driver::RecvBuf;
use iscsi_core::testing::{Clock, Faults, Link, Memory, PduFault, Rng, StrictDriver, Tap, Told};
use iscsi_core::wire::TaskManagementResponseCode;
use iscsi_core::{
    Action, Command, Direction, Instant, LostReason, Lun, Portal, ProtocolError, SessionState,
    SubmitError, TaskId, TaskManagement, TaskManagementId, Transfer, Verdict,
};
use iscsi_scsi::capacity::ReadCapacity10;
use iscsi_scsi::primary::{Inquiry, TestUnitReady};
use iscsi_target::Target;

use crate::Finding;
use crate::comeback::{Comeback, Plan};
use crate::count::{self, Counts};
use crate::far::Far;
use crate::log::Log;
use crate::mutate;
use crate::replay::Tape;
use crate::sabotage::Sabotage;
use crate::scenario::Rules;
use crate::setup::{CONNECT, Setup, pick, scratch};
use crate::watch::Watch;

/// The most steps between two rests.
const STEPS: u32 = 2_000_000;

/// The longest time between two rests, in microseconds: an hour.
const PATIENCE: u64 = 3_600_000_000;

/// A connection whose bits flip has one in so many thousands of its writes hit.
const FLIP: u16 = 8;

/// So many attempts to connect in a row may come to nothing because they take longer than the initiator waits.
const LATE: u32 = 8;

/// How often the initiator asks for a PDU whose data arrived damaged. If what comes then is damaged too, it gives the connection up.
const TRIES: u32 = 4;

/// How a task management function ended.
type Managed = Result<TaskManagementResponseCode, LostReason>;

/// A strict initiator, a target, and what connects them.
#[derive(Debug)]
pub(crate) struct Pair<'a> {
    pub(crate) rng: Rng,
    pub(crate) clock: Clock,
    pub(crate) driver: StrictDriver,
    pub(crate) memory: Memory,
    pub(crate) rules: Rules,
    pub(crate) log: Log,
    /// What the initiator is told and asked on its first connection, to be played again.
    pub(crate) tape: Option<Tape>,
    pub(crate) connections: u32,
    pub(crate) steps: u64,
    pub(crate) pdus: [u64; 2],
    pub(crate) counts: Counts,
    network: Faults,
    bad_connections: u32,
    flips_wanted: bool,
    pub(crate) comeback: Comeback,
    /// Why the initiator has given up the session, if what the network did to its last connection is a reason for that.
    pub(crate) given_up_for: Option<LostReason>,
    /// When a connection is made, or refused.
    connecting: Option<(Instant, bool)>,
    /// Attempts in a row that took too long.
    late: u32,
    damage: u16,
    level_1: bool,
    sabotage: Option<Sabotage>,
    near: Option<Far>,
    /// The connection before: the target may not know yet that it is gone.
    ghost: Option<Far>,
    target: Target<'a>,
    watch: Watch,
    /// Tasks whose end was not told yet.
    live: BTreeSet<u64>,
    /// Tasks whose end will not be told.
    silent: BTreeMap<u64, TaskId>,
    ends: BTreeMap<u64, Told>,
    managing: Option<TaskManagementId>,
    managed: Option<Managed>,
}

impl<'a> Pair<'a> {
    pub(crate) fn new(
        setup: &Setup,
        target: Target<'a>,
        rules: Rules,
        sabotage: Option<Sabotage>,
        log: Log,
        rng: Rng,
    ) -> Result<Self, Finding> {
        let mut rng = rng;
        let mut driver = StrictDriver::new(setup.session()?, scratch(&mut rng), rng.seed());
        driver.set_peeking(setup.peeks);
        Ok(Self {
            clock: Clock::new(),
            driver,
            memory: if setup.scattered { Memory::scattered(100) } else { Memory::new() },
            rules,
            log,
            tape: None,
            connections: 0,
            steps: 0,
            pdus: [0; 2],
            counts: Counts::new(),
            network: setup.network,
            bad_connections: setup.bad_connections,
            flips_wanted: false,
            comeback: Comeback::new(*setup.initiator.recovery()),
            given_up_for: None,
            connecting: None,
            late: 0,
            damage: setup.damage,
            level_1: setup.level_1,
            sabotage,
            near: None,
            ghost: None,
            target,
            watch: Watch::default(),
            live: BTreeSet::new(),
            silent: BTreeMap::new(),
            ends: BTreeMap::new(),
            managing: None,
            managed: None,
            rng,
        })
    }

    pub(crate) fn state(&self) -> SessionState {
        self.driver.session.state()
    }

    pub(crate) fn is_logged_in(&self) -> bool {
        self.state() == SessionState::LoggedIn
    }

    /// Jobs may be started: also while a session comes back.
    pub(crate) fn takes_tasks(&self) -> bool {
        let comes_back = self.rules.recovers && !self.comeback.given_up;
        let open = !matches!(self.state(), SessionState::Idle | SessionState::LoggingOut);
        self.is_logged_in() || comes_back && open
    }

    /// Connections from now on have no faults that take long or lose anything.
    pub(crate) const fn calm(&mut self) {
        self.bad_connections = 0;
        self.damage = 0;
        // The last look at the disks is not what a fuzzer is to find new ways for.
        let split = if self.rng.is_for_fuzzing() { 0 } else { self.network.split };
        self.network = Faults { split, ..Faults::NONE };
    }

    /// Whatever comes from now on is what was sent: the target has no connection left on which it was not.
    pub(crate) fn trust(&mut self) {
        for mut far in [self.ghost.take(), self.near.take()].into_iter().flatten() {
            far.close(&mut self.target);
        }
        self.rules.blind = false;
    }

    pub(crate) fn open(&mut self) -> Result<(), Finding> {
        let portal = Portal::parse("192.0.2.2:3260").map_err(|e| e.to_string())?;
        self.driver.session.open(portal, self.clock.now()).map_err(|e| format!("open: {e}"))?;
        self.comeback.given_up = false;
        self.given_up_for = None;
        self.driver.touch();
        Ok(())
    }

    /// Submits a command with its memory. `None` if the table is full.
    pub(crate) fn submit(
        &mut self,
        command: &Command<'_>,
        out: &[u8],
    ) -> Result<Option<TaskId>, Finding> {
        let session = &mut self.driver.session;
        let full = session.in_use() == session.capacity();
        let task = match session.submit(command, self.clock.now()) {
            Ok(_) if full => return Err("a full table took a task".into()),
            Ok(task) => task,
            Err(SubmitError::NoFreeTask) if full => return Ok(None),
            Err(error) => return Err(format!("submit: {error}")),
        };
        if command.transfer.in_len() > 0 {
            self.memory.lend_in(task, command.transfer.in_len() as usize);
        }
        if !out.is_empty() {
            self.memory.lend_out(task, out.to_vec());
        }
        if let Some(tape) = &mut self.tape {
            tape.submitted(command, out);
        }
        self.log.line(self.clock.now(), || format!("submit {task:?} {:02x?}", command.cdb));
        self.driver.touch();
        if !self.live.insert(task.to_bits()) {
            return Err(format!("{task:?} was given twice"));
        }
        Ok(Some(task))
    }

    /// The end of a task, once.
    pub(crate) fn take_end(&mut self, task: TaskId) -> Option<Told> {
        self.ends.remove(&task.to_bits())
    }

    pub(crate) fn abort(&mut self, task: TaskId) {
        self.log.line(self.clock.now(), || format!("abort {task:?}"));
        // It may have ended with a part of a PDU still to be sent.
        let _ = self.driver.session.abort(task, self.clock.now());
        self.driver.touch();
    }

    /// Asks for a task management function; false if one is under way.
    pub(crate) fn manage(&mut self, request: TaskManagement) -> Result<bool, Finding> {
        if self.managing.is_some() {
            return Ok(false);
        }
        let now = self.clock.now();
        match self.driver.session.task_management(request, now) {
            Ok(id) => self.managing = Some(id),
            Err(SubmitError::NotOpen) if !self.is_logged_in() => return Ok(false),
            Err(error) => return Err(format!("{request:?}: {error}")),
        }
        self.log.line(now, || format!("ask {request:?}"));
        self.driver.touch();
        Ok(true)
    }

    pub(crate) const fn is_managing(&self) -> bool {
        self.managing.is_some()
    }

    pub(crate) const fn take_managed(&mut self) -> Option<Managed> {
        self.managed.take()
    }

    /// The application does not want to hear of a task any more.
    pub(crate) fn detach(&mut self, task: TaskId) -> Result<(), Finding> {
        self.log.line(self.clock.now(), || format!("detach {task:?}"));
        self.driver.session.detach(task).map_err(|e| format!("detach: {e}"))?;
        self.driver.touch();
        self.silence(task)
    }

    /// The application needs a task's memory now.
    pub(crate) fn revoke(&mut self, task: TaskId) -> Result<(), Finding> {
        self.log.line(self.clock.now(), || format!("revoke {task:?}"));
        let now = self.clock.now();
        let (connection, session) = self.driver.ask();
        connection.revoke(task, session, now).map_err(|e| format!("revoke: {e}"))?;
        self.memory.take(task);
        self.silence(task)
    }

    fn silence(&mut self, task: TaskId) -> Result<(), Finding> {
        if !self.live.remove(&task.to_bits()) {
            return Err(format!("{task:?} was not running"));
        }
        self.silent.insert(task.to_bits(), task);
        Ok(())
    }

    /// The engine has let go of a task without an end event.
    pub(crate) fn has_let_go(&mut self, task: TaskId) -> bool {
        let gone = !self.driver.session.holds(task);
        if gone {
            self.silent.remove(&task.to_bits());
        }
        gone
    }

    pub(crate) fn log_out(&mut self) -> Result<(), Finding> {
        self.log.line(self.clock.now(), || "log out".into());
        self.driver.session.logout(self.clock.now()).map_err(|e| format!("logout: {e}"))?;
        self.comeback.given_up = true;
        self.driver.touch();
        if let Some(tape) = &mut self.tape {
            tape.logged_out();
        }
        Ok(())
    }

    /// One step of everybody. True if somebody did something.
    pub(crate) fn step(&mut self) -> Result<bool, Finding> {
        self.steps += 1;
        let link = self.near.as_mut().map(|far| &mut far.link);
        let turned = self.driver.turn(&mut self.memory, link, &self.clock);
        self.look_on()?;
        let told = self.listen()?;
        let acted = self.act()?;
        let connected = self.make_connection();
        let verified = self.verify()?;
        let served = self.serve();
        self.check_waiting()?;
        // A name that changed on its way is another initiator's.
        if self.target.sessions().count() > 1 && !self.rules.blind {
            return Err("the target has two sessions of one initiator".into());
        }
        Ok(turned || told || acted || connected || verified || served)
    }

    /// Checks what passed the initiator's end.
    fn look_on(&mut self) -> Result<(), Finding> {
        let now = self.clock.now();
        let Some(tap) = self.near.as_mut().and_then(|far| far.link.tap.as_mut()) else {
            return Ok(());
        };
        for (direction, at, bytes) in tap.take_bytes() {
            self.log.bytes(direction, &bytes, at);
            match (&mut self.tape, direction) {
                (Some(tape), Direction::Received) => tape.received(bytes),
                (Some(tape), Direction::Sent) => tape.sent(),
                _ => {}
            }
        }
        for (direction, bhs) in tap.take_headers() {
            self.log.header(direction, &bhs, now);
            if !self.rules.blind {
                self.watch.header(direction, &bhs, self.rules.damages())?;
            }
        }
        Ok(())
    }

    /// Takes what the session tells.
    fn listen(&mut self) -> Result<bool, Finding> {
        let mut any = false;
        while let Some(event) = self.driver.session.poll_event() {
            any = true;
            let told = Told::from(event);
            self.log.line(self.clock.now(), || format!("{told:?}"));
            if let Told::State(state) = &told {
                self.comeback.stage = Some(*state);
            }
            match &told {
                Told::State(SessionState::LoggedIn) => self.start_flipping(),
                Told::State(SessionState::Failed(reason)) => {
                    self.comeback.given_up = true;
                    self.given_up_for = Some(*reason).filter(|r| self.was_damaged_too_often(*r));
                }
                Told::ConnectionLost(_) => {
                    let what = match self.comeback.stage {
                        Some(SessionState::LoggingIn) => "logins lost",
                        Some(SessionState::Verifying) => "verifications lost",
                        _ => "other losses",
                    };
                    count::add(&mut self.counts, "session", what, 1);
                    let session = &self.driver.session;
                    let time2wait = session.negotiated().default_time2wait;
                    let (losses, now) = (session.counters().connections_lost, self.clock.now());
                    self.comeback.lost(losses, time2wait, now);
                }
                Told::NeedVerify => {
                    self.start_flipping();
                    let now = self.clock.now();
                    self.comeback.need_verify(self.is_calm(), &mut self.rng, now);
                }
                Told::Managed { id, result } => {
                    if self.managing != Some(*id) {
                        return Err(format!("{id:?} was not asked for, or ended twice"));
                    }
                    self.managing = None;
                    self.managed = Some(*result);
                }
                Told::AsyncMessage => {
                    let _ = self.driver.poll_async();
                }
                _ => {}
            }
            let Some(task) = told.task() else { continue };
            if self.comeback.looking.remove(&task.to_bits()) {
                self.memory.take(task);
                continue;
            }
            if !self.live.remove(&task.to_bits()) {
                return Err(format!("{task:?} ended although it does not run: {told:?}"));
            }
            if let Some(tape) = &mut self.tape {
                tape.ended(&told, self.memory.read(task));
            }
            self.ends.insert(task.to_bits(), told);
        }
        if any {
            // Taking an event may free what others wait for.
            self.driver.touch();
        }
        let session = &self.driver.session;
        let silent = self.silent.values().filter(|task| session.holds(**task)).count();
        if session.in_use() != self.live.len() + silent {
            let live = self.live.len();
            let held = session.in_use();
            return Err(format!("{held} tasks are in use, {live} live and {silent} detached"));
        }
        Ok(any)
    }

    /// Whether the initiator may give up a connection for this reason: one PDU came damaged as often as it was asked for.
    fn was_damaged_too_often(&mut self, reason: LostReason) -> bool {
        let told = self.sabotage != Some(Sabotage::UntoldDamage);
        let hits = match &self.near {
            Some(far) if told => far.link.to_initiator.most_damaged(),
            _ => 0,
        };
        self.log.line(self.clock.now(), || format!("a PDU was damaged {hits} times"));
        let too_often = reason == LostReason::Protocol(ProtocolError::DataDigest) && hits > TRIES;
        count::add(&mut self.counts, "session", "given up for one PDU", too_often.into());
        too_often
    }

    /// From the login on bits flip: before it there is no digest.
    fn start_flipping(&mut self) {
        let Some(far) = self.near.as_mut().filter(|_| self.flips_wanted) else { return };
        let faults = Faults { flip: FLIP, ..self.network };
        self.log.line(self.clock.now(), || format!("bits flip from now on: {faults:?}"));
        far.link.to_target.set_faults(faults);
        far.link.to_initiator.set_faults(faults);
    }

    /// Does what the session asks of a runtime, however often it asks.
    fn act(&mut self) -> Result<bool, Finding> {
        let mut acted = false;
        while let Some(action) = self.driver.session.poll_action() {
            acted = true;
            self.log.line(self.clock.now(), || format!("{action:?}"));
            match action {
                Action::Connect => self.connect()?,
                _ => self.disconnect(),
            }
        }
        Ok(acted)
    }

    /// Connects at once, or later; or it will be refused.
    fn connect(&mut self) -> Result<(), Finding> {
        let now = self.clock.now();
        self.leave();
        if let Some(status) = self.driver.session.recovery() {
            count::add(&mut self.counts, "session", "attempts to come back", 1);
            self.comeback.attempt(&status, now)?;
        }
        let uneasy = self.rules.recovers && !self.is_calm();
        let refused = uneasy && self.rng.below(3) == 0;
        if refused {
            self.bad_connections -= 1;
            count::add(&mut self.counts, "session", "connections refused", 1);
        }
        let mut millis = if uneasy { pick(&mut self.rng, &[0, 0, 1, 700, 6_000]) } else { 0 };
        // Else bytes could keep away every attempt: what comes to nothing uses up no bad connection.
        self.late = if Duration::from_millis(millis) > CONNECT { self.late + 1 } else { 0 };
        if self.late > LATE {
            (self.late, millis) = (0, 0);
        }
        self.connecting = Some((now + Duration::from_millis(millis), refused));
        Ok(())
    }

    const fn is_calm(&self) -> bool {
        self.bad_connections == 0
    }

    /// What becomes of the request to connect, when it is time.
    fn make_connection(&mut self) -> bool {
        let now = self.clock.now();
        let Some((_, refused)) = self.connecting.take_if(|(at, _)| *at <= now) else {
            return false;
        };
        if refused {
            self.log.line(now, || "refused".into());
            self.driver.session.connect_failed(now);
            self.driver.touch();
        } else {
            self.connected();
        }
        true
    }

    /// Verifies the devices, as the application does it.
    fn verify(&mut self) -> Result<bool, Finding> {
        let now = self.clock.now();
        let session = &mut self.driver.session;
        if session.state() != SessionState::Verifying {
            self.comeback.plan = None;
            return Ok(false);
        }
        match self.comeback.plan {
            Some(Plan::Look(at, commands)) if at <= now && self.comeback.looking.len() < 2 => {
                let lun = Lun::ZERO;
                let (cdb, transfer) = match commands % 3 {
                    0 => (Inquiry::default().cdb(), Transfer::In(96)),
                    1 => (ReadCapacity10.cdb(), Transfer::In(8)),
                    _ => (TestUnitReady.cdb(), Transfer::None),
                };
                let command = Command::new(lun, cdb.as_bytes(), transfer);
                let task = session
                    .submit_verification(&command, now)
                    .map_err(|e| format!("a verification command: {e}"))?;
                self.memory.lend_in(task, transfer.in_len() as usize);
                self.log.line(now, || format!("verify {task:?}"));
                if !self.comeback.looking.insert(task.to_bits()) {
                    return Err(format!("{task:?} was given twice"));
                }
                self.comeback.plan = Some(match commands {
                    1 => Plan::Answer(at),
                    _ => Plan::Look(at, commands - 1),
                });
                let full = session.in_use() == session.capacity();
                count::add(&mut self.counts, "session", "verification commands", 1);
                count::add(&mut self.counts, "session", "the same with a full table", full.into());
            }
            Some(Plan::Answer(at)) if at <= now && self.comeback.looking.is_empty() => {
                self.log.line(now, || "verified".into());
                session.verified(Verdict::Same, now).map_err(|e| format!("verified: {e}"))?;
                self.comeback.plan = None;
                self.watch.unverified = None;
            }
            _ => return Ok(false),
        }
        self.driver.touch();
        Ok(true)
    }

    /// The application is impatient: another connection, or the next attempt at once.
    pub(crate) fn hurry(&mut self) -> Result<(), Finding> {
        let now = self.clock.now();
        let session = &mut self.driver.session;
        let waits = matches!(session.state(), SessionState::Waiting(_));
        let result = if waits && self.rng.below(2) == 0 {
            session.retry_now(now)
        } else {
            session.force_reconnect(now)
        };
        self.log.line(now, || format!("hurry: {result:?}"));
        match result {
            Ok(()) => self.comeback.hurried |= waits,
            Err(SubmitError::NotOpen | SubmitError::LoggingOut) if !waits => {}
            Err(error) => return Err(format!("hurry: {error}")),
        }
        self.driver.touch();
        Ok(())
    }

    fn connected(&mut self) {
        let now = self.clock.now();
        self.connections += 1;
        let session = &self.driver.session;
        let verifies = session.recovery().is_some() && self.comeback.policy.verify;
        let capacity = session.capacity() as u32;
        // Tags have room for the table, two commands that verify and five others.
        let mask = (capacity + 7).next_power_of_two() - 1;
        self.watch = self.watch.next(self.level_1, verifies.then_some((mask, capacity)));
        let mut link = self.new_link();
        let keeps = self.log.is_recording() || self.tape.is_some();
        link.tap = Some(if keeps { Tap::keeping_bytes() } else { Tap::new() });
        self.log.connected(now);
        let mut bytes = [0; 64];
        self.rng.fill(&mut bytes);
        let scratch = scratch(&mut self.rng);
        self.near = Some(Far::open(link, scratch, Entropy::new(bytes), &self.target, now));
        self.rng.fill(&mut bytes);
        if let Some(tape) = &mut self.tape {
            tape.opened(bytes);
        }
        self.driver.opened(Entropy::new(bytes), &self.clock);
    }

    /// The next connection with its faults.
    fn new_link(&mut self) -> Link {
        let rng = &mut self.rng;
        let is_bad = self.bad_connections > 0;
        self.bad_connections = self.bad_connections.saturating_sub(1);
        // Where there are several kinds of faults, not all of them are on every connection.
        let mixed = self.rules.cuts && self.rules.damages();
        let mut has = |kind: bool| kind && is_bad && (!mixed || rng.below(2) == 0);
        let (cut, flips, pdus, mutates) = (
            has(self.rules.cuts),
            has(self.rules.flips),
            has(self.rules.pdus),
            has(self.rules.mutates),
        );
        let mut faults = [self.network; 2];
        if cut {
            let most = pick(&mut self.rng, &[1_500, 10_000, 60_000]);
            // With luck in the middle of a login, or of what follows it.
            let most = if self.rules.recovers && self.rng.below(2) == 0 { 900 } else { most };
            faults[self.rng.below(2) as usize].cut = Some(200 + self.rng.below(most));
        }
        self.flips_wanted = flips || self.sabotage == Some(Sabotage::FlipsWithoutDigests);
        let mut link = Link::new(faults[0], faults[1], &mut self.rng);
        let mut plans = [Vec::new(), Vec::new()];
        if pdus {
            for (plan, pipe) in plans.iter_mut().zip([&mut link.to_target, &mut link.to_initiator])
            {
                let most = pick(&mut self.rng, &[12, 40, 150]);
                for _ in 0..self.rng.below(4) {
                    let kinds = [PduFault::Drop, PduFault::Repeat, PduFault::Swap];
                    plan.push((self.rng.below(most), pick(&mut self.rng, &kinds)));
                }
                pipe.set_pdu_faults(plan, DigestKind::None, DigestKind::None);
            }
        }
        if self.damage > 0 {
            for pipe in [&mut link.to_target, &mut link.to_initiator] {
                pipe.damage_data(self.damage, DigestKind::None, DigestKind::None);
            }
        }
        if mutates {
            let mutations = mutate::draw(&mut self.rng);
            for (list, pipe) in mutations.iter().zip([&mut link.to_target, &mut link.to_initiator])
            {
                pipe.mutate(list, !self.rules.blind);
            }
            self.log.line(self.clock.now(), || format!("{mutations:?}"));
        }
        self.log.line(self.clock.now(), || format!("faults {faults:?}, of PDUs {plans:?}"));
        link
    }

    fn disconnect(&mut self) {
        self.leave();
        self.connecting = None;
        self.driver.disconnected(&self.clock);
    }

    /// The initiator is gone from its connection. How the target learns of that is left to chance; perhaps it does not.
    fn leave(&mut self) {
        let now = self.clock.now();
        let Some(mut far) = self.near.take() else { return };
        self.pdus[0] += self.watch.pdus[0];
        self.pdus[1] += self.watch.pdus[1];
        count::recovered(&mut self.counts, &self.driver.connection().counters().recovered);
        count::damaged(&mut self.counts, &far.link);
        self.log.closed(Direction::Sent, now);
        if let Some(mut older) = self.ghost.take() {
            older.close(&mut self.target);
        }
        match self.rng.below(4) {
            0 => {
                far.close(&mut self.target);
                return;
            }
            1 => far.link.to_target.close(now),
            2 => far.link.to_target.reset_after(now),
            _ => {}
        }
        self.ghost = Some(far);
    }

    fn serve(&mut self) -> bool {
        let mut served = false;
        // Either may be first; the older one is, as its bytes are older.
        for far in [&mut self.ghost, &mut self.near].into_iter().flatten() {
            served |= far.serve(&mut self.target, &self.clock);
        }
        if self.ghost.as_ref().is_some_and(Far::is_over) {
            self.ghost = None;
        }
        served
    }

    /// Nothing is live without something to wait for.
    fn check_waiting(&self) -> Result<(), Finding> {
        let session = &self.driver.session;
        let underway = matches!(
            session.state(),
            SessionState::Connecting | SessionState::LoggingIn | SessionState::LoggingOut
        );
        if session.in_use() == 0 && !underway {
            return Ok(());
        }
        let wants = self.driver.connection().wants(session);
        let waits = wants.read || wants.write || wants.again || self.driver.deadline().is_some();
        if waits || self.near.is_none() { Ok(()) } else { Err(format!("nobody waits: {wants:?}")) }
    }

    /// What is asked of the initiator has no end yet.
    fn is_busy(&self) -> bool {
        let silent = self.silent.values().any(|task| self.driver.session.holds(*task));
        let settled = matches!(
            self.state(),
            SessionState::Idle
                | SessionState::LoggedIn
                | SessionState::Closed
                | SessionState::Failed(_)
        );
        !settled || silent || !self.live.is_empty() || self.managing.is_some()
    }

    /// When something happens next without anybody doing anything.
    fn next_event(&self) -> Option<Instant> {
        let now = self.clock.now();
        let fars = || [&self.near, &self.ghost].into_iter().flatten();
        let connecting = self.connecting.map(|(at, _)| at);
        let asked = [connecting, self.comeback.next()].into_iter().flatten();
        let arrivals = fars().filter_map(|far| far.link.next_arrival(now)).chain(asked);
        let arrival = arrivals.filter(|at| *at > now).min();
        if !self.rules.is_timed() || !self.is_busy() {
            return arrival;
        }
        let deadlines = fars().filter_map(Far::deadline).chain(self.driver.deadline());
        deadlines.filter(|at| *at > now).chain(arrival).min()
    }

    /// Runs until nothing more happens. Time passes for the bytes that are under way; where deadlines are what notices a loss, also
    /// until everything that is under way has ended.
    pub(crate) fn settle(&mut self) -> Result<(), Finding> {
        let start = self.clock.now().as_micros();
        for _ in 0..STEPS {
            if self.step()? {
                continue;
            }
            match self.next_event() {
                Some(at) if at.as_micros() - start < PATIENCE => self.clock.jump_to(at),
                Some(_) => return Err(format!("an hour passed: {:?}", self.driver.wants())),
                None if self.is_busy() => {
                    let live: Vec<_> = self.live.iter().map(|id| TaskId::from_bits(*id)).collect();
                    let (state, wants) = (self.state(), self.driver.wants());
                    return Err(format!("{live:?} never end, {state:?}, {wants:?}"));
                }
                None => return Ok(()),
            }
        }
        Err(format!("the run does not end, {:?}", self.driver.wants()))
    }
}

/// A scratch for the replays.
pub(crate) fn tiny_scratch() -> Box<RecvBuf> {
    Box::new(RecvBuf::new([0; 1]))
}
