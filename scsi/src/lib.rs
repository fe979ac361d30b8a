//! SCSI for block devices: commands, parameter lists, returned data, sense and LUNs.
//!
//! Everything works on borrowed bytes: no I/O, no allocation, no dependency, no `std`. It serves
//! both sides of the wire. An initiator builds CDBs and parses what comes back; a device server
//! parses CDBs and emits what goes back.
//!
//! # An initiator
//!
//! ```
//! use iscsi_scsi::block::Read16;
//! use iscsi_scsi::capacity::{ReadCapacity16, ReadCapacity16Data};
//! use iscsi_scsi::sense::{AdditionalSense, Sense};
//! use iscsi_scsi::{Direction, Disposition, Status, disposition::Refresh};
//!
//! // A command is a plain struct; its CDB knows the direction and the length of its data.
//! let cdb = ReadCapacity16::default().cdb();
//! assert_eq!(cdb.direction(), Direction::In);
//! assert_eq!(cdb.expected_bytes(0), 32);
//!
//! // What the device returned.
//! let mut data = [0; 32];
//! data[..12].copy_from_slice(&[0, 0, 0, 0, 0, 0, 0x07, 0xff, 0, 0, 0x02, 0]);
//! let capacity = ReadCapacity16Data::parse(&data)?;
//! assert_eq!(capacity.blocks(), Some(2048));
//!
//! let cdb = Read16 { lba: 2047, blocks: 1, ..Default::default() }.cdb();
//! assert_eq!(cdb.expected_bytes(capacity.block_length), 512);
//!
//! // CHECK CONDITION: what happened, and what to do about it.
//! let sense = Sense::parse(&[0x70, 0, 6, 0, 0, 0, 0, 10, 0, 0, 0, 0, 0x2a, 0x09, 0, 0, 0, 0])?;
//! assert_eq!(sense.additional, AdditionalSense::CAPACITY_DATA_HAS_CHANGED);
//! let todo = Disposition::of(Status::CHECK_CONDITION, Some(&sense));
//! assert_eq!(todo, Disposition::Retry(Refresh::Capacity));
//! # Ok::<(), iscsi_scsi::ParseError>(())
//! ```
//!
//! # A device server
//!
//! ```
//! use iscsi_scsi::inquiry::StandardInquiry;
//! use iscsi_scsi::primary::Inquiry;
//! use iscsi_scsi::{Command, CommandError};
//!
//! fn serve(cdb: &[u8], out: &mut [u8]) -> Result<usize, CommandError> {
//!     match Command::parse(cdb)? {
//!         Command::Inquiry(Inquiry { page: None, allocation_length }) => {
//!             let mut disk = StandardInquiry::default();
//!             disk.set_names("ACME", "DISK", "1");
//!             // An emitter fills what fits and returns the full size: truncation by the
//!             // allocation length is no error in SCSI.
//!             Ok(disk.emit(out).min(allocation_length.into()).min(out.len()))
//!         }
//!         _ => Err(CommandError::Opcode { opcode: cdb[0] }),
//!     }
//! }
//!
//! let mut out = [0; 256];
//! assert_eq!(serve(&[0x12, 0, 0, 0, 36, 0], &mut out), Ok(36));
//! assert_eq!(&out[8..12], b"ACME");
//!
//! let refused = serve(&[0xff, 0, 0, 0, 0, 0], &mut out).unwrap_err();
//! let mut sense = [0; 18];
//! assert_eq!(refused.sense().emit_fixed(&mut sense), 18);
//! assert_eq!((sense[2], sense[12]), (0x05, 0x20));
//! ```
//!
//! # Conventions
//!
//! * A value that its field cannot hold does not compile, or is an error. Where 0 blocks means "to
//!   the end of the medium", the field is an `Option<NonZero<_>>`.
//! * Code fields are newtypes ([`Status`], [`vpd::PageCode`], ...) with named constants, because a
//!   peer may send any code.
//! * Parsers never read past the bytes they were given. `full_size` tells how much there would
//!   have been, so that the command can be sent again with a larger allocation length.
//! * `emit` writes data-in, truncates and returns the full size; `build` writes a parameter list
//!   and fails rather than truncate.
//! * Field names are those of SPC and SBC in lower case, with the meaning beside them.
#![no_std]

pub mod alua;
mod ascii;
pub mod block;
pub mod block32;
mod bytes;
pub mod cache;
pub mod capacity;
mod cdb;
mod codes;
pub mod command;
pub mod copy;
pub mod diagnostic;
pub mod disposition;
mod error;
mod fields;
pub mod format;
pub mod inquiry;
pub mod log;
pub mod lun;
pub mod mode;
pub mod opcodes;
pub mod primary;
pub mod provisioning;
pub mod report_luns;
pub mod reservation;
pub mod sense;
mod status;
#[cfg(feature = "testing")]
pub mod testing;
pub mod toc;
pub mod transport_id;
pub mod verify;
pub mod vpd;

pub use ascii::Ascii;
pub use cdb::{Cdb, DataLength, Direction, cdb_length};
pub use command::Command;
pub use disposition::Disposition;
pub use error::{BuildError, CdbError, CommandError, ParseError};
pub use fields::{Bits, ByteCheck, GroupNumber, Protect};
pub use lun::Lun;
pub use sense::{AdditionalSense, Sense, SenseKey};
pub use status::Status;
