//! Session recovery (RFC 7143 sections 6.3.5, 7.1.4.4 and 7.5): what is kept over the loss of a connection, when the next one is made, and
//! what has to be known before commands are issued again.
//!
//! ```text
//! LoggedIn --loss--> Waiting --time--> Connecting --> LoggingIn --> Verifying --verified--> LoggedIn
//!                       ^                  |              |             |
//!                       +----- loss -------+--------------+-------------+
//! ```
//!
//! Over a new connection one command is sent alone; the others follow when it has been answered, or has taken a second. So a connection that lives just
//! long enough for one command makes progress, and a command that takes every connection down is given up without harm to the others.
//!
//! Task deadlines stand still from the loss until the session is logged in again; meanwhile the policy's time counts.

use core::time::Duration;

use super::submit::fill;
use super::task::{Command, TaskEnd, TaskState};
use super::{List, Session, SessionState, list, tag};
use crate::auth::Entropy;
use crate::config::Retry;
use crate::error::{LostReason, ProtocolError, SubmitError, Timer};
use crate::login::LoginError;
use crate::text::SessionType;
use crate::time::earliest;
use crate::wire::{LoginStatus, LoginStatusClass};
use crate::{Instant, Lun, OnLoss, TaskId};

/// How long one command may keep the others back over a new connection: a slow one is no reason to wait for their deadlines.
const ALONE: Duration = Duration::from_secs(1);

/// What became of the devices while the session was away, for [`Session::verified`].
///
/// ```
/// use iscsi_core::{InlineSession, Instant, SubmitError, Verdict};
/// let mut session = InlineSession::<1>::new();
/// // Nobody asked.
/// assert_eq!(session.verified(Verdict::Same, Instant::ZERO), Err(SubmitError::WrongState));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// They are the same as before: what was kept is issued again.
    Same,
    /// At this logical unit is another device: what was kept for it ends with [`LostReason::DeviceChanged`].
    Changed(Lun),
}

/// How a recovery stands, from [`Session::recovery`].
///
/// ```
/// use iscsi_core::InlineSession;
/// assert_eq!(InlineSession::<1>::new().recovery(), None);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecoveryStatus {
    /// When the connection was lost.
    pub since: Instant,
    /// Why it was lost.
    pub first: LostReason,
    /// Why the last attempt failed; the same as `first` before the first attempt.
    pub last: LostReason,
    /// Attempts to connect that were begun.
    pub attempts: u32,
    /// When the next attempt begins, while the session waits for it.
    pub next_attempt: Option<Instant>,
    /// When the session gives up; `None` if it never does.
    pub gives_up: Option<Instant>,
}

/// What a session counted since it was made.
///
/// ```
/// assert_eq!(iscsi_core::InlineSession::<1>::new().counters().connections_lost, 0);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct SessionCounters {
    /// Logins that reached the full feature phase.
    pub logins: u64,
    /// Connections of a logged-in session that were lost.
    pub connections_lost: u64,
    /// Attempts to connect after a loss.
    pub attempts: u64,
    /// Commands that were put in line again after a loss.
    pub reissued: u64,
    /// Tasks that the target answered.
    pub tasks_done: u64,
    /// Tasks that ended without an answer.
    pub tasks_lost: u64,
}

impl SessionCounters {
    pub(super) const ZERO: Self = Self {
        logins: 0,
        connections_lost: 0,
        attempts: 0,
        reissued: 0,
        tasks_done: 0,
        tasks_lost: 0,
    };
}

/// A loss that no useful connection has followed yet.
#[derive(Debug, Clone, Copy)]
struct Loss {
    since: Instant,
    first: LostReason,
    last: LostReason,
    attempts: u32,
}

/// How long the connection has been in use.
#[derive(Debug, Clone, Copy)]
struct InUse {
    since: Instant,
    /// When the target last answered a ping.
    answered: Instant,
}

/// What a session knows of its losses.
#[derive(Debug)]
pub(crate) struct Recovering {
    /// The session was logged in since it was opened: there is something to come back to.
    established: bool,
    loss: Option<Loss>,
    /// The connection has reached the full feature phase.
    logged_in: bool,
    in_use: Option<InUse>,
    /// Until then one command is sent at a time, unless one is answered before.
    alone: Option<Instant>,
    /// The target's time: no attempt before that.
    not_before: Instant,
    next_attempt: Option<Instant>,
    /// Time2Wait as announced by an asynchronous message.
    announced: Option<Duration>,
    /// For the jitter, from the entropy of the last connection.
    random: u32,
    verify: Option<Instant>,
    /// Verdicts that are still to come.
    claims: u16,
    pub(super) need_verify: bool,
    lost: Option<LostReason>,
    missed: u32,
    counters: SessionCounters,
}

impl Recovering {
    pub(super) const IDLE: Self = Self {
        established: false,
        loss: None,
        logged_in: false,
        in_use: None,
        alone: None,
        not_before: Instant::ZERO,
        next_attempt: None,
        announced: None,
        random: 1,
        verify: None,
        claims: 0,
        need_verify: false,
        lost: None,
        missed: 0,
        counters: SessionCounters::ZERO,
    };

    /// The session was opened by the application: no history.
    pub(super) const fn forget(&mut self) {
        self.established = false;
        self.loss = None;
        self.logged_in = false;
        self.in_use = None;
        self.alone = None;
        self.next_attempt = None;
        self.announced = None;
        self.verify = None;
        self.need_verify = false;
    }

    /// The session failed or was closed: it does not come back by itself. What is known of the last recovery stays for whoever asks.
    pub(super) const fn end(&mut self) {
        self.established = false;
        self.logged_in = false;
        self.in_use = None;
        self.alone = None;
        self.next_attempt = None;
        self.announced = None;
    }

    pub(super) fn connected(&mut self, entropy: &Entropy) {
        self.random = entropy.jitter();
    }

    /// The connection was made after a loss a moment ago, and has not completed a task yet.
    #[inline]
    pub(super) const fn is_unproven(&self) -> bool {
        self.alone.is_some()
    }

    /// The connection has proved useful: the next loss is a new one.
    pub(super) const fn prove(&mut self) {
        self.loss = None;
        self.alone = None;
    }

    /// The target answered a ping.
    pub(crate) const fn answered(&mut self, now: Instant) {
        if let Some(in_use) = &mut self.in_use {
            in_use.answered = now;
        }
    }

    /// A task of the application ended.
    #[inline]
    pub(super) const fn task_ended(&mut self, end: &TaskEnd) {
        match end {
            TaskEnd::Done(_) => {
                self.counters.tasks_done += 1;
                self.prove();
            }
            TaskEnd::Lost(_) => self.counters.tasks_lost += 1,
        }
    }

    pub(super) const fn take_lost(&mut self) -> Option<(LostReason, u32)> {
        let Some(reason) = self.lost.take() else { return None };
        let missed = self.missed;
        self.missed = 0;
        Some((reason, missed))
    }

    /// A time between one half of `delay` and all of it.
    fn jittered(&mut self, delay: Duration) -> Duration {
        // Xorshift: enough to keep initiators apart.
        let mut x = self.random | 1;
        x ^= x << 13;
        x ^= x >> 17;
        x ^= x << 5;
        self.random = x;
        let half = delay / 2;
        let part = half.as_micros().saturating_mul(u128::from(x)) >> 32;
        half + Duration::from_micros(u64::try_from(part).unwrap_or(u64::MAX))
    }
}

/// What the application sees and asks.
impl Session {
    /// How a recovery stands: from the loss of the connection until a task has been completed over a new one, or the session was opened anew.
    pub fn recovery(&self) -> Option<RecoveryStatus> {
        let recovering = &self.core.recovering;
        recovering.loss.map(|loss| RecoveryStatus {
            since: loss.since,
            first: loss.first,
            last: loss.last,
            attempts: loss.attempts,
            next_attempt: recovering.next_attempt,
            gives_up: self.gives_up(),
        })
    }

    /// What was counted since the session was made.
    pub const fn counters(&self) -> SessionCounters {
        self.core.recovering.counters
    }

    /// Attempts to connect at once instead of waiting for the end of a delay, for example because the network is back. The time that the target
    /// asked for is waited for all the same.
    ///
    /// # Errors
    /// [`SubmitError::WrongState`] unless the session waits.
    pub fn retry_now(&mut self, now: Instant) -> Result<(), SubmitError> {
        if !matches!(self.core.state, SessionState::Waiting(_)) {
            return Err(SubmitError::WrongState);
        }
        self.core.recovering.next_attempt = Some(self.core.recovering.not_before);
        self.attempt_due(now);
        Ok(())
    }

    /// Drops the connection and makes a new one, whatever the policy says: tasks are kept or end as after any other loss.
    ///
    /// If an attempt to connect is under way already nothing changes; a delay is cut short as by [`retry_now`](Self::retry_now).
    ///
    /// # Errors
    /// [`SubmitError::NotOpen`] if there is no session to keep: open it; [`SubmitError::LoggingOut`] after [`logout`](Self::logout),
    /// [`SubmitError::DiscoverySession`] in a discovery session.
    pub fn force_reconnect(&mut self, now: Instant) -> Result<(), SubmitError> {
        match self.core.state {
            SessionState::Idle | SessionState::Closed | SessionState::Failed(_) => {
                Err(SubmitError::NotOpen)
            }
            _ if self.core.config.session_type() == SessionType::Discovery => {
                Err(SubmitError::DiscoverySession)
            }
            SessionState::LoggingOut if !self.leaves_by_request() => Err(SubmitError::LoggingOut),
            SessionState::Waiting(_) => self.retry_now(now),
            SessionState::Connecting | SessionState::LoggingIn => Ok(()),
            SessionState::LoggedIn | SessionState::LoggingOut | SessionState::Verifying => {
                self.core.disconnect_wanted = true;
                self.connection_lost(LostReason::Reconnect, now);
                Ok(())
            }
        }
    }

    /// Queues a command that verifies a device, in a slot of its own: there are two, whatever the application's table holds. Allowed in state
    /// [`SessionState::Verifying`], in which nothing else is sent.
    ///
    /// # Errors
    /// [`SubmitError::WrongState`] in other states, [`SubmitError::NoFreeTask`] if both slots are in use, [`SubmitError::CdbLength`].
    pub fn submit_verification(
        &mut self,
        command: &Command<'_>,
        now: Instant,
    ) -> Result<TaskId, SubmitError> {
        if self.core.state != SessionState::Verifying {
            return Err(SubmitError::WrongState);
        }
        let first = self.slots.capacity() as u16;
        let index = (first..first + list::RESERVED_SLOTS as u16)
            .find(|&index| self.slots[index].state == TaskState::Free)
            .ok_or(SubmitError::NoFreeTask)?;
        let bits = self.core.tag_bits;
        let slot = &mut self.slots[index];
        fill(slot, command)?;
        // What it verifies is the device at this connection.
        slot.on_loss = OnLoss::Report;
        slot.itt = tag(&mut slot.tag_generation, u32::from(index), bits);
        self.core.queue.push_front(&mut self.slots, index);
        let timeout = command.timeout.or_else(|| self.core.config.timeouts().command);
        if let Some(timeout) = timeout {
            self.core.deadlines.insert(&mut self.slots, index, now + timeout);
        }
        Ok(self.slots.id(index))
    }

    /// Announces that one more party will call [`verified`](Self::verified): whoever verifies one of several devices claims its part, and the
    /// session goes on after the last verdict.
    ///
    /// # Errors
    /// [`SubmitError::WrongState`] unless the session is [verifying](SessionState::Verifying).
    pub fn claim_verification(&mut self) -> Result<(), SubmitError> {
        if self.core.state != SessionState::Verifying {
            return Err(SubmitError::WrongState);
        }
        self.core.recovering.claims = self.core.recovering.claims.saturating_add(1);
        Ok(())
    }

    /// Answers [`Event::NeedVerify`](crate::Event::NeedVerify). With the last verdict the session is logged in again and issues what it kept.
    ///
    /// # Errors
    /// [`SubmitError::WrongState`] unless the session is [verifying](SessionState::Verifying).
    pub fn verified(&mut self, verdict: Verdict, now: Instant) -> Result<(), SubmitError> {
        if self.core.state != SessionState::Verifying {
            return Err(SubmitError::WrongState);
        }
        if let Verdict::Changed(lun) = verdict {
            self.end_queued(LostReason::DeviceChanged, Some(lun));
        }
        self.core.recovering.claims = self.core.recovering.claims.saturating_sub(1);
        if self.core.recovering.claims == 0 {
            self.resume(now);
        }
        Ok(())
    }
}

/// What the rest of the session asks.
impl Session {
    /// The connection is lost and not made again yet: deadlines of tasks stand still.
    pub(super) fn is_recovering(&self) -> bool {
        self.core.recovering.loss.is_some()
            && matches!(
                self.core.state,
                SessionState::Waiting(_)
                    | SessionState::Connecting
                    | SessionState::LoggingIn
                    | SessionState::Verifying
            )
    }

    /// The target asked for the logout, and the session comes back after it.
    pub(super) fn leaves_by_request(&self) -> bool {
        self.core.logout.is_some_and(|logout| !logout.asked)
            && self.core.recovering.established
            && self.core.config.recovery().retry != Retry::Never
    }

    /// Time2Wait of the target's announcement (RFC 7143 section 11.9.1), instead of DefaultTime2Wait.
    pub(crate) const fn announce_wait(&mut self, seconds: u16) {
        self.core.recovering.announced = Some(Duration::from_secs(seconds as u64));
    }

    /// Whether the session comes back after this loss. Takes note of the loss if it does.
    pub(super) fn recovers_from(
        &mut self,
        reason: LostReason,
        now: Instant,
    ) -> Result<(), LostReason> {
        let policy = *self.core.config.recovery();
        let waits = self.core.live > 0 || self.core.queue.front().is_some();
        let recovering = &mut self.core.recovering;
        // A target that lets commands wait and answers nothing else either is of no use for as long as it takes to find that out.
        let until = |in_use: InUse| if waits { in_use.answered } else { now };
        let stood = recovering.in_use.take().map(|it| until(it).saturating_since(it.since));
        // A policy that lasts shorter than the longest delay calls a connection useful that stood for as long.
        let enough = match policy.retry {
            Retry::For(time) => policy.longest_delay.min(time),
            Retry::Never | Retry::Forever => policy.longest_delay,
        };
        if stood.is_some_and(|time| time >= enough) || reason == LostReason::Reconnect {
            recovering.loss = None;
        }
        recovering.alone = None;
        if core::mem::take(&mut recovering.logged_in) {
            recovering.counters.connections_lost += 1;
            let default = Duration::from_secs(self.core.negotiated.default_time2wait.into());
            recovering.not_before = now + recovering.announced.take().unwrap_or(default);
        }
        let may_retry = policy.retry != Retry::Never || reason == LostReason::Reconnect;
        if !recovering.established || is_final(reason) || !may_retry {
            return Err(reason);
        }
        let loss = Loss { since: now, first: reason, last: reason, attempts: 0 };
        recovering.loss.get_or_insert(loss).last = reason;
        match self.gives_up() {
            // The last attempt has failed just when the time was over.
            Some(at) if at <= now => Err(LostReason::TimedOut(Timer::Recovery)),
            _ => Ok(()),
        }
    }

    fn gives_up(&self) -> Option<Instant> {
        match (self.core.recovering.loss, self.core.config.recovery().retry) {
            (Some(loss), Retry::For(time)) => Some(loss.since + time),
            _ => None,
        }
    }

    /// Waits for the next attempt, or begins it.
    pub(super) fn wait_for_attempt(&mut self, reason: LostReason, now: Instant) {
        let policy = *self.core.config.recovery();
        let recovering = &mut self.core.recovering;
        let attempt = recovering.loss.map_or(1, |loss| loss.attempts.saturating_add(1));
        let delay = recovering.jittered(policy.delay(attempt));
        recovering.next_attempt = Some(recovering.not_before.max(now + delay));
        if recovering.lost.replace(reason).is_some() {
            recovering.missed = recovering.missed.saturating_add(1);
        }
        self.set_state(SessionState::Waiting(reason));
        self.attempt_due(now);
    }

    /// Begins the next attempt if it is time.
    pub(super) fn attempt_due(&mut self, now: Instant) {
        let recovering = &mut self.core.recovering;
        if recovering.next_attempt.is_none_or(|at| at > now) {
            return;
        }
        recovering.next_attempt = None;
        recovering.counters.attempts += 1;
        if let Some(loss) = &mut recovering.loss {
            loss.attempts = loss.attempts.saturating_add(1);
        }
        self.connect(now);
    }

    /// When something about the recovery is due.
    pub(super) fn recovery_deadline(&self) -> Option<Instant> {
        if !self.is_recovering() {
            return self.core.recovering.alone;
        }
        let Recovering { next_attempt, verify, .. } = self.core.recovering;
        earliest([next_attempt, verify, self.gives_up()])
    }

    /// Acts on what is due, and returns the timer for which the connection, or the whole recovery, has to end.
    pub(super) fn expire_recovery(&mut self, now: Instant) -> Option<Timer> {
        self.core.recovering.alone = self.core.recovering.alone.filter(|at| *at > now);
        if !self.is_recovering() {
            return None;
        }
        if self.gives_up().is_some_and(|at| at <= now) {
            return Some(Timer::Recovery);
        }
        if self.core.recovering.verify.is_some_and(|at| at <= now) {
            return Some(Timer::Verify);
        }
        self.attempt_due(now);
        None
    }

    /// The login is through: the first one, or one more.
    pub(super) fn established(&mut self, now: Instant) {
        let config = &self.core.config;
        let recovering = &mut self.core.recovering;
        recovering.counters.logins += 1;
        if config.session_type() == SessionType::Discovery {
            self.set_state(SessionState::LoggedIn);
            return;
        }
        recovering.established = true;
        recovering.logged_in = true;
        if recovering.loss.is_some() && config.recovery().verify {
            recovering.claims = 0;
            recovering.need_verify = true;
            recovering.verify = Some(now + config.timeouts().verify);
            self.set_state(SessionState::Verifying);
        } else {
            self.resume(now);
        }
    }

    /// Everything may be sent; the clocks of the tasks run.
    fn resume(&mut self, now: Instant) {
        self.end_verification();
        self.core.recovering.in_use = Some(InUse { since: now, answered: now });
        self.core.recovering.alone = self.core.recovering.loss.map(|_| now + ALONE);
        let mut at = self.core.queue.front();
        while let Some(index) = at {
            if let (None, Some(timeout)) = (self.slots[index].deadline, self.slots[index].timeout) {
                self.core.deadlines.insert(&mut self.slots, index, now + timeout);
            }
            at = List::after(&self.slots, index);
        }
        self.set_state(SessionState::LoggedIn);
    }

    /// The session does not verify any more.
    pub(super) const fn end_verification(&mut self) {
        self.core.recovering.verify = None;
        self.core.recovering.need_verify = false;
    }

    /// Decides about every task at the loss of a connection. Those that stay are put in line in the order in which they were sent, before
    /// what was not sent yet.
    pub(super) fn sort_tasks(&mut self, reason: LostReason, recovers: bool) {
        let mut unsent = core::mem::replace(&mut self.core.queue, List::EMPTY);
        self.core.owing = List::EMPTY;
        let mut again = List::EMPTY;
        for index in self.slots.indices() {
            let slot = &mut self.slots[index];
            slot.owes_data = false;
            slot.frozen = 0;
            match self.slots[index].state {
                TaskState::Queued if recovers && usize::from(index) < self.slots.capacity() => {
                    self.core.deadlines.remove(&mut self.slots, index);
                }
                TaskState::Queued => {
                    unsent.remove(&mut self.slots, index);
                    self.finish(index, TaskEnd::Lost(reason));
                }
                TaskState::Active if recovers && self.may_reissue(index, reason) => {
                    self.rearm(index);
                    again.push_back(&mut self.slots, index);
                }
                TaskState::Active => self.finish(index, TaskEnd::Lost(reason)),
                // A command that the line had spoilt is aborted for its number only; as far as anybody knows it can be carried out.
                TaskState::Aborting
                    if recovers && self.was_spoilt(index) && self.may_reissue(index, reason) =>
                {
                    self.rearm(index);
                    again.push_back(&mut self.slots, index);
                }
                TaskState::Aborting => {
                    let reason = self.slots[index].abort_reason;
                    self.finish(index, TaskEnd::Lost(reason));
                }
                TaskState::Draining => {
                    self.slots[index].state = TaskState::Ended;
                    self.core.ended.push_back(&mut self.slots, index);
                }
                TaskState::Free | TaskState::Ended => {}
            }
        }
        again.sort(&mut self.slots);
        again.append(&mut self.slots, unsent);
        self.core.queue = again;
        self.core.live = 0;
        self.core.data_in_due = 0;
    }

    /// The target has rejected a command that may be sent once more (RFC 7143 section 11.17.1).
    fn was_spoilt(&self, index: u16) -> bool {
        let reason = self.slots[index].abort_reason;
        matches!(reason, LostReason::Rejected(reason) if reason.may_resend())
    }

    fn may_reissue(&self, index: u16, reason: LostReason) -> bool {
        let slot = &self.slots[index];
        slot.on_loss == OnLoss::Reissue
            && !slot.revoked
            && slot.reissues < self.core.config.recovery().reissues
            // Memory that was not lent will not be lent next time either.
            && reason != LostReason::NoBuffer
    }

    /// Makes a task that was sent one that was not, under a new tag.
    fn rearm(&mut self, index: u16) {
        self.core.deadlines.remove(&mut self.slots, index);
        self.core.recovering.counters.reissued += 1;
        let bits = self.core.tag_bits;
        let slot = &mut self.slots[index];
        slot.rewind();
        slot.reissues += 1;
        slot.state = TaskState::Queued;
        slot.itt = tag(&mut slot.tag_generation, u32::from(index), bits);
    }

    /// Ends tasks that wait to be sent, of one logical unit or of all; verification commands go on.
    pub(super) fn end_queued(&mut self, reason: LostReason, lun: Option<Lun>) {
        let mut at = self.core.queue.front();
        while let Some(index) = at {
            at = List::after(&self.slots, index);
            let concerned = lun.is_none_or(|lun| lun == self.slots[index].lun);
            if concerned && usize::from(index) < self.slots.capacity() {
                self.core.queue.remove(&mut self.slots, index);
                self.finish(index, TaskEnd::Lost(reason));
            }
        }
    }
}

/// Trying again would not help, or must not be done (RFC 7143 section 11.13.5).
///
/// A target that is being started knows its names a little later than its port: "not found" is worth another try for a session that was
/// logged in before.
fn is_final(reason: LostReason) -> bool {
    match reason {
        LostReason::LoginRefused(status) => {
            status.kind() == LoginStatusClass::InitiatorError && status != LoginStatus::NOT_FOUND
        }
        LostReason::Protocol(ProtocolError::Login(LoginError::Auth(_))) => true,
        LostReason::TimedOut(Timer::Recovery) | LostReason::LoggedOut => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The numbers that Marsaglia's xorshift with 13, 17 and 5 gives after 1.
    #[test]
    fn jitter_comes_from_a_generator_that_is_known() {
        let mut recovering = Recovering::IDLE;
        for expected in [270_369, 67_634_689, 2_647_435_461, 307_599_695] {
            recovering.jittered(ALONE);
            assert_eq!(recovering.random, expected);
        }
    }

    #[test]
    fn jitter_takes_off_up_to_one_half() {
        let mut recovering = Recovering::IDLE;
        let second = Duration::from_secs(1);
        let mut seen = [false; 4];
        for _ in 0..200 {
            let delay = recovering.jittered(second);
            assert!(delay >= second / 2 && delay <= second, "{delay:?}");
            seen[((delay - second / 2).as_millis() as usize / 125).min(3)] = true;
        }
        assert_eq!(seen, [true; 4], "all parts of the range are used");
        assert_eq!(recovering.jittered(Duration::ZERO), Duration::ZERO);
    }
}
