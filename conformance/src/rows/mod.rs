//! The rows, family by family.

mod async_message;
mod chap;
mod chap_mutual;
mod common;
mod data_in;
mod data_in_order;
mod digest;
mod framing;
mod isns;
mod keys;
mod keys_exchange;
mod keys_text;
mod login;
mod login_end;
mod login_redirect;
mod logout;
mod nop;
mod recovery;
mod reject;
mod response;
mod response_task;
mod stat_sn;
mod task_management;
mod text;
mod transport;
mod transport_tasks;
mod window;
mod write;
mod write_laws;

use crate::case::Row;

/// Every row that there is.
pub(crate) fn all() -> Vec<Row> {
    [
        async_message::rows(),
        chap::rows(),
        chap_mutual::rows(),
        data_in::rows(),
        data_in_order::rows(),
        digest::rows(),
        framing::rows(),
        isns::rows(),
        keys::rows(),
        keys_exchange::rows(),
        keys_text::rows(),
        login::rows(),
        login_end::rows(),
        login_redirect::rows(),
        logout::rows(),
        nop::rows(),
        recovery::rows(),
        reject::rows(),
        response::rows(),
        response_task::rows(),
        stat_sn::rows(),
        task_management::rows(),
        text::rows(),
        transport::rows(),
        transport_tasks::rows(),
        window::rows(),
        write::rows(),
    ]
    .into_iter()
    .flatten()
    .collect()
}
