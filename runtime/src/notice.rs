//! What a target says unasked.

use iscsi_core::wire::AsyncEvent;

/// An asynchronous message of the target (RFC 7143 section 11.9). The engine has done already what the protocol asks for.
///
/// ```
/// use iscsi_core::wire::AsyncEvent;
/// use iscsi_runtime::Notice;
/// let event = AsyncEvent::LogoutRequested { seconds: 3 };
/// let notice = Notice { event, sense: Box::default(), missed: 0 };
/// assert!(notice.sense.is_empty());
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// What happened.
    pub event: AsyncEvent,
    /// Sense data of a SCSI event; empty for all others.
    pub sense: Box<[u8]>,
    /// Messages that arrived together with this one, before it, and are lost.
    pub missed: u32,
}
