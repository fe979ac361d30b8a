//! A disk in memory behind a [`ScriptedTarget`], which checks every rule about write data.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use super::framer::Pdu;
use super::scripted::ScriptedTarget;
use crate::InitiatorTaskTag;
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

/// How a [`ScriptedTarget`] answers SCSI commands, pings, aborts and logouts by itself.
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
                assert!(self.writes.is_empty(), "logged out with writes under way");
                let response = target.logged_out(request);
                target.send(response, &[]);
            }
            InitiatorPdu::LoginRequest(_)
            | InitiatorPdu::TextRequest(_)
            | InitiatorPdu::SnackRequest(_) => return false,
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
        match (command.cdb[0], self.range(command)) {
            (0x28, Some(range)) => self.read(target, command, range),
            (0x2a, Some(_)) => self.write(target, command, data),
            (0x00, _) => {
                let response = target.response(command, Completion::GOOD);
                target.send(response, &[]);
            }
            _ => refuse(target, command),
        }
    }

    fn read(
        &self,
        target: &mut ScriptedTarget,
        command: &ScsiCommand,
        range: core::ops::Range<usize>,
    ) {
        let negotiated = *target.negotiated();
        let expected = command.expected_data_transfer_length;
        let all = &self.disk.bytes[range];
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
        assert!(negotiated.immediate_data || immediate == 0, "immediate data were refused");
        assert!(immediate <= first, "immediate data beyond FirstBurstLength");
        assert!(immediate <= negotiated.target_max_recv_data_segment_length, "segment too long");
        assert!(command.is_final || !negotiated.initial_r2t, "unsolicited Data-Out were refused");
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
        assert!(self.writes.insert(itt.0, write).is_none(), "tag {itt} is in use");
        self.go_on(target, itt);
    }

    fn data_out(&mut self, target: &mut ScriptedTarget, data_out: &DataOut, data: &[u8]) {
        let negotiated = *target.negotiated();
        let itt = data_out.initiator_task_tag;
        let Some(write) = self.writes.get_mut(&itt.0) else {
            panic!("Data-Out for a task that is not under way: {data_out:?}");
        };
        let (at, len) = (data_out.buffer_offset, data.len() as u32);
        assert!(len <= negotiated.target_max_recv_data_segment_length, "segment too long");
        assert!(
            data_out.is_final || len.is_multiple_of(4),
            "a segment in a burst is not whole words"
        );
        let end = at + len;
        match data_out.transfer {
            None => {
                assert_eq!(at, write.unsolicited.start, "unsolicited data out of order");
                assert_eq!(data_out.data_sn.0, write.unsolicited_sn, "DataSN");
                write.unsolicited.start = end;
                write.unsolicited_sn += 1;
                assert!(end <= write.unsolicited.end, "more unsolicited data than announced");
                assert_eq!(data_out.is_final, end == write.unsolicited.end, "F");
            }
            Some(transfer) => {
                assert_eq!(transfer.lun, write.command.lun, "LUN");
                // Arrival order: the oldest open R2T is answered first.
                let (r2t_sn, next, burst_end, data_sn) =
                    write.open.first_mut().expect("solicited data without an R2T");
                assert_eq!(transfer.target_transfer_tag.0, 0x7000 + *r2t_sn, "R2T out of order");
                assert_eq!((at, data_out.data_sn.0), (*next, *data_sn), "offset and DataSN");
                *next = end;
                *data_sn += 1;
                assert!(end <= *burst_end, "more data than asked for");
                assert_eq!(data_out.is_final, end == *burst_end, "F");
                if data_out.is_final {
                    write.open.remove(0);
                }
            }
        }
        for (to, from) in write.bytes[at as usize..].iter_mut().zip(data) {
            assert!(to.replace(*from).is_none(), "a byte was sent twice");
        }
        self.go_on(target, itt);
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
        let residual = residual(range.len() as u32, write.command.expected_data_transfer_length);
        for (to, from) in self.disk.bytes[range].iter_mut().zip(&write.bytes) {
            *to = from.expect("every byte was sent");
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
