//! Rules of negotiation.

use core::fmt;

use super::{Key, TextError, TextRule};

/// A broken rule of negotiation and the key it was broken for (RFC 7143 sections 6.2 and 13).
///
/// ```
/// use iscsi_core::text::{Key, KeyError, KeyRule};
/// let error = KeyError { key: Some(Key::MaxBurstLength), rule: KeyRule::AboveOffer };
/// assert_eq!(error.section(), "6.2.2");
/// assert_eq!(error.to_string(), "MaxBurstLength: the answer is larger than the offer");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyError {
    /// The key; absent if it is none of the table.
    pub key: Option<Key>,
    /// The rule.
    pub rule: KeyRule,
}

impl KeyError {
    pub(crate) const fn new(key: Key, rule: KeyRule) -> Self {
        Self { key: Some(key), rule }
    }

    /// The section of RFC 7143 that holds the rule.
    pub const fn section(&self) -> &'static str {
        match (self.rule, self.key) {
            (KeyRule::Malformed(_) | KeyRule::TooLong, _) => "6.1",
            (KeyRule::WrongStage, Some(key)) if !key.is_security_key() => "12",
            (KeyRule::OutOfRange | KeyRule::WrongStage | KeyRule::WrongSender, Some(key)) => {
                key.section()
            }
            (KeyRule::NotOffered, _) => "6.2.1",
            (
                KeyRule::AboveOffer
                | KeyRule::BelowOffer
                | KeyRule::YesToNo
                | KeyRule::NoToYes
                | KeyRule::OutOfRange,
                _,
            ) => "6.2.2",
            (KeyRule::Repeated, _) => "6.3",
            (KeyRule::FirstBurstAboveMaxBurst, _) => "13.14",
            (
                KeyRule::WrongStage
                | KeyRule::WrongSender
                | KeyRule::ReservedWord
                | KeyRule::NotUnderstood
                | KeyRule::Refused
                | KeyRule::Unanswered
                | KeyRule::AnswersTooLong,
                _,
            ) => "6.2",
        }
    }
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.key {
            Some(key) => write!(f, "{key}: {}", self.rule),
            None => write!(f, "unknown key: {}", self.rule),
        }
    }
}

impl core::error::Error for KeyError {}

/// One variant for each rule of negotiation.
///
/// ```
/// use iscsi_core::text::KeyRule;
/// assert_eq!(KeyRule::Repeated.to_string(), "the key was already settled");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum KeyRule {
    /// The value has not the form of its type.
    Malformed(TextRule),
    /// The number is outside of the key's range.
    OutOfRange,
    /// The value is longer than the key allows.
    TooLong,
    /// The key may not be sent in this stage, or not on this connection.
    WrongStage,
    /// The key may not be sent by this side.
    WrongSender,
    /// The key was already settled: a second time is a renegotiation.
    Repeated,
    /// The answer to a list is none of its members.
    NotOffered,
    /// The answer to a minimum is larger than the offer.
    AboveOffer,
    /// The answer to a maximum is smaller than the offer.
    BelowOffer,
    /// The answer is Yes where the offered No decides.
    YesToNo,
    /// The answer is No where the offered Yes decides.
    NoToYes,
    /// Reject, Irrelevant or NotUnderstood where nothing was offered.
    ReservedWord,
    /// NotUnderstood for a key that every implementation must know.
    NotUnderstood,
    /// The other side rejects what this side requires.
    Refused,
    /// The other side did not answer, and the default is outside of what was offered.
    Unanswered,
    /// The agreed FirstBurstLength exceeds the agreed MaxBurstLength.
    FirstBurstAboveMaxBurst,
    /// The answers that are owed do not fit into the area for them.
    AnswersTooLong,
}

impl From<TextError> for KeyRule {
    fn from(error: TextError) -> Self {
        Self::Malformed(error.rule)
    }
}

impl fmt::Display for KeyRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed(rule) => return rule.fmt(f),
            Self::OutOfRange => "the number is out of range",
            Self::TooLong => "the value is too long",
            Self::WrongStage => "the key is not allowed in this stage",
            Self::WrongSender => "the key is not for this side to send",
            Self::Repeated => "the key was already settled",
            Self::NotOffered => "the answer was not offered",
            Self::AboveOffer => "the answer is larger than the offer",
            Self::BelowOffer => "the answer is smaller than the offer",
            Self::YesToNo => "the answer is Yes although No was offered",
            Self::NoToYes => "the answer is No although Yes was offered",
            Self::ReservedWord => "a reserved word stands where nothing was offered",
            Self::NotUnderstood => "NotUnderstood for a key that must be known",
            Self::Refused => "what was offered was rejected",
            Self::Unanswered => "the offer was not answered and the default is no choice",
            Self::FirstBurstAboveMaxBurst => "FirstBurstLength exceeds MaxBurstLength",
            Self::AnswersTooLong => "there is no room for the answers",
        })
    }
}
