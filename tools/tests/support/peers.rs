//! What programs with tests against somebody else's programs share.

use std::env;
use std::process::{Command, ExitCode, Stdio};

use libtest_mimic::{Arguments, Failed, Trial};

/// Why a peer is missing; `None` if all of these programs are there.
pub(crate) fn missing_program(programs: &[&str]) -> Option<String> {
    let found = |program: &&&str| {
        Command::new(program)
            .arg("--help")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok()
    };
    programs.iter().find(|program| !found(program)).map(|name| format!("{name} is not installed"))
}

/// Runs named tests. If the peer is missing they show as ignored; with `ISCSI_REQUIRE_PEERS=1` they fail.
pub(crate) fn run_all(
    peer: &'static str,
    missing: Option<String>,
    tests: Vec<(String, Box<dyn FnOnce() + Send>)>,
) -> ExitCode {
    let required = env::var_os("ISCSI_REQUIRE_PEERS").is_some_and(|value| value == "1");
    let trials = tests.into_iter().map(|(name, test)| {
        let missing = missing.clone();
        let ignored = missing.is_some() && !required;
        Trial::test(name, move || match missing {
            Some(missing) => Err(Failed::from(missing)),
            None => {
                test();
                Ok(())
            }
        })
        .with_kind(peer)
        .with_ignored_flag(ignored)
    });
    libtest_mimic::run(&Arguments::from_args(), trials.collect()).exit_code()
}
