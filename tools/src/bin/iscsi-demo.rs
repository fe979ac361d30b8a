//! The program `iscsi-demo`; `iscsi-demo --help` tells what it does.

fn main() -> std::process::ExitCode {
    iscsi_tools::demo::main()
}
