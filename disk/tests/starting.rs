//! Bring-up: what is learned of devices of all kinds.

mod common;

use common::World;
use common::device::{Device, Reply};
use iscsi_disk::scsi::capacity::ReadCapacity16Data;
use iscsi_disk::scsi::disposition::Failure;
use iscsi_disk::scsi::inquiry::DeviceType;
use iscsi_disk::scsi::mode::ModeParameters;
use iscsi_disk::scsi::sense::{AdditionalSense, SenseKey};
use iscsi_disk::scsi::vpd::BlockLimits;
use iscsi_disk::{DiskError, DiskState, Request, RequestError};

fn started(device: Device) -> World {
    let mut world = World::idle(device, |_| {});
    world.start();
    world
}

fn error(world: &World) -> DiskError {
    match world.disk.state() {
        DiskState::Failed(error) => error,
        state => panic!("{state:?}"),
    }
}

#[test]
fn a_modern_disk_tells_everything() {
    let mut device = Device::new(512, 4096);
    device.limits = Some(BlockLimits {
        max_transfer_length: 128,
        optimal_transfer_length: 64,
        optimal_transfer_granularity: 8,
        max_unmap_lba_count: 100,
        max_unmap_descriptor_count: 1,
        optimal_unmap_granularity: 16,
        unmap_granularity_alignment: Some(4),
        max_write_same_length: 1000,
        max_compare_and_write_length: 2,
        max_atomic_transfer_length: 32,
        atomic_alignment: 8,
        atomic_transfer_length_granularity: 8,
        ..Default::default()
    });
    device.capacity16 = Some(ReadCapacity16Data {
        last_lba: 4095,
        block_length: 512,
        lbppbe: 3,
        lowest_aligned_lba: 1,
        lbpme: true,
        lbprz: true,
        ..Default::default()
    });
    let world = started(device);
    assert_eq!(world.states, [DiskState::Starting, DiskState::Ready]);
    let g = world.disk.geometry().unwrap();
    assert_eq!((g.block_size(), g.blocks(), g.capacity()), (512, 4096, 2 << 20));
    assert_eq!((g.physical_block_size(), g.alignment_offset()), (4096, 512));
    assert_eq!((g.max_transfer(), g.optimal_transfer()), (Some(65536), Some(32768)));
    assert_eq!(g.optimal_granularity(), Some(4096));
    assert_eq!((g.max_unmap(), g.unmap_granularity()), (Some(51200), Some(8192)));
    assert_eq!((g.unmap_alignment(), g.max_write_same()), (2048, Some(512_000)));
    assert_eq!(g.max_compare_and_write(), 1024);
    assert_eq!((g.max_atomic_write(), g.atomic_alignment()), (Some(16384), Some(4096)));
    assert_eq!(g.atomic_granularity(), Some(4096));
    assert_eq!((g.rotation_rate(), g.is_solid_state()), (1, true));
    assert!(g.is_thin() && g.unmapped_reads_zero() && g.can_unmap());
    assert!(g.has_unmap_command() && g.unmaps_by_write_same() && !g.unmaps_by_write_same_10());
    assert_eq!((g.is_read_only(), g.write_cache(), g.has_fua()), (false, Some(true), true));

    let identity = world.disk.identity().unwrap();
    assert_eq!(identity.to_string(), "ACME TESTDISK 7, serial SER42");
    assert_eq!(identity.unit_name().unwrap().bytes, [0x50, 1, 2, 3, 4, 5, 6, 7]);
    assert_eq!(identity.designators().count(), 2, "the page was longer than a first request");
}

#[test]
fn an_old_disk_knows_only_the_short_commands() {
    let mut device = Device::new(512, 1000);
    device.capacity16 = None;
    device.pages = false;
    device.mode = None;
    let mut world = started(device);
    let g = *world.disk.geometry().unwrap();
    assert_eq!((g.capacity(), g.max_transfer(), g.write_cache()), (512_000, None, None));
    assert!(!g.can_unmap() && !g.is_read_only());
    assert_eq!(world.disk.identity().unwrap().unit_name(), None);
    // MODE SENSE(6) for the caching page, for all pages, MODE SENSE(10).
    assert_eq!((world.target.device.count(0x1a), world.target.device.count(0x5a)), (2, 1));
    assert_eq!(world.read(511_488, 512).unwrap(), world.target.device.data[511_488..]);
}

#[test]
fn mode_parameters_without_a_caching_page() {
    let mut device = Device::new(512, 100);
    device.caching = None;
    device.mode = Some(ModeParameters { write_protect: true, ..Default::default() });
    let mut world = started(device);
    let g = world.disk.geometry().unwrap();
    assert!(g.is_read_only() && !g.has_fua());
    assert_eq!(g.write_cache(), None);
    assert_eq!(world.disk.submit(Request::write(0, 512)), Err(RequestError::ReadOnly));
    assert_eq!(world.disk.submit(Request::unmap(0, 512)), Err(RequestError::ReadOnly));
    assert!(world.read(0, 512).is_ok());
}

#[test]
fn a_cd_is_read_only() {
    let mut device = Device::new(2048, 100);
    device.device_type = DeviceType::CD_DVD;
    device.capacity16 = None;
    assert!(started(device).disk.geometry().unwrap().is_read_only());
}

#[test]
fn what_is_no_disk_is_refused() {
    let mut device = Device::new(512, 100);
    device.device_type = DeviceType::TAPE;
    assert_eq!(error(&started(device)), DiskError::NotADisk(1));

    let mut device = Device::new(512, 100);
    device.hook = Some(Box::new(|cdb, _| {
        let absent = [0x7f, 0, 5, 2, 31];
        (cdb[0] == 0x12).then(|| Reply::data(absent.to_vec()))
    }));
    assert_eq!(error(&started(device)), DiskError::NoLogicalUnit);

    let mut device = Device::new(512, 100);
    device.hook = Some(Box::new(|_, _| {
        Some(Reply::sense(SenseKey::ILLEGAL_REQUEST, AdditionalSense::LOGICAL_UNIT_NOT_SUPPORTED))
    }));
    assert_eq!(error(&started(device)).failure(), Some(Failure::NoLogicalUnit));
}

#[test]
fn nonsense_is_refused() {
    for (opcode, data) in [
        (0x12, vec![0; 3]),
        (0x9e, vec![0; 11]),
        // Block length 0; more bytes than 64 bits count; more blocks than 64 bits count.
        (0x9e, vec![0; 32]),
        (0x9e, [&[0x7f; 8][..], &[0, 0, 2, 0], &[0; 20]].concat()),
        (0x9e, vec![0xff; 32]),
    ] {
        let mut device = Device::new(512, 100);
        device.hook = Some(Box::new(move |cdb, _| {
            (cdb[0] == opcode && cdb[1] != 1).then(|| Reply::data(data.clone()))
        }));
        let error = error(&started(device));
        assert_eq!(error, DiskError::BadAnswer(opcode));
        let name = if opcode == 0x12 { "INQUIRY" } else { "READ CAPACITY(16)" };
        assert_eq!(error.to_string(), format!("the answer to {name} makes no sense"));
    }
    // Pages that make no sense are as good as none.
    let mut device = Device::new(512, 100);
    device.hook =
        Some(Box::new(|cdb, _| (cdb[..2] == [0x12, 1]).then(|| Reply::data(vec![0xff; 252]))));
    let world = started(device);
    assert_eq!(world.disk.state(), DiskState::Ready);
    assert_eq!(world.disk.identity().unwrap().unit_name(), None);
}

#[test]
fn a_capacity_that_only_the_long_form_could_tell() {
    let mut device = Device::new(512, 100);
    device.hook = Some(Box::new(|cdb, _| match cdb[0] {
        0x9e => Some(Reply::invalid_opcode()),
        0x25 => Some(Reply::data(vec![0xff, 0xff, 0xff, 0xff, 0, 0, 2, 0])),
        _ => None,
    }));
    assert_eq!(error(&started(device)), DiskError::BadAnswer(0x25));
}

#[test]
fn becoming_ready_takes_time() {
    let mut device = Device::new(512, 100);
    let mut left = 12;
    device.hook = Some(Box::new(move |cdb, _| {
        let waits = cdb[0] == 0 && left > 0;
        left -= i32::from(waits);
        waits.then(|| Reply::sense(SenseKey::NOT_READY, AdditionalSense::BECOMING_READY))
    }));
    let world = started(device);
    assert_eq!(world.disk.state(), DiskState::Ready);
    // 10, 20, 40, ... ms, then 1 s each.
    assert_eq!(world.now.as_micros(), 1_270_000 + 5 * 1_000_000);

    let mut device = Device::new(512, 100);
    device.hook = Some(Box::new(move |cdb, _| {
        let code = AdditionalSense::BECOMING_READY;
        (cdb[0] == 0).then(|| Reply::sense(SenseKey::NOT_READY, code))
    }));
    let world = started(device);
    assert_eq!(error(&world).failure(), Some(Failure::NotReady));
    assert!((30_000_000..32_000_000).contains(&world.now.as_micros()), "{:?}", world.now);
}

#[test]
fn unit_attentions_at_the_start() {
    let mut device = Device::new(512, 100);
    let mut pending = vec![AdditionalSense::POWER_ON_OCCURRED, AdditionalSense::RESET_OCCURRED];
    device.hook = Some(Box::new(move |cdb, _| {
        (cdb[0] != 0x12).then(|| pending.pop().map(Reply::unit_attention)).flatten()
    }));
    let world = started(device);
    assert_eq!(world.disk.state(), DiskState::Ready);
    assert_eq!(world.target.device.count(0), 3);
    assert_eq!(world.target.device.count(0x9e), 1);

    let mut device = Device::new(512, 100);
    device.hook = Some(Box::new(move |cdb, _| {
        (cdb[0] == 0).then(|| Reply::unit_attention(AdditionalSense::RESET_OCCURRED))
    }));
    assert!(matches!(error(&started(device)), DiskError::Scsi(_)), "bounded");
}

#[test]
fn a_device_that_changes_while_it_is_asked_is_asked_again() {
    let mut device = Device::new(512, 100);
    let mut changed = false;
    device.hook = Some(Box::new(move |cdb, device| {
        if cdb[0] == 0x1a && !changed {
            changed = true;
            device.naa[7] = 0xaa;
            return Some(Reply::unit_attention(AdditionalSense::INQUIRY_DATA_HAS_CHANGED));
        }
        None
    }));
    let world = started(device);
    assert_eq!(world.disk.state(), DiskState::Ready);
    assert_eq!(world.disk.identity().unwrap().unit_name().unwrap().bytes[7], 0xaa);
}

#[test]
fn a_failed_disk_can_be_started_again() {
    let mut device = Device::new(512, 100);
    device.device_type = DeviceType::TAPE;
    let mut world = started(device);
    assert_eq!(world.disk.submit(Request::read(0, 512)), Err(RequestError::NotReady));
    world.target.device.device_type = DeviceType::DISK;
    world.start();
    assert_eq!(world.disk.state(), DiskState::Ready);
    assert_eq!(world.disk.start(), Err(RequestError::Busy));
}

#[test]
fn a_session_with_more_tasks_than_the_disk_has_slots() {
    let mut world = World::idle(Device::new(512, 100), |_| {});
    world.disk = Box::new(iscsi_disk::InlineDisk::<7>::new(*world.disk.config()));
    world.start();
    assert_eq!(error(&world), DiskError::TableTooSmall);
}
