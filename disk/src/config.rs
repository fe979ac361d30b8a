//! How a disk is driven.

use core::time::Duration;

use iscsi_core::Lun;

/// Which logical unit, and how it is driven. The defaults suit most targets.
///
/// ```
/// use iscsi_core::Lun;
/// use iscsi_disk::DiskConfig;
/// let mut config = DiskConfig::new(Lun::new(1).unwrap());
/// config.max_transfer = 64 * 1024;
/// assert_eq!(config.lun.number(), Some(1));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct DiskConfig {
    /// The logical unit.
    pub lun: Lun,
    /// Most bytes that one command moves; the device's own limits apply too. 1 MiB by default, at least one block is moved.
    pub max_transfer: u32,
    /// Most commands of one request in flight. 8 by default, at least 1.
    pub commands_per_request: u16,
    /// Most commands of the disk in flight. No limit but the session's by default, at least 1. TASK SET FULL lowers the limit
    /// for a while by itself.
    pub queue_depth: u16,
    /// How often a step of a request is tried again at once (UNIT ATTENTION, ABORTED COMMAND) before its error is reported. 5 by default.
    pub retries: u8,
    /// For how long a step is tried again after BUSY, TASK SET FULL and "becoming ready". 30 s by default.
    pub patience: Duration,
    /// The first delay of that, 10 ms by default; every further one is twice as long.
    pub first_delay: Duration,
    /// The longest delay of that, 1 s by default.
    pub longest_delay: Duration,
    /// The deadline of each command; the session's by default.
    pub timeout: Option<Duration>,
}

impl DiskConfig {
    /// The defaults for a logical unit.
    pub const fn new(lun: Lun) -> Self {
        Self {
            lun,
            max_transfer: 1 << 20,
            commands_per_request: 8,
            queue_depth: u16::MAX,
            retries: 5,
            patience: Duration::from_secs(30),
            first_delay: Duration::from_millis(10),
            longest_delay: Duration::from_secs(1),
            timeout: None,
        }
    }
}
