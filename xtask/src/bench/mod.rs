//! What the engine costs: its instructions against those that are recorded, its speed beside that of peers.

pub(crate) mod instructions;
pub(crate) mod peers;
mod programs;
