//! Fields of a header by name, to change them in a script and to ask for them afterwards.

use core::fmt;

use crate::wire::Bhs;

/// A field of a Basic Header Segment: some bytes of it, or some bits of one byte.
///
/// The constants name the fields of RFC 7143 sections 11.2 to 11.19; where PDU kinds use the same bytes for different things, each
/// meaning has its own constant, and it is up to the caller to use the one that fits the kind.
///
/// ```
/// use iscsi_core::testing::Field;
/// let mut bhs = [0; 48];
/// Field::STAT_SN.set(&mut bhs, 7);
/// Field::FINAL.set(&mut bhs, 1);
/// assert_eq!((Field::STAT_SN.get(&bhs), bhs[27], bhs[1]), (7, 7, 0x80));
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Field {
    at: u8,
    len: u8,
    mask: u8,
}

impl Field {
    /// The bits of `mask` in the byte at `at`.
    pub const fn bits(at: u8, mask: u8) -> Self {
        Self { at, len: 1, mask }
    }

    /// `len` whole bytes from `at` on, 8 at most, the most significant first.
    pub const fn bytes(at: u8, len: u8) -> Self {
        Self { at, len, mask: 0xff }
    }

    /// The value in this header.
    pub fn get(self, bhs: &Bhs) -> u64 {
        let (at, len) = (usize::from(self.at), usize::from(self.len));
        let whole = bhs[at..at + len].iter().fold(0, |all, byte| all << 8 | u64::from(*byte));
        if self.len > 1 {
            whole
        } else {
            (whole & u64::from(self.mask)) >> self.mask.trailing_zeros()
        }
    }

    /// Sets the value in this header; what does not fit is cut off.
    pub fn set(self, bhs: &mut Bhs, value: u64) {
        let (at, len) = (usize::from(self.at), usize::from(self.len));
        if len > 1 {
            bhs[at..at + len].copy_from_slice(&value.to_be_bytes()[8 - len..]);
        } else {
            let bits = ((value << self.mask.trailing_zeros()) as u8) & self.mask;
            bhs[at] = bhs[at] & !self.mask | bits;
        }
    }

    /// Bytes of the field.
    pub const fn len(self) -> usize {
        self.len as usize
    }

    /// Never: a field has at least a bit.
    pub const fn is_empty(self) -> bool {
        self.len == 0
    }
}

impl fmt::Debug for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.len {
            1 => write!(f, "Field({} & {:#04x})", self.at, self.mask),
            _ => write!(f, "Field({}..{})", self.at, self.at + self.len),
        }
    }
}

/// All kinds.
impl Field {
    /// The reserved bit of byte 0.
    pub const RESERVED_BIT: Self = Self::bits(0, 0x80);
    /// I: immediate delivery; reserved in PDUs of the target.
    pub const IMMEDIATE: Self = Self::bits(0, 0x40);
    /// The opcode.
    pub const OPCODE: Self = Self::bits(0, 0x3f);
    /// F: the last PDU of a sequence.
    pub const FINAL: Self = Self::bits(1, 0x80);
    /// All other bits of byte 1.
    pub const FLAGS: Self = Self::bits(1, 0x7f);
    /// TotalAHSLength in words of four bytes.
    pub const TOTAL_AHS_LENGTH: Self = Self::bytes(4, 1);
    /// DataSegmentLength in bytes.
    pub const DATA_SEGMENT_LENGTH: Self = Self::bytes(5, 3);
    /// Logical Unit Number.
    pub const LUN: Self = Self::bytes(8, 8);
    /// Initiator Task Tag.
    pub const INITIATOR_TASK_TAG: Self = Self::bytes(16, 4);
    /// Target Transfer Tag.
    pub const TARGET_TRANSFER_TAG: Self = Self::bytes(20, 4);
    /// StatSN, in PDUs of the target.
    pub const STAT_SN: Self = Self::bytes(24, 4);
    /// ExpCmdSN, in PDUs of the target.
    pub const EXP_CMD_SN: Self = Self::bytes(28, 4);
    /// MaxCmdSN, in PDUs of the target.
    pub const MAX_CMD_SN: Self = Self::bytes(32, 4);
    /// CmdSN, in PDUs of the initiator.
    pub const CMD_SN: Self = Self::bytes(24, 4);
    /// ExpStatSN, in PDUs of the initiator.
    pub const EXP_STAT_SN: Self = Self::bytes(28, 4);
}

/// Login and Text.
impl Field {
    /// T: on to the next stage.
    pub const TRANSIT: Self = Self::bits(1, 0x80);
    /// C: the text continues.
    pub const CONTINUE: Self = Self::bits(1, 0x40);
    /// CSG.
    pub const CURRENT_STAGE: Self = Self::bits(1, 0x0c);
    /// NSG.
    pub const NEXT_STAGE: Self = Self::bits(1, 0x03);
    /// Version-max.
    pub const VERSION_MAX: Self = Self::bytes(2, 1);
    /// Version-active of a Login Response, Version-min of a Login Request.
    pub const VERSION_ACTIVE: Self = Self::bytes(3, 1);
    /// ISID.
    pub const ISID: Self = Self::bytes(8, 6);
    /// TSIH.
    pub const TSIH: Self = Self::bytes(14, 2);
    /// CID of a Login or Logout Request.
    pub const CID: Self = Self::bytes(20, 2);
    /// Status-Class of a Login Response.
    pub const STATUS_CLASS: Self = Self::bytes(36, 1);
    /// Status-Detail of a Login Response.
    pub const STATUS_DETAIL: Self = Self::bytes(37, 1);
}

/// SCSI Command, SCSI Response, Data-In, Data-Out and R2T.
impl Field {
    /// Expected Data Transfer Length of a SCSI Command.
    pub const EXPECTED_DATA_TRANSFER_LENGTH: Self = Self::bytes(20, 4);
    /// The response code of a SCSI, task management or logout response, the reason of a Reject.
    pub const RESPONSE: Self = Self::bytes(2, 1);
    /// The SCSI status.
    pub const STATUS: Self = Self::bytes(3, 1);
    /// O: residual overflow.
    pub const OVERFLOW: Self = Self::bits(1, 0x04);
    /// U: residual underflow.
    pub const UNDERFLOW: Self = Self::bits(1, 0x02);
    /// o: residual overflow of the read half of a bidirectional command.
    pub const BIDI_OVERFLOW: Self = Self::bits(1, 0x10);
    /// u: residual underflow of the read half of a bidirectional command.
    pub const BIDI_UNDERFLOW: Self = Self::bits(1, 0x08);
    /// S: the Data-In brings the status.
    pub const HAS_STATUS: Self = Self::bits(1, 0x01);
    /// A: the Data-In asks for an acknowledgement.
    pub const ACKNOWLEDGE: Self = Self::bits(1, 0x40);
    /// Status Qualifier of a SCSI Response.
    pub const STATUS_QUALIFIER: Self = Self::bytes(8, 2);
    /// SNACK Tag of a SCSI Response.
    pub const SNACK_TAG: Self = Self::bytes(20, 4);
    /// ExpDataSN of a SCSI Response.
    pub const EXP_DATA_SN: Self = Self::bytes(36, 4);
    /// Bidirectional Read Residual Count.
    pub const BIDI_RESIDUAL: Self = Self::bytes(40, 4);
    /// Residual Count.
    pub const RESIDUAL: Self = Self::bytes(44, 4);
    /// DataSN.
    pub const DATA_SN: Self = Self::bytes(36, 4);
    /// R2TSN.
    pub const R2T_SN: Self = Self::bytes(36, 4);
    /// Buffer Offset.
    pub const BUFFER_OFFSET: Self = Self::bytes(40, 4);
    /// Desired Data Transfer Length of an R2T.
    pub const DESIRED_LENGTH: Self = Self::bytes(44, 4);
    /// ATTR of a SCSI Command.
    pub const ATTRIBUTE: Self = Self::bits(1, 0x07);
    /// The first byte of the CDB.
    pub const OPERATION_CODE: Self = Self::bytes(32, 1);
}

/// Task management, logout, asynchronous messages and SNACK.
impl Field {
    /// Function of a Task Management Function Request.
    pub const FUNCTION: Self = Self::bits(1, 0x7f);
    /// Referenced Task Tag.
    pub const REFERENCED_TASK_TAG: Self = Self::bytes(20, 4);
    /// RefCmdSN.
    pub const REF_CMD_SN: Self = Self::bytes(32, 4);
    /// Reason of a Logout Request.
    pub const LOGOUT_REASON: Self = Self::bits(1, 0x7f);
    /// Time2Wait of a Logout Response.
    pub const TIME2WAIT: Self = Self::bytes(40, 2);
    /// Time2Retain of a Logout Response.
    pub const TIME2RETAIN: Self = Self::bytes(42, 2);
    /// AsyncEvent.
    pub const ASYNC_EVENT: Self = Self::bytes(36, 1);
    /// Parameter1 of an asynchronous message.
    pub const PARAMETER1: Self = Self::bytes(38, 2);
    /// Parameter2 of an asynchronous message.
    pub const PARAMETER2: Self = Self::bytes(40, 2);
    /// Parameter3 of an asynchronous message.
    pub const PARAMETER3: Self = Self::bytes(42, 2);
    /// Type of a SNACK.
    pub const SNACK_TYPE: Self = Self::bits(1, 0x0f);
    /// BegRun of a SNACK.
    pub const BEG_RUN: Self = Self::bytes(40, 4);
    /// RunLength of a SNACK.
    pub const RUN_LENGTH: Self = Self::bytes(44, 4);
}
