//! iSCSI names: `iqn.`, `eui.` and `naa.` (RFC 7143 section 4.2.7, RFC 3721, RFC 3722).

use core::fmt;

use heapless::String;

/// The longest iSCSI name in bytes (RFC 7143 section 4.2.7.2).
pub const MAX_NAME_LEN: usize = 223;

/// The name of an initiator or target node, in UTF-8, at most [`MAX_NAME_LEN`] bytes.
///
/// Names are compared byte for byte. Three constructors differ in what they let pass:
///
/// - [`IscsiName::new`] takes a name as RFC 3722 leaves it after normalization: use it for names that this side owns.
/// - [`IscsiName::from_typed`] maps the ASCII capitals of an `iqn.` name to small letters first.
/// - [`IscsiName::from_peer`] keeps what the other side wrote: a target that calls itself `iqn.2001-04.com.example:Disk1`
///   must be addressed by exactly these bytes. It refuses only what cannot be a name.
///
/// ```
/// use iscsi_core::{IscsiName, NameKind, NameRule};
///
/// let name = IscsiName::new("iqn.2001-04.com.example:disk1").unwrap();
/// assert_eq!(name.kind(), NameKind::Iqn);
/// assert_eq!(name.as_str(), "iqn.2001-04.com.example:disk1");
/// assert!(IscsiName::new("naa.52004567BA64678D").is_ok());
///
/// let error = IscsiName::new("iqn.2001-04.com.example:Disk1").unwrap_err();
/// assert_eq!((error.rule, error.at), (NameRule::Capital, 24));
/// assert_eq!(IscsiName::from_typed("IQN.2001-04.com.example:Disk1").unwrap(), name);
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IscsiName(String<MAX_NAME_LEN>);

impl IscsiName {
    /// No name: what a configuration holds before it is filled in.
    pub(crate) const EMPTY: Self = Self(String::new());

    /// A name in normalized form.
    ///
    /// Of an `iqn.` name the date (`yyyy-mm`), the naming authority and the character set are checked. Characters outside
    /// ASCII are accepted unless they are capitals, white space, controls, private use or U+3002; the normalization
    /// form itself is not checked.
    ///
    /// # Errors
    /// [`NameError`] with the first rule that is broken and where.
    pub fn new(name: &str) -> Result<Self, NameError> {
        let (kind, rest) = split_type(name)?;
        match kind {
            NameKind::Iqn => check_iqn(rest)?,
            NameKind::Eui => check_hex(rest, &[16])?,
            NameKind::Naa => check_hex(rest, &[16, 32])?,
        }
        Self::store(name)
    }

    /// A name that a person typed: surrounding white space is dropped, the type prefix may be written in capitals, and ASCII
    /// capitals of an `iqn.` name become small letters (RFC 3722 section 3). Hexadecimal digits keep their case.
    ///
    /// # Errors
    /// [`NameError`]; the position counts from the first character that is not white space.
    pub fn from_typed(name: &str) -> Result<Self, NameError> {
        let name = name.trim();
        let mut lower = String::<MAX_NAME_LEN>::new();
        let is_iqn = name.get(..4).is_some_and(|prefix| prefix.eq_ignore_ascii_case("iqn."));
        for (at, c) in name.char_indices() {
            let mapped = if is_iqn || at < 4 { c.to_ascii_lowercase() } else { c };
            lower.push(mapped).map_err(|_| NameError { rule: NameRule::TooLong, at })?;
        }
        Self::new(&lower)
    }

    /// A name as a peer sent it, or as it must be sent to a peer.
    ///
    /// The type prefix, the length and the absence of white space and control characters are checked, and the digits of
    /// `eui.` and `naa.` names.
    ///
    /// # Errors
    /// [`NameError`] with the first rule that is broken and where.
    pub fn from_peer(name: &str) -> Result<Self, NameError> {
        let (kind, rest) = split_type(name)?;
        match kind {
            NameKind::Iqn => {
                if rest.is_empty() {
                    return Err(NameError { rule: NameRule::Authority, at: 4 });
                }
                for (at, c) in rest.char_indices() {
                    if c.is_whitespace() || c.is_control() {
                        return Err(NameError { rule: NameRule::Character, at: at + 4 });
                    }
                }
            }
            NameKind::Eui => check_hex(rest, &[16])?,
            NameKind::Naa => check_hex(rest, &[16, 32])?,
        }
        Self::store(name)
    }

    fn store(name: &str) -> Result<Self, NameError> {
        String::try_from(name)
            .map(Self)
            .map_err(|_| NameError { rule: NameRule::TooLong, at: MAX_NAME_LEN })
    }

    /// The name as it travels.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// Which naming authority the name belongs to.
    pub fn kind(&self) -> NameKind {
        match self.0.as_bytes().first() {
            Some(b'e') => NameKind::Eui,
            Some(b'n') => NameKind::Naa,
            _ => NameKind::Iqn,
        }
    }
}

impl AsRef<str> for IscsiName {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl fmt::Debug for IscsiName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "IscsiName({:?})", self.as_str())
    }
}

impl fmt::Display for IscsiName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl core::str::FromStr for IscsiName {
    type Err = NameError;

    /// As [`IscsiName::from_typed`].
    fn from_str(name: &str) -> Result<Self, NameError> {
        Self::from_typed(name)
    }
}

/// The type of an iSCSI name (RFC 7143 sections 4.2.7.4 to 4.2.7.6).
///
/// ```
/// use iscsi_core::{IscsiName, NameKind};
/// assert_eq!(IscsiName::new("eui.02004567A425678D").unwrap().kind(), NameKind::Eui);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NameKind {
    /// `iqn.`: a date and a reversed domain name.
    Iqn,
    /// `eui.`: an EUI-64.
    Eui,
    /// `naa.`: a Network Address Authority identifier of 64 or 128 bits.
    Naa,
}

/// Why a name was refused, and at which byte.
///
/// ```
/// use iscsi_core::IscsiName;
/// let error = IscsiName::new("iqn.2001-13.com.example").unwrap_err();
/// assert_eq!(
///     error.to_string(),
///     "an iqn. name needs a date yyyy-mm after the prefix (at byte 4)"
/// );
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct NameError {
    /// The rule that is broken.
    pub rule: NameRule,
    /// The byte of the name where it is broken.
    pub at: usize,
}

impl NameError {
    /// The section of RFC 7143 that holds the rule.
    pub const fn section(&self) -> &'static str {
        match self.rule {
            NameRule::UnknownType => "4.2.7.3",
            NameRule::Date | NameRule::Authority => "4.2.7.4",
            NameRule::HexLength | NameRule::HexDigit => "4.2.7.5",
            NameRule::Empty | NameRule::TooLong | NameRule::Character | NameRule::Capital => {
                "4.2.7.2"
            }
        }
    }
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self.rule {
            NameRule::Empty => "an iSCSI name must not be empty",
            NameRule::TooLong => "an iSCSI name has at most 223 bytes",
            NameRule::UnknownType => "an iSCSI name begins with iqn., eui. or naa.",
            NameRule::Date => "an iqn. name needs a date yyyy-mm after the prefix",
            NameRule::Authority => "an iqn. name needs a reversed domain name after the date",
            NameRule::Character => "this character is not allowed in an iSCSI name",
            NameRule::Capital => "an iqn. name is written in small letters",
            NameRule::HexLength => {
                "an eui. name has 16 hexadecimal digits, a naa. name has 16 or 32"
            }
            NameRule::HexDigit => "this is not a hexadecimal digit",
        };
        write!(f, "{text} (at byte {})", self.at)
    }
}

impl core::error::Error for NameError {}

/// The rules for iSCSI names.
///
/// ```
/// use iscsi_core::{IscsiName, NameRule};
/// assert_eq!(IscsiName::new("").unwrap_err().rule, NameRule::Empty);
/// assert_eq!(IscsiName::new("disk1").unwrap_err().rule, NameRule::UnknownType);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum NameRule {
    /// There is no name.
    Empty,
    /// More than 223 bytes.
    TooLong,
    /// The name begins with none of `iqn.`, `eui.`, `naa.`.
    UnknownType,
    /// An `iqn.` name without `yyyy-mm.`.
    Date,
    /// An `iqn.` name without a naming authority, or with an empty label in it.
    Authority,
    /// A character that no name may hold.
    Character,
    /// A capital letter in an `iqn.` name, which is written in small letters.
    Capital,
    /// Not 16 (`eui.`) or 16 or 32 (`naa.`) digits.
    HexLength,
    /// Not a hexadecimal digit.
    HexDigit,
}

fn split_type(name: &str) -> Result<(NameKind, &str), NameError> {
    if name.is_empty() {
        return Err(NameError { rule: NameRule::Empty, at: 0 });
    }
    if name.len() > MAX_NAME_LEN {
        return Err(NameError { rule: NameRule::TooLong, at: MAX_NAME_LEN });
    }
    let kinds = [("iqn.", NameKind::Iqn), ("eui.", NameKind::Eui), ("naa.", NameKind::Naa)];
    kinds
        .iter()
        .find_map(|(prefix, kind)| Some((*kind, name.strip_prefix(prefix)?)))
        .ok_or(NameError { rule: NameRule::UnknownType, at: 0 })
}

fn check_hex(digits: &str, lengths: &[usize]) -> Result<(), NameError> {
    if let Some(at) = digits.bytes().position(|byte| !byte.is_ascii_hexdigit()) {
        return Err(NameError { rule: NameRule::HexDigit, at: at + 4 });
    }
    if lengths.contains(&digits.len()) {
        Ok(())
    } else {
        Err(NameError { rule: NameRule::HexLength, at: digits.len() + 4 })
    }
}

/// Checks what follows `iqn.`.
fn check_iqn(rest: &str) -> Result<(), NameError> {
    const PREFIX: usize = 4;
    const DATE: usize = 7;
    let date = rest.as_bytes().first_chunk::<DATE>();
    if !date.is_some_and(is_date) {
        return Err(NameError { rule: NameRule::Date, at: PREFIX });
    }
    let authority_at = PREFIX + DATE + 1;
    let no_authority = NameError { rule: NameRule::Authority, at: PREFIX + DATE };
    let tail = rest.get(DATE..).and_then(|tail| tail.strip_prefix('.')).ok_or(no_authority)?;
    for (at, c) in tail.char_indices() {
        let rule = match c {
            'a'..='z' | '0'..='9' | '-' | '.' | ':' => continue,
            'A'..='Z' => NameRule::Capital,
            '\0'..='\u{7f}' | '\u{3002}' | '\u{e000}'..='\u{f8ff}' | '\u{f0000}'.. => {
                NameRule::Character
            }
            c if c.is_whitespace() || c.is_control() => NameRule::Character,
            c if c.is_uppercase() => NameRule::Capital,
            _ => continue,
        };
        return Err(NameError { rule, at: authority_at + at });
    }
    let authority = tail.split(':').next().unwrap_or_default();
    let mut at = authority_at;
    for label in authority.split('.') {
        if label.is_empty() {
            return Err(NameError { rule: NameRule::Authority, at });
        }
        at += label.len() + 1;
    }
    Ok(())
}

/// `yyyy-mm` with a month from 01 to 12.
fn is_date(date: &[u8; 7]) -> bool {
    let [y0, y1, y2, y3, dash, m0, m1] = *date;
    let digits = [y0, y1, y2, y3, m0, m1];
    let month = (u32::from(m0) * 10 + u32::from(m1)).wrapping_sub(u32::from(b'0') * 11);
    dash == b'-' && digits.iter().all(u8::is_ascii_digit) && (1..=12).contains(&month)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(name: &str) -> (NameRule, usize) {
        let error = IscsiName::new(name).unwrap_err();
        (error.rule, error.at)
    }

    #[test]
    fn the_forms_of_the_rfc_are_names() {
        for name in [
            "iqn.2001-04.com.example:storage:diskarrays-sn-a8675309",
            "iqn.2001-04.com.example",
            "iqn.2001-04.com.example:storage.tape1.sys1.xyz",
            "eui.02004567A425678D",
            "naa.52004567BA64678D",
            "naa.62004567BA64678D0123456789ABCDEF",
            "iqn.2001-04.com.example:platte-\u{e4}",
        ] {
            assert_eq!(IscsiName::new(name).unwrap().as_str(), name);
            assert_eq!(IscsiName::from_peer(name).unwrap().as_str(), name);
        }
    }

    #[test]
    fn each_rule_names_its_place() {
        assert_eq!(rule(""), (NameRule::Empty, 0));
        assert_eq!(rule("example"), (NameRule::UnknownType, 0));
        assert_eq!(rule("iqn"), (NameRule::UnknownType, 0));
        assert_eq!(rule("iqn."), (NameRule::Date, 4));
        assert_eq!(rule("iqn.2001-00.com"), (NameRule::Date, 4));
        assert_eq!(rule("iqn.2001-1.com"), (NameRule::Date, 4));
        assert_eq!(rule("iqn.2001-01"), (NameRule::Authority, 11));
        assert_eq!(rule("iqn.2001-01."), (NameRule::Authority, 12));
        assert_eq!(rule("iqn.2001-01.com..x"), (NameRule::Authority, 16));
        assert_eq!(rule("iqn.2001-01.com:a b"), (NameRule::Character, 17));
        assert_eq!(rule("iqn.2001-01.com:a_b"), (NameRule::Character, 17));
        assert_eq!(rule("iqn.2001-01.com:\u{3002}"), (NameRule::Character, 16));
        assert_eq!(rule("iqn.2001-01.com:A"), (NameRule::Capital, 16));
        assert_eq!(rule("iqn.2001-01.com:\u{c4}"), (NameRule::Capital, 16));
        assert_eq!(rule("eui.02004567A425678"), (NameRule::HexLength, 19));
        assert_eq!(rule("eui.02004567A425678x"), (NameRule::HexDigit, 19));
        assert_eq!(rule("naa.0123456789abcdef0"), (NameRule::HexLength, 21));
    }

    #[test]
    fn the_limit_is_223_bytes() {
        let mut name =
            String::<{ MAX_NAME_LEN + 1 }>::try_from("iqn.2001-04.com.example:").unwrap();
        while name.len() < MAX_NAME_LEN {
            name.push('x').unwrap();
        }
        assert!(IscsiName::new(&name).is_ok() && IscsiName::from_peer(&name).is_ok());
        name.push('x').unwrap();
        assert_eq!(rule(&name), (NameRule::TooLong, 223));
        assert_eq!(IscsiName::from_peer(&name).unwrap_err().rule, NameRule::TooLong);
        assert_eq!(IscsiName::from_typed(&name).unwrap_err().rule, NameRule::TooLong);
    }

    #[test]
    fn peers_may_write_what_this_side_would_not() {
        let name = IscsiName::from_peer("iqn.target_without_date:A@b").unwrap();
        assert_eq!(name.as_str(), "iqn.target_without_date:A@b");
        let refused = |name| IscsiName::from_peer(name).unwrap_err().rule;
        assert_eq!(refused("iqn."), NameRule::Authority);
        assert_eq!(refused("iqn.a b"), NameRule::Character);
        assert_eq!(refused("iqn.a\tb"), NameRule::Character);
        assert_eq!(refused("disk"), NameRule::UnknownType);
        assert_eq!(refused("eui.1"), NameRule::HexLength);
    }

    #[test]
    fn typed_names_are_mapped() {
        let typed: IscsiName = " Iqn.2001-04.COM.example:Disk1\n".parse().unwrap();
        assert_eq!(typed.as_str(), "iqn.2001-04.com.example:disk1");
        let eui = IscsiName::from_typed("EUI.02004567A425678D").unwrap();
        assert_eq!(eui.as_str(), "eui.02004567A425678D");
    }
}
