//! Logical units: the device server behind each LUN.
//!
//! A command passes in three steps. `start` judges the CDB and says what its data are for; the connection then moves the data;
//! `reply` makes data that are not on the disk, and `finish` carries out what needed its data first.

mod block;
mod inquiry;
mod mode;
mod persistent;
mod report;

use heapless::String;
use iscsi_core::wire::ScsiStatus;
use iscsi_scsi::sense::{AdditionalSense, SenseKey, SenseKeySpecific};
use iscsi_scsi::{Command, CommandError, Sense};

use crate::conn::{Ending, STAGING};
use crate::disk::{Disk, DiskError};
use crate::nexus::{Attention, NexusId, NexusSlot, SessionIdentity};

use mode::Mode;
use persistent::Persistent;

pub(crate) use inquiry::absent_inquiry;
pub(crate) use report::{absent_sense, report_luns};

/// The longest serial number in bytes.
pub const MAX_SERIAL_LEN: usize = 32;

/// What a command does once it was judged.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Start {
    /// Data-In from the disk: offset and length in bytes.
    Read { at: u64, length: u64 },
    /// Data-Out to the disk; `fua`: flush before the status.
    Write { at: u64, length: u64, fua: bool },
    /// Data-Out to be compared with the disk.
    Compare { at: u64, length: u64 },
    /// Data-Out to be collected for `finish`.
    Staged { length: u32 },
    /// Data-In from `reply`.
    Reply,
    /// Nothing but the status.
    Done(ScsiStatus),
}

impl From<Sense> for Ending {
    fn from(sense: Sense) -> Self {
        Self { status: ScsiStatus::CheckCondition, sense: Some(sense) }
    }
}

impl From<CommandError> for Ending {
    fn from(error: CommandError) -> Self {
        error.sense().into()
    }
}

impl From<DiskError> for Ending {
    fn from(error: DiskError) -> Self {
        let (key, additional) = match error {
            DiskError::Read => (SenseKey::MEDIUM_ERROR, AdditionalSense::UNRECOVERED_READ_ERROR),
            DiskError::Write => (SenseKey::MEDIUM_ERROR, AdditionalSense::WRITE_ERROR),
            DiskError::NoSpace => {
                (SenseKey::DATA_PROTECT, AdditionalSense::SPACE_ALLOCATION_FAILED)
            }
            DiskError::Failed => {
                (SenseKey::HARDWARE_ERROR, AdditionalSense::INTERNAL_TARGET_FAILURE)
            }
        };
        Sense::new(key, additional).into()
    }
}

/// RESERVATION CONFLICT.
pub(crate) const CONFLICT: Ending = Ending { status: ScsiStatus::ReservationConflict, sense: None };

/// ILLEGAL REQUEST with this additional sense.
pub(crate) fn illegal(additional: AdditionalSense) -> Ending {
    Sense::new(SenseKey::ILLEGAL_REQUEST, additional).into()
}

/// INVALID FIELD IN CDB, with a pointer to the field.
pub(crate) fn bad_field(byte: u16, bit: u8) -> Ending {
    CommandError::Field { byte, bit }.into()
}

/// INVALID FIELD IN PARAMETER LIST, with a pointer to the field.
pub(crate) fn bad_parameter(byte: u16) -> Ending {
    let pointer = SenseKeySpecific::FieldPointer { in_cdb: false, bit: None, byte };
    Sense::new(SenseKey::ILLEGAL_REQUEST, AdditionalSense::INVALID_FIELD_IN_PARAMETER_LIST)
        .with_sense_key_specific(pointer)
        .into()
}

/// Everything around a logical unit that a command may need.
pub(crate) struct Context<'c> {
    /// The session that sent the command.
    pub(crate) nexus: NexusId,
    /// The unit's place in the target, for the attentions.
    pub(crate) unit: usize,
    pub(crate) nexuses: &'c mut [NexusSlot],
    pub(crate) target_name: &'c str,
    pub(crate) target_portal_group_tag: u16,
}

impl Context<'_> {
    fn session(&self) -> Option<&SessionIdentity> {
        self.nexuses.get(usize::from(self.nexus.index))?.session.as_ref()
    }

    /// Raises an attention for all sessions but the one that sent the command.
    fn raise_for_others(&mut self, attention: Attention) {
        for (index, nexus) in self.nexuses.iter_mut().enumerate() {
            if index != usize::from(self.nexus.index)
                && let Some(attentions) = nexus.attentions.get_mut(self.unit)
            {
                attentions.raise(attention);
            }
        }
    }

    /// Raises an attention for the sessions of which `affected` is true.
    fn raise_for(&mut self, attention: Attention, affected: impl Fn(&SessionIdentity) -> bool) {
        for nexus in self.nexuses.iter_mut() {
            if nexus.session.as_ref().is_some_and(&affected)
                && let Some(attentions) = nexus.attentions.get_mut(self.unit)
            {
                attentions.raise(attention);
            }
        }
    }
}

/// A disk with a number and an identity.
///
/// ```
/// use iscsi_target::{LogicalUnit, NullDisk};
/// let mut disk = NullDisk::new(1 << 30);
/// let unit = LogicalUnit::new(3, &mut disk, "serial-3").with_names("ACME", "DISK", "1");
/// assert_eq!((unit.number(), unit.serial()), (3, "serial-3"));
/// ```
pub struct LogicalUnit<'a> {
    number: u32,
    disk: &'a mut (dyn Disk + 'a),
    block_size: u32,
    blocks: u64,
    vendor: [u8; 8],
    product: [u8; 16],
    revision: [u8; 4],
    serial: String<MAX_SERIAL_LEN>,
    /// Counts the events that aborted every task of the unit.
    pub(crate) epoch: u32,
    mode: Mode,
    /// The holder of the reservation of SPC-2.
    reserved_by: Option<NexusId>,
    persistent: Persistent,
    stopped: bool,
}

impl<'a> LogicalUnit<'a> {
    /// The unit with LUN `number` (0 to 16383) on `disk`. `serial` has at most [`MAX_SERIAL_LEN`] bytes and is cut
    /// behind that; it should
    /// differ from those of all other units, because initiators recognize a disk by it.
    pub fn new(number: u32, disk: &'a mut (dyn Disk + 'a), serial: &str) -> Self {
        let mut short = String::new();
        for c in serial.chars() {
            if short.push(c).is_err() {
                break;
            }
        }
        let (block_size, blocks) = (disk.block_size().max(1), disk.blocks());
        let unit = Self {
            number: number & 0x3fff,
            disk,
            block_size,
            blocks,
            vendor: [b' '; 8],
            product: [b' '; 16],
            revision: [b' '; 4],
            serial: short,
            epoch: 0,
            mode: Mode::DEFAULT,
            reserved_by: None,
            persistent: Persistent::NONE,
            stopped: false,
        };
        unit.with_names("ISCSI-RS", "VIRTUAL DISK", "1")
    }

    /// Sets what INQUIRY tells: vendor (8 bytes), product (16) and revision (4), each cut or filled with spaces.
    #[must_use]
    pub fn with_names(mut self, vendor: &str, product: &str, revision: &str) -> Self {
        fill(&mut self.vendor, vendor);
        fill(&mut self.product, product);
        fill(&mut self.revision, revision);
        self
    }

    /// The number of the LUN.
    pub const fn number(&self) -> u32 {
        self.number
    }

    /// The serial number.
    pub fn serial(&self) -> &str {
        &self.serial
    }

    /// The disk.
    pub fn disk(&self) -> &(dyn Disk + 'a) {
        self.disk
    }

    /// The disk, to be changed from outside. After a change of its size call
    /// [`Target::capacity_changed`](crate::Target::capacity_changed).
    pub fn disk_mut(&mut self) -> &mut (dyn Disk + 'a) {
        self.disk
    }

    /// What the disk lends of `len` bytes from `at`, run by run; less if it does not lend all of it.
    pub(crate) fn lent(&self, mut at: u64, len: usize) -> impl Iterator<Item = &[u8]> {
        let mut left = len;
        core::iter::from_fn(move || {
            let run = self.disk.lend(at, left).filter(|run| left > 0 && !run.is_empty())?;
            let run = run.get(..left).unwrap_or(run);
            at += run.len() as u64;
            left -= run.len();
            Some(run)
        })
    }

    /// Looks at the size again. Whether it has changed.
    pub(crate) fn measure(&mut self) -> bool {
        let (block_size, blocks) = (self.disk.block_size().max(1), self.disk.blocks());
        let changed = (block_size, blocks) != (self.block_size, self.blocks);
        (self.block_size, self.blocks) = (block_size, blocks);
        changed
    }

    /// What LOGICAL UNIT RESET does besides ending the tasks.
    pub(crate) fn reset(&mut self) {
        self.epoch = self.epoch.wrapping_add(1);
        self.reserved_by = None;
        self.mode = Mode::DEFAULT;
        self.stopped = false;
    }

    /// A session has ended: what was its own is given back.
    pub(crate) fn nexus_lost(&mut self, nexus: NexusId) {
        if self.reserved_by == Some(nexus) {
            self.reserved_by = None;
        }
    }

    /// Sense data are sent in descriptor format.
    pub(crate) const fn descriptor_sense(&self) -> bool {
        self.mode.descriptor_sense
    }

    /// Judges a command.
    pub(crate) fn start(
        &mut self,
        command: &Command,
        context: &Context<'_>,
    ) -> Result<Start, Ending> {
        if self.reserved_by.is_some() || !self.persistent.is_empty() {
            self.check_reservations(command, context)?;
        }
        if let Some(range) = command.block_range() {
            return self.start_block(command, &range);
        }
        match command {
            Command::TestUnitReady(_) => {
                self.check_started().map(|()| Start::Done(ScsiStatus::Good))
            }
            Command::Inquiry(_)
            | Command::RequestSense(_)
            | Command::ModeSense6(_)
            | Command::ModeSense10(_)
            | Command::ReportSupportedOpcodes(_)
            | Command::ReportSupportedTmfs(_)
            | Command::ReportTargetPortGroups(_) => Ok(Start::Reply),
            Command::PersistentReserveIn(command) => match command.action.code() {
                0..=3 => Ok(Start::Reply),
                _ => Err(bad_field(1, 4)),
            },
            Command::ReadCapacity10(_) | Command::ReadCapacity16(_) | Command::GetLbaStatus(_) => {
                self.check_started().map(|()| Start::Reply)
            }
            Command::StartStopUnit(command) => {
                // Power conditions other than start and stop change nothing that could be seen.
                if command.power_condition == Default::default() && !command.load_eject {
                    self.stopped = !command.start;
                }
                Ok(Start::Done(ScsiStatus::Good))
            }
            Command::PreventAllowMediumRemoval(_) => Ok(Start::Done(ScsiStatus::Good)),
            Command::Reserve6(_) | Command::Reserve10(_) => {
                self.reserved_by = Some(context.nexus);
                Ok(Start::Done(ScsiStatus::Good))
            }
            Command::Release6(_) | Command::Release10(_) => {
                if self.reserved_by == Some(context.nexus) {
                    self.reserved_by = None;
                }
                Ok(Start::Done(ScsiStatus::Good))
            }
            Command::Unmap(command) => {
                if !self.disk.is_thin() {
                    return Err(illegal(AdditionalSense::INVALID_OPERATION_CODE));
                }
                self.check_writable()?;
                if command.anchor {
                    return Err(bad_field(1, 0));
                }
                self.staged(command.parameter_list_length.into())
            }
            Command::ModeSelect6(command) => self.staged(command.parameter_list_length.into()),
            Command::ModeSelect10(command) => self.staged(command.parameter_list_length.into()),
            Command::PersistentReserveOut(command) => self.staged(command.parameter_list_length),
            _ => Err(illegal(AdditionalSense::INVALID_OPERATION_CODE)),
        }
    }

    /// Makes Data-In that is not on the disk. Returns how many bytes of `out` the command transfers.
    pub(crate) fn reply(
        &mut self,
        command: &Command,
        context: &mut Context<'_>,
        out: &mut [u8],
    ) -> Result<usize, Ending> {
        let (size, allocated) = match command {
            Command::Inquiry(command) => {
                (self.inquiry(command, context, out)?, command.allocation_length.into())
            }
            Command::RequestSense(command) => {
                (self.request_sense(command, context, out), command.allocation_length.into())
            }
            Command::ReadCapacity10(_) => (self.read_capacity10(out), u32::MAX),
            Command::ReadCapacity16(command) => {
                (self.read_capacity16(out), command.allocation_length)
            }
            Command::GetLbaStatus(command) => {
                (self.lba_status(command, out)?, command.allocation_length)
            }
            Command::ModeSense6(command) => {
                (self.mode_sense6(command, out)?, command.allocation_length.into())
            }
            Command::ModeSense10(command) => {
                (self.mode_sense10(command, out)?, command.allocation_length.into())
            }
            Command::ReportSupportedOpcodes(command) => {
                (self.supported_opcodes(command, out)?, command.allocation_length)
            }
            Command::ReportSupportedTmfs(command) => {
                (report::supported_tmfs(command, out), command.allocation_length)
            }
            Command::ReportTargetPortGroups(command) => {
                (report::target_port_groups(command, context, out)?, command.allocation_length)
            }
            Command::PersistentReserveIn(command) => {
                (self.persistent.report(command, out), command.allocation_length.into())
            }
            _ => return Err(illegal(AdditionalSense::INVALID_OPERATION_CODE)),
        };
        Ok(size.min(out.len()).min(allocated as usize))
    }

    /// Carries out a command whose Data-Out is complete.
    pub(crate) fn finish(
        &mut self,
        command: &Command,
        data: &[u8],
        context: &mut Context<'_>,
    ) -> Result<(), Ending> {
        match command {
            Command::ModeSelect6(command) => self.mode_select6(command, data, context),
            Command::ModeSelect10(command) => self.mode_select10(command, data, context),
            Command::PersistentReserveOut(command) => {
                self.persistent_reserve_out(command, data, context)
            }
            Command::Unmap(_) => self.unmap(data),
            _ => match command.block_range() {
                Some(range) => self.finish_block(command, &range, data),
                None => Err(illegal(AdditionalSense::INVALID_OPERATION_CODE)),
            },
        }
    }

    /// Data-Out that has to be complete before anything happens.
    fn staged(&self, length: u32) -> Result<Start, Ending> {
        if length as usize > STAGING {
            return Err(illegal(AdditionalSense::PARAMETER_LIST_LENGTH_ERROR));
        }
        Ok(if length == 0 { Start::Done(ScsiStatus::Good) } else { Start::Staged { length } })
    }

    fn check_started(&self) -> Result<(), Ending> {
        if self.stopped {
            let additional = AdditionalSense::INITIALIZING_COMMAND_REQUIRED;
            return Err(Sense::new(SenseKey::NOT_READY, additional).into());
        }
        Ok(())
    }

    fn check_writable(&self) -> Result<(), Ending> {
        self.check_started()?;
        let additional = if self.disk.is_read_only() {
            AdditionalSense::WRITE_PROTECTED
        } else if self.mode.software_write_protect {
            AdditionalSense::SOFTWARE_WRITE_PROTECTED
        } else {
            return Ok(());
        };
        Err(Sense::new(SenseKey::DATA_PROTECT, additional).into())
    }
}

impl core::fmt::Debug for LogicalUnit<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("LogicalUnit")
            .field("number", &self.number)
            .field("blocks", &self.blocks)
            .field("block_size", &self.block_size)
            .field("serial", &self.serial.as_str())
            .finish_non_exhaustive()
    }
}

/// Fills a field with text and spaces.
fn fill(field: &mut [u8], text: &str) {
    let text = text.bytes().map(|byte| if matches!(byte, 0x20..=0x7e) { byte } else { b' ' });
    for (place, byte) in field.iter_mut().zip(text.chain(core::iter::repeat(b' '))) {
        *place = byte;
    }
}
