//! The commands that tell what a device is: a state machine without I/O, for bring-up and for checks later on.

use iscsi_scsi::Cdb;
use iscsi_scsi::capacity::{
    ReadCapacity10, ReadCapacity10Data, ReadCapacity16, ReadCapacity16Data,
};
use iscsi_scsi::inquiry::{DeviceType, StandardInquiry};
use iscsi_scsi::mode::{ModeData, ModePageCode, ModeSense6, ModeSense10, PageData};
use iscsi_scsi::opcodes::{OneOpcode, ReportSupportedOpcodes, ReportingOptions};
use iscsi_scsi::primary::{Inquiry, TestUnitReady};
use iscsi_scsi::provisioning::WriteSame16;
use iscsi_scsi::vpd::{
    BlockCharacteristics, BlockLimits, DeviceIdentification, LogicalBlockProvisioning, PageCode,
    SupportedPages, UnitSerialNumber, VpdPage,
};

use crate::error::DiskError;
use crate::geometry::{Geometry, Mode, WriteSameSupport};
use crate::identity::Identity;

/// Room for one answer.
pub(crate) const ANSWER: usize = 512;

/// Allocation length of a first request. Old devices look at the low byte only.
const FIRST: u16 = 252;

/// The pages that are read, in this order.
const PAGES: [PageCode; 5] = [
    PageCode::UNIT_SERIAL_NUMBER,
    PageCode::DEVICE_IDENTIFICATION,
    PageCode::BLOCK_LIMITS,
    PageCode::BLOCK_CHARACTERISTICS,
    PageCode::LOGICAL_BLOCK_PROVISIONING,
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Inquiry,
    TestUnitReady,
    Capacity16,
    Capacity10,
    SupportedPages,
    /// An index into [`PAGES`], and the allocation length.
    Page(u8, u16),
    WriteSameSupport,
    /// MODE SENSE(6) for the caching page.
    Caching,
    /// MODE SENSE(6), then (10), for all pages: for devices without a caching page.
    AllModes6,
    AllModes10,
}

/// What follows an answer.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Progress {
    /// Send the next command.
    Next,
    /// All is known: [`Probe::result`].
    Done,
    Failed(DiskError),
}

/// The state of one run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Probe {
    step: Step,
    /// A bit for each of [`PAGES`] that the device has.
    pages: u8,
    identity: Option<Identity>,
    read_only_type: bool,
    geometry: Option<Geometry>,
}

impl Probe {
    pub(crate) const fn new() -> Self {
        Self {
            step: Step::Inquiry,
            pages: 0,
            identity: None,
            read_only_type: false,
            geometry: None,
        }
    }

    /// The command to send next.
    pub(crate) fn command(&self) -> Cdb {
        match self.step {
            Step::Inquiry => Inquiry { page: None, allocation_length: 96 }.cdb(),
            Step::TestUnitReady => TestUnitReady.cdb(),
            Step::Capacity16 => ReadCapacity16::default().cdb(),
            Step::Capacity10 => ReadCapacity10.cdb(),
            Step::SupportedPages => {
                Inquiry { page: Some(PageCode::SUPPORTED_PAGES), allocation_length: FIRST }.cdb()
            }
            Step::Page(index, allocation_length) => {
                Inquiry { page: PAGES.get(usize::from(index)).copied(), allocation_length }.cdb()
            }
            Step::WriteSameSupport => ReportSupportedOpcodes {
                options: ReportingOptions::Opcode(WriteSame16::OPCODE),
                timeouts: false,
                allocation_length: 64,
            }
            .cdb(),
            Step::Caching => Self::mode_sense_6(ModePageCode::CACHING),
            Step::AllModes6 => Self::mode_sense_6(ModePageCode::ALL),
            Step::AllModes10 => {
                let page = ModePageCode::ALL;
                ModeSense10 { page, allocation_length: ANSWER as u16, ..Default::default() }.cdb()
            }
        }
    }

    fn mode_sense_6(page: ModePageCode) -> Cdb {
        ModeSense6 { page, allocation_length: FIRST as u8, ..Default::default() }.cdb()
    }

    /// Whether a change of the device that was noticed now makes what was read so far worthless.
    pub(crate) const fn has_read(&self) -> bool {
        !matches!(self.step, Step::Inquiry | Step::TestUnitReady)
    }

    /// The device answered the command: with data, or with an error that sending it again does not heal.
    pub(crate) fn answered(&mut self, answer: Result<&[u8], DiskError>) -> Progress {
        let answer = match answer {
            Ok(data) => Some(data),
            // A command or page that the device does not have.
            Err(error) if error.opcode_refused() && self.is_optional() => None,
            Err(error) => return Progress::Failed(error),
        };
        match self.take(answer) {
            Ok(Some(step)) => {
                self.step = step;
                Progress::Next
            }
            Ok(None) => Progress::Done,
            Err(error) => Progress::Failed(error),
        }
    }

    /// What was learned, once all is known.
    pub(crate) fn result(&self) -> Option<(&Identity, &Geometry)> {
        self.identity.as_ref().zip(self.geometry.as_ref())
    }

    const fn is_optional(&self) -> bool {
        !matches!(self.step, Step::Inquiry | Step::TestUnitReady | Step::Capacity10)
    }

    fn bad_answer(&self) -> DiskError {
        DiskError::BadAnswer(self.command().opcode())
    }

    /// Takes the data of an answer (`None`: the device refused the command) and returns the next step.
    fn take(&mut self, answer: Option<&[u8]>) -> Result<Option<Step>, DiskError> {
        let data = answer.unwrap_or_default();
        Ok(Some(match self.step {
            Step::Inquiry => {
                self.inquiry(data)?;
                Step::TestUnitReady
            }
            Step::TestUnitReady => Step::Capacity16,
            Step::Capacity16 if answer.is_none() => Step::Capacity10,
            Step::Capacity16 => {
                let capacity = ReadCapacity16Data::parse(data)
                    .ok()
                    .and_then(|c| Geometry::from_capacity_16(&c));
                self.set_geometry(capacity)?;
                Step::SupportedPages
            }
            Step::Capacity10 => {
                let capacity = ReadCapacity10Data::parse(data)
                    .ok()
                    .and_then(|c| Geometry::from_capacity_10(c.block_length, c.blocks()?));
                self.set_geometry(capacity)?;
                Step::SupportedPages
            }
            Step::SupportedPages => {
                self.supported_pages(data);
                self.page_after(0)
            }
            Step::Page(index, allocated) => {
                let full = VpdPage::full_size(data).unwrap_or(0).min(ANSWER) as u16;
                if index == 1 && full > allocated {
                    Step::Page(index, full)
                } else {
                    self.page(index, data);
                    self.page_after(index + 1)
                }
            }
            Step::WriteSameSupport => {
                self.write_same_support(data);
                Step::Caching
            }
            Step::Caching if answer.is_none() => Step::AllModes6,
            Step::AllModes6 if answer.is_none() => Step::AllModes10,
            Step::Caching | Step::AllModes6 => {
                self.mode(ModeData::parse6(data).ok());
                return Ok(None);
            }
            Step::AllModes10 => {
                self.mode(ModeData::parse10(data).ok());
                return Ok(None);
            }
        }))
    }

    fn inquiry(&mut self, data: &[u8]) -> Result<(), DiskError> {
        let inquiry = StandardInquiry::parse(data).map_err(|_| self.bad_answer())?;
        if !inquiry.peripheral.is_present() {
            return Err(DiskError::NoLogicalUnit);
        }
        match inquiry.peripheral.device_type {
            DeviceType::CD_DVD => self.read_only_type = true,
            DeviceType::DISK
            | DeviceType::WRITE_ONCE
            | DeviceType::OPTICAL_MEMORY
            | DeviceType::SIMPLIFIED_DIRECT_ACCESS
            | DeviceType::HOST_MANAGED_ZONED => {}
            other => return Err(DiskError::NotADisk(other.code())),
        }
        self.identity = Some(Identity::new(&inquiry));
        Ok(())
    }

    fn set_geometry(&mut self, geometry: Option<Geometry>) -> Result<(), DiskError> {
        let mut geometry = geometry.ok_or_else(|| self.bad_answer())?;
        geometry.read_only_type = self.read_only_type;
        self.geometry = Some(geometry);
        Ok(())
    }

    fn supported_pages(&mut self, data: &[u8]) {
        let Ok(list) = SupportedPages::parse(data) else { return };
        for (index, &page) in PAGES.iter().enumerate() {
            if list.contains(page) {
                self.pages |= 1 << index;
            }
        }
    }

    /// The next page that the device has, from this index on; then the commands after the pages.
    fn page_after(&self, from: u8) -> Step {
        let next = (from..PAGES.len() as u8).find(|&index| self.pages & 1 << index != 0);
        match (next, &self.geometry) {
            (Some(index), _) => Step::Page(index, FIRST),
            (None, Some(geometry))
                if geometry.long_commands()
                    && (geometry.unmaps_by_write_same() || geometry.max_write_same().is_some()) =>
            {
                Step::WriteSameSupport
            }
            (None, _) => Step::Caching,
        }
    }

    /// Takes a page; one that cannot be read is as good as none.
    fn page(&mut self, index: u8, data: &[u8]) {
        let (Some(identity), Some(geometry)) = (&mut self.identity, &mut self.geometry) else {
            return;
        };
        match PAGES.get(usize::from(index)).copied() {
            Some(PageCode::UNIT_SERIAL_NUMBER) => {
                if let Ok(page) = UnitSerialNumber::parse(data) {
                    identity.set_serial(page);
                }
            }
            Some(PageCode::DEVICE_IDENTIFICATION) => {
                if let Ok(page) = DeviceIdentification::parse(data) {
                    identity.set_designators(page);
                }
            }
            Some(PageCode::BLOCK_LIMITS) => geometry.limits = BlockLimits::parse(data).ok(),
            Some(PageCode::BLOCK_CHARACTERISTICS) => {
                geometry.rotation_rate =
                    BlockCharacteristics::parse(data).map_or(0, |page| page.rotation_rate);
            }
            Some(PageCode::LOGICAL_BLOCK_PROVISIONING) => {
                if let Ok(page) = LogicalBlockProvisioning::parse(data) {
                    geometry.set_provisioning(&page);
                }
            }
            _ => {}
        }
    }

    fn write_same_support(&mut self, data: &[u8]) {
        let (Ok(report), Some(geometry)) = (OneOpcode::parse(data), &mut self.geometry) else {
            return;
        };
        // "Not available now" tells nothing.
        if report.support.code() == 0 {
            return;
        }
        let flags = report.usage.get(1).copied().unwrap_or(0);
        geometry.write_same = Some(WriteSameSupport {
            supported: report.support.is_supported(),
            unmap: flags & 0x08 != 0,
            no_data: flags & 0x01 != 0,
        });
    }

    fn mode(&mut self, data: Option<ModeData<'_>>) {
        let (Some(data), Some(geometry)) = (data, &mut self.geometry) else { return };
        let write_cache = match data.page(ModePageCode::CACHING).map(|page| page.data()) {
            Some(PageData::Caching(page)) => Some(page.wce),
            _ => None,
        };
        geometry.mode = Some(Mode {
            write_protect: data.write_protect(),
            dpo_fua: data.dpo_fua(),
            write_cache,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    #[test]
    fn the_first_commands() {
        let mut probe = Probe::new();
        assert_eq!(probe.command().as_bytes(), [0x12, 0, 0, 0, 96, 0]);
        assert!(matches!(probe.answered(Ok(&[0, 0, 6, 2, 0])), Progress::Next));
        assert_eq!(probe.command().as_bytes(), [0; 6]);
        assert!(!probe.has_read());
        assert!(matches!(probe.answered(Ok(&[])), Progress::Next));
        assert_eq!(probe.command().as_bytes()[..2], [0x9e, 0x10]);
        assert!(probe.has_read());
    }

    proptest! {
        /// Whatever a device answers, a run ends, and its commands ask for no more than there is room for.
        #[test]
        fn any_answers_come_to_an_end(
            answers in proptest::collection::vec(
                proptest::option::of(proptest::collection::vec(any::<u8>(), 0..ANSWER)), 40,
            ),
            disk: bool,
        ) {
            let mut probe = Probe::new();
            let refused = iscsi_scsi::Sense::new(
                iscsi_scsi::sense::SenseKey::ILLEGAL_REQUEST,
                iscsi_scsi::sense::AdditionalSense::INVALID_FIELD_IN_CDB,
            );
            let refused =
                crate::ScsiError::new(iscsi_scsi::Status::CHECK_CONDITION, Some(&refused));
            for mut answer in answers {
                let cdb = probe.command();
                prop_assert!(cdb.expected_bytes(0) <= ANSWER as u64);
                if let Some(bytes) = answer.as_mut().filter(|_| disk) {
                    // Get past the first checks.
                    match probe.step {
                        Step::Inquiry => *bytes = Vec::from([0, 0, 6, 2, 31]),
                        Step::Capacity16 => *bytes = Vec::from([0, 0, 0, 0, 0, 9, 9, 9, 0, 0, 2, 0]),
                        Step::Page(..) | Step::SupportedPages if bytes.len() > 4 => bytes[0] = 0,
                        _ => {}
                    }
                    if let (Step::Page(index, _), [_, code, ..]) = (probe.step, &mut bytes[..]) {
                        *code = PAGES[usize::from(index)].code();
                    }
                    if let (Step::SupportedPages, true) = (probe.step, bytes.len() >= 9) {
                        bytes[..9].copy_from_slice(&[0, 0, 0, 5, 0x80, 0x83, 0xb0, 0xb1, 0xb2]);
                    }
                }
                let answer = answer.as_deref().ok_or(DiskError::Scsi(refused));
                match probe.answered(answer) {
                    Progress::Next => {}
                    Progress::Done => {
                        prop_assert!(probe.result().is_some());
                        return Ok(());
                    }
                    Progress::Failed(_) => return Ok(()),
                }
            }
            prop_assert!(false, "no end: {probe:?}");
        }
    }
}
