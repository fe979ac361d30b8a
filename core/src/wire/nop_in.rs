//! NOP-In, opcode 0x20 (RFC 7143 section 11.19).

use super::bhs::{self, Bhs, FINAL, Opcode, TransferTag};
use super::error::FormatError;
use super::field::{Field, view};
use crate::{CmdSn, InitiatorTaskTag, Lun, StatSn, TargetTransferTag};

view! {
    /// The fields of a NOP-In (RFC 7143 section 11.19).
    ///
    /// ```
    /// use iscsi_core::wire::{BHS_LEN, NopInView};
    /// let bhs = [0xff; BHS_LEN];
    /// assert!(NopInView::new(&bhs).target_transfer_tag().is_reserved());
    /// ```
    NopInView {
        /// Bit 0x80 of byte 1: always 1; a 0 is accepted.
        is_final: bool = 1 & 0x80;
        /// To be echoed with a valid Target Transfer Tag.
        lun: Lun = 8;
        /// The tag of the ping that this answers, reserved if it answers none.
        initiator_task_tag: InitiatorTaskTag = 16;
        /// The tag of a ping of the target, reserved if no answer is wanted.
        target_transfer_tag: TargetTransferTag = 20;
        /// The number of this status, or of the next one if this answers no ping.
        stat_sn: StatSn = 24;
        /// The next CmdSN that the target expects.
        exp_cmd_sn: CmdSn = 28;
        /// The last CmdSN that the target accepts.
        max_cmd_sn: CmdSn = 32;
    }
}

/// What a NOP-In is for (RFC 7143 section 11.19).
///
/// ```
/// use iscsi_core::InitiatorTaskTag;
/// use iscsi_core::wire::NopInKind;
/// assert_ne!(NopInKind::PingResponse(InitiatorTaskTag(1)), NopInKind::Update);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NopInKind {
    /// The answer to the initiator's ping with this tag. Takes a StatSN.
    PingResponse(InitiatorTaskTag),
    /// The target asks for an answer that returns LUN and tag. Takes no StatSN, carries no data.
    Ping(TransferTag),
    /// Only the counters. Takes no StatSN, carries no data.
    Update,
}

/// A NOP-In (RFC 7143 section 11.19).
///
/// ```
/// use iscsi_core::wire::{BHS_LEN, NopIn, NopInKind};
/// use iscsi_core::{CmdSn, InitiatorTaskTag, StatSn};
///
/// let update = NopIn {
///     kind: NopInKind::Update,
///     data_segment_length: 0,
///     stat_sn: StatSn(2),
///     exp_cmd_sn: CmdSn(3),
///     max_cmd_sn: CmdSn(34),
/// };
/// let mut bhs = [0; BHS_LEN];
/// update.emit(&mut bhs);
/// assert_eq!(NopIn::parse(&bhs), Ok(update));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NopIn {
    /// What it is for.
    pub kind: NopInKind,
    /// Bytes of returned ping data, without padding; 0 if this answers no ping.
    pub data_segment_length: u32,
    /// The number of this status, or of the next one if this answers no ping.
    pub stat_sn: StatSn,
    /// The next CmdSN that the target expects.
    pub exp_cmd_sn: CmdSn,
    /// The last CmdSN that the target accepts.
    pub max_cmd_sn: CmdSn,
}

impl NopIn {
    /// Reads a header.
    ///
    /// # Errors
    ///
    /// The opcode or TotalAHSLength is wrong, both tags are valid, or data come without being asked for.
    #[inline]
    pub fn parse(bhs: &Bhs) -> Result<Self, FormatError> {
        bhs::expect_kind(bhs, Opcode::NopIn)?;
        let view = NopInView::new(bhs);
        let data_segment_length = view.data_segment_length();
        let kind = match (bhs::optional_task_tag(bhs), TransferTag::get(bhs)) {
            (Some(initiator_task_tag), None) => NopInKind::PingResponse(initiator_task_tag),
            (Some(_), Some(_)) => return Err(FormatError::BothNopTags),
            (None, _) if data_segment_length != 0 => {
                return Err(FormatError::UnsolicitedNopData(data_segment_length));
            }
            (None, Some(transfer)) => NopInKind::Ping(transfer),
            (None, None) => NopInKind::Update,
        };
        Ok(Self {
            kind,
            data_segment_length,
            stat_sn: view.stat_sn(),
            exp_cmd_sn: view.exp_cmd_sn(),
            max_cmd_sn: view.max_cmd_sn(),
        })
    }

    /// Writes all 48 bytes.
    #[inline]
    pub fn emit(&self, bhs: &mut Bhs) {
        bhs::start(bhs, Opcode::NopIn.to_byte(), FINAL, self.data_segment_length);
        let (initiator_task_tag, transfer) = match self.kind {
            NopInKind::PingResponse(tag) => (tag, None),
            NopInKind::Ping(transfer) => (InitiatorTaskTag::RESERVED, Some(transfer)),
            NopInKind::Update => (InitiatorTaskTag::RESERVED, None),
        };
        TransferTag::put(transfer, bhs);
        initiator_task_tag.put::<16>(bhs);
        self.stat_sn.put::<24>(bhs);
        self.exp_cmd_sn.put::<28>(bhs);
        self.max_cmd_sn.put::<32>(bhs);
    }
}
