//! The one loop that moves bytes; it shares [`Transport`] and [`RecvBuf`] with the initiator's.

pub use iscsi_core::driver::{RecvBuf, Transport};

use iscsi_core::{Instant, Wants};

use crate::conn::TargetConnection;
use crate::target::Target;

/// From this length on Data-Out is read straight into the disk's memory; below, one more copy is cheaper than one more call.
const DIRECT: usize = 32 * 1024;

/// How much is read behind a data segment that is read in place: its trailer and the next headers, but little of the next
/// data segment, which will be read in place too.
const BEHIND: usize = 512;

/// Runs shown to the transport in one call.
const RUNS: usize = TargetConnection::MAX_RUNS;

/// For so many PDUs a short list of runs does: a long one costs more to lay out than the rest of a small answer.
const FEW: usize = 8;

/// Bytes sent and bytes received in one turn: when so many have gone, the turn ends with what is under way. With the budget of PDUs this
/// keeps a busy connection from starving others. Answers to what was received keep the initiator sending meanwhile, so they do not wait for long.
const SENT: usize = 1024 * 1024;
const RECEIVED: usize = 256 * 1024;

/// Moves bytes both ways until nothing can move, or it is enough for one turn: `budget` PDUs were received, about 256 KiB
/// were received or about 1 MiB was sent. Acts on deadlines, sends, receives, sends again.
///
/// Never blocks and never waits. What it returns says when to call it next; it is also to be called when
/// [`Target::changes`] has moved. When the connection [is closed](TargetConnection::is_closed) the stream is to be
/// closed; when it
/// [is finished](TargetConnection::is_finished), its sending side.
///
/// # Errors
/// What the transport reported. The connection is then closed.
pub fn pump<T: Transport>(
    connection: &mut TargetConnection,
    target: &mut Target<'_>,
    scratch: &mut RecvBuf,
    transport: &mut T,
    now: Instant,
    budget: usize,
) -> Result<Wants, T::Error> {
    connection.handle_timeout(target, now);
    let mut turn = Turn { pdus: budget.max(1), sent: 0, received: 0 };
    match turn.run(connection, target, scratch, transport, now) {
        Ok(left) => {
            let mut wants = connection.wants();
            // Bytes that were read already, or may be read or sent, need no waiting for readiness.
            wants.again |= wants.read && (!scratch.is_empty() || left.input);
            wants.again |= wants.write && left.output;
            Ok(wants)
        }
        Err(error) => {
            connection.closed(target);
            Err(error)
        }
    }
}

/// What a turn left although the transport may take or give more.
struct Left {
    input: bool,
    output: bool,
}

/// How sending ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sent {
    /// There is no more, or it waits for something else.
    All,
    /// The transport takes no more.
    Full,
    /// It is enough for one turn.
    Enough,
}

/// What a turn may still do, and what it did.
struct Turn {
    /// PDUs that may still be received.
    pdus: usize,
    sent: usize,
    received: usize,
}

impl Turn {
    /// One round of sending, receiving and sending.
    fn run<T: Transport>(
        &mut self,
        connection: &mut TargetConnection,
        target: &mut Target<'_>,
        scratch: &mut RecvBuf,
        transport: &mut T,
        now: Instant,
    ) -> Result<Left, T::Error> {
        let mut sent = self.flush(connection, target, transport, now)?;
        let drained = self.fill(connection, target, scratch, transport, now)?;
        if sent == Sent::All {
            sent = self.flush(connection, target, transport, now)?;
        }
        Ok(Left { input: !drained, output: sent == Sent::Enough })
    }

    /// Sends until the transport takes no more, there is no more, or it is enough.
    fn flush<T: Transport>(
        &mut self,
        connection: &mut TargetConnection,
        target: &mut Target<'_>,
        transport: &mut T,
        now: Instant,
    ) -> Result<Sent, T::Error> {
        while self.sent < SENT {
            let n = match connection.freeze(target, now) {
                0 => return Ok(Sent::All),
                1..=FEW => send::<_, { 3 * FEW }>(connection, target, transport)?,
                _ => send::<_, RUNS>(connection, target, transport)?,
            };
            if n == 0 {
                return Ok(Sent::Full);
            }
            connection.transmitted(n);
            self.sent += n;
        }
        Ok(Sent::Enough)
    }

    /// Receives until the transport has no more, it is enough, or input has to wait. True if the transport is drained.
    fn fill<T: Transport>(
        &mut self,
        connection: &mut TargetConnection,
        target: &mut Target<'_>,
        scratch: &mut RecvBuf,
        transport: &mut T,
        now: Instant,
    ) -> Result<bool, T::Error> {
        while !connection.is_closed() {
            if !scratch.is_empty() {
                let used = connection.receive(scratch.filled(), &mut self.pdus, target, now);
                scratch.consume(used);
                if !scratch.is_empty() {
                    return Ok(false);
                }
            }
            if self.pdus == 0 || self.received >= RECEIVED {
                return Ok(false);
            }
            if connection.is_closed() {
                return Ok(true);
            }
            if connection.is_paused() {
                // Not drained: when input may go on, nothing announces the bytes that are there.
                return Ok(false);
            }
            let forgotten = connection.discard_len(target);
            let drops = forgotten >= DIRECT && scratch.capacity() > 0;
            let direct = connection.direct_len(target) >= DIRECT || scratch.capacity() == 0;
            // Large data segments come in rows. Without need, nothing of the next one is read before its header was seen.
            let most = match connection.left_of_large(DIRECT, target) {
                _ if drops => forgotten,
                _ if direct => BEHIND,
                Some(left) => left + BEHIND,
                None => usize::MAX,
            };
            let scratch_space = scratch.space(most);
            let mut offered = scratch_space.len();
            let before = connection.counters().pdus_received;
            let received = if drops {
                let received = transport.discard(scratch_space)?;
                connection.discarded(received.unwrap_or(0), target, now);
                received
            } else if direct {
                let place = connection.recv_space(target);
                let place_len = place.len();
                offered += place_len;
                let received = transport.recv([place, scratch_space])?;
                let n = received.unwrap_or(0);
                let placed = n.min(place_len);
                connection.received(placed, target, now);
                scratch.filled_by(n - placed);
                received
            } else {
                let received = transport.recv([&mut [], scratch_space])?;
                scratch.filled_by(received.unwrap_or(0));
                received
            };
            if connection.counters().pdus_received != before {
                self.pdus -= 1;
            }
            self.received += received.unwrap_or(0);
            match received {
                None => return Ok(true),
                Some(0) => {
                    connection.received_eof(target);
                    return Ok(true);
                }
                // Less than there was room for: the transport is drained.
                Some(n) if n < offered && !T::EDGE_TRIGGERED => {
                    if !scratch.is_empty() {
                        let used =
                            connection.receive(scratch.filled(), &mut self.pdus, target, now);
                        scratch.consume(used);
                    }
                    return Ok(scratch.is_empty());
                }
                Some(_) => {}
            }
        }
        Ok(true)
    }
}

/// Shows up to `N` runs to the transport, and says how much of them it took.
fn send<T: Transport, const N: usize>(
    connection: &TargetConnection,
    target: &Target<'_>,
    transport: &mut T,
) -> Result<usize, T::Error> {
    let mut runs: [&[u8]; N] = [&[]; N];
    let shown = connection.show(target, &mut runs);
    match runs.get(..shown) {
        Some(runs) if !runs.is_empty() => Ok(transport.send(runs)?.unwrap_or(0)),
        _ => Ok(0),
    }
}
