//! Headers: written and read.

use core::hint::black_box;
use core::time::Duration;

use criterion::Criterion;
use iscsi_benches::{from_initiator, from_target};
use iscsi_core::wire::{BHS_LEN, Bhs, InitiatorPdu, TargetPdu};

fn emitted(emit: impl FnOnce(&mut Bhs)) -> Bhs {
    let mut bhs = [0; BHS_LEN];
    emit(&mut bhs);
    bhs
}

fn main() {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(1))
        .configure_from_args();
    let mut emit = criterion.benchmark_group("emit");
    for (name, pdu) in from_initiator() {
        emit.bench_function(name, |b| b.iter(|| emitted(|bhs| black_box(&pdu).emit(bhs))));
    }
    for (name, pdu) in from_target() {
        emit.bench_function(name, |b| b.iter(|| emitted(|bhs| black_box(&pdu).emit(bhs))));
    }
    emit.finish();
    let mut parse = criterion.benchmark_group("parse");
    for (name, pdu) in from_initiator() {
        let bhs = emitted(|bhs| pdu.emit(bhs));
        parse.bench_function(name, |b| b.iter(|| InitiatorPdu::parse(black_box(&bhs))));
    }
    for (name, pdu) in from_target() {
        let bhs = emitted(|bhs| pdu.emit(bhs));
        parse.bench_function(name, |b| b.iter(|| TargetPdu::parse(black_box(&bhs))));
    }
    parse.finish();
    criterion.final_summary();
}
