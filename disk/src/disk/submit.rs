//! Requests in: what is refused, what has to wait, and letting go.

use iscsi_core::{Connection, Instant, Session};

use super::{Disk, DiskState, EDGE_BLOCK};
use crate::error::{DiskError, RequestError};
use crate::geometry::Geometry;
use crate::request::{Operation, Request, RequestId};
use crate::slot::{NO_AREA, Phase, RequestEntry, Retry};
use crate::split::{covered, covering};

impl Disk {
    /// Takes a request. Its commands are submitted by [`drive`](Self::drive); its one end is a [`DiskEvent::Done`](crate::DiskEvent::Done).
    ///
    /// A range of no bytes is done at once, and so is an unmap of no whole block. Requests that are under way together take effect in any order.
    ///
    /// # Errors
    /// [`RequestError`]; nothing changed then.
    pub fn submit(&mut self, request: Request) -> Result<RequestId, RequestError> {
        if !matches!(self.core.state, DiskState::Ready | DiskState::Checking) {
            return Err(RequestError::NotReady);
        }
        let geometry = self.core.geometry.as_ref().ok_or(RequestError::NotReady)?;
        validate(&request, geometry)?;
        let block_size = geometry.block_size();
        let index = self.allocate().ok_or(RequestError::NoFreeRequest)?;
        let Some(slot) = self.slots.get_mut(usize::from(index)) else {
            return Err(RequestError::NoFreeRequest);
        };
        let entry = &mut slot.request;
        fill(entry, &request, block_size);
        let id = RequestId::new(index, entry.generation);
        self.core.in_use += 1;
        if entry.first == entry.end {
            self.finish(index);
        } else if !request.operation.modifies() {
            self.begin(index);
        } else if !self.core.waiting.is_empty() || !self.may_begin(index) {
            // Writes keep their order from the first one on that has to wait, so that none waits for ever.
            entry_mut(self, index, |entry| entry.phase = Phase::Waiting);
            self.core.waiting.push_back(&mut self.slots, index);
        } else {
            self.begin(index);
        }
        Ok(id)
    }

    fn allocate(&mut self) -> Option<u16> {
        if let Some(index) = self.core.free.pop_front(&self.slots) {
            return Some(index);
        }
        let index = self.core.fresh;
        (usize::from(index) < self.slots.len()).then(|| {
            self.core.fresh += 1;
            index
        })
    }

    /// Whether a modifying request may be carried out now. A block of which a part is written is read first and then written back as a
    /// whole: in between, no one else may write it.
    fn may_begin(&self, index: u16) -> bool {
        let Some(slot) = self.slots.get(usize::from(index)) else { return false };
        let request = &slot.request;
        let edges = request.edges();
        if edges == 0 && self.core.edges.is_empty() {
            return true;
        }
        if self.core.edges.free() < edges || self.core.edges.touches(request.first, request.end) {
            return false;
        }
        (0..edges).all(|edge| {
            let lba = request.edge_lba(edge);
            self.slots.iter().take(self.core.fresh.into()).all(|other| {
                let other = &other.request;
                !(other.is_modifying() && other.first <= lba && lba < other.end)
            })
        })
    }

    /// Carries a request out: puts it in line for submission.
    fn begin(&mut self, index: u16) {
        let Some(slot) = self.slots.get_mut(usize::from(index)) else { return };
        let request = &mut slot.request;
        let edges = if request.operation.modifies() { request.edges() } else { 0 };
        if edges == 0 {
            request.phase = Phase::Transfer;
            request.cursor = request.first;
        } else {
            request.phase = Phase::Edges;
            request.cursor = 0;
            let single = request.end - request.first == 1;
            if request.head_cut || single {
                request.head = self.core.edges.take(index, request.first);
            }
            if single {
                request.tail = request.head;
            } else if request.tail_cut {
                request.tail = self.core.edges.take(index, request.end - 1);
            }
        }
        self.make_ready(index);
    }

    pub(super) fn make_ready(&mut self, index: u16) {
        let Some(slot) = self.slots.get_mut(usize::from(index)) else { return };
        if !slot.request.queued {
            slot.request.queued = true;
            self.core.ready.push_back(&mut self.slots, index);
        }
    }

    /// Ends a request of which nothing is in flight.
    pub(super) fn finish(&mut self, index: u16) {
        let Some(slot) = self.slots.get_mut(usize::from(index)) else { return };
        let request = &mut slot.request;
        let modified = request.is_modifying();
        let had_edges = request.head != NO_AREA || request.tail != NO_AREA;
        request.phase = Phase::Done;
        request.head = NO_AREA;
        request.tail = NO_AREA;
        let detached = request.detached;
        if core::mem::take(&mut request.queued) {
            self.core.ready.remove(&mut self.slots, index);
        }
        if had_edges {
            self.core.edges.release(index);
        }
        if detached {
            entry_mut(self, index, |entry| entry.phase = Phase::Free);
            self.core.in_use -= 1;
            self.core.free.push_front(&mut self.slots, index);
        } else {
            self.core.done.push_back(&mut self.slots, index);
        }
        if modified {
            self.wake_waiting();
        }
    }

    /// Begins waiting requests in their order, as far as nothing is in their way.
    fn wake_waiting(&mut self) {
        while let Some(index) = self.core.waiting.front() {
            if !self.may_begin(index) {
                return;
            }
            self.core.waiting.pop_front(&self.slots);
            self.begin(index);
        }
    }

    /// Gives a request up. If none of it was submitted it ends at once; else its tasks are aborted, and it ends when they have. The result is
    /// [`DiskError::Cancelled`]: any part of a write may have been written.
    ///
    /// # Errors
    /// [`RequestError::NoSuchRequest`] if the request has ended.
    pub fn cancel(
        &mut self,
        request: RequestId,
        session: &mut Session,
        now: Instant,
    ) -> Result<(), RequestError> {
        self.running(request)?;
        for task in self.tasks(request) {
            // A task that has ended meanwhile reports that by its event.
            let _ended = session.abort(task, now);
        }
        self.fail(request.index() as u16, DiskError::Cancelled);
        Ok(())
    }

    /// Suppresses the end event of a request. Its memory must stay lendable until the disk no longer [`holds`](Self::holds) it; to take the memory
    /// away at once, use [`revoke`](Self::revoke).
    ///
    /// # Errors
    /// [`RequestError::NoSuchRequest`] if the request has ended.
    pub fn detach(&mut self, request: RequestId) -> Result<(), RequestError> {
        self.running(request)?;
        entry_mut(self, request.index() as u16, |entry| entry.detached = true);
        Ok(())
    }

    /// Takes the memory of a request away at once: reads are discarded from now on, writes are aborted, and the connection is dropped if bytes
    /// of the request are owed to the target ([`Connection::revoke`]). There is no end event.
    ///
    /// # Errors
    /// [`RequestError::NoSuchRequest`] if the request has ended; then its memory is free anyway.
    pub fn revoke(
        &mut self,
        request: RequestId,
        connection: &mut Connection,
        session: &mut Session,
        now: Instant,
    ) -> Result<(), RequestError> {
        self.detach(request)?;
        for slot in 0..self.slots.len() {
            let Some(command) = self.slots.get_mut(slot).map(|slot| &mut slot.command) else {
                continue;
            };
            let Some(task) = command.task.filter(|_| command.request == request) else { continue };
            if connection.revoke(task, session, now).is_ok() {
                command.revoked = true;
                self.core.revoked += 1;
            }
        }
        self.fail(request.index() as u16, DiskError::Cancelled);
        Ok(())
    }

    /// The entry of a request that has not ended.
    fn running(&self, request: RequestId) -> Result<&RequestEntry, RequestError> {
        self.request(request)
            .filter(|entry| entry.phase != Phase::Done)
            .ok_or(RequestError::NoSuchRequest)
    }

    /// Fails a request; it ends now or when nothing of it is in flight any more. The first error counts.
    pub(super) fn fail(&mut self, index: u16, error: DiskError) {
        let Some(slot) = self.slots.get_mut(usize::from(index)) else { return };
        let request = &mut slot.request;
        if request.result.is_ok() {
            request.result = Err(error);
        }
        if request.in_flight > 0 {
            return;
        }
        if request.phase == Phase::Waiting {
            self.core.waiting.remove(&mut self.slots, index);
            self.finish(index);
            // Whoever waited behind it may go on.
            self.wake_waiting();
        } else {
            self.finish(index);
        }
    }
}

/// Whether the device can do that.
fn validate(request: &Request, geometry: &Geometry) -> Result<(), RequestError> {
    let &Request { operation, offset, len } = request;
    let capacity = geometry.capacity();
    if offset.checked_add(len).is_none_or(|end| end > capacity) {
        return Err(RequestError::OutOfRange { offset, len, capacity });
    }
    if operation.modifies() && geometry.is_read_only() {
        return Err(RequestError::ReadOnly);
    }
    let block_size = geometry.block_size();
    let size = u64::from(block_size);
    let aligned = offset.is_multiple_of(size) && len.is_multiple_of(size);
    let whole_only = match operation {
        Operation::Read | Operation::Flush | Operation::Unmap | Operation::Verify => false,
        Operation::Compare | Operation::CompareAndWrite => true,
        Operation::Write { .. } | Operation::WriteZeroes { .. } => block_size as usize > EDGE_BLOCK,
    };
    if whole_only && !aligned {
        return Err(RequestError::Unaligned { offset, len, block_size });
    }
    match operation {
        Operation::Unmap if !geometry.can_unmap() => Err(RequestError::Unsupported),
        Operation::CompareAndWrite => {
            let max = geometry.max_compare_and_write().min(u64::from(u32::MAX / 2));
            match max {
                0 => Err(RequestError::Unsupported),
                _ if len > max => Err(RequestError::TooLong { len, max }),
                _ => Ok(()),
            }
        }
        _ => Ok(()),
    }
}

/// Changes an entry in place.
pub(super) fn entry_mut(disk: &mut Disk, index: u16, change: impl FnOnce(&mut RequestEntry)) {
    if let Some(slot) = disk.slots.get_mut(usize::from(index)) {
        change(&mut slot.request);
    }
}

fn fill(entry: &mut RequestEntry, request: &Request, block_size: u32) {
    let &Request { operation, offset, len } = request;
    let size = u64::from(block_size);
    (entry.first, entry.end) = match operation {
        Operation::Flush => (0, 1),
        Operation::Unmap => covered(offset, len, block_size),
        _ if len == 0 => (0, 0),
        _ => covering(offset, len, block_size),
    };
    let partial = matches!(operation, Operation::Write { .. } | Operation::WriteZeroes { .. });
    entry.head_cut = partial && !offset.is_multiple_of(size);
    entry.tail_cut = partial && !offset.saturating_add(len).is_multiple_of(size);
    entry.generation = entry.generation.wrapping_add(1) & 0xffff_ffff_ffff;
    entry.operation = operation;
    entry.detached = false;
    entry.queued = false;
    entry.offset = offset;
    entry.len = len;
    entry.in_flight = 0;
    entry.head = NO_AREA;
    entry.tail = NO_AREA;
    entry.retry = Retry::NONE;
    entry.result = Ok(());
}
