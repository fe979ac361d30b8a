//! Rules of the text format.

use core::fmt;

/// A broken rule of the text format and where it is broken (RFC 7143 section 6.1).
///
/// ```
/// use iscsi_core::text::{Pairs, TextRule};
/// let error = Pairs::new(b"A=1\0InitialR2T\0").nth(1).unwrap().unwrap_err();
/// assert_eq!((error.rule, error.at), (TextRule::EqualsMissing, 4));
/// assert_eq!(error.section(), "6.1");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct TextError {
    /// The rule.
    pub rule: TextRule,
    /// Offset in bytes of the pair within its text, 0 where a lone value was read.
    pub at: usize,
}

impl TextError {
    pub(crate) const fn new(rule: TextRule) -> Self {
        Self { rule, at: 0 }
    }

    /// The section of RFC 7143 that holds the rule.
    pub const fn section(&self) -> &'static str {
        "6.1"
    }
}

impl fmt::Display for TextError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (pair at byte {})", self.rule, self.at)
    }
}

impl core::error::Error for TextError {}

/// One variant for each rule of the text format (RFC 7143 section 6.1).
///
/// ```
/// use iscsi_core::text::{TextRule, value};
/// assert_eq!(value::number("-1").unwrap_err().rule, TextRule::Number);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TextRule {
    /// A pair has no `=`.
    EqualsMissing,
    /// A pair has no key before its `=`.
    KeyEmpty,
    /// A key is longer than 63 characters.
    KeyTooLong,
    /// A key does not begin with a capital letter.
    KeyStart,
    /// A key holds a character that keys cannot have.
    KeyCharacter,
    /// The last pair is not ended by a zero byte.
    TerminatorMissing,
    /// A value is not UTF-8.
    Utf8,
    /// Neither `Yes` nor `No`.
    Boolean,
    /// Neither a decimal nor a hexadecimal number.
    Number,
    /// A number of 2^64 or more.
    NumberTooLarge,
    /// Not of the form `a~b` with a <= b.
    Range,
    /// Neither a hexadecimal nor a base64 item.
    Binary,
    /// A binary item is longer than its key allows.
    BinaryTooLong,
}

impl fmt::Display for TextRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::EqualsMissing => "a pair has no equals sign",
            Self::KeyEmpty => "a pair has no key",
            Self::KeyTooLong => "a key is longer than 63 characters",
            Self::KeyStart => "a key does not begin with a capital letter",
            Self::KeyCharacter => "a key holds a character that keys cannot have",
            Self::TerminatorMissing => "the last pair is not ended by a zero byte",
            Self::Utf8 => "a value is not UTF-8",
            Self::Boolean => "a value is neither Yes nor No",
            Self::Number => "a value is neither a decimal nor a hexadecimal number",
            Self::NumberTooLarge => "a number is too large",
            Self::Range => "a value is not a range",
            Self::Binary => "a value is neither a hexadecimal nor a base64 item",
            Self::BinaryTooLong => "a binary item is too long",
        })
    }
}
