//! One test for each row of the matrix, by its id.

use std::process::ExitCode;

use iscsi_conformance::{Matrix, Verdict};
use libtest_mimic::{Arguments, Failed, Trial};

/// Whether a row without a verdict fails. `cargo xtask conformance` fails for it in any case; this switch goes when the matrix is whole.
const MISSING_FAILS: bool = false;

fn main() -> ExitCode {
    let names: Vec<_> = Matrix::new().items.iter().map(|i| (i.id, i.test_name())).collect();
    let matrix = std::sync::Arc::new(Matrix::new());
    let trials = names.into_iter().map(|(id, name)| {
        let kind = matrix.kind(id);
        let ignored = match matrix.row(id).map(|row| &row.verdict) {
            Some(Verdict::Pass(_) | Verdict::Direct(_)) => false,
            Some(_) => true,
            None => !MISSING_FAILS,
        };
        let shown = if ignored || kind == "no verdict" { kind } else { "" };
        let matrix = std::sync::Arc::clone(&matrix);
        let run = move || match matrix.row(id) {
            Some(row) => row.check().map_err(Failed::from),
            None => Err(Failed::from("the row has no verdict")),
        };
        Trial::test(name, run).with_kind(shown).with_ignored_flag(ignored)
    });
    libtest_mimic::run(&Arguments::from_args(), trials.collect()).exit_code()
}
