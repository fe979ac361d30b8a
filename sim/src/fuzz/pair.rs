//! Both engines against each other, with bytes instead of a seed.

use crate::run::{play_bytes, play_keeping};
use crate::scenario::{Rules, Scenario};

/// What the first byte of [`pair_operations`] chooses among, modulo its length.
pub const PAIR_SCENARIOS: [Scenario; 5] =
    [Scenario::Network, Scenario::Aborts, Scenario::Cuts, Scenario::Damage, Scenario::Recovery];

/// The first byte of [`pair_mutated`]: there need be no digests, and the login changes too.
pub const BLIND: u8 = 1;
/// The session comes back by itself.
pub const RECOVERS: u8 = 2;
/// The application aborts, resets, detaches.
pub const MEDDLES: u8 = 4;
/// Connections are cut, too.
pub const CUTS: u8 = 8;

/// The first byte chooses the scenario. What comes then decides as a seed does in [`play`](crate::play): the settings of both ends and of the
/// network, and for as long as there are bytes what the application does and what becomes of connections.
///
/// What a model says must hold: each read that is good brings what was written, each task ends once, and everything ends. Afterwards every
/// block is read over a connection without faults.
///
/// # Panics
/// If it is not so.
pub fn pair_operations(bytes: &[u8]) {
    let (first, rest) = bytes.split_first().unwrap_or((&0, &[]));
    let scenario = PAIR_SCENARIOS[usize::from(*first) % PAIR_SCENARIOS.len()];
    if let Err(finding) = play_bytes(rest, scenario.rules(), None) {
        panic!("{scenario}: {finding}");
    }
}

/// The same over a connection that changes, drops, repeats and adds bytes where the input says so; the first byte is [`BLIND`] and what
/// follows it.
///
/// With both digests, and after the login, what the model says must hold even so. Without, every task ends once, no byte is placed outside of
/// lent memory, and over a connection that changes nothing both ends work as if nothing had been.
///
/// # Panics
/// If it is not so.
pub fn pair_mutated(bytes: &[u8]) {
    let (how, rest) = bytes.split_first().unwrap_or((&0, &[]));
    if let Err(finding) = play_bytes(rest, mutated(*how), None) {
        panic!("mutated {how:#04x}: {finding}");
    }
}

const fn mutated(how: u8) -> Rules {
    Rules {
        mutates: true,
        blind: how & BLIND != 0,
        recovers: how & RECOVERS != 0,
        meddles: how & MEDDLES != 0,
        cuts: how & CUTS != 0,
        ..Rules::CALM
    }
}

/// An input of [`pair_operations`] that does what the seed does.
///
/// # Errors
/// What was found in the run.
///
/// ```
/// use iscsi_sim::fuzz;
/// let bytes = fuzz::pair_operations_input(0, 3).unwrap();
/// fuzz::pair_operations(&bytes);
/// ```
pub fn pair_operations_input(scenario: u8, seed: u64) -> Result<Vec<u8>, String> {
    let rules = PAIR_SCENARIOS[usize::from(scenario) % PAIR_SCENARIOS.len()].rules();
    Ok([vec![scenario], play_keeping(seed, rules)?.1].concat())
}

/// An input of [`pair_mutated`] that does what the seed does.
///
/// # Errors
/// What was found in the run.
///
/// ```
/// use iscsi_sim::fuzz;
/// let bytes = fuzz::pair_mutated_input(fuzz::RECOVERS, 3).unwrap();
/// fuzz::pair_mutated(&bytes);
/// ```
pub fn pair_mutated_input(how: u8, seed: u64) -> Result<Vec<u8>, String> {
    Ok([vec![how], play_keeping(seed, mutated(how))?.1].concat())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::Report;
    use crate::sabotage::Sabotage;

    /// Where nothing is lost only the end of the connection is drawn after the rounds.
    #[test]
    fn what_a_seed_draws_is_the_same_run() {
        for seed in 0..20 {
            let rules = Scenario::Network.rules();
            let (report, bytes) = play_keeping(seed, rules).unwrap();
            assert!(bytes.len() > 60, "{bytes:?}");
            let again = play_bytes(&bytes, rules, None).unwrap();
            let numbers = |report: &Report| (report.tasks, report.connections, report.pdus);
            assert_eq!(numbers(&again), numbers(&report), "seed {seed}");
        }
    }

    #[test]
    fn bytes_do_change_either_way() {
        for way in ["to the target", "to the initiator"] {
            let changed = (0..64).map(|seed| {
                let how = seed % 16;
                let (report, _) = play_keeping(seed.into(), mutated(how)).unwrap();
                report.counts.get(&("bytes changed", way)).copied().unwrap_or(0)
            });
            let sum: u64 = changed.sum();
            assert!(sum > 40, "{way}: {sum}");
        }
    }

    #[test]
    fn a_wrong_byte_is_found_where_digests_should_have_seen_it() {
        let found = (0..40).find_map(|seed| {
            let (_, bytes) = play_keeping(seed, mutated(0)).unwrap();
            play_bytes(&bytes, mutated(0), Some(Sabotage::FlipsWithoutDigests)).err()
        });
        assert!(found.is_some_and(|found| !found.is_empty()));
    }

    #[test]
    fn a_disk_that_forgets_is_found() {
        let found = (0..40).find_map(|seed| {
            let rules = Scenario::Aborts.rules();
            let (_, bytes) = play_keeping(seed, rules).unwrap();
            play_bytes(&bytes, rules, Some(Sabotage::ForgetfulDisk)).err()
        });
        assert!(found.unwrap().contains("instead of"));
    }
}
