//! Tools to test the engine, or a runtime or application built on it, without sockets, clocks and luck.
//!
//! * [`Clock`] and [`Rng`]: time that only jumps, and randomness that can be repeated.
//! * [`Pipe`] and [`Wire`]: a byte stream that splits, delays, stalls, cuts and flips bits, and a
//!   [`Transport`](crate::driver::Transport) over two of them. [`PduFault`]s drop, repeat and swap whole PDUs;
//!   [`Pipe::damage_data`] flips bits that only the data digest covers; [`Mutation`]s change, drop, repeat and add bytes.
//! * [`StrictDriver`]: a runtime that calls [`pump`](crate::driver::pump) only when it was promised that there is something to do. It finds
//!   lost wake-ups and hot loops, which a friendly test hides.
//! * [`Tap`]: every byte and header that passes the initiator's end of a link, in order.
//! * [`Memory`]: buffers of many tasks that notice every access beyond a task.
//! * [`ScriptedTarget`]: the other side, PDU by PDU or as a small disk in memory, with CHAP and SendTargets.
//! * [`script`]: what the other side does otherwise than an honest target would, as a list of rules.
//! * [`Rig`]: all of it put together.
//! * [`Recorder`]: a capture of a run for Wireshark, and a log in text; [`recording`]: one in which every PDU occurs.
//! * [`fuzz`]: the bodies of the fuzz targets.
//! * `strategies`, with the feature `proptest`: every PDU and every text key for property tests.
//!
//! Everything here is bounded: a run that does not come to an end panics, and says the seed with which it can be repeated.

mod clock;
mod damage;
mod disk;
mod framer;
pub mod fuzz;
mod kept;
mod login;
mod memory;
mod mutation;
mod nodes;
mod pipe;
mod recorder;
mod recording;
mod rig;
mod rng;
pub mod script;
mod scripted;
#[cfg(feature = "proptest")]
pub mod strategies;
mod strict;
mod tap;
mod told;
mod wire;

pub use clock::Clock;
pub use disk::{Disk, R2tOrder, Service};
pub use framer::{Framer, Pdu};
pub use login::TargetChap;
pub use memory::Memory;
pub use mutation::{Edit, Mutation};
pub use nodes::Node;
pub use pipe::{Faults, PduFault, Pipe, Reset};
pub use recorder::Recorder;
pub use recording::recording;
pub use rig::Rig;
pub use rng::Rng;
pub use script::{Do, End, Extra, Field, Kind, Nth, Rule, Script, When};
pub use scripted::{Entry, ScriptedTarget};
pub use strict::StrictDriver;
pub use tap::Tap;
pub use told::Told;
pub use wire::{Link, Wire};
