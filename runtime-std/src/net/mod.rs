//! From a portal to a connected socket.

mod dial;
mod error;
mod options;
mod resolve;

pub(crate) use dial::Dialing;
pub use error::{Attempt, ConnectError, Step};
pub use options::{KeepAlive, TcpOptions};
