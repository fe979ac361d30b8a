//! SAM status codes.

use crate::codes::codes;

codes! {
    /// The status byte that ends a command (SAM).
    ///
    /// ```
    /// use iscsi_scsi::Status;
    /// assert_eq!(Status::from(0x02), Status::CHECK_CONDITION);
    /// assert!(Status::CONDITION_MET.is_success());
    /// assert_eq!(Status::TASK_SET_FULL.label(), "TASK SET FULL");
    /// ```
    pub struct Status: 8 bits {
        GOOD = 0x00 => "GOOD",
        CHECK_CONDITION = 0x02 => "CHECK CONDITION",
        /// Success of PRE-FETCH when all blocks fit the cache.
        CONDITION_MET = 0x04 => "CONDITION MET",
        BUSY = 0x08 => "BUSY",
        RESERVATION_CONFLICT = 0x18 => "RESERVATION CONFLICT",
        TASK_SET_FULL = 0x28 => "TASK SET FULL",
        ACA_ACTIVE = 0x30 => "ACA ACTIVE",
        TASK_ABORTED = 0x40 => "TASK ABORTED",
    }
}

impl Status {
    /// True for GOOD and CONDITION MET.
    pub const fn is_success(self) -> bool {
        matches!(self, Self::GOOD | Self::CONDITION_MET)
    }
}

impl From<u8> for Status {
    /// Any byte is a status.
    fn from(byte: u8) -> Self {
        Self::from_bits(byte)
    }
}
