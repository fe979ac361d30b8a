//! The proxy: a listener, and what all its connections share.

use core::fmt;
use core::net::SocketAddr;
use core::time::Duration;
use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, poll};
use socket2::SockRef;

use crate::builder::{Builder, Observer};
use crate::link::{Control, Link, Order};
use crate::log::{Counters, Entry, Event};
use crate::plan::{Plan, Way};

/// How long the server may take to accept.
const CONNECT: Duration = Duration::from_secs(5);

/// A running proxy. Dropping it resets its connections.
///
/// ```
/// use core::time::Duration;
/// use std::io::Read;
/// use std::net::{TcpListener, TcpStream};
/// use iscsi_fault_proxy::{Event, FaultProxy};
///
/// let server = TcpListener::bind("[::1]:0")?;
/// let proxy = FaultProxy::to(server.local_addr()?).start()?;
/// let mut client = TcpStream::connect(proxy.addr())?;
/// assert!(proxy.wait_until(Duration::from_secs(5), |counters| counters.open == 1));
/// assert_eq!(proxy.cut_now(), 1);
/// assert!(client.read(&mut [0]).is_err());
/// assert!(proxy.log().iter().any(|entry| entry.event == Event::Reset { after: 0 }));
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct FaultProxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    waker: UnixStream,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    server: SocketAddr,
    plan: Plan,
    observer: Option<Observer>,
    start: Instant,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    log: Vec<Entry>,
    counters: Counters,
    links: BTreeMap<u64, Arc<Control>>,
    refusing: bool,
    stopping: bool,
}

impl FaultProxy {
    /// A proxy to this address, which is told next what to do.
    pub const fn to(server: SocketAddr) -> Builder {
        Builder::new(server)
    }

    pub(crate) fn start(builder: Builder) -> io::Result<Self> {
        let listener = TcpListener::bind(builder.listen)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let (waker, wake) = UnixStream::pair()?;
        let shared = Arc::new(Shared {
            server: builder.server,
            plan: builder.plan,
            observer: builder.observer,
            start: Instant::now(),
            state: Mutex::default(),
            changed: Condvar::new(),
        });
        let own = shared.clone();
        let thread = thread::Builder::new()
            .name("fault-proxy".into())
            .spawn(move || own.accept(&listener, &wake))?;
        Ok(Self { address, shared, waker, thread: Some(thread) })
    }

    /// Where it listens.
    pub const fn addr(&self) -> SocketAddr {
        self.address
    }

    /// Connections so far, refused ones included.
    pub fn connections(&self) -> u64 {
        self.counters().connections
    }

    /// What was done so far, in numbers.
    pub fn counters(&self) -> Counters {
        self.shared.lock().counters
    }

    /// What was done so far.
    pub fn log(&self) -> Vec<Entry> {
        self.shared.lock().log.clone()
    }

    /// Waits until the counters are as wanted; false if they were not in time.
    pub fn wait_until(&self, time: Duration, mut wanted: impl FnMut(&Counters) -> bool) -> bool {
        let state = self.shared.lock();
        let waiting = |state: &mut State| !wanted(&state.counters);
        let waited = self.shared.changed.wait_timeout_while(state, time, waiting);
        let (_state, result) = waited.unwrap_or_else(PoisonError::into_inner);
        !result.timed_out()
    }

    /// Resets all connections and returns how many, when it is done.
    pub fn cut_now(&self) -> usize {
        self.order(Order::Reset)
    }

    /// Closes all connections in order (FIN both ways) and returns how many. What comes after this call does not pass.
    pub fn close_now(&self) -> usize {
        self.order(Order::Close)
    }

    /// Lets nothing pass one way, on all connections that there are; returns how many. What comes after this call does not pass.
    pub fn stall_now(&self, way: Way) -> usize {
        self.order(Order::Stall(way))
    }

    /// Ends all stalls.
    pub fn resume(&self) {
        self.order(Order::Resume);
    }

    /// From now on new connections are reset at once, or not any more.
    pub fn refuse(&self, refuse: bool) {
        self.shared.lock().refusing = refuse;
    }

    fn order(&self, order: Order) -> usize {
        let links: Vec<_> = self.shared.lock().links.values().cloned().collect();
        let numbers: Vec<_> = links.iter().map(|link| link.order(order)).collect();
        links.iter().zip(numbers).for_each(|(link, number)| link.wait(number));
        links.len()
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        // The thread resets the connections.
        self.shared.lock().stopping = true;
        let _ = self.waker.write(&[0]);
        if let Some(thread) = self.thread.take() {
            // A panic there has been reported.
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for FaultProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FaultProxy")
            .field("address", &self.address)
            .field("server", &self.shared.server)
            .field("counters", &self.counters())
            .finish_non_exhaustive()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, connection: u64, event: Event) {
        let entry = Entry { time: self.start.elapsed(), connection, event };
        let mut state = self.lock();
        state.counters.count(&event);
        state.log.push(entry);
        drop(state);
        self.changed.notify_all();
        if let Some(observer) = &self.observer {
            observer(&entry);
        }
    }

    fn accept(self: &Arc<Self>, listener: &TcpListener, wake: &UnixStream) {
        let mut threads: Vec<JoinHandle<()>> = Vec::new();
        let mut number = 0;
        while !self.lock().stopping {
            match listener.accept() {
                Ok((client, _)) => {
                    threads.retain(|thread| !thread.is_finished());
                    // Without descriptors or threads for it, the client sees a connection that ends.
                    threads.extend(self.spawn(client, number).ok());
                    number += 1;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    let mut fds =
                        [PollFd::new(listener, PollFlags::IN), PollFd::new(wake, PollFlags::IN)];
                    let _ = poll(&mut fds, None);
                }
                // The client has gone already, or there are too many descriptors.
                Err(_) => thread::sleep(Duration::from_millis(10)),
            }
        }
        for link in self.lock().links.values() {
            link.order(Order::Reset);
        }
        for thread in threads {
            let _ = thread.join();
        }
    }

    fn spawn(self: &Arc<Self>, client: TcpStream, number: u64) -> io::Result<JoinHandle<()>> {
        let (control, wake) = Control::new()?;
        let control = Arc::new(control);
        let mut state = self.lock();
        let refusing = state.refusing;
        state.links.insert(number, control.clone());
        drop(state);
        let shared = self.clone();
        let run = move || {
            shared.serve(client, refusing, number, (&control, wake));
            shared.lock().links.remove(&number);
            control.over();
        };
        let thread = thread::Builder::new().name(format!("fault-proxy {number}")).spawn(run);
        if thread.is_err() {
            self.lock().links.remove(&number);
        }
        thread
    }

    /// One connection, from its beginning to its end.
    fn serve(
        &self,
        client: TcpStream,
        refusing: bool,
        number: u64,
        control: (&Control, UnixStream),
    ) {
        let server = match refusing {
            true => Err(ErrorKind::ConnectionRefused.into()),
            false => TcpStream::connect_timeout(&self.server, CONNECT),
        };
        let Ok(server) = server else {
            let _ = SockRef::from(&client).set_linger(Some(Duration::ZERO));
            drop(client);
            return self.tell(number, Event::Refused);
        };
        self.tell(number, Event::Opened);
        let plan = Some(&self.plan).filter(|plan| plan.connections.contains(number));
        let mut tell = |event| self.tell(number, event);
        let link = Link::new([client, server], plan, number, control, &mut tell);
        let [to_server, to_client] = link.map_or([0; 2], Link::run);
        self.tell(number, Event::Ended { to_server, to_client });
    }
}
