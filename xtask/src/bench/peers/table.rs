//! The rows of the tables.

use core::fmt;

use super::contender::{Contender, Outcome};
use super::measure::Sample;
use super::numbers::{median, show_size};
use super::{Digests, Job};

/// One program and one job.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) contender: Contender,
    pub(super) job: Job,
    samples: Vec<Sample>,
    pub(super) system_calls: Option<f64>,
    /// Why the program cannot do it.
    pub(super) refusal: Option<String>,
}

impl Row {
    pub(super) const fn new(contender: Contender, job: Job) -> Self {
        Self { contender, job, samples: Vec::new(), system_calls: None, refusal: None }
    }

    pub(super) fn add(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Measured(sample) => self.samples.push(sample),
            Outcome::Refused(why) => self.refusal = Some(why),
        }
    }

    /// The median of a figure; `None` if the program could not do it.
    fn median(&self, figure: impl Fn(&Sample) -> f64) -> Option<f64> {
        if self.refusal.is_some() { None } else { median(self.samples.iter().map(figure)) }
    }

    fn iops(&self) -> Option<f64> {
        self.median(|sample| sample.iops)
    }

    fn cpu(&self) -> Option<f64> {
        self.median(Sample::cpu_us_per_io)
    }

    fn spread(&self) -> String {
        let thousands = self.samples.iter().map(|sample| sample.iops / 1000.0);
        let ends = thousands.clone().reduce(f64::min).zip(thousands.reduce(f64::max));
        ends.filter(|_| self.refusal.is_none())
            .map_or_else(|| NOTHING.into(), |(least, most)| format!("{least:.1}..{most:.1}"))
    }

    /// IOPS and processor time of `self` against those of `other`: `1.50 / 0.40`.
    fn against(&self, other: Option<&Self>) -> String {
        let ratio = |of: fn(&Self) -> Option<f64>| Some(of(self)? / of(other?)?);
        match (ratio(Self::iops), ratio(Self::cpu)) {
            (Some(iops), Some(cpu)) => format!("{iops:.2} / {cpu:.2}"),
            _ => NOTHING.into(),
        }
    }
}

const NOTHING: &str = "-";

fn show(figure: Option<f64>, digits: usize) -> String {
    figure.map_or_else(|| NOTHING.into(), |figure| format!("{figure:.digits$}"))
}

/// For the person who waits at the terminal.
impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Job { size, depth, digests, way } = self.job;
        let (size, digests, name) = (show_size(size), digests.name(), self.contender.name());
        write!(f, "{way:?} {size}, depth {depth}, digests {digests}, {name}: ")?;
        if let Some(why) = &self.refusal {
            return write!(f, "{why}");
        }
        let (iops, cpu) = (show(self.iops(), 0), show(self.cpu(), 2));
        write!(f, "{iops} IOPS, {cpu} us of CPU, {} calls", show(self.system_calls, 2))
    }
}

/// A table of all rows of one way.
pub(super) fn markdown(rows: &[&Row]) -> String {
    let mut text = String::from(
        "| I/O | depth | digests | program | IOPS, thousands | least..most | MiB/s | CPU, us per I/O | CPU, ns per KiB | calls per I/O | target busy \
         | IOPS / CPU against the peer | against no digests |\n\
         |---|---|---|---|---|---|---|---|---|---|---|---|---|\n",
    );
    for row in rows {
        text += &line(row, rows);
    }
    text
}

fn line(row: &Row, rows: &[&Row]) -> String {
    let Job { size, depth, digests, .. } = row.job;
    let find = |wanted: &dyn Fn(&Row) -> bool| rows.iter().copied().find(|other| wanted(other));
    let peer = find(&|other| other.job == row.job && other.contender.is_peer())
        .filter(|_| !row.contender.is_peer());
    let plain = find(&|other| {
        let job = Job { digests: Digests::None, ..row.job };
        other.job == job && other.contender == row.contender
    })
    .filter(|_| digests != Digests::None);
    let mib = row.iops().map(|iops| iops * f64::from(size) / f64::from(1 << 20));
    let per_kib = row.cpu().map(|cpu| cpu * 1000.0 / (f64::from(size) / 1024.0));
    let busy = row.median(Sample::target_busy).map(|busy| busy * 100.0);
    let cells = [
        show_size(size),
        depth.to_string(),
        digests.name().into(),
        row.contender.name(),
        show(row.iops().map(|iops| iops / 1000.0), 1),
        row.spread(),
        show(mib, 0),
        show(row.cpu(), 2),
        show(per_kib, 1),
        show(row.system_calls, 2),
        busy.map_or_else(|| NOTHING.into(), |busy| format!("{busy:.0} %")),
        row.against(peer),
        row.against(plain),
    ];
    format!("| {} |\n", cells.join(" | "))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::{Runtime, Way};
    use super::*;

    fn row(contender: Contender, digests: Digests, iops: &[f64], cpu_ms: u64) -> Row {
        let job = Job { way: Way::Read, size: 4096, depth: 32, digests };
        let mut row = Row::new(contender, job);
        for &iops in iops {
            row.add(Outcome::Measured(Sample {
                iops,
                ios: iops * 2.0,
                cpu: Duration::from_millis(cpu_ms),
                wall: Duration::from_secs(2),
                target_cpu: Duration::from_secs(1),
            }));
        }
        row
    }

    #[test]
    fn ratios_are_those_of_medians() {
        let mut peer = row(Contender::LibiscsiPerf, Digests::None, &[1e5, 1.2e5, 0.9e5], 2000);
        peer.system_calls = Some(4.019);
        let ours = row(Contender::Ours(Runtime::Std), Digests::None, &[2e5, 1.9e5, 2.1e5], 1000);
        let both = row(Contender::Ours(Runtime::Std), Digests::Both, &[1e5], 1000);
        let text = markdown(&[&peer, &ours, &both]);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines[2..],
            [
                "| 4 KiB | 32 | none | libiscsi | 100.0 | 90.0..120.0 | 391 | 10.00 | 2500.0 | 4.02 | 50 % | - | - |",
                "| 4 KiB | 32 | none | std | 200.0 | 190.0..210.0 | 781 | 2.50 | 625.0 | - | 50 % | 2.00 / 0.25 | - |",
                "| 4 KiB | 32 | header, data | std | 100.0 | 100.0..100.0 | 391 | 5.00 | 1250.0 | - | 50 % | - | 0.50 / 2.00 |",
            ]
        );
    }

    #[test]
    fn who_cannot_do_it_has_no_figures() {
        let mut peer = row(Contender::LibiscsiPerf, Digests::Both, &[1e5], 1);
        peer.add(Outcome::Refused("libiscsi: failed".into()));
        let text = markdown(&[&peer]);
        assert!(text.ends_with(
            "| 4 KiB | 32 | header, data | libiscsi | - | - | - | - | - | - | - | - | - |\n"
        ));
        assert!(peer.to_string().ends_with("libiscsi: failed"));
    }
}
