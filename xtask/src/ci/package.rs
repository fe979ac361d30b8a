//! The step `package`: each library packed as for a registry, unpacked and built with nothing
//! but what was packed.
//!
//! `cargo package` would verify this too, but through a registry of its own: cargo keeps what
//! it unpacked from there by path and version, and builds that again when another checkout
//! comes to stand in the same place. So the unpacked packages are built here, as a workspace.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::Outcome;
use crate::process::{Failure, cargo, run, run_cargo};
use crate::workspace::{Package, Workspace};

pub(super) fn check(workspace: &Workspace) -> Result<Outcome, Failure> {
    let packages: Vec<_> = workspace.libraries().filter(|package| package.publishes).collect();
    // What is not committed yet is packed, too: this is a check, not a release.
    let mut args = vec!["package", "--quiet", "--allow-dirty", "--no-verify"];
    for package in &packages {
        args.extend(["--package", &package.name]);
    }
    run_cargo(workspace, &args, &[])?;

    let root = workspace.target_directory.join("packed");
    match fs::remove_dir_all(&root) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(failure(&root, &error)),
        _ => fs::create_dir_all(&root).map_err(|error| failure(&root, &error)),
    }?;
    for package in &packages {
        let archive = format!("package/{}.crate", directory(package));
        let mut tar = Command::new("tar");
        // With the time of now: cargo gives all files one of long ago, and would take what it built of other contents for fresh.
        tar.arg("-xzmf").arg(workspace.target_directory.join(archive)).arg("-C").arg(&root);
        run(&mut tar, "tar")?;
    }
    let manifest = root.join("Cargo.toml");
    fs::write(&manifest, manifest_of(&packages)).map_err(|error| failure(&manifest, &error))?;
    // The versions that the checkout was tested with.
    let lock = root.join("Cargo.lock");
    fs::copy(workspace.root.join("Cargo.lock"), &lock).map_err(|error| failure(&lock, &error))?;
    for package in &packages {
        // One at a time: another member would enable features that this one forgot.
        let mut check = cargo();
        check.args(["check", "--quiet", "--package", &package.name, "--target-dir"]);
        check.arg(&workspace.target_directory).current_dir(&root);
        run(&mut check, "cargo")?;
    }
    Ok(Outcome::Passed)
}

/// The name of the directory in a package's archive.
fn directory(package: &Package) -> String {
    format!("{}-{}", package.name, package.version)
}

/// A workspace of the unpacked packages, in which each stands for its version in the registry.
fn manifest_of(packages: &[&Package]) -> String {
    let members: Vec<_> = packages.iter().map(|package| directory(package)).collect();
    let mut text = format!("[workspace]\nresolver = \"3\"\nmembers = {members:?}\n");
    text += "\n[patch.crates-io]\n";
    for (package, path) in packages.iter().zip(&members) {
        text += &format!("{} = {{ path = {path:?} }}\n", package.name);
    }
    text
}

fn failure(path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(format!("{}: {error}", path.display()))
}
