//! `iscsi-ls`: the targets of a portal, and their logical units.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;
use iscsi_core::TargetAddress;
use iscsi_core::url::PortalUrl;
use iscsi_runtime_std::DiscoveredTarget;
use iscsi_scsi::Lun;
use iscsi_scsi::inquiry::{DeviceType, StandardInquiry};
use serde_json::{Value, json};

use crate::args::{self, Common, Negotiation};
use crate::connect::Setup;
use crate::output::{self, FAILED, Outcome, Stop, complain, print_json, report};
use crate::unit::Unit;
use crate::units::short_size;

const TOOL: &str = "iscsi-ls";

const EXIT_CODES: &str = "\
Exit codes:
  0   everything was listed, or help was printed
  10  the arguments are wrong, or something could not be listed; what could be is printed";

/// List the iSCSI targets of a portal
#[derive(Debug, Parser)]
#[command(name = TOOL, version, disable_help_flag = true, after_help = EXIT_CODES)]
#[command(override_usage = "iscsi-ls [OPTIONS] <PORTAL-URL>")]
struct Arguments {
    /// iscsi://[user[%password]@]host[:port]
    #[arg(value_name = "PORTAL-URL", required_unless_present = "usage")]
    portal: Option<String>,
    /// Show the logical units of each target
    #[arg(short = 's', long)]
    show_luns: bool,
    /// Print the targets as URLs; of no effect with -s
    #[arg(short = 'U', long)]
    url: bool,
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

fn run(arguments: &Arguments) -> Outcome<u8> {
    let setup = Setup::new(TOOL, &arguments.common, &arguments.negotiation)?;
    let portal = setup.portal_url(arguments.portal.as_deref().unwrap_or_default())?;
    let found = setup.discover(&portal)?;
    let mut listing = Listing {
        setup: &setup,
        portal: &portal,
        arguments,
        out: io::stdout().lock(),
        complete: true,
    };
    for bad in &found.bad {
        listing.fail(&Stop::failed(format!("a record of the portal is wrong: {bad}")));
    }
    let mut targets = Vec::new();
    for target in &found.targets {
        targets.push(listing.target(target)?);
    }
    if arguments.json {
        print_json(&mut listing.out, &json!({ "targets": targets }))?;
    }
    Ok(if listing.complete { 0 } else { FAILED })
}

struct Listing<'a, W> {
    setup: &'a Setup,
    portal: &'a PortalUrl,
    arguments: &'a Arguments,
    out: W,
    /// Nothing failed so far.
    complete: bool,
}

impl<W: Write> Listing<'_, W> {
    /// Lists a target at each of its portals.
    fn target(&mut self, target: &DiscoveredTarget) -> Outcome<Value> {
        let mut portals = Vec::new();
        for address in &target.portals {
            if !self.arguments.json {
                self.print_target(target, address)?;
            }
            let mut entry = json!({
                "portal": address.portal.to_string(),
                "group": address.target_portal_group_tag,
            });
            if self.arguments.show_luns {
                entry["luns"] = self.luns(target, address)?;
            }
            portals.push(entry);
        }
        Ok(json!({ "name": target.name.as_str(), "portals": portals }))
    }

    fn print_target(
        &mut self,
        target: &DiscoveredTarget,
        address: &TargetAddress,
    ) -> io::Result<()> {
        let name = &target.name;
        if self.arguments.url && !self.arguments.show_luns {
            writeln!(self.out, "iscsi://{}/{name}/0", address.portal)
        } else {
            writeln!(self.out, "Target:{name} Portal:{address}")
        }
    }

    /// Lists the units that a target has at one portal; `null` if there was no session with it.
    fn luns(&mut self, target: &DiscoveredTarget, address: &TargetAddress) -> Outcome<Value> {
        // Without a zone nobody knows which network is meant.
        if address.portal.to_string().to_ascii_lowercase().starts_with("[fe80:") {
            complain(TOOL, "skipping link-local address");
            return Ok(Value::Null);
        }
        let name = format!("{} at {}", target.name, address.portal);
        let client = self.setup.open_target(target.name.clone(), &address.portal, self.portal);
        let mut unit = match client {
            Ok(client) => Unit::new(client, iscsi_core::Lun::ZERO, name.clone()),
            Err(stop) => {
                self.fail(&stop.about(name));
                return Ok(Value::Null);
            }
        };
        let luns = match unit.luns() {
            Ok(luns) => luns,
            Err(trouble) => {
                self.fail(&trouble.stop("REPORT LUNS").about(name));
                unit.close();
                return Ok(Value::Null);
            }
        };
        let mut values = Vec::new();
        for lun in luns {
            unit.lun = iscsi_core::Lun::from_bytes(lun.to_bytes());
            match describe(&mut unit) {
                Ok(found) => {
                    if !self.arguments.json {
                        print_lun(&mut self.out, lun, &found)?;
                    }
                    values.push(found.json(unit.lun));
                }
                Err(stop) => {
                    self.fail(&stop.about(format_args!("{name} LUN {}", unit.lun)));
                    values.push(json!({ "lun": lun_json(unit.lun), "error": true }));
                }
            }
        }
        unit.close();
        Ok(values.into())
    }

    fn fail(&mut self, stop: &Stop) {
        self.complete = false;
        // The message comes behind what it is about.
        let _ = self.out.flush();
        report(TOOL, stop);
    }
}

/// What is listed of a unit.
struct Found {
    device_type: DeviceType,
    has_medium: bool,
    /// Of a disk with a medium.
    bytes: Option<u64>,
}

fn describe(unit: &mut Unit) -> Outcome<Found> {
    let has_medium = unit.has_medium().map_err(|trouble| trouble.stop("TEST UNIT READY"))?;
    let data = unit.inquiry(None).map_err(|trouble| trouble.stop("INQUIRY"))?;
    let inquiry = StandardInquiry::parse(&data)
        .map_err(|error| Stop::failed(format!("INQUIRY: the answer is wrong: {error}")))?;
    let device_type = inquiry.peripheral.device_type;
    let mut bytes = None;
    if device_type == DeviceType::DISK && has_medium {
        let capacity = unit.capacity().map_err(|trouble| trouble.stop("READ CAPACITY"))?;
        bytes = capacity.bytes();
    }
    Ok(Found { device_type, has_medium, bytes })
}

impl Found {
    fn json(&self, lun: iscsi_core::Lun) -> Value {
        json!({
            "lun": lun_json(lun),
            "type": self.device_type.label(),
            "bytes": self.bytes,
            "has_medium": self.has_medium,
        })
    }
}

/// The number, or the eight bytes as text where there is none.
fn lun_json(lun: iscsi_core::Lun) -> Value {
    lun.number().map_or_else(|| lun.to_string().into(), Value::from)
}

fn print_lun(out: &mut impl Write, lun: Lun, found: &Found) -> io::Result<()> {
    let number = iscsi_core::Lun::from_bytes(lun.to_bytes()).to_string();
    write!(out, "Lun:{number:<4} Type:{}", found.device_type)?;
    if let Some(bytes) = found.bytes {
        write!(out, " (Size:{})", short_size(bytes))?;
    }
    if !found.has_medium {
        write!(out, " (No media loaded)")?;
    }
    writeln!(out)
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
    fn lines_of_units() {
        let line = |lun: u32, device_type, has_medium, bytes| {
            let mut out = Vec::new();
            let found = Found { device_type, has_medium, bytes };
            print_lun(&mut out, Lun::new(lun).unwrap(), &found).unwrap();
            String::from_utf8(out).unwrap()
        };
        let disk = DeviceType::DISK;
        assert_eq!(line(1, disk, true, Some(64 << 20)), "Lun:1    Type:DIRECT_ACCESS (Size:64M)\n");
        assert_eq!(line(300, DeviceType::TAPE, true, None), "Lun:300  Type:SEQUENTIAL_ACCESS\n");
        assert_eq!(
            line(0, DeviceType::CD_DVD, false, None),
            "Lun:0    Type:MMC (No media loaded)\n"
        );
    }
}
