//! CRC32C: as the engine computes it, by the crate that it uses and by another one.

use core::hint::black_box;
use core::time::Duration;

use crc_fast::CrcAlgorithm;
use criterion::{BenchmarkId, Criterion, Throughput};

fn main() {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .configure_from_args();
    let mut group = criterion.benchmark_group("crc32c");
    for len in [48, 4096, 65_536] {
        let bytes: Vec<u8> = (0..len).map(|i| (i * 31 + i / 256) as u8).collect();
        let ours = iscsi_core::digest::crc32c(&bytes);
        let other = crc_fast::checksum(CrcAlgorithm::Crc32Iscsi, &bytes);
        assert_eq!((crc32c::crc32c(&bytes), other), (ours, u64::from(ours)));
        group.throughput(Throughput::Bytes(len as u64));
        group.bench_with_input(BenchmarkId::new("engine", len), &bytes[..], |b, bytes| {
            b.iter(|| iscsi_core::digest::crc32c(black_box(bytes)));
        });
        group.bench_with_input(BenchmarkId::new("crate crc32c", len), &bytes[..], |b, bytes| {
            b.iter(|| crc32c::crc32c(black_box(bytes)));
        });
        group.bench_with_input(BenchmarkId::new("crate crc-fast", len), &bytes[..], |b, bytes| {
            b.iter(|| crc_fast::checksum(CrcAlgorithm::Crc32Iscsi, black_box(bytes)));
        });
    }
    group.finish();
    criterion.final_summary();
}
