//! Running the tools, and looking at what they print.

use std::ffi::OsStr;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::{env, fs, process};

pub(crate) const LS: &str = env!("CARGO_BIN_EXE_iscsi-ls");
pub(crate) const INQ: &str = env!("CARGO_BIN_EXE_iscsi-inq");
pub(crate) const READCAPACITY16: &str = env!("CARGO_BIN_EXE_iscsi-readcapacity16");
pub(crate) const DD: &str = env!("CARGO_BIN_EXE_iscsi-dd");
pub(crate) const PERF: &str = env!("CARGO_BIN_EXE_iscsi-perf");
pub(crate) const DEMO: &str = env!("CARGO_BIN_EXE_iscsi-demo");

/// How a program ended, and what it printed.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

impl Ran {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.stdout).expect("UTF-8")
    }

    /// The same if the exit code is this one.
    #[track_caller]
    pub(crate) fn ended_with(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "stdout: {}\nstderr: {}", self.lossy(), self.stderr);
        assert!(!self.stderr.contains("panicked"), "{}", self.stderr);
        self
    }

    fn lossy(&self) -> String {
        String::from_utf8_lossy(self.stdout.get(..2000).unwrap_or(&self.stdout)).into_owned()
    }
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        Self { code: output.status.code(), stdout: output.stdout, stderr }
    }
}

/// A command without this process's LIBISCSI_ variables.
pub(crate) fn command<A: AsRef<OsStr>>(
    program: &str,
    arguments: impl IntoIterator<Item = A>,
) -> Command {
    let mut command = Command::new(program);
    let ours = |name: &str| name.starts_with("LIBISCSI_") || name == "ISCSI_INITIATOR_NAME";
    for (name, _) in env::vars().filter(|(name, _)| ours(name)) {
        command.env_remove(name);
    }
    command.args(arguments).stdin(Stdio::null());
    command
}

pub(crate) fn run<A: AsRef<OsStr>>(program: &str, arguments: impl IntoIterator<Item = A>) -> Ran {
    command(program, arguments).output().expect("the program runs").into()
}

/// Runs a program with bytes on its standard input.
pub(crate) fn run_with_input(program: &str, arguments: &[&str], input: &[u8]) -> Ran {
    let mut child = command(program, arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program runs");
    let mut stdin = child.stdin.take().expect("a pipe");
    std::thread::scope(|scope| {
        // It may stop reading early.
        scope.spawn(move || drop(stdin.write_all(input)));
        child.wait_with_output().expect("it ends").into()
    })
}

/// A file name of one's own; whatever has it is deleted in the end.
#[derive(Debug)]
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn new(name: &str) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("iscsi-tools-{}-{number}-{name}", process::id());
        Self(env::temp_dir().join(name))
    }

    pub(crate) fn with(name: &str, content: &[u8]) -> Self {
        let scratch = Self::new(name);
        fs::write(&scratch.0, content).expect("a file");
        scratch
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn str(&self) -> &str {
        self.0.to_str().expect("UTF-8")
    }

    pub(crate) fn read(&self) -> Vec<u8> {
        fs::read(&self.0).expect("the file")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// Bytes without a pattern, the same for the same seed.
pub(crate) fn random(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = vec![0; len.next_multiple_of(8)];
    for word in bytes.chunks_exact_mut(8) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        word.copy_from_slice(&state.wrapping_mul(0x2545_f491_4f6c_dd1d).to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}
