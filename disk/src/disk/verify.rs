//! After a new login: is this still the device that the requests are for?
//!
//! A session that recovers asks with [`Event::NeedVerify`]. Each disk claims its part, looks at the device again with the session's reserved
//! slots, and gives its verdict; the session issues what it kept only then. Unit attentions that the new login brings (29h, 3Fh) are
//! taken by these commands, so that no request sees them.

use iscsi_core::{Event, Instant, Session, SessionState, Verdict};

use super::{Disk, DiskState};

/// The part of one disk in the verification of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verification {
    None,
    /// The session asks; the disk has not claimed its part yet.
    Wanted,
    Claimed,
    /// Claimed, and the verdict is to be told.
    Decided(Verdict),
}

impl Disk {
    /// Whether the session waits for the verdict of this disk. If it does for none of the disks of a session that is
    /// [verifying](SessionState::Verifying), the runtime answers in their place with [`Session::verified`].
    ///
    /// ```
    /// use iscsi_core::Lun;
    /// use iscsi_disk::{DiskConfig, InlineDisk};
    /// assert!(!InlineDisk::<4>::new(DiskConfig::new(Lun::ZERO)).is_verifying());
    /// ```
    pub fn is_verifying(&self) -> bool {
        self.core.verification != Verification::None
    }

    /// Takes an event about the session.
    pub(super) fn session_event(&mut self, event: &Event<'_>) {
        match event {
            Event::ConnectionLost { .. } => {
                self.core.away = true;
                self.core.verification = Verification::None;
            }
            Event::NeedVerify
                if matches!(self.core.state, DiskState::Ready | DiskState::Checking) =>
            {
                self.begin_probe(DiskState::Checking);
                self.core.verification = Verification::Wanted;
            }
            Event::StateChanged(
                SessionState::LoggedIn | SessionState::Closed | SessionState::Failed(_),
            ) => {
                self.core.away = false;
                self.core.verification = Verification::None;
            }
            _ => {}
        }
    }

    /// What the session's state says, for events that somebody else has taken: commands of the application's own may see them first.
    pub(super) fn look_at(&mut self, session: &Session) {
        let stands = matches!(
            session.state(),
            SessionState::LoggedIn | SessionState::Closed | SessionState::Failed(_)
        );
        let decided = matches!(self.core.verification, Verification::Decided(_));
        if stands && !decided {
            self.core.away = false;
            self.core.verification = Verification::None;
        }
    }

    /// A command of an ordinary look that still waits to be sent cannot be sent while the session verifies: the look begins anew, with the
    /// commands of the verification. True if there was one.
    pub(super) fn withdraw_probe(&mut self, session: &mut Session, now: Instant) -> bool {
        let waits = session.state() == SessionState::Verifying
            && matches!(self.core.verification, Verification::None | Verification::Claimed);
        let task =
            self.core.probe_command.task.filter(|task| waits && task.index() < session.capacity());
        // Its end is an event like any other, and may come after the session stands again.
        let withdrawn = task.is_some_and(|task| session.abort(task, now).is_ok());
        self.core.withdrawn |= withdrawn;
        withdrawn
    }

    /// The device was looked at.
    pub(super) fn decide(&mut self, same: bool) {
        if self.core.verification == Verification::Claimed {
            let lun = self.core.config.lun;
            let verdict = if same { Verdict::Same } else { Verdict::Changed(lun) };
            self.core.verification = Verification::Decided(verdict);
        }
    }

    /// Claims its part, or tells the verdict. True if the session goes on.
    pub(super) fn answer_session(&mut self, session: &mut Session, now: Instant) -> bool {
        match self.core.verification {
            Verification::Wanted => {
                let claimed = session.claim_verification().is_ok();
                self.core.verification =
                    if claimed { Verification::Claimed } else { Verification::None };
                false
            }
            Verification::Decided(verdict) => {
                self.core.verification = Verification::None;
                // Refused if the connection was lost again meanwhile: then it will ask again.
                session.verified(verdict, now).is_ok()
            }
            Verification::None | Verification::Claimed => false,
        }
    }
}
