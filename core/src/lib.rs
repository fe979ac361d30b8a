//! A sans-IO iSCSI initiator (RFC 7143).
//!
//! The protocol is a state machine that never does I/O, reads no clock and draws no random numbers. [`Session`] holds what
//! outlives a TCP connection, [`Connection`] one byte stream, [`Initiator`] both; tasks' data stay in the application's memory, which is
//! lent by [`Buffers`].
//!
//! # Four families of methods
//!
//! | family | examples |
//! |---|---|
//! | getters | [`Session::state`], [`Connection::wants`], [`Connection::counters`] |
//! | facts from the runtime | [`Connection::opened`], [`received`](Connection::received), [`transmitted`](Connection::transmitted), [`received_eof`](Connection::received_eof), [`closed`](Connection::closed), [`handle_timeout`](Connection::handle_timeout) |
//! | requests of the application | [`Session::submit`], [`abort`](Session::abort), [`logout`](Session::logout), [`Connection::revoke`], [`send_targets`](Connection::send_targets) |
//! | answers to poll | [`Connection::poll_transmit`], [`recv_space`](Connection::recv_space), [`Session::poll_event`], [`poll_action`](Session::poll_action) |
//!
//! They may be called in any order, and a call without a reason does no harm; only the time never goes back.
//!
//! # A turn of a loop
//!
//! [`driver::pump`] moves bytes for any [`Transport`](driver::Transport); it is a convenience. The method families alone suffice, in four steps:
//! carry out the actions; send; receive; judge deadlines. Then take the events and wait for what [`Connection::wants`] says. `handle_timeout` belongs
//! into every turn, after what had arrived was received: the deadline of a ping counts from when it has left.
//!
//! Nothing in this takes generics or closures: `Buffers` may be a trait object, and each method fits a function pointer. Where even slices
//! are too much (io_uring, DMA, a guest's memory, another language), [`RecvPlan`] and [`TransmitRun`] say the same as plain data.
//!
//! ```
//! use iscsi_core::auth::Entropy;
//! use iscsi_core::{Action, Buffers, Connection, Initiator, Instant, Wants};
//!
//! /// Whatever carries the bytes. Both calls say how many they moved and never wait.
//! trait Stream {
//!     fn connect(&mut self);
//!     fn send(&mut self, bytes: &[u8]) -> usize;
//!     fn recv(&mut self, space: &mut [u8]) -> usize;
//! }
//!
//! fn turn(
//!     initiator: &mut Initiator,
//!     memory: &mut dyn Buffers,
//!     stream: &mut dyn Stream,
//!     random: [u8; 64],
//!     now: Instant,
//! ) -> Wants {
//!     if initiator.session.poll_action() == Some(Action::Connect) {
//!         stream.connect();
//!         initiator.opened(Entropy::new(random), now);
//!     }
//!     let Initiator { connection, session } = initiator;
//!     let connection: &mut Connection = connection;
//!     loop {
//!         let mut runs: [&[u8]; 1] = [&[]];
//!         connection.poll_transmit(session, memory, &mut runs, now);
//!         let sent = if runs[0].is_empty() { 0 } else { stream.send(runs[0]) };
//!         connection.transmitted(sent, session);
//!         if sent == 0 {
//!             break;
//!         }
//!     }
//!     loop {
//!         connection.go_on(session, now);
//!         let space = connection.recv_space(session, memory);
//!         let received = if space.is_empty() { 0 } else { stream.recv(space) };
//!         connection.received(received, session, memory, now);
//!         if received == 0 {
//!             break;
//!         }
//!     }
//!     connection.handle_timeout(session, now);
//!     connection.wants(session)
//! }
//! # use iscsi_core::{Config, InlineInitiator, IscsiName, NoBuffers, Portal};
//! # struct Sink(Vec<u8>);
//! # impl Stream for Sink {
//! #     fn connect(&mut self) {}
//! #     fn send(&mut self, bytes: &[u8]) -> usize {
//! #         self.0.extend_from_slice(bytes);
//! #         bytes.len()
//! #     }
//! #     fn recv(&mut self, _: &mut [u8]) -> usize {
//! #         0
//! #     }
//! # }
//! # let name = |name| IscsiName::new(name).unwrap();
//! # let config = Config::normal(name("iqn.2001-04.com.example:host"), name("iqn.2001-04.com.example:disk"));
//! # let mut initiator = InlineInitiator::<1>::new();
//! # initiator.session.configure(config.build().unwrap()).unwrap();
//! # initiator.session.open(Portal::parse("192.0.2.1").unwrap(), Instant::ZERO).unwrap();
//! # let mut sink = Sink(Vec::new());
//! # let wants = turn(&mut initiator, &mut NoBuffers, &mut sink, [7; 64], Instant::ZERO);
//! # assert!(wants.read && !wants.write && wants.deadline.is_some());
//! # assert_eq!(sink.0[0], 0x43); // a Login Request
//! ```
//!
//! Such a loop also says [`received_eof`](Connection::received_eof) when the stream ends, and [`closed`](Connection::closed) with
//! [`LostReason::Transport`] when it breaks.
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
    DiscoveryScope, InlineConnection, OwnBytes, RECEIVE_AREA, Recovered, RecvPlan, TRANSMIT_AREA,
    Trace, TransmitRun,
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
