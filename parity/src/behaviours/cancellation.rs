//! Requests that nobody waits for.

use std::thread;
use std::time::Instant;

use iscsi_disk::Request;
use iscsi_runtime::{Error, Payload};

use super::{Numbers, SECOND, config, open, pattern};
use crate::{Path, Runtime, Served};

const PART: usize = 20_480;
/// Where nothing but writes that are abandoned go.
const WASTE: u64 = 8 << 20;

/// All slots are free in the end.
fn calm(path: &mut dyn Path) {
    let end = Instant::now() + 30 * SECOND;
    while path.standing().in_use > 0 {
        assert!(Instant::now() < end, "{:?}", path.standing());
        thread::yield_now();
    }
}

pub(super) fn abandoned(runtime: &dyn Runtime, served: &Served) {
    let mut path = open(runtime, served, config(served));
    let data = pattern(40 * PART, 2);
    path.write(0, &data).expect("a write");
    let mut numbers = Numbers(17);
    for _ in 0..60 {
        let mut kept = Vec::new();
        for _ in 0..10 {
            let at = numbers.below(39) as usize * PART;
            let kind = numbers.below(3);
            let number = match kind {
                0 => {
                    let out = Payload::Out(vec![9; PART]);
                    path.submit(Request::write(WASTE + at as u64, PART as u64), out)
                }
                _ => {
                    let space = Payload::In(vec![0; PART]);
                    path.submit(Request::read(at as u64, PART as u64), space)
                }
            };
            match kind {
                2 => kept.push((number, at)),
                _ => path.abandon(number),
            }
        }
        while !kept.is_empty() {
            let (number, result) = path.next();
            let place = kept.iter().position(|(begun, _)| *begun == number);
            let (_, at) = kept.swap_remove(place.expect("it was kept"));
            let read = result.expect("a read").into_bytes();
            assert!(read == data[at..at + PART], "at {at}");
        }
    }
    calm(&mut *path);
    assert!(path.read(0, data.len()).expect("a read") == data);
    path.shut_down().expect("a logout");
}

/// What is under way is finished first.
pub(super) fn left(runtime: &dyn Runtime, served: &Served) {
    let mut path = open(runtime, served, config(served));
    for n in 0..100 {
        let data = Payload::Out(pattern(PART, n));
        path.submit(Request::write((n * PART) as u64, PART as u64), data);
    }
    path.shut_down().expect("a logout");
    let mut path = open(runtime, served, config(served));
    for n in 0..100 {
        let read = path.read((n * PART) as u64, PART).expect("a read");
        assert!(read == pattern(PART, n), "{n}");
    }
}

/// Nothing hangs, and the next one finds the target in order.
pub(super) fn dropped(runtime: &dyn Runtime, served: &Served) {
    for round in 0..5 {
        let mut path = open(runtime, served, config(served));
        for n in 0..50 {
            let space = Payload::In(vec![0; PART]);
            let number = path.submit(Request::read((n * PART) as u64, PART as u64), space);
            if n % 2 == 0 {
                path.abandon(number);
            }
        }
        if round % 2 == 0 {
            let (_, result) = path.next();
            match result {
                Ok(payload) => assert_eq!(payload.into_bytes().len(), PART),
                Err(failed) => assert!(matches!(failed.error, Error::ShutDown), "{failed}"),
            }
        }
        drop(path);
    }
    open(runtime, served, config(served)).read(0, 512).expect("a read");
}
