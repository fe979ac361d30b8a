//! Task management (RFC 7143 sections 11.5 and 11.6).
//!
//! There is a slot for the application's function and one for an abort of our own, so that neither waits for the other's event to be
//! taken. On the wire there is one at a time: a target need not accept more (RFC 7143 section 4.2.2.1).

use super::task::{TaskEnd, TaskSlot, TaskState};
use super::window::CmdWindow;
use super::{ControlTag, Session, SessionState};
use crate::config::{Escalation, Retry};
use crate::error::{LostReason, ProtocolError, SubmitError};
use crate::event::Event;
use crate::time::earliest;
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
    /// Tasks that were sent before it have a lower order.
    Sent {
        order: u32,
    },
    Done(Result<Code, LostReason>),
}

/// What is asked of the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    /// ABORT TASK of our own.
    Abort(TaskId),
    /// LOGICAL UNIT RESET, because this task cannot be aborted.
    ResetUnit(TaskId, Lun),
    /// TARGET COLD RESET, because the logical unit of this task cannot be reset.
    ColdReset(TaskId),
    /// The application's request.
    Asked(TaskManagement, TaskManagementId),
}

/// One function, wanted or under way.
#[derive(Debug, Clone, Copy)]
struct Tmf {
    state: State,
    what: What,
    itt: InitiatorTaskTag,
    deadline: Option<Instant>,
}

impl Tmf {
    const IDLE: Self = Self {
        state: State::Idle,
        what: What::Asked(TaskManagement::TargetWarmReset, TaskManagementId(0)),
        itt: InitiatorTaskTag::RESERVED,
        deadline: None,
    };

    const fn is_pending(&self) -> bool {
        matches!(self.state, State::Wanted | State::Sent { .. })
    }

    const fn is_sent(&self) -> bool {
        matches!(self.state, State::Sent { .. })
    }

    fn take_done(&mut self) -> Option<Event<'static>> {
        let State::Done(result) = self.state else { return None };
        self.state = State::Idle;
        match self.what {
            What::Asked(_, id) => Some(Event::TaskManagementDone { id, result }),
            What::Abort(_) | What::ResetUnit(..) | What::ColdReset(_) => None,
        }
    }

    fn end(&mut self, result: Result<Code, LostReason>) {
        self.deadline = None;
        self.state = match self.what {
            What::Asked(..) => State::Done(result),
            What::Abort(_) | What::ResetUnit(..) | What::ColdReset(_) => State::Idle,
        };
    }
}

/// The two slots.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Functions {
    own: Tmf,
    asked: Tmf,
    /// Functions of our own that were given up for a stronger one: their late answers are ignored.
    given_up: [InitiatorTaskTag; 2],
    /// Counts the application's requests.
    count: u64,
}

impl Functions {
    pub(crate) const IDLE: Self = Self {
        own: Tmf::IDLE,
        asked: Tmf::IDLE,
        given_up: [InitiatorTaskTag::RESERVED; 2],
        count: 0,
    };

    pub(crate) const fn is_pending(&self) -> bool {
        self.own.is_pending() || self.asked.is_pending()
    }

    /// A function is to be sent now.
    pub(crate) const fn is_due(&self) -> bool {
        self.is_pending() && !self.own.is_sent() && !self.asked.is_sent()
    }

    /// Waits for the response with this tag.
    pub(crate) fn awaits(&self, itt: InitiatorTaskTag) -> bool {
        self.under_way().is_some_and(|tmf| tmf.itt == itt)
    }

    /// The response is late: a stronger function was asked for since.
    pub(crate) fn gave_up(&self, itt: InitiatorTaskTag) -> bool {
        self.given_up.contains(&itt)
    }

    fn under_way(&self) -> Option<&Tmf> {
        [&self.own, &self.asked].into_iter().find(|tmf| tmf.is_sent())
    }

    /// The one to send next: aborts of our own free slots.
    const fn next_mut(&mut self) -> &mut Tmf {
        if self.own.is_pending() { &mut self.own } else { &mut self.asked }
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        earliest([self.own.deadline, self.asked.deadline])
    }

    pub(crate) fn take_done(&mut self) -> Option<Event<'static>> {
        self.asked.take_done()
    }

    pub(crate) fn connection_lost(&mut self, reason: LostReason) {
        for tmf in [&mut self.own, &mut self.asked] {
            if tmf.is_pending() {
                tmf.end(Err(reason));
            }
        }
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
        if self.core.tmf.asked.state != State::Idle {
            return Err(SubmitError::Busy);
        }
        self.core.tmf.count += 1;
        let id = TaskManagementId(self.core.tmf.count);
        self.core.tmf.asked = self.armed(What::Asked(request, id), now);
        Ok(id)
    }

    fn armed(&mut self, what: What, now: Instant) -> Tmf {
        let itt = self.control_tag(ControlTag::TaskManagement);
        let deadline = Some(now + self.core.config.timeouts().task_management);
        Tmf { state: State::Wanted, what, itt, deadline }
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
        if !self.core.tmf.is_due() {
            return None;
        }
        let what = self.core.tmf.next_mut().what;
        let Some(function) = self.function(what) else {
            // The response was faster than the function.
            self.core.tmf.next_mut().end(Ok(Code::TaskDoesNotExist));
            start_abort(self, now);
            return None;
        };
        let cmd_sn = self.core.window.cmd_sn;
        let order = self.next_arrival();
        let tmf = self.core.tmf.next_mut();
        tmf.state = State::Sent { order };
        Some(TaskManagementRequest {
            immediate: true,
            function,
            initiator_task_tag: tmf.itt,
            cmd_sn,
            exp_stat_sn,
        })
    }

    fn function(&self, what: What) -> Option<Function> {
        let request = match what {
            What::Abort(task) => {
                let (lun, referenced_task_tag, ref_cmd_sn) = self.referenced(task)?;
                return Some(Function::AbortTask { lun, referenced_task_tag, ref_cmd_sn });
            }
            What::ResetUnit(_, lun) => return Some(Function::LogicalUnitReset { lun }),
            What::ColdReset(_) => return Some(Function::TargetColdReset),
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
    if !session.core.aborts_wanted || session.core.tmf.own.state != State::Idle {
        return;
    }
    // Aborts are rare: a scan is good enough.
    let next = session.slots.indices().find(|&i| session.slots[i].state == TaskState::Aborting);
    let Some(index) = next else {
        session.core.aborts_wanted = false;
        return;
    };
    session.core.tmf.own = session.armed(What::Abort(session.slots.id(index)), now);
}

/// The target answered the function that is under way.
pub(super) fn answered(
    session: &mut Session,
    response: Code,
    now: Instant,
) -> Result<(), LostReason> {
    let functions = &mut session.core.tmf;
    let tmf = if functions.own.is_sent() { &mut functions.own } else { &mut functions.asked };
    let State::Sent { order } = tmf.state else { return Ok(()) };
    let what = tmf.what;
    tmf.end(Ok(response));
    // A target that answers for its tasks is alive, however slow they are; but it is not known yet which devices it has.
    if session.core.state != SessionState::Verifying {
        session.core.recovering.prove();
    }
    let complete = matches!(response, Code::FunctionComplete | Code::FunctionSucceeded { .. });
    match what {
        What::Abort(task) => abort_answered(session, task, response, order, now)?,
        What::ResetUnit(_, lun) if complete => conclude(session, order, Some(lun), now)?,
        What::ColdReset(_) if complete => conclude(session, order, None, now)?,
        What::ResetUnit(task, _) | What::ColdReset(task) => {
            if !escalate(session, what, now) {
                return Err(reason_of(session, task));
            }
        }
        What::Asked(
            TaskManagement::AbortTaskSet(lun)
            | TaskManagement::ClearTaskSet(lun)
            | TaskManagement::LogicalUnitReset(lun),
            _,
        ) if complete => conclude(session, order, Some(lun), now)?,
        What::Asked(
            TaskManagement::TargetWarmReset
            | TaskManagement::TargetColdReset
            | TaskManagement::ItNexusReset,
            _,
        ) if complete => conclude(session, order, None, now)?,
        What::Asked(..) => {}
    }
    start_abort(session, now);
    Ok(())
}

fn abort_answered(
    session: &mut Session,
    task: TaskId,
    response: Code,
    order: u32,
    now: Instant,
) -> Result<(), LostReason> {
    let Some(index) = session.slots.lookup(task) else { return Ok(()) };
    if session.slots[index].state != TaskState::Aborting {
        return Ok(());
    }
    let reason = session.slots[index].abort_reason;
    if matches!(
        response,
        Code::FunctionComplete | Code::FunctionSucceeded { .. } | Code::TaskDoesNotExist
    ) {
        // All that was sent before the abort has arrived or was rejected, and the abort itself counts the command as received (RFC 7143 section 11.6.1).
        // If the target still waits for its number, or for an older one, what was sent after that will never be carried out.
        let has_arrived = has_arrived(session, index);
        session.bury(index);
        session.finish(index, TaskEnd::Lost(reason));
        if has_arrived { Ok(()) } else { plug_hole(session, order, now) }
    } else if reason == LostReason::Aborted {
        // The target keeps the task, and so does the application; but not for ever.
        session.slots[index].state = TaskState::Active;
        let again = now + session.core.config.timeouts().task_management;
        session.core.deadlines.insert(&mut session.slots, index, again);
        Ok(())
    } else if escalate(session, What::Abort(task), now) {
        Ok(())
    } else {
        // A task that neither ends nor can be aborted goes with its connection.
        Err(reason)
    }
}

/// Whether the target has received the command of this task; an immediate one has no place in the order.
fn has_arrived(session: &Session, index: u16) -> bool {
    let slot = &session.slots[index];
    let CmdWindow { cmd_sn, exp_cmd_sn, .. } = session.core.window;
    // What was sent and is not acknowledged begins with ExpCmdSN.
    slot.immediate || exp_cmd_sn.distance_to(slot.cmd_sn) >= exp_cmd_sn.distance_to(cmd_sn)
}

/// The answer to the function with this order shows that the target waits for a command that was sent before: it carries out none of the later ones until that
/// comes, or an ABORT TASK counts it as received (RFC 7143 section 11.6.1). An error if neither will happen, or the session comes back and issues it again.
fn plug_hole(session: &mut Session, order: u32, now: Instant) -> Result<(), LostReason> {
    let CmdWindow { cmd_sn, exp_cmd_sn, .. } = session.core.window;
    let hole = ProtocolError::ExpCmdSn { expected: cmd_sn, got: exp_cmd_sn }.into();
    let is_awaited = |&i: &u16| {
        let slot = &session.slots[i];
        slot.is_live() && !slot.immediate && slot.cmd_sn == exp_cmd_sn
    };
    let Some(index) = session.slots.indices().find(is_awaited) else { return Err(hole) };
    let slot = &session.slots[index];
    // It is being aborted; or it was sent again after the function (ErrorRecoveryLevel 1).
    if slot.state == TaskState::Aborting || !precedes(slot, order) {
        return Ok(());
    }
    if session.core.config.recovery().retry != Retry::Never {
        return Err(hole);
    }
    session.give_up(index, hole, now);
    Ok(())
}

/// Whether the target had the task when it was given the function with this order.
const fn precedes(slot: &TaskSlot, order: u32) -> bool {
    (slot.order.wrapping_sub(order) as i32) < 0
}

/// Why a task is being aborted.
fn reason_of(session: &Session, task: TaskId) -> LostReason {
    session.slots.lookup(task).map_or(LostReason::Aborted, |i| session.slots[i].abort_reason)
}

/// The function under way was not answered in time. False if the connection has to go.
pub(super) fn expired(session: &mut Session, now: Instant) -> bool {
    let Functions { own, asked, .. } = &session.core.tmf;
    let due = |tmf: &Tmf| tmf.deadline.is_some_and(|at| at <= now);
    // A function that was not even sent waits behind the application's.
    !due(asked) && due(own) && own.is_sent() && escalate(session, own.what, now)
}

/// Asks for the next stronger function after `failed`, if the policy has one.
fn escalate(session: &mut Session, failed: What, now: Instant) -> bool {
    let limit = session.core.config.escalation();
    let next = match failed {
        What::Abort(task) if limit >= Escalation::LogicalUnitReset => {
            session.slots.lookup(task).map(|i| What::ResetUnit(task, session.slots[i].lun))
        }
        What::ResetUnit(task, _) if limit >= Escalation::TargetColdReset => {
            Some(What::ColdReset(task))
        }
        _ => None,
    };
    let Some(next) = next else { return false };
    let [newest, oldest] = &mut session.core.tmf.given_up;
    *oldest = *newest;
    *newest = session.core.tmf.own.itt;
    session.core.tmf.own = session.armed(next, now);
    true
}

/// Ends the tasks that a function covered: those sent before it, on one logical unit or on all.
///
/// ABORT TASK would count a command that has not reached the target as received, other functions do not.
fn conclude(
    session: &mut Session,
    order: u32,
    lun: Option<Lun>,
    now: Instant,
) -> Result<(), LostReason> {
    let mut have_arrived = true;
    for index in session.slots.indices() {
        let slot = &session.slots[index];
        let covered =
            slot.is_live() && precedes(slot, order) && lun.is_none_or(|lun| lun == slot.lun);
        if covered {
            let reason = match slot.state {
                TaskState::Aborting => slot.abort_reason,
                _ => LostReason::TaskManagement,
            };
            have_arrived &= has_arrived(session, index);
            session.bury(index);
            session.finish(index, TaskEnd::Lost(reason));
        }
    }
    if have_arrived { Ok(()) } else { plug_hole(session, order, now) }
}
