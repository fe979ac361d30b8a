//! One answer from a service to whoever asked.

use alloc::collections::VecDeque;
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
    /// Nobody looks at the answer, but what was asked for is wanted.
    Detached,
}

/// Without the answer, which need not be printable.
impl<T> fmt::Debug for Slot<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match *self.state() {
            State::Empty | State::Awaited(_) | State::Polled(_) => "Waiting",
            State::Answered(_) => "Answered",
            State::Over => "Over",
            State::Abandoned => "Abandoned",
            State::Detached => "Detached",
        })
    }
}

impl<T> Slot<T> {
    /// No code of a user runs under the lock, so a poisoned one is as good as any.
    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn settle(&self, settled: State<T>) {
        let before = {
            let mut state = self.state();
            match *state {
                // It goes nowhere, and that outside of the lock.
                State::Abandoned | State::Detached => settled,
                _ => core::mem::replace(&mut *state, settled),
            }
        };
        match before {
            State::Awaited(thread) => thread.unpark(),
            State::Polled(waker) => waker.wake(),
            _ => {}
        }
    }

    /// Nobody will take an answer.
    fn let_go(&self, state: State<T>) {
        let before = core::mem::replace(&mut *self.state(), state);
        // An answer may own much; it goes outside of the lock.
        drop(before);
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
pub struct Receiver<T>(Option<Arc<Slot<T>>>);

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
    ends(Arc::new(Slot(Mutex::new(State::Empty))))
}

fn ends<T>(slot: Arc<Slot<T>>) -> (Sender<T>, Receiver<T>) {
    (Sender(Some(slot.clone())), Receiver(Some(slot)))
}

/// Makes channels for one answer of memory that earlier ones have left, so that a steady stream of questions allocates nothing.
///
/// A channel is used again once both of its ends are gone; neither of them has to come back here. Up to [`MOST`](Self::MOST) are remembered.
///
/// ```
/// use iscsi_runtime::{OneShots, Reply as _};
/// let mut channels = OneShots::new();
/// for n in 0..3 {
///     let (sender, receiver) = channels.one_shot();
///     sender.send(n);
///     assert_eq!(receiver.wait(), Some(n));
/// }
/// assert_eq!(channels.len(), 1);
/// ```
pub struct OneShots<T> {
    /// Those that were made last stand last, whether they are in use or not.
    slots: VecDeque<Arc<Slot<T>>>,
}

impl<T> OneShots<T> {
    /// The most channels that are remembered. With more in use at once, the others are made for one answer only.
    pub const MOST: usize = 1024;

    /// Channels that are looked at before another one is made. Answers come more or less in the order in which they were asked for, so the first
    /// is free as a rule.
    const LOOKS: usize = 8;

    /// None yet.
    pub const fn new() -> Self {
        Self { slots: VecDeque::new() }
    }

    /// How many channels are remembered, in use or not.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether no channel was made yet.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// A channel for one answer.
    pub fn one_shot(&mut self) -> (Sender<T>, Receiver<T>) {
        for _ in 0..Self::LOOKS.min(self.slots.len()) {
            let Some(mut slot) = self.slots.pop_front() else { break };
            let free = Arc::get_mut(&mut slot).map(|slot| {
                // Whoever was the last to have it has left no answer in it.
                *slot.0.get_mut().unwrap_or_else(PoisonError::into_inner) = State::Empty;
            });
            self.slots.push_back(slot.clone());
            if free.is_some() {
                return ends(slot);
            }
        }
        let slot = Arc::new(Slot(Mutex::new(State::Empty)));
        if self.slots.len() < Self::MOST {
            self.slots.push_back(slot.clone());
        }
        ends(slot)
    }
}

impl<T> Default for OneShots<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> fmt::Debug for OneShots<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OneShots").field("len", &self.len()).finish_non_exhaustive()
    }
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
        self.0.as_ref().is_none_or(|slot| matches!(*slot.state(), State::Answered(_) | State::Over))
    }

    /// The answer; `None` if the other side is gone.
    pub fn wait(mut self) -> Option<T> {
        self.sleep(None);
        self.take()
    }

    /// The answer, or this again if it has not come by then.
    ///
    /// # Errors
    /// The receiver, to wait longer.
    pub fn wait_until(mut self, until: Instant) -> Result<Option<T>, Self> {
        self.sleep(Some(until));
        if self.is_ready() { Ok(self.take()) } else { Err(self) }
    }

    /// Wants the answer no more.
    pub fn abandon(mut self) {
        if let Some(slot) = self.0.take() {
            slot.let_go(State::Abandoned);
        }
    }

    fn take(&mut self) -> Option<T> {
        let slot = self.0.take()?;
        match core::mem::replace(&mut *slot.state(), State::Over) {
            State::Answered(answer) => Some(answer),
            _ => None,
        }
    }

    fn sleep(&self, until: Option<Instant>) {
        let Some(slot) = &self.0 else { return };
        loop {
            {
                let mut state = slot.state();
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

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        if let Some(slot) = self.0.take() {
            slot.let_go(State::Detached);
        }
    }
}

impl<T> Future for Receiver<T> {
    type Output = Option<T>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<T>> {
        let Some(slot) = &self.0 else { return Poll::Ready(None) };
        // Code of the executor's runs outside of the lock: that of wakers, and what an answer is made of.
        let next = State::Polled(context.waker().clone());
        let before = {
            let mut state = slot.state();
            let next = match *state {
                State::Empty | State::Awaited(_) | State::Polled(_) => next,
                _ => State::Over,
            };
            core::mem::replace(&mut *state, next)
        };
        let answer = match before {
            State::Empty | State::Awaited(_) | State::Polled(_) => return Poll::Pending,
            State::Answered(answer) => Some(answer),
            State::Over | State::Abandoned | State::Detached => None,
        };
        self.0 = None;
        Poll::Ready(answer)
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
    fn a_channel_is_used_again_once_both_ends_are_gone() {
        let mut channels = OneShots::new();
        for n in 0..10 {
            let (sender, receiver) = channels.one_shot();
            sender.send(n);
            assert_eq!(receiver.wait(), Some(n));

            let (sender, receiver) = channels.one_shot();
            drop(sender);
            assert_eq!(receiver.wait(), None);

            let (sender, receiver) = channels.one_shot();
            receiver.abandon();
            assert!(!sender.is_wanted());
            sender.send(n);

            let (sender, receiver) = channels.one_shot();
            drop(receiver);
            assert!(sender.is_wanted());
            sender.send(n);
            assert_eq!(channels.len(), 1);
        }
        let (sender, mut receiver) = channels.one_shot();
        let mut context = Context::from_waker(Waker::noop());
        assert_eq!(Pin::new(&mut receiver).poll(&mut context), Poll::Pending);
        sender.send(11);
        assert_eq!(Pin::new(&mut receiver).poll(&mut context), Poll::Ready(Some(11)));
        let (_other, _one) = channels.one_shot();
        assert_eq!(channels.len(), 1, "a future that is ready holds nothing");
        assert_eq!(Pin::new(&mut receiver).poll(&mut context), Poll::Ready(None));
    }

    #[test]
    fn channels_in_use_stay_apart() {
        let mut channels = OneShots::new();
        let mut ends: VecDeque<_> =
            (0..OneShots::<usize>::MOST + 10).map(|n| (n, channels.one_shot())).collect();
        assert_eq!(channels.len(), OneShots::<usize>::MOST);
        for _ in 0..3 * ends.len() {
            let (n, (sender, receiver)) = ends.pop_front().unwrap();
            sender.send(n);
            assert_eq!(receiver.wait(), Some(n));
            ends.push_back((n, channels.one_shot()));
        }
    }

    #[test]
    fn what_nobody_takes_is_gone_at_once() {
        let mut channels = OneShots::new();
        let answer = Arc::new(());
        let (sender, receiver) = channels.one_shot();
        sender.send(answer.clone());
        drop(receiver);
        assert_eq!(Arc::strong_count(&answer), 1, "its receiver was dropped after it came");
        let (sender, receiver) = channels.one_shot();
        drop(receiver);
        sender.send(answer.clone());
        assert_eq!(Arc::strong_count(&answer), 1, "before it came");
        let (sender, receiver) = channels.one_shot();
        sender.send(answer.clone());
        receiver.abandon();
        assert_eq!(Arc::strong_count(&answer), 1, "it was abandoned");
    }

    #[test]
    fn answers_of_many_threads_are_not_mixed_up() {
        let channels = Arc::new(Mutex::new(OneShots::new()));
        let (questions, asked) = std::sync::mpsc::channel::<(u32, Sender<u32>)>();
        let answerer = thread::spawn(move || {
            for (n, sender) in asked {
                match n % 5 {
                    0 => drop(sender),
                    _ => sender.send(n),
                }
            }
        });
        let askers = [0, 1, 2, 3].map(|thread| {
            let (channels, questions) = (channels.clone(), questions.clone());
            thread::spawn(move || {
                for n in (0..2_000).map(|n| n * 4 + thread) {
                    let (sender, receiver) = channels.lock().unwrap().one_shot();
                    questions.send((n, sender)).unwrap();
                    match n % 7 {
                        0 => receiver.abandon(),
                        1 => drop(receiver),
                        _ => assert_eq!(receiver.wait(), (n % 5 != 0).then_some(n)),
                    }
                }
            })
        });
        drop(questions);
        for thread in askers {
            thread.join().unwrap();
        }
        answerer.join().unwrap();
        assert!(channels.lock().unwrap().len() < 1_000, "they were used again");
    }

    #[test]
    fn nobody_has_to_listen() {
        let (sender, receiver) = one_shot();
        drop(receiver);
        sender.send(4);
    }
}
