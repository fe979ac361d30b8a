//! Fuzzes [`iscsi_core::testing::fuzz::wire`](iscsi_core::testing::fuzz::wire).
#![no_main]
use libfuzzer_sys::fuzz_target;
fuzz_target!(|bytes: &[u8]| iscsi_core::testing::fuzz::wire(bytes));
