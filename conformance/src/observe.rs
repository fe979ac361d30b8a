//! What was seen in a run.

use core::time::Duration;

use iscsi_core::testing::{Entry, Told};
use iscsi_core::text::TargetItem;
use iscsi_core::wire::LogoutResponse;
use iscsi_core::{Action, DiscoveryItem, Instant, LostReason, Negotiated, SessionState, TaskId};

use crate::case::{Job, Refused, Setup};
use crate::expect::Pattern;

/// Everything that was seen of the engine in a run, through its public functions and on the wire.
///
/// ```
/// use iscsi_conformance::{Setup, play};
/// let seen = play(&Setup::reading(), &[]);
/// assert!(seen.tasks[0].good && seen.broken.is_empty());
/// assert_eq!(seen.connections.len(), 1);
/// ```
#[derive(Debug)]
pub struct Observation {
    /// Where the session stood at the end.
    pub end: SessionState,
    /// Every event.
    pub told: Vec<(Instant, Told)>,
    /// Every action.
    pub actions: Vec<(Instant, Action)>,
    /// Every attempt to connect.
    pub connections: Vec<Attempt>,
    /// On which of them the session failed first.
    pub failed_on: Option<usize>,
    /// Every PDU of the initiator, and of the target as it went out. Bytes that were made up are not here.
    pub pdus: Vec<Entry>,
    /// Every task, in the order of the jobs; the last one is the final READ if `probed`.
    pub tasks: Vec<Task>,
    /// The final READ was submitted.
    pub probed: bool,
    /// What was negotiated at each login.
    pub negotiated: Vec<Negotiated>,
    /// Every item of discoveries.
    pub items: Vec<DiscoveryItem>,
    /// Every asynchronous message that was taken.
    pub notices: Vec<Notice>,
    /// Jobs that were refused.
    pub refused: Refused,
    /// The alias of the target, at the end.
    pub alias: Option<String>,
    /// The address that the target moved to for good.
    pub moved_to: Option<String>,
    /// How the target answered the last Logout Request.
    pub logout_response: Option<LogoutResponse>,
    /// What the engine took of the last connection.
    pub bytes_taken: u64,
    /// How often each rule applied.
    pub fired: Vec<u32>,
    /// What the target had to complain about.
    pub complaints: Vec<String>,
    /// How long the run took.
    pub took: Duration,
    /// General laws that were broken.
    pub broken: Vec<String>,
    /// What the run was with.
    pub(crate) setup: Setup,
}

/// An attempt to connect.
///
/// ```
/// use iscsi_conformance::{Setup, play};
/// assert_eq!(play(&Setup::normal(), &[]).connections[0].portal, "192.0.2.2:3260");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// Where to.
    pub portal: String,
    /// When.
    pub at: Instant,
    /// When it was over: it was refused, or the initiator closed it.
    pub over: Option<Instant>,
}

/// A task of the application.
///
/// ```
/// use iscsi_conformance::{Setup, play};
/// let seen = play(&Setup::writing(), &[]);
/// assert!(seen.tasks[0].good && seen.tasks[0].placed.is_empty());
/// ```
#[derive(Debug, Clone)]
pub struct Task {
    /// Its handle; `None` if it was refused.
    pub id: Option<TaskId>,
    /// When it was submitted.
    pub at: Instant,
    /// How it ended, and when.
    pub end: Option<(Instant, Told)>,
    /// It ended well, and its data is what the disk holds.
    pub good: bool,
    /// What was placed in its memory.
    pub placed: Vec<u8>,
    /// No byte of its memory was touched.
    pub untouched: bool,
    /// Its end is not told: it was detached or revoked.
    pub silent: bool,
}

/// An asynchronous message.
///
/// ```
/// let notice = iscsi_conformance::Notice { code: 1, sense: vec![], missed: 0 };
/// assert_eq!(notice.code, 1);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// AsyncEvent.
    pub code: u8,
    /// Sense data.
    pub sense: Vec<u8>,
    /// Messages before it that were not taken.
    pub missed: u32,
}

impl Observation {
    /// How the session failed first, and when.
    pub fn failure(&self) -> Option<(Instant, LostReason)> {
        self.told.iter().find_map(|(at, told)| match told {
            Told::State(SessionState::Failed(reason)) => Some((*at, *reason)),
            _ => None,
        })
    }

    /// When the session failed or was closed first.
    pub fn over_at(&self) -> Option<Duration> {
        let over = self.told.iter().find(|(_, told)| {
            matches!(told, Told::State(SessionState::Failed(_) | SessionState::Closed))
        });
        over.map(|(at, _)| at.saturating_since(Instant::ZERO))
    }

    /// How long this attempt to connect came after the end of the one before.
    pub fn waited(&self, attempt: usize) -> Option<Duration> {
        let before = self.connections.get(attempt.checked_sub(1)?)?.over?;
        Some(self.connections.get(attempt)?.at.saturating_since(before))
    }

    pub(crate) fn task_end(&self, number: usize) -> Result<&Told, String> {
        let task = self.tasks.get(number).ok_or_else(|| format!("there is no task {number}"))?;
        let end = task.end.as_ref().ok_or_else(|| format!("task {number} has no end"))?;
        Ok(&end.1)
    }

    /// The session failed so, and the connection was closed.
    pub(crate) fn fails(&self, pattern: &Pattern<LostReason>) -> Result<(), String> {
        let Some((at, reason)) = self.failure() else {
            return Err(format!("no failure, but {:?}", self.end));
        };
        if !pattern.fits(&reason) {
            return Err(format!("{reason:?} instead of {pattern:?}"));
        }
        // The connection on which it failed is closed, by our doing.
        match self.failed_on.and_then(|number| self.connections.get(number)) {
            Some(attempt) if attempt.over.is_some_and(|over| over <= at) => Ok(()),
            _ => Err("the connection was not closed at once".into()),
        }
    }

    /// The run ended well.
    pub(crate) fn works(&self, with_tasks: bool) -> Result<(), String> {
        if let Some((number, task)) =
            self.tasks.iter().enumerate().find(|(_, task)| with_tasks && !task.good && !task.silent)
        {
            return Err(format!("task {number} ended so: {:?}", task.end));
        }
        let jobs = &self.setup.jobs;
        if jobs.contains(&Job::Discover) {
            self.discovered()?;
        }
        match self.end {
            // What a session was opened for is in its jobs; a session for commands always reads.
            SessionState::LoggedIn if self.probed => match self.tasks.last() {
                Some(task) if task.good => Ok(()),
                other => Err(format!("the final READ: {other:?}")),
            },
            SessionState::LoggedIn | SessionState::Closed
                if jobs.contains(&Job::Discover) && !with_probe(&self.setup) =>
            {
                Ok(())
            }
            SessionState::Closed if jobs.contains(&Job::Logout) => Ok(()),
            state => Err(format!("the session ended as {state:?}")),
        }
    }

    /// A discovery found what there is.
    fn discovered(&self) -> Result<(), String> {
        let mut names = Vec::new();
        for item in &self.items {
            match item {
                DiscoveryItem::Target(TargetItem::Name(name)) => names.push(name.to_string()),
                DiscoveryItem::Target(TargetItem::Address(address)) => {
                    names.push(address.to_string());
                }
                DiscoveryItem::Done => {}
                other => return Err(format!("the discovery told {other:?}")),
            }
        }
        if self.items.last() != Some(&DiscoveryItem::Done) {
            return Err("the discovery did not end".into());
        }
        let nodes = self.setup.nodes.iter().flatten();
        let wanted = nodes.flat_map(|node| core::iter::once(&node.name).chain(&node.addresses));
        if wanted.ne(names.iter()) {
            return Err(format!("the discovery told {names:?}"));
        }
        Ok(())
    }
}

/// Whether the run ends with a READ.
pub(crate) fn with_probe(setup: &Setup) -> bool {
    setup
        .config
        .clone()
        .build()
        .is_ok_and(|config| config.session_type() == iscsi_core::text::SessionType::Normal)
}
