//! What the firmware needs of its board: a clock, Ethernet, TCP, and the debugger as a terminal.
#![no_std]

pub mod clock;
pub mod ethernet;
pub mod host;
pub mod network;
