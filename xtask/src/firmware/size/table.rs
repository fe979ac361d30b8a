//! Figures with names, printed and recorded in the same form.

use core::fmt;

/// What two compilers may differ in: a part of the figure, and bytes for small ones.
const TOLERANCE_PERCENT: u64 = 4;
const TOLERANCE_BYTES: u64 = 200;

/// Rows in the order in which they were added.
#[derive(Debug, Default)]
pub(crate) struct Table {
    lines: Vec<Line>,
}

#[derive(Debug)]
enum Line {
    Title(String),
    Row { name: String, bytes: u64, aim: Option<u64> },
}

impl Table {
    pub(crate) fn title(&mut self, text: &str) {
        self.lines.push(Line::Title(text.into()));
    }

    pub(crate) fn row(&mut self, name: &str, bytes: u64) {
        self.lines.push(Line::Row { name: name.into(), bytes, aim: None });
    }

    /// A figure that must not exceed `aim`.
    pub(crate) fn aim(&mut self, name: &str, bytes: u64, aim: u64) {
        self.lines.push(Line::Row { name: name.into(), bytes, aim: Some(aim) });
    }

    /// Where it differs from a record by more than compilers do.
    pub(crate) fn differences(&self, record: &str) -> Vec<String> {
        let rows = self.lines.iter().filter_map(|line| match line {
            Line::Row { name, bytes, .. } => Some((name.trim(), *bytes)),
            Line::Title(_) => None,
        });
        rows.filter_map(|(name, now)| {
            let Some(before) = recorded(record, name) else {
                return Some(format!("{name}: not recorded"));
            };
            let tolerance = (before * TOLERANCE_PERCENT / 100).max(TOLERANCE_BYTES);
            (now.abs_diff(before) > tolerance)
                .then(|| format!("{name}: {now} bytes, recorded are {before}"))
        })
        .collect()
    }

    /// The figures that are larger than they should be.
    pub(crate) fn above_aims(&self) -> Vec<String> {
        let lines = self.lines.iter();
        let above = lines.filter_map(|line| match line {
            Line::Row { name, bytes, aim: Some(aim) } if bytes > aim => {
                Some(format!("{name}: {bytes} bytes, the aim is {aim}"))
            }
            _ => None,
        });
        above.collect()
    }
}

/// The figure of a row in a printed table.
fn recorded(record: &str, name: &str) -> Option<u64> {
    record.lines().find_map(|line| {
        let (row, rest) = line.trim().rsplit_once(": ")?;
        (row == name).then(|| rest.split_whitespace().next()?.parse().ok())?
    })
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, line) in self.lines.iter().enumerate() {
            match line {
                Line::Title(text) => {
                    let gap = if i == 0 { "" } else { "\n" };
                    writeln!(f, "{gap}{text}, in bytes")?;
                }
                Line::Row { name, bytes, aim: None } => writeln!(f, "  {name}: {bytes}")?,
                Line::Row { name, bytes, aim: Some(aim) } => {
                    writeln!(f, "  {name}: {bytes} (aim {aim})")?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(code: u64, memory: u64) -> Table {
        let mut table = Table::default();
        table.title("The engine: all of it");
        table.row("code", code);
        table.row("  of it: words", 100);
        table.aim("memory", memory, 2000);
        table
    }

    #[test]
    fn a_table_does_not_differ_from_its_record() {
        let record = table(10_000, 1500).to_string();
        let none: [String; 0] = [];
        assert_eq!(table(10_000, 1500).differences(&record), none);
        assert_eq!(table(10_400, 1300).differences(&record), none);
    }

    #[test]
    fn larger_and_smaller_figures_are_found() {
        let record = table(10_000, 1500).to_string();
        let found = table(10_401, 1299).differences(&record);
        assert_eq!(
            found,
            ["code: 10401 bytes, recorded are 10000", "memory: 1299 bytes, recorded are 1500"]
        );
        assert_eq!(table(1, 1).differences("").len(), 3);
    }

    #[test]
    fn aims_are_upper_limits() {
        assert!(table(1, 2000).above_aims().is_empty());
        assert_eq!(table(1, 2001).above_aims(), ["memory: 2001 bytes, the aim is 2000"]);
    }
}
