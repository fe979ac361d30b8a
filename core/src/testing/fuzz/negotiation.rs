//! Negotiation: one side against bytes, and both sides against each other.

use alloc::vec::Vec;

use super::input::Input;
use crate::digest::DigestKind;
use crate::text::{
    Digests, Limits, Negotiated, Negotiation, Pairs, Phase, Role, SessionType, TaskReportings,
    Writer,
};

/// The first byte says who reads what follows: bit 0 the target instead of the initiator, bit 1 a discovery session, bit 2 the
/// security stage, bit 3 an initiator that has not offered, bit 4 a further exchange, bit 7 both sides with [`limits`] of their own.
/// Then come the reader's limits and the text. Both sides must come to the same values, and no value may be beyond an offer.
///
/// # Panics
/// If a value is beyond what was offered or allowed, or the sides differ.
pub fn negotiation(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let how = input.byte();
    let session_type = if how & 2 == 0 { SessionType::Normal } else { SessionType::Discovery };
    let limits = limits(&mut input);
    if how & 0x80 != 0 {
        return both(session_type, limits, self::limits(&mut input));
    }
    let role = if how & 1 == 0 { Role::Initiator } else { Role::Target };
    let phase = if how & 4 == 0 { Phase::Operational } else { Phase::Security };
    let mut negotiation = if how & 0x10 == 0 {
        Negotiation::leading(role, session_type, limits)
    } else {
        Negotiation::following(role, session_type, limits, Negotiated::DEFAULT)
    };
    let mut area = [0; 4096];
    if how & 8 == 0 && role == Role::Initiator {
        negotiation.offer_all(&mut Writer::new(&mut area)).expect("room for every key");
    }
    let mut out = Writer::new(&mut area);
    for pair in Pairs::new(input.rest()).map_while(Result::ok) {
        let before = out.len();
        if let Err(error) = negotiation.receive(&pair, phase, &mut out) {
            assert!(!error.section().is_empty());
            return;
        }
        // Whatever is answered is text.
        assert!(Pairs::new(&out.written()[before..]).all(|pair| pair.is_ok()));
    }
    if let Ok(agreed) = negotiation.finish() {
        check(&agreed, &limits, role);
    }
}

/// Limits that a configuration can have, from 12 bytes.
pub fn limits(input: &mut Input<'_>) -> Limits {
    const DIGESTS: [Digests; 5] = [
        Digests::NONE_CRC32C,
        Digests::CRC32C_NONE,
        Digests::CRC32C,
        Digests::NONE,
        Digests::EMPTY,
    ];
    let digests = |byte: u8| DIGESTS[usize::from(byte) % DIGESTS.len()];
    let size = |word: u16| (u32::from(word) << 8 | 0xff).clamp(512, 0x00ff_ffff);
    let (kinds, flags) = (input.byte(), input.byte());
    let sizes = [(); 3].map(|()| size(input.word()));
    Limits {
        header_digest: digests(kinds & 15),
        data_digest: digests(kinds >> 4),
        max_connections: 1,
        initial_r2t: flags & 1 != 0,
        immediate_data: flags & 2 == 0,
        data_pdu_in_order: flags & 4 == 0,
        data_sequence_in_order: flags & 8 == 0,
        error_recovery_level: (flags >> 4 & 3).min(2),
        task_reporting: if flags & 0x40 == 0 { TaskReportings::EMPTY } else { TaskReportings::ALL },
        iscsi_protocol_level: (flags & 0x80 != 0).then_some(2),
        max_recv_data_segment_length: sizes[0],
        max_burst_length: sizes[1],
        // As a configuration sees to it.
        first_burst_length: sizes[2].min(sizes[1]),
        default_time2wait: u16::from(input.byte()),
        default_time2retain: u16::from(input.byte()),
        max_outstanding_r2t: input.word().max(1),
    }
}

/// An initiator that offers everything, and a target that answers.
fn both(session_type: SessionType, offered: Limits, answered: Limits) {
    let mut initiator = Negotiation::leading(Role::Initiator, session_type, offered);
    let mut target = Negotiation::leading(Role::Target, session_type, answered);
    let mut area = [0; 4096];
    let mut out = Writer::new(&mut area);
    initiator.offer_all(&mut out).expect("room for every key");
    let mut text = out.written().to_vec();
    // Declared by both: the initiator may owe an answer, and then is done.
    for round in 0..4 {
        let (side, role) = if round % 2 == 0 {
            (&mut target, Role::Target)
        } else {
            (&mut initiator, Role::Initiator)
        };
        let Some(answer) = answers(side, &text) else {
            // Only digests can have no value in common.
            assert!(
                disjoint(offered.header_digest, answered.header_digest)
                    || disjoint(offered.data_digest, answered.data_digest),
                "{role:?} refuses an honest peer: {offered:?} {answered:?}"
            );
            return;
        };
        text = answer;
        if role == Role::Target && round == 0 {
            let mut area = [0; 64];
            let mut out = Writer::new(&mut area);
            let declared = target.offer(crate::text::Key::MaxRecvDataSegmentLength, &mut out);
            declared.expect("room");
            text.extend_from_slice(out.written());
        }
        if text.is_empty() {
            break;
        }
    }
    assert!(text.is_empty(), "the sides go on answering");
    match (initiator.finish(), target.finish()) {
        (Ok(ours), Ok(theirs)) => {
            assert_eq!(ours, theirs, "{offered:?} {answered:?}");
            check(&ours, &offered, Role::Initiator);
            check(&theirs, &answered, Role::Target);
        }
        (ours, theirs) => assert!(
            disjoint(offered.header_digest, answered.header_digest)
                || disjoint(offered.data_digest, answered.data_digest),
            "{ours:?} {theirs:?} {offered:?} {answered:?}"
        ),
    }
}

fn answers(side: &mut Negotiation, text: &[u8]) -> Option<Vec<u8>> {
    let mut area = [0; 4096];
    let mut out = Writer::new(&mut area);
    for pair in Pairs::new(text) {
        let pair = pair.expect("what was written");
        side.receive(&pair, Phase::Operational, &mut out).ok()?;
    }
    Some(out.written().to_vec())
}

/// Without a key a side means None.
fn disjoint(a: Digests, b: Digests) -> bool {
    let with_default = |digests: Digests, kind| {
        digests.contains(kind) || digests.is_empty() && kind == DigestKind::None
    };
    ![DigestKind::None, DigestKind::Crc32c]
        .iter()
        .any(|k| with_default(a, *k) && with_default(b, *k))
}

/// No value is beyond what this side has offered.
fn check(agreed: &Negotiated, limits: &Limits, role: Role) {
    let digest = |agreed, offered: Digests| {
        assert!(agreed == DigestKind::None || offered.contains(agreed), "{agreed:?} {limits:?}");
    };
    digest(agreed.header_digest, limits.header_digest);
    digest(agreed.data_digest, limits.data_digest);
    let theirs = match role {
        Role::Initiator => agreed.target_max_recv_data_segment_length,
        Role::Target => agreed.initiator_max_recv_data_segment_length,
    };
    for size in [agreed.max_burst_length, agreed.first_burst_length, theirs] {
        assert!((512..=0x00ff_ffff).contains(&size), "{agreed:?}");
    }
    assert!(agreed.first_burst_length <= agreed.max_burst_length, "{agreed:?}");
    assert!(agreed.error_recovery_level <= limits.error_recovery_level, "{agreed:?} {limits:?}");
    assert!(agreed.max_outstanding_r2t >= 1);
}
