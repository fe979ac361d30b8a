//! The program `iscsi-dd`; `iscsi-dd --help` tells what it does.

fn main() -> std::process::ExitCode {
    iscsi_tools::dd::main()
}
