//! A copy to a unit and back over a proxy that breaks every connection.

use core::net::SocketAddr;
use std::process::Stdio;

use iscsi_fault_proxy::FaultProxy;

use crate::support::{DD, Scratch, command, random};

const MIB: usize = 1 << 20;

/// Copies to the unit and back; each way `cuts` connections are broken after 1 to 4 MiB.
pub(crate) fn there_and_back(target: SocketAddr, unit: &str, bytes: usize, cuts: u64) {
    let source = Scratch::with("reconnect", &random(bytes, 4));
    let back = Scratch::new("reconnect-back");
    for reads in [false, true] {
        let faults = FaultProxy::to(target).seed(11).only_connections(0..cuts);
        let (least, most) = (MIB as u64, 4 * MIB as u64);
        let proxy = if reads {
            faults.cut_after_bytes(least..most)
        } else {
            faults.close_after_bytes(least..most)
        };
        let proxy = proxy.start().unwrap();
        let url = format!("iscsi://{}/{unit}", proxy.addr());
        let (from, to) = if reads { (&*url, back.str()) } else { (source.str(), &*url) };
        let arguments = ["-s", from, "-d", to, "--time2wait", "0", "--retry-for", "30"];
        let ran = command(DD, arguments).stdout(Stdio::piped()).output().unwrap();
        let said = String::from_utf8_lossy(&ran.stderr).into_owned();
        assert!(ran.status.success(), "{said}");
        // Every loss is told with its reason, and what came of it.
        let lost =
            said.lines().filter(|line| line.contains(" lost: ") || line.contains(" failed: "));
        let (lost, again) = (lost.count() as u64, said.matches("logged in again").count() as u64);
        let counters = proxy.counters();
        println!("{counters:?}: {lost} losses, {again} times back");
        assert!(lost >= cuts && again >= cuts / 2, "{cuts} cuts, {lost} losses told:\n{said}");
    }
    assert!(back.read() == source.read());
}
