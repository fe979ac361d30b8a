//! The program `iscsi-readcapacity16`; `iscsi-readcapacity16 --help` tells what it does.

fn main() -> std::process::ExitCode {
    iscsi_tools::readcapacity16::main()
}
