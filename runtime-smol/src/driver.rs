//! The future that drives a session.

use core::mem;
use core::pin::Pin;
use core::task::{Context, Poll};
use std::io;
use std::sync::Arc;
use std::time::Instant;

use iscsi_core::{Config, Portal, Wants};
use iscsi_runtime::{Engine, Error, Options, Request, Service, Step};

use crate::reactor::{Alarm, AsyncIo};
use crate::shared::{Futures, Shared};

/// Drives a session: a future to be spawned on any executor, beside the [`Handle`](crate::Handle) that it belongs to.
///
/// It is done when the session has ended after the last handle was dropped or [`Handle::shut_down`](crate::Handle::shut_down) was called. How
/// the session ended is told there. Dropped before, it closes the connection, and all that is under way ends with
/// [`Error::ShutDown`] and the memory.
///
/// It needs nothing of the executor: waiting is done by the reactor of `async-io`, which has a thread of its own.
///
/// ```
/// use iscsi_core::{Config, IscsiName, Portal};
/// use iscsi_runtime_smol::{Handle, Options};
///
/// let config = Config::discovery(IscsiName::new("iqn.2001-04.com.example:host")?).build()?;
/// let portal = Portal::parse("127.0.0.1:1")?; // where nobody listens
/// let (handle, driver) = Handle::new(config, portal, &Options::default())?;
/// let executor = smol::LocalExecutor::new();
/// let task = executor.spawn(driver);
/// let error = smol::block_on(executor.run(handle.reconnect())).unwrap_err();
/// assert!(error.to_string().starts_with("cannot connect to 127.0.0.1:1: "));
/// # drop(task);
/// # Ok::<(), Box<dyn core::error::Error>>(())
/// ```
#[derive(Debug)]
#[must_use = "nothing happens unless it is polled"]
pub struct Driver {
    /// `None` once the session has ended.
    service: Option<Service<AsyncIo, Futures>>,
    shared: Arc<Shared>,
    /// Empty between turns; kept for its memory.
    incoming: Vec<Request<Futures>>,
    alarm: Alarm,
    /// Since when answers of few commands are waited for.
    waiting_since: Option<Instant>,
    /// Bytes received by then.
    received: u64,
}

/// What a turn was followed by.
enum Next {
    /// Something else to do.
    Turn,
    /// Nothing yet, but it may come at once: other tasks have their turns, then it is looked for again.
    Look,
    Wait,
    End(Result<(), Error>),
}

impl Driver {
    pub(crate) fn new(config: Config, portal: Portal, options: &Options) -> Result<Self, Error> {
        let reactor = AsyncIo::default();
        let shared = Arc::new(Shared::new(reactor.nudge().clone()));
        let service = Service::new(Engine::new(config, options, reactor)?, portal);
        Ok(Self {
            service: Some(service),
            shared,
            incoming: Vec::new(),
            alarm: Alarm::default(),
            waiting_since: None,
            received: 0,
        })
    }

    pub(crate) const fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    fn turn(&mut self, context: &mut Context<'_>) -> Next {
        let Some(service) = &mut self.service else { return Next::End(Ok(())) };
        let closing = self.shared.inbox.swap(&mut self.incoming);
        for request in self.incoming.drain(..) {
            service.accept(request);
        }
        if closing {
            service.close();
        }
        let turn = service.turn();
        self.shared.inbox.add_notices(&mut service.engine_mut().notices);
        while let Some(unit) = service.take_resized() {
            if let Some(&geometry) = service.geometry(unit) {
                self.shared.resized(unit, geometry);
            }
        }
        if let Some(end) = turn.end {
            return Next::End(end);
        }
        if turn.wants.again {
            return Next::Turn;
        }
        let engine = service.engine();
        if looks(engine, &mut self.waiting_since, &mut self.received) {
            return Next::Look;
        }
        let ready = match poll_sockets(engine, &turn.wants, context) {
            Ok(ready) => ready,
            Err(error) => return Next::End(Err(Error::io(Step::Wait, engine.peer(), error))),
        };
        let due = self.alarm.poll(turn.wants.deadline, engine.now(), context).is_ready();
        if ready || due { Next::Turn } else { Next::Wait }
    }

    /// Answers everybody who is left, then tells the end.
    fn finish(&mut self, result: Result<(), Error>) {
        self.service = None;
        self.incoming.clear();
        self.alarm = Alarm::default();
        self.shared.inbox.end(result);
    }
}

/// Whether to look for the answers of few commands for a moment, instead of registering with the reactor and being woken by it, which costs
/// more. See [`BusyWait`](iscsi_runtime::BusyWait).
fn looks(engine: &Engine<AsyncIo>, since: &mut Option<Instant>, received: &mut u64) -> bool {
    let (busy_wait, under_way) = (engine.busy_wait(), engine.session.in_use());
    let before = mem::replace(received, engine.connection.counters().bytes_received);
    if *received != before
        && let Some(since) = since.take()
    {
        busy_wait.ended(since.elapsed());
    }
    if !busy_wait.concerns(under_way) {
        *since = None;
        return false;
    }
    since.get_or_insert_with(Instant::now).elapsed() < busy_wait.time(under_way)
}

/// Whether a socket is ready. If not, the task is woken when one is.
fn poll_sockets(
    engine: &Engine<AsyncIo>,
    wants: &Wants,
    context: &mut Context<'_>,
) -> io::Result<bool> {
    let mut ready = false;
    let mut look = |poll: Poll<io::Result<()>>| match poll {
        Poll::Ready(result) => {
            ready = true;
            result
        }
        Poll::Pending => Ok(()),
    };
    if let Some(socket) = engine.socket() {
        if wants.read {
            look(socket.poll_readable(context))?;
        }
        if wants.write {
            look(socket.poll_writable(context))?;
        }
    } else {
        for socket in engine.dialing() {
            look(socket.poll_writable(context))?;
        }
    }
    Ok(ready)
}

impl Future for Driver {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let driver = self.get_mut();
        // Before the first look: what comes from now on wakes this task, also while it turns.
        driver.shared.inbox.waker().register(context);
        match driver.turn(context) {
            // First the tasks whose answers came have theirs: what they ask for goes out while the target still works.
            Next::Turn | Next::Look => {
                context.waker().wake_by_ref();
                Poll::Pending
            }
            Next::Wait => Poll::Pending,
            Next::End(result) => {
                driver.finish(result);
                Poll::Ready(())
            }
        }
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.finish(Err(Error::ShutDown));
    }
}
