//! The tests that talk to somebody else's target or initiator.
//!
//! Such a test is a test target whose name starts with `peer_` (`tools/tests/peer_tgtd.rs`). It
//! uses libtest-mimic, so that a missing peer shows as `ignored` by name; with
//! `ISCSI_REQUIRE_PEERS=1` in the environment a missing peer is a failure. This command sets
//! that variable, as `.ci/run` does.

use clap::Args;

use crate::process::{Failure, run_cargo};
use crate::workspace::Workspace;

/// The environment variable that turns a missing peer into a failure.
pub(crate) const REQUIRE_PEERS: &str = "ISCSI_REQUIRE_PEERS";
const PREFIX: &str = "peer_";

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Let a test whose peer is missing be ignored instead of failing
    #[arg(long)]
    allow_missing: bool,
    /// Arguments for the test programs, such as a part of a test's name
    #[arg(last = true)]
    arguments: Vec<String>,
}

pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<(), Failure> {
    let env: &[_] = if options.allow_missing { &[] } else { &[(REQUIRE_PEERS, "1")] };
    let mut found = false;
    for package in &workspace.packages {
        let names: Vec<&str> =
            package.targets("test").filter(|name| name.starts_with(PREFIX)).collect();
        if names.is_empty() {
            continue;
        }
        found = true;
        let mut args = vec!["test", "--package", &package.name];
        args.extend(names.iter().flat_map(|&name| ["--test", name]));
        if !options.arguments.is_empty() {
            args.push("--");
            args.extend(options.arguments.iter().map(String::as_str));
        }
        run_cargo(workspace, &args, env)?;
    }
    // A run that tested nothing must not look like one that passed.
    if found { Ok(()) } else { Err(Failure::new(format!("no test target starts with `{PREFIX}`"))) }
}
