//! A logical unit as a block device, sans-IO: no threads, no clock, no sockets, no allocator.
//!
//! [`Disk`] turns requests on byte ranges ([`Request`]) into SCSI commands of an [`iscsi_core::Session`]:
//!
//! * it starts by asking the device what it is: [`Geometry`], [`Identity`];
//! * it cuts requests by the device's limits and keeps several commands of each in flight;
//! * ranges need not be aligned: a read drops what was not asked for, a write reads the blocks that it covers in part first, and no
//!   other write of this disk gets in between;
//! * it tries again what is worth it (UNIT ATTENTION, BUSY, TASK SET FULL, becoming ready), with delays and within bounds, and looks at the
//!   device again when that says that something changed; all else is a [`DiskError`];
//! * a request is `Ok` only if every byte of it was served.
//!
//! Payload is never copied: [`Disk::buffers`] translates between the session's tasks and the application's memory, which is named by
//! [`RequestId`] ([`RequestBuffers`]).
//!
//! # The loop
//!
//! ```
//! use iscsi_core::driver::{RecvBuf, Transport, pump};
//! use iscsi_core::{Connection, Instant, Session};
//! use iscsi_disk::{Disk, DiskError, DiskEvent, DiskState, Request, RequestBuffers, RequestId};
//!
//! /// The memory of the one request of this example.
//! struct Memory([u8; 100]);
//!
//! impl RequestBuffers for Memory {
//!     fn data_in(&mut self, _: RequestId, at: u64, max: u32) -> &mut [u8] {
//!         &mut self.0[at as usize..][..max as usize]
//!     }
//!     fn data_out(&self, _: RequestId, at: u64, max: u32) -> &[u8] {
//!         &self.0[at as usize..][..max as usize]
//!     }
//! }
//!
//! /// Starts the disk and reads 100 bytes from the middle of it.
//! fn read_middle<T: Transport>(
//!     disk: &mut Disk,
//!     session: &mut Session,
//!     connection: &mut Connection,
//!     transport: &mut T,
//!     wait: impl Fn(&mut T, Option<Instant>) -> Instant,
//! ) -> Result<[u8; 100], DiskError> {
//!     let mut memory = Memory([0; 100]);
//!     let mut scratch = RecvBuf::new([0; 4096]);
//!     let mut now = Instant::ZERO;
//!     disk.start().expect("not started before");
//!     loop {
//!         // Commands out and bytes both ways, until nothing moves.
//!         loop {
//!             disk.drive(session, now);
//!             let buffers = &mut disk.buffers(&mut memory);
//!             let wants =
//!                 pump(connection, session, buffers, &mut scratch, transport, now, 64);
//!             // Every event of the session goes to the disk at once.
//!             while let Some(event) = session.poll_event() {
//!                 disk.handle_event(&event, now);
//!             }
//!             while let Some(event) = disk.poll_event() {
//!                 match event {
//!                     DiskEvent::StateChanged(DiskState::Ready) => {
//!                         let middle = disk.geometry().expect("ready").capacity() / 2;
//!                         disk.submit(Request::read(middle, 100)).expect("room for one");
//!                     }
//!                     DiskEvent::StateChanged(DiskState::Failed(error)) => return Err(error),
//!                     DiskEvent::Done { result, .. } => return result.map(|()| memory.0),
//!                     _ => {}
//!                 }
//!             }
//!             let idle = wants.is_ok_and(|wants| !wants.again);
//!             if idle && !disk.drive(session, now) {
//!                 break;
//!             }
//!         }
//!         let deadlines = [connection.wants(session).deadline, disk.poll_timeout()];
//!         now = wait(transport, deadlines.into_iter().flatten().min());
//!     }
//! }
//! ```
//!
//! Real runtimes also act on [`poll_action`](iscsi_core::Session::poll_action) and give up when the session fails; see the crates that are named
//! `iscsi-runtime-*`.
//!
//! # Several disks
//!
//! Disks of several logical units share a session: each is driven, each sees each event ([`Disk::handle_event`] tells whether it was concerned),
//! and their buffers are chained with [`DiskBuffers::or`].
#![no_std]
#![forbid(unsafe_code)]
#![warn(clippy::alloc_instead_of_core, clippy::std_instead_of_alloc, clippy::std_instead_of_core)]
#![deny(missing_docs)]

#[cfg(any(feature = "alloc", test))]
extern crate alloc;
#[cfg(test)]
extern crate std;

mod buffers;
mod config;
mod disk;
mod error;
mod geometry;
mod identity;
mod probe;
mod request;
mod slot;
mod split;

pub use buffers::{DiskBuffers, RequestBuffers};
pub use config::DiskConfig;
pub use disk::{Disk, DiskEvent, DiskState, InlineDisk};
pub use error::{DiskError, RequestError, ScsiError};
pub use geometry::Geometry;
pub use identity::Identity;
pub use iscsi_scsi as scsi;
pub use request::{Operation, Request, RequestId};
pub use slot::Slot;
