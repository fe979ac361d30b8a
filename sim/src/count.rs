//! What happened in a run, by kind.

use std::collections::BTreeMap;

use iscsi_core::Recovered;
use iscsi_core::testing::Link;

/// How often what happened: what it was, and of what kind.
pub(crate) type Counts = BTreeMap<(&'static str, &'static str), u64>;

pub(crate) fn add(counts: &mut Counts, what: &'static str, kind: &'static str, count: u64) {
    if count > 0 {
        *counts.entry((what, kind)).or_default() += count;
    }
}

/// Bits that a link turned over, and PDUs whose data it damaged.
pub(crate) fn damaged(counts: &mut Counts, link: &Link) {
    for (way, to, pipe) in [
        ("damaged to the target", "to the target", &link.to_target),
        ("damaged to the initiator", "to the initiator", &link.to_initiator),
    ] {
        add(counts, "bits turned over", to, pipe.flipped());
        add(counts, "bytes changed", to, pipe.mutated());
        for (kind, count) in pipe.damaged() {
            add(counts, way, kind, count);
        }
    }
}

/// What a connection of the initiator recovered.
pub(crate) fn recovered(counts: &mut Counts, recovered: &Recovered) {
    for (kind, count) in [
        ("SNACK sent", recovered.snacks),
        ("DataACK sent", recovered.data_acks),
        ("Data-In", recovered.data_in),
        ("Data-In with status", recovered.last_data_in),
        ("SCSI Response", recovered.scsi_responses),
        ("R2T", recovered.r2ts),
        ("Task Management Function Response", recovered.task_management_responses),
        ("Text Response", recovered.text_responses),
        ("NOP-In", recovered.nop_ins),
        ("Asynchronous Message", recovered.async_messages),
        ("Reject", recovered.rejects),
        ("Data-Out asked for again", recovered.recovery_r2ts),
        ("SCSI Command sent again", recovered.commands),
    ] {
        add(counts, "recovered", kind, count);
    }
}
