//! The table at the end of a run.

use core::fmt;
use core::time::Duration;

use super::Outcome;
use crate::process::Failure;

/// The steps so far, with their results and times.
#[derive(Debug, Default)]
pub(crate) struct Report {
    rows: Vec<Row>,
}

#[derive(Debug)]
struct Row {
    step: &'static str,
    verdict: Verdict,
    time: Duration,
    note: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Passed,
    Skipped,
    Failed,
    NotRun,
}

impl Report {
    pub(crate) fn add(
        &mut self,
        step: &'static str,
        time: Duration,
        result: Result<Outcome, Failure>,
    ) {
        let (verdict, note) = match result {
            Ok(Outcome::Passed) => (Verdict::Passed, String::new()),
            Ok(Outcome::Skipped(why)) => (Verdict::Skipped, why),
            Err(failure) => {
                let text = failure.to_string();
                (Verdict::Failed, text.lines().next().unwrap_or_default().to_owned())
            }
        };
        self.rows.push(Row { step, verdict, time, note });
    }

    pub(crate) fn add_not_run(&mut self, step: &'static str) {
        let row = Row { step, verdict: Verdict::NotRun, time: Duration::ZERO, note: String::new() };
        self.rows.push(row);
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    pub(crate) fn has_failed(&self) -> bool {
        self.rows.iter().any(|row| row.verdict == Verdict::Failed)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.rows.iter().map(|row| row.step.len()).max().unwrap_or(0).max(5);
        writeln!(f, "{:width$}  {:8}  {:>8}", "step", "result", "time")?;
        for Row { step, verdict, time, note } in &self.rows {
            let verdict = match verdict {
                Verdict::Passed => "ok",
                Verdict::Skipped => "SKIPPED",
                Verdict::Failed => "FAILED",
                Verdict::NotRun => "not run",
            };
            let line = format!("{step:width$}  {verdict:8}  {:6.1} s  {note}", time.as_secs_f64());
            writeln!(f, "{}", line.trim_end())?;
        }
        let total: Duration = self.rows.iter().map(|row| row.time).sum();
        write!(f, "{:width$}  {:8}  {:6.1} s", "total", "", total.as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_shows_every_step() {
        let mut report = Report::default();
        assert!(report.is_empty());
        report.add("fmt", Duration::from_millis(1500), Ok(Outcome::Passed));
        let skipped = Outcome::Skipped("target not installed: thumbv6m-none-eabi".into());
        report.add("no-std", Duration::ZERO, Ok(skipped));
        assert!(!report.has_failed());
        report.add("clippy", Duration::from_secs(61), Err(Failure::new("first line\nsecond")));
        report.add_not_run("test");
        assert!(report.has_failed());
        let expected = "\
step    result        time
fmt     ok           1.5 s
no-std  SKIPPED      0.0 s  target not installed: thumbv6m-none-eabi
clippy  FAILED      61.0 s  first line
test    not run      0.0 s
total               62.5 s";
        assert_eq!(report.to_string(), expected);
    }
}
