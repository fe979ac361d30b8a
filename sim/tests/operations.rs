//! What operations cost on the wire, compared with the table that is kept. `UPDATE_SNAPSHOTS=1` rewrites the table.

use std::path::Path;

#[test]
fn operations_cost_what_they_did() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("snapshots/operations.txt");
    let now = iscsi_sim::operations().unwrap();
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some_and(|value| value == "1") {
        std::fs::write(&path, &now).unwrap();
        return;
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    let (before, after): (Vec<_>, Vec<_>) = (kept.lines().collect(), now.lines().collect());
    let mut differences = Vec::new();
    for n in 0..before.len().max(after.len()) {
        let (old, new) = (before.get(n), after.get(n));
        if old != new {
            differences.extend(old.map(|line| format!("{:>4} - {line}", n + 1)));
            differences.extend(new.map(|line| format!("{:>4} + {line}", n + 1)));
        }
    }
    assert!(
        differences.is_empty(),
        "operations cost something else; if that is right, UPDATE_SNAPSHOTS=1 keeps it\n{}",
        differences.join("\n")
    );
}
