//! From plans to addresses: the memory that the kernel reads and writes.
#![expect(unsafe_code, reason = "the kernel is handed addresses")]

use std::net::TcpStream;

use iscsi_core::driver::RecvBuf;
use iscsi_core::{Connection, Instant, NoBuffers, RecvPlan, Session, TransmitRun};
use iscsi_loops::{Application, Failure};

use crate::kernel::{Kernel, RECV, SEND, part};

/// It is leaked: an operation may outlive everything else.
pub(crate) struct Lent {
    pub(crate) application: Application,
    scratch: Box<RecvBuf>,
    /// Copies of the connection's own bytes, which are few: so nothing borrows the connection while they are sent.
    own: Vec<u8>,
    /// Bytes of the receive under way that go to a task; those behind them go to the scratch.
    direct: usize,
}

impl Lent {
    pub(crate) fn new(application: Application) -> &'static mut Self {
        let (scratch, own) = (RecvBuf::boxed(), Vec::with_capacity(32 * 1024));
        Box::leak(Box::new(Self { application, scratch, own, direct: 0 }))
    }

    /// Sends what is planned, unless a send is under way.
    pub(crate) fn send(
        &mut self,
        kernel: &mut Kernel,
        stream: &TcpStream,
        connection: &mut Connection,
        session: &mut Session,
        now: Instant,
    ) -> Result<(), Failure> {
        if kernel.is_under_way(SEND) {
            return Ok(());
        }
        self.own.clear();
        let (mut parts, mut runs) = (Vec::new(), [TransmitRun::default(); Connection::MAX_RUNS]);
        let n = connection.transmit_plan(session, &NoBuffers, &mut runs, now);
        for run in &runs[..n] {
            // A task's bytes would be sent from where they are. This application has none to send.
            let TransmitRun::Own(own) = *run else { return Err("nothing is written".into()) };
            let (bytes, at) = (connection.own_bytes(own, session), self.own.len());
            if bytes.len() > self.own.capacity() - at {
                break; // The copies must stay where they are. The rest is planned the next time.
            }
            self.own.extend_from_slice(bytes);
            parts.push(part(self.own.as_mut_ptr().wrapping_add(at), bytes.len()));
        }
        // SAFETY: the copies are never freed, and are not touched before the send has completed.
        unsafe { kernel.start(SEND, parts, stream) }
    }

    /// Receives to where the plan says, unless a receive is under way or bytes wait to be taken.
    pub(crate) fn recv(
        &mut self,
        kernel: &mut Kernel,
        stream: &TcpStream,
        connection: &Connection,
        session: &Session,
    ) -> Result<(), Failure> {
        let plan = connection.recv_plan(session);
        if kernel.is_under_way(RECV) || !self.scratch.is_empty() || plan == RecvPlan::Nothing {
            return Ok(());
        }
        let place = match plan {
            // Shorter data go through the scratch, together with the headers around them.
            RecvPlan::Task { task, offset, len: len @ 4096.. } => {
                self.application.place(task, offset, len)
            }
            _ => None,
        };
        let place = place.unwrap_or_default();
        self.direct = place.len();
        // Behind data only a little: a trailer and the next header, not the next data.
        let space = self.scratch.space(if place.is_empty() { usize::MAX } else { 512 });
        let base = self.application.image().wrapping_add(place.start);
        let parts = vec![part(base, place.len()), part(space.as_mut_ptr(), space.len())];
        // SAFETY: image and scratch are never freed. Nobody looks at them before the receive has completed: the engine asks for the image in
        // `received` and `take`, the application when all is read, and the scratch is used in this file only.
        unsafe { kernel.start(RECV, parts, stream) }
    }

    /// A receive has completed: a task's bytes are where they belong, the others are in the scratch.
    pub(crate) fn received(
        &mut self,
        n: usize,
        connection: &mut Connection,
        session: &mut Session,
        now: Instant,
    ) {
        let placed = n.min(self.direct);
        connection.received(placed, session, &mut self.application, now);
        self.scratch.filled_by(n - placed);
        self.take(connection, session, now);
    }

    /// Hands in what is in the scratch. No receive may be under way.
    pub(crate) fn take(
        &mut self,
        connection: &mut Connection,
        session: &mut Session,
        now: Instant,
    ) {
        let (bytes, mut budget) = (self.scratch.filled(), usize::MAX);
        let used = connection.receive(bytes, &mut budget, session, &mut self.application, now);
        self.scratch.consume(used);
    }

    /// The bytes of an old stream mean nothing to a new one.
    pub(crate) fn forget(&mut self) {
        self.scratch.clear();
    }
}
