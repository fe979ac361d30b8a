//! Over the blocking runtime: a thread for each session.

use core::time::Duration;
use std::thread;
use std::time::Instant;

use iscsi_core::url::IscsiUrl;
use iscsi_runtime_std::{Client, Error};

use crate::connect::{Setup, explain};
use crate::output::Outcome;
use crate::perf::memory::{Memory, Pool};
use crate::perf::stats::{LiveLane, Recorder};
use crate::perf::workload::{Io, Job, Lane, Next};
use crate::signals::LOOK;

/// How long a session whose commands are answered is waited for without a look whether the run is to end. A wait that may end within a second
/// costs a lone command a system call more.
const WAIT: Duration = Duration::from_millis(1500);

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
        if job.gives_up(client.state()) {
            // Dropped, it ends without waiting.
            continue;
        }
        // Everything has been said by then.
        let _ = client.logout();
    }
    Ok(recorders)
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
    let (mut now, mut wait) = (Instant::now(), WAIT);
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
            let memory = Memory::of(&io, job, &pool);
            let task = queue.submit(&io.command(job, &cdb), memory)?;
            if let Some(place) = ios.get_mut(task.index()) {
                *place = Some(io);
            }
        }
        if until.is_none() && queue.is_empty() {
            break;
        }
        let time = until.map_or(wait, |until| until.saturating_duration_since(now).min(wait));
        let completion = queue.wait_timeout(time)?;
        now = Instant::now();
        let Some(completion) = completion else {
            if job.gives_up(queue.session().state()) {
                break;
            }
            // There may be no answer for long.
            wait = LOOK;
            continue;
        };
        wait = WAIT;
        let io = ios.get_mut(completion.task.index()).and_then(Option::take);
        if let Some(io) = io {
            lane.finished(io, now, completion.result, completion.data.data());
        }
    }
    Ok(Some(lane.recorder))
}
