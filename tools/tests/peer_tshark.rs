//! What tshark, which knows nothing of this project, makes of the bytes on the wire: sessions between our initiator and our
//! target are captured on the loopback interface and taken apart.

#[path = "support/peers.rs"]
mod peers;
#[expect(dead_code, reason = "each test program uses its part")]
#[path = "support/served.rs"]
mod served;
#[expect(dead_code, reason = "each test program uses its part")]
mod support;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, ExitCode, Stdio};

use iscsi_core::text::Digests;
use iscsi_core::wire::Opcode;
use iscsi_core::{
    Command as ScsiCommand, Config, DiscoveryScope, IscsiName, Lun, Portal, TaskManagement,
    Transfer,
};
use iscsi_runtime_std::{Client, Data, Options, discover};
use served::{Served, TARGET, mutual};
use support::{Scratch, random};

fn main() -> ExitCode {
    let test: Box<dyn FnOnce() + Send> = Box::new(every_pdu_is_decoded_and_its_digests_are_good);
    let name = "every_pdu_is_decoded_and_its_digests_are_good".to_owned();
    peers::run_all("tshark", peers::missing_program(&["tshark"]), vec![(name, test)])
}

/// A running capture.
struct Capture {
    tshark: Child,
}

impl Capture {
    /// Starts a capture of one port of the loopback interface and returns when it runs.
    fn start(port: u16, file: &Scratch) -> Self {
        let mut tshark = Command::new("tshark")
            .args(["-i", "lo", "-f", &format!("tcp port {port}"), "-w", file.str()])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = String::new();
        let mut lines = BufReader::new(tshark.stderr.take().unwrap());
        while !said.contains("Capture started") {
            let before = said.len();
            lines.read_line(&mut said).unwrap();
            assert!(said.len() > before, "tshark cannot capture: {said}");
        }
        // Kept open: a closed pipe would end tshark when it says something.
        std::thread::spawn(move || std::io::copy(&mut lines, &mut std::io::sink()));
        Self { tshark }
    }

    /// Ends the capture as Ctrl-C does, so that the file is complete.
    fn end(mut self) {
        let pid = self.tshark.id().to_string();
        assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
        self.tshark.wait().unwrap();
    }
}

/// What tshark says about the file.
fn tshark(file: &Scratch, port: u16, arguments: &[&str]) -> String {
    let output = Command::new("tshark")
        .args(["-r", file.str(), "-d", &format!("tcp.port=={port},iscsi")])
        .args(arguments)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn every_pdu_is_decoded_and_its_digests_are_good() {
    let target = Served::with(&[(4 << 20, 512)], |config| {
        config.auth = Some(mutual());
        config.limits.max_recv_data_segment_length = 8192;
        config.limits.max_burst_length = 65_536;
        config.limits.first_burst_length = 16_384;
    });
    let file = Scratch::new("tshark.pcap");
    let port = target.address().port();
    let capture = Capture::start(port, &file);
    talk(&target);
    capture.end();

    let opcodes =
        tshark(&file, port, &["-T", "fields", "-E", "aggregator=,", "-e", "iscsi.opcode"]);
    let mut seen = BTreeMap::new();
    for opcode in opcodes.split([',', '\n']).filter_map(|text| text.strip_prefix("0x")) {
        *seen.entry(u8::from_str_radix(opcode, 16).unwrap()).or_insert(0) += 1;
    }
    println!("PDUs by opcode: {seen:x?}");
    for opcode in [
        Opcode::NopOut,
        Opcode::ScsiCommand,
        Opcode::TaskManagementRequest,
        Opcode::LoginRequest,
        Opcode::TextRequest,
        Opcode::DataOut,
        Opcode::LogoutRequest,
        Opcode::NopIn,
        Opcode::ScsiResponse,
        Opcode::TaskManagementResponse,
        Opcode::LoginResponse,
        Opcode::TextResponse,
        Opcode::DataIn,
        Opcode::LogoutResponse,
        Opcode::R2t,
    ] {
        assert!(seen.contains_key(&(opcode as u8)), "no {opcode:?} in the capture");
    }

    let malformed = tshark(&file, port, &["-Y", "_ws.malformed"]);
    assert!(malformed.is_empty(), "{malformed}");
    let digests = tshark(&file, port, &["-V"]);
    let digests: Vec<_> = digests.lines().filter(|line| line.contains("Digest: 0x")).collect();
    let good = digests.iter().filter(|line| line.contains("(Good CRC32)")).count();
    assert!(good > 40, "{good} digests were recognised");
    assert_eq!(good, digests.len(), "{digests:#?}");
}

/// Sessions that use every PDU that an initiator and a target exchange when nothing goes wrong.
fn talk(target: &Served) {
    let name = |name| IscsiName::new(name).unwrap();
    let host = name("iqn.2001-04.com.example:host");
    let portal = Portal::from(target.address());
    let options = Options::default();
    let discovery = Config::discovery(host.clone()).build().unwrap();
    let found = discover(discovery, portal.clone(), DiscoveryScope::All, &options).unwrap();
    assert_eq!(found.targets[0].name.as_str(), TARGET);

    for digests in [Digests::CRC32C, Digests::NONE] {
        let config = Config::normal(host.clone(), name(TARGET))
            .chap(mutual())
            .header_digest(digests)
            .data_digest(digests)
            .build()
            .unwrap();
        let mut client = Client::connect_with(config, portal.clone(), &options).unwrap();
        let test_unit_ready = ScsiCommand::new(Lun::ZERO, &[0; 6], Transfer::None);
        // The first answers bring a unit attention: a SCSI Response with sense.
        while client.execute(&test_unit_ready, Data::None).unwrap().good().is_err() {}
        client.ping().unwrap();

        // 200 blocks: immediate and unsolicited data, then R2Ts.
        let written = random(200 * 512, 7);
        let mut read = vec![0; written.len()];
        let (write, back) =
            ([0x2a, 0, 0, 0, 0, 3, 0, 0, 200, 0], [0x28, 0, 0, 0, 0, 3, 0, 0, 200, 0]);
        let length = written.len() as u32;
        let write = ScsiCommand::new(Lun::ZERO, &write, Transfer::Out(length));
        client.execute(&write, Data::Out(&written)).unwrap().good().unwrap();
        let back = ScsiCommand::new(Lun::ZERO, &back, Transfer::In(length));
        client.execute(&back, Data::In(&mut read)).unwrap().good().unwrap();
        assert!(read == written);

        // A length that needs padding, and one that the target does not fill.
        let mut inquiry = [0; 255];
        let command = ScsiCommand::new(Lun::ZERO, &[0x12, 0, 0, 0, 255, 0], Transfer::In(255));
        client.execute(&command, Data::In(&mut inquiry)).unwrap().good().unwrap();
        let mut short = [0; 5];
        let command = ScsiCommand::new(Lun::ZERO, &[0x12, 0, 0, 0, 5, 0], Transfer::In(5));
        client.execute(&command, Data::In(&mut short)).unwrap().good().unwrap();
        assert_eq!(inquiry[..5], short);

        client.task_management(TaskManagement::LogicalUnitReset(Lun::ZERO)).unwrap();
        client.send_targets(DiscoveryScope::Session).unwrap();
        client.logout().unwrap();
    }
}
