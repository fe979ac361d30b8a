//! Fuzzes [`iscsi_core::testing::fuzz::full_feature`](iscsi_core::testing::fuzz::full_feature).
#![no_main]
use libfuzzer_sys::fuzz_target;
fuzz_target!(|bytes: &[u8]| iscsi_core::testing::fuzz::full_feature(bytes));
