//! Where requests wait for the service of a session.

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use crate::error::Error;
use crate::notice::Notice;

/// How many notices are kept; the oldest goes first.
const NOTICES: usize = 32;

/// Wakes whoever drives a service.
///
/// ```
/// use std::thread;
/// use iscsi_runtime::Wake;
///
/// #[derive(Debug)]
/// struct Unpark(thread::Thread);
///
/// impl Wake for Unpark {
///     fn wake(&self) {
///         self.0.unpark();
///     }
/// }
/// Unpark(thread::current()).wake();
/// thread::park(); // returns at once
/// ```
pub trait Wake: core::fmt::Debug + Send + Sync {
    /// Makes it turn again.
    fn wake(&self);
}

impl<W: Wake + ?Sized> Wake for Arc<W> {
    fn wake(&self) {
        (**self).wake();
    }
}

/// What handles and the service of a session share: requests `Q` in, notices and the end out. The lock is held for a push or a swap only,
/// never while bytes move. `S` is what the handles keep beside, under the same lock, to make requests of.
///
/// ```
/// # #[derive(Debug)]
/// # struct Unpark(std::thread::Thread);
/// # impl iscsi_runtime::Wake for Unpark {
/// #     fn wake(&self) {
/// #         self.0.unpark();
/// #     }
/// # }
/// use iscsi_runtime::Inbox;
/// let inbox = Inbox::new(Unpark(std::thread::current()), 1);
/// inbox.push(["a request".to_owned()]);
/// let number = inbox.push_made(|next| {
///     *next += 1;
///     (format!("request {next}"), *next)
/// });
/// let mut requests = Vec::new();
/// let closing = inbox.swap(&mut requests);
/// assert_eq!((requests.as_slice(), closing), (&["a request".into(), "request 2".into()][..], false));
/// assert_eq!(number, 2);
/// ```
#[derive(Debug)]
pub struct Inbox<Q, W, S = ()> {
    waker: W,
    state: Mutex<State<Q, S>>,
    ended: Condvar,
}

#[derive(Debug)]
struct State<Q, S> {
    requests: Vec<Q>,
    spare: S,
    notices: VecDeque<Notice>,
    /// Nothing more is taken; what is under way goes on to its end.
    closed: bool,
    /// How the session ended, once the service is gone.
    end: Option<Result<(), Error>>,
    /// Futures that wait for the end, by their numbers.
    waiting: Vec<(u64, Waker)>,
    /// Futures that have waited so far.
    waited: u64,
}

impl<Q, W, S> Inbox<Q, W, S> {
    /// No code of a user runs under the lock, so a poisoned one is as good as any.
    fn state(&self) -> MutexGuard<'_, State<Q, S>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<Q, W: Wake, S> Inbox<Q, W, S> {
    /// An empty inbox; `waker` wakes the service.
    pub const fn new(waker: W, spare: S) -> Self {
        let state = State {
            requests: Vec::new(),
            spare,
            notices: VecDeque::new(),
            closed: false,
            end: None,
            waiting: Vec::new(),
            waited: 0,
        };
        Self { waker, state: Mutex::new(state), ended: Condvar::new() }
    }

    /// What wakes the service.
    pub const fn waker(&self) -> &W {
        &self.waker
    }

    /// Hands requests over, with one wake-up. After the end they are dropped, which answers them.
    pub fn push(&self, requests: impl IntoIterator<Item = Q>) {
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

    /// Hands over a request that `make` makes, under the lock, of what the handles keep; returns what else it makes. After the end the request is
    /// dropped, which answers it.
    pub fn push_made<T>(&self, make: impl FnOnce(&mut S) -> (Q, T)) -> T {
        let mut state = self.state();
        let (request, other) = make(&mut state.spare);
        if state.closed {
            drop(state);
            drop(request);
            return other;
        }
        state.requests.push(request);
        drop(state);
        self.waker.wake();
        other
    }

    /// Takes everything, leaving the (empty) memory of `into`. Returns whether nothing more will come.
    pub fn swap(&self, into: &mut Vec<Q>) -> bool {
        let mut state = self.state();
        core::mem::swap(&mut state.requests, into);
        state.closed
    }

    /// Whether there is something to take, or to end.
    pub fn has_news(&self, closing: bool) -> bool {
        let state = self.state();
        !state.requests.is_empty() || state.closed != closing
    }

    /// Takes no more requests.
    pub fn close(&self) {
        self.state().closed = true;
        self.waker.wake();
    }

    /// Keeps messages of the target for the application.
    pub fn add_notices(&self, notices: &mut VecDeque<Notice>) {
        if !notices.is_empty() {
            let mut state = self.state();
            state.notices.append(notices);
            let excess = state.notices.len().saturating_sub(NOTICES);
            state.notices.drain(..excess);
        }
    }

    /// The oldest message of the target that was not taken.
    pub fn take_notice(&self) -> Option<Notice> {
        self.state().notices.pop_front()
    }

    /// The service is done: whatever is left is answered. Only the first end counts.
    pub fn end(&self, result: Result<(), Error>) {
        let mut state = self.state();
        state.closed = true;
        state.end.get_or_insert(result);
        let left = core::mem::take(&mut state.requests);
        let waiting = core::mem::take(&mut state.waiting);
        drop(state);
        drop(left);
        self.ended.notify_all();
        waiting.into_iter().for_each(|(_, waker)| waker.wake());
    }

    /// Blocks until the service has ended.
    ///
    /// # Errors
    /// What the session ended with.
    pub fn wait_for_end(&self) -> Result<(), Error> {
        let mut state = self.state();
        loop {
            if let Some(end) = &state.end {
                return end.clone();
            }
            state = self.ended.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// The end of the service, as a future. Dropped, it waits no more.
    pub const fn ended(&self) -> Ended<'_, Q, W, S> {
        Ended { inbox: self, number: None }
    }
}

/// A future of the end of a service, from [`Inbox::ended`]: what its session ended with.
///
/// ```
/// # #[derive(Debug)]
/// # struct Nobody;
/// # impl iscsi_runtime::Wake for Nobody {
/// #     fn wake(&self) {}
/// # }
/// use core::{pin::pin, task::{Context, Poll, Waker}};
/// use iscsi_runtime::Inbox;
/// let inbox: Inbox<(), _> = Inbox::new(Nobody, ());
/// let mut ended = pin!(inbox.ended());
/// let mut context = Context::from_waker(Waker::noop());
/// assert!(ended.as_mut().poll(&mut context).is_pending());
/// inbox.end(Ok(()));
/// assert!(matches!(ended.poll(&mut context), Poll::Ready(Ok(()))));
/// ```
#[derive(Debug)]
#[must_use = "it does nothing unless it is polled"]
pub struct Ended<'i, Q, W, S = ()> {
    inbox: &'i Inbox<Q, W, S>,
    /// Of its waker, if there is one.
    number: Option<u64>,
}

impl<Q, W, S> Future for Ended<'_, Q, W, S> {
    type Output = Result<(), Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        // Code of the executor's runs outside of the lock.
        let mut waker = context.waker().clone();
        let mut state = self.inbox.state();
        if let Some(end) = &state.end {
            return Poll::Ready(end.clone());
        }
        let known = state.waiting.iter_mut().find(|(number, _)| Some(*number) == self.number);
        if let Some((_, place)) = known {
            core::mem::swap(place, &mut waker);
            drop(state);
            return Poll::Pending;
        }
        let number = state.waited;
        state.waited += 1;
        state.waiting.push((number, waker));
        drop(state);
        self.number = Some(number);
        Poll::Pending
    }
}

impl<Q, W, S> Drop for Ended<'_, Q, W, S> {
    fn drop(&mut self) {
        let Some(number) = self.number else { return };
        let mut state = self.inbox.state();
        let index = state.waiting.iter().position(|(other, _)| *other == number);
        let waker = index.map(|index| state.waiting.swap_remove(index));
        drop(state);
        drop(waker);
    }
}

#[cfg(test)]
mod tests {
    use core::sync::atomic::{AtomicUsize, Ordering};
    use std::pin::pin;

    use super::*;

    #[derive(Debug, Default)]
    struct Count(AtomicUsize);

    impl std::task::Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[derive(Debug)]
    struct Nobody;

    impl Wake for Nobody {
        fn wake(&self) {}
    }

    #[test]
    fn a_future_of_the_end_leaves_nothing_behind() {
        let inbox: Inbox<(), _> = Inbox::new(Nobody, ());
        let [first, second] = [(); 2].map(|()| Arc::new(Count::default()));
        let wakers = [&first, &second].map(|count| Waker::from(count.clone()));
        let mut kept = pin!(inbox.ended());
        for waker in &wakers {
            let mut context = Context::from_waker(waker);
            for _ in 0..3 {
                assert!(kept.as_mut().poll(&mut context).is_pending());
                assert!(pin!(inbox.ended()).poll(&mut context).is_pending());
            }
        }
        assert_eq!(inbox.state().waiting.len(), 1);
        drop(wakers);
        assert_eq!(Arc::strong_count(&first), 1, "it was polled with the second one last");
        inbox.end(Err(Error::ShutDown));
        assert_eq!(second.0.load(Ordering::Relaxed), 1);
        let mut context = Context::from_waker(Waker::noop());
        assert!(matches!(kept.as_mut().poll(&mut context), Poll::Ready(Err(Error::ShutDown))));
        assert!(inbox.state().waiting.is_empty());
    }
}
