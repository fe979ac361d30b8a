//! A disk whose connection flips bits: whatever is reported as good is good.

use core::net::SocketAddr;
use core::ops::Range;
use core::time::Duration;
use std::time::Instant;

use iscsi_core::config::Timeouts;
use iscsi_core::text::Digests;
use iscsi_core::{Config, IscsiName, Lun};
use iscsi_fault_proxy::{FaultProxy, Way};
use iscsi_runtime_std::{Client, Disk, Error};

/// Bytes of a request, which is what a tag is kept for.
const SLOT: usize = 16 << 10;
const SLOTS: usize = 48;

/// How runs went.
#[derive(Debug, Default)]
pub(crate) struct Damage {
    pub(crate) flips: u64,
    pub(crate) sessions: u64,
    pub(crate) good: u32,
    pub(crate) failed: u32,
}

/// Several runs, one for each seed.
///
/// # Panics
/// If data that were reported as good are not.
pub(crate) fn soaks(target: SocketAddr, name: &IscsiName, lun: Lun, seeds: Range<u64>) -> Damage {
    let mut sum = Damage::default();
    for seed in seeds {
        let damage = soak(target, name, lun, seed);
        println!("seed {seed}: {damage:?}");
        sum.flips += damage.flips;
        sum.sessions += damage.sessions;
        sum.good += damage.good;
        sum.failed += damage.failed;
    }
    sum
}

/// Random writes and reads with both digests through a proxy that flips a bit every 20 to 200 KiB of each way, logins excepted.
/// Sessions that end are opened again.
fn soak(target: SocketAddr, name: &IscsiName, lun: Lun, seed: u64) -> Damage {
    let every = 20 << 10..200 << 10;
    let proxy = FaultProxy::to(target)
        .seed(seed)
        .flip_bits(Way::ToServer, every.clone())
        .flip_bits(Way::ToClient, every)
        .outside_login()
        .start()
        .unwrap();
    let mut damage = Damage::default();
    let mut rng = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut random = |below: usize| {
        rng ^= rng << 13;
        rng ^= rng >> 7;
        rng ^= rng << 17;
        (rng % below as u64) as usize
    };
    // What each slot holds; nobody knows after a write that failed.
    let mut model: [Option<u64>; SLOTS] = [None; SLOTS];
    let mut disk = None;
    let end = Instant::now() + Duration::from_secs(60);
    for tag in 0..300 {
        assert!(Instant::now() < end, "seed {seed}: {damage:?}");
        let Some(open) = disk.as_mut() else {
            match connect(proxy.addr(), name, lun) {
                Ok(opened) => disk = Some(opened),
                // Finding out what the disk is takes a few PDUs, which may be hit.
                Err(_) => damage.failed += 1,
            }
            continue;
        };
        let slot = random(SLOTS);
        let offset = (slot * SLOT) as u64;
        let result = if random(2) == 0 {
            let result = open.write_at(offset, &pattern(tag));
            model[slot] = result.is_ok().then_some(tag);
            result
        } else {
            let mut read = vec![0; SLOT];
            let result = open.read_at(offset, &mut read);
            if let (Ok(()), Some(tag)) = (&result, model[slot]) {
                assert!(read == pattern(tag), "seed {seed}: slot {slot} was read wrongly");
            }
            result
        };
        match result {
            Ok(()) => damage.good += 1,
            Err(_) => {
                damage.failed += 1;
                disk = None;
            }
        }
    }
    drop(disk);
    // What is stored, as seen without the proxy.
    let mut direct = connect(target, name, lun).unwrap();
    for (slot, tag) in model.iter().enumerate() {
        let Some(tag) = tag else { continue };
        let mut read = vec![0; SLOT];
        direct.read_at((slot * SLOT) as u64, &mut read).unwrap();
        assert!(read == pattern(*tag), "seed {seed}: slot {slot} was written wrongly");
    }
    direct.logout().unwrap();
    Damage { flips: proxy.counters().flips, sessions: proxy.connections(), ..damage }
}

fn connect(address: SocketAddr, name: &IscsiName, lun: Lun) -> Result<Disk, Error> {
    let host = IscsiName::new("iqn.2001-04.com.example:host").unwrap();
    let limit = Duration::from_secs(1);
    let config = Config::normal(host, name.clone())
        .header_digest(Digests::CRC32C)
        .data_digest(Digests::CRC32C)
        .timeouts(Timeouts {
            connect: limit,
            login: limit,
            command: Some(limit),
            task_management: limit,
            logout: limit,
            ..Timeouts::DEFAULT
        });
    Disk::open(Client::connect(config.build().unwrap(), address.into())?, lun)
}

/// Bytes in which no block is like another, nor like that of another tag.
fn pattern(tag: u64) -> Vec<u8> {
    let word = |n: u64| (tag << 32 | n).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes();
    (0..SLOT as u64 / 8).flat_map(word).collect()
}
