//! What sessions tell the loop.

use core::fmt;
use core::time::Duration;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use iscsi_core::wire::TaskManagementResponseCode;
use iscsi_disk::{Geometry, Identity};
use iscsi_runtime::{
    Completed, Discovery, Error, Failed, Front, Lend, Notice, Opened, Payload, Reply, Status,
    UnitId,
};

/// Names a session of [`Sessions`](crate::Sessions). It is never used for another one.
///
/// ```
/// use iscsi_runtime_mio::SessionId;
/// fn same(one: SessionId, other: SessionId) -> bool {
///     one == other
/// }
/// # let _ = same;
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SessionId {
    pub(crate) index: usize,
    pub(crate) generation: u64,
}

/// Names a disk: a logical unit of a session.
///
/// ```
/// use iscsi_runtime_mio::DiskId;
/// fn other_path(one: DiskId, other: DiskId) -> bool {
///     one.session != other.session
/// }
/// # let _ = other_path;
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct DiskId {
    /// Its session.
    pub session: SessionId,
    /// Its number on the session.
    pub unit: UnitId,
}

/// A disk that was opened. Two of them that are [the same device](Identity::is_same_device) are two paths to it.
///
/// ```
/// use iscsi_runtime_mio::OpenedDisk;
/// fn are_paths(one: &OpenedDisk, other: &OpenedDisk) -> bool {
///     one.identity.is_same_device(&other.identity) && one.disk.session != other.disk.session
/// }
/// # let _ = are_paths;
/// ```
#[derive(Debug, Clone, Copy)]
pub struct OpenedDisk {
    /// Its name from now on.
    pub disk: DiskId,
    /// The device's names.
    pub identity: Identity,
    /// Sizes, limits and abilities.
    pub geometry: Geometry,
}

/// What has happened, from [`Sessions::poll_event`](crate::Sessions::poll_event). `T` is what the request was given to be known by, `M` its memory.
///
/// ```
/// use iscsi_runtime_mio::Event;
/// fn describe(event: &Event<u64>) -> String {
///     match event {
///         Event::Done { tag, result: Ok(payload), .. } => format!("{tag}: {payload:?}"),
///         Event::Done { tag, result: Err(failed), .. } => format!("{tag}: {failed}"),
///         other => format!("{other:?}"),
///     }
/// }
/// # let _ = describe;
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<T, M = Payload> {
    /// A session is logged in, or could not be.
    Connected {
        /// The session; after an error it stays, to be connected again or closed.
        session: SessionId,
        /// The request.
        tag: T,
        /// How it ended.
        result: Result<(), Error>,
    },
    /// A disk was opened, or could not be.
    Opened {
        /// The session.
        session: SessionId,
        /// The request.
        tag: T,
        /// The disk.
        result: Result<Box<OpenedDisk>, Error>,
    },
    /// A request to a disk has ended.
    Done {
        /// The disk.
        disk: DiskId,
        /// The request.
        tag: T,
        /// Its memory, also after an error.
        result: Result<M, Failed<M>>,
    },
    /// A command has ended.
    Executed {
        /// The session.
        session: SessionId,
        /// The request.
        tag: T,
        /// How, and its memory.
        result: Result<(Completed, M), Failed<M>>,
    },
    /// A task management function was answered.
    TaskManagement {
        /// The session.
        session: SessionId,
        /// The request.
        tag: T,
        /// The answer.
        result: Result<TaskManagementResponseCode, Error>,
    },
    /// The target gave a sign of life.
    Pong {
        /// The session.
        session: SessionId,
        /// The request.
        tag: T,
        /// How long it took.
        result: Result<Duration, Error>,
    },
    /// The target told its targets.
    Discovered {
        /// The session.
        session: SessionId,
        /// The request.
        tag: T,
        /// The targets.
        result: Result<Discovery, Error>,
    },
    /// The target has a message.
    Notice {
        /// The session.
        session: SessionId,
        /// The message.
        notice: Notice,
    },
    /// A disk has another size, or other limits.
    Resized {
        /// The disk.
        disk: DiskId,
        /// What it is now.
        geometry: Geometry,
    },
    /// A session was closed: nothing more comes from it, its token is free.
    Closed {
        /// The session.
        session: SessionId,
        /// How the logout ended.
        result: Result<(), Error>,
    },
}

/// Where events wait for the loop.
pub(crate) type Queue<T, M> = Arc<Mutex<VecDeque<Event<T, M>>>>;

pub(crate) fn push<T, M>(queue: &Queue<T, M>, event: Event<T, M>) {
    // No code of a user runs under the lock, so a poisoned one is as good as any.
    queue.lock().unwrap_or_else(PoisonError::into_inner).push_back(event);
}

pub(crate) fn is_empty<T, M>(queue: &Queue<T, M>) -> bool {
    queue.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
}

pub(crate) fn pop<T, M>(queue: &Queue<T, M>) -> Option<Event<T, M>> {
    queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
}

/// Makes an event of an answer.
pub(crate) struct Tagged<T, M> {
    pub(crate) session: SessionId,
    /// The disk, of requests to one.
    pub(crate) unit: UnitId,
    pub(crate) tag: T,
    pub(crate) queue: Queue<T, M>,
}

/// The side of a service that a loop sees: events.
pub(crate) struct Events<T, M>(core::marker::PhantomData<(T, M)>);

impl<T, M> fmt::Debug for Tagged<T, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tagged").field("session", &self.session).finish_non_exhaustive()
    }
}

impl<T, M> fmt::Debug for Events<T, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Events")
    }
}

impl<T, M: Lend + Default> Front for Events<T, M> {
    type Payload = M;
    type Command = Tagged<T, M>;
    type Disk = Tagged<T, M>;
    type Opened = Tagged<T, M>;
    type Function = Tagged<T, M>;
    type Connected = Tagged<T, M>;
    type Ping = Tagged<T, M>;
    type Discovery = Tagged<T, M>;
    type Status = Tagged<T, M>;
}

/// A reply that is an event of the same shape.
macro_rules! reply {
    ($event:ident, $answer:ty) => {
        impl<T, M> Reply<$answer> for Tagged<T, M> {
            fn send(self, result: $answer) {
                let Self { session, tag, queue, .. } = self;
                push(&queue, Event::$event { session, tag, result });
            }
        }
    };
}

reply!(Connected, Result<(), Error>);
reply!(Executed, Result<(Completed, M), Failed<M>>);
reply!(TaskManagement, Result<TaskManagementResponseCode, Error>);
reply!(Pong, Result<Duration, Error>);
reply!(Discovered, Result<Discovery, Error>);

impl<T, M> Reply<Result<M, Failed<M>>> for Tagged<T, M> {
    fn send(self, result: Result<M, Failed<M>>) {
        let Self { session, unit, tag, queue } = self;
        push(&queue, Event::Done { disk: DiskId { session, unit }, tag, result });
    }
}

impl<T, M> Reply<Result<Opened, Error>> for Tagged<T, M> {
    fn send(self, result: Result<Opened, Error>) {
        let Self { session, tag, queue, .. } = self;
        let result = result.map(|Opened { unit, identity, geometry }| {
            Box::new(OpenedDisk { disk: DiskId { session, unit }, identity, geometry })
        });
        push(&queue, Event::Opened { session, tag, result });
    }
}

/// The loop asks for the status without a request.
impl<T, M> Reply<Status> for Tagged<T, M> {
    fn send(self, _: Status) {}
}
