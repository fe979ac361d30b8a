//! The conformance matrix of `iscsi-core`: 368 checks of an iSCSI initiator (RFC 7143), each a test with an id.
//!
//! A row is data: a set-up of both sides and of the application, rules by which the target deviates from an honest one
//! ([`iscsi_core::testing::script`]), and what must be seen. [`Case::check`] says how it is judged. The engine is driven through its public
//! functions only.
//!
//! ```text
//! rows.tsv         ids, basis, sections and titles of all rows, in order
//! src/rows/*.rs    one file or more for each family: id -> cases
//! src/case.rs      Row, Verdict, Case, Setup, Job
//! src/expect.rs    Expect, Pdus, Is, Pattern and the macros that make patterns
//! src/play.rs      one run in virtual time       src/observe.rs   what was seen in it
//! src/check.rs     the judgement of a case       src/matrix.rs    the list and the rows together
//! ```
//!
//! ```
//! use iscsi_conformance::{Case, Row, Setup, format_breaks};
//! use iscsi_core::testing::{Do, Field, When};
//! use iscsi_core::wire::Opcode;
//!
//! let case = Case::new("Data-In", Setup::reading())
//!     .rule(When::sends(Opcode::DataIn), Do::Set(Field::TOTAL_AHS_LENGTH, 1))
//!     .expect(format_breaks!(UnexpectedAhs(1)));
//! assert_eq!(Row::pass("F-04", vec![case]).check(), Ok(()));
//! ```

mod case;
mod check;
mod expect;
mod matrix;
mod observe;
mod play;
mod rows;

pub use case::{Case, Direct, Job, Request, Row, Serving, Setup, TARGET, Verdict};
pub use expect::{Expect, Is, Law, Pattern, Pdus, Which};
pub use matrix::{Item, MOST_NOT_APPLICABLE, Matrix, list};
pub use observe::{Attempt, Notice, Observation, Task};
pub use play::play;
