//! `cargo xtask instructions`: what the engine's operations take, counted by callgrind.
//!
//! The counts are those of `benches/benches/instructions.rs`, taken by gungraun. They do not depend on what else the machine does, and valgrind shows
//! every processor of a kind as the same one; so a small change of a count is a change of the code, or of the compiler.

use alloc::collections::BTreeMap;
use core::fmt::Write as _;
use std::env;
use std::fs;
use std::path::PathBuf;
use std::process::Stdio;

use clap::Args;
use serde_json::Value;

use super::programs::said;
use crate::ci::{Outcome, missing};
use crate::process::{Failure, cargo};
use crate::workspace::Workspace;

const PACKAGE: &str = "iscsi-benches";
const BENCH: &str = "instructions";
/// The figures that were agreed upon: a name and a number on each line.
const RECORD: &str = "benches/instructions.txt";
/// Counts of one processor's instructions.
const ARCHITECTURE: &str = "x86_64";
const OTHER_MACHINE: &str = "the recorded counts are those of x86-64";

const RUNNER: &str = "gungraun-runner";
/// The runner must be of the version of the library.
const LIBRARY: &str = "gungraun";

/// How much more than recorded is too much, in percent.
const LIMIT: u64 = 5;

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Record the figures
    #[arg(long)]
    update: bool,
}

/// Instructions by name.
type Counts = BTreeMap<String, u64>;

pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<(), Failure> {
    if let Some(what) = what_is_missing(workspace)? {
        return Err(Failure::new(what));
    }
    let counts = count(workspace)?;
    if !options.update {
        return compare(workspace, &counts);
    }
    let old = fs::read_to_string(record(workspace)).unwrap_or_default();
    print!("{}", table(&counts, &parse(&old)?));
    fs::write(record(workspace), text(&counts))
        .map_err(|error| Failure::new(format!("{RECORD}: {error}")))
}

/// The step of `cargo xtask ci`.
pub(crate) fn check(workspace: &Workspace) -> Result<Outcome, Failure> {
    if env::consts::ARCH != ARCHITECTURE {
        // Nothing that could be installed would help.
        return Ok(Outcome::Skipped(OTHER_MACHINE.into()));
    }
    if let Some(what) = what_is_missing(workspace)? {
        return missing(what);
    }
    compare(workspace, &count(workspace)?).map(|()| Outcome::Passed)
}

fn compare(workspace: &Workspace, counts: &Counts) -> Result<(), Failure> {
    let recorded = fs::read_to_string(record(workspace))
        .map_err(|error| Failure::new(format!("{RECORD}: {error}")))?;
    let recorded = parse(&recorded)?;
    print!("{}", table(counts, &recorded));
    Failure::unless_empty(&complaints(counts, &recorded))
}

fn record(workspace: &Workspace) -> PathBuf {
    workspace.root.join(RECORD)
}

fn what_is_missing(workspace: &Workspace) -> Result<Option<String>, Failure> {
    if env::consts::ARCH != ARCHITECTURE {
        return Ok(Some(OTHER_MACHINE.into()));
    }
    if said("valgrind", &["--version"]).is_none() {
        return Ok(Some("valgrind is not installed".into()));
    }
    let lock = fs::read_to_string(workspace.root.join("Cargo.lock"))
        .map_err(|error| Failure::new(format!("Cargo.lock: {error}")))?;
    let Some(version) = locked_version(&lock, LIBRARY) else {
        return Err(Failure::new(format!("Cargo.lock knows no {LIBRARY}")));
    };
    let wanted = format!("{RUNNER} {version}");
    let found = said(RUNNER, &["--version"]).unwrap_or_default();
    let found = found.trim();
    Ok((found != wanted).then(|| {
        let found = if found.is_empty() { "none" } else { found };
        format!("no {wanted} ({found}): cargo install --locked {RUNNER} --version ={version}")
    }))
}

fn locked_version<'a>(lock: &'a str, package: &str) -> Option<&'a str> {
    let (_, rest) = lock.split_once(&format!("name = \"{package}\"\nversion = \""))?;
    rest.split('"').next()
}

/// Runs the bench. Its documents go to standard output, one on a line, all else to standard error.
fn count(workspace: &Workspace) -> Result<Counts, Failure> {
    let args = ["bench", "--package", PACKAGE, "--bench", BENCH, "--", "--output-format=json"];
    let line = format!("cargo {}", args.join(" "));
    println!("$ {line}");
    let output = cargo()
        .args(args)
        .current_dir(&workspace.root)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| Failure::new(format!("`{line}` did not start: {error}")))?;
    if !output.status.success() {
        return Err(Failure::new(format!("`{line}`: {}", output.status)));
    }
    let mut counts = Counts::new();
    for document in String::from_utf8_lossy(&output.stdout).lines() {
        let document = serde_json::from_str(document)
            .map_err(|error| Failure::new(format!("the bench said {document}: {error}")))?;
        let (name, count) = figure(&document)
            .ok_or_else(|| Failure::new(format!("no instructions in {document}")))?;
        if counts.insert(name.clone(), count).is_some() {
            return Err(Failure::new(format!("{name} was counted twice")));
        }
    }
    if counts.is_empty() { Err(Failure::new("the bench counted nothing")) } else { Ok(counts) }
}

/// The name and the instructions of one bench, from gungraun's summary of it (version 7 of its form).
fn figure(document: &Value) -> Option<(String, u64)> {
    let part = |key: &str| document.get(key)?.as_str();
    let name = [part("group")?, part("function_name")?, part("id")?].join("::");
    let profiles = document.get("profiles")?.as_array()?;
    let callgrind = profiles.iter().find(|profile| profile["tool"] == "Callgrind")?;
    let count = callgrind.pointer("/data/total/metrics/Ir/values/new")?.as_u64()?;
    Some((name, count))
}

fn parse(text: &str) -> Result<Counts, Failure> {
    let figures = text.lines().filter(|line| !line.starts_with('#')).map(|line| {
        let (name, count) = line.split_once(' ')?;
        Some((name.to_owned(), count.trim().parse().ok()?))
    });
    figures.collect::<Option<_>>().ok_or_else(|| {
        Failure::new(format!("{RECORD}: a line is no name and number; record it with --update"))
    })
}

/// What [`parse`] reads.
fn text(counts: &Counts) -> String {
    let mut text = String::from(
        "# Instructions on x86-64, counted by callgrind. Written by: cargo xtask instructions --update\n",
    );
    let width = counts.keys().map(String::len).max().unwrap_or(0);
    for (name, count) in counts {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{name:width$} {count:>9}");
    }
    text
}

/// For people: each figure with its difference in percent.
fn table(counts: &Counts, recorded: &Counts) -> String {
    let mut text = String::new();
    let width = counts.keys().map(String::len).max().unwrap_or(0);
    for (name, &count) in counts {
        let difference = match recorded.get(name) {
            None => "new".into(),
            Some(&old) if old == count => "=".into(),
            Some(&old) => format!("{:+.2} %", percent(count, old)),
        };
        let _ = writeln!(text, "{name:width$} {count:>9}  {difference}");
    }
    text
}

fn percent(count: u64, old: u64) -> f64 {
    (count as f64 / old as f64 - 1.0) * 100.0
}

fn complaints(counts: &Counts, recorded: &Counts) -> Vec<String> {
    let mut complaints = Vec::new();
    for (name, &count) in counts {
        match recorded.get(name) {
            None => complaints.push(format!("{name} is not recorded")),
            Some(&old) if count * 100 > old * (100 + LIMIT) => complaints.push(format!(
                "{name} takes {count} instructions, {:+.2} % over {old}",
                percent(count, old)
            )),
            Some(_) => {}
        }
    }
    let gone = recorded.keys().filter(|name| !counts.contains_key(*name));
    complaints.extend(gone.map(|name| format!("{name} is recorded and was not counted")));
    if !complaints.is_empty() {
        complaints.push("mend it, or if it is meant: cargo xtask instructions --update".to_owned());
    }
    complaints
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(figures: &[(&str, u64)]) -> Counts {
        figures.iter().map(|&(name, count)| (name.to_owned(), count)).collect()
    }

    #[test]
    fn a_summary_is_read() {
        let summary = serde_json::json!({
            "group": "wire", "function_name": "parse", "id": "r2t", "version": "7",
            "profiles": [{ "tool": "Callgrind", "data": { "total": { "metrics": {
                "Ir": { "change": { "factor": "1" }, "values": { "new": 8608, "old": 8607 } },
            } } } }],
        });
        assert_eq!(figure(&summary), Some(("wire::parse::r2t".into(), 8608)));
        assert_eq!(figure(&serde_json::json!({ "group": "wire" })), None);
    }

    #[test]
    fn what_is_written_is_read() {
        let figures = counts(&[("a::b::c", 7), ("longer::than::that", 123_456)]);
        assert_eq!(parse(&text(&figures)).unwrap(), figures);
        assert!(parse("name without a number").is_err());
    }

    #[test]
    fn up_to_the_limit_is_no_complaint() {
        let recorded = counts(&[("a", 1000), ("b", 1000), ("c", 1000)]);
        let now = counts(&[("a", 1050), ("b", 1051), ("c", 500)]);
        let found = complaints(&now, &recorded);
        assert_eq!(found.len(), 2, "{found:?}");
        assert_eq!(found[0], "b takes 1051 instructions, +5.10 % over 1000");
        assert!(found[1].contains("--update"));
        let shown = table(&now, &recorded);
        assert_eq!(shown.lines().nth(2), Some("c       500  -50.00 %"));
    }

    #[test]
    fn names_that_come_and_go_are_told() {
        let found = complaints(&counts(&[("new", 1)]), &counts(&[("old", 1)]));
        assert_eq!(found[0], "new is not recorded");
        assert_eq!(found[1], "old is recorded and was not counted");
        assert!(complaints(&counts(&[("a", 1)]), &counts(&[("a", 1)])).is_empty());
    }

    #[test]
    fn the_version_of_the_runner_is_that_of_the_library() {
        let lock = "[[package]]\nname = \"gungraun\"\nversion = \"0.20.0\"\nsource = \"x\"\n";
        assert_eq!(locked_version(lock, LIBRARY), Some("0.20.0"));
        assert_eq!(locked_version(lock, RUNNER), None);
    }
}
