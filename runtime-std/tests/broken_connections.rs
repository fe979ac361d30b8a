//! Connections that break in every way between the runtime and this project's target: every call ends in time, with the reason.

#[path = "support/damage.rs"]
mod damage;

use core::net::SocketAddr;
use core::time::Duration;
use std::io;
use std::time::Instant;

use damage::Damage;
use iscsi_core::config::Timeouts;
use iscsi_core::{Config, IscsiName, LostReason, Lun, SessionState, Timer};
use iscsi_fault_proxy::{Builder, Fault, FaultProxy, Way};
use iscsi_runtime_std::{Client, Disk, Error, Payload, SharedDisk};
use iscsi_target::server::{Server, ServerHandle};
use iscsi_target::{RamDisk, TargetConfig};
use rustix::time::{ClockId, clock_gettime};

const MIB: usize = 1 << 20;
const LIMIT: Duration = Duration::from_secs(1);

fn name() -> IscsiName {
    IscsiName::new("iqn.2001-04.com.example:broken").unwrap()
}

/// A target with a disk of 16 MiB.
fn target(address: &str) -> ServerHandle {
    let mut server = Server::bind(address, TargetConfig::new(name())).unwrap();
    server.add_disk(RamDisk::new(vec![0; 16 * MIB], 512).unwrap());
    server.spawn().unwrap()
}

/// One behind a proxy, on each of the loopback addresses.
fn behind(faults: impl Fn(Builder) -> Builder, test: impl Fn(&FaultProxy)) {
    for address in ["127.0.0.1:0", "[::1]:0"] {
        let target = target(address);
        let proxy = faults(FaultProxy::to(target.addr())).start().unwrap();
        test(&proxy);
    }
}

fn connect(address: SocketAddr) -> Result<Disk, Error> {
    let host = IscsiName::new("iqn.2001-04.com.example:host").unwrap();
    let timeouts = Timeouts {
        connect: LIMIT,
        login: LIMIT,
        command: Some(LIMIT),
        task_management: LIMIT,
        nop_interval: None,
        progress: LIMIT,
        ..Timeouts::DEFAULT
    };
    let config = Config::normal(host, name()).timeouts(timeouts).build().unwrap();
    Disk::open(Client::connect(config, address.into())?, Lun::ZERO)
}

/// The error of a call that comes after so many time limits and waits without working.
#[track_caller]
fn after<T>(
    limits: core::ops::RangeInclusive<u32>,
    call: impl FnOnce() -> Result<T, Error>,
) -> Error {
    let cpu_time = || Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap();
    let (start, spent) = (Instant::now(), cpu_time());
    let Err(error) = call() else { panic!("no error") };
    let (took, spent) = (start.elapsed(), cpu_time() - spent);
    println!("{took:?}, CPU {spent:?}: {error}");
    let most = LIMIT * *limits.end() + Duration::from_secs(1);
    assert!((LIMIT * *limits.start()..most).contains(&took), "{took:?}: {error}");
    assert!(*limits.start() == 0 || spent * 50 < took, "CPU time {spent:?} of {took:?}");
    error
}

fn is_broken(error: &Error) -> bool {
    match error {
        Error::Lost(LostReason::Eof) => true,
        Error::Io(error) => {
            matches!(
                error.error().kind(),
                io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe
            )
        }
        _ => false,
    }
}

#[test]
fn a_cut_ends_the_request_and_the_session_can_be_opened_again() {
    type Cut = fn(&FaultProxy) -> usize;
    for cut in [FaultProxy::cut_now as Cut, FaultProxy::close_now] {
        behind(
            |to| to,
            |proxy| {
                let mut disk = connect(proxy.addr()).unwrap();
                let mut read = [0; 4];
                for round in 0..5u8 {
                    disk.write_at(1000, &[round; 4]).unwrap();
                    assert_eq!(cut(proxy), 1);
                    let error = after(0..=0, || disk.read_at(1000, &mut read));
                    assert!(is_broken(&error), "{error}");
                    // The reason stays.
                    let again = after(0..=0, || disk.read_at(1000, &mut read));
                    assert!(is_broken(&again), "{again}");
                    assert!(matches!(disk.client().state(), SessionState::Failed(_)));
                    disk.reconnect().unwrap();
                    disk.read_at(1000, &mut read).unwrap();
                    assert_eq!(read, [round; 4]);
                }
                assert_eq!(proxy.connections(), 6);
                disk.logout().unwrap();
            },
        );
    }
}

#[test]
fn cuts_anywhere_in_large_transfers() {
    let data = vec![7; 2 * MIB];
    for seed in 0..20 {
        let cut = |to: Builder| match seed % 4 {
            0 => to.seed(seed).cut_after_bytes(0..2 << 20),
            1 => to.seed(seed).close_after_bytes(0..2 << 20),
            2 => to.seed(seed).after_bytes(Way::ToClient, 0..1 << 20, Fault::HalfClose),
            _ => to.seed(seed).after_bytes(Way::ToServer, 0..1 << 20, Fault::HalfClose),
        };
        behind(cut, |proxy| {
            let error = after(0..=0, || {
                let mut disk = connect(proxy.addr())?;
                let mut back = vec![0; data.len()];
                for _ in 0..5 {
                    disk.write_at(4097, &data)?;
                    disk.read_at(4097, &mut back)?;
                    assert!(back == data);
                }
                Ok(())
            });
            assert!(is_broken(&error), "seed {seed}: {error}");
            assert_eq!(proxy.connections(), 1, "seed {seed}");
        });
    }
}

#[test]
fn a_stall_ends_the_request_in_time() {
    for way in [Way::ToServer, Way::ToClient] {
        behind(
            |to| to,
            |proxy| {
                let mut disk = connect(proxy.addr()).unwrap();
                proxy.stall_now(way);
                assert!(proxy.wait_until(LIMIT, |counters| counters.stalls == 1));
                // The command's time, then that of its abort, then that of the reset of its unit.
                let error = after(1..=3, || disk.read_at(0, &mut [0; 512]));
                let timer = error.timer();
                assert!(matches!(timer, Some(Timer::Task | Timer::TaskManagement)), "{error}");
            },
        );
    }
}

#[test]
fn a_pause_that_is_shorter_than_the_time_limit_is_no_error() {
    behind(
        |to| to,
        |proxy| {
            let mut disk = connect(proxy.addr()).unwrap();
            proxy.stall_now(Way::ToClient);
            assert!(proxy.wait_until(LIMIT, |counters| counters.stalls == 1));
            std::thread::scope(|scope| {
                let reader = scope.spawn(|| disk.read_at(0, &mut [0; 512]));
                std::thread::sleep(LIMIT / 3);
                proxy.resume();
                reader.join().unwrap().unwrap();
            });
            disk.logout().unwrap();
        },
    );
}

#[test]
fn a_byte_now_and_then_is_no_sign_of_life() {
    behind(
        |to| to.trickle(Way::ToClient, 1, Duration::from_millis(50)),
        |proxy| {
            let error = after(1..=1, || connect(proxy.addr()));
            assert!(matches!(error.timer(), Some(Timer::Login | Timer::Progress)), "{error}");
        },
    );
}

#[test]
fn delays_and_small_pieces_are_no_error() {
    behind(
        |to| {
            to.delay(Way::ToServer, Duration::ZERO, Duration::from_millis(2))
                .delay(Way::ToClient, Duration::ZERO, Duration::from_millis(2))
                .trickle(Way::ToClient, 1447, Duration::from_micros(10))
        },
        |proxy| {
            let mut disk = connect(proxy.addr()).unwrap();
            let data: Vec<u8> = (0..300_001u32).map(|n| (n ^ (n >> 8)) as u8).collect();
            disk.write_at(511, &data).unwrap();
            let mut back = vec![0; data.len()];
            disk.read_at(511, &mut back).unwrap();
            assert!(back == data);
            disk.logout().unwrap();
        },
    );
}

#[test]
fn requests_of_many_threads_all_end_with_a_cut() {
    behind(
        |to| to.cut_after_bytes(1 << 20..2 << 20),
        |proxy| {
            let disk = SharedDisk::new(connect(proxy.addr()).unwrap()).unwrap();
            let tickets: Vec<_> = (0..64)
                .map(|n| {
                    let data = vec![n; 64 << 10];
                    disk.submit(
                        iscsi_disk::Request::write(u64::from(n) << 16, 64 << 10),
                        Payload::Out(data),
                    )
                })
                .collect();
            let ends: Vec<_> = tickets.into_iter().map(|ticket| ticket.wait()).collect();
            let failed = ends.iter().filter_map(|end| end.as_ref().err());
            assert!(failed.clone().all(|failed| is_broken(&failed.error)));
            assert!(failed.count() > 0);
            // The memory of those that failed came back too, and the session can be opened again.
            disk.handle().reconnect().unwrap();
            disk.flush().unwrap();
        },
    );
}

#[test]
fn flipped_bits_do_not_get_through() {
    let target = target("127.0.0.1:0");
    let Damage { flips, sessions, good, failed } =
        damage::soaks(target.addr(), &name(), Lun::ZERO, 0..6);
    // Each failure ended a session; what a target found damaged of a write was tried again.
    assert!(sessions > 50 && failed > 50 && flips > sessions && good > 500);
}
