//! Text Request, opcode 0x04 (RFC 7143 section 11.10).

use super::bhs::{self, Bhs, FINAL, IMMEDIATE, Opcode, TransferTag, flag};
use super::error::FormatError;
use super::field::{Field, view};
use crate::{CmdSn, InitiatorTaskTag, Lun, StatSn, TargetTransferTag};

view! {
    /// The fields of a Text Request (RFC 7143 section 11.10).
    ///
    /// ```
    /// use iscsi_core::wire::{BHS_LEN, TextRequestView};
    /// let mut bhs = [0; BHS_LEN];
    /// bhs[1] = 0x40;
    /// assert!(TextRequestView::new(&bhs).is_continued());
    /// ```
    TextRequestView {
        /// I: not numbered.
        immediate: bool = 0 & 0x40;
        /// F: the initiator has nothing more to say.
        is_final: bool = 1 & 0x80;
        /// C: the text continues in the next request.
        is_continued: bool = 1 & 0x40;
        /// Copied from the response that this continues.
        lun: Lun = 8;
        /// The same tag in all requests of an exchange.
        initiator_task_tag: InitiatorTaskTag = 16;
        /// Copied from the response that this continues, reserved in a first request.
        target_transfer_tag: TargetTransferTag = 20;
        /// The number of this request, or the next one if it is immediate.
        cmd_sn: CmdSn = 24;
        /// The next StatSN that the initiator expects.
        exp_stat_sn: StatSn = 28;
    }
}

/// A Text Request (RFC 7143 section 11.10).
///
/// ```
/// use iscsi_core::wire::{BHS_LEN, TextRequest};
/// use iscsi_core::{CmdSn, InitiatorTaskTag, StatSn};
///
/// let request = TextRequest {
///     immediate: false,
///     is_final: true,
///     is_continued: false,
///     transfer: None,
///     data_segment_length: 16, // SendTargets=All and a zero byte
///     initiator_task_tag: InitiatorTaskTag(1),
///     cmd_sn: CmdSn(2),
///     exp_stat_sn: StatSn(3),
/// };
/// let mut bhs = [0; BHS_LEN];
/// request.emit(&mut bhs);
/// assert_eq!(TextRequest::parse(&bhs), Ok(request));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TextRequest {
    /// I: not numbered. The same in all requests of an exchange.
    pub immediate: bool,
    /// F: the initiator has nothing more to say. Not together with `is_continued`.
    pub is_final: bool,
    /// C: the text continues in the next request.
    pub is_continued: bool,
    /// Copied from the response that this continues; `None` starts an exchange, and ends any older one.
    pub transfer: Option<TransferTag>,
    /// Bytes of text, without padding.
    pub data_segment_length: u32,
    /// The same tag in all requests of an exchange.
    pub initiator_task_tag: InitiatorTaskTag,
    /// The number of this request, or the next one if `immediate`.
    pub cmd_sn: CmdSn,
    /// The next StatSN that the initiator expects.
    pub exp_stat_sn: StatSn,
}

impl TextRequest {
    /// Reads a header.
    ///
    /// # Errors
    ///
    /// The opcode, the tag or TotalAHSLength is wrong, or F and C are both set.
    #[inline]
    pub fn parse(bhs: &Bhs) -> Result<Self, FormatError> {
        bhs::expect_kind(bhs, Opcode::TextRequest)?;
        let view = TextRequestView::new(bhs);
        let (is_final, is_continued) = (view.is_final(), view.is_continued());
        if is_final && is_continued {
            return Err(FormatError::FinalAndContinue);
        }
        Ok(Self {
            immediate: view.immediate(),
            is_final,
            is_continued,
            transfer: TransferTag::get(bhs),
            data_segment_length: view.data_segment_length(),
            initiator_task_tag: bhs::task_tag(bhs)?,
            cmd_sn: view.cmd_sn(),
            exp_stat_sn: view.exp_stat_sn(),
        })
    }

    /// Writes all 48 bytes.
    #[inline]
    pub fn emit(&self, bhs: &mut Bhs) {
        let byte0 = Opcode::TextRequest.to_byte() | flag(self.immediate, IMMEDIATE);
        let byte1 = flag(self.is_final, FINAL) | flag(self.is_continued, 0x40);
        bhs::start(bhs, byte0, byte1, self.data_segment_length);
        TransferTag::put(self.transfer, bhs);
        self.initiator_task_tag.put::<16>(bhs);
        self.cmd_sn.put::<24>(bhs);
        self.exp_stat_sn.put::<28>(bhs);
    }
}
