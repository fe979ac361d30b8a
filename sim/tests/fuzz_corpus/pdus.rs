//! Each kind of PDU, with each of its meanings.

use iscsi_core::wire::*;
use iscsi_core::{CmdSn, DataSn, InitiatorTaskTag, Lun, R2tSn, StatSn, TargetTransferTag};

use crate::Seeds;

const TASK: InitiatorTaskTag = InitiatorTaskTag(0x12_0003);
const CMD_SN: CmdSn = CmdSn(0xffff_ffff);
const MAX_CMD_SN: CmdSn = CmdSn(31);
const STAT_SN: StatSn = StatSn(0x8000_0000);
const LUN: Lun = Lun::from_bytes([0, 3, 0, 0, 0, 0, 0, 0]);
const TRANSFER: TransferTag =
    TransferTag { lun: LUN, target_transfer_tag: TargetTransferTag(0xdead_beef) };

fn initiator(pdu: impl Into<InitiatorPdu>) -> Vec<u8> {
    let mut bhs = [0; BHS_LEN];
    pdu.into().emit(&mut bhs);
    whole(bhs)
}

fn target(pdu: impl Into<TargetPdu>) -> Vec<u8> {
    let mut bhs = [0; BHS_LEN];
    pdu.into().emit(&mut bhs);
    whole(bhs)
}

/// With so much data as the header says.
fn whole(bhs: Bhs) -> Vec<u8> {
    let len = data_segment_length(&bhs) as usize;
    let mut bytes = bhs.to_vec();
    bytes.resize(bytes.len() + len + padding(len), 0x5a);
    bytes
}

pub(crate) fn seeds() -> Seeds {
    let mut seeds = Seeds::new();
    commands(&mut seeds);
    functions(&mut seeds);
    requests(&mut seeds);
    data(&mut seeds);
    responses(&mut seeds);
    messages(&mut seeds);
    logins(&mut seeds);
    damaged(&mut seeds);
    seeds
}

fn add(seeds: &mut Seeds, name: &str, bytes: Vec<u8>) {
    seeds.push((name.to_owned(), bytes));
}

fn commands(seeds: &mut Seeds) {
    let none = ScsiCommand {
        immediate: false,
        is_final: true,
        read: false,
        write: false,
        attribute: TaskAttribute::Simple,
        priority: 0,
        total_ahs_length: AhsLength::NONE,
        data_segment_length: 0,
        lun: LUN,
        initiator_task_tag: TASK,
        expected_data_transfer_length: 0,
        cmd_sn: CMD_SN,
        exp_stat_sn: STAT_SN,
        cdb: [0; 16],
    };
    let read = ScsiCommand { read: true, expected_data_transfer_length: 512, ..none };
    let write = ScsiCommand { write: true, expected_data_transfer_length: 4096, ..none };
    add(seeds, "scsi-command-without-data", initiator(none));
    add(seeds, "scsi-command-read", initiator(read));
    add(seeds, "scsi-command-write", initiator(write));
    let immediate = ScsiCommand { data_segment_length: 21, ..write };
    add(seeds, "scsi-command-immediate-data", initiator(immediate));
    let unsolicited = ScsiCommand { is_final: false, ..write };
    add(seeds, "scsi-command-unsolicited-data-follow", initiator(unsolicited));
    let bidirectional = ScsiCommand { read: true, ..write };
    let ours = CommandAhs::new(&[0x7f; 32], Some(512));
    let mut area = [0; 256];
    let length = ours.emit(&mut area).unwrap();
    let long = ScsiCommand { total_ahs_length: length, cdb: [0x7f; 16], ..bidirectional };
    let mut bhs = [0; BHS_LEN];
    long.emit(&mut bhs);
    let bytes = [&bhs[..], &area[..length.bytes()]].concat();
    add(seeds, "scsi-command-bidirectional-with-long-cdb", bytes);
    for code in 0..5 {
        let attribute = TaskAttribute::from_byte(code).unwrap();
        let command = ScsiCommand { attribute, immediate: code == 2, priority: code, ..read };
        add(seeds, &format!("scsi-command-attribute-{code}"), initiator(command));
    }
}

fn functions(seeds: &mut Seeds) {
    use TaskManagementFunction as F;
    let (lun, referenced_task_tag, ref_cmd_sn) = (LUN, TASK, CMD_SN);
    for (name, function) in [
        ("abort-task", F::AbortTask { lun, referenced_task_tag, ref_cmd_sn }),
        ("abort-task-set", F::AbortTaskSet { lun }),
        ("clear-aca", F::ClearAca { lun }),
        ("clear-task-set", F::ClearTaskSet { lun }),
        ("logical-unit-reset", F::LogicalUnitReset { lun }),
        ("target-warm-reset", F::TargetWarmReset),
        ("target-cold-reset", F::TargetColdReset),
        ("task-reassign", F::TaskReassign { referenced_task_tag, exp_data_sn: DataSn(7) }),
        ("query-task", F::QueryTask { lun, referenced_task_tag, ref_cmd_sn }),
        ("query-task-set", F::QueryTaskSet { lun }),
        ("it-nexus-reset", F::ItNexusReset),
        ("query-asynchronous-event", F::QueryAsynchronousEvent { lun }),
    ] {
        let request = TaskManagementRequest {
            immediate: true,
            function,
            initiator_task_tag: InitiatorTaskTag(9),
            cmd_sn: CMD_SN,
            exp_stat_sn: STAT_SN,
        };
        add(seeds, &format!("task-management-request-{name}"), initiator(request));
    }
    for code in 0..=8u8 {
        let mut bytes = target(TaskManagementResponse {
            response: TaskManagementResponseCode::FunctionComplete,
            initiator_task_tag: TASK,
            stat_sn: STAT_SN,
            exp_cmd_sn: CMD_SN,
            max_cmd_sn: MAX_CMD_SN,
        });
        bytes[2] = if code == 8 { 255 } else { code };
        add(seeds, &format!("task-management-response-{}", bytes[2]), bytes);
    }
}

fn requests(seeds: &mut Seeds) {
    let (cmd_sn, exp_stat_sn) = (CMD_SN, STAT_SN);
    for (name, kind, len) in [
        ("ping", NopOutKind::Ping { immediate: true, initiator_task_tag: TASK }, 5),
        ("ping-in-order", NopOutKind::Ping { immediate: false, initiator_task_tag: TASK }, 0),
        ("ping-response", NopOutKind::PingResponse(TRANSFER), 0),
        ("update", NopOutKind::Update { lun: LUN }, 0),
    ] {
        let nop = NopOut { kind, data_segment_length: len, cmd_sn, exp_stat_sn };
        add(seeds, &format!("nop-out-{name}"), initiator(nop));
    }
    let text = TextRequest {
        immediate: false,
        is_final: true,
        is_continued: false,
        transfer: None,
        data_segment_length: 16,
        initiator_task_tag: TASK,
        cmd_sn,
        exp_stat_sn,
    };
    add(seeds, "text-request", initiator(text));
    let more = TextRequest { is_final: false, is_continued: true, ..text };
    add(seeds, "text-request-continued", initiator(more));
    let next = TextRequest { transfer: Some(TRANSFER), data_segment_length: 0, ..text };
    add(seeds, "text-request-for-more", initiator(next));
    for (name, reason) in [
        ("session", LogoutReason::CloseSession),
        ("connection", LogoutReason::CloseConnection { cid: 1 }),
        ("recovery", LogoutReason::RemoveConnectionForRecovery { cid: 2 }),
    ] {
        let (immediate, initiator_task_tag) = (true, TASK);
        let request = LogoutRequest { immediate, reason, initiator_task_tag, cmd_sn, exp_stat_sn };
        add(seeds, &format!("logout-request-{name}"), initiator(request));
    }
    let initiator_task_tag = TASK;
    for (name, kind) in [
        ("data", SnackKind::Data { initiator_task_tag, beg_run: 1, run_length: 2 }),
        ("status", SnackKind::Status { beg_run: STAT_SN, run_length: 0 }),
        ("data-ack", SnackKind::DataAck { transfer: TRANSFER, beg_run: DataSn(3) }),
        ("resegmented", SnackKind::ResegmentedData { initiator_task_tag, snack_tag: 4 }),
    ] {
        add(seeds, &format!("snack-request-{name}"), initiator(SnackRequest { kind, exp_stat_sn }));
    }
}

fn data(seeds: &mut Seeds) {
    let out = DataOut {
        is_final: true,
        transfer: Some(TRANSFER),
        data_segment_length: 13,
        initiator_task_tag: TASK,
        exp_stat_sn: STAT_SN,
        data_sn: DataSn(0),
        buffer_offset: 512,
    };
    add(seeds, "data-out-solicited", initiator(out));
    let unsolicited = DataOut { transfer: None, is_final: false, ..out };
    add(seeds, "data-out-unsolicited", initiator(unsolicited));
    let last = DataOut { buffer_offset: u32::MAX - 13, ..out };
    add(seeds, "data-out-at-the-last-offset", initiator(last));
    let read = DataIn {
        is_final: false,
        acknowledge: None,
        status: None,
        data_segment_length: 30,
        initiator_task_tag: TASK,
        exp_cmd_sn: CMD_SN,
        max_cmd_sn: MAX_CMD_SN,
        data_sn: DataSn(u32::MAX),
        buffer_offset: 0,
    };
    add(seeds, "data-in", target(read));
    add(seeds, "data-in-final", target(DataIn { is_final: true, ..read }));
    let asks = DataIn { is_final: true, acknowledge: Some(TRANSFER), ..read };
    add(seeds, "data-in-acknowledge", target(asks));
    for (name, residual) in [
        ("status", Residual::None),
        ("underflow", Residual::Underflow(70)),
        ("overflow", Residual::Overflow(u32::MAX)),
    ] {
        let status = Some(DataInStatus { status: ScsiStatus::Good, residual, stat_sn: STAT_SN });
        let last = DataIn { is_final: true, status, ..read };
        add(seeds, &format!("data-in-with-{name}"), target(last));
    }
    let r2t = R2t {
        lun: LUN,
        initiator_task_tag: TASK,
        target_transfer_tag: TargetTransferTag(5),
        stat_sn: STAT_SN,
        exp_cmd_sn: CMD_SN,
        max_cmd_sn: MAX_CMD_SN,
        r2t_sn: R2tSn(1),
        buffer_offset: 8192,
        desired_data_transfer_length: 65_536,
    };
    add(seeds, "r2t", target(r2t));
    let wraps = R2t { buffer_offset: u32::MAX - 65_536, ..r2t };
    add(seeds, "r2t-at-the-last-offset", target(wraps));
}

fn responses(seeds: &mut Seeds) {
    let response = |response, len| ScsiResponse {
        response,
        data_segment_length: len,
        initiator_task_tag: TASK,
        snack_tag: None,
        stat_sn: STAT_SN,
        exp_cmd_sn: CMD_SN,
        max_cmd_sn: MAX_CMD_SN,
    };
    let completed = ScsiResponseCode::CompletedAtTarget;
    for (name, status) in [
        ("good", 0x00),
        ("check-condition", 0x02),
        ("condition-met", 0x04),
        ("busy", 0x08),
        ("reservation-conflict", 0x18),
        ("task-set-full", 0x28),
        ("aca-active", 0x30),
        ("task-aborted", 0x40),
        ("unknown-status", 0x7e),
    ] {
        let status = ScsiStatus::from_byte(status);
        let len = if status == ScsiStatus::CheckCondition { 20 } else { 0 };
        let completion = Completion { status, exp_data_sn: DataSn(2), ..Completion::GOOD };
        add(seeds, &format!("scsi-response-{name}"), target(response(completed(completion), len)));
    }
    let residual = Completion {
        residual: Residual::Underflow(1),
        bidi_read_residual: Residual::Overflow(2),
        ..Completion::GOOD
    };
    add(seeds, "scsi-response-both-residuals", target(response(completed(residual), 0)));
    let failure = response(ScsiResponseCode::TargetFailure, 0);
    add(seeds, "scsi-response-target-failure", target(failure));
    add(seeds, "scsi-response-vendor", target(response(ScsiResponseCode::Other(0x80), 0)));
}

fn messages(seeds: &mut Seeds) {
    let (stat_sn, exp_cmd_sn, max_cmd_sn) = (STAT_SN, CMD_SN, MAX_CMD_SN);
    for (name, kind, len) in [
        ("ping", NopInKind::Ping(TRANSFER), 0),
        ("ping-response", NopInKind::PingResponse(TASK), 8),
        ("update", NopInKind::Update, 0),
    ] {
        let nop = NopIn { kind, data_segment_length: len, stat_sn, exp_cmd_sn, max_cmd_sn };
        add(seeds, &format!("nop-in-{name}"), target(nop));
    }
    let vendor = AsyncEvent::Vendor { event: 248, vcode: 1, parameters: [2, 3, 4] };
    for (name, event, len) in [
        ("scsi", AsyncEvent::Scsi { lun: LUN }, 20),
        ("logout-requested", AsyncEvent::LogoutRequested { seconds: 10 }, 0),
        (
            "connection-dropped",
            AsyncEvent::ConnectionDropped { cid: 0, time2wait: 1, time2retain: 2 },
            0,
        ),
        ("session-dropped", AsyncEvent::SessionDropped { time2wait: 3, time2retain: 4 }, 0),
        ("negotiation-requested", AsyncEvent::NegotiationRequested { seconds: 5 }, 0),
        ("tasks-terminated", AsyncEvent::TasksTerminated { lun: LUN }, 0),
        ("vendor", vendor, 0),
    ] {
        let message =
            AsyncMessage { event, data_segment_length: len, stat_sn, exp_cmd_sn, max_cmd_sn };
        add(seeds, &format!("async-message-{name}"), target(message));
    }
    for reason in 1..=12u8 {
        let mut bytes = target(Reject {
            reason: RejectReason::InvalidPduField,
            data_segment_length: BHS_LEN as u32,
            stat_sn,
            exp_cmd_sn,
            max_cmd_sn,
            data_sn: DataSn(0),
        });
        bytes[2] = reason;
        add(seeds, &format!("reject-{reason}"), bytes);
    }
    let text = TextResponse {
        transfer: None,
        is_continued: false,
        data_segment_length: 12,
        initiator_task_tag: TASK,
        stat_sn,
        exp_cmd_sn,
        max_cmd_sn,
    };
    add(seeds, "text-response", target(text));
    let more = TextResponse { transfer: Some(TRANSFER), ..text };
    add(seeds, "text-response-with-more", target(more));
    add(seeds, "text-response-continued", target(TextResponse { is_continued: true, ..more }));
    for code in 0..4u8 {
        let mut bytes = target(LogoutResponse {
            response: LogoutResponseCode::Success,
            initiator_task_tag: TASK,
            stat_sn,
            exp_cmd_sn,
            max_cmd_sn,
            time2wait: 1,
            time2retain: 20,
        });
        bytes[2] = code;
        add(seeds, &format!("logout-response-{code}"), bytes);
    }
}

fn logins(seeds: &mut Seeds) {
    use Stage::{FullFeaturePhase, LoginOperationalNegotiation, SecurityNegotiation};
    let isid = Isid::random(0x12_3456, 7);
    for (name, current_stage, next_stage, is_continued) in [
        ("security", SecurityNegotiation, None, false),
        ("security-continued", SecurityNegotiation, None, true),
        ("security-transit", SecurityNegotiation, Some(LoginOperationalNegotiation), false),
        ("security-to-the-end", SecurityNegotiation, Some(FullFeaturePhase), false),
        ("operational", LoginOperationalNegotiation, None, false),
        ("operational-continued", LoginOperationalNegotiation, None, true),
        ("transit", LoginOperationalNegotiation, Some(FullFeaturePhase), false),
    ] {
        let request = LoginRequest {
            current_stage,
            next_stage,
            is_continued,
            version_max: 0,
            version_min: 0,
            data_segment_length: 16,
            isid,
            tsih: 0,
            initiator_task_tag: TASK,
            cid: 1,
            cmd_sn: CMD_SN,
            exp_stat_sn: STAT_SN,
        };
        add(seeds, &format!("login-request-{name}"), initiator(request));
        let progress = LoginProgress {
            current_stage,
            next_stage,
            is_continued,
            stat_sn: STAT_SN,
            exp_cmd_sn: CMD_SN,
            max_cmd_sn: MAX_CMD_SN,
        };
        let response = login_response(LoginOutcome::Proceed(progress), isid);
        add(seeds, &format!("login-response-{name}"), target(response));
    }
    for (class, detail) in [(1, 1), (1, 2), (2, 0), (2, 1), (2, 3), (2, 11), (3, 0), (3, 2), (9, 9)]
    {
        let outcome = LoginOutcome::Refused(LoginStatus { class, detail });
        let name = format!("login-response-status-{class}-{detail}");
        add(seeds, &name, target(login_response(outcome, isid)));
    }
}

const fn login_response(outcome: LoginOutcome, isid: Isid) -> LoginResponse {
    LoginResponse {
        outcome,
        version_max: 0,
        version_active: 0,
        data_segment_length: 8,
        isid,
        tsih: 5,
        initiator_task_tag: TASK,
    }
}

/// What nobody may send.
fn damaged(seeds: &mut Seeds) {
    add(seeds, "zeros", vec![0; BHS_LEN]);
    add(seeds, "ones", vec![0xff; BHS_LEN]);
    add(seeds, "half-a-header", vec![0x25; BHS_LEN / 2]);
    for opcode in [0x07, 0x1c, 0x27, 0x33, 0x3c] {
        let mut bytes = vec![0; BHS_LEN];
        bytes[0] = opcode;
        add(seeds, &format!("opcode-{opcode:02x}"), bytes);
    }
    for (name, ahs) in [
        ("ahs-longer-than-its-segment", [0xff, 0xff, 1, 0]),
        ("ahs-of-length-zero", [0, 0, 1, 0]),
        ("ahs-of-unknown-type", [0, 1, 9, 0]),
        ("ahs-bidirectional-too-short", [0, 1, 2, 0]),
    ] {
        let mut bytes = vec![0; BHS_LEN];
        (bytes[0], bytes[1], bytes[4]) = (0x01, 0x80, 1);
        bytes.extend_from_slice(&ahs);
        add(seeds, name, bytes);
    }
}
