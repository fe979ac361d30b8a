//! What the engine tells: events for the application, actions for the runtime, wishes for the event loop.

use crate::error::LostReason;
use crate::session::{SessionState, TaskManagementId, TaskOutcome};
use crate::wire::TaskManagementResponseCode;
use crate::{Instant, TaskId};

/// Something that happened to a session, from [`Session::poll_event`](crate::Session::poll_event).
///
/// Every task ends with exactly one `TaskDone` or `TaskLost`. Changes of state are coalesced: only the latest is told.
///
/// ```
/// use iscsi_core::{Event, LostReason, TaskId};
/// let event = Event::TaskLost { task: TaskId::from_bits(1), reason: LostReason::Eof };
/// assert!(matches!(event, Event::TaskLost { reason: LostReason::Eof, .. }));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event<'a> {
    /// The session is in another state than at the last such event.
    StateChanged(SessionState),
    /// The target answered a task.
    TaskDone {
        /// The task; the handle is stale from now on.
        task: TaskId,
        /// Response, status, residuals.
        outcome: TaskOutcome,
        /// Sense data, up to 252 bytes; empty if there was none.
        sense: &'a [u8],
    },
    /// A task ended without an answer: unless its command was never sent, whether it was executed is unknown.
    TaskLost {
        /// The task; the handle is stale from now on.
        task: TaskId,
        /// Why.
        reason: LostReason,
    },
    /// The connection was lost, or an attempt to make a new one failed, and the session goes on trying. [`Session::recovery`](crate::Session::recovery) has
    /// the rest. Without another attempt the next event is a change of state to [`SessionState::Failed`] instead.
    ConnectionLost {
        /// Why.
        reason: LostReason,
        /// Earlier events of this kind that were not taken.
        missed: u32,
    },
    /// Logged in again: answer with [`Session::verified`](crate::Session::verified) once it is known that the devices are the same as before. Nothing else
    /// is sent until then.
    NeedVerify,
    /// An asynchronous message came: [`Connection::poll_async`](crate::Connection::poll_async) has it.
    AsyncMessage,
    /// A task management function ended.
    TaskManagementDone {
        /// The request.
        id: TaskManagementId,
        /// The target's response, or why there was none.
        result: Result<TaskManagementResponseCode, LostReason>,
    },
}

/// What the runtime is asked to do, from [`Session::poll_action`](crate::Session::poll_action).
///
/// ```
/// use iscsi_core::{Action, InlineSession, Instant, Portal};
/// let mut session = InlineSession::<1>::new();
/// session.open(Portal::parse("[::1]:3260").unwrap(), Instant::ZERO).unwrap();
/// assert_eq!(session.poll_action(), Some(Action::Connect));
/// assert_eq!(session.poll_action(), None);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Action {
    /// Close the TCP connection and forget what its scratch holds.
    Disconnect,
    /// Connect to [`Session::portal`](crate::Session::portal), then call [`Connection::opened`](crate::Connection::opened), or
    /// [`Session::connect_failed`](crate::Session::connect_failed).
    Connect,
}

/// What a connection waits for.
///
/// ```
/// use iscsi_core::{Instant, Wants};
/// let mut wants = Wants { read: true, ..Wants::default() };
/// wants.deadline = Some(Instant::from_micros(5));
/// assert!(wants.read && !wants.write && !wants.again);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[must_use]
pub struct Wants {
    /// Call again when bytes can be read.
    pub read: bool,
    /// Call again when bytes can be written.
    pub write: bool,
    /// Call again without waiting: there is work that needs neither.
    pub again: bool,
    /// Call `handle_timeout` at this time, if nothing happens before.
    pub deadline: Option<Instant>,
}
