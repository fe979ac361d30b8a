//! The disks of a service.

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicU32, Ordering};

use iscsi_core::{Buffers, Lun, TaskId, Wants};
use iscsi_disk::{
    Disk, DiskConfig, DiskError, DiskEvent, DiskState, Geometry, Identity, RequestError, RequestId,
};

use super::request::{CommandJob, DiskJob, Front, Opened};
use crate::engine::Engine;
use crate::error::Error;
use crate::reactor::Reactor;
use crate::reply::Reply as _;
use crate::table::Table;

/// Names a disk of a [`Service`](super::Service). It is never used for another one.
///
/// ```
/// fn first() -> iscsi_runtime::UnitId {
///     iscsi_runtime::UnitId::FIRST
/// }
/// # first();
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct UnitId {
    pub(super) index: usize,
    /// Tells apart those that had the same place, one after the other.
    pub(super) generation: u64,
}

impl UnitId {
    /// The disk that was added or opened first.
    pub const FIRST: Self = Self { index: 0, generation: 0 };
}

/// The block layer of a logical unit that was started once.
///
/// ```
/// fn size(unit: &iscsi_runtime::Unit) -> u64 {
///     unit.geometry.capacity()
/// }
/// # let _ = size;
/// ```
#[derive(Debug)]
pub struct Unit {
    /// The disk.
    pub disk: Box<Disk>,
    /// What it was when it was opened.
    pub identity: Identity,
    /// Sizes, limits and abilities.
    pub geometry: Geometry,
}

/// What a look at the disks brought.
#[derive(Debug, Default)]
pub(super) struct News {
    /// Requests have ended since the last look at the backlog.
    pub(super) freed: bool,
    /// The geometry of a disk has changed.
    pub(super) resized: bool,
}

/// A disk on the session.
#[derive(Debug)]
pub(super) struct DrivenUnit<F: Front> {
    id: UnitId,
    pub(super) disk: Box<Disk>,
    /// `None` until it was started for the first time.
    identity: Option<Identity>,
    /// Who waits for that.
    pub(super) opening: Option<F::Opened>,
    /// Started again after a reconnect, it turned out to be another device: nothing is done with that.
    changed: bool,
    /// Nobody has it any more.
    pub(super) closed: bool,
    /// Its geometry has changed, and nobody was told.
    pub(super) resized: bool,
    /// Requests beyond the disk's slots, oldest first.
    pub(super) backlog: VecDeque<(iscsi_disk::Request, DiskJob<F>)>,
    jobs: Table<RequestId, DiskJob<F>>,
    /// The disk's count of resets, for other threads.
    resets: Arc<AtomicU32>,
}

impl<F: Front> DrivenUnit<F> {
    fn with(id: UnitId, disk: Box<Disk>) -> Self {
        Self {
            id,
            disk,
            identity: None,
            opening: None,
            changed: false,
            closed: false,
            resized: false,
            backlog: VecDeque::new(),
            jobs: Table::new(),
            resets: Arc::default(),
        }
    }

    pub(super) fn new(id: UnitId, unit: Unit) -> Self {
        let this = Self { identity: Some(unit.identity), ..Self::with(id, unit.disk) };
        this.publish();
        this
    }

    /// A disk that has to be started.
    pub(super) fn opening(
        id: UnitId,
        capacity: usize,
        config: DiskConfig,
        reply: F::Opened,
    ) -> Self {
        let mut disk = Disk::boxed(capacity, config);
        // A new disk can be started.
        let _ = disk.start();
        Self { opening: Some(reply), ..Self::with(id, disk) }
    }

    /// Its name.
    pub(super) const fn id(&self) -> UnitId {
        self.id
    }

    /// The name of the next disk in this place.
    pub(super) const fn next_id(&self) -> UnitId {
        UnitId { generation: self.id.generation + 1, ..self.id }
    }

    /// It could not be opened, or it was closed and is gone.
    pub(super) fn is_dead(&self) -> bool {
        self.identity.is_none() && self.opening.is_none() && self.disk.in_flight() == 0
    }

    /// At this logical unit is another device than the one that was opened: nobody's commands go there.
    pub(super) fn is_lost(&self, lun: Lun) -> bool {
        let changed = self.disk.state() == DiskState::Failed(DiskError::DeviceChanged);
        (changed || self.changed) && self.disk.config().lun == lun
    }

    pub(super) fn geometry(&self) -> Option<&Geometry> {
        self.disk.geometry()
    }

    /// What [`publish`](Self::publish) stores.
    pub(super) const fn resets(&self) -> &Arc<AtomicU32> {
        &self.resets
    }

    /// Lets other threads see that the device was reset: before the end of any command that was answered later, so that whoever has flushed
    /// looks at the right number.
    pub(super) fn publish(&self) {
        self.resets.store(self.disk.resets(), Ordering::Release);
    }

    /// A session is opened anew: what is there now may be another device.
    pub(super) fn look_again(&mut self) {
        // Refused if it is being looked at anyway, or has failed; those start again.
        let _ = self.disk.check();
    }

    /// After a new login by hand: a disk that has failed starts again.
    pub(super) fn revive(&mut self) {
        if self.identity.is_some() && matches!(self.disk.state(), DiskState::Failed(_)) {
            // Refused while requests are left from before; the next reconnect tries again.
            let _ = self.disk.start();
        }
    }

    pub(super) fn submit(&mut self) {
        if self.changed {
            self.end_backlog(&Error::Disk(DiskError::DeviceChanged));
        }
        // What was asked for meanwhile is done once the disk has started again.
        if self.disk.state() == DiskState::Starting {
            return;
        }
        while let Some((request, job)) = self.backlog.pop_front() {
            if !job.is_wanted() {
                continue;
            }
            match self.disk.submit(request) {
                Ok(id) => self.jobs.insert(id, job),
                Err(RequestError::NoFreeRequest) => {
                    self.backlog.push_front((request, job));
                    return;
                }
                Err(error) => job.end(Err(error.into())),
            }
        }
    }

    fn end_backlog(&mut self, error: &Error) {
        self.backlog.drain(..).for_each(|(_, job)| job.end(Err(error.clone())));
    }

    /// Lets the disk submit commands and tells what has ended. True if it has submitted some.
    pub(super) fn drive<R: Reactor>(&mut self, engine: &mut Engine<R>, news: &mut News) -> bool {
        let now = engine.now();
        let submitted = self.disk.drive(&mut engine.session, now);
        while let Some(event) = self.disk.poll_event() {
            match event {
                DiskEvent::Done { request, result } => {
                    news.freed = true;
                    if let Some(job) = self.jobs.remove(request) {
                        job.end(result.map_err(|error| engine.disk_failure(error)));
                    }
                }
                DiskEvent::GeometryChanged => {
                    self.resized = true;
                    news.resized = true;
                }
                DiskEvent::StateChanged(DiskState::Ready) => self.started(),
                DiskEvent::StateChanged(DiskState::Failed(error)) => {
                    // Others may go on, and the line ends.
                    news.freed = true;
                    if let Some(reply) = self.opening.take() {
                        reply.send(Err(engine.disk_failure(error)));
                    }
                }
                _ => {}
            }
        }
        if let DiskState::Failed(error) = self.disk.state()
            && !self.backlog.is_empty()
        {
            // It says more than that the disk is not ready.
            self.end_backlog(&engine.disk_failure(error));
        }
        self.clear();
        submitted
    }

    /// Makes a place of one that nobody has, once nothing of it is under way.
    fn clear(&mut self) {
        if self.opening.take_if(|reply| !reply.is_wanted()).is_some() {
            // Whoever wanted it does not wait for it any more.
            self.closed = true;
        }
        let disk = &self.disk;
        let idle = disk.in_use() == 0 && disk.in_flight() == 0 && !disk.is_verifying();
        if self.closed && idle && self.backlog.is_empty() {
            *self = Self::with(self.id, Disk::boxed(1, *disk.config()));
        }
    }

    fn started(&mut self) {
        let (Some(&identity), Some(&geometry)) = (self.disk.identity(), self.disk.geometry())
        else {
            return;
        };
        let first = *self.identity.get_or_insert(identity);
        self.changed = !identity.is_same_device(&first);
        if let Some(reply) = self.opening.take() {
            reply.send(Ok(Opened { unit: self.id, identity, geometry }));
        }
    }
}

/// Lends the memory of all that is under way: of commands, and of requests to disks.
pub(super) fn lend<F: Front>(
    units: &mut [DrivenUnit<F>],
    jobs: &mut Table<TaskId, CommandJob<F>>,
    mut turn: impl FnMut(&mut dyn Buffers) -> Wants,
) -> Wants {
    chain(units, jobs, &mut turn)
}

fn chain<F: Front>(
    units: &mut [DrivenUnit<F>],
    others: &mut dyn Buffers,
    turn: &mut dyn FnMut(&mut dyn Buffers) -> Wants,
) -> Wants {
    match units.split_first_mut() {
        None => turn(others),
        Some((unit, rest)) => {
            let mut buffers = unit.disk.buffers(&mut unit.jobs).or(others);
            chain(rest, &mut buffers, turn)
        }
    }
}
