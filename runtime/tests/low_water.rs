//! When a loop sleeps until many bytes are there, seen by the reactor that tells the socket.

use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use core::time::Duration;
use std::io;
use std::net::TcpStream;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Instant;

use iscsi_core::driver::{NonBlocking, Transport};
use iscsi_core::{Command, Config, IscsiName, Lun, SessionState, TaskId, Transfer};
use iscsi_runtime::{Engine, Options, Payload, Reactor, Table, has_peer, set_low_water, task_end};
use iscsi_target::server::{Server, ServerHandle};
use iscsi_target::{RamDisk, TargetConfig};

const MIB: usize = 1 << 20;

/// What sockets were told, and how often they were read.
#[derive(Debug, Default)]
struct Seen {
    marks: Mutex<Vec<u32>>,
    reads: AtomicUsize,
    /// What has come is not shown.
    is_held: AtomicBool,
}

#[derive(Debug)]
struct Socket {
    stream: NonBlocking<TcpStream>,
    seen: Arc<Seen>,
}

impl Transport for Socket {
    type Error = io::Error;

    fn send(&mut self, runs: &[&[u8]]) -> io::Result<Option<usize>> {
        self.stream.send(runs)
    }

    fn recv(&mut self, space: [&mut [u8]; 2]) -> io::Result<Option<usize>> {
        self.seen.reads.fetch_add(1, Ordering::Relaxed);
        if self.seen.is_held.load(Ordering::Relaxed) { Ok(None) } else { self.stream.recv(space) }
    }
}

/// Marks are written down.
#[derive(Debug)]
struct Marking(Arc<Seen>);

impl Reactor for Marking {
    type Socket = Socket;

    fn adopt(&mut self, socket: TcpStream) -> io::Result<Socket> {
        Ok(Socket { stream: NonBlocking(socket), seen: self.0.clone() })
    }

    fn take_error(socket: &Socket) -> io::Result<Option<io::Error>> {
        socket.stream.0.take_error()
    }

    fn is_connected(socket: &Socket) -> io::Result<bool> {
        has_peer(socket.stream.0.peer_addr())
    }

    fn set_low_water(socket: &mut Socket, bytes: u32) -> bool {
        socket.seen.marks.lock().unwrap().push(bytes);
        set_low_water(&socket.stream.0, bytes)
    }

    fn waker(&self) -> Box<dyn Fn() + Send + Sync> {
        Box::new(|| {})
    }
}

fn target() -> ServerHandle {
    let name = IscsiName::new("iqn.2001-04.com.example:marks").unwrap();
    let mut server = Server::bind("127.0.0.1:0", TargetConfig::new(name)).unwrap();
    server.add_disk(RamDisk::new(vec![7; 16 * MIB], 512).unwrap());
    server.spawn().unwrap()
}

/// A session and what its socket was told.
struct Scene {
    engine: Engine<Marking>,
    memory: Table<TaskId, Payload>,
    seen: Arc<Seen>,
    _target: ServerHandle,
}

impl Scene {
    fn new() -> Self {
        let target = target();
        let host = IscsiName::new("iqn.2001-04.com.example:host").unwrap();
        let name = IscsiName::new("iqn.2001-04.com.example:marks").unwrap();
        let config = Config::normal(host, name).build().unwrap();
        let seen = Arc::new(Seen::default());
        let marking = Marking(seen.clone());
        let mut engine = Engine::new(config, &Options::default(), marking).unwrap();
        engine.open(target.addr().into()).unwrap();
        let mut scene = Self { engine, memory: Table::default(), seen, _target: target };
        scene.run_until(|scene| scene.engine.session.state() == SessionState::LoggedIn);
        scene
    }

    /// A loop that never sleeps where it would wait, and looks there whether it is done.
    fn run_until(&mut self, mut done: impl FnMut(&mut Self) -> bool) {
        let limit = Instant::now() + Duration::from_secs(20);
        loop {
            let wants = self.engine.turn_and_vouch(&mut self.memory);
            if !self.engine.wants(wants).again && done(self) {
                return;
            }
            assert!(Instant::now() < limit, "it never ends");
            thread::yield_now();
        }
    }

    /// Reads of 1 MiB, all at once. The loop would wait once before the first answer. Returns what the socket was told meanwhile.
    fn read(&mut self, reads: usize) -> Vec<u32> {
        self.seen.marks.lock().unwrap().clear();
        self.seen.is_held.store(true, Ordering::Relaxed);
        for n in 0..reads {
            let lba = (n * 2048).to_be_bytes();
            let cdb = [0x28, 0, lba[4], lba[5], lba[6], lba[7], 0, 8, 0, 0];
            let command = Command::new(Lun::ZERO, &cdb, Transfer::In(MIB as u32));
            let task = self.engine.submit(&command).unwrap();
            self.memory.insert(task, Payload::In(vec![0; MIB]));
        }
        self.run_until(|_| true);
        self.seen.is_held.store(false, Ordering::Relaxed);
        let mut left = reads;
        self.run_until(|scene| {
            while let Some(event) = scene.engine.session.poll_event() {
                let Some((task, end)) = task_end(event) else { continue };
                end.unwrap().good().unwrap();
                let memory = scene.memory.remove(task).unwrap().into_bytes();
                assert!(memory == vec![7; MIB]);
                left -= 1;
            }
            left == 0
        });
        self.seen.marks.lock().unwrap().clone()
    }
}

#[test]
fn the_mark_is_set_for_many_large_reads_and_taken_back() {
    if !cfg!(any(target_os = "linux", target_os = "android")) {
        return;
    }
    // Each time anew: how a session that was waited for too long goes on depends on how fast the machine is.
    for _ in 0..3 {
        let mut scene = Scene::new();
        assert!(scene.seen.marks.lock().unwrap().is_empty(), "a login is small");
        assert!(scene.read(4).is_empty(), "few are looked for");
        let marks = scene.read(16);
        assert!(marks.first().is_some_and(|mark| *mark >= 128 << 10), "{marks:?}");
        assert!(marks.iter().all(|mark| *mark <= 8 << 20), "half of what is due: {marks:?}");
        assert_eq!(marks.last(), Some(&1), "few are left: {marks:?}");
    }
}

#[test]
fn before_a_deadline_is_judged_the_socket_is_read() {
    let mut scene = Scene::new();
    for n in 0..8_u8 {
        let cdb = [0x28, 0, 0, 0, n * 8, 0, 0, 8, 0, 0];
        let command = Command::new(Lun::ZERO, &cdb, Transfer::In(MIB as u32))
            .timeout(Duration::from_millis(50));
        let task = scene.engine.submit(&command).unwrap();
        scene.memory.insert(task, Payload::In(vec![0; MIB]));
    }
    let wants = scene.engine.turn_and_vouch(&mut scene.memory);
    assert!(scene.engine.wants(wants).read);
    // The process does something else for longer than the commands may take; their answers come meanwhile.
    thread::sleep(Duration::from_millis(60));
    scene.seen.marks.lock().unwrap().clear();
    let before = scene.seen.reads.load(Ordering::Relaxed);
    let _ = scene.engine.turn_and_vouch(&mut scene.memory);
    assert!(scene.seen.reads.load(Ordering::Relaxed) > before);
    if cfg!(any(target_os = "linux", target_os = "android")) {
        assert_eq!(scene.seen.marks.lock().unwrap().first(), Some(&1));
    }
}
