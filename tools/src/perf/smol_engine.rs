//! Over futures: a task for each I/O that may be under way, and one thread for all of them.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Instant;

use iscsi_core::url::IscsiUrl;
use iscsi_runtime_smol::{Consumer, Handle, Memory, Pool};
use smol::{LocalExecutor, Timer, future};

use crate::connect::{Setup, explain};
use crate::output::Outcome;
use crate::perf::stats::Recorder;
use crate::perf::workload::{Job, Lane, Next};
use crate::signals::LOOK;

/// Carries a job out. `started` is called when the sessions are there, `ended` after the last I/O.
pub(crate) fn run(
    job: &Job,
    setup: &Setup,
    url: &IscsiUrl,
    started: &dyn Fn(),
    ended: &dyn Fn(),
) -> Outcome<Vec<Recorder>> {
    // The drivers and the tasks; it outlives what runs on it.
    let executor = LocalExecutor::new();
    smol::block_on(executor.run(async {
        let mut handles = Vec::new();
        for _ in &job.live {
            let (config, portal) = (setup.session_config(url)?, url.portal.clone());
            let spawn = |driver| executor.spawn(driver).detach();
            let handle = Handle::connect_with(config, portal, setup.options(), spawn).await;
            handles.push(handle.map_err(|error| explain(&error).about(url))?);
        }
        job.begin();
        started();
        let lanes = (0..)
            .zip(&job.live)
            .map(|(session, live)| Rc::new(RefCell::new(Lane::new(job, live, session))));
        let lanes: Vec<_> = lanes.collect();
        let mut tasks = Vec::new();
        for (lane, handle) in lanes.iter().zip(&handles) {
            let pool = Pool::new(job.workload.bytes());
            for _ in 0..job.workload.depth {
                let io = serve(job, lane.clone(), handle.clone(), pool.clone());
                tasks.push((handle, executor.spawn(io)));
            }
        }
        for (handle, mut task) in tasks {
            if !unless_given_up(job, handle, &mut task).await {
                // Its part of the lane goes with it.
                task.cancel().await;
            }
        }
        ended();
        for handle in &handles {
            // Everything has been said by then.
            let shut_down = async { drop(handle.shut_down().await) };
            unless_given_up(job, handle, shut_down).await;
        }
        let lanes = lanes.into_iter().filter_map(Rc::into_inner);
        Ok(lanes.map(|lane| lane.into_inner().recorder).collect())
    }))
}

/// Waits for this, unless the run is to end and the session's part of it is given up. False if it is.
async fn unless_given_up(job: &Job, handle: &Handle, what: impl Future<Output = ()>) -> bool {
    let given_up = async {
        loop {
            // A session that has ended says nothing.
            if job.ending.is_wanted()
                && handle.status().await.map_or(true, |status| job.gives_up(status.state))
            {
                return false;
            }
            Timer::after(LOOK).await;
        }
    };
    let done = async {
        what.await;
        true
    };
    future::or(done, given_up).await
}

/// One I/O after the other.
async fn serve(job: &Job, lane: Rc<RefCell<Lane<'_>>>, handle: Handle, pool: Pool) {
    loop {
        let next = lane.borrow_mut().next(Instant::now());
        let io = match next {
            Next::Issue(io) => io,
            Next::Wait(until) => {
                Timer::at(until).await;
                continue;
            }
            // What follows from the I/Os of others is theirs.
            Next::Done => return,
        };
        let cdb = io.cdb();
        let lent = if io.is_write() {
            let content = job.content(&io);
            content.piece().map_or_else(|| Memory::from(content.parts()), Memory::Out)
        } else if job.workload.places {
            Memory::Pooled(pool.memory())
        } else {
            // A function without state takes no memory.
            Memory::Consumer(Consumer::new(job.workload.bytes(), |_, _| {}))
        };
        let (result, lent) = match handle.execute(&io.command(job, &cdb), lent).await {
            Ok((completed, lent)) => (Ok(completed), lent),
            Err(failed) => (Err(failed.error), failed.payload),
        };
        let data = match &lent {
            Memory::Pooled(read) => read.data(),
            _ => &[],
        };
        lane.borrow_mut().finished(io, Instant::now(), result, data);
    }
}
