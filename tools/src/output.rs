//! How a tool ends: what is printed where, and the exit code.

use core::fmt;
use std::io::{self, Write};
use std::process::ExitCode;

/// Exit code of everything that went wrong, as in libiscsi's tools.
pub(crate) const FAILED: u8 = 10;

/// Why a tool stops early.
#[derive(Debug)]
pub(crate) enum Stop {
    /// Something went wrong.
    Failed {
        /// What.
        message: String,
        /// What to do about it.
        remedy: Option<String>,
    },
    /// Nobody reads the output any more.
    Unread,
}

pub(crate) type Outcome<T> = Result<T, Stop>;

impl Stop {
    pub(crate) fn failed(message: impl Into<String>) -> Self {
        Self::Failed { message: message.into(), remedy: None }
    }

    pub(crate) fn with_remedy(message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::Failed { message: message.into(), remedy: Some(remedy.into()) }
    }

    /// The same with what it was about in front.
    pub(crate) fn about(self, what: impl fmt::Display) -> Self {
        match self {
            Self::Failed { message, remedy } => {
                Self::Failed { message: format!("{what}: {message}"), remedy }
            }
            Self::Unread => Self::Unread,
        }
    }
}

/// A failure to write to standard output. Other errors of the system carry more context than this.
impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::Unread,
            _ => Self::failed(format!("writing the output: {error}")),
        }
    }
}

/// Prints to standard error. That nobody listens there is no reason to stop.
pub(crate) fn complain(tool: &str, message: impl fmt::Display) {
    let _ = writeln!(io::stderr(), "{tool}: {message}");
}

/// Prints a failure with its remedy. A closed output is no failure.
pub(crate) fn report(tool: &str, stop: &Stop) {
    if let Stop::Failed { message, remedy } = stop {
        complain(tool, message);
        if let Some(remedy) = remedy {
            let _ = writeln!(io::stderr(), "  {remedy}");
        }
    }
}

/// The exit code of a tool that ended so; prints why if it failed.
///
/// A reader that has seen enough (`iscsi-ls ... | head -1`) is a quiet end with 0, whatever was left to be printed.
pub(crate) fn finish(tool: &str, outcome: Outcome<u8>) -> ExitCode {
    match outcome {
        Ok(code) => ExitCode::from(code),
        Err(Stop::Unread) => ExitCode::SUCCESS,
        Err(stop) => {
            report(tool, &stop);
            ExitCode::from(FAILED)
        }
    }
}

/// Prints a JSON document.
pub(crate) fn print_json(out: &mut impl Write, document: &serde_json::Value) -> Outcome<()> {
    writeln!(out, "{document:#}")?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closed_output_is_quiet() {
        let closed = Stop::from(io::Error::from(io::ErrorKind::BrokenPipe));
        assert!(matches!(closed, Stop::Unread));
        let full = Stop::from(io::Error::from(io::ErrorKind::StorageFull));
        assert!(matches!(full, Stop::Failed { .. }));
    }

    #[test]
    fn context_stands_in_front() {
        let Stop::Failed { message, remedy } = Stop::with_remedy("no", "try").about("disk") else {
            panic!();
        };
        assert_eq!((message.as_str(), remedy.as_deref()), ("disk: no", Some("try")));
    }
}
