//! An initiator and a target that are logged in, in one thread.

use core::time::Duration;
use std::time::Instant as Clock;

use iscsi_core::auth::Entropy;
use iscsi_core::driver::RecvBuf;
use iscsi_core::text::Digests;
use iscsi_core::{
    Buffers, Command, Config, Event, InlineInitiator, Instant, IscsiName, Lun, Portal,
    SessionState, TaskId, Transfer,
};
use iscsi_target::{LogicalUnit, NexusSlot, NullDisk, Target, TargetConfig, TargetConnection};

use crate::link::Link;

const BLOCK: u32 = 512;
/// The longest transfer.
const LONGEST: usize = 1 << 20;
/// PDUs that one turn may take: more than a batch has.
const BUDGET: usize = 4096;

/// What an I/O does.
///
/// ```
/// assert_ne!(iscsi_benches::Io::Read, iscsi_benches::Io::Write);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Io {
    /// READ(10).
    Read,
    /// WRITE(10).
    Write,
}

/// An initiator that is logged in to a target, a [`NullDisk`] behind it, and the bytes between them.
///
/// ```
/// use iscsi_benches::{Io, Pair};
///
/// let mut pair = Pair::logged_in(true);
/// pair.submit(Io::Read, 32, 4096);
/// pair.pump();
/// pair.serve();
/// pair.pump();
/// assert_eq!(pair.take(), 32);
/// ```
pub struct Pair {
    initiator: InlineInitiator<128>,
    scratch: Box<RecvBuf>,
    memory: Zeros,
    target: Target<'static>,
    connection: Box<TargetConnection>,
    target_scratch: Box<RecvBuf>,
    link: Link,
}

impl core::fmt::Debug for Pair {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Pair")
            .field("state", &self.initiator.session.state())
            .finish_non_exhaustive()
    }
}

/// Memory that all tasks share, as with libiscsi's measuring tool.
struct Zeros(Vec<u8>);

impl Buffers for Zeros {
    fn data_in(&mut self, _task: TaskId, at: u32, max: u32) -> &mut [u8] {
        &mut self.0[at as usize..][..max as usize]
    }

    fn data_out(&self, _task: TaskId, at: u32, max: u32) -> &[u8] {
        &self.0[at as usize..][..max as usize]
    }
}

impl Pair {
    /// Logs in, with header and data digests or without, and takes the unit attention that greets a new initiator.
    ///
    /// What the target borrows is never given back: there are a few of these in a program.
    ///
    /// # Panics
    /// If the login fails.
    pub fn logged_in(digests: bool) -> Box<Self> {
        let name = |name| IscsiName::new(name).expect("a name");
        let target_name = name("iqn.2001-04.com.example:disk");
        let wanted = if digests { Digests::CRC32C } else { Digests::NONE };
        let config = Config::normal(name("iqn.2001-04.com.example:host"), target_name.clone())
            .header_digest(wanted)
            .data_digest(wanted)
            .build()
            .expect("a configuration");
        let disk = Box::leak(Box::new(NullDisk::new(1 << 30)));
        let units = vec![LogicalUnit::new(0, disk, "bench")].leak();
        let target_config = Box::leak(Box::new(TargetConfig::new(target_name)));
        let sessions = vec![NexusSlot::EMPTY].leak();
        let mut pair = Box::new(Self {
            initiator: InlineInitiator::new(),
            scratch: RecvBuf::boxed(),
            memory: Zeros(vec![0; LONGEST]),
            target: Target::new(target_config, units, sessions).expect("a target"),
            connection: TargetConnection::boxed(),
            target_scratch: RecvBuf::boxed(),
            link: Link::new(),
        });
        let now = Instant::ZERO;
        pair.connection.opened(&pair.target, Entropy::new([0xa5; 64]), None, now);
        let session = &mut pair.initiator.session;
        session.configure(config).expect("an idle session");
        session
            .open(Portal::parse("192.0.2.1").expect("an address"), now)
            .expect("an idle session");
        pair.initiator.opened(Entropy::new([0x5a; 64]), now);
        for _turn in 0..16 {
            pair.pump();
            pair.serve();
        }
        assert_eq!(pair.initiator.session.state(), SessionState::LoggedIn);
        pair.initiator.session.submit(&TEST_UNIT_READY, now).expect("a free slot");
        pair.pump();
        pair.serve();
        pair.pump();
        while pair.initiator.session.poll_event().is_some() {}
        assert!(pair.link.is_empty() && pair.initiator.session.in_use() == 0);
        pair
    }

    /// Submits `count` I/Os of `len` bytes, one behind the other.
    ///
    /// # Panics
    /// If there are more than 128, or `len` is not a number of blocks up to 1 MiB.
    pub fn submit(&mut self, io: Io, count: u32, len: u32) {
        assert!(len.is_multiple_of(BLOCK) && len as usize <= LONGEST);
        let blocks = len / BLOCK;
        let (opcode, transfer) = match io {
            Io::Read => (0x28, Transfer::In(len)),
            Io::Write => (0x2a, Transfer::Out(len)),
        };
        for i in 0..count {
            let [a, b, c, d] = (i * blocks).to_be_bytes();
            let [.., high, low] = blocks.to_be_bytes();
            let cdb = [opcode, 0, a, b, c, d, 0, high, low, 0];
            let command = Command::new(Lun::ZERO, &cdb, transfer);
            self.initiator.session.submit(&command, Instant::ZERO).expect("a free slot");
        }
    }

    /// One turn of the initiator.
    pub fn pump(&mut self) {
        let Self { initiator, scratch, memory, link, .. } = self;
        loop {
            let Ok(wants) =
                initiator.pump(memory, scratch, &mut link.initiator(), Instant::ZERO, BUDGET);
            if !wants.again {
                return;
            }
        }
    }

    /// One turn of the target.
    pub fn serve(&mut self) {
        let Self { target, connection, target_scratch, link, .. } = self;
        loop {
            let Ok(wants) = iscsi_target::driver::pump(
                connection,
                target,
                target_scratch,
                &mut link.target(),
                Instant::ZERO,
                BUDGET,
            );
            if !wants.again {
                return;
            }
        }
    }

    /// Takes the events; says how many I/Os they end.
    ///
    /// # Panics
    /// If an I/O failed.
    pub fn take(&mut self) -> u32 {
        let mut done = 0;
        while let Some(event) = self.initiator.session.poll_event() {
            match event {
                Event::TaskDone { outcome, .. } if outcome.is_good() => done += 1,
                other => panic!("{other:?}"),
            }
        }
        done
    }

    /// Carries a batch of I/Os out; returns the time that the initiator takes.
    ///
    /// # Panics
    /// If an I/O fails or does not end.
    pub fn batch(&mut self, io: Io, count: u32, len: u32) -> Duration {
        let start = Clock::now();
        self.submit(io, count, len);
        self.pump();
        let mut time = start.elapsed();
        let mut done = 0;
        for _turn in 0..1000 {
            self.serve();
            let start = Clock::now();
            self.pump();
            done += self.take();
            time += start.elapsed();
            if done == count {
                return time;
            }
        }
        panic!("{done} of {count} I/Os ended, {:?}", self.initiator.session.state());
    }
}

const TEST_UNIT_READY: Command<'_> = Command::new(Lun::ZERO, &[0; 6], Transfer::None);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_of_every_kind_end() {
        for digests in [false, true] {
            let mut pair = Pair::logged_in(digests);
            assert_eq!(pair.initiator.session.negotiated().header_digest.len() > 0, digests);
            assert_eq!(pair.initiator.session.negotiated().data_digest.len() > 0, digests);
            for io in [Io::Read, Io::Write] {
                for (count, len) in [(32, 512), (32, 4096), (1, 4096), (32, 65_536), (2, 1 << 20)] {
                    for _again in 0..3 {
                        assert!(pair.batch(io, count, len) > Duration::ZERO);
                    }
                }
            }
            assert!(pair.link.is_empty());
        }
    }
}
