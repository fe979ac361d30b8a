//! REPORT SUPPORTED OPERATION CODES and TASK MANAGEMENT FUNCTIONS (SPC), and command names.

use crate::bytes::{Fields, Out, bit, clip16, clip32, cut, index, need, u16_at, u32_at};
use crate::cdb::{Cdb, CdbWriter};
use crate::codes::codes;
use crate::error::{CommandError, ParseError};

/// MAINTENANCE IN, of which the reports here are service actions.
pub const MAINTENANCE_IN: u8 = 0xa3;

/// Which operation codes are reported.
///
/// ```
/// use iscsi_scsi::opcodes::ReportingOptions;
/// assert_eq!(ReportingOptions::default(), ReportingOptions::All);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ReportingOptions {
    /// All commands.
    #[default]
    All,
    /// One operation code that has no service actions.
    Opcode(u8),
    /// One operation code with one service action.
    ServiceAction(u8, u16),
    /// One operation code, with the service action if it has any.
    Either(u8, u16),
}

/// REPORT SUPPORTED OPERATION CODES.
///
/// ```
/// use iscsi_scsi::opcodes::{ReportSupportedOpcodes, ReportingOptions};
/// let options = ReportingOptions::ServiceAction(0x9e, 0x10);
/// let cdb = ReportSupportedOpcodes { options, timeouts: true, allocation_length: 64 }.cdb();
/// assert_eq!(cdb.as_bytes(), [0xa3, 0x0c, 0x82, 0x9e, 0, 0x10, 0, 0, 0, 64, 0, 0]);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReportSupportedOpcodes {
    /// All commands or one.
    pub options: ReportingOptions,
    /// RCTD: return command timeouts descriptors.
    pub timeouts: bool,
    /// Bytes the caller has room for.
    pub allocation_length: u32,
}

impl ReportSupportedOpcodes {
    /// Operation code.
    pub const OPCODE: u8 = MAINTENANCE_IN;
    /// Service action.
    pub const SERVICE_ACTION: u8 = 0x0c;

    /// The CDB.
    pub fn cdb(&self) -> Cdb {
        let (option, opcode, action) = match self.options {
            ReportingOptions::All => (0, 0, 0),
            ReportingOptions::Opcode(opcode) => (1, opcode, 0),
            ReportingOptions::ServiceAction(opcode, action) => (2, opcode, action),
            ReportingOptions::Either(opcode, action) => (3, opcode, action),
        };
        CdbWriter::new(Self::OPCODE)
            .u8(Self::SERVICE_ACTION)
            .u8(bit(self.timeouts, 0x80) | option)
            .u8(opcode)
            .u16(action)
            .u32(self.allocation_length)
            .zeros::<2>()
            .bytes_in(self.allocation_length)
    }

    pub(crate) fn parse(f: Fields<'_>) -> Result<Self, CommandError> {
        let (opcode, action) = (f.u8(3), f.u16(4));
        let options = match f.u8(2) & 0x07 {
            0 => ReportingOptions::All,
            1 => ReportingOptions::Opcode(opcode),
            2 => ReportingOptions::ServiceAction(opcode, action),
            3 => ReportingOptions::Either(opcode, action),
            _ => return Err(CommandError::Field { byte: 2, bit: 2 }),
        };
        Ok(Self { options, timeouts: f.flag(2, 0x80), allocation_length: f.u32(6) })
    }
}

/// Command timeouts in seconds; 0 is not told.
///
/// ```
/// use iscsi_scsi::opcodes::CommandTimeouts;
/// let timeouts = CommandTimeouts { nominal: 5, recommended: 30, ..Default::default() };
/// assert_eq!(timeouts.recommended, 30);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CommandTimeouts {
    /// Command specific byte.
    pub specific: u8,
    /// NOMINAL COMMAND PROCESSING TIMEOUT.
    pub nominal: u32,
    /// RECOMMENDED COMMAND TIMEOUT.
    pub recommended: u32,
}

impl CommandTimeouts {
    /// Bytes of the descriptor.
    const SIZE: usize = 12;

    fn parse(data: &[u8]) -> Option<Self> {
        let f = Fields(data.get(..Self::SIZE)?);
        Some(Self { specific: f.u8(3), nominal: f.u32(4), recommended: f.u32(8) })
    }

    fn emit(self, out: &mut Out<'_>) {
        out.u16(0x0a).zeros(1).u8(self.specific).u32(self.nominal).u32(self.recommended);
    }
}

/// One command in the report of all.
///
/// ```
/// use iscsi_scsi::opcodes::SupportedOpcode;
/// let capacity = SupportedOpcode {
///     opcode: 0x9e, service_action: Some(0x10), cdb_length: 16, timeouts: None,
/// };
/// assert_eq!(capacity.cdb_length, 16);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SupportedOpcode {
    /// Operation code.
    pub opcode: u8,
    /// Service action, if SERVACTV.
    pub service_action: Option<u16>,
    /// Bytes of the CDB.
    pub cdb_length: u16,
    /// Timeouts, if CTDP.
    pub timeouts: Option<CommandTimeouts>,
}

/// Data of REPORT SUPPORTED OPERATION CODES for all commands.
///
/// ```
/// use iscsi_scsi::opcodes::{SupportedOpcode, SupportedOpcodes};
/// let supported = |opcode, service_action, cdb_length| {
///     SupportedOpcode { opcode, service_action, cdb_length, timeouts: None }
/// };
/// let commands = [supported(0x28, None, 10), supported(0x9e, Some(0x10), 16)];
/// let mut data = [0; 20];
/// assert_eq!(SupportedOpcodes::emit(commands, &mut data), 20);
/// assert_eq!(data[..12], [0, 0, 0, 16, 0x28, 0, 0, 0, 0, 0, 0, 10]);
/// assert_eq!(data[12..], [0x9e, 0, 0, 0x10, 0, 0x01, 0, 16]);
/// assert!(SupportedOpcodes::parse(&data)?.commands().eq(commands));
/// # Ok::<(), iscsi_scsi::ParseError>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct SupportedOpcodes<'a> {
    list: &'a [u8],
}

impl<'a> SupportedOpcodes<'a> {
    /// Bytes of the whole data, which may be more than were returned. `None` below 4 bytes.
    pub fn full_size(data: &[u8]) -> Option<usize> {
        u32_at(data, 0).map(|length| index(length).saturating_add(4))
    }

    /// Parses the data, as far as it was returned.
    ///
    /// # Errors
    /// [`ParseError::Short`] below 4 bytes.
    pub fn parse(data: &'a [u8]) -> Result<Self, ParseError> {
        need(data, 4)?;
        let f = Fields(data);
        Ok(Self { list: f.slice(4, index(f.u32(0))) })
    }

    /// The commands in order. One that was not returned in full ends the iteration.
    pub fn commands(&self) -> impl Iterator<Item = SupportedOpcode> + Clone + use<'a> {
        let mut rest = self.list;
        core::iter::from_fn(move || {
            let (descriptor, mut after) = rest.split_first_chunk::<8>()?;
            let f = Fields(descriptor);
            let mut timeouts = None;
            if f.flag(5, 0x02) {
                timeouts = Some(CommandTimeouts::parse(after)?);
                after = after.get(CommandTimeouts::SIZE..)?;
            }
            rest = after;
            Some(SupportedOpcode {
                opcode: f.u8(0),
                service_action: f.flag(5, 0x01).then(|| f.u16(2)),
                cdb_length: f.u16(6),
                timeouts,
            })
        })
    }

    /// Writes the data, truncated to the buffer, and returns the full size.
    pub fn emit(commands: impl IntoIterator<Item = SupportedOpcode>, out: &mut [u8]) -> usize {
        let mut out = Out::new(out);
        out.zeros(4);
        for command in commands {
            let flags =
                bit(command.timeouts.is_some(), 0x02) | bit(command.service_action.is_some(), 0x01);
            out.u8(command.opcode)
                .zeros(1)
                .u16(command.service_action.unwrap_or(0))
                .zeros(1)
                .u8(flags)
                .u16(command.cdb_length);
            if let Some(timeouts) = command.timeouts {
                timeouts.emit(&mut out);
            }
        }
        let length = clip32(out.len() - 4);
        out.patch(0, &length.to_be_bytes());
        out.len()
    }
}

codes! {
    /// SUPPORT: whether the one command asked for is supported.
    ///
    /// ```
    /// use iscsi_scsi::opcodes::Support;
    /// assert!(Support::STANDARD.is_supported());
    /// assert!(!Support::NOT_SUPPORTED.is_supported());
    /// ```
    pub struct Support: 3 bits {
        /// The device cannot tell now.
        NO_DATA = 0 => "not available",
        NOT_SUPPORTED = 1 => "not supported",
        STANDARD = 3 => "supported as in the standard",
        VENDOR = 5 => "supported in a vendor specific way",
    }
}

impl Support {
    /// True for standard and vendor specific support.
    pub const fn is_supported(self) -> bool {
        matches!(self, Self::STANDARD | Self::VENDOR)
    }
}

/// Data of REPORT SUPPORTED OPERATION CODES for one command.
///
/// ```
/// use iscsi_scsi::opcodes::{OneOpcode, Support};
/// let read = OneOpcode {
///     support: Support::STANDARD,
///     usage: &[0x28, 0xf8, 0xff, 0xff, 0xff, 0xff, 0, 0xff, 0xff, 0],
///     timeouts: None,
/// };
/// let mut data = [0; 14];
/// assert_eq!(read.emit(&mut data), 14);
/// assert_eq!(data[..6], [0, 0x03, 0, 10, 0x28, 0xf8]);
/// assert_eq!(OneOpcode::parse(&data), Ok(read));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OneOpcode<'a> {
    /// Whether it is supported.
    pub support: Support,
    /// CDB usage data: the operation code, then a bit set for each bit that is looked at. Shorter
    /// than the CDB if it was cut off; empty if not supported.
    pub usage: &'a [u8],
    /// Timeouts, if CTDP and returned in full.
    pub timeouts: Option<CommandTimeouts>,
}

impl<'a> OneOpcode<'a> {
    /// Bytes of the whole data, which may be more than were returned. `None` below 4 bytes.
    pub fn full_size(data: &[u8]) -> Option<usize> {
        let timeouts = if Fields(data).flag(1, 0x80) { CommandTimeouts::SIZE } else { 0 };
        u16_at(data, 2).map(|length| usize::from(length).saturating_add(4 + timeouts))
    }

    /// Parses the data, as far as it was returned.
    ///
    /// # Errors
    /// [`ParseError::Short`] below 2 bytes.
    pub fn parse(data: &'a [u8]) -> Result<Self, ParseError> {
        need(data, 2)?;
        let f = Fields(data);
        let length = usize::from(f.u16(2));
        let after = f.slice(length.saturating_add(4), CommandTimeouts::SIZE);
        Ok(Self {
            support: Support::from_bits(f.u8(1)),
            usage: f.slice(4, length),
            timeouts: if f.flag(1, 0x80) { CommandTimeouts::parse(after) } else { None },
        })
    }

    /// Writes the data, truncated to the buffer, and returns the full size.
    pub fn emit(&self, out: &mut [u8]) -> usize {
        let usage = cut(self.usage, 0xffff);
        let mut out = Out::new(out);
        out.zeros(1)
            .u8(bit(self.timeouts.is_some(), 0x80) | self.support.code())
            .u16(clip16(usage.len()))
            .bytes(usage);
        if let Some(timeouts) = self.timeouts {
            timeouts.emit(&mut out);
        }
        out.len()
    }
}

/// REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS.
///
/// ```
/// use iscsi_scsi::opcodes::ReportSupportedTmfs;
/// let cdb = ReportSupportedTmfs { extended: true, allocation_length: 16 }.cdb();
/// assert_eq!(cdb.as_bytes(), [0xa3, 0x0d, 0x80, 0, 0, 0, 0, 0, 0, 16, 0, 0]);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReportSupportedTmfs {
    /// REPD: return timeouts too.
    pub extended: bool,
    /// Bytes the caller has room for, at least 4.
    pub allocation_length: u32,
}

impl ReportSupportedTmfs {
    /// Operation code.
    pub const OPCODE: u8 = MAINTENANCE_IN;
    /// Service action.
    pub const SERVICE_ACTION: u8 = 0x0d;

    /// The CDB.
    pub fn cdb(&self) -> Cdb {
        CdbWriter::new(Self::OPCODE)
            .u8(Self::SERVICE_ACTION)
            .u8(bit(self.extended, 0x80))
            .zeros::<3>()
            .u32(self.allocation_length)
            .zeros::<2>()
            .bytes_in(self.allocation_length)
    }

    pub(crate) fn parse(f: Fields<'_>) -> Result<Self, CommandError> {
        Ok(Self { extended: f.flag(2, 0x80), allocation_length: f.u32(6) })
    }
}

/// Data of REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS.
///
/// ```
/// use iscsi_scsi::opcodes::SupportedTmfs;
/// let tmfs = SupportedTmfs { abort_task: true, logical_unit_reset: true, ..Default::default() };
/// let mut data = [0; 4];
/// assert_eq!(tmfs.emit(&mut data), 4);
/// assert_eq!(data, [0x88, 0, 0, 0]);
/// assert_eq!(SupportedTmfs::parse(&data), Ok(tmfs));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SupportedTmfs {
    /// ATS.
    pub abort_task: bool,
    /// ATSS.
    pub abort_task_set: bool,
    /// CACAS.
    pub clear_aca: bool,
    /// CTSS.
    pub clear_task_set: bool,
    /// LURS.
    pub logical_unit_reset: bool,
    /// QTS.
    pub query_task: bool,
    /// TRS, obsolete.
    pub target_reset: bool,
    /// WAKES, obsolete.
    pub wakeup: bool,
    /// QAES.
    pub query_async_event: bool,
    /// QTSS.
    pub query_task_set: bool,
    /// ITNRS.
    pub nexus_reset: bool,
}

impl SupportedTmfs {
    /// Parses the data.
    ///
    /// # Errors
    /// [`ParseError::Short`] below 2 bytes.
    pub fn parse(data: &[u8]) -> Result<Self, ParseError> {
        need(data, 2)?;
        let f = Fields(data);
        Ok(Self {
            abort_task: f.flag(0, 0x80),
            abort_task_set: f.flag(0, 0x40),
            clear_aca: f.flag(0, 0x20),
            clear_task_set: f.flag(0, 0x10),
            logical_unit_reset: f.flag(0, 0x08),
            query_task: f.flag(0, 0x04),
            target_reset: f.flag(0, 0x02),
            wakeup: f.flag(0, 0x01),
            query_async_event: f.flag(1, 0x04),
            query_task_set: f.flag(1, 0x02),
            nexus_reset: f.flag(1, 0x01),
        })
    }

    /// Writes the basic data of 4 bytes, truncated to the buffer, and returns 4.
    pub fn emit(&self, out: &mut [u8]) -> usize {
        Out::new(out)
            .u8(bit(self.abort_task, 0x80)
                | bit(self.abort_task_set, 0x40)
                | bit(self.clear_aca, 0x20)
                | bit(self.clear_task_set, 0x10)
                | bit(self.logical_unit_reset, 0x08)
                | bit(self.query_task, 0x04)
                | bit(self.target_reset, 0x02)
                | bit(self.wakeup, 0x01))
            .u8(bit(self.query_async_event, 0x04)
                | bit(self.query_task_set, 0x02)
                | bit(self.nexus_reset, 0x01))
            .zeros(2)
            .len()
    }
}

/// Name of an operation code, `"unknown"` for one without a name. Codes that only gather service
/// actions have the name of the group.
///
/// ```
/// use iscsi_scsi::opcodes::opcode_name;
/// assert_eq!(opcode_name(0x88), "READ(16)");
/// assert_eq!(opcode_name(0xc0), "unknown");
/// ```
pub const fn opcode_name(opcode: u8) -> &'static str {
    match opcode {
        0x00 => "TEST UNIT READY",
        0x03 => "REQUEST SENSE",
        0x04 => "FORMAT UNIT",
        0x08 => "READ(6)",
        0x0a => "WRITE(6)",
        0x12 => "INQUIRY",
        0x15 => "MODE SELECT(6)",
        0x16 => "RESERVE(6)",
        0x17 => "RELEASE(6)",
        0x1a => "MODE SENSE(6)",
        0x1b => "START STOP UNIT",
        0x1c => "RECEIVE DIAGNOSTIC RESULTS",
        0x1d => "SEND DIAGNOSTIC",
        0x1e => "PREVENT ALLOW MEDIUM REMOVAL",
        0x25 => "READ CAPACITY(10)",
        0x28 => "READ(10)",
        0x2a => "WRITE(10)",
        0x2e => "WRITE AND VERIFY(10)",
        0x2f => "VERIFY(10)",
        0x34 => "PRE-FETCH(10)",
        0x35 => "SYNCHRONIZE CACHE(10)",
        0x37 => "READ DEFECT DATA(10)",
        0x3b => "WRITE BUFFER",
        0x3c => "READ BUFFER",
        0x41 => "WRITE SAME(10)",
        0x42 => "UNMAP",
        0x43 => "READ TOC/PMA/ATIP",
        0x48 => "SANITIZE",
        0x4c => "LOG SELECT",
        0x4d => "LOG SENSE",
        0x55 => "MODE SELECT(10)",
        0x56 => "RESERVE(10)",
        0x57 => "RELEASE(10)",
        0x5a => "MODE SENSE(10)",
        0x5e => "PERSISTENT RESERVE IN",
        0x5f => "PERSISTENT RESERVE OUT",
        0x7f => "VARIABLE LENGTH CDB",
        0x83 => "THIRD-PARTY COPY OUT",
        0x84 => "THIRD-PARTY COPY IN",
        0x85 => "ATA PASS-THROUGH(16)",
        0x88 => "READ(16)",
        0x89 => "COMPARE AND WRITE",
        0x8a => "WRITE(16)",
        0x8b => "ORWRITE(16)",
        0x8e => "WRITE AND VERIFY(16)",
        0x8f => "VERIFY(16)",
        0x90 => "PRE-FETCH(16)",
        0x91 => "SYNCHRONIZE CACHE(16)",
        0x93 => "WRITE SAME(16)",
        0x9c => "WRITE ATOMIC(16)",
        0x9d => "SERVICE ACTION BIDIRECTIONAL",
        0x9e => "SERVICE ACTION IN(16)",
        0x9f => "SERVICE ACTION OUT(16)",
        0xa0 => "REPORT LUNS",
        0xa1 => "ATA PASS-THROUGH(12)",
        0xa2 => "SECURITY PROTOCOL IN",
        0xa3 => "MAINTENANCE IN",
        0xa4 => "MAINTENANCE OUT",
        0xa8 => "READ(12)",
        0xaa => "WRITE(12)",
        0xae => "WRITE AND VERIFY(12)",
        0xaf => "VERIFY(12)",
        0xb5 => "SECURITY PROTOCOL OUT",
        0xb7 => "READ DEFECT DATA(12)",
        _ => "unknown",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_stand_between_descriptors() {
        let timeouts = Some(CommandTimeouts { specific: 1, nominal: 2, recommended: 3 });
        let commands = [
            SupportedOpcode { opcode: 0, service_action: None, cdb_length: 6, timeouts },
            SupportedOpcode { opcode: 0x5e, service_action: Some(3), cdb_length: 10, timeouts },
        ];
        let mut data = [0xee; 44];
        assert_eq!(SupportedOpcodes::emit(commands, &mut data), 44);
        assert_eq!(data[9], 0x02);
        assert_eq!(data[12..24], [0, 10, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3]);
        assert_eq!(SupportedOpcodes::full_size(&data), Some(44));
        assert!(SupportedOpcodes::parse(&data).unwrap().commands().eq(commands));
        // The second descriptor without its timeouts is not a descriptor.
        assert_eq!(SupportedOpcodes::parse(&data[..43]).unwrap().commands().count(), 1);
    }

    #[test]
    fn one_opcode_cut_off() {
        let timeouts = Some(CommandTimeouts::default());
        let one = OneOpcode { support: Support::STANDARD, usage: &[0x12, 1, 0xff], timeouts };
        let mut data = [0; 19];
        assert_eq!(one.emit(&mut data), 19);
        assert_eq!(OneOpcode::full_size(&data), Some(19));
        assert_eq!(OneOpcode::parse(&data), Ok(one));
        let short = OneOpcode::parse(&data[..6]).unwrap();
        assert_eq!((short.usage, short.timeouts), (&[0x12, 1][..], None));
    }

    #[test]
    fn reserved_reporting_option() {
        let cdb = [0xa3, 0x0c, 0x04, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(
            ReportSupportedOpcodes::parse(Fields(&cdb)),
            Err(CommandError::Field { byte: 2, bit: 2 })
        );
    }
}
