//! Text: `key=value` pairs, the table of keys and the rules of negotiation (RFC 7143 sections 6 and 13).
//!
//! ```text
//! bytes --Pairs--> key, value --Negotiation (key table)--> answers --Writer--> bytes
//!                                      |
//!                                      +--> Negotiated
//! ```
//!
//! [`Pairs`] cuts a complete text into pairs, [`next_pair`] does the same while the text still arrives. The table behind
//! [`Key`] holds what RFC 7143 says about each key. [`Negotiation`] works on that table for either side of a connection: the
//! initiator's login uses it, and a target can use it as acceptor.

pub mod value;

mod error;
mod key;
mod negotiated;
mod negotiation;
mod pairs;
mod preferences;
mod rule;
mod send_targets;
mod writer;

pub use error::{TextError, TextRule};
pub use key::{DefaultValue, Key, KeySet, ResultFunction, Scope, Senders, Use, ValueType};
pub use negotiated::{Limits, Negotiated, SessionType};
pub use negotiation::{Negotiation, Phase, Received, Role};
pub use pairs::{Next, Pair, Pairs, Termination, next_pair};
pub use preferences::{Digests, Preferences, TaskReporting, TaskReportings};
pub use rule::{KeyError, KeyRule};
pub use send_targets::{SendTargets, SendTargetsError, TargetItem};
pub use writer::{TextFull, Writer};
