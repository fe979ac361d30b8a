//! Pages 86h and 8Fh: extended INQUIRY data and third-party copy (SPC).

use super::{PageCode, VpdPage};
use crate::error::ParseError;

/// Extended INQUIRY data, page 86h.
///
/// ```
/// use iscsi_scsi::vpd::ExtendedInquiry;
/// let mut page = [0; 64];
/// page[..6].copy_from_slice(&[0, 0x86, 0, 60, 0x37, 0x07]);
/// let parsed = ExtendedInquiry::parse(&page)?;
/// assert!(parsed.guard_check && parsed.application_tag_check && parsed.reference_tag_check);
/// assert!(parsed.head_of_queue && parsed.ordered && parsed.simple);
/// assert_eq!(parsed.protection_types, 6);
/// # Ok::<(), iscsi_scsi::ParseError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExtendedInquiry {
    /// ACTIVATE MICROCODE, 0 to 3.
    pub activate_microcode: u8,
    /// SPT, 0 to 7: which protection types are supported.
    pub protection_types: u8,
    /// GRD_CHK: the guard is checked.
    pub guard_check: bool,
    /// APP_CHK: the application tag is checked.
    pub application_tag_check: bool,
    /// REF_CHK: the reference tag is checked.
    pub reference_tag_check: bool,
    /// UASK_SUP: sense key specific data with unit attentions.
    pub unit_attention_sense_key_specific: bool,
    /// GROUP_SUP: group numbers.
    pub group_numbers: bool,
    /// PRIOR_SUP: task priority.
    pub priority: bool,
    /// HEADSUP: the HEAD OF QUEUE attribute.
    pub head_of_queue: bool,
    /// ORDSUP: the ORDERED attribute.
    pub ordered: bool,
    /// SIMPSUP: the SIMPLE attribute.
    pub simple: bool,
    /// WU_SUP: WRITE UNCORRECTABLE of a pseudo unrecovered error with correction.
    pub write_uncorrectable: bool,
    /// CRD_SUP: correction disabled.
    pub correction_disable: bool,
    /// NV_SUP: a non-volatile cache.
    pub non_volatile_cache: bool,
    /// V_SUP: a volatile cache.
    pub volatile_cache: bool,
    /// LUICLR: unit attentions are cleared per I_T nexus.
    pub lu_i_t_nexus_clear: bool,
    /// R_SUP: referrals.
    pub referrals: bool,
    /// MULTI I_T NEXUS MICROCODE DOWNLOAD, 0 to 15.
    pub multi_nexus_microcode: u8,
    /// EXTENDED SELF-TEST COMPLETION MINUTES.
    pub self_test_minutes: u16,
    /// MAXIMUM SUPPORTED SENSE DATA LENGTH in bytes.
    pub max_sense_length: u8,
}

impl ExtendedInquiry {
    /// Parses the page. Fields that a short page does not have are 0.
    ///
    /// # Errors
    /// [`ParseError::Short`] and [`ParseError::PageCode`].
    pub fn parse(data: &[u8]) -> Result<Self, ParseError> {
        let f = VpdPage::expect(data, PageCode::EXTENDED_INQUIRY)?.fields();
        Ok(Self {
            activate_microcode: f.u8(4) >> 6,
            protection_types: f.u8(4) >> 3 & 0x07,
            guard_check: f.flag(4, 0x04),
            application_tag_check: f.flag(4, 0x02),
            reference_tag_check: f.flag(4, 0x01),
            unit_attention_sense_key_specific: f.flag(5, 0x20),
            group_numbers: f.flag(5, 0x10),
            priority: f.flag(5, 0x08),
            head_of_queue: f.flag(5, 0x04),
            ordered: f.flag(5, 0x02),
            simple: f.flag(5, 0x01),
            write_uncorrectable: f.flag(6, 0x08),
            correction_disable: f.flag(6, 0x04),
            non_volatile_cache: f.flag(6, 0x02),
            volatile_cache: f.flag(6, 0x01),
            lu_i_t_nexus_clear: f.flag(7, 0x01),
            referrals: f.flag(8, 0x10),
            multi_nexus_microcode: f.u8(9) & 0x0f,
            self_test_minutes: f.u16(10),
            max_sense_length: f.u8(13),
        })
    }
}

/// One descriptor of the third-party copy page.
///
/// ```
/// use iscsi_scsi::vpd::ThirdPartyCopy;
/// let page = [0, 0x8f, 0, 8, 0, 1, 0, 4, 0x83, 1, 0, 0];
/// let descriptor = ThirdPartyCopy::parse(&page)?.descriptors().next().unwrap();
/// assert_eq!(descriptor.kind, 1);
/// # Ok::<(), iscsi_scsi::ParseError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ThirdPartyCopyDescriptor<'a> {
    /// Descriptor type; 0001h is supported commands.
    pub kind: u16,
    /// The bytes after type and length.
    pub data: &'a [u8],
}

/// Third-party copy, page 8Fh.
///
/// ```
/// use iscsi_scsi::vpd::ThirdPartyCopy;
/// let page = [0, 0x8f, 0, 12, 0, 1, 0, 8, 5, 0x83, 2, 0x00, 0x10, 0, 0, 0];
/// let parsed = ThirdPartyCopy::parse(&page)?;
/// let commands: Vec<_> = parsed.supported_commands().collect();
/// assert_eq!(commands, [(0x83, &[0x00, 0x10][..])]);
/// # Ok::<(), iscsi_scsi::ParseError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ThirdPartyCopy<'a> {
    list: &'a [u8],
}

impl<'a> ThirdPartyCopy<'a> {
    /// Parses the page.
    ///
    /// # Errors
    /// [`ParseError::Short`] and [`ParseError::PageCode`].
    pub fn parse(data: &'a [u8]) -> Result<Self, ParseError> {
        Ok(Self { list: VpdPage::expect(data, PageCode::THIRD_PARTY_COPY)?.body })
    }

    /// The descriptors in order. One that was not returned in full ends the iteration.
    pub fn descriptors(
        &self,
    ) -> impl Iterator<Item = ThirdPartyCopyDescriptor<'a>> + Clone + use<'a> {
        let mut rest = self.list;
        core::iter::from_fn(move || {
            let (&[a, b, c, d], after) = rest.split_first_chunk()?;
            let (data, after) = after.split_at_checked(u16::from_be_bytes([c, d]).into())?;
            rest = after;
            Some(ThirdPartyCopyDescriptor { kind: u16::from_be_bytes([a, b]), data })
        })
    }

    /// The supported commands: operation codes with their service actions.
    pub fn supported_commands(&self) -> impl Iterator<Item = (u8, &'a [u8])> + Clone + use<'a> {
        let list = self.descriptors().find(|descriptor| descriptor.kind == 1);
        let mut rest = list
            .and_then(|list| {
                let (&length, commands) = list.data.split_first()?;
                Some(crate::bytes::cut(commands, length.into()))
            })
            .unwrap_or_default();
        core::iter::from_fn(move || {
            let (&[opcode, count], after) = rest.split_first_chunk()?;
            let (actions, after) = after.split_at_checked(count.into())?;
            rest = after;
            Some((opcode, actions))
        })
    }
}
