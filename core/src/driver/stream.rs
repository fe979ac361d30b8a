//! Any non-blocking stream of std's traits as a transport.

use std::io::{self, ErrorKind, IoSlice, IoSliceMut, Read, Write};

use super::{RUNS, Transport, joined};

/// A stream whose calls return [`ErrorKind::WouldBlock`] instead of waiting: a socket of std or mio.
///
/// `EDGE_TRIGGERED` says how its readiness is announced, see [`Transport::EDGE_TRIGGERED`].
///
/// ```no_run
/// use std::net::TcpStream;
/// use iscsi_core::driver::NonBlocking;
///
/// # fn main() -> std::io::Result<()> {
/// let stream = TcpStream::connect("192.0.2.1:3260")?;
/// stream.set_nodelay(true)?;
/// stream.set_nonblocking(true)?;
/// let transport: NonBlocking<TcpStream> = NonBlocking(stream);
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct NonBlocking<S, const EDGE_TRIGGERED: bool = false>(pub S);

/// Whether a read or write of a TCP socket that does less than it could has met the end of what is possible now, and a poll at the edge tells what
/// comes later, be it bytes, the end of the stream or room. With epoll and kqueue it does; what came with the edge itself, behind the bytes (an
/// end, an error, an urgent mark), is not told again.
///
/// ```
/// use iscsi_core::driver::SHORT_IS_ALL;
/// /// Whether another read may find something without being told.
/// fn goes_on(received: usize, room: usize) -> bool {
///     received == room || received > 0 && !SHORT_IS_ALL
/// }
/// assert!(goes_on(512, 512) && !goes_on(0, 512));
/// ```
pub const SHORT_IS_ALL: bool = cfg!(any(
    target_os = "linux",
    target_os = "android",
    target_os = "macos",
    target_os = "freebsd",
    target_os = "netbsd",
    target_os = "openbsd"
));

/// Calls a non-blocking stream of std's traits as [`Transport`] wants it: `WouldBlock` is no error but `None`, and an interrupted call is made
/// again.
///
/// ```
/// use std::io::{ErrorKind, Read as _};
/// use iscsi_core::driver::now_or_later;
/// let (mut bytes, mut space) = (&b"abc"[..], [0; 8]);
/// assert_eq!(now_or_later(|| bytes.read(&mut space))?, Some(3));
/// assert_eq!(now_or_later(|| Err(ErrorKind::WouldBlock.into()))?, None);
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Errors
/// All other errors of the call.
pub fn now_or_later(mut call: impl FnMut() -> io::Result<usize>) -> io::Result<Option<usize>> {
    loop {
        match call() {
            Ok(n) => return Ok(Some(n)),
            Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(None),
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
}

impl<S: Read + Write, const EDGE_TRIGGERED: bool> Transport for NonBlocking<S, EDGE_TRIGGERED> {
    type Error = io::Error;

    const EDGE_TRIGGERED: bool = EDGE_TRIGGERED;

    fn send(&mut self, runs: &[&[u8]]) -> io::Result<Option<usize>> {
        if let [run] = runs {
            return now_or_later(|| self.0.write(run));
        }
        if let Some(joined) = joined(runs) {
            return now_or_later(|| self.0.write(&joined));
        }
        let mut slices = [IoSlice::new(&[]); RUNS];
        let mut len = 0;
        for (slice, run) in slices.iter_mut().zip(runs) {
            *slice = IoSlice::new(run);
            len += 1;
        }
        now_or_later(|| self.0.write_vectored(&slices[..len]))
    }

    fn recv(&mut self, space: [&mut [u8]; 2]) -> io::Result<Option<usize>> {
        let [first, second] = space;
        if first.is_empty() {
            return now_or_later(|| self.0.read(second));
        }
        let mut slices = [IoSliceMut::new(first), IoSliceMut::new(second)];
        now_or_later(|| self.0.read_vectored(&mut slices))
    }
}

#[cfg(test)]
mod tests {
    use std::io::{self, Read, Write};
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn a_socket_says_later_and_the_end() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut far, _) = listener.accept().unwrap();
        near.set_nonblocking(true).unwrap();
        let mut near: NonBlocking<TcpStream> = NonBlocking(near);
        let (mut a, mut b) = ([0; 2], [0; 8]);
        assert_eq!(near.recv([&mut a, &mut b]).unwrap(), None);
        assert_eq!(near.send(&[b"ab", b"", b"c"]).unwrap(), Some(3));
        let mut got = [0; 3];
        far.read_exact(&mut got).unwrap();
        assert_eq!(&got, b"abc");
        far.write_all(b"wxyz").unwrap();
        drop(far);
        let mut seen = [0; 4];
        let mut filled = 0;
        while filled < 4 {
            let (head, tail) = seen[filled..].split_at_mut(1);
            filled += near.recv([head, tail]).unwrap().unwrap_or(0);
        }
        assert_eq!(&seen, b"wxyz");
        let end = loop {
            if let Some(n) = near.recv([&mut [], &mut b]).unwrap() {
                break n;
            }
        };
        assert_eq!(end, 0);
    }

    #[test]
    fn interrupted_calls_are_repeated() {
        struct Interrupted(bool);
        impl Read for Interrupted {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                let first = core::mem::replace(&mut self.0, false);
                if first { Err(ErrorKind::Interrupted.into()) } else { Ok(1) }
            }
        }
        impl Write for Interrupted {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let mut stream: NonBlocking<_> = NonBlocking(Interrupted(true));
        assert_eq!(stream.recv([&mut [], &mut [0]]).unwrap(), Some(1));
        assert_eq!(stream.send(&[b"x"]).unwrap_err().kind(), ErrorKind::BrokenPipe);
    }
}
