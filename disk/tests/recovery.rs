//! A session that loses its connection and comes back: requests go on, but only on the device that they were for.

mod common;

use common::World;
use common::device::{Device, Reply};
use iscsi_core::config::Recovery;
use iscsi_core::{Command, LostReason, Lun, OnLoss, SessionState, Transfer};
use iscsi_disk::scsi::sense::AdditionalSense;
use iscsi_disk::{DiskError, DiskState, Request, RequestId};

fn recovering(device: Device) -> World {
    let mut world = World::new(device);
    let now = world.now;
    world.session.logout(now).unwrap();
    world.cut();
    world.recovery = Recovery::FOREVER;
    world.log_in();
    world
}

/// Four reads and four writes under way, which is as much as the session takes.
fn busy(world: &mut World) -> Vec<RequestId> {
    world.target.hold = true;
    let ids = (0..8).map(|n| {
        let block = vec![n as u8; 512];
        let request = match n % 2 {
            0 => Request::read(n * 512, 512),
            _ => Request::write(n * 512, 512),
        };
        world.submit(request, &block).unwrap()
    });
    let ids = ids.collect();
    world.settle();
    assert_eq!(world.session.in_use(), world.session.capacity());
    ids
}

fn opcodes(world: &World) -> Vec<u8> {
    world.target.device.log.iter().map(|cdb| cdb[0]).collect()
}

#[test]
fn every_request_survives_with_every_task_slot_in_use() {
    let mut world = recovering(Device::new(512, 64));
    let content = world.target.device.data.clone();
    let ids = busy(&mut world);
    world.target.device.log.clear();
    world.states.clear();
    world.cut();
    world.target.hold = false;
    for (n, id) in ids.into_iter().enumerate() {
        let memory = world.wait(id).unwrap();
        if n % 2 == 0 {
            assert_eq!(memory, content[n * 512..][..512]);
        }
        let written = world.target.device.data[n * 512];
        assert_eq!(written, if n % 2 == 0 { content[n * 512] } else { n as u8 });
    }
    assert_eq!(world.states, [DiskState::Checking, DiskState::Ready]);
    assert_eq!(world.session.counters().reissued, 8);
    // The device was looked at before the first of them.
    let opcodes = opcodes(&world);
    let first = opcodes.iter().position(|code| matches!(code, 0x28 | 0x2a | 0x88 | 0x8a)).unwrap();
    let (before, after) = opcodes.split_at(first);
    assert!(before.contains(&0x12) && before.contains(&0x9e), "{opcodes:02x?}");
    assert!(!after.contains(&0x12), "{opcodes:02x?}");
}

#[test]
fn nothing_is_written_to_another_device() {
    for other in [
        |device: &mut Device| device.naa = [0x50, 9, 9, 9, 9, 9, 9, 9],
        |device: &mut Device| device.block_size = 4096,
    ] {
        let mut world = recovering(Device::new(512, 64));
        let ids = busy(&mut world);
        world.cut();
        world.target.hold = false;
        other(&mut world.target.device);
        if let Some(capacity) = &mut world.target.device.capacity16 {
            capacity.block_length = world.target.device.block_size;
        }
        world.target.device.data.fill(0x77);
        for id in ids {
            let error = world.wait(id).unwrap_err();
            assert!(
                matches!(
                    error,
                    DiskError::DeviceChanged | DiskError::Lost(LostReason::DeviceChanged)
                ),
                "{error}"
            );
        }
        assert_eq!(world.disk.state(), DiskState::Failed(DiskError::DeviceChanged));
        assert!(world.target.device.data.iter().all(|byte| *byte == 0x77));
        assert_eq!(world.session.state(), SessionState::LoggedIn);
        // The application may start over with what is there now.
        world.start();
        assert_eq!(world.disk.state(), DiskState::Ready);
    }
}

#[test]
fn a_smaller_device_fails_what_no_longer_fits() {
    let mut world = recovering(Device::new(512, 64));
    let ids = busy(&mut world);
    world.cut();
    world.target.hold = false;
    world.target.device.capacity16.as_mut().unwrap().last_lba = 3;
    for (n, id) in ids.into_iter().enumerate() {
        assert_eq!(world.wait(id).is_ok(), n < 4, "block {n}");
    }
    assert_eq!(world.geometry_changes, 1);
}

#[test]
fn losses_during_the_verification() {
    for cut_after in 0..12 {
        let mut world = recovering(Device::new(512, 64));
        let ids = busy(&mut world);
        world.cut();
        world.target.hold = false;
        world.target.device.log.clear();
        let mut seen = 0;
        world.run_until(|world| world.target.device.log.len() >= cut_after);
        while seen < 3 {
            world.cut();
            seen += 1;
            for _ in 0..cut_after {
                world.turn();
            }
        }
        for id in ids {
            world.wait(id).unwrap();
        }
        assert_eq!(world.disk.state(), DiskState::Ready, "{cut_after}");
    }
}

#[test]
fn the_attention_of_the_new_login_is_taken_by_the_verification() {
    let mut world = recovering(Device::new(512, 64));
    let ids = busy(&mut world);
    world.cut();
    world.target.hold = false;
    let mut attentions = 2;
    world.target.device.hook = Some(Box::new(move |cdb, _| {
        assert!(attentions == 0 || matches!(cdb[0], 0x00 | 0x12), "{cdb:02x?}");
        if cdb[0] != 0 || attentions == 0 {
            return None;
        }
        attentions -= 1;
        Some(Reply::unit_attention(AdditionalSense { asc: 0x29, ascq: 0x07 }))
    }));
    for id in ids {
        world.wait(id).unwrap();
    }
}

/// Data in a volatile cache may be gone with a reset, so that it must be seen although the command is sent again.
#[test]
fn resets_are_counted_wherever_they_are_told() {
    const TEST_UNIT_READY: u8 = 0x00;
    const SYNCHRONIZE_CACHE: u8 = 0x35;
    const WRITE: u8 = 0x2a;
    for (additional, counts) in [
        (AdditionalSense::RESET_OCCURRED, 1),
        (AdditionalSense::POWER_ON_OCCURRED, 1),
        (AdditionalSense::INTERNAL_RESET_OCCURRED, 1),
        (AdditionalSense::NEXUS_LOSS_OCCURRED, 0),
        (AdditionalSense::MODE_PARAMETERS_CHANGED, 0),
    ] {
        for opcode in [TEST_UNIT_READY, SYNCHRONIZE_CACHE, WRITE] {
            let mut world = recovering(Device::new(512, 64));
            let before = world.disk.resets();
            let mut told = false;
            world.target.device.hook = Some(Box::new(move |cdb, _| {
                let now = cdb[0] == opcode && !core::mem::replace(&mut told, cdb[0] == opcode);
                now.then(|| Reply::unit_attention(additional))
            }));
            if opcode == TEST_UNIT_READY {
                // The verification after a new login is the first to hear of it.
                world.cut();
            }
            world.write(0, &[1; 512]).unwrap();
            let flush = world.submit(Request::flush(), &[]).unwrap();
            world.wait(flush).unwrap();
            let told = world.target.device.count(opcode);
            assert!(told >= 2, "{opcode:02x} was sent again");
            let resets = world.disk.resets() - before;
            assert_eq!(resets, counts, "{additional} to {opcode:02x}");
        }
    }
}

/// A session that comes back for ever, and a disk that is not started.
fn unstarted() -> World {
    let mut world = World::idle(Device::new(512, 64), |_| {});
    let now = world.now;
    world.session.logout(now).unwrap();
    world.cut();
    world.recovery = Recovery::FOREVER;
    world.log_in();
    world
}

#[test]
fn a_loss_while_the_disk_starts() {
    let mut world = unstarted();
    world.disk.start().unwrap();
    for _ in 0..3 {
        world.turn();
    }
    world.cut();
    world.run_until(|world| !matches!(world.disk.state(), DiskState::Starting));
    assert_eq!(world.disk.state(), DiskState::Ready);
    assert!(world.read(0, 512).is_ok());
}

/// Whoever starts a disk on a session that is on its way back has not seen the loss, and its look is in line before the session verifies.
#[test]
fn a_disk_that_is_started_after_a_loss_waits_for_the_verdict_of_others() {
    let mut world = unstarted();
    world.cut();
    // Commands of the application's own take these events.
    while world.session.poll_event().is_some() {}
    world.disk.start().unwrap();
    let mut turns = 0;
    while world.turn_unverified() {
        turns += 1;
        assert!(turns < 50, "there is nothing to do until somebody else has looked");
    }
    assert_eq!(world.session.state(), SessionState::Verifying);
    assert!(!world.disk.is_verifying() && world.target.device.log.is_empty());
    world.run_until(|world| world.disk.state() == DiskState::Ready);
    assert!(world.read(0, 512).is_ok());
}

#[test]
fn a_disk_that_is_not_used_does_not_hold_the_others_up() {
    let mut world = unstarted();
    let lun = Lun::new(1).unwrap();
    let command = Command::new(lun, &[0; 6], Transfer::None).on_loss(OnLoss::Reissue);
    world.session.submit(&command, world.now).unwrap();
    world.cut();
    world.settle();
    assert_eq!(world.session.state(), SessionState::LoggedIn);
    assert_eq!(world.target.device.log, [[0; 6]]);
}

#[test]
fn a_reset_for_another_command_s_sake_is_not_the_end() {
    let mut world = recovering(Device::new(512, 64));
    let ids = busy(&mut world);
    let now = world.now;
    let reset = iscsi_core::TaskManagement::LogicalUnitReset(Lun::new(1).unwrap());
    world.session.task_management(reset, now).unwrap();
    world.target.hold = false;
    for id in ids {
        world.wait(id).unwrap();
    }
}

#[test]
fn a_look_that_was_not_sent_yet_does_not_hold_the_verification_up() {
    let mut world = recovering(Device::new(512, 64));
    let ids = busy(&mut world);
    // The table is full, but for the slot of a request that ends.
    world.target.execute();
    while world.session.in_use() == world.session.capacity() {
        world.turn();
    }
    world.disk.check().unwrap();
    world.disk.drive(&mut world.session, world.now);
    assert_eq!(world.session.in_use(), world.session.capacity());
    world.cut();
    world.target.hold = false;
    let start = world.now;
    for id in ids {
        world.wait(id).unwrap();
    }
    let took = world.now.saturating_since(start);
    assert!(took < core::time::Duration::from_secs(5), "{took:?}");
}

/// Bits that flip in a command's data make a target without error recovery reject it.
#[test]
fn a_command_that_was_spoilt_on_its_way_is_issued_again() {
    use iscsi_core::wire::RejectReason;
    let mut world = World::new(Device::new(512, 64));
    let data = vec![7; 512];
    for _ in 0..3 {
        world.target.reject = Some(RejectReason::DataDigestError);
        let id = world.submit(Request::write(1024, 512), &data).unwrap();
        world.wait(id).unwrap();
    }
    assert_eq!(world.target.aborts, 3);
    assert_eq!(world.target.device.data[1024..1536], data);
    // What the target cannot do is not asked for again.
    world.target.reject = Some(RejectReason::CommandNotSupported);
    let id = world.submit(Request::read(0, 512), &data).unwrap();
    let error = world.wait(id).unwrap_err();
    let reason = LostReason::Rejected(RejectReason::CommandNotSupported);
    assert_eq!(error, DiskError::Lost(reason));
}

/// A command that ends after the disk has failed may ask for a pause; nobody would ever end it.
#[test]
fn a_failed_disk_has_no_deadline() {
    use iscsi_core::wire::ScsiStatus;
    const READ: u8 = 0x28;
    let mut world = World::new(Device::new(512, 64));
    world.target.hold = true;
    let mut reads = 0;
    world.target.device.hook = Some(Box::new(move |cdb, device| {
        if cdb[0] != READ {
            return None;
        }
        reads += 1;
        if reads == 1 {
            device.naa[0] = 0x51;
            let changed = AdditionalSense::REPORTED_LUNS_DATA_HAS_CHANGED;
            return Some(Reply::unit_attention(changed));
        }
        Some(Reply::status(ScsiStatus::Busy))
    }));
    for _ in 0..2 {
        world.submit(Request::read(0, 512), &[0; 512]).unwrap();
    }
    world.settle();
    // The first read is answered, then the look at the device that follows; the second read is slow.
    world.target.execute();
    world.settle();
    while world.target.waiting() > 1 {
        world.target.put_off(READ);
        world.target.execute();
        world.settle();
    }
    assert_eq!(world.disk.state(), DiskState::Failed(DiskError::DeviceChanged));
    world.target.execute();
    world.settle();
    assert_eq!(world.disk.poll_timeout(), None);
}
