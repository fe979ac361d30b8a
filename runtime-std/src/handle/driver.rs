//! The thread that owns a session.

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use core::time::Duration;

use iscsi_core::config::Retry;
use iscsi_core::wire::TaskManagementResponseCode;
use iscsi_core::{
    Event, Instant, LostReason, Lun, Portal, SessionState, SubmitError, TaskId, TaskManagement,
    TaskManagementId, Wants,
};
use iscsi_disk::{DiskError, DiskEvent, DiskState, Identity, RequestError, RequestId};

use super::Status;
use super::inbox::Inbox;
use super::reply::Sender;
use super::request::{CommandJob, DiskJob, OwnedCommand, Request};
use crate::disk::Unit;
use crate::engine::{Engine, TaskEnd};
use crate::error::Error;
use crate::scsi::Completed;
use crate::table::Table;

type FunctionSender = Sender<Result<TaskManagementResponseCode, Error>>;

pub(super) struct Driver {
    engine: Engine,
    portal: Portal,
    inbox: Arc<Inbox>,
    /// Empty between turns; kept for its memory.
    incoming: Vec<Request>,
    /// Commands beyond the session's depth, oldest first.
    backlog: VecDeque<(OwnedCommand, CommandJob)>,
    jobs: Table<TaskId, CommandJob>,
    unit: Option<DrivenUnit>,
    /// Task management functions that wait for the one before.
    functions: VecDeque<(TaskManagement, FunctionSender)>,
    function: Option<(TaskManagementId, FunctionSender)>,
    /// Wait for the login to succeed or fail.
    reconnecting: Vec<Sender<Result<(), Error>>>,
    pings: Vec<PendingPing>,
    /// Requests to the disk have ended since the last look at the backlog.
    freed: bool,
    logging_out: bool,
}

/// Who waits for a sign of life, since when, and how many PDUs had come then.
struct PendingPing {
    since: Instant,
    before: u64,
    sender: Sender<Result<Duration, Error>>,
}

/// A disk on the session.
struct DrivenUnit {
    disk: Box<iscsi_disk::Disk>,
    identity: Identity,
    /// Started again after a reconnect, it turned out to be another device: nothing is done with that.
    changed: bool,
    /// Requests beyond the disk's slots, oldest first.
    backlog: VecDeque<(iscsi_disk::Request, DiskJob)>,
    jobs: Table<RequestId, DiskJob>,
}

impl DrivenUnit {
    /// At this logical unit is another device than the one that was opened: nobody's commands go there.
    fn is_lost(&self, lun: Lun) -> bool {
        let changed = self.disk.state() == DiskState::Failed(DiskError::DeviceChanged);
        (changed || self.changed) && self.disk.config().lun == lun
    }
}

/// Answers everybody, also if the thread panics: whatever is left in the driver is dropped after this.
struct End(Arc<Inbox>);

impl Drop for End {
    fn drop(&mut self) {
        self.0.end(Err(Error::ShutDown));
    }
}

impl Driver {
    pub(super) fn new(
        engine: Engine,
        portal: Portal,
        unit: Option<Unit>,
        inbox: Arc<Inbox>,
    ) -> Self {
        let unit = unit.map(|unit| DrivenUnit {
            disk: unit.disk,
            identity: unit.identity,
            changed: false,
            backlog: VecDeque::new(),
            jobs: Table::default(),
        });
        Self {
            unit,
            engine,
            portal,
            inbox,
            incoming: Vec::new(),
            backlog: VecDeque::new(),
            jobs: Table::default(),
            functions: VecDeque::new(),
            function: None,
            reconnecting: Vec::new(),
            pings: Vec::new(),
            freed: false,
            logging_out: false,
        }
    }

    pub(super) fn run(mut self) {
        let end = End(self.inbox.clone());
        let result = self.serve();
        let inbox = self.inbox.clone();
        // Everything under way is answered before the end is told.
        drop(self);
        inbox.end(result);
        drop(end);
    }

    fn serve(&mut self) -> Result<(), Error> {
        loop {
            let closing = self.accept();
            self.submit();
            let mut wants = match &mut self.unit {
                Some(unit) => {
                    let mut buffers = unit.disk.buffers(&mut unit.jobs).or(&mut self.jobs);
                    self.engine.turn(&mut buffers)
                }
                None => self.engine.turn(&mut self.jobs),
            };
            if self.settle() {
                // Slots have become free, or something can be asked for now.
                wants.again |= self.has_backlog();
            }
            // What the disk submits now waits for the next turn.
            wants.again |= self.drive_disk();
            wants.again |= self.vouch();
            // Requests may end without an event of the session, for example because it has failed: others take their places.
            wants.again |= core::mem::take(&mut self.freed) && self.has_backlog();
            if closing && (self.is_idle() || self.is_away_for_ever()) {
                match self.end() {
                    Some(result) => return result,
                    None if !self.logging_out => {
                        self.logging_out = true;
                        let now = self.engine.now();
                        // Refused means that there is nothing to log out of, or that it is under way.
                        let _ = self.engine.session.logout(now);
                        continue;
                    }
                    None => {}
                }
            }
            self.sleep(wants, closing)?;
        }
    }

    fn sleep(&self, wants: Wants, closing: bool) -> Result<(), Error> {
        let waker = self.engine.waker.clone();
        waker.arm();
        let slept = if wants.again || self.inbox.has_news(closing) || self.engine.has_dialed() {
            Ok(())
        } else {
            let until = self.unit.as_ref().and_then(|unit| unit.disk.poll_timeout());
            self.engine.sleep(wants, until, true)
        };
        waker.disarm();
        slept
    }

    fn is_idle(&self) -> bool {
        !self.has_backlog()
            && self.unit.as_ref().is_none_or(|unit| unit.disk.in_use() == 0)
            && self.function.is_none()
            && self.reconnecting.is_empty()
            && self.engine.session.in_use() == 0
    }

    /// Nobody but the application would end the attempts to come back, and the application has let go.
    fn is_away_for_ever(&self) -> bool {
        let session = &self.engine.session;
        session.config().recovery().retry == Retry::Forever
            && matches!(
                session.state(),
                SessionState::Waiting(_) | SessionState::Connecting | SessionState::LoggingIn
            )
    }

    /// Answers for the devices after a new login if no disk does. True if the session goes on.
    fn vouch(&mut self) -> bool {
        let asked = self.engine.session.state() == SessionState::Verifying;
        let taken = self.unit.as_ref().is_some_and(|unit| unit.disk.is_verifying());
        if asked && !taken {
            self.engine.vouch();
        }
        asked && !taken
    }

    fn has_backlog(&self) -> bool {
        !self.backlog.is_empty()
            || !self.functions.is_empty()
            || self.unit.as_ref().is_some_and(|unit| !unit.backlog.is_empty())
    }

    /// How the session ended, if it has.
    fn end(&self) -> Option<Result<(), Error>> {
        match self.engine.session.state() {
            SessionState::Closed | SessionState::Idle => Some(Ok(())),
            SessionState::Failed(reason) => Some(Err(self.engine.failure(reason))),
            _ => None,
        }
    }
}

/// Requests in.
impl Driver {
    /// Returns whether nothing more will come.
    fn accept(&mut self) -> bool {
        let mut incoming = core::mem::take(&mut self.incoming);
        let closing = self.inbox.swap(&mut incoming);
        for request in incoming.drain(..) {
            match request {
                Request::Execute(command, job) => self.backlog.push_back((command, job)),
                Request::Disk(request, job) => match &mut self.unit {
                    Some(unit) => unit.backlog.push_back((request, job)),
                    None => job.end(Err(RequestError::NotReady.into())),
                },
                Request::TaskManagement(function, sender) => {
                    self.functions.push_back((function, sender));
                }
                Request::Reconnect(sender) => self.reconnect(sender),
                Request::ForceReconnect(sender) => self.force_reconnect(sender),
                Request::Ping(sender) => self.ping(sender),
                Request::Status(sender) => sender.send(self.status()),
            }
        }
        self.incoming = incoming;
        closing
    }

    fn submit(&mut self) {
        while let Some((command, job)) = self.backlog.pop_front() {
            let now = self.engine.now();
            if self.unit.as_ref().is_some_and(|unit| unit.is_lost(command.command().lun)) {
                job.end(Err(Error::Disk(DiskError::DeviceChanged)));
                continue;
            }
            match self.engine.session.submit(&command.command(), now) {
                Ok(task) => self.jobs.insert(task, job),
                Err(SubmitError::NoFreeTask) => {
                    self.backlog.push_front((command, job));
                    break;
                }
                Err(error) => job.end(Err(self.engine.refusal(error))),
            }
        }
        if self.function.is_none() {
            self.start_function();
        }
        self.submit_to_disk();
        self.drive_disk();
    }

    fn submit_to_disk(&mut self) {
        let Some(unit) = &mut self.unit else { return };
        if unit.changed {
            let error = Error::Disk(DiskError::DeviceChanged);
            unit.backlog.drain(..).for_each(|(_, job)| job.end(Err(error.clone())));
        }
        // What was asked for meanwhile is done once the disk has started again.
        if unit.disk.state() == DiskState::Starting {
            return;
        }
        while let Some((request, job)) = unit.backlog.pop_front() {
            match unit.disk.submit(request) {
                Ok(id) => unit.jobs.insert(id, job),
                Err(RequestError::NoFreeRequest) => {
                    unit.backlog.push_front((request, job));
                    return;
                }
                Err(error) => job.end(Err(error.into())),
            }
        }
    }

    /// Lets the disk submit commands and tells what has ended. True if it has submitted some.
    fn drive_disk(&mut self) -> bool {
        let Some(unit) = &mut self.unit else { return false };
        let now = self.engine.now();
        let submitted = unit.disk.drive(&mut self.engine.session, now);
        while let Some(event) = unit.disk.poll_event() {
            match event {
                DiskEvent::Done { request, result } => {
                    self.freed = true;
                    if let Some(job) = unit.jobs.remove(request) {
                        job.end(result.map_err(|error| self.engine.disk_failure(error)));
                    }
                }
                DiskEvent::GeometryChanged => {
                    if let Some(&geometry) = unit.disk.geometry() {
                        self.inbox.set_geometry(geometry);
                    }
                }
                DiskEvent::StateChanged(DiskState::Ready) => {
                    let same = unit.disk.identity().map(|now| now.is_same_device(&unit.identity));
                    unit.changed = same == Some(false);
                }
                _ => {}
            }
        }
        submitted
    }

    fn start_function(&mut self) {
        while let Some((function, sender)) = self.functions.pop_front() {
            let now = self.engine.now();
            match self.engine.session.task_management(function, now) {
                Ok(id) => {
                    self.function = Some((id, sender));
                    return;
                }
                // The engine is aborting a command; its end makes room.
                Err(SubmitError::Busy) => {
                    self.functions.push_front((function, sender));
                    return;
                }
                Err(error) => sender.send(Err(self.engine.refusal(error))),
            }
        }
    }

    fn reconnect(&mut self, sender: Sender<Result<(), Error>>) {
        match self.engine.session.state() {
            SessionState::LoggedIn => sender.send(Ok(())),
            // A logout that the target asked for is followed by a login, if the policy says so; else its end is told.
            SessionState::Connecting
            | SessionState::LoggingIn
            | SessionState::Verifying
            | SessionState::LoggingOut => {
                self.reconnecting.push(sender);
            }
            SessionState::Waiting(_) => {
                let now = self.engine.now();
                // The delay is cut short; the target's time is not.
                let _ = self.engine.session.retry_now(now);
                self.reconnecting.push(sender);
            }
            _ => match self.engine.open(self.portal.clone()) {
                Ok(()) => self.reconnecting.push(sender),
                Err(error) => sender.send(Err(error)),
            },
        }
    }

    fn force_reconnect(&mut self, sender: Sender<Result<(), Error>>) {
        let now = self.engine.now();
        match self.engine.session.force_reconnect(now) {
            Ok(()) => self.reconnecting.push(sender),
            Err(SubmitError::NotOpen) => self.reconnect(sender),
            Err(error) => sender.send(Err(self.engine.refusal(error))),
        }
    }

    fn ping(&mut self, sender: Sender<Result<Duration, Error>>) {
        if self.engine.session.state() != SessionState::LoggedIn {
            sender.send(Err(self.engine.refusal(SubmitError::NotOpen)));
            return;
        }
        let now = self.engine.now();
        self.engine.connection.ping(&self.engine.session);
        let before = self.engine.connection.counters().pdus_received;
        self.pings.push(PendingPing { since: now, before, sender });
    }

    fn status(&self) -> Status {
        let session = &self.engine.session;
        Status {
            state: session.state(),
            recovery: session.recovery(),
            session: session.counters(),
            negotiated: *session.negotiated(),
            counters: self.engine.connection.counters(),
            peer: self.engine.peer(),
            in_use: session.in_use(),
            capacity: session.capacity(),
        }
    }
}

/// Answers out.
impl Driver {
    /// Tells everybody what has ended. True if anything has.
    fn settle(&mut self) -> bool {
        let mut any = false;
        let now = self.engine.now();
        while let Some(event) = self.engine.session.poll_event() {
            any = true;
            if self.unit.as_mut().is_some_and(|unit| unit.disk.handle_event(&event, now)) {
                continue;
            }
            if let Event::TaskManagementDone { id, result } = event {
                self.function_done(id, result);
                continue;
            }
            let Some((task, end)) = TaskEnd::of(event) else { continue };
            let Some(job) = self.jobs.remove(task) else { continue };
            job.end(match end {
                TaskEnd::Done(outcome, sense) => Ok(Completed::new(outcome, sense)),
                TaskEnd::Lost(reason) => Err(self.engine.failure(reason)),
            });
        }
        self.inbox.add_notices(&mut self.engine.notices);
        if !self.reconnecting.is_empty() {
            self.settle_reconnecting();
        }
        if !self.pings.is_empty() {
            self.settle_pings();
        }
        any
    }

    fn function_done(
        &mut self,
        id: TaskManagementId,
        result: Result<TaskManagementResponseCode, LostReason>,
    ) {
        if let Some((_, sender)) = self.function.take_if(|(waiting, _)| *waiting == id) {
            sender.send(result.map_err(|reason| self.engine.failure(reason)));
        }
    }

    fn settle_reconnecting(&mut self) {
        let result = match self.engine.session.state() {
            SessionState::LoggedIn => Ok(()),
            SessionState::Failed(reason) => Err(self.engine.failure(reason)),
            SessionState::Closed => Err(Error::ShutDown),
            _ => return,
        };
        if let (Ok(()), Some(unit)) = (&result, &mut self.unit)
            && matches!(unit.disk.state(), DiskState::Failed(_))
        {
            // Refused while requests are left from before; the next reconnect tries again.
            let _ = unit.disk.start();
        }
        self.reconnecting.drain(..).for_each(|sender| sender.send(result.clone()));
    }

    fn settle_pings(&mut self) {
        let received = self.engine.connection.counters().pdus_received;
        let lost = match self.engine.session.state() {
            SessionState::LoggedIn | SessionState::LoggingOut => None,
            SessionState::Failed(reason) => Some(self.engine.failure(reason)),
            // The ping went with its connection.
            _ => match self.engine.session.recovery() {
                Some(recovery) => Some(self.engine.failure(recovery.first)),
                None => Some(Error::ShutDown),
            },
        };
        let now = self.engine.now();
        for ping in core::mem::take(&mut self.pings) {
            if let Some(error) = &lost {
                ping.sender.send(Err(error.clone()));
            } else if received > ping.before {
                ping.sender.send(Ok(now.saturating_since(ping.since)));
            } else {
                self.pings.push(ping);
            }
        }
    }
}
