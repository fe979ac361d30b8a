//! MODE SENSE and MODE SELECT (SPC, SBC).

use iscsi_scsi::Bits;
use iscsi_scsi::mode::{
    BlockDescriptor, CachingPage, ControlPage, InformationalExceptionsPage, ModeData, ModePageCode,
    ModeParameters, ModeSelect6, ModeSelect10, ModeSense6, ModeSense10, PageControl, PageData,
};
use iscsi_scsi::sense::AdditionalSense;

use super::{Context, LogicalUnit, bad_field, bad_parameter, illegal};
use crate::conn::Ending;
use crate::nexus::Attention;

/// The parameters that can be changed. They last until LOGICAL UNIT RESET.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mode {
    pub(super) write_cache: bool,
    pub(super) software_write_protect: bool,
    pub(super) descriptor_sense: bool,
}

impl Mode {
    pub(super) const DEFAULT: Self =
        Self { write_cache: true, software_write_protect: false, descriptor_sense: false };

    /// A set bit for everything that MODE SELECT can change.
    const CHANGEABLE: Self =
        Self { write_cache: true, software_write_protect: true, descriptor_sense: true };

    fn caching(self) -> CachingPage {
        CachingPage { wce: self.write_cache, ..CachingPage::default() }
    }

    fn control(self, fixed: ControlPage) -> ControlPage {
        ControlPage { d_sense: self.descriptor_sense, swp: self.software_write_protect, ..fixed }
    }
}

/// What the control page says besides the parameters that can be changed: commands may be reordered without limit.
fn fixed_control() -> ControlPage {
    ControlPage { gltsd: true, queue_algorithm: Bits::from_bits(1), ..ControlPage::default() }
}

impl LogicalUnit<'_> {
    pub(super) fn mode_sense6(
        &self,
        command: &ModeSense6,
        out: &mut [u8],
    ) -> Result<usize, Ending> {
        let mut pages = [PageData::Caching(CachingPage::default()); 3];
        let pages = self.pages(command.control, command.page, command.subpage, &mut pages)?;
        Ok(self.mode_parameters(command.dbd).emit_sense6(pages, out))
    }

    pub(super) fn mode_sense10(
        &self,
        command: &ModeSense10,
        out: &mut [u8],
    ) -> Result<usize, Ending> {
        let mut pages = [PageData::Caching(CachingPage::default()); 3];
        let pages = self.pages(command.control, command.page, command.subpage, &mut pages)?;
        Ok(self.mode_parameters(command.dbd).emit_sense10(pages, out))
    }

    fn mode_parameters(&self, without_descriptor: bool) -> ModeParameters {
        let descriptor = BlockDescriptor { blocks: self.blocks, block_length: self.block_size };
        ModeParameters {
            medium_type: 0,
            write_protect: self.disk.is_read_only() || self.mode.software_write_protect,
            dpo_fua: true,
            block_descriptor: (!without_descriptor).then_some(descriptor),
        }
    }

    fn pages<'p>(
        &self,
        control: PageControl,
        code: ModePageCode,
        subpage: u8,
        pages: &'p mut [PageData<'static>; 3],
    ) -> Result<&'p [PageData<'static>], Ending> {
        let all_subpages = code == ModePageCode::ALL && subpage == 0xff;
        if subpage != 0 && !all_subpages {
            return Err(bad_field(3, 7));
        }
        let (mode, fixed) = match control {
            PageControl::CURRENT => (self.mode, fixed_control()),
            PageControl::CHANGEABLE => (Mode::CHANGEABLE, ControlPage::default()),
            PageControl::DEFAULT => (Mode::DEFAULT, fixed_control()),
            _ => return Err(illegal(AdditionalSense::SAVING_PARAMETERS_NOT_SUPPORTED)),
        };
        let caching = PageData::Caching(mode.caching());
        let control = PageData::Control(mode.control(fixed));
        let exceptions = PageData::InformationalExceptions(InformationalExceptionsPage::default());
        *pages = [caching, control, exceptions];
        let place = match code {
            ModePageCode::ALL => return Ok(pages),
            ModePageCode::CACHING => 0,
            ModePageCode::CONTROL => 1,
            ModePageCode::INFORMATIONAL_EXCEPTIONS => 2,
            _ => return Err(bad_field(2, 5)),
        };
        Ok(pages.get(place..=place).unwrap_or_default())
    }

    pub(super) fn mode_select6(
        &mut self,
        command: &ModeSelect6,
        data: &[u8],
        context: &mut Context<'_>,
    ) -> Result<(), Ending> {
        let list = ModeData::parse_list6(data)
            .map_err(|_| illegal(AdditionalSense::PARAMETER_LIST_LENGTH_ERROR))?;
        self.mode_select(command.pf, command.sp, &list, context)
    }

    pub(super) fn mode_select10(
        &mut self,
        command: &ModeSelect10,
        data: &[u8],
        context: &mut Context<'_>,
    ) -> Result<(), Ending> {
        let list = ModeData::parse_list10(data)
            .map_err(|_| illegal(AdditionalSense::PARAMETER_LIST_LENGTH_ERROR))?;
        self.mode_select(command.pf, command.sp, &list, context)
    }

    /// Changes all pages of the list, or none.
    fn mode_select(
        &mut self,
        page_format: bool,
        save: bool,
        list: &ModeData<'_>,
        context: &mut Context<'_>,
    ) -> Result<(), Ending> {
        if !page_format {
            return Err(bad_field(1, 4));
        }
        if save {
            return Err(bad_field(1, 0));
        }
        let same_size = |descriptor: BlockDescriptor| {
            descriptor.block_length == 0 || descriptor.block_length == self.block_size
        };
        if !list.block_descriptor.is_none_or(same_size) {
            return Err(bad_parameter(4));
        }
        let mut mode = self.mode;
        for page in list.pages() {
            match page.data() {
                PageData::Caching(caching) => {
                    mode.write_cache = caching.wce;
                    if caching != mode.caching() {
                        return Err(bad_parameter(0));
                    }
                }
                PageData::Control(control) => {
                    mode.descriptor_sense = control.d_sense;
                    mode.software_write_protect = control.swp;
                    if control != mode.control(fixed_control()) {
                        return Err(bad_parameter(0));
                    }
                }
                PageData::InformationalExceptions(page)
                    if page == InformationalExceptionsPage::default() => {}
                _ => return Err(bad_parameter(0)),
            }
        }
        if mode != self.mode {
            self.mode = mode;
            context.raise_for_others(Attention::ModeChanged);
        }
        Ok(())
    }
}
