//! Fuzzes [`iscsi_scsi::testing::read_all`](iscsi_scsi::testing::read_all).
#![no_main]
use libfuzzer_sys::fuzz_target;
fuzz_target!(|bytes: &[u8]| iscsi_scsi::testing::read_all(bytes));
