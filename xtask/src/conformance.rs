//! The conformance matrix: every row with its verdict.
//!
//! Unlike `cargo test`, which shows a row without a verdict as ignored, this fails unless every row has one and none is open.

use clap::Args;

use crate::process::{Failure, run_cargo};
use crate::workspace::Workspace;

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Arguments for the program `iscsi-conformance`, such as `--only F-02`
    #[arg(last = true)]
    arguments: Vec<String>,
}

pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<(), Failure> {
    let mut args = vec!["run", "--quiet", "--package", "iscsi-conformance", "--"];
    args.extend(options.arguments.iter().map(String::as_str));
    run_cargo(workspace, &args, &[])
}
