//! A session for many tasks.

use core::time::Duration;
use std::sync::Arc;

use iscsi_core::wire::TaskManagementResponseCode;
use iscsi_core::{Command, Config, DiscoveryScope, Lun, Portal, TaskManagement};
use iscsi_disk::DiskConfig;
use iscsi_runtime::{
    Completed, Discovery, Error, Failed, Job, Notice, Options, OwnedCommand, OwnedScope, Request,
    Sender, Status, check_command, one_shot,
};

use crate::disk::Disk;
use crate::driver::Driver;
use crate::memory::Memory;
use crate::shared::{Futures, Opening, Shared};
use crate::ticket::{Ticket, Wanted};

/// A session for many tasks: a [`Driver`] owns it, handles are cloned and sent anywhere.
///
/// Memory goes in with a request and comes back with its end, also after an error. Any future of it may be dropped at any time: a request
/// that was not sent yet is left out, one that was sent goes on to its end, and its memory stays with the driver until then. No
/// future does anything before it is polled; [`submit`](Self::submit) does.
///
/// When the last handle is dropped the driver finishes what is under way, logs out and ends, in the background.
/// [`shut_down`](Self::shut_down) waits for that.
///
/// ```no_run
/// use bytes::BytesMut;
/// use iscsi_core::{Command, Config, IscsiName, Lun, Portal, Transfer};
/// use iscsi_runtime_smol::{Error, Handle, Options};
///
/// async fn inquiry(config: Config, portal: Portal) -> Result<BytesMut, Error> {
///     let handle = Handle::connect(config, portal, &Options::default()).await?;
///     let command = Command::new(Lun::ZERO, &[0x12, 0, 0, 0, 36, 0], Transfer::In(36));
///     let (completed, memory) = handle.execute(&command, BytesMut::zeroed(36)).await?;
///     completed.good()?;
///     handle.shut_down().await?;
///     Ok(memory.into_mut())
/// }
/// # let _ = inquiry;
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

/// Opening and closing.
impl Handle {
    /// A session that is not connected yet, and the future that drives it, for an executor of your choice.
    /// [`reconnect`](Self::reconnect) connects.
    ///
    /// # Errors
    /// [`Error::Submit`] if the session does not take the configuration.
    pub fn new(config: Config, portal: Portal, options: &Options) -> Result<(Self, Driver), Error> {
        let driver = Driver::new(config, portal, options)?;
        Ok((Self(Arc::new(Owner(driver.shared().clone()))), driver))
    }

    /// Hands the driver to `spawn`, connects and logs in, following redirects.
    ///
    /// # Errors
    /// [`Error::Connect`] with every address that was tried, [`Error::Login`], or whatever else ended it; at the latest after the
    /// configured times for connecting and for the login.
    pub async fn connect_with(
        config: Config,
        portal: Portal,
        options: &Options,
        spawn: impl FnOnce(Driver),
    ) -> Result<Self, Error> {
        let (handle, driver) = Self::new(config, portal, options)?;
        spawn(driver);
        handle.reconnect().await?;
        Ok(handle)
    }

    /// Connects and logs in; smol's global executor drives the session.
    ///
    /// # Errors
    /// Those of [`connect_with`](Self::connect_with).
    #[cfg(feature = "smol")]
    pub async fn connect(config: Config, portal: Portal, options: &Options) -> Result<Self, Error> {
        let spawn = |driver| smol::spawn(driver).detach();
        Self::connect_with(config, portal, options, spawn).await
    }

    /// Connects and logs in; this executor drives the session, for as long as it runs.
    ///
    /// # Errors
    /// Those of [`connect_with`](Self::connect_with).
    #[cfg(feature = "smol")]
    pub async fn connect_on(
        executor: &smol::Executor<'_>,
        config: Config,
        portal: Portal,
        options: &Options,
    ) -> Result<Self, Error> {
        let spawn = |driver| executor.spawn(driver).detach();
        Self::connect_with(config, portal, options, spawn).await
    }

    /// Finishes what is under way, logs out and ends the driver. What waits for a connection that is lost waits for the time of the
    /// recovery policy, or not at all if that has no end. Later requests, of any handle, end with [`Error::ShutDown`].
    ///
    /// This is what a first poll starts; dropped afterwards, it goes on in the background.
    ///
    /// # Errors
    /// What kept the target from confirming the logout; the connection is closed all the same.
    pub async fn shut_down(&self) -> Result<(), Error> {
        let inbox = &self.0.0.inbox;
        inbox.close();
        inbox.ended().await
    }
}

/// Requests.
impl Handle {
    /// Executes one command. Whatever status the device gives is `Ok`; [`Completed::good`] makes an error of all but GOOD.
    ///
    /// # Errors
    /// [`Failed`] with the memory: [`Error::Lost`] or [`Error::Io`] if there was no answer, [`Error::Submit`] if the command was not
    /// accepted, [`Error::Memory`] if `memory` is shorter than the command's transfer.
    pub async fn execute(
        &self,
        command: &Command<'_>,
        memory: impl Into<Memory>,
    ) -> Result<(Completed, Memory), Failed<Memory>> {
        self.submit(command, memory).await
    }

    /// Hands a command to the driver at once. Commands beyond the session's depth wait, in their order, with their memory.
    pub fn submit(
        &self,
        command: &Command<'_>,
        memory: impl Into<Memory>,
    ) -> Ticket<(Completed, Memory)> {
        let memory = memory.into();
        if let Err(error) = check_command(command, &memory) {
            return Ticket::refused(error, memory);
        }
        let command = OwnedCommand::new(command);
        Ticket::new(self.0.0.inbox.push_made(|spare| {
            let (sender, receiver) = spare.command.one_shot();
            (Request::Execute(command, Job::new(memory, sender)), receiver)
        }))
    }

    /// Asks a logical unit what it is and makes a block device of it. A session may have several; dropped with its last clone, a disk is
    /// let go, and the session stays.
    ///
    /// # Errors
    /// [`Error::Disk`] if it is no block device or not ready, or what ended the session.
    pub async fn open(&self, lun: Lun) -> Result<Disk, Error> {
        self.open_with(DiskConfig::new(lun)).await
    }

    /// Opens a logical unit with other limits than the default ones.
    ///
    /// # Errors
    /// Those of [`open`](Self::open).
    pub async fn open_with(&self, config: DiskConfig) -> Result<Disk, Error> {
        let (lun, shared) = (config.lun, self.0.0.clone());
        let open = |sender| Request::Open(config, Opening { lun, shared, sender });
        let known = self.ask(open).await??;
        Ok(Disk::new(self.clone(), known))
    }

    /// Asks the target for a task management function and waits for its answer; one at a time, others wait.
    ///
    /// # Errors
    /// If there was no answer, or the session does not take the function; a refusal by the target is `Ok`.
    pub async fn task_management(
        &self,
        function: TaskManagement,
    ) -> Result<TaskManagementResponseCode, Error> {
        self.ask(|sender| Request::TaskManagement(function, sender)).await?
    }

    /// Asks the target for a sign of life, and waits for it. Returns how long it took.
    ///
    /// # Errors
    /// What ended the session, at the latest after the configured time for pings.
    pub async fn ping(&self) -> Result<Duration, Error> {
        self.ask(Request::Ping).await?
    }

    /// Drops the connection and waits until a new one stands. What is under way goes on afterwards or ends, as after any other loss.
    ///
    /// # Errors
    /// Those of [`connect_with`](Self::connect_with).
    pub async fn force_reconnect(&self) -> Result<(), Error> {
        self.ask(Request::ForceReconnect).await?
    }

    /// Logs in: for the first time, or again after the session has failed or the target has ended it. Does nothing if it stands; if the session
    /// is on its way back by itself, it does not wait for the end of its delay.
    ///
    /// # Errors
    /// Those of [`connect_with`](Self::connect_with).
    pub async fn reconnect(&self) -> Result<(), Error> {
        self.ask(Request::Connect).await?
    }

    /// Asks which targets there are, in this session; one question at a time, others wait. [`discover`](crate::discover) makes a
    /// session for it.
    ///
    /// # Errors
    /// [`Error::Discovery`] if the portal refuses, [`Error::TooManyTargets`] if its answer does not end, or what ended the connection.
    pub async fn send_targets(&self, scope: DiscoveryScope<'_>) -> Result<Discovery, Error> {
        let scope = OwnedScope::from(scope);
        self.ask(|sender| Request::Discover(scope, sender)).await?
    }

    /// How the session stands.
    ///
    /// # Errors
    /// [`Error::ShutDown`]
    pub async fn status(&self) -> Result<Status, Error> {
        self.ask(Request::Status).await
    }

    /// The oldest message of the target that was not taken; 32 are kept.
    pub fn take_notice(&self) -> Option<Notice> {
        self.0.0.inbox.take_notice()
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.0.0
    }

    async fn ask<T>(
        &self,
        request: impl FnOnce(Sender<T>) -> Request<Futures>,
    ) -> Result<T, Error> {
        let (sender, receiver) = one_shot();
        self.0.0.inbox.push([request(sender)]);
        Wanted::new(receiver).await
    }
}
