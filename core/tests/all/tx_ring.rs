//! What was shown does not change, however it leaves.
#![cfg(feature = "testing")]

use iscsi_core::driver::{RecvBuf, Transport, pump};
use iscsi_core::testing::{Disk, Faults, Memory, Rig, Rng, Service};
use iscsi_core::text::{Digests, Limits};
use iscsi_core::wire::{Completion, NopInKind, ScsiCommand, TransferTag};
use iscsi_core::{
    Buffers, Command, Connection, InlineSession, LostReason, Lun, Session, SessionState,
    TargetTransferTag, TaskId, Transfer, Wants,
};

/// What the connection shows, joined.
fn shown(rig: &mut Rig, runs: usize) -> Vec<u8> {
    let memory = rig.memory.clone();
    shown_of(rig, &memory, runs)
}

/// The same, if this is the memory of all tasks.
fn shown_of(rig: &mut Rig, memory: &impl Buffers, runs: usize) -> Vec<u8> {
    let now = rig.clock.now();
    let (connection, session) = rig.driver.ask();
    let mut out: Vec<&[u8]> = vec![&[]; runs];
    let n = connection.poll_transmit(session, memory, &mut out, now);
    out[..n].concat()
}

/// The connection receives what the target has sent, and nothing goes out.
fn receive(rig: &mut Rig) {
    let answer = rig.target.take_output();
    let now = rig.clock.now();
    let (connection, session) = rig.driver.ask();
    let n = connection.receive(&answer, &mut 100, session, &mut Memory::new(), now);
    assert_eq!(n, answer.len());
}

fn transmitted(rig: &mut Rig, n: usize) {
    let (connection, session) = rig.driver.ask();
    connection.transmitted(n, session);
}

/// A rig with reads and writes that were submitted and not sent.
fn waiting(digests: Digests, run: usize) -> Rig {
    let config = Rig::config().header_digest(digests).data_digest(digests).first_burst_length(4096);
    let limits = Limits { max_recv_data_segment_length: 1000, ..Limits::DEFAULT };
    let mut rig = Rig::logged_in(config, limits);
    rig.memory = Memory::scattered(run);
    for n in 0..3u8 {
        rig.submit(&Command::new(Lun::ZERO, &[n; 32], Transfer::In(512)), &[]);
        let data: Vec<u8> = (0..3001).map(|at| (at % 253) as u8 ^ n).collect();
        rig.submit(&Command::new(Lun::ZERO, &[n; 10], Transfer::Out(3001)), &data);
    }
    rig
}

#[test]
fn asking_twice_shows_the_same() {
    for digests in [Digests::NONE, Digests::CRC32C] {
        let mut rig = waiting(digests, 700);
        let first = shown(&mut rig, 200);
        assert!(first.len() > 3 * 3001);
        for _ in 0..3 {
            assert!(shown(&mut rig, 200) == first);
        }
        // Fewer runs show the beginning of the same.
        for runs in 0..20 {
            let some = shown(&mut rig, runs);
            assert!(first.starts_with(&some));
        }
        for n in [1, 46, 1, 48, 5, 500, 1000] {
            let before = shown(&mut rig, 200);
            transmitted(&mut rig, n);
            assert!(shown(&mut rig, 200) == before[n..]);
        }
    }
}

#[test]
fn partial_writes_of_any_size_give_the_same_stream() {
    for digests in [Digests::NONE, Digests::CRC32C] {
        let whole = shown(&mut waiting(digests, usize::MAX), 500);
        for run in [1, 97, usize::MAX] {
            for step in [1, 3, 47, 49, 1000, usize::MAX] {
                let mut rig = waiting(digests, run);
                let mut stream = Vec::new();
                while stream.len() < whole.len() {
                    let now = shown(&mut rig, 7);
                    assert!(!now.is_empty(), "{run} {step}: {} of {}", stream.len(), whole.len());
                    let n = now.len().min(step);
                    stream.extend_from_slice(&now[..n]);
                    transmitted(&mut rig, n);
                }
                assert!(stream == whole, "{run} {step}");
                assert!(shown(&mut rig, 7).is_empty());
            }
        }
    }
}

/// A runtime whose sends complete later: what it was shown is on its way, whatever arrives meanwhile.
#[test]
fn what_was_shown_is_not_taken_back() {
    let config = Rig::config().immediate_data(false).first_burst_length(2048);
    let limits = Limits { max_recv_data_segment_length: 512, ..Limits::DEFAULT };
    let mut rig = Rig::logged_in(config, limits);
    let write = rig.submit(&Command::new(Lun::ZERO, &[0x2a; 10], Transfer::Out(2048)), &[7; 2048]);
    let under_way = shown(&mut rig, 200);
    rig.target.receive(&under_way);
    let (command, _) = rig.target.expect_command();
    // The target answers before the completion of the send is known, and the application asks for more.
    let response = rig.target.response(&command, Completion::GOOD);
    rig.target.send(response, &[]);
    receive(&mut rig);
    let read = rig.read(0, 1);
    rig.target.inbox.clear();
    assert!(shown(&mut rig, 200).starts_with(&under_way));
    transmitted(&mut rig, under_way.len());
    let rest = shown(&mut rig, 200);
    rig.target.receive(&rest);
    transmitted(&mut rig, rest.len());
    let (next, _) = rig.target.expect_command();
    assert_eq!(next.cdb[0], 0x28);
    rig.run();
    assert!(rig.end(write).is_some() && rig.end(read).is_none());
}

/// Sense data of an early response must not change the header of a long CDB that is still shown.
#[test]
fn early_response_with_sense_does_not_change_what_is_shown() {
    let mut rig = Rig::scripted();
    let cdb: Vec<u8> = (0..64).collect();
    rig.submit(&Command::new(Lun::ZERO, &cdb, Transfer::None), &[]);
    let before = shown(&mut rig, 10);
    rig.target.receive(&before);
    let (command, _) = rig.target.expect_command();
    let status = iscsi_core::wire::ScsiStatus::CheckCondition;
    let response = rig.target.response(&command, Completion { status, ..Completion::GOOD });
    rig.target.send(response, &[&[0, 100][..], &[0xff; 100]].concat());
    receive(&mut rig);
    assert!(shown(&mut rig, 10).starts_with(&before));
}

/// Writes of which everything is in the ring, the commands have left, and nothing else is shown.
fn begun(writes: u32, segment: u32, len: u32) -> (Rig, Vec<TaskId>, Vec<ScsiCommand>) {
    let config = Rig::config().immediate_data(false).initial_r2t(false).first_burst_length(len);
    let limits = Limits { initial_r2t: false, first_burst_length: len, ..Limits::DEFAULT };
    let limits = Limits { max_recv_data_segment_length: segment, ..limits };
    let mut rig = Rig::logged_in(config, limits);
    let write = Command::new(Lun::ZERO, &[0x2a; 10], Transfer::Out(len));
    let tasks = (0..writes).map(|_| rig.submit(&write, &vec![7; len as usize])).collect();
    let bytes = shown(&mut rig, 500);
    let headers = &bytes[..writes as usize * 48];
    rig.target.receive(headers);
    transmitted(&mut rig, headers.len());
    let commands = (0..writes).map(|_| rig.target.expect_command().0).collect();
    (rig, tasks, commands)
}

/// The Data-Out that the target has received, by tag.
fn data_outs(rig: &mut Rig) -> Vec<u32> {
    let mut tags = Vec::new();
    while !rig.target.inbox.is_empty() {
        tags.push(rig.target.expect_data_out().0.initiator_task_tag.0);
    }
    tags
}

#[test]
fn nothing_of_a_task_that_has_ended_is_begun() {
    // The second one fills the ring.
    for (segment, len) in [(512, 2048), (65_536, 4 * 65_536)] {
        let (mut rig, tasks, commands) = begun(1, segment, len);
        let response = rig.target.response(&commands[0], Completion::GOOD);
        rig.target.send(response, &[]);
        receive(&mut rig);
        let (connection, session) = rig.driver.ask();
        assert!(!connection.wants(session).write);
        assert!(shown(&mut rig, 500).is_empty());
        rig.run();
        assert_eq!(rig.outcome(tasks[0]).missing, len);
        // There is room again.
        rig.read(0, 1);
        rig.run();
        assert!(rig.target.expect_command().0.read);
    }
}

#[test]
fn the_end_of_one_task_takes_nothing_from_the_others() {
    for ended in 0..2 {
        let (mut rig, _, commands) = begun(2, 512, 2048);
        let response = rig.target.response(&commands[ended], Completion::GOOD);
        rig.target.send(response, &[]);
        receive(&mut rig);
        let bytes = shown(&mut rig, 500);
        rig.target.receive(&bytes);
        transmitted(&mut rig, bytes.len());
        assert_eq!(data_outs(&mut rig), [commands[1 - ended].initiator_task_tag.0; 4]);
    }
}

/// Not even by the end of another task.
#[test]
fn what_was_shown_of_two_tasks_is_not_taken_back() {
    let (mut rig, _, commands) = begun(2, 512, 2048);
    let under_way = shown(&mut rig, 500);
    for command in &commands {
        let response = rig.target.response(command, Completion::GOOD);
        rig.target.send(response, &[]);
        receive(&mut rig);
    }
    assert!(shown(&mut rig, 500) == under_way);
}

#[test]
fn more_commands_than_the_ring_takes_go_out_in_order() {
    let config = Rig::config().build().unwrap();
    let mut rig = Rig::with(config, Limits::DEFAULT, Session::boxed(100), RecvBuf::boxed(), 1);
    rig.target.window = 200;
    rig.log_in();
    for lba in 0..100 {
        rig.read(lba, 1);
    }
    // Not all of them stand in the ring: what becomes urgent goes before the rest.
    assert!(shown(&mut rig, 500).len() < 100 * 48);
    rig.run();
    let lbas: Vec<_> = (0..100).map(|_| rig.target.expect_command().0.cdb[5]).collect();
    assert!(lbas.into_iter().eq(0..100));
}

#[test]
fn a_full_ring_fits_into_the_runs_of_one_send() {
    let config = Rig::config().header_digest(Digests::CRC32C).data_digest(Digests::CRC32C);
    let config = config.build().unwrap();
    let mut rig = Rig::with(config, Limits::DEFAULT, Session::boxed(100), RecvBuf::boxed(), 1);
    rig.target.window = 200;
    rig.log_in();
    for _ in 0..100 {
        rig.submit(&Command::new(Lun::ZERO, &[0x2a; 10], Transfer::Out(5)), &[1; 5]);
    }
    // Header and its digest; data; padding and their digest.
    let whole = shown(&mut rig, 500);
    assert_eq!(whole.len() % (52 + 5 + 7), 0);
    assert!(shown(&mut rig, Connection::MAX_RUNS) == whole);
}

/// Only a PDU with a task's data shows its memory.
#[test]
fn memory_of_a_read_is_free_though_its_command_waits_beside_data() {
    let mut rig = Rig::scripted();
    let (read, write) = (rig.read(0, 1), rig.write(1, &[1; 512]));
    assert!(shown(&mut rig, 10).len() > 512);
    let now = rig.clock.now();
    let (connection, session) = rig.driver.ask();
    connection.revoke(read, session, now).unwrap();
    assert_eq!(rig.state(), SessionState::LoggedIn);
    let (connection, session) = rig.driver.ask();
    connection.revoke(write, session, now).unwrap();
    assert_eq!(rig.state(), SessionState::Failed(LostReason::Aborted));
}

/// Memory of one write. It lends so many bytes and no more, in runs of this length, however few were asked for.
struct Lender {
    bytes: Vec<u8>,
    run: usize,
}

impl Buffers for Lender {
    fn data_in(&mut self, _task: TaskId, _at: u32, _max: u32) -> &mut [u8] {
        &mut []
    }

    fn data_out(&self, _task: TaskId, at: u32, _max: u32) -> &[u8] {
        let rest = self.bytes.get(at as usize..).unwrap_or_default();
        &rest[..rest.len().min(self.run)]
    }
}

#[test]
fn bytes_that_are_not_lent_end_the_connection_when_their_turn_comes() {
    for lent in [4, 512, 1020] {
        let mut rig = Rig::scripted();
        rig.write(0, &[5; 1024]);
        let memory = Lender { bytes: vec![5; lent], run: usize::MAX };
        assert_eq!(shown_of(&mut rig, &memory, 10).len(), 48 + lent);
        transmitted(&mut rig, 48 + lent);
        assert_eq!(rig.state(), SessionState::LoggedIn);
        assert!(shown_of(&mut rig, &memory, 10).is_empty());
        assert_eq!(rig.state(), SessionState::Failed(LostReason::NoBuffer), "{lent}");
    }
}

#[test]
fn runs_that_are_longer_than_asked_for_are_cut() {
    let data: Vec<u8> = (0..3001).map(|at| (at % 253) as u8).collect();
    let rig = || {
        let config = Rig::config().first_burst_length(4096);
        let limits = Limits { max_recv_data_segment_length: 1000, ..Limits::DEFAULT };
        let mut rig = Rig::logged_in(config, limits);
        rig.submit(&Command::new(Lun::ZERO, &[0x2a; 10], Transfer::Out(3001)), &data);
        rig
    };
    let expected = shown(&mut rig(), 200);
    assert!(expected.len() > 3001);
    for run in [300, 600, 999, 1001, 4000] {
        let memory = Lender { bytes: data.clone(), run };
        assert!(shown_of(&mut rig(), &memory, 200) == expected, "{run}");
    }
}

/// What stood in the ring is none of its business any more.
#[test]
fn an_empty_ring_asks_for_no_memory() {
    let mut rig = Rig::serving(Disk::new(16));
    for _ in 0..40 {
        let task = rig.write(0, &[1; 512]);
        rig.run();
        assert!(rig.outcome(task).is_good());
        rig.memory.take(task);
        assert!(shown(&mut rig, 10).is_empty());
        assert_eq!(rig.state(), SessionState::LoggedIn);
    }
}

/// Takes everything and says that it took nothing.
struct Stubborn(u32);

impl Transport for Stubborn {
    type Error = core::convert::Infallible;

    fn send(&mut self, _runs: &[&[u8]]) -> Result<Option<usize>, Self::Error> {
        self.0 += 1;
        assert!(self.0 < 100, "asked again and again");
        Ok(Some(0))
    }

    fn recv(&mut self, _space: [&mut [u8]; 2]) -> Result<Option<usize>, Self::Error> {
        Ok(None)
    }
}

#[test]
fn transport_that_takes_nothing_is_not_asked_for_ever() {
    let mut rig = waiting(Digests::NONE, 1000);
    let now = rig.clock.now();
    let Rig { driver, memory, .. } = &mut rig;
    let (connection, session) = driver.ask();
    let mut scratch = RecvBuf::new([0; 64]);
    let mut transport = Stubborn(0);
    let connection: &mut Connection = connection;
    let wants: Wants =
        pump(connection, session, memory, &mut scratch, &mut transport, now, 10).unwrap();
    assert!(wants.write && !wants.again);
}

/// Every size of scratch, pings that hold the input at every border, and an edge-triggered link.
#[test]
fn held_input_goes_on_by_itself() {
    fn scratch(n: usize) -> Box<RecvBuf> {
        match n {
            0 => Box::new(RecvBuf::new([])),
            1 => Box::new(RecvBuf::new([0; 1])),
            2 => Box::new(RecvBuf::new([0; 47])),
            3 => Box::new(RecvBuf::new([0; 48])),
            4 => Box::new(RecvBuf::new([0; 96])),
            5 => Box::new(RecvBuf::new([0; 144])),
            _ => RecvBuf::boxed(),
        }
    }
    for n in 0..7 {
        for window in [usize::MAX, 48, 60] {
            let session = Box::<InlineSession<4>>::default();
            let config = Rig::config().build().unwrap();
            let mut rig = Rig::with(config, Limits::DEFAULT, session, scratch(n), 1);
            rig.log_in();
            let task = rig.read(0, 1);
            rig.run();
            let (command, _) = rig.target.expect_command();
            rig.link.as_mut().unwrap().to_target.set_faults(Faults { window, ..Faults::NONE });
            for tag in 0..40 {
                let target_transfer_tag = TargetTransferTag(tag);
                let transfer = TransferTag { lun: Lun::ZERO, target_transfer_tag };
                let nop = rig.target.nop_in(NopInKind::Ping(transfer));
                rig.target.send(nop, &[]);
            }
            let last = rig.target.last_data_in(&command, 0, 0);
            rig.target.send(last, &[1; 512]);
            rig.run();
            assert_eq!(rig.target.inbox.len(), 40, "scratch {n}, window {window}");
            assert!(rig.outcome(task).is_good());
        }
    }
}

/// The end of the stream that arrives together with the last bytes is seen.
#[test]
fn end_together_with_the_last_bytes() {
    let mut rig = Rig::scripted();
    let task = rig.read(0, 1);
    rig.run();
    let (command, _) = rig.target.expect_command();
    let last = rig.target.last_data_in(&command, 0, 0);
    rig.target.send(last, &[1; 512]);
    let bytes = rig.target.take_output();
    let now = rig.clock.now();
    let pipe = &mut rig.link.as_mut().unwrap().to_initiator;
    pipe.write(&bytes, now).unwrap();
    pipe.close_at_once(now);
    rig.run();
    assert!(rig.outcome(task).is_good());
    assert_eq!(rig.state(), SessionState::Failed(LostReason::Eof));
}

#[test]
fn same_seed_gives_the_same_log() {
    let log = |seed| {
        let mut rng = Rng::new(seed);
        let mut rig = Rig::new(Rig::config().build().unwrap(), Limits::DEFAULT, seed);
        rig.recorder = Some(iscsi_core::testing::Recorder::new());
        rig.faults = [Faults::network(&mut rng), Faults::network(&mut rng)];
        for faults in &mut rig.faults {
            faults.stall = 0;
        }
        rig.log_in();
        rig.target.service = Some(Service::new(Disk::new(32)));
        let tasks: Vec<TaskId> = (0..4).map(|n| rig.write(n * 4, &[n as u8; 1024])).collect();
        rig.run();
        assert!(tasks.iter().all(|task| rig.outcome(*task).is_good()));
        let recorder = rig.recorder.take().unwrap();
        (recorder.lines().to_vec(), recorder.pcap().to_vec())
    };
    for seed in 0..10 {
        assert!(log(seed) == log(seed), "{seed}");
    }
}
