//! The initiator's engine and the target's engine against each other, in virtual time, over a link with faults.
//!
//! ```text
//!   application          initiator                link               target            disks
//!   jobs, aborts  <-->  StrictDriver  <-->  pipes with faults  <-->  engine  <-->  RAM, compared
//!        |                                         |                                with a model
//!        +---- every task ends once                +---- every header is checked
//! ```
//!
//! Everything in a run comes from its seed: sizes, limits, faults, what the application does. The same seed gives the same run.
//! [`play`] plays one and returns what was found; [`record`] does the same and keeps a capture and a log. What may go wrong in which
//! [`Scenario`] stands in one place, beside that type.
//!
//! ```
//! use iscsi_sim::{Scenario, play};
//! let report = play(1, Scenario::Network).unwrap();
//! assert!(report.tasks > 0 && report.connections == 1);
//! ```

mod app;
mod catch;
mod comeback;
mod count;
mod far;
pub mod fuzz;
mod job;
mod log;
mod model;
mod mutate;
mod operations;
mod pair;
mod replay;
mod run;
mod sabotage;
mod scenario;
mod setup;
mod watch;

pub use operations::operations;
pub use run::{Failure, Recording, Report, play, record, sabotage};
pub use sabotage::Sabotage;
pub use scenario::{Scenario, UnknownScenario};

/// What was found, in words.
type Finding = String;
