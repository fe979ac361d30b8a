//! Login Request, opcode 0x03 (RFC 7143 section 11.12).

use super::bhs::{self, Bhs, IMMEDIATE, Opcode, flag};
use super::error::FormatError;
use super::field::{Field, codes, view};
use super::isid::Isid;
use crate::{CmdSn, InitiatorTaskTag, StatSn};

view! {
    /// The fields of a Login Request (RFC 7143 section 11.12).
    ///
    /// ```
    /// use iscsi_core::wire::{BHS_LEN, LoginRequestView};
    /// let mut bhs = [0; BHS_LEN];
    /// bhs[1] = 0x87;
    /// let view = LoginRequestView::new(&bhs);
    /// assert!(view.transit());
    /// assert_eq!((view.current_stage(), view.next_stage()), (1, 3));
    /// ```
    LoginRequestView {
        /// I: always 1; a 0 is accepted.
        immediate: bool = 0 & 0x40;
        /// T: the initiator is ready for the next stage.
        transit: bool = 1 & 0x80;
        /// C: the text continues in the next request.
        is_continued: bool = 1 & 0x40;
        /// CSG, the code of a [`Stage`].
        current_stage: u8 as Stage = 1 & 0x0c;
        /// NSG, the code of a [`Stage`]; means something with T only.
        next_stage: u8 as Stage = 1 & 0x03;
        /// The highest protocol version that the initiator speaks.
        version_max: u8 = 2;
        /// The lowest protocol version that the initiator speaks.
        version_min: u8 = 3;
        /// The initiator's part of the session identifier.
        isid: Isid = 8;
        /// The target's part of the session identifier, 0 for a new session.
        tsih: u16 = 14;
        /// The same tag in all requests of a Login Phase.
        initiator_task_tag: InitiatorTaskTag = 16;
        /// Names the connection within the session.
        cid: u16 = 20;
        /// The CmdSN of the first command.
        cmd_sn: CmdSn = 24;
        /// The next StatSN that the initiator expects.
        exp_stat_sn: StatSn = 28;
    }
}

codes! { closed
    /// A stage of the Login Phase, or its end (RFC 7143 section 11.12.3).
    ///
    /// ```
    /// use iscsi_core::wire::Stage;
    /// assert_eq!(Stage::from_byte(2), None);
    /// assert!(Stage::SecurityNegotiation < Stage::FullFeaturePhase);
    /// ```
    #[derive(PartialOrd, Ord)]
    Stage {
        /// Stage 0.
        SecurityNegotiation = 0, "SecurityNegotiation";
        /// Stage 1.
        LoginOperationalNegotiation = 1, "LoginOperationalNegotiation";
        /// 3: the login is done.
        FullFeaturePhase = 3, "FullFeaturePhase";
    }
}

/// A Login Request (RFC 7143 section 11.12).
///
/// ```
/// use iscsi_core::wire::{BHS_LEN, Isid, LoginRequest, Stage};
/// use iscsi_core::{CmdSn, InitiatorTaskTag, StatSn};
///
/// let request = LoginRequest {
///     current_stage: Stage::LoginOperationalNegotiation,
///     next_stage: Some(Stage::FullFeaturePhase),
///     is_continued: false,
///     version_max: 0,
///     version_min: 0,
///     data_segment_length: 100,
///     isid: Isid::random(1, 2),
///     tsih: 0,
///     initiator_task_tag: InitiatorTaskTag(3),
///     cid: 0,
///     cmd_sn: CmdSn(1),
///     exp_stat_sn: StatSn(0),
/// };
/// let mut bhs = [0; BHS_LEN];
/// request.emit(&mut bhs);
/// assert_eq!((bhs[0], bhs[1]), (0x43, 0x87));
/// assert_eq!(LoginRequest::parse(&bhs), Ok(request));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoginRequest {
    /// CSG, not FullFeaturePhase.
    pub current_stage: Stage,
    /// T and NSG: the stage that the initiator is ready for, beyond the current one.
    pub next_stage: Option<Stage>,
    /// C: the text continues in the next request. Not together with `next_stage`.
    pub is_continued: bool,
    /// The highest protocol version that the initiator speaks, 0.
    pub version_max: u8,
    /// The lowest protocol version that the initiator speaks, 0.
    pub version_min: u8,
    /// Bytes of text, without padding.
    pub data_segment_length: u32,
    /// The initiator's part of the session identifier.
    pub isid: Isid,
    /// The target's part of the session identifier, 0 for a new session.
    pub tsih: u16,
    /// The same tag in all requests of a Login Phase.
    pub initiator_task_tag: InitiatorTaskTag,
    /// Names the connection within the session.
    pub cid: u16,
    /// The CmdSN of the first command.
    pub cmd_sn: CmdSn,
    /// The next StatSN that the initiator expects; in a first request only for reinstatement of a connection.
    pub exp_stat_sn: StatSn,
}

impl LoginRequest {
    /// Reads a header.
    ///
    /// # Errors
    ///
    /// The opcode, the tag or TotalAHSLength is wrong, or T, C, CSG and NSG contradict each other.
    #[inline]
    pub fn parse(bhs: &Bhs) -> Result<Self, FormatError> {
        bhs::expect_kind(bhs, Opcode::LoginRequest)?;
        let view = LoginRequestView::new(bhs);
        let (current_stage, next_stage, is_continued) = parse_stages(bhs[1])?;
        Ok(Self {
            current_stage,
            next_stage,
            is_continued,
            version_max: view.version_max(),
            version_min: view.version_min(),
            data_segment_length: view.data_segment_length(),
            isid: view.isid(),
            tsih: view.tsih(),
            initiator_task_tag: bhs::task_tag(bhs)?,
            cid: view.cid(),
            cmd_sn: view.cmd_sn(),
            exp_stat_sn: view.exp_stat_sn(),
        })
    }

    /// Writes all 48 bytes.
    #[inline]
    pub fn emit(&self, bhs: &mut Bhs) {
        bhs::start(
            bhs,
            Opcode::LoginRequest.to_byte() | IMMEDIATE,
            emit_stages(self.current_stage, self.next_stage, self.is_continued),
            self.data_segment_length,
        );
        self.version_max.put::<2>(bhs);
        self.version_min.put::<3>(bhs);
        self.isid.put::<8>(bhs);
        self.tsih.put::<14>(bhs);
        self.initiator_task_tag.put::<16>(bhs);
        self.cid.put::<20>(bhs);
        self.cmd_sn.put::<24>(bhs);
        self.exp_stat_sn.put::<28>(bhs);
    }
}

/// T, C, CSG and NSG of byte 1, as request and response share them.
pub(super) fn parse_stages(byte1: u8) -> Result<(Stage, Option<Stage>, bool), FormatError> {
    let stage = |code| Stage::from_byte(code).ok_or(FormatError::ReservedStage(code));
    let is_continued = byte1 & 0x40 != 0;
    let current = stage(byte1 >> 2 & 3)?;
    if current == Stage::FullFeaturePhase {
        return Err(FormatError::LoginInFullFeaturePhase);
    }
    if byte1 & 0x80 == 0 {
        return Ok((current, None, is_continued));
    }
    if is_continued {
        return Err(FormatError::TransitAndContinue);
    }
    let next = stage(byte1 & 3)?;
    if next <= current {
        return Err(FormatError::StageNotForward {
            current: current.to_byte(),
            next: next.to_byte(),
        });
    }
    Ok((current, Some(next), is_continued))
}

/// Byte 1 from what [`parse_stages`] finds in it.
pub(super) fn emit_stages(current: Stage, next: Option<Stage>, is_continued: bool) -> u8 {
    let transit = next.map_or(0, |next| 0x80 | next.to_byte());
    transit | flag(is_continued, 0x40) | current.to_byte() << 2
}
