//! Asynchronous Message, opcode 0x32 (RFC 7143 section 11.9).

use super::bhs::{self, Bhs, FINAL, Opcode};
use super::error::FormatError;
use super::field::{Field, names, view};
use crate::{CmdSn, InitiatorTaskTag, Lun, StatSn};

view! {
    /// The fields of an Asynchronous Message (RFC 7143 section 11.9).
    ///
    /// ```
    /// use iscsi_core::wire::{AsyncMessageView, BHS_LEN};
    /// let mut bhs = [0; BHS_LEN];
    /// bhs[36] = 1;
    /// assert_eq!(AsyncMessageView::new(&bhs).async_event(), 1);
    /// ```
    AsyncMessageView {
        /// Bit 0x80 of byte 1: always 1; a 0 is accepted.
        is_final: bool = 1 & 0x80;
        /// The logical unit of events 0 and 5.
        lun: Lun = 8;
        /// Always reserved; other values are ignored.
        initiator_task_tag: InitiatorTaskTag = 16;
        /// The number of this status.
        stat_sn: StatSn = 24;
        /// The next CmdSN that the target expects.
        exp_cmd_sn: CmdSn = 28;
        /// The last CmdSN that the target accepts.
        max_cmd_sn: CmdSn = 32;
        /// The code of an [`AsyncEvent`].
        async_event: u8 as AsyncEvent = 36;
        /// A vendor's code, with events 248 to 255.
        async_vcode: u8 = 37;
        /// CID of event 2.
        parameter1: u16 = 38;
        /// Time2Wait of events 2 and 3.
        parameter2: u16 = 40;
        /// Time2Retain of events 2 and 3, seconds to react to events 1 and 4.
        parameter3: u16 = 42;
    }
}

/// What happened at the target (RFC 7143 section 11.9.1).
///
/// ```
/// use iscsi_core::wire::AsyncEvent;
/// assert_eq!(AsyncEvent::LogoutRequested { seconds: 5 }.to_byte(), 1);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AsyncEvent {
    /// 0: an asynchronous event of SCSI; the data segment has its sense.
    Scsi {
        /// The logical unit.
        lun: Lun,
    },
    /// 1: the initiator shall log this connection out.
    LogoutRequested {
        /// The time it has for that.
        seconds: u16,
    },
    /// 2: the target drops, or has dropped, a connection.
    ConnectionDropped {
        /// The connection.
        cid: u16,
        /// Seconds to wait before reconnecting.
        time2wait: u16,
        /// Seconds after that in which tasks can be reassigned.
        time2retain: u16,
    },
    /// 3: the target drops all connections of the session.
    SessionDropped {
        /// Seconds to wait before reconnecting.
        time2wait: u16,
        /// Seconds after that in which tasks can be reassigned.
        time2retain: u16,
    },
    /// 4: the initiator shall start a negotiation.
    NegotiationRequested {
        /// The time it has for that.
        seconds: u16,
    },
    /// 5: all tasks of this session on a logical unit were terminated.
    TasksTerminated {
        /// The logical unit.
        lun: Lun,
    },
    /// 248 to 255: a vendor's.
    Vendor {
        /// The code.
        event: u8,
        /// AsyncVCode.
        vcode: u8,
        /// Parameter1, Parameter2 and Parameter3.
        parameters: [u16; 3],
    },
    /// 6 to 247: no meaning. Its StatSN counts all the same.
    Unassigned(u8),
}

names! { AsyncEvent {
    0 => "SCSI asynchronous event",
    1 => "Logout requested",
    2 => "Connection dropped",
    3 => "Session dropped",
    4 => "Negotiation requested",
    5 => "Tasks terminated",
    248..=255 => "vendor",
} }

impl AsyncEvent {
    /// The code.
    pub const fn to_byte(self) -> u8 {
        match self {
            Self::Scsi { .. } => 0,
            Self::LogoutRequested { .. } => 1,
            Self::ConnectionDropped { .. } => 2,
            Self::SessionDropped { .. } => 3,
            Self::NegotiationRequested { .. } => 4,
            Self::TasksTerminated { .. } => 5,
            Self::Vendor { event, .. } | Self::Unassigned(event) => event,
        }
    }

    fn parse(view: AsyncMessageView<'_>) -> Self {
        let (time2wait, time2retain) = (view.parameter2(), view.parameter3());
        let seconds = view.parameter3();
        match view.async_event() {
            0 => Self::Scsi { lun: view.lun() },
            1 => Self::LogoutRequested { seconds },
            2 => Self::ConnectionDropped { cid: view.parameter1(), time2wait, time2retain },
            3 => Self::SessionDropped { time2wait, time2retain },
            4 => Self::NegotiationRequested { seconds },
            5 => Self::TasksTerminated { lun: view.lun() },
            event @ 248..=255 => Self::Vendor {
                event,
                vcode: view.async_vcode(),
                parameters: [view.parameter1(), view.parameter2(), view.parameter3()],
            },
            event => Self::Unassigned(event),
        }
    }

    /// Parameter1, Parameter2 and Parameter3.
    const fn parameters(self) -> [u16; 3] {
        match self {
            Self::Scsi { .. } | Self::TasksTerminated { .. } | Self::Unassigned(_) => [0; 3],
            Self::LogoutRequested { seconds } | Self::NegotiationRequested { seconds } => {
                [0, 0, seconds]
            }
            Self::ConnectionDropped { cid, time2wait, time2retain } => {
                [cid, time2wait, time2retain]
            }
            Self::SessionDropped { time2wait, time2retain } => [0, time2wait, time2retain],
            Self::Vendor { parameters, .. } => parameters,
        }
    }
}

/// An Asynchronous Message (RFC 7143 section 11.9).
///
/// ```
/// use iscsi_core::wire::{AsyncEvent, AsyncMessage, BHS_LEN};
/// use iscsi_core::{CmdSn, StatSn};
///
/// let message = AsyncMessage {
///     event: AsyncEvent::SessionDropped { time2wait: 2, time2retain: 20 },
///     data_segment_length: 0,
///     stat_sn: StatSn(2),
///     exp_cmd_sn: CmdSn(3),
///     max_cmd_sn: CmdSn(34),
/// };
/// let mut bhs = [0; BHS_LEN];
/// message.emit(&mut bhs);
/// assert_eq!(AsyncMessage::parse(&bhs), Ok(message));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AsyncMessage {
    /// What happened.
    pub event: AsyncEvent,
    /// Bytes of SenseLength, sense, and event data together.
    pub data_segment_length: u32,
    /// The number of this status.
    pub stat_sn: StatSn,
    /// The next CmdSN that the target expects.
    pub exp_cmd_sn: CmdSn,
    /// The last CmdSN that the target accepts.
    pub max_cmd_sn: CmdSn,
}

impl AsyncMessage {
    /// Reads a header. An unassigned event and an Initiator Task Tag are no errors.
    ///
    /// # Errors
    ///
    /// The opcode or TotalAHSLength is wrong, or the data segment of a SCSI event is too short for SenseLength.
    #[inline]
    pub fn parse(bhs: &Bhs) -> Result<Self, FormatError> {
        bhs::expect_kind(bhs, Opcode::AsyncMessage)?;
        let view = AsyncMessageView::new(bhs);
        let event = AsyncEvent::parse(view);
        let data_segment_length = view.data_segment_length();
        if matches!(event, AsyncEvent::Scsi { .. }) && data_segment_length == 1 {
            return Err(FormatError::SenseLengthCut);
        }
        Ok(Self {
            event,
            data_segment_length,
            stat_sn: view.stat_sn(),
            exp_cmd_sn: view.exp_cmd_sn(),
            max_cmd_sn: view.max_cmd_sn(),
        })
    }

    /// Writes all 48 bytes.
    #[inline]
    pub fn emit(&self, bhs: &mut Bhs) {
        bhs::start(bhs, Opcode::AsyncMessage.to_byte(), FINAL, self.data_segment_length);
        match self.event {
            AsyncEvent::Scsi { lun } | AsyncEvent::TasksTerminated { lun } => lun.put::<8>(bhs),
            AsyncEvent::Vendor { vcode, .. } => vcode.put::<37>(bhs),
            _ => {}
        }
        InitiatorTaskTag::RESERVED.put::<16>(bhs);
        self.stat_sn.put::<24>(bhs);
        self.exp_cmd_sn.put::<28>(bhs);
        self.max_cmd_sn.put::<32>(bhs);
        self.event.to_byte().put::<36>(bhs);
        let [parameter1, parameter2, parameter3] = self.event.parameters();
        parameter1.put::<38>(bhs);
        parameter2.put::<40>(bhs);
        parameter3.put::<42>(bhs);
    }
}
