//! The target's side of one connection.

use iscsi_core::Instant;
use iscsi_core::auth::Entropy;
use iscsi_core::driver::RecvBuf;
use iscsi_core::testing::{Clock, Link};
use iscsi_target::driver::pump;
use iscsi_target::{Target, TargetConnection};

/// How many PDUs the target takes in one turn.
const BUDGET: usize = 9;

/// A link and the target's connection at its end. The target has a friendly driver: it is always called.
#[derive(Debug)]
pub(crate) struct Far {
    pub(crate) link: Link,
    connection: Box<TargetConnection>,
    scratch: Box<RecvBuf>,
    shut: bool,
}

impl Far {
    pub(crate) fn open(
        link: Link,
        scratch: Box<RecvBuf>,
        entropy: Entropy,
        target: &Target<'_>,
        now: Instant,
    ) -> Self {
        let mut connection = TargetConnection::boxed();
        connection.opened(target, entropy, None, now);
        Self { link, connection, scratch, shut: false }
    }

    /// One turn; whether anything moved.
    pub(crate) fn serve(&mut self, target: &mut Target<'_>, clock: &Clock) -> bool {
        let before = self.connection.counters();
        let mut wire = self.link.target(clock);
        let now = clock.now();
        let wants = pump(&mut self.connection, target, &mut self.scratch, &mut wire, now, BUDGET);
        let moved = wire.sent() + wire.received() > 0 || before != self.connection.counters();
        if (self.is_over() || self.connection.is_finished()) && !self.shut {
            self.shut = true;
            self.link.to_initiator.close(now);
        }
        moved || wants.is_ok_and(|wants| wants.again)
    }

    /// The target has no more to do with it.
    pub(crate) const fn is_over(&self) -> bool {
        self.connection.is_closed()
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.connection.wants().deadline
    }

    /// The stream is gone, and the target knows.
    pub(crate) fn close(&mut self, target: &mut Target<'_>) {
        self.connection.closed(target);
    }
}
