//! SEND DIAGNOSTIC, RECEIVE DIAGNOSTIC RESULTS, READ and WRITE BUFFER, and REPORT IDENTIFYING
//! INFORMATION (SPC).

use crate::bytes::{Fields, bit, need, u16_at};
use crate::cdb::{Cdb, CdbWriter};
use crate::codes::codes;
use crate::error::{CdbError, ParseError};
use crate::fields::Bits;
use crate::format::check24;

codes! {
    /// SELF-TEST CODE of SEND DIAGNOSTIC.
    ///
    /// ```
    /// use iscsi_scsi::diagnostic::SelfTestCode;
    /// assert_eq!(SelfTestCode::BACKGROUND_SHORT.code(), 1);
    /// ```
    pub struct SelfTestCode: 3 bits {
        /// The default self-test if SELFTEST is set, else a diagnostic page.
        DEFAULT = 0 => "default",
        BACKGROUND_SHORT = 1 => "background short",
        BACKGROUND_EXTENDED = 2 => "background extended",
        ABORT_BACKGROUND = 4 => "abort background",
        FOREGROUND_SHORT = 5 => "foreground short",
        FOREGROUND_EXTENDED = 6 => "foreground extended",
    }
}

/// SEND DIAGNOSTIC.
///
/// ```
/// use iscsi_scsi::diagnostic::{SelfTestCode, SendDiagnostic};
/// let cdb = SendDiagnostic {
///     code: SelfTestCode::BACKGROUND_EXTENDED, ..Default::default()
/// }.cdb();
/// assert_eq!(cdb.as_bytes(), [0x1d, 0x40, 0, 0, 0, 0]);
/// let cdb = SendDiagnostic {
///     pf: true, parameter_list_length: 0x0102, ..Default::default()
/// }.cdb();
/// assert_eq!(cdb.as_bytes(), [0x1d, 0x10, 0, 1, 2, 0]);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SendDiagnostic {
    /// Which self-test.
    pub code: SelfTestCode,
    /// PF: the parameter list has the standard's format.
    pub pf: bool,
    /// SELFTEST: run the default self-test.
    pub self_test: bool,
    /// DEVOFFL: the test may affect other units of the device.
    pub device_offline: bool,
    /// UNITOFFL: the test may affect the medium.
    pub unit_offline: bool,
    /// Bytes of the parameter list.
    pub parameter_list_length: u16,
}

impl SendDiagnostic {
    /// Operation code.
    pub const OPCODE: u8 = 0x1d;

    /// The CDB.
    pub fn cdb(&self) -> Cdb {
        CdbWriter::new(Self::OPCODE)
            .u8(self.code.code() << 5
                | bit(self.pf, 0x10)
                | bit(self.self_test, 0x04)
                | bit(self.device_offline, 0x02)
                | bit(self.unit_offline, 0x01))
            .zeros::<1>()
            .u16(self.parameter_list_length)
            .zeros::<1>()
            .bytes_out(self.parameter_list_length.into())
    }
}

/// RECEIVE DIAGNOSTIC RESULTS.
///
/// ```
/// use iscsi_scsi::diagnostic::ReceiveDiagnosticResults;
/// let cdb = ReceiveDiagnosticResults { page: Some(0x02), allocation_length: 0x0102 }.cdb();
/// assert_eq!(cdb.as_bytes(), [0x1c, 0x01, 0x02, 1, 2, 0]);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReceiveDiagnosticResults {
    /// The page wanted, or `None` for the results of the last SEND DIAGNOSTIC.
    pub page: Option<u8>,
    /// Bytes the caller has room for.
    pub allocation_length: u16,
}

impl ReceiveDiagnosticResults {
    /// Operation code.
    pub const OPCODE: u8 = 0x1c;

    /// The CDB.
    pub fn cdb(&self) -> Cdb {
        CdbWriter::new(Self::OPCODE)
            .u8(bit(self.page.is_some(), 0x01))
            .u8(self.page.unwrap_or(0))
            .u16(self.allocation_length)
            .zeros::<1>()
            .bytes_in(self.allocation_length.into())
    }
}

codes! {
    /// MODE of READ BUFFER and WRITE BUFFER.
    ///
    /// ```
    /// use iscsi_scsi::diagnostic::BufferMode;
    /// assert_eq!(BufferMode::ECHO.code(), 0x0a);
    /// ```
    pub struct BufferMode: 5 bits {
        COMBINED = 0x00 => "combined header and data",
        VENDOR = 0x01 => "vendor specific",
        DATA = 0x02 => "data",
        DESCRIPTOR = 0x03 => "descriptor",
        DOWNLOAD_MICROCODE = 0x04 => "download microcode and activate",
        DOWNLOAD_MICROCODE_AND_SAVE = 0x05 => "download microcode, save, and activate",
        DOWNLOAD_WITH_OFFSETS = 0x06 => "download with offsets and activate",
        DOWNLOAD_WITH_OFFSETS_AND_SAVE = 0x07 => "download with offsets, save, and activate",
        ECHO = 0x0a => "echo buffer",
        ECHO_DESCRIPTOR = 0x0b => "echo buffer descriptor",
        DOWNLOAD_WITH_OFFSETS_SELECT = 0x0d => "download with offsets, select activation",
        DOWNLOAD_WITH_OFFSETS_DEFER = 0x0e => "download with offsets, save, and defer",
        ACTIVATE_DEFERRED = 0x0f => "activate deferred microcode",
        ERROR_HISTORY = 0x1c => "error history",
    }
}

/// READ BUFFER(10).
///
/// ```
/// use iscsi_scsi::diagnostic::{BufferMode, ReadBuffer};
/// let mode = BufferMode::DATA;
/// let cdb = ReadBuffer {
///     mode, id: 1, offset: 0x02_0304, length: 0x05_0607, ..Default::default()
/// }.cdb()?;
/// assert_eq!(cdb.as_bytes(), [0x3c, 0x02, 1, 2, 3, 4, 5, 6, 7, 0]);
/// # Ok::<(), iscsi_scsi::CdbError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReadBuffer {
    /// Mode.
    pub mode: BufferMode,
    /// MODE SPECIFIC.
    pub mode_specific: Bits<3>,
    /// Buffer identifier.
    pub id: u8,
    /// Offset in the buffer, 24 bits.
    pub offset: u32,
    /// Bytes the caller has room for, 24 bits.
    pub length: u32,
}

impl ReadBuffer {
    /// Operation code.
    pub const OPCODE: u8 = 0x3c;

    /// The CDB.
    ///
    /// # Errors
    /// [`CdbError::ValueTooLarge`] for an offset or length above 24 bits.
    pub fn cdb(&self) -> Result<Cdb, CdbError> {
        Ok(CdbWriter::new(Self::OPCODE)
            .u8(self.mode_specific.get() << 5 | self.mode.code())
            .u8(self.id)
            .u24(check24(self.offset)?)
            .u24(check24(self.length)?)
            .zeros::<1>()
            .bytes_in(self.length))
    }
}

/// WRITE BUFFER.
///
/// ```
/// use iscsi_scsi::{CdbError, diagnostic::{BufferMode, WriteBuffer}};
/// let mode = BufferMode::ECHO;
/// let mut buffer = WriteBuffer { mode, length: 252, ..Default::default() };
/// assert_eq!(buffer.cdb()?.as_bytes(), [0x3b, 0x0a, 0, 0, 0, 0, 0, 0, 252, 0]);
/// buffer.offset = 1 << 24;
/// assert_eq!(buffer.cdb(), Err(CdbError::ValueTooLarge { value: 1 << 24, max: 0xff_ffff }));
/// # Ok::<(), CdbError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WriteBuffer {
    /// Mode.
    pub mode: BufferMode,
    /// MODE SPECIFIC.
    pub mode_specific: Bits<3>,
    /// Buffer identifier.
    pub id: u8,
    /// Offset in the buffer, 24 bits.
    pub offset: u32,
    /// Bytes of the data-out, 24 bits.
    pub length: u32,
}

impl WriteBuffer {
    /// Operation code.
    pub const OPCODE: u8 = 0x3b;

    /// The CDB.
    ///
    /// # Errors
    /// [`CdbError::ValueTooLarge`] for an offset or length above 24 bits.
    pub fn cdb(&self) -> Result<Cdb, CdbError> {
        Ok(CdbWriter::new(Self::OPCODE)
            .u8(self.mode_specific.get() << 5 | self.mode.code())
            .u8(self.id)
            .u24(check24(self.offset)?)
            .u24(check24(self.length)?)
            .zeros::<1>()
            .bytes_out(self.length))
    }
}

/// REPORT IDENTIFYING INFORMATION, a service action of MAINTENANCE IN.
///
/// ```
/// use iscsi_scsi::diagnostic::ReportIdentifyingInformation;
/// let cdb = ReportIdentifyingInformation { kind: 2, allocation_length: 64 }.cdb()?;
/// assert_eq!(cdb.as_bytes(), [0xa3, 0x05, 0, 0, 0, 0, 0, 0, 0, 64, 0x04, 0]);
/// # Ok::<(), iscsi_scsi::CdbError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReportIdentifyingInformation {
    /// IDENTIFYING INFORMATION TYPE, at most 127: 0 the information, 2 its text, 127 what is
    /// supported.
    pub kind: u8,
    /// Bytes the caller has room for.
    pub allocation_length: u32,
}

impl ReportIdentifyingInformation {
    /// Operation code: MAINTENANCE IN.
    pub const OPCODE: u8 = 0xa3;
    /// Service action.
    pub const SERVICE_ACTION: u8 = 0x05;

    /// The CDB.
    ///
    /// # Errors
    /// [`CdbError::ValueTooLarge`] for a type above 127.
    pub fn cdb(&self) -> Result<Cdb, CdbError> {
        if self.kind > 0x7f {
            return Err(CdbError::ValueTooLarge { value: self.kind.into(), max: 0x7f });
        }
        Ok(CdbWriter::new(Self::OPCODE)
            .u8(Self::SERVICE_ACTION)
            .zeros::<4>()
            .u32(self.allocation_length)
            .u8(self.kind << 1)
            .zeros::<1>()
            .bytes_in(self.allocation_length))
    }
}

/// Data of REPORT IDENTIFYING INFORMATION.
///
/// ```
/// use iscsi_scsi::diagnostic::IdentifyingInformation;
/// let data = [0, 0, 0, 5, b'd', b'b', b'1'];
/// assert_eq!(IdentifyingInformation::full_size(&data), Some(9));
/// assert_eq!(IdentifyingInformation::parse(&data)?.information, b"db1");
/// # Ok::<(), iscsi_scsi::ParseError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdentifyingInformation<'a> {
    /// The information, as far as it was returned.
    pub information: &'a [u8],
}

impl<'a> IdentifyingInformation<'a> {
    /// Bytes of the whole data, which may be more than were returned. `None` below 4 bytes.
    pub fn full_size(data: &[u8]) -> Option<usize> {
        u16_at(data, 2).map(|length| usize::from(length).saturating_add(4))
    }

    /// Parses the data.
    ///
    /// # Errors
    /// [`ParseError::Short`] below 4 bytes.
    pub fn parse(data: &'a [u8]) -> Result<Self, ParseError> {
        need(data, 4)?;
        let f = Fields(data);
        Ok(Self { information: f.slice(4, f.u16(2).into()) })
    }
}
