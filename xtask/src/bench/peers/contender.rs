//! The programs that are compared: how they are told what to do, and how they say what they did.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use clap::ValueEnum;

use super::measure::{self, Ran, Sample, SystemCalls};
use super::numbers::blocks;
use super::target::NullTarget;
use super::{Digests, Job, Runtime, Way};
use crate::bench::programs::said;
use crate::process::{Failure, run_cargo};
use crate::workspace::Workspace;

const LIBISCSI: &str = "iscsi-perf";
const QEMU: &str = "qemu-img";
const BARE: &str = "bare-reads";

/// Where the programs are.
#[derive(Debug)]
pub(super) struct Programs {
    pub(super) target: PathBuf,
    ours: PathBuf,
    bare: PathBuf,
    /// What qemu-img calls itself.
    pub(super) qemu_version: String,
}

impl Programs {
    /// Builds this project's programs, unless they are in a directory that was named.
    pub(super) fn find(workspace: &Workspace, built: Option<&Path>) -> Result<Self, Failure> {
        let directory = if let Some(directory) = built {
            directory.to_owned()
        } else {
            let packages = [
                ("iscsi-target", "iscsi-target"),
                ("iscsi-tools", LIBISCSI),
                ("iscsi-benches", BARE),
            ];
            for (package, program) in packages {
                let args = ["build", "--release", "--package", package, "--bin", program];
                run_cargo(workspace, &args, &[])?;
            }
            workspace.target_directory.join("release")
        };
        let [target, ours, bare] =
            ["iscsi-target", LIBISCSI, BARE].map(|program| directory.join(program));
        for program in [&target, &ours, &bare] {
            if !program.is_file() {
                return Err(Failure::new(format!("{} is not there", program.display())));
            }
        }
        // libiscsi's tool has no option that only prints something and ends well.
        if Command::new(LIBISCSI).output().is_err() {
            return Err(Failure::new("libiscsi's iscsi-perf is not installed (libiscsi-bin)"));
        }
        let qemu_version = said(QEMU, &["--version"])
            .ok_or_else(|| Failure::new("qemu-img is not installed (qemu-utils)"))?;
        let qemu_version = qemu_version.lines().next().unwrap_or_default().to_owned();
        Ok(Self { target, ours, bare, qemu_version })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Contender {
    /// Reads only.
    LibiscsiPerf,
    /// `qemu-img bench`, whose iSCSI driver is libiscsi. Here for writes only.
    QemuImg,
    /// This project's `iscsi-perf`.
    Ours(Runtime),
    /// A socket, and no initiator. Reads without digests only.
    Bare,
}

/// What a run came to, or why there is none.
#[derive(Debug, PartialEq)]
pub(super) enum Outcome {
    Measured(Sample),
    /// In the program's words.
    Refused(String),
}

/// How long a run goes on. qemu-img has to be told a number.
#[derive(Debug, Clone, Copy)]
enum Amount {
    Time(Duration),
    Ios(u64),
}

impl Contender {
    pub(super) fn name(self) -> String {
        match self {
            Self::LibiscsiPerf => "libiscsi".into(),
            Self::QemuImg => QEMU.into(),
            Self::Bare => "bare socket".into(),
            Self::Ours(runtime) => {
                let value = runtime.to_possible_value();
                value.map(|value| value.get_name().to_owned()).unwrap_or_default()
            }
        }
    }

    /// Whether it is one of those that others are compared with.
    pub(super) const fn is_peer(self) -> bool {
        matches!(self, Self::LibiscsiPerf | Self::QemuImg)
    }

    /// Runs it for about this time.
    pub(super) fn run(
        self,
        programs: &Programs,
        target: &NullTarget,
        job: Job,
        time: Duration,
    ) -> Result<Outcome, Failure> {
        let amount = match self.amount(programs, target, job, time)? {
            Ok(amount) => amount,
            Err(refusal) => return Ok(Outcome::Refused(refusal)),
        };
        let mut command = self.command(programs, &target.url(), job, amount);
        let ran = self.patiently(&mut command, target, time)?;
        let Some(iops) = self.iops(&ran, amount) else {
            return Ok(Outcome::Refused(self.refusal(&ran)));
        };
        let ios = match amount {
            Amount::Time(time) => iops * time.as_secs_f64(),
            Amount::Ios(ios) => ios as f64,
        };
        let Ran { cpu, wall, target_cpu, .. } = ran;
        Ok(Outcome::Measured(Sample { iops, ios, cpu, wall, target_cpu }))
    }

    /// System calls of an I/O, in a run of their own; `None` if nothing counts them.
    pub(super) fn count_calls(
        self,
        programs: &Programs,
        target: &NullTarget,
        job: Job,
        time: Duration,
        calls: &SystemCalls,
    ) -> Result<Option<f64>, Failure> {
        let Ok(amount) = self.amount(programs, target, job, time)? else { return Ok(None) };
        let command = self.command(programs, &target.url(), job, amount);
        let Some(mut command) = calls.around(&command) else { return Ok(None) };
        let ran = self.patiently(&mut command, target, time)?;
        let ios = match amount {
            Amount::Time(time) => self.iops(&ran, amount).map(|iops| iops * time.as_secs_f64()),
            Amount::Ios(ios) => Some(ios as f64),
        };
        Ok(ios.zip(calls.count()).map(|(ios, calls)| calls / ios))
    }

    /// Runs it. If it does not end it is run again, and that is said: an hour of measuring is not to be lost for it.
    fn patiently(
        self,
        command: &mut Command,
        target: &NullTarget,
        time: Duration,
    ) -> Result<Ran, Failure> {
        const TRIES: u32 = 3;
        for _try in 0..TRIES {
            if let Some(ran) = measure::run(command, target, time)? {
                return Ok(ran);
            }
            println!("{} DID NOT END and was killed: {command:?}", self.name());
        }
        Err(Failure::new(format!("{} did not end: {command:?}", self.name())))
    }

    /// How much it is told to do. Who does not know time is tried with a few I/Os first.
    fn amount(
        self,
        programs: &Programs,
        target: &NullTarget,
        job: Job,
        time: Duration,
    ) -> Result<Result<Amount, String>, Failure> {
        if self != Self::QemuImg {
            return Ok(Ok(Amount::Time(time)));
        }
        /// Bytes of the try.
        const TRY: u64 = 128 << 20;
        let few = Amount::Ios((TRY / u64::from(job.size)).clamp(256, 10_000));
        let mut command = self.command(programs, &target.url(), job, few);
        let ran = self.patiently(&mut command, target, time)?;
        let iops = self.iops(&ran, few);
        Ok(iops
            .map(|iops| Amount::Ios((iops * time.as_secs_f64()) as u64))
            .ok_or_else(|| self.refusal(&ran)))
    }

    fn command(self, programs: &Programs, url: &str, job: Job, amount: Amount) -> Command {
        let depth = job.depth.to_string();
        let seconds = match amount {
            Amount::Time(time) => time.as_secs_f64().to_string(),
            Amount::Ios(_) => String::new(),
        };
        let blocks = blocks(job.size).to_string();
        let program = match self {
            Self::LibiscsiPerf => Path::new(LIBISCSI),
            Self::QemuImg => Path::new(QEMU),
            Self::Ours(_) => &programs.ours,
            Self::Bare => &programs.bare,
        };
        let mut command = Command::new(program);
        match self {
            Self::LibiscsiPerf => {
                command.args(["-m", &depth, "-b", &blocks, "-t", &seconds]);
            }
            Self::QemuImg => {
                let Amount::Ios(ios) = amount else { unreachable!("it is told a number") };
                command.args(["bench", "-w", "-f", "raw", "-t", "none", "-d", &depth]);
                command.args(["-c", &ios.to_string(), "-s", &job.size.to_string()]);
            }
            Self::Ours(runtime) => {
                let (name, placed) = match runtime {
                    Runtime::StdPlaced => ("std".into(), true),
                    _ => (self.name(), false),
                };
                command.args(["--runtime", &name, "-m", &depth, "-b", &blocks]);
                command.args(placed.then_some("--place"));
                command.args(["-t", &seconds]);
                if job.way == Way::Write {
                    command.args(["--mode", "write", "--overwrite"]);
                }
            }
            Self::Bare => {
                command.args([url, &blocks, &depth, &seconds]);
                return command;
            }
        }
        command.arg(url);
        command
    }

    fn iops(self, ran: &Ran, amount: Amount) -> Option<f64> {
        if !ran.success {
            return None;
        }
        match amount {
            Amount::Time(_) => perf_iops(&ran.stdout),
            Amount::Ios(ios) => Some(ios as f64 / qemu_seconds(&ran.stdout)?),
        }
        .filter(|iops| *iops > 0.0)
    }

    /// The last thing that it said.
    fn refusal(self, ran: &Ran) -> String {
        let last = |text: &str| {
            let mut lines = text.split(['\n', '\r']).map(str::trim);
            lines.rfind(|line| !line.is_empty()).map(str::to_owned)
        };
        let said = last(&ran.stderr).or_else(|| last(&ran.stdout));
        format!("{}: {}", self.name(), said.unwrap_or_else(|| "failed without a word".into()))
    }
}

/// libiscsi's tool at the end, and ours after it: `iops average 121737 (475 MB/s)`.
fn perf_iops(stdout: &str) -> Option<f64> {
    let lines = stdout.split(['\n', '\r']);
    let mut closing = lines.filter_map(|line| line.strip_prefix("iops average "));
    closing.next_back()?.split(' ').next()?.parse().ok()
}

/// `Run completed in 1.234 seconds.`
fn qemu_seconds(stdout: &str) -> Option<f64> {
    let line = stdout.lines().find_map(|line| line.strip_prefix("Run completed in "))?;
    line.strip_suffix(" seconds.")?.parse().ok()
}

impl Digests {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Header => "header",
            Self::Both => "header, data",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closing_lines() {
        let perf = "connected\n\r00:00:01 - lba 8, iops current 9 (0 MB/s), iops average 7 (0 MB/s)\
            \r                    \riops average 121737 (475 MB/s)\n\nfinished.\n";
        assert_eq!(perf_iops(perf), Some(121_737.0));
        assert_eq!(perf_iops("iops current 9"), None);
        let qemu = "Sending 10 write requests, 4096 bytes each\nRun completed in 0.250 seconds.\n";
        assert_eq!(qemu_seconds(qemu), Some(0.25));
        assert_eq!(qemu_seconds("qemu-img: failed"), None);
    }

    #[test]
    fn lines_that_are_run() {
        let programs = Programs {
            target: "t".into(),
            ours: "o".into(),
            bare: "b".into(),
            qemu_version: String::new(),
        };
        let line = |contender: Contender, way, amount| {
            let job = Job { way, size: 65_536, depth: 32, digests: Digests::None };
            let command = contender.command(&programs, "URL", job, amount);
            let words = [command.get_program()].into_iter().chain(command.get_args());
            words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
        };
        let time = Amount::Time(Duration::from_secs(2));
        assert_eq!(
            line(Contender::LibiscsiPerf, Way::Read, time),
            "iscsi-perf -m 32 -b 128 -t 2 URL"
        );
        assert_eq!(
            line(Contender::Ours(Runtime::Mio), Way::Write, time),
            "o --runtime mio -m 32 -b 128 -t 2 --mode write --overwrite URL"
        );
        assert_eq!(
            line(Contender::Ours(Runtime::StdPlaced), Way::Read, time),
            "o --runtime std -m 32 -b 128 --place -t 2 URL"
        );
        assert_eq!(line(Contender::Bare, Way::Read, time), "b URL 128 32 2");
        assert_eq!(
            line(Contender::QemuImg, Way::Write, Amount::Ios(7)),
            "qemu-img bench -w -f raw -t none -d 32 -c 7 -s 65536 URL"
        );
    }
}
