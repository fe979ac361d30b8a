//! Fuzzes [`iscsi_sim::fuzz::pair_mutated`](iscsi_sim::fuzz::pair_mutated).
#![no_main]
use libfuzzer_sys::fuzz_target;
fuzz_target!(|bytes: &[u8]| iscsi_sim::fuzz::pair_mutated(bytes));
