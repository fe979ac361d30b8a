//! What an initiator sends.

use alloc::vec;

use proptest::option;
use proptest::prelude::*;

use super::parts::*;
use crate::wire::*;

/// Any PDU of an initiator.
pub fn initiator_pdu() -> impl Strategy<Value = InitiatorPdu> {
    prop_oneof![
        nop_out().prop_map(InitiatorPdu::from),
        scsi_command().prop_map(InitiatorPdu::from),
        task_management_request().prop_map(InitiatorPdu::from),
        login_request().prop_map(InitiatorPdu::from),
        text_request().prop_map(InitiatorPdu::from),
        data_out().prop_map(InitiatorPdu::from),
        logout_request().prop_map(InitiatorPdu::from),
        snack_request().prop_map(InitiatorPdu::from),
    ]
}

prop_compose! {
    /// NOP-Out (RFC 7143 section 11.18).
    pub fn nop_out()(
        kind in prop_oneof![
            (any::<bool>(), task_tag()).prop_map(|(immediate, initiator_task_tag)| {
                NopOutKind::Ping { immediate, initiator_task_tag }
            }),
            transfer().prop_map(NopOutKind::PingResponse),
            lun().prop_map(|lun| NopOutKind::Update { lun }),
        ],
        data_segment_length in length(),
        cmd_sn in cmd_sn(),
        exp_stat_sn in stat_sn(),
    ) -> NopOut {
        NopOut { kind, data_segment_length, cmd_sn, exp_stat_sn }
    }
}

prop_compose! {
    /// SCSI Command (section 11.3). TotalAHSLength may be anything.
    pub fn scsi_command()(
        flags in prop_oneof![
            Just((true, false, false)), // F, R, W
            Just((true, true, false)),
            Just((true, false, true)),
            Just((true, true, true)),
            Just((false, false, true)),
            Just((false, true, true)),
        ],
        data_segment_length in 0..MAX_DATA_SEGMENT_LENGTH,
        more in 1..=u32::MAX - MAX_DATA_SEGMENT_LENGTH,
        immediate: bool,
        attribute in (0u8..5).prop_map(|code| TaskAttribute::from_byte(code).unwrap()),
        priority in 0u8..16,
        total_ahs_length in any::<u8>().prop_map(AhsLength),
        lun in lun(),
        initiator_task_tag in task_tag(),
        cmd_sn in cmd_sn(),
        exp_stat_sn in stat_sn(),
        cdb: [u8; 16],
    ) -> ScsiCommand {
        let (is_final, read, write) = flags;
        let data_segment_length = if write { data_segment_length } else { 0 };
        let expected = if read || write { data_segment_length + more } else { 0 };
        ScsiCommand {
            immediate,
            is_final,
            read,
            write,
            attribute,
            priority,
            total_ahs_length,
            data_segment_length,
            lun,
            initiator_task_tag,
            expected_data_transfer_length: expected,
            cmd_sn,
            exp_stat_sn,
            cdb,
        }
    }
}

fn task_management_function() -> impl Strategy<Value = TaskManagementFunction> {
    use TaskManagementFunction as F;
    prop_oneof![
        (lun(), task_tag(), cmd_sn()).prop_map(|(lun, referenced_task_tag, ref_cmd_sn)| {
            F::AbortTask { lun, referenced_task_tag, ref_cmd_sn }
        }),
        lun().prop_map(|lun| F::AbortTaskSet { lun }),
        lun().prop_map(|lun| F::ClearAca { lun }),
        lun().prop_map(|lun| F::ClearTaskSet { lun }),
        lun().prop_map(|lun| F::LogicalUnitReset { lun }),
        Just(F::TargetWarmReset),
        Just(F::TargetColdReset),
        (task_tag(), data_sn()).prop_map(|(referenced_task_tag, exp_data_sn)| {
            F::TaskReassign { referenced_task_tag, exp_data_sn }
        }),
        (lun(), task_tag(), cmd_sn()).prop_map(|(lun, referenced_task_tag, ref_cmd_sn)| {
            F::QueryTask { lun, referenced_task_tag, ref_cmd_sn }
        }),
        lun().prop_map(|lun| F::QueryTaskSet { lun }),
        Just(F::ItNexusReset),
        lun().prop_map(|lun| F::QueryAsynchronousEvent { lun }),
    ]
}

prop_compose! {
    /// Task Management Function Request (section 11.5).
    pub fn task_management_request()(
        immediate: bool,
        function in task_management_function(),
        initiator_task_tag in task_tag(),
        cmd_sn in cmd_sn(),
        exp_stat_sn in stat_sn(),
    ) -> TaskManagementRequest {
        let must_be = matches!(function, TaskManagementFunction::TaskReassign { .. });
        TaskManagementRequest {
            immediate: immediate || must_be,
            function,
            initiator_task_tag,
            cmd_sn,
            exp_stat_sn,
        }
    }
}

/// CSG, NSG with T, C.
pub(super) fn stages() -> impl Strategy<Value = (Stage, Option<Stage>, bool)> {
    use Stage::{FullFeaturePhase, LoginOperationalNegotiation, SecurityNegotiation};
    prop_oneof![
        Just((SecurityNegotiation, None, false)),
        Just((SecurityNegotiation, None, true)),
        Just((SecurityNegotiation, Some(LoginOperationalNegotiation), false)),
        Just((SecurityNegotiation, Some(FullFeaturePhase), false)),
        Just((LoginOperationalNegotiation, None, false)),
        Just((LoginOperationalNegotiation, None, true)),
        Just((LoginOperationalNegotiation, Some(FullFeaturePhase), false)),
    ]
}

prop_compose! {
    /// Login Request (section 11.12).
    pub fn login_request()(
        (current_stage, next_stage, is_continued) in stages(),
        version_max: u8,
        version_min: u8,
        data_segment_length in length(),
        isid in isid(),
        tsih: u16,
        initiator_task_tag in task_tag(),
        cid: u16,
        cmd_sn in cmd_sn(),
        exp_stat_sn in stat_sn(),
    ) -> LoginRequest {
        LoginRequest {
            current_stage,
            next_stage,
            is_continued,
            version_max,
            version_min,
            data_segment_length,
            isid,
            tsih,
            initiator_task_tag,
            cid,
            cmd_sn,
            exp_stat_sn,
        }
    }
}

prop_compose! {
    /// Text Request (section 11.10).
    pub fn text_request()(
        immediate: bool,
        (is_final, is_continued) in
            prop_oneof![Just((true, false)), Just((false, false)), Just((false, true))],
        transfer in option::of(transfer()),
        data_segment_length in length(),
        initiator_task_tag in task_tag(),
        cmd_sn in cmd_sn(),
        exp_stat_sn in stat_sn(),
    ) -> TextRequest {
        TextRequest {
            immediate,
            is_final,
            is_continued,
            transfer,
            data_segment_length,
            initiator_task_tag,
            cmd_sn,
            exp_stat_sn,
        }
    }
}

prop_compose! {
    /// SCSI Data-Out (section 11.7).
    pub fn data_out()(
        is_final: bool,
        transfer in option::of(transfer()),
        (buffer_offset, data_segment_length) in range(),
        initiator_task_tag in task_tag(),
        exp_stat_sn in stat_sn(),
        data_sn in data_sn(),
    ) -> DataOut {
        DataOut {
            is_final,
            transfer,
            data_segment_length,
            initiator_task_tag,
            exp_stat_sn,
            data_sn,
            buffer_offset,
        }
    }
}

prop_compose! {
    /// Logout Request (section 11.14).
    pub fn logout_request()(
        immediate: bool,
        reason in prop_oneof![
            Just(LogoutReason::CloseSession),
            any::<u16>().prop_map(|cid| LogoutReason::CloseConnection { cid }),
            any::<u16>().prop_map(|cid| LogoutReason::RemoveConnectionForRecovery { cid }),
        ],
        initiator_task_tag in task_tag(),
        cmd_sn in cmd_sn(),
        exp_stat_sn in stat_sn(),
    ) -> LogoutRequest {
        LogoutRequest { immediate, reason, initiator_task_tag, cmd_sn, exp_stat_sn }
    }
}

prop_compose! {
    /// SNACK Request (section 11.16).
    pub fn snack_request()(
        kind in prop_oneof![
            (task_tag(), number(), number()).prop_map(|(initiator_task_tag, beg_run, run_length)| {
                SnackKind::Data { initiator_task_tag, beg_run, run_length }
            }),
            (stat_sn(), number())
                .prop_map(|(beg_run, run_length)| SnackKind::Status { beg_run, run_length }),
            (transfer(), data_sn())
                .prop_map(|(transfer, beg_run)| SnackKind::DataAck { transfer, beg_run }),
            (task_tag(), 1..u32::MAX).prop_map(|(initiator_task_tag, snack_tag)| {
                SnackKind::ResegmentedData { initiator_task_tag, snack_tag }
            }),
        ],
        exp_stat_sn in stat_sn(),
    ) -> SnackRequest {
        SnackRequest { kind, exp_stat_sn }
    }
}
