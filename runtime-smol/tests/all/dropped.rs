//! Futures that are dropped at every point: memory stays where the target may still reach for it, and everything is free in the end.

use core::ops::Range;
use core::pin::pin;
use core::time::Duration;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::{Bytes, BytesMut};
use futures_lite::future;
use iscsi_core::{Command, Lun, Transfer};
use iscsi_runtime_smol::{Disk, Memory, Request};

use crate::support::*;

/// Data to the target that count while they exist.
struct Counted(Vec<u8>, Arc<AtomicUsize>);

impl Counted {
    fn bytes(data: Vec<u8>, alive: &Arc<AtomicUsize>) -> Bytes {
        alive.fetch_add(1, Ordering::SeqCst);
        Bytes::from_owner(Self(data, alive.clone()))
    }
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        // Nobody may look at it from now on.
        self.0.fill(0xdd);
        self.1.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Tells whether memory that was given away was freed: an empty rest of the same allocation.
struct Witness(BytesMut, usize);

impl Witness {
    fn memory(len: usize) -> (BytesMut, Self) {
        let mut memory = BytesMut::zeroed(len);
        let rest = memory.split_off(len);
        (memory, Self(rest, len))
    }

    /// Whether the rest is all that holds the allocation.
    fn is_alone(&mut self) -> bool {
        self.0.try_reclaim(self.1)
    }
}

/// The driver takes what is in its inbox in order: once this is answered it has taken all that was asked for before.
async fn until_in_use(disk: &Disk, count: usize) {
    while disk.handle().status().await.unwrap().in_use != count {
        future::yield_now().await;
    }
}

#[test]
fn memory_stays_with_the_driver_until_the_target_has_answered() {
    let store = Store::new(MIB);
    store.data()[..512].fill(1);
    let target = target(&store);
    run(async {
        let disk = connect(&target).await;
        let alive = Arc::default();
        let (memory, mut witness) = Witness::memory(512);
        let gate = store.shut();
        {
            let mut read = pin!(disk.read_at(0, memory));
            let data = Counted::bytes(vec![2; 512], &alive);
            let mut write = pin!(disk.write_at(512, data));
            assert!(future::poll_once(&mut read).await.is_none());
            assert!(future::poll_once(&mut write).await.is_none());
            until_in_use(&disk, 2).await;
        }
        assert!(!witness.is_alone(), "the target may still send data");
        assert_eq!(alive.load(Ordering::SeqCst), 1, "or ask for some");
        drop(gate);
        settled(disk.handle()).await.unwrap();
        assert!(witness.is_alone());
        assert_eq!(alive.load(Ordering::SeqCst), 0);
        assert_eq!(store.data()[512..1024], [2; 512], "it was under way");
        disk.handle().shut_down().await.unwrap();
    });
}

#[test]
fn what_was_not_sent_is_left_out() {
    let store = Store::new(MIB);
    let target = target(&store);
    run(async {
        let disk = connect(&target).await;
        let alive = Arc::default();
        drop(disk.write_at(0, Counted::bytes(vec![3; 512], &alive)));
        assert_eq!(alive.load(Ordering::SeqCst), 0, "nothing happens before the first poll");

        let gate = store.shut();
        let capacity = disk.handle().status().await.unwrap().capacity;
        let write = |n: usize, fill| {
            let data = Counted::bytes(vec![fill; 512], &alive);
            disk.submit(Request::write(n as u64 * 512, 512), data)
        };
        let first: Vec<_> = (0..capacity).map(|n| write(n, 1)).collect();
        until_in_use(&disk, capacity).await;
        let late: Vec<_> = (0..8).map(|n| write(100 + n, 2)).collect();
        assert_eq!(alive.load(Ordering::SeqCst), capacity + 8);
        for (n, ticket) in late.into_iter().enumerate() {
            assert!(!ticket.is_done());
            // Every other one is let go, and done all the same.
            if n % 2 == 0 { drop(ticket) } else { ticket.detach() }
        }
        drop(gate);
        for ticket in first {
            ticket.await.unwrap();
        }
        disk.handle().shut_down().await.unwrap();
        assert_eq!(alive.load(Ordering::SeqCst), 0);
        for n in 0..8 {
            let fill = if n % 2 == 0 { 0 } else { 2 };
            assert_eq!(store.data()[(100 + n) * 512..][..512], [fill; 512], "{n}");
        }
        let writes = store.writes.load(Ordering::Relaxed);
        assert!(writes >= capacity as u64 + 4, "{writes}");
    });
}

#[test]
fn disks_that_are_dropped_are_let_go() {
    let store = Store::new(MIB);
    let target = target(&store);
    run(async {
        let disk = connect(&target).await;
        let handle = disk.handle();
        let polls = async |polls: u64| {
            let mut open = pin!(handle.open(Lun::ZERO));
            for _ in 0..polls {
                if let Some(opened) = future::poll_once(&mut open).await {
                    return opened.unwrap().read_at(0, BytesMut::zeroed(1)).await.map(drop);
                }
                handle.status().await.unwrap();
            }
            Ok(())
        };
        // Opened and used, or the future dropped before it is polled, sent, half done and done.
        for n in 0..200 {
            polls(n / 4).await.unwrap();
        }
        // What was asked for before is done.
        let gate = store.shut();
        let other = handle.open(Lun::ZERO).await.unwrap();
        other.submit(Request::write(7, 5), Bytes::from("other")).detach();
        drop(other);
        drop(gate);
        while store.data()[7..12] != *b"other" {
            handle.status().await.unwrap();
        }
        settled(handle).await.unwrap();

        // After a reconnect only disks that somebody has are asked who they are: each takes some commands for that.
        handle.force_reconnect().await.unwrap();
        disk.read_at(0, BytesMut::zeroed(1)).await.unwrap();
        let sent = handle.status().await.unwrap().counters.pdus_sent;
        assert!(sent < 20, "{sent}");
        handle.shut_down().await.unwrap();
    });
}

/// What is known of a place where only one write goes.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Place {
    Written,
    /// The future of the write was dropped: it was done or not, but not in part.
    Dropped,
}

/// Bytes of such a place.
const PLACE: usize = 1536;

/// Bytes at the beginning of the disk for each worker, whose content it knows.
const OWN: usize = 32 * KIB;

pub(crate) const WORKERS: usize = 8;

/// What a disk needs for this.
pub(crate) const fn disk_len(drops: usize) -> usize {
    WORKERS * OWN + drops * PLACE
}

struct Worker {
    disk: Disk,
    number: usize,
    random: Random,
    own: Vec<u8>,
    places: Vec<(usize, Place)>,
    alive: Arc<AtomicUsize>,
    witnesses: Vec<Witness>,
    /// Futures dropped, and how many of them had been sent or were in line.
    dropped: usize,
    held: usize,
}

fn place_at(place: usize) -> u64 {
    (WORKERS * OWN + place * PLACE) as u64
}

/// At an odd place inside, and of an odd length.
fn place_data(place: usize) -> (u64, Vec<u8>) {
    (place_at(place) + 7 + (place % 300) as u64, pattern(400 + place % 701, place + 1))
}

impl Worker {
    /// Drops `operation` at a random point, or lets it end.
    async fn drop_at_random<T>(&mut self, operation: impl Future<Output = T>) -> Option<T> {
        let mut operation = pin!(operation);
        let end = match self.random.below(8) {
            0 => Some(operation.await),
            1..4 => {
                let time = Duration::from_micros(self.random.below(400));
                let late = async {
                    async_io::Timer::after(time).await;
                    None
                };
                future::or(async { Some(operation.as_mut().await) }, late).await
            }
            _ => {
                let mut end = None;
                for _ in 0..self.random.below(5) {
                    end = future::poll_once(&mut operation).await;
                    if end.is_some() {
                        break;
                    }
                    future::yield_now().await;
                }
                end
            }
        };
        self.dropped += usize::from(end.is_none());
        end
    }

    async fn write(&mut self, place: usize) {
        let disk = self.disk.clone();
        let (at, data) = place_data(place);
        let done = if self.random.below(2) == 0 {
            let data = Counted::bytes(data, &self.alive);
            let end = self.drop_at_random(disk.write_at(at, data)).await;
            end.map(|end| drop(end.unwrap()))
        } else {
            let (head, tail) = data.split_at(data.len() / 3);
            let parts = [head, tail].map(|part| Counted::bytes(part.to_vec(), &self.alive));
            let end = self.drop_at_random(disk.write_vectored_at(at, parts.into())).await;
            end.map(|end| drop(end.unwrap()))
        };
        let place_is = if done.is_some() { Place::Written } else { Place::Dropped };
        self.places.push((place, place_is));
    }

    async fn read(&mut self) {
        let disk = self.disk.clone();
        let at = self.random.below(OWN as u64 - 9_000) as usize;
        let len = self.random.below(9_000) as usize;
        let (mut memory, mut witness) = Witness::memory(len + 1);
        let on_disk = (self.number * OWN + at) as u64;
        let read = if self.random.below(2) == 0 {
            self.drop_at_random(disk.read_at(on_disk, memory)).await.map(Result::unwrap)
        } else {
            let parts = vec![memory.split_to(len / 2), memory];
            let end = self.drop_at_random(disk.read_vectored_at(on_disk, parts)).await;
            end.map(|end| BytesMut::from(&end.unwrap().concat()[..]))
        };
        match read {
            Some(read) => assert!(read == self.own[at..at + len + 1], "{at} {len}"),
            None => self.held += usize::from(!witness.is_alone()),
        }
        self.witnesses.push(witness);
    }

    /// A write and a read that are waited for: what was dropped before does not reach them.
    async fn verify(&mut self) {
        let at = self.random.below(OWN as u64 - 5_000) as usize;
        let data = pattern(self.random.below(5_000) as usize + 1, self.random.next() as usize);
        let on_disk = (self.number * OWN + at) as u64;
        let memory = self.disk.write_at(on_disk, data.clone().into()).await.unwrap();
        self.own[at..at + data.len()].copy_from_slice(&data);
        let read = self.disk.read_at(on_disk, BytesMut::zeroed(memory.len())).await.unwrap();
        assert!(read == data);
    }

    /// Goes on until it has dropped as many futures as it has places to write to.
    async fn work(mut self, places: Range<usize>) -> Self {
        let drops = places.len();
        let mut places = places.peekable();
        while self.dropped < drops {
            let write = self.random.below(2) == 0;
            match places.next_if(|_| write) {
                Some(place) => self.write(place).await,
                None => self.read().await,
            }
            if self.random.below(16) == 0 {
                self.verify().await;
            }
        }
        self
    }
}

/// Eight tasks drop `drops` futures on one disk, and prove that nothing was harmed.
pub(crate) async fn drop_many(disk: &Disk, store: &Store, drops: usize, seed: u64) {
    println!("seed {seed}");
    let alive = Arc::new(AtomicUsize::new(0));
    let executor = smol::Executor::new();
    let each = drops / WORKERS;
    let tasks: Vec<_> = (0..WORKERS)
        .map(|number| {
            let worker = Worker {
                disk: disk.clone(),
                number,
                random: Random(seed ^ (number as u64) << 32),
                own: vec![0; OWN],
                places: Vec::new(),
                alive: alive.clone(),
                witnesses: Vec::new(),
                dropped: 0,
                held: 0,
            };
            executor.spawn(worker.work(number * each..(number + 1) * each))
        })
        .collect();
    let mut workers = Vec::new();
    executor
        .run(async {
            for task in tasks {
                workers.push(task.await);
            }
        })
        .await;
    let total: usize = workers.iter().map(|worker| worker.dropped).sum();
    let held: usize = workers.iter().map(|worker| worker.held).sum();
    assert_eq!(total, drops);
    assert!(held > 0, "reads were dropped while the driver had their memory");

    // This comes after all that is in line; then the slots are empty and the memory is gone.
    let len = disk_len(drops);
    let mut read = Vec::with_capacity(len);
    while read.len() < len {
        // Small parts, which also get through where connections do not live long.
        let part = BytesMut::zeroed((len - read.len()).min(32 * KIB));
        read.extend_from_slice(&disk.read_at(read.len() as u64, part).await.unwrap());
    }
    settled(disk.handle()).await.unwrap();
    assert_eq!(alive.load(Ordering::SeqCst), 0, "all that was to be written is freed, once");
    for worker in &mut workers {
        assert!(worker.witnesses.iter_mut().all(Witness::is_alone));
    }

    // The disk is what it should be, byte for byte.
    let data = store.data().clone();
    assert!(data[..len] == *read);
    let mut model = vec![0; len];
    let mut done_anyway = 0;
    for worker in &workers {
        model[worker.number * OWN..][..OWN].copy_from_slice(&worker.own);
        for &(place, is) in &worker.places {
            let (at, written) = place_data(place);
            let found = &data[at as usize..][..written.len()];
            let done = found == written;
            assert!(done || is != Place::Written, "{place}");
            if done {
                model[at as usize..][..written.len()].copy_from_slice(&written);
                done_anyway += usize::from(is == Place::Dropped);
            }
        }
    }
    assert!(read == model, "a write was done in part, or somewhere else");
    println!(
        "{total} dropped, {held} reads of them with the driver, {done_anyway} writes done all the same"
    );
    assert!(done_anyway > 0);
}

/// All slots of the session and of the disk can be used.
async fn use_all_slots(disk: &Disk, store: &Arc<Store>) {
    let capacity = disk.handle().status().await.unwrap().capacity;
    for own in [true, false] {
        let gate = store.shut();
        let read = Command::new(Lun::ZERO, &[0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0], Transfer::In(512));
        let memory = || BytesMut::zeroed(512);
        let commands: Vec<_> =
            (0..capacity).filter(|_| own).map(|_| disk.handle().submit(&read, memory())).collect();
        let requests: Vec<_> = (0..capacity)
            .filter(|_| !own)
            .map(|n| disk.submit(Request::read(n as u64 * 512, 512), memory()))
            .collect();
        until_in_use(disk, capacity).await;
        drop(gate);
        for command in commands {
            let (completed, memory): (_, Memory) = command.await.unwrap();
            completed.good().unwrap();
            assert_eq!(memory.into_mut().len(), 512);
        }
        for request in requests {
            request.await.unwrap();
        }
    }
}

#[test]
fn ten_thousand_futures_are_dropped_at_random_points() {
    const DROPS: usize = 10_000;
    let store = Store::new(disk_len(DROPS).next_multiple_of(MIB));
    let target = target(&store);
    run(async {
        let disk = connect(&target).await;
        drop_many(&disk, &store, DROPS, 0x5eed).await;
        use_all_slots(&disk, &store).await;
        let status = settled(disk.handle()).await.unwrap();
        assert_eq!((status.session.logins, status.session.connections_lost), (1, 0));
        disk.handle().shut_down().await.unwrap();
    });
}
