//! Negotiation for either side, driven by the table of keys (RFC 7143 section 6.2).

use heapless::Vec;

use super::value::{self, Special};
use super::{
    DefaultValue, Key, KeyError, KeyRule, KeySet, Limits, Negotiated, Pair, ResultFunction,
    Senders, SessionType, TaskReporting, TextFull, TextRule, Use, ValueType, Writer,
};
use crate::digest::DigestKind;

/// How many unknown keys are remembered to notice when one comes again.
const REMEMBERED_UNKNOWN_KEYS: usize = 16;

/// Which side of the connection this is.
///
/// ```
/// use iscsi_core::text::Role;
/// assert_ne!(Role::Initiator, Role::Target);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// The initiator.
    Initiator,
    /// The target.
    Target,
}

/// The stage that text belongs to.
///
/// ```
/// use iscsi_core::text::Phase;
/// assert_ne!(Phase::Security, Phase::Operational);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Phase {
    /// CSG=SecurityNegotiation.
    Security,
    /// CSG=LoginOperationalNegotiation.
    Operational,
    /// A text exchange in the Full Feature Phase.
    FullFeature,
}

/// What a received pair turned out to be.
///
/// ```
/// use iscsi_core::text::{Key, Limits, Negotiation, Pairs, Phase, Received, Role, SessionType, Writer};
///
/// let mut target = Negotiation::leading(Role::Target, SessionType::Normal, Limits::DEFAULT);
/// let mut area = [0; 64];
/// let mut answers = Writer::new(&mut area);
/// let pair = Pairs::new(b"MaxBurstLength=65536\0").next().unwrap().unwrap();
/// let received = target.receive(&pair, Phase::Operational, &mut answers).unwrap();
/// assert_eq!(received, Received::Proposal { key: Key::MaxBurstLength, answer_required: true });
/// assert_eq!(answers.written(), b"MaxBurstLength=65536\0");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Received {
    /// The answer to an offer of this side.
    Answer(Key),
    /// A proposal; its answer was written.
    Proposal {
        /// The key.
        key: Key,
        /// Whether the other side must wait for the answer: not so if a boolean proposal already decides.
        answer_required: bool,
    },
    /// A declaration, or the request SendTargets. MaxRecvDataSegmentLength and TargetPortalGroupTag were stored; the rest is the caller's business.
    Declared(Key),
    /// A key of the security stage, for the caller's authentication.
    Security(Key),
    /// An unknown key; `NotUnderstood` was written.
    NotUnderstood,
    /// The key means nothing here and was dropped.
    Ignored(Key),
}

/// One negotiation: the login phase of a connection or one text exchange.
///
/// It offers this side's [`Limits`], checks the answers by the key's result function, answers the other side's proposals, and
/// notices repeated keys. Nothing of it acts before [`Negotiation::finish`] returns the [`Negotiated`] values.
///
/// ```
/// use iscsi_core::text::{Limits, Negotiation, Pairs, Phase, Role, SessionType, Writer};
///
/// let mut initiator = Negotiation::leading(Role::Initiator, SessionType::Normal, Limits::DEFAULT);
/// let mut area = [0; 1024];
/// initiator.offer_all(&mut Writer::new(&mut area)).unwrap();
///
/// let answer = b"HeaderDigest=None\0InitialR2T=Yes\0MaxBurstLength=0x10000\0FirstBurstLength=8192\0";
/// let mut owed = Writer::new(&mut area);
/// for pair in Pairs::new(answer) {
///     initiator.receive(&pair.unwrap(), Phase::Operational, &mut owed).unwrap();
/// }
/// let negotiated = initiator.finish().unwrap();
/// assert_eq!((negotiated.max_burst_length, negotiated.first_burst_length), (65_536, 8192));
/// assert!(owed.is_empty() && negotiated.initial_r2t);
/// ```
#[derive(Debug, Clone)]
pub struct Negotiation {
    role: Role,
    session_type: SessionType,
    leading: bool,
    limits: Limits,
    /// Proposed or declared by this side.
    offered: KeySet,
    /// Answered, proposed or declared by the other side.
    settled: KeySet,
    /// Answered with a reserved word, so that the default holds.
    defaulted: KeySet,
    /// Answered with Irrelevant.
    irrelevant: KeySet,
    values: Negotiated,
    /// Hashes of unknown keys.
    unknown: Vec<u32, REMEMBERED_UNKNOWN_KEYS>,
}

impl Negotiation {
    /// The login of a session's first connection.
    pub const fn leading(role: Role, session_type: SessionType, limits: Limits) -> Self {
        Self::new(role, session_type, limits, Negotiated::DEFAULT, true)
    }

    /// The login of a further connection, or a text exchange in the Full Feature Phase: the values of the session stay, those of the
    /// connection are negotiated anew. For a text exchange `established` are the values of its connection, and what is not
    /// exchanged stays.
    pub const fn following(
        role: Role,
        session_type: SessionType,
        limits: Limits,
        established: Negotiated,
    ) -> Self {
        Self::new(role, session_type, limits, established, false)
    }

    const fn new(
        role: Role,
        session_type: SessionType,
        limits: Limits,
        values: Negotiated,
        leading: bool,
    ) -> Self {
        Self {
            role,
            session_type,
            leading,
            limits,
            offered: KeySet::EMPTY,
            settled: KeySet::EMPTY,
            defaulted: KeySet::EMPTY,
            irrelevant: KeySet::EMPTY,
            values,
            unknown: Vec::new(),
        }
    }

    /// Sets the session type, which a target learns from the first request only. Call it before other keys are received.
    pub const fn set_session_type(&mut self, session_type: SessionType) {
        self.session_type = session_type;
    }

    /// Writes every operational key that this side has a value for and that has not been settled.
    ///
    /// # Errors
    /// [`TextFull`]
    pub fn offer_all(&mut self, out: &mut Writer<'_>) -> Result<(), TextFull> {
        for key in Key::ALL {
            let operational = !key.is_security_key() && !key.is_allowed_in_security();
            if operational && !self.settled.contains(*key) {
                self.offer(*key, out)?;
            }
        }
        Ok(())
    }

    /// Writes this side's value of one key. Whether there was something to write: not for keys without a value in
    /// [`Limits`], keys that mean nothing in this session, and keys that were offered before.
    ///
    /// # Errors
    /// [`TextFull`]
    pub fn offer(&mut self, key: Key, out: &mut Writer<'_>) -> Result<bool, TextFull> {
        let discovery = self.session_type == SessionType::Discovery;
        if self.offered.contains(key)
            || !self.leading && key.usage() == Use::LeadingLogin
            || discovery && key.is_irrelevant_in_discovery()
        {
            return Ok(false);
        }
        match key {
            Key::HeaderDigest | Key::DataDigest => {
                let digests = self.digests(key);
                if digests.is_empty() {
                    return Ok(false);
                }
                out.list(key.name(), digests.iter().map(DigestKind::as_str))?;
            }
            Key::TaskReporting => {
                if self.limits.task_reporting.is_empty() {
                    return Ok(false);
                }
                out.list(key.name(), self.limits.task_reporting.iter().map(TaskReporting::as_str))?;
            }
            Key::IscsiProtocolLevel if self.limits.iscsi_protocol_level.is_none() => {
                return Ok(false);
            }
            _ => match (self.number_limit(key), self.boolean_limit(key)) {
                (Some(number), _) => out.number(key.name(), u64::from(number))?,
                (None, Some(boolean)) => {
                    out.boolean(key.name(), boolean)?;
                    // An offer that decides needs no answer (RFC 7143 section 6.2.2).
                    match key.result() {
                        ResultFunction::And if !boolean => self.set_boolean(key, false),
                        ResultFunction::Or if boolean => self.set_boolean(key, true),
                        _ => {}
                    }
                }
                (None, None) => return Ok(false),
            },
        }
        if key == Key::MaxRecvDataSegmentLength {
            let declared = self.limits.max_recv_data_segment_length;
            match self.role {
                Role::Initiator => self.values.initiator_max_recv_data_segment_length = declared,
                Role::Target => self.values.target_max_recv_data_segment_length = declared,
            }
        }
        self.offered.insert(key);
        Ok(true)
    }

    /// Takes one pair of the other side and writes the answer that it is owed, if any.
    ///
    /// # Errors
    /// [`KeyError`] with the rule that the other side broke; the negotiation has failed then.
    pub fn receive(
        &mut self,
        pair: &Pair<'_>,
        phase: Phase,
        out: &mut Writer<'_>,
    ) -> Result<Received, KeyError> {
        let Some(key) = Key::from_name(pair.key) else {
            return self.receive_unknown(pair, out);
        };
        let error = |rule| KeyError::new(key, rule);
        self.check_place(key, phase).map_err(error)?;
        if key == Key::TargetName && self.role == Role::Initiator {
            // Some targets repeat it. What this side asked for stays.
            return Ok(Received::Ignored(key));
        }
        let repeatable = key == Key::TargetAddress;
        if !repeatable && self.settled.contains(key) {
            return Err(error(KeyRule::Repeated));
        }
        let received = self.receive_known(key, pair, out).map_err(error)?;
        self.settled.insert(key);
        Ok(received)
    }

    /// Whether the other side has answered, proposed or declared `key`.
    pub const fn is_settled(&self, key: Key) -> bool {
        self.settled.contains(key)
    }

    /// The values as they stand; they act only after [`Negotiation::finish`].
    pub const fn values(&self) -> &Negotiated {
        &self.values
    }

    /// The agreed values, with the rules between keys checked.
    ///
    /// A missing answer leaves the default, which must be something that this side could have agreed to; Time2Wait and
    /// Time2Retain are advice and always pass.
    ///
    /// # Errors
    /// [`KeyError`]: an offer without an answer whose default is no choice, or FirstBurstLength above MaxBurstLength.
    pub fn finish(&self) -> Result<Negotiated, KeyError> {
        for key in Key::ALL {
            let answered = self.settled.contains(*key) && !self.defaulted.contains(*key);
            if self.offered.contains(*key) && !answered && !self.default_is_admissible(*key) {
                let rule = match self.defaulted.contains(*key) {
                    true => KeyRule::Refused,
                    false => KeyRule::Unanswered,
                };
                return Err(KeyError::new(*key, rule));
            }
        }
        let mut values = self.values;
        if values.first_burst_length > values.max_burst_length {
            let agreed = |key| self.settled.contains(key) && !self.defaulted.contains(key);
            if agreed(Key::FirstBurstLength) && agreed(Key::MaxBurstLength) {
                let rule = KeyRule::FirstBurstAboveMaxBurst;
                return Err(KeyError::new(Key::FirstBurstLength, rule));
            }
            values.first_burst_length = values.max_burst_length;
        }
        if values.error_recovery_level > 0 && values.data_sequence_in_order {
            values.max_outstanding_r2t = 1;
        }
        if self.session_type == SessionType::Discovery {
            values.error_recovery_level = 0;
            values.max_connections = 1;
        }
        Ok(values)
    }

    /// An unknown key is answered, and the negotiation goes on.
    fn receive_unknown(
        &mut self,
        pair: &Pair<'_>,
        out: &mut Writer<'_>,
    ) -> Result<Received, KeyError> {
        let hash = fnv1a(pair.key.as_bytes());
        if self.unknown.contains(&hash) {
            return Err(KeyError { key: None, rule: KeyRule::Repeated });
        }
        // Beyond the bound a repetition goes unnoticed, which harms nobody: the key has no effect.
        let _ = self.unknown.push(hash);
        if pair.value == Special::NotUnderstood.as_str().as_bytes() {
            return Err(KeyError { key: None, rule: KeyRule::ReservedWord });
        }
        out.text(pair.key, Special::NotUnderstood.as_str())
            .map_err(|TextFull| KeyError { key: None, rule: KeyRule::AnswersTooLong })?;
        Ok(Received::NotUnderstood)
    }

    /// Who may send the key, and when.
    fn check_place(&self, key: Key, phase: Phase) -> Result<(), KeyRule> {
        let sender = match self.role {
            Role::Initiator => Senders::Target,
            Role::Target => Senders::Initiator,
        };
        if key.senders() != Senders::Both && key.senders() != sender {
            return Err(KeyRule::WrongSender);
        }
        let in_place = match phase {
            Phase::Security => key.is_allowed_in_security(),
            Phase::Operational => !key.is_security_key() && key.usage() != Use::FullFeature,
            Phase::FullFeature => matches!(key.usage(), Use::Any | Use::FullFeature),
        };
        let leading = self.leading || key.usage() != Use::LeadingLogin;
        // SessionType and X#NodeArchitecture change nothing: they pass on a further connection, too.
        if in_place && (leading || key.result() == ResultFunction::Declared) {
            Ok(())
        } else {
            Err(KeyRule::WrongStage)
        }
    }

    fn receive_known(
        &mut self,
        key: Key,
        pair: &Pair<'_>,
        out: &mut Writer<'_>,
    ) -> Result<Received, KeyRule> {
        if let ValueType::Text { max_len } = key.value_type()
            && pair.value.len() > usize::from(max_len)
        {
            return Err(KeyRule::TooLong);
        }
        if key.is_security_key() {
            return Ok(Received::Security(key));
        }
        if matches!(key.result(), ResultFunction::Declared | ResultFunction::Command) {
            self.receive_declared(key, pair)?;
            return Ok(Received::Declared(key));
        }
        let text = pair.text()?;
        let special = Special::parse(text);
        if self.offered.contains(key) {
            match special {
                Some(special) => self.receive_refusal(key, special)?,
                None => self.receive_answer(key, text)?,
            }
            return Ok(Received::Answer(key));
        }
        if special.is_some() {
            return Err(KeyRule::ReservedWord);
        }
        let answer = self.respond(key, text)?;
        let answer_required = match key.result() {
            ResultFunction::And | ResultFunction::AlwaysNo => text != "No",
            ResultFunction::Or => text != "Yes",
            _ => true,
        };
        answer.write(key, out).map_err(|TextFull| KeyRule::AnswersTooLong)?;
        Ok(Received::Proposal { key, answer_required })
    }

    fn receive_declared(&mut self, key: Key, pair: &Pair<'_>) -> Result<(), KeyRule> {
        match key {
            Key::MaxRecvDataSegmentLength => {
                let length = number_in_range(key, pair.text()?)?;
                match self.role {
                    Role::Initiator => self.values.target_max_recv_data_segment_length = length,
                    Role::Target => self.values.initiator_max_recv_data_segment_length = length,
                }
            }
            Key::TargetPortalGroupTag => {
                let tag = number_in_range(key, pair.text()?)?;
                self.values.target_portal_group_tag = u16::try_from(tag).ok();
            }
            // For display only: any bytes will do.
            Key::TargetAlias | Key::InitiatorAlias | Key::NodeArchitecture => {}
            _ => {
                pair.text()?;
            }
        }
        Ok(())
    }

    /// Reject, Irrelevant or NotUnderstood in answer to an offer: the default holds.
    fn receive_refusal(&mut self, key: Key, special: Special) -> Result<(), KeyRule> {
        if special == Special::NotUnderstood && !key.may_be_unknown() {
            return Err(KeyRule::NotUnderstood);
        }
        self.defaulted.insert(key);
        if special == Special::Irrelevant {
            self.irrelevant.insert(key);
        }
        // What this side cannot do without is not worth another exchange.
        let required_digest = matches!(key, Key::HeaderDigest | Key::DataDigest)
            && !self.digests(key).contains(DigestKind::None);
        if required_digest { Err(KeyRule::Refused) } else { Ok(()) }
    }

    /// The answer to an offer must be a possible result of it.
    fn receive_answer(&mut self, key: Key, text: &str) -> Result<(), KeyRule> {
        match key.result() {
            ResultFunction::Minimum | ResultFunction::Maximum => {
                let number = number_in_range(key, text)?;
                if let Some(offered) = self.number_limit(key) {
                    match key.result() {
                        ResultFunction::Minimum if number > offered => {
                            return Err(KeyRule::AboveOffer);
                        }
                        ResultFunction::Maximum if number < offered => {
                            return Err(KeyRule::BelowOffer);
                        }
                        _ => self.set_number(key, number),
                    }
                }
            }
            ResultFunction::And | ResultFunction::Or => {
                let boolean = value::boolean(text)?;
                if let Some(offered) = self.boolean_limit(key) {
                    match key.result() {
                        ResultFunction::And if boolean && !offered => {
                            return Err(KeyRule::YesToNo);
                        }
                        ResultFunction::Or if !boolean && offered => return Err(KeyRule::NoToYes),
                        _ => self.set_boolean(key, boolean),
                    }
                }
            }
            _ => match key {
                Key::TaskReporting => {
                    let reporting = TaskReporting::parse(text)
                        .filter(|reporting| self.limits.task_reporting.contains(*reporting))
                        .ok_or(KeyRule::NotOffered)?;
                    self.values.task_reporting = reporting;
                }
                _ => {
                    let digest = parse_digest(text)
                        .filter(|digest| self.digests(key).contains(*digest))
                        .ok_or(KeyRule::NotOffered)?;
                    self.set_digest(key, digest);
                }
            },
        }
        Ok(())
    }

    /// The answer to a proposal, from this side's limits.
    fn respond(&mut self, key: Key, text: &str) -> Result<Answer, KeyRule> {
        if self.session_type == SessionType::Discovery && key.is_irrelevant_in_discovery() {
            return Ok(Answer::Special(Special::Irrelevant));
        }
        match key.result() {
            ResultFunction::AlwaysNo => return Ok(Answer::Boolean(false)),
            ResultFunction::AlwaysReject => return Ok(Answer::Special(Special::Reject)),
            ResultFunction::AlwaysIrrelevant => return Ok(Answer::Special(Special::Irrelevant)),
            _ => {}
        }
        if let Some(limit) = self.number_limit(key) {
            let offered = match number_in_range(key, text) {
                Err(KeyRule::OutOfRange) => return Ok(Answer::Special(Special::Reject)),
                offered => offered?,
            };
            let number = match key.result() {
                ResultFunction::Maximum => offered.max(limit),
                _ => offered.min(limit),
            };
            self.set_number(key, number);
            return Ok(Answer::Number(number));
        }
        if let Some(limit) = self.boolean_limit(key) {
            let offered = value::boolean(text)?;
            let boolean = match key.result() {
                ResultFunction::Or => offered || limit,
                _ => offered && limit,
            };
            self.set_boolean(key, boolean);
            return Ok(Answer::Boolean(boolean));
        }
        let mut members = value::list(text);
        let chosen = match key {
            Key::TaskReporting => {
                let known = &self.limits.task_reporting;
                let chosen = members.filter_map(TaskReporting::parse).find(|reporting| {
                    known.contains(*reporting)
                        || known.is_empty() && *reporting == TaskReporting::Rfc3720
                });
                self.values.task_reporting = chosen.unwrap_or_default();
                chosen.map(TaskReporting::as_str)
            }
            _ => {
                let digests = self.digests(key);
                // Without a list of its own this side has no wish, only the absence of a digest.
                let accepted = |digest: &DigestKind| {
                    digests.contains(*digest) || digests.is_empty() && *digest == DigestKind::None
                };
                let chosen = members.find_map(|member| parse_digest(member).filter(accepted));
                self.set_digest(key, chosen.unwrap_or_default());
                chosen.map(DigestKind::as_str)
            }
        };
        Ok(chosen.map_or(Answer::Special(Special::Reject), Answer::Text))
    }

    /// Whether this side could have agreed to the default of `key`, which holds without an answer.
    fn default_is_admissible(&self, key: Key) -> bool {
        let unused_first_burst =
            key == Key::FirstBurstLength && self.values.initial_r2t && !self.values.immediate_data;
        let advice = matches!(key, Key::DefaultTime2Wait | Key::DefaultTime2Retain);
        if advice || unused_first_burst || self.irrelevant.contains(key) {
            return true;
        }
        match (key.result(), key.default_value()) {
            (ResultFunction::Minimum, DefaultValue::Number(default)) => {
                // No exchange is needed to claim no more than the default level.
                key == Key::IscsiProtocolLevel
                    || self.number_limit(key).is_none_or(|limit| default <= limit)
            }
            (ResultFunction::FirstSupported, _) if key != Key::TaskReporting => {
                self.digests(key).contains(DigestKind::None)
            }
            _ => true,
        }
    }

    const fn digests(&self, key: Key) -> &super::Digests {
        match key {
            Key::HeaderDigest => &self.limits.header_digest,
            _ => &self.limits.data_digest,
        }
    }

    /// This side's number for a negotiated or declared key.
    fn number_limit(&self, key: Key) -> Option<u32> {
        let limits = &self.limits;
        Some(match key {
            Key::MaxConnections => u32::from(limits.max_connections),
            Key::MaxRecvDataSegmentLength => limits.max_recv_data_segment_length,
            Key::MaxBurstLength => limits.max_burst_length,
            Key::FirstBurstLength => limits.first_burst_length,
            Key::DefaultTime2Wait => u32::from(limits.default_time2wait),
            Key::DefaultTime2Retain => u32::from(limits.default_time2retain),
            Key::MaxOutstandingR2T => u32::from(limits.max_outstanding_r2t),
            Key::ErrorRecoveryLevel if self.session_type == SessionType::Discovery => 0,
            Key::ErrorRecoveryLevel => u32::from(limits.error_recovery_level),
            Key::IscsiProtocolLevel => u32::from(limits.iscsi_protocol_level.unwrap_or(1)),
            _ => return None,
        })
    }

    const fn boolean_limit(&self, key: Key) -> Option<bool> {
        Some(match key {
            Key::InitialR2T => self.limits.initial_r2t,
            Key::ImmediateData => self.limits.immediate_data,
            Key::DataPduInOrder => self.limits.data_pdu_in_order,
            Key::DataSequenceInOrder => self.limits.data_sequence_in_order,
            _ => return None,
        })
    }

    /// Stores a number that is in the key's range.
    fn set_number(&mut self, key: Key, number: u32) {
        let values = &mut self.values;
        let short = u16::try_from(number).unwrap_or(u16::MAX);
        let byte = u8::try_from(number).unwrap_or(u8::MAX);
        match key {
            Key::MaxConnections => values.max_connections = short,
            Key::MaxBurstLength => values.max_burst_length = number,
            Key::FirstBurstLength => values.first_burst_length = number,
            Key::DefaultTime2Wait => values.default_time2wait = short,
            Key::DefaultTime2Retain => values.default_time2retain = short,
            Key::MaxOutstandingR2T => values.max_outstanding_r2t = short,
            Key::ErrorRecoveryLevel => values.error_recovery_level = byte,
            Key::IscsiProtocolLevel => values.iscsi_protocol_level = byte,
            _ => {}
        }
    }

    const fn set_boolean(&mut self, key: Key, boolean: bool) {
        let values = &mut self.values;
        match key {
            Key::InitialR2T => values.initial_r2t = boolean,
            Key::ImmediateData => values.immediate_data = boolean,
            Key::DataPduInOrder => values.data_pdu_in_order = boolean,
            Key::DataSequenceInOrder => values.data_sequence_in_order = boolean,
            _ => {}
        }
    }

    const fn set_digest(&mut self, key: Key, digest: DigestKind) {
        match key {
            Key::HeaderDigest => self.values.header_digest = digest,
            _ => self.values.data_digest = digest,
        }
    }
}

/// What an acceptor writes.
enum Answer {
    Number(u32),
    Boolean(bool),
    Text(&'static str),
    Special(Special),
}

impl Answer {
    fn write(&self, key: Key, out: &mut Writer<'_>) -> Result<(), TextFull> {
        match self {
            Self::Number(number) => out.number(key.name(), u64::from(*number)),
            Self::Boolean(boolean) => out.boolean(key.name(), *boolean),
            Self::Text(text) => out.text(key.name(), text),
            Self::Special(special) => out.text(key.name(), special.as_str()),
        }
    }
}

fn number_in_range(key: Key, text: &str) -> Result<u32, KeyRule> {
    let number = match value::number(text) {
        Err(error) if error.rule == TextRule::NumberTooLarge => return Err(KeyRule::OutOfRange),
        number => number?,
    };
    match (u32::try_from(number), key.value_type()) {
        (Ok(number), ValueType::Number { min, max }) if (min..=max).contains(&number) => Ok(number),
        _ => Err(KeyRule::OutOfRange),
    }
}

fn parse_digest(text: &str) -> Option<DigestKind> {
    [DigestKind::None, DigestKind::Crc32c].into_iter().find(|digest| digest.as_str() == text)
}

/// FNV-1a with 32 bits: enough to notice a key that comes again.
fn fnv1a(bytes: &[u8]) -> u32 {
    let step = |hash: u32, byte: &u8| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
    bytes.iter().fold(0x811c_9dc5, step)
}
