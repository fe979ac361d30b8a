//! The fuzz targets, one after the other; or how much of the code their corpus reaches.

mod coverage;
mod stats;

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use clap::Args;

use self::stats::{Stats, Table};
use crate::process::Failure;
use crate::workspace::Workspace;

/// As long as an input may be: as the files of the corpus, which the test that replays it checks.
const LONGEST: &str = "-max_len=4096";

/// Words for targets that read text.
const DICTIONARY: &str = "-dict=fuzz/iscsi.dict";

/// Their bytes are no text: words would only be in the way.
const WITHOUT_TEXT: [&str; 4] = ["pair_mutated", "pair_operations", "scsi", "wire"];

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// So long for each target
    #[arg(long, default_value_t = 60)]
    seconds: u32,
    /// Only this target; repeat for more
    #[arg(long, value_name = "TARGET")]
    target: Vec<String>,
    /// `address` finds faults of unsafe code, of which only dependencies have any, and takes four times as long
    #[arg(long, default_value = "none", value_parser = ["none", "address"])]
    sanitizer: String,
    /// Run nothing new: say how much of core, scsi and target the committed corpus reaches
    #[arg(long, conflicts_with = "seconds")]
    coverage: bool,
}

pub(crate) fn run_all(workspace: &Workspace, options: &Options) -> Result<(), Failure> {
    let all = targets(workspace)?;
    let unknown: Vec<_> = options.target.iter().filter(|name| !all.contains(name)).collect();
    if !unknown.is_empty() {
        let all = all.join(", ");
        return Err(Failure::new(format!("no such fuzz target: {unknown:?}; there are {all}")));
    }
    tools()?;
    let chosen: Vec<_> = all
        .into_iter()
        .filter(|target| options.target.is_empty() || options.target.contains(target))
        .collect();
    if options.coverage {
        return coverage::report(workspace, &chosen);
    }
    let (mut table, mut failures) = (Table::default(), Vec::new());
    for target in &chosen {
        match fuzz(workspace, options, target) {
            Ok(stats) => table.add(target, Some(stats)),
            Err(failure) => {
                table.add(target, None);
                failures.push(failure.to_string());
            }
        }
    }
    println!("\n{table}");
    Failure::unless_empty(&failures)
}

/// New inputs go to `fuzz/found/<target>`, so that the committed corpus stays as it is; those that fail to `fuzz/artifacts/<target>`.
fn fuzz(workspace: &Workspace, options: &Options, target: &str) -> Result<Stats, Failure> {
    let failed = |what: &str, error| Failure::new(format!("{what}: {error}"));
    let found = format!("fuzz/found/{target}");
    fs::create_dir_all(workspace.root.join(&found)).map_err(|error| failed(&found, error))?;
    let committed = format!("fuzz/corpus/{target}");
    let files = fs::read_dir(workspace.root.join(&committed)).map(Iterator::count);
    let files = files.map_err(|error| failed(&committed, error))?;
    let seconds = format!("-max_total_time={}", options.seconds);
    let mut command = nightly(workspace);
    command.args(["fuzz", "run", "--sanitizer", &options.sanitizer, target, &found, &committed]);
    command.args(["--", LONGEST, &seconds, "-print_final_stats=1"]);
    if !WITHOUT_TEXT.contains(&target) {
        command.arg(DICTIONARY);
    }
    let args: Vec<_> = command.get_args().map(|arg| arg.to_string_lossy()).collect();
    let line = format!("cargo {}", args.join(" "));
    println!("$ {line}");
    command.stdin(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| failed(&line, error))?;
    let mut stats = Stats::new(files);
    // libFuzzer speaks on the error output.
    for line in child.stderr.take().map(BufReader::new).into_iter().flat_map(BufReader::lines) {
        let Ok(line) = line else { break };
        eprintln!("{line}");
        stats.read(&line);
    }
    let status = child.wait().map_err(|error| failed(&line, error))?;
    if status.success() { Ok(stats) } else { Err(Failure::new(format!("`{line}`: {status}"))) }
}

/// The nightly cargo. The proxy of rustup decides by the argument, unless it is told otherwise by the cargo that runs this program.
fn nightly(workspace: &Workspace) -> Command {
    let mut command = Command::new("cargo");
    command.env_remove("RUSTUP_TOOLCHAIN").env_remove("CARGO").env_remove("RUSTC");
    command.arg("+nightly").current_dir(&workspace.root);
    command
}

/// The names of the targets: one file each.
fn targets(workspace: &Workspace) -> Result<Vec<String>, Failure> {
    let directory = workspace.root.join("fuzz/fuzz_targets");
    let entries = fs::read_dir(&directory)
        .map_err(|error| Failure::new(format!("{}: {error}", directory.display())))?;
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let sources = paths.filter(|path| path.extension().is_some_and(|e| e == "rs"));
    let mut names: Vec<_> =
        sources.filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned())).collect();
    names.sort();
    Ok(names)
}

/// Whether there is what it takes; if not, how to get it.
fn tools() -> Result<(), Failure> {
    let works = |args: &[&str]| {
        let mut command = Command::new("cargo");
        command.args(args).env_remove("RUSTUP_TOOLCHAIN").env_remove("CARGO");
        let quiet = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        quiet.status().is_ok_and(|status| status.success())
    };
    let mut missing = Vec::new();
    if !works(&["+nightly", "--version"]) {
        let text =
            "a nightly compiler is needed: rustup toolchain install nightly --profile minimal";
        missing.push(text.to_owned());
    }
    if !works(&["fuzz", "--version"]) {
        missing.push("cargo-fuzz is needed: cargo install cargo-fuzz".to_owned());
    }
    Failure::unless_empty(&missing)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A target that is forgotten in one of the places would not be built, or not be replayed.
    #[test]
    fn each_target_has_a_program_and_a_corpus() {
        let workspace = Workspace::load().unwrap();
        let manifest = fs::read_to_string(workspace.root.join("fuzz/Cargo.toml")).unwrap();
        let all = targets(&workspace).unwrap();
        assert!(!all.is_empty());
        for target in all {
            let path = format!("path = \"fuzz_targets/{target}.rs\"");
            assert!(manifest.contains(&path), "fuzz/Cargo.toml: {target}");
            let corpus = workspace.root.join("fuzz/corpus").join(&target);
            assert!(corpus.is_dir(), "{}", corpus.display());
        }
    }

    #[test]
    fn those_without_text_are_targets() {
        let all = targets(&Workspace::load().unwrap()).unwrap();
        for target in WITHOUT_TEXT {
            assert!(all.iter().any(|name| name == target), "{target}");
        }
    }

    /// What libFuzzer takes: comments, and words in quotation marks.
    #[test]
    fn the_dictionary_can_be_read() {
        let workspace = Workspace::load().unwrap();
        let path = DICTIONARY.strip_prefix("-dict=").unwrap();
        let text = fs::read_to_string(workspace.root.join(path)).unwrap();
        for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let word = line.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
            assert!(word.is_some_and(|word| !word.is_empty() && word.is_ascii()), "{line}");
        }
    }
}
