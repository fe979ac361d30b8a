//! io_uring: logs in, reads the first MiB of a disk at depth 8, prints a checksum, logs out.
//!
//! `cargo run -p iscsi-loops --bin io_uring [-- iscsi://host/target/lun]`
//!
//! There is no `pump` here: plans say which bytes belong where, and the kernel moves them, data straight into the memory of their task.

#[cfg(target_os = "linux")]
mod kernel;
#[cfg(target_os = "linux")]
mod lent;

use iscsi_loops::Failure;

#[cfg(not(target_os = "linux"))]
fn main() -> Result<(), Failure> {
    println!("skipped: this system has no io_uring");
    Ok(())
}

#[cfg(target_os = "linux")]
fn main() -> Result<(), Failure> {
    use std::io::ErrorKind;
    use std::net::{Shutdown, TcpStream};

    use iscsi_core::{Action, ConnectionState, Initiator, InlineInitiator, LostReason};
    use iscsi_loops::{Application, Clock, DEPTH, Peer, connect, entropy};
    use kernel::{Kernel, RECV, SEND};
    use lent::Lent;

    let peer = Peer::new(std::env::args().nth(1).as_deref())?;
    let kernel = match Kernel::new() {
        Ok(kernel) => kernel,
        Err(error)
            if matches!(error.kind(), ErrorKind::PermissionDenied | ErrorKind::Unsupported) =>
        {
            println!("skipped: the kernel refuses io_uring: {error}");
            return Ok(());
        }
        Err(error) => return Err(error.into()),
    };
    let clock = Clock::start();
    let lent = Lent::new(Application::new(peer.url.lun));
    let mut initiator = Box::new(InlineInitiator::<DEPTH>::new());
    initiator.session.configure(peer.config()?)?;
    initiator.session.open(peer.url.portal.clone(), clock.now())?;
    let Initiator { connection, session } = &mut **initiator;
    let mut stream: Option<TcpStream> = None;
    let mut completed: Vec<(usize, i32)> = Vec::new();
    loop {
        let now = clock.now();
        // Facts: what the kernel has done, and the time.
        for (operation, result) in completed {
            match (operation, usize::try_from(result)) {
                (SEND, Ok(n)) => connection.transmitted(n, session),
                (RECV, Ok(0)) => connection.received_eof(session, now),
                (RECV, Ok(n)) => lent.received(n, connection, session, now),
                _ if -result == libc::EINTR => {}
                _ => connection.closed(LostReason::Transport, session, now),
            }
        }
        if !kernel.is_under_way(RECV) {
            lent.take(connection, session, now);
        }
        connection.handle_timeout(session, now);

        // Answers and requests. A task that ends with its connection may still be read into: its end waits for the kernel.
        if connection.state() != ConnectionState::Closed || kernel.is_idle() {
            lent.application.take_events(session)?;
            if lent.application.is_done() {
                println!("{}: {}", peer.url, lent.application.report());
                return Ok(());
            }
        }
        if kernel.is_idle() {
            while let Some(action) = session.poll_action() {
                stream = None;
                lent.forget();
                if action == Action::Connect {
                    match connect(session.portal().unwrap_or(&peer.url.portal)) {
                        Ok(tcp) => {
                            stream = Some(tcp);
                            connection.opened(session, entropy()?, now);
                        }
                        Err(_) => session.connect_failed(now),
                    }
                }
            }
        }
        lent.application.submit(session, now)?;

        // Operations, and the end of those whose connection has ended.
        if let Some(stream) = &stream {
            lent.send(kernel, stream, connection, session, now)?;
            lent.recv(kernel, stream, connection, session)?;
            if connection.state() == ConnectionState::Closed {
                let _ = stream.shutdown(Shutdown::Both);
            }
        }
        let wants = connection.wants(session);
        let wait = !wants.again && !kernel.is_idle();
        let timeout = wants.deadline.map(|at| at.saturating_since(clock.now()));
        completed = kernel.wait(wait, timeout)?;
    }
}
