//! `iscsi-target`: serves disks in memory, in files, or of nothing but zeros, until it is interrupted.

mod args;
mod size;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use iscsi_core::auth::{Chap, Secret};
use iscsi_target::server::Server;
use iscsi_target::{FileDisk, FileDiskError, NullDisk, RamDisk, SizeError, TargetConfig};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use args::{Account, Args, DiskSpec};

/// What went wrong, and what to do about it.
struct Failure(String);

fn main() -> ExitCode {
    // Usage errors end the program here, with code 2.
    let args = Args::parse();
    match run(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure(message)) => {
            eprintln!("iscsi-target: {message}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: Args) -> Result<(), Failure> {
    let mut config = TargetConfig::new(args.target);
    config.limits.header_digest = args.header_digest;
    config.limits.data_digest = args.data_digest;
    config.limits.error_recovery_level = args.error_recovery_level;
    config.auth = match &args.chap {
        Some(account) => Some(credentials(account, args.mutual.as_ref())?),
        None => None,
    };
    let name = config.name.clone();
    let mut server = Server::bind(args.listen.as_str(), config).map_err(|error| {
        Failure(format!(
            "cannot listen on {}: {error}; choose another address with --listen ADDR:PORT",
            args.listen
        ))
    })?;
    server.limit_connections(args.max_connections);
    if let Some(name) = &args.congestion {
        server.set_congestion_control(name).map_err(|error| {
            Failure(format!(
                "cannot use --congestion {name}: {error}; net.ipv4.tcp_allowed_congestion_control of sysctl(8) \
                 tells the choice"
            ))
        })?;
    }
    for disk in &args.disks {
        match disk {
            DiskSpec::Ram(bytes) => {
                let disk = ram_disk(*bytes, args.block_size)?;
                server.add_disk(disk.read_only(args.read_only));
            }
            DiskSpec::File(path) => {
                server.add_disk(file_disk(path, args.block_size, args.read_only)?);
            }
            DiskSpec::Null(bytes) => {
                server.add_disk(NullDisk::with_block_size(*bytes, args.block_size));
            }
        }
    }
    if args.verbose {
        server.set_observer(|event| eprintln!("{event}"));
    }
    let control = server.control();
    let mut signals = Signals::new([SIGINT, SIGTERM])
        .map_err(|error| Failure(format!("cannot catch signals: {error}")))?;
    std::thread::spawn(move || {
        if signals.forever().next().is_some() {
            control.stop();
        }
    });
    let mut out = std::io::stdout();
    // Nobody may be interested any more; the disks are served all the same.
    let _ = writeln!(out, "listening on {}, target {name}", server.local_addr());
    let _ = out.flush();
    server.run().map_err(|error| Failure(format!("cannot go on: {error}")))
}

fn ram_disk(bytes: u64, block_size: u32) -> Result<RamDisk<Vec<u8>>, Failure> {
    let too_much = || {
        Failure(format!(
            "there is no room in memory for {bytes} bytes; use --file for a disk that large"
        ))
    };
    let len = usize::try_from(bytes).map_err(|_| too_much())?;
    // Asks before it takes: an allocation that fails would end the program.
    Vec::<u8>::new().try_reserve_exact(len).map_err(|_| too_much())?;
    RamDisk::new(vec![0; len], block_size).map_err(|error| size_failure("--ram", error))
}

fn file_disk(path: &Path, block_size: u32, read_only: bool) -> Result<FileDisk, Failure> {
    let opened = match read_only {
        true => FileDisk::open_read_only(path, block_size),
        false => FileDisk::open(path, block_size),
    };
    opened.map_err(|error| {
        let shown = path.display();
        match error {
            FileDiskError::Io(error) if error.kind() == std::io::ErrorKind::NotFound => Failure(
                format!("cannot open {shown}: {error}; create it with: truncate -s 1G {shown}"),
            ),
            FileDiskError::Io(error)
                if error.kind() == std::io::ErrorKind::PermissionDenied && !read_only =>
            {
                Failure(format!(
                    "cannot open {shown}: {error}; change its permissions or serve it with --read-only"
                ))
            }
            FileDiskError::Io(error) => Failure(format!("cannot open {shown}: {error}")),
            FileDiskError::Size(error) => size_failure(&shown.to_string(), error),
            error => Failure(format!("cannot use {shown}: {error}")),
        }
    })
}

fn size_failure(what: &str, error: SizeError) -> Failure {
    Failure(match error {
        SizeError::Empty => format!("{what}: {error}; give it a size with: truncate -s 1G FILE"),
        SizeError::NoMultiple(_) => {
            format!("{what}: {error}; change the size or choose another --block-size")
        }
        error => format!("{what}: {error}"),
    })
}

fn credentials(account: &Account, mutual: Option<&Account>) -> Result<Chap, Failure> {
    let secret = read_secret(&account.secret_file)?;
    let chap = Chap::new(&account.user, secret)
        .map_err(|error| Failure(format!("--chap {}: {error}", account.user)))?;
    let Some(mutual) = mutual else { return Ok(chap) };
    let secret = read_secret(&mutual.secret_file)?;
    chap.with_mutual(Some(&mutual.user), secret).map_err(|error| {
        Failure(format!("--mutual-user {}: {error}; choose another secret", mutual.user))
    })
}

/// The first line of a file.
fn read_secret(path: &PathBuf) -> Result<Secret, Failure> {
    let shown = path.display();
    let bytes = std::fs::read(path)
        .map_err(|error| Failure(format!("cannot read the secret in {shown}: {error}")))?;
    let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let secret = Secret::new(line).map_err(|error| {
        Failure(format!("{shown}: {error}; its first line is taken as the secret"))
    })?;
    if secret.is_short() {
        eprintln!(
            "iscsi-target: warning: the secret in {shown} is short; use at least 12 random bytes"
        );
    }
    Ok(secret)
}
