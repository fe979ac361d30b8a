//! What can be wrong with a header that is judged by itself.

use core::fmt;

/// The rule that a header breaks, judged without knowing any task, tag or negotiated value.
///
/// From a target it is a format error: the initiator drops the connections of the session (RFC 7143 section 7.7). From an
/// initiator it is reason for a Reject.
///
/// ```
/// use iscsi_core::wire::{BHS_LEN, FormatError, TargetPdu};
///
/// let error = TargetPdu::parse(&[0; BHS_LEN]).unwrap_err(); // opcode 0x00 is NOP-Out
/// assert_eq!(error, FormatError::WrongDirection(0x00));
/// assert_eq!(error.section(), "11.2.1.2");
/// assert_eq!(error.to_string(), "opcode 0x00 belongs to the other side");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FormatError {
    /// The opcode has no meaning.
    UnassignedOpcode(u8),
    /// The opcode is left to vendors and nobody here understands it.
    VendorOpcode(u8),
    /// The opcode is one that only the other side sends.
    WrongDirection(u8),
    /// The header was parsed as a kind that it is not.
    WrongOpcode(u8),
    /// TotalAHSLength, in words of four bytes, is not 0 in a kind that carries no Additional Header Segment.
    UnexpectedAhs(u8),
    /// DataSegmentLength is not 0 in a kind that carries no data.
    UnexpectedData(u32),
    /// The Initiator Task Tag is the reserved one in a kind that belongs to a task.
    ReservedInitiatorTaskTag,
    /// R2T or DataACK SNACK: the Target Transfer Tag is the reserved one.
    ReservedTargetTransferTag,
    /// Buffer Offset plus length is beyond what 32 bits can hold, so beyond any task.
    RangeWraps {
        /// Buffer Offset in bytes.
        offset: u32,
        /// DataSegmentLength or Desired Data Transfer Length in bytes.
        length: u32,
    },

    /// SCSI Command: the task attribute is a reserved one.
    ReservedTaskAttribute(u8),
    /// SCSI Command: F is 0, so Data-Out follow, but W is 0.
    UnsolicitedDataWithoutWrite,
    /// SCSI Command: data follow although W is 0; their length.
    ImmediateDataWithoutWrite(u32),
    /// SCSI Command: an Expected Data Transfer Length without R and without W.
    LengthWithoutDirection(u32),
    /// SCSI Command: the immediate data are longer than the Expected Data Transfer Length.
    ImmediateDataTooLong {
        /// DataSegmentLength in bytes.
        immediate: u32,
        /// Expected Data Transfer Length in bytes.
        expected: u32,
    },
    /// SCSI Command: F is 0 although the immediate data are all data of the command.
    NothingLeftToFollow,

    /// SCSI Response: the response is a reserved one.
    ReservedScsiResponse(u8),
    /// SCSI Response or Data-In: both residual flags, O and U, are set.
    OverflowAndUnderflow,
    /// SCSI Response: both residual flags of the read half of a bidirectional command, o and u, are set.
    BidiOverflowAndUnderflow,
    /// SCSI Response: CHECK CONDITION without a data segment, so without sense.
    CheckConditionWithoutSense,
    /// SCSI Response or SCSI event: the data segment of one byte cannot hold SenseLength.
    SenseLengthCut,
    /// Data-In: S is set without F.
    StatusWithoutFinal,
    /// Data-In: S is set with a status that only a SCSI Response may bring.
    StatusNotForDataIn(u8),
    /// R2T: the Desired Data Transfer Length is 0.
    NothingDesired,

    /// Task Management Function Request: the function is a reserved one.
    ReservedTaskManagementFunction(u8),
    /// Task Management Function Request: the Referenced Task Tag is the reserved one where a task must be named.
    ReservedReferencedTaskTag,
    /// Task Management Function Request: TASK REASSIGN without the I bit.
    TaskReassignNotImmediate,

    /// Login: CSG or NSG is the reserved stage 2.
    ReservedStage(u8),
    /// Login: CSG is FullFeaturePhase, which is no stage of the login.
    LoginInFullFeaturePhase,
    /// Login: T is set, and NSG is not beyond CSG.
    StageNotForward {
        /// CSG.
        current: u8,
        /// NSG.
        next: u8,
    },
    /// Login: both T and C are set.
    TransitAndContinue,
    /// Login Response: Status-Class 0 with a Status-Detail other than 0.
    ReservedSuccessDetail(u8),

    /// Text: both F and C are set.
    FinalAndContinue,
    /// Text Response: F is 0 and the Target Transfer Tag is the reserved one, so nothing can follow.
    NotFinalWithoutTag,

    /// Logout Request: the reason is a reserved one.
    ReservedLogoutReason(u8),
    /// Logout Response: the response is a reserved one.
    ReservedLogoutResponse(u8),

    /// SNACK: the type is a reserved one.
    ReservedSnackType(u8),
    /// R-Data SNACK: the SNACK Tag is 0 or 0xffffffff.
    ReservedSnackTag(u32),

    /// NOP: Initiator Task Tag and Target Transfer Tag are both valid.
    BothNopTags,
    /// NOP-In that answers no ping: DataSegmentLength is not 0.
    UnsolicitedNopData(u32),
    /// NOP-Out that asks for no answer: I is 0.
    NopOutNotImmediate,

    /// AHS: a segment, or all of them, would take more bytes than there are.
    AhsBeyondTotal {
        /// Bytes that the segment takes, padding included.
        segment: u32,
        /// Bytes that are left.
        left: u32,
    },
    /// AHS: AHSLength does not fit the type.
    AhsLength {
        /// AHSType.
        ahs_type: u8,
        /// AHSLength.
        length: u16,
    },
    /// AHS: the type is a reserved one.
    ReservedAhsType(u8),
    /// AHS: a second segment of this type.
    RepeatedAhs(u8),
    /// AHS: a bidirectional command without a Bidirectional Read Expected Data Transfer Length.
    MissingBidiReadLength,

    /// Reject: the data segment, of this length, cannot hold the rejected header.
    RejectWithoutHeader(u32),
}

impl FormatError {
    /// The section of RFC 7143 that states the rule.
    #[must_use]
    pub const fn section(&self) -> &'static str {
        match self {
            Self::UnassignedOpcode(_)
            | Self::VendorOpcode(_)
            | Self::WrongDirection(_)
            | Self::WrongOpcode(_) => "11.2.1.2",
            Self::UnexpectedAhs(_) => "11.2",
            Self::UnexpectedData(_) => "11.2.1.6",
            Self::ReservedInitiatorTaskTag => "11.2.1.8",
            Self::ReservedTargetTransferTag => "11.8.5",
            Self::RangeWraps { .. } => "11.7.6",
            Self::ReservedTaskAttribute(_) | Self::UnsolicitedDataWithoutWrite => "11.3.1",
            Self::ImmediateDataWithoutWrite(_) => "11.3.6",
            Self::LengthWithoutDirection(_)
            | Self::ImmediateDataTooLong { .. }
            | Self::NothingLeftToFollow => "11.3.4",
            Self::ReservedScsiResponse(_) => "11.4.3",
            Self::OverflowAndUnderflow | Self::BidiOverflowAndUnderflow => "11.4.1",
            Self::CheckConditionWithoutSense => "7.7",
            Self::SenseLengthCut => "11.4.7",
            Self::StatusWithoutFinal | Self::StatusNotForDataIn(_) => "11.7.3",
            Self::NothingDesired => "11.8.4",
            Self::ReservedTaskManagementFunction(_) | Self::TaskReassignNotImmediate => "11.5.1",
            Self::ReservedReferencedTaskTag => "11.5.4",
            Self::ReservedStage(_)
            | Self::LoginInFullFeaturePhase
            | Self::StageNotForward { .. } => "11.12.3",
            Self::TransitAndContinue => "11.12.2",
            Self::ReservedSuccessDetail(_) => "11.13.5",
            Self::FinalAndContinue => "11.10.2",
            Self::NotFinalWithoutTag => "11.11.1",
            Self::ReservedLogoutReason(_) => "11.14.1",
            Self::ReservedLogoutResponse(_) => "11.15.1",
            Self::ReservedSnackType(_) => "11.16.1",
            Self::ReservedSnackTag(_) => "11.16.5",
            Self::BothNopTags => "7.7",
            Self::UnsolicitedNopData(_) => "11.19",
            Self::NopOutNotImmediate => "11.18.1",
            Self::AhsBeyondTotal { .. } => "11.2.2.2",
            Self::AhsLength { ahs_type: 1, .. } => "11.2.2.3",
            Self::AhsLength { .. } | Self::MissingBidiReadLength => "11.2.2.4",
            Self::ReservedAhsType(_) | Self::RepeatedAhs(_) => "11.2.2.1",
            Self::RejectWithoutHeader(_) => "11.17.4",
        }
    }
}

impl fmt::Display for FormatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::UnassignedOpcode(opcode) => write!(f, "opcode {opcode:#04x} is not assigned"),
            Self::VendorOpcode(opcode) => write!(f, "opcode {opcode:#04x} is a vendor's"),
            Self::WrongDirection(opcode) => {
                write!(f, "opcode {opcode:#04x} belongs to the other side")
            }
            Self::WrongOpcode(opcode) => write!(f, "opcode {opcode:#04x} is of another kind"),
            Self::UnexpectedAhs(words) => {
                write!(f, "TotalAHSLength is {words} in a PDU that has no AHS")
            }
            Self::UnexpectedData(len) => {
                write!(f, "DataSegmentLength is {len} in a PDU that has no data")
            }
            Self::ReservedInitiatorTaskTag => f.write_str("Initiator Task Tag is 0xffffffff"),
            Self::ReservedTargetTransferTag => f.write_str("Target Transfer Tag is 0xffffffff"),
            Self::RangeWraps { offset, length } => {
                write!(f, "Buffer Offset {offset} plus length {length} exceeds 32 bits")
            }
            Self::ReservedTaskAttribute(code) => write!(f, "task attribute {code} is reserved"),
            Self::UnsolicitedDataWithoutWrite => f.write_str("F and W are both 0"),
            Self::ImmediateDataWithoutWrite(len) => {
                write!(f, "{len} bytes of immediate data, but W is 0")
            }
            Self::LengthWithoutDirection(len) => {
                write!(f, "Expected Data Transfer Length is {len}, but R and W are 0")
            }
            Self::ImmediateDataTooLong { immediate, expected } => {
                write!(f, "{immediate} bytes of immediate data, but {expected} in all")
            }
            Self::NothingLeftToFollow => f.write_str("F is 0, but the immediate data are complete"),
            Self::ReservedScsiResponse(code) => write!(f, "SCSI response {code:#04x} is reserved"),
            Self::OverflowAndUnderflow => f.write_str("O and U are both set"),
            Self::BidiOverflowAndUnderflow => f.write_str("o and u are both set"),
            Self::CheckConditionWithoutSense => f.write_str("CHECK CONDITION without sense"),
            Self::SenseLengthCut => f.write_str("DataSegmentLength is 1, SenseLength needs 2"),
            Self::StatusWithoutFinal => f.write_str("S is set, but F is 0"),
            Self::StatusNotForDataIn(status) => {
                write!(f, "status {status:#04x} is not allowed in Data-In")
            }
            Self::NothingDesired => f.write_str("Desired Data Transfer Length is 0"),
            Self::ReservedTaskManagementFunction(code) => {
                write!(f, "task management function {code} is reserved")
            }
            Self::ReservedReferencedTaskTag => f.write_str("Referenced Task Tag is 0xffffffff"),
            Self::TaskReassignNotImmediate => f.write_str("TASK REASSIGN is not immediate"),
            Self::ReservedStage(stage) => write!(f, "login stage {stage} is reserved"),
            Self::LoginInFullFeaturePhase => f.write_str("CSG is FullFeaturePhase"),
            Self::StageNotForward { current, next } => {
                write!(f, "login stage {next} does not come after stage {current}")
            }
            Self::TransitAndContinue => f.write_str("T and C are both set"),
            Self::ReservedSuccessDetail(detail) => {
                write!(f, "Status-Class is 0, but Status-Detail is {detail:#04x}")
            }
            Self::FinalAndContinue => f.write_str("F and C are both set"),
            Self::NotFinalWithoutTag => {
                f.write_str("F is 0, but the Target Transfer Tag is 0xffffffff")
            }
            Self::ReservedLogoutReason(code) => write!(f, "logout reason {code} is reserved"),
            Self::ReservedLogoutResponse(code) => write!(f, "logout response {code} is reserved"),
            Self::ReservedSnackType(code) => write!(f, "SNACK type {code} is reserved"),
            Self::ReservedSnackTag(tag) => write!(f, "SNACK Tag {tag:#x} is reserved"),
            Self::BothNopTags => {
                f.write_str("Initiator Task Tag and Target Transfer Tag are both valid")
            }
            Self::UnsolicitedNopData(len) => {
                write!(f, "DataSegmentLength is {len} in a NOP-In that answers no ping")
            }
            Self::NopOutNotImmediate => f.write_str("I is 0 in a NOP-Out that asks for no answer"),
            Self::AhsBeyondTotal { segment, left } => {
                write!(f, "AHS of {segment} bytes, but {left} bytes are left")
            }
            Self::AhsLength { ahs_type, length } => {
                write!(f, "AHSLength {length} does not fit AHSType {ahs_type}")
            }
            Self::ReservedAhsType(ahs_type) => write!(f, "AHSType {ahs_type} is reserved"),
            Self::RepeatedAhs(ahs_type) => write!(f, "more than one AHS of type {ahs_type}"),
            Self::MissingBidiReadLength => {
                f.write_str("R and W are set, but no AHS has the read length")
            }
            Self::RejectWithoutHeader(len) => {
                write!(f, "DataSegmentLength is {len}, the rejected header needs 48")
            }
        }
    }
}

impl core::error::Error for FormatError {}
