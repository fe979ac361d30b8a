//! The session: what outlives a TCP connection. Task table, command window, identity, deadlines of tasks.

mod life;
mod list;
mod recovery;
mod submit;
mod task;
mod tmf;
mod window;

use core::ops::{Deref, DerefMut};

pub(crate) use life::Logout;
pub(crate) use list::{List, Slots};
pub(crate) use recovery::Recovering;
pub use recovery::{RecoveryStatus, SessionCounters, Verdict};
pub(crate) use task::{Burst, TaskEnd, TaskState};
pub use task::{Command, OnLoss, TaskId, TaskOutcome, TaskSlot, Transfer};
pub(crate) use tmf::Functions;
pub use tmf::{TaskManagement, TaskManagementId};
pub(crate) use window::CmdWindow;

use list::Deadlines;

use crate::auth::RecentChallenges;
use crate::config::Config;
use crate::error::{LostReason, Timer};
use crate::event::{Action, Event};
use crate::portal::Portal;
use crate::text::Negotiated;
use crate::time::earliest;
use crate::wire::{Isid, LogoutResponse, TaskManagementResponseCode};
use crate::{CmdSn, InitiatorTaskTag, Instant};

/// Tags of what is not a SCSI task: they take the indices behind the slots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ControlTag {
    Login = 0,
    Ping = 1,
    TaskManagement = 2,
    Logout = 3,
    Text = 4,
}

const CONTROL_TAGS: usize = 5;

/// The state of a session as the application sees it.
///
/// ```
/// use iscsi_core::{InlineSession, SessionState};
/// assert_eq!(InlineSession::<1>::new().state(), SessionState::Idle);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SessionState {
    /// Never opened.
    Idle,
    /// Waits for the runtime to connect to [`Session::portal`].
    Connecting,
    /// In the login phase.
    LoggingIn,
    /// Logged in again after a loss, and waits for [`Session::verified`]: only verification commands are sent.
    Verifying,
    /// In full feature phase.
    LoggedIn,
    /// A logout was asked for; running tasks end first.
    LoggingOut,
    /// The connection was lost for this reason; the next attempt begins later ([`Session::recovery`] tells when).
    Waiting(LostReason),
    /// Logged out.
    Closed,
    /// Ended without a logout, and not to come back by itself.
    Failed(LostReason),
}

/// Everything but the slots.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) config: Config,
    pub(crate) state: SessionState,
    state_reported: bool,
    /// Challenges that this session issued lately: an echo of one is an attack.
    pub(crate) challenges: RecentChallenges,
    /// The configured one, or one drawn when the session was opened first: it stays.
    pub(crate) isid: Option<Isid>,
    pub(crate) tsih: u16,
    pub(crate) window: CmdWindow,
    pub(crate) negotiated: Negotiated,
    portal: Option<Portal>,
    redirect: Option<Portal>,
    moved: Option<Portal>,
    redirects: u8,
    connect: Option<Instant>,
    connect_wanted: bool,
    disconnect_wanted: bool,
    /// Tasks waiting to be sent, in CmdSN order to be; immediate ones in front.
    pub(crate) queue: List,
    /// Tasks that owe Data-Out, in the order in which their next burst was asked for.
    pub(crate) owing: List,
    ended: List,
    free: List,
    deadlines: Deadlines,
    /// Slots never used so far start here: the free list needs no initialisation.
    fresh: u16,
    in_use: u16,
    /// Tasks sent and not ended.
    pub(crate) live: u16,
    /// Bytes that live tasks expect and have not received.
    pub(crate) data_in_due: u64,
    arrivals: u32,
    control_generation: u32,
    tag_bits: u32,
    /// There may be tasks in state `Aborting` for which no ABORT TASK was sent.
    pub(crate) aborts_wanted: bool,
    pub(crate) tmf: Functions,
    pub(crate) logout: Option<Logout>,
    logout_response: Option<LogoutResponse>,
    pub(crate) async_message: bool,
    pub(crate) recovering: Recovering,
}

impl Core {
    /// So many bytes of a live task are due no longer.
    #[inline]
    pub(crate) const fn data_in_came(&mut self, bytes: u32) {
        self.data_in_due = self.data_in_due.saturating_sub(bytes as u64);
    }
}

/// An iSCSI session: the part of the initiator that outlives a TCP connection.
///
/// Functions take the unsized view `&mut Session`, whatever its capacity; storage is an [`InlineSession`] in a static, on the
/// stack or in a box ([`Session::boxed`]).
///
/// ```
/// use iscsi_core::{Command, InlineSession, Instant, Lun, Session, SubmitError, Transfer};
///
/// fn queue(session: &mut Session) -> Result<(), SubmitError> {
///     let test_unit_ready = [0; 6];
///     let command = Command::new(Lun::ZERO, &test_unit_ready, Transfer::None);
///     session.submit(&command, Instant::ZERO).map(|_task| ())
/// }
/// // A session takes commands before it is logged in, and sends them then.
/// let mut session = InlineSession::<2>::new();
/// assert_eq!(queue(&mut session), Ok(()));
/// assert_eq!(session.in_use(), 1);
/// ```
#[derive(Debug)]
pub struct Session<T: ?Sized = [TaskSlot]> {
    pub(crate) core: Core,
    pub(crate) slots: Slots<T>,
}

/// A session with room for `N` tasks inside the value.
pub type InlineSession<const N: usize> = Session<[TaskSlot; N]>;

impl<const N: usize> InlineSession<N> {
    /// An idle session without configuration; usable as the initial value of a static.
    pub const fn new() -> Self {
        Self {
            core: Core {
                config: Config::EMPTY,
                state: SessionState::Idle,
                state_reported: true,
                challenges: RecentChallenges::new(),
                isid: None,
                tsih: 0,
                window: CmdWindow::new(CmdSn(0)),
                negotiated: Negotiated::DEFAULT,
                portal: None,
                redirect: None,
                moved: None,
                redirects: 0,
                connect: None,
                connect_wanted: false,
                disconnect_wanted: false,
                queue: List::EMPTY,
                owing: List::EMPTY,
                ended: List::EMPTY,
                free: List::EMPTY,
                deadlines: Deadlines::EMPTY,
                fresh: 0,
                in_use: 0,
                live: 0,
                data_in_due: 0,
                arrivals: 0,
                control_generation: 0,
                tag_bits: usize::BITS
                    - (N + list::RESERVED_SLOTS + CONTROL_TAGS - 1).leading_zeros(),
                aborts_wanted: false,
                tmf: Functions::IDLE,
                logout: None,
                logout_response: None,
                async_message: false,
                recovering: Recovering::IDLE,
            },
            slots: Slots::<[TaskSlot; N]>::new(),
        }
    }
}

impl<const N: usize> Default for InlineSession<N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const N: usize> Deref for InlineSession<N> {
    type Target = Session;

    fn deref(&self) -> &Session {
        self
    }
}

impl<const N: usize> DerefMut for InlineSession<N> {
    fn deref_mut(&mut self) -> &mut Session {
        self
    }
}

#[cfg(feature = "alloc")]
impl Session {
    /// A session on the heap with room for at least `depth` tasks: the next of 8, 32, 128 and 512, which is the largest. A deeper one is an
    /// [`InlineSession`] in a static: moving it to the heap would need its size on the stack.
    ///
    /// ```
    /// assert_eq!(iscsi_core::Session::boxed(100).capacity(), 128);
    /// ```
    pub fn boxed(depth: usize) -> alloc::boxed::Box<Self> {
        match depth {
            0..=8 => boxed::<8>(),
            9..=32 => boxed::<32>(),
            33..=128 => boxed::<128>(),
            _ => boxed::<512>(),
        }
    }
}

/// Of its own for each size, so that a small session does not need the stack of a large one.
#[cfg(feature = "alloc")]
#[inline(never)]
fn boxed<const N: usize>() -> alloc::boxed::Box<Session> {
    alloc::boxed::Box::new(InlineSession::<N>::new())
}

/// Getters.
impl Session {
    /// How many tasks the application may have at once.
    pub const fn capacity(&self) -> usize {
        self.slots.capacity()
    }

    /// Tasks submitted whose end event has not been taken.
    pub const fn in_use(&self) -> usize {
        self.core.in_use as usize
    }

    /// Bytes of Data-In that the commands under way have asked for and not received, as far as whole PDUs go: what the target sends without
    /// being asked for more, unless commands end early. See [`Connection::data_in_due`](crate::Connection::data_in_due).
    pub const fn data_in_due(&self) -> u64 {
        self.core.data_in_due
    }

    /// Where the session stands.
    pub const fn state(&self) -> SessionState {
        self.core.state
    }

    /// The configuration.
    pub const fn config(&self) -> &Config {
        &self.core.config
    }

    /// What was negotiated at the last login; RFC defaults before the first.
    pub const fn negotiated(&self) -> &Negotiated {
        &self.core.negotiated
    }

    /// The Initiator Session Identifier; `None` before the first connection if none was configured.
    pub const fn isid(&self) -> Option<Isid> {
        self.core.isid
    }

    /// The Target Session Identifying Handle that the target gave; 0 without a session.
    pub const fn tsih(&self) -> u16 {
        self.core.tsih
    }

    /// Where to connect: the address given to [`open`](Self::open), or the one a redirect named.
    pub const fn portal(&self) -> Option<&Portal> {
        match &self.core.redirect {
            Some(portal) => Some(portal),
            None => self.core.portal.as_ref(),
        }
    }

    /// Where the target moved to for good, if a login said so (status 0102): the address to store instead of the old one.
    pub const fn moved_to(&self) -> Option<&Portal> {
        self.core.moved.as_ref()
    }

    /// How the target answered the last Logout Request; `None` if it was not answered, or there was none since the session was opened.
    ///
    /// The connection is closed whatever the response says. If the target could not clean up, it has not let go of the tasks yet, and wants
    /// the next login only after `time2wait` (RFC 7143 section 11.15): a session that comes back by itself waits that long.
    pub const fn logout_response(&self) -> Option<&LogoutResponse> {
        self.core.logout_response.as_ref()
    }

    /// Non-immediate commands that the target would take now (RFC 7143 section 4.2.2.1).
    pub const fn window_room(&self) -> u32 {
        if self.core.window.is_open() {
            self.core.window.cmd_sn.distance_to(self.core.window.max_cmd_sn).saturating_add(1)
        } else {
            0
        }
    }
}

/// What the connection asks.
impl Session {
    /// The task runs, and its memory was not taken away.
    #[inline]
    pub(crate) fn is_lent(&self, task: TaskId) -> bool {
        self.slots.live(task).is_some_and(|slot| !slot.revoked)
    }

    /// The session has no use for a connection that is open.
    pub(crate) const fn is_disconnected(&self) -> bool {
        !matches!(
            self.core.state,
            SessionState::LoggingIn
                | SessionState::Verifying
                | SessionState::LoggedIn
                | SessionState::LoggingOut
        )
    }

    /// The Logout Request went out: no other request may follow it.
    pub(crate) const fn logout_sent(&self) -> bool {
        matches!(self.core.logout, Some(Logout { sent: true, .. }))
    }

    /// Asks the runtime to close the connection, which the engine has given up.
    pub(crate) const fn want_disconnect(&mut self) {
        self.core.disconnect_wanted = true;
    }

    /// The tag of something that is not a SCSI task; a new one at each call.
    pub(crate) const fn control_tag(&mut self, kind: ControlTag) -> InitiatorTaskTag {
        let index = (self.slots.len() + kind as usize) as u32;
        tag(&mut self.core.control_generation, index, self.core.tag_bits)
    }

    /// The running task that a tag of the target names.
    #[inline]
    pub(crate) fn find(&self, itt: InitiatorTaskTag) -> Option<u16> {
        let index = itt.0 & ((1 << self.core.tag_bits) - 1);
        let slot = self.slots.get(index as usize)?;
        (slot.itt == itt && slot.is_live()).then_some(index as u16)
    }

    /// The tag belonged to a task that was aborted lately: what still comes for it is dropped.
    pub(crate) fn was_aborted(&self, itt: InitiatorTaskTag) -> bool {
        let index = itt.0 & ((1 << self.core.tag_bits) - 1);
        !itt.is_reserved() && self.slots.get(index as usize).is_some_and(|s| s.aborted_itt == itt)
    }

    /// Order of arrival for a burst.
    pub(crate) const fn next_arrival(&mut self) -> u32 {
        self.core.arrivals = self.core.arrivals.wrapping_add(1);
        self.core.arrivals
    }

    /// Puts a task that owes Data-Out in line: by the arrival of its next burst, nearly always last.
    pub(crate) fn line_up(&mut self, index: u16) {
        if self.slots[index].owes_data {
            return;
        }
        let Some(arrival) = self.slots[index].next_burst().map(|b| b.arrival) else { return };
        self.slots[index].owes_data = true;
        let first = self.core.owing.front().and_then(|i| self.slots[i].next_burst());
        if first.is_some_and(|b| b.arrival.wrapping_sub(arrival) as i32 > 0) {
            self.core.owing.push_front(&mut self.slots, index);
            return;
        }
        let mut before = None;
        let mut at = self.core.owing.back();
        while let Some(i) = at {
            let theirs = self.slots[i].next_burst().map_or(arrival, |b| b.arrival);
            // Arrivals wrap; compare by distance.
            if theirs.wrapping_sub(arrival) as i32 <= 0 {
                break;
            }
            before = Some(i);
            at = List::before(&self.slots, i);
        }
        match before {
            Some(i) => self.core.owing.insert_before(&mut self.slots, i, index),
            None => self.core.owing.push_back(&mut self.slots, index),
        }
    }

    /// Takes a task out of the line.
    pub(crate) fn step_out(&mut self, index: u16) {
        if core::mem::take(&mut self.slots[index].owes_data) {
            self.core.owing.remove(&mut self.slots, index);
        }
    }

    /// Ends a live or queued task. Its memory is free as soon as no PDU in a send ring shows it.
    pub(crate) fn finish(&mut self, index: u16, end: TaskEnd) {
        let slot = &self.slots[index];
        if slot.is_live() {
            self.core.live = self.core.live.saturating_sub(1);
            let missing = slot.in_len.saturating_sub(slot.in_received);
            self.core.data_in_came(missing);
        }
        self.step_out(index);
        self.core.deadlines.remove(&mut self.slots, index);
        if usize::from(index) < self.slots.capacity() {
            self.core.recovering.task_ended(&end);
        }
        let slot = &mut self.slots[index];
        slot.end = end;
        slot.bursts.clear();
        slot.unsolicited.end = slot.unsolicited.at;
        if slot.frozen > 0 {
            slot.state = TaskState::Draining;
        } else {
            slot.state = TaskState::Ended;
            self.core.ended.push_back(&mut self.slots, index);
        }
    }

    /// A PDU of the task left the send ring.
    #[inline]
    pub(crate) fn thawed(&mut self, index: u16) {
        let slot = &mut self.slots[index];
        slot.frozen = slot.frozen.saturating_sub(1);
        if slot.frozen == 0 && slot.state == TaskState::Draining {
            slot.state = TaskState::Ended;
            self.core.ended.push_back(&mut self.slots, index);
        }
    }

    /// Whether this command may be sent now. Not after the target asked for a logout, or was asked for it; only verification commands
    /// until the devices are verified; and one at a time until a new connection has proved its worth.
    #[inline]
    pub(crate) fn may_send(&self, index: u16) -> bool {
        match self.core.state {
            SessionState::Verifying => usize::from(index) >= self.slots.capacity(),
            _ if self.core.live > 0 && self.core.recovering.is_unproven() => false,
            _ => self.core.logout.is_none_or(|l| !l.requested && l.grace.is_some()),
        }
    }

    /// The logout may be sent: nothing else is under way, or there is no time to wait for it.
    pub(crate) fn logout_due(&self) -> bool {
        let Some(Logout { sent: false, grace, requested, .. }) = self.core.logout else {
            return false;
        };
        let idle = self.core.live == 0
            && (requested || self.core.queue.is_empty())
            && !self.core.tmf.is_pending();
        idle || grace.is_none()
    }
}

/// Events, actions and time.
impl Session {
    /// What the runtime is asked to do, if anything.
    #[must_use]
    pub const fn poll_action(&mut self) -> Option<Action> {
        if self.core.disconnect_wanted {
            self.core.disconnect_wanted = false;
            Some(Action::Disconnect)
        } else if self.core.connect_wanted {
            self.core.connect_wanted = false;
            Some(Action::Connect)
        } else {
            None
        }
    }

    /// The next event, if there is one. A task's slot is free again from the call that follows.
    #[must_use]
    pub fn poll_event(&mut self) -> Option<Event<'_>> {
        if let Some((reason, missed)) = self.core.recovering.take_lost() {
            return Some(Event::ConnectionLost { reason, missed });
        }
        if !self.core.state_reported {
            self.core.state_reported = true;
            return Some(Event::StateChanged(self.core.state));
        }
        if core::mem::take(&mut self.core.recovering.need_verify) {
            return Some(Event::NeedVerify);
        }
        if core::mem::take(&mut self.core.async_message) {
            return Some(Event::AsyncMessage);
        }
        if let Some(done) = self.core.tmf.take_done() {
            return Some(done);
        }
        while let Some(index) = self.core.ended.pop_front(&mut self.slots) {
            let task = self.slots.id(index);
            let slot = &mut self.slots[index];
            slot.state = TaskState::Free;
            let detached = slot.detached;
            if usize::from(index) < self.slots.capacity() {
                self.core.in_use -= 1;
                self.core.free.push_front(&mut self.slots, index);
            }
            if detached {
                continue;
            }
            let slot = &self.slots[index];
            return Some(match slot.end {
                TaskEnd::Done(outcome) => {
                    let sense = slot.aux.get(..usize::from(slot.sense_len)).unwrap_or_default();
                    Event::TaskDone { task, outcome, sense }
                }
                TaskEnd::Lost(reason) => Event::TaskLost { task, reason },
            });
        }
        None
    }

    /// When [`handle_timeout`](Self::handle_timeout) must be called next, if nothing else happens.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        earliest([
            self.core.connect,
            self.core.deadlines.first(&self.slots),
            self.core.tmf.deadline(),
            self.core.logout.map(|l| l.grace.unwrap_or(l.deadline)),
            self.recovery_deadline(),
        ])
    }

    /// Time passed. Calls before a deadline do nothing.
    ///
    /// Returns the timer whose expiry means that the connection has to go, for the connection to act upon.
    pub(crate) fn expire(&mut self, now: Instant) -> Option<Timer> {
        let mut is_stuck = false;
        while let Some(index) = self.core.deadlines.expire(&mut self.slots, now) {
            is_stuck |= self.doubts_window(index, now);
            self.give_up(index, LostReason::TimedOut(Timer::Task), now);
        }
        if is_stuck {
            return Some(Timer::Window);
        }
        if self.core.connect.is_some_and(|at| at <= now) {
            return Some(Timer::Connect);
        }
        if let Some(logout) = &mut self.core.logout {
            logout.grace = logout.grace.filter(|at| *at > now);
            if logout.deadline <= now {
                return Some(Timer::Logout);
            }
        }
        if self.core.tmf.deadline().is_some_and(|at| at <= now) && !tmf::expired(self, now) {
            return Some(Timer::TaskManagement);
        }
        self.expire_recovery(now)
    }

    /// The task's time is over. Whether that tells that the target will take no command any more: it may keep one whose tag got damaged on its way, so that
    /// nobody can end it.
    fn doubts_window(&mut self, index: u16, now: Instant) -> bool {
        let slot = &self.slots[index];
        let was_held_back = slot.state == TaskState::Queued
            && !slot.immediate
            && self.core.state == SessionState::LoggedIn
            && self.core.live == 0;
        // An abort would have as much time to end a task that was sent.
        let patience = self.core.config.timeouts().task_management;
        was_held_back && self.core.window.doubt(patience, now)
    }

    /// Time passed while there is no connection. With a connection, use
    /// [`Connection::handle_timeout`](crate::Connection::handle_timeout), which does this too.
    pub fn handle_timeout(&mut self, now: Instant) {
        if let Some(timer) = self.expire(now) {
            self.core.disconnect_wanted = true;
            self.connection_lost(LostReason::TimedOut(timer), now);
        }
    }

    /// The target answered the task management function that is under way. An error means that the connection has to go.
    pub(crate) fn task_management_answered(
        &mut self,
        response: TaskManagementResponseCode,
        now: Instant,
    ) -> Result<(), LostReason> {
        tmf::answered(self, response, now)
    }
}

/// The next tag for `index`: the generation in the upper bits, the index in the lower `bits`, never the reserved value.
const fn tag(generation: &mut u32, index: u32, bits: u32) -> InitiatorTaskTag {
    *generation = generation.wrapping_add(1);
    let mut itt = *generation << bits | index;
    if itt == InitiatorTaskTag::RESERVED.0 {
        *generation = generation.wrapping_add(1);
        itt = *generation << bits | index;
    }
    InitiatorTaskTag(itt)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7143 section 11.2.1.8: 0xffffffff names no task.
    #[test]
    fn tags_go_around_without_the_reserved_one() {
        let (bits, last) = (4, 0xf);
        let mut generation = 0;
        assert_eq!(tag(&mut generation, 3, bits), InitiatorTaskTag(0x13));
        assert_eq!(tag(&mut generation, 3, bits), InitiatorTaskTag(0x23));
        generation = 0x0fff_fffd;
        assert_eq!(tag(&mut generation, last, bits), InitiatorTaskTag(0xffff_ffef));
        assert_eq!(tag(&mut generation, last, bits), InitiatorTaskTag(0x0f));
        assert_eq!(tag(&mut generation, last, bits), InitiatorTaskTag(0x1f));
        generation = 0x0fff_fffe;
        assert_eq!(tag(&mut generation, 3, bits), InitiatorTaskTag(0xffff_fff3));
    }
}
