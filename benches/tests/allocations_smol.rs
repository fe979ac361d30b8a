//! The futures allocate nothing for an I/O; what they run on does.

mod support;

use core::cell::{Cell, RefCell};
use core::future::poll_fn;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};

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

/// Memory for so many I/Os at once, half of them writes.
fn memory() -> impl Iterator<Item = Memory> {
    let written = Bytes::from(vec![0x5a; LEN]);
    (0..DEPTH).map(move |n| match n % 2 {
        0 => Memory::In(BytesMut::zeroed(LEN)),
        _ => Memory::Out(written.clone()),
    })
}

type Task<'a> = Pin<Box<dyn Future<Output = ()> + 'a>>;

/// Polls all tasks whenever one of them is woken, until `done`. That needs no memory; and `async-io` waits in a thread of its own.
fn run(tasks: &mut [Task<'_>], mut done: impl FnMut() -> bool) {
    smol::future::block_on(poll_fn(|context: &mut Context<'_>| {
        for task in &mut *tasks {
            assert!(task.as_mut().poll(context).is_pending(), "a task has ended");
        }
        if done() { Poll::Ready(()) } else { Poll::Pending }
    }));
}

#[test]
fn a_handle_and_its_driver_allocate_nothing_for_an_io() {
    let target = target();
    let progress = Progress::default();
    let (handle, driver) = Handle::new(config(), portal(&target), &Options::default()).unwrap();
    let ready = Cell::new(false);
    let connect = async {
        handle.reconnect().await.unwrap();
        handle.execute(&TEST_UNIT_READY, Memory::None).await.unwrap();
        ready.set(true);
        core::future::pending::<()>().await;
    };
    let mut tasks: Vec<Task<'_>> = vec![Box::pin(driver), Box::pin(connect)];
    run(&mut tasks, || ready.get());
    tasks.truncate(1);
    for memory in memory() {
        tasks.push(Box::pin(serve(handle.clone(), &progress, memory)));
    }
    run(&mut tasks, || progress.done.get() >= IOS);
    let allocated = allocation_counter::measure(|| {
        run(&mut tasks, || progress.done.get() >= 2 * IOS);
    });
    assert_eq!(allocated.count_total, 0, "{allocated:?} for {IOS} I/Os");
}

/// One at most: a list of tasks to wake, which `async-io` makes each time that it waits. Many I/Os that end together share one.
#[test]
fn an_executor_allocates_little_for_an_io() {
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
    let tasks: Vec<_> =
        memory().map(|memory| executor.spawn(serve(handle.clone(), &progress, memory))).collect();
    smol::block_on(executor.run(progress.more(IOS)));
    let allocated = allocation_counter::measure(|| {
        smol::block_on(executor.run(progress.more(IOS)));
    });
    // And a few for the executor.
    assert!(allocated.count_total <= IOS as u64 + 100, "{allocated:?} for {IOS} I/Os");
    assert!(allocated.bytes_total <= 100 * IOS as u64, "{allocated:?} for {IOS} I/Os");
    drop(tasks);
}
