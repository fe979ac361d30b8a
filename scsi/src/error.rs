//! Errors of the four operations: build a CDB, parse a CDB, parse data, build a parameter list.

use core::fmt;

use crate::sense::{AdditionalSense, Sense, SenseKey, SenseKeySpecific};

/// Why a CDB cannot carry the values asked for.
///
/// ```
/// use iscsi_scsi::{CdbError, block::Read6};
/// let far = Read6 { lba: 1 << 21, blocks: 1 };
/// assert_eq!(far.cdb(), Err(CdbError::LbaTooLarge { lba: 1 << 21, max: 0x1f_ffff }));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CdbError {
    /// The logical block address does not fit the command's field.
    LbaTooLarge {
        /// The address asked for.
        lba: u64,
        /// The largest address the field holds.
        max: u64,
    },
    /// The number of blocks is zero or larger than the command's field holds, in a command that
    /// gives zero another meaning.
    BlockCount {
        /// The count asked for.
        blocks: u32,
        /// The largest count the field holds.
        max: u32,
    },
    /// A value does not fit its field.
    ValueTooLarge {
        /// The value asked for.
        value: u32,
        /// The largest value the field holds.
        max: u32,
    },
    /// A CDB given as bytes is empty or longer than [`Cdb::MAX`](crate::Cdb::MAX).
    RawLength {
        /// The length given.
        got: usize,
    },
}

impl fmt::Display for CdbError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::LbaTooLarge { lba, max } => {
                write!(f, "logical block address {lba} is larger than {max}")
            }
            Self::BlockCount { blocks, max } => {
                write!(f, "block count {blocks} is not between 1 and {max}")
            }
            Self::ValueTooLarge { value, max } => write!(f, "value {value} is larger than {max}"),
            Self::RawLength { got } => write!(f, "a CDB cannot have {got} bytes"),
        }
    }
}

impl core::error::Error for CdbError {}

/// Why a received CDB is not a command this crate can name.
///
/// ```
/// use iscsi_scsi::{Command, CommandError};
/// let error = Command::parse(&[0xc0, 0, 0, 0, 0, 0]).unwrap_err();
/// assert_eq!(error, CommandError::Opcode { opcode: 0xc0 });
/// assert_eq!(error.sense().additional.text(), Some("invalid command operation code"));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CommandError {
    /// Fewer bytes than the operation code asks for.
    Short {
        /// The CDB length of this operation code.
        needed: usize,
        /// The bytes received.
        got: usize,
    },
    /// An operation code without a parser.
    Opcode {
        /// Byte 0 of the CDB.
        opcode: u8,
    },
    /// A known operation code with a service action without a parser.
    ServiceAction {
        /// Byte 0 of the CDB.
        opcode: u8,
        /// The service action.
        service_action: u16,
    },
    /// A field has a value that the command does not allow.
    Field {
        /// Index of the byte in the CDB.
        byte: u16,
        /// Most significant bit of the field in that byte.
        bit: u8,
    },
}

impl CommandError {
    /// The sense data a device server answers with: INVALID COMMAND OPERATION CODE or INVALID FIELD
    /// IN CDB with a field pointer.
    pub fn sense(&self) -> Sense {
        let field = |byte, bit| {
            Sense::new(SenseKey::ILLEGAL_REQUEST, AdditionalSense::INVALID_FIELD_IN_CDB)
                .with_sense_key_specific(SenseKeySpecific::FieldPointer {
                    in_cdb: true,
                    bit: Some(bit),
                    byte,
                })
        };
        match *self {
            Self::Short { .. } | Self::Opcode { .. } => {
                Sense::new(SenseKey::ILLEGAL_REQUEST, AdditionalSense::INVALID_OPERATION_CODE)
            }
            Self::ServiceAction { opcode: 0x7f, .. } => field(8, 7),
            Self::ServiceAction { .. } => field(1, 4),
            Self::Field { byte, bit } => field(byte, bit),
        }
    }
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Short { needed, got } => write!(f, "CDB of {got} bytes, needs {needed}"),
            Self::Opcode { opcode } => write!(f, "unknown operation code {opcode:#04x}"),
            Self::ServiceAction { opcode, service_action } => {
                write!(f, "unknown service action {opcode:#04x}/{service_action:#04x}")
            }
            Self::Field { byte, bit } => write!(f, "invalid field at byte {byte} bit {bit}"),
        }
    }
}

impl core::error::Error for CommandError {}

/// Why received data is not what was asked for.
///
/// ```
/// use iscsi_scsi::{ParseError, capacity::ReadCapacity10Data};
/// let error = ReadCapacity10Data::parse(&[0; 5]);
/// assert_eq!(error, Err(ParseError::Short { needed: 8, got: 5 }));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ParseError {
    /// The data ends before the part without which nothing can be said.
    Short {
        /// Bytes needed.
        needed: usize,
        /// Bytes at hand.
        got: usize,
    },
    /// Another VPD, mode or log page than the one asked for.
    PageCode {
        /// The page wanted.
        expected: u8,
        /// The page found.
        got: u8,
    },
    /// A format code (response code of sense data, format of a TransportID) that is not known.
    Format {
        /// The code found.
        got: u8,
    },
    /// A length inside the data contradicts the format or the length of the whole.
    Length {
        /// The length the format allows.
        expected: usize,
        /// The length found.
        got: usize,
    },
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Short { needed, got } => write!(f, "data of {got} bytes, needs {needed}"),
            Self::PageCode { expected, got } => {
                write!(f, "page {got:#04x} instead of {expected:#04x}")
            }
            Self::Format { got } => write!(f, "unknown format {got:#04x}"),
            Self::Length { expected, got } => write!(f, "length {got} instead of {expected}"),
        }
    }
}

impl core::error::Error for ParseError {}

/// Why a parameter list could not be built.
///
/// ```
/// use iscsi_scsi::{BuildError, provisioning::{UnmapList, UnmapDescriptor}};
/// let ranges = [UnmapDescriptor { lba: 0, blocks: 8 }];
/// let error = UnmapList::build(&ranges, &mut [0; 20]);
/// assert_eq!(error, Err(BuildError::BufferTooSmall { needed: 24, got: 20 }));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BuildError {
    /// The buffer cannot hold the list.
    BufferTooSmall {
        /// Bytes needed.
        needed: usize,
        /// Bytes given.
        got: usize,
    },
    /// A part is longer than its length field can say.
    TooLong {
        /// Length of the part.
        len: usize,
        /// The largest length.
        max: usize,
    },
    /// A part is shorter than the format requires.
    TooShort {
        /// Length of the part.
        len: usize,
        /// The smallest length.
        min: usize,
    },
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::BufferTooSmall { needed, got } => {
                write!(f, "the list needs {needed} bytes, the buffer has {got}")
            }
            Self::TooLong { len, max } => write!(f, "length {len} is larger than {max}"),
            Self::TooShort { len, min } => write!(f, "length {len} is smaller than {min}"),
        }
    }
}

impl core::error::Error for BuildError {}
