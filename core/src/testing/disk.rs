//! A disk in memory behind a [`ScriptedTarget`], which checks every rule about write data.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::vec::Vec;

use super::framer::Pdu;
use super::scripted::ScriptedTarget;
use crate::InitiatorTaskTag;
use crate::text::Negotiated;
use crate::wire::{
    Completion, DataOut, InitiatorPdu, NopInKind, NopOutKind, Residual, ScsiCommand, ScsiStatus,
    TaskManagementResponseCode,
};

/// Bytes of a block.
const BLOCK: usize = 512;

/// A disk in memory: the model that data are compared with.
///
/// ```
/// use iscsi_core::testing::Disk;
/// let disk = Disk::new(2);
/// assert_eq!(disk.bytes.len(), 1024);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disk {
    /// What it holds.
    pub bytes: Vec<u8>,
}

impl Disk {
    /// A disk with this many blocks of 512 bytes, each byte holding a number that depends on its place.
    pub fn new(blocks: usize) -> Self {
        let byte = |at: usize| (at % 251) as u8 ^ (at / BLOCK) as u8;
        Self { bytes: (0..blocks * BLOCK).map(byte).collect() }
    }

    /// READ(10) of these blocks.
    pub fn read10(lba: u32, blocks: u16) -> [u8; 10] {
        Self::cdb10(0x28, lba, blocks)
    }

    /// WRITE(10) of these blocks.
    pub fn write10(lba: u32, blocks: u16) -> [u8; 10] {
        Self::cdb10(0x2a, lba, blocks)
    }

    fn cdb10(operation: u8, lba: u32, blocks: u16) -> [u8; 10] {
        let mut cdb = [0; 10];
        cdb[0] = operation;
        cdb[2..6].copy_from_slice(&lba.to_be_bytes());
        cdb[7..9].copy_from_slice(&blocks.to_be_bytes());
        cdb
    }
}

/// In which order the target asks for the parts of a write.
///
/// ```
/// assert_ne!(iscsi_core::testing::R2tOrder::Ascending, iscsi_core::testing::R2tOrder::Descending);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum R2tOrder {
    /// From the beginning.
    Ascending,
    /// From the end; only with DataSequenceInOrder=No.
    Descending,
}

/// How a [`ScriptedTarget`] answers SCSI commands, pings, aborts, SNACKs and logouts by itself.
///
/// ```
/// use iscsi_core::testing::{Disk, Service};
/// let mut service = Service::new(Disk::new(8));
/// service.collapse = false; // a SCSI Response after every read
/// assert_eq!(service.disk.bytes.len(), 4096);
/// ```
#[derive(Debug)]
pub struct Service {
    /// The medium.
    pub disk: Disk,
    /// The longest data segment of a Data-In; never above what the initiator takes.
    pub segment: u32,
    /// The status of a good read travels with its last Data-In.
    pub collapse: bool,
    /// The longest transfer that one R2T asks for; never above MaxBurstLength.
    pub burst: u32,
    /// R2Ts of one task at a time; never above MaxOutstandingR2T.
    pub outstanding: u16,
    /// The order of R2Ts.
    pub order: R2tOrder,
    writes: BTreeMap<u32, Write>,
    /// Commands served.
    pub served: u64,
}

/// A write under way.
#[derive(Debug)]
struct Write {
    command: ScsiCommand,
    bytes: Vec<Option<u8>>,
    /// Where the unsolicited data go on and end.
    unsolicited: core::ops::Range<u32>,
    unsolicited_sn: u32,
    /// Ranges that have not been asked for.
    wanted: Vec<core::ops::Range<u32>>,
    next_r2t: u32,
    /// R2Ts that are being answered: R2TSN, where it goes on, where it ends, the next DataSN.
    open: Vec<(u32, u32, u32, u32)>,
}

impl Write {
    /// Checks a Data-Out and takes its data.
    fn take(
        &mut self,
        data_out: &DataOut,
        data: &[u8],
        negotiated: &Negotiated,
    ) -> Result<(), &'static str> {
        let check = |fine: bool, what| if fine { Ok(()) } else { Err(what) };
        let (at, len) = (data_out.buffer_offset, data.len() as u32);
        check(len <= negotiated.target_max_recv_data_segment_length, "the segment is too long")?;
        let words = data_out.is_final || len.is_multiple_of(4);
        check(words, "a segment in a burst is not whole words")?;
        let end = at.checked_add(len).ok_or("the offset wraps")?;
        match data_out.transfer {
            None => {
                check(at == self.unsolicited.start, "unsolicited data out of order")?;
                check(data_out.data_sn.0 == self.unsolicited_sn, "DataSN of unsolicited data")?;
                check(end <= self.unsolicited.end, "more unsolicited data than announced")?;
                check(data_out.is_final == (end == self.unsolicited.end), "F")?;
                self.unsolicited.start = end;
                self.unsolicited_sn += 1;
            }
            Some(transfer) => {
                check(transfer.lun == self.command.lun, "LUN")?;
                // Arrival order: the oldest open R2T is answered first, unless one was lost.
                let tag = transfer.target_transfer_tag.0;
                let due = self.open.iter().position(|open| tag == 0x7000 + open.0);
                let due = due.ok_or("solicited data without an R2T")?;
                let may_be_lost = negotiated.error_recovery_level > 0;
                check(due == 0 || may_be_lost, "the R2T is not the one that is due")?;
                let (_, next, burst_end, data_sn) = &mut self.open[due];
                check((at, data_out.data_sn.0) == (*next, *data_sn), "offset and DataSN")?;
                check(end <= *burst_end, "more data than asked for")?;
                check(data_out.is_final == (end == *burst_end), "F")?;
                *next = end;
                *data_sn += 1;
                if data_out.is_final {
                    self.open.remove(due);
                }
            }
        }
        for (to, from) in self.bytes[at as usize..].iter_mut().zip(data) {
            check(to.replace(*from).is_none(), "a byte was sent twice")?;
        }
        Ok(())
    }
}

impl Service {
    /// A service with large transfers.
    pub const fn new(disk: Disk) -> Self {
        Self {
            disk,
            segment: u32::MAX,
            collapse: true,
            burst: u32::MAX,
            outstanding: u16::MAX,
            order: R2tOrder::Ascending,
            writes: BTreeMap::new(),
            served: 0,
        }
    }

    pub(super) fn restarted(mut self) -> Self {
        self.writes.clear();
        self
    }

    /// Answers a PDU; false if it is for the test.
    pub(super) fn serve(
        &mut self,
        target: &mut ScriptedTarget,
        pdu: &InitiatorPdu,
        framed: &Pdu,
    ) -> bool {
        match pdu {
            InitiatorPdu::ScsiCommand(command) => self.command(target, command, &framed.data),
            InitiatorPdu::DataOut(data_out) => self.data_out(target, data_out, &framed.data),
            InitiatorPdu::NopOut(nop) => {
                if let NopOutKind::Ping { initiator_task_tag, .. } = nop.kind {
                    let echo = target.nop_in(NopInKind::PingResponse(initiator_task_tag));
                    target.send(echo, &framed.data);
                }
            }
            InitiatorPdu::TaskManagementRequest(request) => {
                let code = match request.function.referenced_task_tag() {
                    Some(itt) if self.writes.remove(&itt.0).is_none() => {
                        TaskManagementResponseCode::TaskDoesNotExist
                    }
                    _ => TaskManagementResponseCode::FunctionComplete,
                };
                let response = target.managed(request, code);
                target.send(response, &[]);
            }
            InitiatorPdu::LogoutRequest(request) => {
                if !self.writes.is_empty() {
                    target.complain("logged out with writes under way".into());
                }
                let response = target.logged_out(request);
                target.send(response, &[]);
            }
            InitiatorPdu::SnackRequest(snack) => target.send_again(snack),
            InitiatorPdu::LoginRequest(_) | InitiatorPdu::TextRequest(_) => return false,
        }
        true
    }

    /// The bytes of the disk that a command names, if it is a transfer within the disk.
    fn range(&self, command: &ScsiCommand) -> Option<core::ops::Range<usize>> {
        let cdb = &command.cdb;
        let lba = u32::from_be_bytes([cdb[2], cdb[3], cdb[4], cdb[5]]) as usize;
        let blocks = usize::from(u16::from_be_bytes([cdb[7], cdb[8]]));
        let range = lba * BLOCK..(lba + blocks) * BLOCK;
        (range.end <= self.disk.bytes.len()).then_some(range)
    }

    fn command(&mut self, target: &mut ScriptedTarget, command: &ScsiCommand, data: &[u8]) {
        self.served += 1;
        let last_block = (self.disk.bytes.len() / BLOCK).saturating_sub(1) as u32;
        match (command.cdb[0], self.range(command)) {
            (0x28, Some(range)) => {
                let bytes = self.disk.bytes[range].to_vec();
                self.send_data(target, command, &bytes);
            }
            (0x2a, Some(_)) => self.write(target, command, data),
            (0x00, _) => {
                let response = target.response(command, Completion::GOOD);
                target.send(response, &[]);
            }
            (0x12, _) => match inquiry(&command.cdb) {
                Some(bytes) => self.send_parameters(target, command, &bytes, &[3, 4]),
                None => refuse(target, command),
            },
            (0x25, _) => {
                let words = [last_block, BLOCK as u32];
                self.send_data(target, command, &words.map(u32::to_be_bytes).concat());
            }
            (0x9e, _) if command.cdb[1] & 0x1f == 0x10 => {
                let words = [0, last_block, BLOCK as u32, 0, 0, 0, 0, 0];
                let bytes = words.map(u32::to_be_bytes).concat();
                self.send_parameters(target, command, &bytes, &[10, 11, 12, 13]);
            }
            (0xa0, _) => {
                // One logical unit, LUN 0.
                let mut bytes = [0; 16];
                bytes[3] = 8;
                self.send_parameters(target, command, &bytes, &[6, 7, 8, 9]);
            }
            _ => refuse(target, command),
        }
    }

    /// Sends as much of `bytes` as the allocation length takes, which is in these bytes of the CDB.
    fn send_parameters(
        &self,
        target: &mut ScriptedTarget,
        command: &ScsiCommand,
        bytes: &[u8],
        allocation: &[usize],
    ) {
        let most = allocation.iter().fold(0, |all, at| all << 8 | usize::from(command.cdb[*at]));
        self.send_data(target, command, &bytes[..most.min(bytes.len())]);
    }

    /// Sends the data of a read; the status is good.
    fn send_data(&self, target: &mut ScriptedTarget, command: &ScsiCommand, all: &[u8]) {
        let negotiated = *target.negotiated();
        let expected = command.expected_data_transfer_length;
        let bytes = &all[..all.len().min(expected as usize)];
        let residual = residual(all.len() as u32, expected);
        let segment = self.segment.min(negotiated.initiator_max_recv_data_segment_length) as usize;
        let (mut at, mut data_sn, mut in_burst) = (0, 0, 0);
        while at < bytes.len() {
            let room = negotiated.max_burst_length as usize - in_burst;
            let len = segment.min(bytes.len() - at).min(room);
            let last = at + len == bytes.len();
            in_burst += len;
            let full = in_burst == negotiated.max_burst_length as usize;
            let mut data_in = if last && self.collapse {
                target.last_data_in(command, data_sn, at as u32)
            } else {
                target.data_in(command, data_sn, at as u32)
            };
            data_in.is_final |= last || full;
            if let Some(status) = &mut data_in.status {
                status.residual = residual;
            }
            target.send(data_in, &bytes[at..at + len]);
            in_burst = if full { 0 } else { in_burst };
            at += len;
            data_sn += 1;
        }
        if !self.collapse || bytes.is_empty() {
            let exp_data_sn = crate::DataSn(data_sn);
            let completion = Completion { residual, exp_data_sn, ..Completion::GOOD };
            let response = target.response(command, completion);
            target.send(response, &[]);
        }
    }

    /// Checks the unsolicited data that a command announces, and asks for the rest.
    fn write(&mut self, target: &mut ScriptedTarget, command: &ScsiCommand, data: &[u8]) {
        let negotiated = *target.negotiated();
        let expected = command.expected_data_transfer_length;
        let first = negotiated.first_burst_length.min(expected);
        let immediate = data.len() as u32;
        for (fine, what) in [
            (negotiated.immediate_data || immediate == 0, "immediate data were refused"),
            (immediate <= first, "immediate data beyond FirstBurstLength"),
            (immediate <= negotiated.target_max_recv_data_segment_length, "segment too long"),
            (command.is_final || !negotiated.initial_r2t, "unsolicited Data-Out were refused"),
        ] {
            if !fine {
                target.complain(format!("{what}: {command:?}"));
            }
        }
        let unsolicited = if command.is_final { immediate } else { first };
        let mut bytes = alloc::vec![None; expected as usize];
        for (to, from) in bytes.iter_mut().zip(data) {
            *to = Some(*from);
        }
        let burst = self.burst.min(negotiated.max_burst_length).max(1);
        let mut wanted = Vec::new();
        let mut at = unsolicited;
        while at < expected {
            let end = at.saturating_add(burst).min(expected);
            wanted.push(at..end);
            at = end;
        }
        if self.order == R2tOrder::Descending {
            wanted.reverse();
        }
        let write = Write {
            command: *command,
            bytes,
            unsolicited: immediate..unsolicited,
            unsolicited_sn: 0,
            wanted,
            next_r2t: 0,
            open: Vec::new(),
        };
        let itt = command.initiator_task_tag;
        if self.writes.insert(itt.0, write).is_some() {
            target.complain(format!("tag {itt} is in use"));
        }
        self.go_on(target, itt);
    }

    fn data_out(&mut self, target: &mut ScriptedTarget, data_out: &DataOut, data: &[u8]) {
        let negotiated = *target.negotiated();
        let itt = data_out.initiator_task_tag;
        let taken = match self.writes.get_mut(&itt.0) {
            Some(write) => write.take(data_out, data, &negotiated),
            None => Err("it is for a task that is not under way"),
        };
        match taken {
            Ok(()) => self.go_on(target, itt),
            Err(what) => target.complain(format!("Data-Out: {what}: {data_out:?}")),
        }
    }

    /// Asks for more, or ends the command.
    fn go_on(&mut self, target: &mut ScriptedTarget, itt: InitiatorTaskTag) {
        let outstanding =
            usize::from(self.outstanding.min(target.negotiated().max_outstanding_r2t));
        let Some(write) = self.writes.get_mut(&itt.0) else { return };
        while write.open.len() < outstanding && !write.wanted.is_empty() {
            let range = write.wanted.remove(0);
            let sn = write.next_r2t;
            write.next_r2t += 1;
            let r2t = target.r2t(&write.command, sn, range.start, range.end - range.start);
            target.send(r2t, &[]);
            write.open.push((sn, range.start, range.end, 0));
        }
        let whole = write.unsolicited.is_empty() && write.open.is_empty();
        if !whole {
            return;
        }
        let Some(write) = self.writes.remove(&itt.0) else { return };
        let Some(range) = self.range(&write.command) else { return };
        if write.bytes.iter().any(Option::is_none) {
            target.complain(format!("bytes of a write are missing: {:?}", write.command));
        }
        let residual = residual(range.len() as u32, write.command.expected_data_transfer_length);
        for (to, from) in self.disk.bytes[range].iter_mut().zip(&write.bytes) {
            *to = from.unwrap_or(*to);
        }
        let response = target.response(&write.command, Completion { residual, ..Completion::GOOD });
        target.send(response, &[]);
    }
}

fn residual(wanted: u32, expected: u32) -> Residual {
    match wanted.cmp(&expected) {
        core::cmp::Ordering::Less => Residual::Underflow(expected - wanted),
        core::cmp::Ordering::Equal => Residual::None,
        core::cmp::Ordering::Greater => Residual::Overflow(wanted - expected),
    }
}

/// ILLEGAL REQUEST, invalid operation code.
fn refuse(target: &mut ScriptedTarget, command: &ScsiCommand) {
    let completion = Completion { status: ScsiStatus::CheckCondition, ..Completion::GOOD };
    let response = target.response(command, completion);
    let mut sense = [0; 20];
    sense[1] = 18;
    sense[2] = 0x70;
    sense[4] = 0x05;
    sense[9] = 10;
    sense[14] = 0x20;
    target.send(response, &sense);
}

/// The answer to INQUIRY: standard data, the list of pages, the identification page with one NAA name.
fn inquiry(cdb: &[u8; 16]) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    match (cdb[1] & 1, cdb[2]) {
        (0, 0) => {
            bytes.extend_from_slice(&[0, 0, 6, 2, 31, 0, 0, 2]);
            bytes.extend_from_slice(b"EXAMPLE SCRIPTED DISK   0001");
        }
        (1, 0x00) => bytes.extend_from_slice(&[0, 0x00, 0, 2, 0x00, 0x83]),
        (1, 0x83) => {
            bytes.extend_from_slice(&[0, 0x83, 0, 12, 0x01, 0x03, 0, 8]);
            bytes.extend_from_slice(&[0x50, 0x01, 0x04, 0x0e, 0x53, 0xc2, 0x17, 0x01]);
        }
        _ => return None,
    }
    Some(bytes)
}
