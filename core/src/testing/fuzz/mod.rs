//! The bodies of the fuzz targets: bytes in, a panic if what the engine promises is broken.
//!
//! They are functions here, so that stable Rust replays the corpus in an ordinary test, and the fuzz targets themselves are a call.
//! The same bytes always give the same run.

mod chap;
mod full_feature;
mod input;
mod login;
mod negotiation;
mod text;
mod url;
mod wire;

pub use chap::chap;
pub use full_feature::{full_feature, full_feature_scene};
pub use input::{Input, PduInput};
pub use login::{LoginStep, login, login_configs};
pub use negotiation::{limits, negotiation};
pub use text::text;
pub use url::url;
pub use wire::wire;
