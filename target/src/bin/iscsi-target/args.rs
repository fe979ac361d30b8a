//! The command line.

use std::path::PathBuf;

use clap::builder::ValueParser;
use clap::error::ErrorKind;
use clap::{Arg, ArgAction, ArgGroup, ArgMatches, Command, value_parser};
use iscsi_core::IscsiName;
use iscsi_core::text::Digests;
use iscsi_target::server::MAX_CONNECTIONS;

use crate::size::parse_size;

const DEFAULT_LISTEN: &str = "127.0.0.1:3260";
const DEFAULT_TARGET: &str = "iqn.2001-04.com.example:iscsi-target";

const AFTER_HELP: &str = "\
The disks become LUN 0, 1, 2 and so on, in the order given. SIZE is a number of bytes, with K, M, G or T behind it in units of \
1024.

A digest that is `offered` is used if the initiator prefers it; `none` declines it; with `required` a session without it is \
refused. Discovery sessions are let in without it.

One line on standard output tells the address once the target can be used.

Exit codes: 0 after SIGINT or SIGTERM, 1 if the target cannot be served, 2 if the command line makes no sense.";

/// What the user wants.
#[derive(Debug)]
pub(crate) struct Args {
    pub(crate) listen: String,
    pub(crate) target: IscsiName,
    /// In the order of the command line, which is that of the LUNs.
    pub(crate) disks: Vec<DiskSpec>,
    pub(crate) block_size: u32,
    pub(crate) read_only: bool,
    pub(crate) header_digest: Digests,
    pub(crate) data_digest: Digests,
    pub(crate) chap: Option<Account>,
    pub(crate) mutual: Option<Account>,
    pub(crate) error_recovery_level: u8,
    pub(crate) max_connections: usize,
    pub(crate) congestion: Option<String>,
    pub(crate) verbose: bool,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum DiskSpec {
    Ram(u64),
    File(PathBuf),
    Null(u64),
}

#[derive(Debug)]
pub(crate) struct Account {
    pub(crate) user: String,
    pub(crate) secret_file: PathBuf,
}

impl Args {
    /// Reads the command line; ends the program if it makes no sense or asks for help.
    pub(crate) fn parse() -> Self {
        Self::from_matches(&command().get_matches())
    }

    fn from_matches(matches: &ArgMatches) -> Self {
        let mut disks: Vec<(usize, DiskSpec)> = Vec::new();
        collect(matches, "ram", &mut disks, |size: &u64| DiskSpec::Ram(*size));
        collect(matches, "file", &mut disks, |path: &PathBuf| DiskSpec::File(path.clone()));
        collect(matches, "null", &mut disks, |size: &u64| DiskSpec::Null(*size));
        disks.sort_by_key(|(at, _)| *at);
        let Some(target) = matches.get_one::<IscsiName>("target").cloned() else {
            // It has a default, so this does not happen.
            command().error(ErrorKind::MissingRequiredArgument, "--target is missing").exit()
        };
        let text = |id| matches.get_one::<String>(id).cloned();
        let account = |user, file| {
            let secret_file = matches.get_one::<PathBuf>(file)?.clone();
            Some(Account { user: text(user)?, secret_file })
        };
        Self {
            listen: text("listen").unwrap_or_else(|| DEFAULT_LISTEN.into()),
            target,
            disks: disks.into_iter().map(|(_, disk)| disk).collect(),
            block_size: matches.get_one("block-size").copied().unwrap_or(512),
            read_only: matches.get_flag("read-only"),
            header_digest: digests(matches, "header-digest"),
            data_digest: digests(matches, "data-digest"),
            chap: account("chap", "secret-file"),
            mutual: account("mutual-user", "mutual-secret-file"),
            error_recovery_level: matches.get_one("error-recovery-level").copied().unwrap_or(0),
            max_connections: matches
                .get_one("max-connections")
                .map_or(MAX_CONNECTIONS, |most: &u16| usize::from(*most)),
            congestion: text("congestion"),
            verbose: matches.get_flag("verbose"),
        }
    }
}

/// What is accepted of the digests that an initiator offers.
fn digests(matches: &ArgMatches, id: &str) -> Digests {
    match matches.get_one::<String>(id).map(String::as_str) {
        Some("required") => Digests::CRC32C,
        Some("none") => Digests::NONE,
        _ => Digests::CRC32C_NONE,
    }
}

fn collect<T: Clone + Send + Sync + 'static>(
    matches: &ArgMatches,
    id: &str,
    disks: &mut Vec<(usize, DiskSpec)>,
    make: impl Fn(&T) -> DiskSpec,
) {
    let values = matches.get_many::<T>(id).into_iter().flatten();
    let places = matches.indices_of(id).into_iter().flatten();
    disks.extend(places.zip(values.map(make)));
}

fn command() -> Command {
    let disk = |id: &'static str, value: &'static str, parser: ValueParser, help: &'static str| {
        Arg::new(id)
            .long(id)
            .value_name(value)
            .value_parser(parser)
            .action(ArgAction::Append)
            .group("disks")
            .help(help)
    };
    let size = || ValueParser::new(parse_size);
    let digest = |id: &'static str, help: &'static str| {
        Arg::new(id)
            .long(id)
            .value_name("WHEN")
            .default_value("offered")
            .value_parser(["required", "offered", "none"])
            .help(help)
    };
    Command::new("iscsi-target")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Serves disks as an iSCSI target until it is interrupted")
        .after_help(AFTER_HELP)
        .arg(
            Arg::new("listen")
                .long("listen")
                .value_name("ADDR:PORT")
                .default_value(DEFAULT_LISTEN)
                .help("The address to listen on; port 0 means any free one"),
        )
        .arg(
            Arg::new("target")
                .long("target")
                .value_name("IQN")
                .default_value(DEFAULT_TARGET)
                .value_parser(|name: &str| name.parse::<IscsiName>())
                .help("The iSCSI name of the target"),
        )
        .arg(disk("ram", "SIZE", size(), "A disk in memory; it is lost at the end"))
        .arg(disk("file", "PATH", value_parser!(PathBuf), "A disk in a file or block device"))
        .arg(disk(
            "null",
            "SIZE",
            size(),
            "A disk of zeros that forgets everything, to measure with",
        ))
        .group(ArgGroup::new("disks").required(true).multiple(true))
        .arg(
            Arg::new("block-size")
                .long("block-size")
                .value_name("BYTES")
                .default_value("512")
                .value_parser(block_size)
                .help("Bytes in a block of every disk"),
        )
        .arg(
            Arg::new("read-only")
                .long("read-only")
                .action(ArgAction::SetTrue)
                .help("Refuse to write to memory and files"),
        )
        .arg(digest("header-digest", "CRC32C over PDU headers: see below"))
        .arg(digest("data-digest", "CRC32C over data: see below"))
        .arg(
            Arg::new("chap")
                .long("chap")
                .value_name("USER")
                .requires("secret-file")
                .help("Let only this user in, after CHAP"),
        )
        .arg(
            Arg::new("secret-file")
                .long("secret-file")
                .value_name("FILE")
                .value_parser(value_parser!(PathBuf))
                .requires("chap")
                .help("The secret of the user: the first line of this file"),
        )
        .arg(
            Arg::new("mutual-user")
                .long("mutual-user")
                .value_name("USER")
                .requires_all(["mutual-secret-file", "chap"])
                .help("Prove to be this user to initiators that ask for it"),
        )
        .arg(
            Arg::new("mutual-secret-file")
                .long("mutual-secret-file")
                .value_name("FILE")
                .value_parser(value_parser!(PathBuf))
                .requires("mutual-user")
                .help("The target's secret: the first line of this file"),
        )
        .arg(
            Arg::new("error-recovery-level")
                .long("error-recovery-level")
                .value_name("LEVEL")
                .default_value("0")
                .value_parser(value_parser!(u8).range(0..=1))
                .help("The highest ErrorRecoveryLevel to agree to: 0, or 1 to mend damaged data"),
        )
        .arg(
            Arg::new("max-connections")
                .long("max-connections")
                .value_name("NUMBER")
                .value_parser(value_parser!(u16).range(1..))
                .help("The most connections at once; 256 unless set"),
        )
        .arg(Arg::new("congestion").long("congestion").value_name("NAME").help(
            "The TCP congestion control to send with, reno for example, instead of the system's",
        ))
        .arg(
            Arg::new("verbose")
                .long("verbose")
                .short('v')
                .action(ArgAction::SetTrue)
                .help("Tell on standard error who comes and goes"),
        )
}

fn block_size(text: &str) -> Result<u32, String> {
    match text.parse::<u32>() {
        Ok(size) if size.is_power_of_two() && (512..=65536).contains(&size) => Ok(size),
        _ => Err("a block has 512, 1024, 2048, ... or 65536 bytes".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Args, clap::Error> {
        let words = std::iter::once("iscsi-target").chain(line.split(' '));
        Ok(Args::from_matches(&command().try_get_matches_from(words)?))
    }

    #[test]
    fn disks_keep_their_order() {
        let args = parse("--null 1G --ram 64M --file x --null 2K").unwrap();
        let expected = [
            DiskSpec::Null(1 << 30),
            DiskSpec::Ram(64 << 20),
            DiskSpec::File("x".into()),
            DiskSpec::Null(2048),
        ];
        assert_eq!(args.disks, expected);
        assert_eq!((args.listen.as_str(), args.block_size), (DEFAULT_LISTEN, 512));
    }

    #[test]
    fn what_belongs_together_must_be_given_together() {
        for line in [
            "--listen 127.0.0.1:0",
            "--ram 1M --chap user",
            "--ram 1M --secret-file x",
            "--ram 1M --mutual-user u --mutual-secret-file x",
            "--ram 1Q",
            "--ram 1M --block-size 520",
            "--ram 1M --target nonsense",
            "--ram 1M --header-digest sometimes",
            "--ram 1M --data-digest crc32c",
            "--ram 1M --error-recovery-level 2",
        ] {
            let error = parse(line).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{line}");
        }
        assert!(parse("--ram 1M --chap user --secret-file x").unwrap().chap.is_some());
        assert_eq!(parse("--ram 1M").unwrap().error_recovery_level, 0);
        let args = parse("--ram 1M --error-recovery-level 1").unwrap();
        assert_eq!(args.error_recovery_level, 1);
    }

    #[test]
    fn digests_are_offered_unless_told_otherwise() {
        let args = parse("--ram 1M").unwrap();
        assert_eq!(args.header_digest, Digests::CRC32C_NONE);
        assert_eq!(args.data_digest, Digests::CRC32C_NONE);
        let args = parse("--ram 1M --header-digest required --data-digest none").unwrap();
        assert_eq!((args.header_digest, args.data_digest), (Digests::CRC32C, Digests::NONE));
    }

    #[test]
    fn the_command_is_consistent() {
        command().debug_assert();
    }
}
