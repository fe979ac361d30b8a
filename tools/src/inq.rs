//! `iscsi-inq`: INQUIRY data of a logical unit.

use std::io;
use std::process::ExitCode;

use clap::Parser;
use iscsi_scsi::inquiry::{Qualifier, StandardInquiry};
use iscsi_scsi::vpd::{PageCode, Vpd};

use crate::args::{self, Common, Negotiation};
use crate::connect::Setup;
use crate::output::{self, FAILED, Outcome, Stop, print_json};
use crate::unit::Unit;
use crate::{inquiry, json};

const TOOL: &str = "iscsi-inq";

const EXIT_CODES: &str = "\
Exit codes:
  0   the data were printed, or help was
  10  the arguments are wrong, or there are no such data";

/// Print the INQUIRY data of a logical unit
#[derive(Debug, Parser)]
#[command(name = TOOL, version, disable_help_flag = true, after_help = EXIT_CODES)]
#[command(override_usage = "iscsi-inq [OPTIONS] <URL>")]
struct Arguments {
    /// iscsi://[user[%password]@]host[:port]/target/lun
    #[arg(value_name = "URL", required_unless_present = "usage")]
    unit: Option<String>,
    /// 1 for a vital product data page, 0 for standard data
    #[arg(short = 'e', long, value_name = "0|1")]
    #[arg(value_parser = clap::value_parser!(u8).range(0..=1))]
    evpd: Option<u8>,
    /// The page, decimal or 0x and hexadecimal; a page other than 0 means -e 1
    #[arg(short = 'c', long, value_name = "PAGE", value_parser = parse_page, default_value = "0")]
    pagecode: u8,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    negotiation: Negotiation,
}

/// Runs the tool with the arguments of the process.
pub fn main() -> ExitCode {
    match args::parse(FAILED) {
        Ok(arguments) => output::finish(TOOL, run(&arguments)),
        Err(code) => code,
    }
}

impl Arguments {
    fn page(&self) -> Outcome<Option<PageCode>> {
        match (self.evpd, self.pagecode) {
            (Some(0), code) if code != 0 => Err(Stop::with_remedy(
                format!("standard data (-e 0) have no page {code:#04x}"),
                "leave -e out, or give -e 1",
            )),
            (Some(1), code) => Ok(Some(PageCode::from(code))),
            (_, 0) => Ok(None),
            (_, code) => Ok(Some(PageCode::from(code))),
        }
    }
}

fn run(arguments: &Arguments) -> Outcome<u8> {
    let page = arguments.page()?;
    let setup = Setup::new(TOOL, &arguments.common, &arguments.negotiation)?;
    let url = setup.unit_url(arguments.unit.as_deref().unwrap_or_default())?;
    let mut unit = setup.open(&url)?;
    let data = ask(&mut unit, page);
    let name = unit.url.clone();
    unit.close();
    print(arguments.json, page, &data.map_err(|stop| stop.about(&name))?)
        .map_err(|stop| stop.about(&name))?;
    Ok(0)
}

fn ask(unit: &mut Unit, page: Option<PageCode>) -> Outcome<Vec<u8>> {
    let data = unit.inquiry(page).map_err(|trouble| match page {
        None => trouble.stop("INQUIRY"),
        Some(page) => {
            let stop = trouble.stop(&format!("INQUIRY of page {:#04x}", page.code()));
            match stop {
                Stop::Failed { message, remedy: None } => Stop::with_remedy(
                    message,
                    "page 0 lists the pages that the unit has: -e 1 -c 0",
                ),
                stop => stop,
            }
        }
    })?;
    let absent = StandardInquiry::parse(&data)
        .is_ok_and(|inquiry| inquiry.peripheral.qualifier == Qualifier::NOT_SUPPORTED);
    if page.is_none() && absent {
        return Err(Stop::with_remedy(
            format!("there is no logical unit {}", unit.lun),
            "iscsi-ls -s shows the logical units of each target",
        ));
    }
    Ok(data)
}

fn print(as_json: bool, page: Option<PageCode>, data: &[u8]) -> Outcome<()> {
    let wrong = |error| Stop::failed(format!("INQUIRY: the answer is wrong: {error}"));
    let mut out = io::stdout().lock();
    match (page, as_json) {
        (None, false) => {
            inquiry::print_standard(&mut out, &StandardInquiry::parse(data).map_err(wrong)?)?;
        }
        (None, true) => {
            let standard = StandardInquiry::parse(data).map_err(wrong)?;
            print_json(&mut out, &json::standard(&standard))?;
        }
        (Some(_), false) => {
            inquiry::print_page(&mut out, data, &Vpd::parse(data).map_err(wrong)?)?;
        }
        (Some(_), true) => {
            print_json(&mut out, &json::page(data, &Vpd::parse(data).map_err(wrong)?))?;
        }
    }
    Ok(())
}

fn parse_page(text: &str) -> Result<u8, String> {
    let number = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) => u8::from_str_radix(digits, 16),
        None => text.parse(),
    };
    number.map_err(|_| "write a page from 0 to 255, or 0x00 to 0xff".into())
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
    fn pages() {
        let page = |arguments: &str| {
            let arguments = format!("iscsi-inq {arguments} URL");
            Arguments::try_parse_from(arguments.split_whitespace()).unwrap().page()
        };
        assert_eq!(page("").unwrap(), None);
        assert_eq!(page("-e 0").unwrap(), None);
        assert_eq!(page("-e 1").unwrap(), Some(PageCode::SUPPORTED_PAGES));
        assert_eq!(page("-e 1 -c 131").unwrap(), Some(PageCode::DEVICE_IDENTIFICATION));
        assert_eq!(page("-c 0xB0").unwrap(), Some(PageCode::BLOCK_LIMITS));
        assert!(page("-e 0 -c 0x80").is_err());
        assert!(parse_page("256").is_err() && parse_page("b0").is_err() && parse_page("").is_err());
    }
}
