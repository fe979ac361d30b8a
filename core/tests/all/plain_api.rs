//! Nothing of what drives the engine needs generics or closures: here it is a table of function pointers, as a binding for another
//! language would have it, and memory is a trait object.
#![cfg(feature = "testing")]

use iscsi_core::auth::Entropy;
use iscsi_core::testing::{Disk, Memory, Rig, ScriptedTarget, Service};
use iscsi_core::text::{Digests, Limits};
use iscsi_core::{
    Action, Buffers, Command, Config, Connection, Event, InlineConnection, Instant, Lun, OwnBytes,
    Portal, RecvPlan, Session, SessionState, SubmitError, TaskId, Transfer, TransmitRun, Wants,
};

type Memories = dyn Buffers;

/// The calls that a runtime needs.
struct Calls {
    configure: fn(&mut Session, Config) -> Result<(), SubmitError>,
    open: fn(&mut Session, Portal, Instant) -> Result<(), SubmitError>,
    submit: fn(&mut Session, &Command<'_>, Instant) -> Result<TaskId, SubmitError>,
    poll_event: for<'a> fn(&'a mut Session) -> Option<Event<'a>>,
    poll_action: fn(&mut Session) -> Option<Action>,

    opened: fn(&mut Connection, &mut Session, Entropy, Instant),
    recv_space: for<'a> fn(&'a mut Connection, &Session, &'a mut Memories) -> &'a mut [u8],
    recv_plan: fn(&Connection, &Session) -> RecvPlan,
    received: fn(&mut Connection, usize, &mut Session, &mut Memories, Instant),
    receive: fn(&mut Connection, &[u8], &mut usize, &mut Session, &mut Memories, Instant) -> usize,
    go_on: fn(&mut Connection, &mut Session, Instant),
    poll_transmit: for<'a> fn(
        &'a mut Connection,
        &'a mut Session,
        &'a Memories,
        &mut [&'a [u8]],
        Instant,
    ) -> usize,
    transmit_plan:
        fn(&mut Connection, &mut Session, &Memories, &mut [TransmitRun], Instant) -> usize,
    own_bytes: for<'a> fn(&'a Connection, OwnBytes, &'a Session) -> &'a [u8],
    transmitted: fn(&mut Connection, usize, &mut Session),
    handle_timeout: fn(&mut Connection, &mut Session, Instant),
    wants: fn(&Connection, &Session) -> Wants,
}

const CALLS: Calls = Calls {
    configure: Session::configure,
    open: Session::open,
    submit: Session::submit,
    poll_event: Session::poll_event,
    poll_action: Session::poll_action,
    opened: Connection::opened,
    recv_space: Connection::recv_space,
    recv_plan: Connection::recv_plan,
    received: Connection::received,
    receive: Connection::receive,
    go_on: Connection::go_on,
    poll_transmit: Connection::poll_transmit,
    transmit_plan: Connection::transmit_plan,
    own_bytes: Connection::own_bytes,
    transmitted: Connection::transmitted,
    handle_timeout: Connection::handle_timeout,
    wants: Connection::wants,
};

/// Which of the calls that say the same are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Style {
    Slices,
    Plans,
    Scratch,
}

/// What is to be sent, joined.
fn output(
    style: Style,
    connection: &mut Connection,
    session: &mut Session,
    memory: &Memories,
    now: Instant,
) -> Vec<u8> {
    if style == Style::Plans {
        let mut runs = [TransmitRun::default(); 32];
        let n = (CALLS.transmit_plan)(connection, session, memory, &mut runs, now);
        let run = |run: &TransmitRun| match *run {
            TransmitRun::Own(own) => (CALLS.own_bytes)(connection, own, session).to_vec(),
            TransmitRun::Task { .. } => panic!("nothing is written"),
        };
        return runs[..n].iter().flat_map(run).collect();
    }
    let mut runs: [&[u8]; 32] = [&[]; 32];
    let n = (CALLS.poll_transmit)(connection, session, memory, &mut runs, now);
    runs[..n].concat()
}

/// Takes all of `input`.
fn input(
    style: Style,
    mut input: &[u8],
    connection: &mut Connection,
    session: &mut Session,
    memory: &mut Memories,
    now: Instant,
) {
    while !input.is_empty() {
        (CALLS.go_on)(connection, session, now);
        let n = match style {
            Style::Scratch => {
                let mut budget = 100;
                (CALLS.receive)(connection, input, &mut budget, session, memory, now)
            }
            Style::Slices => {
                let space = (CALLS.recv_space)(connection, session, memory);
                let n = space.len().min(input.len());
                space[..n].copy_from_slice(&input[..n]);
                (CALLS.received)(connection, n, session, memory, now);
                n
            }
            Style::Plans => {
                let n = match (CALLS.recv_plan)(connection, session) {
                    RecvPlan::Own { len } => {
                        let n = input.len().min(len as usize);
                        let space = (CALLS.recv_space)(connection, session, memory);
                        space[..n].copy_from_slice(&input[..n]);
                        n
                    }
                    RecvPlan::Task { task, offset, len } => {
                        let run = memory.data_in(task, offset, len.min(input.len() as u32));
                        run.copy_from_slice(&input[..run.len()]);
                        run.len()
                    }
                    plan @ (RecvPlan::Nothing | RecvPlan::Discard { .. }) => panic!("{plan:?}"),
                };
                (CALLS.received)(connection, n, session, memory, now);
                n
            }
        };
        assert_ne!(n, 0, "input stands still");
        input = &input[n..];
    }
}

/// Logs in and reads 40 blocks.
fn drive(style: Style, digests: Digests) {
    let now = Instant::ZERO;
    let config = Rig::config().header_digest(digests).data_digest(digests).build().unwrap();
    let mut target = ScriptedTarget::new(Limits::DEFAULT);
    target.service = Some(Service::new(Disk::new(64)));
    let mut storage = Box::new(InlineConnection::new());
    let connection: &mut Connection = &mut storage;
    let session: &mut Session = &mut Session::boxed(4);
    let mut lent = Memory::new();
    let task = {
        (CALLS.configure)(session, config).unwrap();
        (CALLS.open)(session, Portal::parse("192.0.2.2").unwrap(), now).unwrap();
        // Accepted in every state: it is sent once the session is logged in.
        let read10 = Disk::read10(3, 40);
        let command = Command::new(Lun::ZERO, &read10, Transfer::In(40 * 512));
        (CALLS.submit)(session, &command, now).unwrap()
    };
    lent.lend_in(task, 40 * 512);

    let mut logged_in = false;
    for _ in 0..100 {
        let memory: &mut Memories = &mut lent;
        if (CALLS.poll_action)(session) == Some(Action::Connect) {
            target.connected();
            (CALLS.opened)(connection, session, Entropy::new([1; 64]), now);
        }
        let bytes = output(style, connection, session, memory, now);
        target.receive(&bytes);
        (CALLS.transmitted)(connection, bytes.len(), session);
        let bytes = target.take_output();
        input(style, &bytes, connection, session, memory, now);
        (CALLS.handle_timeout)(connection, session, now);
        while let Some(event) = (CALLS.poll_event)(session) {
            match event {
                Event::StateChanged(state) => logged_in = state == SessionState::LoggedIn,
                Event::TaskDone { task: done, outcome, .. } => {
                    assert!(logged_in && done == task && outcome.is_good(), "{style:?}");
                    assert!(lent.read(task) == &Disk::new(64).bytes[3 * 512..43 * 512]);
                    assert!((CALLS.wants)(connection, session).read);
                    return;
                }
                other => panic!("{style:?}: {other:?}"),
            }
        }
    }
    panic!("{style:?}: no end");
}

#[test]
fn login_and_read_by_function_pointers() {
    for style in [Style::Slices, Style::Plans, Style::Scratch] {
        for digests in [Digests::NONE, Digests::CRC32C] {
            drive(style, digests);
        }
    }
}
