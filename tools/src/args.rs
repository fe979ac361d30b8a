//! Options that several tools share, and how arguments are read.

use core::time::Duration;
use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::process::ExitCode;

use clap::{ArgAction, Args, Command, Parser};
use iscsi_core::ConfigBuilder;
use iscsi_core::config::MAX_OUTSTANDING_R2T;
use iscsi_core::digest::DigestKind;
use iscsi_core::text::Digests;

use crate::units::parse_bytes_u32;

/// Options of every tool.
#[derive(Debug, Args)]
pub(crate) struct Common {
    /// The name to log in with
    #[arg(short = 'i', long, value_name = "IQN")]
    pub(crate) initiator_name: Option<String>,
    /// Say what happens on standard error; from 6 on every PDU, at most 10
    #[arg(long, value_name = "LEVEL", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "1", value_parser = clap::value_parser!(u8).range(0..=10))]
    pub(crate) debug: Option<u8>,
    /// The longest time to wait for any one answer of the target
    #[arg(long, value_name = "SECONDS", value_parser = parse_seconds)]
    pub(crate) timeout: Option<Duration>,
    /// Print the usage in one line and exit
    #[arg(short = 'u', long)]
    usage: bool,
    /// Print help and exit
    #[arg(short = 'h', long, visible_short_alias = '?', action = ArgAction::Help)]
    help: Option<bool>,
}

/// What to offer at login.
#[derive(Debug, Default, Clone, Args)]
#[command(next_help_heading = "Negotiation")]
pub(crate) struct Negotiation {
    /// Digests of headers, the most wanted first: none, crc32c or both with a comma
    #[arg(long, value_name = "LIST", value_parser = parse_digests)]
    pub(crate) header_digest: Option<Digests>,
    /// Digests of data, the most wanted first
    #[arg(long, value_name = "LIST", value_parser = parse_digests)]
    pub(crate) data_digest: Option<Digests>,
    /// Whether commands may carry data
    #[arg(long, value_name = "yes|no", value_parser = parse_yes_no)]
    pub(crate) immediate_data: Option<bool>,
    /// Whether the target must ask for all other data
    #[arg(long, value_name = "yes|no", value_parser = parse_yes_no)]
    pub(crate) initial_r2t: Option<bool>,
    /// FirstBurstLength, from 512 to 16777215
    #[arg(long, value_name = "BYTES", value_parser = parse_length)]
    pub(crate) first_burst: Option<u32>,
    /// MaxBurstLength, from 512 to 16777215
    #[arg(long, value_name = "BYTES", value_parser = parse_length)]
    pub(crate) max_burst: Option<u32>,
    /// MaxRecvDataSegmentLength of this side, from 512 to 16777215
    #[arg(long, value_name = "BYTES", value_parser = parse_length)]
    pub(crate) max_recv: Option<u32>,
    /// MaxOutstandingR2T, from 1 to 8
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u16).range(1..=MAX_OUTSTANDING_R2T.into()))]
    pub(crate) max_outstanding_r2t: Option<u16>,
    /// DefaultTime2Wait: how long to stay away after a lost connection, at most 3600; the longer of both sides' times counts
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u16).range(0..=3600))]
    pub(crate) time2wait: Option<u16>,
}

impl Negotiation {
    /// Puts what was asked for into a configuration.
    pub(crate) fn apply(&self, mut builder: ConfigBuilder) -> ConfigBuilder {
        if let Some(digests) = self.header_digest {
            builder = builder.header_digest(digests);
        }
        if let Some(digests) = self.data_digest {
            builder = builder.data_digest(digests);
        }
        if let Some(immediate_data) = self.immediate_data {
            builder = builder.immediate_data(immediate_data);
        }
        if let Some(initial_r2t) = self.initial_r2t {
            builder = builder.initial_r2t(initial_r2t);
        }
        if let Some(bytes) = self.first_burst {
            builder = builder.first_burst_length(bytes);
        }
        if let Some(bytes) = self.max_burst {
            builder = builder.max_burst_length(bytes);
        }
        if let Some(bytes) = self.max_recv {
            builder = builder.max_recv_data_segment_length(bytes);
        }
        if let Some(count) = self.max_outstanding_r2t {
            builder = builder.max_outstanding_r2t(count);
        }
        if let Some(seconds) = self.time2wait {
            builder = builder.default_time2wait(seconds);
        }
        builder
    }
}

/// Reads the arguments of the process. `-d` and `-d LEVEL` mean `--debug`, as in libiscsi's tools.
///
/// # Errors
/// The exit code if there is nothing left to do: help was printed, or the arguments are wrong (`wrong`).
pub(crate) fn parse<T: Parser>(wrong: u8) -> Result<T, ExitCode> {
    let command = T::command().mut_arg("debug", |debug| debug.short('d'));
    read(command, join_debug(std::env::args_os()), wrong)
}

/// The same for a tool in which `-d` means something else.
pub(crate) fn parse_without_d<T: Parser>(wrong: u8) -> Result<T, ExitCode> {
    read(T::command(), std::env::args_os().collect(), wrong)
}

fn read<T: Parser>(
    mut command: Command,
    arguments: Vec<OsString>,
    wrong: u8,
) -> Result<T, ExitCode> {
    let usage = command.render_usage();
    let parsed = command.try_get_matches_from(arguments).and_then(|matches| {
        let usage = matches.get_flag("usage");
        T::from_arg_matches(&matches).map(|tool| (tool, usage))
    });
    match parsed {
        Ok((tool, false)) => Ok(tool),
        Ok((_, true)) => {
            let _ = writeln!(std::io::stdout(), "{usage}");
            Err(ExitCode::SUCCESS)
        }
        Err(error) => {
            // A closed output does not matter here.
            let _ = error.print();
            Err(if error.use_stderr() { ExitCode::from(wrong) } else { ExitCode::SUCCESS })
        }
    }
}

/// Makes `--debug=N` of `-d N`, `-dN` and `--debug N`: the level is optional, so that what follows is one only if it is a number.
fn join_debug(arguments: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let is_level = |text: &OsStr| {
        text.to_str().is_some_and(|t| !t.is_empty() && t.bytes().all(|b| b.is_ascii_digit()))
    };
    let with_level = |level: &OsStr| {
        let mut joined = OsString::from("--debug=");
        joined.push(level);
        joined
    };
    let mut joined = Vec::new();
    let mut rest = arguments.peekable();
    while let Some(argument) = rest.next() {
        if argument == "--" {
            joined.push(argument);
            break;
        }
        let text = argument.to_str().unwrap_or_default();
        if text == "-d" || text == "--debug" {
            joined.push(match rest.next_if(|next| is_level(next)) {
                Some(level) => with_level(&level),
                None => "--debug".into(),
            });
        } else if let Some(level) = text.strip_prefix("-d").filter(|l| is_level(OsStr::new(l))) {
            joined.push(with_level(OsStr::new(level)));
        } else {
            joined.push(argument);
        }
    }
    joined.extend(rest);
    joined
}

fn parse_seconds(text: &str) -> Result<Duration, String> {
    match text.parse::<f64>().ok().and_then(|s| Duration::try_from_secs_f64(s).ok()) {
        Some(time) if time >= Duration::from_millis(1) => Ok(time),
        _ => Err("write a number of seconds, 0.001 at least".into()),
    }
}

/// Reads a number of seconds, which may be 0.
pub(crate) fn parse_seconds_or_0(text: &str) -> Result<Duration, String> {
    let seconds = text.parse::<f64>().ok().filter(|seconds| *seconds <= f64::from(u32::MAX));
    seconds
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .ok_or_else(|| "write a number of seconds".into())
}

/// A length of RFC 7143 sections 13.12 to 13.14.
fn parse_length(text: &str) -> Result<u32, String> {
    match parse_bytes_u32(text)? {
        bytes @ 512..=0xff_ffff => Ok(bytes),
        _ => Err("write a number of bytes from 512 to 16777215".into()),
    }
}

fn parse_yes_no(text: &str) -> Result<bool, String> {
    match text {
        "yes" | "Yes" => Ok(true),
        "no" | "No" => Ok(false),
        _ => Err("write yes or no".into()),
    }
}

fn parse_digests(text: &str) -> Result<Digests, String> {
    let kinds: Option<Vec<DigestKind>> = text
        .split(',')
        .map(|kind| match kind.to_ascii_lowercase().as_str() {
            "none" => Some(DigestKind::None),
            "crc32c" => Some(DigestKind::Crc32c),
            _ => None,
        })
        .collect();
    kinds
        .and_then(|kinds| Digests::new(&kinds))
        .ok_or_else(|| "write none, crc32c, or both with a comma, the most wanted first".into())
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, FromArgMatches};

    use super::*;

    #[derive(Debug, Parser)]
    #[command(disable_help_flag = true)]
    struct Tool {
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        negotiation: Negotiation,
        #[arg(required_unless_present = "usage")]
        url: Option<String>,
    }

    fn tool(arguments: &str) -> Tool {
        let arguments = join_debug(arguments.split(' ').map(OsString::from));
        let command = Tool::command().mut_arg("debug", |debug| debug.short('d'));
        Tool::from_arg_matches(&command.try_get_matches_from(arguments).unwrap()).unwrap()
    }

    #[test]
    fn the_debug_level_is_optional() {
        for (arguments, level) in [
            ("t -d URL", Some(1)),
            ("t -d 6 URL", Some(6)),
            ("t -d6 URL", Some(6)),
            ("t --debug URL", Some(1)),
            ("t --debug 2 URL", Some(2)),
            ("t --debug=3 URL", Some(3)),
            ("t URL -d", Some(1)),
            ("t URL", None),
        ] {
            let tool = tool(arguments);
            assert_eq!(tool.common.debug, level, "{arguments}");
            assert_eq!(tool.url.as_deref(), Some("URL"), "{arguments}");
        }
    }

    #[test]
    fn negotiation_reaches_the_configuration() {
        let tool = tool(
            "t --header-digest crc32c --data-digest CRC32C,none --immediate-data no \
             --initial-r2t yes --first-burst 8K --max-burst 16K --max-recv 4096 \
             --max-outstanding-r2t 2 URL",
        );
        let name = || iscsi_core::IscsiName::new("iqn.2001-04.com.example:a").unwrap();
        let builder = iscsi_core::Config::normal(name(), name());
        let config = tool.negotiation.apply(builder).build().unwrap();
        let limits = config.limits();
        assert_eq!(limits.header_digest, Digests::CRC32C);
        assert_eq!(limits.data_digest, Digests::CRC32C_NONE);
        assert!(!limits.immediate_data && limits.initial_r2t);
        assert_eq!((limits.first_burst_length, limits.max_burst_length), (8192, 16384));
        assert_eq!(limits.max_recv_data_segment_length, 4096);
        assert_eq!(limits.max_outstanding_r2t, 2);
    }

    #[test]
    fn values_are_checked() {
        assert!(parse_seconds("0").is_err() && parse_seconds("-1").is_err());
        assert!(parse_seconds("inf").is_err() && parse_seconds("nan").is_err());
        assert_eq!(parse_seconds("2.5"), Ok(Duration::from_millis(2500)));
        assert!(parse_digests("md5").is_err() && parse_digests("none,none").is_err());
        assert!(parse_yes_no("maybe").is_err());
    }
}
