//! A session that one thread owns.

use core::net::SocketAddr;
use core::time::Duration;

use iscsi_core::text::SessionType;
use iscsi_core::url::IscsiUrl;
use iscsi_core::wire::TaskManagementResponseCode;
use iscsi_core::{
    Command, Config, Counters, DiscoveryScope, IscsiName, Negotiated, NoBuffers, Portal, Session,
    SessionState, SubmitError, TaskManagement, Trace,
};
use iscsi_runtime::{
    Completed, Data, Discovery, Error, Lend, Notice, Options, check_command, task_end,
};

use crate::discovery;
use crate::engine::{self, Engine, Poll, wait};
use crate::one::One;
use crate::queue::Queue;

/// A logged-in session that one thread owns. Every call blocks, and has a time limit: those of the session's configuration.
///
/// Memory is borrowed for as long as a call lasts; data go straight between it and the socket. For several commands at once there is
/// [`queue`](Self::queue), for several threads there is [`Handle`](crate::Handle), and for bytes instead of commands
/// [`Disk`](crate::Disk).
///
/// Between calls nobody answers the target's pings: a program with nothing to do for long calls [`idle`](Self::idle).
/// Dropped, it closes the connection without logging out, and without waiting.
///
/// ```no_run
/// use iscsi_core::{Command, IscsiName, Lun, Transfer};
/// use iscsi_runtime_std::{Data, Client, Options};
///
/// let url = "iscsi://192.0.2.1/iqn.2001-04.com.example:disk/1".parse()?;
/// let name = IscsiName::new("iqn.2001-04.com.example:host").unwrap();
/// let mut client = Client::connect_url(&url, name, &Options::default())?;
/// let mut inquiry = [0; 36];
/// let command = Command::new(url.lun, &[0x12, 0, 0, 0, 36, 0], Transfer::In(36));
/// client.execute(&command, Data::In(&mut inquiry))?.good()?;
/// println!("{}", String::from_utf8_lossy(&inquiry[8..32]));
/// client.logout()?;
/// # Ok::<(), Box<dyn core::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Client {
    pub(crate) engine: Engine,
    portal: Portal,
}

/// Opening and closing.
impl Client {
    /// Connects and logs in, following redirects.
    ///
    /// # Errors
    /// [`Error::Connect`] with every address that was tried, [`Error::Login`], or whatever else ended it; at the latest after the
    /// configured times for connecting and for the login.
    pub fn connect(config: Config, portal: Portal) -> Result<Self, Error> {
        Self::connect_with(config, portal, &Options::default())
    }

    /// Connects with other settings than the default ones.
    ///
    /// # Errors
    /// Those of [`connect`](Self::connect).
    pub fn connect_with(config: Config, portal: Portal, options: &Options) -> Result<Self, Error> {
        let mut engine = Engine::new(config, options, Poll::new()?)?;
        engine::log_in(&mut engine, portal.clone())?;
        Ok(Self { engine, portal })
    }

    /// Connects to the target of a URL, with its credentials and arguments.
    ///
    /// # Errors
    /// Those of [`connect`](Self::connect); [`Error::Credentials`] or [`Error::Config`] if the URL's values do not fit together.
    pub fn connect_url(url: &IscsiUrl, name: IscsiName, options: &Options) -> Result<Self, Error> {
        let config = url.config(name)?.build()?;
        Self::connect_with(config, url.portal.clone(), options)
    }

    /// Logs in again after the session has ended, with the same ISID: the target drops what is left of the old session
    /// (RFC 7143 section 6.3.5).
    ///
    /// # Errors
    /// Those of [`connect`](Self::connect); [`Error::Submit`] if the session has not ended.
    pub fn reconnect(&mut self) -> Result<(), Error> {
        engine::log_in(&mut self.engine, self.portal.clone())
    }

    /// Drops the connection and makes a new one, with the same ISID: the target ends what is left of the old one. What is under way goes
    /// on afterwards or ends, as after any other loss.
    ///
    /// # Errors
    /// Those of [`connect`](Self::connect); [`Error::Submit`] if the session has ended.
    pub fn force_reconnect(&mut self) -> Result<(), Error> {
        engine::reconnect(&mut self.engine)
    }

    /// Logs out and closes the connection.
    ///
    /// # Errors
    /// What kept the target from confirming it; the connection is closed all the same.
    pub fn logout(mut self) -> Result<(), Error> {
        engine::log_out(&mut self.engine)
    }
}

/// Requests.
impl Client {
    /// Executes one command. Whatever status the device gives is `Ok`; [`Completed::good`] makes an error of all but GOOD.
    ///
    /// # Errors
    /// [`Error::Lost`] or [`Error::Io`] if there was no answer, [`Error::Submit`] if the command was not accepted,
    /// [`Error::Memory`] if `data` is shorter than the command's transfer.
    pub fn execute(
        &mut self,
        command: &Command<'_>,
        mut data: Data<'_>,
    ) -> Result<Completed, Error> {
        check_command(command, &data)?;
        let task = self.engine.submit(command)?;
        loop {
            let mut memory = One { key: task, data: &mut data };
            let wants = self.engine.turn_and_vouch_to_wait(&mut memory);
            while let Some(event) = self.engine.session.poll_event() {
                if let Some((ended, end)) = task_end(event)
                    && ended == task
                {
                    return end.map_err(|reason| self.engine.failure(reason));
                }
            }
            if let Err(error) = wait(&mut self.engine, wants, None) {
                self.engine.revoke(task);
                return Err(error);
            }
        }
    }

    /// For many commands at once, each with its memory: borrowed as [`Data`], or anything else that can be [lent](Lend), for instance taken from a
    /// pool only when its data arrive.
    pub fn queue<M: Lend>(&mut self) -> Queue<'_, M> {
        Queue::new(self)
    }

    /// Asks the target for a task management function.
    ///
    /// # Errors
    /// If there was no answer, or the session does not take the function; a refusal by the target is `Ok`.
    pub fn task_management(
        &mut self,
        request: TaskManagement,
    ) -> Result<TaskManagementResponseCode, Error> {
        self.queue::<Data<'_>>().task_management(request)
    }

    /// Asks the target for a sign of life, and waits for it. Returns how long it took.
    ///
    /// Any PDU from the target counts as a sign of life.
    ///
    /// # Errors
    /// What ended the session, at the latest after the configured time for pings; [`SubmitError::DiscoverySession`] in a discovery session,
    /// which has no pings.
    pub fn ping(&mut self) -> Result<Duration, Error> {
        self.require_open()?;
        if self.engine.session.config().session_type() == SessionType::Discovery {
            return Err(Error::Submit(SubmitError::DiscoverySession));
        }
        let start = self.engine.now();
        let before = self.counters().pdus_received;
        let login = self.engine.session.counters().logins;
        self.engine.connection.ping(&self.engine.session);
        loop {
            let wants = self.engine.turn_and_vouch(&mut NoBuffers);
            self.require_open()?;
            // The ping went with its connection.
            self.engine.require_connection(login)?;
            if self.counters().pdus_received > before {
                return Ok(self.engine.now().saturating_since(start));
            }
            wait(&mut self.engine, wants, None)?;
        }
    }

    /// Keeps the connection alive for `time`, or until there is a message of the target: answers pings, sends its own.
    ///
    /// # Errors
    /// What ended the session meanwhile.
    pub fn idle(&mut self, time: Duration) -> Result<Option<Notice>, Error> {
        let until = self.engine.now() + time;
        loop {
            let wants = self.engine.turn_and_vouch(&mut NoBuffers);
            if let Some(notice) = self.take_notice() {
                return Ok(Some(notice));
            }
            self.require_open()?;
            if self.engine.now() >= until {
                return Ok(None);
            }
            wait(&mut self.engine, wants, Some(until))?;
        }
    }

    /// The oldest message of the target that was not taken, without waiting; up to 32 are kept.
    pub fn take_notice(&mut self) -> Option<Notice> {
        self.engine.notices.pop_front()
    }

    /// Asks which targets there are, and where. In a normal session only for its own target: [`DiscoveryScope::Session`].
    ///
    /// # Errors
    /// [`Error::Discovery`] if the target refuses, or what ended the session.
    pub fn send_targets(&mut self, scope: DiscoveryScope<'_>) -> Result<Discovery, Error> {
        discovery::collect(&mut self.engine, scope)
    }

    /// The session is there, or on its way back.
    fn require_open(&self) -> Result<(), Error> {
        match self.state() {
            SessionState::Failed(reason) => Err(self.engine.failure(reason)),
            SessionState::Idle | SessionState::Closed => Err(Error::Submit(SubmitError::NotOpen)),
            _ => Ok(()),
        }
    }
}

/// Getters.
impl Client {
    /// The session: names, identifiers, command window.
    pub fn session(&self) -> &Session {
        &self.engine.session
    }

    /// Where the session stands, as known from the last call.
    pub fn state(&self) -> SessionState {
        self.engine.session.state()
    }

    /// The configuration.
    pub fn config(&self) -> &Config {
        self.engine.session.config()
    }

    /// What was negotiated with the target.
    pub fn negotiated(&self) -> &Negotiated {
        self.engine.session.negotiated()
    }

    /// What the connection counted so far.
    pub fn counters(&self) -> Counters {
        self.engine.connection.counters()
    }

    /// The address of the target; `None` without a connection.
    pub fn peer(&self) -> Option<SocketAddr> {
        self.engine.peer()
    }

    /// The portal that [`connect`](Self::connect) was given; a redirect does not change it.
    pub const fn portal(&self) -> &Portal {
        &self.portal
    }

    /// The target's alias, for display only.
    pub fn target_alias(&self) -> Option<&str> {
        self.engine.connection.target_alias()
    }

    /// Installs a function that sees the header of every PDU, or removes it.
    pub fn set_trace(&mut self, trace: Option<Trace>) {
        self.engine.connection.set_trace(trace);
    }
}
