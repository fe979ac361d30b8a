//! Runs of both engines as bytes: what a seed draws, written down.

use std::collections::BTreeMap;

use iscsi_sim::fuzz::{
    BLIND, CUTS, MEDDLES, PAIR_SCENARIOS, RECOVERS, pair_mutated_input, pair_operations_input,
};

use crate::{LONGEST, Seeds};

/// Seeds of each scenario.
const OPERATIONS: u64 = 5;

/// Seeds of each set of what may happen.
const MUTATED: u64 = 2;

/// How much a run draws depends on what the engines do. So a file that is there stays, even if its seed would now give another.
fn add(
    seeds: &mut Seeds,
    there: &BTreeMap<String, Vec<u8>>,
    name: String,
    make: impl FnOnce() -> Result<Vec<u8>, String>,
) {
    let bytes = there.get(&name).cloned().unwrap_or_else(|| {
        let mut bytes = make().unwrap();
        bytes.truncate(LONGEST);
        bytes
    });
    seeds.push((name, bytes));
}

pub(crate) fn operations(there: &BTreeMap<String, Vec<u8>>) -> Seeds {
    let mut seeds = Seeds::new();
    for (number, scenario) in (0..).zip(PAIR_SCENARIOS) {
        for seed in 1..=OPERATIONS {
            add(&mut seeds, there, format!("{scenario}-{seed}"), || {
                pair_operations_input(number, seed)
            });
        }
    }
    seeds
}

pub(crate) fn mutated(there: &BTreeMap<String, Vec<u8>>) -> Seeds {
    let mut seeds = Seeds::new();
    for how in 0..16 {
        let mut name = if how & BLIND == 0 { "digests" } else { "blind" }.to_owned();
        for (bit, what) in [(RECOVERS, "-recovers"), (MEDDLES, "-meddles"), (CUTS, "-cuts")] {
            if how & bit != 0 {
                name += what;
            }
        }
        for seed in 1..=MUTATED {
            add(&mut seeds, there, format!("{name}-{seed}"), || {
                pair_mutated_input(how, u64::from(how) * MUTATED + seed)
            });
        }
    }
    seeds
}
