//! Waiting: poll(2) with a nanosecond time limit, and a waker for other threads.

use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use iscsi_runtime::Wake;
use rustix::event::{PollFd, Timespec, poll};
use rustix::io::Errno;

/// Waits for one of the descriptors, at most for `time`; whether one is ready. An interruption by a signal counts as nothing ready: callers
/// look at the clock again anyway.
pub(crate) fn poll_until(fds: &mut [PollFd<'_>], time: Option<Duration>) -> io::Result<bool> {
    // A time that does not fit is as good as none.
    let time = time.and_then(|time| Timespec::try_from(time).ok());
    match poll(fds, time.as_ref()) {
        Ok(ready) => Ok(ready > 0),
        Err(Errno::INTR) => {
            fds.iter_mut().for_each(PollFd::clear_revents);
            Ok(false)
        }
        Err(error) => Err(error.into()),
    }
}

/// Wakes one thread out of [`poll_until`].
///
/// A wake-up costs a system call only if the thread sleeps, or is about to: many requests for a busy thread cost none. The
/// sleeper follows a fixed order: [`Waker::arm`], look whether there is work, poll, [`Waker::disarm`].
#[derive(Debug)]
pub(crate) struct Waker {
    armed: AtomicBool,
    /// Something was written that perhaps was not read.
    written: AtomicBool,
    /// Written to wake.
    to: OwnedFd,
    /// Polled; the same object as `to` where there is eventfd(2).
    from: Option<OwnedFd>,
}

impl Waker {
    #[cfg(target_os = "linux")]
    pub(crate) fn new() -> io::Result<Self> {
        use rustix::event::{EventfdFlags, eventfd};
        let to = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self { armed: AtomicBool::new(true), written: AtomicBool::new(false), to, from: None })
    }

    #[cfg(not(target_os = "linux"))]
    pub(crate) fn new() -> io::Result<Self> {
        let (to, from) = std::os::unix::net::UnixStream::pair()?;
        to.set_nonblocking(true)?;
        from.set_nonblocking(true)?;
        let (armed, written) = (AtomicBool::new(true), AtomicBool::new(false));
        Ok(Self { armed, written, to: to.into(), from: Some(from.into()) })
    }

    /// From here on [`wake`](Self::wake) takes effect. What there is to do must be looked for after this.
    pub(crate) fn arm(&self) {
        self.armed.store(true, Ordering::SeqCst);
    }

    /// The thread is awake: wake-ups are not needed until it arms again.
    pub(crate) fn disarm(&self) {
        self.armed.store(false, Ordering::SeqCst);
        // If someone is about to write, the next poll returns at once, and the next call finds the mark.
        if self.written.swap(false, Ordering::SeqCst) {
            let mut bytes = [0; 64];
            while matches!(rustix::io::read(self, &mut bytes), Ok(64)) {}
        }
    }
}

impl Wake for Waker {
    /// Wakes the thread if it sleeps or is about to.
    fn wake(&self) {
        if self.armed.swap(false, Ordering::SeqCst) {
            // It can only fail because the object is full, and then the thread wakes up, too.
            let _ = rustix::io::write(&self.to, &1u64.to_ne_bytes());
            // After the write: whoever sees this finds it.
            self.written.store(true, Ordering::SeqCst);
        }
    }
}

impl AsFd for Waker {
    /// The descriptor to poll for reading.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.from.as_ref().unwrap_or(&self.to).as_fd()
    }
}

#[cfg(test)]
mod tests {
    use alloc::sync::Arc;
    use core::sync::atomic::AtomicU64;
    use std::thread;
    use std::time::Instant;

    use rustix::event::PollFlags;

    use super::*;

    fn woken(waker: &Waker, time: Duration) -> bool {
        let mut fds = [PollFd::new(waker, PollFlags::IN)];
        poll_until(&mut fds, Some(time)).unwrap();
        !fds[0].revents().is_empty()
    }

    #[test]
    fn a_wake_up_before_the_sleep_is_not_lost() {
        let waker = Waker::new().unwrap();
        waker.arm();
        waker.wake();
        waker.wake();
        assert!(woken(&waker, Duration::from_secs(5)));
        waker.disarm();
        assert!(!woken(&waker, Duration::ZERO), "drained");
    }

    #[test]
    fn a_wake_up_that_is_written_late_is_drained_later() {
        let waker = Waker::new().unwrap();
        // The waker has taken its turn and not written yet, while the sleeper wakes for another reason.
        assert!(waker.armed.swap(false, Ordering::SeqCst));
        waker.disarm();
        rustix::io::write(&waker.to, &1u64.to_ne_bytes()).unwrap();
        waker.written.store(true, Ordering::SeqCst);
        waker.arm();
        assert!(woken(&waker, Duration::from_secs(5)));
        waker.disarm();
        waker.arm();
        assert!(!woken(&waker, Duration::ZERO), "drained");
    }

    #[test]
    fn a_busy_thread_is_left_alone() {
        let waker = Waker::new().unwrap();
        waker.arm();
        waker.disarm();
        waker.wake();
        assert!(!woken(&waker, Duration::ZERO));
    }

    #[test]
    fn short_times_are_kept() {
        let waker = Waker::new().unwrap();
        waker.arm();
        let start = Instant::now();
        assert!(!woken(&waker, Duration::from_micros(300)));
        let took = start.elapsed();
        assert!(took >= Duration::from_micros(300), "{took:?}");
    }

    #[test]
    fn no_wake_up_is_lost_under_contention() {
        const EACH: u64 = 20_000;
        let waker = Arc::new(Waker::new().unwrap());
        let work = Arc::new(AtomicU64::new(0));
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let (waker, work) = (waker.clone(), work.clone());
                thread::spawn(move || {
                    for _ in 0..EACH {
                        work.fetch_add(1, Ordering::SeqCst);
                        waker.wake();
                    }
                })
            })
            .collect();
        let mut seen = 0;
        while seen < 4 * EACH {
            waker.arm();
            if work.load(Ordering::SeqCst) == seen {
                // A lost wake-up would sleep here until the time limit.
                assert!(woken(&waker, Duration::from_secs(10)), "lost at {seen}");
            }
            waker.disarm();
            seen = work.load(Ordering::SeqCst);
        }
        threads.into_iter().for_each(|t| t.join().unwrap());
    }
}
