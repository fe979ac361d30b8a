//! What was done.

use core::fmt;
use core::time::Duration;

use crate::plan::Way;

/// Something that happened to a connection.
///
/// ```
/// use iscsi_fault_proxy::{Event, Way};
/// let event = Event::Flipped { way: Way::ToClient, at: 100, bit: 7 };
/// assert_eq!(event.to_string(), "bit 7 of byte 100 flipped, to the client");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Event {
    /// It came, and the server was connected to.
    Opened,
    /// It was reset at once: the server cannot be reached, or [`FaultProxy::refuse`](crate::FaultProxy::refuse) says so.
    Refused,
    /// Both sides got a RST.
    Reset {
        /// Bytes that had passed both ways.
        after: u64,
    },
    /// Both sides got a FIN.
    Closed {
        /// Bytes that had passed both ways.
        after: u64,
    },
    /// The receiver got a FIN.
    HalfClosed {
        /// Which way.
        way: Way,
        /// Bytes that had passed this way.
        after: u64,
    },
    /// Nothing passes any more.
    Stalled {
        /// Which way.
        way: Way,
        /// Bytes that had passed this way.
        after: u64,
    },
    /// Bytes disappeared.
    Skipped {
        /// Which way.
        way: Way,
        /// The first of them.
        at: u64,
        /// How many.
        bytes: u64,
    },
    /// A bit was flipped.
    Flipped {
        /// Which way.
        way: Way,
        /// The byte, counted from the beginning of the stream.
        at: u64,
        /// The bit, 0 to 7.
        bit: u8,
    },
    /// The connection is over on both sides.
    Ended {
        /// Bytes that came from the client.
        to_server: u64,
        /// Bytes that came from the server.
        to_client: u64,
    },
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Opened => f.write_str("opened"),
            Self::Refused => f.write_str("refused"),
            Self::Reset { after } => write!(f, "reset after {after} bytes"),
            Self::Closed { after } => write!(f, "closed after {after} bytes"),
            Self::HalfClosed { way, after } => write!(f, "closed after {after} bytes, {way}"),
            Self::Stalled { way, after } => write!(f, "stalled after {after} bytes, {way}"),
            Self::Skipped { way, at, bytes } => {
                write!(f, "{bytes} bytes skipped from byte {at} on, {way}")
            }
            Self::Flipped { way, at, bit } => write!(f, "bit {bit} of byte {at} flipped, {way}"),
            Self::Ended { to_server, to_client } => {
                write!(f, "ended, {to_server} bytes to the server, {to_client} to the client")
            }
        }
    }
}

/// A line of the log.
///
/// ```
/// use core::time::Duration;
/// use iscsi_fault_proxy::{Entry, Event};
/// let entry = Entry { time: Duration::from_millis(1500), connection: 2, event: Event::Opened };
/// assert_eq!(entry.to_string(), "1.500 connection 2: opened");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// Since the proxy was started.
    pub time: Duration,
    /// The number of the connection, from 0.
    pub connection: u64,
    /// What happened.
    pub event: Event,
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, millis) = (self.time.as_secs(), self.time.subsec_millis());
        write!(f, "{seconds}.{millis:03} connection {}: {}", self.connection, self.event)
    }
}

/// The log in numbers.
///
/// ```
/// assert_eq!(iscsi_fault_proxy::Counters::default().cuts, 0);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Counters {
    /// Connections that came, refused ones included.
    pub connections: u64,
    /// Connections that are open.
    pub open: u64,
    /// Connections that were refused.
    pub refused: u64,
    /// Connections that were reset or closed on purpose.
    pub cuts: u64,
    /// Half-closes.
    pub half_closes: u64,
    /// Stalls.
    pub stalls: u64,
    /// Times that bytes were skipped.
    pub skips: u64,
    /// Bits that were flipped.
    pub flips: u64,
    /// Bytes that came from clients, of connections that have ended.
    pub to_server: u64,
    /// Bytes that came from servers, of connections that have ended.
    pub to_client: u64,
}

impl Counters {
    pub(crate) const fn count(&mut self, event: &Event) {
        match event {
            Event::Opened => {
                self.connections += 1;
                self.open += 1;
            }
            Event::Refused => {
                self.connections += 1;
                self.refused += 1;
            }
            Event::Reset { .. } | Event::Closed { .. } => self.cuts += 1,
            Event::HalfClosed { .. } => self.half_closes += 1,
            Event::Stalled { .. } => self.stalls += 1,
            Event::Skipped { .. } => self.skips += 1,
            Event::Flipped { .. } => self.flips += 1,
            Event::Ended { to_server, to_client } => {
                self.open -= 1;
                self.to_server += *to_server;
                self.to_client += *to_client;
            }
        }
    }
}
