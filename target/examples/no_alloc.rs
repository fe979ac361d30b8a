//! Initiator and target in one thread, without a heap: the initiator logs in, writes a block and reads it back.
//!
//! Both are plain state machines; the "network" is two arrays. The global allocator of this program aborts on any allocation
//! while it is armed: from before the login until after the READ.

use assert_no_alloc::{AllocDisabler, assert_no_alloc};
use core::convert::Infallible;
use iscsi_core::auth::Entropy;
use iscsi_core::driver::{RecvBuf, Transport, pump};
use iscsi_core::{
    Buffers, Command, Config, Event, InlineConnection, InlineSession, Instant, IscsiName, Lun,
    Portal, SessionState, TaskId, Transfer,
};
use iscsi_target::{InlineTargetConnection, LogicalUnit, NexusSlot, RamDisk, Target, TargetConfig};

#[global_allocator]
static ALLOCATOR: AllocDisabler = AllocDisabler;

const BLOCK: usize = 512;

/// One direction of the network.
struct Wire {
    bytes: [u8; 8192],
    start: usize,
    end: usize,
}

impl Wire {
    const fn new() -> Self {
        Self { bytes: [0; 8192], start: 0, end: 0 }
    }

    fn put(&mut self, runs: &[&[u8]]) -> Option<usize> {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
        let before = self.end;
        for run in runs {
            let n = run.len().min(self.bytes.len() - self.end);
            self.bytes[self.end..self.end + n].copy_from_slice(&run[..n]);
            self.end += n;
        }
        (self.end > before).then_some(self.end - before)
    }

    fn take(&mut self, space: [&mut [u8]; 2]) -> Option<usize> {
        let mut taken = 0;
        for part in space {
            let n = part.len().min(self.end - self.start);
            part[..n].copy_from_slice(&self.bytes[self.start..self.start + n]);
            self.start += n;
            taken += n;
        }
        (taken > 0).then_some(taken)
    }
}

/// One end of the network.
struct End<'a> {
    out: &'a mut Wire,
    r#in: &'a mut Wire,
}

impl Transport for End<'_> {
    type Error = Infallible;

    fn send(&mut self, runs: &[&[u8]]) -> Result<Option<usize>, Infallible> {
        Ok(self.out.put(runs))
    }

    fn recv(&mut self, space: [&mut [u8]; 2]) -> Result<Option<usize>, Infallible> {
        Ok(self.r#in.take(space))
    }
}

/// The application's memory: one block to write and one to read into.
struct Memory {
    written: [u8; BLOCK],
    read: [u8; BLOCK],
}

impl Buffers for Memory {
    fn data_in(&mut self, _task: TaskId, at: u32, max: u32) -> &mut [u8] {
        &mut self.read[at as usize..][..max as usize]
    }

    fn data_out(&self, _task: TaskId, at: u32, max: u32) -> &[u8] {
        &self.written[at as usize..][..max as usize]
    }
}

fn main() {
    let name = |name| IscsiName::new(name).expect("a valid name");
    let target_name = name("iqn.2001-04.com.example:ram");
    let target_config = TargetConfig::new(target_name.clone());
    let config = Config::normal(name("iqn.2001-04.com.example:host"), target_name);
    let config = config.build().expect("a valid configuration");
    let portal = Portal::parse("192.0.2.1").expect("a valid address");

    let mut disk = RamDisk::new([0; 64 * BLOCK], BLOCK as u32).expect("whole blocks");
    let mut units = [LogicalUnit::new(0, &mut disk, "no-alloc")];
    let mut sessions = [NexusSlot::EMPTY];
    let mut target = Target::new(&target_config, &mut units, &mut sessions).expect("a target");
    let mut far = InlineTargetConnection::<8>::new();

    let mut session = InlineSession::<4>::new();
    let mut near = InlineConnection::new();
    let (mut near_scratch, mut far_scratch) = (RecvBuf::new([0; 1024]), RecvBuf::new([0; 1024]));
    let (mut to_target, mut to_initiator) = (Wire::new(), Wire::new());
    let mut memory = Memory { written: [0; BLOCK], read: [0; BLOCK] };
    for (i, byte) in memory.written.iter_mut().enumerate() {
        *byte = (i * 7) as u8;
    }

    let finished = assert_no_alloc(|| {
        let now = Instant::ZERO;
        session.configure(config).expect("an idle session");
        session.open(portal, now).expect("an idle session");
        near.opened(&mut session, Entropy::new([0x5a; 64]), now);
        far.opened(&target, Entropy::new([0xa5; 64]), None, now);
        let (mut done, mut logged_in) = (0, false);
        for _turn in 0..1000 {
            let mut end = End { out: &mut to_target, r#in: &mut to_initiator };
            let Ok(_) =
                pump(&mut near, &mut session, &mut memory, &mut near_scratch, &mut end, now, 16);
            let mut end = End { out: &mut to_initiator, r#in: &mut to_target };
            let Ok(_) = iscsi_target::driver::pump(
                &mut far,
                &mut target,
                &mut far_scratch,
                &mut end,
                now,
                16,
            );
            let next = match session.poll_event() {
                Some(Event::StateChanged(SessionState::LoggedIn)) => {
                    logged_in = true;
                    // A new initiator is told of the power on first.
                    Some(Command::new(Lun::ZERO, &[0; 6], Transfer::None))
                }
                Some(Event::TaskDone { outcome, .. }) => {
                    assert!(done == 0 || outcome.is_good());
                    done += 1;
                    match done {
                        1 => Some(block_command(&WRITE_10, Transfer::Out(BLOCK as u32))),
                        2 => Some(block_command(&READ_10, Transfer::In(BLOCK as u32))),
                        _ => return logged_in,
                    }
                }
                Some(Event::TaskLost { .. }) => return false,
                _ => None,
            };
            if let Some(command) = next {
                session.submit(&command, now).expect("a free slot");
            }
        }
        false
    });

    assert!(finished, "the session ended early: {:?}", session.state());
    assert_eq!(memory.read, memory.written);
    println!("logged in, wrote a block and read it back without one allocation");
}

const WRITE_10: [u8; 10] = [0x2a, 0, 0, 0, 0, 5, 0, 0, 1, 0];
const READ_10: [u8; 10] = [0x28, 0, 0, 0, 0, 5, 0, 0, 1, 0];

const fn block_command(cdb: &[u8], transfer: Transfer) -> Command<'_> {
    Command::new(Lun::ZERO, cdb, transfer)
}
