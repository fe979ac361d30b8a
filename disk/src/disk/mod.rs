//! The disk: storage, state, requests in and results out.

mod drive;
mod outcome;
mod plan;
mod submit;
mod verify;

use core::ops::{Deref, DerefMut};
use core::time::Duration;

use iscsi_core::{Instant, TaskId};

use crate::buffers::Edges;
use crate::config::DiskConfig;
use crate::error::{DiskError, RequestError};
use crate::geometry::Geometry;
use crate::identity::Identity;
use crate::probe::{ANSWER, Probe};
use crate::request::RequestId;
use crate::slot::{CommandEntry, Phase, Queue, RequestEntry, Slot};
use plan::Plan;
use verify::Verification;

/// The largest block of which a part can be written.
pub(crate) const EDGE_BLOCK: usize = 4096;

/// Where bytes of a read go that nobody asked for.
const DISCARD: usize = 512;

/// Where a disk stands.
///
/// ```
/// use iscsi_core::Lun;
/// use iscsi_disk::{DiskConfig, DiskState, InlineDisk};
/// let disk = InlineDisk::<4>::new(DiskConfig::new(Lun::ZERO));
/// assert_eq!(disk.state(), DiskState::Idle);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum DiskState {
    /// Not started.
    Idle,
    /// Asks the device what it is.
    Starting,
    /// Takes requests and carries them out.
    Ready,
    /// Takes requests; asks the device again what it is before it carries them out. So it does after every new login of a session that
    /// recovers.
    Checking,
    /// Could not be started, or found another device than before. [`Disk::start`] tries again.
    Failed(DiskError),
}

/// Something that happened to a disk, from [`Disk::poll_event`].
///
/// ```
/// use iscsi_core::Lun;
/// use iscsi_disk::{DiskConfig, DiskEvent, DiskState, Geometry, Identity, InlineDisk, Request};
/// use iscsi_disk::scsi::inquiry::StandardInquiry;
/// let mut disk = InlineDisk::<4>::new(DiskConfig::new(Lun::ZERO));
/// let identity = Identity::new(&StandardInquiry::default());
/// disk.assume(Geometry::new(512, 100).unwrap(), identity)?;
/// assert_eq!(disk.poll_event(), Some(DiskEvent::StateChanged(DiskState::Ready)));
/// let request = disk.submit(Request::read(0, 0))?;
/// assert_eq!(disk.poll_event(), Some(DiskEvent::Done { request, result: Ok(()) }));
/// # Ok::<(), iscsi_disk::RequestError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum DiskEvent {
    /// The disk is in another state than at the last such event; only the latest is told.
    StateChanged(DiskState),
    /// The device has another capacity or other limits than before.
    GeometryChanged,
    /// A request ended; its memory is free.
    Done {
        /// The request; the handle is stale from now on.
        request: RequestId,
        /// `Ok` if all of the range was served.
        result: Result<(), DiskError>,
    },
}

/// Everything but the slots.
#[derive(Debug)]
pub(crate) struct Core {
    config: DiskConfig,
    state: DiskState,
    state_reported: bool,
    geometry_reported: bool,
    identity: Option<Identity>,
    geometry: Option<Geometry>,
    plan: Plan,
    /// A run of bring-up or of a check.
    probe: Option<Probe>,
    /// Its command in flight. Not in the table: it may come to use the session's reserved slots, whose indices are beyond.
    probe_command: CommandEntry,
    probe_tries: u8,
    probe_since: Option<Instant>,
    /// A unit attention said that the device may have changed.
    check_wanted: bool,
    /// The session has lost its connection and comes back.
    away: bool,
    verification: Verification,
    /// The command of a look was taken back before it was sent.
    withdrawn: bool,
    /// Unit attentions that told of a reset.
    resets: u32,
    ready: Queue,
    waiting: Queue,
    done: Queue,
    free: Queue,
    /// Slots never used so far start here: the free list needs no initialisation.
    fresh: u16,
    in_use: u16,
    /// Commands in flight, and how many there may be: TASK SET FULL lowers the limit, success raises it again.
    in_flight: u16,
    /// Revoked tasks that the session may still hold.
    revoked: u16,
    limit: u16,
    good_in_a_row: u16,
    /// Nothing is submitted before this time; how long the last pause was.
    paused_until: Option<Instant>,
    pause: Duration,
    pub(crate) edges: Edges,
    pub(crate) discard: [u8; DISCARD],
    pub(crate) answer: [u8; ANSWER],
}

/// One logical unit as a block device.
///
/// Functions take the unsized view `&mut Disk`; storage is an [`InlineDisk`] in a static, on the stack or in a box
/// (`Disk::boxed`, feature `alloc`). The crate's documentation shows the loop around it.
///
/// ```
/// use iscsi_core::Lun;
/// use iscsi_disk::{Disk, DiskConfig, InlineDisk, Request, RequestError};
///
/// fn read_first_block(disk: &mut Disk) -> Result<(), RequestError> {
///     disk.submit(Request::read(0, 512)).map(|_request| ())
/// }
/// let mut disk = InlineDisk::<8>::new(DiskConfig::new(Lun::ZERO));
/// assert_eq!(read_first_block(&mut disk), Err(RequestError::NotReady));
/// ```
#[derive(Debug)]
pub struct Disk<T: ?Sized = [Slot]> {
    pub(crate) core: Core,
    slots: T,
}

/// A disk with `N` slots inside the value: room for `N` requests, on a session with at most `N` task slots.
pub type InlineDisk<const N: usize> = Disk<[Slot; N]>;

impl<const N: usize> InlineDisk<N> {
    /// A disk that was not started; usable as the initial value of a static.
    pub const fn new(config: DiskConfig) -> Self {
        const { assert!(N > 0 && N <= 32_768, "a disk has 1 to 32768 slots") };
        Self {
            core: Core {
                config,
                state: DiskState::Idle,
                state_reported: true,
                geometry_reported: true,
                identity: None,
                geometry: None,
                plan: Plan::NONE,
                probe: None,
                probe_command: CommandEntry::NONE,
                probe_tries: 0,
                probe_since: None,
                check_wanted: false,
                away: false,
                verification: Verification::None,
                withdrawn: false,
                resets: 0,
                ready: Queue::EMPTY,
                waiting: Queue::EMPTY,
                done: Queue::EMPTY,
                free: Queue::EMPTY,
                fresh: 0,
                in_use: 0,
                in_flight: 0,
                revoked: 0,
                limit: u16::MAX,
                good_in_a_row: 0,
                paused_until: None,
                pause: Duration::ZERO,
                edges: Edges::EMPTY,
                discard: [0; DISCARD],
                answer: [0; ANSWER],
            },
            slots: [const { Slot::new() }; N],
        }
    }
}

impl<const N: usize> Deref for InlineDisk<N> {
    type Target = Disk;

    fn deref(&self) -> &Disk {
        self
    }
}

impl<const N: usize> DerefMut for InlineDisk<N> {
    fn deref_mut(&mut self) -> &mut Disk {
        self
    }
}

#[cfg(feature = "alloc")]
impl Disk {
    /// A disk on the heap for a session of [`Session::boxed`](iscsi_core::Session::boxed) with the same `depth`: 8, 32, 128, 512 or 2048
    /// slots.
    ///
    /// ```
    /// use iscsi_core::{Lun, Session};
    /// use iscsi_disk::{Disk, DiskConfig};
    /// let disk = Disk::boxed(100, DiskConfig::new(Lun::ZERO));
    /// assert_eq!(disk.capacity(), Session::boxed(100).capacity());
    /// ```
    pub fn boxed(depth: usize, config: DiskConfig) -> alloc::boxed::Box<Self> {
        use alloc::boxed::Box;
        match depth {
            0..=8 => Box::new(InlineDisk::<8>::new(config)),
            9..=32 => Box::new(InlineDisk::<32>::new(config)),
            33..=128 => Box::new(InlineDisk::<128>::new(config)),
            129..=512 => Box::new(InlineDisk::<512>::new(config)),
            _ => Box::new(InlineDisk::<2048>::new(config)),
        }
    }
}

/// Getters.
impl Disk {
    /// How many requests there may be at once.
    pub const fn capacity(&self) -> usize {
        self.slots.len()
    }

    /// Requests whose end event has not been taken.
    pub const fn in_use(&self) -> usize {
        self.core.in_use as usize
    }

    /// Commands at the session.
    pub const fn in_flight(&self) -> usize {
        self.core.in_flight as usize
    }

    /// The configuration.
    pub const fn config(&self) -> &DiskConfig {
        &self.core.config
    }

    /// Where the disk stands.
    pub const fn state(&self) -> DiskState {
        self.core.state
    }

    /// Block size, capacity and limits; `None` before the first bring-up.
    pub const fn geometry(&self) -> Option<&Geometry> {
        self.core.geometry.as_ref()
    }

    /// The device's names; `None` before the first bring-up.
    pub const fn identity(&self) -> Option<&Identity> {
        self.core.identity.as_ref()
    }

    /// How many unit attentions have said that the device was powered on or reset (29h/00h to 04h), to commands of this disk; those of bring-up and
    /// of the verification after a new login are among them. It goes on from 0 after the largest number.
    ///
    /// The commands are sent again, so that nobody else hears of it. But what the device kept in a volatile write cache may be lost: whoever
    /// finds another number after a flush than there was before the first of the writes that it was for writes their data again and flushes again. That
    /// is not needed for a device without such a cache ([`Geometry::write_cache`]). Many targets tell every new session of a reset, whatever
    /// happened.
    ///
    /// ```
    /// use iscsi_core::Lun;
    /// use iscsi_disk::{DiskConfig, InlineDisk};
    /// assert_eq!(InlineDisk::<4>::new(DiskConfig::new(Lun::ZERO)).resets(), 0);
    /// ```
    pub const fn resets(&self) -> u32 {
        self.core.resets
    }

    /// Whether the memory of this request may still be asked for.
    pub fn holds(&self, request: RequestId) -> bool {
        self.request(request).is_some_and(|r| r.phase != Phase::Done)
    }

    pub(crate) fn request(&self, id: RequestId) -> Option<&RequestEntry> {
        let request = &self.slots.get(id.index())?.request;
        (request.phase != Phase::Free && request.generation == id.generation()).then_some(request)
    }

    /// The command of a task, if it is one of this disk's.
    #[inline]
    pub(crate) fn command(&self, task: TaskId) -> Option<&CommandEntry> {
        match self.slots.get(task.index()).map(|slot| &slot.command) {
            Some(command) if command.task == Some(task) => Some(command),
            _ => (self.core.probe_command.task == Some(task)).then_some(&self.core.probe_command),
        }
    }

    /// The tasks of a request at the session.
    pub fn tasks(&self, request: RequestId) -> impl Iterator<Item = TaskId> {
        self.slots
            .iter()
            .filter(move |s| s.command.request == request)
            .filter_map(|s| s.command.task)
    }
}

impl Core {
    pub(crate) fn block_size(&self) -> u32 {
        self.geometry.as_ref().map_or(0, Geometry::block_size)
    }
}

/// Start and check.
impl Disk {
    /// Starts: asks the device what it is, by commands that [`drive`](Self::drive) submits. The end is the state [`DiskState::Ready`] or
    /// [`DiskState::Failed`].
    ///
    /// # Errors
    /// [`RequestError::Busy`] unless the disk is idle or has failed, or while requests are left from before.
    pub fn start(&mut self) -> Result<(), RequestError> {
        self.require_stopped()?;
        self.core.identity = None;
        self.core.geometry = None;
        self.core.paused_until = None;
        self.begin_probe(DiskState::Starting);
        Ok(())
    }

    fn require_stopped(&self) -> Result<(), RequestError> {
        let stopped = matches!(self.core.state, DiskState::Idle | DiskState::Failed(_));
        if stopped && self.core.in_flight == 0 && self.core.in_use == 0 {
            Ok(())
        } else {
            Err(RequestError::Busy)
        }
    }

    pub(crate) fn begin_probe(&mut self, state: DiskState) {
        self.core.probe = Some(Probe::new());
        self.core.probe_tries = 0;
        self.core.probe_since = None;
        self.core.check_wanted = false;
        self.set_state(state);
    }

    /// Makes the disk ready without asking the device, for a device that is known.
    ///
    /// # Errors
    /// [`RequestError::Busy`] unless the disk is idle or has failed, or while requests are left from before.
    pub fn assume(&mut self, geometry: Geometry, identity: Identity) -> Result<(), RequestError> {
        self.require_stopped()?;
        self.core.identity = Some(identity);
        self.adopt(geometry);
        self.set_state(DiskState::Ready);
        Ok(())
    }

    /// Asks the device again what it is, for example after a new login, before anything else is submitted. Another device makes the disk fail with
    /// [`DiskError::DeviceChanged`]; another capacity is told by [`DiskEvent::GeometryChanged`].
    ///
    /// # Errors
    /// [`RequestError::NotReady`] if the disk was not started, [`RequestError::Busy`] if it is being started or checked.
    pub fn check(&mut self) -> Result<(), RequestError> {
        match self.core.state {
            DiskState::Ready => {
                self.begin_probe(DiskState::Checking);
                Ok(())
            }
            DiskState::Starting | DiskState::Checking => Err(RequestError::Busy),
            DiskState::Idle | DiskState::Failed(_) => Err(RequestError::NotReady),
        }
    }

    fn adopt(&mut self, geometry: Geometry) {
        self.core.plan = Plan::new(&geometry, &self.core.config);
        self.core.geometry = Some(geometry);
        self.core.limit = self.core.config.queue_depth.max(1);
    }

    fn set_state(&mut self, state: DiskState) {
        if self.core.state != state {
            self.core.state = state;
            self.core.state_reported = false;
        }
    }
}

/// Events and time.
impl Disk {
    /// The next event, if there is one. A request's slot is free again from then on.
    #[must_use]
    pub fn poll_event(&mut self) -> Option<DiskEvent> {
        if !self.core.state_reported {
            self.core.state_reported = true;
            return Some(DiskEvent::StateChanged(self.core.state));
        }
        if !self.core.geometry_reported {
            self.core.geometry_reported = true;
            return Some(DiskEvent::GeometryChanged);
        }
        while let Some(index) = self.core.done.pop_front(&self.slots) {
            let Some(slot) = self.slots.get_mut(usize::from(index)) else { continue };
            let request = RequestId::new(index, slot.request.generation);
            let (detached, result) = (slot.request.detached, slot.request.result);
            slot.request.phase = Phase::Free;
            self.core.in_use -= 1;
            self.core.free.push_front(&mut self.slots, index);
            if !detached {
                return Some(DiskEvent::Done { request, result });
            }
        }
        None
    }

    /// When [`drive`](Self::drive) must be called next, if nothing else happens: the end of a delay.
    #[must_use]
    pub const fn poll_timeout(&self) -> Option<Instant> {
        self.core.paused_until
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use iscsi_core::Lun;

    /// A disk needs no code to initialise it.
    static EMPTY: InlineDisk<2> = InlineDisk::new(DiskConfig::new(Lun::ZERO));

    #[test]
    fn a_static_disk() {
        assert_eq!((EMPTY.capacity(), EMPTY.in_use(), EMPTY.in_flight()), (2, 0, 0));
        assert_eq!(EMPTY.poll_timeout(), None);
    }

    #[test]
    fn a_slot_stays_small() {
        let slot = size_of::<Slot>();
        assert!(slot <= 320, "{slot} bytes");
    }
}
