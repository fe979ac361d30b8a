//! SCSI Response, opcode 0x21 (RFC 7143 section 11.4).

use core::num::NonZeroU32;

use super::bhs::{self, Bhs, FINAL, Opcode};
use super::error::FormatError;
use super::field::{Field, codes, names, view};
use crate::{CmdSn, DataSn, InitiatorTaskTag, StatSn};

view! {
    /// The fields of a SCSI Response (RFC 7143 section 11.4).
    ///
    /// ```
    /// use iscsi_core::wire::{BHS_LEN, ScsiResponseView, ScsiStatus};
    /// let mut bhs = [0; BHS_LEN];
    /// bhs[3] = 0x08;
    /// assert_eq!(ScsiResponseView::new(&bhs).status(), ScsiStatus::Busy);
    /// ```
    ScsiResponseView {
        /// Bit 0x80 of byte 1: always 1; a 0 is accepted.
        is_final: bool = 1 & 0x80;
        /// o: the read half of a bidirectional command had more data than expected.
        bidi_read_overflow: bool = 1 & 0x10;
        /// u: the read half of a bidirectional command had fewer data than expected.
        bidi_read_underflow: bool = 1 & 0x08;
        /// O: more data than expected.
        overflow: bool = 1 & 0x04;
        /// U: fewer data than expected.
        underflow: bool = 1 & 0x02;
        /// Response: 0 if the command was completed, so that the status and the residuals mean something.
        response: u8 as ScsiResponseCode = 2;
        /// SCSI status.
        status: ScsiStatus = 3;
        /// Status Qualifier (RFC 7144 section 5.2).
        status_qualifier: u16 = 8;
        /// The task.
        initiator_task_tag: InitiatorTaskTag = 16;
        /// The tag of the last R-Data SNACK of the task, 0 for none.
        snack_tag: u32 = 20;
        /// The number of this status.
        stat_sn: StatSn = 24;
        /// The next CmdSN that the target expects.
        exp_cmd_sn: CmdSn = 28;
        /// The last CmdSN that the target accepts.
        max_cmd_sn: CmdSn = 32;
        /// How many Data-In PDUs the task had.
        exp_data_sn: DataSn = 36;
        /// The residual of the read half of a bidirectional command, in bytes.
        bidi_read_residual_count: u32 = 40;
        /// The residual in bytes.
        residual_count: u32 = 44;
    }
}

codes! { open
    /// A SCSI status (RFC 7143 section 11.4.2, SAM-5).
    ///
    /// ```
    /// use iscsi_core::wire::ScsiStatus;
    /// assert_eq!(ScsiStatus::from_byte(0x02), ScsiStatus::CheckCondition);
    /// assert_eq!(ScsiStatus::TaskSetFull.to_string(), "TASK SET FULL");
    /// assert_eq!(ScsiStatus::from_byte(0x77).to_string(), "0x77");
    /// ```
    ScsiStatus {
        /// Done.
        Good = 0x00, "GOOD";
        /// Not done, or done with a remark: the sense data say what.
        CheckCondition = 0x02, "CHECK CONDITION";
        /// Done, and what the command looked for was found.
        ConditionMet = 0x04, "CONDITION MET";
        /// Not accepted now.
        Busy = 0x08, "BUSY";
        /// Obsolete: a linked command is done.
        Intermediate = 0x10, "INTERMEDIATE";
        /// Obsolete: a linked command is done and its condition was met.
        IntermediateConditionMet = 0x14, "INTERMEDIATE-CONDITION MET";
        /// Another initiator holds a reservation.
        ReservationConflict = 0x18, "RESERVATION CONFLICT";
        /// Obsolete.
        CommandTerminated = 0x22, "COMMAND TERMINATED";
        /// No room for another task.
        TaskSetFull = 0x28, "TASK SET FULL";
        /// An auto contingent allegiance stands.
        AcaActive = 0x30, "ACA ACTIVE";
        /// Aborted on behalf of another initiator.
        TaskAborted = 0x40, "TASK ABORTED";
    }
}

impl ScsiStatus {
    /// Whether Data-In may bring it: no sense can be needed (RFC 7143 section 11.7.3).
    #[inline]
    pub const fn fits_data_in(self) -> bool {
        matches!(
            self,
            Self::Good | Self::ConditionMet | Self::Intermediate | Self::IntermediateConditionMet
        )
    }
}

/// By how many bytes a transfer missed the Expected Data Transfer Length (RFC 7143 section 11.4.5).
///
/// ```
/// use iscsi_core::wire::Residual;
/// let expected = 512;
/// let residual = Residual::Underflow(100);
/// assert_eq!(residual.transferred(expected), Some(412));
/// assert_eq!(Residual::Underflow(513).transferred(expected), None);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Residual {
    /// As many as expected. A Residual Count without its flag means nothing.
    #[default]
    None,
    /// The command had this many bytes more than expected; they were not moved.
    Overflow(u32),
    /// This many bytes of the expected ones were not moved.
    Underflow(u32),
}

impl Residual {
    /// How many of `expected` bytes were moved; `None` if the residual is larger than that.
    #[inline]
    pub const fn transferred(self, expected: u32) -> Option<u32> {
        match self {
            Self::None | Self::Overflow(_) => Some(expected),
            Self::Underflow(count) => expected.checked_sub(count),
        }
    }

    /// `None` if both flags are set.
    #[inline]
    pub(super) const fn from_fields(overflow: bool, underflow: bool, count: u32) -> Option<Self> {
        match (overflow, underflow) {
            (false, false) => Some(Self::None),
            (true, false) => Some(Self::Overflow(count)),
            (false, true) => Some(Self::Underflow(count)),
            (true, true) => None,
        }
    }

    /// The flags O (2) and U (1), and the count.
    #[inline]
    pub(super) const fn to_fields(self) -> (u8, u32) {
        match self {
            Self::None => (0, 0),
            Self::Overflow(count) => (2, count),
            Self::Underflow(count) => (1, count),
        }
    }
}

/// What a target says about a command that it completed (RFC 7143 section 11.4).
///
/// ```
/// use iscsi_core::wire::{Completion, ScsiStatus};
/// let completion = Completion { status: ScsiStatus::Busy, ..Completion::GOOD };
/// assert_ne!(completion, Completion::GOOD);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Completion {
    /// SCSI status.
    pub status: ScsiStatus,
    /// Status Qualifier (RFC 7144 section 5.2). Of a task it is 0 unless iSCSIProtocolLevel is 2 or more: without that the field is reserved.
    pub status_qualifier: u16,
    /// The residual of the command, or of the write half of a bidirectional one.
    pub residual: Residual,
    /// The residual of the read half of a bidirectional command.
    pub bidi_read_residual: Residual,
    /// How many Data-In PDUs the task had.
    pub exp_data_sn: DataSn,
}

impl Completion {
    /// Status GOOD, no residual, no Data-In.
    pub const GOOD: Self = Self {
        status: ScsiStatus::Good,
        status_qualifier: 0,
        residual: Residual::None,
        bidi_read_residual: Residual::None,
        exp_data_sn: DataSn(0),
    };
}

/// Whether the command reached its end at the target (RFC 7143 section 11.4.3).
///
/// Status and residuals exist only for a completed command: in the other cases the fields of the header are undefined.
///
/// ```
/// use iscsi_core::wire::{Completion, ScsiResponseCode};
/// assert_eq!(ScsiResponseCode::CompletedAtTarget(Completion::GOOD).to_byte(), 0);
/// assert_eq!(ScsiResponseCode::Other(0x80).to_byte(), 0x80);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScsiResponseCode {
    /// 0x00: command completed at target.
    CompletedAtTarget(Completion),
    /// 0x01: target failure.
    TargetFailure,
    /// 0x80 to 0xff: a vendor's. Those below it are reserved; parsing refuses them.
    Other(u8),
}

names! { ScsiResponseCode {
    0x00 => "Command completed at target",
    0x01 => "Target failure",
    0x80..=0xff => "vendor",
} }

impl ScsiResponseCode {
    /// The code.
    #[inline]
    pub const fn to_byte(self) -> u8 {
        match self {
            Self::CompletedAtTarget(_) => 0x00,
            Self::TargetFailure => 0x01,
            Self::Other(code) => code,
        }
    }
}

/// A SCSI Response (RFC 7143 section 11.4).
///
/// ```
/// use iscsi_core::wire::{BHS_LEN, Completion, ScsiResponse, ScsiResponseCode};
/// use iscsi_core::{CmdSn, InitiatorTaskTag, StatSn};
///
/// let response = ScsiResponse {
///     response: ScsiResponseCode::CompletedAtTarget(Completion::GOOD),
///     data_segment_length: 0,
///     initiator_task_tag: InitiatorTaskTag(1),
///     snack_tag: None,
///     stat_sn: StatSn(2),
///     exp_cmd_sn: CmdSn(3),
///     max_cmd_sn: CmdSn(34),
/// };
/// let mut bhs = [0; BHS_LEN];
/// response.emit(&mut bhs);
/// assert_eq!(ScsiResponse::parse(&bhs), Ok(response));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScsiResponse {
    /// Whether and how the command ended.
    pub response: ScsiResponseCode,
    /// Bytes of SenseLength, sense, and response data together.
    pub data_segment_length: u32,
    /// The task.
    pub initiator_task_tag: InitiatorTaskTag,
    /// The tag of the last R-Data SNACK that the target accepted for the task.
    pub snack_tag: Option<NonZeroU32>,
    /// The number of this status.
    pub stat_sn: StatSn,
    /// The next CmdSN that the target expects.
    pub exp_cmd_sn: CmdSn,
    /// The last CmdSN that the target accepts.
    pub max_cmd_sn: CmdSn,
}

impl ScsiResponse {
    /// Reads a header.
    ///
    /// # Errors
    ///
    /// The opcode, the tag or TotalAHSLength is wrong, residual flags contradict each other, or the data segment is too short for
    /// the status.
    #[inline]
    pub fn parse(bhs: &Bhs) -> Result<Self, FormatError> {
        bhs::expect_kind(bhs, Opcode::ScsiResponse)?;
        let view = ScsiResponseView::new(bhs);
        let data_segment_length = view.data_segment_length();
        if data_segment_length == 1 {
            return Err(FormatError::SenseLengthCut);
        }
        let response = match view.response() {
            0x00 => ScsiResponseCode::CompletedAtTarget(Self::completion(view)?),
            0x01 => ScsiResponseCode::TargetFailure,
            code @ 0x02..=0x7f => return Err(FormatError::ReservedScsiResponse(code)),
            code => ScsiResponseCode::Other(code),
        };
        Ok(Self {
            response,
            data_segment_length,
            initiator_task_tag: bhs::task_tag(bhs)?,
            snack_tag: NonZeroU32::new(view.snack_tag()),
            stat_sn: view.stat_sn(),
            exp_cmd_sn: view.exp_cmd_sn(),
            max_cmd_sn: view.max_cmd_sn(),
        })
    }

    #[inline]
    fn completion(view: ScsiResponseView<'_>) -> Result<Completion, FormatError> {
        let status = view.status();
        if status == ScsiStatus::CheckCondition && view.data_segment_length() == 0 {
            return Err(FormatError::CheckConditionWithoutSense);
        }
        let residual =
            Residual::from_fields(view.overflow(), view.underflow(), view.residual_count())
                .ok_or(FormatError::OverflowAndUnderflow)?;
        let bidi_read_residual = Residual::from_fields(
            view.bidi_read_overflow(),
            view.bidi_read_underflow(),
            view.bidi_read_residual_count(),
        )
        .ok_or(FormatError::BidiOverflowAndUnderflow)?;
        Ok(Completion {
            status,
            status_qualifier: view.status_qualifier(),
            residual,
            bidi_read_residual,
            exp_data_sn: view.exp_data_sn(),
        })
    }

    /// Writes all 48 bytes.
    #[inline]
    pub fn emit(&self, bhs: &mut Bhs) {
        bhs::start(bhs, Opcode::ScsiResponse.to_byte(), FINAL, self.data_segment_length);
        bhs[2] = self.response.to_byte();
        if let ScsiResponseCode::CompletedAtTarget(completion) = self.response {
            let (flags, count) = completion.residual.to_fields();
            let (bidi_flags, bidi_count) = completion.bidi_read_residual.to_fields();
            bhs[1] |= flags << 1 | bidi_flags << 3;
            completion.status.put::<3>(bhs);
            completion.status_qualifier.put::<8>(bhs);
            completion.exp_data_sn.put::<36>(bhs);
            bidi_count.put::<40>(bhs);
            count.put::<44>(bhs);
        }
        self.initiator_task_tag.put::<16>(bhs);
        self.snack_tag.map_or(0, NonZeroU32::get).put::<20>(bhs);
        self.stat_sn.put::<24>(bhs);
        self.exp_cmd_sn.put::<28>(bhs);
        self.max_cmd_sn.put::<32>(bhs);
    }
}
