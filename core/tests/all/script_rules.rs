//! The script language: each kind of rule does what it says, and without rules the target is honest.
#![cfg(feature = "testing")]

use core::time::Duration;

use iscsi_core::auth::{Chap, Secret};
use iscsi_core::testing::{
    Disk, Do, End, Extra, Field, Kind, Node, Nth, Rig, Rule, Service, TargetChap, Told, When,
};
use iscsi_core::text::{Limits, TargetItem};
use iscsi_core::wire::Opcode;
use iscsi_core::{
    Config, DiscoveryItem, DiscoveryScope, IscsiName, LostReason, ProtocolError, SessionState,
};

/// A rig with a disk and these rules, not logged in.
fn rig(rules: Vec<Rule>) -> Rig {
    let mut rig = Rig::new(Rig::config().build().unwrap(), Limits::DEFAULT, 1);
    rig.target.service = Some(Service::new(Disk::new(64)));
    for rule in rules {
        rig.target.script.add(rule);
    }
    rig
}

/// Reads two blocks and says whether they are right.
fn reads(rig: &mut Rig) -> bool {
    let task = rig.read(3, 2);
    rig.run();
    matches!(rig.end(task), Some(Told::Done { outcome, .. }) if outcome.is_good())
        && rig.memory.read(task) == &rig.disk().bytes[3 * 512..5 * 512]
}

#[test]
fn fields_and_keys_are_patched() {
    let patch = Rule::new(When::sends(Opcode::NopIn), Do::Set(Field::STAT_SN, 1));
    let mut rig = rig(vec![
        Rule::new(When::sends_last_login(), Do::key("MaxBurstLength", "4096")),
        Rule::new(When::sends_last_login(), Do::drop_key("FirstBurstLength")),
        patch,
    ]);
    rig.log_in();
    assert_eq!(rig.driver.session.negotiated().max_burst_length, 4096);
    assert_eq!(rig.target.script.fired(), [1, 1, 0]);
    assert!(reads(&mut rig));
}

#[test]
fn pdus_are_dropped_repeated_swapped_and_held() {
    for act in [Do::Repeat(2), Do::Swap, Do::Late(Duration::from_secs(1)), Do::SplitEach(1)] {
        let mut rig = rig(vec![Rule::new(When::sends(Opcode::DataIn), act.clone())]);
        rig.target.service.as_mut().unwrap().collapse = false;
        rig.log_in();
        let good = reads(&mut rig);
        // A response that overtakes the data of its task counts more Data-In than there were.
        assert_eq!(good, act != Do::Swap, "{act:?}");
        assert_eq!(rig.target.script.fired(), [1]);
    }
    let until = When::receives_nth(Opcode::ScsiCommand, 1);
    let mut rig = rig(vec![Rule::new(When::sends(Opcode::DataIn), Do::hold(until))]);
    rig.target.service.as_mut().unwrap().collapse = false;
    rig.log_in();
    assert!(!reads(&mut rig));
}

#[test]
fn a_pdu_more_takes_its_number_in_order() {
    let event = Extra::new(Opcode::AsyncMessage).numbered().set(Field::ASYNC_EVENT, 255);
    for act in [Do::SendBefore(event.clone()), Do::Send(event)] {
        let mut rig = rig(vec![Rule::new(When::sends(Opcode::DataIn), act)]);
        rig.log_in();
        assert!(reads(&mut rig));
        assert!(rig.told.contains(&Told::AsyncMessage));
        assert!(reads(&mut rig));
    }
}

#[test]
fn connections_are_refused_cut_and_ended() {
    let refuse = Rule::new(When::Connects, Do::Refuse).on(0);
    let mut refused = rig(vec![refuse]);
    refused.open();
    assert_eq!(refused.state(), SessionState::Failed(LostReason::ConnectFailed));
    refused.log_in();
    assert!(reads(&mut refused));

    for (rule, reason) in [
        (Rule::new(When::Bytes(100), Do::CLOSE), LostReason::Eof),
        (Rule::new(When::Bytes(100), Do::RESET), LostReason::Transport),
        (Rule::new(When::LoggedIn, Do::CLOSE), LostReason::Eof),
        (Rule::new(When::receives(Opcode::LoginRequest), Do::RESET), LostReason::Transport),
        (
            Rule::new(When::sends(Opcode::LoginResponse), Do::Cut { at: 47, end: End::Close }),
            LostReason::Eof,
        ),
    ] {
        let mut rig = rig(vec![rule.clone()]);
        rig.open();
        assert_eq!(rig.state(), SessionState::Failed(reason), "{rule:?}");
        assert_eq!(rig.target.script.fired(), [1]);
    }
}

#[test]
fn time_and_noise() {
    let mut rig = rig(vec![
        Rule::new(When::At(Duration::from_secs(2)), Do::Noise { seed: 1, len: 48 }),
        Rule::new(
            When::Sends(Kind::FullFeature, Nth::Each),
            Do::Trickle { bytes: 512, every: Duration::from_millis(1) },
        ),
    ]);
    rig.log_in();
    assert!(reads(&mut rig));
    assert!(rig.clock.now().as_micros() >= 2_000);
    rig.advance(Duration::from_secs(3));
    assert!(matches!(rig.violation(), Some(ProtocolError::Format(_))));
    assert_eq!(rig.target.script.fired()[0], 1);
}

#[test]
fn chap_one_way_and_mutual() {
    let secret = |text| Secret::new(text).unwrap();
    let ours = Chap::new("alice", secret("initiator-secret")).unwrap();
    let mutual = ours.clone().with_mutual(Some("disk"), secret("target-secret-1")).unwrap();
    for (chap, right, good) in [
        (ours.clone(), "initiator-secret", true),
        (ours, "something-else-1", false),
        (mutual, "initiator-secret", true),
    ] {
        let config = Rig::config().chap(chap).build().unwrap();
        let mut rig = Rig::new(config, Limits::DEFAULT, 1);
        rig.target.chap = Some(TargetChap {
            own: Some(("disk".into(), secret("target-secret-1"))),
            ..TargetChap::new(secret(right))
        });
        rig.open();
        assert_eq!(rig.state() == SessionState::LoggedIn, good, "{:?}", rig.state());
    }
}

#[test]
fn send_targets_is_answered_in_parts() {
    let config = Config::discovery(IscsiName::new("iqn.2001-04.com.example:host").unwrap());
    let mut rig = Rig::new(config.build().unwrap(), Limits::DEFAULT, 1);
    let name = |i| format!("iqn.2001-04.com.example:disk-{i}");
    let nodes = (0..300).map(|i| Node::new(&name(i), &["192.0.2.2:3260,1"]));
    rig.target.nodes = Some(nodes.collect());
    rig.log_in();
    let now = rig.clock.now();
    let (connection, session) = rig.driver.ask();
    connection.send_targets(DiscoveryScope::All, session, now).unwrap();
    let mut names = Vec::new();
    loop {
        rig.run();
        match rig.driver.poll_discovery(&rig.clock) {
            Some(DiscoveryItem::Target(TargetItem::Name(name))) => names.push(name.to_string()),
            Some(DiscoveryItem::Target(_)) => {}
            Some(DiscoveryItem::Done) => break,
            Some(other) => panic!("{other:?}"),
            None => {}
        }
    }
    assert_eq!(names, (0..300).map(name).collect::<Vec<_>>());
}
