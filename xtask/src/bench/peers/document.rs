//! The tables with what has to be known about them, and their place in benches/README.md.

use std::fs;

use super::contender::Programs;
use super::measure::SystemCalls;
use super::table::{Row, markdown};
use super::{Options, Way};
use crate::bench::programs::said;
use crate::process::Failure;
use crate::workspace::Workspace;

const FILE: &str = "benches/README.md";
const BEGIN: &str = "<!-- cargo xtask bench-peers --write: begin -->\n";
const END: &str = "<!-- cargo xtask bench-peers --write: end -->";

/// All of it, as Markdown.
pub(super) fn text(
    options: &Options,
    programs: &Programs,
    calls: &SystemCalls,
    rows: &[Row],
) -> String {
    let mut text = format!(
        "{}. {} rounds of {} s; the target sends with {}; system calls counted by {}.\n",
        machine(),
        options.rounds,
        options.seconds,
        options.congestion,
        calls.name()
    );
    for (way, title) in [
        (Way::Read, "Reads, `iscsi-perf` of libiscsi and of this project".to_owned()),
        (
            Way::Write,
            format!("Writes, `qemu-img bench` ({}) and iscsi-perf", programs.qemu_version),
        ),
    ] {
        let rows: Vec<&Row> = rows.iter().filter(|row| row.job.way == way).collect();
        if !rows.is_empty() {
            text += &format!("\n### {title}\n\n{}", markdown(&rows));
        }
        let mut refusals: Vec<&str> =
            rows.iter().filter_map(|row| row.refusal.as_deref()).collect();
        refusals.dedup();
        if !refusals.is_empty() {
            text += &format!("\nNot possible: {}.\n", refusals.join("; "));
        }
    }
    text
}

/// What was measured on.
fn machine() -> String {
    let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let names = cpus.lines().filter_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let names: Vec<&str> = names.map(|(_, name)| name).collect();
    let kernel = said("uname", &["-sr"]).unwrap_or_default();
    let model = names.first().copied().unwrap_or("an unknown processor");
    format!("{model}, {} logical processors, {}", names.len(), kernel.trim_end())
}

/// Replaces what stands between the markers.
pub(super) fn write(workspace: &Workspace, text: &str) -> Result<(), Failure> {
    let path = workspace.root.join(FILE);
    let failed = |error| Failure::new(format!("{FILE}: {error}"));
    let old = fs::read_to_string(&path).map_err(failed)?;
    let new = replaced(&old, text)
        .ok_or_else(|| Failure::new(format!("{FILE} has no place for the tables: {BEGIN}")))?;
    fs::write(&path, new).map_err(failed)
}

fn replaced(old: &str, text: &str) -> Option<String> {
    let (before, rest) = old.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}\n{text}\n{END}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_between_the_markers_is_replaced() {
        let old = format!("before\n{BEGIN}old\n{END}\nafter\n");
        let new = replaced(&old, "new\n").unwrap();
        assert_eq!(new, format!("before\n{BEGIN}\nnew\n\n{END}\nafter\n"));
        assert_eq!(replaced(&new, "new\n"), Some(new));
        assert_eq!(replaced("no markers", "new"), None);
    }
}
