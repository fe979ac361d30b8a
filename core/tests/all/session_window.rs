//! The command window: what may be sent, and what moves the registers.
#![cfg(feature = "testing")]

use core::time::Duration;

use iscsi_core::config::Timeouts;
use iscsi_core::testing::{Do, Field, Rig, Rule, When};
use iscsi_core::text::Limits;
use iscsi_core::wire::{Completion, NopIn, NopInKind, NopOutKind};
use iscsi_core::{
    CmdSn, Command, LostReason, Lun, ProtocolError, SessionState, TaskId, Timer, Transfer,
};

fn ready(rig: &mut Rig) -> TaskId {
    rig.submit(&Command::new(Lun::ZERO, &[0; 6], Transfer::None), &[])
}

fn with_window(window: u32) -> Rig {
    let mut rig = Rig::new(Rig::config().build().unwrap(), Limits::DEFAULT, 1);
    rig.target.window = window;
    rig.log_in();
    rig
}

fn update(rig: &mut Rig, exp: CmdSn, max: CmdSn) {
    let nop = rig.target.nop_in(NopInKind::Update);
    rig.send(NopIn { exp_cmd_sn: exp, max_cmd_sn: max, ..nop }, &[]);
}

#[test]
fn c_01_numbers_follow_the_order_of_sending() {
    let mut rig = Rig::scripted();
    let first = rig.target.exp_cmd_sn;
    for n in 0..8 {
        let command = Command::new(Lun::ZERO, &[0; 6], Transfer::None);
        let command = if n % 3 == 2 { command.immediate() } else { command };
        rig.submit(&command, &[]);
        rig.run();
    }
    let mut next = first;
    for n in 0..8 {
        let (command, _) = rig.target.expect_command();
        assert_eq!((command.cmd_sn, command.immediate), (next, n % 3 == 2));
        next = if command.immediate { next } else { next.next() };
    }
}

#[test]
fn c_02_c_10_closed_window_lets_only_immediate_commands_through() {
    let mut rig = with_window(0);
    assert_eq!(rig.driver.session.window_room(), 0);
    ready(&mut rig);
    ready(&mut rig);
    rig.submit(&Command::new(Lun::ZERO, &[1; 6], Transfer::None).immediate(), &[]);
    rig.run();
    let (command, _) = rig.target.expect_command();
    assert!(command.immediate && rig.target.inbox.is_empty());
    // A NOP-In that answers nothing opens it again.
    rig.target.window = 1;
    let nop = rig.target.nop_in(NopInKind::Update);
    rig.send(nop, &[]);
    let (command, _) = rig.target.expect_command();
    assert!(!command.immediate && rig.target.inbox.is_empty());
    let response = rig.target.response(&command, Completion::GOOD);
    rig.send(response, &[]);
    rig.target.expect_command();
}

#[test]
fn c_03_window_of_one() {
    let mut rig = with_window(1);
    let tasks: Vec<_> = (0..5).map(|_| ready(&mut rig)).collect();
    for task in tasks {
        rig.run();
        let (command, _) = rig.target.expect_command();
        assert!(rig.target.inbox.is_empty());
        let response = rig.target.response(&command, Completion::GOOD);
        rig.send(response, &[]);
        assert!(rig.outcome(task).is_good());
    }
}

#[test]
fn c_03_large_window_is_used() {
    let mut rig = with_window(100);
    for _ in 0..8 {
        ready(&mut rig);
    }
    rig.run();
    assert_eq!(rig.target.inbox.len(), 8);
    assert_eq!(rig.driver.session.window_room(), 92);
}

#[test]
fn c_04_c_05_c_06_c_09_registers_do_not_move_back() {
    let mut rig = with_window(4);
    let (exp, max) = (rig.target.exp_cmd_sn, rig.target.max_cmd_sn());
    let half = 1 << 31;
    for (exp, max) in [
        (exp, max.minus(2)),          // MaxCmdSN goes back
        (exp.minus(3), max.minus(3)), // both go back
        (max.plus(10), max.plus(2)),  // MaxCmdSN below ExpCmdSN - 1
        (exp, max.plus(half)),        // half the circle away
        (exp.plus(half), max.plus(half)),
    ] {
        update(&mut rig, exp, max);
        assert_eq!(rig.state(), SessionState::LoggedIn);
        assert_eq!(rig.driver.session.window_room(), 4, "{exp} {max}");
    }
    for _ in 0..6 {
        ready(&mut rig);
    }
    // The target told nonsense on purpose, so it cannot check.
    rig.target.checks = false;
    rig.run();
    assert_eq!(rig.target.inbox.len(), 4);
}

#[test]
fn c_08_acknowledgement_of_what_was_not_sent_changes_nothing() {
    let mut rig = with_window(2);
    let (exp, max) = (rig.target.exp_cmd_sn, rig.target.max_cmd_sn());
    update(&mut rig, exp.plus(7), max.plus(7));
    assert!(
        matches!(rig.driver.session.window_room(), 2 | 9),
        "{}",
        rig.driver.session.window_room()
    );
    ready(&mut rig);
    rig.run();
    assert_eq!(rig.target.expect_command().0.cmd_sn, exp);
}

#[test]
fn c_12_huge_window_is_limited_by_the_table() {
    let mut rig = with_window(1 << 30);
    for _ in 0..8 {
        ready(&mut rig);
    }
    let command = Command::new(Lun::ZERO, &[0; 6], Transfer::None);
    let now = rig.clock.now();
    assert_eq!(rig.driver.session.submit(&command, now), Err(iscsi_core::SubmitError::NoFreeTask));
    rig.run();
    assert_eq!(rig.target.inbox.len(), 8);
}

#[test]
fn c_07_numbers_wrap_around() {
    let config = Rig::config().initial_cmd_sn(CmdSn(0xffff_fffe));
    let mut rig = Rig::new(config.build().unwrap(), Limits::DEFAULT, 1);
    rig.target.window = 4;
    rig.log_in();
    assert_eq!(rig.driver.session.window_room(), 4);
    for _ in 0..5 {
        ready(&mut rig);
    }
    rig.run();
    for cmd_sn in [0xffff_fffe, 0xffff_ffff, 0, 1] {
        assert_eq!(rig.target.expect_command().0.cmd_sn, CmdSn(cmd_sn));
    }
    assert!(rig.target.inbox.is_empty());
}

/// What was never sent cannot be acknowledged: the window stays closed. What will never be sent must not be waited for: no command would have its turn. Either is asked for
/// again at once.
#[test]
fn a_login_that_expects_another_cmd_sn_is_followed_by_a_ping() {
    for (add, again) in
        [(-16, 0), (0, 0), (1, 0), (16, 0), (0x7000_0000, 0), (1, 1), (16, 3), (-16, -16), (-1, -2)]
    {
        let mut rig = Rig::new(Rig::config().build().unwrap(), Limits::DEFAULT, 1);
        let patch = Rule::new(When::sends_last_login(), Do::Add(Field::EXP_CMD_SN, add));
        rig.target.script.add(patch);
        rig.open();
        assert_eq!(rig.state(), SessionState::LoggedIn, "{add}");
        ready(&mut rig);
        rig.run();
        if add != 0 {
            let NopOutKind::Ping { initiator_task_tag, .. } = rig.target.expect_nop_out().kind
            else {
                panic!("{add}")
            };
            assert_eq!(rig.target.inbox.is_empty(), add > 0, "{add}: whether the window is closed");
            let nop = rig.target.nop_in(NopInKind::PingResponse(initiator_task_tag));
            let expected = nop.exp_cmd_sn;
            let got = CmdSn(expected.0.wrapping_add_signed(again));
            rig.send(NopIn { exp_cmd_sn: got, ..nop }, &[]);
            if again != 0 {
                let Some(violation) = rig.violation() else {
                    panic!("{add}: {got:?}, {expected:?}")
                };
                let ProtocolError::ExpCmdSn { got: told, .. } = violation else {
                    panic!("{violation}")
                };
                assert_eq!(told, got, "{add}");
                let text = violation.to_string();
                let reason = if again > 0 { "were not sent" } else { "which will not come" };
                assert!(text.contains(reason), "{text}");
                continue;
            }
        }
        let (command, _) = rig.target.expect_command();
        let response = rig.target.response(&command, Completion::GOOD);
        rig.send(response, &[]);
        assert!(!rig.driver.connection().is_pinging() && rig.target.inbox.is_empty(), "{add}");
    }
}

const SECOND: Duration = Duration::from_secs(1);

/// A command that may take a second.
fn brief() -> Command<'static> {
    Command::new(Lun::ZERO, &[0; 6], Transfer::None).timeout(SECOND)
}

/// A command that nothing holds back but the window; only its own time ends it.
fn expires(rig: &mut Rig) {
    let task = rig.submit(&brief(), &[]);
    rig.run();
    rig.advance(SECOND);
    assert_eq!(rig.lost(task), Some(LostReason::TimedOut(Timer::Task)));
}

/// The target is asked whether it is so, and says what it said before.
fn confirms(rig: &mut Rig) {
    let NopOutKind::Ping { initiator_task_tag, .. } = rig.target.expect_nop_out().kind else {
        panic!()
    };
    let nop = rig.target.nop_in(NopInKind::PingResponse(initiator_task_tag));
    rig.send(nop, &[]);
    assert!(rig.target.inbox.is_empty());
}

/// What the target is given after the first of them, in seconds.
const PATIENCE: u32 = 3;

fn impatient(window: u32) -> Rig {
    let task_management = SECOND * PATIENCE;
    let timeouts = Timeouts { task_management, nop_interval: None, ..Timeouts::DEFAULT };
    let config = Rig::config().timeouts(timeouts).build().unwrap();
    let mut rig = Rig::new(config, Limits::DEFAULT, 1);
    rig.target.window = window;
    rig.log_in();
    rig
}

#[test]
fn a_window_that_stays_closed_without_a_reason_ends_the_connection() {
    let mut rig = impatient(0);
    for _ in 0..PATIENCE {
        expires(&mut rig);
        confirms(&mut rig);
        assert_eq!(rig.state(), SessionState::LoggedIn);
    }
    expires(&mut rig);
    assert_eq!(rig.state(), SessionState::Failed(LostReason::TimedOut(Timer::Window)));
}

#[test]
fn a_target_that_has_opened_its_window_in_silence_is_asked() {
    let mut rig = impatient(0);
    expires(&mut rig);
    rig.target.window = 1;
    confirms(&mut rig);
    assert_eq!(rig.driver.session.window_room(), 1);
    ready(&mut rig);
    rig.run();
    rig.target.expect_command();
}

#[test]
fn a_target_that_does_not_even_answer_is_dead() {
    let mut rig = impatient(0);
    expires(&mut rig);
    rig.target.expect_nop_out();
    rig.advance(Timeouts::DEFAULT.nop_timeout);
    assert_eq!(rig.state(), SessionState::Failed(LostReason::TimedOut(Timer::NopOut)));
}

#[test]
fn a_window_that_moves_or_has_a_reason_to_be_closed_is_waited_for() {
    // It opened in the meantime, and the target was done with what it took.
    let mut rig = impatient(0);
    for _ in 0..PATIENCE {
        expires(&mut rig);
        confirms(&mut rig);
    }
    ready(&mut rig);
    rig.target.window = 1;
    let nop = rig.target.nop_in(NopInKind::Update);
    rig.send(nop, &[]);
    let (command, _) = rig.target.expect_command();
    rig.target.window = 0;
    let response = rig.target.response(&command, Completion::GOOD);
    rig.send(response, &[]);
    expires(&mut rig);
    assert_eq!(rig.state(), SessionState::LoggedIn);

    // The target has a command, which may take its time.
    let mut rig = impatient(1);
    ready(&mut rig);
    rig.target.window = 0;
    rig.run();
    for _ in 0..2 * PATIENCE {
        expires(&mut rig);
    }
    assert_eq!(rig.state(), SessionState::LoggedIn);
}
