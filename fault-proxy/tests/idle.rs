//! What the proxy costs while nothing happens. Alone in its process, whose CPU time is looked at.

use core::time::Duration;
use std::io::{ErrorKind, Read};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::time::Instant;

use iscsi_fault_proxy::{FaultProxy, Way};
use rustix::time::{ClockId, clock_gettime};

/// Reads nothing for 300 ms, which must cost less than a fiftieth of that.
fn wait_idly(client: &mut TcpStream) {
    let cpu_time = || Duration::try_from(clock_gettime(ClockId::ProcessCPUTime)).unwrap();
    let (start, spent) = (Instant::now(), cpu_time());
    client.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    if let Err(error) = client.read(&mut [0]) {
        assert!(matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{error}");
    } else {
        // It has been closed: that time passes otherwise.
        std::thread::sleep(Duration::from_millis(300));
    }
    let (spent, took) = (cpu_time() - spent, start.elapsed());
    assert!(spent * 50 < took, "{spent:?} of {took:?}");
}

#[test]
fn silence_costs_nothing() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let proxy = FaultProxy::to(server.local_addr().unwrap()).start().unwrap();
    let mut client = TcpStream::connect(proxy.addr()).unwrap();
    let (accepted, _) = server.accept().unwrap();
    wait_idly(&mut client);
    proxy.stall_now(Way::ToClient);
    wait_idly(&mut client);
    proxy.resume();
    // One side has said that this was all, the other has not.
    accepted.shutdown(Shutdown::Write).unwrap();
    client.set_read_timeout(None).unwrap();
    assert_eq!(client.read(&mut [0]).unwrap(), 0);
    wait_idly(&mut client);
    drop(accepted);
    wait_idly(&mut client);
    proxy.close_now();
    wait_idly(&mut client);
    assert_eq!(proxy.counters().open, 1);
}
