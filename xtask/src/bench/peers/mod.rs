//! `cargo xtask bench-peers`: this project's `iscsi-perf` beside libiscsi's, and beside `qemu-img bench` for writes.
//!
//! All talk to this project's target with a null disk, a process of its own. The programs run in turns, so that what else happens on the machine
//! hits them alike; what is compared are medians. Processor time is that of the whole process, login and all.

mod contender;
mod document;
mod measure;
mod numbers;
mod table;
mod target;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use self::contender::{Contender, Programs};
use self::measure::SystemCalls;
use self::table::Row;
use self::target::NullTarget;
use crate::process::Failure;
use crate::workspace::Workspace;

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// How many times each program runs, in turns
    #[arg(long, value_name = "NUMBER", default_value = "3")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// How long a run measures
    #[arg(long, value_name = "SECONDS", default_value = "2")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    seconds: u32,
    /// Bytes of an I/O
    #[arg(long, value_name = "SIZE,...", value_delimiter = ',', default_value = "4k,64k,256k,1m")]
    #[arg(value_parser = numbers::parse_size)]
    sizes: Vec<u32>,
    /// I/Os under way at once
    #[arg(long, value_name = "DEPTH,...", value_delimiter = ',', default_value = "1,32,128")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=128))]
    depths: Vec<u32>,
    /// What the target demands
    #[arg(long, value_name = "DIGESTS,...", value_delimiter = ',', value_enum)]
    #[arg(default_value = "none,header,both")]
    digests: Vec<Digests>,
    /// The runtimes of this project
    #[arg(long, value_name = "RUNTIME,...", value_delimiter = ',', value_enum)]
    #[arg(default_value = "std,std-placed,mio,smol")]
    runtimes: Vec<Runtime>,
    /// Reads against iscsi-perf, writes against qemu-img, or both
    #[arg(long, value_name = "WAY,...", value_delimiter = ',', value_enum)]
    #[arg(default_value = "read,write")]
    ways: Vec<Way>,
    /// The TCP congestion control that the target sends with
    #[arg(long, value_name = "NAME", default_value = "reno")]
    congestion: String,
    /// Where this project's programs are; otherwise they are built
    #[arg(long, value_name = "DIRECTORY")]
    programs: Option<PathBuf>,
    /// Put the tables into benches/README.md
    #[arg(long)]
    write: bool,
}

/// Which digests a target demands. Both sides of a comparison get the same from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Digests {
    /// No digests
    None,
    /// HeaderDigest
    Header,
    /// HeaderDigest and DataDigest
    Both,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Runtime {
    Std,
    /// The same, reading into buffers
    StdPlaced,
    Mio,
    Smol,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Way {
    Read,
    Write,
}

/// One thing that all programs are told to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Job {
    way: Way,
    size: u32,
    depth: u32,
    digests: Digests,
}

/// Writes are compared at this depth only, and without digests: qemu-img has no option for them.
const WRITE_DEPTH: u32 = 32;

/// How long the run takes in which system calls are counted.
const COUNTING: Duration = Duration::from_secs(1);

pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<(), Failure> {
    let programs = Programs::find(workspace, options.programs.as_deref())?;
    let calls = SystemCalls::find(workspace)?;
    println!("system calls are counted by {}", calls.name());
    let mut rows = Vec::new();
    for &way in &options.ways {
        for &digests in &options.digests {
            if way == Way::Write && digests != Digests::None {
                continue;
            }
            let target = NullTarget::start(&programs.target, digests, &options.congestion)?;
            for job in jobs(options, way, digests) {
                rows.extend(compare(&programs, options, &target, &calls, job)?);
            }
        }
    }
    if rows.is_empty() {
        return Err(Failure::new("the options leave nothing to compare"));
    }
    let text = document::text(options, &programs, &calls, &rows);
    println!("\n{text}");
    if options.write { document::write(workspace, &text) } else { Ok(()) }
}

fn jobs(options: &Options, way: Way, digests: Digests) -> Vec<Job> {
    let depths: &[u32] = match way {
        Way::Read => &options.depths,
        Way::Write => &[WRITE_DEPTH],
    };
    let of = |&size| depths.iter().map(move |&depth| Job { way, size, depth, digests });
    options.sizes.iter().flat_map(of).collect()
}

/// Runs all programs in turns. The peer is the first row; a program that cannot do it has a row that says so.
fn compare(
    programs: &Programs,
    options: &Options,
    target: &NullTarget,
    calls: &SystemCalls,
    job: Job,
) -> Result<Vec<Row>, Failure> {
    let peer = if job.way == Way::Read { Contender::LibiscsiPerf } else { Contender::QemuImg };
    // Writes have buffers in any case.
    let fits = |runtime: &&Runtime| job.way == Way::Read || **runtime != Runtime::StdPlaced;
    let ours = options.runtimes.iter().filter(fits).map(|&runtime| Contender::Ours(runtime));
    let has_floor = job.way == Way::Read && job.digests == Digests::None;
    let floor = has_floor.then_some(Contender::Bare);
    let all = [peer].into_iter().chain(ours).chain(floor);
    let mut rows: Vec<Row> = all.map(|contender| Row::new(contender, job)).collect();
    let time = Duration::from_secs(options.seconds.into());
    for _round in 0..options.rounds {
        for row in rows.iter_mut().filter(|row| row.refusal.is_none()) {
            let run = row.contender.run(programs, target, job, time)?;
            row.add(run);
        }
    }
    for row in rows.iter_mut().filter(|row| row.refusal.is_none()) {
        row.system_calls = row.contender.count_calls(programs, target, job, COUNTING, calls)?;
    }
    for row in &rows {
        println!("{row}");
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        options: Options,
    }

    fn options(line: &str) -> Options {
        Line::parse_from(format!("x {line}").split_whitespace()).options
    }

    #[test]
    fn everything_unless_told_otherwise() {
        let all = options("");
        assert_eq!((all.rounds, all.seconds, all.write), (3, 2, false));
        assert_eq!(jobs(&all, Way::Read, Digests::Both).len(), 4 * 3);
        assert_eq!(jobs(&all, Way::Write, Digests::None).len(), 4);
        assert_eq!(all.congestion, "reno");
        assert_eq!(all.runtimes, [Runtime::Std, Runtime::StdPlaced, Runtime::Mio, Runtime::Smol]);
    }

    #[test]
    fn a_part() {
        let part = options("--sizes 4k,1m --depths 32 --runtimes mio --digests none --ways read");
        let jobs = jobs(&part, Way::Read, Digests::None);
        let expected = [4096, 1 << 20].map(|size| Job {
            way: Way::Read,
            size,
            depth: 32,
            digests: Digests::None,
        });
        assert_eq!(jobs, expected);
        assert_eq!((part.runtimes, part.ways), (vec![Runtime::Mio], vec![Way::Read]));
        assert!(Line::try_parse_from(["x", "--sizes", "100"]).is_err());
    }
}
