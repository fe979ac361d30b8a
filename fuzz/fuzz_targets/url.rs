//! Fuzzes [`iscsi_core::testing::fuzz::url`](iscsi_core::testing::fuzz::url).
#![no_main]
use libfuzzer_sys::fuzz_target;
fuzz_target!(|bytes: &[u8]| iscsi_core::testing::fuzz::url(bytes));
