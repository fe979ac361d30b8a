//! What a session needs beside its configuration.

use alloc::sync::Arc;

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
            trace: None,
            resolver: Arc::new(SystemResolver),
            watch: None,
        }
    }
}
