//! What the event loops share: somebody to talk to, a clock, and an application.
//!
//! The loops themselves are the programs in `src/bin`. Each takes an iSCSI URL; without one it talks to a target in its own process.
//! They show the engine's four families of methods: facts (`opened`, `received`, `handle_timeout`), requests (`submit`, `logout`), answers
//! (`poll_action`, `poll_event`, plans) and getters (`wants`).
//!
//! * `epoll`: edge-triggered epoll around `pump`.
//! * `io_uring`: no `pump` and no slices. Plans say which bytes go where, and the kernel moves them.
//! * `two_connections`: two sessions, one thread, poll(2).
//! * `trace`: a line for each PDU, and a capture for Wireshark.

mod application;

pub use application::{Application, DEPTH, IMAGE};

use std::error::Error;
use std::io;
use std::net::TcpStream;

use iscsi_core::auth::Entropy;
use iscsi_core::url::IscsiUrl;
use iscsi_core::{Config, Instant, IscsiName, Portal};
use iscsi_target::server::{Server, ServerHandle};
use iscsi_target::{RamDisk, TargetConfig};

/// What every program here may fail with.
pub type Failure = Box<dyn Error>;

/// A logical unit to read, and the server that offers it if that runs in this process.
///
/// ```
/// use iscsi_loops::Peer;
/// let peer = Peer::new(None).unwrap();
/// assert!(peer.url.to_string().ends_with("/iqn.2001-04.com.example:loops/0"));
/// ```
#[derive(Debug)]
pub struct Peer {
    /// Where it is.
    pub url: IscsiUrl,
    _server: Option<ServerHandle>,
}

impl Peer {
    /// The logical unit of a URL; without one a RAM disk of two [`IMAGE`]s in this process.
    ///
    /// # Errors
    /// The URL is wrong, or there is no port for the server.
    pub fn new(url: Option<&str>) -> Result<Self, Failure> {
        if let Some(url) = url {
            return Ok(Self { url: url.parse()?, _server: None });
        }
        let name = IscsiName::new("iqn.2001-04.com.example:loops")?;
        let mut server = Server::bind("127.0.0.1:0", TargetConfig::new(name.clone()))?;
        server.add_disk(RamDisk::new(pattern(2 * IMAGE), 512)?);
        let server = server.spawn()?;
        let url = format!("iscsi://{}/{name}/0", server.addr());
        Ok(Self { url: url.parse()?, _server: Some(server) })
    }

    /// The configuration of a session with it. Data segments are large, so that they are worth placing directly.
    ///
    /// # Errors
    /// The URL's credentials are incomplete.
    pub fn config(&self) -> Result<Config, Failure> {
        let builder = self.url.config(IscsiName::new("iqn.2001-04.com.example:host")?)?;
        Ok(builder.max_recv_data_segment_length(256 * 1024).build()?)
    }
}

/// What the disk of a [`Peer`] in this process holds.
///
/// ```
/// assert_eq!(iscsi_loops::pattern(1000)[..4], [0, 1, 2, 3]);
/// assert_ne!(iscsi_loops::pattern(1000)[..256], iscsi_loops::pattern(1000)[256..512]);
/// ```
pub fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|at| at as u8 ^ (at >> 8) as u8 ^ (at >> 16) as u8).collect()
}

/// The engine's time: microseconds since the program began.
///
/// ```
/// let clock = iscsi_loops::Clock::start();
/// assert!(clock.now() <= clock.now());
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Clock(std::time::Instant);

impl Clock {
    /// Begins with zero.
    pub fn start() -> Self {
        Self(std::time::Instant::now())
    }

    /// Now.
    pub fn now(&self) -> Instant {
        Instant::from_micros(self.0.elapsed().as_micros() as u64)
    }
}

/// A connection to a portal, with TCP_NODELAY: no PDU waits for the acknowledgement of another.
///
/// # Errors
/// What resolving and connecting may end with.
pub fn connect(portal: &Portal) -> io::Result<TcpStream> {
    let stream = TcpStream::connect((portal.host(), portal.port()))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Fresh random bytes for one connection.
///
/// # Errors
/// The system has none.
pub fn entropy() -> Result<Entropy, Failure> {
    let mut bytes = [0; 64];
    getrandom::fill(&mut bytes)?;
    Ok(Entropy::new(bytes))
}
