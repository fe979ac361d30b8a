//! The rows, family by family.

mod common;
mod framing;
mod keys;
mod login;
mod login_end;
mod login_redirect;

use crate::case::Row;

/// Every row that there is.
pub(crate) fn all() -> Vec<Row> {
    [framing::rows(), login::rows(), login_redirect::rows(), login_end::rows(), keys::rows()]
        .into_iter()
        .flatten()
        .collect()
}
