//! The memory of requests, and its translation to tasks.

use iscsi_core::{Buffers, NoBuffers, TaskId};

use crate::disk::{Disk, EDGE_BLOCK};
use crate::request::RequestId;
use crate::slot::{CommandEntry, Kind, NO_AREA};

/// What a write of zeros sends.
static ZEROS: [u8; 4096] = [0; 4096];

/// The application's memory, reached by request and offset.
///
/// Both methods return the longest contiguous run that starts at byte `at` of the request's memory: at least 1 byte and at most `max`; scattered
/// memory returns shorter runs. An empty run means that the memory is gone; the connection is then dropped. `at + max` never exceeds
/// [`Request::memory`](crate::Request::memory).
///
/// ```
/// use iscsi_disk::{RequestBuffers, RequestId};
///
/// /// One request at a time, in one piece.
/// struct One(Vec<u8>);
///
/// impl RequestBuffers for One {
///     fn data_in(&mut self, _request: RequestId, at: u64, max: u32) -> &mut [u8] {
///         &mut self.0[at as usize..][..max as usize]
///     }
///     fn data_out(&self, _request: RequestId, at: u64, max: u32) -> &[u8] {
///         &self.0[at as usize..][..max as usize]
///     }
/// }
/// assert_eq!(One(vec![7; 512]).data_out(RequestId::from_bits(0), 500, 12), [7; 12]);
/// ```
pub trait RequestBuffers {
    /// Where bytes `at..at + max` of a read go.
    fn data_in(&mut self, request: RequestId, at: u64, max: u32) -> &mut [u8];

    /// Bytes `at..at + max` of a write or a comparison.
    fn data_out(&self, request: RequestId, at: u64, max: u32) -> &[u8];

    /// Whether what a request reads is handed to [`consume`](Self::consume) where it arrived, instead of going to [`data_in`](Self::data_in). `false` unless
    /// overridden; the answer is the same from the submission of a request to its end. See [`Buffers::consumes`].
    fn consumes(&self, _request: RequestId) -> bool {
        false
    }

    /// Bytes that a request has read, from byte `at` of its memory on, for a look at them: nothing keeps them. They count once the request has ended well;
    /// until then the same bytes may come again.
    fn consume(&mut self, _request: RequestId, _at: u64, _bytes: &[u8]) {}
}

impl<M: RequestBuffers + ?Sized> RequestBuffers for &mut M {
    fn data_in(&mut self, request: RequestId, at: u64, max: u32) -> &mut [u8] {
        (**self).data_in(request, at, max)
    }

    fn data_out(&self, request: RequestId, at: u64, max: u32) -> &[u8] {
        (**self).data_out(request, at, max)
    }

    fn consumes(&self, request: RequestId) -> bool {
        (**self).consumes(request)
    }

    fn consume(&mut self, request: RequestId, at: u64, bytes: &[u8]) {
        (**self).consume(request, at, bytes);
    }
}

/// No memory, for requests that move none.
impl RequestBuffers for NoBuffers {
    fn data_in(&mut self, _request: RequestId, _at: u64, _max: u32) -> &mut [u8] {
        &mut []
    }

    fn data_out(&self, _request: RequestId, _at: u64, _max: u32) -> &[u8] {
        &[]
    }
}

/// The memory of a disk's requests as the engine's [`Buffers`], from [`Disk::buffers`].
///
/// Tasks of others (of another disk on the same session, of commands that the application submits itself) go to what
/// [`or`](Self::or) adds.
///
/// ```
/// use iscsi_core::{Buffers, Lun, NoBuffers, ReadInto, TaskId};
/// use iscsi_disk::{DiskConfig, InlineDisk};
/// let mut disk = InlineDisk::<4>::new(DiskConfig::new(Lun::ZERO));
/// let mut other = [0; 512];
/// let mut memory = NoBuffers;
/// let mut buffers = disk.buffers(&mut memory).or(ReadInto(&mut other));
/// buffers.data_in(TaskId::from_bits(0x1_0000), 0, 512).fill(1);
/// assert_eq!(other, [1; 512]);
/// ```
#[derive(Debug)]
pub struct DiskBuffers<'a, M: ?Sized, F = NoBuffers> {
    disk: &'a mut Disk,
    memory: &'a mut M,
    others: F,
}

impl Disk {
    /// The memory of this disk's tasks, for [`pump`](iscsi_core::driver::pump): the application's for requests, the disk's own for the rest.
    ///
    /// A look-up in a table by the task's index; no copy.
    pub fn buffers<'a, M: RequestBuffers + ?Sized>(
        &'a mut self,
        memory: &'a mut M,
    ) -> DiskBuffers<'a, M> {
        DiskBuffers { disk: self, memory, others: NoBuffers }
    }
}

impl<'a, M: ?Sized, F> DiskBuffers<'a, M, F> {
    /// Sends tasks that are not this disk's to `others`, which may be the buffers of another disk.
    pub fn or<G: Buffers>(self, others: G) -> DiskBuffers<'a, M, G> {
        DiskBuffers { disk: self.disk, memory: self.memory, others }
    }
}

impl<M: RequestBuffers + ?Sized, F: Buffers> Buffers for DiskBuffers<'_, M, F> {
    #[inline]
    fn data_in(&mut self, task: TaskId, at: u32, max: u32) -> &mut [u8] {
        let Some(command) = self.disk.command(task) else {
            return self.others.data_in(task, at, max);
        };
        match command.kind {
            Kind::Read => match command.part(at, max) {
                Part::Run { base, len } => self.memory.data_in(command.request, base, len),
                Part::Head(len) | Part::Tail(len) => cut_mut(&mut self.disk.core.discard, 0, len),
            },
            Kind::Probe => cut_mut(&mut self.disk.core.answer, at, max),
            Kind::ReadEdge(edge) => {
                let area = self
                    .disk
                    .request(command.request)
                    .map_or(NO_AREA, |r| r.edge_area(edge.into()));
                self.disk.core.edges.bytes_mut(area, at, max)
            }
            _ => &mut [],
        }
    }

    #[inline]
    fn data_out(&self, task: TaskId, at: u32, max: u32) -> &[u8] {
        let Some(command) = self.disk.command(task) else {
            return self.others.data_out(task, at, max);
        };
        match command.kind {
            Kind::Write | Kind::WriteZeros => match command.part(at, max) {
                Part::Run { base, len } if command.kind == Kind::Write => {
                    self.memory.data_out(command.request, base, len)
                }
                Part::Run { len, .. } => cut(&ZEROS, 0, len),
                Part::Head(len) => self.edge(command, false, at, len),
                Part::Tail(len) => self.edge(command, true, at, len),
            },
            Kind::Compare | Kind::CompareAndWrite => match command.part(at, max) {
                Part::Run { base, len } => self.memory.data_out(command.request, base, len),
                Part::Head(_) | Part::Tail(_) => &[],
            },
            Kind::WriteSame | Kind::UnmapSame => cut(&ZEROS, 0, max),
            Kind::Unmap => cut(&command.list, at, max),
            _ => &[],
        }
    }

    #[inline]
    fn consumes(&self, task: TaskId) -> bool {
        match self.disk.command(task) {
            Some(command) => command.kind == Kind::Read && self.memory.consumes(command.request),
            None => self.others.consumes(task),
        }
    }

    fn consume(&mut self, task: TaskId, mut at: u32, mut bytes: &[u8]) {
        let Some(command) = self.disk.command(task) else {
            return self.others.consume(task, at, bytes);
        };
        while !bytes.is_empty() {
            let part = command.part(at, u32::try_from(bytes.len()).unwrap_or(u32::MAX));
            let (Part::Head(len) | Part::Tail(len) | Part::Run { len, .. }) = part;
            let Some((run, rest)) = bytes.split_at_checked(len as usize) else { return };
            if let Part::Run { base, .. } = part {
                self.memory.consume(command.request, base, run);
            }
            at = at.saturating_add(len);
            bytes = rest;
        }
    }
}

impl<M: ?Sized, F> DiskBuffers<'_, M, F> {
    /// Bytes of the block that the first or last block of a write keeps; `at` counts from the start of the command.
    fn edge(&self, command: &CommandEntry, tail: bool, at: u32, len: u32) -> &[u8] {
        let Some(request) = self.disk.request(command.request) else { return &[] };
        let area = if tail { request.tail } else { request.head };
        let block_size = self.disk.core.block_size();
        self.disk.core.edges.bytes(area, at.checked_rem(block_size).unwrap_or(0), len)
    }
}

/// Which part of a command byte `at` belongs to, and how many of the `max` bytes from it on do so too.
enum Part {
    /// In the first block, before the request's range.
    Head(u32),
    /// In the request's memory.
    Run { base: u64, len: u32 },
    /// In the last block, after the request's range.
    Tail(u32),
}

impl CommandEntry {
    #[inline]
    fn part(&self, at: u32, max: u32) -> Part {
        let Some(inside) = at.checked_sub(self.skip) else {
            return Part::Head((self.skip - at).min(max));
        };
        match self.run.checked_sub(inside) {
            None | Some(0) => Part::Tail(max),
            Some(rest) => Part::Run { base: self.base + u64::from(inside), len: rest.min(max) },
        }
    }
}

fn cut(bytes: &[u8], at: u32, max: u32) -> &[u8] {
    let rest = bytes.get(at as usize..).unwrap_or_default();
    rest.get(..max as usize).unwrap_or(rest)
}

fn cut_mut(bytes: &mut [u8], at: u32, max: u32) -> &mut [u8] {
    let rest = bytes.get_mut(at as usize..).unwrap_or_default();
    let len = rest.len().min(max as usize);
    rest.get_mut(..len).unwrap_or_default()
}

/// How many blocks can be kept aside at a time.
const AREAS: usize = 4;

/// The areas for blocks that a write covers in part: what it does not cover is read first and written back.
#[derive(Debug)]
pub(crate) struct Edges {
    owners: [Option<Edge>; AREAS],
    blocks: [[u8; EDGE_BLOCK]; AREAS],
}

#[derive(Debug, Clone, Copy)]
struct Edge {
    /// The request, by index.
    owner: u16,
    lba: u64,
}

impl Edges {
    pub(crate) const EMPTY: Self = Self { owners: [None; AREAS], blocks: [[0; EDGE_BLOCK]; AREAS] };

    pub(crate) fn free(&self) -> u64 {
        self.owners.iter().filter(|owner| owner.is_none()).count() as u64
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.owners.iter().all(Option::is_none)
    }

    /// Whether a block in the range is being rewritten.
    pub(crate) fn touches(&self, first: u64, end: u64) -> bool {
        self.owners.iter().flatten().any(|edge| edge.lba >= first && edge.lba < end)
    }

    pub(crate) fn take(&mut self, owner: u16, lba: u64) -> u8 {
        match self.owners.iter_mut().enumerate().find(|(_, slot)| slot.is_none()) {
            Some((area, slot)) => {
                *slot = Some(Edge { owner, lba });
                area as u8
            }
            None => NO_AREA,
        }
    }

    pub(crate) fn release(&mut self, owner: u16) {
        for slot in &mut self.owners {
            if slot.is_some_and(|edge| edge.owner == owner) {
                *slot = None;
            }
        }
    }

    fn bytes(&self, area: u8, at: u32, max: u32) -> &[u8] {
        self.blocks.get(usize::from(area)).map_or(&[], |block| cut(block, at, max))
    }

    fn bytes_mut(&mut self, area: u8, at: u32, max: u32) -> &mut [u8] {
        match self.blocks.get_mut(usize::from(area)) {
            Some(block) => cut_mut(block, at, max),
            None => &mut [],
        }
    }
}
