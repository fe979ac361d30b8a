//! What travels from a handle to its driver thread: everything owned.

use iscsi_core::wire::TaskManagementResponseCode;
use iscsi_core::{Command, TaskManagement};

use super::Status;
use super::reply::{self, Receiver, Sender};
use crate::data::Data;
use crate::error::Error;
use crate::scsi::Completed;
use crate::table::Lend;

/// Owned memory for the data of one command. It goes in with the command and comes back with its end.
///
/// ```
/// use iscsi_runtime_std::Payload;
/// assert_eq!(Payload::In(vec![7; 4]).into_bytes(), [7; 4]);
/// ```
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub enum Payload {
    /// No data.
    #[default]
    None,
    /// Where data from the target go.
    In(Vec<u8>),
    /// Data to the target.
    Out(Vec<u8>),
    /// Both, for bidirectional commands.
    Both {
        /// Data to the target.
        out: Vec<u8>,
        /// Where data from the target go.
        r#in: Vec<u8>,
    },
}

impl Payload {
    /// The memory; of [`Both`](Self::Both) that for data from the target.
    pub fn into_bytes(self) -> Vec<u8> {
        match self {
            Self::None => Vec::new(),
            Self::In(bytes) | Self::Out(bytes) | Self::Both { r#in: bytes, .. } => bytes,
        }
    }

    pub(super) fn lend(&mut self) -> Data<'_> {
        match self {
            Self::None => Data::None,
            Self::In(r#in) => Data::In(r#in),
            Self::Out(out) => Data::Out(out),
            Self::Both { out, r#in } => Data::Both { out, r#in },
        }
    }
}

impl Lend for Payload {
    fn space(&mut self) -> &mut [u8] {
        match self {
            Self::In(r#in) | Self::Both { r#in, .. } => r#in,
            Self::None | Self::Out(_) => &mut [],
        }
    }

    fn bytes(&self) -> &[u8] {
        match self {
            Self::Out(out) | Self::Both { out, .. } => out,
            Self::None | Self::In(_) => &[],
        }
    }
}

/// A request that failed, with the memory that went in.
///
/// ```
/// use iscsi_runtime_std::{Error, Failed, Payload};
/// let failed = Failed { error: Error::ShutDown, payload: Payload::Out(vec![1]) };
/// assert_eq!(failed.to_string(), "the session was shut down");
/// assert_eq!(failed.payload.into_bytes(), [1]);
/// ```
#[derive(Debug)]
pub struct Failed {
    /// Why.
    pub error: Error,
    /// The memory. What a failed read has put there means nothing.
    pub payload: Payload,
}

impl core::fmt::Display for Failed {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.error.fmt(f)
    }
}

impl core::error::Error for Failed {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        self.error.source()
    }
}

impl From<Failed> for Error {
    fn from(failed: Failed) -> Self {
        failed.error
    }
}

/// A command that owns its CDB.
#[derive(Debug)]
pub(super) struct OwnedCommand {
    cdb: [u8; 32],
    len: usize,
    /// A CDB that is longer than that.
    long: Box<[u8]>,
    command: Command<'static>,
}

impl OwnedCommand {
    pub(super) fn new(command: &Command<'_>) -> Self {
        let mut cdb = [0; 32];
        let len = command.cdb.len();
        let mut long = Box::default();
        match cdb.get_mut(..len) {
            Some(place) => place.copy_from_slice(command.cdb),
            None => long = command.cdb.into(),
        }
        Self { cdb, len, long, command: Command { cdb: &[], ..*command } }
    }

    pub(super) fn command(&self) -> Command<'_> {
        Command { cdb: self.cdb.get(..self.len).unwrap_or(&self.long), ..self.command }
    }
}

/// What a request ends with, and how memory is given back with it.
pub(super) trait End: Sized {
    /// What the engine says of a success.
    type Outcome;

    fn new(outcome: Self::Outcome, payload: Payload) -> Self;
}

/// Of a command.
impl End for (Completed, Payload) {
    type Outcome = Completed;

    fn new(outcome: Completed, payload: Payload) -> Self {
        (outcome, payload)
    }
}

/// Of a request to a disk.
impl End for Payload {
    type Outcome = ();

    fn new((): (), payload: Payload) -> Self {
        payload
    }
}

/// Memory and who waits for it. Dropped, the memory goes back with an error.
#[derive(Debug)]
pub(super) struct Job<T: End> {
    payload: Payload,
    sender: Option<Sender<Result<T, Failed>>>,
}

impl<T: End> Job<T> {
    pub(super) fn new(payload: Payload) -> (Self, Receiver<Result<T, Failed>>) {
        let (sender, receiver) = reply::channel();
        (Self { payload, sender: Some(sender) }, receiver)
    }

    pub(super) fn end(mut self, result: Result<T::Outcome, Error>) {
        self.answer(result);
    }

    fn answer(&mut self, result: Result<T::Outcome, Error>) {
        if let Some(sender) = self.sender.take() {
            let payload = core::mem::take(&mut self.payload);
            sender.send(match result {
                Ok(outcome) => Ok(T::new(outcome, payload)),
                Err(error) => Err(Failed { error, payload }),
            });
        }
    }
}

impl<T: End> Drop for Job<T> {
    fn drop(&mut self) {
        self.answer(Err(Error::ShutDown));
    }
}

impl<T: End> Lend for Job<T> {
    fn space(&mut self) -> &mut [u8] {
        self.payload.space()
    }

    fn bytes(&self) -> &[u8] {
        self.payload.bytes()
    }
}

/// The job of a command.
pub(super) type CommandJob = Job<(Completed, Payload)>;

/// The job of a request to a disk.
pub(super) type DiskJob = Job<Payload>;

/// What a handle asks of its driver.
#[derive(Debug)]
pub(super) enum Request {
    Execute(OwnedCommand, CommandJob),
    Disk(iscsi_disk::Request, DiskJob),
    TaskManagement(TaskManagement, Sender<Result<TaskManagementResponseCode, Error>>),
    Reconnect(Sender<Result<(), Error>>),
    ForceReconnect(Sender<Result<(), Error>>),
    Ping(Sender<Result<core::time::Duration, Error>>),
    Status(Sender<Status>),
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

    #[test]
    fn a_job_that_is_dropped_gives_its_memory_back() {
        let (job, receiver) = DiskJob::new(Payload::Out(vec![1, 2]));
        drop(job);
        let failed = receiver.wait().unwrap().unwrap_err();
        assert!(matches!(failed.error, Error::ShutDown));
        assert_eq!(failed.payload, Payload::Out(vec![1, 2]));
    }
}
