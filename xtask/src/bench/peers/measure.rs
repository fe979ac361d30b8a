//! One run of a program: what it printed, and what it took.

use std::fs;
use std::io::{self, Read};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use super::target::NullTarget;
use crate::bench::programs::said;
use crate::process::Failure;
use crate::workspace::Workspace;

/// How much longer than it was told a program may take until it is ended.
const PATIENCE: Duration = Duration::from_secs(60);

/// For what has been printed to come through.
const GRACE: Duration = Duration::from_secs(1);

/// What a run came to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Sample {
    pub(super) iops: f64,
    pub(super) ios: f64,
    /// User and system time of the whole process.
    pub(super) cpu: Duration,
    /// From its start to its end.
    pub(super) wall: Duration,
    /// Of all threads of the target meanwhile.
    pub(super) target_cpu: Duration,
}

impl Sample {
    pub(super) fn cpu_us_per_io(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / self.ios
    }

    /// How much of one core the target took, 1 being all of it.
    pub(super) fn target_busy(&self) -> f64 {
        self.target_cpu.as_secs_f64() / self.wall.as_secs_f64()
    }
}

/// A program that has run to its end.
#[derive(Debug)]
pub(super) struct Ran {
    /// Whether it exited with 0.
    pub(super) success: bool,
    pub(super) stdout: String,
    pub(super) stderr: String,
    pub(super) cpu: Duration,
    pub(super) wall: Duration,
    pub(super) target_cpu: Duration,
}

/// Runs it; `None` if it did not end, and was killed.
pub(super) fn run(
    command: &mut Command,
    target: &NullTarget,
    time: Duration,
) -> Result<Option<Ran>, Failure> {
    let program = command.get_program().to_string_lossy().into_owned();
    let failed = |error: io::Error| Failure::new(format!("{program}: {error}"));
    let (cpu, target_cpu, start) = (children_cpu()?, target.cpu(), Instant::now());
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .map_err(failed)?;
    let stdout = reader(child.stdout.take());
    let stderr = reader(child.stderr.take());
    // The end of its output is its end. If this program itself was stopped for a while, the output is there, but the time is over.
    let printed = stdout.recv_timeout(time + PATIENCE).or_else(|_| stdout.recv_timeout(GRACE));
    if printed.is_err() {
        // With what it has started: perf and strace do not take it along.
        let group = Pid::from_raw(child.id().cast_signed());
        killpg(group, Signal::SIGKILL).map_err(|error| failed(error.into()))?;
    }
    let status = child.wait().map_err(failed)?;
    let wall = start.elapsed();
    let Ok(stdout) = printed else { return Ok(None) };
    Ok(Some(Ran {
        success: status.success(),
        stdout,
        stderr: stderr.recv_timeout(PATIENCE).unwrap_or_default(),
        cpu: children_cpu()?.saturating_sub(cpu),
        wall,
        target_cpu: target.cpu().saturating_sub(target_cpu),
    }))
}

fn reader(stream: Option<impl Read + Send + 'static>) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        // Without its output a run is a failure of its own; nobody may be waiting any more.
        let _ = stream.map(|mut stream| stream.read_to_end(&mut bytes));
        let _ = sender.send(String::from_utf8_lossy(&bytes).into_owned());
    });
    receiver
}

/// User and system time of all children that have ended.
fn children_cpu() -> Result<Duration, Failure> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)
        .map_err(|error| Failure::new(format!("getrusage: {error}")))?;
    let micros = [usage.user_time(), usage.system_time()]
        .map(|time| time.tv_sec() * 1_000_000 + time.tv_usec());
    Ok(Duration::from_micros(micros.iter().sum::<i64>().unsigned_abs()))
}

/// What counts system calls here.
#[derive(Debug)]
pub(super) enum SystemCalls {
    /// `perf stat`: it hardly slows the program.
    Perf(PathBuf),
    /// `strace`: it slows it much, and what it does in one call may differ then.
    Strace(PathBuf),
    Nothing,
}

const EVENT: &str = "raw_syscalls:sys_enter";

impl SystemCalls {
    pub(super) fn find(workspace: &Workspace) -> Result<Self, Failure> {
        let directory = workspace.target_directory.join("bench-peers");
        fs::create_dir_all(&directory)
            .map_err(|error| Failure::new(format!("{}: {error}", directory.display())))?;
        let file = directory.join("system-calls");
        Ok(if said("perf", &["stat", "-e", EVENT, "true"]).is_some() {
            Self::Perf(file)
        } else if said("strace", &["-c", "-f", "-o", "/dev/null", "true"]).is_some() {
            Self::Strace(file)
        } else {
            Self::Nothing
        })
    }

    pub(super) const fn name(&self) -> &'static str {
        match self {
            Self::Perf(_) => "perf",
            Self::Strace(_) => "strace",
            Self::Nothing => "nothing: neither perf nor strace works here",
        }
    }

    /// The same command, counted; `None` if nothing counts.
    pub(super) fn around(&self, command: &Command) -> Option<Command> {
        let (mut around, file) = match self {
            Self::Perf(file) => {
                let mut perf = Command::new("perf");
                perf.args(["stat", "-x", ",", "-e", EVENT, "-o"]);
                (perf, file)
            }
            Self::Strace(file) => {
                let mut strace = Command::new("strace");
                strace.args(["-c", "-f", "-o"]);
                (strace, file)
            }
            Self::Nothing => return None,
        };
        around.arg(file).arg(command.get_program()).args(command.get_args());
        Some(around)
    }

    /// How many there were in the run that has just ended.
    pub(super) fn count(&self) -> Option<f64> {
        match self {
            Self::Perf(file) => perf_count(&fs::read_to_string(file).ok()?),
            Self::Strace(file) => strace_count(&fs::read_to_string(file).ok()?),
            Self::Nothing => None,
        }
    }
}

/// `1234,,raw_syscalls:sys_enter,...`
fn perf_count(text: &str) -> Option<f64> {
    let line = text.lines().find(|line| line.contains(EVENT))?;
    line.split(',').next()?.parse().ok()
}

/// `100.00 0.123456 7 1234 5 total`: the number of errors may be missing.
fn strace_count(text: &str) -> Option<f64> {
    let line = text.lines().find(|line| line.ends_with(" total"))?;
    line.split_whitespace().nth(3)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_read() {
        let perf = "# started on Mon\n\n1234,,raw_syscalls:sys_enter,5678,100.00,,\n";
        assert_eq!(perf_count(perf), Some(1234.0));
        assert_eq!(perf_count("<not counted>,,raw_syscalls:sys_enter,0,0\n"), None);
        let strace = "% time     seconds  usecs/call     calls    errors syscall\n\
            ------ ----------- ----------- --------- --------- ----------------\n\
            100.00    0.000000           0      4321         1 total\n";
        assert_eq!(strace_count(strace), Some(4321.0));
        assert_eq!(strace_count(""), None);
    }

    #[test]
    fn figures_of_a_sample() {
        let sample = Sample {
            iops: 1000.0,
            ios: 2000.0,
            cpu: Duration::from_millis(10),
            wall: Duration::from_secs(2),
            target_cpu: Duration::from_secs(1),
        };
        assert!((sample.cpu_us_per_io() - 5.0).abs() < 1e-9);
        assert!((sample.target_busy() - 0.5).abs() < 1e-9);
    }
}
