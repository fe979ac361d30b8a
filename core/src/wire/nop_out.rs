//! NOP-Out, opcode 0x00 (RFC 7143 section 11.18).

use super::bhs::{self, Bhs, FINAL, IMMEDIATE, Opcode, TransferTag, flag};
use super::error::FormatError;
use super::field::{Field, view};
use crate::{CmdSn, InitiatorTaskTag, Lun, StatSn, TargetTransferTag};

view! {
    /// The fields of a NOP-Out (RFC 7143 section 11.18).
    ///
    /// ```
    /// use iscsi_core::wire::{BHS_LEN, NopOutView};
    /// let bhs = [0xff; BHS_LEN];
    /// assert!(NopOutView::new(&bhs).initiator_task_tag().is_reserved());
    /// ```
    NopOutView {
        /// I: not numbered.
        immediate: bool = 0 & 0x40;
        /// Bit 0x80 of byte 1: always 1; a 0 is accepted.
        is_final: bool = 1 & 0x80;
        /// Copied from the NOP-In that this answers.
        lun: Lun = 8;
        /// The tag of a ping, reserved if no answer is wanted.
        initiator_task_tag: InitiatorTaskTag = 16;
        /// The tag of the NOP-In that this answers, reserved if it answers none.
        target_transfer_tag: TargetTransferTag = 20;
        /// The next CmdSN; the number of this PDU if it is not immediate.
        cmd_sn: CmdSn = 24;
        /// The next StatSN that the initiator expects.
        exp_stat_sn: StatSn = 28;
    }
}

/// What a NOP-Out is for (RFC 7143 section 11.18).
///
/// ```
/// use iscsi_core::Lun;
/// use iscsi_core::wire::NopOutKind;
/// assert_ne!(NopOutKind::Update { lun: Lun::ZERO }, NopOutKind::Update { lun: Lun::new(1).unwrap() });
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NopOutKind {
    /// The initiator asks for an answer that returns its data.
    Ping {
        /// I: not numbered.
        immediate: bool,
        /// The tag that the answer brings back.
        initiator_task_tag: InitiatorTaskTag,
    },
    /// The answer to a ping of the target. Always immediate.
    PingResponse(TransferTag),
    /// Only the counters. Always immediate.
    Update {
        /// The logical unit whose terminated tasks are acknowledged (RFC 7143 section 11.9.1, event 5), else zero.
        lun: Lun,
    },
}

/// A NOP-Out (RFC 7143 section 11.18).
///
/// ```
/// use iscsi_core::wire::{BHS_LEN, NopOut, NopOutKind};
/// use iscsi_core::{CmdSn, InitiatorTaskTag, StatSn};
///
/// let ping = NopOut {
///     kind: NopOutKind::Ping { immediate: true, initiator_task_tag: InitiatorTaskTag(1) },
///     data_segment_length: 0,
///     cmd_sn: CmdSn(2),
///     exp_stat_sn: StatSn(3),
/// };
/// let mut bhs = [0; BHS_LEN];
/// ping.emit(&mut bhs);
/// assert_eq!((bhs[0], bhs[1]), (0x40, 0x80));
/// assert_eq!(NopOut::parse(&bhs), Ok(ping));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NopOut {
    /// What it is for.
    pub kind: NopOutKind,
    /// Bytes of ping data, without padding.
    pub data_segment_length: u32,
    /// The next CmdSN; the number of this PDU if it is not immediate.
    pub cmd_sn: CmdSn,
    /// The next StatSN that the initiator expects.
    pub exp_stat_sn: StatSn,
}

impl NopOut {
    /// Reads a header.
    ///
    /// # Errors
    ///
    /// The opcode or TotalAHSLength is wrong, both tags are valid, or I is 0 though no answer is wanted.
    #[inline]
    pub fn parse(bhs: &Bhs) -> Result<Self, FormatError> {
        bhs::expect_kind(bhs, Opcode::NopOut)?;
        let view = NopOutView::new(bhs);
        let immediate = view.immediate();
        let kind = match (bhs::optional_task_tag(bhs), TransferTag::get(bhs)) {
            (Some(initiator_task_tag), None) => NopOutKind::Ping { immediate, initiator_task_tag },
            (Some(_), Some(_)) => return Err(FormatError::BothNopTags),
            (None, _) if !immediate => return Err(FormatError::NopOutNotImmediate),
            (None, Some(transfer)) => NopOutKind::PingResponse(transfer),
            (None, None) => NopOutKind::Update { lun: view.lun() },
        };
        Ok(Self {
            kind,
            data_segment_length: view.data_segment_length(),
            cmd_sn: view.cmd_sn(),
            exp_stat_sn: view.exp_stat_sn(),
        })
    }

    /// I: not numbered.
    #[inline]
    pub const fn immediate(&self) -> bool {
        !matches!(self.kind, NopOutKind::Ping { immediate: false, .. })
    }

    /// Writes all 48 bytes.
    #[inline]
    pub fn emit(&self, bhs: &mut Bhs) {
        let byte0 = Opcode::NopOut.to_byte() | flag(self.immediate(), IMMEDIATE);
        bhs::start(bhs, byte0, FINAL, self.data_segment_length);
        InitiatorTaskTag::RESERVED.put::<16>(bhs);
        match self.kind {
            NopOutKind::Ping { initiator_task_tag, .. } => {
                initiator_task_tag.put::<16>(bhs);
                TransferTag::put(None, bhs);
            }
            NopOutKind::PingResponse(transfer) => TransferTag::put(Some(transfer), bhs),
            NopOutKind::Update { lun } => {
                TransferTag::put(None, bhs);
                lun.put::<8>(bhs);
            }
        }
        self.cmd_sn.put::<24>(bhs);
        self.exp_stat_sn.put::<28>(bhs);
    }
}
