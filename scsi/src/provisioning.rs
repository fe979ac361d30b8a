//! UNMAP, WRITE SAME and GET LBA STATUS: commands, parameter list and returned data (SBC).

use core::num::NonZero;

use crate::bytes::{Fields, Out, bit, clip32, cut, index, len16, need};
use crate::cdb::{Cdb, CdbWriter, Direction};
use crate::codes::codes;
use crate::error::{BuildError, CommandError, ParseError};
use crate::fields::{GroupNumber, Protect, layout10, layout16};

/// UNMAP. The blocks are named by an [`UnmapList`] in the data-out.
///
/// ```
/// use iscsi_scsi::provisioning::Unmap;
/// let cdb = Unmap { parameter_list_length: 24, ..Default::default() }.cdb();
/// assert_eq!(cdb.as_bytes(), [0x42, 0, 0, 0, 0, 0, 0, 0, 24, 0]);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unmap {
    /// Bytes of the parameter list.
    pub parameter_list_length: u16,
    /// Anchor the blocks instead of deallocating them.
    pub anchor: bool,
    /// Group number.
    pub group: GroupNumber,
}

impl Unmap {
    /// Operation code.
    pub const OPCODE: u8 = 0x42;

    /// The CDB.
    pub fn cdb(&self) -> Cdb {
        let length = self.parameter_list_length;
        layout10::write(Self::OPCODE, bit(self.anchor, 0x01), 0, length, self.group)
            .bytes_out(length.into())
    }

    pub(crate) fn parse(f: Fields<'_>) -> Result<Self, CommandError> {
        let (_, parameter_list_length, group) = layout10::read(f);
        Ok(Self { parameter_list_length, anchor: f.flag(1, 0x01), group })
    }
}

/// A range of blocks in an UNMAP parameter list.
///
/// ```
/// use iscsi_scsi::provisioning::UnmapDescriptor;
/// let range = UnmapDescriptor { lba: 8, blocks: 16 };
/// assert_eq!(range.end(), Some(24));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UnmapDescriptor {
    /// First logical block.
    pub lba: u64,
    /// Number of blocks; 0 names none.
    pub blocks: u32,
}

impl UnmapDescriptor {
    /// The first block after the range, `None` on overflow.
    pub fn end(&self) -> Option<u64> {
        self.lba.checked_add(self.blocks.into())
    }
}

/// The parameter list of UNMAP.
///
/// ```
/// use iscsi_scsi::provisioning::{UnmapDescriptor, UnmapList};
/// let ranges = [UnmapDescriptor { lba: 8, blocks: 16 }];
/// let mut list = [0xee; 24];
/// assert_eq!(UnmapList::build(&ranges, &mut list)?, 24);
/// assert_eq!(list[..8], [0, 22, 0, 16, 0, 0, 0, 0]);
/// assert_eq!(list[8..], [0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 16, 0, 0, 0, 0]);
/// assert!(UnmapList::parse(&list).unwrap().ranges().eq(ranges));
/// # Ok::<(), iscsi_scsi::BuildError>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct UnmapList<'a> {
    descriptors: &'a [u8],
}

impl<'a> UnmapList<'a> {
    /// Bytes of a list with `ranges` ranges.
    pub const fn size(ranges: usize) -> usize {
        ranges.saturating_mul(16).saturating_add(8)
    }

    /// Writes a list and returns its length, for [`Unmap::parameter_list_length`].
    ///
    /// # Errors
    /// [`BuildError::TooLong`] above 4095 ranges, [`BuildError::BufferTooSmall`].
    pub fn build(ranges: &[UnmapDescriptor], out: &mut [u8]) -> Result<usize, BuildError> {
        let total = len16(Self::size(ranges.len()))?;
        let mut out = Out::new(out);
        out.u16(total - 2).u16(total - 8).zeros(4);
        for range in ranges {
            out.u64(range.lba).u32(range.blocks).zeros(4);
        }
        out.complete()
    }

    /// Parses a received list. An empty parameter list is a list without ranges.
    ///
    /// # Errors
    /// [`ParseError::Short`] if the header or the descriptors it announces are cut off: the
    /// device server answers PARAMETER LIST LENGTH ERROR.
    pub fn parse(data: &'a [u8]) -> Result<Self, ParseError> {
        if data.is_empty() {
            return Ok(Self { descriptors: &[] });
        }
        need(data, 8)?;
        // A length that is no multiple of 16 ends in the middle of a descriptor, which is ignored.
        let length = usize::from(Fields(data).u16(2)) & !15;
        need(data, length.saturating_add(8))?;
        Ok(Self { descriptors: Fields(data).slice(8, length) })
    }

    /// The ranges in order.
    pub fn ranges(&self) -> impl ExactSizeIterator<Item = UnmapDescriptor> + Clone + use<'a> {
        let (descriptors, _) = self.descriptors.as_chunks::<16>();
        descriptors.iter().map(|descriptor| {
            let f = Fields(descriptor);
            UnmapDescriptor { lba: f.u64(0), blocks: f.u32(8) }
        })
    }
}

/// What WRITE SAME sends: one block, or nothing.
pub(crate) fn write_same_blocks(ndob: bool) -> (Direction, u64) {
    if ndob { (Direction::None, 0) } else { (Direction::Out, 1) }
}

/// WRITE SAME(10).
///
/// ```
/// use core::num::NonZero;
/// use iscsi_scsi::provisioning::WriteSame10;
/// let cdb = WriteSame10 {
///     lba: 1, blocks: NonZero::new(2), unmap: true, ..Default::default()
/// }.cdb();
/// assert_eq!(cdb.as_bytes(), [0x41, 0x08, 0, 0, 0, 1, 0, 0, 2, 0]);
/// assert_eq!(cdb.expected_bytes(512), 512);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WriteSame10 {
    /// First logical block.
    pub lba: u32,
    /// Number of blocks; `None` means to the end of the medium, which a device with WSNZ refuses.
    pub blocks: Option<NonZero<u16>>,
    /// Anchor the blocks if they are unmapped.
    pub anchor: bool,
    /// Unmap instead of write where that reads back the same.
    pub unmap: bool,
    /// Use of protection information.
    pub protect: Protect,
    /// Group number.
    pub group: GroupNumber,
}

impl WriteSame10 {
    /// Operation code.
    pub const OPCODE: u8 = 0x41;

    /// The CDB.
    pub fn cdb(&self) -> Cdb {
        let flags = self.protect.code() << 5 | bit(self.anchor, 0x10) | bit(self.unmap, 0x08);
        let count = self.blocks.map_or(0, NonZero::get);
        layout10::write(Self::OPCODE, flags, self.lba, count, self.group).blocks(Direction::Out, 1)
    }

    pub(crate) fn parse(f: Fields<'_>) -> Result<Self, CommandError> {
        let (lba, count, group) = layout10::read(f);
        Ok(Self {
            lba,
            blocks: NonZero::new(count),
            anchor: f.flag(1, 0x10),
            unmap: f.flag(1, 0x08),
            protect: Protect::from_bits(f.u8(1) >> 5),
            group,
        })
    }
}

/// WRITE SAME(16).
///
/// ```
/// use core::num::NonZero;
/// use iscsi_scsi::provisioning::WriteSame16;
/// let cdb = WriteSame16 {
///     lba: 1, blocks: NonZero::new(2), ndob: true, ..Default::default()
/// }.cdb();
/// assert_eq!(cdb.as_bytes(), [0x93, 0x01, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0]);
/// assert_eq!(cdb.expected_bytes(512), 0);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WriteSame16 {
    /// First logical block.
    pub lba: u64,
    /// Number of blocks; `None` means to the end of the medium, which a device with WSNZ refuses.
    pub blocks: Option<NonZero<u32>>,
    /// Anchor the blocks if they are unmapped.
    pub anchor: bool,
    /// Unmap instead of write where that reads back the same.
    pub unmap: bool,
    /// No data-out buffer: write zeros.
    pub ndob: bool,
    /// Use of protection information.
    pub protect: Protect,
    /// Group number.
    pub group: GroupNumber,
}

impl WriteSame16 {
    /// Operation code.
    pub const OPCODE: u8 = 0x93;

    /// The CDB.
    pub fn cdb(&self) -> Cdb {
        let flags = self.protect.code() << 5
            | bit(self.anchor, 0x10)
            | bit(self.unmap, 0x08)
            | bit(self.ndob, 0x01);
        let count = self.blocks.map_or(0, NonZero::get);
        let (direction, blocks) = write_same_blocks(self.ndob);
        layout16::write(Self::OPCODE, flags, self.lba, count, self.group).blocks(direction, blocks)
    }

    pub(crate) fn parse(f: Fields<'_>) -> Result<Self, CommandError> {
        let (lba, count, group) = layout16::read(f);
        Ok(Self {
            lba,
            blocks: NonZero::new(count),
            anchor: f.flag(1, 0x10),
            unmap: f.flag(1, 0x08),
            ndob: f.flag(1, 0x01),
            protect: Protect::from_bits(f.u8(1) >> 5),
            group,
        })
    }
}

/// GET LBA STATUS(16), a service action of SERVICE ACTION IN(16).
///
/// ```
/// use iscsi_scsi::provisioning::GetLbaStatus;
/// let cdb = GetLbaStatus { lba: 1, allocation_length: 24, report_type: 0 }.cdb();
/// assert_eq!(cdb.as_bytes(), [0x9e, 0x12, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 24, 0, 0]);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GetLbaStatus {
    /// First logical block to report on.
    pub lba: u64,
    /// Bytes the caller has room for: 8, and 16 for each descriptor.
    pub allocation_length: u32,
    /// Report type of newer versions; 0 reports everything.
    pub report_type: u8,
}

impl GetLbaStatus {
    /// Operation code.
    pub const OPCODE: u8 = 0x9e;
    /// Service action.
    pub const SERVICE_ACTION: u8 = 0x12;

    /// The CDB.
    pub fn cdb(&self) -> Cdb {
        CdbWriter::new(Self::OPCODE)
            .u8(Self::SERVICE_ACTION)
            .u64(self.lba)
            .u32(self.allocation_length)
            .u8(self.report_type)
            .zeros::<1>()
            .bytes_in(self.allocation_length)
    }

    pub(crate) fn parse(f: Fields<'_>) -> Result<Self, CommandError> {
        Ok(Self { lba: f.u64(2), allocation_length: f.u32(10), report_type: f.u8(14) })
    }
}

codes! {
    /// Provisioning status of a range (SBC).
    ///
    /// ```
    /// use iscsi_scsi::provisioning::ProvisioningStatus;
    /// assert_eq!(ProvisioningStatus::DEALLOCATED.code(), 1);
    /// assert_eq!(ProvisioningStatus::DEALLOCATED.label(), "deallocated");
    /// ```
    pub struct ProvisioningStatus: 4 bits {
        MAPPED_OR_UNKNOWN = 0 => "mapped or unknown",
        DEALLOCATED = 1 => "deallocated",
        ANCHORED = 2 => "anchored",
        MAPPED = 3 => "mapped",
        UNKNOWN = 4 => "not known",
    }
}

/// A range of blocks with its provisioning status.
///
/// ```
/// use iscsi_scsi::provisioning::{LbaStatusDescriptor, ProvisioningStatus};
/// let range = LbaStatusDescriptor { lba: 0, blocks: 8, ..Default::default() };
/// assert_eq!(range.status, ProvisioningStatus::MAPPED_OR_UNKNOWN);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LbaStatusDescriptor {
    /// First logical block.
    pub lba: u64,
    /// Number of blocks.
    pub blocks: u32,
    /// Provisioning status.
    pub status: ProvisioningStatus,
    /// Accessibility of newer versions, 0 to 15; 0 says nothing.
    pub accessibility: u8,
}

/// Data of GET LBA STATUS.
///
/// ```
/// use iscsi_scsi::provisioning::{LbaStatusData, LbaStatusDescriptor, ProvisioningStatus};
/// let status = ProvisioningStatus::DEALLOCATED;
/// let ranges = [LbaStatusDescriptor { lba: 7, blocks: 9, status, accessibility: 0 }];
/// let mut data = [0; 24];
/// assert_eq!(LbaStatusData::emit(ranges, &mut data), 24);
/// assert_eq!(data[..4], [0, 0, 0, 20]);
/// assert!(LbaStatusData::parse(&data)?.ranges().eq(ranges));
/// # Ok::<(), iscsi_scsi::ParseError>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct LbaStatusData<'a> {
    descriptors: &'a [u8],
}

impl<'a> LbaStatusData<'a> {
    /// Bytes of the whole data, which may be more than were returned. `None` below 4 bytes.
    pub fn full_size(data: &[u8]) -> Option<usize> {
        crate::bytes::u32_at(data, 0).map(|length| index(length).saturating_add(4))
    }

    /// Parses the data, as far as it was returned.
    ///
    /// # Errors
    /// [`ParseError::Short`] below 8 bytes.
    pub fn parse(data: &'a [u8]) -> Result<Self, ParseError> {
        need(data, 8)?;
        let data = cut(data, Self::full_size(data).unwrap_or(0));
        Ok(Self { descriptors: data.get(8..).unwrap_or_default() })
    }

    /// The ranges in order.
    pub fn ranges(&self) -> impl ExactSizeIterator<Item = LbaStatusDescriptor> + Clone + use<'a> {
        let (descriptors, _) = self.descriptors.as_chunks::<16>();
        descriptors.iter().map(|descriptor| {
            let f = Fields(descriptor);
            LbaStatusDescriptor {
                lba: f.u64(0),
                blocks: f.u32(8),
                status: ProvisioningStatus::from_bits(f.u8(12)),
                accessibility: f.u8(12) >> 4,
            }
        })
    }

    /// Writes the data, truncated to the buffer, and returns the full size.
    pub fn emit(ranges: impl IntoIterator<Item = LbaStatusDescriptor>, out: &mut [u8]) -> usize {
        let mut out = Out::new(out);
        out.zeros(8);
        for range in ranges {
            out.u64(range.lba).u32(range.blocks);
            out.u8((range.accessibility & 0x0f) << 4 | range.status.code()).zeros(3);
        }
        let length = clip32(out.len() - 4);
        out.patch(0, &length.to_be_bytes());
        out.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unmap_list_limits() {
        assert!(UnmapList::build(&[UnmapDescriptor::default(); 4095], &mut [0; 65528]).is_ok());
        assert_eq!(
            UnmapList::build(&[UnmapDescriptor::default(); 4096], &mut [0; 65560]),
            Err(BuildError::TooLong { len: 65544, max: 0xffff })
        );
    }

    #[test]
    fn unmap_list_from_a_peer() {
        assert_eq!(UnmapList::parse(&[]).unwrap().ranges().len(), 0);
        assert_eq!(UnmapList::parse(&[0; 7]).unwrap_err(), ParseError::Short { needed: 8, got: 7 });
        // Announces one descriptor and sends half of it.
        let mut list = [0; 16];
        list[3] = 16;
        assert_eq!(UnmapList::parse(&list).unwrap_err(), ParseError::Short { needed: 24, got: 16 });
        // Announces a descriptor and a half: the half is no range.
        let mut list = [0; 40];
        list[3] = 24;
        assert_eq!(UnmapList::parse(&list).unwrap().ranges().len(), 1);
    }

    #[test]
    fn lba_status_is_cut_to_what_was_sent() {
        let mut data = [0; 30];
        data[3] = 36;
        data[15] = 5;
        data[20] = 0x21;
        assert_eq!(LbaStatusData::full_size(&data), Some(40));
        let parsed = LbaStatusData::parse(&data).unwrap();
        let mut ranges = parsed.ranges();
        assert_eq!(
            ranges.next(),
            Some(LbaStatusDescriptor {
                lba: 5,
                blocks: 0,
                status: ProvisioningStatus::DEALLOCATED,
                accessibility: 2
            })
        );
        assert_eq!(ranges.next(), None);
    }
}
