#![doc = include_str!("../README.md")]

mod consumer;
mod discovery;
mod disk;
mod driver;
mod handle;
mod memory;
mod pool;
mod reactor;
mod shared;
mod stream;
mod ticket;

pub use consumer::Consumer;
pub use discovery::discover;
pub use disk::Disk;
pub use driver::Driver;
pub use handle::Handle;
pub use iscsi_disk::Request;
pub use iscsi_runtime::{
    Answer, Attempt, BadRecord, Completed, ConnectError, DiscoveredTarget, Discovery, Error,
    Failed, GaveUp, IoError, KeepAlive, LoginFailure, Notice, Options, Resolve, ScsiError,
    SessionStep, Status, Step, SystemResolver, TcpOptions, Watch,
};
pub use memory::{Memory, Parts};
pub use pool::{Pool, Pooled};
pub use stream::DiskStream;
pub use ticket::Ticket;
