//! Vital product data pages of INQUIRY (SPC, SBC).
//!
//! [`Vpd::parse`] decodes any page; each page type also parses and emits itself.

mod block;
mod block_more;
mod extended;
mod identification;
mod naming;

use crate::ascii::Ascii;
use crate::bytes::{Fields, Out, clip16, cut, need, u16_at};
use crate::codes::codes;
use crate::error::ParseError;
use crate::inquiry::Peripheral;

pub use block::{BlockCharacteristics, BlockLimits, LogicalBlockProvisioning, ProvisioningType};
pub use block_more::{
    BlockCharacteristicsExtension, BlockLengths, Referrals, SupportedBlockLengths, ZonedBlock,
};
pub use extended::{ExtendedInquiry, ThirdPartyCopy, ThirdPartyCopyDescriptor};
pub use identification::{
    Association, CodeSet, Designator, DesignatorType, DeviceIdentification, ProtocolIdentifier,
};
pub use naming::DesignatorName;

codes! {
    /// Page code of a vital product data page.
    ///
    /// ```
    /// use iscsi_scsi::vpd::PageCode;
    /// assert_eq!(PageCode::BLOCK_LIMITS.code(), 0xb0);
    /// assert_eq!(PageCode::BLOCK_LIMITS.label(), "BLOCK_LIMITS");
    /// ```
    pub struct PageCode: 8 bits {
        SUPPORTED_PAGES = 0x00 => "SUPPORTED_VPD_PAGES",
        UNIT_SERIAL_NUMBER = 0x80 => "UNIT_SERIAL_NUMBER",
        DEVICE_IDENTIFICATION = 0x83 => "DEVICE_IDENTIFICATION",
        SOFTWARE_INTERFACE_ID = 0x84 => "SOFTWARE_INTERFACE_IDENTIFICATION",
        MANAGEMENT_ADDRESSES = 0x85 => "MANAGEMENT_NETWORK_ADDRESSES",
        EXTENDED_INQUIRY = 0x86 => "EXTENDED_INQUIRY_DATA",
        MODE_PAGE_POLICY = 0x87 => "MODE_PAGE_POLICY",
        SCSI_PORTS = 0x88 => "SCSI_PORTS",
        ATA_INFORMATION = 0x89 => "ATA_INFORMATION",
        POWER_CONDITION = 0x8a => "POWER_CONDITION",
        DEVICE_CONSTITUENTS = 0x8b => "DEVICE_CONSTITUENTS",
        CFA_PROFILE = 0x8c => "CFA_PROFILE_INFORMATION",
        POWER_CONSUMPTION = 0x8d => "POWER_CONSUMPTION",
        THIRD_PARTY_COPY = 0x8f => "THIRD_PARTY_COPY",
        PROTOCOL_SPECIFIC_LU = 0x90 => "PROTOCOL_SPECIFIC_LOGICAL_UNIT_INFORMATION",
        PROTOCOL_SPECIFIC_PORT = 0x91 => "PROTOCOL_SPECIFIC_PORT_INFORMATION",
        SCSI_FEATURE_SETS = 0x92 => "SCSI_FEATURE_SETS",
        BLOCK_LIMITS = 0xb0 => "BLOCK_LIMITS",
        BLOCK_CHARACTERISTICS = 0xb1 => "BLOCK_DEVICE_CHARACTERISTICS",
        LOGICAL_BLOCK_PROVISIONING = 0xb2 => "LOGICAL_BLOCK_PROVISIONING",
        REFERRALS = 0xb3 => "REFERRALS",
        SUPPORTED_BLOCK_LENGTHS = 0xb4 => "SUPPORTED_BLOCK_LENGTHS_AND_PROTECTION_TYPES",
        BLOCK_CHARACTERISTICS_EXTENSION = 0xb5 => "BLOCK_DEVICE_CHARACTERISTICS_EXTENSION",
        ZONED_BLOCK = 0xb6 => "ZONED_BLOCK_DEVICE_CHARACTERISTICS",
        BLOCK_LIMITS_EXTENSION = 0xb7 => "BLOCK_LIMITS_EXTENSION",
        FORMAT_PRESETS = 0xb8 => "FORMAT_PRESETS",
        CONCURRENT_POSITIONING_RANGES = 0xb9 => "CONCURRENT_POSITIONING_RANGES",
    }
}

impl From<u8> for PageCode {
    /// Any byte is a page code.
    fn from(byte: u8) -> Self {
        Self::from_bits(byte)
    }
}

/// A page with its header, not decoded.
///
/// ```
/// use iscsi_scsi::vpd::{PageCode, VpdPage};
/// let page = VpdPage::parse(&[0, 0xc0, 0, 3, 1, 2])?;
/// assert_eq!(page.code, PageCode::from(0xc0));
/// assert_eq!(page.body, [1, 2]);
/// assert!(!page.is_complete());
/// # Ok::<(), iscsi_scsi::ParseError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VpdPage<'a> {
    /// Qualifier and device type.
    pub peripheral: Peripheral,
    /// Page code.
    pub code: PageCode,
    /// PAGE LENGTH: bytes after the header, as the device counts them.
    pub length: u16,
    /// The bytes after the header that were returned, at most `length`.
    pub body: &'a [u8],
    page: &'a [u8],
}

impl<'a> VpdPage<'a> {
    /// Bytes of the whole page, which may be more than were returned. `None` below 4 bytes.
    pub fn full_size(data: &[u8]) -> Option<usize> {
        u16_at(data, 2).map(|length| usize::from(length).saturating_add(4))
    }

    /// Parses the header.
    ///
    /// # Errors
    /// [`ParseError::Short`] below 4 bytes.
    pub fn parse(data: &'a [u8]) -> Result<Self, ParseError> {
        need(data, 4)?;
        let f = Fields(data);
        let page = cut(data, Self::full_size(data).unwrap_or(4));
        Ok(Self {
            peripheral: Peripheral::from_byte(f.u8(0)),
            code: PageCode::from_bits(f.u8(1)),
            length: f.u16(2),
            body: page.get(4..).unwrap_or_default(),
            page,
        })
    }

    /// False if the page has more bytes than were returned.
    pub fn is_complete(&self) -> bool {
        self.body.len() == usize::from(self.length)
    }

    /// The header and the fields of the page wanted, at their offsets in the standard's tables.
    pub(crate) fn expect(data: &'a [u8], expected: PageCode) -> Result<Self, ParseError> {
        let page = Self::parse(data)?;
        if page.code != expected {
            return Err(ParseError::PageCode { expected: expected.code(), got: page.code.code() });
        }
        Ok(page)
    }

    pub(crate) fn fields(&self) -> Fields<'a> {
        Fields(self.page)
    }
}

/// Starts a page; [`finish`] fills in the length.
pub(crate) fn start<'a>(peripheral: Peripheral, code: PageCode, out: &'a mut [u8]) -> Out<'a> {
    let mut out = Out::new(out);
    out.u8(peripheral.to_byte()).u8(code.code()).zeros(2);
    out
}

/// Ends a page and returns its full size.
pub(crate) fn finish(mut out: Out<'_>) -> usize {
    let length = clip16(out.len() - 4);
    out.patch(2, &length.to_be_bytes());
    out.len()
}

/// The supported pages, page 00h.
///
/// ```
/// use iscsi_scsi::inquiry::Peripheral;
/// use iscsi_scsi::vpd::{PageCode, SupportedPages};
/// let codes = [PageCode::SUPPORTED_PAGES, PageCode::BLOCK_LIMITS];
/// let mut page = [0; 6];
/// assert_eq!(SupportedPages::emit(Peripheral::DISK, codes, &mut page), 6);
/// assert_eq!(page, [0, 0, 0, 2, 0x00, 0xb0]);
/// let parsed = SupportedPages::parse(&page)?;
/// assert!(parsed.contains(PageCode::BLOCK_LIMITS));
/// # Ok::<(), iscsi_scsi::ParseError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SupportedPages<'a> {
    codes: &'a [u8],
}

impl<'a> SupportedPages<'a> {
    /// Parses the page.
    ///
    /// # Errors
    /// [`ParseError::Short`] and [`ParseError::PageCode`].
    pub fn parse(data: &'a [u8]) -> Result<Self, ParseError> {
        Ok(Self { codes: VpdPage::expect(data, PageCode::SUPPORTED_PAGES)?.body })
    }

    /// The page codes in order.
    pub fn codes(&self) -> impl ExactSizeIterator<Item = PageCode> + Clone + use<'a> {
        self.codes.iter().map(|&code| PageCode::from_bits(code))
    }

    /// Whether a page is supported.
    pub fn contains(&self, code: PageCode) -> bool {
        self.codes.contains(&code.code())
    }

    /// Writes the page, truncated to the buffer, and returns the full size.
    pub fn emit(
        peripheral: Peripheral,
        codes: impl IntoIterator<Item = PageCode>,
        out: &mut [u8],
    ) -> usize {
        let mut out = start(peripheral, PageCode::SUPPORTED_PAGES, out);
        for code in codes {
            out.u8(code.code());
        }
        finish(out)
    }
}

/// The unit serial number, page 80h.
///
/// ```
/// use iscsi_scsi::{inquiry::Peripheral, vpd::UnitSerialNumber};
/// let mut page = [0; 8];
/// assert_eq!(UnitSerialNumber::emit(Peripheral::DISK, b"beaf", &mut page), 8);
/// assert_eq!(page[..4], [0, 0x80, 0, 4]);
/// assert_eq!(UnitSerialNumber::parse(&page)?.serial().as_bytes(), b"beaf");
/// # Ok::<(), iscsi_scsi::ParseError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnitSerialNumber<'a> {
    serial: &'a [u8],
}

impl<'a> UnitSerialNumber<'a> {
    /// Parses the page.
    ///
    /// # Errors
    /// [`ParseError::Short`] and [`ParseError::PageCode`].
    pub fn parse(data: &'a [u8]) -> Result<Self, ParseError> {
        Ok(Self { serial: VpdPage::expect(data, PageCode::UNIT_SERIAL_NUMBER)?.body })
    }

    /// The serial number as sent, padding included.
    pub fn serial(&self) -> Ascii<'a> {
        Ascii::new(self.serial)
    }

    /// Writes the page, truncated to the buffer, and returns the full size.
    pub fn emit(peripheral: Peripheral, serial: &[u8], out: &mut [u8]) -> usize {
        let mut out = start(peripheral, PageCode::UNIT_SERIAL_NUMBER, out);
        out.bytes(cut(serial, 0xffff));
        finish(out)
    }
}

/// Any page, decoded by its code.
///
/// ```
/// use iscsi_scsi::vpd::Vpd;
/// match Vpd::parse(&[0, 0x80, 0, 2, b'4', b'2'])? {
///     Vpd::UnitSerialNumber(page) => assert_eq!(page.serial().as_bytes(), b"42"),
///     page => panic!("{page:?}"),
/// }
/// # Ok::<(), iscsi_scsi::ParseError>(())
/// ```
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Vpd<'a> {
    /// Page 00h.
    SupportedPages(SupportedPages<'a>),
    /// Page 80h.
    UnitSerialNumber(UnitSerialNumber<'a>),
    /// Page 83h.
    DeviceIdentification(DeviceIdentification<'a>),
    /// Page 86h.
    ExtendedInquiry(ExtendedInquiry),
    /// Page 8Fh.
    ThirdPartyCopy(ThirdPartyCopy<'a>),
    /// Page B0h.
    BlockLimits(BlockLimits),
    /// Page B1h.
    BlockCharacteristics(BlockCharacteristics),
    /// Page B2h.
    LogicalBlockProvisioning(LogicalBlockProvisioning<'a>),
    /// Page B3h.
    Referrals(Referrals),
    /// Page B4h.
    SupportedBlockLengths(SupportedBlockLengths<'a>),
    /// Page B5h.
    BlockCharacteristicsExtension(BlockCharacteristicsExtension),
    /// Page B6h.
    ZonedBlock(ZonedBlock),
    /// A page without a decoder.
    Other(VpdPage<'a>),
}

impl<'a> Vpd<'a> {
    /// Parses a page. [`VpdPage::full_size`] tells whether more can be had.
    ///
    /// # Errors
    /// [`ParseError::Short`].
    pub fn parse(data: &'a [u8]) -> Result<Self, ParseError> {
        let page = VpdPage::parse(data)?;
        Ok(match page.code {
            PageCode::SUPPORTED_PAGES => Self::SupportedPages(SupportedPages::parse(data)?),
            PageCode::UNIT_SERIAL_NUMBER => Self::UnitSerialNumber(UnitSerialNumber::parse(data)?),
            PageCode::DEVICE_IDENTIFICATION => {
                Self::DeviceIdentification(DeviceIdentification::parse(data)?)
            }
            PageCode::EXTENDED_INQUIRY => Self::ExtendedInquiry(ExtendedInquiry::parse(data)?),
            PageCode::THIRD_PARTY_COPY => Self::ThirdPartyCopy(ThirdPartyCopy::parse(data)?),
            PageCode::BLOCK_LIMITS => Self::BlockLimits(BlockLimits::parse(data)?),
            PageCode::BLOCK_CHARACTERISTICS => {
                Self::BlockCharacteristics(BlockCharacteristics::parse(data)?)
            }
            PageCode::LOGICAL_BLOCK_PROVISIONING => {
                Self::LogicalBlockProvisioning(LogicalBlockProvisioning::parse(data)?)
            }
            PageCode::REFERRALS => Self::Referrals(Referrals::parse(data)?),
            PageCode::SUPPORTED_BLOCK_LENGTHS => {
                Self::SupportedBlockLengths(SupportedBlockLengths::parse(data)?)
            }
            PageCode::BLOCK_CHARACTERISTICS_EXTENSION => {
                Self::BlockCharacteristicsExtension(BlockCharacteristicsExtension::parse(data)?)
            }
            PageCode::ZONED_BLOCK => Self::ZonedBlock(ZonedBlock::parse(data)?),
            _ => Self::Other(page),
        })
    }
}
