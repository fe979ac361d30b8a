//! Sessions that come back: between the runtime and this project's target, over a proxy that breaks connections.

extern crate alloc;

use core::net::SocketAddr;
use core::time::Duration;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Instant;

use iscsi_core::config::{Recovery, Retry, Timeouts};
use iscsi_core::{
    Command, Config, IscsiName, LostReason, Lun, OnLoss, SessionState, Timer, Transfer,
};
use iscsi_disk::DiskError;
use iscsi_fault_proxy::{Builder, FaultProxy, Way};
use iscsi_runtime_std::{
    Client, Data, Disk, Error, Handle, Options, Payload, SessionStep, SharedDisk,
};
use iscsi_target::server::{Server, ServerEvent, ServerHandle};
use iscsi_target::{Quirks, RamDisk, TargetConfig};

const MIB: usize = 1 << 20;
const SECOND: Duration = Duration::from_secs(1);

fn name() -> IscsiName {
    IscsiName::new("iqn.2001-04.com.example:reconnect").unwrap()
}

/// A target with a disk of 16 MiB that may be come back to at once.
fn target(address: &str) -> ServerHandle {
    let mut config = TargetConfig::new(name());
    config.limits.default_time2wait = 0;
    let mut server = Server::bind(address, config).unwrap();
    server.add_disk(RamDisk::new(vec![0; 16 * MIB], 512).unwrap());
    server.spawn().unwrap()
}

fn behind(target: &ServerHandle, faults: impl FnOnce(Builder) -> Builder) -> FaultProxy {
    faults(FaultProxy::to(target.addr())).start().unwrap()
}

/// Short delays, so that the tests do not wait long.
fn quick(retry: Retry) -> Recovery {
    Recovery {
        retry,
        first_delay: Duration::from_millis(20),
        longest_delay: Duration::from_millis(100),
        ..Recovery::FOREVER
    }
}

fn connect_with(address: SocketAddr, recovery: Recovery, options: &Options) -> Client {
    let host = IscsiName::new("iqn.2001-04.com.example:host").unwrap();
    let timeouts = Timeouts {
        connect: SECOND,
        login: SECOND,
        nop_interval: Some(SECOND),
        nop_timeout: SECOND,
        ..Timeouts::DEFAULT
    };
    let config = Config::normal(host, name()).timeouts(timeouts).recovery(recovery);
    let config = config.default_time2wait(0).build().unwrap();
    Client::connect_with(config, address.into(), options).unwrap()
}

fn connect(address: SocketAddr, recovery: Recovery) -> Client {
    connect_with(address, recovery, &Options::default())
}

fn read_block(lba: u8) -> ([u8; 10], Transfer) {
    ([0x28, 0, 0, 0, 0, lba, 0, 0, 1, 0], Transfer::In(512))
}

fn pattern(len: usize, seed: usize) -> Vec<u8> {
    (0..len).map(|at| (at * 7 + at / 251 + seed) as u8).collect()
}

#[test]
fn a_disk_outlives_its_connections() {
    for address in ["127.0.0.1:0", "[::1]:0"] {
        let target = target(address);
        let proxy = behind(&target, |to| to.seed(3).cut_after_bytes(200_000..=900_000));
        let mut disk = Disk::open(connect(proxy.addr(), quick(Retry::Forever)), Lun::ZERO).unwrap();
        for round in 0..16 {
            // Not at the bounds of blocks: parts are read and written back.
            let (offset, data) = (round * 333_333 + 7, pattern(300_001, round as usize));
            disk.write_at(offset, &data).unwrap();
            let mut read = vec![0; data.len()];
            disk.read_at(offset, &mut read).unwrap();
            assert!(read == data, "round {round}");
        }
        disk.flush().unwrap();
        let counters = disk.client().session().counters();
        assert!(proxy.counters().cuts >= 8, "{:?}", proxy.counters());
        assert!(counters.reissued > 0 && counters.logins > 8, "{counters:?}");
    }
}

#[test]
fn threads_share_a_disk_over_lost_connections() {
    let target = target("127.0.0.1:0");
    let proxy = behind(&target, |to| to.seed(9).close_after_bytes(300_000..=1_500_000));
    let disk = Disk::open(connect(proxy.addr(), quick(Retry::Forever)), Lun::ZERO).unwrap();
    let disk = SharedDisk::new(disk).unwrap();
    let threads: Vec<_> = (0..4)
        .map(|n| {
            let disk = disk.clone();
            thread::spawn(move || {
                for round in 0..20 {
                    let offset = (n * 20 + round) * 150_000;
                    let data = pattern(150_000, offset);
                    let memory = disk.write_at(offset as u64, data.clone()).unwrap();
                    let read = disk.read_at(offset as u64, memory).unwrap();
                    assert!(read == data, "thread {n}, round {round}");
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    let status = disk.handle().status().unwrap();
    assert!(status.session.connections_lost >= 8, "{status:?}");
    disk.handle().shut_down().unwrap();
}

/// Each command ends once, and those that must not be repeated are not.
#[test]
fn what_must_not_be_repeated_is_reported() {
    let target = target("127.0.0.1:0");
    let proxy = behind(&target, |to| to.seed(1).cut_after_bytes(20_000..=60_000));
    let mut client = connect(proxy.addr(), quick(Retry::Forever));
    let (mut good, mut lost) = ([0; 2], [0; 2]);
    for _ in 0..30 {
        let mut blocks = vec![[0; 512]; 20];
        let mut queue = client.queue();
        let mut tasks = Vec::new();
        for (n, block) in blocks.iter_mut().enumerate() {
            let (cdb, transfer) = read_block(n as u8);
            let on_loss = if n % 2 == 0 { OnLoss::Reissue } else { OnLoss::Report };
            let command = Command::new(Lun::ZERO, &cdb, transfer).on_loss(on_loss);
            tasks.push(queue.submit(&command, Data::In(block)).unwrap());
        }
        let mut ends = Vec::new();
        while let Some(done) = queue.wait().unwrap() {
            let n = tasks.iter().position(|task| *task == done.task).unwrap();
            ends.push(n);
            match done.result {
                // The unit attention of a new login is also an answer.
                Ok(_) => good[n % 2] += 1,
                Err(_) => lost[n % 2] += 1,
            }
        }
        ends.sort_unstable();
        assert!(ends.iter().copied().eq(0..20), "one end each: {ends:?}");
    }
    assert_eq!((good[0], lost[0]), (300, 0));
    assert!(lost[1] > 0 && good[1] + lost[1] == 300, "{good:?} {lost:?}");
}

/// A disk that is opened on a session on its way back: the loss was the end of a command of the application's own.
#[test]
fn a_disk_is_opened_while_the_session_comes_back() {
    let target = target("127.0.0.1:0");
    let faults = |to: Builder| to.only_connections(0..1).cut_after_bytes(300_000..=300_000);
    let proxy = behind(&target, faults);
    let mut client = connect(proxy.addr(), quick(Retry::For(20 * SECOND)));
    let mut memory = vec![0; MIB];
    // 2048 blocks: the connection breaks in the middle of the data.
    let cdb = [0x28, 0, 0, 0, 0, 0, 0, 8, 0, 0];
    let command = Command::new(Lun::ZERO, &cdb, Transfer::In(MIB as u32));
    client.execute(&command, Data::In(&mut memory)).unwrap_err();
    let start = Instant::now();
    let mut disk = Disk::open(client, Lun::ZERO).unwrap();
    let took = start.elapsed();
    // Far below the time limit for a verification.
    assert!(took < 5 * SECOND, "{took:?}");
    disk.read_at(0, &mut memory).unwrap();
    assert_eq!(disk.client().session().counters().logins, 2);
    assert_eq!(proxy.connections(), 2);
    disk.logout().unwrap();
}

static STEPS: [AtomicU32; 3] = [const { AtomicU32::new(0) }; 3];

fn count(step: &SessionStep) {
    let kind = match step.state {
        SessionState::Waiting(_) if step.was_logged_in => 0,
        SessionState::Waiting(_) => 1,
        SessionState::Failed(_) => 2,
        _ => return,
    };
    assert!(!step.to_string().is_empty());
    STEPS[kind].fetch_add(1, Ordering::Relaxed);
}

#[test]
fn a_target_that_is_gone_for_good_ends_in_time_and_costs_nothing() {
    let target = target("127.0.0.1:0");
    let proxy = behind(&target, |to| to);
    let mut options = Options::default();
    options.watch = Some(count);
    let recovery = quick(Retry::For(2 * SECOND));
    let mut disk = Disk::open(connect_with(proxy.addr(), recovery, &options), Lun::ZERO).unwrap();
    proxy.refuse(true);
    proxy.cut_now();
    let start = Instant::now();
    let error = disk.read_at(0, &mut [0; 512]).unwrap_err();
    let took = start.elapsed();
    assert!((2 * SECOND..3 * SECOND).contains(&took), "{took:?}: {error}");
    let Error::GaveUp(failure) = &error else { panic!("{error}") };
    // 20 to 100 ms apart, less up to one half.
    assert!((15..=80).contains(&failure.attempts), "{failure:?}");
    assert_eq!(error.timer(), Some(Timer::Recovery));
    assert!(error.to_string().contains("attempts in 2."), "{error}");
    let steps = STEPS.each_ref().map(|count| count.load(Ordering::Relaxed));
    assert_eq!(steps[0], 1);
    // An attempt that begins and fails within one turn is no step of its own.
    assert!((1..=failure.attempts).contains(&steps[1]) && steps[2] == 1, "{steps:?} {failure:?}");
    // It stays failed until somebody opens it again.
    let later = disk.read_at(0, &mut [0; 512]).unwrap_err();
    assert!(matches!(later, Error::GaveUp(_)));
    assert_eq!(later.to_string(), error.to_string(), "it took as long as it took");
    proxy.refuse(false);
    disk.reconnect().unwrap();
    disk.read_at(0, &mut [0; 512]).unwrap();
}

#[test]
fn a_connection_that_goes_silent_is_found_by_pings() {
    let target = target("127.0.0.1:0");
    let proxy = behind(&target, |to| to);
    let mut disk = Disk::open(connect(proxy.addr(), quick(Retry::Forever)), Lun::ZERO).unwrap();
    proxy.stall_now(Way::ToClient);
    let start = Instant::now();
    disk.read_at(0, &mut [0; 4096]).unwrap();
    let took = start.elapsed();
    assert!((SECOND..5 * SECOND).contains(&took), "{took:?}");
    assert_eq!(proxy.connections(), 2);
}

#[test]
fn fifty_forced_reconnects_leave_one_session() {
    let events = alloc::sync::Arc::new([const { AtomicU32::new(0) }; 2]);
    let mut config = TargetConfig::new(name());
    config.limits.default_time2wait = 0;
    let mut server = Server::bind("127.0.0.1:0", config).unwrap();
    server.add_disk(RamDisk::new(vec![0; MIB], 512).unwrap());
    let seen = events.clone();
    server.set_observer(move |event| match event {
        ServerEvent::LoggedIn { .. } => drop(seen[0].fetch_add(1, Ordering::Relaxed)),
        ServerEvent::Disconnected { .. } => drop(seen[1].fetch_add(1, Ordering::Relaxed)),
        _ => {}
    });
    let target = server.spawn().unwrap();
    let mut client = connect(target.addr(), Recovery::NEVER);
    let isid = client.session().isid();
    for _ in 0..47 {
        client.force_reconnect().unwrap();
    }
    assert_eq!(client.session().isid(), isid);
    let handle = Handle::new(client).unwrap();
    for _ in 47..50 {
        handle.force_reconnect().unwrap();
        let (cdb, transfer) = read_block(0);
        let command = Command::new(Lun::ZERO, &cdb, transfer);
        handle.execute(&command, Payload::In(vec![0; 512])).unwrap();
    }
    assert_eq!(handle.status().unwrap().session.logins, 51);
    let [logins, ends] = events.each_ref().map(|count| count.load(Ordering::Relaxed));
    assert_eq!((logins, ends), (51, 50), "one is left");
    handle.shut_down().unwrap();
}

#[test]
fn a_handle_that_is_shut_down_while_the_target_is_away_ends() {
    let target = target("127.0.0.1:0");
    let proxy = behind(&target, |to| to);
    let disk = Disk::open(connect(proxy.addr(), quick(Retry::Forever)), Lun::ZERO).unwrap();
    let disk = SharedDisk::new(disk).unwrap();
    proxy.refuse(true);
    proxy.cut_now();
    let ticket = disk.submit(iscsi_disk::Request::read(0, 512), Payload::In(vec![0; 512]));
    let start = Instant::now();
    let _ = disk.handle().shut_down();
    assert!(start.elapsed() < 3 * SECOND, "{:?}", start.elapsed());
    let failed = ticket.wait().unwrap_err();
    assert_eq!(failed.payload.into_bytes().len(), 512, "the memory comes back: {}", failed.error);
}

#[test]
fn nothing_is_written_to_another_disk_under_the_same_name() {
    let first = target("127.0.0.1:0");
    let proxy = behind(&first, |to| to);
    let disk = Disk::open(connect(proxy.addr(), quick(Retry::Forever)), Lun::ZERO).unwrap();
    let disk = SharedDisk::new(disk).unwrap();
    disk.write_at(0, vec![1; 512]).unwrap();
    // Another target takes over the address: its disk is smaller and has another serial number.
    let address = first.addr();
    first.stop().unwrap();
    let mut config = TargetConfig::new(name());
    config.limits.default_time2wait = 0;
    let mut server = Server::bind(address, config).unwrap();
    server.add_disk_at(0, RamDisk::new(vec![7; 4 * MIB], 4096).unwrap());
    let second = server.spawn().unwrap();
    let failed = disk.write_at(0, vec![2; 512]).unwrap_err();
    assert!(
        matches!(
            failed.error,
            Error::Disk(DiskError::DeviceChanged) | Error::Lost(LostReason::DeviceChanged)
        ),
        "{}",
        failed.error
    );
    // Commands of one's own do not get there either.
    let (cdb, transfer) = read_block(0);
    let command = Command::new(Lun::ZERO, &cdb, transfer);
    let failed = disk.handle().execute(&command, Payload::In(vec![0; 512])).unwrap_err();
    assert!(matches!(failed.error, Error::Disk(DiskError::DeviceChanged)), "{}", failed.error);
    disk.handle().shut_down().unwrap();
    let mut other = Disk::open(connect(second.addr(), Recovery::NEVER), Lun::ZERO).unwrap();
    let mut block = [0; 512];
    other.read_at(0, &mut block).unwrap();
    assert_eq!(block, [7; 512]);
}

#[test]
fn every_request_of_a_long_queue_is_told_that_the_session_has_failed() {
    let target = target("127.0.0.1:0");
    let proxy = behind(&target, |to| to);
    let recovery = quick(Retry::For(SECOND / 2));
    let disk = Disk::open(connect(proxy.addr(), recovery), Lun::ZERO).unwrap();
    let disk = SharedDisk::new(disk).unwrap();
    proxy.refuse(true);
    proxy.cut_now();
    // Many times more than the session and the disk have slots for.
    let tickets: Vec<_> = (0..500)
        .map(|_| disk.submit(iscsi_disk::Request::read(0, 512), Payload::In(vec![0; 512])))
        .collect();
    let start = Instant::now();
    for ticket in tickets {
        let Ok(end) = ticket.wait_for(5 * SECOND) else { panic!("a request waits for ever") };
        assert!(end.is_err());
    }
    assert!(start.elapsed() < 3 * SECOND, "{:?}", start.elapsed());
}

#[test]
fn resets_are_seen_by_whoever_has_flushed() {
    let target = target("127.0.0.1:0");
    let control = target.control();
    control.set_quirks(Quirks { power_on_attention: true, ..Quirks::default() });
    let disk = Disk::open(connect(target.addr(), quick(Retry::Forever)), Lun::ZERO).unwrap();
    assert_eq!(disk.resets(), 1, "the first command of a session is told");
    let disk = SharedDisk::new(disk).unwrap();
    assert_eq!(disk.resets(), 1);
    disk.write_at(0, vec![1; 512]).unwrap();
    control.powered_on(0);
    disk.flush().unwrap();
    assert_eq!(disk.resets(), 2, "told to SYNCHRONIZE CACHE, or to the look that followed");
    disk.flush().unwrap();
    assert_eq!(disk.resets(), 2);
    // Told to the verification after the new login, before the flush is sent.
    disk.handle().force_reconnect().unwrap();
    disk.flush().unwrap();
    assert_eq!(disk.resets(), 3);
    // Commands of one's own on a handle are looked at by oneself.
    disk.handle().shut_down().unwrap();
}
