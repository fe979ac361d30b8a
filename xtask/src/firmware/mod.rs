//! The firmware of `examples/firmware`: built, looked at by the linters, and run in an emulator against this project's target.

mod emulator;
mod peer;
pub(crate) mod size;

use std::fs;
use std::path::PathBuf;

use self::peer::Peer;
use crate::ci::{Outcome, missing};
use crate::process::{Failure, cargo, run, run_cargo};
use crate::toolchain::install_target;
use crate::workspace::Workspace;

/// The machine that it is built for.
const TARGET: &str = "thumbv7em-none-eabi";
const PROGRAM: &str = "iscsi-firmware";
/// The same without iSCSI.
const WITHOUT: &str = "network-only";

/// What the firmware's user is called, and the secret of this user.
const USER: &str = "firmware";
const SECRET: &str = "not-a-secret-of-anybody";

const DISK_LEN: u32 = 1 << 20;
/// A byte of the blocks that the firmware reads.
const DAMAGED: usize = 5 * 512 + 100;

/// What the target may send before its connection is cut: the login is shorter, the data are longer.
const CUT: u64 = 4096;

/// One run of the firmware.
struct Case {
    about: &'static str,
    program: &'static str,
    peer: fn(&Files, &Workspace) -> Result<Peer, Failure>,
    secret: &'static str,
    /// What it has to print, in this order.
    prints: &'static [&'static str],
    succeeds: bool,
}

const CASES: &[Case] = &[
    Case {
        about: "everything is right",
        program: PROGRAM,
        peer: |files, workspace| Peer::target(workspace, files, &files.disk),
        secret: SECRET,
        prints: &[
            "logged in: CHAP, header and data digests",
            "4 READ(10)s are done",
            "logged out",
            "PASSED: 16 blocks are right",
        ],
        succeeds: true,
    },
    Case {
        about: "a wrong secret",
        program: PROGRAM,
        peer: |files, workspace| Peer::target(workspace, files, &files.disk),
        secret: "not-the-secret-of-anybody",
        prints: &["FAILED: the target refused the login: Authentication failure"],
        succeeds: false,
    },
    Case {
        about: "other data than expected",
        program: PROGRAM,
        peer: |files, workspace| Peer::target(workspace, files, &files.damaged_disk),
        secret: SECRET,
        prints: &["4 READ(10)s are done", "FAILED: block 5 holds other data than it should"],
        succeeds: false,
    },
    Case {
        about: "nobody listens",
        program: PROGRAM,
        peer: |_, _| Peer::nobody(),
        secret: SECRET,
        prints: &["FAILED: the connection could not be made"],
        succeeds: false,
    },
    Case {
        about: "the connection is lost during the login",
        program: PROGRAM,
        peer: |_, _| Peer::that_leaves(),
        secret: SECRET,
        prints: &["FAILED: the target closed the connection"],
        succeeds: false,
    },
    Case {
        about: "the connection is lost among the data",
        program: PROGRAM,
        peer: |files, workspace| Peer::target(workspace, files, &files.disk)?.behind_a_cut(CUT),
        secret: SECRET,
        prints: &[
            "logged in: CHAP, header and data digests",
            "FAILED: the target closed the connection",
        ],
        succeeds: false,
    },
    Case {
        about: "a target that says nothing",
        program: PROGRAM,
        peer: |_, _| Peer::silent(),
        secret: SECRET,
        prints: &["FAILED: login timed out"],
        succeeds: false,
    },
    Case {
        about: "the network without iSCSI",
        program: WITHOUT,
        peer: |_, _| Peer::that_answers(0x5a),
        secret: "",
        prints: &["PASSED: 0x5a"],
        succeeds: true,
    },
];

/// `cargo xtask firmware`.
pub(crate) fn run_all(workspace: &Workspace) -> Result<(), Failure> {
    match check(workspace)? {
        Outcome::Passed => println!("firmware: {} runs, each as it should be", CASES.len()),
        Outcome::Skipped(why) => println!("firmware: SKIPPED: {why}"),
    }
    Ok(())
}

/// Builds the firmware and runs every case.
pub(crate) fn check(workspace: &Workspace) -> Result<Outcome, Failure> {
    if !install_target(workspace, TARGET) {
        return missing(format!("the Rust target {TARGET} is not installed"));
    }
    lint(workspace)?;
    build(workspace)?;
    if !emulator::is_installed() {
        return missing(format!("built, but not run: there is no {}", emulator::PROGRAM));
    }
    run_cargo(
        workspace,
        &["build", "--package", "iscsi-target", "--bin", crate::target::PROGRAM],
        &[],
    )?;
    let files = Files::write(workspace)?;
    let complaints: Vec<String> =
        CASES.iter().filter_map(|case| complain(case, workspace, &files)).collect();
    Failure::unless_empty(&complaints)?;
    Ok(Outcome::Passed)
}

/// It is no member of the workspace, so that the steps `fmt` and `clippy` do not see it.
fn lint(workspace: &Workspace) -> Result<(), Failure> {
    cargo_there(workspace, &["fmt", "--check"])?;
    cargo_there(workspace, &["clippy", "--release", "--locked", "--", "-D", "warnings"])
}

/// Builds its programs.
fn build(workspace: &Workspace) -> Result<(), Failure> {
    cargo_there(workspace, &["build", "--release", "--locked", "--bins"])
}

fn cargo_there(workspace: &Workspace, args: &[&str]) -> Result<(), Failure> {
    run(cargo().args(args).current_dir(directory(workspace)), "(examples/firmware) cargo")
}

fn directory(workspace: &Workspace) -> PathBuf {
    workspace.root.join("examples").join("firmware")
}

fn built(workspace: &Workspace, program: &str) -> PathBuf {
    workspace.target_directory.join(TARGET).join("release").join(program)
}

/// What is wrong with a run, if anything.
fn complain(case: &Case, workspace: &Workspace, files: &Files) -> Option<String> {
    println!("--- {}", case.about);
    let run = (case.peer)(files, workspace).and_then(|peer| {
        emulator::run(&built(workspace, case.program), &[&peer.seen_from_inside(), case.secret])
    });
    let complaint = match run {
        Err(failure) => failure.to_string(),
        Ok(run) => {
            print!("{}", run.output);
            println!("exit code {}", run.code);
            if !in_order(&run.output, case.prints) {
                format!("it should have printed {:?}", case.prints)
            } else if (run.code == 0) != case.succeeds {
                format!("exit code {}", run.code)
            } else {
                return None;
            }
        }
    };
    Some(format!("{}: {complaint}", case.about))
}

/// Whether each text begins a line, one after the other.
fn in_order(output: &str, texts: &[&str]) -> bool {
    let mut lines = output.lines();
    texts.iter().all(|text| lines.any(|line| line.starts_with(text)))
}

/// What the target is started with. Written anew for each run of this program.
struct Files {
    secret: PathBuf,
    disk: PathBuf,
    damaged_disk: PathBuf,
}

impl Files {
    fn write(workspace: &Workspace) -> Result<Self, Failure> {
        let directory = workspace.target_directory.join("firmware");
        let files = Self {
            secret: directory.join("secret"),
            disk: directory.join("disk"),
            damaged_disk: directory.join("damaged-disk"),
        };
        let disk = pattern(DISK_LEN);
        let mut damaged = disk.clone();
        damaged[DAMAGED] ^= 1;
        fs::create_dir_all(&directory)
            .and_then(|()| fs::write(&files.secret, SECRET))
            .and_then(|()| fs::write(&files.disk, &disk))
            .and_then(|()| fs::write(&files.damaged_disk, &damaged))
            .map_err(|error| Failure::new(format!("{}: {error}", directory.display())))?;
        Ok(files)
    }
}

/// The firmware knows it, too: words, numbered, each times an odd constant.
fn pattern(len: u32) -> Vec<u8> {
    (0..len / 4).flat_map(|number| number.wrapping_mul(0x9e37_79b1).to_be_bytes()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_looked_for_in_their_order() {
        let output = "one\ntwo words\nthree\n";
        assert!(in_order(output, &["one", "two"]));
        assert!(!in_order(output, &["two", "one"]));
        assert!(!in_order(output, &["words"]));
        assert!(!in_order(output, &["one", "one"]));
    }

    #[test]
    fn the_pattern_has_no_two_equal_blocks() {
        let disk = pattern(64 * 512);
        assert_eq!(disk[..8], [0, 0, 0, 0, 0x9e, 0x37, 0x79, 0xb1]);
        let blocks: std::collections::BTreeSet<_> = disk.chunks(512).collect();
        assert_eq!(blocks.len(), 64);
    }
}
