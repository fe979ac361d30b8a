//! The server over real sockets.

mod support;

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use iscsi_core::wire::{
    self, AsyncEvent, BHS_LEN, Bhs, InitiatorPdu, LoginOutcome, LoginRequest, LogoutReason,
    LogoutRequest, ScsiCommand, ScsiStatus, Stage, TargetPdu, TaskAttribute,
};
use iscsi_core::{CmdSn, InitiatorTaskTag, IscsiName, Lun, StatSn};
use iscsi_scsi::block::{Read10, Write10};
use iscsi_scsi::primary::TestUnitReady;
use iscsi_scsi::{Cdb, Direction};
use iscsi_target::server::{Server, ServerEvent, ServerHandle};
use iscsi_target::{Disk, DiskError, EndReason, FileDisk, NullDisk, Quirks, RamDisk, TargetConfig};
use support::{INITIATOR, Received, TARGET, pattern};

/// A blocking initiator.
struct Initiator {
    stream: TcpStream,
    cmd_sn: CmdSn,
    itt: u32,
}

impl Initiator {
    fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        Self { stream, cmd_sn: CmdSn(1), itt: 1 }
    }

    fn logged_in(address: SocketAddr, port: u16) -> Self {
        let mut initiator = Self::connect(address);
        let text = format!(
            "InitiatorName={INITIATOR}\0TargetName={TARGET}\0InitialR2T=No\0MaxRecvDataSegmentLength=262144\0MaxBurstLength=1048576\0FirstBurstLength=262144\0"
        );
        let request = LoginRequest {
            current_stage: Stage::LoginOperationalNegotiation,
            next_stage: Some(Stage::FullFeaturePhase),
            is_continued: false,
            version_max: 0,
            version_min: 0,
            data_segment_length: text.len() as u32,
            isid: wire::Isid::random(1, port),
            tsih: 0,
            initiator_task_tag: InitiatorTaskTag(0),
            cid: 0,
            cmd_sn: initiator.cmd_sn,
            exp_stat_sn: StatSn(0),
        };
        initiator.send(request, text.as_bytes());
        let TargetPdu::LoginResponse(response) = initiator.receive().pdu() else { panic!() };
        assert!(matches!(response.outcome, LoginOutcome::Proceed(progress) if progress.is_done()));
        initiator
    }

    fn send(&mut self, pdu: impl Into<InitiatorPdu>, data: &[u8]) {
        let mut bhs = [0; BHS_LEN];
        pdu.into().emit(&mut bhs);
        let mut bytes = bhs.to_vec();
        bytes.extend_from_slice(data);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        self.stream.write_all(&bytes).unwrap();
    }

    fn receive(&mut self) -> Received {
        let mut bhs: Bhs = [0; BHS_LEN];
        self.stream.read_exact(&mut bhs).unwrap();
        let len = wire::data_segment_length(&bhs) as usize;
        let mut data = vec![0; len + wire::padding(len)];
        self.stream.read_exact(&mut data).unwrap();
        data.truncate(len);
        Received { bhs, data }
    }

    fn command(&mut self, cdb: &Cdb) -> ScsiCommand {
        self.itt += 1;
        let cmd_sn = self.cmd_sn;
        self.cmd_sn = cmd_sn.next();
        ScsiCommand {
            immediate: false,
            is_final: true,
            read: cdb.direction() == Direction::In,
            write: cdb.direction() == Direction::Out,
            attribute: TaskAttribute::Simple,
            priority: 0,
            total_ahs_length: Default::default(),
            data_segment_length: 0,
            lun: Lun::ZERO,
            initiator_task_tag: InitiatorTaskTag(self.itt),
            expected_data_transfer_length: cdb.expected_bytes(512) as u32,
            cmd_sn,
            exp_stat_sn: StatSn(0),
            cdb: cdb.first_16(),
        }
    }

    fn read(&mut self, lba: u32, blocks: u16) -> Vec<u8> {
        let command = self.command(&Read10 { lba, blocks, ..Default::default() }.cdb());
        self.send(command, &[]);
        let mut data = Vec::new();
        loop {
            let received = self.receive();
            let TargetPdu::DataIn(data_in) = received.pdu() else { panic!("{received:?}") };
            data.extend(received.data);
            if data_in.status.is_some() {
                return data;
            }
        }
    }

    fn write(&mut self, lba: u32, data: &[u8]) -> ScsiStatus {
        let blocks = (data.len() / 512) as u16;
        let command = self.command(&Write10 { lba, blocks, ..Default::default() }.cdb());
        self.send(ScsiCommand { data_segment_length: data.len() as u32, ..command }, data);
        let TargetPdu::ScsiResponse(response) = self.receive().pdu() else { panic!() };
        match response.response {
            wire::ScsiResponseCode::CompletedAtTarget(completion) => completion.status,
            other => panic!("{other:?}"),
        }
    }

    fn logout(&mut self) {
        let request = LogoutRequest {
            immediate: true,
            reason: LogoutReason::CloseSession,
            initiator_task_tag: InitiatorTaskTag(9),
            cmd_sn: self.cmd_sn,
            exp_stat_sn: StatSn(0),
        };
        self.send(request, &[]);
        assert!(matches!(self.receive().pdu(), TargetPdu::LogoutResponse(_)));
        // The target closes its side.
        assert_eq!(self.stream.read(&mut [0]).unwrap(), 0);
    }
}

fn server() -> Server {
    let config = TargetConfig::new(IscsiName::new(TARGET).unwrap());
    let mut server = Server::bind("127.0.0.1:0", config).unwrap();
    server.add_disk(RamDisk::new(vec![0; 1 << 20], 512).unwrap());
    server
}

fn spawn() -> ServerHandle {
    server().spawn().unwrap()
}

#[test]
fn many_sessions_share_a_disk() {
    let handle = spawn();
    let address = handle.addr();
    let threads: Vec<_> = (0..8)
        .map(|n: u16| {
            std::thread::spawn(move || {
                let mut initiator = Initiator::logged_in(address, n);
                let lba = u32::from(n) * 100;
                for round in 0..20 {
                    let data = pattern(100 * 512, round * 8 + n as u8);
                    assert_eq!(initiator.write(lba, &data), ScsiStatus::Good);
                    assert!(initiator.read(lba, 100) == data);
                }
                initiator.logout();
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    let mut initiator = Initiator::logged_in(address, 99);
    assert!(initiator.read(700, 100) == pattern(100 * 512, 19 * 8 + 7));
    handle.stop().unwrap();
}

#[test]
fn large_writes_are_forgotten_without_harm_to_what_is_between() {
    let config = TargetConfig::new(IscsiName::new(TARGET).unwrap());
    let mut server = Server::bind("127.0.0.1:0", config).unwrap();
    server.add_disk(NullDisk::new(1 << 30));
    let handle = server.spawn().unwrap();
    let mut initiator = Initiator::logged_in(handle.addr(), 1);
    let data = pattern(1 << 18, 1);
    for blocks in [512, 64, 1, 200, 511, 65, 512] {
        assert_eq!(initiator.write(7, &data[..blocks * 512]), ScsiStatus::Good);
        assert!(initiator.read(7, blocks as u16).iter().all(|byte| *byte == 0));
    }
    initiator.logout();
    handle.stop().unwrap();
}

#[test]
fn a_file_keeps_what_was_written() {
    let path = std::env::temp_dir().join(format!("iscsi-server-{}", std::process::id()));
    std::fs::write(&path, vec![0; 1 << 20]).unwrap();
    let config = TargetConfig::new(IscsiName::new(TARGET).unwrap());
    let mut server = Server::bind("127.0.0.1:0", config).unwrap();
    server.add_disk(FileDisk::open(&path, 512).unwrap());
    let handle = server.spawn().unwrap();
    let mut initiator = Initiator::logged_in(handle.addr(), 1);
    let data = pattern(300 * 512, 1);
    assert_eq!(initiator.write(1000, &data), ScsiStatus::Good);
    assert!(initiator.read(1000, 300) == data);
    drop(handle);
    assert!(std::fs::read(&path).unwrap()[512_000..][..data.len()] == data);
    std::fs::remove_file(&path).unwrap();
}

#[test]
fn stopping_takes_leave() {
    let handle = spawn();
    let address = handle.addr();
    let mut initiator = Initiator::logged_in(address, 1);
    let control = handle.control().clone();
    let stopper = std::thread::spawn(move || handle.stop());
    let TargetPdu::AsyncMessage(message) = initiator.receive().pdu() else { panic!() };
    assert!(matches!(message.event, AsyncEvent::ConnectionDropped { .. }));
    assert_eq!(initiator.stream.read(&mut [0]).unwrap(), 0);
    drop(initiator);
    stopper.join().unwrap().unwrap();
    assert!(TcpStream::connect(address).is_err());
    // Harmless when nobody is there any more.
    control.stop();
}

#[test]
fn a_running_server_can_be_influenced() {
    let handle = spawn();
    let mut initiator = Initiator::logged_in(handle.addr(), 1);
    handle.control().request_logout(7);
    let TargetPdu::AsyncMessage(message) = initiator.receive().pdu() else { panic!() };
    assert_eq!(message.event, AsyncEvent::LogoutRequested { seconds: 7 });
    handle.control().set_quirks(Quirks { separate_status: true, ..Quirks::default() });
    // The wish is fulfilled before the next command is served: both go through the same loop.
    std::thread::sleep(Duration::from_millis(50));
    let command = initiator.command(&Read10 { lba: 0, blocks: 1, ..Default::default() }.cdb());
    initiator.send(command, &[]);
    assert!(
        matches!(initiator.receive().pdu(), TargetPdu::DataIn(data_in) if data_in.status.is_none())
    );
    assert!(matches!(initiator.receive().pdu(), TargetPdu::ScsiResponse(_)));
    handle.control().drop_connections(false);
    assert_eq!(initiator.stream.read(&mut [0]).unwrap_or(0), 0);
}

#[test]
fn sessions_that_were_taken_over_are_closed_at_once() {
    let handle = spawn();
    let mut old = Initiator::logged_in(handle.addr(), 1);
    let mut new = Initiator::logged_in(handle.addr(), 1);
    assert_eq!(old.stream.read(&mut [0]).unwrap_or(0), 0);
    let command = new.command(&TestUnitReady.cdb());
    new.send(command, &[]);
    let TargetPdu::ScsiResponse(response) = new.receive().pdu() else { panic!() };
    assert_ne!(response.data_segment_length, 0, "a unit attention");
    assert!(new.read(0, 1) == [0; 512]);
}

#[test]
fn the_observer_hears_of_everything() {
    let (sender, events) = mpsc::channel();
    let mut server = server();
    server.set_observer(move |event| {
        let kind = match event {
            ServerEvent::Connected { .. } => "connected".into(),
            ServerEvent::LoggedIn { initiator, .. } => {
                assert!(
                    event.to_string().ends_with("logged in, HeaderDigest=None DataDigest=None")
                );
                initiator.to_string()
            }
            ServerEvent::Disconnected { reason, .. } => format!("{reason:?}"),
            other => panic!("{other:?}"),
        };
        sender.send(kind).unwrap();
    });
    let handle = server.spawn().unwrap();
    let next = || events.recv_timeout(Duration::from_secs(10)).unwrap();
    let mut initiator = Initiator::logged_in(handle.addr(), 1);
    assert_eq!((next().as_str(), next().as_str()), ("connected", INITIATOR));
    initiator.logout();
    drop(initiator);
    assert_eq!(next(), format!("{:?}", EndReason::Logout));
    let rude = Initiator::connect(handle.addr());
    (&rude.stream).write_all(&[0xff; 100]).unwrap();
    assert_eq!(next(), "connected");
    assert_eq!(next(), format!("{:?}", EndReason::NotALogin));
    drop(rude);
    let gone = Initiator::logged_in(handle.addr(), 2);
    next();
    next();
    gone.stream.shutdown(Shutdown::Both).unwrap();
    assert_eq!(next(), format!("{:?}", EndReason::Disconnected));
}

/// A disk that writes down where it is read, and waits there for permission if it is told to.
struct Watched {
    reads: Arc<Mutex<Vec<u64>>>,
    /// Of so many reads beyond [`FAR`] the last one waits.
    every: usize,
    far: usize,
    waits: mpsc::Sender<()>,
    go_on: mpsc::Receiver<()>,
}

/// Where reads may have to wait, in bytes.
const FAR: u64 = 1 << 30;

/// The other end of a [`Watched`].
struct Watch {
    reads: Arc<Mutex<Vec<u64>>>,
    waits: mpsc::Receiver<()>,
    go_on: mpsc::Sender<()>,
}

impl Watched {
    fn new(every: usize) -> (Self, Watch) {
        let reads = Arc::new(Mutex::new(Vec::new()));
        let ((waits, waiting), (go_on, going_on)) = (mpsc::channel(), mpsc::channel());
        let disk = Self { reads: reads.clone(), every, far: 0, waits, go_on: going_on };
        (disk, Watch { reads, waits: waiting, go_on })
    }
}

impl Disk for Watched {
    fn block_size(&self) -> u32 {
        512
    }

    fn blocks(&self) -> u64 {
        1 << 31
    }

    fn read(&mut self, at: u64, into: &mut [u8]) -> Result<(), DiskError> {
        self.reads.lock().unwrap().push(at);
        if at >= FAR {
            self.far += 1;
            if self.far.is_multiple_of(self.every) {
                // Nobody is there any more when a test is over.
                let _ = self.waits.send(());
                let _ = self.go_on.recv_timeout(Duration::from_secs(10));
            }
        }
        into.fill(0);
        Ok(())
    }

    fn write(&mut self, _at: u64, _data: &[u8]) -> Result<(), DiskError> {
        Err(DiskError::Write)
    }
}

impl Watch {
    /// The server stands still in a read; so many reads there were.
    fn stands_still(&self) -> usize {
        self.waits.recv_timeout(Duration::from_secs(10)).unwrap();
        self.reads.lock().unwrap().len()
    }

    fn go_on(&self) {
        self.go_on.send(()).unwrap();
    }
}

fn watched(every: usize) -> (Server, Watch) {
    let (disk, watch) = Watched::new(every);
    let config = TargetConfig::new(IscsiName::new(TARGET).unwrap());
    let mut server = Server::bind("127.0.0.1:0", config).unwrap();
    server.add_disk(disk);
    (server, watch)
}

/// The first block beyond [`FAR`].
const FAR_LBA: u32 = (FAR / 512) as u32;

#[test]
fn a_hog_lets_others_through() {
    const ROUNDS: usize = 8;
    const EVERY: usize = 256;
    // Two turns of the hog: the one in which the other one's command came, and one for which it stood in line already. Each has a MiB in
    // Data-Ins of 32 KiB, and what is frozen beyond that.
    const PDUS: usize = 2 * (32 + 2);
    let (server, watch) = watched(EVERY);
    let handle = server.spawn().unwrap();
    let mut hog = Initiator::logged_in(handle.addr(), 1);
    let mut other = Initiator::logged_in(handle.addr(), 2);
    let mut commands = Vec::new();
    for _ in 0..(ROUNDS + 2) * EVERY / 32 {
        let read = Read10 { lba: FAR_LBA, blocks: 2048, ..Default::default() };
        let mut bhs = [0; BHS_LEN];
        InitiatorPdu::from(hog.command(&read.cdb())).emit(&mut bhs);
        commands.extend_from_slice(&bhs);
    }
    hog.stream.write_all(&commands).unwrap();
    // It takes everything as fast as it can.
    let reader = std::thread::spawn(move || std::io::copy(&mut hog.stream, &mut std::io::sink()));
    for _ in 0..ROUNDS {
        let before = watch.stands_still();
        let command = other.command(&Read10 { lba: 0, blocks: 1, ..Default::default() }.cdb());
        other.send(command, &[]);
        watch.go_on();
        assert!(matches!(other.receive().pdu(), TargetPdu::DataIn(_)));
        let reads = watch.reads.lock().unwrap();
        let between = reads[before..].iter().position(|at| *at == 0).unwrap();
        assert!(between <= PDUS, "{between} PDUs of the hog came first");
    }
    drop(watch);
    drop(handle);
    let _ = reader.join().unwrap();
}

#[test]
fn an_end_that_comes_with_the_last_bytes_is_noticed() {
    let (mut server, watch) = watched(1);
    let (sender, ends) = mpsc::channel();
    server.set_observer(move |event| {
        if let ServerEvent::Disconnected { peer, reason } = event {
            sender.send((*peer, *reason)).unwrap();
        }
    });
    let handle = server.spawn().unwrap();
    let mut busy = Initiator::logged_in(handle.addr(), 1);
    for port in 2..6 {
        let mut short = Initiator::logged_in(handle.addr(), port);
        let command = busy.command(&Read10 { lba: FAR_LBA, blocks: 1, ..Default::default() }.cdb());
        busy.send(command, &[]);
        watch.stands_still();
        // The command and the end are there before the server looks.
        let command = short.command(&TestUnitReady.cdb());
        short.send(command, &[]);
        short.stream.shutdown(Shutdown::Write).unwrap();
        watch.go_on();
        let peer = short.stream.local_addr().unwrap();
        let end = ends.recv_timeout(Duration::from_secs(10)).unwrap();
        assert_eq!(end, (peer, EndReason::Disconnected));
        assert!(matches!(busy.receive().pdu(), TargetPdu::DataIn(_)));
    }
    drop(watch);
}

#[cfg(any(target_os = "linux", target_os = "android"))]
#[test]
fn urgent_bytes_hide_none_behind_them() {
    use rustix::net::{SendFlags, send};

    let (server, watch) = watched(1);
    let handle = server.spawn().unwrap();
    let mut busy = Initiator::logged_in(handle.addr(), 1);
    let mut urgent = Initiator::logged_in(handle.addr(), 2);
    let command = busy.command(&Read10 { lba: FAR_LBA, blocks: 1, ..Default::default() }.cdb());
    busy.send(command, &[]);
    watch.stands_still();
    let mut bhs = [0; BHS_LEN];
    InitiatorPdu::from(urgent.command(&TestUnitReady.cdb())).emit(&mut bhs);
    let (head, tail) = bhs.split_at(20);
    urgent.stream.write_all(head).unwrap();
    assert_eq!(send(&urgent.stream, b"!", SendFlags::OOB).unwrap(), 1);
    urgent.stream.write_all(tail).unwrap();
    watch.go_on();
    assert!(matches!(urgent.receive().pdu(), TargetPdu::ScsiResponse(_)));
    drop(watch);
}

#[test]
fn connections_beyond_the_limit_are_closed() {
    let (sender, events) = mpsc::channel();
    let mut server = server();
    server.limit_connections(1);
    server.set_observer(move |event| {
        if matches!(event, ServerEvent::Disconnected { .. }) {
            sender.send(()).unwrap();
        }
    });
    let handle = server.spawn().unwrap();
    let mut first = Initiator::logged_in(handle.addr(), 1);
    let mut second = Initiator::connect(handle.addr());
    assert_eq!(second.stream.read(&mut [0]).unwrap_or(0), 0);
    first.logout();
    drop(first);
    events.recv_timeout(Duration::from_secs(10)).unwrap();
    Initiator::logged_in(handle.addr(), 2).logout();
}

#[test]
fn silence_is_ended_beside_a_busy_session() {
    let mut config = TargetConfig::new(IscsiName::new(TARGET).unwrap());
    config.login_timeout = Duration::from_secs(1);
    let mut server = Server::bind("127.0.0.1:0", config).unwrap();
    server.add_disk(RamDisk::new(vec![0; 1 << 20], 512).unwrap());
    let handle = server.spawn().unwrap();
    let mut busy = Initiator::logged_in(handle.addr(), 1);
    let silent: Vec<_> = (0..20).map(|_| Initiator::connect(handle.addr())).collect();
    let ends = std::thread::spawn(move || {
        for mut silent in silent {
            assert_eq!(silent.stream.read_to_end(&mut Vec::new()).unwrap(), 0);
        }
    });
    while !ends.is_finished() {
        assert_eq!(busy.read(0, 8).len(), 4096);
    }
    ends.join().unwrap();
}

#[test]
fn two_disks_with_one_number_are_refused() {
    let mut server = server();
    server.add_disk_at(0, RamDisk::new(vec![0; 512], 512).unwrap());
    let error = server.run().unwrap_err();
    assert_eq!(error.to_string(), "two logical units have the number 0");
}
