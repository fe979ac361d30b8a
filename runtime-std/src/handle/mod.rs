//! A session for many threads.

mod driver;
mod shared;
mod shared_disk;

use alloc::sync::Arc;
use core::sync::atomic::AtomicU32;
use core::time::Duration;
use std::thread;
use std::time::Instant;

use iscsi_core::wire::TaskManagementResponseCode;
use iscsi_core::{Command, TaskManagement};
use iscsi_runtime::{
    Completed, Error, Failed, Job, Notice, OwnedCommand, Payload, Receiver, Reply as _, Request,
    Sender, Service, Status, Step, Threads, Unit, check_command, one_shot,
};

use crate::client::Client;
use driver::Driver;
use shared::Shared;
pub use shared_disk::SharedDisk;

/// A logged-in session for many threads: a driver thread owns it, handles are cloned and sent anywhere.
///
/// Memory goes in with a request and comes back with its end, also after an error. No lock is held while bytes move, and requests
/// that come while the driver is busy cost no system call. The driver answers the target's pings whatever the
/// other threads do.
///
/// When the last handle is dropped the driver finishes what is under way, logs out and ends, in the background.
/// [`shut_down`](Self::shut_down) does so in the foreground.
///
/// ```no_run
/// use iscsi_core::{Command, Lun, Transfer};
/// use iscsi_runtime_std::{Client, Error, Handle, Payload};
///
/// /// Reads the same block from four threads.
/// fn read(client: Client) -> Result<(), Error> {
///     let handle = Handle::new(client)?;
///     let threads = [0, 1, 2, 3].map(|_| {
///         let handle = handle.clone();
///         std::thread::spawn(move || {
///             let cdb = [0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0];
///             let command = Command::new(Lun::ZERO, &cdb, Transfer::In(512));
///             handle.execute(&command, Payload::In(vec![0; 512]))
///         })
///     });
///     for thread in threads {
///         let (completed, payload) = thread.join().unwrap()?;
///         completed.good()?;
///         assert_eq!(payload.into_bytes().len(), 512);
///     }
///     handle.shut_down()
/// }
/// # let _ = read;
/// ```
#[derive(Debug, Clone)]
pub struct Handle(Arc<Owner>);

/// What the last handle takes along.
#[derive(Debug)]
struct Owner(Arc<Shared>);

impl Drop for Owner {
    fn drop(&mut self) {
        self.0.inbox.close();
    }
}

impl Handle {
    /// Starts a driver thread for a session.
    ///
    /// # Errors
    /// [`Error::Io`] if there is no thread to be had; the session is then closed.
    pub fn new(client: Client) -> Result<Self, Error> {
        Ok(Self::start(client, None)?.0)
    }

    /// With the number of the disk's resets, which stays 0 without a disk.
    fn start(client: Client, unit: Option<Unit>) -> Result<(Self, Arc<AtomicU32>), Error> {
        let shared = Arc::new(Shared::new(client.engine.reactor().thread_waker().clone()));
        let portal = client.portal().clone();
        let mut service = Service::new(client.engine, portal);
        let unit = unit.map(|unit| service.add(unit));
        let resets = unit.and_then(|unit| service.resets(unit)).unwrap_or_default();
        let driver = Driver::new(service, shared.clone());
        thread::Builder::new()
            .name("iscsi-session".into())
            .spawn(|| driver.run())
            .map_err(|error| Error::io(Step::Thread, None, error))?;
        Ok((Self(Arc::new(Owner(shared))), resets))
    }

    /// Executes one command. Whatever status the device gives is `Ok`; [`Completed::good`] makes an error of all but GOOD.
    ///
    /// # Errors
    /// [`Failed`] with the memory, for the reasons of [`Client::execute`].
    pub fn execute(
        &self,
        command: &Command<'_>,
        payload: Payload,
    ) -> Result<(Completed, Payload), Failed> {
        self.submit(command, payload).wait()
    }

    /// Hands a command to the driver. The ticket says how it ended; dropped, nobody is told, and the command is executed all the
    /// same.
    ///
    /// Commands beyond the session's depth wait, in their order, with their memory.
    pub fn submit(&self, command: &Command<'_>, payload: Payload) -> Ticket<(Completed, Payload)> {
        if let Err(error) = check_command(command, &payload) {
            return Ticket::refused(error, payload);
        }
        let command = OwnedCommand::new(command);
        Ticket(self.0.0.inbox.push_made(|spare| {
            let (sender, receiver) = spare.command.one_shot();
            (Request::Execute(command, Job::new(payload, sender)), receiver)
        }))
    }

    /// Hands many commands to the driver at once, with one wake-up.
    pub fn submit_all<'a>(
        &self,
        commands: impl IntoIterator<Item = (Command<'a>, Payload)>,
    ) -> Vec<Ticket<(Completed, Payload)>> {
        let prepared = commands.into_iter().map(|(command, payload)| prepare(&command, payload));
        let (tickets, requests): (Vec<_>, Vec<_>) = prepared.unzip();
        self.0.0.inbox.push(requests.into_iter().flatten());
        tickets
    }

    /// Asks the target for a task management function and waits for its answer; one at a time, others wait.
    ///
    /// # Errors
    /// If there was no answer, or the session does not take the function; a refusal by the target is `Ok`.
    pub fn task_management(
        &self,
        request: TaskManagement,
    ) -> Result<TaskManagementResponseCode, Error> {
        self.ask(|sender| Request::TaskManagement(request, sender))?
    }

    /// Asks the target for a sign of life, and waits for it. Returns how long it took.
    ///
    /// # Errors
    /// What ended the session, at the latest after the configured time for pings.
    pub fn ping(&self) -> Result<Duration, Error> {
        self.ask(Request::Ping)?
    }

    /// Drops the connection and waits until a new one stands. What is under way goes on afterwards or ends, as after any other loss.
    ///
    /// # Errors
    /// Those of [`Client::connect`].
    pub fn force_reconnect(&self) -> Result<(), Error> {
        self.ask(Request::ForceReconnect)?
    }

    /// Logs in again after the session has failed or the target has ended it. Does nothing if it stands; if the session is on its way back by
    /// itself, it does not wait for the end of its delay.
    ///
    /// # Errors
    /// Those of [`Client::connect`].
    pub fn reconnect(&self) -> Result<(), Error> {
        self.ask(Request::Connect)?
    }

    /// Where the session stands.
    ///
    /// # Errors
    /// [`Error::ShutDown`]
    pub fn status(&self) -> Result<Status, Error> {
        self.ask(Request::Status)
    }

    /// The oldest message of the target that was not taken.
    pub fn take_notice(&self) -> Option<Notice> {
        self.0.0.inbox.take_notice()
    }

    /// Finishes what is under way, logs out and ends the driver thread. What waits for a connection that is lost waits for the time of the
    /// recovery policy, or not at all if that has no end. Later requests, of any handle, end with [`Error::ShutDown`].
    ///
    /// # Errors
    /// What kept the target from confirming the logout; the connection is closed all the same.
    pub fn shut_down(&self) -> Result<(), Error> {
        self.0.0.inbox.close();
        self.0.0.inbox.wait_for_end()
    }

    fn ask<T>(&self, request: impl FnOnce(Sender<T>) -> Request<Threads>) -> Result<T, Error> {
        let (sender, receiver) = one_shot();
        self.0.0.inbox.push([request(sender)]);
        receiver.wait().ok_or(Error::ShutDown)
    }
}

/// The request for a command, or no request if the ticket has its answer already.
fn prepare(
    command: &Command<'_>,
    payload: Payload,
) -> (Ticket<(Completed, Payload)>, Option<Request<Threads>>) {
    if let Err(error) = check_command(command, &payload) {
        return (Ticket::refused(error, payload), None);
    }
    let (sender, receiver) = one_shot();
    let job = Job::new(payload, sender);
    (Ticket(receiver), Some(Request::Execute(OwnedCommand::new(command), job)))
}

/// A command that was handed to a [`Handle`], or a request to a [`SharedDisk`]. Dropped, it lets go of the result; what was asked is
/// done all the same.
///
/// ```no_run
/// use iscsi_core::{Command, Lun, Transfer};
/// use iscsi_runtime_std::{Failed, Handle, Payload};
///
/// fn flush_later(handle: &Handle) -> Result<(), Failed> {
///     let synchronize_cache = [0x35, 0, 0, 0, 0, 0, 0, 0, 0, 0];
///     let command = Command::new(Lun::ZERO, &synchronize_cache, Transfer::None);
///     let ticket = handle.submit(&command, Payload::None);
///     // ... something else ...
///     let (completed, _) = ticket.wait()?;
///     println!("{:?}", completed.outcome.status());
///     Ok(())
/// }
/// # let _ = flush_later;
/// ```
#[derive(Debug)]
#[must_use = "the result tells whether it was done"]
pub struct Ticket<T>(Receiver<Result<T, Failed>>);

impl<T> Ticket<T> {
    /// The end of what was not handed over.
    fn refused(error: Error, payload: Payload) -> Self {
        let (sender, receiver) = one_shot();
        sender.send(Err(Failed { error, payload }));
        Self(receiver)
    }

    /// Whether [`wait`](Self::wait) would return at once.
    pub fn is_done(&self) -> bool {
        self.0.is_ready()
    }

    /// Waits for the end. A command that was sent ends at the latest after the time limits for commands and for aborting them; one in line waits
    /// for those before it, and all wait while a lost connection is replaced, for as long as the recovery policy says.
    ///
    /// # Errors
    /// [`Failed`] with the memory.
    pub fn wait(self) -> Result<T, Failed> {
        answer(self.0.wait())
    }

    /// Waits for some time; `Err` is the ticket again, if the end has not come by then.
    ///
    /// # Errors
    /// The ticket, to wait longer.
    pub fn wait_for(self, time: Duration) -> Result<Result<T, Failed>, Self> {
        let Some(until) = Instant::now().checked_add(time) else { return Ok(self.wait()) };
        match self.0.wait_until(until) {
            Ok(end) => Ok(answer(end)),
            Err(receiver) => Err(Self(receiver)),
        }
    }
}

/// A job always answers, also when it is dropped; nothing comes only from a receiver that was used up.
fn answer<T>(end: Option<Result<T, Failed>>) -> Result<T, Failed> {
    end.unwrap_or(Err(Failed { error: Error::ShutDown, payload: Payload::None }))
}
