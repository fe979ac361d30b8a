//! Fuzzes [`iscsi_core::testing::fuzz::chap`](iscsi_core::testing::fuzz::chap).
#![no_main]
use libfuzzer_sys::fuzz_target;
fuzz_target!(|bytes: &[u8]| iscsi_core::testing::fuzz::chap(bytes));
