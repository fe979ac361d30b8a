//! Login Response, opcode 0x23 (RFC 7143 section 11.13).

use super::bhs::{self, Bhs, Opcode};
use super::error::FormatError;
use super::field::{Field, view};
use super::isid::Isid;
use super::login_request::{Stage, emit_stages, parse_stages};
use super::login_status::LoginStatus;
use crate::{CmdSn, InitiatorTaskTag, StatSn};

view! {
    /// The fields of a Login Response (RFC 7143 section 11.13).
    ///
    /// ```
    /// use iscsi_core::wire::{BHS_LEN, LoginResponseView, LoginStatus};
    /// let mut bhs = [0; BHS_LEN];
    /// (bhs[36], bhs[37]) = (2, 1);
    /// assert_eq!(LoginResponseView::new(&bhs).status(), LoginStatus::AUTHENTICATION_FAILURE);
    /// ```
    LoginResponseView {
        /// T: the target goes to the next stage.
        transit: bool = 1 & 0x80;
        /// C: the text continues in the next response.
        is_continued: bool = 1 & 0x40;
        /// CSG, the code of a [`Stage`].
        current_stage: u8 as Stage = 1 & 0x0c;
        /// NSG, the code of a [`Stage`]; means something with T only.
        next_stage: u8 as Stage = 1 & 0x03;
        /// The highest protocol version that the target speaks.
        version_max: u8 = 2;
        /// The protocol version in use.
        version_active: u8 = 3;
        /// The initiator's part of the session identifier.
        isid: Isid = 8;
        /// The target's part of the session identifier.
        tsih: u16 = 14;
        /// The tag of the request.
        initiator_task_tag: InitiatorTaskTag = 16;
        /// The number of this response; means something with Status-Class 0 only.
        stat_sn: StatSn = 24;
        /// The next CmdSN that the target expects; means something with Status-Class 0 only.
        exp_cmd_sn: CmdSn = 28;
        /// The last CmdSN that the target accepts; means something with Status-Class 0 only.
        max_cmd_sn: CmdSn = 32;
        /// Status-Class and Status-Detail.
        status: LoginStatus = 36;
    }
}

/// The state of a login that goes on, or that is done (RFC 7143 section 11.13).
///
/// ```
/// use iscsi_core::wire::{LoginProgress, Stage};
/// use iscsi_core::{CmdSn, StatSn};
///
/// let progress = LoginProgress {
///     current_stage: Stage::LoginOperationalNegotiation,
///     next_stage: Some(Stage::FullFeaturePhase),
///     is_continued: false,
///     stat_sn: StatSn(0),
///     exp_cmd_sn: CmdSn(1),
///     max_cmd_sn: CmdSn(32),
/// };
/// assert!(progress.is_done());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoginProgress {
    /// CSG, not FullFeaturePhase.
    pub current_stage: Stage,
    /// T and NSG: the stage that the target goes to, beyond the current one.
    pub next_stage: Option<Stage>,
    /// C: the text continues in the next response. Not together with `next_stage`.
    pub is_continued: bool,
    /// The number of this response.
    pub stat_sn: StatSn,
    /// The next CmdSN that the target expects.
    pub exp_cmd_sn: CmdSn,
    /// The last CmdSN that the target accepts.
    pub max_cmd_sn: CmdSn,
}

impl LoginProgress {
    /// Whether this response ends the Login Phase.
    pub const fn is_done(&self) -> bool {
        matches!(self.next_stage, Some(Stage::FullFeaturePhase))
    }
}

/// Whether a login goes on (RFC 7143 section 11.13.5).
///
/// ```
/// use iscsi_core::wire::{LoginOutcome, LoginStatus};
/// assert_eq!(LoginOutcome::Refused(LoginStatus::NOT_FOUND).status(), LoginStatus::NOT_FOUND);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoginOutcome {
    /// Status 0x0000.
    Proceed(LoginProgress),
    /// Redirected or failed: the connection closes. Stages and numbers mean nothing then.
    Refused(LoginStatus),
}

impl LoginOutcome {
    /// Status-Class and Status-Detail.
    pub const fn status(&self) -> LoginStatus {
        match self {
            Self::Proceed(_) => LoginStatus::SUCCESS,
            Self::Refused(status) => *status,
        }
    }
}

/// A Login Response (RFC 7143 section 11.13).
///
/// ```
/// use iscsi_core::InitiatorTaskTag;
/// use iscsi_core::wire::{BHS_LEN, Isid, LoginOutcome, LoginResponse, LoginStatus};
///
/// let response = LoginResponse {
///     outcome: LoginOutcome::Refused(LoginStatus::OUT_OF_RESOURCES),
///     version_max: 0,
///     version_active: 0,
///     data_segment_length: 0,
///     isid: Isid::random(1, 2),
///     tsih: 0,
///     initiator_task_tag: InitiatorTaskTag(3),
/// };
/// let mut bhs = [0; BHS_LEN];
/// response.emit(&mut bhs);
/// assert_eq!(bhs[36..38], [3, 2]);
/// assert_eq!(LoginResponse::parse(&bhs), Ok(response));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoginResponse {
    /// Whether the login goes on.
    pub outcome: LoginOutcome,
    /// The highest protocol version that the target speaks.
    pub version_max: u8,
    /// The protocol version in use; the lowest one that the target speaks if it refuses with 0x0205.
    pub version_active: u8,
    /// Bytes of text, without padding.
    pub data_segment_length: u32,
    /// The initiator's part of the session identifier.
    pub isid: Isid,
    /// The target's part of the session identifier; not 0 in the last response of a new session.
    pub tsih: u16,
    /// The tag of the request.
    pub initiator_task_tag: InitiatorTaskTag,
}

impl LoginResponse {
    /// Reads a header.
    ///
    /// # Errors
    ///
    /// The opcode, the tag or TotalAHSLength is wrong, or the login goes on and T, C, CSG and NSG contradict each other, or
    /// Status-Class is 0 and Status-Detail is not.
    #[inline]
    pub fn parse(bhs: &Bhs) -> Result<Self, FormatError> {
        bhs::expect_kind(bhs, Opcode::LoginResponse)?;
        let view = LoginResponseView::new(bhs);
        let outcome = match view.status() {
            LoginStatus::SUCCESS => {
                let (current_stage, next_stage, is_continued) = parse_stages(bhs[1])?;
                LoginOutcome::Proceed(LoginProgress {
                    current_stage,
                    next_stage,
                    is_continued,
                    stat_sn: view.stat_sn(),
                    exp_cmd_sn: view.exp_cmd_sn(),
                    max_cmd_sn: view.max_cmd_sn(),
                })
            }
            LoginStatus { class: 0, detail } => {
                return Err(FormatError::ReservedSuccessDetail(detail));
            }
            status => LoginOutcome::Refused(status),
        };
        Ok(Self {
            outcome,
            version_max: view.version_max(),
            version_active: view.version_active(),
            data_segment_length: view.data_segment_length(),
            isid: view.isid(),
            tsih: view.tsih(),
            initiator_task_tag: bhs::task_tag(bhs)?,
        })
    }

    /// Writes all 48 bytes.
    #[inline]
    pub fn emit(&self, bhs: &mut Bhs) {
        bhs::start(bhs, Opcode::LoginResponse.to_byte(), 0, self.data_segment_length);
        if let LoginOutcome::Proceed(progress) = self.outcome {
            bhs[1] =
                emit_stages(progress.current_stage, progress.next_stage, progress.is_continued);
            progress.stat_sn.put::<24>(bhs);
            progress.exp_cmd_sn.put::<28>(bhs);
            progress.max_cmd_sn.put::<32>(bhs);
        }
        self.version_max.put::<2>(bhs);
        self.version_active.put::<3>(bhs);
        self.isid.put::<8>(bhs);
        self.tsih.put::<14>(bhs);
        self.initiator_task_tag.put::<16>(bhs);
        self.outcome.status().put::<36>(bhs);
    }
}
