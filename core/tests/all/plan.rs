//! The plan calls say what the slice calls say, and move the same bytes.
#![cfg(feature = "testing")]

use iscsi_core::auth::Entropy;
use iscsi_core::digest::DigestKind;
use iscsi_core::testing::{Disk, Memory, Node, Rig, Rng, ScriptedTarget, Service, Told};
use iscsi_core::text::{Digests, Limits};
use iscsi_core::wire::{AsyncEvent, Completion, NopInKind, ScsiStatus, TransferTag};
use iscsi_core::{
    Action, Buffers, Command, Config, Connection, ConnectionState, DiscoveryItem, DiscoveryScope,
    InlineConnection, Instant, LostReason, Lun, NoBuffers, Portal, RecvPlan, Session, SessionState,
    TargetTransferTag, TaskId, Transfer, TransmitRun,
};

/// With which calls bytes are moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Slices,
    Plans,
}

/// An initiator and a scripted target; every byte between them goes through the calls under test.
struct Pair {
    way: Way,
    connection: Box<InlineConnection>,
    session: Box<Session>,
    target: ScriptedTarget,
    memory: Memory,
    /// `received` has to read what was placed, and a PDU's data are read when it is frozen.
    data_digest: bool,
    now: Instant,
    /// How much moves in one turn: the same either way.
    schedule: Rng,
    /// In which pieces: of no consequence.
    split: Rng,
    input: Vec<u8>,
    sent: Vec<u8>,
    received: Vec<u8>,
    told: Vec<Told>,
    items: Vec<DiscoveryItem>,
}

impl Pair {
    fn new(way: Way, config: Config, limits: Limits, run: usize, seed: u64) -> Self {
        let mut schedule = Rng::new(seed);
        let split = schedule.fork();
        let mut session = Session::boxed(16);
        session.configure(config).unwrap();
        let mut pair = Self {
            way,
            connection: Box::new(InlineConnection::new()),
            session,
            target: ScriptedTarget::new(limits),
            memory: Memory::scattered(run),
            data_digest: false,
            now: Instant::ZERO,
            schedule,
            split: if way == Way::Plans { split } else { Rng::new(!seed) },
            input: Vec::new(),
            sent: Vec::new(),
            received: Vec::new(),
            told: Vec::new(),
            items: Vec::new(),
        };
        pair.session.open(Portal::parse("192.0.2.2").unwrap(), pair.now).unwrap();
        pair.run();
        assert_eq!(pair.session.state(), SessionState::LoggedIn);
        pair.data_digest = pair.target.negotiated().data_digest != DigestKind::None;
        pair
    }

    fn submit(&mut self, cdb: &[u8], transfer: Transfer, out: &[u8]) -> TaskId {
        let command = Command::new(Lun::ZERO, cdb, transfer);
        let task = self.session.submit(&command, self.now).unwrap();
        self.memory.take(task);
        self.memory.lend_in(task, transfer.in_len() as usize);
        self.memory.lend_out(task, out.to_vec());
        task
    }

    fn is_good(&self, task: TaskId) -> bool {
        let good = |told: &Told| matches!(told, Told::Done { outcome, .. } if outcome.is_good());
        self.told.iter().any(|told| told.task() == Some(task) && good(told))
    }

    /// What `poll_transmit` shows, in any number of runs.
    fn shown(&mut self, runs: usize) -> Vec<u8> {
        let mut out: Vec<&[u8]> = vec![&[]; runs];
        let n = self.connection.poll_transmit(&mut self.session, &self.memory, &mut out, self.now);
        assert!(out[..n].iter().all(|run| !run.is_empty()));
        out[..n].concat()
    }

    /// What `transmit_plan` names, fetched.
    fn planned(&mut self, runs: usize) -> Vec<u8> {
        let lent: &dyn Buffers = if self.data_digest { &self.memory } else { &NoBuffers };
        let mut out = vec![TransmitRun::default(); runs];
        let n = self.connection.transmit_plan(&mut self.session, lent, &mut out, self.now);
        let sizes: Vec<u32> = out[..n].iter().map(|run| run.size()).collect();
        let bytes = self.fetch(&out[..n]);
        assert!(!sizes.contains(&0) && sizes.iter().sum::<u32>() as usize == bytes.len());
        bytes
    }

    /// The bytes that runs name.
    fn fetch(&self, runs: &[TransmitRun]) -> Vec<u8> {
        let fetched = runs.iter().flat_map(|run| match *run {
            TransmitRun::Own(own) => self.connection.own_bytes(own, &self.session),
            TransmitRun::Task { task, offset, len } => {
                &self.memory.write(task)[offset as usize..][..len as usize]
            }
        });
        fetched.copied().collect()
    }

    /// Sends at most `budget` bytes.
    fn send(&mut self, mut budget: usize) -> bool {
        let mut moved = false;
        while budget > 0 {
            // Both say the same, and asking changes nothing.
            if self.split.below(4) == 0 {
                assert_eq!(self.planned(500), self.shown(100_000));
            }
            let runs = 1 + self.split.below(12) as usize;
            let bytes = match self.way {
                Way::Slices => self.shown(runs),
                Way::Plans => self.planned(runs),
            };
            if bytes.is_empty() {
                break;
            }
            let n = 1 + self.split.below(bytes.len().min(budget) as u64) as usize;
            self.target.receive(&bytes[..n]);
            self.sent.extend_from_slice(&bytes[..n]);
            self.connection.transmitted(n, &mut self.session);
            budget -= n;
            moved = true;
        }
        moved
    }

    /// Where the next bytes go, checked one way against the other, and put there.
    fn place(&mut self, bytes: &[u8]) -> usize {
        let plan = self.connection.recv_plan(&self.session);
        let space = self.connection.recv_space(&self.session, &mut self.memory);
        let (space_len, start) = (space.len(), space.as_ptr());
        assert_eq!(space_len == 0, plan == RecvPlan::Nothing);
        let wanted = plan.size() as usize;
        assert!(space_len <= wanted && (wanted == 0) == (plan == RecvPlan::Nothing));
        match plan {
            RecvPlan::Nothing => return 0,
            RecvPlan::Own { .. } => assert_eq!(space_len, wanted),
            RecvPlan::Task { task, offset, .. } => {
                assert_eq!(start, self.memory.read(task)[offset as usize..].as_ptr());
            }
            RecvPlan::Discard { .. } => assert!(!self.data_digest),
        }
        let room = if self.way == Way::Slices { space_len } else { wanted };
        let n = 1 + self.split.below(bytes.len().min(room) as u64) as usize;
        let bytes = &bytes[..n];
        match (self.way, plan) {
            (Way::Slices, _) => {
                self.connection.recv_space(&self.session, &mut self.memory)[..n]
                    .copy_from_slice(bytes);
            }
            (Way::Plans, RecvPlan::Own { .. }) => {
                self.connection.recv_space(&self.session, &mut NoBuffers)[..n]
                    .copy_from_slice(bytes);
            }
            (Way::Plans, RecvPlan::Task { task, offset, .. }) => {
                let mut done = 0;
                while done < n {
                    let (at, rest) = (offset + done as u32, &bytes[done..]);
                    let run = self.memory.data_in(task, at, rest.len() as u32);
                    run.copy_from_slice(&rest[..run.len()]);
                    done += run.len();
                }
            }
            (Way::Plans, RecvPlan::Nothing | RecvPlan::Discard { .. }) => {}
        }
        let lent: &mut dyn Buffers = if self.way == Way::Slices || self.data_digest {
            &mut self.memory
        } else {
            &mut NoBuffers
        };
        self.connection.received(n, &mut self.session, lent, self.now);
        n
    }

    /// Takes at most `budget` bytes of what the target has sent.
    fn receive(&mut self, budget: usize) -> bool {
        self.input.extend(self.target.take_output());
        let input = core::mem::take(&mut self.input);
        let end = input.len().min(budget);
        let mut at = 0;
        while at < end {
            let n = self.place(&input[at..end]);
            if n == 0 {
                self.connection.go_on(&mut self.session, self.now);
                if self.connection.recv_plan(&self.session) == RecvPlan::Nothing {
                    break;
                }
            }
            at += n;
        }
        self.received.extend_from_slice(&input[..at]);
        self.input = input[at..].to_vec();
        at > 0
    }

    fn listen(&mut self) -> bool {
        let before = (self.told.len(), self.items.len());
        while let Some(event) = self.session.poll_event() {
            self.told.push(event.into());
        }
        while let Some(item) = self.connection.poll_discovery(&mut self.session, self.now) {
            self.items.push(item);
        }
        while let Some(action) = self.session.poll_action() {
            match action {
                Action::Connect => {
                    self.target.connected();
                    let entropy = Entropy::new([0x5a; 64]);
                    self.connection.opened(&mut self.session, entropy, self.now);
                }
                _ => self.input.clear(),
            }
        }
        before != (self.told.len(), self.items.len())
    }

    /// True if something happened.
    fn turn(&mut self) -> bool {
        let (out, r#in) = (1 + self.schedule.below(9000), 1 + self.schedule.below(70_000));
        let told = self.listen();
        let moved = self.send(out as usize) | self.receive(r#in as usize);
        self.connection.handle_timeout(&mut self.session, self.now);
        moved || told || self.listen()
    }

    fn run(&mut self) {
        let turns = (0..100_000).take_while(|_| self.turn()).count();
        assert!(turns < 100_000, "the run does not end");
    }
}

fn pattern(len: usize, salt: u8) -> Vec<u8> {
    (0..len).map(|at| (at % 241) as u8 ^ salt).collect()
}

/// What there is to compare of a run.
#[derive(PartialEq, Eq)]
struct Outcome {
    sent: Vec<u8>,
    received: Vec<u8>,
    told: Vec<Told>,
    reads: Vec<Vec<u8>>,
    disk: Vec<u8>,
}

/// Reads, writes of every kind, text, pings, sense data, long CDBs and asynchronous messages.
fn play(way: Way, seed: u64, revoked: &mut u32) -> Outcome {
    let mut rng = Rng::new(seed);
    let digests = |on| if on { Digests::CRC32C } else { Digests::NONE };
    let config = Rig::config()
        .header_digest(digests(seed & 1 != 0))
        .data_digest(digests(seed & 2 != 0))
        .immediate_data(seed & 4 != 0)
        .initial_r2t(seed & 8 != 0)
        .first_burst_length(2048 + rng.below(3000) as u32)
        .build()
        .unwrap();
    let segment = 513 + rng.below(9000) as u32;
    let limits = Limits { max_recv_data_segment_length: segment, ..Limits::DEFAULT };
    let run = [1 + rng.below(5000) as usize, usize::MAX][(seed >> 4 & 1) as usize];
    let mut pair = Pair::new(way, config, limits, run, seed);
    assert_eq!(pair.data_digest, seed & 2 != 0, "seed {seed}");
    let mut service = Service::new(Disk::new(512));
    service.segment = 1 + rng.below(50_000) as u32;
    service.burst = 512 + rng.below(20_000) as u32;
    service.collapse = rng.below(2) == 0;
    let mut model = service.disk.bytes.clone();
    pair.target.service = Some(service);
    let addresses: Vec<String> = (0..200).map(|n| format!("192.0.2.{n}:3260,1")).collect();
    let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
    pair.target.nodes = Some(vec![Node::new("iqn.2001-04.com.example:disk", &addresses)]);

    let mut reads = Vec::new();
    for round in 0..3u8 {
        let (lba, blocks) = (rng.below(200) as u32, 1 + rng.below(100) as u16);
        let out = pattern(usize::from(blocks) * 512, round);
        let at = lba as usize * 512;
        model[at..at + out.len()].copy_from_slice(&out);
        let length = out.len() as u32;
        let write = pair.submit(&Disk::write10(lba, blocks), Transfer::Out(length), &out);
        // A CDB of 32 bytes, most of them in an additional header segment.
        let long = [&Disk::read10(300, 3)[..], &[0; 22]].concat();
        let extended = pair.submit(&long, Transfer::In(3 * 512), &[]);
        let refused = pair.submit(&[0xff; 6], Transfer::In(100), &[]);
        pair.connection.send_targets(DiscoveryScope::Session, &mut pair.session, pair.now).unwrap();
        let tag = TransferTag { lun: Lun::ZERO, target_transfer_tag: TargetTransferTag(7) };
        let ping = pair.target.nop_in(NopInKind::Ping(tag));
        pair.target.send(ping, &[]);
        let message = pair.target.async_message(AsyncEvent::Scsi { lun: Lun::ZERO });
        pair.target.send(message, &[&[0, 18, 0x70][..], &[0; 17]].concat());
        pair.run();
        assert!(pair.is_good(write) && pair.is_good(extended), "seed {seed}: {:?}", pair.told);
        let sense = pair.told.iter().find_map(|told| match told {
            Told::Done { task, sense, .. } if *task == refused => Some(sense.len()),
            _ => None,
        });
        assert!(sense.is_some_and(|len| len > 0), "seed {seed}: {sense:?}");
        assert!(pair.connection.poll_async().is_some(), "seed {seed}");
        // A read whose memory is taken away somewhere on the way.
        let gone = pair.submit(&Disk::read10(0, 400), Transfer::In(400 * 512), &[]);
        for _ in 0..1 + rng.below(5) {
            pair.turn();
        }
        if pair.session.holds(gone) {
            pair.connection.revoke(gone, &mut pair.session, pair.now).unwrap();
            *revoked += u32::from(matches!(
                pair.connection.recv_plan(&pair.session),
                RecvPlan::Discard { .. } | RecvPlan::Own { len: 64 }
            ));
            pair.memory.take(gone);
        }
        reads.push((extended, 300 * 512));
        assert_eq!(pair.memory.read(extended), &model[300 * 512..303 * 512]);
        let ranges = [(lba, blocks), (0, 256), (511, 1), (rng.below(400) as u32, 100)];
        for (lba, blocks) in ranges {
            let cdb = Disk::read10(lba, blocks);
            let task = pair.submit(&cdb, Transfer::In(u32::from(blocks) * 512), &[]);
            reads.push((task, lba as usize * 512));
        }
        pair.run();
        for (task, at) in &reads[reads.len() - ranges.len()..] {
            let bytes = pair.memory.read(*task);
            assert!(pair.is_good(*task) && bytes == &model[*at..at + bytes.len()], "seed {seed}");
        }
    }
    assert_eq!(pair.items.len(), 3 * 202, "seed {seed}");
    let service = pair.target.service.as_ref().unwrap();
    assert!(service.disk.bytes == model, "seed {seed}");
    Outcome {
        reads: reads.iter().map(|(task, _)| pair.memory.read(*task).to_vec()).collect(),
        disk: service.disk.bytes.clone(),
        sent: pair.sent,
        received: pair.received,
        told: pair.told,
    }
}

#[test]
fn plans_move_the_same_bytes_as_slices() {
    let first = Rng::from_env(0).seed();
    let mut revoked = 0;
    for seed in first..first + 64 {
        let slices = play(Way::Slices, seed, &mut 0);
        let plans = play(Way::Plans, seed, &mut revoked);
        assert!(slices.sent == plans.sent, "seed {seed}: sent");
        assert!(slices == plans, "seed {seed}");
        assert!(plans.sent.len() > 3000 && plans.received.len() > 3 * 50 * 512);
    }
    assert!(revoked > 20, "{revoked} in the middle of a data segment");
}

/// A read under way, of which half a Data-In has come.
fn half_a_read(data_digest: Digests) -> (Pair, TaskId, Vec<u8>) {
    let config = Rig::config().data_digest(data_digest).build().unwrap();
    let mut pair = Pair::new(Way::Plans, config, Limits::DEFAULT, usize::MAX, 1);
    let task = pair.submit(&[0x28; 10], Transfer::In(1000), &[]);
    pair.run();
    let (command, _) = pair.target.expect_command();
    let last = pair.target.last_data_in(&command, 0, 0);
    pair.target.send(last, &pattern(1000, 9));
    let bytes = pair.target.take_output();
    let (head, tail) = bytes.split_at(48 + 400);
    pair.input.extend_from_slice(head);
    pair.run();
    assert_eq!(
        pair.connection.recv_plan(&pair.session),
        RecvPlan::Task { task, offset: 400, len: 600 }
    );
    (pair, task, tail.to_vec())
}

#[test]
fn what_nobody_wants_is_discarded_whole_or_seen_for_its_digest() {
    for digests in [Digests::NONE, Digests::CRC32C] {
        let (mut pair, task, rest) = half_a_read(digests);
        pair.connection.revoke(task, &mut pair.session, pair.now).unwrap();
        let plan = pair.connection.recv_plan(&pair.session);
        if digests == Digests::NONE {
            assert_eq!(plan, RecvPlan::Discard { len: 600 });
            // The stream goes on where the plan says, without a byte of it.
            pair.connection.received(600, &mut pair.session, &mut NoBuffers, pair.now);
            assert_eq!(pair.connection.recv_plan(&pair.session), RecvPlan::Own { len: 48 });
        } else {
            assert_eq!(plan, RecvPlan::Own { len: 64 });
        }
        let before = pair.memory.read(task).to_vec();
        if digests == Digests::CRC32C {
            let (mut at, mut budget) = (0, usize::MAX);
            // Through the slices, with the digest of the bytes that were placed before.
            at += pair.connection.receive(
                &rest[at..],
                &mut budget,
                &mut pair.session,
                &mut NoBuffers,
                pair.now,
            );
            assert_eq!(at, rest.len());
        }
        assert_eq!(pair.connection.state(), ConnectionState::FullFeature);
        assert_eq!(pair.memory.read(task), before);
    }
}

#[test]
fn a_digest_needs_the_memory_when_a_pdu_is_frozen() {
    for (digests, fine) in [(Digests::NONE, true), (Digests::CRC32C, false)] {
        let config = Rig::config().data_digest(digests).build().unwrap();
        let mut pair = Pair::new(Way::Plans, config, Limits::DEFAULT, usize::MAX, 1);
        let task = pair.submit(&[0x2a; 10], Transfer::Out(700), &[5; 700]);
        let mut runs = [TransmitRun::default(); 8];
        let (session, connection): (&mut Session, &mut Connection) =
            (&mut pair.session, &mut pair.connection);
        let n = connection.transmit_plan(session, &NoBuffers, &mut runs, pair.now);
        if fine {
            let TransmitRun::Own(own) = runs[0] else { panic!("{runs:?}") };
            assert_eq!(connection.own_bytes(own, session)[32..42], [0x2a; 10]);
            assert_eq!(runs[1..n], [TransmitRun::Task { task, offset: 0, len: 700 }]);
            // In the middle of the data.
            connection.transmitted(48 + 698, session);
            let n = connection.transmit_plan(session, &NoBuffers, &mut runs, pair.now);
            assert_eq!(runs[..n], [TransmitRun::Task { task, offset: 698, len: 2 }]);
        } else {
            assert_eq!(n, 0);
            assert_eq!(session.state(), SessionState::Failed(LostReason::NoBuffer));
        }
    }
}

/// A kernel that takes what was named while the target answers already: nothing named changes before it is reported.
#[test]
fn what_was_named_stays_until_it_is_reported() {
    let config = Rig::config().immediate_data(false).initial_r2t(false).first_burst_length(2048);
    let limits = Limits { max_recv_data_segment_length: 512, ..Limits::DEFAULT };
    let mut pair = Pair::new(Way::Plans, config.build().unwrap(), limits, usize::MAX, 1);
    let cdb: Vec<u8> = (0..64).collect();
    let task = pair.submit(&cdb, Transfer::Out(2048), &pattern(2048, 5));
    let mut runs = [TransmitRun::default(); 32];
    let n = pair.connection.transmit_plan(&mut pair.session, &NoBuffers, &mut runs, pair.now);
    // Header and additional header segment, then four times header and data.
    assert_eq!(n, 2 + 4 * 2);
    let under_way = pair.fetch(&runs[..n]);
    // The target has enough of it early.
    pair.target.receive(&under_way[..48 + 52]);
    let (command, _) = pair.target.expect_command();
    let check = Completion { status: ScsiStatus::CheckCondition, ..Completion::GOOD };
    let response = pair.target.response(&command, check);
    pair.target.send(response, &[&[0, 100][..], &[0xff; 100]].concat());
    assert!(pair.receive(usize::MAX));
    pair.submit(&[1; 64], Transfer::None, &[]);
    assert!(pair.fetch(&runs[..n]) == under_way);
    assert!(pair.planned(32).starts_with(&under_way));
    // The task ends once its memory is free.
    assert!(pair.session.poll_event().is_none());
    pair.connection.transmitted(under_way.len(), &mut pair.session);
    pair.listen();
    assert!(pair.told.iter().any(|told| told.task() == Some(task)), "{:?}", pair.told);
}

#[test]
fn more_than_there_was_room_for_counts_as_that() {
    for digests in [Digests::NONE, Digests::CRC32C] {
        let (mut pair, task, _) = half_a_read(digests);
        let before = pair.connection.counters().bytes_received;
        // A data segment, then its trailer or a header.
        let rooms = if digests == Digests::NONE { [600, 48] } else { [600, 4] };
        for room in &rooms {
            let plan = pair.connection.recv_plan(&pair.session);
            assert_eq!(plan.size(), *room, "{plan:?} of {task:?}");
            let (session, lent) = (&mut pair.session, &mut pair.memory);
            pair.connection.received(usize::MAX, session, lent, pair.now);
        }
        let received = pair.connection.counters().bytes_received - before;
        assert_eq!(received, u64::from(rooms.iter().sum::<u32>()));
    }
    let config = Rig::config().build().unwrap();
    let mut pair = Pair::new(Way::Plans, config, Limits::DEFAULT, usize::MAX, 1);
    pair.submit(&[0x28; 10], Transfer::In(1000), &[]);
    let before = pair.connection.counters().bytes_sent;
    let shown = pair.planned(32).len();
    pair.connection.transmitted(usize::MAX, &mut pair.session);
    pair.connection.transmitted(usize::MAX, &mut pair.session);
    assert_eq!(pair.connection.counters().bytes_sent - before, shown as u64);
}

#[test]
fn a_closed_connection_plans_nothing() {
    let (mut pair, task, _) = half_a_read(Digests::NONE);
    pair.connection.closed(LostReason::Transport, &mut pair.session, pair.now);
    assert_eq!(pair.connection.recv_plan(&pair.session), RecvPlan::Nothing);
    assert!(pair.planned(8).is_empty());
    // A completion that comes late does no harm.
    pair.connection.received(600, &mut pair.session, &mut NoBuffers, pair.now);
    pair.listen();
    assert!(pair.told.iter().any(|told| matches!(told, Told::Lost { task: t, .. } if *t == task)));
}

/// A send and a receive under way in a kernel, which moves bytes at any time between start and completion.
#[derive(Default)]
struct Kernel {
    send: Option<(Vec<TransmitRun>, Vec<u8>)>,
    recv: Option<RecvPlan>,
}

impl Pair {
    /// Starts what is planned and completes some of it. True if something was under way or happened.
    fn late_turn(&mut self, kernel: &mut Kernel) -> bool {
        let lent: &dyn Buffers = if self.data_digest { &self.memory } else { &NoBuffers };
        if kernel.send.is_none() {
            let mut runs = vec![TransmitRun::default(); 1 + self.split.below(60) as usize];
            let n = self.connection.transmit_plan(&mut self.session, lent, &mut runs, self.now);
            runs.truncate(n);
            let bytes = self.fetch(&runs);
            kernel.send = (n > 0).then_some((runs, bytes));
        }
        if kernel.recv.is_none() {
            self.connection.go_on(&mut self.session, self.now);
            let plan = self.connection.recv_plan(&self.session);
            kernel.recv = (plan != RecvPlan::Nothing).then_some(plan);
        }
        if self.split.below(3) == 0
            && let Some((runs, bytes)) = kernel.send.take()
        {
            assert!(self.fetch(&runs) == bytes, "what is under way has changed");
            let n = 1 + self.split.below(bytes.len() as u64) as usize;
            self.target.receive(&bytes[..n]);
            self.connection.transmitted(n, &mut self.session);
        }
        self.input.extend(self.target.take_output());
        if self.split.below(3) == 0
            && !self.input.is_empty()
            && let Some(plan) = kernel.recv.take()
        {
            assert_eq!(self.connection.recv_plan(&self.session), plan);
            let input = core::mem::take(&mut self.input);
            let n = self.place(&input);
            self.input.extend_from_slice(&input[n..]);
        }
        self.connection.handle_timeout(&mut self.session, self.now);
        let before = self.told.len();
        let told = self.listen();
        for task in self.told[before..].iter().filter_map(Told::task) {
            let names = |run: &TransmitRun| matches!(run, TransmitRun::Task { task: named, .. } if *named == task);
            let sending = kernel.send.as_ref().is_some_and(|(runs, _)| runs.iter().any(names));
            let receiving =
                matches!(kernel.recv, Some(RecvPlan::Task { task: named, .. }) if named == task);
            assert!(!sending && !receiving, "{task:?} has ended, and its memory is in use");
        }
        let waits = self.connection.wants(&self.session).write;
        told || waits || kernel.send.is_some() || !self.input.is_empty()
    }
}

/// Operations that take their time, while tasks are submitted, aborted and answered.
#[test]
fn operations_may_complete_late() {
    let first = Rng::from_env(0).seed();
    let mut aborted = 0;
    for seed in first..first + 48 {
        let mut rng = Rng::new(seed);
        let digests = if seed & 1 == 0 { Digests::NONE } else { Digests::CRC32C };
        let config = Rig::config()
            .data_digest(digests)
            .immediate_data(seed & 2 != 0)
            .initial_r2t(seed & 4 != 0)
            .build()
            .unwrap();
        let limits = Limits { max_recv_data_segment_length: 3000, ..Limits::DEFAULT };
        let mut pair = Pair::new(Way::Plans, config, limits, 5000, seed);
        let mut service = Service::new(Disk::new(1024));
        service.segment = 4000;
        service.burst = 10_000;
        let before = service.disk.bytes.clone();
        pair.target.service = Some(service);
        // Data of an aborted write may still come.
        pair.target.checks = false;
        let (mut kernel, mut tasks) = (Kernel::default(), Vec::new());
        for step in 0..6000 {
            if step % 25 == 0 && step < 1000 {
                let n = tasks.len() as u32;
                let (lba, blocks) = (n % 2 * 512 + n * 12, 1 + rng.below(12) as u16);
                let (len, at) = (u32::from(blocks) * 512, lba as usize * 512);
                let task = if n.is_multiple_of(2) {
                    pair.submit(&Disk::read10(lba, blocks), Transfer::In(len), &[])
                } else {
                    let out = pattern(len as usize, n as u8);
                    pair.submit(&Disk::write10(lba, blocks), Transfer::Out(len), &out)
                };
                tasks.push((task, at));
            }
            if step < 1000 && rng.below(15) == 0 {
                let last = tasks.len() - 1;
                let (task, _) = tasks[last.saturating_sub(rng.below(3) as usize)];
                let _ = pair.session.abort(task, pair.now);
            }
            if !pair.late_turn(&mut kernel) && step > 1000 {
                break;
            }
        }
        assert_eq!(pair.session.state(), SessionState::LoggedIn, "seed {seed}");
        for complaint in &pair.target.complaints {
            assert!(complaint.contains("not under way"), "seed {seed}: {complaint}");
        }
        let disk = &pair.target.service.as_ref().unwrap().disk.bytes;
        for (task, at) in &tasks {
            let ends = pair.told.iter().filter(|told| told.task() == Some(*task)).count();
            assert_eq!(ends, 1, "seed {seed}: {task:?}");
            if !pair.is_good(*task) {
                aborted += 1;
                continue;
            }
            let (read, written) = (pair.memory.read(*task), pair.memory.write(*task));
            assert!(read == &before[*at..at + read.len()], "seed {seed}: {task:?}");
            assert!(written == &disk[*at..at + written.len()], "seed {seed}: {task:?}");
        }
    }
    assert!((100..1000).contains(&aborted), "{aborted} of {} did not end well", 48 * 40);
}
