//! MODE SENSE and MODE SELECT: commands, and the parameter data of both (SPC, SBC).
//!
//! MODE SELECT takes what MODE SENSE returns, with the mode data length and the PS bits zeroed:
//! [`ModeParameters::build_select6`] and its 10-byte sibling do that.

mod pages;
#[cfg(test)]
mod tests;

use crate::bytes::{Fields, Out, bit, clip16, cut, len16, need, u16_at};
use crate::cdb::{Cdb, CdbWriter};
use crate::codes::codes;
use crate::error::{BuildError, CommandError, ParseError};

pub use pages::{
    CachingPage, ControlPage, DisconnectReconnectPage, InformationalExceptionsPage, ModePage,
    PageData, PowerConditionPage, RawPage,
};

codes! {
    /// Page code of a mode page.
    ///
    /// ```
    /// use iscsi_scsi::mode::ModePageCode;
    /// assert_eq!(ModePageCode::CACHING.code(), 0x08);
    /// ```
    pub struct ModePageCode: 6 bits {
        READ_WRITE_ERROR_RECOVERY = 0x01 => "read-write error recovery",
        DISCONNECT_RECONNECT = 0x02 => "disconnect-reconnect",
        VERIFY_ERROR_RECOVERY = 0x07 => "verify error recovery",
        CACHING = 0x08 => "caching",
        CONTROL = 0x0a => "control",
        POWER_CONDITION = 0x1a => "power condition",
        INFORMATIONAL_EXCEPTIONS = 0x1c => "informational exceptions control",
        ALL = 0x3f => "all pages",
    }
}

codes! {
    /// PC: which values of the pages are returned.
    ///
    /// ```
    /// use iscsi_scsi::mode::PageControl;
    /// assert_eq!(PageControl::default(), PageControl::CURRENT);
    /// ```
    pub struct PageControl: 2 bits {
        CURRENT = 0 => "current",
        /// A bit set says that the bit can be changed.
        CHANGEABLE = 1 => "changeable",
        DEFAULT = 2 => "default",
        SAVED = 3 => "saved",
    }
}

/// MODE SENSE(6).
///
/// ```
/// use iscsi_scsi::mode::{ModePageCode, ModeSense6};
/// let page = ModePageCode::CACHING;
/// let cdb = ModeSense6 { dbd: true, page, allocation_length: 255, ..Default::default() }.cdb();
/// assert_eq!(cdb.as_bytes(), [0x1a, 0x08, 0x08, 0, 255, 0]);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ModeSense6 {
    /// Disable block descriptors.
    pub dbd: bool,
    /// Which values.
    pub control: PageControl,
    /// Page code.
    pub page: ModePageCode,
    /// Subpage code; 0 for the page itself, ffh for it and all its subpages.
    pub subpage: u8,
    /// Bytes the caller has room for.
    pub allocation_length: u8,
}

impl ModeSense6 {
    /// Operation code.
    pub const OPCODE: u8 = 0x1a;

    /// The CDB.
    pub fn cdb(&self) -> Cdb {
        CdbWriter::new(Self::OPCODE)
            .u8(bit(self.dbd, 0x08))
            .u8(self.control.code() << 6 | self.page.code())
            .u8(self.subpage)
            .u8(self.allocation_length)
            .zeros::<1>()
            .bytes_in(self.allocation_length.into())
    }

    pub(crate) fn parse(f: Fields<'_>) -> Result<Self, CommandError> {
        Ok(Self {
            dbd: f.flag(1, 0x08),
            control: PageControl::from_bits(f.u8(2) >> 6),
            page: ModePageCode::from_bits(f.u8(2)),
            subpage: f.u8(3),
            allocation_length: f.u8(4),
        })
    }
}

/// MODE SENSE(10).
///
/// ```
/// use iscsi_scsi::mode::{ModePageCode, ModeSense10, PageControl};
/// let control = PageControl::CHANGEABLE;
/// let cdb = ModeSense10 {
///     control, page: ModePageCode::CONTROL, allocation_length: 0x0102, ..Default::default()
/// }.cdb();
/// assert_eq!(cdb.as_bytes(), [0x5a, 0, 0x4a, 0, 0, 0, 0, 1, 2, 0]);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ModeSense10 {
    /// Long block descriptors are accepted.
    pub llbaa: bool,
    /// Disable block descriptors.
    pub dbd: bool,
    /// Which values.
    pub control: PageControl,
    /// Page code.
    pub page: ModePageCode,
    /// Subpage code; 0 for the page itself, ffh for it and all its subpages.
    pub subpage: u8,
    /// Bytes the caller has room for.
    pub allocation_length: u16,
}

impl ModeSense10 {
    /// Operation code.
    pub const OPCODE: u8 = 0x5a;

    /// The CDB.
    pub fn cdb(&self) -> Cdb {
        CdbWriter::new(Self::OPCODE)
            .u8(bit(self.llbaa, 0x10) | bit(self.dbd, 0x08))
            .u8(self.control.code() << 6 | self.page.code())
            .u8(self.subpage)
            .zeros::<3>()
            .u16(self.allocation_length)
            .zeros::<1>()
            .bytes_in(self.allocation_length.into())
    }

    pub(crate) fn parse(f: Fields<'_>) -> Result<Self, CommandError> {
        Ok(Self {
            llbaa: f.flag(1, 0x10),
            dbd: f.flag(1, 0x08),
            control: PageControl::from_bits(f.u8(2) >> 6),
            page: ModePageCode::from_bits(f.u8(2)),
            subpage: f.u8(3),
            allocation_length: f.u16(7),
        })
    }
}

macro_rules! mode_select {
    ($(#[$meta:meta])* $name:ident, $length:ty) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct $name {
            /// PF: the pages have the standard's format. True by default.
            pub pf: bool,
            /// RTD: revert to default values.
            pub rtd: bool,
            /// SP: save the pages.
            pub sp: bool,
            /// Bytes of the parameter list.
            pub parameter_list_length: $length,
        }

        impl Default for $name {
            fn default() -> Self {
                Self { pf: true, rtd: false, sp: false, parameter_list_length: 0 }
            }
        }

        impl $name {
            fn flags(&self) -> u8 {
                bit(self.pf, 0x10) | bit(self.rtd, 0x02) | bit(self.sp, 0x01)
            }

            fn from_flags(f: Fields<'_>, parameter_list_length: $length) -> Self {
                Self {
                    pf: f.flag(1, 0x10),
                    rtd: f.flag(1, 0x02),
                    sp: f.flag(1, 0x01),
                    parameter_list_length,
                }
            }
        }
    };
}

mode_select! {
    /// MODE SELECT(6).
    ///
    /// ```
    /// use iscsi_scsi::mode::ModeSelect6;
    /// let cdb = ModeSelect6 { parameter_list_length: 24, ..Default::default() }.cdb();
    /// assert_eq!(cdb.as_bytes(), [0x15, 0x10, 0, 0, 24, 0]);
    /// ```
    ModeSelect6, u8
}

impl ModeSelect6 {
    /// Operation code.
    pub const OPCODE: u8 = 0x15;

    /// The CDB.
    pub fn cdb(&self) -> Cdb {
        CdbWriter::new(Self::OPCODE)
            .u8(self.flags())
            .zeros::<2>()
            .u8(self.parameter_list_length)
            .zeros::<1>()
            .bytes_out(self.parameter_list_length.into())
    }

    pub(crate) fn parse(f: Fields<'_>) -> Result<Self, CommandError> {
        Ok(Self::from_flags(f, f.u8(4)))
    }
}

mode_select! {
    /// MODE SELECT(10).
    ///
    /// ```
    /// use iscsi_scsi::mode::ModeSelect10;
    /// let cdb = ModeSelect10 {
    ///     sp: true, parameter_list_length: 0x0102, ..Default::default()
    /// }.cdb();
    /// assert_eq!(cdb.as_bytes(), [0x55, 0x11, 0, 0, 0, 0, 0, 1, 2, 0]);
    /// ```
    ModeSelect10, u16
}

impl ModeSelect10 {
    /// Operation code.
    pub const OPCODE: u8 = 0x55;

    /// The CDB.
    pub fn cdb(&self) -> Cdb {
        CdbWriter::new(Self::OPCODE)
            .u8(self.flags())
            .zeros::<5>()
            .u16(self.parameter_list_length)
            .zeros::<1>()
            .bytes_out(self.parameter_list_length.into())
    }

    pub(crate) fn parse(f: Fields<'_>) -> Result<Self, CommandError> {
        Ok(Self::from_flags(f, f.u16(7)))
    }
}

/// The block descriptor of a disk.
///
/// ```
/// use iscsi_scsi::mode::BlockDescriptor;
/// let descriptor = BlockDescriptor { blocks: 2048, block_length: 512 };
/// assert_eq!(descriptor.block_length, 512);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BlockDescriptor {
    /// Number of blocks. The short descriptor has 32 bits, where ffff_ffffh stands for more.
    pub blocks: u64,
    /// Block length in bytes. The short descriptor has 24 bits.
    pub block_length: u32,
}

/// Device-specific bits of a disk, WP: the medium is write protected.
const WRITE_PROTECT: u8 = 0x80;
/// Device-specific bits of a disk, DPOFUA: the DPO and FUA bits are supported.
const DPO_FUA: u8 = 0x10;

/// Mode parameter data, as MODE SENSE returns it and MODE SELECT takes it.
///
/// ```
/// use iscsi_scsi::mode::{CachingPage, ModeData, ModeParameters, PageData};
///
/// let caching = PageData::Caching(CachingPage { wce: true, ..Default::default() });
/// let parameters = ModeParameters { write_protect: true, ..Default::default() };
/// let mut data = [0; 24];
/// assert_eq!(parameters.emit_sense6(&[caching], &mut data), 24);
/// assert_eq!(data[..7], [23, 0, 0x80, 0, 0x08, 0x12, 0x04]);
///
/// let parsed = ModeData::parse6(&data)?;
/// assert!(parsed.write_protect());
/// assert_eq!(parsed.pages().next().unwrap().data(), caching);
/// # Ok::<(), iscsi_scsi::ParseError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ModeData<'a> {
    /// Medium type; 0 for disks.
    pub medium_type: u8,
    /// Device-specific parameter.
    pub device_specific: u8,
    /// The first block descriptor, if there is one.
    pub block_descriptor: Option<BlockDescriptor>,
    pages: &'a [u8],
}

impl<'a> ModeData<'a> {
    /// Bytes of the whole data of MODE SENSE(6). `None` below 1 byte.
    pub fn full_size6(data: &[u8]) -> Option<usize> {
        data.first().map(|&length| usize::from(length).saturating_add(1))
    }

    /// Bytes of the whole data of MODE SENSE(10). `None` below 2 bytes.
    pub fn full_size10(data: &[u8]) -> Option<usize> {
        u16_at(data, 0).map(|length| usize::from(length).saturating_add(2))
    }

    /// Parses the data of MODE SENSE(6).
    ///
    /// # Errors
    /// [`ParseError::Short`] below 4 bytes.
    pub fn parse6(data: &'a [u8]) -> Result<Self, ParseError> {
        need(data, 4)?;
        Self::parse_list6(cut(data, Self::full_size6(data).unwrap_or(0)))
    }

    /// Parses the data of MODE SENSE(10).
    ///
    /// # Errors
    /// [`ParseError::Short`] below 8 bytes.
    pub fn parse10(data: &'a [u8]) -> Result<Self, ParseError> {
        need(data, 8)?;
        Self::parse_list10(cut(data, Self::full_size10(data).unwrap_or(0)))
    }

    /// Parses the parameter list of MODE SELECT(6), whose length field is reserved.
    ///
    /// # Errors
    /// [`ParseError::Short`] below 4 bytes.
    pub fn parse_list6(data: &'a [u8]) -> Result<Self, ParseError> {
        need(data, 4)?;
        let f = Fields(data);
        Ok(Self::after_header(data, 4, f.u8(3).into(), false, f.u8(1), f.u8(2)))
    }

    /// Parses the parameter list of MODE SELECT(10), whose length field is reserved.
    ///
    /// # Errors
    /// [`ParseError::Short`] below 8 bytes.
    pub fn parse_list10(data: &'a [u8]) -> Result<Self, ParseError> {
        need(data, 8)?;
        let f = Fields(data);
        let long = f.flag(4, 0x01);
        Ok(Self::after_header(data, 8, f.u16(6).into(), long, f.u8(2), f.u8(3)))
    }

    fn after_header(
        data: &'a [u8],
        header: usize,
        descriptors: usize,
        long: bool,
        medium_type: u8,
        device_specific: u8,
    ) -> Self {
        let f = Fields(data);
        let list = f.slice(header, descriptors);
        let d = Fields(list);
        let block_descriptor = match long {
            true => (list.len() >= 16)
                .then(|| BlockDescriptor { blocks: d.u64(0), block_length: d.u32(12) }),
            false => (list.len() >= 8)
                .then(|| BlockDescriptor { blocks: d.u32(0).into(), block_length: d.u24(5) }),
        };
        let pages = f.slice(header.saturating_add(descriptors), usize::MAX);
        Self { medium_type, device_specific, block_descriptor, pages }
    }

    /// WP of a disk: the medium is write protected.
    pub fn write_protect(&self) -> bool {
        self.device_specific & WRITE_PROTECT != 0
    }

    /// DPOFUA of a disk: the DPO and FUA bits are supported.
    pub fn dpo_fua(&self) -> bool {
        self.device_specific & DPO_FUA != 0
    }

    /// The pages in order. One that was not returned in full ends the iteration.
    pub fn pages(&self) -> impl Iterator<Item = ModePage<'a>> + Clone + use<'a> {
        pages::pages(self.pages)
    }

    /// The page with this code and no subpage code.
    pub fn page(&self, code: ModePageCode) -> Option<ModePage<'a>> {
        self.pages().find(|page| page.code == code && page.subpage.is_none())
    }
}

/// What to say before the pages, to write mode parameter data.
///
/// ```
/// use iscsi_scsi::mode::{ControlPage, ModeParameters, PageData};
/// let control = PageData::Control(ControlPage { swp: true, ..Default::default() });
/// let mut list = [0; 20];
/// assert_eq!(ModeParameters::default().build_select10(&[control], &mut list)?, 20);
/// assert_eq!(list[..8], [0; 8], "the length is reserved in a parameter list");
/// assert_eq!(list[8..14], [0x0a, 0x0a, 0, 0, 0x08, 0]);
/// # Ok::<(), iscsi_scsi::BuildError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ModeParameters {
    /// Medium type; 0 for disks.
    pub medium_type: u8,
    /// WP: the medium is write protected. MODE SELECT ignores it.
    pub write_protect: bool,
    /// DPOFUA: the DPO and FUA bits are supported. MODE SELECT ignores it.
    pub dpo_fua: bool,
    /// The short block descriptor, if any.
    pub block_descriptor: Option<BlockDescriptor>,
}

impl ModeParameters {
    /// Writes the data of MODE SENSE(6), truncated to the buffer, and returns the full size.
    pub fn emit_sense6(&self, pages: &[PageData<'_>], out: &mut [u8]) -> usize {
        let mut out = Out::new(out);
        self.write6(pages, &mut out, true);
        let length = u8::try_from(out.len() - 1).unwrap_or(u8::MAX);
        out.patch(0, &[length]);
        out.len()
    }

    /// Writes the data of MODE SENSE(10), truncated to the buffer, and returns the full size.
    pub fn emit_sense10(&self, pages: &[PageData<'_>], out: &mut [u8]) -> usize {
        let mut out = Out::new(out);
        self.write10(pages, &mut out, true);
        let length = clip16(out.len() - 2);
        out.patch(0, &length.to_be_bytes());
        out.len()
    }

    /// Writes the parameter list of MODE SELECT(6) and returns its length.
    ///
    /// # Errors
    /// [`BuildError::BufferTooSmall`], [`BuildError::TooLong`] above 255 bytes.
    pub fn build_select6(
        &self,
        pages: &[PageData<'_>],
        out: &mut [u8],
    ) -> Result<usize, BuildError> {
        let mut out = Out::new(out);
        self.write6(pages, &mut out, false);
        let len = out.complete()?;
        if len > 0xff { Err(BuildError::TooLong { len, max: 0xff }) } else { Ok(len) }
    }

    /// Writes the parameter list of MODE SELECT(10) and returns its length.
    ///
    /// # Errors
    /// [`BuildError::BufferTooSmall`], [`BuildError::TooLong`] above 65535 bytes.
    pub fn build_select10(
        &self,
        pages: &[PageData<'_>],
        out: &mut [u8],
    ) -> Result<usize, BuildError> {
        let mut out = Out::new(out);
        self.write10(pages, &mut out, false);
        let len = out.complete()?;
        len16(len).map(usize::from)
    }

    fn write6(&self, pages: &[PageData<'_>], out: &mut Out<'_>, sense: bool) {
        out.u8(0).u8(self.medium_type).u8(self.device_specific(sense));
        out.u8(if self.block_descriptor.is_some() { 8 } else { 0 });
        self.write_body(pages, out);
    }

    fn write10(&self, pages: &[PageData<'_>], out: &mut Out<'_>, sense: bool) {
        out.u16(0).u8(self.medium_type).u8(self.device_specific(sense)).zeros(2);
        out.u16(if self.block_descriptor.is_some() { 8 } else { 0 });
        self.write_body(pages, out);
    }

    fn device_specific(&self, sense: bool) -> u8 {
        if sense { bit(self.write_protect, WRITE_PROTECT) | bit(self.dpo_fua, DPO_FUA) } else { 0 }
    }

    fn write_body(&self, pages: &[PageData<'_>], out: &mut Out<'_>) {
        if let Some(descriptor) = self.block_descriptor {
            let length = descriptor.block_length.min(0xff_ffff);
            out.u32(u32::try_from(descriptor.blocks).unwrap_or(u32::MAX)).u8(0).u24(length);
        }
        for page in pages {
            page.emit(out);
        }
    }
}
