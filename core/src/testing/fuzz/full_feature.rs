//! An initiator that is logged in, against whatever the target sends.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::time::Duration;

use super::input::Input;
use crate::config::Recovery;
use crate::driver::RecvBuf;
use crate::testing::{Memory, Rig, Told};
use crate::text::{Digests, Limits};
use crate::wire::Opcode;
use crate::{Command, DiscoveryScope, InlineSession, Lun, TaskId, TaskManagement, Transfer};

/// HeaderDigest; bit 1 is DataDigest.
const HEADER_DIGEST: u8 = 1;
const DATA_DIGEST: u8 = 2;
/// InitialR2T and no ImmediateData, so that data wait for R2Ts.
const SOLICITED: u8 = 4;
/// ErrorRecoveryLevel 1.
const LEVEL_1: u8 = 8;
/// SendTargets, a LOGICAL UNIT RESET and an ABORT TASK wait for their answers.
const ASKING: u8 = 16;
/// So does a Logout Request, once the tasks are done.
const LOGOUT: u8 = 32;
/// Each PDU gets the StatSN that is expected, so that a change of one does not end the run at the next.
const NUMBERED: u8 = 64;
/// The bytes are sent as they are.
const RAW: u8 = 128;

/// The first byte says what is negotiated and under way, see the constants; the second how memory is scattered; then come the target's
/// PDUs, as [`Input::pdu`] reads them, to five commands with the tags 0 to 4 of the first generation.
///
/// A PDU at once is as good as one that is read byte by byte and in between left waiting, no byte is placed outside of its task, and each task has its one end, also if everything comes
/// at once. (What is sent between the PDUs depends on when they come, and what they mean on what was sent.)
///
/// # Panics
/// If it is not so.
pub fn full_feature(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let (how, run) = (input.byte(), usize::from(input.byte()));
    let whole = play(how, run, input.clone(), Pieces::Pdus);
    let bitten = play(how, run, input.clone(), Pieces::Bites);
    assert_eq!(whole.told, bitten.told, "whole PDUs and bites");
    assert!(whole.memory == bitten.memory, "whole PDUs and bites place other data");
    play(how, run, input, Pieces::Everything);
}

/// How the target's bytes arrive.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pieces {
    Everything,
    Pdus,
    /// The engine sees one byte at a time. Every [`BITE`] bytes, beginning with the second byte of the input, everything else has its turn
    /// too: after each byte would take long, and over many inputs it is after each byte of a PDU.
    Bites,
}

/// No divisor of a header's length, so that PDUs in a row are left at different places.
const BITE: usize = 13;

struct Outcome {
    told: Vec<Told>,
    memory: Vec<Vec<u8>>,
}

fn play(how: u8, run: usize, mut input: Input<'_>, pieces: Pieces) -> Outcome {
    let scratch = match pieces {
        Pieces::Bites => Box::new(RecvBuf::new([0; 1])) as Box<RecvBuf>,
        _ => RecvBuf::boxed(),
    };
    let (mut rig, tasks) = scene(how, run, scratch);
    let mut stat_sn = rig.target.stat_sn;
    let mut stream = Vec::new();
    if how & RAW != 0 {
        stream.extend_from_slice(input.rest());
    }
    while let Some(mut pdu) = input.pdu() {
        if how & NUMBERED != 0 && Opcode::of(&pdu.bhs).is_some_and(Opcode::is_target) {
            pdu.bhs[24..28].copy_from_slice(&stat_sn.0.to_be_bytes());
            let takes_number = match pdu.bhs[0] & 0x3f {
                0x25 => pdu.bhs[1] & 1 != 0,
                0x31 => false,
                0x20 => pdu.bhs[16..20] != [0xff; 4],
                _ => true,
            };
            if takes_number {
                stat_sn = stat_sn.next();
            }
        }
        stream.extend(rig.target.framer().frame(&pdu.bhs, pdu.ahs, pdu.data));
    }
    let mut framer = rig.target.framer().clone();
    framer.push(&stream);
    let mut rest = &stream[..];
    let mut at = run;
    while !rest.is_empty() {
        let len = match pieces {
            Pieces::Everything => rest.len(),
            _ => framer.next_bytes().map_or(rest.len(), |pdu| pdu.len()),
        };
        let (mut pdu, later) = rest.split_at(len);
        while !pdu.is_empty() {
            let len = if pieces == Pieces::Bites { BITE - at % BITE } else { pdu.len() };
            let (piece, left) = pdu.split_at(len.min(pdu.len()));
            rig.target.send_raw(piece);
            settle(&mut rig);
            at += piece.len();
            pdu = left;
        }
        rest = later;
    }
    settle(&mut rig);
    let at_once = rig.told.clone();
    // Whatever is left hanging ends by time.
    for _ in 0..4 {
        rig.advance(Duration::from_secs(200));
        settle(&mut rig);
    }
    for task in &tasks {
        let ends = rig.told.iter().filter(|told| told.task() == Some(*task)).count();
        assert_eq!(ends, 1, "{task:?} has {ends} ends: {:?}", rig.told);
    }
    let memory = tasks.iter().map(|task| rig.memory.read(*task).to_vec()).collect();
    Outcome { told: at_once, memory }
}

/// Runs until neither the engine nor its user has anything to do.
fn settle(rig: &mut Rig) {
    for _ in 0..10_000 {
        rig.run();
        let mut taken = false;
        while rig.driver.poll_discovery(&rig.clock).is_some() {
            taken = true;
        }
        while rig.driver.poll_async().is_some() {
            taken = true;
        }
        if !taken {
            return;
        }
        rig.driver.touch();
    }
    panic!("there is no end of answers");
}

/// What [`full_feature`] begins with, from its first two bytes: five commands are sent and nothing is answered.
///
/// # Panics
/// If the login fails.
pub fn full_feature_scene(how: u8, run: usize) -> (Rig, Vec<TaskId>) {
    scene(how, run, RecvBuf::boxed())
}

fn scene(how: u8, run: usize, scratch: Box<RecvBuf>) -> (Rig, Vec<TaskId>) {
    let digest = |bit| if how & bit == 0 { Digests::NONE } else { Digests::CRC32C };
    let level = u8::from(how & LEVEL_1 != 0);
    let config = Rig::config()
        .header_digest(digest(HEADER_DIGEST))
        .data_digest(digest(DATA_DIGEST))
        .initial_r2t(how & SOLICITED != 0)
        .immediate_data(how & SOLICITED == 0)
        .error_recovery_level(level)
        .recovery(Recovery::NEVER);
    let limits = Limits { error_recovery_level: level, first_burst_length: 512, ..Limits::DEFAULT };
    let session = Box::<InlineSession<8>>::default();
    let config = config.build().expect("a configuration");
    let mut rig = Rig::with(config, limits, session, scratch, 1);
    rig.memory = if run == 0 { Memory::new() } else { Memory::scattered(run) };
    rig.log_in();
    rig.refuse = true;
    rig.target.checks = false;
    let transfers = [
        Transfer::In(1000),
        Transfer::In(70_001),
        Transfer::Out(3000),
        Transfer::None,
        Transfer::In(5),
    ];
    let mut tasks = Vec::new();
    for transfer in transfers {
        let out = alloc::vec![0x3c; transfer.out_len() as usize];
        tasks.push(rig.submit(&Command::new(Lun::ZERO, &[0; 6], transfer), &out));
    }
    rig.run();
    let now = rig.clock.now();
    if how & ASKING != 0 {
        let (connection, session) = rig.driver.ask();
        connection
            .send_targets(DiscoveryScope::Session, session, now)
            .expect("nothing is asked yet");
        let reset = TaskManagement::LogicalUnitReset(Lun::ZERO);
        session.task_management(reset, now).expect("nothing is asked yet");
        let _ = session.abort(tasks[4], now);
    }
    if how & LOGOUT != 0 {
        rig.driver.session.logout(now).expect("it is logged in");
    }
    rig.driver.touch();
    rig.run();
    rig.told.clear();
    (rig, tasks)
}
