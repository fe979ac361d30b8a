//! `cargo xtask firmware-size`: the code and memory of the firmware, and whose they are.
//!
//! Two measures. The first asks the debug information about each instruction: which functions were inlined there, one into the
//! other. An instruction belongs to the first of them, from the inside, that is not part of Rust's own libraries. So what
//! was inlined across crates is counted where it was written. Of constants the debug information knows nothing.
//! The second is the difference to a firmware on the same board with the same TCP stack and without iSCSI. It holds the constants too, and what
//! of Rust's libraries only the engine uses; but also what the example itself does with the engine.

mod image;
mod table;

use std::fs;

use clap::Args;

use self::image::Image;
use self::table::Table;
use super::{PROGRAM, TARGET, WITHOUT, build, built, directory};
use crate::ci::{Outcome, missing};
use crate::process::Failure;
use crate::toolchain::install_target;
use crate::workspace::Workspace;

/// The figures that were agreed upon.
const RECORD: &str = "size.txt";

/// What comes with the engine and with nothing else.
const ENGINE: [&str; 8] = [
    "iscsi-core",
    "md-5",
    "digest",
    "block-buffer",
    "crypto-common",
    "hybrid-array",
    "crc",
    "subtle",
];
/// The statics that hold the engine's state: `InlineSession<4>`, `Connection`.
const ENGINE_STATICS: [&str; 2] = ["SESSION", "CONNECTION"];

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Compare with what is recorded in examples/firmware/size.txt, instead of only printing
    #[arg(long)]
    check: bool,
    /// Record the figures
    #[arg(long, conflicts_with = "check")]
    update: bool,
}

pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<(), Failure> {
    if !install_target(workspace, TARGET) {
        return Err(Failure::new(format!("the Rust target {TARGET} is not installed")));
    }
    let table = measure(workspace)?;
    print!("{table}");
    if options.update {
        let path = directory(workspace).join(RECORD);
        return fs::write(&path, table.to_string())
            .map_err(|error| Failure::new(format!("{}: {error}", path.display())));
    }
    if options.check { compare(workspace, &table) } else { Ok(()) }
}

/// The step of `cargo xtask ci`.
pub(crate) fn check(workspace: &Workspace) -> Result<Outcome, Failure> {
    if !install_target(workspace, TARGET) {
        return missing(format!("the Rust target {TARGET} is not installed"));
    }
    let table = measure(workspace)?;
    print!("{table}");
    compare(workspace, &table).map(|()| Outcome::Passed)
}

fn compare(workspace: &Workspace, table: &Table) -> Result<(), Failure> {
    let path = directory(workspace).join(RECORD);
    let text = fs::read_to_string(&path)
        .map_err(|error| Failure::new(format!("{}: {error}", path.display())))?;
    let mut complaints = table.differences(&text);
    complaints.extend(table.above_aims());
    if !complaints.is_empty() {
        complaints.push("if this is meant: cargo xtask firmware-size --update".into());
    }
    Failure::unless_empty(&complaints)
}

fn measure(workspace: &Workspace) -> Result<Table, Failure> {
    build(workspace)?;
    let image = |program| Image::read(&built(workspace, program), &workspace.root);
    let (with, without) = (image(PROGRAM)?, image(WITHOUT)?);
    let mut table = Table::default();

    table.title("The engine: login, CHAP with MD5, digests, four tasks");
    let own = with.code_of("iscsi-core");
    let others: u64 = ENGINE[1..].iter().map(|name| with.code_of(name)).sum();
    table.row("code of iscsi-core", own);
    table.row("  of it words for people (Display)", with.words);
    table.row("code of md-5, crc, subtle", others);
    table.aim("code of the engine without words", own + others - with.words, 48 * 1024);
    let statics = |name: &&str| with.statics.get(*name).copied().unwrap_or(0);
    table.row("memory: session with four tasks", statics(&ENGINE_STATICS[0]));
    table.row("memory: connection", statics(&ENGINE_STATICS[1]));
    table.aim("memory of the engine", ENGINE_STATICS.iter().map(statics).sum(), 24 * 1024);

    table.title("Other code");
    for (name, of) in [
        ("smoltcp", "smoltcp"),
        ("Rust's libraries where they are not inlined", "rust"),
        ("the example itself", "firmware"),
    ] {
        table.row(&format!("{name}, in {PROGRAM}"), with.code_of(of));
        table.row(&format!("{name}, in {WITHOUT}"), without.code_of(of));
    }

    table.title("The whole firmware, and without iSCSI");
    for ((name, with), (_, without)) in with.sections().into_iter().zip(without.sections()) {
        table.row(&format!("{name} of {PROGRAM}"), with);
        table.row(&format!("{name} of {WITHOUT}"), without);
    }
    table.row("difference in text and rodata", with.flash().saturating_sub(without.flash()));
    Ok(table)
}
