//! This project's target, as a process of its own.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use crate::process::Failure;

/// Its name as a binary of `iscsi-target`.
pub(crate) const PROGRAM: &str = "iscsi-target";

/// For the target to say where it listens.
const START: Duration = Duration::from_secs(30);

/// A target on a port of the loopback. The process ends with the value.
#[derive(Debug)]
pub(crate) struct TargetProcess {
    child: Child,
    port: u16,
}

impl TargetProcess {
    /// Starts `program` on any free port; `configure` adds what it serves.
    pub(crate) fn start(
        program: &Path,
        configure: impl FnOnce(&mut Command),
    ) -> Result<Self, Failure> {
        let mut command = Command::new(program);
        command.args(["--listen", "127.0.0.1:0"]).stdin(Stdio::null()).stdout(Stdio::piped());
        configure(&mut command);
        let child = command
            .spawn()
            .map_err(|error| Failure::new(format!("{}: {error}", program.display())))?;
        // From here on it is ended with the value.
        let mut target = Self { child, port: 0 };
        target.port = target.read_port()?;
        Ok(target)
    }

    /// The process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Where it listens.
    pub(crate) const fn port(&self) -> u16 {
        self.port
    }

    /// From the one line that the target prints.
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

impl Drop for TargetProcess {
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
        for line in ["", "listening", "listening on 127.0.0.1, target", "on 127.0.0.1:1, target"] {
            assert_eq!(parse_port(line), None, "{line}");
        }
    }

    #[test]
    fn a_program_that_says_nothing_is_an_error() {
        let error = TargetProcess::start(Path::new("/bin/true"), |_| ()).unwrap_err();
        assert!(error.to_string().starts_with("the target did not say"), "{error}");
        TargetProcess::start(Path::new("/nowhere/target"), |_| ()).unwrap_err();
    }
}
