//! Reading and writing.

use std::collections::BTreeMap;

use iscsi_core::wire::ScsiStatus;
use iscsi_core::{Command, Transfer};
use iscsi_disk::{Request, RequestError};
use iscsi_runtime::{Error, Options, Payload};

use super::{Numbers, SECOND, config, open, pattern};
use crate::{BYTES, Runtime, Served};

pub(super) fn odd_offsets(runtime: &dyn Runtime, served: &Served) {
    let mut path = open(runtime, served, config(served));
    let mut model = vec![0; BYTES as usize];
    let mut numbers = Numbers(5);
    for round in 0..24 {
        let len = match round % 4 {
            0 => 1 + numbers.below(600),
            1 => 1 + numbers.below(70_000),
            _ => 1 + numbers.below(700_000),
        };
        let offset = numbers.below(BYTES - len);
        let data = pattern(len as usize, round);
        path.write(offset, &data).expect("a write");
        model[offset as usize..][..data.len()].copy_from_slice(&data);
        let len = 1 + numbers.below(900_000);
        let offset = numbers.below(BYTES - len);
        let read = path.read(offset, len as usize).expect("a read");
        assert!(read == model[offset as usize..][..len as usize], "round {round}");
    }
    assert!(path.read(0, 5 << 20).expect("a read") == model[..5 << 20]);
    path.shut_down().expect("a logout");
}

pub(super) fn queue(runtime: &dyn Runtime, served: &Served) {
    const PART: usize = 4096;
    for depth in [32, 8] {
        let mut options = Options::default();
        options.depth = depth;
        let config = config(served).build().expect("a configuration");
        let portal = served.address.into();
        let mut path = runtime.open(config, portal, served.lun, &options).expect("a login");
        for reads in [false, true] {
            let mut begun = BTreeMap::new();
            for n in 0..300 {
                let offset = (n * PART) as u64;
                let (request, payload) = match reads {
                    true => (Request::read(offset, PART as u64), Payload::In(vec![0; PART])),
                    false => {
                        let data = pattern(PART, n + depth);
                        (Request::write(offset, PART as u64), Payload::Out(data))
                    }
                };
                begun.insert(path.submit(request, payload), n);
            }
            for _ in 0..300 {
                let (number, result) = path.next();
                let n = begun.remove(&number).expect("one end each");
                let memory = result.expect("good").into_bytes();
                assert!(memory == pattern(PART, n + depth), "{n}");
            }
        }
        assert_eq!(path.standing().in_use, 0);
    }
}

pub(super) fn range_errors(runtime: &dyn Runtime, served: &Served) {
    let mut path = open(runtime, served, config(served));
    for (offset, len) in [(BYTES, 1), (BYTES - 1, 2), (u64::MAX, 2)] {
        let failed = path.read(offset, len).expect_err("there is nothing");
        let out_of_range = matches!(failed.error, Error::Request(RequestError::OutOfRange { .. }));
        assert!(out_of_range, "{failed}");
        assert_eq!(failed.payload.into_bytes(), vec![0xee; len]);
    }
    path.write(BYTES - 1, &[7]).expect("the last byte");
    assert_eq!(path.read(BYTES - 1, 1).expect("the last byte"), [7]);
    assert!(path.read(BYTES, 0).expect("nothing").is_empty());
}

pub(super) fn short_memory(runtime: &dyn Runtime, served: &Served) {
    let mut path = open(runtime, served, config(served));
    let failed = path
        .request(Request::write(0, 513), Payload::Out(vec![5; 512]))
        .expect_err("a byte is missing");
    assert!(matches!(failed.error, Error::Memory { needed: 513, given: 512 }), "{failed}");
    assert_eq!(failed.payload.into_bytes(), [5; 512]);
    let wrong_way = path.request(Request::read(0, 512), Payload::Out(vec![5; 512]));
    assert!(wrong_way.is_err());
    assert_eq!(path.read(0, 512).expect("a read"), [0; 512], "nothing was written");
}

pub(super) fn commands(runtime: &dyn Runtime, served: &Served) {
    let mut path = open(runtime, served, config(served));
    let inquiry = Command::new(served.lun, &[0x12, 0, 0, 0, 96, 0], Transfer::In(96));
    let (completed, payload) = path.execute(&inquiry, Payload::In(vec![0; 96])).expect("an answer");
    assert!(completed.data_in() >= 36);
    assert!(completed.good().is_ok_and(|outcome| outcome.data_in >= 36));
    assert_eq!(payload.into_bytes()[0] & 0x1f, 0, "a disk");
    let unknown = Command::new(served.lun, &[0xf5, 0, 0, 0, 0, 0], Transfer::None);
    let (completed, _) = path.execute(&unknown, Payload::None).expect("an answer");
    let error = completed.good().expect_err("no such command");
    assert_eq!(error.status(), Some(ScsiStatus::CheckCondition));
    assert!(error.to_string().contains("ILLEGAL_REQUEST"), "{error}");
}

pub(super) fn flush_and_ping(runtime: &dyn Runtime, served: &Served) {
    let mut path = open(runtime, served, config(served));
    path.write(100, &[1; 100]).expect("a write");
    path.request(Request::flush(), Payload::None).expect("a flush");
    assert!(path.ping().expect("an answer") < 10 * SECOND);
}
