//! An iSCSI initiator over blocking calls: connect to a LUN by its URL, read and write bytes.
//!
//! ```no_run
//! use iscsi_core::IscsiName;
//! use iscsi_runtime_std::{Disk, Options};
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let url = "iscsi://alice:secret-of-alice@storage.example.com/iqn.2001-04.com.example:disk/1";
//!     let name = IscsiName::new("iqn.2001-04.com.example:host")?;
//!     let mut disk = Disk::connect(&url.parse()?, name, &Options::default())?;
//!
//!     let mut head = vec![0; 1 << 20];
//!     disk.read_at(0, &mut head)?;
//!     disk.write_at(disk.capacity() / 2 + 7, b"any offset, any length")?;
//!     disk.flush()?;
//!     Ok(disk.logout()?)
//! }
//! ```
//!
//! # Which type
//!
//! | | one thread, `&mut` | many threads |
//! | --- | --- | --- |
//! | bytes | [`Disk`] | [`SharedDisk`] |
//! | SCSI commands | [`Client`], and its [`Queue`] for many at once | [`Handle`] |
//!
//! With `&mut`, memory is borrowed: data go between the socket and your slice, without a copy or an allocation between them. A
//! [`Handle`] and a [`SharedDisk`] have a driver thread of their own; owned memory goes in and comes back, also after an error.
//! [`Disk::into_client`], [`Handle::new`] and [`SharedDisk::new`] lead from one to the other. [`discover`] asks a portal for its targets.
//!
//! # What it does for you
//!
//! * **Every call ends.** Connecting, the login, each command, its abort, logout, pings: all have time limits
//!   ([`Timeouts`](iscsi_core::config::Timeouts)), and a peer that sends a byte now and then does not escape them. Time during which
//!   your program did something else is not held against the target.
//! * **Every address is tried.** A name's addresses race, IPv6 and IPv4 in turn; a resolver that hangs holds up nobody; the error
//!   lists every attempt. [`TcpOptions`] has the keep-alive, time limits, interfaces and source address of the sockets.
//! * **Errors say what to change**: [`LoginFailure`] tells a wrong secret from a missing one, and your secret from the target's;
//!   [`ScsiError`] has the text of the sense data.
//! * **No waiting in `drop`.** A dropped [`Client`] closes its socket. A dropped [`Handle`] logs out in the background.
//! * **It is quick.** A queue of 4 KiB reads takes about 1 µs of CPU time for each: a whole queue is sent by one system call and its
//!   answers are received by another.
//!
//! The protocol itself is in [`iscsi_core`], which does no I/O, and the block layer in [`iscsi_disk`]. This crate moves the bytes:
//! non-blocking sockets, poll(2) for reading and writing together, and no unsafe code. It needs a Unix; binding to interfaces and
//! `TCP_USER_TIMEOUT` need Linux.

extern crate alloc;

/// Compiles the loop in the project's README.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;

mod client;
mod data;
mod discovery;
mod disk;
mod engine;
mod handle;
mod queue;
mod wait;

pub use client::Client;
pub use data::Data;
pub use discovery::discover;
pub use disk::Disk;
pub use handle::{Handle, SharedDisk, Ticket};
pub use iscsi_runtime::{
    Answer, Attempt, BadRecord, Completed, ConnectError, DiscoveredTarget, Discovery, Error,
    Failed, GaveUp, IoError, KeepAlive, LoginFailure, Notice, Options, Payload, Resolve, ScsiError,
    SessionStep, Status, Step, SystemResolver, TcpOptions, Watch,
};
pub use queue::{Completion, Queue};
