//! The blocking runtime allocates nothing for an I/O.

mod support;

use iscsi_runtime_std::{Client, Data, Handle, Payload, Queue};
use support::{DEPTH, IOS, LEN, TEST_UNIT_READY, cdb, command, config, portal, target};

/// Waits for so many I/Os and begins another one with the memory of each.
fn go_on(queue: &mut Queue<'_, Data<'_>>, ios: usize) {
    for _ in 0..ios {
        let done = queue.wait().unwrap().expect("an I/O is under way");
        assert!(done.result.unwrap().good().is_ok());
        let cdb = cdb(matches!(done.data, Data::Out(_)));
        queue.submit(&command(&cdb), done.data).unwrap();
    }
}

#[test]
fn a_queue_allocates_nothing_for_an_io() {
    let target = target();
    let mut client = Client::connect(config(), portal(&target)).unwrap();
    client.execute(&TEST_UNIT_READY, Data::None).unwrap();
    let written = [0x5a; LEN];
    let mut read = vec![[0; LEN]; DEPTH / 2];
    let mut queue = client.queue();
    for memory in &mut read {
        queue.submit(&command(&cdb(false)), Data::In(memory)).unwrap();
        queue.submit(&command(&cdb(true)), Data::Out(&written)).unwrap();
    }
    go_on(&mut queue, IOS);
    let allocated = allocation_counter::measure(|| go_on(&mut queue, IOS));
    assert_eq!(allocated.count_total, 0, "{allocated:?} for {IOS} I/Os");
}

/// Whoever asks a driver thread: what that allocates is not seen.
#[test]
fn the_callers_of_a_handle_allocate_nothing_for_an_io() {
    let target = target();
    let handle = Handle::new(Client::connect(config(), portal(&target)).unwrap()).unwrap();
    handle.execute(&TEST_UNIT_READY, Payload::None).unwrap();
    let mut memory = Some(vec![0; LEN]);
    let mut go_on = || {
        for _ in 0..IOS / 10 {
            let payload = Payload::In(memory.take().unwrap_or_default());
            let (completed, payload) = handle.execute(&command(&cdb(false)), payload).unwrap();
            assert!(completed.good().is_ok());
            memory = Some(payload.into_bytes());
        }
    };
    go_on();
    let allocated = allocation_counter::measure(go_on);
    // A driver that was held up right after an answer still has its place: another one is made, once.
    assert!(allocated.count_total <= 1, "{allocated:?}");
}

/// That the counter counts.
#[test]
fn an_allocation_is_seen() {
    let allocated = allocation_counter::measure(|| drop(vec![0_u8; LEN]));
    assert_eq!(allocated.count_total, 1);
}
