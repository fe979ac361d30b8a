//! The repeated chores of this workspace, one command each.
//!
//! ```text
//! cargo xtask ci                  every check, as continuous integration runs it
//! cargo xtask ci --list           the steps by name
//! cargo xtask ci --only clippy    one step (repeat the option for more)
//! cargo xtask ci --keep-going     all steps even after a failure
//! cargo xtask interop             the tests that need a real target or initiator
//! cargo xtask conformance         the 368 rows of the conformance matrix
//! cargo xtask sim --seeds N       both engines against each other in virtual time, with faults
//! cargo xtask fuzz                the fuzz targets, each for a minute or as long as told
//! cargo xtask instructions        what the engine's operations cost in instructions
//! cargo xtask bench-peers         its speed beside libiscsi's
//! cargo xtask firmware            the firmware in an emulator against this project's target
//! cargo xtask firmware-size       what the engine costs on a microcontroller
//! ```
//!
//! A step is one row of the table in `ci/steps.rs`. What a step decides on its own (feature
//! sets, import rules, the commands in README.md) is a module with unit tests beside it.

extern crate alloc;

mod bench;
mod checks;
mod ci;
mod conformance;
mod features;
mod firmware;
mod fuzz;
mod interop;
mod process;
mod sim;
mod target;
mod toolchain;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::process::Failure;
use crate::workspace::Workspace;

/// Repeated chores of this workspace.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    command: Chore,
}

#[derive(Debug, Subcommand)]
enum Chore {
    /// Run every check; the tests come last
    Ci(ci::Options),
    /// Run only the tests that talk to a real peer (test targets named `peer_*`)
    Interop(interop::Options),
    /// Run the conformance matrix and print a line for each row
    Conformance(conformance::Options),
    /// Play the engines against each other, many seeds, in release
    Sim(sim::Options),
    /// Run the fuzz targets; needs a nightly compiler and cargo-fuzz
    Fuzz(fuzz::Options),
    /// Count the instructions of the engine's operations and compare with those that are recorded
    Instructions(bench::instructions::Options),
    /// Measure `iscsi-perf` beside libiscsi's and beside `qemu-img bench`
    BenchPeers(bench::peers::Options),
    /// Build `examples/firmware` and run it in an emulator against the target, well and ill
    Firmware,
    /// Measure the code and memory of `examples/firmware` and of its parts
    FirmwareSize(firmware::size::Options),
}

fn run(cli: &Cli) -> Result<(), Failure> {
    match &cli.command {
        Chore::Ci(options) if options.list => {
            ci::list();
            Ok(())
        }
        Chore::Ci(options) => ci::run(&Workspace::load()?, options),
        Chore::Interop(options) => interop::run(&Workspace::load()?, options),
        Chore::Conformance(options) => conformance::run(&Workspace::load()?, options),
        Chore::Sim(options) => sim::run(&Workspace::load()?, options),
        Chore::Fuzz(options) => fuzz::run_all(&Workspace::load()?, options),
        Chore::Instructions(options) => bench::instructions::run(&Workspace::load()?, options),
        Chore::BenchPeers(options) => bench::peers::run(&Workspace::load()?, options),
        Chore::Firmware => firmware::run_all(&Workspace::load()?),
        Chore::FirmwareSize(options) => firmware::size::run(&Workspace::load()?, options),
    }
}

fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("error: {failure}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        <Cli as clap::CommandFactory>::command().debug_assert();
    }

    #[test]
    fn the_simulation_gets_its_options() {
        assert!(Cli::try_parse_from(["xtask", "sim", "--seeds", "5", "--out", "x"]).is_ok());
    }

    #[test]
    fn an_unknown_step_is_refused() {
        assert!(Cli::try_parse_from(["xtask", "ci", "--only", "clippy"]).is_ok());
        assert!(Cli::try_parse_from(["xtask", "ci", "--only", "clipy"]).is_err());
    }
}
