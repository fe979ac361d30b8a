//! The thread that owns a session.

use alloc::sync::Arc;

use iscsi_runtime::{Error, Request, Service, Threads, UnitId};

use super::shared::Shared;
use crate::engine::{Poll, sleep};

pub(super) struct Driver {
    service: Service<Poll, Threads>,
    shared: Arc<Shared>,
    /// Empty between turns; kept for its memory.
    incoming: Vec<Request<Threads>>,
}

/// Answers everybody, also if the thread panics: whatever is left in the driver is dropped after this.
struct End(Arc<Shared>);

impl Drop for End {
    fn drop(&mut self) {
        self.0.inbox.end(Err(Error::ShutDown));
    }
}

impl Driver {
    pub(super) const fn new(service: Service<Poll, Threads>, shared: Arc<Shared>) -> Self {
        Self { service, shared, incoming: Vec::new() }
    }

    pub(super) fn run(mut self) {
        let end = End(self.shared.clone());
        let result = self.serve();
        let shared = self.shared.clone();
        // Everything under way is answered before the end is told.
        drop(self);
        shared.inbox.end(result);
        drop(end);
    }

    fn serve(&mut self) -> Result<(), Error> {
        loop {
            let closing = self.shared.inbox.swap(&mut self.incoming);
            for request in self.incoming.drain(..) {
                self.service.accept(request);
            }
            if closing {
                self.service.close();
            }
            let turn = self.service.turn();
            self.shared.inbox.add_notices(&mut self.service.engine_mut().notices);
            if self.service.take_resized().is_some()
                && let Some(&geometry) = self.service.geometry(UnitId::FIRST)
            {
                self.shared.set_geometry(geometry);
            }
            if let Some(end) = turn.end {
                return end;
            }
            let engine = self.service.engine();
            let waker = engine.reactor().thread_waker();
            waker.arm();
            let busy = self.shared.inbox.has_news(closing) || engine.has_resolved();
            let slept = if busy { Ok(()) } else { sleep(engine, turn.wants, None, true) };
            waker.disarm();
            slept?;
        }
    }
}
