//! Fuzzes [`iscsi_sim::fuzz::target_bytes`](iscsi_sim::fuzz::target_bytes).
#![no_main]
use libfuzzer_sys::fuzz_target;
fuzz_target!(|bytes: &[u8]| iscsi_sim::fuzz::target_bytes(bytes));
