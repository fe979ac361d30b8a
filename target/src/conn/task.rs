//! The task table of a connection: slots, a hash over Initiator Task Tags, and queues. Nothing here scans.

use core::ops::{Index, IndexMut};

use heapless::Vec;
use iscsi_core::wire::ScsiStatus;
use iscsi_core::{CmdSn, InitiatorTaskTag, Instant, Lun, TargetTransferTag};
use iscsi_scsi::Sense;

use super::pages::Run;

/// Bursts of one task that may be outstanding: the most that MaxOutstandingR2T is negotiated to.
pub(crate) const MAX_BURSTS: usize = 8;

/// Slots that non-immediate commands may not take, so that a full window leaves room for immediate ones.
pub(crate) const RESERVED_SLOTS: usize = 2;

/// The most slots of a connection.
pub(crate) const MAX_SLOTS: usize = 250;

/// "No slot".
const NONE: u16 = u16::MAX;

/// What a task does with its data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Work {
    /// There is no data, or it is of no use: only a status is owed.
    Status,
    /// Data-In from the disk at this byte.
    Read { at: u64 },
    /// Data-In that the device server makes when it can be sent.
    Reply,
    /// Data-Out to the disk at this byte.
    Write { at: u64, fua: bool },
    /// Data-Out to be compared with the disk at this byte.
    Compare { at: u64 },
    /// Data-Out that is collected in staging pages and then carried out.
    Staged { run: Run },
}

impl Work {
    pub(crate) const fn is_data_out(self) -> bool {
        matches!(self, Self::Write { .. } | Self::Compare { .. } | Self::Staged { .. })
    }
}

/// A run of Data-Out PDUs that the task waits for: the unsolicited one, or one for each R2T.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Burst {
    pub(crate) tag: TargetTransferTag,
    /// Where the next PDU begins, if they come in order.
    pub(crate) at: u32,
    pub(crate) start: u32,
    pub(crate) end: u32,
    /// Bytes received.
    pub(crate) got: u32,
    pub(crate) data_sn: u32,
    pub(crate) r2t_sn: u32,
    /// How often its bytes have been asked for again.
    pub(crate) tries: u8,
}

/// Data-Out that arrived damaged.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lost {
    pub(crate) at: u32,
    pub(crate) end: u32,
    /// How often they will have been asked for again.
    pub(crate) tries: u8,
}

/// How a task ends.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ending {
    pub(crate) status: ScsiStatus,
    pub(crate) sense: Option<Sense>,
}

impl Ending {
    pub(crate) const GOOD: Self = Self { status: ScsiStatus::Good, sense: None };
}

#[derive(Debug, Clone)]
pub(crate) struct Task {
    /// The next of the free list or of the queue.
    next: u16,
    /// Head of the hash chain that begins here, whatever task is in this slot.
    bucket: u16,
    /// The next of the hash chain.
    chain: u16,
    pub(crate) generation: u16,
    pub(crate) live: bool,
    /// In a queue.
    queued: bool,
    /// Its CmdSN counts in the window.
    pub(crate) counted: bool,
    /// Came before its turn: an earlier CmdSN is missing.
    pub(crate) held: bool,
    /// Ended by task management: the rest of its data is thrown away, no status is sent.
    pub(crate) aborted: bool,
    /// Never to be answered.
    pub(crate) parked: bool,
    pub(crate) itt: InitiatorTaskTag,
    pub(crate) cmd_sn: CmdSn,
    /// Index of the logical unit.
    pub(crate) unit: Option<u16>,
    /// The unit's epoch when the task began: if it is another now, the task was aborted from elsewhere.
    pub(crate) epoch: u32,
    pub(crate) read: bool,
    pub(crate) expected: u32,
    /// Bytes that the command moves on the side of the device.
    pub(crate) length: u64,
    /// Bytes that are really moved: what both sides have room for.
    pub(crate) total: u32,
    /// Data-In: bytes frozen. Data-Out: bytes received.
    pub(crate) done: u32,
    /// Data-In: bytes of the current sequence.
    pub(crate) sequence: u32,
    pub(crate) data_sn: u32,
    pub(crate) work: Work,
    /// What the Data-In are made of, and how many of them the initiator has acknowledged.
    pub(crate) origin: Work,
    pub(crate) acknowledged: u32,
    pub(crate) lun: Lun,
    pub(crate) cdb: [u8; 16],
    /// The unsolicited burst is not complete.
    pub(crate) unsolicited: Option<Burst>,
    /// The next byte to ask for.
    pub(crate) r2t_at: u32,
    pub(crate) r2t_end: u32,
    pub(crate) r2t_sn: u32,
    pub(crate) bursts: Vec<Burst, MAX_BURSTS>,
    /// To be asked for again.
    pub(crate) lost: Vec<Lost, MAX_BURSTS>,
    pub(crate) ending: Ending,
    /// When a delayed status may go.
    pub(crate) due: Option<Instant>,
}

impl Task {
    const EMPTY: Self = Self {
        next: NONE,
        bucket: NONE,
        chain: NONE,
        generation: 0,
        live: false,
        queued: false,
        counted: false,
        held: false,
        aborted: false,
        parked: false,
        itt: InitiatorTaskTag::RESERVED,
        cmd_sn: CmdSn(0),
        unit: None,
        epoch: 0,
        read: false,
        expected: 0,
        length: 0,
        total: 0,
        done: 0,
        sequence: 0,
        data_sn: 0,
        work: Work::Status,
        origin: Work::Status,
        acknowledged: 0,
        lun: Lun::ZERO,
        cdb: [0; 16],
        unsolicited: None,
        r2t_at: 0,
        r2t_end: 0,
        r2t_sn: 0,
        bursts: Vec::new(),
        lost: Vec::new(),
        ending: Ending::GOOD,
        due: None,
    };

    /// Data-Out PDUs are still to come that the initiator must send.
    pub(crate) fn awaits_data(&self) -> bool {
        self.unsolicited.is_some() || !self.bursts.is_empty()
    }

    pub(crate) const fn is_queued(&self) -> bool {
        self.queued
    }

    /// Nothing was wrong so far.
    pub(crate) const fn is_good(&self) -> bool {
        matches!(self.ending.status, ScsiStatus::Good)
    }
}

/// Room for one task. What it holds is the engine's business.
///
/// ```
/// use iscsi_target::{InlineTargetConnection, TargetConnection};
/// let mut storage = InlineTargetConnection::<16>::new(); // sixteen slots
/// let connection: &mut TargetConnection = &mut storage;
/// assert!(connection.is_closed());
/// ```
#[derive(Debug, Clone)]
pub struct TaskSlot(Task);

impl TaskSlot {
    pub(crate) const EMPTY: Self = Self(Task::EMPTY);
}

/// First in, first out.
#[derive(Debug, Clone, Copy)]
struct Queue {
    head: u16,
    tail: u16,
}

impl Queue {
    const EMPTY: Self = Self { head: NONE, tail: NONE };
}

/// Which queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Line {
    /// Tasks with an R2T to send.
    Asking,
    /// Tasks with Data-In or a status to send.
    Ready,
    /// Tasks whose status waits for its time.
    Delayed,
}

#[derive(Debug)]
pub(crate) struct TaskTable<T: ?Sized = [TaskSlot]> {
    free: u16,
    live: u16,
    lines: [Queue; 3],
    slots: T,
}

impl<const N: usize> TaskTable<[TaskSlot; N]> {
    pub(crate) const fn new() -> Self {
        Self { free: NONE, live: 0, lines: [Queue::EMPTY; 3], slots: [TaskSlot::EMPTY; N] }
    }
}

impl Index<u16> for TaskTable {
    type Output = Task;

    #[inline]
    fn index(&self, index: u16) -> &Task {
        &self.slots[usize::from(index)].0
    }
}

impl IndexMut<u16> for TaskTable {
    #[inline]
    fn index_mut(&mut self, index: u16) -> &mut Task {
        &mut self.slots[usize::from(index)].0
    }
}

impl TaskTable {
    /// Forgets every task. To be called before the first use.
    pub(crate) fn reset(&mut self) {
        let count = self.capacity();
        self.live = 0;
        self.lines = [Queue::EMPTY; 3];
        self.free = if count == 0 { NONE } else { 0 };
        for index in 0..count {
            let generation = self[index].generation.wrapping_add(1);
            let next = if index + 1 < count { index + 1 } else { NONE };
            self[index] = Task { next, generation, ..Task::EMPTY };
        }
    }

    pub(crate) fn capacity(&self) -> u16 {
        self.slots.len().min(MAX_SLOTS) as u16
    }

    /// Slots that are not in use.
    pub(crate) fn free_count(&self) -> u16 {
        self.capacity() - self.live
    }

    #[inline]
    fn bucket(&self, itt: InitiatorTaskTag) -> u16 {
        // Fibonacci hashing: initiators count tags up, or put the slot into the low or high bits.
        let hash = itt.0.wrapping_mul(0x9e37_79b9) >> 16;
        ((hash * u32::from(self.capacity())) >> 16) as u16
    }

    #[inline]
    pub(crate) fn find(&self, itt: InitiatorTaskTag) -> Option<u16> {
        let mut index = self[self.bucket(itt)].bucket;
        while index != NONE {
            let task = &self[index];
            if task.itt == itt {
                return Some(index);
            }
            index = task.chain;
        }
        None
    }

    /// The task that a Target Transfer Tag names, if it still runs.
    #[inline]
    pub(crate) fn find_tag(&self, tag: TargetTransferTag) -> Option<u16> {
        let index = (tag.0 & 0xff) as u16;
        let generation = (tag.0 >> 16) as u16;
        let known = index < self.capacity();
        (known && self[index].live && self[index].generation == generation).then_some(index)
    }

    /// The tag of the next R2T of a task. Never the reserved one: no slot has the index 255.
    pub(crate) fn tag(&self, index: u16) -> TargetTransferTag {
        let task = &self[index];
        let tag = u32::from(task.generation) << 16 | (task.r2t_sn & 0xff) << 8;
        TargetTransferTag(tag | u32::from(index))
    }

    /// Takes a slot.
    #[inline]
    pub(crate) fn insert(&mut self, itt: InitiatorTaskTag) -> Option<u16> {
        let index = self.free;
        if index == NONE {
            return None;
        }
        self.live += 1;
        let bucket = self.bucket(itt);
        let chain = self[bucket].bucket;
        self[bucket].bucket = index;
        let task = &mut self[index];
        let next = task.next;
        task.next = NONE;
        task.chain = chain;
        task.live = true;
        task.itt = itt;
        task.counted = false;
        task.held = false;
        task.aborted = false;
        task.unit = None;
        task.total = 0;
        task.length = 0;
        task.done = 0;
        task.sequence = 0;
        task.data_sn = 0;
        task.work = Work::Status;
        task.origin = Work::Status;
        task.acknowledged = 0;
        task.unsolicited = None;
        task.r2t_at = 0;
        task.r2t_end = 0;
        task.r2t_sn = 0;
        task.ending = Ending::GOOD;
        task.due = None;
        self.free = next;
        Some(index)
    }

    /// Gives a slot back. The task must not be in a queue.
    #[inline]
    pub(crate) fn release(&mut self, index: u16) {
        debug_assert!(self[index].live && !self[index].queued);
        let (itt, after) = (self[index].itt, self[index].chain);
        let bucket = self.bucket(itt);
        if self[bucket].bucket == index {
            self[bucket].bucket = after;
        } else {
            let mut at = self[bucket].bucket;
            while at != NONE {
                if self[at].chain == index {
                    self[at].chain = after;
                    break;
                }
                at = self[at].chain;
            }
        }
        let free = self.free;
        let task = &mut self[index];
        task.live = false;
        task.itt = InitiatorTaskTag::RESERVED;
        task.generation = task.generation.wrapping_add(1);
        task.bursts.clear();
        task.lost.clear();
        task.next = free;
        self.free = index;
        self.live -= 1;
    }

    const fn line(&mut self, line: Line) -> &mut Queue {
        let [asking, ready, delayed] = &mut self.lines;
        match line {
            Line::Asking => asking,
            Line::Ready => ready,
            Line::Delayed => delayed,
        }
    }

    #[inline]
    pub(crate) fn front(&self, line: Line) -> Option<u16> {
        let head = self.lines[line as usize].head;
        (head != NONE).then_some(head)
    }

    /// Puts a task at the end of a queue; nothing happens if it is in one.
    #[inline]
    pub(crate) fn push(&mut self, line: Line, index: u16) {
        if self[index].queued {
            return;
        }
        self[index].queued = true;
        self[index].next = NONE;
        let tail = self.line(line).tail;
        if tail == NONE {
            self.line(line).head = index;
        } else {
            self[tail].next = index;
        }
        self.line(line).tail = index;
    }

    /// Takes the first task out of a queue.
    #[inline]
    pub(crate) fn pop(&mut self, line: Line) -> Option<u16> {
        let index = self.front(line)?;
        let next = self[index].next;
        self[index].queued = false;
        self[index].next = NONE;
        let queue = self.line(line);
        queue.head = next;
        if next == NONE {
            queue.tail = NONE;
        }
        Some(index)
    }

    /// All running tasks, in no order. Only for what is rare: task management, holes in the CmdSN order.
    pub(crate) fn live(&self) -> impl Iterator<Item = u16> + use<> {
        let mut running: Vec<u16, MAX_SLOTS> = Vec::new();
        for index in (0..self.capacity()).filter(|index| self[*index].live) {
            // There are no more slots than that.
            let _ = running.push(index);
        }
        running.into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> TaskTable<[TaskSlot; 7]> {
        let mut table = TaskTable::new();
        (&mut table as &mut TaskTable).reset();
        table
    }

    #[test]
    fn tags_are_found_while_their_task_runs() {
        let mut storage = table();
        let tasks: &mut TaskTable = &mut storage;
        let tags = [0, 1, 7, 0x100, 0xffff_0000, 0xffff_fffe, 12345].map(InitiatorTaskTag);
        let indices = tags.map(|itt| tasks.insert(itt).unwrap());
        assert_eq!(tasks.insert(InitiatorTaskTag(99)), None);
        for (itt, index) in tags.into_iter().zip(indices) {
            assert_eq!(tasks.find(itt), Some(index));
        }
        for (itt, index) in tags.into_iter().zip(indices).step_by(2) {
            tasks.release(index);
            assert_eq!(tasks.find(itt), None);
        }
        assert_eq!(tasks.find(tags[1]), Some(indices[1]));
        assert_eq!(tasks.free_count(), 4);
        assert_eq!(tasks.live().count(), 3);
    }

    #[test]
    fn a_transfer_tag_dies_with_its_task() {
        let mut storage = table();
        let tasks: &mut TaskTable = &mut storage;
        let index = tasks.insert(InitiatorTaskTag(1)).unwrap();
        let tag = tasks.tag(index);
        assert_eq!(tasks.find_tag(tag), Some(index));
        tasks.release(index);
        assert_eq!(tasks.find_tag(tag), None);
        assert_eq!(tasks.insert(InitiatorTaskTag(1)), Some(index));
        assert_eq!(tasks.find_tag(tag), None);
        assert_eq!(tasks.find_tag(TargetTransferTag::RESERVED), None);
    }

    #[test]
    fn queues_keep_the_order() {
        let mut storage = table();
        let tasks: &mut TaskTable = &mut storage;
        let indices = [3, 4, 5].map(|itt| tasks.insert(InitiatorTaskTag(itt)).unwrap());
        for index in indices {
            tasks.push(Line::Ready, index);
            tasks.push(Line::Asking, index);
        }
        assert_eq!(tasks.pop(Line::Asking), None);
        assert_eq!(indices.map(|_| tasks.pop(Line::Ready).unwrap()), indices);
        assert_eq!(tasks.pop(Line::Ready), None);
        tasks.push(Line::Asking, indices[1]);
        assert_eq!(tasks.front(Line::Asking), Some(indices[1]));
    }
}
