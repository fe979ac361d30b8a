//! Child processes: the line that was run is printed, the output goes straight to the terminal.

use core::fmt;
use std::ffi::OsStr;
use std::process::{Command, Stdio};

use crate::workspace::Workspace;

/// Why a chore failed, in words for the person at the terminal.
#[derive(Debug)]
pub(crate) struct Failure(String);

impl Failure {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// One failure from a list of complaints, or success if there are none.
    pub(crate) fn unless_empty(complaints: &[String]) -> Result<(), Self> {
        if complaints.is_empty() { Ok(()) } else { Err(Self(complaints.join("\n"))) }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The cargo that started this program, so that a `+toolchain` holds for the children too.
pub(crate) fn cargo() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// Runs cargo in the workspace with these arguments and environment.
pub(crate) fn run_cargo(
    workspace: &Workspace,
    args: &[&str],
    env: &[(&str, &str)],
) -> Result<(), Failure> {
    let mut command = cargo();
    command.args(args).envs(env.iter().copied());
    let mut line = String::new();
    for (key, value) in env {
        line += &format!("{key}={value} ");
    }
    line += "cargo";
    run(command.current_dir(&workspace.root), &line)
}

/// Runs a command whose program is shown as `program`.
pub(crate) fn run(command: &mut Command, program: &str) -> Result<(), Failure> {
    let args: Vec<_> = command.get_args().map(OsStr::to_string_lossy).collect();
    let line = format!("{program} {}", args.join(" "));
    println!("$ {line}");
    let status = command
        .stdin(Stdio::null())
        .status()
        .map_err(|error| Failure::new(format!("`{line}` did not start: {error}")))?;
    if status.success() { Ok(()) } else { Err(Failure::new(format!("`{line}`: {status}"))) }
}
