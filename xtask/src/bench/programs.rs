//! Whether a program is here, and what it says.

use std::process::{Command, Stdio};

/// What a program prints when it is run with these arguments; `None` if it is not here or fails.
pub(crate) fn said(program: &str, args: &[&str]) -> Option<String> {
    let output = Command::new(program).args(args).stdin(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}
