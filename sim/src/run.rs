//! One run from its seed to its end.

use core::fmt;
use std::collections::BTreeMap;

use iscsi_core::SessionState;
use iscsi_core::testing::Rng;
use iscsi_target::{LogicalUnit, NexusSlot, RamDisk, Target};

use crate::Finding;
use crate::app::App;
use crate::catch::catch;
use crate::count;
use crate::log::Log;
use crate::pair::Pair;
use crate::replay::Tape;
use crate::sabotage::{BadDisk, Sabotage};
use crate::scenario::{Rules, Scenario};
use crate::setup::{BLOCK, Setup};

/// Rounds of starting jobs in a run.
const ROUNDS: u64 = 8;

/// The same where bytes decide: as long as there are bytes, but not more.
const MOST_ROUNDS: u64 = 40;

/// One in so many runs without faults is played again byte by byte.
const REPLAYED: u64 = 8;

const SCENARIOS: u64 = Scenario::ALL.len() as u64;

/// What a run did.
///
/// ```
/// use iscsi_sim::{Scenario, play};
/// let report = play(3, Scenario::Cuts).unwrap();
/// assert_eq!(play(3, Scenario::Cuts), Ok(report)); // again the same
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    /// Tasks that were started.
    pub tasks: u64,
    /// Connections that were made.
    pub connections: u32,
    /// Steps of the loop around both engines.
    pub steps: u64,
    /// Headers that the initiator sent and received.
    pub pdus: [u64; 2],
    /// Virtual time, in microseconds.
    pub micros: u64,
    /// Bytes that were played again one by one.
    pub replayed: u64,
    /// How often what happened: what it was (damaged, recovered), and of what kind.
    pub counts: BTreeMap<(&'static str, &'static str), u64>,
}

/// What was found, and how to find it again.
///
/// ```
/// use iscsi_sim::{Failure, Scenario};
/// let failure = Failure { seed: 5, scenario: Scenario::Pdus, reason: "a task ended twice".into() };
/// assert_eq!(failure.to_string(), "seed 5 pdus: a task ended twice");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The seed.
    pub seed: u64,
    /// The scenario.
    pub scenario: Scenario,
    /// What is wrong.
    pub reason: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "seed {} {}: {}", self.seed, self.scenario, self.reason)
    }
}

impl core::error::Error for Failure {}

/// A run that was recorded.
///
/// ```
/// use iscsi_sim::{Scenario, record};
/// let recording = record(1, Scenario::Network);
/// assert!(recording.result.is_ok());
/// assert!(recording.lines.iter().any(|line| line.contains("Login Request")));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recording {
    /// How it ended.
    pub result: Result<Report, Failure>,
    /// A capture for Wireshark: what the initiator sent, and what reached it.
    pub pcap: Vec<u8>,
    /// Headers, events, actions and faults, a line each.
    pub lines: Vec<String>,
}

/// Plays one run.
///
/// # Errors
/// [`Failure`], also where an engine or a testing tool panics.
pub fn play(seed: u64, scenario: Scenario) -> Result<Report, Failure> {
    attempt(seed, scenario, None, &Log::default())
}

/// Plays one run and records it.
pub fn record(seed: u64, scenario: Scenario) -> Recording {
    let log = Log::recording();
    let result = attempt(seed, scenario, None, &log);
    let (pcap, lines) = log.finish();
    Recording { result, pcap, lines }
}

/// Plays one run with a pair that is broken on purpose.
///
/// # Errors
/// [`Failure`], which is what is hoped for.
pub fn sabotage(seed: u64, scenario: Scenario, how: Sabotage) -> Result<Report, Failure> {
    attempt(seed, scenario, Some(how), &Log::default())
}

fn attempt(
    seed: u64,
    scenario: Scenario,
    sabotage: Option<Sabotage>,
    log: &Log,
) -> Result<Report, Failure> {
    let rng = Rng::new(seed ^ (scenario as u64) << 56);
    let is_replayed = scenario == Scenario::Network && (seed / SCENARIOS).is_multiple_of(REPLAYED);
    let rules = scenario.rules();
    catch(|| run(rng, rules, sabotage, is_replayed, log))
        .map(|(report, _)| report)
        .map_err(|reason| Failure { seed, scenario, reason })
}

/// What these bytes decide. A panic is not caught.
pub(crate) fn play_bytes(
    bytes: &[u8],
    rules: Rules,
    sabotage: Option<Sabotage>,
) -> Result<Report, Finding> {
    let rng = Rng::from_bytes(bytes);
    run(rng, rules, sabotage, false, &Log::default()).map(|(report, _)| report)
}

/// What the seed does, and the bytes that decide it, for [`play_bytes`].
pub(crate) fn play_keeping(seed: u64, rules: Rules) -> Result<(Report, Vec<u8>), Finding> {
    run(Rng::keeping_bytes(seed), rules, None, false, &Log::default())
}

/// Returns also the bytes of the draws, if they are kept.
fn run(
    mut rng: Rng,
    rules: Rules,
    sabotage: Option<Sabotage>,
    is_replayed: bool,
    log: &Log,
) -> Result<(Report, Vec<u8>), Finding> {
    let setup = Setup::draw(&mut rng, rules, sabotage)?;
    log.line(iscsi_core::Instant::ZERO, || format!("{setup:?}"));
    let mut disks = Vec::new();
    for _ in 0..setup.luns {
        let memory = vec![0; setup.disk_blocks() * BLOCK];
        let disk = RamDisk::new(memory, BLOCK as u32).map_err(|e| e.to_string())?;
        disks.push(BadDisk { disk, sabotage, writes: 0 });
    }
    let mut sessions = [const { NexusSlot::EMPTY }; 2];
    let mut report = Report::default();
    let (models, bytes) = {
        let mut units: Vec<_> = (0..)
            .zip(&mut disks)
            .map(|(lun, disk)| LogicalUnit::new(lun, disk, &format!("sim-{lun}")))
            .collect();
        let mut target =
            Target::new(&setup.target, &mut units, &mut sessions).map_err(|e| e.to_string())?;
        *target.quirks_mut() = setup.quirks.clone();
        let mut pair = Pair::new(&setup, target, rules, sabotage, log.clone(), rng)?;
        pair.tape = is_replayed.then(Tape::default);
        let mut app = App::new(&mut pair, setup.luns, setup.lanes, setup.lane_blocks);
        let bytes = work(&mut app)?;
        let (models, tasks) = (app.models, app.tasks);
        report.tasks = tasks;
        report.connections = pair.connections;
        report.steps = pair.steps;
        report.pdus = pair.pdus;
        report.counts = core::mem::take(&mut pair.counts);
        let reissued = pair.driver.session.counters().reissued;
        count::add(&mut report.counts, "session", "commands issued again", reissued);
        report.micros = pair.clock.now().as_micros();
        if let Some(tape) = &pair.tape {
            report.replayed = tape.check(&setup)?;
        }
        (models, bytes)
    };
    for (lun, (disk, mut model)) in disks.into_iter().zip(models).enumerate() {
        let memory = disk.disk.into_inner();
        model
            .compare(0, &memory)
            .map_err(|finding| format!("disk {lun} holds something else: {finding}"))?;
    }
    Ok((report, bytes))
}

/// Jobs, then a look at every block over a connection without faults, then the logout. Returns the bytes of the draws before that look.
fn work(app: &mut App<'_, '_>) -> Result<Vec<u8>, Finding> {
    app.ready()?;
    let mut rounds = 0..if app.pair.rng.plays_bytes() { MOST_ROUNDS } else { ROUNDS };
    while rounds.next().is_some() && !app.pair.rng.is_used_up() {
        let goes_on = app.pair.takes_tasks() && app.pair.rng.below(2) == 0;
        if !app.pair.is_logged_in() && !goes_on {
            app.settle()?;
            app.ready()?;
        }
        app.start_some()?;
        let steps = app.pair.rng.below(30);
        app.steps(steps)?;
        if app.pair.rules.meddles {
            app.meddle()?;
        }
        if app.pair.rng.below(3) == 0 {
            app.settle()?;
        }
    }
    let bytes = app.pair.rng.kept_bytes().to_vec();
    if app.pair.rules.recovers && app.pair.takes_tasks() && app.pair.rng.below(4) == 0 {
        // In whatever state the session is.
        app.pair.log_out()?;
    }
    app.settle()?;
    app.check_idle()?;
    app.pair.calm();
    if app.pair.rules.loses() && app.pair.is_logged_in() {
        // The faults go with the connection that has them.
        app.pair.log_out()?;
        app.settle()?;
    }
    app.trust();
    for lane in app.all_lanes() {
        app.verify(lane)?;
    }
    app.check_idle()?;
    app.pair.log_out()?;
    app.settle()?;
    match app.pair.state() {
        SessionState::Closed => Ok(bytes),
        state => Err(format!("the logout ended in {state:?}")),
    }
}
