//! Fuzzes [`iscsi_core::testing::fuzz::negotiation`](iscsi_core::testing::fuzz::negotiation).
#![no_main]
use libfuzzer_sys::fuzz_target;
fuzz_target!(|bytes: &[u8]| iscsi_core::testing::fuzz::negotiation(bytes));
