//! Two sessions in one thread, with poll(2): each reads the first MiB of its disk at depth 8 and prints a checksum.
//!
//! `cargo run -p iscsi-loops --bin two_connections [-- iscsi://host/target/lun [iscsi://other/target/lun]]`
//!
//! One URL is opened twice: two paths to one disk. Without any there are two targets in this process.

use std::net::TcpStream;

use iscsi_core::driver::{NonBlocking, RecvBuf};
use iscsi_core::{Action, InlineInitiator, Wants};
use iscsi_loops::{Application, Clock, DEPTH, Failure, Peer, connect, entropy};
use rustix::event::{PollFd, PollFlags, poll};

/// PDUs that one session may receive before the other has its turn.
const BUDGET: usize = 16;

/// A session and everything that belongs to it.
struct Path {
    peer: Peer,
    initiator: Box<InlineInitiator<DEPTH>>,
    application: Application,
    scratch: Box<RecvBuf>,
    stream: Option<NonBlocking<TcpStream>>,
    wants: Wants,
}

impl Path {
    fn open(peer: Peer, clock: &Clock) -> Result<Self, Failure> {
        let mut initiator = Box::new(InlineInitiator::<DEPTH>::new());
        initiator.session.configure(peer.config()?)?;
        initiator.session.open(peer.url.portal.clone(), clock.now())?;
        let application = Application::new(peer.url.lun);
        let (scratch, wants) = (RecvBuf::boxed(), initiator.wants());
        Ok(Self { peer, initiator, application, scratch, stream: None, wants })
    }

    /// Does what can be done without waiting. False if more can be done at once.
    fn turn(&mut self, clock: &Clock) -> Result<bool, Failure> {
        let Self { initiator, application, .. } = self;
        while let Some(action) = initiator.session.poll_action() {
            (self.stream, self.wants) = (None, Wants::default());
            self.scratch.clear();
            if action == Action::Connect {
                // Resolving and connecting block: a loop with better things to do does that elsewhere.
                match connect(initiator.session.portal().unwrap_or(&self.peer.url.portal)) {
                    Ok(tcp) => {
                        tcp.set_nonblocking(true)?;
                        self.stream = Some(NonBlocking(tcp));
                        initiator.opened(entropy()?, clock.now());
                    }
                    Err(_) => initiator.session.connect_failed(clock.now()),
                }
            }
        }
        application.submit(&mut initiator.session, clock.now())?;
        self.wants = match &mut self.stream {
            Some(tcp) => initiator
                .pump(application, &mut self.scratch, tcp, clock.now(), BUDGET)
                .unwrap_or_default(),
            None => {
                initiator.handle_timeout(clock.now());
                initiator.wants()
            }
        };
        let told = application.take_events(&mut initiator.session)?;
        Ok(!told && !self.wants.again)
    }

    /// What to wait for.
    fn poll_fd(&self) -> Option<PollFd<'_>> {
        let mut flags = PollFlags::empty();
        flags.set(PollFlags::IN, self.wants.read);
        flags.set(PollFlags::OUT, self.wants.write);
        self.stream.as_ref().map(|tcp| PollFd::new(&tcp.0, flags))
    }
}

fn main() -> Result<(), Failure> {
    let clock = Clock::start();
    let urls: Vec<String> = std::env::args().skip(1).collect();
    let url = |n: usize| urls.get(n).or_else(|| urls.first()).map(String::as_str);
    let mut paths = Vec::new();
    for n in 0..2 {
        paths.push(Path::open(Peer::new(url(n))?, &clock)?);
    }
    while !paths.is_empty() {
        let mut idle = true;
        for path in &mut paths {
            idle &= path.turn(&clock)?;
        }
        let before = paths.len();
        paths.retain(|path| {
            let done = path.application.is_done();
            if done {
                println!("{}: {}", path.peer.url, path.application.report());
            }
            !done
        });
        if idle && paths.len() == before {
            // One call waits for both: the sockets, and the deadline that comes first.
            let deadline = paths.iter().filter_map(|path| path.wants.deadline).min();
            let wait = deadline.map(|at| at.saturating_since(clock.now()).try_into());
            let mut fds: Vec<PollFd<'_>> = paths.iter().filter_map(Path::poll_fd).collect();
            poll(&mut fds, wait.transpose()?.as_ref())?;
        }
    }
    Ok(())
}
