//! Requests under way together: order, overlaps, a full table, letting go.

mod common;

use common::World;
use common::device::Device;
use iscsi_disk::{DiskError, Request, RequestError, RequestId};
use proptest::prelude::*;

#[test]
fn a_large_request_has_several_commands_in_flight() {
    let mut world = World::idle(Device::new(512, 1024), |config| {
        config.max_transfer = 8192;
        config.commands_per_request = 3;
    });
    world.start();
    world.target.hold = true;
    let len = 100 * 1024;
    let large = world.submit(Request::read(512, len as u64), &vec![0; len]).unwrap();
    world.settle();
    assert_eq!((world.target.waiting(), world.disk.in_flight()), (3, 3));
    assert_eq!(world.disk.tasks(large).count(), 3);
    // Another request takes its turns.
    let small = world.submit(Request::read(0, 512), &[0; 512]).unwrap();
    world.settle();
    assert_eq!(world.target.waiting(), 4);
    world.target.hold = false;
    world.target.seed = 9;
    let content = world.target.device.data.clone();
    assert_eq!(world.wait(large).unwrap(), content[512..][..len]);
    assert_eq!(world.wait(small).unwrap(), content[..512]);
}

#[test]
fn the_queue_depth_is_kept() {
    let mut world = World::idle(Device::new(512, 64), |config| config.queue_depth = 2);
    world.start();
    world.target.hold = true;
    for block in 0..5 {
        world.submit(Request::read(block * 512, 512), &[0; 512]).unwrap();
    }
    world.settle();
    assert_eq!(world.target.waiting(), 2);
    world.target.hold = false;
    world.run_until(|world| world.done.len() == 5);
}

#[test]
fn a_full_table_refuses_and_full_task_slots_only_delay() {
    let mut world = World::new(Device::new(512, 64));
    world.target.hold = true;
    // Somebody else on the session has most of the task slots.
    for _ in 0..6 {
        let ready = iscsi_core::Command::new(
            iscsi_core::Lun::new(1).unwrap(),
            &[0; 6],
            iscsi_core::Transfer::None,
        );
        world.session.submit(&ready, world.now).unwrap();
    }
    let ids: Vec<_> = (0..8)
        .map(|block| world.submit(Request::read(block * 512, 512), &[0; 512]).unwrap())
        .collect();
    let more = world.disk.submit(Request::read(0, 512));
    assert_eq!(more, Err(RequestError::NoFreeRequest));
    world.settle();
    assert_eq!(world.target.waiting(), 8);
    assert_eq!(world.disk.in_flight(), 2);
    world.target.hold = false;
    for id in ids {
        assert!(world.wait(id).is_ok());
    }
    assert_eq!((world.disk.in_use(), world.disk.in_flight()), (0, 0));
}

#[test]
fn two_disks_share_a_session() {
    use iscsi_core::driver::pump;
    use iscsi_disk::{Disk, DiskEvent};

    let mut world = World::new(Device::new(512, 64));
    let mut other = Disk::boxed(8, *world.disk.config());
    other.assume(*world.disk.geometry().unwrap(), *world.disk.identity().unwrap()).unwrap();
    let mut memory = common::Memory::default();
    let content = world.target.device.data.clone();
    let mut ids = Vec::new();
    for block in 0..4 {
        let offset = block * 512;
        let mine = world.submit(Request::read(offset, 512), &[0; 512]).unwrap();
        let theirs = other.submit(Request::read(offset + 8192, 512)).unwrap();
        memory.0.insert(theirs, vec![0; 512]);
        ids.push((mine, theirs));
    }
    let mut theirs_done = 0;
    for _ in 0..100 {
        world.disk.drive(&mut world.session, world.now);
        other.drive(&mut world.session, world.now);
        let buffers = world.disk.buffers(&mut world.memory).or(other.buffers(&mut memory));
        let _wants = pump(
            &mut world.connection,
            &mut world.session,
            &mut { buffers },
            &mut world.scratch,
            &mut world.target,
            world.now,
            8,
        )
        .unwrap();
        while let Some(event) = world.session.poll_event() {
            let mine = world.disk.handle_event(&event, world.now);
            assert!(mine ^ other.handle_event(&event, world.now), "{event:?}");
        }
        while let Some(event) = other.poll_event() {
            theirs_done += u32::from(matches!(event, DiskEvent::Done { result: Ok(()), .. }));
        }
    }
    assert_eq!(theirs_done, 4);
    for (block, (mine, theirs)) in ids.into_iter().enumerate() {
        assert_eq!(world.wait(mine).unwrap(), content[block * 512..][..512]);
        assert_eq!(memory.0[&theirs], content[block * 512 + 8192..][..512]);
    }
}

#[test]
fn handles_do_not_outlive_their_request() {
    let mut world = World::new(Device::new(512, 64));
    let first = world.submit(Request::read(0, 512), &[0; 512]).unwrap();
    assert!(world.disk.holds(first));
    world.wait(first).unwrap();
    let second = world.submit(Request::read(0, 512), &[0; 512]).unwrap();
    assert_eq!(first.index(), second.index());
    assert_ne!(first, second);
    assert!(!world.disk.holds(first) && world.disk.holds(second));
    let gone = Err(RequestError::NoSuchRequest);
    assert_eq!(world.disk.detach(first), gone);
    assert_eq!(world.disk.cancel(first, &mut world.session, world.now), gone);
}

#[test]
fn writes_into_one_block_take_turns() {
    let mut world = World::new(Device::new(512, 64));
    world.target.hold = true;
    let mut expected = world.target.device.data.clone();
    let mut ids = Vec::new();
    for part in 0..4 {
        let at = 1000 + part * 100;
        expected[at..at + 100].fill(part as u8);
        ids.push(world.submit(Request::write(at as u64, 100), &[part as u8; 100]).unwrap());
    }
    world.settle();
    assert_eq!(world.target.waiting(), 2, "the edges of the first write");
    world.target.hold = false;
    for id in ids {
        world.wait(id).unwrap();
    }
    assert!(world.target.device.data == expected);
}

#[test]
fn reads_pass_waiting_writes() {
    let mut world = World::new(Device::new(512, 64));
    world.target.hold = true;
    world.submit(Request::write(10, 10), &[1; 10]).unwrap();
    world.submit(Request::write(30, 10), &[2; 10]).unwrap();
    world.settle();
    assert_eq!(world.target.waiting(), 1);
    world.submit(Request::read(0, 512), &[0; 512]).unwrap();
    world.settle();
    assert_eq!(world.target.waiting(), 2);
    // A write elsewhere keeps behind the waiting one, so that nothing waits for ever.
    world.submit(Request::write(5120, 512), &[3; 512]).unwrap();
    world.settle();
    assert_eq!(world.target.waiting(), 2);
    world.target.hold = false;
    world.run_until(|world| world.done.len() == 4);
}

#[test]
fn cancelled_requests_end() {
    let mut world = World::new(Device::new(512, 64));
    world.target.hold = true;
    let flying = world.submit(Request::write(0, 512), &[1; 512]).unwrap();
    let edge = world.submit(Request::write(1000, 10), &[1; 10]).unwrap();
    let waiting = world.submit(Request::write(1010, 10), &[1; 10]).unwrap();
    let behind = world.submit(Request::write(1020, 10), &[2; 10]).unwrap();
    world.settle();
    world.disk.cancel(waiting, &mut world.session, world.now).unwrap();
    world.settle();
    assert_eq!(world.done[&waiting], Err(DiskError::Cancelled), "at once");
    world.disk.cancel(flying, &mut world.session, world.now).unwrap();
    assert!(world.disk.holds(flying), "the target may still ask for the data");
    world.settle();
    assert_eq!(world.done[&flying], Err(DiskError::Cancelled));
    assert_eq!(world.target.aborts, 1);
    world.disk.cancel(edge, &mut world.session, world.now).unwrap();
    world.settle();
    assert_eq!(world.done[&edge], Err(DiskError::Cancelled));
    world.target.hold = false;
    world.wait(behind).unwrap();
    assert_eq!(world.target.device.data[1020..1030], [2; 10]);
    assert_eq!(world.target.device.count(0x2a), 1);
}

#[test]
fn detached_requests_end_silently() {
    let mut world = World::new(Device::new(512, 64));
    let id = world.submit(Request::write(100, 100), &[1; 100]).unwrap();
    world.disk.detach(id).unwrap();
    world.run_until(|world| !world.disk.holds(id));
    assert_eq!(world.disk.in_use(), 0);
    assert!(world.done.is_empty());
    assert_eq!(world.target.device.data[100..200], [1; 100]);
}

#[test]
fn revoked_memory_is_never_asked_for() {
    let mut world = World::new(Device::new(512, 64));
    world.target.hold = true;
    let read = world.submit(Request::read(0, 1024), &[0; 1024]).unwrap();
    let queued = world.submit(Request::read(512, 1024), &[0; 1024]).unwrap();
    world.settle();
    for id in [read, queued] {
        world.disk.revoke(id, &mut world.connection, &mut world.session, world.now).unwrap();
        // Asking for it would panic.
        world.memory.0.remove(&id);
    }
    world.target.hold = false;
    world.run_until(|world| world.disk.in_use() == 0);
    assert!(world.done.is_empty());
    assert!(world.read(0, 512).is_ok(), "the session lives on");
    assert_eq!(world.disk.in_flight(), 0);
}

/// Bytes of the model disk.
const BYTES: u64 = 16 * 512;

#[derive(Debug, Clone)]
enum Step {
    Read { offset: u64, len: u64 },
    Write { offset: u64, len: u64, fill: u8 },
    Zero { offset: u64, len: u64 },
    Unmap { offset: u64, len: u64 },
    Execute,
    Drain,
}

fn step() -> impl Strategy<Value = Step> {
    let range = || (0..BYTES, 0_u64..2000).prop_map(|(at, len)| (at, len.min(BYTES - at)));
    prop_oneof![
        2 => range().prop_map(|(offset, len)| Step::Read { offset, len }),
        5 => (range(), 1_u8..255).prop_map(|((offset, len), fill)| Step::Write { offset, len, fill }),
        1 => range().prop_map(|(offset, len)| Step::Zero { offset, len }),
        1 => range().prop_map(|(offset, len)| Step::Unmap { offset, len }),
        3 => Just(Step::Execute),
        1 => Just(Step::Drain),
    ]
}

/// One byte of the disk: what it may read as, the value from before first, and how many requests on it are under way.
#[derive(Clone)]
struct Byte {
    possible: Vec<u8>,
    busy: usize,
}

struct Model {
    bytes: Vec<Byte>,
    running: Vec<(RequestId, Request, Option<u8>)>,
}

impl Model {
    fn started(&mut self, id: RequestId, request: Request, fill: Option<u8>) {
        for byte in &mut self.bytes[affected(&request)] {
            byte.busy += 1;
            byte.possible.extend(fill);
        }
        self.running.push((id, request, fill));
    }

    fn ended(&mut self, id: RequestId) -> (Request, Option<u8>) {
        let at = self.running.iter().position(|&(other, ..)| other == id).unwrap();
        let (_, request, fill) = self.running.remove(at);
        for byte in &mut self.bytes[affected(&request)] {
            byte.busy -= 1;
        }
        (request, fill)
    }

    /// Where nothing is under way, what the device holds must be possible, and is certain from now on.
    fn settle(&mut self, device: &[u8]) -> Result<(), TestCaseError> {
        for (at, (byte, &held)) in self.bytes.iter_mut().zip(device).enumerate() {
            if byte.busy == 0 {
                // The value from before is possible only if no write covered the byte.
                let written = byte.possible.get(1..).filter(|written| !written.is_empty());
                let valid = written.unwrap_or(&byte.possible);
                prop_assert!(valid.contains(&held), "byte {at} is {held}, not one of {valid:?}");
                byte.possible = vec![held];
            }
        }
        Ok(())
    }
}

fn affected(request: &Request) -> core::ops::Range<usize> {
    let (from, to) = (request.offset, request.offset + request.len);
    if request.operation == iscsi_disk::Operation::Unmap {
        let from = from.next_multiple_of(512);
        from as usize..((to / 512 * 512).max(from)) as usize
    } else {
        from as usize..to as usize
    }
}

fn run(steps: &[Step], seed: u64, same: bool) -> Result<(), TestCaseError> {
    let mut device = Device::new(512, BYTES / 512);
    if !same {
        device.limits.as_mut().unwrap().max_write_same_length = 0;
        device.provisioning.as_mut().unwrap().lbpws = false;
    }
    let mut world = World::idle(device, |config| config.max_transfer = 1024);
    world.start();
    world.target.hold = true;
    world.target.seed = seed | 1;
    let device = world.target.device.data.iter();
    let bytes = device.map(|&byte| Byte { possible: vec![byte], busy: 0 }).collect();
    let mut model = Model { bytes, running: Vec::new() };
    for step in steps.iter().chain([&Step::Drain]) {
        let (request, fill) = match *step {
            Step::Read { offset, len } => (Request::read(offset, len), None),
            Step::Write { offset, len, fill } => (Request::write(offset, len), Some(fill)),
            Step::Zero { offset, len } => (Request::write_zeroes(offset, len), Some(0)),
            Step::Unmap { offset, len } => (Request::unmap(offset, len), Some(0)),
            Step::Execute => {
                world.target.execute();
                world.settle();
                finish(&mut world, &mut model)?;
                continue;
            }
            Step::Drain => {
                while !model.running.is_empty() {
                    world.settle();
                    prop_assert!(
                        world.target.execute() || !world.done.is_empty(),
                        "stuck: {:?}",
                        model.running
                    );
                    world.settle();
                    finish(&mut world, &mut model)?;
                }
                continue;
            }
        };
        let memory = vec![fill.unwrap_or(0xee); request.memory() as usize];
        match world.submit(request, &memory) {
            Ok(id) => model.started(id, request, fill),
            Err(error) => prop_assert_eq!(error, RequestError::NoFreeRequest),
        }
        world.settle();
        finish(&mut world, &mut model)?;
    }
    prop_assert_eq!((world.disk.in_use(), world.disk.in_flight()), (0, 0));
    Ok(())
}

/// Takes the results: reads must have seen what was possible.
fn finish(world: &mut World, model: &mut Model) -> Result<(), TestCaseError> {
    for (id, result) in core::mem::take(&mut world.done) {
        prop_assert_eq!(result, Ok(()));
        let memory = world.memory.0.remove(&id).unwrap();
        let (request, fill) = model.ended(id);
        if fill.is_none() {
            for (at, byte) in affected(&request).zip(memory) {
                let possible = &model.bytes[at].possible;
                prop_assert!(possible.contains(&byte), "byte {at} read as {byte}: {possible:?}");
            }
        }
    }
    model.settle(&world.target.device.data)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    /// Overlapping requests, executed by the device in any order, on a disk of 16 blocks: no byte is lost, none is invented.
    #[test]
    fn data_equal_the_model(
        steps in proptest::collection::vec(step(), 1..60),
        seed: u64,
        same: bool,
    ) {
        run(&steps, seed, same)?;
    }
}
