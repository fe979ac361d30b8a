//! Many commands at once from one thread, with borrowed memory.

use alloc::collections::VecDeque;
use core::time::Duration;

use iscsi_core::wire::TaskManagementResponseCode;
use iscsi_core::{
    Command, Event, LostReason, Session, SubmitError, TaskId, TaskManagement, TaskManagementId,
};
use iscsi_runtime::{Completed, Error, Lend, Table, check_command, task_end};

use crate::client::Client;
use crate::engine::wait;

/// Commands under way, with the memory of each: borrowed as [`Data`](crate::Data), or anything else that can be [lent](Lend).
///
/// [`submit`](Self::submit) only queues; [`wait`](Self::wait) sends everything that was queued at once and returns one finished
/// command at a time, with its memory, in the order in which they finish. Dropped, the queue takes its memory back at
/// once: what is under way is aborted, and if bytes of a write are owed to the target the connection is closed.
///
/// ```no_run
/// use iscsi_core::{Command, Lun, Transfer};
/// use iscsi_runtime_std::{Data, Error, Client};
///
/// /// Reads 1000 times 4 KiB, 32 at once.
/// fn read(client: &mut Client, lun: Lun) -> Result<(), Error> {
///     let mut blocks = vec![[0; 4096]; 32];
///     let mut queue = client.queue();
///     let mut lba = 0..1000u32;
///     let mut next = |data| {
///         let [a, b, c, d] = (lba.next()? * 8).to_be_bytes();
///         Some(([0x28, 0, a, b, c, d, 0, 0, 8, 0], data))
///     };
///     for block in &mut blocks {
///         let Some((cdb, data)) = next(Data::In(block)) else { break };
///         queue.submit(&Command::new(lun, &cdb, Transfer::In(4096)), data)?;
///     }
///     while let Some(done) = queue.wait()? {
///         done.result?.good()?;
///         let Some((cdb, data)) = next(done.data) else { continue };
///         queue.submit(&Command::new(lun, &cdb, Transfer::In(4096)), data)?;
///     }
///     Ok(())
/// }
/// # let _ = read;
/// ```
#[derive(Debug)]
pub struct Queue<'i, M> {
    client: &'i mut Client,
    memory: Table<TaskId, M>,
    /// Finished while something else was waited for.
    done: VecDeque<Completion<M>>,
}

/// A command that has ended, from [`Queue::wait`].
///
/// ```no_run
/// use iscsi_runtime_std::{Client, Data, Error};
///
/// # fn finish(client: &mut Client) -> Result<(), Error> {
/// let mut queue = client.queue::<Data<'_>>();
/// while let Some(completion) = queue.wait()? {
///     println!("{:?}: {:?}", completion.task, completion.result);
/// }
/// # Ok(()) }
/// ```
#[derive(Debug)]
#[must_use]
pub struct Completion<M> {
    /// The name that [`Queue::submit`] gave the command.
    pub task: TaskId,
    /// How it ended.
    pub result: Result<Completed, Error>,
    /// Its memory.
    pub data: M,
}

impl<'i, M: Lend> Queue<'i, M> {
    pub(crate) fn new(client: &'i mut Client) -> Self {
        Self { client, memory: Table::default(), done: VecDeque::new() }
    }

    /// Queues a command. It is sent by the next [`wait`](Self::wait) or [`poll`](Self::poll).
    ///
    /// # Errors
    /// [`Error::Submit`] with [`SubmitError::NoFreeTask`] if [`free`](Self::free) is 0, [`Error::Memory`] if `data` is shorter than the
    /// command's transfer, or why the session has ended.
    pub fn submit(&mut self, command: &Command<'_>, data: M) -> Result<TaskId, Error> {
        check_command(command, &data)?;
        let task = self.client.engine.submit(command)?;
        self.memory.insert(task, data);
        Ok(task)
    }

    /// How many commands are under way, finished ones that were not taken among them.
    pub fn len(&self) -> usize {
        self.memory.len() + self.done.len()
    }

    /// The session: its state, names, identifiers, command window.
    pub fn session(&self) -> &Session {
        &self.client.engine.session
    }

    /// Whether nothing is under way.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many more commands may be submitted now.
    pub fn free(&self) -> usize {
        let session = &self.client.engine.session;
        session.capacity() - session.in_use()
    }

    /// Waits for the next command to end; `None` if nothing is under way. If the session ends, every command does.
    ///
    /// # Errors
    /// Only if the system cannot wait; how a command ended is in the [`Completion`].
    pub fn wait(&mut self) -> Result<Option<Completion<M>>, Error> {
        loop {
            if let Some(completion) = self.take() {
                return Ok(Some(completion));
            }
            if self.memory.is_empty() {
                return Ok(None);
            }
            let wants = self.client.engine.turn_and_vouch_to_wait(&mut self.memory);
            match self.take() {
                Some(completion) => return Ok(Some(completion)),
                None => wait(&mut self.client.engine, wants, None)?,
            }
        }
    }

    /// Waits for the next command to end, for at most so long; `None` if none has ended by then. With nothing under way it only keeps the
    /// connection alive meanwhile.
    ///
    /// # Errors
    /// Those of [`wait`](Self::wait).
    pub fn wait_timeout(&mut self, time: Duration) -> Result<Option<Completion<M>>, Error> {
        let until = self.client.engine.now() + time;
        loop {
            if let Some(completion) = self.take() {
                return Ok(Some(completion));
            }
            let wants = self.client.engine.turn_and_vouch_to_wait(&mut self.memory);
            if let Some(completion) = self.take() {
                return Ok(Some(completion));
            }
            if self.client.engine.now() >= until {
                return Ok(None);
            }
            wait(&mut self.client.engine, wants, Some(until))?;
        }
    }

    /// Sends and receives what is possible without waiting; the next command that has ended, if one has.
    pub fn poll(&mut self) -> Option<Completion<M>> {
        self.take().or_else(|| {
            let _ = self.client.engine.turn_and_vouch(&mut self.memory);
            self.take()
        })
    }

    /// Asks the target to abort a command. It ends all the same, with its own result if that was faster.
    ///
    /// # Errors
    /// [`SubmitError::NoSuchTask`] if it has ended.
    pub fn abort(&mut self, task: TaskId) -> Result<(), Error> {
        let now = self.client.engine.now();
        Ok(self.client.engine.session.abort(task, now)?)
    }

    /// Asks for a task management function and waits for the answer; what ends meanwhile is returned by [`wait`](Self::wait) later.
    ///
    /// # Errors
    /// If there was no answer, or the session does not take the function; a refusal by the target is `Ok`.
    pub fn task_management(
        &mut self,
        request: TaskManagement,
    ) -> Result<TaskManagementResponseCode, Error> {
        let id = loop {
            let now = self.client.engine.now();
            match self.client.engine.session.task_management(request, now) {
                Ok(id) => break id,
                // The engine is aborting a command; that ends in the configured time.
                Err(SubmitError::Busy) => {
                    self.service()?;
                }
                Err(error) => return Err(self.client.engine.refusal(error)),
            }
        };
        loop {
            match self.service()? {
                Some((done, result)) if done == id => {
                    return result.map_err(|reason| self.client.engine.failure(reason));
                }
                _ => {}
            }
        }
    }

    /// One turn and one wait; what ends is kept. Returns the end of a task management function.
    fn service(&mut self) -> Result<Option<Answer>, Error> {
        let wants = self.client.engine.turn_and_vouch(&mut self.memory);
        while let Some(completion) = self.next_event() {
            match completion {
                Ended::Task(completion) => self.done.push_back(completion),
                Ended::TaskManagement(answer) => return Ok(Some(answer)),
            }
        }
        wait(&mut self.client.engine, wants, None)?;
        Ok(None)
    }

    fn take(&mut self) -> Option<Completion<M>> {
        if let Some(completion) = self.done.pop_front() {
            return Some(completion);
        }
        loop {
            if let Ended::Task(completion) = self.next_event()? {
                return Some(completion);
            }
        }
    }

    fn next_event(&mut self) -> Option<Ended<M>> {
        let engine = &mut self.client.engine;
        while let Some(event) = engine.session.poll_event() {
            if let Event::TaskManagementDone { id, result } = event {
                return Some(Ended::TaskManagement((id, result)));
            }
            let Some((task, end)) = task_end(event) else { continue };
            let Some(data) = self.memory.remove(task) else { continue };
            let result = end.map_err(|reason| engine.failure(reason));
            return Some(Ended::Task(Completion { task, result, data }));
        }
        None
    }
}

type Answer = (TaskManagementId, Result<TaskManagementResponseCode, LostReason>);

enum Ended<M> {
    Task(Completion<M>),
    TaskManagement(Answer),
}

impl<M> Drop for Queue<'_, M> {
    fn drop(&mut self) {
        for task in self.memory.keys() {
            self.client.engine.revoke(task);
        }
    }
}
