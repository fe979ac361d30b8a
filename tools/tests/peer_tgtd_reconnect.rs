//! `iscsi-dd` copies to tgtd and back over connections that break.

#[path = "support/peers.rs"]
mod peers;
#[path = "support/reconnect.rs"]
mod reconnect;
#[expect(dead_code, reason = "each test program uses its part")]
mod support;
#[expect(dead_code, reason = "each test program uses its part")]
#[path = "../../runtime-std/tests/support/tgtd.rs"]
mod tgtd;

use std::process::ExitCode;

use support::Scratch;
use tgtd::{Access, Tgtd};

const BYTES: usize = 64 << 20;

fn main() -> ExitCode {
    let missing = peers::missing_program(&["tgtd", "tgtadm"]);
    let copy = || {
        let disk = Scratch::with("disk", &vec![0; BYTES]);
        let mut tgtd = Tgtd::start();
        let name = tgtd.add_target_on("reconnect", disk.path(), &Access::default());
        tgtd.set("DefaultTime2Wait", "0");
        let address = ([127, 0, 0, 1], tgtd.port).into();
        reconnect::there_and_back(address, &format!("{name}/1"), BYTES, 12);
        // Nothing of the many sessions is left.
        assert_eq!(tgtd.sessions(), 0);
    };
    peers::run_all(
        "tgtd",
        missing,
        vec![("a_copy_outlives_its_connections".into(), Box::new(copy))],
    )
}
