//! Session recovery: what is kept over a loss, when the session comes back, what has to be known first.
#![cfg(feature = "testing")]

use core::time::Duration;

use iscsi_core::config::{ConfigBuilder, Recovery, Retry, Timeouts};
use iscsi_core::testing::{Disk, Rig, Service, Told};
use iscsi_core::text::Limits;
use iscsi_core::wire::{AsyncEvent, InitiatorPdu, ScsiCommand};
use iscsi_core::{
    Action, Command, LostReason, Lun, OnLoss, SessionState, SubmitError, TaskId, Timer, Transfer,
    Verdict,
};

const SECOND: Duration = Duration::from_secs(1);

/// Nothing but the recovery has a say in what happens when.
fn config(recovery: Recovery) -> ConfigBuilder {
    let timeouts = Timeouts { nop_interval: None, ..Timeouts::DEFAULT };
    Rig::config().recovery(recovery).timeouts(timeouts)
}

fn logged_in(recovery: Recovery) -> Rig {
    Rig::logged_in(config(recovery), Limits::DEFAULT)
}

fn unverified(recovery: Recovery) -> Recovery {
    Recovery { verify: false, ..recovery }
}

fn read(rig: &mut Rig, lba: u32, on_loss: OnLoss) -> TaskId {
    let cdb = Disk::read10(lba, 1);
    rig.submit(&Command::new(Lun::ZERO, &cdb, Transfer::In(512)).on_loss(on_loss), &[])
}

/// The target closes the connection.
fn cut(rig: &mut Rig) {
    let now = rig.clock.now();
    rig.link.as_mut().expect("a connection").to_initiator.close(now);
    rig.run();
}

fn verified(rig: &mut Rig, verdict: Verdict) {
    let now = rig.clock.now();
    rig.driver.session.verified(verdict, now).unwrap();
    rig.driver.touch();
    rig.run();
}

fn connects(rig: &Rig) -> usize {
    rig.actions.iter().filter(|action| **action == Action::Connect).count()
}

fn lbas(rig: &Rig) -> Vec<u32> {
    let commands = rig.target.inbox.iter().filter_map(|(pdu, _)| match pdu {
        InitiatorPdu::ScsiCommand(command) => Some(lba(command)),
        _ => None,
    });
    commands.collect()
}

fn lba(command: &ScsiCommand) -> u32 {
    u32::from_be_bytes(command.cdb[2..6].try_into().unwrap())
}

fn answer(rig: &mut Rig, count: usize) {
    for _ in 0..count {
        let (command, _) = rig.target.expect_command();
        let last = rig.target.last_data_in(&command, 0, 0);
        let block = Disk::new(64).bytes[lba(&command) as usize * 512..][..512].to_vec();
        rig.send(last, &block);
    }
}

#[test]
fn without_a_policy_a_loss_is_the_end() {
    let mut rig = logged_in(Recovery::NEVER);
    let task = read(&mut rig, 0, OnLoss::Reissue);
    rig.run();
    cut(&mut rig);
    assert_eq!(rig.state(), SessionState::Failed(LostReason::Eof));
    assert_eq!(rig.lost(task), Some(LostReason::Eof));
    assert_eq!(rig.driver.session.recovery(), None);
    assert_eq!(rig.driver.session.counters().connections_lost, 1);
}

#[test]
fn kept_tasks_are_issued_again_in_their_order_with_every_slot_in_use() {
    let mut rig = logged_in(Recovery::FOREVER);
    // Slots are reused, so that the order of slots is not that of sending.
    let first: Vec<_> = (0..8).map(|n| read(&mut rig, n, OnLoss::Reissue)).collect();
    rig.run();
    answer(&mut rig, 8);
    for task in first {
        rig.outcome(task);
        rig.memory.take(task);
    }
    rig.told.clear();
    rig.target.window = 6;
    let nop = rig.target.nop_in(iscsi_core::wire::NopInKind::Update);
    rig.send(nop, &[]);
    // Room for 5 at first: MaxCmdSN never goes back.
    let tasks: Vec<_> = (10..18)
        .map(|n| {
            let on_loss = if n == 12 { OnLoss::Report } else { OnLoss::Reissue };
            let task = read(&mut rig, n, on_loss);
            rig.run();
            task
        })
        .collect();
    assert_eq!(rig.driver.session.in_use(), rig.driver.session.capacity());
    let sent = lbas(&rig);
    assert!(sent.is_sorted() && sent.contains(&12) && sent.len() <= 8, "{sent:?}");
    let tags: Vec<_> = rig.target.inbox.iter().map(|(_, pdu)| pdu.bhs[16..20].to_vec()).collect();
    cut(&mut rig);
    assert_eq!(rig.state(), SessionState::Waiting(LostReason::Eof));
    assert_eq!(rig.lost(tasks[2]), Some(LostReason::Eof), "whoever wants to know is told at once");
    assert_eq!(rig.told.iter().filter(|told| told.task().is_some()).count(), 1);
    rig.target.window = 32;
    rig.advance(2 * SECOND);
    assert_eq!(rig.state(), SessionState::Verifying);
    assert!(rig.told.contains(&Told::NeedVerify));
    // The freed slot is taken again: the table is full, and the two reserved slots work all the same.
    let late = read(&mut rig, 30, OnLoss::Report);
    rig.run();
    assert!(rig.target.inbox.is_empty(), "nothing is sent before the devices are verified");
    let now = rig.clock.now();
    let inquiry = [0x12, 1, 0x83, 0, 252, 0];
    let command = Command::new(Lun::ZERO, &inquiry, Transfer::In(252));
    let verification = [(); 2].map(|()| {
        let task = rig.driver.session.submit_verification(&command, now).unwrap();
        rig.memory.take(task);
        rig.memory.lend_in(task, 252);
        task
    });
    let third = rig.driver.session.submit_verification(&command, now);
    assert_eq!(third, Err(SubmitError::NoFreeTask));
    assert!(verification.iter().all(|task| task.index() >= rig.driver.session.capacity()));
    rig.driver.touch();
    rig.run();
    for _ in verification {
        let (command, _) = rig.target.expect_command();
        assert_eq!(command.cdb[..6], inquiry);
        let mut last = rig.target.last_data_in(&command, 0, 0);
        if let Some(status) = &mut last.status {
            status.residual = iscsi_core::wire::Residual::Underflow(252 - 16);
        }
        rig.send(last, &[1; 16]);
    }
    for task in verification {
        assert_eq!(rig.outcome(task).data_in, 16);
    }
    verified(&mut rig, Verdict::Same);
    assert_eq!(rig.state(), SessionState::LoggedIn);
    assert_eq!(lbas(&rig), [10], "one at first");
    let fresh = |rig: &Rig| {
        rig.target.inbox.iter().all(|(_, pdu)| !tags.contains(&pdu.bhs[16..20].to_vec()))
    };
    assert!(fresh(&rig), "new tags");
    answer(&mut rig, 1);
    assert_eq!(lbas(&rig), [11, 13, 14, 15, 16, 17, 30], "the old order");
    assert!(fresh(&rig));
    answer(&mut rig, 7);
    for task in tasks.iter().filter(|task| **task != tasks[2]).chain([&late]) {
        assert!(rig.outcome(*task).is_good());
    }
    let ends = rig.told.iter().filter(|told| told.task().is_some()).count();
    assert_eq!(ends, 1 + 2 + 8, "one end each");
    let counters = rig.driver.session.counters();
    assert_eq!((counters.connections_lost, counters.attempts, counters.logins), (1, 1, 2));
    assert_eq!(counters.reissued as usize, sent.len() - 1);
}

#[test]
fn the_same_isid_logs_in_again_and_everything_is_negotiated_anew() {
    let mut rig = logged_in(unverified(Recovery::FOREVER));
    let isid = rig.driver.session.isid().unwrap();
    assert!(!rig.driver.session.negotiated().initial_r2t);
    cut(&mut rig);
    rig.target.limits.initial_r2t = true;
    rig.target.limits.max_burst_length = 4096;
    rig.target.limits.first_burst_length = 4096;
    rig.advance(2 * SECOND);
    assert_eq!(rig.state(), SessionState::LoggedIn);
    let negotiated = rig.driver.session.negotiated();
    assert!(negotiated.initial_r2t && negotiated.max_burst_length == 4096);
    let login = rig.target.received().iter().find(|bhs| bhs[0] & 0x3f == 0x03).unwrap();
    assert_eq!(login[8..14], isid.to_bytes());
    assert_eq!(login[14..16], [0, 0], "TSIH");
    assert_eq!(rig.driver.session.isid(), Some(isid));
}

#[test]
fn the_target_s_time_is_waited() {
    for seconds in [0, 1, 7] {
        let config = config(unverified(Recovery::FOREVER)).default_time2wait(seconds);
        let mut rig =
            Rig::logged_in(config, Limits { default_time2wait: seconds, ..Limits::DEFAULT });
        cut(&mut rig);
        let wait = SECOND * seconds.into();
        rig.advance(wait.saturating_sub(Duration::from_micros(1)));
        assert_eq!(connects(&rig), usize::from(seconds == 0));
        rig.advance(Duration::from_micros(1));
        assert_eq!((connects(&rig), rig.state()), (1, SessionState::LoggedIn));
    }
}

#[test]
fn an_announced_time_counts_instead_of_the_negotiated_one() {
    let dropped = |time2wait| AsyncEvent::SessionDropped { time2wait, time2retain: 9 };
    for (event, wait) in [
        (dropped(5), 5),
        (dropped(0), 0),
        (AsyncEvent::ConnectionDropped { cid: 0, time2wait: 3, time2retain: 9 }, 3),
    ] {
        let mut rig = logged_in(unverified(Recovery::FOREVER));
        let message = rig.target.async_message(event);
        rig.send(message, &[]);
        if wait > 0 {
            assert_eq!(rig.state(), SessionState::Waiting(LostReason::AsyncEvent(event.to_byte())));
            rig.advance(SECOND * wait - Duration::from_micros(1));
            assert_eq!(connects(&rig), 0);
            rig.advance(Duration::from_micros(1));
        }
        assert_eq!((connects(&rig), rig.state()), (1, SessionState::LoggedIn));
        // The next loss waits for the negotiated time again.
        cut(&mut rig);
        rig.advance(SECOND);
        assert_eq!(connects(&rig), 1);
        rig.advance(SECOND);
        assert_eq!(connects(&rig), 2);
    }
}

#[test]
fn attempts_back_off_and_never_spin() {
    let mut rig = logged_in(unverified(Recovery::FOREVER));
    rig.refuse = true;
    cut(&mut rig);
    let mut at = Vec::new();
    let start = rig.clock.now();
    for _ in 0..100_000 {
        let before = connects(&rig);
        rig.advance(Duration::from_millis(10));
        if connects(&rig) > before {
            at.push(rig.clock.now().saturating_since(start));
        }
        if at.len() == 9 {
            break;
        }
    }
    let gaps: Vec<_> = at.windows(2).map(|pair| (pair[1] - pair[0]).as_millis()).collect();
    for (gap, longest) in gaps.iter().zip([1, 2, 4, 8, 16, 30, 30, 30]) {
        let longest = longest * 1000;
        assert!(*gap + 20 >= longest / 2 && *gap <= longest + 20, "{gaps:?}");
    }
    let status = rig.driver.session.recovery().unwrap();
    assert_eq!((status.attempts, status.first), (9, LostReason::Eof));
    assert_eq!((status.last, status.gives_up), (LostReason::ConnectFailed, None));
    let lost = rig.told.iter().filter(|told| matches!(told, Told::ConnectionLost(_))).count();
    assert_eq!(lost, 10, "each step is told");
}

/// A connection that is made and lost again at once is no success.
#[test]
fn a_connection_that_does_nothing_does_not_reset_the_delays() {
    let mut rig = logged_in(unverified(Recovery::FOREVER));
    let mut waits = Vec::new();
    for _ in 0..5 {
        let start = rig.clock.now();
        cut(&mut rig);
        while rig.state() != SessionState::LoggedIn {
            rig.advance(Duration::from_millis(100));
        }
        waits.push(rig.clock.now().saturating_since(start));
    }
    assert!(waits[4] > 3 * SECOND, "{waits:?}");
    // A task that ends well is a success.
    let task = read(&mut rig, 3, OnLoss::Reissue);
    rig.run();
    answer(&mut rig, 1);
    rig.outcome(task);
    assert_eq!(rig.driver.session.recovery(), None);
    let start = rig.clock.now();
    cut(&mut rig);
    while rig.state() != SessionState::LoggedIn {
        rig.advance(Duration::from_millis(100));
    }
    let wait = rig.clock.now().saturating_since(start);
    assert!(wait < 2 * SECOND + SECOND / 10, "{wait:?} {:?}", rig.driver.session.recovery());
}

#[test]
fn the_policy_s_time_is_the_tasks_time() {
    let mut rig = logged_in(Recovery::lasting(100 * SECOND));
    let kept = read(&mut rig, 0, OnLoss::Reissue);
    rig.run();
    rig.refuse = true;
    cut(&mut rig);
    let late = read(&mut rig, 1, OnLoss::Report);
    // Longer than the limit of a command: its clock stands.
    rig.advance(Duration::from_micros(99_999_999));
    assert!(rig.end(kept).is_none() && rig.end(late).is_none());
    rig.advance(Duration::from_micros(1));
    let over = LostReason::TimedOut(Timer::Recovery);
    assert_eq!(rig.state(), SessionState::Failed(over));
    assert_eq!((rig.lost(kept), rig.lost(late)), (Some(over), Some(over)));
    let status = rig.driver.session.recovery().unwrap();
    assert_eq!((status.first, status.last), (LostReason::Eof, LostReason::ConnectFailed));
    assert_eq!(status.next_attempt, None);
    assert_eq!(rig.driver.session.poll_timeout(), None, "nothing goes on");
}

#[test]
fn deadlines_run_again_after_the_recovery() {
    let mut rig = logged_in(Recovery::lasting(100 * SECOND));
    let cdb = Disk::read10(0, 1);
    let command = Command::new(Lun::ZERO, &cdb, Transfer::In(512)).on_loss(OnLoss::Reissue);
    let task = rig.submit(&command.timeout(10 * SECOND), &[]);
    rig.run();
    rig.advance(9 * SECOND);
    cut(&mut rig);
    rig.advance(29 * SECOND);
    verified(&mut rig, Verdict::Same);
    assert_eq!(rig.state(), SessionState::LoggedIn);
    rig.advance(Duration::from_micros(9_999_999));
    assert_eq!(rig.target.inbox.len(), 1);
    rig.advance(Duration::from_micros(1));
    rig.target.expect_command();
    rig.target.expect_task_management();
    assert!(rig.end(task).is_none());
}

#[test]
fn retry_now_cuts_the_delay_but_not_the_target_s_time() {
    let mut rig = logged_in(unverified(Recovery::FOREVER));
    rig.refuse = true;
    cut(&mut rig);
    rig.driver.session.retry_now(rig.clock.now()).unwrap();
    rig.run();
    assert_eq!(connects(&rig), 0);
    rig.advance(SECOND * 40);
    let before = connects(&rig);
    assert!(before >= 4);
    rig.refuse = false;
    rig.driver.session.retry_now(rig.clock.now()).unwrap();
    rig.run();
    assert_eq!((connects(&rig), rig.state()), (before + 1, SessionState::LoggedIn));
    let now = rig.clock.now();
    assert_eq!(rig.driver.session.retry_now(now), Err(SubmitError::WrongState));
}

#[test]
fn fifty_forced_reconnects() {
    // Even without a policy.
    let mut rig = logged_in(Recovery { verify: false, ..Recovery::NEVER });
    rig.target.service = Some(Service::new(Disk::new(64)));
    for n in 1..=50 {
        let task = read(&mut rig, n, OnLoss::Reissue);
        rig.driver.session.force_reconnect(rig.clock.now()).unwrap();
        rig.driver.touch();
        rig.run();
        assert_eq!(rig.state(), SessionState::Waiting(LostReason::Reconnect));
        rig.advance(2 * SECOND);
        assert_eq!((connects(&rig), rig.state()), (n as usize, SessionState::LoggedIn));
        assert!(rig.outcome(task).is_good());
        rig.memory.take(task);
    }
    // Without a task in between it is no different: what the application wants has no delay.
    for n in 51..=60 {
        rig.driver.session.force_reconnect(rig.clock.now()).unwrap();
        rig.driver.touch();
        rig.advance(2 * SECOND);
        assert_eq!((connects(&rig), rig.state()), (n, SessionState::LoggedIn));
    }
    assert_eq!(rig.driver.session.counters().logins, 61);
    // The attempt itself has no policy that would repeat it.
    rig.refuse = true;
    rig.driver.session.force_reconnect(rig.clock.now()).unwrap();
    rig.advance(2 * SECOND);
    assert_eq!(rig.state(), SessionState::Failed(LostReason::ConnectFailed));
    let now = rig.clock.now();
    assert_eq!(rig.driver.session.force_reconnect(now), Err(SubmitError::NotOpen));
}

#[test]
fn a_changed_device_loses_its_own_tasks_only() {
    let mut rig = logged_in(Recovery::FOREVER);
    let other = Lun::new(1).unwrap();
    let cdb = Disk::read10(5, 1);
    let here = read(&mut rig, 1, OnLoss::Reissue);
    let there = Command::new(other, &cdb, Transfer::In(512)).on_loss(OnLoss::Reissue);
    let there = rig.submit(&there, &[]);
    rig.run();
    cut(&mut rig);
    rig.advance(2 * SECOND);
    rig.driver.session.claim_verification().unwrap();
    rig.driver.session.claim_verification().unwrap();
    verified(&mut rig, Verdict::Changed(other));
    assert_eq!(rig.lost(there), Some(LostReason::DeviceChanged));
    assert_eq!(rig.state(), SessionState::Verifying, "one verdict is still to come");
    verified(&mut rig, Verdict::Same);
    assert_eq!((rig.state(), lbas(&rig)), (SessionState::LoggedIn, vec![1]));
    answer(&mut rig, 1);
    assert!(rig.outcome(here).is_good());
}

/// Commands that verify are not the application's: they do not outlive their connection, and no verdict concerns them.
#[test]
fn a_verification_that_waits_to_be_sent() {
    let lun = Lun::new(1).unwrap();
    for lost in [false, true] {
        let mut rig = logged_in(Recovery::FOREVER);
        rig.target.window = 0;
        cut(&mut rig);
        rig.advance(2 * SECOND);
        assert_eq!(rig.state(), SessionState::Verifying);
        let now = rig.clock.now();
        let command = Command::new(lun, &[0; 6], Transfer::None).on_loss(OnLoss::Reissue);
        let tasks =
            [(); 2].map(|()| rig.driver.session.submit_verification(&command, now).unwrap());
        rig.driver.touch();
        rig.run();
        assert!(rig.target.inbox.is_empty(), "the window is closed");
        if lost {
            cut(&mut rig);
            assert_eq!(tasks.map(|task| rig.lost(task)), [Some(LostReason::Eof); 2]);
        } else {
            rig.driver.session.claim_verification().unwrap();
            rig.driver.session.claim_verification().unwrap();
            verified(&mut rig, Verdict::Changed(lun));
            assert_eq!(tasks.map(|task| rig.lost(task)), [None; 2]);
            rig.target.window = 4;
            let nop = rig.target.nop_in(iscsi_core::wire::NopInKind::Update);
            rig.send(nop, &[]);
            assert_eq!(rig.target.inbox.len(), 2);
        }
    }
}

#[test]
fn a_command_that_verifies_has_a_cdb_like_any_other() {
    let mut rig = logged_in(Recovery::FOREVER);
    cut(&mut rig);
    rig.advance(2 * SECOND);
    let now = rig.clock.now();
    let mut submit = |len| {
        let cdb = vec![0; len];
        let command = Command::new(Lun::ZERO, &cdb, Transfer::None);
        rig.driver.session.submit_verification(&command, now).map(|_| ())
    };
    for len in [0, 261] {
        assert_eq!(submit(len), Err(SubmitError::CdbLength));
    }
    assert_eq!((submit(1), submit(260)), (Ok(()), Ok(())), "both slots are free");
}

#[test]
fn nobody_verifies() {
    let mut rig = logged_in(Recovery::lasting(70 * SECOND));
    let task = read(&mut rig, 1, OnLoss::Reissue);
    rig.run();
    cut(&mut rig);
    rig.advance(2 * SECOND);
    assert_eq!(rig.state(), SessionState::Verifying);
    rig.advance(30 * SECOND);
    let silent = LostReason::TimedOut(Timer::Verify);
    assert!(rig.told.contains(&Told::ConnectionLost(silent)));
    rig.advance(38 * SECOND);
    assert_eq!(rig.state(), SessionState::Failed(LostReason::TimedOut(Timer::Recovery)));
    assert!(rig.lost(task).is_some());
}

#[test]
fn a_command_that_takes_every_connection_down_is_given_up() {
    let recovery = Recovery { reissues: 3, ..unverified(Recovery::FOREVER) };
    let mut rig = logged_in(recovery);
    let task = read(&mut rig, 1, OnLoss::Reissue);
    rig.run();
    for _ in 0..3 {
        cut(&mut rig);
        assert!(rig.end(task).is_none());
        rig.advance(60 * SECOND);
        assert_eq!(rig.state(), SessionState::LoggedIn);
    }
    cut(&mut rig);
    assert_eq!(rig.lost(task), Some(LostReason::Eof));
}

#[test]
fn a_command_that_takes_every_connection_down_harms_no_other() {
    let recovery = Recovery { reissues: 2, ..unverified(Recovery::FOREVER) };
    let mut rig = logged_in(recovery);
    let tasks: Vec<_> = (0..4).map(|n| read(&mut rig, n, OnLoss::Reissue)).collect();
    rig.run();
    cut(&mut rig);
    // The target survives all commands but the third.
    for _ in 0..2000 {
        rig.advance(SECOND / 10);
        if rig.state() != SessionState::LoggedIn || rig.target.inbox.is_empty() {
            continue;
        }
        let poisonous = lbas(&rig)[0] == 2;
        if poisonous { cut(&mut rig) } else { answer(&mut rig, 1) }
    }
    assert_eq!(rig.lost(tasks[2]), Some(LostReason::Eof));
    for n in [0, 1, 3] {
        assert!(rig.outcome(tasks[n]).is_good(), "{n}");
    }
}

#[test]
fn a_slow_command_keeps_the_others_back_for_a_second_only() {
    let mut rig = logged_in(unverified(Recovery::FOREVER));
    let tasks: Vec<_> = (0..4).map(|n| read(&mut rig, n, OnLoss::Reissue)).collect();
    rig.run();
    cut(&mut rig);
    rig.advance(2 * SECOND);
    assert_eq!(lbas(&rig), [0]);
    rig.advance(SECOND);
    assert_eq!(lbas(&rig), [0, 1, 2, 3]);
    rig.target.expect_command();
    answer(&mut rig, 3);
    assert!(tasks[1..].iter().all(|task| rig.outcome(*task).is_good()));
    assert!(rig.end(tasks[0]).is_none());
}

#[test]
fn a_verification_that_is_aborted_keeps_its_deadlines() {
    let mut rig = logged_in(Recovery::lasting(100 * SECOND));
    cut(&mut rig);
    rig.advance(2 * SECOND);
    let command = Command::new(Lun::ZERO, &[0; 6], Transfer::None).timeout(SECOND);
    let now = rig.clock.now();
    rig.driver.session.submit_verification(&command, now).unwrap();
    rig.driver.touch();
    rig.advance(SECOND);
    rig.target.expect_command();
    let request = rig.target.expect_task_management();
    let answer = rig
        .target
        .managed(&request, iscsi_core::wire::TaskManagementResponseCode::FunctionComplete);
    rig.send(answer, &[]);
    assert_eq!(rig.state(), SessionState::Verifying);
    rig.advance(30 * SECOND);
    assert!(rig.told.contains(&Told::ConnectionLost(LostReason::TimedOut(Timer::Verify))));
    rig.advance(100 * SECOND);
    assert_eq!(rig.state(), SessionState::Failed(LostReason::TimedOut(Timer::Recovery)));
}

#[test]
fn memory_that_is_not_lent_is_not_asked_for_again() {
    let mut rig = logged_in(unverified(Recovery::FOREVER));
    rig.target.service = Some(Service::new(Disk::new(64)));
    let other = read(&mut rig, 1, OnLoss::Reissue);
    let cdb = Disk::write10(2, 1);
    let write = Command::new(Lun::ZERO, &cdb, Transfer::Out(512)).on_loss(OnLoss::Reissue);
    let write = rig.submit(&write, &[1; 512]);
    rig.memory.take(write);
    rig.run();
    assert_eq!(rig.lost(write), Some(LostReason::NoBuffer));
    rig.advance(2 * SECOND);
    assert_eq!(rig.state(), SessionState::LoggedIn);
    assert!(rig.end(other).is_some());
}

#[test]
fn memory_that_was_taken_from_one_task_is_no_loss_for_the_others() {
    let config = config(unverified(Recovery::FOREVER)).immediate_data(false).initial_r2t(true);
    let mut rig = Rig::logged_in(config, Limits::DEFAULT);
    let other = read(&mut rig, 1, OnLoss::Reissue);
    let cdb = Disk::write10(2, 1);
    let write = Command::new(Lun::ZERO, &cdb, Transfer::Out(512)).on_loss(OnLoss::Reissue);
    let write = rig.submit(&write, &[1; 512]);
    rig.run();
    let commands = [(); 2].map(|()| rig.target.expect_command().0);
    let now = rig.clock.now();
    let (connection, session) = rig.driver.ask();
    connection.revoke(write, session, now).unwrap();
    rig.memory.take(write);
    // The R2T crosses the ABORT TASK: there is nothing to answer it with.
    let r2t = rig.target.r2t(&commands[1], 0, 0, 512);
    rig.send(r2t, &[]);
    assert_eq!(rig.state(), SessionState::Waiting(LostReason::Aborted));
    assert!(rig.end(other).is_none() && !rig.driver.session.holds(write));
    rig.advance(2 * SECOND);
    assert_eq!(lbas(&rig), [1]);
    answer(&mut rig, 1);
    assert!(rig.outcome(other).is_good());
}

#[test]
fn a_logout_that_the_target_wants_is_followed_by_a_login() {
    let mut rig = logged_in(unverified(Recovery::FOREVER));
    let message = rig.target.async_message(AsyncEvent::LogoutRequested { seconds: 3 });
    rig.send(message, &[]);
    let logout = rig.target.expect_logout();
    // Commands are still taken, and wait.
    let task = read(&mut rig, 4, OnLoss::Report);
    rig.run();
    let response = rig.target.logged_out(&logout);
    rig.send(response, &[]);
    assert_eq!(rig.state(), SessionState::Waiting(LostReason::LogoutRequested));
    rig.advance(2 * SECOND);
    assert_eq!((rig.state(), lbas(&rig)), (SessionState::LoggedIn, vec![4]));
    answer(&mut rig, 1);
    assert!(rig.outcome(task).is_good());
}

#[test]
fn a_logout_of_the_application_is_for_good() {
    let mut rig = logged_in(Recovery::FOREVER);
    let message = rig.target.async_message(AsyncEvent::LogoutRequested { seconds: 3 });
    rig.send(message, &[]);
    let logout = rig.target.expect_logout();
    let now = rig.clock.now();
    rig.driver.session.logout(now).unwrap();
    assert_eq!(rig.driver.session.logout(now), Err(SubmitError::LoggingOut));
    let response = rig.target.logged_out(&logout);
    rig.send(response, &[]);
    assert_eq!(rig.state(), SessionState::Closed);

    // In each state of a recovery.
    let mut rig = logged_in(Recovery::FOREVER);
    let task = read(&mut rig, 4, OnLoss::Reissue);
    rig.run();
    cut(&mut rig);
    rig.driver.session.logout(rig.clock.now()).unwrap();
    rig.run();
    assert_eq!(rig.state(), SessionState::Closed);
    assert_eq!(rig.lost(task), Some(LostReason::LoggedOut));

    let mut rig = logged_in(Recovery::FOREVER);
    let task = read(&mut rig, 4, OnLoss::Reissue);
    rig.run();
    cut(&mut rig);
    rig.advance(2 * SECOND);
    rig.driver.session.logout(rig.clock.now()).unwrap();
    rig.driver.touch();
    rig.run();
    assert_eq!(rig.lost(task), Some(LostReason::LoggedOut), "never sent to an unknown device");
    let logout = rig.target.expect_logout();
    let response = rig.target.logged_out(&logout);
    rig.send(response, &[]);
    assert_eq!(rig.state(), SessionState::Closed);
}

/// However the connection ends.
#[test]
fn a_session_that_logs_out_does_not_come_back() {
    let mut rig = logged_in(Recovery::FOREVER);
    let task = read(&mut rig, 4, OnLoss::Reissue);
    rig.run();
    let now = rig.clock.now();
    rig.driver.session.logout(now).unwrap();
    rig.driver.touch();
    rig.run();
    // The logout waits for the read, and the target breaks a rule meanwhile.
    rig.target.send_raw(&[0xff; 48]);
    rig.run();
    assert!(rig.violation().is_some(), "{:?}", rig.state());
    assert!(rig.lost(task).is_some());
    rig.advance(100 * SECOND);
    assert_eq!(connects(&rig), 0);
}

#[test]
fn a_stale_pdu_of_the_old_connection_cannot_arrive() {
    let mut rig = logged_in(unverified(Recovery::FOREVER));
    let task = read(&mut rig, 1, OnLoss::Reissue);
    rig.run();
    let (old, _) = rig.target.expect_command();
    // Half of the answer is there when the connection goes.
    let last = rig.target.last_data_in(&old, 0, 0);
    rig.target.send(last, &[9; 512]);
    let bytes = rig.target.take_output();
    rig.target.send_raw(&bytes[..100]);
    rig.run();
    cut(&mut rig);
    rig.advance(2 * SECOND);
    let (new, _) = rig.target.expect_command();
    assert_ne!(new.initiator_task_tag, old.initiator_task_tag);
    let last = rig.target.last_data_in(&new, 0, 0);
    rig.send(last, &[7; 512]);
    assert!(rig.outcome(task).is_good());
    assert_eq!(rig.memory.read(task), [7; 512]);
}

#[test]
fn every_state_of_a_recovery_has_a_deadline() {
    for policy in [Recovery::FOREVER, Recovery::lasting(300 * SECOND)] {
        let mut rig = logged_in(policy);
        rig.refuse = true;
        cut(&mut rig);
        assert!(matches!(rig.state(), SessionState::Waiting(_)));
        assert!(rig.driver.session.poll_timeout().is_some());
        rig.refuse = false;
        rig.advance(2 * SECOND);
        rig.advance(SECOND);
        assert_eq!(rig.state(), SessionState::Verifying);
        assert!(rig.driver.session.poll_timeout().is_some());
    }
}

#[test]
fn writes_are_sent_again_from_the_start() {
    let config = config(unverified(Recovery::FOREVER)).immediate_data(false).initial_r2t(true);
    let mut rig = Rig::logged_in(config, Limits::DEFAULT);
    let data: Vec<u8> = (0..4096u32).map(|n| n as u8).collect();
    let cdb = Disk::write10(8, 8);
    let write = Command::new(Lun::ZERO, &cdb, Transfer::Out(4096)).on_loss(OnLoss::Reissue);
    let task = rig.submit(&write, &data);
    rig.run();
    let (command, _) = rig.target.expect_command();
    let r2t = rig.target.r2t(&command, 0, 0, 2048);
    rig.send(r2t, &[]);
    assert_eq!(rig.target.expect_data_out().1.len(), 2048);
    cut(&mut rig);
    rig.target.service = Some(Service::new(Disk::new(64)));
    rig.advance(2 * SECOND);
    assert!(rig.outcome(task).is_good());
    assert_eq!(rig.disk().bytes[8 * 512..][..4096], data);
}

#[test]
fn an_attempt_that_fails_when_the_time_is_over_is_not_the_reason() {
    let policy = Recovery { retry: Retry::For(5 * SECOND), ..Recovery::FOREVER };
    let mut rig = logged_in(unverified(policy));
    let task = read(&mut rig, 0, OnLoss::Reissue);
    rig.run();
    cut(&mut rig);
    let late = rig.clock.now() + 6 * SECOND;
    let session = &mut rig.driver.session;
    session.retry_now(rig.clock.now()).unwrap();
    let status = session.recovery().unwrap();
    session.handle_timeout(status.next_attempt.unwrap_or_else(|| rig.clock.now()));
    assert_eq!(session.state(), SessionState::Connecting);
    session.connect_failed(late);
    let over = LostReason::TimedOut(Timer::Recovery);
    assert_eq!(session.state(), SessionState::Failed(over));
    assert_eq!(session.recovery().unwrap().last, LostReason::ConnectFailed);
    rig.driver.touch();
    rig.run();
    assert_eq!(rig.lost(task), Some(over));
}

/// The abort of a command that arrived damaged is for its number only; a loss before it is answered does not end the command.
#[test]
fn a_rejected_command_that_may_be_resent_outlives_a_loss() {
    use iscsi_core::wire::RejectReason;
    for (reason, again) in
        [(RejectReason::DataDigestError, true), (RejectReason::InvalidPduField, false)]
    {
        let mut rig = logged_in(unverified(Recovery::FOREVER));
        let task = read(&mut rig, 5, OnLoss::Reissue);
        rig.run();
        let header = *rig.target.received().last().unwrap();
        rig.target.inbox.clear();
        let reject = rig.target.reject(reason);
        rig.send(reject, &header);
        rig.target.expect_task_management();
        cut(&mut rig);
        assert_eq!(rig.lost(task), (!again).then_some(LostReason::Rejected(reason)));
        rig.advance(2 * SECOND);
        assert_eq!(lbas(&rig), if again { &[5][..] } else { &[] });
        if again {
            answer(&mut rig, 1);
            assert!(rig.outcome(task).is_good());
        }
    }
}

#[test]
fn retries_have_a_policy_worth_the_name() {
    use iscsi_core::ConfigError;
    let zero = Recovery { first_delay: Duration::ZERO, ..Recovery::FOREVER };
    assert_eq!(Rig::config().recovery(zero).build(), Err(ConfigError::RecoveryDelay));
    let none = Recovery { retry: Retry::For(Duration::ZERO), ..Recovery::NEVER };
    assert_eq!(Rig::config().recovery(none).build(), Err(ConfigError::RecoveryDelay));
    assert!(Rig::config().recovery(Recovery::NEVER).build().is_ok());
}
