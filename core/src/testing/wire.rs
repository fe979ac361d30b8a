//! Two pipes, and one end of them as a transport.

use alloc::vec::Vec;

use super::clock::Clock;
use super::pipe::{Faults, Pipe, Reset};
use super::rng::Rng;
use super::tap::Tap;
use crate::driver::Transport;
use crate::{Direction, Instant};

/// Both directions of a connection.
///
/// ```
/// use iscsi_core::testing::{Faults, Link, Rng};
/// let mut rng = Rng::new(1);
/// let link = Link::new(Faults::NONE, Faults::NONE, &mut rng);
/// assert_eq!(link.to_target.written(), 0);
/// ```
#[derive(Debug)]
pub struct Link {
    /// What the initiator sends.
    pub to_target: Pipe,
    /// What the target sends.
    pub to_initiator: Pipe,
    /// Who looks on at the initiator's end.
    pub tap: Option<Tap>,
}

impl Link {
    /// A fresh connection.
    pub fn new(to_target: Faults, to_initiator: Faults, rng: &mut Rng) -> Self {
        Self {
            to_target: Pipe::new(to_target, rng.fork()),
            to_initiator: Pipe::new(to_initiator, rng.fork()),
            tap: None,
        }
    }

    /// When something arrives next, either way, after now.
    pub fn next_arrival(&self, now: Instant) -> Option<Instant> {
        [self.to_target.next_arrival(now), self.to_initiator.next_arrival(now)]
            .into_iter()
            .flatten()
            .min()
    }

    /// The initiator's end, now.
    pub const fn initiator<'a>(&'a mut self, clock: &Clock) -> Wire<'a> {
        Wire::new(&mut self.to_target, &mut self.to_initiator, self.tap.as_mut(), clock)
    }

    /// The target's end, now.
    pub const fn target<'a>(&'a mut self, clock: &Clock) -> Wire<'a> {
        Wire::new(&mut self.to_initiator, &mut self.to_target, None, clock)
    }
}

/// One end of a [`Link`] as a [`Transport`] that counts.
///
/// ```
/// use iscsi_core::driver::Transport;
/// use iscsi_core::testing::{Clock, Faults, Link, Rng};
/// let mut link = Link::new(Faults::NONE, Faults::NONE, &mut Rng::new(1));
/// let mut wire = link.initiator(&Clock::new());
/// assert_eq!(wire.send(&[b"ab", b"c"]), Ok(Some(3)));
/// assert_eq!(wire.recv([&mut [], &mut [0; 8]]), Ok(None));
/// assert_eq!((wire.sent(), wire.received()), (3, 0));
/// ```
#[derive(Debug)]
pub struct Wire<'a> {
    output: &'a mut Pipe,
    input: &'a mut Pipe,
    now: Instant,
    sent: u64,
    received: u64,
    refused: bool,
    calls: u64,
    tap: Option<&'a mut Tap>,
    /// What the first call of `send` showed, if that is of interest.
    shown: Option<Vec<u8>>,
    watched: bool,
}

impl<'a> Wire<'a> {
    const fn new(
        output: &'a mut Pipe,
        input: &'a mut Pipe,
        tap: Option<&'a mut Tap>,
        clock: &Clock,
    ) -> Self {
        Self {
            output,
            input,
            now: clock.now(),
            sent: 0,
            received: 0,
            refused: false,
            calls: 0,
            tap,
            shown: None,
            watched: false,
        }
    }

    /// Keeps what the first call of `send` shows.
    pub(super) const fn watch(&mut self) {
        self.watched = true;
    }

    /// What the first call of `send` showed since [`watch`](Self::watch).
    pub(super) const fn take_shown(&mut self) -> Option<Vec<u8>> {
        self.shown.take()
    }

    /// Bytes sent through this value.
    pub const fn sent(&self) -> u64 {
        self.sent
    }

    /// Bytes received through it.
    pub const fn received(&self) -> u64 {
        self.received
    }

    /// The last thing it said to a writer was that there is no room.
    pub const fn refused(&self) -> bool {
        self.refused
    }

    fn call(&mut self) {
        self.calls += 1;
        assert!(self.calls < 1_000_000, "the driver does not come back from one call");
    }
}

impl Transport for Wire<'_> {
    type Error = Reset;

    const EDGE_TRIGGERED: bool = true;

    fn send(&mut self, runs: &[&[u8]]) -> Result<Option<usize>, Reset> {
        self.call();
        if core::mem::take(&mut self.watched) {
            self.shown = Some(runs.concat());
        }
        let mut total = 0;
        for run in runs {
            let n = self.output.write(run, self.now)?.unwrap_or(0);
            total += n;
            if let Some(tap) = &mut self.tap {
                tap.see(Direction::Sent, &run[..n], self.now);
            }
            if let Some((header, data)) = self.output.take_learned() {
                self.input.set_digests(header, data);
            }
            if n < run.len() {
                break;
            }
        }
        self.sent += total as u64;
        self.refused = total == 0;
        Ok((total > 0).then_some(total))
    }

    fn recv(&mut self, space: [&mut [u8]; 2]) -> Result<Option<usize>, Reset> {
        self.call();
        let mut total = 0;
        let mut end = false;
        for slice in space {
            if slice.is_empty() {
                continue;
            }
            match self.input.read(slice, self.now) {
                Ok(Some(0)) => end = true,
                Ok(Some(n)) => {
                    total += n;
                    if let Some(tap) = &mut self.tap {
                        tap.see(Direction::Received, &slice[..n], self.now);
                    }
                }
                Ok(None) => {}
                Err(reset) if total == 0 => return Err(reset),
                Err(_) => {}
            }
        }
        self.received += total as u64;
        Ok((total > 0 || end).then_some(total))
    }
}
