//! A script: what a [`ScriptedTarget`](super::ScriptedTarget) does otherwise than an honest target would, as data.
//!
//! A script is a list of [`Rule`]s. Each says [`When`] something happens and what to [`Do`] then: change a field or a text key, drop, repeat,
//! delay or cut a PDU, send one more, end the connection. Without rules the target is honest.
//!
//! ```
//! use iscsi_core::testing::{Disk, Do, Field, Rig, Rule, Service, When};
//! use iscsi_core::text::Limits;
//! use iscsi_core::wire::Opcode;
//! use iscsi_core::{ProtocolError, StatSn};
//!
//! let mut rig = Rig::new(Rig::config().build().unwrap(), Limits::DEFAULT, 1);
//! rig.target.service = Some(Service::new(Disk::new(16)));
//! // The status of the first read is numbered one too high.
//! rig.target.script.add(Rule::new(When::sends(Opcode::DataIn), Do::Add(Field::STAT_SN, 1)));
//! rig.log_in();
//! rig.read(0, 1);
//! rig.run();
//! assert!(matches!(rig.violation(), Some(ProtocolError::StatSn { .. })));
//! assert_eq!(rig.target.script.fired(), [1]);
//! ```

mod field;
mod outgoing;
mod rule;

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::time::Duration;

pub use field::Field;
pub(super) use outgoing::{Outgoing, continue_text, ends_login, noise};
pub use rule::{Do, End, Extra, Kind, Nth, Rule, When};

use crate::Instant;
use crate::wire::{Bhs, Opcode};

/// What goes out next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Piece {
    Bytes(Vec<u8>),
    Wait(Duration),
    End(End),
}

/// What may make rules apply.
#[derive(Debug, Clone, Copy)]
pub(super) enum Happening<'a> {
    Sends(&'a Bhs),
    Receives(&'a Bhs),
    Connects,
    LoggedIn,
    Time,
}

/// PDUs of one direction of one connection, counted.
#[derive(Debug, Clone)]
struct Count {
    of: [u32; 64],
    all: u32,
    last_login: u32,
    full_feature: u32,
}

impl Count {
    const NONE: Self = Self { of: [0; 64], all: 0, last_login: 0, full_feature: 0 };

    /// The number of this PDU among its kind; `None` if it is of another.
    fn number(&self, kind: Kind, bhs: &Bhs) -> Option<u32> {
        let code = bhs[0] & Opcode::MASK;
        match kind {
            Kind::Any => Some(self.all),
            Kind::Of(opcode) => (opcode.to_byte() == code).then(|| self.of[usize::from(code)]),
            Kind::LastLogin => ends_login(bhs).then_some(self.last_login),
            Kind::FullFeature => (!is_login(bhs)).then_some(self.full_feature),
        }
    }

    fn add(&mut self, bhs: &Bhs) {
        self.of[usize::from(bhs[0] & Opcode::MASK)] += 1;
        self.all += 1;
        self.last_login += u32::from(ends_login(bhs));
        self.full_feature += u32::from(!is_login(bhs));
    }
}

fn is_login(bhs: &Bhs) -> bool {
    matches!(Opcode::of(bhs), Some(Opcode::LoginRequest | Opcode::LoginResponse))
}

/// The rules of a [`ScriptedTarget`](super::ScriptedTarget), and how far they have come.
///
/// ```
/// use iscsi_core::testing::{Do, Rule, Script, When};
/// use iscsi_core::wire::Opcode;
/// let script = Script::new(vec![Rule::new(When::receives(Opcode::LoginRequest), Do::CLOSE)]);
/// assert_eq!(script.fired(), [0]);
/// ```
#[derive(Debug)]
pub struct Script {
    rules: Vec<Rule>,
    fired: Vec<u32>,
    /// Connections so far.
    connections: u32,
    sent: Count,
    received: Count,
    /// Bytes put out on this connection.
    bytes: u64,
    held: Vec<(When, Vec<Piece>)>,
    swapped: Vec<Piece>,
    output: VecDeque<Piece>,
    /// The output waits until then.
    resume: Option<Instant>,
    ended: Option<End>,
    began: Option<Instant>,
    now: Instant,
}

impl Default for Script {
    fn default() -> Self {
        Self::new(Vec::new())
    }
}

impl Script {
    /// A script with these rules.
    pub fn new(rules: Vec<Rule>) -> Self {
        Self { fired: alloc::vec![0; rules.len()], rules, ..Self::EMPTY }
    }

    pub(super) const EMPTY: Self = Self {
        rules: Vec::new(),
        fired: Vec::new(),
        connections: 0,
        sent: Count::NONE,
        received: Count::NONE,
        bytes: 0,
        held: Vec::new(),
        swapped: Vec::new(),
        output: VecDeque::new(),
        resume: None,
        ended: None,
        began: None,
        now: Instant::ZERO,
    };

    /// One rule more.
    pub fn add(&mut self, rule: Rule) {
        self.rules.push(rule);
        self.fired.push(0);
    }

    /// The rules.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// How often each rule has applied.
    pub fn fired(&self) -> &[u32] {
        &self.fired
    }

    /// Connections so far.
    pub const fn connections(&self) -> u32 {
        self.connections
    }

    /// How the target ended the connection, if it did.
    pub const fn ended(&self) -> Option<End> {
        self.ended
    }

    /// When something happens by itself next: a piece of output, or a rule for a time.
    pub fn next_time(&self) -> Option<Instant> {
        let began = self.began.unwrap_or(self.now);
        let at = |when: &When| match when {
            When::At(time) => Some(began + *time).filter(|at| *at > self.now),
            _ => None,
        };
        let rules = self.rules.iter().zip(&self.fired).filter(|(_, fired)| **fired == 0);
        let rules = rules.filter_map(|(rule, _)| at(&rule.when));
        let held = self.held.iter().filter_map(|(when, _)| at(when));
        rules.chain(held).chain(self.output_due()).min()
    }

    /// When the output that waits goes on.
    pub(super) const fn output_due(&self) -> Option<Instant> {
        self.resume
    }

    pub(super) fn set_now(&mut self, now: Instant) {
        self.began.get_or_insert(now);
        self.now = now;
    }

    pub(super) const fn now(&self) -> Instant {
        self.now
    }

    /// A new connection; the first has number 0.
    pub(super) fn connected(&mut self) {
        self.sent = Count::NONE;
        self.received = Count::NONE;
        self.bytes = 0;
        self.held.clear();
        self.swapped.clear();
        self.output.clear();
        self.resume = None;
        self.ended = None;
    }

    /// What the rules say to this. Counts, and lets go of what was held until this.
    pub(super) fn happens(&mut self, happening: Happening<'_>) -> Vec<Do> {
        if matches!(happening, Happening::Connects) {
            self.connections += 1;
        }
        let mut acts = Vec::new();
        for i in 0..self.rules.len() {
            let rule = &self.rules[i];
            let here = rule.connection.is_none_or(|n| n + 1 == self.connections);
            let again = self.fired[i] < rule.most
                && !(matches!(rule.when, When::At(_)) && self.fired[i] > 0);
            if here && again && self.fits(&rule.when, happening) {
                acts.push(rule.act.clone());
                self.fired[i] += 1;
            }
        }
        let mut freed = Vec::new();
        let held = core::mem::take(&mut self.held);
        for (until, pieces) in held {
            match self.fits(&until, happening) {
                true => freed.extend(pieces),
                false => self.held.push((until, pieces)),
            }
        }
        match happening {
            Happening::Sends(bhs) => self.sent.add(bhs),
            Happening::Receives(bhs) => self.received.add(bhs),
            _ => {}
        }
        self.put(freed);
        acts
    }

    fn fits(&self, when: &When, happening: Happening<'_>) -> bool {
        match (when, happening) {
            (When::Sends(kind, nth), Happening::Sends(bhs)) => {
                self.sent.number(*kind, bhs).is_some_and(|n| nth.fits(n))
            }
            (When::Receives(kind, nth), Happening::Receives(bhs)) => {
                self.received.number(*kind, bhs).is_some_and(|n| nth.fits(n))
            }
            (When::Connects, Happening::Connects) | (When::LoggedIn, Happening::LoggedIn) => true,
            (When::At(time), Happening::Time) => {
                self.began.is_some_and(|began| began + *time <= self.now)
            }
            _ => false,
        }
    }

    /// Puts out what became of a PDU.
    pub(super) fn put_pdu(&mut self, swap: bool, hold: Option<When>, pieces: Vec<Piece>) {
        if let Some(until) = hold {
            self.held.push((until, pieces));
        } else if swap {
            self.swapped.extend(pieces);
        } else {
            let swapped = core::mem::take(&mut self.swapped);
            self.put(pieces);
            self.put(swapped);
        }
    }

    /// Puts pieces out; rules that count bytes cut them.
    pub(super) fn put(&mut self, pieces: Vec<Piece>) {
        for piece in pieces {
            match piece {
                Piece::Bytes(bytes) => self.put_bytes(bytes),
                other => self.output.push_back(other),
            }
        }
    }

    fn put_bytes(&mut self, mut bytes: Vec<u8>) {
        for i in 0..self.rules.len() {
            let rule = &self.rules[i];
            let When::Bytes(at) = rule.when else { continue };
            let here = rule.connection.is_none_or(|n| n + 1 == self.connections);
            let end = self.bytes + bytes.len() as u64;
            if !here || at < self.bytes || at >= end || self.fired[i] >= rule.most {
                continue;
            }
            let what = match &rule.act {
                Do::End(end) => Piece::End(*end),
                Do::Late(time) => Piece::Wait(*time),
                Do::Raw(raw) => Piece::Bytes(raw.clone()),
                Do::Noise { seed, len } => Piece::Bytes(noise(*seed, *len)),
                other => panic!("{other:?} is nothing to do in the middle of bytes"),
            };
            self.fired[i] += 1;
            let rest = bytes.split_off((at - self.bytes) as usize);
            self.bytes = at;
            self.output.push_back(Piece::Bytes(core::mem::replace(&mut bytes, rest)));
            self.output.push_back(what);
        }
        self.bytes += bytes.len() as u64;
        self.output.push_back(Piece::Bytes(bytes));
    }

    /// The next piece that goes out now.
    pub(super) fn poll(&mut self) -> Option<Piece> {
        loop {
            if self.ended.is_some() {
                self.output.clear();
                self.resume = None;
                return None;
            }
            if self.resume.is_some_and(|at| at > self.now) {
                return None;
            }
            self.resume = None;
            match self.output.pop_front()? {
                Piece::Wait(time) => {
                    // At the end there is nothing to wait for.
                    if !self.output.is_empty() {
                        self.resume = Some(self.now + time);
                    }
                }
                Piece::End(end) => {
                    self.ended = Some(end);
                    return Some(Piece::End(end));
                }
                bytes @ Piece::Bytes(_) => return Some(bytes),
            }
        }
    }

    /// All bytes that wait, whatever they wait for.
    pub(super) fn take_bytes(&mut self) -> Vec<u8> {
        let pieces = self.output.drain(..).filter_map(|piece| match piece {
            Piece::Bytes(bytes) => Some(bytes),
            _ => None,
        });
        pieces.flatten().collect()
    }
}
