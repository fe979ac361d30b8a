//! SCSI Response: status, sense, residuals, and what it must agree with.
#![cfg(feature = "testing")]

use iscsi_core::testing::{Rig, Told};
use iscsi_core::text::Limits;
use iscsi_core::wire::{
    BHS_LEN, Completion, FormatError, Residual, ScsiCommand, ScsiResponse, ScsiResponseCode,
    ScsiStatus,
};
use iscsi_core::{
    Command, DataSn, InitiatorTaskTag, Lun, ProtocolError, SessionState, StatSn, TaskId, Transfer,
};

fn running(transfer: Transfer) -> (Rig, TaskId, ScsiCommand) {
    let mut rig = Rig::scripted();
    let out = vec![0x77; transfer.out_len() as usize];
    let task = rig.submit(&Command::new(Lun::ZERO, &[0; 6], transfer), &out);
    rig.run();
    let (command, _) = rig.target.expect_command();
    (rig, task, command)
}

fn sense_segment(sense: &[u8]) -> Vec<u8> {
    [&(sense.len() as u16).to_be_bytes()[..], sense].concat()
}

const CHECK: Completion = Completion { status: ScsiStatus::CheckCondition, ..Completion::GOOD };

fn sense_of(rig: &Rig, task: TaskId) -> &[u8] {
    let Some(Told::Done { sense, .. }) = rig.end(task) else { panic!("{:?}", rig.end(task)) };
    sense
}

#[test]
fn r_01_r_02_sense_is_delivered_exactly() {
    for len in [1, 2, 18, 19, 96, 251, 252] {
        let (mut rig, task, command) = running(Transfer::None);
        let sense: Vec<u8> = (0..len).map(|n| n as u8 ^ 0x70).collect();
        let response = rig.target.response(&command, CHECK);
        rig.send(response, &sense_segment(&sense));
        assert_eq!(rig.outcome(task).status(), Some(ScsiStatus::CheckCondition));
        assert_eq!(sense_of(&rig, task), sense);
    }
}

#[test]
fn long_sense_is_cut_at_252_bytes() {
    let (mut rig, task, command) = running(Transfer::None);
    let sense: Vec<u8> = (0..2000).map(|n| n as u8).collect();
    let response = rig.target.response(&command, CHECK);
    rig.send(response, &sense_segment(&sense));
    assert_eq!(sense_of(&rig, task), &sense[..252]);
}

/// It is kept where the rest of the CDB stood, once nothing shows that any more.
#[test]
fn sense_of_a_command_with_a_long_cdb_is_delivered() {
    let sense = [0x70, 0, 5, 0, 0, 0, 0, 10];
    let mut rig = Rig::scripted();
    let task = rig.submit(&Command::new(Lun::ZERO, &[7; 64], Transfer::None), &[]);
    rig.run();
    let (command, _) = rig.target.expect_command();
    let response = rig.target.response(&command, CHECK);
    rig.send(response, &sense_segment(&sense));
    assert_eq!(sense_of(&rig, task), sense);
}

#[test]
fn r_03_check_condition_without_sense() {
    let (mut rig, _, command) = running(Transfer::None);
    let response = rig.target.response(&command, CHECK);
    rig.send(response, &[]);
    let error = ProtocolError::Format(FormatError::CheckConditionWithoutSense);
    assert_eq!(rig.violation(), Some(error));
}

#[test]
fn r_04_sense_length_beyond_the_segment() {
    for (segment, sense) in [(vec![0, 1], 1), (vec![0xff; 20], 0xffff), (vec![0, 19, 1, 2], 19)] {
        let (mut rig, _, command) = running(Transfer::None);
        let response = rig.target.response(&command, CHECK);
        rig.send(response, &segment);
        let data_segment = segment.len() as u32;
        assert_eq!(rig.violation(), Some(ProtocolError::SenseLength { sense, data_segment }));
    }
    let (mut rig, _, command) = running(Transfer::None);
    let response = rig.target.response(&command, CHECK);
    rig.send(response, &[0]);
    assert_eq!(rig.violation(), Some(ProtocolError::Format(FormatError::SenseLengthCut)));
}

#[test]
fn r_05_response_data_are_no_sense() {
    let (mut rig, task, command) = running(Transfer::None);
    let response = rig.target.response(&command, CHECK);
    rig.send(response, &[0, 0, 0x70, 0, 5]);
    assert!(sense_of(&rig, task).is_empty());
}

#[test]
fn r_06_r_07_status_counts_only_if_the_command_was_completed() {
    for code in [ScsiResponseCode::TargetFailure, ScsiResponseCode::Other(0x80)] {
        let (mut rig, task, command) = running(Transfer::In(512));
        let response =
            ScsiResponse { response: code, ..rig.target.response(&command, Completion::GOOD) };
        rig.send(response, &[]);
        let outcome = rig.outcome(task);
        assert_eq!((outcome.status(), outcome.response), (None, code));
        assert!(!outcome.is_good());
    }
}

#[test]
fn r_08_contradicting_residual_flags() {
    for (flags, error) in
        [(0x06, FormatError::OverflowAndUnderflow), (0x18, FormatError::BidiOverflowAndUnderflow)]
    {
        let (mut rig, _, command) = running(Transfer::In(512));
        let response = rig.target.response(&command, Completion::GOOD);
        let mut bhs = [0; BHS_LEN];
        response.emit(&mut bhs);
        bhs[1] |= flags;
        rig.target.send_header(&bhs, &[]);
        rig.run();
        assert_eq!(rig.violation(), Some(ProtocolError::Format(error)));
    }
}

#[test]
fn r_09_underflow_beyond_the_expected_length_claims_that_nothing_was_moved() {
    let (mut rig, task, command) = running(Transfer::In(512));
    let residual = Residual::Underflow(513);
    let response = rig.target.response(&command, Completion { residual, ..Completion::GOOD });
    rig.send(response, &[]);
    let outcome = rig.outcome(task);
    assert_eq!((outcome.residual(), outcome.data_in, outcome.missing), (residual, 0, 0));
}

#[test]
fn r_10_overflow_is_reported() {
    let (mut rig, task, command) = running(Transfer::Out(512));
    let residual = Residual::Overflow(512);
    let response = rig.target.response(&command, Completion { residual, ..Completion::GOOD });
    rig.send(response, &[]);
    let outcome = rig.outcome(task);
    assert_eq!(outcome.residual(), residual);
    assert_eq!(outcome.status(), Some(ScsiStatus::Good));
    assert!(!outcome.is_good());
}

#[test]
fn r_11_count_without_flag_is_ignored() {
    let (mut rig, task, command) = running(Transfer::None);
    let response = rig.target.response(&command, Completion::GOOD);
    let mut bhs = [0; BHS_LEN];
    response.emit(&mut bhs);
    bhs[40..48].fill(0xff);
    rig.target.send_header(&bhs, &[]);
    rig.run();
    assert!(rig.outcome(task).is_good());
}

#[test]
fn r_12_announced_data_in_are_missing() {
    let (mut rig, _, command) = running(Transfer::In(512));
    let exp_data_sn = DataSn(1);
    let response = rig.target.response(&command, Completion { exp_data_sn, ..Completion::GOOD });
    rig.send(response, &[]);
    let error = ProtocolError::ExpDataSn { announced: DataSn(1), received: DataSn(0) };
    assert_eq!(rig.violation(), Some(error));
}

#[test]
fn r_12_a_count_of_data_in_does_not_matter_if_every_byte_came() {
    for exp_data_sn in [0, 2, 77] {
        let (mut rig, task, command) = running(Transfer::In(512));
        let data_in = rig.target.data_in(&command, 0, 0);
        rig.send(data_in, &[3; 512]);
        let completion = Completion { exp_data_sn: DataSn(exp_data_sn), ..Completion::GOOD };
        let response = rig.target.response(&command, completion);
        rig.send(response, &[]);
        assert!(rig.outcome(task).is_good(), "{exp_data_sn}");
    }
}

#[test]
fn good_response_without_any_data_is_not_good() {
    let (mut rig, task, command) = running(Transfer::In(512));
    let response = rig.target.response(&command, Completion::GOOD);
    rig.send(response, &[]);
    assert_eq!(rig.outcome(task).missing, 512);
    assert!(!rig.outcome(task).is_good());
}

#[test]
fn r_13_response_for_an_unknown_task() {
    let (mut rig, task, command) = running(Transfer::None);
    let itt = InitiatorTaskTag(command.initiator_task_tag.0.wrapping_add(0x100));
    let response =
        ScsiResponse { initiator_task_tag: itt, ..rig.target.response(&command, Completion::GOOD) };
    rig.send(response, &[]);
    assert_eq!(rig.violation(), Some(ProtocolError::UnknownTask(itt)));
    assert!(rig.lost(task).is_some());
}

#[test]
fn r_14_second_response_does_not_end_a_task_twice() {
    let (mut rig, task, command) = running(Transfer::None);
    for _ in 0..2 {
        let response = rig.target.response(&command, Completion::GOOD);
        rig.send(response, &[]);
    }
    assert_eq!(rig.violation(), Some(ProtocolError::UnknownTask(command.initiator_task_tag)));
    assert_eq!(rig.told.iter().filter(|told| told.task() == Some(task)).count(), 1);
}

#[test]
fn s_06_repeated_response_is_discarded() {
    let (mut rig, task, command) = running(Transfer::None);
    let response = rig.target.response(&command, Completion::GOOD);
    rig.send(response, &[]);
    rig.send(response, &[]);
    let other = rig.read(0, 1);
    rig.run();
    let (next, _) = rig.target.expect_command();
    rig.send(response, &[]);
    let last = rig.target.last_data_in(&next, 0, 0);
    rig.send(last, &[1; 512]);
    rig.send(last, &[2; 512]);
    assert_eq!(rig.state(), SessionState::LoggedIn);
    assert!(rig.outcome(task).is_good() && rig.outcome(other).is_good());
    assert_eq!(rig.memory.read(other), [1; 512]);
    assert_eq!(rig.told.len(), 2);
}

#[test]
fn r_15_r_16_other_statuses_are_delivered() {
    for status in [0x08, 0x18, 0x28, 0x30, 0x40, 0x77].map(ScsiStatus::from_byte) {
        let (mut rig, task, command) = running(Transfer::Out(4096));
        let response = rig.target.response(&command, Completion { status, ..Completion::GOOD });
        rig.send(response, &[]);
        assert_eq!(rig.outcome(task).status(), Some(status));
        assert_eq!(rig.state(), SessionState::LoggedIn);
    }
}

#[test]
fn r_19_both_residuals_of_a_bidirectional_command() {
    let (mut rig, task, command) = running(Transfer::Both { out: 512, r#in: 1024 });
    assert!(command.read && command.write);
    assert_eq!(command.expected_data_transfer_length, 512);
    let data_in = rig.target.data_in(&command, 0, 0);
    rig.send(data_in, &[3; 1000]);
    let completion = Completion {
        residual: Residual::Overflow(7),
        bidi_read_residual: Residual::Underflow(24),
        exp_data_sn: DataSn(1),
        ..Completion::GOOD
    };
    let response = rig.target.response(&command, completion);
    rig.send(response, &[]);
    let outcome = rig.outcome(task);
    assert_eq!(outcome.residual(), Residual::Overflow(7));
    assert_eq!((outcome.data_in, outcome.missing), (1000, 0));
}

#[test]
fn r_20_response_for_another_kind_of_request() {
    let (mut rig, _, command) = running(Transfer::None);
    let (connection, session) = rig.driver.ask();
    connection.ping(session);
    rig.run();
    let nop = rig.target.expect_nop_out();
    let iscsi_core::wire::NopOutKind::Ping { initiator_task_tag, .. } = nop.kind else { panic!() };
    let response = rig.target.response(&command, Completion::GOOD);
    rig.send(ScsiResponse { initiator_task_tag, ..response }, &[]);
    assert_eq!(rig.violation(), Some(ProtocolError::UnknownTask(initiator_task_tag)));
}

/// RFC 7144 section 5.2: the field is reserved below level 2.
#[test]
fn the_status_qualifier_counts_from_protocol_level_2_on() {
    for (level, qualifier) in [(None, 0), (Some(1), 0), (Some(2), 0x1234)] {
        let limits = Limits { iscsi_protocol_level: level, ..Limits::DEFAULT };
        let mut rig = Rig::logged_in(Rig::config().iscsi_protocol_level(level), limits);
        let task = rig.submit(&Command::new(Lun::ZERO, &[0; 6], Transfer::None), &[]);
        rig.run();
        let (command, _) = rig.target.expect_command();
        let (status, status_qualifier) = (ScsiStatus::Busy, 0x1234);
        let busy = Completion { status, status_qualifier, ..Completion::GOOD };
        let response = rig.target.response(&command, busy);
        rig.send(response, &[]);
        let ScsiResponseCode::CompletedAtTarget(completion) = rig.outcome(task).response else {
            panic!("{:?}", rig.outcome(task))
        };
        assert_eq!(completion.status_qualifier, qualifier, "{level:?}");
    }
}

#[test]
fn r_21_sense_with_good_status() {
    let (mut rig, task, command) = running(Transfer::None);
    let response = rig.target.response(&command, Completion::GOOD);
    rig.send(response, &sense_segment(&[0x72, 1, 2, 3]));
    assert!(rig.outcome(task).is_good());
    assert_eq!(sense_of(&rig, task), [0x72, 1, 2, 3]);
}

#[test]
fn s_03_s_05_gap_in_stat_sn() {
    for ahead in [1, 2, 1 << 31, (1 << 31) - 1] {
        let (mut rig, _, command) = running(Transfer::None);
        let expected = rig.target.stat_sn;
        let response = rig.target.response(&command, Completion::GOOD);
        let got = StatSn(expected.0.wrapping_add(ahead));
        rig.send(ScsiResponse { stat_sn: got, ..response }, &[]);
        assert_eq!(rig.violation(), Some(ProtocolError::StatSn { expected, got }));
    }
}

#[test]
fn s_07_stat_sn_wraps() {
    let config = Rig::config().build().unwrap();
    let mut rig = Rig::new(config, Limits::DEFAULT, 1);
    rig.target.stat_sn = StatSn(0xffff_fffc);
    rig.log_in();
    for _ in 0..6 {
        let task = rig.read(0, 1);
        rig.run();
        let (command, _) = rig.target.expect_command();
        assert_eq!(command.exp_stat_sn, rig.target.stat_sn);
        let last = rig.target.last_data_in(&command, 0, 0);
        rig.send(last, &[0; 512]);
        assert!(rig.outcome(task).is_good());
    }
    assert_eq!(rig.target.stat_sn, StatSn(4));
}
