//! SNACK Request, opcode 0x10 (RFC 7143 section 11.16).

use super::bhs::{self, Bhs, FINAL, Opcode, TransferTag};
use super::error::FormatError;
use super::field::{Field, names, view};
use crate::{DataSn, InitiatorTaskTag, Lun, StatSn, TargetTransferTag};

view! {
    /// The fields of a SNACK Request (RFC 7143 section 11.16).
    ///
    /// ```
    /// use iscsi_core::wire::{BHS_LEN, SnackRequestView};
    /// let mut bhs = [0; BHS_LEN];
    /// bhs[47] = 4;
    /// assert_eq!(SnackRequestView::new(&bhs).run_length(), 4);
    /// ```
    SnackRequestView {
        /// Bit 0x80 of byte 1: always 1; a 0 is accepted.
        is_final: bool = 1 & 0x80;
        /// The code of a [`SnackKind`].
        kind: u8 as SnackKind = 1 & 0x0f;
        /// Copied from the Data-In that is acknowledged.
        lun: Lun = 8;
        /// The task, reserved for Status and DataACK.
        initiator_task_tag: InitiatorTaskTag = 16;
        /// Target Transfer Tag for DataACK, SNACK Tag for R-Data, else reserved.
        target_transfer_tag: TargetTransferTag = 20;
        /// The next StatSN that the initiator expects.
        exp_stat_sn: StatSn = 28;
        /// The first missing number, or the next expected one.
        beg_run: u32 = 40;
        /// How many are missing, 0 for all from there on.
        run_length: u32 = 44;
    }
}

/// What is missing, or acknowledged (RFC 7143 section 11.16.1).
///
/// ```
/// use iscsi_core::StatSn;
/// use iscsi_core::wire::SnackKind;
/// assert_eq!(SnackKind::Status { beg_run: StatSn(5), run_length: 1 }.to_byte(), 1);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SnackKind {
    /// 0: Data-In of a read, or R2T of a write, are missing.
    Data {
        /// The task.
        initiator_task_tag: InitiatorTaskTag,
        /// The first missing DataSN or R2TSN.
        beg_run: u32,
        /// How many are missing, 0 for all from there on.
        run_length: u32,
    },
    /// 1: statuses are missing.
    Status {
        /// The first missing one.
        beg_run: StatSn,
        /// How many are missing, 0 for all from there on.
        run_length: u32,
    },
    /// 2: all Data-In before `beg_run` have arrived.
    DataAck {
        /// Copied from the Data-In that asked for it.
        transfer: TransferTag,
        /// The next expected one.
        beg_run: DataSn,
    },
    /// 3: all Data-In that are not acknowledged are to be sent again, cut for the present MaxRecvDataSegmentLength.
    ResegmentedData {
        /// The task.
        initiator_task_tag: InitiatorTaskTag,
        /// Returned by the SCSI Response; not 0 and not 0xffffffff.
        snack_tag: u32,
    },
}

names! { SnackKind {
    0 => "Data/R2T",
    1 => "Status",
    2 => "DataACK",
    3 => "R-Data",
} }

impl SnackKind {
    /// The code.
    pub const fn to_byte(self) -> u8 {
        match self {
            Self::Data { .. } => 0,
            Self::Status { .. } => 1,
            Self::DataAck { .. } => 2,
            Self::ResegmentedData { .. } => 3,
        }
    }
}

/// A SNACK Request (RFC 7143 section 11.16).
///
/// ```
/// use iscsi_core::wire::{BHS_LEN, SnackKind, SnackRequest};
/// use iscsi_core::{InitiatorTaskTag, StatSn};
///
/// let request = SnackRequest {
///     kind: SnackKind::Data { initiator_task_tag: InitiatorTaskTag(1), beg_run: 4, run_length: 2 },
///     exp_stat_sn: StatSn(3),
/// };
/// let mut bhs = [0; BHS_LEN];
/// request.emit(&mut bhs);
/// assert_eq!(SnackRequest::parse(&bhs), Ok(request));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SnackRequest {
    /// What is missing, or acknowledged.
    pub kind: SnackKind,
    /// The next StatSN that the initiator expects.
    pub exp_stat_sn: StatSn,
}

impl SnackRequest {
    /// Reads a header.
    ///
    /// # Errors
    ///
    /// The opcode, a tag, TotalAHSLength or DataSegmentLength is wrong, or the type is a reserved one.
    #[inline]
    pub fn parse(bhs: &Bhs) -> Result<Self, FormatError> {
        bhs::expect_kind(bhs, Opcode::SnackRequest)?;
        bhs::expect_no_data(bhs)?;
        let view = SnackRequestView::new(bhs);
        let (beg_run, run_length) = (view.beg_run(), view.run_length());
        let kind = match view.kind() {
            0 => SnackKind::Data { initiator_task_tag: bhs::task_tag(bhs)?, beg_run, run_length },
            1 => SnackKind::Status { beg_run: StatSn(beg_run), run_length },
            2 => SnackKind::DataAck {
                transfer: TransferTag::get(bhs).ok_or(FormatError::ReservedTargetTransferTag)?,
                beg_run: DataSn(beg_run),
            },
            3 => SnackKind::ResegmentedData {
                initiator_task_tag: bhs::task_tag(bhs)?,
                snack_tag: match u32::get::<20>(bhs) {
                    tag @ (0 | 0xffff_ffff) => return Err(FormatError::ReservedSnackTag(tag)),
                    tag => tag,
                },
            },
            code => return Err(FormatError::ReservedSnackType(code)),
        };
        Ok(Self { kind, exp_stat_sn: view.exp_stat_sn() })
    }

    /// Writes all 48 bytes.
    #[inline]
    pub fn emit(&self, bhs: &mut Bhs) {
        bhs::start(bhs, Opcode::SnackRequest.to_byte(), FINAL | self.kind.to_byte(), 0);
        InitiatorTaskTag::RESERVED.put::<16>(bhs);
        TransferTag::put(None, bhs);
        match self.kind {
            SnackKind::Data { initiator_task_tag, beg_run, run_length } => {
                initiator_task_tag.put::<16>(bhs);
                beg_run.put::<40>(bhs);
                run_length.put::<44>(bhs);
            }
            SnackKind::Status { beg_run, run_length } => {
                beg_run.put::<40>(bhs);
                run_length.put::<44>(bhs);
            }
            SnackKind::DataAck { transfer, beg_run } => {
                TransferTag::put(Some(transfer), bhs);
                beg_run.put::<40>(bhs);
            }
            SnackKind::ResegmentedData { initiator_task_tag, snack_tag } => {
                initiator_task_tag.put::<16>(bhs);
                snack_tag.put::<20>(bhs);
            }
        }
        self.exp_stat_sn.put::<28>(bhs);
    }
}
