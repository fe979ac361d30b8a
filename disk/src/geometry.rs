//! What a device can do: block size, capacity, limits, provisioning, write protection.

use iscsi_scsi::capacity::ReadCapacity16Data;
use iscsi_scsi::vpd::{BlockLimits, LogicalBlockProvisioning};

/// Blocks of one WRITE SAME or UNMAP if the device names no limit: more could take longer than a command may.
const DEFAULT_SAME: u32 = 0xffff;

/// A smaller optimal transfer length is a mistake of the device.
const LEAST_OPTIMAL: u64 = 4096;

/// How the device deallocates blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum UnmapMethod {
    None,
    Unmap,
    Same16,
    Same10,
}

/// How the device writes zeros, best first. A refused method gives way to the next one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ZeroMethod {
    /// WRITE SAME(16) without data.
    Same16NoData,
    Same16,
    Same10,
    Write,
}

/// Mode parameters that matter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mode {
    pub(crate) write_protect: bool,
    pub(crate) dpo_fua: bool,
    /// `None` without a caching page.
    pub(crate) write_cache: Option<bool>,
}

/// What REPORT SUPPORTED OPERATION CODES says of WRITE SAME(16).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct WriteSameSupport {
    pub(crate) supported: bool,
    pub(crate) unmap: bool,
    pub(crate) no_data: bool,
}

/// What a device says of its blocks. Lengths are in bytes; `None` means that the device names no limit, or does not say.
///
/// ```
/// use iscsi_disk::Geometry;
/// let geometry = Geometry::new(512, 2048).unwrap();
/// assert_eq!(geometry.capacity(), 1 << 20);
/// assert_eq!((geometry.block_size(), geometry.blocks()), (512, 2048));
/// assert_eq!(geometry.max_transfer(), None);
/// assert!(!geometry.is_read_only());
/// assert_eq!(Geometry::new(512, u64::MAX), None);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Geometry {
    block_size: u32,
    blocks: u64,
    capacity: u64,
    physical_exponent: u8,
    lowest_aligned: u16,
    lbpme: bool,
    lbprz: bool,
    /// READ CAPACITY(16) was answered: the device knows 16-byte commands.
    long_commands: bool,
    pub(crate) limits: Option<BlockLimits>,
    pub(crate) rotation_rate: u16,
    lbpu: bool,
    lbpws: bool,
    lbpws10: bool,
    pub(crate) mode: Option<Mode>,
    pub(crate) write_same: Option<WriteSameSupport>,
    /// Write once or read only by its device type.
    pub(crate) read_only_type: bool,
}

impl Geometry {
    /// A device of `blocks` blocks of `block_size` bytes of which nothing else is known. `None` if one of them is 0 or the capacity in
    /// bytes does not fit 64 bits.
    pub const fn new(block_size: u32, blocks: u64) -> Option<Self> {
        let Some(capacity) = blocks.checked_mul(block_size as u64) else { return None };
        if capacity == 0 {
            return None;
        }
        Some(Self {
            block_size,
            blocks,
            capacity,
            physical_exponent: 0,
            lowest_aligned: 0,
            lbpme: false,
            lbprz: false,
            long_commands: true,
            limits: None,
            rotation_rate: 0,
            lbpu: false,
            lbpws: false,
            lbpws10: false,
            mode: None,
            write_same: None,
            read_only_type: false,
        })
    }

    /// From READ CAPACITY(16).
    pub(crate) fn from_capacity_16(data: &ReadCapacity16Data) -> Option<Self> {
        Some(Self {
            physical_exponent: data.lbppbe & 0x0f,
            lowest_aligned: data.lowest_aligned_lba,
            lbpme: data.lbpme,
            lbprz: data.lbprz,
            ..Self::new(data.block_length, data.blocks()?)?
        })
    }

    /// From READ CAPACITY(10), for a device that refused the long form.
    pub(crate) fn from_capacity_10(block_size: u32, blocks: u64) -> Option<Self> {
        Some(Self { long_commands: false, ..Self::new(block_size, blocks)? })
    }

    pub(crate) const fn set_provisioning(&mut self, page: &LogicalBlockProvisioning<'_>) {
        self.lbpu = page.lbpu;
        self.lbpws = page.lbpws;
        self.lbpws10 = page.lbpws10;
        self.lbprz |= page.lbprz & 1 == 1;
    }
}

/// Size and alignment.
impl Geometry {
    /// Bytes of a logical block.
    pub const fn block_size(&self) -> u32 {
        self.block_size
    }

    /// Number of logical blocks.
    pub const fn blocks(&self) -> u64 {
        self.blocks
    }

    /// Bytes of the whole device.
    pub const fn capacity(&self) -> u64 {
        self.capacity
    }

    /// Bytes of a physical block: what a write should be a multiple of.
    pub const fn physical_block_size(&self) -> u64 {
        (self.block_size as u64) << self.physical_exponent
    }

    /// Offset in bytes of the first logical block that starts a physical one.
    pub const fn alignment_offset(&self) -> u64 {
        self.lowest_aligned as u64 * self.block_size as u64
    }

    /// Rotation rate in revolutions per minute; 1 for a medium that does not rotate, 0 if unknown.
    pub const fn rotation_rate(&self) -> u16 {
        self.rotation_rate
    }

    /// Whether the medium is known not to rotate.
    pub const fn is_solid_state(&self) -> bool {
        self.rotation_rate == 1
    }
}

/// Limits, in bytes.
impl Geometry {
    fn limit(&self, of: impl FnOnce(&BlockLimits) -> u64) -> Option<u64> {
        let blocks = of(self.limits.as_ref()?);
        (blocks != 0).then(|| blocks.saturating_mul(self.block_size.into()))
    }

    /// Most bytes of one READ or WRITE.
    pub fn max_transfer(&self) -> Option<u64> {
        self.limit(|l| l.max_transfer_length.into())
    }

    /// The transfer length beyond which the device becomes slower.
    pub fn optimal_transfer(&self) -> Option<u64> {
        self.limit(|l| l.optimal_transfer_length.into())
    }

    /// What the length of a fast transfer is a multiple of.
    pub fn optimal_granularity(&self) -> Option<u64> {
        self.limit(|l| l.optimal_transfer_granularity.into())
    }

    /// Most bytes of one UNMAP.
    pub fn max_unmap(&self) -> Option<u64> {
        self.limit(|l| l.max_unmap_lba_count.into())
    }

    /// What deallocation works on: multiples of this, counted from [`unmap_alignment`](Self::unmap_alignment).
    pub fn unmap_granularity(&self) -> Option<u64> {
        self.limit(|l| l.optimal_unmap_granularity.into())
    }

    /// Offset of the first unit of deallocation.
    pub fn unmap_alignment(&self) -> u64 {
        self.limit(|l| l.unmap_granularity_alignment.unwrap_or(0).into()).unwrap_or(0)
    }

    /// Most bytes of one WRITE SAME.
    pub fn max_write_same(&self) -> Option<u64> {
        self.limit(|l| l.max_write_same_length)
    }

    /// Most bytes of one COMPARE AND WRITE; 0 if the device does not offer it.
    pub fn max_compare_and_write(&self) -> u64 {
        self.limit(|l| l.max_compare_and_write_length.into()).unwrap_or(0)
    }

    /// Most bytes that the device writes atomically with WRITE ATOMIC.
    pub fn max_atomic_write(&self) -> Option<u64> {
        self.limit(|l| l.max_atomic_transfer_length.into())
    }

    /// Alignment of atomic writes.
    pub fn atomic_alignment(&self) -> Option<u64> {
        self.limit(|l| l.atomic_alignment.into())
    }

    /// What the length of an atomic write is a multiple of.
    pub fn atomic_granularity(&self) -> Option<u64> {
        self.limit(|l| l.atomic_transfer_length_granularity.into())
    }
}

/// Provisioning, cache and protection.
impl Geometry {
    /// LBPME: the device is thinly provisioned.
    pub const fn is_thin(&self) -> bool {
        self.lbpme
    }

    /// LBPRZ: deallocated blocks read as zeros.
    pub const fn unmapped_reads_zero(&self) -> bool {
        self.lbprz
    }

    /// Whether [`Operation::Unmap`](crate::Operation::Unmap) is offered.
    pub fn can_unmap(&self) -> bool {
        self.unmap_method() != UnmapMethod::None
    }

    /// LBPU: the device deallocates with UNMAP.
    pub const fn has_unmap_command(&self) -> bool {
        self.lbpu
    }

    /// LBPWS: the device deallocates with WRITE SAME(16).
    pub const fn unmaps_by_write_same(&self) -> bool {
        self.lbpws
    }

    /// LBPWS10: the device deallocates with WRITE SAME(10).
    pub const fn unmaps_by_write_same_10(&self) -> bool {
        self.lbpws10
    }

    /// WP, or a type of device that cannot be written: writes are refused.
    pub fn is_read_only(&self) -> bool {
        self.read_only_type || self.mode.is_some_and(|m| m.write_protect)
    }

    /// WCE: the device has a write cache that is on. `None` if it does not say.
    pub fn write_cache(&self) -> Option<bool> {
        self.mode.and_then(|m| m.write_cache)
    }

    /// DPOFUA: the device knows forced unit access. Without it a forced write is followed by a flush.
    pub fn has_fua(&self) -> bool {
        self.mode.is_some_and(|m| m.dpo_fua)
    }
}

/// What follows for commands, in blocks.
impl Geometry {
    pub(crate) const fn long_commands(&self) -> bool {
        self.long_commands
    }

    pub(crate) fn unmap_method(&self) -> UnmapMethod {
        let unmap_limit = self.limits.map_or(1, |l| l.max_unmap_lba_count);
        let descriptors = self.limits.map_or(1, |l| l.max_unmap_descriptor_count);
        if self.lbpu && unmap_limit != 0 && descriptors != 0 {
            UnmapMethod::Unmap
        } else if self.lbpws && self.long_commands {
            UnmapMethod::Same16
        } else if self.lbpws10 && self.blocks <= 1 << 32 {
            UnmapMethod::Same10
        } else {
            UnmapMethod::None
        }
    }

    pub(crate) fn zero_method(&self) -> ZeroMethod {
        let reported = self.limits.is_some_and(|l| l.max_write_same_length != 0);
        match self.write_same {
            Some(WriteSameSupport { supported: true, no_data: true, .. }) => {
                ZeroMethod::Same16NoData
            }
            Some(WriteSameSupport { supported: true, .. }) => ZeroMethod::Same16,
            None if self.long_commands && (self.lbpws || reported) => ZeroMethod::Same16,
            _ if self.lbpws10 && self.blocks <= 1 << 32 => ZeroMethod::Same10,
            _ => ZeroMethod::Write,
        }
    }

    /// Whether zeros may be written with the UNMAP bit of this form of WRITE SAME.
    pub(crate) fn zeroes_by_unmapping(&self, method: ZeroMethod) -> bool {
        self.lbprz
            && match method {
                ZeroMethod::Same16NoData | ZeroMethod::Same16 => {
                    self.lbpws && self.write_same.is_none_or(|w| w.unmap)
                }
                ZeroMethod::Same10 => self.lbpws10,
                ZeroMethod::Write => false,
            }
    }

    /// Most blocks of one READ, WRITE or VERIFY for a configured maximum in bytes.
    pub(crate) fn max_transfer_blocks(&self, configured: u32) -> u32 {
        let limits = self.limits.unwrap_or_default();
        let smallest = [
            (configured / self.block_size).max(1),
            limits.max_transfer_length,
            if self.optimal_transfer().is_some_and(|n| n >= LEAST_OPTIMAL) {
                limits.optimal_transfer_length
            } else {
                0
            },
            // Lengths in bytes have 32 bits.
            u32::MAX / self.block_size,
            if self.long_commands { 0 } else { 0xffff },
        ];
        smallest.into_iter().filter(|&n| n != 0).min().unwrap_or(1)
    }

    /// Most blocks of one WRITE SAME.
    pub(crate) fn max_same_blocks(&self, count: u32) -> u32 {
        let reported = self.limits.map_or(0, |l| l.max_write_same_length);
        let reported = u32::try_from(reported).unwrap_or(u32::MAX);
        if reported == 0 { DEFAULT_SAME.min(count) } else { reported.min(count) }
    }

    /// Most blocks of one UNMAP.
    pub(crate) fn max_unmap_blocks(&self) -> u32 {
        match self.limits.map_or(0, |l| l.max_unmap_lba_count) {
            0 => DEFAULT_SAME,
            blocks => blocks,
        }
    }

    /// Granularity and first aligned block of transfers.
    pub(crate) fn transfer_granularity(&self) -> (u32, u32) {
        let optimal = self.limits.map_or(0, |l| l.optimal_transfer_granularity);
        if optimal > 1 {
            (optimal.into(), 0)
        } else {
            (1 << self.physical_exponent, self.lowest_aligned.into())
        }
    }

    /// Granularity and first aligned block of deallocation.
    pub(crate) fn deallocation_granularity(&self) -> (u32, u32) {
        self.limits.map_or((1, 0), |l| {
            (l.optimal_unmap_granularity.max(1), l.unmap_granularity_alignment.unwrap_or(0))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_limits(limits: BlockLimits) -> Geometry {
        Geometry { limits: Some(limits), ..Geometry::new(512, 1 << 20).unwrap() }
    }

    #[test]
    fn transfer_limits_are_the_smallest() {
        let plain = Geometry::new(512, 100).unwrap();
        assert_eq!(plain.max_transfer_blocks(1 << 20), 2048);
        assert_eq!(plain.max_transfer_blocks(100), 1, "at least one block");
        let limits = BlockLimits { max_transfer_length: 64, ..Default::default() };
        assert_eq!(with_limits(limits).max_transfer_blocks(1 << 20), 64);
        assert_eq!(with_limits(limits).max_transfer(), Some(32768));
        let limits = BlockLimits { optimal_transfer_length: 1, ..limits };
        assert_eq!(with_limits(limits).max_transfer_blocks(1 << 20), 64, "not believed");
        let limits = BlockLimits { optimal_transfer_length: 16, ..limits };
        assert_eq!(with_limits(limits).max_transfer_blocks(1 << 20), 16);
        let short = Geometry::from_capacity_10(512, 100).unwrap();
        assert_eq!(short.max_transfer_blocks(u32::MAX), 0xffff);
    }

    #[test]
    fn deallocation_needs_a_method() {
        let mut g = with_limits(BlockLimits::default());
        assert!(!g.can_unmap());
        g.lbpu = true;
        assert!(!g.can_unmap(), "a limit of 0 blocks says that UNMAP is not offered");
        g.lbpws10 = true;
        assert_eq!(g.unmap_method(), UnmapMethod::Same10);
        g.lbpws = true;
        assert_eq!(g.unmap_method(), UnmapMethod::Same16);
        g.limits = None;
        assert_eq!(g.unmap_method(), UnmapMethod::Unmap, "no limits page, no limit");
    }

    #[test]
    fn zeros_by_the_best_method() {
        let mut g = Geometry::new(512, 100).unwrap();
        assert_eq!(g.zero_method(), ZeroMethod::Write);
        g.lbpws = true;
        assert_eq!(g.zero_method(), ZeroMethod::Same16);
        assert!(!g.zeroes_by_unmapping(ZeroMethod::Same16), "unmapped blocks may read as anything");
        g.lbprz = true;
        assert!(g.zeroes_by_unmapping(ZeroMethod::Same16));
        g.write_same = Some(WriteSameSupport { supported: true, unmap: false, no_data: true });
        assert_eq!(g.zero_method(), ZeroMethod::Same16NoData);
        assert!(!g.zeroes_by_unmapping(ZeroMethod::Same16NoData));
        g.write_same = Some(WriteSameSupport { supported: false, unmap: false, no_data: false });
        assert_eq!(g.zero_method(), ZeroMethod::Write);
    }
}
