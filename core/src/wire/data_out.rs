//! SCSI Data-Out, opcode 0x05 (RFC 7143 section 11.7).

use super::bhs::{self, Bhs, FINAL, Opcode, TransferTag, flag};
use super::error::FormatError;
use super::field::{Field, view};
use crate::{DataSn, InitiatorTaskTag, Lun, StatSn, TargetTransferTag};

view! {
    /// The fields of a SCSI Data-Out (RFC 7143 section 11.7).
    ///
    /// ```
    /// use iscsi_core::wire::{BHS_LEN, DataOutView};
    /// let mut bhs = [0; BHS_LEN];
    /// bhs[1] = 0x80;
    /// assert!(DataOutView::new(&bhs).is_final());
    /// ```
    DataOutView {
        /// F: the last PDU of its sequence.
        is_final: bool = 1 & 0x80;
        /// The logical unit; means something with a valid Target Transfer Tag only.
        lun: Lun = 8;
        /// The task.
        initiator_task_tag: InitiatorTaskTag = 16;
        /// The tag of the R2T that this answers, reserved for unsolicited data.
        target_transfer_tag: TargetTransferTag = 20;
        /// The next StatSN that the initiator expects.
        exp_stat_sn: StatSn = 28;
        /// The number of this PDU within its sequence.
        data_sn: DataSn = 36;
        /// Where the data belong in the task's buffer, in bytes.
        buffer_offset: u32 = 40;
    }
}

/// A SCSI Data-Out (RFC 7143 section 11.7).
///
/// ```
/// use iscsi_core::wire::{BHS_LEN, DataOut};
/// use iscsi_core::{DataSn, InitiatorTaskTag, StatSn};
///
/// let unsolicited = DataOut {
///     is_final: true,
///     transfer: None,
///     data_segment_length: 512,
///     initiator_task_tag: InitiatorTaskTag(1),
///     exp_stat_sn: StatSn(2),
///     data_sn: DataSn(0),
///     buffer_offset: 512,
/// };
/// let mut bhs = [0; BHS_LEN];
/// unsolicited.emit(&mut bhs);
/// assert_eq!(bhs[20..24], [0xff; 4]); // no Target Transfer Tag
/// assert_eq!(DataOut::parse(&bhs), Ok(unsolicited));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DataOut {
    /// F: the last PDU of its sequence.
    pub is_final: bool,
    /// LUN and tag of the R2T that this answers, `None` for unsolicited data.
    pub transfer: Option<TransferTag>,
    /// Bytes of data, without padding.
    pub data_segment_length: u32,
    /// The task.
    pub initiator_task_tag: InitiatorTaskTag,
    /// The next StatSN that the initiator expects.
    pub exp_stat_sn: StatSn,
    /// The number of this PDU within its sequence.
    pub data_sn: DataSn,
    /// Where the data belong in the task's buffer, in bytes. Offset plus length fits 32 bits.
    pub buffer_offset: u32,
}

impl DataOut {
    /// Reads a header.
    ///
    /// # Errors
    ///
    /// The opcode, the tag or TotalAHSLength is wrong, or the range exceeds 32 bits.
    #[inline]
    pub fn parse(bhs: &Bhs) -> Result<Self, FormatError> {
        bhs::expect_kind(bhs, Opcode::DataOut)?;
        let view = DataOutView::new(bhs);
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
            transfer: TransferTag::get(bhs),
            data_segment_length,
            initiator_task_tag: bhs::task_tag(bhs)?,
            exp_stat_sn: view.exp_stat_sn(),
            data_sn: view.data_sn(),
            buffer_offset,
        })
    }

    /// Writes all 48 bytes.
    #[inline]
    pub fn emit(&self, bhs: &mut Bhs) {
        let flags = flag(self.is_final, FINAL);
        bhs::start(bhs, Opcode::DataOut.to_byte(), flags, self.data_segment_length);
        TransferTag::put(self.transfer, bhs);
        self.initiator_task_tag.put::<16>(bhs);
        self.exp_stat_sn.put::<28>(bhs);
        self.data_sn.put::<36>(bhs);
        self.buffer_offset.put::<40>(bhs);
    }
}
