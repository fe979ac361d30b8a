//! How sockets are made.

use core::net::IpAddr;
use core::net::SocketAddr;
use core::sync::atomic::{AtomicUsize, Ordering};
use core::time::Duration;
use std::io;

use socket2::{Domain, Protocol, SockAddr, Socket, TcpKeepalive, Type};

use super::Step;

/// TCP keep-alive probes: what the kernel does while the connection is silent.
///
/// ```
/// use iscsi_runtime::KeepAlive;
/// assert_eq!(KeepAlive::default().idle.as_secs(), 30);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeepAlive {
    /// Silence before the first probe, in whole seconds.
    pub idle: Duration,
    /// Time between probes, in whole seconds.
    pub interval: Duration,
    /// Probes without an answer after which the connection is dead.
    pub count: u32,
}

impl Default for KeepAlive {
    /// A probe after 30 s, then every 5 s, dead after 3.
    fn default() -> Self {
        Self { idle: Duration::from_secs(30), interval: Duration::from_secs(5), count: 3 }
    }
}

/// Settings of the TCP connection. `TCP_NODELAY` is always on.
///
/// ```
/// use core::time::Duration;
/// use iscsi_runtime::TcpOptions;
///
/// let mut tcp = TcpOptions::default();
/// tcp.user_timeout = Some(Duration::from_secs(20));
/// tcp.attempt_timeout = Some(TcpOptions::syn_retries(2)); // like TCP_SYNCNT
/// assert_eq!(tcp.attempt_timeout, Some(Duration::from_secs(7)));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct TcpOptions {
    /// `SO_KEEPALIVE` and its three times; off unless set, because the engine has its own pings.
    pub keepalive: Option<KeepAlive>,
    /// `TCP_USER_TIMEOUT`: how long sent bytes may stay unacknowledged. Linux only.
    pub user_timeout: Option<Duration>,
    /// How long one address may take to answer; `None` for what is left of the connect time limit.
    pub attempt_timeout: Option<Duration>,
    /// `SO_BINDTODEVICE`: network interfaces to use, one after the other, a new one for each socket. Linux only; may need privileges.
    pub interfaces: Vec<String>,
    /// The source address to connect from. Addresses of the other family are left out.
    pub source: Option<IpAddr>,
    /// `SO_SNDBUF` in bytes. Unset, the kernel adapts it, which is nearly always better.
    pub send_buffer: Option<usize>,
    /// `SO_RCVBUF` in bytes. Unset, the kernel adapts it, which is nearly always better.
    pub recv_buffer: Option<usize>,
}

/// Counts the sockets of this process that were bound to an interface: the names take turns.
static NEXT_INTERFACE: AtomicUsize = AtomicUsize::new(0);

impl TcpOptions {
    /// The time after which a kernel gives up that repeats the SYN `retries` times, at first after a second and each time
    /// after twice as long: for [`attempt_timeout`](Self::attempt_timeout), in place of `TCP_SYNCNT`.
    pub const fn syn_retries(retries: u8) -> Duration {
        let retries = if retries > 15 { 15 } else { retries };
        Duration::from_secs((2 << retries) - 1)
    }

    /// Whether an address can be reached from the source address.
    pub(super) fn reaches(&self, address: &SocketAddr) -> bool {
        self.source.is_none_or(|source| source.is_ipv4() == address.is_ipv4())
    }

    /// A non-blocking socket, ready to connect to `address`.
    pub(super) fn socket(&self, address: &SocketAddr) -> Result<Socket, (Step, io::Error)> {
        let socket = Socket::new(Domain::for_address(*address), Type::STREAM, Some(Protocol::TCP))
            .map_err(|error| (Step::Socket, error))?;
        let option = |name: &'static str| move |error| (Step::Option(name), error);
        socket.set_nonblocking(true).map_err(option("O_NONBLOCK"))?;
        socket.set_tcp_nodelay(true).map_err(option("TCP_NODELAY"))?;
        if let Some(KeepAlive { idle, interval, count }) = self.keepalive {
            let keepalive =
                TcpKeepalive::new().with_time(idle).with_interval(interval).with_retries(count);
            socket.set_tcp_keepalive(&keepalive).map_err(option("SO_KEEPALIVE"))?;
        }
        if let Some(bytes) = self.send_buffer {
            socket.set_send_buffer_size(bytes).map_err(option("SO_SNDBUF"))?;
        }
        if let Some(bytes) = self.recv_buffer {
            socket.set_recv_buffer_size(bytes).map_err(option("SO_RCVBUF"))?;
        }
        self.linux(&socket)?;
        if let Some(source) = self.source {
            let source = SockAddr::from(SocketAddr::new(source, 0));
            socket.bind(&source).map_err(|error| (Step::BindSource, error))?;
        }
        Ok(socket)
    }

    fn interface(&self) -> Option<&str> {
        if self.interfaces.is_empty() {
            return None;
        }
        let turn = NEXT_INTERFACE.fetch_add(1, Ordering::Relaxed);
        self.interfaces.get(turn % self.interfaces.len()).map(String::as_str)
    }

    #[cfg(target_os = "linux")]
    fn linux(&self, socket: &Socket) -> Result<(), (Step, io::Error)> {
        if self.user_timeout.is_some() {
            socket
                .set_tcp_user_timeout(self.user_timeout)
                .map_err(|error| (Step::Option("TCP_USER_TIMEOUT"), error))?;
        }
        if let Some(name) = self.interface() {
            socket
                .bind_device(Some(name.as_bytes()))
                .map_err(|error| (Step::BindInterface(name.into()), error))?;
        }
        Ok(())
    }

    #[cfg(not(target_os = "linux"))]
    fn linux(&self, _socket: &Socket) -> Result<(), (Step, io::Error)> {
        let unsupported = || io::ErrorKind::Unsupported.into();
        if self.user_timeout.is_some() {
            return Err((Step::Option("TCP_USER_TIMEOUT"), unsupported()));
        }
        match self.interface() {
            Some(name) => Err((Step::BindInterface(name.into()), unsupported())),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use core::net::Ipv4Addr;
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn every_option_arrives_at_the_socket() {
        let options = TcpOptions {
            keepalive: Some(KeepAlive {
                idle: Duration::from_secs(7),
                interval: Duration::from_secs(3),
                count: 2,
            }),
            user_timeout: Some(Duration::from_millis(1500)),
            source: Some(Ipv4Addr::LOCALHOST.into()),
            send_buffer: Some(65_536),
            recv_buffer: Some(32_768),
            ..TcpOptions::default()
        };
        let socket = options.socket(&"127.0.0.1:1".parse().unwrap()).unwrap();
        assert!(socket.tcp_nodelay().unwrap() && socket.nonblocking().unwrap());
        assert!(socket.keepalive().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap(), Duration::from_secs(7));
        assert_eq!(socket.tcp_keepalive_interval().unwrap(), Duration::from_secs(3));
        assert_eq!(socket.tcp_keepalive_retries().unwrap(), 2);
        assert!(socket.send_buffer_size().unwrap() >= 65_536);
        assert!(socket.recv_buffer_size().unwrap() >= 32_768);
        #[cfg(target_os = "linux")]
        assert_eq!(socket.tcp_user_timeout().unwrap(), Some(Duration::from_millis(1500)));
        let local = socket.local_addr().unwrap().as_socket().unwrap();
        assert_eq!(local.ip(), Ipv4Addr::LOCALHOST);
    }

    #[test]
    fn nodelay_needs_no_asking() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let socket = TcpOptions::default().socket(&listener.local_addr().unwrap()).unwrap();
        assert!(socket.tcp_nodelay().unwrap() && !socket.keepalive().unwrap());
    }

    #[test]
    fn interfaces_take_turns() {
        let options =
            TcpOptions { interfaces: vec!["eth0".into(), "eth1".into()], ..TcpOptions::default() };
        // Another test may take a turn in between, so only both must come up.
        let names: Vec<_> = (0..8).map(|_| options.interface().unwrap()).collect();
        assert!(names.contains(&"eth0") && names.contains(&"eth1"), "{names:?}");
        assert_eq!(TcpOptions::default().interface(), None);
    }

    #[test]
    fn a_missing_interface_is_named() {
        let options = TcpOptions { interfaces: vec!["no-such-if".into()], ..TcpOptions::default() };
        let (step, _) = options.socket(&"127.0.0.1:1".parse().unwrap()).unwrap_err();
        assert_eq!(step, Step::BindInterface("no-such-if".into()));
    }

    #[test]
    fn syn_retries_double() {
        let seconds = |n| TcpOptions::syn_retries(n).as_secs();
        assert_eq!([0, 1, 2, 6].map(seconds), [1, 3, 7, 127]);
        assert_eq!(seconds(255), 65_535);
    }
}
