//! The simulation finds what is broken on purpose.

use iscsi_sim::{Sabotage, Scenario, sabotage};

/// What the first seed that finds it says. A few seeds must be enough.
#[track_caller]
fn found(scenario: Scenario, how: Sabotage) -> String {
    let failure = (0..25).find_map(|seed| sabotage(seed, scenario, how).err());
    failure.unwrap_or_else(|| panic!("{how:?} was not found")).reason
}

#[test]
fn a_disk_that_changes_a_bit() {
    let reason = found(Scenario::Network, Sabotage::RottenDisk);
    assert!(reason.contains("something else"), "{reason}");
    found(Scenario::Storm, Sabotage::RottenDisk);
}

#[test]
fn a_disk_that_forgets_a_write() {
    let reason = found(Scenario::Network, Sabotage::ForgetfulDisk);
    assert!(reason.contains("something else"), "{reason}");
    found(Scenario::Cuts, Sabotage::ForgetfulDisk);
}

#[test]
fn bits_that_flip_without_a_digest() {
    found(Scenario::Flips, Sabotage::FlipsWithoutDigests);
}

#[test]
fn a_target_that_does_not_answer() {
    let reason = found(Scenario::Network, Sabotage::IgnoredReads);
    assert!(reason.contains("never end"), "{reason}");
}

/// Without a reason that the network knows of, the initiator may not give up.
#[test]
fn a_session_given_up_without_a_reason() {
    let reason = found(Scenario::Damage, Sabotage::UntoldDamage);
    assert!(reason.contains("the session was lost: Failed(Protocol(Data"), "{reason}");
}

#[test]
fn a_target_that_skips_a_number() {
    let reason = found(Scenario::Network, Sabotage::StatSnGap);
    assert!(reason.contains("StatSn"), "{reason}");
}
