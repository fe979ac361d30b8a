//! The proxy between sockets.

use core::time::Duration;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread;
use std::time::Instant;

use iscsi_fault_proxy::{Builder, Event, Fault, FaultProxy, Way};

const SOON: Duration = Duration::from_secs(10);

/// A listener, and what is to be between it and its clients.
fn server() -> (TcpListener, Builder) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let builder = FaultProxy::to(listener.local_addr().unwrap());
    (listener, builder)
}

/// Both ends of a connection through the proxy.
fn connect(proxy: &FaultProxy, server: &TcpListener) -> [TcpStream; 2] {
    let client = TcpStream::connect(proxy.addr()).unwrap();
    let (accepted, _) = server.accept().unwrap();
    for end in [&client, &accepted] {
        end.set_read_timeout(Some(SOON)).unwrap();
    }
    [client, accepted]
}

fn is_open(end: &mut TcpStream, within: Duration) -> bool {
    end.set_read_timeout(Some(within)).unwrap();
    let error = end.read(&mut [0]).map_err(|error| error.kind());
    matches!(error, Err(ErrorKind::WouldBlock | ErrorKind::TimedOut))
}

fn events(proxy: &FaultProxy) -> Vec<Event> {
    proxy.log().iter().map(|entry| entry.event).collect()
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len as u32).map(|n| (n ^ (n >> 8)) as u8).collect()
}

#[test]
fn megabytes_pass_both_ways_and_half_closes_too() {
    for address in ["127.0.0.1:0", "[::1]:0"] {
        let server = TcpListener::bind(address).unwrap();
        let proxy = FaultProxy::to(server.local_addr().unwrap()).start().unwrap();
        assert_eq!(proxy.addr().ip(), server.local_addr().unwrap().ip());
        let [client, accepted] = connect(&proxy, &server);
        let sent = pattern(5_000_001);
        thread::scope(|scope| {
            for mut end in [&client, &accepted] {
                let sent = &sent;
                scope.spawn(move || {
                    end.write_all(sent).unwrap();
                    end.shutdown(Shutdown::Write).unwrap();
                });
                scope.spawn(move || {
                    let mut received = Vec::new();
                    end.read_to_end(&mut received).unwrap();
                    assert!(received == *sent);
                });
            }
        });
        assert!(proxy.wait_until(SOON, |counters| counters.open == 0 && counters.to_client > 0));
        let ended = Event::Ended { to_server: 5_000_001, to_client: 5_000_001 };
        assert_eq!(events(&proxy), [Event::Opened, ended]);
    }
}

#[test]
fn cuts_come_after_the_same_bytes_for_the_same_seed() {
    let (server, builder) = server();
    let run = |seed| {
        let proxy = builder.clone().seed(seed).cut_after_bytes(1000..100_000).start().unwrap();
        for _ in 0..5 {
            let [mut client, mut accepted] = connect(&proxy, &server);
            let reader = thread::spawn(move || accepted.read_to_end(&mut Vec::new()));
            // It may be cut before all was written.
            let _ = client.write_all(&[1; 200_000]);
            assert_eq!(client.read(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset);
            assert_eq!(reader.join().unwrap().unwrap_err().kind(), ErrorKind::ConnectionReset);
        }
        assert!(proxy.wait_until(SOON, |counters| counters.cuts == 5 && counters.open == 0));
        let cut = |event: &Event| match event {
            Event::Reset { after } => Some(*after),
            _ => None,
        };
        events(&proxy).iter().filter_map(cut).collect::<Vec<_>>()
    };
    let cuts = run(7);
    assert!(cuts.iter().all(|at| (1000..100_000).contains(at)), "{cuts:?}");
    assert!(cuts.windows(2).all(|pair| pair[0] != pair[1]), "{cuts:?}");
    assert_eq!(run(7), cuts);
    assert_ne!(run(8), cuts);
}

#[test]
fn a_close_truncates() {
    let (server, builder) = server();
    let proxy = builder.close_after_bytes(1234..=1234).start().unwrap();
    let [mut client, mut accepted] = connect(&proxy, &server);
    client.write_all(&[1; 5000]).unwrap();
    let mut received = Vec::new();
    accepted.read_to_end(&mut received).unwrap();
    assert_eq!(received, [1; 1234]);
    assert_eq!(client.read(&mut [0]).unwrap(), 0, "a FIN, no RST");
    // What is still sent is swallowed.
    accepted.write_all(&[2; 5000]).unwrap();
    drop((client, accepted));
    assert!(proxy.wait_until(SOON, |counters| counters.to_client == 5000 && counters.open == 0));
}

#[test]
fn one_way_closes_and_the_other_goes_on() {
    for way in [Way::ToServer, Way::ToClient] {
        let (server, builder) = server();
        let proxy = builder.after_bytes(way, 3..=3, Fault::HalfClose).start().unwrap();
        let mut ends = connect(&proxy, &server);
        if way == Way::ToClient {
            ends.reverse();
        }
        let [mut from, mut to] = ends;
        from.write_all(b"and so on").unwrap();
        let mut received = Vec::new();
        to.read_to_end(&mut received).unwrap();
        assert_eq!(received, b"and");
        to.write_all(b"back").unwrap();
        let mut back = [0; 4];
        from.read_exact(&mut back).unwrap();
        assert_eq!(&back, b"back");
        assert_eq!(proxy.counters().half_closes, 1);
    }
}

#[test]
fn a_stall_keeps_the_connection_and_can_end() {
    let (server, builder) = server();
    let proxy = builder.after_bytes(Way::ToClient, 5..=5, Fault::Stall).start().unwrap();
    let [mut client, mut accepted] = connect(&proxy, &server);
    accepted.write_all(b"hello, world").unwrap();
    client.read_exact(&mut [0; 5]).unwrap();
    assert!(is_open(&mut client, Duration::from_millis(100)));
    client.write_all(b"still").unwrap();
    accepted.read_exact(&mut [0; 5]).unwrap();
    proxy.resume();
    client.set_read_timeout(Some(SOON)).unwrap();
    client.read_exact(&mut [0; 7]).unwrap();
    assert_eq!(proxy.stall_now(Way::ToServer), 1);
    assert!(proxy.wait_until(SOON, |counters| counters.stalls == 2));
    client.write_all(b"x").unwrap();
    assert!(is_open(&mut accepted, Duration::from_millis(100)));
    assert_eq!(proxy.cut_now(), 1);
    assert_eq!(client.read(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset);
}

#[test]
fn bytes_are_skipped_and_flipped() {
    let (server, builder) = server();
    let builder = builder.after_bytes(Way::ToServer, 10..=10, Fault::Skip(5));
    let proxy = builder.flip_bits(Way::ToServer, 1000..2000).start().unwrap();
    let [mut client, mut accepted] = connect(&proxy, &server);
    let sent = pattern(50_000);
    client.write_all(&sent).unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    let mut received = Vec::new();
    accepted.read_to_end(&mut received).unwrap();
    assert_eq!(received.len(), sent.len() - 5);
    let differing: Vec<_> = (received[10..].iter().zip(&sent[15..]).zip(15u64..))
        .filter(|((a, b), _)| a != b)
        .map(|((a, b), at)| (at, a ^ b))
        .collect();
    let flipped: Vec<_> = events(&proxy)
        .iter()
        .filter_map(|event| match event {
            Event::Flipped { at, bit, .. } => Some((*at, 1 << bit)),
            _ => None,
        })
        .collect();
    assert_eq!(differing, flipped);
    assert!((25..=50).contains(&flipped.len()));
}

#[test]
fn delays_and_trickles_take_their_time() {
    let (server, builder) = server();
    let builder =
        builder.delay(Way::ToServer, Duration::from_millis(60), Duration::from_millis(80));
    let proxy = builder.trickle(Way::ToClient, 1, Duration::from_millis(20)).start().unwrap();
    let [mut client, mut accepted] = connect(&proxy, &server);
    let start = Instant::now();
    client.write_all(b"hello").unwrap();
    accepted.read_exact(&mut [0; 5]).unwrap();
    assert!(start.elapsed() >= Duration::from_millis(60));
    let start = Instant::now();
    accepted.write_all(b"hello").unwrap();
    let mut received = [0; 5];
    client.read_exact(&mut received).unwrap();
    assert_eq!(&received, b"hello");
    assert!(start.elapsed() >= Duration::from_millis(80));
}

#[test]
fn a_proxy_without_a_server_refuses() {
    let (server, builder) = server();
    let proxy = builder.start().unwrap();
    let refused = |proxy: &FaultProxy| {
        let mut client = TcpStream::connect(proxy.addr()).unwrap();
        assert_eq!(client.read(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset);
    };
    proxy.refuse(true);
    refused(&proxy);
    proxy.refuse(false);
    drop(connect(&proxy, &server));
    drop(server);
    refused(&proxy);
    assert!(proxy.wait_until(SOON, |counters| counters.refused == 2 && counters.open == 0));
    assert_eq!(proxy.connections(), 3);
}

#[test]
fn only_some_connections_are_hit() {
    let (server, builder) = server();
    let proxy = builder.cut_after_bytes(0..=0).only_connections(1..=1).start().unwrap();
    for number in 0..3 {
        let [mut client, mut accepted] = connect(&proxy, &server);
        let sent = client.write_all(b"x").and_then(|()| accepted.read_exact(&mut [0]));
        assert_eq!(sent.is_ok(), number != 1, "{number}");
    }
}

#[test]
fn many_connections_end_with_the_proxy() {
    let (server, builder) = server();
    let proxy = builder.start().unwrap();
    let mut ends: Vec<_> = (0..20).map(|_| connect(&proxy, &server)).collect();
    // A connection whose receiver does not read is no obstacle.
    ends[0][0].set_nonblocking(true).unwrap();
    while ends[0][0].write(&[0; 65_536]).is_ok() {}
    ends[0][0].set_nonblocking(false).unwrap();
    assert!(proxy.wait_until(SOON, |counters| counters.open == 20));
    let start = Instant::now();
    drop(proxy);
    assert!(start.elapsed() < Duration::from_secs(2));
    for [client, _] in &mut ends[1..] {
        assert_eq!(client.read(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset);
    }
}
