//! What a connection and its session tell the application: headers, names, addresses, and what they wait for.
#![cfg(feature = "testing")]

use core::time::Duration;
use std::cell::RefCell;

use iscsi_core::testing::{Disk, Do, Field, Rig, Rule, Service, When};
use iscsi_core::text::Limits;
use iscsi_core::wire::{
    AsyncEvent, BHS_LEN, Bhs, DataIn, NopInKind, NopOutKind, Opcode, data_segment_length,
};
use iscsi_core::{
    Action, Config, Direction, InlineConnection, IscsiName, LostReason, NoBuffers, Portal,
    RecvPlan, Session, SessionState, Wants,
};

/// A rig with a disk and these rules, not connected.
fn rig(rules: impl IntoIterator<Item = Rule>) -> Rig {
    let mut rig = Rig::new(Rig::config().build().unwrap(), Limits::DEFAULT, 1);
    rig.target.service = Some(Service::new(Disk::new(64)));
    rules.into_iter().for_each(|rule| rig.target.script.add(rule));
    rig
}

/// The first connection's login is answered with a redirect.
fn redirect(detail: u64) -> [Rule; 3] {
    let address = Do::pairs(&["TargetAddress=192.0.2.9:3261"]);
    [Do::Set(Field::STATUS_CLASS, 1), Do::Set(Field::STATUS_DETAIL, detail), address]
        .map(|act| Rule::new(When::sends(Opcode::LoginResponse), act).on(0))
}

fn wants(rig: &Rig) -> Wants {
    rig.driver.connection().wants(&rig.driver.session)
}

thread_local! {
    static TRACED: RefCell<Vec<(Direction, Bhs)>> = const { RefCell::new(Vec::new()) };
}

fn traced(direction: Direction) -> Vec<Bhs> {
    let of = |seen: &Vec<(Direction, Bhs)>| {
        seen.iter().filter(|(way, _)| *way == direction).map(|(_, bhs)| *bhs).collect()
    };
    TRACED.with_borrow(of)
}

#[test]
fn a_trace_sees_every_header_of_both_ways_until_it_is_removed() {
    let mut rig = rig([]);
    let trace = |direction, bhs: &Bhs| TRACED.with_borrow_mut(|seen| seen.push((direction, *bhs)));
    rig.driver.ask().0.set_trace(Some(trace));
    rig.log_in();
    let task = rig.read(3, 2);
    rig.run();
    assert!(rig.outcome(task).is_good());
    assert_eq!(traced(Direction::Sent), rig.target.received());
    assert_eq!(traced(Direction::Received), rig.target.sent());
    let seen = TRACED.with_borrow(Vec::len);
    rig.driver.ask().0.set_trace(None);
    rig.read(3, 2);
    rig.run();
    assert_eq!(TRACED.with_borrow(Vec::len), seen);
}

#[test]
fn the_alias_is_the_targets() {
    // RFC 7143 section 13.6.
    let mut named = rig([Rule::new(When::sends_last_login(), Do::key("TargetAlias", "disk one"))]);
    named.log_in();
    assert_eq!(named.driver.connection().target_alias(), Some("disk one"));
    let mut unnamed = rig([]);
    unnamed.log_in();
    assert_eq!(unnamed.driver.connection().target_alias(), None);
}

#[test]
fn a_redirect_moves_the_portal_and_for_good_if_it_says_so() {
    // RFC 7143 section 11.13.5: 0101 is for now, 0102 for good.
    let there = Portal::parse("192.0.2.9:3261").unwrap();
    for (detail, moved) in [(1, None), (2, Some(&there))] {
        let mut rig = rig(redirect(detail));
        assert_eq!(rig.driver.session.portal(), None);
        rig.open();
        assert_eq!(rig.state(), SessionState::LoggedIn);
        assert_eq!(rig.actions, [Action::Connect, Action::Disconnect, Action::Connect]);
        assert_eq!(rig.driver.session.portal(), Some(&there));
        assert_eq!(rig.driver.session.moved_to(), moved);
    }
    let mut rig = rig([]);
    rig.open();
    assert_eq!(rig.driver.session.portal(), Portal::parse("192.0.2.2:3260").as_ref().ok());
    assert_eq!(rig.driver.session.moved_to(), None);
}

#[test]
fn a_redirect_for_good_behind_one_for_now_is_for_now() {
    // RFC 7143 section 11.13.5. Where the second one leads is known only to who followed the first.
    for (details, moved) in [([1, 2], false), ([2, 2], true), ([2, 1], true)] {
        let mut rules = Vec::new();
        for (connection, detail) in (0..).zip(details) {
            rules.extend(redirect(detail).map(|rule| rule.on(connection)));
        }
        let mut rig = rig(rules);
        rig.open();
        assert_eq!(rig.state(), SessionState::LoggedIn);
        assert_eq!(rig.driver.session.moved_to().is_some(), moved, "{details:?}");
    }
}

#[test]
fn redirects_are_followed_as_often_as_configured() {
    for hops in [0, 1, 3] {
        let config = Rig::config().redirect_hops(hops).build().unwrap();
        let mut rig = Rig::new(config, Limits::DEFAULT, 1);
        for mut rule in redirect(1) {
            rule.connection = None;
            rig.target.script.add(rule);
        }
        rig.open();
        assert_eq!(rig.state(), SessionState::Failed(LostReason::RedirectFailed));
        let connects = rig.actions.iter().filter(|action| **action == Action::Connect).count();
        assert_eq!(connects, 1 + usize::from(hops));
    }
}

#[test]
fn the_session_handle_is_the_targets_while_there_is_a_session() {
    let mut rig = rig([Rule::new(When::sends_last_login(), Do::Set(Field::TSIH, 0x1234))]);
    assert_eq!(rig.driver.session.tsih(), 0);
    rig.log_in();
    assert_eq!(rig.driver.session.tsih(), 0x1234);
    rig.driver.session.logout(rig.clock.now()).unwrap();
    rig.driver.touch();
    rig.run();
    assert_eq!((rig.state(), rig.driver.session.tsih()), (SessionState::Closed, 0));
}

#[test]
fn an_idle_connection_waits_for_bytes_and_nothing_else() {
    let mut rig = rig([]);
    assert_eq!(wants(&rig), Wants::default());
    rig.log_in();
    let Wants { read, write, again, deadline } = wants(&rig);
    assert_eq!((read, write, again), (true, false, false));
    assert!(deadline.is_some_and(|at| at > rig.clock.now()));
    rig.read(0, 1);
    assert!(wants(&rig).write);
}

#[test]
fn a_connection_that_the_session_gave_up_waits_for_nothing() {
    // Logged out in the middle of the login: the stream is open until the runtime has closed it.
    let mut rig = rig([Rule::new(When::sends(Opcode::LoginResponse), Do::Drop)]);
    rig.open();
    assert_eq!(rig.state(), SessionState::LoggingIn);
    assert!(wants(&rig).read);
    rig.driver.session.logout(rig.clock.now()).unwrap();
    let Wants { read, write, again, .. } = wants(&rig);
    assert_eq!((read, write, again), (false, false, false));
}

#[test]
fn a_budget_is_spent_by_whole_pdus() {
    let mut rig = Rig::scripted();
    for _ in 0..3 {
        let nop = rig.target.nop_in(NopInKind::Update);
        rig.target.send(nop, &[]);
    }
    let (bytes, now) = (rig.target.take_output(), rig.clock.now());
    let Rig { driver, memory, .. } = &mut rig;
    let (connection, session) = driver.ask();
    let mut budget = 1;
    let mut taken = |bytes: &[u8]| {
        let n = connection.receive(bytes, &mut budget, session, memory, now);
        (n, budget)
    };
    assert_eq!(taken(&bytes[..20]), (20, 1));
    assert_eq!(taken(&bytes[20..]), (28, 0));
    assert_eq!(taken(&bytes[48..]), (0, 0));
    budget = 2;
    let n = connection.receive(&bytes[48..], &mut budget, session, memory, now);
    assert_eq!((n, budget), (96, 0));
}

/// Whichever of the two is closed.
#[test]
fn without_a_connection_and_a_session_nothing_is_received() {
    let mut rig = Rig::scripted();
    let now = rig.clock.now();
    let (connection, session) = rig.driver.ask();
    let mut other = InlineConnection::new();
    assert_eq!(other.recv_plan(session), RecvPlan::Nothing);
    assert!(other.recv_space(session, &mut NoBuffers).is_empty());
    other.received(48, session, &mut NoBuffers, now);
    assert_eq!(other.counters(), InlineConnection::new().counters());
    assert_eq!(session.state(), SessionState::LoggedIn);

    let mut idle = Session::boxed(1);
    let before = connection.counters();
    assert_eq!(connection.recv_plan(&idle), RecvPlan::Nothing);
    connection.received(20, &mut idle, &mut NoBuffers, now);
    assert_eq!(connection.counters(), before);
}

#[test]
fn a_ping_is_under_way_until_it_is_answered() {
    let ping = |rig: &mut Rig| {
        let (connection, session) = rig.driver.ask();
        connection.ping(session);
        connection.is_pinging()
    };
    // Before the full feature phase there is no NOP-Out.
    assert!(!ping(&mut rig([])));
    let mut rig = Rig::scripted();
    assert!(!rig.driver.connection().is_pinging());
    assert!(ping(&mut rig));
    rig.run();
    assert!(rig.driver.connection().is_pinging());
    let NopOutKind::Ping { initiator_task_tag, .. } = rig.target.expect_nop_out().kind else {
        panic!()
    };
    // One at a time.
    assert!(ping(&mut rig));
    rig.run();
    assert!(rig.target.inbox.is_empty());
    let echo = rig.target.nop_in(NopInKind::PingResponse(initiator_task_tag));
    rig.send(echo, &[]);
    assert!(!rig.driver.connection().is_pinging());
}

#[test]
fn pdus_and_bytes_are_counted() {
    let mut rig = rig([]);
    rig.log_in();
    for lba in 0..3 {
        rig.read(lba, 2);
        rig.run();
    }
    let counters = rig.driver.connection().counters();
    assert_eq!(counters.pdus_sent, rig.target.received().len() as u64);
    assert_eq!(counters.pdus_received, rig.target.sent().len() as u64);
    let bytes = |headers: &[Bhs]| -> u64 {
        let whole = |bhs: &Bhs| 48 + u64::from(data_segment_length(bhs).next_multiple_of(4));
        headers.iter().map(whole).sum()
    };
    assert_eq!(counters.bytes_sent, bytes(rig.target.received()));
    assert_eq!(counters.bytes_received, bytes(rig.target.sent()));
}

#[test]
fn a_message_that_nobody_took_does_not_outlive_its_connection() {
    let mut rig = Rig::scripted();
    let message = rig.target.async_message(AsyncEvent::Unassigned(6));
    rig.send(message, &[]);
    let now = rig.clock.now();
    rig.link.as_mut().unwrap().to_initiator.close(now);
    rig.run();
    rig.log_in();
    assert_eq!(rig.driver.poll_async(), None);
}

/// RFC 7143 section 4.3: in a discovery session nothing is legal but text and logout.
#[test]
fn a_discovery_session_is_not_pinged() {
    let name = IscsiName::new("iqn.2001-04.com.example:host").unwrap();
    let mut rig = Rig::new(Config::discovery(name).build().unwrap(), Limits::DEFAULT, 1);
    rig.log_in();
    rig.advance(Duration::from_secs(60));
    assert_eq!(rig.state(), SessionState::LoggedIn);
    assert!(rig.target.inbox.is_empty());
    // Not even if the application asks for it.
    let (connection, session) = rig.driver.ask();
    connection.ping(session);
    assert!(!connection.is_pinging());
    rig.run();
    assert!(rig.target.inbox.is_empty());
}

#[test]
fn a_long_data_segment_is_announced_while_it_comes() {
    let mut rig = Rig::scripted();
    rig.read(0, 16);
    rig.run();
    let (command, _) = rig.target.expect_command();
    let is_receiving =
        |rig: &Rig, threshold| rig.driver.connection().is_receiving(threshold, &rig.driver.session);
    assert!(!is_receiving(&rig, 0));
    let mut bhs = [0; BHS_LEN];
    DataIn { data_segment_length: 8192, ..rig.target.data_in(&command, 0, 0) }.emit(&mut bhs);
    rig.target.send_raw(&bhs);
    rig.run();
    assert!(is_receiving(&rig, 8192) && !is_receiving(&rig, 8193));
    rig.target.send_raw(&[0; 8191]);
    rig.run();
    assert!(is_receiving(&rig, 8192));
    rig.target.send_raw(&[0]);
    rig.run();
    assert!(!is_receiving(&rig, 0));
}
