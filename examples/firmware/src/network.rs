//! One TCP connection over the board's Ethernet.

use core::net::Ipv4Addr;

use smoltcp::iface::{
    Config, Interface, PollIngressSingleResult, PollResult, SocketHandle, SocketSet, SocketStorage,
};
use smoltcp::socket::tcp::{ConnectError, Socket, SocketBuffer};
use smoltcp::time::{Duration, Instant};
use smoltcp::wire::{EthernetAddress, IpCidr};

use crate::ethernet::Ethernet;

/// Of this station; what QEMU's user network expects of its first one.
const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 15);
const PREFIX: u8 = 24;
const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 2);

/// For the last bytes of a connection to be acknowledged.
const TCP_TIMEOUT: Duration = Duration::from_secs(10);

/// Frames that are taken, and sent, in one call: a flood must not keep the processor from its other work.
const BATCH: usize = 16;

/// Bytes that may be under way to this station. The controller's FIFO has room for more, so that no frame is lost while the
/// processor is busy.
pub const RECEIVE_BUFFER: usize = 4096;
/// Bytes that may be under way from it.
pub const SEND_BUFFER: usize = 2048;

/// The place of the network's one socket. Apart from [`Memory`], all of which is zero and takes no flash.
pub type Sockets = [SocketStorage<'static>; 1];

/// No socket yet.
pub const NO_SOCKETS: Sockets = [SocketStorage::EMPTY];

/// The buffers of the network's one socket.
#[derive(Debug)]
pub struct Memory {
    receive: [u8; RECEIVE_BUFFER],
    send: [u8; SEND_BUFFER],
}

impl Memory {
    /// For a static.
    pub const fn new() -> Self {
        Self { receive: [0; RECEIVE_BUFFER], send: [0; SEND_BUFFER] }
    }
}

impl Default for Memory {
    fn default() -> Self {
        Self::new()
    }
}

/// The interface and its one socket.
pub struct Network {
    device: Ethernet,
    interface: Interface,
    sockets: SocketSet<'static>,
    tcp: SocketHandle,
    local_port: u16,
}

impl Network {
    /// Addresses and routes. `seed` chooses ports and the first sequence numbers: it has to differ from start to start.
    pub fn new(
        mut device: Ethernet,
        (sockets, memory): (&'static mut Sockets, &'static mut Memory),
        seed: u64,
        millis: u64,
    ) -> Self {
        let mut config = Config::new(EthernetAddress(device.address()).into());
        config.random_seed = seed;
        let mut interface = Interface::new(config, &mut device, at(millis));
        // There is room for one of each.
        interface.update_ip_addrs(|addresses| {
            let _ = addresses.push(IpCidr::new(ADDRESS.into(), PREFIX));
        });
        let _ = interface.routes_mut().add_default_ipv4_route(GATEWAY);
        let mut socket = Socket::new(
            SocketBuffer::new(&mut memory.receive[..]),
            SocketBuffer::new(&mut memory.send[..]),
        );
        socket.set_nagle_enabled(false);
        socket.set_timeout(Some(TCP_TIMEOUT));
        let mut sockets = SocketSet::new(&mut sockets[..]);
        let tcp = sockets.add(socket);
        Self { device, interface, sockets, tcp, local_port: 49_152 + (seed % 16_384) as u16 }
    }

    /// Takes what has arrived and sends what waits.
    pub fn poll(&mut self, millis: u64) {
        let Self { device, interface, sockets, .. } = self;
        let now = at(millis);
        for _ in 0..BATCH {
            if interface.poll_ingress_single(now, device, sockets) == PollIngressSingleResult::None
            {
                break;
            }
        }
        for _ in 0..BATCH {
            if interface.poll_egress(now, device, sockets) == PollResult::None {
                break;
            }
        }
    }

    /// Begins a connection, from another port than the last time. What is left of the old one is given up.
    ///
    /// # Errors
    /// The address or the port is 0.
    pub fn connect(&mut self, host: Ipv4Addr, port: u16) -> Result<(), ConnectError> {
        let local = self.local_port;
        self.local_port = if local == u16::MAX { 49_152 } else { local + 1 };
        let socket = self.sockets.get_mut::<Socket<'_>>(self.tcp);
        socket.abort();
        socket.connect(self.interface.context(), (host, port), local)
    }

    /// The socket.
    pub fn tcp(&mut self) -> &mut Socket<'static> {
        self.sockets.get_mut(self.tcp)
    }
}

fn at(millis: u64) -> Instant {
    Instant::from_millis(i64::try_from(millis).unwrap_or(i64::MAX))
}
