//! An iSCSI target (RFC 7143) as a sans-IO engine: bytes in, bytes out, no sockets, no clock, no allocator.
//!
//! ```text
//!                      +----------------------- Target ------------------------+
//! initiator --bytes--> TargetConnection --commands--> LogicalUnit ----> Disk   |
//!           <--bytes--  (one per stream) <--data, status-- (one per LUN)       |
//!                      +---------- session registry, attentions ---------------+
//! ```
//!
//! * A [`Disk`] stores bytes: [`RamDisk`], [`NullDisk`], `FileDisk`, or your own.
//! * A [`LogicalUnit`] is a disk with a LUN and an identity; it serves the commands of a block device.
//! * A [`Target`] holds the units, the settings and the registry of sessions. All of its memory is the caller's.
//! * A [`TargetConnection`] is one byte stream. [`driver::pump`] moves its bytes through a [`driver::Transport`].
//! * With the feature `std`, `server::Server` is all of that on TCP.
//!
//! It offers error recovery level 0 with one connection per session, CHAP in both directions, digests, discovery, every form of
//! data transfer, task management and persistent reservations. [`Quirks`] make it misbehave, to test initiators.
//!
//! # The engine
//!
//! ```
//! use iscsi_core::auth::Entropy;
//! use iscsi_core::driver::{RecvBuf, Transport};
//! use iscsi_core::{Instant, IscsiName};
//! use iscsi_target::driver::pump;
//! use iscsi_target::{InlineTargetConnection, LogicalUnit, NexusSlot, RamDisk, Target, TargetConfig};
//!
//! /// What an initiator sends, and what it gets.
//! struct Script<'a> {
//!     to_target: &'a [u8],
//!     from_target: Vec<u8>,
//! }
//!
//! impl Transport for Script<'_> {
//!     type Error = core::convert::Infallible;
//!
//!     fn send(&mut self, runs: &[&[u8]]) -> Result<Option<usize>, Self::Error> {
//!         runs.iter().for_each(|run| self.from_target.extend_from_slice(run));
//!         Ok(Some(runs.iter().map(|run| run.len()).sum()))
//!     }
//!
//!     fn recv(&mut self, space: [&mut [u8]; 2]) -> Result<Option<usize>, Self::Error> {
//!         let [_, scratch] = space;
//!         let n = scratch.len().min(self.to_target.len());
//!         let (now, later) = self.to_target.split_at(n);
//!         scratch[..n].copy_from_slice(now);
//!         self.to_target = later;
//!         Ok((n > 0).then_some(n))
//!     }
//! }
//!
//! let config = TargetConfig::new(IscsiName::new("iqn.2001-04.com.example:t").unwrap());
//! let mut disk = RamDisk::new([0; 8192], 512).unwrap();
//! let mut units = [LogicalUnit::new(0, &mut disk, "ram-0")];
//! let mut sessions = [NexusSlot::EMPTY];
//! let mut target = Target::new(&config, &mut units, &mut sessions).unwrap();
//!
//! let mut connection = Box::new(InlineTargetConnection::<32>::new());
//! let mut scratch = RecvBuf::new([0; 1024]);
//! // A Login Request without any text: TargetName and InitiatorName are missing.
//! let mut request = [0; 48];
//! (request[0], request[1]) = (0x43, 0x87);
//! let mut script = Script { to_target: &request, from_target: Vec::new() };
//!
//! let now = Instant::ZERO;
//! connection.opened(&target, Entropy::new([7; 64]), None, now);
//! pump(&mut connection, &mut target, &mut scratch, &mut script, now, 16).unwrap();
//! assert_eq!(script.from_target.len(), 48);
//! assert_eq!(script.from_target[36..38], [0x02, 0x07]); // Missing parameter
//! assert!(connection.is_finished());
//! ```
#![no_std]
#![forbid(unsafe_code)]

#[cfg(any(feature = "std", test))]
extern crate std;

pub mod driver;
#[cfg(feature = "std")]
pub mod server;

mod config;
mod conn;
mod disk;
mod nexus;
mod quirks;
mod target;
mod unit;

pub use config::{MAX_ALIAS_LEN, MAX_PORTALS, TargetConfig};
pub use conn::{Counters, EndReason, InlineTargetConnection, TargetConnection, TaskSlot};
pub use disk::{Disk, DiskError, Extent, NullDisk, RamDisk, SizeError};
#[cfg(feature = "std")]
pub use disk::{FileDisk, FileDiskError};
pub use nexus::{MAX_UNITS, NexusSlot};
pub use quirks::Quirks;
pub use target::{SessionInfo, Target, TargetError};
pub use unit::{LogicalUnit, MAX_SERIAL_LEN};
