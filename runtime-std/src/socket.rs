//! A TCP socket: the engine's calls never wait, and one call of the runtime does.

use core::time::Duration;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::TcpStream;

use iscsi_core::Connection;
use iscsi_core::driver::{Transport, joined};
use rustix::net::{
    RecvAncillaryBuffer, RecvFlags, SendAncillaryBuffer, SendFlags, recv, recvmsg, send, sendmsg,
};

/// How long [`Socket::wait_and_recv`] waits.
pub(crate) const PATIENCE: Duration = Duration::from_secs(1);

/// A socket whose calls do not wait although it is one that does, once the runtime has waited with it.
///
/// To wait by reading is one system call where to wait for readiness and then to read are two.
#[derive(Debug)]
pub(crate) struct Socket {
    stream: TcpStream,
    /// Whether calls without a flag wait.
    waits: bool,
    /// The last read took all there was.
    drained: bool,
    /// Nothing is expected: there is no point in a look at a socket that was drained.
    pub(crate) patient: bool,
}

impl Socket {
    pub(crate) const fn new(stream: TcpStream) -> Self {
        Self { stream, waits: false, drained: false, patient: false }
    }

    pub(crate) const fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// There may be something to read: the system has said so.
    pub(crate) const fn set_ready(&mut self) {
        self.drained = false;
    }

    /// Reads what there is.
    pub(crate) fn recv_now(&mut self, space: &mut [u8]) -> io::Result<Option<usize>> {
        let room = space.len();
        let result = recv(&self.stream, space, RecvFlags::DONTWAIT).map(|(n, _)| n);
        self.received(result, room)
    }

    /// Reads what there is, or the first that comes within [`PATIENCE`]; `None` if nothing does, or a signal came.
    pub(crate) fn wait_and_recv(&mut self, space: &mut [u8]) -> io::Result<Option<usize>> {
        if !self.waits {
            self.stream.set_read_timeout(Some(PATIENCE))?;
            self.stream.set_nonblocking(false)?;
            self.waits = true;
        }
        let room = space.len();
        let result = recv(&self.stream, space, RecvFlags::empty()).map(|(n, _)| n);
        self.received(result, room)
    }

    fn received(
        &mut self,
        result: rustix::io::Result<usize>,
        room: usize,
    ) -> io::Result<Option<usize>> {
        let received = now_or_later(result)?;
        self.drained = received.is_none_or(|n| n < room);
        // The end is there to stay.
        self.drained &= received != Some(0);
        Ok(received)
    }
}

/// "Not now" is no error; an interrupted call is made again by whoever asks again.
fn now_or_later(result: rustix::io::Result<usize>) -> io::Result<Option<usize>> {
    match result {
        Ok(n) => Ok(Some(n)),
        Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

impl Transport for Socket {
    type Error = io::Error;

    fn send(&mut self, runs: &[&[u8]]) -> io::Result<Option<usize>> {
        // A broken connection is an error of the call, never a signal to the process.
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        if let [run] = runs {
            return now_or_later(send(&self.stream, run, flags));
        }
        if let Some(joined) = joined(runs) {
            return now_or_later(send(&self.stream, &joined, flags));
        }
        let mut slices = [IoSlice::new(&[]); Connection::MAX_RUNS];
        let mut len = 0;
        for (slice, run) in slices.iter_mut().zip(runs) {
            *slice = IoSlice::new(run);
            len += 1;
        }
        let mut control = SendAncillaryBuffer::default();
        now_or_later(sendmsg(&self.stream, &slices[..len], &mut control, flags))
    }

    fn recv(&mut self, space: [&mut [u8]; 2]) -> io::Result<Option<usize>> {
        if self.patient && self.drained {
            return Ok(None);
        }
        let [first, second] = space;
        if first.is_empty() {
            return self.recv_now(second);
        }
        let room = first.len() + second.len();
        let mut slices = [IoSliceMut::new(first), IoSliceMut::new(second)];
        let mut control = RecvAncillaryBuffer::default();
        let result = recvmsg(&self.stream, &mut slices, &mut control, RecvFlags::DONTWAIT);
        self.received(result.map(|message| message.bytes), room)
    }
}
