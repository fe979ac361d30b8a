//! What happened, for people.

use core::cell::RefCell;
use std::rc::Rc;

use iscsi_core::testing::Recorder;
use iscsi_core::wire::Bhs;
use iscsi_core::{Direction, Instant};

/// A recorder that outlives a run that panics, or nothing.
#[derive(Debug, Clone, Default)]
pub(crate) struct Log(Option<Rc<RefCell<Recorder>>>);

impl Log {
    pub(crate) fn recording() -> Self {
        Self(Some(Rc::new(RefCell::new(Recorder::new()))))
    }

    pub(crate) const fn is_recording(&self) -> bool {
        self.0.is_some()
    }

    pub(crate) fn line(&self, now: Instant, text: impl FnOnce() -> String) {
        if let Some(recorder) = &self.0 {
            recorder.borrow_mut().line(&text(), now);
        }
    }

    pub(crate) fn header(&self, direction: Direction, bhs: &Bhs, now: Instant) {
        if let Some(recorder) = &self.0 {
            recorder.borrow_mut().header(direction, bhs, now);
        }
    }

    pub(crate) fn bytes(&self, direction: Direction, bytes: &[u8], now: Instant) {
        if let Some(recorder) = &self.0 {
            recorder.borrow_mut().bytes(direction, bytes, now);
        }
    }

    pub(crate) fn connected(&self, now: Instant) {
        if let Some(recorder) = &self.0 {
            recorder.borrow_mut().connected(now);
        }
    }

    pub(crate) fn closed(&self, direction: Direction, now: Instant) {
        if let Some(recorder) = &self.0 {
            recorder.borrow_mut().closed(direction, now);
        }
    }

    /// The capture and the lines.
    pub(crate) fn finish(self) -> (Vec<u8>, Vec<String>) {
        self.0.map_or_else(Default::default, |recorder| {
            let recorder = recorder.borrow();
            (recorder.pcap().to_vec(), recorder.lines().to_vec())
        })
    }
}
