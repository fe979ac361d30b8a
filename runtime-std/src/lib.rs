#![doc = include_str!("../README.md")]

extern crate alloc;

/// Compiles the loop in the project's README.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;

mod client;
mod discovery;
mod disk;
mod engine;
mod handle;
mod one;
mod queue;
mod socket;
mod wait;

pub use client::Client;
pub use discovery::discover;
pub use disk::Disk;
pub use handle::{Handle, SharedDisk, Ticket};
pub use iscsi_runtime::{
    Answer, Attempt, BadRecord, Completed, ConnectError, Data, Directed, DiscoveredTarget,
    Discovery, Error, Failed, GaveUp, IoError, KeepAlive, Lend, LoginFailure, Notice, Options,
    Payload, Resolve, ScsiError, SessionStep, Status, Step, SystemResolver, TcpOptions, Watch,
};
pub use queue::{Completion, Queue};
