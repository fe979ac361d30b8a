//! The command window: CmdSN, ExpCmdSN and MaxCmdSN of a session (RFC 7143 section 4.2.2.1).

use core::time::Duration;

use crate::{CmdSn, Instant};

/// The largest window: MaxCmdSN is half the circle less one beyond ExpCmdSN.
const LARGEST: u32 = 1 << 31;

/// The initiator's three registers, and what is noted about a window that does not open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CmdWindow {
    /// The next CmdSN to assign.
    pub(crate) cmd_sn: CmdSn,
    pub(crate) exp_cmd_sn: CmdSn,
    pub(crate) max_cmd_sn: CmdSn,
    /// When a command could not be sent in its time although the target had none of the session's, and MaxCmdSN then.
    doubted: Option<(Instant, CmdSn)>,
    /// The target is to be asked for its registers: a ping brings them.
    pub(crate) ask: bool,
}

impl CmdWindow {
    /// The registers after the leading login said `exp` and `max`.
    pub(crate) const fn new(cmd_sn: CmdSn) -> Self {
        // Closed until the target says otherwise.
        Self { cmd_sn, exp_cmd_sn: cmd_sn, max_cmd_sn: cmd_sn.minus(1), doubted: None, ask: false }
    }

    /// A non-immediate command may be sent.
    pub(crate) const fn is_open(&self) -> bool {
        self.cmd_sn.le(self.max_cmd_sn)
    }

    /// A command could not be sent in its time, although the target has none of the session's: nothing of ours can open the window. It may be open, and the
    /// target may not have said so; it is asked. True if another command had the same fate so long ago, and MaxCmdSN has not moved since.
    pub(crate) fn doubt(&mut self, patience: Duration, now: Instant) -> bool {
        if self.is_open() {
            return false;
        }
        self.ask = true;
        match self.doubted {
            Some((since, max)) if max == self.max_cmd_sn => now.saturating_since(since) >= patience,
            _ => {
                self.doubted = Some((now, self.max_cmd_sn));
                false
            }
        }
    }

    /// Assigns the next CmdSN to a non-immediate command.
    pub(crate) const fn take(&mut self) -> CmdSn {
        let taken = self.cmd_sn;
        self.cmd_sn = taken.next();
        taken
    }

    /// Applies the counters of a target PDU. Neither register moves back; a pair in which MaxCmdSN is below
    /// ExpCmdSN - 1, or ExpCmdSN acknowledges what was never sent, is ignored whole.
    pub(crate) const fn update(&mut self, exp_cmd_sn: CmdSn, max_cmd_sn: CmdSn) {
        // Both MaxCmdSNs are compared from the one place that neither may be below: serial order alone takes a closed window and
        // the largest one for incomparable, and a number half the circle away from CmdSN for harmless.
        let closed = exp_cmd_sn.minus(1);
        let size = closed.distance_to(max_cmd_sn);
        if size > LARGEST || !exp_cmd_sn.le(self.cmd_sn) {
            return;
        }
        if closed.distance_to(self.max_cmd_sn) < size {
            self.max_cmd_sn = max_cmd_sn;
        }
        if self.exp_cmd_sn.lt(exp_cmd_sn) {
            self.exp_cmd_sn = exp_cmd_sn;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registers_only_move_forward() {
        let mut w = CmdWindow::new(CmdSn(0xffff_fffe));
        assert!(!w.is_open());
        w.update(CmdSn(0xffff_fffe), CmdSn(1));
        assert!(w.is_open());
        let mut taken = 0;
        while w.is_open() {
            w.take();
            taken += 1;
        }
        assert_eq!((taken, w.cmd_sn), (4, CmdSn(2)));
        w.update(CmdSn(0), CmdSn(0xffff_ffff));
        assert_eq!((w.exp_cmd_sn, w.max_cmd_sn), (CmdSn(0), CmdSn(1)));
    }

    #[test]
    fn nonsense_pairs_are_ignored() {
        let start = CmdWindow::new(CmdSn(10));
        let mut w = start;
        w.update(CmdSn(20), CmdSn(18));
        assert_eq!(w, start, "MaxCmdSN below ExpCmdSN - 1");
        w.update(CmdSn(10u32.wrapping_add(1 << 31)), CmdSn(10u32.wrapping_add(1 << 31)));
        assert_eq!(w.exp_cmd_sn, CmdSn(10), "half the circle away");
        w.update(CmdSn(50), CmdSn(60));
        assert_eq!(w, start, "unsent commands acknowledged");
    }

    #[test]
    fn half_the_circle_away_from_what_is_due_changes_nothing() {
        let mut start = CmdWindow::new(CmdSn(10));
        start.update(CmdSn(10), CmdSn(41));
        let half = 1 << 31;
        for (exp, max) in [(10 + half, 41 + half), (10 + half, 10 + half), (10, 41 + half)] {
            let mut w = start;
            w.update(CmdSn(exp), CmdSn(max));
            assert_eq!(w, start, "{exp:#x} {max:#x}");
        }
    }

    #[test]
    fn the_largest_window_opens() {
        let mut w = CmdWindow::new(CmdSn(10));
        w.update(CmdSn(10), CmdSn(10 + 0x7fff_ffff));
        assert!(w.is_open());
        assert_eq!(w.take(), CmdSn(10));
        w.update(CmdSn(11), CmdSn(11 + 0x7fff_ffff));
        assert_eq!(w.max_cmd_sn, CmdSn(11 + 0x7fff_ffff));
        // What was under way when it opened does not close it.
        w.update(CmdSn(10), CmdSn(41));
        assert_eq!(w.max_cmd_sn, CmdSn(11 + 0x7fff_ffff));
    }
}
