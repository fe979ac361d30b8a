//! The table of steps and the steps that are a few cargo commands.

use std::fs;

use super::{Outcome, package};
use crate::bench;
use crate::checks;
use crate::features::{powerset, without_std};
use crate::firmware;
use crate::process::{Failure, run_cargo};
use crate::toolchain::install_target;
use crate::workspace::{Package, Workspace};

/// One named check.
#[derive(Debug)]
pub(crate) struct Step {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    pub(crate) run: fn(&Workspace) -> Result<Outcome, Failure>,
    /// Its output ends the run when all is well; no table follows.
    pub(crate) closes_the_run: bool,
}

const fn step(
    name: &'static str,
    about: &'static str,
    run: fn(&Workspace) -> Result<Outcome, Failure>,
) -> Step {
    Step { name, about, run, closes_the_run: false }
}

/// All steps: the cheap ones first, the README's test command last.
pub(crate) const STEPS: &[Step] = &[
    step("fmt", "rustfmt changes nothing", fmt),
    step("files", "no file above 800 lines, no stub, no ignored test", |workspace| {
        checks::files::check(workspace).map(|()| Outcome::Passed)
    }),
    step("imports", "crates depend on each other in one direction only", |workspace| {
        checks::imports::check(workspace).map(|()| Outcome::Passed)
    }),
    step("readme", "the commands in README.md exist", |workspace| {
        checks::readme::check(workspace).map(|()| Outcome::Passed)
    }),
    step("clippy", "clippy finds nothing, all features", clippy),
    step("clippy-bare", "clippy finds nothing, no default features", clippy_bare),
    step("powerset", "each library with each set of at most two features", feature_powerset),
    step("no-std", "libraries for machines without an operating system", no_std),
    step("doc", "rustdoc finds nothing", doc),
    step("doc-test", "examples in the documentation, all features", doc_test),
    step("test-bare", "tests of the engine and of scsi, no default features", test_bare),
    step("no-heap", "initiator and target without one allocation", |workspace| {
        cargo_step(workspace, &["run", "--quiet", "-p", "iscsi-target", "--example", "no_alloc"])
    }),
    step("package", "each library as it would come from a registry", package::check),
    step("corpus", "the fuzz corpus replayed", corpus),
    step("fuzz", "rustfmt and clippy find nothing in the fuzz targets", fuzz),
    step("instructions", "operations take as many instructions as recorded", |workspace| {
        bench::instructions::check(workspace)
    }),
    step("firmware", "the firmware in an emulator against the target", firmware::check),
    step("firmware-size", "the engine on a microcontroller is as large as recorded", |workspace| {
        firmware::size::check(workspace)
    }),
    Step {
        name: "test",
        about: "README's test command",
        run: |workspace| cargo_step(workspace, &["test", "--workspace"]),
        closes_the_run: true,
    },
];

/// Crates that must build for a machine without an operating system.
const NO_STD_CRATES: [&str; 4] = ["iscsi-core", "iscsi-scsi", "iscsi-disk", "iscsi-target"];
/// Without and with atomic read-modify-write instructions.
const NO_STD_TARGETS: [&str; 2] = ["thumbv6m-none-eabi", "thumbv7em-none-eabi"];
/// The target on which the features that need no `std` are built too. Shared-memory crates
/// that such a feature may pull in need the atomic instructions that thumbv6m lacks.
const NO_STD_FEATURE_TARGET: &str = NO_STD_TARGETS[1];

fn cargo_step(workspace: &Workspace, args: &[&str]) -> Result<Outcome, Failure> {
    run_cargo(workspace, args, &[]).map(|()| Outcome::Passed)
}

fn fmt(workspace: &Workspace) -> Result<Outcome, Failure> {
    cargo_step(workspace, &["fmt", "--all", "--check"])
}

fn clippy(workspace: &Workspace) -> Result<Outcome, Failure> {
    let scope = ["clippy", "--workspace", "--all-targets"];
    cargo_step(workspace, &[&scope[..], &["--all-features", "--", "-D", "warnings"]].concat())
}

fn clippy_bare(workspace: &Workspace) -> Result<Outcome, Failure> {
    let scope = ["clippy", "--workspace", "--all-targets"];
    cargo_step(
        workspace,
        &[&scope[..], &["--no-default-features", "--", "-D", "warnings"]].concat(),
    )
}

/// One package and its library only: features that another member or a dev-dependency enables
/// would hide what is missing. Clippy instead of check, so that code which is unused under one
/// set of features is found.
fn feature_powerset(workspace: &Workspace) -> Result<Outcome, Failure> {
    for package in workspace.libraries() {
        for selection in powerset(&package.features, 2) {
            let list = selection.join(",");
            let mut args = vec!["clippy", "--quiet", "--lib", "--package", &package.name];
            push_features(&mut args, &list);
            args.extend(["--", "-D", "warnings"]);
            run_cargo(workspace, &args, &[])?;
        }
    }
    Ok(Outcome::Passed)
}

fn no_std(workspace: &Workspace) -> Result<Outcome, Failure> {
    let mut missing = Vec::new();
    for target in NO_STD_TARGETS {
        if !install_target(workspace, target) {
            missing.push(target);
            continue;
        }
        for name in NO_STD_CRATES {
            let Some(package) = workspace.package(name) else {
                return Err(Failure::new(format!("{name} is not a member of the workspace")));
            };
            build_no_std(workspace, package, target, "")?;
            let list = without_std(&package.features).join(",");
            if target == NO_STD_FEATURE_TARGET && !list.is_empty() {
                build_no_std(workspace, package, target, &list)?;
            }
        }
    }
    if missing.is_empty() {
        return Ok(Outcome::Passed);
    }
    Ok(Outcome::Skipped(format!("target not installed: {}", missing.join(", "))))
}

fn build_no_std(
    workspace: &Workspace,
    package: &Package,
    target: &str,
    features: &str,
) -> Result<(), Failure> {
    let mut args = vec!["build", "--quiet", "--lib", "--package", &package.name];
    args.extend(["--target", target]);
    push_features(&mut args, features);
    run_cargo(workspace, &args, &[])
}

fn push_features<'a>(args: &mut Vec<&'a str>, features: &'a str) {
    args.push("--no-default-features");
    if !features.is_empty() {
        args.extend(["--features", features]);
    }
}

fn doc(workspace: &Workspace) -> Result<Outcome, Failure> {
    let args = ["doc", "--workspace", "--no-deps", "--all-features"];
    run_cargo(workspace, &args, &[("RUSTDOCFLAGS", "-Dwarnings")])?;
    Ok(Outcome::Passed)
}

/// With all features: the examples under the default ones run in the step `test`.
fn doc_test(workspace: &Workspace) -> Result<Outcome, Failure> {
    cargo_step(workspace, &["test", "--workspace", "--doc", "--all-features"])
}

/// The code that only a build without `std` has (the portable CRC32C, fixed storage) is run,
/// not only compiled. One package at a time, so that no other member enables a feature.
fn test_bare(workspace: &Workspace) -> Result<Outcome, Failure> {
    for name in ["iscsi-core", "iscsi-scsi"] {
        let scope = ["test", "--lib", "--tests", "--package", name, "--no-default-features"];
        run_cargo(workspace, &scope, &[])?;
    }
    Ok(Outcome::Passed)
}

/// Each corpus file goes through its fuzz target's function in an ordinary test: the test
/// target `fuzz_corpus` of any member. No nightly compiler is needed.
fn corpus(workspace: &Workspace) -> Result<Outcome, Failure> {
    const TEST: &str = "fuzz_corpus";
    if !workspace.root.join("fuzz").is_dir() {
        return Ok(Outcome::Skipped("there is no fuzz/ directory".into()));
    }
    let owner =
        workspace.packages.iter().find(|package| package.targets("test").any(|t| t == TEST));
    let Some(owner) = owner else {
        return Err(Failure::new(format!("fuzz/ exists, but no member has the test `{TEST}`")));
    };
    cargo_step(workspace, &["test", "--package", &owner.name, "--test", TEST])
}

/// The workspace of the fuzz targets, which the steps `fmt` and `clippy` do not see. Nothing is linked, so that a stable compiler will do, and
/// no C++ compiler is needed for libFuzzer: its crate gets an empty archive.
fn fuzz(workspace: &Workspace) -> Result<Outcome, Failure> {
    const MANIFEST: [&str; 2] = ["--manifest-path", "fuzz/Cargo.toml"];
    run_cargo(workspace, &[&["fmt"][..], &MANIFEST, &["--check"]].concat(), &[])?;
    let clippy = [&["clippy", "--quiet", "--locked"][..], &MANIFEST, &["--", "-D", "warnings"]];
    let archive = workspace.target_directory.join("libfuzzer.a");
    fs::write(&archive, "!<arch>\n")
        .map_err(|error| Failure::new(format!("{}: {error}", archive.display())))?;
    let path = archive.to_string_lossy();
    run_cargo(workspace, &clippy.concat(), &[("CUSTOM_LIBFUZZER_PATH", &path)])?;
    Ok(Outcome::Passed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tests_close_the_run() {
        let closing: Vec<_> = STEPS.iter().filter(|s| s.closes_the_run).map(|s| s.name).collect();
        assert_eq!(closing, ["test"]);
        assert_eq!(STEPS.last().unwrap().name, "test");
    }

    #[test]
    fn step_names_are_unique() {
        for (i, step) in STEPS.iter().enumerate() {
            assert!(STEPS[..i].iter().all(|earlier| earlier.name != step.name), "{}", step.name);
        }
    }
}
