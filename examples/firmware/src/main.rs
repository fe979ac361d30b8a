//! Reads the first blocks of an iSCSI disk from a Cortex-M4: no operating system, no heap, static memory only.
//!
//! The engine is `iscsi-core`, the TCP stack is smoltcp. The debugger passes the words `PROGRAM HOST:PORT SECRET`. The firmware logs in with
//! CHAP and both digests, has four READ(10)s under way at once, compares what they bring with the pattern that the disk must
//! hold, logs out, and ends the emulator with code 0. Whatever goes wrong is named, and ends it with code 1.
#![no_std]
#![no_main]

mod failure;
mod reads;
mod seed;
mod transport;

use board::clock::Clock;
use board::ethernet::Ethernet;
use board::host::{self, CommandLine, hprintln};
use board::network::{Memory, NO_SOCKETS, Network, Sockets};
use core::net::IpAddr;
use core::time::Duration;
use cortex_m_rt::entry;
use failure::Failure;
use iscsi_core::auth::{Chap, Secret};
use iscsi_core::config::Timeouts;
use iscsi_core::digest::DigestKind;
use iscsi_core::driver::{RecvBuf, pump};
use iscsi_core::text::Digests;
use iscsi_core::{
    Action, Config, Connection, Event, InlineSession, Instant, IscsiName, Portal, RECEIVE_AREA,
    Session, SessionState,
};
use reads::{BLOCK, PART, READS, Reads};
use seed::Seed;
use transport::Tcp;

const INITIATOR: &str = "iqn.2001-04.com.example:firmware";
const TARGET: &str = "iqn.2001-04.com.example:iscsi-target";
const USER: &str = "firmware";

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
    let mut reads = Reads::new(blocks);
    // They wait in the session until it is logged in.
    reads.submit(session, now(&mut clock))?;

    let result = serve(initiator, &mut network, &mut clock, &mut reads, &mut seed);
    say_farewell(&mut network, &mut clock);
    result?;
    reads.check()
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
            Event::TaskLost { reason, .. } => return Err(Failure::Session(reason)),
            _ => {}
        }
    }
    Ok(false)
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
