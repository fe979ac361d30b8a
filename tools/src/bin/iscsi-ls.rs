//! The program `iscsi-ls`; `iscsi-ls --help` tells what it does.

fn main() -> std::process::ExitCode {
    iscsi_tools::ls::main()
}
