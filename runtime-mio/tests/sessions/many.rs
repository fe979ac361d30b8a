//! A thousand sessions in one thread.

use crate::support::{Loop, config, pattern, target_name};
use iscsi_core::Lun;
use iscsi_disk::DiskConfig;
use iscsi_runtime_mio::mio::Token;
use iscsi_runtime_mio::{Event, Options};
use iscsi_target::server::Server;
use iscsi_target::{RamDisk, TargetConfig};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

const SESSIONS: usize = 1000;
const PART: usize = 3072;

#[test]
fn a_thousand_sessions_each_verified() {
    // Two sockets for each, one at each end.
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).unwrap();
    let now = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    assert!(now > 2 * SESSIONS as u64 + 100, "only {now} descriptors; raise the hard limit");

    let mut server = Server::bind("127.0.0.1:0", TargetConfig::new(target_name())).unwrap();
    server.add_disk(RamDisk::new(vec![0; 4 << 20], 512).unwrap());
    server.limit_connections(SESSIONS);
    let target = server.spawn().unwrap();

    let mut l = Loop::new();
    for n in 0..SESSIONS {
        let config = config().build().unwrap();
        let portal = target.addr().into();
        let options = Options::default();
        let session = l.sessions.connect(Token(n), config, portal, &options, n as u64).unwrap();
        l.sessions.open(session, DiskConfig::new(Lun::ZERO), n as u64);
    }
    let mut disks = vec![None; SESSIONS];
    let mut opened = 0;
    while opened < SESSIONS {
        match l.next() {
            Event::Connected { result, .. } => result.unwrap(),
            Event::Opened { tag, result, .. } => {
                disks[tag as usize] = Some(result.unwrap().disk);
                opened += 1;
            }
            event => panic!("{event:?}"),
        }
    }
    assert_eq!(l.sessions.len(), SESSIONS);
    // Each writes what only it would write, and reads what its neighbour has written.
    let offset = |n: usize| (n * PART) as u64;
    for (n, disk) in disks.iter().enumerate() {
        l.sessions.write_at(disk.unwrap(), offset(n), pattern(PART, n), n as u64);
    }
    for _ in 0..SESSIONS {
        let Event::Done { result, .. } = l.next() else { panic!() };
        result.unwrap();
    }
    for (n, disk) in disks.iter().enumerate() {
        let other = (n + 1) % SESSIONS;
        l.sessions.read_at(disk.unwrap(), offset(other), vec![0; PART], other as u64);
    }
    for _ in 0..SESSIONS {
        let Event::Done { tag, result, .. } = l.next() else { panic!() };
        assert!(result.unwrap().into_bytes() == pattern(PART, tag as usize), "{tag}");
    }
    for disk in &disks {
        l.sessions.close(disk.unwrap().session);
    }
    for _ in 0..SESSIONS {
        assert!(matches!(l.next(), Event::Closed { result: Ok(()), .. }));
    }
    assert!(l.sessions.is_empty());
}
