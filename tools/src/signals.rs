//! An end on request: SIGINT and SIGTERM.

use core::sync::atomic::AtomicBool;
use std::sync::Arc;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

use crate::output::{Outcome, Stop};

/// What SIGINT and SIGTERM set. The second of them ends the program at once: the other end may not answer any more.
pub(crate) fn interruption() -> Outcome<Arc<AtomicBool>> {
    let interrupted = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        // In this order, or the first one would be the second.
        flag::register_conditional_shutdown(signal, 128 + signal, interrupted.clone())
            .and_then(|_| flag::register(signal, interrupted.clone()))
            .map_err(|error| Stop::failed(format!("handling signals: {error}")))?;
    }
    Ok(interrupted)
}
