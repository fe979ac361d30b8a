#![doc = include_str!("../README.md")]

extern crate alloc;

mod behaviours;
mod subjects;

use core::net::SocketAddr;
use core::time::Duration;

use iscsi_core::{Command, Config, DiscoveryScope, IscsiName, Lun, Portal, SessionState};
use iscsi_disk::Request;
use iscsi_runtime::{Completed, Discovery, Error, Failed, Options, Payload, Status};

pub use behaviours::{BEHAVIOURS, Behaviour};
pub use subjects::RUNTIMES;

/// A runtime, as the suite sees it: with blocking calls.
///
/// ```
/// assert!(iscsi_parity::RUNTIMES.iter().any(|runtime| runtime.name() == "mio"));
/// ```
pub trait Runtime: Sync {
    /// Its name in the names of tests.
    fn name(&self) -> &'static str;

    /// Logs in and opens a logical unit.
    ///
    /// # Errors
    /// Whatever the runtime says.
    fn open(
        &self,
        config: Config,
        portal: Portal,
        lun: Lun,
        options: &Options,
    ) -> Result<Box<dyn Path>, Error>;

    /// Asks which targets there are.
    ///
    /// # Errors
    /// Whatever the runtime says.
    fn discover(
        &self,
        config: Config,
        portal: Portal,
        scope: DiscoveryScope<'_>,
    ) -> Result<Discovery, Error>;
}

/// A disk over its session.
///
/// ```
/// fn size(path: &dyn iscsi_parity::Path) -> u64 {
///     path.capacity()
/// }
/// # let _ = size;
/// ```
pub trait Path {
    /// Begins a request; the number is its own.
    fn submit(&mut self, request: Request, payload: Payload) -> u64;

    /// Waits for the end of a request that was begun and not abandoned: which one, and how it ended.
    fn next(&mut self) -> (u64, Result<Payload, Failed>);

    /// Lets go of a request.
    fn abandon(&mut self, number: u64);

    /// Executes a command.
    ///
    /// # Errors
    /// Whatever the runtime says, with the memory.
    fn execute(
        &mut self,
        command: &Command<'_>,
        payload: Payload,
    ) -> Result<(Completed, Payload), Failed>;

    /// Asks for a sign of life.
    ///
    /// # Errors
    /// Whatever the runtime says.
    fn ping(&mut self) -> Result<Duration, Error>;

    /// Replaces the connection.
    ///
    /// # Errors
    /// Whatever the runtime says.
    fn force_reconnect(&mut self) -> Result<(), Error>;

    /// Logs in again after a failure.
    ///
    /// # Errors
    /// Whatever the runtime says.
    fn reconnect(&mut self) -> Result<(), Error>;

    /// How the session stands.
    fn standing(&mut self) -> Standing;

    /// Its size in bytes.
    fn capacity(&self) -> u64;

    /// Finishes, and logs out.
    ///
    /// # Errors
    /// Whatever the runtime says.
    fn shut_down(self: Box<Self>) -> Result<(), Error>;
}

impl dyn Path + '_ {
    /// Does one request.
    ///
    /// # Errors
    /// Whatever the runtime says, with the memory.
    ///
    /// # Panics
    /// If it ends another one.
    pub fn request(&mut self, request: Request, payload: Payload) -> Result<Payload, Failed> {
        let number = self.submit(request, payload);
        let (ended, result) = self.next();
        assert_eq!(ended, number, "one request, one end");
        result
    }

    /// Reads.
    ///
    /// # Errors
    /// Whatever the runtime says, with the memory.
    pub fn read(&mut self, offset: u64, len: usize) -> Result<Vec<u8>, Failed> {
        let request = Request::read(offset, len as u64);
        self.request(request, Payload::In(vec![0xee; len])).map(Payload::into_bytes)
    }

    /// Writes.
    ///
    /// # Errors
    /// Whatever the runtime says, with the memory.
    pub fn write(&mut self, offset: u64, data: &[u8]) -> Result<(), Failed> {
        let request = Request::write(offset, data.len() as u64);
        self.request(request, Payload::Out(data.to_vec())).map(drop)
    }
}

/// How a session stands.
///
/// ```
/// fn is_idle(standing: &iscsi_parity::Standing) -> bool {
///     standing.in_use == 0
/// }
/// # let _ = is_idle;
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Standing {
    /// The state of the session.
    pub state: SessionState,
    /// Task slots in use.
    pub in_use: usize,
    /// Logins so far.
    pub logins: u64,
    /// Connections lost so far.
    pub lost: u64,
    /// Digests in force, of headers and of data.
    pub digests: [bool; 2],
}

impl From<Status> for Standing {
    fn from(status: Status) -> Self {
        let session = &status.session;
        let is_on = |kind| kind != iscsi_core::digest::DigestKind::None;
        Self {
            state: status.state,
            in_use: status.in_use,
            logins: session.logins,
            lost: session.connections_lost,
            digests: [status.negotiated.header_digest, status.negotiated.data_digest].map(is_on),
        }
    }
}

/// How a target is to be set up.
///
/// ```
/// assert!(iscsi_parity::Setup::default().chap.is_none());
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct Setup {
    /// User and secret that the target demands.
    pub chap: Option<(&'static str, &'static str)>,
    /// User and secret with which it proves itself.
    pub mutual: Option<(&'static str, &'static str)>,
    /// It demands both digests.
    pub digests: bool,
    /// It takes no data with commands, and small bursts.
    pub solicited: bool,
}

/// A target that was set up for one behaviour: a disk of [`BYTES`] zeroes that may be come back to at once.
///
/// ```
/// fn portal(served: &iscsi_parity::Served) -> iscsi_core::Portal {
///     served.address.into()
/// }
/// # let _ = portal;
/// ```
#[derive(Debug, Clone)]
pub struct Served {
    /// Where it listens.
    pub address: SocketAddr,
    /// The same over IPv6.
    pub address_v6: SocketAddr,
    /// Its name.
    pub name: IscsiName,
    /// Its logical unit.
    pub lun: Lun,
    /// It is this project's own.
    pub is_own: bool,
}

/// The size of the disk that behaviours expect.
pub const BYTES: u64 = 16 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_in_the_docs_is_the_list_that_runs() {
        let list: String = BEHAVIOURS
            .iter()
            .map(|Behaviour { name, about, .. }| format!("| `{name}` | {about} |\n"))
            .collect();
        assert!(include_str!("../README.md").contains(&list), "{list}");
    }
}
