//! Ready To Transfer, opcode 0x31 (RFC 7143 section 11.8).

use super::bhs::{self, Bhs, FINAL, Opcode, TransferTag};
use super::error::FormatError;
use super::field::{Field, view};
use crate::{CmdSn, InitiatorTaskTag, Lun, R2tSn, StatSn, TargetTransferTag};

view! {
    /// The fields of a Ready To Transfer (RFC 7143 section 11.8).
    ///
    /// ```
    /// use iscsi_core::R2tSn;
    /// use iscsi_core::wire::{BHS_LEN, R2tView};
    /// let mut bhs = [0; BHS_LEN];
    /// bhs[39] = 3;
    /// assert_eq!(R2tView::new(&bhs).r2t_sn(), R2tSn(3));
    /// ```
    R2tView {
        /// Bit 0x80 of byte 1: always 1; a 0 is accepted.
        is_final: bool = 1 & 0x80;
        /// The logical unit of the command.
        lun: Lun = 8;
        /// The task.
        initiator_task_tag: InitiatorTaskTag = 16;
        /// What the answering Data-Out PDUs carry.
        target_transfer_tag: TargetTransferTag = 20;
        /// The number of the next status; this PDU takes none.
        stat_sn: StatSn = 24;
        /// The next CmdSN that the target expects.
        exp_cmd_sn: CmdSn = 28;
        /// The last CmdSN that the target accepts.
        max_cmd_sn: CmdSn = 32;
        /// The number of this R2T within the task.
        r2t_sn: R2tSn = 36;
        /// Where the wanted data begin in the task's buffer, in bytes.
        buffer_offset: u32 = 40;
        /// How many bytes are wanted.
        desired_data_transfer_length: u32 = 44;
    }
}

/// A Ready To Transfer: the target asks for data of a write (RFC 7143 section 11.8).
///
/// ```
/// use iscsi_core::wire::{BHS_LEN, R2t};
/// use iscsi_core::{CmdSn, InitiatorTaskTag, Lun, R2tSn, StatSn, TargetTransferTag};
///
/// let r2t = R2t {
///     lun: Lun::ZERO,
///     initiator_task_tag: InitiatorTaskTag(1),
///     target_transfer_tag: TargetTransferTag(9),
///     stat_sn: StatSn(2),
///     exp_cmd_sn: CmdSn(3),
///     max_cmd_sn: CmdSn(34),
///     r2t_sn: R2tSn(0),
///     buffer_offset: 65_536,
///     desired_data_transfer_length: 8192,
/// };
/// let mut bhs = [0; BHS_LEN];
/// r2t.emit(&mut bhs);
/// assert_eq!(R2t::parse(&bhs), Ok(r2t));
/// assert_eq!(r2t.transfer().target_transfer_tag, TargetTransferTag(9));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct R2t {
    /// The logical unit of the command.
    pub lun: Lun,
    /// The task.
    pub initiator_task_tag: InitiatorTaskTag,
    /// What the answering Data-Out PDUs carry, never the reserved tag.
    pub target_transfer_tag: TargetTransferTag,
    /// The number of the next status; this PDU takes none.
    pub stat_sn: StatSn,
    /// The next CmdSN that the target expects.
    pub exp_cmd_sn: CmdSn,
    /// The last CmdSN that the target accepts.
    pub max_cmd_sn: CmdSn,
    /// The number of this R2T within the task.
    pub r2t_sn: R2tSn,
    /// Where the wanted data begin in the task's buffer, in bytes. Offset plus length fits 32 bits.
    pub buffer_offset: u32,
    /// How many bytes are wanted, at least 1.
    pub desired_data_transfer_length: u32,
}

impl R2t {
    /// Reads a header.
    ///
    /// # Errors
    ///
    /// The opcode, a tag, TotalAHSLength or DataSegmentLength is wrong, nothing is wanted, or the range exceeds 32 bits.
    #[inline]
    pub fn parse(bhs: &Bhs) -> Result<Self, FormatError> {
        bhs::expect_kind(bhs, Opcode::R2t)?;
        bhs::expect_no_data(bhs)?;
        let view = R2tView::new(bhs);
        let target_transfer_tag = view.target_transfer_tag();
        if target_transfer_tag.is_reserved() {
            return Err(FormatError::ReservedTargetTransferTag);
        }
        let offset = view.buffer_offset();
        let length = view.desired_data_transfer_length();
        if length == 0 {
            return Err(FormatError::NothingDesired);
        }
        if offset.checked_add(length).is_none() {
            return Err(FormatError::RangeWraps { offset, length });
        }
        Ok(Self {
            lun: view.lun(),
            initiator_task_tag: bhs::task_tag(bhs)?,
            target_transfer_tag,
            stat_sn: view.stat_sn(),
            exp_cmd_sn: view.exp_cmd_sn(),
            max_cmd_sn: view.max_cmd_sn(),
            r2t_sn: view.r2t_sn(),
            buffer_offset: offset,
            desired_data_transfer_length: length,
        })
    }

    /// What the answering Data-Out PDUs echo.
    #[inline]
    pub const fn transfer(&self) -> TransferTag {
        TransferTag { lun: self.lun, target_transfer_tag: self.target_transfer_tag }
    }

    /// Writes all 48 bytes.
    #[inline]
    pub fn emit(&self, bhs: &mut Bhs) {
        bhs::start(bhs, Opcode::R2t.to_byte(), FINAL, 0);
        self.lun.put::<8>(bhs);
        self.initiator_task_tag.put::<16>(bhs);
        self.target_transfer_tag.put::<20>(bhs);
        self.stat_sn.put::<24>(bhs);
        self.exp_cmd_sn.put::<28>(bhs);
        self.max_cmd_sn.put::<32>(bhs);
        self.r2t_sn.put::<36>(bhs);
        self.buffer_offset.put::<40>(bhs);
        self.desired_data_transfer_length.put::<44>(bhs);
    }
}
