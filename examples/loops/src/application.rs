//! What the loops do it for: reading the first MiB of a disk.

use std::ops::Range;

use iscsi_core::digest::crc32c;
use iscsi_core::wire::ScsiStatus;
use iscsi_core::{Buffers, Command, Event, Instant, Lun, Session, SessionState, TaskId, Transfer};
use iscsi_scsi::Cdb;
use iscsi_scsi::block::Read10;
use iscsi_scsi::capacity::{ReadCapacity10, ReadCapacity10Data};

use crate::Failure;

/// Bytes to read.
pub const IMAGE: usize = 1 << 20;

/// Commands at once.
pub const DEPTH: usize = 8;

/// Bytes of one command.
const PIECE: usize = 64 * 1024;

/// What a command reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Piece {
    Capacity,
    /// Of the image, from this byte.
    Image(usize),
}

impl Piece {
    const fn len(self) -> usize {
        match self {
            Self::Capacity => ReadCapacity10Data::SIZE,
            Self::Image(_) => PIECE,
        }
    }
}

/// How often a command may fail. A new initiator is told of the power on, and of what else has happened, first.
const PATIENCE: u32 = 5;

/// Reads the first [`IMAGE`] bytes of a disk, [`DEPTH`] commands at once, and logs out.
///
/// It owns the memory that the commands read into, and lends it as [`Buffers`].
///
/// ```
/// use iscsi_core::{InlineSession, Instant, Lun};
/// use iscsi_loops::Application;
/// let mut application = Application::new(Lun::ZERO);
/// assert_eq!(application.bytes().len(), iscsi_loops::IMAGE);
/// assert!(!application.is_done());
/// ```
#[derive(Debug)]
pub struct Application {
    lun: Lun,
    image: Vec<u8>,
    capacity: [u8; ReadCapacity10Data::SIZE],
    /// What was submitted and has not ended.
    tasks: Vec<(TaskId, Piece)>,
    /// What is to be read next, the last one first.
    wanted: Vec<Piece>,
    block_length: Option<usize>,
    failures: u32,
    logging_out: bool,
    is_done: bool,
}

impl Application {
    /// Nothing is read yet.
    pub fn new(lun: Lun) -> Self {
        Self {
            lun,
            image: vec![0; IMAGE],
            capacity: [0; ReadCapacity10Data::SIZE],
            tasks: Vec::new(),
            wanted: vec![Piece::Capacity],
            block_length: None,
            failures: 0,
            logging_out: false,
            is_done: false,
        }
    }

    /// What was read.
    pub fn bytes(&self) -> &[u8] {
        &self.image
    }

    /// Everything was read, and the session is logged out.
    pub const fn is_done(&self) -> bool {
        self.is_done
    }

    /// What there is to tell.
    pub fn report(&self) -> String {
        format!("{IMAGE} bytes, CRC32C {:08x}", crc32c(self.bytes()))
    }

    /// Requests: submits what is to be read next, and asks for the logout at the end.
    ///
    /// # Errors
    /// The session refuses.
    pub fn submit(&mut self, session: &mut Session, now: Instant) -> Result<(), Failure> {
        while self.tasks.len() < DEPTH
            && let Some(piece) = self.wanted.pop()
        {
            let cdb = self.cdb(piece);
            let transfer = Transfer::In(piece.len() as u32);
            let command = Command::new(self.lun, cdb.as_bytes(), transfer);
            self.tasks.push((session.submit(&command, now)?, piece));
        }
        if self.tasks.is_empty() && !self.logging_out {
            self.logging_out = true;
            session.logout(now)?;
        }
        Ok(())
    }

    fn cdb(&self, piece: Piece) -> Cdb {
        match (piece, self.block_length) {
            (Piece::Image(at), Some(block)) => {
                let (lba, blocks) = ((at / block) as u32, (PIECE / block) as u16);
                Read10 { lba, blocks, ..Read10::default() }.cdb()
            }
            _ => ReadCapacity10.cdb(),
        }
    }

    /// Answers: takes all events. True if there were any, which is a reason for another turn.
    ///
    /// # Errors
    /// A command or the session has failed.
    pub fn take_events(&mut self, session: &mut Session) -> Result<bool, Failure> {
        let mut any = false;
        while let Some(event) = session.poll_event() {
            any = true;
            match event {
                Event::TaskDone { task, outcome, .. } => {
                    let index = self.tasks.iter().position(|(id, _)| *id == task);
                    let Some(index) = index else { continue };
                    let (_, piece) = self.tasks.swap_remove(index);
                    if outcome.is_good() {
                        self.read(piece)?;
                    } else if outcome.status() == Some(ScsiStatus::CheckCondition)
                        && self.failures < PATIENCE
                    {
                        self.failures += 1;
                        self.wanted.push(piece);
                    } else {
                        return Err(format!("{outcome:?}").into());
                    }
                }
                Event::TaskLost { reason, .. }
                | Event::StateChanged(SessionState::Failed(reason)) => return Err(reason.into()),
                Event::StateChanged(SessionState::Closed) => self.is_done = true,
                _ => {}
            }
        }
        Ok(any)
    }

    /// A piece was read.
    fn read(&mut self, piece: Piece) -> Result<(), Failure> {
        if piece == Piece::Capacity {
            let block = ReadCapacity10Data::parse(&self.capacity)?.block_length as usize;
            if block == 0 || !PIECE.is_multiple_of(block) {
                return Err(format!("blocks of {block} bytes").into());
            }
            self.block_length = Some(block);
            self.wanted.extend((0..IMAGE).step_by(PIECE).rev().map(Piece::Image));
        }
        Ok(())
    }

    fn piece(&self, task: TaskId) -> Option<Piece> {
        self.tasks.iter().find(|(id, _)| *id == task).map(|(_, piece)| *piece)
    }

    /// Where bytes of a task are in the image; `None` if they belong elsewhere or the task has ended.
    pub fn place(&self, task: TaskId, offset: u32, len: u32) -> Option<Range<usize>> {
        match self.piece(task)? {
            Piece::Capacity => None,
            Piece::Image(at) => {
                let start = at + (offset as usize).min(PIECE);
                Some(start..(start + len as usize).min(at + PIECE))
            }
        }
    }

    /// Where the image begins. It stays there, and only [`data_in`](Buffers::data_in) and [`bytes`](Self::bytes) look into it.
    pub const fn image(&mut self) -> *mut u8 {
        self.image.as_mut_ptr()
    }
}

impl Buffers for Application {
    fn data_in(&mut self, task: TaskId, at: u32, max: u32) -> &mut [u8] {
        if self.piece(task) == Some(Piece::Capacity) {
            return &mut self.capacity[at as usize..][..max as usize];
        }
        let place = self.place(task, at, max).unwrap_or_default();
        &mut self.image[place]
    }

    fn data_out(&self, _task: TaskId, _at: u32, _max: u32) -> &[u8] {
        &[] // nothing is written
    }
}
