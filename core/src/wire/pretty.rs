//! Headers for people: one line, every field by name.

use core::fmt;

use super::bhs::{Bhs, Opcode, data_segment_length, total_ahs_length};
use super::field::Field;
use super::{
    AsyncMessageView, DataInView, DataOutView, LoginRequestView, LoginResponseView,
    LogoutRequestView, LogoutResponseView, NopInView, NopOutView, R2tView, RejectView,
    ScsiCommandView, ScsiResponseView, SnackRequestView, TaskManagementRequestView,
    TaskManagementResponseView, TextRequestView, TextResponseView,
};

/// Prints a header in one line: the kind, then every field as `name=value`. Payload and text are not in a header, so they are
/// never printed. Any 48 bytes will do: reserved values are printed as they stand, unknown kinds in hex.
///
/// ```
/// use iscsi_core::wire::{BHS_LEN, Pretty};
///
/// let mut bhs = [0; BHS_LEN];
/// bhs[0] = 0x05;
/// bhs[20..24].fill(0xff);
/// bhs[7] = 16;
/// assert_eq!(
///     Pretty::new(&bhs).to_string(),
///     "SCSI Data-Out: total_ahs_length=0 data_segment_length=16 is_final=0 lun=0 initiator_task_tag=0x0 \
///      target_transfer_tag=0xffffffff exp_stat_sn=0x0 data_sn=0x0 buffer_offset=0"
/// );
/// ```
#[derive(Clone, Copy)]
pub struct Pretty<'a>(&'a Bhs);

impl<'a> Pretty<'a> {
    /// To print `bhs`.
    pub const fn new(bhs: &'a Bhs) -> Self {
        Self(bhs)
    }
}

impl fmt::Display for Pretty<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bhs = self.0;
        let Some(opcode) = Opcode::of(bhs) else {
            return unknown(bhs, f);
        };
        write!(f, "{opcode}: ")?;
        match opcode {
            Opcode::NopOut => NopOutView::new(bhs).fmt(f),
            Opcode::ScsiCommand => ScsiCommandView::new(bhs).fmt(f),
            Opcode::TaskManagementRequest => TaskManagementRequestView::new(bhs).fmt(f),
            Opcode::LoginRequest => LoginRequestView::new(bhs).fmt(f),
            Opcode::TextRequest => TextRequestView::new(bhs).fmt(f),
            Opcode::DataOut => DataOutView::new(bhs).fmt(f),
            Opcode::LogoutRequest => LogoutRequestView::new(bhs).fmt(f),
            Opcode::SnackRequest => SnackRequestView::new(bhs).fmt(f),
            Opcode::NopIn => NopInView::new(bhs).fmt(f),
            Opcode::ScsiResponse => ScsiResponseView::new(bhs).fmt(f),
            Opcode::TaskManagementResponse => TaskManagementResponseView::new(bhs).fmt(f),
            Opcode::LoginResponse => LoginResponseView::new(bhs).fmt(f),
            Opcode::TextResponse => TextResponseView::new(bhs).fmt(f),
            Opcode::DataIn => DataInView::new(bhs).fmt(f),
            Opcode::LogoutResponse => LogoutResponseView::new(bhs).fmt(f),
            Opcode::R2t => R2tView::new(bhs).fmt(f),
            Opcode::AsyncMessage => AsyncMessageView::new(bhs).fmt(f),
            Opcode::Reject => RejectView::new(bhs).fmt(f),
        }
    }
}

impl fmt::Debug for Pretty<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Prints a header whose opcode is unassigned or a vendor's.
fn unknown(bhs: &Bhs, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let opcode = bhs[0] & Opcode::MASK;
    let what = if Opcode::is_vendor(opcode) { "vendor" } else { "unassigned" };
    write!(f, "{what} opcode {opcode:#04x}: total_ahs_length={}", total_ahs_length(bhs))?;
    write!(f, " data_segment_length={} header=", data_segment_length(bhs))?;
    Field::print(*bhs, f)
}
