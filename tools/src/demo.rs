//! `iscsi-demo`: a target and an initiator in one process, and everything that happens between them.

use core::hash::{BuildHasher, Hasher};
use std::collections::hash_map::RandomState;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use iscsi_core::auth::{Chap, Secret};
use iscsi_core::text::Digests;
use iscsi_core::{Config, DiscoveryScope, IscsiName, Lun, Negotiated, Portal, TargetAddress};
use iscsi_runtime_std::{Client, Options, discover};
use iscsi_scsi::inquiry::StandardInquiry;
use iscsi_scsi::vpd::{PageCode, UnitSerialNumber};
use iscsi_target::server::{Server, ServerHandle};
use iscsi_target::{RamDisk, TargetConfig};
use serde_json::{Value, json};

use crate::args::{self, Common, Negotiation};
use crate::connect::{Parameters, Setup, explain};
use crate::disk::{Disk, Flights};
use crate::json;
use crate::output::{self, FAILED, Outcome, Stop, print_json};
use crate::unit::Unit;
use crate::units::{parse_bytes, size};

const TOOL: &str = "iscsi-demo";
const TARGET: &str = "iqn.2001-04.com.example:demo";
const BLOCK: u32 = 512;
/// Bytes of one command, and how many are under way at once.
const PIECE: usize = 512 << 10;
const DEPTH: usize = 16;

const EXIT_CODES: &str = "\
Exit codes:
  0   every byte was read back as it was written, or help was printed
  10  anything else";

/// Start a target in this process, log in to it, write to its disk and verify what was written
///
/// Nothing outside of this process is touched but one TCP port of the loopback interface.
#[derive(Debug, Parser)]
#[command(name = TOOL, version, disable_help_flag = true, after_help = EXIT_CODES)]
struct Arguments {
    /// How much to write and to verify; the disk is twice as large
    #[arg(long, value_name = "BYTES", value_parser = parse_bytes, default_value = "256M")]
    size: u64,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    common: Common,
}

/// Runs the tool with the arguments of the process.
pub fn main() -> ExitCode {
    match args::parse(FAILED) {
        // Not even a closed output makes success of what was not verified.
        Ok(arguments) => match run(&arguments) {
            Err(Stop::Unread) => ExitCode::from(FAILED),
            outcome => output::finish(TOOL, outcome.map(|()| 0)),
        },
        Err(code) => code,
    }
}

fn run(arguments: &Arguments) -> Outcome<()> {
    let bytes = arguments.size;
    let fits = usize::try_from(bytes).ok().filter(|bytes| *bytes <= isize::MAX as usize / 4);
    let Some(disk_size) = fits.filter(|bytes| *bytes > 0 && bytes % PIECE == 0).map(|b| b * 2)
    else {
        return Err(Stop::failed(format!("--size is a multiple of {}", size(PIECE as u64))));
    };
    // The environment of the other tools is checked, but plays no part: what is shown here depends on nothing.
    let setup = Setup::new(TOOL, &arguments.common, &Negotiation::default())?;
    let mut shown = Shown { json: arguments.json.then(|| json!({})), width: 11 };
    shown.title("A target and an initiator in one process, over TCP on the loopback interface.")?;

    let credentials = Credentials::random()?;
    let server = start_target(&credentials, disk_size)?;
    let portal = Portal::new(&server.addr().ip().to_string(), server.addr().port());
    let portal = portal.map_err(|error| Stop::failed(error.to_string()))?;
    let disk_text = format!("{TARGET} at {portal}, {} in memory", size(disk_size as u64));
    shown.fact("target", json!({ "name": TARGET, "portal": portal.to_string() }), disk_text)?;

    let address = find_target(&setup, &credentials, portal)?;
    let text = format!("SendTargets names {TARGET} at {address}");
    shown.fact("discovery", json!(address.to_string()), text)?;

    let start = Instant::now();
    let client = log_in(&setup, &credentials, address.portal)?;
    let login = start.elapsed().as_secs_f64() * 1000.0;
    let text = format!("both sides proved who they are (mutual CHAP), {login:.1} ms");
    shown.fact("login", json!({ "mutual_chap": true, "milliseconds": login }), text)?;
    show_parameters(&mut shown, client.negotiated())?;

    let mut unit = Unit::new(client, Lun::ZERO, format!("{TARGET} LUN 0"));
    show_identity(&mut shown, &mut unit)?;
    let (disk, ()) = Disk::open(unit, false, |_| ())?;
    let blocks = disk.bytes() / u64::from(BLOCK);
    let text = format!("{}: {blocks} blocks of {} bytes", size(disk.bytes()), disk.block_size());
    shown.fact(
        "capacity",
        json!({ "bytes": disk.bytes(), "block_size": disk.block_size() }),
        text,
    )?;

    let pattern = Pattern(random());
    let seconds = write_all(&disk, &pattern, bytes)?;
    let written = throughput(bytes, seconds);
    shown.fact("written", timing(bytes, seconds), written)?;
    let seconds = verify_all(&disk, &pattern, bytes)?;
    let verified = format!("{}: every byte as it was written", throughput(bytes, seconds));
    shown.fact("verified", timing(bytes, seconds), verified)?;

    disk.close();
    server.stop().map_err(|error| Stop::failed(format!("the target: {error}")))?;
    shown.end()
}

/// User names and secrets of one run.
struct Credentials {
    initiator: Secret,
    target: Secret,
}

impl Credentials {
    fn random() -> Outcome<Self> {
        let secret = || Secret::new(format!("{:016x}{:016x}", random(), random()));
        Ok(Self { initiator: secret()?, target: secret()? })
    }

    fn chap(&self) -> Outcome<Chap> {
        let chap = Chap::new("demo-initiator", self.initiator.clone())?;
        Ok(chap.with_mutual(Some("demo-target"), self.target.clone())?)
    }
}

/// A number that is another one each time. The standard library draws the keys of its hash tables from the system.
fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

fn start_target(credentials: &Credentials, disk_size: usize) -> Outcome<ServerHandle> {
    let mut config = TargetConfig::new(name(TARGET)?);
    config.auth = Some(credentials.chap()?);
    config.discovery_auth = Some(credentials.chap()?);
    config.limits.header_digest = Digests::CRC32C;
    config.limits.data_digest = Digests::CRC32C;
    let disk = RamDisk::new(vec![0; disk_size], BLOCK)
        .map_err(|error| Stop::failed(format!("the disk in memory: {error}")))?;
    let listen = |error: io::Error| {
        Stop::with_remedy(
            format!("listening on the loopback interface: {error}"),
            "the demo needs one free TCP port of 127.0.0.1",
        )
    };
    let mut server = Server::bind("127.0.0.1:0", config).map_err(listen)?;
    server.add_disk(disk);
    server.spawn().map_err(|error| Stop::failed(format!("starting the target: {error}")))
}

fn find_target(setup: &Setup, credentials: &Credentials, portal: Portal) -> Outcome<TargetAddress> {
    let config = Config::discovery(setup.name().clone()).chap(credentials.chap()?);
    // A discovery session offers no digest by itself, and this target insists.
    let config = config.header_digest(Digests::CRC32C).data_digest(Digests::CRC32C);
    let config = config.timeouts(setup.timeouts()).build()?;
    let found = discover(config, portal, DiscoveryScope::All, &options(setup))
        .map_err(|error| explain(&error).about("discovery"))?;
    let target = found.targets.into_iter().find(|target| target.name.as_str() == TARGET);
    target
        .and_then(|target| target.portals.into_iter().next())
        .ok_or_else(|| Stop::failed("discovery: the target does not name itself"))
}

fn log_in(setup: &Setup, credentials: &Credentials, portal: Portal) -> Outcome<Client> {
    let config = Config::normal(setup.name().clone(), name(TARGET)?)
        .chap(credentials.chap()?)
        .header_digest(Digests::CRC32C)
        .data_digest(Digests::CRC32C)
        .timeouts(setup.timeouts())
        .build()?;
    Client::connect_with(config, portal, &options(setup))
        .map_err(|error| explain(&error).about("login"))
}

/// The settings of the run without those of the environment.
fn options(setup: &Setup) -> Options {
    let mut options = Options::default();
    options.depth = DEPTH;
    options.trace = setup.trace();
    options
}

fn name(text: &str) -> Outcome<IscsiName> {
    IscsiName::new(text).map_err(|error| Stop::failed(error.to_string()))
}

fn show_parameters(shown: &mut Shown, negotiated: &Negotiated) -> Outcome<()> {
    let (header, data) = (negotiated.header_digest.as_str(), negotiated.data_digest.as_str());
    shown.line("digests", &format!("{header} of every header, {data} of all data"))?;
    let text = Parameters(negotiated).to_string();
    let text: Vec<&str> = text.split_inclusive(' ').skip(2).collect();
    shown.fact("negotiated", json::negotiated(negotiated), text.concat())
}

fn show_identity(shown: &mut Shown, unit: &mut Unit) -> Outcome<()> {
    let wrong = |error| Stop::failed(format!("INQUIRY: the answer is wrong: {error}"));
    let data = unit.inquiry(None).map_err(|trouble| trouble.stop("INQUIRY"))?;
    let inquiry = StandardInquiry::parse(&data).map_err(wrong)?;
    let page = unit
        .inquiry(Some(PageCode::UNIT_SERIAL_NUMBER))
        .map_err(|trouble| trouble.stop("INQUIRY of the unit serial number"))?;
    let serial = UnitSerialNumber::parse(&page).map_err(wrong)?.serial().trimmed();
    let (vendor, product) = (inquiry.vendor().trimmed(), inquiry.product().trimmed());
    let text = format!("{vendor} {product}, serial number {serial}");
    shown.fact("identity", json::standard(&inquiry), text)
}

/// Bytes that can be told for any place without storing them.
struct Pattern(u64);

impl Pattern {
    /// The bytes from `at`, a multiple of 8, on.
    fn fill(&self, at: u64, out: &mut [u8]) {
        let (words, _) = out.as_chunks_mut::<8>();
        for (word, number) in words.iter_mut().zip(at / 8..) {
            *word = self.word(number);
        }
    }

    /// The first place from `at` on where `data` are not these bytes.
    fn mismatch(&self, at: u64, data: &[u8]) -> Option<u64> {
        let (words, _) = data.as_chunks::<8>();
        let wrong = words.iter().zip(at / 8..).find(|(word, number)| **word != self.word(*number));
        wrong.map(|(_, number)| number * 8)
    }

    /// The mixing function of SplitMix64: every word depends on all bits of its number.
    fn word(&self, number: u64) -> [u8; 8] {
        let mut z = self.0.wrapping_add(number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ z >> 31).to_le_bytes()
    }
}

/// Writes the pattern; the seconds it took.
fn write_all(disk: &Disk, pattern: &Pattern, bytes: u64) -> Outcome<f64> {
    let bar = bar("writing", bytes);
    let start = Instant::now();
    let mut flights = Flights::new();
    let mut free: Vec<Vec<u8>> = (0..DEPTH).map(|_| vec![0; PIECE]).collect();
    let mut next = (0..bytes).step_by(PIECE);
    loop {
        if let Some((memory, at)) = pair(&mut free, &mut next) {
            let mut memory: Vec<u8> = memory;
            pattern.fill(at, &mut memory);
            flights.push(at, disk.write(disk.cover(at, PIECE).0, memory));
        } else if let Some((at, flight)) = flights.pop() {
            let (memory, result) = disk.finish(flight);
            result.map_err(|trouble| trouble.stop(&format!("writing at {at}")))?;
            free.push(memory);
            bar.inc(PIECE as u64);
        } else {
            break;
        }
    }
    disk.flush().map_err(|trouble| disk.not_flushed(trouble))?;
    bar.finish_and_clear();
    Ok(start.elapsed().as_secs_f64())
}

/// Reads everything and compares it with the pattern; the seconds it took.
fn verify_all(disk: &Disk, pattern: &Pattern, bytes: u64) -> Outcome<f64> {
    let bar = bar("verifying", bytes);
    let start = Instant::now();
    let mut flights = Flights::new();
    let mut free: Vec<Vec<u8>> = (0..DEPTH).map(|_| vec![0; PIECE]).collect();
    let mut next = (0..bytes).step_by(PIECE);
    loop {
        if let Some((memory, at)) = pair(&mut free, &mut next) {
            flights.push(at, disk.read(disk.cover(at, PIECE).0, memory));
        } else if let Some((at, flight)) = flights.pop() {
            let (memory, result) = disk.finish(flight);
            result.map_err(|trouble| trouble.stop(&format!("reading at {at}")))?;
            if let Some(place) = pattern.mismatch(at, &memory) {
                return Err(Stop::failed(format!(
                    "what was read at byte {place} is not what was written there"
                )));
            }
            free.push(memory);
            bar.inc(PIECE as u64);
        } else {
            break;
        }
    }
    bar.finish_and_clear();
    Ok(start.elapsed().as_secs_f64())
}

/// The next piece and memory for it, if there are both.
fn pair(free: &mut Vec<Vec<u8>>, next: &mut impl Iterator<Item = u64>) -> Option<(Vec<u8>, u64)> {
    let memory = free.pop()?;
    match next.next() {
        Some(at) => Some((memory, at)),
        None => {
            free.push(memory);
            None
        }
    }
}

/// A progress bar on standard error, which shows nothing if that is no terminal.
fn bar(what: &'static str, bytes: u64) -> ProgressBar {
    let template = "  {msg:<11} {bar:32} {bytes} of {total_bytes}, {binary_bytes_per_sec}";
    let bar = ProgressBar::new(bytes).with_message(what);
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

fn throughput(bytes: u64, seconds: f64) -> String {
    let rate = (bytes as f64 / seconds.max(1e-9)) as u64;
    format!("{} in {seconds:.2} s, {}/s", size(bytes), size(rate))
}

fn timing(bytes: u64, seconds: f64) -> Value {
    json!({ "bytes": bytes, "seconds": seconds, "bytes_per_second": bytes as f64 / seconds.max(1e-9) })
}

/// What is shown: lines as they come, or one document at the end.
struct Shown {
    json: Option<Value>,
    width: usize,
}

impl Shown {
    fn title(&self, text: &str) -> Outcome<()> {
        if self.json.is_none() {
            writeln!(io::stdout(), "{text}\n")?;
        }
        Ok(())
    }

    fn fact(&mut self, name: &str, value: Value, text: impl AsRef<str>) -> Outcome<()> {
        match &mut self.json {
            Some(document) => document[name] = value,
            None => self.line(name, text.as_ref())?,
        }
        Ok(())
    }

    /// Prints a name and its text, unless there will be a document.
    fn line(&self, name: &str, text: &str) -> Outcome<()> {
        if self.json.is_some() {
            return Ok(());
        }
        let (bold, plain) =
            if io::stdout().is_terminal() { ("\x1b[1m", "\x1b[0m") } else { ("", "") };
        writeln!(io::stdout(), "  {bold}{name:<width$}{plain} {text}", width = self.width)?;
        Ok(())
    }

    fn end(self) -> Outcome<()> {
        match self.json {
            Some(document) => print_json(&mut io::stdout(), &document),
            None => {
                write!(
                    io::stdout(),
                    "\nTry next:\n  \
                     iscsi-target --ram 1G                     a target for others, on 127.0.0.1:3260\n  \
                     iscsi-ls -s iscsi://127.0.0.1             its name and its logical units\n  \
                     iscsi-dd -p -s FILE -d iscsi://127.0.0.1/NAME/0\n"
                )?;
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn the_pattern_tells_every_place() {
        let pattern = Pattern(42);
        let mut data = [0; 4096];
        pattern.fill(8192, &mut data);
        assert_eq!(pattern.mismatch(8192, &data), None);
        assert_eq!(pattern.mismatch(8200, &data), Some(8200), "shifted data are found");
        assert_eq!(Pattern(43).mismatch(8192, &data), Some(8192), "so are those of another run");
        data[4095] ^= 1;
        assert_eq!(pattern.mismatch(8192, &data), Some(8192 + 4088));
    }

    #[test]
    fn sizes_must_fit() {
        for text in ["0", "1000", "16384P"] {
            let Ok(arguments) = Arguments::try_parse_from(["iscsi-demo", "--size", text]) else {
                continue;
            };
            assert!(run(&arguments).is_err(), "{text}");
        }
    }
}
