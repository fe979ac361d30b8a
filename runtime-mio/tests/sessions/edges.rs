//! Ends, fairness within a session, and a device that has changed.

use core::time::Duration;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;

use iscsi_core::config::Recovery;
use iscsi_core::{Command, DiscoveryScope, Lun, TaskManagement, Transfer};
use iscsi_disk::DiskConfig;
use iscsi_fault_proxy::FaultProxy;
use iscsi_runtime_mio::mio::Token;
use iscsi_runtime_mio::{DiskId, Event, Options, Payload, SessionId};
use iscsi_target::server::{Server, ServerHandle};
use iscsi_target::{RamDisk, TargetConfig};

use crate::support::{Loop, config, target, target_name};

const MIB: usize = 1 << 20;
const TEST_UNIT_READY: Command<'_> = Command::new(Lun::ZERO, &[0; 6], Transfer::None);

fn connect(l: &mut Loop, address: core::net::SocketAddr) -> SessionId {
    let config = config().build().unwrap();
    l.sessions.connect(Token(0), config, address.into(), &Options::default(), 7).unwrap()
}

/// Disks of these sizes, at this address.
fn serve(address: &str, sizes: &[usize]) -> ServerHandle {
    let mut config = TargetConfig::new(target_name());
    config.limits.default_time2wait = 0;
    let mut server = Server::bind(address, config).unwrap();
    for size in sizes {
        server.add_disk(RamDisk::new(vec![7; *size], 512).unwrap());
    }
    server.spawn().unwrap()
}

#[test]
fn a_removed_session_answers_everything() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut l = Loop::new();
    let session = connect(&mut l, silent.local_addr().unwrap());
    l.sessions.open(session, DiskConfig::new(Lun::ZERO), 8);
    l.sessions.turn();
    l.sessions.remove(session);
    let ends = [l.next(), l.next()];
    assert!(matches!(ends[0], Event::Connected { tag: 7, result: Err(_), .. }), "{ends:?}");
    assert!(matches!(ends[1], Event::Opened { tag: 8, result: Err(_), .. }), "{ends:?}");

    let target = target(MIB);
    let session = l.connect(0, target.addr());
    l.sessions.ping(session, 1);
    l.sessions.task_management(session, TaskManagement::LogicalUnitReset(Lun::ZERO), 2);
    l.sessions.discover(session, DiscoveryScope::Session, 3);
    l.sessions.open(session, DiskConfig::new(Lun::ZERO), 4);
    l.sessions.reconnect(session, 5);
    l.sessions.remove(session);
    for _ in 0..5 {
        l.next();
    }
    assert!(l.sessions.poll_event().is_none());
}

#[test]
fn a_session_that_is_closed_takes_no_requests() {
    let target = target(MIB);
    let proxy = FaultProxy::to(target.addr()).start().unwrap();
    let mut l = Loop::new();
    let session = l.connect(0, proxy.addr());
    l.sessions.force_reconnect(session, 1);
    l.sessions.close(session);
    l.sessions.turn();
    l.sessions.reconnect(session, 2);
    loop {
        match l.next() {
            Event::Closed { .. } => break,
            Event::Connected { tag: 1, .. } => {}
            Event::Connected { tag: 2, result: Err(_), .. } => {}
            event => panic!("{event:?}"),
        }
    }
}

#[test]
fn a_close_waits_for_the_first_login() {
    let target = target(MIB);
    let mut l = Loop::new();
    let session = connect(&mut l, target.addr());
    l.sessions.execute(session, &TEST_UNIT_READY, Payload::None, 8);
    l.sessions.close(session);
    assert!(matches!(l.next(), Event::Connected { tag: 7, result: Ok(()), .. }));
    assert!(matches!(l.next(), Event::Executed { tag: 8, result: Ok(_), .. }));
    assert!(matches!(l.next(), Event::Closed { result: Ok(()), .. }));
}

/// Large reads of a disk, each followed by another one, until something else has ended: how many went before.
fn reads_before(l: &mut Loop, busy: DiskId, other: impl FnOnce(&mut Loop)) -> u32 {
    for n in 0..128 {
        l.sessions.read_at(busy, 0, vec![0; 2 * MIB], n);
    }
    for _ in 0..50 {
        l.turn();
    }
    other(l);
    let mut before = 0;
    loop {
        match l.next() {
            Event::Executed { tag: 1000, .. } | Event::Done { tag: 1000, .. } => return before,
            Event::Done { tag, result, .. } => {
                before += 1;
                assert!(before < 1000, "nothing else ends");
                l.sessions.read_at(busy, 0, result.unwrap().into_bytes(), tag);
            }
            event => panic!("{event:?}"),
        }
    }
}

/// What waits in line goes first, what comes later does not.
#[test]
fn a_busy_disk_keeps_nobody_out() {
    let target = serve("127.0.0.1:0", &[16 * MIB, MIB]);
    let mut l = Loop::new();
    let session = l.connect(0, target.addr());
    let busy = l.open(session).disk;
    let before = reads_before(&mut l, busy, |l| {
        l.sessions.execute(session, &TEST_UNIT_READY, Payload::None, 1000);
    });
    assert!(before < 300, "{before} reads of 2 MiB before one TEST UNIT READY");
    l.sessions.remove(session);
    while l.sessions.poll_event().is_some() {}

    let session = l.connect(0, target.addr());
    let busy = l.open(session).disk;
    l.sessions.open(session, DiskConfig::new(Lun::new(1).unwrap()), 0);
    let Event::Opened { result, .. } = l.next() else { panic!() };
    let small = result.unwrap().disk;
    let before = reads_before(&mut l, busy, |l| {
        l.sessions.read_at(small, 0, vec![0; 512], 1000);
    });
    assert!(before < 300, "{before} reads of 2 MiB before 512 bytes of the other disk");
}

#[test]
fn a_new_login_by_hand_looks_at_the_device_again() {
    let target = serve("127.0.0.1:0", &[4 * MIB]);
    let address = target.addr();
    let mut l = Loop::new();
    let config = config().recovery(Recovery::NEVER).build().unwrap();
    let options = Options::default();
    let session = l.sessions.connect(Token(0), config, address.into(), &options, 0).unwrap();
    assert!(matches!(l.next(), Event::Connected { result: Ok(()), .. }));
    let disk = l.open(session).disk;
    target.stop().unwrap();
    l.sessions.read_at(disk, 0, vec![0; 512], 1);
    assert!(matches!(l.next(), Event::Done { tag: 1, result: Err(_), .. }));
    let _smaller = serve(&address.to_string(), &[2 * MIB]);
    l.sessions.reconnect(session, 2);
    let mut resized = false;
    loop {
        match l.next() {
            Event::Connected { tag: 2, result: Ok(()), .. } => {
                l.sessions.read_at(disk, 0, vec![0; 512], 3);
            }
            Event::Resized { disk: changed, geometry } => {
                assert_eq!((changed, geometry.capacity()), (disk, 2 * MIB as u64));
                resized = true;
            }
            Event::Done { tag: 3, result, .. } => {
                assert_eq!(result.unwrap().into_bytes(), [7; 512]);
                break;
            }
            event => panic!("{event:?}"),
        }
    }
    assert!(resized && l.sessions.geometry(disk).unwrap().capacity() == 2 * MIB as u64);
}

/// A read stops at an urgent mark, and what is behind it is not announced again.
#[test]
fn bytes_behind_an_urgent_mark_are_read() {
    let target = target(MIB);
    let to = target.addr();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let urgent = Arc::new(AtomicBool::new(false));
    let (marks, sent) = (urgent.clone(), Arc::new(AtomicBool::new(false)));
    let told = sent.clone();
    thread::spawn(move || {
        let (mut client, _) = listener.accept().unwrap();
        client.set_nodelay(true).unwrap();
        let mut server = TcpStream::connect(to).unwrap();
        let (mut from, mut to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
        thread::spawn(move || std::io::copy(&mut from, &mut to));
        let mut bytes = vec![0; 1 << 16];
        while let Ok(n @ 1..) = server.read(&mut bytes) {
            let (head, tail) = bytes[..n].split_at(n.min(60));
            client.write_all(head).unwrap();
            if marks.load(Ordering::SeqCst) {
                socket2::SockRef::from(&client).send_out_of_band(&[0]).unwrap();
            }
            client.write_all(tail).unwrap();
            told.store(marks.load(Ordering::SeqCst), Ordering::SeqCst);
        }
    });
    let mut l = Loop::new();
    let session = l.connect(0, address);
    let disk = l.open(session).disk;
    urgent.store(true, Ordering::SeqCst);
    l.sessions.read_at(disk, 0, vec![0; 512], 1);
    l.sessions.turn();
    // All of it is there before the loop looks.
    while !sent.load(Ordering::SeqCst) {
        thread::yield_now();
    }
    let start = Instant::now();
    assert!(matches!(l.next(), Event::Done { tag: 1, result: Ok(_), .. }));
    // Else it is the next ping that brings it.
    assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
}
