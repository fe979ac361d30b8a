//! What the handles of a session and its driver share.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use iscsi_core::Lun;
use iscsi_disk::{Geometry, Identity};
use iscsi_runtime::{Inbox, Opened, Request, Threads, UnitId, Wake as _};

use crate::memory::Memory;
use crate::reactor::Nudge;

/// The side of the service that futures see.
pub(crate) type Futures = Threads<Memory>;

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) inbox: Inbox<Request<Futures>, Arc<Nudge>>,
    /// Disks that somebody has, whose geometry the driver keeps up to date.
    disks: Mutex<Vec<Weak<Known>>>,
    /// A disk was added since the driver looked.
    added: AtomicBool,
}

/// What is known of a disk.
#[derive(Debug)]
pub(crate) struct Known {
    pub(crate) unit: UnitId,
    pub(crate) lun: Lun,
    pub(crate) identity: Identity,
    geometry: Mutex<Geometry>,
}

/// No code of a user runs under these locks, so a poisoned one is as good as any.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Known {
    pub(crate) fn geometry(&self) -> Geometry {
        *lock(&self.geometry)
    }
}

impl Shared {
    pub(crate) const fn new(nudge: Arc<Nudge>) -> Self {
        Self {
            inbox: Inbox::new(nudge),
            disks: Mutex::new(Vec::new()),
            added: AtomicBool::new(false),
        }
    }

    /// Takes a disk that was opened.
    pub(crate) fn add(&self, lun: Lun, opened: &Opened) -> Arc<Known> {
        let known = Arc::new(Known {
            unit: opened.unit,
            lun,
            identity: opened.identity,
            geometry: Mutex::new(opened.geometry),
        });
        let mut disks = lock(&self.disks);
        disks.retain(|disk| disk.strong_count() > 0);
        disks.push(Arc::downgrade(&known));
        drop(disks);
        // It may have been resized between its opening and now.
        self.added.store(true, Ordering::Release);
        self.inbox.waker().wake();
        known
    }

    /// Whether disks were added since the last question.
    pub(crate) fn take_added(&self) -> bool {
        self.added.load(Ordering::Relaxed) && self.added.swap(false, Ordering::Acquire)
    }

    /// Tells all disks what they are now.
    pub(crate) fn refresh(&self, geometry: impl Fn(UnitId) -> Option<Geometry>) {
        for disk in lock(&self.disks).iter().filter_map(Weak::upgrade) {
            if let Some(geometry) = geometry(disk.unit) {
                *lock(&disk.geometry) = geometry;
            }
        }
    }
}
