//! Reading values: numbers, booleans, ranges, lists and binary items (RFC 7143 section 6.1).

use super::{TextError, TextRule};

/// The three words that stand in place of a value (RFC 7143 section 6.2).
///
/// ```
/// use iscsi_core::text::value::Special;
/// assert_eq!(Special::parse("NotUnderstood"), Some(Special::NotUnderstood));
/// assert_eq!(Special::parse("notunderstood"), None);
/// assert_eq!(Special::Irrelevant.as_str(), "Irrelevant");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Special {
    /// The acceptor does not know the key.
    NotUnderstood,
    /// The key has no meaning beside the other selections.
    Irrelevant,
    /// The acceptor has no admissible value; the current one stays.
    Reject,
}

impl Special {
    /// The word, if `value` is one.
    pub fn parse(value: &str) -> Option<Self> {
        match value {
            "NotUnderstood" => Some(Self::NotUnderstood),
            "Irrelevant" => Some(Self::Irrelevant),
            "Reject" => Some(Self::Reject),
            _ => None,
        }
    }

    /// The word as it travels.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotUnderstood => "NotUnderstood",
            Self::Irrelevant => "Irrelevant",
            Self::Reject => "Reject",
        }
    }
}

/// Reads `Yes` or `No`.
///
/// ```
/// use iscsi_core::text::value;
/// assert_eq!(value::boolean("Yes"), Ok(true));
/// assert!(value::boolean("yes").is_err());
/// ```
///
/// # Errors
/// [`TextRule::Boolean`]
pub fn boolean(value: &str) -> Result<bool, TextError> {
    match value {
        "Yes" => Ok(true),
        "No" => Ok(false),
        _ => Err(TextError::new(TextRule::Boolean)),
    }
}

/// Reads a decimal or hexadecimal number below 2^64.
///
/// Decimal numbers have no leading zero and no sign; hexadecimal ones begin with `0x` or `0X` and may have leading zeros.
///
/// ```
/// use iscsi_core::text::value;
/// assert_eq!(value::number("262144"), Ok(262144));
/// assert_eq!(value::number("0x40000"), Ok(262144));
/// assert!(value::number("0512").is_err() && value::number("+5").is_err());
/// ```
///
/// # Errors
/// [`TextRule::Number`] if the form is wrong, [`TextRule::NumberTooLarge`] from 2^64 on.
pub fn number(value: &str) -> Result<u64, TextError> {
    let form = TextError::new(TextRule::Number);
    let (digits, base) = match value.strip_prefix("0x").or_else(|| value.strip_prefix("0X")) {
        Some(digits) => (digits, 16),
        None if value.len() > 1 && value.starts_with('0') => return Err(form),
        None => (value, 10),
    };
    if digits.is_empty() {
        return Err(form);
    }
    let mut number = 0_u64;
    let mut overflow = false;
    for c in digits.chars() {
        let digit = c.to_digit(base).ok_or(form)?;
        // The rest is still read: garbage after too many digits is a wrong form.
        match number.checked_mul(u64::from(base)).and_then(|n| n.checked_add(u64::from(digit))) {
            Some(next) => number = next,
            None => overflow = true,
        }
    }
    if overflow { Err(TextError::new(TextRule::NumberTooLarge)) } else { Ok(number) }
}

/// Reads `a~b` with a <= b.
///
/// ```
/// use iscsi_core::text::value;
/// assert_eq!(value::range("1~0x10"), Ok((1, 16)));
/// assert!(value::range("2~1").is_err());
/// ```
///
/// # Errors
/// [`TextRule::Range`], or the rule that one of the numbers breaks.
pub fn range(value: &str) -> Result<(u64, u64), TextError> {
    let (low, high) = value.split_once('~').ok_or(TextError::new(TextRule::Range))?;
    let (low, high) = (number(low)?, number(high)?);
    if low <= high { Ok((low, high)) } else { Err(TextError::new(TextRule::Range)) }
}

/// The members of a comma-separated list, in the order of preference. The empty value has no member.
///
/// ```
/// use iscsi_core::text::value;
/// assert!(value::list("CRC32C,None").eq(["CRC32C", "None"]));
/// assert_eq!(value::list("").count(), 0);
/// ```
pub fn list(value: &str) -> impl Iterator<Item = &str> + Clone {
    value.split(',').filter(|member| !member.is_empty())
}

/// Reads a hexadecimal (`0x`) or base64 (`0b`) item into `out` and returns how many bytes it has.
///
/// An odd count of hexadecimal digits reads as if a zero stood before the first. Base64 must be padded with `=`, and the bits
/// that padding leaves unused must be zero.
///
/// ```
/// use iscsi_core::text::value;
/// let mut out = [0; 4];
/// assert_eq!(value::binary("0xABC", &mut out), Ok(2));
/// assert_eq!(out[..2], [0x0a, 0xbc]);
/// assert_eq!(value::binary("0bAQID", &mut out), Ok(3));
/// assert_eq!(out[..3], [1, 2, 3]);
/// ```
///
/// # Errors
/// [`TextRule::Binary`] for another form, a wrong digit or wrong padding; [`TextRule::BinaryTooLong`] if `out` is too short.
pub fn binary(value: &str, out: &mut [u8]) -> Result<usize, TextError> {
    match value.as_bytes() {
        [b'0', b'x' | b'X', digits @ ..] => hex(digits, out),
        [b'0', b'b' | b'B', digits @ ..] => base64(digits, out),
        _ => Err(TextError::new(TextRule::Binary)),
    }
}

fn hex(digits: &[u8], out: &mut [u8]) -> Result<usize, TextError> {
    let nibble = |byte: u8| {
        char::from(byte)
            .to_digit(16)
            .and_then(|digit| u8::try_from(digit).ok())
            .ok_or(TextError::new(TextRule::Binary))
    };
    let length = digits.len().div_ceil(2);
    let out = out.get_mut(..length).ok_or(TextError::new(TextRule::BinaryTooLong))?;
    let (first, pairs) = digits.split_at(digits.len() % 2);
    let (head, tail) = out.split_at_mut(first.len());
    for (byte, digit) in head.iter_mut().zip(first) {
        *byte = nibble(*digit)?;
    }
    for (byte, pair) in tail.iter_mut().zip(pairs.chunks_exact(2)) {
        if let [high, low] = pair {
            *byte = nibble(*high)? << 4 | nibble(*low)?;
        }
    }
    Ok(length)
}

fn base64(digits: &[u8], out: &mut [u8]) -> Result<usize, TextError> {
    let wrong = TextError::new(TextRule::Binary);
    if !digits.len().is_multiple_of(4) {
        return Err(wrong);
    }
    let padding = digits.iter().rev().take_while(|byte| **byte == b'=').count();
    if padding > 2 {
        return Err(wrong);
    }
    let length = (digits.len() / 4 * 3).saturating_sub(padding);
    let out = out.get_mut(..length).ok_or(TextError::new(TextRule::BinaryTooLong))?;
    let mut bytes = out.iter_mut();
    let symbols = digits.len() - padding;
    for (group, quad) in digits.chunks_exact(4).enumerate() {
        let mut bits = 0_u32;
        for (at, byte) in quad.iter().enumerate() {
            let padded = group * 4 + at >= symbols;
            bits = bits << 6 | if padded { 0 } else { sextet(*byte).ok_or(wrong)? };
        }
        let [_, triple @ ..] = bits.to_be_bytes();
        for value in triple {
            match bytes.next() {
                Some(byte) => *byte = value,
                // Beyond the end stand only the bits that padding leaves unused.
                None if value == 0 => {}
                None => return Err(wrong),
            }
        }
    }
    Ok(length)
}

fn sextet(byte: u8) -> Option<u32> {
    Some(u32::from(match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule<T: core::fmt::Debug>(result: Result<T, TextError>) -> TextRule {
        result.unwrap_err().rule
    }

    #[test]
    fn numbers_in_both_forms() {
        for (text, value) in [
            ("0", 0),
            ("512", 512),
            ("18446744073709551615", u64::MAX),
            ("0x0", 0),
            ("0X00fF", 255),
            ("0xffffffffffffffff", u64::MAX),
            ("0x00000000000000000000001", 1),
        ] {
            assert_eq!(number(text), Ok(value), "{text}");
        }
    }

    #[test]
    fn garbage_is_no_number() {
        for text in
            ["", "12abc", "-1", "+5", " 512", "512 ", "0512", "00", "0x", "0xg", "x1", "1e3", "0b1"]
        {
            assert_eq!(rule(number(text)), TextRule::Number, "{text:?}");
        }
        for text in ["18446744073709551616", "1000000000000000000000000", "0x10000000000000000"] {
            assert_eq!(rule(number(text)), TextRule::NumberTooLarge, "{text:?}");
        }
    }

    #[test]
    fn ranges_are_ordered() {
        assert_eq!(range("2048~4096"), Ok((2048, 4096)));
        assert_eq!(range("7~7"), Ok((7, 7)));
        assert_eq!(rule(range("8~7")), TextRule::Range);
        assert_eq!(rule(range("8")), TextRule::Range);
        assert_eq!(rule(range("~8")), TextRule::Number);
        assert_eq!(rule(range("1~2~3")), TextRule::Number);
    }

    #[test]
    fn hexadecimal_items() {
        let mut out = [0xee; 4];
        assert_eq!(binary("0x", &mut out), Ok(0));
        assert_eq!(binary("0xf", &mut out), Ok(1));
        assert_eq!(out, [0x0f, 0xee, 0xee, 0xee]);
        assert_eq!(binary("0XdeadBEEF", &mut out), Ok(4));
        assert_eq!(out, [0xde, 0xad, 0xbe, 0xef]);
        assert_eq!(rule(binary("0x123456789", &mut out)), TextRule::BinaryTooLong);
        for text in ["", "deadbeef", "0xzz", "0x1g", "0x\u{e9}1", "12"] {
            assert_eq!(rule(binary(text, &mut out)), TextRule::Binary, "{text:?}");
        }
    }

    #[test]
    fn base64_items() {
        // RFC 4648 section 10.
        let mut out = [0; 6];
        for (text, bytes) in [
            ("0b", ""),
            ("0bZg==", "f"),
            ("0bZm8=", "fo"),
            ("0BZm9v", "foo"),
            ("0bZm9vYg==", "foob"),
            ("0bZm9vYmE=", "fooba"),
            ("0bZm9vYmFy", "foobar"),
        ] {
            assert_eq!(binary(text, &mut out), Ok(bytes.len()), "{text}");
            assert_eq!(&out[..bytes.len()], bytes.as_bytes(), "{text}");
        }
        assert_eq!(binary("0b/+8=", &mut out), Ok(2));
        assert_eq!(out[..2], [0xff, 0xef]);
        for text in
            ["0bZg", "0bZg=", "0bZg===", "0b====", "0bZ===", "0bZ=g=", "0bZh==", "0bZm9=", "0bZm-_"]
        {
            assert_eq!(rule(binary(text, &mut out)), TextRule::Binary, "{text:?}");
        }
        assert_eq!(rule(binary("0bZm9vYmFyZg==", &mut out)), TextRule::BinaryTooLong);
    }
}
