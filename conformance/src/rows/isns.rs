//! I: the iSNS client.

use crate::case::{Row, Verdict};

pub(crate) fn rows() -> Vec<Row> {
    ["I-01", "I-02", "I-03", "I-04", "I-05", "I-06", "I-07"]
        .map(|id| {
            Row::new(id, Verdict::Deferred("the iSNS client comes with the administration tools"))
        })
        .into()
}
