//! What differs between runtimes: sockets that somebody waits for.

use core::fmt;
use std::io;
use std::net::TcpStream;

use iscsi_core::driver::{RecvBuf, Transport};

/// How a runtime makes sockets its own, and how it is woken by helpers.
///
/// ```
/// use std::io;
/// use std::net::TcpStream;
/// use iscsi_core::driver::NonBlocking;
/// use iscsi_runtime::Reactor;
///
/// /// For a loop that waits with poll(2), which needs no registration.
/// #[derive(Debug)]
/// struct Poll;
///
/// impl Reactor for Poll {
///     type Socket = NonBlocking<TcpStream>;
///
///     fn adopt(&mut self, socket: TcpStream) -> io::Result<Self::Socket> {
///         Ok(NonBlocking(socket))
///     }
///     fn take_error(socket: &Self::Socket) -> io::Result<Option<io::Error>> {
///         socket.0.take_error()
///     }
///     fn is_connected(socket: &Self::Socket) -> io::Result<bool> {
///         iscsi_runtime::has_peer(socket.0.peer_addr())
///     }
///     fn waker(&self) -> Box<dyn Fn() + Send + Sync> {
///         Box::new(|| { /* write to an eventfd that the loop waits for */ })
///     }
/// }
/// # let _ = Poll;
/// ```
pub trait Reactor: fmt::Debug {
    /// A socket that the runtime waits for. Dropped, it is closed.
    type Socket: Transport<Error = io::Error> + fmt::Debug;

    /// Takes a non-blocking socket that is being connected: from now on the loop wakes when it becomes readable or writable.
    ///
    /// # Errors
    /// What the system says; the socket is closed.
    fn adopt(&mut self, socket: TcpStream) -> io::Result<Self::Socket>;

    /// Lets a socket go and closes it.
    fn release(&mut self, socket: Self::Socket) {
        drop(socket);
    }

    /// The error of the socket (`SO_ERROR`), which this takes.
    ///
    /// # Errors
    /// What the system says.
    fn take_error(socket: &Self::Socket) -> io::Result<Option<io::Error>>;

    /// Whether the socket is connected.
    ///
    /// # Errors
    /// What the system says.
    fn is_connected(socket: &Self::Socket) -> io::Result<bool>;

    /// The engine expects nothing to read, or does again: after a read that took all there was, the socket need not look. For loops that wait
    /// next and wake when something comes.
    fn set_patient(_socket: &mut Self::Socket, _patient: bool) {}

    /// The socket is to become readable only when so many bytes are there, at least 1: [`set_low_water`](crate::set_low_water). Whether it does from now on. A
    /// lower number is followed by a turn, in which the socket has to be read.
    fn set_low_water(_socket: &mut Self::Socket, _bytes: u32) -> bool {
        false
    }

    /// Lends a scratch of about `len` bytes for one turn of a session that has none.
    ///
    /// A session keeps it while bytes wait in it. A loop with many sessions has one for all that have none waiting, which stays in the
    /// processor's cache.
    fn lend_scratch(&mut self, len: usize) -> Box<RecvBuf> {
        RecvBuf::with_room(len)
    }

    /// Takes a scratch back that is empty, or leaves it with the session.
    fn take_scratch(&mut self, scratch: Box<RecvBuf>) -> Option<Box<RecvBuf>> {
        Some(scratch)
    }

    /// A function that makes the loop turn again, from any thread.
    fn waker(&self) -> Box<dyn Fn() + Send + Sync>;
}

/// What asking a socket for its peer (`getpeername`) says of a connection that is being made: it stands if there is one.
///
/// ```
/// let socket = std::net::TcpListener::bind("127.0.0.1:0")?;
/// let stream = std::net::TcpStream::connect(socket.local_addr()?)?;
/// assert!(iscsi_runtime::has_peer(stream.peer_addr())?);
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Errors
/// All others.
pub fn has_peer<T>(peer: io::Result<T>) -> io::Result<bool> {
    match peer {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(false),
        Err(error) => Err(error),
    }
}
