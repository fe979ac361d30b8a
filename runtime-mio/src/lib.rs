#![doc = include_str!("../README.md")]

mod event;
mod looking;
mod reactor;
mod sessions;

pub use event::{DiskId, Event, OpenedDisk, SessionId};
pub use iscsi_runtime::{
    Answer, Attempt, BadRecord, Completed, ConnectError, Directed, DiscoveredTarget, Discovery,
    Error, Failed, GaveUp, IoError, KeepAlive, Lend, LoginFailure, Notice, Options, Payload,
    Resolve, ScsiError, SessionStep, Status, Step, SystemResolver, TcpOptions, UnitId, Watch,
};
pub use mio;
pub use sessions::Sessions;
