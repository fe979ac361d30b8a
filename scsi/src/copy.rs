//! EXTENDED COPY(LID1) and RECEIVE COPY RESULTS (SPC).

use crate::bytes::{Fields, Out, bit, cut, index, len16, need, u32_at};
use crate::cdb::{Cdb, CdbWriter};
use crate::codes::codes;
use crate::error::{BuildError, ParseError};
use crate::fields::Bits;
use crate::inquiry::DeviceType;
use crate::vpd::Designator;

codes! {
    /// Service action of THIRD-PARTY COPY OUT.
    ///
    /// ```
    /// use iscsi_scsi::copy::CopyOutAction;
    /// assert_eq!(CopyOutAction::default(), CopyOutAction::EXTENDED_COPY_LID1);
    /// ```
    pub struct CopyOutAction: 5 bits {
        EXTENDED_COPY_LID1 = 0x00 => "EXTENDED COPY(LID1)",
        EXTENDED_COPY_LID4 = 0x01 => "EXTENDED COPY(LID4)",
        POPULATE_TOKEN = 0x10 => "POPULATE TOKEN",
        WRITE_USING_TOKEN = 0x11 => "WRITE USING TOKEN",
        COPY_OPERATION_ABORT = 0x1c => "COPY OPERATION ABORT",
    }
}

codes! {
    /// Service action of THIRD-PARTY COPY IN.
    ///
    /// ```
    /// use iscsi_scsi::copy::CopyInAction;
    /// assert_eq!(CopyInAction::OPERATING_PARAMETERS.code(), 3);
    /// ```
    pub struct CopyInAction: 5 bits {
        COPY_STATUS_LID1 = 0x00 => "COPY STATUS(LID1)",
        COPY_DATA_LID1 = 0x01 => "COPY DATA(LID1)",
        OPERATING_PARAMETERS = 0x03 => "OPERATING PARAMETERS",
        FAILED_SEGMENT_DETAILS = 0x04 => "FAILED SEGMENT DETAILS(LID1)",
        COPY_STATUS_LID4 = 0x05 => "COPY STATUS(LID4)",
        ROD_TOKEN_INFORMATION = 0x07 => "ROD TOKEN INFORMATION",
        ALL_ROD_TOKENS = 0x08 => "REPORT ALL ROD TOKENS",
    }
}

/// THIRD-PARTY COPY OUT, by default EXTENDED COPY(LID1).
///
/// ```
/// use iscsi_scsi::copy::ExtendedCopy;
/// let cdb = ExtendedCopy { parameter_list_length: 108, ..Default::default() }.cdb();
/// assert_eq!(cdb.as_bytes(), [0x83, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 108, 0, 0]);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExtendedCopy {
    /// Service action.
    pub action: CopyOutAction,
    /// Bytes of the parameter list.
    pub parameter_list_length: u32,
}

impl ExtendedCopy {
    /// Operation code.
    pub const OPCODE: u8 = 0x83;

    /// The CDB.
    pub fn cdb(&self) -> Cdb {
        CdbWriter::new(Self::OPCODE)
            .u8(self.action.code())
            .zeros::<8>()
            .u32(self.parameter_list_length)
            .zeros::<2>()
            .bytes_out(self.parameter_list_length)
    }
}

/// THIRD-PARTY COPY IN, by default COPY STATUS(LID1).
///
/// ```
/// use iscsi_scsi::copy::{CopyInAction, ReceiveCopyResults};
/// let action = CopyInAction::OPERATING_PARAMETERS;
/// let cdb = ReceiveCopyResults { action, list_id: 0, allocation_length: 1024 }.cdb();
/// assert_eq!(cdb.as_bytes(), [0x84, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0]);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReceiveCopyResults {
    /// Service action.
    pub action: CopyInAction,
    /// List identifier of the copy.
    pub list_id: u8,
    /// Bytes the caller has room for.
    pub allocation_length: u32,
}

impl ReceiveCopyResults {
    /// Operation code.
    pub const OPCODE: u8 = 0x84;

    /// The CDB.
    pub fn cdb(&self) -> Cdb {
        CdbWriter::new(Self::OPCODE)
            .u8(self.action.code())
            .u8(self.list_id)
            .zeros::<7>()
            .u32(self.allocation_length)
            .zeros::<2>()
            .bytes_in(self.allocation_length)
    }
}

/// A copy target: a unit named by a designator (descriptor type E4h).
///
/// ```
/// use iscsi_scsi::copy::CopyTarget;
/// use iscsi_scsi::vpd::{Designator, DesignatorType};
/// let id = Designator::binary(DesignatorType::NAA, &[0x50, 0, 0, 0, 0, 0, 0, 1]);
/// let target = CopyTarget { id, block_length: 512, ..Default::default() };
/// assert_eq!(target.id.bytes.len(), 8);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CopyTarget<'a> {
    /// Device type of the unit.
    pub device_type: DeviceType,
    /// RELATIVE INITIATOR PORT IDENTIFIER; 0 for any.
    pub relative_initiator_port: u16,
    /// Name of the unit, at most 20 bytes.
    pub id: Designator<'a>,
    /// PAD: pad the data of inexact segments.
    pub pad: bool,
    /// Block length of the unit in bytes, 24 bits.
    pub block_length: u32,
}

impl CopyTarget<'_> {
    /// Bytes of the descriptor.
    pub const SIZE: usize = 32;

    fn write(&self, out: &mut Out<'_>) -> Result<(), BuildError> {
        let len = self.id.bytes.len();
        if len > 20 {
            return Err(BuildError::TooLong { len, max: 20 });
        }
        if self.block_length > 0xff_ffff {
            return Err(BuildError::TooLong { len: index(self.block_length), max: 0xff_ffff });
        }
        out.u8(0xe4).u8(self.device_type.code()).u16(self.relative_initiator_port);
        self.id.emit(out);
        out.zeros(20 - len).u8(bit(self.pad, 0x04)).u24(self.block_length);
        Ok(())
    }
}

/// A copy of blocks from one target to another (descriptor type 02h).
///
/// ```
/// use iscsi_scsi::copy::CopySegment;
/// let segment = CopySegment { blocks: 8, source_lba: 16, ..Default::default() };
/// assert_eq!((segment.source, segment.destination), (0, 0));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CopySegment {
    /// Index of the source in the target list.
    pub source: u16,
    /// Index of the destination in the target list.
    pub destination: u16,
    /// Number of blocks, of the destination if `dc`.
    pub blocks: u16,
    /// First block at the source.
    pub source_lba: u64,
    /// First block at the destination.
    pub destination_lba: u64,
    /// DC: count blocks of the destination.
    pub dc: bool,
    /// CAT: keep residual data for the next segment.
    pub cat: bool,
}

impl CopySegment {
    /// Bytes of the descriptor.
    pub const SIZE: usize = 28;

    fn write(&self, out: &mut Out<'_>) {
        out.u8(0x02)
            .u8(bit(self.dc, 0x02) | bit(self.cat, 0x01))
            .u16(0x18)
            .u16(self.source)
            .u16(self.destination)
            .zeros(2)
            .u16(self.blocks)
            .u64(self.source_lba)
            .u64(self.destination_lba);
    }
}

/// The parameter list of EXTENDED COPY(LID1).
///
/// ```
/// use iscsi_scsi::Bits;
/// use iscsi_scsi::copy::{CopyList, CopySegment, CopyTarget};
/// use iscsi_scsi::vpd::{Designator, DesignatorType};
///
/// let id = Designator::binary(DesignatorType::NAA, &[0x50, 0, 0, 0, 0, 0, 0, 1]);
/// let unit = CopyTarget { id, block_length: 512, ..Default::default() };
/// let segment = CopySegment { blocks: 8, destination_lba: 100, ..Default::default() };
/// let mut list = [0xee; 76];
/// let len = CopyList { list_id: 1, priority: Bits::from_bits(1), ..Default::default() }
///     .build(&[unit], &[segment], &mut list)?;
/// assert_eq!(len, 16 + 32 + 28);
/// assert_eq!(list[..16], [1, 0x01, 0, 32, 0, 0, 0, 0, 0, 0, 0, 28, 0, 0, 0, 0]);
/// assert_eq!(list[16..28], [0xe4, 0, 0, 0, 0x01, 0x03, 0, 8, 0x50, 0, 0, 0]);
/// assert_eq!(list[44..48], [0, 0, 2, 0]);
/// assert_eq!(list[48..60], [0x02, 0, 0, 0x18, 0, 0, 0, 0, 0, 0, 0, 8]);
/// assert_eq!(list[68..], [0, 0, 0, 0, 0, 0, 0, 100]);
/// # Ok::<(), iscsi_scsi::BuildError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CopyList<'a> {
    /// LIST IDENTIFIER.
    pub list_id: u8,
    /// STR: sequential striped.
    pub str: bool,
    /// LIST ID USAGE: 3 does not use the identifier.
    pub list_id_usage: Bits<2>,
    /// PRIORITY, 0 is the highest.
    pub priority: Bits<3>,
    /// Inline data.
    pub inline: &'a [u8],
}

impl CopyList<'_> {
    /// Writes the list and returns its length.
    ///
    /// # Errors
    /// [`BuildError::BufferTooSmall`]; [`BuildError::TooLong`] for a designator above 20 bytes,
    /// more than 2047 targets, or another value that its field cannot hold.
    pub fn build(
        &self,
        targets: &[CopyTarget<'_>],
        segments: &[CopySegment],
        out: &mut [u8],
    ) -> Result<usize, BuildError> {
        let len32 = |len: usize| {
            u32::try_from(len).map_err(|_| BuildError::TooLong { len, max: index(u32::MAX) })
        };
        let mut out = Out::new(out);
        out.u8(self.list_id)
            .u8(bit(self.str, 0x20) | self.list_id_usage.get() << 3 | self.priority.get())
            .u16(len16(targets.len().saturating_mul(CopyTarget::SIZE))?)
            .zeros(4)
            .u32(len32(segments.len().saturating_mul(CopySegment::SIZE))?)
            .u32(len32(self.inline.len())?);
        for target in targets {
            target.write(&mut out)?;
        }
        for segment in segments {
            segment.write(&mut out);
        }
        out.bytes(self.inline).complete()
    }
}

/// Data of OPERATING PARAMETERS: what the copy manager can do.
///
/// ```
/// use iscsi_scsi::copy::CopyOperatingParameters;
/// let mut data = [0; 46];
/// data[3] = 42;
/// data[9] = 2;
/// data[15] = 200;
/// data[43] = 2;
/// data[44..].copy_from_slice(&[0x02, 0xe4]);
/// let parameters = CopyOperatingParameters::parse(&data)?;
/// assert_eq!(parameters.max_targets, 2);
/// assert_eq!(parameters.max_list_length, 200);
/// assert!(parameters.supports(0xe4));
/// # Ok::<(), iscsi_scsi::ParseError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CopyOperatingParameters<'a> {
    /// SNLID: list identifier usage 3 is supported.
    pub snlid: bool,
    /// MAXIMUM TARGET DESCRIPTOR COUNT.
    pub max_targets: u16,
    /// MAXIMUM SEGMENT DESCRIPTOR COUNT.
    pub max_segments: u16,
    /// MAXIMUM DESCRIPTOR LIST LENGTH in bytes.
    pub max_list_length: u32,
    /// MAXIMUM SEGMENT LENGTH in bytes.
    pub max_segment_length: u32,
    /// MAXIMUM INLINE DATA LENGTH in bytes.
    pub max_inline_length: u32,
    /// HELD DATA LIMIT in bytes.
    pub held_data_limit: u32,
    /// TOTAL CONCURRENT COPIES.
    pub total_concurrent: u16,
    /// MAXIMUM CONCURRENT COPIES.
    pub max_concurrent: u8,
    /// DATA SEGMENT GRANULARITY, log2 of bytes.
    pub segment_granularity: u8,
    /// INLINE DATA GRANULARITY, log2 of bytes.
    pub inline_granularity: u8,
    /// HELD DATA GRANULARITY, log2 of bytes.
    pub held_granularity: u8,
    /// The descriptor type codes that are supported.
    pub descriptor_types: &'a [u8],
}

impl<'a> CopyOperatingParameters<'a> {
    /// Bytes of the whole data, which may be more than were returned. `None` below 4 bytes.
    pub fn full_size(data: &[u8]) -> Option<usize> {
        u32_at(data, 0).map(|length| index(length).saturating_add(4))
    }

    /// Parses the data.
    ///
    /// # Errors
    /// [`ParseError::Short`] below 44 bytes.
    pub fn parse(data: &'a [u8]) -> Result<Self, ParseError> {
        need(data, 44)?;
        let data = cut(data, Self::full_size(data).unwrap_or(0));
        let f = Fields(data);
        Ok(Self {
            snlid: f.flag(4, 0x01),
            max_targets: f.u16(8),
            max_segments: f.u16(10),
            max_list_length: f.u32(12),
            max_segment_length: f.u32(16),
            max_inline_length: f.u32(20),
            held_data_limit: f.u32(24),
            total_concurrent: f.u16(34),
            max_concurrent: f.u8(36),
            segment_granularity: f.u8(37),
            inline_granularity: f.u8(38),
            held_granularity: f.u8(39),
            descriptor_types: f.slice(44, f.u8(43).into()),
        })
    }

    /// Whether a descriptor type is supported.
    pub fn supports(&self, descriptor_type: u8) -> bool {
        self.descriptor_types.contains(&descriptor_type)
    }
}

codes! {
    /// COPY MANAGER STATUS.
    ///
    /// ```
    /// use iscsi_scsi::copy::CopyState;
    /// assert_eq!(CopyState::DONE.code(), 1);
    /// ```
    pub struct CopyState: 7 bits {
        IN_PROGRESS = 0x00 => "in progress",
        DONE = 0x01 => "completed without errors",
        FAILED = 0x02 => "completed with errors",
    }
}

/// Data of COPY STATUS(LID1).
///
/// ```
/// use iscsi_scsi::copy::{CopyState, CopyStatus};
/// let status = CopyStatus::parse(&[0, 0, 0, 8, 0x81, 0, 2, 3, 0, 0, 0, 9])?;
/// assert_eq!(status.state, CopyState::DONE);
/// assert!(status.held_data_discarded);
/// assert_eq!((status.segments, status.bytes()), (2, Some(9 << 30)));
/// # Ok::<(), iscsi_scsi::ParseError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CopyStatus {
    /// HDD: held data was discarded.
    pub held_data_discarded: bool,
    /// State of the copy.
    pub state: CopyState,
    /// SEGMENTS PROCESSED.
    pub segments: u16,
    /// TRANSFER COUNT UNITS: 0 bytes, 1 KiB, 2 MiB, 3 GiB, 4 TiB, 5 PiB, 6 EiB.
    pub units: u8,
    /// TRANSFER COUNT in these units.
    pub count: u32,
}

impl CopyStatus {
    /// Parses the data.
    ///
    /// # Errors
    /// [`ParseError::Short`] below 12 bytes.
    pub fn parse(data: &[u8]) -> Result<Self, ParseError> {
        need(data, 12)?;
        let f = Fields(data);
        Ok(Self {
            held_data_discarded: f.flag(4, 0x80),
            state: CopyState::from_bits(f.u8(4)),
            segments: f.u16(5),
            units: f.u8(7),
            count: f.u32(8),
        })
    }

    /// Bytes transferred, `None` for unknown units or on overflow.
    pub fn bytes(&self) -> Option<u64> {
        let unit = match self.units {
            units @ 0..=6 => 1_u64 << (10 * units),
            _ => return None,
        };
        unit.checked_mul(self.count.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vpd::DesignatorType;

    #[test]
    fn limits() {
        let long = CopyTarget {
            id: Designator::binary(DesignatorType::NAA, &[0; 21]),
            ..Default::default()
        };
        assert_eq!(
            CopyList::default().build(&[long], &[], &mut [0; 64]),
            Err(BuildError::TooLong { len: 21, max: 20 })
        );
        assert_eq!(
            CopyList::default().build(&[CopyTarget::default(); 2048], &[], &mut []),
            Err(BuildError::TooLong { len: 65536, max: 65535 })
        );
        assert_eq!(
            CopyList { inline: &[1, 2], ..Default::default() }.build(&[], &[], &mut [0; 17]),
            Err(BuildError::BufferTooSmall { needed: 18, got: 17 })
        );
    }

    #[test]
    fn descriptor_count_beyond_the_data() {
        let mut data = [0; 45];
        data[3] = 41;
        data[43] = 255;
        let parameters = CopyOperatingParameters::parse(&data).unwrap();
        assert_eq!(parameters.descriptor_types, [0]);
        let status = CopyStatus { units: 6, count: u32::MAX, ..Default::default() };
        assert_eq!(status.bytes(), None);
    }
}
