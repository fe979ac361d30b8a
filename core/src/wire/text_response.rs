//! Text Response, opcode 0x24 (RFC 7143 section 11.11).

use super::bhs::{self, Bhs, FINAL, Opcode, TransferTag, flag};
use super::error::FormatError;
use super::field::{Field, view};
use crate::{CmdSn, InitiatorTaskTag, Lun, StatSn, TargetTransferTag};

view! {
    /// The fields of a Text Response (RFC 7143 section 11.11).
    ///
    /// ```
    /// use iscsi_core::wire::{BHS_LEN, TextResponseView};
    /// let mut bhs = [0; BHS_LEN];
    /// bhs[1] = 0x80;
    /// assert!(TextResponseView::new(&bhs).is_final());
    /// ```
    TextResponseView {
        /// F: the exchange is over.
        is_final: bool = 1 & 0x80;
        /// C: the text continues in the next response.
        is_continued: bool = 1 & 0x40;
        /// To be echoed with a valid Target Transfer Tag.
        lun: Lun = 8;
        /// The tag of the request.
        initiator_task_tag: InitiatorTaskTag = 16;
        /// To be echoed by the next request; means nothing with F.
        target_transfer_tag: TargetTransferTag = 20;
        /// The number of this status.
        stat_sn: StatSn = 24;
        /// The next CmdSN that the target expects.
        exp_cmd_sn: CmdSn = 28;
        /// The last CmdSN that the target accepts.
        max_cmd_sn: CmdSn = 32;
    }
}

/// A Text Response (RFC 7143 section 11.11).
///
/// ```
/// use iscsi_core::wire::{BHS_LEN, TextResponse};
/// use iscsi_core::{CmdSn, InitiatorTaskTag, StatSn};
///
/// let response = TextResponse {
///     transfer: None,
///     is_continued: false,
///     data_segment_length: 0,
///     initiator_task_tag: InitiatorTaskTag(1),
///     stat_sn: StatSn(2),
///     exp_cmd_sn: CmdSn(3),
///     max_cmd_sn: CmdSn(34),
/// };
/// assert!(response.is_final());
/// let mut bhs = [0; BHS_LEN];
/// response.emit(&mut bhs);
/// assert_eq!(TextResponse::parse(&bhs), Ok(response));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TextResponse {
    /// What the next request echoes; `None` is F: the exchange is over. A tag beside F counts as none.
    pub transfer: Option<TransferTag>,
    /// C: the text continues in the next response. Only with `transfer`.
    pub is_continued: bool,
    /// Bytes of text, without padding.
    pub data_segment_length: u32,
    /// The tag of the request.
    pub initiator_task_tag: InitiatorTaskTag,
    /// The number of this status.
    pub stat_sn: StatSn,
    /// The next CmdSN that the target expects.
    pub exp_cmd_sn: CmdSn,
    /// The last CmdSN that the target accepts.
    pub max_cmd_sn: CmdSn,
}

impl TextResponse {
    /// Reads a header.
    ///
    /// # Errors
    ///
    /// The opcode, a tag or TotalAHSLength is wrong, or F and C are both set.
    #[inline]
    pub fn parse(bhs: &Bhs) -> Result<Self, FormatError> {
        bhs::expect_kind(bhs, Opcode::TextResponse)?;
        let view = TextResponseView::new(bhs);
        let is_continued = view.is_continued();
        let transfer = if view.is_final() {
            if is_continued {
                return Err(FormatError::FinalAndContinue);
            }
            None
        } else {
            Some(TransferTag::get(bhs).ok_or(FormatError::NotFinalWithoutTag)?)
        };
        Ok(Self {
            transfer,
            is_continued,
            data_segment_length: view.data_segment_length(),
            initiator_task_tag: bhs::task_tag(bhs)?,
            stat_sn: view.stat_sn(),
            exp_cmd_sn: view.exp_cmd_sn(),
            max_cmd_sn: view.max_cmd_sn(),
        })
    }

    /// F: the exchange is over.
    #[inline]
    pub const fn is_final(&self) -> bool {
        self.transfer.is_none()
    }

    /// Writes all 48 bytes.
    #[inline]
    pub fn emit(&self, bhs: &mut Bhs) {
        let byte1 = flag(self.is_final(), FINAL) | flag(self.is_continued, 0x40);
        bhs::start(bhs, Opcode::TextResponse.to_byte(), byte1, self.data_segment_length);
        TransferTag::put(self.transfer, bhs);
        self.initiator_task_tag.put::<16>(bhs);
        self.stat_sn.put::<24>(bhs);
        self.exp_cmd_sn.put::<28>(bhs);
        self.max_cmd_sn.put::<32>(bhs);
    }
}
