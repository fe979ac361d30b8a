//! Answers to SendTargets: rows of the conformance matrix.

use iscsi_core::text::value::Special;
use iscsi_core::text::{Pairs, SendTargets, SendTargetsError, TargetItem};
use iscsi_core::{NameRule, PortalError};

/// One line per item.
fn items(text: &str) -> Result<Vec<String>, SendTargetsError> {
    let text = text.replace(';', "\0");
    let mut records = SendTargets::new();
    Pairs::new(text.as_bytes())
        .map(|pair| {
            Ok(match records.item(&pair.unwrap())? {
                TargetItem::Name(name) => format!("name {name}"),
                TargetItem::Address(address) => format!("address {address}"),
                TargetItem::BadName(error) => format!("bad name: {:?}", error.rule),
                TargetItem::BadAddress(error) => format!("bad address: {error:?}"),
                TargetItem::Ignored => "ignored".to_owned(),
            })
        })
        .collect()
}

#[test]
fn records_with_one_many_and_no_addresses() {
    let text = "TargetName=iqn.2001-04.com.example:a;TargetAddress=192.0.2.1:3260,1;\
                TargetAddress=[2001:db8::1],2;TargetName=iqn.2001-04.com.example:b;\
                TargetName=eui.02004567A425678D;TargetAddress=host:3261,0x3;";
    assert_eq!(
        items(text).unwrap(),
        [
            "name iqn.2001-04.com.example:a",
            "address 192.0.2.1:3260,1",
            "address [2001:db8::1]:3260,2",
            "name iqn.2001-04.com.example:b",
            "name eui.02004567A425678D",
            "address host:3261,3",
        ]
    );
}

#[test]
fn x10_an_address_needs_a_name_before_it() {
    let text = "TargetAddress=192.0.2.1,1;TargetName=iqn.2001-04.com.example:a;";
    assert_eq!(items(text), Err(SendTargetsError::AddressBeforeName));
    assert_eq!(SendTargetsError::AddressBeforeName.section(), "Appendix C");
}

#[test]
fn x11_other_keys_have_no_effect() {
    let text = "MaxRecvDataSegmentLength=512;TargetName=iqn.a;X-com.example=1;TargetAddress=h,1;";
    assert_eq!(items(text).unwrap(), ["ignored", "name iqn.a", "ignored", "address h:3260,1"]);
}

/// As if there were no targets, but there may be.
#[test]
fn a_target_that_refuses_to_list_targets_is_understood() {
    for answer in [Special::NotUnderstood, Special::Irrelevant, Special::Reject] {
        let error = items(&format!("SendTargets={};", answer.as_str())).unwrap_err();
        assert_eq!(error, SendTargetsError::Refused(answer));
        assert!(error.to_string().ends_with(answer.as_str()), "{error}");
        assert_eq!(error.section(), "6.2");
    }
    assert_eq!(items("SendTargets=All;").unwrap(), ["ignored"]);
}

#[test]
fn x12_bad_names_are_flagged_and_their_addresses_skipped() {
    let long = format!("iqn.{}", "x".repeat(220));
    for (name, rule) in [
        (long.as_str(), NameRule::TooLong),
        ("", NameRule::Empty),
        ("iqn.a b", NameRule::Character),
        ("disk1", NameRule::UnknownType),
    ] {
        let text =
            format!("TargetName={name};TargetAddress=h,1;TargetName=iqn.good;TargetAddress=h,1;");
        let bad = format!("bad name: {rule:?}");
        let expected = [bad.as_str(), "ignored", "name iqn.good", "address h:3260,1"];
        assert_eq!(items(&text).unwrap(), expected);
    }
}

#[test]
fn x13_bad_addresses_are_flagged_one_by_one() {
    let text = "TargetName=iqn.a;TargetAddress=[::1;TargetAddress=a:b:c;TargetAddress=h:0,1;\
                TargetAddress=h:65536,1;TargetAddress=h,65536;TargetAddress=h;";
    let bad = |error: PortalError| format!("bad address: {error:?}");
    assert_eq!(
        items(text).unwrap(),
        [
            "name iqn.a".to_owned(),
            bad(PortalError::Brackets),
            bad(PortalError::Brackets),
            bad(PortalError::Port),
            bad(PortalError::Port),
            bad(PortalError::GroupTag),
            // Without a tag it is usable.
            "address h:3260".to_owned(),
        ]
    );
}

#[test]
fn x15_and_x16_nothing_and_the_same_twice() {
    assert_eq!(items(""), Ok(Vec::new()));
    let text = "TargetName=iqn.a;TargetAddress=h,1;TargetAddress=h,1;TargetName=iqn.a;";
    assert_eq!(items(text).unwrap().len(), 4);
}

#[test]
fn names_and_addresses_that_are_not_utf8() {
    let mut records = SendTargets::new();
    let text = b"TargetName=iqn.\xff\0TargetName=iqn.a\0TargetAddress=\xff,1\0";
    let items: Vec<_> =
        Pairs::new(text).map(|pair| records.item(&pair.unwrap()).unwrap()).collect();
    assert!(matches!(&items[0], TargetItem::BadName(error) if error.rule == NameRule::Character));
    assert_eq!(items[2], TargetItem::BadAddress(PortalError::HostMissing));
}
