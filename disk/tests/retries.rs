//! What is tried again, how often and when, and what a changed device does to requests under way.

mod common;

use core::time::Duration;

use common::World;
use common::device::{Device, Reply};
use iscsi_core::wire::ScsiStatus;
use iscsi_disk::scsi::disposition::Failure;
use iscsi_disk::scsi::sense::{AdditionalSense, SenseKey};
use iscsi_disk::{DiskError, DiskState, Request};

/// A disk whose log starts empty and that answers the first commands with this operation code so.
fn troubled(opcode: u8, replies: Vec<Reply>) -> World {
    let mut world = World::new(Device::new(512, 64));
    trouble(&mut world, opcode, replies);
    world
}

fn trouble(world: &mut World, opcode: u8, mut replies: Vec<Reply>) {
    replies.reverse();
    world.target.device.log.clear();
    world.target.device.hook =
        Some(Box::new(move |cdb, _| if cdb[0] == opcode { replies.pop() } else { None }));
}

fn busy(count: usize) -> Vec<Reply> {
    vec![Reply::status(ScsiStatus::Busy); count]
}

#[test]
fn unit_attention_is_tried_again_at_once() {
    let preempted = AdditionalSense::RESERVATIONS_PREEMPTED;
    let mut world = troubled(0x28, vec![Reply::unit_attention(preempted); 5]);
    let content = world.target.device.data.clone();
    assert_eq!(world.read(0, 512).unwrap(), content[..512]);
    assert_eq!(world.target.device.log.len(), 6, "no other command");
    assert_eq!(world.now.as_micros(), 0, "no delay");

    let mut world = troubled(0x28, vec![Reply::unit_attention(preempted); 6]);
    let DiskError::Scsi(error) = world.read(0, 512).unwrap_err() else { panic!() };
    assert_eq!(error.additional, preempted);
    assert_eq!(world.target.device.count(0x28), 6, "bounded");
}

#[test]
fn an_aborted_command_is_tried_again_if_that_does_no_harm() {
    let aborted =
        || Reply::sense(SenseKey::ABORTED_COMMAND, AdditionalSense::PROTOCOL_SERVICE_CRC_ERROR);
    let mut world = troubled(0x2a, vec![aborted()]);
    world.write(512, &[7; 512]).unwrap();
    assert_eq!(world.target.device.data[512..1024], [7; 512]);

    let mut world = troubled(0x89, vec![aborted()]);
    let error = world.execute(Request::compare_and_write(0, 512), &[0; 1024]).unwrap_err();
    assert!(error.to_string().starts_with("CHECK CONDITION: COMMAND ABORTED, 47/05"), "{error}");
    assert_eq!(world.target.device.count(0x89), 1);
    // BUSY says that nothing was done.
    let mut world = troubled(0x89, busy(1));
    let same = world.target.device.data[..512].to_vec();
    let memory = [same, vec![9; 512]].concat();
    world.execute(Request::compare_and_write(0, 512), &memory).unwrap();
    assert_eq!(world.target.device.count(0x89), 2);
}

#[test]
fn busy_backs_off() {
    let mut world = troubled(0x28, busy(9));
    assert!(world.read(0, 512).is_ok());
    let millis = 10 + 20 + 40 + 80 + 160 + 320 + 640 + 1000 + 1000;
    assert_eq!(world.now.as_micros(), millis * 1000);
    // After a success delays are short again.
    trouble(&mut world, 0x28, busy(1));
    assert!(world.read(0, 512).is_ok());
    assert_eq!(world.now.as_micros(), (millis + 10) * 1000);

    let mut world = troubled(0x28, busy(100));
    let error = world.read(0, 512).unwrap_err();
    assert_eq!(error.to_string(), "BUSY");
    let waited = Duration::from_micros(world.now.as_micros());
    assert!(waited >= Duration::from_secs(30) && waited <= Duration::from_secs(31), "{waited:?}");
}

#[test]
fn a_delay_holds_back_everything() {
    let mut world = troubled(0x28, busy(1));
    let first = world.submit(Request::read(0, 512), &[0; 512]).unwrap();
    world.settle();
    assert_eq!(world.disk.poll_timeout().map(|at| at.as_micros()), Some(10_000));
    let second = world.submit(Request::read(512, 512), &[0; 512]).unwrap();
    world.settle();
    assert_eq!(world.target.device.log.len(), 1);
    world.advance(Duration::from_millis(9));
    world.settle();
    assert!(world.done.is_empty());
    world.advance(Duration::from_millis(1));
    world.settle();
    assert!(world.done.contains_key(&first) && world.done.contains_key(&second));
    assert_eq!(world.disk.poll_timeout(), None);
}

#[test]
fn a_full_task_set_lowers_the_depth_for_a_while() {
    let mut world = World::idle(Device::new(512, 1024), |config| {
        config.max_transfer = 512;
        config.commands_per_request = 100;
    });
    world.start();
    world.target.hold = true;
    let content = world.target.device.data.clone();
    let id = world.submit(Request::read(0, 1024 * 512), &vec![0; 1024 * 512]).unwrap();
    world.settle();
    assert_eq!(world.target.waiting(), 8, "all task slots");
    let mut left = 5;
    world.target.device.hook = Some(Box::new(move |_, _| {
        left -= 1;
        (left >= 0).then(|| Reply::status(ScsiStatus::TaskSetFull))
    }));
    world.target.hold = false;
    world.settle();
    world.target.hold = true;
    world.advance(Duration::from_millis(10));
    world.settle();
    assert!(world.target.waiting() < 8, "{}", world.target.waiting());
    world.target.hold = false;
    world.run_until(|world| world.done.contains_key(&id));
    assert_eq!(world.wait(id).unwrap(), content);
    // It grew again.
    world.target.hold = true;
    world.submit(Request::read(0, 1024 * 512), &vec![0; 1024 * 512]).unwrap();
    world.settle();
    assert_eq!(world.target.waiting(), 8);
}

#[test]
fn only_the_failed_part_and_what_follows_is_done_again() {
    let mut world = World::idle(Device::new(512, 64), |config| config.max_transfer = 4096);
    world.start();
    let content = world.target.device.data.clone();
    let mut left = 2;
    world.target.device.log.clear();
    world.target.device.hook = Some(Box::new(move |cdb, _| {
        // The fourth piece.
        let hit = cdb[0] == 0x28 && cdb[5] == 24 && left > 0;
        left -= i32::from(hit);
        hit.then(|| Reply::unit_attention(AdditionalSense::COMMANDS_CLEARED_BY_ANOTHER_INITIATOR))
    }));
    assert_eq!(world.read(0, 32768).unwrap(), content);
    let starts: Vec<_> = world.target.device.log.iter().map(|cdb| cdb[5]).collect();
    assert_eq!(starts[..8], [0, 8, 16, 24, 32, 40, 48, 56]);
    assert_eq!(starts[8..13], [24, 32, 40, 48, 56]);
    assert_eq!(starts[13..], [24, 32, 40, 48, 56]);
}

#[test]
fn each_place_has_its_own_tries() {
    let mut world = World::idle(Device::new(512, 64), |config| {
        config.max_transfer = 4096;
        config.retries = 1;
        config.commands_per_request = 1;
    });
    world.start();
    let content = world.target.device.data.clone();
    let mut seen = std::collections::HashSet::new();
    world.target.device.hook = Some(Box::new(move |cdb, _| {
        let attention = AdditionalSense::COMMANDS_CLEARED_BY_ANOTHER_INITIATOR;
        (cdb[0] == 0x28 && seen.insert(cdb[5])).then(|| Reply::unit_attention(attention))
    }));
    assert_eq!(world.read(0, 32768).unwrap(), content, "every piece failed once");
}

#[test]
fn unaligned_writes_survive_trouble() {
    for opcode in [0x28, 0x2a] {
        let attention = Reply::unit_attention(AdditionalSense::RESERVATIONS_RELEASED);
        let mut world = troubled(opcode, [vec![attention], busy(2)].concat());
        let mut expected = world.target.device.data.clone();
        expected[100..3000].fill(0xab);
        world.write(100, &[0xab; 2900]).unwrap();
        assert!(world.target.device.data == expected);
    }
}

#[test]
fn a_grown_device_is_noticed() {
    let mut world = World::new(Device::new(512, 64));
    let mut grown = false;
    world.target.device.log.clear();
    world.target.device.hook = Some(Box::new(move |cdb, device| {
        if cdb[0] != 0x28 || grown {
            return None;
        }
        grown = true;
        device.data.resize(128 * 512, 5);
        device.capacity16.as_mut().unwrap().last_lba = 127;
        Some(Reply::unit_attention(AdditionalSense::CAPACITY_DATA_HAS_CHANGED))
    }));
    assert!(world.read(0, 512).is_ok());
    assert_eq!(world.geometry_changes, 1);
    assert_eq!(world.disk.geometry().unwrap().capacity(), 65536);
    assert_eq!(world.states[2..], [DiskState::Checking, DiskState::Ready]);
    assert_eq!(world.read(65000, 536).unwrap(), [5; 536]);
    assert_eq!(world.target.device.count(0x9e), 1);
}

#[test]
fn a_shrunk_device_fails_what_does_not_fit() {
    let mut world = World::idle(Device::new(512, 64), |config| config.queue_depth = 1);
    world.start();
    let mut shrunk = false;
    world.target.device.hook = Some(Box::new(move |cdb, device| {
        if cdb[0] != 0x28 || shrunk {
            return None;
        }
        shrunk = true;
        device.data.truncate(32 * 512);
        device.capacity16.as_mut().unwrap().last_lba = 31;
        Some(Reply::unit_attention(AdditionalSense::CAPACITY_DATA_HAS_CHANGED))
    }));
    let inside = world.submit(Request::read(0, 512), &[0; 512]).unwrap();
    let outside = world.submit(Request::write_zeroes(16384, 512), &[]).unwrap();
    let cut = world.submit(Request::read(16000, 1000), &[0; 1000]).unwrap();
    assert!(world.wait(inside).is_ok());
    let error = DiskError::OutOfRange { capacity: 16384 };
    assert_eq!(world.wait(cut), Err(error));
    assert_eq!(world.wait(outside), Err(error));
    assert_eq!(world.target.device.count(0x93), 0);
}

#[test]
fn another_device_stops_everything() {
    for attention in [
        AdditionalSense::INQUIRY_DATA_HAS_CHANGED,
        AdditionalSense::MEDIUM_MAY_HAVE_CHANGED,
        AdditionalSense::REPORTED_LUNS_DATA_HAS_CHANGED,
        AdditionalSense::POWER_ON_OCCURRED,
    ] {
        let mut world = World::new(Device::new(512, 64));
        let mut swapped = false;
        world.target.device.log.clear();
        world.target.device.hook = Some(Box::new(move |cdb, device| {
            if !matches!(cdb[0], 0x28 | 0x2a) || swapped {
                return None;
            }
            swapped = true;
            device.naa[0] = 0x51;
            Some(Reply::unit_attention(attention))
        }));
        let first = world.submit(Request::write(1, 512), &[1; 512]).unwrap();
        let waiting = world.submit(Request::write(2, 512), &[1; 512]).unwrap();
        assert_eq!(world.wait(first), Err(DiskError::DeviceChanged));
        assert_eq!(world.wait(waiting), Err(DiskError::DeviceChanged));
        assert_eq!(world.disk.state(), DiskState::Failed(DiskError::DeviceChanged));
        assert_eq!(world.target.device.count(0x2a), 0, "the other device was not written");
        world.start();
        assert!(world.read(0, 512).is_ok(), "accepted by starting again");
    }
}

#[test]
fn a_check_that_finds_nothing_new() {
    let mut world = World::new(Device::new(512, 64));
    trouble(&mut world, 0x28, vec![Reply::unit_attention(AdditionalSense::RESET_OCCURRED)]);
    assert!(world.read(0, 512).is_ok());
    assert_eq!((world.geometry_changes, world.disk.state()), (0, DiskState::Ready));
    assert_eq!(world.target.device.count(0x9e), 1, "looked");
}

#[test]
fn deferred_errors_surface() {
    let mut sense =
        iscsi_disk::scsi::Sense::new(SenseKey::MEDIUM_ERROR, AdditionalSense::WRITE_ERROR);
    sense.deferred = true;
    let mut world = troubled(0x35, vec![Reply::check(&sense.with_information(5))]);
    let error = world.execute(Request::flush(), &[]).unwrap_err();
    assert_eq!(error.failure(), Some(Failure::Deferred));
    assert!(error.to_string().contains("deferred MEDIUM ERROR"), "{error}");
}
