//! Both engines at ErrorRecoveryLevel 1 over a link that turns bits over in data, padding and data digests: nothing is lost, and nobody
//! connects again.

use std::collections::BTreeMap;
use std::time::Duration;

use iscsi_core::auth::Entropy;
use iscsi_core::config::Timeouts;
use iscsi_core::digest::DigestKind;
use iscsi_core::driver::RecvBuf;
use iscsi_core::testing::{
    Clock, Disk as Cdb, Faults, Link, Memory, PduFault, Rng, StrictDriver, Told,
};
use iscsi_core::text::{Digests, Limits};
use iscsi_core::wire::ScsiStatus;
use iscsi_core::{
    Action, Command, Config, InlineSession, IscsiName, Lun, Portal, Recovered, Session,
    SessionState, TaskId, Transfer,
};
use iscsi_target::driver::pump;
use iscsi_target::{LogicalUnit, NexusSlot, RamDisk, Target, TargetConfig, TargetConnection};

const LANES: u64 = 6;
const LANE_BLOCKS: u64 = 32;
const BLOCK: usize = 512;
const DISK: usize = (LANES * LANE_BLOCKS) as usize * BLOCK;

const INQUIRY: [u8; 6] = [0x12, 0, 0, 0, 96, 0];

/// The most steps of one run.
const STEPS: u32 = 2_000_000;

/// Of 1000 PDUs with data so many arrive damaged.
const DAMAGED: u16 = 50;

fn pick<T: Copy>(rng: &mut Rng, from: &[T]) -> T {
    from[rng.below(from.len() as u64) as usize]
}

fn limits(rng: &mut Rng) -> Limits {
    let sizes = [512, 1001, 4096, 16_384];
    let max_burst_length = pick(rng, &[1024, 4096, 65_536]);
    Limits {
        header_digest: pick(rng, &[Digests::NONE, Digests::CRC32C_NONE]),
        data_digest: Digests::CRC32C,
        initial_r2t: rng.below(2) == 0,
        immediate_data: rng.below(2) == 0,
        max_recv_data_segment_length: pick(rng, &sizes),
        max_burst_length,
        first_burst_length: pick(rng, &[512, 3000, 65_536]).min(max_burst_length),
        max_outstanding_r2t: pick(rng, &[1, 4]),
        data_pdu_in_order: rng.below(4) > 0,
        data_sequence_in_order: rng.below(4) > 0,
        error_recovery_level: 1,
        ..Limits::DEFAULT
    }
}

/// What a task was to do.
enum Job {
    Read {
        lba: u64,
        blocks: u64,
    },
    Write {
        lba: u64,
        data: Vec<u8>,
    },
    /// Beyond the end of the disk: the answer is sense data.
    Refused,
    Inquiry,
}

/// One run: a strict initiator, a target, and what connects them.
struct Pair<'a> {
    seed: u64,
    rng: Rng,
    clock: Clock,
    driver: StrictDriver,
    memory: Memory,
    link: Option<Link>,
    connects: u32,
    target: Target<'a>,
    connection: Box<TargetConnection>,
    target_scratch: Box<RecvBuf>,
    faults: Faults,
    told: BTreeMap<u64, Told>,
    /// What the target says about itself.
    inquiry: Vec<u8>,
}

impl Pair<'_> {
    fn step(&mut self) -> bool {
        let turned = self.driver.turn(&mut self.memory, self.link.as_mut(), &self.clock);
        let acted = self.act();
        let mut told = false;
        while let Some(event) = self.driver.session.poll_event() {
            told = true;
            let event = Told::from(event);
            if let Some(task) = event.task() {
                let again = self.told.insert(task.to_bits(), event);
                assert!(again.is_none(), "seed {}: {task:?} ended twice", self.seed);
            }
        }
        if told {
            self.driver.touch();
        }
        turned || acted || told || self.serve()
    }

    fn serve(&mut self) -> bool {
        let Some(link) = &mut self.link else { return false };
        let before = self.connection.counters();
        let mut wire = link.target(&self.clock);
        let (connection, target) = (&mut self.connection, &mut self.target);
        let now = self.clock.now();
        let wants = pump(connection, target, &mut self.target_scratch, &mut wire, now, 9);
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
                    self.connects += 1;
                    self.link = Some(Link::new(self.faults, self.faults, &mut self.rng));
                    let mut bytes = [0; 64];
                    self.rng.fill(&mut bytes);
                    self.target_scratch.clear();
                    let now = self.clock.now();
                    self.connection.opened(&self.target, Entropy::new(bytes), None, now);
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

    fn submit(&mut self, cdb: &[u8], transfer: Transfer, out: &[u8]) -> TaskId {
        let command = Command::new(Lun::ZERO, cdb, transfer);
        let task = self.driver.session.submit(&command, self.clock.now()).unwrap();
        if transfer.in_len() > 0 {
            self.memory.lend_in(task, transfer.in_len() as usize);
        }
        if !out.is_empty() {
            self.memory.lend_out(task, out.to_vec());
        }
        self.driver.touch();
        task
    }

    fn start(&mut self, lane: u64) -> (TaskId, Job) {
        let blocks = 1 + self.rng.below(LANE_BLOCKS - 1);
        let lba = lane * LANE_BLOCKS + self.rng.below(LANE_BLOCKS - blocks + 1);
        let bytes = blocks as u32 * BLOCK as u32;
        match self.rng.below(20) {
            0..8 => {
                let cdb = Cdb::read10(lba as u32, blocks as u16);
                (self.submit(&cdb, Transfer::In(bytes), &[]), Job::Read { lba, blocks })
            }
            8..16 => {
                let mut data = vec![0; bytes as usize];
                self.rng.fill(&mut data);
                let cdb = Cdb::write10(lba as u32, blocks as u16);
                (self.submit(&cdb, Transfer::Out(bytes), &data), Job::Write { lba, data })
            }
            16..19 => {
                let cdb = Cdb::read10((LANES * LANE_BLOCKS) as u32, blocks as u16);
                (self.submit(&cdb, Transfer::In(bytes), &[]), Job::Refused)
            }
            _ => (self.submit(&INQUIRY, Transfer::In(96), &[]), Job::Inquiry),
        }
    }

    /// Compares the end of a task with the model, if it has ended.
    fn check(&mut self, task: TaskId, job: &Job, model: &mut [u8]) -> bool {
        let Some(told) = self.told.remove(&task.to_bits()) else { return false };
        let seed = self.seed;
        let Told::Done { outcome, sense, .. } = told else { panic!("seed {seed}: {told:?}") };
        let range = |lba: &u64, bytes: usize| {
            let from = *lba as usize * BLOCK;
            from..from + bytes
        };
        if let Job::Refused = job {
            assert_eq!(outcome.status(), Some(ScsiStatus::CheckCondition), "seed {seed}");
            // ILLEGAL REQUEST, logical block address out of range.
            assert_eq!((sense[2] & 0xf, sense[12], sense[13]), (5, 0x21, 0), "seed {seed}");
        } else {
            assert!(outcome.is_good(), "seed {seed}: {outcome:?} {sense:02x?}");
        }
        match job {
            Job::Read { lba, blocks } => {
                let wanted = &model[range(lba, *blocks as usize * BLOCK)];
                assert!(self.memory.read(task) == wanted, "seed {seed}: {task:?} read others");
            }
            Job::Write { lba, data } => model[range(lba, data.len())].copy_from_slice(data),
            Job::Inquiry => assert_eq!(self.memory.read(task), self.inquiry, "seed {seed}"),
            Job::Refused => {}
        }
        self.memory.take(task);
        true
    }
}

/// What all runs came to.
#[derive(Default)]
struct Sum {
    damaged: BTreeMap<(&'static str, &'static str), u64>,
    recovered: BTreeMap<&'static str, u64>,
    tasks: u64,
}

impl Sum {
    fn add(&mut self, pair: &Pair<'_>) {
        let link = pair.link.as_ref().unwrap();
        for (way, pipe) in [("to target", &link.to_target), ("to initiator", &link.to_initiator)] {
            for (kind, count) in pipe.damaged() {
                *self.damaged.entry((way, kind)).or_default() += count;
            }
        }
        let Recovered {
            snacks,
            data_acks,
            data_in,
            last_data_in,
            scsi_responses,
            rejects,
            recovery_r2ts,
            ..
        } = pair.driver.connection().counters().recovered;
        for (what, count) in [
            ("SNACKs", snacks),
            ("DataACKs", data_acks),
            ("Data-In", data_in),
            ("Data-In with status", last_data_in),
            ("SCSI Response", scsi_responses),
            ("Reject", rejects),
            ("recovery R2Ts", recovery_r2ts),
        ] {
            *self.recovered.entry(what).or_default() += count;
        }
    }
}

/// What happens to the PDUs of a run.
#[derive(Clone, Copy, PartialEq)]
enum Trouble {
    /// Data arrive damaged, both ways.
    Damage,
    /// What the target sends arrives twice, or after the PDU that follows it.
    Disorder,
}

/// PDUs of the target that are repeated or swapped: never two in a row.
fn disorder(rng: &mut Rng) -> Vec<(u64, PduFault)> {
    let mut faults = Vec::new();
    let mut number = 0;
    while number < 6_000 {
        number += 2 + rng.below(40);
        faults.push((number, pick(rng, &[PduFault::Repeat, PduFault::Swap])));
    }
    faults
}

fn play(seed: u64, tasks: u64, trouble: Trouble, sum: &mut Sum) {
    let mut rng = Rng::new(seed);
    let mut config = TargetConfig::new(IscsiName::new("iqn.2001-04.com.example:disk").unwrap());
    config.limits = limits(&mut rng);
    // A ping brings what waits to be overtaken.
    config.nop_interval = (trouble == Trouble::Disorder).then_some(Duration::from_secs(1));
    let mut disk = RamDisk::new(vec![0; DISK], BLOCK as u32).unwrap();
    let mut units = [LogicalUnit::new(0, &mut disk, "pair")];
    let mut sessions = [const { NexusSlot::EMPTY }; 2];
    let target = Target::new(&config, &mut units, &mut sessions).unwrap();

    // No keep-alive and no deadline of a task helps.
    let timeouts = Timeouts { nop_interval: None, command: None, ..Timeouts::DEFAULT };
    let name = IscsiName::new("iqn.2001-04.com.example:host").unwrap();
    let initiator = Config::normal(name, config.name.clone())
        .limits(limits(&mut rng))
        .timeouts(timeouts)
        .build()
        .unwrap();
    let mut session: Box<Session> = Box::<InlineSession<8>>::default();
    session.configure(initiator).unwrap();
    let mut faults = Faults::network(&mut rng);
    faults.stall = 0;
    faults.split = faults.split.min(100);
    faults.window = faults.window.max(1_460);
    let mut pair = Pair {
        seed,
        clock: Clock::new(),
        driver: StrictDriver::new(session, RecvBuf::boxed(), seed),
        memory: Memory::new(),
        link: None,
        connects: 0,
        target,
        connection: TargetConnection::boxed(),
        target_scratch: RecvBuf::boxed(),
        faults,
        told: BTreeMap::new(),
        inquiry: Vec::new(),
        rng,
    };
    let portal = Portal::parse("192.0.2.2:3260").unwrap();
    pair.driver.session.open(portal, pair.clock.now()).unwrap();
    pair.driver.touch();
    pair.run();
    let negotiated = *pair.driver.session.negotiated();
    assert_eq!(negotiated.error_recovery_level, 1, "seed {seed}");
    // The unit attention of a new session.
    for _ in 0..3 {
        pair.submit(&[0; 6], Transfer::None, &[]);
        pair.run();
    }
    let inquiry = pair.submit(&INQUIRY, Transfer::In(96), &[]);
    pair.run();
    pair.inquiry = pair.memory.read(inquiry).to_vec();
    pair.told.clear();
    let (header, data) = (negotiated.header_digest, DigestKind::Crc32c);
    let link = pair.link.as_mut().unwrap();
    match trouble {
        Trouble::Damage => {
            link.to_target.damage_data(DAMAGED, header, data);
            link.to_initiator.damage_data(DAMAGED, header, data);
        }
        Trouble::Disorder => {
            link.to_initiator.set_pdu_faults(&disorder(&mut pair.rng), header, data);
        }
    }

    let mut model = vec![0; DISK];
    let mut running: BTreeMap<u64, (TaskId, Job)> = BTreeMap::new();
    let mut started = 0;
    while started < tasks || !running.is_empty() {
        for lane in 0..LANES {
            if started < tasks && !running.contains_key(&lane) && pair.rng.below(4) > 0 {
                let job = pair.start(lane);
                running.insert(lane, job);
                started += 1;
            }
        }
        if pair.rng.below(3) == 0 {
            pair.run();
        } else {
            for _ in 0..1 + pair.rng.below(30) {
                pair.step();
            }
        }
        let state = pair.driver.session.state();
        let end = pair.connection.end_reason();
        assert_eq!(state, SessionState::LoggedIn, "seed {seed}: {end:?}");
        let before = running.len();
        running.retain(|_, (task, job)| !pair.check(*task, job, &mut model));
        if started >= tasks && running.len() == before {
            pair.run();
            if trouble == Trouble::Disorder {
                let deadline = pair.connection.wants().deadline.unwrap();
                pair.clock.jump_to(deadline);
                pair.run();
            }
            running.retain(|_, (task, job)| !pair.check(*task, job, &mut model));
            let wants = pair.driver.wants();
            assert!(running.len() < before || before == 0, "seed {seed}: stands still, {wants:?}");
        }
    }
    assert_eq!(pair.connects, 1, "seed {seed}");
    sum.tasks += started;
    sum.add(&pair);
    if trouble == Trouble::Disorder {
        // The answer to a logout would be the last PDU: nothing overtakes it.
        return;
    }
    pair.driver.session.logout(pair.clock.now()).unwrap();
    pair.driver.touch();
    pair.run();
    assert_eq!(pair.driver.session.state(), SessionState::Closed, "seed {seed}");
}

#[test]
fn ten_thousand_damaged_pdus_cost_no_connection() {
    let runs = std::env::var("SEEDS").ok().and_then(|n| n.parse().ok()).unwrap_or(120);
    let first = Rng::from_env(0).seed();
    let mut sum = Sum::default();
    for seed in first..first + runs {
        play(seed, 200, Trouble::Damage, &mut sum);
    }
    let total: u64 = sum.damaged.values().sum();
    println!("{total} PDUs damaged in {runs} runs of {} tasks: {:#?}", sum.tasks, sum.damaged);
    println!("recovered by the initiator: {:#?}", sum.recovered);
    if runs < 120 {
        return;
    }
    assert!(total >= 10_000, "{total}");
    for kind in ["Data-In", "Data-In with status", "SCSI Response", "Reject"] {
        assert!(sum.damaged[&("to initiator", kind)] >= 100, "{kind}: {:?}", sum.damaged);
        assert!(sum.recovered[kind] >= 100, "{kind}: {:?}", sum.recovered);
    }
    for kind in ["Data-Out", "last Data-Out", "SCSI Command"] {
        assert!(sum.damaged[&("to target", kind)] >= 100, "{kind}: {:?}", sum.damaged);
    }
    assert!(sum.recovered["recovery R2Ts"] >= 100, "{:?}", sum.recovered);
}

#[test]
fn repeated_and_overtaken_pdus_cost_no_connection() {
    let runs = std::env::var("SEEDS").ok().and_then(|n| n.parse().ok()).unwrap_or(20);
    let first = Rng::from_env(50_000).seed();
    let mut sum = Sum::default();
    for seed in first..first + runs {
        play(seed, 100, Trouble::Disorder, &mut sum);
    }
    println!("{runs} runs of {} tasks: {:#?}", sum.tasks, sum.recovered);
    for kind in ["Data-In", "SCSI Response"] {
        assert!(sum.recovered[kind] > 0, "{kind}: {:?}", sum.recovered);
    }
}
