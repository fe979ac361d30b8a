//! Logout Request, opcode 0x06 (RFC 7143 section 11.14).

use core::fmt;

use super::bhs::{self, Bhs, FINAL, IMMEDIATE, Opcode, flag};
use super::error::FormatError;
use super::field::{Field, Named, names, view};
use crate::{CmdSn, InitiatorTaskTag, StatSn};

view! {
    /// The fields of a Logout Request (RFC 7143 section 11.14).
    ///
    /// ```
    /// use iscsi_core::wire::{BHS_LEN, LogoutRequestView};
    /// let mut bhs = [0; BHS_LEN];
    /// bhs[1] = 0x81;
    /// assert_eq!(LogoutRequestView::new(&bhs).reason(), 1);
    /// ```
    LogoutRequestView {
        /// I: not numbered.
        immediate: bool = 0 & 0x40;
        /// Bit 0x80 of byte 1: always 1; a 0 is accepted.
        is_final: bool = 1 & 0x80;
        /// The code of a [`LogoutReason`].
        reason: u8 as LogoutReason = 1 & 0x7f;
        /// The tag of this request.
        initiator_task_tag: InitiatorTaskTag = 16;
        /// The connection; means nothing with reason 0.
        cid: u16 = 20;
        /// The number of this request, or the next one if it is immediate.
        cmd_sn: CmdSn = 24;
        /// The next StatSN that the initiator expects on the connection to be closed.
        exp_stat_sn: StatSn = 28;
    }
}

/// What a logout ends (RFC 7143 section 11.14.1).
///
/// ```
/// use iscsi_core::wire::LogoutReason;
/// assert_eq!(LogoutReason::CloseConnection { cid: 4 }.to_byte(), 1);
/// assert_eq!(LogoutReason::CloseSession.to_string(), "Close the session");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LogoutReason {
    /// 0: all connections, and the session.
    CloseSession,
    /// 1: one connection, with its tasks.
    CloseConnection {
        /// The connection.
        cid: u16,
    },
    /// 2: one connection, whose tasks will be reassigned.
    RemoveConnectionForRecovery {
        /// The connection.
        cid: u16,
    },
}

names! { LogoutReason {
    0 => "Close the session",
    1 => "Close the connection",
    2 => "Remove the connection for recovery",
} }

impl LogoutReason {
    /// The code.
    pub const fn to_byte(self) -> u8 {
        match self {
            Self::CloseSession => 0,
            Self::CloseConnection { .. } => 1,
            Self::RemoveConnectionForRecovery { .. } => 2,
        }
    }

    /// The connection, unless it is the whole session.
    pub const fn cid(self) -> Option<u16> {
        match self {
            Self::CloseSession => None,
            Self::CloseConnection { cid } | Self::RemoveConnectionForRecovery { cid } => Some(cid),
        }
    }
}

impl fmt::Display for LogoutReason {
    /// The RFC's name.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(Self::name_of(self.to_byte()).unwrap_or_default())
    }
}

/// A Logout Request (RFC 7143 section 11.14).
///
/// ```
/// use iscsi_core::wire::{BHS_LEN, LogoutReason, LogoutRequest};
/// use iscsi_core::{CmdSn, InitiatorTaskTag, StatSn};
///
/// let request = LogoutRequest {
///     immediate: true,
///     reason: LogoutReason::CloseSession,
///     initiator_task_tag: InitiatorTaskTag(1),
///     cmd_sn: CmdSn(2),
///     exp_stat_sn: StatSn(3),
/// };
/// let mut bhs = [0; BHS_LEN];
/// request.emit(&mut bhs);
/// assert_eq!((bhs[0], bhs[1]), (0x46, 0x80));
/// assert_eq!(LogoutRequest::parse(&bhs), Ok(request));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogoutRequest {
    /// I: not numbered.
    pub immediate: bool,
    /// What the logout ends.
    pub reason: LogoutReason,
    /// The tag of this request.
    pub initiator_task_tag: InitiatorTaskTag,
    /// The number of this request, or the next one if `immediate`.
    pub cmd_sn: CmdSn,
    /// The next StatSN that the initiator expects on the connection to be closed.
    pub exp_stat_sn: StatSn,
}

impl LogoutRequest {
    /// Reads a header.
    ///
    /// # Errors
    ///
    /// The opcode, the tag, TotalAHSLength or DataSegmentLength is wrong, or the reason is a reserved one.
    #[inline]
    pub fn parse(bhs: &Bhs) -> Result<Self, FormatError> {
        bhs::expect_kind(bhs, Opcode::LogoutRequest)?;
        bhs::expect_no_data(bhs)?;
        let view = LogoutRequestView::new(bhs);
        Ok(Self {
            immediate: view.immediate(),
            reason: match view.reason() {
                0 => LogoutReason::CloseSession,
                1 => LogoutReason::CloseConnection { cid: view.cid() },
                2 => LogoutReason::RemoveConnectionForRecovery { cid: view.cid() },
                code => return Err(FormatError::ReservedLogoutReason(code)),
            },
            initiator_task_tag: bhs::task_tag(bhs)?,
            cmd_sn: view.cmd_sn(),
            exp_stat_sn: view.exp_stat_sn(),
        })
    }

    /// Writes all 48 bytes.
    #[inline]
    pub fn emit(&self, bhs: &mut Bhs) {
        let byte0 = Opcode::LogoutRequest.to_byte() | flag(self.immediate, IMMEDIATE);
        bhs::start(bhs, byte0, FINAL | self.reason.to_byte(), 0);
        self.initiator_task_tag.put::<16>(bhs);
        self.reason.cid().unwrap_or_default().put::<20>(bhs);
        self.cmd_sn.put::<24>(bhs);
        self.exp_stat_sn.put::<28>(bhs);
    }
}
