//! What the runtimes of an iSCSI initiator share, and what another one is made of.
//!
//! | | |
//! | --- | --- |
//! | [`Engine`] | one session, its connection and its sockets: connects, comes back, moves bytes |
//! | [`Service`] | the same with disks, lines of requests and answers; never blocks |
//! | [`Inbox`], [`one_shot`], [`Spare`] | between the service and the application's threads or futures |
//! | [`Error`], [`Options`], [`SessionStep`] ... | what users of every runtime meet |
//!
//! A runtime adds a [`Reactor`], which makes sockets its own, and a way to wait: for a thread that is `iscsi-runtime-std`, for a loop of
//! the user's `iscsi-runtime-mio`, for futures `iscsi-runtime-smol`. They re-export what their users need from here.
//!
//! The protocol itself is in [`iscsi_core`], which does no I/O, and the block layer in [`iscsi_disk`].

extern crate alloc;

mod busy_wait;
mod discovery;
mod engine;
mod error;
mod inbox;
mod login;
mod low_water;
mod memory;
mod net;
mod notice;
mod options;
mod reactor;
mod recovery;
mod reply;
mod scsi;
mod service;
mod table;

pub use busy_wait::BusyWait;
pub use discovery::{BadRecord, Collector, DiscoveredTarget, Discovery, OwnedScope};
pub use engine::{Engine, task_end};
pub use error::{Error, IoError};
pub use inbox::{Ended, Inbox, Wake};
pub use login::LoginFailure;
pub use low_water::set_low_water;
pub use memory::{
    Data, Directed, Failed, Lend, Payload, check_command, check_request, run_of, run_of_mut,
};
pub use net::{
    Answer, Attempt, ConnectError, Dialer, KeepAlive, Resolve, Step, SystemResolver, TcpOptions,
};
pub use notice::Notice;
pub use options::Options;
pub use reactor::{Reactor, has_peer};
pub use recovery::{GaveUp, SessionStep, Watch};
pub use reply::{OneShots, Receiver, Reply, Sender, one_shot};
pub use scsi::{Completed, ScsiError};
pub use service::{
    CommandJob, DiskJob, End, Front, Job, Opened, OwnedCommand, Request, Service, Spare, Status,
    Threads, Turn, Unit, UnitId,
};
pub use table::{Key, Table};
