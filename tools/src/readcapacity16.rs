//! `iscsi-readcapacity16`: the capacity of a logical unit.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;
use iscsi_scsi::capacity::ReadCapacity16Data;

use crate::args::{self, Common, Negotiation};
use crate::connect::Setup;
use crate::json;
use crate::output::{self, FAILED, Outcome, Stop, print_json};

const TOOL: &str = "iscsi-readcapacity16";

const EXIT_CODES: &str = "\
Exit codes:
  0   the capacity was printed, or help was
  10  the arguments are wrong, or the unit did not tell its capacity";

/// Print the answer of a logical unit to READ CAPACITY(16)
#[derive(Debug, Parser)]
#[command(name = TOOL, version, disable_help_flag = true, after_help = EXIT_CODES)]
#[command(override_usage = "iscsi-readcapacity16 [OPTIONS] <URL>")]
struct Arguments {
    /// iscsi://[user[%password]@]host[:port]/target/lun
    #[arg(value_name = "URL", required_unless_present = "usage")]
    unit: Option<String>,
    /// Print the size in bytes only
    #[arg(short = 's', long)]
    size: bool,
    /// Print one JSON document
    #[arg(long, conflicts_with = "size")]
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

fn run(arguments: &Arguments) -> Outcome<u8> {
    let setup = Setup::new(TOOL, &arguments.common, &arguments.negotiation)?;
    let url = setup.unit_url(arguments.unit.as_deref().unwrap_or_default())?;
    let mut unit = setup.open(&url)?;
    let capacity = unit.capacity_16();
    let name = unit.url.clone();
    unit.close();
    let capacity = capacity.map_err(|t| t.stop("READ CAPACITY(16)").about(&name))?;
    let bytes = capacity.bytes().ok_or_else(|| {
        Stop::failed(format!("{name}: the unit claims a size of 2^64 bytes or more"))
    })?;
    let mut out = io::stdout().lock();
    if arguments.json {
        print_json(&mut out, &json::capacity(&capacity))?;
    } else if arguments.size {
        writeln!(out, "{bytes}")?;
    } else {
        print(&mut out, &capacity, bytes)?;
    }
    Ok(0)
}

fn print(out: &mut impl Write, capacity: &ReadCapacity16Data, bytes: u64) -> io::Result<()> {
    let c = capacity;
    writeln!(out, "RETURNED LOGICAL BLOCK ADDRESS:{}", c.last_lba)?;
    writeln!(out, "LOGICAL BLOCK LENGTH IN BYTES:{}", c.block_length)?;
    writeln!(out, "P_TYPE:{} PROT_EN:{}", c.p_type, u8::from(c.prot_en))?;
    write!(out, "P_I_EXPONENT:{} ", c.p_i_exponent)?;
    writeln!(out, "LOGICAL BLOCKS PER PHYSICAL BLOCK EXPONENT:{}", c.lbppbe)?;
    writeln!(out, "LBPME:{} LBPRZ:{}", u8::from(c.lbpme), u8::from(c.lbprz))?;
    writeln!(out, "LOWEST ALIGNED LOGICAL BLOCK ADDRESS:{}", c.lowest_aligned_lba)?;
    writeln!(out, "Total size:{bytes}")
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
    fn all_lines() {
        let capacity = ReadCapacity16Data {
            last_lba: 131_071,
            block_length: 512,
            lbppbe: 3,
            lbpme: true,
            ..ReadCapacity16Data::default()
        };
        let mut out = Vec::new();
        print(&mut out, &capacity, capacity.bytes().unwrap()).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "RETURNED LOGICAL BLOCK ADDRESS:131071\nLOGICAL BLOCK LENGTH IN BYTES:512\n\
             P_TYPE:0 PROT_EN:0\nP_I_EXPONENT:0 LOGICAL BLOCKS PER PHYSICAL BLOCK EXPONENT:3\n\
             LBPME:1 LBPRZ:0\nLOWEST ALIGNED LOGICAL BLOCK ADDRESS:0\nTotal size:67108864\n"
        );
    }
}
