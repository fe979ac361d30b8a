//! Where requests wait for the driver thread.

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use iscsi_disk::Geometry;

use super::request::Request;
use crate::engine::{NOTICES, Notice};
use crate::error::Error;
use crate::wait::Waker;

/// What handles and driver share. The lock is held for a push or a swap only, never while bytes move.
#[derive(Debug)]
pub(super) struct Inbox {
    waker: Arc<Waker>,
    state: Mutex<State>,
    ended: Condvar,
}

#[derive(Debug, Default)]
struct State {
    requests: Vec<Request>,
    notices: VecDeque<Notice>,
    geometry: Option<Geometry>,
    /// Nothing more is taken; what is under way goes on to its end.
    closed: bool,
    /// How the session ended, once the driver thread is gone.
    end: Option<Result<(), Error>>,
}

impl Inbox {
    pub(super) fn new(waker: Arc<Waker>) -> Self {
        Self { waker, state: Mutex::default(), ended: Condvar::new() }
    }

    /// No code of a user runs under the lock, so a poisoned one is as good as any.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands requests over, with one wake-up. After the end they are dropped, which answers them.
    pub(super) fn push(&self, requests: impl IntoIterator<Item = Request>) {
        let mut state = self.state();
        if state.closed {
            drop(state);
            requests.into_iter().for_each(drop);
            return;
        }
        state.requests.extend(requests);
        drop(state);
        self.waker.wake();
    }

    /// Takes everything, leaving the (empty) memory of `into`. Returns whether nothing more will come.
    pub(super) fn swap(&self, into: &mut Vec<Request>) -> bool {
        let mut state = self.state();
        core::mem::swap(&mut state.requests, into);
        state.closed
    }

    /// Whether there is something to take, or to end.
    pub(super) fn has_news(&self, closing: bool) -> bool {
        let state = self.state();
        !state.requests.is_empty() || state.closed != closing
    }

    /// Takes no more requests.
    pub(super) fn close(&self) {
        self.state().closed = true;
        self.waker.wake();
    }

    pub(super) fn add_notices(&self, notices: &mut VecDeque<Notice>) {
        if !notices.is_empty() {
            let mut state = self.state();
            state.notices.append(notices);
            let excess = state.notices.len().saturating_sub(NOTICES);
            state.notices.drain(..excess);
        }
    }

    pub(super) fn take_notice(&self) -> Option<Notice> {
        self.state().notices.pop_front()
    }

    pub(super) fn set_geometry(&self, geometry: Geometry) {
        self.state().geometry = Some(geometry);
    }

    /// The geometry of the disk, if it has changed since the start.
    pub(super) fn geometry(&self) -> Option<Geometry> {
        self.state().geometry
    }

    /// The driver is done: whatever is left is answered.
    pub(super) fn end(&self, result: Result<(), Error>) {
        let mut state = self.state();
        state.closed = true;
        state.end.get_or_insert(result);
        let left = core::mem::take(&mut state.requests);
        drop(state);
        drop(left);
        self.ended.notify_all();
    }

    pub(super) fn wait_for_end(&self) -> Result<(), Error> {
        let mut state = self.state();
        loop {
            if let Some(end) = &state.end {
                return end.clone();
            }
            state = self.ended.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}
