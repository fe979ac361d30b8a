//! Over the blocking runtime: a thread for each session, and memory that reads take when their data arrive.

use std::cell::RefCell;
use std::thread;
use std::time::Instant;

use iscsi_core::url::IscsiUrl;
use iscsi_runtime_std::{Client, Error, Lend};

use crate::connect::{Setup, explain};
use crate::output::Outcome;
use crate::perf::stats::{LiveLane, Recorder};
use crate::perf::workload::{Io, Job, Lane, Next};

/// Carries a job out. `started` is called when the sessions are there, `ended` after the last I/O.
pub(crate) fn run(
    job: &Job,
    setup: &Setup,
    url: &IscsiUrl,
    started: &dyn Fn(),
    ended: &dyn Fn(),
) -> Outcome<Vec<Recorder>> {
    let mut clients = Vec::new();
    for _ in &job.live {
        clients.push(setup.open_client(url)?);
    }
    job.begin();
    started();
    let recorders = thread::scope(|scope| {
        let sessions: Vec<_> = clients.iter_mut().zip(&job.live).enumerate().collect();
        let threads: Vec<_> = sessions
            .into_iter()
            .map(|(session, (client, live))| {
                scope.spawn(move || {
                    serve(job, client, live, session).unwrap_or_else(|error| {
                        job.fail(explain(&error));
                        None
                    })
                })
            })
            .collect();
        // A thread that panicked has said so.
        threads.into_iter().filter_map(|thread| thread.join().ok().flatten()).collect()
    });
    ended();
    for client in clients {
        // Everything has been said by then.
        let _ = client.logout();
    }
    Ok(recorders)
}

/// Buffers of one session that no read has at the moment.
type Pool = RefCell<Vec<Vec<u8>>>;

/// The memory of one I/O. A read takes a buffer when its data arrive, as libiscsi does: few are in use at once, and stay in the processor's
/// cache.
#[derive(Debug)]
struct Memory<'a> {
    pool: &'a Pool,
    buffer: Option<Vec<u8>>,
    len: usize,
    out: &'a [u8],
}

impl Lend for Memory<'_> {
    fn space(&mut self, at: usize, max: u32) -> &mut [u8] {
        let (pool, len) = (self.pool, self.len);
        let take = || pool.borrow_mut().pop().unwrap_or_else(|| vec![0; len]);
        let buffer = self.buffer.get_or_insert_with(take);
        buffer.get_mut(at..at + max as usize).unwrap_or_default()
    }

    fn bytes(&self, at: usize, max: u32) -> &[u8] {
        self.out.get(at..at + max as usize).unwrap_or_default()
    }

    fn room(&self) -> [u64; 2] {
        [self.len as u64, self.out.len() as u64]
    }
}

impl Drop for Memory<'_> {
    fn drop(&mut self) {
        self.pool.borrow_mut().extend(self.buffer.take());
    }
}

/// One session, from its first I/O to its last. Nothing is allocated for an I/O, once there are buffers enough.
fn serve(
    job: &Job,
    client: &mut Client,
    live: &LiveLane,
    session: usize,
) -> Result<Option<Recorder>, Error> {
    let pool = Pool::default();
    let mut lane = Lane::new(job, live, session);
    // What is under way, by the index of its task.
    let mut ios: Vec<Option<Io>> = vec![None; client.session().capacity()];
    let mut queue = client.queue();
    let mut now = Instant::now();
    loop {
        let mut until = None;
        while queue.len() < job.workload.depth {
            let io = match lane.next(now) {
                Next::Issue(io) => io,
                Next::Wait(time) => {
                    until = Some(time);
                    break;
                }
                Next::Done => break,
            };
            let cdb = io.cdb();
            let out = if io.is_write() { job.content(&io) } else { &[] };
            let memory = Memory { pool: &pool, buffer: None, len: job.workload.bytes(), out };
            let task = queue.submit(&io.command(job, &cdb), memory)?;
            if let Some(place) = ios.get_mut(task.index()) {
                *place = Some(io);
            }
        }
        let completion = match until {
            Some(until) => queue.wait_timeout(until.saturating_duration_since(now))?,
            None => queue.wait()?,
        };
        now = Instant::now();
        let Some(completion) = completion else {
            match until {
                Some(_) => continue,
                None => break,
            }
        };
        let io = ios.get_mut(completion.task.index()).and_then(Option::take);
        if let Some(io) = io {
            let data = completion.data.buffer.as_deref().unwrap_or_default();
            lane.finished(io, now, completion.result, data);
        }
    }
    Ok(Some(lane.recorder))
}
