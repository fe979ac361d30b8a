//! Many seeds over all scenarios. `SEED` is the first one, `SEEDS` how many there are.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use iscsi_sim::{Report, Scenario, play, record};

/// Seeds that the tests play, unless told otherwise.
const SEEDS: u64 = 2_700;

/// A run of a debug build takes more stack than the default of a thread.
const STACK: usize = 8 << 20;

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

/// Plays seeds from `first` on, on all processors, until `enough` says so of a report that went well or `end` is reached.
fn play_all(
    first: u64,
    end: u64,
    scenario: impl Fn(u64) -> Scenario + Sync,
    enough: impl Fn(&Report) -> bool + Sync,
) {
    let (next, failures) = (AtomicU64::new(first), Mutex::new(Vec::new()));
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= end {
                return;
            }
            match play(seed, scenario(seed)) {
                Ok(report) if enough(&report) => next.store(end, Ordering::Relaxed),
                Ok(_) => {}
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
}

#[test]
fn nothing_is_found_in_any_scenario() {
    let first = number("SEED", 0);
    let seeds = number("SEEDS", SEEDS);
    let replayed = AtomicU64::new(0);
    play_all(first, first + seeds, Scenario::of, |report| {
        replayed.fetch_add(report.replayed, Ordering::Relaxed);
        false
    });
    assert!(seeds < 100 || replayed.into_inner() > 10_000, "bytes were replayed");
}

/// With digests and a session that comes back: every block that is read and every block that is left is what the model says.
#[test]
fn ten_thousand_flipped_bits_make_no_byte_wrong() {
    let [to_target, to_initiator, runs] = [const { AtomicU64::new(0) }; 3];
    let add = |sum: &AtomicU64, report: &Report, way| {
        let count = report.counts.get(&("bits turned over", way)).copied().unwrap_or(0);
        sum.fetch_add(count, Ordering::Relaxed) + count
    };
    play_all(
        100_000,
        120_000,
        |_| Scenario::Flips,
        |report| {
            runs.fetch_add(1, Ordering::Relaxed);
            let count = add(&to_target, report, "to the target")
                + add(&to_initiator, report, "to the initiator");
            count >= 10_000
        },
    );
    println!("{to_target:?} bits to the target, {to_initiator:?} to the initiator, {runs:?} runs");
    let [to_target, to_initiator] = [to_target, to_initiator].map(AtomicU64::into_inner);
    assert!(to_target > 4_000 && to_initiator > 4_000, "{to_target} {to_initiator}");
    assert!(to_target + to_initiator >= 10_000, "{to_target} {to_initiator}");
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
