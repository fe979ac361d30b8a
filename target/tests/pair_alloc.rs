//! Neither engine allocates: logging in, reading, writing and logging out touch no heap.

use assert_no_alloc::{AllocDisabler, assert_no_alloc};
use iscsi_core::auth::Entropy;
use iscsi_core::driver::{RecvBuf, Transport};
use iscsi_core::{
    Buffers, Command, Config, Event, InlineConnection, InlineSession, Instant, IscsiName, Lun,
    Portal, SessionState, TaskId, Transfer,
};
use iscsi_target::{LogicalUnit, NexusSlot, RamDisk, Target, TargetConfig, TargetConnection};

#[global_allocator]
static ALLOCATOR: AllocDisabler = AllocDisabler;

/// A pipe of a fixed size.
struct Pipe {
    bytes: [u8; 65_536],
    read: usize,
    written: usize,
}

/// One end: what is sent, what is received.
struct End<'a>(&'a mut Pipe, &'a mut Pipe);

impl Transport for End<'_> {
    type Error = core::convert::Infallible;

    fn send(&mut self, runs: &[&[u8]]) -> Result<Option<usize>, Self::Error> {
        let pipe = &mut *self.0;
        if pipe.read == pipe.written {
            (pipe.read, pipe.written) = (0, 0);
        }
        let mut total = 0;
        for run in runs {
            let room = &mut pipe.bytes[pipe.written..];
            let n = run.len().min(room.len());
            room[..n].copy_from_slice(&run[..n]);
            pipe.written += n;
            total += n;
        }
        Ok((total > 0).then_some(total))
    }

    fn recv(&mut self, space: [&mut [u8]; 2]) -> Result<Option<usize>, Self::Error> {
        let pipe = &mut *self.1;
        let mut total = 0;
        for slice in space {
            let n = slice.len().min(pipe.written - pipe.read);
            slice[..n].copy_from_slice(&pipe.bytes[pipe.read..pipe.read + n]);
            pipe.read += n;
            total += n;
        }
        Ok((total > 0).then_some(total))
    }
}

/// The memory of all tasks.
struct Block([u8; 8192]);

impl Buffers for Block {
    fn data_in(&mut self, _task: TaskId, at: u32, max: u32) -> &mut [u8] {
        &mut self.0[at as usize..][..max as usize]
    }

    fn data_out(&self, _task: TaskId, at: u32, max: u32) -> &[u8] {
        &self.0[at as usize..][..max as usize]
    }
}

#[test]
fn nothing_is_allocated() {
    let name = |name| IscsiName::new(name).unwrap();
    let target_config = TargetConfig::new(name("iqn.2001-04.com.example:disk"));
    let config = Config::normal(name("iqn.2001-04.com.example:host"), target_config.name.clone());
    let config = config.build().unwrap();
    let mut disk = RamDisk::new(vec![0; 65_536], 512).unwrap();
    let mut units = [LogicalUnit::new(0, &mut disk, "alloc")];
    let mut sessions = [const { NexusSlot::EMPTY }; 1];
    let mut target = Target::new(&target_config, &mut units, &mut sessions).unwrap();
    let mut there = TargetConnection::boxed();
    let mut session = Box::<InlineSession<4>>::default();
    let mut here = Box::<InlineConnection>::default();
    let empty = || Box::new(Pipe { bytes: [0; 65_536], read: 0, written: 0 });
    let (mut up, mut down) = (empty(), empty());
    let (mut near, mut far) = (RecvBuf::boxed(), RecvBuf::boxed());
    let mut block = Box::new(Block([0x5a; 8192]));
    let portal = Portal::parse("192.0.2.2:3260").unwrap();
    let now = Instant::ZERO;
    let (mut good, mut ended) = (0, 0);

    assert_no_alloc(|| {
        session.configure(config).unwrap();
        session.open(portal, now).unwrap();
        while session.poll_action().is_some() {}
        there.opened(&target, Entropy::new([1; 64]), None, now);
        here.opened(&mut session, Entropy::new([2; 64]), now);
        let mut submitted = 0;
        for _ in 0..2_000 {
            let ready = session.state() == SessionState::LoggedIn;
            if ready && submitted == 400 && session.in_use() == 0 {
                session.logout(now).unwrap();
            }
            while ready && submitted < 400 && session.in_use() < 4 {
                let mut cdb = [0; 10];
                cdb[0] = if submitted % 2 == 0 { 0x2a } else { 0x28 };
                cdb[8] = 16;
                let out = submitted % 2 == 0;
                let transfer = if out { Transfer::Out(8192) } else { Transfer::In(8192) };
                let command = Command::new(Lun::ZERO, &cdb, transfer);
                session.submit(&command, now).unwrap();
                submitted += 1;
            }
            let mut end = End(&mut up, &mut down);
            let (session_view, scratch) = (&mut *session, &mut *near);
            let _ = iscsi_core::driver::pump(
                &mut here,
                session_view,
                &mut *block,
                scratch,
                &mut end,
                now,
                64,
            );
            while let Some(event) = session.poll_event() {
                match event {
                    Event::TaskDone { outcome, .. } => {
                        ended += 1;
                        good += u32::from(outcome.is_good());
                    }
                    Event::TaskLost { .. } => ended += 1,
                    _ => {}
                }
            }
            let mut end = End(&mut down, &mut up);
            let _ =
                iscsi_target::driver::pump(&mut there, &mut target, &mut far, &mut end, now, 64);
        }
    });
    assert_eq!(session.state(), SessionState::Closed);
    assert_eq!(ended, 400);
    // The first command of a session gets a unit attention.
    assert!(good >= 396, "{good}");
}
