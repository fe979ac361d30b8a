//! What must be seen, as data.

use core::fmt;
use core::ops::RangeInclusive;
use core::time::Duration;

use iscsi_core::testing::{Entry, Field, Told};
use iscsi_core::wire::{LogoutResponse, Opcode, data_segment_length};
use iscsi_core::{Direction, DiscoveryItem, LostReason, Negotiated, SessionState, SubmitError};

use crate::observe::Observation;

/// A pattern that a value must fit, with its text; made by [`pattern!`](crate::pattern).
///
/// ```
/// use iscsi_core::LostReason;
/// let lost = iscsi_conformance::pattern!(LostReason::Eof | LostReason::Transport);
/// assert!(lost.fits(&LostReason::Eof) && !lost.fits(&LostReason::Aborted));
/// ```
pub struct Pattern<T: 'static> {
    /// Its text.
    pub text: &'static str,
    /// Whether a value fits.
    pub test: fn(&T) -> bool,
}

impl<T> Pattern<T> {
    /// Whether a value fits.
    pub fn fits(&self, value: &T) -> bool {
        (self.test)(value)
    }
}

impl<T> Clone for Pattern<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Pattern<T> {}

impl<T> fmt::Debug for Pattern<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text)
    }
}

/// A [`Pattern`] from a Rust pattern.
#[macro_export]
macro_rules! pattern {
    ($pattern:pat $(if $guard:expr)?) => {
        $crate::Pattern {
            text: stringify!($pattern $(if $guard)?),
            test: |value| matches!(value, $pattern $(if $guard)?),
        }
    };
}

/// The session fails for a reason that fits the pattern, and the connection is closed.
#[macro_export]
macro_rules! fails {
    ($pattern:pat) => {
        $crate::Expect::Fails($crate::pattern!($pattern))
    };
}

/// The session fails because of this [`ProtocolError`](iscsi_core::ProtocolError).
#[macro_export]
macro_rules! breaks {
    ($name:ident) => {
        $crate::fails!(iscsi_core::LostReason::Protocol(iscsi_core::ProtocolError::$name))
    };
    ($name:ident ( $($inner:tt)* )) => {
        $crate::fails!(iscsi_core::LostReason::Protocol(iscsi_core::ProtocolError::$name($($inner)*)))
    };
    ($name:ident { $($inner:tt)* }) => {
        $crate::fails!(iscsi_core::LostReason::Protocol(iscsi_core::ProtocolError::$name { $($inner)* }))
    };
}

/// The session fails because of this [`FormatError`](iscsi_core::wire::FormatError).
#[macro_export]
macro_rules! format_breaks {
    ($name:ident $($inner:tt)*) => {
        $crate::breaks!(Format(iscsi_core::wire::FormatError::$name $($inner)*))
    };
}

/// The login fails because of this [`LoginRule`](iscsi_core::login::LoginRule).
#[macro_export]
macro_rules! login_breaks {
    ($rule:ident) => {
        $crate::breaks!(Login(iscsi_core::login::LoginError::Rule(
            iscsi_core::login::LoginRule::$rule
        )))
    };
}

/// The login fails because of this [`AuthRule`](iscsi_core::auth::AuthRule).
#[macro_export]
macro_rules! auth_breaks {
    ($name:ident $($inner:tt)*) => {
        $crate::breaks!(Login(iscsi_core::login::LoginError::Auth(
            iscsi_core::auth::AuthRule::$name $($inner)*
        )))
    };
}

/// The login fails because of this [`Key`](iscsi_core::text::Key) and [`KeyRule`](iscsi_core::text::KeyRule).
#[macro_export]
macro_rules! key_breaks {
    ($key:ident, $rule:ident $($inner:tt)*) => {
        $crate::breaks!(Login(iscsi_core::login::LoginError::Key(iscsi_core::text::KeyError {
            key: Some(iscsi_core::text::Key::$key),
            rule: iscsi_core::text::KeyRule::$rule $($inner)*,
        })))
    };
}

/// The login fails because its text breaks this [`TextRule`](iscsi_core::text::TextRule).
#[macro_export]
macro_rules! text_breaks {
    ($rule:ident) => {
        $crate::breaks!(Login(iscsi_core::login::LoginError::Text(iscsi_core::text::TextError {
            rule: iscsi_core::text::TextRule::$rule,
            ..
        })))
    };
}

/// The target refuses the login with this class and detail.
#[macro_export]
macro_rules! refused {
    ($class:pat, $detail:pat) => {
        $crate::fails!(iscsi_core::LostReason::LoginRefused(iscsi_core::wire::LoginStatus {
            class: $class,
            detail: $detail,
        }))
    };
}

/// What must be seen in a run.
///
/// ```
/// use iscsi_conformance::{Expect, Pdus, fails};
/// use iscsi_core::LostReason;
/// use iscsi_core::wire::Opcode;
/// let expect = Expect::All(vec![
///     fails!(LostReason::Eof),
///     Expect::Count(Pdus::sent(Opcode::LoginRequest), 1..=1),
/// ]);
/// assert!(expect.is_rejection());
/// ```
#[derive(Debug, Clone)]
pub enum Expect {
    /// All of them.
    All(Vec<Self>),
    /// At least one of them.
    Any(Vec<Self>),
    /// Not this one.
    Not(Box<Self>),
    /// The run ends well: every task of the application is good and verified, and so is the final READ; a discovery is complete; a
    /// session that was logged out is closed.
    Works,
    /// The same without the application's tasks: the session goes on, and the final READ is verified.
    GoesOn,
    /// The session fails for this reason, the connection is closed, every task ends.
    Fails(Pattern<LostReason>),
    /// The session stands so at the end.
    Ends(Pattern<SessionState>),
    /// The first failure or close of the session is this long after the run's beginning.
    OverAt(RangeInclusive<Duration>),
    /// The whole run takes no longer.
    TakesAtMost(Duration),
    /// The task with this number ends so.
    Task(usize, Pattern<Told>),
    /// The task with this number is good, and its data is right.
    TaskGood(usize),
    /// No byte of this task was placed.
    Untouched(usize),
    /// Some event fits.
    Told(Pattern<Told>),
    /// What was negotiated at the last login fits.
    Negotiated(Pattern<Negotiated>),
    /// The job with this number is refused.
    Refused(usize, Pattern<SubmitError>),
    /// The target answered the last Logout Request so.
    LoggedOut(Pattern<Option<LogoutResponse>>),
    /// Some item of the discovery fits.
    Item(Pattern<DiscoveryItem>),
    /// An asynchronous message with this event code was told, with this sense data.
    Notice(u8, Vec<u8>),
    /// So many connections were tried.
    Connections(RangeInclusive<usize>),
    /// The connection with this number went to this address.
    ConnectsTo(usize, &'static str),
    /// The connection with this number was tried this long after the end of the one before.
    Waits(usize, RangeInclusive<Duration>),
    /// So many PDUs were sent.
    Count(Pdus, RangeInclusive<usize>),
    /// The field of each of these PDUs, of which there is at least one.
    Field(Pdus, Field, Is),
    /// DataSegmentLength of each of these PDUs.
    Length(Pdus, Is),
    /// The text of one of these PDUs holds this pair.
    Pair(Pdus, &'static str),
    /// The text of none of these PDUs holds this key.
    NoKey(Pdus, &'static str),
    /// Each of the first PDUs is followed within this time by one of the second.
    Answered(Pdus, Pdus, Duration),
    /// The engine has taken no more than so many bytes of the last connection.
    TakenAtMost(u64),
    /// Anything else.
    Law(Law),
}

/// A check that is no other kind of expectation.
///
/// ```
/// use iscsi_conformance::Law;
/// let law = Law { name: "nothing", check: |_| Ok(()) };
/// assert_eq!(format!("{law:?}"), "Law(nothing)");
/// ```
#[derive(Clone, Copy)]
pub struct Law {
    /// What it is called; equal names are equal checks.
    pub name: &'static str,
    /// The check.
    pub check: fn(&Observation) -> Result<(), String>,
}

impl fmt::Debug for Law {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Law({})", self.name)
    }
}

/// Some PDUs of a run.
///
/// ```
/// use iscsi_conformance::{Pdus, Which};
/// use iscsi_core::wire::Opcode;
/// assert_eq!(Pdus::sent(Opcode::ScsiCommand).nth(1).which, Which::Nth(1));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pdus {
    /// Sent by the initiator, or received by it.
    pub direction: Direction,
    /// Their kind; all of them without.
    pub opcode: Option<Opcode>,
    /// Only of this connection, the first being 0.
    pub connection: Option<u32>,
    /// Only with this value of a field.
    pub fields: Vec<(Field, u64)>,
    /// Which of those.
    pub which: Which,
}

/// Which of several.
///
/// ```
/// assert_ne!(iscsi_conformance::Which::Each, iscsi_conformance::Which::Last);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// All.
    Each,
    /// This one, from 0.
    Nth(usize),
    /// The last one.
    Last,
}

impl Pdus {
    /// What the initiator sent of this kind.
    pub const fn sent(opcode: Opcode) -> Self {
        Self::of(Direction::Sent, Some(opcode))
    }

    /// What the initiator received of this kind.
    pub const fn received(opcode: Opcode) -> Self {
        Self::of(Direction::Received, Some(opcode))
    }

    /// Everything that the initiator sent.
    pub const fn all_sent() -> Self {
        Self::of(Direction::Sent, None)
    }

    const fn of(direction: Direction, opcode: Option<Opcode>) -> Self {
        Self { direction, opcode, connection: None, fields: Vec::new(), which: Which::Each }
    }

    /// Only the one with this number, from 0.
    #[must_use]
    pub const fn nth(mut self, number: usize) -> Self {
        self.which = Which::Nth(number);
        self
    }

    /// Only the first.
    #[must_use]
    pub const fn first(self) -> Self {
        self.nth(0)
    }

    /// Only the last.
    #[must_use]
    pub const fn last(mut self) -> Self {
        self.which = Which::Last;
        self
    }

    /// Only of this connection, the first being 0.
    #[must_use]
    pub const fn on(mut self, connection: u32) -> Self {
        self.connection = Some(connection);
        self
    }

    /// Only with this value of a field.
    #[must_use]
    pub fn with(mut self, field: Field, value: u64) -> Self {
        self.fields.push((field, value));
        self
    }

    /// The PDUs that are meant.
    pub fn find<'a>(&self, observation: &'a Observation) -> Vec<&'a Entry> {
        let found = observation.pdus.iter().filter(|entry| {
            entry.direction == self.direction
                && self.opcode.is_none_or(|opcode| Opcode::of(&entry.bhs) == Some(opcode))
                && self.connection.is_none_or(|connection| connection == entry.connection)
                && self.fields.iter().all(|(field, value)| field.get(&entry.bhs) == *value)
        });
        let found: Vec<&Entry> = found.collect();
        match self.which {
            Which::Each => found,
            Which::Nth(n) => found.get(n).copied().into_iter().collect(),
            Which::Last => found.last().copied().into_iter().collect(),
        }
    }
}

/// What a number must be.
///
/// ```
/// use iscsi_conformance::Is;
/// assert!(matches!(Is::AtMost(512), Is::AtMost(_)));
/// ```
#[derive(Debug, Clone)]
pub enum Is {
    /// This.
    Value(u64),
    /// Not this.
    Not(u64),
    /// No more than this.
    AtMost(u64),
    /// The field of the first of these PDUs, plus this.
    Same(Pdus, Field, i64),
    /// One more for each of the PDUs, beginning with the field of the first of these.
    Counts(Pdus, Field, i64),
}

impl Is {
    /// What number `n` of the PDUs must be, as a check.
    fn holds(&self, value: u64, n: usize, field: Field, seen: &Observation) -> Result<(), String> {
        let base = |pdus: &Pdus, base: &Field, plus: i64| {
            let entry = pdus.find(seen).first().copied();
            let entry = entry.ok_or_else(|| format!("there is none of {pdus:?}"))?;
            let mut bhs = entry.bhs;
            let value = base.get(&bhs).wrapping_add_signed(plus);
            // With the wrap-around of the field.
            field.set(&mut bhs, value);
            Ok::<_, String>(field.get(&bhs))
        };
        let wanted = match self {
            Self::Value(wanted) => *wanted,
            Self::Not(other) if value != *other => return Ok(()),
            Self::AtMost(most) if value <= *most => return Ok(()),
            Self::Not(_) | Self::AtMost(_) => return Err(format!("{value:#x} is not {self:?}")),
            Self::Same(pdus, from, plus) => base(pdus, from, *plus)?,
            Self::Counts(pdus, from, plus) => base(pdus, from, *plus + n as i64)?,
        };
        if value == wanted { Ok(()) } else { Err(format!("{value:#x} instead of {wanted:#x}")) }
    }
}

impl Expect {
    /// The session fails, whatever else is asked.
    pub fn is_rejection(&self) -> bool {
        match self {
            Self::Fails(_) => true,
            Self::All(all) => all.iter().any(Self::is_rejection),
            Self::Any(any) => any.iter().all(Self::is_rejection),
            _ => false,
        }
    }

    /// Whether it holds, and if not, why.
    ///
    /// # Errors
    /// What was seen instead.
    pub fn check(&self, seen: &Observation) -> Result<(), String> {
        let need = |holds: bool, what: &dyn Fn() -> String| {
            if holds { Ok(()) } else { Err(format!("{self:?}: {}", what())) }
        };
        match self {
            Self::All(all) => all.iter().try_for_each(|one| one.check(seen)),
            Self::Any(any) => {
                let fits = any.iter().any(|one| one.check(seen).is_ok());
                need(fits, &|| format!("the session ended as {:?}", seen.end))
            }
            Self::Not(one) => need(one.check(seen).is_err(), &|| "it holds".into()),
            Self::Works => seen.works(true),
            Self::GoesOn => seen.works(false),
            Self::Fails(pattern) => seen.fails(pattern),
            Self::Ends(pattern) => need(pattern.fits(&seen.end), &|| format!("{:?}", seen.end)),
            Self::OverAt(range) => {
                let at = seen.over_at();
                need(at.is_some_and(|at| range.contains(&at)), &|| format!("{at:?}"))
            }
            Self::TakesAtMost(most) => {
                need(seen.took <= *most, &|| format!("it took {:?}", seen.took))
            }
            Self::Task(n, pattern) => {
                let end = seen.task_end(*n)?;
                need(pattern.fits(end), &|| format!("{end:?}"))
            }
            Self::TaskGood(n) => {
                let end = seen.task_end(*n)?;
                need(seen.tasks[*n].good, &|| format!("{end:?}"))
            }
            Self::Untouched(n) => {
                let task = seen.tasks.get(*n).ok_or("there is no such task")?;
                need(task.untouched, &|| "bytes were placed".into())
            }
            Self::Told(pattern) => {
                let told = seen.told.iter().any(|(_, told)| pattern.fits(told));
                need(told, &|| format!("{:?}", seen.told))
            }
            Self::Negotiated(pattern) => {
                let last = seen.negotiated.last();
                need(last.is_some_and(|last| pattern.fits(last)), &|| format!("{last:?}"))
            }
            Self::Refused(job, pattern) => {
                let refused = seen.refused.get(job);
                need(refused.is_some_and(|error| pattern.fits(error)), &|| format!("{refused:?}"))
            }
            Self::LoggedOut(pattern) => {
                let answer = &seen.logout_response;
                need(pattern.fits(answer), &|| format!("{answer:?}"))
            }
            Self::Item(pattern) => {
                let found = seen.items.iter().any(|item| pattern.fits(item));
                need(found, &|| format!("{:?}", seen.items))
            }
            Self::Notice(code, sense) => {
                let found = seen.notices.iter().any(|n| n.code == *code && n.sense == *sense);
                need(found, &|| format!("{:?}", seen.notices))
            }
            Self::Connections(range) => need(range.contains(&seen.connections.len()), &|| {
                format!("there were {}", seen.connections.len())
            }),
            Self::ConnectsTo(n, portal) => {
                let to = seen.connections.get(*n).map(|c| c.portal.as_str());
                need(to == Some(portal), &|| format!("{to:?}"))
            }
            Self::Waits(n, range) => {
                let waited = seen.waited(*n);
                need(waited.is_some_and(|time| range.contains(&time)), &|| format!("{waited:?}"))
            }
            Self::Count(pdus, range) => {
                let count = pdus.find(seen).len();
                need(range.contains(&count), &|| format!("there are {count}"))
            }
            Self::Field(pdus, field, is) => {
                let found = pdus.find(seen);
                need(!found.is_empty(), &|| "there is none".into())?;
                for (n, entry) in found.iter().enumerate() {
                    is.holds(field.get(&entry.bhs), n, *field, seen)
                        .map_err(|why| format!("{self:?}: {why} in number {n}"))?;
                }
                Ok(())
            }
            Self::Length(pdus, is) => {
                let found = pdus.find(seen);
                need(!found.is_empty(), &|| "there is none".into())?;
                for (n, entry) in found.iter().enumerate() {
                    let length = u64::from(data_segment_length(&entry.bhs));
                    is.holds(length, n, Field::DATA_SEGMENT_LENGTH, seen)
                        .map_err(|why| format!("{self:?}: {why} in number {n}"))?;
                }
                Ok(())
            }
            Self::Pair(pdus, pair) => {
                let found = pdus.find(seen);
                let has = found.iter().any(|e| pairs(e).any(|p| p == pair.as_bytes()));
                let texts: Vec<_> =
                    found.iter().map(|e| String::from_utf8_lossy(&e.data)).collect();
                need(has, &|| format!("{texts:?}"))
            }
            Self::NoKey(pdus, key) => {
                let starts = |pair: &[u8]| {
                    pair.strip_prefix(key.as_bytes()).is_some_and(|rest| rest.starts_with(b"="))
                };
                let has = pdus.find(seen).iter().any(|e| pairs(e).any(starts));
                need(!has, &|| "it is there".into())
            }
            Self::Answered(causes, answers, time) => {
                let (causes, answers) = (causes.find(seen), answers.find(seen));
                let fits = !causes.is_empty() && answers.len() >= causes.len();
                need(fits, &|| format!("{} for {}", answers.len(), causes.len()))?;
                let late = causes.iter().zip(answers).find(|(cause, answer)| {
                    answer.at < cause.at || answer.at.saturating_since(cause.at) > *time
                });
                need(late.is_none(), &|| format!("{late:?}"))
            }
            Self::TakenAtMost(most) => {
                need(seen.bytes_taken <= *most, &|| format!("{} bytes", seen.bytes_taken))
            }
            Self::Law(law) => (law.check)(seen).map_err(|why| format!("{law:?}: {why}")),
        }
    }
}

/// The pairs of a text, without their zero bytes.
fn pairs(entry: &Entry) -> impl Iterator<Item = &[u8]> {
    entry.data.split(|byte| *byte == 0).filter(|pair| !pair.is_empty())
}
