//! The same board and the same TCP stack without iSCSI: what a firmware costs before the engine is added.
//!
//! It connects to the portal, sends a byte, waits for one, and closes. `cargo xtask firmware-size` compares it with the real one.
#![no_std]
#![no_main]

use board::clock::Clock;
use board::ethernet::Ethernet;
use board::host::{self, CommandLine, hprintln};
use board::network::{Memory, NO_SOCKETS, Network, Sockets};
use core::net::SocketAddrV4;
use cortex_m_rt::entry;

const LIMIT_MILLIS: u64 = 60_000;

#[entry]
fn main() -> ! {
    static mut SOCKETS: Sockets = NO_SOCKETS;
    static mut MEMORY: Memory = Memory::new();

    match run((SOCKETS, MEMORY)) {
        Ok(byte) => {
            hprintln!("PASSED: {:#04x}", byte);
            host::exit(true)
        }
        Err(reason) => {
            hprintln!("FAILED: {}", reason);
            host::exit(false)
        }
    }
}

fn run(memory: (&'static mut Sockets, &'static mut Memory)) -> Result<u8, &'static str> {
    let peripherals = cortex_m::Peripherals::take().ok_or("the board's devices are in use")?;
    let mut clock = Clock::start(peripherals.SYST);
    let command_line = CommandLine::get();
    let portal = command_line.words().nth(1).and_then(|word| word.parse::<SocketAddrV4>().ok());
    let portal = portal.ok_or("the first argument must be the portal, A.B.C.D:PORT")?;
    let ethernet = Ethernet::start(&mut clock).map_err(|_| "no Ethernet")?;
    let seed = u64::from(ethernet.counter());
    let mut network = Network::new(ethernet, memory, seed, clock.millis());
    network.connect(*portal.ip(), portal.port()).map_err(|_| "the socket cannot connect")?;
    let (mut sent, mut byte) = (false, [0]);
    while clock.millis() < LIMIT_MILLIS {
        network.poll(clock.millis());
        let tcp = network.tcp();
        if !sent && tcp.can_send() {
            sent = tcp.send_slice(&[0]).is_ok();
        }
        if tcp.can_recv() && tcp.recv_slice(&mut byte) == Ok(1) {
            tcp.close();
            network.poll(clock.millis());
            return Ok(byte[0]);
        }
        if !tcp.is_open() {
            return Err("the connection broke");
        }
        clock.sleep();
    }
    Err("out of time")
}
