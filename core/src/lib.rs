//! A sans-IO iSCSI initiator (RFC 7143).
#![no_std]
#![forbid(unsafe_code)]

#[cfg(any(feature = "std", test))]
extern crate std;
#[cfg(feature = "alloc")]
extern crate alloc;

mod seq;
mod tag;
mod time;

pub use seq::{CmdSn, DataSn, R2tSn, StatSn};
pub use tag::{InitiatorTaskTag, Lun, TargetTransferTag};
pub use time::Instant;
