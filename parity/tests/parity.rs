//! Every behaviour over every runtime, against this project's target and against tgtd. Without tgtd its tests show as ignored;
//! `ISCSI_REQUIRE_PEERS=1` makes them fail then.

extern crate alloc;

#[path = "../../runtime-std/tests/support/tgtd.rs"]
#[expect(dead_code, reason = "made for more than this suite needs")]
mod tgtd;

use alloc::sync::Arc;
use core::time::Duration;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::{env, thread};

use iscsi_core::auth::{Chap, Secret};
use iscsi_core::text::Digests;
use iscsi_core::{IscsiName, Lun};
use iscsi_parity::{BEHAVIOURS, BYTES, Behaviour, RUNTIMES, Runtime, Served, Setup};
use iscsi_target::server::{Server, ServerHandle};
use iscsi_target::{RamDisk, TargetConfig};
use libtest_mimic::{Arguments, Failed, Trial};
use tgtd::{Access, Tgtd};

/// Longer than any behaviour takes on a slow machine.
const PATIENCE: Duration = Duration::from_secs(180);

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let required = env::var_os("ISCSI_REQUIRE_PEERS").is_some_and(|value| value == "1");
    let missing = tgtd::missing();
    // One daemon for all tests, with a target for each; it ends with the last test.
    let daemon: Arc<Mutex<Option<Tgtd>>> = Arc::default();
    let mut trials = Vec::new();
    for &runtime in RUNTIMES {
        for behaviour in BEHAVIOURS {
            let name = format!("{}/{}", runtime.name(), behaviour.name);
            trials.push(
                Trial::test(name.clone(), move || {
                    let (served, _servers) = own(&behaviour.setup);
                    watch(runtime, behaviour, served)
                })
                .with_kind("own target"),
            );
            let (daemon, missing) = (daemon.clone(), missing.clone());
            let ignored = missing.is_some() && !required;
            trials.push(
                Trial::test(name, move || match missing {
                    Some(missing) => Err(Failed::from(missing)),
                    None => watch(runtime, behaviour, foreign(&daemon, runtime, behaviour)),
                })
                .with_kind("tgtd")
                .with_ignored_flag(ignored),
            );
        }
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    drop(daemon.lock().unwrap_or_else(PoisonError::into_inner).take());
    conclusion.exit_code()
}

/// A behaviour that hangs is a failure of its own, not of the whole run.
fn watch(
    runtime: &'static dyn Runtime,
    behaviour: &'static Behaviour,
    served: Served,
) -> Result<(), Failed> {
    let (sender, ended) = sync_channel::<()>(1);
    let thread = thread::spawn(move || {
        let _sender = sender;
        (behaviour.run)(runtime, &served);
    });
    match ended.recv_timeout(PATIENCE) {
        Err(RecvTimeoutError::Timeout) => Err(Failed::from("it hangs")),
        _ => thread.join().map_err(|panic| {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).into()));
            Failed::from(text.unwrap_or_else(|| "it panicked".into()))
        }),
    }
}

fn credentials((user, secret): (&str, &str)) -> Chap {
    Chap::new(user, Secret::new(secret).unwrap()).unwrap()
}

/// This project's target, over IPv4 and over IPv6.
fn own(setup: &Setup) -> (Served, [ServerHandle; 2]) {
    let name = IscsiName::new("iqn.2001-04.com.example:parity-target").unwrap();
    let servers = ["127.0.0.1:0", "[::1]:0"].map(|address| {
        let mut config = TargetConfig::new(name.clone());
        config.limits.default_time2wait = 0;
        if let Some(account) = setup.chap {
            let mut chap = credentials(account);
            if let Some((user, secret)) = setup.mutual {
                chap = chap.with_mutual(Some(user), Secret::new(secret).unwrap()).unwrap();
            }
            config.auth = Some(chap);
        }
        if setup.digests {
            config.limits.header_digest = Digests::CRC32C;
            config.limits.data_digest = Digests::CRC32C;
        }
        if setup.solicited {
            config.limits.immediate_data = false;
            config.limits.initial_r2t = true;
            config.limits.max_burst_length = 8192;
            config.limits.first_burst_length = 4096;
            config.limits.max_recv_data_segment_length = 4096;
        }
        let mut server = Server::bind(address, config).unwrap();
        server.add_disk(RamDisk::new(vec![0; BYTES as usize], 512).unwrap());
        server.spawn().unwrap()
    });
    let [address, address_v6] = servers.each_ref().map(ServerHandle::addr);
    (Served { address, address_v6, name, lun: Lun::ZERO, is_own: true }, servers)
}

/// A target of tgtd.
fn foreign(daemon: &Mutex<Option<Tgtd>>, runtime: &dyn Runtime, behaviour: &Behaviour) -> Served {
    assert_eq!(tgtd::BYTES, BYTES);
    let mut daemon = daemon.lock().unwrap_or_else(PoisonError::into_inner);
    let tgtd = daemon.get_or_insert_with(Tgtd::start);
    let setup = &behaviour.setup;
    let access = Access { incoming: setup.chap, outgoing: setup.mutual };
    let name = format!("{}-{}", runtime.name(), behaviour.name.replace('_', "-"));
    let name = tgtd.add_target(&name, &access);
    tgtd.set("DefaultTime2Wait", "0");
    if setup.digests {
        tgtd.set("HeaderDigest", "CRC32C");
        tgtd.set("DataDigest", "CRC32C");
    }
    if setup.solicited {
        tgtd.set("ImmediateData", "No");
        tgtd.set("InitialR2T", "Yes");
        tgtd.set("MaxBurstLength", "8192");
        tgtd.set("FirstBurstLength", "4096");
        tgtd.set("MaxRecvDataSegmentLength", "4096");
    }
    Served {
        address: SocketAddr::from(([127, 0, 0, 1], tgtd.port)),
        address_v6: SocketAddr::new(core::net::Ipv6Addr::LOCALHOST.into(), tgtd.port),
        name,
        lun: Lun::new(1).unwrap(),
        is_own: false,
    }
}
