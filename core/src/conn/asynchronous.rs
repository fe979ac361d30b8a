//! Asynchronous messages of the target (RFC 7143 section 11.9).

use super::Connection;
use crate::Instant;
use crate::error::{LostReason, ProtocolError};
use crate::session::Session;
use crate::wire::{AsyncEvent, AsyncMessage};

/// Longest sense data that is kept.
const SENSE: usize = 252;

/// An asynchronous message for the application, from [`Connection::poll_async`].
///
/// What the protocol asks for has been done already: a requested logout is under way, a dropped connection is closed.
///
/// ```
/// use iscsi_core::{AsyncNotice, wire::AsyncEvent};
/// let event = AsyncEvent::LogoutRequested { seconds: 3 };
/// let notice = AsyncNotice { event, sense: &[], missed: 0 };
/// assert_eq!(notice.event.to_byte(), 1);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AsyncNotice<'a> {
    /// What happened.
    pub event: AsyncEvent,
    /// Sense data of a SCSI event, up to 252 bytes; empty for all others.
    pub sense: &'a [u8],
    /// Messages that came before this one and were not taken.
    pub missed: u32,
}

/// The latest message, until the application takes it.
#[derive(Debug)]
pub(super) struct Events {
    event: Option<AsyncEvent>,
    missed: u32,
    sense: [u8; SENSE],
    sense_len: u8,
}

impl Events {
    pub(super) const fn new() -> Self {
        Self { event: None, missed: 0, sense: [0; SENSE], sense_len: 0 }
    }

    pub(super) const fn clear(&mut self) {
        self.event = None;
        self.missed = 0;
    }
}

impl Connection {
    /// The latest asynchronous message, if it was not taken yet; [`Event::AsyncMessage`](crate::Event::AsyncMessage) announces it. An older one that
    /// was not taken in time is only counted: the target does not wait, and neither does the rest of the session.
    #[must_use]
    pub fn poll_async(&mut self) -> Option<AsyncNotice<'_>> {
        let event = self.core.events.event.take()?;
        let missed = core::mem::take(&mut self.core.events.missed);
        let sense = self.core.events.sense.get(..usize::from(self.core.events.sense_len));
        Some(AsyncNotice { event, sense: sense.unwrap_or_default(), missed })
    }

    pub(super) fn async_message(
        &mut self,
        message: &AsyncMessage,
        session: &mut Session,
        now: Instant,
    ) -> Result<(), LostReason> {
        if !self.status(message.stat_sn)? {
            return Ok(());
        }
        self.core.events.sense_len = 0;
        match message.event {
            AsyncEvent::Scsi { .. } => self.keep_sense(message.data_segment_length)?,
            AsyncEvent::LogoutRequested { seconds } => session.logout_requested(seconds, now),
            AsyncEvent::ConnectionDropped { cid, time2wait, .. } if cid == self.core.cid => {
                session.announce_wait(time2wait);
                return Err(LostReason::AsyncEvent(message.event.to_byte()));
            }
            AsyncEvent::SessionDropped { time2wait, .. } => {
                session.announce_wait(time2wait);
                return Err(LostReason::AsyncEvent(message.event.to_byte()));
            }
            AsyncEvent::NegotiationRequested { .. } => self.negotiation_requested(session, now),
            // A target may send it only after FastAbort was negotiated, which is not offered.
            AsyncEvent::TasksTerminated { .. } => {}
            AsyncEvent::ConnectionDropped { .. }
            | AsyncEvent::Vendor { .. }
            | AsyncEvent::Unassigned(_) => {}
        }
        let events = &mut self.core.events;
        if events.event.replace(message.event).is_some() {
            events.missed = events.missed.saturating_add(1);
        }
        session.core.async_message = true;
        Ok(())
    }

    fn keep_sense(&mut self, data_segment: u32) -> Result<(), LostReason> {
        if data_segment == 0 {
            return Ok(());
        }
        let stage = &self.core.rx.stage;
        let sense = u16::from_be_bytes([stage[0], stage[1]]);
        if u32::from(sense) + 2 > data_segment {
            return Err(ProtocolError::SenseLength { sense, data_segment }.into());
        }
        let len = usize::from(sense).min(SENSE);
        self.core.events.sense[..len].copy_from_slice(&stage[2..2 + len]);
        self.core.events.sense_len = len as u8;
        Ok(())
    }
}
