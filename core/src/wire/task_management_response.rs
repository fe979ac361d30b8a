//! Task Management Function Response, opcode 0x22 (RFC 7143 section 11.6).

use core::fmt;

use super::bhs::{self, Bhs, FINAL, Opcode};
use super::error::FormatError;
use super::field::{Field, Named, names, view};
use crate::{CmdSn, InitiatorTaskTag, StatSn};

view! {
    /// The fields of a Task Management Function Response (RFC 7143 section 11.6).
    ///
    /// ```
    /// use iscsi_core::wire::{BHS_LEN, TaskManagementResponseView};
    /// let mut bhs = [0; BHS_LEN];
    /// bhs[2] = 255;
    /// assert_eq!(TaskManagementResponseView::new(&bhs).response(), 255);
    /// ```
    TaskManagementResponseView {
        /// Bit 0x80 of byte 1: always 1; a 0 is accepted.
        is_final: bool = 1 & 0x80;
        /// The code of a [`TaskManagementResponseCode`].
        response: u8 as TaskManagementResponseCode = 2;
        /// Additional Response Information; means something with response 7 only (RFC 7144 section 6).
        additional_response_information: [u8; 3] = 8;
        /// The tag of the request.
        initiator_task_tag: InitiatorTaskTag = 16;
        /// The number of this status.
        stat_sn: StatSn = 24;
        /// The next CmdSN that the target expects.
        exp_cmd_sn: CmdSn = 28;
        /// The last CmdSN that the target accepts.
        max_cmd_sn: CmdSn = 32;
    }
}

/// How a task management function ended (RFC 7143 section 11.6.1, RFC 7144 section 6).
///
/// ```
/// use iscsi_core::wire::TaskManagementResponseCode;
/// assert_eq!(TaskManagementResponseCode::FunctionRejected.to_byte(), 255);
/// assert_eq!(TaskManagementResponseCode::TaskDoesNotExist.to_string(), "Task does not exist");
/// assert_eq!(TaskManagementResponseCode::Other(8).to_string(), "unassigned response 8");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TaskManagementResponseCode {
    /// 0: done.
    FunctionComplete,
    /// 1: the target has no such task.
    TaskDoesNotExist,
    /// 2: the target has no such logical unit.
    LunDoesNotExist,
    /// 3: the task to be reassigned still belongs to a live connection.
    TaskStillAllegiant,
    /// 4: the target cannot reassign tasks.
    ReassignmentNotSupported,
    /// 5: the target does not have this function.
    FunctionNotSupported,
    /// 6: the initiator is not allowed to do this.
    AuthorizationFailed,
    /// 7: the answer to a query is yes (RFC 7144 section 6).
    FunctionSucceeded {
        /// What the function asked for, as SAM-5 defines it.
        additional_response_information: [u8; 3],
    },
    /// 255: refused.
    FunctionRejected,
    /// 8 to 254: no meaning. A failure.
    Other(u8),
}

names! { TaskManagementResponseCode {
    0 => "Function complete",
    1 => "Task does not exist",
    2 => "LUN does not exist",
    3 => "Task still allegiant",
    4 => "Task allegiance reassignment not supported",
    5 => "Task management function not supported",
    6 => "Function authorization failed",
    7 => "Function succeeded",
    255 => "Function rejected",
} }

impl TaskManagementResponseCode {
    /// The code.
    pub const fn to_byte(self) -> u8 {
        match self {
            Self::FunctionComplete => 0,
            Self::TaskDoesNotExist => 1,
            Self::LunDoesNotExist => 2,
            Self::TaskStillAllegiant => 3,
            Self::ReassignmentNotSupported => 4,
            Self::FunctionNotSupported => 5,
            Self::AuthorizationFailed => 6,
            Self::FunctionSucceeded { .. } => 7,
            Self::FunctionRejected => 255,
            Self::Other(code) => code,
        }
    }

    fn parse(view: TaskManagementResponseView<'_>) -> Self {
        match view.response() {
            0 => Self::FunctionComplete,
            1 => Self::TaskDoesNotExist,
            2 => Self::LunDoesNotExist,
            3 => Self::TaskStillAllegiant,
            4 => Self::ReassignmentNotSupported,
            5 => Self::FunctionNotSupported,
            6 => Self::AuthorizationFailed,
            7 => Self::FunctionSucceeded {
                additional_response_information: view.additional_response_information(),
            },
            255 => Self::FunctionRejected,
            code => Self::Other(code),
        }
    }
}

impl fmt::Display for TaskManagementResponseCode {
    /// The RFC's name.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Self::name_of(self.to_byte()) {
            Some(name) => f.pad(name),
            None => write!(f, "unassigned response {}", self.to_byte()),
        }
    }
}

/// A Task Management Function Response (RFC 7143 section 11.6).
///
/// ```
/// use iscsi_core::wire::{BHS_LEN, TaskManagementResponse, TaskManagementResponseCode};
/// use iscsi_core::{CmdSn, InitiatorTaskTag, StatSn};
///
/// let response = TaskManagementResponse {
///     response: TaskManagementResponseCode::FunctionComplete,
///     initiator_task_tag: InitiatorTaskTag(8),
///     stat_sn: StatSn(2),
///     exp_cmd_sn: CmdSn(3),
///     max_cmd_sn: CmdSn(34),
/// };
/// let mut bhs = [0; BHS_LEN];
/// response.emit(&mut bhs);
/// assert_eq!(TaskManagementResponse::parse(&bhs), Ok(response));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TaskManagementResponse {
    /// How the function ended.
    pub response: TaskManagementResponseCode,
    /// The tag of the request.
    pub initiator_task_tag: InitiatorTaskTag,
    /// The number of this status.
    pub stat_sn: StatSn,
    /// The next CmdSN that the target expects.
    pub exp_cmd_sn: CmdSn,
    /// The last CmdSN that the target accepts.
    pub max_cmd_sn: CmdSn,
}

impl TaskManagementResponse {
    /// Reads a header.
    ///
    /// # Errors
    ///
    /// The opcode, the tag, TotalAHSLength or DataSegmentLength is wrong.
    #[inline]
    pub fn parse(bhs: &Bhs) -> Result<Self, FormatError> {
        bhs::expect_kind(bhs, Opcode::TaskManagementResponse)?;
        bhs::expect_no_data(bhs)?;
        let view = TaskManagementResponseView::new(bhs);
        Ok(Self {
            response: TaskManagementResponseCode::parse(view),
            initiator_task_tag: bhs::task_tag(bhs)?,
            stat_sn: view.stat_sn(),
            exp_cmd_sn: view.exp_cmd_sn(),
            max_cmd_sn: view.max_cmd_sn(),
        })
    }

    /// Writes all 48 bytes.
    #[inline]
    pub fn emit(&self, bhs: &mut Bhs) {
        bhs::start(bhs, Opcode::TaskManagementResponse.to_byte(), FINAL, 0);
        bhs[2] = self.response.to_byte();
        if let TaskManagementResponseCode::FunctionSucceeded { additional_response_information } =
            self.response
        {
            additional_response_information.put::<8>(bhs);
        }
        self.initiator_task_tag.put::<16>(bhs);
        self.stat_sn.put::<24>(bhs);
        self.exp_cmd_sn.put::<28>(bhs);
        self.max_cmd_sn.put::<32>(bhs);
    }
}
