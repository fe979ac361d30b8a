//! Data-In: where each byte goes, and what ends a read.
#![cfg(feature = "testing")]

use core::time::Duration;

use iscsi_core::config::Timeouts;
use iscsi_core::testing::{Rig, Told};
use iscsi_core::text::Limits;
use iscsi_core::wire::{
    Completion, DataIn, FormatError, Residual, ScsiCommand, ScsiStatus, TransferTag,
};
use iscsi_core::{
    Command, DataSn, InitiatorTaskTag, LostReason, Lun, ProtocolError, SessionState,
    TargetTransferTag, TaskId, Transfer,
};

fn bytes(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at % 251) as u8).collect()
}

/// A rig with one READ of `blocks` under way.
fn reading(blocks: u16) -> (Rig, TaskId, ScsiCommand) {
    let mut rig = Rig::scripted();
    let task = rig.read(0, blocks);
    rig.run();
    let (command, data) = rig.target.expect_command();
    assert!(data.is_empty());
    (rig, task, command)
}

/// The session ended for `error`, and the task with it; nothing was placed.
fn refused(rig: &Rig, task: TaskId, error: ProtocolError) {
    assert_eq!(rig.violation(), Some(error));
    assert_eq!(rig.lost(task), Some(LostReason::Protocol(error)));
    assert!(rig.memory.is_untouched(task), "a byte was placed");
    assert!(rig.link.is_none(), "the connection is open");
}

#[test]
fn read_command_has_every_field() {
    let (rig, _, command) = reading(4);
    assert!(command.is_final && command.read && !command.write && !command.immediate);
    assert_eq!(command.expected_data_transfer_length, 2048);
    assert_eq!(command.cdb, [0x28, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(command.lun, Lun::ZERO);
    assert_eq!(command.exp_stat_sn, rig.target.stat_sn);
    assert!(!command.initiator_task_tag.is_reserved());
}

#[test]
fn d_01_many_data_in_then_a_response() {
    let (mut rig, task, command) = reading(3);
    let data = bytes(1536);
    for (data_sn, part) in data.chunks(512).enumerate() {
        let data_in = rig.target.data_in(&command, data_sn as u32, data_sn as u32 * 512);
        rig.send(data_in, part);
        assert!(rig.end(task).is_none());
    }
    let completion = Completion { exp_data_sn: DataSn(3), ..Completion::GOOD };
    let response = rig.target.response(&command, completion);
    rig.send(response, &[]);
    let outcome = rig.outcome(task);
    assert!(outcome.is_good());
    assert_eq!((outcome.data_in, outcome.missing), (1536, 0));
    assert_eq!(rig.memory.read(task), data);
    assert_eq!(rig.told.len(), 1);
}

#[test]
fn d_02_status_in_the_last_data_in() {
    let (mut rig, task, command) = reading(1);
    let data_in = rig.target.last_data_in(&command, 0, 0);
    rig.send(data_in, &bytes(512));
    assert!(rig.outcome(task).is_good());
    assert_eq!(rig.memory.read(task), bytes(512));
    // The next request acknowledges the status (S-01).
    rig.read(0, 1);
    rig.run();
    let (next, _) = rig.target.expect_command();
    assert_eq!(next.exp_stat_sn, command.exp_stat_sn.next());
    assert_eq!(next.cmd_sn, command.cmd_sn.next());
}

#[test]
fn d_03_status_without_final() {
    let (mut rig, task, command) = reading(1);
    let mut data_in = rig.target.last_data_in(&command, 0, 0);
    data_in.is_final = false;
    rig.send(data_in, &bytes(512));
    refused(&rig, task, ProtocolError::Format(FormatError::StatusWithoutFinal));
}

#[test]
fn d_04_check_condition_in_data_in() {
    for status in [ScsiStatus::CheckCondition, ScsiStatus::Busy, ScsiStatus::TaskSetFull] {
        let (mut rig, task, command) = reading(1);
        let mut data_in = rig.target.last_data_in(&command, 0, 0);
        data_in.status.as_mut().unwrap().status = status;
        rig.send(data_in, &bytes(512));
        let error = FormatError::StatusNotForDataIn(status.to_byte());
        refused(&rig, task, ProtocolError::Format(error));
    }
}

#[test]
fn d_05_condition_met_completes() {
    let (mut rig, task, command) = reading(1);
    let mut data_in = rig.target.last_data_in(&command, 0, 0);
    data_in.status.as_mut().unwrap().status = ScsiStatus::ConditionMet;
    rig.send(data_in, &bytes(512));
    assert_eq!(rig.outcome(task).status(), Some(ScsiStatus::ConditionMet));
}

#[test]
fn d_06_data_in_beyond_the_task() {
    for (offset, length) in [(0, 513), (1, 512), (512, 1), (511, 2), (0x7fff_0000, 4)] {
        let (mut rig, task, command) = reading(1);
        let data_in = rig.target.data_in(&command, 0, offset);
        rig.send(data_in, &bytes(length as usize));
        let error = ProtocolError::DataInOutOfRange { offset, length, expected: 512 };
        refused(&rig, task, error);
    }
}

#[test]
fn d_07_data_in_whose_range_wraps() {
    let (mut rig, task, command) = reading(1);
    let data_in = rig.target.data_in(&command, 0, 0xffff_ff00);
    rig.send(data_in, &bytes(512));
    let error = FormatError::RangeWraps { offset: 0xffff_ff00, length: 512 };
    refused(&rig, task, ProtocolError::Format(error));
}

#[test]
fn d_08_data_in_for_an_unknown_task() {
    let (mut rig, task, command) = reading(1);
    for tag in [command.initiator_task_tag.0 ^ 1, 0, 0xffff_fffe, 0x8000_0000] {
        let (mut rig, task, command) = reading(1);
        let itt = InitiatorTaskTag(tag);
        assert_ne!(itt, command.initiator_task_tag);
        let data_in = DataIn { initiator_task_tag: itt, ..rig.target.data_in(&command, 0, 0) };
        rig.send(data_in, &bytes(512));
        refused(&rig, task, ProtocolError::UnknownTask(itt));
    }
    let reserved = DataIn {
        initiator_task_tag: InitiatorTaskTag::RESERVED,
        ..rig.target.data_in(&command, 0, 0)
    };
    rig.send(reserved, &bytes(512));
    refused(&rig, task, ProtocolError::Format(FormatError::ReservedInitiatorTaskTag));
}

#[test]
fn d_09_data_in_for_a_task_that_reads_nothing() {
    for (transfer, len) in [(Transfer::None, 4), (Transfer::Out(512), 4), (Transfer::Out(512), 0)] {
        let mut rig = Rig::scripted();
        let out = vec![0x77; transfer.out_len() as usize];
        let task = rig.submit(&Command::new(Lun::ZERO, &[0; 6], transfer), &out);
        rig.run();
        let (command, _) = rig.target.expect_command();
        let data_in = rig.target.data_in(&command, 0, 0);
        rig.send(data_in, &bytes(len));
        let error = ProtocolError::DataInNotExpected(command.initiator_task_tag);
        refused(&rig, task, error);
    }
}

/// RFC 7143 section 11.7.3: a bidirectional command has its status in a SCSI Response.
#[test]
fn d_09_status_in_a_data_in_of_a_bidirectional_command() {
    let mut rig = Rig::scripted();
    let both = Transfer::Both { out: 512, r#in: 512 };
    let task = rig.submit(&Command::new(Lun::ZERO, &[0; 6], both), &[0x77; 512]);
    rig.run();
    let (command, _) = rig.target.expect_command();
    let last = rig.target.last_data_in(&command, 0, 0);
    rig.send(last, &bytes(512));
    refused(&rig, task, ProtocolError::DataInNotExpected(command.initiator_task_tag));
}

#[test]
fn d_10_d_23_data_in_for_a_task_that_has_ended() {
    let (mut rig, task, command) = reading(1);
    let data_in = rig.target.last_data_in(&command, 0, 0);
    rig.send(data_in, &bytes(512));
    assert!(rig.outcome(task).is_good());
    let before = rig.memory.read(task).to_vec();
    let late = rig.target.data_in(&command, 1, 0);
    rig.send(late, &[0; 512]);
    assert_eq!(rig.violation(), Some(ProtocolError::UnknownTask(command.initiator_task_tag)));
    assert_eq!(rig.memory.read(task), before);
}

#[test]
fn d_11_empty_data_in() {
    let (mut rig, task, command) = reading(1);
    let empty = rig.target.data_in(&command, 0, 0);
    rig.send(empty, &[]);
    let whole = rig.target.data_in(&command, 1, 0);
    rig.send(whole, &bytes(512));
    let last = rig.target.last_data_in(&command, 2, 512);
    rig.send(last, &[]);
    assert!(rig.outcome(task).is_good());
    assert_eq!(rig.memory.read(task), bytes(512));
}

/// It has no place that could be out of order, and does not move that of the others.
#[test]
fn d_11_empty_data_in_in_any_place() {
    let (mut rig, task, command) = reading(1);
    let whole = rig.target.data_in(&command, 0, 0);
    rig.send(whole, &bytes(512));
    let last = rig.target.last_data_in(&command, 1, 0);
    rig.send(last, &[]);
    assert!(rig.outcome(task).is_good());

    let (mut rig, task, command) = reading(4);
    let first = rig.target.data_in(&command, 0, 0);
    rig.send(first, &bytes(512));
    let empty = rig.target.data_in(&command, 1, 0);
    rig.send(empty, &[]);
    let again = rig.target.data_in(&command, 2, 0);
    rig.send(again, &[0xff; 512]);
    let error = ProtocolError::DataInOrder { offset: 0, previous_end: 512 };
    assert_eq!(rig.violation(), Some(error));
    assert_eq!(rig.memory.read(task)[..512], bytes(512));
}

#[test]
fn d_11_empty_data_in_as_the_only_one() {
    let mut rig = Rig::scripted();
    let task = rig.submit(&Command::new(Lun::ZERO, &[0; 6], Transfer::None), &[]);
    rig.run();
    let (command, _) = rig.target.expect_command();
    let last = rig.target.last_data_in(&command, 0, 0);
    rig.send(last, &[]);
    assert!(rig.outcome(task).is_good());
}

#[test]
fn d_12_endless_empty_data_in_does_not_stop_the_deadline() {
    let (mut rig, task, command) = reading(1);
    for data_sn in 0..70 {
        let empty = rig.target.data_in(&command, data_sn, 0);
        rig.send(empty, &[]);
        rig.advance(Duration::from_secs(1));
    }
    let request = rig.target.expect_task_management();
    assert_eq!(request.function.referenced_task_tag(), Some(command.initiator_task_tag));
    let _ = task;
}

#[test]
fn d_13_missing_data_in() {
    let (mut rig, task, command) = reading(2);
    let data_in = rig.target.data_in(&command, 1, 512);
    rig.send(data_in, &bytes(512));
    refused(&rig, task, ProtocolError::DataSn { expected: DataSn(0), got: DataSn(1) });
}

#[test]
fn d_15_repeated_data_in_is_discarded() {
    let (mut rig, task, command) = reading(2);
    let first = rig.target.data_in(&command, 0, 0);
    rig.send(first, &bytes(512));
    rig.send(first, &[0xff; 512]);
    let last = rig.target.last_data_in(&command, 1, 512);
    rig.send(last, &bytes(512));
    assert!(rig.outcome(task).is_good());
    assert_eq!(rig.memory.read(task), [bytes(512), bytes(512)].concat());
}

#[test]
fn d_16_data_in_that_goes_back() {
    for offset in [0, 1, 511] {
        let (mut rig, task, command) = reading(2);
        let first = rig.target.data_in(&command, 0, 0);
        rig.send(first, &bytes(512));
        let second = rig.target.data_in(&command, 1, offset);
        rig.send(second, &[0xff; 100]);
        let error = ProtocolError::DataInOrder { offset, previous_end: 512 };
        assert_eq!(rig.violation(), Some(error));
        assert_eq!(rig.memory.read(task)[..512], bytes(512));
    }
}

/// RFC 7143 sections 13.18 and 13.19: only both keys together say that all data of a task come in order.
#[test]
fn d_17_without_one_of_the_keys_data_in_may_go_back() {
    for (pdus, sequences) in [(true, false), (false, true), (false, false)] {
        let config = Rig::config().data_pdu_in_order(pdus).data_sequence_in_order(sequences);
        let limits = Limits {
            data_pdu_in_order: pdus,
            data_sequence_in_order: sequences,
            ..Limits::DEFAULT
        };
        let mut rig = Rig::logged_in(config, limits);
        let task = rig.read(0, 2);
        rig.run();
        let (command, _) = rig.target.expect_command();
        let first = rig.target.data_in(&command, 0, 512);
        rig.send(first, &bytes(1024)[512..]);
        let last = rig.target.last_data_in(&command, 1, 0);
        rig.send(last, &bytes(512));
        assert!(rig.outcome(task).is_good(), "{pdus} {sequences}");
        assert_eq!(rig.memory.read(task), bytes(1024));
    }
}

#[test]
fn d_18_hole_with_good_status_is_reported() {
    let (mut rig, task, command) = reading(3);
    let first = rig.target.data_in(&command, 0, 0);
    rig.send(first, &bytes(512));
    let last = rig.target.last_data_in(&command, 1, 1024);
    rig.send(last, &bytes(512));
    let outcome = rig.outcome(task);
    assert_eq!((outcome.data_in, outcome.missing), (1024, 512));
    assert!(!outcome.is_good());
}

#[test]
fn d_19_d_21_acknowledge_bit_is_ignored() {
    let (mut rig, task, command) = reading(1);
    let transfer = TransferTag { lun: Lun::ZERO, target_transfer_tag: TargetTransferTag(5) };
    let data_in = DataIn { acknowledge: Some(transfer), ..rig.target.last_data_in(&command, 0, 0) };
    rig.send(data_in, &bytes(512));
    assert!(rig.outcome(task).is_good());
    assert!(rig.target.inbox.is_empty());
}

#[test]
fn d_24_overflow_and_underflow() {
    let (mut rig, task, command) = reading(1);
    let data_in = rig.target.last_data_in(&command, 0, 0);
    let mut bhs = [0; 48];
    data_in.emit(&mut bhs);
    bhs[1] |= 0x06;
    rig.target.send_header(&bhs, &[]);
    rig.run();
    refused(&rig, task, ProtocolError::Format(FormatError::OverflowAndUnderflow));
}

#[test]
fn d_25_underflow() {
    let (mut rig, task, command) = reading(1);
    let mut data_in = rig.target.last_data_in(&command, 0, 0);
    data_in.status.as_mut().unwrap().residual = Residual::Underflow(100);
    rig.send(data_in, &bytes(412));
    let outcome = rig.outcome(task);
    assert!(outcome.is_good());
    assert_eq!(outcome.residual(), Residual::Underflow(100));
    assert_eq!((outcome.data_in, outcome.missing), (412, 0));
}

#[test]
fn d_26_f_11_reserved_fields_are_ignored() {
    let (mut rig, task, command) = reading(1);
    let data_in = rig.target.last_data_in(&command, 0, 0);
    let mut bhs = [0; 48];
    data_in.emit(&mut bhs);
    bhs[5..8].copy_from_slice(&[0, 2, 0]);
    bhs[0] |= 0xc0; // reserved bits of byte 0 (F-10)
    bhs[1] |= 0x38;
    bhs[2] = 0xa5;
    bhs[8..16].fill(0xa5); // LUN without a valid tag
    rig.target.send_header(&bhs, &bytes(512));
    rig.run();
    assert!(rig.outcome(task).is_good());
}

#[test]
fn f_02_data_segment_beyond_the_declared_length() {
    let (mut rig, task, command) = reading(1024);
    let max = rig.target.negotiated().initiator_max_recv_data_segment_length;
    let data_in = rig.target.data_in(&command, 0, 0);
    let mut bhs = [0; 48];
    data_in.emit(&mut bhs);
    bhs[5..8].copy_from_slice(&(max + 1).to_be_bytes()[1..]);
    // The header alone is enough.
    rig.target.send_raw(&bhs);
    rig.run();
    refused(&rig, task, ProtocolError::DataSegmentTooLong { length: max + 1, max });
}

#[test]
fn f_14_connection_closed_in_the_middle_of_a_pdu() {
    let data = bytes(512);
    for cut in [1, 47, 48, 49, 300, 559] {
        let (mut rig, task, command) = reading(1);
        let data_in = rig.target.last_data_in(&command, 0, 0);
        let mut bhs = [0; 48];
        data_in.emit(&mut bhs);
        bhs[5..8].copy_from_slice(&[0, 2, 0]);
        let pdu = rig.target.framer().frame(&bhs, &[], &data);
        rig.target.send_raw(&pdu[..cut]);
        rig.run();
        let now = rig.clock.now();
        rig.link.as_mut().unwrap().to_initiator.close(now);
        rig.run();
        assert_eq!(rig.lost(task), Some(LostReason::Eof));
        assert_eq!(rig.state(), SessionState::Failed(LostReason::Eof));
    }
}

#[test]
fn f_16_trickle_is_no_progress() {
    let (mut rig, task, command) = reading(1);
    let data_in = rig.target.last_data_in(&command, 0, 0);
    let mut bhs = [0; 48];
    data_in.emit(&mut bhs);
    let mut seconds = 0;
    for byte in bhs {
        if rig.link.is_none() {
            break;
        }
        rig.target.send_raw(&[byte]);
        rig.advance(Duration::from_secs(4));
        seconds += 4;
    }
    assert!(seconds <= 36, "{seconds} s");
    let timer = LostReason::TimedOut(iscsi_core::Timer::Progress);
    assert_eq!(rig.state(), SessionState::Failed(timer));
    assert!(matches!(rig.end(task), Some(Told::Lost { .. })));
}

#[test]
fn f_16_as_much_as_is_asked_for_is_progress() {
    let timeouts = Timeouts { nop_interval: None, command: None, ..Timeouts::DEFAULT };
    let mut rig = Rig::logged_in(Rig::config().timeouts(timeouts), Limits::DEFAULT);
    rig.read(0, 16);
    rig.run();
    let (command, _) = rig.target.expect_command();
    let mut bhs = [0; 48];
    DataIn { data_segment_length: 8192, ..rig.target.data_in(&command, 0, 0) }.emit(&mut bhs);
    rig.target.send_raw(&bhs);
    rig.run();
    for _ in 0..3 {
        rig.target.send_raw(&[0; 1024]);
        rig.advance(timeouts.progress);
        assert_eq!(rig.state(), SessionState::LoggedIn);
    }
    rig.target.send_raw(&[0; 1023]);
    rig.advance(timeouts.progress);
    let timer = LostReason::TimedOut(iscsi_core::Timer::Progress);
    assert_eq!(rig.state(), SessionState::Failed(timer));
}

/// Progress is asked of a PDU that has begun, not of silence.
#[test]
fn f_16_nothing_is_expected_behind_a_whole_pdu() {
    let timeouts = Timeouts { nop_interval: None, ..Timeouts::DEFAULT };
    let mut rig = Rig::logged_in(Rig::config().timeouts(timeouts), Limits::DEFAULT);
    let nop = rig.target.nop_in(iscsi_core::wire::NopInKind::Update);
    let mut bhs = [0; 48];
    nop.emit(&mut bhs);
    for part in bhs.chunks(20) {
        rig.target.send_raw(part);
        rig.run();
    }
    rig.advance(Duration::from_secs(3600));
    assert_eq!(rig.state(), SessionState::LoggedIn);
}
