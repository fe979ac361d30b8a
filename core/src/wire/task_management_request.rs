//! Task Management Function Request, opcode 0x02 (RFC 7143 section 11.5).

use core::fmt;

use super::bhs::{self, Bhs, FINAL, IMMEDIATE, Opcode, flag};
use super::error::FormatError;
use super::field::{Field, Named, names, view};
use crate::{CmdSn, DataSn, InitiatorTaskTag, Lun, StatSn};

view! {
    /// The fields of a Task Management Function Request (RFC 7143 section 11.5).
    ///
    /// ```
    /// use iscsi_core::wire::{BHS_LEN, TaskManagementRequestView};
    /// let mut bhs = [0; BHS_LEN];
    /// bhs[1] = 0x80 | 5;
    /// assert_eq!(TaskManagementRequestView::new(&bhs).function(), 5);
    /// ```
    TaskManagementRequestView {
        /// I: not numbered, for delivery at once.
        immediate: bool = 0 & 0x40;
        /// Bit 0x80 of byte 1: always 1; a 0 is accepted.
        is_final: bool = 1 & 0x80;
        /// The code of a [`TaskManagementFunction`].
        function: u8 as TaskManagementFunction = 1 & 0x7f;
        /// The logical unit, for the functions that have one.
        lun: Lun = 8;
        /// The tag of this request.
        initiator_task_tag: InitiatorTaskTag = 16;
        /// The tag of the task that the function is about, else reserved.
        referenced_task_tag: InitiatorTaskTag = 20;
        /// The number of this request, or the next one if it is immediate.
        cmd_sn: CmdSn = 24;
        /// The next StatSN that the initiator expects.
        exp_stat_sn: StatSn = 28;
        /// The number of the task, for ABORT TASK and QUERY TASK.
        ref_cmd_sn: CmdSn = 32;
        /// The first Data-In that is not acknowledged, for TASK REASSIGN.
        exp_data_sn: DataSn = 36;
    }
}

/// What is to be done, and to what (RFC 7143 section 11.5.1, RFC 7144 section 6).
///
/// ```
/// use iscsi_core::Lun;
/// use iscsi_core::wire::TaskManagementFunction;
///
/// let function = TaskManagementFunction::LogicalUnitReset { lun: Lun::ZERO };
/// assert_eq!(function.to_byte(), 5);
/// assert_eq!(function.to_string(), "LOGICAL UNIT RESET");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TaskManagementFunction {
    /// 1: ends one task.
    AbortTask {
        /// The logical unit of the task.
        lun: Lun,
        /// The tag of the task, not the reserved one.
        referenced_task_tag: InitiatorTaskTag,
        /// The CmdSN of the task; of the request itself if the task was immediate.
        ref_cmd_sn: CmdSn,
    },
    /// 2: ends all tasks of this session on a logical unit.
    AbortTaskSet {
        /// The logical unit.
        lun: Lun,
    },
    /// 3: ends an auto contingent allegiance.
    ClearAca {
        /// The logical unit.
        lun: Lun,
    },
    /// 4: ends all tasks of the task set, whoever sent them.
    ClearTaskSet {
        /// The logical unit.
        lun: Lun,
    },
    /// 5: resets a logical unit.
    LogicalUnitReset {
        /// The logical unit.
        lun: Lun,
    },
    /// 6: resets all logical units.
    TargetWarmReset,
    /// 7: as 6, and closes all connections.
    TargetColdReset,
    /// 8: moves a task to this connection. Immediate only.
    TaskReassign {
        /// The tag of the task, not the reserved one.
        referenced_task_tag: InitiatorTaskTag,
        /// The first Data-In that is not acknowledged, 0 for no change.
        exp_data_sn: DataSn,
    },
    /// 9: asks whether a task is there. From iSCSIProtocolLevel 2 on, as all below.
    QueryTask {
        /// The logical unit of the task.
        lun: Lun,
        /// The tag of the task, not the reserved one.
        referenced_task_tag: InitiatorTaskTag,
        /// The CmdSN of the task; of the request itself if the task was immediate.
        ref_cmd_sn: CmdSn,
    },
    /// 10: asks whether this session has a task on a logical unit.
    QueryTaskSet {
        /// The logical unit.
        lun: Lun,
    },
    /// 11: ends the session with all its connections.
    ItNexusReset,
    /// 12: asks whether a unit attention is pending.
    QueryAsynchronousEvent {
        /// The logical unit.
        lun: Lun,
    },
}

names! { TaskManagementFunction {
    1 => "ABORT TASK",
    2 => "ABORT TASK SET",
    3 => "CLEAR ACA",
    4 => "CLEAR TASK SET",
    5 => "LOGICAL UNIT RESET",
    6 => "TARGET WARM RESET",
    7 => "TARGET COLD RESET",
    8 => "TASK REASSIGN",
    9 => "QUERY TASK",
    10 => "QUERY TASK SET",
    11 => "I_T NEXUS RESET",
    12 => "QUERY ASYNCHRONOUS EVENT",
} }

impl TaskManagementFunction {
    /// The code.
    pub const fn to_byte(&self) -> u8 {
        match self {
            Self::AbortTask { .. } => 1,
            Self::AbortTaskSet { .. } => 2,
            Self::ClearAca { .. } => 3,
            Self::ClearTaskSet { .. } => 4,
            Self::LogicalUnitReset { .. } => 5,
            Self::TargetWarmReset => 6,
            Self::TargetColdReset => 7,
            Self::TaskReassign { .. } => 8,
            Self::QueryTask { .. } => 9,
            Self::QueryTaskSet { .. } => 10,
            Self::ItNexusReset => 11,
            Self::QueryAsynchronousEvent { .. } => 12,
        }
    }

    /// The logical unit, for the functions that have one.
    pub const fn lun(&self) -> Option<Lun> {
        match *self {
            Self::AbortTask { lun, .. }
            | Self::AbortTaskSet { lun }
            | Self::ClearAca { lun }
            | Self::ClearTaskSet { lun }
            | Self::LogicalUnitReset { lun }
            | Self::QueryTask { lun, .. }
            | Self::QueryTaskSet { lun }
            | Self::QueryAsynchronousEvent { lun } => Some(lun),
            Self::TargetWarmReset
            | Self::TargetColdReset
            | Self::TaskReassign { .. }
            | Self::ItNexusReset => None,
        }
    }

    /// The task, for the functions that are about one.
    pub const fn referenced_task_tag(&self) -> Option<InitiatorTaskTag> {
        match *self {
            Self::AbortTask { referenced_task_tag, .. }
            | Self::QueryTask { referenced_task_tag, .. }
            | Self::TaskReassign { referenced_task_tag, .. } => Some(referenced_task_tag),
            _ => None,
        }
    }

    fn parse(view: TaskManagementRequestView<'_>) -> Result<Self, FormatError> {
        let lun = view.lun();
        let referenced = || match view.referenced_task_tag() {
            InitiatorTaskTag::RESERVED => Err(FormatError::ReservedReferencedTaskTag),
            tag => Ok(tag),
        };
        Ok(match view.function() {
            1 => Self::AbortTask {
                lun,
                referenced_task_tag: referenced()?,
                ref_cmd_sn: view.ref_cmd_sn(),
            },
            2 => Self::AbortTaskSet { lun },
            3 => Self::ClearAca { lun },
            4 => Self::ClearTaskSet { lun },
            5 => Self::LogicalUnitReset { lun },
            6 => Self::TargetWarmReset,
            7 => Self::TargetColdReset,
            8 if !view.immediate() => return Err(FormatError::TaskReassignNotImmediate),
            8 => Self::TaskReassign {
                referenced_task_tag: referenced()?,
                exp_data_sn: view.exp_data_sn(),
            },
            9 => Self::QueryTask {
                lun,
                referenced_task_tag: referenced()?,
                ref_cmd_sn: view.ref_cmd_sn(),
            },
            10 => Self::QueryTaskSet { lun },
            11 => Self::ItNexusReset,
            12 => Self::QueryAsynchronousEvent { lun },
            code => return Err(FormatError::ReservedTaskManagementFunction(code)),
        })
    }
}

impl fmt::Display for TaskManagementFunction {
    /// The standard's name.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(Self::name_of(self.to_byte()).unwrap_or_default())
    }
}

/// A Task Management Function Request (RFC 7143 section 11.5).
///
/// ```
/// use iscsi_core::wire::{BHS_LEN, TaskManagementFunction, TaskManagementRequest};
/// use iscsi_core::{CmdSn, InitiatorTaskTag, Lun, StatSn};
///
/// let request = TaskManagementRequest {
///     immediate: true,
///     function: TaskManagementFunction::AbortTask {
///         lun: Lun::ZERO,
///         referenced_task_tag: InitiatorTaskTag(7),
///         ref_cmd_sn: CmdSn(40),
///     },
///     initiator_task_tag: InitiatorTaskTag(8),
///     cmd_sn: CmdSn(42),
///     exp_stat_sn: StatSn(3),
/// };
/// let mut bhs = [0; BHS_LEN];
/// request.emit(&mut bhs);
/// assert_eq!((bhs[0], bhs[1]), (0x42, 0x81));
/// assert_eq!(TaskManagementRequest::parse(&bhs), Ok(request));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TaskManagementRequest {
    /// I: not numbered, for delivery at once. Set for TASK REASSIGN.
    pub immediate: bool,
    /// What is to be done, and to what.
    pub function: TaskManagementFunction,
    /// The tag of this request.
    pub initiator_task_tag: InitiatorTaskTag,
    /// The number of this request, or the next one if `immediate`.
    pub cmd_sn: CmdSn,
    /// The next StatSN that the initiator expects.
    pub exp_stat_sn: StatSn,
}

impl TaskManagementRequest {
    /// Reads a header.
    ///
    /// # Errors
    ///
    /// The opcode, the tag, TotalAHSLength or DataSegmentLength is wrong, the function is a reserved one, or its task is missing.
    #[inline]
    pub fn parse(bhs: &Bhs) -> Result<Self, FormatError> {
        bhs::expect_kind(bhs, Opcode::TaskManagementRequest)?;
        bhs::expect_no_data(bhs)?;
        let view = TaskManagementRequestView::new(bhs);
        Ok(Self {
            immediate: view.immediate(),
            function: TaskManagementFunction::parse(view)?,
            initiator_task_tag: bhs::task_tag(bhs)?,
            cmd_sn: view.cmd_sn(),
            exp_stat_sn: view.exp_stat_sn(),
        })
    }

    /// Writes all 48 bytes.
    #[inline]
    pub fn emit(&self, bhs: &mut Bhs) {
        let byte0 = Opcode::TaskManagementRequest.to_byte() | flag(self.immediate, IMMEDIATE);
        bhs::start(bhs, byte0, FINAL | self.function.to_byte(), 0);
        self.function.lun().unwrap_or_default().put::<8>(bhs);
        self.initiator_task_tag.put::<16>(bhs);
        let referenced = self.function.referenced_task_tag();
        referenced.unwrap_or(InitiatorTaskTag::RESERVED).put::<20>(bhs);
        self.cmd_sn.put::<24>(bhs);
        self.exp_stat_sn.put::<28>(bhs);
        match self.function {
            TaskManagementFunction::AbortTask { ref_cmd_sn, .. }
            | TaskManagementFunction::QueryTask { ref_cmd_sn, .. } => ref_cmd_sn.put::<32>(bhs),
            TaskManagementFunction::TaskReassign { exp_data_sn, .. } => exp_data_sn.put::<36>(bhs),
            _ => {}
        }
    }
}
