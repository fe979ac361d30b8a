//! Text requests in the full feature phase: SendTargets (RFC 7143 sections 11.10 and 11.11, appendix C).
//!
//! The answer may be far larger than the control area: each part is read by the application pair by pair, and the next part
//! is asked for when the pairs of this one are used up. What was cut off at the end is moved to the front.

use super::ring::{Body, Draft, NoBuffer};
use super::rx::Place;
use super::{Connection, ConnectionState, RECEIVE_AREA};
use crate::InitiatorTaskTag;
use crate::Instant;
use crate::buffers::Buffers;
use crate::error::{LostReason, ProtocolError, SubmitError};
use crate::name::IscsiName;
use crate::session::{ControlTag, Session, SessionState};
use crate::text::{Next, SendTargets, TargetItem, Termination, Writer, next_pair};
use crate::wire::{BHS_LEN, Opcode, RejectReason, TextRequest, TextResponse, TransferTag};

/// The largest answer that is read, all parts together.
const MAX_BYTES: u32 = 16 << 20;

/// The most parts of one answer: 16 MiB in the smallest legal segments.
const MAX_PARTS: u32 = MAX_BYTES / 512;

/// Which targets to ask for (RFC 7143 appendix C).
///
/// ```
/// use iscsi_core::{DiscoveryScope, IscsiName};
/// let name = IscsiName::new("iqn.2001-04.com.example:disk").unwrap();
/// assert_ne!(DiscoveryScope::Target(&name), DiscoveryScope::All);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DiscoveryScope<'a> {
    /// All targets; only in a discovery session.
    All,
    /// One target and its portals.
    Target(&'a IscsiName),
    /// The target of this session; only in a normal session.
    Session,
}

/// A step of a discovery, from [`Connection::poll_discovery`].
///
/// ```
/// assert_ne!(iscsi_core::DiscoveryItem::Done, iscsi_core::DiscoveryItem::Failed(
///     iscsi_core::wire::RejectReason::ProtocolError,
/// ));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(
    clippy::large_enum_variant,
    reason = "lives for one call; there is no allocator to box with"
)]
pub enum DiscoveryItem {
    /// A target's name, or an address of the target named last.
    Target(TargetItem),
    /// The answer is complete.
    Done,
    /// The target rejected the request.
    Failed(RejectReason),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Idle,
    Wanted,
    Sent,
    Answered,
    Rejected(RejectReason),
}

/// The one text exchange of a connection.
#[derive(Debug)]
pub(super) struct TextExchange {
    state: State,
    itt: InitiatorTaskTag,
    transfer: Option<TransferTag>,
    /// Bytes of the request in the transmit area.
    request: u32,
    /// Bytes in the receive area and how many of them were read.
    filled: usize,
    parsed: usize,
    more: bool,
    /// Nobody waits for the answer: an empty request, because the target asked for a negotiation.
    quiet: bool,
    /// Nobody wants the rest of the answer either.
    left: bool,
    records: SendTargets,
    bytes: u32,
    parts: u32,
}

impl TextExchange {
    pub(super) const IDLE: Self = Self {
        state: State::Idle,
        itt: InitiatorTaskTag::RESERVED,
        transfer: None,
        request: 0,
        filled: 0,
        parsed: 0,
        more: false,
        quiet: false,
        left: false,
        records: SendTargets::new(),
        bytes: 0,
        parts: 0,
    };

    pub(super) fn is_wanted(&self) -> bool {
        self.state == State::Wanted
    }
}

impl Connection {
    /// Asks the target which targets there are and where. The answer comes in items, from [`poll_discovery`](Self::poll_discovery).
    ///
    /// # Errors
    /// [`SubmitError::Busy`] while such a request is under way, [`SubmitError::NotOpen`] before the full feature phase.
    pub fn send_targets(
        &mut self,
        scope: DiscoveryScope<'_>,
        session: &mut Session,
        now: Instant,
    ) -> Result<(), SubmitError> {
        if self.core.state != ConnectionState::FullFeature
            || session.state() != SessionState::LoggedIn
        {
            return Err(SubmitError::NotOpen);
        }
        if self.core.text.state != State::Idle {
            return Err(SubmitError::Busy);
        }
        let value = match scope {
            DiscoveryScope::All => "All",
            DiscoveryScope::Target(name) => name.as_str(),
            DiscoveryScope::Session => "",
        };
        let area = self.control.get_mut(RECEIVE_AREA..).unwrap_or_default();
        let mut writer = Writer::new(area);
        // A name has at most 223 bytes; the area is larger.
        writer.text("SendTargets", value).map_err(|_| SubmitError::Busy)?;
        let request = writer.len() as u32;
        self.core.text = TextExchange {
            state: State::Wanted,
            itt: session.control_tag(ControlTag::Text),
            request,
            ..TextExchange::IDLE
        };
        self.core.timers.text = Some(now + session.config().timeouts().text);
        Ok(())
    }

    /// The next item of a discovery that is under way, if it is there. To be called after [`pump`](crate::driver::pump) until it says
    /// `None`; the target is asked for more when all items of a part are taken.
    #[must_use]
    pub fn poll_discovery(&mut self, session: &mut Session, now: Instant) -> Option<DiscoveryItem> {
        loop {
            let text = &mut self.core.text;
            match text.state {
                State::Answered => {}
                State::Rejected(reason) => {
                    *text = TextExchange::IDLE;
                    return Some(DiscoveryItem::Failed(reason));
                }
                State::Idle | State::Wanted | State::Sent => return None,
            }
            let lenient = session.config().lenient_text();
            let termination = if lenient { Termination::Lenient } else { Termination::Strict };
            let rest = self.control.get(text.parsed..text.filled).unwrap_or_default();
            let (pair, consumed) = match next_pair(rest, text.more, termination) {
                Ok(Next::Pair { pair, consumed }) => (Some(pair), consumed),
                Ok(Next::More { consumed }) => (None, consumed),
                Ok(Next::End) => (None, rest.len()),
                Err(error) => {
                    self.fail(ProtocolError::from(error).into(), session, now);
                    return None;
                }
            };
            text.parsed += consumed;
            let Some(pair) = pair else {
                if text.more && self.core.state == ConnectionState::Closed {
                    // Nobody is left to be asked.
                    *text = TextExchange::IDLE;
                    return None;
                }
                if text.more {
                    self.ask_for_more(session, now);
                    return None;
                }
                *text = TextExchange::IDLE;
                return Some(DiscoveryItem::Done);
            };
            match text.records.item(&pair) {
                Ok(TargetItem::Ignored) => {}
                Ok(item) => return Some(DiscoveryItem::Target(item)),
                Err(error) => {
                    self.fail(ProtocolError::SendTargets(error).into(), session, now);
                    return None;
                }
            }
        }
    }

    /// Lets go of a discovery: the rest of the answer is not asked for. The next [`send_targets`](Self::send_targets) may have to wait for a part
    /// that is under way; the target forgets the old exchange when it sees the new one (RFC 7143 section 11.10.4).
    pub const fn leave_discovery(&mut self) {
        let text = &mut self.core.text;
        if matches!(text.state, State::Sent) {
            text.quiet = true;
            text.left = true;
        } else if !text.quiet {
            *text = TextExchange::IDLE;
            self.core.timers.text = None;
        }
    }

    /// The pairs that are there are read: the cut-off rest moves to the front, and the next part is asked for.
    fn ask_for_more(&mut self, session: &Session, now: Instant) {
        let text = &mut self.core.text;
        self.control.copy_within(text.parsed..text.filled, 0);
        text.filled -= text.parsed;
        text.parsed = 0;
        text.request = 0;
        text.state = State::Wanted;
        self.core.timers.text = Some(now + session.config().timeouts().text);
    }

    pub(super) fn freeze_text(
        &mut self,
        session: &Session,
        buffers: &(impl Buffers + ?Sized),
    ) -> Result<(), NoBuffer> {
        let exp_stat_sn = self.acknowledged();
        let text = &mut self.core.text;
        text.state = State::Sent;
        let request = TextRequest {
            immediate: true,
            is_final: true,
            is_continued: false,
            data_segment_length: text.request,
            initiator_task_tag: text.itt,
            transfer: text.transfer,
            cmd_sn: session.core.window.cmd_sn,
            exp_stat_sn,
        };
        let body_len = text.request;
        let body = if body_len > 0 { Body::Control { at: 0 } } else { Body::None };
        let mut bhs = [0; BHS_LEN];
        request.emit(&mut bhs);
        self.freeze(&Draft { bhs: &bhs, task: None, ahs: &[], body, body_len }, buffers)
    }

    /// Where the text of a response goes: behind what is left of the part before.
    pub(super) fn place_of_text(&self, response: &TextResponse) -> Result<Place, ProtocolError> {
        let text = &self.core.text;
        if text.state != State::Sent {
            return Err(ProtocolError::UnexpectedPdu(Opcode::TextResponse as u8));
        }
        if response.initiator_task_tag != text.itt {
            return Err(ProtocolError::UnknownTask(response.initiator_task_tag));
        }
        let bytes = text.bytes.saturating_add(response.data_segment_length);
        if bytes > MAX_BYTES || text.parts >= MAX_PARTS {
            return Err(ProtocolError::TextTooLong);
        }
        self.control_place(text.filled, response.data_segment_length)
    }

    pub(super) fn text_response(&mut self, response: &TextResponse) -> Result<(), LostReason> {
        if !self.status(response.stat_sn)? {
            return Ok(());
        }
        let text = &mut self.core.text;
        text.filled += response.data_segment_length as usize;
        text.bytes = text.bytes.saturating_add(response.data_segment_length);
        text.parts += 1;
        text.more = response.transfer.is_some();
        text.transfer = response.transfer;
        text.state = State::Answered;
        if text.quiet {
            text.filled = 0;
            text.state = if text.more && !text.left { State::Wanted } else { State::Idle };
        }
        if text.state != State::Wanted {
            self.core.timers.text = None;
        }
        Ok(())
    }

    /// Answers a target's wish to negotiate with an empty request: we have nothing to change (RFC 7143 section 11.9.1).
    pub(super) fn negotiation_requested(&mut self, session: &mut Session, now: Instant) {
        if self.core.text.state == State::Idle {
            self.core.text = TextExchange {
                state: State::Wanted,
                itt: session.control_tag(ControlTag::Text),
                quiet: true,
                ..TextExchange::IDLE
            };
            self.core.timers.text = Some(now + session.config().timeouts().text);
        }
    }

    pub(super) fn text_rejected(&mut self, reason: RejectReason) {
        if self.core.text.state == State::Sent {
            let quiet = self.core.text.quiet;
            self.core.text.state = if quiet { State::Idle } else { State::Rejected(reason) };
            self.core.timers.text = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{CmdSn, InlineConnection, StatSn};

    /// Whether a response with so much text is taken behind what came before.
    fn takes(data_segment_length: u32, bytes: u32, parts: u32) -> bool {
        let initiator_task_tag = InitiatorTaskTag(7);
        let mut connection = InlineConnection::new();
        let (state, itt) = (State::Sent, initiator_task_tag);
        connection.core.text = TextExchange { state, itt, bytes, parts, ..TextExchange::IDLE };
        let response = TextResponse {
            transfer: None,
            is_continued: false,
            data_segment_length,
            initiator_task_tag,
            stat_sn: StatSn(0),
            exp_cmd_sn: CmdSn(0),
            max_cmd_sn: CmdSn(0),
        };
        match connection.place_of_text(&response) {
            Ok(place) => {
                connection.text_response(&response).unwrap();
                let text = &connection.core.text;
                assert_eq!((text.bytes, text.parts), (bytes + data_segment_length, parts + 1));
                matches!(place, Place::Control { at: 0 })
            }
            Err(ProtocolError::TextTooLong) => false,
            Err(other) => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_answer_has_so_many_bytes_and_parts_and_no_more() {
        assert!(takes(512, 0, 0));
        assert!(takes(512, MAX_BYTES - 512, 1));
        assert!(!takes(512, MAX_BYTES - 511, 1));
        assert!(!takes(1, MAX_BYTES, 1));
        assert!(takes(0, 0, MAX_PARTS - 1));
        assert!(!takes(0, 0, MAX_PARTS));
    }
}
