//! A session that comes back by itself: what the policy allows, and who verifies the devices.

use core::time::Duration;
use std::collections::BTreeSet;

use iscsi_core::config::{Recovery, Retry};
use iscsi_core::testing::Rng;
use iscsi_core::{Instant, LostReason, RecoveryStatus, SessionState};

use crate::Finding;
use crate::setup::pick;

/// What the next verification will be like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Plan {
    /// A verdict at this time, without a look at the devices.
    Answer(Instant),
    /// So many commands to look at the devices, from this time on.
    Look(Instant, u32),
}

/// What is known of the losses of a session, and of what may follow them.
#[derive(Debug)]
pub(crate) struct Comeback {
    pub(crate) policy: Recovery,
    /// No attempt before that.
    not_before: Instant,
    /// When the connection, or the last attempt, was lost.
    failed: Instant,
    /// The application does not want to wait for the end of the delay.
    pub(crate) hurried: bool,
    pub(crate) plan: Option<Plan>,
    /// Verification commands under way.
    pub(crate) looking: BTreeSet<u64>,
    losses: u64,
    /// What the session told last.
    pub(crate) stage: Option<SessionState>,
    /// The session has failed or was logged out: tasks end with it.
    pub(crate) given_up: bool,
}

impl Comeback {
    pub(crate) const fn new(policy: Recovery) -> Self {
        Self {
            policy,
            not_before: Instant::ZERO,
            failed: Instant::ZERO,
            hurried: false,
            plan: None,
            looking: BTreeSet::new(),
            losses: 0,
            stage: None,
            given_up: false,
        }
    }

    /// The connection, or an attempt, was lost; `losses` counts logged-in connections, and `time2wait` was agreed on the last one.
    pub(crate) fn lost(&mut self, losses: u64, time2wait: u16, now: Instant) {
        self.failed = now;
        self.plan = None;
        if losses > self.losses {
            self.losses = losses;
            self.not_before = now + Duration::from_secs(time2wait.into());
        }
    }

    /// The session wants to connect again: it must have waited as long as target and policy want.
    pub(crate) fn attempt(&mut self, status: &RecoveryStatus, now: Instant) -> Result<(), Finding> {
        if now < self.not_before {
            return Err(format!("an attempt before Time2Wait is over: {status:?}"));
        }
        let doublings = status.attempts.saturating_sub(2).min(20);
        let Recovery { first_delay, longest_delay, .. } = self.policy;
        let delay = first_delay.saturating_mul(1 << doublings).min(longest_delay);
        let waited = now.saturating_since(self.failed);
        if status.attempts > 1 && !core::mem::take(&mut self.hurried) && waited < delay / 2 {
            return Err(format!(
                "attempt after {waited:?}, the policy wants {delay:?}: {status:?}"
            ));
        }
        self.hurried = false;
        match status.gives_up {
            Some(at) if at <= now => Err(format!("an attempt after the policy's time: {status:?}")),
            _ => Ok(()),
        }
    }

    /// The session asks for a verification. Where everything shall be calm the answer comes at once.
    pub(crate) fn need_verify(&mut self, calm: bool, rng: &mut Rng, now: Instant) {
        let wait = if calm { 0 } else { pick(rng, &[0, 0, 10, 800, 4_000, 9_000]) };
        let at = now + Duration::from_millis(wait);
        self.plan = Some(match rng.below(3) {
            0 => Plan::Answer(at),
            _ => Plan::Look(at, 1 + rng.below(5) as u32),
        });
    }

    /// When the application does something about the verification.
    pub(crate) const fn next(&self) -> Option<Instant> {
        match self.plan {
            Some(Plan::Answer(at) | Plan::Look(at, _)) => Some(at),
            None => None,
        }
    }

    /// Whether a task that may be issued again, and that nobody aborted, may be lost for this reason after so many losses.
    pub(crate) fn allows(&self, reason: LostReason, losses: u64, damages: bool) -> bool {
        let over = match self.policy.retry {
            Retry::Never => true,
            _ => self.given_up,
        };
        // A command that did not arrive is noticed by its deadline, and what ends it may end others.
        let ended = matches!(reason, LostReason::TimedOut(_) | LostReason::TaskManagement);
        over || losses > u64::from(self.policy.reissues) || damages && ended
    }
}
