//! `cargo xtask ci`: named steps, one after the other, with a table at the end.
//!
//! The step `test` runs last and prints last: when it passes and nothing else failed, the
//! table of the other steps stands above its output, so that the run closes with the test
//! results.

mod package;
mod report;
mod steps;

use std::time::Instant;

use clap::Args;
use clap::builder::PossibleValuesParser;

use self::report::Report;
use self::steps::{STEPS, Step};
use crate::interop::REQUIRE_PEERS;
use crate::process::Failure;
use crate::workspace::Workspace;

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Print the steps and what they check, and run nothing
    #[arg(long)]
    pub(crate) list: bool,
    /// Run only this step; may be given more than once
    #[arg(long, value_name = "STEP", value_parser = PossibleValuesParser::new(STEPS.iter().map(|s| s.name)))]
    only: Vec<String>,
    /// Go on after a failed step
    #[arg(long)]
    keep_going: bool,
}

/// What a step that did not fail has to say.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Passed,
    /// The step, or a part of it, could not be run here; the text says which and why.
    Skipped(String),
}

/// Skipped, unless the environment says that nothing may be missing.
pub(crate) fn missing(what: String) -> Result<Outcome, Failure> {
    match std::env::var(REQUIRE_PEERS) {
        Ok(value) if value == "1" => Err(Failure::new(what)),
        _ => Ok(Outcome::Skipped(what)),
    }
}

/// Prints the steps in the order in which they run.
pub(crate) fn list() {
    let width = STEPS.iter().map(|step| step.name.len()).max().unwrap_or(0);
    for step in STEPS {
        println!("{:width$}  {}", step.name, step.about);
    }
}

pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<(), Failure> {
    let steps: Vec<&Step> = STEPS
        .iter()
        .filter(|step| options.only.is_empty() || options.only.iter().any(|o| o == step.name))
        .collect();
    let mut report = Report::default();
    for (i, step) in steps.iter().enumerate() {
        if step.closes_the_run && !report.is_empty() {
            println!("\n{report}");
        }
        println!("\n=== {} ({} of {}): {}", step.name, i + 1, steps.len(), step.about);
        let start = Instant::now();
        let result = (step.run)(workspace);
        if let Err(failure) = &result {
            eprintln!("{}: FAILED\n{failure}", step.name);
        }
        let failed = result.is_err();
        report.add(step.name, start.elapsed(), result);
        if failed && !options.keep_going {
            for step in &steps[i + 1..] {
                report.add_not_run(step.name);
            }
            break;
        }
    }
    let quiet = steps.last().is_some_and(|step| step.closes_the_run) && !report.has_failed();
    if !quiet {
        println!("\n{report}");
    }
    if report.has_failed() { Err(Failure::new("a step failed")) } else { Ok(()) }
}
