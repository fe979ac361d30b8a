//! A sans-IO iSCSI initiator (RFC 7143).
#![no_std]
#![forbid(unsafe_code)]
#![warn(clippy::alloc_instead_of_core, clippy::std_instead_of_alloc, clippy::std_instead_of_core)]

#[cfg(any(feature = "alloc", test))]
extern crate alloc;
#[cfg(any(feature = "std", test))]
extern crate std;

pub mod auth;
pub mod config;
pub mod digest;
pub mod login;
#[cfg(feature = "testing")]
pub mod testing;
pub mod text;
pub mod url;
pub mod wire;

pub mod driver;

mod buffers;
mod conn;
mod error;
mod event;
mod initiator;
mod name;
mod portal;
mod seq;
mod session;
mod tag;
mod time;

pub use buffers::{Buffers, NoBuffers, ReadInto, WriteFrom};
pub use config::{Config, ConfigBuilder, ConfigError};
pub use conn::{
    AsyncNotice, CONTROL_AREA, Connection, ConnectionState, Counters, Direction, DiscoveryItem,
    DiscoveryScope, InlineConnection, RECEIVE_AREA, Recovered, TRANSMIT_AREA, Trace,
};
pub use error::{LostReason, ProtocolError, SubmitError, Timer};
pub use event::{Action, Event, Wants};
pub use initiator::{Initiator, InlineInitiator};
pub use name::{IscsiName, MAX_NAME_LEN, NameError, NameKind, NameRule};
pub use portal::{MAX_HOST_LEN, Portal, PortalError, TargetAddress};
pub use seq::{CmdSn, DataSn, R2tSn, StatSn};
pub use session::{
    Command, InlineSession, OnLoss, RecoveryStatus, Session, SessionCounters, SessionState, TaskId,
    TaskManagement, TaskManagementId, TaskOutcome, TaskSlot, Transfer, Verdict,
};
pub use tag::{InitiatorTaskTag, Lun, TargetTransferTag};
pub use text::Negotiated;
pub use time::Instant;
