//! The simulation, in release.

use clap::Args;

use crate::process::{Failure, run_cargo};
use crate::workspace::Workspace;

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Options of the program `iscsi-sim`, such as `--seeds N`, `--first SEED`, `--scenario NAME`, `--jobs N`, `--out DIR`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<(), Failure> {
    let program = ["run", "--release", "--package", "iscsi-sim", "--bin", "iscsi-sim", "--"];
    let arguments = options.arguments.iter().map(String::as_str);
    let args: Vec<&str> = program.into_iter().chain(arguments).collect();
    run_cargo(workspace, &args, &[])
}
