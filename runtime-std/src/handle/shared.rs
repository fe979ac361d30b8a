//! What the handles of a session and its driver thread share.

use alloc::sync::Arc;
use std::sync::{Mutex, PoisonError};

use iscsi_disk::Geometry;
use iscsi_runtime::{Inbox, Request, Spare, Threads};

use crate::wait::Waker;

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) inbox: Inbox<Request<Threads>, Arc<Waker>, Spare>,
    /// Of the disk, if it has changed since the start.
    geometry: Mutex<Option<Geometry>>,
}

impl Shared {
    pub(super) fn new(waker: Arc<Waker>) -> Self {
        Self { inbox: Inbox::new(waker, Spare::new()), geometry: Mutex::default() }
    }

    pub(super) fn set_geometry(&self, geometry: Geometry) {
        *self.geometry.lock().unwrap_or_else(PoisonError::into_inner) = Some(geometry);
    }

    pub(super) fn geometry(&self) -> Option<Geometry> {
        *self.geometry.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
