//! Reject, opcode 0x3f (RFC 7143 section 11.17).

use super::bhs::{self, BHS_LEN, Bhs, FINAL, Opcode};
use super::error::FormatError;
use super::field::{Field, codes, view};
use crate::{CmdSn, DataSn, InitiatorTaskTag, StatSn};

view! {
    /// The fields of a Reject (RFC 7143 section 11.17).
    ///
    /// ```
    /// use iscsi_core::wire::{BHS_LEN, RejectReason, RejectView};
    /// let mut bhs = [0; BHS_LEN];
    /// bhs[2] = 0x0c;
    /// assert_eq!(RejectView::new(&bhs).reason(), RejectReason::WaitingForLogout);
    /// ```
    RejectView {
        /// Bit 0x80 of byte 1: always 1; a 0 is accepted.
        is_final: bool = 1 & 0x80;
        /// Why the PDU was rejected.
        reason: RejectReason = 2;
        /// Always reserved; other values are ignored.
        initiator_task_tag: InitiatorTaskTag = 16;
        /// The number of this status.
        stat_sn: StatSn = 24;
        /// The next CmdSN that the target expects.
        exp_cmd_sn: CmdSn = 28;
        /// The last CmdSN that the target accepts.
        max_cmd_sn: CmdSn = 32;
        /// The next DataSN or R2TSN of the task; means something for a rejected Data/R2T SNACK only.
        data_sn: DataSn = 36;
    }
}

codes! { open
    /// Why a PDU was rejected (RFC 7143 section 11.17.1).
    ///
    /// ```
    /// use iscsi_core::wire::RejectReason;
    /// assert!(RejectReason::DataDigestError.may_resend());
    /// assert!(!RejectReason::from_byte(0x55).may_resend());
    /// ```
    RejectReason {
        /// The data segment arrived damaged.
        DataDigestError = 0x02, "Data (payload) digest error";
        /// The SNACK cannot be served.
        SnackReject = 0x03, "SNACK reject";
        /// The PDU breaks a rule, for example a SNACK for a status that was acknowledged.
        ProtocolError = 0x04, "Protocol error";
        /// The target does not have this kind of PDU.
        CommandNotSupported = 0x05, "Command not supported";
        /// The target has no room for another immediate command.
        ImmediateCommandReject = 0x06, "Immediate command reject - too many immediate commands";
        /// The tag is in use.
        TaskInProgress = 0x07, "Task in progress";
        /// The SNACK acknowledges data that were never sent.
        InvalidDataAck = 0x08, "Invalid data ack";
        /// A field has a value that it must not have.
        InvalidPduField = 0x09, "Invalid PDU field";
        /// The target has no Target Transfer Tag left.
        LongOperationReject = 0x0a, "Long operation reject - can't generate Target Transfer Tag";
        /// Deprecated; ends a negotiation as failed.
        NegotiationReset = 0x0b, "Negotiation reset";
        /// The target waits for a logout and takes nothing else.
        WaitingForLogout = 0x0c, "Waiting for logout";
    }
}

impl RejectReason {
    /// Whether the same PDU may be sent once more.
    pub const fn may_resend(self) -> bool {
        matches!(
            self,
            Self::DataDigestError
                | Self::SnackReject
                | Self::ImmediateCommandReject
                | Self::LongOperationReject
        )
    }
}

/// A Reject: its data segment is the header of the rejected PDU (RFC 7143 section 11.17).
///
/// ```
/// use iscsi_core::wire::{BHS_LEN, Reject, RejectReason};
/// use iscsi_core::{CmdSn, DataSn, StatSn};
///
/// let reject = Reject {
///     reason: RejectReason::InvalidPduField,
///     data_segment_length: 48,
///     stat_sn: StatSn(2),
///     exp_cmd_sn: CmdSn(3),
///     max_cmd_sn: CmdSn(34),
///     data_sn: DataSn(0),
/// };
/// let mut bhs = [0; BHS_LEN];
/// reject.emit(&mut bhs);
/// assert_eq!(Reject::parse(&bhs), Ok(reject));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reject {
    /// Why the PDU was rejected.
    pub reason: RejectReason,
    /// Bytes of the rejected header, at least 48, and of what the vendor adds.
    pub data_segment_length: u32,
    /// The number of this status.
    pub stat_sn: StatSn,
    /// The next CmdSN that the target expects.
    pub exp_cmd_sn: CmdSn,
    /// The last CmdSN that the target accepts.
    pub max_cmd_sn: CmdSn,
    /// The next DataSN or R2TSN of the task, if a Data/R2T SNACK was rejected as a protocol error; else as it came.
    pub data_sn: DataSn,
}

impl Reject {
    /// Reads a header. An unassigned reason and an Initiator Task Tag are no errors.
    ///
    /// # Errors
    ///
    /// The opcode or TotalAHSLength is wrong, or the data segment is too short for a header.
    #[inline]
    pub fn parse(bhs: &Bhs) -> Result<Self, FormatError> {
        bhs::expect_kind(bhs, Opcode::Reject)?;
        let view = RejectView::new(bhs);
        let data_segment_length = view.data_segment_length();
        if data_segment_length < BHS_LEN as u32 {
            return Err(FormatError::RejectWithoutHeader(data_segment_length));
        }
        Ok(Self {
            reason: view.reason(),
            data_segment_length,
            stat_sn: view.stat_sn(),
            exp_cmd_sn: view.exp_cmd_sn(),
            max_cmd_sn: view.max_cmd_sn(),
            data_sn: view.data_sn(),
        })
    }

    /// Writes all 48 bytes.
    #[inline]
    pub fn emit(&self, bhs: &mut Bhs) {
        bhs::start(bhs, Opcode::Reject.to_byte(), FINAL, self.data_segment_length);
        self.reason.put::<2>(bhs);
        InitiatorTaskTag::RESERVED.put::<16>(bhs);
        self.stat_sn.put::<24>(bhs);
        self.exp_cmd_sn.put::<28>(bhs);
        self.max_cmd_sn.put::<32>(bhs);
        self.data_sn.put::<36>(bhs);
    }
}
