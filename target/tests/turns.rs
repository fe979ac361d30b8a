//! What the driver does in one turn, so that one connection does not keep others waiting.

mod support;

use std::convert::Infallible;

use iscsi_core::Wants;
use iscsi_core::digest::{crc32c, to_wire};
use iscsi_core::driver::{RecvBuf, Transport};
use iscsi_core::wire::{BHS_LEN, InitiatorPdu, ScsiCommand};
use iscsi_scsi::block::{Read10, Write10};
use iscsi_target::driver::pump;
use iscsi_target::{Disk, NullDisk};
use support::{Bench, ram};

/// A MiB, and what is frozen beyond that.
const SENT: usize = 7 << 18;

/// 256 KiB, and what was under way then.
const RECEIVED: usize = 2 << 18;

/// A transport that takes everything, and gives what it has.
#[derive(Default)]
struct Fast {
    input: Vec<u8>,
    taken: usize,
    sent: usize,
    /// The most in one call.
    most: usize,
    /// Bytes that were not read in place.
    scratched: usize,
    /// How often something was read.
    reads: usize,
    /// Bytes that were dropped, if it can drop.
    dropped: usize,
    drops: bool,
}

impl Transport for Fast {
    type Error = Infallible;

    fn send(&mut self, runs: &[&[u8]]) -> Result<Option<usize>, Infallible> {
        let n = runs.iter().map(|run| run.len()).sum();
        self.sent += n;
        self.most = self.most.max(n);
        Ok(Some(n))
    }

    fn recv(&mut self, space: [&mut [u8]; 2]) -> Result<Option<usize>, Infallible> {
        let before = self.taken;
        for (space, scratched) in space.into_iter().zip([0, 1]) {
            let n = space.len().min(self.input.len() - self.taken);
            space[..n].copy_from_slice(&self.input[self.taken..][..n]);
            self.taken += n;
            self.scratched += n * scratched;
        }
        self.reads += usize::from(self.taken > before);
        Ok(Some(self.taken - before).filter(|n| *n > 0))
    }

    fn discard(&mut self, space: &mut [u8]) -> Result<Option<usize>, Infallible> {
        if !self.drops {
            return self.recv([&mut [], space]);
        }
        let n = space.len().min(self.input.len() - self.taken);
        // Not one of them is in `space`.
        space.fill(0xee);
        self.taken += n;
        self.dropped += n;
        Ok(Some(n).filter(|n| *n > 0))
    }
}

impl Fast {
    fn turn(&mut self, bench: &mut Bench, scratch: &mut RecvBuf, budget: usize) -> Wants {
        let (connection, target) = (&mut bench.clients[0].connection, &mut bench.target);
        pump(connection, target, scratch, self, bench.now, budget).unwrap()
    }
}

const KEYS: [&str; 3] =
    ["MaxRecvDataSegmentLength=262144", "MaxBurstLength=1048576", "FirstBurstLength=262144"];

fn bench() -> Bench {
    let mut bench = Bench::with_disks(vec![ram(1 << 20)], |config| {
        config.nop_interval = None;
    });
    bench.login(0, &KEYS);
    // The first command gets a unit attention.
    bench.read(0, &Read10 { lba: 0, blocks: 1, ..Default::default() }.cdb());
    bench
}

/// A write of so many bytes, all of them immediate, without a digest.
fn write(bench: &mut Bench, data: &[u8]) -> Vec<u8> {
    let write = Write10 { lba: 0, blocks: (data.len() / 512) as u16, ..Default::default() };
    let command = bench.command(0, &write.cdb());
    let mut bhs = [0; BHS_LEN];
    let data_segment_length = data.len() as u32;
    InitiatorPdu::from(ScsiCommand { data_segment_length, ..command }).emit(&mut bhs);
    [&bhs, data].concat()
}

#[test]
fn a_turn_sends_no_more_than_its_share() {
    const READS: usize = 20;
    let mut bench = bench();
    let mut bytes = Vec::new();
    for _ in 0..READS {
        let mut bhs = [0; BHS_LEN];
        let read = Read10 { lba: 0, blocks: 2048, ..Default::default() };
        InitiatorPdu::from(bench.command(0, &read.cdb())).emit(&mut bhs);
        bytes.extend_from_slice(&bhs);
    }
    let mut transport = Fast { input: bytes, ..Default::default() };
    let mut scratch = RecvBuf::new([0; 4096]);
    let (mut turns, mut sent) = (0, 0);
    loop {
        let wants = transport.turn(&mut bench, &mut scratch, 64);
        turns += 1;
        assert!(transport.sent - sent <= SENT, "{} bytes in one turn", transport.sent - sent);
        assert!(transport.most < 3 << 18, "{} bytes at once", transport.most);
        sent = transport.sent;
        if !wants.again {
            break;
        }
        assert!(wants.write && turns < 100);
    }
    assert_eq!(sent, READS * ((1 << 20) + 4 * BHS_LEN));
    assert!(turns >= READS / 2, "{turns} turns");
}

#[test]
fn a_turn_receives_no_more_than_its_share() {
    const WRITES: usize = 60;
    let mut bench = bench();
    let data = [7; 128 * 1024];
    let mut bytes = Vec::new();
    for _ in 0..WRITES {
        bytes.extend(write(&mut bench, &data));
    }
    let mut transport = Fast { input: bytes, ..Default::default() };
    let mut scratch = RecvBuf::new([0; 64 * 1024]);
    let (mut turns, mut taken) = (0, 0);
    loop {
        let wants = transport.turn(&mut bench, &mut scratch, 64);
        turns += 1;
        assert!(
            transport.taken - taken <= RECEIVED,
            "{} bytes in one turn",
            transport.taken - taken
        );
        taken = transport.taken;
        if !wants.again {
            break;
        }
        assert!(wants.read && turns < 100);
    }
    assert_eq!(taken, transport.input.len());
    assert_eq!(transport.sent, WRITES * BHS_LEN, "a status for each");
    assert!(turns >= WRITES / 4, "{turns} turns");
}

#[test]
fn large_data_are_read_in_place() {
    // No longer than the scratch: each could be swallowed by it.
    const WRITES: usize = 40;
    let mut bench = bench();
    let mut scratch = RecvBuf::new([0; 64 * 1024]);
    let data = [7; 48 * 1024];
    let mut transport = Fast::default();
    for turn in 0..2 {
        for _ in 0..WRITES {
            transport.input.extend(write(&mut bench, &data));
        }
        let before = transport.scratched;
        while transport.turn(&mut bench, &mut scratch, 64).again {}
        assert_eq!(transport.taken, transport.input.len());
        assert_eq!(transport.sent, (turn + 1) * WRITES * BHS_LEN);
        // The first one is not known to be large before it is there.
        let scratched = transport.scratched - before;
        assert!(scratched <= 64 * 1024 * (1 - turn) + WRITES * 512, "{scratched} bytes copied");
    }
    // Small requests behind it are read together again.
    let read = Read10 { lba: 0, blocks: 1, ..Default::default() };
    for _ in 0..3 * 32 {
        let mut bhs = [0; BHS_LEN];
        InitiatorPdu::from(bench.command(0, &read.cdb())).emit(&mut bhs);
        transport.input.extend_from_slice(&bhs);
    }
    let before = transport.reads;
    while transport.turn(&mut bench, &mut scratch, 64).again {}
    assert_eq!(transport.taken, transport.input.len());
    assert_eq!(transport.reads - before, 2, "a small read, and one that takes the rest");
}

#[test]
fn what_a_disk_forgets_is_dropped_unless_it_has_a_digest() {
    const WRITES: usize = 40;
    let data = [7; 48 * 1024];
    let null = || -> Box<dyn Disk> { Box::new(NullDisk::new(1 << 20)) };
    let digest = ["DataDigest=CRC32C", KEYS[0], KEYS[2]];
    for (keys, disk, drops, room, dropping) in [
        (KEYS, null(), true, 64 * 1024, true),
        (KEYS, null(), true, 5000, true),
        (KEYS, null(), false, 5000, false),
        (KEYS, ram(1 << 20), true, 64 * 1024, false),
        (digest, null(), true, 64 * 1024, false),
    ] {
        let mut bench = Bench::with_disks(vec![disk], |config| config.nop_interval = None);
        bench.login(0, &keys);
        bench.read(0, &Read10 { lba: 0, blocks: 1, ..Default::default() }.cdb());
        let mut transport = Fast { drops, ..Default::default() };
        for _ in 0..WRITES {
            transport.input.extend(write(&mut bench, &data));
            if keys == digest {
                transport.input.extend_from_slice(&to_wire(crc32c(&data)));
            }
        }
        let before = bench.clients[0].connection.counters().bytes_received;
        let (mut small, mut large) = (RecvBuf::new([0; 5000]), RecvBuf::new([0; 64 * 1024]));
        let scratch: &mut RecvBuf = if room == 5000 { &mut small } else { &mut large };
        while transport.turn(&mut bench, scratch, 64).again {}
        assert_eq!(transport.taken, transport.input.len());
        assert_eq!(transport.sent, WRITES * BHS_LEN, "{keys:?}: a status for each");
        let received = bench.clients[0].connection.counters().bytes_received - before;
        assert_eq!(received, transport.input.len() as u64);
        // What comes with a header, and the end of a segment, is not worth a call.
        let least = if dropping { (WRITES - 2) * (data.len() - 33 * 1024) } else { 0 };
        assert_eq!(transport.dropped > 0, dropping);
        assert!(transport.dropped >= least, "{} of {}", transport.dropped, transport.taken);
    }
}

#[test]
fn a_turn_takes_no_more_pdus_than_its_budget() {
    let mut bench = bench();
    let before = bench.clients[0].connection.counters().pdus_received;
    let mut bytes = Vec::new();
    for _ in 0..30 {
        let mut bhs = [0; BHS_LEN];
        let read = Read10 { lba: 0, blocks: 1, ..Default::default() };
        InitiatorPdu::from(bench.command(0, &read.cdb())).emit(&mut bhs);
        bytes.extend_from_slice(&bhs);
    }
    let mut transport = Fast { input: bytes, ..Default::default() };
    let mut scratch = RecvBuf::new([0; 4096]);
    for (turn, again) in [(1, true), (2, true), (3, true), (4, false)] {
        let wants = transport.turn(&mut bench, &mut scratch, 8);
        let received = bench.clients[0].connection.counters().pdus_received - before;
        assert_eq!((received, wants.again), (30.min(turn * 8), again));
        assert_eq!(transport.sent as u64, received * (BHS_LEN as u64 + 512));
    }
}
