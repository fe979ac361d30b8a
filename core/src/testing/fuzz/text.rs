//! Pairs, values, and the answer to SendTargets.

use alloc::vec::Vec;

use super::input::Input;
use crate::text::value::{binary, boolean, list, number, range};
use crate::text::{Key, Next, Pairs, SendTargets, Termination, Writer, next_pair};

/// Text as a peer sends it: pairs lie within it and say where they stand, every kind of value is read without harm, and a text that
/// arrives in two pieces gives the same pairs. The first byte says where the second piece begins.
///
/// # Panics
/// If a pair lies or differs.
pub fn text(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let cut = usize::from(input.byte());
    let text = input.rest();
    for termination in [Termination::Strict, Termination::Lenient] {
        whole(text, termination);
    }
    pieces(text, cut.min(text.len()));
    discovery(text);
}

fn whole(text: &[u8], termination: Termination) {
    let mut count = 0;
    for pair in Pairs::new(text).termination(termination) {
        count += 1;
        let pair = match pair {
            Ok(pair) => pair,
            Err(error) => {
                assert!(error.at <= text.len() && !error.section().is_empty());
                continue;
            }
        };
        let at = &text[pair.at..];
        assert!(at.starts_with(pair.key.as_bytes()), "a pair is not where it says");
        assert_eq!(at.get(pair.key.len()), Some(&b'='));
        assert!(at[pair.key.len() + 1..].starts_with(pair.value));
        if let Some(key) = Key::from_name(pair.key) {
            assert_eq!(key.name(), pair.key);
        }
        let Ok(value) = pair.text() else { continue };
        values(pair.key, value);
    }
    assert!(count <= text.len(), "more pairs than bytes");
}

/// What can be read is read again from what is written of it.
fn values(key: &str, value: &str) {
    let mut area = [0; 2048];
    if let Ok(value) = boolean(value) {
        let mut out = Writer::new(&mut area);
        out.boolean("K", value).expect("room");
        assert_eq!(read(out.written(), boolean), Ok(value));
    }
    if let Ok(value) = number(value) {
        let mut out = Writer::new(&mut area);
        out.number("K", value).expect("room");
        assert_eq!(read(out.written(), number), Ok(value));
    }
    if let Ok((low, high)) = range(value) {
        assert!(low <= high, "{value}");
    }
    assert!(list(value).count() <= value.len() + 1);
    let mut bytes = [0; 1024];
    if let Ok(len) = binary(value, &mut bytes) {
        let mut out = Writer::new(&mut area);
        if out.binary("K", &bytes[..len]).is_ok() && len > 0 {
            let mut again = [0; 1024];
            let pair = Pairs::new(out.written()).next().expect("a pair").expect("a pair");
            let written = pair.text().expect("digits");
            assert_eq!(binary(written, &mut again), Ok(len));
            assert_eq!(bytes[..len], again[..len]);
        }
    }
    let mut out = Writer::new(&mut area);
    if out.text(key, value).is_ok() {
        let pair = Pairs::new(out.written()).next().expect("a pair").expect("a pair");
        assert_eq!((pair.key, pair.text()), (key, Ok(value)));
    }
}

fn read<T>(text: &[u8], value: fn(&str) -> T) -> T {
    let pair = Pairs::new(text).next().expect("a pair").expect("a pair");
    value(pair.text().expect("what was written"))
}

/// A buffer that is filled twice.
fn pieces(text: &[u8], cut: usize) {
    let mut found = Vec::new();
    let mut failed = false;
    let mut start = 0;
    for (end, more) in [(cut, true), (text.len(), false)] {
        while !failed {
            match next_pair(&text[start..end], more, Termination::Strict) {
                Ok(Next::Pair { pair, consumed }) => {
                    found.push((pair.key, pair.value, pair.at + start));
                    assert!(consumed > 0);
                    start += consumed;
                }
                Ok(Next::More { consumed }) => {
                    assert!(more);
                    start += consumed;
                    break;
                }
                Ok(Next::End) => break,
                Err(_) => failed = true,
            }
        }
    }
    let at_once: Vec<_> = Pairs::new(text).map_while(Result::ok).collect();
    let at_once: Vec<_> = at_once.iter().map(|pair| (pair.key, pair.value, pair.at)).collect();
    assert_eq!(found, at_once);
}

fn discovery(text: &[u8]) {
    let mut answer = SendTargets::new();
    for pair in Pairs::new(text).map_while(Result::ok) {
        if let Err(error) = answer.item(&pair) {
            assert!(!error.section().is_empty());
        }
    }
}
