//! Task slots and the two names of a task: [`TaskId`] for the application, the Initiator Task Tag for the wire.

use core::fmt;
use core::time::Duration;

use crate::error::LostReason;
use crate::wire::{Residual, ScsiResponseCode, ScsiStatus, TaskAttribute, TransferTag};
use crate::{CmdSn, DataSn, InitiatorTaskTag, Instant, Lun, R2tSn};

/// How many R2Ts of one task may be outstanding; the largest MaxOutstandingR2T that is offered.
pub(crate) const MAX_R2T: usize = crate::config::MAX_OUTSTANDING_R2T as usize;

/// Room for a command's additional header segments before the response, and for its sense data afterwards.
pub(crate) const AUX_LEN: usize = 256;

/// "No slot" in a link.
pub(crate) const NIL: u16 = u16::MAX;

/// A task as the application knows it: valid from [`Session::submit`](crate::Session::submit) to the task's one end event.
///
/// The low 16 bits are the slot's index, the upper 48 count how often the slot was used: a handle that outlived its task is
/// refused, it never reaches a later task. A task that is issued again after a reconnect keeps its `TaskId` and gets a new
/// Initiator Task Tag.
///
/// ```
/// use iscsi_core::TaskId;
/// let id = TaskId::from_bits(0x0005_0003);
/// assert_eq!((id.index(), id.to_bits()), (3, 0x0005_0003));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TaskId(u64);

impl TaskId {
    pub(crate) const fn new(index: u16, generation: u64) -> Self {
        Self(generation << 16 | index as u64)
    }

    /// The slot of the task: below the session's capacity plus two (the slots reserved for identity checks), so
    /// that it can index a table of the application's buffers.
    pub const fn index(self) -> usize {
        (self.0 & 0xffff) as usize
    }

    /// The whole handle as a number, for tables in other languages.
    pub const fn to_bits(self) -> u64 {
        self.0
    }

    /// The handle whose number this is.
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    pub(crate) const fn generation(self) -> u64 {
        self.0 >> 16
    }
}

impl fmt::Debug for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TaskId({}.{})", self.index(), self.generation())
    }
}

/// What a command moves, in bytes. The lengths are the Expected Data Transfer Length of RFC 7143 section 11.3.4.
///
/// ```
/// use iscsi_core::Transfer;
/// assert_eq!(Transfer::In(4096).in_len(), 4096);
/// assert_eq!(Transfer::Both { out: 512, r#in: 1024 }.out_len(), 512);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transfer {
    /// No data.
    None,
    /// From the target: a read.
    In(u32),
    /// To the target: a write.
    Out(u32),
    /// Both ways, for bidirectional commands.
    Both {
        /// Bytes to the target.
        out: u32,
        /// Bytes from the target (Bidirectional Read Expected Data Transfer Length).
        r#in: u32,
    },
}

impl Transfer {
    /// Bytes from the target.
    pub const fn in_len(self) -> u32 {
        match self {
            Self::In(n) | Self::Both { r#in: n, .. } => n,
            Self::None | Self::Out(_) => 0,
        }
    }

    /// Bytes to the target.
    pub const fn out_len(self) -> u32 {
        match self {
            Self::Out(n) | Self::Both { out: n, .. } => n,
            Self::None | Self::In(_) => 0,
        }
    }
}

/// What becomes of a command whose connection was lost before its response came.
///
/// Only the one who builds the command knows whether running it twice does harm: a write to fixed blocks may be repeated,
/// COMPARE AND WRITE or a tape's WRITE may not.
///
/// ```
/// use iscsi_core::{Command, Lun, OnLoss, Transfer};
/// let command = Command::new(Lun::ZERO, &[0; 6], Transfer::None);
/// assert_eq!(command.on_loss, OnLoss::Report);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnLoss {
    /// End the task with [`Event::TaskLost`](crate::Event::TaskLost): whether it was executed is unknown.
    Report,
    /// Issue the command again once a new connection stands, if the recovery policy allows.
    Reissue,
}

/// A SCSI command to submit.
///
/// ```
/// use core::time::Duration;
/// use iscsi_core::{Command, Lun, OnLoss, Transfer};
///
/// let read10 = [0x28, 0, 0, 0, 0, 0, 0, 0, 8, 0];
/// let command = Command::new(Lun::new(1).unwrap(), &read10, Transfer::In(4096))
///     .on_loss(OnLoss::Reissue)
///     .timeout(Duration::from_secs(30));
/// assert_eq!(command.transfer.in_len(), 4096);
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Command<'a> {
    /// The logical unit.
    pub lun: Lun,
    /// The command descriptor block: 1 to 260 bytes. It is copied; more than 16 bytes travel in an additional header segment.
    pub cdb: &'a [u8],
    /// Direction and length of the data.
    pub transfer: Transfer,
    /// The task attribute (SAM-5), [`TaskAttribute::Simple`] by default.
    pub attribute: TaskAttribute,
    /// Immediate delivery (RFC 7143 section 4.2.2.1): ahead of the CmdSN order. Never for commands that change a device's state.
    pub immediate: bool,
    /// What to do if the connection is lost.
    pub on_loss: OnLoss,
    /// The task's deadline from now; `None`: the configured default. It stands still while the session recovers from the loss of its connection,
    /// and starts anew when the command is issued again.
    pub timeout: Option<Duration>,
}

impl<'a> Command<'a> {
    /// A command with simple attribute, reported on loss, with the default deadline.
    pub const fn new(lun: Lun, cdb: &'a [u8], transfer: Transfer) -> Self {
        Self {
            lun,
            cdb,
            transfer,
            attribute: TaskAttribute::Simple,
            immediate: false,
            on_loss: OnLoss::Report,
            timeout: None,
        }
    }

    /// Sets what to do if the connection is lost.
    #[must_use]
    pub const fn on_loss(mut self, on_loss: OnLoss) -> Self {
        self.on_loss = on_loss;
        self
    }

    /// Sets the deadline.
    #[must_use]
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Sets the task attribute.
    #[must_use]
    pub const fn attribute(mut self, attribute: TaskAttribute) -> Self {
        self.attribute = attribute;
        self
    }

    /// Asks for immediate delivery.
    #[must_use]
    pub const fn immediate(mut self) -> Self {
        self.immediate = true;
        self
    }
}

/// How a task ended that the target answered.
///
/// ```
/// use iscsi_core::TaskOutcome;
/// use iscsi_core::wire::{Completion, ScsiResponseCode, ScsiStatus};
/// let response = ScsiResponseCode::CompletedAtTarget(Completion::GOOD);
/// let outcome = TaskOutcome { response, data_in: 512, missing: 0 };
/// assert!(outcome.is_good());
/// assert_eq!(outcome.status(), Some(ScsiStatus::Good));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TaskOutcome {
    /// The iSCSI response, with status and residuals if the command was completed.
    pub response: ScsiResponseCode,
    /// Bytes of Data-In that were placed.
    pub data_in: u32,
    /// What is wrong with a GOOD status. Of a read: bytes that the target claims to have sent and that never came. Of a write: bytes that
    /// it did not ask for or did not take.
    pub missing: u32,
}

impl TaskOutcome {
    /// The SCSI status; `None` if the command did not reach its end at the target.
    pub const fn status(&self) -> Option<ScsiStatus> {
        match &self.response {
            ScsiResponseCode::CompletedAtTarget(completion) => Some(completion.status),
            _ => None,
        }
    }

    /// The residual of the only direction, or of the write direction of a bidirectional command.
    pub const fn residual(&self) -> Residual {
        match &self.response {
            ScsiResponseCode::CompletedAtTarget(completion) => completion.residual,
            _ => Residual::None,
        }
    }

    /// Completed at the target with GOOD status, without overflow, and nothing is missing.
    pub fn is_good(&self) -> bool {
        self.status() == Some(ScsiStatus::Good)
            && !matches!(self.residual(), Residual::Overflow(_))
            && self.missing == 0
    }
}

/// One R2T to be answered: a burst of Data-Out PDUs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Burst {
    /// Tag and LUN of the R2T, copied back in each Data-Out; none for the unsolicited burst.
    pub(crate) transfer: Option<TransferTag>,
    /// Next byte to send and the end of the burst, as offsets in the task's data.
    pub(crate) at: u32,
    pub(crate) end: u32,
    pub(crate) data_sn: DataSn,
    /// Order of arrival over all tasks of the session.
    pub(crate) arrival: u32,
}

impl Burst {
    const EMPTY: Self = Self { transfer: None, at: 0, end: 0, data_sn: DataSn(0), arrival: 0 };
}

/// The bursts that one task owes, in order of arrival.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bursts {
    ring: [Burst; MAX_R2T],
    head: u8,
    len: u8,
}

impl Bursts {
    pub(crate) const NONE: Self = Self { ring: [Burst::EMPTY; MAX_R2T], head: 0, len: 0 };

    pub(crate) const fn len(&self) -> u8 {
        self.len
    }

    pub(crate) fn push(&mut self, burst: Burst) -> bool {
        if usize::from(self.len) == MAX_R2T {
            return false;
        }
        let at = (usize::from(self.head) + usize::from(self.len)) % MAX_R2T;
        if let Some(slot) = self.ring.get_mut(at) {
            *slot = burst;
            self.len += 1;
        }
        true
    }

    pub(crate) fn front(&self) -> Option<&Burst> {
        if self.len == 0 { None } else { self.ring.get(usize::from(self.head)) }
    }

    pub(crate) fn front_mut(&mut self) -> Option<&mut Burst> {
        if self.len == 0 { None } else { self.ring.get_mut(usize::from(self.head)) }
    }

    pub(crate) fn pop(&mut self) {
        if self.len > 0 {
            self.head = ((usize::from(self.head) + 1) % MAX_R2T) as u8;
            self.len -= 1;
        }
    }

    pub(crate) const fn clear(&mut self) {
        self.len = 0;
    }
}

/// Where a slot is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TaskState {
    /// Not in use.
    Free,
    /// Waits for its turn in the send queue; has no CmdSN.
    Queued,
    /// Sent (or frozen in a send ring); waits for the target.
    Active,
    /// Active, and an ABORT TASK for it is to be sent or was sent.
    Aborting,
    /// Ended, but a half-sent PDU still shows its memory.
    Draining,
    /// Ended; waits for `poll_event`.
    Ended,
}

/// How a task ended, as kept in its slot until the event is taken.
#[derive(Debug, Clone, Copy)]
pub(crate) enum TaskEnd {
    Done(TaskOutcome),
    Lost(LostReason),
}

/// Links of an intrusive list.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Link {
    pub(crate) prev: u16,
    pub(crate) next: u16,
}

impl Link {
    pub(crate) const NIL: Self = Self { prev: NIL, next: NIL };
}

/// The state of one SCSI task. Public only as the element type of [`Session`](crate::Session)'s storage.
///
/// ```
/// // Slots are never touched by hand; a session brings its own.
/// use iscsi_core::InlineSession;
/// let session = InlineSession::<4>::new();
/// assert_eq!(session.capacity(), 4);
/// ```
#[derive(Debug)]
pub struct TaskSlot {
    pub(crate) state: TaskState,
    pub(crate) detached: bool,
    pub(crate) revoked: bool,
    pub(crate) immediate: bool,
    pub(crate) attribute: TaskAttribute,
    pub(crate) on_loss: OnLoss,
    pub(crate) sense_len: u8,
    /// PDUs in a send ring that show this task's memory or header.
    pub(crate) frozen: u8,
    pub(crate) itt: InitiatorTaskTag,
    pub(crate) cmd_sn: CmdSn,
    /// When it was sent, in the session's order of sending and asking.
    pub(crate) order: u32,
    pub(crate) generation: u64,
    pub(crate) lun: Lun,
    pub(crate) cdb: [u8; 16],
    /// Expected lengths.
    pub(crate) out_len: u32,
    pub(crate) in_len: u32,
    /// Data-In: bytes placed so far, the end of the furthest one, and the next DataSN.
    pub(crate) in_received: u32,
    pub(crate) in_end: u32,
    pub(crate) in_data_sn: DataSn,
    /// Data-Out: bytes put into PDUs so far, the unsolicited burst still to send (empty: `at == end`), the next R2TSN.
    pub(crate) out_sent: u32,
    /// The end of the furthest Data-Out that was sent unasked or asked for.
    pub(crate) out_end: u32,
    pub(crate) unsolicited: Burst,
    pub(crate) r2t_sn: R2tSn,
    pub(crate) ahs_len: u16,
    /// Send queue, data queue, ended list or free list.
    pub(crate) link: Link,
    /// In the list of tasks that owe Data-Out.
    pub(crate) owes_data: bool,
    pub(crate) timer: Link,
    pub(crate) deadline: Option<Instant>,
    /// The limit from which the deadline is made, again for each issue.
    pub(crate) timeout: Option<Duration>,
    /// How often it was issued again.
    pub(crate) reissues: u8,
    pub(crate) tag_generation: u32,
    /// The tag of the last task of this slot that was aborted: late PDUs with it are dropped, not errors.
    pub(crate) aborted_itt: InitiatorTaskTag,
    /// Why an abort was asked for; becomes the reason of the end event.
    pub(crate) abort_reason: LostReason,
    pub(crate) end: TaskEnd,
    pub(crate) bursts: Bursts,
    /// AHS image until the response, sense data after it.
    pub(crate) aux: [u8; AUX_LEN],
}

impl TaskSlot {
    pub(crate) const fn new() -> Self {
        Self {
            state: TaskState::Free,
            detached: false,
            revoked: false,
            immediate: false,
            attribute: TaskAttribute::Simple,
            on_loss: OnLoss::Report,
            sense_len: 0,
            frozen: 0,
            itt: InitiatorTaskTag::RESERVED,
            cmd_sn: CmdSn(0),
            order: 0,
            generation: 0,
            lun: Lun::ZERO,
            cdb: [0; 16],
            out_len: 0,
            in_len: 0,
            in_received: 0,
            in_end: 0,
            in_data_sn: DataSn(0),
            out_sent: 0,
            out_end: 0,
            unsolicited: Burst::EMPTY,
            r2t_sn: R2tSn(0),
            ahs_len: 0,
            link: Link::NIL,
            owes_data: false,
            timer: Link::NIL,
            deadline: None,
            timeout: None,
            reissues: 0,
            tag_generation: 0,
            aborted_itt: InitiatorTaskTag::RESERVED,
            abort_reason: LostReason::Aborted,
            end: TaskEnd::Lost(LostReason::Aborted),
            bursts: Bursts::NONE,
            aux: [0; AUX_LEN],
        }
    }

    /// Whether the target may still send PDUs for the task.
    pub(crate) const fn is_live(&self) -> bool {
        matches!(self.state, TaskState::Active | TaskState::Aborting)
    }

    /// The burst that is next to send: the unsolicited one comes before any R2T.
    pub(crate) fn next_burst(&self) -> Option<&Burst> {
        if self.unsolicited.at < self.unsolicited.end {
            Some(&self.unsolicited)
        } else {
            self.bursts.front()
        }
    }

    /// Forgets everything about an earlier issue of the command; it will be sent from the start under a new tag.
    pub(crate) fn rewind(&mut self) {
        self.in_received = 0;
        self.in_end = 0;
        self.in_data_sn = DataSn(0);
        self.out_sent = 0;
        self.out_end = 0;
        self.r2t_sn = R2tSn(0);
        self.unsolicited = Burst::EMPTY;
        self.bursts.clear();
        self.frozen = 0;
    }
}
