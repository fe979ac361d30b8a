//! One test for each row of the matrix, by its id.

use std::process::ExitCode;

use iscsi_conformance::{Matrix, Verdict};
use libtest_mimic::{Arguments, Failed, Trial};

fn main() -> ExitCode {
    let names: Vec<_> = Matrix::new().items.iter().map(|i| (i.id, i.test_name())).collect();
    let matrix = std::sync::Arc::new(Matrix::new());
    let trials = names.into_iter().map(|(id, name)| {
        let kind = matrix.kind(id);
        // What does not apply, or waits for another part of the project, shows as ignored with its kind.
        let verdict = matrix.row(id).map(|row| &row.verdict);
        let ignored = matches!(verdict, Some(Verdict::NotApplicable(_) | Verdict::Deferred(_)));
        let shown = if ignored { kind } else { "" };
        let matrix = std::sync::Arc::clone(&matrix);
        let run = move || match matrix.row(id) {
            Some(row) => row.check().map_err(Failed::from),
            None => Err(Failed::from("the row has no verdict")),
        };
        Trial::test(name, run).with_kind(shown).with_ignored_flag(ignored)
    });
    libtest_mimic::run(&Arguments::from_args(), trials.collect()).exit_code()
}
