//! Additional Header Segments: what a SCSI Command has between its header and its data (RFC 7143 section 11.2.2).

use core::fmt;

use super::bhs::{MAX_TOTAL_AHS_LENGTH, padding};
use super::error::FormatError;
use super::scsi_command::{AhsLength, ScsiCommand};

/// AHSType of an Extended CDB.
const EXTENDED_CDB: u8 = 1;
/// AHSType of a Bidirectional Read Expected Data Transfer Length.
const BIDI_READ_LENGTH: u8 = 2;
/// The bits of byte 2 that hold AHSType; the others are reserved.
const TYPE_MASK: u8 = 0x3f;
/// The bytes of a CDB that stand in the header.
const CDB_IN_HEADER: usize = 16;

/// The Additional Header Segments of one SCSI Command, by meaning (RFC 7143 sections 11.2.2.3 and 11.2.2.4).
///
/// ```
/// use iscsi_core::wire::{AhsLength, CommandAhs};
///
/// let mut cdb = [0; 32];
/// cdb[0] = 0x7f;
/// cdb[31] = 0xee;
/// let ahs = CommandAhs::new(&cdb, None);
/// let mut image = [0; 20];
/// assert_eq!(ahs.emit(&mut image), Ok(AhsLength(5)));
/// assert_eq!(image[..4], [0, 17, 1, 0]); // AHSLength, AHSType, reserved
/// assert_eq!(image[19], 0xee);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CommandAhs<'a> {
    /// The CDB from byte 16 on, empty for a CDB of up to 16 bytes.
    pub cdb_rest: &'a [u8],
    /// Bytes expected from the target, for a bidirectional command.
    pub bidi_read_expected_data_transfer_length: Option<u32>,
}

impl<'a> CommandAhs<'a> {
    /// What `cdb` needs beyond the 16 bytes in the header, and the read length of a bidirectional command.
    pub const fn new(cdb: &'a [u8], bidi_read_expected_data_transfer_length: Option<u32>) -> Self {
        let cdb_rest = match cdb.split_at_checked(CDB_IN_HEADER) {
            Some((_, rest)) => rest,
            None => &[],
        };
        Self { cdb_rest, bidi_read_expected_data_transfer_length }
    }

    /// Writes the segments with their padding to the start of `out`.
    ///
    /// # Errors
    ///
    /// `out`, or TotalAHSLength, is too small; `out` may have been written to.
    pub fn emit(&self, out: &mut [u8]) -> Result<AhsLength, AhsFull> {
        let mut writer = AhsWriter::new(out);
        if !self.cdb_rest.is_empty() {
            writer.extended_cdb(self.cdb_rest)?;
        }
        if let Some(length) = self.bidi_read_expected_data_transfer_length {
            writer.bidi_read_length(length)?;
        }
        Ok(writer.finish())
    }

    /// Reads the segments that follow the header of `command`; `segments` may be longer than they are.
    ///
    /// # Errors
    ///
    /// `segments` is shorter than TotalAHSLength, or a segment reaches beyond that, has a reserved type or a length that does not fit its type, or comes twice; or the
    /// command is bidirectional and its read length is missing.
    pub fn parse(command: &ScsiCommand, segments: &'a [u8]) -> Result<Self, FormatError> {
        let total = command.total_ahs_length.bytes();
        let Some(segments) = segments.get(..total) else {
            return Err(FormatError::AhsBeyondTotal {
                segment: total as u32,
                left: u32::try_from(segments.len()).unwrap_or(u32::MAX),
            });
        };
        let mut found = Self::default();
        for segment in AhsIter::new(segments) {
            match segment? {
                Ahs::ExtendedCdb(_) if !found.cdb_rest.is_empty() => {
                    return Err(FormatError::RepeatedAhs(EXTENDED_CDB));
                }
                Ahs::ExtendedCdb(rest) => found.cdb_rest = rest,
                Ahs::BidiReadLength(_)
                    if found.bidi_read_expected_data_transfer_length.is_some() =>
                {
                    return Err(FormatError::RepeatedAhs(BIDI_READ_LENGTH));
                }
                Ahs::BidiReadLength(length) => {
                    found.bidi_read_expected_data_transfer_length = Some(length);
                }
                Ahs::Unknown { ahs_type, .. } => {
                    return Err(FormatError::ReservedAhsType(ahs_type));
                }
            }
        }
        if command.read && command.write && found.bidi_read_expected_data_transfer_length.is_none()
        {
            return Err(FormatError::MissingBidiReadLength);
        }
        Ok(found)
    }

    /// Puts a whole CDB together: the 16 bytes of the header, then the rest. `None` if `out` is too small.
    pub fn join_cdb<'o>(&self, command: &ScsiCommand, out: &'o mut [u8]) -> Option<&'o [u8]> {
        let (head, tail) = out.split_at_mut_checked(CDB_IN_HEADER)?;
        head.copy_from_slice(&command.cdb);
        tail.get_mut(..self.cdb_rest.len())?.copy_from_slice(self.cdb_rest);
        out.get(..CDB_IN_HEADER + self.cdb_rest.len())
    }
}

/// One Additional Header Segment (RFC 7143 section 11.2.2.1).
///
/// ```
/// use iscsi_core::wire::{Ahs, AhsIter};
/// let segments = [0, 5, 2, 0, 0, 0, 2, 0];
/// assert_eq!(AhsIter::new(&segments).next(), Some(Ok(Ahs::BidiReadLength(512))));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ahs<'a> {
    /// Type 1: the CDB from byte 16 on, at least one byte.
    ExtendedCdb(&'a [u8]),
    /// Type 2: bytes expected from the target by a bidirectional command.
    BidiReadLength(u32),
    /// A reserved type.
    Unknown {
        /// AHSType.
        ahs_type: u8,
        /// The AHSLength bytes after AHSType.
        content: &'a [u8],
    },
}

/// Walks over Additional Header Segments. After an error it ends.
///
/// ```
/// use iscsi_core::wire::{AhsIter, FormatError};
/// let mut segments = AhsIter::new(&[0xff, 0xff, 1, 0]); // AHSLength 65535 in 4 bytes
/// let error = FormatError::AhsBeyondTotal { segment: 65540, left: 4 };
/// assert_eq!(segments.next(), Some(Err(error)));
/// assert_eq!(segments.next(), None);
/// ```
#[derive(Debug, Clone)]
pub struct AhsIter<'a> {
    rest: &'a [u8],
}

impl<'a> AhsIter<'a> {
    /// Over all segments of one PDU.
    pub const fn new(segments: &'a [u8]) -> Self {
        Self { rest: segments }
    }

    /// Cuts the next segment off `rest`; `None` if it reaches beyond the end.
    fn split(&mut self) -> Result<(u8, &'a [u8]), FormatError> {
        let rest = self.rest;
        let left = u32::try_from(rest.len()).unwrap_or(u32::MAX);
        let Some(([high, low, ahs_type], after)) = rest.split_first_chunk() else {
            return Err(FormatError::AhsBeyondTotal { segment: 4, left });
        };
        let length = u16::from_be_bytes([*high, *low]);
        let unpadded = 3 + usize::from(length);
        let padded = unpadded + padding(unpadded);
        let beyond = FormatError::AhsBeyondTotal { segment: padded as u32, left };
        let content = after.get(..usize::from(length)).ok_or(beyond)?;
        self.rest = rest.get(padded..).ok_or(beyond)?;
        Ok((ahs_type & TYPE_MASK, content))
    }

    fn decode(ahs_type: u8, content: &'a [u8]) -> Result<Ahs<'a>, FormatError> {
        let wrong = FormatError::AhsLength { ahs_type, length: content.len() as u16 };
        match (ahs_type, content) {
            // The first byte of the content is reserved in both types.
            (EXTENDED_CDB, [_, rest @ ..]) if !rest.is_empty() => Ok(Ahs::ExtendedCdb(rest)),
            (BIDI_READ_LENGTH, [_, a, b, c, d]) => {
                Ok(Ahs::BidiReadLength(u32::from_be_bytes([*a, *b, *c, *d])))
            }
            (EXTENDED_CDB | BIDI_READ_LENGTH, _) => Err(wrong),
            _ => Ok(Ahs::Unknown { ahs_type, content }),
        }
    }
}

impl<'a> Iterator for AhsIter<'a> {
    type Item = Result<Ahs<'a>, FormatError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let segment = self.split().and_then(|(ahs_type, content)| Self::decode(ahs_type, content));
        if segment.is_err() {
            self.rest = &[];
        }
        Some(segment)
    }
}

impl core::iter::FusedIterator for AhsIter<'_> {}

/// Writes Additional Header Segments one after the other, each padded to a multiple of 4.
///
/// ```
/// use iscsi_core::wire::{AhsFull, AhsLength, AhsWriter};
/// let mut out = [0xaa; 12];
/// let mut writer = AhsWriter::new(&mut out);
/// writer.bidi_read_length(512)?;
/// assert_eq!(writer.bidi_read_length(512), Err(AhsFull)); // 8 bytes each
/// assert_eq!(writer.finish(), AhsLength(2));
/// assert_eq!(out, [0, 5, 2, 0, 0, 0, 2, 0, 0xaa, 0xaa, 0xaa, 0xaa]);
/// # Ok::<(), AhsFull>(())
/// ```
#[derive(Debug)]
pub struct AhsWriter<'a> {
    out: &'a mut [u8],
    len: usize,
}

/// There is no room for another Additional Header Segment, in the buffer or in the 1020 bytes that TotalAHSLength can name.
///
/// ```
/// use iscsi_core::wire::{AhsFull, CommandAhs};
/// assert_eq!(CommandAhs::new(&[0; 32], None).emit(&mut [0; 16]), Err(AhsFull));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AhsFull;

impl fmt::Display for AhsFull {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no room for another AHS")
    }
}

impl core::error::Error for AhsFull {}

impl<'a> AhsWriter<'a> {
    /// Starts at the first byte of `out`.
    pub const fn new(out: &'a mut [u8]) -> Self {
        Self { out, len: 0 }
    }

    /// Adds the CDB from byte 16 on.
    ///
    /// # Errors
    ///
    /// No room; nothing was written.
    pub fn extended_cdb(&mut self, rest: &[u8]) -> Result<(), AhsFull> {
        self.segment(EXTENDED_CDB, rest)
    }

    /// Adds the read length of a bidirectional command, in bytes.
    ///
    /// # Errors
    ///
    /// No room; nothing was written.
    pub fn bidi_read_length(&mut self, length: u32) -> Result<(), AhsFull> {
        self.segment(BIDI_READ_LENGTH, &length.to_be_bytes())
    }

    /// What has been written so far.
    pub const fn finish(self) -> AhsLength {
        // `len` is a multiple of 4 and at most 1020.
        AhsLength((self.len / 4) as u8)
    }

    /// Adds a segment whose content is a reserved byte and `bytes`.
    fn segment(&mut self, ahs_type: u8, bytes: &[u8]) -> Result<(), AhsFull> {
        let unpadded = bytes.len().checked_add(4).ok_or(AhsFull)?;
        let end = self.len.checked_add(unpadded + padding(unpadded)).ok_or(AhsFull)?;
        if end > MAX_TOTAL_AHS_LENGTH {
            return Err(AhsFull);
        }
        let room = self.out.get_mut(self.len..end).ok_or(AhsFull)?;
        let (head, body) = room.split_first_chunk_mut().ok_or(AhsFull)?;
        let [high, low] = ((bytes.len() + 1) as u16).to_be_bytes();
        *head = [high, low, ahs_type, 0];
        let (content, pad) = body.split_at_mut_checked(bytes.len()).ok_or(AhsFull)?;
        content.copy_from_slice(bytes);
        pad.fill(0);
        self.len = end;
        Ok(())
    }
}
