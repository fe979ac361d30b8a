//! How many instructions the engine's operations take, counted by callgrind: `cargo xtask instructions`.
//!
//! A function here is what is counted; what its `setup` makes is not. Payloads are short, or read in place, so that the figures are the engine's
//! and not those of the C library's ways to copy.

#![expect(
    missing_docs,
    unused_qualifications,
    reason = "the macros make public items without documentation, and name things by full paths"
)]

use core::hint::black_box;

use gungraun::prelude::*;
use iscsi_benches::{Io, Login, Pair, from_initiator, from_target};
use iscsi_core::InlineInitiator;
use iscsi_core::wire::{BHS_LEN, Bhs, FormatError, InitiatorPdu, TargetPdu};

/// Headers of a figure: one takes a few instructions only, and 5 % of these would be less than one.
const TIMES: usize = 100;

fn initiator_pdu(name: &str) -> InitiatorPdu {
    from_initiator().into_iter().find(|(of, _)| *of == name).expect("a name of the list").1
}

fn target_header(name: &str) -> Bhs {
    let pdu = from_target().into_iter().find(|(of, _)| *of == name).expect("a name of the list").1;
    let mut bhs = [0; BHS_LEN];
    pdu.emit(&mut bhs);
    bhs
}

#[library_benchmark]
#[bench::scsi_command(args = ("SCSI Command, read"), setup = initiator_pdu)]
#[bench::data_out(args = ("SCSI Data-Out"), setup = initiator_pdu)]
#[bench::nop_out(args = ("NOP-Out"), setup = initiator_pdu)]
#[bench::task_management(args = ("Task Management Function Request"), setup = initiator_pdu)]
#[bench::login(args = ("Login Request"), setup = initiator_pdu)]
#[bench::text(args = ("Text Request"), setup = initiator_pdu)]
#[bench::logout(args = ("Logout Request"), setup = initiator_pdu)]
fn emit(pdu: InitiatorPdu) -> Bhs {
    let mut bhs = [0; BHS_LEN];
    for _ in 0..TIMES {
        black_box(&pdu).emit(black_box(&mut bhs));
    }
    bhs
}

#[library_benchmark]
#[bench::data_in(args = ("SCSI Data-In"), setup = target_header)]
#[bench::scsi_response(args = ("SCSI Response"), setup = target_header)]
#[bench::r2t(args = ("R2T"), setup = target_header)]
#[bench::nop_in(args = ("NOP-In"), setup = target_header)]
#[bench::task_management(args = ("Task Management Function Response"), setup = target_header)]
#[bench::login(args = ("Login Response"), setup = target_header)]
#[bench::text(args = ("Text Response"), setup = target_header)]
#[bench::logout(args = ("Logout Response"), setup = target_header)]
#[bench::reject(args = ("Reject"), setup = target_header)]
fn parse(bhs: Bhs) -> Result<TargetPdu, FormatError> {
    for _ in 1..TIMES {
        let _ = black_box(TargetPdu::parse(black_box(&bhs)));
    }
    TargetPdu::parse(black_box(&bhs))
}

fn bytes(len: usize) -> Vec<u8> {
    vec![0x5a; len]
}

#[library_benchmark]
#[bench::header(args = (48), setup = bytes)]
#[bench::kib_4(args = (4096), setup = bytes)]
#[bench::kib_64(args = (65_536), setup = bytes)]
fn crc32c(bytes: Vec<u8>) -> (u32, Vec<u8>) {
    (iscsi_core::digest::crc32c(&bytes), bytes)
}

type Recorded = (Login, Box<InlineInitiator<32>>);

fn recorded(chap: bool) -> Recorded {
    let login = Login::record(chap);
    let initiator = login.initiator();
    (login, initiator)
}

#[library_benchmark]
#[bench::without_chap(args = (false), setup = recorded)]
#[bench::mutual_chap(args = (true), setup = recorded)]
fn log_in((login, mut initiator): Recorded) -> Recorded {
    login.play(&mut initiator);
    (login, initiator)
}

type Batch = (Io, u32, u32);

fn ready(digests: bool, batch: Batch) -> (Box<Pair>, Batch) {
    let mut pair = Pair::logged_in(digests);
    // Once, so that everything has its size.
    pair.batch(batch.0, batch.1, batch.2);
    (pair, batch)
}

// The commands, with immediate data if there are some, from `submit` to the stream.
#[library_benchmark(setup = ready)]
#[bench::reads_32(false, (Io::Read, 32, 512))]
#[bench::reads_32_digests(true, (Io::Read, 32, 512))]
#[bench::writes_32(false, (Io::Write, 32, 512))]
#[bench::writes_32_digests(true, (Io::Write, 32, 512))]
#[bench::read_1(false, (Io::Read, 1, 512))]
#[bench::write_kib_64(false, (Io::Write, 1, 65_536))]
#[bench::write_kib_64_digests(true, (Io::Write, 1, 65_536))]
fn send((mut pair, (io, count, len)): (Box<Pair>, Batch)) -> Box<Pair> {
    pair.submit(io, count, len);
    pair.pump();
    pair
}

fn answered(digests: bool, batch: Batch) -> Box<Pair> {
    let (mut pair, (io, count, len)) = ready(digests, batch);
    pair.submit(io, count, len);
    pair.pump();
    pair.serve();
    pair
}

// The answers, from the stream to the events.
#[library_benchmark(setup = answered)]
#[bench::reads_32(false, (Io::Read, 32, 512))]
#[bench::reads_32_digests(true, (Io::Read, 32, 512))]
#[bench::writes_32(false, (Io::Write, 32, 512))]
#[bench::writes_32_digests(true, (Io::Write, 32, 512))]
#[bench::read_1(false, (Io::Read, 1, 512))]
#[bench::reads_16_kib_64_in_place(false, (Io::Read, 16, 65_536))]
#[bench::reads_16_kib_64_in_place_digests(true, (Io::Read, 16, 65_536))]
fn receive(mut pair: Box<Pair>) -> (u32, Box<Pair>) {
    pair.pump();
    (pair.take(), pair)
}

// R2Ts and what is sent for them: a write of 1 MiB, all but its first burst.
#[library_benchmark(setup = answered)]
#[bench::write_mib_1(false, (Io::Write, 1, 1 << 20))]
fn solicited(mut pair: Box<Pair>) -> Box<Pair> {
    pair.pump();
    pair
}

library_benchmark_group!(name = wire, benchmarks = [emit, parse]);
library_benchmark_group!(name = digest, benchmarks = [crc32c]);
library_benchmark_group!(name = login, benchmarks = [log_in]);
library_benchmark_group!(name = pump, benchmarks = [send, receive, solicited]);

main!(library_benchmark_groups = [wire, digest, login, pump]);
