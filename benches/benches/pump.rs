//! What the initiator takes for an I/O, from `submit` to the event: batches through `pump`, without a socket.
//!
//! The target's turns are not counted. A payload that is read in place is not copied, which on a socket the kernel does; where it goes through
//! the scratch, the kernel's copy is a `fill` here.

use core::time::Duration;

use criterion::{Criterion, Throughput};
use iscsi_benches::{Io, Pair};

/// I/Os of a batch, and their length in bytes.
const BATCHES: [(u32, u32, &str); 3] =
    [(32, 4096, "32 of 4 KiB"), (1, 4096, "1 of 4 KiB"), (32, 65_536, "32 of 64 KiB")];

fn main() {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .configure_from_args();
    for (digests, group) in [(false, "pump"), (true, "pump with digests")] {
        let mut pair = Pair::logged_in(digests);
        let mut group = criterion.benchmark_group(group);
        for (count, len, name) in BATCHES {
            for (io, verb) in [(Io::Read, "read"), (Io::Write, "write")] {
                // An element is an I/O.
                group.throughput(Throughput::Elements(count.into()));
                group.bench_function(format!("{verb} {name}"), |b| {
                    b.iter_custom(|times| {
                        (0..times).map(|_| pair.batch(io, count, len)).sum::<Duration>()
                    });
                });
            }
        }
        group.finish();
    }
    criterion.final_summary();
}
