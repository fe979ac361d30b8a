//! Rows and cases: what is set up, what the target does wrong, and what must be seen.

use core::fmt;
use core::time::Duration;
use std::collections::BTreeMap;

use iscsi_core::testing::{Disk, Do, Faults, Node, R2tOrder, Rig, Rule, Service, TargetChap, When};
use iscsi_core::text::Limits;
use iscsi_core::{
    Config, ConfigBuilder, IscsiName, Lun, OnLoss, SubmitError, TaskManagement, Transfer,
    Verdict as Devices,
};

use crate::expect::Expect;

/// What is said about one row of the list.
///
/// ```
/// use iscsi_conformance::{Row, Verdict};
/// let row = Row::new("F-06", Verdict::NotApplicable("an initiator reads no AHS"));
/// assert_eq!(row.verdict.kind(), "not applicable");
/// ```
#[derive(Debug)]
pub struct Row {
    /// Its id in the list.
    pub id: &'static str,
    /// How the engine differs from the list's advice, and why.
    pub note: Option<&'static str>,
    /// What is said.
    pub verdict: Verdict,
}

impl Row {
    /// A row with a verdict.
    pub const fn new(id: &'static str, verdict: Verdict) -> Self {
        Self { id, note: None, verdict }
    }

    /// A row that is tested by cases, each of which must pass.
    pub const fn pass(id: &'static str, cases: Vec<Case>) -> Self {
        Self::new(id, Verdict::Pass(cases))
    }

    /// Says how the engine differs from the list's advice, and why.
    #[must_use]
    pub const fn note(mut self, note: &'static str) -> Self {
        self.note = Some(note);
        self
    }
}

/// How a row stands.
///
/// ```
/// assert_eq!(iscsi_conformance::Verdict::Open("not written").kind(), "open");
/// ```
#[derive(Debug)]
pub enum Verdict {
    /// Every case passes.
    Pass(Vec<Case>),
    /// A check of the public API that needs no peer.
    Direct(Direct),
    /// The row means nothing for this engine; why.
    NotApplicable(&'static str),
    /// What it is about is not built yet and not claimed; why.
    Deferred(&'static str),
    /// The engine does not do what the row asks; what is missing. Never passes.
    Open(&'static str),
}

impl Verdict {
    /// In a word or two.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Pass(_) | Self::Direct(_) => "pass",
            Self::NotApplicable(_) => "not applicable",
            Self::Deferred(_) => "deferred",
            Self::Open(_) => "open",
        }
    }
}

/// A check that needs no peer: a rule of the configuration, a vector.
///
/// It is given `true` for the check, and `false` for the same check with something wrong in it, which must then fail.
///
/// ```
/// use iscsi_conformance::Direct;
/// let sum = Direct { name: "sum", check: |sound| if sound { Ok(()) } else { Err("wrong".into()) } };
/// assert!((sum.check)(true).is_ok() && (sum.check)(false).is_err());
/// ```
#[derive(Clone, Copy)]
pub struct Direct {
    /// What it is called; equal names are equal checks.
    pub name: &'static str,
    /// The check.
    pub check: fn(bool) -> Result<(), String>,
}

impl fmt::Debug for Direct {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Direct({})", self.name)
    }
}

/// One run: a set-up, what the target does wrong, what must be seen.
///
/// ```
/// use iscsi_conformance::{Case, Expect, Setup};
/// use iscsi_core::testing::{Do, When};
/// use iscsi_core::wire::Opcode;
/// let case = Case::new("response", Setup::normal())
///     .rule(When::sends(Opcode::DataIn), Do::Pad(1))
///     .expect(Expect::Works);
/// assert_eq!(case.rules.len(), 1);
/// ```
#[derive(Debug, Clone)]
pub struct Case {
    /// What it is called within its row.
    pub name: String,
    /// Both sides and the application.
    pub setup: Setup,
    /// What the target does wrong.
    pub rules: Vec<Rule>,
    /// Rules that need not apply in a run.
    pub optional: bool,
    /// The honest run is another than this set-up with no rules.
    pub honest: Option<Box<Setup>>,
    /// What must be seen.
    pub expect: Expect,
}

impl Case {
    /// A case in which the target is honest and everything works.
    pub fn new(name: impl Into<String>, setup: Setup) -> Self {
        let (rules, optional, honest) = (Vec::new(), false, None);
        Self { name: name.into(), setup, rules, optional, honest, expect: Expect::Works }
    }

    /// Adds a rule.
    #[must_use]
    pub fn rule(mut self, when: When, act: Do) -> Self {
        self.rules.push(Rule::new(when, act));
        self
    }

    /// Adds rules.
    #[must_use]
    pub fn rules(mut self, rules: impl IntoIterator<Item = Rule>) -> Self {
        self.rules.extend(rules);
        self
    }

    /// Says what must be seen.
    #[must_use]
    pub fn expect(mut self, expect: Expect) -> Self {
        self.expect = expect;
        self
    }

    /// Its rules need not all apply: random input may end the run before.
    #[must_use]
    pub const fn optional(mut self) -> Self {
        self.optional = true;
        self
    }

    /// The honest run is with this set-up instead: for cases whose very set-up cannot end well.
    #[must_use]
    pub fn honest(mut self, setup: Setup) -> Self {
        self.honest = Some(Box::new(setup));
        self
    }
}

/// Both sides and what the application does.
///
/// ```
/// use iscsi_conformance::{Job, Setup};
/// let setup = Setup::normal().config(|c| c.initial_r2t(true)).jobs([Job::write(0, 8), Job::Settle]);
/// assert_eq!(setup.jobs.len(), 2);
/// ```
#[derive(Debug, Clone)]
pub struct Setup {
    /// The initiator's configuration.
    pub config: ConfigBuilder,
    /// What the target offers.
    pub limits: Limits,
    /// What the target demands.
    pub chap: Option<TargetChap>,
    /// What it answers to SendTargets.
    pub nodes: Option<Vec<Node>>,
    /// Commands that the target takes at a time.
    pub window: u32,
    /// Its first StatSN.
    pub stat_sn: u32,
    /// How its disk answers.
    pub service: Serving,
    /// What the network does: to the target, to the initiator.
    pub faults: [Faults; 2],
    /// What the application does once the session was opened, one after the other. A verified READ follows by itself.
    pub jobs: Vec<Job>,
    /// The first job begins before the login is through.
    pub early: bool,
    /// Tasks that the session has room for: 8, 32, 128 or 512.
    pub depth: usize,
    /// What the application answers when it is to verify the devices; nothing if `None`.
    pub devices: Option<Devices>,
    /// When the run is over, whatever still happens.
    pub time: Duration,
    /// Where randomness comes from.
    pub seed: u64,
}

/// How the target's disk answers; see [`Service`].
///
/// ```
/// assert_eq!(iscsi_conformance::Serving::default().blocks, 64);
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Serving {
    /// Blocks of 512 bytes.
    pub blocks: usize,
    /// The longest data segment of a Data-In.
    pub segment: u32,
    /// The status of a good read travels with its last Data-In.
    pub collapse: bool,
    /// The longest transfer that one R2T asks for.
    pub burst: u32,
    /// R2Ts of a task at a time.
    pub outstanding: u16,
    /// The order of R2Ts.
    pub order: R2tOrder,
}

impl Default for Serving {
    fn default() -> Self {
        let Service { segment, collapse, burst, outstanding, order, .. } =
            Service::new(Disk::new(0));
        Self { blocks: 64, segment, collapse, burst, outstanding, order }
    }
}

impl Serving {
    pub(crate) fn service(self) -> Service {
        let Self { segment, collapse, burst, outstanding, order, .. } = self;
        let mut service = Service::new(Disk::new(self.blocks));
        service.segment = segment;
        service.collapse = collapse;
        service.burst = burst;
        service.outstanding = outstanding;
        service.order = order;
        service
    }
}

/// The name of the target that sessions log in to.
pub const TARGET: &str = "iqn.2001-04.com.example:disk";

impl Setup {
    /// A session for commands that reads nothing but the final READ.
    pub fn normal() -> Self {
        Self {
            config: Rig::config(),
            limits: Limits::DEFAULT,
            chap: None,
            nodes: None,
            window: 32,
            stat_sn: 1,
            service: Serving::default(),
            faults: [Faults::NONE; 2],
            jobs: Vec::new(),
            early: false,
            depth: 8,
            devices: Some(Devices::Same),
            time: Duration::from_secs(900),
            seed: 1,
        }
    }

    /// A session for commands that reads 8 blocks before the final READ: the task that a rule disturbs.
    pub fn reading() -> Self {
        Self::normal().jobs([Job::read(0, 8), Job::Settle])
    }

    /// A session for commands that writes 16 blocks before the final READ.
    pub fn writing() -> Self {
        Self::normal().jobs([Job::write(4, 16), Job::Settle])
    }

    /// A session for commands that logs out, opens again and reads.
    pub fn logging_out() -> Self {
        Self::normal().jobs([Job::read(0, 8), Job::Settle, Job::Logout, Job::Settle, Job::Open])
    }

    /// A discovery session that asks for all targets, of which there are two.
    ///
    /// # Panics
    /// Never: the name is one.
    pub fn discovery() -> Self {
        let name = IscsiName::new("iqn.2001-04.com.example:host").expect("a name");
        let nodes = vec![
            Node::new(TARGET, &["192.0.2.2:3260,1", "[2001:db8::2]:3260,1"]),
            Node::new("iqn.2001-04.com.example:other", &["192.0.2.3:3260,2"]),
        ];
        Self {
            config: Config::discovery(name),
            nodes: Some(nodes),
            jobs: vec![Job::Discover, Job::Settle],
            ..Self::normal()
        }
    }

    /// Whether runs with either are the same. What is printed hides secrets, so they are compared, too.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        let config = |setup: &Self| setup.config.clone().build();
        self.chap == other.chap
            && config(self) == config(other)
            && format!("{self:?}") == format!("{other:?}")
    }

    /// Changes the initiator's configuration.
    #[must_use]
    pub fn config(mut self, change: impl FnOnce(ConfigBuilder) -> ConfigBuilder) -> Self {
        self.config = change(self.config);
        self
    }

    /// Changes what the target offers.
    #[must_use]
    pub fn target(mut self, change: impl FnOnce(&mut Limits)) -> Self {
        change(&mut self.limits);
        self
    }

    /// Changes how the target's disk answers.
    #[must_use]
    pub fn service(mut self, change: impl FnOnce(&mut Serving)) -> Self {
        change(&mut self.service);
        self
    }

    /// Changes anything.
    #[must_use]
    pub fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    /// Sets what the application does.
    #[must_use]
    pub fn jobs(mut self, jobs: impl IntoIterator<Item = Job>) -> Self {
        self.jobs = jobs.into_iter().collect();
        self
    }
}

/// Something that the application does.
///
/// ```
/// use iscsi_conformance::Job;
/// assert_eq!(Job::read(0, 8), Job::Read { lba: 0, blocks: 8 });
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Job {
    /// Submits a READ(10), whose data is compared with the disk.
    Read {
        /// The first block.
        lba: u32,
        /// How many.
        blocks: u16,
    },
    /// Submits a WRITE(10) of a pattern, which is compared with the disk afterwards.
    Write {
        /// The first block.
        lba: u32,
        /// How many.
        blocks: u16,
    },
    /// Submits any command.
    Command(Request),
    /// Sends a ping.
    Ping,
    /// Aborts the task with this number: tasks are numbered from 0 in the order of their jobs.
    Abort(usize),
    /// Takes the memory of this task away.
    Revoke(usize),
    /// Does not want to hear of this task's end.
    Detach(usize),
    /// Asks for a task management function.
    Manage(TaskManagement),
    /// Asks for a query of the task with this number.
    QueryTask(usize),
    /// Asks for all targets, or for the session's own in a session for commands.
    Discover,
    /// Asks for a logout.
    Logout,
    /// Opens the session again, once it is closed or has failed, and waits for the login.
    Open,
    /// Wants a new connection.
    ForceReconnect,
    /// Does not want to wait for the next attempt to connect.
    RetryNow,
    /// Answers that the devices were verified.
    Verified(Devices),
    /// Waits until everything that was asked for has come to an end, a recovery too.
    Settle,
    /// Waits this long.
    Sleep(Duration),
}

impl Job {
    /// Submits a READ(10).
    pub const fn read(lba: u32, blocks: u16) -> Self {
        Self::Read { lba, blocks }
    }

    /// Submits a WRITE(10).
    pub const fn write(lba: u32, blocks: u16) -> Self {
        Self::Write { lba, blocks }
    }

    /// Submits TEST UNIT READY.
    pub fn test_unit_ready() -> Self {
        Self::Command(Request::new(&[0; 6], Transfer::None))
    }

    /// Waits for seconds.
    pub const fn sleep(seconds: u64) -> Self {
        Self::Sleep(Duration::from_secs(seconds))
    }
}

/// A command of any kind; see [`Command`](iscsi_core::Command).
///
/// ```
/// use iscsi_conformance::Request;
/// use iscsi_core::Transfer;
/// let inquiry = Request::new(&[0x12, 0, 0, 0, 36, 0], Transfer::In(36));
/// assert!(!inquiry.immediate);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The logical unit.
    pub lun: Lun,
    /// The CDB.
    pub cdb: Vec<u8>,
    /// What it moves.
    pub transfer: Transfer,
    /// Immediate delivery.
    pub immediate: bool,
    /// If the connection is lost.
    pub on_loss: OnLoss,
    /// Its deadline.
    pub timeout: Option<Duration>,
}

impl Request {
    /// A command for LUN 0.
    pub fn new(cdb: &[u8], transfer: Transfer) -> Self {
        Self {
            lun: Lun::ZERO,
            cdb: cdb.to_vec(),
            transfer,
            immediate: false,
            on_loss: OnLoss::Report,
            timeout: None,
        }
    }

    /// READ(10), which may be issued again after a loss.
    pub fn reissued_read(lba: u32, blocks: u16) -> Self {
        let transfer = Transfer::In(u32::from(blocks) * 512);
        Self { on_loss: OnLoss::Reissue, ..Self::new(&Disk::read10(lba, blocks), transfer) }
    }

    /// As a job.
    pub const fn job(self) -> Job {
        Job::Command(self)
    }
}

/// Bytes to write that depend on their place.
pub(crate) fn pattern(lba: u32, blocks: u16) -> Vec<u8> {
    let byte = |at: usize| (at % 241) as u8 ^ 0x5a ^ lba as u8;
    (0..usize::from(blocks) * 512).map(byte).collect()
}

/// Jobs that were refused, by their number.
pub(crate) type Refused = BTreeMap<usize, SubmitError>;
