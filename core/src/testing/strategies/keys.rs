//! Text keys with values that they may have.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use crate::text::{Key, ValueType};

/// Any key of the table.
pub fn key() -> impl Strategy<Value = Key> {
    select(Key::ALL)
}

/// Any key with a value of its type and range.
///
/// ```
/// use iscsi_core::testing::strategies::pair;
/// use iscsi_core::text::{ValueType, value};
/// use proptest::prelude::*;
/// proptest!(|((key, text) in pair())| {
///     if key.value_type() == ValueType::Boolean {
///         prop_assert!(value::boolean(&text).is_ok());
///     }
/// });
/// ```
pub fn pair() -> impl Strategy<Value = (Key, String)> {
    key().prop_flat_map(|key| (Just(key), value_of(key)))
}

/// Up to eight different keys with values, as a data segment: `key=value` and a zero byte each.
pub fn text() -> impl Strategy<Value = (Vec<(Key, String)>, Vec<u8>)> {
    let keys = subsequence(Key::ALL, 0..=8).prop_shuffle();
    let pairs = keys.prop_flat_map(|keys| {
        keys.into_iter().map(|key| (Just(key), value_of(key))).collect::<Vec<_>>()
    });
    pairs.prop_map(|pairs| {
        let text = pairs.iter().map(|(key, value)| format!("{key}={value}\0")).collect::<String>();
        (pairs, text.into_bytes())
    })
}

/// A value that the key may have when it is sent first: of its type, in its range, and no longer than it may be.
pub fn value_of(key: Key) -> BoxedStrategy<String> {
    match key {
        Key::TargetName | Key::InitiatorName => name().boxed(),
        Key::TargetAddress => address().boxed(),
        Key::SendTargets => {
            prop_oneof![Just("All".to_string()), Just(String::new()), name()].boxed()
        }
        _ => of_type(key),
    }
}

fn of_type(key: Key) -> BoxedStrategy<String> {
    match key.value_type() {
        ValueType::Boolean => select(&["Yes", "No"][..]).prop_map(str::to_string).boxed(),
        ValueType::Number { min, max } => number(min, max).boxed(),
        ValueType::Range => (1..=0xffff_u32)
            .prop_flat_map(|low| (number(low, low), number(low, 0xffff)))
            .prop_map(|(low, high)| format!("{low}~{high}"))
            .boxed(),
        ValueType::List => list(members(key)).boxed(),
        ValueType::Text { max_len } => words(usize::from(max_len)).boxed(),
        ValueType::Binary { max_len } => item(max_len as usize).boxed(),
    }
}

/// Decimal or hexadecimal, the ends of the range more often than by chance.
fn number(min: u32, max: u32) -> impl Strategy<Value = String> {
    let number = prop_oneof![1 => Just(min), 1 => Just(max), 3 => min..=max];
    (number, 0..4).prop_map(|(number, how)| match how {
        0 => format!("{number:#x}"),
        1 => format!("0X{number:08X}"),
        _ => number.to_string(),
    })
}

/// What the lists of a key may consist of.
fn members(key: Key) -> &'static [&'static str] {
    match key {
        Key::HeaderDigest | Key::DataDigest => &["CRC32C", "None"],
        Key::TaskReporting => &["RFC3720", "ResponseFence", "FastAbort"],
        Key::AuthMethod => &["CHAP", "SRP", "KRB5", "None"],
        Key::ChapA => &["5", "6", "7", "8"],
        Key::SrpGroup => &["SRP-768", "SRP-1024", "SRP-1280", "SRP-1536", "SRP-2048"],
        Key::SessionType => &["Normal"],
        other => unreachable!("{other} is no list"),
    }
}

fn list(members: &'static [&'static str]) -> impl Strategy<Value = String> {
    subsequence(members, 1..=members.len()).prop_shuffle().prop_map(|members| members.join(","))
}

/// An iSCSI name of one of the three forms (RFC 7143 section 4.2.7).
fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        "iqn\\.20[0-2][0-9]-0[1-9]\\.com\\.example(:[a-z0-9][a-z0-9.:-]{0,40})?",
        "eui\\.[0-9A-F]{16}",
        "naa\\.[0-9A-F]{16}([0-9A-F]{16})?",
    ]
}

/// A host, a port and a portal group tag (RFC 7143 section 13.8).
fn address() -> impl Strategy<Value = String> {
    let host = prop_oneof![
        any::<core::net::Ipv4Addr>().prop_map(|ip| ip.to_string()),
        any::<core::net::Ipv6Addr>().prop_map(|ip| format!("[{ip}]")),
        "[a-z][a-z0-9]{0,10}\\.example".boxed(),
    ];
    (host, proptest::option::of(1..=u16::MAX), any::<u16>()).prop_map(|(host, port, tag)| {
        port.map_or_else(|| format!("{host},{tag}"), |port| format!("{host}:{port},{tag}"))
    })
}

/// Text of at most `max` bytes, also beyond ASCII, and none of the words that stand in place of a value.
fn words(max: usize) -> impl Strategy<Value = String> {
    let most = max / 4;
    vec(prop_oneof![3 => proptest::char::range(' ', '~'), 1 => proptest::char::range('\u{a1}', '\u{1f64f}')], 1..=most)
        .prop_map(String::from_iter)
        .prop_filter("a word with a meaning", |text| crate::text::value::Special::parse(text).is_none())
}

/// At most `max` bytes, and no more than 64, in hexadecimal digits or base64.
fn item(max: usize) -> impl Strategy<Value = String> {
    (vec(any::<u8>(), 1..=max.min(64)), any::<bool>()).prop_map(|(bytes, digits)| {
        if digits {
            return bytes.iter().fold("0x".to_string(), |text, byte| text + &format!("{byte:02x}"));
        }
        base64(&bytes)
    })
}

fn base64(bytes: &[u8]) -> String {
    const SYMBOLS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = "0b".to_string();
    for group in bytes.chunks(3) {
        let mut three = [0; 3];
        three[..group.len()].copy_from_slice(group);
        let bits = u32::from_be_bytes([0, three[0], three[1], three[2]]);
        for at in 0..4 {
            let symbol = SYMBOLS[(bits >> (18 - 6 * at)) as usize % 64];
            text.push(if at as usize <= group.len() { char::from(symbol) } else { '=' });
        }
    }
    text
}
