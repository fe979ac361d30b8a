//! Login to the full feature phase, over ideal and bad links.
#![cfg(feature = "testing")]

use core::time::Duration;

use iscsi_core::digest::DigestKind;
use iscsi_core::driver::RecvBuf;
use iscsi_core::testing::{Disk, Do, Faults, Rig, Rng, Rule, Service, Told, When};
use iscsi_core::text::{Digests, Limits};
use iscsi_core::wire::data_segment_length;
use iscsi_core::{Action, InlineSession, LostReason, SessionState, Timer};

#[test]
fn login_reaches_the_full_feature_phase() {
    let mut rig = Rig::new(Rig::config().build().unwrap(), Limits::DEFAULT, 1);
    rig.open();
    assert_eq!(rig.state(), SessionState::LoggedIn);
    assert_eq!(rig.actions, [Action::Connect]);
    let Some(Told::State(SessionState::LoggedIn)) = rig.told.last() else {
        panic!("{:?}", rig.told)
    };
    assert_eq!(rig.driver.session.tsih(), 1);
    let mut negotiated = *rig.target.negotiated();
    negotiated.target_portal_group_tag = Some(1);
    assert_eq!(*rig.driver.session.negotiated(), negotiated);
    assert!(rig.driver.session.isid().is_some());
    // The security stage and the operational stage, one request each.
    assert_eq!(rig.target.received().len(), 2);
    for (bhs, flags) in rig.target.received().iter().zip([0x81, 0x87]) {
        assert_eq!((bhs[0], bhs[1]), (0x43, flags));
    }
}

/// RFC 7143 section 6.1: this much may come in one Login Response, and in the text of several.
#[test]
fn the_text_of_a_login_may_have_8192_bytes() {
    let login = |filler: &[u8], cuts: &[usize]| {
        let mut rig = Rig::new(Rig::config().build().unwrap(), Limits::DEFAULT, 1);
        for act in [Do::Text(filler.to_vec()), Do::Spread(cuts.to_vec())] {
            rig.target.script.add(Rule::new(When::sends_last_login(), act).times(1));
        }
        rig.open();
        let lengths: Vec<u32> = rig.target.sent().iter().map(data_segment_length).collect();
        (rig.state(), lengths)
    };
    let honest = *login(b"", &[]).1.last().unwrap() as usize;
    let filler = [b"X-a=", &vec![b'a'; 8192 - honest - 5][..], b"\0"].concat();
    for cuts in [vec![], vec![1], vec![4096], vec![100, 8191]] {
        let (state, lengths) = login(&filler, &cuts);
        assert_eq!(state, SessionState::LoggedIn, "{cuts:?}");
        assert_eq!(lengths.iter().rev().take(cuts.len() + 1).sum::<u32>(), 8192);
    }
}

#[test]
fn digests_start_with_the_first_pdu_after_the_login() {
    for (header, data) in [
        (Digests::CRC32C, Digests::NONE),
        (Digests::NONE, Digests::CRC32C),
        (Digests::CRC32C, Digests::CRC32C),
    ] {
        let config = Rig::config().header_digest(header).data_digest(data);
        let mut rig = Rig::logged_in(config, Limits::DEFAULT);
        let wanted = |digests| {
            if digests == Digests::CRC32C { DigestKind::Crc32c } else { DigestKind::None }
        };
        assert_eq!(rig.target.negotiated().header_digest, wanted(header));
        assert_eq!(rig.target.negotiated().data_digest, wanted(data));
        rig.target.service = Some(Service::new(Disk::new(64)));
        let written = [0x5a; 3 * 512];
        let write = rig.write(4, &written);
        let read = rig.read(3, 5);
        rig.run();
        assert!(rig.outcome(write).is_good() && rig.outcome(read).is_good());
        assert_eq!(&rig.disk().bytes[4 * 512..7 * 512], written);
    }
}

#[test]
fn login_survives_every_network() {
    for seed in 0..200 {
        let mut rng = Rng::new(seed);
        let scratch: Box<RecvBuf> = match rng.below(4) {
            0 => Box::new(RecvBuf::new([])),
            1 => Box::new(RecvBuf::new([0; 1])),
            2 => Box::new(RecvBuf::new([0; 47])),
            _ => RecvBuf::boxed(),
        };
        let config = Rig::config().build().unwrap();
        let mut rig =
            Rig::with(config, Limits::DEFAULT, Box::<InlineSession<4>>::default(), scratch, seed);
        rig.faults = [Faults::network(&mut rng), Faults::network(&mut rng)];
        rig.log_in();
    }
}

#[test]
fn silent_target_times_out() {
    let mut rig = Rig::new(Rig::config().build().unwrap(), Limits::DEFAULT, 1);
    rig.faults[1].stall = 1000;
    rig.faults[1].stall_time = Duration::from_secs(3600);
    let portal = iscsi_core::Portal::parse("192.0.2.2:3260").unwrap();
    rig.driver.session.open(portal, rig.clock.now()).unwrap();
    rig.driver.touch();
    while rig.step() {}
    assert_eq!(rig.state(), SessionState::LoggingIn);
    let deadline = rig.driver.deadline().unwrap();
    assert_eq!(deadline.as_micros(), 15_000_000);
    rig.clock.jump_to(deadline);
    while rig.step() {}
    assert_eq!(rig.state(), SessionState::Failed(LostReason::TimedOut(Timer::Login)));
    assert_eq!(rig.actions, [Action::Connect, Action::Disconnect]);
}
