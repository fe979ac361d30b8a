//! Edge-triggered epoll, without a runtime: logs in, reads the first MiB of a disk at depth 8, prints a checksum, logs out.
//!
//! `cargo run -p iscsi-loops --bin epoll [-- iscsi://host/target/lun]`

use iscsi_loops::Failure;

#[cfg(not(target_os = "linux"))]
fn main() -> Result<(), Failure> {
    println!("skipped: this system has no epoll");
    Ok(())
}

#[cfg(target_os = "linux")]
fn main() -> Result<(), Failure> {
    use std::net::TcpStream;

    use iscsi_core::driver::{NonBlocking, RecvBuf};
    use iscsi_core::{Action, InlineInitiator};
    use iscsi_loops::{Application, Clock, DEPTH, Peer, connect, entropy};
    use rustix::buffer::spare_capacity;
    use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
    use rustix::io::retry_on_intr;

    let peer = Peer::new(std::env::args().nth(1).as_deref())?;
    let clock = Clock::start();
    let mut initiator = Box::new(InlineInitiator::<DEPTH>::new());
    let mut application = Application::new(peer.url.lun);
    let mut scratch = RecvBuf::boxed();
    // Readiness is announced once: `pump` reads until there is nothing more.
    let mut stream: Option<NonBlocking<TcpStream, true>> = None;
    let epoll = epoll::create(CreateFlags::CLOEXEC)?;
    let mut events = Vec::with_capacity(4);

    initiator.session.configure(peer.config()?)?;
    initiator.session.open(peer.url.portal.clone(), clock.now())?;
    loop {
        // What the engine asks for. A target that redirects the login has it connect twice.
        while let Some(action) = initiator.session.poll_action() {
            // Closing a socket takes it out of the epoll; bytes of the old stream mean nothing to the new one.
            stream = None;
            scratch.clear();
            if action != Action::Connect {
                continue;
            }
            let Ok(tcp) = connect(initiator.session.portal().unwrap_or(&peer.url.portal)) else {
                initiator.session.connect_failed(clock.now());
                continue;
            };
            tcp.set_nonblocking(true)?;
            let flags = EventFlags::IN | EventFlags::OUT | EventFlags::ET;
            epoll::add(&epoll, &tcp, EventData::new_u64(0), flags)?;
            stream = Some(NonBlocking(tcp));
            initiator.opened(entropy()?, clock.now());
        }

        application.submit(&mut initiator.session, clock.now())?;
        let wants = match &mut stream {
            // An error of the socket is an event of the session, too, and that one says more.
            Some(tcp) => initiator
                .pump(&mut application, &mut scratch, tcp, clock.now(), 64)
                .unwrap_or_default(),
            None => {
                initiator.handle_timeout(clock.now());
                initiator.wants()
            }
        };
        let told = application.take_events(&mut initiator.session)?;
        if application.is_done() {
            println!("{}: {}", peer.url, application.report());
            return Ok(());
        }
        if told || wants.again {
            continue;
        }

        let wait = wants.deadline.map(|at| at.saturating_since(clock.now()).try_into());
        let wait = wait.transpose()?;
        retry_on_intr(|| epoll::wait(&epoll, spare_capacity(&mut events), wait.as_ref()))?;
        events.clear();
    }
}
