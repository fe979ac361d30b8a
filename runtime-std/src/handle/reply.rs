//! One answer from the driver thread to the thread that asked.

use alloc::sync::Arc;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{self, Thread};
use std::time::Instant;

#[derive(Debug)]
struct Slot<T>(Mutex<State<T>>);

#[derive(Debug)]
enum State<T> {
    Empty,
    /// This thread sleeps until there is an answer.
    Awaited(Thread),
    Answered(T),
    /// There will never be an answer, or it was taken.
    Over,
}

impl<T> Slot<T> {
    /// No code of a user runs under the lock, so a poisoned one is as good as any.
    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn settle(&self, state: State<T>) {
        let before = core::mem::replace(&mut *self.state(), state);
        if let State::Awaited(thread) = before {
            thread.unpark();
        }
    }
}

/// Where the answer comes from.
#[derive(Debug)]
pub(super) struct Sender<T>(Option<Arc<Slot<T>>>);

/// Where the answer goes.
#[derive(Debug)]
pub(super) struct Receiver<T>(Arc<Slot<T>>);

pub(super) fn channel<T>() -> (Sender<T>, Receiver<T>) {
    let slot = Arc::new(Slot(Mutex::new(State::Empty)));
    (Sender(Some(slot.clone())), Receiver(slot))
}

impl<T> Sender<T> {
    pub(super) fn send(mut self, answer: T) {
        if let Some(slot) = self.0.take() {
            slot.settle(State::Answered(answer));
        }
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        if let Some(slot) = self.0.take() {
            slot.settle(State::Over);
        }
    }
}

impl<T> Receiver<T> {
    /// Whether [`wait`](Self::wait) would return at once.
    pub(super) fn is_ready(&self) -> bool {
        matches!(*self.0.state(), State::Answered(_) | State::Over)
    }

    /// The answer; `None` if the other side is gone.
    pub(super) fn wait(self) -> Option<T> {
        self.sleep(None);
        self.take()
    }

    /// The answer, or this again if it has not come by then.
    pub(super) fn wait_until(self, until: Instant) -> Result<Option<T>, Self> {
        self.sleep(Some(until));
        if self.is_ready() { Ok(self.take()) } else { Err(self) }
    }

    fn take(&self) -> Option<T> {
        match core::mem::replace(&mut *self.0.state(), State::Over) {
            State::Answered(answer) => Some(answer),
            _ => None,
        }
    }

    fn sleep(&self, until: Option<Instant>) {
        loop {
            {
                let mut state = self.0.state();
                if matches!(*state, State::Answered(_) | State::Over) {
                    return;
                }
                *state = State::Awaited(thread::current());
            }
            match until {
                None => thread::park(),
                Some(until) => match until.checked_duration_since(Instant::now()) {
                    Some(time) if !time.is_zero() => thread::park_timeout(time),
                    _ => return,
                },
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use super::*;

    #[test]
    fn an_answer_arrives_before_and_after_the_wait() {
        let (sender, receiver) = channel();
        sender.send(1);
        assert!(receiver.is_ready());
        assert_eq!(receiver.wait(), Some(1));

        let (sender, receiver) = channel();
        let asker = thread::spawn(|| receiver.wait());
        thread::sleep(Duration::from_millis(20));
        sender.send(2);
        assert_eq!(asker.join().unwrap(), Some(2));
    }

    #[test]
    fn a_sender_that_is_gone_ends_the_wait() {
        let (sender, receiver) = channel::<u8>();
        let asker = thread::spawn(|| receiver.wait());
        drop(sender);
        assert_eq!(asker.join().unwrap(), None);
    }

    #[test]
    fn a_wait_with_a_limit_can_go_on() {
        let (sender, receiver) = channel();
        let soon = Instant::now() + Duration::from_millis(5);
        let receiver = receiver.wait_until(soon).unwrap_err();
        assert!(!receiver.is_ready() && Instant::now() >= soon);
        sender.send(3);
        assert_eq!(receiver.wait_until(soon).unwrap(), Some(3), "an answer counts, however late");
    }

    #[test]
    fn nobody_has_to_listen() {
        let (sender, receiver) = channel();
        drop(receiver);
        sender.send(4);
    }
}
