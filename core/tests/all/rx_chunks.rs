//! However the bytes come in pieces, the same happens; and with digests every flipped bit is noticed.
#![cfg(feature = "testing")]

use iscsi_core::driver::RecvBuf;
use iscsi_core::testing::{Disk, Memory, PduFault, Rig, Rng, Told};
use iscsi_core::text::{Digests, Limits};
use iscsi_core::wire::{
    AsyncEvent, BHS_LEN, Completion, DataInStatus, NopInKind, Opcode, Residual, ScsiCommand,
    ScsiStatus, TargetPdu, TransferTag,
};
use iscsi_core::{
    Command, DataSn, InlineSession, LostReason, Lun, ProtocolError, SessionState,
    TargetTransferTag, TaskId, Transfer,
};

/// Commands under way on a link with or without digests.
struct Scene {
    rig: Rig,
    tasks: Vec<TaskId>,
    commands: Vec<ScsiCommand>,
}

const LARGE: u32 = 100_001;

fn scene(scratch: Box<RecvBuf>, digests: Digests, run: usize) -> Scene {
    scene_in(Memory::scattered(run), scratch, digests)
}

fn scene_in(memory: Memory, scratch: Box<RecvBuf>, digests: Digests) -> Scene {
    let config = Rig::config().header_digest(digests).data_digest(digests).initial_r2t(true);
    let config = config.immediate_data(false).build().unwrap();
    let session = Box::<InlineSession<8>>::default();
    let mut rig = Rig::with(config, Limits::DEFAULT, session, scratch, 1);
    rig.memory = memory;
    rig.log_in();
    let transfers = [
        Transfer::In(1000),
        Transfer::In(LARGE),
        Transfer::Out(3000),
        Transfer::None,
        Transfer::In(5),
    ];
    let mut tasks = Vec::new();
    for transfer in transfers {
        let out = vec![0x3c; transfer.out_len() as usize];
        tasks.push(rig.submit(&Command::new(Lun::ZERO, &[0; 6], transfer), &out));
    }
    rig.run();
    let commands = tasks.iter().map(|_| rig.target.expect_command().0).collect();
    Scene { rig, tasks, commands }
}

/// What the target says: every kind of PDU, with odd lengths and one large data segment.
fn stream(scene: &mut Scene) -> Vec<u8> {
    let Scene { rig, commands, .. } = scene;
    let target = &mut rig.target;
    let data = |len: usize, salt: u8| (0..len).map(|n| n as u8 ^ salt).collect::<Vec<_>>();
    let send = |target: &mut iscsi_core::testing::ScriptedTarget, pdu: TargetPdu, data: &[u8]| {
        target.send(pdu, data);
    };
    let pdu = target.data_in(&commands[0], 0, 0).into();
    send(target, pdu, &data(333, 1));
    let pdu = target.data_in(&commands[1], 0, 0).into();
    send(target, pdu, &data(50_000, 2));
    let transfer = TransferTag { lun: Lun::ZERO, target_transfer_tag: TargetTransferTag(9) };
    let pdu = target.nop_in(NopInKind::Ping(transfer)).into();
    send(target, pdu, &[]);
    let pdu = target.r2t(&commands[2], 0, 0, 2999).into();
    send(target, pdu, &[]);
    let pdu = target.async_message(AsyncEvent::Scsi { lun: Lun::ZERO }).into();
    send(target, pdu, &[0, 3, 0x70, 0, 6]);
    let pdu = target.data_in(&commands[1], 1, 50_000).into();
    send(target, pdu, &data(50_001, 3));
    let check = Completion { status: ScsiStatus::CheckCondition, ..Completion::GOOD };
    let pdu = target.response(&commands[3], check).into();
    send(target, pdu, &[0, 5, 0x72, 1, 2, 3, 4]);
    let mut last = target.last_data_in(&commands[0], 1, 333);
    last.status = Some(DataInStatus { residual: Residual::Underflow(600), ..last.status.unwrap() });
    send(target, last.into(), &data(67, 4));
    let exp_data_sn = DataSn(2);
    let good = Completion { exp_data_sn, ..Completion::GOOD };
    let pdu = target.response(&commands[1], good).into();
    send(target, pdu, &[]);
    let pdu = target.last_data_in(&commands[4], 0, 0).into();
    send(target, pdu, &data(5, 5));
    let pdu = target.nop_in(NopInKind::Update).into();
    send(target, pdu, &[]);
    target.take_output()
}

/// What came of it: events, memory, and the initiator's own PDUs without their ExpStatSN, which depends on when they are made.
type Result = (Vec<Told>, Vec<Vec<u8>>, Vec<Vec<u8>>);

fn play(mut scene: Scene, mut chunk: impl FnMut(usize) -> usize) -> Result {
    let bytes = stream(&mut scene);
    let Scene { rig, tasks, .. } = &mut scene;
    let mut at = 0;
    while at < bytes.len() {
        let len = chunk(bytes.len() - at).min(bytes.len() - at);
        rig.target.send_raw(&bytes[at..at + len]);
        rig.run();
        at += len;
    }
    assert!(rig.link.is_some(), "{:?}", rig.state());
    let memory = tasks.iter().map(|task| rig.memory.read(*task).to_vec()).collect();
    let mut sent = Vec::new();
    while let Some((_, mut pdu)) = rig.target.inbox.pop_front() {
        pdu.bhs[28..32].fill(0);
        sent.push([pdu.bhs.to_vec(), pdu.data].concat());
    }
    (rig.told.clone(), memory, sent)
}

#[test]
fn every_chunking_gives_the_same() {
    for digests in [Digests::NONE, Digests::CRC32C] {
        let whole = play(scene(RecvBuf::boxed(), digests, usize::MAX), |left| left);
        assert_eq!(whole.0.iter().filter(|told| told.task().is_some()).count(), 4);
        assert_eq!(whole.1[1].len(), LARGE as usize);
        for run in [usize::MAX, 97] {
            let scratches: [fn() -> Box<RecvBuf>; 4] = [
                || Box::new(RecvBuf::new([])),
                || Box::new(RecvBuf::new([0; 1])),
                || Box::new(RecvBuf::new([0; 47])),
                || Box::new(RecvBuf::new([0; 16_384])),
            ];
            for scratch in scratches {
                for size in [48, 4096, usize::MAX] {
                    assert!(
                        play(scene(scratch(), digests, run), |_| size) == whole,
                        "chunks of {size}"
                    );
                }
                let mut rng = Rng::from_env(3);
                let random = |left: usize| 1 + rng.below(left.min(20_000) as u64) as usize;
                assert!(play(scene(scratch(), digests, run), random) == whole, "{rng:?}");
            }
        }
    }
}

#[test]
fn what_is_consumed_is_what_would_be_placed() {
    for digests in [Digests::NONE, Digests::CRC32C] {
        let placed = play(scene(RecvBuf::boxed(), digests, usize::MAX), |left| left);
        let scratches: [fn() -> Box<RecvBuf>; 4] = [
            || Box::new(RecvBuf::new([0; 1])),
            || Box::new(RecvBuf::new([0; 47])),
            || Box::new(RecvBuf::new([0; 16_384])),
            || RecvBuf::with_room(RecvBuf::MAX_ROOM),
        ];
        for scratch in scratches {
            for size in [1000, usize::MAX] {
                let scene = scene_in(Memory::consuming(), scratch(), digests);
                assert!(play(scene, |_| size) == placed, "chunks of {size}");
            }
        }
    }
}

#[test]
fn what_is_consumed_needs_a_scratch() {
    let mut scene = scene_in(Memory::consuming(), Box::new(RecvBuf::new([])), Digests::NONE);
    let pdu = scene.rig.target.data_in(&scene.commands[0], 0, 0);
    scene.rig.send(pdu, &[1; 333]);
    assert_eq!(scene.rig.lost(scene.tasks[0]), Some(LostReason::NoBuffer));
}

/// One read is under way, under data digests; the bytes of its Data-In, which were not sent.
fn answered(memory: Memory, len: usize) -> (Rig, TaskId, Vec<u8>) {
    let mut rig = Rig::logged_in(Rig::config().data_digest(Digests::CRC32C), Limits::DEFAULT);
    rig.memory = memory;
    let transfer = Transfer::In(len as u32);
    let task = rig.submit(&Command::new(Lun::ZERO, &[0; 6], transfer), &[]);
    rig.run();
    let (command, _) = rig.target.expect_command();
    let last = rig.target.last_data_in(&command, 0, 0);
    rig.target.send(last, &vec![0x5a; len]);
    let bytes = rig.target.take_output();
    (rig, task, bytes)
}

#[test]
fn damage_in_what_was_consumed_is_noticed() {
    for bit in 0..21 * 8 {
        let (mut rig, task, mut bytes) = answered(Memory::consuming(), 21);
        bytes[BHS_LEN + bit / 8] ^= 0x80 >> (bit % 8);
        rig.target.send_raw(&bytes);
        rig.run();
        assert_eq!(rig.violation(), Some(ProtocolError::DataDigest), "bit {bit}");
        assert!(rig.lost(task).is_some());
    }
}

#[test]
fn the_digest_covers_what_comes_after_its_reader_has_gone() {
    for memory in [Memory::new, Memory::consuming] {
        for damaged in [false, true] {
            let (mut rig, task, mut bytes) = answered(memory(), 8000);
            bytes[BHS_LEN + 6000] ^= u8::from(damaged);
            let (seen, unseen) = bytes.split_at(BHS_LEN + 5000);
            rig.target.send_raw(seen);
            rig.run();
            let now = rig.clock.now();
            let (connection, session) = rig.driver.ask();
            connection.revoke(task, session, now).unwrap();
            rig.memory.take(task);
            rig.target.send_raw(unseen);
            rig.run();
            assert_eq!(rig.violation(), damaged.then_some(ProtocolError::DataDigest));
        }
    }
}

/// Bytes that are due, as far as whole PDUs go and to the byte.
fn due(rig: &Rig) -> (u64, u64) {
    let (connection, session) = (rig.driver.connection(), &rig.driver.session);
    (session.data_in_due(), connection.data_in_due(session))
}

#[test]
fn what_is_due_is_counted_to_the_byte() {
    let Scene { mut rig, commands, tasks } = scene(RecvBuf::boxed(), Digests::NONE, usize::MAX);
    let all = u64::from(1000 + LARGE + 5);
    assert_eq!(due(&rig), (all, all));
    let pdu = rig.target.data_in(&commands[1], 0, 0);
    rig.target.send(pdu, &[1; 50_000]);
    let bytes = rig.target.take_output();
    rig.target.send_raw(&bytes[..BHS_LEN + 40_000]);
    rig.run();
    assert_eq!(due(&rig), (all, all - 40_000), "in the middle of a PDU");
    rig.target.send_raw(&bytes[BHS_LEN + 40_000..]);
    rig.run();
    assert_eq!(due(&rig), (all - 50_000, all - 50_000));
    // A command that ends early owes nothing more.
    let check = Completion { status: ScsiStatus::CheckCondition, ..Completion::GOOD };
    let response = rig.target.response(&commands[0], check);
    rig.send(response, &[0, 5, 0x72, 1, 2, 3, 4]);
    assert!(rig.end(tasks[0]).is_some());
    assert_eq!(due(&rig).0, all - 51_000);
    let now = rig.clock.now();
    rig.link.as_mut().expect("a connection").to_initiator.close(now);
    rig.run();
    assert_eq!(due(&rig), (0, 0));
}

#[test]
fn byte_at_a_time_gives_the_same() {
    let whole = play(scene(RecvBuf::boxed(), Digests::CRC32C, usize::MAX), |left| left);
    for capacity in [0, 16_384] {
        let scratch: Box<RecvBuf> =
            if capacity == 0 { Box::new(RecvBuf::new([])) } else { RecvBuf::boxed() };
        assert!(play(scene(scratch, Digests::CRC32C, usize::MAX), |_| 1) == whole);
    }
}

/// One read of 21 bytes is under way; `pdu` says what the target answers.
fn flipped(bit: Option<usize>, cover: (bool, bool)) -> (Rig, TaskId, usize) {
    let digest = |on| if on { Digests::CRC32C } else { Digests::NONE };
    let config = Rig::config().header_digest(digest(cover.0)).data_digest(digest(cover.1));
    let mut rig = Rig::logged_in(config, Limits::DEFAULT);
    let task = rig.submit(&Command::new(Lun::ZERO, &[0; 6], Transfer::In(21)), &[]);
    rig.run();
    let (command, _) = rig.target.expect_command();
    let last = rig.target.last_data_in(&command, 0, 0);
    rig.target.send(last, &[0x5a; 21]);
    let mut bytes = rig.target.take_output();
    let len = bytes.len();
    if let Some(bit) = bit {
        bytes[bit / 8] ^= 0x80 >> (bit % 8);
    }
    rig.target.send_raw(&bytes);
    rig.run();
    (rig, task, len)
}

#[test]
fn every_flipped_bit_is_noticed() {
    let (rig, task, len) = flipped(None, (true, true));
    assert_eq!(len, BHS_LEN + 4 + 24 + 4);
    assert!(rig.outcome(task).is_good());
    for bit in 0..len * 8 {
        let (rig, task, _) = flipped(Some(bit), (true, true));
        let error = if bit < (BHS_LEN + 4) * 8 {
            ProtocolError::HeaderDigest
        } else {
            ProtocolError::DataDigest
        };
        assert_eq!(rig.violation(), Some(error), "bit {bit}");
        assert!(rig.lost(task).is_some());
    }
}

#[test]
fn one_digest_covers_its_part_only() {
    for bit in BHS_LEN * 8..(BHS_LEN + 28) * 8 {
        let (rig, _, len) = flipped(Some(bit), (false, true));
        assert_eq!(len, BHS_LEN + 28);
        assert_eq!(rig.violation(), Some(ProtocolError::DataDigest), "bit {bit}");
    }
    let (rig, task, _) = flipped(Some((BHS_LEN + 4) * 8), (true, false));
    assert!(rig.outcome(task).is_good());
}

/// What is cut off of a long data segment is received all the same, and is a part of its digest.
#[test]
fn long_sense_in_any_pieces() {
    let sense: Vec<u8> = (0..1000u32).map(|n| n as u8).collect();
    let segment = [&1000u16.to_be_bytes()[..], &sense].concat();
    for digests in [Digests::NONE, Digests::CRC32C] {
        for piece in [1, 100, 255, 256, 257, 304, 5000] {
            let scene = scene(RecvBuf::boxed(), digests, usize::MAX);
            let Scene { mut rig, tasks, commands } = scene;
            let check = Completion { status: ScsiStatus::CheckCondition, ..Completion::GOOD };
            let response = rig.target.response(&commands[3], check);
            rig.target.send(response, &segment);
            for part in rig.target.take_output().chunks(piece) {
                rig.target.send_raw(part);
                rig.run();
            }
            let Some(Told::Done { sense: told, .. }) = rig.end(tasks[3]) else {
                panic!("{piece}: {:?}", rig.state())
            };
            assert_eq!(told[..], sense[..252], "{piece}");
        }
    }
}

#[test]
fn a_header_is_not_believed_before_its_digest() {
    // A length of 2^24 - 1 in a damaged header must not be waited for.
    let mut bit = 5 * 8;
    while bit < 8 * 8 {
        let (rig, _, _) = flipped(Some(bit), (true, true));
        assert_eq!(rig.violation(), Some(ProtocolError::HeaderDigest));
        bit += 1;
    }
}

#[test]
fn f_12_padding_may_be_anything() {
    let (mut rig, task) = {
        let mut rig = Rig::scripted();
        let task = rig.submit(&Command::new(Lun::ZERO, &[0; 6], Transfer::In(5)), &[]);
        rig.run();
        (rig, task)
    };
    let (command, _) = rig.target.expect_command();
    let last = rig.target.last_data_in(&command, 0, 0);
    rig.target.send(last, &[1; 5]);
    let mut bytes = rig.target.take_output();
    let len = bytes.len();
    bytes[len - 3..].fill(0xff);
    rig.target.send_raw(&bytes);
    rig.run();
    assert!(rig.outcome(task).is_good());
}

#[test]
fn f_04_f_07_f_08_f_09_f_18_headers_that_no_target_sends() {
    let header = |opcode: u8, ahs: u8| {
        let mut bhs = [0; BHS_LEN];
        bhs[0] = opcode;
        bhs[1] = 0x80;
        bhs[4] = ahs;
        bhs[16..24].fill(0xff);
        bhs
    };
    let all = (0..0x40).filter(|opcode| Opcode::from_byte(*opcode).is_none_or(|o| !o.is_target()));
    let headers = all.map(|opcode| header(opcode, 0));
    for bhs in headers.chain([header(0x20, 1), header(0x20, 255), [0; BHS_LEN]]) {
        let mut rig = Rig::scripted();
        rig.target.send_raw(&bhs);
        rig.run();
        let found = rig.violation();
        assert!(matches!(found, Some(ProtocolError::Format(_))), "{bhs:02x?}: {found:?}");
    }
}

#[test]
fn f_03_data_where_none_may_be() {
    for opcode in [0x31, 0x22, 0x26] {
        let mut bhs = [0; BHS_LEN];
        bhs[0] = opcode;
        bhs[1] = 0x80;
        bhs[5..8].fill(0xff);
        let mut rig = Rig::scripted();
        rig.target.send_raw(&bhs);
        rig.run();
        assert!(rig.violation().is_some());
    }
}

/// Random bytes, and honest streams with random damage: no panic, no byte outside of a task (the memory checks), and every
/// task has its one end.
#[test]
fn f_19_garbage() {
    let first = Rng::from_env(0).seed();
    for seed in first..first + 600 {
        let mut rng = Rng::new(seed);
        let digests = if seed % 4 == 0 { Digests::CRC32C } else { Digests::NONE };
        let mut scene = scene(RecvBuf::boxed(), digests, 1 + rng.below(5000) as usize);
        let mut bytes = stream(&mut scene);
        for _ in 0..1 + rng.below(6) {
            let at = rng.below(bytes.len() as u64) as usize;
            match rng.below(4) {
                0 => bytes[at] ^= 1 << rng.below(8),
                1 => bytes.truncate(at.max(1)),
                2 => {
                    let len = (rng.below(200) as usize).min(bytes.len() - at);
                    rng.fill(&mut bytes[at..at + len]);
                }
                _ => {
                    let len = (rng.below(200) as usize).min(bytes.len() - at);
                    bytes.drain(at..at + len);
                    if bytes.is_empty() {
                        bytes.push(0);
                    }
                }
            }
        }
        let rig = &mut scene.rig;
        rig.target.checks = false;
        rig.target.send_raw(&bytes);
        rig.run();
        rig.advance(core::time::Duration::from_secs(300));
        assert!(rig.link.is_none(), "seed {seed}: {:?}", rig.state());
        for task in &scene.tasks {
            let ends = rig.told.iter().filter(|told| told.task() == Some(*task)).count();
            assert_eq!(ends, 1, "seed {seed}: {task:?}");
        }
    }
}

/// A read of four Data-In and a response, of which the link drops, repeats or swaps one.
#[test]
fn whole_pdus_that_are_lost_repeated_or_swapped() {
    for fault in [PduFault::Drop, PduFault::Repeat, PduFault::Swap] {
        for number in 0..5 {
            let mut rig = Rig::serving(Disk::new(16));
            let service = rig.target.service.as_mut().unwrap();
            service.segment = 512;
            service.collapse = false;
            let none = iscsi_core::digest::DigestKind::None;
            let pipe = &mut rig.link.as_mut().unwrap().to_initiator;
            pipe.set_pdu_faults(&[(number, fault)], none, none);
            let task = rig.read(2, 4);
            rig.run();
            // Something must follow a PDU that waits for the next one.
            if rig.state() == SessionState::LoggedIn {
                rig.submit(&Command::new(Lun::ZERO, &[0; 6], Transfer::None), &[]);
            }
            rig.advance(core::time::Duration::from_secs(200));
            let told = rig.end(task).unwrap_or_else(|| panic!("{fault:?} {number}: no end"));
            match told {
                Told::Done { outcome, .. } if outcome.is_good() => {
                    assert_eq!(fault, PduFault::Repeat, "{number}");
                    assert_eq!(rig.memory.read(task), &rig.disk().bytes[1024..3072]);
                    assert_eq!(rig.state(), SessionState::LoggedIn);
                }
                _ => assert_ne!(fault, PduFault::Repeat, "{number}: {told:?}"),
            }
        }
    }
}
