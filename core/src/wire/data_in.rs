//! SCSI Data-In, opcode 0x25 (RFC 7143 section 11.7).

use super::bhs::{self, Bhs, FINAL, Opcode, TransferTag, flag};
use super::error::FormatError;
use super::field::{Field, view};
use super::scsi_response::{Residual, ScsiStatus};
use crate::{CmdSn, DataSn, InitiatorTaskTag, Lun, StatSn, TargetTransferTag};

view! {
    /// The fields of a SCSI Data-In (RFC 7143 section 11.7).
    ///
    /// ```
    /// use iscsi_core::wire::{BHS_LEN, DataInView};
    /// let mut bhs = [0; BHS_LEN];
    /// bhs[40..44].copy_from_slice(&[0, 0, 2, 0]);
    /// assert_eq!(DataInView::new(&bhs).buffer_offset(), 512);
    /// ```
    DataInView {
        /// F: the last PDU of its sequence.
        is_final: bool = 1 & 0x80;
        /// A: the target asks for a SNACK of type DataACK.
        acknowledge: bool = 1 & 0x40;
        /// O: more data than expected; means something with S only.
        overflow: bool = 1 & 0x04;
        /// U: fewer data than expected; means something with S only.
        underflow: bool = 1 & 0x02;
        /// S: this PDU brings the status.
        has_status: bool = 1 & 0x01;
        /// SCSI status; means something with S only.
        status: ScsiStatus = 3;
        /// The logical unit; means something with A only.
        lun: Lun = 8;
        /// The task.
        initiator_task_tag: InitiatorTaskTag = 16;
        /// What to acknowledge; means something with A only.
        target_transfer_tag: TargetTransferTag = 20;
        /// The number of this status; means something with S only.
        stat_sn: StatSn = 24;
        /// The next CmdSN that the target expects.
        exp_cmd_sn: CmdSn = 28;
        /// The last CmdSN that the target accepts.
        max_cmd_sn: CmdSn = 32;
        /// The number of this PDU within the task.
        data_sn: DataSn = 36;
        /// Where the data belong in the task's buffer, in bytes.
        buffer_offset: u32 = 40;
        /// The residual in bytes; means something with S only.
        residual_count: u32 = 44;
    }
}

/// The status that a Data-In brings along (RFC 7143 section 11.7.3).
///
/// ```
/// use iscsi_core::StatSn;
/// use iscsi_core::wire::{DataInStatus, Residual, ScsiStatus};
///
/// let status =
///     DataInStatus { status: ScsiStatus::Good, residual: Residual::None, stat_sn: StatSn(4) };
/// assert!(status.status.fits_data_in());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DataInStatus {
    /// One that [fits Data-In](ScsiStatus::fits_data_in).
    pub status: ScsiStatus,
    /// The residual of the command.
    pub residual: Residual,
    /// The number of this status.
    pub stat_sn: StatSn,
}

/// A SCSI Data-In (RFC 7143 section 11.7).
///
/// ```
/// use iscsi_core::wire::{BHS_LEN, DataIn};
/// use iscsi_core::{CmdSn, DataSn, InitiatorTaskTag};
///
/// let data_in = DataIn {
///     is_final: true,
///     acknowledge: None,
///     status: None,
///     data_segment_length: 512,
///     initiator_task_tag: InitiatorTaskTag(1),
///     exp_cmd_sn: CmdSn(3),
///     max_cmd_sn: CmdSn(34),
///     data_sn: DataSn(0),
///     buffer_offset: 0,
/// };
/// let mut bhs = [0; BHS_LEN];
/// data_in.emit(&mut bhs);
/// assert_eq!(DataIn::parse(&bhs), Ok(data_in));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DataIn {
    /// F: the last PDU of its sequence. Set if `status` is there.
    pub is_final: bool,
    /// A with a valid Target Transfer Tag: what to acknowledge by SNACK. A without a valid tag counts as no A.
    pub acknowledge: Option<TransferTag>,
    /// S: the end of the task.
    pub status: Option<DataInStatus>,
    /// Bytes of data, without padding; may be 0.
    pub data_segment_length: u32,
    /// The task.
    pub initiator_task_tag: InitiatorTaskTag,
    /// The next CmdSN that the target expects.
    pub exp_cmd_sn: CmdSn,
    /// The last CmdSN that the target accepts.
    pub max_cmd_sn: CmdSn,
    /// The number of this PDU within the task.
    pub data_sn: DataSn,
    /// Where the data belong in the task's buffer, in bytes. Offset plus length fits 32 bits.
    pub buffer_offset: u32,
}

impl DataIn {
    /// Reads a header.
    ///
    /// # Errors
    ///
    /// The opcode, the tag or TotalAHSLength is wrong, the status may not come this way, or the range exceeds 32 bits.
    #[inline]
    pub fn parse(bhs: &Bhs) -> Result<Self, FormatError> {
        bhs::expect_kind(bhs, Opcode::DataIn)?;
        let view = DataInView::new(bhs);
        let data_segment_length = view.data_segment_length();
        let buffer_offset = view.buffer_offset();
        if buffer_offset.checked_add(data_segment_length).is_none() {
            return Err(FormatError::RangeWraps {
                offset: buffer_offset,
                length: data_segment_length,
            });
        }
        Ok(Self {
            is_final: view.is_final(),
            acknowledge: if view.acknowledge() { TransferTag::get(bhs) } else { None },
            status: if view.has_status() { Some(Self::status(view)?) } else { None },
            data_segment_length,
            initiator_task_tag: bhs::task_tag(bhs)?,
            exp_cmd_sn: view.exp_cmd_sn(),
            max_cmd_sn: view.max_cmd_sn(),
            data_sn: view.data_sn(),
            buffer_offset,
        })
    }

    #[inline]
    fn status(view: DataInView<'_>) -> Result<DataInStatus, FormatError> {
        let status = view.status();
        if !view.is_final() {
            return Err(FormatError::StatusWithoutFinal);
        }
        if !status.fits_data_in() {
            return Err(FormatError::StatusNotForDataIn(status.to_byte()));
        }
        let residual =
            Residual::from_fields(view.overflow(), view.underflow(), view.residual_count())
                .ok_or(FormatError::OverflowAndUnderflow)?;
        Ok(DataInStatus { status, residual, stat_sn: view.stat_sn() })
    }

    /// Writes all 48 bytes.
    #[inline]
    pub fn emit(&self, bhs: &mut Bhs) {
        let flags = flag(self.is_final, FINAL) | flag(self.acknowledge.is_some(), 0x40);
        bhs::start(bhs, Opcode::DataIn.to_byte(), flags, self.data_segment_length);
        if let Some(status) = self.status {
            let (residual_flags, count) = status.residual.to_fields();
            bhs[1] |= 0x01 | residual_flags << 1;
            status.status.put::<3>(bhs);
            status.stat_sn.put::<24>(bhs);
            count.put::<44>(bhs);
        }
        TransferTag::put(self.acknowledge, bhs);
        self.initiator_task_tag.put::<16>(bhs);
        self.exp_cmd_sn.put::<28>(bhs);
        self.max_cmd_sn.put::<32>(bhs);
        self.data_sn.put::<36>(bhs);
        self.buffer_offset.put::<40>(bhs);
    }
}
