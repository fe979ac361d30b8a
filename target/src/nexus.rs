//! The session registry: who is logged in, and what each logical unit has to tell them.

use iscsi_core::IscsiName;
use iscsi_core::text::SessionType;
use iscsi_core::wire::Isid;
use iscsi_scsi::AdditionalSense;

/// The most logical units of a target.
pub const MAX_UNITS: usize = 64;

/// A condition that is reported once, in place of executing a command, with the sense key UNIT ATTENTION.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Attention {
    // In the order in which they are reported.
    PowerOn,
    Reset,
    CommandsClearedByEvent,
    CommandsCleared,
    LunsChanged,
    CapacityChanged,
    ModeChanged,
    ReservationsPreempted,
    ReservationsReleased,
    RegistrationsPreempted,
}

impl Attention {
    const ALL: [Self; 10] = [
        Self::PowerOn,
        Self::Reset,
        Self::CommandsClearedByEvent,
        Self::CommandsCleared,
        Self::LunsChanged,
        Self::CapacityChanged,
        Self::ModeChanged,
        Self::ReservationsPreempted,
        Self::ReservationsReleased,
        Self::RegistrationsPreempted,
    ];

    pub(crate) const fn additional_sense(self) -> AdditionalSense {
        match self {
            Self::PowerOn => AdditionalSense::POWER_ON_OCCURRED,
            Self::Reset => AdditionalSense::DEVICE_RESET_OCCURRED,
            Self::CommandsClearedByEvent => AdditionalSense::COMMANDS_CLEARED_BY_ISCSI_EVENT,
            Self::CommandsCleared => AdditionalSense::COMMANDS_CLEARED_BY_ANOTHER_INITIATOR,
            Self::LunsChanged => AdditionalSense::REPORTED_LUNS_DATA_HAS_CHANGED,
            Self::CapacityChanged => AdditionalSense::CAPACITY_DATA_HAS_CHANGED,
            Self::ModeChanged => AdditionalSense::MODE_PARAMETERS_CHANGED,
            Self::ReservationsPreempted => AdditionalSense::RESERVATIONS_PREEMPTED,
            Self::ReservationsReleased => AdditionalSense::RESERVATIONS_RELEASED,
            Self::RegistrationsPreempted => AdditionalSense::REGISTRATIONS_PREEMPTED,
        }
    }
}

/// The attentions that are pending.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Attentions(u16);

impl Attentions {
    pub(crate) const NONE: Self = Self(0);

    pub(crate) const fn raise(&mut self, attention: Attention) {
        self.0 |= 1 << attention as u8;
    }

    pub(crate) const fn clear(&mut self, attention: Attention) {
        self.0 &= !(1 << attention as u8);
    }

    #[inline]
    pub(crate) fn first(self) -> Option<Attention> {
        // Each command asks, and few have an answer.
        if self.0 == 0 {
            return None;
        }
        Attention::ALL.into_iter().find(|attention| self.0 & 1 << *attention as u8 != 0)
    }

    #[inline]
    pub(crate) fn take(&mut self) -> Option<Attention> {
        let first = self.first()?;
        self.clear(first);
        Some(first)
    }
}

/// Room for one session in the registry of a [`Target`](crate::Target).
///
/// ```
/// use iscsi_target::NexusSlot;
/// let sessions = [const { NexusSlot::EMPTY }; 4]; // room for four
/// assert!(sessions.iter().all(NexusSlot::is_free));
/// ```
#[derive(Debug, Clone)]
pub struct NexusSlot {
    /// Who it is, `None` for a free slot.
    pub(crate) session: Option<SessionIdentity>,
    /// Counts the sessions that the slot has held.
    pub(crate) generation: u32,
    pub(crate) attentions: [Attentions; MAX_UNITS],
}

impl NexusSlot {
    /// A free slot.
    pub const EMPTY: Self =
        Self { session: None, generation: 0, attentions: [Attentions::NONE; MAX_UNITS] };

    /// Whether no session is in it.
    pub const fn is_free(&self) -> bool {
        self.session.is_none()
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SessionIdentity {
    pub(crate) initiator: IscsiName,
    pub(crate) isid: Isid,
    pub(crate) tsih: u16,
    pub(crate) cid: u16,
    pub(crate) session_type: SessionType,
}

/// A session in the registry; stale once the session has ended or was taken over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NexusId {
    pub(crate) index: u16,
    pub(crate) generation: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attentions_come_once_and_in_order() {
        let mut attentions = Attentions::NONE;
        attentions.raise(Attention::ModeChanged);
        attentions.raise(Attention::Reset);
        attentions.raise(Attention::Reset);
        assert_eq!(attentions.take(), Some(Attention::Reset));
        assert_eq!(attentions.take(), Some(Attention::ModeChanged));
        assert_eq!(attentions.take(), None);
    }
}
