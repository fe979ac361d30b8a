//! QEMU with the board that the firmware is for.

use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::process::Failure;

pub(crate) const PROGRAM: &str = "qemu-system-arm";

/// The firmware gives up by itself after a minute of its own time.
const LIMIT: Duration = Duration::from_secs(120);
/// How often is looked whether it has ended.
const LOOK: Duration = Duration::from_millis(20);

/// What a run has left.
#[derive(Debug)]
pub(crate) struct Run {
    /// What it printed on either stream.
    pub(crate) output: String,
    pub(crate) code: i32,
}

pub(crate) fn is_installed() -> bool {
    let mut command = Command::new(PROGRAM);
    command.arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// Runs a program with these words as its command line, on a network where this machine's loopback is the gateway.
pub(crate) fn run(program: &Path, words: &[&str]) -> Result<Run, Failure> {
    let mut semihosting = format!("enable=on,target=native,arg={}", super::PROGRAM);
    for word in words {
        semihosting += ",arg=";
        semihosting += word;
    }
    let mut command = Command::new(PROGRAM);
    command
        .args(["-machine", "mps2-an386", "-nic", "user,model=lan9118"])
        .args(["-display", "none", "-serial", "none", "-monitor", "none"])
        .args(["-semihosting-config", &semihosting, "-kernel"])
        .arg(program)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command
        .spawn()
        .map_err(|error| Failure::new(format!("{PROGRAM} did not start: {error}")))?;
    // Read while it runs, so that it never waits for room in a pipe.
    let stdout = child.stdout.take().map(|pipe| thread::spawn(move || read(pipe)));
    let stderr = child.stderr.take().map(|pipe| thread::spawn(move || read(pipe)));
    let status = wait(&mut child);
    let mut output = String::new();
    for reader in [stdout, stderr].into_iter().flatten() {
        output += &reader.join().unwrap_or_default();
    }
    match status? {
        Some(status) => Ok(Run { output, code: status.code().unwrap_or(-1) }),
        None => Err(Failure::new(format!(
            "still running after {} seconds, and ended; it printed:\n{output}",
            LIMIT.as_secs()
        ))),
    }
}

fn read(mut pipe: impl Read) -> String {
    let mut bytes = Vec::new();
    // What came before an error is of interest all the same.
    let _ = pipe.read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The status, or nothing if the time was over and the emulator was killed.
fn wait(child: &mut Child) -> Result<Option<ExitStatus>, Failure> {
    let failed = |error| Failure::new(format!("waiting for {PROGRAM}: {error}"));
    let end = Instant::now() + LIMIT;
    while Instant::now() < end {
        if let Some(status) = child.try_wait().map_err(failed)? {
            return Ok(Some(status));
        }
        thread::sleep(LOOK);
    }
    child.kill().and_then(|()| child.wait()).map_err(failed)?;
    Ok(None)
}
