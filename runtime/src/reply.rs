//! One answer from a service to whoever asked.

use alloc::sync::Arc;
use core::fmt;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{self, Thread};
use std::time::Instant;

/// Where the answer to a request goes. Dropped without an answer, it tells that there will be none.
///
/// ```
/// use iscsi_runtime::{Reply, one_shot};
/// let (sender, receiver) = one_shot();
/// assert!(sender.is_wanted());
/// sender.send(7);
/// assert_eq!(receiver.wait(), Some(7));
/// ```
pub trait Reply<T>: fmt::Debug {
    /// Gives the answer.
    fn send(self, answer: T);

    /// Whether anybody would take the answer. A request that was not begun and that nobody wants any more is left out.
    fn is_wanted(&self) -> bool {
        true
    }
}

struct Slot<T>(Mutex<State<T>>);

enum State<T> {
    Empty,
    /// This thread sleeps until there is an answer.
    Awaited(Thread),
    /// This future waits for an answer.
    Polled(Waker),
    Answered(T),
    /// There will never be an answer, or it was taken.
    Over,
    /// Nobody wants an answer any more.
    Abandoned,
}

/// Without the answer, which need not be printable.
impl<T> fmt::Debug for Slot<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match *self.state() {
            State::Empty | State::Awaited(_) | State::Polled(_) => "Waiting",
            State::Answered(_) => "Answered",
            State::Over => "Over",
            State::Abandoned => "Abandoned",
        })
    }
}

impl<T> Slot<T> {
    /// No code of a user runs under the lock, so a poisoned one is as good as any.
    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn settle(&self, state: State<T>) {
        let before = core::mem::replace(&mut *self.state(), state);
        match before {
            State::Awaited(thread) => thread.unpark(),
            State::Polled(waker) => waker.wake(),
            _ => {}
        }
    }
}

/// Sends one answer, to a thread or a future.
pub struct Sender<T>(Option<Arc<Slot<T>>>);

/// Receives one answer: blocking, by looking, or as a future.
///
/// As a future it is `None` if there is no answer. Dropping it says nothing: what was asked for is done all the same, unless
/// [`abandon`](Self::abandon) was called.
///
/// ```
/// let (sender, receiver) = iscsi_runtime::one_shot::<u8>();
/// assert!(!receiver.is_ready());
/// drop(sender);
/// assert_eq!(receiver.wait(), None);
/// ```
pub struct Receiver<T>(Arc<Slot<T>>);

/// A channel for one answer.
///
/// ```
/// use iscsi_runtime::{Reply as _, one_shot};
/// let (sender, receiver) = one_shot();
/// receiver.abandon();
/// assert!(!sender.is_wanted());
/// sender.send(1); // goes nowhere
/// ```
pub fn one_shot<T>() -> (Sender<T>, Receiver<T>) {
    let slot = Arc::new(Slot(Mutex::new(State::Empty)));
    (Sender(Some(slot.clone())), Receiver(slot))
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Sender").field(&self.0).finish()
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Receiver").field(&self.0).finish()
    }
}

impl<T> Reply<T> for Sender<T> {
    fn send(mut self, answer: T) {
        if let Some(slot) = self.0.take() {
            slot.settle(State::Answered(answer));
        }
    }

    fn is_wanted(&self) -> bool {
        self.0.as_ref().is_some_and(|slot| !matches!(*slot.state(), State::Abandoned))
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
    pub fn is_ready(&self) -> bool {
        matches!(*self.0.state(), State::Answered(_) | State::Over)
    }

    /// The answer; `None` if the other side is gone.
    pub fn wait(self) -> Option<T> {
        self.sleep(None);
        self.take()
    }

    /// The answer, or this again if it has not come by then.
    ///
    /// # Errors
    /// The receiver, to wait longer.
    pub fn wait_until(self, until: Instant) -> Result<Option<T>, Self> {
        self.sleep(Some(until));
        if self.is_ready() { Ok(self.take()) } else { Err(self) }
    }

    /// Wants the answer no more.
    pub fn abandon(self) {
        let before = core::mem::replace(&mut *self.0.state(), State::Abandoned);
        // An answer may own much; it goes outside of the lock.
        drop(before);
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

impl<T> Future for Receiver<T> {
    type Output = Option<T>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<T>> {
        // Code of the executor's runs outside of the lock: that of wakers, and what an answer is made of.
        let next = State::Polled(context.waker().clone());
        let before = {
            let mut state = self.0.state();
            match *state {
                State::Answered(_) | State::Over | State::Abandoned => {
                    core::mem::replace(&mut *state, State::Over)
                }
                State::Empty | State::Awaited(_) | State::Polled(_) => {
                    core::mem::replace(&mut *state, next)
                }
            }
        };
        match before {
            State::Answered(answer) => Poll::Ready(Some(answer)),
            State::Over | State::Abandoned => Poll::Ready(None),
            State::Empty | State::Awaited(_) | State::Polled(_) => Poll::Pending,
        }
    }
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use super::*;

    #[test]
    fn an_answer_arrives_before_and_after_the_wait() {
        let (sender, receiver) = one_shot();
        sender.send(1);
        assert!(receiver.is_ready());
        assert_eq!(receiver.wait(), Some(1));

        let (sender, receiver) = one_shot();
        let asker = thread::spawn(|| receiver.wait());
        thread::sleep(Duration::from_millis(20));
        sender.send(2);
        assert_eq!(asker.join().unwrap(), Some(2));
    }

    #[test]
    fn a_sender_that_is_gone_ends_the_wait() {
        let (sender, receiver) = one_shot::<u8>();
        let asker = thread::spawn(|| receiver.wait());
        drop(sender);
        assert_eq!(asker.join().unwrap(), None);
    }

    #[test]
    fn a_wait_with_a_limit_can_go_on() {
        let (sender, receiver) = one_shot();
        let soon = Instant::now() + Duration::from_millis(5);
        let receiver = receiver.wait_until(soon).unwrap_err();
        assert!(!receiver.is_ready() && Instant::now() >= soon);
        sender.send(3);
        assert_eq!(receiver.wait_until(soon).unwrap(), Some(3), "an answer counts, however late");
    }

    #[test]
    fn a_future_is_woken() {
        struct Unpark(Thread);
        impl std::task::Wake for Unpark {
            fn wake(self: Arc<Self>) {
                self.0.unpark();
            }
        }
        let waker = Arc::new(Unpark(thread::current())).into();
        let mut context = Context::from_waker(&waker);
        let (sender, mut receiver) = one_shot();
        assert_eq!(Pin::new(&mut receiver).poll(&mut context), Poll::Pending);
        let other = thread::spawn(move || sender.send(5));
        let answer = loop {
            match Pin::new(&mut receiver).poll(&mut context) {
                Poll::Ready(answer) => break answer,
                Poll::Pending => thread::park(),
            }
        };
        other.join().unwrap();
        assert_eq!(answer, Some(5));
        assert_eq!(Pin::new(&mut receiver).poll(&mut context), Poll::Ready(None));
    }

    #[test]
    fn nobody_has_to_listen() {
        let (sender, receiver) = one_shot();
        drop(receiver);
        sender.send(4);
    }
}
