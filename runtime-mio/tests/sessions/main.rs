//! Sessions in one loop, against this project's target.

mod edges;
mod many;
mod support;

use core::time::Duration;
use std::collections::HashSet;
use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Instant;

use iscsi_core::auth::{Chap, Secret};
use iscsi_core::config::{Recovery, Timeouts};
use iscsi_core::{
    Command, Config, DiscoveryScope, IscsiName, LostReason, Lun, Portal, SessionState, Timer,
    Transfer,
};
use iscsi_disk::Request;
use iscsi_fault_proxy::FaultProxy;
use iscsi_runtime_mio::mio::Token;
use iscsi_runtime_mio::{Answer, Error, Event, Lend, Options, Payload, Resolve};
use support::{Loop, config, pattern, target, target_with};

const MIB: usize = 1 << 20;

#[test]
fn what_was_written_is_read_at_any_offset() {
    let target = target(4 * MIB);
    let mut l = Loop::new();
    let session = l.connect(3, target.addr());
    let disk = l.open(session).disk;
    let data = pattern(700_001, 1);
    l.sessions.write_at(disk, 777, data.clone(), 10);
    let Event::Done { tag: 10, result: Ok(payload), .. } = l.next() else { panic!() };
    assert_eq!(payload.into_bytes(), data);
    l.sessions.read_at(disk, 777, vec![0; data.len()], 11);
    let Event::Done { tag: 11, result: Ok(payload), .. } = l.next() else { panic!() };
    assert!(payload.into_bytes() == data);
    l.sessions.flush(disk, 12);
    assert!(matches!(l.next(), Event::Done { tag: 12, result: Ok(Payload::None), .. }));
    l.sessions.close(session);
    assert!(matches!(l.next(), Event::Closed { result: Ok(()), .. }));
    assert!(l.sessions.is_empty() && l.sessions.timeout().is_none());
}

/// Memory in pages, some of which are shared.
#[derive(Debug, Default)]
struct Pages<'a> {
    read: Vec<[u8; 512]>,
    written: Vec<&'a [u8; 512]>,
}

impl Lend for Pages<'_> {
    fn space(&mut self, at: usize, max: u32) -> &mut [u8] {
        let page = self.read.get_mut(at / 512).map(|page| &mut page[at % 512..]);
        page.map(|run| run.split_at_mut(run.len().min(max as usize)).0).unwrap_or_default()
    }

    fn bytes(&self, at: usize, max: u32) -> &[u8] {
        let run = self.written.get(at / 512).map(|page| &page[at % 512..]).unwrap_or_default();
        &run[..run.len().min(max as usize)]
    }

    fn room(&self) -> [u64; 2] {
        [self.read.len(), self.written.len()].map(|pages| pages as u64 * 512)
    }
}

#[test]
fn memory_of_ones_own() {
    let target = target(MIB);
    let page = core::array::from_fn(|n| n as u8);
    let mut l = Loop::<Pages<'_>>::with_memory();
    let session = l.connect(0, target.addr());
    let disk = l.open(session).disk;
    // Across a page, and more often than there are pages.
    let write = Pages { written: vec![&page; 300], ..Pages::default() };
    l.sessions.request(disk, Request::write(100, 150_000), write, 1);
    let Event::Done { tag: 1, result: Ok(written), .. } = l.next() else { panic!() };
    assert_eq!(written.written.len(), 300);
    let read = Pages { read: vec![[0; 512]; 2], ..Pages::default() };
    l.sessions.request(disk, Request::read(100 + 512, 1000), read, 2);
    let Event::Done { tag: 2, result: Ok(read), .. } = l.next() else { panic!() };
    assert!(read.read[0] == page && read.read[1][..488] == page[..488]);
    let short = Pages { read: vec![[0; 512]; 2], ..Pages::default() };
    l.sessions.request(disk, Request::read(0, 1025), short, 3);
    let Event::Done { tag: 3, result: Err(failed), .. } = l.next() else { panic!() };
    assert!(matches!(failed.error, Error::Memory { needed: 1025, given: 1024 }));
    assert_eq!(failed.payload.read.len(), 2);
    l.sessions.flush(disk, 4);
    assert!(matches!(l.next(), Event::Done { tag: 4, result: Ok(_), .. }));
}

/// Bytes as they were seen.
#[derive(Debug, Default)]
struct Seen(Vec<u8>);

impl Lend for Seen {
    fn space(&mut self, _: usize, _: u32) -> &mut [u8] {
        &mut []
    }

    fn bytes(&self, _: usize, _: u32) -> &[u8] {
        &[]
    }

    fn room(&self) -> [u64; 2] {
        [self.0.len() as u64, 0]
    }

    fn consumes(&self) -> bool {
        true
    }

    fn consume(&mut self, at: usize, bytes: &[u8]) {
        self.0[at..][..bytes.len()].copy_from_slice(bytes);
    }
}

#[test]
fn reads_that_are_consumed_take_no_memory() {
    let target = target(MIB);
    let mut l = Loop::new();
    let session = l.connect(0, target.addr());
    let disk = l.open(session).disk;
    let content = pattern(MIB, 3);
    l.sessions.write_at(disk, 0, content.clone(), 1);
    assert!(matches!(l.next(), Event::Done { tag: 1, result: Ok(_), .. }));
    let mut l = Loop::<Seen>::with_memory();
    let session = l.connect(0, target.addr());
    let disk = l.open(session).disk;
    let ranges: Vec<_> = (0..32).map(|n| (n * 20_001, 100_000 + n)).collect();
    for (tag, (at, len)) in ranges.iter().enumerate() {
        let request = Request::read(*at as u64, *len as u64);
        l.sessions.request(disk, request, Seen(vec![0; *len]), tag as u64);
    }
    for _ in &ranges {
        let Event::Done { tag, result, .. } = l.next() else { panic!() };
        let (at, len) = ranges[tag as usize];
        assert!(result.unwrap().0 == content[at..][..len], "{len} bytes at {at}");
    }
}

#[test]
fn requests_beyond_the_depth_wait_in_line() {
    let target = target(MIB);
    let mut l = Loop::new();
    let session = l.connect(0, target.addr());
    let disk = l.open(session).disk;
    for n in 0..500 {
        l.sessions.write_at(disk, n * 2048, pattern(2048, n as usize), n);
    }
    let mut ends = HashSet::new();
    while ends.len() < 500 {
        let Event::Done { tag, result, .. } = l.next() else { panic!() };
        result.unwrap();
        assert!(ends.insert(tag), "{tag} has ended twice");
    }
    for n in 0..500 {
        l.sessions.read_at(disk, n * 2048, vec![0; 2048], n);
    }
    for _ in 0..500 {
        let Event::Done { tag, result, .. } = l.next() else { panic!() };
        assert!(result.unwrap().into_bytes() == pattern(2048, tag as usize), "{tag}");
    }
}

#[test]
fn commands_functions_pings_and_questions() {
    let target = target(MIB);
    let mut l = Loop::new();
    let session = l.connect(0, target.addr());
    let inquiry = [0x12, 0, 0, 0, 36, 0];
    let command = Command::new(Lun::ZERO, &inquiry, Transfer::In(36));
    l.sessions.execute(session, &command, Payload::In(vec![0; 36]), 1);
    let Event::Executed { tag: 1, result: Ok((completed, payload)), .. } = l.next() else {
        panic!()
    };
    assert_eq!(completed.good().unwrap().data_in, 36);
    assert_eq!(payload.into_bytes()[0], 0, "a disk");
    l.sessions.execute(session, &command, Payload::In(vec![0; 35]), 2);
    let Event::Executed { tag: 2, result: Err(failed), .. } = l.next() else { panic!() };
    assert!(matches!(failed.error, Error::Memory { needed: 36, given: 35 }));
    assert_eq!(failed.payload.into_bytes().len(), 35);
    let reset = iscsi_core::TaskManagement::LogicalUnitReset(Lun::ZERO);
    l.sessions.task_management(session, reset, 3);
    assert!(matches!(l.next(), Event::TaskManagement { tag: 3, result: Ok(_), .. }));
    l.sessions.ping(session, 4);
    assert!(matches!(l.next(), Event::Pong { tag: 4, result: Ok(_), .. }));
    l.sessions.discover(session, DiscoveryScope::Session, 5);
    let Event::Discovered { tag: 5, result: Ok(found), .. } = l.next() else { panic!() };
    assert_eq!(found.targets[0].name, support::target_name());
    assert_eq!(l.sessions.status(session).unwrap().state, SessionState::LoggedIn);
}

#[test]
fn a_discovery_session() {
    let target = target(MIB);
    let mut l = Loop::new();
    let host = IscsiName::new("iqn.2001-04.com.example:host").unwrap();
    let config = Config::discovery(host).build().unwrap();
    let options = Options::default();
    let session = l.sessions.connect(Token(1), config, target.addr().into(), &options, 0).unwrap();
    assert!(matches!(l.next(), Event::Connected { result: Ok(()), .. }));
    l.sessions.discover(session, DiscoveryScope::All, 1);
    let Event::Discovered { result: Ok(found), .. } = l.next() else { panic!() };
    assert_eq!(found.targets.len(), 1);
    l.sessions.close(session);
    assert!(matches!(l.next(), Event::Closed { result: Ok(()), .. }));
}

#[test]
fn a_wrong_secret_is_told_and_can_be_closed() {
    let chap = |secret: &str| Chap::new("alice", Secret::new(secret).unwrap()).unwrap();
    let target = target_with(MIB, |config| {
        config.auth = Some(chap("secret-of-alice"));
    });
    let mut l = Loop::new();
    for (secret, good) in [("secret-of-nobody", false), ("secret-of-alice", true)] {
        let config = config().chap(chap(secret)).build().unwrap();
        let options = Options::default();
        let session =
            l.sessions.connect(Token(1), config, target.addr().into(), &options, 0).unwrap();
        let Event::Connected { result, .. } = l.next() else { panic!() };
        match result {
            Ok(()) => assert!(good),
            Err(error) => assert!(!good && matches!(error, Error::Login(_)), "{error}"),
        }
        l.sessions.close(session);
        assert!(matches!(l.next(), Event::Closed { .. }));
    }
}

#[test]
fn a_session_outlives_its_connections_under_one_token() {
    let target = target(4 * MIB);
    let proxy =
        FaultProxy::to(target.addr()).seed(5).cut_after_bytes(200_000..=900_000).start().unwrap();
    let mut l = Loop::new();
    let session = l.connect(9, proxy.addr());
    let disk = l.open(session).disk;
    for round in 0..16 {
        let (offset, data) = (round * 133_333 + 7, pattern(300_001, round as usize));
        l.sessions.write_at(disk, offset, data.clone(), round);
        let Event::Done { result, .. } = l.next() else { panic!() };
        l.sessions.read_at(disk, offset, result.unwrap().into_bytes(), round);
        let Event::Done { result, .. } = l.next() else { panic!() };
        assert!(result.unwrap().into_bytes() == data, "round {round}");
    }
    let status = l.sessions.status(session).unwrap();
    assert!(status.session.logins > 5, "{status:?}");
    assert_eq!(l.sessions.token(session), Some(Token(9)));
    l.sessions.force_reconnect(session, 77);
    assert!(matches!(l.next(), Event::Connected { tag: 77, result: Ok(()), .. }));
}

#[test]
fn a_port_where_nobody_listens() {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut l = Loop::new();
    let config = config().build().unwrap();
    let options = Options::default();
    let session = l.sessions.connect(Token(0), config, address.into(), &options, 4).unwrap();
    let Event::Connected { tag: 4, result: Err(error), .. } = l.next() else { panic!() };
    assert!(error.to_string().contains("Connection refused"), "{error}");
    // What is asked of it ends with the reason, too.
    let command = Command::new(Lun::ZERO, &[0; 6], Transfer::None);
    l.sessions.execute(session, &command, Payload::None, 5);
    let Event::Executed { tag: 5, result: Err(failed), .. } = l.next() else { panic!() };
    assert!(failed.error.to_string().contains("Connection refused"), "{failed}");
    l.sessions.remove(session);
    l.sessions.ping(session, 6);
    let Event::Pong { tag: 6, result: Err(Error::ShutDown), .. } = l.next() else { panic!() };
}

#[test]
fn a_peer_that_says_nothing_costs_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let mut l = Loop::new();
    let login = Duration::from_millis(700);
    let timeouts = Timeouts { login, ..Timeouts::DEFAULT };
    let config = config().timeouts(timeouts).recovery(Recovery::NEVER).build().unwrap();
    let options = Options::default();
    l.sessions.connect(Token(0), config, address.into(), &options, 0).unwrap();
    let start = Instant::now();
    let Event::Connected { result: Err(error), .. } = l.next() else { panic!() };
    assert_eq!(error.timer(), Some(Timer::Login), "{error}");
    let took = start.elapsed();
    assert!(took >= login && took < login + Duration::from_secs(3), "{took:?}");
    assert!(l.turns < 20, "{} turns", l.turns);
}

/// Answers on another thread, or never.
#[derive(Debug)]
struct Book(Option<core::net::SocketAddr>);

impl Resolve for Book {
    fn resolve(&self, portal: &Portal, answer: Answer) {
        assert_eq!(portal.host(), "storage.example.com");
        let found = match self.0 {
            Some(address) => Ok(vec![address]),
            None => Err(io::Error::other("it is not in the book")),
        };
        std::thread::spawn(move || answer.give(found));
    }
}

#[test]
fn names_are_looked_up_by_a_helper_of_the_users() {
    let target = target(MIB);
    for address in [Some(target.addr()), None] {
        let mut l = Loop::new();
        let mut options = Options::default();
        options.resolver = Arc::new(Book(address));
        let portal = Portal::parse("storage.example.com").unwrap();
        let config = config().build().unwrap();
        l.sessions.connect(Token(2), config, portal, &options, 0).unwrap();
        let Event::Connected { result, .. } = l.next() else { panic!() };
        match (result, address) {
            (Ok(()), Some(_)) => {}
            (Err(error), None) => {
                assert!(error.to_string().contains("not in the book"), "{error}");
            }
            (result, _) => panic!("{result:?}"),
        }
    }
}

#[test]
fn a_name_of_the_systems() {
    let target = target(MIB);
    let mut l = Loop::new();
    let portal = Portal::new("localhost", target.addr().port()).unwrap();
    let config = config().build().unwrap();
    l.sessions.connect(Token(2), config, portal, &Options::default(), 0).unwrap();
    assert!(matches!(l.next(), Event::Connected { result: Ok(()), .. }));
}

#[test]
fn two_paths_to_one_device_are_told_apart() {
    let target = target(MIB);
    let other = self::target(MIB);
    let proxy = FaultProxy::to(target.addr()).start().unwrap();
    let mut l = Loop::new();
    let paths = [target.addr(), proxy.addr(), other.addr()].map(|address| {
        let token = usize::from(address.port());
        let session = l.connect(token, address);
        l.open(session)
    });
    assert!(paths[0].identity.is_same_device(&paths[1].identity));
    assert_ne!(paths[0].disk.session, paths[1].disk.session);
    let portals = [0, 1].map(|n| l.sessions.session(paths[n].disk.session).unwrap().portal());
    assert_ne!(portals[0], portals[1]);
    let isids = [0, 1].map(|n| l.sessions.session(paths[n].disk.session).unwrap().isid());
    assert_ne!(isids[0], isids[1], "one would end the other");
    // What goes in over one path comes out over the other.
    l.sessions.write_at(paths[0].disk, 99, pattern(1000, 3), 1);
    l.next();
    l.sessions.read_at(paths[1].disk, 99, vec![0; 1000], 2);
    let Event::Done { result: Ok(payload), .. } = l.next() else { panic!() };
    assert_eq!(payload.into_bytes(), pattern(1000, 3));
}

#[test]
fn a_closed_disk_is_not_the_next_one() {
    let target = target(MIB);
    let mut l = Loop::new();
    let session = l.connect(0, target.addr());
    let first = l.open(session).disk;
    l.sessions.write_at(first, 0, vec![1; 512], 1);
    l.sessions.close_disk(first);
    // What was under way goes on to its end.
    assert!(matches!(l.next(), Event::Done { tag: 1, result: Ok(_), .. }));
    let second = l.open(session).disk;
    assert_ne!(first, second);
    for (disk, good) in [(first, false), (second, true)] {
        l.sessions.read_at(disk, 0, vec![0; 512], 2);
        let Event::Done { tag: 2, result, .. } = l.next() else { panic!() };
        assert_eq!(result.is_ok(), good, "{result:?}");
        assert_eq!(l.sessions.geometry(disk).is_some(), good);
    }
}

#[test]
fn a_token_belongs_to_one_session() {
    let target = target(MIB);
    let mut l = Loop::new();
    let session = l.connect(1, target.addr());
    let config = || config().build().unwrap();
    let again =
        l.sessions.connect(Token(1), config(), target.addr().into(), &Options::default(), 0);
    let text = again.unwrap_err().to_string();
    assert!(text.contains("token 1 belongs to another session"), "{text}");
    l.sessions.remove(session);
    let next = l.connect(1, target.addr());
    assert_ne!(next, session);
    assert!(l.sessions.status(session).is_none());
}

/// A busy session does not starve the others. Each has a target of its own, because what a target does first is no business of the loop.
#[test]
fn shares_are_fair() {
    let targets = [target(4 * MIB), target(4 * MIB)];
    let mut l = Loop::new();
    let disks = [0, 1].map(|token| {
        let session = l.connect(token, targets[token].addr());
        l.open(session).disk
    });
    for n in 0..400 {
        l.sessions.read_at(disks[0], 0, vec![0; MIB], n);
    }
    for n in 0..20 {
        l.sessions.read_at(disks[1], 0, vec![0; 512], 1000 + n);
        let mut large = 0;
        loop {
            match l.next() {
                Event::Done { tag, result, .. } if tag >= 1000 => break drop(result.unwrap()),
                Event::Done { result, .. } => large += result.map(|_| 1).unwrap(),
                event => panic!("{event:?}"),
            }
        }
        assert!(large <= 40, "{large} MiB went before 512 bytes");
    }
}

#[test]
fn what_is_under_way_ends_when_a_session_is_removed() {
    let target = target(MIB);
    let mut l = Loop::new();
    let session = l.connect(0, target.addr());
    let disk = l.open(session).disk;
    for n in 0..50 {
        l.sessions.write_at(disk, 0, vec![7; 512], n);
    }
    l.sessions.turn();
    l.sessions.remove(session);
    for _ in 0..50 {
        match l.next() {
            Event::Done { result: Ok(payload), .. } => assert_eq!(payload.into_bytes().len(), 512),
            Event::Done { result: Err(failed), .. } => {
                assert!(matches!(failed.error, Error::ShutDown | Error::Lost(LostReason::Eof)));
                assert_eq!(failed.payload.into_bytes(), [7; 512]);
            }
            event => panic!("{event:?}"),
        }
    }
    assert!(l.sessions.poll_event().is_none());
}
