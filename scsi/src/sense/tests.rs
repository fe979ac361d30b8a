extern crate alloc;
use alloc::string::ToString;

use super::*;

#[test]
fn fixed_by_hand() {
    let data = [0xf0, 0, 0x23, 0, 0x01, 0x02, 0x03, 10, 0, 0, 0, 9, 0x11, 0x00, 0x07, 0x80, 0, 5];
    let sense = Sense::parse(&data).unwrap();
    let expected = Sense {
        information: Some(0x0001_0203),
        command_specific: Some(9),
        sense_key_specific: Some(SenseKeySpecific::RetryCount(5)),
        fru: Some(7),
        incorrect_length: true,
        ..Sense::new(SenseKey::MEDIUM_ERROR, AdditionalSense::UNRECOVERED_READ_ERROR)
    };
    assert_eq!(sense, expected);
    let mut again = [0xee; 18];
    assert_eq!(sense.emit_fixed(&mut again), 18);
    assert_eq!(again, data);
}

#[test]
fn descriptor_by_hand() {
    let data = [
        0x73, 0x05, 0x24, 0x00, 0, 0, 0, 20, // header, deferred
        0x00, 0x0a, 0x80, 0, 0, 0, 0, 1, 0, 0, 0, 2, // information
        0x02, 0x06, 0, 0, 0xcd, 0, 1, 0, // field pointer
    ];
    let sense = Sense::parse(&data).unwrap();
    let pointer = SenseKeySpecific::FieldPointer { in_cdb: true, bit: Some(5), byte: 1 };
    let expected = Sense {
        deferred: true,
        ..Sense::new(SenseKey::ILLEGAL_REQUEST, AdditionalSense::INVALID_FIELD_IN_CDB)
            .with_information(0x1_0000_0002)
            .with_sense_key_specific(pointer)
    };
    assert_eq!(sense, expected);
    let mut again = [0xee; 28];
    assert_eq!(sense.emit_descriptor(&mut again), 28);
    assert_eq!(again, data);
    assert_eq!(
        sense.to_string(),
        "deferred sense key 0x5 ILLEGAL_REQUEST, 24/00 invalid field in CDB, information \
         0x100000002, CDB byte 1 bit 5"
    );
}

#[test]
fn direct_access_block_device_descriptor() {
    let mut data = [0; 40];
    data[..8].copy_from_slice(&[0x72, 3, 0x11, 0, 0, 0, 0, 32]);
    data[8..20].copy_from_slice(&[0x0d, 0x1e, 0xa0, 0, 0x80, 0, 4, 6, 0, 0, 0, 0]);
    data[23] = 0x55;
    data[31] = 0x66;
    let sense = Sense::parse(&data).unwrap();
    assert_eq!(sense.information, Some(0x55));
    assert_eq!(sense.command_specific, Some(0x66));
    assert_eq!(sense.sense_key_specific, Some(SenseKeySpecific::RetryCount(4)));
    assert_eq!(sense.fru, Some(6));
    assert!(sense.incorrect_length);
}

#[test]
fn any_length() {
    let fixed = [0x70, 0, 6, 0, 0, 0, 0, 10, 0, 0, 0, 0, 0x29, 0x07, 0, 0, 0, 0];
    for len in 0..fixed.len() {
        let parsed = Sense::parse(&fixed[..len]);
        match len {
            0 => assert_eq!(parsed, Err(ParseError::Short { needed: 1, got: 0 })),
            1 | 2 => assert_eq!(parsed, Err(ParseError::Short { needed: 3, got: len })),
            _ => assert_eq!(parsed.unwrap().key, SenseKey::UNIT_ATTENTION),
        }
        if len == 13 {
            let expected = AdditionalSense { asc: 0x29, ascq: 0 };
            assert_eq!(parsed.unwrap().additional, expected);
        }
    }
    // The additional length says that the codes are not there, whatever follows.
    let mut short = fixed;
    short[7] = 4;
    assert_eq!(Sense::parse(&short).unwrap().additional, AdditionalSense::NONE);
    assert_eq!(Sense::parse(&[0x7f; 18]), Err(ParseError::Format { got: 0x7f }));
    assert_eq!(Sense::parse(&[0x72]), Err(ParseError::Short { needed: 2, got: 1 }));
    assert_eq!(Sense::parse(&[0x72, 2]).unwrap().key, SenseKey::NOT_READY);
}

#[test]
fn what_tells_of_a_reset() {
    let attention = |asc, ascq| Sense::new(SenseKey::UNIT_ATTENTION, AdditionalSense { asc, ascq });
    let resets = (0..=0xff).filter(|&ascq| attention(0x29, ascq).is_reset());
    assert!(resets.eq(0..=4));
    assert!(!attention(0x28, 0).is_reset() && !attention(0x2a, 1).is_reset());
    let sense = Sense { key: SenseKey::ABORTED_COMMAND, ..attention(0x29, 1) };
    assert!(!sense.is_reset(), "another sense key");
    assert!(!Sense { deferred: true, ..attention(0x29, 1) }.is_reset());
}

#[test]
fn descriptors_stop_at_the_end() {
    // A length beyond the data, and one beyond the additional length.
    let cut_off = [0x72, 3, 0, 0, 0, 0, 0, 12, 0x00, 0x0a, 0x80, 0, 1];
    assert_eq!(descriptors(&cut_off).count(), 0);
    let mut outside = [0; 20];
    outside[..10].copy_from_slice(&[0x72, 3, 0, 0, 0, 0, 0, 2, 0x00, 0x0a]);
    assert_eq!(descriptors(&outside).count(), 0);
    // Length 0 makes progress.
    let empty = [0x72, 3, 0, 0, 0, 0, 0, 4, 0x80, 0, 0x81, 0];
    assert_eq!(descriptors(&empty).map(|d| d.kind).last(), Some(0x81));
    assert_eq!(descriptors(&[0x70; 18]).count(), 0);
}

#[test]
fn large_information_has_no_place_in_fixed_format() {
    let sense = Sense::new(SenseKey::MEDIUM_ERROR, AdditionalSense::UNRECOVERED_READ_ERROR)
        .with_information(1 << 32);
    let mut data = [0; 18];
    sense.emit_fixed(&mut data);
    assert_eq!(Sense::parse(&data).unwrap().information, None);
    let mut data = [0; 32];
    let len = sense.emit_descriptor(&mut data);
    assert_eq!(Sense::parse(&data[..len]), Ok(sense));
}

#[test]
fn sense_key_specific_by_key() {
    let specific = |key: u8, bytes: [u8; 3]| {
        let mut data = [0x70, 0, key, 0, 0, 0, 0, 10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        data[15..].copy_from_slice(&bytes);
        Sense::parse(&data).unwrap().sense_key_specific
    };
    assert_eq!(specific(2, [0x80, 0x40, 0]), Some(SenseKeySpecific::Progress(0x4000)));
    assert_eq!(specific(2, [0x80, 0x40, 0]).unwrap().percent(), Some(25));
    assert_eq!(specific(2, [0x80, 0xff, 0xff]).unwrap().percent(), Some(99));
    assert_eq!(specific(2, [0, 0x40, 0]), None, "not valid");
    assert_eq!(
        specific(5, [0x80, 0, 7]),
        Some(SenseKeySpecific::FieldPointer { in_cdb: false, bit: None, byte: 7 })
    );
    assert_eq!(specific(6, [0x81, 0, 0]), Some(SenseKeySpecific::UnitAttentionOverflow(true)));
    assert_eq!(specific(0xa, [0x80, 1, 2]), Some(SenseKeySpecific::Other([0x80, 1, 2])));
}

#[test]
fn texts_are_sorted_and_cover_the_names() {
    assert!(texts::TEXTS.is_sorted_by(|a, b| (a.0, a.1) < (b.0, b.1)));
    for (name, code) in AdditionalSense::NAMED {
        assert!(code.text().is_some(), "{name} has no text");
    }
    let text = |asc, ascq| AdditionalSense { asc, ascq }.text();
    assert_eq!(text(0x3f, 0x0e), Some("reported LUNs data has changed"));
    assert_eq!(text(0x40, 0x85), Some("diagnostic failure on a component"));
    assert_eq!(text(0x4d, 0x12), Some("tagged overlapped commands"));
    assert_eq!(text(0x7e, 0), None);
    assert_eq!(AdditionalSense { asc: 0x90, ascq: 1 }.to_string(), "90/01 vendor specific");
    assert!(!AdditionalSense { asc: 0x5d, ascq: 0xff }.is_vendor_specific());
}
