//! A connection: the sockets of both sides and the thread between them.

use core::time::Duration;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use socket2::SockRef;

use crate::log::Event;
use crate::pipe::{CHUNK, Pipe};
use crate::plan::{Fault, Plan, Rng, Way};

/// What the owner of the proxy wants of a connection now.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Order {
    Reset,
    Close,
    Stall(Way),
    Resume,
}

/// Reaches a connection's thread.
#[derive(Debug)]
pub(crate) struct Control {
    orders: Mutex<Orders>,
    obeyed: Condvar,
    waker: UnixStream,
}

#[derive(Debug, Default)]
struct Orders {
    new: Vec<Order>,
    /// Those that were given, and those that were carried out.
    given: u64,
    obeyed: u64,
    /// The connection has ended.
    over: bool,
}

impl Control {
    /// And the end that wakes the thread.
    pub(crate) fn new() -> io::Result<(Self, UnixStream)> {
        let (waker, wake) = UnixStream::pair()?;
        waker.set_nonblocking(true)?;
        wake.set_nonblocking(true)?;
        Ok((Self { orders: Mutex::default(), obeyed: Condvar::new(), waker }, wake))
    }

    /// Returns a number to [`wait`](Self::wait) for.
    pub(crate) fn order(&self, order: Order) -> u64 {
        let mut orders = self.lock();
        orders.new.push(order);
        orders.given += 1;
        // A full pipe wakes, too.
        let _ = (&self.waker).write(&[0]);
        orders.given
    }

    /// Waits until an order was carried out. The connection's thread does that at once.
    pub(crate) fn wait(&self, number: u64) {
        let waiting = |orders: &mut Orders| !orders.over && orders.obeyed < number;
        let patience = Duration::from_secs(10);
        drop(self.obeyed.wait_timeout_while(self.lock(), patience, waiting));
    }

    /// The connection has ended.
    pub(crate) fn over(&self) {
        self.lock().over = true;
        self.obeyed.notify_all();
    }

    fn take(&self) -> Vec<Order> {
        core::mem::take(&mut self.lock().new)
    }

    fn obeyed(&self) {
        self.lock().obeyed += 1;
        self.obeyed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Orders> {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How a connection ends.
enum End {
    /// Both sides have said that this was all.
    Whole,
    /// Both sides get a RST.
    Broken,
}

/// A connection under way.
pub(crate) struct Link<'a> {
    /// Client and server.
    sides: [TcpStream; 2],
    /// By the way: to the server, to the client.
    pipes: [Pipe; 2],
    /// Faults after bytes of both ways together, the next one last.
    rules: Vec<(u64, Fault)>,
    control: &'a Control,
    wake: UnixStream,
    tell: &'a mut dyn FnMut(Event),
}

impl<'a> Link<'a> {
    /// Without a plan it forwards everything.
    pub(crate) fn new(
        sides: [TcpStream; 2],
        plan: Option<&Plan>,
        number: u64,
        (control, wake): (&'a Control, UnixStream),
        tell: &'a mut dyn FnMut(Event),
    ) -> io::Result<Self> {
        for side in &sides {
            side.set_nodelay(true)?;
            side.set_nonblocking(true)?;
        }
        let pipes = Way::BOTH.map(|way| Pipe::new(plan, number, way));
        let mut rng = Rng::new(plan.map_or(0, |plan| plan.seed), number, 0);
        let mut rules: Vec<_> = plan
            .iter()
            .flat_map(|plan| &plan.rules)
            .filter(|rule| rule.way.is_none())
            .map(|rule| (rng.within(rule.after), rule.fault))
            .collect();
        rules.sort_by_key(|(at, _)| core::cmp::Reverse(*at));
        Ok(Self { sides, pipes, rules, control, wake, tell })
    }

    /// Forwards until it is over, and returns the bytes to the server and to the client.
    pub(crate) fn run(mut self) -> [u64; 2] {
        if let End::Broken = self.forward() {
            for side in &self.sides {
                // Closed so, a socket sends a RST. One that is broken already refuses, which is as good.
                let _ = SockRef::from(side).set_linger(Some(Duration::ZERO));
            }
        }
        [self.pipes[0].taken(), self.pipes[1].taken()]
    }

    fn passed(&self) -> u64 {
        self.pipes.iter().map(Pipe::taken).sum()
    }

    fn forward(&mut self) -> End {
        let mut buffer = vec![0; CHUNK];
        loop {
            let mut moved = false;
            for way in Way::BOTH {
                let passed = self.pass(way, &mut buffer);
                match passed {
                    Ok(bytes) => moved |= bytes,
                    Err(_) => return End::Broken,
                }
                if let Some(fault) = self.due(way) {
                    if fault == Fault::Reset {
                        return self.reset();
                    }
                    self.close();
                    moved = true;
                }
            }
            for order in self.control.take() {
                moved = true;
                match order {
                    Order::Reset => {
                        return self.reset();
                    }
                    Order::Close => self.close(),
                    Order::Stall(way) => {
                        let pipe = &mut self.pipes[way.index()];
                        pipe.stalled = true;
                        (self.tell)(Event::Stalled { way, after: pipe.taken() });
                    }
                    Order::Resume => self.pipes.iter_mut().for_each(|pipe| pipe.stalled = false),
                }
                self.control.obeyed();
            }
            let [a, b] = &self.pipes;
            if [a, b].iter().all(|pipe| pipe.eof && pipe.closed) {
                return End::Whole;
            }
            // Who waits for a way that is stalled has given up.
            if (a.eof && b.stalled) || (b.eof && a.stalled) {
                return End::Broken;
            }
            if !moved && self.wait().is_err() {
                return End::Broken;
            }
        }
    }

    /// Moves what can be moved one way. True if something was.
    fn pass(&mut self, way: Way, buffer: &mut [u8]) -> io::Result<bool> {
        let now = Instant::now();
        let room = self.room(way, now);
        let from = way.index();
        let pipe = &mut self.pipes[from];
        let mut moved = false;
        if let Some(into) = buffer.get_mut(..room).filter(|into| !into.is_empty()) {
            match would_block(self.sides[from].read(into))? {
                Some(0) => pipe.eof = true,
                Some(n) => pipe.take(&mut into[..n], now, self.tell),
                None => {}
            }
            moved = pipe.eof || pipe.pending();
        }
        let ready = pipe.ready(now);
        if !ready.is_empty()
            && !pipe.stalled
            && let Some(n) = would_block(self.sides[1 - from].write(ready))?
        {
            pipe.sent(n);
            moved = true;
        }
        if pipe.is_over() {
            pipe.closed = true;
            moved = true;
            // The other side may have gone.
            let _ = self.sides[1 - from].shutdown(Shutdown::Write);
        }
        Ok(moved)
    }

    /// How many bytes may be taken in one way.
    fn room(&self, way: Way, now: Instant) -> usize {
        let pipe = &self.pipes[way.index()];
        let room = pipe.room(now);
        match self.rules.last() {
            Some((at, _)) if !pipe.ending => {
                room.min(usize::try_from(at - self.passed()).unwrap_or(room))
            }
            _ => room,
        }
    }

    /// The fault that ends the connection now.
    fn due(&mut self, way: Way) -> Option<Fault> {
        let passed = self.passed();
        if let Some((_, fault)) = self.rules.pop_if(|(at, _)| *at <= passed) {
            return Some(fault);
        }
        self.pipes[way.index()].due(self.tell)
    }

    fn reset(&mut self) -> End {
        let after = self.passed();
        (self.tell)(Event::Reset { after });
        End::Broken
    }

    fn close(&mut self) {
        let after = self.passed();
        (self.tell)(Event::Closed { after });
        self.rules.clear();
        for pipe in &mut self.pipes {
            (pipe.ending, pipe.stalled) = (true, false);
        }
    }

    fn wait(&self) -> io::Result<()> {
        let now = Instant::now();
        let mut fds = vec![PollFd::new(&self.wake, PollFlags::IN)];
        for (side, stream) in self.sides.iter().enumerate() {
            let output = &self.pipes[1 - side];
            let mut flags = PollFlags::empty();
            if self.room(Way::BOTH[side], now) > 0 {
                flags |= PollFlags::IN;
            }
            if !output.ready(now).is_empty() && !output.stalled {
                flags |= PollFlags::OUT;
            }
            // Closed this way, the other end's FIN alone makes poll(2) return although it is not its turn to be read.
            if !flags.is_empty() || !output.closed {
                fds.push(PollFd::new(stream, flags));
            }
        }
        let deadline = self.pipes.iter().filter_map(|pipe| pipe.deadline(now)).min();
        let time =
            deadline.and_then(|at| Timespec::try_from(at.saturating_duration_since(now)).ok());
        match poll(&mut fds, time.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let dead = PollFlags::ERR | PollFlags::HUP;
        if fds[1..].iter().any(|fd| {
            // Nothing would be read or written that could tell.
            fd.revents().intersects(dead) && (fd.revents() & !dead).is_empty()
        }) {
            return Err(ErrorKind::ConnectionReset.into());
        }
        // Whatever was written has woken.
        while (&self.wake).read(&mut [0; 64]).is_ok_and(|n| n > 0) {}
        Ok(())
    }
}

/// `None` if there is nothing to be done yet.
fn would_block(result: io::Result<usize>) -> io::Result<Option<usize>> {
    match result {
        Ok(n) => Ok(Some(n)),
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}
