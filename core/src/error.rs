//! The error families of the engine. Configuration errors are in [`config`](crate::config).
//!
//! * [`SubmitError`]: a request of the application was refused; nothing changed.
//! * [`ProtocolError`]: the peer broke a rule; fatal to that connection and latched there.
//! * [`LostReason`]: why a task or a session ended without the target's answer.

use core::fmt;

use crate::login::LoginError;
use crate::text::{SendTargetsError, TextError};
use crate::wire::{FormatError, LoginStatus, RejectReason};
use crate::{CmdSn, DataSn, InitiatorTaskTag, R2tSn, StatSn};

/// Why a request of the application was refused. Nothing changed; it may be made again later.
///
/// ```
/// use iscsi_core::{Command, InlineSession, Instant, Lun, SubmitError, Transfer};
/// let mut session = InlineSession::<1>::new();
/// let too_long = [0; 300];
/// let command = Command::new(Lun::ZERO, &too_long, Transfer::None);
/// assert_eq!(session.submit(&command, Instant::ZERO), Err(SubmitError::CdbLength));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SubmitError {
    /// Every task slot is in use. Take finished tasks with `poll_event`, or wait for one.
    NoFreeTask,
    /// The session has failed or was closed; open it again.
    NotOpen,
    /// The session is logging out.
    LoggingOut,
    /// A discovery session takes no SCSI commands (RFC 7143 section 4.3).
    DiscoverySession,
    /// A CDB has 1 to 260 bytes.
    CdbLength,
    /// The handle names no running task.
    NoSuchTask,
    /// One such request is already under way.
    Busy,
    /// The function needs iSCSIProtocolLevel 2 or an error recovery level that was not negotiated.
    NotNegotiated,
    /// The call does not fit the session's state, for example opening a session that is open.
    WrongState,
}

impl fmt::Display for SubmitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoFreeTask => "all task slots are in use",
            Self::NotOpen => "the session is not open",
            Self::LoggingOut => "the session is logging out",
            Self::DiscoverySession => "a discovery session takes no SCSI commands",
            Self::CdbLength => "a CDB has 1 to 260 bytes",
            Self::NoSuchTask => "no such task is running",
            Self::Busy => "a request of this kind is already under way",
            Self::NotNegotiated => "the function was not negotiated with the target",
            Self::WrongState => "the call does not fit the state of the session",
        })
    }
}

impl core::error::Error for SubmitError {}

/// A rule that the target broke. Fatal to the connection: the engine has no PDU to complain with (RFC 7143 section 7.7).
///
/// ```
/// use iscsi_core::ProtocolError;
/// assert_eq!(ProtocolError::HeaderDigest.section(), "7.8");
/// assert_eq!(ProtocolError::HeaderDigest.to_string(), "header digest mismatch (RFC 7143 section 7.8)");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProtocolError {
    /// A header that no target may send.
    Format(FormatError),
    /// A rule of the login phase.
    Login(LoginError),
    /// Text that is no list of key=value pairs.
    Text(TextError),
    /// An answer to SendTargets that makes no sense.
    SendTargets(SendTargetsError),
    /// The header digest does not match.
    HeaderDigest,
    /// The data digest does not match.
    DataDigest,
    /// A data segment longer than what we declared with MaxRecvDataSegmentLength.
    DataSegmentTooLong {
        /// Its DataSegmentLength.
        length: u32,
        /// What was declared.
        max: u32,
    },
    /// A PDU that does not belong to this phase or answers nothing; its opcode.
    UnexpectedPdu(u8),
    /// A PDU for a task that does not exist, or of another kind than the task.
    UnknownTask(InitiatorTaskTag),
    /// The LUN of a PDU is not the LUN of its task.
    LunMismatch(InitiatorTaskTag),
    /// The StatSN is not the next one: a response was lost or repeated.
    StatSn {
        /// The next StatSN.
        expected: StatSn,
        /// What came.
        got: StatSn,
    },
    /// The target waits for a command that will not come, as the ExpCmdSN of the echo of a ping after a login says, or that of the answer to a task management
    /// function; or, after a login, it acknowledges commands that were never sent. It would carry out no command from there on.
    ExpCmdSn {
        /// The next CmdSN.
        expected: CmdSn,
        /// What came.
        got: CmdSn,
    },
    /// Data-In for a task that reads nothing.
    DataInNotExpected(InitiatorTaskTag),
    /// Data-In outside of the task's length.
    DataInOutOfRange {
        /// Buffer Offset of the PDU.
        offset: u32,
        /// Its DataSegmentLength.
        length: u32,
        /// What the task expects.
        expected: u32,
    },
    /// Data-In that goes back although DataPDUInOrder and DataSequenceInOrder are Yes, or covers more than the task expects.
    DataInOrder {
        /// Buffer Offset of the PDU.
        offset: u32,
        /// Where the previous Data-In ended.
        previous_end: u32,
    },
    /// A Data-In PDU is missing before this one.
    DataSn {
        /// The next DataSN.
        expected: DataSn,
        /// What came.
        got: DataSn,
    },
    /// The response counts more Data-In PDUs than arrived.
    ExpDataSn {
        /// ExpDataSN of the response.
        announced: DataSn,
        /// How many came.
        received: DataSn,
    },
    /// SenseLength reaches beyond the data segment.
    SenseLength {
        /// SenseLength.
        sense: u16,
        /// DataSegmentLength.
        data_segment: u32,
    },
    /// An R2T for a task that writes nothing.
    R2tNotExpected(InitiatorTaskTag),
    /// An R2T outside of the task's length.
    R2tOutOfRange {
        /// Buffer Offset.
        offset: u32,
        /// Desired Data Transfer Length.
        length: u32,
        /// What the task has.
        expected: u32,
    },
    /// An R2T for more than MaxBurstLength.
    R2tTooLong {
        /// Desired Data Transfer Length.
        length: u32,
        /// MaxBurstLength.
        max: u32,
    },
    /// More R2Ts of one task than MaxOutstandingR2T.
    TooManyR2ts(InitiatorTaskTag),
    /// An R2T is missing before this one.
    R2tSn {
        /// The next R2TSN.
        expected: R2tSn,
        /// What came.
        got: R2tSn,
    },
    /// The echo of a ping differs from the ping.
    NopEcho,
    /// The text answer is larger than the engine takes.
    TextTooLong,
    /// The target rejected a PDU of ours in a way that leaves nothing to do.
    Rejected(RejectReason),
}

impl ProtocolError {
    /// The section of RFC 7143 that holds the rule.
    pub const fn section(&self) -> &'static str {
        match self {
            Self::Format(e) => e.section(),
            Self::Login(e) => e.section(),
            Self::Text(e) => e.section(),
            Self::SendTargets(e) => e.section(),
            Self::HeaderDigest | Self::DataDigest => "7.8",
            Self::DataSegmentTooLong { .. } => "13.12",
            Self::UnexpectedPdu(_) | Self::UnknownTask(_) | Self::LunMismatch(_) => "4.2.5.3",
            Self::StatSn { .. } => "4.2.2.2",
            Self::ExpCmdSn { .. } => "4.2.2.1",
            Self::DataInNotExpected(_) => "4.2.5.3",
            Self::DataInOutOfRange { .. } | Self::DataInOrder { .. } => "11.7.6",
            Self::DataSn { .. } | Self::ExpDataSn { .. } | Self::R2tSn { .. } => "7.9",
            Self::SenseLength { .. } => "11.4.7",
            Self::R2tNotExpected(_) => "4.2.5.3",
            Self::R2tOutOfRange { .. } => "4.2.5.2",
            Self::R2tTooLong { .. } => "11.8.4",
            Self::TooManyR2ts(_) => "13.17",
            Self::NopEcho => "11.18.3",
            Self::TextTooLong => "6.2",
            Self::Rejected(_) => "11.17.1",
        }
    }
}

impl fmt::Display for ProtocolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Format(e) => write!(f, "{e}")?,
            Self::Login(e) => return write!(f, "{e}"),
            Self::Text(e) => write!(f, "{e}")?,
            Self::SendTargets(e) => write!(f, "{e}")?,
            Self::HeaderDigest => f.write_str("header digest mismatch")?,
            Self::DataDigest => f.write_str("data digest mismatch")?,
            Self::DataSegmentTooLong { length, max } => {
                write!(f, "data segment of {length} bytes exceeds the declared {max}")?;
            }
            Self::UnexpectedPdu(opcode) => write!(f, "unexpected PDU, opcode {opcode:#04x}")?,
            Self::UnknownTask(itt) => write!(f, "PDU for unknown task {itt}")?,
            Self::LunMismatch(itt) => write!(f, "LUN differs from the LUN of task {itt}")?,
            Self::StatSn { expected, got } => write!(f, "StatSN {got} instead of {expected}")?,
            Self::ExpCmdSn { expected, got } if got.le(*expected) => {
                write!(
                    f,
                    "the target waits for command {got}, which will not come; the next CmdSN is {expected}"
                )?;
            }
            Self::ExpCmdSn { expected, got } => {
                write!(
                    f,
                    "ExpCmdSN {got} counts commands that were not sent; the next CmdSN is {expected}"
                )?;
            }
            Self::DataInNotExpected(itt) => {
                write!(f, "Data-In for task {itt}, which reads nothing")?;
            }
            Self::DataInOutOfRange { offset, length, expected } => {
                write!(f, "Data-In of {length} bytes at {offset} exceeds the expected {expected}")?;
            }
            Self::DataInOrder { offset, previous_end } => {
                write!(f, "Data-In at {offset} goes back behind {previous_end}")?;
            }
            Self::DataSn { expected, got } => write!(f, "DataSN {got} instead of {expected}")?,
            Self::ExpDataSn { announced, received } => {
                write!(f, "response announces {} Data-In PDUs, {} came", announced.0, received.0)?;
            }
            Self::SenseLength { sense, data_segment } => {
                write!(f, "SenseLength {sense} in a data segment of {data_segment} bytes")?;
            }
            Self::R2tNotExpected(itt) => write!(f, "R2T for task {itt}, which writes nothing")?,
            Self::R2tOutOfRange { offset, length, expected } => {
                write!(f, "R2T for {length} bytes at {offset} exceeds the task's {expected}")?;
            }
            Self::R2tTooLong { length, max } => {
                write!(f, "R2T for {length} bytes exceeds MaxBurstLength {max}")?;
            }
            Self::TooManyR2ts(itt) => write!(f, "more R2Ts than MaxOutstandingR2T for task {itt}")?,
            Self::R2tSn { expected, got } => write!(f, "R2TSN {got} instead of {expected}")?,
            Self::NopEcho => f.write_str("the echo of a ping differs from the ping")?,
            Self::TextTooLong => f.write_str("text answer too long")?,
            Self::Rejected(reason) => write!(f, "rejected by the target: {reason}")?,
        }
        write!(f, " (RFC 7143 section {})", self.section())
    }
}

impl core::error::Error for ProtocolError {}

impl From<FormatError> for ProtocolError {
    fn from(e: FormatError) -> Self {
        Self::Format(e)
    }
}

impl From<LoginError> for ProtocolError {
    fn from(e: LoginError) -> Self {
        Self::Login(e)
    }
}

impl From<TextError> for ProtocolError {
    fn from(e: TextError) -> Self {
        Self::Text(e)
    }
}

/// Which deadline passed.
///
/// ```
/// assert_eq!(iscsi_core::Timer::Login.to_string(), "login");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Timer {
    /// The TCP connection was not made.
    Connect,
    /// The login phase did not end.
    Login,
    /// A started PDU made no progress.
    Progress,
    /// A ping was not answered.
    NopOut,
    /// A task was not answered; it was aborted.
    Task,
    /// A task management function was not answered.
    TaskManagement,
    /// The target took no command: one could not be sent in its time, and no other for [`Timeouts::task_management`](crate::config::Timeouts::task_management) after
    /// that, although the target had none of the session's and answered a ping.
    Window,
    /// A text request was not answered.
    Text,
    /// The logout was not answered.
    Logout,
    /// The devices were not verified after a new login.
    Verify,
    /// The recovery policy's time is over.
    Recovery,
    /// What was lost or damaged was asked for again and did not come.
    Snack,
}

impl fmt::Display for Timer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connect => "connect",
            Self::Login => "login",
            Self::Progress => "progress",
            Self::NopOut => "ping",
            Self::Task => "task",
            Self::TaskManagement => "task management",
            Self::Window => "command window",
            Self::Text => "text",
            Self::Logout => "logout",
            Self::Verify => "verification",
            Self::Recovery => "recovery",
            Self::Snack => "SNACK",
        })
    }
}

/// Why a task, a connection or a session ended without the target's answer.
///
/// ```
/// use iscsi_core::{LostReason, Timer};
/// assert_eq!(LostReason::TimedOut(Timer::Login).to_string(), "login timed out");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum LostReason {
    /// The TCP connection could not be made; the runtime knows why.
    ConnectFailed,
    /// The target closed the connection.
    Eof,
    /// Reading or writing the connection failed; the runtime knows why.
    Transport,
    /// The target broke a rule.
    Protocol(ProtocolError),
    /// A deadline passed.
    TimedOut(Timer),
    /// The target refused the login.
    LoginRefused(LoginStatus),
    /// The redirect led nowhere: too many hops or no usable address.
    RedirectFailed,
    /// The application aborted the task, or closed the connection.
    Aborted,
    /// A task management function, for example a reset of the logical unit, ended the task.
    TaskManagement,
    /// The target rejected the command PDU.
    Rejected(RejectReason),
    /// The target announced by an asynchronous message (its event code) that it drops the connection.
    AsyncEvent(u8),
    /// The session was logged out.
    LoggedOut,
    /// The target asked for a logout, and got it.
    LogoutRequested,
    /// The application wanted a new connection.
    Reconnect,
    /// After a new login there was another device at the task's logical unit.
    DeviceChanged,
    /// The application had no memory for a task's data.
    NoBuffer,
}

impl fmt::Display for LostReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ConnectFailed => f.write_str("the connection could not be made"),
            Self::Eof => f.write_str("the target closed the connection"),
            Self::Transport => f.write_str("the connection broke"),
            Self::Protocol(e) => write!(f, "protocol error: {e}"),
            Self::TimedOut(timer) => write!(f, "{timer} timed out"),
            Self::LoginRefused(status) => write!(f, "the target refused the login: {status}"),
            Self::RedirectFailed => f.write_str("redirected too often or to no usable address"),
            Self::Aborted => f.write_str("aborted"),
            Self::TaskManagement => f.write_str("ended by a task management function"),
            Self::Rejected(reason) => write!(f, "rejected by the target: {reason}"),
            Self::AsyncEvent(code) => write!(f, "the target dropped the connection (event {code})"),
            Self::LoggedOut => f.write_str("the session was logged out"),
            Self::LogoutRequested => f.write_str("the target asked for a logout"),
            Self::Reconnect => f.write_str("a new connection was asked for"),
            Self::DeviceChanged => f.write_str("another device answers now"),
            Self::NoBuffer => f.write_str("no memory was lent for the data"),
        }
    }
}

impl core::error::Error for LostReason {}
