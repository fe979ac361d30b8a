//! The event loop allocates nothing for an I/O.

mod support;

use iscsi_runtime_mio::mio::{Events, Poll, Token};
use iscsi_runtime_mio::{Event, Options, Payload, SessionId, Sessions};
use support::{DEPTH, IOS, LEN, TEST_UNIT_READY, cdb, command, config, portal, target};

struct Loop {
    poll: Poll,
    readiness: Events,
    sessions: Sessions<bool>,
}

impl Loop {
    fn turn(&mut self) {
        self.sessions.turn();
        self.poll.poll(&mut self.readiness, self.sessions.timeout()).unwrap();
        for event in &self.readiness {
            self.sessions.handle(event);
        }
    }

    fn begin(&mut self, session: SessionId, memory: Vec<u8>, write: bool) {
        let memory = if write { Payload::Out(memory) } else { Payload::In(memory) };
        self.sessions.execute(session, &command(&cdb(write)), memory, write);
    }

    /// Waits for so many I/Os and begins another one with the memory of each.
    fn go_on(&mut self, session: SessionId, ios: usize) {
        let mut done = 0;
        while done < ios {
            self.turn();
            while let Some(event) = self.sessions.poll_event() {
                let Event::Executed { tag, result, .. } = event else { panic!("{event:?}") };
                let (completed, memory) = result.unwrap();
                assert!(completed.good().is_ok());
                self.begin(session, memory.into_bytes(), tag);
                done += 1;
            }
        }
    }
}

#[test]
fn sessions_allocate_nothing_for_an_io() {
    let target = target();
    let poll = Poll::new().unwrap();
    let sessions = Sessions::new(poll.registry()).unwrap();
    let mut all = Loop { poll, readiness: Events::with_capacity(64), sessions };
    let (token, options) = (Token(0), &Options::default());
    let session = all.sessions.connect(token, config(), portal(&target), options, false).unwrap();
    loop {
        all.turn();
        match all.sessions.poll_event() {
            Some(Event::Connected { result, .. }) => break result.unwrap(),
            Some(other) => panic!("{other:?}"),
            None => {}
        };
    }
    all.sessions.execute(session, &TEST_UNIT_READY, Payload::None, false);
    while all.sessions.poll_event().is_none() {
        all.turn();
    }
    for n in 0..DEPTH {
        all.begin(session, vec![0; LEN], n % 2 == 1);
    }
    all.go_on(session, IOS);
    let allocated = allocation_counter::measure(|| all.go_on(session, IOS));
    assert_eq!(allocated.count_total, 0, "{allocated:?} for {IOS} I/Os");
}
