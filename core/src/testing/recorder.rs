//! A capture of a run for Wireshark, and a log in text.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use crate::wire::{Bhs, Pretty};
use crate::{Direction, Instant};

/// Payload of one TCP segment.
const SEGMENT: usize = 1460;

/// Ports of initiator and target.
const PORTS: [u16; 2] = [49_152, 3260];

/// Records a run: the bytes as a pcap file with Ethernet, IPv4 and TCP around them, the headers and events as lines of text.
///
/// ```
/// use iscsi_core::testing::Recorder;
/// use iscsi_core::{Direction, Instant};
/// let mut recorder = Recorder::new();
/// recorder.bytes(Direction::Sent, &[0; 48], Instant::ZERO);
/// recorder.line("the end", Instant::from_micros(5));
/// // The magic number, and a handshake of three segments before the data.
/// assert_eq!(recorder.pcap()[..4], 0xa1b2_c3d4u32.to_be_bytes());
/// assert_eq!(recorder.pcap().len(), 24 + 4 * (16 + 54) + 48);
/// assert_eq!(recorder.lines(), ["0.000005 the end"]);
/// ```
#[derive(Debug, Clone, Default)]
pub struct Recorder {
    pcap: Vec<u8>,
    lines: Vec<String>,
    /// The next sequence number of initiator and target.
    seq: [u32; 2],
    /// Connections so far: each has its own port.
    connections: u16,
    identification: u16,
}

impl Recorder {
    /// An empty recording.
    pub fn new() -> Self {
        let mut pcap = Vec::new();
        // Magic number, version 2.4, time zone, accuracy, longest packet, Ethernet.
        for word in [0xa1b2_c3d4u32, 0x0002_0004, 0, 0, 0x0004_0000, 1] {
            pcap.extend_from_slice(&word.to_be_bytes());
        }
        Self { pcap, ..Self::default() }
    }

    /// The capture.
    pub fn pcap(&self) -> &[u8] {
        &self.pcap
    }

    /// The log.
    pub fn lines(&self) -> &[String] {
        &self.lines
    }

    /// A new TCP connection begins.
    pub fn connected(&mut self, now: Instant) {
        self.connections += 1;
        self.seq = [1_000, 2_000];
        self.segment(0, SYN, &[], now);
        self.seq[0] += 1;
        self.segment(1, SYN | ACK, &[], now);
        self.seq[1] += 1;
        self.segment(0, ACK, &[], now);
    }

    /// The connection ends, from this side.
    pub fn closed(&mut self, direction: Direction, now: Instant) {
        if self.connections > 0 {
            self.segment(side(direction), FIN | ACK, &[], now);
        }
    }

    /// Bytes that went this way.
    pub fn bytes(&mut self, direction: Direction, bytes: &[u8], now: Instant) {
        if self.connections == 0 {
            self.connected(now);
        }
        let from = side(direction);
        for chunk in bytes.chunks(SEGMENT) {
            self.segment(from, ACK | PSH, chunk, now);
            self.seq[from] = self.seq[from].wrapping_add(chunk.len() as u32);
        }
    }

    /// A header that went this way, for the log.
    pub fn header(&mut self, direction: Direction, bhs: &Bhs, now: Instant) {
        let arrow = if direction == Direction::Sent { "->" } else { "<-" };
        self.line(&format!("{arrow} {}", Pretty::new(bhs)), now);
    }

    /// A line of the log.
    pub fn line(&mut self, text: &str, now: Instant) {
        let micros = now.as_micros();
        self.lines.push(format!("{}.{:06} {text}", micros / 1_000_000, micros % 1_000_000));
    }

    fn segment(&mut self, from: usize, flags: u8, payload: &[u8], now: Instant) {
        let total = (40 + payload.len()) as u16;
        let micros = now.as_micros();
        let (seconds, fraction) = ((micros / 1_000_000) as u32, (micros % 1_000_000) as u32);
        let length = u32::from(total) + 14;
        for word in [seconds, fraction, length, length] {
            self.pcap.extend_from_slice(&word.to_be_bytes());
        }
        let addresses = [[192, 0, 2, 1], [192, 0, 2, 2]];
        let hardware = [[2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]];
        let to = 1 - from;
        self.pcap.extend_from_slice(&hardware[to]);
        self.pcap.extend_from_slice(&hardware[from]);
        self.pcap.extend_from_slice(&[0x08, 0x00]);

        self.identification = self.identification.wrapping_add(1);
        let mut ip = [0; 20];
        ip[0] = 0x45;
        ip[2..4].copy_from_slice(&total.to_be_bytes());
        ip[4..6].copy_from_slice(&self.identification.to_be_bytes());
        ip[6] = 0x40; // do not fragment
        ip[8] = 64;
        ip[9] = 6;
        ip[12..16].copy_from_slice(&addresses[from]);
        ip[16..20].copy_from_slice(&addresses[to]);
        let checksum = checksum(&[&ip]);
        ip[10..12].copy_from_slice(&checksum.to_be_bytes());
        self.pcap.extend_from_slice(&ip);

        let initiator = PORTS[0].wrapping_add(self.connections);
        let ports = if from == 0 { [initiator, PORTS[1]] } else { [PORTS[1], initiator] };
        let mut tcp = [0; 20];
        tcp[0..2].copy_from_slice(&ports[0].to_be_bytes());
        tcp[2..4].copy_from_slice(&ports[1].to_be_bytes());
        tcp[4..8].copy_from_slice(&self.seq[from].to_be_bytes());
        let acknowledged = if flags & ACK == 0 { 0 } else { self.seq[to] };
        tcp[8..12].copy_from_slice(&acknowledged.to_be_bytes());
        tcp[12] = 0x50;
        tcp[13] = flags;
        tcp[14..16].copy_from_slice(&0xffffu16.to_be_bytes());
        let mut pseudo = [0; 12];
        pseudo[..8].copy_from_slice(&ip[12..20]);
        pseudo[9] = 6;
        pseudo[10..12].copy_from_slice(&(total - 20).to_be_bytes());
        let checksum = crate::testing::recorder::checksum(&[&pseudo, &tcp, payload]);
        tcp[16..18].copy_from_slice(&checksum.to_be_bytes());
        self.pcap.extend_from_slice(&tcp);
        self.pcap.extend_from_slice(payload);
    }
}

const FIN: u8 = 0x01;
const SYN: u8 = 0x02;
const PSH: u8 = 0x08;
const ACK: u8 = 0x10;

const fn side(direction: Direction) -> usize {
    match direction {
        Direction::Sent => 0,
        Direction::Received => 1,
    }
}

/// The Internet checksum of parts of which all but the last have an even length.
fn checksum(parts: &[&[u8]]) -> u16 {
    let mut sum = 0u32;
    for part in parts {
        for pair in part.chunks(2) {
            let low = pair.get(1).copied().unwrap_or(0);
            sum += u32::from(u16::from_be_bytes([pair[0], low]));
        }
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}
