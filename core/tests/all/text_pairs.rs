//! Text as a whole: cut at any byte, hostile, long (RFC 7143 section 6.1). Rows K-35 to K-40 of the conformance matrix.

use iscsi_core::text::{Next, Pairs, Termination, TextRule, Writer, next_pair, value};
use proptest::prelude::*;

fn owned(text: &[u8]) -> Vec<(String, Vec<u8>)> {
    Pairs::new(text)
        .map(|pair| pair.map(|pair| (pair.key.to_owned(), pair.value.to_vec())).unwrap())
        .collect()
}

/// Reads `text` as if it arrived in two pieces.
fn streamed(text: &[u8], cut: usize) -> Vec<(String, Vec<u8>)> {
    let mut buffer = text[..cut].to_vec();
    let mut more = true;
    let mut pairs = Vec::new();
    loop {
        let consumed = match next_pair(&buffer, more, Termination::Strict).unwrap() {
            Next::Pair { pair, consumed } => {
                pairs.push((pair.key.to_owned(), pair.value.to_vec()));
                consumed
            }
            Next::More { consumed } => {
                assert!(more, "more is asked for although nothing can come");
                buffer.extend(&text[cut..]);
                more = false;
                consumed
            }
            Next::End => {
                assert!(!more, "the end cannot be known before the last byte");
                return pairs;
            }
        };
        buffer.drain(..consumed);
    }
}

#[test]
fn streamed_text_reads_the_same_at_any_cut() {
    let text = b"TargetName=iqn.2001-04.com.example:a\0\0TargetAddress=192.0.2.1:3260,1\0";
    for cut in 0..=text.len() {
        assert_eq!(streamed(text, cut), owned(text), "cut at {cut}");
    }
}

#[test]
fn k36_the_last_zero_byte_is_needed_unless_lenient() {
    let error = Pairs::new(b"A=1\0B=2").nth(1).unwrap().unwrap_err();
    assert_eq!((error.rule, error.at), (TextRule::TerminatorMissing, 4));
    let pairs = Pairs::new(b"A=1\0B=2").termination(Termination::Lenient);
    assert!(pairs.map(|pair| pair.unwrap().value).eq([b"1", b"2"]));
    // Lenient is only about the end.
    let mut pairs = Pairs::new(b"A1\0").termination(Termination::Lenient);
    assert_eq!(pairs.next().unwrap().unwrap_err().rule, TextRule::EqualsMissing);
}

#[test]
fn k39_eight_kilobytes_of_pairs_are_read() {
    let mut text = Vec::new();
    while text.len() < 8192 - 16 {
        text.extend(b"X-key=0123456789\0");
    }
    assert_eq!(Pairs::new(&text).filter(Result::is_ok).count(), text.len() / 17);
}

#[test]
fn k40_control_characters_arrive_unchanged() {
    let pair = Pairs::new(b"TargetAlias=\x1b[31m\n\0").next().unwrap().unwrap();
    assert_eq!(pair.text(), Ok("\x1b[31m\n"));
    assert_eq!(pair.text().unwrap().escape_debug().to_string(), "\\u{1b}[31m\\n");
}

fn pair() -> impl Strategy<Value = (String, String)> {
    ("[A-Z][A-Za-z0-9.+@_-]{0,62}", "[^\\x00]{0,40}")
}

proptest! {
    #[test]
    fn any_bytes_end_without_panic(text in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut previous_end = 0;
        for pair in Pairs::new(&text).termination(Termination::Lenient).flatten() {
            prop_assert!(pair.at >= previous_end && pair.key.len() <= 63);
            previous_end = pair.at + pair.key.len() + 1 + pair.value.len();
            prop_assert!(previous_end <= text.len());
        }
    }

    #[test]
    fn what_was_written_is_read_at_any_cut(
        pairs in prop::collection::vec(pair(), 0..6),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut area = [0; 2048];
        let mut writer = Writer::new(&mut area);
        for (key, value) in &pairs {
            writer.text(key, value).unwrap();
        }
        let text = writer.written().to_vec();
        let expected: Vec<_> =
            pairs.into_iter().map(|(key, value)| (key, value.into_bytes())).collect();
        prop_assert_eq!(&owned(&text), &expected);
        prop_assert_eq!(streamed(&text, cut.index(text.len() + 1)), expected);
    }

    #[test]
    fn numbers_survive_both_forms(number in any::<u64>()) {
        prop_assert_eq!(value::number(&format!("{number}")), Ok(number));
        prop_assert_eq!(value::number(&format!("{number:#x}")), Ok(number));
        prop_assert_eq!(value::number(&format!("0X{number:X}")), Ok(number));
    }

    #[test]
    fn values_never_panic(text in "\\PC{0,30}") {
        let mut out = [0; 16];
        let _ = value::number(&text);
        let _ = value::range(&text);
        let _ = value::boolean(&text);
        let _ = value::list(&text).count();
        let _ = value::binary(&text, &mut out);
        let _ = value::binary(&format!("0x{text}"), &mut out);
        let _ = value::binary(&format!("0b{text}"), &mut out);
    }

    #[test]
    fn binary_items_survive(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
        let mut area = [0; 256];
        let mut writer = Writer::new(&mut area);
        writer.binary("CHAP_C", &bytes).unwrap();
        let pair = Pairs::new(writer.written()).next().unwrap().unwrap();
        let mut out = [0; 100];
        let length = value::binary(pair.text().unwrap(), &mut out).unwrap();
        prop_assert_eq!(&out[..length], &bytes[..]);
        let length = value::binary(&format!("0b{}", base64(&bytes)), &mut out).unwrap();
        prop_assert_eq!(&out[..length], &bytes[..]);
    }
}

/// Base64 as RFC 4648 describes it, written independently of the reader.
pub(crate) fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let bits = group.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte));
        let bits = bits << (8 * (3 - group.len()));
        for at in 0..4 {
            let symbol = ALPHABET[(bits >> (18 - 6 * at) & 63) as usize];
            text.push(if at <= group.len() { char::from(symbol) } else { '=' });
        }
    }
    text
}
