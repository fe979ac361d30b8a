//! REPORT LUNS: command and returned data (SPC).

use crate::bytes::{Fields, Out, clip32, cut, index, need, u32_at};
use crate::cdb::{Cdb, CdbWriter};
use crate::codes::codes;
use crate::error::{CommandError, ParseError};
use crate::lun::Lun;

codes! {
    /// SELECT REPORT: which logical units are reported.
    ///
    /// ```
    /// use iscsi_scsi::report_luns::SelectReport;
    /// assert_eq!(SelectReport::default(), SelectReport::ADDRESSED);
    /// assert_eq!(SelectReport::ALL.code(), 2);
    /// ```
    pub struct SelectReport: 8 bits {
        ADDRESSED = 0x00 => "without well-known logical units",
        WELL_KNOWN = 0x01 => "well-known logical units only",
        ALL = 0x02 => "all accessible logical units",
        ADMINISTRATIVE = 0x10 => "administrative logical units only",
        TOP_LEVEL = 0x11 => "top level, administrative and conglomerate",
        SAME_CONGLOMERATE = 0x12 => "same conglomerate",
    }
}

/// REPORT LUNS.
///
/// ```
/// use iscsi_scsi::report_luns::{ReportLuns, SelectReport};
/// let select = SelectReport::ALL;
/// let cdb = ReportLuns { select, allocation_length: 0x1008 }.cdb();
/// assert_eq!(cdb.as_bytes(), [0xa0, 0, 2, 0, 0, 0, 0, 0, 0x10, 0x08, 0, 0]);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReportLuns {
    /// Which logical units are reported.
    pub select: SelectReport,
    /// Bytes the caller has room for, at least 16: 8, and 8 for each LUN.
    pub allocation_length: u32,
}

impl ReportLuns {
    /// Operation code.
    pub const OPCODE: u8 = 0xa0;

    /// The CDB.
    pub fn cdb(&self) -> Cdb {
        CdbWriter::new(Self::OPCODE)
            .zeros::<1>()
            .u8(self.select.code())
            .zeros::<3>()
            .u32(self.allocation_length)
            .zeros::<2>()
            .bytes_in(self.allocation_length)
    }

    pub(crate) fn parse(f: Fields<'_>) -> Result<Self, CommandError> {
        let allocation_length = f.u32(6);
        if allocation_length < 16 {
            return Err(CommandError::Field { byte: 6, bit: 7 });
        }
        Ok(Self { select: SelectReport::from_bits(f.u8(2)), allocation_length })
    }
}

/// Data of REPORT LUNS.
///
/// ```
/// use iscsi_scsi::{Lun, report_luns::ReportLunsData};
/// let luns = [Lun::ZERO, Lun::from(3)];
/// let mut data = [0; 24];
/// assert_eq!(ReportLunsData::emit(luns, &mut data), 24);
/// assert_eq!(data[..8], [0, 0, 0, 16, 0, 0, 0, 0]);
/// let report = ReportLunsData::parse(&data)?;
/// assert!(report.luns().eq(luns));
/// assert!(report.is_complete());
/// # Ok::<(), iscsi_scsi::ParseError>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct ReportLunsData<'a> {
    list_length: usize,
    luns: &'a [u8],
}

impl<'a> ReportLunsData<'a> {
    /// Bytes of the whole data, which may be more than were returned. `None` below 4 bytes.
    pub fn full_size(data: &[u8]) -> Option<usize> {
        u32_at(data, 0).map(|length| index(length).saturating_add(8))
    }

    /// Parses the data, as far as it was returned.
    ///
    /// # Errors
    /// [`ParseError::Short`] below 8 bytes.
    pub fn parse(data: &'a [u8]) -> Result<Self, ParseError> {
        need(data, 8)?;
        let list_length = index(Fields(data).u32(0));
        Ok(Self { list_length, luns: cut(data.get(8..).unwrap_or_default(), list_length) })
    }

    /// The LUNs in order, all 8 bytes of each.
    pub fn luns(&self) -> impl ExactSizeIterator<Item = Lun> + Clone + use<'a> {
        let (luns, _) = self.luns.as_chunks::<8>();
        luns.iter().map(|&bytes| Lun::from_bytes(bytes))
    }

    /// False if the device has more LUNs than were returned.
    pub fn is_complete(&self) -> bool {
        self.luns.len() == self.list_length
    }

    /// Writes the data, truncated to the buffer, and returns the full size.
    pub fn emit(luns: impl IntoIterator<Item = Lun>, out: &mut [u8]) -> usize {
        let mut out = Out::new(out);
        out.zeros(8);
        for lun in luns {
            out.bytes(&lun.to_bytes());
        }
        let length = clip32(out.len() - 8);
        out.patch(0, &length.to_be_bytes());
        out.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn truncated_list() {
        let mut data = [0; 20];
        let luns = [Lun::ZERO, Lun::REPORT_LUNS, Lun::from(9)];
        assert_eq!(ReportLunsData::emit(luns, &mut data), 32);
        assert_eq!(ReportLunsData::full_size(&data), Some(32));
        let report = ReportLunsData::parse(&data).unwrap();
        assert!(report.luns().eq([Lun::ZERO]));
        assert!(!report.is_complete());
    }

    #[test]
    fn allocation_length_below_16_is_refused() {
        let cdb = [0xa0, 0, 0, 0, 0, 0, 0, 0, 0, 15, 0, 0];
        let error = ReportLuns::parse(Fields(&cdb));
        assert_eq!(error, Err(CommandError::Field { byte: 6, bit: 7 }));
    }
}
