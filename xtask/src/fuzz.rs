//! The fuzz targets, one after the other.

use std::fs;
use std::process::{Command, Stdio};

use clap::Args;

use crate::process::{Failure, run};
use crate::workspace::Workspace;

/// As long as an input may be: as the files of the corpus, which the test that replays it checks.
const LONGEST: &str = "-max_len=4096";

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// So long for each target
    #[arg(long, default_value_t = 60)]
    seconds: u32,
    /// Only this target; repeat for more
    #[arg(long, value_name = "TARGET")]
    target: Vec<String>,
}

/// New inputs go to `fuzz/found/<target>`, so that the committed corpus stays as it is; those that fail to `fuzz/artifacts/<target>`.
pub(crate) fn run_all(workspace: &Workspace, options: &Options) -> Result<(), Failure> {
    let all = targets(workspace)?;
    let unknown: Vec<_> = options.target.iter().filter(|name| !all.contains(name)).collect();
    if !unknown.is_empty() {
        let all = all.join(", ");
        return Err(Failure::new(format!("no such fuzz target: {unknown:?}; there are {all}")));
    }
    tools()?;
    for target in all.iter().filter(|t| options.target.is_empty() || options.target.contains(t)) {
        let found = format!("fuzz/found/{target}");
        fs::create_dir_all(workspace.root.join(&found))
            .map_err(|error| Failure::new(format!("{found}: {error}")))?;
        let committed = format!("fuzz/corpus/{target}");
        let seconds = format!("-max_total_time={}", options.seconds);
        let mut command = Command::new("cargo");
        // The proxy of rustup decides by the argument, unless it is told otherwise by the cargo that runs this program.
        command.env_remove("RUSTUP_TOOLCHAIN").env_remove("CARGO").env_remove("RUSTC");
        command.args(["+nightly", "fuzz", "run", target, &found, &committed, "--"]);
        command.args(["-dict=fuzz/iscsi.dict", LONGEST, &seconds, "-print_final_stats=1"]);
        run(command.current_dir(&workspace.root), "cargo")?;
    }
    Ok(())
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
}
