//! What can go wrong, in words.

use board::ethernet::EthernetError;
use core::fmt;
use iscsi_core::wire::ScsiStatus;
use iscsi_core::{LostReason, SubmitError};

/// Why the firmware ends without success.
#[derive(Debug)]
pub(crate) enum Failure {
    Board,
    Portal,
    Secret,
    Configuration,
    Ethernet(EthernetError),
    Connect,
    Request(SubmitError),
    Session(LostReason),
    Digests,
    Read { status: Option<ScsiStatus>, key: u8 },
    Data { block: usize },
    TooLate,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Board => f.write_str("the board's devices are in use"),
            Self::Portal => f.write_str("the first argument must be the portal, A.B.C.D:PORT"),
            Self::Secret => f.write_str("the second argument must be the CHAP secret"),
            Self::Configuration => f.write_str("the configuration of the session is not valid"),
            Self::Ethernet(error) => write!(f, "{error}"),
            Self::Connect => f.write_str("the socket cannot connect"),
            Self::Request(error) => write!(f, "{error}"),
            Self::Session(reason) => write!(f, "{reason}"),
            Self::Digests => f.write_str("the target did not agree to both digests"),
            Self::Read { status: Some(status), key } => {
                write!(f, "READ(10): {status}, sense key {key:#x}")
            }
            Self::Read { status: None, .. } => f.write_str("READ(10): the target failed"),
            Self::Data { block } => write!(f, "block {block} holds other data than it should"),
            Self::TooLate => f.write_str("out of time"),
        }
    }
}

impl From<EthernetError> for Failure {
    fn from(error: EthernetError) -> Self {
        Self::Ethernet(error)
    }
}

impl From<SubmitError> for Failure {
    fn from(error: SubmitError) -> Self {
        Self::Request(error)
    }
}
