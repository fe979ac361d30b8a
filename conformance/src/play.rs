//! One run: the application's jobs against the scripted target, in virtual time.

use core::time::Duration;
use std::collections::BTreeMap;

use iscsi_core::driver::RecvBuf;
use iscsi_core::testing::{Disk, Rig, Rule, Told};
use iscsi_core::{
    Action, Command, DiscoveryItem, DiscoveryScope, Instant, LostReason, Portal, Session,
    SessionState, SubmitError, TaskManagement, Transfer,
};

use crate::case::{Job, Request, Setup, pattern};
use crate::observe::{Attempt, Notice, Observation, Task, with_probe};

/// The most steps of a run.
const STEPS: u32 = 5_000_000;

/// Where the final READ reads.
const PROBE: (u32, u16) = (8, 16);

/// Runs a set-up with these rules, to its end.
///
/// # Panics
/// If the engine panics or turns in circles, or does to an honest target what it must not do.
pub fn play(setup: &Setup, rules: &[Rule]) -> Observation {
    let config = setup.config.clone().build().expect("a configuration that can be built");
    let session = Session::boxed(setup.depth);
    let mut rig = Rig::with(config, setup.limits, session, RecvBuf::boxed(), setup.seed);
    rig.faults = setup.faults;
    let target = &mut rig.target;
    target.service = Some(setup.service.service());
    target.chap.clone_from(&setup.chap);
    target.nodes.clone_from(&setup.nodes);
    target.window = setup.window;
    target.stat_sn.0 = setup.stat_sn;
    target.journal = Some(Vec::new());
    for rule in rules {
        target.script.add(rule.clone());
    }
    let mut player = Player {
        rig,
        seen: empty(setup),
        jobs: setup.jobs.clone(),
        next: 0,
        settling: !setup.early,
        sleeping: None,
        discovering: false,
        managing: 0,
        polled: 0,
        told: 0,
        actions: 0,
        ends: BTreeMap::new(),
        finished: false,
    };
    player.open();
    player.run(setup.time);
    player.close()
}

/// Where the target is.
pub(crate) fn portal() -> Portal {
    Portal::parse("192.0.2.2:3260").expect("a portal")
}

fn empty(setup: &Setup) -> Observation {
    Observation {
        end: SessionState::Idle,
        told: Vec::new(),
        actions: Vec::new(),
        connections: Vec::new(),
        failed_on: None,
        pdus: Vec::new(),
        tasks: Vec::new(),
        probed: false,
        negotiated: Vec::new(),
        items: Vec::new(),
        notices: Vec::new(),
        refused: BTreeMap::new(),
        alias: None,
        moved_to: None,
        logout_response: None,
        bytes_taken: 0,
        fired: Vec::new(),
        complaints: Vec::new(),
        took: Duration::ZERO,
        broken: Vec::new(),
        setup: setup.clone(),
    }
}

struct Player {
    rig: Rig,
    seen: Observation,
    jobs: Vec<Job>,
    next: usize,
    settling: bool,
    sleeping: Option<Instant>,
    discovering: bool,
    managing: usize,
    /// PDUs that had come when the discovery was asked last.
    polled: u64,
    told: usize,
    actions: usize,
    /// What the memory of ended tasks held.
    ends: BTreeMap<usize, Vec<u8>>,
    finished: bool,
}

impl Player {
    fn open(&mut self) {
        let now = self.rig.clock.now();
        if let Err(error) = self.rig.driver.session.open(portal(), now) {
            self.seen.refused.insert(self.next, error);
        }
        self.rig.driver.touch();
    }

    fn run(&mut self, time: Duration) {
        let end = Instant::ZERO + time;
        for _ in 0..STEPS {
            let acted = self.rig.step();
            self.watch();
            if acted || self.work() {
                continue;
            }
            if self.finished {
                return;
            }
            self.check_deadlines();
            let times = [self.rig.next_time(), self.sleeping];
            match times.into_iter().flatten().min() {
                Some(at) if at <= end => self.rig.clock.jump_to(at),
                at => {
                    self.seen.broken.push(format!("the run does not end: next at {at:?}"));
                    return;
                }
            }
        }
        panic!("seed {}: the run turns in circles", self.rig.rng.seed());
    }

    /// Whatever waits must have a deadline.
    fn check_deadlines(&mut self) {
        let waits = match self.state() {
            SessionState::Connecting
            | SessionState::LoggingIn
            | SessionState::LoggingOut
            | SessionState::Waiting(_)
            | SessionState::Verifying => true,
            SessionState::LoggedIn => self.rig.driver.session.in_use() > 0 || self.managing > 0,
            _ => false,
        };
        if waits && self.rig.driver.deadline().is_none() {
            self.seen.broken.push(format!("{:?} without a deadline", self.state()));
        }
    }

    fn state(&self) -> SessionState {
        self.rig.driver.session.state()
    }

    /// Keeps what can be seen now.
    fn watch(&mut self) {
        let now = self.rig.clock.now();
        while let Some(action) = self.rig.actions.get(self.actions).copied() {
            self.actions += 1;
            self.seen.actions.push((now, action));
            match action {
                Action::Connect => self.seen.connections.push(Attempt {
                    portal: self
                        .rig
                        .driver
                        .session
                        .portal()
                        .map(ToString::to_string)
                        .unwrap_or_default(),
                    at: now,
                    over: None,
                }),
                Action::Disconnect => self.attempt_over(now),
                _ => {}
            }
        }
        while let Some(told) = self.rig.told.get(self.told).cloned() {
            self.told += 1;
            self.hear(&told, now);
            self.seen.told.push((now, told));
        }
        if self.discovering && !self.lives() {
            self.discovering = false;
        }
        let received = self.rig.driver.connection().counters().pdus_received;
        if self.discovering && received != self.polled {
            self.polled = received;
            while let Some(item) = self.rig.driver.poll_discovery(&self.rig.clock) {
                let over = matches!(item, DiscoveryItem::Done | DiscoveryItem::Failed(_));
                self.discovering &= !over;
                self.seen.items.push(item);
            }
        }
        for (number, before) in &self.ends {
            let id = self.seen.tasks[*number].id;
            if id.is_some_and(|id| self.rig.memory.read(id) != before) {
                let law = format!("bytes of task {number} were placed after its end");
                if !self.seen.broken.contains(&law) {
                    self.seen.broken.push(law);
                }
            }
        }
    }

    fn attempt_over(&mut self, now: Instant) {
        if let Some(attempt) = self.seen.connections.last_mut() {
            attempt.over.get_or_insert(now);
        }
    }

    fn hear(&mut self, told: &Told, now: Instant) {
        match told {
            Told::State(SessionState::LoggedIn) => {
                self.seen.negotiated.push(*self.rig.driver.session.negotiated());
            }
            Told::State(SessionState::Failed(reason)) => {
                if *reason == LostReason::ConnectFailed {
                    self.attempt_over(now);
                }
                let current = self.seen.connections.len().checked_sub(1);
                self.seen.failed_on = self.seen.failed_on.or(current);
            }
            Told::ConnectionLost(reason) => {
                // A discovery ends with its connection.
                self.discovering = false;
                if *reason == LostReason::ConnectFailed {
                    self.attempt_over(now);
                }
            }
            Told::AsyncMessage => {
                if let Some(notice) = self.rig.driver.poll_async() {
                    let (code, sense) = (notice.event.to_byte(), notice.sense.to_vec());
                    self.seen.notices.push(Notice { code, sense, missed: notice.missed });
                }
            }
            Told::NeedVerify => {
                if let Some(devices) = self.seen.setup.devices {
                    let verified = self.rig.driver.session.verified(devices, now);
                    self.rig.driver.touch();
                    if let Err(error) = verified {
                        self.seen.broken.push(format!("the devices were not wanted: {error}"));
                    }
                }
            }
            Told::Managed { .. } => self.managing = self.managing.saturating_sub(1),
            Told::Done { task, .. } | Told::Lost { task, .. } => {
                let number = self.seen.tasks.iter().position(|t| t.id == Some(*task));
                match number {
                    Some(number) => self.task_ended(number, told, now),
                    None => self.seen.broken.push(format!("the end of an unknown task: {told:?}")),
                }
            }
            _ => {}
        }
    }

    fn task_ended(&mut self, number: usize, told: &Told, now: Instant) {
        if self.seen.tasks[number].end.is_some() {
            self.seen.broken.push(format!("task {number} ended twice: {told:?}"));
            return;
        }
        let job = self.jobs_of_tasks().get(number).cloned();
        let good = matches!(told, Told::Done { outcome, .. } if outcome.is_good());
        let task = &mut self.seen.tasks[number];
        let Some(id) = task.id else { return };
        let placed = self.rig.memory.read(id).to_vec();
        let disk = &self.rig.target.service.as_ref().expect("a disk").disk;
        let range = |lba: u32, blocks: u16| {
            let from = lba as usize * 512;
            &disk.bytes[from..from + usize::from(blocks) * 512]
        };
        let right = match job {
            Some(Job::Read { lba, blocks }) => placed == range(lba, blocks),
            Some(Job::Write { lba, blocks }) => pattern(lba, blocks) == range(lba, blocks),
            None => placed == range(PROBE.0, PROBE.1),
            Some(_) => true,
        };
        if good && !right {
            self.seen.broken.push(format!("task {number} is good and its data is not"));
        }
        task.good = good && right;
        task.untouched = self.rig.memory.is_untouched(id);
        task.placed.clone_from(&placed);
        task.end = Some((now, told.clone()));
        self.ends.insert(number, placed);
    }

    /// The jobs that make tasks.
    fn jobs_of_tasks(&self) -> Vec<Job> {
        let makes_task =
            |job: &&Job| matches!(job, Job::Read { .. } | Job::Write { .. } | Job::Command(_));
        self.seen.setup.jobs.iter().filter(makes_task).cloned().collect()
    }

    fn lives(&self) -> bool {
        !matches!(self.state(), SessionState::Idle | SessionState::Closed | SessionState::Failed(_))
    }

    fn is_settled(&self) -> bool {
        let on_the_way = matches!(
            self.state(),
            SessionState::Connecting
                | SessionState::LoggingIn
                | SessionState::LoggingOut
                | SessionState::Waiting(_)
                | SessionState::Verifying
        );
        let waits = |task: &Task| task.id.is_some() && task.end.is_none() && !task.silent;
        let pinging = self.lives() && self.rig.driver.connection().is_pinging();
        let busy = on_the_way || self.discovering || self.managing > 0 || pinging;
        !busy && !self.seen.tasks.iter().any(waits)
    }

    /// Goes on with the application's jobs. True if something was done.
    fn work(&mut self) -> bool {
        if self.finished {
            return false;
        }
        if self.sleeping.is_some_and(|until| until > self.rig.clock.now()) {
            return false;
        }
        self.sleeping = None;
        if self.settling && !self.is_settled() {
            return false;
        }
        self.settling = false;
        let Some(job) = self.jobs.get(self.next).cloned() else {
            return self.finish();
        };
        if let Err(error) = self.start(&job) {
            self.seen.refused.insert(self.next, error);
        }
        self.next += 1;
        true
    }

    /// All jobs are done: the final READ.
    fn finish(&mut self) -> bool {
        let may_probe = with_probe(&self.seen.setup) && self.state() == SessionState::LoggedIn;
        if may_probe && !self.seen.probed {
            self.seen.probed = true;
            self.settling = true;
            let cdb = Disk::read10(PROBE.0, PROBE.1);
            let request = Request::new(&cdb, Transfer::In(u32::from(PROBE.1) * 512));
            if let Err(error) = self.submit(&request, &[]) {
                self.seen.refused.insert(self.next, error);
            }
            return true;
        }
        if !self.is_settled() {
            self.settling = true;
            return false;
        }
        self.finished = true;
        false
    }

    fn start(&mut self, job: &Job) -> Result<(), SubmitError> {
        let now = self.rig.clock.now();
        let id = |player: &Self, number: usize| {
            player.seen.tasks.get(number).and_then(|t| t.id).ok_or(SubmitError::NoSuchTask)
        };
        match job {
            Job::Read { lba, blocks } => {
                let transfer = Transfer::In(u32::from(*blocks) * 512);
                self.submit(&Request::new(&Disk::read10(*lba, *blocks), transfer), &[])?;
            }
            Job::Write { lba, blocks } => {
                let bytes = pattern(*lba, *blocks);
                let transfer = Transfer::Out(bytes.len() as u32);
                self.submit(&Request::new(&Disk::write10(*lba, *blocks), transfer), &bytes)?;
            }
            Job::Command(request) => {
                let bytes = vec![0x3c; request.transfer.out_len() as usize];
                self.submit(request, &bytes)?;
            }
            Job::Ping => {
                let (connection, session) = self.rig.driver.ask();
                connection.ping(session);
            }
            Job::Abort(number) => {
                let task = id(self, *number)?;
                self.rig.driver.session.abort(task, now)?;
            }
            Job::Revoke(number) => {
                let task = id(self, *number)?;
                self.seen.tasks[*number].silent = true;
                let (connection, session) = self.rig.driver.ask();
                connection.revoke(task, session, now)?;
                self.rig.memory.take(task);
                self.ends.remove(number);
            }
            Job::Detach(number) => {
                let task = id(self, *number)?;
                self.seen.tasks[*number].silent = true;
                self.rig.driver.session.detach(task)?;
            }
            Job::Manage(function) => self.manage(*function)?,
            Job::QueryTask(number) => {
                let task = id(self, *number)?;
                self.manage(TaskManagement::QueryTask(task))?;
            }
            Job::Discover => {
                let scope = match with_probe(&self.seen.setup) {
                    true => DiscoveryScope::Session,
                    false => DiscoveryScope::All,
                };
                let (connection, session) = self.rig.driver.ask();
                connection.send_targets(scope, session, now)?;
                self.discovering = true;
                self.polled = self.rig.driver.connection().counters().pdus_received;
            }
            Job::Logout => self.rig.driver.session.logout(now)?,
            Job::Open => {
                self.open();
                self.settling = true;
            }
            Job::ForceReconnect => self.rig.driver.session.force_reconnect(now)?,
            Job::RetryNow => self.rig.driver.session.retry_now(now)?,
            Job::Verified(devices) => self.rig.driver.session.verified(*devices, now)?,
            Job::Settle => self.settling = true,
            Job::Sleep(time) => self.sleeping = Some(now + *time),
        }
        self.rig.driver.touch();
        Ok(())
    }

    fn manage(&mut self, function: TaskManagement) -> Result<(), SubmitError> {
        let now = self.rig.clock.now();
        self.rig.driver.session.task_management(function, now)?;
        self.managing += 1;
        Ok(())
    }

    fn submit(&mut self, request: &Request, out: &[u8]) -> Result<(), SubmitError> {
        let now = self.rig.clock.now();
        let mut command = Command::new(request.lun, &request.cdb, request.transfer);
        command.immediate = request.immediate;
        command.on_loss = request.on_loss;
        command.timeout = request.timeout;
        let submitted = self.rig.driver.session.submit(&command, now);
        self.seen.tasks.push(Task {
            id: submitted.ok(),
            at: now,
            end: None,
            good: false,
            placed: Vec::new(),
            untouched: true,
            silent: false,
        });
        let id = submitted?;
        self.rig.memory.take(id);
        if request.transfer.in_len() > 0 {
            self.rig.memory.lend_in(id, request.transfer.in_len() as usize);
        }
        if !out.is_empty() {
            self.rig.memory.lend_out(id, out.to_vec());
        }
        self.rig.driver.touch();
        Ok(())
    }

    /// The end of the run: what is left to see.
    fn close(mut self) -> Observation {
        self.watch();
        let now = self.rig.clock.now();
        let seen = &mut self.seen;
        for (number, task) in seen.tasks.iter().enumerate() {
            if task.id.is_some() && task.end.is_none() && !task.silent {
                seen.broken.push(format!("task {number} has no end"));
            }
        }
        let closed = matches!(
            self.rig.driver.session.state(),
            SessionState::Closed | SessionState::Failed(_)
        );
        if closed && self.rig.link.is_some() {
            seen.broken.push("the session has ended and its connection has not".into());
        }
        seen.end = self.rig.driver.session.state();
        seen.took = now.saturating_since(Instant::ZERO);
        seen.bytes_taken = self.rig.driver.connection().counters().bytes_received;
        seen.alias = self.rig.driver.connection().target_alias().map(str::to_owned);
        seen.moved_to = self.rig.driver.session.moved_to().map(ToString::to_string);
        seen.logout_response = self.rig.driver.session.logout_response().copied();
        seen.fired = self.rig.target.script.fired().to_vec();
        seen.pdus = self.rig.target.journal.take().unwrap_or_default();
        seen.complaints.append(&mut self.rig.target.complaints);
        self.seen
    }
}
