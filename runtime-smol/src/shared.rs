//! What the handles of a session and its driver share.

use core::time::Duration;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use iscsi_core::Lun;
use iscsi_core::wire::TaskManagementResponseCode;
use iscsi_disk::{Geometry, Identity};
use iscsi_runtime::{
    Completed, Discovery, Error, Failed, Front, Inbox, Opened, Reply, Request, Sender, Spare,
    Status, UnitId,
};

use crate::memory::Memory;
use crate::reactor::Nudge;

/// The side of the service that futures see.
#[derive(Debug)]
pub(crate) struct Futures;

impl Front for Futures {
    type Payload = Memory;
    type Command = Sender<Result<(Completed, Memory), Failed<Memory>>>;
    type Disk = Sender<Result<Memory, Failed<Memory>>>;
    type Opened = Opening;
    type Function = Sender<Result<TaskManagementResponseCode, Error>>;
    type Connected = Sender<Result<(), Error>>;
    type Ping = Sender<Result<Duration, Error>>;
    type Discovery = Sender<Result<Discovery, Error>>;
    type Status = Sender<Status>;
}

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) inbox: Inbox<Request<Futures>, Arc<Nudge>, Spare<Memory>>,
    /// Disks that somebody has, whose geometry the driver keeps up to date.
    disks: Mutex<Vec<Weak<Known>>>,
}

/// No code of a user runs under these locks, so a poisoned one is as good as any.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    pub(crate) const fn new(nudge: Arc<Nudge>) -> Self {
        Self { inbox: Inbox::new(nudge, Spare::new()), disks: Mutex::new(Vec::new()) }
    }

    /// Tells a disk what it is now.
    pub(crate) fn resized(&self, unit: UnitId, geometry: Geometry) {
        let disks = lock(&self.disks);
        for disk in disks.iter().filter_map(Weak::upgrade).filter(|disk| disk.unit == unit) {
            *lock(&disk.geometry) = geometry;
        }
    }
}

/// Where the answer to the wish for a disk goes. The driver makes the disk, so that it is closed also if nobody takes it any more.
#[derive(Debug)]
pub(crate) struct Opening {
    pub(crate) lun: Lun,
    pub(crate) shared: Arc<Shared>,
    pub(crate) sender: Sender<Result<Arc<Known>, Error>>,
}

impl Reply<Result<Opened, Error>> for Opening {
    fn send(self, answer: Result<Opened, Error>) {
        let Self { lun, shared, sender } = self;
        sender.send(answer.map(|opened| Known::new(lun, &opened, shared)));
    }

    fn is_wanted(&self) -> bool {
        self.sender.is_wanted()
    }
}

/// What is known of a disk. The last one to have it closes the disk.
#[derive(Debug)]
pub(crate) struct Known {
    pub(crate) unit: UnitId,
    pub(crate) lun: Lun,
    pub(crate) identity: Identity,
    geometry: Mutex<Geometry>,
    shared: Arc<Shared>,
}

impl Known {
    fn new(lun: Lun, opened: &Opened, shared: Arc<Shared>) -> Arc<Self> {
        let known = Arc::new(Self {
            unit: opened.unit,
            lun,
            identity: opened.identity,
            geometry: Mutex::new(opened.geometry),
            shared,
        });
        let mut disks = lock(&known.shared.disks);
        disks.retain(|disk| disk.strong_count() > 0);
        disks.push(Arc::downgrade(&known));
        drop(disks);
        known
    }

    pub(crate) fn geometry(&self) -> Geometry {
        *lock(&self.geometry)
    }
}

impl Drop for Known {
    fn drop(&mut self) {
        // Requests that were handed over before are carried out before.
        self.shared.inbox.push([Request::Close(self.unit)]);
    }
}
