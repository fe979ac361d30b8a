//! One session over one connection: the usual case.

use crate::Instant;
use crate::auth::Entropy;
use crate::buffers::Buffers;
use crate::conn::InlineConnection;
use crate::driver::{RecvBuf, Transport, pump};
use crate::event::Wants;
use crate::session::{InlineSession, Session, TaskSlot};

/// A session and its connection in one value.
///
/// Functions take the unsized view `&mut Initiator`, whatever the capacity of the session.
///
/// ```
/// use iscsi_core::{Action, Config, Initiator, InlineInitiator, Instant, IscsiName, Portal};
///
///
/// fn begin(initiator: &mut Initiator) {
///     let name = |n| IscsiName::new(n).unwrap();
///     let config = Config::normal(
///         name("iqn.2001-04.com.example:host"),
///         name("iqn.2001-04.com.example:disk"),
///     );
///     initiator.session.configure(config.build().unwrap()).unwrap();
///     initiator.session.open(Portal::parse("192.0.2.1").unwrap(), Instant::ZERO).unwrap();
///     assert_eq!(initiator.session.poll_action(), Some(Action::Connect));
/// }
/// begin(&mut InlineInitiator::<4>::new());
/// ```
#[derive(Debug)]
pub struct Initiator<T: ?Sized = [TaskSlot]> {
    /// The byte stream.
    pub connection: InlineConnection,
    /// What outlives it.
    pub session: Session<T>,
}

/// An initiator with room for `N` tasks inside the value.
pub type InlineInitiator<const N: usize> = Initiator<[TaskSlot; N]>;

impl<const N: usize> InlineInitiator<N> {
    /// Idle and without configuration; usable as the initial value of a static.
    pub const fn new() -> Self {
        Self { connection: InlineConnection::new(), session: InlineSession::new() }
    }
}

impl<const N: usize> Default for InlineInitiator<N> {
    fn default() -> Self {
        Self::new()
    }
}

impl Initiator {
    /// A TCP connection stands; see [`Connection::opened`](crate::Connection::opened).
    pub fn opened(&mut self, entropy: Entropy, now: Instant) {
        self.connection.opened(&mut self.session, entropy, now);
    }

    /// Moves bytes; see [`pump`].
    ///
    /// # Errors
    /// What the transport reported.
    pub fn pump<T: Transport>(
        &mut self,
        buffers: &mut (impl Buffers + ?Sized),
        scratch: &mut RecvBuf,
        transport: &mut T,
        now: Instant,
        budget: usize,
    ) -> Result<Wants, T::Error> {
        pump(&mut self.connection, &mut self.session, buffers, scratch, transport, now, budget)
    }

    /// What the initiator waits for.
    pub fn wants(&self) -> Wants {
        self.connection.wants(&self.session)
    }

    /// Acts on every deadline that has come.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.connection.handle_timeout(&mut self.session, now);
    }
}

impl<const N: usize> core::ops::Deref for InlineInitiator<N> {
    type Target = Initiator;

    fn deref(&self) -> &Initiator {
        self
    }
}

impl<const N: usize> core::ops::DerefMut for InlineInitiator<N> {
    fn deref_mut(&mut self) -> &mut Initiator {
        self
    }
}
