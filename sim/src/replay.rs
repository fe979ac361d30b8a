//! The bytes that the target sent, played again to a fresh initiator, in one chunk or byte by byte: it has to tell the same.

use iscsi_core::auth::Entropy;
use iscsi_core::driver::{RecvBuf, Transport, pump};
use iscsi_core::testing::{Memory, Told};
use iscsi_core::{
    Action, Command, InlineConnection, Instant, LostReason, Lun, Portal, Session, TaskId, Transfer,
};

use crate::Finding;
use crate::pair::tiny_scratch;
use crate::setup::Setup;

/// What happened to the initiator.
#[derive(Debug)]
enum Op {
    Opened([u8; 64]),
    Submitted { lun: Lun, cdb: Vec<u8>, transfer: Transfer, out: Vec<u8> },
    Received(Vec<u8>),
    LoggedOut,
}

/// The recording of one connection without losses and aborts.
#[derive(Debug, Default)]
pub(crate) struct Tape {
    ops: Vec<Op>,
    ends: Vec<(Told, Vec<u8>)>,
    /// The initiator has sent since it received last: what comes then may be an answer, and is handed over by itself.
    answered: bool,
}

impl Tape {
    pub(crate) fn opened(&mut self, entropy: [u8; 64]) {
        self.ops.push(Op::Opened(entropy));
    }

    pub(crate) fn submitted(&mut self, command: &Command<'_>, out: &[u8]) {
        let (lun, cdb, transfer) = (command.lun, command.cdb.to_vec(), command.transfer);
        self.ops.push(Op::Submitted { lun, cdb, transfer, out: out.to_vec() });
    }

    pub(crate) fn received(&mut self, bytes: Vec<u8>) {
        let answered = core::mem::take(&mut self.answered);
        match self.ops.last_mut() {
            Some(Op::Received(before)) if !answered => before.extend_from_slice(&bytes),
            _ => self.ops.push(Op::Received(bytes)),
        }
    }

    pub(crate) const fn sent(&mut self) {
        self.answered = true;
    }

    pub(crate) fn logged_out(&mut self) {
        self.ops.push(Op::LoggedOut);
    }

    pub(crate) fn ended(&mut self, told: &Told, memory: &[u8]) {
        self.ends.push((told.clone(), memory.to_vec()));
    }

    /// Plays it twice and compares. Returns how many bytes there were.
    pub(crate) fn check(&self, setup: &Setup) -> Result<u64, Finding> {
        let large = self.play(setup, usize::MAX, RecvBuf::boxed())?;
        let small = self.play(setup, 1, tiny_scratch())?;
        same("in large chunks", &self.ends, &large)?;
        same("byte by byte", &large, &small)?;
        let bytes = self.ops.iter().map(|op| match op {
            Op::Received(bytes) => bytes.len() as u64,
            _ => 0,
        });
        Ok(bytes.sum())
    }

    fn play(
        &self,
        setup: &Setup,
        chunk: usize,
        scratch: Box<RecvBuf>,
    ) -> Result<Vec<(Told, Vec<u8>)>, Finding> {
        let mut player = Player {
            session: setup.session()?,
            connection: Box::default(),
            scratch,
            memory: Memory::new(),
            ends: Vec::new(),
        };
        let portal = Portal::parse("192.0.2.2:3260").map_err(|e| e.to_string())?;
        player.session.open(portal, NOW).map_err(|e| format!("replay: {e}"))?;
        for op in &self.ops {
            player.perform(op, chunk)?;
        }
        Ok(player.ends)
    }
}

/// Time stands still.
const NOW: Instant = Instant::ZERO;

#[derive(Debug)]
struct Player {
    session: Box<Session>,
    connection: Box<InlineConnection>,
    scratch: Box<RecvBuf>,
    memory: Memory,
    ends: Vec<(Told, Vec<u8>)>,
}

impl Player {
    fn perform(&mut self, op: &Op, chunk: usize) -> Result<(), Finding> {
        match op {
            Op::Opened(bytes) => {
                while self.session.poll_action() == Some(Action::Connect) {}
                self.connection.opened(&mut self.session, Entropy::new(*bytes), NOW);
                self.turn(&[]);
            }
            Op::Submitted { lun, cdb, transfer, out } => {
                let command = Command::new(*lun, cdb, *transfer);
                let task =
                    self.session.submit(&command, NOW).map_err(|e| format!("replay: {e}"))?;
                self.memory.lend_in(task, transfer.in_len() as usize);
                self.memory.lend_out(task, out.clone());
                self.turn(&[]);
            }
            Op::LoggedOut => {
                self.session.logout(NOW).map_err(|e| format!("replay: {e}"))?;
                self.turn(&[]);
            }
            Op::Received(bytes) => {
                for chunk in bytes.chunks(chunk.min(bytes.len()).max(1)) {
                    self.turn(chunk);
                }
            }
        }
        Ok(())
    }

    /// Hands over the bytes, and takes what is told.
    fn turn(&mut self, mut input: &[u8]) {
        loop {
            let mut wire = Feed { input };
            let (connection, scratch) = (&mut self.connection, &mut self.scratch);
            let Ok(wants) =
                pump(connection, &mut self.session, &mut self.memory, scratch, &mut wire, NOW, 64);
            input = wire.input;
            let mut any = false;
            while let Some(event) = self.session.poll_event() {
                any = true;
                let told = Told::from(event);
                if let Some(task) = told.task() {
                    self.end(task, told);
                }
            }
            while self.session.poll_action() == Some(Action::Disconnect) {
                self.connection.closed(LostReason::Transport, &mut self.session, NOW);
            }
            if !any && !wants.again && (input.is_empty() || !wants.read) {
                return;
            }
        }
    }

    fn end(&mut self, task: TaskId, told: Told) {
        self.ends.push((told, self.memory.read(task).to_vec()));
        self.memory.take(task);
    }
}

/// A target that has said everything already, and listens to nothing.
struct Feed<'a> {
    input: &'a [u8],
}

impl Transport for Feed<'_> {
    type Error = core::convert::Infallible;

    fn send(&mut self, runs: &[&[u8]]) -> Result<Option<usize>, Self::Error> {
        Ok(Some(runs.iter().map(|run| run.len()).sum()))
    }

    fn recv(&mut self, space: [&mut [u8]; 2]) -> Result<Option<usize>, Self::Error> {
        let mut total = 0;
        for slice in space {
            let (now, later) = self.input.split_at(slice.len().min(self.input.len()));
            slice[..now.len()].copy_from_slice(now);
            self.input = later;
            total += now.len();
        }
        Ok((total > 0).then_some(total))
    }
}

fn same(how: &str, before: &[(Told, Vec<u8>)], after: &[(Told, Vec<u8>)]) -> Result<(), Finding> {
    let different = before.iter().zip(after).find(|(before, after)| before != after);
    if let Some(((before, _), (after, _))) = different {
        return Err(format!("replayed {how}: {after:?} (or its data) instead of {before:?}"));
    }
    match before.len() == after.len() {
        true => Ok(()),
        false => Err(format!("replayed {how}: {} ends instead of {}", after.len(), before.len())),
    }
}
