//! A connection: one TCP byte stream of an initiator. Framing, digests, login, tasks, task management, keep-alive.

mod command;
mod control;
mod data_out;
mod dispatch;
mod login;
mod pages;
mod recovery;
mod ring;
mod rx;
mod summed;
mod task;
mod task_management;
mod text;
mod tx;

use core::fmt;
use core::ops::{Deref, DerefMut};

use heapless::Deque;
use iscsi_core::auth::Entropy;
use iscsi_core::text::SessionType;
use iscsi_core::wire::{Bhs, LoginStatus};
use iscsi_core::{CmdSn, Direction, Instant, IscsiName, Negotiated, Portal, StatSn, Trace, Wants};

use crate::nexus::NexusId;
use crate::target::Target;

use control::{Control, Timers};
use login::Acceptor;
use pages::{AREA, Pages, Run};
use recovery::{AGAIN, Again, KEPT, Kept};
use ring::Ring;
use rx::Rx;
use summed::Summed;
use task::TaskTable;
use task_management::Waiting;
use text::TextExchange;

pub(crate) use task::Ending;
pub use task::TaskSlot;

/// Bytes that a command may send before it is carried out: parameter lists, both halves of COMPARE AND WRITE.
pub(crate) const STAGING: usize = AREA;

/// The most that MaxOutstandingR2T is negotiated to.
pub(crate) const MAX_OUTSTANDING_R2T: u16 = task::MAX_BURSTS as u16;

/// Bytes of text that are collected: what every side must accept (RFC 7143 section 6.1).
const TEXT_AREA: usize = 8192;

/// Answers that may wait to be sent; beyond that no input is taken.
const CONTROL_QUEUE: usize = 8;

/// Bits for the CmdSNs that came before their turn.
const AHEAD: usize = 256;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Closed,
    Login,
    FullFeature,
    /// The last answers are sent; input is thrown away.
    Closing,
}

/// Why a connection ended.
///
/// ```
/// use iscsi_target::EndReason;
/// assert_eq!(EndReason::HeaderDigest.to_string(), "header digest mismatch");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum EndReason {
    /// The initiator logged out.
    Logout,
    /// The initiator closed the connection, or it broke.
    Disconnected,
    /// The target refused the login with this status.
    LoginRefused(LoginStatus),
    /// The first PDU was no Login Request.
    NotALogin,
    /// A login, an answer to a ping, or the end of a PDU did not come in time.
    TimedOut,
    /// Another connection took over the session, or the target ended it.
    SessionEnded,
    /// The header digest does not match: there is no way to find the next PDU.
    HeaderDigest,
    /// Requests kept coming although their answers were not read.
    Flooded,
    /// The application asked for it.
    Dropped,
}

impl fmt::Display for EndReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Logout => f.write_str("logged out"),
            Self::Disconnected => f.write_str("disconnected"),
            Self::LoginRefused(status) => write!(f, "login refused: {status}"),
            Self::NotALogin => f.write_str("the first PDU is no Login Request"),
            Self::TimedOut => f.write_str("timed out"),
            Self::SessionEnded => f.write_str("the session ended"),
            Self::HeaderDigest => f.write_str("header digest mismatch"),
            Self::Flooded => f.write_str("answers are not read"),
            Self::Dropped => f.write_str("dropped"),
        }
    }
}

/// What a connection counted since it was opened.
///
/// ```
/// assert_eq!(iscsi_target::Counters::default().pdus_received, 0);
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
}

/// Everything but the task slots.
struct ConnCore {
    state: State,
    end: Option<EndReason>,
    nexus: Option<NexusId>,
    session_type: SessionType,
    cid: u16,
    local: Option<Portal>,
    acceptor: Acceptor,
    negotiated: Negotiated,
    /// The most that goes into one Data-In or other data segment.
    max_send: u32,
    rx: Rx,
    ring: Ring,
    control: Deque<Control, CONTROL_QUEUE>,
    text: TextExchange,
    stat_sn: StatSn,
    /// ErrorRecoveryLevel 1 was negotiated.
    level_1: bool,
    /// Statuses that are not acknowledged, in their order.
    kept: Deque<Kept, KEPT>,
    /// SNACKs to be served.
    again: Deque<Again, AGAIN>,
    exp_cmd_sn: CmdSn,
    max_cmd_sn: CmdSn,
    /// The MaxCmdSN of the last PDU sent: what the initiator knows of the window.
    told_max_cmd_sn: CmdSn,
    /// CmdSNs received ahead of `exp_cmd_sn`, by their low bits.
    ahead: [u64; AHEAD / 64],
    ahead_count: u16,
    /// Commands held back until the missing ones have come.
    held: u16,
    immediate_tasks: u16,
    waiting: Option<Waiting>,
    /// Where the data of a ping are collected, and how many there will be.
    echo: Option<(Run, usize)>,
    timers: Timers,
    /// [`Target::changes`] when this connection last looked.
    seen: u64,
    counters: Counters,
    trace: Option<Trace>,
    summed: Summed,
    /// Free pages of `bounce` and `staging`.
    bounce_pages: Pages,
    staging_pages: Pages,
    text_area: [u8; TEXT_AREA],
    /// Data on their way out that no disk lends.
    bounce: [u8; AREA],
    /// Data on their way in that have to be complete first.
    staging: [u8; AREA],
}

/// One byte stream to an initiator.
///
/// Bytes that arrived go in with [`receive`](Self::receive), or are read into [`recv_space`](Self::recv_space) and
/// reported with
/// [`received`](Self::received); bytes to send are shown by [`poll_transmit`](Self::poll_transmit) and reported with
/// [`transmitted`](Self::transmitted). [`driver::pump`](crate::driver::pump) does all of it.
///
/// ```
/// use iscsi_core::{IscsiName, Instant, auth::Entropy};
/// use iscsi_target::{InlineTargetConnection, NexusSlot, Target, TargetConfig, TargetConnection};
///
/// let config = TargetConfig::new(IscsiName::new("iqn.2001-04.com.example:t").unwrap());
/// let mut sessions = [NexusSlot::EMPTY];
/// let mut target = Target::new(&config, &mut [], &mut sessions).unwrap();
///
/// let mut storage = Box::new(InlineTargetConnection::<32>::new());
/// let connection: &mut TargetConnection = &mut storage;
/// connection.opened(&target, Entropy::new([7; 64]), None, Instant::ZERO);
/// let mut budget = 16;
/// let used = connection.receive(b"GET / HTTP/1.1\r\n", &mut budget, &mut target, Instant::ZERO);
/// assert_eq!(used, 16); // not yet a whole header
/// assert!(connection.wants().read);
/// ```
pub struct TargetConnection<T: ?Sized = [TaskSlot]> {
    core: ConnCore,
    tasks: TaskTable<T>,
}

/// Without the areas for text and data: proofs of CHAP pass through the one, what disks hold through the others.
impl<T: ?Sized> fmt::Debug for TargetConnection<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TargetConnection")
            .field("state", &self.core.state)
            .field("end", &self.core.end)
            .field("nexus", &self.core.nexus)
            .field("acceptor", &self.core.acceptor)
            .field("negotiated", &self.core.negotiated)
            .field("stat_sn", &self.core.stat_sn)
            .field("exp_cmd_sn", &self.core.exp_cmd_sn)
            .field("max_cmd_sn", &self.core.max_cmd_sn)
            .field("counters", &self.core.counters)
            .finish_non_exhaustive()
    }
}

/// A connection with `N` task slots inside the value, two of which are kept for immediate commands.
pub type InlineTargetConnection<const N: usize> = TargetConnection<[TaskSlot; N]>;

impl<const N: usize> TargetConnection<[TaskSlot; N]> {
    /// A closed connection. It needs 4 to 250 slots; anything else does not compile. The value has about 180 KiB.
    pub const fn new() -> Self {
        const { assert!(N >= 4 && N <= task::MAX_SLOTS, "4 to 250 task slots") };
        Self {
            core: ConnCore {
                state: State::Closed,
                end: None,
                nexus: None,
                session_type: SessionType::Normal,
                cid: 0,
                local: None,
                acceptor: Acceptor::IDLE,
                negotiated: Negotiated::DEFAULT,
                max_send: 8192,
                rx: Rx::new(),
                ring: Ring::new(),
                control: Deque::new(),
                text: TextExchange::IDLE,
                stat_sn: StatSn(0),
                level_1: false,
                kept: Deque::new(),
                again: Deque::new(),
                exp_cmd_sn: CmdSn(0),
                max_cmd_sn: CmdSn(0),
                told_max_cmd_sn: CmdSn(0),
                ahead: [0; AHEAD / 64],
                ahead_count: 0,
                held: 0,
                immediate_tasks: 0,
                waiting: None,
                echo: None,
                timers: Timers::NONE,
                seen: 0,
                counters: Counters {
                    pdus_sent: 0,
                    pdus_received: 0,
                    bytes_sent: 0,
                    bytes_received: 0,
                },
                trace: None,
                summed: Summed::NOTHING,
                bounce_pages: Pages::EMPTY,
                staging_pages: Pages::EMPTY,
                text_area: [0; TEXT_AREA],
                bounce: [0; AREA],
                staging: [0; AREA],
            },
            tasks: TaskTable::new(),
        }
    }
}

impl<const N: usize> Default for TargetConnection<[TaskSlot; N]> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const N: usize> Deref for TargetConnection<[TaskSlot; N]> {
    type Target = TargetConnection;

    fn deref(&self) -> &TargetConnection {
        self
    }
}

impl<const N: usize> DerefMut for TargetConnection<[TaskSlot; N]> {
    fn deref_mut(&mut self) -> &mut TargetConnection {
        self
    }
}

/// Getters.
impl TargetConnection {
    /// Whether the connection is over: the stream is to be closed.
    pub const fn is_closed(&self) -> bool {
        matches!(self.core.state, State::Closed)
    }

    /// Whether the login is done and the logout has not begun.
    pub const fn is_full_feature(&self) -> bool {
        matches!(self.core.state, State::FullFeature)
    }

    /// Whether everything is sent that will ever be sent: the stream's sending side is to be shut down. The connection
    /// then waits
    /// for the initiator to close, for a short time.
    pub fn is_finished(&self) -> bool {
        self.core.state == State::Closing
            && self.core.ring.is_empty()
            && self.core.control.is_empty()
    }

    /// Why the connection ended, once it has or is about to.
    pub const fn end_reason(&self) -> Option<EndReason> {
        self.core.end
    }

    /// What was agreed upon at login.
    pub const fn negotiated(&self) -> &Negotiated {
        &self.core.negotiated
    }

    /// Who has logged in through this connection.
    pub fn initiator<'t>(&self, target: &'t Target<'_>) -> Option<&'t IscsiName> {
        target.initiator(self.core.nexus?)
    }

    /// What was counted since the connection was opened.
    pub const fn counters(&self) -> Counters {
        self.core.counters
    }

    /// Installs a function that sees every header, or removes it.
    pub const fn set_trace(&mut self, trace: Option<Trace>) {
        self.core.trace = trace;
    }

    /// What the connection waits for. To be asked again after anything was requested.
    pub fn wants(&self) -> Wants {
        let open = self.core.state != State::Closed;
        Wants {
            read: open && !self.is_paused(),
            write: open && self.has_transmit(),
            again: false,
            deadline: self.poll_timeout(),
        }
    }

    /// Input has to wait until something was sent.
    pub(crate) const fn is_paused(&self) -> bool {
        self.core.rx.is_held()
    }
}

/// Opening and closing.
impl TargetConnection {
    /// An initiator has connected: the login begins.
    ///
    /// `entropy` must be fresh from a cryptographically secure source for every connection (RFC 7143 section 9.2.1).
    /// `local` is the address that
    /// the initiator connected to, for SendTargets.
    pub fn opened(
        &mut self,
        target: &Target<'_>,
        entropy: Entropy,
        local: Option<Portal>,
        now: Instant,
    ) {
        self.tasks.reset();
        let core = &mut self.core;
        core.state = State::Login;
        core.end = None;
        core.nexus = None;
        core.session_type = SessionType::Normal;
        core.local = local;
        core.acceptor = Acceptor::new(&entropy);
        core.negotiated = Negotiated::DEFAULT;
        core.max_send = 8192;
        core.rx = Rx::new();
        core.ring.clear();
        core.control.clear();
        core.text = TextExchange::IDLE;
        core.stat_sn = StatSn(1);
        core.level_1 = false;
        core.kept.clear();
        core.again.clear();
        core.ahead = [0; AHEAD / 64];
        core.ahead_count = 0;
        core.held = 0;
        core.immediate_tasks = 0;
        core.waiting = None;
        core.echo = None;
        core.timers = Timers { login: Some(now + target.config.login_timeout), ..Timers::NONE };
        core.seen = target.changes();
        core.counters = Counters::default();
        core.summed = Summed::NOTHING;
        core.bounce_pages = Pages::EMPTY;
        core.staging_pages = Pages::EMPTY;
    }

    /// The initiator closed its side.
    pub fn received_eof(&mut self, target: &mut Target<'_>) {
        self.close(EndReason::Disconnected, target);
    }

    /// The stream broke, or the runtime closed it.
    pub fn closed(&mut self, target: &mut Target<'_>) {
        self.close(EndReason::Disconnected, target);
    }

    /// Drops the connection at once, without a word: as if the cable was cut.
    pub fn drop_now(&mut self, target: &mut Target<'_>) {
        self.close(EndReason::Dropped, target);
    }

    /// It is over, nothing more is sent.
    fn close(&mut self, reason: EndReason, target: &mut Target<'_>) {
        if self.core.state == State::Closed {
            return;
        }
        self.end_session(target);
        let core = &mut self.core;
        core.state = State::Closed;
        core.end.get_or_insert(reason);
        core.ring.clear();
        core.control.clear();
        core.timers = Timers::NONE;
    }

    /// What waits to be sent still goes out, then it is over.
    fn finish(&mut self, reason: EndReason, target: &mut Target<'_>, now: Instant) {
        self.end_session(target);
        let core = &mut self.core;
        core.state = State::Closing;
        core.end.get_or_insert(reason);
        core.rx.discard_all();
        core.timers = Timers { closing: Some(now + control::CLOSING), ..Timers::NONE };
    }

    fn end_session(&mut self, target: &mut Target<'_>) {
        if let Some(nexus) = self.core.nexus.take() {
            target.end_session(nexus);
        }
        self.tasks.reset();
        self.core.again.clear();
        self.core.held = 0;
        self.core.waiting = None;
        self.core.staging_pages = Pages::EMPTY;
    }

    /// Notices what happened to the target since the last call: the session was taken over, tasks were ended from elsewhere.
    #[inline]
    fn sync(&mut self, target: &mut Target<'_>) {
        if self.core.seen != target.changes() {
            self.core.seen = target.changes();
            self.notice_changes(target);
        }
    }

    fn notice_changes(&mut self, target: &mut Target<'_>) {
        let Some(nexus) = self.core.nexus else { return };
        if !target.is_current(nexus) {
            self.close(EndReason::SessionEnded, target);
            return;
        }
        let mut ended = false;
        for index in self.tasks.live() {
            let task = &self.tasks[index];
            if task.unit.is_some_and(|unit| target.unit_epoch(unit) != task.epoch) {
                self.abort(index, false);
                ended = true;
            }
        }
        if ended {
            // Nobody gets an answer, but the window has moved.
            let _ = self.core.control.push_back(Control::Update);
        }
    }

    #[inline]
    fn traced(&self, direction: Direction, bhs: &Bhs) {
        if let Some(trace) = self.core.trace {
            trace(direction, bhs);
        }
    }
}

#[cfg(feature = "std")]
impl TargetConnection {
    /// A connection on the heap with 130 task slots: a window of 128 commands.
    ///
    /// ```
    /// assert!(iscsi_target::TargetConnection::boxed().is_closed());
    /// ```
    pub fn boxed() -> std::boxed::Box<Self> {
        std::boxed::Box::new(InlineTargetConnection::<130>::new())
    }
}
