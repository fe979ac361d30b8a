//! A runtime that does nothing without a reason.

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::clock::Clock;
use super::wire::Link;
use crate::auth::Entropy;
use crate::driver::{RecvBuf, pump};
use crate::{
    AsyncNotice, Buffers, Connection, ConnectionState, DiscoveryItem, InlineConnection, Instant,
    LostReason, Session, Wants,
};

/// How many PDUs one call of the driver may receive.
const BUDGET: usize = 7;

/// How many calls may follow each other without moving a byte.
const PATIENCE: u32 = 4;

/// A runtime that calls [`pump`] only if it was promised that there is something to do: after a request of the application, because
/// of `again`, because bytes arrived or room came back since the last call (an edge, not a level), or at the deadline.
///
/// Nothing else wakes it, so work that was left undone without a promise stays undone, and the test sees it. It panics if it is
/// called again and again without progress, and if a deadline that was acted upon is still due.
///
/// ```
/// use iscsi_core::driver::RecvBuf;
/// use iscsi_core::testing::{Clock, Faults, Link, Rng, StrictDriver};
/// use iscsi_core::{NoBuffers, Session};
/// let mut driver = StrictDriver::new(Session::boxed(1), RecvBuf::boxed(), 1);
/// let mut link = Link::new(Faults::NONE, Faults::NONE, &mut Rng::new(1));
/// assert!(!driver.turn(&mut NoBuffers, Some(&mut link), &Clock::new())); // there is no reason
/// ```
#[derive(Debug)]
pub struct StrictDriver {
    /// The session. Use [`touch`](Self::touch) after asking it for something.
    pub session: Box<Session>,
    connection: Box<InlineConnection>,
    scratch: Box<RecvBuf>,
    wants: Wants,
    touched: bool,
    refused: bool,
    seen_arrivals: u64,
    seen_relieved: u64,
    idle_turns: u32,
    turns: u64,
    seed: u64,
    peeks: bool,
}

impl StrictDriver {
    /// A driver without a connection. `seed` is what a panic names.
    pub fn new(session: Box<Session>, scratch: Box<RecvBuf>, seed: u64) -> Self {
        Self {
            session,
            connection: Box::new(InlineConnection::new()),
            scratch,
            wants: Wants::default(),
            touched: false,
            refused: false,
            seen_arrivals: 0,
            seen_relieved: 0,
            idle_turns: 0,
            turns: 0,
            seed,
            peeks: false,
        }
    }

    /// The connection.
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// The connection, to ask it for something: this is a reason for the next turn.
    pub fn ask(&mut self) -> (&mut Connection, &mut Session) {
        self.touched = true;
        (&mut self.connection, &mut self.session)
    }

    /// The application has asked the session for something: this is a reason for the next turn.
    pub const fn touch(&mut self) {
        self.touched = true;
    }

    /// Before each turn asks twice what is to be sent, and panics if the answers differ or [`pump`] then sends something else.
    pub const fn set_peeking(&mut self, peeks: bool) {
        self.peeks = peeks;
    }

    /// Calls of [`pump`] so far.
    pub const fn turns(&self) -> u64 {
        self.turns
    }

    /// What the last turn left to wait for.
    pub const fn wants(&self) -> Wants {
        self.wants
    }

    /// A connection was made.
    pub fn opened(&mut self, entropy: Entropy, clock: &Clock) {
        self.scratch.clear();
        self.seen_arrivals = 0;
        self.seen_relieved = 0;
        self.refused = false;
        self.touched = true;
        self.connection.opened(&mut self.session, entropy, clock.now());
    }

    /// The connection was closed by this side.
    pub fn disconnected(&mut self, clock: &Clock) {
        self.scratch.clear();
        self.connection.closed(LostReason::Transport, &mut self.session, clock.now());
    }

    /// The asynchronous message that waits. Taking one is a reason for the next turn.
    pub fn poll_async(&mut self) -> Option<AsyncNotice<'_>> {
        let notice = self.connection.poll_async();
        self.touched |= notice.is_some();
        notice
    }

    /// The next item of a discovery. Asking is a reason for the next turn.
    pub fn poll_discovery(&mut self, clock: &Clock) -> Option<DiscoveryItem> {
        self.touched = true;
        self.connection.poll_discovery(&mut self.session, clock.now())
    }

    /// Calls [`pump`] if there is a reason, and says whether there was one. Without a link only time passes.
    ///
    /// # Panics
    /// If the engine asks to be called again and again without doing anything, leaves a deadline that is due, or counts wrongly what is due.
    pub fn turn(
        &mut self,
        buffers: &mut impl Buffers,
        link: Option<&mut Link>,
        clock: &Clock,
    ) -> bool {
        let now = clock.now();
        let Some(link) = link else {
            let due = self.session.poll_timeout().is_some_and(|at| at <= now);
            if due {
                self.session.handle_timeout(now);
                let left = self.session.poll_timeout();
                assert!(left.is_none_or(|at| at > now), "seed {}: still due: {left:?}", self.seed);
            }
            self.wants = Wants { deadline: self.session.poll_timeout(), ..Wants::default() };
            return due;
        };
        if self.touched {
            // Deadlines may have come to be without a call of the driver.
            self.wants.deadline = self.connection.wants(&self.session).deadline;
        }
        let arrivals = link.to_initiator.arrivals(now);
        let relieved = link.to_target.relieved();
        let due = self.wants.deadline.is_some_and(|at| at <= now);
        let event = self.touched || due || arrivals > self.seen_arrivals;
        let writable = self.wants.write && (!self.refused || relieved > self.seen_relieved);
        if !event && !writable && !self.wants.again {
            return false;
        }
        self.touched = false;
        self.seen_arrivals = arrivals;
        self.seen_relieved = relieved;
        self.turns += 1;
        let mut wire = link.initiator(clock);
        let peeked = self.peeks.then(|| self.peek(buffers, now));
        if peeked.is_some() {
            wire.watch();
        }
        let before = (self.connection.state(), self.connection.counters());
        let (connection, session) = (&mut *self.connection, &mut *self.session);
        let result = pump(connection, session, buffers, &mut self.scratch, &mut wire, now, BUDGET);
        if let Some(peeked) = peeked.filter(|peeked| !peeked.is_empty()) {
            let sent = wire.take_shown().unwrap_or_default();
            assert!(peeked == sent, "seed {}: sent something else than was shown", self.seed);
        }
        self.refused = wire.refused();
        // After an error of the transport the engine has closed the connection.
        self.wants = result.unwrap_or_else(|_| self.connection.wants(&self.session));
        let after = (self.connection.state(), self.connection.counters());
        let idle = !event && before == after;
        self.idle_turns = if idle { self.idle_turns + 1 } else { 0 };
        assert!(
            self.idle_turns < PATIENCE,
            "seed {}: hot loop: called again and again for nothing, {:?}",
            self.seed,
            self.wants
        );
        assert!(
            self.wants.deadline.is_none_or(|at| at > now),
            "seed {}: the deadline is still due, {:?}",
            self.seed,
            self.wants
        );
        let slots = &self.session.slots;
        let live = slots.indices().map(|index| &slots[index]).filter(|slot| slot.is_live());
        let due: u64 = live.map(|slot| u64::from(slot.in_len - slot.in_received)).sum();
        assert_eq!(self.session.data_in_due(), due, "seed {}: miscounted", self.seed);
        true
    }

    /// What is to be sent now, asked for twice.
    fn peek(&mut self, buffers: &impl Buffers, now: Instant) -> Vec<u8> {
        let mut ask = || {
            let mut runs: [&[u8]; Connection::MAX_RUNS] = [&[]; Connection::MAX_RUNS];
            let shown = self.connection.poll_transmit(&mut self.session, buffers, &mut runs, now);
            runs[..shown].concat()
        };
        let (first, second) = (ask(), ask());
        assert!(first == second, "seed {}: showed other bytes when asked again", self.seed);
        first
    }

    /// When time alone is a reason for the next turn.
    pub fn deadline(&self) -> Option<Instant> {
        self.connection.wants(&self.session).deadline
    }

    /// Whether there is a connection that the engine has not given up.
    pub fn is_open(&self) -> bool {
        self.connection.state() != ConnectionState::Closed
    }
}
