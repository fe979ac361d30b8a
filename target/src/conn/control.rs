//! Everything that is neither login nor tasks: answers that wait to be sent, keep-alive, timers, asynchronous messages.

use core::time::Duration;

use iscsi_core::text::SessionType;
use iscsi_core::wire::{
    AsyncEvent, Bhs, LogoutReason, LogoutRequest, LogoutResponseCode, NopOut, NopOutKind,
    RejectReason, TaskManagementResponseCode, TransferTag,
};
use iscsi_core::{InitiatorTaskTag, Instant, Lun, TargetTransferTag};

use super::command::Arrival;
use super::pages::{AREA, Run};
use super::rx::{Place, Placement};
use super::task::Line;
use super::{EndReason, State, TargetConnection};
use crate::target::Target;

/// How long a finished connection waits for the initiator to close it.
pub(super) const CLOSING: Duration = Duration::from_secs(2);

/// The tag of our pings.
const PING: TargetTransferTag = TargetTransferTag(0xffff_fffe);

/// The longest ping data that are returned: what a page run holds at most while another one is being sent.
const ECHO: usize = AREA / 2;

/// An answer that waits to be sent, or something said unasked.
#[derive(Debug, Clone, Copy)]
pub(super) enum Control {
    /// The answer to a ping, with data in the bounce area.
    Echo {
        itt: InitiatorTaskTag,
        len: usize,
        run: Option<Run>,
    },
    /// Our own ping.
    Ping,
    /// Nothing but the counters.
    Update,
    TaskManagement {
        itt: InitiatorTaskTag,
        response: TaskManagementResponseCode,
    },
    Logout {
        itt: InitiatorTaskTag,
        response: LogoutResponseCode,
    },
    /// Text in the bounce area; more follows if there is a tag.
    Text {
        itt: InitiatorTaskTag,
        transfer: Option<TransferTag>,
        is_continued: bool,
        len: usize,
        run: Run,
    },
    Async(AsyncEvent),
    Reject {
        reason: RejectReason,
        header: Bhs,
    },
}

impl Control {
    /// A ping of ours.
    pub(super) const fn ping_tag() -> TransferTag {
        TransferTag { lun: Lun::ZERO, target_transfer_tag: PING }
    }
}

#[derive(Debug)]
pub(super) struct Timers {
    pub(super) login: Option<Instant>,
    /// When something was heard last, in the full feature phase.
    pub(super) heard: Option<Instant>,
    /// When silence is broken by a ping, counted from `heard`.
    pub(super) interval: Option<Duration>,
    /// A ping is to be sent. It needs no room among the answers: whoever does not read them is to be noticed, too.
    pub(super) pings: bool,
    /// When the answer to a ping must be there.
    pub(super) ping: Option<Instant>,
    /// When task management stops waiting for data.
    pub(super) waiting: Option<Instant>,
    pub(super) closing: Option<Instant>,
}

impl Timers {
    pub(super) const NONE: Self = Self {
        login: None,
        heard: None,
        interval: None,
        pings: false,
        ping: None,
        waiting: None,
        closing: None,
    };

    fn idle(&self) -> Option<Instant> {
        match (self.ping, self.heard, self.interval) {
            (None, Some(heard), Some(interval)) => Some(heard + interval),
            _ => None,
        }
    }
}

/// The earlier of two, if there is any.
const fn earlier(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    match (one, other) {
        (Some(a), Some(b)) => Some(if a.as_micros() < b.as_micros() { a } else { b }),
        (Some(_), None) => one,
        (None, _) => other,
    }
}

/// Time.
impl TargetConnection {
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let timers = &self.core.timers;
        let delayed = self.tasks.front(Line::Delayed).and_then(|index| self.tasks[index].due);
        let first = earlier(earlier(timers.login, timers.idle()), timers.ping);
        earlier(earlier(first, timers.waiting), earlier(timers.closing, delayed))
    }

    /// Bytes came: the next ping is a whole interval away.
    #[inline]
    pub(super) const fn heard(&mut self, now: Instant) {
        if matches!(self.core.state, State::FullFeature) {
            self.core.timers.heard = Some(now);
        }
    }

    pub(super) fn start_idle_timer(&mut self, target: &Target<'_>, now: Instant) {
        let config = target.config;
        self.core.timers = Timers {
            heard: Some(now),
            interval: match self.core.session_type {
                SessionType::Normal => config.nop_interval,
                SessionType::Discovery => Some(config.discovery_timeout),
            },
            ..Timers::NONE
        };
    }

    /// Time passed, or [`Target::changes`] moved: acts on what is due. Calls without need do nothing.
    pub fn handle_timeout(&mut self, target: &mut Target<'_>, now: Instant) {
        self.sync(target);
        let due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        let timers = &self.core.timers;
        if due(timers.login) || due(timers.ping) {
            self.close(EndReason::TimedOut, target);
            return;
        }
        if due(timers.closing) {
            self.close(EndReason::Disconnected, target);
            return;
        }
        if due(timers.waiting) {
            self.stop_waiting(target, now);
        }
        if due(self.core.timers.idle()) {
            match self.core.session_type {
                SessionType::Normal => self.ping(target, now),
                // A discovery session knows no pings (RFC 7143 section 4.3).
                SessionType::Discovery => {
                    self.core.timers.interval = None;
                    self.finish(EndReason::TimedOut, target, now);
                }
            }
        }
        while let Some(index) = self.tasks.front(Line::Delayed) {
            if !due(self.tasks[index].due) {
                break;
            }
            self.tasks.pop(Line::Delayed);
            self.tasks[index].due = None;
            self.tasks.push(Line::Ready, index);
        }
    }

    /// Sends a NOP-In ping now; without an answer in the configured time the connection is dropped. Does nothing while one is
    /// under way or outside of the full feature phase.
    pub fn ping(&mut self, target: &Target<'_>, now: Instant) {
        let core = &mut self.core;
        if core.state == State::FullFeature && core.timers.ping.is_none() {
            core.timers.pings = true;
            core.timers.ping = Some(now + target.config.nop_timeout);
        }
    }
}

/// Asynchronous messages (RFC 7143 section 11.9).
impl TargetConnection {
    /// Tells the initiator something unasked: that it shall log out, that the target is about to drop the connection or
    /// the session.
    /// Whether it was possible: only in the full feature phase, and not while too many answers wait to be sent.
    pub fn send_async(&mut self, event: AsyncEvent) -> bool {
        self.core.state == State::FullFeature
            && self.core.control.push_back(Control::Async(event)).is_ok()
    }

    /// Announces the end of the connection with an asynchronous message, sends what is waiting, and ends it.
    pub fn drop_announced(&mut self, target: &mut Target<'_>, now: Instant) {
        let negotiated = &self.core.negotiated;
        let event = AsyncEvent::ConnectionDropped {
            cid: self.core.cid,
            time2wait: negotiated.default_time2wait,
            time2retain: negotiated.default_time2retain,
        };
        if self.send_async(event) {
            self.finish(EndReason::Dropped, target, now);
        } else {
            self.close(EndReason::Dropped, target);
        }
    }
}

impl TargetConnection {
    /// A NOP-Out with data to be returned: they need pages. `None` if there are none now.
    pub(super) fn begin_nop_out(&mut self, nop: &NopOut) -> Option<Placement> {
        let len = (nop.data_segment_length as usize).min(self.core.max_send as usize).min(ECHO);
        if !matches!(nop.kind, NopOutKind::Ping { .. }) || len == 0 {
            return Some(Placement::NOWHERE);
        }
        let run = self.core.bounce_pages.take(len)?;
        self.core.echo = Some((run, len));
        let place = Place::Bounce { at: run.at() as u32 };
        Some(Placement { place, room: len as u32, task: None })
    }

    pub(super) fn nop_out(&mut self, nop: &NopOut, target: &mut Target<'_>, now: Instant) {
        let echo = self.core.echo.take();
        let give_back = |core: &mut super::ConnCore| {
            if let Some((run, _)) = echo {
                core.bounce_pages.give(run);
            }
        };
        match nop.kind {
            NopOutKind::Ping { immediate, initiator_task_tag: itt } => {
                if self.core.session_type == SessionType::Discovery {
                    give_back(&mut self.core);
                    self.reject(RejectReason::ProtocolError, target, now);
                    return;
                }
                let arrival = self.arrive(immediate, nop.cmd_sn);
                if arrival == Arrival::Ignored {
                    give_back(&mut self.core);
                    return;
                }
                self.answered(arrival);
                let (run, len) = echo.map_or((None, 0), |(run, len)| (Some(run), len));
                // A PDU is only taken while there is room for its answer.
                let _ = self.core.control.push_back(Control::Echo { itt, len, run });
                self.release_held(target, now);
            }
            NopOutKind::PingResponse(transfer) if transfer.target_transfer_tag == PING => {
                self.core.timers.ping = None;
            }
            NopOutKind::PingResponse(_) => self.reject(RejectReason::ProtocolError, target, now),
            _ => {}
        }
    }

    pub(super) fn logout(
        &mut self,
        request: &LogoutRequest,
        target: &mut Target<'_>,
        now: Instant,
    ) {
        let discovery = self.core.session_type == SessionType::Discovery;
        if discovery && request.reason != LogoutReason::CloseSession {
            self.reject(RejectReason::ProtocolError, target, now);
            return;
        }
        let arrival = self.arrive(request.immediate, request.cmd_sn);
        if arrival == Arrival::Ignored {
            return;
        }
        self.answered(arrival);
        let response = match request.reason {
            LogoutReason::CloseSession => LogoutResponseCode::Success,
            LogoutReason::RemoveConnectionForRecovery { .. } => {
                LogoutResponseCode::RecoveryNotSupported
            }
            LogoutReason::CloseConnection { cid } if cid == self.core.cid => {
                LogoutResponseCode::Success
            }
            LogoutReason::CloseConnection { .. } => LogoutResponseCode::CidNotFound,
        };
        let itt = request.initiator_task_tag;
        let _ = self.core.control.push_back(Control::Logout { itt, response });
        if response == LogoutResponseCode::Success {
            self.finish(EndReason::Logout, target, now);
        }
    }
}
