//! The command line.

use core::str::FromStr;
use core::time::Duration;
use std::path::PathBuf;

use clap::{Parser, ValueEnum};

use crate::args::{Common, Negotiation, parse_seconds_or_0};
use crate::output::{Outcome, Stop};
use crate::perf::TOOL;
use crate::perf::workload::Mode;

const AFTER_HELP: &str = "\
Without -t and --count it goes on until SIGINT (Ctrl-C) or SIGTERM, and then tells the result. A
second signal ends the program at once, with 130 or 143.

Modes write, mixed and verify overwrite the blocks of the range, and need --overwrite.

Exit codes:
  0   measured, or help was printed
  1   the options are wrong; nothing was done
  10  something failed, or with -n some I/Os did";

/// Measure a logical unit
#[derive(Debug, Parser)]
#[command(name = TOOL, version, disable_help_flag = true, after_help = AFTER_HELP)]
#[command(override_usage = "iscsi-perf [OPTIONS] <URL>")]
pub(crate) struct Arguments {
    /// The unit: iscsi://[user[%password]@]host[:port]/target/lun
    #[arg(required_unless_present = "usage")]
    pub(crate) url: Option<String>,
    /// What to do with the blocks
    #[arg(long, value_name = "MODE", value_enum, default_value = "read")]
    mode: ModeName,
    /// How many of 100 I/Os of mode mixed are reads [default: 70]
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(0..=100))]
    read_percent: Option<u8>,
    /// Let the blocks be overwritten: what is in them is lost
    #[arg(long)]
    overwrite: bool,
    /// I/Os under way at once in each session
    #[arg(short = 'm', long = "max", visible_alias = "queue-depth", value_name = "NUMBER")]
    #[arg(default_value = "32", value_parser = clap::value_parser!(u16).range(1..=2048))]
    pub(crate) max: u16,
    /// Blocks of one I/O
    #[arg(short = 'b', long, value_name = "BLOCKS", default_value = "8")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) blocks: u32,
    /// At random places instead of in order
    #[arg(short = 'r', long)]
    pub(crate) random: bool,
    /// From 1 to as many blocks as -b says, at random
    #[arg(short = 'R', long)]
    pub(crate) random_blocks: bool,
    /// How long to measure; 0 for ever
    #[arg(short = 't', long, value_name = "SECONDS", value_parser = parse_seconds_or_0)]
    time: Option<Duration>,
    /// The runtime: std, mio or smol [default: std]; a number is libiscsi's way to say --time
    #[arg(long, value_name = "RUNTIME|SECONDS")]
    runtime: Vec<RuntimeOption>,
    /// How many I/Os to measure, in all sessions together; in mode verify, writes
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) count: Option<u64>,
    /// How long to do the same before it is measured
    #[arg(long, value_name = "SECONDS", value_parser = parse_seconds_or_0, default_value = "0")]
    pub(crate) warm_up: Duration,
    /// I/Os per second at most, of all sessions together
    #[arg(long, value_name = "IOPS", value_parser = parse_rate)]
    pub(crate) rate: Option<f64>,
    /// Answers a session takes before it sends new commands: a quarter of those under way, 8 to 64, unless given; as many as -m says saves the
    /// most system calls
    #[arg(long, value_name = "NUMBER", default_value = "0", hide_default_value = true)]
    pub(crate) batch: u16,
    /// Read into a buffer for each I/O, as whoever keeps the data does; bytes are taken where they arrive unless given
    #[arg(long)]
    pub(crate) place: bool,
    /// Bytes read at once, in KiB, 16 to 1024: unless given 1024 for more than 4 I/Os of 32 KiB or more, but not with --place, else 4 for each I/O
    /// of -m, but at least 64
    #[arg(long, value_name = "KIB", default_value = "0", hide_default_value = true)]
    #[arg(value_parser = clap::value_parser!(u16).range(0..=1024))]
    pub(crate) scratch: u16,
    /// How long to look for the answers of few I/Os before going to sleep; 0 for not at all
    #[arg(long, value_name = "MICROSECONDS", default_value = "50")]
    pub(crate) busy_wait: u32,
    /// How many sessions to have
    #[arg(short = 's', long, value_name = "NUMBER", default_value = "1")]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) sessions: u16,
    /// The first block to use
    #[arg(long, value_name = "LBA", default_value = "0")]
    pub(crate) first: u64,
    /// How many blocks to use; all behind the first unless given
    #[arg(long, value_name = "BLOCKS", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) span: Option<u64>,
    /// Decides places and contents; another one each time unless given
    #[arg(long, value_name = "NUMBER")]
    pub(crate) seed: Option<u64>,
    /// Go on behind I/Os that fail
    #[arg(short = 'n', long)]
    pub(crate) ignore_errors: bool,
    /// The most connections that may be lost; -1 for any number
    #[arg(short = 'x', long, value_name = "NUMBER", allow_negative_numbers = true)]
    #[arg(default_value = "-1", value_parser = clap::value_parser!(i64).range(-1..))]
    max_reconnects: i64,
    /// How long to try to replace a connection that is lost; 0 to fail at once
    #[arg(long, value_name = "SECONDS", value_parser = parse_seconds_or_0, default_value = "120")]
    retry_for: Duration,
    /// A line for each second instead of one that changes
    #[arg(short = 'l', long)]
    pub(crate) logging: bool,
    /// Draw the latencies
    #[arg(long)]
    pub(crate) histogram: bool,
    /// Write a picture of the run to a file
    #[arg(long, value_name = "FILE")]
    pub(crate) svg: Option<PathBuf>,
    /// Print the result as one JSON document
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(flatten)]
    pub(crate) negotiation: Negotiation,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ModeName {
    /// Read
    Read,
    /// Write
    Write,
    /// Read and write
    Mixed,
    /// Write, read back and compare
    Verify,
}

/// What carries the I/Os out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Runtime {
    /// A thread for each session.
    Std,
    /// One event loop.
    Mio,
    /// Tasks of one executor.
    Smol,
}

impl Runtime {
    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::Std => "std",
            Self::Mio => "mio",
            Self::Smol => "smol",
        }
    }
}

/// `--runtime`, which libiscsi has for the time.
#[derive(Debug, Clone, Copy)]
enum RuntimeOption {
    Runtime(Runtime),
    Seconds(Duration),
}

impl FromStr for RuntimeOption {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(match text {
            "std" => Self::Runtime(Runtime::Std),
            "mio" => Self::Runtime(Runtime::Mio),
            "smol" => Self::Runtime(Runtime::Smol),
            number => Self::Seconds(
                parse_seconds_or_0(number)
                    .map_err(|_| "write std, mio or smol, or a number of seconds")?,
            ),
        })
    }
}

fn parse_rate(text: &str) -> Result<f64, String> {
    let rate = text.parse::<f64>().ok().filter(|rate| (0.001..=1e9).contains(rate));
    rate.ok_or_else(|| "write a number of I/Os per second, 0.001 at least".into())
}

impl Arguments {
    /// What to do with the blocks.
    ///
    /// # Errors
    /// If that is not allowed, or options contradict each other.
    pub(crate) fn mode(&self) -> Outcome<Mode> {
        if self.read_percent.is_some() && self.mode != ModeName::Mixed {
            return Err(Stop::with_remedy(
                "--read-percent is for mixed reads and writes only",
                "add --mode mixed",
            ));
        }
        let mode = match self.mode {
            ModeName::Read => Mode::Read,
            ModeName::Write => Mode::Write,
            ModeName::Mixed => Mode::Mixed(self.read_percent.unwrap_or(70)),
            ModeName::Verify => Mode::Verify,
        };
        if mode.writes() && !self.overwrite {
            return Err(Stop::with_remedy(
                "this mode overwrites the unit, and nothing allows that",
                "--overwrite does, if nobody needs what is in the blocks (--first and --span limit them)",
            ));
        }
        Ok(mode)
    }

    pub(crate) fn runtime(&self) -> Runtime {
        let mut runtimes = self.runtime.iter().filter_map(|option| match option {
            RuntimeOption::Runtime(runtime) => Some(*runtime),
            RuntimeOption::Seconds(_) => None,
        });
        runtimes.next_back().unwrap_or(Runtime::Std)
    }

    /// How long to measure; `None` for ever.
    pub(crate) fn time(&self) -> Option<Duration> {
        let mut seconds = self.runtime.iter().filter_map(|option| match option {
            RuntimeOption::Seconds(seconds) => Some(*seconds),
            RuntimeOption::Runtime(_) => None,
        });
        self.time.or_else(|| seconds.next_back()).filter(|time| !time.is_zero())
    }

    /// The most connections that may be lost; `None` for any number.
    pub(crate) fn max_losses(&self) -> Option<u64> {
        u64::try_from(self.max_reconnects).ok()
    }

    /// How long to try to replace a connection.
    pub(crate) fn retry_for(&self) -> Duration {
        if self.max_losses() == Some(0) { Duration::ZERO } else { self.retry_for }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parse(line: &str) -> Arguments {
        Arguments::try_parse_from(format!("iscsi-perf {line}").split(' ')).unwrap()
    }

    #[test]
    fn the_command_line_is_sound() {
        Arguments::command().mut_arg("debug", |debug| debug.short('d')).debug_assert();
    }

    #[test]
    fn flags_of_libiscsi() {
        let arguments = parse(
            "-i iqn.2001-04.com.example:h -m 64 -b 16 -t 10 -r -R -l -n -x -1 iscsi://h/iqn.t/0",
        );
        assert_eq!((arguments.max, arguments.blocks), (64, 16));
        assert_eq!(arguments.time(), Some(Duration::from_secs(10)));
        assert!(arguments.random && arguments.random_blocks);
        assert!(arguments.logging && arguments.ignore_errors);
        assert_eq!(arguments.max_losses(), None);
        let arguments = parse("--max 3 --blocks 2 --runtime 5 --random -x 0 URL");
        assert_eq!((arguments.max, arguments.blocks), (3, 2));
        assert_eq!(
            (arguments.time(), arguments.runtime()),
            (Some(Duration::from_secs(5)), Runtime::Std)
        );
        assert_eq!((arguments.max_losses(), arguments.retry_for()), (Some(0), Duration::ZERO));
        let arguments = parse("URL");
        assert_eq!((arguments.max, arguments.blocks, arguments.time()), (32, 8, None));
        assert_eq!(arguments.mode().unwrap(), Mode::Read);
    }

    #[test]
    fn a_runtime_is_a_name_or_a_time() {
        let arguments = parse("--runtime mio --runtime 2.5 URL");
        assert_eq!(arguments.runtime(), Runtime::Mio);
        assert_eq!(arguments.time(), Some(Duration::from_millis(2500)));
        assert_eq!(parse("--runtime smol -t 0 URL").time(), None);
        assert!(Arguments::try_parse_from(["iscsi-perf", "--runtime", "tokio", "URL"]).is_err());
    }

    #[test]
    fn to_overwrite_must_be_allowed() {
        for mode in ["write", "mixed", "verify"] {
            assert!(parse(&format!("--mode {mode} URL")).mode().is_err());
            assert!(parse(&format!("--mode {mode} --overwrite URL")).mode().unwrap().writes());
        }
        assert!(parse("--read-percent 50 URL").mode().is_err());
        let mixed = parse("--mode mixed --read-percent 50 --overwrite URL");
        assert_eq!(mixed.mode().unwrap(), Mode::Mixed(50));
    }
}
