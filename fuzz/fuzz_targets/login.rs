//! Fuzzes [`iscsi_core::testing::fuzz::login`](iscsi_core::testing::fuzz::login).
#![no_main]
use libfuzzer_sys::fuzz_target;
fuzz_target!(|bytes: &[u8]| iscsi_core::testing::fuzz::login(bytes));
