//! The fuzz targets by name, and the bodies of those that are not the initiator's own.
//!
//! The same functions serve the fuzzer and the test that replays the corpus.

mod pair;
mod target_bytes;

use iscsi_core::testing::fuzz as core;

pub use pair::{
    BLIND, CUTS, MEDDLES, PAIR_SCENARIOS, RECOVERS, pair_mutated, pair_mutated_input,
    pair_operations, pair_operations_input,
};
pub use target_bytes::{LOGIN_FIRST, target_bytes};

/// A fuzz target: its name, which is also the directory of its corpus, and what it does with bytes.
pub type FuzzTarget = (&'static str, fn(&[u8]));

/// All fuzz targets.
///
/// ```
/// for (name, run) in iscsi_sim::fuzz::TARGETS {
///     assert!(name.is_ascii());
///     run(&[]);
/// }
/// ```
pub const TARGETS: &[FuzzTarget] = &[
    ("chap", core::chap),
    ("full_feature", core::full_feature),
    ("login", core::login),
    ("negotiation", core::negotiation),
    ("pair_mutated", pair_mutated),
    ("pair_operations", pair_operations),
    ("scsi", iscsi_scsi::testing::read_all),
    ("target_bytes", target_bytes),
    ("text", core::text),
    ("url", core::url),
    ("wire", core::wire),
];
