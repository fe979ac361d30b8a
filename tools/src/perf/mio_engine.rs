//! Over the event loop: all sessions in one thread.

use std::io;
use std::time::{Duration, Instant};

use iscsi_core::url::IscsiUrl;
use iscsi_runtime_mio::mio::{Events, Poll, Token};
use iscsi_runtime_mio::{Error, Event, SessionId, Sessions};

use crate::connect::{Setup, explain};
use crate::output::{Outcome, Stop};
use crate::perf::memory::{Memory, Pool};
use crate::perf::stats::Recorder;
use crate::perf::workload::{Io, Job, Lane, Next};
use crate::signals::LOOK;

/// What an event belongs to: the session's number, and the I/O if it is one.
type Tag = (usize, Option<Io>);

/// Carries a job out. `started` is called when the sessions are there, `ended` after the last I/O.
pub(crate) fn run(
    job: &Job,
    setup: &Setup,
    url: &IscsiUrl,
    started: &dyn Fn(),
    ended: &dyn Fn(),
) -> Outcome<Vec<Recorder>> {
    let mut poll = Poll::new().map_err(failed)?;
    let mut readiness = Events::with_capacity(256);
    // The sessions hold memory of the pools, and so end before them.
    let pools: Vec<Pool> = job.live.iter().map(|_| Pool::default()).collect();
    let mut sessions = Sessions::with_memory(poll.registry()).map_err(failed)?;
    let names = connect(&mut sessions, &mut poll, &mut readiness, job, setup, url)?;
    job.begin();
    started();
    let lanes = (0..).zip(&job.live).map(|(session, live)| Lane::new(job, live, session));
    let mut lanes: Vec<_> = lanes.collect();
    let mut under_way = vec![0; lanes.len()];
    let mut turns = 0;
    loop {
        let now = Instant::now();
        let mut until = None;
        let places = names.iter().zip(&pools).zip(&mut under_way);
        for (n, (lane, ((&session, pool), under_way))) in lanes.iter_mut().zip(places).enumerate() {
            while *under_way < job.workload.depth {
                let io = match lane.next(now) {
                    Next::Issue(io) => io,
                    Next::Wait(time) => {
                        until = [until, Some(time)].into_iter().flatten().min();
                        break;
                    }
                    Next::Done => break,
                };
                let memory = Memory::of(&io, job, pool);
                let cdb = io.cdb();
                sessions.execute(session, &io.command(job, &cdb), memory, (n, Some(io)));
                *under_way += 1;
            }
        }
        if until.is_none() && under_way.iter().all(|under_way| *under_way == 0) {
            break;
        }
        // A signal wakes nobody.
        let look = now + LOOK;
        let until = until.map_or(look, |until| until.min(look));
        turn(&mut sessions, &mut poll, &mut readiness, Some(until), &mut turns)?;
        let now = Instant::now();
        while let Some(event) = sessions.poll_event() {
            let Event::Executed { tag: (n, Some(io)), result, .. } = event else { continue };
            let (result, memory) = match result {
                Ok((completed, memory)) => (Ok(completed), memory),
                Err(failed) => (Err(failed.error), failed.payload),
            };
            if let (Some(lane), Some(under_way)) = (lanes.get_mut(n), under_way.get_mut(n)) {
                lane.finished(io, now, result, memory.data());
                *under_way -= 1;
            }
        }
        let mut waited_for = names.iter().zip(&under_way).filter(|(_, under_way)| **under_way > 0);
        if job.ending.is_wanted()
            && waited_for.all(|(&session, _)| gives_up(job, &sessions, session))
        {
            break;
        }
    }
    ended();
    for &session in &names {
        if gives_up(job, &sessions, session) {
            sessions.remove(session);
        }
    }
    close(&mut sessions, &mut poll, &mut readiness, &names)?;
    Ok(lanes.into_iter().map(|lane| lane.recorder).collect())
}

fn gives_up(job: &Job, sessions: &Sessions<Tag, Memory<'_>>, session: SessionId) -> bool {
    sessions.session(session).is_none_or(|session| job.gives_up(session.state()))
}

/// Connects every session, and waits until all are logged in.
fn connect(
    sessions: &mut Sessions<Tag, Memory<'_>>,
    poll: &mut Poll,
    readiness: &mut Events,
    job: &Job,
    setup: &Setup,
    url: &IscsiUrl,
) -> Outcome<Vec<SessionId>> {
    let about = |error: Error| explain(&error).about(url);
    let mut names = Vec::new();
    for n in 0..job.live.len() {
        let config = setup.session_config(url)?;
        let (portal, options) = (url.portal.clone(), setup.options());
        let session = sessions.connect(Token(n), config, portal, options, (n, None));
        names.push(session.map_err(about)?);
    }
    let (mut waiting, mut turns) = (names.len(), 0);
    while waiting > 0 {
        turn(sessions, poll, readiness, None, &mut turns)?;
        while let Some(event) = sessions.poll_event() {
            if let Event::Connected { result, .. } = event {
                result.map_err(about)?;
                waiting -= 1;
            }
        }
    }
    Ok(names)
}

/// Logs all sessions out. Everything has been said by then.
fn close(
    sessions: &mut Sessions<Tag, Memory<'_>>,
    poll: &mut Poll,
    readiness: &mut Events,
    names: &[SessionId],
) -> Outcome<()> {
    for &session in names {
        sessions.close(session);
    }
    let mut turns = 0;
    while !sessions.is_empty() {
        turn(sessions, poll, readiness, None, &mut turns)?;
        while sessions.poll_event().is_some() {}
    }
    Ok(())
}

/// Turns of sessions that have something to do without a look at the sockets of all.
const TURNS: u32 = 3;

/// One turn; if nothing came of it, waits until something may.
fn turn(
    sessions: &mut Sessions<Tag, Memory<'_>>,
    poll: &mut Poll,
    readiness: &mut Events,
    until: Option<Instant>,
    turns: &mut u32,
) -> Outcome<()> {
    sessions.turn();
    let until = until.map(|until| until.saturating_duration_since(Instant::now()));
    let time = [sessions.timeout(), until].into_iter().flatten().min();
    if time == Some(Duration::ZERO) && *turns < TURNS {
        *turns += 1;
        return Ok(());
    }
    *turns = 0;
    match poll.poll(readiness, time) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::Interrupted => readiness.clear(),
        Err(error) => return Err(failed(error)),
    }
    for event in &*readiness {
        sessions.handle(event);
    }
    Ok(())
}

fn failed(error: io::Error) -> Stop {
    Stop::failed(format!("the event loop: {error}"))
}
