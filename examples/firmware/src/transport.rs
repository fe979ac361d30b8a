//! The engine's bytes through smoltcp's socket.

use iscsi_core::driver::Transport;
use smoltcp::socket::tcp::{RecvError, SendError, Socket};

/// smoltcp's socket as the engine sees it.
pub(crate) struct Tcp<'a>(pub(crate) &'a mut Socket<'static>);

/// The connection was reset or has timed out.
pub(crate) struct Broken;

impl Transport for Tcp<'_> {
    type Error = Broken;

    fn send(&mut self, runs: &[&[u8]]) -> Result<Option<usize>, Broken> {
        let mut sent = 0;
        for run in runs {
            let n = self.0.send_slice(run).map_err(|SendError::InvalidState| Broken)?;
            sent += n;
            if n < run.len() {
                break;
            }
        }
        Ok((sent > 0).then_some(sent))
    }

    // Both parts of the ring are read in one call: less than was asked for means that there is no more, and the transport
    // is not `EDGE_TRIGGERED`.
    fn recv(&mut self, space: [&mut [u8]; 2]) -> Result<Option<usize>, Broken> {
        let mut received = 0;
        for part in space {
            match self.0.recv_slice(part) {
                Ok(n) => received += n,
                // The end is told once what came before it is taken.
                Err(RecvError::Finished) if received == 0 => return Ok(Some(0)),
                Err(RecvError::Finished) => break,
                Err(RecvError::InvalidState) => return Err(Broken),
            }
        }
        Ok((received > 0).then_some(received))
    }
}
