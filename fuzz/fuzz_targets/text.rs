//! Fuzzes [`iscsi_core::testing::fuzz::text`](iscsi_core::testing::fuzz::text).
#![no_main]
use libfuzzer_sys::fuzz_target;
fuzz_target!(|bytes: &[u8]| iscsi_core::testing::fuzz::text(bytes));
