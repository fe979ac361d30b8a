//! Peers that misbehave: every call ends with the right error, in time.

#[path = "support/scripted.rs"]
mod scripted;

use core::error::Error as _;
use core::net::Ipv4Addr;
use core::time::Duration;
use std::io::{self, Write as _};
use std::net::{Shutdown, TcpListener};
use std::sync::mpsc;
use std::thread;
use std::time::Instant;

use iscsi_core::config::{SecurityStart, Timeouts};
use iscsi_core::wire::{
    AsyncEvent, AsyncMessage, BHS_LEN, Completion, InitiatorPdu, LoginStatus, ScsiResponse,
    ScsiResponseCode,
};
use iscsi_core::{
    Command, Config, Direction, IscsiName, LostReason, Lun, Portal, SessionState, SubmitError,
    Timer, Transfer,
};
use iscsi_runtime_std::{
    Client, Data, Error, Handle, LoginFailure, Options, Payload, Step, TcpOptions,
};
use scripted::{Peer, Server, config};
use socket2::{Domain, Socket, Type};

const TEST_UNIT_READY: Command<'_> = Command::new(Lun::ZERO, &[0; 6], Transfer::None);

/// The error, which must come between `least` and three seconds later.
fn within<T>(least: u64, call: impl FnOnce() -> Result<T, Error>) -> Error {
    let least = Duration::from_millis(least);
    let start = Instant::now();
    let Err(error) = call() else { panic!("no error") };
    let took = start.elapsed();
    assert!(took >= least && took < least + Duration::from_secs(3), "{took:?}: {error}");
    error
}

fn connect(server: &Server) -> Result<Client, Error> {
    Client::connect(config().build().unwrap(), server.portal())
}

/// Answers a command with GOOD.
fn good(peer: &mut Peer) -> io::Result<()> {
    let (_, InitiatorPdu::ScsiCommand(command)) = peer.read()? else {
        return Err(io::Error::other("no command"));
    };
    peer.exp_cmd_sn = command.cmd_sn.next();
    let mut bhs = [0; BHS_LEN];
    ScsiResponse {
        response: ScsiResponseCode::CompletedAtTarget(Completion::GOOD),
        data_segment_length: 0,
        initiator_task_tag: command.initiator_task_tag,
        snack_tag: None,
        stat_sn: peer.next_stat_sn(),
        exp_cmd_sn: peer.exp_cmd_sn,
        max_cmd_sn: peer.max_cmd_sn(),
    }
    .emit(&mut bhs);
    peer.write(&bhs, &[])
}

#[test]
fn a_peer_that_says_nothing() {
    let server = Server::once(|mut peer| peer.be_silent());
    let error = within(300, || connect(&server));
    assert_eq!(error.timer(), Some(Timer::Login), "{error}");
    assert_eq!(error.to_string(), "login timed out");
}

#[test]
fn a_peer_that_closes_at_once() {
    let server = Server::once(|_| Ok(()));
    let error = within(0, || connect(&server));
    match &error {
        Error::Lost(LostReason::Eof) => {}
        // Our login request may have met a closed socket.
        Error::Io(e) => assert_eq!(e.error().kind(), io::ErrorKind::ConnectionReset),
        _ => panic!("{error}"),
    }
}

#[test]
fn a_peer_that_resets() {
    let server = Server::once(|mut peer| {
        peer.read_login()?;
        socket2::SockRef::from(&peer.stream).set_linger(Some(Duration::ZERO))
    });
    let error = within(0, || connect(&server));
    let Error::Io(error) = error else { panic!("{error}") };
    assert_eq!(*error.step(), Step::Transfer);
    assert_eq!(error.peer(), Some(server.address));
    assert_eq!(error.error().kind(), io::ErrorKind::ConnectionReset);
    assert!(error.to_string().starts_with("using the connection with 127.0.0.1:"), "{error}");
}

#[test]
fn a_peer_that_trickles() {
    let server = Server::once(|mut peer| {
        peer.read_login()?;
        for _ in 0..200 {
            peer.stream.write_all(&[0x23])?;
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    });
    let timeouts =
        Timeouts { login: Duration::from_secs(10), ..*config().build().unwrap().timeouts() };
    let config = config().timeouts(timeouts).build().unwrap();
    let error = within(300, || Client::connect(config, server.portal()));
    assert_eq!(error.timer(), Some(Timer::Progress), "{error}");
}

#[test]
fn a_port_where_nobody_listens() {
    let port = {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        listener.local_addr().unwrap().port()
    };
    let portal = Portal::new("localhost", port).unwrap();
    let error = within(0, || Client::connect(config().build().unwrap(), portal.clone()));
    let Error::Connect(refused) = &error else { panic!("{error}") };
    assert_eq!(refused.portal(), &portal);
    assert!(!refused.timed_out() && error.timer().is_none());
    // Every address of the name was tried, and each has its error.
    let v4 = refused.attempts().iter().find(|a| a.address.is_some_and(|a| a.is_ipv4())).unwrap();
    assert_eq!(v4.step, Step::Connect);
    assert_eq!(v4.error.kind(), io::ErrorKind::ConnectionRefused);
    let text = error.to_string();
    assert!(text.contains(&format!("127.0.0.1:{port}: Connection refused")), "{text}");
    assert!(error.source().is_some());
}

#[test]
fn a_name_that_does_not_exist() {
    let portal = Portal::parse("no-such-host.invalid").unwrap();
    let timeouts = Timeouts { connect: Duration::from_secs(10), ..Timeouts::DEFAULT };
    let config = config().timeouts(timeouts).build().unwrap();
    let error = Client::connect(config, portal).unwrap_err();
    let Error::Connect(inner) = &error else { panic!("{error}") };
    assert_eq!(inner.attempts()[0].step, Step::Resolve);
    let text = error.to_string();
    let start = "cannot connect to no-such-host.invalid:3260: looking up the host name: ";
    assert!(text.starts_with(start), "{text}");
}

/// A listener whose queue is full: it answers no SYN.
fn deaf_listener() -> (Socket, Vec<Socket>, Portal) {
    let make = || Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let listener = make();
    let any: core::net::SocketAddr = "127.0.0.1:0".parse().unwrap();
    listener.bind(&any.into()).unwrap();
    listener.listen(0).unwrap();
    let address = listener.local_addr().unwrap();
    // On the loopback interface a connection is made within the call, unless the queue is full and the SYN is dropped.
    let address = address.as_socket().unwrap();
    let mut crowd = Vec::new();
    loop {
        let socket = make();
        match socket.connect_timeout(&address.into(), Duration::from_millis(100)) {
            Ok(()) => crowd.push(socket),
            Err(error) if error.kind() == io::ErrorKind::TimedOut => break,
            Err(error) => panic!("{error}"),
        }
        assert!(crowd.len() < 100, "the queue never fills");
    }
    (listener, crowd, address.into())
}

#[test]
fn an_address_that_does_not_answer() {
    let (_listener, _crowd, portal) = deaf_listener();
    let error = within(300, || Client::connect(config().build().unwrap(), portal.clone()));
    let Error::Connect(inner) = &error else { panic!("{error}") };
    assert!(inner.timed_out());
    assert_eq!(error.timer(), Some(Timer::Connect));
    assert_eq!(error.to_string(), format!("cannot connect to {portal}: {portal}: timed out"));

    let mut options = Options::default();
    options.tcp.attempt_timeout = Some(Duration::from_millis(100));
    let error =
        within(100, || Client::connect_with(config().build().unwrap(), portal.clone(), &options));
    assert_eq!(error.timer(), Some(Timer::Connect), "{error}");
}

#[test]
fn a_source_address_of_the_other_family() {
    let mut options = Options::default();
    options.tcp.source = Some("::1".parse().unwrap());
    let portal = Portal::parse("127.0.0.1:1").unwrap();
    let error = Client::connect_with(config().build().unwrap(), portal, &options).unwrap_err();
    assert!(matches!(error, Error::Connect(_)), "{error}");
    assert_eq!(options.tcp, TcpOptions::clone(&options.tcp));
}

#[test]
fn a_target_that_stops_answering() {
    let server = Server::once(|mut peer| {
        peer.log_in()?;
        peer.be_silent()
    });
    let mut client = connect(&server).unwrap();
    // The command's time, then that of its abort.
    let error = within(600, || client.execute(&TEST_UNIT_READY, Data::None));
    assert!(matches!(error.timer(), Some(Timer::Task | Timer::TaskManagement)), "{error}");
    assert!(matches!(client.state(), SessionState::Failed(_)));
    let again = within(0, || client.execute(&TEST_UNIT_READY, Data::None));
    assert_eq!(again.timer(), Some(Timer::TaskManagement), "the reason, not a mere refusal");
    server.join();
}

#[test]
fn a_ping_that_is_not_answered() {
    let server = Server::once(|mut peer| {
        peer.log_in()?;
        peer.be_silent()
    });
    let mut client = connect(&server).unwrap();
    let error = within(300, || client.ping());
    assert_eq!(error.timer(), Some(Timer::NopOut), "{error}");
}

/// RFC 7143 section 4.3: NOP-Out is not legal there.
#[test]
fn a_discovery_session_has_no_pings() {
    let server = Server::once(|mut peer| {
        peer.log_in()?;
        peer.be_silent()
    });
    let name = IscsiName::new("iqn.2001-04.com.example:host").unwrap();
    let config = Config::discovery(name).security_start(SecurityStart::Skip).build().unwrap();
    let mut client = Client::connect(config, server.portal()).unwrap();
    let error = within(0, || client.ping());
    assert!(matches!(error, Error::Submit(SubmitError::DiscoverySession)), "{error}");
}

#[test]
fn a_logout_that_is_not_answered() {
    let server = Server::once(|mut peer| {
        peer.log_in()?;
        loop {
            peer.read()?;
        }
    });
    let client = connect(&server).unwrap();
    let error = within(300, || client.logout());
    assert_eq!(error.timer(), Some(Timer::Logout), "{error}");
    server.join();
}

#[test]
fn a_target_that_reads_nothing() {
    let server = Server::once(|mut peer| {
        peer.log_in()?;
        thread::sleep(Duration::from_secs(2));
        Ok(())
    });
    let mut client = connect(&server).unwrap();
    let data = vec![0; 256 << 10];
    let write =
        Command::new(Lun::ZERO, &[0x2a, 0, 0, 0, 0, 0, 0, 2, 0, 0], Transfer::Out(256 << 10));
    let mut queue = client.queue();
    while queue.free() > 0 {
        queue.submit(&write, Data::Out(&data)).unwrap();
    }
    let error = within(300, || match queue.wait()? {
        Some(done) => done.result,
        None => unreachable!("commands are under way"),
    });
    assert!(error.timer().is_some(), "{error}");
}

#[test]
fn a_wait_with_a_time_limit_gives_the_command_up_to_no_one() {
    let (release, released) = mpsc::channel();
    let server = Server::once(move |mut peer| {
        peer.log_in()?;
        released.recv().map_err(io::Error::other)?;
        good(&mut peer)?;
        peer.be_silent()
    });
    let mut client = connect(&server).unwrap();
    let mut queue = client.queue();
    let start = Instant::now();
    let limit = Duration::from_millis(50);
    assert!(queue.wait_timeout(limit).unwrap().is_none(), "nothing is under way");
    assert!(start.elapsed() >= limit);
    let task = queue.submit(&TEST_UNIT_READY, Data::None).unwrap();
    assert!(queue.wait_timeout(limit).unwrap().is_none(), "no answer yet");
    assert!(start.elapsed() >= 2 * limit);
    assert_eq!(queue.len(), 1);
    release.send(()).unwrap();
    let done = queue.wait_timeout(Duration::from_secs(10)).unwrap().expect("the answer");
    assert_eq!(done.task, task);
    done.result.unwrap().good().unwrap();
}

#[test]
fn dropping_a_client_does_not_wait() {
    let server = Server::once(|mut peer| {
        peer.log_in()?;
        peer.be_silent()
    });
    let mut client = connect(&server).unwrap();
    let mut memory = [0; 512];
    let mut queue = client.queue();
    let read = Command::new(Lun::ZERO, &[0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0], Transfer::In(512));
    queue.submit(&read, Data::In(&mut memory)).unwrap();
    assert!(queue.poll().is_none());
    let start = Instant::now();
    drop(queue);
    drop(client);
    assert!(start.elapsed() < Duration::from_millis(100));
    server.join();
}

#[test]
fn a_redirect_is_followed() {
    let target = Server::once(|mut peer| {
        peer.log_in()?;
        good(&mut peer)?;
        peer.be_silent()
    });
    let text = format!("TargetAddress={}\0", target.address);
    let first = Server::once(move |mut peer| {
        peer.refuse(LoginStatus::TARGET_MOVED_TEMPORARILY, text.as_bytes())?;
        peer.be_silent()
    });
    let mut client = connect(&first).unwrap();
    assert_eq!(client.peer(), Some(target.address));
    assert_eq!(client.portal(), &first.portal());
    client.execute(&TEST_UNIT_READY, Data::None).unwrap().good().unwrap();
    client.logout().unwrap();
    first.join();
    target.join();
}

#[test]
fn a_refusal_is_told_in_words() {
    for (status, wanted) in [
        (LoginStatus::AUTHORIZATION_FAILURE, "this initiator may not use the target"),
        (LoginStatus::OUT_OF_RESOURCES, "the target refused the login"),
        (LoginStatus::TARGET_REMOVED, "there is no such target here"),
    ] {
        let server = Server::once(move |mut peer| peer.refuse(status, &[]));
        let error = within(0, || connect(&server));
        let Error::Login(failure) = error else { panic!("{error}") };
        assert_eq!(failure.status(), Some(status));
        assert_eq!(failure.to_string(), format!("{wanted}: {status}"));
        assert!(!matches!(failure, LoginFailure::CredentialsRefused(_)));
    }
}

#[test]
fn messages_of_the_target_are_kept() {
    let server = Server::once(|mut peer| {
        peer.log_in()?;
        for code in [0xf0, 0xf1, 0xf2] {
            let mut bhs = [0; BHS_LEN];
            AsyncMessage {
                event: AsyncEvent::Unassigned(code),
                data_segment_length: 0,
                stat_sn: peer.next_stat_sn(),
                exp_cmd_sn: peer.exp_cmd_sn,
                max_cmd_sn: peer.max_cmd_sn(),
            }
            .emit(&mut bhs);
            peer.write(&bhs, &[])?;
            thread::sleep(Duration::from_millis(50));
        }
        good(&mut peer)?;
        peer.be_silent()
    });
    let mut client = connect(&server).unwrap();
    let first = client.idle(Duration::from_secs(5)).unwrap().unwrap();
    assert_eq!((first.event.to_byte(), first.missed), (0xf0, 0));
    client.execute(&TEST_UNIT_READY, Data::None).unwrap();
    let rest: Vec<_> =
        core::iter::from_fn(|| client.take_notice()).map(|n| n.event.to_byte()).collect();
    // Those that came while nobody looked were overtaken by the last.
    assert_eq!(rest.last(), Some(&0xf2));
    client.logout().unwrap();
}

#[test]
fn time_away_is_not_held_against_the_target() {
    let server = Server::once(|mut peer| {
        peer.log_in()?;
        let (_, InitiatorPdu::ScsiCommand(_)) = peer.read()? else { panic!("no command") };
        thread::sleep(Duration::from_millis(100));
        peer.stream.shutdown(Shutdown::Both)
    });
    let mut client = connect(&server).unwrap();
    let mut queue = client.queue();
    queue.submit(&TEST_UNIT_READY, Data::None).unwrap();
    assert!(queue.poll().is_none());
    // Longer than the command may take; the answer came long before.
    thread::sleep(Duration::from_millis(500));
    let done = queue.wait().unwrap().unwrap();
    assert!(matches!(done.result, Err(Error::Lost(LostReason::Eof))), "{:?}", done.result);
}

#[test]
fn a_lost_session_ends_every_ticket() {
    let server = Server::once(|mut peer| {
        peer.log_in()?;
        peer.read()?;
        thread::sleep(Duration::from_millis(50));
        Ok(())
    });
    let handle = Handle::new(connect(&server).unwrap()).unwrap();
    // More than the session takes at once.
    let tickets =
        handle.submit_all((0..100).map(|n| (TEST_UNIT_READY, Payload::Out(vec![n as u8]))));
    for (n, ticket) in tickets.into_iter().enumerate() {
        let failed = ticket.wait().unwrap_err();
        assert!(matches!(failed.error, Error::Lost(LostReason::Eof) | Error::Io(_)), "{failed}");
        assert_eq!(failed.payload.into_bytes(), [n as u8], "the memory comes back");
    }
    assert!(matches!(handle.status().unwrap().state, SessionState::Failed(_)));
    assert!(handle.ping().is_err() && handle.reconnect().is_err());
    assert!(handle.shut_down().is_err());
    assert!(matches!(handle.shut_down(), Err(Error::Lost(_) | Error::Io(_) | Error::Connect(_))));
    let late = handle.execute(&TEST_UNIT_READY, Payload::None).unwrap_err();
    assert!(matches!(late.error, Error::ShutDown), "{late}");
}

#[test]
fn a_shut_down_waits_for_what_is_under_way_and_not_for_ever() {
    let server = Server::once(|mut peer| {
        peer.log_in()?;
        good(&mut peer)?;
        peer.be_silent()
    });
    let handle = Handle::new(connect(&server).unwrap()).unwrap();
    let answered = handle.submit(&TEST_UNIT_READY, Payload::None);
    let ignored = handle.submit(&TEST_UNIT_READY, Payload::None);
    let error = within(300, || handle.shut_down());
    assert_eq!(error.timer(), Some(Timer::TaskManagement), "{error}");
    answered.wait().unwrap().0.good().unwrap();
    let failed = ignored.wait().unwrap_err();
    assert!(failed.error.timer().is_some(), "{failed}");
    server.join();
}

#[test]
fn the_last_handle_logs_out_in_the_background() {
    let server = Server::once(|mut peer| {
        peer.log_in()?;
        good(&mut peer)?;
        peer.be_silent()
    });
    let handle = Handle::new(connect(&server).unwrap()).unwrap();
    let other = handle.clone();
    drop(handle);
    let ticket = other.submit(&TEST_UNIT_READY, Payload::None);
    let start = Instant::now();
    drop(other);
    assert!(start.elapsed() < Duration::from_millis(100));
    ticket.wait().unwrap().0.good().unwrap();
    // The connection ends, or this would wait for 20 s.
    server.join();
    assert!(start.elapsed() < Duration::from_secs(5));
}

#[test]
fn a_panic_on_the_driver_thread_answers_everybody() {
    let server = Server::once(|mut peer| {
        peer.log_in()?;
        peer.be_silent()
    });
    let mut client = connect(&server).unwrap();
    client.set_trace(Some(|direction, bhs| {
        let is_command = bhs[0] & 0x3f == 0x01;
        assert!(direction == Direction::Received || !is_command, "a panic, for the test");
    }));
    let handle = Handle::new(client).unwrap();
    let ticket = handle.submit(&TEST_UNIT_READY, Payload::Out(vec![9]));
    let failed = ticket.wait().unwrap_err();
    assert!(matches!(failed.error, Error::ShutDown));
    assert_eq!(failed.payload.into_bytes(), [9]);
    assert!(matches!(handle.shut_down(), Err(Error::ShutDown)));
    assert!(handle.status().is_err());
    server.join();
}

#[test]
fn a_ticket_can_be_waited_for_in_pieces() {
    let server = Server::once(|mut peer| {
        peer.log_in()?;
        thread::sleep(Duration::from_millis(150));
        good(&mut peer)?;
        peer.be_silent()
    });
    let handle = Handle::new(connect(&server).unwrap()).unwrap();
    let ticket = handle.submit(&TEST_UNIT_READY, Payload::None);
    let ticket = ticket.wait_for(Duration::from_millis(20)).unwrap_err();
    assert!(!ticket.is_done());
    let (completed, _) = ticket.wait_for(Duration::from_secs(5)).unwrap().unwrap();
    completed.good().unwrap();
    handle.shut_down().unwrap();
}
