//! The connection: one TCP byte stream. Framing, digests, login, StatSN, keep-alive.

mod asynchronous;
mod control;
mod dispatch;
mod gaps;
mod login;
mod plan;
mod recovery;
mod ring;
mod rx;
mod text;
mod tx;

use core::fmt;
use core::ops::{Deref, DerefMut};
use core::time::Duration;

pub use asynchronous::AsyncNotice;
pub use plan::{OwnBytes, RecvPlan, TransmitRun};
pub use recovery::Recovered;
pub use text::{DiscoveryItem, DiscoveryScope};

use asynchronous::Events;
use control::{Echo, Ping};
use gaps::Recovery;
use ring::Ring;
use rx::Rx;
use text::TextExchange;

use crate::auth::Entropy;
use crate::error::{LostReason, SubmitError, Timer};
use crate::event::Wants;
use crate::login::{Identity, Login};
use crate::session::{ControlTag, Session, SessionState};
use crate::time::earliest;
use crate::wire::Bhs;
use crate::{Instant, StatSn, TaskId};

/// Bytes of the control area for received text: a whole login text (8192 bytes, RFC 7143 section 6.1) and a cut-off pair before it.
pub const RECEIVE_AREA: usize = 8192 + 1024;

/// Bytes of the control area for text to send: names, keys and the longest CHAP values.
pub const TRANSMIT_AREA: usize = 8192 - 1024;

/// Size of the control area of an [`InlineConnection`].
pub const CONTROL_AREA: usize = RECEIVE_AREA + TRANSMIT_AREA;

/// Where a connection stands (RFC 7143 section 8.1).
///
/// ```
/// use iscsi_core::{ConnectionState, InlineConnection};
/// assert_eq!(InlineConnection::new().state(), ConnectionState::Closed);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConnectionState {
    /// No TCP connection, or one that the engine has given up.
    Closed,
    /// Login phase.
    Login,
    /// Full feature phase.
    FullFeature,
}

/// Which way a PDU went.
///
/// ```
/// assert_ne!(iscsi_core::Direction::Sent, iscsi_core::Direction::Received);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// To the target.
    Sent,
    /// From the target.
    Received,
}

/// A function that sees the header of every PDU, for example to print [`wire::Pretty`](crate::wire::Pretty). It never sees payload,
/// text or secrets.
pub type Trace = fn(Direction, &Bhs);

/// What a connection counted since it was opened.
///
/// ```
/// assert_eq!(iscsi_core::InlineConnection::new().counters().pdus_received, 0);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Counters {
    /// PDUs handed to the transport or waiting for it.
    pub pdus_sent: u64,
    /// PDUs received whole.
    pub pdus_received: u64,
    /// Bytes handed to the transport.
    pub bytes_sent: u64,
    /// Bytes received.
    pub bytes_received: u64,
    /// What was lost or damaged and came again, at ErrorRecoveryLevel 1.
    pub recovered: Recovered,
}

#[derive(Debug)]
struct Timers {
    login: Option<Instant>,
    /// When the PDU that is being received must have made progress, and how far it was.
    progress: Option<(Instant, u64)>,
    /// The same for what is being sent.
    sending: Option<(Instant, u64)>,
    /// When silence is broken by a ping.
    idle: Option<Instant>,
    /// When the ping must have been answered, and how many bytes had come when it left.
    ping: Option<(Instant, u64)>,
    text: Option<Instant>,
}

impl Timers {
    const NONE: Self =
        Self { login: None, progress: None, sending: None, idle: None, ping: None, text: None };
}

/// Everything but the control area.
#[derive(Debug)]
pub(crate) struct ConnCore {
    state: ConnectionState,
    cid: u16,
    login: Login,
    login_out: Option<crate::login::Request>,
    /// Bytes of login text received since the last complete one.
    login_text: usize,
    /// The next status to come. What is acknowledged may be less: [`Connection::acknowledged`].
    exp_stat_sn: StatSn,
    recovery: Recovery,
    rx: Rx,
    /// Input that had to wait may go on: there may be bytes that no readiness announces again.
    pub(crate) resumed: bool,
    ring: Ring,
    /// The largest data segment that the target takes.
    max_send: u32,
    echo: Option<Echo>,
    ping: Ping,
    /// The CmdSN of the login, if the last Login Response expected another one: the echo of a ping must not.
    doubted: Option<crate::CmdSn>,
    text: TextExchange,
    events: Events,
    timers: Timers,
    counters: Counters,
    trace: Option<Trace>,
}

/// One byte stream to the target.
///
/// Bytes that arrived go in with [`receive`](Self::receive), or are read into [`recv_space`](Self::recv_space) and reported with
/// [`received`](Self::received); bytes to send are shown by [`poll_transmit`](Self::poll_transmit) and reported with
/// [`transmitted`](Self::transmitted). [`driver::pump`](crate::driver::pump) does all of it.
///
/// ```
/// use iscsi_core::{Connection, InlineConnection, InlineSession, Instant};
/// let mut storage = InlineConnection::new();
/// let connection: &mut Connection = &mut storage; // whatever the size of its control area
/// let session = InlineSession::<1>::new();
/// assert!(!connection.wants(&session).read);
/// ```
pub struct Connection<C: ?Sized = [u8]> {
    pub(crate) core: ConnCore,
    control: C,
}

/// Without the control area: its text may hold proofs of CHAP.
impl<C: ?Sized> fmt::Debug for Connection<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("core", &self.core).finish_non_exhaustive()
    }
}

/// A connection with a control area of the usual size inside the value.
pub type InlineConnection = Connection<[u8; CONTROL_AREA]>;

impl<const N: usize> Connection<[u8; N]> {
    /// A closed connection. The control area must have at least [`RECEIVE_AREA`] + 1024 bytes; a smaller one does not compile.
    pub const fn new() -> Self {
        const { assert!(N >= RECEIVE_AREA + 1024, "the control area is too small") };
        Self {
            core: ConnCore {
                state: ConnectionState::Closed,
                cid: 0,
                login: Login::IDLE,
                login_out: None,
                login_text: 0,
                exp_stat_sn: StatSn(0),
                recovery: Recovery::new(),
                rx: Rx::new(),
                resumed: false,
                ring: Ring::new(),
                max_send: 8192,
                echo: None,
                ping: Ping::Idle,
                doubted: None,
                text: TextExchange::IDLE,
                events: Events::new(),
                timers: Timers::NONE,
                counters: Counters {
                    pdus_sent: 0,
                    pdus_received: 0,
                    bytes_sent: 0,
                    bytes_received: 0,
                    recovered: Recovered::NONE,
                },
                trace: None,
            },
            control: [0; N],
        }
    }
}

impl<const N: usize> Default for Connection<[u8; N]> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const N: usize> Deref for Connection<[u8; N]> {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        self
    }
}

impl<const N: usize> DerefMut for Connection<[u8; N]> {
    fn deref_mut(&mut self) -> &mut Connection {
        self
    }
}

/// Getters.
impl Connection {
    /// Where the connection stands.
    pub const fn state(&self) -> ConnectionState {
        self.core.state
    }

    /// What was counted since the connection was opened.
    pub const fn counters(&self) -> Counters {
        self.core.counters
    }

    /// Installs a function that sees every header, or removes it.
    pub const fn set_trace(&mut self, trace: Option<Trace>) {
        self.core.trace = trace;
    }

    /// The target's alias, for display only (RFC 7143 section 13.6).
    pub fn target_alias(&self) -> Option<&str> {
        self.core.login.target_alias()
    }

    /// What the connection waits for. To be asked again after anything was submitted.
    pub fn wants(&self, session: &Session) -> Wants {
        let deadline = earliest([self.poll_timeout(), session.poll_timeout()]);
        let open = self.core.state != ConnectionState::Closed && !session.is_disconnected();
        Wants {
            read: open && !self.is_paused(),
            write: open && self.has_transmit(session),
            again: open && self.core.resumed,
            deadline,
        }
    }

    /// Input has to wait until the application has taken an event.
    pub(crate) const fn is_paused(&self) -> bool {
        self.core.rx.is_held()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let t = &self.core.timers;
        let first = |timer: Option<(Instant, u64)>| timer.map(|(at, _)| at);
        let recovery = self.core.recovery.deadline();
        let (progress, sending, ping) = (first(t.progress), first(t.sending), first(t.ping));
        earliest([t.login, progress, sending, t.idle, ping, t.text, recovery])
    }
}

/// Opening and closing.
impl Connection {
    /// A TCP connection to [`Session::portal`] stands: the login begins.
    ///
    /// `entropy` must be fresh from a cryptographically secure source for every connection (RFC 7143 section 9.2.1).
    ///
    /// A connection that comes too late, because the session gave up waiting or was closed, is refused: the next action is to
    /// disconnect.
    pub fn opened(&mut self, session: &mut Session, entropy: Entropy, now: Instant) {
        if self.core.state != ConnectionState::Closed {
            // The runtime replaced the stream without a word.
            self.fail(LostReason::Transport, session, now);
        }
        self.reset();
        if session.state() != SessionState::Connecting {
            self.core.state = ConnectionState::Closed;
            session.want_disconnect();
            return;
        }
        let cmd_sn = session.config().initial_cmd_sn().unwrap_or_else(|| entropy.cmd_sn());
        self.core.state = ConnectionState::Login;
        self.core.timers.login = Some(now + session.config().timeouts().login);
        session.login_started(cmd_sn, &entropy);
        let identity = Identity {
            isid: session.isid_or_draw(&entropy),
            tsih: 0,
            cid: self.core.cid,
            cmd_sn,
            initiator_task_tag: session.control_tag(ControlTag::Login),
        };
        self.start_login(identity, session, entropy, now);
    }

    fn reset(&mut self) {
        let core = &mut self.core;
        core.ring.clear();
        core.rx = Rx::new();
        core.resumed = false;
        core.echo = None;
        core.ping = Ping::Idle;
        core.doubted = None;
        core.text = TextExchange::IDLE;
        core.events.clear();
        core.timers = Timers::NONE;
        core.counters = Counters::default();
        core.login_out = None;
        core.login_text = 0;
        core.exp_stat_sn = StatSn(0);
        core.recovery.clear();
        core.max_send = 8192;
    }

    /// The target closed its side.
    pub fn received_eof(&mut self, session: &mut Session, now: Instant) {
        self.fail(LostReason::Eof, session, now);
    }

    /// The connection broke, or the runtime closed it.
    pub fn closed(&mut self, reason: LostReason, session: &mut Session, now: Instant) {
        self.fail(reason, session, now);
    }

    /// Gives the connection up: everything that depends on it ends.
    pub(crate) fn fail(&mut self, reason: LostReason, session: &mut Session, now: Instant) {
        if self.close_if_abandoned(session) {
            return;
        }
        self.close();
        session.want_disconnect();
        session.connection_lost(reason, now);
    }

    /// Closes a connection whose session ended without it (logged out during the login, given up) and may have been opened again
    /// since: what happens to this stream is no longer the session's concern. True if the connection is closed.
    fn close_if_abandoned(&mut self, session: &Session) -> bool {
        if self.core.state != ConnectionState::Closed && session.is_disconnected() {
            self.close();
        }
        self.core.state == ConnectionState::Closed
    }

    /// Closed by agreement; the session knows.
    fn close(&mut self) {
        self.core.state = ConnectionState::Closed;
        self.core.ring.clear();
        self.core.timers = Timers::NONE;
        self.core.login_out = None;
        self.core.recovery.clear();
    }

    /// Time passed: acts on every deadline that has come, of the connection and of the session. Calls before a deadline do nothing.
    pub fn handle_timeout(&mut self, session: &mut Session, now: Instant) {
        let expired = session.expire(now);
        self.close_if_abandoned(session);
        if self.core.state == ConnectionState::Closed {
            if let Some(timer) = expired {
                session.want_disconnect();
                session.connection_lost(LostReason::TimedOut(timer), now);
            }
            return;
        }
        let due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        let expired = if expired.is_some() {
            expired
        } else if due(self.core.timers.login) {
            Some(Timer::Login)
        } else if due(self.core.timers.text) {
            Some(Timer::Text)
        } else if self.recovery_expired(session, now) {
            Some(Timer::Snack)
        } else {
            self.stalled(session, now)
        };
        if let Some(timer) = expired {
            self.fail(LostReason::TimedOut(timer), session, now);
            return;
        }
        if core::mem::take(&mut session.core.window.ask) || due(self.core.timers.idle) {
            self.idle_due(session);
        }
    }

    /// A PDU must move at least this many bytes in each progress period, or end: a peer that trickles is as dead as one that is
    /// silent.
    const MIN_PROGRESS: u64 = 1024;

    /// Judges the timers that ask whether bytes move.
    fn stalled(&mut self, session: &Session, now: Instant) -> Option<Timer> {
        let Counters { bytes_received, bytes_sent, .. } = self.core.counters;
        let timeouts = session.config().timeouts();
        let timers = &mut self.core.timers;
        let period = timeouts.progress;
        if !extend(&mut timers.progress, bytes_received, Self::MIN_PROGRESS, period, now)
            || !extend(&mut timers.sending, bytes_sent, Self::MIN_PROGRESS, period, now)
        {
            return Some(Timer::Progress);
        }
        // While bytes come the peer is alive: its answer may be behind them.
        if !extend(&mut timers.ping, bytes_received, 1, timeouts.nop_timeout, now) {
            return Some(Timer::NopOut);
        }
        self.watch_ping(session, now);
        None
    }

    /// Takes the memory of a task away at once: reads are discarded from now on, writes are aborted. If bytes of the task are owed (an
    /// R2T is unanswered, or a PDU with its data is in the send ring) the connection is dropped: bytes are never invented. The task's
    /// end event is suppressed.
    ///
    /// # Errors
    /// [`SubmitError::NoSuchTask`] if the task has ended; then its memory is free anyway.
    pub fn revoke(
        &mut self,
        task: TaskId,
        session: &mut Session,
        now: Instant,
    ) -> Result<(), SubmitError> {
        let can_go_on = session.revoke_slot(task, now)?;
        let shown = self.core.ring.shows_memory_of(task.index() as u16);
        if !can_go_on || shown {
            self.fail(LostReason::Aborted, session, now);
        }
        Ok(())
    }

    fn traced(&self, direction: Direction, bhs: &Bhs) {
        if let Some(trace) = self.core.trace {
            trace(direction, bhs);
        }
    }

    fn transmit_area(&self) -> &[u8] {
        self.control.get(RECEIVE_AREA..).unwrap_or_default()
    }
}

/// Gives a timer that is due another period if at least `enough` bytes have moved in this one. False if they have not.
fn extend(
    timer: &mut Option<(Instant, u64)>,
    bytes: u64,
    enough: u64,
    period: Duration,
    now: Instant,
) -> bool {
    match timer {
        Some((at, before)) if *at <= now => {
            if bytes.wrapping_sub(*before) < enough {
                return false;
            }
            *timer = Some((now + period, bytes));
            true
        }
        _ => true,
    }
}
