//! A PDU of each common kind, as they look in the middle of a session.

use iscsi_core::wire::{
    AhsLength, Completion, DataIn, DataInStatus, DataOut, InitiatorPdu, Isid, LoginOutcome,
    LoginProgress, LoginRequest, LoginResponse, LogoutReason, LogoutRequest, LogoutResponse,
    LogoutResponseCode, NopIn, NopInKind, NopOut, NopOutKind, R2t, Reject, RejectReason, Residual,
    ScsiCommand, ScsiResponse, ScsiResponseCode, ScsiStatus, Stage, TargetPdu, TaskAttribute,
    TaskManagementFunction, TaskManagementRequest, TaskManagementResponse,
    TaskManagementResponseCode, TextRequest, TextResponse, TransferTag,
};
use iscsi_core::{CmdSn, DataSn, InitiatorTaskTag, Lun, R2tSn, StatSn, TargetTransferTag};

const ITT: InitiatorTaskTag = InitiatorTaskTag(0x0004_0011);
const TTT: TargetTransferTag = TargetTransferTag(0x0000_0203);
const CMD_SN: CmdSn = CmdSn(0x0001_0203);
const MAX_CMD_SN: CmdSn = CmdSn(0x0001_0283);
const STAT_SN: StatSn = StatSn(0x0405_0607);
const TRANSFER: TransferTag = TransferTag { lun: Lun::ZERO, target_transfer_tag: TTT };

/// What an initiator sends, with names.
///
/// ```
/// use iscsi_core::wire::{BHS_LEN, InitiatorPdu};
/// for (name, pdu) in iscsi_benches::from_initiator() {
///     let mut bhs = [0; BHS_LEN];
///     pdu.emit(&mut bhs);
///     assert_eq!(InitiatorPdu::parse(&bhs), Ok(pdu), "{name}");
/// }
/// ```
pub fn from_initiator() -> [(&'static str, InitiatorPdu); 8] {
    let mut cdb = [0; 16];
    cdb[..10].copy_from_slice(&[0x28, 0, 0, 1, 2, 3, 0, 0, 8, 0]);
    let command = |write: bool| ScsiCommand {
        immediate: false,
        is_final: true,
        read: !write,
        write,
        attribute: TaskAttribute::Simple,
        priority: 0,
        total_ahs_length: AhsLength(0),
        data_segment_length: if write { 4096 } else { 0 },
        lun: Lun::ZERO,
        initiator_task_tag: ITT,
        expected_data_transfer_length: 4096,
        cmd_sn: CMD_SN,
        exp_stat_sn: STAT_SN,
        cdb,
    };
    let data_out = DataOut {
        is_final: true,
        transfer: Some(TRANSFER),
        data_segment_length: 8192,
        initiator_task_tag: ITT,
        exp_stat_sn: STAT_SN,
        data_sn: DataSn(3),
        buffer_offset: 24_576,
    };
    let nop_out = NopOut {
        kind: NopOutKind::PingResponse(TRANSFER),
        data_segment_length: 0,
        cmd_sn: CMD_SN,
        exp_stat_sn: STAT_SN,
    };
    let task_management = TaskManagementRequest {
        immediate: true,
        function: TaskManagementFunction::AbortTask {
            lun: Lun::ZERO,
            referenced_task_tag: ITT,
            ref_cmd_sn: CMD_SN,
        },
        initiator_task_tag: InitiatorTaskTag(7),
        cmd_sn: CMD_SN,
        exp_stat_sn: STAT_SN,
    };
    let login = LoginRequest {
        current_stage: Stage::LoginOperationalNegotiation,
        next_stage: Some(Stage::FullFeaturePhase),
        is_continued: false,
        version_max: 0,
        version_min: 0,
        data_segment_length: 412,
        isid: Isid::random(0x12_3456, 7),
        tsih: 0,
        initiator_task_tag: ITT,
        cid: 0,
        cmd_sn: CMD_SN,
        exp_stat_sn: STAT_SN,
    };
    let text = TextRequest {
        immediate: false,
        is_final: true,
        is_continued: false,
        transfer: None,
        data_segment_length: 16,
        initiator_task_tag: ITT,
        cmd_sn: CMD_SN,
        exp_stat_sn: STAT_SN,
    };
    let logout = LogoutRequest {
        immediate: true,
        reason: LogoutReason::CloseSession,
        initiator_task_tag: ITT,
        cmd_sn: CMD_SN,
        exp_stat_sn: STAT_SN,
    };
    [
        ("SCSI Command, read", command(false).into()),
        ("SCSI Command, write", command(true).into()),
        ("SCSI Data-Out", data_out.into()),
        ("NOP-Out", nop_out.into()),
        ("Task Management Function Request", task_management.into()),
        ("Login Request", login.into()),
        ("Text Request", text.into()),
        ("Logout Request", logout.into()),
    ]
}

/// What a target sends, with names.
///
/// ```
/// use iscsi_core::wire::{BHS_LEN, TargetPdu};
/// for (name, pdu) in iscsi_benches::from_target() {
///     let mut bhs = [0; BHS_LEN];
///     pdu.emit(&mut bhs);
///     assert_eq!(TargetPdu::parse(&bhs), Ok(pdu), "{name}");
/// }
/// ```
pub fn from_target() -> [(&'static str, TargetPdu); 9] {
    let good =
        DataInStatus { status: ScsiStatus::Good, residual: Residual::None, stat_sn: STAT_SN };
    let data_in = DataIn {
        is_final: true,
        acknowledge: None,
        status: Some(good),
        data_segment_length: 4096,
        initiator_task_tag: ITT,
        exp_cmd_sn: CMD_SN,
        max_cmd_sn: MAX_CMD_SN,
        data_sn: DataSn(0),
        buffer_offset: 0,
    };
    let response = ScsiResponse {
        response: ScsiResponseCode::CompletedAtTarget(Completion::GOOD),
        data_segment_length: 0,
        initiator_task_tag: ITT,
        snack_tag: None,
        stat_sn: STAT_SN,
        exp_cmd_sn: CMD_SN,
        max_cmd_sn: MAX_CMD_SN,
    };
    let r2t = R2t {
        lun: Lun::ZERO,
        initiator_task_tag: ITT,
        target_transfer_tag: TTT,
        stat_sn: STAT_SN,
        exp_cmd_sn: CMD_SN,
        max_cmd_sn: MAX_CMD_SN,
        r2t_sn: R2tSn(1),
        buffer_offset: 262_144,
        desired_data_transfer_length: 65_536,
    };
    let nop_in = NopIn {
        kind: NopInKind::Ping(TRANSFER),
        data_segment_length: 0,
        stat_sn: STAT_SN,
        exp_cmd_sn: CMD_SN,
        max_cmd_sn: MAX_CMD_SN,
    };
    let task_management = TaskManagementResponse {
        response: TaskManagementResponseCode::FunctionComplete,
        initiator_task_tag: ITT,
        stat_sn: STAT_SN,
        exp_cmd_sn: CMD_SN,
        max_cmd_sn: MAX_CMD_SN,
    };
    let progress = LoginProgress {
        current_stage: Stage::LoginOperationalNegotiation,
        next_stage: Some(Stage::FullFeaturePhase),
        is_continued: false,
        stat_sn: STAT_SN,
        exp_cmd_sn: CMD_SN,
        max_cmd_sn: MAX_CMD_SN,
    };
    let login = LoginResponse {
        outcome: LoginOutcome::Proceed(progress),
        version_max: 0,
        version_active: 0,
        data_segment_length: 380,
        isid: Isid::random(0x12_3456, 7),
        tsih: 1,
        initiator_task_tag: ITT,
    };
    let text = TextResponse {
        transfer: None,
        is_continued: false,
        data_segment_length: 80,
        initiator_task_tag: ITT,
        stat_sn: STAT_SN,
        exp_cmd_sn: CMD_SN,
        max_cmd_sn: MAX_CMD_SN,
    };
    let logout = LogoutResponse {
        response: LogoutResponseCode::Success,
        initiator_task_tag: ITT,
        stat_sn: STAT_SN,
        exp_cmd_sn: CMD_SN,
        max_cmd_sn: MAX_CMD_SN,
        time2wait: 2,
        time2retain: 0,
    };
    let reject = Reject {
        reason: RejectReason::ProtocolError,
        data_segment_length: 48,
        stat_sn: STAT_SN,
        exp_cmd_sn: CMD_SN,
        max_cmd_sn: MAX_CMD_SN,
        data_sn: DataSn(0),
    };
    [
        ("SCSI Data-In", data_in.into()),
        ("SCSI Response", response.into()),
        ("R2T", r2t.into()),
        ("NOP-In", nop_in.into()),
        ("Task Management Function Response", task_management.into()),
        ("Login Response", login.into()),
        ("Text Response", text.into()),
        ("Logout Response", logout.into()),
        ("Reject", reject.into()),
    ]
}
