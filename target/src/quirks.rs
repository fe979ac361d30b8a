//! Deliberate misbehaviour and unusual choices, to test initiators.

use core::time::Duration;

use iscsi_core::Portal;
use iscsi_core::wire::{LoginStatus, RejectReason};

/// What a target does differently. Everything is off by default; each switch works by itself.
///
/// ```
/// use iscsi_target::Quirks;
/// let quirks = Quirks { window: Some(1), separate_status: true, ..Quirks::default() };
/// assert!(quirks.redirect.is_none() && !quirks.is_default());
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Quirks {
    /// Commands that the window takes at once, at most. With 0 it never opens.
    pub window: Option<u16>,
    /// The status of a read comes in a SCSI Response of its own, never in the last Data-In.
    pub separate_status: bool,
    /// Bytes in a Data-In, at most.
    pub data_in_length: Option<u32>,
    /// Bytes that one R2T asks for, at most.
    pub r2t_length: Option<u32>,
    /// R2Ts ask from the end of the data to the beginning. Allowed only if DataSequenceInOrder=No was negotiated.
    pub r2t_backwards: bool,
    /// Commands with this operation code are refused with a Reject.
    pub reject: Option<(u8, RejectReason)>,
    /// Commands with this operation code are never answered.
    pub ignore: Option<u8>,
    /// Statuses come this much later.
    pub delay: Option<Duration>,
    /// The StatSN of the first PDU after the login skips so many numbers, as if statuses had been lost.
    pub stat_sn_gap: u32,
    /// Every login is refused with this status.
    pub refuse_login: Option<LoginStatus>,
    /// Every login of a normal session is sent to this portal; with true for good.
    pub redirect: Option<(Portal, bool)>,
    /// SendTargets tells so many targets more. They do not exist.
    pub extra_targets: u16,
    /// Text answers come in pieces of so many bytes, cut anywhere.
    pub text_piece: Option<u16>,
    /// The first command of a session to each logical unit gets UNIT ATTENTION, POWER ON OCCURRED.
    pub power_on_attention: bool,
}

impl Quirks {
    /// Whether everything is as usual.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}
