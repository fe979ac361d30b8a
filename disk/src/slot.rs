//! The slots of a disk: one request and one command each, and the lists that run through the requests.

use iscsi_core::{Instant, TaskId, Transfer};

use crate::error::DiskError;
use crate::request::{Operation, RequestId};

/// "No slot" in a link, "no area" for an edge.
pub(crate) const NIL: u16 = u16::MAX;
pub(crate) const NO_AREA: u8 = u8::MAX;

/// The state of one request, and of the command of one task. Public only as the element type of [`Disk`](crate::Disk)'s storage.
///
/// ```
/// // Slots are never touched by hand; a disk brings its own.
/// use iscsi_core::Lun;
/// use iscsi_disk::{DiskConfig, InlineDisk};
/// assert_eq!(InlineDisk::<4>::new(DiskConfig::new(Lun::ZERO)).capacity(), 4);
/// ```
#[derive(Debug)]
pub struct Slot {
    /// The request with this slot's index.
    pub(crate) request: RequestEntry,
    /// The command whose task has this slot's index: another numbering.
    pub(crate) command: CommandEntry,
}

impl Slot {
    pub(crate) const fn new() -> Self {
        Self { request: RequestEntry::FREE, command: CommandEntry::NONE }
    }
}

/// Where a request is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    Free,
    /// Waits for an edge area, or for requests on the same blocks.
    Waiting,
    /// Reads the blocks that the range covers in part.
    Edges,
    Transfer,
    /// The flush after a write to a device that knows no forced unit access.
    Flush,
    /// Waits for `poll_event`.
    Done,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct RequestEntry {
    pub(crate) generation: u64,
    pub(crate) phase: Phase,
    pub(crate) operation: Operation,
    pub(crate) detached: bool,
    /// In the ready list.
    pub(crate) queued: bool,
    /// The range in bytes, and the blocks that commands work on.
    pub(crate) offset: u64,
    pub(crate) len: u64,
    pub(crate) first: u64,
    pub(crate) end: u64,
    /// The first block, or edge, that was not submitted in this phase.
    pub(crate) cursor: u64,
    pub(crate) in_flight: u16,
    /// The first and the last block are covered in part.
    pub(crate) head_cut: bool,
    pub(crate) tail_cut: bool,
    /// The areas that hold these blocks.
    pub(crate) head: u8,
    pub(crate) tail: u8,
    pub(crate) retry: Retry,
    pub(crate) result: Result<(), DiskError>,
    pub(crate) next: u16,
}

impl RequestEntry {
    const FREE: Self = Self {
        generation: 0,
        phase: Phase::Free,
        operation: Operation::Flush,
        detached: false,
        queued: false,
        offset: 0,
        len: 0,
        first: 0,
        end: 0,
        cursor: 0,
        in_flight: 0,
        head_cut: false,
        tail_cut: false,
        head: NO_AREA,
        tail: NO_AREA,
        retry: Retry::NONE,
        result: Ok(()),
        next: NIL,
    };

    /// How many blocks of the range are read before they are written.
    pub(crate) const fn edges(&self) -> u64 {
        if self.end.saturating_sub(self.first) == 1 {
            (self.head_cut || self.tail_cut) as u64
        } else {
            self.head_cut as u64 + self.tail_cut as u64
        }
    }

    /// The block of an edge: number 0 is the head if it is cut.
    pub(crate) const fn edge_lba(&self, edge: u64) -> u64 {
        if edge == 0 && (self.head_cut || self.end - self.first == 1) {
            self.first
        } else {
            self.end.saturating_sub(1)
        }
    }

    /// The area of an edge.
    pub(crate) const fn edge_area(&self, edge: u64) -> u8 {
        if edge == 0 && self.head != NO_AREA { self.head } else { self.tail }
    }

    /// May change blocks now or soon.
    pub(crate) const fn is_modifying(&self) -> bool {
        matches!(self.phase, Phase::Edges | Phase::Transfer) && self.operation.modifies()
    }

    /// Nothing more is to be submitted before what is in flight has ended.
    pub(crate) const fn is_held(&self) -> bool {
        self.result.is_err() || self.retry.from.is_some()
    }
}

/// Trying again. A failed command takes the request back to its first block once nothing of the request is in flight: what
/// succeeded beyond is done once more, which does no harm.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Retry {
    /// Where to go back to.
    pub(crate) from: Option<u64>,
    /// What to report if that does not help.
    pub(crate) error: DiskError,
    /// The error goes away with time; `false`: at once.
    pub(crate) delayed: bool,
    /// The furthest place that was gone back to in this phase, and how often, and since when.
    pub(crate) mark: Option<u64>,
    pub(crate) tries: u8,
    pub(crate) since: Instant,
}

impl Retry {
    pub(crate) const NONE: Self = Self {
        from: None,
        error: DiskError::Cancelled,
        delayed: false,
        mark: None,
        tries: 0,
        since: Instant::ZERO,
    };
}

/// What a command does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A command of bring-up or of a check.
    Probe,
    /// Reads an edge, by number.
    ReadEdge(u8),
    Read,
    Write,
    /// WRITE with zeros instead of the request's memory.
    WriteZeros,
    WriteSame,
    /// UNMAP; the parameter list is in the entry.
    Unmap,
    /// WRITE SAME with the UNMAP bit.
    UnmapSame,
    Verify,
    Compare,
    CompareAndWrite,
    Flush,
}

/// One command in flight, at the index of its task.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CommandEntry {
    pub(crate) task: Option<TaskId>,
    /// Its end event is suppressed.
    pub(crate) revoked: bool,
    pub(crate) request: RequestId,
    pub(crate) kind: Kind,
    pub(crate) transfer: Transfer,
    /// The first block, or the number of the edge: where a retry starts.
    pub(crate) place: u64,
    /// Bytes of the command before the request's memory, and place and length of the run in it.
    pub(crate) skip: u32,
    pub(crate) run: u32,
    pub(crate) base: u64,
    /// The parameter list of UNMAP.
    pub(crate) list: [u8; 24],
}

impl CommandEntry {
    pub(crate) const NONE: Self = Self {
        task: None,
        revoked: false,
        request: RequestId::from_bits(0),
        kind: Kind::Probe,
        transfer: Transfer::None,
        place: 0,
        skip: 0,
        run: 0,
        base: 0,
        list: [0; 24],
    };
}

/// A first-in first-out list through the requests' `next` fields. A request is in at most one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Queue {
    head: u16,
    tail: u16,
}

impl Queue {
    pub(crate) const EMPTY: Self = Self { head: NIL, tail: NIL };

    pub(crate) const fn is_empty(self) -> bool {
        self.head == NIL
    }

    pub(crate) const fn front(self) -> Option<u16> {
        if self.head == NIL { None } else { Some(self.head) }
    }

    pub(crate) fn push_back(&mut self, slots: &mut [Slot], index: u16) {
        set_next(slots, index, NIL);
        if self.tail == NIL {
            self.head = index;
        } else {
            set_next(slots, self.tail, index);
        }
        self.tail = index;
    }

    pub(crate) fn push_front(&mut self, slots: &mut [Slot], index: u16) {
        set_next(slots, index, self.head);
        if self.tail == NIL {
            self.tail = index;
        }
        self.head = index;
    }

    pub(crate) fn pop_front(&mut self, slots: &[Slot]) -> Option<u16> {
        let index = self.front()?;
        self.head = next(slots, index);
        if self.head == NIL {
            self.tail = NIL;
        }
        Some(index)
    }

    /// Takes a request out of the middle, by a scan.
    pub(crate) fn remove(&mut self, slots: &mut [Slot], index: u16) {
        let mut kept = Self::EMPTY;
        while let Some(other) = self.pop_front(slots) {
            if other != index {
                kept.push_back(slots, other);
            }
        }
        *self = kept;
    }
}

fn next(slots: &[Slot], index: u16) -> u16 {
    slots.get(usize::from(index)).map_or(NIL, |slot| slot.request.next)
}

fn set_next(slots: &mut [Slot], index: u16, next: u16) {
    if let Some(slot) = slots.get_mut(usize::from(index)) {
        slot.request.next = next;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queue_keeps_order() {
        let mut slots = [const { Slot::new() }; 5];
        let mut queue = Queue::EMPTY;
        for index in [3, 1, 4] {
            queue.push_back(&mut slots, index);
        }
        queue.push_front(&mut slots, 0);
        queue.remove(&mut slots, 1);
        queue.remove(&mut slots, 2);
        queue.remove(&mut slots, 4);
        queue.push_back(&mut slots, 2);
        assert_eq!(queue.pop_front(&slots), Some(0));
        assert_eq!(queue.front(), Some(3));
        assert_eq!(queue.pop_front(&slots), Some(3));
        assert_eq!(queue.pop_front(&slots), Some(2));
        assert!(queue.is_empty() && queue.pop_front(&slots).is_none());
        queue.push_front(&mut slots, 1);
        queue.push_back(&mut slots, 2);
        assert_eq!(queue.pop_front(&slots), Some(1));
    }
}
