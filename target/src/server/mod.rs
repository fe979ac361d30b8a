//! A target on TCP: one thread, one event loop, no locks.

mod clients;
mod event_loop;
mod look;
mod socket;

use std::boxed::Box;
use std::collections::VecDeque;
use std::io::{self, Write as _};
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::string::String;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::vec::Vec;

use core::fmt;

use iscsi_core::{IscsiName, Negotiated};

use crate::config::TargetConfig;
use crate::conn::EndReason;
use crate::disk::Disk;
use crate::quirks::Quirks;

/// The most connections at once, unless [`Server::limit_connections`] says otherwise; more are closed as soon as they come.
pub const MAX_CONNECTIONS: usize = 256;

/// A target that listens for initiators.
///
/// [`Server::run`] serves them on the calling thread, [`Server::spawn`] on one of its own. All connections and disks
/// belong to that
/// thread, so that nothing is locked on the way of a PDU. A disk that blocks, blocks everybody.
///
/// ```
/// use iscsi_core::IscsiName;
/// use iscsi_target::{RamDisk, TargetConfig};
/// use iscsi_target::server::Server;
///
/// let config = TargetConfig::new(IscsiName::new("iqn.2001-04.com.example:t").unwrap());
/// let mut server = Server::bind("127.0.0.1:0", config).unwrap();
/// server.add_disk(RamDisk::new(vec![0; 1 << 20], 512).unwrap());
/// let handle = server.spawn().unwrap();
/// assert_ne!(handle.addr().port(), 0);
/// drop(handle); // stops the server
/// ```
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    config: TargetConfig,
    disks: Vec<ServedDisk>,
    quirks: Quirks,
    control: ServerControl,
    wake: UnixStream,
    observer: Option<Observer>,
    max_connections: usize,
}

struct ServedDisk {
    disk: Box<dyn Disk + Send>,
    number: u32,
    serial: String,
}

type Observer = Box<dyn FnMut(&ServerEvent<'_>) + Send>;

/// What a server does, for logs.
///
/// ```
/// use iscsi_target::server::ServerEvent;
/// fn log(event: &ServerEvent<'_>) {
///     eprintln!("{event}");
/// }
/// log(&ServerEvent::Connected { peer: "127.0.0.1:5000".parse().unwrap() });
/// ```
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum ServerEvent<'e> {
    /// A TCP connection came.
    Connected {
        /// The initiator's address.
        peer: SocketAddr,
    },
    /// An initiator has logged in.
    LoggedIn {
        /// The initiator's address.
        peer: SocketAddr,
        /// The initiator's name.
        initiator: &'e IscsiName,
        /// What both sides agreed upon.
        negotiated: &'e Negotiated,
    },
    /// A connection has ended.
    Disconnected {
        /// The initiator's address.
        peer: SocketAddr,
        /// Why.
        reason: EndReason,
    },
}

impl fmt::Display for ServerEvent<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connected { peer } => write!(f, "{peer}: connected"),
            Self::LoggedIn { peer, initiator, negotiated } => write!(
                f,
                "{peer}: {initiator} logged in, HeaderDigest={} DataDigest={}",
                negotiated.header_digest.as_str(),
                negotiated.data_digest.as_str()
            ),
            Self::Disconnected { peer, reason } => write!(f, "{peer}: {reason}"),
        }
    }
}

impl Server {
    /// Listens on `address`; with port 0 on any free one.
    ///
    /// # Errors
    /// The address cannot be resolved or is in use.
    pub fn bind(address: impl ToSocketAddrs, config: TargetConfig) -> io::Result<Self> {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let (wake, waker) = UnixStream::pair()?;
        wake.set_nonblocking(true)?;
        waker.set_nonblocking(true)?;
        let shared = Shared { requests: Mutex::new(VecDeque::new()), waker };
        Ok(Self {
            listener,
            address,
            config,
            disks: Vec::new(),
            quirks: Quirks::default(),
            control: ServerControl(Arc::new(shared)),
            wake,
            observer: None,
            max_connections: MAX_CONNECTIONS,
        })
    }

    /// The most connections at once, and the most sessions: [`MAX_CONNECTIONS`] unless set, at least one.
    pub fn limit_connections(&mut self, most: usize) {
        self.max_connections = most.max(1);
    }

    /// Sends with this TCP congestion control, `reno` for example, instead of the system's (tcp(7), `TCP_CONGESTION`).
    ///
    /// # Errors
    /// The system does not have it, or does not let everyone use it; or there is no choice, outside Linux.
    pub fn set_congestion_control(&mut self, name: &str) -> io::Result<()> {
        #[cfg(target_os = "linux")]
        return Ok(rustix::net::sockopt::set_tcp_congestion(&self.listener, name)?);
        #[cfg(not(target_os = "linux"))]
        return Err(io::Error::new(io::ErrorKind::Unsupported, std::format!("{name}: no choice")));
    }

    /// Serves `disk` as the next LUN, beginning with 0. Its serial number comes from the name of the target and the LUN.
    pub fn add_disk(&mut self, disk: impl Disk + Send + 'static) -> &mut Self {
        let number = self.disks.iter().map(|disk| disk.number + 1).max().unwrap_or(0);
        self.add_disk_at(number, disk)
    }

    /// Serves `disk` as this LUN (0 to 16383). Its serial number comes from the name of the target and the LUN.
    pub fn add_disk_at(&mut self, number: u32, disk: impl Disk + Send + 'static) -> &mut Self {
        let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
        let name = self.config.name.as_str().as_bytes();
        let hash = name.iter().chain(&number.to_be_bytes()).fold(0xcbf2_9ce4_8422_2325, step);
        let serial = std::format!("{hash:016x}");
        self.disks.push(ServedDisk { disk: Box::new(disk), number, serial });
        self
    }

    /// What the target does differently from the start.
    pub fn set_quirks(&mut self, quirks: Quirks) -> &mut Self {
        self.quirks = quirks;
        self
    }

    /// A function that is told what happens.
    pub fn set_observer(
        &mut self,
        observer: impl FnMut(&ServerEvent<'_>) + Send + 'static,
    ) -> &mut Self {
        self.observer = Some(Box::new(observer));
        self
    }

    /// The address that is listened on.
    pub const fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Influences the server while it runs.
    pub fn control(&self) -> ServerControl {
        self.control.clone()
    }

    /// Serves until [`ServerControl::stop`] is called. Connections are then told, and all disks are flushed.
    ///
    /// # Errors
    /// The system cannot wait for sockets or has no random numbers, or two disks have the same LUN.
    pub fn run(self) -> io::Result<()> {
        event_loop::run(self)
    }

    /// Serves on a thread of its own.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub fn spawn(self) -> io::Result<ServerHandle> {
        let (address, control) = (self.address, self.control());
        let thread =
            std::thread::Builder::new().name("iscsi-target".into()).spawn(move || self.run())?;
        Ok(ServerHandle { address, control, thread: Some(thread) })
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("address", &self.address)
            .field("name", &self.config.name)
            .field("disks", &self.disks.len())
            .finish_non_exhaustive()
    }
}

/// What is asked of a running server.
#[derive(Debug)]
enum Request {
    Stop,
    Quirks(Box<Quirks>),
    AskForLogout { seconds: u16 },
    DropConnections { announced: bool },
    CapacityChanged { number: u32 },
    PoweredOn { number: u32 },
}

#[derive(Debug)]
struct Shared {
    requests: Mutex<VecDeque<Request>>,
    waker: UnixStream,
}

/// Influences a running server from any thread. Clones do the same.
///
/// ```
/// use iscsi_core::IscsiName;
/// use iscsi_target::{Quirks, TargetConfig, server::Server};
/// let config = TargetConfig::new(IscsiName::new("iqn.2001-04.com.example:t").unwrap());
/// let server = Server::bind("127.0.0.1:0", config).unwrap();
/// let control = server.control();
/// control.set_quirks(Quirks { window: Some(1), ..Quirks::default() });
/// control.stop();
/// server.run().unwrap(); // returns at once
/// ```
#[derive(Debug, Clone)]
pub struct ServerControl(Arc<Shared>);

impl ServerControl {
    /// Ends the server. Repeated calls do no harm.
    pub fn stop(&self) {
        self.ask(Request::Stop);
    }

    /// Changes what the target does differently, for commands and connections to come.
    pub fn set_quirks(&self, quirks: Quirks) {
        self.ask(Request::Quirks(Box::new(quirks)));
    }

    /// Asks all initiators to log out within `seconds` (asynchronous event 1).
    pub fn request_logout(&self, seconds: u16) {
        self.ask(Request::AskForLogout { seconds });
    }

    /// Drops all connections; if `announced`, with asynchronous event 2 before that.
    pub fn drop_connections(&self, announced: bool) {
        self.ask(Request::DropConnections { announced });
    }

    /// The size of a disk has changed.
    pub fn capacity_changed(&self, number: u32) {
        self.ask(Request::CapacityChanged { number });
    }

    /// A disk was without power for a moment: all sessions are told, once each, with UNIT ATTENTION, POWER ON OCCURRED.
    pub fn powered_on(&self, number: u32) {
        self.ask(Request::PoweredOn { number });
    }

    fn ask(&self, request: Request) {
        self.0.requests.lock().unwrap_or_else(PoisonError::into_inner).push_back(request);
        // A full pipe wakes, too.
        let _ = (&self.0.waker).write(&[0]);
    }

    fn next(&self) -> Option<Request> {
        self.0.requests.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }
}

/// A server on its own thread. Dropping the handle stops it.
///
/// ```
/// # use iscsi_core::IscsiName;
/// # use iscsi_target::{NullDisk, TargetConfig, server::Server};
/// let config = TargetConfig::new(IscsiName::new("iqn.2001-04.com.example:t").unwrap());
/// let mut server = Server::bind("127.0.0.1:0", config).unwrap();
/// server.add_disk(NullDisk::new(1 << 40));
/// let handle = server.spawn().unwrap();
/// println!("iscsi://{}/iqn.2001-04.com.example:t/0", handle.addr());
/// handle.stop().unwrap();
/// ```
#[derive(Debug)]
pub struct ServerHandle {
    address: SocketAddr,
    control: ServerControl,
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl ServerHandle {
    /// The address that is listened on.
    pub const fn addr(&self) -> SocketAddr {
        self.address
    }

    /// Influences the server.
    pub const fn control(&self) -> &ServerControl {
        &self.control
    }

    /// Stops the server and waits until it has ended.
    ///
    /// # Errors
    /// Why the server ended before it was stopped.
    pub fn stop(mut self) -> io::Result<()> {
        self.join()
    }

    fn join(&mut self) -> io::Result<()> {
        self.control.stop();
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(result)) => result,
            Some(Err(_)) => Err(io::Error::other("the server's thread panicked")),
            None => Ok(()),
        }
    }
}

impl Drop for ServerHandle {
    fn drop(&mut self) {
        // Whoever wants to know how it ended calls `stop`.
        let _ = self.join();
    }
}
