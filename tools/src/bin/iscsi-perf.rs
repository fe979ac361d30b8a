//! The program `iscsi-perf`; `iscsi-perf --help` tells what it does.

fn main() -> std::process::ExitCode {
    iscsi_tools::perf::main()
}
