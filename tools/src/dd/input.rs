//! Files and pipes as a source, without waiting for them longer than somebody wants their bytes.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::sync::Arc;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::signals::{Ending, LOOK};

/// A file, a device, a pipe or a terminal. A read that waits for bytes fails once the end is wanted.
#[derive(Debug)]
pub(crate) struct Input {
    file: File,
    ending: Arc<Ending>,
}

impl Input {
    pub(crate) const fn new(file: File, ending: Arc<Ending>) -> Self {
        Self { file, ending }
    }

    /// Whether a read would not wait. Regular files never do.
    fn is_ready(&self) -> bool {
        let time = Timespec::try_from(LOOK).ok();
        let mut files = [PollFd::new(&self.file, PollFlags::IN)];
        match poll(&mut files, time.as_ref()) {
            // A signal came.
            Err(rustix::io::Errno::INTR) => false,
            // What cannot be waited for is read.
            Err(_) => true,
            Ok(ready) => ready > 0,
        }
    }
}

impl Read for Input {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        while !self.is_ready() {
            if self.ending.is_wanted() {
                return Err(io::Error::other("interrupted"));
            }
        }
        self.file.read(room)
    }
}

impl Seek for Input {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.file.seek(to)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::fd::OwnedFd;

    use super::*;

    #[test]
    fn nobody_waits_for_a_pipe_once_the_end_is_wanted() {
        let (reader, mut writer) = io::pipe().unwrap();
        let ending = Arc::new(Ending::default());
        let mut input = Input::new(File::from(OwnedFd::from(reader)), ending.clone());
        writer.write_all(b"abc").unwrap();
        ending.want();
        let mut room = [0; 8];
        assert_eq!(input.read(&mut room).unwrap(), 3, "what is there is read");
        assert_eq!(input.read(&mut room).unwrap_err().to_string(), "interrupted");
        drop(writer);
        assert_eq!(input.read(&mut room).unwrap(), 0, "so is an end");
    }
}
