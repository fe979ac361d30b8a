//! How much of the crates under test the committed corpus reaches.

use core::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::nightly;
use crate::process::{Failure, run};
use crate::workspace::Workspace;

/// The crates whose code is of interest, by their directories. The testing tools are not.
const CRATES: [&str; 3] = ["core", "scsi", "target"];

/// A row for each target, and one for all of them together.
pub(crate) fn report(workspace: &Workspace, targets: &[String]) -> Result<(), Failure> {
    let tools = Tools::find()?;
    // Else it would be `target/`, which is a crate.
    let build = workspace.target_directory.join("coverage");
    let (mut rows, mut runs) = (Vec::new(), Vec::new());
    for target in targets {
        let mut command = nightly(workspace);
        command.args(["fuzz", "coverage", "--sanitizer", "none", "--target-dir"]).arg(&build);
        command.arg(target).arg(format!("fuzz/corpus/{target}"));
        run(&mut command, "cargo")?;
        let profile = workspace.root.join("fuzz/coverage").join(target).join("coverage.profdata");
        let program = build.join(&tools.host).join("release").join(target);
        rows.push((target.clone(), tools.cover(workspace, &profile, &[&program])?));
        runs.push((profile, program));
    }
    let profiles: Vec<_> = runs.iter().map(|(profile, _)| profile.as_path()).collect();
    let programs: Vec<_> = runs.iter().map(|(_, program)| program.as_path()).collect();
    let all = workspace.root.join("fuzz/coverage/all.profdata");
    tools.merge(&profiles, &all)?;
    rows.push(("all".to_owned(), tools.cover(workspace, &all, &programs)?));
    println!("\n{}", Table(&rows));
    Ok(())
}

/// What was executed, of how much.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Share {
    covered: u64,
    count: u64,
}

impl Share {
    fn add(&mut self, summary: &Value) {
        let number = |name: &str| summary[name].as_u64().unwrap_or(0);
        self.covered += number("covered");
        self.count += number("count");
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let per_mille = (self.covered * 1000).checked_div(self.count).unwrap_or(0);
        f.pad(&format!("{}.{}%", per_mille / 10, per_mille % 10))
    }
}

/// Lines and regions of a crate.
type Covered = [(Share, Share); CRATES.len()];

/// Programs of the nightly compiler's LLVM.
struct Tools {
    host: String,
    directory: PathBuf,
}

impl Tools {
    fn find() -> Result<Self, Failure> {
        let ask = |args: &[&str]| {
            let mut command = Command::new("rustc");
            command.env_remove("RUSTUP_TOOLCHAIN").arg("+nightly").args(args);
            let output = command.output().map_err(|e| Failure::new(format!("rustc: {e}")))?;
            Ok(String::from_utf8_lossy(&output.stdout).into_owned())
        };
        let version = ask(&["-vV"])?;
        let host = version.lines().find_map(|line| line.strip_prefix("host: ")).unwrap_or_default();
        let libraries = ask(&["--print", "target-libdir"])?;
        let directory = Path::new(libraries.trim()).with_file_name("bin");
        if ["llvm-cov", "llvm-profdata"].iter().any(|tool| !directory.join(tool).is_file()) {
            return Err(Failure::new(
                "llvm-cov is needed: rustup component add llvm-tools --toolchain nightly",
            ));
        }
        Ok(Self { host: host.to_owned(), directory })
    }

    fn merge(&self, profiles: &[&Path], to: &Path) -> Result<(), Failure> {
        let mut command = Command::new(self.directory.join("llvm-profdata"));
        command.args(["merge", "-sparse", "-o"]).arg(to).args(profiles);
        run(&mut command, "llvm-profdata")
    }

    fn cover(
        &self,
        workspace: &Workspace,
        profile: &Path,
        programs: &[&Path],
    ) -> Result<Covered, Failure> {
        let mut command = Command::new(self.directory.join("llvm-cov"));
        command.args(["export", "-summary-only", "-instr-profile"]).arg(profile);
        let mut programs = programs.iter();
        command.args(programs.next());
        for program in programs {
            command.arg("-object").arg(program);
        }
        let failed = |error: String| Failure::new(format!("llvm-cov: {error}"));
        let output = command.output().map_err(|error| failed(error.to_string()))?;
        if !output.status.success() {
            return Err(failed(String::from_utf8_lossy(&output.stderr).into_owned()));
        }
        let json = serde_json::from_slice(&output.stdout).map_err(|e| failed(e.to_string()))?;
        Ok(sum(&json, &workspace.root))
    }
}

/// Adds up the files of each crate.
fn sum(json: &Value, root: &Path) -> Covered {
    let mut covered = Covered::default();
    for file in json["data"][0]["files"].as_array().into_iter().flatten() {
        let Some(name) = file["filename"].as_str() else { continue };
        // The manifest of fuzz names the crates by paths that go up.
        let name = name.replace("/fuzz/..", "");
        let Ok(name) = Path::new(&name).strip_prefix(root) else { continue };
        let of_crate = |directory: &&str| name.starts_with(Path::new(directory).join("src"));
        let Some(at) = CRATES.iter().position(of_crate) else { continue };
        if name.components().any(|part| part.as_os_str().to_string_lossy().starts_with("testing")) {
            continue;
        }
        covered[at].0.add(&file["summary"]["lines"]);
        covered[at].1.add(&file["summary"]["regions"]);
    }
    covered
}

struct Table<'a>(&'a [(String, Covered)]);

impl fmt::Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.0.iter().map(|(target, _)| target.len()).max().unwrap_or(0).max(6);
        write!(f, "{:<width$}", "target")?;
        for name in CRATES {
            for what in ["lines", "regions"] {
                write!(f, " {:>15}", format!("{name} {what}"))?;
            }
        }
        writeln!(f)?;
        for (target, covered) in self.0 {
            write!(f, "{target:<width$}")?;
            for (lines, regions) in covered {
                write!(f, " {lines:>15} {regions:>15}")?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn file(name: &str, covered: u64, count: u64) -> Value {
        let share = json!({ "covered": covered, "count": count });
        json!({ "filename": name, "summary": { "lines": share, "regions": share } })
    }

    #[test]
    fn only_what_is_tested_is_added_up() {
        let json = json!({ "data": [{ "files": [
            file("/w/core/src/a.rs", 3, 4),
            file("/w/fuzz/../core/src/conn/b.rs", 1, 4),
            file("/w/core/src/testing/rig.rs", 100, 100),
            file("/w/scsi/src/testing.rs", 100, 100),
            file("/w/core/tests/c.rs", 100, 100),
            file("/registry/target/src/d.rs", 100, 100),
        ] }] });
        let covered = sum(&json, Path::new("/w"));
        assert_eq!(covered[0].0, Share { covered: 4, count: 8 });
        assert_eq!(covered[1..], [(Share::default(), Share::default()); 2]);
        let rows = [("wire".to_owned(), covered)];
        let text = Table(&rows).to_string();
        let words: Vec<_> = text.lines().nth(1).unwrap().split_whitespace().collect();
        assert_eq!(words[..4], ["wire", "50.0%", "50.0%", "0.0%"]);
    }
}
