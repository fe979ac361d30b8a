//! How a proxy is told what to do.

use core::fmt;
use core::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use core::ops::RangeBounds;
use core::time::Duration;
use std::io;
use std::sync::Arc;

use crate::log::Entry;
use crate::plan::{Fault, Flips, Plan, Rule, Span, Way};
use crate::proxy::FaultProxy;

pub(crate) type Observer = Arc<dyn Fn(&Entry) + Send + Sync>;

/// What a proxy is to do. It does nothing but forward until it is told otherwise; faults add up.
///
/// Ranges are numbers of bytes, of which one is drawn for each connection.
///
/// ```
/// use core::time::Duration;
/// use iscsi_fault_proxy::{Fault, FaultProxy, Way};
/// let proxy = FaultProxy::to("127.0.0.1:3260".parse().unwrap())
///     .seed(7)
///     .after_bytes(Way::ToClient, 10_000..20_000, Fault::HalfClose)
///     .flip_bits(Way::ToServer, 1 << 20..=4 << 20)
///     .outside_login()
///     .delay(Way::ToClient, Duration::ZERO, Duration::from_millis(5))
///     .start()?;
/// assert_ne!(proxy.addr().port(), 0);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone)]
#[must_use]
pub struct Builder {
    pub(crate) server: SocketAddr,
    pub(crate) listen: SocketAddr,
    pub(crate) plan: Plan,
    pub(crate) observer: Option<Observer>,
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("server", &self.server)
            .field("listen", &self.listen)
            .field("plan", &self.plan)
            .finish_non_exhaustive()
    }
}

impl Builder {
    pub(crate) const fn new(server: SocketAddr) -> Self {
        let listen = match server {
            SocketAddr::V4(_) => SocketAddr::new(core::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0),
            SocketAddr::V6(_) => SocketAddr::new(core::net::IpAddr::V6(Ipv6Addr::LOCALHOST), 0),
        };
        let plan = Plan {
            seed: 1,
            connections: Span::ALL,
            rules: Vec::new(),
            flips: [None; 2],
            delays: [None; 2],
            trickles: [None; 2],
        };
        Self { server, listen, plan, observer: None }
    }

    /// The address to listen on. Without this, any port of the loopback address of the server's family.
    pub const fn listen_on(mut self, address: SocketAddr) -> Self {
        self.listen = address;
        self
    }

    /// Decides all that is drawn; 1 if it is not set.
    pub const fn seed(mut self, seed: u64) -> Self {
        self.plan.seed = seed;
        self
    }

    /// Only these connections have faults, counted from 0; others are forwarded.
    pub fn only_connections(mut self, numbers: impl RangeBounds<u64>) -> Self {
        self.plan.connections = Span::of(numbers);
        self
    }

    /// Each connection is reset after so many bytes, those of both ways together.
    pub fn cut_after_bytes(self, bytes: impl RangeBounds<u64>) -> Self {
        self.rule(None, bytes, Fault::Reset)
    }

    /// Each connection is closed (FIN both ways) after so many bytes, those of both ways together.
    pub fn close_after_bytes(self, bytes: impl RangeBounds<u64>) -> Self {
        self.rule(None, bytes, Fault::Close)
    }

    /// A fault after so many bytes of one way. There may be several.
    pub fn after_bytes(self, way: Way, bytes: impl RangeBounds<u64>, fault: Fault) -> Self {
        self.rule(Some(way), bytes, fault)
    }

    fn rule(mut self, way: Option<Way>, after: impl RangeBounds<u64>, fault: Fault) -> Self {
        self.plan.rules.push(Rule { way, after: Span::of(after), fault });
        self
    }

    /// Flips one bit whenever so many bytes have passed.
    pub fn flip_bits(mut self, way: Way, every: impl RangeBounds<u64>) -> Self {
        let mut every = Span::of(every);
        every.low = every.low.max(1);
        every.high = every.high.max(every.low);
        self.plan.flips[way.index()] = Some(Flips { every, from: 0, outside_login: false });
        self
    }

    /// Bits are flipped only from this byte of the stream on.
    pub fn from_byte(mut self, byte: u64) -> Self {
        self.plan.flips.iter_mut().flatten().for_each(|flips| flips.from = byte);
        self
    }

    /// Bits are flipped only behind the PDUs of an iSCSI login, which no digest protects.
    pub fn outside_login(mut self) -> Self {
        self.plan.flips.iter_mut().flatten().for_each(|flips| flips.outside_login = true);
        self
    }

    /// What comes at once is held back for a time between these.
    pub const fn delay(mut self, way: Way, least: Duration, most: Duration) -> Self {
        self.plan.delays[way.index()] = Some([least, most]);
        self
    }

    /// No more than so many bytes (at least 1) pass at a time, then there is a pause.
    pub fn trickle(mut self, way: Way, bytes: usize, pause: Duration) -> Self {
        self.plan.trickles[way.index()] = Some((bytes.max(1), pause));
        self
    }

    /// A function that is told each line of the log when it is written.
    pub fn observe(mut self, observer: impl Fn(&Entry) + Send + Sync + 'static) -> Self {
        self.observer = Some(Arc::new(observer));
        self
    }

    /// Listens.
    ///
    /// # Errors
    /// The address is in use, or there are no more descriptors or threads.
    pub fn start(self) -> io::Result<FaultProxy> {
        FaultProxy::start(self)
    }
}
