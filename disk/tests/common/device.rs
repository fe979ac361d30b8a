//! A small SCSI disk in memory with knobs.

use iscsi_core::wire::{Residual, ScsiStatus};
use iscsi_disk::scsi::capacity::{ReadCapacity10Data, ReadCapacity16Data};
use iscsi_disk::scsi::inquiry::{DeviceType, Peripheral, StandardInquiry};
use iscsi_disk::scsi::mode::{CachingPage, ModePageCode, ModeParameters, PageData};
use iscsi_disk::scsi::opcodes::{OneOpcode, Support};
use iscsi_disk::scsi::provisioning::UnmapList;
use iscsi_disk::scsi::sense::{AdditionalSense, Sense, SenseKey};
use iscsi_disk::scsi::vpd::{
    BlockCharacteristics, BlockLimits, Designator, DesignatorType, DeviceIdentification,
    LogicalBlockProvisioning, PageCode, SupportedPages, UnitSerialNumber,
};
use iscsi_disk::scsi::{ByteCheck, Command};

/// The answer to a command.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    pub(crate) status: ScsiStatus,
    pub(crate) sense: Vec<u8>,
    pub(crate) data_in: Vec<u8>,
    /// Overrides the residual that follows from the data.
    pub(crate) residual: Option<Residual>,
}

impl Reply {
    pub(crate) fn good() -> Self {
        Self::data(Vec::new())
    }

    pub(crate) fn data(data_in: Vec<u8>) -> Self {
        Self { status: ScsiStatus::Good, sense: Vec::new(), data_in, residual: None }
    }

    pub(crate) fn status(status: ScsiStatus) -> Self {
        Self { status, ..Self::good() }
    }

    pub(crate) fn sense(key: SenseKey, additional: AdditionalSense) -> Self {
        Self::check(&Sense::new(key, additional))
    }

    pub(crate) fn check(sense: &Sense) -> Self {
        let mut bytes = [0; 64];
        let len = sense.emit_descriptor(&mut bytes);
        Self { sense: bytes[..len].to_vec(), ..Self::status(ScsiStatus::CheckCondition) }
    }

    pub(crate) fn unit_attention(additional: AdditionalSense) -> Self {
        Self::sense(SenseKey::UNIT_ATTENTION, additional)
    }

    pub(crate) fn invalid_opcode() -> Self {
        Self::sense(SenseKey::ILLEGAL_REQUEST, AdditionalSense::INVALID_OPERATION_CODE)
    }

    pub(crate) fn invalid_field() -> Self {
        Self::sense(SenseKey::ILLEGAL_REQUEST, AdditionalSense::INVALID_FIELD_IN_CDB)
    }
}

/// Looks at every command first; `Some` is its answer.
pub(crate) type Hook = Box<dyn FnMut(&[u8], &mut Device) -> Option<Reply>>;

/// The disk.
pub(crate) struct Device {
    pub(crate) block_size: u32,
    pub(crate) data: Vec<u8>,
    pub(crate) device_type: DeviceType,
    pub(crate) serial: Vec<u8>,
    pub(crate) naa: [u8; 8],
    pub(crate) capacity16: Option<ReadCapacity16Data>,
    pub(crate) pages: bool,
    pub(crate) limits: Option<BlockLimits>,
    pub(crate) rotation_rate: u16,
    pub(crate) provisioning: Option<LogicalBlockProvisioning<'static>>,
    /// Usage data of WRITE SAME(16) for REPORT SUPPORTED OPERATION CODES.
    pub(crate) write_same_usage: Option<Vec<u8>>,
    pub(crate) mode: Option<ModeParameters>,
    pub(crate) caching: Option<CachingPage>,
    pub(crate) hook: Option<Hook>,
    /// The CDBs of all commands, in the order of execution.
    pub(crate) log: Vec<Vec<u8>>,
}

impl Device {
    /// A disk with all the pages, filled with a pattern.
    pub(crate) fn new(block_size: u32, blocks: u64) -> Self {
        let len = usize::try_from(blocks * u64::from(block_size)).unwrap();
        Self {
            block_size,
            data: (0..len).map(|i| (i * 31 + i / 256) as u8).collect(),
            device_type: DeviceType::DISK,
            serial: b"  SER42 ".to_vec(),
            naa: [0x50, 1, 2, 3, 4, 5, 6, 7],
            capacity16: Some(ReadCapacity16Data {
                last_lba: blocks - 1,
                block_length: block_size,
                ..Default::default()
            }),
            pages: true,
            limits: Some(BlockLimits {
                max_compare_and_write_length: 4,
                max_unmap_lba_count: 1 << 20,
                max_unmap_descriptor_count: 1,
                max_write_same_length: 1 << 20,
                ..Default::default()
            }),
            rotation_rate: 1,
            provisioning: Some(LogicalBlockProvisioning {
                lbpu: true,
                lbpws: true,
                lbprz: 1,
                ..Default::default()
            }),
            write_same_usage: None,
            mode: Some(ModeParameters { dpo_fua: true, ..Default::default() }),
            caching: Some(CachingPage { wce: true, ..Default::default() }),
            hook: None,
            log: Vec::new(),
        }
    }

    pub(crate) fn blocks(&self) -> u64 {
        self.data.len() as u64 / u64::from(self.block_size)
    }

    /// How many commands with this operation code were executed.
    pub(crate) fn count(&self, opcode: u8) -> usize {
        self.log.iter().filter(|cdb| cdb[0] == opcode).count()
    }

    pub(crate) fn execute(&mut self, cdb: &[u8], out: &[u8]) -> Reply {
        self.log.push(cdb.to_vec());
        if let Some(mut hook) = self.hook.take() {
            let reply = hook(cdb, self);
            self.hook = Some(hook);
            if let Some(reply) = reply {
                return reply;
            }
        }
        match Command::parse(cdb) {
            Ok(command) => self.command(&command, out),
            Err(error) => Reply::check(&error.sense()),
        }
    }

    fn command(&mut self, command: &Command, out: &[u8]) -> Reply {
        match *command {
            Command::TestUnitReady(_) => Reply::good(),
            Command::Inquiry(c) => self.inquiry(c.page, c.allocation_length),
            Command::ReadCapacity16(_) => match self.capacity16 {
                Some(capacity) => emitted(|out| capacity.emit(out), 32),
                None => Reply::invalid_opcode(),
            },
            Command::ReadCapacity10(_) => {
                let last = u32::try_from(self.blocks() - 1).unwrap();
                let data = ReadCapacity10Data { last_lba: last, block_length: self.block_size };
                emitted(|out| data.emit(out), 8)
            }
            Command::ModeSense6(c) => match (self.mode, c.page) {
                (Some(mode), ModePageCode::CACHING | ModePageCode::ALL)
                    if c.page == ModePageCode::ALL || self.caching.is_some() =>
                {
                    let pages: Vec<_> = self.caching.map(PageData::Caching).into_iter().collect();
                    emitted(|out| mode.emit_sense6(&pages, out), c.allocation_length.into())
                }
                _ => Reply::invalid_field(),
            },
            Command::ReportSupportedOpcodes(c) => match &self.write_same_usage {
                Some(usage) => {
                    let support =
                        if usage.is_empty() { Support::NOT_SUPPORTED } else { Support::STANDARD };
                    let one = OneOpcode { support, usage, timeouts: None };
                    emitted(|out| one.emit(out), c.allocation_length as usize)
                }
                None => Reply::invalid_opcode(),
            },
            Command::Read10(c) => self.read(c.lba.into(), c.blocks.into()),
            Command::Read16(c) => self.read(c.lba, c.blocks.into()),
            Command::Write10(c) => self.write(c.lba.into(), c.blocks.into(), out),
            Command::Write16(c) => self.write(c.lba, c.blocks.into(), out),
            Command::Verify10(c) => self.verify(c.lba.into(), c.blocks.into(), c.check, out),
            Command::CompareAndWrite(c) => {
                let half = out.len() / 2;
                match self.range(c.lba, c.blocks.into()) {
                    None => out_of_range(),
                    Some(range) if self.data[range.clone()] == out[..half] => {
                        self.data[range].copy_from_slice(&out[half..]);
                        Reply::good()
                    }
                    Some(_) => miscompare(),
                }
            }
            Command::SynchronizeCache10(_) => Reply::good(),
            Command::Unmap(_) => {
                let ranges: Vec<_> = UnmapList::parse(out).unwrap().ranges().collect();
                for range in ranges {
                    if self.zero(range.lba, range.blocks.into()).is_none() {
                        return out_of_range();
                    }
                }
                Reply::good()
            }
            Command::WriteSame16(c) => {
                let blocks = c.blocks.unwrap().get();
                let expected = if c.ndob { 0 } else { self.block_size as usize };
                assert_eq!(out.len(), expected);
                self.same(c.lba, blocks.into(), out)
            }
            Command::WriteSame10(c) => self.same(c.lba.into(), c.blocks.unwrap().get().into(), out),
            _ => Reply::invalid_opcode(),
        }
    }

    fn inquiry(&self, page: Option<PageCode>, allocation: u16) -> Reply {
        let peripheral = Peripheral { device_type: self.device_type, ..Peripheral::DISK };
        let Some(page) = page else {
            let mut inquiry = StandardInquiry { peripheral, ..Default::default() };
            inquiry.set_names("ACME", "TESTDISK", "7");
            return emitted(|out| inquiry.emit(out), allocation.into());
        };
        if !self.pages {
            return Reply::invalid_field();
        }
        let emit = |out: &mut [u8]| match page {
            PageCode::SUPPORTED_PAGES => {
                let mut pages = vec![PageCode::SUPPORTED_PAGES, PageCode::UNIT_SERIAL_NUMBER];
                pages.push(PageCode::DEVICE_IDENTIFICATION);
                pages.extend(self.limits.map(|_| PageCode::BLOCK_LIMITS));
                pages.push(PageCode::BLOCK_CHARACTERISTICS);
                pages.extend(self.provisioning.map(|_| PageCode::LOGICAL_BLOCK_PROVISIONING));
                SupportedPages::emit(peripheral, pages, out)
            }
            PageCode::UNIT_SERIAL_NUMBER => UnitSerialNumber::emit(peripheral, &self.serial, out),
            PageCode::DEVICE_IDENTIFICATION => {
                // Long enough to need a second request.
                let filler = [b'x'; 250];
                let list = [
                    Designator::binary(DesignatorType::VENDOR, &filler),
                    Designator::binary(DesignatorType::NAA, &self.naa),
                ];
                DeviceIdentification::emit(peripheral, list, out)
            }
            PageCode::BLOCK_LIMITS => self.limits.unwrap().emit(peripheral, out),
            PageCode::BLOCK_CHARACTERISTICS => {
                let rotation_rate = self.rotation_rate;
                BlockCharacteristics { rotation_rate, ..Default::default() }.emit(peripheral, out)
            }
            PageCode::LOGICAL_BLOCK_PROVISIONING => {
                self.provisioning.unwrap().emit(peripheral, out)
            }
            page => panic!("page {page} was not offered"),
        };
        emitted(emit, allocation.into())
    }

    fn range(&self, lba: u64, blocks: u64) -> Option<core::ops::Range<usize>> {
        let size = u64::from(self.block_size);
        let end = lba.checked_add(blocks).filter(|&end| end <= self.blocks())?;
        Some((lba * size) as usize..(end * size) as usize)
    }

    fn read(&self, lba: u64, blocks: u64) -> Reply {
        match self.range(lba, blocks) {
            Some(range) => Reply::data(self.data[range].to_vec()),
            None => out_of_range(),
        }
    }

    fn write(&mut self, lba: u64, blocks: u64, out: &[u8]) -> Reply {
        match self.range(lba, blocks) {
            Some(range) => {
                self.data[range].copy_from_slice(out);
                Reply::good()
            }
            None => out_of_range(),
        }
    }

    fn verify(&self, lba: u64, blocks: u64, check: ByteCheck, out: &[u8]) -> Reply {
        match self.range(lba, blocks) {
            None => out_of_range(),
            Some(range) if check == ByteCheck::COMPARE && self.data[range.clone()] != *out => {
                miscompare()
            }
            Some(_) => Reply::good(),
        }
    }

    fn same(&mut self, lba: u64, blocks: u64, out: &[u8]) -> Reply {
        assert!(out.iter().all(|&byte| byte == 0));
        assert!(blocks <= self.limits.map_or(u64::MAX, |l| l.max_write_same_length));
        self.zero(lba, blocks).map_or_else(out_of_range, |()| Reply::good())
    }

    fn zero(&mut self, lba: u64, blocks: u64) -> Option<()> {
        let range = self.range(lba, blocks)?;
        self.data[range].fill(0);
        Some(())
    }
}

fn out_of_range() -> Reply {
    Reply::sense(SenseKey::ILLEGAL_REQUEST, AdditionalSense::LBA_OUT_OF_RANGE)
}

fn miscompare() -> Reply {
    let code = AdditionalSense::MISCOMPARE_DURING_VERIFY;
    Reply::check(&Sense::new(SenseKey::MISCOMPARE, code).with_information(3))
}

/// What an emitter writes, cut to the allocation length.
fn emitted(emit: impl FnOnce(&mut [u8]) -> usize, allocation: usize) -> Reply {
    let mut data = vec![0; 1024];
    let len = emit(&mut data).min(allocation);
    data.truncate(len);
    Reply::data(data)
}
