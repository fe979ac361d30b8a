//! The program `iscsi-inq`; `iscsi-inq --help` tells what it does.

fn main() -> std::process::ExitCode {
    iscsi_tools::inq::main()
}
