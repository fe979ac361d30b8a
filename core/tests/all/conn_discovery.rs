//! SendTargets: whole, in parts cut anywhere, bounded, and hostile.
#![cfg(feature = "testing")]

use core::time::Duration;

use iscsi_core::testing::{Rig, Rng};
use iscsi_core::text::{Limits, TargetItem};
use iscsi_core::wire::{RejectReason, TextRequest, TransferTag};
use iscsi_core::{
    Config, DiscoveryItem, DiscoveryScope, InlineSession, IscsiName, LostReason, Lun, SessionState,
    SubmitError, TargetTransferTag, Timer,
};

/// A discovery session that has asked for all targets, and the request.
fn asked() -> (Rig, TextRequest) {
    let name = IscsiName::new("iqn.2001-04.com.example:host").unwrap();
    let config = Config::discovery(name).build().unwrap();
    let session = Box::<InlineSession<1>>::default();
    let scratch = iscsi_core::driver::RecvBuf::boxed();
    let mut rig = Rig::with(config, Limits::DEFAULT, session, scratch, 1);
    rig.log_in();
    let now = rig.clock.now();
    let (connection, session) = rig.driver.ask();
    connection.send_targets(DiscoveryScope::All, session, now).unwrap();
    assert_eq!(connection.send_targets(DiscoveryScope::All, session, now), Err(SubmitError::Busy));
    rig.run();
    let (request, text) = rig.target.expect_text();
    assert_eq!(text, b"SendTargets=All\0");
    assert!(request.is_final && request.transfer.is_none());
    (rig, request)
}

fn items(rig: &mut Rig) -> Vec<String> {
    let mut found = Vec::new();
    while let Some(item) = rig.driver.poll_discovery(&rig.clock) {
        found.push(match item {
            DiscoveryItem::Target(TargetItem::Name(name)) => name.to_string(),
            DiscoveryItem::Target(TargetItem::Address(address)) => format!("@{address}"),
            other => format!("{other:?}"),
        });
    }
    rig.run();
    found
}

fn continued(part: u32) -> Option<TransferTag> {
    Some(TransferTag { lun: Lun::ZERO, target_transfer_tag: TargetTransferTag(part) })
}

const ANSWER: &[u8] = b"TargetName=iqn.2001-04.com.example:a\0TargetAddress=192.0.2.1:3260,1\0\
    TargetAddress=[2001:db8::1]:3261,2\0TargetName=iqn.2001-04.com.example:b\0";

const RECORDS: [&str; 5] = [
    "iqn.2001-04.com.example:a",
    "@192.0.2.1:3260,1",
    "@[2001:db8::1]:3261,2",
    "iqn.2001-04.com.example:b",
    "Done",
];

#[test]
fn x_01_x_14_answer_in_one_part() {
    let (mut rig, request) = asked();
    let response = rig.target.text_response(&request, None);
    rig.send(response, ANSWER);
    assert_eq!(items(&mut rig), RECORDS);
    assert!(items(&mut rig).is_empty());
}

/// The items of the last part are still told; but a connection that is gone has nobody to ask and no deadline.
#[test]
fn a_closed_connection_asks_for_no_further_part() {
    let (mut rig, request) = asked();
    let response = rig.target.text_response(&request, continued(7));
    rig.send(response, ANSWER);
    let now = rig.clock.now();
    let (connection, session) = rig.driver.ask();
    connection.closed(LostReason::Transport, session, now);
    assert_eq!(items(&mut rig), RECORDS[..4]);
    let (connection, session) = rig.driver.ask();
    assert_eq!(connection.wants(session).deadline, session.poll_timeout());
    assert!(items(&mut rig).is_empty());
}

#[test]
fn x_02_x_03_answer_cut_at_any_byte() {
    for cut in 0..=ANSWER.len() {
        let (mut rig, request) = asked();
        let transfer = continued(7);
        let mut response = rig.target.text_response(&request, transfer);
        response.is_continued = cut % 2 == 0;
        rig.send(response, &ANSWER[..cut]);
        let mut found = items(&mut rig);
        let (next, text) = rig.target.expect_text();
        assert!(text.is_empty() && next.is_final);
        assert_eq!(
            (next.transfer, next.initiator_task_tag),
            (transfer, request.initiator_task_tag)
        );
        let response = rig.target.text_response(&next, None);
        rig.send(response, &ANSWER[cut..]);
        found.extend(items(&mut rig));
        assert_eq!(found, RECORDS, "{cut}");
    }
}

#[test]
fn x_03_answer_in_parts_of_any_size() {
    for seed in 0..50 {
        let mut rng = Rng::new(seed);
        let (mut rig, mut request) = asked();
        let mut found = Vec::new();
        let mut at = 0;
        while at < ANSWER.len() {
            let end = (at + rng.below(20) as usize).min(ANSWER.len());
            let transfer = if end == ANSWER.len() { None } else { continued(end as u32) };
            let response = rig.target.text_response(&request, transfer);
            rig.send(response, &ANSWER[at..end]);
            found.extend(items(&mut rig));
            if transfer.is_some() {
                request = rig.target.expect_text().0;
            }
            at = end;
        }
        assert_eq!(found, RECORDS, "seed {seed}");
    }
}

/// As much as a target may send in one PDU, behind the beginning of a pair that the part before it ended with.
#[test]
fn x_03_parts_of_any_legal_size() {
    let filler = |len: usize| [b"X-a=", &vec![b'a'; len - 5][..], b"\0"].concat();
    for left in [0, 1, 1024] {
        let (mut rig, request) = asked();
        let pair = filler(3000);
        let (begun, rest) = pair.split_at(left);
        let first = [&filler(8192 - left)[..], begun].concat();
        let second = [rest, &filler(8192 - rest.len() - ANSWER.len()), ANSWER].concat();
        assert_eq!((first.len(), second.len()), (8192, 8192));
        let response = rig.target.text_response(&request, continued(1));
        rig.send(response, &first);
        assert!(items(&mut rig).is_empty());
        let (next, _) = rig.target.expect_text();
        let response = rig.target.text_response(&next, None);
        rig.send(response, &second);
        assert_eq!(items(&mut rig), RECORDS, "{left}: {:?}", rig.state());
    }
}

#[test]
fn x_09_many_targets() {
    let (mut rig, mut request) = asked();
    let mut names = 0;
    for part in 0..64 {
        let mut text = String::new();
        for n in 0..30 {
            text += &format!("TargetName=iqn.2001-04.com.example:target.{part}.{n}\0");
            text += "TargetAddress=192.0.2.1:3260,1\0";
        }
        let transfer = if part == 63 { None } else { continued(part + 1) };
        let response = rig.target.text_response(&request, transfer);
        rig.send(response, text.as_bytes());
        names += items(&mut rig).iter().filter(|item| item.starts_with("iqn")).count();
        if transfer.is_some() {
            request = rig.target.expect_text().0;
        }
    }
    assert_eq!(names, 64 * 30);
}

#[test]
fn x_08_endless_empty_answers_end() {
    let (mut rig, mut request) = asked();
    let mut parts = 0;
    while rig.state() == SessionState::LoggedIn {
        let response = rig.target.text_response(&request, continued(1));
        rig.send(response, &[]);
        items(&mut rig);
        match rig.target.inbox.pop_front() {
            Some((iscsi_core::wire::InitiatorPdu::TextRequest(next), _)) => request = next,
            _ => break,
        }
        parts += 1;
        assert!(parts <= 40_000, "no end");
    }
    assert!(rig.violation().is_some());
}

#[test]
fn x_08_pair_without_an_end() {
    let (mut rig, mut request) = asked();
    let mut parts = 0;
    while rig.state() == SessionState::LoggedIn {
        let response = rig.target.text_response(&request, continued(1));
        rig.send(response, &[b'A'; 4096]);
        items(&mut rig);
        match rig.target.inbox.pop_front() {
            Some((iscsi_core::wire::InitiatorPdu::TextRequest(next), _)) => request = next,
            _ => break,
        }
        parts += 1;
        assert!(parts < 10, "no end");
    }
    assert!(rig.violation().is_some());
}

#[test]
fn x_10_x_13_bad_records() {
    let (mut rig, request) = asked();
    let response = rig.target.text_response(&request, None);
    rig.send(response, b"TargetAddress=192.0.2.1,1\0");
    items(&mut rig);
    assert!(rig.violation().is_some(), "an address before any name");

    for text in [
        &b"TargetName=\0"[..],
        b"TargetName=with space\0",
        b"TargetName=iqn.2001-04.com.example:a\0TargetAddress=[::1\0",
        b"TargetName=iqn.2001-04.com.example:a\0TargetAddress=192.0.2.1:65536,1\0",
        b"TargetName=iqn.2001-04.com.example:a\0TargetAddress=192.0.2.1:3260,65536\0",
        b"MaxRecvDataSegmentLength=512\0",
    ] {
        let (mut rig, request) = asked();
        let response = rig.target.text_response(&request, None);
        rig.send(response, text);
        let found = items(&mut rig);
        assert_eq!(found.last().map(String::as_str), Some("Done"), "{text:?}");
        assert!(!found.iter().any(|item| item.starts_with('@')), "{found:?}");
    }
}

#[test]
fn x_15_empty_answer() {
    let (mut rig, request) = asked();
    let response = rig.target.text_response(&request, None);
    rig.send(response, &[]);
    assert_eq!(items(&mut rig), ["Done"]);
}

#[test]
fn x_17_answer_to_nothing() {
    let (mut rig, request) = asked();
    let mut response = rig.target.text_response(&request, None);
    response.initiator_task_tag.0 ^= 0x100;
    rig.send(response, &[]);
    assert!(rig.violation().is_some());

    let (mut rig, request) = asked();
    for _ in 0..2 {
        let response = rig.target.text_response(&request, None);
        rig.send(response, &[]);
        items(&mut rig);
    }
    assert!(rig.violation().is_some());
}

#[test]
fn j_10_rejected_request() {
    let (mut rig, _) = asked();
    let header = *rig.target.received().last().unwrap();
    let pdu = rig.target.reject(RejectReason::InvalidPduField);
    rig.send(pdu, &header);
    assert_eq!(
        rig.driver.poll_discovery(&rig.clock),
        Some(DiscoveryItem::Failed(RejectReason::InvalidPduField))
    );
    assert_eq!(rig.state(), SessionState::LoggedIn);
}

#[test]
fn unanswered_request_times_out() {
    let (mut rig, _) = asked();
    rig.advance(Duration::from_secs(31));
    assert_eq!(rig.state(), SessionState::Failed(LostReason::TimedOut(Timer::Text)));
}

#[test]
fn answer_that_nobody_reads_does_not_end_the_session() {
    let (mut rig, request) = asked();
    let response = rig.target.text_response(&request, None);
    rig.send(response, ANSWER);
    rig.advance(Duration::from_secs(100));
    assert_eq!(rig.state(), SessionState::LoggedIn);
    assert_eq!(items(&mut rig), RECORDS);
}

#[test]
fn x_19_scsi_on_a_discovery_session() {
    let (mut rig, _) = asked();
    let command = iscsi_core::Command::new(Lun::ZERO, &[0; 6], iscsi_core::Transfer::None);
    let now = rig.clock.now();
    assert_eq!(rig.driver.session.submit(&command, now), Err(SubmitError::DiscoverySession));
    let mut bhs = [0; 48];
    bhs[0] = 0x25;
    bhs[20..24].fill(0xff);
    rig.target.send_raw(&bhs);
    rig.run();
    assert!(rig.violation().is_some());
}

#[test]
fn a_discovery_that_is_left_makes_room_for_the_next() {
    for answered in [true, false] {
        let (mut rig, request) = asked();
        if answered {
            let response = rig.target.text_response(&request, continued(7));
            rig.send(response, ANSWER);
            assert!(rig.driver.poll_discovery(&rig.clock).is_some());
        }
        rig.driver.ask().0.leave_discovery();
        rig.run();
        assert!(rig.target.inbox.is_empty(), "the rest is not asked for");
        assert_eq!(rig.driver.poll_discovery(&rig.clock), None);
        let now = rig.clock.now();
        let (connection, session) = rig.driver.ask();
        let again = connection.send_targets(DiscoveryScope::All, session, now);
        if !answered {
            // An answer is under way; what comes is thrown away.
            assert_eq!(again, Err(SubmitError::Busy));
            let response = rig.target.text_response(&request, continued(7));
            rig.send(response, ANSWER);
            assert!(rig.target.inbox.is_empty());
            let (connection, session) = rig.driver.ask();
            connection.send_targets(DiscoveryScope::All, session, now).unwrap();
        }
        rig.run();
        let (request, text) = rig.target.expect_text();
        assert_eq!((request.transfer, text.as_slice()), (None, &b"SendTargets=All\0"[..]));
        let response = rig.target.text_response(&request, None);
        rig.send(response, ANSWER);
        assert_eq!(items(&mut rig), RECORDS);
    }
}
