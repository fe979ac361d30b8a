//! The command line.

use core::net::SocketAddr;
use core::ops::RangeInclusive;
use core::time::Duration;

use clap::Parser;
use iscsi_fault_proxy::{Builder, Fault, FaultProxy, Way};

const AFTER_HELP: &str = "\
BYTES is a number or a range of numbers, of which one is drawn for each connection: 500, 64KiB, 1MiB..20MiB. TIME is like 20ms, \
5us, 1s, or a range of them.

One line on standard output tells the address once connections can come. The same seed does the same to the same streams.

Exit codes: 1 if the address cannot be listened on, 2 if the command line makes no sense.";

/// Forwards TCP connections and breaks them on purpose, until it is interrupted
#[derive(Debug, Parser)]
#[command(version, after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// The address to listen on; port 0 means any free one
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:0")]
    pub(crate) listen: SocketAddr,
    /// The address to forward to
    #[arg(long, value_name = "ADDR:PORT")]
    pub(crate) to: SocketAddr,
    /// Decides everything that is drawn
    #[arg(long, value_name = "NUMBER", default_value = "1")]
    seed: u64,
    /// Only the first connections have faults
    #[arg(long, value_name = "COUNT")]
    only_first: Option<u64>,
    /// Reset each connection after so many bytes of both ways
    #[arg(long, value_name = "BYTES", value_parser = parse_bytes)]
    cut_every: Option<RangeInclusive<u64>>,
    /// Close each connection (FIN) after so many bytes of both ways
    #[arg(long, value_name = "BYTES", value_parser = parse_bytes)]
    close_every: Option<RangeInclusive<u64>>,
    /// Let nothing pass to the client after so many bytes
    #[arg(long, value_name = "BYTES", value_parser = parse_bytes)]
    stall_after: Option<RangeInclusive<u64>>,
    /// Send a FIN to the client after so many bytes; the other way goes on
    #[arg(long, value_name = "BYTES", value_parser = parse_bytes)]
    half_close_after: Option<RangeInclusive<u64>>,
    /// Flip a bit whenever so many bytes have passed, both ways
    #[arg(long, value_name = "BYTES", value_parser = parse_bytes)]
    flip_every: Option<RangeInclusive<u64>>,
    /// Flip no bit before this byte of a stream
    #[arg(long, value_name = "BYTE", default_value = "0")]
    flip_from: u64,
    /// Flip no bit of an iSCSI login
    #[arg(long)]
    outside_login: bool,
    /// Hold back what comes, both ways
    #[arg(long, value_name = "TIME", value_parser = parse_times)]
    delay: Option<RangeInclusive<Duration>>,
    /// Let a byte pass to the client, then wait for so long
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    trickle: Option<Duration>,
    /// Tell on standard error what is done
    #[arg(long, short)]
    verbose: bool,
}

impl Args {
    pub(crate) fn builder(self) -> Builder {
        let mut builder = FaultProxy::to(self.to).listen_on(self.listen).seed(self.seed);
        if let Some(count) = self.only_first {
            builder = match count.checked_sub(1) {
                Some(last) => builder.only_connections(..=last),
                // None at all: no number is that high.
                None => builder.only_connections(u64::MAX..),
            };
        }
        if let Some(bytes) = self.cut_every {
            builder = builder.cut_after_bytes(bytes);
        }
        if let Some(bytes) = self.close_every {
            builder = builder.close_after_bytes(bytes);
        }
        if let Some(bytes) = self.stall_after {
            builder = builder.after_bytes(Way::ToClient, bytes, Fault::Stall);
        }
        if let Some(bytes) = self.half_close_after {
            builder = builder.after_bytes(Way::ToClient, bytes, Fault::HalfClose);
        }
        for way in [Way::ToServer, Way::ToClient] {
            if let Some(bytes) = &self.flip_every {
                builder = builder.flip_bits(way, bytes.clone());
            }
            if let Some(times) = &self.delay {
                builder = builder.delay(way, *times.start(), *times.end());
            }
        }
        if self.outside_login {
            builder = builder.outside_login();
        }
        if let Some(pause) = self.trickle {
            builder = builder.trickle(Way::ToClient, 1, pause);
        }
        if self.verbose {
            builder = builder.observe(|entry| eprintln!("{entry}"));
        }
        builder.from_byte(self.flip_from)
    }
}

/// A value or two with dots between them.
fn parse_range<T: PartialOrd + Clone>(
    text: &str,
    parse: impl Fn(&str) -> Result<T, String>,
) -> Result<RangeInclusive<T>, String> {
    let (low, high) = text.split_once("..").unwrap_or((text, text));
    let (low, high) = (parse(low)?, parse(high.strip_prefix('=').unwrap_or(high))?);
    if low > high {
        return Err("the range ends before it begins".into());
    }
    Ok(low..=high)
}

fn parse_bytes(text: &str) -> Result<RangeInclusive<u64>, String> {
    parse_range(text, |text| {
        const UNITS: [(&str, u64); 7] = [
            ("", 1),
            ("K", 1 << 10),
            ("KiB", 1 << 10),
            ("M", 1 << 20),
            ("MiB", 1 << 20),
            ("G", 1 << 30),
            ("GiB", 1 << 30),
        ];
        let (number, factor) = number_and_unit(text, &UNITS)
            .ok_or("write a number of bytes like 500, 64KiB or 20MiB")?;
        number.checked_mul(factor).ok_or_else(|| "that is too much".to_owned())
    })
}

fn parse_times(text: &str) -> Result<RangeInclusive<Duration>, String> {
    parse_range(text, parse_time)
}

fn parse_time(text: &str) -> Result<Duration, String> {
    let (number, nanos) =
        number_and_unit(text, &[("us", 1_000), ("ms", 1_000_000), ("s", 1_000_000_000)])
            .ok_or("write a time like 20ms, 5us or 1s")?;
    number.checked_mul(nanos).map(Duration::from_nanos).ok_or_else(|| "that is too long".to_owned())
}

fn number_and_unit(text: &str, units: &[(&str, u64)]) -> Option<(u64, u64)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(end);
    let (_, factor) = units.iter().find(|(name, _)| *name == unit)?;
    Some((digits.parse().ok()?, *factor))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn numbers_and_ranges() {
        assert_eq!(parse_bytes("500"), Ok(500..=500));
        assert_eq!(parse_bytes("1MiB..20MiB"), Ok(1 << 20..=20 << 20));
        assert_eq!(parse_bytes("1K..=2G"), Ok(1 << 10..=2 << 30));
        let millis = Duration::from_millis;
        assert_eq!(parse_times("5us..20ms"), Ok(Duration::from_micros(5)..=millis(20)));
        assert_eq!(parse_time("2s"), Ok(millis(2000)));
        for text in ["", "K", "5KB", "2..1", "-1", "99999999999999999999", "99999999999G"] {
            assert!(parse_bytes(text).is_err(), "{text}");
        }
        assert!(parse_time("5").is_err() && parse_time("99999999999999s").is_err());
    }

    #[test]
    fn the_command_is_consistent() {
        Args::command().debug_assert();
        let line =
            "p --to 127.0.0.1:1 --cut-every 1MiB..20MiB --seed 7 --delay 1ms --flip-every 5 -v";
        let builder = Args::try_parse_from(line.split(' ')).unwrap().builder();
        let text = format!("{builder:?}");
        assert!(text.contains("seed: 7") && text.contains("Reset"), "{text}");
        assert!(Args::try_parse_from(["p"]).is_err(), "--to is missing");
    }
}
