//! Reading pairs out of text (RFC 7143 section 6.1).

use super::{Key, TextError, TextRule};

/// The longest key in characters.
const MAX_KEY_LEN: usize = 63;

/// One `key=value`.
///
/// ```
/// use iscsi_core::text::Pairs;
/// let pair = Pairs::new(b"TargetAlias=a=b\0").next().unwrap().unwrap();
/// assert_eq!((pair.key, pair.value), ("TargetAlias", &b"a=b"[..]));
/// assert_eq!(pair.text(), Ok("a=b"));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pair<'a> {
    /// The key: ASCII, 1 to 63 characters.
    pub key: &'a str,
    /// Everything behind the first `=`, as it came.
    pub value: &'a [u8],
    /// Offset of the pair in the text.
    pub at: usize,
}

impl<'a> Pair<'a> {
    /// The value as text. It may hold control characters: escape it before it is shown.
    ///
    /// # Errors
    /// [`TextRule::Utf8`]
    pub fn text(&self) -> Result<&'a str, TextError> {
        core::str::from_utf8(self.value)
            .map_err(|_| TextError { rule: TextRule::Utf8, at: self.at })
    }

    /// Reads a pair without its zero byte.
    fn parse(bytes: &'a [u8], at: usize) -> Result<Self, TextError> {
        let error = |rule| TextError { rule, at };
        let missing = error(TextRule::EqualsMissing);
        let equals = bytes.iter().position(|byte| *byte == b'=').ok_or(missing)?;
        let (key, rest) = bytes.split_at_checked(equals).ok_or(missing)?;
        let value = rest.split_first().map_or(&[][..], |(_equals, value)| value);
        let key = check_key(key).map_err(error)?;
        Ok(Self { key, value, at })
    }
}

fn check_key(key: &[u8]) -> Result<&str, TextRule> {
    let first = *key.first().ok_or(TextRule::KeyEmpty)?;
    if key.len() > MAX_KEY_LEN {
        return Err(TextRule::KeyTooLong);
    }
    let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b".-+@_#".contains(byte);
    if !key.iter().all(allowed) {
        return Err(TextRule::KeyCharacter);
    }
    let key = core::str::from_utf8(key).map_err(|_| TextRule::KeyCharacter)?;
    // Two keys of later RFCs break the rule that a key begins with a capital.
    let exempt = [Key::IscsiProtocolLevel.name(), Key::IserHelloRequired.name()];
    if !first.is_ascii_uppercase() && !exempt.contains(&key) {
        return Err(TextRule::KeyStart);
    }
    Ok(key)
}

/// Whether the last pair of a text needs its zero byte.
///
/// ```
/// use iscsi_core::text::{Pairs, Termination};
/// assert!(Pairs::new(b"A=1").next().unwrap().is_err());
/// let mut pairs = Pairs::new(b"A=1").termination(Termination::Lenient);
/// assert_eq!(pairs.next().unwrap().unwrap().value, b"1");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Termination {
    /// As RFC 7143 section 6.1 says: every pair ends with a zero byte.
    #[default]
    Strict,
    /// The last pair may lack it, as some targets send it.
    Lenient,
}

/// The pairs of a complete text: all data segments up to and including the one with C=0, joined.
///
/// Empty strings (more than one zero byte in a row) are skipped. After an error the iterator ends.
///
/// ```
/// use iscsi_core::text::Pairs;
/// let mut pairs = Pairs::new(b"HeaderDigest=None\0\0ImmediateData=Yes\0");
/// assert_eq!(pairs.next().unwrap().unwrap().key, "HeaderDigest");
/// assert_eq!(pairs.next().unwrap().unwrap().key, "ImmediateData");
/// assert!(pairs.next().is_none());
/// ```
#[derive(Debug, Clone)]
pub struct Pairs<'a> {
    rest: &'a [u8],
    at: usize,
    termination: Termination,
}

impl<'a> Pairs<'a> {
    /// Reads `text` strictly.
    pub const fn new(text: &'a [u8]) -> Self {
        Self { rest: text, at: 0, termination: Termination::Strict }
    }

    /// Sets how the last pair ends.
    #[must_use]
    pub const fn termination(mut self, termination: Termination) -> Self {
        self.termination = termination;
        self
    }
}

impl<'a> Iterator for Pairs<'a> {
    type Item = Result<Pair<'a>, TextError>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = next_pair(self.rest, false, self.termination);
        let (pair, consumed) = match next {
            Ok(Next::Pair { pair, consumed }) => (pair, consumed),
            Ok(Next::More { .. } | Next::End) => return None,
            Err(error) => {
                self.rest = &[];
                return Some(Err(TextError { at: error.at + self.at, ..error }));
            }
        };
        let pair = Pair { at: pair.at + self.at, ..pair };
        self.rest = self.rest.get(consumed..).unwrap_or_default();
        self.at += consumed;
        Some(Ok(pair))
    }
}

/// What [`next_pair`] found.
///
/// ```
/// use iscsi_core::text::{Next, Termination, next_pair};
/// let Next::Pair { pair, consumed } = next_pair(b"A=1\0B=", true, Termination::Strict).unwrap()
/// else { panic!() };
/// assert_eq!((pair.key, consumed), ("A", 4));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next<'a> {
    /// A pair.
    Pair {
        /// The pair; its offset counts from the start of the buffer.
        pair: Pair<'a>,
        /// Bytes of the buffer that are used up with it.
        consumed: usize,
    },
    /// The buffer ends within a pair. If the buffer is full, the pair is longer than the buffer.
    More {
        /// Bytes of the buffer that are used up: empty strings before the pair.
        consumed: usize,
    },
    /// Nothing is left.
    End,
}

/// Takes the first complete pair out of a buffer that is filled while text arrives.
///
/// `more_to_come` says that bytes are still missing: an unfinished pair at the end of the buffer is then no error. A pair may be
/// cut anywhere between two buffers' fills, also within its key.
///
/// ```
/// use iscsi_core::text::{Next, Termination, next_pair};
///
/// let next = next_pair(b"\0TargetNa", true, Termination::Strict);
/// assert_eq!(next, Ok(Next::More { consumed: 1 }));
/// assert_eq!(next_pair(b"\0", false, Termination::Strict), Ok(Next::End));
/// ```
///
/// # Errors
/// A [`TextError`] whose offset counts from the start of the buffer.
pub fn next_pair(
    buffer: &[u8],
    more_to_come: bool,
    termination: Termination,
) -> Result<Next<'_>, TextError> {
    let start = buffer.iter().take_while(|byte| **byte == 0).count();
    let rest = buffer.get(start..).unwrap_or_default();
    match rest.iter().position(|byte| *byte == 0) {
        Some(length) => {
            let pair = Pair::parse(rest.get(..length).unwrap_or_default(), start)?;
            Ok(Next::Pair { pair, consumed: start + length + 1 })
        }
        None if more_to_come => Ok(Next::More { consumed: start }),
        None if rest.is_empty() => Ok(Next::End),
        None if termination == Termination::Lenient => {
            Ok(Next::Pair { pair: Pair::parse(rest, start)?, consumed: buffer.len() })
        }
        None => Err(TextError { rule: TextRule::TerminatorMissing, at: start }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(text: &[u8]) -> TextRule {
        Pairs::new(text).next().unwrap().unwrap_err().rule
    }

    #[test]
    fn malformed_pairs_are_told_apart() {
        assert_eq!(rule(b"InitialR2T\0"), TextRule::EqualsMissing);
        assert_eq!(rule(b"=x\0"), TextRule::KeyEmpty);
        assert_eq!(rule(b"initialR2T=Yes\0"), TextRule::KeyStart);
        assert_eq!(rule(b"1A=x\0"), TextRule::KeyStart);
        assert_eq!(rule(b"A B=x\0"), TextRule::KeyCharacter);
        assert_eq!(rule(b"A\xc3\xa4=x\0"), TextRule::KeyCharacter);
        assert_eq!(rule(b"A=x"), TextRule::TerminatorMissing);
        let mut long = std::vec![b'K'; 63];
        long.extend(b"=1\0");
        assert!(Pairs::new(&long).next().unwrap().is_ok());
        long.insert(0, b'K');
        assert_eq!(rule(&long), TextRule::KeyTooLong);
    }

    #[test]
    fn keys_of_later_rfcs_may_begin_small() {
        let mut pairs = Pairs::new(b"iSCSIProtocolLevel=2\0iSERHelloRequired=No\0X#Node=1\0");
        assert!(pairs.by_ref().all(|pair| pair.is_ok()));
        assert_eq!(rule(b"iSCSIProtocolLevels=2\0"), TextRule::KeyStart);
    }

    #[test]
    fn values_are_bytes() {
        let pair = Pairs::new(b"TargetAlias=\xff\x01=\0").next().unwrap().unwrap();
        assert_eq!(pair.value, b"\xff\x01=");
        assert_eq!(pair.text().unwrap_err().rule, TextRule::Utf8);
        let empty = Pairs::new(b"SendTargets=\0").next().unwrap().unwrap();
        assert_eq!(empty.text(), Ok(""));
    }

    #[test]
    fn empty_strings_are_skipped_and_offsets_count() {
        let pairs = Pairs::new(b"\0\0A=1\0\0\0B=2\0\0").map(Result::unwrap);
        assert!(pairs.map(|pair| (pair.key, pair.at)).eq([("A", 2), ("B", 8)]));
        assert_eq!(Pairs::new(b"").count(), 0);
        assert_eq!(Pairs::new(b"\0\0").count(), 0);
    }

    #[test]
    fn an_error_ends_the_iteration() {
        let mut pairs = Pairs::new(b"A=1\0broken\0B=2\0");
        assert!(pairs.next().unwrap().is_ok());
        assert_eq!(pairs.next(), Some(Err(TextError { rule: TextRule::EqualsMissing, at: 4 })));
        assert_eq!(pairs.next(), None);
    }
}
