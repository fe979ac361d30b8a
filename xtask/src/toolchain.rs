//! What the toolchain can build for.

use std::path::Path;
use std::process::Command;

use crate::process::run;
use crate::workspace::Workspace;

/// Whether the toolchain can build for this target, after an attempt to make it so.
pub(crate) fn install_target(workspace: &Workspace, target: &str) -> bool {
    if target_is_installed(target) {
        return true;
    }
    let mut command = Command::new("rustup");
    command.args(["target", "add", target]).current_dir(&workspace.root);
    if let Err(failure) = run(&mut command, "rustup") {
        println!("{failure}");
    }
    target_is_installed(target)
}

/// Asks rustc, not rustup: a toolchain from elsewhere has targets too. Under rustup the name
/// `rustc` means the toolchain that runs this program.
fn target_is_installed(target: &str) -> bool {
    let mut command = Command::new("rustc");
    let Ok(output) = command.args(["--print", "target-libdir", "--target", target]).output() else {
        return false;
    };
    let directory = String::from_utf8_lossy(&output.stdout);
    output.status.success() && Path::new(directory.trim()).is_dir()
}
