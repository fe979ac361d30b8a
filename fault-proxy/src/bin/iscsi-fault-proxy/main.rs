//! `iscsi-fault-proxy`: puts a [`FaultProxy`](iscsi_fault_proxy::FaultProxy) between any two programs.

mod args;

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    // Usage errors end the program here, with code 2.
    let args = args::Args::parse();
    let (listen, to) = (args.listen, args.to);
    let proxy = match args.builder().start() {
        Ok(proxy) => proxy,
        Err(error) => {
            eprintln!(
                "iscsi-fault-proxy: cannot listen on {listen}: {error}; choose another address with --listen"
            );
            return ExitCode::FAILURE;
        }
    };
    let mut out = std::io::stdout();
    // Nobody may be interested any more; connections are broken all the same.
    let _ = writeln!(out, "listening on {}, to {to}", proxy.addr());
    let _ = out.flush();
    loop {
        std::thread::park();
    }
}
