//! Disks as streams: polls that are given up, other memory at the next one, errors behind the back, both ends of the device.

use std::io::{ErrorKind, Result, SeekFrom};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::BytesMut;
use futures_lite::{AsyncReadExt as _, AsyncSeekExt as _, AsyncWriteExt as _, future, io};
use iscsi_core::Lun;
use iscsi_runtime_smol::{Disk, DiskStream};

use crate::support::*;

/// Polls what `begin` makes once, or a few times, drops it and begins again with something else, until one ends.
async fn with_dropped_polls<T>(
    stream: &mut DiskStream,
    random: &mut Random,
    mut begin: impl AsyncFnMut(&mut DiskStream, &mut Random) -> T,
) -> T {
    loop {
        let mut attempt = core::pin::pin!(begin(stream, random));
        for _ in 0..2 {
            if let Some(end) = future::poll_once(&mut attempt).await {
                return end;
            }
            future::yield_now().await;
        }
    }
}

async fn read_some(stream: &mut DiskStream, random: &mut Random, most: u64) -> Result<Vec<u8>> {
    with_dropped_polls(stream, random, async |stream, random| {
        let mut memory = vec![0xee; random.below(most) as usize + 1];
        let len = stream.read(&mut memory).await?;
        assert!(memory[len..].iter().all(|byte| *byte == 0xee), "only what is told was filled");
        memory.truncate(len);
        Ok(memory)
    })
    .await
}

/// Other lengths, and other memory, at each attempt; the bytes are those that come next.
async fn write_some(stream: &mut DiskStream, random: &mut Random, data: &[u8]) -> Result<usize> {
    with_dropped_polls(stream, random, async |stream, random| {
        let mut some = data[..random.below(data.len() as u64) as usize + 1].to_vec();
        let len = stream.write(&some).await;
        // It was copied or not taken at all.
        some.fill(0xdd);
        len
    })
    .await
}

/// Two disks of one session.
async fn two_disks(stores: &[Arc<Store>; 2]) -> (iscsi_target::server::ServerHandle, [Disk; 2]) {
    let target = target_with(stores, |_| {});
    let first = connect(&target).await;
    let second = first.handle().open(Lun::new(1).unwrap()).await.unwrap();
    (target, [first, second])
}

#[test]
fn a_copy_with_dropped_polls_is_the_same_byte_for_byte() {
    for seed in 0..3 {
        let stores = [Store::new(2 * MIB), Store::new(2 * MIB)];
        stores[0].data().copy_from_slice(&pattern(2 * MIB, seed as usize));
        run(async {
            let (_target, [from, to]) = two_disks(&stores).await;
            let (mut from, mut to, mut random) = (from.stream(), to.stream(), Random(seed));
            let mut copied = 0;
            loop {
                let data = read_some(&mut from, &mut random, 70_001).await.unwrap();
                if data.is_empty() {
                    break;
                }
                let mut rest = &data[..];
                while !rest.is_empty() {
                    let len = write_some(&mut to, &mut random, rest).await.unwrap();
                    assert!(len > 0);
                    rest = &rest[len..];
                }
                copied += data.len();
                assert_eq!((from.position(), to.position()), (copied as u64, copied as u64));
            }
            assert_eq!(copied, 2 * MIB);
            with_dropped_polls(&mut to, &mut random, async |to, _| to.flush().await).await.unwrap();
            assert!(*stores[0].data() == *stores[1].data(), "seed {seed}");
            assert!(stores[1].flushes.load(Ordering::Relaxed) >= 1);
            from.disk().handle().shut_down().await.unwrap();
        });
    }
}

#[test]
fn library_functions_copy() {
    let stores = [Store::new(MIB), Store::new(MIB)];
    stores[0].data().copy_from_slice(&pattern(MIB, 8));
    run(async {
        let (_target, [from, to]) = two_disks(&stores).await;
        let (from, mut to) = (from.stream(), to.stream());
        assert_eq!(io::copy(from, &mut to).await.unwrap(), MIB as u64);
        to.close().await.unwrap();
        assert!(*stores[0].data() == *stores[1].data());
        // In requests of 64 KiB, whatever the size of what was written.
        assert!(stores[1].writes.load(Ordering::Relaxed) < 1000);
        to.disk().handle().shut_down().await.unwrap();
    });
}

#[test]
fn whatever_is_done_in_whatever_order_is_what_a_file_would_do() {
    for seed in 0..6 {
        let store = Store::new(MIB);
        let target = target(&store);
        run(async {
            let disk = connect(&target).await;
            let (mut stream, mut random) = (disk.stream(), Random(seed * 77));
            let (mut model, mut at) = (vec![0_u8; MIB], 0);
            for step in 0..400 {
                match random.below(10) {
                    0..4 => {
                        let data = pattern(random.below(9_000) as usize + 1, step);
                        let len = write_some(&mut stream, &mut random, &data).await.unwrap();
                        model[at..at + len].copy_from_slice(&data[..len]);
                        at += len;
                        assert!(len > 0 || at == MIB);
                    }
                    4..8 => {
                        let data = read_some(&mut stream, &mut random, 20_000).await.unwrap();
                        assert!(model[at..].starts_with(&data), "seed {seed} step {step}");
                        assert!(!data.is_empty() || at == MIB);
                        at += data.len();
                    }
                    8 => {
                        at = random.below(MIB as u64) as usize;
                        let to = match random.below(3) {
                            0 => SeekFrom::Start(at as u64),
                            1 => SeekFrom::End(at as i64 - MIB as i64),
                            _ => SeekFrom::Current(at as i64 - stream.position() as i64),
                        };
                        let seek = async |stream: &mut DiskStream, _: &mut Random| {
                            // The first attempt may be dropped after it has moved: only the position that is told counts.
                            stream.seek(SeekFrom::Current(0)).await
                        };
                        with_dropped_polls(&mut stream, &mut random, seek).await.unwrap();
                        assert_eq!(stream.seek(to).await.unwrap(), at as u64);
                    }
                    _ => {
                        with_dropped_polls(&mut stream, &mut random, async |s, _| s.flush().await)
                            .await
                            .unwrap();
                        assert!(*store.data() == model, "seed {seed} step {step}");
                    }
                }
                assert_eq!(stream.position(), at as u64);
            }
            stream.close().await.unwrap();
            assert!(*store.data() == model, "seed {seed}");
            disk.handle().shut_down().await.unwrap();
        });
    }
}

#[test]
fn the_end_of_the_device() {
    let store = Store::new(100 * KIB);
    let target = target(&store);
    run(async {
        let disk = connect(&target).await;
        let mut stream = disk.stream();
        let end = 100 * KIB as u64;
        assert_eq!(stream.seek(SeekFrom::End(-3)).await.unwrap(), end - 3);
        let mut memory = [1; 8];
        assert_eq!(stream.read(&mut memory).await.unwrap(), 3);
        assert_eq!(stream.read(&mut memory).await.unwrap(), 0);
        assert_eq!(memory, [0, 0, 0, 1, 1, 1, 1, 1]);
        assert_eq!(stream.write(b"more").await.unwrap(), 0);
        assert_eq!(stream.seek(SeekFrom::End(-2)).await.unwrap(), end - 2);
        let error = stream.write_all(b"more").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WriteZero);
        stream.flush().await.unwrap();
        assert!(store.data().ends_with(b"mo"));

        assert_eq!(stream.seek(SeekFrom::End(7)).await.unwrap(), end + 7);
        assert_eq!(stream.read(&mut memory).await.unwrap(), 0);
        assert_eq!(stream.write(b"more").await.unwrap(), 0);
        let error = stream.seek(SeekFrom::Current(-(end as i64) - 8)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert_eq!(stream.position(), end + 7, "it stays");
        assert_eq!(stream.read(&mut []).await.unwrap(), 0);

        // There is nothing to read before there is: the end is looked for each time.
        assert_eq!(stream.seek(SeekFrom::End(-2)).await.unwrap(), end - 2);
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).await.unwrap();
        assert_eq!(rest, b"mo");
        disk.handle().shut_down().await.unwrap();
    });
}

#[test]
fn errors_of_writes_are_told_once_by_the_next_call() {
    let store = Store::new(MIB);
    let target = target(&store);
    run(async {
        let disk = connect(&target).await;
        store.break_bytes(0..512);
        let mut stream = disk.stream();
        stream.write_all(b"lost").await.unwrap();
        let error = stream.flush().await.unwrap_err();
        assert!(error.to_string().contains("MEDIUM ERROR"), "{error}");
        stream.flush().await.unwrap();
        assert_eq!(stream.position(), 4);

        // A seek and a read tell it, too.
        stream.write_all(b"lost").await.unwrap();
        stream.seek(SeekFrom::Start(1000)).await.unwrap_err();
        assert_eq!(stream.seek(SeekFrom::Start(8)).await.unwrap(), 8);
        stream.write_all(b"lost").await.unwrap();
        stream.read(&mut [0; 4]).await.unwrap_err();

        // And so does one of many writes.
        assert_eq!(stream.seek(SeekFrom::Start(0)).await.unwrap(), 0);
        let told = async {
            loop {
                if let Err(error) = stream.write(&[1; 5000]).await {
                    return error;
                }
                if stream.position() == MIB as u64 {
                    return stream.flush().await.unwrap_err();
                }
            }
        };
        assert!(told.await.to_string().contains("MEDIUM ERROR"));
        disk.handle().shut_down().await.unwrap();
    });
}

#[test]
fn a_read_fails_where_the_device_does() {
    let store = Store::new(MIB);
    store.data().copy_from_slice(&pattern(MIB, 2));
    let target = target(&store);
    run(async {
        let disk = connect(&target).await;
        store.break_bytes(300_000..300_001);
        let mut stream = disk.stream();
        let mut read = Vec::new();
        stream.read_to_end(&mut read).await.unwrap_err();
        // The bytes before it were read, those of its request were not.
        let len = stream.position() as usize;
        assert!((200_000..=300_000).contains(&len), "{len}");
        store.break_bytes(0..0);
        read.truncate(len);
        stream.read_to_end(&mut read).await.unwrap();
        assert!(read == *store.data());
        disk.handle().shut_down().await.unwrap();
    });
}

#[test]
fn a_flush_that_is_given_up_does_not_stand_for_later_writes() {
    let store = Store::new(MIB);
    let target = target(&store);
    run(async {
        let disk = connect(&target).await;
        let mut stream = disk.stream();
        stream.write_all(b"one").await.unwrap();
        // Now it is written, and only the flush of the device is held up.
        stream.seek(SeekFrom::Current(0)).await.unwrap();
        let gate = store.shut();
        assert!(future::poll_once(stream.flush()).await.is_none());
        while disk.handle().status().await.unwrap().in_use == 0 {
            future::yield_now().await;
        }
        stream.write_all(b"two").await.unwrap();
        drop(gate);
        stream.flush().await.unwrap();
        assert!(store.data().starts_with(b"onetwo"));
        assert_eq!(store.flushes.load(Ordering::Relaxed), 2);
        stream.flush().await.unwrap();
        assert_eq!(store.flushes.load(Ordering::Relaxed), 3, "each one is one");
        disk.handle().shut_down().await.unwrap();
    });
}

#[test]
fn a_stream_that_is_dropped_has_written() {
    let store = Store::new(2 * MIB);
    let target = target(&store);
    run(async {
        let disk = connect(&target).await;
        let data = pattern(MIB + 77, 4);
        let mut stream = disk.stream();
        stream.seek(SeekFrom::Start(99)).await.unwrap();
        stream.write_all(&data).await.unwrap();
        drop(stream);
        disk.handle().shut_down().await.unwrap();
        assert!(store.data()[99..].starts_with(&data));
    });
}

#[test]
fn a_seek_to_another_place_sees_what_others_wrote() {
    let store = Store::new(MIB);
    let target = target(&store);
    run(async {
        let disk = connect(&target).await;
        let mut stream = disk.stream();
        let mut byte = [0; 1];
        stream.read_exact(&mut byte).await.unwrap();
        disk.write_at(0, vec![9; 100].into()).await.unwrap();
        stream.seek(SeekFrom::Start(0)).await.unwrap();
        stream.read_exact(&mut byte).await.unwrap();
        assert_eq!(byte, [9]);
        assert_eq!(disk.read_at(0, BytesMut::zeroed(1)).await.unwrap()[..], byte);
        disk.handle().shut_down().await.unwrap();
    });
}
