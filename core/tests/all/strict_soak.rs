//! Thousands of runs against the strict driver: any configuration, any network, any split.
#![cfg(feature = "testing")]

use std::collections::BTreeMap;

use iscsi_core::config::Timeouts;
use iscsi_core::driver::RecvBuf;
use iscsi_core::testing::{Disk, Faults, Memory, R2tOrder, Rig, Rng, Service};
use iscsi_core::text::{Digests, Limits};
use iscsi_core::{ConfigBuilder, InlineSession, SessionState, TaskId};

const BLOCKS: u64 = 128;

fn pick<T: Copy>(rng: &mut Rng, from: &[T]) -> T {
    from[rng.below(from.len() as u64) as usize]
}

fn scratch(rng: &mut Rng) -> Box<RecvBuf> {
    match rng.below(6) {
        0 => Box::new(RecvBuf::new([])),
        1 => Box::new(RecvBuf::new([0; 1])),
        2 => Box::new(RecvBuf::new([0; 47])),
        3 => Box::new(RecvBuf::new([0; 96])),
        4 => Box::new(RecvBuf::new([0; 700])),
        _ => RecvBuf::boxed(),
    }
}

fn sides(rng: &mut Rng) -> (ConfigBuilder, Limits) {
    let digests = [Digests::NONE, Digests::CRC32C];
    let sizes = [512, 513, 1000, 4096, 65_536, 262_144];
    let in_order = rng.below(2) == 0;
    // A slow link may need longer for a ping behind much data.
    let timeouts = Timeouts { nop_interval: None, command: None, ..Timeouts::DEFAULT };
    let config = Rig::config()
        .timeouts(timeouts)
        .header_digest(pick(rng, &digests))
        .data_digest(pick(rng, &digests))
        .initial_r2t(rng.below(2) == 0)
        .immediate_data(rng.below(2) == 0)
        .max_recv_data_segment_length(pick(rng, &sizes))
        .max_burst_length(pick(rng, &sizes))
        .first_burst_length(pick(rng, &sizes))
        .max_outstanding_r2t(pick(rng, &[1, 2, 8]))
        .data_sequence_in_order(in_order);
    let limits = Limits {
        header_digest: Digests::CRC32C_NONE,
        data_digest: Digests::CRC32C_NONE,
        max_recv_data_segment_length: pick(rng, &sizes),
        data_sequence_in_order: in_order,
        ..Limits::DEFAULT
    };
    (config, limits)
}

fn service(rng: &mut Rng, ascending: bool) -> Service {
    let mut service = Service::new(Disk::new(BLOCKS as usize));
    service.segment = pick(rng, &[60, 511, 512, 4096, 8192, u32::MAX]);
    service.collapse = rng.below(2) == 0;
    service.burst = pick(rng, &[100, 512, 4096, u32::MAX]);
    service.outstanding = pick(rng, &[1, 3, 8]);
    service.order = if ascending { R2tOrder::Ascending } else { R2tOrder::Descending };
    service
}

/// Reads and writes that do not overlap while they run, compared with a model.
fn soak(seed: u64, cut: bool) {
    let mut rng = Rng::new(seed);
    let (config, limits) = sides(&mut rng);
    let config = config.build().unwrap();
    let mut rig =
        Rig::with(config, limits, Box::<InlineSession<8>>::default(), scratch(&mut rng), seed);
    if rng.below(2) == 0 {
        rig.memory = Memory::scattered(pick(&mut rng, &[17, 100, 4096]));
    }
    rig.faults = [Faults::network(&mut rng), Faults::network(&mut rng)];
    rig.target.window = pick(&mut rng, &[1, 2, 32]);
    if cut {
        rig.faults[rng.below(2) as usize].cut = Some(2_000 + rng.below(60_000));
    }
    rig.log_in();
    let in_order = rig.target.negotiated().data_sequence_in_order;
    let ascending = in_order || rng.below(2) == 0;
    rig.target.service = Some(service(&mut rng, ascending));
    let mut model = rig.disk().clone();
    // Each of the eight lanes owns a part of the disk, so that a read sees what was written before it.
    let lane_blocks = BLOCKS / 8;
    let mut running: BTreeMap<u64, (TaskId, Job)> = BTreeMap::new();
    for _ in 0..10 {
        for lane in 0..8 {
            if running.contains_key(&lane) || rng.below(3) == 0 {
                continue;
            }
            let blocks = 1 + rng.below(lane_blocks.min(8));
            let lba = (lane * lane_blocks + rng.below(lane_blocks - blocks + 1)) as u32;
            let entry = if rng.below(2) == 0 {
                (rig.read(lba, blocks as u16), Job { lba, blocks, written: None })
            } else {
                let mut bytes = vec![0; blocks as usize * 512];
                rng.fill(&mut bytes);
                (rig.write(lba, &bytes), Job { lba, blocks, written: Some(bytes) })
            };
            running.insert(lane, entry);
        }
        for _ in 0..rng.below(40) {
            rig.step();
        }
        if rng.below(4) == 0 {
            rig.run();
        }
        if rig.state() != SessionState::LoggedIn {
            break;
        }
        running.retain(|_, (task, job)| {
            let ended = rig.end(*task).is_some();
            if ended {
                finish(&rig, &mut model, *task, job);
            }
            !ended
        });
    }
    rig.run();
    if cut && rig.state() == SessionState::LoggedIn {
        // Too little was sent to reach the cut.
        return;
    }
    for (task, job) in running.into_values() {
        if cut {
            assert!(rig.end(task).is_some(), "seed {seed}: {task:?} never ended");
            if rig.lost(task).is_some() {
                continue;
            }
        }
        finish(&rig, &mut model, task, &job);
    }
    let ends: Vec<_> = rig.told.iter().filter_map(|told| told.task()).collect();
    let unique: std::collections::BTreeSet<_> = ends.iter().map(|task| task.to_bits()).collect();
    assert_eq!(ends.len(), unique.len(), "seed {seed}: a task ended twice");
    assert_eq!(rig.driver.session.in_use(), 0, "seed {seed}");
    if !cut {
        assert_eq!(rig.state(), SessionState::LoggedIn, "seed {seed}");
        assert!(*rig.disk() == model, "seed {seed}: the disk differs from the model");
    }
}

/// What a task does: which blocks, and what it writes.
struct Job {
    lba: u32,
    blocks: u64,
    written: Option<Vec<u8>>,
}

fn finish(rig: &Rig, model: &mut Disk, task: TaskId, job: &Job) {
    let seed = rig.rng.seed();
    assert!(rig.outcome(task).is_good(), "seed {seed}: {:?}", rig.end(task));
    let at = job.lba as usize * 512;
    let range = at..at + job.blocks as usize * 512;
    match &job.written {
        Some(bytes) => model.bytes[range].copy_from_slice(bytes),
        None => {
            let read = rig.memory.read(task);
            assert!(read == &model.bytes[range], "seed {seed}: {task:?} read wrong data");
        }
    }
}

#[test]
fn any_network_moves_every_byte() {
    let first = Rng::from_env(0).seed();
    for seed in first..first + 60 {
        soak(seed, false);
    }
}

#[test]
fn a_cut_ends_every_task_once() {
    let first = Rng::from_env(10_000).seed();
    for seed in first..first + 60 {
        soak(seed, true);
    }
}
