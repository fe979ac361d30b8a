//! What to do about the end of a command: policy as data, no timers and no counters.

use crate::sense::{AdditionalSense, Sense, SenseKey};
use crate::status::Status;

/// What the outcome of a command asks for.
///
/// The caller keeps the counts and the clock, and decides how often and how long. BUSY, TASK SET
/// FULL, NOT READY and UNIT ATTENTION end a command before it does anything, so any command may be
/// sent again after them; an aborted command may have done part of its work.
///
/// ```
/// use iscsi_scsi::{Disposition, Status, disposition::{Refresh, Wait}};
/// use iscsi_scsi::sense::{AdditionalSense, Sense, SenseKey};
///
/// assert_eq!(Disposition::of(Status::BUSY, None), Disposition::RetryAfter(Wait::Busy));
///
/// let grown = AdditionalSense::CAPACITY_DATA_HAS_CHANGED;
/// let sense = Sense::new(SenseKey::UNIT_ATTENTION, grown);
/// let outcome = Disposition::of(Status::CHECK_CONDITION, Some(&sense));
/// assert_eq!(outcome, Disposition::Retry(Refresh::Capacity));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Disposition {
    /// The command did what it was asked.
    Success,
    /// Send it again at once, after reading again what has changed.
    Retry(Refresh),
    /// Send it again at once if doing it twice is the same as once.
    RetryIfIdempotent,
    /// Send it again after a delay.
    RetryAfter(Wait),
    /// Sending it again does not help.
    Fail(Failure),
}

/// What a unit attention makes stale.
///
/// ```
/// use iscsi_scsi::disposition::Refresh;
/// assert_eq!(Refresh::default(), Refresh::Nothing);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Refresh {
    /// Nothing to read again.
    #[default]
    Nothing,
    /// A reset or the loss of the nexus: mode pages, reservations and exceptions may be gone.
    Everything,
    /// READ CAPACITY.
    Capacity,
    /// INQUIRY and the vital product data pages, the identity of the unit among them.
    Inquiry,
    /// The medium, and with it the capacity.
    Medium,
    /// MODE SENSE.
    Mode,
    /// REPORT LUNS.
    Luns,
    /// Reservations and registrations.
    Reservations,
    /// REPORT TARGET PORT GROUPS.
    TargetPortGroups,
}

/// Why to wait, from which a caller chooses how long.
///
/// ```
/// use iscsi_scsi::{Disposition, Status, disposition::Wait};
/// let full = Disposition::of(Status::TASK_SET_FULL, None);
/// assert_eq!(full, Disposition::RetryAfter(Wait::QueueFull));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Wait {
    /// BUSY: back off.
    Busy,
    /// TASK SET FULL: back off, and send fewer commands at a time.
    QueueFull,
    /// The unit becomes ready by itself, within seconds.
    BecomingReady,
    /// The target port changes its asymmetric access state, within seconds.
    AccessStateTransition,
    /// The device lacks resources for the moment.
    Resources,
}

/// Why a command failed for good.
///
/// ```
/// use iscsi_scsi::{Disposition, Status, disposition::Failure};
/// let conflict = Disposition::of(Status::RESERVATION_CONFLICT, None);
/// assert_eq!(conflict, Disposition::Fail(Failure::ReservationConflict));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Failure {
    /// RESERVATION CONFLICT.
    ReservationConflict,
    /// ACA ACTIVE: the task set is blocked until CLEAR ACA.
    AcaActive,
    /// TASK ABORTED: another initiator ended it.
    Aborted,
    /// ILLEGAL REQUEST: the device does not do this.
    IllegalRequest,
    /// There is no such logical unit.
    NoLogicalUnit,
    /// Blocks outside of the medium.
    OutOfRange,
    /// VERIFY or COMPARE AND WRITE found other data.
    Miscompare,
    /// Not ready until somebody acts.
    NotReady,
    /// No medium in the drive.
    NoMedium,
    /// This target port does not serve the unit; another may.
    PathUnavailable,
    /// Write protected.
    WriteProtected,
    /// A thinly provisioned unit has no space left.
    SpaceExhausted,
    /// The protection information does not match.
    ProtectionInformation,
    /// The medium failed.
    Medium,
    /// The device failed.
    Hardware,
    /// A condition of an earlier command that had been acknowledged: data may be lost.
    Deferred,
    /// Anything else, a CHECK CONDITION without sense data among them.
    Other,
}

impl Disposition {
    /// Judges a status with its sense data, if there was any that could be parsed.
    pub fn of(status: Status, sense: Option<&Sense>) -> Self {
        match status {
            Status::GOOD | Status::CONDITION_MET => Self::Success,
            Status::CHECK_CONDITION => sense.map_or(Self::Fail(Failure::Other), Self::of_sense),
            Status::BUSY => Self::RetryAfter(Wait::Busy),
            Status::TASK_SET_FULL => Self::RetryAfter(Wait::QueueFull),
            Status::RESERVATION_CONFLICT => Self::Fail(Failure::ReservationConflict),
            Status::ACA_ACTIVE => Self::Fail(Failure::AcaActive),
            Status::TASK_ABORTED => Self::Fail(Failure::Aborted),
            _ => Self::Fail(Failure::Other),
        }
    }

    fn of_sense(sense: &Sense) -> Self {
        let code = sense.additional;
        if sense.deferred {
            // The present command was not executed, but an earlier one failed unnoticed.
            return match sense.key {
                SenseKey::NO_SENSE | SenseKey::RECOVERED_ERROR => Self::Retry(Refresh::Nothing),
                _ => Self::Fail(Failure::Deferred),
            };
        }
        match sense.key {
            SenseKey::NO_SENSE | SenseKey::RECOVERED_ERROR | SenseKey::COMPLETED => Self::Success,
            SenseKey::NOT_READY => Self::not_ready(code),
            SenseKey::UNIT_ATTENTION => Self::Retry(changed(code)),
            SenseKey::ABORTED_COMMAND => match code.asc {
                0x10 => Self::Fail(Failure::ProtectionInformation),
                _ => Self::RetryIfIdempotent,
            },
            SenseKey::ILLEGAL_REQUEST => Self::illegal(code),
            SenseKey::DATA_PROTECT => match code {
                AdditionalSense::SPACE_ALLOCATION_FAILED => Self::Fail(Failure::SpaceExhausted),
                _ => Self::Fail(Failure::WriteProtected),
            },
            SenseKey::MISCOMPARE => Self::Fail(Failure::Miscompare),
            SenseKey::MEDIUM_ERROR | SenseKey::BLANK_CHECK => Self::Fail(Failure::Medium),
            SenseKey::HARDWARE_ERROR => Self::Fail(Failure::Hardware),
            _ => Self::Fail(Failure::Other),
        }
    }

    fn not_ready(code: AdditionalSense) -> Self {
        match (code.asc, code.ascq) {
            (0x04, 0x01 | 0x07 | 0x09 | 0x1a) => Self::RetryAfter(Wait::BecomingReady),
            (0x04, 0x0a) => Self::RetryAfter(Wait::AccessStateTransition),
            (0x04, 0x0b | 0x0c) => Self::Fail(Failure::PathUnavailable),
            (0x04, 0x14) => Self::RetryAfter(Wait::Resources),
            (0x3a, _) => Self::Fail(Failure::NoMedium),
            _ => Self::Fail(Failure::NotReady),
        }
    }

    fn illegal(code: AdditionalSense) -> Self {
        match (code.asc, code.ascq) {
            (0x21, 0x00) => Self::Fail(Failure::OutOfRange),
            (0x25, 0x00) => Self::Fail(Failure::NoLogicalUnit),
            (0x10, _) => Self::Fail(Failure::ProtectionInformation),
            (0x55, 0x03) => Self::RetryAfter(Wait::Resources),
            _ => Self::Fail(Failure::IllegalRequest),
        }
    }
}

/// What a unit attention condition makes stale.
fn changed(code: AdditionalSense) -> Refresh {
    match (code.asc, code.ascq) {
        (0x29, _) => Refresh::Everything,
        (0x28, _) => Refresh::Medium,
        (0x2a, 0x00) => Refresh::Everything,
        (0x2a, 0x01) => Refresh::Mode,
        (0x2a, 0x03..=0x05) => Refresh::Reservations,
        (0x2a, 0x06 | 0x07) => Refresh::TargetPortGroups,
        (0x2a, 0x09) => Refresh::Capacity,
        (0x3f, 0x00..=0x05) => Refresh::Inquiry,
        (0x3f, 0x0e) => Refresh::Luns,
        _ => Refresh::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(key: SenseKey, asc: u8, ascq: u8) -> Disposition {
        let sense = Sense::new(key, AdditionalSense { asc, ascq });
        Disposition::of(Status::CHECK_CONDITION, Some(&sense))
    }

    #[test]
    fn unit_attentions_are_retried() {
        let ua = |asc, ascq| judge(SenseKey::UNIT_ATTENTION, asc, ascq);
        assert_eq!(ua(0x29, 0x07), Disposition::Retry(Refresh::Everything));
        assert_eq!(ua(0x2a, 0x01), Disposition::Retry(Refresh::Mode));
        assert_eq!(ua(0x2a, 0x06), Disposition::Retry(Refresh::TargetPortGroups));
        assert_eq!(ua(0x3f, 0x03), Disposition::Retry(Refresh::Inquiry));
        assert_eq!(ua(0x3f, 0x0e), Disposition::Retry(Refresh::Luns));
        assert_eq!(ua(0x38, 0x07), Disposition::Retry(Refresh::Nothing));
    }

    #[test]
    fn delays() {
        let not_ready = |ascq| judge(SenseKey::NOT_READY, 0x04, ascq);
        assert_eq!(not_ready(0x01), Disposition::RetryAfter(Wait::BecomingReady));
        assert_eq!(not_ready(0x0a), Disposition::RetryAfter(Wait::AccessStateTransition));
        assert_eq!(not_ready(0x0b), Disposition::Fail(Failure::PathUnavailable));
        assert_eq!(not_ready(0x03), Disposition::Fail(Failure::NotReady));
        assert_eq!(judge(SenseKey::NOT_READY, 0x3a, 0x02), Disposition::Fail(Failure::NoMedium));
    }

    #[test]
    fn never_retried() {
        let fail = |key, asc, ascq, failure| {
            assert_eq!(judge(key, asc, ascq), Disposition::Fail(failure));
        };
        fail(SenseKey::MISCOMPARE, 0x1d, 0, Failure::Miscompare);
        fail(SenseKey::ILLEGAL_REQUEST, 0x20, 0, Failure::IllegalRequest);
        fail(SenseKey::ILLEGAL_REQUEST, 0x21, 0, Failure::OutOfRange);
        fail(SenseKey::ILLEGAL_REQUEST, 0x25, 0, Failure::NoLogicalUnit);
        fail(SenseKey::DATA_PROTECT, 0x27, 7, Failure::SpaceExhausted);
        fail(SenseKey::DATA_PROTECT, 0x27, 0, Failure::WriteProtected);
        fail(SenseKey::MEDIUM_ERROR, 0x11, 0, Failure::Medium);
        fail(SenseKey::ABORTED_COMMAND, 0x10, 1, Failure::ProtectionInformation);
        assert_eq!(
            Disposition::of(Status::CHECK_CONDITION, None),
            Disposition::Fail(Failure::Other)
        );
    }

    #[test]
    fn an_aborted_command_may_have_run() {
        assert_eq!(judge(SenseKey::ABORTED_COMMAND, 0x47, 0x05), Disposition::RetryIfIdempotent);
    }

    #[test]
    fn deferred_errors_are_not_hidden() {
        let mut sense = Sense::new(SenseKey::MEDIUM_ERROR, AdditionalSense::WRITE_ERROR);
        sense.deferred = true;
        assert_eq!(
            Disposition::of(Status::CHECK_CONDITION, Some(&sense)),
            Disposition::Fail(Failure::Deferred)
        );
    }
}
