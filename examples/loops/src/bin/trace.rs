//! A packet trace: logs in, reads the first MiB of a disk, logs out, and prints a line for each PDU.
//!
//! `cargo run -p iscsi-loops --bin trace [-- [iscsi://host/target/lun] [out.pcap]]`
//!
//! The trace hook sees headers, never payload or secrets. The capture has everything, for Wireshark: whoever gets it gets the data.

use std::io;
use std::net::TcpStream;

use iscsi_core::driver::{NonBlocking, RecvBuf, Transport};
use iscsi_core::testing::Recorder;
use iscsi_core::wire::{Bhs, Pretty};
use iscsi_core::{Action, Direction, InlineInitiator, Instant};
use iscsi_loops::{Application, Clock, DEPTH, Failure, Peer, connect, entropy};
use rustix::event::{PollFd, PollFlags, poll};

/// The hook: a plain function, called with the header of every PDU.
fn print(direction: Direction, bhs: &Bhs) {
    let arrow = if direction == Direction::Sent { "->" } else { "<-" };
    println!("{arrow} {}", Pretty::new(bhs));
}

/// A stream that records what passes. Any [`Transport`] can be wrapped like this.
struct Recorded<'a> {
    stream: NonBlocking<TcpStream>,
    recorder: &'a mut Recorder,
    now: Instant,
}

impl Transport for Recorded<'_> {
    type Error = io::Error;

    fn send(&mut self, runs: &[&[u8]]) -> io::Result<Option<usize>> {
        let sent = self.stream.send(runs)?;
        let mut left = sent.unwrap_or(0);
        for run in runs {
            let run = &run[..run.len().min(left)];
            self.recorder.bytes(Direction::Sent, run, self.now);
            left -= run.len();
        }
        Ok(sent)
    }

    fn recv(&mut self, [first, second]: [&mut [u8]; 2]) -> io::Result<Option<usize>> {
        let received = self.stream.recv([&mut *first, &mut *second])?;
        let n = received.unwrap_or(0);
        let (in_first, in_second) = (n.min(first.len()), n.saturating_sub(first.len()));
        self.recorder.bytes(Direction::Received, &first[..in_first], self.now);
        self.recorder.bytes(Direction::Received, &second[..in_second], self.now);
        Ok(received)
    }
}

fn run(peer: &Peer, recorder: &mut Recorder) -> Result<(), Failure> {
    let clock = Clock::start();
    let mut initiator = Box::new(InlineInitiator::<DEPTH>::new());
    let mut application = Application::new(peer.url.lun);
    let mut scratch = RecvBuf::boxed();
    initiator.connection.set_trace(Some(print));
    initiator.session.configure(peer.config()?)?;
    initiator.session.open(peer.url.portal.clone(), clock.now())?;
    // The first connection is made here; a target that redirects it or drops it ends the trace.
    if initiator.session.poll_action() != Some(Action::Connect) {
        return Err("nothing to connect to".into());
    }
    let tcp = connect(&peer.url.portal)?;
    tcp.set_nonblocking(true)?;
    recorder.connected(clock.now());
    let mut transport = Recorded { stream: NonBlocking(tcp), recorder, now: clock.now() };
    initiator.opened(entropy()?, clock.now());
    loop {
        application.submit(&mut initiator.session, clock.now())?;
        transport.now = clock.now();
        let wants = initiator
            .pump(&mut application, &mut scratch, &mut transport, clock.now(), 16)
            .unwrap_or_default();
        let told = application.take_events(&mut initiator.session)?;
        if application.is_done() {
            println!("{}: {}", peer.url, application.report());
            return Ok(());
        }
        if initiator.session.poll_action().is_some() {
            return Err("the connection has ended".into());
        }
        if !told && !wants.again {
            let out = if wants.write { PollFlags::OUT } else { PollFlags::empty() };
            let wait = wants.deadline.map(|at| at.saturating_since(clock.now()).try_into());
            let mut fds = [PollFd::new(&transport.stream.0, PollFlags::IN | out)];
            poll(&mut fds, wait.transpose()?.as_ref())?;
        }
    }
}

fn main() -> Result<(), Failure> {
    let (urls, files): (Vec<_>, Vec<_>) =
        std::env::args().skip(1).partition(|argument| argument.starts_with("iscsi://"));
    let mut recorder = Recorder::new();
    let result = Peer::new(urls.first().map(String::as_str)).and_then(|p| run(&p, &mut recorder));
    if let Some(file) = files.first() {
        std::fs::write(file, recorder.pcap())?;
        println!("{file}: a capture");
    }
    result
}
