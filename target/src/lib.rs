//! An iSCSI target (RFC 7143) as a sans-IO engine.
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
