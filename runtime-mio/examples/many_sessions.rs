//! Many sessions in one thread: `many_sessions URL SESSIONS UNDER-WAY SECONDS`.
//!
//! Each session writes a pattern of its own and reads it back. Then reads of 4 KiB go round all sessions, so many under way together,
//! and what they cost is told: processor time of this thread for each, and resident memory for each session.

use core::time::Duration;
use std::fs;
use std::time::Instant;

use iscsi_core::IscsiName;
use iscsi_core::url::IscsiUrl;
use iscsi_runtime_mio::mio::{Events, Poll, Token};
use iscsi_runtime_mio::{DiskId, Event, Options, Sessions};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::time::{ClockId, clock_gettime};

const BLOCK: usize = 4096;

type Failure = Box<dyn core::error::Error>;

/// The loop, and what it waits for.
struct Loop {
    poll: Poll,
    ready: Events,
    sessions: Sessions<usize>,
}

impl Loop {
    fn next(&mut self) -> Result<Event<usize>, Failure> {
        loop {
            if let Some(event) = self.sessions.poll_event() {
                return Ok(event);
            }
            self.sessions.turn();
            self.poll.poll(&mut self.ready, self.sessions.timeout())?;
            for event in &self.ready {
                self.sessions.handle(event);
            }
        }
    }
}

fn main() -> Result<(), Failure> {
    let args: Vec<String> = std::env::args().collect();
    let [_, url, count, under_way, seconds] = &args[..] else {
        return Err("usage: many_sessions URL SESSIONS UNDER-WAY SECONDS".into());
    };
    let url: IscsiUrl = url.parse()?;
    let (count, under_way): (usize, usize) = (count.parse()?, under_way.parse()?);
    let time = Duration::from_secs(seconds.parse()?);
    raise_limit()?;
    let poll = Poll::new()?;
    let sessions = Sessions::new(poll.registry())?;
    let mut l = Loop { poll, ready: Events::with_capacity(1024), sessions };

    let before = resident()?;
    let start = Instant::now();
    let disks = connect(&mut l, &url, count)?;
    let connected = start.elapsed();
    verify(&mut l, &disks)?;
    let memory = resident()?.saturating_sub(before);
    println!("{count} sessions in {:.2} s, each verified", connected.as_secs_f64());
    println!("{:.1} KiB of resident memory each", memory as f64 / count as f64);

    let (reads, cpu) = read(&mut l, &disks, under_way, time)?;
    println!(
        "{:.0} reads/s, {under_way} under way; {:.2} µs of processor time each",
        reads as f64 / time.as_secs_f64(),
        cpu.as_secs_f64() * 1e6 / reads as f64
    );
    Ok(())
}

fn connect(l: &mut Loop, url: &IscsiUrl, count: usize) -> Result<Vec<DiskId>, Failure> {
    let name = IscsiName::new("iqn.2001-04.com.example:many")?;
    let options = Options::default();
    let mut disks = vec![None; count];
    for n in 0..count {
        l.sessions.connect_disk(Token(n), url, name.clone(), &options, n)?;
    }
    while disks.contains(&None) {
        match l.next()? {
            Event::Connected { result, .. } => result?,
            Event::Opened { tag, result, .. } => disks[tag] = Some(result?.disk),
            event => return Err(format!("{event:?}").into()),
        }
    }
    Ok(disks.into_iter().flatten().collect())
}

fn verify(l: &mut Loop, disks: &[DiskId]) -> Result<(), Failure> {
    let pattern = |n: usize| (0..BLOCK).map(|at| (at * 7 + at / 251 + n * 13) as u8).collect();
    for (n, disk) in disks.iter().enumerate() {
        l.sessions.write_at(*disk, (n * BLOCK) as u64, pattern(n), n);
    }
    for _ in disks {
        let Event::Done { tag, result, .. } = l.next()? else { return Err("no write".into()) };
        let memory = result?.into_bytes();
        l.sessions.read_at(disks[tag], (tag * BLOCK) as u64, vec![0; memory.len()], tag);
    }
    for _ in disks {
        let Event::Done { tag, result, .. } = l.next()? else { return Err("no read".into()) };
        if result?.into_bytes() != pattern(tag) {
            return Err(format!("session {tag} reads what another one wrote").into());
        }
    }
    Ok(())
}

/// How many reads there were, and what they cost.
fn read(
    l: &mut Loop,
    disks: &[DiskId],
    under_way: usize,
    time: Duration,
) -> Result<(u64, Duration), Failure> {
    let mut turn = (0..disks.len()).cycle();
    let mut next = || turn.next().unwrap_or_default();
    for _ in 0..under_way {
        let n = next();
        l.sessions.read_at(disks[n], (n * BLOCK) as u64, vec![0; BLOCK], n);
    }
    let (start, cpu) = (Instant::now(), thread_time());
    let (mut reads, mut left) = (0, under_way);
    while left > 0 {
        let Event::Done { result, .. } = l.next()? else { return Err("no read".into()) };
        let memory = result?.into_bytes();
        reads += 1;
        if start.elapsed() < time {
            let n = next();
            l.sessions.read_at(disks[n], (n * BLOCK) as u64, memory, n);
        } else {
            left -= 1;
        }
    }
    Ok((reads, thread_time() - cpu))
}

fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// In KiB.
fn resident() -> Result<u64, Failure> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
    Ok(line.trim().trim_end_matches("kB").trim().parse()?)
}

/// A socket for each session.
fn raise_limit() -> Result<(), Failure> {
    let limit = getrlimit(Resource::Nofile);
    Ok(setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit })?)
}
