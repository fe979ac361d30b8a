//! Futures of answers.

use core::pin::Pin;
use core::task::{Context, Poll, ready};

use iscsi_runtime::{Error, Failed, Receiver, Reply as _, one_shot};

use crate::memory::Memory;

/// An answer that somebody waits for, until this is dropped: what was not begun by then is left out.
#[derive(Debug)]
pub(crate) struct Wanted<T>(Option<Receiver<T>>);

impl<T> Wanted<T> {
    pub(crate) const fn new(receiver: Receiver<T>) -> Self {
        Self(Some(receiver))
    }
}

impl<T> Future for Wanted<T> {
    type Output = Result<T, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(receiver) = &mut self.0 else { return Poll::Ready(Err(Error::ShutDown)) };
        let answer = ready!(Pin::new(receiver).poll(context));
        self.0 = None;
        Poll::Ready(answer.ok_or(Error::ShutDown))
    }
}

impl<T> Drop for Wanted<T> {
    fn drop(&mut self) {
        if let Some(receiver) = self.0.take() {
            receiver.abandon();
        }
    }
}

/// A request that was handed to the driver already, and the future of its end: many of them are under way at once, in whatever order they are
/// awaited.
///
/// Dropped, a request that was not sent yet is left out. One that was sent goes on to its end, and its memory stays with the driver
/// until then. [`detach`](Self::detach) lets go of the result only.
///
/// ```no_run
/// use bytes::BytesMut;
/// use iscsi_runtime_smol::{Disk, Error, Memory, Request};
///
/// /// Reads a block of each MiB, all at once.
/// async fn sample(disk: &Disk) -> Result<Vec<BytesMut>, Error> {
///     let read = |n| disk.submit(Request::read(n << 20, 512), BytesMut::zeroed(512));
///     let tickets: Vec<_> = (0..disk.capacity() >> 20).map(read).collect();
///     let mut blocks = Vec::new();
///     for ticket in tickets {
///         blocks.push(ticket.await?.into_mut());
///     }
///     Ok(blocks)
/// }
/// # let _ = sample;
/// ```
#[derive(Debug)]
#[must_use = "dropped, a request that was not sent yet is left out"]
pub struct Ticket<T>(Wanted<Result<T, Failed<Memory>>>);

impl<T> Ticket<T> {
    pub(crate) const fn new(receiver: Receiver<Result<T, Failed<Memory>>>) -> Self {
        Self(Wanted::new(receiver))
    }

    /// The end of a request that was not handed over.
    pub(crate) fn refused(error: Error, payload: Memory) -> Self {
        let (sender, receiver) = one_shot();
        sender.send(Err(Failed { error, payload }));
        Self::new(receiver)
    }

    /// Whether the future is ready.
    pub fn is_done(&self) -> bool {
        self.0.0.as_ref().is_none_or(Receiver::is_ready)
    }

    /// Lets go of the result. What was asked for is done all the same, also if it was not sent yet.
    pub fn detach(mut self) {
        self.0.0 = None;
    }
}

impl<T> Future for Ticket<T> {
    type Output = Result<T, Failed<Memory>>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let answer = ready!(Pin::new(&mut self.0).poll(context));
        // A request is always answered with its memory; nothing comes only from a ticket that was used up.
        let used_up = |error| Err(Failed { error, payload: Memory::None });
        Poll::Ready(answer.unwrap_or_else(used_up))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_ticket_wants_nothing_and_a_detached_one_does() {
        let (sender, receiver) = one_shot::<Result<(), _>>();
        drop(Ticket::new(receiver));
        assert!(!sender.is_wanted());

        let (sender, receiver) = one_shot::<Result<(), _>>();
        Ticket::new(receiver).detach();
        assert!(sender.is_wanted());
    }

    #[test]
    fn a_ticket_that_was_used_up_is_no_panic() {
        let (sender, receiver) = one_shot();
        let mut ticket = Ticket::new(receiver);
        assert!(!ticket.is_done());
        sender.send(Ok(7));
        assert!(ticket.is_done());
        let mut context = Context::from_waker(core::task::Waker::noop());
        let mut poll = || Pin::new(&mut ticket).poll(&mut context);
        assert!(matches!(poll(), Poll::Ready(Ok(7))));
        assert!(matches!(poll(), Poll::Ready(Err(Failed { error: Error::ShutDown, .. }))));
    }
}
