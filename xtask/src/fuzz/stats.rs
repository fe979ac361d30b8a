//! What libFuzzer says about a run, and a table of it.

use core::fmt;

/// The numbers of one run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Stats {
    /// Files of the committed corpus.
    files: usize,
    executions: u64,
    per_second: u64,
    /// Edges of the control flow that were taken.
    cov: u64,
    /// The same with how often, and other features by which libFuzzer tells inputs apart.
    ft: u64,
    /// Inputs that are kept because each adds a feature.
    corpus: u64,
    /// MiB.
    peak_rss: u64,
}

impl Stats {
    pub(crate) fn new(files: usize) -> Self {
        Self { files, ..Self::default() }
    }

    /// Takes what is of interest from a line of libFuzzer; later lines count.
    pub(crate) fn read(&mut self, line: &str) {
        let mut words = line.split_ascii_whitespace();
        if !line.starts_with("stat::") && !line.starts_with('#') {
            return;
        }
        while let Some(word) = words.next() {
            let to = match word {
                "stat::number_of_executed_units:" => &mut self.executions,
                "stat::average_exec_per_sec:" => &mut self.per_second,
                "stat::peak_rss_mb:" => &mut self.peak_rss,
                "cov:" => &mut self.cov,
                "ft:" => &mut self.ft,
                "corp:" => &mut self.corpus,
                _ => continue,
            };
            // A corpus is `inputs/bytes`.
            let number = words.next().and_then(|word| word.split('/').next()?.parse().ok());
            *to = number.unwrap_or(*to);
        }
    }
}

/// A row for each target.
#[derive(Debug, Default)]
pub(crate) struct Table {
    rows: Vec<(String, Option<Stats>)>,
}

impl Table {
    /// The numbers of a target, if its run came to its end.
    pub(crate) fn add(&mut self, target: &str, stats: Option<Stats>) {
        self.rows.push((target.to_owned(), stats));
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.rows.iter().map(|(target, _)| target.len()).max().unwrap_or(0).max(6);
        let heads = ["files", "executions", "exec/s", "cov", "ft", "corpus", "rss MiB"];
        write!(f, "{:<width$}", "target")?;
        for head in heads {
            write!(f, " {head:>10}")?;
        }
        writeln!(f)?;
        for (target, stats) in &self.rows {
            let Some(stats) = stats else {
                writeln!(f, "{target:<width$} {:>10}", "FAILED")?;
                continue;
            };
            write!(f, "{target:<width$} {:>10}", stats.files)?;
            let Stats { executions, per_second, cov, ft, corpus, peak_rss, .. } = *stats;
            for number in [executions, per_second, cov, ft, corpus, peak_rss] {
                write!(f, " {number:>10}")?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_numbers_of_a_run_are_in_the_table() {
        let mut stats = Stats::new(30);
        for line in [
            "INFO: cov: 1 is no number of the run",
            "#2\tINITED cov: 100 ft: 101 corp: 1/1b exec/s: 0 rss: 40Mb",
            "#304\tNEW    cov: 4817 ft: 7539 corp: 8/20b lim: 6 exec/s: 25 rss: 249Mb L: 6/6",
            "#657\tDONE   cov: 4824 ft: 7571 corp: 14/61b lim: 8 exec/s: 25 rss: 374Mb",
            "stat::number_of_executed_units: 657",
            "stat::average_exec_per_sec:     25",
            "stat::peak_rss_mb:              374",
        ] {
            stats.read(line);
        }
        let numbers = (stats.executions, stats.per_second, stats.cov, stats.ft);
        assert_eq!(numbers, (657, 25, 4824, 7571));
        assert_eq!((stats.corpus, stats.peak_rss), (14, 374));
        let mut table = Table::default();
        table.add("wire", Some(stats));
        table.add("url", None);
        let text = table.to_string();
        let words: Vec<_> = text.lines().nth(1).unwrap().split_whitespace().collect();
        assert_eq!(words, ["wire", "30", "657", "25", "4824", "7571", "14", "374"]);
        assert!(text.lines().nth(2).unwrap().contains("FAILED"), "{text}");
    }
}
