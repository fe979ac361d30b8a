//! The operations that are measured, and what they need around them.
//!
//! Each is written once: the benches measure its time, `cargo xtask instructions` counts its instructions. Nothing here has a clock or
//! draws random numbers, so that the same operation takes the same instructions in every run.

mod link;
mod login;
mod pair;
mod pdus;

pub use link::Link;
pub use login::Login;
pub use pair::{Io, Pair};
pub use pdus::{from_initiator, from_target};
