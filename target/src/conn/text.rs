//! Text in the full feature phase: SendTargets, and parameters declared anew (RFC 7143 sections 4.3, 11.10 and appendix C).

use core::fmt::{self, Write as _};

use iscsi_core::text::{Key, Negotiation, Pairs, Phase, Role, SessionType, Writer};
use iscsi_core::wire::{RejectReason, TextRequest, TransferTag};
use iscsi_core::{InitiatorTaskTag, Instant, IscsiName, Lun, Portal, TargetTransferTag};

use super::command::Arrival;
use super::control::Control;
use super::pages::Run;
use super::rx::{Place, Placement};
use super::{TEXT_AREA, TargetConnection};
use crate::target::Target;

/// The tag of a text exchange; there is only one.
const TAG: TransferTag =
    TransferTag { lun: Lun::ZERO, target_transfer_tag: TargetTransferTag(0xffff_fffd) };

/// The text exchange of a connection.
#[derive(Debug)]
pub(super) struct TextExchange {
    itt: Option<InitiatorTaskTag>,
    /// Bytes of the request collected so far.
    len: usize,
    /// Pages for the answer to the request that is being received.
    run: Option<Run>,
    negotiation: Option<Negotiation>,
    /// What SendTargets asked for, and how much of the answer has been sent.
    answer: Option<(Query, usize)>,
}

impl TextExchange {
    pub(super) const IDLE: Self =
        Self { itt: None, len: 0, run: None, negotiation: None, answer: None };
}

/// What SendTargets asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Query {
    All,
    /// This target only.
    Own,
    /// A target that is not here.
    Nothing,
}

/// What a complete request leads to.
enum Step {
    /// There is text of this length to be sent; `more` follows, after a cut within a pair if `cut`.
    Answer {
        len: usize,
        more: bool,
        cut: bool,
    },
    Reject(RejectReason),
}

impl TargetConnection {
    /// A Text Request: reserves room for its text and for the answer. `None` if there is no room for an answer now.
    pub(super) fn begin_text(&mut self, request: &TextRequest) -> Option<Placement> {
        let core = &mut self.core;
        if core.text.run.is_none() {
            core.text.run = Some(core.bounce_pages.take(TEXT_AREA)?);
        }
        if request.transfer.is_none() {
            core.text.len = 0;
        }
        let at = core.text.len;
        let room = TEXT_AREA.saturating_sub(at) as u32;
        let place = Place::Text { at: at as u32 };
        Some(Placement { place, room: request.data_segment_length.min(room), task: None })
    }

    pub(super) fn text(&mut self, request: &TextRequest, target: &mut Target<'_>, now: Instant) {
        let arrival = self.arrive(request.immediate, request.cmd_sn);
        if arrival == Arrival::Ignored {
            return;
        }
        self.answered(arrival);
        let (itt, exchange) = (request.initiator_task_tag, &mut self.core.text);
        match request.transfer {
            // Begins anew, whatever was under way (RFC 7143 section 11.10.4).
            None => {
                *exchange =
                    TextExchange { itt: Some(itt), run: exchange.run, ..TextExchange::IDLE };
            }
            Some(TAG) if exchange.itt == Some(itt) => {}
            Some(_) => return self.refuse_text(RejectReason::ProtocolError, target, now),
        }
        exchange.len += request.data_segment_length as usize;
        if exchange.len > TEXT_AREA {
            return self.refuse_text(RejectReason::ProtocolError, target, now);
        }
        let step = if request.is_continued {
            // More of the request is to come, asked for with an empty answer.
            Step::Answer { len: 0, more: true, cut: false }
        } else {
            self.answer_text(request.is_final, target)
        };
        match step {
            Step::Reject(reason) => self.refuse_text(reason, target, now),
            Step::Answer { len, more, cut } => {
                let Some(run) = self.core.text.run.take() else { return };
                let transfer = more.then_some(TAG);
                let answer = Control::Text { itt, transfer, is_continued: cut, len, run };
                // A PDU is only taken while there is room for its answer.
                let _ = self.core.control.push_back(answer);
                if !more {
                    self.core.text = TextExchange::IDLE;
                }
            }
        }
        self.release_held(target, now);
    }

    fn refuse_text(&mut self, reason: RejectReason, target: &mut Target<'_>, now: Instant) {
        if let Some(run) = self.core.text.run.take() {
            self.core.bounce_pages.give(run);
        }
        self.core.text = TextExchange::IDLE;
        self.reject(reason, target, now);
    }

    /// Works on a complete request and writes the answer into its pages.
    fn answer_text(&mut self, is_final: bool, target: &Target<'_>) -> Step {
        let protocol_error = Step::Reject(RejectReason::ProtocolError);
        let core = &mut self.core;
        let Some(run) = core.text.run else { return protocol_error };
        let Some(out) = core.bounce.get_mut(run.at()..run.at() + TEXT_AREA) else {
            return protocol_error;
        };
        let len = core::mem::replace(&mut core.text.len, 0);
        let text = core.text_area.get(..len).unwrap_or_default();
        if core.text.answer.is_none() {
            let mut first = Pairs::new(text);
            if let Some(Ok(pair)) = first.next()
                && pair.key == Key::SendTargets.name()
            {
                let Some(query) = query(pair.value, core.session_type, &target.config.name) else {
                    return protocol_error;
                };
                if first.next().is_some() {
                    // It must be alone (RFC 7143 appendix C).
                    return protocol_error;
                }
                core.text.answer = Some((query, 0));
            }
        }
        if let Some((query, sent)) = &mut core.text.answer {
            let limit = (core.max_send as usize).min(out.len());
            let limit = match target.quirks.text_piece {
                Some(piece) => limit.min(usize::from(piece).max(1)),
                None => limit,
            };
            let out = out.get_mut(..limit).unwrap_or_default();
            let mut window = Window { out, skip: *sent, written: 0, whole: 0, total: 0 };
            window.records(*query, target, core.local.as_ref());
            let rest = window.total.saturating_sub(*sent);
            let (written, whole) = (window.written, window.whole);
            if rest <= written {
                return Step::Answer { len: written, more: false, cut: false };
            }
            // Cut between pairs, if that is possible and not forbidden for a test.
            let cut = target.quirks.text_piece.is_some() || whole == 0;
            let len = if cut { written } else { whole };
            *sent += len;
            return Step::Answer { len, more: true, cut };
        }
        if core.session_type == SessionType::Discovery {
            return protocol_error;
        }
        let limits = target.config.effective_limits();
        let negotiation = core.text.negotiation.get_or_insert_with(|| {
            Negotiation::following(Role::Target, SessionType::Normal, limits, core.negotiated)
        });
        let mut writer = Writer::new(out);
        for pair in Pairs::new(text) {
            let received = match pair {
                Ok(pair) => negotiation.receive(&pair, Phase::FullFeature, &mut writer).is_ok(),
                Err(_) => false,
            };
            if !received {
                return protocol_error;
            }
        }
        if is_final {
            let Ok(negotiated) = negotiation.finish() else { return protocol_error };
            core.negotiated = negotiated;
            core.max_send = negotiated.initiator_max_recv_data_segment_length;
        }
        let len = writer.len();
        if len > core.max_send as usize {
            return protocol_error;
        }
        Step::Answer { len, more: !is_final, cut: false }
    }
}

/// What a value of SendTargets means, if it is allowed in this session.
fn query(value: &[u8], session_type: SessionType, own: &IscsiName) -> Option<Query> {
    match (value, session_type) {
        (b"All", SessionType::Discovery) => Some(Query::All),
        (b"All", SessionType::Normal) => None,
        // "The target of this session": a discovery session has none.
        (b"", SessionType::Normal) => Some(Query::Own),
        (b"", SessionType::Discovery) => None,
        (name, _) if name == own.as_str().as_bytes() => Some(Query::Own),
        (_, SessionType::Discovery) => Some(Query::Nothing),
        (_, SessionType::Normal) => None,
    }
}

/// A part of a long text: `skip` bytes are left out, then as many as `out` takes are written, the others only counted.
struct Window<'o> {
    out: &'o mut [u8],
    skip: usize,
    written: usize,
    /// How much of `out` holds whole pairs.
    whole: usize,
    total: usize,
}

impl Window<'_> {
    fn records(&mut self, query: Query, target: &Target<'_>, local: Option<&Portal>) {
        let config = target.config;
        if query == Query::Nothing {
            return;
        }
        self.pair(format_args!("TargetName={}\0", config.name));
        self.addresses(target, local);
        if query == Query::All {
            for n in 0..target.quirks.extra_targets {
                self.pair(format_args!("TargetName={}.extra-{n}\0", config.name));
                self.addresses(target, local);
            }
        }
    }

    fn addresses(&mut self, target: &Target<'_>, local: Option<&Portal>) {
        let config = target.config;
        let announced = config.portals.iter();
        for portal in announced.chain(local.filter(|_| config.portals.is_empty())) {
            let tag = config.target_portal_group_tag;
            self.pair(format_args!("TargetAddress={portal},{tag}\0"));
        }
    }

    fn pair(&mut self, pair: fmt::Arguments<'_>) {
        // Never fails.
        let _ = self.write_fmt(pair);
        if self.total - self.skip.min(self.total) == self.written {
            self.whole = self.written;
        }
    }
}

impl fmt::Write for Window<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            if self.total >= self.skip
                && let Some(place) = self.out.get_mut(self.written)
            {
                *place = byte;
                self.written += 1;
            }
            self.total += 1;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_shows_every_byte_once() {
        let mut all = std::vec::Vec::new();
        let mut skip = 0;
        loop {
            let mut out = [0; 7];
            let mut window = Window { out: &mut out, skip, written: 0, whole: 0, total: 0 };
            window.pair(format_args!("one={}\0", 1));
            window.pair(format_args!("twenty={}\0", 20));
            window.pair(format_args!("x=\0"));
            let (written, total) = (window.written, window.total);
            all.extend_from_slice(&out[..written]);
            skip += written;
            if skip == total {
                break;
            }
            assert_eq!(written, 7);
        }
        assert_eq!(all, b"one=1\0twenty=20\0x=\0");
    }

    #[test]
    fn whole_pairs_are_known() {
        let mut out = [0; 10];
        let mut window = Window { out: &mut out, skip: 0, written: 0, whole: 0, total: 0 };
        window.pair(format_args!("one=1\0"));
        window.pair(format_args!("twenty=20\0"));
        assert_eq!((window.written, window.whole, window.total), (10, 6, 16));
    }

    #[test]
    fn queries_follow_the_session_type() {
        let own = IscsiName::new("iqn.2001-04.com.example:t").unwrap();
        let ask = |value: &str, session_type| query(value.as_bytes(), session_type, &own);
        assert_eq!(ask("All", SessionType::Discovery), Some(Query::All));
        assert_eq!(ask("All", SessionType::Normal), None);
        assert_eq!(ask("", SessionType::Normal), Some(Query::Own));
        assert_eq!(ask("", SessionType::Discovery), None);
        assert_eq!(ask(own.as_str(), SessionType::Discovery), Some(Query::Own));
        assert_eq!(ask("iqn.x", SessionType::Discovery), Some(Query::Nothing));
        assert_eq!(ask("iqn.x", SessionType::Normal), None);
    }
}
