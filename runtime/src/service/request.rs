//! What is asked of a service: everything owned.

use core::time::Duration;

use iscsi_core::wire::TaskManagementResponseCode;
use iscsi_core::{Command, TaskManagement};
use iscsi_disk::{DiskConfig, Geometry, Identity};

use super::{Status, UnitId};
use crate::discovery::{Discovery, OwnedScope};
use crate::error::Error;
use crate::memory::{Failed, Lend, Payload};
use crate::reply::{OneShots, Reply, Sender};
use crate::scsi::Completed;

/// A command that owns its CDB.
///
/// ```
/// use iscsi_core::{Command, Lun, Transfer};
/// use iscsi_runtime::OwnedCommand;
/// let owned = OwnedCommand::new(&Command::new(Lun::ZERO, &[0; 6], Transfer::None));
/// assert_eq!(owned.command().cdb, [0; 6]);
/// ```
#[derive(Debug)]
pub struct OwnedCommand {
    cdb: [u8; 32],
    len: usize,
    /// A CDB that is longer than that.
    long: Box<[u8]>,
    command: Command<'static>,
}

impl OwnedCommand {
    /// Copies the CDB.
    pub fn new(command: &Command<'_>) -> Self {
        let mut cdb = [0; 32];
        let len = command.cdb.len();
        let mut long = Box::default();
        match cdb.get_mut(..len) {
            Some(place) => place.copy_from_slice(command.cdb),
            None => long = command.cdb.into(),
        }
        Self { cdb, len, long, command: Command { cdb: &[], ..*command } }
    }

    /// The command.
    pub fn command(&self) -> Command<'_> {
        Command { cdb: self.cdb.get(..self.len).unwrap_or(&self.long), ..self.command }
    }
}

/// The side of a service that the application sees: its memory, and where its answers go.
///
/// [`Threads`] is the one for answers that a thread or a future waits for.
pub trait Front: core::fmt::Debug {
    /// Memory that goes in with a request and comes back with its end.
    type Payload: Lend + Default;
    /// Answers to commands.
    type Command: Reply<Result<(Completed, Self::Payload), Failed<Self::Payload>>>;
    /// Answers to requests to a disk.
    type Disk: Reply<Result<Self::Payload, Failed<Self::Payload>>>;
    /// Answers to the wish to open a disk.
    type Opened: Reply<Result<Opened, Error>>;
    /// Answers to task management functions.
    type Function: Reply<Result<TaskManagementResponseCode, Error>>;
    /// Answers to the wish for a connection.
    type Connected: Reply<Result<(), Error>>;
    /// Answers to pings: how long it took.
    type Ping: Reply<Result<Duration, Error>>;
    /// Answers to the question for the targets.
    type Discovery: Reply<Result<Discovery, Error>>;
    /// Answers to the question how things stand.
    type Status: Reply<Status>;
}

/// Answers go to whoever waits for them, a thread or a future. `P` is the memory.
///
/// ```
/// use iscsi_runtime::{Front, Payload, Threads, one_shot};
/// let (sender, receiver) = one_shot();
/// let _answers: <Threads<Payload> as Front>::Connected = sender;
/// assert!(!receiver.is_ready());
/// ```
#[derive(Debug)]
pub struct Threads<P = Payload>(core::marker::PhantomData<P>);

impl<P: Lend + Default> Front for Threads<P> {
    type Payload = P;
    type Command = Sender<Result<(Completed, P), Failed<P>>>;
    type Disk = Sender<Result<P, Failed<P>>>;
    type Opened = Sender<Result<Opened, Error>>;
    type Function = Sender<Result<TaskManagementResponseCode, Error>>;
    type Connected = Sender<Result<(), Error>>;
    type Ping = Sender<Result<Duration, Error>>;
    type Discovery = Sender<Result<Discovery, Error>>;
    type Status = Sender<Status>;
}

/// Channels for the answers to what is asked for often: commands and requests to a disk. `P` is the memory.
///
/// ```
/// use iscsi_runtime::{DiskJob, Payload, Spare, Threads};
/// let mut spare = Spare::<Payload>::new();
/// let (sender, receiver) = spare.disk.one_shot();
/// drop(DiskJob::<Threads>::new(Payload::In(vec![0; 512]), sender));
/// assert!(receiver.wait().unwrap().is_err());
/// ```
#[derive(Debug)]
pub struct Spare<P = Payload> {
    /// Of commands.
    pub command: OneShots<Result<(Completed, P), Failed<P>>>,
    /// Of requests to a disk.
    pub disk: OneShots<Result<P, Failed<P>>>,
}

impl<P> Spare<P> {
    /// None yet.
    pub const fn new() -> Self {
        Self { command: OneShots::new(), disk: OneShots::new() }
    }
}

impl<P> Default for Spare<P> {
    fn default() -> Self {
        Self::new()
    }
}

/// A disk that was opened on a session.
///
/// ```
/// fn size(opened: &iscsi_runtime::Opened) -> u64 {
///     opened.geometry.capacity()
/// }
/// # let _ = size;
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Opened {
    /// Its number in the service.
    pub unit: UnitId,
    /// The device's names.
    pub identity: Identity,
    /// Sizes, limits and abilities.
    pub geometry: Geometry,
}

/// What a request ends with, and how memory is given back with it.
///
/// ```
/// use iscsi_runtime::{End, Payload};
/// assert_eq!(<Payload as End>::new((), Payload::In(vec![1])).into_bytes(), [1]);
/// ```
pub trait End: Sized {
    /// What the engine says of a success.
    type Outcome;
    /// The memory.
    type Payload: Lend + Default;

    /// Both together.
    fn new(outcome: Self::Outcome, payload: Self::Payload) -> Self;
}

/// Of a command.
impl<P: Lend + Default> End for (Completed, P) {
    type Outcome = Completed;
    type Payload = P;

    fn new(outcome: Completed, payload: P) -> Self {
        (outcome, payload)
    }
}

/// Of a request to a disk.
impl<P: Lend + Default> End for P {
    type Outcome = ();
    type Payload = P;

    fn new((): (), payload: P) -> Self {
        payload
    }
}

/// Memory, and where it goes back to. Dropped, it goes back with an error.
///
/// ```
/// use iscsi_runtime::{Error, Job, Payload, one_shot};
/// let (sender, receiver) = one_shot();
/// drop(Job::<Payload, _>::new(Payload::Out(vec![1, 2]), sender));
/// let failed = receiver.wait().unwrap().unwrap_err();
/// assert!(matches!(failed.error, Error::ShutDown));
/// assert_eq!(failed.payload.into_bytes(), [1, 2]);
/// ```
#[derive(Debug)]
pub struct Job<T: End, S: Reply<Result<T, Failed<T::Payload>>>> {
    payload: T::Payload,
    reply: Option<S>,
}

impl<T: End, S: Reply<Result<T, Failed<T::Payload>>>> Job<T, S> {
    /// A job that was not ended.
    pub const fn new(payload: T::Payload, reply: S) -> Self {
        Self { payload, reply: Some(reply) }
    }

    /// Gives the memory back.
    pub fn end(mut self, result: Result<T::Outcome, Error>) {
        self.answer(result);
    }

    /// Whether somebody waits for the end.
    pub fn is_wanted(&self) -> bool {
        self.reply.as_ref().is_some_and(Reply::is_wanted)
    }

    fn answer(&mut self, result: Result<T::Outcome, Error>) {
        if let Some(reply) = self.reply.take() {
            let payload = core::mem::take(&mut self.payload);
            reply.send(match result {
                Ok(outcome) => Ok(T::new(outcome, payload)),
                Err(error) => Err(Failed { error, payload }),
            });
        }
    }
}

impl<T: End, S: Reply<Result<T, Failed<T::Payload>>>> Drop for Job<T, S> {
    fn drop(&mut self) {
        self.answer(Err(Error::ShutDown));
    }
}

impl<T, S> Lend for Job<T, S>
where
    T: End + core::fmt::Debug,
    S: Reply<Result<T, Failed<T::Payload>>>,
{
    fn space(&mut self, at: usize, max: u32) -> &mut [u8] {
        self.payload.space(at, max)
    }

    fn bytes(&self, at: usize, max: u32) -> &[u8] {
        self.payload.bytes(at, max)
    }

    fn room(&self) -> [u64; 2] {
        self.payload.room()
    }

    fn consumes(&self) -> bool {
        self.payload.consumes()
    }

    fn consume(&mut self, at: usize, bytes: &[u8]) {
        self.payload.consume(at, bytes);
    }
}

/// The job of a command.
pub type CommandJob<F> = Job<(Completed, <F as Front>::Payload), <F as Front>::Command>;

/// The job of a request to a disk.
pub type DiskJob<F> = Job<<F as Front>::Payload, <F as Front>::Disk>;

/// What is asked of a [`Service`](super::Service).
///
/// ```
/// use iscsi_runtime::{Request, Threads, one_shot};
/// let (sender, _receiver) = one_shot();
/// let request: Request<Threads> = Request::Ping(sender);
/// ```
#[derive(Debug)]
pub enum Request<F: Front> {
    /// Executes a command.
    Execute(OwnedCommand, CommandJob<F>),
    /// Opens a disk on the session.
    Open(DiskConfig, F::Opened),
    /// Lets a disk go: what it has under way goes on, then its number may be given to another one. Nothing asks the device any more who it is.
    Close(UnitId),
    /// Does something with a disk.
    Disk(UnitId, iscsi_disk::Request, DiskJob<F>),
    /// Asks for a task management function; one at a time, others wait.
    TaskManagement(TaskManagement, F::Function),
    /// Opens the session, or logs in again after it has failed.
    Connect(F::Connected),
    /// Drops the connection and makes a new one.
    ForceReconnect(F::Connected),
    /// Asks for a sign of life.
    Ping(F::Ping),
    /// Asks which targets there are; one question at a time, others wait.
    Discover(OwnedScope, F::Discovery),
    /// Asks how things stand.
    Status(F::Status),
}

impl<F: Front> Request<F> {
    /// Answers a request to a session that is no more: [`Error::ShutDown`], with its memory. Answers that cannot be an error are dropped.
    pub fn refuse(self) {
        match self {
            // Dropped, they answer.
            Self::Execute(..) | Self::Disk(..) | Self::Status(_) | Self::Close(_) => {}
            Self::Open(_, reply) => reply.send(Err(Error::ShutDown)),
            Self::TaskManagement(_, reply) => reply.send(Err(Error::ShutDown)),
            Self::Connect(reply) | Self::ForceReconnect(reply) => reply.send(Err(Error::ShutDown)),
            Self::Ping(reply) => reply.send(Err(Error::ShutDown)),
            Self::Discover(_, reply) => reply.send(Err(Error::ShutDown)),
        }
    }
}

#[cfg(test)]
mod tests {
    use iscsi_core::{Lun, Transfer};

    use super::*;

    #[test]
    fn cdbs_of_any_length_are_kept() {
        for len in [1, 16, 32, 33, 260] {
            let cdb: Vec<u8> = (0..len).map(|n| n as u8).collect();
            let command = Command::new(Lun::ZERO, &cdb, Transfer::In(9));
            let owned = OwnedCommand::new(&command);
            assert_eq!(owned.command().cdb, cdb);
            assert_eq!(owned.command().transfer, Transfer::In(9));
        }
    }
}
