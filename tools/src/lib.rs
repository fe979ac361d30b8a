//! The programs `iscsi-ls`, `iscsi-inq`, `iscsi-readcapacity16`, `iscsi-dd`, `iscsi-perf` and `iscsi-demo`.
//!
//! One module holds each of them, with the function that its binary calls; the other modules hold what they share. What the
//! programs do, and where they differ from libiscsi's, stands in this crate's README.
#![forbid(unsafe_code)]

pub mod dd;
pub mod demo;
pub mod inq;
pub mod ls;
pub mod perf;
pub mod readcapacity16;

mod args;
mod connect;
mod disk;
mod env;
mod inquiry;
mod json;
mod output;
mod signals;
mod unit;
mod units;
