//! Against a real target: tgtd. Without tgtd the tests show as ignored; `ISCSI_REQUIRE_PEERS=1` makes them fail then.

extern crate alloc;

#[path = "support/damage.rs"]
mod damage;
#[path = "support/tgtd.rs"]
mod tgtd;

use alloc::sync::Arc;
use core::net::{Ipv4Addr, SocketAddr};
use core::time::Duration;
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::process::ExitCode;
use std::sync::Mutex;
use std::time::Instant;
use std::{env, thread};

use damage::Damage;
use iscsi_core::auth::{Chap, Secret};
use iscsi_core::config::{Recovery, Retry};
use iscsi_core::digest::DigestKind;
use iscsi_core::text::Digests;
use iscsi_core::wire::TaskManagementResponseCode;
use iscsi_core::{
    Command, Config, ConfigBuilder, DiscoveryScope, IscsiName, LostReason, Lun, Portal,
    SessionState, TaskManagement, Transfer,
};
use iscsi_disk::{Request, RequestError};
use iscsi_fault_proxy::FaultProxy;
use iscsi_runtime_std::{
    Client, Data, Disk, Error, Handle, LoginFailure, Options, Payload, SharedDisk, discover,
};
use libtest_mimic::{Arguments, Failed, Trial};
use tgtd::{Access, Tgtd};

const USER: (&str, &str) = ("alice", "secret-of-alice");
const TARGET_USER: (&str, &str) = ("disk", "secret-of-the-disk");

type Test = fn(&Peer);

const TESTS: &[(&str, Test)] = &[
    ("login_over_ipv4_ipv6_and_by_name", login_everywhere),
    ("login_with_chap", login_with_chap),
    ("login_with_mutual_chap", login_with_mutual_chap),
    ("wrong_credentials_are_told_apart", wrong_credentials),
    ("unknown_target", unknown_target),
    ("digests", digests),
    ("discovery", discovery),
    ("queue_reads_what_was_written", queue),
    ("queue_dropped_with_commands_under_way", dropped_queue),
    ("disk_at_odd_offsets", odd_offsets),
    ("disk_as_a_stream", stream),
    ("disk_range_errors", range_errors),
    ("shared_disk_from_many_threads", shared),
    ("handle_beyond_the_depth", handle),
    ("ping_idle_reset_reconnect", liveness),
    ("write_protected_disk", write_protected),
    ("killed_peer", killed),
    ("disks_after_a_lost_session", lost_session),
    ("cut_in_a_transfer", cut),
    ("flipped_bits_do_not_get_through", flipped_bits),
    ("cut_and_back_again", back_again),
    ("fifty_forced_reconnects_leave_one_session", forced),
    ("killed_and_restarted_in_a_transfer", restarted),
    ("killed_for_good_in_a_transfer", gone),
];

struct Peer {
    portal: Portal,
    name: fn(&str) -> IscsiName,
    port: u16,
}

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let required = env::var_os("ISCSI_REQUIRE_PEERS").is_some_and(|value| value == "1");
    let missing = tgtd::missing();
    // One daemon for all tests, each with a target of its own; it ends with the last test.
    let daemon: Arc<Mutex<Option<Tgtd>>> = Arc::default();
    let trials = TESTS.iter().map(|&(name, test)| {
        let (daemon, missing) = (daemon.clone(), missing.clone());
        let ignored = missing.is_some() && !required;
        Trial::test(name, move || {
            if let Some(missing) = missing {
                return Err(Failed::from(missing));
            }
            let mut daemon = daemon.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            let port = daemon.get_or_insert_with(set_up).port;
            drop(daemon);
            let portal = Portal::new("127.0.0.1", port).unwrap();
            test(&Peer { portal, name: target_name, port });
            Ok(())
        })
        .with_kind("tgtd")
        .with_ignored_flag(ignored)
    });
    let conclusion = libtest_mimic::run(&arguments, trials.collect());
    drop(daemon.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take());
    conclusion.exit_code()
}

fn set_up() -> Tgtd {
    let mut tgtd = Tgtd::start();
    let open = Access::default();
    for name in ["open", "queue", "dropped", "odd", "stream", "shared", "handle", "cut"] {
        tgtd.add_target(name, &open);
    }
    tgtd.add_target("chap", &Access { incoming: Some(USER), outgoing: None });
    tgtd.add_target("mutual", &Access { incoming: Some(USER), outgoing: Some(TARGET_USER) });
    tgtd.add_target("returning", &open);
    tgtd.set("DefaultTime2Wait", "0");
    for name in ["digests", "damaged"] {
        tgtd.add_target(name, &open);
        tgtd.set("HeaderDigest", "CRC32C");
        tgtd.set("DataDigest", "CRC32C");
    }
    tgtd.add_target("protected", &open);
    tgtd.protect();
    tgtd
}

fn target_name(name: &str) -> IscsiName {
    IscsiName::new(&format!("iqn.2001-04.com.example:{name}")).unwrap()
}

fn initiator_name() -> IscsiName {
    IscsiName::new("iqn.2001-04.com.example:host").unwrap()
}

impl Peer {
    fn config(&self, target: &str) -> ConfigBuilder {
        Config::normal(initiator_name(), (self.name)(target))
    }

    fn connect(&self, target: &str) -> Client {
        let config = self.config(target).build().unwrap();
        Client::connect(config, self.portal.clone()).unwrap()
    }

    fn disk(&self, target: &str) -> Disk {
        Disk::open(self.connect(target), lun()).unwrap()
    }
}

fn lun() -> Lun {
    Lun::new(1).unwrap()
}

/// Takes the unit attention that a fresh nexus has.
fn ready(client: &mut Client) {
    let command = Command::new(lun(), &[0; 6], Transfer::None);
    let good = (0..5).any(|_| client.execute(&command, Data::None).unwrap().good().is_ok());
    assert!(good, "never ready");
}

fn pattern(len: usize, seed: u64) -> Vec<u8> {
    (0..len as u64).map(|n| ((n / 7) ^ n.wrapping_mul(seed | 1) >> 3) as u8).collect()
}

fn login_everywhere(peer: &Peer) {
    for host in ["127.0.0.1", "::1", "localhost"] {
        let portal = Portal::new(host, peer.port).unwrap();
        let config = peer.config("open").build().unwrap();
        let mut client = Client::connect(config, portal).unwrap();
        ready(&mut client);
        assert_eq!(client.state(), SessionState::LoggedIn);
        assert_eq!(client.peer().unwrap().port(), peer.port);
        assert_ne!(client.session().tsih(), 0);
        assert!(client.counters().pdus_received >= 3, "{:?}", client.counters());
        client.logout().unwrap();
    }
}

fn chap(user: &str, secret: &str) -> Chap {
    Chap::new(user, Secret::new(secret).unwrap()).unwrap()
}

fn mutual(user: Option<&str>, secret: &str) -> Chap {
    chap(USER.0, USER.1).with_mutual(user, Secret::new(secret).unwrap()).unwrap()
}

fn login_with_chap(peer: &Peer) {
    let config = peer.config("chap").chap(chap(USER.0, USER.1)).build().unwrap();
    let mut client = Client::connect(config, peer.portal.clone()).unwrap();
    ready(&mut client);
    client.logout().unwrap();

    let (user, secret) = USER;
    let url = format!("iscsi://{user}:{secret}@127.0.0.1:{}/{}/1", peer.port, target_name("chap"));
    let disk = Disk::connect(&url.parse().unwrap(), initiator_name(), &Options::default()).unwrap();
    assert_eq!(disk.capacity(), tgtd::BYTES);
    disk.logout().unwrap();
}

fn login_with_mutual_chap(peer: &Peer) {
    for user in [None, Some(TARGET_USER.0)] {
        let config = peer.config("mutual").chap(mutual(user, TARGET_USER.1)).build().unwrap();
        Client::connect(config, peer.portal.clone()).unwrap().logout().unwrap();
    }
}

/// The error of a login, which must come within 5 seconds.
fn refused(peer: &Peer, target: &str, chap: Option<Chap>) -> LoginFailure {
    let mut config = peer.config(target);
    if let Some(chap) = chap {
        config = config.chap(chap);
    }
    let start = Instant::now();
    let error = Client::connect(config.build().unwrap(), peer.portal.clone()).unwrap_err();
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    match error {
        Error::Login(failure) => failure,
        error => panic!("{error}"),
    }
}

fn wrong_credentials(peer: &Peer) {
    let user = refused(peer, "chap", Some(chap("mallory", USER.1)));
    let secret = refused(peer, "chap", Some(chap(USER.0, "another-secret-1")));
    let missing = refused(peer, "chap", None);
    let their_secret = refused(peer, "mutual", Some(mutual(None, "not-the-disk's-secret")));
    let their_user = refused(peer, "mutual", Some(mutual(Some("tape"), TARGET_USER.1)));
    println!("{user}\n{secret}\n{missing}\n{their_secret}\n{their_user}");
    // A target does not say which of the two was wrong.
    assert!(matches!(user, LoginFailure::CredentialsRefused(_)), "{user}");
    assert!(matches!(secret, LoginFailure::CredentialsRefused(_)), "{secret}");
    assert!(matches!(missing, LoginFailure::CredentialsMissing(_)), "{missing}");
    assert!(matches!(their_secret, LoginFailure::TargetSecret(_)), "{their_secret}");
    assert_eq!(their_user, LoginFailure::TargetUser);
}

fn unknown_target(peer: &Peer) {
    let failure = refused(peer, "no-such-target", None);
    assert!(matches!(failure, LoginFailure::NoSuchTarget(_)), "{failure}");
}

fn digests(peer: &Peer) {
    let offers = [(Digests::CRC32C, Digests::CRC32C), (Digests::CRC32C_NONE, Digests::CRC32C_NONE)];
    for (header, data) in offers {
        let config = peer.config("digests").header_digest(header).data_digest(data);
        let config = config.build().unwrap();
        let client = Client::connect(config, peer.portal.clone()).unwrap();
        assert_eq!(client.negotiated().header_digest, DigestKind::Crc32c);
        assert_eq!(client.negotiated().data_digest, DigestKind::Crc32c);
        let mut disk = Disk::open(client, lun()).unwrap();
        let written = pattern(300_001, 3);
        disk.write_at(4095, &written).unwrap();
        let mut read = vec![0; written.len()];
        disk.read_at(4095, &mut read).unwrap();
        assert!(read == written);
        disk.logout().unwrap();
    }
}

fn discovery(peer: &Peer) {
    let options = Options::default();
    let find_at = |portal, scope| {
        let config = Config::discovery(initiator_name()).build().unwrap();
        discover(config, portal, scope, &options).unwrap()
    };
    let v6 = find_at(Portal::new("::1", peer.port).unwrap(), DiscoveryScope::All);
    assert_eq!(v6.targets[0].portals[0].portal.host(), "::1");
    let find = |scope| find_at(peer.portal.clone(), scope);
    let all = find(DiscoveryScope::All);
    assert_eq!(all.bad, []);
    assert_eq!(all.targets.len(), 14);
    let open = all.targets.iter().find(|t| t.name == target_name("open")).unwrap();
    // tgtd tells the portals of the family by which it is asked.
    let portals: Vec<_> = open.portals.iter().map(ToString::to_string).collect();
    assert_eq!(portals, [format!("127.0.0.1:{},1", peer.port)]);

    let name = target_name("queue");
    let one = find(DiscoveryScope::Target(&name));
    assert_eq!(one.targets.iter().map(|t| &t.name).collect::<Vec<_>>(), [&name]);
}

fn cdb(opcode: u8, lba: u32, blocks: u16) -> [u8; 10] {
    let [a, b, c, d] = lba.to_be_bytes();
    let [e, f] = blocks.to_be_bytes();
    [opcode, 0, a, b, c, d, 0, e, f, 0]
}

fn queue(peer: &Peer) {
    const PARTS: usize = 100;
    const LEN: usize = 64 << 10;
    let mut client = peer.connect("queue");
    ready(&mut client);
    let written = pattern(PARTS * LEN, 5);
    let mut parts = written.chunks(LEN).enumerate();
    let mut queue = client.queue();
    loop {
        while queue.free() > 0
            && let Some((n, part)) = parts.next()
        {
            let cdb = cdb(0x2a, (n * LEN / 512) as u32, (LEN / 512) as u16);
            let command = Command::new(lun(), &cdb, Transfer::Out(LEN as u32));
            queue.submit(&command, Data::Out(part)).unwrap();
        }
        let Some(done) = queue.wait().unwrap() else { break };
        done.result.unwrap().good().unwrap();
    }
    drop(queue);

    let mut read = vec![0; written.len()];
    let mut queue = client.queue();
    for (n, part) in read.chunks_mut(LEN).enumerate() {
        if queue.free() == 0 {
            queue.wait().unwrap().unwrap().result.unwrap().good().unwrap();
        }
        let cdb = cdb(0x28, (n * LEN / 512) as u32, (LEN / 512) as u16);
        let command = Command::new(lun(), &cdb, Transfer::In(LEN as u32));
        queue.submit(&command, Data::In(part)).unwrap();
    }
    let full = queue.len();
    assert!(full <= 32 && !queue.is_empty());
    while let Some(done) = queue.wait().unwrap() {
        done.result.unwrap().good().unwrap();
    }
    drop(queue);
    assert!(read == written);
    client.logout().unwrap();
}

fn dropped_queue(peer: &Peer) {
    let mut client = peer.connect("dropped");
    ready(&mut client);
    let mut memory = vec![vec![0; 128 << 10]; 16];
    let mut queue = client.queue();
    for part in &mut memory {
        let cdb = cdb(0x28, 0, 256);
        let command = Command::new(lun(), &cdb, Transfer::In(128 << 10));
        queue.submit(&command, Data::In(part)).unwrap();
    }
    // Sent, and some of it perhaps half received.
    let _ = queue.poll();
    drop(queue);
    drop(memory);
    // What still arrives is thrown away; the session goes on.
    ready(&mut client);
    client.logout().unwrap();
}

fn odd_offsets(peer: &Peer) {
    let mut disk = peer.disk("odd");
    assert_eq!((disk.capacity(), disk.block_size()), (tgtd::BYTES, 512));
    assert!(!disk.is_read_only() && !disk.identity().vendor().as_bytes().is_empty());
    let mut model = vec![0; tgtd::BYTES as usize];
    let ranges = [(0, 1), (511, 2), (513, 1023), (4096, 4096), (70_001, 3 << 20), (8 << 20, 1)];
    for (n, (offset, len)) in ranges.into_iter().enumerate() {
        let data = pattern(len, n as u64 + 11);
        disk.write_at(offset as u64, &data).unwrap();
        model[offset..offset + len].copy_from_slice(&data);
    }
    disk.write_zeroes(80_000, 1_000_000).unwrap();
    model[80_000..1_080_000].fill(0);
    disk.flush().unwrap();
    disk.request(Request::write(100, 3).fua(), Data::Out(b"fua")).unwrap();
    model[100..103].copy_from_slice(b"fua");
    let mut read = vec![1; model.len()];
    disk.read_at(0, &mut read).unwrap();
    assert!(read == model);
    let mut few = [0; 3];
    disk.read_at(100, &mut few).unwrap();
    assert_eq!(&few, b"fua");
    disk.logout().unwrap();
}

fn stream(peer: &Peer) {
    let mut disk = peer.disk("stream");
    let text = pattern(100_000, 23);
    disk.seek(SeekFrom::End(-100_000)).unwrap();
    disk.write_all(&text).unwrap();
    assert_eq!(disk.write(b"no room").unwrap(), 0);
    disk.seek(SeekFrom::Current(-100_000)).unwrap();
    let mut back = Vec::new();
    disk.read_to_end(&mut back).unwrap();
    assert!(back == text);
    disk.seek(SeekFrom::Start(0)).unwrap();
    disk.seek(SeekFrom::Current(-1)).unwrap_err();
    std::io::Write::flush(&mut disk).unwrap();
    disk.logout().unwrap();
}

fn range_errors(peer: &Peer) {
    let mut disk = peer.disk("open");
    let end = disk.capacity();
    let error = disk.read_at(end - 1, &mut [0; 2]).unwrap_err();
    let wanted = RequestError::OutOfRange { offset: end - 1, len: 2, capacity: end };
    assert!(matches!(error, Error::Request(e) if e == wanted), "{error}");
    assert!(disk.write_at(u64::MAX, &[0]).is_err());
    disk.read_at(end, &mut []).unwrap();

    // A LUN without a device.
    let client = disk.into_client();
    let error = Disk::open(client, Lun::new(7).unwrap()).unwrap_err();
    assert!(matches!(error, Error::Disk(_)), "{error}");
}

fn write_protected(peer: &Peer) {
    let mut disk = peer.disk("protected");
    assert!(disk.is_read_only());
    disk.read_at(0, &mut [0; 512]).unwrap();
    let error = disk.write_at(0, &[0; 512]).unwrap_err();
    assert!(matches!(error, Error::Request(RequestError::ReadOnly)), "{error}");
    let error = std::io::Error::from(disk.write_zeroes(0, 512).unwrap_err());
    assert_eq!(error.kind(), std::io::ErrorKind::ReadOnlyFilesystem);
    disk.logout().unwrap();
}

fn shared(peer: &Peer) {
    const PART: usize = 50_000;
    let disk = SharedDisk::new(peer.disk("shared")).unwrap();
    assert_eq!(disk.capacity(), tgtd::BYTES);
    let threads: Vec<_> = (0..8)
        .map(|n| {
            let disk = disk.clone();
            thread::spawn(move || {
                for round in 0..10 {
                    let offset = ((n * 10 + round) * PART) as u64;
                    let written = pattern(PART, offset);
                    let memory = disk.write_at(offset, written.clone()).unwrap();
                    let read = disk.read_at(offset, memory).unwrap();
                    assert!(read == written, "thread {n}, round {round}");
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|t| t.join().unwrap());
    disk.flush().unwrap();

    // The memory comes back with an error, too.
    let failed = disk.read_at(tgtd::BYTES, vec![7; 5]).unwrap_err();
    assert_eq!(failed.payload.into_bytes(), [7; 5]);
    // Nobody waits, and it is done all the same.
    drop(disk.submit(Request::write(0, 4), Payload::Out(b"last".to_vec())));
    let read = disk.read_at(0, vec![0; 4]);
    disk.handle().shut_down().unwrap();
    assert!(matches!(disk.flush(), Err(Error::ShutDown)));
    assert!(read.is_ok());
    let mut again = peer.disk("shared");
    let mut first = [0; 4];
    again.read_at(0, &mut first).unwrap();
    assert_eq!(&first, b"last");
}

fn handle(peer: &Peer) {
    let mut client = peer.connect("handle");
    ready(&mut client);
    let handle = Handle::new(client).unwrap();
    let capacity = handle.status().unwrap().capacity;
    let cdb = cdb(0x28, 8, 8);
    let command = Command::new(lun(), &cdb, Transfer::In(4096));
    let many = (0..capacity * 4).map(|_| (command, Payload::In(vec![1; 4096])));
    let tickets = handle.submit_all(many);
    for ticket in tickets {
        let (completed, payload) = ticket.wait().unwrap();
        completed.good().unwrap();
        assert_eq!(payload.into_bytes(), [0; 4096]);
    }
    let short = handle.execute(&command, Payload::In(vec![0; 4095])).unwrap_err();
    assert!(matches!(short.error, Error::Memory { needed: 4096, given: 4095 }));
    assert_eq!(short.payload.into_bytes().len(), 4095);
    handle.ping().unwrap();
    let reset = handle.task_management(TaskManagement::LogicalUnitReset(lun())).unwrap();
    assert_eq!(reset, TaskManagementResponseCode::FunctionComplete);
    handle.reconnect().unwrap();
    assert_eq!(handle.status().unwrap().state, SessionState::LoggedIn);
    // Let go of in the middle: what was asked is done, in the background.
    drop(handle.submit(&command, Payload::In(vec![0; 4096])));
}

fn liveness(peer: &Peer) {
    let mut client = peer.connect("open");
    ready(&mut client);
    assert!(client.ping().unwrap() < Duration::from_secs(5));
    let start = Instant::now();
    assert_eq!(client.idle(Duration::from_millis(50)).unwrap(), None);
    assert!(start.elapsed() >= Duration::from_millis(50));
    let reset = client.task_management(TaskManagement::LogicalUnitReset(lun())).unwrap();
    assert_eq!(reset, TaskManagementResponseCode::FunctionComplete);
    ready(&mut client);
    assert!(client.reconnect().is_err(), "it stands");
    let isid = client.session().isid();
    client.task_management(TaskManagement::TargetColdReset).ok();
    if client.idle(Duration::from_millis(50)).is_err() {
        client.reconnect().unwrap();
    }
    assert_eq!(client.session().isid(), isid);
    client.logout().unwrap();
}

/// The address of the daemon for those who take no name.
fn address(peer: &Peer) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, peer.port))
}

fn cut(peer: &Peer) {
    let written = pattern(4 << 20, 31);
    let mut read = vec![0; written.len()];
    for seed in 0..10 {
        let faults = FaultProxy::to(address(peer)).seed(seed);
        let proxy = faults.cut_after_bytes(0..8 << 20).only_connections(0..=0).start().unwrap();
        let config = peer.config("cut").build().unwrap();
        let start = Instant::now();
        let mut whole = || {
            let client = Client::connect(config.clone(), proxy.addr().into())?;
            let mut disk = Disk::open(client, lun())?;
            disk.write_at(1000, &written)?;
            disk.read_at(1000, &mut read)?;
            disk.write_at(1000, &written)?;
            Ok(disk)
        };
        let error = whole().map(drop).unwrap_err();
        assert!(matches!(error, Error::Lost(LostReason::Eof) | Error::Io(_)), "{error}");
        assert!(start.elapsed() < Duration::from_secs(2), "seed {seed}: {:?}", start.elapsed());
        // The next connection is left alone.
        whole().unwrap().logout().unwrap();
        assert!(read == written);
        assert_eq!(proxy.counters().cuts, 1);
    }
}

fn flipped_bits(peer: &Peer) {
    let Damage { flips, sessions, good, failed } =
        damage::soaks(address(peer), &target_name("damaged"), lun(), 0..4);
    assert!(sessions > 20 && failed > 20 && flips > 50 && good > 200);
}

fn killed(_: &Peer) {
    let mut tgtd = Tgtd::start();
    let name = tgtd.add_target("killed", &Access::default());
    let config = Config::normal(initiator_name(), name).build().unwrap();
    let mut client = Client::connect(config, tgtd.portal()).unwrap();
    ready(&mut client);
    tgtd.kill();
    let start = Instant::now();
    let command = Command::new(lun(), &[0; 6], Transfer::None);
    let error = client.execute(&command, Data::None).unwrap_err();
    assert!(start.elapsed() < Duration::from_secs(2));
    assert!(matches!(error, Error::Lost(LostReason::Eof) | Error::Io(_)), "{error}");
    // The session is over, and says why.
    let error = client.execute(&command, Data::None).unwrap_err();
    assert!(matches!(error, Error::Lost(LostReason::Eof) | Error::Io(_)), "{error}");
    let error = client.reconnect().unwrap_err();
    assert!(matches!(error, Error::Connect(_)), "{error}");
}

fn lost_session(_: &Peer) {
    let mut tgtd = Tgtd::start();
    let name = tgtd.add_target("lost", &Access::default());
    let config = Config::normal(initiator_name(), name).build().unwrap();
    let client = Client::connect(config, tgtd.portal()).unwrap();
    let mut disk = Disk::open(client, lun()).unwrap();
    disk.write_at(1000, b"before").unwrap();
    let mut read = [0; 6];

    tgtd.disconnect();
    let error = disk.read_at(1000, &mut read).unwrap_err();
    assert!(matches!(error, Error::Lost(LostReason::Eof) | Error::Io(_)), "{error}");
    disk.reconnect().unwrap();
    disk.read_at(1000, &mut read).unwrap();
    assert_eq!(&read, b"before");

    let disk = SharedDisk::new(disk).unwrap();
    tgtd.disconnect();
    let failed = disk.write_at(1000, b"within".to_vec()).unwrap_err();
    assert_eq!(failed.payload.into_bytes(), b"within");
    disk.handle().reconnect().unwrap();
    assert_eq!(disk.read_at(1000, vec![0; 6]).unwrap(), b"before");
    disk.write_at(1000, b"behind".to_vec()).unwrap();
    assert_eq!(disk.read_at(1000, vec![0; 6]).unwrap(), b"behind");
    disk.handle().shut_down().unwrap();
}

/// Sessions that come back soon.
fn returning(builder: ConfigBuilder, retry: Retry) -> Config {
    let delay = Duration::from_millis(50);
    let recovery =
        Recovery { retry, first_delay: delay, longest_delay: 4 * delay, ..Recovery::FOREVER };
    builder.recovery(recovery).default_time2wait(0).build().unwrap()
}

fn back_again(peer: &Peer) {
    let proxy = FaultProxy::to(address(peer)).seed(5).cut_after_bytes(300_000..3 << 20);
    let proxy = proxy.only_connections(0..30).start().unwrap();
    let config = returning(peer.config("returning"), Retry::Forever);
    let client = Client::connect(config, proxy.addr().into()).unwrap();
    let disk = SharedDisk::new(Disk::open(client, lun()).unwrap()).unwrap();
    let threads: Vec<_> = (0..4)
        .map(|n| {
            let disk = disk.clone();
            thread::spawn(move || {
                for round in 0..12 {
                    let offset = (n * 12 + round) * 300_000;
                    let written = pattern(300_000, offset);
                    let memory = disk.write_at(offset, written.clone()).unwrap();
                    let read = disk.read_at(offset, memory).unwrap();
                    assert!(read == written, "thread {n}, round {round}");
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    let status = disk.handle().status().unwrap();
    println!("{:?}", status.session);
    assert!(status.session.connections_lost >= 10 && status.session.reissued >= 10);
    disk.handle().shut_down().unwrap();
}

fn forced(_: &Peer) {
    let mut tgtd = Tgtd::start();
    let name = tgtd.add_target("forced", &Access::default());
    tgtd.set("DefaultTime2Wait", "0");
    let builder = Config::normal(initiator_name(), name);
    let mut client = Client::connect(returning(builder, Retry::Never), tgtd.portal()).unwrap();
    for _ in 0..50 {
        client.force_reconnect().unwrap();
    }
    assert_eq!(client.session().counters().logins, 51);
    assert_eq!(tgtd.sessions(), 1);
    ready(&mut client);
    client.logout().unwrap();
    assert_eq!(tgtd.sessions(), 0);
}

fn restarted(_: &Peer) {
    let file = env::temp_dir().join(format!("iscsi-restarted-{}", std::process::id()));
    std::fs::File::create(&file).and_then(|file| file.set_len(tgtd::BYTES)).unwrap();
    let mut tgtd = Tgtd::start();
    let name = tgtd.add_target_on("restarted", &file, &Access::default());
    let builder = Config::normal(initiator_name(), name);
    let config = returning(builder, Retry::For(Duration::from_secs(60)));
    let client = Client::connect(config, tgtd.portal()).unwrap();
    let disk = SharedDisk::new(Disk::open(client, lun()).unwrap()).unwrap();
    let data = pattern(tgtd::BYTES as usize, 77);
    let tickets: Vec<_> = data
        .chunks(100_000)
        .enumerate()
        .map(|(n, chunk)| {
            let request = Request::write(n as u64 * 100_000, chunk.len() as u64);
            disk.submit(request, Payload::Out(chunk.to_vec()))
        })
        .collect();
    tgtd.kill();
    let down = Instant::now();
    tgtd.revive();
    tgtd.add_target_on("restarted", &file, &Access::default());
    for ticket in tickets {
        ticket.wait().unwrap();
    }
    println!("back after {:?}", down.elapsed());
    disk.flush().unwrap();
    assert!(disk.read_at(0, vec![0; data.len()]).unwrap() == data);
    let status = disk.handle().status().unwrap();
    assert!(status.session.connections_lost >= 1, "{status:?}");
    disk.handle().shut_down().unwrap();
    drop(tgtd);
    std::fs::remove_file(&file).unwrap();
}

fn gone(_: &Peer) {
    let mut tgtd = Tgtd::start();
    let name = tgtd.add_target("gone", &Access::default());
    let builder = Config::normal(initiator_name(), name);
    let limit = Duration::from_secs(2);
    let config = returning(builder, Retry::For(limit));
    let client = Client::connect(config, tgtd.portal()).unwrap();
    let disk = SharedDisk::new(Disk::open(client, lun()).unwrap()).unwrap();
    let tickets: Vec<_> = (0..100)
        .map(|n| disk.submit(Request::write(n * 100_000, 100_000), Payload::Out(vec![1; 100_000])))
        .collect();
    tgtd.kill();
    let start = Instant::now();
    let ends: Vec<_> = tickets.into_iter().map(iscsi_runtime_std::Ticket::wait).collect();
    let took = start.elapsed();
    assert!(took < limit + Duration::from_secs(1), "{took:?}");
    let failed: Vec<_> = ends.into_iter().filter_map(Result::err).collect();
    assert!(!failed.is_empty());
    for failed in failed {
        assert_eq!(failed.payload.into_bytes().len(), 100_000);
        assert!(matches!(failed.error, Error::GaveUp(_)), "{}", failed.error);
    }
}
