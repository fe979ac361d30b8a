//! What to send and where to receive as plain data: for io_uring, DMA, a guest's memory, other languages.
//!
//! [`recv_plan`](Connection::recv_plan) and [`transmit_plan`](Connection::transmit_plan) say the same as
//! [`recv_space`](Connection::recv_space) and [`poll_transmit`](Connection::poll_transmit), but name a task's bytes instead of lending them.
//! It is the same engine: each pair is computed in one place, and both are consumed with `received` and `transmitted`.

use super::Connection;
use crate::TaskId;
use crate::session::Session;

/// Where the next bytes from the target belong, from [`Connection::recv_plan`].
///
/// Bytes of a task may be put into its memory by anybody: a kernel, a device, a copy into a guest. Then
/// [`received`](Connection::received) is told how many, as with slices.
/// Bytes of the connection go into [`recv_space`](Connection::recv_space), with [`NoBuffers`](crate::NoBuffers) for want of others. A runtime that reads ahead
/// into a scratch hands all bytes in with [`receive`](Connection::receive) and asks for the plan only to learn whether a
/// long run of a task comes next.
///
/// An operation may be under way while other methods are called: the place stays right until the bytes are reported. Two things end
/// it early. [`revoke`](Connection::revoke) says that the memory goes now: end the operation before. And a connection that closes ends
/// its tasks: close the stream and wait for what is under way before an end event is taken as leave to use the memory again.
///
/// With DataDigest, `received` reads what was placed through its `buffers`, which must lend it; without, it asks for nothing.
///
/// ```
/// use iscsi_core::{Connection, InlineConnection, InlineSession, Instant, NoBuffers};
/// use iscsi_core::{RecvPlan, Session, TaskId};
///
/// /// Takes bytes of a stream without DataDigest. `store` may write to memory of which there is no slice.
/// fn take(
///     connection: &mut Connection,
///     session: &mut Session,
///     mut bytes: &[u8],
///     store: fn(TaskId, u32, &[u8]),
///     now: Instant,
/// ) -> usize {
///     let before = bytes.len();
///     loop {
///         let plan = connection.recv_plan(session);
///         let (part, rest) = bytes.split_at(bytes.len().min(plan.size() as usize));
///         match plan {
///             _ if part.is_empty() => break,
///             RecvPlan::Own { .. } => connection.recv_space(session, &mut NoBuffers)[..part.len()]
///                 .copy_from_slice(part),
///             RecvPlan::Task { task, offset, .. } => store(task, offset, part),
///             RecvPlan::Nothing | RecvPlan::Discard { .. } => {}
///         }
///         connection.received(part.len(), session, &mut NoBuffers, now);
///         bytes = rest;
///     }
///     before - bytes.len()
/// }
///
/// let (mut connection, mut session) = (InlineConnection::new(), InlineSession::<1>::new());
/// let store = |_, _, _: &[u8]| unreachable!("no task, no data");
/// assert_eq!(take(&mut connection, &mut session, b"early", store, Instant::ZERO), 0);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecvPlan {
    /// Nowhere: the connection is closed, or input has to wait; see [`go_on`](Connection::go_on).
    Nothing,
    /// To the connection: a header, a trailer, text, sense data, or what is discarded after its digest was computed.
    Own {
        /// How many; at least 1.
        len: u32,
    },
    /// To a task's memory.
    Task {
        /// The task.
        task: TaskId,
        /// Where they begin in the task's Data-In. Checked against the task: `offset + len` never exceeds its length.
        offset: u32,
        /// How many, to the end of the data segment; at least 1.
        len: u32,
    },
    /// Nowhere: they are read and forgotten.
    Discard {
        /// How many; at least 1.
        len: u32,
    },
}

impl RecvPlan {
    /// Bytes that belong there; 0 for [`Nothing`](Self::Nothing) only.
    pub const fn size(self) -> u32 {
        match self {
            Self::Nothing => 0,
            Self::Own { len } | Self::Task { len, .. } | Self::Discard { len } => len,
        }
    }
}

/// A run of bytes to send, from [`Connection::transmit_plan`].
///
/// ```
/// use iscsi_core::{Connection, Session, TransmitRun};
///
/// /// Appends a run to `out`; `load` reads memory of which there is no slice.
/// fn gather(
///     run: TransmitRun,
///     connection: &Connection,
///     session: &Session,
///     load: &dyn Fn(iscsi_core::TaskId, u32, &mut [u8]),
///     out: &mut Vec<u8>,
/// ) {
///     match run {
///         TransmitRun::Own(own) => out.extend_from_slice(connection.own_bytes(own, session)),
///         TransmitRun::Task { task, offset, len } => {
///             let start = out.len();
///             out.resize(start + len as usize, 0);
///             load(task, offset, &mut out[start..]);
///         }
///     }
/// }
/// # let _ = gather;
/// assert_eq!(TransmitRun::default().size(), 0);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransmitRun {
    /// Bytes of the connection's own: headers, text, padding, digests.
    Own(OwnBytes),
    /// Bytes of a task's Data-Out.
    Task {
        /// The task.
        task: TaskId,
        /// Where they begin in the task's Data-Out. `offset + len` never exceeds its length.
        offset: u32,
        /// How many; at least 1.
        len: u32,
    },
}

/// No bytes: what an array for runs is filled with before it is lent.
impl Default for TransmitRun {
    fn default() -> Self {
        Self::Own(OwnBytes { place: OwnPlace::Text, from: 0, len: 0 })
    }
}

impl TransmitRun {
    /// Bytes of the run; never 0 in a plan.
    pub const fn size(self) -> u32 {
        match self {
            Self::Own(own) => own.len as u32,
            Self::Task { len, .. } => len,
        }
    }
}

/// Names bytes of the connection's own that are to be sent; [`Connection::own_bytes`] shows them.
///
/// The name is good until [`transmitted`](Connection::transmitted) is called or the connection closes; a stale one shows other bytes, or none.
///
/// ```
/// use iscsi_core::{Connection, OwnBytes, Session, TransmitRun};
/// fn is_header(own: OwnBytes, connection: &Connection, session: &Session) -> bool {
///     connection.own_bytes(own, session).len() >= 48
/// }
/// # use iscsi_core::{InlineConnection, InlineSession};
/// # let (connection, session) = (InlineConnection::new(), InlineSession::<1>::new());
/// let TransmitRun::Own(nothing) = TransmitRun::default() else { panic!() };
/// assert!(!is_header(nothing, &connection, &session));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OwnBytes {
    pub(super) place: OwnPlace,
    pub(super) from: u16,
    pub(super) len: u16,
}

/// Where bytes of the connection's own are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OwnPlace {
    /// Header and header digest of a place in the ring.
    Head(u8),
    /// Padding and data digest of a place in the ring.
    Tail(u8),
    /// Additional header segments, in this task's slot.
    Ahs(u16),
    /// The transmit part of the control area.
    Text,
}

impl Connection {
    /// The bytes that a run of [`transmit_plan`](Self::transmit_plan) names. They are few but for login and other text (at most 7168): a
    /// runtime whose sends complete later may copy them, so that nothing borrows the connection meanwhile.
    pub fn own_bytes<'a>(&'a self, own: OwnBytes, session: &'a Session) -> &'a [u8] {
        self.core.ring.own(own, &session.slots, self.transmit_area())
    }
}
