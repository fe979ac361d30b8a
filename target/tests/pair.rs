//! Both engines against each other over a virtual clock and a link with faults: a thousand runs, each told by its seed.

use std::collections::{BTreeMap, BTreeSet};

use iscsi_core::auth::Entropy;
use iscsi_core::config::Timeouts;
use iscsi_core::driver::RecvBuf;
use iscsi_core::testing::{Clock, Disk as Cdb, Faults, Link, Memory, Rng, StrictDriver, Told};
use iscsi_core::text::{Digests, Limits};
use iscsi_core::{
    Action, Command, Config, InlineSession, IscsiName, Lun, Portal, Session, SessionState, TaskId,
    Transfer,
};
use iscsi_target::driver::pump;
use iscsi_target::{LogicalUnit, NexusSlot, RamDisk, Target, TargetConfig, TargetConnection};

const LANES: u64 = 5;
const LANE_BLOCKS: u64 = 8;
const BLOCK: usize = 512;

/// The most steps of one run.
const STEPS: u32 = 500_000;

fn name(name: &str) -> IscsiName {
    IscsiName::new(name).unwrap()
}

fn pick<T: Copy>(rng: &mut Rng, from: &[T]) -> T {
    from[rng.below(from.len() as u64) as usize]
}

fn scratch(rng: &mut Rng) -> Box<RecvBuf> {
    match rng.below(5) {
        0 => Box::new(RecvBuf::new([])),
        1 => Box::new(RecvBuf::new([0; 1])),
        2 => Box::new(RecvBuf::new([0; 47])),
        3 => Box::new(RecvBuf::new([0; 512])),
        _ => RecvBuf::boxed(),
    }
}

fn limits(rng: &mut Rng) -> Limits {
    let digests = [Digests::NONE, Digests::NONE, Digests::CRC32C, Digests::CRC32C_NONE];
    let sizes = [512, 1000, 4096, 65_536, 262_144];
    Limits {
        header_digest: pick(rng, &digests),
        data_digest: pick(rng, &digests),
        initial_r2t: rng.below(2) == 0,
        immediate_data: rng.below(2) == 0,
        max_recv_data_segment_length: pick(rng, &sizes),
        max_burst_length: pick(rng, &sizes),
        first_burst_length: 512,
        max_outstanding_r2t: pick(rng, &[1, 2, 8]),
        ..Limits::DEFAULT
    }
}

/// What a task was to do: which blocks, and what it writes.
struct Job {
    lane: u64,
    lba: u64,
    blocks: u64,
    written: Option<Vec<u8>>,
}

/// One run: a strict initiator, a target, and what connects them.
struct Pair<'a> {
    seed: u64,
    rng: Rng,
    clock: Clock,
    driver: StrictDriver,
    memory: Memory,
    link: Option<Link>,
    target: Target<'a>,
    connection: Box<TargetConnection>,
    target_scratch: Box<RecvBuf>,
    faults: [Faults; 2],
    told: Vec<Told>,
}

impl Pair<'_> {
    fn step(&mut self) -> bool {
        let turned = self.driver.turn(&mut self.memory, self.link.as_mut(), &self.clock);
        let acted = self.act();
        let before = self.told.len();
        while let Some(event) = self.driver.session.poll_event() {
            self.told.push(Told::from(event));
        }
        let told = self.told.len() != before;
        if told {
            self.driver.touch();
        }
        let served = self.serve();
        turned || acted || told || served
    }

    /// The target has a friendly driver: it is always called.
    fn serve(&mut self) -> bool {
        let Some(link) = &mut self.link else { return false };
        let before = self.connection.counters();
        let mut wire = link.target(&self.clock);
        let (connection, target) = (&mut self.connection, &mut self.target);
        let now = self.clock.now();
        let scratch = &mut self.target_scratch;
        let wants = pump(connection, target, scratch, &mut wire, now, 9);
        let moved = wire.sent() + wire.received() > 0 || before != self.connection.counters();
        if self.connection.is_closed() {
            link.to_initiator.close(now);
        }
        moved || wants.is_ok_and(|wants| wants.again)
    }

    fn act(&mut self) -> bool {
        let mut acted = false;
        while let Some(action) = self.driver.session.poll_action() {
            acted = true;
            match action {
                Action::Connect => {
                    let link = Link::new(self.faults[0], self.faults[1], &mut self.rng);
                    self.link = Some(link);
                    let mut bytes = [0; 64];
                    self.rng.fill(&mut bytes);
                    self.target_scratch.clear();
                    self.connection.opened(
                        &self.target,
                        Entropy::new(bytes),
                        None,
                        self.clock.now(),
                    );
                    self.rng.fill(&mut bytes);
                    self.driver.opened(Entropy::new(bytes), &self.clock);
                }
                _ => {
                    self.link = None;
                    self.connection.closed(&mut self.target);
                    self.driver.disconnected(&self.clock);
                }
            }
        }
        acted
    }

    /// Runs until nothing happens without a deadline.
    fn run(&mut self) {
        for _ in 0..STEPS {
            if self.step() {
                continue;
            }
            let now = self.clock.now();
            match self.link.as_ref().and_then(|link| link.next_arrival(now)) {
                Some(at) => self.clock.jump_to(at),
                None => return,
            }
        }
        panic!("seed {}: the run does not end", self.seed);
    }

    fn log_in(&mut self) {
        let portal = Portal::parse("192.0.2.2:3260").unwrap();
        self.driver.session.open(portal, self.clock.now()).unwrap();
        self.driver.touch();
        self.run();
    }

    fn is_logged_in(&self) -> bool {
        self.driver.session.state() == SessionState::LoggedIn
    }

    fn submit(&mut self, cdb: &[u8], transfer: Transfer, out: Vec<u8>) -> TaskId {
        let command = Command::new(Lun::ZERO, cdb, transfer);
        let task = self.driver.session.submit(&command, self.clock.now()).unwrap();
        if transfer.in_len() > 0 {
            self.memory.lend_in(task, transfer.in_len() as usize);
        }
        if !out.is_empty() {
            self.memory.lend_out(task, out);
        }
        self.driver.touch();
        task
    }

    fn end(&self, task: TaskId) -> Option<&Told> {
        self.told.iter().find(|told| told.task() == Some(task))
    }

    /// Takes the unit attentions of a new session.
    fn make_ready(&mut self) {
        for _ in 0..8 {
            if !self.is_logged_in() {
                return;
            }
            let task = self.submit(&[0; 6], Transfer::None, vec![]);
            self.run();
            match self.end(task) {
                Some(Told::Done { outcome, .. }) if outcome.is_good() => return,
                Some(Told::Done { .. }) => {}
                // The connection was cut already.
                _ => return,
            }
        }
        panic!("seed {}: the unit does not become ready", self.seed);
    }

    fn start(&mut self, lane: u64, whole: bool) -> (TaskId, Job) {
        let blocks = if whole { LANE_BLOCKS } else { 1 + self.rng.below(LANE_BLOCKS / 2) };
        let lba = lane * LANE_BLOCKS + self.rng.below(LANE_BLOCKS - blocks + 1);
        let bytes = blocks as u32 * BLOCK as u32;
        if whole || self.rng.below(2) == 0 {
            let mut data = vec![0; bytes as usize];
            self.rng.fill(&mut data);
            let cdb = Cdb::write10(lba as u32, blocks as u16);
            let task = self.submit(&cdb, Transfer::Out(bytes), data.clone());
            (task, Job { lane, lba, blocks, written: Some(data) })
        } else {
            let cdb = Cdb::read10(lba as u32, blocks as u16);
            let task = self.submit(&cdb, Transfer::In(bytes), vec![]);
            (task, Job { lane, lba, blocks, written: None })
        }
    }
}

/// What the disk must hold; `None` where a lost write leaves it open.
struct Model {
    bytes: Vec<u8>,
    unknown: BTreeSet<u64>,
}

impl Model {
    fn finish(&mut self, pair: &Pair<'_>, task: TaskId, job: Job) {
        let seed = pair.seed;
        let from = job.lba as usize * BLOCK;
        let range = from..from + job.blocks as usize * BLOCK;
        match (pair.end(task), job.written) {
            (Some(Told::Done { outcome, sense, .. }), written) => {
                assert!(outcome.is_good(), "seed {seed}: {outcome:?} {sense:02x?}");
                match written {
                    Some(data) => {
                        self.bytes[range].copy_from_slice(&data);
                        if job.blocks == LANE_BLOCKS {
                            self.unknown.remove(&job.lane);
                        }
                    }
                    None => assert!(
                        pair.memory.read(task) == &self.bytes[range],
                        "seed {seed}: {task:?} read something else"
                    ),
                }
            }
            (Some(Told::Lost { .. }), Some(_)) => {
                self.unknown.insert(job.lane);
            }
            (Some(Told::Lost { .. }), None) => {}
            (other, _) => panic!("seed {seed}: {task:?}: {other:?}"),
        }
    }
}

fn play(seed: u64, cuts: bool) {
    let mut rng = Rng::new(seed);
    let mut config = TargetConfig::new(name("iqn.2001-04.com.example:disk"));
    config.limits = limits(&mut rng);
    config.limits.header_digest = Digests::NONE_CRC32C;
    config.limits.data_digest = Digests::NONE_CRC32C;
    config.nop_interval = None;
    let size = (LANES * LANE_BLOCKS) as usize * BLOCK;
    let mut disk = RamDisk::new(vec![0; size], BLOCK as u32).unwrap();
    let mut units = [LogicalUnit::new(0, &mut disk, "pair")];
    let mut sessions = [const { NexusSlot::EMPTY }; 2];
    let target = Target::new(&config, &mut units, &mut sessions).unwrap();

    // No keep-alive and no deadline helps: what is left undone without a promise is seen.
    let timeouts = Timeouts { nop_interval: None, command: None, ..Timeouts::DEFAULT };
    let initiator = Config::normal(name("iqn.2001-04.com.example:host"), config.name.clone())
        .limits(limits(&mut rng))
        .timeouts(timeouts)
        .build()
        .unwrap();
    let mut session: Box<Session> = Box::<InlineSession<6>>::default();
    session.configure(initiator).unwrap();
    let mut network = Faults::network(&mut rng);
    network.stall = 0;
    if rng.below(8) > 0 {
        // Tiny windows take long; a few runs with them do.
        network.window = network.window.max(1_460);
    }
    let mut faults = [network, network];
    if cuts {
        faults[rng.below(2) as usize].cut = Some(1_500 + rng.below(40_000));
    }
    let mut pair = Pair {
        seed,
        clock: Clock::new(),
        driver: StrictDriver::new(session, scratch(&mut rng), seed),
        memory: if rng.below(2) == 0 { Memory::new() } else { Memory::scattered(100) },
        link: None,
        target,
        connection: TargetConnection::boxed(),
        target_scratch: scratch(&mut rng),
        faults,
        told: Vec::new(),
        rng,
    };
    let mut model = Model { bytes: vec![0; size], unknown: BTreeSet::new() };
    let mut running: BTreeMap<u64, (TaskId, Job)> = BTreeMap::new();
    let mut started = 0;
    pair.log_in();
    assert!(pair.is_logged_in(), "seed {seed}: {:?}", pair.driver.session.state());
    pair.make_ready();
    for _ in 0..8 {
        if !pair.is_logged_in() {
            assert!(cuts, "seed {seed}: {:?}", pair.driver.session.state());
            for (_, (task, job)) in std::mem::take(&mut running) {
                model.finish(&pair, task, job);
            }
            pair.faults = [network, network];
            pair.log_in();
            pair.make_ready();
        }
        for lane in 0..LANES {
            if running.contains_key(&lane) || pair.rng.below(3) == 0 || !pair.is_logged_in() {
                continue;
            }
            let job = pair.start(lane, model.unknown.contains(&lane));
            running.insert(lane, job);
            started += 1;
        }
        for _ in 0..pair.rng.below(30) {
            pair.step();
        }
        if pair.rng.below(3) == 0 {
            pair.run();
        }
        let ended: Vec<_> = running
            .iter()
            .filter(|(_, (task, _))| pair.end(*task).is_some())
            .map(|(lane, _)| *lane)
            .collect();
        for lane in ended {
            let (task, job) = running.remove(&lane).unwrap();
            model.finish(&pair, task, job);
        }
    }
    pair.run();
    for (_, (task, job)) in running {
        model.finish(&pair, task, job);
    }
    let ends: Vec<_> = pair.told.iter().filter_map(|told| told.task()).collect();
    let unique: BTreeSet<_> = ends.iter().map(|task| task.to_bits()).collect();
    assert_eq!(ends.len(), unique.len(), "seed {seed}: a task ended twice");
    assert!(ends.len() >= started, "seed {seed}");
    assert_eq!(pair.driver.session.in_use(), 0, "seed {seed}");
    // The whole disk, over the wire.
    pair.faults = [network, network];
    for lane in 0..LANES {
        if !pair.is_logged_in() {
            assert!(cuts, "seed {seed}: {:?}", pair.driver.session.state());
            pair.log_in();
            pair.make_ready();
        }
        if model.unknown.contains(&lane) {
            continue;
        }
        let lba = lane * LANE_BLOCKS;
        let cdb = Cdb::read10(lba as u32, LANE_BLOCKS as u16);
        let bytes = LANE_BLOCKS as usize * BLOCK;
        let task = pair.submit(&cdb, Transfer::In(bytes as u32), vec![]);
        pair.run();
        model.finish(&pair, task, Job { lane, lba, blocks: LANE_BLOCKS, written: None });
    }
    let now = pair.clock.now();
    if pair.is_logged_in() {
        pair.driver.session.logout(now).unwrap();
        pair.driver.touch();
        pair.run();
        assert_eq!(pair.driver.session.state(), SessionState::Closed, "seed {seed}");
    }
}

/// The seeds of one test: from `SEED`, or `first`; as many as `SEEDS`, or `count`.
fn seeds(first: u64, count: u64) -> core::ops::Range<u64> {
    let count = std::env::var("SEEDS").ok().and_then(|n| n.parse().ok()).unwrap_or(count);
    let first = Rng::from_env(first).seed();
    first..first + count
}

#[test]
fn every_byte_arrives_over_any_network() {
    for seed in seeds(0, 1_000) {
        play(seed, false);
    }
}

#[test]
fn every_task_ends_once_whatever_is_cut() {
    for seed in seeds(100_000, 300) {
        play(seed, true);
    }
}
