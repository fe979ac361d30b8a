//! Requests one at a time: what reaches the device, and what comes back.

mod common;

use common::device::{Device, Reply};
use common::{Reads, World};
use iscsi_core::wire::{Residual, ScsiStatus};
use iscsi_disk::scsi::disposition::Failure;
use iscsi_disk::scsi::mode::{CachingPage, ModeParameters};
use iscsi_disk::scsi::sense::{AdditionalSense, Sense, SenseKey};
use iscsi_disk::scsi::vpd::{BlockLimits, LogicalBlockProvisioning};
use iscsi_disk::{DiskError, DiskState, Request, RequestError};

/// A disk whose log starts empty.
fn ready(device: Device) -> World {
    let mut world = World::new(device);
    world.target.device.log.clear();
    world
}

fn log(world: &World) -> &[Vec<u8>] {
    &world.target.device.log
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 7 + 3) as u8 | 1).collect()
}

#[test]
fn reads_of_any_range() {
    let mut world = ready(Device::new(512, 64));
    let content = world.target.device.data.clone();
    for (offset, len) in
        [(0, 512), (0, 32768), (1, 1), (511, 2), (700, 5000), (32767, 1), (512, 100), (100, 412)]
    {
        let read = world.read(offset, len).unwrap();
        assert_eq!(read, content[offset as usize..][..len], "{len} bytes at {offset}");
    }
    assert_eq!(log(&world)[4], [0x28, 0, 0, 0, 0, 1, 0, 0, 11, 0]);
    assert_eq!(world.disk.in_use(), 0);
}

#[test]
fn reads_are_consumed_without_what_the_blocks_hold_besides() {
    let mut world = ready(Device::new(512, 64));
    world.memory.1 = Reads::Consumed;
    let content = world.target.device.data.clone();
    for (offset, len) in
        [(0, 512), (0, 32768), (1, 1), (511, 2), (700, 5000), (32767, 1), (512, 100), (100, 412)]
    {
        let read = world.read(offset, len).unwrap();
        assert_eq!(read, content[offset as usize..][..len], "{len} bytes at {offset}");
    }
    // What a write reads of its edges is the disk's own.
    world.write(700, &pattern(5000)).unwrap();
    assert_eq!(world.target.device.data[700..5700], pattern(5000));
    assert_eq!(world.target.device.data[..700], content[..700]);
}

#[test]
fn ranges_that_do_not_fit() {
    let mut world = ready(Device::new(512, 64));
    let capacity = 32768;
    for (offset, len) in [(32768, 1), (0, 32769), (u64::MAX, 1), (1, u64::MAX), (40000, 0)] {
        let refused = Err(RequestError::OutOfRange { offset, len, capacity });
        assert_eq!(world.disk.submit(Request::read(offset, len)), refused);
        assert_eq!(world.disk.submit(Request::write(offset, len)), refused);
        assert_eq!(world.disk.submit(Request::unmap(offset, len)), refused);
    }
    assert_eq!(world.read(32768, 0).unwrap(), []);
    assert_eq!(world.write(5, &[]), Ok(()));
    assert!(log(&world).is_empty(), "nothing to do");
    assert_eq!(world.disk.in_use(), 0);
}

#[test]
fn an_aligned_write_needs_no_read() {
    let mut world = ready(Device::new(512, 64));
    let data = pattern(20 * 512);
    world.write(1024, &data).unwrap();
    assert_eq!(log(&world), [[0x2a, 0, 0, 0, 0, 2, 0, 0, 20, 0]]);
    assert_eq!(world.target.device.data[1024..][..data.len()], data);
}

#[test]
fn unaligned_writes_keep_the_rest_of_the_blocks() {
    for (offset, len, reads) in [
        (1, 1, 1),
        (0, 100, 1),
        (412, 100, 1),
        (512, 700, 1),
        (600, 424, 1),
        (500, 1000, 2),
        (511, 2, 2),
        (10, 30000, 2),
        (32700, 68, 1),
    ] {
        let mut world = ready(Device::new(512, 64));
        let mut expected = world.target.device.data.clone();
        let data = pattern(len);
        expected[offset..offset + len].copy_from_slice(&data);
        world.write(offset as u64, &data).unwrap();
        assert!(world.target.device.data == expected, "{len} bytes at {offset}");
        assert_eq!(world.target.device.count(0x28), reads, "{len} bytes at {offset}");
        assert_eq!(world.target.device.count(0x2a), 1, "{len} bytes at {offset}");
    }
}

#[test]
fn large_blocks() {
    let mut world = ready(Device::new(4096, 16));
    let mut expected = world.target.device.data.clone();
    expected[5000..15000].copy_from_slice(&pattern(10000));
    world.write(5000, &pattern(10000)).unwrap();
    assert!(world.target.device.data == expected);

    let mut world = ready(Device::new(8192, 16));
    let refused = Err(RequestError::Unaligned { offset: 0, len: 512, block_size: 8192 });
    assert_eq!(world.disk.submit(Request::write(0, 512)), refused);
    assert_eq!(world.disk.submit(Request::write_zeroes(0, 512)), refused);
    assert_eq!(world.read(100, 10000).unwrap(), world.target.device.data[100..10100]);
    world.write(8192, &pattern(8192)).unwrap();
    assert_eq!(world.target.device.data[8192..16384], pattern(8192));
}

#[test]
fn odd_blocks() {
    let mut world = ready(Device::new(520, 100));
    let mut expected = world.target.device.data.clone();
    expected[1000..3000].copy_from_slice(&pattern(2000));
    world.write(1000, &pattern(2000)).unwrap();
    assert!(world.target.device.data == expected);
    assert_eq!(world.read(519, 1042).unwrap(), expected[519..1561]);
}

#[test]
fn requests_are_cut_by_the_limits() {
    let mut device = Device::new(512, 4096);
    device.limits = Some(BlockLimits {
        max_transfer_length: 50,
        optimal_transfer_granularity: 8,
        ..Default::default()
    });
    let mut world = ready(device);
    let content = world.target.device.data.clone();
    assert_eq!(world.read(5 * 512 + 1, 100 * 512).unwrap(), content[2561..][..51200]);
    let commands: Vec<_> =
        log(&world).iter().map(|cdb| (u16::from_be_bytes([cdb[4], cdb[5]]), cdb[8])).collect();
    assert_eq!(commands, [(5, 43), (48, 48), (96, 10)], "cut at multiples of 8 blocks");
}

#[test]
fn addresses_beyond_32_bits_take_the_long_form() {
    let mut device = Device::new(512, 64);
    device.capacity16.as_mut().unwrap().last_lba = 0x1_0000_0fff;
    device.hook = Some(Box::new(|cdb, device| match cdb[0] {
        0x88 => Some(Reply::data(vec![9; cdb[13] as usize * 512])),
        0x8a | 0x8f => Some(Reply::good()),
        0x28 => Some(Reply::data(vec![8; cdb[8] as usize * device.block_size as usize])),
        _ => None,
    }));
    let mut world = ready(device);
    let edge = 0x1_0000_0000 * 512;
    assert_eq!(world.read(edge - 512, 512).unwrap(), [8; 512]);
    assert_eq!(world.read(edge, 1024).unwrap(), [9; 1024]);
    world.write(edge + 512, &[1; 512]).unwrap();
    world.execute(Request::verify(edge, 512), &[]).unwrap();
    assert_eq!(log(&world)[0][..6], [0x28, 0, 0xff, 0xff, 0xff, 0xff]);
    assert_eq!(log(&world)[1], [0x88, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0]);
    assert_eq!(log(&world)[2], [0x8a, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0]);
    assert_eq!(log(&world)[3], [0x8f, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0]);
}

#[test]
fn forced_writes() {
    let mut world = ready(Device::new(512, 64));
    world.execute(Request::write(0, 512).fua(), &pattern(512)).unwrap();
    assert_eq!(log(&world), [[0x2a, 0x08, 0, 0, 0, 0, 0, 0, 1, 0]]);

    // Without FUA in the device, a flush follows.
    let mut device = Device::new(512, 64);
    device.mode = Some(ModeParameters::default());
    let mut world = ready(device);
    world.execute(Request::write(0, 512).fua(), &pattern(512)).unwrap();
    assert_eq!(log(&world)[0], [0x2a, 0, 0, 0, 0, 0, 0, 0, 1, 0]);
    assert_eq!(log(&world)[1], [0x35, 0, 0, 0, 0, 0, 0, 0, 0, 0]);

    // Without a write cache there is nothing to flush.
    let mut device = Device::new(512, 64);
    device.mode = Some(ModeParameters::default());
    device.caching = Some(CachingPage::default());
    let mut world = ready(device);
    world.execute(Request::write(0, 512).fua(), &pattern(512)).unwrap();
    assert_eq!(log(&world).len(), 1);
}

#[test]
fn flush() {
    let mut world = ready(Device::new(512, 64));
    world.execute(Request::flush(), &[]).unwrap();
    assert_eq!(log(&world), [[0x35, 0, 0, 0, 0, 0, 0, 0, 0, 0]]);

    let refuse = |caching| {
        let mut device = Device::new(512, 64);
        device.caching = caching;
        device.hook = Some(Box::new(|cdb, _| (cdb[0] == 0x35).then(Reply::invalid_opcode)));
        ready(device).execute(Request::flush(), &[])
    };
    assert!(refuse(Some(CachingPage::default())).is_ok(), "nothing to flush");
    assert!(refuse(None).is_ok(), "no word of a cache, and no command for one");
    let error = refuse(Some(CachingPage { wce: true, ..Default::default() })).unwrap_err();
    assert_eq!(error.failure(), Some(Failure::IllegalRequest));
}

#[test]
fn unmap_concerns_whole_blocks() {
    let mut world = ready(Device::new(512, 64));
    let mut expected = world.target.device.data.clone();
    expected[1024..3072].fill(0);
    world.execute(Request::unmap(1000, 2100), &[]).unwrap();
    assert!(world.target.device.data == expected);
    assert_eq!(log(&world), [[0x42, 0, 0, 0, 0, 0, 0, 0, 24, 0]]);
    world.execute(Request::unmap(1, 1000), &[]).unwrap();
    assert_eq!(log(&world).len(), 1, "no whole block");
}

#[test]
fn unmap_by_other_means() {
    let mut device = Device::new(512, 64);
    device.provisioning = Some(LogicalBlockProvisioning { lbpws: true, ..Default::default() });
    let mut world = ready(device);
    world.execute(Request::unmap(512, 1024), &[]).unwrap();
    assert_eq!(log(&world), [[0x93, 0x08, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0]]);

    let mut device = Device::new(512, 64);
    device.provisioning = Some(LogicalBlockProvisioning { lbpws10: true, ..Default::default() });
    let mut world = ready(device);
    world.execute(Request::unmap(512, 1024), &[]).unwrap();
    assert_eq!(log(&world), [[0x41, 0x08, 0, 0, 0, 1, 0, 0, 2, 0]]);

    let mut device = Device::new(512, 64);
    device.provisioning = None;
    let world = &mut ready(device);
    assert_eq!(world.disk.submit(Request::unmap(0, 512)), Err(RequestError::Unsupported));
}

#[test]
fn unmap_is_cut_at_the_granularity() {
    let mut device = Device::new(512, 4096);
    device.limits = Some(BlockLimits {
        max_unmap_lba_count: 100,
        max_unmap_descriptor_count: 1,
        optimal_unmap_granularity: 64,
        unmap_granularity_alignment: Some(10),
        ..Default::default()
    });
    let mut world = ready(device);
    world.execute(Request::unmap(0, 300 * 512), &[]).unwrap();
    assert_eq!(world.target.device.count(0x42), 4, "74, 64, 64, 98 blocks");
    assert!(world.target.device.data[..300 * 512].iter().all(|&byte| byte == 0));
}

#[test]
fn zeros_by_write_same() {
    let mut world = ready(Device::new(512, 64));
    let mut expected = world.target.device.data.clone();
    expected[1024..4096].fill(0);
    world.execute(Request::write_zeroes(1024, 3072), &[]).unwrap();
    assert!(world.target.device.data == expected);
    assert_eq!(log(&world), [[0x93, 0x08, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 6, 0, 0]]);
    world.execute(Request::write_zeroes(512, 512).keep_allocated(), &[]).unwrap();
    assert_eq!(log(&world)[1][1], 0, "no UNMAP bit");
}

#[test]
fn zeros_without_data() {
    let mut device = Device::new(512, 64);
    device.write_same_usage = Some(vec![0x93, 0x09, 0xff, 0xff]);
    let mut world = ready(device);
    world.execute(Request::write_zeroes(0, 1024), &[]).unwrap();
    assert_eq!(log(&world), [[0x93, 0x09, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0]]);
    assert_eq!(world.target.device.data[..1024], [0; 1024]);

    let mut device = Device::new(512, 64);
    device.write_same_usage = Some(Vec::new());
    let mut world = ready(device);
    world.execute(Request::write_zeroes(0, 1024), &[]).unwrap();
    assert_eq!(log(&world), [[0x2a, 0, 0, 0, 0, 0, 0, 0, 2, 0]], "not supported, says the device");
}

#[test]
fn zeros_of_any_range() {
    for (offset, len) in [(1, 1), (100, 5000), (512, 700), (100, 412), (511, 2), (600, 20000)] {
        for same in [true, false] {
            let mut device = Device::new(512, 64);
            if !same {
                device.limits = None;
                device.provisioning = None;
            }
            let mut world = ready(device);
            let mut expected = world.target.device.data.clone();
            expected[offset..offset + len].fill(0);
            world.execute(Request::write_zeroes(offset as u64, len as u64), &[]).unwrap();
            assert!(world.target.device.data == expected, "{len} bytes at {offset}, {same}");
            let whole = offset.div_ceil(512) < (offset + len) / 512;
            assert_eq!(world.target.device.count(0x93) > 0, same && whole, "{len} at {offset}");
        }
    }
}

#[test]
fn a_refused_way_to_write_zeros_gives_way_to_the_next() {
    let mut device = Device::new(512, 64);
    device.write_same_usage = Some(vec![0x93, 0x09, 0xff, 0xff]);
    device.hook = Some(Box::new(|cdb, _| (cdb[0] == 0x93).then(Reply::invalid_field)));
    let mut world = ready(device);
    for _ in 0..2 {
        world.target.device.data.fill(1);
        world.execute(Request::write_zeroes(100, 4000), &[]).unwrap();
        assert_eq!(world.target.device.data[100..4100], [0; 4000]);
        assert_eq!((world.target.device.data[99], world.target.device.data[4100]), (1, 1));
    }
    assert_eq!(world.target.device.count(0x93), 2, "without data, with data, never again");
}

#[test]
fn a_refused_flag_does_not_rule_out_the_command() {
    let mut device = Device::new(512, 64);
    device.limits.as_mut().unwrap().max_write_same_length = 4;
    device.write_same_usage = Some(vec![0x93, 0x09, 0xff, 0xff]);
    device.hook =
        Some(Box::new(|cdb, _| (cdb[0] == 0x93 && cdb[1] & 1 != 0).then(Reply::invalid_field)));
    let mut world = ready(device);
    // Eight commands without data are refused together.
    world.target.hold = true;
    let id = world.submit(Request::write_zeroes(0, 32768), &[]).unwrap();
    world.settle();
    assert_eq!(world.target.waiting(), 8);
    world.target.hold = false;
    world.wait(id).unwrap();
    assert!(world.target.device.data.iter().all(|&byte| byte == 0));
    assert_eq!((world.target.device.count(0x93), world.target.device.count(0x2a)), (24, 0));
}

#[test]
fn compare_and_write() {
    let mut world = ready(Device::new(512, 64));
    let before = world.target.device.data[512..1536].to_vec();
    let memory = [before, pattern(1024)].concat();
    world.execute(Request::compare_and_write(512, 1024), &memory).unwrap();
    assert_eq!(world.target.device.data[512..1536], pattern(1024));
    assert_eq!(log(&world), [[0x89, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0]]);

    let error = world.execute(Request::compare_and_write(512, 1024), &memory).unwrap_err();
    assert_eq!(error.failure(), Some(Failure::Miscompare));
    assert_eq!(
        error.to_string(),
        "CHECK CONDITION: MISCOMPARE, 1d/00 miscompare during verify operation, at byte 3"
    );
    assert_eq!(world.target.device.count(0x89), 2, "never tried again");

    let request = Request::compare_and_write(0, 2560);
    assert_eq!(world.disk.submit(request), Err(RequestError::TooLong { len: 2560, max: 2048 }));
    let request = Request::compare_and_write(1, 512);
    let refused = RequestError::Unaligned { offset: 1, len: 512, block_size: 512 };
    assert_eq!(world.disk.submit(request), Err(refused));

    let mut device = Device::new(512, 64);
    device.limits = None;
    let request = Request::compare_and_write(0, 512);
    assert_eq!(ready(device).disk.submit(request), Err(RequestError::Unsupported));
}

#[test]
fn verify_and_compare() {
    let mut world = ready(Device::new(512, 64));
    world.execute(Request::verify(100, 1000), &[]).unwrap();
    assert_eq!(log(&world), [[0x2f, 0, 0, 0, 0, 0, 0, 0, 3, 0]]);
    let content = world.target.device.data[512..20480].to_vec();
    world.execute(Request::compare(512, content.len() as u64), &content).unwrap();
    assert_eq!(log(&world)[1], [0x2f, 0x02, 0, 0, 0, 1, 0, 0, 39, 0]);
    let mut other = content;
    other[19967] ^= 1;
    let error = world.execute(Request::compare(512, other.len() as u64), &other).unwrap_err();
    assert_eq!(error.failure(), Some(Failure::Miscompare));
    assert!(world.disk.submit(Request::compare(1, 512)).is_err());
}

#[test]
fn errors_of_the_device_are_reported_as_they_are() {
    let mut device = Device::new(512, 64);
    device.hook = Some(Box::new(|cdb, _| {
        let error = Sense::new(SenseKey::MEDIUM_ERROR, AdditionalSense::UNRECOVERED_READ_ERROR);
        match cdb[0] {
            0x28 => Some(Reply::check(&error.with_information(7))),
            0x2a => Some(Reply::status(ScsiStatus::ReservationConflict)),
            0x2f => Some(Reply::status(ScsiStatus::CheckCondition)),
            _ => None,
        }
    }));
    let mut world = ready(device);
    let DiskError::Scsi(error) = world.read(0, 32768).unwrap_err() else { panic!() };
    assert_eq!((error.failure, error.lba), (Failure::Medium, Some(7)));
    assert_eq!(error.key, Some(SenseKey::MEDIUM_ERROR));
    assert_eq!(
        error.to_string(),
        "CHECK CONDITION: MEDIUM ERROR, 11/00 unrecovered read error, at block 7"
    );
    let error = world.write(0, &pattern(512)).unwrap_err();
    assert_eq!(error.failure(), Some(Failure::ReservationConflict));
    assert_eq!(error.to_string(), "RESERVATION CONFLICT");
    assert_eq!(log(&world).len(), 2, "neither is tried again");
}

#[test]
fn short_data_are_never_silent() {
    type Answer = fn(&[u8]) -> Reply;
    let expect = |request, memory: &[u8], answer: Answer, error| {
        let mut device = Device::new(512, 64);
        device.hook =
            Some(Box::new(move |cdb, _| matches!(cdb[0], 0x28 | 0x2a).then(|| answer(cdb))));
        assert_eq!(ready(device).execute(request, memory), Err(error));
    };
    let read = Request::read(0, 1024);
    let short = |transferred| DiskError::ShortTransfer { expected: 1024, transferred };
    expect(read, &[0; 1024], |_| Reply::data(vec![1; 1000]), short(1000));
    expect(read, &[0; 1024], |_| Reply::good(), short(0));
    let lies = |_: &[u8]| Reply { residual: Some(Residual::None), ..Reply::data(vec![1; 512]) };
    expect(read, &[0; 1024], lies, short(512));
    let long = DiskError::LongTransfer { expected: 1024, excess: 512 };
    expect(read, &[0; 1024], |_| Reply::data(vec![1; 1536]), long);
    let part = |_: &[u8]| Reply { residual: Some(Residual::Underflow(24)), ..Reply::good() };
    expect(Request::write(0, 1024), &[0; 1024], part, short(1000));
}

#[test]
fn recovered_errors_are_good() {
    let mut device = Device::new(512, 64);
    device.hook = Some(Box::new(|cdb, device| {
        (cdb[0] == 0x28).then(|| Reply {
            data_in: device.data[..512].to_vec(),
            residual: Some(Residual::None),
            ..Reply::sense(SenseKey::RECOVERED_ERROR, AdditionalSense { asc: 0x17, ascq: 0 })
        })
    }));
    let mut world = ready(device);
    assert_eq!(world.read(0, 512).unwrap(), world.target.device.data[..512]);
}

#[test]
fn a_lost_session_ends_requests() {
    let mut world = ready(Device::new(512, 64));
    world.target.hold = true;
    let flying = world.submit(Request::read(0, 512), &[0; 512]).unwrap();
    world.settle();
    world.connection.received_eof(&mut world.session, world.now);
    let error = world.wait(flying).unwrap_err();
    assert_eq!(error.to_string(), "no answer from the device: the target closed the connection");
    let error = world.read(0, 512).unwrap_err();
    assert_eq!(error.to_string(), "the session is not open");
    assert_eq!(world.disk.state(), DiskState::Ready);
    // The next login serves the same disk, after a look at it.
    world.target.hold = false;
    world.log_in();
    world.disk.check().unwrap();
    assert_eq!(world.disk.check(), Err(RequestError::Busy));
    assert!(world.read(0, 512).is_ok());
    assert_eq!(world.states.last(), Some(&DiskState::Ready));
}
