//! The life of a session: opened, logged in, redirected, logged out, lost.

use core::time::Duration;

use super::{CmdWindow, ControlTag, Session, SessionState};
use crate::auth::Entropy;
use crate::config::Config;
use crate::error::{LostReason, SubmitError, Timer};
use crate::portal::Portal;
use crate::text::Negotiated;
use crate::wire::{Isid, LogoutResponse, LogoutResponseCode};
use crate::{CmdSn, InitiatorTaskTag, Instant};

/// The logout of a session.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Logout {
    pub(crate) sent: bool,
    pub(crate) itt: InitiatorTaskTag,
    /// The application asked for it.
    pub(super) asked: bool,
    /// The target asked for it: no command is sent any more.
    pub(super) requested: bool,
    /// When the request goes out although tasks are running; `None` once that time has come.
    pub(super) grace: Option<Instant>,
    pub(super) deadline: Instant,
}

/// Opening, closing and what the runtime reports about connecting.
impl Session {
    /// Sets the configuration that the next login uses.
    ///
    /// # Errors
    /// [`SubmitError::WrongState`] while the session is open, [`SubmitError::Busy`] while commands wait that were submitted under another one.
    pub fn configure(&mut self, config: Config) -> Result<(), SubmitError> {
        self.require_not_open()?;
        if !self.core.queue.is_empty() {
            return Err(SubmitError::Busy);
        }
        // A drawn ISID stays, so that the next login replaces what the target still has of this session.
        if config.isid().is_some() || config.initiator_name() != self.core.config.initiator_name() {
            self.core.isid = config.isid();
        }
        self.core.config = config;
        Ok(())
    }

    pub(super) fn require_not_open(&self) -> Result<(), SubmitError> {
        match self.core.state {
            SessionState::Idle | SessionState::Closed | SessionState::Failed(_) => Ok(()),
            _ => Err(SubmitError::WrongState),
        }
    }

    /// Opens the session: the next [`Action`](crate::Action) asks the runtime to connect to `portal`.
    ///
    /// After a failure this is session reinstatement: the same ISID logs in again and the target drops what is left of the
    /// old session (RFC 7143 section 6.3.5).
    ///
    /// # Errors
    /// [`SubmitError::WrongState`] while the session is open.
    pub fn open(&mut self, portal: Portal, now: Instant) -> Result<(), SubmitError> {
        self.require_not_open()?;
        self.core.portal = Some(portal);
        self.core.redirect = None;
        self.core.redirects = 0;
        self.core.logout = None;
        self.core.logout_response = None;
        self.core.recovering.forget();
        self.connect(now);
        Ok(())
    }

    pub(super) fn connect(&mut self, now: Instant) {
        self.core.connect_wanted = true;
        self.core.connect = Some(now + self.core.config.timeouts().connect);
        self.set_state(SessionState::Connecting);
    }

    /// The runtime could not connect: name resolution, refusal, unreachable.
    pub fn connect_failed(&mut self, now: Instant) {
        if self.core.state == SessionState::Connecting {
            self.connection_lost(LostReason::ConnectFailed, now);
        }
    }

    /// Logs out: running tasks end first, but for no longer than half of the configured logout time; then the Logout Request goes out, and
    /// when all of that time has passed the connection is dropped. Before the login is through, and while the session waits for the next
    /// attempt, it closes at once. What was kept for the time after a recovery ends.
    ///
    /// # Errors
    /// [`SubmitError::LoggingOut`] if that is under way, [`SubmitError::NotOpen`] if there is nothing to log out.
    pub fn logout(&mut self, now: Instant) -> Result<(), SubmitError> {
        match self.core.state {
            SessionState::LoggedIn | SessionState::Verifying => {
                if self.core.state == SessionState::Verifying {
                    // It was not verified where they would go.
                    self.end_queued(LostReason::LoggedOut, None);
                    self.end_verification();
                }
                let all = self.core.config.timeouts().logout;
                self.begin_logout(true, all, now);
                Ok(())
            }
            SessionState::Connecting | SessionState::LoggingIn | SessionState::Waiting(_) => {
                self.core.disconnect_wanted = true;
                self.connection_lost(LostReason::LoggedOut, now);
                Ok(())
            }
            SessionState::LoggingOut => match &mut self.core.logout {
                Some(logout) if !logout.asked => {
                    // Under way already, because the target wants it; now it is for good.
                    logout.asked = true;
                    Ok(())
                }
                _ => Err(SubmitError::LoggingOut),
            },
            SessionState::Idle | SessionState::Closed | SessionState::Failed(_) => {
                Err(SubmitError::NotOpen)
            }
        }
    }

    /// The target wants us to log out within `seconds`: no more commands are sent (RFC 7143 section 11.9.1).
    pub(crate) fn logout_requested(&mut self, seconds: u16, now: Instant) {
        let all = Duration::from_secs(seconds.into()).min(self.core.config.timeouts().logout);
        match self.core.state {
            SessionState::LoggedIn | SessionState::Verifying => {
                self.end_verification();
                self.begin_logout(false, all, now);
            }
            SessionState::LoggingOut => {
                if let Some(logout) = &mut self.core.logout {
                    logout.requested = true;
                    logout.grace = logout.grace.map(|grace| grace.min(now + all / 2));
                }
            }
            _ => {}
        }
    }

    fn begin_logout(&mut self, asked: bool, all: Duration, now: Instant) {
        let itt = self.control_tag(ControlTag::Logout);
        self.core.logout_response = None;
        let grace = (!all.is_zero()).then_some(now + all / 2);
        // The answer needs a moment, however little time the target gave.
        let deadline = now + all.max(Duration::from_secs(1));
        self.core.logout =
            Some(Logout { sent: false, itt, asked, requested: !asked, grace, deadline });
        self.set_state(SessionState::LoggingOut);
    }

    pub(super) fn set_state(&mut self, state: SessionState) {
        if self.core.state != state {
            self.core.state = state;
            self.core.state_reported = false;
        }
    }
}

/// What the connection reports.
impl Session {
    pub(crate) fn login_started(&mut self, cmd_sn: CmdSn, entropy: &Entropy) {
        self.core.connect = None;
        self.core.connect_wanted = false;
        self.core.window = CmdWindow::new(cmd_sn);
        self.core.recovering.connected(entropy);
        self.set_state(SessionState::LoggingIn);
    }

    /// The session's ISID; drawn at the first connection if none was configured, and kept from then on, so that a later login
    /// replaces the old session at the target instead of adding one (RFC 7143 section 6.3.5).
    pub(crate) fn isid_or_draw(&mut self, entropy: &Entropy) -> Isid {
        *self.core.isid.get_or_insert_with(|| entropy.isid())
    }

    pub(crate) fn logged_in(&mut self, negotiated: Negotiated, tsih: u16, now: Instant) {
        self.core.negotiated = negotiated;
        self.core.tsih = tsih;
        self.core.redirects = 0;
        self.established(now);
    }

    /// The target sent us elsewhere; the old connection is closed first.
    pub(crate) fn redirected(&mut self, portal: Portal, permanent: bool, now: Instant) {
        self.core.disconnect_wanted = true;
        // A temporary hop before it makes the rest temporary.
        if permanent && (self.core.redirects == 0 || self.core.moved.is_some()) {
            self.core.moved = Some(portal.clone());
        }
        if self.core.redirects >= self.core.config.redirect_hops() {
            self.connection_lost(LostReason::RedirectFailed, now);
            return;
        }
        self.core.redirects += 1;
        self.core.redirect = Some(portal);
        self.connect(now);
    }

    /// The connection is gone, or never came to be. The session comes back if its policy and the reason allow it; else every task ends.
    pub(crate) fn connection_lost(&mut self, reason: LostReason, now: Instant) {
        if self.require_not_open().is_ok() {
            return;
        }
        let broken = matches!(reason, LostReason::Eof | LostReason::Transport);
        let by_agreement = reason == LostReason::LoggedOut || broken && self.logout_sent();
        let ours = self.core.logout.is_none_or(|logout| logout.asked);
        let reason = match (by_agreement, ours) {
            (true, true) => LostReason::LoggedOut,
            (true, false) => LostReason::LogoutRequested,
            (false, _) => reason,
        };
        // A session that is on its way out does not come back.
        let leaving = by_agreement && ours || self.core.logout.is_some_and(|logout| logout.asked);
        let recovers = !leaving && self.recovers_from(reason, now);
        // The last attempt failed when its time was over already: that ends the session, and the recovery tells why the attempt failed.
        let over = !(leaving || recovers || by_agreement) && self.has_given_up(reason, now);
        let reason = if over { LostReason::TimedOut(Timer::Recovery) } else { reason };
        self.core.connect = None;
        self.core.connect_wanted = false;
        self.core.aborts_wanted = false;
        self.core.tmf.connection_lost(reason);
        self.core.tsih = 0;
        self.core.logout = None;
        // A redirect held for one login (RFC 7143 section 11.13.5).
        self.core.redirect = None;
        self.core.redirects = 0;
        self.end_verification();
        self.sort_tasks(reason, recovers);
        if recovers {
            self.wait_for_attempt(reason, now);
        } else {
            self.core.recovering.end();
            self.set_state(if by_agreement {
                SessionState::Closed
            } else {
                SessionState::Failed(reason)
            });
        }
    }

    /// The logout was answered.
    pub(crate) fn logged_out(&mut self, response: &LogoutResponse, now: Instant) {
        self.core.logout_response = Some(*response);
        // In all other responses the times mean nothing at our ErrorRecoveryLevel.
        if matches!(
            response.response,
            LogoutResponseCode::RecoveryNotSupported | LogoutResponseCode::CleanupFailed
        ) {
            self.announce_wait(response.time2wait);
        }
        self.core.disconnect_wanted = true;
        self.connection_lost(LostReason::LoggedOut, now);
    }
}
