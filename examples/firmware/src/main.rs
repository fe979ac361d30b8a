//! Reads the first blocks of an iSCSI disk from a Cortex-M4: no operating system, no heap, static memory only.
//!
//! The engine is `iscsi-core`, the TCP stack is smoltcp. The debugger passes the words `PROGRAM HOST:PORT SECRET`. The firmware logs in with
//! CHAP and both digests, has four READ(10)s under way at once, compares what they bring with the pattern that the disk must
//! hold, logs out, and ends the emulator with code 0. Whatever goes wrong is named, and ends it with code 1.
#![no_std]
#![no_main]

mod failure;

use board::clock::Clock;
use board::ethernet::Ethernet;
use board::host::{self, CommandLine, hprintln};
use board::network::{Memory, NO_SOCKETS, Network, Sockets};
use core::net::IpAddr;
use core::time::Duration;
use cortex_m_rt::entry;
use failure::Failure;
use iscsi_core::auth::{Chap, Entropy, Secret};
use iscsi_core::config::Timeouts;
use iscsi_core::digest::DigestKind;
use iscsi_core::driver::{RecvBuf, Transport, pump};
use iscsi_core::text::Digests;
use iscsi_core::{
    Action, Buffers, Command, Config, Connection, Event, InlineSession, Instant, IscsiName, Lun,
    Portal, RECEIVE_AREA, Session, SessionState, TaskId, Transfer,
};
use smoltcp::socket::tcp::{RecvError, SendError, Socket};

const INITIATOR: &str = "iqn.2001-04.com.example:firmware";
const TARGET: &str = "iqn.2001-04.com.example:iscsi-target";
const USER: &str = "firmware";

const BLOCK: usize = 512;
/// Commands that are under way at once, and the blocks that each of them reads.
const READS: usize = 4;
const BLOCKS_PER_READ: usize = 4;
const PART: usize = BLOCKS_PER_READ * BLOCK;

/// PDUs that are taken before the network has its turn.
const BUDGET: usize = 8;
/// For each step of the session; the rest is as usual.
const TIMEOUTS: Timeouts = Timeouts {
    connect: Duration::from_secs(5),
    login: Duration::from_secs(5),
    command: Some(Duration::from_secs(10)),
    logout: Duration::from_secs(5),
    ..Timeouts::DEFAULT
};
/// For everything, from the link to the last byte.
const LIMIT_MILLIS: u64 = 60_000;
/// For the last segments of the TCP connection.
const FAREWELL_MILLIS: u64 = 1_000;

/// Text to send, beside the area for received text: names, CHAP values and keys of one login request.
const TEXT_TO_SEND: usize = 1024;

#[entry]
fn main() -> ! {
    // The entry point runs once, so that each of these is lent once: `entry` makes references of them.
    static mut SESSION: InlineSession<READS> = InlineSession::new();
    static mut CONNECTION: Connection<[u8; RECEIVE_AREA + TEXT_TO_SEND]> = Connection::new();
    static mut SCRATCH: RecvBuf<[u8; 1024]> = RecvBuf::new([0; 1024]);
    static mut BLOCKS: [u8; READS * PART] = [0; READS * PART];
    static mut SOCKETS: Sockets = NO_SOCKETS;
    static mut MEMORY: Memory = Memory::new();

    let initiator = Initiator { session: SESSION, connection: CONNECTION, scratch: SCRATCH };
    match run(initiator, BLOCKS, (SOCKETS, MEMORY)) {
        Ok(()) => {
            hprintln!("PASSED: {} blocks are right", BLOCKS.len() / BLOCK);
            host::exit(true)
        }
        Err(failure) => {
            hprintln!("FAILED: {}", failure);
            host::exit(false)
        }
    }
}

/// The engine and its memory.
struct Initiator {
    session: &'static mut Session,
    connection: &'static mut Connection,
    scratch: &'static mut RecvBuf,
}

fn run(
    initiator: Initiator,
    blocks: &mut [u8],
    memory: (&'static mut Sockets, &'static mut Memory),
) -> Result<(), Failure> {
    let peripherals = cortex_m::Peripherals::take().ok_or(Failure::Board)?;
    let mut clock = Clock::start(peripherals.SYST);
    let command_line = CommandLine::get();
    let mut words = command_line.words().skip(1);
    let portal = words.next().and_then(|word| Portal::parse(word).ok()).ok_or(Failure::Portal)?;
    let secret = words.next().and_then(|word| Secret::new(word).ok()).ok_or(Failure::Secret)?;

    let ethernet = Ethernet::start(&mut clock)?;
    let mut seed = Seed::new(&ethernet);
    let mut network = Network::new(ethernet, memory, seed.next(), clock.millis());

    let session = &mut *initiator.session;
    session.configure(configuration(secret)?)?;
    session.open(portal, now(&mut clock))?;
    hprintln!("logs in to {} at {}", TARGET, session.portal().ok_or(Failure::Portal)?);
    let mut reads = Reads { blocks, tasks: [None; READS] };
    // They wait in the session until it is logged in.
    reads.submit(session, now(&mut clock))?;

    let result = serve(initiator, &mut network, &mut clock, &mut reads, &mut seed);
    say_farewell(&mut network, &mut clock);
    result?;
    check(reads.blocks)
}

fn configuration(secret: Secret) -> Result<Config, Failure> {
    let name = |name| IscsiName::new(name).map_err(|_| Failure::Configuration);
    let chap = Chap::new(USER, secret).map_err(|_| Failure::Configuration)?;
    Config::normal(name(INITIATOR)?, name(TARGET)?)
        .chap(chap)
        .header_digest(Digests::CRC32C)
        .data_digest(Digests::CRC32C)
        .max_recv_data_segment_length(PART as u32)
        .timeouts(TIMEOUTS)
        .build()
        .map_err(|_| Failure::Configuration)
}

/// The event loop: until the session is logged out, or has failed.
fn serve(
    initiator: Initiator,
    network: &mut Network,
    clock: &mut Clock,
    reads: &mut Reads<'_>,
    seed: &mut Seed,
) -> Result<(), Failure> {
    let Initiator { session, connection, scratch } = initiator;
    loop {
        if clock.millis() > LIMIT_MILLIS {
            return Err(Failure::TooLate);
        }
        network.poll(clock.millis());
        while let Some(action) = session.poll_action() {
            match action {
                Action::Connect => {
                    let portal = session.portal().ok_or(Failure::Portal)?;
                    let Some(IpAddr::V4(host)) = portal.ip() else { return Err(Failure::Portal) };
                    network.connect(host, portal.port()).map_err(|_| Failure::Connect)?;
                }
                Action::Disconnect => {
                    network.tcp().close();
                    scratch.clear();
                }
                _ => {}
            }
        }
        let tcp = network.tcp();
        if session.state() == SessionState::Connecting {
            if tcp.may_send() {
                connection.opened(session, seed.entropy(), now(clock));
            } else if !tcp.is_open() {
                session.connect_failed(now(clock));
            }
        }
        // What breaks here becomes a state of the session, and an event.
        let again = pump(connection, session, reads, scratch, &mut Tcp(tcp), now(clock), BUDGET)
            .is_ok_and(|wants| wants.again);
        if handle_events(session, reads, now(clock))? {
            return Ok(());
        }
        network.poll(clock.millis());
        if !again {
            // The deadlines of the engine and of TCP are looked at in each round, and one round follows each tick.
            clock.sleep();
        }
    }
}

/// What the engine tells. True once the session is logged out.
fn handle_events(
    session: &mut Session,
    reads: &mut Reads<'_>,
    now: Instant,
) -> Result<bool, Failure> {
    while let Some(event) = session.poll_event() {
        match event {
            Event::StateChanged(SessionState::LoggedIn) => {
                let negotiated = session.negotiated();
                let digests = [negotiated.header_digest, negotiated.data_digest];
                if digests != [DigestKind::Crc32c; 2] {
                    return Err(Failure::Digests);
                }
                hprintln!("logged in: CHAP, header and data digests");
            }
            Event::StateChanged(SessionState::Closed) => {
                hprintln!("logged out");
                return Ok(true);
            }
            Event::StateChanged(SessionState::Failed(reason)) => {
                return Err(Failure::Session(reason));
            }
            Event::TaskDone { task, outcome, .. } if outcome.is_good() => {
                reads.done(task);
                if reads.all_done() {
                    hprintln!("{} READ(10)s are done", READS);
                    session.logout(now)?;
                }
            }
            Event::TaskDone { outcome, sense, .. } => {
                let key = sense.get(2).map_or(0, |byte| byte & 0xf);
                return Err(Failure::Read { status: outcome.status(), key });
            }
            Event::TaskLost { .. } | Event::StateChanged(_) => {}
            _ => {}
        }
    }
    Ok(false)
}

/// The four reads and the memory that is lent to them.
struct Reads<'a> {
    blocks: &'a mut [u8],
    tasks: [Option<TaskId>; READS],
}

impl Reads<'_> {
    fn submit(&mut self, session: &mut Session, now: Instant) -> Result<(), Failure> {
        for (i, task) in self.tasks.iter_mut().enumerate() {
            let block = (i * BLOCKS_PER_READ) as u8;
            let read10 = [0x28, 0, 0, 0, 0, block, 0, 0, BLOCKS_PER_READ as u8, 0];
            let command = Command::new(Lun::ZERO, &read10, Transfer::In(PART as u32));
            *task = Some(session.submit(&command, now)?);
        }
        Ok(())
    }

    fn done(&mut self, task: TaskId) {
        for place in self.tasks.iter_mut().filter(|place| **place == Some(task)) {
            *place = None;
        }
    }

    fn all_done(&self) -> bool {
        self.tasks.iter().all(Option::is_none)
    }
}

impl Buffers for Reads<'_> {
    fn data_in(&mut self, task: TaskId, at: u32, max: u32) -> &mut [u8] {
        let part = self.tasks.iter().position(|place| *place == Some(task));
        let start = part.map_or(usize::MAX, |part| part * PART + at as usize);
        let rest = self.blocks.get_mut(start..).unwrap_or_default();
        let len = rest.len().min(max as usize);
        &mut rest[..len]
    }

    fn data_out(&self, _: TaskId, _: u32, _: u32) -> &[u8] {
        &[]
    }
}

/// The pattern: words of the disk, numbered, each times an odd constant.
fn check(blocks: &[u8]) -> Result<(), Failure> {
    const FACTOR: u32 = 0x9e37_79b1;
    for (number, word) in (0u32..).zip(blocks.chunks_exact(4)) {
        if word != number.wrapping_mul(FACTOR).to_be_bytes() {
            return Err(Failure::Data { block: number as usize * 4 / BLOCK });
        }
    }
    Ok(())
}

/// smoltcp's socket as the engine sees it.
struct Tcp<'a>(&'a mut Socket<'static>);

/// The connection was reset or has timed out.
struct Broken;

impl Transport for Tcp<'_> {
    type Error = Broken;

    fn send(&mut self, runs: &[&[u8]]) -> Result<Option<usize>, Broken> {
        let mut sent = 0;
        for run in runs {
            let n = self.0.send_slice(run).map_err(|SendError::InvalidState| Broken)?;
            sent += n;
            if n < run.len() {
                break;
            }
        }
        Ok((sent > 0).then_some(sent))
    }

    // Both parts of the ring are read in one call: less than was asked for means that there is no more, and the transport
    // is not `EDGE_TRIGGERED`.
    fn recv(&mut self, space: [&mut [u8]; 2]) -> Result<Option<usize>, Broken> {
        let mut received = 0;
        for part in space {
            match self.0.recv_slice(part) {
                Ok(n) => received += n,
                // The end is told once what came before it is taken.
                Err(RecvError::Finished) if received == 0 => return Ok(Some(0)),
                Err(RecvError::Finished) => break,
                Err(RecvError::InvalidState) => return Err(Broken),
            }
        }
        Ok((received > 0).then_some(received))
    }
}

/// Numbers that differ from station to station and from start to start, more or less.
///
/// This board has no generator of random numbers. As long as only the initiator proves who it is, the engine takes nothing from
/// these bytes but the ISID, the first CmdSN and delays, and smoltcp ports and sequence numbers: nothing that has to be secret for CHAP. With
/// mutual CHAP they become the challenge. Then, and in every product, they have to come from the hardware generator of the
/// microcontroller, for each connection anew.
struct Seed(u64);

impl Seed {
    fn new(ethernet: &Ethernet) -> Self {
        let [a, b, c, d, e, f] = ethernet.address();
        let address = u64::from_be_bytes([0, 0, a, b, c, d, e, f]);
        Self(address ^ u64::from(ethernet.counter()) << 32)
    }

    /// SplitMix64.
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    fn entropy(&mut self) -> Entropy {
        let mut bytes = [0; 64];
        for chunk in bytes.chunks_exact_mut(8) {
            chunk.copy_from_slice(&self.next().to_be_bytes());
        }
        Entropy::new(bytes)
    }
}

fn now(clock: &mut Clock) -> Instant {
    Instant::from_micros(clock.millis() * 1_000)
}

/// Closes the TCP connection, so that the target need not wait for it to time out.
fn say_farewell(network: &mut Network, clock: &mut Clock) {
    network.tcp().close();
    let end = clock.millis() + FAREWELL_MILLIS;
    while network.tcp().is_active() && clock.millis() < end {
        network.poll(clock.millis());
        clock.sleep();
    }
}
