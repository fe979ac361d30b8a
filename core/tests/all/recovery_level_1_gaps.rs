//! ErrorRecoveryLevel 1: which numbers are missing, which bytes belong to them, and what is acknowledged meanwhile (RFC 7143 sections 7.8,
//! 7.9, 11.7 and 11.16).
#![cfg(feature = "testing")]

use iscsi_core::testing::Rig;
use iscsi_core::text::{Digests, Limits};
use iscsi_core::wire::{
    Completion, DataIn, NopInKind, NopOutKind, ScsiCommand, ScsiResponse, ScsiStatus, SnackKind,
    TaskManagementResponseCode as Code, TransferTag,
};
use iscsi_core::{
    Command, DataSn, LostReason, Lun, ProtocolError, SessionState, TargetTransferTag, TaskId,
    TaskManagement, Transfer,
};

use crate::recovery_level_1::exp_stat_sn;

/// A rig at level 1 with data digests.
fn rig() -> Rig {
    ordered(true, true)
}

/// The same, with DataPDUInOrder and DataSequenceInOrder.
fn ordered(pdus: bool, sequences: bool) -> Rig {
    let config = Rig::config()
        .error_recovery_level(1)
        .data_digest(Digests::CRC32C)
        .data_pdu_in_order(pdus)
        .data_sequence_in_order(sequences);
    let limits = Limits {
        error_recovery_level: 1,
        data_digest: Digests::NONE_CRC32C,
        data_pdu_in_order: pdus,
        data_sequence_in_order: sequences,
        ..Limits::DEFAULT
    };
    Rig::logged_in(config, limits)
}

/// A command under way.
fn start(rig: &mut Rig, transfer: Transfer) -> (TaskId, ScsiCommand) {
    let out = vec![0x77; transfer.out_len() as usize];
    let task = rig.submit(&Command::new(Lun::ZERO, &[0x28; 10], transfer), &out);
    rig.run();
    let (command, _) = rig.target.expect_command();
    (task, command)
}

/// The bytes of every read, from this offset.
fn bytes(at: u32, len: u32) -> Vec<u8> {
    (at..at + len).map(|at| (at * 7 % 251) as u8).collect()
}

/// A read under way.
struct Read {
    rig: Rig,
    task: TaskId,
    command: ScsiCommand,
    len: u32,
}

impl Read {
    fn new(len: u32) -> Self {
        Self::on(rig(), len)
    }

    fn on(mut rig: Rig, len: u32) -> Self {
        let (task, command) = start(&mut rig, Transfer::In(len));
        Self { rig, task, command, len }
    }

    /// Data-In with this number and these bytes of the task.
    fn send(&mut self, data_sn: u32, at: u32, len: u32) {
        let data_in = self.rig.target.data_in(&self.command, data_sn, at);
        self.rig.send(data_in, &bytes(at, len));
    }

    /// The same in 512 bytes for each number.
    fn block(&mut self, data_sn: u32) {
        self.send(data_sn, data_sn * 512, 512);
    }

    /// The same with the status.
    fn last(&mut self, data_sn: u32, at: u32, len: u32) -> DataIn {
        let data_in = self.rig.target.last_data_in(&self.command, data_sn, at);
        self.rig.send(data_in, &bytes(at, len));
        data_in
    }

    fn damaged(&mut self, data_sn: u32, at: u32, len: u32) {
        let data_in = self.rig.target.data_in(&self.command, data_sn, at);
        self.rig.target.send_damaged(data_in, &bytes(at, len), 5);
        self.rig.run();
    }

    /// The Data-In that were asked for since the last call: first number and how many.
    fn asked(&mut self) -> Vec<(u32, u32)> {
        let itt = self.command.initiator_task_tag;
        let mut runs = Vec::new();
        while !self.rig.target.inbox.is_empty() {
            match self.rig.target.expect_snack().kind {
                SnackKind::Data { initiator_task_tag, beg_run, run_length } => {
                    assert_eq!(initiator_task_tag, itt);
                    runs.push((beg_run, run_length));
                }
                other => panic!("{other:?}"),
            }
        }
        runs
    }

    /// How many Data-In came again.
    fn recovered(&self) -> u64 {
        self.rig.driver.connection().counters().recovered.data_in
    }

    /// The task has ended well, with every byte in its place.
    fn is_whole(&self) -> bool {
        self.rig.outcome(self.task).is_good()
            && self.rig.memory.read(self.task) == bytes(0, self.len)
    }

    /// The connection ended for the place of a Data-In.
    fn is_out_of_order(&self) -> bool {
        matches!(self.rig.violation(), Some(ProtocolError::DataInOrder { .. }))
    }
}

#[test]
fn a_run_may_come_in_any_order() {
    for order in [[1, 2, 3], [1, 3, 2], [2, 1, 3], [2, 3, 1], [3, 1, 2], [3, 2, 1]] {
        let mut read = Read::new(5 * 512);
        read.block(0);
        read.last(4, 4 * 512, 512);
        assert_eq!(read.asked(), [(1, 3)]);
        for (sent, data_sn) in order.into_iter().enumerate() {
            assert_eq!(read.recovered(), sent as u64, "{order:?}");
            read.block(data_sn);
        }
        assert!(read.is_whole(), "{order:?}");
        assert_eq!(read.asked(), []);
    }
}

/// Two PDUs of a run of three: where the second of them may not be any more, because of the first.
#[test]
fn what_has_come_of_a_run_bounds_the_rest() {
    for (first, (data_sn, at, len)) in [
        (1, (2, 1023, 512)),
        (1, (3, 1023, 512)),
        (2, (1, 512, 513)),
        (2, (3, 1535, 512)),
        (3, (1, 1025, 512)),
        (3, (2, 1025, 512)),
    ] {
        for damaged in [false, true] {
            let mut read = Read::new(4096);
            read.block(0);
            read.send(4, 4 * 512, 100);
            assert_eq!(read.asked(), [(1, 3)]);
            if damaged {
                // Its header says all the same where its data belong. It alone is asked for again.
                read.damaged(first, first * 512, 512);
                assert_eq!(read.asked(), [(first, 1)]);
            } else {
                read.block(first);
            }
            let before = read.rig.memory.read(read.task).to_vec();
            read.send(data_sn, at, len);
            assert!(
                read.is_out_of_order(),
                "{first}, {data_sn} {at} {len}: {:?}",
                read.rig.state()
            );
            assert_eq!(read.rig.memory.read(read.task), before);
        }
    }
}

#[test]
fn a_run_of_which_one_was_damaged_again_becomes_whole() {
    for damaged in [1, 2, 3] {
        let mut read = Read::new(5 * 512);
        read.block(0);
        read.last(4, 4 * 512, 512);
        assert_eq!(read.asked(), [(1, 3)]);
        read.damaged(damaged, damaged * 512, 512);
        assert_eq!(read.asked(), [(damaged, 1)]);
        for data_sn in [1, 2, 3] {
            assert!(read.rig.end(read.task).is_none());
            read.block(data_sn);
        }
        assert!(read.is_whole());
    }
}

/// An empty Data-In has no place: it says nothing about that of its neighbours.
#[test]
fn an_empty_pdu_of_a_run_bounds_nothing() {
    let run = || {
        let mut read = Read::new(4096);
        read.block(0);
        read.send(4, 4 * 512, 100);
        assert_eq!(read.asked(), [(1, 3)]);
        read
    };
    // The first and the last of a run, wherever they say they are.
    for (empty, (data_sn, at, len)) in [(1, (2, 0, 512)), (3, (2, 1024, 1025))] {
        for place in [0, 512, 2048, 4096] {
            let mut read = run();
            read.send(empty, place, 0);
            assert_eq!((read.rig.state(), read.recovered()), (SessionState::LoggedIn, 1));
            read.send(data_sn, at, len);
            assert!(read.is_out_of_order(), "{empty} at {place}");
            let mut read = run();
            read.send(empty, place, 0);
            read.block(data_sn);
            assert_eq!((read.rig.state(), read.recovered()), (SessionState::LoggedIn, 2));
        }
    }
    // Between two others it would leave both of them all of the bytes: it has to come again.
    let mut read = run();
    read.send(2, 1024, 0);
    assert_eq!((read.rig.state(), read.recovered()), (SessionState::LoggedIn, 0));
    read.block(3);
    read.send(2, 1024, 0);
    read.send(1, 512, 1024);
    assert_eq!((read.rig.state(), read.recovered()), (SessionState::LoggedIn, 3));
    assert_eq!(read.rig.memory.read(read.task)[..2048], bytes(0, 2048));
}

/// With no room for one more run nothing is placed that would divide one; what comes at its ends is taken.
#[test]
fn a_full_list_takes_the_ends_of_a_run() {
    let mut read = Read::new(100);
    read.send(4, 4, 1);
    for n in 1..32 {
        read.send(4 + 2 * n, 4 + 2 * n, 1);
    }
    assert_eq!(read.asked().len(), 32);
    for in_the_middle in [1, 2] {
        read.send(in_the_middle, in_the_middle, 1);
        assert_eq!(read.rig.memory.read(read.task)[..4], [0xee; 4]);
    }
    assert_eq!(read.recovered(), 0);
    for data_sn in [0, 3, 2, 1] {
        read.send(data_sn, data_sn, 1);
    }
    assert_eq!(read.recovered(), 4);
    for n in 1..32 {
        read.send(3 + 2 * n, 3 + 2 * n, 1);
    }
    read.last(67, 67, 33);
    assert!(read.is_whole());
    assert_eq!(read.asked(), []);
}

#[test]
fn runs_that_do_not_touch_are_asked_for_one_by_one() {
    // Statuses.
    let mut rig = rig();
    let commands: Vec<_> = (0..6).map(|_| start(&mut rig, Transfer::None).1).collect();
    let responses: Vec<ScsiResponse> =
        commands.iter().map(|command| rig.target.response(command, Completion::GOOD)).collect();
    for n in [1, 4] {
        rig.target.send(responses[n], &[]);
    }
    rig.run();
    for (from, run_length) in [(0, 1), (2, 2)] {
        let kind = SnackKind::Status { beg_run: responses[from].stat_sn, run_length };
        assert_eq!(rig.target.expect_snack().kind, kind);
    }
    for n in [0, 2, 3, 5] {
        rig.send(responses[n], &[]);
    }
    assert_eq!(rig.told.len(), 6);
    // Data.
    let mut read = Read::new(6 * 512);
    for data_sn in [1, 4] {
        let data_in = read.rig.target.data_in(&read.command, data_sn, data_sn * 512);
        read.rig.target.send(data_in, &bytes(data_sn * 512, 512));
    }
    read.rig.run();
    assert_eq!(read.asked(), [(0, 1), (2, 2)]);
    for data_sn in [2, 0, 3] {
        read.block(data_sn);
    }
    read.last(5, 5 * 512, 512);
    assert!(read.is_whole());
    assert_eq!(read.asked(), []);
}

#[test]
fn runs_that_touch_are_asked_for_at_once() {
    let mut read = Read::new(4 * 512);
    for data_sn in [0, 1, 2] {
        let data_in = read.rig.target.data_in(&read.command, data_sn, data_sn * 512);
        read.rig.target.send_damaged(data_in, &bytes(data_sn * 512, 512), 77);
    }
    read.rig.run();
    assert_eq!(read.asked(), [(0, 3)]);
    for data_sn in [1, 0, 2] {
        read.block(data_sn);
    }
    read.last(3, 3 * 512, 512);
    assert!(read.is_whole());
}

#[test]
fn data_behind_a_gap_stay_within_the_task() {
    for (at, len) in [(1000, 25), (1024, 1), (512, 513)] {
        let mut read = Read::new(1024);
        read.send(1, at, len);
        let error = ProtocolError::DataInOutOfRange { offset: at, length: len, expected: 1024 };
        assert_eq!(read.rig.violation(), Some(error));
        assert!(read.rig.memory.is_untouched(read.task));
    }
}

/// Each PDU that is missing has at least a byte, as long as there are bytes for all of them.
#[test]
fn no_more_data_in_are_missing_than_bytes() {
    for (data_sn, possible) in [(2, true), (3, false)] {
        let mut read = Read::new(512);
        read.send(0, 0, 510);
        read.send(data_sn, 511, 1);
        let expected = DataSn(1);
        let error = ProtocolError::DataSn { expected, got: DataSn(data_sn) };
        assert_eq!(read.rig.violation(), (!possible).then_some(error));
        if possible {
            assert_eq!(read.asked(), [(1, 1)]);
            read.send(1, 510, 1);
            read.last(3, 512, 0);
            assert!(read.is_whole());
        }
    }
    // The same of what a response counts.
    for (exp_data_sn, possible) in [(3, true), (4, false)] {
        let mut read = Read::new(512);
        read.send(0, 0, 510);
        let completion = Completion { exp_data_sn: DataSn(exp_data_sn), ..Completion::GOOD };
        let response = read.rig.target.response(&read.command, completion);
        read.rig.send(response, &[]);
        let (announced, received) = (DataSn(exp_data_sn), DataSn(1));
        let error = ProtocolError::ExpDataSn { announced, received };
        assert_eq!(read.rig.violation(), (!possible).then_some(error));
        if possible {
            assert_eq!(read.asked(), [(1, 2)]);
            read.send(1, 510, 1);
            read.send(2, 511, 1);
            assert!(read.is_whole());
        }
    }
}

#[test]
fn the_order_of_data_holds_behind_a_gap() {
    for (at, len, in_order) in [(0, 512, false), (511, 512, false), (512, 512, true), (0, 0, true)]
    {
        let mut read = Read::new(4096);
        read.block(0);
        read.send(2, at, len);
        assert_eq!(read.is_out_of_order(), !in_order, "{at} {len}");
        assert_eq!(read.rig.violation().is_none(), in_order);
    }
    // What is behind the gap has an order of its own; an empty PDU does not begin it anew.
    for (at, len) in [(1024, 512), (0, 0)] {
        let mut read = Read::new(4096);
        read.block(0);
        read.send(2, at, len);
        read.send(3, 0, 512);
        assert!(read.is_out_of_order(), "{at} {len}");
    }
    let mut read = Read::new(4096);
    read.block(0);
    read.block(2);
    read.send(3, 1535, 512);
    assert!(read.is_out_of_order());
}

/// Where the data before an empty PDU end is not known: they may reach to the end of the task.
#[test]
fn an_empty_last_data_in_leaves_the_rest_to_the_missing_ones() {
    for at in [0, 512, 1024] {
        let mut read = Read::new(1024);
        read.block(0);
        read.last(2, at, 0);
        assert_eq!(read.asked(), [(1, 1)]);
        read.block(1);
        assert!(read.is_whole(), "{at}");
    }
}

/// Both keys together say that all data of a task come in order.
#[test]
fn one_key_alone_puts_no_order_on_all_data() {
    for (pdus, sequences) in [(true, false), (false, true), (false, false)] {
        let mut read = Read::on(ordered(pdus, sequences), 4 * 512);
        read.send(0, 1024, 512);
        read.send(2, 0, 512);
        assert_eq!(read.asked(), [(1, 1)], "{pdus} {sequences}");
        read.send(1, 512, 512);
        read.last(3, 3 * 512, 512);
        assert!(read.is_whole(), "{pdus} {sequences}");
    }
}

/// A status that waits for its data is taken once, and from whoever brought it first.
#[test]
fn a_status_that_waits_for_data_is_not_taken_again() {
    let mut read = Read::new(1024);
    let last = read.last(1, 512, 512);
    assert_eq!(read.asked(), [(0, 1)]);
    read.rig.send(last, &bytes(512, 512));
    assert!(read.rig.end(read.task).is_none());
    read.block(0);
    assert!(read.is_whole());
    let next = read.rig.target.stat_sn;
    assert_eq!(exp_stat_sn(&mut read.rig), next);

    // The Data-In that brought it was damaged; then a response brings it, and the Data-In comes again.
    let mut read = Read::new(512);
    let last = read.rig.target.last_data_in(&read.command, 0, 0);
    read.rig.target.send_damaged(last, &bytes(0, 512), 0);
    read.rig.run();
    assert_eq!(read.asked(), [(0, 1)]);
    read.rig.target.stat_sn = last.status.unwrap().stat_sn;
    let busy = Completion { status: ScsiStatus::Busy, ..Completion::GOOD };
    let response = read.rig.target.response(&read.command, busy);
    read.rig.send(response, &[]);
    assert!(read.rig.end(read.task).is_none());
    read.rig.send(last, &bytes(0, 512));
    let outcome = read.rig.outcome(read.task);
    assert_eq!((outcome.status(), outcome.data_in), (Some(ScsiStatus::Busy), 512));
    let next = read.rig.target.stat_sn;
    assert_eq!(exp_stat_sn(&mut read.rig), next);
}

fn tag(n: u32) -> TransferTag {
    TransferTag { lun: Lun::ZERO, target_transfer_tag: TargetTransferTag(n) }
}

/// RFC 7143 section 11.16: a DataACK acknowledges all Data-In before BegRun.
#[test]
fn a_data_ack_says_what_is_missing_first() {
    let mut read = Read::new(4096);
    let first = read.rig.target.data_in(&read.command, 0, 0);
    let first = DataIn { acknowledge: Some(tag(9)), is_final: true, ..first };
    read.rig.target.send(first, &bytes(0, 512));
    for data_sn in [2, 4] {
        let data_in = read.rig.target.data_in(&read.command, data_sn, data_sn * 512);
        read.rig.target.send(data_in, &bytes(data_sn * 512, 512));
    }
    read.rig.run();
    let ack = read.rig.target.inbox.pop_back().unwrap().0;
    let iscsi_core::wire::InitiatorPdu::SnackRequest(ack) = ack else { panic!("{ack:?}") };
    assert_eq!(ack.kind, SnackKind::DataAck { transfer: tag(9), beg_run: DataSn(1) });
    assert_eq!(read.asked(), [(1, 1), (3, 1)]);
}

/// What another task misses neither keeps an acknowledgement back nor changes it.
#[test]
fn a_data_ack_speaks_of_its_own_task() {
    let mut read = Read::new(4096);
    let (_, other) = start(&mut read.rig, Transfer::In(1024));
    let missing = read.rig.target.data_in(&other, 1, 512);
    read.rig.send(missing, &bytes(512, 512));
    read.rig.target.expect_snack();
    read.block(0);
    let second = read.rig.target.data_in(&read.command, 1, 512);
    let second = DataIn { acknowledge: Some(tag(9)), is_final: true, ..second };
    read.rig.send(second, &bytes(512, 512));
    let ack = read.rig.target.expect_snack();
    assert_eq!(ack.kind, SnackKind::DataAck { transfer: tag(9), beg_run: DataSn(2) });
    assert!(read.rig.target.inbox.is_empty());
}

#[test]
fn statuses_may_be_as_far_ahead_as_the_window_and_no_further() {
    for (ahead, possible) in [(1024, true), (1025, false)] {
        let mut rig = rig();
        let (task, command) = start(&mut rig, Transfer::None);
        let response = rig.target.response(&command, Completion::GOOD);
        rig.target.stat_sn = response.stat_sn.plus(ahead + 1);
        let stat_sn = response.stat_sn.plus(ahead);
        rig.send(ScsiResponse { stat_sn, ..response }, &[]);
        assert_eq!(rig.violation().is_none(), possible, "{ahead}");
        if possible {
            assert!(rig.outcome(task).is_good());
            let kind = SnackKind::Status { beg_run: response.stat_sn, run_length: ahead };
            assert_eq!(rig.target.expect_snack().kind, kind);
        }
    }
}

#[test]
fn a_lost_answer_to_a_ping_comes_again() {
    let mut rig = rig();
    let (connection, session) = rig.driver.ask();
    connection.ping(session);
    rig.run();
    let NopOutKind::Ping { initiator_task_tag, .. } = rig.target.expect_nop_out().kind else {
        panic!()
    };
    let echo = rig.target.nop_in(NopInKind::PingResponse(initiator_task_tag));
    let update = rig.target.nop_in(NopInKind::Update);
    rig.send(update, &[]);
    let kind = SnackKind::Status { beg_run: echo.stat_sn, run_length: 1 };
    assert_eq!(rig.target.expect_snack().kind, kind);
    assert!(rig.driver.connection().is_pinging());
    rig.send(echo, &[]);
    assert!(!rig.driver.connection().is_pinging());
    let recovered = rig.driver.connection().counters().recovered;
    assert_eq!((recovered.nop_ins, recovered.snacks), (1, 1));
}

#[test]
fn a_damaged_pdu_counts_as_one_that_was_received() {
    let mut read = Read::new(1024);
    let received = |read: &Read| read.rig.driver.connection().counters().pdus_received;
    let before = received(&read);
    read.damaged(0, 0, 512);
    assert_eq!(received(&read), before + 1);
    read.block(0);
    assert_eq!(received(&read), before + 2);
}

/// Bidirectional commands number R2Ts and Data-In together, and no two targets agree on how.
#[test]
fn what_is_missing_of_a_bidirectional_command_is_not_asked_for() {
    let both = Transfer::Both { out: 1024, r#in: 1024 };
    let mut rig = rig();
    let (_, command) = start(&mut rig, both);
    rig.target.inbox.clear();
    let data_in = rig.target.data_in(&command, 0, 0);
    rig.target.send_damaged(data_in, &bytes(0, 512), 0);
    rig.run();
    assert_eq!(rig.violation(), Some(ProtocolError::DataDigest));
    assert!(rig.target.inbox.is_empty());

    let mut rig = ordered(true, true);
    let (_, command) = start(&mut rig, both);
    rig.target.inbox.clear();
    let r2t = rig.target.r2t(&command, 1, 512, 512);
    rig.send(r2t, &[]);
    assert!(matches!(rig.violation(), Some(ProtocolError::R2tSn { .. })));
    assert!(rig.target.inbox.is_empty());
}

/// The status was to come with data that nobody waits for any more.
#[test]
fn a_status_whose_task_has_ended_is_asked_for_at_once() {
    let mut read = Read::new(512);
    let now = read.rig.clock.now();
    let reset = TaskManagement::LogicalUnitReset(Lun::ZERO);
    read.rig.driver.session.task_management(reset, now).unwrap();
    read.rig.driver.touch();
    read.rig.run();
    let request = read.rig.target.expect_task_management();
    // The answer is lost, and data of a command that it has ended come damaged.
    let managed = read.rig.target.managed(&request, Code::FunctionComplete);
    let last = read.rig.target.last_data_in(&read.command, 0, 0);
    read.rig.target.send_damaged(last, &bytes(0, 512), 0);
    read.rig.run();
    let mut kinds: Vec<_> = (0..2).map(|_| read.rig.target.expect_snack().kind).collect();
    kinds.retain(|kind| matches!(kind, SnackKind::Status { .. }));
    assert_eq!(kinds, [SnackKind::Status { beg_run: managed.stat_sn, run_length: 1 }]);
    assert!(read.rig.target.inbox.is_empty());
    read.rig.target.send(managed, &[]);
    let answer = read.rig.target.take_output();
    let now = read.rig.clock.now();
    let Rig { driver, memory, .. } = &mut read.rig;
    let (connection, session) = driver.ask();
    connection.receive(&answer, &mut 1, session, memory, now);
    assert!(connection.wants(session).write);
    read.rig.run();
    assert_eq!(read.rig.lost(read.task), Some(LostReason::TaskManagement));
    let stat_sn = last.status.unwrap().stat_sn;
    let kind = SnackKind::Status { beg_run: stat_sn, run_length: 1 };
    assert_eq!(read.rig.target.expect_snack().kind, kind);
    read.rig.send(last, &bytes(0, 512));
    let next = read.rig.target.stat_sn;
    assert_eq!(exp_stat_sn(&mut read.rig), next);
}
