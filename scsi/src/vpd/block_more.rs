//! Pages B3h to B6h: referrals, block lengths, more characteristics, zones (SBC, ZBC).

use super::{PageCode, VpdPage};
use crate::bytes::Fields;
use crate::error::ParseError;

/// Referrals, page B3h.
///
/// ```
/// use iscsi_scsi::vpd::Referrals;
/// let page = [0, 0xb3, 0, 12, 0, 0, 0, 0, 0, 0, 0x10, 0, 0, 0, 0, 2];
/// let parsed = Referrals::parse(&page)?;
/// assert_eq!((parsed.segment_size, parsed.segment_multiplier), (0x1000, 2));
/// # Ok::<(), iscsi_scsi::ParseError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Referrals {
    /// USER DATA SEGMENT SIZE in blocks.
    pub segment_size: u32,
    /// USER DATA SEGMENT MULTIPLIER.
    pub segment_multiplier: u32,
}

impl Referrals {
    /// Parses the page.
    ///
    /// # Errors
    /// [`ParseError::Short`] and [`ParseError::PageCode`].
    pub fn parse(data: &[u8]) -> Result<Self, ParseError> {
        let f = VpdPage::expect(data, PageCode::REFERRALS)?.fields();
        Ok(Self { segment_size: f.u32(8), segment_multiplier: f.u32(12) })
    }
}

/// A block length that the device can be formatted with.
///
/// ```
/// use iscsi_scsi::vpd::SupportedBlockLengths;
/// let page = [0, 0xb4, 0, 8, 0, 0, 0x10, 0, 0, 0x3, 0, 0];
/// let length = SupportedBlockLengths::parse(&page)?.lengths().next().unwrap();
/// assert_eq!((length.block_length, length.protection_types), (4096, 3));
/// # Ok::<(), iscsi_scsi::ParseError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BlockLengths {
    /// Block length in bytes.
    pub block_length: u32,
    /// P_I_I_SUP: protection intervals within a block.
    pub protection_intervals: bool,
    /// Bit n: protection type n is supported.
    pub protection_types: u8,
}

/// Supported block lengths and protection types, page B4h.
///
/// ```
/// use iscsi_scsi::vpd::SupportedBlockLengths;
/// let page = [0, 0xb4, 0, 8, 0, 0, 2, 0, 0, 0x1, 0, 0];
/// assert_eq!(SupportedBlockLengths::parse(&page)?.lengths().len(), 1);
/// # Ok::<(), iscsi_scsi::ParseError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SupportedBlockLengths<'a> {
    list: &'a [u8],
}

impl<'a> SupportedBlockLengths<'a> {
    /// Parses the page.
    ///
    /// # Errors
    /// [`ParseError::Short`] and [`ParseError::PageCode`].
    pub fn parse(data: &'a [u8]) -> Result<Self, ParseError> {
        Ok(Self { list: VpdPage::expect(data, PageCode::SUPPORTED_BLOCK_LENGTHS)?.body })
    }

    /// The block lengths in order.
    pub fn lengths(&self) -> impl ExactSizeIterator<Item = BlockLengths> + Clone + use<'a> {
        let (list, _) = self.list.as_chunks::<8>();
        list.iter().map(|descriptor| {
            let f = Fields(descriptor);
            BlockLengths {
                block_length: f.u32(0),
                protection_intervals: f.flag(4, 0x40),
                protection_types: f.u8(5) & 0x0f,
            }
        })
    }
}

/// Block device characteristics extension, page B5h.
///
/// ```
/// use iscsi_scsi::vpd::BlockCharacteristicsExtension;
/// let mut page = [0; 16];
/// page[..12].copy_from_slice(&[0, 0xb5, 0, 12, 0, 1, 2, 3, 0, 0, 0, 9]);
/// let parsed = BlockCharacteristicsExtension::parse(&page)?;
/// assert_eq!((parsed.utilization_type, parsed.utilization_b), (1, 9));
/// # Ok::<(), iscsi_scsi::ParseError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BlockCharacteristicsExtension {
    /// UTILIZATION TYPE.
    pub utilization_type: u8,
    /// UTILIZATION UNITS.
    pub utilization_units: u8,
    /// UTILIZATION INTERVAL.
    pub utilization_interval: u8,
    /// UTILIZATION B.
    pub utilization_b: u32,
    /// UTILIZATION A.
    pub utilization_a: u32,
}

impl BlockCharacteristicsExtension {
    /// Parses the page.
    ///
    /// # Errors
    /// [`ParseError::Short`] and [`ParseError::PageCode`].
    pub fn parse(data: &[u8]) -> Result<Self, ParseError> {
        let f = VpdPage::expect(data, PageCode::BLOCK_CHARACTERISTICS_EXTENSION)?.fields();
        Ok(Self {
            utilization_type: f.u8(5),
            utilization_units: f.u8(6),
            utilization_interval: f.u8(7),
            utilization_b: f.u32(8),
            utilization_a: f.u32(12),
        })
    }
}

/// Zoned block device characteristics, page B6h.
///
/// ```
/// use iscsi_scsi::vpd::ZonedBlock;
/// let mut page = [0; 64];
/// page[..5].copy_from_slice(&[0, 0xb6, 0, 60, 1]);
/// page[19] = 128;
/// let parsed = ZonedBlock::parse(&page)?;
/// assert!(parsed.unrestricted_reads);
/// assert_eq!(parsed.max_open_sequential_required, 128);
/// # Ok::<(), iscsi_scsi::ParseError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ZonedBlock {
    /// URSWRZ: reads across zone boundaries and beyond the write pointer are allowed.
    pub unrestricted_reads: bool,
    /// OPTIMAL NUMBER OF OPEN SEQUENTIAL WRITE PREFERRED ZONES.
    pub optimal_open_sequential_preferred: u32,
    /// OPTIMAL NUMBER OF NON-SEQUENTIALLY WRITTEN SEQUENTIAL WRITE PREFERRED ZONES.
    pub optimal_nonsequential_preferred: u32,
    /// MAXIMUM NUMBER OF OPEN SEQUENTIAL WRITE REQUIRED ZONES.
    pub max_open_sequential_required: u32,
}

impl ZonedBlock {
    /// Parses the page.
    ///
    /// # Errors
    /// [`ParseError::Short`] and [`ParseError::PageCode`].
    pub fn parse(data: &[u8]) -> Result<Self, ParseError> {
        let f = VpdPage::expect(data, PageCode::ZONED_BLOCK)?.fields();
        Ok(Self {
            unrestricted_reads: f.flag(4, 0x01),
            optimal_open_sequential_preferred: f.u32(8),
            optimal_nonsequential_preferred: f.u32(12),
            max_open_sequential_required: f.u32(16),
        })
    }
}
