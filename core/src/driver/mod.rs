//! The one loop that moves bytes: every runtime is a [`Transport`] and a way to wait around [`pump`].

#[cfg(feature = "alloc")]
mod deadlines;
mod join;
mod recv_buf;
#[cfg(feature = "std")]
mod stream;

#[cfg(feature = "alloc")]
pub use deadlines::Deadlines;
pub use join::{Joined, joined};
pub use recv_buf::RecvBuf;
#[cfg(feature = "std")]
pub use stream::{NonBlocking, SHORT_IS_ALL, now_or_later};

use crate::Instant;
use crate::buffers::{Buffers, NoBuffers};
use crate::conn::{Connection, ConnectionState};
use crate::error::LostReason;
use crate::event::Wants;
use crate::session::Session;

/// A byte stream that never blocks.
///
/// ```
/// use iscsi_core::driver::Transport;
///
/// /// A stream that swallows everything and has nothing to say.
/// struct Sink;
///
/// impl Transport for Sink {
///     type Error = core::convert::Infallible;
///     fn send(&mut self, runs: &[&[u8]]) -> Result<Option<usize>, Self::Error> {
///         Ok(Some(runs.iter().map(|run| run.len()).sum()))
///     }
///     fn recv(&mut self, _space: [&mut [u8]; 2]) -> Result<Option<usize>, Self::Error> {
///         Ok(None)
///     }
/// }
/// assert_eq!(Sink.send(&[b"ab", b"c"]), Ok(Some(3)));
/// ```
pub trait Transport {
    /// What can go wrong.
    type Error;

    /// Readiness is announced once, at the edge, or reads may be short for other reasons (records, ring buffers): the transport is then
    /// read until it says that there is nothing more. Otherwise a read that does not fill its space promises that nothing more is
    /// there now, which saves a call.
    const EDGE_TRIGGERED: bool = false;

    /// Sends bytes of the runs, in order; returns how many, or `None` if none can be sent now.
    ///
    /// # Errors
    /// The connection is broken; it will not be used again.
    fn send(&mut self, runs: &[&[u8]]) -> Result<Option<usize>, Self::Error>;

    /// Receives bytes into the two slices, filling the first one first; returns how many, `Some(0)` at the end of the
    /// stream, or `None` if none are there now. One of the slices may be empty.
    ///
    /// # Errors
    /// The connection is broken; it will not be used again.
    fn recv(&mut self, space: [&mut [u8]; 2]) -> Result<Option<usize>, Self::Error>;

    /// [Receives](Self::recv) at most as many bytes as fit into `space`, whose values nobody needs; what is in `space` afterwards means nothing. A
    /// transport that can drop bytes without a copy does (tcp(7), `MSG_TRUNC`).
    ///
    /// # Errors
    /// Those of [`recv`](Self::recv).
    fn discard(&mut self, space: &mut [u8]) -> Result<Option<usize>, Self::Error> {
        self.recv([&mut [], space])
    }
}

/// From this length on a data segment is read straight into its place; below, one more copy is cheaper than one more call.
const DIRECT: usize = 32 * 1024;

/// How much is read behind a data segment that is read in place: its trailer and the next headers, but little of the next
/// data segment, which will be read in place too.
const BEHIND: usize = 512;

/// Runs shown to the transport in one call.
const RUNS: usize = Connection::MAX_RUNS;

/// Gather writes of one turn and direction: together with the ring's limit of bytes this keeps one busy session from starving others.
const SENDS: usize = 16;

/// Moves bytes both ways until nothing can move, or `budget` PDUs were received: sends, receives, acts on deadlines, sends again.
///
/// Never blocks and never waits. What it returns says when to call it next; after [`submit`](Session::submit) and other requests it is to be
/// called at once. When the connection has ended, the session's events say why, and [`poll_action`](Session::poll_action) what to do.
///
/// Deadlines are judged after everything that has arrived: a process that was suspended finds the answers first.
///
/// # Errors
/// What the transport reported. The connection is then closed and the session knows.
pub fn pump<T: Transport>(
    connection: &mut Connection,
    session: &mut Session,
    buffers: &mut (impl Buffers + ?Sized),
    scratch: &mut RecvBuf,
    transport: &mut T,
    now: Instant,
    budget: usize,
) -> Result<Wants, T::Error> {
    let mut budget = budget.max(1);
    let result = turn(connection, session, buffers, scratch, transport, now, &mut budget);
    match result {
        Ok(left) => {
            let mut wants = connection.wants(session);
            // Bytes that were read already, or may be read or sent, need no waiting for readiness.
            wants.again |= wants.read && (!scratch.is_empty() || left.input);
            wants.again |= wants.write && left.output;
            Ok(wants)
        }
        Err(error) => {
            connection.closed(LostReason::Transport, session, now);
            Err(error)
        }
    }
}

/// What a turn left although the transport may take more.
struct Left {
    input: bool,
    output: bool,
}

/// One round of sending, receiving, judging deadlines and sending.
fn turn<T: Transport>(
    connection: &mut Connection,
    session: &mut Session,
    buffers: &mut (impl Buffers + ?Sized),
    scratch: &mut RecvBuf,
    transport: &mut T,
    now: Instant,
    budget: &mut usize,
) -> Result<Left, T::Error> {
    let mut writable = flush(connection, session, buffers, transport, now)?;
    connection.watch_ping(session, now);
    let drained = fill(connection, session, buffers, scratch, transport, now, budget)?;
    connection.handle_timeout(session, now);
    if writable {
        // What arrived may be answered at once: an R2T, a ping, room in the window.
        writable = flush(connection, session, buffers, transport, now)?;
        connection.watch_ping(session, now);
    }
    Ok(Left { input: !drained, output: writable })
}

/// Sends until the transport takes no more, there is no more, or it is enough for one turn. True if the transport would take more.
fn flush<T: Transport>(
    connection: &mut Connection,
    session: &mut Session,
    buffers: &(impl Buffers + ?Sized),
    transport: &mut T,
    now: Instant,
) -> Result<bool, T::Error> {
    for _ in 0..SENDS {
        if !connection.has_transmit(session) {
            break;
        }
        let mut runs: [&[u8]; RUNS] = [&[]; RUNS];
        let shown = connection.poll_transmit(session, buffers, &mut runs, now);
        let Some(runs) = runs.get(..shown).filter(|runs| !runs.is_empty()) else { break };
        let n = transport.send(runs)?.unwrap_or(0);
        connection.transmitted(n, session);
        if n == 0 {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether the next bytes go straight to their place, and how many to read into the scratch (behind them, if so).
fn next_read(
    connection: &Connection,
    session: &Session,
    buffers: &(impl Buffers + ?Sized),
    scratch: &RecvBuf,
) -> (bool, usize) {
    let large = DIRECT.min(scratch.capacity());
    let placed = |task| !buffers.consumes(task);
    let direct = large == 0 || connection.receiving(large, session).is_some_and(placed);
    let most = if direct || connection.is_behind(large) { BEHIND } else { usize::MAX };
    (direct, most)
}

/// Where a runtime that waits by reading puts what comes: what [`pump`] would read next, which then finds it. `None` if the next bytes go
/// straight to their place, or nothing is to be read: it then waits by other means.
pub fn read_ahead<'s>(
    connection: &Connection,
    session: &Session,
    scratch: &'s mut RecvBuf,
) -> Option<&'s mut [u8]> {
    let (direct, most) = next_read(connection, session, &NoBuffers, scratch);
    let ready = !direct && scratch.is_empty() && connection.wants(session).read;
    ready.then(|| scratch.space(most))
}

/// Receives until the transport has no more, the budget is spent or input has to wait. True if the transport is drained.
fn fill<T: Transport>(
    connection: &mut Connection,
    session: &mut Session,
    buffers: &mut (impl Buffers + ?Sized),
    scratch: &mut RecvBuf,
    transport: &mut T,
    now: Instant,
    budget: &mut usize,
) -> Result<bool, T::Error> {
    connection.go_on(session, now);
    while connection.state() != ConnectionState::Closed {
        if !scratch.is_empty() {
            let used = connection.receive(scratch.filled(), budget, session, buffers, now);
            scratch.consume(used);
            if !scratch.is_empty() {
                return Ok(false);
            }
        }
        if *budget == 0 {
            return Ok(false);
        }
        if connection.is_paused() {
            // Not drained: when input may go on, nothing announces the bytes that are there.
            return Ok(false);
        }
        if connection.state() == ConnectionState::Closed {
            return Ok(true);
        }
        let (direct, most) = next_read(connection, session, buffers, scratch);
        let scratch_space = scratch.space(most);
        let mut offered = scratch_space.len();
        let received = if direct {
            let place = connection.recv_space(session, buffers);
            let place_len = place.len();
            if place_len == 0 {
                // The memory is not lent.
                connection.fail(LostReason::NoBuffer, session, now);
                return Ok(true);
            }
            offered += place_len;
            let received = transport.recv([place, scratch_space])?;
            if let Some(n) = received {
                let placed = n.min(place_len);
                let before = connection.counters().pdus_received;
                connection.received(placed, session, buffers, now);
                if connection.counters().pdus_received != before {
                    *budget -= 1;
                }
                scratch.filled_by(n - placed);
            }
            received
        } else {
            let received = transport.recv([&mut [], scratch_space])?;
            scratch.filled_by(received.unwrap_or(0));
            received
        };
        match received {
            None => return Ok(true),
            Some(0) => {
                connection.received_eof(session, now);
                return Ok(true);
            }
            // Less than there was room for: the transport is drained.
            Some(n) if n < offered && !T::EDGE_TRIGGERED => {
                if !scratch.is_empty() {
                    let used = connection.receive(scratch.filled(), budget, session, buffers, now);
                    scratch.consume(used);
                }
                return Ok(scratch.is_empty());
            }
            Some(_) => {}
        }
    }
    Ok(true)
}
