//! Every key with the values that it may have: they are read, and neither side finds a fault with their form.
#![cfg(feature = "proptest")]

use iscsi_core::testing::strategies::{text, value_of};
use iscsi_core::text::{
    Key, KeyRule, Limits, Negotiation, Pairs, Phase, Role, SessionType, ValueType, Writer, value,
};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

/// Whether the value is one of the key's type, as the functions that read values see it.
fn is_read(key: Key, text: &str) -> bool {
    match key.value_type() {
        ValueType::Boolean => value::boolean(text).is_ok(),
        ValueType::Number { min, max } => {
            value::number(text).is_ok_and(|number| (min.into()..=max.into()).contains(&number))
        }
        ValueType::Range => value::range(text).is_ok_and(|(low, high)| low <= high),
        ValueType::List => value::list(text).count() > 0,
        ValueType::Text { max_len } => text.len() <= max_len.into(),
        ValueType::Binary { max_len } => {
            value::binary(text, &mut [0; 1024]).is_ok_and(|len| len <= max_len as usize)
        }
        _ => false,
    }
}

/// The side reads the pair first, in either phase, and has nothing against its form.
fn has_a_good_form(key: Key, text: &str, role: Role, phase: Phase) -> bool {
    let bytes = format!("{key}={text}\0");
    let pair = Pairs::new(bytes.as_bytes()).next().unwrap().unwrap();
    let mut negotiation = Negotiation::leading(role, SessionType::Normal, Limits::DEFAULT);
    let mut area = [0; 1024];
    match negotiation.receive(&pair, phase, &mut Writer::new(&mut area)) {
        Ok(_) => true,
        Err(error) => !matches!(
            error.rule,
            KeyRule::Malformed(_) | KeyRule::OutOfRange | KeyRule::TooLong | KeyRule::ReservedWord
        ),
    }
}

#[test]
fn every_key_takes_its_values() {
    for key in Key::ALL.iter().copied() {
        let property = |text: String| {
            prop_assert!(is_read(key, &text), "{key}={text}");
            for role in [Role::Initiator, Role::Target] {
                for phase in [Phase::Security, Phase::Operational, Phase::FullFeature] {
                    prop_assert!(has_a_good_form(key, &text, role, phase), "{role:?} {key}={text}");
                }
            }
            Ok(())
        };
        TestRunner::default()
            .run(&value_of(key), property)
            .unwrap_or_else(|e| panic!("{key}: {e}"));
    }
}

proptest! {
    #[test]
    fn a_text_is_read_as_it_was_written((pairs, bytes) in text()) {
        let read: Vec<_> = Pairs::new(&bytes)
            .map(|pair| pair.unwrap())
            .map(|pair| (Key::from_name(pair.key).unwrap(), pair.text().unwrap().to_owned()))
            .collect();
        prop_assert_eq!(read, pairs);
    }
}
