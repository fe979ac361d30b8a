//! The list of what has not arrived: runs of sequence numbers.

use heapless::Vec;

use crate::session::Session;
use crate::wire::TransferTag;
use crate::{DataSn, Instant, StatSn, TaskId};

/// Whether level 1 can be negotiated. Without it nothing is ever missing, and the compiler leaves out what deals with that.
const OFFERED: bool = cfg!(feature = "recovery-level-1");

/// Gaps that may be open at once.
const GAPS: usize = if OFFERED { 32 } else { 0 };

/// Acknowledgements of data that may wait; what does not fit is not acknowledged, which only costs the target memory.
const ACKS: usize = if OFFERED { 8 } else { 0 };

/// How often a PDU is asked for before the connection is given up.
pub(super) const TRIES: u8 = 4;

/// What a gap consists of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Missing {
    /// Data-In of a task, by DataSN.
    Data(TaskId),
    /// R2Ts of a task, by R2TSN.
    R2t(TaskId),
    /// Statuses, by StatSN; perhaps one that comes with a Data-In of this task.
    Status(Option<TaskId>),
    /// A status that is here, while data of its task are not.
    Held(TaskId),
    /// A command that the target threw away because its immediate data were damaged.
    Command(TaskId),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// To be asked for.
    Wanted,
    /// Asked for; to be here by then.
    Asked(Instant),
    /// Comes with something else.
    Waiting,
}

/// A run of numbers that have not arrived.
#[derive(Debug, Clone, Copy)]
pub(super) struct Gap {
    pub(super) missing: Missing,
    /// The first number, and the one behind the last.
    pub(super) from: u32,
    pub(super) to: u32,
    /// Of Data-In: the bytes that may belong there.
    pub(super) at: u32,
    pub(super) end: u32,
    pub(super) tries: u8,
    pub(super) state: State,
}

impl Gap {
    pub(super) const fn new(missing: Missing, from: u32, to: u32) -> Self {
        Self { missing, from, to, at: 0, end: 0, tries: 0, state: State::Wanted }
    }

    pub(super) const fn len(&self) -> u32 {
        self.to.wrapping_sub(self.from)
    }

    pub(super) const fn contains(&self, number: u32) -> bool {
        number.wrapping_sub(self.from) < self.len()
    }

    pub(super) const fn is_status(&self) -> bool {
        matches!(self.missing, Missing::Status(_))
    }

    pub(super) const fn task(&self) -> Option<TaskId> {
        match self.missing {
            Missing::Data(task)
            | Missing::R2t(task)
            | Missing::Held(task)
            | Missing::Command(task) => Some(task),
            Missing::Status(_) => None,
        }
    }

    /// What is left of the gap before and behind `number`.
    pub(super) const fn around(&self, number: u32) -> (Self, Self) {
        (Self { to: number, ..*self }, Self { from: number.wrapping_add(1), ..*self })
    }
}

/// A DataACK that was asked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ack {
    pub(super) task: TaskId,
    pub(super) transfer: TransferTag,
    /// The PDU that asked.
    pub(super) data_sn: DataSn,
}

/// What is missing on a connection.
#[derive(Debug)]
pub(super) struct Recovery {
    enabled: bool,
    pub(super) gaps: Vec<Gap, GAPS>,
    pub(super) acks: Vec<Ack, ACKS>,
}

impl Recovery {
    pub(super) const fn new() -> Self {
        Self { enabled: false, gaps: Vec::new(), acks: Vec::new() }
    }

    pub(super) fn clear(&mut self) {
        self.enabled = false;
        self.gaps.clear();
        self.acks.clear();
    }

    /// Level 1 was negotiated, or was not.
    pub(super) const fn enable(&mut self, enabled: bool) {
        self.enabled = enabled;
    }

    /// Level 1 was negotiated.
    #[inline]
    pub(super) const fn is_enabled(&self) -> bool {
        OFFERED && self.enabled
    }

    /// Nothing is missing and nothing is to be acknowledged.
    #[inline]
    pub(super) fn is_idle(&self) -> bool {
        !OFFERED || self.gaps.is_empty() && self.acks.is_empty()
    }

    /// The oldest status that is missing or held, given the next one that is due.
    #[inline]
    pub(super) fn oldest(&self, next: StatSn) -> StatSn {
        if self.is_idle() {
            return next;
        }
        self.gaps
            .iter()
            .filter(|gap| matches!(gap.missing, Missing::Status(_) | Missing::Held(_)))
            .map(|gap| StatSn(gap.from))
            .max_by_key(|from| from.distance_to(next))
            .unwrap_or(next)
    }

    pub(super) fn find(&self, number: u32, is: impl Fn(&Gap) -> bool) -> Option<usize> {
        if self.is_idle() {
            return None;
        }
        self.gaps.iter().position(|gap| is(gap) && gap.contains(number))
    }

    pub(super) fn misses_status(&self, stat_sn: StatSn) -> bool {
        self.find(stat_sn.0, Gap::is_status).is_some()
    }

    pub(super) fn find_data(&self, task: TaskId, data_sn: DataSn) -> Option<usize> {
        self.find(data_sn.0, |gap| gap.missing == Missing::Data(task))
    }

    pub(super) fn misses_data(&self, task: TaskId) -> bool {
        self.gaps.iter().any(|gap| gap.missing == Missing::Data(task))
    }

    /// Adds a gap, or makes one longer that was not asked for yet. False if there is no room.
    pub(super) fn add(&mut self, new: Gap) -> bool {
        if new.len() == 0 {
            return true;
        }
        let before = self.gaps.iter_mut().find(|gap| {
            gap.missing == new.missing
                && gap.to == new.from
                && gap.end == new.at
                && gap.state == State::Wanted
                && (gap.tries, gap.state) == (new.tries, new.state)
        });
        match before {
            Some(gap) => {
                gap.to = new.to;
                gap.end = new.end;
                true
            }
            None => self.gaps.push(new).is_ok(),
        }
    }

    /// Whether [`take`](Self::take) has room for what is left.
    pub(super) fn can_take(&self, index: usize, number: u32, bytes: Option<(u32, u32)>) -> bool {
        self.gaps.get(index).is_some_and(|gap| {
            let (before, behind) = gap.around(number);
            // Without bytes of its own it would leave the bounds of both sides open.
            let divides = bytes.is_none_or(|(at, end)| at < end) && !self.gaps.is_full();
            before.len() == 0 || behind.len() == 0 || divides
        })
    }

    /// One number of a gap has arrived, with the bytes from `at` to `end` if their place says something about that of the others.
    pub(super) fn take(&mut self, index: usize, number: u32, bytes: Option<(u32, u32)>) -> bool {
        if !self.can_take(index, number, bytes) {
            return false;
        }
        let Some(gap) = self.gaps.get_mut(index) else { return false };
        let (mut before, mut behind) = gap.around(number);
        if let Some((at, end)) = bytes.filter(|(at, end)| at < end) {
            before.end = at;
            behind.at = end;
        }
        match (before.len(), behind.len()) {
            (0, 0) => {
                self.gaps.remove(index);
            }
            (0, _) => *gap = behind,
            (_, 0) => *gap = before,
            _ => {
                *gap = before;
                // There is room: it was looked at above.
                let _ = self.gaps.push(behind);
            }
        }
        true
    }

    /// One number of a gap arrived damaged again. False if it was asked for too often, or if there is no room to ask for it alone.
    pub(super) fn ask_again(
        &mut self,
        index: usize,
        number: u32,
        bytes: Option<(u32, u32)>,
    ) -> bool {
        let Some(gap) = self.gaps.get(index).copied() else { return false };
        if gap.tries >= TRIES {
            return false;
        }
        if gap.state == State::Waiting {
            return true;
        }
        let (mut before, mut behind) = gap.around(number);
        let mut alone = Gap { state: State::Wanted, ..gap };
        alone.from = number;
        alone.to = number.wrapping_add(1);
        // They lie within the gap: their header was checked.
        if let Some((at, end)) = bytes {
            (before.end, alone.at, alone.end, behind.at) = (at, at, end, end);
        }
        self.gaps.remove(index);
        [before, alone, behind]
            .into_iter()
            .filter(|gap| gap.len() > 0)
            .all(|gap| self.gaps.push(gap).is_ok())
    }

    /// Forgets what belonged to tasks that have ended, and asks for statuses that did not come with their data.
    pub(super) fn prune(&mut self, is_live: impl Fn(TaskId) -> bool) {
        self.gaps.retain(|gap| gap.task().is_none_or(&is_live));
        self.acks.retain(|ack| is_live(ack.task));
        self.settle();
    }

    /// Asks for statuses that did not come with their data.
    pub(super) fn settle(&mut self) {
        for index in 0..self.gaps.len() {
            let Some(Gap { missing: Missing::Status(Some(task)), .. }) = self.gaps.get(index)
            else {
                continue;
            };
            if !self.misses_data(*task)
                && let Some(gap) = self.gaps.get_mut(index)
            {
                gap.missing = Missing::Status(None);
                gap.state = State::Wanted;
            }
        }
    }

    /// The first gap to be asked for.
    pub(super) fn next_wanted(&self) -> Option<usize> {
        self.gaps.iter().position(|gap| gap.state == State::Wanted)
    }

    /// An acknowledgement whose data are all there.
    pub(super) fn next_ack(&self) -> Option<usize> {
        self.acks.iter().position(|ack| {
            !self.gaps.iter().any(|gap| {
                gap.missing == Missing::Data(ack.task) && DataSn(gap.from).le(ack.data_sn)
            })
        })
    }

    /// Something is to be sent.
    pub(super) fn is_due(&self, session: &Session) -> bool {
        !self.is_idle()
            && (self.next_wanted().is_some()
                || self.next_ack().is_some()
                || self.gaps.iter().any(|gap| match gap.missing {
                    Missing::Status(Some(task)) => session.slots.live(task).is_none(),
                    _ => false,
                }))
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        if self.is_idle() {
            return None;
        }
        self.gaps
            .iter()
            .filter_map(|gap| match gap.state {
                State::Asked(at) => Some(at),
                State::Wanted | State::Waiting => None,
            })
            .min()
    }
}
