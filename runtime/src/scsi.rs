//! How a command ended, with the device's sense data.

use core::fmt;

use iscsi_core::TaskOutcome;
use iscsi_core::wire::{Residual, ScsiStatus};
use iscsi_disk::scsi::Sense;

/// How a command ended that the target answered, whatever the answer.
///
/// ```
/// use iscsi_core::TaskOutcome;
/// use iscsi_core::wire::{Completion, ScsiResponseCode};
/// use iscsi_runtime::Completed;
///
/// let response = ScsiResponseCode::CompletedAtTarget(Completion::GOOD);
/// let completed = Completed::new(TaskOutcome { response, data_in: 36, missing: 0 }, &[]);
/// assert_eq!(completed.data_in(), 36);
/// let outcome = completed.good()?; // anything but GOOD is an error
/// # Ok::<(), iscsi_runtime::ScsiError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Completed {
    /// Response, status, residuals.
    pub outcome: TaskOutcome,
    /// Sense data, up to 252 bytes; empty if there was none.
    pub sense: Box<[u8]>,
}

impl Completed {
    /// Of a task's end.
    pub fn new(outcome: TaskOutcome, sense: &[u8]) -> Self {
        Self { outcome, sense: sense.into() }
    }

    /// Bytes that the device returned.
    pub const fn data_in(&self) -> u32 {
        self.outcome.data_in
    }

    /// The outcome if it is GOOD without overflow and nothing is missing.
    ///
    /// # Errors
    /// [`ScsiError`] with everything that is known.
    pub fn good(self) -> Result<TaskOutcome, ScsiError> {
        if self.outcome.is_good() {
            Ok(self.outcome)
        } else {
            Err(ScsiError { outcome: self.outcome, sense: self.sense })
        }
    }
}

/// A command that did not end with GOOD.
///
/// ```
/// use iscsi_core::TaskOutcome;
/// use iscsi_core::wire::{Completion, Residual, ScsiResponseCode, ScsiStatus};
/// use iscsi_runtime::Completed;
///
/// let completion = Completion { status: ScsiStatus::CheckCondition, ..Completion::GOOD };
/// let response = ScsiResponseCode::CompletedAtTarget(completion);
/// let outcome = TaskOutcome { response, data_in: 0, missing: 0 };
/// let sense = [0x70, 0, 5, 0, 0, 0, 0, 10, 0, 0, 0, 0, 0x24, 0, 0, 0, 0, 0].into();
/// let error = Completed { outcome, sense }.good().unwrap_err();
/// assert_eq!(
///     error.to_string(),
///     "CHECK CONDITION: ILLEGAL_REQUEST, 24/00 invalid field in CDB",
/// );
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScsiError {
    /// Response, status, residuals.
    pub outcome: TaskOutcome,
    /// Sense data, up to 252 bytes; empty if there was none.
    pub sense: Box<[u8]>,
}

impl ScsiError {
    /// The sense data, parsed; `None` if there are none that make sense.
    pub fn sense(&self) -> Option<Sense> {
        Sense::parse(&self.sense).ok()
    }

    /// The SCSI status; `None` if the command did not reach its end at the target.
    pub const fn status(&self) -> Option<ScsiStatus> {
        self.outcome.status()
    }
}

impl fmt::Display for ScsiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.status() {
            None => {
                let code = self.outcome.response.to_byte();
                write!(f, "the target did not execute the command (iSCSI response {code:#04x})")?;
            }
            Some(ScsiStatus::Good) if self.outcome.missing > 0 => {
                write!(f, "{} bytes of the data did not arrive", self.outcome.missing)?;
            }
            Some(ScsiStatus::Good) => f.write_str("the device has more data than asked for")?,
            Some(status) => {
                iscsi_disk::ScsiError::new(status.to_byte().into(), self.sense().as_ref())
                    .fmt(f)?;
            }
        }
        if let Residual::Overflow(bytes) = self.outcome.residual() {
            write!(f, ", {bytes} bytes more than asked for")?;
        }
        Ok(())
    }
}

impl core::error::Error for ScsiError {}
