//! Logout Response, opcode 0x26 (RFC 7143 section 11.15).

use super::bhs::{self, Bhs, FINAL, Opcode};
use super::error::FormatError;
use super::field::{Field, codes, view};
use crate::{CmdSn, InitiatorTaskTag, StatSn};

view! {
    /// The fields of a Logout Response (RFC 7143 section 11.15).
    ///
    /// ```
    /// use iscsi_core::wire::{BHS_LEN, LogoutResponseView};
    /// let mut bhs = [0; BHS_LEN];
    /// bhs[41] = 2;
    /// assert_eq!(LogoutResponseView::new(&bhs).time2wait(), 2);
    /// ```
    LogoutResponseView {
        /// Bit 0x80 of byte 1: always 1; a 0 is accepted.
        is_final: bool = 1 & 0x80;
        /// The code of a [`LogoutResponseCode`].
        response: u8 as LogoutResponseCode = 2;
        /// The tag of the request.
        initiator_task_tag: InitiatorTaskTag = 16;
        /// The number of this status.
        stat_sn: StatSn = 24;
        /// The next CmdSN that the target expects.
        exp_cmd_sn: CmdSn = 28;
        /// The last CmdSN that the target accepts.
        max_cmd_sn: CmdSn = 32;
        /// Seconds to wait before reassigning tasks or logging out again.
        time2wait: u16 = 40;
        /// Seconds after that in which tasks can be reassigned.
        time2retain: u16 = 42;
    }
}

codes! { closed
    /// How a logout ended (RFC 7143 section 11.15.1).
    ///
    /// ```
    /// use iscsi_core::wire::LogoutResponseCode;
    /// assert_eq!(LogoutResponseCode::from_byte(1), Some(LogoutResponseCode::CidNotFound));
    /// assert_eq!(LogoutResponseCode::from_byte(4), None);
    /// ```
    LogoutResponseCode {
        /// The connection or session is closed.
        Success = 0, "Closed successfully";
        /// There is no such connection.
        CidNotFound = 1, "CID not found";
        /// The target cannot keep tasks for recovery.
        RecoveryNotSupported = 2, "Connection recovery is not supported";
        /// The target could not clean up.
        CleanupFailed = 3, "Cleanup failed";
    }
}

/// A Logout Response (RFC 7143 section 11.15).
///
/// ```
/// use iscsi_core::wire::{BHS_LEN, LogoutResponse, LogoutResponseCode};
/// use iscsi_core::{CmdSn, InitiatorTaskTag, StatSn};
///
/// let response = LogoutResponse {
///     response: LogoutResponseCode::Success,
///     initiator_task_tag: InitiatorTaskTag(1),
///     stat_sn: StatSn(2),
///     exp_cmd_sn: CmdSn(3),
///     max_cmd_sn: CmdSn(34),
///     time2wait: 2,
///     time2retain: 0,
/// };
/// let mut bhs = [0; BHS_LEN];
/// response.emit(&mut bhs);
/// assert_eq!(LogoutResponse::parse(&bhs), Ok(response));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogoutResponse {
    /// How the logout ended.
    pub response: LogoutResponseCode,
    /// The tag of the request.
    pub initiator_task_tag: InitiatorTaskTag,
    /// The number of this status.
    pub stat_sn: StatSn,
    /// The next CmdSN that the target expects.
    pub exp_cmd_sn: CmdSn,
    /// The last CmdSN that the target accepts.
    pub max_cmd_sn: CmdSn,
    /// Seconds to wait before reassigning tasks or logging out again; means nothing if the CID was not found, or after success
    /// below ErrorRecoveryLevel 2.
    pub time2wait: u16,
    /// Seconds after that in which tasks can be reassigned; as `time2wait`.
    pub time2retain: u16,
}

impl LogoutResponse {
    /// Reads a header.
    ///
    /// # Errors
    ///
    /// The opcode, the tag, TotalAHSLength or DataSegmentLength is wrong, or the response is a reserved one.
    #[inline]
    pub fn parse(bhs: &Bhs) -> Result<Self, FormatError> {
        bhs::expect_kind(bhs, Opcode::LogoutResponse)?;
        bhs::expect_no_data(bhs)?;
        let view = LogoutResponseView::new(bhs);
        let Some(response) = LogoutResponseCode::from_byte(view.response()) else {
            return Err(FormatError::ReservedLogoutResponse(view.response()));
        };
        Ok(Self {
            response,
            initiator_task_tag: bhs::task_tag(bhs)?,
            stat_sn: view.stat_sn(),
            exp_cmd_sn: view.exp_cmd_sn(),
            max_cmd_sn: view.max_cmd_sn(),
            time2wait: view.time2wait(),
            time2retain: view.time2retain(),
        })
    }

    /// Writes all 48 bytes.
    #[inline]
    pub fn emit(&self, bhs: &mut Bhs) {
        bhs::start(bhs, Opcode::LogoutResponse.to_byte(), FINAL, 0);
        bhs[2] = self.response.to_byte();
        self.initiator_task_tag.put::<16>(bhs);
        self.stat_sn.put::<24>(bhs);
        self.exp_cmd_sn.put::<28>(bhs);
        self.max_cmd_sn.put::<32>(bhs);
        self.time2wait.put::<40>(bhs);
        self.time2retain.put::<42>(bhs);
    }
}
