//! Pages B0h, B1h and B2h: block limits, characteristics, provisioning (SBC).

use super::identification::{Designator, designators};
use super::{PageCode, VpdPage, finish, start};
use crate::bytes::bit;
use crate::codes::codes;
use crate::error::ParseError;
use crate::inquiry::Peripheral;

/// Block limits, page B0h. In every field 0 says that the device does not report a limit, except
/// that 0 in the COMPARE AND WRITE and UNMAP fields means that the command is not supported.
///
/// ```
/// use iscsi_scsi::{inquiry::Peripheral, vpd::BlockLimits};
/// let limits = BlockLimits { max_transfer_length: 2048, wsnz: true, ..Default::default() };
/// let mut page = [0; 64];
/// assert_eq!(limits.emit(Peripheral::DISK, &mut page), 64);
/// assert_eq!(page[..12], [0, 0xb0, 0, 0x3c, 0x01, 0, 0, 0, 0, 0, 8, 0]);
/// assert_eq!(BlockLimits::parse(&page), Ok(limits));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BlockLimits {
    /// WSNZ: WRITE SAME does not take a block count of 0.
    pub wsnz: bool,
    /// Most blocks of one COMPARE AND WRITE; 0 if it is not supported.
    pub max_compare_and_write_length: u8,
    /// Optimal transfer length granularity in blocks.
    pub optimal_transfer_granularity: u16,
    /// Most blocks of one transfer.
    pub max_transfer_length: u32,
    /// Optimal transfer length in blocks.
    pub optimal_transfer_length: u32,
    /// Most blocks of one PRE-FETCH.
    pub max_prefetch_length: u32,
    /// Most blocks of one UNMAP; 0 if it is not supported.
    pub max_unmap_lba_count: u32,
    /// Most descriptors of one UNMAP; 0 if it is not supported.
    pub max_unmap_descriptor_count: u32,
    /// Optimal unmap granularity in blocks.
    pub optimal_unmap_granularity: u32,
    /// UNMAP GRANULARITY ALIGNMENT in blocks, 31 bits, if UGAVALID.
    pub unmap_granularity_alignment: Option<u32>,
    /// Most blocks of one WRITE SAME.
    pub max_write_same_length: u64,
    /// Most blocks of one WRITE ATOMIC.
    pub max_atomic_transfer_length: u32,
    /// Alignment of atomic writes in blocks.
    pub atomic_alignment: u32,
    /// Granularity of atomic writes in blocks.
    pub atomic_transfer_length_granularity: u32,
    /// Most blocks of one WRITE ATOMIC with boundary.
    pub max_atomic_transfer_length_with_boundary: u32,
    /// Largest atomic boundary in blocks.
    pub max_atomic_boundary: u32,
}

impl BlockLimits {
    /// Parses the page. Fields that an old, short page does not have are 0.
    ///
    /// # Errors
    /// [`ParseError::Short`] and [`ParseError::PageCode`].
    pub fn parse(data: &[u8]) -> Result<Self, ParseError> {
        let f = VpdPage::expect(data, PageCode::BLOCK_LIMITS)?.fields();
        let alignment = f.u32(32);
        Ok(Self {
            wsnz: f.flag(4, 0x01),
            max_compare_and_write_length: f.u8(5),
            optimal_transfer_granularity: f.u16(6),
            max_transfer_length: f.u32(8),
            optimal_transfer_length: f.u32(12),
            max_prefetch_length: f.u32(16),
            max_unmap_lba_count: f.u32(20),
            max_unmap_descriptor_count: f.u32(24),
            optimal_unmap_granularity: f.u32(28),
            unmap_granularity_alignment: (alignment >> 31 == 1).then_some(alignment & 0x7fff_ffff),
            max_write_same_length: f.u64(36),
            max_atomic_transfer_length: f.u32(44),
            atomic_alignment: f.u32(48),
            atomic_transfer_length_granularity: f.u32(52),
            max_atomic_transfer_length_with_boundary: f.u32(56),
            max_atomic_boundary: f.u32(60),
        })
    }

    /// Writes the page of 64 bytes, truncated to the buffer, and returns 64.
    pub fn emit(&self, peripheral: Peripheral, out: &mut [u8]) -> usize {
        let alignment =
            self.unmap_granularity_alignment.map_or(0, |alignment| alignment | 0x8000_0000);
        let mut out = start(peripheral, PageCode::BLOCK_LIMITS, out);
        out.u8(bit(self.wsnz, 0x01))
            .u8(self.max_compare_and_write_length)
            .u16(self.optimal_transfer_granularity)
            .u32(self.max_transfer_length)
            .u32(self.optimal_transfer_length)
            .u32(self.max_prefetch_length)
            .u32(self.max_unmap_lba_count)
            .u32(self.max_unmap_descriptor_count)
            .u32(self.optimal_unmap_granularity)
            .u32(alignment)
            .u64(self.max_write_same_length)
            .u32(self.max_atomic_transfer_length)
            .u32(self.atomic_alignment)
            .u32(self.atomic_transfer_length_granularity)
            .u32(self.max_atomic_transfer_length_with_boundary)
            .u32(self.max_atomic_boundary);
        finish(out)
    }
}

/// Block device characteristics, page B1h.
///
/// ```
/// use iscsi_scsi::{inquiry::Peripheral, vpd::BlockCharacteristics};
/// let ssd = BlockCharacteristics { rotation_rate: 1, ..Default::default() };
/// let mut page = [0; 64];
/// assert_eq!(ssd.emit(Peripheral::DISK, &mut page), 64);
/// assert_eq!(page[..6], [0, 0xb1, 0, 0x3c, 0, 1]);
/// assert!(BlockCharacteristics::parse(&page)?.is_solid_state());
/// # Ok::<(), iscsi_scsi::ParseError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BlockCharacteristics {
    /// MEDIUM ROTATION RATE: 0 not reported, 1 does not rotate, else revolutions per minute.
    pub rotation_rate: u16,
    /// PRODUCT TYPE.
    pub product_type: u8,
    /// WABEREQ, 0 to 3: what a read after a block erase returns.
    pub wabereq: u8,
    /// WACEREQ, 0 to 3: what a read after a cryptographic erase returns.
    pub wacereq: u8,
    /// NOMINAL FORM FACTOR, 0 to 15.
    pub form_factor: u8,
    /// ZONED, 0 to 3: 1 host aware, 2 device managed.
    pub zoned: u8,
    /// FUAB: SYNCHRONIZE CACHE and FUA reach the medium.
    pub fuab: bool,
    /// VBULS: VERIFY with BYTCHK 0 checks unmapped blocks.
    pub vbuls: bool,
}

impl BlockCharacteristics {
    /// True if the medium does not rotate.
    pub fn is_solid_state(&self) -> bool {
        self.rotation_rate == 1
    }

    /// Parses the page.
    ///
    /// # Errors
    /// [`ParseError::Short`] and [`ParseError::PageCode`].
    pub fn parse(data: &[u8]) -> Result<Self, ParseError> {
        let f = VpdPage::expect(data, PageCode::BLOCK_CHARACTERISTICS)?.fields();
        Ok(Self {
            rotation_rate: f.u16(4),
            product_type: f.u8(6),
            wabereq: f.u8(7) >> 6,
            wacereq: f.u8(7) >> 4 & 0x03,
            form_factor: f.u8(7) & 0x0f,
            zoned: f.u8(8) >> 4 & 0x03,
            fuab: f.flag(8, 0x02),
            vbuls: f.flag(8, 0x01),
        })
    }

    /// Writes the page of 64 bytes, truncated to the buffer, and returns 64. Values wider than
    /// their field are masked.
    pub fn emit(&self, peripheral: Peripheral, out: &mut [u8]) -> usize {
        let mut out = start(peripheral, PageCode::BLOCK_CHARACTERISTICS, out);
        out.u16(self.rotation_rate)
            .u8(self.product_type)
            .u8((self.wabereq & 0x03) << 6 | (self.wacereq & 0x03) << 4 | self.form_factor & 0x0f)
            .u8((self.zoned & 0x03) << 4 | bit(self.fuab, 0x02) | bit(self.vbuls, 0x01))
            .zeros(55);
        finish(out)
    }
}

codes! {
    /// PROVISIONING TYPE.
    ///
    /// ```
    /// use iscsi_scsi::vpd::ProvisioningType;
    /// assert_eq!(ProvisioningType::THIN.code(), 2);
    /// ```
    pub struct ProvisioningType: 3 bits {
        FULL = 0 => "full or not reported",
        RESOURCE = 1 => "resource",
        THIN = 2 => "thin",
    }
}

/// Logical block provisioning, page B2h.
///
/// ```
/// use iscsi_scsi::inquiry::Peripheral;
/// use iscsi_scsi::vpd::{LogicalBlockProvisioning, ProvisioningType};
/// let kind = ProvisioningType::THIN;
/// let thin = LogicalBlockProvisioning {
///     lbpu: true, lbpws: true, lbprz: 1, kind, ..Default::default()
/// };
/// let mut page = [0; 8];
/// assert_eq!(thin.emit(Peripheral::DISK, &mut page), 8);
/// assert_eq!(page, [0, 0xb2, 0, 4, 0, 0xc4, 2, 0]);
/// assert_eq!(LogicalBlockProvisioning::parse(&page), Ok(thin));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogicalBlockProvisioning<'a> {
    /// THRESHOLD EXPONENT; 0 without thresholds.
    pub threshold_exponent: u8,
    /// LBPU: UNMAP.
    pub lbpu: bool,
    /// LBPWS: unmap with WRITE SAME(16).
    pub lbpws: bool,
    /// LBPWS10: unmap with WRITE SAME(10).
    pub lbpws10: bool,
    /// LBPRZ, 0 to 7: 0 unmapped blocks read as anything, odd as zeros, 2 as a pattern.
    pub lbprz: u8,
    /// ANC_SUP: anchored blocks.
    pub anc_sup: bool,
    /// DP: a provisioning group designator follows.
    pub dp: bool,
    /// MINIMUM PERCENTAGE, 0 to 31.
    pub minimum_percentage: u8,
    /// Provisioning type.
    pub kind: ProvisioningType,
    /// THRESHOLD PERCENTAGE.
    pub threshold_percentage: u8,
    /// The provisioning group designator, if `dp` and all of it was returned.
    pub group: Option<Designator<'a>>,
}

impl<'a> LogicalBlockProvisioning<'a> {
    /// Parses the page.
    ///
    /// # Errors
    /// [`ParseError::Short`] and [`ParseError::PageCode`].
    pub fn parse(data: &'a [u8]) -> Result<Self, ParseError> {
        let f = VpdPage::expect(data, PageCode::LOGICAL_BLOCK_PROVISIONING)?.fields();
        let dp = f.flag(5, 0x01);
        Ok(Self {
            threshold_exponent: f.u8(4),
            lbpu: f.flag(5, 0x80),
            lbpws: f.flag(5, 0x40),
            lbpws10: f.flag(5, 0x20),
            lbprz: f.u8(5) >> 2 & 0x07,
            anc_sup: f.flag(5, 0x02),
            dp,
            minimum_percentage: f.u8(6) >> 3,
            kind: ProvisioningType::from_bits(f.u8(6)),
            threshold_percentage: f.u8(7),
            group: if dp { designators(f.slice(8, usize::MAX)).next() } else { None },
        })
    }

    /// Writes the page, truncated to the buffer, and returns the full size. Values wider than
    /// their field are masked; DP is set if there is a `group`.
    pub fn emit(&self, peripheral: Peripheral, out: &mut [u8]) -> usize {
        let mut out = start(peripheral, PageCode::LOGICAL_BLOCK_PROVISIONING, out);
        out.u8(self.threshold_exponent)
            .u8(bit(self.lbpu, 0x80)
                | bit(self.lbpws, 0x40)
                | bit(self.lbpws10, 0x20)
                | (self.lbprz & 0x07) << 2
                | bit(self.anc_sup, 0x02)
                | bit(self.group.is_some(), 0x01))
            .u8(self.minimum_percentage << 3 | self.kind.code())
            .u8(self.threshold_percentage);
        if let Some(group) = &self.group {
            group.emit(&mut out);
        }
        finish(out)
    }
}
