//! The target of a comparison: this project's, with a null disk.

use std::fs;
use std::path::Path;
use std::time::Duration;

use super::Digests;
use crate::process::Failure;
use crate::target::TargetProcess;

const NAME: &str = "iqn.2001-04.com.example:null";

/// Large enough that no run comes to the end often, small enough that READ(10) would do.
const SIZE: &str = "64G";

/// A process that ends with the value.
#[derive(Debug)]
pub(super) struct NullTarget(TargetProcess);

impl NullTarget {
    pub(super) fn start(
        program: &Path,
        digests: Digests,
        congestion: &str,
    ) -> Result<Self, Failure> {
        let (header, data) = match digests {
            Digests::None => ("none", "none"),
            Digests::Header => ("required", "none"),
            Digests::Both => ("required", "required"),
        };
        let target = TargetProcess::start(program, |command| {
            command.args(["--target", NAME, "--null", SIZE]);
            command.args(["--header-digest", header, "--data-digest", data]);
            command.args(["--congestion", congestion]);
        })?;
        Ok(Self(target))
    }

    pub(super) fn url(&self) -> String {
        format!("iscsi://127.0.0.1:{}/{NAME}/0", self.0.port())
    }

    /// The processor time that its threads have taken since it was started.
    pub(super) fn cpu(&self) -> Duration {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.0.id()));
        let threads = tasks.into_iter().flatten().flatten();
        let nanos = threads.filter_map(|thread| {
            let text = fs::read_to_string(thread.path().join("schedstat")).ok()?;
            text.split_whitespace().next()?.parse::<u64>().ok()
        });
        Duration::from_nanos(nanos.sum())
    }
}
