//! LOG SENSE and LOG SELECT (SPC).

use crate::bytes::{Fields, bit, cut, need, u16_at};
use crate::cdb::{Cdb, CdbWriter};
use crate::codes::codes;
use crate::error::{CdbError, ParseError};

codes! {
    /// PC of LOG SENSE and LOG SELECT: which values.
    ///
    /// ```
    /// use iscsi_scsi::log::LogControl;
    /// assert_eq!(LogControl::CUMULATIVE.code(), 1);
    /// ```
    pub struct LogControl: 2 bits {
        THRESHOLD = 0 => "threshold",
        CUMULATIVE = 1 => "cumulative",
        DEFAULT_THRESHOLD = 2 => "default threshold",
        DEFAULT_CUMULATIVE = 3 => "default cumulative",
    }
}

/// LOG SENSE.
///
/// ```
/// use iscsi_scsi::log::LogSense;
/// let cdb = LogSense { page: 0x2f, allocation_length: 512, ..Default::default() }.cdb()?;
/// assert_eq!(cdb.as_bytes(), [0x4d, 0, 0x6f, 0, 0, 0, 0, 2, 0, 0]);
/// # Ok::<(), iscsi_scsi::CdbError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogSense {
    /// SP: save the parameters.
    pub sp: bool,
    /// PPC: only parameters that changed.
    pub ppc: bool,
    /// Which values; cumulative by default.
    pub control: LogControl,
    /// Page code, at most 3fh; 0 lists the pages.
    pub page: u8,
    /// Subpage code.
    pub subpage: u8,
    /// First parameter code wanted.
    pub parameter_pointer: u16,
    /// Bytes the caller has room for.
    pub allocation_length: u16,
}

impl Default for LogSense {
    fn default() -> Self {
        Self {
            sp: false,
            ppc: false,
            control: LogControl::CUMULATIVE,
            page: 0,
            subpage: 0,
            parameter_pointer: 0,
            allocation_length: 0,
        }
    }
}

impl LogSense {
    /// Operation code.
    pub const OPCODE: u8 = 0x4d;

    /// The CDB.
    ///
    /// # Errors
    /// [`CdbError::ValueTooLarge`] for a page code above 3fh.
    pub fn cdb(&self) -> Result<Cdb, CdbError> {
        Ok(CdbWriter::new(Self::OPCODE)
            .u8(bit(self.ppc, 0x02) | bit(self.sp, 0x01))
            .u8(page_byte(self.control, self.page)?)
            .u8(self.subpage)
            .zeros::<1>()
            .u16(self.parameter_pointer)
            .u16(self.allocation_length)
            .zeros::<1>()
            .bytes_in(self.allocation_length.into()))
    }
}

/// LOG SELECT.
///
/// ```
/// use iscsi_scsi::log::LogSelect;
/// let cdb = LogSelect { pcr: true, ..Default::default() }.cdb()?;
/// assert_eq!(cdb.as_bytes(), [0x4c, 0x02, 0x40, 0, 0, 0, 0, 0, 0, 0]);
/// # Ok::<(), iscsi_scsi::CdbError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogSelect {
    /// PCR: reset the parameters.
    pub pcr: bool,
    /// SP: save the parameters.
    pub sp: bool,
    /// Which values; cumulative by default.
    pub control: LogControl,
    /// Page code, at most 3fh.
    pub page: u8,
    /// Subpage code.
    pub subpage: u8,
    /// Bytes of the parameter list.
    pub parameter_list_length: u16,
}

impl Default for LogSelect {
    fn default() -> Self {
        Self {
            pcr: false,
            sp: false,
            control: LogControl::CUMULATIVE,
            page: 0,
            subpage: 0,
            parameter_list_length: 0,
        }
    }
}

impl LogSelect {
    /// Operation code.
    pub const OPCODE: u8 = 0x4c;

    /// The CDB.
    ///
    /// # Errors
    /// [`CdbError::ValueTooLarge`] for a page code above 3fh.
    pub fn cdb(&self) -> Result<Cdb, CdbError> {
        Ok(CdbWriter::new(Self::OPCODE)
            .u8(bit(self.pcr, 0x02) | bit(self.sp, 0x01))
            .u8(page_byte(self.control, self.page)?)
            .u8(self.subpage)
            .zeros::<3>()
            .u16(self.parameter_list_length)
            .zeros::<1>()
            .bytes_out(self.parameter_list_length.into()))
    }
}

fn page_byte(control: LogControl, page: u8) -> Result<u8, CdbError> {
    if page > 0x3f {
        return Err(CdbError::ValueTooLarge { value: page.into(), max: 0x3f });
    }
    Ok(control.code() << 6 | page)
}

/// A log page.
///
/// ```
/// use iscsi_scsi::log::LogPage;
/// let data = [0x02, 0, 0, 8, 0, 3, 0x03, 4, 0, 0, 1, 0];
/// let page = LogPage::parse(&data)?;
/// assert_eq!((page.code, page.subpage), (2, None));
/// let errors = page.parameters().next().unwrap();
/// assert_eq!((errors.code, errors.number()), (3, Some(256)));
/// # Ok::<(), iscsi_scsi::ParseError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogPage<'a> {
    /// DS: the page is not saved.
    pub ds: bool,
    /// Page code.
    pub code: u8,
    /// Subpage code, if the page has the subpage format.
    pub subpage: Option<u8>,
    /// The bytes after the header that were returned.
    pub body: &'a [u8],
}

impl<'a> LogPage<'a> {
    /// Bytes of the whole page, which may be more than were returned. `None` below 4 bytes.
    pub fn full_size(data: &[u8]) -> Option<usize> {
        u16_at(data, 2).map(|length| usize::from(length).saturating_add(4))
    }

    /// Parses the page, as far as it was returned.
    ///
    /// # Errors
    /// [`ParseError::Short`] below 4 bytes.
    pub fn parse(data: &'a [u8]) -> Result<Self, ParseError> {
        need(data, 4)?;
        let f = Fields(cut(data, Self::full_size(data).unwrap_or(0)));
        Ok(Self {
            ds: f.flag(0, 0x80),
            code: f.u8(0) & 0x3f,
            subpage: f.flag(0, 0x40).then(|| f.u8(1)),
            body: f.slice(4, usize::MAX),
        })
    }

    /// The parameters of a page that has parameters: every page but the lists of supported pages,
    /// page 00h and the subpages ffh. One that was not returned in full ends the iteration.
    pub fn parameters(&self) -> impl Iterator<Item = LogParameter<'a>> + Clone + use<'a> {
        let mut rest = self.body;
        core::iter::from_fn(move || {
            let (&[high, low, control, length], after) = rest.split_first_chunk()?;
            let (value, after) = after.split_at_checked(length.into())?;
            rest = after;
            Some(LogParameter { code: u16::from_be_bytes([high, low]), control, value })
        })
    }
}

/// A parameter of a log page.
///
/// ```
/// use iscsi_scsi::log::LogParameter;
/// let parameter = LogParameter { code: 0, control: 0x02, value: &[1, 2] };
/// assert_eq!(parameter.number(), Some(0x0102));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogParameter<'a> {
    /// PARAMETER CODE.
    pub code: u16,
    /// Parameter control byte.
    pub control: u8,
    /// PARAMETER VALUE.
    pub value: &'a [u8],
}

impl LogParameter<'_> {
    /// The value as a big-endian number, if it has 1 to 8 bytes.
    pub fn number(&self) -> Option<u64> {
        match self.value.len() {
            1..=8 => Some(self.value.iter().fold(0, |sum, &byte| sum << 8 | u64::from(byte))),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn page_code_range() {
        let sense = LogSense { page: 0x40, ..Default::default() };
        assert_eq!(sense.cdb(), Err(CdbError::ValueTooLarge { value: 0x40, max: 0x3f }));
        let select = LogSelect { page: 0xff, ..Default::default() };
        assert!(select.cdb().is_err());
    }

    #[test]
    fn parameters_cut_off() {
        let data = [0x4d, 1, 0, 20, 0, 0, 0, 2, 0, 30, 0, 1, 0, 9, 1];
        let page = LogPage::parse(&data).unwrap();
        assert_eq!((page.code, page.subpage), (0x0d, Some(1)));
        assert_eq!(LogPage::full_size(&data), Some(24));
        assert!(page.parameters().map(|p| p.number()).eq([Some(30)]));
        assert_eq!(LogParameter { code: 0, control: 0, value: &[0; 9] }.number(), None);
    }
}
