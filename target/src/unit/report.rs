//! What a unit tells about itself besides INQUIRY: capacity, provisioning, commands, ports (SPC, SBC).

use iscsi_scsi::alua::{AccessState, ReportTargetPortGroups, TargetPortGroup, TargetPortGroups};
use iscsi_scsi::capacity::{ReadCapacity10Data, ReadCapacity16Data};
use iscsi_scsi::opcodes::{
    CommandTimeouts, OneOpcode, ReportSupportedOpcodes, ReportSupportedTmfs, ReportingOptions,
    Support, SupportedOpcode, SupportedOpcodes, SupportedTmfs,
};
use iscsi_scsi::primary::RequestSense;
use iscsi_scsi::provisioning::{
    GetLbaStatus, LbaStatusData, LbaStatusDescriptor, ProvisioningStatus,
};
use iscsi_scsi::report_luns::{ReportLuns, ReportLunsData, SelectReport};
use iscsi_scsi::sense::{AdditionalSense, SenseKey};
use iscsi_scsi::{Lun, Sense, cdb_length};

use super::{Context, LogicalUnit, bad_field, illegal};
use crate::conn::Ending;

/// The most descriptors of one GET LBA STATUS.
const MAX_EXTENTS: usize = 32;

/// The LUNs of a target. Returns how many bytes the command transfers.
pub(crate) fn report_luns(
    command: &ReportLuns,
    units: &[LogicalUnit<'_>],
    out: &mut [u8],
) -> Result<usize, Ending> {
    let all = match command.select {
        SelectReport::ADDRESSED | SelectReport::ALL => units,
        SelectReport::WELL_KNOWN
        | SelectReport::ADMINISTRATIVE
        | SelectReport::TOP_LEVEL
        | SelectReport::SAME_CONGLOMERATE => &[],
        _ => return Err(bad_field(2, 7)),
    };
    let luns = all.iter().filter_map(|unit| Lun::new(unit.number));
    let len = ReportLunsData::emit(luns, out).min(out.len());
    Ok(len.min(command.allocation_length as usize))
}

/// The answer to REQUEST SENSE of a LUN behind which there is no unit.
pub(crate) fn absent_sense(command: &RequestSense, out: &mut [u8]) -> usize {
    let additional = AdditionalSense::LOGICAL_UNIT_NOT_SUPPORTED;
    let len = emit_sense(&Sense::new(SenseKey::ILLEGAL_REQUEST, additional), command, out);
    len.min(out.len()).min(command.allocation_length.into())
}

fn emit_sense(sense: &Sense, command: &RequestSense, out: &mut [u8]) -> usize {
    if command.descriptor { sense.emit_descriptor(out) } else { sense.emit_fixed(out) }
}

/// All task management functions but CLEAR ACA and WAKEUP.
pub(super) fn supported_tmfs(command: &ReportSupportedTmfs, out: &mut [u8]) -> usize {
    let functions = SupportedTmfs {
        abort_task: true,
        abort_task_set: true,
        clear_task_set: true,
        logical_unit_reset: true,
        query_task: true,
        target_reset: true,
        query_async_event: true,
        query_task_set: true,
        nexus_reset: true,
        ..SupportedTmfs::default()
    };
    let len = functions.emit(out);
    match out.get_mut(3).filter(|_| command.extended) {
        // REPD: the extended form has 12 more bytes of timeouts, all "not specified".
        Some(additional) => {
            *additional = 12;
            if let Some(timeouts) = out.get_mut(4..16) {
                timeouts.fill(0);
            }
            16
        }
        None => len,
    }
}

/// One group with one port, always active.
pub(super) fn target_port_groups(
    command: &ReportTargetPortGroups,
    context: &Context<'_>,
    out: &mut [u8],
) -> Result<usize, Ending> {
    if command.extended {
        return Err(bad_field(1, 7));
    }
    let group = TargetPortGroup {
        preferred: false,
        state: AccessState::ACTIVE_OPTIMIZED,
        // Active/optimized is the only state.
        supported_states: 0x01,
        id: context.target_portal_group_tag,
        status_code: 0,
        ports: &[0, 0, 0, 1],
    };
    Ok(TargetPortGroups::emit([group], out))
}

impl LogicalUnit<'_> {
    fn capacity(&self) -> ReadCapacity16Data {
        let thin = self.disk.is_thin();
        ReadCapacity16Data {
            last_lba: self.blocks.saturating_sub(1),
            block_length: self.block_size,
            lbpme: thin,
            lbprz: thin,
            ..ReadCapacity16Data::default()
        }
    }

    pub(super) fn read_capacity10(&self, out: &mut [u8]) -> usize {
        ReadCapacity10Data::from(self.capacity()).emit(out)
    }

    pub(super) fn read_capacity16(&self, out: &mut [u8]) -> usize {
        self.capacity().emit(out)
    }

    pub(super) fn lba_status(
        &mut self,
        command: &GetLbaStatus,
        out: &mut [u8],
    ) -> Result<usize, Ending> {
        if command.lba >= self.blocks {
            return Err(illegal(AdditionalSense::LBA_OUT_OF_RANGE));
        }
        let size = u64::from(self.block_size);
        let thin = self.disk.is_thin();
        let mut extents = heapless::Vec::<LbaStatusDescriptor, MAX_EXTENTS>::new();
        let mut lba = command.lba;
        let wanted = (command.allocation_length as usize).saturating_sub(8) / 16;
        while lba < self.blocks && !extents.is_full() && extents.len() < wanted {
            let left = self.blocks - lba;
            let (blocks, mapped) = if thin {
                let extent = self.disk.extent(lba * size);
                ((extent.len / size).clamp(1, left), extent.mapped)
            } else {
                (left, true)
            };
            let status = match (thin, mapped) {
                (false, _) => ProvisioningStatus::MAPPED_OR_UNKNOWN,
                (true, true) => ProvisioningStatus::MAPPED_OR_UNKNOWN,
                (true, false) => ProvisioningStatus::DEALLOCATED,
            };
            let blocks = u32::try_from(blocks).unwrap_or(u32::MAX);
            let descriptor = LbaStatusDescriptor { lba, blocks, status, accessibility: 0 };
            // There is room: it was checked above.
            let _ = extents.push(descriptor);
            lba += u64::from(blocks);
        }
        Ok(LbaStatusData::emit(extents, out))
    }

    /// Reports, and so clears, a pending attention; without one, no sense.
    pub(super) fn request_sense(
        &self,
        command: &RequestSense,
        context: &mut Context<'_>,
        out: &mut [u8],
    ) -> usize {
        let attention = context
            .nexuses
            .get_mut(usize::from(context.nexus.index))
            .and_then(|nexus| nexus.attentions.get_mut(context.unit)?.take());
        let sense = match attention {
            Some(attention) => Sense::new(SenseKey::UNIT_ATTENTION, attention.additional_sense()),
            None => Sense::new(SenseKey::NO_SENSE, AdditionalSense::NONE),
        };
        emit_sense(&sense, command, out)
    }

    pub(super) fn supported_opcodes(
        &self,
        command: &ReportSupportedOpcodes,
        out: &mut [u8],
    ) -> Result<usize, Ending> {
        let timeouts = command.timeouts.then(CommandTimeouts::default);
        let (opcode, action) = match command.options {
            ReportingOptions::All => {
                let commands = self.opcodes().map(|known| SupportedOpcode {
                    opcode: known.opcode,
                    service_action: known.action.map(u16::from),
                    cdb_length: cdb_length(known.opcode).unwrap_or(0) as u16,
                    timeouts,
                });
                return Ok(SupportedOpcodes::emit(commands, out));
            }
            ReportingOptions::Opcode(opcode) => {
                if self.opcodes().any(|known| known.opcode == opcode && known.action.is_some()) {
                    return Err(bad_field(2, 2));
                }
                (opcode, None)
            }
            ReportingOptions::ServiceAction(opcode, action) => {
                if self.opcodes().any(|known| known.opcode == opcode && known.action.is_none()) {
                    return Err(bad_field(2, 2));
                }
                (opcode, Some(action))
            }
            ReportingOptions::Either(opcode, action) => {
                let actions =
                    self.opcodes().any(|known| known.opcode == opcode && known.action.is_some());
                (opcode, actions.then_some(action))
            }
        };
        let known = self
            .opcodes()
            .find(|known| known.opcode == opcode && known.action.map(u16::from) == action);
        let Some(known) = known else {
            let none = OneOpcode { support: Support::NOT_SUPPORTED, usage: &[], timeouts: None };
            return Ok(none.emit(out));
        };
        let mut usage = [0; 16];
        let length = known.usage(&mut usage);
        let usage = usage.get(..length).unwrap_or_default();
        Ok(OneOpcode { support: Support::STANDARD, usage, timeouts }.emit(out))
    }

    fn opcodes(&self) -> impl Iterator<Item = &'static Known> {
        let thin = self.disk.is_thin();
        KNOWN.iter().filter(move |known| thin || known.opcode != UNMAP)
    }
}

const UNMAP: u8 = 0x42;

/// A command that every unit serves, and which bits of its CDB it looks at.
struct Known {
    opcode: u8,
    action: Option<u8>,
    /// Bytes from 1 on; the last one repeats to the end of the CDB but for the control byte.
    bits: &'static [u8],
}

impl Known {
    /// The CDB usage bitmap.
    fn usage(&self, out: &mut [u8; 16]) -> usize {
        let length = cdb_length(self.opcode).unwrap_or(6).min(out.len());
        let bits = [self.opcode].into_iter().chain(self.bits.iter().copied());
        for (place, bits) in out.iter_mut().zip(bits) {
            *place = bits;
        }
        if let (Some(place), Some(action)) = (out.get_mut(1), self.action) {
            *place |= action;
        }
        length
    }
}

const fn known(opcode: u8, bits: &'static [u8]) -> Known {
    Known { opcode, action: None, bits }
}

const fn known_action(opcode: u8, action: u8, bits: &'static [u8]) -> Known {
    Known { opcode, action: Some(action), bits }
}

const FF: u8 = 0xff;

#[rustfmt::skip]
static KNOWN: &[Known] = &[
    known(0x00, &[]),                                                        // TEST UNIT READY
    known(0x03, &[1, 0, 0, FF]),                                             // REQUEST SENSE
    known(0x08, &[0x1f, FF, FF, FF]),                                        // READ(6)
    known(0x0a, &[0x1f, FF, FF, FF]),                                        // WRITE(6)
    known(0x12, &[1, FF, FF, FF]),                                           // INQUIRY
    known(0x15, &[0x11, 0, 0, FF]),                                          // MODE SELECT(6)
    known(0x16, &[]),                                                        // RESERVE(6)
    known(0x17, &[]),                                                        // RELEASE(6)
    known(0x1a, &[8, FF, FF, FF]),                                           // MODE SENSE(6)
    known(0x1b, &[1, 0, 0, 0xf7]),                                           // START STOP UNIT
    known(0x1e, &[0, 0, 0, 3]),                                              // PREVENT ALLOW
    known(0x25, &[]),                                                        // READ CAPACITY(10)
    known(0x28, &[0xf8, FF, FF, FF, FF, 0x3f, FF, FF]),                      // READ(10)
    known(0x2a, &[0xf8, FF, FF, FF, FF, 0x3f, FF, FF]),                      // WRITE(10)
    known(0x2e, &[0xf6, FF, FF, FF, FF, 0x3f, FF, FF]),                      // WRITE AND VERIFY(10)
    known(0x2f, &[0xf6, FF, FF, FF, FF, 0x3f, FF, FF]),                      // VERIFY(10)
    known(0x34, &[2, FF, FF, FF, FF, 0x3f, FF, FF]),                         // PRE-FETCH(10)
    known(0x35, &[2, FF, FF, FF, FF, 0x3f, FF, FF]),                         // SYNCHRONIZE CACHE(10)
    known(0x41, &[0xf8, FF, FF, FF, FF, 0x3f, FF, FF]),                      // WRITE SAME(10)
    known(UNMAP, &[1, 0, 0, 0, 0, 0x3f, FF, FF]),                            // UNMAP
    known(0x55, &[0x11, 0, 0, 0, 0, 0, FF, FF]),                             // MODE SELECT(10)
    known(0x56, &[]),                                                        // RESERVE(10)
    known(0x57, &[]),                                                        // RELEASE(10)
    known(0x5a, &[0x18, FF, FF, 0, 0, 0, FF, FF]),                           // MODE SENSE(10)
    known_action(0x5e, 0, &[0, 0, 0, 0, 0, 0, FF, FF]),                   // PERSISTENT RESERVE IN
    known_action(0x5e, 1, &[0, 0, 0, 0, 0, 0, FF, FF]),
    known_action(0x5e, 2, &[0, 0, 0, 0, 0, 0, FF, FF]),
    known_action(0x5e, 3, &[0, 0, 0, 0, 0, 0, FF, FF]),
    known_action(0x5f, 0, &[0, FF, 0, 0, FF, FF, FF, FF]),                // PERSISTENT RESERVE OUT
    known_action(0x5f, 1, &[0, FF, 0, 0, FF, FF, FF, FF]),
    known_action(0x5f, 2, &[0, FF, 0, 0, FF, FF, FF, FF]),
    known_action(0x5f, 3, &[0, FF, 0, 0, FF, FF, FF, FF]),
    known_action(0x5f, 4, &[0, FF, 0, 0, FF, FF, FF, FF]),
    known_action(0x5f, 5, &[0, FF, 0, 0, FF, FF, FF, FF]),
    known_action(0x5f, 6, &[0, FF, 0, 0, FF, FF, FF, FF]),
    known(0x88, &[0xf8, FF, FF, FF, FF, FF, FF, FF, FF, FF, FF, FF, FF, 0x3f]), // READ(16)
    known(0x89, &[0xf8, FF, FF, FF, FF, FF, FF, FF, FF, 0, 0, 0, FF, 0x3f]),    // COMPARE AND WRITE
    known(0x8a, &[0xf8, FF, FF, FF, FF, FF, FF, FF, FF, FF, FF, FF, FF, 0x3f]), // WRITE(16)
    known(0x8e, &[0xf6, FF, FF, FF, FF, FF, FF, FF, FF, FF, FF, FF, FF, 0x3f]), // WRITE AND VERIFY(16)
    known(0x8f, &[0xf6, FF, FF, FF, FF, FF, FF, FF, FF, FF, FF, FF, FF, 0x3f]), // VERIFY(16)
    known(0x90, &[2, FF, FF, FF, FF, FF, FF, FF, FF, FF, FF, FF, FF, 0x3f]),    // PRE-FETCH(16)
    known(0x91, &[2, FF, FF, FF, FF, FF, FF, FF, FF, FF, FF, FF, FF, 0x3f]),    // SYNCHRONIZE CACHE(16)
    known(0x93, &[0xf9, FF, FF, FF, FF, FF, FF, FF, FF, FF, FF, FF, FF, 0x3f]), // WRITE SAME(16)
    known_action(0x9e, 0x10, &[0, 0, 0, 0, 0, 0, 0, 0, 0, FF, FF, FF, FF]),  // READ CAPACITY(16)
    known_action(0x9e, 0x12, &[0, FF, FF, FF, FF, FF, FF, FF, FF, FF, FF, FF, FF]), // GET LBA STATUS
    known(0xa0, &[0, FF, 0, 0, 0, FF, FF, FF, FF]),                          // REPORT LUNS
    known_action(0xa3, 0x0a, &[0xe0, 0, 0, 0, 0, FF, FF, FF, FF]),           // REPORT TARGET PORT GROUPS
    known_action(0xa3, 0x0c, &[0, 0x87, FF, FF, FF, FF, FF, FF, FF]),     // REPORT SUPPORTED OPERATION CODES
    known_action(0xa3, 0x0d, &[0, 0x80, 0, 0, 0, FF, FF, FF, FF]),        // REPORT SUPPORTED TMFS
    known(0xa8, &[0xf8, FF, FF, FF, FF, FF, FF, FF, FF, 0x3f]),              // READ(12)
    known(0xaa, &[0xf8, FF, FF, FF, FF, FF, FF, FF, FF, 0x3f]),              // WRITE(12)
    known(0xae, &[0xf6, FF, FF, FF, FF, FF, FF, FF, FF, 0x3f]),              // WRITE AND VERIFY(12)
    known(0xaf, &[0xf6, FF, FF, FF, FF, FF, FF, FF, FF, 0x3f]),              // VERIFY(12)
];
