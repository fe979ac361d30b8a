//! Tools to test the engine, or a runtime or application built on it, without sockets, clocks and luck.
//!
//! * [`Clock`] and [`Rng`]: time that only jumps, and randomness that can be repeated.
//! * [`Pipe`] and [`Wire`]: a byte stream that splits, delays, stalls, cuts and flips bits, and a
//!   [`Transport`](crate::driver::Transport) over two of them. [`PduFault`]s drop, repeat and swap whole PDUs.
//! * [`StrictDriver`]: a runtime that calls [`pump`](crate::driver::pump) only when it was promised that there is something to do. It finds
//!   lost wake-ups and hot loops, which a friendly test hides.
//! * [`Memory`]: buffers of many tasks that notice every access beyond a task.
//! * [`ScriptedTarget`]: the other side, PDU by PDU or as a small disk in memory.
//! * [`Rig`]: all of it put together.
//! * [`Recorder`]: a capture of a run for Wireshark, and a log in text; [`recording`]: one in which every PDU occurs.
//!
//! Everything here is bounded: a run that does not come to an end panics, and says the seed with which it can be repeated.

mod clock;
mod disk;
mod framer;
mod memory;
mod pipe;
mod recorder;
mod recording;
mod rig;
mod rng;
mod scripted;
mod strict;
mod told;
mod wire;

pub use clock::Clock;
pub use disk::{Disk, R2tOrder, Service};
pub use framer::{Framer, Pdu};
pub use memory::Memory;
pub use pipe::{Faults, PduFault, Pipe, Reset};
pub use recorder::Recorder;
pub use recording::recording;
pub use rig::Rig;
pub use rng::Rng;
pub use scripted::ScriptedTarget;
pub use strict::StrictDriver;
pub use told::Told;
pub use wire::{Link, Wire};
