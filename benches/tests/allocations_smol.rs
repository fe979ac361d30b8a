//! What the futures allocate for an I/O.

mod support;

use core::cell::{Cell, RefCell};
use core::future::poll_fn;
use core::task::{Poll, Waker};

use bytes::{Bytes, BytesMut};
use iscsi_runtime_smol::{Handle, Memory, Options};
use smol::LocalExecutor;
use support::{DEPTH, IOS, LEN, TEST_UNIT_READY, cdb, command, config, portal, target};

/// How many I/Os are done, and who waits for how many.
#[derive(Default)]
struct Progress {
    done: Cell<usize>,
    wanted: Cell<usize>,
    waiting: RefCell<Option<Waker>>,
}

impl Progress {
    fn one_more(&self) {
        self.done.set(self.done.get() + 1);
        if self.done.get() == self.wanted.get() {
            self.waiting.take().expect("somebody waits").wake();
        }
    }

    async fn more(&self, ios: usize) {
        self.wanted.set(self.done.get() + ios);
        poll_fn(|context| {
            if self.done.get() >= self.wanted.get() {
                return Poll::Ready(());
            }
            self.waiting.replace(Some(context.waker().clone()));
            Poll::Pending
        })
        .await;
    }
}

/// One I/O after the other, with the same memory.
async fn serve(handle: Handle, progress: &Progress, mut memory: Memory) {
    loop {
        let cdb = cdb(matches!(memory, Memory::Out(_)));
        let (completed, back) = handle.execute(&command(&cdb), memory).await.unwrap();
        assert!(completed.good().is_ok());
        memory = back;
        progress.one_more();
    }
}

/// Two at most: the place for its answer, which the future and the driver share, and a list of tasks to wake, which `async-io` makes each time that
/// it waits. Many I/Os that end together share that one.
#[test]
fn a_handle_allocates_little_for_an_io() {
    let target = target();
    let progress = Progress::default();
    let executor = LocalExecutor::new();
    let connect = async {
        let spawn = |driver| executor.spawn(driver).detach();
        let options = Options::default();
        let handle =
            Handle::connect_with(config(), portal(&target), &options, spawn).await.unwrap();
        handle.execute(&TEST_UNIT_READY, Memory::None).await.unwrap();
        handle
    };
    let handle = smol::block_on(executor.run(connect));
    let written = Bytes::from(vec![0x5a; LEN]);
    let tasks: Vec<_> = (0..DEPTH)
        .map(|n| {
            let read = || Memory::In(BytesMut::zeroed(LEN));
            let memory = if n % 2 == 1 { Memory::Out(written.clone()) } else { read() };
            executor.spawn(serve(handle.clone(), &progress, memory))
        })
        .collect();
    smol::block_on(executor.run(progress.more(IOS)));
    let allocated = allocation_counter::measure(|| {
        smol::block_on(executor.run(progress.more(IOS)));
    });
    // And a few for the executor.
    assert!(allocated.count_total <= 2 * IOS as u64 + 100, "{allocated:?} for {IOS} I/Os");
    assert!(allocated.bytes_total <= 300 * IOS as u64, "{allocated:?} for {IOS} I/Os");
    drop(tasks);
}
