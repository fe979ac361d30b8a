//! The server over real sockets.

mod support;

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::mpsc;
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
use iscsi_target::{EndReason, FileDisk, Quirks, RamDisk, TargetConfig};
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

#[test]
fn two_disks_with_one_number_are_refused() {
    let mut server = server();
    server.add_disk_at(0, RamDisk::new(vec![0; 512], 512).unwrap());
    let error = server.run().unwrap_err();
    assert_eq!(error.to_string(), "two logical units have the number 0");
}
