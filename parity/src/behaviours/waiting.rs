//! Large answers, for which a loop sleeps until much of them is there.

use core::time::Duration;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::Instant;

use iscsi_core::InitiatorTaskTag;
use iscsi_core::wire::{self, BHS_LEN, Bhs, Opcode};
use iscsi_disk::Request;
use iscsi_runtime::Payload;

use super::{SECOND, config, open, open_at, pattern};
use crate::{BYTES, Path, Runtime, Served};

const PART: usize = 512 << 10;

/// Reads all of the disk in large parts at once.
fn read_all(path: &mut dyn Path, seed: usize) {
    let parts = BYTES as usize / PART;
    let mut begun = Vec::new();
    for part in 0..parts {
        let request = Request::read((part * PART) as u64, PART as u64);
        begun.push(path.submit(request, Payload::In(vec![0xee; PART])));
    }
    for _ in 0..parts {
        let (number, result) = path.next();
        let part = begun.iter().position(|begun| *begun == number).expect("one that was begun");
        assert!(result.expect("good").into_bytes() == pattern(PART, seed + part), "part {part}");
    }
}

pub(super) fn large(runtime: &dyn Runtime, served: &Served) {
    let mut path = open(runtime, served, config(served));
    for seed in [0, 100] {
        for part in 0..BYTES as usize / PART {
            path.write((part * PART) as u64, &pattern(PART, seed + part)).expect("a write");
        }
        read_all(&mut *path, seed);
        // One at a time, and small ones, are waited for in other ways.
        assert!(path.read(0, PART).expect("a read") == pattern(PART, seed));
        assert!(path.read(1, 100).expect("a read") == pattern(PART, seed)[1..101]);
    }
    path.shut_down().expect("a logout");
}

pub(super) fn pings(runtime: &dyn Runtime, served: &Served) {
    let mut path = open(runtime, served, config(served));
    for part in 0..BYTES as usize / PART {
        path.write((part * PART) as u64, &pattern(PART, part)).expect("a write");
    }
    path.shut_down().expect("a logout");

    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let target = served.address;
    let (sender, pinged) = mpsc::channel();
    let relay = thread::spawn(move || {
        let (initiator, _) = listener.accept()?;
        relay(initiator, TcpStream::connect(target)?, &sender)
    });
    let mut path = open_at(runtime, address.into(), served, config(served)).expect("a login");
    read_all(&mut *path, 0);
    path.shut_down().expect("a logout");
    // However the connection ended: all of it was read.
    let _ = relay.join().expect("a relay that does not panic");
    let mut waits: Vec<Duration> = pinged.try_iter().collect();
    waits.sort_unstable();
    let (median, longest) = (waits.get(waits.len() / 2), waits.last());
    let in_time = |wait: Option<&Duration>, most| wait.is_some_and(|wait| *wait < most);
    assert!(in_time(median, SECOND / 50) && in_time(longest, SECOND / 2), "{waits:?}");
    assert!(waits.len() >= 8, "{waits:?}");
}

/// What the relay's pings are known by.
const TAG: [u8; 4] = [0, 0, 0x51, 0x1e];

/// Passes PDUs on both ways. Behind every other large Data-In it sends a ping of its own, tells how long the answer takes, and holds everything else back until it
/// is there.
fn relay(initiator: TcpStream, target: TcpStream, waits: &Sender<Duration>) -> io::Result<()> {
    for stream in [&initiator, &target] {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(20 * SECOND))?;
    }
    let (sender, answers) = mpsc::channel();
    let (from, mut to) = (initiator.try_clone()?, target.try_clone()?);
    let forth = thread::spawn(move || {
        forward(from, |pdu| {
            let bhs: &Bhs = pdu.first_chunk().unwrap_or(&[0; BHS_LEN]);
            if opcode(bhs) == Some(Opcode::NopOut) && bhs[20..24] == TAG {
                // Nobody waits for it any more if the other direction has ended.
                let _ = sender.send(());
                return Ok(());
            }
            to.write_all(pdu)
        })
    });
    let back = answer(initiator, target, &answers, waits);
    let _ = forth.join().expect("a thread that does not panic");
    back
}

fn answer(
    mut initiator: TcpStream,
    target: TcpStream,
    answers: &Receiver<()>,
    waits: &Sender<Duration>,
) -> io::Result<()> {
    // Of the last status, plus one.
    let mut stat_sn = 0_u32;
    let mut large = 0;
    let result = forward(target, |pdu| {
        initiator.write_all(pdu)?;
        let bhs: &Bhs = pdu.first_chunk().unwrap_or(&[0; BHS_LEN]);
        let is_data_in = opcode(bhs) == Some(Opcode::DataIn);
        if !is_data_in || bhs[1] & 1 != 0 {
            let [.., a, b, c, d] = bhs[..28] else { return Ok(()) };
            stat_sn = u32::from_be_bytes([a, b, c, d]).wrapping_add(1);
        }
        large += usize::from(is_data_in && pdu.len() > 32 << 10);
        if !is_data_in || pdu.len() <= 32 << 10 || large % 2 == 1 {
            return Ok(());
        }
        let mut ping = [0; BHS_LEN];
        ping[..2].copy_from_slice(&[0x20, 0x80]);
        ping[16..20].copy_from_slice(&InitiatorTaskTag::RESERVED.0.to_be_bytes());
        ping[20..24].copy_from_slice(&TAG);
        ping[24..28].copy_from_slice(&stat_sn.to_be_bytes());
        ping[28..36].copy_from_slice(&bhs[28..36]);
        let start = Instant::now();
        initiator.write_all(&ping)?;
        answers.recv_timeout(5 * SECOND).map_err(io::Error::other)?;
        waits.send(start.elapsed()).map_err(io::Error::other)
    });
    let _ = initiator.shutdown(std::net::Shutdown::Both);
    result
}

fn opcode(bhs: &Bhs) -> Option<Opcode> {
    Opcode::from_byte(bhs[0] & 0x3f)
}

/// Hands over one PDU after the other, until the end.
fn forward(mut from: TcpStream, mut to: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
    loop {
        let mut pdu = vec![0; BHS_LEN];
        from.read_exact(&mut pdu)?;
        let bhs: &Bhs = pdu.first_chunk().unwrap_or(&[0; BHS_LEN]);
        let rest =
            usize::from(bhs[4]) * 4 + wire::data_segment_length(bhs).next_multiple_of(4) as usize;
        pdu.resize(BHS_LEN + rest, 0);
        from.read_exact(&mut pdu[BHS_LEN..])?;
        to(&pdu)?;
    }
}
