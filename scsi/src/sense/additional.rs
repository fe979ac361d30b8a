//! Additional sense code and qualifier.

use core::fmt;

use super::texts;

/// ADDITIONAL SENSE CODE and its qualifier: which condition exactly.
///
/// ```
/// use iscsi_scsi::sense::AdditionalSense;
/// let code = AdditionalSense { asc: 0x2a, ascq: 0x09 };
/// assert_eq!(code, AdditionalSense::CAPACITY_DATA_HAS_CHANGED);
/// assert_eq!(code.text(), Some("capacity data has changed"));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AdditionalSense {
    /// Additional sense code.
    pub asc: u8,
    /// Additional sense code qualifier.
    pub ascq: u8,
}

macro_rules! named {
    ($( $name:ident = $asc:literal $ascq:literal; )*) => {
        impl AdditionalSense {
            $(
                #[doc = concat!("ASC ", stringify!($asc), ", ASCQ ", stringify!($ascq), ".")]
                pub const $name: Self = Self { asc: $asc, ascq: $ascq };
            )*

            #[cfg(test)]
            pub(super) const NAMED: &[(&str, Self)] = &[$( (stringify!($name), Self::$name), )*];
        }
    };
}

named! {
    NONE = 0x00 0x00;
    OPERATION_IN_PROGRESS = 0x00 0x16;
    NOT_READY = 0x04 0x00;
    BECOMING_READY = 0x04 0x01;
    INITIALIZING_COMMAND_REQUIRED = 0x04 0x02;
    MANUAL_INTERVENTION_REQUIRED = 0x04 0x03;
    FORMAT_IN_PROGRESS = 0x04 0x04;
    NOT_READY_OPERATION_IN_PROGRESS = 0x04 0x07;
    SELF_TEST_IN_PROGRESS = 0x04 0x09;
    ALUA_TRANSITION = 0x04 0x0a;
    ALUA_STANDBY = 0x04 0x0b;
    ALUA_UNAVAILABLE = 0x04 0x0c;
    SPACE_ALLOCATION_IN_PROGRESS = 0x04 0x14;
    START_STOP_IN_PROGRESS = 0x04 0x1a;
    SANITIZE_IN_PROGRESS = 0x04 0x1b;
    WRITE_ERROR = 0x0c 0x00;
    UNEXPECTED_UNSOLICITED_DATA = 0x0c 0x0c;
    NOT_ENOUGH_UNSOLICITED_DATA = 0x0c 0x0d;
    COPY_TARGET_NOT_REACHABLE = 0x0d 0x02;
    INVALID_FIELD_IN_INFORMATION_UNIT = 0x0e 0x03;
    GUARD_CHECK_FAILED = 0x10 0x01;
    APPLICATION_TAG_CHECK_FAILED = 0x10 0x02;
    REFERENCE_TAG_CHECK_FAILED = 0x10 0x03;
    UNRECOVERED_READ_ERROR = 0x11 0x00;
    FAILED_RETRANSMISSION_REQUEST = 0x11 0x13;
    PARAMETER_LIST_LENGTH_ERROR = 0x1a 0x00;
    MISCOMPARE_DURING_VERIFY = 0x1d 0x00;
    INVALID_OPERATION_CODE = 0x20 0x00;
    ACCESS_DENIED_NO_RIGHTS = 0x20 0x02;
    LBA_OUT_OF_RANGE = 0x21 0x00;
    INVALID_FIELD_IN_CDB = 0x24 0x00;
    LOGICAL_UNIT_NOT_SUPPORTED = 0x25 0x00;
    INVALID_FIELD_IN_PARAMETER_LIST = 0x26 0x00;
    PARAMETER_NOT_SUPPORTED = 0x26 0x01;
    PARAMETER_VALUE_INVALID = 0x26 0x02;
    INVALID_RELEASE_OF_PERSISTENT_RESERVATION = 0x26 0x04;
    TOO_MANY_TARGET_DESCRIPTORS = 0x26 0x06;
    UNSUPPORTED_TARGET_DESCRIPTOR = 0x26 0x07;
    TOO_MANY_SEGMENT_DESCRIPTORS = 0x26 0x08;
    UNSUPPORTED_SEGMENT_DESCRIPTOR = 0x26 0x09;
    WRITE_PROTECTED = 0x27 0x00;
    SOFTWARE_WRITE_PROTECTED = 0x27 0x02;
    SPACE_ALLOCATION_FAILED = 0x27 0x07;
    MEDIUM_MAY_HAVE_CHANGED = 0x28 0x00;
    RESET_OCCURRED = 0x29 0x00;
    POWER_ON_OCCURRED = 0x29 0x01;
    BUS_RESET_OCCURRED = 0x29 0x02;
    DEVICE_RESET_OCCURRED = 0x29 0x03;
    INTERNAL_RESET_OCCURRED = 0x29 0x04;
    NEXUS_LOSS_OCCURRED = 0x29 0x07;
    MODE_PARAMETERS_CHANGED = 0x2a 0x01;
    RESERVATIONS_PREEMPTED = 0x2a 0x03;
    RESERVATIONS_RELEASED = 0x2a 0x04;
    REGISTRATIONS_PREEMPTED = 0x2a 0x05;
    ALUA_STATE_CHANGED = 0x2a 0x06;
    CAPACITY_DATA_HAS_CHANGED = 0x2a 0x09;
    COMMAND_SEQUENCE_ERROR = 0x2c 0x00;
    COMMANDS_CLEARED_BY_ANOTHER_INITIATOR = 0x2f 0x00;
    THIN_PROVISIONING_SOFT_THRESHOLD = 0x38 0x07;
    SAVING_PARAMETERS_NOT_SUPPORTED = 0x39 0x00;
    MEDIUM_NOT_PRESENT = 0x3a 0x00;
    MEDIUM_NOT_PRESENT_TRAY_CLOSED = 0x3a 0x01;
    MEDIUM_NOT_PRESENT_TRAY_OPEN = 0x3a 0x02;
    LOGICAL_UNIT_FAILURE = 0x3e 0x01;
    MICROCODE_CHANGED = 0x3f 0x01;
    INQUIRY_DATA_HAS_CHANGED = 0x3f 0x03;
    DEVICE_IDENTIFIER_CHANGED = 0x3f 0x05;
    REPORTED_LUNS_DATA_HAS_CHANGED = 0x3f 0x0e;
    INTERNAL_TARGET_FAILURE = 0x44 0x00;
    PROTOCOL_SERVICE_CRC_ERROR = 0x47 0x05;
    COMMANDS_CLEARED_BY_ISCSI_EVENT = 0x47 0x7f;
    OVERLAPPED_COMMANDS_ATTEMPTED = 0x4e 0x00;
    MEDIUM_REMOVAL_PREVENTED = 0x53 0x02;
    INSUFFICIENT_RESOURCES = 0x55 0x03;
    INSUFFICIENT_REGISTRATION_RESOURCES = 0x55 0x04;
    FAILURE_PREDICTION_THRESHOLD = 0x5d 0x00;
    SET_TARGET_PORT_GROUPS_FAILED = 0x67 0x0a;
}

impl AdditionalSense {
    /// The meaning, if this crate knows it. Where a qualifier is a number and not a code
    /// (40/nn, 4d/nn, 70/nn) the text leaves the number out.
    pub fn text(self) -> Option<&'static str> {
        texts::find(self.asc, self.ascq)
    }

    /// With the sense key UNIT ATTENTION: the unit was powered on or reset. 29h/00h may mean anything of that; 29h/05h to 07h are about the transport.
    pub const fn is_reset(self) -> bool {
        self.asc == 0x29 && self.ascq <= 0x04
    }

    /// True for a code that only the vendor can explain: ASC or ASCQ of 80h and above, except
    /// where the standard gives the qualifier a meaning.
    pub fn is_vendor_specific(self) -> bool {
        (self.asc >= 0x80 || self.ascq >= 0x80) && self.text().is_none()
    }
}

/// `20/00 invalid command operation code`.
impl fmt::Display for AdditionalSense {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unknown = if self.is_vendor_specific() { "vendor specific" } else { "unknown" };
        write!(f, "{:02x}/{:02x} {}", self.asc, self.ascq, self.text().unwrap_or(unknown))
    }
}
