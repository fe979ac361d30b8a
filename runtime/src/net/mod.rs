//! From a portal to a connected socket.

mod dialer;
mod error;
mod options;
mod resolve;

pub use dialer::Dialer;
pub use error::{Attempt, ConnectError, Step};
pub use options::{KeepAlive, TcpOptions};
pub use resolve::{Answer, Resolve, SystemResolver};
