//! READ TOC/PMA/ATIP of CD and DVD drives (MMC).

use crate::bytes::{Fields, bit, cut, need, u16_at};
use crate::cdb::{Cdb, CdbWriter};
use crate::codes::codes;
use crate::error::ParseError;

codes! {
    /// FORMAT of the table of contents.
    ///
    /// ```
    /// use iscsi_scsi::toc::TocFormat;
    /// assert_eq!(TocFormat::default(), TocFormat::TOC);
    /// ```
    pub struct TocFormat: 4 bits {
        TOC = 0 => "TOC",
        SESSION = 1 => "session information",
        FULL_TOC = 2 => "full TOC",
        PMA = 3 => "PMA",
        ATIP = 4 => "ATIP",
        CD_TEXT = 5 => "CD-TEXT",
    }
}

/// READ TOC/PMA/ATIP.
///
/// ```
/// use iscsi_scsi::toc::{ReadToc, TocFormat};
/// let format = TocFormat::FULL_TOC;
/// let cdb = ReadToc { msf: true, format, track: 1, allocation_length: 255 }.cdb();
/// assert_eq!(cdb.as_bytes(), [0x43, 0x02, 0x02, 0, 0, 0, 1, 0, 255, 0]);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReadToc {
    /// MSF: addresses in minutes, seconds and frames.
    pub msf: bool,
    /// Format.
    pub format: TocFormat,
    /// First track or session.
    pub track: u8,
    /// Bytes the caller has room for.
    pub allocation_length: u16,
}

impl ReadToc {
    /// Operation code.
    pub const OPCODE: u8 = 0x43;

    /// The CDB.
    pub fn cdb(&self) -> Cdb {
        CdbWriter::new(Self::OPCODE)
            .u8(bit(self.msf, 0x02))
            .u8(self.format.code())
            .zeros::<3>()
            .u8(self.track)
            .u16(self.allocation_length)
            .zeros::<1>()
            .bytes_in(self.allocation_length.into())
    }
}

/// A track, in the formats TOC and session information.
///
/// ```
/// use iscsi_scsi::toc::Toc;
/// let data = [0, 10, 1, 1, 0, 0x14, 1, 0, 0, 0, 0, 150];
/// let track = Toc::parse(&data)?.tracks().next().unwrap();
/// assert_eq!((track.adr, track.control, track.number, track.address), (1, 4, 1, 150));
/// # Ok::<(), iscsi_scsi::ParseError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Track {
    /// ADR, 4 bits.
    pub adr: u8,
    /// CONTROL, 4 bits; bit 2 is a data track.
    pub control: u8,
    /// Track number; aah is the lead-out.
    pub number: u8,
    /// Start address: a logical block, or minutes, seconds and frames in the low three bytes.
    pub address: u32,
}

/// An entry of the full table of contents.
///
/// ```
/// use iscsi_scsi::toc::Toc;
/// let data = [0, 13, 1, 1, 1, 0x14, 0, 0xa0, 0, 0, 0, 0, 1, 2, 3];
/// let entry = Toc::parse(&data)?.full().next().unwrap();
/// assert_eq!((entry.session, entry.point, entry.p_msf), (1, 0xa0, [1, 2, 3]));
/// # Ok::<(), iscsi_scsi::ParseError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FullTocEntry {
    /// Session number.
    pub session: u8,
    /// ADR, 4 bits.
    pub adr: u8,
    /// CONTROL, 4 bits.
    pub control: u8,
    /// TNO.
    pub tno: u8,
    /// POINT.
    pub point: u8,
    /// MIN, SEC and FRAME.
    pub msf: [u8; 3],
    /// PMIN, PSEC and PFRAME.
    pub p_msf: [u8; 3],
}

/// Data of READ TOC/PMA/ATIP. The data does not say which format it has: call what was asked for.
///
/// ```
/// use iscsi_scsi::toc::Toc;
/// let toc = Toc::parse(&[0, 10, 1, 3, 0, 0x14, 1, 0, 0, 0, 0, 0])?;
/// assert_eq!((toc.first, toc.last), (1, 3));
/// assert_eq!(toc.tracks().len(), 1);
/// # Ok::<(), iscsi_scsi::ParseError>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Toc<'a> {
    /// First track, or first complete session.
    pub first: u8,
    /// Last track, or last complete session.
    pub last: u8,
    list: &'a [u8],
}

impl<'a> Toc<'a> {
    /// Bytes of the whole data, which may be more than were returned. `None` below 2 bytes.
    pub fn full_size(data: &[u8]) -> Option<usize> {
        u16_at(data, 0).map(|length| usize::from(length).saturating_add(2))
    }

    /// Parses the data, as far as it was returned.
    ///
    /// # Errors
    /// [`ParseError::Short`] below 4 bytes.
    pub fn parse(data: &'a [u8]) -> Result<Self, ParseError> {
        need(data, 4)?;
        let f = Fields(cut(data, Self::full_size(data).unwrap_or(0)));
        Ok(Self { first: f.u8(2), last: f.u8(3), list: f.slice(4, usize::MAX) })
    }

    /// The tracks of the formats TOC and session information.
    pub fn tracks(&self) -> impl ExactSizeIterator<Item = Track> + Clone + use<'a> {
        let (list, _) = self.list.as_chunks::<8>();
        list.iter().map(|descriptor| {
            let f = Fields(descriptor);
            Track { adr: f.u8(1) >> 4, control: f.u8(1) & 0x0f, number: f.u8(2), address: f.u32(4) }
        })
    }

    /// The entries of the format full TOC.
    pub fn full(&self) -> impl ExactSizeIterator<Item = FullTocEntry> + Clone + use<'a> {
        let (list, _) = self.list.as_chunks::<11>();
        list.iter().map(|descriptor| {
            let f = Fields(descriptor);
            FullTocEntry {
                session: f.u8(0),
                adr: f.u8(1) >> 4,
                control: f.u8(1) & 0x0f,
                tno: f.u8(2),
                point: f.u8(3),
                msf: f.array(4),
                p_msf: f.array(8),
            }
        })
    }
}
