//! The target of a comparison: this project's, with a null disk.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use super::Digests;
use crate::process::Failure;

/// For the target to say where it listens.
const START: Duration = Duration::from_secs(30);

const NAME: &str = "iqn.2001-04.com.example:null";

/// Large enough that no run comes to the end often, small enough that READ(10) would do.
const SIZE: &str = "64G";

/// A process that ends with the value.
#[derive(Debug)]
pub(super) struct NullTarget {
    child: Child,
    port: u16,
}

impl NullTarget {
    pub(super) fn start(
        program: &Path,
        digests: Digests,
        congestion: &str,
    ) -> Result<Self, Failure> {
        let (header, data) = match digests {
            Digests::None => ("none", "none"),
            Digests::Header => ("required", "none"),
            Digests::Both => ("required", "required"),
        };
        let child = Command::new(program)
            .args(["--listen", "127.0.0.1:0", "--target", NAME, "--null", SIZE])
            .args(["--header-digest", header, "--data-digest", data, "--congestion", congestion])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| Failure::new(format!("{}: {error}", program.display())))?;
        // From here on it is ended with the value.
        let mut target = Self { child, port: 0 };
        target.port = target.read_port()?;
        Ok(target)
    }

    pub(super) fn url(&self) -> String {
        format!("iscsi://127.0.0.1:{}/{NAME}/0", self.port)
    }

    /// The processor time that its threads have taken since it was started.
    pub(super) fn cpu(&self) -> Duration {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.child.id()));
        let threads = tasks.into_iter().flatten().flatten();
        let nanos = threads.filter_map(|thread| {
            let text = fs::read_to_string(thread.path().join("schedstat")).ok()?;
            text.split_whitespace().next()?.parse::<u64>().ok()
        });
        Duration::from_nanos(nanos.sum())
    }

    fn read_port(&mut self) -> Result<u16, Failure> {
        let stdout =
            self.child.stdout.take().ok_or_else(|| Failure::new("the target has no output"))?;
        let (sender, receiver) = mpsc::channel();
        thread::spawn(move || {
            let mut line = String::new();
            // Without a line, or without anybody who waits for it, the receiver's side says what is wrong.
            let _ = BufReader::new(stdout).read_line(&mut line).map(|_| sender.send(line));
        });
        let line = receiver.recv_timeout(START).unwrap_or_default();
        parse_port(&line).ok_or_else(|| {
            Failure::new(format!("the target did not say where it listens: {}", line.trim_end()))
        })
    }
}

impl Drop for NullTarget {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `listening on 127.0.0.1:PORT, target NAME`
fn parse_port(line: &str) -> Option<u16> {
    let (address, _) = line.strip_prefix("listening on ")?.split_once(',')?;
    address.rsplit_once(':')?.1.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_is_found() {
        assert_eq!(parse_port("listening on 127.0.0.1:4711, target iqn.x\n"), Some(4711));
        assert_eq!(parse_port("listening on 127.0.0.1, target"), None);
    }
}
