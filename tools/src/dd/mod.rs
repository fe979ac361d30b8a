//! `iscsi-dd`: copies between logical units and files.

mod input;
mod pipeline;
mod place;
mod plan;
mod rounds;
mod sink;
mod source;

use core::time::Duration;
use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use clap::{Parser, ValueEnum};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use iscsi_core::SessionState;
use iscsi_runtime_std::SessionStep;
use serde_json::json;
use sha2_std::{Digest, Sha256};

use crate::args::{self, Common, Negotiation};
use crate::connect::Setup;
use crate::inquiry::hex;
use crate::output::{self, FAILED, Outcome, Stop, complain, print_json, report};
use crate::signals::Ending;
use crate::units::{parse_bytes, rate};
use pipeline::{Copying, Tally};
use plan::{Ends, Plan, parse_piece};

pub(crate) const TOOL: &str = "iscsi-dd";

/// Exit code for wrong arguments.
const WRONG_ARGUMENTS: u8 = 1;

const EXIT_CODES: &str = "\
BYTES are decimal, with K, M, G, T or P for powers of 1024. A file is created if need be and ends
where the copy ends; runs of zeros become holes. With -n a part that cannot be read or written is
left as it is in the destination, and the exit code is 10.

A unit with a volatile write cache is synchronised after each GiB (of a pipe: 64 MiB). If it tells
that it was reset in between, what it may have lost is copied again.

Exit codes:
  0   everything was copied and is on the medium, or help was printed
  1   the options are wrong; nothing was done
  10  something failed, or a signal came; the message says how much was copied and is not lost
After SIGINT or SIGTERM what is under way has three seconds to end, if there is a connection, and so
has the writing of the cache after it. A second signal, and a signal before the copy begins, ends the
program at once, with 130 or 143.";

/// Copy between iSCSI logical units and files
#[derive(Debug, Parser)]
#[command(name = TOOL, version, disable_help_flag = true, after_help = EXIT_CODES)]
#[command(override_usage = "iscsi-dd [OPTIONS] --src <URL|FILE|-> --dst <URL|FILE|->")]
pub(crate) struct Arguments {
    /// What to copy from: iscsi://..., a file or device, or - for standard input
    #[arg(short = 's', long, value_name = "URL|FILE|-", required_unless_present = "usage")]
    pub(crate) src: Option<String>,
    /// What to copy to: iscsi://..., a file or device, or - for standard output
    #[arg(short = 'd', long, value_name = "URL|FILE|-", required_unless_present = "usage")]
    pub(crate) dst: Option<String>,
    /// Where to begin in the source
    #[arg(long, visible_alias = "skip", value_name = "BYTES", value_parser = parse_bytes)]
    #[arg(default_value = "0")]
    pub(crate) offset_src: u64,
    /// Where to begin in the destination
    #[arg(long, visible_alias = "seek", value_name = "BYTES", value_parser = parse_bytes)]
    #[arg(default_value = "0")]
    pub(crate) offset_dst: u64,
    /// How much to copy; all there is unless given
    #[arg(long, value_name = "BYTES", value_parser = parse_bytes)]
    pub(crate) count: Option<u64>,
    /// Bytes of one read or write, cut to whole blocks and to what the units allow
    #[arg(long, value_name = "BYTES", value_parser = parse_piece)]
    pub(crate) block_size: Option<u64>,
    /// The same in blocks
    #[arg(short = 'b', long, value_name = "BLOCKS", conflicts_with = "block_size")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) blocks: Option<u32>,
    /// Most reads, and most writes, under way at once; fewer if they are large
    #[arg(short = 'm', long = "queue-depth", visible_alias = "max", value_name = "NUMBER")]
    #[arg(default_value = "16", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) queue_depth: u16,
    /// Use 16-byte commands also where shorter ones would do
    #[arg(short = '6', long = "16")]
    pub(crate) long_commands: bool,
    /// Go on behind what cannot be read or written
    #[arg(short = 'n', long)]
    pub(crate) ignore_errors: bool,
    /// Keep what the destination file holds outside of the copy
    #[arg(long)]
    pub(crate) no_truncate: bool,
    /// Copy between two units also if they give the same name and serial number
    #[arg(long)]
    pub(crate) distinct_units: bool,
    /// How long to try to replace a connection that is lost; 0 to fail at once
    #[arg(long, value_name = "SECONDS", value_parser = args::parse_seconds_or_0, default_value = "120")]
    retry_for: Duration,
    /// Show progress
    #[arg(short = 'p', long)]
    progress: bool,
    /// Print a checksum of the data read
    #[arg(long, value_name = "ALGORITHM")]
    checksum: Option<Checksum>,
    /// Print the result as one JSON document
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    negotiation: Negotiation,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Checksum {
    Sha256,
}

/// Runs the tool with the arguments of the process.
pub fn main() -> ExitCode {
    let arguments: Arguments = match args::parse_without_d(WRONG_ARGUMENTS) {
        Ok(arguments) => arguments,
        Err(code) => return code,
    };
    match run(&arguments) {
        // Whoever closed the output did not get all of the data.
        Err(Stop::Unread) if arguments.dst.as_deref() == Some("-") => ExitCode::from(FAILED),
        outcome => output::finish(TOOL, outcome),
    }
}

/// Says why a connection was lost and what is done about it.
fn tell(step: &SessionStep) {
    let again = step.recovery.is_some_and(|recovery| recovery.attempts > 0);
    match step.state {
        SessionState::Waiting(_) => complain(TOOL, format_args!("{step}")),
        SessionState::LoggedIn if again => complain(TOOL, format_args!("{step} again, going on")),
        _ => {}
    }
}

fn run(arguments: &Arguments) -> Outcome<u8> {
    let mut setup = Setup::new(TOOL, &arguments.common, &arguments.negotiation)?;
    setup.options_mut().depth = arguments.queue_depth.into();
    setup.set_recovery(arguments.retry_for, tell);
    let ending = Arc::new(Ending::default());
    let Ends { mut source, mut sink, plan } = Ends::open(&setup, arguments, &ending)?;

    ending.heed_signals()?;
    let mut hash = arguments.checksum.map(|Checksum::Sha256| Sha256::new());
    let bar = progress_bar(arguments.progress, plan.cut.total);
    let progress = |done| bar.set_position(done);
    let start = Instant::now();
    let how =
        Copying { cut: plan.cut, options: plan.options, ending: &ending, progress: &progress };
    let (tally, copied) = rounds::copy(&mut source, &mut sink, &how, &mut hash);
    let time = start.elapsed();
    bar.finish_and_clear();
    source.close();
    sink.close();

    copied.map_err(|stop| plan.partial(arguments, &tally, stop))?;
    let sha256 = hash.filter(|_| tally.skipped == 0).map(|hash| hex(&hash.finalize()));
    match print(arguments, &plan, &tally, time, sha256.as_deref()) {
        // That nobody reads the result does not make the copy complete.
        Ok(()) | Err(Stop::Unread) if tally.skipped > 0 => Ok(FAILED),
        printed => printed.map(|()| 0),
    }
}

/// The result, on standard output unless the data went there.
fn print(
    arguments: &Arguments,
    plan: &Plan,
    tally: &Tally,
    time: Duration,
    sha256: Option<&str>,
) -> Outcome<()> {
    for (at, stop) in &tally.errors {
        report(TOOL, stop);
        complain(TOOL, format_args!("left out at {at} of the copy"));
    }
    if tally.skipped > 0 {
        complain(TOOL, format_args!("{} of {} bytes were left out", tally.skipped, tally.done));
    }
    let mut out: Box<dyn Write> = match arguments.dst.as_deref() {
        Some("-") => Box::new(io::stderr()),
        _ => Box::new(io::stdout()),
    };
    let seconds = time.as_secs_f64();
    let copied = tally.done.saturating_sub(tally.skipped);
    if arguments.json {
        let document = json!({
            "bytes": copied,
            "skipped": tally.skipped,
            "seconds": seconds,
            "bytes_per_second": copied as f64 / seconds.max(1e-9),
            "piece": plan.cut.size,
            "sha256": sha256,
        });
        return print_json(&mut out, &document);
    }
    // Lengths that are no multiple of a block are counted in bytes.
    let size = if copied.is_multiple_of(plan.block) { plan.block } else { 1 };
    let (blocks, rate) = (copied / size, rate(copied, seconds));
    writeln!(out, "{blocks} blocks ({size} sized) copied in {seconds:.3} seconds, {rate}.")?;
    if let Some(sha256) = sha256 {
        writeln!(out, "sha256:{sha256}")?;
    }
    Ok(())
}

fn progress_bar(wanted: bool, total: Option<u64>) -> ProgressBar {
    if !wanted {
        return ProgressBar::hidden();
    }
    let template = match total {
        Some(_) => "{bar:32} {bytes} of {total_bytes}, {binary_bytes_per_sec}, {eta} left",
        None => "{spinner} {bytes}, {binary_bytes_per_sec}",
    };
    // Standard output may carry the data.
    let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::stderr());
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Arguments::command().debug_assert();
        for bar in [progress_bar(true, Some(1)), progress_bar(true, None)] {
            bar.finish_and_clear();
        }
    }

    #[test]
    fn flags_of_libiscsi() {
        let line = "iscsi-dd -s a -d b -i iqn.2001-04.com.example:h -p -6 -m 50 -b 200 -n";
        let arguments = Arguments::try_parse_from(line.split(' ')).unwrap();
        assert_eq!((arguments.queue_depth, arguments.blocks), (50, Some(200)));
        assert!(arguments.long_commands && arguments.ignore_errors && arguments.progress);
        let line = "iscsi-dd --src a --dst b --16 --max 50 --blocks 200 --skip 1K --seek 2K";
        let arguments = Arguments::try_parse_from(line.split(' ')).unwrap();
        assert_eq!((arguments.offset_src, arguments.offset_dst), (1024, 2048));
        assert!(Arguments::try_parse_from(["iscsi-dd", "-s", "a"]).is_err());
        assert!(Arguments::try_parse_from(["iscsi-dd", "-s", "a", "-d", "b", "-m", "0"]).is_err());
    }
}
