//! Events that outlive the session's borrow.

use alloc::vec::Vec;

use crate::wire::TaskManagementResponseCode;
use crate::{Event, LostReason, SessionState, TaskId, TaskManagementId, TaskOutcome};

/// An [`Event`] that owns its sense data.
///
/// ```
/// use iscsi_core::{Event, LostReason, TaskId, testing::Told};
/// let task = TaskId::from_bits(1);
/// let told = Told::from(Event::TaskLost { task, reason: LostReason::Eof });
/// assert_eq!(told, Told::Lost { task, reason: LostReason::Eof });
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Told {
    /// [`Event::StateChanged`]
    State(SessionState),
    /// [`Event::TaskDone`]
    Done {
        /// The task.
        task: TaskId,
        /// Its outcome.
        outcome: TaskOutcome,
        /// Its sense data.
        sense: Vec<u8>,
    },
    /// [`Event::TaskLost`]
    Lost {
        /// The task.
        task: TaskId,
        /// Why.
        reason: LostReason,
    },
    /// [`Event::ConnectionLost`]
    ConnectionLost(LostReason),
    /// [`Event::NeedVerify`]
    NeedVerify,
    /// [`Event::AsyncMessage`].
    AsyncMessage,
    /// [`Event::TaskManagementDone`]
    Managed {
        /// The request.
        id: TaskManagementId,
        /// The response.
        result: Result<TaskManagementResponseCode, LostReason>,
    },
}

impl Told {
    /// The task that ended, if it is about one.
    pub const fn task(&self) -> Option<TaskId> {
        match self {
            Self::Done { task, .. } | Self::Lost { task, .. } => Some(*task),
            Self::State(_)
            | Self::Managed { .. }
            | Self::ConnectionLost(_)
            | Self::NeedVerify
            | Self::AsyncMessage => None,
        }
    }
}

impl From<Event<'_>> for Told {
    fn from(event: Event<'_>) -> Self {
        match event {
            Event::StateChanged(state) => Self::State(state),
            Event::TaskDone { task, outcome, sense } => {
                Self::Done { task, outcome, sense: sense.to_vec() }
            }
            Event::TaskLost { task, reason } => Self::Lost { task, reason },
            Event::ConnectionLost { reason, .. } => Self::ConnectionLost(reason),
            Event::NeedVerify => Self::NeedVerify,
            Event::AsyncMessage => Self::AsyncMessage,
            Event::TaskManagementDone { id, result } => Self::Managed { id, result },
        }
    }
}
