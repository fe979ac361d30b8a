//! A logical unit that answers questions about itself.

use core::time::Duration;
use std::thread;

use iscsi_core::wire::ScsiStatus;
use iscsi_core::{Command, Lun, OnLoss, Transfer};
use iscsi_runtime_std::{Client, Completed, Data, Error, ScsiError};
use iscsi_scsi::capacity::{
    ReadCapacity10, ReadCapacity10Data, ReadCapacity16, ReadCapacity16Data,
};
use iscsi_scsi::inquiry::StandardInquiry;
use iscsi_scsi::primary::{Inquiry, TestUnitReady};
use iscsi_scsi::report_luns::{ReportLuns, ReportLunsData, SelectReport};
use iscsi_scsi::vpd::{PageCode, UnitSerialNumber, VpdPage};
use iscsi_scsi::{Cdb, Disposition, ParseError, Sense, SenseKey, Status, disposition};

use crate::connect::explain;
use crate::output::{Outcome, Stop};

/// What is asked for at first; most answers are shorter.
const FIRST_LENGTH: u16 = 255;

/// How often a command is sent that the device does not take for a passing reason.
const TRIES: u32 = 8;

/// A session and one of its logical units.
#[derive(Debug)]
pub(crate) struct Unit {
    pub(crate) client: Client,
    pub(crate) lun: Lun,
    /// Its URL, for messages.
    pub(crate) url: String,
    /// The serial number that the URL demands.
    serial: Option<String>,
}

/// Why a command failed.
#[derive(Debug)]
pub(crate) enum Trouble {
    Session(Error),
    /// The end was asked for, and the command took too long.
    Interrupted,
    Device {
        error: ScsiError,
        sense: Option<Sense>,
    },
    Answer(ParseError),
    /// Success, of fewer bytes than were sent.
    Taken {
        bytes: u64,
        of: u64,
    },
}

impl Trouble {
    fn device(error: ScsiError) -> Self {
        let sense = Sense::parse(&error.sense).ok();
        Self::Device { error, sense }
    }

    /// The device does not know the command or a field of it.
    pub(crate) fn is_illegal_request(&self) -> bool {
        matches!(self, Self::Device { sense: Some(sense), .. } if sense.key == SenseKey::ILLEGAL_REQUEST)
    }

    /// An earlier command that had ended well has failed after all.
    pub(crate) fn is_deferred(&self) -> bool {
        matches!(self, Self::Device { sense: Some(sense), .. } if sense.deferred)
    }

    /// The session is gone, or the program is to end: no other command will do better.
    pub(crate) const fn is_final(&self) -> bool {
        matches!(self, Self::Session(_) | Self::Interrupted)
    }

    /// There is no medium in the drive.
    fn is_no_medium(&self) -> bool {
        let Self::Device { error, sense } = self else { return false };
        disposition_of(error, sense.as_ref()) == Disposition::Fail(disposition::Failure::NoMedium)
    }

    /// As a reason to stop, with the name of the command in front.
    pub(crate) fn stop(self, command: &str) -> Stop {
        match self {
            Self::Session(error) => explain(&error).about(command),
            Self::Interrupted => Stop::failed(format!("{command}: interrupted")),
            Self::Answer(error) => Stop::failed(format!("{command}: the answer is wrong: {error}")),
            Self::Taken { bytes, of } => {
                Stop::failed(format!("{command}: the target took {bytes} of {of} bytes"))
            }
            Self::Device { error, sense: Some(sense) } if error.outcome.missing == 0 => {
                Stop::failed(format!("{command}: {sense}"))
            }
            Self::Device { error, .. } => Stop::failed(format!("{command}: {error}")),
        }
    }
}

impl From<ParseError> for Trouble {
    fn from(error: ParseError) -> Self {
        Self::Answer(error)
    }
}

/// What to do about a command that did not end well.
fn disposition_of(error: &ScsiError, sense: Option<&Sense>) -> Disposition {
    match error.status() {
        // Good, but an overflow or data that did not come.
        None | Some(ScsiStatus::Good) => Disposition::Fail(disposition::Failure::Other),
        Some(status) => Disposition::of(Status::from(status.to_byte()), sense),
    }
}

/// Judges the end of a command that may be sent twice.
///
/// # Errors
/// What it failed of, if it is not to be sent again.
pub(crate) fn judge(result: Result<Completed, Error>) -> Result<Verdict, Trouble> {
    let completed = result.map_err(Trouble::Session)?;
    let returned = completed.data_in();
    let Err(error) = completed.good() else { return Ok(Verdict::Done(returned)) };
    let sense = Sense::parse(&error.sense).ok();
    match disposition_of(&error, sense.as_ref()) {
        Disposition::Success if error.outcome.missing == 0 => Ok(Verdict::Done(returned)),
        Disposition::Retry(_) | Disposition::RetryIfIdempotent => Ok(Verdict::Again(error)),
        Disposition::RetryAfter(_) => Ok(Verdict::Later(error)),
        _ => Err(Trouble::device(error)),
    }
}

/// What [`judge`] found.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// Done; so many bytes came.
    Done(u32),
    /// To be sent again at once.
    Again(ScsiError),
    /// To be sent again after a while.
    Later(ScsiError),
}

impl Verdict {
    /// Why it is to be sent again, as far as the device told.
    pub(crate) fn sense(&self) -> Option<Sense> {
        match self {
            Self::Done(_) => None,
            Self::Again(error) | Self::Later(error) => Sense::parse(&error.sense).ok(),
        }
    }

    /// The wait before try number `tries` (from 1), or the failure if there were enough.
    pub(crate) fn retry(self, tries: u32) -> Result<Duration, Trouble> {
        match self {
            Self::Done(_) => Ok(Duration::ZERO),
            Self::Again(error) | Self::Later(error) if tries >= TRIES => {
                Err(Trouble::device(error))
            }
            Self::Again(_) => Ok(Duration::ZERO),
            Self::Later(_) => Ok(Duration::from_millis(20 << tries)),
        }
    }
}

impl Unit {
    pub(crate) const fn new(client: Client, lun: Lun, url: String) -> Self {
        Self { client, lun, url, serial: None }
    }

    /// Ends the session. Whoever has the answers does not care how the target takes it.
    pub(crate) fn close(self) {
        let _ = self.client.logout();
    }

    /// This unit if that is its serial number.
    pub(crate) fn with_serial(mut self, wanted: &str) -> Outcome<Self> {
        self.serial = Some(wanted.into());
        self.check_serial()?;
        Ok(self)
    }

    /// Makes sure that it has the serial number that the URL demands, if it demands one.
    pub(crate) fn check_serial(&mut self) -> Outcome<()> {
        let Some(wanted) = self.serial.clone() else { return Ok(()) };
        let page = self
            .inquiry(Some(PageCode::UNIT_SERIAL_NUMBER))
            .map_err(|trouble| trouble.stop("INQUIRY of the unit serial number"))?;
        let serial = UnitSerialNumber::parse(&page).map_err(|e| Stop::failed(e.to_string()))?;
        if serial.serial().trimmed().as_bytes() == wanted.trim().as_bytes() {
            return Ok(());
        }
        Err(Stop::with_remedy(
            format!("{}: the serial number is {}", self.url, serial.serial().trimmed()),
            format!("the URL demands force_usn={wanted}"),
        ))
    }

    /// Which login of its session this is: after another one it may be another device that answers.
    pub(crate) fn login(&self) -> u64 {
        self.client.session().counters().logins
    }

    /// Executes a command that returns at most `len` bytes and changes nothing: it is sent again if the connection is lost and replaced.
    pub(crate) fn read(&mut self, cdb: &Cdb, len: usize) -> Result<Vec<u8>, Trouble> {
        let mut data = vec![0; len];
        let length = u32::try_from(len).unwrap_or(u32::MAX);
        let transfer = if len == 0 { Transfer::None } else { Transfer::In(length) };
        let command = Command::new(self.lun, cdb.as_bytes(), transfer).on_loss(OnLoss::Reissue);
        let mut tries = 0;
        loop {
            let memory = if len == 0 { Data::None } else { Data::In(&mut data) };
            let returned = match judge(self.client.execute(&command, memory))? {
                Verdict::Done(returned) => returned,
                again => {
                    tries += 1;
                    thread::sleep(again.retry(tries)?);
                    continue;
                }
            };
            data.truncate(usize::try_from(returned).unwrap_or(usize::MAX));
            return Ok(data);
        }
    }

    /// Whether the unit is ready: `false` without a medium.
    pub(crate) fn has_medium(&mut self) -> Result<bool, Trouble> {
        match self.read(&TestUnitReady.cdb(), 0) {
            Ok(_) => Ok(true),
            Err(trouble) if trouble.is_no_medium() => Ok(false),
            Err(trouble) => Err(trouble),
        }
    }

    /// INQUIRY data, standard or a vital product data page, all of it.
    pub(crate) fn inquiry(&mut self, page: Option<PageCode>) -> Result<Vec<u8>, Trouble> {
        let mut length = FIRST_LENGTH;
        loop {
            let cdb = Inquiry { page, allocation_length: length }.cdb();
            let data = self.read(&cdb, length.into())?;
            let full = match page {
                None => StandardInquiry::full_size(&data),
                Some(_) => VpdPage::full_size(&data),
            };
            match full.and_then(|full| u16::try_from(full).ok()) {
                Some(full) if full > length => length = full,
                _ => return Ok(data),
            }
        }
    }

    /// READ CAPACITY(16).
    pub(crate) fn capacity_16(&mut self) -> Result<ReadCapacity16Data, Trouble> {
        let data = self.read(&ReadCapacity16::default().cdb(), ReadCapacity16Data::SIZE)?;
        Ok(ReadCapacity16Data::parse(&data)?)
    }

    /// READ CAPACITY(16), or (10) from a device that knows no other.
    pub(crate) fn capacity(&mut self) -> Result<ReadCapacity16Data, Trouble> {
        match self.capacity_16() {
            Err(trouble) if trouble.is_illegal_request() => {
                let data = self.read(&ReadCapacity10.cdb(), ReadCapacity10Data::SIZE)?;
                let short = ReadCapacity10Data::parse(&data)?;
                Ok(ReadCapacity16Data {
                    last_lba: short.last_lba.into(),
                    block_length: short.block_length,
                    ..ReadCapacity16Data::default()
                })
            }
            result => result,
        }
    }

    /// The logical units of the target.
    pub(crate) fn luns(&mut self) -> Result<Vec<iscsi_scsi::Lun>, Trouble> {
        // 16 bytes would do for a start with the oldest devices; the rest saves the second request.
        let mut length = 4096;
        loop {
            let command = ReportLuns { select: SelectReport::ADDRESSED, allocation_length: length };
            let data = self.read(&command.cdb(), length as usize)?;
            let report = ReportLunsData::parse(&data)?;
            match ReportLunsData::full_size(&data).and_then(|full| u32::try_from(full).ok()) {
                // 16 MiB are two million units.
                Some(full) if full > length && full <= 1 << 24 => length = full,
                _ => return Ok(report.luns().collect()),
            }
        }
    }
}
