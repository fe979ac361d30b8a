//! What a session needs beside its configuration.

use alloc::sync::Arc;
use core::time::Duration;

use iscsi_core::Trace;

use crate::net::{Resolve, SystemResolver, TcpOptions};
use crate::recovery::Watch;

/// Settings of the runtime, beside the [`Config`](iscsi_core::Config) of the session.
///
/// ```
/// use iscsi_runtime::Options;
/// let mut options = Options::default();
/// options.depth = 128;
/// assert!(options.trace.is_none());
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Options {
    /// Settings of the sockets.
    pub tcp: TcpOptions,
    /// How many commands may be under way at once: 32 unless set, rounded up to 8, 32, 128 or 512, which is the most.
    pub depth: usize,
    /// How many PDUs a session receives in one turn, before new commands go out: 0, as unless set, for a quarter of the commands under way,
    /// but 8 to 64.
    ///
    /// A small number keeps both sides busy: the target gets new commands while the older ones are answered. A large one, up to the depth,
    /// saves system calls: with 32 commands of 4 KiB under way and a batch of 32 there is one for ten commands, but both sides take turns at
    /// being idle.
    pub batch: usize,
    /// Bytes read at once when they are many small answers: 0, as unless set, for 4 KiB for each command of the depth, but at least 64 KiB. From 16 KiB to 1 MiB,
    /// rounded up to a power of two. Large answers are read straight into their memory, unless it [consumes](crate::Lend::consumes) them: then a large
    /// scratch saves system calls.
    pub scratch: usize,
    /// How long a loop with at most four commands under way looks for their answers before it sleeps: 50 µs unless set, zero for not at all.
    /// See [`BusyWait`](crate::BusyWait).
    pub busy_wait: Duration,
    /// Sees the header of every PDU of every connection.
    pub trace: Option<Trace>,
    /// Looks up host names: the system's resolver on a helper thread unless set.
    pub resolver: Arc<dyn Resolve>,
    /// Is told every step of the session: attempts to connect, losses and their reasons.
    pub watch: Option<Watch>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            tcp: TcpOptions::default(),
            depth: 32,
            batch: 0,
            scratch: 0,
            busy_wait: Duration::from_micros(50),
            trace: None,
            resolver: Arc::new(SystemResolver),
            watch: None,
        }
    }
}

impl Options {
    /// Bytes of a session's scratch.
    pub(crate) fn scratch_len(&self) -> usize {
        // At least two turns of the smallest batch.
        let automatic = (self.depth * 4096).max(64 << 10);
        if self.scratch == 0 { automatic } else { self.scratch }
    }

    /// PDUs received in one turn.
    pub(crate) fn batch_of(&self, under_way: usize) -> usize {
        if self.batch == 0 { (under_way / 4).clamp(8, 64) } else { self.batch }
    }
}
