//! What an operation costs on the wire: round trips and PDUs.

use core::fmt::Write as _;
use core::time::Duration;

use iscsi_core::auth::Entropy;
use iscsi_core::config::Timeouts;
use iscsi_core::driver::RecvBuf;
use iscsi_core::testing::{Clock, Faults, Link, Memory, Rng, StrictDriver, Tap, Told};
use iscsi_core::text::Limits;
use iscsi_core::wire::Opcode;
use iscsi_core::{Action, Command, Config, Direction, IscsiName, Lun, Portal, Session, Transfer};
use iscsi_scsi::block::{Read16, Write16};
use iscsi_target::{LogicalUnit, NexusSlot, RamDisk, Target, TargetConfig};

use crate::Finding;
use crate::catch::catch;
use crate::far::Far;

/// Half a round trip.
const LATENCY: Duration = Duration::from_millis(1);

const SIZES: [u32; 4] = [4 << 10, 64 << 10, 256 << 10, 1 << 20];
const DEPTHS: [usize; 2] = [1, 8];
const BLOCK: u32 = 512;
const MRDSL: u32 = 256 << 10;

/// ImmediateData, InitialR2T, FirstBurstLength, MaxBurstLength.
type Keys = (bool, bool, u32, u32);

const KEYS: [Keys; 6] = [
    (true, false, 256 << 10, 1 << 20),
    (true, false, 64 << 10, 256 << 10),
    (true, true, 64 << 10, 256 << 10),
    (false, false, 64 << 10, 256 << 10),
    (false, true, 64 << 10, 256 << 10),
    (true, false, 8 << 10, 16 << 10),
];

/// The kinds of PDUs that operations consist of, in the table's order.
const KINDS: [(Opcode, &str); 5] = [
    (Opcode::ScsiCommand, "Command"),
    (Opcode::DataOut, "Data-Out"),
    (Opcode::R2t, "R2T"),
    (Opcode::DataIn, "Data-In"),
    (Opcode::ScsiResponse, "Response"),
];

/// A table of what reads and writes cost: the round trips until all operations of the depth are done, and the PDUs of each kind. Time
/// is virtual, both engines take none, and the link has no limit.
///
/// # Errors
/// What kept an operation from being done.
///
/// ```
/// let table = iscsi_sim::operations().unwrap();
/// assert!(table.lines().any(|line| line.starts_with("read")));
/// ```
pub fn operations() -> Result<String, String> {
    catch(table)
}

fn table() -> Result<String, Finding> {
    let mut table = String::from(
        "# Round trips and PDUs of reads and writes. MaxRecvDataSegmentLength is 262144 on both sides, MaxOutstandingR2T 8.\n",
    );
    for keys in KEYS {
        let (immediate, initial_r2t, first, max) = keys;
        let yes = |yes| if yes { "Yes" } else { "No" };
        let _ = write!(
            table,
            "\nImmediateData={} InitialR2T={} FirstBurstLength={first} MaxBurstLength={max}\n{:<6}{:>8}{:>6}{:>12}",
            yes(immediate),
            yes(initial_r2t),
            "",
            "bytes",
            "depth",
            "round trips",
        );
        for (_, name) in KINDS {
            let _ = write!(table, "{name:>9}");
        }
        let _ = writeln!(table, "{:>6}{:>6}", "->", "<-");
        for (name, is_write) in [("read", false), ("write", true)] {
            for size in SIZES {
                for depth in DEPTHS {
                    let cost = measure(keys, is_write, size, depth)
                        .map_err(|finding| format!("{name} {size} {depth}: {finding}"))?;
                    let _ = write!(table, "{name:<6}{size:>8}{depth:>6}{:>12}", cost.round_trips());
                    for count in cost.kinds {
                        let _ = write!(table, "{count:>9}");
                    }
                    let _ = writeln!(table, "{:>6}{:>6}", cost.sent, cost.received);
                }
            }
        }
    }
    Ok(table)
}

#[derive(Debug, Default)]
struct Cost {
    time: Duration,
    kinds: [u64; KINDS.len()],
    sent: u64,
    received: u64,
}

impl Cost {
    /// Round trips with one digit, for an answer that nobody asked for takes half of one.
    fn round_trips(&self) -> String {
        let halves = self.time.as_micros() / LATENCY.as_micros();
        format!("{}.{}", halves / 2, halves % 2 * 5)
    }
}

/// A link with a constant latency between both engines.
struct Scene<'a> {
    clock: Clock,
    driver: StrictDriver,
    memory: Memory,
    target: Target<'a>,
    far: Option<Far>,
    good: usize,
}

impl Scene<'_> {
    /// Runs until nothing is under way.
    fn run(&mut self) -> Result<(), Finding> {
        loop {
            let link = self.far.as_mut().map(|far| &mut far.link);
            let mut moved = self.driver.turn(&mut self.memory, link, &self.clock);
            while let Some(event) = self.driver.session.poll_event() {
                moved = true;
                match Told::from(event) {
                    Told::Done { outcome, .. } if outcome.is_good() => self.good += 1,
                    Told::State(_) => {}
                    told => return Err(format!("{told:?}")),
                }
                self.driver.touch();
            }
            while self.driver.session.poll_action() == Some(Action::Connect) {
                moved = true;
                let faults = Faults { latency: LATENCY, ..Faults::NONE };
                let mut link = Link::new(faults, faults, &mut Rng::new(1));
                link.tap = Some(Tap::new());
                let (scratch, now) = (RecvBuf::boxed(), self.clock.now());
                self.far = Some(Far::open(link, scratch, Entropy::new([1; 64]), &self.target, now));
                self.driver.opened(Entropy::new([2; 64]), &self.clock);
            }
            if let Some(far) = &mut self.far {
                moved |= far.serve(&mut self.target, &self.clock);
            }
            if moved {
                continue;
            }
            let now = self.clock.now();
            match self.far.as_ref().and_then(|far| far.link.next_arrival(now)) {
                Some(at) => self.clock.jump_to(at),
                None => return Ok(()),
            }
        }
    }
}

fn measure(keys: Keys, is_write: bool, size: u32, depth: usize) -> Result<Cost, Finding> {
    let (immediate_data, initial_r2t, first_burst_length, max_burst_length) = keys;
    let limits = Limits {
        immediate_data,
        initial_r2t,
        first_burst_length,
        max_burst_length,
        max_recv_data_segment_length: MRDSL,
        ..Limits::DEFAULT
    };
    let name = |name| IscsiName::new(name).map_err(|e| format!("{name}: {e}"));
    let mut config = TargetConfig::new(name("iqn.2001-04.com.example:disk")?);
    config.limits = limits;
    config.nop_interval = None;
    let timeouts = Timeouts { nop_interval: None, command: None, ..Timeouts::DEFAULT };
    let initiator = Config::normal(name("iqn.2001-04.com.example:host")?, config.name.clone())
        .limits(limits)
        .timeouts(timeouts)
        .build()
        .map_err(|e| e.to_string())?;
    let memory = vec![0; size as usize * depth];
    let mut disk = RamDisk::new(memory, BLOCK).map_err(|e| e.to_string())?;
    let mut units = [LogicalUnit::new(0, &mut disk, "operations")];
    let mut sessions = [const { NexusSlot::EMPTY }; 1];
    let target = Target::new(&config, &mut units, &mut sessions).map_err(|e| e.to_string())?;
    let mut session = Session::boxed(depth);
    session.configure(initiator).map_err(|e| e.to_string())?;
    let mut scene = Scene {
        clock: Clock::new(),
        driver: StrictDriver::new(session, RecvBuf::boxed(), 0),
        memory: Memory::new(),
        target,
        far: None,
        good: 0,
    };
    let portal = Portal::parse("192.0.2.2:3260").map_err(|e| e.to_string())?;
    let now = scene.clock.now();
    scene.driver.session.open(portal, now).map_err(|e| e.to_string())?;
    scene.driver.touch();
    scene.run()?;
    take_headers(&mut scene);
    let start = scene.clock.now();
    for n in 0..depth as u64 {
        let (lba, blocks) = (n * u64::from(size / BLOCK), size / BLOCK);
        let (cdb, transfer) = if is_write {
            (Write16 { lba, blocks, ..Default::default() }.cdb(), Transfer::Out(size))
        } else {
            (Read16 { lba, blocks, ..Default::default() }.cdb(), Transfer::In(size))
        };
        let command = Command::new(Lun::ZERO, cdb.as_bytes(), transfer);
        let task = scene.driver.session.submit(&command, start).map_err(|e| e.to_string())?;
        if is_write {
            scene.memory.lend_out(task, vec![n as u8 + 1; size as usize]);
        } else {
            scene.memory.lend_in(task, size as usize);
        }
        scene.driver.touch();
    }
    scene.run()?;
    if scene.good != depth {
        return Err(format!("{} of {depth} are good", scene.good));
    }
    let mut cost = Cost { time: scene.clock.now().saturating_since(start), ..Cost::default() };
    for (direction, opcode) in take_headers(&mut scene) {
        match direction {
            Direction::Sent => cost.sent += 1,
            Direction::Received => cost.received += 1,
        }
        let kind = KINDS.iter().position(|(kind, _)| Some(*kind) == opcode);
        let kind = kind.ok_or_else(|| format!("{opcode:?} is part of no operation"))?;
        cost.kinds[kind] += 1;
    }
    Ok(cost)
}

fn take_headers(scene: &mut Scene<'_>) -> Vec<(Direction, Option<Opcode>)> {
    let tap = scene.far.as_mut().and_then(|far| far.link.tap.as_mut());
    let headers = tap.map(Tap::take_headers).unwrap_or_default();
    headers.into_iter().map(|(direction, bhs)| (direction, Opcode::of(&bhs))).collect()
}
