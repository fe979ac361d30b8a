//! The runtimes.

mod exclusive;
mod futures;
mod many;
mod shared;

use crate::Runtime;

/// All runtimes. The blocking one counts twice: its disk for one thread, and the one that threads share.
pub const RUNTIMES: &[&dyn Runtime] =
    &[&exclusive::Exclusive, &shared::Shared, &many::Mio, &futures::Smol];
