//! Why a request was refused, and why one failed.

use core::fmt;

use iscsi_core::{LostReason, SubmitError};
use iscsi_scsi::disposition::Failure;
use iscsi_scsi::opcodes::opcode_name;
use iscsi_scsi::sense::{AdditionalSense, Sense, SenseKey};
use iscsi_scsi::{Disposition, Status};

/// Why a disk refused a request. Nothing changed.
///
/// ```
/// use iscsi_disk::RequestError;
/// let error = RequestError::OutOfRange { offset: 4096, len: 512, capacity: 4096 };
/// assert_eq!(error.to_string(), "512 bytes at 4096 do not fit a disk of 4096 bytes");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum RequestError {
    /// Every request slot is in use. Take finished requests with `poll_event`, or wait for one.
    NoFreeRequest,
    /// The disk is not started, still starting, or has failed.
    NotReady,
    /// The range ends behind the end of the disk.
    OutOfRange {
        /// First byte.
        offset: u64,
        /// Number of bytes.
        len: u64,
        /// Bytes of the disk.
        capacity: u64,
    },
    /// The disk is write protected.
    ReadOnly,
    /// The operation needs whole blocks: always for compare and compare-and-write, for a write only if blocks are so large that no part of
    /// one can be kept aside.
    Unaligned {
        /// First byte.
        offset: u64,
        /// Number of bytes.
        len: u64,
        /// Bytes of a block.
        block_size: u32,
    },
    /// More than the device compares and writes atomically.
    TooLong {
        /// Number of bytes.
        len: u64,
        /// Most bytes.
        max: u64,
    },
    /// The device does not offer the operation.
    Unsupported,
    /// The disk has fewer slots than the session has task slots.
    TableTooSmall {
        /// Slots of the disk.
        slots: usize,
        /// Task slots of the session.
        tasks: usize,
    },
    /// The handle names no request.
    NoSuchRequest,
    /// The disk is starting or checking the device already.
    Busy,
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::NoFreeRequest => f.write_str("all request slots are in use"),
            Self::NotReady => f.write_str("the disk is not ready"),
            Self::OutOfRange { offset, len, capacity } => {
                write!(f, "{len} bytes at {offset} do not fit a disk of {capacity} bytes")
            }
            Self::ReadOnly => f.write_str("the disk is write protected"),
            Self::Unaligned { offset, len, block_size } => {
                write!(f, "{len} bytes at {offset} are no whole blocks of {block_size} bytes")
            }
            Self::TooLong { len, max } => {
                write!(f, "{len} bytes are more than the {max} of one atomic operation")
            }
            Self::Unsupported => f.write_str("the device does not offer the operation"),
            Self::TableTooSmall { slots, tasks } => {
                write!(
                    f,
                    "a disk with {slots} slots cannot serve a session with {tasks} task slots"
                )
            }
            Self::NoSuchRequest => f.write_str("no such request"),
            Self::Busy => f.write_str("the disk is being started or checked already"),
        }
    }
}

impl core::error::Error for RequestError {}

/// Why a request, or the disk as a whole, failed. Of a failed write any part may have been written.
///
/// ```
/// use iscsi_core::LostReason;
/// use iscsi_disk::DiskError;
/// assert_eq!(
///     DiskError::Lost(LostReason::Eof).to_string(),
///     "no answer from the device: the target closed the connection",
/// );
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum DiskError {
    /// The device ended a command with an error, and trying again did not help or is not allowed.
    Scsi(ScsiError),
    /// The target did not complete a command: its iSCSI response code (RFC 7143 section 11.4.3).
    Response(u8),
    /// A command ended well, but not with all of its data.
    ShortTransfer {
        /// Bytes that the command was to move.
        expected: u32,
        /// Bytes that it moved.
        transferred: u32,
    },
    /// A command ended well, but had more data than it was asked for.
    LongTransfer {
        /// Bytes that the command was to move.
        expected: u32,
        /// Bytes beyond that.
        excess: u32,
    },
    /// The connection or the task was lost; whether the device did what was asked is unknown.
    Lost(LostReason),
    /// The session took no command.
    NotSubmitted(SubmitError),
    /// The device is another one than before, or has other blocks. Start the disk again to accept it.
    DeviceChanged,
    /// The device has become smaller, and the request does not fit any more.
    OutOfRange {
        /// Bytes of the disk now.
        capacity: u64,
    },
    /// The application cancelled the request.
    Cancelled,
    /// There is no logical unit behind the LUN.
    NoLogicalUnit,
    /// The logical unit is no block device; its peripheral device type.
    NotADisk(u8),
    /// An answer of the device to one of the commands that start a disk makes no sense; the operation code.
    BadAnswer(u8),
    /// The disk has fewer slots than the session has task slots.
    TableTooSmall,
}

impl DiskError {
    /// The broad kind of a SCSI error; `None` for others.
    pub const fn failure(&self) -> Option<Failure> {
        match self {
            Self::Scsi(error) => Some(error.failure),
            _ => None,
        }
    }

    pub(crate) fn opcode_refused(&self) -> bool {
        matches!(self, Self::Scsi(e) if e.failure == Failure::IllegalRequest)
    }
}

impl fmt::Display for DiskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Scsi(error) => write!(f, "{error}"),
            Self::Response(code) => write!(f, "the target failed, response {code:#04x}"),
            Self::ShortTransfer { expected, transferred } => {
                write!(f, "only {transferred} of {expected} bytes were transferred")
            }
            Self::LongTransfer { expected, excess } => {
                write!(f, "the device has {excess} bytes more than the {expected} expected")
            }
            Self::Lost(reason) => write!(f, "no answer from the device: {reason}"),
            Self::NotSubmitted(error) => write!(f, "{error}"),
            Self::DeviceChanged => f.write_str("the device is not the same as before"),
            Self::OutOfRange { capacity } => {
                write!(f, "the range does not fit the disk, which now has {capacity} bytes")
            }
            Self::Cancelled => f.write_str("cancelled"),
            Self::NoLogicalUnit => f.write_str("there is no such logical unit"),
            Self::NotADisk(kind) => {
                write!(f, "the logical unit is no disk (device type {kind:#04x})")
            }
            Self::BadAnswer(opcode) => {
                // The group of 9Eh has one command that starts a disk.
                let name = if opcode == 0x9e { "READ CAPACITY(16)" } else { opcode_name(opcode) };
                write!(f, "the answer to {name} makes no sense")
            }
            Self::TableTooSmall => {
                f.write_str("the disk has fewer slots than the session has task slots")
            }
        }
    }
}

impl core::error::Error for DiskError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Lost(reason) => Some(reason),
            Self::NotSubmitted(error) => Some(error),
            _ => None,
        }
    }
}

/// A status other than GOOD, with what the sense data say.
///
/// ```
/// use iscsi_disk::ScsiError;
/// use iscsi_disk::scsi::sense::{AdditionalSense, Sense, SenseKey};
/// use iscsi_disk::scsi::{Status, disposition::Failure};
///
/// let sense = Sense::new(SenseKey::MEDIUM_ERROR, AdditionalSense::UNRECOVERED_READ_ERROR)
///     .with_information(77);
/// let error = ScsiError::new(Status::CHECK_CONDITION, Some(&sense));
/// assert_eq!(error.failure, Failure::Medium);
/// assert_eq!(error.lba, Some(77));
/// assert_eq!(
///     error.to_string(),
///     "CHECK CONDITION: MEDIUM ERROR, 11/00 unrecovered read error, at block 77",
/// );
/// assert_eq!(ScsiError::new(Status::from_bits(0x0e), None).to_string(), "unknown status 0x0e");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ScsiError {
    /// The status.
    pub status: Status,
    /// The broad kind.
    pub failure: Failure,
    /// Sense key; `None` without sense data.
    pub key: Option<SenseKey>,
    /// Additional sense code and qualifier, 00/00 without sense data.
    pub additional: AdditionalSense,
    /// The error belongs to an earlier command that had ended well (SPC deferred error).
    pub deferred: bool,
    /// The INFORMATION field of a medium error: the first block that failed. For a miscompare: the offset of the first byte that
    /// differs.
    pub lba: Option<u64>,
}

impl ScsiError {
    /// The error that a status and its sense data make.
    pub fn new(status: Status, sense: Option<&Sense>) -> Self {
        let failure = match Disposition::of(status, sense) {
            Disposition::Fail(failure) => failure,
            Disposition::RetryAfter(_) => Failure::NotReady,
            _ => Failure::Other,
        };
        Self {
            status,
            failure,
            key: sense.map(|s| s.key),
            additional: sense.map_or(AdditionalSense::NONE, |s| s.additional),
            deferred: sense.is_some_and(|s| s.deferred),
            lba: sense.and_then(|s| s.information),
        }
    }

    /// Whether it is a unit attention that says that the device was powered on or reset, as [`Sense::is_reset`].
    pub(crate) fn is_reset(&self) -> bool {
        !self.deferred && self.key == Some(SenseKey::UNIT_ATTENTION) && self.additional.is_reset()
    }
}

impl fmt::Display for ScsiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.status.label() {
            "unknown" => write!(f, "unknown status {:#04x}", self.status.code())?,
            label => f.write_str(label)?,
        }
        if let Some(key) = self.key {
            let deferred = if self.deferred { "deferred " } else { "" };
            write!(f, ": {deferred}{key}, {}", self.additional)?;
        }
        match (self.lba, self.failure) {
            (Some(lba), Failure::Medium | Failure::Deferred) => write!(f, ", at block {lba}"),
            (Some(at), Failure::Miscompare) => write!(f, ", at byte {at}"),
            _ => Ok(()),
        }
    }
}

impl core::error::Error for ScsiError {}
