//! Sleeping until many bytes are there: the low-water mark of a socket (`SO_RCVLOWAT`, socket(7)).

use core::time::Duration;

use iscsi_core::Instant;

use crate::busy_wait::BusyWait;

/// What each wake-up brings at least, in bytes, where a mark is worth setting at all.
const LEAST: u32 = 128 << 10;

/// More than this saves little, and waits in the system's memory instead of the processor's cache. Linux makes the receive buffer of the socket twice as long as the mark,
/// and keeps it so; half of the most that `tcp_rmem` allows is the most that it takes.
const MOST: u32 = 4 << 20;

/// No loop sleeps for longer because of the mark: whatever is there by then is read.
const PATIENCE: Duration = Duration::from_millis(1);

/// Waits without a mark after it has failed at its lowest.
const PAUSE: u8 = 64;

/// Any byte wakes.
const OFF: u32 = 1;

/// Decides how many bytes have to be there before a loop that waits for large answers is woken.
///
/// To wake a thread for each packet, and to acknowledge each, costs several times as much as the copy of what is in it. While far more bytes are due than
/// a wake-up should bring, a loop therefore sleeps until a part of them is there: half of them at most, so that the target always has something to do
/// while that part is read, and no more than come within a millisecond.
///
/// Bytes that are due come without being asked for; but a target may be slow, may send less than was asked for, or may wait for an answer of its own, an
/// R2T's data or a ping. After a millisecond the mark is taken back, and what is there is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LowWater {
    /// What the socket was told.
    set: u32,
    /// What comes in time, as far as is known.
    level: u32,
    /// What the loop waits for, or has waited for until now.
    awaited: Option<Awaited>,
    /// Waits that still go without.
    pause: u8,
    /// The socket has no such mark.
    refused: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Awaited {
    bytes: u32,
    since: Instant,
    /// Bytes received by then.
    before: u64,
}

/// What [`LowWater::plan`] wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mark {
    /// The socket is to be told this.
    pub(crate) set: Option<u32>,
    /// Fewer bytes than before have to be there, and may be: they are to be looked for before the loop waits.
    pub(crate) is_lower: bool,
    /// The loop is to turn by then.
    pub(crate) until: Option<Instant>,
}

impl LowWater {
    /// For a new socket.
    pub(crate) const fn new() -> Self {
        Self { set: OFF, level: LEAST, awaited: None, pause: 0, refused: false }
    }

    /// The socket cannot be told.
    pub(crate) const fn refuse(&mut self) {
        *self = Self { refused: true, ..Self::new() };
    }

    /// Whether a mark is set.
    pub(crate) const fn is_on(&self) -> bool {
        self.set > OFF
    }

    /// The loop turns: takes the mark back if its time is up, or if deadlines are to be judged in this turn, after everything that has arrived (`judges`). Whether
    /// the socket is to be told.
    pub(crate) fn take_back(&mut self, judges: bool, now: Instant) -> bool {
        let late = |awaited: Awaited| now.saturating_since(awaited.since) >= PATIENCE;
        let is_over = self.is_on() && (judges || self.awaited.is_some_and(late));
        if is_over {
            self.set = OFF;
        }
        is_over
    }

    /// Whether there is anything to [`plan`](Self::plan).
    pub(crate) fn concerns(&self, commands: usize, due: u64) -> bool {
        self.is_on() || !self.refused && share(commands, due) >= LEAST.into()
    }

    /// The loop is about to wait for the answers of so many commands, with so many bytes due, and so many received so far.
    pub(crate) fn plan(&mut self, commands: usize, due: u64, received: u64, now: Instant) -> Mark {
        let share = share(commands, due);
        if let Some(Awaited { bytes, since, before }) = self.awaited {
            let took = now.saturating_since(since);
            if received.saturating_sub(before) >= bytes.into() {
                // Twice as much would come in time, too.
                if took * 2 <= PATIENCE {
                    self.level = self.level.saturating_mul(2).min(MOST);
                }
            } else if took >= PATIENCE {
                match self.level {
                    LEAST => self.pause = PAUSE,
                    _ => self.level /= 2,
                }
            } else if self.is_on() && share >= LEAST.into() {
                // Something else has woken the loop.
                return Mark { set: None, is_lower: false, until: Some(since + PATIENCE) };
            }
        }
        let most = u32::try_from(share).unwrap_or(u32::MAX).min(self.level);
        let mark = if most < LEAST {
            OFF
        } else if self.pause > 0 {
            self.pause -= 1;
            OFF
        } else if self.set <= most && self.set > most / 2 {
            // What is due goes up and down with every answer; telling the socket is a call, too.
            self.set
        } else {
            most
        };
        self.awaited =
            (mark > OFF).then_some(Awaited { bytes: mark, since: now, before: received });
        let (set, is_lower) = ((mark != self.set).then_some(mark), mark < self.set);
        self.set = mark;
        Mark { set, is_lower, until: self.is_on().then(|| now + PATIENCE) }
    }
}

/// How much of what is due to so many commands one wake-up should bring at most. The answers of few are [looked for](BusyWait): the timer of a sleep that
/// must not last costs more than that.
const fn share(commands: usize, due: u64) -> u64 {
    if commands > BusyWait::FEW { due / 2 } else { 0 }
}

/// Tells a socket to become readable only when so many bytes are there, at least 1; the end of the stream and errors are told at once. Where the system
/// has no such thing, or refuses, it stays readable with the first byte, and this returns `false`.
///
/// ```
/// let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
/// let stream = std::net::TcpStream::connect(listener.local_addr()?)?;
/// assert_eq!(iscsi_runtime::set_low_water(&stream, 4096), cfg!(any(target_os = "linux", target_os = "android")));
/// # Ok::<(), std::io::Error>(())
/// ```
#[cfg(any(target_os = "linux", target_os = "android"))]
pub fn set_low_water(socket: impl std::os::fd::AsFd, bytes: u32) -> bool {
    use nix::sys::socket::SetSockOpt as _;
    let bytes = i32::try_from(bytes).unwrap_or(i32::MAX);
    option::ReceiveLowWater.set(&socket, &bytes).is_ok()
}

/// Here sockets are readable with the first byte.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub fn set_low_water<S>(_socket: S, _bytes: u32) -> bool {
    false
}

/// No crate has a function for this option.
#[cfg(any(target_os = "linux", target_os = "android"))]
mod option {
    use nix::{setsockopt_impl, sockopt_impl};

    sockopt_impl!(
        /// `SO_RCVLOWAT`
        ReceiveLowWater,
        SetOnly,
        libc::SOL_SOCKET,
        libc::SO_RCVLOWAT,
        i32
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    const NOTHING: Mark = Mark { set: None, is_lower: false, until: None };
    const BACK: Mark = Mark { set: Some(OFF), is_lower: true, until: None };

    /// A loop that waits, over a link that brings so many bytes in a millisecond.
    struct Loop {
        low_water: LowWater,
        now: u64,
        received: u64,
        by_millisecond: u64,
    }

    impl Loop {
        fn over(by_millisecond: u64) -> Self {
            Self { low_water: LowWater::new(), now: 0, received: 0, by_millisecond }
        }

        fn plan(&mut self, commands: usize, due: u64) -> Mark {
            let now = Instant::from_micros(self.now);
            self.low_water.plan(commands, due, self.received, now)
        }

        fn take_back(&mut self) -> bool {
            self.low_water.take_back(false, Instant::from_micros(self.now))
        }

        /// One wait with so much due; returns the mark.
        fn wait(&mut self, commands: usize, due: u64) -> u32 {
            let mark = self.plan(commands, due);
            let set = u64::from(self.low_water.set);
            let micros = (set * 1000).div_ceil(self.by_millisecond);
            let most = mark.until.map_or(u64::MAX, |until| until.as_micros() - self.now);
            self.now += micros.min(most);
            self.received += (micros.min(most) * self.by_millisecond / 1000).max(1);
            let set = self.low_water.set;
            self.take_back();
            set
        }
    }

    #[test]
    fn small_answers_wake_at_once() {
        let mut small = Loop::over(8 * MIB);
        for _ in 0..100 {
            assert_eq!(small.plan(32, 32 * 4096), NOTHING);
        }
        assert!(!small.low_water.concerns(32, 32 * 4096));
        assert_eq!(small.low_water.set, OFF);
    }

    #[test]
    fn the_mark_is_what_comes_in_time() {
        for (by_millisecond, expected) in [(8 * MIB, 4 * MIB), (MIB, MIB), (MIB / 8, MIB / 8)] {
            let mut large = Loop::over(by_millisecond);
            let marks: Vec<_> = (0..20).map(|_| u64::from(large.wait(32, 32 * MIB))).collect();
            assert_eq!(marks.last(), Some(&expected), "{marks:?}");
        }
    }

    #[test]
    fn a_slow_link_is_left_alone() {
        let mut slow = Loop::over(MIB / 64);
        let marks: Vec<_> = (0..1000).map(|_| slow.wait(32, 32 * MIB)).collect();
        let tried = marks.iter().filter(|mark| **mark > OFF).count();
        assert!((10..=20).contains(&tried), "{tried}");
    }

    #[test]
    fn half_of_what_is_due_at_most() {
        let mut large = Loop::over(8 * MIB);
        let marks: Vec<_> = (0..20).map(|_| large.wait(32, 2 * MIB)).collect();
        assert_eq!(u64::from(marks[19]), MIB);
        assert_eq!(large.wait(4, 32 * MIB), OFF, "few");
    }

    #[test]
    fn other_reasons_to_wake_change_nothing() {
        let mut large = Loop::over(8 * MIB);
        let first = large.plan(32, 32 * MIB);
        assert_eq!(first.set, Some(LEAST));
        large.now += 300;
        large.received += 48;
        assert!(!large.take_back());
        assert_eq!(large.plan(32, 32 * MIB), Mark { until: first.until, ..NOTHING });
    }

    #[test]
    fn what_does_not_come_is_not_waited_for() {
        let mut stalls = Loop::over(8 * MIB);
        for _ in 0..10 {
            stalls.wait(32, 32 * MIB);
        }
        let level = stalls.low_water.level;
        stalls.now = stalls.plan(32, 32 * MIB).until.unwrap().as_micros();
        assert!(stalls.take_back() && !stalls.low_water.is_on());
        assert!(!stalls.take_back(), "once");
        assert!(stalls.plan(32, 32 * MIB).set < Some(level));
        assert_eq!(stalls.low_water.level, level / 2);
        // Late, but it has come.
        stalls.now += 2000;
        stalls.received += 32 * MIB;
        assert!(stalls.take_back());
        stalls.plan(32, 32 * MIB);
        assert_eq!(stalls.low_water.level, level / 2);
    }

    #[test]
    fn the_mark_goes_with_its_reason() {
        let mut large = Loop::over(8 * MIB);
        // A command that ended early, and nothing else is due; or the few that are left are looked for.
        for (commands, due) in [(0, 0), (4, 32 * MIB), (5, 1000)] {
            assert!(large.plan(5, 8 * MIB).set.is_some());
            large.now += 300;
            assert_eq!(large.plan(commands, due), BACK);
        }
    }

    #[test]
    fn deadlines_are_judged_after_everything_that_has_arrived() {
        let mut large = Loop::over(8 * MIB);
        let level = large.low_water.level;
        assert!(!large.low_water.take_back(true, Instant::from_micros(0)), "nothing is set");
        large.plan(5, 8 * MIB);
        assert!(large.low_water.take_back(true, Instant::from_micros(0)));
        large.plan(5, 8 * MIB);
        assert_eq!((large.low_water.set, large.low_water.level), (level, level), "as before");
    }

    #[test]
    fn a_socket_without_marks_is_not_asked_again() {
        let mut large = Loop::over(8 * MIB);
        large.plan(5, 8 * MIB);
        large.low_water.refuse();
        assert!(!large.low_water.concerns(32, 32 * MIB));
    }
}
