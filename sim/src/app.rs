//! The application: it starts jobs, interferes with them, and compares what it is told with the model.

use std::collections::BTreeMap;

use iscsi_core::testing::Told;
use iscsi_core::wire::ScsiStatus;
use iscsi_core::{Command, LostReason, Lun, OnLoss, SessionState, TaskId, TaskManagement};
use iscsi_scsi::{Sense, SenseKey};

use crate::Finding;
use crate::job::Job;
use crate::model::Model;
use crate::pair::Pair;

/// How often a login, or a unit that has something to tell, is tried before it counts as a failure.
const ATTEMPTS: u32 = 60;

/// A job under way.
#[derive(Debug)]
struct Running {
    task: TaskId,
    job: Job,
    /// The application asked for its end.
    cancelled: bool,
    /// Its end will not be told.
    silent: bool,
    /// It may be issued again.
    again: bool,
    /// Connections that had been lost when it was started.
    losses: u64,
}

/// The application over a [`Pair`].
#[derive(Debug)]
pub(crate) struct App<'p, 'a> {
    pub(crate) pair: &'p mut Pair<'a>,
    pub(crate) models: Vec<Model>,
    lanes: usize,
    lane_blocks: usize,
    running: BTreeMap<usize, Running>,
    /// The logical units that a task management function under way concerns.
    managed: Vec<usize>,
    /// The units that may have a unit attention to tell.
    attention: Vec<bool>,
    /// Good reads so far.
    reads: u64,
    pub(crate) tasks: u64,
}

impl<'p, 'a> App<'p, 'a> {
    pub(crate) fn new(pair: &'p mut Pair<'a>, luns: usize, lanes: usize, blocks: usize) -> Self {
        Self {
            pair,
            models: vec![Model::new(lanes * blocks); luns],
            lanes,
            lane_blocks: blocks,
            running: BTreeMap::new(),
            managed: Vec::new(),
            attention: vec![false; luns],
            reads: 0,
            tasks: 0,
        }
    }

    fn luns(&self) -> usize {
        self.models.len()
    }

    pub(crate) fn all_lanes(&self) -> core::ops::Range<usize> {
        0..self.lanes * self.luns()
    }

    /// The unit and the blocks of a lane.
    pub(crate) const fn place(&self, lane: usize) -> (usize, core::ops::Range<usize>) {
        let first = lane % self.lanes * self.lane_blocks;
        (lane / self.lanes, first..first + self.lane_blocks)
    }

    /// Gets a session whose units are ready, opening it as often as it takes.
    pub(crate) fn ready(&mut self) -> Result<(), Finding> {
        for attempt in 0..ATTEMPTS {
            match self.pair.state() {
                SessionState::LoggedIn => {}
                SessionState::Idle => self.pair.open()?,
                SessionState::Closed | SessionState::Failed(_) => {
                    let state = self.pair.state();
                    let rightly = match state {
                        SessionState::Failed(reason) => self.pair.given_up_for == Some(reason),
                        _ => true,
                    };
                    if !rightly && !self.pair.rules.loses() {
                        return Err(format!("the session was lost: {state:?}"));
                    }
                    self.pair.open()?;
                }
                _ => {}
            }
            self.settle()?;
            if self.pair.is_logged_in() && self.make_ready()? {
                return Ok(());
            }
            self.pair.log.line(self.pair.clock.now(), || format!("attempt {attempt} was in vain"));
        }
        Err(format!("no session can be had: {:?}", self.pair.state()))
    }

    /// Takes the unit attentions of a new session. False if it is lost again.
    fn make_ready(&mut self) -> Result<bool, Finding> {
        for lun in 0..self.luns() {
            self.attention[lun] = true;
            let mut attempts = 0..ATTEMPTS;
            while self.attention[lun] {
                attempts.next().ok_or("the unit does not become ready")?;
                let lane = lun * self.lanes;
                if self.running.contains_key(&lane) || !self.pair.is_logged_in() {
                    return Ok(false);
                }
                self.start(lane, Job::test_unit_ready())?;
                self.settle()?;
            }
        }
        Ok(true)
    }

    /// Starts a job; false if the table is full.
    fn start(&mut self, lane: usize, job: Job) -> Result<bool, Finding> {
        let (lun, _) = self.place(lane);
        let lun = Lun::new(lun as u64).ok_or("a LUN")?;
        // COMPARE AND WRITE would compare with what it wrote itself.
        let again = self.pair.rules.recovers && job.cdb[0] != 0x89 && self.pair.rng.below(5) > 0;
        let on_loss = if again { OnLoss::Reissue } else { OnLoss::Report };
        let command = Command::new(lun, &job.cdb, job.transfer).on_loss(on_loss);
        let Some(task) = self.pair.submit(&command, &job.out)? else { return Ok(false) };
        self.tasks += 1;
        let losses = self.pair.driver.session.counters().connections_lost;
        // A function that is under way may reach it or not.
        let cancelled = self.managed.contains(&self.place(lane).0);
        self.running.insert(lane, Running { task, job, cancelled, silent: false, again, losses });
        Ok(true)
    }

    /// Starts jobs in the lanes that are free, most of the time.
    pub(crate) fn start_some(&mut self) -> Result<(), Finding> {
        for lane in self.all_lanes() {
            let skip = self.pair.rng.below(3) == 0;
            if skip || self.running.contains_key(&lane) || !self.pair.takes_tasks() {
                continue;
            }
            let (lun, blocks) = self.place(lane);
            let job = Job::draw(&mut self.pair.rng, &self.models[lun], blocks);
            if !self.start(lane, job)? {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Aborts, resets, detaches: what an application may do at any time.
    pub(crate) fn meddle(&mut self) -> Result<(), Finding> {
        if self.pair.rules.recovers && self.pair.rng.below(4) == 0 {
            return self.pair.hurry();
        }
        let what = self.pair.rng.below(8);
        // A SNACK that is on its way when a reset ends its task is rejected, and that ends the connection.
        if what == 0 && !self.pair.rules.data {
            return self.manage();
        }
        let lanes: Vec<usize> =
            self.running.iter().filter(|(_, r)| !r.silent).map(|(lane, _)| *lane).collect();
        if lanes.is_empty() {
            return Ok(());
        }
        let lane = lanes[self.pair.rng.below(lanes.len() as u64) as usize];
        let Some(running) = self.running.get_mut(&lane) else { return Ok(()) };
        match what {
            1..4 => {
                running.cancelled = true;
                self.pair.abort(running.task);
            }
            4 => {
                running.silent = true;
                self.pair.detach(running.task)?;
            }
            5 if self.pair.rules.loses() => {
                running.silent = true;
                self.pair.revoke(running.task)?;
            }
            _ => {}
        }
        Ok(())
    }

    fn manage(&mut self) -> Result<(), Finding> {
        let unit = self.pair.rng.below(self.luns() as u64) as usize;
        let lun = Lun::new(unit as u64).ok_or("a LUN")?;
        let (request, units) = match self.pair.rng.below(5) {
            0 => (TaskManagement::AbortTaskSet(lun), vec![unit]),
            1 => (TaskManagement::ClearTaskSet(lun), vec![unit]),
            2 => (TaskManagement::TargetWarmReset, (0..self.luns()).collect()),
            _ => (TaskManagement::LogicalUnitReset(lun), vec![unit]),
        };
        if !self.pair.is_logged_in() || !self.pair.manage(request)? {
            return Ok(());
        }
        for unit in &units {
            self.attention[*unit] = true;
        }
        let lanes = self.lanes;
        for (lane, running) in &mut self.running {
            running.cancelled |= units.contains(&(lane / lanes));
        }
        self.managed = units;
        Ok(())
    }

    /// Runs for a moment.
    pub(crate) fn steps(&mut self, steps: u64) -> Result<(), Finding> {
        for _ in 0..steps {
            self.pair.step()?;
        }
        self.collect()
    }

    /// Runs until everything has ended.
    pub(crate) fn settle(&mut self) -> Result<(), Finding> {
        self.pair.settle()?;
        self.collect()?;
        match self.running.values().next() {
            None => Ok(()),
            Some(running) => Err(format!("{:?} has no end: {:?}", running.task, running.job.cdb)),
        }
    }

    /// Looks at what has ended.
    fn collect(&mut self) -> Result<(), Finding> {
        if let Some(result) = self.pair.take_managed() {
            if result.is_err() && !self.pair.rules.loses() {
                return Err(format!("task management: {result:?}"));
            }
            self.managed.clear();
        }
        for lane in self.all_lanes() {
            let Some(running) = self.running.get(&lane) else { continue };
            let told = self.pair.take_end(running.task);
            let gone = running.silent && self.pair.has_let_go(running.task);
            if told.is_none() && !gone {
                continue;
            }
            let Some(running) = self.running.remove(&lane) else { continue };
            let task = running.task;
            self.judge(self.place(lane).0, &running, told.as_ref()).map_err(|finding| {
                format!("lane {lane} {task:?} {:02x?}: {finding}", running.job.cdb)
            })?;
            self.pair.memory.take(task);
        }
        Ok(())
    }

    /// Compares the end of a job with what may be.
    fn judge(&mut self, lun: usize, running: &Running, told: Option<&Told>) -> Result<(), Finding> {
        let job = &running.job;
        let rules = self.pair.rules;
        let model = &mut self.models[lun];
        let mut open = |wild| model.may_have_written(job.lba, &job.writes, wild);
        let (outcome, sense) = match told {
            None => {
                open(rules.leaves_anything());
                return Ok(());
            }
            Some(Told::Lost { reason, .. }) => {
                let asked = running.cancelled
                    && matches!(reason, LostReason::Aborted | LostReason::TaskManagement);
                let losses = self.pair.driver.session.counters().connections_lost - running.losses;
                let comeback = &self.pair.comeback;
                let kept = rules.recovers && running.again;
                let allowed = match kept {
                    true => comeback.allows(*reason, losses, rules.damages()),
                    false => rules.loses() || self.pair.given_up_for == Some(*reason),
                };
                if !asked && !allowed && !rules.blind {
                    return Err(format!("lost: {reason:?}"));
                }
                open(rules.leaves_anything());
                return Ok(());
            }
            Some(Told::Done { outcome, sense, .. }) => (outcome, sense),
            Some(other) => return Err(format!("{other:?} is no end")),
        };
        if rules.blind {
            self.attention[lun] &= job.cdb[0] != 0 || !outcome.is_good();
            return Ok(());
        }
        if outcome.is_good() {
            if job.miscompares {
                return Err("GOOD although the data differ".into());
            }
            if job.cdb[0] == 0 {
                self.attention[lun] = false;
            }
            if job.transfer.in_len() > 0 {
                self.reads += 1;
                let data = self.pair.memory.read(running.task);
                return model
                    .compare(job.lba, data)
                    .map_err(|finding| format!("read something else: {finding}"));
            }
            model.wrote(job.lba, &job.writes);
            return Ok(());
        }
        if running.again && self.pair.driver.session.counters().connections_lost > running.losses {
            // What is refused now may have been carried out before the loss.
            open(rules.leaves_anything());
        }
        let key = Sense::parse(sense).map(|sense| sense.key).ok();
        match (outcome.status(), key) {
            (Some(ScsiStatus::CheckCondition), Some(SenseKey::MISCOMPARE)) if job.miscompares => {
                Ok(())
            }
            (Some(ScsiStatus::CheckCondition), Some(SenseKey::MISCOMPARE)) if !rules.damages() => {
                Err("MISCOMPARE: the disk holds something else".into())
            }
            // Not carried out; every function and every new session may cause it.
            (Some(ScsiStatus::CheckCondition), Some(SenseKey::UNIT_ATTENTION))
                if self.attention[lun] || rules.loses() =>
            {
                Ok(())
            }
            // Not carried out for want of room.
            (Some(ScsiStatus::TaskSetFull), _) => Ok(()),
            // The data of a write arrived damaged more often than the target asks for them.
            (Some(ScsiStatus::CheckCondition), Some(SenseKey::ABORTED_COMMAND))
                if rules.data && !job.out.is_empty() =>
            {
                open(true);
                Ok(())
            }
            _ if rules.damages() => {
                open(true);
                Ok(())
            }
            _ => Err(format!("{outcome:?} {sense:02x?}")),
        }
    }

    /// From now on everything must be right again; what is on the disks is not known, if it was not so before.
    pub(crate) fn trust(&mut self) {
        if self.pair.rules.blind {
            self.pair.trust();
            self.models.iter_mut().for_each(Model::forget);
        }
    }

    /// Reads a lane until it could be compared.
    pub(crate) fn verify(&mut self, lane: usize) -> Result<(), Finding> {
        let (_, blocks) = self.place(lane);
        for _ in 0..ATTEMPTS {
            self.ready()?;
            let before = self.reads;
            self.start(lane, Job::read(blocks.start, blocks.len()))?;
            self.settle()?;
            if self.reads > before {
                return Ok(());
            }
        }
        Err(format!("lane {lane} cannot be read"))
    }

    /// Nothing is left of the jobs.
    pub(crate) fn check_idle(&self) -> Result<(), Finding> {
        let in_use = self.pair.driver.session.in_use();
        let managing = self.pair.is_managing();
        if in_use > 0 || managing || !self.running.is_empty() {
            return Err(format!("left: {in_use} tasks, a function: {managing}"));
        }
        Ok(())
    }
}
