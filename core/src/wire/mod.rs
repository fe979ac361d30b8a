//! PDU headers: what stands in their 48 bytes and what it means (RFC 7143 section 11).
//!
//! Every kind of PDU has two types. The *view* (`DataInView`) has one accessor per field, cannot fail, and prints anything. The
//! struct with the plain name (`DataIn`) holds only meanings that the RFC allows: [`DataIn::parse`] refuses a header that breaks a
//! rule by itself, and says which, as a [`FormatError`]. Rules that need a task or a negotiated value are checked elsewhere.
//!
//! Reserved bits and fields are ignored. Reserved codes are errors, except where a receiver has to go on: statuses, SCSI and task
//! management responses, login statuses, asynchronous events and reject reasons keep an unknown code as it came.
//!
//! ```
//! use iscsi_core::wire::{BHS_LEN, Pretty, TargetPdu};
//! use iscsi_core::{R2tSn, TargetTransferTag};
//!
//! let mut bhs = [0; BHS_LEN];
//! (bhs[0], bhs[1], bhs[23], bhs[46]) = (0x31, 0x80, 5, 2);
//! let Ok(TargetPdu::R2t(r2t)) = TargetPdu::parse(&bhs) else { panic!("{}", Pretty::new(&bhs)) };
//! assert_eq!(r2t.desired_data_transfer_length, 512);
//! assert_eq!((r2t.r2t_sn, r2t.target_transfer_tag), (R2tSn(0), TargetTransferTag(5)));
//! ```

mod ahs;
mod async_message;
mod bhs;
mod data_in;
mod data_out;
mod error;
#[cfg(test)]
mod error_tests;
mod field;
mod isid;
mod login_request;
mod login_response;
mod login_status;
mod logout_request;
mod logout_response;
mod nop_in;
mod nop_out;
mod pdu;
mod pretty;
mod r2t;
mod reject;
mod scsi_command;
mod scsi_response;
mod snack_request;
mod task_management_request;
mod task_management_response;
mod text_request;
mod text_response;

pub use ahs::{Ahs, AhsFull, AhsIter, AhsWriter, CommandAhs};
pub use async_message::{AsyncEvent, AsyncMessage, AsyncMessageView};
pub use bhs::{
    BHS_LEN, Bhs, MAX_DATA_SEGMENT_LENGTH, MAX_TOTAL_AHS_LENGTH, Opcode, PduLengths, TransferTag,
    data_segment_length, padding, total_ahs_length,
};
pub use data_in::{DataIn, DataInStatus, DataInView};
pub use data_out::{DataOut, DataOutView};
pub use error::FormatError;
pub use isid::{Isid, IsidFormat};
pub use login_request::{LoginRequest, LoginRequestView, Stage};
pub use login_response::{LoginOutcome, LoginProgress, LoginResponse, LoginResponseView};
pub use login_status::{LoginStatus, LoginStatusClass};
pub use logout_request::{LogoutReason, LogoutRequest, LogoutRequestView};
pub use logout_response::{LogoutResponse, LogoutResponseCode, LogoutResponseView};
pub use nop_in::{NopIn, NopInKind, NopInView};
pub use nop_out::{NopOut, NopOutKind, NopOutView};
pub use pdu::{InitiatorPdu, TargetPdu};
pub use pretty::Pretty;
pub use r2t::{R2t, R2tView};
pub use reject::{Reject, RejectReason, RejectView};
pub use scsi_command::{AhsLength, ScsiCommand, ScsiCommandView, TaskAttribute};
pub use scsi_response::{
    Completion, Residual, ScsiResponse, ScsiResponseCode, ScsiResponseView, ScsiStatus,
};
pub use snack_request::{SnackKind, SnackRequest, SnackRequestView};
pub use task_management_request::{
    TaskManagementFunction, TaskManagementRequest, TaskManagementRequestView,
};
pub use task_management_response::{
    TaskManagementResponse, TaskManagementResponseCode, TaskManagementResponseView,
};
pub use text_request::{TextRequest, TextRequestView};
pub use text_response::{TextResponse, TextResponseView};
