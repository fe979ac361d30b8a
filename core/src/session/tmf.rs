//! Task management (RFC 7143 sections 11.5 and 11.6): one function at a time, the application's or an abort of our own.

use super::task::{TaskEnd, TaskState};
use super::{ControlTag, Session, SessionState};
use crate::error::{LostReason, SubmitError};
use crate::event::Event;
use crate::wire::{
    TaskManagementFunction as Function, TaskManagementRequest, TaskManagementResponseCode as Code,
};
use crate::{CmdSn, InitiatorTaskTag, Instant, Lun, StatSn, TaskId};

/// A task management function for [`Session::task_management`].
///
/// Tasks are aborted one by one with [`Session::abort`]; TASK REASSIGN is not offered.
///
/// ```
/// use iscsi_core::{Lun, TaskManagement};
/// let reset = TaskManagement::LogicalUnitReset(Lun::new(1).unwrap());
/// assert_eq!(reset.lun(), Lun::new(1));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum TaskManagement {
    /// Abort all tasks of this session on the logical unit.
    AbortTaskSet(Lun),
    /// Clear an auto contingent allegiance.
    ClearAca(Lun),
    /// Abort the tasks of every initiator on the logical unit.
    ClearTaskSet(Lun),
    /// Reset the logical unit.
    LogicalUnitReset(Lun),
    /// Reset all logical units of the target.
    TargetWarmReset,
    /// Reset the target; it drops its connections.
    TargetColdReset,
    /// Ask whether a task is in the task set. Needs iSCSIProtocolLevel 2 (RFC 7144).
    QueryTask(TaskId),
    /// Ask whether any task of this session is in the task set. Needs iSCSIProtocolLevel 2 (RFC 7144).
    QueryTaskSet(Lun),
    /// Lose the I_T nexus; the target drops the session. Needs iSCSIProtocolLevel 2 (RFC 7144).
    ItNexusReset,
    /// Ask for a pending unit attention. Needs iSCSIProtocolLevel 2 (RFC 7144).
    QueryAsynchronousEvent(Lun),
}

impl TaskManagement {
    /// The logical unit; `None` for functions that concern the whole target, or a task.
    pub const fn lun(self) -> Option<Lun> {
        match self {
            Self::AbortTaskSet(lun)
            | Self::ClearAca(lun)
            | Self::ClearTaskSet(lun)
            | Self::LogicalUnitReset(lun)
            | Self::QueryTaskSet(lun)
            | Self::QueryAsynchronousEvent(lun) => Some(lun),
            Self::TargetWarmReset
            | Self::TargetColdReset
            | Self::QueryTask(_)
            | Self::ItNexusReset => None,
        }
    }

    const fn needs_protocol_level_2(self) -> bool {
        matches!(
            self,
            Self::QueryTask(_)
                | Self::QueryTaskSet(_)
                | Self::ItNexusReset
                | Self::QueryAsynchronousEvent(_)
        )
    }
}

/// Names one request of [`Session::task_management`].
///
/// ```
/// use iscsi_core::{InlineSession, Instant, SubmitError, TaskManagement};
/// let mut session = InlineSession::<1>::new();
/// // Functions need a logged-in session.
/// assert_eq!(
///     session.task_management(TaskManagement::TargetWarmReset, Instant::ZERO),
///     Err(SubmitError::NotOpen),
/// );
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TaskManagementId(u64);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Idle,
    Wanted,
    Sent { cmd_sn: CmdSn },
    Done(Result<Code, LostReason>),
}

/// What is asked of the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    /// ABORT TASK of our own.
    Abort(TaskId),
    /// The application's request.
    Asked(TaskManagement, TaskManagementId),
}

/// The one slot for task management.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tmf {
    state: State,
    what: What,
    itt: InitiatorTaskTag,
    deadline: Option<Instant>,
    /// Counts the application's requests.
    count: u64,
}

impl Tmf {
    pub(crate) const IDLE: Self = Self {
        state: State::Idle,
        what: What::Asked(TaskManagement::TargetWarmReset, TaskManagementId(0)),
        itt: InitiatorTaskTag::RESERVED,
        deadline: None,
        count: 0,
    };

    pub(crate) const fn is_pending(&self) -> bool {
        matches!(self.state, State::Wanted | State::Sent { .. })
    }

    pub(crate) const fn is_wanted(&self) -> bool {
        matches!(self.state, State::Wanted)
    }

    /// Waits for the response with this tag.
    pub(crate) fn awaits(&self, itt: InitiatorTaskTag) -> bool {
        matches!(self.state, State::Sent { .. }) && self.itt == itt
    }

    pub(crate) const fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    pub(crate) fn take_done(&mut self) -> Option<Event<'static>> {
        let State::Done(result) = self.state else { return None };
        self.state = State::Idle;
        match self.what {
            What::Asked(_, id) => Some(Event::TaskManagementDone { id, result }),
            What::Abort(_) => None,
        }
    }

    pub(crate) fn connection_lost(&mut self, reason: LostReason) {
        if self.is_pending() {
            self.end(Err(reason));
        }
    }

    fn end(&mut self, result: Result<Code, LostReason>) {
        self.deadline = None;
        self.state = match self.what {
            What::Asked(..) => State::Done(result),
            What::Abort(_) => State::Idle,
        };
    }
}

impl Session {
    /// Asks the target for a task management function. Its end is an [`Event::TaskManagementDone`]; the tasks that it ends have their own
    /// end events.
    ///
    /// # Errors
    /// [`SubmitError::Busy`] while another function is under way, [`SubmitError::NotNegotiated`] for functions of RFC 7144 below level 2,
    /// [`SubmitError::NotOpen`] without a logged-in session.
    pub fn task_management(
        &mut self,
        request: TaskManagement,
        now: Instant,
    ) -> Result<TaskManagementId, SubmitError> {
        if self.core.state != SessionState::LoggedIn {
            return Err(SubmitError::NotOpen);
        }
        if request.needs_protocol_level_2() && self.core.negotiated.iscsi_protocol_level < 2 {
            return Err(SubmitError::NotNegotiated);
        }
        if let TaskManagement::QueryTask(task) = request {
            self.referenced(task).ok_or(SubmitError::NoSuchTask)?;
        }
        if self.core.tmf.state != State::Idle {
            return Err(SubmitError::Busy);
        }
        self.core.tmf.count += 1;
        let id = TaskManagementId(self.core.tmf.count);
        self.arm(What::Asked(request, id), now);
        Ok(id)
    }

    fn arm(&mut self, what: What, now: Instant) {
        let itt = self.control_tag(ControlTag::TaskManagement);
        let deadline = Some(now + self.core.config.timeouts().task_management);
        let count = self.core.tmf.count;
        self.core.tmf = Tmf { state: State::Wanted, what, itt, deadline, count };
    }

    /// LUN, tag and ordering number of a task that the target has.
    fn referenced(&self, task: TaskId) -> Option<(Lun, InitiatorTaskTag, CmdSn)> {
        let slot = self.slots.lookup(task).map(|i| &self.slots[i]).filter(|s| s.is_live())?;
        // An immediate task is ordered by the CmdSN of the function itself (RFC 7143 section 11.5.5).
        let ref_cmd_sn = if slot.immediate { self.core.window.cmd_sn } else { slot.cmd_sn };
        Some((slot.lun, slot.itt, ref_cmd_sn))
    }

    /// The request to send, or `None` if nothing is to be sent any more.
    pub(crate) fn take_task_management(
        &mut self,
        exp_stat_sn: StatSn,
        now: Instant,
    ) -> Option<TaskManagementRequest> {
        if !self.core.tmf.is_wanted() {
            return None;
        }
        let Some(function) = self.function() else {
            // The response was faster than the function.
            self.core.tmf.end(Ok(Code::TaskDoesNotExist));
            start_abort(self, now);
            return None;
        };
        let cmd_sn = self.core.window.cmd_sn;
        self.core.tmf.state = State::Sent { cmd_sn };
        Some(TaskManagementRequest {
            immediate: true,
            function,
            initiator_task_tag: self.core.tmf.itt,
            cmd_sn,
            exp_stat_sn,
        })
    }

    fn function(&self) -> Option<Function> {
        let request = match self.core.tmf.what {
            What::Abort(task) => {
                let (lun, referenced_task_tag, ref_cmd_sn) = self.referenced(task)?;
                return Some(Function::AbortTask { lun, referenced_task_tag, ref_cmd_sn });
            }
            What::Asked(request, _) => request,
        };
        Some(match request {
            TaskManagement::AbortTaskSet(lun) => Function::AbortTaskSet { lun },
            TaskManagement::ClearAca(lun) => Function::ClearAca { lun },
            TaskManagement::ClearTaskSet(lun) => Function::ClearTaskSet { lun },
            TaskManagement::LogicalUnitReset(lun) => Function::LogicalUnitReset { lun },
            TaskManagement::TargetWarmReset => Function::TargetWarmReset,
            TaskManagement::TargetColdReset => Function::TargetColdReset,
            TaskManagement::QueryTask(task) => {
                let (lun, referenced_task_tag, ref_cmd_sn) = self.referenced(task)?;
                Function::QueryTask { lun, referenced_task_tag, ref_cmd_sn }
            }
            TaskManagement::QueryTaskSet(lun) => Function::QueryTaskSet { lun },
            TaskManagement::ItNexusReset => Function::ItNexusReset,
            TaskManagement::QueryAsynchronousEvent(lun) => Function::QueryAsynchronousEvent { lun },
        })
    }
}

/// Starts the next wanted abort, if no function is under way.
pub(super) fn start_abort(session: &mut Session, now: Instant) {
    if !session.core.aborts_wanted || session.core.tmf.state != State::Idle {
        return;
    }
    // Aborts are rare: a scan is good enough.
    let next = session.slots.indices().find(|&i| session.slots[i].state == TaskState::Aborting);
    let Some(index) = next else {
        session.core.aborts_wanted = false;
        return;
    };
    session.arm(What::Abort(session.slots.id(index)), now);
}

/// The target answered the function that is under way.
pub(super) fn answered(session: &mut Session, response: Code, now: Instant) {
    let State::Sent { cmd_sn } = session.core.tmf.state else { return };
    let what = session.core.tmf.what;
    session.core.tmf.end(Ok(response));
    let complete = matches!(response, Code::FunctionComplete | Code::FunctionSucceeded { .. });
    match what {
        What::Abort(task) => abort_answered(session, task, response, now),
        What::Asked(
            TaskManagement::AbortTaskSet(lun)
            | TaskManagement::ClearTaskSet(lun)
            | TaskManagement::LogicalUnitReset(lun),
            _,
        ) if complete => conclude(session, cmd_sn, Some(lun)),
        What::Asked(
            TaskManagement::TargetWarmReset
            | TaskManagement::TargetColdReset
            | TaskManagement::ItNexusReset,
            _,
        ) if complete => conclude(session, cmd_sn, None),
        What::Asked(..) => {}
    }
    start_abort(session, now);
}

fn abort_answered(session: &mut Session, task: TaskId, response: Code, now: Instant) {
    let Some(index) = session.slots.lookup(task) else { return };
    if session.slots[index].state != TaskState::Aborting {
        return;
    }
    if matches!(
        response,
        Code::FunctionComplete | Code::FunctionSucceeded { .. } | Code::TaskDoesNotExist
    ) {
        session.bury(index);
        let reason = session.slots[index].abort_reason;
        session.finish(index, TaskEnd::Lost(reason));
    } else {
        // The target keeps the task; so do we, and try again after another round.
        session.slots[index].state = TaskState::Active;
        let again = now + session.core.config.timeouts().task_management;
        session.core.deadlines.insert(&mut session.slots, index, again);
    }
}

/// Ends the tasks that a function with this CmdSN covered: those sent before it, on one logical unit or on all.
fn conclude(session: &mut Session, cmd_sn: CmdSn, lun: Option<Lun>) {
    for index in session.slots.indices() {
        let slot = &session.slots[index];
        let covered = slot.is_live()
            && (slot.immediate || slot.cmd_sn.lt(cmd_sn))
            && lun.is_none_or(|lun| lun == slot.lun);
        if covered {
            session.bury(index);
            session.finish(index, TaskEnd::Lost(LostReason::TaskManagement));
        }
    }
}
