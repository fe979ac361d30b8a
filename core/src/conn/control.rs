//! Keep-alive: our pings and the echo of the target's (RFC 7143 sections 11.18 and 11.19).

use super::{Connection, ConnectionState};
use crate::error::{LostReason, ProtocolError};
use crate::session::{ControlTag, Session};
use crate::text::SessionType;
use crate::wire::{self, NopIn, NopInKind};
use crate::{InitiatorTaskTag, Instant};

/// The answer that a ping of the target waits for.
pub(super) type Echo = wire::TransferTag;

/// Our ping.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ping {
    Idle,
    Wanted,
    /// With its number in the ring until it has left.
    Sent {
        itt: InitiatorTaskTag,
        at: Option<u64>,
    },
}

impl Connection {
    /// Something arrived: the next ping is a whole interval away.
    #[inline]
    pub(super) fn heard(&mut self, session: &Session, now: Instant) {
        if self.may_ping(session) {
            self.core.timers.idle = session.config().timeouts().nop_interval.map(|i| now + i);
        }
    }

    /// The interval passed in silence.
    pub(super) fn idle_due(&mut self, session: &Session) {
        self.core.timers.idle = None;
        if self.may_ping(session) && !session.logout_sent() {
            self.core.ping = Ping::Wanted;
        }
    }

    /// A ping may begin. In a discovery session only text and logout are legal (RFC 7143 section 4.3).
    #[inline]
    fn may_ping(&self, session: &Session) -> bool {
        self.core.state == ConnectionState::FullFeature
            && self.core.ping == Ping::Idle
            && session.config().session_type() == SessionType::Normal
    }

    /// Sends a NOP-Out ping now; without an answer in the configured time the connection is dropped. Does nothing while one is
    /// under way, before the full feature phase, and in a discovery session, in which it is not legal (RFC 7143 section 4.3).
    pub fn ping(&mut self, session: &Session) {
        self.idle_due(session);
    }

    /// Whether a ping of ours is under way: wanted, or sent and not answered.
    pub fn is_pinging(&self) -> bool {
        self.core.ping != Ping::Idle
    }

    /// The ping to send, if one is wanted.
    pub(super) fn take_ping(
        &mut self,
        session: &mut Session,
        now: Instant,
    ) -> Option<InitiatorTaskTag> {
        if self.core.ping != Ping::Wanted {
            return None;
        }
        let itt = session.control_tag(ControlTag::Ping);
        self.core.ping = Ping::Sent { itt, at: Some(self.core.ring.next_number()) };
        self.arm_ping(session, now);
        Some(itt)
    }

    /// Whether this is the tag of our ping.
    pub(super) fn is_ping(&self, itt: InitiatorTaskTag) -> bool {
        matches!(self.core.ping, Ping::Sent { itt: ours, .. } if ours == itt)
    }

    /// Starts the ping's deadline anew once it has left: it may have waited behind data. Until then the deadline of everything that is
    /// to be sent holds too.
    pub(crate) fn watch_ping(&mut self, session: &Session, now: Instant) {
        if let Ping::Sent { itt, at: Some(number) } = self.core.ping
            && self.core.ring.has_left(number)
        {
            self.core.ping = Ping::Sent { itt, at: None };
            self.arm_ping(session, now);
        }
    }

    fn arm_ping(&mut self, session: &Session, now: Instant) {
        let deadline = now + session.config().timeouts().nop_timeout;
        self.core.timers.ping = Some((deadline, self.core.counters.bytes_received));
    }

    /// The ping was answered, or the target refused to: it is alive.
    pub(super) fn ping_answered(&mut self, session: &mut Session, now: Instant) {
        self.core.ping = Ping::Idle;
        self.core.timers.ping = None;
        session.core.recovering.answered(now);
    }

    pub(super) fn nop_in(
        &mut self,
        nop: &NopIn,
        session: &mut Session,
        now: Instant,
    ) -> Result<(), LostReason> {
        match nop.kind {
            NopInKind::PingResponse(itt) => {
                if !self.status(nop.stat_sn)? {
                    return Ok(());
                }
                if !self.is_ping(itt) {
                    return Err(LostReason::Protocol(ProtocolError::UnknownTask(itt)));
                }
                // Our pings carry no data.
                if nop.data_segment_length != 0 {
                    return Err(LostReason::Protocol(ProtocolError::NopEcho));
                }
                self.ping_answered(session, now);
                let (expected, got) = (session.core.window.cmd_sn, nop.exp_cmd_sn);
                if let Some(first) = self.core.doubted.take()
                    && (!got.le(expected) || got.lt(first))
                {
                    // It waits for commands from there on, and ours will never be their turn (RFC 7143 section 4.2.2.1).
                    return Err(LostReason::Protocol(ProtocolError::ExpCmdSn { expected, got }));
                }
                Ok(())
            }
            NopInKind::Ping(transfer) => {
                self.next_status(nop.stat_sn)?;
                self.core.echo = Some(transfer);
                Ok(())
            }
            NopInKind::Update => self.next_status(nop.stat_sn),
        }
    }
}
