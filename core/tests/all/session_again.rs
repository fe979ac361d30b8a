//! What a session keeps and forgets when it is opened again, and who may still ask for what while it is on its way out.
#![cfg(feature = "testing")]

use core::time::Duration;

use iscsi_core::config::{ConfigBuilder, Recovery, Timeouts};
use iscsi_core::testing::Rig;
use iscsi_core::text::Limits;
use iscsi_core::wire::{AsyncEvent, Isid, Opcode};
use iscsi_core::{Action, Config, IscsiName, SessionState, SubmitError};

const SECOND: Duration = Duration::from_secs(1);

fn config(recovery: Recovery) -> ConfigBuilder {
    let timeouts = Timeouts { nop_interval: None, ..Timeouts::DEFAULT };
    Rig::config().recovery(Recovery { verify: false, ..recovery }).timeouts(timeouts)
}

fn lose(rig: &mut Rig) {
    let now = rig.clock.now();
    rig.link.as_mut().expect("a connection").to_initiator.close(now);
    rig.run();
}

fn log_out(rig: &mut Rig) {
    rig.driver.session.logout(rig.clock.now()).unwrap();
    rig.driver.touch();
    rig.run();
}

fn logouts(rig: &Rig) -> usize {
    let is_logout = |bhs: &&[u8; 48]| bhs[0] & 0x3f == Opcode::LogoutRequest as u8;
    rig.target.received().iter().filter(is_logout).count()
}

/// RFC 7143 section 6.3.5: the same ISID replaces the old session. Another initiator is another session.
#[test]
fn a_drawn_isid_stays_for_the_same_initiator() {
    let mut rig = Rig::scripted();
    let drawn = rig.driver.session.isid();
    assert!(drawn.is_some());
    lose(&mut rig);
    rig.driver.session.configure(Rig::config().build().unwrap()).unwrap();
    assert_eq!(rig.driver.session.isid(), drawn);
    let name = |name| IscsiName::new(name).unwrap();
    let other =
        Config::normal(name("iqn.2001-04.com.example:other"), name("iqn.2001-04.com.example:disk"));
    rig.driver.session.configure(other.build().unwrap()).unwrap();
    assert_eq!(rig.driver.session.isid(), None);
    let isid = Isid::random(7, 7);
    rig.driver.session.configure(Rig::config().isid(isid).build().unwrap()).unwrap();
    assert_eq!(rig.driver.session.isid(), Some(isid));
}

#[test]
fn what_is_known_of_a_recovery_is_forgotten_when_the_session_is_opened() {
    let mut rig = Rig::logged_in(config(Recovery::lasting(10 * SECOND)), Limits::DEFAULT);
    rig.refuse = true;
    lose(&mut rig);
    rig.advance(11 * SECOND);
    assert!(matches!(rig.state(), SessionState::Failed(_)));
    assert!(rig.driver.session.recovery().is_some(), "for whoever asks");
    rig.refuse = false;
    rig.log_in();
    assert_eq!(rig.driver.session.recovery(), None);
}

#[test]
fn initiators_that_lose_a_target_together_do_not_come_back_together() {
    let next_attempt = |seed| {
        let config = config(Recovery::FOREVER).build().unwrap();
        let mut rig = Rig::new(config, Limits::DEFAULT, seed);
        rig.log_in();
        rig.refuse = true;
        lose(&mut rig);
        // The target's time is over; what follows is the initiator's own delay.
        rig.advance(60 * SECOND);
        rig.driver.session.recovery().unwrap().next_attempt
    };
    let first = next_attempt(1);
    assert!((2..10).any(|seed| next_attempt(seed) != first));
}

#[test]
fn a_session_on_its_way_out_reconnects_only_if_the_target_sent_it_away() {
    let mut rig = Rig::logged_in(config(Recovery::FOREVER), Limits::DEFAULT);
    rig.read(0, 1);
    rig.run();
    log_out(&mut rig);
    let now = rig.clock.now();
    assert_eq!(rig.driver.session.force_reconnect(now), Err(SubmitError::LoggingOut));

    let mut rig = Rig::logged_in(config(Recovery::FOREVER), Limits::DEFAULT);
    rig.read(0, 1);
    rig.run();
    let message = rig.target.async_message(AsyncEvent::LogoutRequested { seconds: 5 });
    rig.send(message, &[]);
    assert_eq!(rig.state(), SessionState::LoggingOut);
    let now = rig.clock.now();
    assert_eq!(rig.driver.session.force_reconnect(now), Ok(()));
    rig.driver.touch();
    rig.advance(10 * SECOND);
    assert_eq!(rig.state(), SessionState::LoggedIn);
    assert_eq!(rig.actions, [Action::Disconnect, Action::Connect]);
}

#[test]
fn a_discovery_session_is_not_worth_a_reconnect() {
    let name = IscsiName::new("iqn.2001-04.com.example:host").unwrap();
    let mut rig = Rig::new(Config::discovery(name).build().unwrap(), Limits::DEFAULT, 1);
    rig.log_in();
    let now = rig.clock.now();
    assert_eq!(rig.driver.session.force_reconnect(now), Err(SubmitError::DiscoverySession));
}

/// RFC 7143 section 11.9.1: the time that the target gives counts, although the application has asked before.
#[test]
fn a_target_may_hurry_a_logout_that_is_under_way() {
    let mut rig = Rig::logged_in(config(Recovery::NEVER), Limits::DEFAULT);
    rig.read(0, 1);
    rig.run();
    log_out(&mut rig);
    let message = rig.target.async_message(AsyncEvent::LogoutRequested { seconds: 2 });
    rig.send(message, &[]);
    rig.advance(Duration::from_micros(999_999));
    assert_eq!(logouts(&rig), 0, "the read has half of the time");
    rig.advance(Duration::from_micros(1));
    assert_eq!(logouts(&rig), 1);
}

#[test]
fn a_task_that_waits_in_line_gives_its_memory_back_at_once() {
    let mut rig = Rig::new(config(Recovery::NEVER).build().unwrap(), Limits::DEFAULT, 1);
    rig.target.window = 1;
    rig.log_in();
    let (sent, waits) = (rig.read(0, 1), rig.read(1, 1));
    rig.run();
    let (command, _) = rig.target.expect_command();
    let now = rig.clock.now();
    let (connection, session) = rig.driver.ask();
    connection.revoke(waits, session, now).unwrap();
    rig.run();
    assert!(!rig.driver.session.holds(waits) && rig.end(waits).is_none());
    let last = rig.target.last_data_in(&command, 0, 0);
    rig.send(last, &[0; 512]);
    assert!(rig.outcome(sent).is_good() && rig.target.inbox.is_empty());
}
