//! Waiting without a thread: sockets and times of async-io, whose reactor works under any executor.

use core::task::{Context, Poll};
use std::io;
use std::net::TcpStream;
use std::sync::Arc;
use std::time;

use async_io::{Async, Timer};
use atomic_waker::AtomicWaker;
use iscsi_core::Instant;
use iscsi_core::driver::{NonBlocking, Transport};
use iscsi_runtime::{Reactor, Wake, has_peer, set_low_water};

/// Wakes the future that drives a session.
#[derive(Debug, Default)]
pub(crate) struct Nudge(AtomicWaker);

impl Nudge {
    /// From here on a wake-up reaches this task. What there is to do must be looked for after this.
    pub(crate) fn register(&self, context: &Context<'_>) {
        self.0.register(context.waker());
    }
}

impl Wake for Nudge {
    fn wake(&self) {
        self.0.wake();
    }
}

/// Makes sockets known to async-io.
#[derive(Debug, Default)]
pub(crate) struct AsyncIo {
    nudge: Arc<Nudge>,
}

impl AsyncIo {
    pub(crate) const fn nudge(&self) -> &Arc<Nudge> {
        &self.nudge
    }
}

impl Reactor for AsyncIo {
    type Socket = Socket;

    fn adopt(&mut self, socket: TcpStream) -> io::Result<Socket> {
        Async::new_nonblocking(socket).map(Socket)
    }

    fn take_error(socket: &Socket) -> io::Result<Option<io::Error>> {
        socket.0.get_ref().take_error()
    }

    fn is_connected(socket: &Socket) -> io::Result<bool> {
        has_peer(socket.0.get_ref().peer_addr())
    }

    fn set_low_water(socket: &mut Socket, bytes: u32) -> bool {
        set_low_water(&socket.0, bytes)
    }

    fn waker(&self) -> Box<dyn Fn() + Send + Sync> {
        let nudge = self.nudge.clone();
        Box::new(move || nudge.wake())
    }
}

/// A socket that async-io knows. Calls go to the socket itself; only waiting goes through the reactor, which announces anew what is still
/// there when it is asked, so that a short read needs no second one.
#[derive(Debug)]
pub(crate) struct Socket(Async<TcpStream>);

impl Socket {
    /// Whether there is something to read, or an error to be found by reading. If not, the task is woken when there is.
    pub(crate) fn poll_readable(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_readable(context)
    }

    /// The same for writing.
    pub(crate) fn poll_writable(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_writable(context)
    }

    fn stream(&self) -> NonBlocking<&TcpStream> {
        NonBlocking(self.0.get_ref())
    }
}

impl Transport for Socket {
    type Error = io::Error;

    fn send(&mut self, runs: &[&[u8]]) -> io::Result<Option<usize>> {
        self.stream().send(runs)
    }

    fn recv(&mut self, space: [&mut [u8]; 2]) -> io::Result<Option<usize>> {
        self.stream().recv(space)
    }
}

/// Wakes a task at a deadline that moves with nearly every turn. It nearly always moves back, and then the timer stays as it is: it goes off
/// early once, instead of being set anew each time.
#[derive(Debug, Default)]
pub(crate) struct Alarm(Option<(Timer, Instant)>);

impl Alarm {
    /// Whether it is time to turn. If not, the task is woken at the deadline, or before.
    pub(crate) fn poll(
        &mut self,
        deadline: Option<Instant>,
        now: Instant,
        context: &mut Context<'_>,
    ) -> Poll<()> {
        let Some(deadline) = deadline else {
            self.0 = None;
            return Poll::Pending;
        };
        let time = deadline.saturating_since(now);
        if time.is_zero() {
            return Poll::Ready(());
        }
        // A time that the clock does not know is as good as none.
        let Some(at) = time::Instant::now().checked_add(time) else { return Poll::Pending };
        let (timer, set) = self.0.get_or_insert_with(|| (Timer::at(at), deadline));
        if *set > deadline {
            timer.set_at(at);
            *set = deadline;
        }
        let gone_off = core::pin::Pin::new(timer).poll(context).is_ready();
        if gone_off {
            self.0 = None;
            return Poll::Ready(());
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use core::time::Duration;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::from_micros(millis * 1_000)
    }

    #[test]
    fn a_deadline_that_moves_back_leaves_the_timer_alone() {
        let mut context = Context::from_waker(core::task::Waker::noop());
        let mut alarm = Alarm::default();
        let mut set = |deadline| {
            assert!(alarm.poll(Some(deadline), at(0), &mut context).is_pending());
            alarm.0.as_ref().map(|(_, set)| *set)
        };
        assert_eq!(set(at(60_000)), Some(at(60_000)));
        assert_eq!(set(at(90_000)), Some(at(60_000)));
        assert_eq!(set(at(30_000)), Some(at(30_000)));
        assert!(alarm.poll(Some(at(5)), at(5), &mut context).is_ready(), "due");
        assert!(alarm.poll(None, at(5), &mut context).is_pending() && alarm.0.is_none());
    }

    #[test]
    fn a_task_is_woken_at_its_deadline_and_not_before() {
        let clock = time::Instant::now();
        let now = || Instant::from_micros(clock.elapsed().as_micros() as u64);
        let mut alarm = Alarm::default();
        let polls = AtomicUsize::new(0);
        futures_lite::future::block_on(core::future::poll_fn(|context| {
            polls.fetch_add(1, Ordering::Relaxed);
            alarm.poll(Some(at(30)), now(), context)
        }));
        assert!(clock.elapsed() >= Duration::from_millis(30));
        assert!(polls.into_inner() <= 3, "it waits, it does not spin");
    }
}
