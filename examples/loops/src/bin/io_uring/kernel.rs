//! The ring: one send and one receive at a time.

use std::io;
use std::net::TcpStream;
use std::os::fd::AsRawFd;
use std::time::Duration;

use io_uring::types::{Fd, SubmitArgs, Timespec};
use io_uring::{IoUring, opcode};
use iscsi_loops::Failure;
use libc::iovec;

/// The two operations.
pub(crate) const SEND: usize = 0;
pub(crate) const RECV: usize = 1;

/// Bytes of one operation that lie together.
pub(crate) const fn part(base: *mut u8, len: usize) -> iovec {
    iovec { iov_base: base.cast(), iov_len: len }
}

/// It is leaked, with its lists of parts: an operation may outlive everything else.
pub(crate) struct Kernel {
    ring: IoUring,
    parts: [Vec<iovec>; 2],
    under_way: [bool; 2],
}

impl Kernel {
    pub(crate) fn new() -> io::Result<&'static mut Self> {
        let (ring, parts, under_way) = (IoUring::new(4)?, Default::default(), [false; 2]);
        if !ring.params().is_feature_ext_arg() {
            return Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "it cannot wait with a timeout",
            ));
        }
        Ok(Box::leak(Box::new(Self { ring, parts, under_way })))
    }

    pub(crate) const fn is_under_way(&self, operation: usize) -> bool {
        self.under_way[operation]
    }

    pub(crate) const fn is_idle(&self) -> bool {
        !self.under_way[SEND] && !self.under_way[RECV]
    }

    /// Starts an operation that is not under way. Without parts there is nothing to do.
    ///
    /// # Safety
    /// The parts exist until [`wait`](Self::wait) has returned the operation. Until then nobody changes what is sent, or looks at where it is
    /// received.
    #[expect(unsafe_code, reason = "the kernel is handed addresses")]
    pub(crate) unsafe fn start(
        &mut self,
        operation: usize,
        parts: Vec<iovec>,
        stream: &TcpStream,
    ) -> Result<(), Failure> {
        assert!(!self.under_way[operation], "one at a time");
        if parts.is_empty() {
            return Ok(());
        }
        let (fd, first, len) = (Fd(stream.as_raw_fd()), parts.as_ptr(), parts.len() as u32);
        self.parts[operation] = parts;
        self.under_way[operation] = true;
        let entry = match operation {
            SEND => opcode::Writev::new(fd, first, len).build(),
            _ => opcode::Readv::new(fd, first, len).build(),
        };
        // SAFETY: the list of parts stays as it is while the operation is under way, and is never freed before; for the parts the caller
        // answers. The socket is closed only after that, and if it were not, another one is an error, not a danger to memory.
        unsafe { self.ring.submission().push(&entry.user_data(operation as u64)) }?;
        Ok(())
    }

    /// Waits for an operation if `wait`, no longer than `timeout`. Returns those that have completed, with their results.
    pub(crate) fn wait(
        &mut self,
        wait: bool,
        timeout: Option<Duration>,
    ) -> io::Result<Vec<(usize, i32)>> {
        let timeout = timeout.map(Timespec::from);
        let args = timeout.iter().fold(SubmitArgs::new(), |args, timeout| args.timespec(timeout));
        match self.ring.submitter().submit_with_args(usize::from(wait), &args) {
            Err(error) if !matches!(error.raw_os_error(), Some(libc::ETIME | libc::EINTR)) => {
                return Err(error);
            }
            _ => {}
        }
        let done = self.ring.completion();
        let done: Vec<_> = done.map(|entry| (entry.user_data() as usize, entry.result())).collect();
        for (operation, _) in &done {
            self.under_way[*operation] = false;
        }
        Ok(done)
    }
}
