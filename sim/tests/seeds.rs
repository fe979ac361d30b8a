//! Many seeds over all scenarios. `SEED` is the first one, `SEEDS` how many there are.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use iscsi_sim::{Scenario, play, record};

/// Seeds that the tests play, unless told otherwise.
const SEEDS: u64 = 2_700;

/// A run of a debug build takes more stack than the default of a thread.
const STACK: usize = 8 << 20;

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

#[test]
fn nothing_is_found_in_any_scenario() {
    let first = number("SEED", 0);
    let (next, end) = (AtomicU64::new(first), first + number("SEEDS", SEEDS));
    let (failures, replayed) = (Mutex::new(Vec::new()), AtomicU64::new(0));
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= end {
                return;
            }
            match play(seed, Scenario::of(seed)) {
                Ok(report) => {
                    replayed.fetch_add(report.replayed, Ordering::Relaxed);
                }
                Err(failure) => failures.lock().unwrap().push(failure.to_string()),
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(2, usize::from) {
            thread::Builder::new().stack_size(STACK).spawn_scoped(scope, work).unwrap();
        }
    });
    let failures = failures.into_inner().unwrap();
    assert!(failures.is_empty(), "{} failures\n{}", failures.len(), failures.join("\n"));
    assert!(end - first < 100 || replayed.into_inner() > 10_000, "bytes were replayed");
}

/// Whatever the run depends on must come from the seed.
#[test]
fn the_same_seed_gives_the_same_log() {
    for scenario in Scenario::ALL {
        for seed in 7_000..7_006 {
            let (first, second) = (record(seed, scenario), record(seed, scenario));
            assert!(first.lines.len() > 20, "{}", first.lines.join("\n"));
            assert_eq!(first, second);
            // Recording changes nothing.
            assert_eq!(first.result, play(seed, scenario));
        }
        let different = [1, 2].map(|seed| record(seed, scenario).lines);
        assert_ne!(different[0], different[1]);
    }
}

/// The faults that the scenarios promise do happen.
#[test]
fn the_scenarios_do_what_they_say() {
    for scenario in Scenario::ALL {
        let reports: Vec<_> = (8_000..8_030).map(|seed| play(seed, scenario).unwrap()).collect();
        if matches!(scenario, Scenario::Recovery | Scenario::Tempest) {
            for what in [
                "attempts to come back",
                "commands issued again",
                "connections refused",
                "verification commands",
                "the same with a full table",
                "logins lost",
                "verifications lost",
            ] {
                let what = ("session", what);
                assert!(
                    reports.iter().any(|r| r.counts.contains_key(&what)),
                    "{scenario} {what:?}"
                );
            }
        }
        if scenario == Scenario::Damage {
            for what in [
                ("damaged to the target", "last Data-Out"),
                ("damaged to the initiator", "Data-In"),
                ("recovered", "Data-In"),
                ("recovered", "Data-Out asked for again"),
            ] {
                assert!(reports.iter().any(|r| r.counts.contains_key(&what)), "{what:?}");
            }
        }
        let connections: u32 = reports.iter().map(|report| report.connections).sum();
        match scenario {
            Scenario::Network | Scenario::Aborts | Scenario::Damage => {
                assert_eq!(connections, 30, "{scenario}");
            }
            _ => assert!(connections > 60, "{scenario}: {connections}"),
        }
        assert!(reports.iter().map(|report| report.tasks).sum::<u64>() > 600, "{scenario}");
    }
}
