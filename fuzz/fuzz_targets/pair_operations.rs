//! Fuzzes [`iscsi_sim::fuzz::pair_operations`](iscsi_sim::fuzz::pair_operations).
#![no_main]
use libfuzzer_sys::fuzz_target;
fuzz_target!(|bytes: &[u8]| iscsi_sim::fuzz::pair_operations(bytes));
