//! The task slots and the intrusive lists that run through them: no allocation, no scan.

use core::ops::{Index, IndexMut};

use super::task::{Link, NIL, TaskSlot, TaskState};
use crate::{Instant, TaskId};

/// Slots for identity checks after a re-login, outside the application's table.
pub(crate) const RESERVED_SLOTS: usize = 2;

/// All slots of a session: the application's first, then the reserved ones.
#[derive(Debug)]
pub(crate) struct Slots<T: ?Sized> {
    reserved: [TaskSlot; RESERVED_SLOTS],
    tasks: T,
}

impl<const N: usize> Slots<[TaskSlot; N]> {
    pub(crate) const fn new() -> Self {
        assert!(N > 0 && N <= 32_768, "a session has 1 to 32768 task slots");
        Self {
            reserved: [const { TaskSlot::new() }; RESERVED_SLOTS],
            tasks: [const { TaskSlot::new() }; N],
        }
    }
}

impl Slots<[TaskSlot]> {
    /// How many tasks the application may have.
    pub(crate) const fn capacity(&self) -> usize {
        self.tasks.len()
    }

    /// All slots, reserved ones included.
    pub(crate) const fn len(&self) -> usize {
        self.tasks.len() + RESERVED_SLOTS
    }

    #[cfg_attr(not(feature = "std"), inline(never))]
    pub(crate) fn get(&self, index: usize) -> Option<&TaskSlot> {
        match self.tasks.get(index) {
            Some(slot) => Some(slot),
            None => self.reserved.get(index - self.tasks.len()),
        }
    }

    /// The slot of a handle, if the handle is not stale.
    pub(crate) fn lookup(&self, id: TaskId) -> Option<u16> {
        let slot = self.get(id.index())?;
        (slot.state != TaskState::Free && slot.generation == id.generation())
            .then_some(id.index() as u16)
    }

    /// The slot of a task that the target has, if the handle is not stale.
    #[cfg_attr(feature = "std", inline)]
    #[cfg_attr(not(feature = "std"), inline(never))]
    pub(crate) fn live(&self, id: TaskId) -> Option<&TaskSlot> {
        self.get(id.index()).filter(|slot| slot.generation == id.generation() && slot.is_live())
    }

    pub(crate) fn indices(&self) -> impl Iterator<Item = u16> + use<> {
        0..self.len() as u16
    }

    pub(crate) fn id(&self, index: u16) -> TaskId {
        TaskId::new(index, self[index].generation)
    }
}

// Indices come from the lists below and from `lookup`, never unchecked from the wire. Slots are looked up in some two hundred places: where
// there is no `std`, code is dearer than calls.
impl Index<u16> for Slots<[TaskSlot]> {
    type Output = TaskSlot;

    #[cfg_attr(not(feature = "std"), inline(never))]
    fn index(&self, index: u16) -> &TaskSlot {
        let index = usize::from(index);
        let capacity = self.tasks.len();
        if index < capacity { &self.tasks[index] } else { &self.reserved[index - capacity] }
    }
}

impl IndexMut<u16> for Slots<[TaskSlot]> {
    #[cfg_attr(not(feature = "std"), inline(never))]
    fn index_mut(&mut self, index: u16) -> &mut TaskSlot {
        let index = usize::from(index);
        let capacity = self.tasks.len();
        if index < capacity { &mut self.tasks[index] } else { &mut self.reserved[index - capacity] }
    }
}

/// A doubly linked list through the slots' `link` fields. A slot is in at most one such list.
#[derive(Debug, Clone, Copy)]
pub(crate) struct List {
    head: u16,
    tail: u16,
}

impl List {
    pub(crate) const EMPTY: Self = Self { head: NIL, tail: NIL };

    pub(crate) const fn is_empty(self) -> bool {
        self.head == NIL
    }

    pub(crate) fn front(self) -> Option<u16> {
        (self.head != NIL).then_some(self.head)
    }

    pub(crate) fn back(self) -> Option<u16> {
        (self.tail != NIL).then_some(self.tail)
    }

    /// The slot before `index`.
    pub(crate) fn before(slots: &Slots<[TaskSlot]>, index: u16) -> Option<u16> {
        let prev = slots[index].link.prev;
        (prev != NIL).then_some(prev)
    }

    /// The slot after `index`.
    pub(crate) fn after(slots: &Slots<[TaskSlot]>, index: u16) -> Option<u16> {
        let next = slots[index].link.next;
        (next != NIL).then_some(next)
    }

    pub(crate) fn push_back(&mut self, slots: &mut Slots<[TaskSlot]>, index: u16) {
        slots[index].link = Link { prev: self.tail, next: NIL };
        if self.tail == NIL {
            self.head = index;
        } else {
            slots[self.tail].link.next = index;
        }
        self.tail = index;
    }

    pub(crate) fn push_front(&mut self, slots: &mut Slots<[TaskSlot]>, index: u16) {
        slots[index].link = Link { prev: NIL, next: self.head };
        if self.head == NIL {
            self.tail = index;
        } else {
            slots[self.head].link.prev = index;
        }
        self.head = index;
    }

    /// Inserts `index` before `before`, which is in the list.
    pub(crate) fn insert_before(&mut self, slots: &mut Slots<[TaskSlot]>, before: u16, index: u16) {
        let prev = slots[before].link.prev;
        slots[index].link = Link { prev, next: before };
        slots[before].link.prev = index;
        if prev == NIL {
            self.head = index;
        } else {
            slots[prev].link.next = index;
        }
    }

    pub(crate) fn remove(&mut self, slots: &mut Slots<[TaskSlot]>, index: u16) {
        let Link { prev, next } = slots[index].link;
        if prev == NIL {
            self.head = next;
        } else {
            slots[prev].link.next = next;
        }
        if next == NIL {
            self.tail = prev;
        } else {
            slots[next].link.prev = prev;
        }
        slots[index].link = Link::NIL;
    }

    pub(crate) fn pop_front(&mut self, slots: &mut Slots<[TaskSlot]>) -> Option<u16> {
        let index = self.front()?;
        self.remove(slots, index);
        Some(index)
    }

    /// Puts another list behind this one.
    pub(crate) fn append(&mut self, slots: &mut Slots<[TaskSlot]>, other: Self) {
        match (self.back(), other.front()) {
            (_, None) => {}
            (None, _) => *self = other,
            (Some(last), Some(first)) => {
                slots[last].link.next = first;
                slots[first].link.prev = last;
                self.tail = other.tail;
            }
        }
    }

    /// Sorts by the order of sending: merges runs of 1, 2, 4, ... elements.
    pub(crate) fn sort(&mut self, slots: &mut Slots<[TaskSlot]>) {
        let mut run = 1;
        loop {
            let mut merged = Self::EMPTY;
            let mut merges = 0;
            while !self.is_empty() {
                merges += 1;
                let mut left = self.take(slots, run);
                let mut right = self.take(slots, run);
                while let (Some(a), Some(b)) = (left.front(), right.front()) {
                    // Orders wrap; compare by distance.
                    let b_first = (slots[b].order.wrapping_sub(slots[a].order) as i32) < 0;
                    let from = if b_first { &mut right } else { &mut left };
                    if let Some(next) = from.pop_front(slots) {
                        merged.push_back(slots, next);
                    }
                }
                merged.append(slots, left);
                merged.append(slots, right);
            }
            *self = merged;
            if merges <= 1 {
                return;
            }
            run *= 2;
        }
    }

    /// The first `count` elements as a list of their own.
    fn take(&mut self, slots: &mut Slots<[TaskSlot]>, count: usize) -> Self {
        let mut taken = Self::EMPTY;
        for _ in 0..count {
            let Some(index) = self.pop_front(slots) else { break };
            taken.push_back(slots, index);
        }
        taken
    }
}

/// The tasks with a deadline, soonest first. Most deadlines are later than all before them, so an insertion looks at
/// one element; expiry looks at the head.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadlines {
    head: u16,
    tail: u16,
}

impl Deadlines {
    pub(crate) const EMPTY: Self = Self { head: NIL, tail: NIL };

    pub(crate) fn first(self, slots: &Slots<[TaskSlot]>) -> Option<Instant> {
        if self.head == NIL { None } else { slots[self.head].deadline }
    }

    pub(crate) fn insert(&mut self, slots: &mut Slots<[TaskSlot]>, index: u16, at: Instant) {
        // From both ends in step: with one or two classes of time-outs the place is near one of them.
        let later = |slots: &Slots<[TaskSlot]>, i: u16| slots[i].deadline.is_some_and(|d| d > at);
        let (mut prev, mut next) = (self.tail, self.head);
        loop {
            if prev == NIL || !later(slots, prev) {
                next = if prev == NIL { self.head } else { slots[prev].timer.next };
                break;
            }
            // There is one: both reach the other end of the list in the same step.
            if later(slots, next) {
                prev = slots[next].timer.prev;
                break;
            }
            prev = slots[prev].timer.prev;
            next = slots[next].timer.next;
        }
        slots[index].deadline = Some(at);
        slots[index].timer = Link { prev, next };
        if prev == NIL {
            self.head = index;
        } else {
            slots[prev].timer.next = index;
        }
        if next == NIL {
            self.tail = index;
        } else {
            slots[next].timer.prev = index;
        }
    }

    pub(crate) fn remove(&mut self, slots: &mut Slots<[TaskSlot]>, index: u16) {
        if slots[index].deadline.take().is_none() {
            return;
        }
        let Link { prev, next } = slots[index].timer;
        if prev == NIL {
            self.head = next;
        } else {
            slots[prev].timer.next = next;
        }
        if next == NIL {
            self.tail = prev;
        } else {
            slots[next].timer.prev = prev;
        }
    }

    /// Takes the first task whose deadline has come.
    pub(crate) fn expire(&mut self, slots: &mut Slots<[TaskSlot]>, now: Instant) -> Option<u16> {
        let index = self.head;
        (index != NIL && slots[index].deadline.is_some_and(|d| d <= now)).then(|| {
            self.remove(slots, index);
            index
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    fn order(list: List, slots: &Slots<[TaskSlot]>) -> Vec<u16> {
        let mut out = Vec::new();
        let mut at = list.front();
        while let Some(i) = at {
            out.push(i);
            at = List::after(slots, i);
        }
        out
    }

    #[test]
    fn list_keeps_order_through_removals() {
        let mut slots = Slots::<[TaskSlot; 6]>::new();
        let slots: &mut Slots<[TaskSlot]> = &mut slots;
        let mut list = List::EMPTY;
        for i in [3, 1, 4, 0] {
            list.push_back(slots, i);
        }
        list.push_front(slots, 7); // a reserved slot
        assert_eq!(order(list, slots), [7, 3, 1, 4, 0]);
        list.remove(slots, 4);
        list.remove(slots, 7);
        list.remove(slots, 0);
        list.insert_before(slots, 3, 5);
        assert_eq!(order(list, slots), [5, 3, 1]);
        assert_eq!(list.pop_front(slots), Some(5));
        assert_eq!(list.pop_front(slots), Some(3));
        assert_eq!(list.pop_front(slots), Some(1));
        assert!(list.is_empty() && list.pop_front(slots).is_none());
    }

    #[test]
    fn a_list_sorts_by_the_order_of_sending() {
        let mut slots = Slots::<[TaskSlot; 9]>::new();
        let slots: &mut Slots<[TaskSlot]> = &mut slots;
        // Around the wrap of the order.
        let orders = [5, u32::MAX - 1, 7, 0, u32::MAX, 6, 1, 3, 2];
        for count in 0..=9 {
            let mut list = List::EMPTY;
            for (i, order) in (0..count).zip(orders) {
                slots[i].order = order;
                list.push_back(slots, i);
            }
            list.sort(slots);
            let sorted = order(list, slots);
            assert_eq!(sorted.len(), usize::from(count));
            let turned = |i: &u16| slots[*i].order.wrapping_add(10);
            assert!(sorted.is_sorted_by_key(turned), "{sorted:?}");
            assert_eq!(list.back(), sorted.last().copied());
        }
        let (mut first, mut second) = (List::EMPTY, List::EMPTY);
        first.push_back(slots, 3);
        first.append(slots, List::EMPTY);
        second.push_back(slots, 1);
        second.push_back(slots, 2);
        first.append(slots, second);
        assert_eq!(order(first, slots), [3, 1, 2]);
        assert_eq!(List::before(slots, 1), Some(3));
    }

    #[test]
    fn deadlines_come_out_sorted() {
        let mut slots = Slots::<[TaskSlot; 5]>::new();
        let slots: &mut Slots<[TaskSlot]> = &mut slots;
        let mut deadlines = Deadlines::EMPTY;
        for (i, at) in [(0, 50), (1, 20), (2, 90), (3, 20), (4, 10)] {
            deadlines.insert(slots, i, Instant::from_micros(at));
        }
        deadlines.remove(slots, 0);
        deadlines.remove(slots, 0);
        assert_eq!(deadlines.first(slots), Some(Instant::from_micros(10)));
        let mut out = Vec::new();
        while let Some(i) = deadlines.expire(slots, Instant::from_micros(50)) {
            out.push(i);
        }
        assert_eq!(out, [4, 1, 3]);
        assert_eq!(deadlines.first(slots), Some(Instant::from_micros(90)));
    }
}
