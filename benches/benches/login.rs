//! The whole login of an initiator: its keys written, the answers read, judged and negotiated.

use core::time::Duration;

use criterion::{BatchSize, Criterion};
use iscsi_benches::Login;

fn main() {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .configure_from_args();
    let mut group = criterion.benchmark_group("login");
    for (name, chap) in [("without CHAP", false), ("mutual CHAP", true)] {
        let login = Login::record(chap);
        group.bench_function(name, |b| {
            b.iter_batched_ref(
                || login.initiator(),
                |initiator| login.play(initiator),
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
    criterion.final_summary();
}
