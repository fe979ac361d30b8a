//! Runs the conformance matrix and prints it.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;
use iscsi_conformance::{Item, Matrix, Verdict};
use serde_json::{Value, json};

/// Runs the 368 checks of the conformance matrix and prints a line for each.
#[derive(Debug, Parser)]
#[command(name = "iscsi-conformance")]
struct Cli {
    /// Only rows whose id begins so (repeat the option for more)
    #[arg(long)]
    only: Vec<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Print the table without running anything
    #[arg(long)]
    list: bool,
}

/// A line of the table.
struct Line<'a> {
    item: &'a Item,
    verdict: String,
    detail: Option<String>,
    note: Option<&'static str>,
    cases: usize,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let matrix = Matrix::new();
    let chosen = |item: &&Item| {
        cli.only.is_empty() || cli.only.iter().any(|start| item.id.starts_with(start.as_str()))
    };
    let lines: Vec<Line<'_>> =
        matrix.items.iter().filter(chosen).map(|item| line(&matrix, item, cli.list)).collect();
    let failed = lines.iter().filter(|line| line.verdict == "FAILED").count();
    let mut complaints = matrix.complaints();
    if lines.is_empty() {
        complaints.push("no row has such an id".into());
    }
    if failed > 0 {
        complaints.push(format!("{failed} rows fail"));
    }
    let mut out = io::stdout().lock();
    // Whoever reads it may have gone; the exit code counts all the same.
    let _ = if cli.json {
        writeln!(out, "{}", as_json(&matrix, &lines, &complaints))
    } else {
        print(&mut out, &matrix, &lines, &complaints)
    };
    // Part of the matrix is judged by itself.
    let part = !cli.only.is_empty() && !lines.is_empty();
    let bad =
        lines.iter().any(|line| !["pass", "not applicable", "deferred"].contains(&&*line.verdict));
    let good = if part { !bad } else { complaints.is_empty() && !bad };
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn line<'a>(matrix: &Matrix, item: &'a Item, only_list: bool) -> Line<'a> {
    let kind = matrix.kind(item.id);
    let Some(row) = matrix.row(item.id) else {
        return Line { item, verdict: kind.into(), detail: None, note: None, cases: 0 };
    };
    let (cases, reason) = match &row.verdict {
        Verdict::Pass(cases) => (cases.len(), None),
        Verdict::Direct(_) => (1, None),
        Verdict::NotApplicable(why) | Verdict::Deferred(why) | Verdict::Open(why) => {
            (0, Some((*why).to_owned()))
        }
    };
    let result = if only_list || reason.is_some() { Ok(()) } else { row.check() };
    match result {
        Ok(()) => Line { item, verdict: kind.into(), detail: reason, note: row.note, cases },
        Err(why) => {
            Line { item, verdict: "FAILED".into(), detail: Some(why), note: row.note, cases }
        }
    }
}

fn print(
    out: &mut impl Write,
    matrix: &Matrix,
    lines: &[Line<'_>],
    complaints: &[String],
) -> io::Result<()> {
    for line in lines {
        let Item { id, basis, title, .. } = line.item;
        writeln!(out, "{id}  {:<14}  {basis:<6}  {:>3}  {title}", line.verdict, line.cases)?;
        if let Some(note) = line.note {
            writeln!(out, "      note: {note}")?;
        }
        if let Some(detail) = &line.detail {
            writeln!(out, "      {detail}")?;
        }
    }
    writeln!(out)?;
    for ids in matrix.shared() {
        writeln!(out, "share a test: {}", ids.join(" "))?;
    }
    for kind in ["pass", "not applicable", "deferred", "open", "no verdict", "FAILED"] {
        let count = lines.iter().filter(|line| line.verdict == kind).count();
        writeln!(out, "{count:>4} {kind}")?;
    }
    for complaint in complaints {
        writeln!(out, "error: {complaint}")?;
    }
    Ok(())
}

fn as_json(matrix: &Matrix, lines: &[Line<'_>], complaints: &[String]) -> Value {
    let rows: Vec<Value> = lines
        .iter()
        .map(|line| {
            json!({
                "id": line.item.id,
                "title": line.item.title,
                "basis": line.item.basis,
                "sections": line.item.sections,
                "verdict": line.verdict,
                "detail": line.detail,
                "note": line.note,
                "cases": line.cases,
                "test": line.item.test_name(),
            })
        })
        .collect();
    json!({ "rows": rows, "shared": matrix.shared(), "complaints": complaints })
}
